//! One box of a path, whatever its kind: what it remembers of a flow, and how a packet passes it.

use crate::model::conntrack::entry::{Entry, State, TcpTrack, status};
use crate::model::conntrack::router::{Nat, Router};
use crate::model::conntrack::table::Table;
use crate::model::director::{Director, DirectorState};
use crate::model::idle::{Action, IdleBox, IdleEntry};
use crate::model::ipvs::Method;
use crate::model::ipvs::conn::{Conn, flag};
use crate::model::ipvs::state::State as IpvsState;
use crate::model::lateness::Lateness;
use crate::model::{Clause, CtState, DropReason, End, Lapse, Moment, Outcome, Packet, Sent, Side, Tuple, What};
use crate::net::{Direction, Proto, Segment, SegmentBits, Seq, TcpFlags};
use crate::policy::BoxPolicy;
use crate::time::{Duration, Instant};

/// A box of a path.
#[derive(Clone, Debug)]
pub struct Hop {
    /// How the user wrote it.
    pub label: String,
    /// What the user set.
    pub policy: BoxPolicy,
    /// The model.
    pub device: Device,
}

/// The model of a box.
#[derive(Clone, Debug)]
pub enum Device {
    /// A router with conntrack.
    Router(Router),
    /// An IPVS director.
    Director(Director),
    /// A box known by its timers alone.
    Idle(IdleBox),
}

/// What a box remembers of one flow.
#[derive(Clone, Debug)]
pub enum HopState {
    /// Conntrack entries.
    Router(Table),
    /// IPVS entries, and conntrack's beside them.
    Director(Box<DirectorState>),
    /// The entry of an idle box.
    Idle(Option<IdleEntry>),
}

impl Hop {
    /// What the box remembers of a flow that it has not seen.
    pub fn empty(&self) -> HopState {
        match &self.device {
            Device::Router(_) => HopState::Router(Table::EMPTY),
            Device::Director(_) => HopState::Director(Box::default()),
            Device::Idle(_) => HopState::Idle(None),
        }
    }

    /// What the box remembers of a connection that was open before the capture began. `opening` says that only the SYN is missing:
    /// then the box is shown one.
    pub fn adopted(&self, proto: Proto, from_client: Tuple, seg: &Segment, opening: bool) -> HopState {
        let now = seg.at;
        if opening {
            let mut state = self.empty();
            let packet = Packet { from: Side::Client, tuple: from_client, proto, seg: &answered_syn(seg) };
            self.packet(&mut state, packet, &mut Moment::exact(now));
            return state;
        }
        match &self.device {
            Device::Router(router) => {
                let mut table = Table::EMPTY;
                if proto == Proto::Tcp {
                    table.push(adopted_entry(router, from_client, now));
                }
                HopState::Router(table)
            }
            Device::Director(director) => {
                let mut state = DirectorState::default();
                if proto == Proto::Tcp {
                    let dest = End { host: director.place.real, port: director.real_port.unwrap_or(from_client.dst.port) };
                    let mut conn = Conn::new(&director.ipvs, from_client, dest, now);
                    conn.state = IpvsState::Established;
                    conn.flags &= !flag::INACTIVE;
                    conn.timeout = director.ipvs.timeouts[conn.state as usize];
                    conn.clause = Clause::Ipvs(conn.state);
                    state.conns.push(conn);
                }
                HopState::Director(Box::new(state))
            }
            Device::Idle(idle) => {
                let entry = (proto == Proto::Tcp).then(|| idle.adopt(proto, seg, seg.dir, now).entry).flatten();
                HopState::Idle(entry)
            }
        }
    }

    /// The timer that a packet with these addresses finds, running or ended.
    pub fn running(&self, state: &HopState, tuple: Tuple) -> Option<Lapse> {
        match (&self.device, state) {
            (Device::Router(_), HopState::Router(table)) => {
                table.iter().find(|e| e.original == tuple || e.reply == tuple).map(Entry::lapse)
            }
            (Device::Director(director), HopState::Director(state)) => {
                let masq = director.ipvs.method == Method::Masq;
                state
                    .conns
                    .iter()
                    .find(|c| {
                        tuple.src == c.client && tuple.dst == c.virt
                            || (masq || director.ipvs.dialect.sees_direct_replies)
                                && tuple.dst == c.client
                                && tuple.src == if masq { c.dest } else { c.virt }
                    })
                    .map(Conn::lapse)
            }
            (Device::Idle(idle), HopState::Idle(Some(entry))) => {
                let (_, clause) = idle.deadline(entry);
                let timeout = idle.timer(clause).timeout;
                (timeout != Duration::MAX).then(|| Lapse {
                    refreshed: entry.set_at(),
                    timeout,
                    clause: Clause::Idle(clause),
                    state: entry.state().name(),
                })
            }
            _ => None,
        }
    }

