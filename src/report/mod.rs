//! Findings to bytes: one file a format. Nothing here judges, and nothing here opens a file.

pub mod json;
pub mod text;
pub mod tuple;

use crate::engine::Path;
use crate::engine::pipeline::Run;
use crate::finding::{Finding, Verdict};
use crate::time::Duration;

/// One replay, judged: what every format is written from.
#[derive(Debug)]
pub struct Report<'r> {
    /// The path.
    pub path: &'r Path,
    /// What was read.
    pub run: &'r Run,
    /// A finding for each flow, in the order of first packets.
    pub findings: &'r [Finding],
}

impl Report<'_> {
    /// How many flows have each verdict, in the order of [`Verdict::ALL`].
    pub fn counts(&self) -> [usize; 8] {
        Verdict::ALL.map(|verdict| self.findings.iter().filter(|f| f.verdict == verdict).count())
    }

    /// How many flows have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|f| f.verdict == verdict).count()
    }

    /// Records that may have held segments but could not be read.
    pub fn left_out(&self) -> u64 {
        self.run.counters.seen().filter(|(kind, _)| kind.is_left_out()).map(|(_, count)| count).sum()
    }

    /// Whether anything was left out of the analysis.
    pub fn is_incomplete(&self) -> bool {
        self.left_out() > 0 || !self.run.damages.is_empty() || self.run.interrupted
    }

    /// The time from the first to the last packet.
    pub fn span(&self) -> Duration {
        self.run.end.since(self.run.begin)
    }

    /// The findings worth reading, worst first; among equals the largest excess over the timer, then capture order.
    pub fn worst(&self) -> Vec<&Finding> {
        let mut worth: Vec<&Finding> = self.findings.iter().filter(|f| f.verdict != Verdict::Survives).collect();
        let excess = |f: &Finding| f.decisive.as_ref().map_or(Duration::ZERO, crate::finding::Decisive::excess);
        worth.sort_by_key(|f| (f.verdict, std::cmp::Reverse(excess(f))));
        worth
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
