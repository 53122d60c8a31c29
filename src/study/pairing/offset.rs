//! How the clocks of two captures stand to each other. A packet that passes both points is never later at the first than at the
//! second: those of one direction bound the difference from above, those of the other from below.

use crate::net::Direction;
use crate::time::Instant;

/// How much the second capture's clock is ahead of the first's, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offset {
    /// The best guess.
    pub nanos: i128,
    /// How far it may be off in either direction; nothing where packets of one direction only were seen at both points.
    pub within: Option<i128>,
    /// Whether the bounds contradict each other: one of the clocks ran otherwise, or was set.
    pub drifts: bool,
    /// How many packets it rests on.
    pub packets: u32,
}

impl Offset {
    /// From packets that were seen at both points: their direction, and their times at the first and at the second. The first
    /// point is nearer to the client.
    pub fn of(seen: impl Iterator<Item = (Direction, Instant, Instant)>) -> Option<Offset> {
        let (mut above, mut below) = (None::<i128>, None::<i128>);
        let mut all = Vec::new();
        for (dir, near, far) in seen {
            let later = i128::from(far.0) - i128::from(near.0);
            all.push(later);
            match dir {
                Direction::Original => above = Some(above.map_or(later, |known| known.min(later))),
                Direction::Reply => below = Some(below.map_or(later, |known| known.max(later))),
            }
        }
        all.sort_unstable();
        let packets = all.len() as u32;
        let middle = *all.get(all.len() / 2)?;
        Some(match (below, above) {
            (Some(low), Some(high)) if low <= high => {
                Offset { nanos: low + (high - low) / 2, within: Some((high - low + 1) / 2), drifts: false, packets }
            }
            (Some(low), Some(high)) => Offset { nanos: middle, within: Some(low - high), drifts: true, packets },
            (Some(bound), None) | (None, Some(bound)) => Offset { nanos: bound, within: None, drifts: false, packets },
            (None, None) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_lies_between_the_bounds_of_both_directions() {
        let seen = [
            (Direction::Original, Instant(1_000), Instant(1_700)),
            (Direction::Original, Instant(2_000), Instant(2_650)),
            (Direction::Reply, Instant(3_100), Instant(3_500)),
        ];
        let offset = Offset::of(seen.into_iter()).expect("packets were seen");
        assert_eq!((offset.nanos, offset.within, offset.drifts), (525, Some(125), false));
        assert_eq!(Offset::of(seen.into_iter().take(2)).map(|offset| offset.within), Some(None));
        assert_eq!(Offset::of(std::iter::empty()), None);
    }
}
