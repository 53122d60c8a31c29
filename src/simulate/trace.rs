//! Watching a run: what the loop tells whoever wants to know. Watching changes nothing.

use super::outcome::Forgotten;
use crate::endpoint::Errno;
use crate::model::{Outcome as BoxOutcome, Side, Tuple, What};
use crate::net::Segment;
use crate::time::Instant;

/// What an application did or was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// It asked for a connection.
    Dialled,
    /// The connection is open.
    Opened,
    /// It wrote so many bytes.
    Sent(u32),
    /// It read so many bytes.
    Received(u32),
    /// It closed its sending direction, or the socket.
    Closed,
    /// The peer will send no more.
    Eof,
    /// It aborted.
    Aborted,
    /// The system reported an error.
    Failed(Errno),
    /// It gave up by a timer of its own.
    GaveUp(&'static str),
}

/// Who watches a run.
pub trait Observer {
    /// An application did or was told something.
    fn told(&mut self, _at: Instant, _side: Side, _what: Told) {}
    /// A host sent a segment.
    fn host_sent(&mut self, _at: Instant, _side: Side, _tuple: Tuple, _seg: &Segment) {}
    /// A segment reached a host.
    fn host_got(&mut self, _at: Instant, _side: Side, _tuple: Tuple, _seg: &Segment) {}
    /// A segment reached a box, on the side that `from` says, and this is what the box made of it.
    fn box_got(&mut self, _at: Instant, _hop: usize, _from: Side, _tuple: Tuple, _seg: &Segment, _out: &BoxOutcome) {}
    /// A box sent a segment: the one that reached it, or one of its own.
    fn box_sent(&mut self, _at: Instant, _hop: usize, _to: Side, _tuple: Tuple, _seg: &Segment, _what: What) {}
    /// An entry of a box is known to have ended.
    fn forgot(&mut self, _entry: &Forgotten) {}
    /// A link lost a segment.
    fn lost(&mut self, _at: Instant, _link: usize, _tuple: Tuple, _seg: &Segment) {}
    /// Something happened to the path.
    fn fault(&mut self, _at: Instant, _what: super::Fault) {}
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Something that was seen.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// An application did or was told something.
    Told(Side, Told),
    /// A host sent a segment.
    Sent(Side, Tuple, Segment),
    /// A box did something with a segment that it does not do with every one.
    Box(usize, Side, BoxOutcome),
    /// An entry ended.
    Forgot(Forgotten),
    /// A link lost a segment of this side.
    Lost(usize, Segment),
    /// Something happened to the path.
    Fault(super::Fault),
}

/// Keeps what was seen, to be told later.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// What was seen, in order.
    pub seen: Vec<(Instant, Seen)>,
    /// How much more there was than is kept.
    pub left_out: u64,
}

impl Recorder {
    /// More than anybody reads.
    const MOST: usize = 1_000_000;

    fn keep(&mut self, at: Instant, seen: Seen) {
        if self.seen.len() < Self::MOST {
            self.seen.push((at, seen));
        } else {
            self.left_out += 1;
        }
    }
}

impl Observer for Recorder {
    fn told(&mut self, at: Instant, side: Side, what: Told) {
        // Reads that follow one another at once are one.
        if let (Told::Received(more), Some((last, Seen::Told(whose, Told::Received(bytes))))) = (what, self.seen.last_mut())
            && (*last, *whose) == (at, side)
        {
            *bytes += more;
            return;
        }
        self.keep(at, Seen::Told(side, what));
    }

    fn host_sent(&mut self, at: Instant, side: Side, tuple: Tuple, seg: &Segment) {
        self.keep(at, Seen::Sent(side, tuple, *seg));
    }

    fn box_got(&mut self, at: Instant, hop: usize, from: Side, _tuple: Tuple, _seg: &Segment, out: &BoxOutcome) {
        let speaks = out.sent.iter().flatten().any(|sent| sent.what != What::Packet);
        if speaks || out.dropped.is_some() || out.lapse.is_some() || out.invalid.is_some() {
            self.keep(at, Seen::Box(hop, from, *out));
        }
    }

    fn forgot(&mut self, entry: &Forgotten) {
        let at = entry.noticed.unwrap_or(entry.at);
        self.keep(at, Seen::Forgot(*entry));
    }

    fn lost(&mut self, at: Instant, link: usize, _tuple: Tuple, seg: &Segment) {
        self.keep(at, Seen::Lost(link, *seg));
    }

    fn fault(&mut self, at: Instant, what: super::Fault) {
        self.keep(at, Seen::Fault(what));
    }
}
