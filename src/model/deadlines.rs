//! Timers of many entries: whose is the next to fire.
//!
//! One item an entry at most times: a deadline that moves away is looked at again when the old one has come. Must not know what
//! an entry is.

use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The timers of entries that are numbered by the caller.
#[derive(Default)]
pub struct Deadlines {
    queue: BinaryHeap<Reverse<(Instant, u32)>>,
    /// For each entry the earliest item that it has in the queue; later than everything for none.
    queued: Vec<Instant>,
}

impl Deadlines {
    /// Says when an entry ends.
    pub fn set(&mut self, id: u32, deadline: Instant) {
        let index = id as usize;
        if index >= self.queued.len() {
            self.queued.resize(index + 1, Instant::MAX);
        }
        if deadline < self.queued[index] {
            self.queued[index] = deadline;
            self.queue.push(Reverse((deadline, id)));
        }
    }

    /// When the next timer fires at the earliest; later than everything if there is none.
    pub fn next(&self) -> Instant {
        self.queue.peek().map_or(Instant::MAX, |Reverse((at, _))| *at)
    }

    /// The next entry whose time has come, if its deadline, which `deadline` tells, was not moved; `None` there for an entry
    /// that is gone.
    pub fn pop(&mut self, now: Instant, deadline: impl Fn(u32) -> Option<Instant>) -> Option<u32> {
        while let Some(Reverse((at, id))) = self.queue.peek().copied()
            && at <= now
        {
            self.queue.pop();
            if self.queued[id as usize] != at {
                continue;
            }
            self.queued[id as usize] = Instant::MAX;
            match deadline(id) {
                Some(moved) if moved > at => self.set(id, moved),
                Some(_) => return Some(id),
                None => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_deadlines_count_and_those_of_gone_entries_do_not() {
        let mut timers = Deadlines::default();
        let mut ends = [Some(Instant(10)), Some(Instant(20)), Some(Instant(30))];
        for (id, end) in ends.iter().flatten().enumerate() {
            timers.set(id as u32, *end);
        }
        ends[0] = Some(Instant(25));
        timers.set(0, Instant(25));
        ends[1] = None;
        ends[2] = Some(Instant(22));
        timers.set(2, Instant(22));
        let look = |id: u32| ends[id as usize];
        assert_eq!(timers.pop(Instant(21), look), None);
        assert_eq!(timers.next(), Instant(22));
        assert_eq!(timers.pop(Instant(40), look), Some(2));
        assert_eq!(timers.pop(Instant(40), look), Some(0));
        assert_eq!(timers.pop(Instant(40), look), None);
        assert_eq!(timers.next(), Instant::MAX);
    }
}
