//! The open loop: the captured segments of one flow are led through the path until the first cut.
//!
//! After a cut the capture shows what would not have been sent, so nothing more is judged.

use super::hop::HopState;
use super::lives::{Entries, Lives};
use super::path::{Clock, Path};
use super::profile::{Profile, Spell};
use super::told::{Told, heard, ordinal};
use crate::flow::{Closing, Flow, GapEvidence, Observation, Opening, Shape};
use crate::kernel::wheel::{Hz, Phase};
use crate::model::conntrack::rule::Comparison;
use crate::model::{DropReason, Lapse, Moment, Outcome, Packet, Side, Tuple, What};
use crate::net::{Direction, Proto, Segment, TcpFlags};
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// What became of the packet that came too late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// It disappeared.
    Dropped(DropReason),
    /// It disappeared and its sender got a reset.
    Reset,
    /// It disappeared and its sender got an ICMP error.
    Unreachable,
    /// It left with addresses that its receiver does not know.
    Leaked,
}

/// A packet that came after an entry had ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Late {
    /// Which box, from the client.
    pub hop: u8,
    /// The entry's end.
    pub lapse: Lapse,
    /// When the packet came.
    pub at: Instant,
    /// Its frame.
    pub frame: u32,
    /// Its file.
    pub file: u16,
    /// Its place among the flow's segments.
    pub ordinal: u32,
    /// The frame of the flow's previous packet.
    pub before: u32,
    /// Which way it went.
    pub dir: Direction,
    /// Its payload bytes.
    pub len: u32,
    /// Its flags.
    pub flags: TcpFlags,
    /// Whether it was a keepalive probe.
    pub probe: bool,
    /// What is known about the silence before it.
    pub evidence: GapEvidence,
    /// Whether the box made a new entry for it.
    pub picked_up: bool,
}

impl Late {
    /// How long the entry had been idle.
    pub fn idle(&self) -> Duration {
        self.at.since(self.lapse.refreshed)
    }
}

/// A flow that the clock cannot decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Doubt {
    /// The packet in question.
    pub late: Late,
    /// The chance that its entry had ended, 0 to 1000.
    pub permille: u16,
    /// What becomes of the packet if it had.
    pub fate: Fate,
}

/// One box's part of a flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HopRun {
    /// What the box remembers.
    pub state: HopState,
    /// The frame that last renewed the timer.
    pub(super) renewed_by: u32,
    /// Whether packets are missing from the capture since then.
    pub(super) hole_since: bool,
    /// The lives of its entries, where they are asked for.
    pub lives: Option<Box<Lives>>,
}

/// A flow on its way through a path. Parts of archives have it written out, with all that it holds: another field is another number
/// in `archive::state`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowRun {
    /// Each box's part.
    pub hops: Box<[HopRun]>,
    /// The longest spells under each timer.
    pub profile: Profile,
    /// The first packet that did not get through because an entry had ended, and its fate.
    pub cut: Option<Box<(Late, Fate)>>,
    /// The first packet that got through although an entry had ended, because the box took the flow up again.
    pub repaired: Option<Box<Late>>,
    /// How many such packets there were.
    pub repairs: u32,
    /// The first packet whose fate the clock cannot decide.
    pub doubt: Option<Box<Doubt>>,
    /// The first packet that would have been late if the silence before it were real.
    pub hole: Option<Box<Late>>,
    /// Packets that a box kept for itself for other reasons than a timer.
    pub blocked: u32,
    /// Packets that conntrack called INVALID.
    pub invalid: u32,
    /// Whether the flow was over before this point.
    pub(super) over: bool,
    /// The last RST: which way it went, and when.
    pub(super) reset: Option<(Direction, Instant)>,
}

/// What stays the same for all flows.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'p> {
    /// The path.
    pub path: &'p Path,
    /// How far the clock may be off.
    blur: Duration,
    /// The tick grid, where its phase is known.
    phase: Option<Phase>,
    /// Whether the lives of entries are noted.
    counts_lives: bool,
    /// Whether every entry lives for ever: what the timers would have had to bear is noted, and nothing is cut.
    immortal: bool,
}

/// What there was of a flow before its first segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Beginning {
    /// Nothing: its beginning was seen.
    Seen,
    /// Its SYN: the answer to it is the first segment.
    JustBefore,
    /// A connection that was open.
    LongBefore,
}

