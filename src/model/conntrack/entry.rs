//! A conntrack entry: what `struct nf_conn` keeps of one connection, as far as a packet's fate depends on it.
//!
//! Nothing here decides anything; the tracker, the UDP rules and NAT do.

use super::rule::Rule;
use crate::model::{Clause, Lapse, Tuple};
use crate::net::Seq;
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// TCP states in the kernel's order (`enum tcp_conntrack`), and the two verdicts that a transition table may hold instead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum State {
    /// No state yet.
    None = 0,
    /// SYN seen.
    SynSent = 1,
    /// SYN/ACK seen.
    SynRecv = 2,
    /// Open.
    Established = 3,
    /// One side sent its FIN.
    FinWait = 4,
    /// That FIN was acknowledged.
    CloseWait = 5,
    /// Both sides sent a FIN.
    LastAck = 6,
    /// Both FINs acknowledged.
    TimeWait = 7,
    /// Reset.
    Close = 8,
    /// SYN from both sides (LISTEN before 2.6.31).
    SynSent2 = 9,
    /// The packet is INVALID.
    Invalid = 10,
    /// The packet is accepted and changes nothing.
    Ignore = 11,
}

impl State {
    /// The name that conntrack prints.
    pub const fn name(self) -> &'static str {
        match self {
            State::None => "NONE",
            State::SynSent => "SYN_SENT",
            State::SynRecv => "SYN_RECV",
            State::Established => "ESTABLISHED",
            State::FinWait => "FIN_WAIT",
            State::CloseWait => "CLOSE_WAIT",
            State::LastAck => "LAST_ACK",
            State::TimeWait => "TIME_WAIT",
            State::Close => "CLOSE",
            State::SynSent2 => "SYN_SENT2",
            State::Invalid => "INVALID",
            State::Ignore => "IGNORE",
        }
    }

    /// The state of a number.
    pub(crate) const fn from_number(number: u8) -> State {
        match number {
            1 => State::SynSent,
            2 => State::SynRecv,
            3 => State::Established,
            4 => State::FinWait,
            5 => State::CloseWait,
            6 => State::LastAck,
            7 => State::TimeWait,
            8 => State::Close,
            9 => State::SynSent2,
            10 => State::Invalid,
            11 => State::Ignore,
            _ => State::None,
        }
    }

    /// The nine states that have timers of their own, in the kernel's order.
    pub const ALL: [State; 9] = [
        State::SynSent,
        State::SynRecv,
        State::Established,
        State::FinWait,
        State::CloseWait,
        State::LastAck,
        State::TimeWait,
        State::Close,
        State::SynSent2,
    ];
}

/// Kinds of packet in the order of the transition tables' rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// SYN without ACK.
    Syn = 0,
    /// SYN and ACK.
    SynAck = 1,
    /// FIN.
    Fin = 2,
    /// ACK, data included.
    Ack = 3,
    /// RST.
    Rst = 4,
    /// None of these.
    None = 5,
}

impl Kind {
    /// The kind of a number.
    pub(crate) const fn from_number(number: u8) -> Kind {
        match number {
            0 => Kind::Syn,
            1 => Kind::SynAck,
            2 => Kind::Fin,
            3 => Kind::Ack,
            4 => Kind::Rst,
            _ => Kind::None,
        }
    }
}

/// Flags of one direction (`IP_CT_TCP_FLAG_*`).
pub mod side_flag {
    /// The side offered a window scale.
    pub const WINDOW_SCALE: u8 = 0x01;
    /// The side permits SACK.
    pub const SACK_PERM: u8 = 0x02;
    /// The side started the close; some dialects use another value.
    pub const CLOSE_INIT: u8 = 0x04;
    /// Out-of-window packets of this side are accepted.
    pub const BE_LIBERAL: u8 = 0x08;
    /// The side has data that is not acknowledged.
    pub const DATA_UNACKNOWLEDGED: u8 = 0x10;
    /// `maxack` holds a value.
    pub const MAXACK_SET: u8 = 0x20;
    /// In `last_flags`: a challenge ACK is expected.
    pub const EXP_CHALLENGE_ACK: u8 = 0x40;
    /// In `last_flags`: both sides sent a SYN.
    pub const SIMULTANEOUS_OPEN: u8 = 0x80;
}

