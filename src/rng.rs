//! Random numbers that are the same on every machine and for ever: SplitMix64, keyed by what the numbers are for.
//!
//! Nothing here asks the operating system for entropy; a seed is an argument.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A stream of its own for each (seed, key): numbers of one do not shift those of another.
    pub const fn keyed(seed: u64, key: u64) -> Rng {
        Rng(mix(seed ^ mix(key.wrapping_add(GOLDEN))))
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `bound`, nearly evenly; 0 where `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.number() as u128 * bound as u128) >> 64) as u64
    }

    /// Whether something happens that happens in `percent` of a hundred cases.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several things, each as likely as the others.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len() as u64) as usize]
    }

    /// One of several things, each as likely as its weight says.
    ///
    /// # Panics
    /// If the weights add up to nothing.
    pub fn weighted<T: Copy>(&mut self, things: &[(u64, T)]) -> T {
        let mut at = self.below(things.iter().map(|(weight, _)| weight).sum());
        for (weight, thing) in things {
            if at < *weight {
                return *thing;
            }
            at -= weight;
        }
        things[things.len() - 1].1
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first numbers of seed 1234567.
    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut rng = Rng::new(1_234_567);
        let numbers = [(); 3].map(|()| rng.number());
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn weights_are_kept_and_keys_part_the_streams() {
        let mut rng = Rng::keyed(1, 2);
        let heavy = (0..10_000).filter(|_| rng.weighted(&[(9, true), (1, false)])).count();
        assert!((8_800..9_200).contains(&heavy), "{heavy}");
        assert_ne!(Rng::keyed(1, 2).number(), Rng::keyed(1, 3).number());
        assert_eq!(Rng::new(0).below(0), 0);
    }
}
