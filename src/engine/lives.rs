//! How long a box kept entries for a flow: from which packet to which end, with the end as a timer and not as a time.
//!
//! That way one replay says for every policy when the entries would have ended. Counts entries, judges nothing.

use super::hop::{Hop, HopState};
use super::timers::TimerId;
use crate::model::Lapse;
use crate::model::few::{Few, Slot};
use crate::time::Instant;
use serde::{Deserialize, Serialize};

/// How an entry's life ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Until {
    /// It was removed by a packet.
    At(Instant),
    /// Its timer ran out.
    RunsOut {
        /// When the timer had last been set.
        refreshed: Instant,
        /// Which timer.
        timer: TimerId,
    },
}

/// One entry's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Life {
    /// Its first packet.
    pub from: Instant,
    /// Its end.
    pub until: Until,
}

impl Life {
    /// When it ended at a box with these settings, on an exact clock.
    pub fn end(&self, hop: &Hop) -> Instant {
        match self.until {
            Until::At(at) => at,
            Until::RunsOut { refreshed, timer } => refreshed + hop.span(timer),
        }
    }
}

/// The entries that a box has kept for one flow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Lives {
    born: Few<Instant>,
    past: Vec<Life>,
}

impl Lives {
    /// The entries with which a flow began.
    pub(super) fn begun(entries: usize, at: Instant) -> Lives {
        let mut lives = Lives::default();
        lives.grow(entries, at);
        lives
    }

    /// Whether none has ended yet, and there is one with such a beginning, or none.
    pub(super) fn are_as_old_as(&self, from: Option<Instant>) -> bool {
        self.past.is_empty() && self.born.only() == Some(from.as_ref())
    }

    /// Whether no entry has ended yet.
    pub(super) const fn are_unbroken(&self) -> bool {
        self.past.is_empty()
    }

    /// One entry with such a beginning, or none, in the place of everything that was there.
    pub(super) fn set(&mut self, from: Option<Instant>) {
        self.born.set_only(from);
        self.past.clear();
    }

    fn grow(&mut self, entries: usize, at: Instant) {
        while self.born.len() < entries {
            self.born.push(at);
        }
    }

    /// What a packet did: `lapsed` is the place of an entry that had ended before it, with its end.
    pub(super) fn packet(&mut self, now: Instant, after: usize, lapsed: Option<(usize, Until)>) {
        if let Some((place, until)) = lapsed
            && let Some(from) = self.born.at(place).copied()
        {
            self.past.push(Life { from, until });
            self.born.remove(Slot(place));
        }
        while self.born.len() > after {
            let last = self.born.len() - 1;
            if let Some(from) = self.born.at(last).copied() {
                self.past.push(Life { from, until: Until::At(now) });
            }
            self.born.remove(Slot(last));
        }
        self.grow(after, now);
    }

    /// Every life: those that are over, and those of the entries that are still there.
    pub fn each(&self, hop: &Hop, state: &HopState, mut tell: impl FnMut(Life)) {
        self.past.iter().for_each(|life| tell(*life));
        let mut place = 0;
        hop.for_each_timer(state, |refreshed, timer| {
            let from = self.born.at(place).copied().unwrap_or(refreshed);
            tell(Life { from, until: Until::RunsOut { refreshed, timer } });
            place += 1;
        });
    }
}

/// A box's entries just before a packet: how many, and the first few with their timers.
pub(super) struct Entries {
    pub(super) count: usize,
    first: [(Instant, TimerId); 4],
}

impl Entries {
    pub(super) fn of(hop: &Hop, state: &HopState) -> Entries {
        let mut entries = Entries { count: 0, first: [(Instant::ZERO, TimerId(0)); 4] };
        hop.for_each_timer(state, |refreshed, timer| {
            if let Some(slot) = entries.first.get_mut(entries.count) {
                *slot = (refreshed, timer);
            }
            entries.count += 1;
        });
        entries
    }

    /// Which of them ended, and how.
    pub(super) fn place_of(&self, lapse: &Lapse) -> Option<(usize, Until)> {
        let known = &self.first[..self.count.min(self.first.len())];
        let place = known.iter().position(|(refreshed, _)| *refreshed == lapse.refreshed)?;
        Some((place, Until::RunsOut { refreshed: known[place].0, timer: known[place].1 }))
    }
}
