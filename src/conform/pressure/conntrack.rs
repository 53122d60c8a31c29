//! A full conntrack table and a flood of SYNs: how many pass, what goes for them, and what is left.
//!
//! A collection of 5.15 and later comes at a moment that the recording does not tell; where entries went that no counter counts, one is
//! taken to have come there, and what it took is the model's to say.

use super::{BUCKETS_MAX, COUNT_MAX, Counts, Group, Head, Number, Numbered, Run, SIZE_MAX, exactly, judge, runs};
use crate::conform::Result;
use crate::model::conntrack::Settings;
use crate::model::conntrack::dialect::{Dialect, Gc};
use crate::model::conntrack::entry::State;
use crate::model::conntrack::full::{FullTable, Limit, Standing};
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// One SYN of the flood.
struct Syn {
    at: Instant,
    line: usize,
    passed: bool,
}

/// The table and its counters once in a while.
struct Reading {
    line: usize,
    /// After how many SYNs.
    after: usize,
    states: Counts,
    early_drop: u64,
    drop: u64,
    /// Whether a collection came since the reading before.
    collection: bool,
    /// Whether all entries are in it: nothing can have ended by itself since the reading before.
    complete: bool,
}

/// Seen on 6.1.176: a second listing at once has the entries that the first one lacks.
const SKIPPED: &str = "a listing that takes out entries which have ended skips the ones behind them";

/// A recording as it is compared.
struct Recording {
    dialect: &'static Dialect,
    limit: Limit,
    begin: Instant,
    filled_at: Instant,
    /// The states that occur: a name, whether assured, whether closing, for how long.
    kinds: Vec<(String, bool, bool, Duration)>,
    filled: Vec<u64>,
    /// Which kind a SYN of the flood is.
    newcomer: usize,
    syns: Vec<Syn>,
    readings: Vec<Reading>,
}

/// Compares a recording.
///
/// # Errors
/// What is missing or makes no sense, with its line.
pub(super) fn compare(name: &str, head: &Head, lines: &[Numbered]) -> std::result::Result<Result, String> {
    let recording = Recording::new(head, lines)?;
    let mut result = Result::new(name);
    recording.accounts(&mut result);
    let (numbers, groups) = recording.numbers();
    let work = recording.filled.iter().sum::<u64>() + recording.syns.len() as u64;
    let all: Option<Vec<Run>> = (0..runs(work * 4)?).map(|seed| recording.run(seed)).collect();
    let all = all.ok_or("line 1: so few 'buckets' do not hold what the table was filled with: their chains become too long")?;
    judge(&mut result, &numbers, &groups, &all);
    Ok(result)
}

/// Checks that a table's states come to a number that can be reckoned with.
fn few(states: &Counts, line: usize) -> std::result::Result<(), String> {
    match states.values().try_fold(0_u64, |sum, count| sum.checked_add(*count)) {
        Some(..=SIZE_MAX) => Ok(()),
        _ => Err(format!("line {line}: more than {SIZE_MAX} entries")),
    }
}

fn seen(counts: &Counts, name: &str) -> u64 {
    counts.get(name).copied().unwrap_or(0)
}

const NEWCOMER: &str = "SYN_SENT";
/// How often an entry looks for a chain with room before there is none.
const TRIES_MAX: u32 = 1_000;

