//! Who makes room for whom where a table may hold no more flows: the oldest of those that never became a connection, for whoever
//! comes, like the early drop of a full conntrack table. Where there is none of them, what comes is left out.
//!
//! Nothing is asked of it, and it keeps nothing, as long as there is room. It knows neither tuples nor what a flow is to anybody.

use super::Flow;
use super::arena::Arena;
use super::table::FlowIndex;
use std::collections::VecDeque;

/// What was left out because there was no room for more flows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NoRoom {
    /// Flows that made room for others.
    pub flows: u64,
    /// Their packets.
    pub packets: u64,
    /// Packets of flows that came later and found no room.
    pub turned_away: u64,
}

impl NoRoom {
    /// Packets that belong to no flow that was kept.
    pub const fn left_out(&self) -> u64 {
        self.packets + self.turned_away
    }

    /// Whether there was always room.
    pub const fn is_nothing(&self) -> bool {
        self.left_out() == 0
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: NoRoom) -> NoRoom {
        NoRoom { flows: self.flows + other.flows, packets: self.packets + other.packets, turned_away: self.turned_away + other.turned_away }
    }
}

/// How many flows a table may hold, and who is next to make room.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// How many.
    pub(super) most: usize,
    /// What was left out.
    pub(super) none: NoRoom,
    /// How many flows there were when the first one had to make room; these are asked in the order of their places, which is that
    /// of their age.
    first: Option<u32>,
    /// How many of them were asked.
    asked: u32,
    /// Those that have come since, by age.
    later: VecDeque<FlowIndex>,
    /// Somebody was turned away: whoever comes now is, too, so that no flow begins in its middle.
    is_closed: bool,
}

impl Default for Room {
    fn default() -> Room {
        Room { most: usize::MAX, none: NoRoom::default(), first: None, asked: 0, later: VecDeque::new(), is_closed: false }
    }
}

impl Room {
    /// Whether there is room behind so many flows.
    pub(super) const fn is_left(&self, held: usize) -> bool {
        held < self.most && held < u32::MAX as usize && !self.is_closed
    }

    /// Whether a place may have been used again.
    pub(super) const fn is_disordered(&self) -> bool {
        self.first.is_some()
    }

    /// The place behind so many flows.
    pub(super) fn fresh(&mut self, held: usize) -> FlowIndex {
        let flow = FlowIndex(held as u32);
        if self.first.is_some() {
            self.later.push_back(flow);
        }
        flow
    }

    /// The place of the oldest flow that makes room, which is its no more. Each is asked once: what has become a connection stays
    /// one.
    pub(super) fn vacate(&mut self, flows: &Arena<Flow>) -> Option<FlowIndex> {
        if !self.is_closed {
            self.first.get_or_insert(flows.len() as u32);
            while let Some(flow) = self.next() {
                let about = flows.at(flow.get());
                if about.is_attempt() {
                    self.none.flows += 1;
                    self.none.packets += about.segments.iter().map(|n| u64::from(*n)).sum::<u64>();
                    self.later.push_back(flow);
                    return Some(flow);
                }
            }
            self.is_closed = true;
        }
        self.none.turned_away += 1;
        None
    }

    fn next(&mut self) -> Option<FlowIndex> {
        if self.first.is_some_and(|first| self.asked < first) {
            self.asked += 1;
            return Some(FlowIndex(self.asked - 1));
        }
        self.later.pop_front()
    }
}
