//! How long the flows of a capture were silent: counts by length, filled while somebody else follows the flows.
//!
//! Nothing is kept for a flow or a packet, and sums do not depend on the order of what is summed: the counts are the same for any
//! number of threads. It knows no timers.

use super::kept::Kept;
use super::pipeline::{Job, Keep};
use crate::flow::{Flow, GapEvidence, Observation};
use crate::net::Segment;
use crate::time::{Duration, Instant};
use std::sync::atomic::{AtomicU64, Ordering};

/// The shortest silence that is counted: a tenth of a second. What is shorter ends no timer.
const SHORTEST: u64 = 100_000_000;
/// Twenty lengths to a power of ten, in hundredths, as ISO 3 rounds them (R20): people meet them as 1, 2, 5, 9, 10.
const STEPS: [u64; 20] = [100, 112, 125, 140, 160, 180, 200, 224, 250, 280, 315, 355, 400, 450, 500, 560, 630, 710, 800, 900];
/// Powers of ten from the shortest on; the last ends beyond the longest time that there is.
const DECADES: usize = 12;
const BINS: usize = DECADES * STEPS.len();

/// Silences of one range of lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silence {
    /// The shortest length.
    pub from: Duration,
    /// The length that is too long.
    pub to: Duration,
    /// Silences that sequence numbers prove: nothing was sent.
    pub proven: u64,
    /// Silences of which that is not known.
    pub unknown: u64,
}

/// The silences of all flows by length.
#[derive(Debug)]
pub struct Silences {
    proven: Vec<AtomicU64>,
    unknown: Vec<AtomicU64>,
    holes: AtomicU64,
}

impl Default for Silences {
    fn default() -> Silences {
        Silences::new()
    }
}

/// Where a range of lengths begins, nanoseconds.
fn begin(bin: usize) -> u64 {
    let decade = 10_u64.saturating_pow((bin / STEPS.len()) as u32);
    (SHORTEST / 100).saturating_mul(STEPS[bin % STEPS.len()]).saturating_mul(decade)
}

/// The range that a length belongs to; none for the short ones.
fn bin(length: Duration) -> Option<usize> {
    if length.0 < SHORTEST {
        return None;
    }
    let decade = ((length.0 / SHORTEST).ilog10() as usize).min(DECADES - 1);
    let first = decade * STEPS.len();
    let step = (0..STEPS.len()).rev().find(|step| begin(first + step) <= length.0).unwrap_or(0);
    Some(first + step)
}

impl Silences {
    /// Nothing was counted yet.
    pub fn new() -> Silences {
        let zeros = || (0..BINS).map(|_| AtomicU64::new(0)).collect();
        Silences { proven: zeros(), unknown: zeros(), holes: AtomicU64::new(0) }
    }

    /// Takes what a flow said of a segment.
    fn note(&self, observation: &Observation) {
        if let Some(revision) = observation.revises
            && let Some(bin) = bin(revision.length)
        {
            // The silence was counted as the other of the two.
            if revision.evidence == GapEvidence::Hole {
                self.proven[bin].fetch_sub(1, Ordering::Relaxed);
                self.holes.fetch_add(1, Ordering::Relaxed);
            } else {
                self.holes.fetch_sub(1, Ordering::Relaxed);
                self.proven[bin].fetch_add(1, Ordering::Relaxed);
            }
        }
        let Some(bin) = bin(observation.gap) else { return };
        let count = match observation.evidence {
            GapEvidence::ProvenIdle => &self.proven[bin],
            GapEvidence::Hole => &self.holes,
            GapEvidence::Unknown | GapEvidence::Censored => &self.unknown[bin],
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Every range from the first to the last that holds a silence.
    pub fn ranges(&self) -> Vec<Silence> {
        let count = |of: &[AtomicU64], bin: usize| of[bin].load(Ordering::Relaxed);
        let range = |bin: usize| Silence {
            from: Duration(begin(bin)),
            to: Duration(begin(bin + 1)),
            proven: count(&self.proven, bin),
            unknown: count(&self.unknown, bin),
        };
        let all: Vec<Silence> = (0..BINS).map(range).collect();
        let holds = |silence: &Silence| silence.proven + silence.unknown > 0;
        match (all.iter().position(holds), all.iter().rposition(holds)) {
            (Some(first), Some(last)) => all[first..=last].to_vec(),
            _ => Vec::new(),
        }
    }

    /// How many silences were left out because packets are missing from the capture there.
    pub fn holes(&self) -> u64 {
        self.holes.load(Ordering::Relaxed)
    }
}

/// Follows flows as another does, and counts their silences beside it.
#[derive(Debug)]
pub(super) struct Listening<'f, K> {
    /// Who follows the flows.
    pub(super) keep: &'f K,
    /// Where silences are counted.
    pub(super) silences: &'f Silences,
}

impl<K: Keep> Keep for Listening<'_, K> {
    type Rack = K::Rack;
    type Flows = K::Flows;

    fn rack(&self) -> K::Rack {
        self.keep.rack()
    }

    fn begin(&self, rack: &mut K::Rack, at: usize, flow: &Flow, seg: &Segment) {
        self.keep.begin(rack, at, flow, seg);
    }

    fn segment(&self, rack: &mut K::Rack, at: usize, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        self.silences.note(observation);
        self.keep.segment(rack, at, flow, seg, observation, previous_frame);
    }

    fn flows(&self, kept: Kept<K::Rack>, end: Instant, job: &Job) -> K::Flows {
        self.keep.flows(kept, end, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Revision, Shape};

    fn observed(secs: f64, evidence: GapEvidence, revises: Option<Revision>) -> Observation {
        Observation { gap: Duration::from_secs_f64(secs), evidence, shape: Shape::InOrder, revises }
    }

    #[test]
    fn ranges_join_and_hold_what_belongs_to_them() {
        for index in 0..BINS - STEPS.len() {
            assert!(begin(index) < begin(index + 1), "{index}");
            assert_eq!(bin(Duration(begin(index))), Some(index));
            assert_eq!(bin(Duration(begin(index + 1) - 1)), Some(index));
        }
        assert_eq!(bin(Duration(SHORTEST - 1)), None);
        assert!(bin(Duration::MAX).is_some_and(|last| last < BINS));
        // A timer of 900 s stands at an edge.
        assert!((0..BINS).any(|index| begin(index) == 900_000_000_000));
    }

    #[test]
    fn a_silence_that_turns_out_to_be_a_hole_is_counted_as_one() {
        let silences = Silences::new();
        silences.note(&observed(0.05, GapEvidence::ProvenIdle, None));
        silences.note(&observed(900.0, GapEvidence::ProvenIdle, None));
        silences.note(&observed(1000.0, GapEvidence::Unknown, None));
        let revision = |evidence| Some(Revision { ordinal: 1, length: Duration::from_secs(900), evidence });
        silences.note(&observed(0.0, GapEvidence::ProvenIdle, revision(GapEvidence::Hole)));
        assert_eq!((silences.holes(), silences.ranges().len()), (1, 1));
        silences.note(&observed(0.0, GapEvidence::ProvenIdle, revision(GapEvidence::ProvenIdle)));
        let ranges = silences.ranges();
        assert_eq!((silences.holes(), ranges.len()), (0, 2));
        assert_eq!((ranges[0].from.as_secs(), ranges[0].proven, ranges[1].unknown), (900, 1, 1));
    }
}
