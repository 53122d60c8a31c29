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
    ABSENT, BITS, Form, HEAD, HOLE, HOLES, HOPS, Layout, ODD, OVER, OWN, RARE, REVERSED, ROUTER, Shelf, bits_of, conn_bits, form_of,
    idle_entry, pack_idle, store_entry,
};
use super::timers::{TimerId, of_conn};
use crate::flow::{Closing, GapEvidence, Shape};
use crate::net::{Direction, Proto, TcpFlags};
use crate::time::{Duration, Instant};

#[cfg(doc)]
use super::replay::Replay;

/// The words of a path of as many boxes as rest small.
const WORDS: usize = HEAD + HOPS * (OWN + ROUTER);

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
        let (flow, seg, observation) = (told.flow, told.seg, told.observation);
        let before = shelf.words(at);
        let flags = before[1] as u32;
        let reply = seg.dir == Direction::Reply;
        if flags & (RARE | ODD) != 0 || flow.proto() != Proto::Tcp || seg.flags.has(TcpFlags::RST) || before.len() > WORDS {
            return false;
        }
        let mut fresh = [0; WORDS];
        for (word, old) in fresh.iter_mut().zip(before) {
            *word = *old;
        }
        let ports = flow.ports();
        let shared = (Instant(before[0]), (before[1] >> 32) as u32);
        let mut holes = flags & HOLES;
        let mut notes = [(TimerId(0), shared.0, 0, GapEvidence::Hole); HOPS];
        let count = self.places.len();
        for step in 0..count {
            let index = if reply { count - 1 - step } else { step };
            let place = &self.places[index];
            if reply && place.one_way {
                continue;
            }
            let bits = bits_of(fresh[2], index);
            if bits == ABSENT {
                return false;
            }
            let (refreshed, renewed_by) = place.own.map_or(shared, |own| (Instant(fresh[own]), fresh[own + 1] as u32));
            let here = &mut fresh[place.at..];
            let (timer, span, bits, renewed) = match (&place.kind, &path.hops[index].device) {
                (Form::Router { timers, .. }, Device::Router(router)) => {
                    let mut entry = place.entry(here, bits, refreshed, timers, ports, Proto::Tcp);
                    let (timer, span) = (TimerId(entry.rule.number()), entry.timeout);
                    let form = form_of(bits);
                    let dir = usize::from(reply != (form == REVERSED));
                    if when.latest >= refreshed + span || !router.lets_pass(&mut entry, dir, seg, when.now) {
                        return false;
                    }
                    (timer, span, form | store_entry(here, &entry, Proto::Tcp), entry.refreshed)
                }
                (Form::Director { settings, real }, Device::Director(director)) => {
                    let mut conn = place.conn(bits, refreshed, settings, *real, ports, Proto::Tcp);
                    let (timer, span) = (of_conn(&conn), conn.timeout);
                    if when.latest >= refreshed + span || !director.lets_pass(&mut conn, reply, seg, when.now) {
                        return false;
                    }
                    (timer, span, conn_bits(&conn), conn.refreshed)
                }
                (Form::Idle { ends }, Device::Idle(idle)) => {
                    let mut entry = idle_entry(here, bits, refreshed, *ends);
                    let (deadline, clause) = idle.deadline_if_answered(&entry);
                    if when.latest >= deadline {
                        return false;
                    }
                    idle.step(&mut entry, Proto::Tcp, seg, seg.dir, when.now);
                    let (bits, renewed) = pack_idle(here, &entry, *ends);
                    (TimerId(clause as u16), idle.timer(clause).timeout, bits, renewed)
                }
                _ => return false,
            };
            // What is missing of the replies does not matter to a box that never sees them.
            let blind = observation.shape == Shape::AckUnseen && place.one_way;
            let seen = if blind { GapEvidence::Unknown } else { observation.evidence };
            let hole = HOLE << index;
            let evidence = if seen == GapEvidence::Hole || holes & hole != 0 { GapEvidence::Hole } else { seen };
            holes |= if seen == GapEvidence::Hole { hole } else { 0 };
            if span != Duration::MAX {
                notes[index] = (timer, refreshed, renewed_by, evidence);
            }
            let frame = if renewed == when.now { seg.frame } else { renewed_by };
            holes &= if renewed == when.now { !hole } else { u32::MAX };
            match place.own {
                Some(own) => (fresh[own], fresh[own + 1]) = (renewed.0, u64::from(frame)),
                None if renewed != when.now => return false,
                None => {}
            }
            let shift = BITS * index as u32;
            fresh[2] = fresh[2] & !(((1 << BITS) - 1) << shift) | bits << shift;
        }
        let over = if flow.closing() == Closing::Fin { OVER } else { 0 };
        fresh[0] = when.now.0;
        fresh[1] = u64::from(seg.frame) << 32 | u64::from(holes | over);
        let words = shelf.words_mut(at);
        for (word, new) in words.iter_mut().zip(fresh) {
            *word = new;
        }
        let open = told.is_open();
        let profile = shelf.profiles.at_mut(at);
        for step in 0..count {
            let hop = if reply { count - 1 - step } else { step };
            let (timer, refreshed, before, evidence) = notes[hop];
            if evidence != GapEvidence::Hole {
                let spell = Spell { idle: when.now.since(refreshed), before, after: seg.frame, evidence };
                profile.note(hop, timer, spell, open);
            }
        }
        true
    }
}
