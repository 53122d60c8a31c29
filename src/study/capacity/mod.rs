//! How full the tables of a path become under a load, and what that does to flows.
//!
//! Where no table is full and no defence acts, flows are looked at one by one and added up (`alone`), which is exact. Otherwise they
//! run together through shared tables (`together`). It reads no files and prints nothing.

pub mod alone;
pub mod carry;
pub mod gather;
pub mod load;
pub mod meter;
pub mod pairs;
pub mod shelf;
pub mod sizes;
pub mod together;

use crate::engine::Path;
use crate::model::ipvs::defence::DefenceSettings;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use alone::Alone;
use load::{Flood, Load};
use meter::Meter;
use rayon::prelude::*;
use shelf::Deeds;
use sizes::{Said, Size};
use std::sync::atomic::{AtomicBool, Ordering};
use together::Together;

/// What becomes of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing was lost.
    Passed,
    /// An entry was gone and was made anew.
    Repaired,
    /// Its SYN was dropped; one of those after it passed.
    Delayed,
    /// None of its SYNs passed.
    Refused,
    /// Its entry was evicted and a packet was lost because of that.
    Evicted,
    /// Its entry had ended before a packet.
    Cut,
}

impl Fate {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All of them.
    pub const ALL: [Fate; Fate::COUNT] = [Fate::Passed, Fate::Repaired, Fate::Delayed, Fate::Refused, Fate::Evicted, Fate::Cut];

    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Fate::Passed => "passed",
            Fate::Repaired => "repaired",
            Fate::Delayed => "delayed",
            Fate::Refused => "refused",
            Fate::Evicted => "evicted",
            Fate::Cut => "cut",
        }
    }
}

/// A flow of which something was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Victim {
    /// Whose segments it says, by place.
    pub kin: u32,
    /// Which copy.
    pub copy: u32,
    /// What became of it.
    pub fate: Fate,
    /// When.
    pub at: Instant,
}

/// Something that happened to a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The first new connection was dropped because there was no room.
    Full,
    /// The first new connection was dropped because a director had no memory left.
    NoMemory,
    /// The first entry had to make room.
    EarlyDrop,
    /// `drop_entry` went on or off; the sysctl reads as `mode` now.
    DropEntry {
        /// On.
        on: bool,
        /// What a reader sees.
        mode: u8,
    },
    /// `drop_packet` went on or off.
    DropPacket {
        /// On.
        on: bool,
        /// What a reader sees.
        mode: u8,
    },
    /// The transition tables of `secure_tcp` came into force or went.
    SecureTcp {
        /// On.
        on: bool,
        /// What a reader sees.
        mode: u8,
    },
}

/// Something that happened, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Question {
    /// How many times as many flows.
    pub scale: f64,
    /// What everything random is drawn from.
    pub seed: u64,
    /// How often the whole is repeated with other draws.
    pub runs: u32,
    /// A flood on top.
    pub flood: Option<Flood>,
    /// What was said about the tables.
    pub said: Said,
    /// How many victims are kept.
    pub victims_max: usize,
    /// Run all flows together even where that is not needed.
    pub always_together: bool,
}

/// How it was found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Flows one by one.
    Independent,
    /// All flows together, and why.
    Global(Vec<String>),
}

/// What was counted of one box.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The table over time.
    pub meter: Meter,
    /// The most that the kernel counted, with ended entries; in the independent mode the most that it may have counted.
    pub count_max: u64,
    /// What the table did to flows.
    pub deeds: Deeds,
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// For each box; none for a box whose table nobody knows.
    pub boxes: Vec<Option<Counted>>,
    /// Flows by fate, the flood's left out.
    pub fates: [u64; Fate::COUNT],
    /// The first flows that lost something.
    pub victims: Vec<Victim>,
    /// Packets that were simulated in their order; none in the independent mode.
    pub packets: u64,
    /// The most flows that were in memory at once in the global mode.
    pub flows_peak: u64,
    /// Until when it ran, where it was interrupted.
    pub until: Option<Instant>,
}

/// Several runs with other draws.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Between these lie the central 95 %.
    pub central: (u64, u64),
}

impl Spread {
    /// Of some counts; at least one.
    pub fn of(mut counts: Vec<u64>) -> Spread {
        counts.sort_unstable();
        let last = counts.len().saturating_sub(1);
        let at = |permille: usize| counts.get((last * permille + 500) / 1000).copied().unwrap_or(0);
        Spread { mean: counts.iter().sum::<u64>() as f64 / counts.len().max(1) as f64, central: (at(25), at(975)) }
    }
}