    /// How late this box's timers fire.
    pub fn lateness(&self) -> Lateness {
        match &self.device {
            Device::Router(r) => r.conntrack.lateness,
            Device::Director(d) => d.lateness(),
            Device::Idle(_) => Lateness::Exact,
        }
    }

    /// Whether replies pass this box at all.
    pub fn sees_replies(&self) -> bool {
        !matches!(&self.device, Device::Director(d) if d.ipvs.method != Method::Masq)
    }

    /// One packet.
    pub fn packet(&self, state: &mut HopState, packet: Packet<'_>, moment: &mut Moment) -> Outcome {
        match (&self.device, state) {
            (Device::Router(router), HopState::Router(table)) => router.packet(table, packet, moment),
            (Device::Director(director), HopState::Director(state)) => director.packet(state, packet, moment),
            (Device::Idle(idle), HopState::Idle(entry)) => idle_packet(idle, entry, packet, moment),
            _ => Outcome::NOTHING,
        }
    }
}

/// An entry seeded as one would seed it from a listing: windows are learnt from the next packet of each side.
fn adopted_entry(router: &Router, from_client: Tuple, now: Instant) -> Entry {
    let state = State::Established;
    let mut reply = from_client.inverse();
    match router.nat {
        Nat::None => {}
        Nat::Masquerade => reply.dst.host = router.place.far,
        Nat::Dnat => reply.src.host = router.place.real,
    }
    Entry {
        original: from_client,
        reply,
        status: status::SEEN_REPLY | status::ASSURED | status::CONFIRMED | status::SRC_NAT_DONE | status::DST_NAT_DONE,
        clause: Clause::State(state),
        tcp: TcpTrack { state, last_win: 1, ..TcpTrack::NEW },
        stream_from: now,
        refreshed: now,
        timeout: router.conntrack.settings.tcp_timeouts[state as usize],
    }
}

/// The SYN that a SYN/ACK answers. A server takes up only the options that it was offered; how far the client scales its window is
/// not known, and the largest scale calls nothing INVALID that was in the window.
fn answered_syn(answer: &Segment) -> Segment {
    Segment {
        seq: answer.ack.minus(1),
        ack: Seq(0),
        sack: Seq(0),
        len: 0,
        window: u16::MAX,
        flags: TcpFlags(TcpFlags::SYN),
        dir: Direction::Original,
        window_scale: if answer.bits.any(SegmentBits::WINDOW_SCALE) { 14 } else { 0 },
        ..*answer
    }
}

fn idle_packet(idle: &IdleBox, entry: &mut Option<IdleEntry>, packet: Packet<'_>, moment: &mut Moment) -> Outcome {
    let mut out = Outcome::NOTHING;
    let from = if packet.from == Side::Client { Direction::Original } else { Direction::Reply };
    if let Some(held) = entry {
        let (deadline, clause) = idle.deadline_if_answered(held);
        if moment.has_ended(deadline, deadline) {
            let timeout = idle.timer(clause).timeout;
            out.lapse = Some(Lapse { refreshed: held.set_at(), timeout, clause: Clause::Idle(clause), state: held.state().name() });
            *entry = None;
        }
    }
    let step = match entry {
        Some(held) => idle.step(held, packet.proto, packet.seg, from, moment.now),
        None => idle.open(packet.proto, packet.seg, from, moment.now),
    };
    if let Some(made) = step.entry {
        *entry = Some(made);
        out.created = true;
    }
    let other = if packet.from == Side::Client { Side::Server } else { Side::Client };
    match step.action {
        Action::Forward => out.send(Sent { to: other, tuple: packet.tuple, what: What::Packet, ct: CtState::Off }),
        Action::Drop => out.dropped = Some(DropReason::StrayByPolicy),
        Action::ResetSender => {
            let (seq, ack) = if packet.seg.flags.has(TcpFlags::ACK) { (packet.seg.ack, None) } else { (Seq(0), Some(packet.seg.end())) };
            out.send(Sent { to: packet.from, tuple: packet.tuple.inverse(), what: What::Reset { seq, ack }, ct: CtState::Off });
        }
    }
    out
}
