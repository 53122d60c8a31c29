//! Flows that come from no capture: somebody has their segments in memory, and they are followed as if they had been read.
//!
//! Flows go through the same tables and the same shards as those of a capture ([`super::pipeline`]). It does not know who made
//! them.

use super::pipeline::{Bin, Intake, Job, Keep, Run, book, drive, on_threads, put};
use crate::capture::TimeCounters;
use crate::decode::{DecodeCounters, Decoded};
use crate::flow::Book;
use crate::net::{Direction, Proto, Segment, Sock};
use crate::time::Instant;
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
pub fn kept_offered<K: Keep>(
    chunks: impl Iterator<Item = Vec<Offered>> + Send,
    origin: &Origin,
    keep: &K,
    job: &Job,
    stop: &AtomicBool,
) -> Run<K::Flows> {
    let mut intake = Offer {
        chunks,
        job,
        book: book(job.flows_max),
        records_max: job.records_max.unwrap_or(u64::MAX),
        records: 0,
        filtered: 0,
        stop,
        interrupted: false,
    };
    let kept = on_threads(job, || drive(&mut intake, keep, job));
    let no_room = kept.no_room;
    let flows = keep.flows(kept, origin.end, job);
    let Offer { book, records, filtered, interrupted, .. } = intake;
    let mut counters = DecodeCounters::default();
    (counters.records, counters.decoded) = (records, records);
    Run {
        flows,
        book,
        counters,
        filtered,
        flows_max: job.flows_max,
        no_room,
        damages: Vec::new(),
        times: TimeCounters::default(),
        errors: Vec::new(),
        names: vec![origin.name.clone()],
        begin: origin.begin,
        end: origin.end,
        interrupted,
    }
}

struct Offer<'j, C> {
    chunks: C,
    job: &'j Job,
    book: Book,
    records_max: u64,
    records: u64,
    filtered: u64,
    stop: &'j AtomicBool,
    interrupted: bool,
}

impl<C: Iterator<Item = Vec<Offered>> + Send> Intake for Offer<'_, C> {
    /// A window is a chunk.
    fn window(&mut self, bins: &mut [Bin]) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            self.interrupted = true;
            return false;
        }
        if self.records >= self.records_max {
            return false;
        }
        let Some(flows) = self.chunks.next() else { return false };
        for flow in flows {
            let ends = self.book.ends(flow.client, flow.server, flow.proto);
            for segment in flow.segments {
                if self.records >= self.records_max {
                    return true;
                }
                let (src, dst, ends) = match segment.dir {
                    Direction::Original => (flow.client, flow.server, ends),
                    Direction::Reply => (flow.server, flow.client, ends.inverse()),
                };
                self.records += 1;
                let seg = Segment { frame: u32::try_from(self.records).unwrap_or(u32::MAX), file: 0, ..segment };
                let passes =
                    self.job.filter.as_ref().is_none_or(|filter| filter.matches(&Decoded { src, dst, proto: flow.proto, segment: seg }));
                if passes {
                    put(bins, seg, ends, self.records - 1);
                } else {
                    self.filtered += 1;
                }
            }
        }
        true
    }

    fn book(&mut self) -> &mut Book {
        &mut self.book
    }
}
