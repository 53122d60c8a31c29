//! The flows of one capture with marks by which the same flow is known again in another capture, whatever was translated in
//! between: sequence numbers, and what payloads begin with. Compares nothing.

use super::dossier::Print;
use super::packets::{self, Seen};
use super::pipeline::{self, Followed, Job, Judged, Run, most};
use crate::capture::Capture;
use crate::decode::content;
use crate::flow::{FlowTable, Observation, Shape, StreamRule, number_streams};
use crate::net::{Proto, Segment, Seq, TcpFlags};
use std::sync::atomic::AtomicBool;

/// How many marks of a kind are kept of a direction: of very many the same ones in every capture, the smallest.
const MARKS_MAX: usize = 48;

/// The smallest of many numbers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sketch(Vec<u32>);

impl Sketch {
    fn add(&mut self, mark: u32) {
        if self.0.len() == MARKS_MAX && self.0.last().is_some_and(|last| mark > *last) {
            return;
        }
        if let Err(place) = self.0.binary_search(&mark) {
            self.0.insert(place, mark);
            self.0.truncate(MARKS_MAX);
        }
    }

    /// The marks, rising.
    pub fn marks(&self) -> &[u32] {
        &self.0
    }

    /// How many both have.
    pub fn common(&self, other: &Sketch) -> u32 {
        self.0.iter().filter(|mark| other.0.binary_search(mark).is_ok()).count() as u32
    }
}

/// What a flow is known by.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Signature {
    /// Of its sequence numbers, by direction.
    pub numbers: [Sketch; 2],
    /// Of its payloads, by direction.
    pub payloads: [Sketch; 2],
    /// The initial sequence numbers, where they were captured.
    pub initial: [Option<Seq>; 2],
    /// RSTs.
    pub resets: u32,
}

fn mix(number: u32) -> u32 {
    (u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

impl Signature {
    fn take(&mut self, proto: Proto, seg: &Segment, print: Option<Print>, observation: &Observation) {
        if observation.shape == Shape::Duplicate {
            return;
        }
        let side = seg.dir.index();
        if proto == Proto::Tcp {
            self.numbers[side].add(mix(seg.seq.0));
            if seg.flags.has(TcpFlags::SYN) {
                self.initial[side].get_or_insert(seg.seq);
            }
            self.resets += u32::from(seg.flags.has(TcpFlags::RST));
        }
        if let Some(print) = print {
            self.payloads[side].add(print.mark());
        }
    }
}

/// Reads a capture. When `stop` becomes true, what was read so far is kept.
pub fn gather(capture: &mut Capture, job: &Job, stop: &AtomicBool) -> Followed<Signature> {
    let mut table = FlowTable::new(StreamRule::default());
    table.hold_at_most(most(job));
    let mut signatures: Vec<Signature> = Vec::new();
    let mut book = pipeline::book(job.flows_max);
    let passed = packets::each(capture, job, stop, |seen| {
        let Seen::Packet(record, packet, order) = seen else { return };
        let ends = book.ends(packet.src, packet.dst, packet.proto);
        let mut seg = packet.segment;
        let placed = table.observe(&ends, &mut seg, order);
        if book.is_full() {
            book.sweep(|mark| table.flows().for_each(|flow| mark(&flow.ends)));
        }
        let Some((placed, observation)) = placed else { return };
        match signatures.get_mut(placed.flow.get()).filter(|_| placed.is_new) {
            Some(signature) => *signature = Signature::default(),
            None if placed.is_new => signatures.push(Signature::default()),
            None => {}
        }
        let print = content(record, packet).and_then(|content| Print::of(content.payload, seg.len));
        signatures[placed.flow.get()].take(packet.proto, &seg, print, &observation);
    });
    table.close(false, |one, other| signatures.swap(one, other));
    number_streams(&mut [&mut table]);
    let no_room = table.no_room();
    let flows = table.into_flows().zip(signatures).map(|(flow, run)| Judged { flow, run }).collect();
    Run {
        flows,
        book,
        counters: passed.decoder.counters(),
        filtered: passed.filtered,
        flows_max: job.flows_max,
        no_room,
        damages: capture.damages(),
        times: capture.times(),
        errors: Vec::new(),
        names: capture.names().to_vec(),
        begin: passed.begin.min(passed.end),
        end: passed.end,
        interrupted: passed.interrupted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sketch_keeps_the_same_marks_whatever_the_order() {
        let (mut one, mut other) = (Sketch::default(), Sketch::default());
        for n in 0..1000 {
            one.add(mix(n));
            other.add(mix(999 - n));
        }
        assert_eq!(one, other);
        assert_eq!((one.marks().len(), one.common(&other)), (MARKS_MAX, MARKS_MAX as u32));
    }
}
