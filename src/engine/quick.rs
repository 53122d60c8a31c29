//! The usual packet: a segment or datagram of a flow that every box has an entry for and lets through, which renews its timer.
//!
//! The same models decide, one entry at a time, without the look-ups, the lists of what boxes send and the doubts that other
//! packets need. Where anything is unusual it is as if nothing had happened, and [`Replay::lead`] does what it does for every packet;
//! the two come to the same (`tests/many/rest.rs`). What a box does is never changed here but in its model; what is decided here
//! is which packets need no more than that.

use super::hop::Device;
use super::profile::{Profile, Spell};
use super::replay::Replay;
use super::rest::{Form, Layout, Shelf};
use super::timers::{TimerId, of_state};
use super::told::Told;
use super::words::{
    ABSENT, BITS, HOLE, HOLES, HOPS, ODD, OVER, RARE, REVERSED, ROUTER, WORDS, bits_of, conn_bits, conn_of, form_of, idle_entry, pack_idle,
    rule_of, set_status, status_of, store_track, track_of, with_rule,
};
use crate::flow::{Closing, GapEvidence};
use crate::model::ipvs::conn;
use crate::net::{Direction, Proto, TcpFlags};
use crate::time::{Duration, Instant};

#[cfg(doc)]
use crate::model::Moment;

/// Whose packets are judged, where the same flow is followed for paths with other timers too.
pub(super) trait Others {
    /// Whether an entry may have ended for somebody after so long, at a box, on such a timer.
    fn may_find_it_ended(&self, hop: usize, timer: TimerId, idle: Duration, profile: &Profile) -> bool;
}

/// There are no others.
impl Others for () {
    #[inline(always)]
    fn may_find_it_ended(&self, _: usize, _: TimerId, _: Duration, _: &Profile) -> bool {
        false
    }
}

/// Whether a segment is a usual one: what there is to know besides the flow's words and spells.
pub(super) struct Question<'q, O> {
    pub(super) replay: &'q Replay<'q>,
    pub(super) told: &'q Told<'q>,
    pub(super) others: &'q O,
}

impl Layout {
    /// Leads a segment through the path if it is a usual one of a flow whose words are all that there is to know of it.
    #[inline]
    pub(super) fn passes<R>(&self, shelf: &mut Shelf<R>, at: usize, question: &Question<'_, impl Others>) -> bool {
        if shelf.words(at)[1] as u32 & ODD != 0 || question.told.seg.flags.has(TcpFlags::RST) {
            return false;
        }
        // Copied in a piece, for which the compiler has to know how long it is.
        match self.words {
            ..=12 => self.led(shelf.first_words::<12>(at), question),
            13..=20 => self.led(shelf.first_words::<20>(at), question),
            _ => self.led(shelf.first_words::<WORDS>(at), question),
        }
    }

    #[inline(always)]
    fn led<const N: usize>(&self, held: Option<(&mut [u64; N], &mut Profile)>, question: &Question<'_, impl Others>) -> bool {
        let Some((words, profile)) = held else { return false };
        let was = *words;
        let whole = was[1] as u32 & HOLES == 0 && question.told.observation.evidence != GapEvidence::Hole;
        // Nearly always: what is not asked for each box then costs nothing.
        let passed = if self.even && whole {
            self.led_in::<N, true>((words, profile), &was, question)
        } else {
            self.led_in::<N, false>((words, profile), &was, question)
        };
        if !passed {
            *words = was;
        }
        passed
    }

