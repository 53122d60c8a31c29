//! The table that all entries of a box share: how many it may hold, who goes when it is full, and when ended entries are found.
//!
//! Source: `__nf_conntrack_alloc`, `early_drop`, `gc_worker`, `__nf_conntrack_confirm` (`net/netfilter/nf_conntrack_core.c`), 2.4
//! to 7.1; the spec's conntrack.md sections 5.2 to 5.4. Which bucket an entry stands in depends on a key that is random at boot:
//! here on the seed. Leaves out: that a collection takes time (it pauses after 10 ms; here only after so many ended entries),
//! other namespaces, which a collection also counts, and the lateness of the timers of 4.8.
//! Must not know packets, states, or what a caller keeps beside an entry.

mod collect;

use self::collect::Collector;
use super::census::{CLASSES, Census};
use super::dialect::{Dialect, EarlyDrop, Expires, Gc, Model};
use crate::model::chains::Chains;
use crate::model::deadlines::Deadlines;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// How large a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// `nf_conntrack_max`, entries; 0 is no limit before 6.19 and 1 since.
    pub max: u64,
    /// `nf_conntrack_buckets`.
    pub buckets: u64,
}

/// What the table must know of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// `IPS_ASSURED`: it is never evicted to make room.
    pub assured: bool,
    /// TCP in FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT or CLOSE: a collection under pressure takes it even if it is assured.
    pub closing: bool,
    /// When its timer ends.
    pub deadline: Instant,
}

/// One entry, 16 bytes; its two nodes in the chains take another 24.
#[derive(Clone, Copy)]
struct Row {
    deadline: Instant,
    flags: u8,
    class: u8,
}

const PRESENT: u8 = 1;
const ASSURED: u8 = 2;
const CLOSING: u8 = 4;
const ENDED: u8 = 8;
const GONE: Row = Row { deadline: Instant(0), flags: 0, class: 0 };

/// A tick at 250 a second, the rate that distributions build with; the pauses of the collectors are counted in ticks.
const HZ: u64 = 250;
const TICK: Duration = Duration::from_millis(1000 / HZ);
/// `NF_CT_EVICTION_RANGE`: how many buckets, or entries, are looked at for a victim.
const EVICTION_RANGE: u32 = 8;

/// The table of one box.
pub struct FullTable {
    limit: Limit,
    dialect: &'static Dialect,
    key: u64,
    rng: Rng,
    chains: Chains,
    rows: Vec<Row>,
    timers: Deadlines,
    collector: Collector,
    /// The chain in which 2.4 looks for a victim next.
    rotating: u32,
    count: u64,
    peak: u64,
    refused: u64,
    evicted: u64,
    collected: u64,
    too_long: u64,
    census: Option<Census>,
    scratch: Vec<u32>,
}

impl FullTable {
    /// An empty table. The seed stands for the key of the hash; it also draws when the first collection is due, for the box
    /// was started long ago.
    pub fn new(limit: Limit, dialect: &'static Dialect, seed: u64) -> FullTable {
        let mut rng = Rng::keyed(seed, 0x7461_626c);
        FullTable {
            limit,
            dialect,
            key: rng.number(),
            chains: Chains::new(limit.buckets),
            rows: Vec::new(),
            timers: Deadlines::default(),
            collector: Collector::new(dialect.gc, &mut rng),
            rng,
            rotating: 0,
            count: 0,
            peak: 0,
            refused: 0,
            evicted: 0,
            collected: 0,
            too_long: 0,
            census: None,
            scratch: Vec::new(),
        }
    }

    /// Time begins at `at` and not at 0: the first collection is so much later.
    pub fn start(&mut self, at: Instant) {
        let collector = &mut self.collector;
        collector.next = at + collector.next.since(Instant::ZERO);
        collector.pass_began = collector.next;
    }

    /// `nf_conntrack_count`: from 4.9 on with entries that have ended and that nobody has found yet.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The most that it ever was.
    pub const fn peak(&self) -> u64 {
        self.peak
    }

