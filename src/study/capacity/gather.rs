//! Flows taken apart from the capture that they were in: what each of them says, to be said again at other times.
//!
//! One flow's segments are shared by all its copies. It knows no boxes.

use crate::engine::pipeline::{Follow, Followed, Judged};
use crate::engine::replay::{Beginning, FlowRun, Replay};
use crate::engine::{Clock, Path};
use crate::flow::{Flow, GapEvidence, Observation, Shape};
use crate::net::{Direction, Proto, Segment, Seq, Sock, TcpFlags};
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// A segment and what the flow said of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step {
    /// The segment.
    pub seg: Segment,
    /// Whether packets are missing before it.
    pub hole: bool,
    /// Whether only what it acknowledges is missing.
    pub unseen: bool,
    /// Whether the connection was over before it.
    pub over: bool,
}

/// What a flow says, whoever says it.
#[derive(Clone, Debug)]
pub struct Kin {
    /// Its `tcp.stream` or `udp.stream`.
    pub stream: u32,
    /// Who opened it.
    pub client: Sock,
    /// Whom.
    pub server: Sock,
    /// Its protocol.
    pub proto: Proto,
    /// What there was of it before.
    pub beginning: Beginning,
    /// Its segments, in order; at least one.
    pub steps: Vec<Step>,
}

impl Kin {
    /// When it begins.
    pub fn start(&self) -> Instant {
        self.steps.first().map_or(Instant::ZERO, |step| step.seg.at)
    }

    /// Whether a step is the first SYN of a connection, which its client sends again if nobody answers.
    pub fn opens(&self, step: usize) -> bool {
        step == 0
            && self.proto == Proto::Tcp
            && self.steps.first().is_some_and(|s| s.seg.flags.has(TcpFlags::SYN) && !s.seg.flags.any(TcpFlags::ACK | TcpFlags::RST))
    }

    /// A half-open connection of a SYN flood: one SYN, and the server's SYN/ACK with its repetitions if it answers.
    pub fn flood(answered: bool) -> Kin {
        let client = Sock { addr: crate::net::Addr::v4([0; 4]), port: 40_000 };
        let server = Sock { addr: crate::net::Addr::v4([0; 4]), port: 80 };
        let syn = Segment { seq: Seq(1_000), window: 64_240, flags: TcpFlags(TcpFlags::SYN), ..Segment::EMPTY };
        let answer = Segment {
            seq: Seq(77_000),
            ack: syn.end(),
            window: 65_160,
            flags: TcpFlags(TcpFlags::SYN | TcpFlags::ACK),
            dir: Direction::Reply,
            ..Segment::EMPTY
        };
        let step = |seg: Segment| Step { seg, hole: false, unseen: false, over: false };
        let mut steps = vec![step(syn)];
        if answered {
            let at = |after: u64| Instant(FLOOD_RTT.0 + after * 1_000_000_000);
            steps.extend(SYN_ACK_AGAIN.iter().map(|after| step(Segment { at: at(*after), ..answer })));
        }
        Kin { stream: u32::MAX, client, server, proto: Proto::Tcp, beginning: Beginning::Seen, steps }
    }
}

/// How soon the flooded server answers.
const FLOOD_RTT: Duration = Duration::from_millis(1);
/// When a server sends its SYN/ACK, in seconds after the first: five repetitions (`tcp_synack_retries`).
const SYN_ACK_AGAIN: [u64; 6] = [0, 1, 3, 7, 15, 31];

/// Follows flows and keeps what they say.
#[derive(Clone, Copy, Debug)]
pub struct Gather<'p> {
    replay: Replay<'p>,
}

/// A flow that is being followed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heard {
    run: FlowRun,
    beginning: Beginning,
    steps: Vec<Step>,
}

impl<'p> Gather<'p> {
    /// `nowhere` is [`nowhere`]: whether a connection is over does not depend on boxes.
    pub fn new(nowhere: &'p Path) -> Gather<'p> {
        Gather { replay: Replay::new(nowhere) }
    }
}

/// A path without boxes.
pub const fn nowhere() -> Path {
    Path::direct(Clock::Ideal)
}

impl Follow for Gather<'_> {
    type Run = Heard;

    fn begin(&self, flow: &Flow, seg: &Segment) -> Heard {
        Heard { run: self.replay.begin(flow, seg), beginning: Replay::beginning(flow, seg), steps: Vec::new() }
    }

    fn segment(&self, heard: &mut Heard, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        let before = heard.run.is_over();
        self.replay.segment(&mut heard.run, flow, seg, observation, previous_frame);
        // What the capture point saw twice crossed the boxes once.
        if observation.shape != Shape::Duplicate {
            heard.steps.push(Step {
                seg: *seg,
                hole: observation.evidence == GapEvidence::Hole,
                unseen: observation.shape == Shape::AckUnseen,
                over: before && heard.run.is_over(),
            });
        }
    }
}

/// The flows of a run, in the order of their first packets.
pub fn kin(run: Followed<Heard>) -> Vec<Kin> {
    let book = run.book;
    let kin = |judged: Judged<Heard>| {
        let [client, server] = book.socks(&judged.flow.ends);
        Kin {
            stream: judged.flow.stream,
            client,
            server,
            proto: judged.flow.proto(),
            beginning: judged.run.beginning,
            steps: judged.run.steps,
        }
    };
    run.flows.into_iter().map(kin).filter(|kin| !kin.steps.is_empty()).collect()
}
