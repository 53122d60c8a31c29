//! Sets of policies, as small as they can be: nearly always it is all of them.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Which members of a class share something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Members {
    /// From one on, up to another, of so many: all of them, none, or neighbours on an axis.
    Between(u32, u32, u32),
    /// Those whose bits are set, of so many.
    Some(Box<[u64]>, u32),
}

impl Members {
    /// All of so many.
    pub const fn all(of: u32) -> Members {
        Members::Between(0, of, of)
    }

    /// Nobody, of so many.
    pub const fn none(of: u32) -> Members {
        Members::Between(0, 0, of)
    }

    /// The same, for some to be put in.
    pub fn blank(of: u32) -> Members {
        Members::Some(vec![0; of.div_ceil(64) as usize].into(), of)
    }

    /// Those from one on, up to another, of so many.
    pub const fn between(from: u32, to: u32, of: u32) -> Members {
        if from >= to { Members::none(of) } else { Members::Between(from, to, of) }
    }

    /// How many there could be.
    pub const fn of(&self) -> u32 {
        match self {
            Members::Between(_, _, of) | Members::Some(_, of) => *of,
        }
    }

    /// The first one and the one behind the last, where they are unbroken.
    const fn range(&self) -> Option<(u32, u32)> {
        match self {
            Members::Between(from, to, _) => Some((*from, *to)),
            Members::Some(..) => None,
        }
    }

    /// Whether it is all of them.
    pub const fn is_all(&self) -> bool {
        matches!(self, Members::Between(0, to, of) if *to == *of)
    }

    /// Whether it is none of them.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Sixty-four of them from `index` times sixty-four on, as bits.
    pub fn word(&self, index: usize) -> u64 {
        match self {
            Members::Between(from, to, _) => below(*to, index) & !below(*from, index),
            Members::Some(words, _) => words.get(index).copied().unwrap_or(0),
        }
    }

    fn words(&self) -> usize {
        self.of().div_ceil(64) as usize
    }

    /// Adds one to a set that was blank.
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
        if let Some((first, end)) = self.range() {
            let found = match inside {
                true if from < end => from.max(first),
                false if from < first => from,
                false => from.max(end),
                true => return None,
            };
            return Some(found).filter(|at| *at < self.of());
        }
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
        if let Some((from, to)) = self.range() {
            return to - from;
        }
        (0..self.words()).map(|index| self.word(index).count_ones()).sum()
    }

    /// Those that a test holds for, and the others.
    pub fn split(&self, mut test: impl FnMut(u32) -> bool) -> (Members, Members) {
        let mut yes = Members::blank(self.of());
        self.iter().filter(|member| test(*member)).for_each(|member| yes.insert(member));
        self.divide(&yes)
    }

    /// Those that are in another set too, and those that are not.
    pub fn divide(&self, other: &Members) -> (Members, Members) {
        if let (Some((from, to)), Some((first, end))) = (self.range(), other.range()) {
            let of = self.of();
            let (before, behind) = (Members::between(from, to.min(first), of), Members::between(from.max(end), to, of));
            if before.is_empty() || behind.is_empty() || first >= end {
                let rest = if first >= end {
                    self.clone()
                } else if before.is_empty() {
                    behind
                } else {
                    before
                };
                return (Members::between(from.max(first), to.min(end), of), rest);
            }
        }
        let made = |join: &dyn Fn(u64, u64) -> u64| {
            let words = (0..self.words()).map(|index| join(self.word(index), other.word(index))).collect();
            Members::Some(words, self.of()).simplest()
        };
        (made(&|mine, theirs| mine & theirs), made(&|mine, theirs| mine & !theirs))
    }

    /// The same set in its smallest form.
    fn simplest(self) -> Members {
        let (of, count) = (self.of(), self.count());
        match self.first() {
            None => Members::none(of),
            Some(first) if self.next_with(first, false).unwrap_or(of) - first == count => Members::between(first, first + count, of),
            Some(_) => self,
        }
    }
}

/// Of sixty-four members from `index` times sixty-four on those below a number, as bits.
const fn below(end: u32, index: usize) -> u64 {
    match (end as usize).saturating_sub(index * 64) {
        64.. => u64::MAX,
        rest => (1 << rest) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sets_come_apart_and_are_told_in_order() {
        let all = Members::all(130);
        let (even, odd) = all.split(|m| m.is_multiple_of(2));
        assert_eq!((even.count(), odd.count(), even.first(), odd.first()), (65, 65, Some(0), Some(1)));
        let (low, high) = all.split(|m| m < 100);
        assert!(low.ranges().eq([(0, 100)].map(|(from, to)| from..to)));
        assert!(high.ranges().eq([(100, 130)].map(|(from, to)| from..to)));
        assert_eq!((&low, &high), (&Members::Between(0, 100, 130), &Members::Between(100, 130, 130)));
        assert_eq!(even.divide(&low).0.count(), 50);
        assert_eq!(even.divide(&low).1.iter().next(), Some(100));
        assert!(all.split(|_| true).0.is_all() && all.split(|_| true).1.is_empty());
        assert!(Members::all(128).ranges().eq([(0, 128)].map(|(from, to)| from..to)));
    }

    proptest! {
        /// Unbroken sets are what the same sets are member by member.
        #[test]
        fn unbroken_sets_are_sets(of in 1u32..200, a in 0u32..200, b in 0u32..200, c in 0u32..200, d in 0u32..200, holes in any::<bool>()) {
            let holds = |m: u32| (a..b).contains(&m) && (!holes || !m.is_multiple_of(3));
            let one = if holes { Members::all(of).split(holds).0 } else { Members::between(a.min(of), b.min(of), of) };
            let other = Members::between(c.min(of), d.min(of), of);
            let listed = |test: &dyn Fn(u32) -> bool| (0..of).filter(|m| test(*m)).collect::<Vec<u32>>();
            let (both, rest) = one.divide(&other);
            let among = |m: u32| (c..d).contains(&m);
            for (set, members) in [(&one, listed(&holds)), (&both, listed(&|m| holds(m) && among(m))), (&rest, listed(&|m| holds(m) && !among(m)))] {
                prop_assert_eq!(&set.iter().collect::<Vec<_>>(), &members);
                prop_assert_eq!((set.count() as usize, set.first()), (members.len(), members.first().copied()));
                let bits = |m: &u32| set.word(*m as usize / 64) >> (m % 64) & 1 == 1;
                prop_assert_eq!(&(0..of).filter(bits).collect::<Vec<_>>(), &members);
                prop_assert!((0..of).all(|m| set.contains(m) == members.contains(&m)));
                prop_assert_eq!((set.is_empty(), set.is_all()), (members.is_empty(), members.len() == of as usize));
            }
        }
    }
}
