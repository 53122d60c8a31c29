//! When a tuple begins a new flow, decided as Wireshark decides when a new `tcp.stream` begins, so that our indices are
//! the ones that users see there.
//!
//! Imitates `dissect_tcp` in epan/dissectors/packet-tcp.c. The base sequence number of a side is that of its first
//! segment (one less where that is no SYN), or one less than the first acknowledgement of the other side. A SYN without
//! ACK whose number differs begins a new stream; it does not matter how the old one ended. What later versions added
//! is in [`StreamRule`]. Left out: TCP headers quoted in ICMP errors, and conversations that application dissectors
//! (FTP data, TFTP, SIP…) announce beforehand. Nothing here knows gaps or evidence.

use super::sequence::Side;
use crate::net::{Segment, TcpFlags};

/// Whose stream numbers to reproduce.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StreamRule {
    /// Wireshark 4.0: only a SYN with another sequence number begins a new stream; a SYN/ACK with another one moves the
    /// base of its side.
    #[default]
    BaseSeq,
    /// Wireshark's development branch of 2025: also a SYN with the same number after an RST or FIN/ACK, and a SYN/ACK
    /// with another number or after an RST or FIN/ACK.
    BaseSeqOrClosed,
}

/// Whether `seg` begins a new stream in a tuple whose sender is in state `me`; `closed`: an RST or FIN/ACK went before.
pub(super) fn begins(rule: StreamRule, me: &Side, closed: bool, seg: &Segment) -> bool {
    if !seg.flags.has(TcpFlags::SYN) || !me.has_base() {
        return false;
    }
    let differs = me.base != seg.seq;
    match rule {
        StreamRule::BaseSeq => differs && !seg.flags.has(TcpFlags::ACK),
        StreamRule::BaseSeqOrClosed => differs || closed,
    }
}

/// Keeps the base sequence numbers as Wireshark does; call it for every segment, after [`begins`] has been asked.
pub(super) fn learn(me: &mut Side, peer: &mut Side, seg: &Segment) {
    let (syn, ack) = (seg.flags.has(TcpFlags::SYN), seg.flags.has(TcpFlags::ACK));
    if !me.has_base() {
        me.set_base(if syn { seg.seq } else { seg.seq.minus(1) });
    } else if syn && ack {
        me.set_base(seg.seq);
    }
    if ack && !peer.has_base() {
        peer.set_base(seg.ack.minus(1));
    }
}

/// Whether `seg` makes Wireshark consider its stream closed.
pub(super) fn closes(seg: &Segment) -> bool {
    seg.flags.has(TcpFlags::RST) || seg.flags.has(TcpFlags::FIN | TcpFlags::ACK)
}
