//! `drop_entry` at work: how many connections of each class are still there, again and again.
//!
//! The recording says when the last packet was sent, not when each class fell silent: that is drawn anew for each run, from the half
//! minute before. So are the phase of the tick and of the wheel that ends half-open connections, and the ticks a second
//! where they were not noted.

use super::{Group, Head, Number, Numbered, Run, SIZE_MAX, judge, runs};
use crate::conform::Result;
use crate::kernel::wheel::{Hz, RATES, lateness_max};
use crate::model::ipvs::Method;
use crate::model::ipvs::Settings;
use crate::model::ipvs::defence::{Defence, DefenceSettings, IpvsStanding, Kind};
use crate::model::ipvs::dialect::Dialect;
use crate::model::ipvs::state::State;
use crate::model::lateness::Lateness;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// Nobody takes longer to set the connections up.
const SETUP_MAX: Duration = Duration::from_secs(30);

/// Connections of one kind.
struct Class {
    name: String,
    kind: Kind,
    in_pkts: u32,
}

/// How many of each class were there.
struct Reading {
    line: usize,
    at: Instant,
    alive: Vec<u64>,
}

struct Recording {
    dialect: &'static Dialect,
    settings: DefenceSettings,
    hz: Option<Hz>,
    timeouts: Settings,
    begin: Instant,
    each: u64,
    classes: Vec<Class>,
    readings: Vec<Reading>,
}

/// Compares a recording.
///
/// # Errors
/// What is missing or makes no sense, with its line.
pub(super) fn compare(name: &str, head: &Head, lines: &[Numbered]) -> std::result::Result<Result, String> {
    let recording = Recording::new(head, lines)?;
    let mut result = Result::new(name);
    let (numbers, groups) = recording.numbers();
    let lasting = recording.readings.last().map_or(0, |reading| reading.at.since(recording.begin).as_secs());
    let work = lasting * (1 << recording.settings.tab_bits) / 32 + recording.each * recording.classes.len() as u64;
    let all: Vec<Run> = (0..runs(work)?).map(|seed| recording.run(seed)).collect();
    judge(&mut result, &numbers, &groups, &all);
    Ok(result)
}

fn class(name: &str) -> Option<Class> {
    let (kind, in_pkts) = if let Some(packets) = name.strip_prefix("ES-") {
        (Kind::Tcp(State::Established), packets.parse().ok()?)
    } else if let Some(packets) = name.strip_prefix("UDP-") {
        (Kind::Udp, packets.parse().ok()?)
    } else {
        // How many packets a connection in another state has had does not matter.
        (Kind::Tcp(State::ALL.into_iter().find(|state| state.name() == name)?), 1)
    };
    Some(Class { name: name.to_owned(), kind, in_pkts })
}

impl Recording {
    fn new(head: &Head, lines: &[Numbered]) -> std::result::Result<Recording, String> {
        let dialect = Dialect::for_release(&head.kernel).ok_or_else(|| format!("no IPVS dialect for kernel '{}'", head.kernel))?;
        let each = head.n.ok_or("line 1: there is no 'n'")?;
        let names = head.classes.as_ref().ok_or("line 1: there are no 'classes'")?;
        if each.checked_mul(names.len() as u64).is_none_or(|all| all == 0 || all > SIZE_MAX) {
            return Err(format!("line 1: 'n' of each class must be 1 to {SIZE_MAX} connections together"));
        }
        let classes = names
            .iter()
            .map(|name| class(name).ok_or_else(|| format!("line 1: class '{name}' is neither ES-k, nor UDP-k, nor a state of IPVS")))
            .collect::<std::result::Result<Vec<_>, String>>()?;
        let mut readings = Vec::new();
        for Numbered { number, at, line } in lines {
            let alive = line.alive.as_ref().ok_or_else(|| format!("line {number}: expected 'alive'"))?;
            let alive = classes
                .iter()
                .map(|class| alive.get(&class.name).copied().ok_or_else(|| format!("line {number}: 'alive' has no '{}'", class.name)))
                .collect::<std::result::Result<Vec<_>, String>>()?;
            readings.push(Reading { line: *number, at: *at, alive });
        }
        let begin = super::instant(head.t, 1)?;
        if readings.is_empty() {
            return Err("there is no reading of 'alive' behind line 1".to_owned());
        }
        let hz = head.hz.filter(|hz| (1..=10_000).contains(hz)).map(Hz);
        let settings = DefenceSettings { drop_entry: head.mode()?, ..DefenceSettings::defaults(dialect) };
        let timeouts = Settings::defaults(dialect, Method::Masq);
        Ok(Recording { dialect, settings, hz, timeouts, begin, each, classes, readings })
    }

