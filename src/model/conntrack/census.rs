//! Entries of a full table by the caller's classes, and which of them have ended though nobody took them out.
//!
//! A kernel keeps no such count; it is for whoever wants to see how full a table is. It must not know what a class means.

use crate::model::deadlines::Deadlines;
use crate::time::Instant;

/// Into how many classes a caller may sort entries.
pub const CLASSES: usize = 16;

/// The count.
#[derive(Default)]
pub(super) struct Census {
    /// Entries that have not ended, by class.
    pub(super) classes: [u64; CLASSES],
    /// Those that have.
    pub(super) ended: u64,
    /// When entries end that nobody takes out then.
    pub(super) ends: Deadlines,
}

impl Census {
    /// An entry was made; it is of class 0 until somebody says otherwise.
    pub(super) const fn born(&mut self) {
        self.classes[0] += 1;
    }

    /// An entry went.
    pub(super) const fn gone(&mut self, class: u8, had_ended: bool) {
        if had_ended {
            self.ended -= 1;
        } else {
            self.classes[class as usize] -= 1;
        }
    }

    /// An entry has ended.
    pub(super) const fn ended(&mut self, class: u8) {
        self.classes[class as usize] -= 1;
        self.ended += 1;
    }

    /// An entry was renewed; `at` is its end where nobody takes it out then.
    pub(super) fn renewed(&mut self, id: u32, class: u8, had_ended: bool, at: Option<Instant>) {
        if had_ended {
            self.ended -= 1;
            self.classes[usize::from(class)] += 1;
        }
        if let Some(at) = at {
            self.ends.set(id, at);
        }
    }

    /// An entry is of another class now.
    pub(super) const fn moved(&mut self, from: u8, to: u8) {
        self.classes[from as usize] -= 1;
        self.classes[to as usize] += 1;
    }
}
