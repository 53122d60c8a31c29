//! Segments that somebody decoded before, perhaps elsewhere and flow by flow: they are followed as if they had just been read.
//!
//! They go through the same tables and the same shards as those of a capture ([`super::pipeline`]). What belongs to the captures as a
//! whole, and not to single segments, comes as [`Facts`]. It does not know where segments are kept.

use super::kept::Kept;
use super::path::Path;
use super::pipeline::{Bin, Intake, Job, Keep, Run, WINDOW, book, drive, on_threads, put};
use super::replayed::Resting;
use crate::capture::{Damage, TimeCounters};
use crate::decode::{DecodeCounters, Decoded};
use crate::flow::{Book, NoRoom};
use crate::time::Instant;
use std::sync::atomic::{AtomicBool, Ordering};

/// A segment, and where it belongs in the whole input.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// The segment and whose it is.
    pub packet: Decoded,
    /// A number that does not fall within a flow: where two segments of it have one, file and then frame decide.
    pub order: u64,
}

/// Where such segments come from. The segments of one flow come in their order; flows may come in any.
pub trait Segments: Send {
    /// What is known of the captures as a whole; asked when the last segment has come.
    fn facts(&mut self) -> Facts;

    /// Puts the next ones, some thousand at most, behind those that are there; false where there are none left.
    fn next(&mut self, into: &mut Vec<Given>) -> bool;
}

/// What is known of the captures as a whole.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the records were.
    pub counters: DecodeCounters,
    /// Packets that a filter left out when they were decoded.
    pub filtered: u64,
    /// Where inputs were damaged.
    pub damages: Vec<Damage>,
    /// What was odd about times.
    pub times: TimeCounters,
    /// The names of the inputs.
    pub names: Vec<String>,
    /// The time of the earliest packet.
    pub begin: Instant,
    /// The time of the latest packet; of the last one where the clock was set back.
    pub end: Instant,
    /// From when to when the clock was wrong, where it was set back.
    pub wrong: Option<(Instant, Instant)>,
    /// Whether the reading was stopped before the end of an input.
    pub interrupted: bool,
}

/// What following the flows came to, besides them.
#[derive(Clone, Copy, Debug)]
pub struct Besides {
    /// Segments that a filter left out then.
    pub filtered: u64,
    /// How many flows could be held.
    pub flows_max: Option<u64>,
    /// What was left out because they were no more.
    pub no_room: NoRoom,
    /// Whether it was stopped early.
    pub interrupted: bool,
}

impl Facts {
    /// The flows as a run over these captures.
    pub fn run<L>(self, flows: L, book: Book, besides: &Besides) -> Run<L> {
        Run {
            flows,
            book,
            counters: self.counters,
            filtered: self.filtered + besides.filtered,
            flows_max: besides.flows_max,
            no_room: besides.no_room,
            damages: self.damages,
            times: self.times,
            errors: Vec::new(),
            names: self.names,
            begin: self.begin.min(self.end),
            end: self.end,
            interrupted: self.interrupted || besides.interrupted,
        }
    }
}

/// Replays segments through a path. When `stop` becomes true, what came so far is judged.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn run_gathered(segments: &mut impl Segments, path: &Path, job: &Job, stop: &AtomicBool) -> Run {
    kept_gathered(segments, &Resting::new(path), job, stop)
}

/// Has the flows of segments followed. When `stop` becomes true, what came so far is kept.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn kept_gathered<K: Keep>(segments: &mut impl Segments, keep: &K, job: &Job, stop: &AtomicBool) -> Run<K::Flows> {
    read(segments, keep, job, stop).ended(keep, job)
}

fn read<K: Keep>(segments: &mut impl Segments, keep: &K, job: &Job, stop: &AtomicBool) -> Run<Kept<K::Rack>> {
    let mut intake = Handing {
        segments,
        given: Vec::new(),
        next: 0,
        job,
        book: book(job.flows_max),
        segments_max: job.records_max.unwrap_or(u64::MAX),
        count: 0,
        filtered: 0,
        stop,
        interrupted: false,
    };
    let mut flows = on_threads(job, || drive(&mut intake, keep, job));
    let no_room = flows.no_room;
    let Handing { segments, book, filtered, interrupted, .. } = intake;
    let facts = segments.facts();
    if let Some(wrong) = facts.wrong {
        flows.shards.iter_mut().flat_map(|(table, _)| table.flows_mut()).for_each(|flow| flow.set_adrift(wrong));
    }
    facts.run(flows, book, &Besides { filtered, flows_max: job.flows_max, no_room, interrupted })
}

struct Handing<'j, S> {
    segments: &'j mut S,
    given: Vec<Given>,
    next: usize,
    job: &'j Job,
    book: Book,
    segments_max: u64,
    count: u64,
    filtered: u64,
    stop: &'j AtomicBool,
    interrupted: bool,
}

impl<S: Segments> Intake for Handing<'_, S> {
    fn window(&mut self, bins: &mut [Bin]) -> bool {
        let mut count = 0;
        while count < WINDOW && self.count < self.segments_max {
            if self.next >= self.given.len() {
                if self.count > 0 && self.stop.load(Ordering::Relaxed) {
                    self.interrupted = true;
                    break;
                }
                self.next = 0;
                self.given.clear();
                if !self.segments.next(&mut self.given) {
                    self.interrupted = self.stop.load(Ordering::Relaxed);
                    break;
                }
                continue;
            }
            let Given { packet, order } = self.given[self.next];
            self.next += 1;
            self.count += 1;
            if self.job.filter.as_ref().is_some_and(|filter| !filter.matches(&packet)) {
                self.filtered += 1;
                continue;
            }
            let ends = self.book.ends(packet.src, packet.dst, packet.proto);
            put(bins, packet.segment, ends, order);
            count += 1;
        }
        count > 0
    }

    fn is_in_order(&self) -> bool {
        false
    }

    fn book(&mut self) -> &mut Book {
        &mut self.book
    }
}
