//! A conversation in a few lines, and what it puts on the wire.

use flowlapse::model::{Side, Tuple};
use flowlapse::net::{Segment, TcpFlags};
use flowlapse::scenario::{load, run};
use flowlapse::simulate::trace::Told;
use flowlapse::simulate::{Observer, Outcome};
use flowlapse::time::{Duration, Instant};

/// What was seen of a run.
#[derive(Default)]
pub(crate) struct Wire {
    /// Segments by who sent them, with the seconds.
    pub(crate) sent: Vec<(f64, Side, Segment)>,
    /// What applications were told.
    pub(crate) told: Vec<(f64, Side, Told)>,
}

fn seconds(at: Instant) -> f64 {
    Duration(at.0).as_secs_f64()
}

impl Observer for Wire {
    fn told(&mut self, at: Instant, side: Side, what: Told) {
        self.told.push((seconds(at), side, what));
    }

    fn host_sent(&mut self, at: Instant, side: Side, _: Tuple, seg: &Segment) {
        self.sent.push((seconds(at), side, *seg));
    }
}

impl Wire {
    /// The times at which a side sent segments with exactly these flags, PSH aside.
    pub(crate) fn times(&self, side: Side, flags: u8) -> Vec<f64> {
        let fits = |s: &&(f64, Side, Segment)| s.1 == side && s.2.flags.0 & !TcpFlags::PSH == flags;
        self.sent.iter().filter(fits).map(|s| s.0).collect()
    }

    /// The times at which a side sent payload.
    pub(crate) fn payload(&self, side: Side) -> Vec<f64> {
        self.sent.iter().filter(|s| s.1 == side && s.2.len > 0).map(|s| s.0).collect()
    }

    /// The times at which a side sent empty segments below its next number: probes.
    pub(crate) fn probes(&self, side: Side) -> Vec<f64> {
        let mut next = None;
        let mut out = Vec::new();
        for (at, _, seg) in self.sent.iter().filter(|s| s.1 == side) {
            if next.is_some_and(|n: flowlapse::net::Seq| seg.seq == n.minus(1)) && seg.len == 0 && seg.flags.0 == TcpFlags::ACK {
                out.push(*at);
            } else if next.is_none_or(|n| seg.end().after(n)) {
                next = Some(seg.end());
            }
        }
        out
    }
}

/// Runs a scenario that is given without its braces; the duration and the title are filled in.
pub(crate) fn talk(body: &str) -> (Outcome, Wire) {
    let text = format!("{{\"title\": \"test\", \"duration\": \"4h\", {body}}}");
    let scenario = load(&text, "test", &[]).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let ready = scenario.compile().unwrap_or_else(|e| panic!("{e}\n{text}"));
    run::single(&ready, Wire::default())
}

/// Whether times are as expected to the millisecond.
pub(crate) fn near(got: &[f64], want: &[f64]) {
    let same = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.0025);
    assert!(same, "got {got:?}\nwant {want:?}");
}
