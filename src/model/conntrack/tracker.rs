//! The TCP tracker: what conntrack does with one packet of one entry, 2.6.9 to 7.1.
//!
//! Source: `nf_conntrack_tcp_packet`, `tcp_new` (`net/netfilter/nf_conntrack_proto_tcp.c`) and their predecessors; the
//! spec's conntrack.md sections 3.2 to 3.7. It must not know tables of entries, NAT, rules, or what time it is.

use super::Settings;
use super::dialect::{Dialect, FlagSet, ReopenRule, RstRule};
use super::dialects;
use super::entry::{Kind, Seen, State, TcpTrack, side_flag, status};
use super::rule::Rule;
use super::window::{self, Judgement};
use crate::net::{Segment, SegmentBits, Seq, TcpFlags};

/// Why a packet is INVALID, in the words of the kernel's log where it has some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// The header contradicts itself.
    MalformedHeader,
    /// A combination of flags that no sane stack sends.
    FlagCombination,
    /// No entry, and this kind of packet cannot make one.
    CannotCreate,
    /// No entry, and `tcp_loose` is off.
    LooseOff,
    /// The transition table says so.
    InvalidState,
    /// A SYN that may not reopen a closed entry.
    ReopenRefused,
    /// A RST below what the peer acknowledged.
    InvalidRst,
    /// Sequence number over the window.
    SeqOverUpperBound,
    /// Acknowledges data never seen.
    AckOverUpperBound,
    /// Acknowledgement far too old.
    AckUnderLowerBound,
    /// Data that was acknowledged long ago.
    SeqUnderLowerBound,
}

impl Invalid {
    /// The kernel's message (`nf_ct_l4proto_log_invalid`), or ours where it has none.
    pub const fn text(self) -> &'static str {
        match self {
            Invalid::MalformedHeader => "truncated/malformed packet",
            Invalid::FlagCombination => "invalid tcp flag combination",
            Invalid::CannotCreate => "no entry, and only a SYN or an ACK may create one",
            Invalid::LooseOff => "no entry, and nf_conntrack_tcp_loose is 0",
            Invalid::InvalidState => "invalid state",
            Invalid::ReopenRefused => "SYN on a closed entry is too old to reopen it",
            Invalid::InvalidRst => "invalid rst",
            Invalid::SeqOverUpperBound => "SEQ is over the upper bound (over the window of the receiver)",
            Invalid::AckOverUpperBound => "ACK is over the upper bound (ACKed data not seen yet)",
            Invalid::AckUnderLowerBound => "ACK is under the lower bound (possible overly delayed ACK)",
            Invalid::SeqUnderLowerBound => "SEQ is under the lower bound (already ACKed data retransmitted)",
        }
    }
}

/// What the tracker decided about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// Accepted; the timer is set by the rule where one is given.
    Accept(Option<Rule>),
    /// Accepted, and the entry is deleted at once (a RST before any reply).
    AcceptAndDelete,
    /// The packet loses its entry. Where the entry's life may be cut short by it, that remains to be decided
    /// ([`super::rule::Rule::INVALID_PAIR`]).
    Invalid(Invalid, bool),
    /// The entry is deleted and the packet looked up again.
    Repeat,
    /// The entry is deleted and the packet dropped (a SYN/ACK for an ignored SYN, before 2.6.34).
    DropAndDelete,
}

/// The kind of a packet, first match wins: RST, SYN, FIN, ACK (`get_conntrack_index`).
pub const fn kind_of(flags: TcpFlags) -> Kind {
    if flags.has(TcpFlags::RST) {
        Kind::Rst
    } else if flags.has(TcpFlags::SYN) {
        if flags.has(TcpFlags::ACK) { Kind::SynAck } else { Kind::Syn }
    } else if flags.has(TcpFlags::FIN) {
        Kind::Fin
    } else if flags.has(TcpFlags::ACK) {
        Kind::Ack
    } else {
        Kind::None
    }
}

