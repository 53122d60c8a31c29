//! The flows of a replay, kept small: followed while the capture is read, and looked at afterwards one by one.
//!
//! It keeps flows; what becomes of them is the replay's business, and what it means that of `finding`.

use super::kept::{Kept, Rack};
use super::path::Path;
use super::pipeline::{Job, Keep};
use super::profile::Profile;
use super::quick::Question;
use super::replay::{Beginning, FlowRun, Replay};
use super::rest::{Layout, Shelf};
use super::timers::Spans;
use super::told::Told;
use crate::flow::{Flow, Observation};
use crate::net::Segment;
use crate::time::{Duration, Instant};
use std::sync::Arc;

/// Follows flows through a path and keeps them small.
#[derive(Debug)]
pub(super) struct Resting<'p> {
    replay: Replay<'p>,
    layout: Arc<Layout>,
}

/// What one shard keeps of its flows, and the one that is at work.
#[derive(Debug)]
pub struct Rested {
    layout: Arc<Layout>,
    shelf: Shelf,
    run: FlowRun,
}

impl Rack for Rested {
    fn swap(&mut self, one: usize, other: usize) {
        self.shelf.swap(one, other);
    }

    #[inline]
    fn touch(&self, at: usize) -> u64 {
        self.shelf.touch(at)
    }
}

impl<'p> Resting<'p> {
    /// A replay through a path.
    pub(super) fn new(path: &'p Path) -> Resting<'p> {
        Resting { replay: Replay::new(path), layout: Arc::new(Layout::of(path)) }
    }
}

impl Keep for Resting<'_> {
    type Rack = Rested;
    type Flows = Replayed;

    fn rack(&self) -> Rested {
        Rested { layout: Arc::clone(&self.layout), shelf: Shelf::new(&self.layout), run: self.layout.scratch() }
    }

    fn begin(&self, rack: &mut Rested, at: usize, flow: &Flow, seg: &Segment) {
        rack.shelf.put(at);
        // What rests of a flow that no box knows yet is nothing.
        if Replay::beginning(flow, seg) != Beginning::Seen || !self.layout.packs() {
            let mut run = self.replay.begin(flow, seg);
            self.layout.rest(&mut rack.shelf, at, &mut run, flow);
        }
    }

    #[inline]
    fn segment(&self, rack: &mut Rested, at: usize, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        let Rested { shelf, run, .. } = rack;
        let told = Told { flow, seg, observation, previous_frame };
        if shelf.is_plain(at) {
            let goes_on = run.is_told(shelf.profiles.at_mut(at), flow, observation);
            let question = Question { replay: &self.replay, told: &told, others: &() };
            if !goes_on || self.layout.passes(shelf, at, &question) || self.layout.opens(shelf, at, &question) {
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

    fn flows(&self, kept: Kept<Rested>, _: Instant, _: &Job) -> Replayed {
        kept
    }
}

/// The flows of a replay, in the order of their first packets.
pub type Replayed = Kept<Rested>;

impl Replayed {
    /// Flows that were followed before, perhaps elsewhere, with their ways through the path, in any order; their streams are numbered.
    pub fn gathered(path: &Path, flows: impl Iterator<Item = (Flow, FlowRun)>) -> Replayed {
        let resting = Resting::new(path);
        Kept::joined(resting.rack(), flows, |rack, at, flow, mut run| {
            rack.shelf.put(at);
            *rack.shelf.profiles.at_mut(at) = std::mem::take(&mut run.profile);
            rack.layout.rest(&mut rack.shelf, at, &mut run, flow);
        })
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
        let (rack, at) = self.place(number);
        rack.shelf.profiles.at(at)
    }

    /// Its way without the spells, in the place of another one's, which makes it cheap to look at many.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn look(&self, number: usize, run: &mut FlowRun) {
        let (rack, at) = self.place(number);
        rack.layout.look(&rack.shelf, at, run, self.flow(number));
    }

    /// How long the entries of a flow outlive it, added up, if it came to its end in order and nothing about it is unusual: no packet
    /// of it was late, blocked or invalid.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub(crate) fn outlived(&self, number: usize, path: &Path, spans: &Spans) -> Option<Duration> {
        let (rack, at) = self.place(number);
        rack.layout.outlived(&rack.shelf, at, (path, spans), self.flow(number))
    }

    /// Nothing, for [`Replayed::look`] to put a flow's way into.
    pub fn scratch() -> FlowRun {
        FlowRun::blank()
    }
}
