//! The flows of many policies, kept small: followed while the capture is read, and looked at afterwards one by one.
//!
//! As long as nobody's entry has ended a flow is one run for all policies, and it rests in words between its packets as it does in a
//! replay. Those that part leave it: what they have come to stands beside, the others go on. It keeps flows; who parts when is the
//! business of `many`, and what it means that of `study`.

use super::many::{Class, ClassRun, Many, Part, Step};
use super::members::Members;
use super::pipeline::{Job, Keep, Kept};
use super::quick::When;
use super::rare::Rare;
use super::replay::{Beginning, FlowRun, Replay};
use super::rest::{Layout, Shelf};
use super::timers::TimerId;
use super::told::{Told, heard};
use super::words::{ODD, OVER, RARE};
use crate::flow::{Arena, Flow, FlowIndex, FlowTable, Observation, Shape, number_streams};
use crate::net::Segment;
use crate::time::Instant;
use rayon::prelude::*;

/// A bit of a flow at rest: its run has something unusual about it, and has to be woken for each packet. Its other meaning is a
/// replay's.
const UNUSUAL: u32 = super::words::CUT;

/// Follows flows for many policies and keeps them small.
#[derive(Debug)]
pub struct Together<'m, 'p> {
    many: &'m Many<'p>,
    /// How the flows of each class rest, if they can.
    layouts: Box<[Option<Layout>]>,
}

/// What one shard keeps of its flows for each class of policies.
#[derive(Debug)]
pub struct Rack(Box<[ClassRack]>);

#[derive(Debug)]
enum ClassRack {
    AtRest(Box<AtRest>),
    AtWork(Arena<ClassRun>),
}

#[derive(Debug)]
struct AtRest {
    shelf: Shelf<Box<Beside>>,
    /// The parts of the flow that is at work; between packets one run to use again, or none.
    parts: Vec<Part>,
}

/// What some flows have beside their words.
#[derive(Debug)]
struct Beside {
    /// Whose run is at rest.
    members: Members,
    /// What is unusual about it.
    rare: Option<Rare>,
    /// What the others have come to; all of them where no run is at rest.
    parts: Vec<Part>,
}

impl<'m, 'p> Together<'m, 'p> {
    /// For all policies of these.
    pub fn new(many: &'m Many<'p>) -> Together<'m, 'p> {
        Together { many, layouts: many.classes.iter().map(Class::layout).collect() }
    }

    /// The flows that were followed before, perhaps elsewhere, with what they came to, in any order; their streams are numbered.
    pub fn gathered(&self, flows: impl Iterator<Item = (Flow, Box<[ClassRun]>)>) -> Studied {
        let (mut table, mut rack) = (FlowTable::default(), self.rack());
        for (at, (flow, runs)) in flows.enumerate() {
            let classes = self.many.classes.iter().zip(&self.layouts);
            for (((class, layout), rack), mut run) in classes.zip(&mut rack.0).zip(runs) {
                match (rack, layout) {
                    (ClassRack::AtRest(rack), Some(layout)) => {
                        rack.shelf.put(at);
                        rack.parts.clear();
                        rack.parts.append(&mut run.parts);
                        rack.lay_down(class, layout, at, &flow);
                    }
                    (ClassRack::AtWork(runs), _) => runs.put(at, run),
                    (ClassRack::AtRest(_), None) => {}
                }
            }
            table.adopt(flow);
        }
        table.close(true, |one, other| self.swap(&mut rack, one, other));
        let order = number_streams(&mut [&mut table]);
        Studied { shards: vec![(table, rack)], order, layouts: self.layouts.clone() }
    }
}

impl Keep for Together<'_, '_> {
    type Rack = Rack;
    type Flows = Studied;

    fn rack(&self) -> Rack {
        let rack = |layout: &Option<Layout>| match layout {
            Some(layout) => ClassRack::AtRest(Box::new(AtRest { shelf: Shelf::new(layout), parts: Vec::new() })),
            None => ClassRack::AtWork(Arena::default()),
        };
        Rack(self.layouts.iter().map(rack).collect())
    }

