//! The timers of a box by number: which one an entry runs on does not depend on how long it is.
//!
//! Here the kinds of boxes meet on the terms that a study of many policies needs: the entries that a flow has at a box, when
//! each was last renewed and by which timer, and how long that timer is with this box's settings. Judges nothing.

use super::hop::{Device, Hop, HopState};
use crate::model::conntrack::rule::Rule;
use crate::model::idle::{Clause as IdleClause, IdleBox, IdleEntry};
use crate::model::ipvs::conn::{Conn, flag};
use crate::model::ipvs::state::State as VsState;
use crate::model::{Clause, Lapse, Tuple};
use crate::net::Proto;
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// A timer of a box: a rule of conntrack, a state of IPVS or of an idle box, as a number that means the same at every box of
/// one kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TimerId(pub u16);

/// Numbers of a director's timers: its states, UDP, the same for entries born under defence, and the one that has run out.
const VS_UDP: u16 = 11;
const VS_DOS: u16 = 16;
/// Set to end at the next tick, whatever the state.
const VS_NOW: u16 = 32;

pub(super) fn of_conn(conn: &Conn) -> TimerId {
    let proto = if matches!(conn.clause, Clause::IpvsUdp) { Proto::Udp } else { Proto::Tcp };
    of_running(proto, conn.state, conn.flags, conn.timeout)
}

/// The same for an entry in a state with these flags, whose timer is so long.
pub(super) const fn of_running(proto: Proto, state: VsState, flags: u8, timeout: Duration) -> TimerId {
    let TimerId(own) = of_state(proto, state, flags);
    TimerId(if timeout.0 == 0 { own % VS_DOS + VS_NOW } else { own })
}

/// The same for an entry in a state with these flags, whose timer has a length.
#[inline]
pub(super) const fn of_state(proto: Proto, state: VsState, flags: u8) -> TimerId {
    let own = match proto {
        Proto::Tcp => state as u16,
        Proto::Udp => VS_UDP,
    };
    TimerId(if flags & flag::DOS_TIMEOUTS != 0 { VS_DOS } else { 0 } + own)
}

pub(super) fn of_idle(idle: &IdleBox, entry: &IdleEntry) -> TimerId {
    TimerId(idle.deadline(entry).1 as u16)
}

/// Every timer of every box of a path in one list, by box and number: for whoever asks of many flows.
#[derive(Clone, Debug)]
pub struct Spans {
    /// Where each box's begin; one more than there are boxes.
    begins: Box<[usize]>,
    timers: Box<[Span]>,
}

/// One timer.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// How long it is, as [`Hop::span`] has it.
    pub length: Duration,
    /// The place of the first timer of the same box that comes to the same clause: to whoever sets it they are one.
    pub first: usize,
}

impl Spans {
    /// Those of a path.
    pub fn of(hops: &[Hop]) -> Spans {
        let (mut begins, mut timers) = (vec![0], Vec::new());
        for hop in hops {
            let count = match &hop.device {
                Device::Router(_) => TimerId::NUMBERS,
                Device::Director(_) => usize::from(VS_NOW + VS_DOS),
                Device::Idle(_) => IdleClause::ALL.len(),
            };
            let mut seen: Vec<(Clause, usize)> = Vec::new();
            for timer in (0..count as u16).map(TimerId) {
                let (clause, own) = (hop.clause(timer), timers.len());
                let first = seen.iter().find(|(known, _)| *known == clause).map_or(own, |(_, first)| *first);
                if first == own {
                    seen.push((clause, own));
                }
                timers.push(Span { length: hop.span(timer), first });
            }
            begins.push(timers.len());
        }
        Spans { begins: begins.into(), timers: timers.into() }
    }

    /// A timer of a box; none of a box that is not there.
    #[inline]
    pub fn get(&self, hop: usize, timer: TimerId) -> Option<Span> {
        let begin = self.begins.get(hop)?;
        self.timers.get(begin + usize::from(timer.0)).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Box and number of the timer at a place.
    pub fn timer_at(&self, place: usize) -> (usize, TimerId) {
        let hop = self.begins.partition_point(|begin| *begin <= place).saturating_sub(1);
        (hop, TimerId((place - self.begins[hop]) as u16))
    }
}

impl TimerId {
    /// Whether it is a timer of a director's entries that were born under `secure_tcp` (2.4).
    pub const fn is_of_defence(self) -> bool {
        self.0 >= VS_DOS && self.0 < VS_NOW
    }

    /// On which of two sides it is: conntrack's change with every packet between data that is acknowledged and data that is not.
    pub(super) const fn side(self) -> usize {
        (self.0 & Rule::UNACKED != 0) as usize
    }

