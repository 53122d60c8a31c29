//! What happened, as a person would sum it up: the opening, bursts, silences, probes at regular intervals, the end.

use crate::engine::dossier::Sighting;
use crate::finding::Finding;
use crate::flow::{GapEvidence, Opening, Shape};
use crate::net::{Direction, Proto, TcpFlags};
use crate::time::{Duration, Instant};

/// The most silences that are told one by one.
const SILENCES_MAX: usize = 9;
/// Shorter ones are part of a burst.
const SILENCE_MIN: Duration = Duration::from_secs(1);
/// Of the longest silence, the part that another one must have to be told.
const SHARE: u64 = 40;

/// From the first to the last of some packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Their times.
    pub span: (Instant, Instant),
    /// Their frames.
    pub frames: (u32, u32),
    /// The file of the first.
    pub file: u16,
}

/// Packets without a long silence between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burst {
    /// When.
    pub stretch: Stretch,
    /// Packets from the client and from the server.
    pub packets: [u32; 2],
    /// New payload bytes from either.
    pub bytes: [u64; 2],
    /// Packets with bytes that had been captured before.
    pub again: [u32; 2],
    /// The longest silence in it.
    pub longest: Duration,
}

/// Keepalive probes one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rhythm {
    /// When.
    pub stretch: Stretch,
    /// Probes from the client and from the server.
    pub probes: [u32; 2],
    /// How many of those were answered.
    pub answered: [u32; 2],
    /// The shortest and the longest time from one probe to the next.
    pub every: Option<(Duration, Duration)>,
    /// The silence before the first.
    pub first_after: Duration,
}

/// A part of a flow's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// How it began.
    Opening {
        /// Its packets.
        stretch: Stretch,
        /// How much of it was captured.
        opening: Opening,
        /// SYNs of the client.
        syns: u32,
        /// The round trip.
        rtt: Option<Duration>,
    },
    /// Packets.
    Burst(Burst),
    /// Nothing.
    Silence {
        /// From the last packet to the next; the frames are theirs.
        stretch: Stretch,
        /// What is known about it.
        evidence: GapEvidence,
    },
    /// Probes.
    Rhythm(Rhythm),
    /// A FIN or a RST.
    End {
        /// The packet.
        stretch: Stretch,
        /// Who sent it.
        dir: Direction,
        /// Whether it was a RST.
        reset: bool,
    },
}

impl Phase {
    /// When it was.
    pub fn stretch(&self) -> Stretch {
        match self {
            Phase::Opening { stretch, .. } | Phase::Silence { stretch, .. } | Phase::End { stretch, .. } => *stretch,
            Phase::Burst(burst) => burst.stretch,
            Phase::Rhythm(rhythm) => rhythm.stretch,
        }
    }
}

fn is_probing(sighting: &Sighting) -> bool {
    matches!(sighting.shape, Shape::KeepaliveProbe | Shape::KeepaliveAnswer)
}

/// From how long on a silence is told on its own.
fn threshold(sightings: &[Sighting]) -> Duration {
    let mut gaps: Vec<Duration> = sightings.iter().filter(|s| !is_probing(s) && s.gap >= SILENCE_MIN).map(|s| s.gap).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    let Some(longest) = gaps.first() else { return Duration::MAX };
    gaps[gaps.len().min(SILENCES_MAX) - 1].max(Duration(longest.0 / SHARE))
}

fn stretch(first: &Sighting, last: &Sighting) -> Stretch {
    Stretch { span: (first.seg.at, last.seg.at), frames: (first.seg.frame, last.seg.frame), file: first.seg.file }
}

/// The phases of a flow whose packets these are; `victim` is the one that came after them too late.
pub fn of(finding: &Finding, sightings: &[Sighting], victim: Option<&Sighting>) -> Vec<Phase> {
    let threshold = threshold(sightings);
    let mut phases = Vec::new();
    let opened = opening(finding, sightings, &mut phases);
    let mut previous = opened.checked_sub(1).and_then(|last| sightings.get(last));
    for sighting in &sightings[opened..] {
        if sighting.shape == Shape::Duplicate {
            continue;
        }
        take(&mut phases, sighting, previous, threshold);
        previous = Some(sighting);
    }
    if let (Some(victim), Some(previous)) = (victim, previous)
        && victim.gap >= Duration::from_millis(200)
    {
        phases.push(silence(previous, victim));
    }
    phases
}

