//! Entries in a box's table over time, for every policy from one set of lives.
//!
//! A life begins with a packet and ends with a timer; only the timer's length differs between policies. So the ends are kept
//! by timer, sorted once, and each policy shifts them.

use super::{Parts, Study};
use crate::engine::lives::{Life, Until};
use crate::engine::many::Class;
use crate::engine::members::Members;
use crate::engine::pipeline::Judged;
use crate::engine::timers::TimerId;
use crate::time::{Duration, Instant};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// How full a box's table was.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Occupancy {
    /// The most entries at once.
    pub peak: u64,
    /// When there were so many, for the first time.
    pub peak_at: Instant,
    /// Entries added up over time, entry-nanoseconds between the first and the last packet.
    pub area: u128,
    /// Over which time.
    pub over: Duration,
    /// How many entries were made.
    pub made: u64,
}

impl Occupancy {
    /// The entries at once on average over the time of the capture.
    pub fn mean(&self) -> f64 {
        if self.over == Duration::ZERO { self.peak as f64 } else { self.area as f64 / self.over.0 as f64 }
    }

    /// How long an entry lived on average within the capture.
    pub fn life_mean(&self) -> Duration {
        Duration((self.area / u128::from(self.made.max(1))) as u64)
    }

    /// How many entries were made a second.
    pub fn made_per_second(&self) -> f64 {
        if self.over == Duration::ZERO { 0.0 } else { self.made as f64 / self.over.as_secs_f64() }
    }
}

/// The lives that only some policies of a class have.
struct Partial {
    members: Members,
    life: Life,
}

/// The lives of entries at one box for one class of policies.
#[derive(Default)]
pub struct Ledger {
    /// When entries were made, sorted.
    starts: Vec<u64>,
    /// When entries were removed by a packet, sorted.
    removed: Vec<u64>,
    /// When the last packet of entries came whose timer then ran out, by timer, sorted.
    run_out: BTreeMap<TimerId, Vec<u64>>,
    partial: Vec<Partial>,
}

impl Ledger {
    fn add(&mut self, members: &Members, life: Life) {
        if !members.is_all() {
            self.partial.push(Partial { members: members.clone(), life });
            return;
        }
        self.starts.push(life.from.0);
        match life.until {
            Until::At(at) => self.removed.push(at.0),
            Until::RunsOut { refreshed, timer } => self.run_out.entry(timer).or_default().push(refreshed.0),
        }
    }

    fn absorb(mut self, other: Ledger) -> Ledger {
        self.starts.extend(other.starts);
        self.removed.extend(other.removed);
        for (timer, ends) in other.run_out {
            self.run_out.entry(timer).or_default().extend(ends);
        }
        self.partial.extend(other.partial);
        self
    }

    fn sorted(mut self) -> Ledger {
        self.starts.sort_unstable();
        self.removed.sort_unstable();
        self.run_out.values_mut().for_each(|ends| ends.sort_unstable());
        self
    }

    /// Starts and ends for one policy, both sorted.
    fn events(&self, class: &Class<'_>, member: u32, hop: usize) -> (Vec<u64>, Vec<u64>) {
        let device = &class.path(member).hops[hop];
        let mut starts = self.starts.clone();
        let mut ends = Vec::with_capacity(starts.len() + self.partial.len());
        ends.extend(&self.removed);
        for (timer, refreshed) in &self.run_out {
            let span = device.span(*timer);
            ends.extend(refreshed.iter().map(|at| (Instant(*at) + span).0));
        }
        for partial in self.partial.iter().filter(|partial| partial.members.contains(member)) {
            starts.push(partial.life.from.0);
            ends.push(partial.life.end(device).0);
        }
        // Both are a few sorted runs one after another, which a stable sort merges.
        starts.sort();
        ends.sort();
        (starts, ends)
    }