/// The answer.
#[derive(Debug)]
pub struct Capacity {
    /// How it was found out.
    pub mode: Mode,
    /// The tables.
    pub sizes: Vec<Size>,
    /// The load.
    pub load: Load,
    /// What came of it.
    pub outcome: Outcome,
    /// The same without the defences of directors, where there are some that acted.
    pub undefended: Option<Outcome>,
    /// For each box, the entries that the flows want at once: the most that the kernel would count if nothing limited it, ended
    /// entries included until a collection must have found them.
    pub wanted: Vec<u64>,
    /// The outcomes of all runs, where there were several: refused and evicted for each box.
    pub spreads: Vec<[Spread; 2]>,
    /// How far it came, where it was interrupted.
    pub cut: Option<Cut>,
}

/// How far a simulation came that was interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Of so many of its flows nobody knows what they would have done; they are in no number.
    Flows(u64),
    /// What happened until then is told.
    At(Instant),
    /// The first run is complete; there are no others.
    Repetitions,
}

/// Answers a question. `tell` hears of the progress: thousandths of `total` runs.
pub fn answer(path: &Path, load: Load, question: &Question, tell: &(dyn Fn(u64) + Sync)) -> Capacity {
    answer_until(path, load, question, tell, &AtomicBool::new(false))
}

/// The same; when `stop` becomes true, what is known is kept.
pub fn answer_until(path: &Path, load: Load, question: &Question, tell: &(dyn Fn(u64) + Sync), stop: &AtomicBool) -> Capacity {
    let sizes: Vec<Size> = path.hops.iter().map(|hop| Size::of(hop, question.said)).collect();
    let lags: Vec<Duration> = sizes.iter().map(lag).collect();
    let alone = alone::run(path, &load, &lags, question.victims_max, stop);
    let cut = Some(alone.left).filter(|left| *left > 0).map(Cut::Flows);
    // Of some of the flows alone it is not known whether they would fit.
    let mut why = if cut.is_some() { Vec::new() } else { reasons(path, &sizes, &alone) };
    if why.is_empty() && cut.is_none() && question.always_together {
        why.push("it was asked for".to_owned());
    }
    let wanted = alone.bounds.clone();
    if why.is_empty() {
        let outcome = Outcome::alone(alone, &sizes);
        return Capacity { mode: Mode::Independent, sizes, load, outcome, undefended: None, wanted, spreads: Vec::new(), cut };
    }
    drop(alone);
    let seeds: Vec<u64> = (0..u64::from(question.runs.max(1))).map(|run| seed_of(question.seed, run)).collect();
    let global = |sizes: &[Size], load: &Load, seed: u64| {
        Outcome::together(together::run(path, sizes, load, seed, question.victims_max, &|share| tell(share), stop))
    };
    let outcome = global(&sizes, &load, seeds[0]);
    let defended = sizes.iter().any(|size| matches!(size, Size::Director(vs) if has_defences(&vs.defences)));
    let undefended = (defended && !stop.load(Ordering::Relaxed)).then(|| {
        let sizes: Vec<Size> = sizes.iter().map(|size| size.undefended()).collect();
        global(&sizes, &load, seeds[0])
    });
    let undefended = undefended.filter(|outcome| outcome.until.is_none());
    let (mut spreads, mut whole) = (Vec::new(), true);
    if seeds.len() > 1 && outcome.until.is_none() {
        let others = seeds[1..]
            .par_iter()
            .map(|seed| global(&sizes, &load.drawn_anew(question.scale, *seed), *seed))
            .filter(|one| one.until.is_none());
        let others: Vec<Vec<[u64; 2]>> = others.map(|one| one.losses()).collect();
        whole = others.len() + 1 == seeds.len();
        let all: Vec<Vec<[u64; 2]>> = if whole { std::iter::once(outcome.losses()).chain(others).collect() } else { Vec::new() };
        for hop in 0..if whole { sizes.len() } else { 0 } {
            let of = |which: usize| Spread::of(all.iter().map(|run| run[hop][which]).collect());
            spreads.push([of(0), of(1)]);
        }
    }
    let missing = !whole || defended && undefended.is_none();
    let cut = outcome.until.map(Cut::At).or(missing.then_some(Cut::Repetitions));
    Capacity { mode: Mode::Global(why), sizes, load, outcome, undefended, wanted, spreads, cut }
}

fn seed_of(seed: u64, run: u64) -> u64 {
    if run == 0 { seed } else { Rng::keyed(seed, run).number() }
}