/// The legal combinations of the six flags that count, a bit each, by [`FlagSet`] (`tcp_valid_flags`).
const LEGAL: [u64; 4] = {
    const S: u8 = TcpFlags::SYN;
    const A: u8 = TcpFlags::ACK;
    const F: u8 = TcpFlags::FIN;
    const R: u8 = TcpFlags::RST;
    const P: u8 = TcpFlags::PSH;
    const U: u8 = TcpFlags::URG;
    const fn set(combinations: &[u8]) -> u64 {
        let (mut bits, mut at) = (0, 0);
        while at < combinations.len() {
            bits |= 1 << combinations[at];
            at += 1;
        }
        bits
    }
    let nine = set(&[S, S | A, R, R | A, R | A | P, F | A, A, A | P, A | U, A | U | P, F | A | P, F | A | U, F | A | U | P]);
    let twelve = nine | set(&[S | A | P]);
    let sixteen = twelve | set(&[S | P]);
    let pushed_or_not = set(&[S, S | U, S | A, R, R | A, F | A, F | A | U, A, A | U]);
    // The combinations with PSH stand eight bits behind those without.
    [nine, twelve, sixteen, pushed_or_not | pushed_or_not << P]
};

/// Whether the combination of flags is legal in this release (`tcp_valid_flags`).
pub const fn flags_are_legal(set: FlagSet, flags: TcpFlags) -> bool {
    LEGAL[set as usize] >> (flags.0 & !(TcpFlags::ECE | TcpFlags::CWR)) & 1 == 1
}

/// The header checks that come before any look-up (`tcp_error`).
pub fn header_check(dialect: &Dialect, seg: &Segment) -> Result<(), Invalid> {
    if seg.bits.any(SegmentBits::MALFORMED | SegmentBits::BAD_CHECKSUM) {
        Err(Invalid::MalformedHeader)
    } else if !flags_are_legal(dialect.valid_flags, seg.flags) {
        Err(Invalid::FlagCombination)
    } else {
        Ok(())
    }
}

/// Prepares the TCP part of a new entry (`tcp_new`). The same packet then goes through [`packet`].
pub fn create(settings: &Settings, seg: &Segment) -> Result<TcpTrack, Invalid> {
    let d = settings.dialect;
    let kind = kind_of(seg.flags);
    let mut track = TcpTrack::NEW;
    let win = u32::from(seg.window).max(1);
    match d.transitions[0][kind as usize][State::None as usize] {
        State::SynSent => {
            track.seen[0].end = seg.end();
            track.seen[0].maxend = seg.end();
            track.seen[0].maxwin = win;
            read_options(d, &mut track.seen[0], seg);
        }
        State::Established => {
            if settings.tcp_loose == 0 {
                return Err(Invalid::LooseOff);
            }
            track.seen[0].end = seg.end();
            track.seen[0].maxwin = win;
            track.seen[0].maxend = seg.end().plus(win);
            for side in &mut track.seen {
                side.flags = side_flag::SACK_PERM;
                if d.loose_packet_counter {
                    side.loose = settings.tcp_loose;
                } else {
                    side.flags |= side_flag::BE_LIBERAL;
                }
            }
        }
        _ => return Err(Invalid::CannotCreate),
    }
    track.seen[1].maxwin = d.reply_maxwin_seed;
    Ok(track)
}

/// Reads the options of a SYN into a side (`tcp_options`).
pub(super) fn read_options(d: &Dialect, side: &mut Seen, seg: &Segment) {
    if !seg.bits.any(SegmentBits::HAS_OPTIONS) {
        return;
    }
    side.scale = 0;
    side.flags &= if d.options_keep_liberal { side_flag::BE_LIBERAL } else { 0 };
    if seg.bits.any(SegmentBits::SACK_PERMITTED) {
        side.flags |= side_flag::SACK_PERM;
    }
    if seg.bits.any(SegmentBits::WINDOW_SCALE) {
        side.flags |= side_flag::WINDOW_SCALE;
        side.scale = seg.window_scale.min(14);
    }
}

