//! How ended entries are found: the garbage collectors of 4.9 and later, each release's own, and what they take under pressure.
//!
//! Source: `gc_worker` (`net/netfilter/nf_conntrack_core.c`); the spec's conntrack.md section 5.2. Like the table, it must not know
//! what an entry is.

use super::{ASSURED, CLOSING, FullTable, HZ, Row, TICK};
use crate::model::conntrack::dialect::Gc;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// `GC_SCAN_EXPIRED_MAX`: so many ended entries in one go, then a pause (5.18 and later).
const EXPIRED_MAX: u32 = (64_000 / HZ) as u32;
/// Bounds of an entry's remaining time where it counts for the next collection, and of the time to it (5.18 and later).
const SCAN_MIN: Duration = Duration::from_secs(1);
const SCAN_CLAMP: Duration = Duration::from_secs(300);
const SCAN_MAX: Duration = Duration::from_secs(60);
/// `GC_SCAN_INTERVAL`: the fixed time between two passes (5.15).
const WHOLE: Duration = Duration::from_secs(120);
/// The longest pause between two parts: a hundred-and-twenty-eighth of 16 s (4.10).
const PART_MAX: Duration = TICK.saturating_mul(HZ * 16 / 128);
/// `GC_MAX_EVICTS` of 4.9.
const EVICTS_4_9: u32 = 256;

/// Where the collector stands.
pub(super) struct Collector {
    pub(super) next: Instant,
    bucket: u32,
    /// The pause between two runs (4.9 to 5.14); the mean of what the entries have left, while a pass lasts (5.18 and later).
    interval: Duration,
    /// How many entries that mean is of.
    count: u64,
    pub(super) pass_began: Instant,
    /// Whether a newcomer was refused since the last pass: this one takes more than what has ended.
    pub(super) presses: bool,
}

impl Collector {
    /// Of a box that was started long ago: its next run is drawn from the longest pause.
    pub(super) const fn new(gc: Gc, rng: &mut Rng) -> Collector {
        let interval = match gc {
            Gc::None => Duration::MAX,
            Gc::V4_9 => Duration::from_secs(2),
            Gc::V4_10 => PART_MAX,
            Gc::V5_15 => WHOLE,
            Gc::V5_18 | Gc::V6_1 => SCAN_MAX,
        };
        let next = Instant(1 + rng.below(interval.0));
        Collector { next, bucket: 0, interval, count: 0, pass_began: next, presses: false }
    }
}

impl FullTable {
    /// The time between two runs that find nothing, where they have come to be the same each time.
    fn idle_period(&self) -> Option<Duration> {
        let Collector { interval, bucket, presses, .. } = self.collector;
        let settled = |longest| (interval == longest && !presses).then_some(longest);
        match self.dialect.gc {
            Gc::None => None,
            Gc::V4_9 => settled(Duration::from_secs(2)),
            Gc::V4_10 => settled(PART_MAX),
            Gc::V5_15 => (!presses).then_some(WHOLE),
            Gc::V5_18 | Gc::V6_1 => (bucket == 0 && !presses).then_some(SCAN_MAX.saturating_sub(TICK)),
        }
    }

    /// Leaves out runs of the collector of an empty table that would change nothing but where and when the next one begins, and puts
    /// that right: a silence of years costs no more than one of an hour. The next run is at `until` or less than one period before it.
    pub fn rest(&mut self, until: Instant) {
        let Some(period) = self.idle_period().filter(|_| self.count == 0) else { return };
        let runs = until.since(self.collector.next).0 / period.0;
        self.collector.next += Duration(period.0 * runs);
        let part = match self.dialect.gc {
            Gc::V4_9 => (self.chains.buckets() / 64).clamp(1, 8192),
            Gc::V4_10 => (self.chains.buckets() / 128).max(1),
            _ => return,
        };
        let buckets = u64::from(self.chains.buckets());
        self.collector.bucket = self.after(self.collector.bucket, (runs % buckets * u64::from(part) % buckets) as u32);
    }

    /// A run of the release's collector.
    pub(super) fn run_collector(&mut self, now: Instant, evicted: &mut Vec<u32>) {
        match self.dialect.gc {
            Gc::None => {}
            Gc::V4_9 | Gc::V4_10 => self.part_pass(now, evicted),
            Gc::V5_15 => self.whole_pass(now, evicted),
            Gc::V5_18 | Gc::V6_1 => self.averaging_pass(now, evicted),
        }
    }

    /// The threshold of a collection under pressure: 95 % in whole hundreds; none if that is nothing.
    fn pressed_above(&self) -> Option<u64> {
        let threshold = self.limit.max / 100 * 95;
        (self.dialect.gc_early_drop && self.collector.presses && threshold > 0).then_some(threshold)
    }

