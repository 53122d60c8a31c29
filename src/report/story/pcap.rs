//! The packets of a run as captures: what each host and each side of each box saw.
//!
//! Whoever runs it hands in the sinks; nothing here opens a file.

use crate::capture::write::Writer;
use crate::model::{End, Host, Outcome as BoxOutcome, Side, Tuple, What};
use crate::net::{Addr, Segment, Sock};
use crate::simulate::outcome::Forgotten;
use crate::simulate::trace::{Observer, Recorder, Told};
use crate::time::{Duration, Instant};
use std::io::{self, Write};

/// The time that captures give to the start of a run: 2026-01-01T00:00:00Z.
pub const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Where a capture is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// At a host.
    Host(Side),
    /// At a box, by its position, on one of its sides.
    Box(usize, Side),
}

impl Point {
    /// The points of a path with so many boxes, in the order of their captures.
    pub fn all(boxes: usize) -> Vec<Point> {
        let of_box = |hop| [Point::Box(hop, Side::Client), Point::Box(hop, Side::Server)];
        [Point::Host(Side::Client)].into_iter().chain((0..boxes).flat_map(of_box)).chain([Point::Host(Side::Server)]).collect()
    }

    /// The name of the point, and of its interface.
    pub fn name(self) -> String {
        match self {
            Point::Host(of) => of.name().to_owned(),
            Point::Box(hop, of) => format!("box{}-{}-side", hop + 1, of.name()),
        }
    }
}

/// The address of a host in captures: from the ranges for documentation.
pub fn address(host: Host) -> Addr {
    match host {
        Host::CLIENT => Addr::v4([192, 0, 2, 10]),
        Host::SERVICE => Addr::v4([198, 51, 100, 10]),
        // Three addresses a box: near, far, the real server behind it.
        Host(n) => Addr::v4([203, 0, 113, (n - 2) / 3 * 10 + (n - 2) % 3 + 1]),
    }
}

fn sock(end: End) -> Sock {
    Sock { addr: address(end.host), port: end.port }
}

/// Watches a run: keeps what the report tells, and writes captures where they were asked for.
pub struct Watch<W: Write> {
    /// What the report tells.
    pub recorder: Recorder,
    taps: Vec<(Point, Writer<W>)>,
    failed: Option<io::Error>,
}

impl<W: Write> Watch<W> {
    /// Without captures.
    pub fn new() -> Watch<W> {
        Watch { recorder: Recorder::default(), taps: Vec::new(), failed: None }
    }

    /// Adds a capture.
    ///
    /// # Errors
    /// What the sink says.
    pub fn tap(&mut self, point: Point, sink: W) -> io::Result<()> {
        self.taps.push((point, Writer::new(sink, &[&point.name()])?));
        Ok(())
    }

    /// Ends the captures.
    ///
    /// # Errors
    /// The first thing that could not be written.
    pub fn finish(self) -> io::Result<Recorder> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        for (_, writer) in self.taps {
            writer.finish()?;
        }
        Ok(self.recorder)
    }

    fn write(&mut self, point: Point, at: Instant, tuple: Tuple, seg: &Segment, what: What, ttl: u8) {
        let Some((_, writer)) = self.taps.iter_mut().find(|(of, _)| *of == point) else { return };
        let at = at + EPOCH;
        let (src, dst) = (sock(tuple.src), sock(tuple.dst));
        let written = if what == What::Unreachable {
            writer.unreachable(0, at, src.addr, dst.addr, dst, src, seg)
        } else {
            writer.segment(0, at, src, dst, seg, ttl)
        };
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }
}

impl<W: Write> Default for Watch<W> {
    fn default() -> Watch<W> {
        Watch::new()
    }
}

/// What hosts send with; each box takes one away.
const TTL: u8 = 64;

impl<W: Write> Observer for Watch<W> {
    fn told(&mut self, at: Instant, side: Side, what: Told) {
        self.recorder.told(at, side, what);
    }

    fn host_sent(&mut self, at: Instant, side: Side, tuple: Tuple, seg: &Segment) {
        self.recorder.host_sent(at, side, tuple, seg);
        self.write(Point::Host(side), at, tuple, seg, What::Packet, TTL);
    }

    fn host_got(&mut self, at: Instant, side: Side, tuple: Tuple, seg: &Segment) {
        self.write(Point::Host(side), at, tuple, seg, What::Packet, TTL);
    }

    fn box_got(&mut self, at: Instant, hop: usize, from: Side, tuple: Tuple, seg: &Segment, out: &BoxOutcome) {
        self.recorder.box_got(at, hop, from, tuple, seg, out);
        self.write(Point::Box(hop, from), at, tuple, seg, What::Packet, TTL);
    }

    fn box_sent(&mut self, at: Instant, hop: usize, to: Side, tuple: Tuple, seg: &Segment, what: What) {
        let ttl = if what == What::Packet { TTL - 1 } else { TTL };
        self.write(Point::Box(hop, to), at, tuple, seg, what, ttl);
    }

    fn forgot(&mut self, entry: &Forgotten) {
        self.recorder.forgot(entry);
    }

    fn lost(&mut self, at: Instant, link: usize, tuple: Tuple, seg: &Segment) {
        self.recorder.lost(at, link, tuple, seg);
    }

    fn fault(&mut self, at: Instant, what: crate::simulate::Fault) {
        self.recorder.fault(at, what);
    }
}
