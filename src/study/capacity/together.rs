//! All flows at once, in the order of time, through tables that they share: a true global simulation.
//!
//! A flow says what its template says, at its own times; a SYN that found no room is sent again as its client would, and the rest of
//! the flow comes so much later. Nothing is simulated of a flow after it was cut. Leaves out: what else the hosts would do differently
//! because of a loss.

use super::alone::begin;
use super::carry::{Gate, Held, Passage, carry};
use super::gather::Kin;
use super::load::{Load, moved};
use super::meter::Meter;
use super::shelf::{Deeds, Shelf};
use super::sizes::Size;
use super::{Fate, Victim};
use crate::engine::Path;
use crate::engine::hop::{Device, Hop};
use crate::engine::shared;
use crate::model::{Moment, Outcome, Packet};
use crate::net::Segment;
use crate::time::{Duration, Instant};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};

/// After how many turns somebody may have stopped it.
const LOOKS: u32 = 1024;

/// When a client sends its SYN again, seconds after the first (`tcp_syn_retries` 6), and when it gives up.
const SYN_AGAIN: [u64; 7] = [1, 3, 7, 15, 31, 63, 127];

/// Whose segments a flow of the flood says.
const FLOOD: u32 = u32::MAX;

/// A flow that has begun and has something to say.
struct Flow {
    kin: u32,
    copy: u32,
    /// Which of all flows it is: it stands for its addresses.
    number: u64,
    step: u32,
    /// How often its SYN was refused.
    refused: u8,
    /// Whether an entry of it was evicted, and no packet has come since.
    evicted: bool,
    repaired: bool,
    shift: i64,
    hops: Box<[Held]>,
}

/// What came of a global run.
#[derive(Debug)]
pub struct Together {
    /// For each box, its table over time; none for a box without one.
    pub meters: Vec<Option<(Meter, Deeds)>>,
    /// Flows by fate.
    pub fates: [u64; Fate::COUNT],
    /// Flows that something was lost of, the first ones.
    pub victims: Vec<Victim>,
    /// Packets that were led through the path.
    pub packets: u64,
    /// The most flows that were in memory at once.
    pub flows_peak: u64,
    /// Until when it ran, where somebody stopped it.
    pub until: Option<Instant>,
}

struct Shelves(Vec<Option<Shelf>>, u64);

impl Gate for Shelves {
    fn packet(&mut self, index: usize, hop: &Hop, held: &mut Held, packet: Packet<'_>, moment: &mut Moment) -> Outcome {
        match &mut self.0[index] {
            Some(shelf) => shelf.packet(hop, held, self.1, packet, moment),
            None => hop.packet(&mut held.state, packet, moment),
        }
    }
}

struct Run<'l> {
    load: &'l Load,
    path: Path,
    shelves: Shelves,
    flows: Vec<Option<Flow>>,
    free: Vec<u32>,
    queue: BinaryHeap<Reverse<(Instant, u32)>>,
    fates: [u64; Fate::COUNT],
    victims: Vec<Victim>,
    victims_max: usize,
    packets: u64,
}

/// Runs all flows. `tell` hears from time to time which share of the time has passed, in thousandths. When `stop` becomes true, what
/// happened until then is kept.
pub fn run(path: &Path, sizes: &[Size], load: &Load, seed: u64, victims_max: usize, tell: &dyn Fn(u64), stop: &AtomicBool) -> Together {
    let shelves = path.hops.iter().zip(sizes).enumerate();
    let shelves = shelves.map(|(index, (hop, size))| Shelf::new(hop, size, seed.wrapping_add(index as u64), load.begin, load.end));
    let mut run = Run {
        load,
        path: path.clone(),
        shelves: Shelves(shelves.collect(), 0),
        flows: Vec::new(),
        free: Vec::new(),
        queue: BinaryHeap::new(),
        fates: [0; Fate::COUNT],
        victims: Vec::new(),
        victims_max,
        packets: 0,
    };
    run.switch();
    let until = run.all(tell, stop);
    Together {
        meters: run.shelves.0.into_iter().map(|shelf| shelf.map(|shelf| shelf.finish(until))).collect(),
        until,
        fates: run.fates,
        victims: run.victims,
        packets: run.packets,
        flows_peak: run.flows.len() as u64,
    }
}

