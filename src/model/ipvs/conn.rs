//! An IPVS entry and what a packet does to it: state, timer, counters; and the persistence template.
//!
//! Source: `set_tcp_state`, `tcp_state_transition` (`ip_vs_proto_tcp.c`), `ip_vs_conn_put`, `ip_vs_conn_expire`,
//! `ip_vs_sched_persist` (`ip_vs_conn.c`, `ip_vs_core.c`); the spec's ipvs.md sections 4, 6, 8.

use super::state::{State, TableSide, row_of};
use super::{Method, Settings};
use crate::model::few::Few;
use crate::model::{Clause, End, Lapse, Tuple};
use crate::net::{Proto, TcpFlags};
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// Flags of an entry (`IP_VS_CONN_F_*`).
pub mod flag {
    /// No reply was ever seen: the input-only table is used.
    pub const NOOUTPUT: u8 = 0x01;
    /// The real server counts the entry as inactive.
    pub const INACTIVE: u8 = 0x02;
    /// The entry takes its conntrack entry with it.
    pub const NFCT: u8 = 0x04;
    /// Born under `secure_tcp` in 2.4: the shorter timers apply for life.
    pub const DOS_TIMEOUTS: u8 = 0x08;
    /// A persistence template controls the entry.
    pub const CONTROLLED: u8 = 0x10;
}

/// One IPVS entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Conn {
    /// The client.
    pub client: End,
    /// The virtual service as the client addresses it.
    pub virt: End,
    /// The real server.
    pub dest: End,
    /// The state; NONE for UDP.
    pub state: State,
    /// [`flag`] bits.
    pub flags: u8,
    /// Packets from the client.
    pub in_pkts: u32,
    /// When the timer was last set.
    pub refreshed: Instant,
    /// What it was set to.
    pub timeout: Duration,
    /// Which rule set it.
    pub clause: Clause,
}

const _: () = assert!(size_of::<Conn>() <= 64);

impl Conn {
    /// A new entry; the packet that made it sets its first timer.
    pub fn new(settings: &Settings, tuple: Tuple, dest: End, now: Instant) -> Conn {
        let mut flags = flag::INACTIVE;
        if matches!(settings.method, Method::Route | Method::Tunnel) {
            flags |= flag::NOOUTPUT;
        }
        if settings.conntrack && settings.dialect.conntrack_sysctl {
            flags |= flag::NFCT;
        }
        if settings.secure_tcp && settings.dialect.dos_timeouts {
            flags |= flag::DOS_TIMEOUTS;
        }
        if settings.persistence.is_some() {
            flags |= flag::CONTROLLED;
        }
        Conn {
            client: tuple.src,
            virt: tuple.dst,
            dest,
            state: State::None,
            flags,
            in_pkts: 0,
            refreshed: now,
            timeout: Duration::ZERO,
            clause: Clause::None,
        }
    }

    /// Whether a flag is set.
    pub const fn is(&self, mask: u8) -> bool {
        self.flags & mask == mask
    }

    /// The nominal end of the entry.
    pub fn deadline(&self) -> Instant {
        self.refreshed + self.timeout
    }

    /// The state as ipvsadm prints it.
    pub fn state_name(&self) -> &'static str {
        if self.clause == Clause::IpvsUdp { "UDP" } else { self.state.name() }
    }

    /// The entry's end, told to whoever finds it ended.
    pub fn lapse(&self) -> Lapse {
        Lapse { refreshed: self.refreshed, timeout: self.timeout, clause: self.clause, state: self.state_name() }
    }

    /// A packet of the entry: new state and timer. Returns the table that was used.
    pub fn update(&mut self, settings: &Settings, proto: Proto, from_server: bool, flags: TcpFlags, now: Instant) -> TableSide {
        let side = match proto {
            Proto::Udp => side_of(&mut self.flags, from_server),
            Proto::Tcp => advance(settings, &mut self.state, &mut self.flags, from_server, flags),
        };
        self.timeout = timeout(settings, proto, self.state, self.flags);
        self.clause = clause(proto, self.state);
        self.refreshed = now;
        if !from_server {
            self.in_pkts = self.in_pkts.saturating_add(1);
        }
        side
    }
}

/// Which third of the table a packet uses; a reply of the server says that output is seen.
#[inline]
pub(crate) const fn side_of(bits: &mut u8, from_server: bool) -> TableSide {
    if from_server {
        *bits &= !flag::NOOUTPUT;
        TableSide::Output
    } else if *bits & flag::NOOUTPUT != 0 {
        TableSide::InputOnly
    } else {
        TableSide::Input
    }
}

/// The state and the flags of a TCP entry after a packet. Returns the table that was used.
#[inline]
pub(crate) fn advance(settings: &Settings, state: &mut State, bits: &mut u8, from_server: bool, flags: TcpFlags) -> TableSide {
    let side = side_of(bits, from_server);
    let table = if settings.secure_tcp { settings.dialect.dos_transitions } else { settings.dialect.transitions };
    let new = row_of(flags).map_or(State::Close, |row| table[side as usize][row][*state as usize]);
    if new != *state {
        let active = new == State::Established
            || settings.dialect.half_open_is_active && matches!(new, State::SynSent | State::SynRecv | State::SynAck);
        *bits = *bits & !flag::INACTIVE | if active { 0 } else { flag::INACTIVE };
        *state = new;
    }
    side
}

/// The clause that sets the timer of an entry in a state.
#[inline]
pub(crate) const fn clause(proto: Proto, state: State) -> Clause {
    match proto {
        Proto::Udp => Clause::IpvsUdp,
        Proto::Tcp => Clause::Ipvs(state),
    }
}

/// What the timer of an entry is set to in a state, with these flags.
#[inline]
pub(crate) const fn timeout(settings: &Settings, proto: Proto, state: State, bits: u8) -> Duration {
    match (proto, bits & flag::DOS_TIMEOUTS != 0) {
        (Proto::Tcp, false) => settings.timeouts[state as usize],
        (Proto::Tcp, true) => settings.dos_timeouts[state as usize],
        (Proto::Udp, false) => settings.udp_timeout,
        (Proto::Udp, true) => settings.dos_udp_timeout,
    }
}

/// A persistence template: it binds a client to a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Template {
    /// When its timer was last set.
    pub refreshed: Instant,
    /// What it was set to: the service's timeout, or 60 s once its expiry was postponed.
    pub timeout: Duration,
}

/// How long an entry that still controls others lives on, again and again.
const POSTPONED: Duration = Duration::from_secs(60);

impl Template {
    /// Whether the template is there at `now`, postponed as often as its children, the last of which ends at `children_end`,
    /// made necessary.
    pub fn alive_at(&mut self, now: Instant, children_end: Instant) -> bool {
        let deadline = self.refreshed + self.timeout;
        if deadline > now {
            return true;
        }
        if children_end <= deadline {
            return false;
        }
        let missing = children_end.min(now).since(deadline).0;
        let steps = (missing / POSTPONED.0) + 1;
        self.refreshed = deadline + POSTPONED.saturating_mul(steps - 1);
        self.timeout = POSTPONED;
        self.refreshed + self.timeout > now
    }
}

/// The entries of one flow's packets.
pub type Conns = Few<Conn>;