/// One packet of an existing or just created entry (`nf_conntrack_tcp_packet`). `dir` is 0 for the entry's original direction.
/// `bits` are the entry's [`status`].
pub fn packet(settings: &Settings, t: &mut TcpTrack, bits: &mut u8, dir: usize, seg: &Segment) -> Ruling {
    // The same code twice: for the release that applies where none is named its flags are known when it is compiled.
    if dialects::is_default(settings.dialect) {
        packet_by(&dialects::DEFAULT, settings, t, bits, dir, seg)
    } else {
        packet_by(settings.dialect, settings, t, bits, dir, seg)
    }
}

#[inline(always)]
fn packet_by(d: &Dialect, settings: &Settings, t: &mut TcpTrack, bits: &mut u8, dir: usize, seg: &Segment) -> Ruling {
    let peer = 1 - dir;
    let mut kind = kind_of(seg.flags);
    let mut old = t.state;
    let mut new = d.transitions[dir][kind as usize][old as usize];
    let closed = matches!(old, State::TimeWait | State::Close);
    let seen_reply = *bits & status::SEEN_REPLY != 0;
    let assured = *bits & status::ASSURED != 0;
    let mut skip_window = false;

    if new == State::SynSent && closed && matches!(d.reopen_rule, ReopenRule::Always | ReopenRule::OwnFlagOrNewerSeq) {
        let own = t.seen[dir];
        return if d.reopen_rule == ReopenRule::Always || own.flags & d.close_init_bit != 0 || seg.seq.after(own.end) {
            Ruling::Repeat
        } else {
            Ruling::Invalid(Invalid::ReopenRefused, false)
        };
    }
    if new == State::Ignore || new == State::SynSent && closed {
        if new == State::SynSent {
            let rst_of_same_side = usize::from(t.last_dir) == dir && t.last_index == Kind::Rst;
            let closer = match d.reopen_rule {
                ReopenRule::PeerFlagOrRst => t.seen[peer].flags,
                _ => t.seen[0].flags | t.seen[1].flags,
            };
            if closer & d.close_init_bit != 0 || rst_of_same_side {
                return Ruling::Repeat;
            }
        }
        let answers_ignored_syn = kind == Kind::SynAck
            && t.last_index == Kind::Syn
            && usize::from(t.last_dir) != dir
            && if d.resync_compare_seq { seg.ack.after(t.last_seq) } else { seg.ack == t.last_end };
        if !answers_ignored_syn {
            remember_ignored(d, t, dir, kind, old, seg);
            return Ruling::Accept(None);
        }
        if !d.resync {
            return Ruling::DropAndDelete;
        }
        old = State::SynSent;
        new = State::SynRecv;
        resync(d, t, dir);
    } else {
        match new {
            State::Invalid => return Ruling::Invalid(Invalid::InvalidState, false),
            State::TimeWait if d.last_ack_challenge => {
                let challenged = t.last_flags & side_flag::EXP_CHALLENGE_ACK != 0;
                if old == State::LastAck && kind == Kind::Ack && usize::from(t.last_dir) != dir && t.last_index == Kind::Syn && challenged {
                    t.last_flags &= !side_flag::EXP_CHALLENGE_ACK;
                    return Ruling::Accept(None);
                }
            }
            State::SynSent2 if d.simultaneous_open => t.last_flags |= side_flag::SIMULTANEOUS_OPEN,
            State::SynRecv if d.simultaneous_open && dir == 1 && kind == Kind::Ack && t.last_flags & side_flag::SIMULTANEOUS_OPEN != 0 => {
                new = State::Established;
            }
            State::Close if kind == Kind::Rst => match reset(settings, t, dir, old, seen_reply, assured, seg) {
                Reset::Untouched => return Ruling::Accept(None),
                Reset::Invalid => return Ruling::Invalid(Invalid::InvalidRst, false),
                Reset::SkipWindow => skip_window = true,
                Reset::Window => {}
                Reset::KeepState => new = old,
                Reset::KeepStateSkipWindow => {
                    new = old;
                    skip_window = true;
                }
            },
            _ => {}
        }
    }

    if !skip_window {
        match window::test(d, settings, t, dir, &mut kind, seg) {
            Judgement::Inside => {}
            Judgement::InsideCut => {
                // A FIN beyond the window was cut off: the packet counts as an ACK.
                new = d.transitions[dir][kind as usize][old as usize];
            }
            Judgement::Ignored => return Ruling::Accept(None),
            Judgement::Outside(why) => {
                return Ruling::Invalid(why, d.split_window_verdict && assured && invalid_closer(t, dir, kind));
            }
        }
    }
    accept(d, settings, t, bits, dir, kind, (old, new))
}

