//! The conntrack entries that can concern one flow, and how they are found and found to have ended.
//!
//! Source: `nf_conntrack_find_get`, `nf_conntrack_tuple_taken` (`net/netfilter/nf_conntrack_core.c`). Judges no packets.

use super::entry::{Entry, status};
use crate::model::few::Few;
pub use crate::model::few::Slot;
pub use crate::model::lateness::Lateness;
use crate::model::{Lapse, Moment, Tuple};

/// The entries of one flow's packets, unconfirmed ones included.
pub type Table = Few<Entry>;

impl Few<Entry> {
    /// Finds the confirmed entry of a tuple and the direction that the tuple has in it. An entry that has ended is removed
    /// on the way and reported, as the look-up does from 4.9 on (before, its timer did).
    pub(crate) fn find(
        &mut self,
        tuple: Tuple,
        moment: &mut Moment,
        lapse: &mut Option<Lapse>,
        lateness: Lateness,
    ) -> Option<(Slot, usize)> {
        let mut index = 0;
        while let Some(entry) = self.at(index) {
            let dir = usize::from(entry.original != tuple);
            if dir == 1 && entry.reply != tuple || !entry.is(status::CONFIRMED) {
                index += 1;
                continue;
            }
            if lateness.has_ended(entry.refreshed, entry.timeout, moment) {
                *lapse = Some(entry.lapse());
                self.remove(Slot(index));
                continue;
            }
            return Some((Slot(index), dir));
        }
        None
    }

    /// Whether a live entry other than `except` answers to a tuple in either direction.
    pub(crate) fn taken(&self, tuple: Tuple, except: Slot, moment: &mut Moment, lateness: Lateness) -> bool {
        self.iter().enumerate().any(|(index, e)| {
            index != except.0
                && e.is(status::CONFIRMED)
                && (e.original == tuple || e.reply == tuple)
                && !lateness.has_ended(e.refreshed, e.timeout, moment)
        })
    }
}
