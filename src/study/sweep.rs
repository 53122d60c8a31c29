//! A sweep: every combination of some axes, with what it cuts and what it keeps in the tables.

use super::Study;
use super::ledger::{Ledger, Occupancy};
use super::tally::Tally;
use crate::finding::Verdict;
use crate::policy::Axis;
use crate::policy::axis::Target;

/// One combination.
#[derive(Clone, Debug)]
pub struct Case {
    /// The place of its value on each axis.
    pub combination: Vec<usize>,
    /// What it does to the flows.
    pub tally: Tally,
    /// How full each box's table is under it.
    pub tables: Vec<Occupancy>,
}

/// All combinations.
#[derive(Debug)]
pub struct Sweep {
    /// The axes.
    pub axes: Vec<Axis>,
    /// The combinations, the last axis fastest.
    pub cases: Vec<Case>,
    /// How many replays it took: one for all combinations that differ in nothing but the lengths of timers.
    pub replays: usize,
    /// Whether flows were followed beyond the first entry that ended before its time.
    pub beyond: bool,
}

impl Sweep {
    /// Answers a study of a grid's policies, in the grid's order.
    pub fn new(study: &Study<'_, '_>, axes: Vec<Axis>, grid: Vec<Vec<usize>>) -> Sweep {
        let tallies = study.tallies();
        let ledgers: Vec<Vec<Ledger>> = study.ledgers();
        let tables = study.occupancies(&ledgers);
        let parts = grid.into_iter().zip(tallies).zip(tables);
        let cases = parts.map(|((combination, tally), tables)| Case { combination, tally, tables }).collect();
        Sweep { axes, cases, replays: study.many.classes.len(), beyond: study.many.beyond }
    }

    /// The value of a case on an axis.
    pub fn value(&self, case: &Case, axis: usize) -> &str {
        self.axes[axis].values.get(case.combination[axis]).map_or("", String::as_str)
    }

    /// Where one axis is varied: the first value from which on no flow is cut; of the hosts' keepalive the last value up to which
    /// none is.
    pub fn safe_from(&self) -> Option<&str> {
        let cuts = |case: &&Case| case.tally.count(Verdict::Cut) > 0;
        match &self.axes[..] {
            [axis] if axis.target == Target::Keepalive => {
                let first = self.cases.iter().position(|case| cuts(&case)).unwrap_or(self.cases.len());
                Some(self.value(self.cases.get(first.checked_sub(1)?)?, 0))
            }
            [_] => {
                let last = self.cases.iter().rposition(|case| cuts(&case));
                let case = self.cases.get(last.map_or(0, |at| at + 1))?;
                Some(self.value(case, 0))
            }
            _ => None,
        }
    }
}
