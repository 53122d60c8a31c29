//! A time axis that shortens silence, so that a handshake and a night without a packet stand on one sheet.
//!
//! Between the moments at which something happens time is even; how wide such a stretch is follows the logarithm of its
//! length. Nothing here knows packets or timers, and nothing here draws.

/// Stretches longer than this are told apart; shorter ones are all alike, seconds.
const SHORT: f64 = 0.01;
/// How much wider long stretches are than their logarithm.
const POWER: f64 = 1.5;
/// The narrowest stretch, pixels, as long as there is room.
const NARROW: f64 = 9.0;
/// More moments than this are drawn evenly in bursts between the longest silences.
const MOMENTS_MAX: usize = 64;
const SILENCES_MAX: usize = 24;

/// A stretch of time between two moments.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Stretch {
    /// Seconds.
    pub(super) from: f64,
    /// Seconds.
    pub(super) to: f64,
    /// Pixels.
    pub(super) left: f64,
    /// Pixels.
    pub(super) right: f64,
    /// Whether time runs much faster here than elsewhere on the axis.
    pub(super) shortened: bool,
}

impl Stretch {
    pub(super) fn secs(&self) -> f64 {
        self.to - self.from
    }

    pub(super) fn wide(&self) -> f64 {
        self.right - self.left
    }
}

/// The axis: stretches side by side.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) stretches: Vec<Stretch>,
    left: f64,
    right: f64,
}

impl Axis {
    /// An axis for things that happen at `moments` (seconds, in any order) between two pixels.
    pub(super) fn new(mut moments: Vec<f64>, (left, right): (f64, f64)) -> Axis {
        moments.retain(|at| at.is_finite());
        moments.sort_by(f64::total_cmp);
        moments.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
        if moments.len() > MOMENTS_MAX {
            moments = bursts(&moments);
        }
        let weigh = |secs: f64| (secs / SHORT).ln_1p().powf(POWER);
        let count = moments.len().saturating_sub(1).max(1) as f64;
        let least = NARROW.min(0.6 * (right - left) / count);
        let total: f64 = moments.windows(2).map(|pair| weigh(pair[1] - pair[0])).sum();
        let room = right - left - least * count;
        let mut x = left;
        let mut stretches: Vec<Stretch> = moments
            .windows(2)
            .map(|pair| {
                let from = x;
                x += least + if total > 0.0 { room * weigh(pair[1] - pair[0]) / total } else { 0.0 };
                Stretch { from: pair[0], to: pair[1], left: from, right: x, shortened: false }
            })
            .collect();
        let pace = |s: &Stretch| s.secs() / s.wide().max(1e-9);
        let slowest = stretches.iter().map(pace).fold(f64::INFINITY, f64::min);
        for stretch in &mut stretches {
            stretch.shortened = stretch.secs() >= 1.0 && pace(stretch) > 5.0 * slowest;
        }
        Axis { stretches, left, right }
    }

    /// The pixel of a time, seconds.
    pub(super) fn at(&self, secs: f64) -> f64 {
        let index = self.stretches.partition_point(|s| s.to < secs);
        match self.stretches.get(index) {
            Some(s) if secs >= s.from => s.left + s.wide() * (secs - s.from) / s.secs().max(1e-12),
            Some(_) => self.left,
            None if self.stretches.is_empty() => f64::midpoint(self.left, self.right),
            None => self.right,
        }
    }

    /// The moments strictly between two times, seconds: where the pace of the axis may change.
    pub(super) fn between(&self, from: f64, to: f64) -> impl Iterator<Item = f64> {
        self.stretches.iter().map(|s| s.from).filter(move |at| *at > from && *at < to)
    }
}

/// The ends of the longest silences, those that stand out from the usual distance, and both ends of all.
fn bursts(moments: &[f64]) -> Vec<f64> {
    let mut silences: Vec<(f64, usize)> = moments.windows(2).enumerate().map(|(index, pair)| (pair[1] - pair[0], index)).collect();
    silences.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let usual = silences[silences.len() / 2].0;
    let mut ends: Vec<usize> =
        silences.iter().take(SILENCES_MAX).filter(|s| s.0 > 4.0 * usual).flat_map(|(_, index)| [*index, index + 1]).collect();
    ends.extend([0, moments.len() - 1]);
    ends.sort_unstable();
    ends.dedup();
    ends.into_iter().map(|index| moments[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_and_a_long_silence_both_have_room() {
        let axis = Axis::new(vec![0.0, 0.02, 0.04, 7200.0, 7200.5], (0.0, 700.0));
        assert!(axis.at(0.02) - axis.at(0.0) >= NARROW && axis.at(7200.0) - axis.at(0.04) > 200.0);
        assert!(axis.stretches[2].shortened && !axis.stretches[0].shortened);
        assert!((axis.at(7200.5) - 700.0).abs() < 1e-6 && axis.at(-1.0).abs() < 1e-6 && (axis.at(1e9) - 700.0).abs() < 1e-6);
    }

    #[test]
    fn even_traffic_is_even() {
        let axis = Axis::new((0..5000).map(f64::from).collect(), (0.0, 1000.0));
        assert!((axis.at(2499.5) - 500.0).abs() < 1e-6, "{}", axis.at(2499.5));
        assert!(axis.stretches.iter().all(|s| !s.shortened));
    }

    #[test]
    fn one_moment_stands_in_the_middle() {
        assert!((Axis::new(vec![5.0], (0.0, 10.0)).at(5.0) - 5.0).abs() < 1e-9);
    }
}
