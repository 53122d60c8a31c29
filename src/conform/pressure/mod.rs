//! Tables under pressure: what a flood did to a real table beside what it does to the model's, run many times.
//!
//! Which entry goes depends on a keyed hash and on random numbers, so a model answers with probabilities: what must be so is
//! compared exactly, what chance decides must lie within what it allows (`chance`).

mod chance;
mod conntrack;
mod drop_entry;
mod drop_packet;

use super::{Disagreement, Result};
use crate::time::{Duration, Instant};
use chance::{ALPHA, CONFIDENCE, Spread, unevenness};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// Numbers by name, as a recording has them.
type Counts = BTreeMap<String, u64>;

/// The first line of a recording.
#[derive(Deserialize)]
struct Head {
    t: f64,
    kind: String,
    kernel: String,
    /// `nf_conntrack_max`.
    max: Option<u64>,
    /// `nf_conntrack_buckets`.
    buckets: Option<u64>,
    /// Ticks a second, if noted.
    hz: Option<u32>,
    /// Entries of each class.
    n: Option<u64>,
    /// The mode of the defence.
    mode: Option<Mode>,
    classes: Option<Vec<String>>,
    am_droprate: Option<u32>,
    /// What the table was to be filled with; what it was filled with counts.
    #[serde(default, rename = "mix")]
    _mix: Option<IgnoredAny>,
}

/// Recordings have it as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mode {
    Number(u8),
    Text(String),
}

impl Head {
    fn mode(&self) -> std::result::Result<u8, String> {
        let mode = match &self.mode {
            Some(Mode::Number(mode)) => Some(*mode),
            Some(Mode::Text(text)) => text.parse().ok(),
            None => return Err("line 1: there is no 'mode'".to_owned()),
        };
        mode.filter(|mode| *mode <= 3).ok_or_else(|| "line 1: 'mode' must be 0, 1, 2 or 3".to_owned())
    }
}

/// Any other line.
#[derive(Deserialize)]
struct Line {
    t: f64,
    /// The table's states once it was filled.
    filled: Option<Counts>,
    /// Which SYN of the flood.
    syn: Option<u64>,
    /// Whether it was forwarded.
    passed: Option<u8>,
    /// The table's states after it.
    states: Option<Counts>,
    /// The table's counters.
    stat: Option<Counts>,
    /// Entries of each class that are still there.
    alive: Option<Counts>,
}

/// A line and where it stands.
struct Numbered {
    number: usize,
    at: Instant,
    line: Line,
}

/// Larger recordings than any that would be made.
const SIZE_MAX: u64 = 100_000;
/// Most buckets of a table.
const BUCKETS_MAX: u64 = 1 << 20;
/// Most steps of one run, of which there are hundreds: a few lines must not keep a machine busy for hours.
const WORK_MAX: u64 = 500_000;
/// No counter comes to more.
const COUNT_MAX: u64 = 1 << 52;

/// Runs of a model: as many as take about a second, within reason. `work` is how many steps one takes.
fn runs(work: u64) -> std::result::Result<u64, String> {
    if work > WORK_MAX {
        return Err(format!("so many entries for so long a time take {work} steps in each run of the model; at most {WORK_MAX} are taken"));
    }
    Ok((30_000_000 / (work + 1)).clamp(200, 2000))
}

/// Compares a recording of any kind of pressure.
///
/// # Errors
/// What cannot be read, with its line.
pub(super) fn compare(name: &str, text: &str) -> std::result::Result<Result, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, first) = lines.next().ok_or("empty")?;
    let head: Head = serde_json::from_str(first).map_err(|error| format!("line 1, column {}: {error}", error.column()))?;
    let mut last = instant(head.t, 1)?;
    let mut rest = Vec::new();
    for (index, line) in lines {
        let number = index + 1;
        let line: Line = serde_json::from_str(line).map_err(|error| format!("line {number}, column {}: {error}", error.column()))?;
        let at = instant(line.t, number)?;
        if at < last {
            return Err(format!("line {number}: 't' goes back"));
        }
        last = at;
        rest.push(Numbered { number, at, line });
    }
    match head.kind.as_str() {
        "pressure-conntrack" => conntrack::compare(name, &head, &rest),
        "pressure-drop_entry" => drop_entry::compare(name, &head, &rest),
        "pressure-drop_packet" => drop_packet::compare(name, &head, &rest),
        other => Err(format!("line 1: kind '{other}' is not pressure-conntrack, pressure-drop_entry or pressure-drop_packet")),
    }
}

