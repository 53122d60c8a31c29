//! From an open capture to judged flows: read, decode, distribute over shards, replay.
//!
//! One thread reads and decodes a window of packets while the others replay the window before it. A flow's packets all
//! go to the same shard, in order, so the result is the same for any number of threads. Memory grows with flows and is
//! otherwise bounded by two windows.

use super::path::Path;
use super::replay::{FlowRun, Replay};
use crate::capture::{Batch, Capture, Damage, TimeCounters};
use crate::decode::{DecodeCounters, Decoder, Filter};
use crate::flow::{Flow, FlowTable, Observation, StreamRule, number_streams, shard_hash};
use crate::net::{Proto, Segment, Sock};
use crate::time::Instant;
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Into how many shards flows are distributed: a constant, so that nothing depends on the number of threads.
pub(super) const SHARDS: usize = 64;
/// How many segments make a window.
const WINDOW: usize = 1 << 17;

/// What a run is to do.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Threads to use; 0 for as many as there are cores.
    pub threads: usize,
    /// Which packets to look at; all of them without a filter.
    pub filter: Option<Filter>,
    /// Stop after this many records.
    pub records_max: Option<u64>,
    /// Who is told now and then how many bytes of the input were read.
    pub watch: Option<Watch>,
}

/// Somebody who is told how far a run is.
#[derive(Clone)]
pub struct Watch(pub Arc<dyn Fn(u64) + Send + Sync>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// Who follows each flow: its state begins with the first segment and takes every further one.
pub trait Follow: Sync {
    /// What is kept for a flow.
    type Run: Send;

    /// Begins a flow with its first segment.
    fn begin(&self, flow: &Flow, seg: &Segment) -> Self::Run;

    /// Takes a segment, the first one too. `observation` is what the flow said of it.
    fn segment(&self, run: &mut Self::Run, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32);

    /// Ends a flow; `end` is the time of the last packet of the whole capture.
    fn finish(&self, _run: &mut Self::Run, _flow: &Flow, _end: Instant) {}
}

impl Follow for Replay<'_> {
    type Run = FlowRun;

    fn begin(&self, flow: &Flow, seg: &Segment) -> FlowRun {
        Replay::begin(self, flow, seg)
    }

    fn segment(&self, run: &mut FlowRun, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        Replay::segment(self, run, flow, seg, observation, previous_frame);
    }
}

/// A flow and what became of it.
#[derive(Clone, Debug)]
pub struct Judged<R = FlowRun> {
    /// The flow.
    pub flow: Flow,
    /// Its way through the path.
    pub run: R,
}

/// Everything that one run found out.
#[derive(Debug)]
pub struct Run<R = FlowRun> {
    /// The flows, in the order of their first packets.
    pub flows: Vec<Judged<R>>,
    /// What the records were.
    pub counters: DecodeCounters,
    /// Packets that the filter left out.
    pub filtered: u64,
    /// Where inputs were damaged.
    pub damages: Vec<Damage>,
    /// What was odd about times.
    pub times: TimeCounters,
    /// The names of the inputs.
    pub names: Vec<String>,
    /// The time of the earliest packet.
    pub begin: Instant,
    /// The time of the latest packet.
    pub end: Instant,
    /// Whether the run was stopped before the end of its input.
    pub interrupted: bool,
}

impl<R> Run<R> {
    /// What was read, without the flows.
    pub fn without_flows(&self) -> Run<()> {
        Run {
            flows: Vec::new(),
            counters: self.counters.clone(),
            filtered: self.filtered,
            damages: self.damages.clone(),
            times: self.times,
            names: self.names.clone(),
            begin: self.begin,
            end: self.end,
            interrupted: self.interrupted,
        }
    }

    /// Records that may have held segments but could not be read.
    pub fn left_out(&self) -> u64 {
        self.counters.seen().filter(|(kind, _)| kind.is_left_out()).map(|(_, count)| count).sum()
    }

    /// Whether anything was left out.
    pub fn is_incomplete(&self) -> bool {
        self.left_out() > 0 || !self.damages.is_empty() || self.interrupted
    }
}

/// One packet for a shard.
pub(super) struct Item {
    pub(super) src: Sock,
    pub(super) dst: Sock,
    pub(super) proto: Proto,
    pub(super) seg: Segment,
    pub(super) order: u64,
}

/// The flows that belong together to be looked after by one thread at a time.
pub(super) struct Shard<R> {
    table: FlowTable,
    runs: Vec<R>,
}

impl<R> Shard<R> {
    pub(super) fn work(&mut self, follow: &impl Follow<Run = R>, items: &mut Vec<Item>) {
        for item in items.iter_mut() {
            let placed = self.table.lookup_or_create(item.src, item.dst, item.proto, &mut item.seg, item.order);
            let flow = &mut self.table.flows_mut()[placed.flow.get()];
            let previous = flow.last_frame;
            let observation = flow.observe(&item.seg);
            if placed.is_new {
                self.runs.push(follow.begin(flow, &item.seg));
            }
            follow.segment(&mut self.runs[placed.flow.get()], flow, &item.seg, &observation, previous);
        }
        items.clear();
    }
}

