//! What one flow can say about a box: a packet that came too late, and silences that were lived through.
//!
//! Only what was captured is written down here, with its frames; what it means together with other flows is the pool's to say.

use crate::net::{Direction, Seq};
use crate::time::{Duration, Instant};

/// In which state the box must have had the flow when the silence began. Boxes have a timer for each, so they are never mixed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// Open, and everything that was sent had been acknowledged.
    Established,
    /// Open, with bytes that nobody had acknowledged, repetitions, or a closed window: conntrack has shorter timers for these.
    Outstanding,
    /// The client had sent a FIN, the server had not.
    ClientClosed,
    /// The server had sent a FIN, the client had not.
    ServerClosed,
}

impl State {
    /// Every state.
    pub const ALL: [State; 4] = [State::Established, State::Outstanding, State::ClientClosed, State::ServerClosed];

    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            State::Established => "established",
            State::Outstanding => "established-unacknowledged",
            State::ClientClosed => "half-closed-by-client",
            State::ServerClosed => "half-closed-by-server",
        }
    }
}

/// What kind of packet ended a silence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Payload.
    Data,
    /// A keepalive probe.
    Probe,
    /// An acknowledgement without payload.
    Ack,
    /// A FIN. Boxes that pick up data in mid-stream do not pick up a FIN, so it is a kind of its own.
    Fin,
    /// A reset that nobody had asked for.
    Reset,
}

impl Kind {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Data => "data",
            Kind::Probe => "keepalive probe",
            Kind::Ack => "ACK",
            Kind::Fin => "FIN",
            Kind::Reset => "RST",
        }
    }
}

/// What the packet after the silence met.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reaction {
    /// A reset that was not born where the other end's packets are born.
    BoxReset,
    /// A reset of somebody who knows no such connection; by its TTL it may be the other end itself.
    StrangerReset,
    /// An ICMP error that refuses it.
    Refused,
    /// No answer, however often it was repeated.
    Silence,
    /// Nobody sent it: a reset that was not born where the other end's packets are born came out of the silence.
    Spontaneous,
}

impl Reaction {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Reaction::BoxReset => "reset-by-box",
            Reaction::StrangerReset => "reset-by-stranger",
            Reaction::Refused => "refused",
            Reaction::Silence => "silence",
            Reaction::Spontaneous => "reset-at-expiry",
        }
    }

    /// Whether it shows that packets of its kind are refused when the entry is gone. A stranger's reset does not: the other
    /// end may have lost the connection while the box was picking up whatever came.
    pub const fn shows_refusal(self) -> bool {
        !matches!(self, Reaction::StrangerReset)
    }
}

/// A silence, measured in every way in which a box may measure it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silence {
    /// Since the last packet, whichever way it went.
    pub idle: Duration,
    /// Since the last packet of the client: what a director sees that the answers bypass.
    pub client: Option<Duration>,
    /// The same without keepalives, and no shorter than since the last payload of either side: what a box that does not count
    /// keepalives measures, at most.
    pub quiet: Option<Duration>,
    /// Since the last packet of either side that was no keepalive: how long the flow lived on keepalives alone.
    pub solid: Duration,
    /// By how much the box may have measured something else than the capture: a round trip, a tick, and the drift of clocks.
    pub slack: Duration,
    /// The frame before it.
    pub before: u32,
    /// The frame after it.
    pub late: u32,
    /// The input that holds both.
    pub file: u16,
    /// The time of the frame after it.
    pub at: Instant,
    /// The sequence number of the frame after it.
    pub seq: Seq,
}

/// A box that picks up what it does not know may have made the entry anew, and not have seen enough to give it its full timer:
/// conntrack keeps it for 300 s at most until something follows the first answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PickUp {
    /// The longest of the silences after which that may have been; the longest time that there is where the capture began later.
    pub after: Duration,
    /// Whether a packet of the client and one of the server may have been picked up.
    pub by: [bool; 2],
}

/// A packet that did not come through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The flow's state in the silence.
    pub state: State,
    /// Which way the packet went.
    pub dir: Direction,
    /// What it was.
    pub kind: Kind,
    /// The silence before it.
    pub silence: Silence,
    /// Whether the entry may have been made anew shortly before.
    pub pick_up: Option<PickUp>,
    /// What it met.
    pub reaction: Reaction,
    /// The frame of the reset or the error.
    pub answer: Option<u32>,
    /// TTLs of the other end's packets, and of the reset.
    pub ttls: Option<(u8, u8)>,
    /// How often the packet, or another one after it, was sent.
    pub attempts: u32,
    /// When the last of them was sent.
    pub until: Instant,
}

/// A packet that came through, and was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Survival {
    /// The flow's state in the silence.
    pub state: State,
    /// Which way the packet went.
    pub dir: Direction,
    /// What it was.
    pub kind: Kind,
    /// The silence before it.
    pub silence: Silence,
}

/// What is kept of a flow.
#[derive(Clone, Debug, Default)]
pub struct Testimony {
    /// The packet that did not come through, if there was one.
    pub cut: Option<Cut>,
    /// The longest silences that were lived through, by state, direction and kind; for each also the one that was lived through
    /// longest on keepalives.
    pub survivals: Vec<Survival>,
    /// From when to when nothing was answered although there had been no silence before: then others' silence proves nothing.
    pub outage: Option<(Instant, Instant)>,
    /// Holes in the capture that lay where a silence was.
    pub holes: u32,
    /// Resets after a silence that the other end sent itself, as far as its TTL and flags tell.
    pub own_resets: u32,
    /// FINs after a silence: an application's own timer.
    pub own_fins: u32,
    /// UDP: the longest silence after which both sides spoke.
    pub datagrams: Option<(Duration, u32, u32)>,
}

impl Testimony {
    /// Keeps a survival if it is the longest of its kind, by either measure.
    pub(super) fn survived(&mut self, survival: Survival) {
        let alike = |s: &Survival| (s.state, s.dir, s.kind) == (survival.state, survival.dir, survival.kind);
        let beaten =
            |measure: fn(&Survival) -> Duration| self.survivals.iter().filter(|s| alike(s)).all(|s| measure(s) < measure(&survival));
        let idle = |s: &Survival| s.silence.idle;
        let solid = |s: &Survival| s.silence.solid;
        if beaten(idle) || beaten(solid) {
            self.survivals.push(survival);
            // Only the best by each measure stay.
            let best = |measure: fn(&Survival) -> Duration| {
                self.survivals.iter().filter(|s| alike(s)).max_by_key(|s| measure(s)).map(|s| s.silence.late)
            };
            let keep = [best(idle), best(solid)];
            self.survivals.retain(|s| !alike(s) || keep.contains(&Some(s.silence.late)));
        }
    }
}
