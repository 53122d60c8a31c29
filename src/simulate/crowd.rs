//! Flows that share a table: run in the order of time, one queue for all, so that a full table can refuse the one and evict
//! the other.
//!
//! Source: `__nf_conntrack_alloc`, `early_drop`, `gc_worker` (`net/netfilter/nf_conntrack_core.c`); the spec's conntrack.md
//! sections 5.2 and 5.4. Which bucket an entry stands in depends on a key that is random at boot: here on the seed. Leaves
//! out: tables of directors, and rate limits.

use super::network::Network;
use super::outcome::{Forgotten, Met, Outcome};
use super::trace::Silent;
use super::world::{Flow, FlowPlan, World};
use crate::engine::hop::{Device, Hop, HopState};
use crate::model::conntrack::dialect::release_numbers;
use crate::model::conntrack::entry::{Entry, State, status};
use crate::model::{DropReason, Moment, Outcome as BoxOutcome, Packet};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How large one box's table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Which box.
    pub hop: usize,
    /// `nf_conntrack_max`.
    pub max: u64,
    /// `nf_conntrack_buckets`.
    pub buckets: u64,
}

/// What became of one box's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// Its size.
    pub limit: Limit,
    /// The most entries that it held.
    pub peak: u64,
    /// New connections that it refused: `drop` in `conntrack -S`.
    pub refused: u64,
    /// Entries that made room: `early_drop`, and those that a collection under pressure took.
    pub evicted: u64,
}

/// One flow's entry in one table.
#[derive(Clone, Copy, Default)]
struct Row {
    present: bool,
    assured: bool,
    closing: bool,
    deadline: Instant,
    buckets: [u32; 2],
    /// How many entries this flow has had: each stands elsewhere.
    made: u32,
}

struct SharedTable {
    limit: Limit,
    rows: Vec<Row>,
    chains: HashMap<u32, Vec<u32>, foldhash::fast::FixedState>,
    count: u64,
    pressure: Pressure,
    /// Set when the table was full: the next collection takes more (4.12 and later).
    was_full: bool,
    /// How many chains are searched for a victim.
    range: u32,
    collect_at: Instant,
    /// The fixed time between two collections, or none where it follows the entries' remaining time.
    collect_every: Option<Duration>,
    collects_early: bool,
}

/// The tables that flows share.
pub(super) struct Tables {
    shared: Vec<SharedTable>,
    seed: u64,
    /// Entries that other flows lost, to be taken from them.
    evicted: Vec<(u32, usize)>,
}

