//! What becomes of a scenario, in words few enough for a map of two settings. It draws nothing.

use super::Came;
use crate::simulate::outcome::{End, Met, Outcome};

/// How the words begin where no box forgot the flow.
pub const ENTRY_LIVES: &str = "the entry lives";

/// What became of a run, in few words: two runs with the same words are of one colour.
pub fn words(came: &Came) -> String {
    match came {
        Came::One(outcome, _) => one(outcome),
        Came::Many(tally) => match tally.share(tally.failed) {
            0.0 => format!("{ENTRY_LIVES}, or its loss hurts nobody"),
            share if share < 0.01 => "less than 1% of the flows failed".to_owned(),
            share if share < 0.1 => "1% to 10% of the flows failed".to_owned(),
            share if share < 0.5 => "10% to 50% of the flows failed".to_owned(),
            _ => "half of the flows or more failed".to_owned(),
        },
    }
}

fn one(outcome: &Outcome) -> String {
    let lost: Vec<Met> = outcome.forgotten.iter().map(|entry| entry.fate).collect();
    let entry = if lost.is_empty() {
        ENTRY_LIVES
    } else if lost.iter().all(|fate| *fate == Met::Repicked) {
        "lost and made anew"
    } else {
        "lost"
    };
    let side = |end: End| match end {
        End::NeverOpened => "never opened".to_owned(),
        End::StillOpen(_) => "connected".to_owned(),
        End::Closed(_) => "closed".to_owned(),
        End::Aborted(_) => "aborted".to_owned(),
        End::Failed(errno, _) => errno.name().to_owned(),
        End::GaveUp(why, _) => format!("gave up ({why})"),
        End::Died(_) => "died".to_owned(),
    };
    format!("{entry}; client {}, server {}", side(outcome.sides[0].end), side(outcome.sides[1].end))
}
