//! Sets of policies, as small as they can be: nearly always it is all of them.

/// Which members of a class share something.
#[derive(Clone, PartialEq, Eq, Debug)]
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

    /// Adds one.
    pub fn insert(&mut self, member: u32) {
        if let Members::Some(bits, _) = self
            && let Some(word) = bits.get_mut(member as usize / 64)
        {
            *word |= 1 << (member % 64);
        }
    }

    /// Whether one is among them.
    pub fn contains(&self, member: u32) -> bool {
        match self {
            Members::All(of) => member < *of,
            Members::Some(bits, _) => bits.get(member as usize / 64).is_some_and(|word| word >> (member % 64) & 1 == 1),
        }
    }

    /// The members in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.of()).filter(|member| self.contains(*member))
    }

    /// The lowest one.
    pub fn first(&self) -> Option<u32> {
        match self {
            Members::All(of) => (*of > 0).then_some(0),
            Members::Some(bits, _) => {
                bits.iter().zip(0_u32..).find(|(word, _)| **word != 0).map(|(word, at)| at * 64 + word.trailing_zeros())
            }
        }
    }

    /// How many.
    pub fn count(&self) -> u32 {
        match self {
            Members::All(of) => *of,
            Members::Some(bits, _) => bits.iter().map(|word| word.count_ones()).sum(),
        }
    }

    /// Those that a test holds for, and the others.
    pub fn split(&self, mut test: impl FnMut(u32) -> bool) -> (Members, Members) {
        let (mut yes, mut no) = (Members::none(self.of()), Members::none(self.of()));
        for member in self.iter() {
            if test(member) { yes.insert(member) } else { no.insert(member) }
        }
        (yes.simplest(), no)
    }

    /// The same set in its smallest form.
    fn simplest(self) -> Members {
        if self.count() == self.of() { Members::All(self.of()) } else { self }
    }
}
