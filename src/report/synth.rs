//! The traffic that a scenario offers as one capture, for measuring: written as fast as it is made.
//!
//! Whoever asks hands in the sink; nothing here opens a file.

use super::printable;
use super::story::pcap::EPOCH;
use crate::capture::write::bulk::{Bulk, Shape};
use crate::net::Direction;
use crate::scenario::Share;
use crate::scenario::compile::Ready;
use crate::scenario::flood::Flood;
use crate::scenario::interleave::{self, Passed};
use crate::scenario::offered::Traffic;
use crate::time::Instant;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// The packets.
    pub passed: Passed,
    /// The SYNs of a flood beside them.
    pub flood: u64,
    /// Bytes of the capture, before any compression.
    pub bytes: u64,
}

/// Writes the packets of every flow in the order of time, as a capture at the client's side has them, boxes left out. The run begins at
/// [`EPOCH`]; a share of the flows speaks IPv6. Between them stand the SYNs of a flood, so many over the time of the scenario. The sink gets large pieces and is handed back. `begun` and `stop` are those of
/// [`interleave::each`].
///
/// # Errors
/// What the sink said; a packet that the format cannot hold.
pub fn write<W: Write + Send>(
    ready: &Ready,
    shape: Shape,
    six: Share,
    flood: u64,
    sink: W,
    stop: &AtomicBool,
    begun: impl Fn(u64) + Sync,
) -> io::Result<(Written, W)> {
    let traffic = Traffic::new(ready);
    let mut out = Bulk::new(sink, shape)?;
    let (mut flood, mut flooded) = (Flood::new(&traffic, flood, six), 0_u64);
    let mut passed = interleave::each(&traffic, six, stop, begun, |[client, server], segment| {
        flooded += pour(&mut flood, segment.at, stop, &mut out)?;
        let (from, to) = if segment.dir == Direction::Original { (*client, *server) } else { (*server, *client) };
        out.segment(segment.at + EPOCH, from, to, segment)
    })?;
    flooded += pour(&mut flood, Instant::MAX, stop, &mut out)?;
    passed.interrupted |= stop.load(Ordering::Relaxed);
    let bytes = out.written();
    Ok((Written { passed, flood: flooded, bytes }, out.finish()?))
}

/// Writes what a flood sends before a time, unless it is stopped; says how much that was.
fn pour<W: Write>(flood: &mut Flood, until: Instant, stop: &AtomicBool, out: &mut Bulk<W>) -> io::Result<u64> {
    let mut count = 0;
    while let Some(([from, to], segment)) = flood.before(until) {
        out.segment(segment.at + EPOCH, from, to, &segment)?;
        count += 1;
        if count % LOOKS == 0 && stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(count)
}

/// After how many SYNs somebody may have stopped it.
const LOOKS: u64 = 1 << 16;

impl Written {
    /// The number of packets and what they are, in a line.
    pub fn text(&self, name: &str) -> String {
        let Passed { flows, packets, span, alive_max, .. } = self.passed;
        let span = span.map_or_else(String::new, |(first, last)| format!(" in {}", last.since(first)));
        let name = printable(name);
        let flood = if self.flood > 0 { format!(", {} SYNs of a flood", self.flood) } else { String::new() };
        format!("{name}: {packets} packets of {flows} flows{span}, at most {alive_max} alive at a time{flood}, {} bytes\n", self.bytes)
    }

    /// The same for machines (schema flowlapse-synth/1).
    pub fn json(&self, name: &str) -> Value {
        let at = |at: Instant| (at + EPOCH).0;
        let mut document = json!({
            "schema": "flowlapse-synth/1",
            "file": name,
            "flows": self.passed.flows,
            "packets": self.passed.packets,
            "bytes": self.bytes,
            "alive_max": self.passed.alive_max,
            "begin_ns": self.passed.span.map(|span| at(span.0)),
            "end_ns": self.passed.span.map(|span| at(span.1)),
        });
        if self.flood > 0 {
            document["flood"] = json!(self.flood);
        }
        document
    }
}
