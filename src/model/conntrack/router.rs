//! A router with conntrack: the hooks in their order, a filter, NAT, and its own TCP stack for what is addressed to it.
//!
//! Source: the order of `NF_INET_*` hooks and priorities in `include/uapi/linux/netfilter_ipv4.h`; `tcp_v4_rcv` and
//! `tcp_v4_send_reset` (`net/ipv4/tcp_ipv4.c`) for packets without a socket; the spec's conntrack.md sections 3.1, 4.

use super::dialect::Model;
use super::entry::{TcpTrack, status};
use super::nat;
pub use super::nat::Nat;
use super::rule::Rule;
use super::table::Table;
use super::track::{Attached, Conntrack, Mark};
use super::tracker::{self, Ruling};
use super::udp;
use crate::model::{CtState, DropReason, Host, Moment, Outcome, Packet, Sent, Side, Tuple, What};
use crate::net::{Proto, Segment, SegmentBits, Seq, TcpFlags};

/// The rules of the FORWARD chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rules {
    /// Everything passes.
    AcceptAll,
    /// INVALID is dropped, everything else passes.
    DropInvalid,
    /// ESTABLISHED and RELATED pass, NEW passes with SYN alone set of SYN, ACK, RST, FIN; the rest is dropped.
    Strict,
}

/// Where a box stands in its path: its own addresses and those that its rules name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its address on the client's side.
    pub near: Host,
    /// Its address on the server's side.
    pub far: Host,
    /// The address that clients dial at this box.
    pub service: Host,
    /// The real server behind the service address, for DNAT and IPVS.
    pub real: Host,
    /// Whether the box holds the service address itself.
    pub service_is_local: bool,
    /// The hosts that are reached through the client's side, as a bit set.
    pub client_side: u64,
}

impl Place {
    /// Whether a host is the box itself.
    pub fn is_local(&self, host: Host) -> bool {
        host == self.near || host == self.far || host == self.service && self.service_is_local
    }

    /// The side through which a host is reached.
    pub const fn side_of(&self, host: Host) -> Side {
        if host.0 < 64 && self.client_side >> host.0 & 1 == 1 { Side::Client } else { Side::Server }
    }
}

/// A router with conntrack.
#[derive(Clone, Copy, Debug)]
pub struct Router {
    /// Its conntrack.
    pub conntrack: Conntrack,
    /// Its NAT rule.
    pub nat: Nat,
    /// Its filter.
    pub rules: Rules,
    /// Whether its INPUT chain lets packets reach its own stack.
    pub input_accepts: bool,
    /// Where it stands.
    pub place: Place,
}

impl Router {
    /// One packet.
    pub fn packet(&self, table: &mut Table, packet: Packet<'_>, moment: &mut Moment) -> Outcome {
        let mut out = Outcome::NOTHING;
        self.pass(table, packet, moment, &mut out);
        self.conntrack.discard_unconfirmed(table);
        out
    }

    /// A segment of a connection that is in the table and whose translation is settled, as nearly all are: the rule that sets its
    /// timer where it is let through and sets one, which [`Router::packet`] would do too. Otherwise what was given has lost its
    /// meaning, and that one is to be asked with the entry as it was. `t` and `bits` are the TCP part and the status of the entry,
    /// which has not ended; `dir` is 0 for its original direction.
    #[inline]
    pub(crate) fn lets_pass(&self, t: &mut TcpTrack, bits: &mut u8, dir: usize, seg: &Segment) -> Option<Rule> {
        let settings = &self.conntrack.settings;
        let d = settings.dialect;
        if d.model != Model::Window || !self.is_settled(*bits) || tracker::header_check(d, seg).is_err() {
            return None;
        }
        let Ruling::Accept(Some(rule)) = tracker::packet(settings, t, bits, dir, seg) else { return None };
        self.lets_out(bits, dir, seg, Proto::Tcp).then_some(rule)
    }

    /// The same for a datagram. `passed` says whether the moment from which on it may be a stream has come; nothing where that cannot
    /// be known.
    #[inline]
    pub(crate) fn lets_datagram_pass(&self, bits: &mut u8, dir: usize, seg: &Segment, passed: Option<bool>) -> Option<Rule> {
        if !self.is_settled(*bits) {
            return None;
        }
        let rule = udp::rule(&self.conntrack.settings, bits, || passed == Some(true));
        (passed.is_some() && self.lets_out(bits, dir, seg, Proto::Udp)).then_some(rule)
    }