impl Run<'_> {
    /// Lets everything happen; says until when, where it was stopped.
    fn all(&mut self, tell: &dyn Fn(u64), stop: &AtomicBool) -> Option<Instant> {
        let load = self.load;
        let (mut member, mut flooder, flooders) = (0, 0, load.flooders());
        let (mut told, mut turns, mut until) = (0, 0_u32, None);
        loop {
            let starts = load.members.get(member).map_or(Instant::MAX, |member| Instant(member.start));
            let floods = if flooder < flooders { load.flood_start(flooder) } else { Instant::MAX };
            let queued = self.queue.peek().map_or(Instant::MAX, |Reverse((at, _))| *at);
            let next = starts.min(floods).min(queued);
            if turns.is_multiple_of(LOOKS) && stop.load(Ordering::Relaxed) && next < load.end {
                until = Some(next.max(load.begin));
                break;
            }
            turns = turns.wrapping_add(1);
            self.work(next.min(load.end));
            if next > load.end || next == Instant::MAX {
                break;
            }
            if queued == next {
                if let Some(Reverse((at, index))) = self.queue.pop() {
                    self.turn(index, at);
                }
            } else if starts == next {
                let one = load.members[member];
                self.start(one.kin, one.copy, member as u64, load.shift(one), next);
                member += 1;
            } else {
                self.start(FLOOD, 0, 1 << 40 | flooder, next.0 as i64, next);
                flooder += 1;
            }
            let share = next.since(load.begin).0 / (load.end.since(load.begin).0 / 1000).max(1);
            if share > told {
                told = share;
                tell(share);
            }
        }
        // Flows that had something to say after the end have come to no harm before it.
        let waiting: Vec<Fate> = self.flows.iter().flatten().filter(|flow| flow.kin != FLOOD).map(Flow::fate).collect();
        for fate in waiting {
            self.fates[fate as usize] += 1;
        }
        until
    }

    /// Lets the tables do what is due until then.
    fn work(&mut self, until: Instant) {
        self.shelves.0.iter_mut().flatten().for_each(|shelf| shelf.rest(until));
        loop {
            let due = self.shelves.0.iter().enumerate().filter_map(|(index, shelf)| shelf.as_ref().map(|shelf| (shelf.due(), index))).min();
            let Some((at, index)) = due.filter(|(at, _)| *at <= until) else { return };
            if let Some(shelf) = &mut self.shelves.0[index] {
                shelf.work(at);
            }
            self.evict(index);
            self.switch();
        }
    }

    /// Takes from flows the entries that their tables dropped.
    fn evict(&mut self, index: usize) {
        let Some(shelf) = &mut self.shelves.0[index] else { return };
        while let Some(id) = shelf.gone() {
            let Some(owner) = shelf.pairs.owner(id / 2) else { continue };
            let Some(flow) = self.flows.get_mut(owner as usize).and_then(Option::as_mut) else { continue };
            flow.evicted |= shared::take(&self.path.hops[index], &mut flow.hops[index].state, id).is_some();
        }
    }

    /// Puts the transition tables in force that `secure_tcp` asks for.
    fn switch(&mut self) {
        for (hop, shelf) in self.path.hops.iter_mut().zip(&self.shelves.0) {
            if let (Device::Director(director), Some(secure)) = (&mut hop.device, shelf.as_ref().and_then(Shelf::secure_tcp)) {
                director.ipvs.secure_tcp = secure;
            }
        }
    }

    fn kin(&self, kin: u32) -> &Kin {
        self.load.kin.get(kin as usize).unwrap_or(&self.load.flood_kin)
    }

    fn start(&mut self, kin: u32, copy: u32, number: u64, shift: i64, now: Instant) {
        let owner = self.free.pop().unwrap_or(self.flows.len() as u32);
        let mut hops = begin(&self.path, self.kin(kin), shift).into_boxed_slice();
        for ((hop, held), shelf) in self.path.hops.iter().zip(&mut hops).zip(&mut self.shelves.0) {
            if let Some(shelf) = shelf {
                held.pair = shelf.take(owner, kin == FLOOD);
                if hop.entries(&held.state) > 0 {
                    shelf.adopt(hop, held, number, now);
                }
            }
        }
        let flow = Flow { kin, copy, number, step: 0, refused: 0, evicted: false, repaired: false, shift, hops };
        if owner as usize == self.flows.len() {
            self.flows.push(Some(flow));
        } else {
            self.flows[owner as usize] = Some(flow);
        }
        self.turn(owner, now);
    }

    /// The next packet of a flow.
    fn turn(&mut self, index: u32, now: Instant) {
        let Some(mut flow) = self.flows[index as usize].take() else { return };
        let load = self.load;
        let kin = load.kin.get(flow.kin as usize).unwrap_or(&load.flood_kin);
        let step = &kin.steps[flow.step as usize];
        let seg = Segment { at: now, ..step.seg };
        self.shelves.1 = flow.number;
        self.packets += 1;
        let passage = carry(&self.path, kin, &mut flow.hops, step, &seg, &mut self.shelves);
        for hop in 0..self.path.hops.len() {
            self.evict(hop);
        }
        match flow.after(kin, passage) {
            After::Next => {
                flow.step += 1;
                match kin.steps.get(flow.step as usize) {
                    Some(next) => {
                        let at = moved(next.seg.at, flow.shift).max(now);
                        self.wait(index, flow, at);
                    }
                    None => self.finish(index, &flow, Fate::Passed, now),
                }
            }
            After::Again(span) => {
                let at = moved(kin.start(), flow.shift) + span;
                self.wait(index, flow, at);
            }
            After::Over(fate) => self.finish(index, &flow, fate, now),
        }
    }

    fn wait(&mut self, index: u32, flow: Flow, at: Instant) {
        self.queue.push(Reverse((at, index)));
        self.flows[index as usize] = Some(flow);
    }

    fn finish(&mut self, index: u32, flow: &Flow, fate: Fate, at: Instant) {
        let fate = if fate == Fate::Passed { flow.fate() } else { fate };
        for (held, shelf) in flow.hops.iter().zip(&mut self.shelves.0) {
            if let Some(shelf) = shelf {
                shelf.leave(held.pair);
            }
        }
        self.free.push(index);
        if flow.kin == FLOOD {
            return;
        }
        self.fates[fate as usize] += 1;
        if matches!(fate, Fate::Cut | Fate::Evicted | Fate::Refused) && self.victims.len() < self.victims_max {
            self.victims.push(Victim { kin: flow.kin, copy: flow.copy, fate, at });
        }
    }
}

