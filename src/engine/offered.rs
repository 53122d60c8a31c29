//! Flows that come from no capture: somebody has their segments in memory, and they are followed as if they had been read.
//!
//! Flows go through the same tables and the same shards as those of a capture ([`super::pipeline`]). It does not know who made
//! them.

use super::pipeline::{Follow, Item, Job, Run, SHARDS, Shard, new_bins, new_shards, settle};
use crate::capture::TimeCounters;
use crate::decode::{DecodeCounters, Decoded};
use crate::flow::shard_hash;
use crate::net::{Direction, Proto, Segment, Sock};
use crate::time::Instant;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// One flow, complete. No two flows of a source have the same pair of sockets.
#[derive(Clone, Debug)]
pub struct Offered {
    /// Who opened it.
    pub client: Sock,
    /// Whom.
    pub server: Sock,
    /// Its protocol.
    pub proto: Proto,
    /// What was seen of it, in the order of time, with directions. Frames are numbered by whoever reads them.
    pub segments: Vec<Segment>,
}

/// Where offered flows come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// What a report calls the input.
    pub name: String,
    /// From when on somebody looked.
    pub begin: Instant,
    /// Until when, however early the last packet came: a flow that is silent then may have gone on.
    pub end: Instant,
}

/// Has offered flows followed, some at a time. Frames are counted from 1, flow after flow in the order in which they come, not by
/// time: a flow's frames follow one another. Streams are numbered in the same order, so that stream N is the Nth flow from 0. The
/// filter and the number of records of the job apply as with a capture. When `stop` becomes true, what came so far is kept.
///
/// # Panics
/// Where the operating system cannot start a thread.
pub fn follow_offered<F: Follow>(
    chunks: impl Iterator<Item = Vec<Offered>> + Send,
    origin: &Origin,
    follow: &F,
    job: &Job,
    stop: &AtomicBool,
) -> Run<F::Run> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build().expect("threads can be started");
    let mut shards: Vec<Shard<F::Run>> = new_shards();
    let (mut filling, mut working) = (new_bins(), new_bins());
    let mut intake =
        Intake { chunks, job, records_max: job.records_max.unwrap_or(u64::MAX), records: 0, filtered: 0, stop, interrupted: false };
    let mut more = pool.install(|| intake.window(&mut filling));
    while more {
        std::mem::swap(&mut filling, &mut working);
        let (again, ()) = pool.install(|| {
            rayon::join(
                || intake.window(&mut filling),
                || shards.par_iter_mut().zip(working.par_iter_mut()).for_each(|(shard, items)| shard.work(follow, items)),
            )
        });
        more = again;
    }
    let (records, filtered, interrupted) = (intake.records, intake.filtered, intake.interrupted);
    let mut counters = DecodeCounters::default();
    (counters.records, counters.decoded) = (records, records);
    Run {
        flows: pool.install(|| settle(shards, follow, origin.end)),
        counters,
        filtered,
        damages: Vec::new(),
        times: TimeCounters::default(),
        names: vec![origin.name.clone()],
        begin: origin.begin,
        end: origin.end,
        interrupted,
    }
}

struct Intake<'j, C> {
    chunks: C,
    job: &'j Job,
    records_max: u64,
    records: u64,
    filtered: u64,
    stop: &'j AtomicBool,
    interrupted: bool,
}

impl<C: Iterator<Item = Vec<Offered>>> Intake<'_, C> {
    /// Fills the bins with the next chunk; false where nothing was left.
    fn window(&mut self, bins: &mut [Vec<Item>]) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            self.interrupted = true;
            return false;
        }
        if self.records >= self.records_max {
            return false;
        }
        let Some(flows) = self.chunks.next() else { return false };
        for flow in flows {
            let bin = &mut bins[(shard_hash(flow.client, flow.server, flow.proto) % SHARDS as u64) as usize];
            for segment in flow.segments {
                if self.records >= self.records_max {
                    return true;
                }
                let (src, dst) = match segment.dir {
                    Direction::Original => (flow.client, flow.server),
                    Direction::Reply => (flow.server, flow.client),
                };
                self.records += 1;
                let seg = Segment { frame: u32::try_from(self.records).unwrap_or(u32::MAX), file: 0, ..segment };
                let passes = self
                    .job
                    .filter
                    .as_ref()
                    .is_none_or(|filter| filter.matches(&Decoded { src, dst, proto: flow.proto, ttl: 64, ip_id: 0, segment: seg }));
                if passes {
                    bin.push(Item { src, dst, proto: flow.proto, seg, order: self.records - 1 });
                } else {
                    self.filtered += 1;
                }
            }
        }
        true
    }
}