pub(super) fn new_shards<R>() -> Vec<Shard<R>> {
    (0..SHARDS).map(|_| Shard { table: FlowTable::new(StreamRule::default()), runs: Vec::new() }).collect()
}

/// One bin of packets for each shard.
pub(super) fn new_bins() -> Vec<Vec<Item>> {
    (0..SHARDS).map(|_| Vec::new()).collect()
}

/// All flows with their numbers, in the order of their first packets.
pub(super) fn settle<F: Follow>(mut shards: Vec<Shard<F::Run>>, follow: &F, end: Instant) -> Vec<Judged<F::Run>> {
    number_streams(shards.iter_mut().map(|s| &mut s.table));
    let mut flows: Vec<Judged<F::Run>> =
        shards.into_iter().flat_map(|s| s.table.into_flows().into_iter().zip(s.runs).map(|(flow, run)| Judged { flow, run })).collect();
    flows.sort_unstable_by_key(|j| j.flow.first_order);
    flows.par_iter_mut().for_each(|judged| follow.finish(&mut judged.run, &judged.flow, end));
    flows
}

/// Reading and decoding, a window at a time.
struct Intake<'c> {
    capture: &'c mut Capture,
    batch: Batch,
    next: usize,
    decoder: Decoder,
    filter: Option<&'c Filter>,
    filtered: u64,
    records: u64,
    records_max: u64,
    order: u64,
    begin: Instant,
    end: Instant,
    stop: &'c AtomicBool,
    interrupted: bool,
}

impl Intake<'_> {
    /// Fills the bins with the next window; false where nothing was left.
    fn window(&mut self, bins: &mut [Vec<Item>]) -> bool {
        let mut count = 0;
        while count < WINDOW {
            if self.next >= self.batch.len() {
                if self.stop.load(Ordering::Relaxed) {
                    self.interrupted = true;
                    break;
                }
                self.next = 0;
                if self.records >= self.records_max || !self.capture.next_batch(&mut self.batch) {
                    break;
                }
            }
            let Some(record) = self.batch.get(self.next) else { break };
            self.next += 1;
            if self.records >= self.records_max {
                self.next = self.batch.len();
                break;
            }
            self.records += 1;
            self.begin = self.begin.min(record.at);
            self.end = self.end.max(record.at);
            let Some(packet) = self.decoder.decode(&record) else { continue };
            if self.filter.is_some_and(|f| !f.matches(packet)) {
                self.filtered += 1;
                continue;
            }
            let shard = (shard_hash(packet.src, packet.dst, packet.proto) % SHARDS as u64) as usize;
            bins[shard].push(Item { src: packet.src, dst: packet.dst, proto: packet.proto, seg: packet.segment, order: self.order });
            self.order += 1;
            count += 1;
        }
        count > 0
    }
}

/// Replays a capture through a path. When `stop` becomes true, what was read so far is judged.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn run(capture: &mut Capture, path: &Path, job: &Job, stop: &AtomicBool) -> Run {
    follow(capture, &Replay::new(path), job, stop)
}

/// Has the flows of a capture followed. When `stop` becomes true, what was read so far is kept.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn follow<F: Follow>(capture: &mut Capture, follow: &F, job: &Job, stop: &AtomicBool) -> Run<F::Run> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build().expect("threads can be started");
    let mut shards: Vec<Shard<F::Run>> = new_shards();
    let (mut filling, mut working) = (new_bins(), new_bins());
    let mut intake = Intake {
        capture,
        batch: Batch::new(),
        next: 0,
        decoder: Decoder::new(),
        filter: job.filter.as_ref(),
        filtered: 0,
        records: 0,
        records_max: job.records_max.unwrap_or(u64::MAX),
        order: 0,
        begin: Instant::MAX,
        end: Instant::ZERO,
        stop,
        interrupted: false,
    };
    let mut more = intake.window(&mut filling);
    while more {
        if let Some(Watch(tell)) = &job.watch {
            tell(intake.capture.consumed());
        }
        std::mem::swap(&mut filling, &mut working);
        let (again, ()) = pool.install(|| {
            rayon::join(
                || intake.window(&mut filling),
                || shards.par_iter_mut().zip(working.par_iter_mut()).for_each(|(shard, items)| shard.work(follow, items)),
            )
        });
        more = again;
    }
    let (counters, filtered, interrupted, begin, end) =
        (intake.decoder.counters(), intake.filtered, intake.interrupted, intake.begin.min(intake.end), intake.end);
    Run {
        flows: pool.install(|| settle(shards, follow, end)),
        counters,
        filtered,
        damages: capture.damages(),
        times: capture.times(),
        names: capture.names().to_vec(),
        begin,
        end,
        interrupted,
    }
}