impl Recording {
    fn new(head: &Head, lines: &[Numbered]) -> std::result::Result<Recording, String> {
        let dialect = Dialect::for_release(&head.kernel).ok_or_else(|| format!("no conntrack dialect for kernel '{}'", head.kernel))?;
        let (Some(max), Some(buckets)) = (head.max, head.buckets) else {
            return Err("line 1: expected 'max' and 'buckets'".to_owned());
        };
        if !(1..=BUCKETS_MAX).contains(&buckets) {
            return Err(format!("line 1: 'buckets' must be 1 to {BUCKETS_MAX}"));
        }
        let Some((fill, flood)) = lines.split_first() else { return Err("there is nothing after line 1".to_owned()) };
        let Some(filled) = &fill.line.filled else { return Err(format!("line {}: expected 'filled'", fill.number)) };
        few(filled, fill.number)?;
        let none = Counts::new();
        let at_first = fill.line.stat.as_ref().unwrap_or(&none);
        let (mut syns, mut readings) = (Vec::new(), Vec::new());
        for Numbered { number, at, line } in flood {
            let (Some(_), Some(passed @ (0 | 1))) = (line.syn, line.passed) else {
                return Err(format!("line {number}: expected 'syn', and 'passed' 0 or 1"));
            };
            syns.push(Syn { at: *at, line: *number, passed: passed == 1 });
            let (Some(states), Some(stat)) = (&line.states, &line.stat) else { continue };
            let since = |name: &str| {
                let (then, now) = (seen(at_first, name), seen(stat, name));
                let more = now.checked_sub(then).ok_or_else(|| format!("line {number}: '{name}' is less than it was"))?;
                if more > COUNT_MAX { Err(format!("line {number}: '{name}' is more than {COUNT_MAX}")) } else { Ok(more) }
            };
            few(states, *number)?;
            readings.push(Reading {
                line: *number,
                after: syns.len(),
                states: states.clone(),
                early_drop: since("early_drop")?,
                drop: since("drop")? + since("insert_failed")?,
                collection: false,
                complete: true,
            });
        }
        if readings.is_empty() {
            return Err("no line has 'states' and 'stat'".to_owned());
        }
        let timeouts = Settings::defaults(dialect).tcp_timeouts;
        let mut names: Vec<&String> = filled.keys().chain(readings.iter().flat_map(|reading| reading.states.keys())).collect();
        let newcomer = NEWCOMER.to_owned();
        names.push(&newcomer);
        names.sort();
        names.dedup();
        let kinds: Vec<_> = names
            .into_iter()
            .map(|name| {
                let plain = name.trim_end_matches("+assured");
                let closing = matches!(plain, "FIN_WAIT" | "CLOSE_WAIT" | "LAST_ACK" | "TIME_WAIT" | "CLOSE");
                let state = State::ALL.into_iter().find(|state| state.name() == plain);
                (name.clone(), plain.len() < name.len(), closing, state.map_or(Duration::MAX, |state| timeouts[state as usize]))
            })
            .collect();
        let mut recording = Recording {
            dialect,
            limit: Limit { max, buckets },
            begin: super::instant(head.t, 1)?,
            filled_at: fill.at,
            filled: kinds.iter().map(|(name, ..)| seen(filled, name)).collect(),
            newcomer: kinds.iter().position(|(name, ..)| name == NEWCOMER).unwrap_or(0),
            kinds,
            syns,
            readings,
        };
        recording.find_collections();
        Ok(recording)
    }

    fn passed(&self, syns: std::ops::Range<usize>) -> i64 {
        self.syns[syns].iter().filter(|syn| syn.passed).count() as i64
    }

    /// Entries that neither made room nor are there.
    fn unaccounted(&self, reading: &Reading) -> i64 {
        let there = reading.states.values().sum::<u64>() as i64;
        self.filled.iter().sum::<u64>() as i64 + self.passed(0..reading.after) - reading.early_drop as i64 - there
    }

    fn find_collections(&mut self) {
        let missing: Vec<i64> = self.readings.iter().map(|reading| self.unaccounted(reading)).collect();
        let mut before = 0;
        let mut there: Vec<u64> = self.filled.clone();
        for (reading, missing) in self.readings.iter_mut().zip(missing) {
            // What may have ended by itself needs no collection; and who lists that skips others.
            let at = self.syns[reading.after - 1].at;
            let ended = self.kinds.iter().zip(&there).filter(|((.., timeout), _)| self.begin + *timeout <= at).map(|(_, count)| count);
            let ended = ended.sum::<u64>() as i64;
            reading.complete = ended == 0;
            // As many again may have been skipped.
            reading.collection = missing > before + 2 * ended;
            before = missing;
            there = self.kinds.iter().map(|(name, ..)| seen(&reading.states, name)).collect();
        }
    }

