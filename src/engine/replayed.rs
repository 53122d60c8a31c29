//! The flows of a replay, kept small: followed while the capture is read, and looked at afterwards one by one.
//!
//! It keeps flows; what becomes of them is the replay's business, and what it means that of `finding`.

use super::path::Path;
use super::pipeline::{Job, Keep, Kept};
use super::profile::Profile;
use super::quick::When;
use super::replay::{Beginning, FlowRun, Replay};
use super::rest::{Layout, Shelf};
use super::told::Told;
use crate::flow::{Flow, FlowIndex, FlowTable, Observation, number_streams};
use crate::net::Segment;
use crate::time::Instant;

/// Follows flows through a path and keeps them small.
#[derive(Debug)]
pub(super) struct Resting<'p> {
    replay: Replay<'p>,
    layout: Layout,
}

/// What one shard keeps of its flows, and the one that is at work.
#[derive(Debug)]
pub(super) struct Rack {
    shelf: Shelf,
    run: FlowRun,
}

impl<'p> Resting<'p> {
    /// A replay through a path.
    pub(super) fn new(path: &'p Path) -> Resting<'p> {
        Resting { replay: Replay::new(path), layout: Layout::of(path) }
    }
}

impl Keep for Resting<'_> {
    type Rack = Rack;
    type Flows = Replayed;

    fn rack(&self) -> Rack {
        Rack { shelf: Shelf::new(&self.layout), run: self.layout.scratch() }
    }

    fn begin(&self, rack: &mut Rack, at: usize, flow: &Flow, seg: &Segment) {
        rack.shelf.put(at);
        // What rests of a flow that no box knows yet is nothing.
        if Replay::beginning(flow, seg) != Beginning::Seen || !self.layout.packs() {
            let mut run = self.replay.begin(flow, seg);
            self.layout.rest(&mut rack.shelf, at, &mut run, flow);
        }
    }

    fn swap(&self, rack: &mut Rack, one: usize, other: usize) {
        rack.shelf.swap(one, other);
    }

    #[inline]
    fn segment(&self, rack: &mut Rack, at: usize, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        let Rack { shelf, run } = rack;
        let told = Told { flow, seg, observation, previous_frame };
        if shelf.is_plain(at) {
            let goes_on = run.is_told(shelf.profiles.at_mut(at), flow, observation);
            let now = self.replay.judged_at(seg.at);
            let when = When { now, latest: now + self.replay.blur() };
            if !goes_on || self.layout.passes(self.replay.path, shelf, at, &told, when, &()) {
                return;
            }
            self.layout.wake(shelf, at, run, flow);
            self.replay.lead(run, shelf.profiles.at_mut(at), &told, &mut ());
            self.layout.rest(shelf, at, run, flow);
            return;
        }
        if shelf.is_cut(at) {
            return shelf.observed(at, flow, observation);
        }
        self.layout.wake(shelf, at, run, flow);
        let profile = shelf.profiles.at_mut(at);
        if run.is_told(profile, flow, observation) && !self.replay.passes(run, profile, &told) {
            self.replay.lead(run, profile, &told, &mut ());
        }
        self.layout.rest(shelf, at, run, flow);
    }

    #[inline]
    fn touch(&self, rack: &Rack, at: usize) -> u64 {
        rack.shelf.touch(at)
    }

    fn flows(&self, kept: Kept<Rack>, _: Instant, _: &Job) -> Replayed {
        Replayed { shards: kept.shards, order: kept.order, layout: self.layout.clone() }
    }
}

/// The flows of a replay, in the order of their first packets.
#[derive(Debug)]
pub struct Replayed {
    shards: Vec<(FlowTable, Rack)>,
    order: Vec<(u32, FlowIndex)>,
    layout: Layout,
}

impl Replayed {
    /// Flows that were followed before, perhaps elsewhere, with their ways through the path, in any order; their streams are numbered.
    pub fn gathered(path: &Path, flows: impl Iterator<Item = (Flow, FlowRun)>) -> Replayed {
        let resting = Resting::new(path);
        let (mut table, mut rack) = (FlowTable::default(), resting.rack());
        for (at, (flow, mut run)) in flows.enumerate() {
            rack.shelf.put(at);
            *rack.shelf.profiles.at_mut(at) = std::mem::take(&mut run.profile);
            resting.layout.rest(&mut rack.shelf, at, &mut run, &flow);
            table.adopt(flow);
        }
        table.close(true, |one, other| rack.shelf.swap(one, other));
        let order = number_streams(&mut [&mut table]);
        Replayed { shards: vec![(table, rack)], order, layout: resting.layout }
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

    /// A flow's way through the path.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn run(&self, number: usize) -> FlowRun {
        let mut run = FlowRun::blank();
        self.look(number, &mut run);
        run.profile = self.profile(number).clone();
        run
    }

    /// The longest spells of a flow.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn profile(&self, number: usize) -> &Profile {
        let (shard, at) = self.order[number];
        self.shards[shard as usize].1.shelf.profiles.at(at.get())
    }

    /// Its way without the spells, in the place of another one's, which makes it cheap to look at many.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn look(&self, number: usize, run: &mut FlowRun) {
        let (shard, at) = self.order[number];
        let (table, rack) = &self.shards[shard as usize];
        self.layout.look(&rack.shelf, at.get(), run, table.flow(at));
    }

    /// Reads a little of all that is known of a flow: what is asked of many in a row comes from memory at once.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn touch(&self, number: usize) -> u64 {
        let (shard, at) = self.order[number];
        let (table, rack) = &self.shards[shard as usize];
        table.flow(at).touch() ^ rack.shelf.touch(at.get())
    }

    /// Nothing, for [`Replayed::look`] to put a flow's way into.
    pub fn scratch() -> FlowRun {
        FlowRun::blank()
    }
}
