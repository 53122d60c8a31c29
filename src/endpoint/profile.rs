//! The settings of a host: Linux by its sysctls and socket options, other systems by what is known of their timers.
//!
//! Source: endpoints.md sections 2.1, 3.1, 3.6, 6, 9. Reads no scenario; `scenario` fills it in.

use crate::time::Duration;

/// Which system a host runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Os {
    /// Linux.
    Linux,
    /// FreeBSD.
    FreeBsd,
    /// macOS.
    MacOs,
    /// Windows Vista and later.
    Windows,
}

impl Os {
    /// The name in scenarios and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Os::Linux => "linux",
            Os::FreeBsd => "freebsd",
            Os::MacOs => "macos",
            Os::Windows => "windows",
        }
    }
}

/// The times of TCP keepalive, as a socket has them once `SO_KEEPALIVE` is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// `tcp_keepalive_time`, `TCP_KEEPIDLE`.
    pub time: Duration,
    /// `tcp_keepalive_intvl`, `TCP_KEEPINTVL`.
    pub intvl: Duration,
    /// `tcp_keepalive_probes`, `TCP_KEEPCNT`.
    pub probes: u8,
}

/// When retransmission gives up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GiveUp {
    /// By the time that so many retransmissions would take, starting at the minimal timeout (Linux, `tcp_retries2`).
    Time(u8),
    /// By counting retransmissions.
    Count(u8),
}

