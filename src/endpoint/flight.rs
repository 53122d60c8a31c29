//! The segments that were sent and not acknowledged yet: nearly always none or one, kept in place.
//!
//! Knows nothing of timers or congestion.

use crate::net::Seq;
use crate::time::Instant;
use std::collections::VecDeque;

/// One segment on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its first sequence number.
    pub seq: Seq,
    /// The number after its last.
    pub end: Seq,
    /// When it was sent last.
    pub at: Instant,
    /// Whether it carries a FIN (or a SYN): one number without a byte.
    pub phantom: bool,
    /// Whether it was sent more than once.
    pub again: bool,
}

/// Segments in flight, oldest first.
#[derive(Clone, Default, Debug)]
pub struct Flight {
    head: Option<Sent>,
    /// Those after the head; the box is kept once it was needed.
    #[allow(clippy::box_collection, reason = "a socket that needs it is rare, and eight bytes count a million times")]
    rest: Option<Box<VecDeque<Sent>>>,
}

impl Flight {
    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.head.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// The oldest.
    pub const fn head(&self) -> Option<&Sent> {
        self.head.as_ref()
    }

    /// The oldest, to change it.
    pub const fn head_mut(&mut self) -> Option<&mut Sent> {
        self.head.as_mut()
    }

    /// The newest, to change it.
    pub fn last_mut(&mut self) -> Option<&mut Sent> {
        match self.rest.as_mut().and_then(|rest| rest.back_mut()) {
            Some(last) => Some(last),
            None => self.head.as_mut(),
        }
    }

    /// The first that begins at or after a number, to change it.
    pub fn from_mut(&mut self, seq: Seq) -> Option<&mut Sent> {
        let rest = self.rest.as_mut().map(|rest| rest.iter_mut()).into_iter().flatten();
        self.head.iter_mut().chain(rest).find(|sent| !sent.seq.before(seq))
    }

    /// Adds the newest.
    pub fn push(&mut self, sent: Sent) {
        if self.head.is_none() {
            self.head = Some(sent);
        } else {
            self.rest.get_or_insert_default().push_back(sent);
        }
    }

    /// Takes the oldest away.
    pub fn pop(&mut self) -> Option<Sent> {
        let taken = self.head.take();
        self.head = self.rest.as_mut().and_then(|rest| rest.pop_front());
        taken
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        *self = Flight::default();
    }
}
