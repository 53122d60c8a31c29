//! Entries in a box's table over time, for every policy from one set of lives.
//!
//! A life begins with a packet and ends with a timer; only the timer's length differs between policies. So the ends are kept
//! by timer, sorted once, and each policy shifts them.

use super::{Parts, Study};
use crate::engine::Hop;
use crate::engine::lives::{Life, Until};
use crate::engine::many::{Class, Part};
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

/// A moment that only some policies of a class have.
#[derive(Clone, Copy)]
struct Partial {
    at: u64,
    /// Which policies: a place in [`Ledger::sets`].
    set: u32,
}

/// The lives of entries at one box for one class of policies.
#[derive(Default)]
pub struct Ledger {
    /// When entries were made, sorted.
    starts: Vec<u64>,
    /// When entries ended, sorted, where that is the same for all policies.
    fixed: Vec<u64>,
    /// When the last packet of entries came whose timer then ran out, by timer, sorted.
    run_out: BTreeMap<TimerId, Vec<u64>>,
    /// The same for entries of some policies only; without a timer, entries that a packet removed.
    some_end: BTreeMap<Option<TimerId>, Vec<Partial>>,
    some_start: Vec<Partial>,
    sets: Vec<Members>,
    /// For each stretch of starts, how many entries there are at most at one of them as far as all policies agree.
    stretches: Vec<Stretch>,
    /// For each of `run_out` the sums of its beginnings.
    sums: BTreeMap<TimerId, Vec<u128>>,
}

/// So many starts make a stretch.
const STRETCH: usize = 48;

/// A few starts on end.
#[derive(Clone, Copy)]
struct Stretch {
    /// The most entries at one of them, without ends that vary.
    most: u64,
    /// How many fixed ends lie before it.
    fixed: usize,
}

/// Ends of one policy: moments of a sorted list, each so much later.
#[derive(Clone, Copy)]
struct Ends<'l> {
    moments: &'l [u64],
    later: u64,
}

impl Ends<'_> {
    fn until(&self, at: u64) -> usize {
        self.until_from(0, at)
    }

    /// The same, where so many are known to have ended; quick if not many more have.
    fn until_from(&self, known: usize, at: u64) -> usize {
        let Some(at) = at.checked_sub(self.later) else { return known };
        let rest = &self.moments[known..];
        let mut reach = 1;
        while rest.get(reach).is_some_and(|moment| *moment <= at) {
            reach *= 2;
        }
        known + rest[..rest.len().min(reach)].partition_point(|moment| *moment <= at)
    }
}

impl Ledger {
    fn end(&mut self, until: Until) {
        match until {
            Until::At(at) => self.fixed.push(at.0),
            Until::RunsOut { refreshed, timer } => self.run_out.entry(timer).or_default().push(refreshed.0),
        }
    }

    fn some_end(&mut self, until: Until, set: u32) {
        let (timer, at) = match until {
            Until::At(at) => (None, at),
            Until::RunsOut { refreshed, timer } => (Some(timer), refreshed),
        };
        self.some_end.entry(timer).or_default().push(Partial { at: at.0, set });
    }

    /// The lives that one flow has at this box under each part of the policies.
    fn add(&mut self, parts: &[(&Members, Vec<Life>)]) {
        if let [(members, lives)] = parts
            && members.is_all()
        {
            for life in lives {
                self.starts.push(life.from.0);
                self.end(life.until);
            }
            return;
        }
        let first_set = self.sets.len() as u32;
        self.sets.extend(parts.iter().map(|(members, _)| (*members).clone()));
        let longest = parts.iter().map(|(_, lives)| lives.len()).max().unwrap_or(0);
        for place in 0..longest {
            let lives = || parts.iter().map(|(_, lives)| lives.get(place));
            // What the policies did before they parted is the same for all.
            let one = lives().next().flatten();
            let from = one.filter(|one| lives().all(|life| life.is_some_and(|life| life.from == one.from)));
            let same = from.filter(|one| lives().all(|life| life.is_some_and(|life| life.until == one.until)));
            if let Some(life) = from {
                self.starts.push(life.from.0);
            }
            if let Some(life) = same {
                self.end(life.until);
                continue;
            }
            for (set, life) in (first_set..).zip(lives()) {
                let Some(life) = life else { continue };
                if from.is_none() {
                    self.some_start.push(Partial { at: life.from.0, set });
                }
                self.some_end(life.until, set);
            }
        }
    }

