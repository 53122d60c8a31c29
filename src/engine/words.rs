//! The words and bits in which a flow rests at its boxes: what `rest` keeps and `quick` changes in place.
//!
//! It knows the models' fields and none of their rules.

use crate::model::conntrack::entry::{Kind, Seen, State, TcpTrack};
use crate::model::conntrack::rule::Rule;
use crate::model::idle::IdleEntry;
use crate::model::ipvs::state::State as VsState;
use crate::net::Seq;
use crate::time::Instant;

/// More boxes than this have their flows rest as they are.
pub(super) const HOPS: usize = 3;
/// When the entries were renewed; who renewed them, and flags; a few bits for each box.
pub(super) const HEAD: usize = 3;
/// A box that is not renewed by every packet has a time and a frame of its own.
pub(super) const OWN: usize = 2;
pub(super) const ROUTER: usize = 7;
/// The words of a path of as many boxes as rest small: more no flow has.
pub(super) const WORDS: usize = HEAD + HOPS * (OWN + ROUTER);

/// Bits for each box in the third word.
pub(super) const BITS: u32 = 21;
/// Bits for which of the three an entry is.
pub(super) const FORM_BITS: u32 = 2;
/// The bits of a box in the third word.
#[inline]
pub(super) const fn bits_of(word: u64, hop: usize) -> u64 {
    word >> (BITS * hop as u32) & ((1 << BITS) - 1)
}

/// Which of the three an entry is, by its box's bits.
#[inline]
pub(super) const fn form_of(bits: u64) -> u64 {
    bits & ((1 << FORM_BITS) - 1)
}

/// No entry; one made by a packet from the client; one made by a packet from the server.
pub(super) const ABSENT: u64 = 0;
pub(super) const FORWARD: u64 = 1;
pub(super) const REVERSED: u64 = 2;

const RARE_BITS: u32 = 26;
pub(super) const RARE: u32 = (1 << RARE_BITS) - 1;
/// The flow has been cut: its packets do not go through the boxes any more. In a study of many policies: something is unusual about the
/// run that rests, and each packet has to wake it (`studied::UNUSUAL`); there a cut run does not rest.
pub(super) const CUT: u32 = 1 << RARE_BITS;
/// Packets are missing since a box was last renewed; shifted by the box.
pub(super) const HOLE: u32 = CUT << 1;
pub(super) const HOLES: u32 = OVER - HOLE;
pub(super) const OVER: u32 = HOLE << HOPS;
/// The boxes' states rest as they are.
pub(super) const ODD: u32 = OVER << 1;
const _: () = assert!(ODD == 1 << 31);

/// The TCP part of an entry, its status and the rule of its timer at rest; returns their bits.
#[inline(always)]
pub(super) fn store_track(words: &mut [u64; ROUTER], t: &TcpTrack, status: u8, rule: Rule) -> u64 {
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let [one, two] = &t.seen;
    *words = [
        pair(one.end.0, one.maxend.0),
        pair(one.maxwin, one.maxack.0),
        pair(two.end.0, two.maxend.0),
        pair(two.maxwin, two.maxack.0),
        pair(t.last_seq.0, t.last_ack.0),
        pair(t.last_end.0, u32::from(t.last_win) | u32::from(one.scale) << 16 | u32::from(two.scale) << 24),
        u64::from_le_bytes([one.flags, two.flags, one.loose, two.loose, t.last_flags, t.last_wscale, t.retrans, status]),
    ];
    let small = u64::from(rule.number()) << 8 | (t.last_dir as u64 & 1) << 7 | (t.last_index as u64) << 4 | t.state as u64;
    small << FORM_BITS
}

/// The TCP part of an entry that [`store_track`] put to rest.
#[inline(always)]
pub(super) fn track_of(words: &[u64; ROUTER], bits: u64) -> TcpTrack {
    let small = bits >> FORM_BITS;
    let low = |word: u64| word as u32;
    let high = |word: u64| (word >> 32) as u32;
    let [flags_one, flags_two, loose_one, loose_two, last_flags, last_wscale, retrans, _] = words[6].to_le_bytes();
    let seen = |at: usize, scale: u32, flags: u8, loose: u8| Seen {
        end: Seq(low(words[at])),
        maxend: Seq(high(words[at])),
        maxwin: low(words[at + 1]),
        maxack: Seq(high(words[at + 1])),
        scale: scale as u8,
        flags,
        loose,
    };
    let last = high(words[5]);
    TcpTrack {
        seen: [seen(0, last >> 16, flags_one, loose_one), seen(2, last >> 24, flags_two, loose_two)],
        last_seq: Seq(low(words[4])),
        last_ack: Seq(high(words[4])),
        last_end: Seq(low(words[5])),
        last_win: last as u16,
        last_dir: (small >> 7 & 1) as u8,
        last_index: Kind::from_number((small >> 4 & 7) as u8),
        last_flags,
        last_wscale,
        retrans,
        state: State::from_number((small & 0x0f) as u8),
    }
}

/// The status of an entry at rest.
#[inline(always)]
pub(super) const fn status_of(words: &[u64; ROUTER]) -> u8 {
    (words[6] >> 56) as u8
}

/// Gives an entry at rest another status.
#[inline(always)]
pub(super) fn set_status(words: &mut [u64; ROUTER], status: u8) {
    words[6] = words[6] & (u64::MAX >> 8) | u64::from(status) << 56;
}

/// The bits of an entry at rest with another rule for its timer.
#[inline(always)]
pub(super) fn with_rule(bits: u64, rule: Rule) -> u64 {
    bits & ((1 << (FORM_BITS + 8)) - 1) | u64::from(rule.number()) << (FORM_BITS + 8)
}

/// The rule of an entry's timer at rest.
#[inline(always)]
pub(super) const fn rule_of(bits: u64) -> Rule {
    Rule::from_number((bits >> (FORM_BITS + 8)) as u16)
}

/// The state and the flags of a director's entry at rest.
#[inline]
pub(super) fn conn_bits(state: VsState, flags: u8) -> u64 {
    FORWARD | (state as u64) << FORM_BITS | u64::from(flags) << (FORM_BITS + 4)
}

/// The state and the flags that [`conn_bits`] put to rest.
#[inline]
pub(super) fn conn_of(bits: u64) -> (VsState, u8) {
    (VsState::ALL[(bits >> FORM_BITS & 0x0f).min(10) as usize], (bits >> (FORM_BITS + 4)) as u8)
}

#[inline]
pub(super) fn pack_idle(words: &mut [u64], entry: &IdleEntry, ends: bool) -> (u64, Instant) {
    let [end, fin] = entry.numbers();
    words[0] = fin;
    if ends {
        words[1] = end;
    }
    (FORWARD | u64::from(entry.small()) << FORM_BITS, entry.set_at())
}

#[inline]
pub(super) fn idle_entry(words: &[u64], bits: u64, set_at: Instant, ends: bool) -> IdleEntry {
    IdleEntry::of(set_at, [if ends { words[1] } else { 0 }, words[0]], (bits >> FORM_BITS) as u16)
}
