//! From an open capture to judged flows: read, decode, distribute over shards, replay.
//!
//! One thread reads and decodes a window of packets while the others replay the window before it. A flow's packets all
//! go to the same shard, in order, so the result is the same for any number of threads. Memory grows with flows, up to the
//! most that the job allows, and is otherwise bounded by two windows.

use super::kept::{Kept, Rack};
use super::path::Path;
use super::replay::{FlowRun, Replay};
use super::replayed::{Replayed, Resting};
use super::silences::{Listening, Silences};
use super::steps::Steps;
use crate::capture::{Batch, Capture, Damage, TimeCounters};
use crate::decode::{DecodeCounters, Decoded, Decoder, Filter, IcmpError};
use crate::flow::{Arena, Book, Ends, Flow, FlowIndex, FlowTable, NoRoom, Observation, StreamRule};
use crate::net::{Segment, Sock};
use crate::time::Instant;
use arrayvec::ArrayVec;
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Into how many shards flows are distributed: a constant, so that nothing depends on the number of threads.
const SHARDS: usize = 64;
/// With fewer flows to hold than this there is one shard: divided among many, some would be full long before the others.
const FEW: u64 = 1 << 16;
/// How many segments make a window: the more, the more often what one shard knows is still in the cache when its next packet
/// comes. Two windows of 64 bytes a segment are all the memory that does not go with flows.
pub(super) const WINDOW: u32 = 1 << 18;
/// How many ICMP errors are kept of a capture.
pub const ERRORS_MAX: usize = 1 << 16;

/// What a run is to do.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Threads to use; 0 for as many as there are cores.
    pub threads: usize,
    /// Which packets to look at; all of them without a filter.
    pub filter: Option<Filter>,
    /// Stop after this many records.
    pub records_max: Option<u64>,
    /// Hold at most this many flows; what is left out for it is counted.
    pub flows_max: Option<u64>,
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

/// Who keeps what is known of the flows of a shard while they are followed, by their numbers in it.
pub trait Keep: Sync {
    /// What is kept for the flows of a shard.
    type Rack: Rack;
    /// What becomes of all flows.
    type Flows;

    /// Nothing yet.
    fn rack(&self) -> Self::Rack;

    /// Begins a flow with its first segment: the next one, or one in the place of another.
    fn begin(&self, rack: &mut Self::Rack, at: usize, flow: &Flow, seg: &Segment);

    /// Takes a segment, the first one too. `observation` is what the flow said of it.
    fn segment(&self, rack: &mut Self::Rack, at: usize, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32);

    /// Ends the flows; `end` is the time of the last packet of the whole capture.
    fn flows(&self, kept: Kept<Self::Rack>, end: Instant, job: &Job) -> Self::Flows;
}

/// Keeps a run for each flow as it is.
#[derive(Debug)]
pub struct Singly<'f, F>(pub &'f F);

