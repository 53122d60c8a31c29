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

    /// The length of `ticks` ticks.
    pub const fn span(self, ticks: u64) -> Duration {
        let nanos = ticks as u128 * NANOS_PER_SEC / self.0 as u128;
        Duration(if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 })
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

/// The tick at which a timer with expiry tick `expires`, armed at tick `now`, fires.
pub const fn fire_tick(now: u64, expires: u64, hz: Hz) -> u64 {
    let granule = granule_ticks(expires.saturating_sub(now), hz);
    (expires / granule).saturating_add(1).saturating_mul(granule)
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
    /// The counter at an instant; at its end where the instant lies beyond what it can count, as a broken time stamp does.
    pub fn tick_at(self, now: Instant) -> u64 {
        let hz = u128::from(self.hz.0);
        if now >= self.at {
            self.jiffies.saturating_add((u128::from(now.0 - self.at.0) * hz / NANOS_PER_SEC) as u64)
        } else {
            self.jiffies.saturating_sub((u128::from(self.at.0 - now.0) * hz).div_ceil(NANOS_PER_SEC) as u64)
        }
    }

    /// The instant at which the counter reaches `tick`.
    pub fn instant_of(self, tick: u64) -> Instant {
        if tick >= self.jiffies { self.at + self.hz.span(tick - self.jiffies) } else { self.at - self.hz.span(self.jiffies - tick) }
    }

    /// When a timer armed at `now` for `delta` fires.
    pub fn fires(self, now: Instant, delta: Duration) -> Instant {
        let armed = self.tick_at(now);
        self.instant_of(fire_tick(armed, armed.saturating_add(self.hz.ticks(delta)), self.hz))
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
