//! Runs scenarios: one flow with somebody watching, or a population on all cores, with the same result for any number.

use super::Share;
use super::compile::Ready;
use super::expect::{Expect, FlowsExpect, kind, word};
use super::population::Member;
use crate::simulate::crowd::{self, Pressure, Shared};
use crate::simulate::outcome::{End, Met, Outcome, SideOutcome, Toll};
use crate::simulate::{FlowPlan, Observer, Silent, World};
use crate::time::Duration;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

static NEVER: AtomicBool = AtomicBool::new(false);

/// Runs the one flow of a scenario.
pub fn single<O: Observer>(ready: &Ready, observer: O) -> (Outcome, O) {
    single_until(ready, observer, &NEVER)
}

/// The same, until `stop` becomes true.
pub fn single_until<O: Observer>(ready: &Ready, observer: O, stop: &AtomicBool) -> (Outcome, O) {
    let mut world = World::new(&ready.net, observer).until(stop);
    let mut member = Member::default();
    ready.draw(0, &mut member);
    let plan = ready.plan(0, &member);
    let outcome = world.run(&plan);
    (outcome, world.observer)
}

/// How one side's ends are told apart in a tally: the word, and for an error its name or the reason.
pub type EndKind = (&'static str, &'static str);

/// Entries that were lost: which box, in which state, and what became of the packet that found out.
pub type Loss = (usize, &'static str, &'static str);

/// What became of a population.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many flows.
    pub flows: u64,
    /// Flows by how their client and their server ended.
    pub ends: BTreeMap<(EndKind, EndKind), u64>,
    /// The same for each kind of flow of the mix.
    pub kinds: Vec<KindTally>,
    /// Entries that boxes lost while the flow lived.
    pub losses: BTreeMap<Loss, u64>,
    /// Flows of which a box lost an entry.
    pub forgotten: u64,
    /// Flows by what the boxes' forgetting came to, in the order of [`Toll`].
    pub tolls: [u64; Toll::COUNT],
    /// Flows with an error, or whose application gave up, on either side.
    pub failed: u64,
    /// Flows that never opened.
    pub unopened: u64,
    /// From the loss of an entry to the first error that a side saw, in nanoseconds, sorted.
    pub detection: Vec<u64>,
    /// Packets that hosts and boxes sent; that boxes dropped; that links lost.
    pub packets: [u64; 3],
    /// Timers that fired and packets that reached a box or a host.
    pub events: u64,
    /// What became of the tables that couple flows.
    pub pressure: Vec<Pressure>,
    /// The first flows that failed, in the order of their numbers.
    pub examples: Vec<(u64, Outcome)>,
    /// Flows that were not run to their end because somebody stopped it; they are in no other number.
    pub left: u64,
}

/// What became of one kind of flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct KindTally {
    /// How many.
    pub flows: u64,
    /// How many failed.
    pub failed: u64,
    /// Of how many a box lost an entry.
    pub forgotten: u64,
}

/// How many flows are kept as examples.
const EXAMPLES: usize = 5;

fn end_kind(end: End) -> EndKind {
    let detail = match end {
        End::Failed(errno, _) => errno.name(),
        End::GaveUp(why, _) => why,
        _ => "",
    };
    (word(kind(end)), detail)
}

const fn has_failed(end: End) -> bool {
    matches!(end, End::Failed(..) | End::GaveUp(..))
}

impl Tally {
    fn new(kinds: usize) -> Tally {
        Tally { kinds: vec![KindTally::default(); kinds], ..Tally::default() }
    }

    /// Counts a flow.
    pub fn add(&mut self, number: u64, of: usize, outcome: &Outcome) {
        if outcome.interrupted {
            self.left += 1;
            return;
        }
        self.flows += 1;
        let ends = outcome.sides.map(|side| side.end);
        let failed = ends.iter().any(|end| has_failed(*end));
        let forgotten = !outcome.forgotten.is_empty();
        *self.ends.entry((end_kind(ends[0]), end_kind(ends[1]))).or_default() += 1;
        for entry in &outcome.forgotten {
            *self.losses.entry((entry.hop, entry.state, entry.fate.name())).or_default() += 1;
        }
        self.tolls[outcome.toll() as usize] += 1;
        self.failed += u64::from(failed);
        self.forgotten += u64::from(forgotten);
        self.unopened += u64::from(outcome.sides[0].opened.is_none());
        if let Some(kind) = self.kinds.get_mut(of) {
            kind.flows += 1;
            kind.failed += u64::from(failed);
            kind.forgotten += u64::from(forgotten);
        }
        if let Some(lost) = outcome.forgotten.iter().find(|entry| entry.fate != Met::Repicked) {
            let first_error = outcome.sides.iter().filter(|side| has_failed(side.end)).filter_map(SideOutcome::ended_at).min();
            if let Some(at) = first_error {
                self.detection.push(at.since(lost.at).0);
            }
        }
        for (sum, one) in self.packets.iter_mut().zip([outcome.packets, outcome.dropped, outcome.lost]) {
            *sum += u64::from(one);
        }
        self.events += outcome.events;
        if failed && self.examples.len() < EXAMPLES {
            self.examples.push((number, outcome.clone()));
        }
    }

