//! What happens to a packet at conntrack's hooks: look-up, creation, the tracker's word, confirmation.
//!
//! Source: `nf_conntrack_in`, `resolve_normal_ct`, `init_conntrack`, `__nf_conntrack_confirm`, `__nf_ct_refresh_acct`
//! (`net/netfilter/nf_conntrack_core.c`); the spec's conntrack.md sections 3.1, 3.8, 5.3. It knows no routes and no rules.

use super::dialect::Model;
use super::entry::{Entry, TcpTrack, status};
use super::rule::{Comparison, Rule};
use super::table::{Lateness, Slot, Table};
use super::tracker::{self, Invalid, Ruling};
use super::{Settings, Timer, simple24, udp};
use crate::model::{Clause, CtState, Lapse, Moment, Tuple};
use crate::net::{Proto, Segment};
use crate::time::{Duration, Instant};

/// How a packet and an entry belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// The entry.
    pub slot: Slot,
    /// The packet's direction in it.
    pub dir: usize,
    /// NEW or ESTABLISHED.
    pub state: CtState,
}

/// What conntrack made of a packet at its first hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracked {
    /// It belongs to an entry, which may be new and unconfirmed.
    Yes(Attached),
    /// It is INVALID.
    Invalid(Invalid),
    /// It is dropped here.
    Dropped,
}

/// What conntrack said of a packet on its way through a host.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// The entry that it belongs to, if it has one.
    pub attached: Option<Attached>,
    /// The word that rules see.
    pub state: CtState,
}

impl Mark {
    /// The mark of a tracked packet; nothing where the packet ends here. The first reason for being INVALID is kept.
    pub fn of(tracked: Tracked, invalid: &mut Option<Invalid>) -> Option<Mark> {
        match tracked {
            Tracked::Yes(attached) => Some(Mark { attached: Some(attached), state: attached.state }),
            Tracked::Invalid(why) => {
                invalid.get_or_insert(why);
                Some(Mark { attached: None, state: CtState::Invalid })
            }
            Tracked::Dropped => None,
        }
    }

    /// What conntrack says of an ICMP error about the packet: it goes with the packet's entry, or has none (`nf_ct_attach`).
    pub const fn of_error(self) -> CtState {
        match (self.state, self.attached) {
            (CtState::Off, _) => CtState::Off,
            (_, Some(_)) => CtState::Related,
            (_, None) => CtState::Invalid,
        }
    }
}

/// One conntrack: its settings, and how late its entries may end.
#[derive(Clone, Copy, Debug)]
pub struct Conntrack {
    /// The settings.
    pub settings: Settings,
    /// How late its entries may end.
    pub lateness: Lateness,
}

impl Conntrack {
    /// A packet at PREROUTING or OUTPUT (`nf_conntrack_in`).
    pub fn track(
        &self,
        table: &mut Table,
        tuple: Tuple,
        proto: Proto,
        seg: &Segment,
        moment: &mut Moment,
        lapse: &mut Option<Lapse>,
    ) -> Tracked {
        let d = self.settings.dialect;
        if proto == Proto::Tcp
            && d.model == Model::Window
            && let Err(why) = tracker::header_check(d, seg)
        {
            return Tracked::Invalid(why);
        }
        // The tracker may ask for the entry to be deleted and the packet looked up once more.
        for _ in 0..2 {
            let (slot, dir) = match table.find(tuple, moment, lapse, self.lateness) {
                Some(found) => found,
                None => match self.create(proto, tuple, seg, moment.now) {
                    Ok(entry) => (table.push(entry), 0),
                    Err(why) => return Tracked::Invalid(why),
                },
            };
            let entry = table.get_mut(slot);
            let ruling = match proto {
                Proto::Udp => Ruling::Accept(Some(udp::packet(&self.settings, entry, moment))),
                Proto::Tcp if d.model == Model::Simple2_4 => simple24::packet(&self.settings, entry, dir, seg),
                Proto::Tcp => tracker::packet(&self.settings, &mut entry.tcp, &mut entry.status, dir, seg),
            };
            let state = if dir == 1 || entry.is(status::SEEN_REPLY) { CtState::Established } else { CtState::New };
            match ruling {
                Ruling::Accept(rule) => {
                    if let Some(rule) = rule {
                        self.refresh(entry, self.settings.timer(rule), moment);
                    }
                }
                // The packet goes on with an entry that nobody else can find any more.
                Ruling::AcceptAndDelete => entry.status = entry.status & !status::CONFIRMED | status::DYING,
                Ruling::Invalid(why, may_shorten) => {
                    if may_shorten && self.compare(entry, Rule::INVALID_PAIR, moment) {
                        self.refresh(entry, self.settings.timer(Rule::INVALID_PAIR), moment);
                    }
                    if !entry.is(status::CONFIRMED) {
                        table.remove(slot);
                    }
                    return Tracked::Invalid(why);
                }
                Ruling::Repeat => {
                    table.remove(slot);
                    continue;
                }
                Ruling::DropAndDelete => {
                    table.remove(slot);
                    return Tracked::Dropped;
                }
            }
            if dir == 1 {
                table.get_mut(slot).status |= status::SEEN_REPLY;
            }
            return Tracked::Yes(Attached { slot, dir, state });
        }
        Tracked::Dropped
    }

