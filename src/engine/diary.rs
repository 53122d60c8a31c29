//! One flow in full: every packet with what became of it, and every burning of each box's timer. For a single flow that somebody
//! wants to see; what is kept of all flows is far less.
//!
//! A [`Diary`] is written by whoever leads the flow: [`Diarist`] for captures, the closed loop's observer for scenarios. It judges
//! nothing and draws nothing.

use super::pipeline::Follow;
use super::replay::{FlowRun, Replay, Witness};
use crate::flow::{Flow, Observation, Shape};
use crate::model::{Lapse, Outcome, What};
use crate::net::{Direction, Proto, Segment, TcpFlags};
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// With SYN.
    Syn,
    /// With payload, and every datagram.
    Data,
    /// An acknowledgement without payload.
    Ack,
    /// A keepalive probe.
    Probe,
    /// With FIN.
    Fin,
    /// With RST.
    Rst,
    /// An ICMP error.
    Icmp,
}

impl Sort {
    /// The sort of a segment; whether it is a probe only its flow knows.
    pub fn of(proto: Proto, seg: &Segment, probe: bool) -> Sort {
        let flags = seg.flags;
        if proto == Proto::Udp {
            Sort::Data
        } else if flags.has(TcpFlags::RST) {
            Sort::Rst
        } else if flags.has(TcpFlags::SYN) {
            Sort::Syn
        } else if probe {
            Sort::Probe
        } else if flags.has(TcpFlags::FIN) {
            Sort::Fin
        } else if seg.len > 0 {
            Sort::Data
        } else {
            Sort::Ack
        }
    }
}

/// A packet, and how far it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crossing {
    /// When it was sent, or captured.
    pub at: Instant,
    /// Which way it went.
    pub dir: Direction,
    /// What it was.
    pub sort: Sort,
    /// Whether it came through.
    pub passed: bool,
    /// The box that sent it of its own accord.
    pub from_box: Option<usize>,
    /// The box that kept it, or changed it so that nobody knows it.
    pub kept_by: Option<usize>,
    /// Its number in its capture; 0 where it has none.
    pub frame: u32,
    /// The payload that it carries, in bytes.
    pub len: u32,
}

/// A box's timer from one setting to the next, or to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burning {
    /// When it stopped burning so: it was set anew, put out, or had run out.
    pub to: Instant,
    /// When it was set, to what, in which state.
    pub timer: Lapse,
    /// Whether it ran out.
    pub burnt: bool,
}

/// What one box remembered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// The timers that are over, rising.
    pub past: Vec<Burning>,
    lit: Option<Lapse>,
}

impl Memory {
    /// The entry had ended before whatever happens now.
    pub fn lapsed(&mut self, timer: Lapse, to: Instant) {
        self.lit = None;
        if self.past.last().is_none_or(|last| last.timer != timer) {
            self.past.push(Burning { to, timer, burnt: true });
        }
    }

    /// What runs now, if anything.
    pub fn holds(&mut self, at: Instant, timer: Option<Lapse>) {
        if let Some(lit) = self.lit.filter(|lit| Some(*lit) != timer) {
            self.past.push(Burning { to: at, timer: lit, burnt: false });
        }
        self.lit = timer;
    }

    /// What runs, to its end or to the end of everything.
    fn finish(&mut self, end: Instant, matters: bool) {
        if let Some(timer) = self.lit.take() {
            let runs_out = timer.refreshed + timer.timeout;
            self.past.push(Burning { to: runs_out.min(end), timer, burnt: matters && runs_out <= end });
        }
    }

    /// When the running timer will have run out.
    fn deadline(&self) -> Option<Instant> {
        self.lit.map(|timer| timer.refreshed + timer.timeout)
    }
}

/// Everything that happened to one flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diary {
    /// Packets, in the order in which they were sent.
    pub packets: Vec<Crossing>,
    /// The boxes, from the client on.
    pub boxes: Vec<Memory>,
    /// Packets that are not written down because there are too many.
    pub left_out: u64,
    /// With so many, only those after a silence or with a fate are written down.
    most: usize,
}

impl Diary {
    /// More packets than anybody reads; beyond, only those after a silence or with a fate are written down.
    const MOST: usize = 1_000_000;

    /// An empty one for a path with so many boxes.
    pub fn new(boxes: usize) -> Diary {
        Diary::bounded(boxes, Self::MOST)
    }

    /// One that is full earlier.
    pub fn bounded(boxes: usize, most: usize) -> Diary {
        Diary { packets: Vec::new(), boxes: vec![Memory::default(); boxes], left_out: 0, most }
    }

