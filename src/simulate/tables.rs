//! The tables that flows share: conntrack's, which can be full, and a director's, which `drop_entry` thins out.
//!
//! The models of a flow know nothing of other flows: a packet goes through the flow's own box as ever, and what the shared table says to
//! a new entry is laid over it. An entry has a number: twice its flow's, and one more if the server's side made it; at a director the
//! connection's is even, the persistence template's odd. Leaves out: rate limits, and modes 1 and 2 of a director's defences, for
//! no scenario says how much memory it has.

use super::outcome::{Forgotten, Met};
use super::world::Flow;
use crate::engine::Path;
use crate::engine::hop::{Device, Hop, HopState};
use crate::model::conntrack::entry::{Entry, State, status};
use crate::model::conntrack::full::{self, FullTable, Standing};
use crate::model::conntrack::router::Router;
use crate::model::director::{Director, DirectorState};
use crate::model::ipvs::conn::Conn;
use crate::model::ipvs::defence::{Defence, DefenceSettings, Done, IpvsStanding, Kind};
use crate::model::ipvs::state::State as IpvsState;
use crate::model::{DropReason, Moment, Outcome as BoxOutcome, Packet, Side};
use crate::rng::Rng;
use crate::time::{Duration, Instant};

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
                let out = at_router(table, router, flow, hop, state, packet, moment, &mut self.scratch);
                self.gone.extend(self.scratch.drain(..).map(|id| (id, index)));
                out
            }
            (Some(Table::Director { defence, peak, .. }), Device::Director(director)) => {
                let out = at_director(defence, director, flow, hop, state, packet, moment);
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
            let lost = match (&path.hops[hop].device, &mut flow.hops[hop]) {
                (Device::Router(router), HopState::Router(held)) => {
                    let number = |entry: &Entry| entry_number(router, id / 2, entry) == id;
                    let lost = held.iter().find(|entry| number(entry)).map(|e| (e.refreshed, e.timeout, e.clause, e.state_name()));
                    held.remove_where(number);
                    lost
                }
                (Device::Director(_), HopState::Director(held)) if id % 2 == 1 => {
                    held.template = None;
                    None
                }
                (Device::Director(director), HopState::Director(held)) => {
                    let lost = held.conns.iter().next().map(|c| (c.refreshed, c.timeout, c.clause, c.state_name()));
                    director.expire(held, |_| true);
                    lost
                }
                _ => None,
            };
            let Some((refreshed, timeout, clause, state)) = lost else { continue };
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

fn entry_number(router: &Router, flow: u32, entry: &Entry) -> u32 {
    flow * 2 + u32::from(router.place.side_of(entry.original.src.host) == Side::Server)
}

#[expect(clippy::too_many_arguments, reason = "a packet at a box, and the table beside it")]
fn at_router(
    table: &mut FullTable,
    router: &Router,
    flow: u32,
    hop: &Hop,
    state: &mut HopState,
    packet: Packet<'_>,
    moment: &mut Moment,
    evicted: &mut Vec<u32>,
) -> BoxOutcome {
    let id = flow * 2 + u32::from(packet.from == Side::Server);
    // What the box knew is needed again only where the new entry may be refused.
    let before = (!table.is_roomy(u64::from(id))).then(|| state.clone());
    let out = hop.packet(state, packet, moment);
    // A packet that fits no entry is given one before it is found INVALID.
    let unfit = out.invalid.is_some() && matches!(&before, Some(HopState::Router(held)) if held.iter().next().is_none());
    let HopState::Router(held) = state else { return out };
    let confirmed = |number: u32| held.iter().find(move |e| e.is(status::CONFIRMED) && entry_number(router, flow, e) == number);
    let mut room = !(out.created || unfit) || table.admit(moment.now, u64::from(id), evicted);
    if room && out.created {
        room = confirmed(id).is_none_or(|entry| table.insert(id, u64::from(id), standing(entry)));
    }
    // What stood under this number before is not the new entry.
    evicted.retain(|gone| *gone != id);
    if !room && let Some(before) = before {
        *state = before;
        return BoxOutcome { dropped: Some(DropReason::TableFull), ..BoxOutcome::NOTHING };
    }
    for number in [flow * 2, flow * 2 + 1] {
        match confirmed(number) {
            Some(entry) if table.holds(number) => table.update(number, standing(entry)),
            // The other side's packet made it when the table had room.
            Some(entry) if entry.deadline() > moment.now => {
                table.insert(number, u64::from(number), standing(entry));
            }
            Some(_) => {}
            None => table.remove(number),
        }
    }
    out
}

fn standing(entry: &Entry) -> Standing {
    let closing = matches!(entry.tcp.state, State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close);
    Standing { assured: entry.is(status::ASSURED), closing, deadline: entry.deadline() }
}

fn at_director(
    defence: &mut Defence,
    director: &Director,
    flow: u32,
    hop: &Hop,
    state: &mut HopState,
    packet: Packet<'_>,
    moment: &mut Moment,
) -> BoxOutcome {
    let before = (defence.modes()[1] > 0).then(|| state.clone());
    let out = hop.packet(state, packet, moment);
    if out.created
        && let Some(before) = before
        && defence.drops_new()
    {
        *state = before;
        return BoxOutcome { dropped: Some(DropReason::UnderDefence), ..BoxOutcome::NOTHING };
    }
    if let HopState::Director(held) = state {
        follow(defence, director, flow, held, out.created);
    }
    out
}

/// Tells the defences what the flow's entries are now.
fn follow(defence: &mut Defence, director: &Director, flow: u32, held: &DirectorState, created: bool) {
    let (id, template) = (flow * 2, flow * 2 + 1);
    let lateness = director.lateness();
    let end = |refreshed: Instant, timeout: Duration| lateness.fires(refreshed, timeout).1;
    let conn = held.conns.iter().next();
    match &held.template {
        Some(t) => {
            let was = defence.assured(template) == Some(true);
            let assured = was || conn.is_some_and(|conn: &Conn| conn.state == IpvsState::Established);
            let kind = Kind::Template { one_packet: false, assured };
            // While it has a connection its end is put off again and again.
            let deadline = end(t.refreshed, t.timeout).max(conn.map_or(Instant::ZERO, |conn| end(conn.refreshed, conn.timeout)));
            let standing = IpvsStanding { kind, in_pkts: 0, refreshed: t.refreshed, deadline, template: None };
            set(defence, template, standing, false);
        }
        None => defence.remove(template),
    }
    match conn {
        Some(conn) => {
            let template = held.template.as_ref().map(|_| template);
            let deadline = end(conn.refreshed, conn.timeout);
            let standing =
                IpvsStanding { kind: Kind::Tcp(conn.state), in_pkts: conn.in_pkts, refreshed: conn.refreshed, deadline, template };
            set(defence, id, standing, created);
        }
        None => defence.remove(id),
    }
}

fn set(defence: &mut Defence, id: u32, standing: IpvsStanding, created: bool) {
    if defence.holds(id) && !created {
        defence.update(id, standing);
    } else {
        defence.insert(id, u64::from(id), standing);
    }
}
