//! A director: IPVS at its hooks, conntrack beside it where it is in use, and the host's own stack for the rest.
//!
//! Source: `ip_vs_in_hook`, `ip_vs_out_hook`, `handle_response` (`net/netfilter/ipvs/ip_vs_core.c`), `ip_vs_nat_xmit`
//! (`ip_vs_xmit.c`), `ip_vs_update_conntrack` (`ip_vs_nfct.c`); the spec's ipvs.md sections 5 and 7.
//!
//! A director with NAT, as shipped: a connection may be silent for 900 s. Then the director does not know it any more; the packet is
//! for the director itself, whose stack answers with a reset.
//!
//! ```
//! use flowlapse::engine::hop::Device;
//! use flowlapse::engine::path::{Clock, Path};
//! use flowlapse::model::director::DirectorState;
//! use flowlapse::model::{Moment, Packet, Side, What};
//! use flowlapse::net::{Proto, Segment, Seq, TcpFlags};
//! use flowlapse::time::{Duration, Instant};
//!
//! let path = Path::build(&[flowlapse::policy::parse_short("ipvs:nat")?], Clock::Ideal)?;
//! let Device::Director(director) = &path.hops[0].device else { panic!("ipvs is a director") };
//! let mut state = DirectorState::default();
//! let mut send = |at: u64, from: Side, flags: u8, ack: u32| {
//!     let seg = Segment { flags: TcpFlags(flags), seq: Seq(7), ack: Seq(ack), window: 64_240, ..Segment::EMPTY };
//!     let tuple = if from == Side::Client { Path::from_client(51_514, 80) } else { path.from_server(51_514, 80) };
//!     let packet = Packet { from, tuple, proto: Proto::Tcp, seg: &seg };
//!     director.packet(&mut state, packet, &mut Moment::exact(Instant::from_secs(at)))
//! };
//!
//! assert!(send(0, Side::Client, TcpFlags::SYN, 0).created);
//! send(0, Side::Server, TcpFlags::SYN | TcpFlags::ACK, 8);
//! send(0, Side::Client, TcpFlags::ACK, 8);
//! let late = send(1200, Side::Client, TcpFlags::ACK | TcpFlags::PSH, 8);
//! assert_eq!(late.lapse.map(|lapse| lapse.timeout), Some(Duration::from_secs(900)));
//! let answer = late.sent[0].expect("the stack answers");
//! assert_eq!(answer.to, Side::Client);
//! assert!(matches!(answer.what, What::Reset { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::conntrack::entry::status;
use super::conntrack::router::{Place, answer_segment, local_answer};
use super::conntrack::table::Table;
use super::conntrack::track::{Conntrack, Mark};
use super::few::Slot;
use super::ipvs::conn::{self, Conn, Conns, Template, flag};
use super::ipvs::dialect::{Reuse, Weight0};
use super::ipvs::state::State;
use super::ipvs::{Method, Settings};
use super::lateness::Lateness;
use super::{CtState, DropReason, End, Moment, Outcome, Packet, Sent, Side, Tuple, What};
use crate::net::{Proto, Segment, TcpFlags};
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};

/// A director.
#[derive(Clone, Copy, Debug)]
pub struct Director {
    /// Its IPVS.
    pub ipvs: Settings,
    /// How late its timers may fire; kernels before 4.8 have exact ones whatever is said here.
    pub lateness: Lateness,
    /// Its conntrack, where one is loaded.
    pub conntrack: Option<Conntrack>,
    /// Whether the virtual address is the director's own, so that its stack answers stray packets. IPVS itself gets them either
    /// way (a service by firewall mark is routed locally without an address).
    pub vip_local: bool,
    /// The port of the real server, where it differs from the service's.
    pub real_port: Option<u16>,
    /// Where it stands.
    pub place: Place,
}

/// What administration made of the real server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum DestState {
    /// It takes connections.
    #[default]
    Available,
    /// Its weight is 0: existing entries go on, no new ones.
    Quiesced,
    /// It was removed from the service: packets from clients are dropped.
    Removed,
}

/// Conntrack entries of a director, which most directors do not have: nothing is allocated before there is one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RareTable(Option<Box<Table>>);

static NO_ENTRIES: Table = Table::EMPTY;

impl Deref for RareTable {
    type Target = Table;

    fn deref(&self) -> &Table {
        self.0.as_deref().unwrap_or(&NO_ENTRIES)
    }
}

