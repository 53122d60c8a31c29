//! The traffic that a scenario offers as one stream: the packets of all flows in the order of time, as a capture has them.
//!
//! Flows are made when their time comes and forgotten after their last packet; in memory are those that are alive, a few thousand
//! that come next, and sixteen bytes for each of the others. It does not know what becomes of the packets.

use super::offered::{Traffic, client_sock, server_sock};
use super::span::Share;
use crate::net::{Addr, Segment, Sock};
use crate::rng::Rng;
use crate::time::Instant;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Flows that are made in one go, and those that one thread makes of them.
const BATCH: usize = 4096;
const PART: usize = 128;
/// After how many packets somebody may have stopped it.
const LOOKS: u64 = 1 << 16;

/// What passed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Passed {
    /// Flows that had a packet.
    pub flows: u64,
    /// Their packets.
    pub packets: u64,
    /// The times of the first packet and of the last one.
    pub span: Option<(Instant, Instant)>,
    /// The most flows that were between their first packet and their last one at a time.
    pub alive_max: u64,
    /// Whether it was stopped.
    pub interrupted: bool,
}

/// A flow that is not over.
struct Live {
    ends: [Sock; 2],
    segments: Vec<Segment>,
    next: usize,
}

/// Hands over every packet, with the sockets of the client and of the server. Packets of the same time come in the order of the
/// numbers of their flows. A share of the flows speaks IPv6. The order, and what is in it, does not depend on the number of threads of the
/// current pool. `begun` is told how many more flows have begun; when `stop` becomes true, it ends early.
///
/// # Errors
/// What `packet` said.
pub fn each<E: Send>(
    traffic: &Traffic<'_>,
    six: Share,
    stop: &AtomicBool,
    begun: impl Fn(u64) + Sync,
    packet: impl FnMut(&[Sock; 2], &Segment) -> Result<(), E> + Send,
) -> Result<Passed, E> {
    let start = |number| if stop.load(Ordering::Relaxed) { Instant::ZERO } else { traffic.start(number) };
    let mut starts: Vec<(Instant, u64)> = (0..traffic.flows()).into_par_iter().map(|number| (start(number), number)).collect();
    if stop.load(Ordering::Relaxed) {
        return Ok(Passed { interrupted: true, ..Passed::default() });
    }
    starts.par_sort_unstable();
    let make = |numbers: &[(Instant, u64)]| -> Vec<(u64, Live)> {
        let parts: Vec<Vec<(u64, Live)>> = numbers.par_chunks(PART).map(|part| some(traffic, six, part, stop)).collect();
        parts.into_iter().flatten().collect()
    };
    let mut merge =
        Merge { heap: BinaryHeap::new(), live: Vec::new(), free: Vec::new(), alive: 0, passed: Passed::default(), stop, packet };
    let mut batches = starts.chunks(BATCH);
    let mut made = batches.next().map(&make).unwrap_or_default();
    let mut more = true;
    while more && !merge.is_stopped() {
        begun(made.len() as u64);
        merge.admit(std::mem::take(&mut made));
        // Before the next flow begins, everything that comes earlier can go.
        let batch = batches.next();
        let until = batch.and_then(|batch| batch.first()).map_or(Instant::MAX, |(start, _)| *start);
        let (following, done) = rayon::join(|| batch.map(&make), || merge.until(until));
        done?;
        more = following.is_some();
        made = following.unwrap_or_default();
    }
    merge.is_stopped();
    Ok(merge.passed)
}

/// Makes some flows; fewer where it is stopped.
fn some(traffic: &Traffic<'_>, six: Share, numbers: &[(Instant, u64)], stop: &AtomicBool) -> Vec<(u64, Live)> {
    let mut player = traffic.player();
    let live = |(_, number): &(Instant, u64)| {
        let ends = sockets(traffic, *number, six);
        (*number, Live { ends, segments: player.play(*number).to_vec(), next: 0 })
    };
    numbers.iter().take_while(|_| !stop.load(Ordering::Relaxed)).map(live).collect()
}

/// The sockets of a flow: those of [`super::offered`], or the same addresses behind a prefix for documentation.
pub fn sockets(traffic: &Traffic<'_>, number: u64, six: Share) -> [Sock; 2] {
    let ends = [client_sock(number), server_sock()];
    let below = u64::from(six.per_million());
    let is_six = below > 0 && Rng::keyed(traffic.seed() ^ 0x6970_7636_6970_7636, number).below(1_000_000) < below;
    if is_six { ends.map(|end| Sock { addr: embedded(end.addr), ..end }) } else { ends }
}

/// 2001:db8::/96 and an IPv4 address.
pub(super) fn embedded(addr: Addr) -> Addr {
    let mut octets = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if let IpAddr::V4(four) = addr.ip() {
        octets[12..].copy_from_slice(&four.octets());
    }
    Addr::v6(octets)
}

/// The flows that are alive, by the time of their next packet.
struct Merge<'s, P> {
    heap: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    live: Vec<Live>,
    /// Places in `live` that are free.
    free: Vec<u32>,
    /// Flows between their first packet and their last one.
    alive: u64,
    passed: Passed,
    stop: &'s AtomicBool,
    packet: P,
}

impl<P> Merge<'_, P> {
    fn is_stopped(&mut self) -> bool {
        self.passed.interrupted |= self.stop.load(Ordering::Relaxed);
        self.passed.interrupted
    }

    fn admit(&mut self, flows: Vec<(u64, Live)>) {
        for (number, flow) in flows {
            let Some(first) = flow.segments.first() else { continue };
            let at = first.at;
            let place = if let Some(place) = self.free.pop() {
                self.live[place as usize] = flow;
                place
            } else {
                self.live.push(flow);
                self.live.len() as u32 - 1
            };
            self.heap.push(Reverse((at, number, place)));
        }
    }

    /// Hands over what comes before a time.
    fn until<E>(&mut self, until: Instant) -> Result<(), E>
    where
        P: FnMut(&[Sock; 2], &Segment) -> Result<(), E>,
    {
        while let Some(mut top) = self.heap.peek_mut() {
            let Reverse((at, number, place)) = *top;
            if at >= until && until != Instant::MAX {
                break;
            }
            let flow = &mut self.live[place as usize];
            let segment = &flow.segments[flow.next];
            (self.packet)(&flow.ends, segment)?;
            self.passed.packets += 1;
            if self.passed.packets.is_multiple_of(LOOKS) && self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.passed.span = Some((self.passed.span.map_or(at, |span| span.0), at));
            if flow.next == 0 {
                self.passed.flows += 1;
                self.alive += 1;
                self.passed.alive_max = self.passed.alive_max.max(self.alive);
            }
            flow.next += 1;
            if let Some(next) = flow.segments.get(flow.next) {
                *top = Reverse((next.at, number, place));
            } else {
                flow.segments = Vec::new();
                self.alive -= 1;
                self.free.push(place);
                PeekMut::pop(top);
            }
        }
        Ok(())
    }
}