impl Beginning {
    /// What each box of a path remembers of the flow just before its first segment.
    pub fn states<'p>(
        self,
        path: &'p Path,
        proto: Proto,
        [client, server]: [u16; 2],
        seg: &'p Segment,
    ) -> impl Iterator<Item = HopState> + use<'p> {
        let mut tuple = Path::from_client(client, server);
        path.hops.iter().map(move |hop| {
            let state = match self {
                Beginning::Seen => hop.empty(),
                Beginning::JustBefore => hop.opened(tuple, seg),
                Beginning::LongBefore => hop.adopted(proto, tuple, seg),
            };
            tuple = onward(hop, tuple);
            state
        })
    }
}

/// The decisions of one packet that turned on the lengths of timers: the last one with its box, and how many there were.
#[derive(Clone, Copy, Default, Debug)]
pub struct Compared {
    /// The box, from the client, and the decision.
    pub last: Option<(usize, Comparison)>,
    /// How many.
    pub count: u32,
}

/// Somebody who watches what each box makes of a segment. Watching changes nothing.
pub trait Witness {
    /// A box did this with the segment that is under way.
    fn box_did(&mut self, _hop: usize, _outcome: &Outcome) {}
}

/// Nobody watches.
impl Witness for () {}

impl<'p> Replay<'p> {
    /// Prepares a replay through a path.
    pub fn new(path: &'p Path) -> Replay<'p> {
        let (blur, phase) = match path.clock {
            Clock::Ideal => (Duration::ZERO, None),
            Clock::Wheel { phase: Some(phase), .. } => (Duration::ZERO, Some(phase)),
            Clock::Wheel { hz: Hz(hz), phase: None } => (Hz(hz).tick(), None),
        };
        Replay { path, blur, phase, counts_lives: false, immortal: false }
    }

    /// The same, noting the lives of entries.
    #[must_use]
    pub const fn counting_lives(self) -> Replay<'p> {
        Replay { counts_lives: true, ..self }
    }

