//! The smallest capture of one flow that keeps its verdict: packets left out, numbers and addresses replaced, no payload.
//!
//! Whether the verdict is kept is not argued but tried: each candidate is written, read and replayed as any capture is, and the
//! last one, which is handed out, is too. Nothing here opens a file.

mod numbers;

use crate::capture::write::Writer;
use crate::capture::{self, Input};
use crate::engine::Path;
use crate::engine::pipeline::{self, Job};
use crate::finding::cause::Cause;
use crate::finding::symptom::Feeling;
use crate::finding::{Caveat, Finding, Inconclusive, Verdict, VictimKind, judge};
use crate::flow::GapEvidence;
use crate::net::{Addr, Direction, Proto, Segment, Sock};
use crate::time::{Duration, Instant};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// What of a finding a smaller capture must keep: everything about the verdict and its cause, to the nanosecond; only frame numbers,
/// counts of packets and addresses may be others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Essence {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is inconclusive.
    pub inconclusive: Option<Inconclusive>,
    /// What decided it.
    pub deciding: Option<Deciding>,
    /// What the client and the server would feel.
    pub feelings: Option<[Feeling; 2]>,
    /// The spell that came closest to the end of its timer, of a flow of which nothing lapsed: box, timer, its length, the spell.
    pub closest: Option<(usize, Cause, Duration, Duration)>,
    /// What to know before believing it.
    pub caveats: Vec<Caveat>,
}

/// What decided a verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deciding {
    /// Which box, from 0 at the client.
    pub hop: usize,
    /// Which state, which timer, which setting.
    pub cause: Cause,
    /// What the timer was set to.
    pub timeout: Duration,
    /// How long the entry had been idle.
    pub idle: Duration,
    /// What came too late.
    pub kind: VictimKind,
    /// Which way it went.
    pub dir: Direction,
    /// What is known about the silence.
    pub evidence: GapEvidence,
    /// What became of it.
    pub fate: &'static str,
    /// The chance that the entry had ended, in thousandths, where the clock cannot decide.
    pub permille: Option<u16>,
}

impl Essence {
    /// The essence of a finding.
    pub fn of(finding: &Finding) -> Essence {
        let deciding = finding.decisive.as_ref().map(|d| Deciding {
            hop: d.hop,
            cause: d.cause.clone(),
            timeout: d.timeout,
            idle: d.idle,
            kind: d.kind,
            dir: d.dir,
            evidence: d.evidence,
            fate: d.fate,
            permille: d.permille,
        });
        let closest = finding.closest().filter(|_| deciding.is_none()).map(|b| (b.hop, b.cause.clone(), b.timeout, b.longest));
        Essence {
            verdict: finding.verdict,
            inconclusive: finding.inconclusive,
            deciding,
            feelings: finding.symptoms.as_ref().map(|[client, server]| [client.feeling, server.feeling]),
            closest,
            caveats: finding.caveats.clone(),
        }
    }
}

/// A flow that is to be made small.
#[derive(Debug)]
pub struct Subject<'s> {
    /// TCP or UDP.
    pub proto: Proto,
    /// Its client and its server.
    pub socks: [Sock; 2],
    /// Its packets, in the order of the capture.
    pub segments: &'s [Segment],
    /// What was found of it.
    pub finding: &'s Finding,
    /// When its capture ended, other flows' packets included.
    pub end: Instant,
}

/// What stays as it was.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Keep {
    /// Addresses and ports.
    pub addresses: bool,
    /// The time of day; spans are always kept.
    pub times: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shrunk {
    /// The capture, pcapng.
    pub bytes: Vec<u8>,
    /// The packets that are left, by their places in the flow.
    pub kept: Vec<usize>,
    /// Whether a packet of no flow stands at the end to show until when nothing was heard.
    pub ends_later: bool,
    /// The client and the server in it.
    pub socks: [Sock; 2],
    /// What it was found to keep.
    pub essence: Essence,
    /// How many captures were written and replayed.
    pub tried: u32,
    /// Whether each packet was tried to be left out: then none can be.
    pub minimal: bool,
}

/// Why a flow could not be made small.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// Even with all its packets, headers alone and other addresses give another verdict.
    #[error("{0}")]
    Differs(String),
    /// A packet cannot be written.
    #[error("the flow cannot be written: {0}")]
    Unwritten(#[from] io::Error),
    /// The user had enough.
    #[error("interrupted")]
    Interrupted,
}

