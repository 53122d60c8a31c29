//! The numbers under which a table keeps the entries of flows: given out, taken back and given out again.
//!
//! A flow has one pair of numbers at each box. Numbers of flows that are gone come back once the table no longer holds them, so that
//! memory follows the entries that there are and not the flows that there were. It knows neither tables nor packets.

/// Nobody.
const NOBODY: u32 = u32::MAX;
/// A flow that has nothing more to say, of which the table may hold an entry.
const GONE: u32 = u32::MAX - 1;
/// No entry.
pub const NO_CLASS: u8 = u8::MAX;

#[derive(Clone, Copy)]
struct Pair {
    owner: u32,
    flood: bool,
    class: [u8; 2],
}

/// The pairs of one table.
#[derive(Default)]
pub struct Pairs {
    all: Vec<Pair>,
    free: Vec<u32>,
    /// Pairs that were added since the last search for free ones.
    added: usize,
}

impl Pairs {
    /// A pair for a flow. `holds` says whether the table still holds a number.
    pub fn take(&mut self, owner: u32, flood: bool, holds: impl Fn(u32) -> bool) -> u32 {
        if self.free.is_empty() && self.added >= 1024.max(self.all.len() / 2) {
            self.added = 0;
            for (number, pair) in self.all.iter_mut().enumerate() {
                let number = number as u32;
                if pair.owner == GONE && !holds(number * 2) && !holds(number * 2 + 1) {
                    pair.owner = NOBODY;
                    self.free.push(number);
                }
            }
            // Small numbers first: tables take memory up to the largest.
            self.free.reverse();
        }
        let fresh = Pair { owner, flood, class: [NO_CLASS; 2] };
        self.added += 1;
        if let Some(number) = self.free.pop() {
            self.all[number as usize] = fresh;
            return number;
        }
        self.all.push(fresh);
        self.all.len() as u32 - 1
    }

    /// Its flow has nothing more to say.
    pub fn leave(&mut self, pair: u32, holds: impl Fn(u32) -> bool) {
        let Some(slot) = self.all.get_mut(pair as usize) else { return };
        if holds(pair * 2) || holds(pair * 2 + 1) {
            slot.owner = GONE;
        } else {
            slot.owner = NOBODY;
            self.free.push(pair);
        }
    }

    /// Whose it is, if that flow still has something to say.
    pub fn owner(&self, pair: u32) -> Option<u32> {
        self.all.get(pair as usize).map(|pair| pair.owner).filter(|owner| *owner < GONE)
    }

    /// Whether it is the flood's.
    pub fn is_flood(&self, pair: u32) -> bool {
        self.all.get(pair as usize).is_some_and(|pair| pair.flood)
    }

    /// The class of an entry as it was last said.
    pub fn class(&self, id: u32) -> u8 {
        self.all.get((id / 2) as usize).map_or(NO_CLASS, |pair| pair.class[(id % 2) as usize])
    }

    /// Says the class of an entry; returns the one before.
    pub fn set_class(&mut self, id: u32, class: u8) -> u8 {
        match self.all.get_mut((id / 2) as usize) {
            Some(pair) => std::mem::replace(&mut pair.class[(id % 2) as usize], class),
            None => NO_CLASS,
        }
    }

    /// How many there are, used or not.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_when_the_table_lets_them_go() {
        let mut pairs = Pairs::default();
        let first: Vec<u32> = (0..3000).map(|owner| pairs.take(owner, false, |_| true)).collect();
        assert_eq!(first, (0..3000).collect::<Vec<_>>());
        for pair in 0..3000 {
            pairs.leave(pair, |id| id % 4 == 0);
        }
        assert_eq!((pairs.owner(0), pairs.owner(1)), (None, None));
        // The odd ones came back at once; the even ones do when the table is asked again.
        for owner in 0..1500 {
            assert_eq!(pairs.take(owner, true, |_| true) % 2, 1);
        }
        let again = pairs.take(7, true, |_| false);
        assert!(again < 3000 && again % 2 == 0);
        assert_eq!((pairs.len(), pairs.owner(again), pairs.is_flood(again)), (3000, Some(7), true));
    }
}
