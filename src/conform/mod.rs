//! The models against real kernels: recordings and vectors in, agreement or the first disagreements out.
//!
//! There is no second model and no list of exceptions in here. What the models decide is compared with what was recorded;
//! what no model can know (the spec of the recordings lists it) is counted as undecidable, with its reason.

pub mod recording;
pub mod steps;
pub mod vectors;

use serde::Serialize;
use std::fmt::Write;

/// How many disagreements of one recording are kept in full.
const KEPT: usize = 5;

/// A step on which model and kernel disagree, told in full.
#[derive(Clone, Debug, Serialize)]
pub struct Disagreement {
    /// Which step, from 1.
    pub step: usize,
    /// What was injected.
    pub injected: String,
    /// What the kernel did.
    pub expected: String,
    /// What the model did.
    pub got: String,
    /// The dialogue up to there, one packet a line.
    pub dialogue: Vec<String>,
}

/// A step that no model can decide, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Undecidable {
    /// Which step, from 1.
    pub step: usize,
    /// The reason, one of those that the recordings' README lists.
    pub reason: &'static str,
}

/// The result for one recording.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Result {
    /// Its name.
    pub name: String,
    /// How many things were compared.
    pub steps: usize,
    /// On how many model and kernel disagree.
    pub disagree: usize,
    /// How many no model can decide.
    pub undecidable: usize,
    /// The first disagreements.
    pub disagreements: Vec<Disagreement>,
    /// The undecidable steps.
    pub undecidables: Vec<Undecidable>,
}

impl Result {
    /// An empty result.
    pub fn new(name: &str) -> Result {
        Result { name: name.to_owned(), ..Result::default() }
    }

    /// Counts a disagreement and keeps it if it is among the first; the text is made only then.
    pub fn disagree(&mut self, tell: impl FnOnce() -> Disagreement) {
        self.disagree += 1;
        if self.disagreements.len() < KEPT {
            self.disagreements.push(tell());
        }
    }

    /// Counts a step that cannot be decided.
    pub fn undecided(&mut self, step: usize, reason: &'static str) {
        self.undecidable += 1;
        self.undecidables.push(Undecidable { step, reason });
    }
}

/// Everything that was compared in one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// One result a recording, in the order given.
    pub results: Vec<Result>,
}

impl Summary {
    /// Steps, disagreements, undecidable steps over all recordings.
    pub fn totals(&self) -> (usize, usize, usize) {
        self.results.iter().fold((0, 0, 0), |(s, d, u), r| (s + r.steps, d + r.disagree, u + r.undecidable))
    }

    /// The closing line: `N steps, M disagree, U undecidable`.
    pub fn closing_line(&self) -> String {
        let (steps, disagree, undecidable) = self.totals();
        format!("{steps} steps, {disagree} disagree, {undecidable} undecidable")
    }

    /// The report for people: a line for each recording, the first disagreements in full, the closing line.
    pub fn text(&self) -> String {
        let width = self.results.iter().map(|r| r.name.len()).max().unwrap_or(0);
        let mut out = String::new();
        for r in &self.results {
            let _ = writeln!(out, "{:width$}  {:>7} steps  {:>5} disagree  {:>5} undecidable", r.name, r.steps, r.disagree, r.undecidable);
        }
        for r in &self.results {
            for d in &r.disagreements {
                let _ = writeln!(out, "\n{} step {}: {}", r.name, d.step, d.injected);
                for line in &d.dialogue {
                    let _ = writeln!(out, "    {line}");
                }
                let _ = writeln!(out, "  expected {}\n  got      {}", d.expected, d.got);
            }
        }
        let _ = writeln!(out, "{}", self.closing_line());
        out
    }
}

/// A recording that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name}: {what}")]
pub struct ReadError {
    /// The recording.
    pub name: String,
    /// What is wrong, where, and what would be right.
    pub what: String,
}

/// Compares one recording, whatever its kind, told by its content: steps (JSON lines), or vectors (one JSON document).
///
/// # Errors
/// A sentence about what could not be read.
pub fn compare(name: &str, text: &str) -> std::result::Result<Result, ReadError> {
    let fail = |what: String| ReadError { name: name.to_owned(), what };
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with("{\"") && first.contains("\"box\"") && first.contains("\"kernel\"") {
        return steps::compare(name, text).map_err(fail);
    }
    if text.trim_start().starts_with('{') {
        let head: vectors::Head = serde_json::from_str(text).map_err(|e| fail(format!("line {}, column {}: {e}", e.line(), e.column())))?;
        return match head.schema.as_str() {
            "flowlapse-conntrack-vectors/1" | "flowlapse-conntrack-tables/1" => vectors::compare(name, text).map_err(fail),
            other => Err(fail(format!(
                "schema '{other}' is not one of flowlapse-conntrack-vectors/1, flowlapse-conntrack-tables/1, flowlapse-ipvs-tables/2"
            ))),
        };
    }
    Err(fail("not a recording: expected JSON lines that begin with a header naming box and kernel, or a document with a schema".to_owned()))
}