/// Addresses of documentation (RFC 5737, RFC 3849), for those of a flow.
fn anonymous(socks: [Sock; 2]) -> [Sock; 2] {
    let [client, server] = socks;
    let addrs = if client.addr.is_v6() {
        let v6 = |network: u8| Addr::v6([0x20, 0x01, 0x0d, 0xb8, 0, network, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        [v6(1), v6(2)]
    } else {
        [Addr::v4([192, 0, 2, 1]), Addr::v4([198, 51, 100, 1])]
    };
    // The service's port says what it is about; the client's is above it, as usual.
    let port = if server.port < 50_000 { 50_000 } else { 65_000 };
    [Sock { addr: addrs[0], port: if client.port < server.port { client.port } else { port } }, Sock { addr: addrs[1], port: server.port }]
}

/// Who announces itself at the end of a capture in which nothing else is heard any more (RFC 5737).
const BYSTANDER: [u8; 4] = [203, 0, 113, 1];
/// 1 January 2000, when every anonymous capture begins.
const BEGIN: Instant = Instant::from_secs(946_684_800);
/// The time to live where nobody has said.
const TTL: u8 = 64;
/// As many captures are tried at most, and as many packets in all of them together.
const TRIED_MAX: u32 = 20_000;
const WORK_MAX: u64 = 20_000_000;

struct Search<'s> {
    subject: &'s Subject<'s>,
    path: &'s Path,
    socks: [Sock; 2],
    /// What is taken off every time.
    earlier: Duration,
    later: Duration,
    comment: &'s str,
    essence: Essence,
    stop: &'s AtomicBool,
    tried: u32,
    work: u64,
    /// A candidate was given up without having been tried.
    cut_short: bool,
}

/// Makes a flow small. `comment` stands at the head of the capture.
///
/// # Errors
/// That even all packets, as they are written here, do not keep the verdict; that one cannot be written; or the interruption.
pub fn shrink(subject: &Subject<'_>, path: &Path, keep: Keep, comment: &str, stop: &AtomicBool) -> Result<Shrunk, ShrinkError> {
    let socks = if keep.addresses { subject.socks } else { anonymous(subject.socks) };
    let first = subject.segments.iter().map(|seg| seg.at).min().unwrap_or(BEGIN);
    let (earlier, later) =
        if keep.times { (Duration::ZERO, Duration::ZERO) } else { (first.since(Instant::ZERO), BEGIN.since(Instant::ZERO)) };
    let essence = Essence::of(subject.finding);
    let (tried, work, cut_short) = (0, 0, false);
    let mut search = Search { subject, path, socks, earlier, later, comment, essence, stop, tried, work, cut_short };
    let all: Vec<usize> = (0..subject.segments.len()).collect();
    let found = search.replayed(&all, true)?;
    if found.as_ref() != Some(&search.essence) {
        let now = found.map_or("no flow of its own".to_owned(), |essence| difference(&search.essence, &essence));
        return Err(ShrinkError::Differs(format!(
            "the flow without payload, with other numbers and addresses, is judged otherwise: {now}"
        )));
    }
    let mut best = search.around(&all)?.unwrap_or(all);
    loop {
        let before = best.len();
        best = search.fewer(best)?;
        if best.len() == before || search.cut_short {
            break;
        }
    }
    let ends_later = !search.keeps(&best, false)?;
    let bytes = search.written(&best, ends_later)?;
    // What is handed out is what was found to keep the verdict, not what is like it.
    match search.judged(&bytes) {
        Some(essence) if essence == search.essence => {
            let minimal = !search.cut_short;
            Ok(Shrunk { bytes, kept: best, ends_later, socks, essence, tried: search.tried, minimal })
        }
        _ => Err(ShrinkError::Differs("the small capture, read once more, is judged otherwise".to_owned())),
    }
}

/// In which words two essences differ.
fn difference(was: &Essence, now: &Essence) -> String {
    if was.verdict != now.verdict {
        return format!("{} before, {} then", was.verdict.name(), now.verdict.name());
    }
    if was.deciding != now.deciding {
        return "another packet or timer decides".to_owned();
    }
    if was.caveats != now.caveats {
        return "other caveats hold".to_owned();
    }
    "the same verdict with another symptom or margin".to_owned()
}

impl Search<'_> {
    /// The essence of what is left.
    fn replayed(&mut self, kept: &[usize], ends_later: bool) -> Result<Option<Essence>, ShrinkError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ShrinkError::Interrupted);
        }
        let bytes = self.written(kept, ends_later)?;
        Ok(self.judged(&bytes))
    }

    fn keeps(&mut self, kept: &[usize], ends_later: bool) -> Result<bool, ShrinkError> {
        if self.tried >= TRIED_MAX || self.work >= WORK_MAX {
            self.cut_short = true;
            return Ok(false);
        }
        Ok(self.replayed(kept, ends_later)?.as_ref() == Some(&self.essence))
    }

    /// Reads a capture and replays it; nothing where it is not of one flow.
    fn judged(&mut self, bytes: &[u8]) -> Option<Essence> {
        self.tried += 1;
        let input = Input::Bytes { name: "candidate".to_owned(), bytes: bytes.into() };
        let mut capture = capture::open(&[input]).ok()?;
        let run = pipeline::run(&mut capture, self.path, &Job { threads: 1, ..Job::default() }, self.stop);
        if run.flows.len() != 1 || run.is_incomplete() {
            return None;
        }
        let flow = run.flows.flow(0);
        Some(Essence::of(&judge::judge(self.path, run.socks(flow), flow, &run.flows.run(0), run.end)))
    }

    fn moved(&self, at: Instant) -> Instant {
        Instant(at.0.saturating_sub(self.earlier.0).saturating_add(self.later.0))
    }

    /// The capture of what is left.
    fn written(&mut self, kept: &[usize], ends_later: bool) -> Result<Vec<u8>, ShrinkError> {
        self.work += kept.len() as u64;
        let Subject { proto, segments, .. } = *self.subject;
        let kept: Vec<Segment> = match proto {
            Proto::Tcp => numbers::renumbered(segments, kept),
            Proto::Udp => kept.iter().map(|place| segments[*place]).collect(),
        };
        let mut writer = Writer::headers_only(Vec::new(), "flow", self.comment)?;
        let mut last = Instant::ZERO;
        for seg in &kept {
            let [client, server] = self.socks;
            let (from, to) = if seg.dir == Direction::Original { (client, server) } else { (server, client) };
            let (at, ttl) = (self.moved(seg.at), if seg.ttl == 0 { TTL } else { seg.ttl });
            last = last.max(at);
            match proto {
                Proto::Tcp => writer.segment(0, at, from, to, seg, ttl)?,
                Proto::Udp => writer.datagram(0, at, from, to, seg.len, ttl)?,
            }
        }
        let end = self.moved(self.subject.end);
        if ends_later && end > last {
            writer.announcement(0, end, Addr::v4(BYSTANDER))?;
        }
        Ok(writer.finish()?)
    }

    /// Only what stands around the packets that decide: a good beginning for a long flow.
    fn around(&mut self, all: &[usize]) -> Result<Option<Vec<usize>>, ShrinkError> {
        let decisive = self.subject.finding.decisive.as_ref();
        let closest = self.subject.finding.closest();
        let frames: Vec<u32> = match (decisive, closest) {
            (Some(d), _) => [Some(d.before), d.victim.map(|(frame, _)| frame)].into_iter().flatten().collect(),
            (None, Some(b)) => vec![b.frames.0, b.frames.1],
            (None, None) => Vec::new(),
        };
        let place = |frame: &u32| self.subject.segments.iter().position(|seg| seg.frame == *frame);
        let mut anchors: Vec<usize> = frames.iter().filter_map(place).collect();
        anchors.extend([0, all.len().saturating_sub(1)]);
        let mut width = 2;
        while width < all.len() / 4 {
            let near = |place: &usize| anchors.iter().any(|anchor| anchor.abs_diff(*place) <= width);
            let some: Vec<usize> = all.iter().copied().filter(near).collect();
            if self.keeps(&some, true)? {
                return Ok(Some(some));
            }
            width *= 4;
        }
        Ok(None)
    }

    /// Leaves packets out: halves first, then ever shorter runs, down to single ones.
    fn fewer(&mut self, mut best: Vec<usize>) -> Result<Vec<usize>, ShrinkError> {
        let mut run = best.len().div_ceil(2);
        while run > 0 {
            let mut at = 0;
            while at < best.len() && best.len() > 1 {
                let mut candidate = best.clone();
                candidate.drain(at..(at + run).min(best.len()));
                if !candidate.is_empty() && self.keeps(&candidate, true)? {
                    best = candidate;
                } else {
                    at += run;
                }
            }
            run /= 2;
        }
        Ok(best)
    }
}
