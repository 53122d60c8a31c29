//! The usual packet: a segment of a TCP flow that every box has an entry for and lets through, which renews its timer.
//!
//! The same models decide, one entry at a time, without the look-ups, the lists of what boxes send and the doubts that other
//! packets need. Where anything is unusual nothing has happened yet, and [`Replay::lead`] does what it does for every packet;
//! the two come to the same (`tests/many/rest.rs`). What a box does is never changed here but in its model; what is decided here
//! is which packets need no more than that.

use super::hop::Device;
use super::path::Path;
use super::profile::Spell;
use super::replay::Told;
use super::rest::{
    ABSENT, BITS, Form, HOLE, HOLES, HOPS, Layout, ODD, OVER, Place, RARE, REVERSED, ROUTER, Shelf, WORDS, bits_of, conn_bits, conn_of, form_of,
    idle_entry, pack_idle, rule_of, status_of, store_track, track_of,
};
use super::timers::{TimerId, of_state};
use crate::flow::{Closing, GapEvidence, Observation, Shape};
use crate::model::ipvs::conn;
use crate::net::{Direction, Proto, TcpFlags};
use crate::time::{Duration, Instant};

#[cfg(doc)]
use super::replay::Replay;

/// When a packet is judged, and the latest moment that it may really have been.
#[derive(Clone, Copy)]
pub(super) struct When {
    pub(super) now: Instant,
    pub(super) latest: Instant,
}

impl Layout {
    /// Leads a segment through the path if it is a usual one.
    #[inline]
    pub(super) fn passes(&self, path: &Path, shelf: &mut Shelf, at: usize, told: &Told<'_>, when: When) -> bool {
        let (flags, proto) = (shelf.words(at)[1] as u32, told.flow.proto());
        if flags & (RARE | ODD) != 0 || proto != Proto::Tcp || told.seg.flags.has(TcpFlags::RST) {
            return false;
        }
        // Copied in a piece, for which the compiler has to know how long it is.
        match self.words {
            ..=12 => self.led::<12>(path, shelf, at, told, when),
            ..=20 => self.led::<20>(path, shelf, at, told, when),
            _ => self.led::<WORDS>(path, shelf, at, told, when),
        }
    }

    #[inline(always)]
    fn led<const N: usize>(&self, path: &Path, shelf: &mut Shelf, at: usize, told: &Told<'_>, When { now, latest }: When) -> bool {
        let (seg, observation) = (told.seg, told.observation);
        let Some((rests, profile)) = shelf.first_words::<N>(at) else { return false };
        // What the packet makes of it; it is put in the other's place when all boxes have let it pass.
        let mut words = *rests;
        let reply = seg.dir == Direction::Reply;
        let shared = (Instant(rests[0]), (rests[1] >> 32) as u32);
        let mut holes = rests[1] as u32 & HOLES;
        let mut timers = [None; HOPS];
        let (count, hops) = (self.places.len().min(HOPS), &path.hops[..]);
        for step in 0..count {
            let index = if reply { count - 1 - step } else { step };
            let place = &self.places[index];
            if reply && place.one_way {
                continue;
            }
            let bits = bits_of(rests[2], index);
            if bits == ABSENT {
                return false;
            }
            let refreshed = place.own.map_or(shared.0, |own| Instant(rests[own]));
            let (timer, span, bits, renewed) = match (&place.kind, &hops[index].device) {
                (Form::Router { timers, .. }, Device::Router(router)) => {
                    let Some(here) = words[place.at..].first_chunk_mut::<ROUTER>() else { return false };
                    let (old, form) = (rule_of(bits), form_of(bits));
                    let span = timers[usize::from(old.number()).min(timers.len() - 1)].span;
                    if latest >= refreshed + span {
                        return false;
                    }
                    let (mut track, mut status) = (track_of(here, bits), status_of(here));
                    let dir = usize::from(reply != (form == REVERSED));
                    let Some(rule) = router.lets_pass(&mut track, &mut status, dir, seg) else { return false };
                    (TimerId(old.number()), span, form | store_track(here, &track, status, rule), now)
                }
                (Form::Director { settings, .. }, Device::Director(director)) => {
                    let (mut state, mut flags) = conn_of(bits);
                    let (timer, span) = (of_state(state, flags), conn::timeout(settings, state, flags));
                    if latest >= refreshed + span || !director.lets_pass(&mut state, &mut flags, reply, seg) {
                        return false;
                    }
                    (timer, span, conn_bits(state, flags), now)
                }
                (Form::Idle { ends }, Device::Idle(idle)) => {
                    let here = &mut words[place.at..];
                    let mut entry = idle_entry(here, bits, refreshed, *ends);
                    let (deadline, clause) = idle.deadline_if_answered(&entry);
                    if latest >= deadline {
                        return false;
                    }
                    idle.follow(&mut entry, Proto::Tcp, seg, seg.dir, now);
                    let (bits, renewed) = pack_idle(here, &entry, *ends);
                    (TimerId(clause as u16), idle.timer(clause).timeout, bits, renewed)
                }
                _ => return false,
            };
            let (hole, seen) = (HOLE << index, seen(observation, place));
            holes |= if seen == GapEvidence::Hole { hole } else { 0 };
            if span != Duration::MAX && holes & hole == 0 {
                timers[index] = Some(timer);
            }
            match place.own {
                Some(own) if renewed == now => (words[own], words[own + 1]) = (now.0, u64::from(seg.frame)),
                Some(own) => words[own] = renewed.0,
                None if renewed != now => return false,
                None => {}
            }
            holes &= if renewed == now { !hole } else { u32::MAX };
            words[2] ^= (bits ^ bits_of(rests[2], index)) << (BITS * index as u32);
        }
        let open = told.is_open();
        for step in 0..count {
            let hop = if reply { count - 1 - step } else { step };
            let Some(timer) = timers[hop] else { continue };
            let place = &self.places[hop];
            let (refreshed, before) = place.own.map_or(shared, |own| (Instant(rests[own]), rests[own + 1] as u32));
            let spell = Spell { idle: now.since(refreshed), before, after: seg.frame, evidence: seen(observation, place) };
            profile.note(hop, timer, spell, open);
        }
        let over = if told.flow.closing() == Closing::Fin { OVER } else { 0 };
        words[0] = now.0;
        words[1] = u64::from(seg.frame) << 32 | u64::from(holes | over);
        *rests = words;
        true
    }
}

/// What a segment says of the silence before it, to this box: what is missing of the replies does not matter to one that never sees
/// them.
#[inline]
fn seen(observation: &Observation, place: &Place) -> GapEvidence {
    if observation.shape == Shape::AckUnseen && place.one_way { GapEvidence::Unknown } else { observation.evidence }
}
