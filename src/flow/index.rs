//! Which flows have a hash: one look at one place of memory, nearly always.
//!
//! The upper half of a hash stands beside the flow's number, so that whoever asks looks at no flow, and neither does growing. Slots
//! are in the order of these halves, each at its home (its half of the hash, scaled to how many homes there are) or as soon behind it
//! as there is room: a new one moves those behind it on to the next free slot, and one that goes lets them back. So a search ends at the
//! first greater one, and none stands far from its home. Knows no flows.
//!
//! A usual hash table branches on what it finds before it asks for what is next: the misses of 32 guesses in a row then come one after
//! another. Where many flows share one half of a hash (somebody chose their addresses so), a search is as long as they are many, and each
//! takes up to 512 bytes behind the homes; no answer changes.

use super::FlowIndex;

/// A half of a hash above a flow's number. No flow has the number of all ones: [`FREE`] is greater than every slot.
type Slot = u64;

const FREE: Slot = u64::MAX;
const NOBODY: u32 = u32::MAX;
/// So many slots from its home on are looked at for a guess.
const NEAR: usize = 4;
const HOMES_MIN: u32 = 16;

/// Numbers of flows by their hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Those behind the homes are for what has no room there. Before one is added the last is free.
    slots: Vec<Slot>,
    homes: u32,
    held: usize,
}

const fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

const fn slot(half: u32, FlowIndex(flow): FlowIndex) -> Slot {
    (half as u64) << 32 | flow as u64
}

const fn half_of(slot: Slot) -> u32 {
    (slot >> 32) as u32
}

const fn flow_of(slot: Slot) -> FlowIndex {
    FlowIndex(slot as u32)
}

impl Index {
    #[inline]
    fn home(&self, half: u32) -> usize {
        ((u64::from(half) * u64::from(self.homes)) >> 32) as usize
    }

