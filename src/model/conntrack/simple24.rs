//! The tracker of Linux 2.4: a state table, and the acknowledgement of the handshake that makes an entry ASSURED.
//!
//! Source: `tcp_packet`, `tcp_new` (`net/ipv4/netfilter/ip_conntrack_proto_tcp.c`, 2.4.0 and 2.4.27); the spec's
//! conntrack.md section 3.9. It knows no sequence windows: nothing but a packet without flags is ever INVALID.

use super::Settings;
use super::entry::{Entry, State, TcpTrack, status};
use super::rule::Rule;
use super::tracker::{Invalid, Ruling, kind_of};
use crate::net::{Segment, TcpFlags};

/// Prepares the TCP part of a new entry. The same packet then goes through [`packet`].
pub fn create(settings: &Settings, seg: &Segment) -> Result<TcpTrack, Invalid> {
    match settings.dialect.transitions[0][kind_of(seg.flags) as usize][State::None as usize] {
        State::Invalid => Err(Invalid::FlagCombination),
        state => Ok(TcpTrack { state, ..TcpTrack::NEW }),
    }
}

/// One packet of an existing or just created entry.
pub fn packet(settings: &Settings, entry: &mut Entry, dir: usize, seg: &Segment) -> Ruling {
    let old = entry.tcp.state;
    let new = settings.dialect.transitions[dir][kind_of(seg.flags) as usize][old as usize];
    if new == State::Invalid {
        return Ruling::Invalid(Invalid::FlagCombination, false);
    }
    entry.tcp.state = new;
    let (syn, ack) = (seg.flags.has(TcpFlags::SYN), seg.flags.has(TcpFlags::ACK));
    if old == State::SynSent && dir == 1 && syn && ack {
        entry.tcp.last_seq = seg.seq.plus(1);
    }
    if entry.status & status::SEEN_REPLY == 0 && seg.flags.has(TcpFlags::RST) {
        // An entry that this very RST created keeps a timeout of zero (2.4.27) and is gone by the next packet.
        let stillborn = Ruling::Accept(Some(Rule::stillborn(new)));
        return if entry.is(status::CONFIRMED) { Ruling::AcceptAndDelete } else { stillborn };
    }
    if old == State::SynRecv && dir == 0 && ack && !syn && seg.ack == entry.tcp.last_seq {
        entry.status |= status::ASSURED;
    }
    Ruling::Accept(Some(Rule::of(new, 0)))
}
