//! Watching a run: what the loop tells whoever wants to know. Watching changes nothing.

use super::outcome::Forgotten;
use crate::endpoint::Errno;
use crate::engine::Hop;
use crate::engine::hop::HopState;
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
    /// What a box remembers after a segment has reached it, or after something happened to it.
    fn box_keeps(&mut self, _at: Instant, _hop: usize, _of: &Hop, _state: &HopState) {}
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

/// Two watch, or one and perhaps another.
impl<A: Observer, B: Observer> Observer for (A, Option<B>) {
    fn told(&mut self, at: Instant, side: Side, what: Told) {
        self.0.told(at, side, what);
        self.1.iter_mut().for_each(|other| other.told(at, side, what));
    }

    fn host_sent(&mut self, at: Instant, side: Side, tuple: Tuple, seg: &Segment) {
        self.0.host_sent(at, side, tuple, seg);
        self.1.iter_mut().for_each(|other| other.host_sent(at, side, tuple, seg));
    }

    fn host_got(&mut self, at: Instant, side: Side, tuple: Tuple, seg: &Segment) {
        self.0.host_got(at, side, tuple, seg);
        self.1.iter_mut().for_each(|other| other.host_got(at, side, tuple, seg));
    }

    fn box_got(&mut self, at: Instant, hop: usize, from: Side, tuple: Tuple, seg: &Segment, out: &BoxOutcome) {
        self.0.box_got(at, hop, from, tuple, seg, out);
        self.1.iter_mut().for_each(|other| other.box_got(at, hop, from, tuple, seg, out));
    }

    fn box_sent(&mut self, at: Instant, hop: usize, to: Side, tuple: Tuple, seg: &Segment, what: What) {
        self.0.box_sent(at, hop, to, tuple, seg, what);
        self.1.iter_mut().for_each(|other| other.box_sent(at, hop, to, tuple, seg, what));
    }

    fn box_keeps(&mut self, at: Instant, hop: usize, of: &Hop, state: &HopState) {
        self.0.box_keeps(at, hop, of, state);
        self.1.iter_mut().for_each(|other| other.box_keeps(at, hop, of, state));
    }

    fn forgot(&mut self, entry: &Forgotten) {
        self.0.forgot(entry);
        self.1.iter_mut().for_each(|other| other.forgot(entry));
    }

    fn lost(&mut self, at: Instant, link: usize, tuple: Tuple, seg: &Segment) {
        self.0.lost(at, link, tuple, seg);
        self.1.iter_mut().for_each(|other| other.lost(at, link, tuple, seg));
    }

    fn fault(&mut self, at: Instant, what: super::Fault) {
        self.0.fault(at, what);
        self.1.iter_mut().for_each(|other| other.fault(at, what));
    }
}

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
