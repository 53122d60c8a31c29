//! Where the clock of a capture was set back, and where it came to times again that it had been at: between such times nobody knows how
//! long a silence was.
//!
//! Looks at the times of records alone, in the order in which they are read; knows no flows.

use crate::flow::CLOCK_SLACK;
use crate::time::{Duration, Instant};

/// How often the clock of the capture went back.
#[derive(Clone, Debug)]
pub struct Steps {
    /// The time of the last record.
    now: Instant,
    /// How often it went back.
    pub backwards: u64,
    /// How far at most.
    pub largest: Duration,
    /// Where the clock was before it was set back, until it comes there again.
    limit: Instant,
    /// From where to where it went since then.
    behind: (Instant, Instant),
    /// The same for all times that it came back.
    pub wrong: Option<(Instant, Instant)>,
}

impl Steps {
    /// No record has come.
    pub const NONE: Steps = Steps {
        now: Instant::ZERO,
        backwards: 0,
        largest: Duration::ZERO,
        limit: Instant::MAX,
        behind: (Instant::MAX, Instant::ZERO),
        wrong: None,
    };

    /// Takes the time of the next record.
    #[inline(always)]
    pub fn note(&mut self, at: Instant) {
        if at < self.now || at >= self.limit {
            self.turn(at);
        }
        self.now = at;
    }

    #[cold]
    fn turn(&mut self, at: Instant) {
        let step = self.now.since(at);
        self.backwards += u64::from(at < self.now);
        self.largest = self.largest.max(step);
        if self.limit < Instant::MAX {
            self.behind.1 = self.behind.1.max(self.now);
        }
        if at >= self.limit {
            let (from, to) = self.wrong.unwrap_or(self.behind);
            self.wrong = Some((from.min(self.behind.0), to.max(self.behind.1)));
            (self.limit, self.behind) = (Instant::MAX, Steps::NONE.behind);
        } else if step > CLOCK_SLACK {
            if self.limit == Instant::MAX {
                self.limit = Instant(self.now.0.saturating_sub(CLOCK_SLACK.0));
            }
            self.behind.0 = self.behind.0.min(at);
        }
    }

    /// When the capture ended. Where the clock was set, the last record says it: a silence up to the latest time of all would be
    /// measured with two clocks.
    pub fn end(&self, latest: Instant) -> Instant {
        if self.largest > CLOCK_SLACK { self.now } else { latest }
    }

    /// The time of the last record.
    pub const fn last(&self) -> Instant {
        self.now
    }

    /// From where to where the clock went since it was set back, where it has not come as far again.
    pub fn unfinished(&self) -> Option<(Instant, Instant)> {
        (self.limit < Instant::MAX).then(|| (self.behind.0, self.behind.1.max(self.now)))
    }
}