    fn begin(&self, rack: &mut Rack, at: usize, flow: &Flow, seg: &Segment) {
        for ((class, layout), rack) in self.many.classes.iter().zip(&self.layouts).zip(&mut rack.0) {
            match (rack, layout) {
                (ClassRack::AtRest(rack), Some(layout)) => {
                    rack.shelf.put(at);
                    // What rests of a flow that no box knows yet is nothing.
                    if Replay::beginning(flow, seg) != Beginning::Seen {
                        rack.parts = class.begin(flow, seg).parts;
                        rack.lay_down(class, layout, at, flow);
                    }
                }
                (ClassRack::AtWork(runs), _) => runs.put(at, class.begin(flow, seg)),
                (ClassRack::AtRest(_), None) => {}
            }
        }
    }

    fn swap(&self, rack: &mut Rack, one: usize, other: usize) {
        for rack in &mut rack.0 {
            match rack {
                ClassRack::AtRest(rack) => rack.shelf.swap(one, other),
                ClassRack::AtWork(runs) => runs.swap(one, other),
            }
        }
    }

    #[inline]
    fn segment(&self, rack: &mut Rack, at: usize, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        let told = Told { flow, seg, observation, previous_frame };
        for ((class, layout), rack) in self.many.classes.iter().zip(&self.layouts).zip(&mut rack.0) {
            match (rack, layout) {
                (ClassRack::AtRest(rack), Some(layout)) => rack.segment(class, layout, at, told, self.many.beyond),
                (ClassRack::AtWork(runs), _) => class.follow(runs.at_mut(at), told, self.many.beyond),
                (ClassRack::AtRest(_), None) => {}
            }
        }
    }

    #[inline]
    fn touch(&self, rack: &Rack, at: usize) -> u64 {
        match rack.0.first() {
            Some(ClassRack::AtRest(rack)) => rack.shelf.touch(at),
            _ => 0,
        }
    }

    fn flows(&self, kept: Kept<Rack>, end: Instant, job: &Job) -> Studied {
        let Kept { mut shards, order, .. } = kept;
        super::pipeline::on_threads(job, || {
            shards.par_iter_mut().for_each(|(table, rack)| {
                for (class, rack) in self.many.classes.iter().zip(&mut rack.0) {
                    if let ClassRack::AtWork(runs) = rack {
                        table.flows().zip(runs.iter_mut()).for_each(|(flow, run)| class.probes(run, flow, end, self.many.beyond));
                    }
                }
            });
        });
        Studied { shards, order, layouts: self.layouts.clone() }
    }
}

impl AtRest {
    #[inline]
    fn segment(&mut self, class: &Class<'_>, layout: &Layout, at: usize, told: Told<'_>, beyond: bool) {
        let flags = self.shelf.words(at)[1] as u32;
        let mut is_heard = false;
        if flags & (ODD | UNUSUAL) == 0 {
            heard(self.shelf.profiles.at_mut(at), told.flow, told.observation);
            if flags & RARE != 0 && told.observation.revises.is_some() {
                self.others_hear(at, told.observation);
            }
            let replay = class.replay(0);
            let now = replay.judged_at(told.seg.at);
            let when = When { now, latest: now + replay.blur() };
            // A packet that the capture point saw twice crossed the boxes once.
            let crossed = told.observation.shape == Shape::Duplicate;
            if crossed || layout.passes(replay.path, &mut self.shelf, at, &told, when, class) {
                return;
            }
            is_heard = true;
        }
        self.at_work(class, layout, at, &Step { told, is_heard }, beyond);
    }

    #[cold]
    fn others_hear(&mut self, at: usize, observation: &Observation) {
        if let Some(beside) = self.shelf.beside_mut(at) {
            beside.parts.iter_mut().for_each(|part| part.run.observed(observation));
        }
    }