    /// How full the table was under one policy, between two moments.
    pub fn occupancy(&self, class: &Class<'_>, member: u32, hop: usize, (begin, end): (Instant, Instant)) -> Occupancy {
        let (starts, ends) = self.events(class, member, hop);
        let over = end.since(begin);
        let mut occupancy = Occupancy { over, made: starts.len() as u64, peak_at: begin, ..Occupancy::default() };
        let mut gone = 0;
        for (index, start) in starts.iter().enumerate() {
            // An entry that ends in this instant is not there any more.
            while ends.get(gone).is_some_and(|at| at <= start) {
                gone += 1;
            }
            let here = (index + 1 - gone) as u64;
            if here > occupancy.peak {
                (occupancy.peak, occupancy.peak_at) = (here, Instant(*start));
            }
        }
        let until: u128 = ends.iter().map(|at| u128::from((*at).clamp(begin.0, end.0))).sum();
        let from: u128 = starts.iter().map(|at| u128::from((*at).clamp(begin.0, end.0))).sum();
        occupancy.area = until.saturating_sub(from);
        occupancy
    }

    /// The entries at so many moments, evenly spread.
    pub fn curve(&self, class: &Class<'_>, member: u32, hop: usize, (begin, end): (Instant, Instant), points: u64) -> Vec<(Instant, u64)> {
        let (starts, ends) = self.events(class, member, hop);
        let width = end.since(begin).0;
        (0..=points)
            .map(|point| {
                let at = begin.0 + (u128::from(width) * u128::from(point) / u128::from(points.max(1))) as u64;
                let here = starts.partition_point(|s| *s <= at).saturating_sub(ends.partition_point(|e| *e <= at));
                (Instant(at), here as u64)
            })
            .collect()
    }
}

/// Flows that one thread looks at before the results are put together.
const CHUNK: usize = 8192;

impl Study<'_, '_> {
    /// The lives of entries: for each class, for each box.
    pub fn ledgers(&self) -> Vec<Vec<Ledger>> {
        let empty = || -> Vec<Vec<Ledger>> {
            let hops = |class: &Class<'_>| class.path(0).hops.iter().map(|_| Ledger::default()).collect();
            self.many.classes.iter().map(hops).collect()
        };
        let chunk = |flows: &[Judged<Parts>]| {
            let mut ledgers = empty();
            for judged in flows {
                self.note(judged, &mut ledgers);
            }
            ledgers
        };
        let join = |mine: Vec<Vec<Ledger>>, theirs: Vec<Vec<Ledger>>| {
            let hops = |(mine, theirs): (Vec<Ledger>, Vec<Ledger>)| mine.into_iter().zip(theirs).map(|(m, t)| m.absorb(t)).collect();
            mine.into_iter().zip(theirs).map(hops).collect()
        };
        let ledgers = self.run.flows.par_chunks(CHUNK).map(chunk).reduce(empty, join);
        ledgers.into_iter().map(|hops| hops.into_iter().map(Ledger::sorted).collect()).collect()
    }

    fn note(&self, judged: &Judged<Parts>, ledgers: &mut [Vec<Ledger>]) {
        for ((class, parts), ledgers) in self.many.classes.iter().zip(&judged.run).zip(ledgers) {
            for part in parts {
                // What came after an entry that was made anew is left out where it was not followed to its end.
                let known_until = part.run.repaired.as_deref().filter(|_| !self.many.beyond).map_or(Instant::MAX, |late| late.at);
                for (index, held) in part.run.hops.iter().enumerate() {
                    let Some(lives) = &held.lives else { continue };
                    for life in lives.all(&class.path(0).hops[index], &held.state) {
                        if life.from < known_until || known_until == Instant::MAX {
                            ledgers[index].add(&part.members, life);
                        }
                    }
                }
            }
        }
    }

    /// How full each policy's tables were: for each policy, for each box.
    pub fn occupancies(&self, ledgers: &[Vec<Ledger>]) -> Vec<Vec<Occupancy>> {
        let span = (self.run.begin, self.run.end);
        let mut all: Vec<(usize, Vec<Occupancy>)> = Vec::new();
        for (class, ledgers) in self.many.classes.iter().zip(ledgers) {
            let one = |member: usize| {
                let hops = ledgers.iter().enumerate().map(|(hop, ledger)| ledger.occupancy(class, member as u32, hop, span));
                (class.members[member], hops.collect())
            };
            all.par_extend((0..class.members.len()).into_par_iter().map(one));
        }
        all.sort_by_key(|(policy, _)| *policy);
        all.into_iter().map(|(_, occupancies)| occupancies).collect()
    }
}
