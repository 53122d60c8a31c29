//! The boxes: pure step functions. A packet and a time go in; packets, and the timer that now runs, come out.
//!
//! A model must not know captures, reports, threads, a clock of its own, or real addresses: hosts are small numbers that
//! the path gives meaning to, so that a box's state stays compact.

pub mod chains;
pub mod conntrack;
pub mod deadlines;
pub mod director;
pub mod few;
pub mod idle;
pub mod ipvs;
pub mod lateness;
mod named;

use crate::net::{Proto, Segment, Seq};
use crate::time::{Duration, Instant};
use conntrack::entry::State;
use conntrack::rule::Comparison;
use serde::{Deserialize, Serialize};

/// A host as the models know it; the path says which address it stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Host(pub u8);

impl Host {
    /// The client of the flow, as the first box sees it.
    pub const CLIENT: Host = Host(0);
    /// The address that the client dials.
    pub const SERVICE: Host = Host(1);
}

/// A host and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct End {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// Source and destination of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Tuple {
    /// Where it comes from.
    pub src: End,
    /// Where it goes.
    pub dst: End,
}

impl Tuple {
    /// The tuple of an answer.
    #[must_use]
    pub const fn inverse(self) -> Tuple {
        Tuple { src: self.dst, dst: self.src }
    }
}

/// The two sides of a box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Towards the client.
    Client,
    /// Towards the server.
    Server,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// The word for it in recordings and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

/// What conntrack says of a packet (`--ctstate`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CtState {
    /// Conntrack is not in use.
    Off,
    /// The packet would start a connection, or no answer was seen yet.
    New,
    /// Packets were seen in both directions.
    Established,
    /// An ICMP error about a connection.
    Related,
    /// The packet has no entry.
    Invalid,
    /// Deliberately not tracked.
    Untracked,
}

impl CtState {
    /// The word that rules use.
    pub const fn name(self) -> &'static str {
        match self {
            CtState::Off => "off",
            CtState::New => "new",
            CtState::Established => "established",
            CtState::Related => "related",
            CtState::Invalid => "invalid",
            CtState::Untracked => "untracked",
        }
    }
}

/// What a box sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The packet that came in, with the addresses of [`Sent::tuple`].
    Packet,
    /// A RST of the box's own stack; `ack` is there where the ACK flag is set.
    Reset {
        /// Its sequence number.
        seq: Seq,
        /// Its acknowledgement, if the ACK flag is set.
        ack: Option<Seq>,
    },
    /// An ICMP error of the box's own stack, as type and code of ICMP (IPv4).
    Unreachable,
}

/// One packet that a box sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// The side on which it leaves.
    pub to: Side,
    /// Its addresses.
    pub tuple: Tuple,
    /// Its content.
    pub what: What,
    /// The conntrack verdict that it carries.
    pub ct: CtState,
}

/// Why a box kept a packet to itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DropReason {
    /// A filter rule drops INVALID packets.
    InvalidByRule,
    /// A filter rule drops NEW packets that are no SYN.
    NewWithoutSynByRule,
    /// Its addresses are taken by another entry.
    TupleClash,
    /// The tracker killed the entry and the packet with it.
    KilledOutOfSync,
    /// It was for the box itself, whose stack does not answer it.
    LocalSilence,
    /// IPVS: a SYN that reuses a closing entry that conntrack also holds.
    ReuseOfTrackedEntry,
    /// IPVS: the real server is gone.
    NoDestination,
    /// The box's own rule for packets that fit no entry.
    StrayByPolicy,
    /// The table is full.
    TableFull,
    /// IPVS: `drop_packet` takes some of the packets that would make an entry.
    UnderDefence,
}

impl DropReason {
    /// The reason in words.
    pub const fn text(self) -> &'static str {
        match self {
            DropReason::InvalidByRule => "a rule drops INVALID",
            DropReason::NewWithoutSynByRule => "a rule drops NEW without SYN",
            DropReason::TupleClash => "its addresses are taken",
            DropReason::KilledOutOfSync => "the tracker was out of step",
            DropReason::LocalSilence => "it was for the box itself, or for an address that nobody has",
            DropReason::ReuseOfTrackedEntry => "it reuses a closing entry",
            DropReason::NoDestination => "the real server is gone",
            DropReason::StrayByPolicy => "it fits no entry",
            DropReason::TableFull => "the table is full",
            DropReason::UnderDefence => "drop_packet takes some new connections",
        }
    }
}