impl<F: Follow> Keep for Singly<'_, F> {
    type Rack = Arena<F::Run>;
    type Flows = Vec<Judged<F::Run>>;

    fn rack(&self) -> Arena<F::Run> {
        Arena::default()
    }

    fn begin(&self, rack: &mut Arena<F::Run>, at: usize, flow: &Flow, seg: &Segment) {
        rack.put(at, self.0.begin(flow, seg));
    }

    fn segment(&self, rack: &mut Arena<F::Run>, at: usize, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        self.0.segment(rack.at_mut(at), flow, seg, observation, previous_frame);
    }

    /// All flows with their runs, in the order of their first packets.
    fn flows(&self, kept: Kept<Arena<F::Run>>, end: Instant, job: &Job) -> Vec<Judged<F::Run>> {
        // Each shard has its flows in this order already.
        let mut shards: Vec<_> = kept.shards.into_iter().map(|(table, rack)| table.into_flows().zip(rack.into_items())).collect();
        let next = |(shard, _): &(u32, FlowIndex)| shards[*shard as usize].next().map(|(flow, run)| Judged { flow, run });
        let mut flows: Vec<Judged<F::Run>> = kept.order.iter().filter_map(next).collect();
        on_threads(job, || flows.par_iter_mut().for_each(|judged| self.0.finish(&mut judged.run, &judged.flow, end)));
        flows
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

/// Everything that one run found out. `L` holds the flows.
#[derive(Debug)]
pub struct Run<L = Replayed> {
    /// The flows, in the order of their first packets.
    pub flows: L,
    /// The addresses of the flows' ends.
    pub book: Book,
    /// What the records were.
    pub counters: DecodeCounters,
    /// Packets that the filter left out.
    pub filtered: u64,
    /// How many flows could be held.
    pub flows_max: Option<u64>,
    /// What was left out because they were no more.
    pub no_room: NoRoom,
    /// Where inputs were damaged.
    pub damages: Vec<Damage>,
    /// What was odd about times.
    pub times: TimeCounters,
    /// ICMP errors about packets, whether or not the filter lets those through: the first [`ERRORS_MAX`].
    pub errors: Vec<IcmpError>,
    /// The names of the inputs.
    pub names: Vec<String>,
    /// The time of the earliest packet.
    pub begin: Instant,
    /// The time of the latest packet; of the last one where the clock was set back.
    pub end: Instant,
    /// Whether the run was stopped before the end of its input.
    pub interrupted: bool,
}

/// A run whose flows were followed by a [`Follow`] of one's own.
pub type Followed<R = FlowRun> = Run<Vec<Judged<R>>>;

impl<L> Run<L> {
    /// What was read, without the flows.
    pub fn without_flows(&self) -> Run<()> {
        Run {
            flows: (),
            book: Book::new(),
            counters: self.counters.clone(),
            filtered: self.filtered,
            flows_max: self.flows_max,
            no_room: self.no_room,
            damages: self.damages.clone(),
            times: self.times,
            errors: self.errors.clone(),
            names: self.names.clone(),
            begin: self.begin,
            end: self.end,
            interrupted: self.interrupted,
        }
    }

    /// The same with the flows held otherwise.
    pub(super) fn with<M>(self, hold: impl FnOnce(L) -> M) -> Run<M> {
        let Run { flows, book, counters, filtered, flows_max, no_room, damages, times, errors, names, begin, end, interrupted } = self;
        let flows = hold(flows);
        Run { flows, book, counters, filtered, flows_max, no_room, damages, times, errors, names, begin, end, interrupted }
    }

    /// A flow's client and server.
    pub fn socks(&self, flow: &Flow) -> [Sock; 2] {
        self.book.socks(&flow.ends)
    }

    /// Records that may have held segments but could not be read.
    pub fn left_out(&self) -> u64 {
        self.counters.seen().filter(|(kind, _)| kind.is_left_out()).map(|(_, count)| count).sum()
    }

    /// Whether anything was left out.
    pub fn is_incomplete(&self) -> bool {
        self.left_out() > 0 || !self.no_room.is_nothing() || !self.damages.is_empty() || self.interrupted
    }

    /// Packets of the flows that are judged.
    pub fn followed(&self) -> u64 {
        self.counters.decoded.saturating_sub(self.filtered).saturating_sub(self.no_room.left_out())
    }
}

/// One packet for a shard, in one cache line.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) seg: Segment,
    /// Their hash chose the bin, and is worked out again for the index: cheaper than eight bytes more on the way through memory.
    pub(super) ends: Ends,
    /// Its place in the whole input.
    pub(super) order: u64,
}

const _: () = assert!(size_of::<Item>() == 64);

/// How many packets are looked up together, so that what they need comes from memory at once.
const GROUP: usize = 32;
/// How many packets are put into a bin at once. A window is larger than the caches: each packet by itself would be a dozen stores that
/// wait for their cache line together, and there is room for few that wait.
const NEAR: usize = 4;

/// The packets of a window for one shard.
#[derive(Default)]
pub(super) struct Bin {
    pub(super) items: Vec<Item>,
    /// The last few of them, until they are so many.
    near: ArrayVec<Item, NEAR>,
}

impl Bin {
    #[inline(always)]
    fn put(&mut self, item: Item) {
        if self.near.is_full() {
            self.settle();
        }
        self.near.push(item);
    }

    /// Puts the last ones with the others.
    fn settle(&mut self) {
        self.items.extend_from_slice(&self.near);
        self.near.clear();
    }
}

/// The flows that belong together to be looked after by one thread at a time.
pub(super) struct Shard<R> {
    table: FlowTable,
    rack: R,
}

impl<R: Rack> Shard<R> {
    fn work(&mut self, keep: &impl Keep<Rack = R>, bin: &mut Bin) {
        for group in bin.items.chunks_mut(GROUP) {
            let mut guesses = [(0, None); GROUP];
            for (guess, item) in guesses.iter_mut().zip(group.iter()) {
                let hash = item.ends.hash();
                *guess = (hash, self.table.guess(hash));
            }
            let mut touched = 0;
            for index in guesses.iter().filter_map(|(_, guess)| *guess) {
                touched ^= self.table.flow(index).touch() ^ self.rack.touch(index.get());
            }
            std::hint::black_box(touched);
            for (item, (hash, guess)) in group.iter_mut().zip(guesses) {
                self.one(keep, item, hash, guess);
            }
        }
        bin.items.clear();
    }

