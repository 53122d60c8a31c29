//! The traffic that a scenario offers to its boxes: what client and server would say to each other if nothing stood between them.
//!
//! With it a scenario is looked at like a capture that was taken at the client's side: what a policy does to it is then the
//! business of the open loop. Times are those of the run, from 0. It does not know boxes: those of the scenario are left out, and so
//! is what happens to them (`forget`, `fail_over`, a real server that is taken out of service).

use super::compile::{Ready, SERVER_PORT, client_port};
use super::population::Member;
use crate::engine::Path;
use crate::engine::offered::{Offered, Origin};
use crate::model::{Side, Tuple};
use crate::net::{Addr, Proto, Segment, Sock};
use crate::simulate::{Fault, Link, Network, Observer, World};
use crate::time::{Duration, Instant};
use rayon::prelude::*;
use std::ops::Range;

/// The client's socket of a flow: an address of its own out of 10.0.0.0/8 for each of the first 2²⁴ flows, then the addresses come again
/// with other ports.
pub fn client_sock(number: u64) -> Sock {
    let [_, _, _, _, _, a, b, c] = number.to_be_bytes();
    Sock { addr: Addr::v4([10, a, b, c]), port: client_port(number) }
}

/// The server's socket, from the ranges for documentation.
pub const fn server_sock() -> Sock {
    Sock { addr: Addr::v4([198, 51, 100, 10]), port: SERVER_PORT }
}

/// What flows of a scenario say where no box is in their way.
#[derive(Clone, Debug)]
pub struct Traffic<'r> {
    ready: &'r Ready,
    net: Network,
}

impl<'r> Traffic<'r> {
    /// Prepares it: the links become one that is as long as all of them.
    pub fn new(ready: &'r Ready) -> Traffic<'r> {
        let mut net = Network { path: Path::direct(ready.net.path.clock), links: vec![joined(&ready.net.links)], ..ready.net.clone() };
        net.sync.clear();
        net.faults = faults(&ready.net.faults);
        Traffic { ready, net }
    }

    /// How many flows there are.
    pub fn flows(&self) -> u64 {
        self.ready.flows()
    }

    /// Name and span, for [`crate::engine::offered::kept_offered`]: a scenario is looked at until its end, however early the last
    /// packet came.
    pub fn origin(&self, name: &str) -> Origin {
        Origin { name: name.to_owned(), begin: Instant::ZERO, end: self.net.horizon }
    }

    /// What everything is drawn from.
    pub fn seed(&self) -> u64 {
        self.net.seed
    }

    /// When a flow dials.
    pub fn start(&self, number: u64) -> Instant {
        self.ready.start(number)
    }

    /// Somebody who makes flows one after the other.
    pub fn player(&self) -> Player<'_> {
        Player { ready: self.ready, world: World::new(&self.net, Tap::default()), member: Member::default() }
    }

    /// Some of the flows, by number. Numbers beyond the last have no flow.
    pub fn offered(&self, numbers: Range<u64>) -> Vec<Offered> {
        let mut player = self.player();
        let numbers = numbers.start..numbers.end.min(self.flows());
        let offered = |number| Offered {
            client: client_sock(number),
            server: server_sock(),
            proto: Proto::Tcp,
            segments: player.play(number).to_vec(),
        };
        numbers.map(offered).collect()
    }

    /// All flows in the order of their numbers, some thousands at a time, made by all threads of the current pool.
    pub fn chunks(&self) -> impl Iterator<Item = Vec<Offered>> + Send + '_ {
        let last = self.flows().div_ceil(CHUNK);
        (0..last).map(|chunk| {
            let parts: Vec<u64> = (chunk * CHUNK..((chunk + 1) * CHUNK).min(self.flows())).step_by(PART as usize).collect();
            let end = ((chunk + 1) * CHUNK).min(self.flows());
            let parts: Vec<Vec<Offered>> = parts.into_par_iter().map(|from| self.offered(from..(from + PART).min(end))).collect();
            parts.into_iter().flatten().collect()
        })
    }
}

/// Makes flows one after the other, with memory that is used again.
pub struct Player<'t> {
    ready: &'t Ready,
    world: World<'t, Tap>,
    member: Member,
}

impl Player<'_> {
    /// What passes the client's side in a flow, in the order of time.
    pub fn play(&mut self, number: u64) -> &[Segment] {
        self.world.observer.segments.clear();
        self.ready.draw(number, &mut self.member);
        self.world.run(&self.ready.plan(number, &self.member));
        &self.world.observer.segments
    }
}

/// Flows that are in memory at once, and those that one thread makes in one go.
const CHUNK: u64 = 4096;
const PART: u64 = 128;

/// Several links in a row as one. Delays, and the most that jitter adds, add up; a packet arrives if no link loses it.
fn joined(links: &[Link]) -> Link {
    let million = 1_000_000_u64;
    let either = |one: u32, other: u32| {
        let (one, other) = (u64::from(one).min(million), u64::from(other).min(million));
        (million - (million - one) * (million - other) / million) as u32
    };
    let add = |one: Duration, other: Duration| Duration(one.0.saturating_add(other.0));
    links.iter().fold(Link::default(), |sum, link| Link {
        delay: add(sum.delay, link.delay),
        jitter: add(sum.jitter, link.jitter),
        loss_per_million: either(sum.loss_per_million, link.loss_per_million),
        reorder_per_million: either(sum.reorder_per_million, link.reorder_per_million),
    })
}

/// What happens to the one link and to the hosts: the link is down as long as any of the links was.
fn faults(faults: &[(Instant, Fault)]) -> Vec<(Instant, Fault)> {
    let mut down = 0_u64;
    let mut left = Vec::new();
    for (at, fault) in faults {
        let before = down;
        match fault {
            Fault::LinkDown(link) => down |= 1 << link,
            Fault::LinkUp(link) => down &= !(1 << link),
            Fault::Forget(_) | Fault::FailOver(_) | Fault::Dest(..) => {}
            Fault::ServerDies | Fault::ServerReboots | Fault::ClientDies => left.push((*at, *fault)),
        }
        if (before == 0) != (down == 0) {
            left.push((*at, if down == 0 { Fault::LinkUp(0) } else { Fault::LinkDown(0) }));
        }
    }
    left
}

/// Keeps what passes the client's side.
#[derive(Clone, Debug, Default)]
struct Tap {
    segments: Vec<Segment>,
}

impl Tap {
    fn keep(&mut self, at: Instant, side: Side, seg: &Segment) {
        if side == Side::Client {
            self.segments.push(Segment { at, ..*seg });
        }
    }
}

impl Observer for Tap {
    fn host_sent(&mut self, at: Instant, side: Side, _tuple: Tuple, seg: &Segment) {
        self.keep(at, side, seg);
    }

    fn host_got(&mut self, at: Instant, side: Side, _tuple: Tuple, seg: &Segment) {
        self.keep(at, side, seg);
    }
}