    /// Packets that were dropped because there was no room: `drop` in `conntrack -S`.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Entries that went to make room: `early_drop` in `conntrack -S`.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Entries that had not ended and that a collection under pressure took.
    pub const fn collected(&self) -> u64 {
        self.collected
    }

    /// Packets that were dropped because a chain was too long: `chaintoolong` in `conntrack -S` (5.15 and later).
    pub const fn too_long(&self) -> u64 {
        self.too_long
    }

    /// From now on counts entries by class and notices when they end, though nobody takes them out then (4.9 and later). The table
    /// must be empty.
    pub fn take_census(&mut self) {
        self.census = Some(Census::default());
    }

    /// The caller's class of an entry, below [`CLASSES`]; 0 until it is told. Nothing happens if the entry is gone.
    pub fn classify(&mut self, id: u32, class: u8) {
        if let (Some(row), Some(census)) = (self.rows.get_mut(id as usize), &mut self.census)
            && row.flags & PRESENT != 0
        {
            if row.flags & ENDED == 0 {
                census.moved(row.class, class);
            }
            row.class = class;
        }
    }

    /// The entries that have not ended, by class, and how many have ended and stand there still: as of the last call of
    /// [`FullTable::notice`].
    pub fn classes(&self) -> ([u64; CLASSES], u64) {
        self.census.as_ref().map_or(([0; CLASSES], 0), |census| (census.classes, census.ended))
    }

    /// When the next entry may end; later than everything without a census.
    pub fn next_end(&self) -> Instant {
        self.census.as_ref().map_or(Instant::MAX, |census| census.ends.next())
    }

    /// Notices, for the census alone, which entries have ended.
    pub fn notice(&mut self, now: Instant) {
        let Some(census) = &mut self.census else { return };
        loop {
            let rows = &self.rows;
            let is_there = |row: &&Row| row.flags & PRESENT != 0 && row.flags & ENDED == 0;
            let ended = census.ends.pop(now, |id| rows.get(id as usize).filter(is_there).map(|row| row.deadline));
            let Some(id) = ended else { return };
            let row = &mut self.rows[id as usize];
            row.flags |= ENDED;
            census.ended(row.class);
        }
    }

    /// Whether an entry is in the table. One that has ended may have been taken out without a word: only the caller's own clock
    /// tells that it had.
    pub fn holds(&self, id: u32) -> bool {
        self.rows.get(id as usize).is_some_and(|row| row.flags & PRESENT != 0)
    }

    /// Whether a new entry of these addresses is certain to be admitted and confirmed.
    pub fn is_roomy(&self, tuple: u64) -> bool {
        let least = self.dialect.chain_limit.map(|(least, _)| usize::from(least) + 1);
        let fits = |way: u64| least.is_none_or(|least| self.chains.chain(self.bucket(self.hash(tuple, way))).nth(least).is_none());
        self.max().is_none_or(|max| self.count < max) && fits(0) && fits(1)
    }

    /// A packet wants a new entry (`__nf_conntrack_alloc`): true if it may have one. `tuple` is a number that stands for the
    /// packet's addresses: the same one hashes into the same bucket each time. Entries that had to go are appended, those that had ended
    /// anyway are not.
    pub fn admit(&mut self, now: Instant, tuple: u64, evicted: &mut Vec<u32>) -> bool {
        let hash = self.hash(tuple, 0);
        if self.dialect.expiry == Expires::AtLookup {
            // The look-up that found no entry took away what had ended in its chain.
            self.drop_chain(self.bucket(hash), now, None);
        } else {
            self.fire_timers(now);
        }
        if self.max().is_none_or(|max| self.count < max) {
            return true;
        }
        let before = evicted.len();
        let room = self.early_drop(hash, now, evicted);
        self.evicted += (evicted.len() - before) as u64;
        if !room {
            self.refused += 1;
            self.collector.presses = true;
        }
        room
    }

