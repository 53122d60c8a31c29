//! Silences inside a flow, what proves them, and the longest of each kind.
//!
//! A silence in a capture is not yet an idle connection: packets may be missing from the file. The first segment after a
//! gap gives a provisional class; what comes next can still change it. Nothing here reads a sequence number: the tracker
//! in `sequence` has already said what continued and what did not.

use super::Rarely;
use crate::net::{Direction, Proto};
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// What is known about a silence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum GapEvidence {
    /// Sequence and acknowledgement numbers continue across the gap: no byte was exchanged in it.
    ProvenIdle,
    /// Bytes or acknowledgements are missing across the gap: the capture has a hole there. Or the clock was set, so that nobody
    /// knows how long it was.
    Hole,
    /// There is no history to compare with: UDP, or the first segment of a flow or direction.
    Unknown,
    /// The capture ended during the silence.
    Censored,
}

impl GapEvidence {
    /// All of them, by number.
    pub const ALL: [GapEvidence; 4] = [GapEvidence::ProvenIdle, GapEvidence::Hole, GapEvidence::Unknown, GapEvidence::Censored];
}

/// A silence between two captured segments of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// How long nothing was captured.
    pub length: Duration,
    /// The frame before it.
    pub before: u32,
    /// The frame after it; `None` where the capture ended first.
    pub after: Option<u32>,
    /// Which way the segment after it goes; the last speaker's way where the capture ended first.
    pub next: Direction,
    /// What is known about it.
    pub evidence: GapEvidence,
}

/// A later segment changed what is known about an earlier gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revision {
    /// The segment after the gap in question: its place among the flow's segments, from 0.
    pub ordinal: u32,
    /// How long the gap in question was.
    pub length: Duration,
    /// What is known now; before, a gap that is now a hole was proven, and the other way round.
    pub evidence: GapEvidence,
}

/// A provisional gap is settled when its sender speaks again this much later: by then, had the other side sent anything
/// in the gap, the acknowledgement would have moved. Longer than a delayed ACK (0.5 s by RFC 1122, 4.2.3.2) plus a
/// usual round trip.
const SETTLED: Duration = Duration::from_secs(1);

/// A gap in 16 bytes; its direction and class are kept aside.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Record {
    length: Duration,
    before: u32,
    after: u32,
}

/// What a pending gap waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Pending {
    Nothing,
    /// Proven so far; the first segment of the other direction has to continue as well.
    OtherSide,
    /// A hole so far; bytes of this direction may still arrive late and fill it.
    Filling(Direction),
}

/// One segment, as far as gaps are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// How long the silence before it was.
    pub(super) length: Duration,
    /// The frame before the silence, and its own.
    pub(super) frames: (u32, u32),
    /// Its place among the flow's segments.
    pub(super) ordinal: u32,
    /// Which way it goes.
    pub(super) dir: Direction,
    /// What the tracker said of it.
    pub(super) reading: Reading,
    /// The clock was set before or in the silence: no later segment can say how long it was.
    pub(super) unsure: bool,
}

/// What the tracker read off one segment, as far as gaps are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The class of the gap before the segment.
    pub(super) evidence: GapEvidence,
    /// The direction whose bytes are missing, where the class is a hole.
    pub(super) missing: Direction,
    /// The segment's own sequence number jumped.
    pub(super) jumped: bool,
    /// The segment filled the last hole of its direction.
    pub(super) filled: bool,
}

/// The longest gap of the class that nearly all of a flow's gaps have, and the one that is not settled yet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Gaps {
    longest: Record,
    pending: Record,
    /// The place of the segment after the pending gap among the flow's segments.
    pending_ordinal: u32,
    waits: Pending,
    next: Direction,
    pending_next: Direction,
    /// Which way the flow's last segment went. It is here because there is room for it.
    pub(super) last: Direction,
}

/// The longest gaps of the other classes, which few flows have.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct OtherGaps {
    longest: [(Record, Direction); 2],
}

impl OtherGaps {
    pub(super) const EMPTY: OtherGaps =
        OtherGaps { longest: [(Record { length: Duration::ZERO, before: 0, after: 0 }, Direction::Original); 2] };
}

/// The class of nearly all gaps of a protocol.
const fn usual(proto: Proto) -> GapEvidence {
    match proto {
        Proto::Tcp => GapEvidence::ProvenIdle,
        Proto::Udp => GapEvidence::Unknown,
    }
}

