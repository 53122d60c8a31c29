//! The table of flows: a hash index over an arena, and the numbering of streams across tables.
//!
//! One table belongs to one shard. It knows tuples and incarnations; what a segment means for its flow is the flow's
//! business.

use super::key::FlowKey;
use super::{Flow, Observation, StreamRule, orient};
use crate::net::{Direction, Proto, Segment, Sock, TcpFlags};
use hashbrown::HashTable;

/// A flow's place in its table's arena; flows are never removed, so it stays valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowIndex(pub u32);

impl FlowIndex {
    /// As an index into [`FlowTable::flows`].
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

/// All flows of one shard.
#[derive(Clone, Debug, Default)]
pub struct FlowTable {
    index: HashTable<FlowIndex>,
    flows: Vec<Flow>,
    rule: StreamRule,
}

/// The half of the bits that did not choose the shard comes to the low end, where the buckets are chosen.
fn bucket_hash(key: &FlowKey) -> u64 {
    key.hash64().rotate_left(32)
}

impl FlowTable {
    /// An empty table that begins new flows by `rule`.
    pub fn new(rule: StreamRule) -> FlowTable {
        FlowTable { rule, ..FlowTable::default() }
    }

    /// The flows in the order of their first segment.
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// The same, to be changed.
    pub fn flows_mut(&mut self) -> &mut [Flow] {
        &mut self.flows
    }

    /// The flows by value.
    pub fn into_flows(self) -> Vec<Flow> {
        self.flows
    }

    /// One flow.
    pub fn flow(&self, index: FlowIndex) -> &Flow {
        &self.flows[index.get()]
    }

    /// Finds the flow of a segment or begins one, and sets `seg.dir`. `order` is the segment's position in the whole
    /// input, over all shards; it decides the stream numbers.
    ///
    /// # Panics
    /// With more than 2³² flows in one table.
    pub fn lookup_or_create(&mut self, src: Sock, dst: Sock, proto: Proto, seg: &mut Segment, order: u64) -> Placed {
        let key = FlowKey::new(src, dst, proto);
        let hash = bucket_hash(&key);
        let flows = &self.flows;
        let known = self.index.find_mut(hash, |at| flows[at.get()].matches(src, dst, proto));
        if let Some(slot) = known {
            let index = *slot;
            let flow = &mut self.flows[index.get()];
            seg.dir = flow.direction_from(src);
            if proto == Proto::Udp {
                return Placed { flow: index, dir: seg.dir, is_new: false };
            }
            if !flow.begins_anew(self.rule, seg) {
                flow.learn_base(seg);
                return Placed { flow: index, dir: seg.dir, is_new: false };
            }
            let fresh = FlowIndex(u32::try_from(self.flows.len()).expect("fewer than 2^32 flows in a shard"));
            *slot = fresh;
            return self.push(fresh, src, dst, proto, seg, order);
        }
        let fresh = FlowIndex(u32::try_from(self.flows.len()).expect("fewer than 2^32 flows in a shard"));
        let flows = &self.flows;
        self.index.insert_unique(hash, fresh, |at| bucket_hash(&flows[at.get()].key()));
        self.push(fresh, src, dst, proto, seg, order)
    }

    fn push(&mut self, fresh: FlowIndex, src: Sock, dst: Sock, proto: Proto, seg: &mut Segment, order: u64) -> Placed {
        let flags = if proto == Proto::Tcp { seg.flags } else { TcpFlags::default() };
        let (sender_is_client, orientation) = orient::sender_is_client(src, dst, proto, flags);
        let (client, server) = if sender_is_client { (src, dst) } else { (dst, src) };
        seg.dir = if sender_is_client { Direction::Original } else { Direction::Reply };
        let mut flow = Flow::new(client, server, proto, orientation, order, seg);
        if proto == Proto::Tcp {
            flow.learn_base(seg);
        }
        self.flows.push(flow);
        Placed { flow: fresh, dir: seg.dir, is_new: true }
    }

    /// [`FlowTable::lookup_or_create`] and [`Flow::observe`] in one.
    pub fn observe(&mut self, src: Sock, dst: Sock, proto: Proto, seg: &mut Segment, order: u64) -> (Placed, Observation) {
        let placed = self.lookup_or_create(src, dst, proto, seg, order);
        (placed, self.flows[placed.flow.get()].observe(seg))
    }
}

/// Gives every flow of all shards its `tcp.stream` or `udp.stream`: by the order of first segments, TCP and UDP counted
/// apart, from 0.
pub fn number_streams<'a>(tables: impl IntoIterator<Item = &'a mut FlowTable>) {
    let mut all: Vec<&mut Flow> = tables.into_iter().flat_map(FlowTable::flows_mut).collect();
    all.sort_unstable_by_key(|flow| flow.first_order);
    let mut next = [0; 2];
    for flow in all {
        let counter = &mut next[usize::from(flow.proto == Proto::Udp)];
        flow.stream = *counter;
        *counter += 1;
    }
}