impl SharedTable {
    fn new(limit: Limit, flows: usize, hop: &Hop) -> SharedTable {
        let name = match &hop.device {
            Device::Router(router) => router.conntrack.settings.dialect.name,
            _ => "",
        };
        let release = release_numbers(name.trim_start_matches("linux-").trim_start_matches("longterm-")).unwrap_or([6, 12, 0]);
        let since = |major: u32, minor: u32| (release[0], release[1]) >= (major, minor);
        let collect_every = match () {
            () if since(5, 18) => None,
            () if since(5, 15) => Some(Duration::from_secs(120)),
            () if since(4, 9) => Some(Duration::from_secs(16)),
            // Timers took entries away when they ended.
            () => Some(Duration::from_secs(1)),
        };
        SharedTable {
            limit,
            rows: vec![Row::default(); flows],
            chains: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(7)),
            count: 0,
            pressure: Pressure { limit, peak: 0, refused: 0, evicted: 0 },
            was_full: false,
            range: if since(4, 20) { 8 } else { 1 },
            collect_at: Instant::ZERO + collect_every.unwrap_or(Duration::from_secs(60)),
            collect_every,
            collects_early: since(4, 12),
        }
    }

    fn link(&mut self, flow: u32, seed: u64) {
        let row = &mut self.rows[flow as usize];
        row.made += 1;
        let mut rng = Rng::keyed(seed ^ u64::from(row.made) << 40, u64::from(flow));
        row.buckets = [(); 2].map(|()| rng.below(self.limit.buckets) as u32);
        row.present = true;
        for bucket in row.buckets {
            self.chains.entry(bucket).or_default().push(flow);
        }
        self.count += 1;
        self.pressure.peak = self.pressure.peak.max(self.count);
    }

    fn unlink(&mut self, flow: u32) {
        let row = &mut self.rows[flow as usize];
        if !row.present {
            return;
        }
        row.present = false;
        for bucket in row.buckets {
            if let Some(chain) = self.chains.get_mut(&bucket)
                && let Some(at) = chain.iter().position(|other| *other == flow)
            {
                chain.remove(at);
            }
        }
        self.count -= 1;
    }

    /// Makes room for a packet whose chain is `bucket`: true if some entry went.
    fn early_drop(&mut self, bucket: u32, now: Instant, evicted: &mut Vec<u32>) -> bool {
        for step in 0..self.range {
            let bucket = ((u64::from(bucket) + u64::from(step)) % self.limit.buckets) as u32;
            let chain: Vec<u32> = self.chains.get(&bucket).cloned().unwrap_or_default();
            let mut dropped = false;
            for flow in chain {
                let row = self.rows[flow as usize];
                if row.deadline <= now {
                    // Expired entries are collected on the way and are no success.
                    self.unlink(flow);
                } else if row.present && !row.assured {
                    self.unlink(flow);
                    evicted.push(flow);
                    dropped = true;
                }
            }
            if dropped {
                return true;
            }
        }
        false
    }

    /// `gc_worker`: takes expired entries out; after the table was full and while it nearly is, unassured and closing ones too.
    fn collect(&mut self, now: Instant, evicted: &mut Vec<u32>) {
        let presses = self.collects_early && self.was_full;
        let threshold = self.limit.max / 100 * 95;
        let (mut sum, mut live) = (60_u64, 100_u64);
        sum *= live;
        for flow in 0..self.rows.len() as u32 {
            let row = self.rows[flow as usize];
            if !row.present {
                continue;
            }
            if row.deadline <= now {
                self.unlink(flow);
            } else if presses && self.count >= threshold && (!row.assured || row.closing) {
                self.unlink(flow);
                evicted.push(flow);
            } else {
                sum += row.deadline.since(now).as_secs().clamp(1, 300);
                live += 1;
            }
        }
        self.was_full = false;
        let next = self.collect_every.unwrap_or_else(|| Duration::from_secs((sum / live).clamp(1, 60)));
        self.collect_at = now + next;
    }
}

impl Tables {
    /// One packet at a box: as ever where the table has room, else by what a full table does.
    pub(super) fn packet(
        &mut self,
        number: u64,
        index: usize,
        hop: &Hop,
        state: &mut HopState,
        packet: Packet<'_>,
        moment: &mut Moment,
    ) -> BoxOutcome {
        let Some(at) = self.shared.iter().position(|table| table.limit.hop == index) else {
            return hop.packet(state, packet, moment);
        };
        let (table, flow) = (&mut self.shared[at], number as u32);
        let full = table.count >= table.limit.max;
        let before = full.then(|| state.clone());
        let out = hop.packet(state, packet, moment);
        if out.created
            && let Some(before) = before
        {
            let mut rng = Rng::keyed(self.seed ^ 0x6561_726c_7921, number ^ moment.now.0);
            let bucket = rng.below(table.limit.buckets) as u32;
            let mut evicted = Vec::new();
            let made_room = table.early_drop(bucket, moment.now, &mut evicted);
            table.pressure.evicted += evicted.len() as u64;
            self.evicted.extend(evicted.into_iter().map(|flow| (flow, index)));
            if !made_room {
                table.was_full = true;
                table.pressure.refused += 1;
                *state = before;
                return BoxOutcome { dropped: Some(DropReason::TableFull), ..BoxOutcome::NOTHING };
            }
        }
        if let HopState::Router(held) = state {
            match held.iter().find(|entry| entry.is(status::CONFIRMED)) {
                Some(entry) => {
                    if out.created || !table.rows[flow as usize].present {
                        table.unlink(flow);
                        table.link(flow, self.seed);
                    }
                    let row = &mut table.rows[flow as usize];
                    row.assured = entry.is(status::ASSURED);
                    row.closing = is_closing(entry);
                    row.deadline = entry.deadline();
                }
                None => table.unlink(flow),
            }
        }
        out
    }
}

