//! The loop: what happens next, until nothing does.
//!
//! Ties are broken in a fixed order: what happens to the path, entries that end, arrivals in the order in which they were
//! sent, timers of the client, timers of the server (or the other way round: `Network::server_first`), the applications.

use super::app::{Action, AppPlan, AppState, Do, Kind, OnEof, Wish};
use super::network::Network;
use super::outcome::{End, Outcome};
use super::sync::Synced;
use super::tables::Tables;
use super::trace::{Observer, Told};
use crate::endpoint::{Ctx, Errno, Event, Outbox, Profile, Socket, State, stray};
use crate::engine::hop::HopState;
use crate::model::{End as Sock, Moment, Packet, Side, Tuple, What};
use crate::net::{Direction, Proto, Segment, Seq, TcpFlags};
use crate::rng::Rng;
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};

/// What one flow is to do.
#[derive(Clone, Copy, Debug)]
pub struct FlowPlan<'a> {
    /// Its number: it keys what is drawn for it.
    pub number: u64,
    /// When the client dials.
    pub start: Instant,
    /// The client's port and the server's.
    pub ports: [u16; 2],
    /// The hosts' settings.
    pub profiles: [&'a Profile; 2],
    /// What the applications do, by time.
    pub scripts: [&'a [Action]; 2],
    /// What the applications are like.
    pub apps: [AppPlan; 2],
    /// Whether the server listens at all.
    pub listens: bool,
    /// When a side's host vanishes without a word, if it does.
    pub vanishes: [Option<Instant>; 2],
}

/// A segment on its way.
pub(super) struct Flying {
    at: Instant,
    order: u32,
    /// The box that it reaches next; as many as there are boxes: the server; −1: the client.
    next: i8,
    pub(super) to: Side,
    unreachable: bool,
    pub(super) tuple: Tuple,
    pub(super) seg: Segment,
}

impl PartialEq for Flying {
    fn eq(&self, other: &Flying) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Flying {}
impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Flying) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flying {
    fn cmp(&self, other: &Flying) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One flow as it stands: both sockets, both applications, what each box remembers.
pub struct Flow {
    pub(super) sockets: [Socket; 2],
    pub(super) apps: [AppState; 2],
    pub(super) hops: Vec<HopState>,
    pub(super) synced: Vec<Synced>,
    /// Whom the server's socket talks to.
    peer_of_server: Option<Sock>,
    pub(super) alive: [bool; 2],
    /// The highest number that each side has sent, for boxes that speak up when an entry ends.
    pub(super) ends: [Seq; 2],
    pub(super) next_fault: usize,
    dialled: bool,
    rng: Rng,
    /// Segments on their way.
    queue: BinaryHeap<Reverse<Flying>>,
    order: u32,
    pub(super) links_down: u64,
    /// Boxes that have closed the connection themselves, as a bit set: their stacks answer what belongs to that.
    pub(super) farewelled: u32,
    /// What became of it so far.
    pub outcome: Outcome,
}

/// The loop with what it uses again and again.
pub struct World<'n, O: Observer> {
    pub(super) net: &'n Network,
    /// Who watches.
    pub observer: O,
    /// An empty queue whose memory the next flow takes over.
    spare: BinaryHeap<Reverse<Flying>>,
    outbox: Outbox,
    wishes: Vec<Wish>,
    farewells: bool,
    pub(super) now: Instant,
    /// The tables that flows share, where they do.
    pub(super) tables: Option<Tables>,
    /// Becomes true when somebody wants no more.
    stop: &'n AtomicBool,
}

pub(super) const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// After how many steps somebody may have stopped it.
pub(super) const LOOKS: u32 = 1024;

pub(super) static NEVER: AtomicBool = AtomicBool::new(false);

/// What happens next.
enum Next {
    Fault,
    Vanish(usize),
    Farewell(usize),
    Arrival,
    Timer(usize),
    App(usize),
}

impl<'n, O: Observer> World<'n, O> {
    /// A world in which nothing has happened.
    pub fn new(net: &'n Network, observer: O) -> World<'n, O> {
        World {
            net,
            observer,
            spare: BinaryHeap::new(),
            outbox: Outbox::default(),
            wishes: Vec::new(),
            farewells: net.farewells(),
            now: Instant::ZERO,
            tables: None,
            stop: &NEVER,
        }
    }

    /// The same, in which nothing happens any more once `stop` is true.
    #[must_use]
    pub fn until(self, stop: &'n AtomicBool) -> World<'n, O> {
        World { stop, ..self }
    }

    /// Whether nothing is to happen any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A flow that has not begun.
    pub fn flow(&self, plan: &FlowPlan<'_>) -> Flow {
        let mut rng = Rng::keyed(self.net.seed, plan.number);
        let iss = Seq(rng.number() as u32);
        let server = if plan.listens { Socket::listen(iss) } else { Socket::closed() };
        Flow {
            sockets: [Socket::closed(), server],
            apps: [AppState::default(), AppState::default()],
            hops: self.net.path.hops.iter().map(crate::engine::Hop::empty).collect(),
            synced: if self.net.sync.iter().any(Option::is_some) { vec![Synced::default(); self.net.sync.len()] } else { Vec::new() },
            peer_of_server: None,
            alive: [true; 2],
            ends: [Seq(0); 2],
            next_fault: 0,
            dialled: false,
            rng,
            queue: BinaryHeap::new(),
            order: 0,
            links_down: 0,
            farewelled: 0,
            outcome: Outcome::nothing(),
        }
    }

    /// Runs one flow from its beginning to its end or to the horizon.
    pub fn run(&mut self, plan: &FlowPlan<'_>) -> Outcome {
        let mut flow = self.flow(plan);
        flow.queue = std::mem::take(&mut self.spare);
        let mut steps = 0_u32;
        while self.step(&mut flow, plan) {
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(LOOKS) && self.is_stopped() {
                flow.outcome.interrupted = true;
                break;
            }
        }
        self.finish(&mut flow, plan);
        self.spare = std::mem::take(&mut flow.queue);
        self.spare.clear();
        flow.outcome
    }

    /// Lets the next thing happen; false when nothing will before the horizon.
    pub(super) fn step(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>) -> bool {
        let (at, next) = self.next(flow, plan);
        if at > self.net.horizon || at == Instant::MAX {
            return false;
        }
        if flow.outcome.events >= self.net.events_max {
            flow.outcome.stopped = true;
            return false;
        }
        self.now = at;
        flow.outcome.last = at;
        match next {
            Next::Fault => self.fault(flow),
            Next::Vanish(side) => self.vanish(flow, side),
            Next::Farewell(hop) => self.farewell(flow, hop, plan),
            Next::Arrival => {
                flow.outcome.events += 1;
                if let Some(Reverse(flying)) = flow.queue.pop() {
                    self.arrive(flow, plan, &flying);
                }
            }
            Next::Timer(side) => {
                flow.outcome.events += 1;
                let (mut ctx, socket) = self.ctx(flow, plan, side);
                socket.timer(&mut ctx);
                self.settle(flow, plan, side, None);
            }
            Next::App(0) if !flow.dialled => self.dial(flow, plan),
            Next::App(side) => {
                self.wishes.clear();
                flow.apps[side].due(self.now, plan.scripts[side], &plan.apps[side], &mut self.wishes);
                self.grant(flow, plan, side);
            }
        }
        true
    }

    /// When the next thing happens in a flow; later than everything if nothing will.
    pub(super) fn due(&self, flow: &Flow, plan: &FlowPlan<'_>) -> Instant {
        let at = self.next(flow, plan).0;
        if at > self.net.horizon { Instant::MAX } else { at }
    }

    fn next(&self, flow: &Flow, plan: &FlowPlan<'_>) -> (Instant, Next) {
        let mut best = (Instant::MAX, Next::Fault);
        let mut offer = |at: Instant, next: Next| {
            if at < best.0 {
                best = (at, next);
            }
        };
        if let Some((at, _)) = self.net.faults.get(flow.next_fault) {
            offer(*at, Next::Fault);
        }
        if self.farewells {
            for (hop, state) in flow.hops.iter().enumerate() {
                if let Some(at) = self.net.path.hops[hop].farewell_at(state) {
                    offer(at, Next::Farewell(hop));
                }
            }
        }
        if let Some(Reverse(flying)) = flow.queue.peek() {
            offer(flying.at, Next::Arrival);
        }
        if !flow.dialled {
            offer(plan.start, Next::App(0));
            return best;
        }
        let first = usize::from(self.net.server_first);
        for side in [first, 1 - first] {
            if flow.alive[side] {
                offer(flow.sockets[side].next_timer(), Next::Timer(side));
            }
        }
        for (side, at) in plan.vanishes.iter().enumerate() {
            if let Some(at) = at.filter(|_| flow.alive[side]) {
                offer(at, Next::Vanish(side));
            }
        }
        for side in 0..2 {
            // The server's application begins with the connection.
            if flow.alive[side] && (side == 0 || flow.outcome.sides[1].opened.is_some()) {
                offer(flow.apps[side].next_timer(plan.scripts[side]).max(self.now), Next::App(side));
            }
        }
        best
    }

    fn ctx<'a>(&'a mut self, flow: &'a mut Flow, plan: &FlowPlan<'a>, side: usize) -> (Ctx<'a>, &'a mut Socket) {
        let ctx = Ctx { now: self.now, ticks: self.net.ticks[side], profile: plan.profiles[side], out: &mut self.outbox };
        (ctx, &mut flow.sockets[side])
    }

    pub(super) fn own_tuple(&self, flow: &Flow, plan: &FlowPlan<'_>, side: usize) -> Tuple {
        if side == 0 {
            crate::engine::Path::from_client(plan.ports[0], plan.ports[1])
        } else {
            let usual = self.net.path.from_server(plan.ports[0], plan.ports[1]);
            Tuple { dst: flow.peer_of_server.unwrap_or(usual.dst), ..usual }
        }
    }

    fn dial(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>) {
        flow.dialled = true;
        if !flow.alive[0] {
            return;
        }
        self.observer.told(self.now, Side::Client, Told::Dialled);
        let iss = Seq(flow.rng.number() as u32);
        let (mut ctx, socket) = self.ctx(flow, plan, 0);
        *socket = Socket::connect(iss, &mut ctx);
        self.settle(flow, plan, 0, None);
    }

    /// Sends what a socket put out and tells its application what happened, until both are content. `answered` is the tuple of
    /// the segment that was handled, whose inverse answers have that belong to no socket.
    fn settle(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>, side: usize, answered: Option<Tuple>) {
        let tuple = answered.map_or_else(|| self.own_tuple(flow, plan, side), Tuple::inverse);
        let mut index = 0;
        while let Some(seg) = self.outbox.segments.get(index).copied() {
            index += 1;
            self.launch(flow, side, tuple, seg);
        }
        self.outbox.segments.clear();
        if self.outbox.events.is_empty() {
            return;
        }
        let mut index = 0;
        while let Some(event) = self.outbox.events.get(index).copied() {
            index += 1;
            self.tell(flow, plan, side, event);
        }
        self.outbox.events.clear();
        self.grant(flow, plan, side);
    }

    fn tell(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>, side: usize, event: Event) {
        let now = self.now;
        let story = &mut flow.outcome.sides[side];
        let app = &mut flow.apps[side];
        // An application that is done with the connection hears no more of it.
        if app.stopped {
            return;
        }
        let told = match event {
            Event::Opened => {
                story.opened = Some(now);
                app.opened(now, &plan.apps[side]);
                Told::Opened
            }
            Event::Delivered(bytes) => {
                story.delivered += u64::from(bytes);
                story.last_delivery = Some(now);
                app.received(bytes, now, &plan.apps[side], &mut self.wishes);
                Told::Received(bytes)
            }
            Event::Eof => {
                story.eof = Some(now);
                app.saw_eof(&plan.apps[side], &mut self.wishes);
                if app.stopped {
                    story.end = End::Closed(now);
                }
                Told::Eof
            }
            Event::Failed(errno) => {
                app.stopped = true;
                story.end = End::Failed(errno, now);
                Told::Failed(errno)
            }
        };
        self.observer.told(now, SIDES[side], told);
    }

    /// Does what an application wishes.
    fn grant(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>, side: usize) {
        let mut index = 0;
        while let Some(wish) = self.wishes.get(index).copied() {
            index += 1;
            if flow.apps[side].stopped {
                continue;
            }
            match wish {
                Wish::Write(len, kind) => self.write(flow, plan, side, len, kind),
                Wish::Act(what) => self.act(flow, plan, side, what),
                Wish::GiveUp(why) => {
                    flow.apps[side].stopped = true;
                    flow.outcome.sides[side].unacknowledged = !flow.sockets[side].is_drained();
                    flow.outcome.sides[side].end = End::GaveUp(why, self.now);
                    self.observer.told(self.now, SIDES[side], Told::GaveUp(why));
                    let (mut ctx, socket) = self.ctx(flow, plan, side);
                    socket.close(&mut ctx);
                }
            }
        }
        self.wishes.clear();
        if !self.outbox.segments.is_empty() || !self.outbox.events.is_empty() {
            self.settle(flow, plan, side, None);
        }
    }

    fn write(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>, side: usize, len: u32, kind: Kind) {
        let (mut ctx, socket) = self.ctx(flow, plan, side);
        if let Err(errno) = socket.write(len, &mut ctx) {
            flow.apps[side].stopped = true;
            flow.outcome.sides[side].end = End::Failed(errno, self.now);
            self.observer.told(self.now, SIDES[side], Told::Failed(errno));
            return;
        }
        self.observer.told(self.now, SIDES[side], Told::Sent(len));
        flow.outcome.sides[side].written += u64::from(len);
        flow.apps[side].wrote(kind, self.now, &plan.apps[side]);
        if kind != Kind::Data || plan.apps[1 - side].watches() {
            flow.apps[1 - side].announced(len, kind);
        } else {
            flow.apps[1 - side].announced_if_busy(len);
        }
    }

    fn act(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>, side: usize, what: Do) {
        let now = self.now;
        let stopped_by_eof = plan.apps[side].on_eof == OnEof::Close && flow.apps[side].eof;
        let (mut ctx, socket) = self.ctx(flow, plan, side);
        let told = match what {
            Do::Shutdown => {
                socket.shutdown(&mut ctx);
                Told::Closed
            }
            Do::Close => {
                socket.close(&mut ctx);
                Told::Closed
            }
            Do::Abort => {
                socket.abort(&mut ctx);
                Told::Aborted
            }
            Do::Pause | Do::Resume => {
                socket.pause_reading(what == Do::Pause, &mut ctx);
                return;
            }
            Do::Send(_) | Do::Request { .. } => return,
        };
        let app = &mut flow.apps[side];
        let story = &mut flow.outcome.sides[side];
        app.closed = true;
        match what {
            Do::Abort => {
                app.stopped = true;
                story.end = End::Aborted(now);
            }
            // A socket that is closed belongs to nobody; one that closes in answer is done.
            _ if app.eof || what == Do::Close => {
                app.stopped = true;
                story.end = End::Closed(now);
            }
            _ => {}
        }
        if !stopped_by_eof {
            self.observer.told(now, SIDES[side], told);
        }
    }

    /// A host puts a segment on its link.
    fn launch(&mut self, flow: &mut Flow, side: usize, tuple: Tuple, seg: Segment) {
        let to = SIDES[1 - side];
        let seg = Segment { dir: if side == 0 { Direction::Original } else { Direction::Reply }, ..seg };
        if seg.flags.has(TcpFlags::SYN) || seg.end().after(flow.ends[side]) {
            flow.ends[side] = seg.end();
        }
        self.observer.host_sent(self.now, SIDES[side], tuple, &seg);
        let from = if side == 0 { -1 } else { self.net.path.hops.len() as i8 };
        self.send(flow, from, to, tuple, seg, false);
    }

    /// From a place on the path (−1: the client's host) towards a side, to the next box that sees it.
    pub(super) fn send(&mut self, flow: &mut Flow, from: i8, to: Side, tuple: Tuple, seg: Segment, unreachable: bool) {
        flow.outcome.packets += 1;
        let hops = self.net.path.hops.len() as i8;
        let mut at = self.now;
        let mut here = from;
        loop {
            let link = if to == Side::Server { here + 1 } else { here } as usize;
            let crossing = if flow.links_down >> link & 1 == 1 { None } else { self.net.links[link].crossing(&mut flow.rng) };
            let Some(crossing) = crossing else {
                flow.outcome.lost += 1;
                self.observer.lost(self.now, link, tuple, &seg);
                return;
            };
            at += crossing;
            here += if to == Side::Server { 1 } else { -1 };
            let is_host = here < 0 || here >= hops;
            // Replies pass a director by that forwards without translating.
            if is_host || to == Side::Server || self.net.path.hops[here as usize].sees_replies() {
                break;
            }
        }
        flow.order += 1;
        flow.queue.push(Reverse(Flying { at, order: flow.order, next: here, to, unreachable, tuple, seg }));
    }

    fn arrive(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>, flying: &Flying) {
        let hops = self.net.path.hops.len() as i8;
        if flying.next < 0 || flying.next >= hops {
            let side = usize::from(flying.next >= 0);
            if flow.alive[side] {
                self.observer.host_got(self.now, SIDES[side], flying.tuple, &flying.seg);
                self.receive(flow, plan, side, flying);
            }
            return;
        }
        let index = flying.next as usize;
        let hop = &self.net.path.hops[index];
        let from = flying.to.opposite();
        if flying.unreachable {
            // An ICMP error about the flow: boxes pass it on as RELATED.
            self.send(flow, flying.next, flying.to, flying.tuple, flying.seg, true);
            return;
        }
        if flow.farewelled >> index & 1 == 1 && self.closing_box_answers(flow, index, flying) {
            return;
        }
        let packet = Packet { from, tuple: flying.tuple, proto: Proto::Tcp, seg: &flying.seg };
        let mut moment = Moment::exact(self.now);
        let out = match &mut self.tables {
            None => hop.packet(&mut flow.hops[index], packet, &mut moment),
            Some(tables) => tables.packet(plan.number, index, hop, &mut flow.hops[index], packet, &mut moment),
        };
        self.observer.box_got(self.now, index, from, flying.tuple, &flying.seg, &out);
        if let Some(sync) = self.net.sync.get(index).copied().flatten()
            && let HopState::Director(held) = &flow.hops[index]
            && from == Side::Client
            && let Some(conn) = held.conns.iter().next()
        {
            flow.synced[index].packet(&sync, conn, self.now);
        }
        self.note(flow, index, from, &out);
        self.observer.box_keeps(self.now, index, hop, &flow.hops[index]);
        for sent in out.sent.into_iter().flatten() {
            let (seg, unreachable) = match sent.what {
                What::Packet => (flying.seg, false),
                What::Reset { .. } => (crate::model::conntrack::router::answer_segment(sent.what, &flying.seg), false),
                What::Unreachable => (flying.seg, true),
            };
            self.observer.box_sent(self.now, index, sent.to, sent.tuple, &seg, sent.what);
            self.send(flow, flying.next, sent.to, sent.tuple, seg, unreachable);
        }
    }

    fn receive(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>, side: usize, flying: &Flying) {
        let tuple = flying.tuple;
        let own = self.own_tuple(flow, plan, side);
        let state = flow.sockets[side].state();
        let mine = match state {
            State::Closed => false,
            State::Listen => tuple.dst == own.src,
            _ => tuple == own.inverse(),
        };
        if flying.unreachable {
            if mine || tuple == own {
                let (mut ctx, socket) = self.ctx(flow, plan, side);
                socket.icmp_error(Errno::Econnrefused, &mut ctx);
                self.settle(flow, plan, side, None);
            }
            return;
        }
        if !mine {
            if let Some(answer) = stray(&flying.seg, plan.profiles[side]) {
                let seg = Segment { at: self.now, ..answer };
                self.launch(flow, side, tuple.inverse(), seg);
            }
            return;
        }
        if state == State::Listen && flying.seg.flags.has(TcpFlags::SYN) && !flying.seg.flags.has(TcpFlags::ACK) {
            flow.peer_of_server = Some(tuple.src);
        }
        let (mut ctx, socket) = self.ctx(flow, plan, side);
        socket.segment(&flying.seg, &mut ctx);
        self.settle(flow, plan, side, Some(tuple));
    }
}
