//! The flows of many policies, kept small: followed while the capture is read, and looked at afterwards one by one.
//!
//! As long as nobody's entry has ended a flow is one run for all policies, and it rests in words between its packets as it does in a
//! replay. Those that part leave it: what they have come to stands beside, the others go on. It keeps flows; who parts when is the
//! business of `many`, and what it means that of `study`.

use super::kept::{Kept, Rack};
use super::many::{Class, ClassRun, Many, Part, Step};
use super::members::Members;
use super::pipeline::{Job, Keep};
use super::quick::Question;
use super::rare::Rare;
use super::replay::{Beginning, FlowRun, Replay};
use super::rest::{Layout, Shelf, lay_aside};
use super::timers::TimerId;
use super::told::{Told, heard};
use super::words::{ODD, RARE};
use crate::flow::{Arena, Flow, Observation, Shape};
use crate::net::Segment;
use crate::time::Instant;
use rayon::prelude::*;
use std::sync::Arc;

/// A bit of a flow at rest: its run has something unusual about it, and has to be woken for each packet. Its other meaning is a
/// replay's.
const UNUSUAL: u32 = super::words::CUT;

/// Follows flows for many policies and keeps them small.
#[derive(Debug)]
pub struct Together<'m, 'p> {
    many: &'m Many<'p>,
    /// How the flows of each class rest, if they can.
    layouts: Box<[Option<Arc<Layout>>]>,
}

/// What one shard keeps of its flows for each class of policies.
#[derive(Debug)]
pub struct Shared(Box<[ClassRack]>);

impl Rack for Shared {
    fn swap(&mut self, one: usize, other: usize) {
        for rack in &mut self.0 {
            match rack {
                ClassRack::AtRest(rack) => rack.shelf.swap(one, other),
                ClassRack::AtWork(runs) => runs.swap(one, other),
            }
        }
    }

    #[inline]
    fn touch(&self, at: usize) -> u64 {
        match self.0.first() {
            Some(ClassRack::AtRest(rack)) => rack.shelf.touch(at),
            _ => 0,
        }
    }
}

#[derive(Debug)]
enum ClassRack {
    AtRest(Box<AtRest>),
    AtWork(Arena<ClassRun>),
}

#[derive(Debug)]
struct AtRest {
    layout: Arc<Layout>,
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
        Together { many, layouts: many.classes.iter().map(|class| class.layout().map(Arc::new)).collect() }
    }

    /// The flows that were followed before, perhaps elsewhere, with what they came to, in any order; their streams are numbered.
    pub fn gathered(&self, flows: impl Iterator<Item = (Flow, Box<[ClassRun]>)>) -> Studied {
        Kept::joined(self.rack(), flows, |rack, at, flow, runs| {
            for ((class, rack), run) in self.many.classes.iter().zip(&mut rack.0).zip(runs) {
                match rack {
                    ClassRack::AtRest(rack) => rack.begin(class, at, flow, run.parts),
                    ClassRack::AtWork(held) => held.put(at, run),
                }
            }
        })
    }

    fn classes<'r>(&self, rack: &'r mut Shared) -> impl Iterator<Item = (&'m Class<'p>, &'r mut ClassRack)> {
        self.many.classes.iter().zip(&mut rack.0)
    }
}

impl Keep for Together<'_, '_> {
    type Rack = Shared;
    type Flows = Studied;

    fn rack(&self) -> Shared {
        let rack = |layout: &Option<Arc<Layout>>| match layout {
            Some(layout) => {
                ClassRack::AtRest(Box::new(AtRest { layout: Arc::clone(layout), shelf: Shelf::new(layout), parts: Vec::new() }))
            }
            None => ClassRack::AtWork(Arena::default()),
        };
        Shared(self.layouts.iter().map(rack).collect())
    }

