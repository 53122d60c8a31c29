//! Linux conntrack, 2.4 to 7.1: entries, states, timers, window tracking, NAT, and the usual rule sets.
//!
//! Imitates `net/netfilter/nf_conntrack_*` and `nf_nat_core.c` as the spec's conntrack.md describes them; held to
//! recordings of real kernels by `flowlapse conform`. Leaves out: helpers and expectations, flow offload, SYNPROXY,
//! sequence adjustment, zones. Must not know captures, reports or real addresses.
//!
//! A firewall that forgets after an hour: the entry, its timer, and the packet that comes a second too late.
//!
//! ```
//! use flowlapse::engine::path::{Clock, Path};
//! use flowlapse::engine::hop::Device;
//! use flowlapse::model::conntrack::table::Table;
//! use flowlapse::model::{DropReason, Moment, Packet, Side};
//! use flowlapse::net::{Proto, Segment, Seq, TcpFlags};
//! use flowlapse::time::{Duration, Instant};
//!
//! let spec = flowlapse::policy::parse_short("conntrack:strict,established=3600")?;
//! let path = Path::build(&[spec], Clock::Ideal)?;
//! let Device::Router(firewall) = &path.hops[0].device else { panic!("conntrack is a router") };
//!
//! let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
//! let seg = |flags, seq, ack| Segment { flags: TcpFlags(flags), seq: Seq(seq), ack: Seq(ack), window: 64_240, ..Segment::EMPTY };
//! let there = Path::from_client(51_514, 22);
//! let back = path.from_server(51_514, 22);
//! let mut table = Table::default();
//! let mut send = |at: u64, from: Side, seg: &Segment| {
//!     let tuple = if from == Side::Client { there } else { back };
//!     firewall.packet(&mut table, Packet { from, tuple, proto: Proto::Tcp, seg }, &mut Moment::exact(Instant::from_secs(at)))
//! };
//!
//! assert!(send(0, Side::Client, &seg(syn, 100, 0)).created);
//! send(0, Side::Server, &seg(syn | ack, 900, 101));
//! send(0, Side::Client, &seg(ack, 101, 901));
//! // An hour and a second of silence.
//! let late = send(3601, Side::Client, &seg(ack, 101, 901));
//! let lapse = late.lapse.expect("the entry had ended");
//! assert_eq!((lapse.state, lapse.timeout), ("ESTABLISHED", Duration::from_secs(3600)));
//! // No entry, no SYN: the rules for NEW packets drop it, and nobody is told.
//! assert_eq!(late.dropped, Some(DropReason::NewWithoutSynByRule));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod census;
pub mod dialect;
mod dialects;
pub mod entry;
pub mod full;
pub mod nat;
pub mod router;
pub mod rule;
pub mod simple24;
pub mod table;
pub mod track;
pub mod tracker;
pub mod transitions;
pub mod udp;
pub mod window;

use super::Clause;
use crate::time::Duration;
use dialect::{Dialect, Timeouts};
use entry::State;
use rule::Rule;

/// A timer that a packet sets: for how long, and by which rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// How long.
    pub span: Duration,
    /// Which of the rule's timers it is.
    pub clause: Clause,
    /// The rule that chose it.
    pub rule: Rule,
}

/// The settings of one conntrack, complete: every sysctl has its value.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The release.
    pub dialect: &'static Dialect,
    /// `nf_conntrack_tcp_timeout_*` by [`State`] number; NONE (0) is used by 2.4 only.
    pub tcp_timeouts: [Duration; 10],
    /// `nf_conntrack_tcp_timeout_max_retrans`.
    pub tcp_timeout_max_retrans: Duration,
    /// `nf_conntrack_tcp_timeout_unacknowledged`.
    pub tcp_timeout_unacknowledged: Duration,
    /// `nf_conntrack_tcp_loose`: a switch, or up to 2.6.20 a number of packets.
    pub tcp_loose: u8,
    /// `nf_conntrack_tcp_be_liberal`.
    pub tcp_be_liberal: bool,
    /// `nf_conntrack_tcp_max_retrans`.
    pub tcp_max_retrans: u8,
    /// `nf_conntrack_tcp_ignore_invalid_rst`.
    pub tcp_ignore_invalid_rst: bool,
    /// `nf_conntrack_udp_timeout`.
    pub udp_timeout: Duration,
    /// `nf_conntrack_udp_timeout_stream`.
    pub udp_timeout_stream: Duration,
}

impl Settings {
    /// The defaults of a release (conntrack.md section 1.1).
    pub fn defaults(dialect: &'static Dialect) -> Settings {
        //                 NONE SS   SR  ES       FW   CW  LA  TW   CL  S2
        const SECONDS: [u64; 10] = [1800, 120, 60, 432_000, 120, 60, 30, 120, 10, 120];
        Settings {
            dialect,
            tcp_timeouts: SECONDS.map(Duration::from_secs),
            tcp_timeout_max_retrans: Duration::from_secs(300),
            tcp_timeout_unacknowledged: Duration::from_secs(300),
            tcp_loose: dialect.tcp_loose_default,
            tcp_be_liberal: false,
            tcp_max_retrans: 3,
            tcp_ignore_invalid_rst: false,
            udp_timeout: Duration::from_secs(30),
            udp_timeout_stream: Duration::from_secs(if dialect.udp_5_0 { 120 } else { 180 }),
        }
    }

    /// The timer of a state.
    pub(crate) fn state(&self, state: State) -> Duration {
        self.tcp_timeouts[(state as usize).min(9)]
    }

    /// The retransmission timer; without one in this release, longer than any other.
    pub(crate) fn max_retrans(&self) -> Duration {
        if self.dialect.timeouts == Timeouts::V2_4 { Duration::MAX } else { self.tcp_timeout_max_retrans }
    }

    /// The unacknowledged timer; without one in this release, longer than any other.
    pub(crate) fn unacknowledged(&self) -> Duration {
        if matches!(self.dialect.timeouts, Timeouts::V2_4 | Timeouts::V2_6_9) { Duration::MAX } else { self.tcp_timeout_unacknowledged }
    }
}