    /// One node that a collection comes upon: how long its entry has left, or nothing if it had ended.
    fn visit(&mut self, node: u32, now: Instant, threshold: Option<u64>, evicted: &mut Vec<u32>) -> Option<Duration> {
        let Row { deadline, flags, .. } = self.rows[(node / 2) as usize];
        if deadline <= now {
            self.remove(node / 2);
            return None;
        }
        if threshold.is_some_and(|threshold| self.count >= threshold) && (flags & ASSURED == 0 || flags & CLOSING != 0) {
            self.remove(node / 2);
            evicted.push(node / 2);
        }
        Some(deadline.since(now))
    }

    /// The nodes of a bucket as they stand now, in a vector that the caller gives back to `scratch`.
    fn nodes_of(&mut self, bucket: u32) -> Vec<u32> {
        let mut chain = std::mem::take(&mut self.scratch);
        chain.clear();
        chain.extend(self.chains.chain(bucket));
        chain
    }

    /// 4.9 to 5.14: a part of the table, then a pause that depends on how much had ended.
    fn part_pass(&mut self, now: Instant, evicted: &mut Vec<u32>) {
        let first = self.dialect.gc == Gc::V4_9;
        let threshold = self.pressed_above();
        let goal = self.chains.buckets() / if first { 64 } else { 128 };
        let (mut scanned, mut ended) = (0_u32, 0_u32);
        // The loop tests its end after each bucket: one at least.
        for _ in 0..if first { goal.min(8192) } else { goal }.max(1) {
            self.collector.bucket = self.after(self.collector.bucket, 1);
            let chain = self.nodes_of(self.collector.bucket);
            for node in &chain {
                if self.holds(node / 2) {
                    scanned += 1;
                    ended += u32::from(self.visit(*node, now, threshold, evicted).is_none());
                }
            }
            self.scratch = chain;
            if first && ended >= EVICTS_4_9 {
                break;
            }
        }
        let share = (ended * 100).checked_div(scanned).unwrap_or(0);
        let interval = &mut self.collector.interval;
        let pause = if first {
            if share >= 90 || ended >= EVICTS_4_9 {
                Duration::ZERO
            } else if ended > 0 {
                *interval = Duration(interval.0 / 2);
                TICK
            } else {
                *interval = Duration(interval.0 + TICK.0).min(Duration::from_secs(2));
                *interval
            }
        } else {
            *interval = if share > 50 { TICK } else { Duration(interval.0 + TICK.0).min(PART_MAX) };
            *interval
        };
        self.collector.presses = false;
        self.collector.next = now + pause;
    }

    /// 5.15 to 5.17: all of it.
    fn whole_pass(&mut self, now: Instant, evicted: &mut Vec<u32>) {
        let threshold = self.pressed_above();
        let mut from = 0;
        while let Some((bucket, steps)) = self.chains.next_used(from)
            && u64::from(from) + u64::from(steps) < u64::from(self.chains.buckets())
        {
            let chain = self.nodes_of(bucket);
            for node in &chain {
                if self.holds(node / 2) {
                    self.visit(*node, now, threshold, evicted);
                }
            }
            self.scratch = chain;
            from = bucket + 1;
        }
        self.collector.presses = false;
        self.collector.next = now + WHOLE;
    }

    /// 5.18 and later: all of it, with a pause after many ended entries; the next one when the entries' mean has passed.
    fn averaging_pass(&mut self, now: Instant, evicted: &mut Vec<u32>) {
        let exact = self.dialect.gc == Gc::V6_1;
        let threshold = self.pressed_above();
        if self.collector.bucket == 0 {
            // 5.18 begins with INT_MAX ticks.
            self.collector.interval = if exact { SCAN_MAX } else { TICK.saturating_mul(i32::MAX as u64) };
            self.collector.count = if exact { 100 } else { 1 };
            self.collector.pass_began = now;
        }
        // Whatever ends this run but the kernel's need to yield clears the flag.
        self.collector.presses = false;
        let mut ended = 0;
        while let Some((bucket, steps)) = self.chains.next_used(self.collector.bucket)
            && u64::from(self.collector.bucket) + u64::from(steps) < u64::from(self.chains.buckets())
        {
            self.collector.bucket = bucket;
            let chain = self.nodes_of(bucket);
            for node in &chain {
                if !self.holds(node / 2) {
                    continue;
                }
                if ended > EXPIRED_MAX {
                    self.scratch = chain;
                    self.collector.next = now + TICK;
                    return;
                }
                let Some(left) = self.visit(*node, now, threshold, evicted) else {
                    ended += 1;
                    continue;
                };
                let left = left.clamp(SCAN_MIN, SCAN_CLAMP).0 as i64;
                let mean = self.collector.interval.0 as i64;
                self.collector.count += 1;
                let divisor = if exact { self.collector.count as i64 } else { 2 };
                self.collector.interval = Duration((mean + (left - mean) / divisor) as u64);
            }
            self.scratch = chain;
            self.collector.bucket = bucket + 1;
            if self.collector.bucket >= self.chains.buckets() {
                break;
            }
        }
        self.collector.bucket = 0;
        let pause = self.collector.interval.clamp(SCAN_MIN, SCAN_MAX);
        let spent = now.since(self.collector.pass_began).max(TICK);
        self.collector.next = now + if pause > spent { pause.saturating_sub(spent) } else { TICK };
    }
}
