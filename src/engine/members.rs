//! Sets of policies, as small as they can be: nearly always it is all of them.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Which members of a class share something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Members {
    /// All of so many.
    All(u32),
    /// Those whose bits are set, of so many.
    Some(Box<[u64]>, u32),
}

impl Members {
    /// Nobody, of so many.
    pub fn none(of: u32) -> Members {
        Members::Some(vec![0; of.div_ceil(64) as usize].into(), of)
    }

    /// How many there could be.
    pub const fn of(&self) -> u32 {
        match self {
            Members::All(of) | Members::Some(_, of) => *of,
        }
    }

    /// Whether it is all of them.
    pub const fn is_all(&self) -> bool {
        matches!(self, Members::All(_))
    }

    /// Whether it is none of them.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Sixty-four of them from `index` times sixty-four on, as bits.
    pub fn word(&self, index: usize) -> u64 {
        match self {
            Members::All(of) => match (*of as usize).saturating_sub(index * 64) {
                64.. => u64::MAX,
                rest => (1 << rest) - 1,
            },
            Members::Some(words, _) => words.get(index).copied().unwrap_or(0),
        }
    }

    fn words(&self) -> usize {
        self.of().div_ceil(64) as usize
    }

    /// Adds one to a set that is not all.
    pub fn insert(&mut self, member: u32) {
        if let Members::Some(bits, _) = self
            && let Some(word) = bits.get_mut(member as usize / 64)
        {
            *word |= 1 << (member % 64);
        }
    }

    /// Whether one is among them.
    pub fn contains(&self, member: u32) -> bool {
        self.word(member as usize / 64) >> (member % 64) & 1 == 1
    }

    /// The members in rising order, as unbroken ranges.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let of = self.of();
        let mut from = 0;
        std::iter::from_fn(move || {
            let begin = self.next_with(from, true)?;
            let end = self.next_with(begin, false).unwrap_or(of);
            from = end;
            Some(begin..end)
        })
    }

    /// The members in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges().flatten()
    }

    /// The first place from `from` on that is in the set, or that is not.
    fn next_with(&self, from: u32, inside: bool) -> Option<u32> {
        let mut index = from as usize / 64;
        let mut mask = u64::MAX << (from % 64);
        while index < self.words() {
            let word = self.word(index);
            let found = if inside { word } else { !word } & mask;
            if found != 0 {
                return Some(index as u32 * 64 + found.trailing_zeros()).filter(|at| *at < self.of());
            }
            index += 1;
            mask = u64::MAX;
        }
        None
    }

    /// The lowest one.
    pub fn first(&self) -> Option<u32> {
        self.next_with(0, true)
    }

    /// How many.
    pub fn count(&self) -> u32 {
        (0..self.words()).map(|index| self.word(index).count_ones()).sum()
    }

    /// Those that a test holds for, and the others.
    pub fn split(&self, mut test: impl FnMut(u32) -> bool) -> (Members, Members) {
        let mut yes = Members::none(self.of());
        self.iter().filter(|member| test(*member)).for_each(|member| yes.insert(member));
        self.divide(&yes)
    }

    /// Those that are in another set too, and those that are not.
    pub fn divide(&self, other: &Members) -> (Members, Members) {
        let made = |join: &dyn Fn(u64, u64) -> u64| {
            let words = (0..self.words()).map(|index| join(self.word(index), other.word(index))).collect();
            Members::Some(words, self.of()).simplest()
        };
        (made(&|mine, theirs| mine & theirs), made(&|mine, theirs| mine & !theirs))
    }

    /// The same set in its smallest form.
    fn simplest(self) -> Members {
        if self.count() == self.of() { Members::All(self.of()) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_come_apart_and_are_told_in_order() {
        let all = Members::All(130);
        let (even, odd) = all.split(|m| m % 2 == 0);
        assert_eq!((even.count(), odd.count(), even.first(), odd.first()), (65, 65, Some(0), Some(1)));
        let (low, high) = all.split(|m| m < 100);
        assert!(low.ranges().eq([(0, 100)].map(|(from, to)| from..to)));
        assert!(high.ranges().eq([(100, 130)].map(|(from, to)| from..to)));
        assert_eq!(even.divide(&low).0.count(), 50);
        assert_eq!(even.divide(&low).1.iter().next(), Some(100));
        assert!(all.split(|_| true).0.is_all() && all.split(|_| true).1.is_empty());
        assert!(Members::All(128).ranges().eq([(0, 128)].map(|(from, to)| from..to)));
    }
}
