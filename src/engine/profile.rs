//! The longest idle spell that each timer of each box had to bear: from it follow the exact break-points.
//!
//! Every flow has one, and nearly every packet asks it, so it is small and in one piece: the boxes of a path mostly bear the
//! same spells, which are kept once, and a row is a box, a timer and a reference in two bytes. A flow that needs more than fits
//! has a plain list. Knows no boxes; it keeps maxima.

use super::timers::TimerId;
use crate::flow::GapEvidence;
use crate::time::Duration;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU8;

/// The longest spell under one timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spell {
    /// How long nothing renewed the timer.
    pub idle: Duration,
    /// The frame that set the timer.
    pub before: u32,
    /// The frame that found it.
    pub after: u32,
    /// What is known about the silence.
    pub evidence: GapEvidence,
}

/// One timer's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The box, from 0 at the client.
    pub hop: usize,
    /// The timer.
    pub timer: TimerId,
    /// The longest spell that is not known to be a hole.
    pub longest: Spell,
}

/// Spells and rows that fit in place: what nine of ten flows have behind three boxes.
const SPELLS: usize = 6;
const ROWS: usize = 15;
/// Boxes that two bits tell apart.
const HOPS: usize = 4;
/// No prior spell.
const NONE: usize = 0xf;
/// A spell that lasts as long, some 78 hours, does not fit in place.
const IDLE_MAX: Duration = Duration(1 << 48);

/// A row in two bytes: two bits for the box, eleven for the timer, three for the spell.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Short(u16);

const SPELL: u16 = 0x0007;
const _: () = assert!(TimerId::NUMBERS < FREE.timer().0 as usize && SPELLS < 8);

/// What stands where there is no row: no timer has that number.
const FREE: Short = Short(u16::MAX);

impl Short {
    const fn key(hop: usize, timer: TimerId) -> u16 {
        (hop as u16) << 14 | timer.0 << 3
    }

    const fn spell(self) -> usize {
        (self.0 & SPELL) as usize
    }

    const fn hop(self) -> usize {
        (self.0 >> 14) as usize
    }

    const fn timer(self) -> TimerId {
        TimerId(self.0 >> 3 & 0x7ff)
    }

    const fn is(self, key: u16) -> bool {
        self.0 & !SPELL == key
    }
}

/// Small numbers side by side: four bits each, or two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Packed<const BITS: u32>(u16);

impl<const BITS: u32> Packed<BITS> {
    #[inline]
    const fn at(self, index: usize) -> usize {
        (self.0 >> (BITS * index as u32) & ((1 << BITS) - 1)) as usize
    }

    #[inline]
    const fn set(&mut self, index: usize, value: usize) {
        let shift = BITS * index as u32;
        self.0 = self.0 & !(((1 << BITS) - 1) << shift) | (value as u16) << shift;
    }
}

const NO_PRIOR: Packed<4> = Packed(u16::MAX);

/// The rows of a flow, in the order of their first occurrence. Two cache lines.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[repr(align(64))]
pub struct Profile(Rows);

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Rows {
    InPlace(InPlace),
    /// Those of a flow that needs more.
    #[allow(clippy::box_collection, reason = "eight bytes in place of twenty-four")]
    Beside(Box<Vec<Long>>),
}

/// Rows with their spells. The length of a spell has 48 bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct InPlace {
    idle: [u32; SPELLS],
    frames: [(u32, u32); SPELLS],
    idle_high: [u16; SPELLS],
    rows: [Short; ROWS],
    /// For each box the row that it asked for last, of its timers on either side.
    last: [Packed<4>; 2],
    /// For each box the spell that was the longest before the one that a later segment may still show to be a hole.
    prior: Packed<4>,
    /// What is known about each spell.
    evidence: Packed<2>,
    /// The rows whose longest spell may still be shown to be a hole.
    open: u16,
    /// The places of spells that may be in use.
    taken: u8,
    /// One more than there are rows: a number that is never nothing leaves room to tell that there are none in place.
    count: NonZeroU8,
}

