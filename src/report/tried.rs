//! The break-points of all flows together: what each timer of each box had to bear.

use crate::engine::profile::Profile;
use crate::engine::timers::{Spans, TimerId};
use crate::time::Duration;

/// A timer that flows had to wait under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tried {
    /// The box, from 0 at the client.
    pub hop: usize,
    /// The timer; of several rules that come to the same one, the first.
    pub timer: TimerId,
    /// How many flows had a spell under it.
    pub flows: u64,
    /// For how many of them the longest spell was too long.
    pub outgrown: u64,
    /// The longest spell of all.
    pub longest: Duration,
}

/// What is known of each timer of a path, by its place among all of them; nothing as long as no flow was looked at.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// How many flows were looked at.
    flows: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    flows: u64,
    outgrown: u64,
    longest: Duration,
    /// The last flow that had a spell under it, counted from 1; how long that one's longest was, and the timer.
    last: u64,
    own: Duration,
    span: Duration,
}

impl Slots {
    /// One more flow.
    pub(super) fn add(&mut self, spans: &Spans, profile: &Profile) {
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); spans.len()];
        }
        self.flows += 1;
        profile.each_idle(|hop, timer, idle| {
            let Some(span) = spans.get(hop, timer) else { return };
            let slot = &mut self.slots[span.first];
            if slot.last != self.flows {
                slot.flows += 1;
                slot.outgrown += u64::from(idle >= span.length);
                (slot.last, slot.own, slot.span) = (self.flows, idle, span.length);
            } else if idle > slot.own {
                slot.outgrown += u64::from(slot.own < slot.span && idle >= slot.span);
                slot.own = idle;
            }
            slot.longest = slot.longest.max(idle);
        });
    }

    /// Other flows as well.
    pub(super) fn join(&mut self, others: Slots) {
        if self.slots.is_empty() {
            *self = others;
            return;
        }
        for (mine, its) in self.slots.iter_mut().zip(&others.slots) {
            mine.flows += its.flows;
            mine.outgrown += its.outgrown;
            mine.longest = mine.longest.max(its.longest);
        }
        self.flows += others.flows;
    }

    /// The timers that flows had a spell under, by box and timer.
    pub(super) fn told(&self, spans: &Spans) -> Vec<Tried> {
        let tried = |(place, slot): (usize, &Slot)| {
            let (hop, timer) = spans.timer_at(place);
            (slot.flows > 0).then_some(Tried { hop, timer, flows: slot.flows, outgrown: slot.outgrown, longest: slot.longest })
        };
        self.slots.iter().enumerate().filter_map(tried).collect()
    }
}