    /// Changes the words as it goes. What it notes of spells before a box turns out not to let the packet pass the general way notes
    /// again, which changes nothing. `EVEN`: all boxes see all packets, each renews all, and none is missing since they were renewed.
    #[inline(always)]
    fn led_in<const N: usize, const EVEN: bool>(
        &self,
        (words, profile): (&mut [u64; N], &mut Profile),
        was: &[u64; N],
        Question { replay, told, others }: &Question<'_, impl Others>,
    ) -> bool {
        let now = replay.judged_at(told.seg.at);
        let latest = now + replay.blur();
        let (seg, proto) = (told.seg, told.flow.proto());
        let reply = seg.dir == Direction::Reply;
        let open = told.is_open();
        let shared = (Instant(was[0]), (was[1] >> 32) as u32);
        let mut holes = was[1] as u32 & HOLES;
        let mut small = was[2];
        let (count, mut hint) = (self.places.len().min(HOPS), usize::MAX);
        let (mut index, onward) = if reply { (count.wrapping_sub(1), usize::MAX) } else { (0, 1) };
        for _ in 0..count {
            let (here, hop) = (&self.places[index], index);
            index = index.wrapping_add(onward);
            if !EVEN && reply && here.one_way {
                continue;
            }
            let bits = bits_of(was[2], hop);
            if bits == ABSENT {
                return false;
            }
            let (refreshed, before) = here.own.filter(|_| !EVEN).map_or(shared, |own| (Instant(was[own]), was[own + 1] as u32));
            let (timer, span, fresh, renewed) = match (&here.kind, &replay.path.hops[hop].device) {
                (Form::Router { timers, .. }, Device::Router(router)) => {
                    let Some(words) = words[here.at..].first_chunk_mut::<ROUTER>() else { return false };
                    let (rule, form) = (rule_of(bits), form_of(bits));
                    let span = timers[usize::from(rule.number()).min(timers.len() - 1)].span;
                    let idle = latest.since(refreshed);
                    if latest >= refreshed + span || others.may_find_it_ended(hop, TimerId(rule.number()), idle, profile) {
                        return false;
                    }
                    let mut status = status_of(words);
                    let dir = usize::from(reply != (form == REVERSED));
                    let fresh = if proto == Proto::Tcp {
                        let mut track = track_of(words, bits);
                        let Some(next) = router.lets_pass(&mut track, &mut status, dir, seg) else { return false };
                        form | store_track(words, &track, status, next)
                    } else {
                        let passed = has_passed(Instant(words[0]), now, latest);
                        let Some(next) = router.lets_datagram_pass(&mut status, dir, seg, passed) else { return false };
                        set_status(words, status);
                        with_rule(bits, next)
                    };
                    (TimerId(rule.number()), span, fresh, now)
                }
                (Form::Director { settings, .. }, Device::Director(director)) => {
                    let (mut state, mut flags) = conn_of(bits);
                    let (timer, span) = (of_state(proto, state, flags), conn::timeout(settings, proto, state, flags));
                    let ended = latest >= refreshed + span || others.may_find_it_ended(hop, timer, latest.since(refreshed), profile);
                    if ended || !director.lets_pass(proto, &mut state, &mut flags, reply, seg) {
                        return false;
                    }
                    (timer, span, conn_bits(state, flags), now)
                }
                (Form::Idle { ends }, Device::Idle(idle)) => {
                    let words = &mut words[here.at..];
                    let mut entry = idle_entry(words, bits, refreshed, *ends);
                    let (deadline, clause) = idle.deadline_if_answered(&entry);
                    let silence = latest.since(refreshed);
                    if latest >= deadline || others.may_find_it_ended(hop, TimerId(clause as u16), silence, profile) {
                        return false;
                    }
                    idle.follow(&mut entry, proto, seg, seg.dir, now);
                    let (fresh, renewed) = pack_idle(words, &entry, *ends);
                    (TimerId(clause as u16), idle.timer(clause).timeout, fresh, renewed)
                }
                _ => return false,
            };
            small ^= (fresh ^ bits) << (BITS * hop as u32);
            let (hole, evidence) = (HOLE << hop, told.evidence_for(EVEN || !here.one_way));
            if !EVEN && evidence == GapEvidence::Hole {
                holes |= hole;
            }
            if (EVEN || holes & hole == 0) && span != Duration::MAX {
                let spell = Spell { idle: now.since(refreshed), before, after: seg.frame, evidence };
                profile.note(hop, timer, spell, open, &mut hint);
            }
            if !EVEN && renewed == now {
                holes &= !hole;
            }
            match here.own.filter(|_| !EVEN) {
                Some(own) if renewed == now => (words[own], words[own + 1]) = (now.0, u64::from(seg.frame)),
                Some(own) => words[own] = renewed.0,
                None if renewed != now => return false,
                None => {}
            }
        }
        let over = if told.flow.closing() == Closing::Fin { OVER } else { 0 };
        words[0] = now.0;
        words[1] = u64::from(seg.frame) << 32 | u64::from(was[1] as u32 & RARE | holes | over);
        words[2] = small;
        true
    }
}

/// As [`Moment::has_passed`], where no answer is given to what it would ask: `latest` is how late it may be when it is `now`.
#[inline]
pub(super) fn has_passed(at: Instant, now: Instant, latest: Instant) -> Option<bool> {
    if latest <= at { Some(false) } else { (now > at + latest.since(now)).then_some(true) }
}
