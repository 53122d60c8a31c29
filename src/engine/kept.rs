//! The flows of a run and what was kept for them, by shards while they are followed and in the order of their first packets afterwards.
//!
//! It knows neither what is kept nor what it means.

use super::pipeline::{Job, Keep, Run};
use crate::flow::{Arena, Flow, FlowIndex, FlowTable, NoRoom, Stretch};
use rayon::prelude::*;
use std::ops::Range;

/// What is kept for the flows of a shard, by their numbers in it.
pub trait Rack: Send {
    /// Has two flows change places.
    fn swap(&mut self, one: usize, other: usize);

    /// Reads a little of whatever will be needed of a flow: what is asked of many in a row comes from memory at once.
    fn touch(&self, _at: usize) -> u64 {
        0
    }
}

impl<T: Send> Rack for Arena<T> {
    fn swap(&mut self, one: usize, other: usize) {
        Arena::swap(self, one, other);
    }
}

/// Flows that were followed, in the order of their first packets, with what was kept for them.
#[derive(Debug)]
pub struct Kept<R> {
    /// The tables of flows, each with what was kept for them.
    pub(super) shards: Vec<(FlowTable, R)>,
    /// The flows' places in the order of their first packets.
    pub(super) order: Vec<(u32, FlowIndex)>,
    /// What was left out.
    pub(super) no_room: NoRoom,
}

/// So many flows are touched together before they are looked at.
const GROUP: usize = 16;

impl<R: Rack> Kept<R> {
    /// What shards have come to. `sorts`: their flows did not begin in the order of their first packets.
    pub(super) fn of(mut shards: Vec<(FlowTable, R)>, sorts: bool) -> Kept<R> {
        let close = |(table, rack): &mut (FlowTable, R)| table.close(sorts, |one, other| rack.swap(one, other));
        if !sorts && shards.iter().all(|(table, _)| table.no_room().is_nothing()) {
            shards.iter_mut().for_each(close);
        } else {
            // There is something to sort.
            shards.par_iter_mut().for_each(close);
        }
        let mut tables: Vec<&mut FlowTable> = shards.iter_mut().map(|(table, _)| table).collect();
        let order = number(&mut tables);
        let no_room = shards.iter().fold(NoRoom::default(), |sum, (table, _)| sum.and(table.no_room()));
        Kept { shards, order, no_room }
    }

    /// Flows that were followed before, perhaps elsewhere, in any order; `put` keeps what they came to, by their numbers.
    pub(super) fn joined<W>(mut rack: R, flows: impl Iterator<Item = (Flow, W)>, mut put: impl FnMut(&mut R, usize, &Flow, W)) -> Kept<R> {
        let mut table = FlowTable::default();
        for (at, (flow, way)) in flows.enumerate() {
            put(&mut rack, at, &flow, way);
            table.adopt(flow);
        }
        Kept::of(vec![(table, rack)], true)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A flow.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn flow(&self, number: usize) -> &Flow {
        let (shard, at) = self.order[number];
        self.shards[shard as usize].0.flow(at)
    }

    /// All flows.
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        (0..self.len()).map(|number| self.flow(number))
    }

    /// The rack of a flow, and the flow's number in it.
    pub(super) fn place(&self, number: usize) -> (&R, usize) {
        let (shard, at) = self.order[number];
        (&self.shards[shard as usize].1, at.get())
    }

    /// Into how many chunks of so many flows they can be divided, by number.
    pub fn chunks(&self, size: usize) -> Range<usize> {
        0..self.len().div_ceil(size)
    }

    /// The numbers of the flows of a chunk; what is known of each is brought from memory together with a few others, before it is
    /// looked at. A chunk has best as many flows as make whole groups of sixteen.
    pub fn chunk(&self, chunk: usize, size: usize) -> impl Iterator<Item = usize> {
        let end = self.len().min((chunk + 1) * size);
        (chunk * size..end).inspect(move |number| {
            if number.is_multiple_of(GROUP) {
                std::hint::black_box((*number..end.min(number + GROUP)).fold(0, |sum, next| sum ^ self.touch(next)));
            }
        })
    }

    fn touch(&self, number: usize) -> u64 {
        let (rack, at) = self.place(number);
        self.flow(number).touch() ^ rack.touch(at)
    }
}

/// Flows that begin one after another and are put in order by one thread.
const STRETCH: usize = 1 << 15;

/// As [`number_streams`](crate::flow::number_streams), a stretch to a thread and then a table to a thread.
fn number(tables: &mut [&mut FlowTable]) -> Vec<(u32, FlowIndex)> {
    let count = tables.iter().map(|table| table.len()).sum::<usize>() / STRETCH;
    let shared: Vec<&FlowTable> = tables.iter().map(|table| &**table).collect();
    let bounds = Stretch::bounds(&shared, count);
    let stretches: Vec<Stretch> = bounds.par_windows(2).map(|pair| Stretch::of(&shared, &pair[0], &pair[1])).collect();
    let before = Stretch::before(&stretches);
    tables.par_iter_mut().enumerate().for_each(|(number, table)| Stretch::tell(&stretches, &before, number, table));
    Stretch::order(&stretches)
}

impl<R> Run<Kept<R>> {
    /// Ends the flows.
    pub(super) fn ended<K: Keep<Rack = R>>(self, keep: &K, job: &Job) -> Run<K::Flows> {
        let end = self.end;
        self.with(|kept| keep.flows(kept, end, job))
    }
}
