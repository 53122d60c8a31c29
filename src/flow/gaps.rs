//! Silences inside a flow, what proves them, and the longest of each kind.
//!
//! A silence in a capture is not yet an idle connection: packets may be missing from the file. The first segment after a
//! gap gives a provisional class; what comes next can still change it. Nothing here reads a sequence number: the tracker
//! in `sequence` has already said what continued and what did not.

use crate::net::Direction;
use crate::time::Duration;

/// What is known about a silence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum GapEvidence {
    /// Sequence and acknowledgement numbers continue across the gap: no byte was exchanged in it.
    ProvenIdle,
    /// Bytes or acknowledgements are missing across the gap: the capture has a hole there.
    Hole,
    /// There is no history to compare with: UDP, or the first segment of a flow or direction.
    Unknown,
    /// The capture ended during the silence.
    Censored,
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
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    length: Duration,
    before: u32,
    after: u32,
}

/// What a pending gap waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Pending {
    Nothing,
    /// Proven so far; the first segment of the other direction has to continue as well.
    OtherSide,
    /// A hole so far; bytes of this direction may still arrive late and fill it.
    Filling(Direction),
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

/// The longest gap of each class, and the one that is not settled yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    longest: [Record; 3],
    pending: Record,
    waits: Pending,
    next: [Direction; 3],
    pending_next: Direction,
    /// The place of the segment after the pending gap among the flow's segments.
    pending_ordinal: u32,
}

impl Gaps {
    pub(super) const EMPTY: Gaps = Gaps {
        longest: [Record { length: Duration::ZERO, before: 0, after: 0 }; 3],
        pending: Record { length: Duration::ZERO, before: 0, after: 0 },
        waits: Pending::Nothing,
        next: [Direction::Original; 3],
        pending_next: Direction::Original,
        pending_ordinal: 0,
    };

    /// Takes the gap before a segment, and settles or revises an earlier one.
    pub(super) fn note(
        &mut self,
        length: Duration,
        frames: (u32, u32),
        ordinal: u32,
        dir: Direction,
        reading: Reading,
    ) -> Option<Revision> {
        let (before, after) = frames;
        let revision = self.revise(length, dir, reading);
        if length > Duration::ZERO {
            self.take(Record { length, before, after }, ordinal, dir, reading);
        }
        revision
    }

    fn revise(&mut self, length: Duration, dir: Direction, reading: Reading) -> Option<Revision> {
        let (ordinal, suspect) = (self.pending_ordinal, self.pending.length);
        match self.waits {
            // The missing bytes lie in one of two gaps, and the longer one is the suspect.
            Pending::OtherSide if dir != self.pending_next && reading.jumped && length < self.pending.length => {
                self.waits = Pending::Filling(dir);
                Some(Revision { ordinal, length: suspect, evidence: GapEvidence::Hole })
            }
            Pending::OtherSide if dir != self.pending_next => {
                self.settle(GapEvidence::ProvenIdle);
                None
            }
            Pending::Filling(side) if reading.filled && side == dir => {
                self.settle(GapEvidence::ProvenIdle);
                Some(Revision { ordinal, length: suspect, evidence: GapEvidence::ProvenIdle })
            }
            _ => None,
        }
    }

    fn take(&mut self, gap: Record, ordinal: u32, dir: Direction, reading: Reading) {
        let waits = match reading.evidence {
            GapEvidence::ProvenIdle => Pending::OtherSide,
            GapEvidence::Hole => Pending::Filling(reading.missing),
            GapEvidence::Unknown | GapEvidence::Censored => return self.keep(gap, dir, GapEvidence::Unknown),
        };
        if self.waits != Pending::Nothing {
            if gap.length < SETTLED && gap.length <= self.pending.length {
                return self.keep(gap, dir, reading.evidence);
            }
            self.settle(self.provisional());
        }
        (self.pending, self.pending_next, self.waits) = (gap, dir, waits);
        self.pending_ordinal = ordinal;
    }

    fn provisional(&self) -> GapEvidence {
        if self.waits == Pending::OtherSide { GapEvidence::ProvenIdle } else { GapEvidence::Hole }
    }

    fn settle(&mut self, evidence: GapEvidence) {
        self.waits = Pending::Nothing;
        self.keep(self.pending, self.pending_next, evidence);
    }

    fn keep(&mut self, gap: Record, dir: Direction, evidence: GapEvidence) {
        let kind = evidence as usize;
        if gap.length > self.longest[kind].length {
            self.longest[kind] = gap;
            self.next[kind] = dir;
        }
    }

    /// The longest gap of a class, the pending one counted as it looks now. The last silence is the flow's to tell.
    pub(super) fn longest(&self, evidence: GapEvidence) -> Option<Gap> {
        if evidence == GapEvidence::Censored {
            return None;
        }
        let kind = evidence as usize;
        let (mut gap, mut next) = (self.longest[kind], self.next[kind]);
        if self.waits != Pending::Nothing && self.provisional() == evidence && self.pending.length > gap.length {
            (gap, next) = (self.pending, self.pending_next);
        }
        (gap.length > Duration::ZERO).then_some(Gap { length: gap.length, before: gap.before, after: Some(gap.after), next, evidence })
    }
}
