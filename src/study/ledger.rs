//! Entries in a box's table over time, for every policy from one set of lives.
//!
//! A life begins with a packet and ends with a timer; only the timer's length differs between policies. So the ends are kept
//! by timer, sorted once, and each policy shifts them.

use super::Study;
use crate::engine::Hop;
use crate::engine::lives::{Life, Until};
use crate::engine::many::Class;
use crate::engine::members::Members;
use crate::engine::studied::Scratch;
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
    /// How many starts make a stretch.
    stretch: usize,
    /// `run_out`, to be asked quickly.
    all_end: Vec<(TimerId, Moments)>,
}

/// So many starts make a stretch, at the least.
const STRETCH: usize = 48;
/// There are not many more stretches than this.
const STRETCHES: usize = 4096;

/// A few starts on end.
#[derive(Clone, Copy)]
struct Stretch {
    /// The most entries at one of them, without ends that vary.
    most: u64,
    /// How many fixed ends lie before it.
    fixed: usize,
}

/// Moments in order, their sums, and how many of them came before each of many evenly spread ones.
#[derive(Default)]
struct Moments {
    at: Vec<u64>,
    /// The sum of so many from the beginning.
    sums: Vec<u128>,
    /// How many came before a step, the first of which is at the first moment.
    before: Vec<u32>,
    /// A step is two to this power long.
    shift: u32,
}

/// So many moments are soon looked through.
const FEW: usize = 4096;
/// So many moments to a step.
const TO_A_STEP: u64 = 32;

impl Moments {
    /// Those of a list that is in order.
    fn new(at: Vec<u64>) -> Moments {
        let mut sum = 0;
        let sums = std::iter::once(0).chain(at.iter().map(|at| {
            sum += u128::from(*at);
            sum
        }));
        let sums = sums.collect();
        let (first, last) = (at.first().copied().unwrap_or(0), at.last().copied().unwrap_or(0));
        let steps = at.len() as u64 / TO_A_STEP + 1;
        let shift = ((last - first) / steps).checked_ilog2().map_or(0, |power| (power + 1).min(63));
        let mut before = Vec::with_capacity(((last - first) >> shift) as usize + 2);
        for (place, moment) in at.iter().enumerate() {
            while before.len() as u64 <= (moment - first) >> shift {
                before.push(place as u32);
            }
        }
        Moments { at, sums, before, shift }
    }

    /// So many at least have come by then, and not many more.
    #[inline]
    fn surely_until(&self, at: u64) -> usize {
        let Some(since) = self.at.first().and_then(|first| at.checked_sub(*first)) else { return 0 };
        let step = usize::try_from(since >> self.shift).unwrap_or(usize::MAX);
        self.before.get(step).map_or(self.at.len(), |before| *before as usize)
    }
}

/// Ends of one policy: moments of a sorted list, each so much later.
#[derive(Clone, Copy)]
struct Ends<'l> {
    moments: &'l [u64],
    /// What is known of the list, where many policies have it.
    known: Option<&'l Moments>,
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

    /// So many at least have ended by then, not many fewer than have, where `known` had some time before.
    fn surely_until(&self, known: usize, at: u64) -> usize {
        match self.known {
            Some(moments) if moments.at.len() > FEW => at.checked_sub(self.later).map_or(0, |at| moments.surely_until(at)),
            _ => self.until_from(known, at),
        }
    }

    /// Added up, none later than the end of the capture; every last packet lies within it.
    fn sum_until(&self, capture_end: Instant) -> u128 {
        let inside = self.until(capture_end.0);
        let sum = match self.known {
            Some(moments) => moments.sums[inside],
            None => self.moments[..inside].iter().map(|at| u128::from(*at)).sum(),
        };
        let beyond = (self.moments.len() - inside) as u128 * u128::from(capture_end.0);
        sum + inside as u128 * u128::from(self.later) + beyond
    }
}

/// What a block of sixty-four policies has of the moments that only some have: those that all of them have are looked at once, and
/// of neighbours nearly all are of that kind.
struct Block<'l> {
    /// For each set its policies of the block, as bits.
    words: Vec<u64>,
    starts: Vec<u64>,
    ends: Vec<(Option<TimerId>, Moments)>,
    /// What only some of the block have.
    some_start: Vec<Partial>,
    some_end: Vec<(&'l Option<TimerId>, Vec<Partial>)>,
}

