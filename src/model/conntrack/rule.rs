//! Which timers a packet found to choose from, without their lengths: the choice itself is made when the lengths are known.
//!
//! Until an entry ends, what happens to it does not depend on how long its timers are, only on which of them ran. An entry
//! therefore keeps the rule beside the span, and many policies can be asked about one life. Source: the acceptance tail of
//! `nf_conntrack_tcp_packet` (`net/netfilter/nf_conntrack_proto_tcp.c`); the spec's conntrack.md section 3.7. It sees no
//! packets.

use super::entry::State;
use super::{Settings, Timer};
use crate::model::Clause;
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// A state with the conditions that held when its timer was set, in eleven bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Rule(u16);

impl Rule {
    /// The packet was repeated `tcp_max_retrans` times.
    pub const RETRANS: u16 = 0x010;
    /// An accepted RST sets the timer of CLOSE, whatever the state (5.1 and later).
    pub const RST: u16 = 0x020;
    /// A RST left an entry ESTABLISHED, in releases that set the unacknowledged timer then.
    pub const INEXACT: u16 = 0x040;
    /// Data is not acknowledged.
    pub const UNACKED: u16 = 0x080;
    /// The last window announced was zero.
    pub const ZERO_WINDOW: u16 = 0x100;
    /// ESTABLISHED without an accepted reply.
    pub const UNREPLIED: u16 = 0x200;
    const STILLBORN: u16 = 0x400;
    /// The entry ends with the packet that made it, or has no timer yet.
    pub const NONE: Rule = Rule(Self::STILLBORN);
    /// FIN or RST outside the window from both sides.
    pub const INVALID_PAIR: Rule = Rule(0x410);
    /// UDP in one direction.
    pub const UDP_UNREPLIED: Rule = Rule(0x411);
    /// UDP in both directions.
    pub const UDP_STREAM: Rule = Rule(0x412);
    /// No rule's number reaches this.
    pub const NUMBERS: usize = 0x413;

    /// The rule of a state under conditions.
    pub const fn of(state: State, conditions: u16) -> Rule {
        Rule(state as u16 & 0x0f | conditions)
    }

    /// An entry that ends as it begins, in this state (2.4).
    pub const fn stillborn(state: State) -> Rule {
        Rule(Self::STILLBORN | state as u16 & 0x0f)
    }

    /// Its number, below [`Rule::NUMBERS`].
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The rule of a number that [`Rule::number`] gave.
    pub const fn from_number(number: u16) -> Rule {
        Rule(number)
    }

    /// The state, where the rule is one of a TCP state.
    pub const fn state(self) -> Option<State> {
        if self.0 > 0x40f {
            return None;
        }
        Some(match State::from_number((self.0 & 0x0f) as u8) {
            // Verdicts of a transition table, which no timer belongs to.
            State::Invalid | State::Ignore => State::None,
            state => state,
        })
    }

    /// Whether all of these conditions held.
    pub const fn has(self, conditions: u16) -> bool {
        self.0 < Self::STILLBORN && self.0 & conditions == conditions
    }
}

impl Settings {
    /// The timer that a rule comes to with these settings.
    pub fn timer(&self, rule: Rule) -> Timer {
        let made = |span, clause| Timer { span, clause, rule };
        let Some(state) = rule.state() else {
            return match rule {
                Rule::INVALID_PAIR => made(self.unacknowledged(), Clause::InvalidPair),
                Rule::UDP_STREAM => made(self.udp_timeout_stream, Clause::UdpStream),
                _ => made(self.udp_timeout, Clause::UdpUnreplied),
            };
        };
        if rule.0 >= Rule::STILLBORN {
            return made(Duration::ZERO, if rule == Rule::NONE { Clause::None } else { Clause::State(state) });
        }
        let (own, max_retrans, unacked) = (self.state(state), self.max_retrans(), self.unacknowledged());
        let timer = if rule.has(Rule::RETRANS) && own > max_retrans {
            made(max_retrans, Clause::MaxRetrans)
        } else if rule.has(Rule::RST) {
            let clause = if state == State::Close { Clause::State(State::Close) } else { Clause::InexactReset };
            made(self.state(State::Close), clause)
        } else if rule.has(Rule::INEXACT) && own > unacked {
            made(unacked, Clause::InexactResetUnacknowledged)
        } else if rule.has(Rule::UNACKED) && own > unacked {
            made(unacked, Clause::Unacknowledged)
        } else if rule.has(Rule::ZERO_WINDOW) && own > max_retrans {
            made(max_retrans, Clause::ZeroWindow)
        } else {
            made(own, Clause::State(state))
        };
        if rule.has(Rule::UNREPLIED) && timer.span > unacked { made(unacked, Clause::UnrepliedEstablished) } else { timer }
    }
}

/// A decision that turned on the lengths of timers: with other lengths it may come out otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// When the entry's timer had been set.
    pub refreshed: Instant,
    /// By which rule.
    pub old: Rule,
    /// The rule whose timer was to follow; [`Rule::INVALID_PAIR`] where the question was whether to cut the entry's life short.
    pub new: Rule,
    /// What came out.
    pub answer: bool,
}

/// Entries that end sooner than this are not cut short (`nf_tcp_handle_invalid`).
const WORTH_SHORTENING: Duration = Duration::from_secs(120);
/// A deadline that moves forward by less is not stored, in releases that coalesce (`__nf_ct_refresh_acct`, 2.6.20 to 4.8).
const COALESCED: Duration = Duration::from_secs(1);

impl Comparison {
    /// Whether the new timer is set, with these settings.
    pub fn decide(refreshed: Instant, old: Rule, new: Rule, settings: &Settings, now: Instant) -> bool {
        let (was, will) = (refreshed + settings.timer(old).span, settings.timer(new).span);
        if new == Rule::INVALID_PAIR {
            let left = was.since(now);
            return left >= WORTH_SHORTENING && left > will;
        }
        let then = now + will;
        then < was || then.since(was) >= COALESCED
    }

    /// What comes out with other settings.
    pub fn with(&self, settings: &Settings, now: Instant) -> bool {
        Self::decide(self.refreshed, self.old, self.new, settings, now)
    }
}