impl DerefMut for RareTable {
    fn deref_mut(&mut self) -> &mut Table {
        self.0.get_or_insert_default()
    }
}

/// What a director remembers of one flow.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DirectorState {
    /// IPVS entries.
    pub conns: Conns,
    /// The client's persistence template.
    pub template: Option<Box<Template>>,
    /// Conntrack entries.
    pub table: RareTable,
    /// The state of the real server.
    pub dest: DestState,
}

const _: () = assert!(size_of::<DirectorState>() <= 72);

impl DirectorState {
    /// Whether it holds IPVS entries alone, and nothing was done to the real server.
    pub(crate) fn is_plain(&self) -> bool {
        self.template.is_none() && self.table.is_empty() && self.dest == DestState::Available
    }

    /// Takes over an entry that another director made.
    pub fn adopt(&mut self, conn: Conn) {
        self.conns.push(conn);
    }
}

/// What the input hook decided.
enum Verdict {
    /// IPVS takes the packet; it leaves by this entry.
    Forward(Slot),
    /// The host's stack gets it.
    Accept,
    Drop(DropReason),
}

impl Director {
    /// One packet.
    pub fn packet(&self, state: &mut DirectorState, packet: Packet<'_>, moment: &mut Moment) -> Outcome {
        let mut out = Outcome::NOTHING;
        self.reap(state, moment, &mut out);
        self.pass(state, packet, moment, &mut out);
        if let Some(ct) = &self.conntrack {
            ct.discard_unconfirmed(&mut state.table);
        }
        out
    }

    /// A segment of a connection that has an entry, as nearly all are: true where it leaves by that entry, as
    /// [`Director::packet`] would have it; otherwise that one is to be asked with the entry as it was. `state` and `bits` are the
    /// entry's, which has not ended.
    #[inline]
    pub(crate) fn lets_pass(&self, proto: Proto, state: &mut State, bits: &mut u8, from_server: bool, seg: &Segment) -> bool {
        if self.conntrack.is_some() {
            return false;
        }
        match proto {
            Proto::Tcp if !from_server && seg.flags.has(TcpFlags::SYN) => return false,
            Proto::Tcp => conn::advance(&self.ipvs, state, bits, from_server, seg.flags),
            Proto::Udp => conn::side_of(bits, from_server),
        };
        true
    }

    /// A SYN that begins a connection of which no entry is there, to a service whose real server is available: state and flags of the
    /// entry that it leaves; where nothing is said [`Director::packet`] is to be asked.
    #[inline]
    pub(crate) fn opens(&self, seg: &Segment) -> Option<(State, u8)> {
        if self.conntrack.is_some() || self.ipvs.persistence.is_some() || !self.schedules(Proto::Tcp, seg.flags) {
            return None;
        }
        let nobody = End { host: self.place.real, port: 0 };
        let mut conn = Conn::new(&self.ipvs, Tuple { src: nobody, dst: nobody }, nobody, seg.at);
        conn::advance(&self.ipvs, &mut conn.state, &mut conn.flags, false, seg.flags);
        Some((conn.state, conn.flags))
    }

    /// Removes entries whose timers have fired. IPVS has real timers: they fire whether or not a packet comes, and take their
    /// conntrack entries with them.
    fn reap(&self, state: &mut DirectorState, moment: &mut Moment, out: &mut Outcome) {
        let mut index = 0;
        while let Some(conn) = state.conns.at(index).copied() {
            if self.lateness().has_ended(conn.refreshed, conn.timeout, moment) {
                state.conns.remove(Slot(index));
                out.lapse = Some(conn.lapse());
                Self::forget_conntrack(state, &conn);
            } else {
                index += 1;
            }
        }
    }

    /// Removes entries at once, as their timers would.
    pub fn expire(&self, state: &mut DirectorState, doomed: impl Fn(&Conn) -> bool) {
        while let Some(slot) = state.conns.find_where(&doomed) {
            let conn = *state.conns.get(slot);
            state.conns.remove(slot);
            Self::forget_conntrack(state, &conn);
        }
    }

    /// How late timers are in this release.
    pub fn lateness(&self) -> Lateness {
        if self.ipvs.dialect.wheel { self.lateness } else { Lateness::Exact }
    }