/// Which rule set a timer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Clause {
    /// No timer yet.
    None,
    /// Conntrack: the state's own timer.
    State(State),
    /// Conntrack: the same packet was repeated `tcp_max_retrans` times.
    MaxRetrans,
    /// Conntrack: the last window announced was zero.
    ZeroWindow,
    /// Conntrack: data whose exact acknowledgement was not seen.
    Unacknowledged,
    /// Conntrack: ESTABLISHED by pick-up, no answer accepted yet.
    UnrepliedEstablished,
    /// Conntrack: a RST that did not match exactly; the state stays, the timer is that of CLOSE.
    InexactReset,
    /// Conntrack: the same in releases that set the unacknowledged timer then.
    InexactResetUnacknowledged,
    /// Conntrack: FIN or RST outside the window from both sides.
    InvalidPair,
    /// Conntrack: UDP in one direction.
    UdpUnreplied,
    /// Conntrack: UDP in both directions.
    UdpStream,
    /// IPVS: the state's own timer.
    Ipvs(ipvs::state::State),
    /// IPVS: UDP.
    IpvsUdp,
    /// A box known by its timers alone: the state's timer.
    Idle(idle::Clause),
}

/// An entry that had ended when a packet came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Lapse {
    /// When its timer had last been set.
    pub refreshed: Instant,
    /// To what.
    pub timeout: Duration,
    /// By which rule.
    pub clause: Clause,
    /// The state that the entry was in, as the box's own tools print it.
    pub state: &'static str,
}

/// What a box made of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What it sent, in order.
    pub sent: [Option<Sent>; 2],
    /// Why nothing was forwarded, where that is so.
    pub dropped: Option<DropReason>,
    /// The entry that had ended before this packet, if there was one.
    pub lapse: Option<Lapse>,
    /// Why conntrack called the packet INVALID, if it did.
    pub invalid: Option<conntrack::tracker::Invalid>,
    /// Whether this packet made a new entry.
    pub created: bool,
    /// Whether NAT had to draw a port at random.
    pub drew_port: bool,
}

impl Outcome {
    /// Nothing happened yet.
    pub const NOTHING: Outcome = Outcome { sent: [None; 2], dropped: None, lapse: None, invalid: None, created: false, drew_port: false };

    /// Adds a packet to what the box sends; a box sends at most two.
    pub fn send(&mut self, sent: Sent) {
        let free = self.sent.iter_mut().find(|slot| slot.is_none());
        debug_assert!(free.is_some(), "a box sends at most two packets for one");
        if let Some(slot) = free {
            *slot = Some(sent);
        }
    }

    /// The packet itself, if it was forwarded.
    pub fn forwarded(&self) -> Option<&Sent> {
        self.sent.iter().flatten().find(|s| s.what == What::Packet)
    }
}

/// A packet on its way through a box.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The side on which it came in.
    pub from: Side,
    /// Its addresses as it came in.
    pub tuple: Tuple,
    /// Its protocol.
    pub proto: Proto,
    /// The rest of it.
    pub seg: &'a Segment,
}

/// The moment at which a packet is handled, how precise the clock is, and what to take for true where it cannot say.
///
/// Where an entry may or may not have ended, the model asks; the answers are bits, first question lowest: 0 the entry is
/// still there, 1 it is gone. The caller sees from `asked` how often the model had to ask.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of the packet.
    pub now: Instant,
    /// How far the true clock may be from the given one, in either direction; zero for exact clocks.
    pub blur: Duration,
    /// The answers, first question in the lowest bit.
    pub answers: u8,
    /// How many questions were asked.
    pub asked: u8,
    /// The port that NAT is to take where it draws one at random, if it is free.
    pub port: Option<u16>,
    /// Whether entries are to be taken as alive whatever their timers say: packets that kept them may be missing.
    pub keep: bool,
    /// Whether an entry that had certainly ended was kept for that reason.
    pub kept: bool,
    /// The last decision that turned on the lengths of timers.
    pub comparison: Option<Comparison>,
    /// How many such decisions there were.
    pub comparisons: u8,
}

impl Moment {
    /// An exact moment, every doubt resolved in favour of the entry.
    pub const fn exact(now: Instant) -> Moment {
        Moment { now, blur: Duration::ZERO, answers: 0, asked: 0, port: None, keep: false, kept: false, comparison: None, comparisons: 0 }
    }

    /// Whether a moment that ends no entry has passed; asks where that cannot be known.
    pub fn has_passed(&mut self, at: Instant) -> bool {
        if self.now + self.blur <= at {
            false
        } else if self.now > at + self.blur {
            true
        } else {
            self.ask()
        }
    }

    /// Notes a decision that turned on the lengths of timers.
    pub(crate) fn compared(&mut self, comparison: Comparison) {
        self.comparison = Some(comparison);
        self.comparisons = self.comparisons.saturating_add(1);
    }

    fn ask(&mut self) -> bool {
        let answer = self.answers >> self.asked.min(7) & 1 == 1;
        self.asked = self.asked.saturating_add(1);
        answer
    }

    /// Whether something that ends between `earliest` and `latest` has ended; asks where that cannot be known.
    pub fn has_ended(&mut self, earliest: Instant, latest: Instant) -> bool {
        if self.now + self.blur < earliest {
            false
        } else if self.keep {
            self.kept = true;
            false
        } else if self.now >= latest + self.blur {
            true
        } else {
            self.ask()
        }
    }
}
