//! IPVS states, their timers, and which transition table a packet uses.
//!
//! Source: `enum` of `IP_VS_TCP_S_*` (`include/net/ip_vs.h`), `tcp_timeouts`, `set_tcp_state` (`ip_vs_proto_tcp.c`); the
//! spec's ipvs.md sections 1 and 4. IPVS never reads a sequence number, and nothing in here could.

use crate::net::TcpFlags;
use serde::{Deserialize, Serialize};

/// TCP states in the kernel's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum State {
    /// Just created.
    None = 0,
    /// Open.
    Established = 1,
    /// The server sent a SYN.
    SynSent = 2,
    /// The client sent a SYN.
    SynRecv = 3,
    /// The server closed first; or, without sight of the replies, the client did.
    FinWait = 4,
    /// Both closed.
    TimeWait = 5,
    /// Reset.
    Close = 6,
    /// The client closed first.
    CloseWait = 7,
    /// Reachable only from itself.
    LastAck = 8,
    /// Reachable only through the FTP helper.
    Listen = 9,
    /// Under `secure_tcp`: the handshake was answered, the server has not spoken since.
    SynAck = 10,
}

impl State {
    /// All of them, in order.
    pub const ALL: [State; 11] = [
        State::None,
        State::Established,
        State::SynSent,
        State::SynRecv,
        State::FinWait,
        State::TimeWait,
        State::Close,
        State::CloseWait,
        State::LastAck,
        State::Listen,
        State::SynAck,
    ];

    /// The name that ipvsadm prints.
    pub const fn name(self) -> &'static str {
        match self {
            State::None => "NONE",
            State::Established => "ESTABLISHED",
            State::SynSent => "SYN_SENT",
            State::SynRecv => "SYN_RECV",
            State::FinWait => "FIN_WAIT",
            State::TimeWait => "TIME_WAIT",
            State::Close => "CLOSE",
            State::CloseWait => "CLOSE_WAIT",
            State::LastAck => "LAST_ACK",
            State::Listen => "LISTEN",
            State::SynAck => "SYNACK",
        }
    }
}

/// Seconds by state (`tcp_timeouts`, 2.6 and later). NONE is never a live timer: creation arms the resulting state's.
pub const TO_26: [u64; 11] = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];
/// Seconds by state in 2.4 (`vs_timeout_table`).
pub const TO_24: [u64; 11] = [1800, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];
/// Seconds by state in 2.4 for entries born under `secure_tcp` (`vs_timeout_table_dos`).
pub const TO_24_DOS: [u64; 11] = [900, 480, 60, 10, 60, 60, 10, 60, 30, 120, 100];
/// Seconds of UDP, normal.
pub const UDP: u64 = 300;
/// Seconds of UDP in 2.4 for entries born under `secure_tcp`.
pub const UDP_24_DOS: u64 = 180;

/// Which third of a transition table a packet uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TableSide {
    /// From the client.
    Input = 0,
    /// From the real server.
    Output = 1,
    /// From the client, while no reply was ever seen.
    InputOnly = 2,
}

impl TableSide {
    /// The name that the spec's vectors use.
    pub const fn name(self) -> &'static str {
        match self {
            TableSide::Input => "INPUT",
            TableSide::Output => "OUTPUT",
            TableSide::InputOnly => "INPUT_ONLY",
        }
    }
}

/// The row of a packet: RST beats SYN beats FIN beats ACK (`tcp_state_idx`); none of them leads to CLOSE, whatever the table.
pub const fn row_of(flags: TcpFlags) -> Option<usize> {
    if flags.has(TcpFlags::RST) {
        Some(3)
    } else if flags.has(TcpFlags::SYN) {
        Some(0)
    } else if flags.has(TcpFlags::FIN) {
        Some(1)
    } else if flags.has(TcpFlags::ACK) {
        Some(2)
    } else {
        None
    }
}