/// What was seen of one direction (`struct ip_ct_tcp_state`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The highest end of a segment.
    pub end: Seq,
    /// The highest end that the other side allows.
    pub maxend: Seq,
    /// The largest window that this side announced.
    pub maxwin: u32,
    /// The highest acknowledgement that this side sent.
    pub maxack: Seq,
    /// Its window scale.
    pub scale: u8,
    /// [`side_flag`] bits.
    pub flags: u8,
    /// Packets for which the window test is off (up to 2.6.20).
    pub loose: u8,
}

/// The TCP part of an entry (`struct ip_ct_tcp`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TcpTrack {
    /// Both directions, original first.
    pub seen: [Seen; 2],
    /// Sequence number of the last remembered packet; in 2.4 the awaited handshake acknowledgement.
    pub last_seq: Seq,
    /// Its acknowledgement.
    pub last_ack: Seq,
    /// Its end.
    pub last_end: Seq,
    /// Its window.
    pub last_win: u16,
    /// Its direction.
    pub last_dir: u8,
    /// Its kind.
    pub last_index: Kind,
    /// Flags remembered of an ignored SYN.
    pub last_flags: u8,
    /// Window scale remembered of an ignored SYN.
    pub last_wscale: u8,
    /// How often the last packet was repeated.
    pub retrans: u8,
    /// The state.
    pub state: State,
}

impl TcpTrack {
    /// The TCP part of an entry that no packet has touched yet.
    pub const NEW: TcpTrack = TcpTrack {
        seen: [Seen { end: Seq(0), maxend: Seq(0), maxwin: 0, maxack: Seq(0), scale: 0, flags: 0, loose: 0 }; 2],
        last_seq: Seq(0),
        last_ack: Seq(0),
        last_end: Seq(0),
        last_win: 0,
        last_dir: 0,
        last_index: Kind::None,
        last_flags: 0,
        last_wscale: 0,
        retrans: 0,
        state: State::None,
    };
}

/// Status bits of an entry (`IPS_*`).
pub mod status {
    /// A packet of the reply direction was accepted.
    pub const SEEN_REPLY: u8 = 0x01;
    /// The entry is not a candidate for early drop.
    pub const ASSURED: u8 = 0x02;
    /// The entry is in the table.
    pub const CONFIRMED: u8 = 0x04;
    /// The source NAT decision was made.
    pub const SRC_NAT_DONE: u8 = 0x08;
    /// The destination NAT decision was made.
    pub const DST_NAT_DONE: u8 = 0x10;
    /// IPVS has rewritten the reply tuple of the entry.
    pub const IPVS: u8 = 0x20;
    /// Two entries share a tuple (UDP).
    pub const NAT_CLASH: u8 = 0x40;
    /// The entry was deleted while a packet still holds it.
    pub const DYING: u8 = 0x80;
}

/// One conntrack entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The tuple of the original direction.
    pub original: Tuple,
    /// The tuple of the reply direction: the inverse, unless NAT changed it.
    pub reply: Tuple,
    /// [`status`] bits.
    pub status: u8,
    /// Which timer runs.
    pub clause: Clause,
    /// The rule that chose it: with other settings it may choose another.
    pub rule: Rule,
    /// The TCP part; unused for UDP.
    pub tcp: TcpTrack,
    /// UDP: from when on the stream timer applies.
    pub stream_from: Instant,
    /// When the timer was last set.
    pub refreshed: Instant,
    /// What it was set to.
    pub timeout: Duration,
}

const _: () = assert!(size_of::<Entry>() <= 112);

impl Entry {
    /// Whether all the bits of `mask` are set in the status.
    pub const fn is(&self, mask: u8) -> bool {
        self.status & mask == mask
    }

    /// The instant at which the entry ends unless something refreshes it.
    pub fn deadline(&self) -> Instant {
        self.refreshed + self.timeout
    }

    /// The state as conntrack prints it; for UDP, which prints none, whether both sides have spoken.
    pub fn state_name(&self) -> &'static str {
        match self.clause {
            Clause::UdpUnreplied => "UNREPLIED",
            Clause::UdpStream => "REPLIED",
            _ => self.tcp.state.name(),
        }
    }

    /// The entry's end, told to whoever finds it ended.
    pub fn lapse(&self) -> Lapse {
        Lapse { refreshed: self.refreshed, timeout: self.timeout, clause: self.clause, state: self.state_name() }
    }
}