    fn begin(&self, rack: &mut Shared, at: usize, flow: &Flow, seg: &Segment) {
        for (class, rack) in self.classes(rack) {
            match rack {
                // What rests of a flow that no box knows yet is nothing.
                ClassRack::AtRest(rack) if Replay::beginning(flow, seg) == Beginning::Seen => rack.shelf.put(at),
                ClassRack::AtRest(rack) => rack.begin(class, at, flow, class.begin(flow, seg).parts),
                ClassRack::AtWork(runs) => runs.put(at, class.begin(flow, seg)),
            }
        }
    }

    #[inline]
    fn segment(&self, rack: &mut Shared, at: usize, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        let told = Told { flow, seg, observation, previous_frame };
        for (class, rack) in self.classes(rack) {
            match rack {
                ClassRack::AtRest(rack) => rack.segment(class, at, told, self.many.beyond),
                ClassRack::AtWork(runs) => class.follow(runs.at_mut(at), told, self.many.beyond),
            }
        }
    }

    fn flows(&self, mut kept: Kept<Shared>, end: Instant, job: &Job) -> Studied {
        super::pipeline::on_threads(job, || {
            kept.shards.par_iter_mut().for_each(|(table, rack)| {
                for (class, rack) in self.classes(rack) {
                    if let ClassRack::AtWork(runs) = rack {
                        table.flows().zip(runs.iter_mut()).for_each(|(flow, run)| class.probes(run, flow, end, self.many.beyond));
                    }
                }
            });
        });
        kept
    }
}

impl AtRest {
    /// A flow of which something is known already.
    fn begin(&mut self, class: &Class<'_>, at: usize, flow: &Flow, parts: Vec<Part>) {
        self.shelf.put(at);
        self.parts = parts;
        self.lay_down(class, at, flow);
    }

    #[inline]
    fn segment(&mut self, class: &Class<'_>, at: usize, told: Told<'_>, beyond: bool) {
        let flags = self.shelf.words(at)[1] as u32;
        let mut is_heard = false;
        if flags & (ODD | UNUSUAL) == 0 {
            heard(self.shelf.profiles.at_mut(at), told.flow, told.observation);
            if flags & RARE != 0 && told.observation.revises.is_some() {
                self.others_hear(at, told.observation);
            }
            // A packet that the capture point saw twice crossed the boxes once.
            let crossed = told.observation.shape == Shape::Duplicate;
            let question = Question { replay: class.replay(0), told: &told, others: class };
            if crossed || self.layout.passes(&mut self.shelf, at, &question) {
                return;
            }
            is_heard = true;
        }
        self.at_work(class, at, &Step { told, is_heard }, beyond);
    }

    #[cold]
    fn others_hear(&mut self, at: usize, observation: &Observation) {
        if let Some(beside) = self.shelf.beside_mut(at) {
            beside.parts.iter_mut().for_each(|part| part.run.observed(observation));
        }
    }

    /// A packet that is not a usual one, or a flow that is not.
    #[inline(never)]
    fn at_work(&mut self, class: &Class<'_>, at: usize, step: &Step<'_>, beyond: bool) {
        if self.shelf.words(at)[1] as u32 & ODD != 0 {
            let Some(beside) = self.shelf.beside_mut(at) else { return };
            let going = beside.parts.iter().any(|part| !part.done);
            class.segment(&mut beside.parts, step, beyond);
            if going {
                self.parts.clear();
                self.parts.extend(self.shelf.take_beside(at).into_iter().flat_map(|beside| beside.parts));
                self.lay_down(class, at, step.told.flow);
            }
            return;
        }
        let mut main = self.parts.pop().unwrap_or_else(|| Part::of(class.everybody(), self.layout.scratch()));
        self.layout.take_up(self.shelf.words(at), &mut main.run, step.told.flow);
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
        self.lay_down(class, at, step.told.flow);
    }

