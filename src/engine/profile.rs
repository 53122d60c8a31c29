//! The longest idle spell that each timer of each box had to bear: from it follow the exact break-points.
//!
//! Knows no boxes; it keeps maxima.

use super::timers::TimerId;
use crate::flow::GapEvidence;
use crate::model::Clause;
use crate::time::Duration;

/// The longest spell under one timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spell {
    /// How long nothing renewed the timer.
    pub idle: Duration,
    /// What the timer was set to.
    pub timeout: Duration,
    /// The frame that set the timer.
    pub before: u32,
    /// The frame that found it.
    pub after: u32,
    /// The place of that frame's segment among the flow's.
    pub ordinal: u32,
    /// What is known about the silence.
    pub evidence: GapEvidence,
}

/// One timer's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The timer.
    pub timer: TimerId,
    /// The clause that it came to.
    pub clause: Clause,
    /// The longest spell that is not known to be a hole.
    pub longest: Spell,
    /// The one before it, for the case that a later segment shows the longest to be a hole.
    prior: Option<Spell>,
}

/// The rows of one box and one flow, in order of first occurrence.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    rows: Vec<Row>,
}

impl Profile {
    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Records one spell; holes prove nothing and are left out.
    pub fn note(&mut self, timer: TimerId, clause: Clause, spell: Spell) {
        if spell.evidence == GapEvidence::Hole {
            return;
        }
        match self.rows.iter_mut().find(|r| r.timer == timer) {
            None => {
                // Most flows have two or three rows at a box: no room is kept for more.
                self.rows.reserve_exact(1);
                self.rows.push(Row { timer, clause, longest: spell, prior: None });
            }
            Some(row) if spell.idle > row.longest.idle => {
                row.prior = Some(row.longest);
                row.longest = spell;
            }
            Some(_) => {}
        }
    }

    /// A later segment changed what is known about the silence before a segment.
    pub fn revise(&mut self, ordinal: u32, evidence: GapEvidence) {
        for row in &mut self.rows {
            if row.longest.ordinal == ordinal {
                if evidence == GapEvidence::Hole {
                    match row.prior.take() {
                        Some(prior) => row.longest = prior,
                        None => row.longest.idle = Duration::ZERO,
                    }
                } else {
                    row.longest.evidence = evidence;
                }
            }
        }
    }
}
