//! Dialogues of two real sockets with a real box between them: many scenes at once, each compared with the model as it ends.
//!
//! What is drawn, and what agreement means, is said elsewhere (`conform`); this is the order of the work.

use super::play::{Observed, play};
use super::stage::{Stage, fresh};
use super::testbed::tables_program;
use super::{Event, Request, Skipped};
use crate::conform::scenes::{Scene, scene};
use crate::conform::{self, Result as Compared};
use serde::Serialize;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The name of its results.
const NAME: &str = "dialogues";
/// How many scenes are played at once.
const AT_ONCE: usize = 40;
/// Building stages takes at most one part in so many of the time that is left.
const BUILDING_SHARE: u32 = 4;
/// A batch that could be watched no longer than this would show little.
const WATCHED_MIN: Duration = Duration::from_secs(20);
/// Links come up, and what building has left behind calms down.
const SETTLING: Duration = Duration::from_secs(2);
/// Scenes begin one after the other, so that their packets do not come all at once.
const STAGGER: Duration = Duration::from_millis(43);
/// So many stages may fail before nothing more is tried, as long as none has been built.
const FAILURES_MAX: usize = 5;
/// How often the machine's pulse is taken.
const PULSE: Duration = Duration::from_millis(20);
/// A pulse may be so late; what is later adds up.
const PULSE_SLACK: Duration = Duration::from_millis(20);
/// Late by more than this in all, a machine cannot say when something happened to a tenth of a second.
const LATE_MAX: Duration = Duration::from_millis(50);
/// Why a scene cannot be decided.
const BUSY: &str = "the machine was held up while the scene was played: its times are uncertain";

/// A line of a recording.
#[derive(Serialize)]
struct Recorded<'a> {
    #[serde(flatten)]
    scene: &'a Scene,
    kernel: &'a str,
    observed: &'a Observed,
    hz: u32,
}

/// Batch after batch, until the time is over or nobody listens to the reports.
///
/// # Errors
/// That nothing can be tried.
pub(super) fn batches(request: &Request, kernel: &str, has_ipvs: bool, report: fn(&Event) -> bool) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(request.seconds);
    let hz = request.hz.or_else(measured_hz).ok_or("the kernel's ticks a second are not known")?;
    fresh()?;
    let tables = tables_program(false)?;
    // What follows the numbers is the builder's name.
    let kernel = kernel.split('-').next().unwrap_or(kernel);
    let mut batch = Batch { request, kernel, hz, has_ipvs, tables, next: 0, compared: 0, report };
    let mut first = true;
    while first || until.saturating_duration_since(Instant::now()) > WATCHED_MIN + WATCHED_MIN / BUILDING_SHARE {
        if !batch.run(until)? {
            break;
        }
        first = false;
    }
    Ok(())
}

/// What all batches have in common.
struct Batch<'a> {
    request: &'a Request,
    kernel: &'a str,
    hz: u32,
    has_ipvs: bool,
    tables: &'static str,
    /// The number of the next scene.
    next: u64,
    /// How many have been compared.
    compared: usize,
    report: fn(&Event) -> bool,
}

impl Batch<'_> {
    /// One batch; says whether anybody still listens.
    fn run(&mut self, until: Instant) -> Result<bool, String> {
        let staged = self.build(until)?;
        let begin = Instant::now() + SETTLING;
        let (send, receive) = mpsc::channel();
        for (place, (mut scene, stage)) in (0..).zip(staged) {
            let (send, start) = (send.clone(), begin + STAGGER * place);
            let longest = until.saturating_duration_since(start).max(Duration::from_secs(1));
            std::thread::spawn(move || {
                let observed = play(stage, &mut scene, start, longest);
                let _ = send.send((scene, start, observed));
            });
        }
        drop(send);
        let mut pulse = Pulse { late: Vec::new() };
        loop {
            let asked = Instant::now();
            match receive.recv_timeout(PULSE) {
                Ok((scene, start, observed)) => {
                    let late = pulse.late_since(start);
                    let heard = match observed {
                        Ok(observed) => (self.report)(&self.compare(&scene, &observed, late)?),
                        Err(reason) => self.skip(&scene, reason),
                    };
                    if !heard {
                        return Ok(false);
                    }
                }
                Err(RecvTimeoutError::Timeout) => pulse.take(asked),
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
            }
        }
    }

    /// As many stages as there is time for, at least one.
    fn build(&mut self, until: Instant) -> Result<Vec<(Scene, Stage)>, String> {
        let built_by = Instant::now() + until.saturating_duration_since(Instant::now()) / BUILDING_SHARE;
        let (mut staged, mut failures) = (Vec::new(), 0);
        while staged.is_empty() || staged.len() < AT_ONCE && Instant::now() < built_by {
            let scene = scene(self.request.seed, self.next, self.has_ipvs);
            self.next += 1;
            match Stage::build(&scene, self.tables) {
                Ok(stage) => staged.push((scene, stage)),
                Err(error) => {
                    failures += 1;
                    if staged.is_empty() && failures >= FAILURES_MAX {
                        return Err(error);
                    }
                    self.skip(&scene, error);
                }
            }
        }
        Ok(staged)
    }

    fn skip(&self, scene: &Scene, reason: String) -> bool {
        let kind = scene.id.splitn(3, '-').last().unwrap_or(NAME);
        (self.report)(&Event { skipped: Some(Skipped { variant: format!("{NAME} {kind}"), reason }), ..Event::default() })
    }

    /// Compares one scene; `late` is by how much the machine was held up meanwhile.
    fn compare(&mut self, scene: &Scene, observed: &Observed, late: Duration) -> Result<Event, String> {
        let line =
            |kernel: &str| serde_json::to_string(&Recorded { scene, kernel, observed, hz: self.hz }).map_err(|error| error.to_string());
        let recording = line(self.kernel)?;
        let mut result = match self.request.release.as_deref() {
            None => conform::compare(NAME, &recording),
            Some(release) => conform::compare(NAME, &line(release)?),
        }
        .map_err(|error| error.to_string())?;
        if result.disagree > 0 && late > LATE_MAX {
            result = Compared { steps: result.steps, ..Compared::new(NAME) };
            result.undecided(1, BUSY);
        }
        self.compared += result.steps;
        for disagreement in &mut result.disagreements {
            disagreement.step = self.compared;
            disagreement.recording = Some(recording.clone());
        }
        Ok(Event { result: Some(result), line: self.request.keep.then_some(recording), ..Event::default() })
    }
}

/// How late the machine was, and when.
struct Pulse {
    late: Vec<(Instant, Duration)>,
}

impl Pulse {
    /// A wait that began then has just ended.
    fn take(&mut self, asked: Instant) {
        let late = asked.elapsed().saturating_sub(PULSE + PULSE_SLACK);
        if !late.is_zero() {
            self.late.push((Instant::now(), late));
        }
    }

    fn late_since(&self, start: Instant) -> Duration {
        self.late.iter().filter(|(at, _)| *at >= start).map(|(_, late)| *late).sum()
    }
}

/// Ticks a second: the coarse clock advances by one tick.
fn measured_hz() -> Option<u32> {
    let tick = Duration::from(nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).ok()?);
    (1_000_000_000_u128 + tick.as_nanos() / 2).checked_div(tick.as_nanos()).map(|hz| hz as u32)
}
