//! The words of a forecast: what becomes of a connection, what its ends do, and when they learn of it.

use crate::inventory::At;
use crate::net::{Proto, Sock};
use crate::time::Duration;

/// Whose entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// IPVS's.
    Ipvs,
    /// Connection tracking's.
    Conntrack,
}

impl Table {
    /// Both.
    pub const ALL: [Table; 2] = [Table::Ipvs, Table::Conntrack];

    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Ipvs => "ipvs",
            Table::Conntrack => "conntrack",
        }
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Its sockets live and the box has no entry for them.
    Forgotten,
    /// Its entry ends before either end says anything.
    AtRisk,
    /// Whether an end speaks in time cannot be known.
    Unknown,
    /// It is forgotten, and picked up again with the next packet.
    PickedUp,
    /// An end speaks in time.
    Protected,
    /// It is being opened or closed; its end is no loss.
    Closing,
}

impl Class {
    /// Every class, worst first.
    pub const ALL: [Class; 6] = [Class::Forgotten, Class::AtRisk, Class::Unknown, Class::PickedUp, Class::Protected, Class::Closing];

    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Forgotten => "forgotten",
            Class::AtRisk => "at-risk",
            Class::Unknown => "unknown",
            Class::PickedUp => "picked-up",
            Class::Protected => "protected",
            Class::Closing => "closing",
        }
    }
}

/// What makes an end speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Voice {
    /// Its keepalive timer.
    Keepalive,
    /// Its keepalive timer, with an idle time of the program's own, as the timers of its sockets show.
    OwnKeepalive,
    /// Data that nobody acknowledged.
    Retransmission,
    /// A window of zero that it asks about.
    Persist,
    /// The keepalive that was given for both ends.
    Assumed,
}

/// When an end speaks: not before the first, not after the second, counted from the dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speaks {
    /// What makes it.
    pub voice: Voice,
    /// The earliest.
    pub earliest: Duration,
    /// The latest.
    pub latest: Duration,
}

/// What is known of one end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Its sockets were not shown, or this one is not among them.
    NotShown,
    /// Its socket has no timer: it says nothing by itself.
    Silent,
    /// It speaks by itself.
    Speaks(Speaks),
}

/// When an end learns that it was forgotten, counted from the dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Nobody knows what it does.
    NotShown,
    /// Not before it writes.
    Never,
    /// By a reset, with its next packet.
    Reset(Duration, Duration),
    /// When its packets go unanswered for long enough.
    TimesOut(Duration, Duration),
    /// It does not: its packet is picked up.
    Heals,
}

/// The lot of one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fate<'a> {
    /// Whose entry it is, or whose it should be.
    pub table: Table,
    /// Its protocol.
    pub proto: Proto,
    /// The client, as the box sees it.
    pub client: Sock,
    /// The address that it talks to.
    pub server: Sock,
    /// The real server behind it, where it is another address.
    pub real: Option<Sock>,
    /// The entry's state, or the socket's where there is no entry.
    pub state: &'a str,
    /// How long until its entry ends, in whole seconds rounded down.
    pub left: Option<Duration>,
    /// What becomes of it.
    pub class: Class,
    /// Client and server.
    pub ends: [End; 2],
    /// When each of them notices; of those at risk and forgotten.
    pub notices: [Notice; 2],
    /// Whether it runs a shorter timer than its state's, or is close to the end of a long silence.
    pub capped: bool,
    /// What else is to be said.
    pub remark: &'static str,
    /// Where the entry, or the socket, stands.
    pub at: &'a At,
}
