//! The table of flows: an index over an arena.
//!
//! One table belongs to one shard. It knows tuples and incarnations; what a segment means for its flow is the flow's
//! business. Who has to make room for whom where a table may hold no more is that of `room`.

use super::arena::Arena;
use super::ends::Ends;
use super::index::Index;
use super::room::{NoRoom, Room};
use super::{Flow, Observation, StreamRule, orient};
use crate::net::{Direction, Proto, Segment, TcpFlags};

/// A flow's place in its table's arena. It stays valid; where a table may hold no more, it may become another flow's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowIndex(pub u32);

impl FlowIndex {
    /// As a number for [`FlowTable::flow`].
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// Where a segment belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// Its flow.
    pub flow: FlowIndex,
    /// Its direction relative to the flow's client, as also written into the segment.
    pub dir: Direction,
    /// Whether the flow began with it.
    pub is_new: bool,
}

/// The place of a flow's first segment in the whole input: its order, and where several have one, file and frame.
pub(super) type Place = (u64, u16, u32);

/// All flows of one shard.
#[derive(Clone, Debug, Default)]
pub struct FlowTable {
    index: Index,
    flows: Arena<Flow>,
    rule: StreamRule,
    room: Room,
}

impl FlowTable {
    /// An empty table that begins new flows by `rule`.
    pub fn new(rule: StreamRule) -> FlowTable {
        FlowTable { rule, ..FlowTable::default() }
    }

    /// Adds a flow that was followed before; nothing is asked of such a table by tuple.
    pub fn adopt(&mut self, flow: Flow) {
        self.flows.push(flow);
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The flows in the order of their first segment.
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter()
    }

    /// The same, to be changed.
    pub fn flows_mut(&mut self) -> impl Iterator<Item = &mut Flow> {
        self.flows.iter_mut()
    }

    /// The flows by value.
    pub fn into_flows(self) -> impl Iterator<Item = Flow> {
        self.flows.into_items()
    }

    /// One flow.
    #[inline]
    pub fn flow(&self, index: FlowIndex) -> &Flow {
        self.flows.at(index.get())
    }

    /// The same, to be changed.
    #[inline]
    pub fn flow_mut(&mut self, index: FlowIndex) -> &mut Flow {
        self.flows.at_mut(index.get())
    }

    /// The place of a flow's first segment, by the flow's number.
    #[inline]
    pub(super) fn place_of_first(&self, at: usize) -> Place {
        self.flows.at(at).first_place()
    }

    /// How many flows begin before a place, where they are in the order of their first segments.
    pub(super) fn begun_before(&self, place: Place) -> usize {
        self.flows.partition_point(|flow| flow.first_place() < place)
    }