    /// The same with entries that never end: the profile then holds what each timer had to bear while the flow was open.
    #[must_use]
    pub const fn immortal(self) -> Replay<'p> {
        Replay { immortal: true, ..self }
    }

    /// The time at which a packet is judged: the tick that it falls into, where that is known.
    pub fn judged_at(&self, at: Instant) -> Instant {
        self.phase.map_or(at, |p| p.instant_of(p.tick_at(at)))
    }

    /// Whether entries live for ever.
    pub(super) const fn is_immortal(&self) -> bool {
        self.immortal
    }

    /// How far the clock may be off.
    pub const fn blur(&self) -> Duration {
        self.blur
    }

    /// How a flow begins: with nothing, with a SYN that was sent before the capture began, or in the middle.
    pub fn beginning(flow: &Flow, seg: &Segment) -> Beginning {
        let syn_ack = flow.proto() == Proto::Tcp && seg.flags.has(TcpFlags::SYN | TcpFlags::ACK);
        if flow.proto() == Proto::Udp || flow.opening() != Opening::Midstream && !syn_ack {
            Beginning::Seen
        } else if syn_ack {
            Beginning::JustBefore
        } else {
            Beginning::LongBefore
        }
    }

    /// Begins a flow with its first segment.
    pub fn begin(&self, flow: &Flow, seg: &Segment) -> FlowRun {
        let beginning = Replay::beginning(flow, seg);
        let states = beginning.states(self.path, flow.proto(), flow.ports(), seg);
        let hops = self.path.hops.iter().zip(states).map(|(hop, state)| {
            let lives = self.counts_lives.then(|| Box::new(Lives::begun(hop.entries(&state), seg.at)));
            HopRun { state, renewed_by: seg.frame, hole_since: false, lives }
        });
        FlowRun { hops: hops.collect(), ..FlowRun::blank() }
    }

    /// Leads one segment through the path. `observation` is what the flow said of it.
    pub fn segment(&self, run: &mut FlowRun, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) -> Compared {
        let mut profile = std::mem::take(&mut run.profile);
        let told = Told { flow, seg, observation, previous_frame };
        let compared = if !run.is_told(&mut profile, flow, observation) || self.passes(run, &mut profile, &told) {
            Compared::default()
        } else {
            self.lead(run, &mut profile, &told, &mut ())
        };
        run.profile = profile;
        compared
    }

    /// The same with somebody who watches.
    pub fn witnessed(
        &self,
        run: &mut FlowRun,
        flow: &Flow,
        seg: &Segment,
        observation: &Observation,
        previous_frame: u32,
        witness: &mut impl Witness,
    ) -> Compared {
        let mut profile = std::mem::take(&mut run.profile);
        let goes_on = run.is_told(&mut profile, flow, observation);
        let told = Told { flow, seg, observation, previous_frame };
        let compared = if goes_on { self.lead(run, &mut profile, &told, witness) } else { Compared::default() };
        run.profile = profile;
        compared
    }

    /// Leads a segment through the path that is to go through it, as [`FlowRun::is_told`] says.
    pub(super) fn lead(&self, run: &mut FlowRun, profile: &mut Profile, told: &Told<'_>, witness: &mut impl Witness) -> Compared {
        let Told { flow, seg, observation, previous_frame } = *told;
        let mut compared = Compared::default();
        run.notice_life(flow, seg);
        let [client_port, server_port] = flow.ports();
        let mut tuple = match seg.dir {
            Direction::Original => Path::from_client(client_port, server_port),
            Direction::Reply => self.path.from_server(client_port, server_port),
        };
        let goal = match seg.dir {
            Direction::Original => self.path.from_server(client_port, server_port).inverse(),
            Direction::Reply => Path::from_client(client_port, server_port).inverse(),
        };
        // The flow has counted the segment already.
        let ordinal = ordinal(flow);
        let open = told.is_open();
        let now = self.judged_at(seg.at);
        let proto = flow.proto();
        let count = self.path.hops.len();
        let (mut late, mut hint): (Option<Late>, usize) = (None, usize::MAX);
        for step in 0..count {
            let index = if seg.dir == Direction::Original { step } else { count - 1 - step };
            let hop = &self.path.hops[index];
            if seg.dir == Direction::Reply && !hop.sees_replies() {
                continue;
            }
            let part = &mut run.hops[index];
            let seen = told.evidence_for(hop.sees_replies());
            part.hole_since |= seen == GapEvidence::Hole;
            let evidence = if part.hole_since { GapEvidence::Hole } else { seen };
            let running = hop.running_timer(&part.state, tuple);
            let found = running.map(|(lapse, _)| lapse);
            if let Some((found, timer)) = running.filter(|_| !(self.immortal && run.over)) {
                let spell = Spell { idle: now.since(found.refreshed), before: part.renewed_by, after: seg.frame, evidence };
                profile.note(index, timer, spell, open, &mut hint);
            }
            let mut moment = Moment { blur: self.blur, keep: self.immortal || part.hole_since && !run.over, ..Moment::exact(now) };
            let from = if seg.dir == Direction::Original { Side::Client } else { Side::Server };
            let packet = Packet { from, tuple, proto, seg };
            // Only where the clock cannot decide is the other possibility played through as well.
            let doubtful = !run.over && run.doubt.is_none() && found.is_some_and(|f| self.is_doubtful(hop, f, now));
            let untouched = doubtful.then(|| part.state.clone());
            let entries = part.lives.is_some().then(|| Entries::of(hop, &part.state));
            let outcome = hop.packet(&mut part.state, packet, &mut moment);
            witness.box_did(index, &outcome);
            if let (Some(lives), Some(before)) = (&mut part.lives, entries) {
                let after = hop.entries(&part.state);
                if outcome.lapse.is_some() || before.count != after {
                    lives.packet(now, after, outcome.lapse.and_then(|lapse| before.place_of(&lapse)));
                }
            }
            if let Some(comparison) = moment.comparison {
                compared.last = Some((index, comparison));
                compared.count += u32::from(moment.comparisons);
            }
            let otherwise = untouched.map(|mut state| hop.packet(&mut state, packet, &mut Moment { answers: u8::MAX, asked: 0, ..moment }));
            if hop.running(&part.state, tuple).is_some_and(|r| r.refreshed == now) {
                part.renewed_by = seg.frame;
                part.hole_since = false;
            }
            run.invalid += u32::from(outcome.invalid.is_some());
            let tell = |lapse| Late { ordinal, evidence, ..late_packet(index, lapse, seg, observation, previous_frame) };
            if !run.over {
                if moment.kept && !self.immortal && run.hole.is_none() {
                    run.hole = found.map(|f| Box::new(tell(f)));
                }
                if let (true, Some(f), Some(gone)) = (moment.asked > 0, found, otherwise) {
                    // Taken up again with the same addresses, the flow notices no difference.
                    if gone.forwarded().map(|s| s.tuple) != outcome.forwarded().map(|s| s.tuple) {
                        let permille = chance(hop.lateness().fires(f.refreshed, f.timeout), now);
                        run.doubt = Some(Box::new(Doubt { late: tell(f), permille, fate: fate_of(&gone) }));
                    }
                }
            }
            // Where several entries had ended, the packet's fate is the doing of the last box that it reached.
            if let Some(lapse) = outcome.lapse.filter(|_| !run.over) {
                late = Some(Late { picked_up: outcome.created, ..tell(lapse) });
            }
            match outcome.forwarded() {
                Some(sent) if expected_side(sent.to, seg.dir) => tuple = sent.tuple,
                _ => {
                    run.not_forwarded(late, fate_of(&outcome));
                    return compared;
                }
            }
        }
        if tuple != goal {
            run.not_forwarded(late, Fate::Leaked);
            return compared;
        }
        if let Some(late) = late {
            run.repairs += 1;
            run.repaired.get_or_insert_with(|| Box::new(late));
        }
        run.over = flow.closing() == Closing::Fin || run.reset.is_some();
        compared
    }

    /// Whether the clock leaves open if a timer has fired.
    fn is_doubtful(&self, hop: &super::hop::Hop, timer: Lapse, now: Instant) -> bool {
        if self.path.clock == Clock::Ideal || now + self.blur < timer.refreshed + timer.timeout {
            return false;
        }
        let (earliest, latest) = hop.lateness().fires(timer.refreshed, timer.timeout);
        now + self.blur >= earliest && now < latest + self.blur
    }

    /// Whether a packet of the given direction would get through at `now`, which nobody sent: for the flows that are silent at
    /// the end of the capture.
    pub fn would_pass(&self, run: &FlowRun, flow: &Flow, dir: Direction, now: Instant) -> Result<(), (u8, Lapse, Fate)> {
        let mut copy = run.clone();
        let seg = Segment { at: now, flags: TcpFlags(TcpFlags::ACK), dir, window: 1, len: 1, ..Segment::EMPTY };
        let observation = Observation { gap: Duration::ZERO, evidence: GapEvidence::Censored, shape: Shape::Datagram, revises: None };
        copy.over = false;
        copy.doubt = None;
        self.segment(&mut copy, flow, &seg, &observation, flow.last_frame);
        match copy.cut.as_deref() {
            Some((late, fate)) => Err((late.hop, late.lapse, *fate)),
            None => Ok(()),
        }
    }

    /// The timers that run at each box when the capture ends, as seen from the client.
    pub fn running<'r>(&self, run: &'r FlowRun, flow: &Flow) -> impl Iterator<Item = (u8, Lapse)> + use<'r, 'p> {
        let mut tuple = {
            let [client, server] = flow.ports();
            Path::from_client(client, server)
        };
        let path = self.path;
        run.hops.iter().enumerate().filter_map(move |(index, part)| {
            let hop = &path.hops[index];
            let found = hop.running(&part.state, tuple);
            tuple = onward(hop, tuple);
            found.map(|f| (index as u8, f))
        })
    }
}

