//! An observer that keeps a diary of a run's one flow: every packet with its end, every burning of each box's timer.
//!
//! Packets have no numbers in the loop: one that arrives, is dropped or lost is the oldest one under way that looks the same.

use super::network::Fault;
use super::outcome::Forgotten;
use super::trace::Observer;
use crate::engine::Hop;
use crate::engine::diary::{Crossing, Diary, Sort};
use crate::engine::hop::HopState;
use crate::model::{Outcome as BoxOutcome, Side, Tuple, What};
use crate::net::{Direction, Proto, Segment, Seq, TcpFlags};
use crate::time::Instant;

/// A packet whose end is not known yet.
#[derive(Clone, Copy, Debug)]
struct Flying {
    seg: Segment,
    towards: Side,
    place: usize,
}

/// Keeps a diary of one flow.
#[derive(Clone, Debug)]
pub struct Diarist {
    /// What happened so far.
    pub diary: Diary,
    /// What happened to the path.
    pub faults: Vec<(Instant, Fault)>,
    flying: Vec<Flying>,
    /// With which addresses each box was last reached.
    tuples: Vec<Option<Tuple>>,
    /// The highest number that each side has sent.
    ends: [Option<Seq>; 2],
}

impl Diarist {
    /// For a path with so many boxes.
    pub fn new(boxes: usize) -> Diarist {
        Diarist { diary: Diary::new(boxes), faults: Vec::new(), flying: Vec::new(), tuples: vec![None; boxes], ends: [None; 2] }
    }

    /// A packet leaves a host or a box; whether it comes through is not known yet.
    fn leaves(&mut self, at: Instant, towards: Side, seg: &Segment, sort: Sort, from_box: Option<usize>) {
        let dir = if towards == Side::Server { Direction::Original } else { Direction::Reply };
        let before = self.diary.packets.len();
        self.diary.packet(Crossing { at, dir, sort, passed: true, from_box, kept_by: None, frame: 0, len: seg.len });
        if self.diary.packets.len() > before {
            self.flying.push(Flying { seg: *seg, towards, place: before });
        }
    }

    /// The place of a packet under way, which is no longer so.
    fn ends(&mut self, towards: Side, seg: &Segment) -> Option<usize> {
        let same = |flying: &Flying| flying.towards == towards && Segment { dir: seg.dir, ..flying.seg } == *seg;
        let index = self.flying.iter().position(same)?;
        Some(self.flying.remove(index).place)
    }

    fn stopped(&mut self, towards: Side, seg: &Segment, by: Option<usize>) {
        if let Some(place) = self.ends(towards, seg)
            && let Some(crossing) = self.diary.packets.get_mut(place)
        {
            (crossing.passed, crossing.kept_by) = (false, by);
        }
    }

    /// Whether a segment only asks whether the other side is alive: one before the next number, and nothing in it.
    fn is_probe(&self, side: usize, seg: &Segment) -> bool {
        let asks = seg.len == 0 && seg.flags.has(TcpFlags::ACK) && !seg.flags.any(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST);
        asks && self.ends[side].is_some_and(|end| seg.seq == end.minus(1))
    }

    /// The run is over.
    pub fn finish(&mut self, end: Instant) {
        // Those that ended while the flow was not over have been told.
        self.diary.finish(end, false);
    }
}

impl Observer for Diarist {
    fn host_sent(&mut self, at: Instant, side: Side, _tuple: Tuple, seg: &Segment) {
        let own = usize::from(side == Side::Server);
        let sort = Sort::of(Proto::Tcp, seg, self.is_probe(own, seg));
        if !seg.flags.has(TcpFlags::RST) && (seg.flags.has(TcpFlags::SYN) || self.ends[own].is_none_or(|end| seg.end().after(end))) {
            self.ends[own] = Some(seg.end());
        }
        self.leaves(at, side.opposite(), seg, sort, None);
    }

    fn host_got(&mut self, _at: Instant, side: Side, _tuple: Tuple, seg: &Segment) {
        self.ends(side, seg);
    }

    fn box_got(&mut self, _at: Instant, hop: usize, from: Side, tuple: Tuple, seg: &Segment, out: &BoxOutcome) {
        if let Some(known) = self.tuples.get_mut(hop) {
            *known = Some(tuple);
        }
        if out.forwarded().is_none_or(|sent| sent.to != from.opposite()) {
            self.stopped(from.opposite(), seg, Some(hop));
        }
    }

    fn box_sent(&mut self, at: Instant, hop: usize, to: Side, _tuple: Tuple, seg: &Segment, what: What) {
        let own = match what {
            What::Reset { .. } => Sort::Rst,
            What::Unreachable => Sort::Icmp,
            // What is passed on is under way already; a box that closes connections itself sends what nobody sent before.
            What::Packet if self.flying.iter().any(|f| f.towards == to && Segment { dir: seg.dir, ..f.seg } == *seg) => return,
            What::Packet => Sort::of(Proto::Tcp, seg, false),
        };
        self.leaves(at, to, seg, own, Some(hop));
    }

    fn box_keeps(&mut self, at: Instant, hop: usize, of: &Hop, state: &HopState) {
        let timer = self.tuples.get(hop).copied().flatten().and_then(|tuple| of.running(state, tuple));
        // Addresses that the box does not know say nothing about the entries that it has.
        if timer.is_some() || of.entries(state) == 0 {
            self.diary.holds(hop, at, timer);
        }
    }

    fn forgot(&mut self, entry: &Forgotten) {
        self.diary.lapsed(entry.hop, entry.lapse(), entry.at);
    }

    fn lost(&mut self, _at: Instant, _link: usize, _tuple: Tuple, seg: &Segment) {
        for towards in [Side::Server, Side::Client] {
            self.stopped(towards, seg, None);
        }
    }

    fn fault(&mut self, at: Instant, what: Fault) {
        self.faults.push((at, what));
    }
}
