//! Findings to bytes: one file a format. Nothing here judges, and nothing here opens a file.

pub mod capacity;
pub mod chart;
pub mod json;
pub mod life;
pub mod plot;
pub mod story;
pub mod study;
pub mod synth;
pub mod text;
pub mod tuple;

use crate::engine::Path;
use crate::engine::pipeline::Run;
use crate::finding::{Finding, Glance, Verdict, judge};
use crate::time::Duration;
use rayon::prelude::*;

/// One replay, judged: what every format is written from.
///
/// A finding with all its words is made when it is written and forgotten afterwards; only a glance at each flow is kept.
#[derive(Debug)]
pub struct Report<'r> {
    /// The path.
    pub path: &'r Path,
    /// What was read.
    pub run: &'r Run,
    /// A glance at each flow, in the order of first packets.
    pub glances: Vec<Glance>,
}

impl<'r> Report<'r> {
    /// Judges every flow of a run.
    pub fn new(path: &'r Path, run: &'r Run) -> Report<'r> {
        let glances = run.flows.par_iter().map(|judged| judge::judge(path, &judged.flow, &judged.run, run.end).glance()).collect();
        Report { path, run, glances }
    }

    /// Everything that is to be said about one flow.
    pub fn finding(&self, index: usize) -> Finding {
        let judged = &self.run.flows[index];
        judge::judge(self.path, &judged.flow, &judged.run, self.run.end)
    }

    /// The findings of a range of flows, made side by side.
    pub fn findings(&self, range: std::ops::Range<usize>) -> Vec<Finding> {
        range.into_par_iter().map(|index| self.finding(index)).collect()
    }

    /// How many flows have each verdict, in the order of [`Verdict::ALL`].
    pub fn counts(&self) -> [usize; 8] {
        Verdict::ALL.map(|verdict| self.count(verdict))
    }

    /// How many flows have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.glances.iter().filter(|g| g.verdict == verdict).count()
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
        let nanos: u128 = self.glances.iter().map(|g| u128::from(g.outlived.0)).sum();
        (nanos / 1_000_000_000) as u64
    }

    /// The flows worth reading, worst first; among equals the largest excess over the timer, then capture order.
    pub fn worst(&self) -> Vec<usize> {
        let mut worth: Vec<usize> = (0..self.glances.len()).filter(|i| self.glances[*i].verdict != Verdict::Survives).collect();
        worth.sort_by_key(|i| (self.glances[*i].verdict, std::cmp::Reverse(self.glances[*i].excess)));
        worth
    }

    /// The surviving flow that came closest to the end of a timer; the first of equals.
    pub fn closest(&self) -> Option<usize> {
        let survivors = self.glances.iter().enumerate().filter(|(_, g)| g.verdict == Verdict::Survives && g.share > 0);
        survivors
            .fold(None, |best: Option<(usize, &Glance)>, next| match best {
                Some(best) if best.1.share >= next.1.share => Some(best),
                _ => Some(next),
            })
            .map(|(index, _)| index)
    }
}

/// Text from the outside with everything that could steer a terminal made visible.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) { '\u{fffd}' } else { c }
        })
        .collect()
}
