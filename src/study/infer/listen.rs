//! Follows one flow and notes what was carried and what was not.
//!
//! An exchange begins with a packet that wants an answer. It is *carried* when the other side's answer came back to the sender:
//! at the sender's end of the path an answer that is captured has come back; anywhere else only the sender's next packet shows
//! that it has. It has *failed* when a reset that fits no living end came instead, or nothing at all while the sender tried
//! again and again. Only an exchange that begins after a silence says anything about a timer.

use super::evidence::{Cut, Kind, PickUp, Reaction, Silence, State, Survival, Testimony};
use crate::engine::pipeline::Follow;
use crate::flow::{Flow, GapEvidence, Observation, Opening, Shape};
use crate::net::{Direction, Proto, Segment, Seq, TcpFlags};
use crate::time::{Duration, Instant};

/// The shortest silence that is looked at: round trips and delayed acknowledgements are shorter, idle timers longer.
pub const SHORTEST: Duration = Duration::from_millis(1000);
/// The fewest times that a packet is sent before its not being answered means something; two where the sender then gave up.
const ATTEMPTS_MIN: u32 = 3;
/// How long nothing may be heard before that means something.
const UNANSWERED_MIN: Duration = Duration::from_millis(1500);
/// The tick of the slowest kernels: conntrack counts in ticks, and may be one early.
const TICK: Duration = Duration::from_millis(10);
/// A round trip where none was seen.
const RTT_UNKNOWN: Duration = Duration::from_millis(500);
/// By when a segment is sent again that was not acknowledged: the first retransmission timeout of old hosts.
const REPEATED_BY: Duration = Duration::from_secs(3);
/// By how much clocks of two machines may drift apart: 100 parts in a million.
const DRIFT: u64 = 10_000;

/// Listens to every flow of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Listener;

/// One direction of the flow.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// After the highest byte that was sent, as far as captured or acknowledged.
    next: Option<Seq>,
    /// The highest acknowledgement that this side sent.
    acked: Option<Seq>,
    /// The smallest and the largest TTL of what is no reset; zero where none was seen.
    ttls: (u8, u8),
    fin: bool,
    /// It has acknowledged what was sent after its FIN: it only does not send any more.
    reads_on: bool,
}

/// When something happened last.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    any: Option<Instant>,
    client: Option<Instant>,
    /// The client, keepalives not counted.
    client_solid: Option<Instant>,
    solid: Option<Instant>,
    payload: Option<Instant>,
}

/// How far a conversation has come since its last silence, as a box sees it that may have picked it up there.
#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// Nothing was seen yet.
    #[default]
    Blank,
    /// Packets of one side.
    Asked(Direction),
    /// The other side's first.
    Answered,
    /// Something followed: the timer is the state's.
    Settled,
}

/// A packet that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    dir: Direction,
    kind: Kind,
    state: Option<State>,
    silence: Silence,
    pick_up: Option<PickUp>,
    /// Whether there was a silence at all, and no hole in it.
    idle: bool,
    /// The acknowledgement that answers it; none where nothing does.
    wants: Option<Seq>,
    ordinal: u32,
    attempts: u32,
    last: Instant,
    /// The other side spoke, but not of this.
    heard: bool,
    gave_up: bool,
    answer: Option<Answer>,
}

/// What answered an exchange.
#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Instant,
    silence: Silence,
    state: Option<State>,
}

/// What is known of a flow under way.
#[derive(Clone, Debug, Default)]
pub struct Ear {
    /// What it has said so far.
    pub told: Testimony,
    sides: [Side; 2],
    last: Last,
    ordinal: u32,
    exchange: Option<Exchange>,
    /// The handshake is over, or the capture began behind it.
    open: bool,
    /// The previous segment, as conntrack compares repetitions, and how often it came in a row.
    previous: Option<(Direction, Seq, Seq, u32, u16)>,
    repeats: u32,
    closed_window: bool,
    /// A side that was not captured may have closed.
    doubt: bool,
    /// The quickest answer.
    quickest: Option<Duration>,
    asked: [Option<Instant>; 2],
    phase: Phase,
    pick_up: Option<PickUp>,
    /// A reset or a cut has ended it; the direction of the reset.
    over: Option<Direction>,
}