    /// Whether the next packet is one of too many.
    fn is_full(&self, at: Instant) -> bool {
        self.packets.len() >= self.most && self.packets.last().is_some_and(|last| at.since(last.at) < Duration::from_secs(1))
    }

    /// A packet.
    pub fn packet(&mut self, crossing: Crossing) {
        if self.is_full(crossing.at) && crossing.passed {
            self.left_out += 1;
        } else {
            self.packets.push(crossing);
        }
    }

    /// What a box holds now; none of its timers where it does not know the flow.
    pub fn holds(&mut self, hop: usize, at: Instant, timer: Option<Lapse>) {
        let full = self.is_full(at);
        let Some(memory) = self.boxes.get_mut(hop) else { return };
        // Of too many settings of one timer only the last is kept.
        if let (true, Some(lit), Some(new)) = (full, &mut memory.lit, timer)
            && (lit.timeout, lit.state) == (new.timeout, new.state)
        {
            *lit = new;
            return;
        }
        memory.holds(at, timer);
    }

    /// An entry of a box had ended before whatever happens now.
    pub fn lapsed(&mut self, hop: usize, timer: Lapse, at: Instant) {
        if let Some(memory) = self.boxes.get_mut(hop) {
            memory.lapsed(timer, at);
        }
    }

    /// When the last timer that runs will have run out.
    pub fn last_deadline(&self) -> Option<Instant> {
        self.boxes.iter().filter_map(Memory::deadline).max()
    }

    /// Nothing more happens: what runs burns on until `end`. Whether it is burnt out then `matters` only while the flow is not over.
    pub fn finish(&mut self, end: Instant, matters: bool) {
        for memory in &mut self.boxes {
            memory.finish(end, matters);
        }
    }
}

/// Follows one flow of a capture as a replay does, and keeps a diary of it.
#[derive(Debug)]
pub struct Diarist<'p> {
    /// The replay.
    pub replay: Replay<'p>,
    /// The file and frame with which the flow begins.
    pub first: (u16, u32),
    /// How many packets it has.
    pub packets: u64,
}

/// The flow under way.
#[derive(Debug)]
pub struct Kept {
    /// The flow's way through the path, as every replay tells it.
    pub run: FlowRun,
    /// What happened.
    pub diary: Diary,
    /// Packets after the cut: they would not have been sent so.
    pub after_cut: u64,
    seen: u64,
    packets: u64,
}

/// What the boxes made of one packet.
#[derive(Default)]
struct Notes {
    lapses: Vec<(usize, Lapse)>,
    last: Option<usize>,
    reset: Option<What>,
}

impl Witness for Notes {
    fn box_did(&mut self, hop: usize, outcome: &Outcome) {
        self.last = Some(hop);
        if let Some(lapse) = outcome.lapse {
            self.lapses.push((hop, lapse));
        }
        self.reset = outcome.sent.iter().flatten().map(|sent| sent.what).find(|what| *what != What::Packet);
    }
}

impl Follow for Diarist<'_> {
    type Run = Option<Box<Kept>>;

    fn begin(&self, flow: &Flow, seg: &Segment) -> Self::Run {
        let wanted = (flow.first_file, flow.first_frame) == self.first;
        wanted.then(|| begin(&self.replay, flow, seg, self.packets, Diary::MOST))
    }

    fn segment(&self, run: &mut Self::Run, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        if let Some(kept) = run {
            lead(&self.replay, kept, flow, seg, observation, previous_frame);
        }
    }
}

/// The same for several flows in one reading; each diary is bounded, so that all of them together fit into memory.
#[derive(Debug)]
pub struct Diarists<'p> {
    /// The replay.
    pub replay: Replay<'p>,
    /// The file and frame with which each flow begins, and how many packets it has.
    pub wanted: BTreeMap<(u16, u32), u64>,
}

impl Diarists<'_> {
    /// With so many packets a diary is full: fewer where there are more of them.
    fn most(&self) -> usize {
        (2_000_000 / self.wanted.len().max(1)).clamp(2_000, 50_000)
    }
}

impl Follow for Diarists<'_> {
    type Run = Option<Box<Kept>>;

    fn begin(&self, flow: &Flow, seg: &Segment) -> Self::Run {
        let packets = self.wanted.get(&(flow.first_file, flow.first_frame))?;
        Some(begin(&self.replay, flow, seg, *packets, self.most()))
    }

    fn segment(&self, run: &mut Self::Run, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        if let Some(kept) = run {
            lead(&self.replay, kept, flow, seg, observation, previous_frame);
        }
    }
}

