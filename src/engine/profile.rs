//! The longest idle spell that each timer of each box had to bear: from it follow the exact break-points.
//!
//! Every flow has one, and nearly every packet asks it, so it is small and in one piece: the boxes of a path mostly bear the
//! same spells, which are kept once, and a row is a box, a timer and a reference in two bytes. A flow that needs more than fits
//! has a plain list. Knows no boxes; it keeps maxima.

use super::timers::TimerId;
use crate::flow::GapEvidence;
use crate::time::Duration;
use serde::{Deserialize, Serialize};

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
const SPELLS: usize = 7;
const ROWS: usize = 17;
/// Boxes that two bits tell apart.
const HOPS: usize = 4;
/// No prior spell.
const NONE: u8 = 0xff;

/// A row in two bytes: two bits for the box, eleven for the timer, three for the spell.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Short(u16);

const SPELL: u16 = 0x0007;
const _: () = assert!(TimerId::NUMBERS <= 1 << 11 && SPELLS < 8);

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

/// The rows of a flow, in the order of their first occurrence. What every packet asks stands together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct Profile {
    idle: [Duration; SPELLS],
    rows: [Short; ROWS],
    /// For each box the row that it asked for last.
    last: [u8; HOPS],
    /// For each box the spell that was the longest before the one that a later segment may still show to be a hole.
    prior: [u8; HOPS],
    /// The places of spells that may be in use.
    taken: u8,
    count: u8,
    /// The rows whose longest spell may still be shown to be a hole.
    open: u32,
    /// The rows of a flow that needs more, in place of those above.
    #[allow(clippy::box_collection, reason = "eight bytes where there is nothing, in place of twenty-four")]
    more: Option<Box<Vec<Long>>>,
    evidence: [GapEvidence; SPELLS],
    frames: [(u32, u32); SPELLS],
}

const _: () = assert!(size_of::<Profile>() <= 176);

/// A row in full.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Long {
    row: Row,
    prior: Option<Spell>,
    open: bool,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            idle: [Duration::ZERO; SPELLS],
            rows: [Short(0); ROWS],
            last: [0; HOPS],
            prior: [NONE; HOPS],
            taken: 0,
            count: 0,
            open: 0,
            more: None,
            evidence: [GapEvidence::Unknown; SPELLS],
            frames: [(0, 0); SPELLS],
        }
    }
}

