//! IPVS, 2.4 to 7.1: entries, their states and timers, scheduling, persistence, and what a packet without entry meets.
//!
//! Imitates `net/netfilter/ipvs/` (`net/ipv4/ipvs/` up to 2.6.27) as the spec's ipvs.md describes it; held to recordings of
//! real directors by `flowlapse conform`. Leaves out: FTP helper, one-packet scheduling; connection synchronisation is
//! `simulate::sync`. Must not know captures, reports, real addresses, or sequence numbers.
//!
//! Timers, as `ipvsadm -l --timeout` tells them, and what `secure_tcp` makes of them: since 2.6 nothing but another table of
//! transitions, in 2.4 (when it was called `tcp_defense`) other timers too.
//!
//! ```
//! use flowlapse::model::ipvs::conn::Conn;
//! use flowlapse::model::ipvs::dialect::Dialect;
//! use flowlapse::model::ipvs::{Method, Settings};
//! use flowlapse::model::{End, Host, Tuple};
//! use flowlapse::net::{Proto, TcpFlags};
//! use flowlapse::time::{Duration, Instant};
//!
//! let client = End { host: Host::CLIENT, port: 51_514 };
//! let service = End { host: Host::SERVICE, port: 80 };
//! // A client that says that it is connected: SYN, ACK, and not a word of the server.
//! let claimed = |settings: &Settings| {
//!     let at = Instant::from_secs(0);
//!     let mut conn = Conn::new(settings, Tuple { src: client, dst: service }, End { host: Host(4), port: 80 }, at);
//!     for flags in [TcpFlags::SYN, TcpFlags::ACK] {
//!         conn.update(settings, Proto::Tcp, false, TcpFlags(flags), at);
//!     }
//!     (conn.state_name(), conn.timeout.as_secs())
//! };
//!
//! let modern = Dialect::find("linux-6.12").expect("a row");
//! let mut settings = Settings::defaults(modern, Method::Masq);
//! assert_eq!(claimed(&settings), ("ESTABLISHED", 900));
//! // ipvsadm --set 3600 0 0
//! settings.set(Duration::from_secs(3600), Duration::ZERO, Duration::ZERO);
//! assert_eq!(claimed(&settings), ("ESTABLISHED", 3600));
//! // Under secure_tcp a director does not take the client's word for it.
//! settings.secure_tcp = true;
//! assert_eq!(claimed(&settings), ("SYN_RECV", 60));
//!
//! let mut old = Settings::defaults(Dialect::find("linux-2.4").expect("a row"), Method::Masq);
//! old.secure_tcp = true;
//! assert_eq!(claimed(&old), ("SYN_RECV", 10));
//! ```

pub mod conn;
pub mod defence;
pub mod dialect;
pub mod state;
pub mod transitions;

use crate::time::Duration;
use dialect::Dialect;
use state::State;

/// How a director hands packets to the real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// NAT (`-m`, Masq): both directions pass the director, the destination is rewritten.
    Masq,
    /// Direct routing (`-g`, Route): replies bypass the director.
    Route,
    /// IP in IP (`-i`, Tunnel): replies bypass the director.
    Tunnel,
    /// To the original destination, without a real server (`cache_bypass`).
    Bypass,
}

impl Method {
    /// The word that ipvsadm prints.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Masq => "Masq",
            Method::Route => "Route",
            Method::Tunnel => "Tunnel",
            Method::Bypass => "Bypass",
        }
    }
}

/// The settings of one director, complete.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The release.
    pub dialect: &'static Dialect,
    /// How packets are forwarded.
    pub method: Method,
    /// Timers by [`State`] number.
    pub timeouts: [Duration; 11],
    /// Timers of entries born under `secure_tcp`, 2.4 only.
    pub dos_timeouts: [Duration; 11],
    /// The UDP timer.
    pub udp_timeout: Duration,
    /// The UDP timer of entries born under `secure_tcp`, 2.4 only.
    pub dos_udp_timeout: Duration,
    /// Whether `secure_tcp` is in force.
    pub secure_tcp: bool,
    /// `sloppy_tcp`.
    pub sloppy_tcp: bool,
    /// `conn_reuse_mode`.
    pub conn_reuse_mode: u8,
    /// `expire_nodest_conn`.
    pub expire_nodest_conn: bool,
    /// `expire_quiescent_template`.
    pub expire_quiescent_template: bool,
    /// `conntrack`.
    pub conntrack: bool,
    /// `nat_icmp_send`.
    pub nat_icmp_send: bool,
    /// The persistence timeout of the service.
    pub persistence: Option<Duration>,
}

impl Settings {
    /// The defaults of a release.
    pub fn defaults(dialect: &'static Dialect, method: Method) -> Settings {
        let normal = if dialect.dos_timeouts { state::TO_24 } else { state::TO_26 };
        Settings {
            dialect,
            method,
            timeouts: normal.map(Duration::from_secs),
            dos_timeouts: if dialect.dos_timeouts { state::TO_24_DOS } else { normal }.map(Duration::from_secs),
            udp_timeout: Duration::from_secs(state::UDP),
            dos_udp_timeout: Duration::from_secs(if dialect.dos_timeouts { state::UDP_24_DOS } else { state::UDP }),
            secure_tcp: false,
            sloppy_tcp: false,
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            conntrack: false,
            nat_icmp_send: false,
            persistence: None,
        }
    }

    /// `ipvsadm --set tcp tcpfin udp`: each value replaces one slot, zero keeps it.
    pub fn set(&mut self, tcp: Duration, tcpfin: Duration, udp: Duration) {
        let keep = |slot: &mut Duration, value: Duration| {
            if value > Duration::ZERO {
                *slot = value;
            }
        };
        keep(&mut self.timeouts[State::Established as usize], tcp);
        keep(&mut self.timeouts[State::FinWait as usize], tcpfin);
        keep(&mut self.udp_timeout, udp);
        if !self.dialect.dos_timeouts {
            self.dos_timeouts = self.timeouts;
            self.dos_udp_timeout = self.udp_timeout;
        }
    }
}
