//! What few flows have beside the words in which they rest: that they were cut, and whatever else is unusual.
//!
//! It keeps what a run knows and decides nothing.

use super::replay::{Doubt, Fate, FlowRun, HopRun, Late, revise};
use crate::flow::GapEvidence;
use crate::net::Direction;
use crate::time::Instant;

/// What few flows have.
#[derive(Clone, Debug)]
pub(super) enum Rare {
    /// It has been cut, and nothing else is unusual about it.
    Cut(Box<(Late, Fate)>),
    More(Box<More>),
}

#[derive(Clone, Debug)]
pub(super) struct More {
    cut: Option<Box<(Late, Fate)>>,
    repaired: Option<Box<Late>>,
    doubt: Option<Box<Doubt>>,
    hole: Option<Box<Late>>,
    reset: Option<(Direction, Instant)>,
    repairs: u32,
    blocked: u32,
    invalid: u32,
    hops: Option<Box<[HopRun]>>,
}

impl FlowRun {
    /// Nothing unusual is known of it any more.
    #[inline]
    pub(super) fn be_usual(&mut self) {
        (self.cut, self.repaired, self.doubt, self.hole, self.reset) = (None, None, None, None, None);
        (self.repairs, self.blocked, self.invalid) = (0, 0, 0);
    }
}

impl Rare {
    /// Takes from a run what is unusual about it, if anything is; `hops` are its boxes' states where they do not rest in words.
    #[inline]
    pub(super) fn of(run: &mut FlowRun, hops: Option<Box<[HopRun]>>) -> Option<Rare> {
        let lates = run.repaired.is_some() || run.doubt.is_some() || run.hole.is_some();
        if lates || run.reset.is_some() || run.repairs | run.blocked | run.invalid != 0 || hops.is_some() {
            return Some(Rare::more(run, hops));
        }
        run.cut.take().map(Rare::Cut)
    }

    #[cold]
    fn more(run: &mut FlowRun, hops: Option<Box<[HopRun]>>) -> Rare {
        Rare::More(Box::new(More {
            cut: run.cut.take(),
            repaired: run.repaired.take(),
            doubt: run.doubt.take(),
            hole: run.hole.take(),
            reset: run.reset.take(),
            repairs: std::mem::take(&mut run.repairs),
            blocked: std::mem::take(&mut run.blocked),
            invalid: std::mem::take(&mut run.invalid),
            hops,
        }))
    }

    /// Gives it to a run that has nothing of the kind, its boxes' states too where they are there.
    pub(super) fn give(self, run: &mut FlowRun) {
        match self {
            Rare::Cut(cut) => run.cut = Some(cut),
            Rare::More(more) => {
                let More { cut, repaired, doubt, hole, reset, repairs, blocked, invalid, hops } = *more;
                (run.cut, run.repaired, run.doubt, run.hole, run.reset) = (cut, repaired, doubt, hole, reset);
                (run.repairs, run.blocked, run.invalid) = (repairs, blocked, invalid);
                if let Some(hops) = hops {
                    run.hops = hops;
                }
            }
        }
    }

    /// What is now known of the silence before the segment of a place among the flow's segments.
    pub(super) fn revise(&mut self, ordinal: u32, evidence: GapEvidence) {
        match self {
            Rare::Cut(cut) if cut.0.ordinal == ordinal => cut.0.evidence = evidence,
            Rare::Cut(_) => {}
            Rare::More(more) => {
                let More { cut, repaired, hole, doubt, .. } = &mut **more;
                revise((cut, repaired, hole, doubt), ordinal, evidence);
            }
        }
    }
}
