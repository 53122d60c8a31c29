//! The packets of a capture one after the other, in one thread: for second looks at a few flows, and for what no model reads.
//!
//! What a replay needs goes through [`super::pipeline`], which is many times as fast. It follows nobody.

use super::pipeline::Job;
use crate::capture::{Batch, Capture, Record};
use crate::decode::{Decoded, Decoder, IcmpError};
use crate::time::Instant;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is handed out.
pub(super) enum Seen<'s, 'r> {
    /// A packet that the job asks for, its record, and its place among such packets, from 1.
    Packet(&'s Record<'r>, &'s Decoded, u64),
    /// An ICMP error about a packet, whether or not the filter lets that one through.
    Error(IcmpError),
}

/// What there was besides the packets that were handed out.
pub(super) struct Passed {
    /// Who has counted the records.
    pub(super) decoder: Decoder,
    /// Packets that the filter left out.
    pub(super) filtered: u64,
    /// The time of the earliest record; `MAX` where there was none.
    pub(super) begin: Instant,
    /// The time of the latest record.
    pub(super) end: Instant,
    /// Whether it was stopped before the end.
    pub(super) interrupted: bool,
}

/// Hands out every packet that a job asks for, and ICMP errors, in their order. When `stop` becomes true, that was all.
pub(super) fn each(capture: &mut Capture, job: &Job, stop: &AtomicBool, mut take: impl FnMut(Seen<'_, '_>)) -> Passed {
    let mut passed = Passed { decoder: Decoder::new(), filtered: 0, begin: Instant::MAX, end: Instant::ZERO, interrupted: false };
    let (mut batch, mut records, mut order) = (Batch::new(), 0_u64, 0_u64);
    let records_max = job.records_max.unwrap_or(u64::MAX);
    while records < records_max {
        // What was read before it came is handed out all the same.
        if records > 0 && stop.load(Ordering::Relaxed) || !capture.next_batch(&mut batch) {
            passed.interrupted = stop.load(Ordering::Relaxed);
            break;
        }
        for record in batch.iter() {
            if records >= records_max {
                break;
            }
            records += 1;
            passed.begin = passed.begin.min(record.at);
            passed.end = passed.end.max(record.at);
            let Some(packet) = passed.decoder.decode(&record) else {
                if let Some(error) = passed.decoder.icmp_error() {
                    take(Seen::Error(error));
                }
                continue;
            };
            if job.filter.as_ref().is_some_and(|filter| !filter.matches(&packet)) {
                passed.filtered += 1;
                continue;
            }
            order += 1;
            take(Seen::Packet(&record, &packet, order));
        }
        if let Some(watch) = &job.watch {
            (watch.0)(capture.consumed());
        }
    }
    passed
}
