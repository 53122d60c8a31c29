//! What chance allows: a recorded number beside the same number of many runs of a model.
//!
//! A number that varies must lie in an interval that a right model leaves once in a million recordings, all numbers of a
//! recording together (Bonferroni). The interval comes from the runs' own mean m and variance v by Bennett's inequality:
//! a sum of steps of at most 1 is t away from its mean with a probability of at most exp(−v·h(t/v)), h(u) = (1+u)·ln(1+u) − u. For large v
//! this is the normal distribution's tail, for small v Poisson's. v is known from R runs only, so (1 + 5·√(2/R))·v + 14/R is taken
//! for it: 14/R, because what happens in none of R runs has a probability below 14/R (with the same confidence). What the
//! runs reached themselves is always allowed. Must not know what the numbers count.

/// A right model disagrees in so few of all recordings.
pub(super) const ALPHA: f64 = 1e-6;

/// The same for people.
pub(super) const CONFIDENCE: &str = "99.9999%";

/// How a number spread over the runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    runs: f64,
    mean: f64,
    squares: f64,
    least: f64,
    most: f64,
    /// Whether chance had a hand in it in any run; if not, the number is exact.
    chance: bool,
}

impl Spread {
    /// Of no run yet.
    pub(super) const NONE: Spread =
        Spread { runs: 0.0, mean: 0.0, squares: 0.0, least: f64::INFINITY, most: f64::NEG_INFINITY, chance: false };

    /// Adds a run (Welford).
    pub(super) fn add(&mut self, value: f64, chance: bool) {
        self.runs += 1.0;
        let off = value - self.mean;
        self.mean += off / self.runs;
        self.squares += off * (value - self.mean);
        self.least = self.least.min(value);
        self.most = self.most.max(value);
        self.chance |= chance;
    }

    pub(super) const fn mean(&self) -> f64 {
        self.mean
    }

    /// The variance that is reckoned with.
    pub(super) fn variance(&self) -> f64 {
        let runs = self.runs.max(2.0);
        self.squares / (runs - 1.0) * (1.0 + 5.0 * (2.0 / runs).sqrt()) + 14.0 / runs
    }

    /// The interval that a right model leaves with a probability of at most `alpha`.
    pub(super) fn interval(&self, alpha: f64) -> (f64, f64) {
        if !self.chance {
            return (self.least, self.most);
        }
        let reach = bennett(self.variance(), (2.0 / alpha).ln());
        ((self.mean - reach).min(self.least), (self.mean + reach).max(self.most))
    }

    /// The same by the normal distribution, for numbers that are no counts.
    pub(super) fn normal_interval(&self, alpha: f64) -> (f64, f64) {
        let reach = (2.0 * (2.0 / alpha).ln() * self.variance()).sqrt();
        ((self.mean - reach).min(self.least), (self.mean + reach).max(self.most))
    }
}

/// The t for which v·h(t/v) is `log`.
fn bennett(v: f64, log: f64) -> f64 {
    let exponent = |t: f64| {
        let u = t / v;
        v * ((1.0 + u) * u.ln_1p() - u)
    };
    let mut high = 1.0;
    while exponent(high) < log {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if exponent(middle) < log { low = middle } else { high = middle }
    }
    high
}

/// How unevenly counts spread about their expectation: the cube root (Wilson and Hilferty: nearly normal) of the sum of squares of
/// the differences, each by its own variance. Too little is as wrong as too much: a model that draws more freely than the
/// kernel expects more than it finds.
pub(super) fn unevenness<'a>(values: impl Iterator<Item = (f64, &'a Spread)>) -> f64 {
    values.map(|(value, spread)| (value - spread.mean()).powi(2) / spread.variance()).sum::<f64>().cbrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn spread(runs: u64, percent: u64, of: u64) -> Spread {
        let mut rng = Rng::new(11);
        let mut spread = Spread::NONE;
        for _ in 0..runs {
            spread.add((0..of).filter(|_| rng.chance(percent)).count() as f64, true);
        }
        spread
    }

    /// 400 coins: 200 ± 10; a millionth lies beyond 4.9 standard deviations, Bennett allows 5.6 and the variance's doubt 0.7.
    #[test]
    fn many_coins_are_held_to_the_normal_tail() {
        let (low, high) = spread(1000, 50, 400).interval(1e-6);
        assert!((130.0..146.0).contains(&low) && (254.0..270.0).contains(&high), "{low} {high}");
    }

    /// Of what happens once in a hundred runs, one is likely, two or three possible, ten are not.
    #[test]
    fn what_is_rare_is_allowed_a_few_times() {
        let (_, high) = spread(1000, 1, 1).interval(1e-6);
        assert!((2.0..6.0).contains(&high), "{high}");
    }

    #[test]
    fn what_chance_has_no_hand_in_is_exact() {
        let mut spread = Spread::NONE;
        (0..10).for_each(|_| spread.add(7.0, false));
        assert_eq!(spread.interval(1e-6), (7.0, 7.0));
    }
}
