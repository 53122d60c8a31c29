//! One packet at a box whose table is shared with other flows.
//!
//! The models of a flow know nothing of other flows: a packet goes through the flow's own box as ever, and what the shared table
//! says to a new entry is laid over it. An entry has a number: twice its flow's [`Key::pair`], and one more if the server's side made
//! it; at a director the connection's is even, the persistence template's odd. It does not know when tables collect or tick.

use super::hop::{Device, Hop, HopState};
use crate::model::conntrack::entry::{Entry, State, status};
use crate::model::conntrack::full::{FullTable, Standing};
use crate::model::conntrack::router::Router;
use crate::model::director::{Director, DirectorState};
use crate::model::ipvs::conn::Conn;
use crate::model::ipvs::defence::{Defence, IpvsStanding, Kind};
use crate::model::ipvs::state::State as IpvsState;
use crate::model::{Clause, DropReason, Lapse, Moment, Outcome, Packet, Side};
use crate::time::{Duration, Instant};

/// Which flow it is to the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Half the numbers of its entries. Numbers are small, since tables take memory up to the largest, and may be used again.
    pub pair: u32,
    /// Half the numbers that stand for its addresses; no two flows have the same, below 2⁶³.
    pub tuple: u64,
}

/// Takes the entry of a number out of a flow's box, because the table dropped it; returns what it was.
pub fn take(hop: &Hop, state: &mut HopState, id: u32) -> Option<Lapse> {
    match (&hop.device, state) {
        (Device::Router(router), HopState::Router(held)) => {
            let number = |entry: &Entry| entry_number(router, id / 2, entry) == id;
            let lost = held.iter().find(|entry| number(entry)).map(Entry::lapse);
            held.remove_where(number);
            lost
        }
        (Device::Director(_), HopState::Director(held)) if id % 2 == 1 => {
            held.template = None;
            None
        }
        (Device::Director(director), HopState::Director(held)) => {
            let lost = held.conns.iter().next().map(Conn::lapse);
            director.expire(held, |_| true);
            lost
        }
        _ => None,
    }
}

/// The number of an entry.
pub fn entry_number(router: &Router, flow: u32, entry: &Entry) -> u32 {
    flow * 2 + u32::from(router.place.side_of(entry.original.src.host) == Side::Server)
}

#[expect(clippy::too_many_arguments, reason = "a packet at a box, and the table beside it")]
/// One packet at a router with a shared table. Entries that made room are appended to `evicted`.
pub fn at_router(
    table: &mut FullTable,
    router: &Router,
    key: Key,
    hop: &Hop,
    state: &mut HopState,
    packet: Packet<'_>,
    moment: &mut Moment,
    evicted: &mut Vec<u32>,
) -> Outcome {
    let side = u32::from(packet.from == Side::Server);
    let (id, tuple) = (key.pair * 2 + side, key.tuple * 2 + u64::from(side));
    // What the box knew is needed again only where the new entry may be refused.
    let before = (!table.is_roomy(tuple)).then(|| state.clone());
    let out = hop.packet(state, packet, moment);
    // A packet that fits no entry is given one before it is found INVALID.
    let unfit = out.invalid.is_some() && matches!(&before, Some(HopState::Router(held)) if held.iter().next().is_none());
    let HopState::Router(held) = state else { return out };
    let confirmed = |number: u32| held.iter().find(move |e| e.is(status::CONFIRMED) && entry_number(router, key.pair, e) == number);
    let mut room = !(out.created || unfit) || table.admit(moment.now, tuple, evicted);
    if room && out.created {
        room = confirmed(id).is_none_or(|entry| table.insert(id, tuple, standing(entry)));
    }
    // What stood under this number before is not the new entry.
    evicted.retain(|gone| *gone != id);
    if !room && let Some(before) = before {
        *state = before;
        return Outcome { dropped: Some(DropReason::TableFull), ..Outcome::NOTHING };
    }
    for way in 0..2 {
        let number = key.pair * 2 + way;
        match confirmed(number) {
            Some(entry) if table.holds(number) => table.update(number, standing(entry)),
            // The other side's packet made it when the table had room.
            Some(entry) if entry.deadline() > moment.now => {
                table.insert(number, key.tuple * 2 + u64::from(way), standing(entry));
            }
            Some(_) => {}
            None => table.remove(number),
        }
    }
    out
}

/// What the table must know of an entry.
pub fn standing(entry: &Entry) -> Standing {
    let closing = matches!(entry.tcp.state, State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close);
    Standing { assured: entry.is(status::ASSURED), closing, deadline: entry.deadline() }
}

/// One packet at a director with defences.
pub fn at_director(
    defence: &mut Defence,
    director: &Director,
    key: Key,
    hop: &Hop,
    state: &mut HopState,
    packet: Packet<'_>,
    moment: &mut Moment,
) -> Outcome {
    let before = (defence.modes()[1] > 0 || defence.is_exhausted()).then(|| state.clone());
    let out = hop.packet(state, packet, moment);
    if out.created
        && let Some(before) = before
    {
        let refused = if defence.drops_new() { Some(DropReason::UnderDefence) } else { None };
        if let Some(reason) = refused.or_else(|| defence.is_exhausted().then_some(DropReason::TableFull)) {
            *state = before;
            return Outcome { dropped: Some(reason), ..Outcome::NOTHING };
        }
    }
    if let HopState::Director(held) = state {
        follow(defence, director, key, held, out.created);
    }
    out
}

/// Tells the defences what the flow's entries are now.
pub fn follow(defence: &mut Defence, director: &Director, key: Key, held: &DirectorState, created: bool) {
    let (id, template) = (key.pair * 2, key.pair * 2 + 1);
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
            set(defence, template, key.tuple * 2 + 1, standing, false);
        }
        None => defence.remove(template),
    }
    match conn {
        Some(conn) => {
            let template = held.template.as_ref().map(|_| template);
            let deadline = end(conn.refreshed, conn.timeout);
            let kind = if conn.clause == Clause::IpvsUdp { Kind::Udp } else { Kind::Tcp(conn.state) };
            let standing = IpvsStanding { kind, in_pkts: conn.in_pkts, refreshed: conn.refreshed, deadline, template };
            set(defence, id, key.tuple * 2, standing, created);
        }
        None => defence.remove(id),
    }
}

fn set(defence: &mut Defence, id: u32, tuple: u64, standing: IpvsStanding, created: bool) {
    if defence.holds(id) && !created {
        defence.update(id, standing);
    } else {
        defence.insert(id, tuple, standing);
    }
}