    /// What must be so whatever chance does.
    fn accounts(&self, result: &mut Result) {
        let mut before = 0;
        for reading in &self.readings {
            let refused = reading.after as i64 - self.passed(0..reading.after);
            exactly(result, reading.line, "packets that drop and insert_failed count", reading.drop as i64, refused);
            if !reading.complete {
                result.steps += 1;
                result.undecided(reading.line, SKIPPED);
                continue;
            }
            // Entries do not come from nowhere.
            let missing = self.unaccounted(reading);
            exactly(result, reading.line, "entries that nothing made", (before - missing).max(0), 0);
            before = missing;
            // While there is room, everything passes; the chain would have to be too long.
            let there = reading.states.values().sum::<u64>();
            let room = self.limit.max.saturating_sub(there).min((self.syns.len() - reading.after) as u64) as usize;
            if self.limit.max > 0
                && room > 0
                && self.dialect.chain_limit.is_none_or(|(least, _)| self.mean_chain() * 2.0 < f64::from(least))
            {
                let line = self.syns[reading.after].line;
                exactly(
                    result,
                    line,
                    "SYNs that passed while there was room",
                    self.passed(reading.after..reading.after + room),
                    room as i64,
                );
            }
        }
    }

    fn mean_chain(&self) -> f64 {
        2.0 * self.limit.max as f64 / self.limit.buckets as f64
    }

    /// What is compared, in the order in which a run gives it.
    fn numbers(&self) -> (Vec<Number>, Vec<Group>) {
        let mut numbers = Vec::new();
        let mut add = |line: usize, what: String, recorded: i64| numbers.push(Number { line, what, recorded: recorded as f64 });
        for first in self.first_few() {
            add(self.syns[first - 1].line, format!("of the first {first} SYNs passed"), self.passed(0..first));
        }
        let last = self.syns.last().map_or(1, |syn| syn.line);
        let changes = self.syns.windows(2).filter(|two| two[0].passed != two[1].passed).count();
        add(last, "how often passing and dropping alternate".to_owned(), changes as i64);
        let complete = self.readings.iter().filter(|reading| reading.complete);
        let not_full = complete.filter(|reading| reading.states.values().sum::<u64>() < self.limit.max).count();
        add(last, "how often the table was not full when it was read".to_owned(), not_full as i64);
        for reading in &self.readings {
            let after = reading.after;
            add(reading.line, format!("of {after} SYNs passed"), self.passed(0..after));
            add(reading.line, format!("early_drop after {after} SYNs"), reading.early_drop as i64);
            for (name, ..) in self.kinds.iter().filter(|_| reading.complete) {
                add(reading.line, format!("{name} after {after} SYNs"), seen(&reading.states, name) as i64);
            }
        }
        let start = numbers.len();
        let mut from = 0;
        for reading in &self.readings {
            let what = format!("of SYNs {} to {} passed", from + 1, reading.after);
            let passed = self.passed(from..reading.after);
            numbers.push(Number { line: reading.line, what, recorded: passed as f64 });
            from = reading.after;
        }
        let windows = start..numbers.len();
        (numbers, vec![windows])
    }

    fn first_few(&self) -> impl Iterator<Item = usize> {
        let most = self.syns.len();
        [1, 2, 5, 10].into_iter().filter(move |first| *first <= most)
    }

