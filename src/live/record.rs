//! Records dialogues on a testbed and compares them with the models as they happen.

use super::testbed::{SERVICE_PORT, Testbed};
use super::variant::Variant;
use super::{Request, listing, wire};
use crate::conform::generate::{Planned, Taste, dialogue};
use crate::conform::recording::{Header, Listed, Listing, Step};
use crate::conform::shrink::shrink;
use crate::conform::steps::Comparison;
use crate::conform::{Disagreement, Result as Compared};
use crate::model::Side;
use crate::rng::Rng;
use crate::time::Duration;
use std::net::IpAddr;
use std::time::{Duration as Span, Instant as Clock};

/// The client's port of the first dialogue.
const FIRST_PORT: u16 = 2000;
/// As many dialogues as there are ports for.
const DIALOGUES_MAX: u32 = 60_000;
/// How many dialogues of a timed variant go on at the same time.
const LANES: usize = 48;
/// How many disagreements of one turn are looked into; more would only take time from the search for others.
const LOOKED_INTO: usize = 3;
/// The fewest ticks a second that kernels are built with.
const SLOWEST_HZ: u32 = 100;
/// How often, and how long, a smaller dialogue is looked for.
const ATTEMPTS: usize = 400;
const SHRINK_FOR: Span = Span::from_mins(1);

/// One turn: one box, many dialogues.
pub(super) struct Turn<'a> {
    bed: &'a Testbed,
    variant: &'a Variant,
    /// What the models are told of the box.
    expected: Header,
    taste: Taste,
    rng: Rng,
    start: Clock,
    next_seq: u32,
    comparison: Comparison,
    /// The dialogues on which model and kernel disagreed.
    found: Vec<Vec<Planned>>,
    /// Every step, as a recording has it, if one is wanted.
    log: Option<String>,
}

/// What came of a turn.
pub(super) struct Outcome {
    /// What was compared.
    pub(super) result: Compared,
    /// The whole recording, if it was wanted.
    pub(super) recording: Option<String>,
}

/// A dialogue under way.
struct Lane {
    seq: u32,
    planned: Vec<Planned>,
    at: usize,
    due: Clock,
}