/// The settings of one host, complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Profile {
    /// The system.
    pub os: Os,
    /// The times of keepalive, whether or not it is on.
    pub keepalive_times: Keepalive,
    /// `SO_KEEPALIVE`.
    pub keepalive: bool,
    /// Whether any segment of the connection, even an unacceptable one, counts as a sign of life (BSD, E-25).
    pub any_segment_is_life: bool,
    /// Whether keepalive rests while data is unacknowledged (Linux, E-07).
    pub keepalive_rests: bool,
    /// `TCP_USER_TIMEOUT`; zero: off.
    pub user_timeout: Duration,
    /// Whether the retransmission timer is shortened so that it fires when the user timeout ends (Linux since 4.19).
    pub user_timeout_clamps: bool,
    /// `tcp_retries2`, or the count of other systems.
    pub give_up: GiveUp,
    /// `tcp_orphan_retries`; 0 acts as 8 while the timeout is below its maximum.
    pub orphan_retries: u8,
    /// `tcp_syn_retries`.
    pub syn_retries: u8,
    /// `tcp_syn_linear_timeouts` (Linux since 6.5: 4).
    pub syn_linear_timeouts: u8,
    /// `tcp_synack_retries`.
    pub synack_retries: u8,
    /// The timeout of a SYN without a sample of the round-trip time.
    pub rto_initial: Duration,
    /// The minimal deviation in a timeout (Linux: it is added to the round-trip time).
    pub rto_min: Duration,
    /// The longest timeout.
    pub rto_max: Duration,
    /// `tcp_fin_timeout`.
    pub fin_timeout: Duration,
    /// How long TIME_WAIT lasts.
    pub time_wait: Duration,
    /// How long an acknowledgement may wait for data to go with it.
    pub delayed_ack: Duration,
    /// At most one answer to invalid empty segments in this time (`tcp_invalid_ratelimit`).
    pub invalid_ratelimit: Duration,
    /// Payload bytes of a full segment.
    pub mss: u16,
    /// Segments that may be sent before the first acknowledgement.
    pub initial_cwnd: u16,
    /// Bytes that fit before the application must read.
    pub receive_buffer: u32,
    /// `tcp_sack`: without it there is no tail loss probe.
    pub sack: bool,
    /// Whether a tail loss probe goes out before the first timeout (`tcp_early_retrans` 3, Linux since 3.10).
    pub tail_loss_probe: bool,
    /// `TCP_NODELAY`.
    pub nodelay: bool,
    /// Whether a firewall on the host keeps segments without a socket from being answered.
    pub strays_are_dropped: bool,
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Profile {
    /// Linux with the defaults of 6.5 and later.
    pub const LINUX: Profile = Profile {
        os: Os::Linux,
        keepalive_times: Keepalive { time: seconds(7200), intvl: seconds(75), probes: 9 },
        keepalive: false,
        any_segment_is_life: false,
        keepalive_rests: true,
        user_timeout: Duration::ZERO,
        user_timeout_clamps: true,
        give_up: GiveUp::Time(15),
        orphan_retries: 0,
        syn_retries: 6,
        syn_linear_timeouts: 4,
        synack_retries: 5,
        rto_initial: seconds(1),
        rto_min: Duration::from_millis(200),
        rto_max: seconds(120),
        fin_timeout: seconds(60),
        time_wait: seconds(60),
        delayed_ack: Duration::from_millis(40),
        invalid_ratelimit: Duration::from_millis(500),
        mss: 1448,
        initial_cwnd: 10,
        receive_buffer: 64_256,
        sack: true,
        tail_loss_probe: true,
        nodelay: false,
        strays_are_dropped: false,
    };

    /// FreeBSD: keepalive is on for every socket; retransmission is counted.
    pub const FREEBSD: Profile = Profile {
        os: Os::FreeBsd,
        keepalive_times: Keepalive { time: seconds(7200), intvl: seconds(75), probes: 8 },
        keepalive: true,
        any_segment_is_life: true,
        keepalive_rests: false,
        give_up: GiveUp::Count(12),
        // 75 s (`keepinit`): 1, 3, 7, 15, 31, 63 s are the retransmissions before it.
        syn_retries: 6,
        syn_linear_timeouts: 0,
        rto_max: seconds(64),
        delayed_ack: Duration::from_millis(40),
        tail_loss_probe: false,
        ..Profile::LINUX
    };

    /// macOS: as FreeBSD, but keepalive is off, and TIME_WAIT lasts 30 s (unverified).
    pub const MACOS: Profile = Profile { os: Os::MacOs, keepalive: false, time_wait: seconds(30), ..Profile::FREEBSD };

    /// Windows: keepalive is off; one second between probes, ten probes; five retransmissions (the classic value). The
    /// opening limit of 21 s and TIME_WAIT of 120 s are unverified.
    pub const WINDOWS: Profile = Profile {
        os: Os::Windows,
        keepalive_times: Keepalive { time: seconds(7200), intvl: seconds(1), probes: 10 },
        give_up: GiveUp::Count(5),
        syn_retries: 2,
        syn_linear_timeouts: 0,
        rto_initial: seconds(3),
        rto_min: Duration::from_millis(300),
        time_wait: seconds(120),
        tail_loss_probe: false,
        ..Profile::LINUX
    };

    /// The defaults of a system.
    pub const fn of(os: Os) -> Profile {
        match os {
            Os::Linux => Profile::LINUX,
            Os::FreeBsd => Profile::FREEBSD,
            Os::MacOs => Profile::MACOS,
            Os::Windows => Profile::WINDOWS,
        }
    }

    /// What changed between releases of Linux.
    pub fn at_release(&mut self, major: u32, minor: u32) {
        let release = (major, minor);
        self.syn_linear_timeouts = if release >= (6, 5) { 4 } else { 0 };
        self.user_timeout_clamps = release >= (4, 19);
        self.tail_loss_probe = release >= (3, 10);
    }

    /// Changes a setting by the kernel's name.
    ///
    /// # Errors
    /// That there is no such setting here, or that its value makes no sense.
    pub fn sysctl(&mut self, name: &str, value: u64) -> Result<(), String> {
        let small = || u8::try_from(value).map_err(|_| format!("sysctl {name}: {value} is not between 0 and 255"));
        let short = name.strip_prefix("net.ipv4.").or_else(|| name.strip_prefix("net/ipv4/")).unwrap_or(name);
        match short {
            "tcp_retries2" => self.give_up = GiveUp::Time(small()?),
            "tcp_orphan_retries" => self.orphan_retries = small()?,
            "tcp_syn_retries" => self.syn_retries = small()?,
            "tcp_syn_linear_timeouts" => self.syn_linear_timeouts = small()?,
            "tcp_synack_retries" => self.synack_retries = small()?,
            "tcp_fin_timeout" => self.fin_timeout = seconds(value),
            "tcp_keepalive_time" => self.keepalive_times.time = seconds(value.max(1)),
            "tcp_keepalive_intvl" => self.keepalive_times.intvl = seconds(value.max(1)),
            "tcp_keepalive_probes" => self.keepalive_times.probes = small()?,
            "tcp_sack" => self.sack = value > 0,
            "tcp_early_retrans" => self.tail_loss_probe = matches!(value, 3 | 4),
            "tcp_rto_min_us" => self.rto_min = Duration(value.saturating_mul(1_000)),
            "tcp_rto_max_ms" => self.rto_max = Duration::from_millis(value.clamp(1_000, 120_000)),
            "tcp_invalid_ratelimit" => self.invalid_ratelimit = Duration::from_millis(value),
            _ => {
                return Err(format!(
                    "sysctl {name} is not one that a host here heeds; there are net.ipv4.tcp_retries2, tcp_orphan_retries, \
                     tcp_syn_retries, tcp_syn_linear_timeouts, tcp_synack_retries, tcp_fin_timeout, tcp_keepalive_time, \
                     tcp_keepalive_intvl, tcp_keepalive_probes, tcp_sack, tcp_early_retrans, tcp_rto_min_us, tcp_rto_max_ms, \
                     tcp_invalid_ratelimit"
                ));
            }
        }
        Ok(())
    }

    /// The longest that a connection attempt may take whatever the retransmissions do (BSD's `keepinit`).
    pub const fn opening_limit(&self) -> Duration {
        match self.os {
            Os::FreeBsd | Os::MacOs => seconds(75),
            Os::Linux | Os::Windows => Duration::MAX,
        }
    }

    /// How long a series of retransmissions takes that begins at the minimal timeout (`tcp_model_timeout`); `base` is
    /// that minimum.
    pub fn model_timeout(&self, retries: u8, base: Duration) -> Duration {
        let ratio = (self.rto_max.0 / base.0.max(1)).max(1);
        let doublings = u64::from(ratio.ilog2());
        let retries = u64::from(retries);
        if retries <= doublings {
            base.saturating_mul((2 << retries) - 1)
        } else {
            base.saturating_mul((2 << doublings) - 1) + self.rto_max.saturating_mul(retries - doublings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of endpoints.md section 3.4.
    #[test]
    fn the_model_of_retries2() {
        for (retries, millis) in
            [(3, 3_000), (5, 12_600), (6, 25_400), (7, 51_000), (8, 102_200), (9, 204_600), (10, 324_600), (12, 564_600), (15, 924_600)]
        {
            let got = Profile::LINUX.model_timeout(retries, Duration::from_millis(200));
            assert_eq!(got, Duration::from_millis(millis), "{retries}");
        }
    }
}