    /// A packet that is not a usual one, or a flow that is not.
    #[inline(never)]
    fn at_work(&mut self, class: &Class<'_>, layout: &Layout, at: usize, step: &Step<'_>, beyond: bool) {
        if self.shelf.words(at)[1] as u32 & ODD != 0 {
            let Some(beside) = self.shelf.beside_mut(at) else { return };
            let going = beside.parts.iter().any(|part| !part.done);
            class.segment(&mut beside.parts, step, beyond);
            if going {
                self.parts.clear();
                self.parts.extend(self.shelf.take_beside(at).into_iter().flat_map(|beside| beside.parts));
                self.lay_down(class, layout, at, step.told.flow);
            }
            return;
        }
        let mut main = self.parts.pop().unwrap_or_else(|| Part::of(class.everybody(), layout.scratch()));
        layout.take_up(self.shelf.words(at), &mut main.run, step.told.flow);
        std::mem::swap(self.shelf.profiles.at_mut(at), &mut main.run.profile);
        let mut others = Vec::new();
        main.members = match self.shelf.take_beside(at).map(|beside| *beside) {
            Some(Beside { members, rare, parts }) => {
                if let Some(rare) = rare {
                    rare.give(&mut main.run);
                }
                others = parts;
                members
            }
            None => class.everybody(),
        };
        if let Some(first) = main.members.first().filter(|first| *first != 0) {
            class.retime(&mut main.run, first);
        }
        self.parts.push(main);
        class.segment(&mut self.parts, step, beyond);
        if !step.is_heard {
            for part in &mut others {
                part.run.observed(step.told.observation);
            }
        }
        self.parts.append(&mut others);
        self.lay_down(class, layout, at, step.told.flow);
    }

    /// Puts the parts of a flow to rest that has nothing beside its words.
    fn lay_down(&mut self, class: &Class<'_>, layout: &Layout, at: usize, flow: &Flow) {
        let mut going = self.parts.iter().enumerate().filter(|(_, part)| !part.done).map(|(index, _)| index);
        let only = going.next().filter(|_| going.next().is_none());
        let laid = only.is_some_and(|only| {
            let part = &mut self.parts[only];
            let first = part.members.first().unwrap_or(0);
            if first != 0 {
                class.retime(&mut part.run, 0);
            }
            let laid = layout.lay(self.shelf.words_mut(at), &part.run, flow);
            if !laid && first != 0 {
                class.retime(&mut part.run, first);
            }
            laid
        });
        // Those that are done need not remember what their boxes did.
        let path = class.path(0);
        if !laid {
            self.shelf.words_mut(at)[1] = u64::from(ODD);
            self.parts.iter_mut().for_each(|part| part.forget_states(path));
            let (members, rare) = (class.everybody(), None);
            self.shelf.put_beside(at, Box::new(Beside { members, rare, parts: std::mem::take(&mut self.parts) }));
            return;
        }
        let mut main = self.parts.swap_remove(only.unwrap_or(0));
        std::mem::swap(self.shelf.profiles.at_mut(at), &mut main.run.profile);
        let rare = Rare::of(&mut main.run, None);
        if !self.parts.is_empty() || rare.is_some() || !main.members.is_all() {
            self.parts.iter_mut().for_each(|part| part.forget_states(path));
            let parts = self.parts.drain(..).collect();
            let members = std::mem::replace(&mut main.members, class.everybody());
            let unusual = if rare.is_some() { UNUSUAL } else { 0 };
            self.shelf.put_beside(at, Box::new(Beside { members, rare, parts }));
            self.shelf.words_mut(at)[1] |= u64::from(unusual);
        }
        self.parts.push(main);
    }
}

/// The flows of many policies, in the order of their first packets.
#[derive(Debug)]
pub struct Studied {
    shards: Vec<(FlowTable, Rack)>,
    order: Vec<(u32, FlowIndex)>,
    layouts: Box<[Option<Layout>]>,
}

/// The parts of a flow for one class of policies.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'v> {
    main: Option<&'v Part>,
    others: &'v [Part],
}

impl<'v> Parts<'v> {
    /// All of them, in no order that means anything but is always the same.
    pub fn iter(self) -> impl Iterator<Item = &'v Part> {
        self.main.into_iter().chain(self.others)
    }
}

/// Where a part of each class is put that rests, to be looked at.
#[derive(Default, Debug)]
pub struct Scratch(Vec<Part>);