impl Gaps {
    pub(super) const EMPTY: Gaps = Gaps {
        longest: Record { length: Duration::ZERO, before: 0, after: 0 },
        pending: Record { length: Duration::ZERO, before: 0, after: 0 },
        pending_ordinal: 0,
        waits: Pending::Nothing,
        next: Direction::Original,
        pending_next: Direction::Original,
        last: Direction::Original,
    };

    /// Takes the gap before a segment, and settles or revises an earlier one.
    pub(super) fn note(&mut self, step: Step, proto: Proto, rare: &mut Rarely) -> Option<Revision> {
        let revision = self.revise(step.length, step.dir, step.reading, proto, rare);
        if step.length > Duration::ZERO {
            self.take(step, proto, rare);
        }
        revision
    }

    /// The place of the segment after the gap that a later segment may still call something else, if there is such a gap.
    pub(super) fn pending(&self) -> Option<u32> {
        (self.waits != Pending::Nothing).then_some(self.pending_ordinal)
    }

    fn revise(&mut self, length: Duration, dir: Direction, reading: Reading, proto: Proto, rare: &mut Rarely) -> Option<Revision> {
        let (ordinal, suspect) = (self.pending_ordinal, self.pending.length);
        match self.waits {
            // The missing bytes lie in one of two gaps, and the longer one is the suspect.
            Pending::OtherSide if dir != self.pending_next && reading.jumped && length < self.pending.length => {
                self.waits = Pending::Filling(dir);
                Some(Revision { ordinal, length: suspect, evidence: GapEvidence::Hole })
            }
            Pending::OtherSide if dir != self.pending_next => {
                self.settle(GapEvidence::ProvenIdle, proto, rare);
                None
            }
            Pending::Filling(side) if reading.filled && side == dir => {
                self.settle(GapEvidence::ProvenIdle, proto, rare);
                Some(Revision { ordinal, length: suspect, evidence: GapEvidence::ProvenIdle })
            }
            _ => None,
        }
    }

    fn take(&mut self, step: Step, proto: Proto, rare: &mut Rarely) {
        let Step { length, frames: (before, after), ordinal, dir, reading, unsure } = step;
        let gap = Record { length, before, after };
        if unsure {
            return self.keep(gap, dir, GapEvidence::Hole, proto, rare);
        }
        let waits = match reading.evidence {
            GapEvidence::ProvenIdle => Pending::OtherSide,
            GapEvidence::Hole => Pending::Filling(reading.missing),
            GapEvidence::Unknown | GapEvidence::Censored => return self.keep(gap, dir, GapEvidence::Unknown, proto, rare),
        };
        if self.waits != Pending::Nothing {
            if gap.length < SETTLED && gap.length <= self.pending.length {
                return self.keep(gap, dir, reading.evidence, proto, rare);
            }
            self.settle(self.provisional(), proto, rare);
        }
        (self.pending, self.pending_next, self.waits) = (gap, dir, waits);
        self.pending_ordinal = ordinal;
    }

    fn provisional(&self) -> GapEvidence {
        if self.waits == Pending::OtherSide { GapEvidence::ProvenIdle } else { GapEvidence::Hole }
    }

    fn settle(&mut self, evidence: GapEvidence, proto: Proto, rare: &mut Rarely) {
        self.waits = Pending::Nothing;
        self.keep(self.pending, self.pending_next, evidence, proto, rare);
    }

    #[inline]
    fn keep(&mut self, gap: Record, dir: Direction, evidence: GapEvidence, proto: Proto, rare: &mut Rarely) {
        if evidence != usual(proto) {
            let kept = &mut rare.get_or_insert_default().gaps.longest[usize::from(evidence == GapEvidence::Hole)];
            if gap.length > kept.0.length {
                *kept = (gap, dir);
            }
        } else if gap.length > self.longest.length {
            self.longest = gap;
            self.next = dir;
        }
    }

    /// The longest gap of a class, the pending one counted as it looks now. The last silence is the flow's to tell.
    pub(super) fn longest(&self, evidence: GapEvidence, proto: Proto, rare: &Rarely) -> Option<Gap> {
        if evidence == GapEvidence::Censored {
            return None;
        }
        let (mut gap, mut next) = if evidence == usual(proto) {
            (self.longest, self.next)
        } else {
            rare.as_ref().map_or(OtherGaps::EMPTY, |rare| rare.gaps).longest[usize::from(evidence == GapEvidence::Hole)]
        };
        if self.waits != Pending::Nothing && self.provisional() == evidence && self.pending.length > gap.length {
            (gap, next) = (self.pending, self.pending_next);
        }
        (gap.length > Duration::ZERO).then_some(Gap { length: gap.length, before: gap.before, after: Some(gap.after), next, evidence })
    }
}