    /// The new entry is confirmed: true if it is in the table now. False where a chain has become too long (5.15 and later): the packet is
    /// dropped. Ids are the caller's, small ones first, below 2³¹; one that is in use stands for another entry from now on.
    pub fn insert(&mut self, id: u32, tuple: u64, standing: Standing) -> bool {
        self.remove(id);
        let buckets = [0, 1].map(|way| self.bucket(self.hash(tuple, way)));
        if let Some((least, most)) = self.dialect.chain_limit {
            let longest = usize::from(least) + self.rng.below(u64::from(most - least) + 1) as usize;
            if buckets.iter().any(|bucket| self.chains.chain(*bucket).take(longest + 2).count() > longest + 1) {
                self.too_long += 1;
                return false;
            }
        }
        for (node, bucket) in nodes(id).into_iter().zip(buckets) {
            self.chains.link(node, bucket);
        }
        if id as usize >= self.rows.len() {
            self.rows.resize(id as usize + 1, GONE);
        }
        self.rows[id as usize] = Row { flags: PRESENT, ..GONE };
        if let Some(census) = &mut self.census {
            census.born();
        }
        self.count += 1;
        self.peak = self.peak.max(self.count);
        self.update(id, standing);
        true
    }

    /// A packet of an entry changed what the table must know of it. Nothing happens if the entry is gone.
    pub fn update(&mut self, id: u32, standing: Standing) {
        if !self.holds(id) {
            return;
        }
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = PRESENT | bit(standing.assured, ASSURED) | bit(standing.closing, CLOSING);
        let row = &mut self.rows[id as usize];
        let (was, class) = (row.flags, row.class);
        *row = Row { deadline: standing.deadline, flags, class };
        if self.dialect.expiry != Expires::AtLookup {
            self.timers.set(id, standing.deadline);
        }
        if let Some(census) = &mut self.census {
            let stays = self.dialect.expiry == Expires::AtLookup;
            census.renewed(id, class, was & ENDED != 0, stays.then_some(standing.deadline));
        }
    }

    /// An entry ended otherwise. Nothing happens if it is gone.
    pub fn remove(&mut self, id: u32) {
        if !self.holds(id) {
            return;
        }
        let row = std::mem::replace(&mut self.rows[id as usize], GONE);
        if let Some(census) = &mut self.census {
            census.gone(row.class, row.flags & ENDED != 0);
        }
        for node in nodes(id) {
            self.chains.unlink(node);
        }
        self.count -= 1;
    }

    /// When [`FullTable::collect`] is to be called next: the next run of the collector; before 4.9, when the next timer fires at
    /// the earliest.
    pub fn collect_due(&self) -> Instant {
        if self.dialect.gc == Gc::None { self.timers.next() } else { self.collector.next }
    }

    /// A run of the collector (`gc_worker`). Entries that had not ended and went nevertheless are appended.
    pub fn collect(&mut self, now: Instant, evicted: &mut Vec<u32>) {
        let before = evicted.len();
        if self.dialect.gc == Gc::None {
            self.fire_timers(now);
        } else {
            self.run_collector(now, evicted);
        }
        self.collected += (evicted.len() - before) as u64;
    }

    const fn max(&self) -> Option<u64> {
        match self.limit.max {
            0 if self.dialect.max_at_least_one => Some(1),
            0 => None,
            max => Some(max),
        }
    }

    /// `hash_conntrack_raw` of one direction: evenly spread, the same for the same tuple.
    const fn hash(&self, tuple: u64, way: u64) -> u32 {
        (Rng::keyed(self.key ^ way, tuple).number() >> 32) as u32
    }

    /// `reciprocal_scale`.
    const fn bucket(&self, hash: u32) -> u32 {
        ((hash as u64 * self.chains.buckets() as u64) >> 32) as u32
    }

    fn after(&self, bucket: u32, steps: u32) -> u32 {
        ((u64::from(bucket) + u64::from(steps)) % u64::from(self.chains.buckets())) as u32
    }