impl Profile {
    /// The rows of all boxes.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let short = if self.more.is_some() { 0 } else { usize::from(self.count) };
        let row = |row: &Short| Row { hop: row.hop(), timer: row.timer(), longest: self.spell(row.spell()) };
        self.rows[..short].iter().map(row).chain(self.more.iter().flat_map(|rows| rows.iter()).map(|long| long.row))
    }

    /// Whether something holds of a row; asked of each in their order until it does.
    #[inline]
    pub fn any_idle(&self, mut ask: impl FnMut(usize, TimerId, Duration) -> bool) -> bool {
        match &self.more {
            None => {
                let mut rows = self.rows[..usize::from(self.count)].iter();
                rows.any(|row| ask(row.hop(), row.timer(), self.idle[row.spell().min(SPELLS - 1)]))
            }
            Some(rows) => rows.iter().any(|long| ask(long.row.hop, long.row.timer, long.row.longest.idle)),
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
        self.idle[0].0 ^ self.idle[SPELLS - 1].0 ^ u64::from(self.open) ^ u64::from(self.frames[SPELLS - 1].1)
    }

    fn spell(&self, at: usize) -> Spell {
        Spell { idle: self.idle[at], before: self.frames[at].0, after: self.frames[at].1, evidence: self.evidence[at] }
    }

    /// A segment begins a silence that a later one may show to be a hole: all earlier ones are settled.
    #[inline]
    pub fn settle(&mut self) {
        self.open = 0;
        self.prior = [NONE; HOPS];
        if let Some(rows) = &mut self.more {
            for long in rows.iter_mut() {
                (long.open, long.prior) = (false, None);
            }
        }
    }

    /// Records one spell; holes prove nothing and are left out. `open` says whether a later segment may show this one to be a
    /// hole.
    #[inline]
    pub fn note(&mut self, hop: usize, timer: TimerId, spell: Spell, open: bool) {
        if spell.evidence == GapEvidence::Hole {
            return;
        }
        if self.more.is_none() && hop < HOPS {
            let key = Short::key(hop, timer);
            let count = usize::from(self.count).min(ROWS);
            let last = usize::from(self.last[hop]);
            let asked_again = last < count && self.rows[last].is(key);
            let found = if asked_again { Some(last) } else { self.rows[..count].iter().position(|row| row.is(key)) };
            if let Some(at) = found {
                self.last[hop] = at as u8;
                if spell.idle > self.idle[self.rows[at].spell()] {
                    self.lengthen(at, spell, open);
                }
                return;
            }
        }
        self.begin(hop, timer, spell, open);
    }

    /// A row has a new longest spell.
    fn lengthen(&mut self, at: usize, spell: Spell, open: bool) {
        let row = self.rows[at];
        let hop = row.hop();
        let was_open = self.open >> at & 1 == 1;
        if was_open {
            self.prior[hop] = NONE;
        }
        // The old spell stays where it may be needed again.
        self.open = self.open & !(1 << at) | u32::from(open) << at;
        if open {
            self.prior[hop] = row.spell() as u8;
        } else {
            // Its own place is free, if nobody else is there.
            self.rows[at] = Short(row.0 | SPELL);
        }
        let Some(place) = self.place(spell) else {
            self.rows[at] = row;
            self.spill();
            return self.begin(hop, row.timer(), spell, open);
        };
        self.rows[at] = Short(row.0 & !SPELL | place as u16);
    }

    #[cold]
    fn begin(&mut self, hop: usize, timer: TimerId, spell: Spell, open: bool) {
        let count = usize::from(self.count);
        if self.more.is_none()
            && hop < HOPS
            && count < ROWS
            && let Some(place) = self.place(spell)
        {
            self.rows[count] = Short(Short::key(hop, timer) | place as u16);
            self.count += 1;
            if open {
                self.open |= 1 << count;
                self.prior[hop] = NONE;
            }
            return;
        }
        self.spill();
        let rows = self.more.get_or_insert_default();
        match rows.iter_mut().find(|long| (long.row.hop, long.row.timer) == (hop, timer)) {
            Some(long) if spell.idle > long.row.longest.idle => {
                long.prior = Some(long.row.longest).filter(|_| open);
                (long.row.longest, long.open) = (spell, open);
            }
            Some(_) => {}
            None => rows.push(Long { row: Row { hop, timer, longest: spell }, prior: None, open }),
        }
    }

    /// Where a spell stands, or is put; nothing where there is no room.
    fn place(&mut self, spell: Spell) -> Option<usize> {
        // What nobody refers to any more may still be found here, and is what it was.
        if let Some(same) = (0..SPELLS).find(|at| self.idle[*at] == spell.idle && self.taken >> at & 1 == 1 && self.spell(*at) == spell) {
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
        (self.idle[free], self.frames[free], self.evidence[free]) = (spell.idle, (spell.before, spell.after), spell.evidence);
        Some(free)
    }

    /// The places of spells that are in use.
    fn used(&self) -> u8 {
        let rows = self.rows[..usize::from(self.count)].iter().map(|row| row.spell());
        let priors = self.prior.iter().filter(|prior| **prior != NONE).map(|prior| usize::from(*prior));
        rows.chain(priors).filter(|at| *at < SPELLS).fold(0, |used, at| used | 1 << at)
    }

    /// Goes over to the plain list.
    fn spill(&mut self) {
        if self.more.is_some() {
            return;
        }
        let long = |at: usize| {
            let row = self.rows[at];
            let open = self.open >> at & 1 == 1;
            let prior = self.prior[row.hop()];
            let prior = (open && prior != NONE).then(|| self.spell(usize::from(prior)));
            Long { row: Row { hop: row.hop(), timer: row.timer(), longest: self.spell(row.spell()) }, prior, open }
        };
        self.more = Some(Box::new((0..usize::from(self.count)).map(long).collect()));
    }

    /// A later segment changed what is known about the silence that is not settled.
    pub fn revise(&mut self, evidence: GapEvidence) {
        if let Some(rows) = &mut self.more {
            for long in rows.iter_mut().filter(|long| long.open) {
                if evidence != GapEvidence::Hole {
                    long.row.longest.evidence = evidence;
                } else if let Some(prior) = long.prior.take() {
                    (long.row.longest, long.open) = (prior, false);
                } else {
                    long.row.longest.idle = Duration::ZERO;
                }
            }
            return;
        }
        for at in 0..usize::from(self.count) {
            if self.open >> at & 1 == 0 {
                continue;
            }
            let row = self.rows[at];
            let prior = std::mem::replace(&mut self.prior[row.hop()], NONE);
            if evidence != GapEvidence::Hole {
                self.prior[row.hop()] = prior;
                self.evidence[row.spell()] = evidence;
            } else if prior != NONE {
                self.rows[at] = Short(row.0 & !SPELL | u16::from(prior));
                self.open &= !(1 << at);
            } else {
                // The rows that share the spell are open too, and end here with it.
                self.idle[row.spell()] = Duration::ZERO;
            }
        }
    }
}