/// The moments that only some policies of a block have, for one of them; by timer, in the order of [`Block::some_end`].
#[derive(Default)]
struct Own {
    /// Those of the whole block too.
    starts: Vec<u64>,
    ends: Vec<Vec<u64>>,
}

/// The lives that a flow has at one box under each part of the policies, one part after another.
#[derive(Default)]
struct Lived {
    all: Vec<Life>,
    /// How many there are up to the end of each part.
    ends: Vec<usize>,
}

impl Lived {
    fn clear(&mut self) {
        self.all.clear();
        self.ends.clear();
    }

    fn of(&self, part: usize) -> &[Life] {
        let from = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[from..self.ends[part]]
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

    /// A life that all policies have.
    fn add_for_all(&mut self, life: Life) {
        self.starts.push(life.from.0);
        self.end(life.until);
    }

    /// The lives that one flow has at this box under each part of the policies.
    fn add(&mut self, parts: &[&Members], lived: &Lived) {
        if let [members] = parts
            && members.is_all()
        {
            lived.of(0).iter().for_each(|life| self.add_for_all(*life));
            return;
        }
        let first_set = self.sets.len() as u32;
        self.sets.extend(parts.iter().map(|members| (*members).clone()));
        let longest = (0..parts.len()).map(|part| lived.of(part).len()).max().unwrap_or(0);
        for place in 0..longest {
            let lives = || (0..parts.len()).map(|part| lived.of(part).get(place));
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
        self.run_out.values_mut().for_each(|ends| ends.par_sort_unstable());
        self.some_end.values_mut().for_each(|ends| ends.par_sort_unstable_by_key(|end| (end.at, end.set)));
        self.some_start.par_sort_unstable_by_key(|start| (start.at, start.set));
        self
    }

    /// Looks along the starts once, so that each policy need not.
    fn summed(mut self) -> Ledger {
        let mut fixed = 0;
        self.stretch = STRETCH.max(self.starts.len() / STRETCHES);
        for (number, stretch) in self.starts.chunks(self.stretch).enumerate() {
            let mut summed = Stretch { most: 0, fixed };
            for (place, start) in stretch.iter().enumerate() {
                while self.fixed.get(fixed).is_some_and(|at| at <= start) {
                    fixed += 1;
                }
                summed.most = summed.most.max((number * self.stretch + place + 1 - fixed) as u64);
            }
            self.stretches.push(summed);
        }
        self.all_end = std::mem::take(&mut self.run_out).into_iter().map(|(timer, moments)| (timer, Moments::new(moments))).collect();
        self
    }

    /// What a block of sixty-four of so many policies has.
    fn block(&self, block: usize, of: usize) -> Block<'_> {
        let whole = Members::all(of as u32).word(block);
        let words: Vec<u64> = self.sets.iter().map(|set| set.word(block)).collect();
        let divided = |partials: &[Partial]| {
            let (mut all, mut some) = (Vec::new(), Vec::new());
            for partial in partials {
                match words[partial.set as usize] {
                    0 => {}
                    word if word == whole => all.push(partial.at),
                    _ => some.push(*partial),
                }
            }
            (all, some)
        };
        let (starts, some_start) = divided(&self.some_start);
        let (mut ends, mut some_end) = (Vec::new(), Vec::new());
        for (timer, partials) in &self.some_end {
            let (all, some) = divided(partials);
            ends.push((*timer, Moments::new(all)));
            some_end.push((timer, some));
        }
        Block { words, starts, ends, some_start, some_end }
    }

    /// All ends that vary, for one policy.
    fn ends<'l>(&'l self, device: &Hop, block: &'l Block<'_>, own: &'l Own) -> Vec<Ends<'l>> {
        let later = |timer: &Option<TimerId>| timer.map_or(0, |timer| device.span(timer).0);
        let known = |moments: &'l Moments, later| Ends { moments: &moments.at, known: Some(moments), later };
        let run_out = self.all_end.iter().map(|(timer, moments)| known(moments, device.span(*timer).0));
        let whole = block.ends.iter().map(|(timer, moments)| known(moments, later(timer)));
        let some = block.some_end.iter().zip(&own.ends);
        let some = some.map(|((timer, _), moments)| Ends { moments, known: None, later: later(timer) });
        run_out.chain(whole).chain(some).filter(|ends| !ends.moments.is_empty()).collect()
    }

    /// How full the table was under each policy of a block of sixty-four, between two moments.
    fn occupancies(&self, class: &Class<'_>, block: usize, hop: usize, (begin, end): (Instant, Instant)) -> Vec<Occupancy> {
        let held = self.block(block, class.members.len());
        let within = |moments: &[u64]| moments.iter().map(|at| u128::from((*at).clamp(begin.0, end.0))).sum::<u128>();
        let (from, until) = (within(&self.starts), within(&self.fixed));
        let mut own = Own::default();
        let one = |member: usize| {
            held.own(member as u32, &mut own);
            let ends = self.ends(&class.path(member as u32).hops[hop], &held, &own);
            let made = (self.starts.len() + own.starts.len()) as u64;
            let mut occupancy = Occupancy { over: end.since(begin), made, peak_at: begin, ..Occupancy::default() };
            self.peak(&own.starts, &ends, &mut occupancy);
            let varied: u128 = ends.iter().map(|ends| ends.sum_until(end)).sum();
            occupancy.area = (until + varied).saturating_sub(from + within(&own.starts));
            occupancy
        };
        (block * 64..class.members.len().min(block * 64 + 64)).map(one).collect()
    }

    /// The most entries at once. Only stretches that could hold it are looked at closely.
    fn peak(&self, own: &[u64], ends: &[Ends<'_>], occupancy: &mut Occupancy) {
        if self.starts.is_empty() {
            return;
        }
        let mut ended = vec![0; ends.len()];
        let mut bound = |number: usize| {
            let first = self.starts[number * self.stretch];
            for (ends, ended) in ends.iter().zip(&mut ended) {
                *ended = ends.surely_until(*ended, first);
            }
            self.bound(number, own, ended.iter().sum())
        };
        let bounds: Vec<u64> = (0..self.stretches.len()).map(&mut bound).collect();
        let likeliest = (0..bounds.len()).max_by_key(|number| (bounds[*number], std::cmp::Reverse(*number))).unwrap_or(0);
        let (least, _) = self.look_closely(likeliest, own, ends);
        for (number, bound) in bounds.iter().enumerate() {
            let enough = least.max(occupancy.peak + 1);
            if *bound >= enough && self.closer_bound(number, own, ends) >= enough {
                let (here, at) = self.look_closely(number, own, ends);
                if here > occupancy.peak {
                    (occupancy.peak, occupancy.peak_at) = (here, Instant(at));
                }
            }
        }
    }

    /// So many entries there are at most at a start of one stretch, own starts until the next stretch included, where so many of those
    /// that vary have ended before it.
    fn bound(&self, number: usize, own: &[u64], ended: usize) -> u64 {
        let next = self.starts.get((number + 1) * self.stretch).copied().unwrap_or(u64::MAX);
        (self.stretches[number].most + own.partition_point(|at| *at < next) as u64).saturating_sub(ended as u64)
    }

    /// The same, with all that have ended counted.
    fn closer_bound(&self, number: usize, own: &[u64], ends: &[Ends<'_>]) -> u64 {
        let first = self.starts[number * self.stretch];
        self.bound(number, own, ends.iter().map(|ends| ends.until_from(ends.surely_until(0, first), first)).sum())
    }

    /// The most entries at a start of one stretch, own starts until the next stretch included, and when.
    fn look_closely(&self, number: usize, own: &[u64], ends: &[Ends<'_>]) -> (u64, u64) {
        let range = number * self.stretch..self.starts.len().min((number + 1) * self.stretch);
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
        let block = self.block(member as usize / 64, class.members.len());
        block.own(member, &mut own);
        let ends = self.ends(&class.path(member).hops[hop], &block, &own);
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

impl Block<'_> {
    /// The moments of one of its policies.
    fn own(&self, member: u32, own: &mut Own) {
        let mine = |partial: &&Partial| self.words[partial.set as usize] >> (member % 64) & 1 == 1;
        own.starts.clear();
        if self.some_start.is_empty() {
            own.starts.extend(&self.starts);
        } else {
            let some: Vec<u64> = self.some_start.iter().filter(mine).map(|partial| partial.at).collect();
            merged(&self.starts, &some, |at| own.starts.push(at));
        }
        own.ends.resize_with(self.some_end.len(), Vec::new);
        for (ends, (_, partials)) in own.ends.iter_mut().zip(&self.some_end) {
            ends.clear();
            ends.extend(partials.iter().filter(mine).map(|partial| partial.at));
        }
    }
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
        let chunk = |number: usize| {
            let (mut ledgers, mut scratch, mut lived) = (empty(), Scratch::default(), Lived::default());
            for flow in self.run.flows.chunk(number, CHUNK) {
                self.note(flow, &mut scratch, &mut lived, &mut ledgers);
            }
            ledgers
        };
        let join = |mine: Vec<Vec<Ledger>>, theirs: Vec<Vec<Ledger>>| {
            let hops = |(mine, theirs): (Vec<Ledger>, Vec<Ledger>)| mine.into_iter().zip(theirs).map(|(m, t)| m.absorb(t)).collect();
            mine.into_iter().zip(theirs).map(hops).collect()
        };
        let ledgers = self.run.flows.chunks(CHUNK).into_par_iter().map(chunk).reduce(empty, join);
        let settle = |(class, hops): (&Class<'_>, Vec<Ledger>)| {
            hops.into_par_iter().enumerate().map(|(hop, ledger)| ledger.settled(class, hop).summed()).collect()
        };
        self.many.classes.iter().zip(ledgers).map(settle).collect()
    }

    fn note(&self, flow: usize, scratch: &mut Scratch, lived: &mut Lived, ledgers: &mut [Vec<Ledger>]) {
        let from = self.run.flows.flow(flow).first;
        for ((place, class), ledgers) in self.many.classes.iter().enumerate().zip(ledgers) {
            let alike = self.run.flows.entries(flow, place, class, |hop, refreshed, timer| {
                ledgers[hop].add_for_all(Life { from, until: Until::RunsOut { refreshed, timer } });
            });
            if alike {
                continue;
            }
            let parts = self.run.flows.outline(flow, place, class, scratch);
            let members: Vec<&Members> = parts.iter().map(|part| &part.members).collect();
            for (index, ledger) in ledgers.iter_mut().enumerate() {
                lived.clear();
                for part in parts.iter() {
                    // What came after an entry was made anew is left out where it was not followed to its end.
                    let until = part.run.repaired.as_deref().filter(|_| !self.many.beyond).map_or(Instant::MAX, |late| late.at);
                    part.lives(index, &class.path(0).hops[index], |life| {
                        if life.from < until {
                            lived.all.push(life);
                        }
                    });
                    lived.ends.push(lived.all.len());
                }
                ledger.add(&members, lived);
            }
        }
    }

    /// How full each policy's tables were: for each policy, for each box.
    pub fn occupancies(&self, ledgers: &[Vec<Ledger>]) -> Vec<Vec<Occupancy>> {
        let span = (self.run.begin, self.run.end);
        let policies = self.many.classes.iter().map(|class| class.members.len()).sum();
        let mut all: Vec<Vec<Occupancy>> = vec![Vec::new(); policies];
        for (class, ledgers) in self.many.classes.iter().zip(ledgers) {
            let blocks = class.members.len().div_ceil(64);
            // One by one: they differ in what they cost.
            let pieces = (0..ledgers.len() * blocks).into_par_iter().with_max_len(1);
            let count = |piece: usize| ledgers[piece / blocks].occupancies(class, piece % blocks, piece / blocks, span);
            let found: Vec<Vec<Occupancy>> = pieces.map(count).collect();
            for hop in found.chunks(blocks.max(1)) {
                class.members.iter().zip(hop.iter().flatten()).for_each(|(policy, occupancy)| all[*policy].push(*occupancy));
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
