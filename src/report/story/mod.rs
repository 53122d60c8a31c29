//! A scenario's run, told: what each side saw, which box forgot it, and whether that was expected.

pub mod json;
pub mod life;
pub mod map;
pub mod pcap;
pub mod text;
pub mod timeline;

use crate::scenario::Scenario;
use crate::scenario::compile::Ready;
use crate::scenario::run::Tally;
use crate::simulate::Outcome;
use crate::simulate::trace::Recorder;

/// What came of a run.
#[derive(Debug)]
pub enum Came {
    /// One flow, and what was seen of it.
    One(Box<Outcome>, Recorder),
    /// A population.
    Many(Box<Tally>),
}

impl Came {
    /// Whether the run was stopped before its end.
    pub fn is_interrupted(&self) -> bool {
        match self {
            Came::One(outcome, _) => outcome.interrupted,
            Came::Many(tally) => tally.left > 0,
        }
    }
}

/// One run of a scenario or of a variant of it.
#[derive(Debug)]
pub struct Story<'s> {
    /// The file.
    pub origin: &'s str,
    /// The variant's name.
    pub variant: Option<&'s str>,
    /// The scenario as it was run.
    pub scenario: &'s Scenario,
    /// The path and the hosts, complete.
    pub ready: &'s Ready,
    /// What came of it.
    pub came: Came,
    /// Where that differs from what was expected; nothing where nothing was expected, or where the
    /// run was stopped.
    pub unmet: Option<Vec<String>>,
}

impl<'s> Story<'s> {
    /// Compares what came with what the scenario expects.
    pub fn new(origin: &'s str, variant: Option<&'s str>, scenario: &'s Scenario, ready: &'s Ready, came: Came) -> Story<'s> {
        // Of what was stopped nobody knows what would have come.
        let unmet = scenario.expect.as_ref().filter(|_| !came.is_interrupted()).map(|expect| match &came {
            Came::One(outcome, _) => expect.unmet(outcome),
            Came::Many(tally) => tally.unmet(expect),
        });
        Story { origin, variant, scenario, ready, came, unmet }
    }

    /// Whether what was expected came, or nothing was expected.
    pub fn is_as_expected(&self) -> bool {
        self.unmet.as_ref().is_none_or(Vec::is_empty)
    }
}