    /// A SYN that begins a connection of which nothing is in the table, nor of any other that its translation could clash with: the TCP
    /// part, the status and the rule of the entry that it leaves, where it is let through; otherwise [`Router::packet`] is to be asked.
    #[inline]
    pub(crate) fn opens(&self, seg: &Segment) -> Option<(TcpTrack, u8, Rule)> {
        let settings = &self.conntrack.settings;
        let d = settings.dialect;
        if d.model != Model::Window || tracker::header_check(d, seg).is_err() {
            return None;
        }
        let (mut track, mut bits) = (tracker::create(settings, seg).ok()?, 0);
        let Ruling::Accept(Some(rule)) = tracker::packet(settings, &mut track, &mut bits, 0, seg) else { return None };
        let translated = if self.nat == Nat::None { 0 } else { status::SRC_NAT_DONE | status::DST_NAT_DONE };
        self.lets_out(&mut bits, 0, seg, Proto::Tcp).then_some((track, bits | status::CONFIRMED | translated, rule))
    }

    /// Whether an entry is in the table, its translation decided, and its timer set by every packet.
    #[inline]
    fn is_settled(&self, bits: u8) -> bool {
        const SETTLED: u8 = status::SRC_NAT_DONE | status::DST_NAT_DONE;
        let settled = if self.nat == Nat::None { 0 } else { SETTLED };
        !self.conntrack.settings.dialect.coalesce_refresh
            && bits & (status::CONFIRMED | status::DYING | settled) == status::CONFIRMED | settled
    }

    /// What comes after the tracker has accepted: the filter, and that a reply was seen.
    #[inline]
    fn lets_out(&self, bits: &mut u8, dir: usize, seg: &Segment, proto: Proto) -> bool {
        let state = if dir == 1 || *bits & status::SEEN_REPLY != 0 { CtState::Established } else { CtState::New };
        if self.filter(state, seg, proto).is_some() {
            return false;
        }
        if dir == 1 {
            *bits |= status::SEEN_REPLY;
        }
        true
    }

    fn pass(&self, table: &mut Table, packet: Packet<'_>, moment: &mut Moment, out: &mut Outcome) {
        let Some(mark) = self.track(table, packet.tuple, packet.proto, packet.seg, moment, out) else {
            out.dropped = Some(DropReason::KilledOutOfSync);
            return;
        };
        let mut tuple = packet.tuple;
        if let Some(attached) = mark.attached {
            tuple = nat::prerouting(self.nat, &self.place, table, attached, tuple);
        }
        if self.place.is_local(tuple.dst.host) {
            self.deliver(table, packet, tuple, mark, moment, out);
            return;
        }
        if let Some(reason) = self.filter(mark.state, packet.seg, packet.proto) {
            out.dropped = Some(reason);
            return;
        }
        self.leave(table, tuple, mark, What::Packet, moment, out);
    }

    /// PREROUTING or OUTPUT; nothing where the packet ends here.
    fn track(&self, table: &mut Table, tuple: Tuple, proto: Proto, seg: &Segment, moment: &mut Moment, out: &mut Outcome) -> Option<Mark> {
        Mark::of(self.conntrack.track(table, tuple, proto, seg, moment, &mut out.lapse), &mut out.invalid)
    }

    /// The FORWARD chain.
    fn filter(&self, state: CtState, seg: &Segment, proto: Proto) -> Option<DropReason> {
        const OPENING: u8 = TcpFlags::SYN | TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN;
        let opens = proto == Proto::Udp || seg.flags.0 & OPENING == TcpFlags::SYN;
        match (self.rules, state) {
            (Rules::DropInvalid | Rules::Strict, CtState::Invalid) => Some(DropReason::InvalidByRule),
            (Rules::Strict, CtState::New) if !opens => Some(DropReason::NewWithoutSynByRule),
            _ => None,
        }
    }