impl FlowRun {
    /// A flow that crossed no box and of which nothing is known.
    pub(super) fn blank() -> FlowRun {
        FlowRun {
            hops: Box::default(),
            profile: Profile::default(),
            cut: None,
            repaired: None,
            repairs: 0,
            doubt: None,
            hole: None,
            blocked: 0,
            invalid: 0,
            over: false,
            reset: None,
        }
    }

    /// Takes from a segment only what it says about an earlier silence.
    pub fn observed(&mut self, observation: &Observation) {
        if let Some(revision) = observation.revises {
            self.profile.revise(revision.evidence);
            self.revise(revision.ordinal, revision.evidence);
        }
    }

    /// Takes from a segment what it says about earlier silences, and says whether it is to go through the boxes: not after a cut,
    /// and a packet that the capture point saw twice crossed them once.
    #[inline]
    pub(super) fn is_told(&mut self, profile: &mut Profile, flow: &Flow, observation: &Observation) -> bool {
        if let Some(revision) = observation.revises {
            self.revise(revision.ordinal, revision.evidence);
        }
        heard(profile, flow, observation);
        self.cut.is_none() && observation.shape != Shape::Duplicate
    }

    fn not_forwarded(&mut self, late: Option<Late>, fate: Fate) {
        if let Some(late) = late {
            self.cut = Some(Box::new((late, fate)));
        } else {
            self.blocked += 1;
        }
    }

