//! The break-points of all flows together: what each timer of each box had to bear.

use super::Report;
use crate::engine::timers::TimerId;
use crate::model::Clause;
use crate::time::Duration;
use rayon::prelude::*;

/// A timer that flows had to wait under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tried {
    /// The box, from 0 at the client.
    pub hop: usize,
    /// The timer; of several rules that come to the same one, the first.
    pub timer: TimerId,
    /// How many flows had a spell under it.
    pub flows: u64,
    /// For how many of them the longest spell was too long.
    pub outgrown: u64,
    /// The longest spell of all.
    pub longest: Duration,
}

/// One slot for each timer of each box.
type Slots = Vec<Option<Tried>>;

/// Flows that are looked at in one go. Only their spells are asked: `Kept::chunk` would bring the rest of each from memory too.
const FLOWS: usize = 4096;

fn join(mut one: Slots, other: Slots) -> Slots {
    if one.is_empty() {
        return other;
    }
    for (mine, its) in one.iter_mut().zip(other) {
        match (mine.as_mut(), its) {
            (Some(mine), Some(its)) => {
                mine.flows += its.flows;
                mine.outgrown += its.outgrown;
                mine.longest = mine.longest.max(its.longest);
            }
            (None, its) => *mine = its,
            (Some(_), None) => {}
        }
    }
    one
}

impl Report<'_> {
    /// The timers that flows had to wait under, by box and timer.
    pub fn tried(&self) -> Vec<Tried> {
        let hops = &self.path.hops;
        // Rules that come to one clause are one timer to whoever sets it.
        let canon: Vec<Vec<u16>> = hops
            .iter()
            .map(|hop| {
                let mut seen: Vec<(Clause, u16)> = Vec::new();
                let first = |timer| {
                    let clause = hop.clause(TimerId(timer));
                    let known = seen.iter().find(|(seen, _)| *seen == clause).map(|(_, first)| *first);
                    known.unwrap_or_else(|| {
                        seen.push((clause, timer));
                        timer
                    })
                };
                (0..TimerId::NUMBERS as u16).map(first).collect()
            })
            .collect();
        let chunk = |chunk: usize| {
            let mut slots: Slots = vec![None; hops.len() * TimerId::NUMBERS];
            // A flow's timers: the slot of each, its length, and the longest spell.
            let mut own: Vec<(usize, Duration, Duration)> = Vec::new();
            for flow in chunk * FLOWS..self.flows().min((chunk + 1) * FLOWS) {
                own.clear();
                self.run.flows.profile(flow).each_idle(|hop, timer, idle| {
                    let number = usize::from(timer.0).min(TimerId::NUMBERS - 1);
                    let slot = hop * TimerId::NUMBERS + usize::from(canon[hop][number]);
                    match own.iter_mut().find(|(known, ..)| *known == slot) {
                        Some((_, _, longest)) => *longest = idle.max(*longest),
                        None => own.push((slot, self.spans.get(hop, timer), idle)),
                    }
                });
                for (at, span, longest) in &own {
                    let (hop, timer) = (at / TimerId::NUMBERS, TimerId((at % TimerId::NUMBERS) as u16));
                    let slot = slots[*at].get_or_insert(Tried { hop, timer, flows: 0, outgrown: 0, longest: Duration::ZERO });
                    slot.flows += 1;
                    slot.outgrown += u64::from(longest >= span);
                    slot.longest = slot.longest.max(*longest);
                }
            }
            slots
        };
        (0..self.flows().div_ceil(FLOWS)).into_par_iter().map(chunk).reduce(Vec::new, join).into_iter().flatten().collect()
    }
}