    fn fire_timers(&mut self, now: Instant) {
        loop {
            let rows = &self.rows;
            let ended = self.timers.pop(now, |id| rows.get(id as usize).filter(|row| row.flags & PRESENT != 0).map(|row| row.deadline));
            let Some(id) = ended else { return };
            self.remove(id);
        }
    }

    fn is_candidate(&self, node: u32) -> bool {
        self.rows[(node / 2) as usize].flags & ASSURED == 0
    }

    /// Looks for a victim; true if one was found.
    fn early_drop(&mut self, hash: u32, now: Instant, evicted: &mut Vec<u32>) -> bool {
        let own = self.bucket(hash);
        let victim = match self.dialect.early_drop {
            EarlyDrop::V2_6 => {
                let rotating = (self.dialect.model == Model::Simple2_4).then(|| {
                    self.rotating = self.after(self.rotating, 1);
                    self.oldest(self.rotating)
                });
                rotating.flatten().or_else(|| self.oldest(own))
            }
            EarlyDrop::V2_6_24 => self.search(own, true),
            EarlyDrop::V3_15 => self.search(own, false),
            EarlyDrop::V4_7 => {
                // The hash is incremented, not the bucket: nearly always the same one, eight times.
                let mut buckets = (0..EVICTION_RANGE).map(|step| self.bucket(hash.wrapping_add(step)));
                buckets.find_map(|bucket| self.chains.chain(bucket).find(|node| self.is_candidate(*node)))
            }
            EarlyDrop::V4_8 => {
                return (0..EVICTION_RANGE).any(|step| self.drop_chain(self.bucket(hash.wrapping_add(step)), now, Some(evicted)));
            }
            EarlyDrop::V4_20 => return (0..EVICTION_RANGE).any(|step| self.drop_chain(self.after(own, step), now, Some(evicted))),
        };
        let Some(node) = victim else { return false };
        self.remove(node / 2);
        evicted.push(node / 2);
        true
    }

    fn oldest(&self, bucket: u32) -> Option<u32> {
        self.chains.chain(bucket).filter(|node| self.is_candidate(*node)).last()
    }

    /// 2.6.24 to 4.6: chain after chain, until one has a candidate or so many entries were looked at.
    fn search(&self, own: u32, oldest: bool) -> Option<u32> {
        let (mut looked, mut bucket, mut left) = (0, own, self.chains.buckets());
        while looked < EVICTION_RANGE
            && let Some((used, steps)) = self.chains.next_used(bucket)
            && steps < left
        {
            let mut found = None;
            for node in self.chains.chain(used) {
                if self.is_candidate(node) {
                    found = Some(node);
                    if !oldest {
                        break;
                    }
                }
                looked += 1;
            }
            if found.is_some() {
                return found;
            }
            left -= steps + 1;
            bucket = self.after(used, 1);
        }
        None
    }

    /// Takes from a chain what has ended, which is no success, and, if they are asked for, all candidates; true if there were any.
    fn drop_chain(&mut self, bucket: u32, now: Instant, mut evicted: Option<&mut Vec<u32>>) -> bool {
        let mut chain = std::mem::take(&mut self.scratch);
        chain.clear();
        chain.extend(self.chains.chain(bucket).map(|node| node / 2));
        let ends = self.dialect.expiry == Expires::AtLookup;
        let mut dropped = false;
        for id in &chain {
            let Row { deadline, flags, .. } = self.rows[*id as usize];
            if flags & PRESENT == 0 {
                // Its other end stood in the same chain.
                continue;
            }
            if ends && deadline <= now {
                self.remove(*id);
            } else if let Some(evicted) = &mut evicted
                && flags & ASSURED == 0
            {
                self.remove(*id);
                evicted.push(*id);
                dropped = true;
            }
        }
        self.scratch = chain;
        dropped
    }
}

/// The two nodes of an entry: one stands in the bucket of its original tuple, one in that of the reply.
const fn nodes(id: u32) -> [u32; 2] {
    [id * 2, id * 2 + 1]
}
