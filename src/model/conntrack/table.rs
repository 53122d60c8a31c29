//! The entries that can concern one flow: nearly always one, a few after clashes and leaks.
//!
//! A flow is simulated alone, so its table holds only what its own packets made. Nothing here judges packets.

use super::entry::{Entry, status};
use crate::model::{Lapse, Moment, Tuple};
use crate::time::Duration;

/// The entries of one flow's packets. The first is kept in place, so that the usual case allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Table {
    first: Option<Entry>,
    rest: Vec<Entry>,
}

/// Which entry, until the next removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(usize);

impl Table {
    /// No entries.
    pub const EMPTY: Table = Table { first: None, rest: Vec::new() };

    /// The entries, unconfirmed ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.first.iter().chain(&self.rest)
    }

    /// The entry in a slot.
    pub fn get(&self, slot: Slot) -> &Entry {
        match slot.0 {
            0 => self.first.as_ref().expect("a slot outlives no removal"),
            index => &self.rest[index - 1],
        }
    }

    /// The entry in a slot, to change it.
    pub fn get_mut(&mut self, slot: Slot) -> &mut Entry {
        match slot.0 {
            0 => self.first.as_mut().expect("a slot outlives no removal"),
            index => &mut self.rest[index - 1],
        }
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, entry: Entry) -> Slot {
        if self.first.is_none() {
            self.first = Some(entry);
            Slot(0)
        } else {
            self.rest.push(entry);
            Slot(self.rest.len())
        }
    }

    /// Removes an entry; other slots lose their meaning.
    pub(crate) fn remove(&mut self, slot: Slot) {
        match slot.0 {
            0 => self.first = self.rest.pop(),
            index => {
                self.rest.swap_remove(index - 1);
            }
        }
    }

    /// Removes every entry that a predicate names.
    pub(crate) fn remove_where(&mut self, mut doomed: impl FnMut(&Entry) -> bool) {
        self.rest.retain(|e| !doomed(e));
        if self.first.as_ref().is_some_and(&mut doomed) {
            self.first = self.rest.pop();
        }
    }

    /// Finds the confirmed entry of a tuple and the direction that the tuple has in it. An entry that has ended is removed
    /// on the way and reported, as `nf_conntrack_find_get` does from 4.9 on (before, its timer did).
    pub(crate) fn find(&mut self, tuple: Tuple, moment: &mut Moment, lapse: &mut Option<Lapse>, lateness: Lateness) -> Option<(Slot, usize)> {
        let mut index = 0;
        while let Some(entry) = self.at(index) {
            let dir = if entry.original == tuple {
                0
            } else if entry.reply == tuple {
                1
            } else {
                index += 1;
                continue;
            };
            if !entry.is(status::CONFIRMED) {
                index += 1;
                continue;
            }
            if lateness.has_ended(entry, moment) {
                *lapse = Some(Lapse { refreshed: entry.refreshed, timeout: entry.timeout, clause: entry.clause });
                self.remove(Slot(index));
                continue;
            }
            return Some((Slot(index), dir));
        }
        None
    }

    /// Whether a live entry other than `except` answers to a tuple in either direction (`nf_conntrack_tuple_taken`).
    pub(crate) fn taken(&self, tuple: Tuple, except: Slot, moment: &mut Moment, lateness: Lateness) -> bool {
        (0..=self.rest.len()).any(|index| {
            index != except.0
                && self.at(index).is_some_and(|e| {
                    e.is(status::CONFIRMED) && (e.original == tuple || e.reply == tuple) && !lateness.has_ended(e, moment)
                })
        })
    }

    fn at(&self, index: usize) -> Option<&Entry> {
        if index == 0 { self.first.as_ref() } else { self.rest.get(index - 1) }
    }
}

/// How late after its deadline an entry can still be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lateness {
    /// Never: the deadline is exact.
    Exact,
    /// Linux 4.8: entries sit in the timer wheel.
    Wheel(crate::kernel::wheel::Hz),
    /// 2.6.20 to 4.8: a deadline that would move by less than a second stays where it was.
    Coalesced,
}

impl Lateness {
    fn has_ended(self, entry: &Entry, moment: &mut Moment) -> bool {
        let deadline = entry.deadline();
        let late = match self {
            Lateness::Exact | Lateness::Coalesced => Duration::ZERO,
            Lateness::Wheel(hz) => crate::kernel::wheel::lateness_max(entry.timeout, hz),
        };
        moment.has_ended(deadline, deadline + late)
    }
}