    /// Keeps track of whether a RST was the end. One that does not match exactly is answered with a challenge ACK and changes
    /// nothing (RFC 5961), so whoever still speaks a second after having received one has survived it; what comes earlier may have
    /// been on its way already.
    fn notice_life(&mut self, flow: &Flow, seg: &Segment) {
        const IN_FLIGHT: Duration = Duration::from_secs(1);
        if flow.proto() == Proto::Udp {
            return;
        }
        if seg.flags.has(TcpFlags::RST) {
            self.reset = Some((seg.dir, seg.at));
        } else if !seg.flags.has(TcpFlags::SYN)
            && self.reset.is_some_and(|(dir, at)| seg.dir == dir.opposite() && seg.at.since(at) > IN_FLIGHT)
        {
            self.reset = None;
            self.over = flow.closing() == Closing::Fin;
        }
    }

    fn revise(&mut self, ordinal: u32, evidence: GapEvidence) {
        let FlowRun { cut, repaired, hole, doubt, .. } = self;
        revise((cut, repaired, hole, doubt), ordinal, evidence);
    }

    /// Nothing more is to be said of it: it is not asked whether it would get through at the end.
    pub(super) fn leave(&mut self) {
        self.over = true;
    }

    /// Whether the connection was closed or reset before the last segment that was judged.
    pub fn is_over(&self) -> bool {
        self.over
    }
}

/// The packets of a flow that came too late, as [`FlowRun`] has them: the cut, the repaired, that in a hole, and the doubt.
type Lates<'r> = (&'r mut Option<Box<(Late, Fate)>>, &'r mut Option<Box<Late>>, &'r mut Option<Box<Late>>, &'r mut Option<Box<Doubt>>);

/// What is now known of the silence before the segment of a place among the flow's segments, where a late packet is that one.
pub(super) fn revise((cut, repaired, hole, doubt): Lates<'_>, ordinal: u32, evidence: GapEvidence) {
    let cut = cut.as_mut().map(|cut| &mut cut.0);
    let doubt = doubt.as_mut().map(|doubt| &mut doubt.late);
    let lates = [cut, repaired.as_deref_mut(), hole.as_deref_mut(), doubt];
    for late in lates.into_iter().flatten().filter(|late| late.ordinal == ordinal) {
        late.evidence = evidence;
    }
}

fn late_packet(hop: usize, lapse: Lapse, seg: &Segment, observation: &Observation, before: u32) -> Late {
    Late {
        hop: hop as u8,
        lapse,
        at: seg.at,
        frame: seg.frame,
        file: seg.file,
        ordinal: 0,
        before,
        dir: seg.dir,
        len: seg.len,
        flags: seg.flags,
        probe: observation.shape == Shape::KeepaliveProbe,
        evidence: observation.evidence,
        picked_up: false,
    }
}

/// The addresses behind a box, once a connection is set up.
fn onward(hop: &super::hop::Hop, tuple: Tuple) -> Tuple {
    use super::hop::Device;
    use crate::model::conntrack::router::Nat;
    use crate::model::ipvs::Method;
    let mut tuple = tuple;
    match &hop.device {
        Device::Router(r) if r.nat == Nat::Masquerade => tuple.src.host = r.place.far,
        Device::Router(r) if r.nat == Nat::Dnat => tuple.dst.host = r.place.real,
        Device::Director(d) if d.ipvs.method == Method::Masq => tuple.dst.host = d.place.real,
        _ => {}
    }
    tuple
}

fn expected_side(side: Side, dir: Direction) -> bool {
    side == if dir == Direction::Original { Side::Server } else { Side::Client }
}

fn fate_of(outcome: &Outcome) -> Fate {
    if let Some(sent) = outcome.sent.iter().flatten().next() {
        return match sent.what {
            What::Reset { .. } => Fate::Reset,
            What::Unreachable => Fate::Unreachable,
            What::Packet => Fate::Leaked,
        };
    }
    Fate::Dropped(outcome.dropped.unwrap_or(DropReason::LocalSilence))
}

/// How likely it is that a timer which fires somewhere between two instants has fired.
fn chance((earliest, latest): (Instant, Instant), now: Instant) -> u16 {
    let width = latest.since(earliest).0;
    if width == 0 { 500 } else { (u128::from(now.since(earliest).0) * 1000 / u128::from(width)).min(1000) as u16 }
}
