//! The timer wheel of kernels since 4.8: never early, late by up to one granule of the level a timer sits in.
//!
//! Source: `kernel/time/timer.c`, `calc_index` and `calc_wheel_index`, 4.8 to 7.1; the spec's endpoints.md section 1.1.
//! Checked against lives of real IPVS entries (`recordings/wheel`).

use crate::time::{Duration, Instant};

/// Ticks a second of the kernel's timer interrupt (`CONFIG_HZ`): 100, 250, 300 or 1000 in practice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hz(pub u32);

const NANOS_PER_SEC: u128 = 1_000_000_000;

impl Hz {
    /// The span in whole ticks, rounded up, as the kernel's conversion from seconds does for exact multiples.
    pub const fn ticks(self, span: Duration) -> u64 {
        ((span.0 as u128 * self.0 as u128).div_ceil(NANOS_PER_SEC)) as u64
    }

    /// The length of `ticks` ticks, at most [`Duration::MAX`].
    pub const fn span(self, ticks: u64) -> Duration {
        let nanos = ticks as u128 * NANOS_PER_SEC / self.0 as u128;
        if nanos > u64::MAX as u128 { Duration::MAX } else { Duration(nanos as u64) }
    }

    /// One tick.
    pub const fn tick(self) -> Duration {
        self.span(1)
    }
}

/// The granule, in ticks, of the wheel level that holds a timer armed for `delta` ticks: level L is the first with
/// delta < 63·8^L, and its granule is 8^L. Timers beyond the last level are clamped into it; depth 9 above 100 Hz, else 8.
pub const fn granule_ticks(delta: u64, hz: Hz) -> u64 {
    let levels = if hz.0 > 100 { 9 } else { 8 };
    let mut level = 0;
    while level < levels - 1 && delta >= 63 << (3 * level) {
        level += 1;
    }
    1 << (3 * level)
}

/// The latest moment after `deadline` at which a timer armed `delta` before it can fire, whatever the phase of the counter.
pub fn lateness_max(delta: Duration, hz: Hz) -> Duration {
    hz.span(granule_ticks(hz.ticks(delta), hz))
}

/// The ticks a second that kernels are built with (`CONFIG_HZ`).
pub const RATES: [Hz; 4] = [Hz(100), Hz(250), Hz(300), Hz(1000)];

/// The same for a kernel of which nobody knows the rate: the worst of all.
pub fn lateness_worst(delta: Duration) -> Duration {
    RATES.iter().map(|hz| lateness_max(delta, *hz)).max().unwrap_or(Duration::ZERO)
}

/// How far a tick lies ahead of another one, negative for behind: like the kernel's `time_after` also where the counter wraps between.
const fn ahead(tick: u64, of: u64) -> i64 {
    tick.wrapping_sub(of) as i64
}

/// The tick at which a timer with expiry tick `expires`, armed at tick `now`, fires. The counter may wrap: granules divide its range.
pub const fn fire_tick(now: u64, expires: u64, hz: Hz) -> u64 {
    let delta = ahead(expires, now);
    let granule = granule_ticks(if delta < 0 { 0 } else { delta as u64 }, hz);
    (expires / granule + 1).wrapping_mul(granule)
}

/// A clock with a known phase: when tick numbers change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phase {
    /// Ticks a second.
    pub hz: Hz,
    /// The value of the 64-bit jiffies counter at `at`.
    pub jiffies: u64,
    /// The instant at which the counter took that value.
    pub at: Instant,
}

impl Phase {
    /// The counter at an instant. It wraps like the kernel's: before zero and behind its largest value it goes on at the other end.
    pub fn tick_at(self, now: Instant) -> u64 {
        let hz = u128::from(self.hz.0);
        if now >= self.at {
            self.jiffies.wrapping_add((u128::from(now.0 - self.at.0) * hz / NANOS_PER_SEC) as u64)
        } else {
            self.jiffies.wrapping_sub((u128::from(self.at.0 - now.0) * hz).div_ceil(NANOS_PER_SEC) as u64)
        }
    }

    /// The instant at which the counter reaches `tick`.
    pub fn instant_of(self, tick: u64) -> Instant {
        let ticks = ahead(tick, self.jiffies);
        let span = self.hz.span(ticks.unsigned_abs());
        if ticks >= 0 { self.at + span } else { self.at - span }
    }

    /// When a timer armed at `now` for `delta` fires.
    pub fn fires(self, now: Instant, delta: Duration) -> Instant {
        let armed = self.tick_at(now);
        self.instant_of(fire_tick(armed, armed.wrapping_add(self.hz.ticks(delta)), self.hz))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granules_are_those_of_the_published_table() {
        for (hz, seconds, millis) in
            [(250, 900, 16_384), (300, 900, 109_227), (1000, 900, 32_768), (100, 900, 40_960), (250, 60, 2_048), (250, 7200, 131_072)]
        {
            let late = lateness_max(Duration::from_secs(seconds), Hz(hz));
            assert_eq!((late.0 + 500_000) / 1_000_000, millis, "{seconds} s at HZ={hz}");
        }
    }

    /// Whoever reads the counter from a machine may write anything; 64 bits wrap, and nothing else about them is special.
    #[test]
    fn a_counter_that_wraps_fires_as_any_other() {
        let (hz, at) = (Hz(250), Instant::from_secs(1_000_000));
        for shift in [0, 1, 300, 1 << 24] {
            let phase = |jiffies: u64| Phase { hz, jiffies, at };
            // The same place in the largest granule of the timers below.
            let [plain, low, high] = [1 << 40, 0, u64::MAX - (1 << 24) + 1].map(|base: u64| phase(base.wrapping_add(shift)));
            for armed in [at - Duration::from_secs(500), at, at + Duration::from_secs(70_000)] {
                for secs in [0, 1, 60, 900, 7_200] {
                    let wanted = plain.fires(armed, Duration::from_secs(secs));
                    assert!(wanted > armed);
                    assert_eq!(low.fires(armed, Duration::from_secs(secs)), wanted);
                    assert_eq!(high.fires(armed, Duration::from_secs(secs)), wanted);
                }
            }
        }
        assert_eq!(hz.span(u64::MAX), Duration::MAX);
    }

    /// The published schedule of SYN retransmissions of a socket whose SYNs are all dropped (HZ 250, phase 303).
    #[test]
    fn syn_schedule_of_a_real_kernel() {
        let clock = Phase { hz: Hz(250), jiffies: 303, at: Instant::ZERO };
        let mut now = Instant::ZERO;
        let mut fired = Vec::new();
        for timeout in [1, 2, 4, 8, 16, 32, 64] {
            now = clock.fires(now, Duration::from_secs(timeout));
            fired.push(now.0 / 1_000_000);
        }
        assert_eq!(fired, [1028, 3044, 7236, 15428, 31556, 64324, 129_860]);
    }
}
