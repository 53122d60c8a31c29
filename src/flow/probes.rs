//! Keepalive probes of one direction: how many, how far apart, and whether anyone answered.
//!
//! What a probe looks like is decided in `sequence`; this only counts.

use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// The keepalive probes that one side sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeTrain {
    /// How many probes were captured.
    pub count: u32,
    /// How many of them the other side answered, with an ACK or with anything else.
    pub answered: u32,
    /// The shortest time between two probes, to the millisecond.
    pub interval_min: Option<Duration>,
    /// The time between the last two probes, to the millisecond.
    pub interval_last: Option<Duration>,
}

/// The same in 16 bytes. Instants are milliseconds since the start of the flow and may wrap after 49 days: only their
/// differences are used.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Probes {
    count: u16,
    answered: u16,
    interval_min: u32,
    interval_last: u32,
    last: u32,
}

impl Probes {
    pub(super) const EMPTY: Probes = Probes { count: 0, answered: 0, interval_min: 0, interval_last: 0, last: 0 };

    /// A probe, so long after the start of the flow.
    pub(super) fn sent(&mut self, age: Duration) {
        let now = (age.0 / 1_000_000) as u32;
        if self.count > 0 {
            self.interval_last = now.wrapping_sub(self.last);
            self.interval_min = if self.count == 1 { self.interval_last } else { self.interval_min.min(self.interval_last) };
        }
        self.last = now;
        self.count = self.count.saturating_add(1);
    }

    pub(super) fn answered(&mut self) {
        self.answered = self.answered.saturating_add(1);
    }

    pub(super) fn train(&self) -> Option<ProbeTrain> {
        let interval = |millis: u32| (self.count > 1).then(|| Duration::from_millis(u64::from(millis)));
        (self.count > 0).then(|| ProbeTrain {
            count: u32::from(self.count),
            answered: u32::from(self.answered),
            interval_min: interval(self.interval_min),
            interval_last: interval(self.interval_last),
        })
    }
}