/// How many of the packets belong to the handshake.
fn opening(finding: &Finding, sightings: &[Sighting], phases: &mut Vec<Phase>) -> usize {
    let Some(first) = sightings.first() else { return 0 };
    let is_syn = |s: &&Sighting| s.seg.flags.has(TcpFlags::SYN);
    if finding.proto == Proto::Udp || !is_syn(&first) {
        if let Some(last) = sightings.first() {
            phases.push(Phase::Opening { stretch: stretch(first, last), opening: Opening::Midstream, syns: 0, rtt: None });
        }
        return 0;
    }
    let mut count = sightings.iter().take_while(is_syn).count();
    let acknowledges = |s: &&Sighting| s.seg.dir == Direction::Original && s.seg.len == 0 && s.seg.flags.0 == TcpFlags::ACK;
    if finding.opening == Opening::Handshake {
        count += usize::from(sightings.get(count).is_some_and(|s| acknowledges(&s)));
    }
    let head = &sightings[..count];
    let syns = head.iter().filter(|s| s.seg.dir == Direction::Original && is_syn(s)).count();
    let last = &sightings[count - 1];
    let rtt = (finding.opening == Opening::Handshake && count >= 3)
        .then(|| {
            let syn = head.iter().rev().find(|s| s.seg.dir == Direction::Original && is_syn(s))?;
            Some(last.seg.at.since(syn.seg.at))
        })
        .flatten();
    phases.push(Phase::Opening { stretch: stretch(first, last), opening: finding.opening, syns: syns as u32, rtt });
    count
}

fn silence(previous: &Sighting, next: &Sighting) -> Phase {
    Phase::Silence { stretch: Stretch { file: next.seg.file, ..stretch(previous, next) }, evidence: next.evidence }
}

fn take(phases: &mut Vec<Phase>, sighting: &Sighting, previous: Option<&Sighting>, threshold: Duration) {
    let side = sighting.seg.dir.index();
    if is_probing(sighting) {
        let probe = sighting.shape == Shape::KeepaliveProbe;
        if let Some(Phase::Rhythm(rhythm)) = phases.last_mut() {
            if probe {
                let gap = sighting.gap;
                rhythm.every = Some(rhythm.every.map_or((gap, gap), |(min, max)| (min.min(gap), max.max(gap))));
                rhythm.probes[side] += 1;
            } else {
                rhythm.answered[1 - side] += 1;
            }
            rhythm.stretch.span.1 = sighting.seg.at;
            rhythm.stretch.frames.1 = sighting.seg.frame;
            return;
        }
        let mut rhythm =
            Rhythm { stretch: stretch(sighting, sighting), probes: [0; 2], answered: [0; 2], every: None, first_after: sighting.gap };
        if probe {
            rhythm.probes[side] = 1;
        } else {
            rhythm.answered[1 - side] = 1;
        }
        phases.push(Phase::Rhythm(rhythm));
        return;
    }
    let long = sighting.gap >= threshold;
    if let (true, Some(previous)) = (long, previous) {
        phases.push(silence(previous, sighting));
    }
    let flags = sighting.seg.flags;
    if flags.any(TcpFlags::FIN | TcpFlags::RST) && sighting.shape != Shape::Datagram {
        let reset = flags.has(TcpFlags::RST);
        if sighting.seg.len > 0 {
            grow(phases, sighting, long);
        }
        phases.push(Phase::End { stretch: stretch(sighting, sighting), dir: sighting.seg.dir, reset });
        return;
    }
    grow(phases, sighting, long);
}

/// Adds a packet to the burst that goes on, or begins one.
fn grow(phases: &mut Vec<Phase>, sighting: &Sighting, long: bool) {
    let side = sighting.seg.dir.index();
    let known = matches!(sighting.shape, Shape::Retransmission);
    let bytes = if known { 0 } else { u64::from(sighting.seg.len) };
    if let (false, Some(Phase::Burst(burst))) = (long, phases.last_mut()) {
        burst.packets[side] += 1;
        burst.bytes[side] += bytes;
        burst.again[side] += u32::from(known);
        burst.longest = burst.longest.max(sighting.gap);
        burst.stretch.span.1 = sighting.seg.at;
        burst.stretch.frames.1 = sighting.seg.frame;
        return;
    }
    let mut burst = Burst { stretch: stretch(sighting, sighting), packets: [0; 2], bytes: [0; 2], again: [0; 2], longest: Duration::ZERO };
    burst.packets[side] = 1;
    burst.bytes[side] = bytes;
    burst.again[side] = u32::from(known);
    phases.push(Phase::Burst(burst));
}