fn instant(seconds: f64, line: usize) -> std::result::Result<Instant, String> {
    if seconds.is_finite() && (0.0..1e9).contains(&seconds) {
        return Ok(Instant::ZERO + Duration::from_secs_f64(seconds));
    }
    Err(format!("line {line}: 't' is not a time in seconds"))
}

/// What a number of the recording counts, and when.
struct Number {
    /// The line that has it.
    line: usize,
    what: String,
    recorded: f64,
}

/// Several numbers of which the unevenness counts: a part of the list.
type Group = std::ops::Range<usize>;

/// One run of the model: the same numbers in the same order, and whether chance had a hand in each.
type Run = Vec<(f64, bool)>;

/// Compares the numbers of a recording with those of many runs of the model.
fn judge(result: &mut Result, numbers: &[Number], groups: &[Group], runs: &[Run]) {
    let mut spreads = vec![Spread::NONE; numbers.len()];
    for run in runs {
        for (spread, (value, chance)) in spreads.iter_mut().zip(run) {
            spread.add(*value, *chance);
        }
    }
    let total = numbers.len() + groups.len();
    let alpha = ALPHA / total as f64;
    let allowed = |low: f64, high: f64, mean: f64| {
        if low >= high {
            return format!("{low:.0}, in each of {} runs", runs.len());
        }
        let (low, high) = (low.ceil().max(0.0), high.floor());
        format!("{low:.0} to {high:.0}, {mean:.1} on average ({} runs; {CONFIDENCE} for all {total} numbers together)", runs.len())
    };
    for (number, spread) in numbers.iter().zip(&spreads) {
        result.steps += 1;
        let (low, high) = spread.interval(alpha);
        if number.recorded < low || number.recorded > high {
            result.disagree(|| told(number.line, &number.what, &format!("{:.0}", number.recorded), &allowed(low, high, spread.mean())));
        }
    }
    for group in groups {
        let parts = &spreads[group.clone()];
        // Of numbers that hardly vary the sum of squares is not nearly normal, and says nothing.
        if parts.iter().map(Spread::variance).sum::<f64>() < parts.len() as f64 {
            continue;
        }
        result.steps += 1;
        let of = |values: &mut dyn Iterator<Item = f64>| unevenness(values.zip(parts));
        let mut spread = Spread::NONE;
        for run in runs {
            spread.add(of(&mut run[group.clone()].iter().map(|(value, _)| *value)), true);
        }
        let recorded = of(&mut numbers[group.clone()].iter().map(|number| number.recorded));
        let (low, high) = spread.normal_interval(alpha);
        if recorded < low || recorded > high {
            let what = format!("how unevenly '{}' and its like are spread", numbers[group.start].what);
            let got = format!("{low:.2} to {high:.2} ({} runs; {CONFIDENCE} for all {total} numbers together)", runs.len());
            result.disagree(|| told(numbers[group.start].line, &what, &format!("{recorded:.2}"), &got));
        }
    }
}

/// A number that must be so whatever chance does.
fn exactly(result: &mut Result, line: usize, what: &str, recorded: i64, model: i64) {
    result.steps += 1;
    if recorded != model {
        result.disagree(|| told(line, what, &recorded.to_string(), &model.to_string()));
    }
}

fn told(line: usize, what: &str, expected: &str, got: &str) -> Disagreement {
    Disagreement {
        step: line,
        injected: what.to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
        dialogue: Vec::new(),
        recording: None,
    }
}
