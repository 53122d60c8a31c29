//! The arithmetic of a keepalive that must come before a timer ends: idle time, the timer wheel, the path, and lost probes.
//!
//! Source: the spec's ipvs.md section 12.1. Nothing here knows boxes or flows.

use crate::kernel::wheel::{Hz, lateness_max};
use crate::time::Duration;

/// What a keepalive has to fit into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Margin {
    /// The timer on the path that it must restart, T.
    pub timeout: Duration,
    /// Ticks a second of the end that sends it; none where its timers are exact, as before Linux 4.8.
    pub hz: Option<Hz>,
    /// The round trip, r: how long the probe may be on its way.
    pub round_trip: Duration,
    /// The interval between probes, I, in whole seconds.
    pub interval: u64,
    /// How many probes may be lost in a row, n. The end must send at least one more (`TCP_KEEPCNT`).
    pub lost: u32,
}

/// The largest idle time that fits, with its parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// What it was asked to fit into.
    pub margin: Margin,
    /// The idle time, K, in whole seconds, at least 1.
    pub idle: u64,
}

impl Margin {
    /// A timer alone: no path, and no probe is lost.
    pub const fn bare(timeout: Duration, hz: Option<Hz>) -> Margin {
        Margin { timeout, hz, round_trip: Duration::ZERO, interval: 0, lost: 0 }
    }

    /// How late the end's own timer may fire that it armed for so long.
    pub fn lateness(&self, armed: Duration) -> Duration {
        self.hz.map_or(Duration::ZERO, |hz| lateness_max(armed, hz))
    }

    /// The latest moment, after the last packet, at which the first probe that is not lost arrives: K + W(K) + r + n·(I + W(I)).
    pub fn latest(&self, idle: u64) -> Duration {
        let idle = Duration::from_secs(idle);
        idle + self.lateness(idle) + self.round_trip + self.probe().saturating_mul(u64::from(self.lost))
    }

    /// What one lost probe costs: I + W(I).
    fn probe(&self) -> Duration {
        let interval = Duration::from_secs(self.interval);
        interval + self.lateness(interval)
    }

    /// The largest idle time in whole seconds with which that moment lies before the timer's end; nothing where not even 1 s does.
    pub fn largest(&self) -> Option<Budget> {
        // A longer idle time is never less late, so the search may halve: `fits` holds up to the answer and not beyond.
        let (mut fits, mut beyond) = (0, self.timeout.as_secs().saturating_add(1));
        while beyond - fits > 1 {
            let middle = fits + (beyond - fits) / 2;
            if self.latest(middle) < self.timeout { fits = middle } else { beyond = middle }
        }
        (fits > 0).then_some(Budget { margin: *self, idle: fits })
    }
}

impl Budget {
    /// The latest moment, after the last packet, at which the first probe that is not lost arrives.
    pub fn latest(&self) -> Duration {
        self.margin.latest(self.idle)
    }

    /// How much of the timer is left then.
    pub fn room(&self) -> Duration {
        self.margin.timeout.saturating_sub(self.latest())
    }

    /// The sum, for people: `289 + 16.384 (timer wheel, HZ=250) + 0.1 (round trip) + 2 × 22.048 (lost probes) = 349.58 < 350`.
    pub fn explain(&self) -> String {
        let Margin { hz, round_trip, lost, .. } = self.margin;
        let mut sum = self.idle.to_string();
        if let Some(hz) = hz {
            let late = self.margin.lateness(Duration::from_secs(self.idle));
            sum.push_str(&format!(" + {} (timer wheel, HZ={})", plain(late), hz.0));
        }
        // Less than a millisecond does not show.
        if round_trip >= Duration::from_millis(1) {
            sum.push_str(&format!(" + {} (round trip)", plain(round_trip)));
        }
        if lost > 0 {
            let what = if lost == 1 { "lost probe" } else { "lost probes" };
            sum.push_str(&format!(" + {lost} × {} ({what})", plain(self.margin.probe())));
        }
        if sum.contains('+') {
            sum.push_str(&format!(" = {}", plain(self.latest())));
        }
        format!("{sum} < {}", plain(self.margin.timeout))
    }
}

/// Seconds without their unit.
fn plain(span: Duration) -> String {
    span.to_string().trim_end_matches(" s").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Margin =
        Margin { timeout: Duration::from_secs(350), hz: Some(Hz(250)), round_trip: Duration::from_millis(100), interval: 20, lost: 2 };

    #[test]
    fn the_sum_stays_below_the_timer_and_a_second_more_does_not() {
        for timeout in 1..1200 {
            for (hz, lost) in [(Some(Hz(100)), 0), (Some(Hz(250)), 2), (Some(Hz(300)), 1), (Some(Hz(1000)), 5), (None, 3)] {
                let margin = Margin { timeout: Duration::from_secs(timeout), hz, lost, ..MARGIN };
                if let Some(budget) = margin.largest() {
                    assert!(budget.latest() < margin.timeout);
                    assert_eq!(budget.latest() + budget.room(), margin.timeout);
                }
                let next = margin.largest().map_or(0, |budget| budget.idle) + 1;
                assert!(margin.latest(next) >= margin.timeout, "{timeout} {hz:?} {lost}");
            }
        }
    }

    #[test]
    fn the_explanation_is_the_sum() {
        let told = |margin: Margin| margin.largest().map(|budget| budget.explain());
        let whole = "289 + 16.384 (timer wheel, HZ=250) + 0.1 (round trip) + 2 × 22.048 (lost probes) = 349.58 < 350";
        assert_eq!(told(MARGIN).as_deref(), Some(whole));
        assert_eq!(
            told(Margin { lost: 1, round_trip: Duration::ZERO, hz: None, ..MARGIN }).as_deref(),
            Some("329 + 1 × 20 (lost probe) = 349 < 350")
        );
        assert_eq!(told(Margin::bare(Duration::from_secs(350), None)).as_deref(), Some("349 < 350"));
        assert_eq!(told(Margin { lost: 20, ..MARGIN }), None);
        assert!(told(Margin::bare(Duration::MAX, Some(Hz(250)))).is_some());
    }
}
