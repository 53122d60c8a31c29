//! What each timer of each box had to bear: how often it was set, by what, and how much of it was used up.

use crate::engine::diary::Diary;
use crate::engine::dossier::Sighting;
use crate::engine::path::Path;
use crate::finding::cause::{Cause, cause};
use crate::finding::{BreakPoint, Finding};
use crate::flow::{GapEvidence, Shape};
use crate::model::Lapse;
use crate::time::{Duration, Instant};

/// One timer of one box over a flow's life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimerUse {
    /// Which box, from 0 at the client.
    pub hop: usize,
    /// Which state, which timer, which setting.
    pub cause: Cause,
    /// What it was set to.
    pub timeout: Duration,
    /// How often it was set.
    pub set: u32,
    /// How often by a keepalive probe or its answer.
    pub set_by_probes: u32,
    /// When it was set last, and by which frame, where that is known.
    pub last: (Instant, Option<u32>),
    /// The longest time that it had to bear.
    pub longest: Duration,
    /// The frames around that.
    pub frames: (u32, u32),
    /// What is known about that silence.
    pub evidence: Option<GapEvidence>,
    /// Whether it ran out while the flow was open.
    pub burnt: bool,
}

impl TimerUse {
    /// The share of it that was used up, in thousandths.
    pub fn permille(&self) -> u64 {
        (u128::from(self.longest.0) * 1000 / u128::from(self.timeout.0.max(1))).min(u128::from(u64::MAX)) as u64
    }
}

fn set_by(sightings: &[Sighting], at: Instant) -> Option<&Sighting> {
    let place = sightings.partition_point(|s| s.seg.at < at);
    sightings.get(place).filter(|s| s.seg.at == at)
}

/// The timers that ran, in the order of the boxes and then of their first setting.
pub fn of(path: &Path, finding: &Finding, diary: &Diary, sightings: &[Sighting]) -> Vec<TimerUse> {
    let mut uses: Vec<TimerUse> = Vec::new();
    for (hop, memory) in diary.boxes.iter().enumerate() {
        let Some(place) = path.hops.get(hop) else { continue };
        for burning in memory.past.iter().filter(|burning| burning.timer.timeout < Duration::MAX) {
            let Lapse { refreshed, timeout, clause, state } = burning.timer;
            let setter = set_by(sightings, refreshed);
            let frame = setter.map(|s| s.seg.frame);
            let by_probe = setter.is_some_and(|s| matches!(s.shape, Shape::KeepaliveProbe | Shape::KeepaliveAnswer));
            let spell = burning.to.since(refreshed);
            let found = uses.iter().position(|u| (u.hop, u.cause.clause, u.cause.state, u.timeout) == (hop, clause, state, timeout));
            let at = found.unwrap_or_else(|| {
                uses.push(TimerUse {
                    hop,
                    cause: cause(place, clause, state),
                    timeout,
                    set: 0,
                    set_by_probes: 0,
                    last: (refreshed, frame),
                    longest: Duration::ZERO,
                    frames: (0, 0),
                    evidence: None,
                    burnt: false,
                });
                uses.len() - 1
            });
            let timer = &mut uses[at];
            if timer.set == 0 || refreshed > timer.last.0 {
                timer.set += 1;
                timer.set_by_probes += u32::from(by_probe);
                timer.last = (refreshed, frame);
            }
            timer.burnt |= burning.burnt;
            if spell > timer.longest {
                timer.longest = spell;
                let next = sightings.partition_point(|s| s.seg.at < burning.to);
                timer.frames = (frame.unwrap_or_default(), sightings.get(next).map_or(0, |s| s.seg.frame));
            }
        }
    }
    for timer in &mut uses {
        if let Some(point) = finding.break_points.iter().find(|p| fits(p, timer)) {
            timer.evidence = Some(point.evidence);
            // The diary ends a timer where it runs out; the spell goes on to the next packet.
            if point.longest >= timer.longest {
                timer.longest = point.longest;
                timer.frames = point.frames;
            }
        }
    }
    uses
}

fn fits(point: &BreakPoint, timer: &TimerUse) -> bool {
    point.hop == timer.hop && point.cause.clause == timer.cause.clause && point.timeout == timer.timeout
}

/// What ran at a box at a moment.
pub fn running(diary: &Diary, hop: usize, at: Instant) -> Option<Lapse> {
    let past = &diary.boxes.get(hop)?.past;
    past.iter().rev().find(|burning| burning.timer.refreshed <= at && burning.to > at).map(|burning| burning.timer)
}
