//! One capture to segments, with what else is known of it.
//!
//! It reads what it is given and knows neither columns nor flows.

use super::ledger::{Ledger, Reading};
use crate::capture::{Batch, Capture, TimeCounters};
use crate::decode::{Decoder, Filter};
use crate::engine::gathered::Given;
use crate::engine::steps::Steps;
use crate::time::Instant;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many segments are handed over at a time.
const HANDFUL: usize = 4096;

/// Reads a capture to its end, hands its segments over some thousand at a time, and takes down everything else. When `stop` becomes
/// true, what was read so far is all there is.
///
/// A segment's order is the latest time of all records up to its own: files are merged by that, so that those of one file stay in their
/// order where its clock goes back.
///
/// # Errors
/// Whatever takes the segments says.
pub fn decode<E>(
    capture: &mut Capture,
    filter: Option<&Filter>,
    ledger: &mut Ledger,
    stop: &AtomicBool,
    mut take: impl FnMut(&[Given]) -> Result<(), E>,
) -> Result<(), E> {
    let file = ledger.file as u16;
    let (mut decoder, mut batch, mut steps) = (Decoder::new(), Batch::new(), Steps::NONE);
    let (mut begin, mut end) = (Instant::MAX, Instant::ZERO);
    let (mut filtered, mut segments) = (0, 0);
    let mut given: Vec<Given> = Vec::with_capacity(HANDFUL);
    let interrupted = loop {
        if begin < Instant::MAX && stop.load(Ordering::Relaxed) {
            break true;
        }
        if !capture.next_batch(&mut batch) {
            break stop.load(Ordering::Relaxed);
        }
        for record in batch.iter() {
            begin = begin.min(record.at);
            end = end.max(record.at);
            steps.note(record.at);
            let Some(mut packet) = decoder.decode(&record) else { continue };
            if filter.is_some_and(|filter| !filter.matches(&packet)) {
                filtered += 1;
                continue;
            }
            packet.segment.file = file;
            given.push(Given { packet, order: end.0 });
            if given.len() == HANDFUL {
                segments += given.len() as u64;
                take(&given)?;
                given.clear();
            }
        }
    };
    segments += given.len() as u64;
    take(&given)?;
    let times: TimeCounters = capture.times();
    let counters = decoder.counters();
    let damages = capture.damages();
    ledger.close(&Reading { counters, filtered, segments, times, begin, end, steps: &steps, damages, interrupted });
    Ok(())
}
