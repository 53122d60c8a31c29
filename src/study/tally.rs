//! What each policy does to the flows, counted: verdicts, what the ends feel, and how long they take to learn of it.

use super::{Study, for_each_verdict};
use crate::finding::symptom::Feeling;
use crate::finding::{Finding, Verdict};
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
    detection_nanos: u128,
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

    /// How long it takes on average until an end of a cut flow learns of it, where one does.
    pub fn detection_mean(&self) -> Option<Duration> {
        (self.detected > 0).then(|| Duration((self.detection_nanos / u128::from(self.detected)) as u64))
    }

    fn add(&mut self, finding: &Finding, cut: Option<FirstCut>) {
        self.verdicts[finding.verdict as usize] += 1;
        if finding.verdict != Verdict::Cut {
            return;
        }
        if let Some([client, server]) = &finding.symptoms {
            *self.symptoms.entry([client.feeling, server.feeling]).or_default() += 1;
            let after = [client, server].into_iter().filter(|s| s.feeling != Feeling::Nothing).filter_map(|s| s.after).min();
            if let Some(after) = after {
                self.detected += 1;
                self.detection_nanos += u128::from(after.0);
                self.detection_max = self.detection_max.max(after);
            }
            self.packets_in_vain += u64::from(client.packets) + u64::from(server.packets);
        }
        self.first_cut = [self.first_cut, cut].into_iter().flatten().min();
    }

    fn absorb(&mut self, other: &Tally) {
        for (mine, theirs) in self.verdicts.iter_mut().zip(other.verdicts) {
            *mine += theirs;
        }
        for (feelings, count) in &other.symptoms {
            *self.symptoms.entry(*feelings).or_default() += count;
        }
        self.detected += other.detected;
        self.detection_nanos += other.detection_nanos;
        self.detection_max = self.detection_max.max(other.detection_max);
        self.packets_in_vain += other.packets_in_vain;
        self.first_cut = [self.first_cut, other.first_cut].into_iter().flatten().min();
    }
}

/// Tallies of a range of flows: what holds for a whole class is counted once for all.
struct Sums {
    /// For each class.
    common: Vec<Tally>,
    /// For each policy.
    own: Vec<Tally>,
}

impl Sums {
    fn new(classes: usize, policies: usize) -> Sums {
        Sums { common: vec![Tally::default(); classes], own: vec![Tally::default(); policies] }
    }

    fn absorb(mut self, other: &Sums) -> Sums {
        let (mine, theirs) = (self.common.iter_mut().chain(&mut self.own), other.common.iter().chain(&other.own));
        mine.zip(theirs).for_each(|(mine, theirs)| mine.absorb(theirs));
        self
    }
}

/// Flows that one thread counts before the results are put together.
const CHUNK: usize = 2048;

impl Study<'_, '_> {
    /// The tally of each policy.
    pub fn tallies(&self) -> Vec<Tally> {
        let classes = self.many.classes.len();
        let policies = self.many.classes.iter().map(|class| class.members.len()).sum();
        let chunk = |(number, flows): (usize, &[_])| {
            let mut sums = Sums::new(classes, policies);
            for (place, judged) in flows.iter().enumerate() {
                for_each_verdict(self.many, judged, self.run.end, |group| {
                    let victim = group.part.run.cut.as_deref().map(|(late, _)| late.at);
                    let cut = victim.map(|at| FirstCut { at, flow: number * CHUNK + place });
                    if group.members.is_all() {
                        sums.common[group.class_index].add(&group.finding, cut);
                    } else {
                        for policy in group.policies() {
                            sums.own[policy].add(&group.finding, cut);
                        }
                    }
                });
            }
            sums
        };
        let empty = || Sums::new(classes, policies);
        let sums = self.run.flows.par_chunks(CHUNK).enumerate().map(chunk).reduce(empty, |a, b| a.absorb(&b));
        let mut tallies = sums.own;
        for (class, common) in self.many.classes.iter().zip(&sums.common) {
            class.members.iter().for_each(|policy| tallies[*policy].absorb(common));
        }
        tallies
    }
}
