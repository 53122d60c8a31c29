//! A scenario run whole for each combination of a sweep: what really happens, also after the first cut.
//!
//! Costs a run of every flow for each combination; the hosts react to what the boxes did, so nothing is predicted.

use crate::policy::Axis;
use crate::scenario::compile::Ready;
use crate::scenario::run::{Tally, population_until};
use std::sync::atomic::AtomicBool;

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
    /// Combinations that were not run, because somebody stopped it; they are the last ones.
    pub left: usize,
}

impl Closed {
    /// Runs each combination; `done` is told after each. When `stop` becomes true, those that were run to their end are kept.
    pub fn run(axes: Vec<Axis>, grid: Vec<Vec<usize>>, ready: &[Ready], mut done: impl FnMut(), stop: &AtomicBool) -> Closed {
        let all = grid.len();
        let mut cases = Vec::with_capacity(grid.len());
        for (combination, ready) in grid.into_iter().zip(ready) {
            let tally = population_until(ready, stop);
            if tally.left > 0 {
                break;
            }
            cases.push(Case { combination, tally });
            done();
        }
        let left = all - cases.len();
        Closed { axes, cases, left }
    }

    /// The value of a case on an axis.
    pub fn value(&self, case: &Case, axis: usize) -> &str {
        self.axes[axis].values.get(case.combination[axis]).map_or("", String::as_str)
    }
}
