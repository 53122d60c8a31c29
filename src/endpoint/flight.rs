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
#[derive(Clone, Debug)]
pub struct Flight {
    /// The oldest, in parts; none where it was never sent.
    at: Instant,
    seq: Seq,
    /// Numbers that it covers: a full segment and a FIN at most.
    span: u16,
    bits: u8,
    /// Those after the oldest; the box is kept once it was needed.
    #[allow(clippy::box_collection, reason = "a socket that needs it is rare, and eight bytes count a million times")]
    rest: Option<Box<VecDeque<Sent>>>,
}

const ANY: u8 = 1;
const PHANTOM: u8 = 2;
const AGAIN: u8 = 4;

const _: () = assert!(size_of::<Flight>() == 24);

impl Default for Flight {
    fn default() -> Flight {
        Flight { at: Instant::ZERO, seq: Seq(0), span: 0, bits: 0, rest: None }
    }
}

impl Flight {
    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(!self.is_empty()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.bits & ANY == 0
    }

    /// The oldest.
    pub const fn head(&self) -> Option<Sent> {
        if self.is_empty() {
            return None;
        }
        Some(Sent {
            seq: self.seq,
            end: self.seq.plus(self.span as u32),
            at: self.at,
            phantom: self.bits & PHANTOM != 0,
            again: self.bits & AGAIN != 0,
        })
    }

    /// Puts another in the place of the oldest.
    pub const fn set_head(&mut self, sent: Sent) {
        self.at = sent.at;
        self.seq = sent.seq;
        self.span = sent.end.distance(sent.seq) as u16;
        self.bits = ANY | if sent.phantom { PHANTOM } else { 0 } | if sent.again { AGAIN } else { 0 };
    }

    /// Changes the newest, and returns it.
    pub fn change_last(&mut self, change: impl FnOnce(&mut Sent)) -> Option<Sent> {
        if let Some(last) = self.rest.as_mut().and_then(|rest| rest.back_mut()) {
            change(last);
            return Some(*last);
        }
        self.change_head(change)
    }

    /// Changes the oldest, and returns it.
    pub fn change_head(&mut self, change: impl FnOnce(&mut Sent)) -> Option<Sent> {
        let mut head = self.head()?;
        change(&mut head);
        self.set_head(head);
        Some(head)
    }

    /// Adds the newest.
    pub fn push(&mut self, sent: Sent) {
        if self.is_empty() {
            self.set_head(sent);
        } else {
            self.rest.get_or_insert_default().push_back(sent);
        }
    }

    /// Takes the oldest away.
    pub fn pop(&mut self) {
        self.bits = 0;
        if let Some(next) = self.rest.as_mut().and_then(|rest| rest.pop_front()) {
            self.set_head(next);
        }
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        *self = Flight::default();
    }
}