    fn absorb(mut self, other: Ledger) -> Ledger {
        self.starts.extend(other.starts);
        self.fixed.extend(other.fixed);
        for (timer, ends) in other.run_out {
            self.run_out.entry(timer).or_default().extend(ends);
        }
        let base = self.sets.len() as u32;
        let moved = |partial: Partial| Partial { set: partial.set + base, ..partial };
        for (timer, ends) in other.some_end {
            self.some_end.entry(timer).or_default().extend(ends.into_iter().map(moved));
        }
        self.some_start.extend(other.some_start.into_iter().map(moved));
        self.sets.extend(other.sets);
        self
    }

    /// Sorts, and fixes the ends by timers of which every policy has the same.
    fn settled(mut self, class: &Class<'_>, hop: usize) -> Ledger {
        let of = class.members.len() as u32;
        let span = |member: u32, timer: TimerId| class.path(member).hops[hop].span(timer);
        let settled: Vec<TimerId> =
            self.run_out.keys().copied().filter(|timer| (1..of).all(|member| span(member, *timer) == span(0, *timer))).collect();
        for timer in settled {
            let length = span(0, timer);
            self.fixed.extend(self.run_out.remove(&timer).into_iter().flatten().map(|at| (Instant(at) + length).0));
        }
        self.starts.par_sort_unstable();
        self.fixed.par_sort_unstable();
        self.run_out.values_mut().for_each(|ends| ends.sort_unstable());
        self.some_end.values_mut().for_each(|ends| ends.sort_unstable_by_key(|end| (end.at, end.set)));
        self.some_start.sort_unstable_by_key(|start| (start.at, start.set));
        self
    }

    /// Looks along the starts once, so that each policy need not.
    fn summed(mut self) -> Ledger {
        let mut fixed = 0;
        for (number, stretch) in self.starts.chunks(STRETCH).enumerate() {
            let mut summed = Stretch { most: 0, fixed };
            for (place, start) in stretch.iter().enumerate() {
                while self.fixed.get(fixed).is_some_and(|at| at <= start) {
                    fixed += 1;
                }
                summed.most = summed.most.max((number * STRETCH + place + 1 - fixed) as u64);
            }
            self.stretches.push(summed);
        }
        let sum = |moments: &Vec<u64>| {
            let mut sum = 0;
            std::iter::once(0)
                .chain(moments.iter().map(|at| {
                    sum += u128::from(*at);
                    sum
                }))
                .collect()
        };
        self.sums = self.run_out.iter().map(|(timer, moments)| (*timer, sum(moments))).collect();
        self
    }

    /// The words of all sets that hold a block of sixty-four policies.
    fn words(&self, block: usize) -> Vec<u64> {
        self.sets.iter().map(|set| set.word(block)).collect()
    }

    /// The moments that only some policies have, for one of them. `words` are the words of the sets that hold it.
    fn own(&self, member: u32, words: &[u64], own: &mut Own) {
        let mine = |partial: &&Partial| words[partial.set as usize] >> (member % 64) & 1 == 1;
        own.starts.clear();
        own.starts.extend(self.some_start.iter().filter(mine).map(|partial| partial.at));
        own.ends.resize_with(self.some_end.len(), Vec::new);
        for (ends, partials) in own.ends.iter_mut().zip(self.some_end.values()) {
            ends.clear();
            ends.extend(partials.iter().filter(mine).map(|partial| partial.at));
        }
    }

    /// All ends that vary, for one policy.
    fn ends<'l>(&'l self, device: &Hop, own: &'l Own) -> Vec<Ends<'l>> {
        let run_out = self.run_out.iter().map(|(timer, moments)| Ends { moments, later: device.span(*timer).0 });
        let later = |timer: &Option<TimerId>| timer.map_or(0, |timer| device.span(timer).0);
        let some = self.some_end.keys().zip(&own.ends).map(|(timer, moments)| Ends { moments, later: later(timer) });
        run_out.chain(some).filter(|ends| !ends.moments.is_empty()).collect()
    }

