//! One box of a path, whatever its kind: what it remembers of a flow, and how a packet passes it.

use crate::model::conntrack::dialect as ct_dialect;
use crate::model::conntrack::entry::{Entry, State, TcpTrack, status};
use crate::model::conntrack::router::{Nat, Router};
use crate::model::conntrack::rule::Rule;
use crate::model::conntrack::table::Table;
use crate::model::director::{Director, DirectorState};
use crate::model::idle::{Action, Farewell, IdleBox, IdleEntry};
use crate::model::ipvs::Method;
use crate::model::ipvs::conn::{Conn, flag};
use crate::model::ipvs::dialect as vs_dialect;
use crate::model::ipvs::state::State as IpvsState;
use crate::model::lateness::Lateness;
use crate::model::{Clause, CtState, DropReason, End, Lapse, Moment, Outcome, Packet, Sent, Side, Tuple, What};
use crate::net::{Direction, Proto, Segment, Seq, TcpFlags};
use crate::policy::{BoxPolicy, Origins};
use crate::time::Instant;
use serde::{Deserialize, Serialize};

/// A box of a path.
#[derive(Clone, Debug)]
pub struct Hop {
    /// How the user wrote it.
    pub label: String,
    /// What the user set.
    pub policy: BoxPolicy,
    /// Where it is set.
    pub origins: Origins,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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

    /// What the box remembers of a connection whose SYN was sent just before the capture began with the answer to it.
    pub fn opened(&self, from_client: Tuple, answer: &Segment) -> HopState {
        // What the SYN offered is known only as far as the answer accepts it; the largest scale makes no window too small.
        let syn = Segment {
            seq: answer.ack.minus(1),
            ack: Seq(0),
            sack: Seq(0),
            len: 0,
            window: u16::MAX,
            flags: TcpFlags(TcpFlags::SYN),
            window_scale: 14,
            dir: Direction::Original,
            ..*answer
        };
        let mut state = self.empty();
        let packet = Packet { from: Side::Client, tuple: from_client, proto: Proto::Tcp, seg: &syn };
        self.packet(&mut state, packet, &mut Moment::exact(answer.at));
        state
    }

    /// What the box remembers of a connection that was open before the capture began with this segment.
    pub fn adopted(&self, proto: Proto, from_client: Tuple, seg: &Segment) -> HopState {
        let mut state = self.empty();
        if proto == Proto::Udp {
            return state;
        }
        let now = seg.at;
        match (&self.device, &mut state) {
            (Device::Router(router), HopState::Router(table)) => {
                table.push(adopted_entry(router, from_client, now));
            }
            (Device::Director(director), HopState::Director(held)) => {
                let dest = End { host: director.place.real, port: director.real_port.unwrap_or(from_client.dst.port) };
                let mut conn = Conn::new(&director.ipvs, from_client, dest, now);
                conn.state = IpvsState::Established;
                conn.flags &= !flag::INACTIVE;
                conn.timeout = director.ipvs.timeouts[conn.state as usize];
                conn.clause = Clause::Ipvs(conn.state);
                held.conns.push(conn);
            }
            (Device::Idle(idle), HopState::Idle(entry)) => *entry = idle.adopt(proto, seg, seg.dir, now).entry,
            _ => {}
        }
        state
    }

    /// The kernel whose behaviour is simulated, as the user named it, and the row of the tables where that has another name.
    pub fn dialect(&self) -> Option<String> {
        let (asked, row) = match (&self.device, &self.policy) {
            (Device::Router(r), BoxPolicy::Conntrack(p)) => {
                (p.dialect.as_deref().unwrap_or(ct_dialect::DEFAULT), r.conntrack.settings.dialect.name)
            }
            (Device::Director(d), BoxPolicy::Ipvs(p)) => (p.dialect.as_deref().unwrap_or(vs_dialect::DEFAULT), d.ipvs.dialect.name),
            _ => return None,
        };
        Some(if asked == row { row.to_owned() } else { format!("{asked} (as {row})") })
    }

    /// Settings that the user gave and that a replay of single flows cannot act upon: they couple flows through a table, or
    /// depend on what no capture shows.
    pub fn not_simulated(&self) -> Vec<&'static str> {
        let given = |settings: &[(&'static str, bool)]| settings.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        match &self.policy {
            BoxPolicy::Conntrack(p) => given(&[("max", p.nf_conntrack_max.is_some()), ("buckets", p.buckets.is_some())]),
            BoxPolicy::Ipvs(p) => given(&[
                ("drop_entry", p.drop_entry.is_some_and(|mode| mode > 0)),
                ("drop_packet", p.drop_packet.is_some_and(|mode| mode > 0)),
                ("am_droprate", p.am_droprate.is_some()),
                ("amemthresh", p.amemthresh.is_some()),
                ("secure_tcp (modes 1 and 2 follow the director's memory)", p.secure_tcp.is_some_and(|mode| mode == 1 || mode == 2)),
                ("real_servers", p.real_servers() > 1),
            ]),
            BoxPolicy::Idle(_) => Vec::new(),
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

    /// What the box may say of its own accord when the entry of an established connection ends.
    pub fn farewell_possible(&self) -> Farewell {
        match &self.device {
            Device::Idle(idle) => idle.farewell(&IdleEntry::established(Instant::ZERO)),
            Device::Router(_) | Device::Director(_) => Farewell::Nothing,
        }
    }

    /// When the box says something of its own accord, unless a packet comes before.
    pub fn farewell_at(&self, state: &HopState) -> Option<Instant> {
        match (&self.device, state) {
            (Device::Idle(idle), HopState::Idle(Some(entry))) if idle.farewell(entry) != Farewell::Nothing => {
                Some(idle.deadline_if_answered(entry).0).filter(|at| *at < Instant::MAX)
            }
            _ => None,
        }
    }

    /// Ends the entry of a box that says so; what it says, and the timer that ended it.
    pub fn say_farewell(&self, state: &mut HopState) -> Option<(Farewell, Lapse)> {
        let (Device::Idle(idle), HopState::Idle(held)) = (&self.device, state) else { return None };
        let entry = held.take()?;
        let (_, clause) = idle.deadline(&entry);
        let timeout = idle.timer(clause).timeout;
        let lapse = Lapse { refreshed: entry.set_at(), timeout, clause: Clause::Idle(clause), state: entry.state().name() };
        Some((idle.farewell(&entry), lapse))
    }

    /// Whether the entry ends by its timer although nobody sends anything: not where the box asks both ends first.
    pub fn ends_unasked(&self, state: &HopState) -> bool {
        match (&self.device, state) {
            (Device::Idle(idle), HopState::Idle(Some(entry))) => idle.deadline_if_answered(entry).0 < Instant::MAX,
            _ => true,
        }
    }

    /// A packet's addresses once the box has passed it on by the entry that it has.
    pub fn translated(&self, state: &HopState, tuple: Tuple) -> Tuple {
        match (&self.device, state) {
            (Device::Router(_), HopState::Router(table)) => table.iter().find(|e| e.original == tuple).map_or(tuple, |e| e.reply.inverse()),
            (Device::Director(director), HopState::Director(held)) if director.ipvs.method == Method::Masq => {
                director.entry_of(held, tuple).map_or(tuple, |conn| Tuple { dst: conn.dest, ..tuple })
            }
            _ => tuple,
        }
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
        rule: Rule::of(state, 0),
        tcp: TcpTrack { state, last_win: 1, ..TcpTrack::NEW },
        stream_from: Instant::ZERO,
        refreshed: now,
        timeout: router.conntrack.settings.tcp_timeouts[state as usize],
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
    let other = packet.from.opposite();
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