impl Follow for Listener {
    type Run = Ear;

    fn begin(&self, _flow: &Flow, _seg: &Segment) -> Ear {
        Ear::default()
    }

    fn segment(&self, ear: &mut Ear, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        match flow.proto() {
            Proto::Tcp => ear.segment(flow, seg, observation, previous_frame),
            Proto::Udp => ear.datagram(seg, observation, previous_frame),
        }
    }

    fn finish(&self, ear: &mut Ear, _flow: &Flow, end: Instant) {
        ear.finish(end);
    }
}

/// How many routers a packet has passed, if it began with one of the usual numbers.
const fn hops(ttl: u8) -> u8 {
    match ttl {
        0..=64 => 64 - ttl,
        65..=128 => 128 - ttl,
        _ => 255 - ttl,
    }
}

impl Ear {
    fn side(&self, dir: Direction) -> &Side {
        &self.sides[dir.index()]
    }

    /// The state of the flow, as a box on the path must have it; none before it is open and after both sides have closed.
    fn state(&self, gap: Duration) -> Option<State> {
        let [client, server] = &self.sides;
        match (client.fin, server.fin) {
            _ if !self.open || self.doubt => None,
            (false, false) if self.outstanding(gap) || self.repeats >= 2 || self.closed_window => Some(State::Outstanding),
            (false, false) => Some(State::Established),
            (true, true) => None,
            // While something waits for its acknowledgement, conntrack may be on another timer than that of the state.
            _ if self.outstanding(gap) => None,
            (true, false) => Some(State::ClientClosed),
            (false, true) => Some(State::ServerClosed),
        }
    }

    /// Whether anything may wait for its acknowledgement; also where that is not known. Where the other side was never captured,
    /// what was not sent again in so long a time has been acknowledged.
    fn outstanding(&self, gap: Duration) -> bool {
        let [client, server] = &self.sides;
        [(client, server), (server, client)].into_iter().any(|(me, peer)| match (me.next, peer.acked) {
            (Some(next), Some(acked)) => acked.before(next),
            (Some(_), None) => peer.next.is_some() || gap < REPEATED_BY,
            (None, _) => peer.next.is_none() || gap < REPEATED_BY,
        })
    }

    fn silence(&self, flow: &Flow, seg: &Segment, observation: &Observation, before: u32) -> Silence {
        let since = |then: Option<Instant>| then.map(|then| seg.at.since(then));
        let idle = observation.gap;
        let quiet = match (self.last.client_solid, self.last.payload) {
            (Some(client), Some(payload)) => Some(seg.at.since(client.min(payload))),
            _ => None,
        };
        let rtt = flow.rtt().or(self.quickest).unwrap_or(RTT_UNKNOWN);
        let longest = quiet.unwrap_or(idle).max(idle);
        Silence {
            idle,
            client: since(self.last.client),
            quiet,
            solid: since(self.last.solid).unwrap_or(idle),
            slack: rtt.saturating_mul(2) + TICK + Duration(longest.0 / DRIFT),
            before,
            late: seg.frame,
            file: seg.file,
            at: seg.at,
            seq: seg.seq,
        }
    }

    fn segment(&mut self, flow: &Flow, seg: &Segment, observation: &Observation, before: u32) {
        let ordinal = self.ordinal;
        self.ordinal = ordinal.wrapping_add(1);
        if observation.shape == Shape::Duplicate {
            return;
        }
        if let Some(over) = self.over {
            self.after_the_end(over, seg);
            return;
        }
        if let (Some(revision), Some(exchange)) = (observation.revises, &mut self.exchange)
            && exchange.ordinal == revision.ordinal
        {
            exchange.idle = exchange.idle && revision.evidence != GapEvidence::Hole;
        }
        let unheard = self.sides.iter().any(|side| side.next.is_none());
        if observation.gap >= SHORTEST && observation.evidence == GapEvidence::Hole && !unheard {
            self.told.holes = self.told.holes.saturating_add(1);
        }
        let silence = self.silence(flow, seg, observation, before);
        if seg.flags.has(TcpFlags::RST) {
            self.reset(seg, observation, silence);
            return;
        }
        if seg.flags.has(TcpFlags::SYN) {
            self.exchange = None;
            self.note(flow, seg, observation);
            return;
        }
        let state = self.state(observation.gap);
        self.go_on(seg, observation, silence, state);
        if self.exchange.is_none() {
            self.exchange = self.begin(seg, observation, silence, state, ordinal);
        }
        self.note(flow, seg, observation);
    }

