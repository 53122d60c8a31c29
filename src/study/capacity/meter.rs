//! What is counted of a table over time: how full it is by class, when it was fullest, how long entries stay.
//!
//! It knows neither packets nor boxes.

use super::carry::CLASSES;
use crate::time::{Duration, Instant};

/// A table at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Census {
    /// Entries that have not ended, by class.
    pub classes: [u64; CLASSES],
    /// Entries that have ended and are in the table still.
    pub ended: u64,
}

impl Census {
    /// Entries that have not ended.
    pub fn live(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// What the kernel counts.
    pub fn count(&self) -> u64 {
        self.live() + self.ended
    }
}

/// A table over time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meter {
    /// What was counted at evenly spread moments.
    pub samples: Vec<(Instant, Census)>,
    /// When most entries were in the table that had not ended, and which.
    pub peak: (Instant, Census),
    /// When most were in the table, those included that had ended.
    pub count_peak: (Instant, u64),
    /// Entries that were made.
    pub made: u64,
    begin: Instant,
    end: Instant,
    step: Duration,
    last: Instant,
    now: Census,
    live: u64,
    area: u128,
    /// Ends less beginnings of lives, nanoseconds.
    lived: i128,
}

impl Meter {
    /// How many samples there are: enough for any picture.
    pub const SAMPLES: u64 = 800;

    /// An empty table.
    pub fn new(begin: Instant, end: Instant) -> Meter {
        let step = Duration((end.since(begin).0 / Self::SAMPLES).max(1));
        Meter {
            samples: Vec::new(),
            peak: (begin, Census::default()),
            count_peak: (begin, 0),
            made: 0,
            begin,
            end,
            step,
            last: begin,
            now: Census::default(),
            live: 0,
            area: 0,
            lived: 0,
        }
    }

    /// What the table holds from `at` on. Times do not go back; what comes after the end is not counted.
    pub fn set(&mut self, at: Instant, now: Census) {
        self.pass(at);
        let live = now.live();
        let birth = i128::from(at.since(self.begin).0);
        self.lived -= (i128::from(live) - i128::from(self.live)) * birth;
        (self.now, self.live) = (now, live);
        if live > self.peak.1.live() {
            self.peak = (at, now);
        }
        let count = live + now.ended;
        if count > self.count_peak.1 {
            self.count_peak = (at, count);
        }
    }

    /// Time passes.
    pub fn pass(&mut self, at: Instant) {
        let at = at.min(self.end);
        while let Some(next) = self.next_sample().filter(|next| *next < at) {
            self.samples.push((next, self.now));
        }
        self.area += u128::from(at.since(self.last).0) * u128::from(self.live);
        self.last = self.last.max(at);
    }

    fn next_sample(&self) -> Option<Instant> {
        let number = self.samples.len() as u64;
        (number <= Self::SAMPLES).then(|| self.begin + self.step.saturating_mul(number))
    }

    /// The end comes earlier than it was meant to.
    pub fn cut(&mut self, at: Instant) {
        self.end = self.end.min(at.max(self.last));
    }

    /// The end has come.
    pub fn finish(&mut self) {
        self.pass(self.end);
        while let Some(next) = self.next_sample().filter(|next| *next <= self.end) {
            self.samples.push((next, self.now));
        }
        self.lived += i128::from(self.live) * i128::from(self.end.since(self.begin).0);
    }

    /// From when until when, as a length.
    pub fn span(&self) -> Duration {
        self.end.since(self.begin)
    }

    /// Entries on average over time.
    pub fn mean(&self) -> f64 {
        self.area as f64 / (self.span().0 as f64).max(1.0)
    }

    /// Entries that 95 % of the samples do not exceed.
    pub fn p95(&self) -> u64 {
        let mut live: Vec<u64> = self.samples.iter().map(|(_, census)| census.live()).collect();
        live.sort_unstable();
        live.get((live.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0)
    }

    /// How long an entry stays on average, of what lies between begin and end, seconds.
    pub fn mean_life(&self) -> f64 {
        if self.made == 0 { 0.0 } else { self.lived as f64 / 1e9 / self.made as f64 }
    }

    /// Entries made a second.
    pub fn arrivals(&self) -> f64 {
        self.made as f64 / self.span().as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_means_and_samples_are_those_of_the_steps() {
        let at = Instant::from_secs;
        let census = |live: u64, ended: u64| {
            let mut classes = [0; CLASSES];
            classes[3] = live;
            Census { classes, ended }
        };
        let mut meter = Meter::new(at(100), at(200));
        meter.made = 3;
        meter.set(at(110), census(2, 0));
        meter.set(at(150), census(1, 3));
        meter.set(at(160), census(2, 0));
        meter.finish();
        assert_eq!(meter.peak, (at(110), census(2, 0)));
        assert_eq!(meter.count_peak, (at(150), 4));
        assert!((meter.mean() - 1.7).abs() < 1e-9);
        assert!((meter.arrivals() * meter.mean_life() - meter.mean()).abs() < 1e-9);
        assert_eq!(meter.samples.len(), 801);
        assert_eq!(meter.samples[79].1, census(0, 0));
        assert_eq!(meter.samples[80], (at(110), census(2, 0)), "what begins in this instant is there");
        assert_eq!(meter.p95(), 2);
    }
}
