//! Continuity of sequence and acknowledgement numbers: what one segment is, and what the silence before it proves.
//!
//! All comparisons are modulo 2³². A number up to [`OLD_MAX`] behind is old, everything else that differs is ahead: a
//! sampled capture can miss more than 2 GiB at once. Nothing here knows time beyond the length of the gap, and nothing
//! knows boxes.

use super::Rarely;
use super::gaps::{GapEvidence, Reading};
use crate::net::{Direction, Segment, Seq, TcpFlags};
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// What a segment is to its flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shape {
    /// A UDP datagram.
    Datagram,
    /// The first of its direction, or a SYN that begins it anew: there is nothing to compare it with.
    Start,
    /// New bytes (payload or FIN) that continue where the direction stopped.
    InOrder,
    /// Nothing new but an acknowledgement or a window.
    PureAck,
    /// A keepalive probe: one before the next sequence number, with no data or one byte, and nothing outstanding.
    KeepaliveProbe,
    /// The ACK that answers a keepalive probe.
    KeepaliveAnswer,
    /// A probe of a window that the other side has closed.
    WindowProbe,
    /// Bytes that were captured before.
    Retransmission,
    /// Bytes that were missing so far: late, or sent again after a loss before the capture point.
    OutOfOrder,
    /// Bytes between the previous segment of the direction and this one were never captured.
    Hole,
    /// It acknowledges bytes of the other direction that were never captured.
    AckUnseen,
    /// The very segment before it, captured twice.
    Duplicate,
    /// An RST.
    Reset,
}

/// How far back old data can reach. Twice the largest receive window that the usual autotuning limits lead to (32 MiB).
pub(super) const OLD_MAX: u32 = 1 << 26;
/// From here on a jump makes older numbers of the other side incomparable.
const FAR: u32 = 1 << 30;
/// Copies from a span port or from two interfaces of one host follow within microseconds; no retransmission is so fast.
const DUPLICATE_MAX: Duration = Duration(50_000);
/// Where the identification of the IP packet is the same too, it is the same packet, seen before and behind a router perhaps. Even a host
/// that numbers its packets alike waits longer before it sends one again.
const SAME_PACKET_MAX: Duration = Duration::from_millis(100);
/// An answer to a probe follows within a round trip; the slowest links have a few seconds.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What is known of one direction.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Side {
    /// Wireshark's base sequence number; kept by `stream`.
    pub(super) base: Seq,
    /// After the highest byte captured.
    next: Seq,
    /// The highest acknowledgement that this side sent.
    acked: Seq,
    bits: u16,
    /// Of its last segment: the fingerprint and the identification of the IP packet, mixed.
    tag: u16,
}

const BASE: u16 = 0x01;
/// `next` is known.
const SEEN: u16 = 0x02;
/// `acked` is known.
const ACKED: u16 = 0x04;
/// `next` rests on empty segments only, and may be one short if those were keepalive probes.
const SOFT: u16 = 0x08;
/// The window was closed in its last segment.
const CLOSED_WINDOW: u16 = 0x10;
/// A keepalive probe of this side waits for its answer.
const PROBING: u16 = 0x20;
const FIN: u16 = 0x40;
const RST: u16 = 0x80;
/// A range of bytes was skipped and is not filled: it stands among what few flows have.
const HOLED: u16 = 0x100;
/// The clock went back before a segment of this side. It is here because there is room for it.
const WENT_BACK: u16 = 0x200;

/// The last range of bytes of a direction that was skipped; empty where both are equal.
pub(super) type Hole = (Seq, Seq);
pub(super) const NO_HOLE: Hole = (Seq(0), Seq(0));

/// How a number compares with the one that was expected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    NoHistory,
    Exact,
    /// Behind, within [`OLD_MAX`].
    Old,
    Ahead(u32),
}

