//! The models against real kernels: recordings and vectors in, agreement or the first disagreements out.
//!
//! There is no second model and no list of exceptions in here. What the models decide is compared with what was recorded;
//! what no model can know (the spec of the recordings lists it) is counted as undecidable, with its reason.

mod bench;
mod dialogues;
pub mod generate;
mod ipvs_vectors;
mod packetdrill;
mod pressure;
pub mod recording;
pub mod scenes;
pub mod shrink;
pub mod steps;
pub mod vectors;
mod wheel;

use crate::model::conntrack::dialect::Dialect;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Write;

/// How many disagreements of one recording are kept in full.
const KEPT: usize = 5;

/// A step on which model and kernel disagree, told in full.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// The smallest recording found that shows it, where a kernel was at hand to look for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
}

/// A step that no model can decide, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Undecidable {
    /// Which step, from 1.
    pub step: usize,
    /// The reason, one of those that the recordings' README lists.
    pub reason: Cow<'static, str>,
}

/// The result for one recording.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

    /// Adds what was found in another part of the same thing.
    pub fn absorb(&mut self, other: Result) {
        self.undecidables.extend(other.undecidables.into_iter().map(|u| Undecidable { step: u.step + self.steps, ..u }));
        self.steps += other.steps;
        self.disagree += other.disagree;
        self.undecidable += other.undecidable;
        self.disagreements.extend(other.disagreements);
        self.disagreements.truncate(KEPT);
    }

    /// Counts a step that cannot be decided.
    pub fn undecided(&mut self, step: usize, reason: &'static str) {
        self.undecidable += 1;
        self.undecidables.push(Undecidable { step, reason: Cow::Borrowed(reason) });
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
                if let Some(recording) = &d.recording {
                    let _ = writeln!(out, "  the smallest recording found that shows it:\n{}", recording.trim_end());
                }
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

/// The kinds of recordings, told apart by their content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Packets injected one by one (JSON lines).
    Steps,
    /// Packets and what each release's own tracker made of them (one JSON document).
    ConntrackVectors,
    /// Packets and what each release's own IPVS made of them (one JSON document).
    IpvsVectors,
    /// A host's packets and assertions about its conntrack (a packetdrill script).
    Packetdrill,
    /// How long timers really ran (lines of text).
    Wheel,
    /// Two sockets with a box between them (JSON lines).
    Dialogues,
    /// Tables under pressure (JSON lines).
    Pressure,
}

/// What kind of recording a text is, if it is one.
pub fn recognise(text: &str) -> Option<Kind> {
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with("jiffies ") {
        return Some(Kind::Wheel);
    }
    if !text.trim_start().starts_with('{') {
        return packetdrill::is_script(text).then_some(Kind::Packetdrill);
    }
    // A line that is a whole object tells its kind by its keys; a document that spans lines has a schema.
    if let Ok(head) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(first) {
        let has = |key: &str| head.contains_key(key);
        if has("box") && has("kernel") && has("format") {
            return Some(Kind::Steps);
        }
        if has("observed") && has("script") {
            return Some(Kind::Dialogues);
        }
        if head.get("kind").and_then(serde_json::Value::as_str).is_some_and(|kind| kind.starts_with("pressure-")) {
            return Some(Kind::Pressure);
        }
    }
    match serde_json::from_str::<vectors::Head>(text).ok()?.schema.as_str() {
        "flowlapse-conntrack-vectors/1" | "flowlapse-conntrack-tables/1" => Some(Kind::ConntrackVectors),
        "flowlapse-ipvs-tables/2" => Some(Kind::IpvsVectors),
        _ => None,
    }
}

/// What a text would have to be, for the message that says that it is not.
const RECORDINGS: &str = "not a recording: expected JSON lines that begin with a header naming format, box and kernel, lines that begin \
'jiffies', a packetdrill script, or a document with schema flowlapse-conntrack-vectors/1, flowlapse-conntrack-tables/1 or flowlapse-ipvs-tables/2";

/// Compares one recording, whatever its kind.
///
/// # Errors
/// A sentence about what could not be read.
pub fn compare(name: &str, text: &str) -> std::result::Result<Result, ReadError> {
    compare_as(name, text, Dialect::newest_longterm())
}

/// The same; scripts, which do not say of which kernel they speak, are held to a release's conntrack.
///
/// # Errors
/// A sentence about what could not be read.
pub fn compare_as(name: &str, text: &str, scripts: &'static Dialect) -> std::result::Result<Result, ReadError> {
    match recognise(text) {
        Some(Kind::Steps) => steps::compare(name, text),
        Some(Kind::ConntrackVectors) => vectors::compare(name, text),
        Some(Kind::IpvsVectors) => ipvs_vectors::compare(name, text),
        Some(Kind::Packetdrill) => packetdrill::compare(name, text, scripts),
        Some(Kind::Wheel) => wheel::compare(name, text),
        Some(Kind::Dialogues) => dialogues::compare(name, text),
        Some(Kind::Pressure) => pressure::compare(name, text),
        None => Err(RECORDINGS.to_owned()),
    }
    .map_err(|what| ReadError { name: name.to_owned(), what })
}