    #[inline]
    fn one(&mut self, keep: &impl Keep<Rack = R>, item: &mut Item, hash: u64, guess: Option<FlowIndex>) {
        let Some(placed) = self.table.place(&item.ends, hash, guess, &mut item.seg, item.order) else { return };
        let flow = self.table.flow_mut(placed.flow);
        let previous = flow.last_frame;
        let observation = flow.observe(&item.seg);
        let at = placed.flow.get();
        if placed.is_new {
            keep.begin(&mut self.rack, at, flow, &item.seg);
        }
        keep.segment(&mut self.rack, at, flow, &item.seg, &observation, previous);
    }
}

/// Into how many shards so many flows at most are distributed: a power of two.
fn shards(flows_max: Option<u64>) -> usize {
    if flows_max.is_some_and(|most| most < FEW) { 1 } else { SHARDS }
}

/// How many flows one table may hold.
pub(super) fn most(job: &Job) -> usize {
    job.flows_max.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// A book that forgets what it can before its addresses take more than the flows that may be held, and two windows.
pub(super) fn book(flows_max: Option<u64>) -> Book {
    let bounded = |most: u64| Book::bounded((most.saturating_mul(2) as usize).saturating_add(4 * WINDOW as usize));
    flows_max.map_or_else(Book::new, bounded)
}

/// Divides the room that is left among the shards by what comes to each. It depends on the input alone.
fn divide<R>(shards: &mut [Shard<R>], bins: &[Bin], most: usize) {
    let held: usize = shards.iter().map(|shard| shard.table.len()).sum();
    let coming: usize = bins.iter().map(|bin| bin.items.len()).sum();
    let room = most.saturating_sub(held);
    for (shard, bin) in shards.iter_mut().zip(bins) {
        let share = if coming <= room { bin.items.len() } else { (room as u128 * bin.items.len() as u128 / coming as u128) as usize };
        shard.table.hold_at_most(shard.table.len() + share);
    }
}

/// Where packets come from, a window at a time.
pub(super) trait Intake: Send {
    /// Fills the bins with the next window; false where nothing was left.
    fn window(&mut self, bins: &mut [Bin]) -> bool;

    /// Is told that a window is filled.
    fn filled(&self) {}

    /// Whether flows begin in the order of their places in the whole input.
    fn is_in_order(&self) -> bool {
        true
    }

    /// The addresses of the packets.
    fn book(&mut self) -> &mut Book;
}

/// Fills one window while the one before it is worked on. A flow's packets go to one shard, in their order.
pub(super) fn drive<K: Keep>(intake: &mut impl Intake, keep: &K, job: &Job) -> Kept<K::Rack> {
    let (most, count) = (most(job), shards(job.flows_max));
    let shard = |_| Shard { table: FlowTable::new(StreamRule::default()), rack: keep.rack() };
    let mut shards: Vec<Shard<K::Rack>> = (0..count).map(shard).collect();
    let bins = || (0..count).map(|_| Bin::default()).collect::<Vec<_>>();
    let (mut filling, mut working) = (bins(), bins());
    let mut more = intake.window(&mut filling);
    while more {
        intake.filled();
        filling.iter_mut().for_each(Bin::settle);
        if job.flows_max.is_some() {
            divide(&mut shards, &filling, most);
        }
        if intake.book().is_full() {
            // Nobody refers to an address but the flows that are held and the packets that have come and not been worked on.
            intake.book().sweep(|mark| {
                shards.iter().flat_map(|shard| shard.table.flows()).for_each(|flow| mark(&flow.ends));
                filling.iter().flat_map(|bin| &bin.items).for_each(|item| mark(&item.ends));
            });
        }
        std::mem::swap(&mut filling, &mut working);
        (more, ()) = rayon::join(
            || intake.window(&mut filling),
            || shards.par_iter_mut().zip(working.par_iter_mut()).for_each(|(shard, bin)| shard.work(keep, bin)),
        );
    }
    drop((filling, working));
    Kept::of(shards.into_iter().map(|shard| (shard.table, shard.rack)).collect(), !intake.is_in_order())
}

/// Reading and decoding, a window at a time.
struct Reading<'c> {
    capture: &'c mut Capture,
    batch: Batch,
    next: usize,
    decoder: Decoder,
    book: Book,
    job: &'c Job,
    filtered: u64,
    errors: Vec<IcmpError>,
    records: u64,
    records_max: u64,
    order: u64,
    begin: Instant,
    end: Instant,
    steps: Steps,
    stop: &'c AtomicBool,
    interrupted: bool,
}