const _: () = assert!(size_of::<Profile>() == 128);

/// A row in full.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Long {
    row: Row,
    prior: Option<Spell>,
    open: bool,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows::InPlace(InPlace {
            idle: [0; SPELLS],
            frames: [(0, 0); SPELLS],
            idle_high: [0; SPELLS],
            rows: [FREE; ROWS],
            last: [Packed(0); 2],
            prior: NO_PRIOR,
            evidence: Packed(0),
            open: 0,
            taken: 0,
            count: NonZeroU8::MIN,
        })
    }
}

impl Profile {
    /// The rows of all boxes.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let (short, long) = match &self.0 {
            Rows::InPlace(held) => (Some(held), &[][..]),
            Rows::Beside(rows) => (None, &rows[..]),
        };
        let short = short.into_iter().flat_map(|held| held.rows[..held.count()].iter().map(|row| held.row(*row)));
        short.chain(long.iter().map(|long| long.row))
    }

    /// Whether something holds of a row; asked of each in their order until it does.
    #[inline]
    pub fn any_idle(&self, mut ask: impl FnMut(usize, TimerId, Duration) -> bool) -> bool {
        match &self.0 {
            Rows::InPlace(held) => {
                let mut rows = held.rows[..held.count()].iter();
                rows.any(|row| ask(row.hop(), row.timer(), held.idle(row.spell())))
            }
            Rows::Beside(rows) => rows.iter().any(|long| ask(long.row.hop, long.row.timer, long.row.longest.idle)),
        }
    }

    /// The rows in their order, of each the box, the timer and how long its longest spell is.
    #[inline]
    pub fn each_idle(&self, mut tell: impl FnMut(usize, TimerId, Duration)) {
        self.any_idle(|hop, timer, idle| {
            tell(hop, timer, idle);
            false
        });
    }

    /// Whether a timer of a box has borne a silence that was as long.
    #[inline]
    pub(super) fn has_borne(&self, hop: usize, timer: TimerId, idle: Duration) -> bool {
        self.any_idle(|other_hop, other_timer, borne| (other_hop, other_timer) == (hop, timer) && borne >= idle)
    }

    /// Reads a little of each of its cache lines: what is asked of many flows in a row comes from memory at once.
    #[inline]
    pub fn touch(&self) -> u64 {
        match &self.0 {
            Rows::InPlace(held) => u64::from(held.idle[0]) ^ u64::from(held.open),
            Rows::Beside(_) => 0,
        }
    }

    /// A segment begins a silence that a later one may show to be a hole: all earlier ones are settled.
    #[inline]
    pub fn settle(&mut self) {
        match &mut self.0 {
            Rows::InPlace(held) => (held.open, held.prior) = (0, NO_PRIOR),
            Rows::Beside(rows) => rows.iter_mut().for_each(|long| (long.open, long.prior) = (false, None)),
        }
    }

    /// Records one spell; holes prove nothing and are left out. `open` says whether a later segment may show this one to be a
    /// hole; `hint` is where the last spell was put in place, which is mostly the one of the box before, and is kept from box to box.
    #[inline(always)]
    pub(super) fn note(&mut self, hop: usize, timer: TimerId, spell: Spell, open: bool, hint: &mut usize) {
        let borne = matches!(&self.0, Rows::InPlace(held) if held.is_no_longer(hop, timer, spell.idle));
        if !borne && spell.evidence != GapEvidence::Hole {
            self.note_longer(hop, timer, spell, open, hint);
        }
    }

    /// A spell that may be the longest under its timer.
    #[inline(never)]
    fn note_longer(&mut self, hop: usize, timer: TimerId, spell: Spell, open: bool, hint: &mut usize) {
        if let Rows::InPlace(held) = &mut self.0
            && hop < HOPS
            && held.note(hop, timer, spell, open, hint)
        {
            return;
        }
        let rows = self.beside();
        match rows.iter_mut().find(|long| (long.row.hop, long.row.timer) == (hop, timer)) {
            Some(long) if spell.idle > long.row.longest.idle => {
                long.prior = Some(long.row.longest).filter(|_| open);
                (long.row.longest, long.open) = (spell, open);
            }
            Some(_) => {}
            None => rows.push(Long { row: Row { hop, timer, longest: spell }, prior: None, open }),
        }
    }

    /// Goes over to the plain list.
    fn beside(&mut self) -> &mut Vec<Long> {
        if let Rows::InPlace(held) = &self.0 {
            let long = (0..held.count()).map(|at| held.long(at)).collect();
            self.0 = Rows::Beside(Box::new(long));
        }
        match &mut self.0 {
            Rows::Beside(rows) => rows,
            Rows::InPlace(_) => unreachable!("they were put beside"),
        }
    }

    /// A later segment changed what is known about the silence that is not settled.
    pub fn revise(&mut self, evidence: GapEvidence) {
        let rows = match &mut self.0 {
            Rows::InPlace(held) => return held.revise(evidence),
            Rows::Beside(rows) => rows,
        };
        for long in rows.iter_mut().filter(|long| long.open) {
            if evidence != GapEvidence::Hole {
                long.row.longest.evidence = evidence;
            } else if let Some(prior) = long.prior.take() {
                (long.row.longest, long.open) = (prior, false);
            } else {
                long.row.longest.idle = Duration::ZERO;
            }
        }
    }
}

