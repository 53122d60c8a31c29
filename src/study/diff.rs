//! Two policies beside each other: which flows are newly cut, which are saved, and whose ends feel it otherwise.

use super::Study;
use crate::engine::many::Many;
use crate::engine::studied::Scratch;
use crate::finding::symptom::Feeling;
use crate::finding::{Finding, Verdict};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// How a flow's fate differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// It is cut, and was not.
    NewlyCut,
    /// It is not cut any more.
    NewlySaved,
    /// It is cut as before, at another packet, by another timer, or with other consequences.
    CutOtherwise,
    /// Neither cuts it, and the verdicts differ.
    OtherVerdict,
}

impl Change {
    /// Every change, worst first.
    pub const ALL: [Change; 4] = [Change::NewlyCut, Change::NewlySaved, Change::CutOtherwise, Change::OtherVerdict];

    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Change::NewlyCut => "newly cut",
            Change::NewlySaved => "newly saved",
            Change::CutOtherwise => "cut otherwise",
            Change::OtherVerdict => "other verdict",
        }
    }
}

/// One flow's verdict under a policy, as far as a difference goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Fate {
    verdict: Verdict,
    feelings: Option<[Feeling; 2]>,
    victim: Option<u32>,
    by: Option<(u8, &'static str)>,
}

/// A flow that the two policies treat differently.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The flow, by its place in the run.
    pub flow: usize,
    /// How.
    pub change: Change,
}

/// What differs.
#[derive(Clone, Debug)]
pub struct Diff {
    /// Flows by their verdicts under the old and under the new policy.
    pub verdicts: BTreeMap<(Verdict, Verdict), u64>,
    /// The flows that are treated differently, worst change first, then in the order of the capture.
    pub differences: Vec<Difference>,
}

impl Diff {
    /// How many flows differ in a way.
    pub fn count(&self, change: Change) -> usize {
        self.differences.iter().filter(|d| d.change == change).count()
    }
}

/// A change of two fates; none where nothing differs.
fn change(old: &Fate, new: &Fate) -> Option<Change> {
    match (old.verdict == Verdict::Cut, new.verdict == Verdict::Cut) {
        (false, true) => Some(Change::NewlyCut),
        (true, false) => Some(Change::NewlySaved),
        (true, true) => (old != new).then_some(Change::CutOtherwise),
        (false, false) => (old.verdict != new.verdict).then_some(Change::OtherVerdict),
    }
}

impl Study<'_, '_> {
    /// The first two policies beside each other.
    pub fn diff(&self) -> Diff {
        let fates: Vec<[Fate; 2]> =
            (0..self.run.flows.len()).into_par_iter().map_init(Scratch::default, |scratch, flow| self.fates(flow, scratch)).collect();
        let mut diff = Diff { verdicts: BTreeMap::new(), differences: Vec::new() };
        for (flow, [old, new]) in fates.iter().enumerate() {
            *diff.verdicts.entry((old.verdict, new.verdict)).or_default() += 1;
            if let Some(change) = change(old, new) {
                diff.differences.push(Difference { flow, change });
            }
        }
        diff.differences.sort_by_key(|d| (d.change, d.flow));
        diff
    }

    fn fates(&self, flow: usize, scratch: &mut Scratch) -> [Fate; 2] {
        let unknown = Fate { verdict: Verdict::Survives, feelings: None, victim: None, by: None };
        let mut fates = [unknown.clone(), unknown];
        self.for_each_verdict(flow, scratch, |group| {
            let fate = Fate {
                verdict: group.brief.verdict,
                feelings: group.brief.felt.as_ref().map(|[client, server]| [client.feeling, server.feeling]),
                victim: group.cut.map(|(late, _)| late.frame),
                by: group.cut.map(|(late, _)| (late.hop, late.lapse.state)),
            };
            for policy in group.policies() {
                if let Some(slot) = fates.get_mut(policy) {
                    *slot = fate.clone();
                }
            }
        });
        fates
    }

    /// Everything that is to be said about a flow under one policy.
    pub fn finding(&self, flow: usize, policy: usize) -> Option<Finding> {
        let (class, member, place) = place_of(self.many, policy)?;
        let mut scratch = Scratch::default();
        let part = self.run.flows.parts(flow, place, class, &mut scratch).iter().find(|part| part.members.contains(member))?;
        let (flow, run) = (self.run.flows.flow(flow), class.run_of(part, member));
        Some(crate::finding::judge::judge(class.path(member), self.run.socks(flow), flow, &run, self.run.end))
    }
}

/// A policy's class, its place in it, and the place of the class.
fn place_of<'m, 'p>(many: &'m Many<'p>, policy: usize) -> Option<(&'m crate::engine::many::Class<'p>, u32, usize)> {
    many.classes.iter().enumerate().find_map(|(place, class)| {
        let member = class.members.iter().position(|index| *index == policy)?;
        Some((class, member as u32, place))
    })
}