/// What an ignored packet leaves behind, so that its answer is understood.
fn remember_ignored(d: &Dialect, t: &mut TcpTrack, dir: usize, kind: Kind, old: State, seg: &Segment) {
    t.last_index = kind;
    t.last_dir = dir as u8;
    t.last_seq = seg.seq;
    if d.ignore_records_end {
        t.last_end = seg.end();
    }
    if d.resync {
        t.last_win = seg.window;
        if kind == Kind::Syn && dir == 0 {
            t.last_flags = 0;
            t.last_wscale = 0;
            let mut offered = Seen::default();
            read_options(d, &mut offered, seg);
            if offered.flags & side_flag::WINDOW_SCALE != 0 {
                t.last_flags |= side_flag::WINDOW_SCALE;
                t.last_wscale = offered.scale;
            }
            if offered.flags & side_flag::SACK_PERM != 0 {
                t.last_flags |= side_flag::SACK_PERM;
            }
            if d.last_ack_challenge && old == State::LastAck {
                t.last_flags |= side_flag::EXP_CHALLENGE_ACK;
            }
        }
    }
    if d.syn_sent_challenge_rst && old == State::SynSent && kind == Kind::Ack && dir == 1 {
        t.last_ack = seg.ack;
    }
}

/// The entry was out of sync with the endpoints: restart it from the SYN that had been ignored.
fn resync(d: &Dialect, t: &mut TcpTrack, dir: usize) {
    let opener = &mut t.seen[usize::from(t.last_dir)];
    opener.end = t.last_end;
    opener.maxend = t.last_end;
    opener.maxwin = u32::from(t.last_win).max(1);
    opener.scale = t.last_wscale;
    if d.last_ack_challenge {
        t.last_flags &= !side_flag::EXP_CHALLENGE_ACK;
    }
    opener.flags = t.last_flags;
    let kept = if d.options_keep_liberal { t.seen[dir].flags & side_flag::BE_LIBERAL } else { 0 };
    t.seen[dir] = Seen { flags: kept, loose: t.seen[dir].loose, ..Seen::default() };
}

/// What the rules for a RST say (section 3.6).
enum Reset {
    Untouched,
    Invalid,
    SkipWindow,
    Window,
    KeepState,
    KeepStateSkipWindow,
}