impl Intake for Reading<'_> {
    fn window(&mut self, bins: &mut [Bin]) -> bool {
        let mut count = 0;
        while count < WINDOW {
            if self.next >= self.batch.len() {
                // What was read when the capture was opened is judged in any case.
                if self.records > 0 && self.stop.load(Ordering::Relaxed) {
                    self.interrupted = true;
                    break;
                }
                self.next = 0;
                if self.records >= self.records_max {
                    break;
                }
                if !self.capture.next_batch(&mut self.batch) {
                    // A reader that waits ends where it is.
                    self.interrupted = self.stop.load(Ordering::Relaxed);
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
            self.steps.note(record.at);
            self.end = self.end.max(record.at);
            // Asked in turn, so that the usual packet goes from the block to its bin in registers.
            if let Some(packet) = self.decoder.usual(&record) {
                count += self.put(bins, packet);
            } else if let Some(packet) = self.decoder.other(&record) {
                count += self.put(bins, packet);
            } else if let Some(error) = self.decoder.icmp_error()
                && self.errors.len() < ERRORS_MAX
            {
                self.errors.push(error);
            }
        }
        count > 0
    }

    fn filled(&self) {
        if let Some(Watch(tell)) = &self.job.watch {
            tell(self.capture.consumed());
        }
    }

    fn book(&mut self) -> &mut Book {
        &mut self.book
    }
}

impl Reading<'_> {
    /// What the filter says. By value, and not inline: whatever a pointer is taken of is in memory, and its fields would be read back
    /// from there wider than they were written, for which a processor waits.
    #[inline(never)]
    fn is_left_out(&self, packet: Decoded) -> bool {
        self.job.filter.as_ref().is_some_and(|filter| !filter.matches(&packet))
    }

    /// Puts a packet into its bin, unless the filter leaves it out; says how many that were.
    #[inline(always)]
    fn put(&mut self, bins: &mut [Bin], packet: Decoded) -> u32 {
        if self.job.filter.is_some() && self.is_left_out(packet) {
            self.filtered += 1;
            return 0;
        }
        let ends = self.book.ends(packet.src, packet.dst, packet.proto);
        put(bins, packet.segment, ends, self.order);
        self.order += 1;
        1
    }
}

/// Puts a packet into the bin of its shard; `order` is its place in the whole input.
#[inline(always)]
pub(super) fn put(bins: &mut [Bin], seg: Segment, ends: Ends, order: u64) {
    let hash = ends.hash();
    bins[hash as usize & (bins.len() - 1)].put(Item { seg, ends, order });
}

/// Replays a capture through a path. When `stop` becomes true, what was read so far is judged.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn run(capture: &mut Capture, path: &Path, job: &Job, stop: &AtomicBool) -> Run {
    kept(capture, &Resting::new(path), job, stop)
}

/// The same, with somebody who listens to what the flows say of each segment.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn run_heard(capture: &mut Capture, path: &Path, silences: &Silences, job: &Job, stop: &AtomicBool) -> Run {
    kept(capture, &Listening { keep: &Resting::new(path), silences }, job, stop)
}

/// Has the flows of a capture followed. When `stop` becomes true, what was read so far is kept.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn follow<F: Follow>(capture: &mut Capture, follow: &F, job: &Job, stop: &AtomicBool) -> Followed<F::Run> {
    kept(capture, &Singly(follow), job, stop)
}

/// The same by somebody who keeps them otherwise.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn kept<K: Keep>(capture: &mut Capture, keep: &K, job: &Job, stop: &AtomicBool) -> Run<K::Flows> {
    read(capture, keep, job, stop).ended(keep, job)
}

pub(super) fn on_threads<R: Send>(job: &Job, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(job.threads).build().expect("threads can be started").install(work)
}

fn read<K: Keep>(capture: &mut Capture, keep: &K, job: &Job, stop: &AtomicBool) -> Run<Kept<K::Rack>> {
    let mut reading = Reading {
        capture,
        batch: Batch::new(),
        next: 0,
        decoder: Decoder::new(),
        book: book(job.flows_max),
        job,
        filtered: 0,
        errors: Vec::new(),
        records: 0,
        records_max: job.records_max.unwrap_or(u64::MAX),
        order: 0,
        begin: Instant::MAX,
        end: Instant::ZERO,
        steps: Steps::NONE,
        stop,
        interrupted: false,
    };
    let mut flows = on_threads(job, || drive(&mut reading, keep, job));
    let no_room = flows.no_room;
    let Reading { capture, decoder, book, filtered, errors, begin, end, steps, interrupted, .. } = reading;
    let end = steps.end(end);
    if let Some(wrong) = steps.wrong {
        flows.shards.iter_mut().flat_map(|(table, _)| table.flows_mut()).for_each(|flow| flow.set_adrift(wrong));
    }
    Run {
        flows,
        book,
        counters: decoder.counters(),
        filtered,
        flows_max: job.flows_max,
        no_room,
        damages: capture.damages(),
        times: TimeCounters { backwards: steps.backwards, backwards_max: steps.largest, ..capture.times() },
        errors,
        names: capture.names().to_vec(),
        begin: begin.min(end),
        end,
        interrupted,
    }
}
