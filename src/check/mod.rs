//! The gate: scenarios, captures and policies, held against what is expected of them and against what was accepted before.
//!
//! The types here are the answer of one run, from which every format is written; a format adds nothing to them and decides nothing.
//! Nothing here prints, and nothing here opens a file.

pub mod baseline;
pub mod capture;
pub mod compare;
pub mod discover;
pub mod fail_on;
pub mod lint;
pub mod policy;
pub mod story;
mod tell;

use crate::finding::Verdict;
use crate::policy::At;
use crate::study::audit::rule::{Rule, Severity};
use crate::time::Duration;

/// What one run of the gate came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Checked {
    /// Everything that was run: first the cases that fail, then those that changed, then the rest; each part by file and variant.
    pub cases: Vec<Case>,
    /// What the policies say of themselves, without traffic: the worst first, then by place.
    pub lint: Vec<Lint>,
    /// What could not be run, by file.
    pub failures: Vec<Failure>,
    /// Cases that were not run because of an interrupt; the failures say so too.
    pub not_run: usize,
    /// The baseline that was compared with.
    pub baseline: Option<Baseline>,
    /// Files under the paths that are no scenario, no capture and no policy.
    pub left_alone: usize,
    /// What makes a run fail, in the words of `--fail-on`.
    pub fail_on: Vec<String>,
    /// The command line that gives the same answer, for a reader who wants to see it.
    pub reproduce: String,
}

/// The baseline of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Baseline {
    /// Its file.
    pub file: String,
    /// Cases that it knows and that are no more: the file, and the variant behind a blank and `#`.
    pub gone: Vec<String>,
}

/// What kind of thing was run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A scenario with one flow.
    Scenario,
    /// A scenario with many flows.
    Population,
    /// A capture through a policy.
    Capture,
}

impl Kind {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Scenario => "scenario",
            Kind::Population => "population",
            Kind::Capture => "capture",
        }
    }
}

/// A scenario, one of its variants, or a capture.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// The file, with slashes, as it was named or found below what was named.
    pub file: String,
    /// The variant of the scenario.
    pub variant: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// What it is about, in a line: a scenario's title, or how much a capture holds.
    pub title: String,
    /// The boxes, from the client on.
    pub boxes: Vec<BoxLine>,
    /// Whether something was expected of it.
    pub has_expectation: bool,
    /// Where something else came than was expected.
    pub unmet: Vec<Unmet>,
    /// The flows with each verdict, in the order of [`Verdict::ALL`]. A scenario's single flow counts as one.
    pub counts: [u64; Verdict::ALL.len()],
    /// The sessions that are not what they should be, or not what they were: the failing first, then the changed, then the rest.
    /// At most [`Case::SESSIONS_MAX`]; what is left out is counted in `counts` and in `more`.
    pub sessions: Vec<Session>,
    /// Sessions worth telling that are not in `sessions`.
    pub more: u64,
    /// Whether something in it makes the run fail.
    pub fails: bool,
    /// Whether it differs from the baseline.
    pub changed: bool,
    /// Whether the baseline does not know it; false without a baseline.
    pub is_new: bool,
    /// What was left out or guessed, in sentences.
    pub remarks: Vec<String>,
}

impl Case {
    /// Sessions that a case keeps for reports.
    pub const SESSIONS_MAX: usize = 1000;

    /// The name of the case: its file, and the variant behind ` # `.
    pub fn name(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{} # {variant}", self.file),
            None => self.file.clone(),
        }
    }

    /// How many flows have a verdict.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.counts[verdict as usize]
    }
}

/// A box of a case's path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoxLine {
    /// How reports call it.
    pub label: String,
    /// The shortest specification that means the same.
    pub spec: String,
    /// The settings that a text gives: name, value, place.
    pub settings: Vec<(String, String, Option<At>)>,
}

/// An expectation that was not met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unmet {
    /// What came, and what was expected, in a sentence.
    pub what: String,
    /// Where the expectation stands.
    pub at: Option<At>,
}

/// How a session differs from the baseline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// Nothing to compare with.
    Unknown,
    /// It is worse than it was, or it is bad and was not known.
    Worse,
    /// As bad as before, by another timer or another box.
    Other,
    /// It is as it was.
    Same,
    /// It is better than it was.
    Better,
}