    /// What is compared, in the order in which a run gives it: what is there, then what went since the reading before.
    fn numbers(&self) -> (Vec<Number>, Vec<Group>) {
        let (mut numbers, mut groups) = (Vec::new(), Vec::new());
        for (index, class) in self.classes.iter().enumerate() {
            for reading in &self.readings {
                let after = reading.at.since(self.begin);
                let what = format!("{} alive after {after}", class.name);
                numbers.push(Number { line: reading.line, what, recorded: reading.alive[index] as f64 });
            }
        }
        for (index, class) in self.classes.iter().enumerate() {
            let start = numbers.len();
            for two in self.readings.windows(2) {
                let what = format!("{} gone by {}", class.name, two[1].at.since(self.begin));
                let gone = two[0].alive[index] as f64 - two[1].alive[index] as f64;
                numbers.push(Number { line: two[1].line, what, recorded: gone });
            }
            groups.push(start..numbers.len());
        }
        (numbers, groups)
    }

    /// One run of the model.
    fn run(&self, seed: u64) -> Run {
        let mut rng = Rng::keyed(seed, 0x6472_6f70);
        let drawn = *rng.pick(&RATES);
        let hz = self.hz.unwrap_or(drawn);
        let settings = DefenceSettings { lateness: Lateness::Wheel(hz), ..self.settings };
        let mut defence = Defence::new(settings, self.dialect, rng.number());
        let mut alive = vec![self.each; self.classes.len()];
        // From when on an entry of the class can be dropped, and when the last of them ends.
        let (mut from, mut until) = (Vec::new(), Vec::new());
        for (index, class) in self.classes.iter().enumerate() {
            let refreshed = self.begin - Duration(rng.below(self.begin.0.min(SETUP_MAX.0) + 1));
            let timeout = match class.kind {
                Kind::Tcp(state) => self.timeouts.timeouts[state as usize],
                _ => self.timeouts.udp_timeout,
            };
            let late = if self.dialect.wheel { Duration(rng.below(lateness_max(timeout, hz).0 + 1)) } else { Duration::ZERO };
            let deadline = refreshed + timeout + late;
            from.push(match class.kind {
                Kind::Tcp(State::SynRecv | State::SynAck) => Instant::ZERO,
                Kind::Tcp(State::Established) | Kind::Udp if (1..=8).contains(&class.in_pkts) => refreshed + Duration::from_secs(60),
                _ => Instant::MAX,
            });
            until.push(deadline);
            let standing = IpvsStanding { kind: class.kind, in_pkts: class.in_pkts, refreshed, deadline, template: None };
            for one in 0..self.each {
                let id = index as u64 * self.each + one;
                defence.insert(id as u32, id, standing);
            }
        }
        let acts = defence.modes()[0] == 3;
        let mut tick = self.begin + Duration(rng.below(defence.period().0));
        let mut last_tick = None;
        let mut dropped = Vec::new();
        let mut table: Vec<Vec<(f64, bool)>> = vec![Vec::new(); self.classes.len()];
        for reading in &self.readings {
            while tick <= reading.at {
                defence.tick(tick, u64::MAX, &mut dropped);
                last_tick = Some(tick);
                tick = defence.next_tick();
                for id in dropped.drain(..) {
                    alive[(u64::from(id) / self.each) as usize] -= 1;
                }
            }
            for (index, column) in table.iter_mut().enumerate() {
                let there = if until[index] <= reading.at { 0 } else { alive[index] };
                // A class ends at a moment that is known to the seconds in which it was set up, and to a granule of the wheel.
                let ending =
                    until[index] <= reading.at + Duration::from_secs(10) && reading.at.since(until[index]) < Duration::from_secs(10);
                column.push((there as f64, acts && last_tick.is_some_and(|tick| tick >= from[index]) && there > 0 || ending));
            }
        }
        let mut run: Run = table.iter().flatten().copied().collect();
        for column in &table {
            run.extend(column.windows(2).map(|two| (two[0].0 - two[1].0, two[0].1 || two[1].1)));
        }
        run
    }
}
