//! The traffic that a scenario offers as one capture, for measuring: written as fast as it is made.
//!
//! Whoever asks hands in the sink; nothing here opens a file.

use super::printable;
use super::story::pcap::EPOCH;
use crate::capture::write::bulk::{Bulk, Shape};
use crate::net::Direction;
use crate::scenario::Share;
use crate::scenario::compile::Ready;
use crate::scenario::interleave::{self, Passed};
use crate::scenario::offered::Traffic;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::atomic::AtomicBool;

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// The packets.
    pub passed: Passed,
    /// Bytes of the capture, before any compression.
    pub bytes: u64,
}

/// Writes the packets of every flow in the order of time, as a capture at the client's side has them, boxes left out. The run begins at
/// [`EPOCH`]; a share of the flows speaks IPv6. The sink gets large pieces and is handed back. `begun` and `stop` are those of
/// [`interleave::each`].
///
/// # Errors
/// What the sink said; a packet that the format cannot hold.
pub fn write<W: Write + Send>(
    ready: &Ready,
    shape: Shape,
    six: Share,
    sink: W,
    stop: &AtomicBool,
    begun: impl Fn(u64) + Sync,
) -> io::Result<(Written, W)> {
    let traffic = Traffic::new(ready);
    let mut out = Bulk::new(sink, shape)?;
    let passed = interleave::each(&traffic, six, stop, begun, |[client, server], segment| {
        let (from, to) = if segment.dir == Direction::Original { (*client, *server) } else { (*server, *client) };
        out.segment(segment.at + EPOCH, from, to, segment)
    })?;
    let bytes = out.written();
    Ok((Written { passed, bytes }, out.finish()?))
}

impl Written {
    /// The number of packets and what they are, in a line.
    pub fn text(&self, name: &str) -> String {
        let Passed { flows, packets, span, alive_max, .. } = self.passed;
        let span = span.map_or_else(String::new, |(first, last)| format!(" in {}", last.since(first)));
        let name = printable(name);
        format!("{name}: {packets} packets of {flows} flows{span}, at most {alive_max} alive at a time, {} bytes\n", self.bytes)
    }

    /// The same for machines (schema flowlapse-synth/1).
    pub fn json(&self, name: &str) -> Value {
        let at = |at: crate::time::Instant| (at + EPOCH).0;
        json!({
            "schema": "flowlapse-synth/1",
            "file": name,
            "flows": self.passed.flows,
            "packets": self.passed.packets,
            "bytes": self.bytes,
            "alive_max": self.passed.alive_max,
            "begin_ns": self.passed.span.map(|span| at(span.0)),
            "end_ns": self.passed.span.map(|span| at(span.1)),
        })
    }
}