    /// How many numbers there are at most, for tables by number.
    pub const NUMBERS: usize = Rule::NUMBERS;
}

impl Hop {
    /// Every entry that the box keeps of a flow: when it was last renewed, and the timer that runs. Conntrack entries beside a
    /// director's have timers that nobody varies and are left out.
    pub fn for_each_timer(&self, state: &HopState, mut tell: impl FnMut(Instant, TimerId)) {
        match state {
            HopState::Router(table) => table.iter().for_each(|e| tell(e.refreshed, TimerId(e.rule.number()))),
            HopState::Director(held) => held.conns.iter().for_each(|c| tell(c.refreshed, of_conn(c))),
            HopState::Idle(entry) => {
                if let (Some(entry), Device::Idle(idle)) = (entry, &self.device) {
                    tell(entry.set_at(), of_idle(idle, entry));
                }
            }
        }
    }

    /// The timer that a packet with these addresses finds, running or ended, with its number.
    pub fn running_timer(&self, state: &HopState, tuple: Tuple) -> Option<(Lapse, TimerId)> {
        match (&self.device, state) {
            (Device::Router(_), HopState::Router(table)) => {
                table.iter().find(|e| e.original == tuple || e.reply == tuple).map(|entry| (entry.lapse(), TimerId(entry.rule.number())))
            }
            (Device::Director(director), HopState::Director(state)) => {
                director.entry_of(state, tuple).map(|conn| (conn.lapse(), of_conn(conn)))
            }
            (Device::Idle(idle), HopState::Idle(Some(entry))) => {
                let (_, clause) = idle.deadline(entry);
                let timeout = idle.timer(clause).timeout;
                let lapse = Lapse { refreshed: entry.set_at(), timeout, clause: Clause::Idle(clause), state: entry.state().name() };
                (timeout != Duration::MAX).then_some((lapse, of_idle(idle, entry)))
            }
            _ => None,
        }
    }

    /// The same without its number.
    pub fn running(&self, state: &HopState, tuple: Tuple) -> Option<Lapse> {
        self.running_timer(state, tuple).map(|(lapse, _)| lapse)
    }

    /// How many entries the box keeps of a flow.
    pub fn entries(&self, state: &HopState) -> usize {
        match state {
            HopState::Router(table) => table.len(),
            HopState::Director(held) => held.conns.len(),
            HopState::Idle(entry) => usize::from(entry.is_some()),
        }
    }

    /// Gives the timers that run the lengths of this box's settings: what the box remembers was made at one that differs in them.
    pub fn retime(&self, state: &mut HopState) {
        match state {
            HopState::Router(table) => {
                let Device::Router(router) = &self.device else { return };
                table.for_each_mut(|entry| {
                    let timer = router.conntrack.settings.timer(entry.rule);
                    (entry.timeout, entry.clause) = (timer.span, timer.clause);
                });
            }
            HopState::Director(held) => held.conns.for_each_mut(|conn| conn.timeout = self.span(of_conn(conn))),
            // Its entries hold no lengths.
            HopState::Idle(_) => {}
        }
    }

    /// How long a timer is with this box's settings.
    pub fn span(&self, id: TimerId) -> Duration {
        match &self.device {
            Device::Router(router) => router.conntrack.settings.timer(Rule::from_number(id.0)).span,
            Device::Director(director) => {
                let settings = &director.ipvs;
                let (timeouts, udp) = if id.0 < VS_DOS {
                    (&settings.timeouts, settings.udp_timeout)
                } else {
                    (&settings.dos_timeouts, settings.dos_udp_timeout)
                };
                match id.0 {
                    VS_NOW.. => Duration::ZERO,
                    number if number % VS_DOS == VS_UDP => udp,
                    number => timeouts[usize::from(number % VS_DOS).min(timeouts.len() - 1)],
                }
            }
            Device::Idle(idle) => IdleClause::ALL.get(usize::from(id.0)).map_or(Duration::MAX, |clause| idle.timer(*clause).timeout),
        }
    }

    /// The clause that a timer comes to with this box's settings.
    pub fn clause(&self, id: TimerId) -> Clause {
        match &self.device {
            Device::Router(router) => router.conntrack.settings.timer(Rule::from_number(id.0)).clause,
            Device::Director(_) if id.0 % VS_DOS == VS_UDP => Clause::IpvsUdp,
            Device::Director(_) => VsState::ALL.get(usize::from(id.0 % VS_DOS)).map_or(Clause::None, |state| Clause::Ipvs(*state)),
            Device::Idle(_) => IdleClause::ALL.get(usize::from(id.0)).map_or(Clause::None, |clause| Clause::Idle(*clause)),
        }
    }
}