    /// How full the table was under each policy of a block of sixty-four, between two moments.
    fn occupancies(&self, class: &Class<'_>, block: usize, hop: usize, (begin, end): (Instant, Instant)) -> Vec<Occupancy> {
        let words = self.words(block);
        let within = |moments: &[u64]| moments.iter().map(|at| u128::from((*at).clamp(begin.0, end.0))).sum::<u128>();
        let (from, until) = (within(&self.starts), within(&self.fixed));
        let mut own = Own::default();
        let members = block * 64..class.members.len().min(block * 64 + 64);
        let one = |member: usize| {
            self.own(member as u32, &words, &mut own);
            let ends = self.ends(&class.path(member as u32).hops[hop], &own);
            let made = (self.starts.len() + own.starts.len()) as u64;
            let mut occupancy = Occupancy { over: end.since(begin), made, peak_at: begin, ..Occupancy::default() };
            self.peak(&own.starts, &ends, &mut occupancy);
            let varied: u128 = ends.iter().map(|ends| self.sum_until(ends, end)).sum();
            occupancy.area = (until + varied).saturating_sub(from + within(&own.starts));
            occupancy
        };
        members.map(one).collect()
    }

    /// Ends added up, none later than the end of the capture; every last packet lies within it.
    fn sum_until(&self, ends: &Ends<'_>, capture_end: Instant) -> u128 {
        let inside = ends.until(capture_end.0);
        let known = self.run_out.iter().find(|(_, moments)| std::ptr::eq(moments.as_slice(), ends.moments));
        let sum = known.and_then(|(timer, _)| self.sums.get(timer)).and_then(|sums| sums.get(inside)).copied();
        let sum = sum.unwrap_or_else(|| ends.moments[..inside].iter().map(|at| u128::from(*at)).sum());
        let beyond = (ends.moments.len() - inside) as u128 * u128::from(capture_end.0);
        sum + inside as u128 * u128::from(ends.later) + beyond
    }