fn lag(size: &Size) -> Duration {
    match size {
        Size::Conntrack(size) => size.lag,
        _ => Duration::ZERO,
    }
}

const fn has_defences(settings: &DefenceSettings) -> bool {
    settings.drop_entry > 0 || settings.drop_packet > 0 || settings.secure_tcp > 0
}

/// Why flows must run together.
fn reasons(path: &Path, sizes: &[Size], alone: &Alone) -> Vec<String> {
    let mut why = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        let (peak, bound) = (alone.meters[index].peak.1.live(), alone.bounds[index]);
        let name = |what: String| if path.hops.len() > 1 { format!("box {}: {what}", index + 1) } else { what };
        match size {
            Size::Conntrack(size) => {
                if let Some((max, _)) = size.max.filter(|(max, _)| bound > *max) {
                    why.push(name(if peak > max {
                        format!("the flows want {peak} entries at once and {max} fit")
                    } else {
                        format!("{peak} entries at once, with ended ones up to {bound}, and {max} fit")
                    }));
                }
                if size.chain_least.is_some_and(|least| chains_longer(bound.max(peak), size.buckets.0, least) > 1e-3) {
                    why.push(name(format!(
                        "{} entries in {} buckets may make chains too long for new ones",
                        bound.max(peak),
                        size.buckets.0
                    )));
                }
            }
            Size::Director(size) => {
                let d = &size.defences;
                if d.drop_entry > 2 || d.drop_packet > 2 {
                    why.push(name("a defence is in mode 3 and acts all the time".to_owned()));
                }
                let taken = (peak * size.entry_bytes).div_ceil(4096);
                if let Some(pages) = size.pages {
                    let left = pages.saturating_sub(taken);
                    if has_defences(d) && left < u64::from(d.amemthresh) {
                        why.push(name(format!("free memory falls below amemthresh ({} pages)", d.amemthresh)));
                    } else if left == 0 {
                        why.push(name("there is not enough memory for all entries".to_owned()));
                    }
                }
            }
            Size::Unknown => {}
        }
    }
    why
}

/// How many buckets are expected to hold more than `least` nodes, with two nodes for each entry.
pub fn chains_longer(entries: u64, buckets: u64, least: u64) -> f64 {
    let mean = 2.0 * entries as f64 / buckets as f64;
    if mean > least as f64 {
        return buckets as f64;
    }
    let mut term = (-mean).exp();
    let mut below = term;
    for k in 1..=least {
        term *= mean / k as f64;
        below += term;
    }
    // The tail by its own terms, since 1 less nearly 1 is nothing.
    let mut tail = 0.0;
    for k in least + 1..least + 200 {
        term *= mean / k as f64;
        tail += term;
    }
    if below < 0.5 { buckets as f64 * (1.0 - below) } else { buckets as f64 * tail }
}

/// The longest chain that is to be expected.
pub fn longest_chain(entries: u64, buckets: u64) -> u64 {
    (0..10_000).find(|length| chains_longer(entries, buckets, *length) < 1.0).unwrap_or(10_000)
}

impl Outcome {
    fn alone(alone: Alone, sizes: &[Size]) -> Outcome {
        let boxes =
            alone.meters.into_iter().zip(alone.bounds).zip(sizes).map(|((meter, bound), size)| {
                (*size != Size::Unknown).then(|| Counted { meter, count_max: bound, deeds: Deeds::default() })
            });
        Outcome { boxes: boxes.collect(), fates: alone.fates, victims: alone.victims, packets: 0, flows_peak: 0, until: None }
    }

    fn together(run: Together) -> Outcome {
        let counted = |(meter, deeds): (Meter, Deeds)| Counted { count_max: meter.count_peak.1, meter, deeds };
        Outcome {
            boxes: run.meters.into_iter().map(|one| one.map(counted)).collect(),
            fates: run.fates,
            victims: run.victims,
            packets: run.packets,
            flows_peak: run.flows_peak,
            until: run.until,
        }
    }

    /// For each box, what it refused and what it evicted.
    fn losses(&self) -> Vec<[u64; 2]> {
        let sum = |pair: [u64; 2]| pair[0] + pair[1];
        let of = |counted: &Option<Counted>| {
            counted.as_ref().map_or([0; 2], |c| [sum(c.deeds.refused), sum(c.deeds.evicted.total()) + sum(c.deeds.collected.total())])
        };
        self.boxes.iter().map(of).collect()
    }
}