impl InPlace {
    #[inline]
    const fn count(&self) -> usize {
        let count = self.count.get() as usize - 1;
        if count < ROWS { count } else { ROWS }
    }

    #[inline]
    fn idle(&self, at: usize) -> Duration {
        let at = at.min(SPELLS - 1);
        Duration(u64::from(self.idle_high[at]) << 32 | u64::from(self.idle[at]))
    }

    /// Whether the row that a box asked for last is this timer's, and has borne a spell that was as long.
    #[inline(always)]
    fn is_no_longer(&self, hop: usize, timer: TimerId, idle: Duration) -> bool {
        hop < HOPS && {
            let last = self.last[timer.side()].at(hop);
            let row = if last < ROWS { self.rows[last] } else { FREE };
            row.is(Short::key(hop, timer)) && idle <= self.idle(row.spell())
        }
    }

    /// Takes in a spell. Says whether there was room for it; nothing has changed where not.
    fn note(&mut self, hop: usize, timer: TimerId, spell: Spell, open: bool, hint: &mut usize) -> bool {
        let key = Short::key(hop, timer);
        let count = self.count();
        let found = self.rows[..count].iter().position(|row| row.is(key));
        let done = match found {
            Some(at) => spell.idle <= self.idle(self.rows[at].spell()) || self.lengthen(at, spell, open, hint),
            None => count < ROWS && self.add(key, spell, open, hint),
        };
        if done {
            self.last[timer.side()].set(hop, found.unwrap_or(count));
        }
        done
    }

    fn set_idle(&mut self, at: usize, idle: Duration) {
        (self.idle[at], self.idle_high[at]) = (idle.0 as u32, (idle.0 >> 32) as u16);
    }

    fn spell(&self, at: usize) -> Spell {
        let (before, after) = self.frames[at.min(SPELLS - 1)];
        Spell { idle: self.idle(at), before, after, evidence: GapEvidence::ALL[self.evidence.at(at)] }
    }

    fn row(&self, row: Short) -> Row {
        Row { hop: row.hop(), timer: row.timer(), longest: self.spell(row.spell()) }
    }

    /// The spell that was a box's longest before the one that is not settled.
    fn prior(&self, hop: usize) -> Option<usize> {
        Some(self.prior.at(hop)).filter(|prior| *prior != NONE)
    }

