//! Flows one by one: as long as no table is full and no defence acts, none knows of another, and their entries simply add up.
//!
//! Each template goes through the path once; its copies live the same lives at other times. The result is exact.

use super::carry::{CLASSES, Gate, Held, Passage, carry, for_each_entry};
use super::gather::Kin;
use super::load::{Load, moved};
use super::meter::{Census, Meter};
use super::{Fate, Victim};
use crate::engine::Path;
use crate::engine::hop::Hop;
use crate::model::{Moment, Outcome, Packet};
use crate::time::{Duration, Instant};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A stretch of an entry's life in one class.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    from: Instant,
    to: Instant,
    class: u8,
    /// Whether its timer ended it.
    expires: bool,
}

/// What one flow does to the boxes.
#[derive(Clone, Debug)]
pub struct Course {
    /// For each box, the lives of its entries.
    pub lives: Vec<Vec<Stretch>>,
    /// For each box, when entries were made.
    pub made: Vec<Vec<Instant>>,
    /// When an entry was made anew that had ended.
    pub repaired: Option<Instant>,
    /// When a packet was lost because an entry had ended.
    pub cut: Option<Instant>,
}

impl Course {
    /// What became of a flow whose times are moved by `shift`, as far as is known at `end`, and when.
    pub fn fate(&self, shift: i64, end: Instant) -> (Fate, Instant) {
        let until = |at: Option<Instant>| at.map(|at| moved(at, shift)).filter(|at| *at <= end);
        match (until(self.cut), until(self.repaired)) {
            (Some(at), _) => (Fate::Cut, at),
            (None, Some(at)) => (Fate::Repaired, at),
            (None, None) => (Fate::Passed, end),
        }
    }
}

struct Open {
    class: u8,
    from: Instant,
    end: Instant,
}

/// Lets every packet pass and writes down what entries there are.
struct Book {
    open: Vec<Vec<Open>>,
    lives: Vec<Vec<Stretch>>,
    made: Vec<Vec<Instant>>,
    listed: Vec<(u8, Instant)>,
}

impl Book {
    fn note(&mut self, index: usize, hop: &Hop, held: &Held, now: Instant, anew: bool) {
        self.listed.clear();
        let listed = &mut self.listed;
        for_each_entry(hop, &held.state, now, |class, end| listed.push((class, end)));
        let open = &mut self.open[index];
        let alive = open.iter().filter(|o| o.end > now).count();
        let births = listed.len().saturating_sub(alive).max(usize::from(anew && !listed.is_empty()));
        self.made[index].extend(std::iter::repeat_n(now, births));
        let same = open.len() == listed.len() && open.iter().zip(listed.iter()).all(|(o, (class, _))| o.class == *class && o.end > now);
        if same {
            open.iter_mut().zip(listed.iter()).for_each(|(o, (_, end))| o.end = *end);
            return;
        }
        self.lives[index].extend(open.drain(..).map(|o| Stretch {
            from: o.from,
            to: o.end.min(now),
            class: o.class,
            expires: o.end <= now,
        }));
        open.extend(listed.iter().map(|(class, end)| Open { class: *class, from: now, end: *end }));
    }
}

impl Gate for Book {
    fn packet(&mut self, index: usize, hop: &Hop, held: &mut Held, packet: Packet<'_>, moment: &mut Moment) -> Outcome {
        let outcome = hop.packet(&mut held.state, packet, moment);
        self.note(index, hop, held, moment.now, outcome.created);
        outcome
    }
}

/// Sends a flow through the path by itself.
pub fn course(path: &Path, kin: &Kin) -> Course {
    let count = path.hops.len();
    let lists = || (0..count).map(|_| Vec::new()).collect();
    let mut book = Book {
        open: (0..count).map(|_| Vec::new()).collect(),
        lives: lists(),
        made: (0..count).map(|_| Vec::new()).collect(),
        listed: Vec::new(),
    };
    let mut hops = begin(path, kin, 0);
    let start = kin.start();
    for (index, held) in hops.iter().enumerate() {
        book.note(index, &path.hops[index], held, start, false);
    }
    let (mut repaired, mut cut) = (None, None);
    for step in &kin.steps {
        let Passage { through, late, .. } = carry(path, kin, &mut hops, step, &step.seg, &mut book);
        if late && !through {
            cut = Some(step.seg.at);
            break;
        }
        if late {
            repaired.get_or_insert(step.seg.at);
        }
    }
    for (open, lives) in book.open.into_iter().zip(&mut book.lives) {
        lives.extend(open.into_iter().map(|o| Stretch { from: o.from, to: o.end, class: o.class, expires: true }));
    }
    Course { lives: book.lives, made: book.made, repaired, cut }
}

/// What the boxes remember of a flow before its first packet, which is moved by so much.
pub fn begin(path: &Path, kin: &Kin, shift: i64) -> Vec<Held> {
    let Some(first) = kin.steps.first() else { return Vec::new() };
    let mut seg = first.seg;
    seg.at = moved(seg.at, shift);
    let states = kin.beginning.states(path, kin.proto, [kin.client.port, kin.server.port], &seg);
    states.map(|state| Held { state, pair: u32::MAX, hole_since: false }).collect()
}

/// All flows.
#[derive(Debug)]
pub struct Alone {
    /// For each box, its table.
    pub meters: Vec<Meter>,
    /// For each box the most that the kernel may have counted, entries included that had ended and that nobody had collected.
    pub bounds: Vec<u64>,
    /// Flows by fate.
    pub fates: [u64; Fate::COUNT],
    /// The first flows that lost something.
    pub victims: Vec<Victim>,
    /// Flows that are in none of it, because somebody stopped it.
    pub left: u64,
}