/// A flow begins with this segment.
fn begin(replay: &Replay<'_>, flow: &Flow, seg: &Segment, packets: u64, most: usize) -> Box<Kept> {
    let run = replay.begin(flow, seg);
    let mut diary = Diary::bounded(run.hops.len(), most);
    for (hop, timer) in replay.running(&run, flow) {
        diary.holds(usize::from(hop), seg.at, Some(timer));
    }
    Box::new(Kept { run, diary, after_cut: 0, seen: 0, packets })
}

/// Leads a segment through the path and writes down what became of it.
fn lead(replay: &Replay<'_>, kept: &mut Kept, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
    // A file that has grown since it was read first has more than was judged.
    if kept.seen >= kept.packets {
        return;
    }
    kept.seen += 1;
    if kept.run.cut.is_some() {
        kept.after_cut += 1;
        return;
    }
    if observation.shape == Shape::Duplicate {
        return;
    }
    let mut notes = Notes::default();
    let blocked = kept.run.blocked;
    replay.witnessed(&mut kept.run, flow, seg, observation, previous_frame, &mut notes);
    let passed = kept.run.cut.is_none() && kept.run.blocked == blocked;
    let sort = Sort::of(flow.proto(), seg, observation.shape == Shape::KeepaliveProbe);
    let kept_by = notes.last.filter(|_| !passed);
    kept.diary.packet(Crossing { at: seg.at, dir: seg.dir, sort, passed, from_box: None, kept_by, frame: seg.frame, len: seg.len });
    if let (Some(what), false) = (notes.reset, passed) {
        let sort = if what == What::Unreachable { Sort::Icmp } else { Sort::Rst };
        let dir = seg.dir.opposite();
        let back = Crossing { at: seg.at, dir, sort, passed: true, from_box: notes.last, kept_by: None, frame: 0, len: 0 };
        kept.diary.packet(back);
    }
    let now = replay.judged_at(seg.at);
    for (hop, lapse) in notes.lapses {
        let end = (lapse.refreshed + lapse.timeout).min(now);
        kept.diary.lapsed(hop, lapse, end);
    }
    let mut holds = vec![None; kept.diary.boxes.len()];
    for (hop, timer) in replay.running(&kept.run, flow) {
        holds[usize::from(hop)] = Some(timer);
    }
    for (hop, timer) in holds.into_iter().enumerate() {
        kept.diary.holds(hop, now, timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Clause;

    fn timer(at: u64, secs: u64) -> Lapse {
        Lapse { refreshed: Instant::from_secs(at), timeout: Duration::from_secs(secs), clause: Clause::None, state: "ESTABLISHED" }
    }

    #[test]
    fn a_timer_burns_until_it_is_set_anew_or_has_run_out() {
        let mut diary = Diary::new(1);
        diary.holds(0, Instant::from_secs(0), Some(timer(0, 900)));
        // Nothing changed: it burns on.
        diary.holds(0, Instant::from_secs(5), Some(timer(0, 900)));
        diary.holds(0, Instant::from_secs(10), Some(timer(10, 900)));
        diary.lapsed(0, timer(10, 900), Instant::from_secs(910));
        diary.holds(0, Instant::from_secs(1000), Some(timer(1000, 900)));
        assert_eq!(diary.last_deadline(), Some(Instant::from_secs(1900)));
        diary.finish(Instant::from_secs(1500), true);
        let told: Vec<(u64, u64, bool)> = diary.boxes[0]
            .past
            .iter()
            .map(|b| (b.timer.refreshed.since(Instant::ZERO).as_secs(), b.to.since(Instant::ZERO).as_secs(), b.burnt))
            .collect();
        assert_eq!(told, [(0, 10, false), (10, 910, true), (1000, 1500, false)]);
    }

    #[test]
    fn too_many_packets_are_counted_and_their_timers_are_one() {
        let mut diary = Diary::new(1);
        let packet = |nanos| Crossing {
            at: Instant(nanos),
            dir: Direction::Original,
            sort: Sort::Data,
            passed: true,
            from_box: None,
            kept_by: None,
            frame: 0,
            len: 0,
        };
        for n in 0..Diary::MOST as u64 + 10 {
            diary.packet(packet(n));
            diary.holds(0, Instant(n), Some(Lapse { refreshed: Instant(n), ..timer(0, 900) }));
        }
        assert_eq!((diary.packets.len(), diary.left_out), (Diary::MOST, 10));
        assert!(diary.boxes[0].past.len() <= Diary::MOST);
        diary.packet(packet(5_000_000_000));
        assert_eq!(diary.packets.len(), Diary::MOST + 1);
    }
}