fn fit(number: Seq, expected: Option<Seq>) -> Fit {
    match expected {
        None => Fit::NoHistory,
        Some(expected) if number == expected => Fit::Exact,
        Some(expected) if expected.distance(number) <= OLD_MAX => Fit::Old,
        Some(expected) => Fit::Ahead(number.distance(expected)),
    }
}

impl Side {
    pub(super) const NEW: Side = Side { base: Seq(0), next: Seq(0), acked: Seq(0), bits: 0, tag: 0 };

    const fn is(&self, bit: u16) -> bool {
        self.bits & bit != 0
    }

    const fn set(&mut self, bit: u16, on: bool) {
        self.bits = if on { self.bits | bit } else { self.bits & !bit };
    }

    pub(super) const fn has_base(&self) -> bool {
        self.is(BASE)
    }

    pub(super) const fn set_base(&mut self, base: Seq) {
        self.base = base;
        self.bits |= BASE;
    }

    pub(super) const fn has_fin(&self) -> bool {
        self.is(FIN)
    }

    pub(super) const fn clock_went_back(&self) -> bool {
        self.is(WENT_BACK)
    }

    pub(super) const fn set_clock_went_back(&mut self) {
        self.bits |= WENT_BACK;
    }

    pub(super) const fn has_rst(&self) -> bool {
        self.is(RST)
    }

    /// Whether this side sent nothing but SYNs and RSTs without ACK, if anything.
    pub(super) const fn only_asked(&self) -> bool {
        !self.is(ACKED) && !self.is(FIN)
    }

    /// Whether this side, if it sent anything, acknowledged nothing of `client` but its SYN.
    pub(super) fn only_answered(&self, client: &Side) -> bool {
        !self.is(FIN) && (!self.is(ACKED) || client.is(BASE) && self.acked == client.base.plus(1))
    }

    /// Where this direction stands, by what was captured of it and by what `peer` acknowledged of it.
    fn expected(&self, peer: &Side) -> Option<Seq> {
        match (self.is(SEEN), peer.is(ACKED)) {
            (true, true) if peer.acked.after(self.next) => Some(peer.acked),
            (true, _) => Some(self.next),
            (false, true) => Some(peer.acked),
            (false, false) => None,
        }
    }

    /// Whether everything that was captured of this direction has been acknowledged; `None` where no acknowledgement
    /// was ever captured.
    fn all_acked(&self, peer: &Side) -> Option<bool> {
        peer.is(ACKED).then(|| !peer.acked.before(self.next))
    }

    /// Takes an acknowledgement that this side sent; an old one changes nothing.
    fn acknowledges(&mut self, ack: Seq) {
        if !self.is(ACKED) || fit(ack, Some(self.acked)) != Fit::Old {
            self.acked = ack;
        }
        self.set(ACKED, true);
    }

    /// Forgets everything but what belongs to the whole flow: a SYN begins the direction anew.
    fn restart(&mut self) {
        *self = Side { base: self.base, bits: self.bits & (BASE | WENT_BACK), ..Side::NEW };
    }
}

