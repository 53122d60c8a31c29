//! The estimate of the round-trip time and the retransmission timeout that follows from it.
//!
//! Source: `tcp_rtt_estimator`, `__tcp_set_rto` (`net/ipv4/tcp_input.c`, `include/net/tcp.h`, 6.1); endpoints.md section 3.1.

use crate::net::Seq;
use crate::time::Duration;

/// Smoothed round-trip time and deviation, in microseconds, scaled as the kernel scales them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Estimate {
    /// Eight times the smoothed round-trip time; 0: no sample yet.
    srtt8: u32,
    /// Four times the mean deviation.
    mdev4: u32,
    /// The largest of these in the current round trip.
    mdev_max: u32,
    /// The deviation that counts for the timeout; falls slowly.
    rttvar: u32,
    /// The round trip ends when this number is acknowledged.
    round: Seq,
}

impl Estimate {
    /// Whether there was a sample.
    pub const fn is_known(&self) -> bool {
        self.srtt8 != 0
    }

    /// The smoothed round-trip time.
    pub const fn srtt(&self) -> Duration {
        Duration((self.srtt8 as u64 >> 3) * 1_000)
    }

    /// Takes a sample in.
    pub fn sample(&mut self, rtt: Duration, snd_una: Seq, snd_nxt: Seq, rto_min: Duration) {
        let micros = (rtt.0 / 1_000).clamp(1, u64::from(u32::MAX) >> 4) as u32;
        let floor = (rto_min.0 / 1_000) as u32;
        if self.srtt8 == 0 {
            self.srtt8 = micros << 3;
            self.mdev4 = micros << 1;
            self.rttvar = self.mdev4.max(floor);
            self.mdev_max = self.rttvar;
            self.round = snd_nxt;
            return;
        }
        let error = i64::from(micros) - i64::from(self.srtt8 >> 3);
        self.srtt8 = (i64::from(self.srtt8) + error).max(1) as u32;
        // A falling round-trip time moves the deviation an eighth as fast.
        let mut change = error.abs() - i64::from(self.mdev4 >> 2);
        if error < 0 && change > 0 {
            change >>= 3;
        }
        self.mdev4 = (i64::from(self.mdev4) + change).max(0) as u32;
        if self.mdev4 > self.mdev_max {
            self.mdev_max = self.mdev4;
            self.rttvar = self.rttvar.max(self.mdev_max);
        }
        if snd_una.after(self.round) {
            if self.mdev_max < self.rttvar {
                self.rttvar -= (self.rttvar - self.mdev_max) >> 2;
            }
            self.round = snd_nxt;
            self.mdev_max = floor;
        }
    }

    /// The timeout without back-off; `initial` without a sample.
    pub fn rto(&self, initial: Duration, max: Duration) -> Duration {
        if self.srtt8 == 0 { initial } else { Duration((u64::from(self.srtt8 >> 3) + u64::from(self.rttvar)) * 1_000).min(max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_the_round_trip_plus_the_minimum() {
        let floor = Duration::from_millis(200);
        for (millis, settled) in [(1, 201), (10, 210), (50, 250), (100, 300), (300, 500)] {
            let mut e = Estimate::default();
            for round in 0..100_u32 {
                e.sample(Duration::from_millis(millis), Seq(round * 2 + 2), Seq(round * 2 + 3), floor);
            }
            let rto = e.rto(Duration::from_secs(1), Duration::from_secs(120));
            assert_eq!(rto.0 / 1_000_000, settled, "{millis} ms");
        }
        assert_eq!(Estimate::default().rto(Duration::from_secs(1), Duration::from_secs(120)), Duration::from_secs(1));
    }
}