fn is_closing(entry: &Entry) -> bool {
    matches!(entry.tcp.state, State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close)
}

/// Runs flows together.
pub fn run(net: &Network, limits: &[Limit], plans: &[FlowPlan<'_>]) -> (Vec<Outcome>, Vec<Pressure>) {
    let mut world = World::new(net, Silent);
    let shared = limits.iter().map(|limit| SharedTable::new(*limit, plans.len(), &net.path.hops[limit.hop])).collect();
    world.tables = Some(Tables { shared, seed: net.seed, evicted: Vec::new() });
    let mut flows: Vec<Flow> = plans.iter().map(|plan| world.flow(plan)).collect();
    let mut queue: BinaryHeap<Reverse<(Instant, u32)>> = BinaryHeap::with_capacity(plans.len());
    for (index, plan) in plans.iter().enumerate() {
        queue.push(Reverse((plan.start, index as u32)));
    }
    while let Some(Reverse((due, index))) = queue.pop() {
        collect(&mut world, &mut flows, due);
        let (flow, plan) = (&mut flows[index as usize], &plans[index as usize]);
        // What is due in a flow may have changed since; it is never earlier than what was queued for it.
        let now = world.due(flow, plan);
        if now > due {
            if now < Instant::MAX {
                queue.push(Reverse((now, index)));
            }
            continue;
        }
        if !world.step(flow, plan) {
            continue;
        }
        let next = world.due(&flows[index as usize], plan);
        if next < Instant::MAX {
            queue.push(Reverse((next, index)));
        }
        evict(&mut world, &mut flows, due);
    }
    let outcomes = flows
        .iter_mut()
        .zip(plans)
        .map(|(flow, plan)| {
            world.finish(flow, plan);
            std::mem::replace(&mut flow.outcome, Outcome::nothing())
        })
        .collect();
    let pressures = world.tables.take().map(|tables| tables.shared.iter().map(|table| table.pressure).collect());
    (outcomes, pressures.unwrap_or_default())
}

/// Runs the collections that are due before the next event.
fn collect(world: &mut World<'_, Silent>, flows: &mut [Flow], due: Instant) {
    let horizon = world.net.horizon;
    loop {
        let Some(tables) = &mut world.tables else { return };
        let Some(table) = tables.shared.iter_mut().min_by_key(|table| table.collect_at) else { return };
        let at = table.collect_at;
        if at > due || at > horizon {
            return;
        }
        let mut evicted = Vec::new();
        table.collect(at, &mut evicted);
        table.pressure.evicted += evicted.len() as u64;
        let hop = table.limit.hop;
        tables.evicted.extend(evicted.into_iter().map(|flow| (flow, hop)));
        evict(world, flows, at);
    }
}

/// Takes from the flows what the tables evicted.
fn evict(world: &mut World<'_, Silent>, flows: &mut [Flow], now: Instant) {
    let Some(tables) = &mut world.tables else { return };
    for (index, hop) in std::mem::take(&mut tables.evicted) {
        let flow = &mut flows[index as usize];
        let HopState::Router(held) = &flow.hops[hop] else { continue };
        let Some(entry) = held.iter().next() else { continue };
        flow.outcome.forgotten.push(Forgotten {
            hop,
            refreshed: entry.refreshed,
            timeout: entry.timeout,
            at: now,
            clause: entry.clause,
            state: entry.state_name(),
            noticed: None,
            by_client: false,
            fate: Met::Evicted,
        });
        flow.hops[hop] = world.net.path.hops[hop].empty();
    }
}