    /// Puts the parts of a flow to rest; what stood beside its words was taken.
    fn lay_down(&mut self, class: &Class<'_>, at: usize, flow: &Flow) {
        let mut going = self.parts.iter().enumerate().filter(|(_, part)| !part.done).map(|(index, _)| index);
        let only = going.next().filter(|_| going.next().is_none());
        let laid = only.is_some_and(|only| {
            let part = &mut self.parts[only];
            let first = part.members.first().unwrap_or(0);
            if first != 0 {
                class.retime(&mut part.run, 0);
            }
            let laid = self.layout.lay(self.shelf.words_mut(at), &part.run, flow);
            if !laid && first != 0 {
                class.retime(&mut part.run, first);
            }
            laid
        });
        // Those that are done need not remember what their boxes did.
        self.parts.iter_mut().for_each(|part| part.forget_states(class.path(0)));
        let Some(only) = only.filter(|_| laid) else {
            lay_aside(self.shelf.words_mut(at), false);
            let parts = std::mem::take(&mut self.parts);
            return self.shelf.set_beside(at, Some(Box::new(Beside { members: class.everybody(), rare: None, parts })));
        };
        let mut main = self.parts.swap_remove(only);
        std::mem::swap(self.shelf.profiles.at_mut(at), &mut main.run.profile);
        let rare = Rare::of(&mut main.run, None);
        let unusual = if rare.is_some() { UNUSUAL } else { 0 };
        let alone = self.parts.is_empty() && rare.is_none() && main.members.is_all();
        let members = std::mem::replace(&mut main.members, class.everybody());
        let beside = (!alone).then(|| Box::new(Beside { members, rare, parts: self.parts.drain(..).collect() }));
        self.shelf.words_mut(at)[1] |= u64::from(unusual);
        self.shelf.set_beside(at, beside);
        self.parts.push(main);
    }
}

/// The flows of many policies, in the order of their first packets.
pub type Studied = Kept<Shared>;

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
            self.0.resize_with(place + 1, || Part::of(Members::all(0), FlowRun::blank()));
        }
        &mut self.0[place]
    }
}

impl Studied {
    /// What a flow came to for the policies of a class, by the place of the class in [`Many::classes`].
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn parts<'v>(&'v self, number: usize, place: usize, class: &Class<'_>, scratch: &'v mut Scratch) -> Parts<'v> {
        if let (ClassRack::AtRest(rack), at) = self.rack(number, place) {
            scratch.at(place).run.profile.clone_from(rack.shelf.profiles.at(at));
        }
        self.outline(number, place, class, scratch)
    }

    /// The same but for the spells of the run that rests, which are those of some other.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn outline<'v>(&'v self, number: usize, place: usize, class: &Class<'_>, scratch: &'v mut Scratch) -> Parts<'v> {
        let (rack, at) = match self.rack(number, place) {
            (ClassRack::AtRest(rack), at) => (rack, at),
            (ClassRack::AtWork(runs), at) => return Parts { main: None, others: &runs.at(at).parts },
        };
        let (words, beside) = (rack.shelf.words(at), rack.shelf.beside(at));
        let others = beside.map_or(&[][..], |beside| &beside.parts);
        if words[1] as u32 & ODD != 0 {
            return Parts { main: None, others };
        }
        let part = scratch.at(place);
        let Part { members, run, .. } = &mut *part;
        rack.layout.take_up(words, run, self.flow(number));
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
        match self.rack(number, place) {
            (ClassRack::AtRest(rack), at) => rack.shelf.is_plain_and_over(at),
            (ClassRack::AtWork(_), _) => false,
        }
    }

    /// The entries of a flow that is one run for all policies of a class, none of which has ended: for each its box, when it was last
    /// renewed, and its timer. They were made by the flow's first packet. Says whether it is such a flow; tells nothing where not.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn entries(&self, number: usize, place: usize, class: &Class<'_>, tell: impl FnMut(usize, Instant, TimerId)) -> bool {
        match self.rack(number, place) {
            (ClassRack::AtRest(rack), at) if rack.shelf.is_plain(at) => {
                rack.layout.each_timer(class.path(0), rack.shelf.words(at), self.flow(number).proto(), tell);
                true
            }
            _ => false,
        }
    }

    /// What is kept of a flow for a class of policies, by its number there.
    fn rack(&self, number: usize, place: usize) -> (&ClassRack, usize) {
        let (rack, at) = self.place(number);
        (&rack.0[place], at)
    }
}