impl Change {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Change::Unknown => "unknown",
            Change::Worse => "new",
            Change::Other => "changed",
            Change::Same => "known",
            Change::Better => "better",
        }
    }
}

/// A flow that a report names.
#[derive(Clone, PartialEq, Debug)]
pub struct Session {
    /// Who talks to whom: `10.0.1.2:54964 → 10.0.2.2:22`; of a population `flow 17`.
    pub name: String,
    /// How to find it in a capture: `tcp.stream eq 3`.
    pub stream: Option<String>,
    /// Its verdict now.
    pub verdict: Verdict,
    /// Its verdict in the baseline.
    pub was: Option<Verdict>,
    /// How the two compare.
    pub change: Change,
    /// The timer that decided.
    pub timer: Option<Timer>,
    /// How long it was silent, and the frames before and after the silence.
    pub silence: Option<(Duration, Option<(u32, u32)>)>,
    /// Everything in one sentence: the session, what becomes of it, by which timer of which box, after how long a silence.
    pub message: String,
    /// What the client and the server feel, a sentence each.
    pub felt: Vec<String>,
    /// What would keep it: lines to paste, the best first.
    pub cures: Vec<String>,
    /// Whether it makes the run fail.
    pub fails: bool,
}

/// The timer that decided a session's fate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timer {
    /// The box, from 1 at the client.
    pub hop: usize,
    /// How reports call the box.
    pub label: String,
    /// The state, as the box's tools print it.
    pub state: String,
    /// The timer in a word: `established`, `max_retrans`.
    pub timer: String,
    /// The setting, by the name under which it is set; none where nothing can set it.
    pub setting: Option<String>,
    /// Its value.
    pub value: Duration,
    /// Where the value stands; nothing for a default or the command line's.
    pub at: Option<At>,
}

/// What a policy says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lint {
    /// Which rule of the audit.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// The policy: a file, or the case whose path it is.
    pub policy: String,
    /// What was found, in a sentence.
    pub message: String,
    /// The places of the values concerned, the one to change first.
    pub places: Vec<At>,
    /// Lines to paste.
    pub cures: Vec<String>,
    /// Whether the baseline does not have it; true without a baseline, and never of what is only worth knowing.
    pub is_new: bool,
    /// Whether it makes the run fail.
    pub fails: bool,
}

/// A flow that is worth telling, with what a baseline knows it by.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its name in a baseline ([`baseline::Known::fates`]).
    pub key: String,
    /// Whose timer decided.
    pub by: Option<baseline::By>,
    /// Everything for reports.
    pub session: Session,
}

/// A case as it came, before it is held against anything.
#[derive(Clone, Debug)]
pub struct Came {
    /// What it is, without its sessions.
    pub case: Case,
    /// The place among the variants of its file.
    pub order: usize,
    /// How many flows it has.
    pub flows: u64,
    /// The flows that do not survive, the worst first; of a single flow, that one in any case.
    pub told: Vec<Told>,
    /// Whether `told` is only a part of them, so that a baseline counts and does not list.
    pub is_counted: bool,
    /// The flows of the baseline that survive now, by their names there, with all that a report says of them.
    pub recovered: Vec<Told>,
}

/// Something that could not be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The file.
    pub file: String,
    /// The line, where it is known.
    pub at: Option<At>,
    /// What is wrong, and what would be right, in one line.
    pub what: String,
}

impl Checked {
    /// Whether anything is not as it should be, by `--fail-on`.
    pub fn fails(&self) -> bool {
        self.cases.iter().any(|case| case.fails) || self.lint.iter().any(|lint| lint.fails) || self.gone_fails()
    }

    /// Whether cases that are no more make the run fail.
    pub fn gone_fails(&self) -> bool {
        let asked = self.fail_on.iter().any(|word| word == "gone" || word == "changed");
        asked && self.baseline.as_ref().is_some_and(|baseline| !baseline.gone.is_empty())
    }

    /// How many cases fail.
    pub fn failing(&self) -> usize {
        self.cases.iter().filter(|case| case.fails).count()
    }

    /// The sessions that make the run fail, with their cases, in the order of the cases.
    pub fn failing_sessions(&self) -> impl Iterator<Item = (&Case, &Session)> {
        self.cases.iter().flat_map(|case| case.sessions.iter().filter(|session| session.fails).map(move |session| (case, session)))
    }
}