    /// POSTROUTING and the wire.
    fn leave(&self, table: &mut Table, tuple: Tuple, mark: Mark, what: What, moment: &mut Moment, out: &mut Outcome) {
        let side = self.place.side_of(tuple.dst.host);
        let mut tuple = tuple;
        if let Some(attached) = mark.attached {
            let masquerades = (self.nat == Nat::Masquerade && side == Side::Server).then_some(self.place.far);
            let (translated, drew) = nat::postrouting(&self.conntrack, self.nat, masquerades, table, attached, tuple, moment);
            tuple = translated;
            out.drew_port |= drew;
            if !self.confirm(table, attached, moment, out) {
                out.dropped = Some(DropReason::TupleClash);
                return;
            }
        }
        out.send(Sent { to: side, tuple, what, ct: mark.state });
    }

    fn confirm(&self, table: &mut Table, attached: Attached, moment: &mut Moment, out: &mut Outcome) -> bool {
        let fresh = !table.get(attached.slot).is(status::CONFIRMED);
        let passed = self.conntrack.confirm(table, attached, moment);
        out.created |= fresh && passed && table.get(attached.slot).is(status::CONFIRMED);
        passed
    }

    /// INPUT, then the box's own stack, which has no socket for the packet.
    fn deliver(&self, table: &mut Table, packet: Packet<'_>, tuple: Tuple, mark: Mark, moment: &mut Moment, out: &mut Outcome) {
        if !self.input_accepts {
            out.dropped = Some(DropReason::LocalSilence);
            return;
        }
        let mut tuple = tuple;
        if let Some(attached) = mark.attached {
            let (translated, drew) = nat::postrouting(&self.conntrack, self.nat, None, table, attached, tuple, moment);
            tuple = translated;
            out.drew_port |= drew;
            if !self.confirm(table, attached, moment, out) {
                out.dropped = Some(DropReason::TupleClash);
                return;
            }
        }
        match local_answer(packet.proto, packet.seg) {
            None => out.dropped = Some(DropReason::LocalSilence),
            Some(What::Unreachable) => {
                let answer = tuple.inverse();
                let mut sent =
                    Sent { to: self.place.side_of(answer.dst.host), tuple: answer, what: What::Unreachable, ct: mark.of_error() };
                if let Some(attached) = mark.attached {
                    // The error goes to whoever sent the packet, as the sender knows itself.
                    let entry = table.get(attached.slot);
                    sent.tuple.dst = if attached.dir == 0 { entry.original.src } else { entry.reply.src };
                    sent.to = self.place.side_of(sent.tuple.dst.host);
                }
                out.send(sent);
            }
            Some(what) => {
                let answer = tuple.inverse();
                let seg = answer_segment(what, packet.seg);
                if let Some(mark) = self.track(table, answer, packet.proto, &seg, moment, out) {
                    let mut routed = answer;
                    if let Some(attached) = mark.attached {
                        routed = nat::prerouting(self.nat, &self.place, table, attached, answer);
                    }
                    self.leave(table, routed, mark, what, moment, out);
                }
            }
        }
    }
}

/// What a stack without a socket answers (`tcp_v4_send_reset`, `icmp_send`): never anything to a RST.
pub(crate) fn local_answer(proto: Proto, seg: &Segment) -> Option<What> {
    match proto {
        Proto::Udp => Some(What::Unreachable),
        Proto::Tcp if seg.bits.any(SegmentBits::MALFORMED | SegmentBits::BAD_CHECKSUM) || seg.flags.has(TcpFlags::RST) => None,
        Proto::Tcp if seg.flags.has(TcpFlags::ACK) => Some(What::Reset { seq: seg.ack, ack: None }),
        Proto::Tcp => Some(What::Reset { seq: Seq(0), ack: Some(seg.end()) }),
    }
}

/// The RST that a stack answers, as a segment.
pub(crate) fn answer_segment(what: What, cause: &Segment) -> Segment {
    match what {
        What::Reset { seq, ack } => Segment {
            at: cause.at,
            seq,
            ack: ack.unwrap_or(Seq(0)),
            sack: ack.unwrap_or(Seq(0)),
            flags: TcpFlags(TcpFlags::RST | if ack.is_some() { TcpFlags::ACK } else { 0 }),
            dir: cause.dir.opposite(),
            ..Segment::EMPTY
        },
        What::Packet | What::Unreachable => *cause,
    }
}