    /// An entry that ends takes client→service out of conntrack (`ip_vs_conn_drop_conntrack`).
    fn forget_conntrack(state: &mut DirectorState, conn: &Conn) {
        if conn.is(flag::NFCT) {
            let tuple = Tuple { src: conn.client, dst: conn.virt };
            state.table.remove_where(|e| e.original == tuple || e.reply == tuple);
        }
    }

    fn pass(&self, state: &mut DirectorState, packet: Packet<'_>, moment: &mut Moment, out: &mut Outcome) {
        let Some(mut mark) = self.track(state, packet.tuple, packet.proto, packet.seg, moment, out) else {
            out.dropped = Some(DropReason::KilledOutOfSync);
            return;
        };
        let tuple = packet.tuple;
        if self.is_local(tuple) {
            match self.input(state, packet, mark, moment, out) {
                Verdict::Drop(reason) => out.dropped = Some(reason),
                Verdict::Accept => self.deliver(state, packet, mark, moment, out),
                Verdict::Forward(slot) => self.transmit(state, slot, packet, mark, moment, out),
            }
            return;
        }
        // FORWARD: a reply of the real server?
        let mut tuple = tuple;
        if let Some(slot) = self.lookup_out(state, tuple) {
            let conn = state.conns.get_mut(slot);
            conn.update(&self.ipvs, packet.proto, true, packet.seg.flags, moment.now);
            let conn = *conn;
            if self.ipvs.method == Method::Masq {
                tuple.src = conn.virt;
            }
            mark = self.keep_or_untrack(state, &conn, mark, false);
        } else if self.ipvs.nat_icmp_send
            && self.ipvs.method == Method::Masq
            && tuple.src.host == self.place.real
            && !(packet.proto == Proto::Tcp && packet.seg.flags.has(TcpFlags::RST))
        {
            let answer = tuple.inverse();
            out.send(Sent { to: self.place.side_of(answer.dst.host), tuple: answer, what: What::Unreachable, ct: mark.of_error() });
            return;
        }
        self.leave(state, tuple, mark, What::Packet, moment, out);
    }

    fn is_local(&self, tuple: Tuple) -> bool {
        let host = tuple.dst.host;
        host == self.place.near || host == self.place.far || host == self.place.service
    }

    fn track(
        &self,
        state: &mut DirectorState,
        tuple: Tuple,
        proto: Proto,
        seg: &Segment,
        moment: &mut Moment,
        out: &mut Outcome,
    ) -> Option<Mark> {
        let Some(ct) = &self.conntrack else { return Some(Mark { attached: None, state: CtState::Off }) };
        let mut ended = None;
        Mark::of(ct.track(&mut state.table, tuple, proto, seg, moment, &mut ended), &mut out.invalid)
    }

    /// The entry of a packet from the client (`ip_vs_conn_in_get`).
    fn lookup_in(state: &DirectorState, tuple: Tuple) -> Option<Slot> {
        state.conns.find_where(|c| tuple.src == c.client && tuple.dst == c.virt)
    }