    /// One run of the model; nothing where the recorded entries find no room in its chains.
    fn run(&self, seed: u64) -> Option<Run> {
        let mut rng = Rng::keyed(seed, 0x6675_6c6c);
        let mut table = FullTable::new(self.limit, self.dialect, rng.number());
        let mut there = self.filled.clone();
        let mut kind_of = Vec::new();
        let mut unassured = 0_u64;
        let mut order: Vec<usize> =
            self.filled.iter().enumerate().flat_map(|(kind, count)| std::iter::repeat_n(kind, *count as usize)).collect();
        for index in (1..order.len()).rev() {
            order.swap(index, rng.below(index as u64 + 1) as usize);
        }
        let mut deadlines = Vec::new();
        let enter = |table: &mut FullTable, id: usize, kind: usize, at: Instant| {
            let (_, assured, closing, timeout) = self.kinds[kind];
            table.insert(id as u32, id as u64, Standing { assured, closing, deadline: at + timeout })
        };
        let spell = self.filled_at.since(self.begin);
        for (id, kind) in order.iter().enumerate() {
            let at = self.begin + Duration(spell.0 / order.len() as u64 * id as u64);
            // What is in the recorded table found room in its chains; how long one may become is drawn anew each time.
            (0..TRIES_MAX).find(|_| enter(&mut table, id, *kind, at))?;
            kind_of.push(*kind);
            deadlines.push(at + self.kinds[*kind].3);
            unassured += u64::from(!self.kinds[*kind].1);
        }
        let mut passed = Vec::with_capacity(self.syns.len());
        let (mut evicted, mut chance) = (Vec::new(), false);
        let mut by_reading: Vec<(u64, bool, u64, Vec<u64>)> = Vec::with_capacity(self.readings.len());
        let mut readings = self.readings.iter().peekable();
        let mut collect_at = usize::MAX;
        for (index, syn) in self.syns.iter().enumerate() {
            let from = by_reading.last().map_or(0, |_| self.readings[by_reading.len() - 1].after);
            if index == from {
                let window = readings.peek().filter(|reading| reading.collection);
                collect_at = window.map_or(usize::MAX, |reading| from + rng.below((reading.after - from) as u64) as usize);
            }
            let parts = matches!(self.dialect.gc, Gc::None | Gc::V4_9 | Gc::V4_10);
            while parts && table.collect_due() <= syn.at {
                let due = table.collect_due();
                table.collect(due, &mut evicted);
            }
            // The collection is between two packets: before or after this one is the same.
            if index == collect_at {
                table.collect(syn.at, &mut evicted);
                chance = true;
            }
            chance |= table.count() >= self.limit.max && unassured > 0 || self.mean_chain() > 1.0 && self.dialect.chain_limit.is_some();
            let id = kind_of.len();
            kind_of.push(self.newcomer);
            deadlines.push(Instant::MAX);
            let passes = table.admit(syn.at, id as u64, &mut evicted) && enter(&mut table, id, self.newcomer, syn.at);
            if passes {
                there[self.newcomer] += 1;
                deadlines[id] = syn.at + self.kinds[self.newcomer].3;
                unassured += 1;
            }
            for id in evicted.drain(..) {
                let kind = kind_of[id as usize];
                there[kind] -= 1;
                deadlines[id as usize] = Instant::MAX;
                unassured -= u64::from(!self.kinds[kind].1);
            }
            passed.push(passes);
            if readings.next_if(|reading| reading.after == index + 1).is_some() {
                // Listing the table takes out what has ended.
                for (id, deadline) in deadlines.iter_mut().enumerate().filter(|(_, deadline)| **deadline <= syn.at) {
                    let kind = kind_of[id];
                    there[kind] -= 1;
                    *deadline = Instant::MAX;
                    unassured -= u64::from(!self.kinds[kind].1);
                    table.remove(id as u32);
                    chance = true;
                }
                let count = passed.iter().filter(|passed| **passed).count() as u64;
                by_reading.push((count, chance, table.evicted(), there.clone()));
            }
        }
        let mut run = Run::new();
        let count = |range: std::ops::Range<usize>| passed[range].iter().filter(|passed| **passed).count() as f64;
        run.extend(self.first_few().map(|first| (count(0..first), chance)));
        run.push((passed.windows(2).filter(|two| two[0] != two[1]).count() as f64, chance));
        let complete = by_reading.iter().zip(&self.readings).filter(|(_, reading)| reading.complete);
        let not_full = complete.filter(|((.., there), _)| there.iter().sum::<u64>() < self.limit.max).count();
        run.push((not_full as f64, chance));
        for ((passed, chance, early_drop, there), reading) in by_reading.iter().zip(&self.readings) {
            run.push((*passed as f64, *chance));
            run.push((*early_drop as f64, *chance));
            for (count, (_, assured, closing, _)) in there.iter().zip(&self.kinds).filter(|_| reading.complete) {
                run.push((*count as f64, *chance && (!assured || *closing)));
            }
        }
        let mut from = 0;
        for (reading, (_, chance, ..)) in self.readings.iter().zip(&by_reading) {
            run.push((count(from..reading.after), *chance));
            from = reading.after;
        }
        Some(run)
    }
}