    /// Which flow a packet with this hash probably belongs to. Good enough to have its memory fetched early, and to be asked of
    /// [`FlowTable::place`]; it looks at no flow.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<FlowIndex> {
        self.index.guess(hash)
    }

    /// May hold so many flows and no more from now on. Those that it has stay.
    pub const fn hold_at_most(&mut self, most: usize) {
        self.room.most = most;
    }

    /// What was left out because the table may hold no more.
    pub const fn no_room(&self) -> NoRoom {
        self.room.none
    }

    /// Nothing more is asked by tuple: flows are put into the order of their first segments, and whoever keeps something for them
    /// is told which places are swapped. `sorts`: they did not begin in this order.
    pub fn close(&mut self, sorts: bool, mut swapped: impl FnMut(usize, usize)) {
        self.index = Index::default();
        if !sorts && !self.room.is_disordered() {
            return;
        }
        let mut sorted: Vec<u32> = (0..self.flows.len() as u32).collect();
        sorted.sort_unstable_by_key(|at| self.flows.at(*at as usize).first_place());
        let mut target = vec![0; sorted.len()];
        for (place, at) in sorted.iter().enumerate() {
            target[*at as usize] = place;
        }
        drop(sorted);
        for at in 0..target.len() {
            while target[at] != at {
                let to = target[at];
                self.flows.swap(at, to);
                swapped(at, to);
                target.swap(at, to);
            }
        }
    }

    /// Finds the flow of a segment or begins one, and sets `seg.dir`, and `seg.at` where it is a little before that of the flow's last
    /// one. `ends` are the packet's, `hash` is theirs. `guess` is what
    /// [`FlowTable::guess`] said, however long ago. `order` is the segment's position in the whole input, over all shards; it
    /// decides the stream numbers. Nothing where the flow is not there and has no room.
    #[inline]
    pub fn place(&mut self, ends: &Ends, hash: u64, guess: Option<FlowIndex>, seg: &mut Segment, order: u64) -> Option<Placed> {
        let flows = &self.flows;
        let guessed = guess.and_then(|index| {
            let flow = flows.at(index.get());
            Some((index, flow.direction_of(ends).filter(|_| flow.is_current())?))
        });
        let Some((index, dir)) = guessed.or_else(|| self.find(ends, hash)) else { return self.begin(ends, hash, seg, order) };
        seg.dir = dir;
        if !self.flows.at_mut(index.get()).takes(self.rule, seg) {
            return self.supersede(index, ends, hash, seg, order);
        }
        Some(Placed { flow: index, dir, is_new: false })
    }

    #[inline(never)]
    fn find(&self, ends: &Ends, hash: u64) -> Option<(FlowIndex, Direction)> {
        let index = self.index.find(hash, |flow| self.flows.at(flow.get()).direction_of(ends).is_some())?;
        Some((index, self.flows.at(index.get()).direction_of(ends)?))
    }

    #[cold]
    fn supersede(&mut self, old: FlowIndex, ends: &Ends, hash: u64, seg: &mut Segment, order: u64) -> Option<Placed> {
        let Some(flow) = self.vacate() else {
            // What follows is not the old flow's either.
            self.index.remove(hash, old);
            return None;
        };
        if !self.index.replace(hash, old, flow) {
            // It was the old one that made room.
            self.index.insert(hash, flow);
        }
        Some(self.put(flow, ends, seg, order))
    }

    #[cold]
    fn begin(&mut self, ends: &Ends, hash: u64, seg: &mut Segment, order: u64) -> Option<Placed> {
        let flow = self.vacate()?;
        self.index.insert(hash, flow);
        Some(self.put(flow, ends, seg, order))
    }

    /// A place for a new flow: behind the others, or that of one that makes room.
    fn vacate(&mut self) -> Option<FlowIndex> {
        let held = self.flows.len();
        if self.room.is_left(held) {
            return Some(self.room.fresh(held));
        }
        let flow = self.room.vacate(&self.flows)?;
        self.index.remove(self.flows.at(flow.get()).ends.hash(), flow);
        Some(flow)
    }

    fn put(&mut self, flow: FlowIndex, ends: &Ends, seg: &mut Segment, order: u64) -> Placed {
        let flags = if ends.proto() == Proto::Tcp { seg.flags } else { TcpFlags::default() };
        let (sender_is_client, orientation) = orient::sender_is_client(ends.ports(), ends.proto(), flags);
        seg.dir = if sender_is_client { Direction::Original } else { Direction::Reply };
        let mut made = Flow::new(if sender_is_client { *ends } else { ends.inverse() }, orientation, order, seg);
        if ends.proto() == Proto::Tcp {
            made.learn_base(seg);
        }
        self.flows.put(flow.get(), made);
        Placed { flow, dir: seg.dir, is_new: true }
    }

    /// [`FlowTable::place`] and [`Flow::observe`] in one.
    pub fn observe(&mut self, ends: &Ends, seg: &mut Segment, order: u64) -> Option<(Placed, Observation)> {
        let placed = self.place(ends, ends.hash(), None, seg, order)?;
        Some((placed, self.flow_mut(placed.flow).observe(seg)))
    }
}