    /// The entry that a packet belongs to, whichever way it goes.
    pub fn entry_of<'s>(&self, state: &'s DirectorState, tuple: Tuple) -> Option<&'s Conn> {
        Self::lookup_in(state, tuple).or_else(|| self.lookup_out(state, tuple)).map(|slot| state.conns.get(slot))
    }

    /// The entry of a packet from the real server (`ip_vs_conn_out_get`).
    fn lookup_out(&self, state: &DirectorState, tuple: Tuple) -> Option<Slot> {
        let masq = self.ipvs.method == Method::Masq;
        if !masq && !self.ipvs.dialect.sees_direct_replies {
            return None;
        }
        state.conns.find_where(|c| tuple.src == if masq { c.dest } else { c.virt } && tuple.dst == c.client)
    }

    /// LOCAL_IN: reply check, then request check (`ip_vs_in_hook`).
    fn input(&self, state: &mut DirectorState, packet: Packet<'_>, mark: Mark, moment: &mut Moment, out: &mut Outcome) -> Verdict {
        let d = self.ipvs.dialect;
        let tuple = packet.tuple;
        let flags = packet.seg.flags;
        let mut found = Self::lookup_in(state, tuple);

        if let Some(slot) = found
            && packet.proto == Proto::Tcp
            && flags.has(TcpFlags::SYN)
            && let Some(tracked) = self.reschedules(state, slot, mark)
        {
            let opens = self.schedules(packet.proto, flags);
            let conn = state.conns.get_mut(slot);
            if tracked || !opens {
                // The timer is set to fire at once, which is at the next tick: until then the entry is there.
                conn.refreshed = moment.now;
                conn.timeout = Duration::ZERO;
                if tracked {
                    return Verdict::Drop(DropReason::ReuseOfTrackedEntry);
                }
                conn.flags &= !flag::NFCT;
            } else {
                // The new entry will be found before the old one, whose conntrack entry is left alone.
                state.conns.remove(slot);
            }
            found = None;
        }
        if let Some(slot) = found
            && state.dest == DestState::Removed
        {
            let conn = *state.conns.get(slot);
            if self.ipvs.expire_nodest_conn {
                let tracked = self.holds_conntrack(state, &conn, mark);
                state.conns.remove(slot);
                Self::forget_conntrack(state, &conn);
                if tracked || !d.nodest_reschedules {
                    return Verdict::Drop(DropReason::NoDestination);
                }
                found = None;
            } else {
                return Verdict::Drop(DropReason::NoDestination);
            }
        }
        if let Some(slot) = found {
            return Verdict::Forward(slot);
        }

        if tuple.dst.host != self.place.service {
            return Verdict::Accept;
        }
        if !self.schedules(packet.proto, flags) {
            return Verdict::Accept;
        }
        let bound_by_template = self.template(state, moment.now);
        if state.dest != DestState::Available && !(bound_by_template && state.dest == DestState::Quiesced) {
            out.send(Sent { to: packet.from, tuple: tuple.inverse(), what: What::Unreachable, ct: mark.of_error() });
            return Verdict::Drop(DropReason::NoDestination);
        }
        let dest = End { host: self.place.real, port: self.real_port.unwrap_or(tuple.dst.port) };
        let slot = state.conns.push(Conn::new(&self.ipvs, tuple, dest, moment.now));
        if let Some(timeout) = self.ipvs.persistence {
            let timeout = state.template.as_ref().map_or(timeout, |t| t.timeout);
            state.template = Some(Box::new(Template { refreshed: moment.now, timeout }));
        }
        out.created = true;
        Verdict::Forward(slot)
    }

    /// Whether a packet without an entry may make one (`tcp_conn_schedule`, `udp_conn_schedule`).
    fn schedules(&self, proto: Proto, flags: TcpFlags) -> bool {
        let sloppy = self.ipvs.dialect.sloppy_tcp;
        match proto {
            Proto::Udp => true,
            Proto::Tcp if sloppy && flags.has(TcpFlags::RST) => false,
            Proto::Tcp => flags.has(TcpFlags::SYN) || self.ipvs.sloppy_tcp && sloppy,
        }
    }

    /// Whether a live template binds the client to its server; a dead one is forgotten.
    fn template(&self, state: &mut DirectorState, now: Instant) -> bool {
        let children_end = state.conns.iter().filter(|c| c.is(flag::CONTROLLED)).map(Conn::deadline).max().unwrap_or(Instant::ZERO);
        let alive = state.template.as_mut().is_some_and(|t| t.alive_at(now, children_end))
            && !(self.ipvs.expire_quiescent_template && state.dest == DestState::Quiesced);
        if !alive {
            state.template = None;
        }
        alive
    }

    /// Whether a SYN makes IPVS forget a closing entry and schedule anew; if so, whether conntrack still holds the old connection.
    fn reschedules(&self, state: &DirectorState, slot: Slot, mark: Mark) -> Option<bool> {
        let d = self.ipvs.dialect;
        let conn = state.conns.get(slot);
        let mode = self.ipvs.conn_reuse_mode;
        let weight_rule = match d.weight0 {
            Weight0::Never => false,
            Weight0::IfExpireNodest => true,
            Weight0::IfExpireNodestAndReuse => mode != 0,
        };
        if weight_rule && self.ipvs.expire_nodest_conn && state.dest != DestState::Available {
            return Some(self.holds_conntrack(state, conn, mark));
        }
        if d.reuse == Reuse::No || mode == 0 || conn.is(flag::CONTROLLED) {
            return None;
        }
        let reusable = match conn.state {
            State::TimeWait => true,
            State::Close => d.reuse >= Reuse::CloseToo,
            State::FinWait => mode & 2 != 0 && conn.is(flag::NOOUTPUT),
            _ => false,
        };
        reusable.then(|| self.holds_conntrack(state, conn, mark))
    }

    /// Whether conntrack holds the connection of an entry and of this packet (`ip_vs_conn_uses_old_conntrack`).
    fn holds_conntrack(&self, state: &DirectorState, conn: &Conn, mark: Mark) -> bool {
        conn.is(flag::NFCT)
            && mark.attached.is_some_and(|a| match self.ipvs.dialect.reuse {
                Reuse::No | Reuse::TimeWait => false,
                Reuse::CloseToo => true,
                Reuse::ConfirmedOnly => state.table.get(a.slot).is(status::CONFIRMED),
            })
    }

    /// The packet leaves by its entry: state, timer, new destination.
    fn transmit(&self, state: &mut DirectorState, slot: Slot, packet: Packet<'_>, mark: Mark, moment: &mut Moment, out: &mut Outcome) {
        let conn = state.conns.get_mut(slot);
        conn.update(&self.ipvs, packet.proto, false, packet.seg.flags, moment.now);
        let conn = *conn;
        let mut tuple = packet.tuple;
        if self.ipvs.method == Method::Masq {
            tuple.dst = conn.dest;
        }
        let mut mark = self.keep_or_untrack(state, &conn, mark, true);
        if mark.state == CtState::Invalid {
            // The rewritten packet passes LOCAL_OUT, where conntrack looks at it afresh because it has no entry.
            if let Some(again) = self.track(state, tuple, packet.proto, packet.seg, moment, out) {
                mark = again;
            } else {
                out.dropped = Some(DropReason::KilledOutOfSync);
                return;
            }
        }
        self.leave(state, tuple, mark, What::Packet, moment, out);
    }

    /// With `conntrack=1` a new conntrack entry learns the other half of the connection; without, the packet is detached.
    fn keep_or_untrack(&self, state: &mut DirectorState, conn: &Conn, mark: Mark, towards_server: bool) -> Mark {
        if self.conntrack.is_none() {
            return mark;
        }
        if !conn.is(flag::NFCT) {
            let spared = mark.attached.is_none() && self.ipvs.dialect.notrack_spares_invalid;
            return if spared { mark } else { Mark { attached: None, state: CtState::Untracked } };
        }
        if let Some(attached) = mark.attached {
            let entry = state.table.get_mut(attached.slot);
            let fresh = entry.status & (status::CONFIRMED | status::DYING) == 0;
            if fresh && self.ipvs.method == Method::Masq && attached.dir == 0 {
                if towards_server {
                    entry.reply.src = conn.dest;
                } else {
                    entry.reply.dst = conn.virt;
                }
                entry.status |= status::IPVS;
            }
        }
        mark
    }

    fn leave(&self, state: &mut DirectorState, tuple: Tuple, mark: Mark, what: What, moment: &mut Moment, out: &mut Outcome) {
        if let (Some(ct), Some(attached)) = (&self.conntrack, mark.attached)
            && !ct.confirm(&mut state.table, attached, moment)
        {
            out.dropped = Some(DropReason::TupleClash);
            return;
        }
        // Behind DR and TUN the service address belongs to the real server.
        let to = if tuple.dst.host == self.place.service { Side::Server } else { self.place.side_of(tuple.dst.host) };
        out.send(Sent { to, tuple, what, ct: mark.state });
    }

    /// The director's own stack.
    fn deliver(&self, state: &mut DirectorState, packet: Packet<'_>, mark: Mark, moment: &mut Moment, out: &mut Outcome) {
        if let (Some(ct), Some(attached)) = (&self.conntrack, mark.attached)
            && !ct.confirm(&mut state.table, attached, moment)
        {
            out.dropped = Some(DropReason::TupleClash);
            return;
        }
        let own = packet.tuple.dst.host != self.place.service || self.vip_local;
        let Some(what) = local_answer(packet.proto, packet.seg).filter(|_| own) else {
            out.dropped = Some(DropReason::LocalSilence);
            return;
        };
        let answer = packet.tuple.inverse();
        if what == What::Unreachable {
            out.send(Sent { to: packet.from, tuple: answer, what, ct: mark.of_error() });
            return;
        }
        let seg = answer_segment(what, packet.seg);
        if let Some(mark) = self.track(state, answer, packet.proto, &seg, moment, out) {
            self.leave(state, answer, mark, what, moment, out);
        }
    }
}
