//! What each policy does to the flows, counted: verdicts, what the ends feel, and how long they take to learn of it.

use super::Study;
use crate::engine::members::Members;
use crate::engine::studied::Scratch;
use crate::finding::Verdict;
use crate::finding::judge::Brief;
use crate::finding::symptom::Feeling;
use crate::time::{Duration, Instant};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The flow that a policy cuts first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FirstCut {
    /// When its first victim came.
    pub at: Instant,
    /// The flow, by its place in the run.
    pub flow: usize,
}

/// What one policy does to the flows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Flows by verdict, in the order of [`Verdict::ALL`].
    pub verdicts: [u64; 8],
    /// Cut flows by what their client and their server feel.
    pub symptoms: BTreeMap<[Feeling; 2], u64>,
    /// Cut flows of which an end learns by itself, and how long the one that is first takes, added up.
    pub detected: u64,
    detection_micros: u64,
    /// The longest that it takes.
    pub detection_max: Duration,
    /// Packets that the ends of cut flows send in vain until then.
    pub packets_in_vain: u64,
    /// The flow that is cut first.
    pub first_cut: Option<FirstCut>,
}

impl Tally {
    /// How many flows have a verdict.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.verdicts[verdict as usize]
    }

    /// How many flows there are.
    pub fn flows(&self) -> u64 {
        self.verdicts.iter().sum()
    }

    /// How long it takes on average until an end of a cut flow learns of it, where one does; whole microseconds.
    pub fn detection_mean(&self) -> Option<Duration> {
        (self.detected > 0).then(|| Duration(self.detection_micros / self.detected * 1000))
    }
}

/// How many kinds of feelings there are.
const FEELINGS: usize = Feeling::ALL.len();
const SYMPTOMS: usize = 8;
const DETECTED: usize = SYMPTOMS + FEELINGS * FEELINGS;
const MICROS: usize = DETECTED + 1;
const PACKETS: usize = MICROS + 1;
const COLUMNS: usize = PACKETS + 1;

/// Sums for the members of a class. Groups of policies are nearly always unbroken ranges, so a number is added where a range
/// begins and taken away where it ends, and the members' own sums come out when all is added up.
struct Sums {
    /// One more than members.
    steps: Vec<[i64; COLUMNS]>,
    first_cut: Vec<Option<FirstCut>>,
    detection_max: Vec<Duration>,
}

impl Sums {
    fn new(members: usize) -> Sums {
        Sums { steps: vec![[0; COLUMNS]; members + 1], first_cut: vec![None; members], detection_max: vec![Duration::ZERO; members] }
    }

    fn add(&mut self, members: &Members, brief: &Brief, cut: Option<FirstCut>) {
        let mut columns = [(0, 0); 5];
        columns[0] = (brief.verdict as usize, 1);
        let mut after = None;
        if let Some([client, server]) = &brief.felt {
            after = [client, server].into_iter().filter(|s| s.feeling != Feeling::Nothing).filter_map(|s| s.after).min();
            columns[1] = (SYMPTOMS + client.feeling as usize * FEELINGS + server.feeling as usize, 1);
            columns[2] = (PACKETS, i64::from(client.packets) + i64::from(server.packets));
            columns[3] = (DETECTED, i64::from(after.is_some()));
            columns[4] = (MICROS, after.map_or(0, |after| (after.0 / 1000) as i64));
        }
        for range in members.ranges() {
            for (column, amount) in columns {
                self.steps[range.start as usize][column] += amount;
                self.steps[range.end as usize][column] -= amount;
            }
            let members = range.start as usize..range.end as usize;
            if let Some(after) = after {
                self.detection_max[members.clone()].iter_mut().for_each(|longest| *longest = (*longest).max(after));
            }
            if brief.verdict == Verdict::Cut && cut.is_some() {
                self.first_cut[members].iter_mut().filter(|first| first.is_none() || **first > cut).for_each(|first| *first = cut);
            }
        }
    }

    fn absorb(mut self, other: &Sums) -> Sums {
        for (mine, theirs) in self.steps.iter_mut().zip(&other.steps) {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
        for (mine, theirs) in self.first_cut.iter_mut().zip(&other.first_cut) {
            *mine = [*mine, *theirs].into_iter().flatten().min();
        }
        for (mine, theirs) in self.detection_max.iter_mut().zip(&other.detection_max) {
            *mine = (*mine).max(*theirs);
        }
        self
    }

    fn tallies(&self) -> Vec<Tally> {
        let mut sum = [0_i64; COLUMNS];
        let mut tallies = Vec::with_capacity(self.first_cut.len());
        for (member, (first_cut, detection_max)) in self.first_cut.iter().zip(&self.detection_max).enumerate() {
            sum.iter_mut().zip(&self.steps[member]).for_each(|(sum, step)| *sum += step);
            let number = |column: usize| sum[column].unsigned_abs();
            let mut symptoms = BTreeMap::new();
            for (at, client) in Feeling::ALL.into_iter().enumerate() {
                for (other, server) in Feeling::ALL.into_iter().enumerate() {
                    let count = number(SYMPTOMS + at * FEELINGS + other);
                    if count > 0 {
                        symptoms.insert([client, server], count);
                    }
                }
            }
            tallies.push(Tally {
                verdicts: std::array::from_fn(number),
                symptoms,
                detected: number(DETECTED),
                detection_micros: number(MICROS),
                detection_max: *detection_max,
                packets_in_vain: number(PACKETS),
                first_cut: *first_cut,
            });
        }
        tallies
    }
}

/// Flows that one thread counts before the results are put together.
const CHUNK: usize = 4096;

impl Study<'_, '_> {
    /// The tally of each policy.
    pub fn tallies(&self) -> Vec<Tally> {
        let empty = || -> Vec<Sums> { self.many.classes.iter().map(|class| Sums::new(class.members.len())).collect() };
        let flows = &self.run.flows;
        let chunk = |number: usize| {
            let (mut sums, mut scratch) = (empty(), Scratch::default());
            for flow in flows.chunk(number, CHUNK) {
                self.for_each_verdict(flow, &mut scratch, |group| {
                    let cut = group.cut.map(|(late, _)| FirstCut { at: late.at, flow });
                    sums[group.class_index].add(&group.members, &group.brief, cut);
                });
            }
            sums
        };
        let join = |mine: Vec<Sums>, theirs: Vec<Sums>| mine.into_iter().zip(&theirs).map(|(mine, theirs)| mine.absorb(theirs)).collect();
        let sums: Vec<Sums> = flows.chunks(CHUNK).into_par_iter().map(chunk).reduce(empty, join);
        let policies = self.many.classes.iter().map(|class| class.members.len()).sum();
        let mut tallies = vec![Tally::default(); policies];
        for (class, sums) in self.many.classes.iter().zip(&sums) {
            for (policy, tally) in class.members.iter().zip(sums.tallies()) {
                tallies[*policy] = tally;
            }
        }
        tallies
    }
}
