//! One segment and what its flow said of it, on its way through the boxes, and what it says about earlier silences.
//!
//! It knows what a flow observes; what a box makes of it is not its business.

use super::profile::Profile;
use crate::flow::{Flow, GapEvidence, Observation, Shape};
use crate::net::Segment;

/// Takes into a flow's spells what a segment says about earlier silences.
#[inline]
pub(super) fn heard(profile: &mut Profile, flow: &Flow, observation: &Observation) {
    if let Some(revision) = observation.revises {
        profile.revise(revision.evidence);
    }
    if flow.pending() == Some(ordinal(flow)) {
        profile.settle();
    }
}

/// One segment and what its flow said of it.
#[derive(Clone, Copy)]
pub(super) struct Told<'s> {
    pub(super) flow: &'s Flow,
    pub(super) seg: &'s Segment,
    pub(super) observation: &'s Observation,
    pub(super) previous_frame: u32,
}

impl Told<'_> {
    /// Whether a later segment may still show the silence before this one to be a hole.
    pub(super) fn is_open(&self) -> bool {
        self.flow.pending() == Some(ordinal(self.flow))
    }

    /// What the segment says of the silence before it, to one box: what is missing of the replies does not matter to one that never
    /// sees them.
    #[inline]
    pub(super) fn evidence_for(&self, sees_replies: bool) -> GapEvidence {
        let blind = !sees_replies && self.observation.shape == Shape::AckUnseen;
        if blind { GapEvidence::Unknown } else { self.observation.evidence }
    }
}

/// The place of the last segment that a flow has counted.
pub(super) const fn ordinal(flow: &Flow) -> u32 {
    flow.segments[0].wrapping_add(flow.segments[1]).wrapping_sub(1)
}
