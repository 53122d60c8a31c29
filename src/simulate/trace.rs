//! Watching a run: what the loop tells whoever wants to know. Watching changes nothing.

use super::outcome::Forgotten;
use crate::endpoint::Errno;
use crate::model::{Outcome as BoxOutcome, Side, Tuple};
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
    fn box_sent(&mut self, _at: Instant, _hop: usize, _to: Side, _tuple: Tuple, _seg: &Segment) {}
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