/// What a flow does after a packet.
enum After {
    /// It says what comes next.
    Next,
    /// It sends the same packet again, so long after it was sent first.
    Again(Duration),
    /// It is over.
    Over(Fate),
}

impl Flow {
    /// What is to be said of a flow of which nothing was lost for good.
    const fn fate(&self) -> Fate {
        if self.refused > 0 {
            Fate::Delayed
        } else if self.repaired {
            Fate::Repaired
        } else {
            Fate::Passed
        }
    }

    fn after(&mut self, kin: &Kin, passage: Passage) -> After {
        if passage.refused.is_some() && kin.opens(self.step as usize) {
            if self.kin == FLOOD {
                return After::Over(Fate::Refused);
            }
            let again = SYN_AGAIN[usize::from(self.refused).min(SYN_AGAIN.len() - 1)];
            self.refused += 1;
            // The last of them is when it gives up.
            return if usize::from(self.refused) >= SYN_AGAIN.len() {
                After::Over(Fate::Refused)
            } else {
                After::Again(Duration::from_secs(again))
            };
        }
        if self.step == 0 && self.refused > 0 {
            self.shift += Duration::from_secs(SYN_AGAIN[usize::from(self.refused) - 1]).0 as i64;
        }
        if passage.through {
            self.repaired |= passage.late || self.evicted;
            self.evicted = false;
        } else if passage.late {
            return After::Over(Fate::Cut);
        } else if self.evicted && !kin.steps[self.step as usize].over {
            return After::Over(Fate::Evicted);
        }
        After::Next
    }
}