/// All fields that a copy shares with its original, mixed into 32 bits.
pub(super) fn fingerprint(seg: &Segment) -> u32 {
    let mix = (u64::from(seg.seq.0) << 32 | u64::from(seg.ack.0))
        ^ (u64::from(seg.len) << 32 | u64::from(seg.window) << 8 | u64::from(seg.flags.0))
        ^ u64::from(seg.sack.0).rotate_left(20);
    (mix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// What stands around a segment in its flow.
#[derive(Clone, Copy)]
pub(super) struct Context {
    /// The time since the previous segment of the flow.
    pub(super) gap: Duration,
    /// Which way that one went; `None` at the start.
    pub(super) previous: Option<Direction>,
    /// Whether that one had the same [`fingerprint`].
    pub(super) copy: bool,
    /// The segment's own.
    pub(super) print: u32,
    /// From the start of the flow to the previous segment and to this one.
    pub(super) age: (Duration, Duration),
}

/// Reads one TCP segment: its shape, and what it says about the gap before it.
pub(super) fn track(sides: &mut [Side; 2], rare: &mut Rarely, seg: &Segment, context: Context) -> (Shape, Reading) {
    let [original, reply] = sides;
    let (me, peer) = if seg.dir == Direction::Original { (original, reply) } else { (reply, original) };
    let tag = (context.print ^ u32::from(seg.ip_id).wrapping_mul(0x9e37_79b1)) >> 16;
    let alike = std::mem::replace(&mut me.tag, tag as u16) == tag as u16;
    if is_copy(me, seg, context, alike) {
        rare.get_or_insert_default().copies += 1;
        return (Shape::Duplicate, Reading { evidence: GapEvidence::ProvenIdle, missing: seg.dir, jumped: false, filled: false });
    }
    if let Some(shape) = goes_on(me, peer, seg) {
        return (shape, Reading { evidence: GapEvidence::ProvenIdle, missing: seg.dir.opposite(), jumped: false, filled: false });
    }
    general((me, peer), rare, seg, context)
}

/// The same for what is neither a copy nor continues what was captured.
fn general((me, peer): (&mut Side, &mut Side), rare: &mut Rarely, seg: &Segment, context: Context) -> (Shape, Reading) {
    let (my, their) = (seg.dir.index(), seg.dir.opposite().index());
    let kept = rare.as_ref().filter(|_| (me.bits | peer.bits) & HOLED != 0).map_or([NO_HOLE; 2], |rare| rare.unfilled);
    let mut holes = (kept[my], kept[their]);
    let flags = seg.flags;
    let fresh = flags.has(TcpFlags::SYN) && begins_side(me, peer, seg);
    if fresh && me.is(SEEN) {
        me.restart();
        holes.0 = NO_HOLE;
        if !flags.has(TcpFlags::ACK) {
            peer.restart();
            holes.1 = NO_HOLE;
        }
    }
    let expected = me.expected(peer);
    let seq = if fresh { Fit::NoHistory } else { sequence_fit(me, seg, expected) };
    let ack = if flags.has(TcpFlags::ACK) { acknowledgement_fit(me, peer, seg) } else { Fit::Exact };
    let revealed = matches!(ack, Fit::Ahead(1))
        && peer.is(SOFT)
        && peer.next.plus(1) == seg.ack
        && context.previous == Some(seg.dir.opposite())
        && context.gap <= ANSWER_MAX;
    let ack = if revealed { Fit::Exact } else { ack };
    if revealed {
        // What looked like an empty ACK at the start of the capture was a probe: it stood one before the number that
        // the other side is waiting for.
        peer.next = seg.ack;
        peer.set(SOFT, false);
        peer.set(PROBING, true);
        rare.get_or_insert_default().probes[seg.dir.opposite().index()].sent(context.age.0);
    }
    let jumped = matches!(seq, Fit::Ahead(_));
    let beyond = matches!(ack, Fit::Ahead(_));
    let late = fills(holes.0, seg);
    let shape = match (seq, ack) {
        (Fit::Ahead(_), _) => Shape::Hole,
        _ if beyond => Shape::AckUnseen,
        _ if flags.has(TcpFlags::RST) => Shape::Reset,
        (Fit::NoHistory, _) => Shape::Start,
        _ if late => Shape::OutOfOrder,
        (fit, _) => continued(me, peer, seg, fit, expected),
    };
    let evidence = if jumped || beyond {
        GapEvidence::Hole
    } else if ack == Fit::NoHistory || seq == Fit::NoHistory && !(fresh && flags.has(TcpFlags::ACK)) {
        GapEvidence::Unknown
    } else {
        GapEvidence::ProvenIdle
    };
    let missing = if jumped { seg.dir } else { seg.dir.opposite() };
    let filled = update(me, peer, &mut holes, seg, (seq, ack), expected, late);
    me.set(HOLED, holes.0.0 != holes.0.1);
    peer.set(HOLED, holes.1.0 != holes.1.1);
    if (me.bits | peer.bits) & HOLED != 0 {
        let unfilled = &mut rare.get_or_insert_default().unfilled;
        (unfilled[my], unfilled[their]) = holes;
    }
    count_probes((me, peer), rare, seg, shape, context.age.1);
    (shape, Reading { evidence, missing, jumped, filled })
}

/// What nearly all segments are: one that begins where its side stopped and acknowledges nothing that was not captured, with nothing in
/// doubt on either side. It says of such a segment what the rest of this module would, and does the same to both sides.
#[inline]
fn goes_on(me: &mut Side, peer: &Side, seg: &Segment) -> Option<Shape> {
    const KNOWN: u16 = SEEN | ACKED;
    let usual = seg.flags.has(TcpFlags::ACK)
        && !seg.flags.any(TcpFlags::SYN | TcpFlags::RST)
        && me.bits & (KNOWN | SOFT | HOLED) == KNOWN
        && peer.bits & (KNOWN | SOFT | PROBING | CLOSED_WINDOW) == KNOWN
        && seg.seq == me.next
        && !peer.acked.after(me.next)
        && !me.acked.after(peer.next)
        && peer.next.distance(seg.ack) <= OLD_MAX;
    if !usual {
        return None;
    }
    let closed = if seg.window == 0 { CLOSED_WINDOW } else { 0 };
    let fin = if seg.flags.has(TcpFlags::FIN) { FIN } else { 0 };
    me.bits = me.bits & !CLOSED_WINDOW | closed | fin;
    me.acknowledges(seg.ack);
    me.next = seg.end();
    Some(if me.next == seg.seq { Shape::PureAck } else { Shape::InOrder })
}

/// Whether a segment is the one before it, or the last one of its side, captured again: another time to live, VLAN or hardware
/// address makes no difference. `alike`: it has the tag of its side's last one.
#[inline]
fn is_copy(me: &Side, seg: &Segment, context: Context, alike: bool) -> bool {
    let same_way = context.previous == Some(seg.dir);
    if context.copy && same_way && context.gap <= DUPLICATE_MAX {
        return true;
    }
    alike && seg.ip_id != 0 && me.is(SEEN) && context.gap <= SAME_PACKET_MAX && (context.copy || !same_way && seg.end() == me.next)
}

/// Whether a SYN begins its direction: the first one does, and one that is not merely sent again.
fn begins_side(me: &Side, peer: &Side, seg: &Segment) -> bool {
    let again = me.is(SEEN) && me.next.distance(seg.seq) <= OLD_MAX;
    !again || me.is(RST) || peer.is(RST) || me.is(FIN) && peer.is(FIN)
}

fn sequence_fit(me: &Side, seg: &Segment, expected: Option<Seq>) -> Fit {
    match fit(seg.seq, expected) {
        // The capture began in mid-flow: what is ahead of the acknowledgements was in flight then.
        Fit::Ahead(_) if !me.is(SEEN) => Fit::NoHistory,
        Fit::Ahead(1) if me.is(SOFT) => Fit::Exact,
        // Some stacks put zero or anything else into the sequence number of an RST.
        Fit::Ahead(by) if by > OLD_MAX && seg.flags.has(TcpFlags::RST) => Fit::NoHistory,
        other => other,
    }
}

fn acknowledgement_fit(me: &Side, peer: &Side, seg: &Segment) -> Fit {
    match fit(seg.ack, peer.expected(me)) {
        Fit::Ahead(by) if by > OLD_MAX && seg.flags.has(TcpFlags::RST) => Fit::NoHistory,
        other => other,
    }
}

/// Whether the segment brings the first missing bytes of the last hole.
fn fills((start, end): Hole, seg: &Segment) -> bool {
    start != end && seg.len > 0 && !seg.seq.after(start) && seg.end().after(start) && seg.seq.before(end)
}

/// The shape of a segment without any contradiction and with some history.
fn continued(me: &Side, peer: &Side, seg: &Segment, fit: Fit, expected: Option<Seq>) -> Shape {
    let expected = expected.unwrap_or(seg.seq);
    let bare = !seg.flags.any(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST);
    let one_before = seg.seq.plus(1) == expected;
    if bare && peer.is(CLOSED_WINDOW) && (one_before && seg.len <= 1 || fit == Fit::Exact && seg.len == 1) {
        return Shape::WindowProbe;
    }
    // An empty segment one back can be nothing else where the acknowledgements are not captured; one byte can be data.
    let idle = me.all_acked(peer).unwrap_or(seg.len == 0);
    if bare && one_before && idle && seg.len <= 1 {
        return Shape::KeepaliveProbe;
    }
    match (seg.end() == seg.seq, fit) {
        (true, _) if peer.is(PROBING) && fit == Fit::Exact && Some(seg.ack) == peer.expected(me) => Shape::KeepaliveAnswer,
        (true, _) => Shape::PureAck,
        (false, Fit::Old) => Shape::Retransmission,
        (false, _) => Shape::InOrder,
    }
}

/// Moves both sides on. Returns whether the last hole of the direction is filled now.
fn update(
    me: &mut Side,
    peer: &mut Side,
    (mine, theirs): &mut (Hole, Hole),
    seg: &Segment,
    (seq, ack): (Fit, Fit),
    expected: Option<Seq>,
    late: bool,
) -> bool {
    if late {
        mine.0 = if seg.end().before(mine.1) { seg.end() } else { mine.1 };
    }
    if let Fit::Ahead(by) = ack {
        if peer.is(SEEN) {
            *theirs = (peer.next, seg.ack);
        }
        if by > FAR {
            peer.set(SEEN, false);
        }
    }
    if seg.flags.has(TcpFlags::RST) {
        // The numbers of an RST need not be those of the connection, and nothing follows them.
        me.set(RST, true);
        return false;
    }
    me.set(CLOSED_WINDOW, seg.window == 0 && seg.flags.has(TcpFlags::ACK));
    if seg.flags.has(TcpFlags::ACK) {
        me.acknowledges(seg.ack);
        if seg.ack == peer.next {
            peer.set(SOFT, false);
        }
    }
    advance(me, peer, mine, seg, seq, expected.unwrap_or(seg.seq));
    me.set(SEEN, true);
    me.set(FIN, me.is(FIN) || seg.flags.has(TcpFlags::FIN));
    late && mine.0 == mine.1
}

/// Moves the sender's next sequence number on.
fn advance(me: &mut Side, peer: &mut Side, mine: &mut Hole, seg: &Segment, seq: Fit, expected: Seq) {
    let end = seg.end();
    match seq {
        Fit::NoHistory => {
            me.next = end;
            me.set(SOFT, end == seg.seq);
        }
        Fit::Exact => {
            // Empty segments where the direction stood at the start of the capture leave it in doubt.
            me.set(SOFT, me.is(SOFT) && end == me.next);
            me.next = end;
        }
        Fit::Old => {
            let highest = if me.is(SEEN) { me.next } else { expected };
            me.next = if end.after(highest) { end } else { highest };
        }
        Fit::Ahead(by) => {
            *mine = (expected, seg.seq);
            me.next = end;
            me.set(SOFT, false);
            if by > FAR {
                peer.set(ACKED, false);
            }
        }
    }
}

fn count_probes((me, peer): (&mut Side, &mut Side), rare: &mut Rarely, seg: &Segment, shape: Shape, age: Duration) {
    if peer.is(PROBING) && seg.flags.has(TcpFlags::ACK) && !seg.flags.has(TcpFlags::RST) {
        peer.set(PROBING, false);
        rare.get_or_insert_default().probes[seg.dir.opposite().index()].answered();
    }
    if shape == Shape::KeepaliveProbe {
        me.set(PROBING, true);
        rare.get_or_insert_default().probes[seg.dir.index()].sent(age);
    }
}
