//! What a scenario says should come of it, compared with what came.

use super::span::{Share, Span};
use crate::endpoint::Errno;
use crate::policy::hint::nearest;
use crate::simulate::outcome::{End, Outcome, SideOutcome};
use crate::time::{Duration, Instant};
use schemars::JsonSchema;
use serde::Deserialize;

/// What should come of a scenario. What is not mentioned may be anything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// What the client should feel.
    #[serde(default)]
    pub client: Option<SideExpect>,
    /// What the server should feel.
    #[serde(default)]
    pub server: Option<SideExpect>,
    /// The entries that boxes should lose while the flow lives, in order; an empty list: none.
    #[serde(default)]
    pub forgotten: Option<Vec<ForgottenExpect>>,
    /// Of a population: shares of its flows.
    #[serde(default)]
    pub flows: Option<FlowsExpect>,
}

/// What one side should feel.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SideExpect {
    /// How it ends.
    #[serde(default)]
    pub end: Option<EndExpect>,
    /// The name of its error: ECONNRESET, ETIMEDOUT, EPIPE, ECONNREFUSED, EHOSTUNREACH.
    #[serde(default)]
    pub errno: Option<String>,
    /// Between which times it ends.
    #[serde(default)]
    pub between: Option<[Span; 2]>,
    /// How many bytes its application reads, exactly.
    #[serde(default)]
    pub delivered: Option<u64>,
}

/// How a side can end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndExpect {
    /// The system reports an error.
    Error,
    /// It still believes that it is connected when the run ends.
    StillOpen,
    /// Both directions were closed in order.
    Closed,
    /// It aborted.
    Aborted,
    /// The application gave up by a timer of its own.
    GaveUp,
    /// The connection never opened.
    NeverOpened,
    /// Its host died.
    Died,
}

/// An entry that should be lost.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgottenExpect {
    /// Which box; the first is 1.
    #[serde(rename = "box")]
    pub which: usize,
    /// The entry's state, as the box's tools print it.
    #[serde(default)]
    pub state: Option<String>,
    /// Between which times it ends.
    #[serde(default)]
    pub between: Option<[Span; 2]>,
    /// Whether a packet meets the gap.
    #[serde(default)]
    pub noticed: Option<bool>,
}

/// Shares of a population's flows.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowsExpect {
    /// Flows with an error, or whose application gave up, on either side.
    #[serde(default)]
    pub failed_at_most: Option<Share>,
    /// The same, at least.
    #[serde(default)]
    pub failed_at_least: Option<Share>,
    /// Flows that a box forgot while they lived.
    #[serde(default)]
    pub forgotten_at_most: Option<Share>,
    /// The same, at least.
    #[serde(default)]
    pub forgotten_at_least: Option<Share>,
    /// Flows that never opened.
    #[serde(default)]
    pub unopened_at_most: Option<Share>,
    /// The same, at least.
    #[serde(default)]
    pub unopened_at_least: Option<Share>,
}

/// The kind of an end.
pub const fn kind(end: End) -> EndExpect {
    match end {
        End::NeverOpened => EndExpect::NeverOpened,
        End::StillOpen(_) => EndExpect::StillOpen,
        End::Closed(_) => EndExpect::Closed,
        End::Aborted(_) => EndExpect::Aborted,
        End::Failed(..) => EndExpect::Error,
        End::GaveUp(..) => EndExpect::GaveUp,
        End::Died(_) => EndExpect::Died,
    }
}

/// The word for an end in scenarios and documents.
pub const fn word(end: EndExpect) -> &'static str {
    match end {
        EndExpect::Error => "error",
        EndExpect::StillOpen => "still_open",
        EndExpect::Closed => "closed",
        EndExpect::Aborted => "aborted",
        EndExpect::GaveUp => "gave_up",
        EndExpect::NeverOpened => "never_opened",
        EndExpect::Died => "died",
    }
}

fn span(at: Instant) -> Duration {
    Duration(at.0)
}

fn outside(between: Option<&[Span; 2]>, at: Duration) -> Option<String> {
    let [Span(from), Span(to)] = between?;
    (at < *from || at > *to).then(|| format!("at {at}, not between {from} and {to}"))
}

impl Expect {
    /// Checks the names of errors.
    ///
    /// # Errors
    /// A name that no socket here reports.
    pub fn check(&self) -> Result<(), String> {
        let known = Errno::ALL.map(Errno::name);
        for (who, side) in [("client", &self.client), ("server", &self.server)] {
            let wrong = side.as_ref().and_then(|side| side.errno.as_deref()).filter(|name| !known.contains(name));
            if let Some(errno) = wrong {
                let hint =
                    nearest(errno, known).map_or_else(|| format!("there are {}", known.join(", ")), |n| format!("did you mean {n}?"));
                return Err(format!("expect.{who}.errno: '{errno}' is no error that a socket here reports; {hint}"));
            }
        }
        Ok(())
    }

    /// Where one flow's story differs from everything that was expected.
    pub fn unmet(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = self.compare(outcome);
        if self.flows.is_some() {
            wrong.push("shares of flows are expected, but there is one flow".to_owned());
        }
        wrong
    }

    /// Where one flow's story differs from what was expected; nothing where it does not.
    pub fn compare(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = Vec::new();
        for (who, expect, got) in [("client", &self.client, &outcome.sides[0]), ("server", &self.server, &outcome.sides[1])] {
            if let Some(expect) = expect {
                expect.compare(who, got, &mut wrong);
            }
        }
        if let Some(expected) = &self.forgotten {
            if expected.len() != outcome.forgotten.len() {
                wrong.push(format!("{} entries were lost, not {}", outcome.forgotten.len(), expected.len()));
            }
            for (number, (want, got)) in expected.iter().zip(&outcome.forgotten).enumerate() {
                let name = format!("entry {} that was lost", number + 1);
                if want.which != got.hop + 1 {
                    wrong.push(format!("{name}: of box {}, not {}", got.hop + 1, want.which));
                }
                if let Some(state) = want.state.as_deref().filter(|state| *state != got.state) {
                    wrong.push(format!("{name}: in state {}, not {state}", got.state));
                }
                if let Some(text) = outside(want.between.as_ref(), span(got.at)) {
                    wrong.push(format!("{name}: {text}"));
                }
                if let Some(noticed) = want.noticed.filter(|noticed| *noticed != got.noticed.is_some()) {
                    wrong.push(format!("{name}: {}", if noticed { "no packet met the gap" } else { "a packet met the gap" }));
                }
            }
        }
        wrong
    }
}

impl SideExpect {
    fn compare(&self, who: &str, got: &SideOutcome, wrong: &mut Vec<String>) {
        if let Some(end) = self.end.filter(|end| *end != kind(got.end)) {
            wrong.push(format!("{who}: {}, not {}", word(kind(got.end)), word(end)));
            return;
        }
        if let Some(errno) = &self.errno {
            match got.end {
                End::Failed(found, _) if found.name() == errno => {}
                End::Failed(found, _) => wrong.push(format!("{who}: {}, not {errno}", found.name())),
                other => wrong.push(format!("{who}: {}, not {errno}", word(kind(other)))),
            }
        }
        if let Some(text) = got.ended_at().and_then(|at| outside(self.between.as_ref(), span(at))) {
            wrong.push(format!("{who}: {text}"));
        }
        if self.between.is_some() && got.ended_at().is_none() {
            wrong.push(format!("{who}: it has not ended"));
        }
        if let Some(bytes) = self.delivered.filter(|bytes| *bytes != got.delivered) {
            wrong.push(format!("{who}: read {} bytes, not {bytes}", got.delivered));
        }
    }
}