impl Scratch {
    fn at(&mut self, place: usize) -> &mut Part {
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || Part::of(Members::All(0), FlowRun::blank()));
        }
        &mut self.0[place]
    }
}

impl Studied {
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

    /// Reads a little of all that is known of a flow: what is asked of many in a row comes from memory at once.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn touch(&self, number: usize) -> u64 {
        let (shard, at) = self.order[number];
        let (table, rack) = &self.shards[shard as usize];
        let words = match rack.0.first() {
            Some(ClassRack::AtRest(rack)) => rack.shelf.touch(at.get()),
            _ => 0,
        };
        table.flow(at).touch() ^ words
    }

    /// What a flow came to for the policies of a class, by the place of the class in [`Many::classes`].
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn parts<'v>(&'v self, number: usize, place: usize, class: &Class<'_>, scratch: &'v mut Scratch) -> Parts<'v> {
        if let ClassRack::AtRest(rack) = self.rack(number, place).0 {
            scratch.at(place).run.profile.clone_from(rack.shelf.profiles.at(self.order[number].1.get()));
        }
        self.outline(number, place, class, scratch)
    }

    /// The same but for the spells of the run that rests, which are those of some other.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn outline<'v>(&'v self, number: usize, place: usize, class: &Class<'_>, scratch: &'v mut Scratch) -> Parts<'v> {
        let (flow, at) = (self.flow(number), self.order[number].1.get());
        let (shelf, layout) = match self.rack(number, place) {
            (ClassRack::AtRest(rack), Some(layout)) => (&rack.shelf, layout),
            (ClassRack::AtWork(runs), _) => return Parts { main: None, others: &runs.at(at).parts },
            (ClassRack::AtRest(_), None) => return Parts { main: None, others: &[] },
        };
        let words = shelf.words(at);
        let beside = shelf.beside(at);
        let others = beside.map_or(&[][..], |beside| &beside.parts);
        if words[1] as u32 & ODD != 0 {
            return Parts { main: None, others };
        }
        let part = scratch.at(place);
        let Part { members, run, .. } = &mut *part;
        layout.take_up(words, run, flow);
        (run.cut, run.repaired, run.doubt, run.hole, run.reset) = (None, None, None, None, None);
        (run.repairs, run.blocked, run.invalid) = (0, 0, 0);
        if let Some(rare) = beside.and_then(|beside| beside.rare.clone()) {
            rare.give(run);
        }
        *members = beside.map_or_else(|| class.everybody(), |beside| beside.members.clone());
        if let Some(first) = members.first().filter(|first| *first != 0) {
            class.retime(run, first);
        }
        Parts { main: Some(part), others }
    }

    /// Whether a flow is one run for all policies of a class, no entry of which ended before it was closed.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn is_undivided_and_over(&self, number: usize, place: usize) -> bool {
        let at = self.order[number].1.get();
        match self.rack(number, place).0 {
            ClassRack::AtRest(rack) => rack.shelf.words(at)[1] as u32 & (OVER | RARE | ODD) == OVER,
            ClassRack::AtWork(_) => false,
        }
    }

    /// The entries of a flow that is one run for all policies of a class, none of which has ended: for each its box, when it was last
    /// renewed, and its timer. They were made by the flow's first packet. Says whether it is such a flow; tells nothing where not.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn entries(&self, number: usize, place: usize, class: &Class<'_>, tell: impl FnMut(usize, Instant, TimerId)) -> bool {
        let (flow, at) = (self.flow(number), self.order[number].1.get());
        match self.rack(number, place) {
            (ClassRack::AtRest(rack), Some(layout)) if rack.shelf.is_plain(at) => {
                layout.each_timer(class.path(0), rack.shelf.words(at), flow.proto(), tell);
                true
            }
            _ => false,
        }
    }

    fn rack(&self, number: usize, place: usize) -> (&ClassRack, &Option<Layout>) {
        let shard = self.order[number].0;
        (&self.shards[shard as usize].1.0[place], &self.layouts[place])
    }
}
