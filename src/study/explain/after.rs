//! What the capture shows from the packet on that came too late in the model: repetitions, resets, an answer, silence; and whether
//! that is what was predicted.

use super::birth::{Birth, Hops, Vantage};
use crate::decode::IcmpError;
use crate::engine::dossier::{Attempt, Dossier, Sighting};
use crate::finding::Finding;
use crate::finding::symptom::Feeling;
use crate::flow::Shape;
use crate::net::{Direction, Proto, Seq, TcpFlags};
use crate::time::{Duration, Instant};

/// Packets of one kind, one after the other.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Train {
    /// How many.
    pub count: u32,
    /// The first and the last: frame and time.
    pub first: Option<(u32, Instant)>,
    /// The last.
    pub last: Option<(u32, Instant)>,
    /// The times between them, the first few; the first one from the packet that came too late.
    pub gaps: Vec<Duration>,
}

const GAPS_MAX: usize = 16;

impl Train {
    fn push(&mut self, sighting: &Sighting, since: Instant) {
        let here = (sighting.seg.frame, sighting.seg.at);
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push(here.1.since(self.last.map_or(since, |last| last.1)));
        }
        self.count += 1;
        self.first.get_or_insert(here);
        self.last = Some(here);
    }

    /// The time from the packet before the last to the last, where there were two.
    fn step(&self) -> Option<Duration> {
        if self.count as usize <= GAPS_MAX { self.gaps.last().copied() } else { None }
    }
}

/// A RST, and what its time to live says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// The frame.
    pub frame: u32,
    /// When.
    pub at: Instant,
    /// Its time to live.
    pub ttl: u8,
    /// What that says.
    pub birth: Birth,
}

/// What one end did.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SideAfter {
    /// Bytes that it had sent before, sent again.
    pub again: Train,
    /// Keepalive probes.
    pub probes: Train,
    /// New bytes.
    pub fresh: Train,
    /// Other packets: acknowledgements, answers to probes.
    pub others: Train,
    /// Its FIN, the first time it was sent.
    pub fin: Option<(u32, Instant)>,
    /// The RSTs in its name, the first few.
    pub resets: Vec<Reset>,
    /// How many there were in all.
    pub resets_count: u32,
    /// Its last packet.
    pub last: Option<(u32, Instant)>,
}

const RESETS_MAX: usize = 8;

/// Whether the capture shows what was predicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// It does.
    Yes,
    /// So far; the capture ends before it could be seen whole.
    SoFar,
    /// As far as it goes, but sooner than predicted: other settings, or a program that did not wait.
    Sooner,
    /// It shows something else.
    No,
    /// It cannot: it was taken elsewhere, or ends too early.
    Unseen,
}

impl Match {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Match::Yes => "yes",
            Match::SoFar => "so-far",
            Match::Sooner => "sooner",
            Match::No => "no",
            Match::Unseen => "unseen",
        }
    }
}

/// What the capture shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct After {
    /// The packet that came too late.
    pub turn: (u32, Instant),
    /// The packet of the other end that shows that it had come through in the capture.
    pub answer: Option<(u32, Instant)>,
    /// What client and server did.
    pub sides: [SideAfter; 2],
    /// Whether that is what was predicted for each; nothing where nothing was.
    pub matches: Option<[Match; 2]>,
    /// ICMP errors about the flow's packets.
    pub errors: Vec<IcmpError>,
    /// The next connection of the client to the service.
    pub attempt: Option<Attempt>,
    /// Packets of the flow after the turn.
    pub packets: u32,
    /// From the turn to the end of the capture.
    pub rest: Duration,
}

/// How soon a RST answers.
const SOON: Duration = Duration::from_secs(5);

impl After {
    pub(super) fn new(finding: &Finding, turn: usize, hops: &[Hops; 2], vantage: Vantage, dossier: &Dossier, end: Instant) -> After {
        let all = &dossier.sightings[..];
        let victim = &all[turn];
        let at = victim.seg.at;
        let rest = &all[turn + 1..];
        let mut sides = [SideAfter::default(), SideAfter::default()];
        for sighting in rest.iter().filter(|s| s.shape != Shape::Duplicate) {
            let index = sighting.seg.dir.index();
            sides[index].take(sighting, at, &hops[index]);
        }
        let mut after = After {
            turn: (victim.seg.frame, at),
            answer: answer(finding.proto, &all[..turn], victim, rest),
            sides,
            matches: None,
            errors: dossier.errors.iter().filter(|error| error.at >= at).copied().collect(),
            attempt: dossier.attempts.iter().find(|attempt| attempt.at > at).copied(),
            packets: rest.len() as u32,
            rest: end.since(at),
        };
        after.matches = finding.symptoms.as_ref().map(|symptoms| {
            [Direction::Original, Direction::Reply].map(|side| {
                let symptom = &symptoms[side.index()];
                after.compare(side, symptom.feeling, symptom.after, victim.seg.dir, vantage)
            })
        });
        after
    }