fn reset(settings: &Settings, t: &TcpTrack, dir: usize, old: State, seen_reply: bool, assured: bool, seg: &Segment) -> Reset {
    let d = settings.dialect;
    match d.rst_rule {
        RstRule::Ignore2_6_9 | RstRule::Ignore2_6_11 => {
            let answers_syn = seen_reply && matches!(t.last_index, Kind::Syn | Kind::SynAck);
            let answers_ack = d.rst_rule == RstRule::Ignore2_6_11 && !assured && t.last_index == Kind::Ack;
            return if (answers_syn || answers_ack) && seg.ack.after(t.last_seq) { Reset::Untouched } else { Reset::Window };
        }
        RstRule::SkipWindow2_6_12 => {
            return if seen_reply && t.last_index == Kind::Syn && seg.ack == t.last_end { Reset::SkipWindow } else { Reset::Window };
        }
        RstRule::SkipWindow => {}
    }
    let closing = matches!(old, State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close);
    if d.rst_after_close_skips_checks && closing {
        return Reset::SkipWindow;
    }
    let other = &t.seen[1 - dir];
    let exact_needed = old == State::Established && assured;
    let mut keep_state = false;
    if d.maxack_rst_check && other.flags & side_flag::MAXACK_SET != 0 && !(d.rst_after_close_skips_checks && t.last_index == Kind::Syn) {
        if d.rst_after_close_skips_checks && seg.seq == Seq(0) && !exact_needed {
            return Reset::Window;
        }
        let forgiven = d.ignore_invalid_rst_sysctl && settings.tcp_ignore_invalid_rst;
        if seg.seq.before(other.maxack) && !forgiven {
            return Reset::Invalid;
        }
        if d.rst_exact {
            if !exact_needed || seg.seq == other.maxack {
                return Reset::Window;
            }
            if t.last_index == Kind::Ack && usize::from(t.last_dir) == dir && seg.seq == t.last_end {
                return Reset::Window;
            }
            keep_state = true;
        }
    }
    let other_dir = !d.rst_to_syn_needs_other_dir || usize::from(t.last_dir) != dir;
    let answers_syn = seen_reply && t.last_index == Kind::Syn && other_dir;
    let answers_ack = !assured && t.last_index == Kind::Ack;
    let answers_challenge =
        d.syn_sent_challenge_rst && old == State::SynSent && t.last_index == Kind::Ack && t.last_dir == 1 && seg.seq == t.last_ack;
    let skip = (answers_syn || answers_ack) && seg.ack == t.last_end || answers_challenge;
    match (keep_state, skip) {
        (false, false) => Reset::Window,
        (false, true) => Reset::SkipWindow,
        (true, false) => Reset::KeepState,
        (true, true) => Reset::KeepStateSkipWindow,
    }
}

/// A FIN or RST outside the window of an assured entry: a second one from the other side may shorten the entry's life
/// (`nf_tcp_handle_invalid`, 6.1 and later).
fn invalid_closer(t: &mut TcpTrack, dir: usize, kind: Kind) -> bool {
    if !matches!(kind, Kind::Fin | Kind::Rst) {
        return false;
    }
    if usize::from(t.last_dir) != dir && matches!(t.last_index, Kind::Fin | Kind::Rst) {
        return true;
    }
    t.last_index = kind;
    t.last_dir = dir as u8;
    false
}

/// The packet is accepted: new state, flags, and the rule that sets the timer (section 3.7, acceptance tail).
#[inline(always)]
fn accept(d: &Dialect, settings: &Settings, t: &mut TcpTrack, bits: &mut u8, dir: usize, kind: Kind, (old, new): (State, State)) -> Ruling {
    t.last_index = kind;
    if d.accept_records_dir {
        t.last_dir = dir as u8;
    }
    t.state = new;
    if old != new && (new == State::FinWait || d.close_init_on_close && new == State::Close) {
        t.seen[dir].flags |= d.close_init_bit;
    }
    let replied = *bits & status::SEEN_REPLY != 0;
    let when = |holds: bool, condition: u16| if holds { condition } else { 0 };
    let established = new == State::Established;
    let unacked = (t.seen[0].flags | t.seen[1].flags) & side_flag::DATA_UNACKNOWLEDGED != 0;
    let conditions = when(t.retrans >= settings.tcp_max_retrans, Rule::RETRANS)
        | when(d.rst_exact && kind == Kind::Rst && !d.inexact_rst_unacknowledged, Rule::RST)
        | when(d.inexact_rst_unacknowledged && kind == Kind::Rst && established, Rule::INEXACT)
        | when(d.unack && unacked, Rule::UNACKED)
        | when(d.zero_window_cap && t.last_win == 0, Rule::ZERO_WINDOW)
        | when(d.unreplied_established_cap && established && !replied, Rule::UNREPLIED);
    if !replied {
        if kind == Kind::Rst {
            return Ruling::AcceptAndDelete;
        }
        if d.syn_retransmit_no_refresh && kind == Kind::Syn && old == State::SynSent {
            return Ruling::Accept(None);
        }
    } else if *bits & status::ASSURED == 0 && matches!(old, State::SynRecv | State::Established) && new == State::Established {
        *bits |= status::ASSURED;
    }
    Ruling::Accept(Some(Rule::of(new, conditions)))
}
