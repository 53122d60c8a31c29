//! What became of a flow: what each side was told and when, and which box forgot it by which timer.

use crate::endpoint::{Errno, State};
use crate::model::{Clause, DropReason, Lapse};
use crate::time::{Duration, Instant};

/// How a side ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The connection never opened, and nobody said why before the run ended.
    NeverOpened,
    /// It still believes that it is connected; the state says how.
    StillOpen(State),
    /// Both directions were closed in order.
    Closed(Instant),
    /// It aborted.
    Aborted(Instant),
    /// The system reported an error.
    Failed(Errno, Instant),
    /// The application gave up by a timer of its own.
    GaveUp(&'static str, Instant),
    /// Its host died.
    Died(Instant),
}

/// One side's story.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SideOutcome {
    /// When the connection was open for it.
    pub opened: Option<Instant>,
    /// Bytes that its application wrote.
    pub written: u64,
    /// Bytes that its application read.
    pub delivered: u64,
    /// When it last read some.
    pub last_delivery: Option<Instant>,
    /// When the peer's close was seen.
    pub eof: Option<Instant>,
    /// Whether bytes that it wrote were never acknowledged when it ended.
    pub unacknowledged: bool,
    /// How it ended.
    pub end: End,
}

impl SideOutcome {
    /// Nothing happened yet.
    pub const NOTHING: SideOutcome = SideOutcome {
        opened: None,
        written: 0,
        delivered: 0,
        last_delivery: None,
        eof: None,
        unacknowledged: false,
        end: End::NeverOpened,
    };

    /// When it ended, if it did.
    pub const fn ended_at(&self) -> Option<Instant> {
        match self.end {
            End::Closed(at) | End::Aborted(at) | End::Failed(_, at) | End::GaveUp(_, at) | End::Died(at) => Some(at),
            End::NeverOpened | End::StillOpen(_) => None,
        }
    }
}

/// An entry of a box that ended while the flow was not over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// Which box, from 0.
    pub hop: usize,
    /// When the entry's timer had last been set.
    pub refreshed: Instant,
    /// To what.
    pub timeout: Duration,
    /// When it ended.
    pub at: Instant,
    /// By which rule.
    pub clause: Clause,
    /// In which state, as the box's tools print it.
    pub state: &'static str,
    /// When a packet first met the gap.
    pub noticed: Option<Instant>,
    /// Whether that packet came from the client.
    pub by_client: bool,
    /// What became of that packet.
    pub fate: Met,
}

impl Forgotten {
    /// The timer that ended it.
    pub const fn lapse(&self) -> Lapse {
        Lapse { refreshed: self.refreshed, timeout: self.timeout, clause: self.clause, state: self.state }
    }
}

/// What became of a packet that met no entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Met {
    /// No packet came.
    Nobody,
    /// The box made a new entry and the packet passed as before.
    Repicked,
    /// It passed without an entry, with addresses that the other side may not know.
    Passed,
    /// The box dropped it.
    Dropped(DropReason),
    /// The box's own stack reset its sender.
    Reset,
    /// The box answered it with an ICMP error.
    Unreachable,
    /// No timer ended it: a full table took it to make room, or `drop_entry` did.
    Evicted,
}

impl Met {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Met::Nobody => "nobody",
            Met::Repicked => "repicked",
            Met::Passed => "passed",
            Met::Dropped(_) => "dropped",
            Met::Reset => "reset",
            Met::Unreachable => "unreachable",
            Met::Evicted => "evicted",
        }
    }
}

/// What the boxes' forgetting came to for a flow; the later, the worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Toll {
    /// No box forgot it while it lived.
    Kept,
    /// An entry ended, and the next packet made a new one.
    Repicked,
    /// An entry ended, and no packet has found out.
    Unnoticed,
    /// A full table took its entry.
    Evicted,
    /// An entry ended, and a packet was lost, refused, or let through to where nobody knows it.
    Lost,
}

impl Toll {
    /// How many there are.
    pub const COUNT: usize = 5;
}

impl Forgotten {
    /// What it came to.
    pub const fn toll(&self) -> Toll {
        match self.fate {
            Met::Repicked => Toll::Repicked,
            Met::Nobody => Toll::Unnoticed,
            Met::Evicted => Toll::Evicted,
            Met::Passed | Met::Dropped(_) | Met::Reset | Met::Unreachable => Toll::Lost,
        }
    }
}

/// One flow's story.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The client's and the server's.
    pub sides: [SideOutcome; 2],
    /// Entries that ended, in order.
    pub forgotten: Vec<Forgotten>,
    /// Packets that boxes dropped.
    pub dropped: u32,
    /// Packets that links lost.
    pub lost: u32,
    /// Packets that hosts and boxes sent.
    pub packets: u32,
    /// Timers that fired and packets that reached a box or a host.
    pub events: u64,
    /// When the last thing happened.
    pub last: Instant,
    /// Whether the run was stopped because too much happened.
    pub stopped: bool,
    /// Whether somebody stopped it: this is what had come until then.
    pub interrupted: bool,
}

impl Outcome {
    /// The entry that cost the flow the most: the first of the worst.
    pub fn worst(&self) -> Option<&Forgotten> {
        self.forgotten.iter().fold(None, |worst: Option<&Forgotten>, next| match worst {
            Some(worst) if worst.toll() >= next.toll() => Some(worst),
            _ => Some(next),
        })
    }

    /// What the boxes' forgetting came to.
    pub fn toll(&self) -> Toll {
        self.worst().map_or(Toll::Kept, Forgotten::toll)
    }

    /// Nothing happened yet.
    pub const fn nothing() -> Outcome {
        Outcome {
            sides: [SideOutcome::NOTHING; 2],
            forgotten: Vec::new(),
            dropped: 0,
            lost: 0,
            packets: 0,
            events: 0,
            last: Instant::ZERO,
            stopped: false,
            interrupted: false,
        }
    }
}
