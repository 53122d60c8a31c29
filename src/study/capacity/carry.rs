//! One packet of one flow along the path, and what entries the boxes have afterwards.
//!
//! The same steps as a replay's ([`crate::engine::replay`]) without what only a report on single flows needs, so that a flow takes
//! little memory. What lies between a packet and a box, such as a table that is full, is a [`Gate`].

use super::gather::{Kin, Step};
use crate::engine::Path;
use crate::engine::hop::{Device, Hop, HopState};
use crate::engine::replay::Replay;
use crate::model::conntrack::entry::{Entry, State as CtState, status};
use crate::model::ipvs::conn::Conn;
use crate::model::ipvs::defence::{self, Kind};
use crate::model::ipvs::state::State as VsState;
use crate::model::{Clause, DropReason, Moment, Outcome, Packet, Side};
use crate::net::{Direction, Segment};
use crate::time::Instant;

/// One box's part of a flow.
#[derive(Clone, Debug)]
pub struct Held {
    /// What the box remembers.
    pub state: HopState,
    /// Half the numbers of the flow's entries in the box's table.
    pub pair: u32,
    /// Whether packets are missing from the capture since the timer was renewed.
    pub hole_since: bool,
}

/// What lies between a packet and a box.
pub trait Gate {
    /// One packet at one box.
    fn packet(&mut self, index: usize, hop: &Hop, held: &mut Held, packet: Packet<'_>, moment: &mut Moment) -> Outcome;
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Passage {
    /// It arrived as it should.
    pub through: bool,
    /// An entry had ended before it, while the connection was open.
    pub late: bool,
    /// The box whose table had no room for the entry that it wanted.
    pub refused: Option<usize>,
}

/// Leads one packet of a flow through the path. `seg` is the step's with the time at which it is sent now.
pub fn carry(path: &Path, kin: &Kin, hops: &mut [Held], step: &Step, seg: &Segment, gate: &mut impl Gate) -> Passage {
    let replay = Replay::new(path);
    let (client, server) = (kin.client.port, kin.server.port);
    let (mut tuple, goal) = match seg.dir {
        Direction::Original => (Path::from_client(client, server), path.from_server(client, server).inverse()),
        Direction::Reply => (path.from_server(client, server), Path::from_client(client, server).inverse()),
    };
    let from = if seg.dir == Direction::Original { Side::Client } else { Side::Server };
    let (now, count) = (replay.judged_at(seg.at), hops.len());
    let mut passage = Passage::default();
    for place in 0..count {
        let index = if seg.dir == Direction::Original { place } else { count - 1 - place };
        let (hop, held) = (&path.hops[index], &mut hops[index]);
        if seg.dir == Direction::Reply && !hop.sees_replies() {
            continue;
        }
        // What is missing of the replies does not matter to a box that never sees them.
        held.hole_since |= step.hole && (hop.sees_replies() || !step.unseen);
        let mut moment = Moment { blur: replay.blur(), keep: held.hole_since && !step.over, ..Moment::exact(now) };
        let outcome = gate.packet(index, hop, held, Packet { from, tuple, proto: kin.proto, seg }, &mut moment);
        if held.hole_since && hop.running(&held.state, tuple).is_some_and(|timer| timer.refreshed == now) {
            held.hole_since = false;
        }
        passage.late |= outcome.lapse.is_some() && !step.over;
        if matches!(outcome.dropped, Some(DropReason::TableFull | DropReason::UnderDefence)) {
            passage.refused = Some(index);
            return passage;
        }
        match outcome.forwarded() {
            Some(sent) if sent.to == from.opposite() => tuple = sent.tuple,
            _ => return passage,
        }
    }
    passage.through = tuple == goal;
    passage
}

/// Classes of entries: the states of a conntrack by number, then UDP; those of a director are [`defence::class`].
const UDP_UNREPLIED: u8 = 10;
const UDP_STREAM: u8 = 11;
/// How many classes there are at most.
pub const CLASSES: usize = 16;

/// The class of a conntrack entry.
pub fn class_of(entry: &Entry) -> u8 {
    match entry.clause {
        Clause::UdpUnreplied => UDP_UNREPLIED,
        Clause::UdpStream => UDP_STREAM,
        _ => entry.tcp.state as u8,
    }
}

/// The classes of a box's entries and their names, in the order in which they are shown: from the longest-lived up.
pub fn classes(hop: &Hop) -> Vec<(u8, &'static str)> {
    match &hop.device {
        Device::Router(_) => {
            let states = [
                CtState::Established,
                CtState::SynSent,
                CtState::SynRecv,
                CtState::FinWait,
                CtState::CloseWait,
                CtState::LastAck,
                CtState::TimeWait,
                CtState::Close,
                CtState::SynSent2,
                CtState::None,
            ];
            let states = states.into_iter().map(|state| (state as u8, state.name()));
            states.chain([(UDP_UNREPLIED, "UDP, one way"), (UDP_STREAM, "UDP, both ways")]).collect()
        }
        Device::Director(_) => {
            let open = [VsState::Established, VsState::SynRecv, VsState::SynAck];
            let rest = VsState::ALL.into_iter().filter(|state| !open.contains(state));
            let tcp = open.into_iter().chain(rest).map(|state| (state as u8, state.name()));
            let template = Kind::Template { one_packet: false, assured: false };
            tcp.chain([(defence::class(Kind::Udp), "UDP"), (defence::class(template), "template")]).collect()
        }
        Device::Idle(_) => Vec::new(),
    }
}

/// The entries that a box has of a flow and that have not ended: class and end.
pub fn for_each_entry(hop: &Hop, state: &HopState, now: Instant, mut tell: impl FnMut(u8, Instant)) {
    let mut live = |class: u8, end: Instant| {
        if end > now {
            tell(class, end);
        }
    };
    match (&hop.device, state) {
        (Device::Router(_), HopState::Router(table)) => {
            table.iter().filter(|entry| entry.is(status::CONFIRMED)).for_each(|entry| live(class_of(entry), entry.deadline()));
        }
        (Device::Director(director), HopState::Director(held)) => {
            let lateness = director.lateness();
            let end = |conn: &Conn| lateness.fires(conn.refreshed, conn.timeout).1;
            for conn in held.conns.iter() {
                let kind = if conn.clause == Clause::IpvsUdp { Kind::Udp } else { Kind::Tcp(conn.state) };
                live(defence::class(kind), end(conn));
            }
            if let Some(template) = &held.template {
                let children = held.conns.iter().map(end).max().unwrap_or(Instant::ZERO);
                let own = lateness.fires(template.refreshed, template.timeout).1;
                live(defence::class(Kind::Template { one_packet: false, assured: false }), own.max(children));
            }
        }
        _ => {}
    }
}
