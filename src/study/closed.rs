//! A scenario run whole for each combination of a sweep: what really happens, also after the first cut.
//!
//! Costs a run of every flow for each combination; the hosts react to what the boxes did, so nothing is predicted.

use crate::policy::Axis;
use crate::scenario::compile::Ready;
use crate::scenario::run::{Tally, population};

/// One combination, run.
#[derive(Clone, Debug)]
pub struct Case {
    /// The place of its value on each axis.
    pub combination: Vec<usize>,
    /// What became of the flows.
    pub tally: Tally,
}

/// All combinations, run.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The axes.
    pub axes: Vec<Axis>,
    /// The combinations, the last axis fastest.
    pub cases: Vec<Case>,
}

impl Closed {
    /// Runs each combination; `done` is told after each.
    pub fn run(axes: Vec<Axis>, grid: Vec<Vec<usize>>, ready: &[Ready], mut done: impl FnMut()) -> Closed {
        let mut cases = Vec::with_capacity(grid.len());
        for (combination, ready) in grid.into_iter().zip(ready) {
            cases.push(Case { combination, tally: population(ready) });
            done();
        }
        Closed { axes, cases }
    }

    /// The value of a case on an axis.
    pub fn value(&self, case: &Case, axis: usize) -> &str {
        self.axes[axis].values.get(case.combination[axis]).map_or("", String::as_str)
    }
}