    fn absorb(mut self, other: Tally) -> Tally {
        self.flows += other.flows;
        for (ends, count) in other.ends {
            *self.ends.entry(ends).or_default() += count;
        }
        for (loss, count) in other.losses {
            *self.losses.entry(loss).or_default() += count;
        }
        for (mine, theirs) in self.kinds.iter_mut().zip(other.kinds) {
            mine.flows += theirs.flows;
            mine.failed += theirs.failed;
            mine.forgotten += theirs.forgotten;
        }
        for (mine, theirs) in self.tolls.iter_mut().zip(other.tolls) {
            *mine += theirs;
        }
        self.forgotten += other.forgotten;
        self.failed += other.failed;
        self.unopened += other.unopened;
        self.detection.extend(other.detection);
        for (mine, theirs) in self.packets.iter_mut().zip(other.packets) {
            *mine += theirs;
        }
        self.events += other.events;
        self.left += other.left;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
        self
    }

    /// A share of all flows.
    pub fn share(&self, count: u64) -> f64 {
        if self.flows == 0 { 0.0 } else { count as f64 / self.flows as f64 }
    }

    /// The time from the loss of an entry to the first error that so many per cent of the flows that saw one needed at most.
    pub fn detection_percentile(&self, percent: usize) -> Option<Duration> {
        let last = self.detection.len().checked_sub(1)?;
        Some(Duration(self.detection[(last * percent).div_ceil(100)]))
    }

    /// Where this differs from everything that was expected.
    pub fn unmet(&self, expect: &Expect) -> Vec<String> {
        let mut wrong = expect.flows.as_ref().map(|flows| self.compare(flows)).unwrap_or_default();
        if expect.client.is_some() || expect.server.is_some() || expect.forgotten.is_some() {
            wrong.push("one flow's sides are expected, but there are many flows: expect shares in 'flows'".to_owned());
        }
        wrong
    }

    /// Where the shares differ from what was expected.
    pub fn compare(&self, expect: &FlowsExpect) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |what: &str, count: u64, least: Option<Share>, most: Option<Share>| {
            let share = self.share(count);
            if let Some(Share(most)) = most.filter(|most| share > most.0) {
                wrong.push(format!("{:.3}% of the flows {what}, at most {:.3}% expected", share * 100.0, most * 100.0));
            }
            if let Some(Share(least)) = least.filter(|least| share < least.0) {
                wrong.push(format!("{:.3}% of the flows {what}, at least {:.3}% expected", share * 100.0, least * 100.0));
            }
        };
        check("failed", self.failed, expect.failed_at_least, expect.failed_at_most);
        check("were forgotten by a box", self.forgotten, expect.forgotten_at_least, expect.forgotten_at_most);
        check("never opened", self.unopened, expect.unopened_at_least, expect.unopened_at_most);
        wrong
    }
}

/// Runs every flow of a scenario in the order of time, because they share tables.
fn together(ready: &Ready, shared: &[Shared], stop: &AtomicBool) -> Tally {
    let mut members = vec![Member::default(); ready.flows() as usize];
    for (number, member) in members.iter_mut().enumerate() {
        ready.draw(number as u64, member);
    }
    let plans: Vec<FlowPlan<'_>> = members.iter().enumerate().map(|(number, member)| ready.plan(number as u64, member)).collect();
    let (outcomes, pressure) = crowd::run_until(&ready.net, shared, &plans, stop);
    let mut tally = Tally::new(ready.hosts.len());
    for (number, (outcome, member)) in outcomes.iter().zip(&members).enumerate() {
        tally.add(number as u64, member.kind, outcome);
    }
    tally.pressure = pressure;
    tally.detection.sort_unstable();
    tally
}

/// Flows that one thread runs before the results are put together.
const CHUNK: u64 = 4096;

/// Runs every flow of a scenario.
pub fn population(ready: &Ready) -> Tally {
    population_until(ready, &NEVER)
}

/// The same, until `stop` becomes true: flows that were not over by then are counted apart.
pub fn population_until(ready: &Ready, stop: &AtomicBool) -> Tally {
    let flows = ready.flows();
    let kinds = ready.hosts.len();
    let shared = ready.shared();
    if !shared.is_empty() {
        return together(ready, &shared, stop);
    }
    let chunks: Vec<u64> = (0..flows.div_ceil(CHUNK)).collect();
    let run = |chunk: u64| {
        let mut tally = Tally::new(kinds);
        let mut world = World::new(&ready.net, Silent).until(stop);
        let mut member = Member::default();
        for number in chunk * CHUNK..((chunk + 1) * CHUNK).min(flows) {
            if stop.load(Ordering::Relaxed) {
                tally.left += 1;
                continue;
            }
            ready.draw(number, &mut member);
            let outcome = world.run(&ready.plan(number, &member));
            tally.add(number, member.kind, &outcome);
        }
        tally
    };
    // The parts keep the order of the flows whatever thread ran them.
    let mut tally = chunks.into_par_iter().map(run).reduce(|| Tally::new(kinds), Tally::absorb);
    tally.detection.sort_unstable();
    tally
}
