//! Findings to bytes: one file a format. Nothing here judges, and nothing here opens a file.

pub mod audit;
pub mod capacity;
pub mod chart;
pub mod check;
pub mod explain;
pub mod html;
pub mod infer;
pub mod json;
pub mod life;
pub mod plain;
pub mod plot;
pub mod shrink;
pub mod story;
pub mod study;
pub mod synth;
pub mod text;
pub mod tried;
pub mod tuple;

pub use plain::printable;

use crate::engine::Path;
use crate::engine::pipeline::Run;
use crate::engine::profile::Profile;
use crate::engine::replay::FlowRun;
use crate::engine::replayed::Replayed;
use crate::finding::judge::{self, Judge};
use crate::finding::{Finding, Glance, Verdict};
use crate::time::Duration;
use rayon::prelude::*;
use tried::{Slots, Tried};

/// One replay, judged: what every format is written from.
///
/// A finding with all its words is made when it is written and forgotten afterwards; a glance is kept of the flows alone that
/// did not simply survive.
#[derive(Debug)]
pub struct Report<'r> {
    /// The path.
    pub path: &'r Path,
    /// What was read.
    pub run: &'r Run,
    /// Sums over all flows.
    pub sums: Sums,
    /// The flows worth reading with their verdicts, worst first; among equals the largest excess over the timer, then capture order.
    worst: Vec<(Verdict, usize)>,
    tried: Vec<Tried>,
}

/// Sums over the flows of a replay.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sums {
    counts: [usize; Verdict::ALL.len()],
    /// How long entries outlive closed flows, in nanoseconds, summed over flows and boxes.
    outlived: u128,
    /// Packets that a box kept for other reasons than a timer.
    pub blocked: u64,
    /// Packets that conntrack called INVALID.
    pub invalid: u64,
    /// Packets that were captured a second time, as by a span port: they crossed the boxes once.
    pub copies: u64,
    /// The surviving flow that used up the largest share of a timer, in millionths, and that share; the first of equals.
    closest: Option<(u32, usize)>,
}

/// What a number of neighbouring flows come to.
#[derive(Default)]
struct Part {
    sums: Sums,
    worth: Vec<(Verdict, Duration, usize)>,
    tried: Slots,
}

impl Part {
    fn add(&mut self, index: usize, glance: &Glance) {
        let sums = &mut self.sums;
        sums.counts[glance.verdict as usize] += 1;
        sums.outlived += u128::from(glance.outlived.0);
        sums.blocked += u64::from(glance.blocked);
        sums.invalid += u64::from(glance.invalid);
        sums.copies += u64::from(glance.copies);
        if glance.verdict != Verdict::Survives {
            self.worth.push((glance.verdict, glance.excess, index));
        } else if glance.share > 0 && sums.closest.is_none_or(|(share, _)| glance.share > share) {
            sums.closest = Some((glance.share, index));
        }
    }

    /// The largest share of a timer so far, in millionths.
    fn closest(&self) -> u32 {
        self.sums.closest.map_or(0, |(share, _)| share)
    }

    /// Both together; `next` comes after.
    fn join(mut self, next: Part) -> Part {
        let (mine, its) = (&mut self.sums, next.sums);
        for (count, more) in mine.counts.iter_mut().zip(its.counts) {
            *count += more;
        }
        mine.outlived += its.outlived;
        mine.blocked += its.blocked;
        mine.invalid += its.invalid;
        mine.copies += its.copies;
        if its.closest.is_some_and(|(share, _)| mine.closest.is_none_or(|(known, _)| share > known)) {
            mine.closest = its.closest;
        }
        self.worth.extend(next.worth);
        self.tried.join(next.tried);
        self
    }
}

/// Flows that are looked at in one go.
const CHUNK: usize = 4096;

impl<'r> Report<'r> {
    /// Judges every flow of a run.
    pub fn new(path: &'r Path, run: &'r Run) -> Report<'r> {
        let judge = Judge::of(path, run.end);
        let look = |(mut part, mut scratch): (Part, FlowRun), chunk: usize| {
            for index in run.flows.chunk(chunk, CHUNK) {
                part.tried.add(judge.spans(), run.flows.profile(index));
                let glance = judge.glance_at(&run.flows, index, &mut scratch, part.closest());
                part.add(index, &glance);
            }
            (part, scratch)
        };
        let parts = run.flows.chunks(CHUNK).into_par_iter().fold(|| (Part::default(), Replayed::scratch()), look);
        let Part { sums, mut worth, tried } = parts.map(|(part, _)| part).reduce(Part::default, Part::join);
        worth.sort_unstable_by_key(|(verdict, excess, index)| (*verdict, std::cmp::Reverse(*excess), *index));
        let worst = worth.into_iter().map(|(verdict, _, index)| (verdict, index)).collect();
        Report { path, run, tried: tried.told(judge.spans()), sums, worst }
    }

    /// How many flows there are.
    pub fn flows(&self) -> usize {
        self.run.flows.len()
    }

    /// Asks something of every flow's spells, in their order.
    pub fn each<T: Send>(&self, ask: impl Fn(&Profile) -> T + Sync) -> Vec<T> {
        (0..self.flows()).into_par_iter().map(|index| ask(self.run.flows.profile(index))).collect()
    }

    /// Everything that is to be said about one flow.
    pub fn finding(&self, index: usize) -> Finding {
        let flow = self.run.flows.flow(index);
        judge::judge(self.path, self.run.socks(flow), flow, &self.run.flows.run(index), self.run.end)
    }

    /// How many flows have each verdict, in the order of [`Verdict::ALL`].
    pub fn counts(&self) -> [usize; 8] {
        Verdict::ALL.map(|verdict| self.count(verdict))
    }

    /// How many flows have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.sums.counts[verdict as usize]
    }

    /// Whether anything was left out of the analysis.
    pub fn is_incomplete(&self) -> bool {
        self.run.is_incomplete()
    }

    /// The time from the first to the last packet.
    pub fn span(&self) -> Duration {
        self.run.end.since(self.run.begin)
    }

    /// How long entries outlive closed flows, summed over flows and boxes.
    pub fn outlived_secs(&self) -> u64 {
        (self.sums.outlived / 1_000_000_000) as u64
    }

    /// The flows worth reading with their verdicts, worst first; among equals the largest excess over the timer, then capture order.
    pub fn worst(&self) -> &[(Verdict, usize)] {
        &self.worst
    }

    /// The timers that flows had to wait under, by box and timer.
    pub fn tried(&self) -> &[Tried] {
        &self.tried
    }

    /// The surviving flow that came closest to the end of a timer; the first of equals.
    pub fn closest(&self) -> Option<usize> {
        self.sums.closest.map(|(_, index)| index)
    }
}