/// A moment at which a table changes: nanoseconds from the begin, then what happens. Ends sort before beginnings.
const KIND_BITS: u32 = 5;
const BEGINS: u64 = 1;

fn event(at: Instant, begin: Instant, class: u8, kind: u64) -> u64 {
    at.since(begin).0.min(u64::MAX >> KIND_BITS) << KIND_BITS | kind << 4 | u64::from(class)
}

/// Adds up the lives of all members; when `stop` becomes true, of those that are known by then. `lags` says for each box how long an entry that has ended may stay.
pub fn run(path: &Path, load: &Load, lags: &[Duration], victims_max: usize, stop: &AtomicBool) -> Alone {
    let nothing =
        || Course { lives: vec![Vec::new(); path.hops.len()], made: vec![Vec::new(); path.hops.len()], repaired: None, cut: None };
    let known = |kin| if stop.load(Ordering::Relaxed) { (nothing(), false) } else { (course(path, kin), true) };
    let (courses, known): (Vec<Course>, Vec<bool>) = load.kin.par_iter().map(known).unzip();
    let flood = (load.flooders() > 0).then(|| course(path, &load.flood_kin));
    let boxes: Vec<(Meter, u64)> = (0..path.hops.len())
        .map(|hop| {
            let meter = sweep(load, &courses, flood.as_ref(), hop, Duration::ZERO);
            let lag = lags[hop];
            let bound =
                if lag == Duration::ZERO { meter.peak.1.live() } else { sweep(load, &courses, flood.as_ref(), hop, lag).peak.1.live() };
            (meter, bound)
        })
        .collect();
    let mut fates = [0; Fate::COUNT];
    let (mut victims, mut left) = (Vec::new(), 0);
    for member in &load.members {
        if !known[member.kin as usize] {
            left += 1;
            continue;
        }
        let course = &courses[member.kin as usize];
        let (fate, at) = course.fate(load.shift(*member), load.end);
        fates[fate as usize] += 1;
        if matches!(fate, Fate::Cut) && victims.len() < victims_max {
            victims.push(Victim { kin: member.kin, copy: member.copy, fate, at });
        }
    }
    let (meters, bounds) = boxes.into_iter().unzip();
    Alone { meters, bounds, fates, victims, left }
}

/// One box's table over time.
fn sweep(load: &Load, courses: &[Course], flood: Option<&Course>, hop: usize, lag: Duration) -> Meter {
    let (begin, end) = (load.begin, load.end);
    let mut meter = Meter::new(begin, end);
    let of_member = |member: &super::load::Member| {
        let course = &courses[member.kin as usize];
        let shift = load.shift(*member);
        course.lives[hop].iter().filter_map(move |life| {
            let from = moved(life.from, shift);
            (from < end && life.to > life.from).then(|| {
                let to = moved(life.to, shift) + if life.expires { lag } else { Duration::ZERO };
                [event(from, begin, life.class, BEGINS), event(to, begin, life.class, 0)]
            })
        })
    };
    let mut events: Vec<u64> = load.members.par_iter().flat_map_iter(|member| of_member(member).flatten()).collect();
    events.par_sort_unstable();
    let born = |member: &super::load::Member| {
        let shift = load.shift(*member);
        courses[member.kin as usize].made[hop].iter().filter(|at| moved(**at, shift) <= end).count() as u64
    };
    meter.made = load.members.par_iter().map(born).sum();
    let mut streams = flood.map_or_else(Vec::new, |course| streams(load, course, hop, lag));
    meter.made += flood.map_or(0, |course| course.made[hop].len() as u64) * load.flooders();
    let mut census = Census::default();
    let mut own = events.into_iter().peekable();
    loop {
        let flooded = streams.iter().enumerate().map(|(index, stream)| (stream.next(load), index)).min();
        let next = match (own.peek().copied(), flooded) {
            (None, None) => break,
            (Some(one), Some((other, index))) if other < one => streams[index].take(load),
            (None, Some((_, index))) => streams[index].take(load),
            (Some(one), _) => {
                own.next();
                one
            }
        };
        if next == u64::MAX {
            break;
        }
        let at = begin + Duration(next >> KIND_BITS);
        if at > end {
            break;
        }
        let class = (next & 15) as usize;
        if next >> 4 & 1 == BEGINS {
            census.classes[class] += 1;
        } else {
            census.classes[class] -= 1;
        }
        meter.set(at, census);
    }
    meter.finish();
    meter
}

/// One edge of a flood flow's lives, for all its flows in turn.
struct Edges {
    offset: Duration,
    class: u8,
    kind: u64,
    number: u64,
    count: u64,
}

impl Edges {
    fn next(&self, load: &Load) -> u64 {
        if self.number >= self.count {
            return u64::MAX;
        }
        event(load.flood_start(self.number) + self.offset, load.begin, self.class, self.kind)
    }

    fn take(&mut self, load: &Load) -> u64 {
        let next = self.next(load);
        self.number += 1;
        next
    }
}

fn streams(load: &Load, course: &Course, hop: usize, lag: Duration) -> Vec<Edges> {
    let count = load.flooders();
    let edge = |at: Instant, class: u8, kind: u64| Edges { offset: Duration(at.0), class, kind, number: 0, count };
    let lives = course.lives[hop].iter().filter(|life| life.to > life.from);
    lives
        .flat_map(|life| {
            let to = life.to + if life.expires { lag } else { Duration::ZERO };
            [edge(life.from, life.class, BEGINS), edge(to, life.class, 0)]
        })
        .collect()
}

const _: () = assert!(CLASSES <= 16);