    fn create(&self, proto: Proto, tuple: Tuple, seg: &Segment, now: Instant) -> Result<Entry, Invalid> {
        let tcp = match (proto, self.settings.dialect.model) {
            (Proto::Udp, _) => TcpTrack::NEW,
            (Proto::Tcp, Model::Simple2_4) => simple24::create(&self.settings, seg)?,
            (Proto::Tcp, Model::Window) => tracker::create(&self.settings, seg)?,
        };
        Ok(Entry {
            original: tuple,
            reply: tuple.inverse(),
            status: 0,
            clause: Clause::None,
            rule: Rule::NONE,
            tcp,
            stream_from: Instant::ZERO,
            refreshed: now,
            timeout: Duration::ZERO,
        })
    }

    /// Sets the timer (`__nf_ct_refresh_acct`). Some releases do not store a deadline that moves forward by less than a second.
    pub(crate) fn refresh(&self, entry: &mut Entry, timer: Timer, moment: &mut Moment) {
        if self.settings.dialect.coalesce_refresh && entry.is(status::CONFIRMED) && !self.compare(entry, timer.rule, moment) {
            return;
        }
        entry.refreshed = moment.now;
        entry.timeout = timer.span;
        entry.clause = timer.clause;
        entry.rule = timer.rule;
    }

    /// Whether an entry's timer gives way to another; what was compared is noted, because other lengths may decide otherwise.
    fn compare(&self, entry: &Entry, new: Rule, moment: &mut Moment) -> bool {
        let answer = Comparison::decide(entry.refreshed, entry.rule, new, &self.settings, moment.now);
        // With one rule before and after, the moments alone decide.
        if entry.rule != new {
            moment.compared(Comparison { refreshed: entry.refreshed, old: entry.rule, new, answer });
        }
        answer
    }

    /// A packet leaves the last hook: its new entry goes into the table, unless its tuples are taken (`__nf_conntrack_confirm`).
    /// Returns whether the packet may go on.
    pub fn confirm(&self, table: &mut Table, attached: Attached, moment: &mut Moment) -> bool {
        let entry = *table.get(attached.slot);
        if entry.status & (status::CONFIRMED | status::DYING) != 0 {
            return true;
        }
        let clash = table.taken(entry.original, attached.slot, moment, self.lateness)
            || table.taken(entry.reply, attached.slot, moment, self.lateness);
        if clash {
            return false;
        }
        let entry = table.get_mut(attached.slot);
        entry.status |= status::CONFIRMED;
        entry.refreshed = moment.now;
        true
    }

    /// Drops what never became part of the table: entries of packets that were not let through, and deleted ones.
    pub fn discard_unconfirmed(&self, table: &mut Table) {
        table.remove_where(|e| !e.is(status::CONFIRMED));
    }
}