    /// A packet may end an exchange: by answering it, or by showing that its sender has had the answer.
    fn go_on(&mut self, seg: &Segment, observation: &Observation, silence: Silence, state: Option<State>) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let probe = observation.shape == Shape::KeepaliveProbe;
        let Some(wants) = exchange.wants else { return };
        if exchange.dir != seg.dir {
            // Whether the answer came back will not be known: its sender begins anew.
            if exchange.answer.is_some() && observation.gap >= SHORTEST {
                return;
            }
            // What a probe asks for has been acknowledged before: only an empty ACK at once is its answer. Whatever else comes says
            // nothing of it.
            let rtt = exchange.silence.slack.saturating_sub(TICK);
            let prompt = seg.at.since(exchange.last) <= RTT_UNKNOWN + rtt.saturating_mul(2) && seg.len == 0;
            if exchange.kind == Kind::Probe && exchange.answer.is_none() && !prompt {
                return;
            }
            if seg.flags.has(TcpFlags::ACK) && !seg.ack.before(wants) {
                if exchange.answer.is_none() {
                    exchange.answer = Some(Answer { at: seg.at, silence, state });
                    let closed = matches!(exchange.state, Some(State::ClientClosed | State::ServerClosed));
                    let side = &mut self.sides[seg.dir.index()];
                    side.reads_on = side.reads_on || closed && side.fin && exchange.kind == Kind::Data;
                }
                if self.captured_at(exchange.dir) {
                    self.carried(&exchange);
                    return;
                }
            } else if exchange.answer.is_none() {
                exchange.heard = true;
            }
            self.exchange = Some(exchange);
            return;
        }
        let speaks = seg.len > 0 || seg.flags.has(TcpFlags::FIN) || probe;
        let repeats = speaks && !probe && !seg.end().after(wants);
        // Of a side that was never captured no answer is seen: what was not sent again has been answered.
        if self.side(seg.dir.opposite()).next.is_none() && !repeats && observation.gap >= REPEATED_BY {
            return;
        }
        match exchange.answer {
            // Whoever probes again may have had the answer or not.
            Some(_) if probe && exchange.kind == Kind::Probe => return,
            Some(_) if !repeats => {
                self.carried(&exchange);
                return;
            }
            // The answer did not come back.
            Some(_) => exchange.answer = None,
            None => {}
        }
        if speaks {
            exchange.attempts = exchange.attempts.saturating_add(1);
            exchange.last = seg.at;
        }
        self.exchange = Some(exchange);
    }

    /// Whether the packets of a direction are captured where they are born: before the first router, and the other side's are not.
    fn captured_at(&self, dir: Direction) -> bool {
        let (mine, theirs) = (self.side(dir).ttls, self.side(dir.opposite()).ttls);
        mine.0 != 0 && theirs.0 != 0 && mine.0 == mine.1 && hops(mine.0) == 0 && hops(theirs.1) > 0
    }

    fn begin(
        &mut self,
        seg: &Segment,
        observation: &Observation,
        silence: Silence,
        state: Option<State>,
        ordinal: u32,
    ) -> Option<Exchange> {
        let long = observation.gap >= SHORTEST;
        let (kind, wants) = if seg.flags.has(TcpFlags::FIN) {
            (Kind::Fin, Some(seg.end()))
        } else if observation.shape == Shape::KeepaliveProbe {
            (Kind::Probe, Some(self.side(seg.dir).next.unwrap_or(seg.seq.plus(1))))
        } else if seg.len > 0 {
            (Kind::Data, Some(seg.end()))
        } else if long {
            (Kind::Ack, None)
        } else {
            return None;
        };
        if long && kind == Kind::Fin {
            self.told.own_fins = self.told.own_fins.saturating_add(1);
        }
        // What is missing of a side that was never captured does not make a silence shorter than it looks to a box, only longer.
        let unheard = self.side(seg.dir.opposite()).next.is_none();
        let idle = long && (observation.evidence == GapEvidence::ProvenIdle || unheard);
        let (attempts, last) = (1, seg.at);
        let pick_up = self.suspected();
        Some(Exchange {
            dir: seg.dir,
            kind,
            state,
            silence,
            pick_up,
            idle,
            wants,
            ordinal,
            attempts,
            last,
            heard: false,
            gave_up: false,
            answer: None,
        })
    }

    /// The sender has had its answer.
    fn carried(&mut self, exchange: &Exchange) {
        // What took several attempts may have been carried by the other side's help.
        if let (true, Some(state), 1) = (exchange.idle, exchange.state, exchange.attempts) {
            let Exchange { dir, kind, silence, .. } = *exchange;
            self.told.survived(Survival { state, dir, kind, silence });
        }
    }

    fn reset(&mut self, seg: &Segment, observation: &Observation, silence: Silence) {
        let usual = self.side(seg.dir).ttls;
        let known = usual.0 != 0 && seg.ttl != 0;
        let foreign = known && (hops(seg.ttl) < hops(usual.1).min(hops(usual.0)) || hops(seg.ttl) > hops(usual.0).max(hops(usual.1)));
        let ttls = known.then_some((usual.1, seg.ttl));
        self.over = Some(seg.dir);
        match self.exchange.take() {
            Some(exchange) if exchange.dir != seg.dir && exchange.answer.is_none() => {
                let asked = (exchange.silence, exchange.state, exchange.last);
                self.refused(seg, &exchange, asked, foreign, ttls);
            }
            // It rejects the answer: that is what did not come through. Measured from the client's packet before, since a box that
            // has just seen the other side's would not have forgotten.
            Some(exchange) if exchange.dir == seg.dir && exchange.answer.is_some() && observation.gap < SHORTEST => {
                let Some(answer) = exchange.answer else { return };
                let rejected = Exchange { dir: seg.dir.opposite(), kind: Kind::Ack, ..exchange };
                let long = answer.silence.client.is_some_and(|client| client >= SHORTEST);
                if rejected.dir == Direction::Original && long {
                    self.refused(seg, &rejected, (answer.silence, answer.state, answer.at), foreign, ttls);
                } else {
                    self.carried(&exchange);
                }
            }
            // The sender gives up.
            Some(mut exchange) if !foreign && exchange.dir == seg.dir && exchange.answer.is_none() => {
                exchange.gave_up = true;
                exchange.last = exchange.last.max(seg.at);
                self.exchange = Some(exchange);
            }
            _ if observation.gap >= SHORTEST => {
                let proven = observation.evidence == GapEvidence::ProvenIdle;
                if let (true, true, Some(state)) = (foreign, proven, self.state(observation.gap)) {
                    let (dir, kind, reaction) = (seg.dir, Kind::Reset, Reaction::Spontaneous);
                    let answer = Some(seg.frame);
                    self.told.cut = Some(Cut {
                        state,
                        dir,
                        kind,
                        silence,
                        pick_up: self.suspected(),
                        reaction,
                        answer,
                        ttls,
                        attempts: 0,
                        until: seg.at,
                    });
                } else {
                    self.told.own_resets = self.told.own_resets.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    /// A reset answers what was asked last.
    fn refused(
        &mut self,
        seg: &Segment,
        exchange: &Exchange,
        (silence, state, asked): (Silence, Option<State>, Instant),
        foreign: bool,
        ttls: Option<(u8, u8)>,
    ) {
        let rtt = silence.slack.saturating_sub(TICK);
        let after = seg.at.since(asked);
        let (true, Some(state)) = (exchange.idle && after <= Duration::from_secs(1) + rtt.saturating_mul(4), state) else { return };
        let quick = self.quickest.is_some_and(|quickest| quickest >= Duration::from_millis(4) && after.0 < quickest.0 / 2);
        // A living end sets ACK in its resets; who knows no such connection answers an ACK without it. Who has sent a FIN may
        // rightly know nothing any more. One that answered a moment ago is alive.
        let stranger = !seg.flags.has(TcpFlags::ACK) && !self.side(seg.dir).fin;
        let alive = exchange.answer.is_some() && stranger;
        let reaction = if foreign || quick || alive {
            Reaction::BoxReset
        } else if stranger {
            Reaction::StrangerReset
        } else {
            self.told.own_resets = self.told.own_resets.saturating_add(1);
            return;
        };
        let Exchange { dir, kind, attempts, pick_up, .. } = *exchange;
        self.told.cut = Some(Cut { state, dir, kind, silence, pick_up, reaction, answer: Some(seg.frame), ttls, attempts, until: seg.at });
    }

    /// Whoever still speaks after a reset of his did not send it.
    fn after_the_end(&mut self, reset: Direction, seg: &Segment) {
        let alive = seg.dir == reset && !seg.flags.any(TcpFlags::RST | TcpFlags::SYN);
        if let Some(cut) = self.told.cut.as_mut().filter(|cut| alive && cut.reaction == Reaction::StrangerReset) {
            // A packet that was on its way when the reset was sent shows nothing.
            if seg.at.since(cut.until) > cut.silence.slack.saturating_mul(2) {
                cut.reaction = Reaction::BoxReset;
            }
        }
    }

    /// What may have been picked up so shortly before that the timer is not the state's yet.
    fn suspected(&self) -> Option<PickUp> {
        match self.phase {
            Phase::Settled => None,
            Phase::Blank | Phase::Asked(_) | Phase::Answered => {
                Some(self.pick_up.unwrap_or(PickUp { after: Duration::MAX, by: [true; 2] }))
            }
        }
    }

    /// A silence may have ended with a pick-up; packets after it settle the matter.
    fn settle(&mut self, seg: &Segment, gap: Duration) {
        if gap >= SHORTEST {
            let before = self.suspected().unwrap_or(PickUp { after: Duration::ZERO, by: [false; 2] });
            let mut by = before.by;
            by[seg.dir.index()] = true;
            self.pick_up = Some(PickUp { after: before.after.max(gap), by });
            self.phase = Phase::Asked(seg.dir);
            return;
        }
        self.phase = match self.phase {
            _ if seg.flags.has(TcpFlags::SYN) => Phase::Settled,
            Phase::Blank => Phase::Asked(seg.dir),
            Phase::Asked(by) if by != seg.dir => Phase::Answered,
            Phase::Asked(by) => Phase::Asked(by),
            Phase::Answered | Phase::Settled => Phase::Settled,
        };
    }

    /// Takes what every later packet is compared with.
    fn note(&mut self, flow: &Flow, seg: &Segment, observation: &Observation) {
        let syn = seg.flags.has(TcpFlags::SYN);
        let first = self.side(seg.dir).next.is_none() && !syn;
        let keepalive = matches!(observation.shape, Shape::KeepaliveProbe | Shape::KeepaliveAnswer | Shape::WindowProbe);
        // The first packet of a direction may be a probe without anybody being able to tell.
        let solid = !(keepalive || first && seg.len <= 1);
        let client = seg.dir == Direction::Original;
        self.last.any = Some(seg.at);
        self.last.client = if client { Some(seg.at) } else { self.last.client };
        if solid {
            self.last.solid = Some(seg.at);
            self.last.client_solid = if client { Some(seg.at) } else { self.last.client_solid };
            self.last.payload = if seg.len > 0 || syn || seg.flags.has(TcpFlags::FIN) { Some(seg.at) } else { self.last.payload };
        }
        self.open = self.open
            || match flow.opening() {
                Opening::Midstream => true,
                Opening::SynOnly | Opening::Handshake => !syn && client && seg.flags.has(TcpFlags::ACK),
            };
        let this = (seg.dir, seg.seq, seg.ack, seg.len, seg.window);
        self.repeats = if self.previous == Some(this) { self.repeats.saturating_add(1) } else { 0 };
        self.previous = Some(this);
        self.closed_window = seg.window == 0;
        self.time(seg);
        self.settle(seg, observation.gap);
        let [original, reply] = &mut self.sides;
        let (me, peer) = if client { (original, reply) } else { (reply, original) };
        let end = seg.end();
        me.next = Some(me.next.map_or(end, |next| if end.after(next) { end } else { next }));
        me.fin = me.fin || seg.flags.has(TcpFlags::FIN);
        if seg.ttl != 0 {
            me.ttls = if me.ttls.0 == 0 { (seg.ttl, seg.ttl) } else { (me.ttls.0.min(seg.ttl), me.ttls.1.max(seg.ttl)) };
        }
        if seg.flags.has(TcpFlags::ACK) {
            // One more than before may be a FIN that was not captured.
            let one_more = me.acked.is_some_and(|acked| seg.ack == acked.plus(1));
            self.doubt = self.doubt || one_more && (peer.next.is_none() || observation.shape == Shape::AckUnseen);
            me.acked = Some(me.acked.map_or(seg.ack, |acked| if seg.ack.after(acked) { seg.ack } else { acked }));
            peer.next = peer.next.map(|next| if seg.ack.after(next) { seg.ack } else { next });
        }
    }

    /// The quickest answer that either side got.
    fn time(&mut self, seg: &Segment) {
        if let Some(asked) = self.asked[seg.dir.opposite().index()].take() {
            let took = seg.at.since(asked);
            self.quickest = Some(self.quickest.map_or(took, |quickest| quickest.min(took)));
        }
        self.asked[seg.dir.index()] = (seg.len > 0 || seg.flags.has(TcpFlags::SYN)).then_some(seg.at);
    }

    fn datagram(&mut self, seg: &Segment, observation: &Observation, before: u32) {
        // A datagram of the other side soon after the one that ended a silence is taken for its answer.
        if let Some(exchange) = self.exchange.take()
            && exchange.dir != seg.dir
            && seg.at.since(exchange.last) < Duration::from_secs(2)
            && self.told.datagrams.is_none_or(|(longest, ..)| longest < exchange.silence.idle)
        {
            self.told.datagrams = Some((exchange.silence.idle, exchange.silence.before, exchange.silence.late));
        }
        if observation.gap >= SHORTEST {
            let silence = Silence {
                idle: observation.gap,
                client: None,
                quiet: None,
                solid: observation.gap,
                slack: Duration::ZERO,
                before,
                late: seg.frame,
                file: seg.file,
                at: seg.at,
                seq: seg.seq,
            };
            self.exchange = Some(Exchange {
                dir: seg.dir,
                kind: Kind::Data,
                state: None,
                silence,
                pick_up: None,
                idle: false,
                wants: None,
                ordinal: 0,
                attempts: 1,
                last: seg.at,
                heard: false,
                gave_up: false,
                answer: None,
            });
        }
    }

    fn finish(&mut self, end: Instant) {
        let Some(exchange) = self.exchange.take() else { return };
        let waited = end.max(exchange.last).since(exchange.silence.at);
        let enough = exchange.attempts >= ATTEMPTS_MIN || exchange.gave_up && exchange.attempts >= 2;
        let spoken = self.sides.iter().all(|side| side.next.is_some());
        if exchange.wants.is_none() || exchange.answer.is_some() || exchange.heard || !enough || !spoken || waited < UNANSWERED_MIN {
            return;
        }
        // Who has closed may be gone altogether, without a word to those who come too late.
        let peer = self.side(exchange.dir.opposite());
        let expected = !peer.fin || peer.reads_on;
        match exchange.state {
            Some(state) if exchange.idle && expected => {
                let Exchange { dir, kind, silence, pick_up, attempts, last: until, .. } = exchange;
                let reaction = Reaction::Silence;
                self.told.cut = Some(Cut { state, dir, kind, silence, pick_up, reaction, answer: None, ttls: None, attempts, until });
            }
            _ if !exchange.idle => self.told.outage = Some((exchange.silence.at, exchange.last)),
            _ => {}
        }
    }
}