impl<'a> Turn<'a> {
    /// A turn on a box that was just built.
    ///
    /// # Errors
    /// What the models do not know of the box.
    pub(super) fn new(bed: &'a Testbed, variant: &'a Variant, rng: Rng, request: &Request) -> Result<Turn<'a>, String> {
        let mut expected = bed.header.clone();
        if let Some(release) = &request.release {
            expected.kernel.clone_from(release);
        }
        let comparison = Comparison::new(&variant.name, &expected)?;
        let log = request
            .keep
            .then(|| serde_json::to_string(&bed.header).map(|line| line + "\n"))
            .transpose()
            .map_err(|error| error.to_string())?;
        Ok(Turn {
            bed,
            variant,
            expected,
            taste: taste(variant),
            rng,
            start: Clock::now(),
            next_seq: 0,
            comparison,
            found: Vec::new(),
            log,
        })
    }

    /// Runs until the time is over, then looks into what was found.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(super) fn run(mut self, until: Clock) -> Result<Outcome, String> {
        if self.variant.is_timed() {
            self.in_lanes(until)?;
        } else {
            self.one_by_one(until)?;
        }
        let mut result = self.comparison.result().clone();
        let found = std::mem::take(&mut self.found);
        for (disagreement, planned) in result.disagreements.iter_mut().zip(found).take(LOOKED_INTO) {
            let (smaller, recording) = self.smallest(&planned)?;
            if let Some(smaller) = smaller {
                *disagreement = smaller;
            }
            disagreement.recording = Some(recording);
        }
        Ok(Outcome { result, recording: self.log })
    }

    fn draw(&mut self) -> (u32, Vec<Planned>) {
        let seq = self.next_seq;
        self.next_seq += 1;
        (seq, dialogue(Rng::new(self.rng.number()), &self.taste))
    }

    /// Dialogues one after the other, with an empty table for each.
    fn one_by_one(&mut self, until: Clock) -> Result<(), String> {
        while Clock::now() < until && self.next_seq < DIALOGUES_MAX && self.found.len() < LOOKED_INTO {
            let (seq, planned) = self.draw();
            self.bed.flush()?;
            for packet in &planned {
                let step = self.step(seq, packet)?;
                self.note(&step)?;
                if self.comparison.step(&step) {
                    self.found.push(planned);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Many dialogues at once, each with its pauses.
    fn in_lanes(&mut self, until: Clock) -> Result<(), String> {
        let mut lanes: Vec<Lane> = (0..LANES).map(|_| self.lane()).collect();
        while let Some(lane) = lanes.iter_mut().min_by_key(|lane| (lane.due, lane.seq)) {
            if lane.due >= until || self.next_seq >= DIALOGUES_MAX || self.found.len() >= LOOKED_INTO {
                break;
            }
            std::thread::sleep(lane.due.saturating_duration_since(Clock::now()));
            let step = self.step(lane.seq, &lane.planned[lane.at])?;
            self.note(&step)?;
            lane.at += 1;
            if self.comparison.step(&step) {
                self.found.push(std::mem::take(&mut lane.planned));
            }
            match lane.planned.get(lane.at) {
                Some(next) => lane.due = Clock::now() + span(next.gap),
                None => *lane = self.lane(),
            }
        }
        Ok(())
    }

    fn lane(&mut self) -> Lane {
        let (seq, planned) = self.draw();
        let gap = planned.first().map_or(Duration::ZERO, |first| first.gap);
        Lane { seq, planned, at: 0, due: Clock::now() + span(gap) }
    }

    fn note(&mut self, step: &Step) -> Result<(), String> {
        if let Some(log) = &mut self.log {
            log.push_str(&serde_json::to_string(step).map_err(|error| error.to_string())?);
            log.push('\n');
        }
        Ok(())
    }

    /// Injects one packet and notes everything that a recording has.
    fn step(&self, seq: u32, planned: &Planned) -> Result<Step, String> {
        let (bed, a) = (self.bed, self.bed.addresses);
        let port = FIRST_PORT.wrapping_add(seq as u16);
        let translated = self.variant.is_ipvs() || self.variant.option("nat") == Some("dnat");
        let dialled = if translated { a.vip } else { a.server };
        let answered = if self.variant.option("nat") == Some("masquerade") { a.far } else { a.client };
        let from_client = planned.from == Side::Client;
        let (src, dst): ((IpAddr, u16), (IpAddr, u16)) =
            if from_client { ((a.client, port), (dialled, SERVICE_PORT)) } else { ((a.server, SERVICE_PORT), (answered, port)) };
        let bytes = wire::build(planned, self.taste.udp, src, dst)?;
        let wanted = listing::Wanted { client: a.client, far: a.far, port, udp: self.taste.udp };
        let (begun, late) = (Clock::now(), tick_lateness());
        let before = self.variant.is_timed().then(|| self.listed(wanted)).transpose()?;
        let injected = Clock::now();
        bed.inject(from_client, &bytes)?;
        let out = bed.collect();
        let after = self.listed(wanted)?;
        // A late tick makes the kernel's own clock, by which it sets timers and counts seconds, as imprecise as a slow step.
        let tick = Span::from_secs(1) / bed.header.hz.unwrap_or(SLOWEST_HZ).max(1);
        let took = begun.elapsed() + late.max(tick_lateness()).saturating_sub(tick);
        let opts = planned.options.clone();
        Ok(Step {
            seq,
            t: micros(injected.duration_since(self.start)),
            from: if from_client { "client" } else { "server" }.to_owned(),
            port,
            flags: planned.flags.to_string(),
            s: planned.seq.0,
            a: planned.ack.0,
            w: planned.window,
            len: planned.len,
            opts,
            before,
            out,
            ct: after.ct,
            vs: after.vs,
            took: Some(micros(took)),
        })
    }

    /// The entries of a dialogue as the kernel lists them.
    fn listed(&self, wanted: listing::Wanted) -> Result<Listing, String> {
        Ok(Listing {
            ct: find(|| self.bed.conntrack_listing(), |text| listing::conntrack(text, wanted))?,
            vs: find(|| self.bed.ipvs_listing(), |text| listing::ipvs(text, wanted))?,
        })
    }

    /// The smallest dialogue that still shows a disagreement, told in full and as a recording.
    fn smallest(&mut self, planned: &[Planned]) -> Result<(Option<Disagreement>, String), String> {
        let until = Clock::now() + SHRINK_FOR;
        let mut failure = None;
        let mut last: Option<(Disagreement, String)> = None;
        let small = shrink(planned.to_vec(), ATTEMPTS, |candidate| {
            if Clock::now() > until || failure.is_some() {
                return false;
            }
            match self.again(candidate) {
                Ok((Some(disagreement), recording)) => {
                    last = Some((disagreement, recording));
                    true
                }
                Ok((None, _)) => false,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        // What was found last is the smallest. Where nothing smaller fails, the whole dialogue is played once more.
        Ok(match last {
            Some((disagreement, recording)) => (Some(disagreement), recording),
            None => self.again(&small)?,
        })
    }

    /// Plays a dialogue on ports and in tables that nothing else has touched.
    fn again(&mut self, planned: &[Planned]) -> Result<(Option<Disagreement>, String), String> {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.bed.flush()?;
        let mut comparison = Comparison::new(&self.variant.name, &self.expected)?;
        let mut text = serde_json::to_string(&self.bed.header).map_err(|error| error.to_string())?;
        for packet in planned {
            std::thread::sleep(span(packet.gap));
            let step = self.step(seq, packet)?;
            text.push('\n');
            text.push_str(&serde_json::to_string(&step).map_err(|error| error.to_string())?);
            if comparison.step(&step) {
                break;
            }
        }
        Ok((comparison.result().disagreements.first().cloned(), text))
    }
}

/// Looks for an entry in a listing, where there is one. A long listing is read in pieces, and an entry that ends meanwhile
/// makes the kernel skip another: what is missing in a long one is looked for again.
fn find(
    read: impl Fn() -> Result<Option<String>, String>,
    entry: impl Fn(&str) -> Option<Listed>,
) -> Result<Option<Option<Listed>>, String> {
    /// A page less the longest line: a listing that is shorter cannot have had a second piece.
    const ONE_PIECE: usize = 4096 - 400;
    const READINGS: usize = 3;
    let mut found = None;
    for _ in 0..READINGS {
        let Some(text) = read()? else { return Ok(None) };
        found = entry(&text);
        if found.is_some() || text.len() < ONE_PIECE {
            break;
        }
    }
    Ok(Some(found))
}

/// How long ago the kernel counted its last tick: less than a tick, unless the machine was busy or its own host was.
fn tick_lateness() -> Span {
    let read = |clock| nix::time::clock_gettime(clock).map(Span::from).unwrap_or_default();
    // The coarse clock shows the time of the last tick.
    let last = read(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
    read(nix::time::ClockId::CLOCK_MONOTONIC).saturating_sub(last)
}

fn span(duration: Duration) -> Span {
    Span::from_nanos(duration.0)
}

/// Seconds to the microsecond.
fn micros(span: Span) -> f64 {
    span.as_micros() as f64 / 1e6
}

/// The dialogues that suit a variant.
fn taste(variant: &Variant) -> Taste {
    let number = |name: &str| variant.option(name).and_then(|value| value.parse::<u64>().ok());
    let timeouts = variant.options.iter().filter(|(name, _)| name.contains("_timeout"));
    let mut timers: Vec<Duration> = timeouts.filter_map(|(_, value)| value.parse().ok()).map(Duration::from_secs).collect();
    let set = variant.option("set").unwrap_or_default();
    timers.extend(set.split(',').filter_map(|s| s.parse().ok()).filter(|s| *s < 10).map(Duration::from_secs));
    if variant.option("proto") == Some("udp") {
        // An entry cannot become a stream before its third second.
        timers.push(Duration::from_secs(2));
    }
    Taste {
        udp: variant.option("proto") == Some("udp"),
        pause_max: number("timed").map(Duration::from_secs),
        timers,
        damaged_percent: number("mutate").unwrap_or(15),
        server_heard: variant.kind != "ipvs-dr",
    }
}
