//! What tables hold under a load, in words, in JSON and as a picture. It counts nothing itself.

pub mod json;
pub mod text;

use super::chart::Occupancy;
use crate::engine::Path;
use crate::engine::hop::Device;
use crate::engine::pipeline::Run;
use crate::study::capacity::carry::classes;
use crate::study::capacity::sizes::Size;
use crate::study::capacity::{Capacity, Counted, Cut, Event, Mode, What};
use crate::time::{Duration, Instant};

/// What a report on capacity is written from.
#[derive(Debug)]
pub struct CapacityReport<'r> {
    /// The path.
    pub path: &'r Path,
    /// The answer.
    pub capacity: &'r Capacity,
    /// What was read.
    pub run: &'r Run<()>,
    /// How many times as many flows.
    pub scale: f64,
    /// How often the whole was repeated.
    pub runs: u32,
}

impl CapacityReport<'_> {
    /// Whether it is about less than was asked for, because of an interrupt.
    pub fn is_interrupted(&self) -> bool {
        self.run.interrupted || self.capacity.cut.is_some()
    }

    /// Flows that are in no number, because of an interrupt.
    pub fn unknown(&self) -> u64 {
        (self.capacity.load.members.len() as u64).saturating_sub(self.capacity.outcome.fates.iter().sum())
    }

    /// How far an interrupted simulation came.
    pub fn cut(&self) -> Option<String> {
        let whole = self.capacity.load.end.since(self.capacity.load.begin);
        Some(match self.capacity.cut? {
            Cut::Flows(left) => {
                format!("{left} flows were not looked at, and are in no number; whether the tables would be full is not known")
            }
            Cut::At(until) => format!(
                "simulated until {:.3} s of {:.3} s; {} flows had not begun, and are in no number",
                self.since(until).as_secs_f64(),
                whole.as_secs_f64(),
                self.unknown()
            ),
            Cut::Repetitions => "the first run is complete, and what was to be compared with it is missing".to_owned(),
        })
    }

    /// A time from the start of the traffic.
    pub fn since(&self, at: Instant) -> Duration {
        at.since(self.capacity.load.begin)
    }

    /// The boxes whose tables were counted, with their places.
    pub fn counted(&self) -> impl Iterator<Item = (usize, &Counted, &Size)> {
        let sizes = &self.capacity.sizes;
        self.capacity.outcome.boxes.iter().enumerate().filter_map(|(hop, one)| one.as_ref().map(|one| (hop, one, &sizes[hop])))
    }

    /// `nf_conntrack_max` with a quarter to spare, rounded up to what people write.
    pub fn recommended(&self, hop: usize) -> u64 {
        let wanted = self.capacity.wanted.get(hop).map_or(0, |wanted| (wanted * 5).div_ceil(4)).max(1024);
        // Four digits that count, in binary: steps of an eighth at most.
        let step = 1_u64 << wanted.ilog2().saturating_sub(3);
        wanted.next_multiple_of(step)
    }

    /// A box's table over time, for a picture.
    pub fn occupancy(&self, hop: usize) -> Option<Occupancy> {
        let counted = self.capacity.outcome.boxes.get(hop)?.as_ref()?;
        let meter = &counted.meter;
        let model = &self.path.hops[hop];
        let times = meter.samples.iter().map(|(at, _)| self.since(*at).as_secs_f64()).collect();
        let mut states = Vec::new();
        let mut counts: Vec<Vec<u64>> = Vec::new();
        // What nobody would see is put together.
        let least = meter.peak.1.live() / 200;
        let mut others = vec![0; meter.samples.len()];
        for (class, name) in classes(model) {
            let row: Vec<u64> = meter.samples.iter().map(|(_, census)| census.classes[usize::from(class)]).collect();
            if row.iter().any(|count| *count > least) {
                states.push(name.to_owned());
                counts.push(row);
            } else {
                others.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
            }
        }
        if others.iter().any(|count| *count > 0) {
            states.push("others".to_owned());
            counts.push(others);
        }
        let ended: Vec<u64> = meter.samples.iter().map(|(_, census)| census.ended).collect();
        if ended.iter().any(|count| *count > 0) {
            states.push("ended, not collected".to_owned());
            counts.push(ended);
        }
        let (limit, limit_label) = match &self.capacity.sizes[hop] {
            Size::Conntrack(size) => (size.max.map(|(max, _)| max), "nf_conntrack_max".to_owned()),
            _ => (None, String::new()),
        };
        let mode = match self.capacity.mode {
            Mode::Independent => "flows one by one",
            Mode::Global(_) => "all flows together",
        };
        let what = if matches!(model.device, Device::Director(_)) { "IPVS" } else { "conntrack" };
        Some(Occupancy {
            title: format!("{what} entries by state, {}× the flows", self.scale),
            subtitle: mode.to_owned(),
            states,
            times,
            counts,
            limit,
            limit_label,
            events: together(&counted.deeds.events).map(|(at, what)| (self.since(at).as_secs_f64(), what)).collect(),
            total_scaled: None,
        })
    }
}

/// Events with words for each moment: what happened at once is told in one line.
pub fn together(events: &[Event]) -> impl Iterator<Item = (Instant, String)> + '_ {
    events.chunk_by(|one, other| one.at == other.at).map(|group| (group[0].at, at_once(group)))
}

fn at_once(group: &[Event]) -> String {
    let switches: Vec<(&str, bool, u8)> = group.iter().filter_map(switch).collect();
    match switches.first() {
        Some((_, on, mode)) if switches.len() == group.len() && switches.iter().all(|(_, o, m)| (o, m) == (on, mode)) => {
            let names: Vec<&str> = switches.iter().map(|(name, ..)| *name).collect();
            switched(&names.join(", "), *on, *mode)
        }
        _ => group.iter().map(words).collect::<Vec<_>>().join(", "),
    }
}

/// A defence that went on or off: its sysctl, and what that reads as.
const fn switch(event: &Event) -> Option<(&'static str, bool, u8)> {
    match event.what {
        What::Full | What::NoMemory | What::EarlyDrop => None,
        What::DropEntry { on, mode } => Some(("drop_entry", on, mode)),
        What::DropPacket { on, mode } => Some(("drop_packet", on, mode)),
        What::SecureTcp { on, mode } => Some(("secure_tcp", on, mode)),
    }
}

fn switched(names: &str, on: bool, mode: u8) -> String {
    format!("{names} {} (mode {mode})", if on { "on" } else { "off" })
}

/// An event in words.
pub fn words(event: &Event) -> String {
    match (event.what, switch(event)) {
        (_, Some((name, on, mode))) => switched(name, on, mode),
        (What::Full, _) => "table full".to_owned(),
        (What::NoMemory, _) => "no memory left".to_owned(),
        _ => "early_drop begins".to_owned(),
    }
}