    /// Whether the capture shows that an end felt what was predicted.
    fn compare(&self, side: Direction, feeling: Feeling, after: Option<Duration>, sender: Direction, vantage: Vantage) -> Match {
        let mine = &self.sides[side.index()];
        let its = &self.sides[side.opposite().index()];
        let told = its.resets.first();
        let far = vantage.is_far_from(side);
        if self.answer.is_some() {
            return Match::No;
        }
        match feeling {
            Feeling::Reset => match told {
                Some(reset) if reset.at.since(self.turn.1) <= SOON || side != sender => Match::Yes,
                Some(_) => Match::No,
                None if far || self.rest < Duration::from_secs(1) => Match::Unseen,
                None => Match::No,
            },
            Feeling::Timeout | Feeling::KeepaliveTimeout => {
                let train = if feeling == Feeling::Timeout { &mine.again } else { &mine.probes };
                if told.is_some_and(|reset| reset.at.since(self.turn.1) <= SOON) {
                    return Match::No;
                }
                let Some((_, last)) = train.last else {
                    return if far || self.rest < Duration::from_secs(1) { Match::Unseen } else { Match::No };
                };
                let lasted = last.since(self.turn.1);
                let silent = self.rest.saturating_sub(lasted);
                // The next one would have come after at most twice the last interval.
                let gave_up = train.step().is_none_or(|step| silent > step.saturating_mul(2) + Duration::from_secs(1));
                let whole = after.is_none_or(|after| lasted.0 + 130_000_000_000 >= after.0);
                match (gave_up, whole) {
                    (_, true) => Match::Yes,
                    (true, false) => Match::Sooner,
                    (false, false) => Match::SoFar,
                }
            }
            Feeling::Hang | Feeling::Nothing => {
                if told.is_some() && feeling == Feeling::Hang {
                    Match::No
                } else if far && mine.last.is_none() {
                    Match::Unseen
                } else {
                    Match::Yes
                }
            }
            Feeling::Lost => Match::Yes,
        }
    }
}

impl SideAfter {
    fn take(&mut self, sighting: &Sighting, since: Instant, hops: &Hops) {
        let seg = &sighting.seg;
        let here = (seg.frame, seg.at);
        self.last = Some(here);
        if seg.flags.has(TcpFlags::RST) && sighting.shape != Shape::Datagram {
            self.resets_count += 1;
            if self.resets.len() < RESETS_MAX {
                self.resets.push(Reset { frame: seg.frame, at: seg.at, ttl: sighting.seg.ttl, birth: hops.judge(sighting.seg.ttl) });
            }
            return;
        }
        if seg.flags.has(TcpFlags::FIN) {
            self.fin.get_or_insert(here);
        }
        match sighting.shape {
            Shape::KeepaliveProbe => self.probes.push(sighting, since),
            Shape::Retransmission => self.again.push(sighting, since),
            _ if seg.len > 0 || seg.flags.any(TcpFlags::FIN | TcpFlags::SYN) => self.fresh.push(sighting, since),
            _ => self.others.push(sighting, since),
        }
    }
}

/// The first packet that could not have been sent had the victim been kept.
fn answer(proto: Proto, before: &[Sighting], victim: &Sighting, rest: &[Sighting]) -> Option<(u32, Instant)> {
    let back = victim.seg.dir.opposite();
    let acked = |s: &&Sighting| s.seg.flags.has(TcpFlags::ACK) && !s.seg.flags.has(TcpFlags::RST);
    let mut theirs = rest.iter().filter(|s| s.seg.dir == back && s.shape != Shape::Duplicate);
    let found = if proto == Proto::Udp {
        theirs.next()
    } else if victim.seg.flags.has(TcpFlags::RST) {
        None
    } else if victim.shape == Shape::KeepaliveProbe {
        let soon = |s: &&Sighting| s.seg.at.since(victim.seg.at) <= SOON;
        theirs.take_while(soon).find(|s| s.shape == Shape::KeepaliveAnswer)
    } else {
        // What the other end had acknowledged before: an answer must go beyond.
        let known = before.iter().rev().filter(|s| s.seg.dir == back).find(acked).map(|s| s.seg.ack);
        let counts = victim.seg.end() != victim.seg.seq;
        let reached = |ack: Seq| if counts { !ack.before(victim.seg.end()) } else { known.is_some_and(|known| ack.after(known)) };
        theirs.find(|s| acked(s) && reached(s.seg.ack))
    };
    found.map(|s| (s.seg.frame, s.seg.at))
}
