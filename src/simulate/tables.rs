//! The tables that flows share: conntrack's, which can be full, and a director's, which `drop_entry` thins out.
//!
//! What a shared table does to a packet is in [`crate::engine::shared`]; a flow's entries are numbered by twice its own number. Leaves
//! out: rate limits, and modes 1 and 2 of a director's defences, for no scenario says how much memory it has.

use super::outcome::{Forgotten, Met};
use super::world::Flow;
use crate::engine::Path;
use crate::engine::hop::{Device, Hop, HopState};
use crate::engine::shared::{self, Key};
use crate::model::conntrack::full::{self, FullTable};
use crate::model::ipvs::defence::{Defence, DefenceSettings, Done};
use crate::model::{Lapse, Moment, Outcome as BoxOutcome, Packet};
use crate::rng::Rng;
use crate::time::Instant;

/// How large one box's conntrack table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Which box.
    pub hop: usize,
    /// `nf_conntrack_max`.
    pub max: u64,
    /// `nf_conntrack_buckets`.
    pub buckets: u64,
}

/// What couples flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shared {
    /// A conntrack table with a limit.
    Conntrack(Limit),
    /// A director with defences.
    Director {
        /// Which box.
        hop: usize,
        /// Its defences.
        settings: DefenceSettings,
    },
}

/// What became of one box's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// Which box.
    pub hop: usize,
    /// The size of a conntrack table.
    pub limit: Option<Limit>,
    /// The most entries that it held.
    pub peak: u64,
    /// New connections that it refused: `drop` in `conntrack -S`, and those whose chain was too long; at a director, what
    /// `drop_packet` dropped.
    pub refused: u64,
    /// Entries that made room: `early_drop`, and those that a collection under pressure took; at a director, what `drop_entry` took.
    pub evicted: u64,
    /// At a director, the same by kind.
    pub done: Option<Done>,
}

enum Table {
    Conntrack(Limit, Box<FullTable>),
    Director { hop: usize, defence: Box<Defence>, peak: u64 },
}

/// The tables that flows share.
pub(super) struct Tables {
    all: Vec<Table>,
    /// Entries that went, to be taken from their flows.
    gone: Vec<(u32, usize)>,
    scratch: Vec<u32>,
}

impl Table {
    fn new(shared: Shared, path: &Path, seed: u64) -> Option<Table> {
        match (shared, &path.hops[shared.hop()].device) {
            (Shared::Conntrack(limit), Device::Router(router)) => {
                let size = full::Limit { max: limit.max, buckets: limit.buckets };
                let table = FullTable::new(size, router.conntrack.settings.dialect, Rng::keyed(seed, limit.hop as u64).number());
                Some(Table::Conntrack(limit, Box::new(table)))
            }
            (Shared::Director { hop, settings }, Device::Director(director)) => {
                let settings = DefenceSettings { lateness: director.lateness(), ..settings };
                let defence = Defence::new(settings, director.ipvs.dialect, Rng::keyed(seed, hop as u64).number());
                Some(Table::Director { hop, defence: Box::new(defence), peak: 0 })
            }
            _ => None,
        }
    }

    const fn hop(&self) -> usize {
        match self {
            Table::Conntrack(limit, _) => limit.hop,
            Table::Director { hop, .. } => *hop,
        }
    }

    fn due(&self) -> Instant {
        match self {
            Table::Conntrack(_, table) => table.collect_due(),
            Table::Director { defence, .. } => defence.next_tick(),
        }
    }

    fn pressure(&self) -> Pressure {
        match self {
            Table::Conntrack(limit, table) => Pressure {
                hop: limit.hop,
                limit: Some(*limit),
                peak: table.peak(),
                refused: table.refused() + table.too_long(),
                evicted: table.evicted() + table.collected(),
                done: None,
            },
            Table::Director { hop, defence, peak } => {
                let done = defence.done();
                let evicted = done.half_open + done.established + done.udp;
                Pressure { hop: *hop, limit: None, peak: *peak, refused: done.packets, evicted, done: Some(done) }
            }
        }
    }
}

impl Shared {
    const fn hop(&self) -> usize {
        match self {
            Shared::Conntrack(limit) => limit.hop,
            Shared::Director { hop, .. } => *hop,
        }
    }
}

impl Tables {
    pub(super) fn new(shared: &[Shared], path: &Path, seed: u64) -> Tables {
        let all = shared.iter().filter_map(|one| Table::new(*one, path, seed)).collect();
        Tables { all, gone: Vec::new(), scratch: Vec::new() }
    }

    pub(super) fn pressures(&self) -> Vec<Pressure> {
        self.all.iter().map(Table::pressure).collect()
    }

    /// One packet at a box: as ever, unless a shared table has no room for the entry that it made.
    pub(super) fn packet(
        &mut self,
        number: u64,
        index: usize,
        hop: &Hop,
        state: &mut HopState,
        packet: Packet<'_>,
        moment: &mut Moment,
    ) -> BoxOutcome {
        let flow = number as u32;
        match (self.all.iter_mut().find(|table| table.hop() == index), &hop.device) {
            (Some(Table::Conntrack(_, table)), Device::Router(router)) => {
                let key = Key { pair: flow, tuple: u64::from(flow) };
                let out = shared::at_router(table, router, key, hop, state, packet, moment, &mut self.scratch);
                self.gone.extend(self.scratch.drain(..).map(|id| (id, index)));
                out
            }
            (Some(Table::Director { defence, peak, .. }), Device::Director(director)) => {
                let key = Key { pair: flow, tuple: u64::from(flow) };
                let out = shared::at_director(defence, director, key, hop, state, packet, moment);
                *peak = (*peak).max(defence.count());
                out
            }
            _ => hop.packet(state, packet, moment),
        }
    }

    /// Runs what is due first, if it is due at `until` or before: a collection, or the tick of a director. When it was.
    pub(super) fn work(&mut self, until: Instant) -> Option<Instant> {
        let table = self.all.iter_mut().min_by_key(|table| table.due())?;
        let at = table.due();
        if at > until {
            return None;
        }
        let hop = table.hop();
        match table {
            Table::Conntrack(_, table) => table.collect(at, &mut self.scratch),
            Table::Director { defence, .. } => defence.tick(at, u64::MAX, &mut self.scratch),
        }
        self.gone.extend(self.scratch.drain(..).map(|id| (id, hop)));
        Some(at)
    }

    /// Takes from the flows what went from the tables.
    pub(super) fn evict(&mut self, path: &Path, flows: &mut [Flow], now: Instant) {
        for (id, hop) in self.gone.drain(..) {
            let Some(flow) = flows.get_mut((id / 2) as usize) else { continue };
            let Some(Lapse { refreshed, timeout, clause, state }) = shared::take(&path.hops[hop], &mut flow.hops[hop], id) else {
                continue;
            };
            flow.outcome.forgotten.push(Forgotten {
                hop,
                refreshed,
                timeout,
                at: now,
                clause,
                state,
                noticed: None,
                by_client: false,
                fate: Met::Evicted,
            });
        }
    }
}