    /// The most entries at once. Only stretches that could hold it are looked at closely.
    fn peak(&self, own: &[u64], ends: &[Ends<'_>], occupancy: &mut Occupancy) {
        if self.starts.is_empty() {
            return;
        }
        let mut ended = vec![0; ends.len()];
        let mut bound = |number: usize, stretch: &Stretch| {
            let first = self.starts[number * STRETCH];
            let next = self.starts.get((number + 1) * STRETCH).copied().unwrap_or(u64::MAX);
            for (ends, ended) in ends.iter().zip(&mut ended) {
                *ended = ends.until_from(*ended, first);
            }
            let ended: usize = ended.iter().sum();
            (stretch.most + own.partition_point(|at| *at < next) as u64).saturating_sub(ended as u64)
        };
        let bounds: Vec<u64> = self.stretches.iter().enumerate().map(|(number, stretch)| bound(number, stretch)).collect();
        let likeliest = (0..bounds.len()).max_by_key(|number| (bounds[*number], std::cmp::Reverse(*number))).unwrap_or(0);
        let (least, _) = self.look_closely(likeliest, own, ends);
        for (number, bound) in bounds.iter().enumerate() {
            if *bound > occupancy.peak && *bound >= least {
                let (here, at) = self.look_closely(number, own, ends);
                if here > occupancy.peak {
                    (occupancy.peak, occupancy.peak_at) = (here, Instant(at));
                }
            }
        }
    }

    /// The most entries at a start of one stretch, own starts until the next stretch included, and when.
    fn look_closely(&self, number: usize, own: &[u64], ends: &[Ends<'_>]) -> (u64, u64) {
        let range = number * STRETCH..self.starts.len().min((number + 1) * STRETCH);
        let first = if number == 0 { 0 } else { self.starts[range.start] };
        let next = self.starts.get(range.end).copied().unwrap_or(u64::MAX);
        let own_range = own.partition_point(|at| *at < first)..own.partition_point(|at| *at < next);
        let mut born = (range.start + own_range.start) as u64;
        let mut fixed = self.stretches[number].fixed;
        let mut ended: Vec<usize> = ends.iter().map(|ends| ends.until(first.saturating_sub(1))).collect();
        let mut best = (0, first);
        merged(&self.starts[range], &own[own_range], |start| {
            born += 1;
            // An entry that ends in this instant is not there any more.
            while self.fixed.get(fixed).is_some_and(|at| *at <= start) {
                fixed += 1;
            }
            let mut gone = fixed;
            for (ends, ended) in ends.iter().zip(&mut ended) {
                while ends.moments.get(*ended).is_some_and(|at| at.saturating_add(ends.later) <= start) {
                    *ended += 1;
                }
                gone += *ended;
            }
            let here = born.saturating_sub(gone as u64);
            if here > best.0 {
                best = (here, start);
            }
        });
        best
    }

    /// The entries of one policy at so many moments, evenly spread.
    pub fn curve(&self, class: &Class<'_>, member: u32, hop: usize, (begin, end): (Instant, Instant), points: u64) -> Vec<(Instant, u64)> {
        let mut own = Own::default();
        self.own(member, &self.words(member as usize / 64), &mut own);
        let ends = self.ends(&class.path(member).hops[hop], &own);
        let width = end.since(begin).0;
        (0..=points)
            .map(|point| {
                let at = begin.0 + (u128::from(width) * u128::from(point) / u128::from(points.max(1))) as u64;
                let until = |moments: &[u64]| moments.partition_point(|moment| *moment <= at);
                let ended: usize = ends.iter().map(|ends| ends.until(at)).sum();
                let here = (until(&self.starts) + until(&own.starts)).saturating_sub(until(&self.fixed) + ended);
                (Instant(at), here as u64)
            })
            .collect()
    }
}

/// The moments that only some policies have, for one of them; by timer, in the order of [`Ledger::some_end`].
#[derive(Default)]
struct Own {
    starts: Vec<u64>,
    ends: Vec<Vec<u64>>,
}

/// Two sorted lists in one order.
fn merged(one: &[u64], other: &[u64], mut tell: impl FnMut(u64)) {
    let mut rest = other;
    for at in one {
        while let [first, tail @ ..] = rest
            && first < at
        {
            tell(*first);
            rest = tail;
        }
        tell(*at);
    }
    for at in rest {
        tell(*at);
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
        let settle = |(class, hops): (&Class<'_>, Vec<Ledger>)| {
            hops.into_iter().enumerate().map(|(hop, ledger)| ledger.settled(class, hop).summed()).collect()
        };
        self.many.classes.iter().zip(ledgers).map(settle).collect()
    }

    fn note(&self, judged: &Judged<Parts>, ledgers: &mut [Vec<Ledger>]) {
        for ((class, run), ledgers) in self.many.classes.iter().zip(&judged.run).zip(ledgers) {
            for (index, ledger) in ledgers.iter_mut().enumerate() {
                let hop = &class.path(0).hops[index];
                let lives = |part: &Part| {
                    let held = &part.run.hops[index];
                    let mut lives = held.lives.as_ref().map_or_else(Vec::new, |lives| lives.all(hop, &held.state));
                    // What came after an entry was made anew is left out where it was not followed to its end.
                    if let Some(late) = part.run.repaired.as_deref().filter(|_| !self.many.beyond) {
                        lives.retain(|life| life.from < late.at);
                    }
                    lives
                };
                let parts: Vec<(&Members, Vec<Life>)> = run.parts.iter().map(|part| (&part.members, lives(part))).collect();
                ledger.add(&parts);
            }
        }
    }

    /// How full each policy's tables were: for each policy, for each box.
    pub fn occupancies(&self, ledgers: &[Vec<Ledger>]) -> Vec<Vec<Occupancy>> {
        let span = (self.run.begin, self.run.end);
        let policies = self.many.classes.iter().map(|class| class.members.len()).sum();
        let mut all: Vec<Vec<Occupancy>> = vec![Vec::new(); policies];
        for (class, ledgers) in self.many.classes.iter().zip(ledgers) {
            for (hop, ledger) in ledgers.iter().enumerate() {
                let blocks = 0..class.members.len().div_ceil(64);
                let found: Vec<Occupancy> =
                    blocks.into_par_iter().map(|block| ledger.occupancies(class, block, hop, span)).flatten_iter().collect();
                class.members.iter().zip(found).for_each(|(policy, occupancy)| all[*policy].push(occupancy));
            }
        }
        all
    }

    /// The entries of one box over time, at so many moments from the first packet to the last, for each policy.
    pub fn curves(&self, ledgers: &[Vec<Ledger>], hop: usize, points: u64) -> Vec<Vec<(Instant, u64)>> {
        let span = (self.run.begin, self.run.end);
        let policies = self.many.classes.iter().map(|class| class.members.len()).sum();
        let mut all = vec![Vec::new(); policies];
        for (class, ledgers) in self.many.classes.iter().zip(ledgers) {
            let Some(ledger) = ledgers.get(hop) else { continue };
            let members = 0..class.members.len() as u32;
            let curves: Vec<_> = members.into_par_iter().map(|member| ledger.curve(class, member, hop, span, points)).collect();
            class.members.iter().zip(curves).for_each(|(policy, curve)| all[*policy] = curve);
        }
        all
    }
}