    /// A flow with this hash, or with its upper half; where none is found it may still be there. Without a branch that depends on
    /// what is found, so that many that are asked in a row come from memory at once.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> Option<FlowIndex> {
        let half = half(hash);
        let near: &[Slot; NEAR] = self.slots.get(self.home(half)..)?.first_chunk()?;
        let found = near.iter().fold(NOBODY, |found, slot| if half_of(*slot) == half { *slot as u32 } else { found });
        (found != NOBODY).then_some(FlowIndex(found))
    }

    /// The place of the first flow with the upper half of this hash of which something holds.
    #[inline]
    fn place(&self, hash: u64, fits: impl Fn(FlowIndex) -> bool) -> Option<usize> {
        let half = half(hash);
        let (home, last) = (self.home(half), slot(half, FlowIndex(NOBODY)));
        let rest = self.slots.get(home..)?;
        let mut reached = rest.iter().take_while(|slot| **slot < last);
        reached.position(|slot| half_of(*slot) == half && fits(flow_of(*slot))).map(|at| home + at)
    }

    /// The first flow with the upper half of this hash of which something holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, fits: impl Fn(FlowIndex) -> bool) -> Option<FlowIndex> {
        self.place(hash, fits).map(|at| flow_of(self.slots[at]))
    }

    /// Adds a flow.
    pub(super) fn insert(&mut self, hash: u64, flow: FlowIndex) {
        if (self.held + 1) * 4 > self.homes as usize * 3 || self.slots.last() != Some(&FREE) {
            self.grow();
        }
        let half = half(hash);
        let (home, mut carried) = (self.home(half), slot(half, flow));
        for slot in &mut self.slots[home..] {
            if carried < *slot {
                std::mem::swap(&mut carried, slot);
                if carried == FREE {
                    break;
                }
            }
        }
        self.held += 1;
    }

    /// Gives the slot of a flow to another one with the same hash; says whether it had one.
    pub(super) fn replace(&mut self, hash: u64, old: FlowIndex, new: FlowIndex) -> bool {
        let at = self.place(hash, |flow| flow == old);
        if let Some(at) = at {
            self.slots[at] = slot(half(hash), new);
        }
        at.is_some()
    }

    /// Takes a flow out, if it is there.
    pub(super) fn remove(&mut self, hash: u64, flow: FlowIndex) {
        let Some(mut at) = self.place(hash, |other| other == flow) else { return };
        while let Some(next) = self.slots.get(at + 1).copied().filter(|next| *next != FREE && self.home(half_of(*next)) <= at) {
            self.slots[at] = next;
            at += 1;
        }
        self.slots[at] = FREE;
        self.held -= 1;
    }

    /// A quarter more homes.
    #[cold]
    fn grow(&mut self) {
        self.homes = self.homes.saturating_add(self.homes / 4).max(HOMES_MIN);
        // Behind the last homes there is room as well, and no less than a guess looks at.
        let room = self.homes as usize + self.homes as usize / 64 + NEAR;
        let old = std::mem::replace(&mut self.slots, vec![FREE; room]);
        let mut next = 0;
        for slot in old.into_iter().filter(|slot| *slot != FREE) {
            let at = self.home(half_of(slot)).max(next);
            next = at + 1;
            if next >= self.slots.len() {
                self.slots.resize(next + NEAR, FREE);
            }
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few hashes, some of which share their upper half, at both ends of all.
    fn hash() -> impl Strategy<Value = u64> {
        let half = prop_oneof![Just(0_u64), Just(u64::from(u32::MAX)), 0..8_u64, any::<u32>().prop_map(u64::from)];
        (half, 0..3_u64).prop_map(|(half, low)| half << 32 | low)
    }

    proptest! {
        #[test]
        fn it_holds_what_a_list_holds(steps in prop::collection::vec((hash(), 0..4_u8, any::<prop::sample::Index>()), 0..400)) {
            let (mut index, mut list) = (Index::default(), Vec::<(u64, FlowIndex)>::new());
            for (number, (hash, kind, which)) in steps.into_iter().enumerate() {
                let fresh = FlowIndex(number as u32);
                match kind {
                    0 if !list.is_empty() => {
                        let (hash, flow) = list.swap_remove(which.index(list.len()));
                        index.remove(hash, flow);
                        index.remove(hash, flow);
                    }
                    1 if !list.is_empty() => {
                        let at = which.index(list.len());
                        prop_assert!(index.replace(list[at].0, list[at].1, fresh));
                        list[at].1 = fresh;
                    }
                    _ => {
                        index.insert(hash, fresh);
                        list.push((hash, fresh));
                    }
                }
                prop_assert!(!index.replace(hash, FlowIndex(1 << 20), fresh));
                prop_assert_eq!(index.held, list.len());
                prop_assert!(index.slots.iter().filter(|slot| **slot != FREE).map(|slot| half_of(*slot)).is_sorted());
                for (hash, flow) in &list {
                    prop_assert_eq!(index.find(*hash, |other| other == *flow), Some(*flow));
                    let guessed = index.guess(*hash);
                    prop_assert!(guessed.is_none_or(|guess| list.iter().any(|(other, flow)| *flow == guess && half(*other) == half(*hash))));
                }
            }
        }
    }

    #[test]
    fn nine_in_ten_guesses_are_right() {
        let mut index = Index::default();
        let hash = |number: u32| {
            u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29)
        };
        let mut shares = Vec::new();
        for number in 0..100_000 {
            index.insert(hash(number), FlowIndex(number));
            if number % 2_000 == 1_999 {
                let right = (0..=number).filter(|one| index.guess(hash(*one)) == Some(FlowIndex(*one))).count();
                shares.push(right as f64 / f64::from(number + 1));
            }
        }
        // The fewer the fuller it is, and the most when it has just grown.
        let (least, most) = (shares.iter().copied().fold(1.0, f64::min), shares.iter().copied().fold(0.0, f64::max));
        assert!(least > 0.84 && most > 0.93, "{least} to {most}");
    }
}