    fn long(&self, at: usize) -> Long {
        let row = self.rows[at];
        let open = self.open >> at & 1 == 1;
        let prior = self.prior(row.hop()).filter(|_| open).map(|prior| self.spell(prior));
        Long { row: self.row(row), prior, open }
    }

    /// A row has a new longest spell. Says whether there was room for it; nothing has changed where not.
    fn lengthen(&mut self, at: usize, spell: Spell, open: bool, hint: &mut usize) -> bool {
        let (row, was) = (self.rows[at], (self.open, self.prior, self.taken));
        let hop = row.hop();
        if self.open >> at & 1 == 1 {
            self.prior.set(hop, NONE);
        }
        // The old spell stays where it may be needed again.
        self.open = self.open & !(1 << at) | u16::from(open) << at;
        if open {
            self.prior.set(hop, row.spell());
        } else {
            // Its own place is free, if nobody else is there.
            self.rows[at] = Short(row.0 | SPELL);
        }
        let Some(place) = self.place(spell, hint) else {
            self.rows[at] = row;
            (self.open, self.prior, self.taken) = was;
            return false;
        };
        self.rows[at] = Short(row.0 & !SPELL | place as u16);
        true
    }

    /// A row for a timer that had none. Says whether there was room for its spell.
    fn add(&mut self, key: u16, spell: Spell, open: bool, hint: &mut usize) -> bool {
        let count = self.count();
        let Some(place) = self.place(spell, hint) else { return false };
        self.rows[count] = Short(key | place as u16);
        self.count = self.count.saturating_add(1);
        if open {
            self.open |= 1 << count;
            self.prior.set(self.rows[count].hop(), NONE);
        }
        true
    }

    /// Where a spell stands, or is put; nothing where there is no room.
    #[inline(always)]
    fn place(&mut self, spell: Spell, hint: &mut usize) -> Option<usize> {
        if *hint >= SPELLS || !self.holds(*hint, spell) {
            *hint = self.find_place(spell)?;
        }
        Some(*hint)
    }

    /// Whether a spell is found at a place. What nobody refers to any more may still be found, and is what it was.
    #[inline(always)]
    fn holds(&self, at: usize, spell: Spell) -> bool {
        self.idle[at] == spell.idle.0 as u32 && self.taken >> at & 1 == 1 && self.spell(at) == spell
    }

    fn find_place(&mut self, spell: Spell) -> Option<usize> {
        if spell.idle >= IDLE_MAX {
            return None;
        }
        if let Some(same) = (0..SPELLS).find(|at| self.holds(*at, spell)) {
            return Some(same);
        }
        if self.taken.trailing_ones() as usize >= SPELLS {
            self.taken = self.used();
        }
        let free = self.taken.trailing_ones() as usize;
        if free >= SPELLS {
            return None;
        }
        self.taken |= 1 << free;
        self.set_idle(free, spell.idle);
        self.frames[free] = (spell.before, spell.after);
        self.evidence.set(free, spell.evidence as usize);
        Some(free)
    }

    /// The places of spells that are in use.
    fn used(&self) -> u8 {
        let rows = self.rows[..self.count()].iter().map(|row| row.spell());
        let priors = (0..HOPS).map(|hop| self.prior.at(hop));
        rows.chain(priors).filter(|at| *at < SPELLS).fold(0, |used, at| used | 1 << at)
    }

    fn revise(&mut self, evidence: GapEvidence) {
        for at in 0..self.count() {
            if self.open >> at & 1 == 0 {
                continue;
            }
            let row = self.rows[at];
            if evidence != GapEvidence::Hole {
                self.evidence.set(row.spell(), evidence as usize);
                continue;
            }
            let prior = self.prior(row.hop());
            self.prior.set(row.hop(), NONE);
            if let Some(prior) = prior {
                self.rows[at] = Short(row.0 & !SPELL | prior as u16);
                self.open &= !(1 << at);
            } else {
                // The rows that share the spell are open too, and end here with it.
                self.set_idle(row.spell(), Duration::ZERO);
            }
        }
    }
}
