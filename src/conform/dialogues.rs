//! Compares the closed loop with `dialogues` recordings: two real sockets with a real box between them, and what each
//! application was told.
//!
//! All timers of a recording ran on one kernel, whose jiffies counter had some phase that was not recorded. The loop is run
//! with one phase after the other; the recording agrees with the model if some phase explains every event of both sides: the
//! same events in the same order, the same errno, and times within a tenth of a second. Where none does, timers may have
//! been later than the wheel alone explains: each by up to what it allows, and never early.

use super::{Disagreement, Result};
use crate::endpoint::{Keepalive, Profile, Ticks};
use crate::engine::{Clock, Path};
use crate::kernel::wheel::{Hz, Phase, granule_ticks};
use crate::model::Side;
use crate::model::conntrack::dialect::release_numbers;
use crate::policy;
use crate::simulate::app::OnEof;
use crate::simulate::trace::Told;
use crate::simulate::{Action, AppPlan, Do, FlowPlan, Network, Observer, World};
use crate::time::{Duration, Instant};
use rayon::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One recorded scenario.
#[derive(Debug, Deserialize)]
struct Dialogue {
    id: String,
    #[serde(rename = "box")]
    middle: Middle,
    client: HostSpec,
    server: HostSpec,
    script: Vec<Line>,
    run_s: f64,
    kernel: String,
    observed: Observed,
    hz: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Middle {
    kind: String,
    #[serde(default)]
    forward: Option<String>,
    #[serde(default)]
    nat: Option<String>,
    #[serde(default)]
    set: Option<[u64; 3]>,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    sysctl: BTreeMap<String, i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostSpec {
    #[serde(default)]
    keepalive: Option<[u64; 3]>,
    #[serde(default)]
    user_timeout_ms: u64,
    #[serde(default)]
    sysctl: BTreeMap<String, i64>,
    #[serde(default)]
    on_eof: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Line {
    t: f64,
    who: String,
    #[serde(rename = "do")]
    what: String,
    #[serde(default)]
    len: u32,
}

#[derive(Debug, Deserialize)]
struct Observed {
    client: Vec<Seen>,
    server: Vec<Seen>,
}

/// One observed event: time, name, detail.
#[derive(Clone, Debug, Deserialize)]
struct Seen(f64, String, #[serde(default)] serde_json::Value);

/// How far a recorded time may be from the model's.
const SLACK: f64 = 0.1;
/// Time before the scenario's own zero, so that nothing is before the epoch.
const ORIGIN: f64 = 1000.0;
/// Round trips in the recordings: nearly always the first; a machine that is busy takes longer.
const ROUND_TRIPS: [Duration; 2] = [Duration(100_000), Duration::from_millis(2)];
/// The share of its length by which a timer in the wheel can be late: a granule of 8 in 63.
const LATENESS: f64 = 8.0 / 63.0;
/// More phases than this are not tried one by one.
const PHASES_MAX: u64 = 1 << 15;
/// More of them than any recording has: timers and arrivals of one run, and of one run for each phase.
const EVENTS_MAX: u64 = 20_000;
const WORK_MAX: u64 = 50_000_000;
/// A recording takes as long as what is recorded; nobody waits longer than a day.
const RUN_MAX: f64 = 86_400.0;
/// How far a recorder that does one thing after the other may shift a call against an arrival.
const LOOP: f64 = 0.003;

fn instant(t: f64) -> Instant {
    Instant(((t + ORIGIN) * 1e9).round().max(0.0) as u64)
}

fn seconds(at: Instant) -> f64 {
    at.0 as f64 / 1e9 - ORIGIN
}

/// Compares every scenario of a file; each is one step.
///
/// # Errors
/// What cannot be read, with its line.
pub(super) fn compare(name: &str, text: &str) -> std::result::Result<Result, String> {
    let mut result = Result::new(name);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let dialogue: Dialogue = serde_json::from_str(line).map_err(|e| format!("line {}, column {}: {e}", number + 1, e.column()))?;
        let bench = Bench::new(&dialogue).map_err(|e| format!("line {}, {}: {e}", number + 1, dialogue.id))?;
        result.steps += 1;
        if let Err([client, server]) = bench.explain() {
            let step = result.steps;
            result.disagree(|| Disagreement {
                step,
                injected: format!("{}: {}", dialogue.id, bench.path_text),
                expected: format!("client {}; server {}", tell(&bench.expected[0]), tell(&bench.expected[1])),
                got: format!("client {}; server {}", tell(&client), tell(&server)),
                dialogue: dialogue.script.iter().map(|l| format!("{} {} {} {}", l.t, l.who, l.what, l.len)).collect(),
                recording: None,
            });
        }
    }
    Ok(result)
}

/// An event in the form in which both are compared.
#[derive(Clone, PartialEq, Debug)]
struct Event {
    at: f64,
    what: &'static str,
    detail: String,
}

fn tell(events: &[Event]) -> String {
    let one = |e: &Event| format!("{:.3} {}{}{}", e.at, e.what, if e.detail.is_empty() { "" } else { " " }, e.detail);
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a side was told, as the recorder notes it.
#[derive(Default)]
struct Notes([Vec<Event>; 2]);

impl Observer for Notes {
    fn told(&mut self, at: Instant, side: Side, what: Told) {
        let (what, detail) = match what {
            Told::Dialled => return,
            Told::Opened => ("open", String::new()),
            Told::Sent(len) => ("send", len.to_string()),
            Told::Received(len) => ("recv", len.to_string()),
            Told::Closed => ("close", String::new()),
            Told::Eof => ("eof", String::new()),
            Told::Aborted => ("aborted", String::new()),
            Told::Failed(errno) => ("error", errno.name().to_owned()),
            Told::GaveUp(why) => ("gave up", why.to_owned()),
        };
        self.0[usize::from(side == Side::Server)].push(Event { at: seconds(at), what, detail });
    }
}

/// Where two lists of events part, if they do: their names, details and times must be the same. How many reads bring the same
/// bytes is the reader's affair, so bytes are compared by when they arrived; and a call that the recorder made while something
/// arrived may stand before or after it.
struct Walk<'a> {
    want: &'a [Event],
    got: Vec<Event>,
    slack: Slack,
}

/// How far times may be apart: always so much, and so much of the time since the event before.
#[derive(Clone, Copy)]
struct Slack {
    fixed: f64,
    share: f64,
}

impl Walk<'_> {
    /// How many recorded events the model has too, and whether these are all of both.
    fn agreement(mut self) -> (usize, bool) {
        let (mut i, mut j) = (0, 0);
        // Bytes of the recorded and of the model's current read that the other has already brought.
        let (mut used_want, mut used_got) = (0_u64, 0_u64);
        while i < self.want.len() {
            let want = &self.want[i];
            let since = i.checked_sub(1).map_or(0.0, |before| want.at - self.want[before].at);
            let slack = self.slack.fixed + self.slack.share * since.max(0.0);
            let same = |got: &Event| want.what == got.what && (want.at - got.at).abs() <= slack;
            let Some(got) = self.got.get(j).cloned() else { return (i, false) };
            if !(same(&got) && (want.what == "recv" || want.detail == got.detail)) {
                let swaps = self.got.get(j + 1).is_some_and(|next| {
                    same(next) && (next.at - got.at).abs() <= LOOP && is_call(next.what) != is_call(got.what) && used_got == 0
                });
                let next = self.got.get(j + 1);
                if swaps {
                    self.got.swap(j, j + 1);
                } else if want.what == "error" && got.what == "recv" && next.is_some_and(|next| next.at - got.at <= LOOP) {
                    // The recorder looked for an error first, and did not read any more.
                    self.got.remove(j);
                } else {
                    return (i, false);
                }
                continue;
            }
            if want.what != "recv" {
                (i, j) = (i + 1, j + 1);
                continue;
            }
            let left_want = bytes(want) - used_want;
            let left_got = bytes(&got) - used_got;
            let taken = left_want.min(left_got);
            (used_want, used_got) = (used_want + taken, used_got + taken);
            if left_want == taken {
                (i, used_want) = (i + 1, 0);
            }
            if left_got == taken {
                (j, used_got) = (j + 1, 0);
            }
        }
        (i, j == self.got.len() && used_got == 0)
    }
}

fn bytes(event: &Event) -> u64 {
    event.detail.parse().unwrap_or(0)
}

/// Whether the application did it, rather than being told.
fn is_call(what: &str) -> bool {
    matches!(what, "send" | "close" | "aborted")
}

/// What a recording leaves open beside the phase.
#[derive(Clone, Copy)]
struct How {
    round_trip: Duration,
    /// Whose timer is first where both hosts' fire in the same tick.
    server_first: bool,
}

struct Bench {
    path_text: String,
    spec: policy::BoxSpec,
    profiles: [Profile; 2],
    apps: [AppPlan; 2],
    scripts: [Vec<Action>; 2],
    start: Instant,
    horizon: Instant,
    hz: Hz,
    longest: Duration,
    expected: [Vec<Event>; 2],
}

impl Bench {
    fn new(d: &Dialogue) -> std::result::Result<Bench, String> {
        let path_text = box_text(&d.middle, &d.kernel)?;
        let spec = policy::parse_short(&path_text).map_err(|e| e.to_string())?;
        let hosts = [&d.client, &d.server];
        let mut profiles = [Profile::LINUX; 2];
        let mut apps = [AppPlan::default(); 2];
        for side in 0..2 {
            profiles[side] = profile(hosts[side], &d.kernel)?;
            apps[side].on_eof = match hosts[side].on_eof.as_deref() {
                None | Some("keep") => OnEof::Keep,
                Some("close") => OnEof::Close,
                Some(other) => return Err(format!("on_eof '{other}' is not close or keep")),
            };
        }
        let observed = [&d.observed.client, &d.observed.server];
        let mut scripts = [Vec::new(), Vec::new()];
        for (side, who) in ["client", "server"].into_iter().enumerate() {
            // The recorder notes when it really called; what it did not come to is at the scripted time.
            let mut calls = observed[side].iter().filter(|seen| matches!(seen.1.as_str(), "send" | "close" | "aborted"));
            // A call that was not noted was not made before the last thing that was.
            let last = observed[side].last().map_or(0.0, |seen| seen.0) + 0.01;
            for line in d.script.iter().filter(|line| line.who == who) {
                let (what, noted) = match line.what.as_str() {
                    "send" => (Do::Send(line.len), "send"),
                    "close" => (Do::Shutdown, "close"),
                    "abort" => (Do::Abort, "aborted"),
                    other => return Err(format!("script: '{other}' is not send, close or abort")),
                };
                let at = calls.next().filter(|seen| seen.1 == noted).map_or(line.t.max(last), |seen| seen.0);
                scripts[side].push(Action { at: instant(at), what });
            }
        }
        let opened = d.observed.client.first().filter(|seen| seen.1 == "open").map_or(0.02, |seen| seen.0);
        let hz = Hz(d.hz.unwrap_or(100));
        if !(1..=10_000).contains(&hz.0) {
            return Err(format!("hz: {} is not between 1 and 10000", hz.0));
        }
        if !(0.0..=RUN_MAX).contains(&d.run_s) {
            return Err(format!("run_s: {} is not between 0 and {RUN_MAX}", d.run_s));
        }
        let longest = longest(&profiles, &d.middle, d.run_s);
        let expected = observed.map(|seen| seen.iter().map(noted).collect());
        let bench = Bench {
            path_text,
            spec,
            profiles,
            apps,
            scripts,
            start: instant((opened - 0.000_5).max(0.0)),
            horizon: instant(d.run_s),
            hz,
            longest,
            expected,
        };
        bench.is_small()?;
        Ok(bench)
    }

    /// Checks that the dialogue is one that can be run with every phase of a counter.
    fn is_small(&self) -> std::result::Result<(), String> {
        let (_, events) = self.outcome(None, How { round_trip: ROUND_TRIPS[0], server_first: false });
        let phases = self.period().min(PHASES_MAX);
        if events >= EVENTS_MAX || events.saturating_mul(phases) > WORK_MAX {
            return Err(format!("{events} timers and arrivals for each of {phases} phases of the counter are more than is tried"));
        }
        Ok(())
    }

    /// The coarsest granule that a timer of this dialogue can lie in: phases repeat after it.
    fn period(&self) -> u64 {
        granule_ticks(self.hz.ticks(self.longest), self.hz)
    }

    /// Looks for a phase of the counter that explains the recording; the nearest attempt where there is none.
    fn explain(&self) -> std::result::Result<(), [Vec<Event>; 2]> {
        let period = self.period();
        let phases = period.min(PHASES_MAX);
        // Between two phases that are tried, timers shift by so much.
        let fineness = self.hz.span(period.div_ceil(phases) - 1).as_secs_f64();
        let exact = Slack { fixed: SLACK + fineness, share: 0.0 };
        let (trips, parts): (&[Duration], &[u64]) = if phases > 512 { (&ROUND_TRIPS[..1], &[1, 3]) } else { (&ROUND_TRIPS, &[1, 3, 0, 2]) };
        for round_trip in trips {
            for part in parts {
                for server_first in [false, true] {
                    let how = How { round_trip: *round_trip, server_first };
                    if (0..phases).into_par_iter().any(|n| self.agrees(self.phase(n, phases, period, *part), how, exact)) {
                        return Ok(());
                    }
                }
            }
        }
        // A machine that was busy fires its timers later still: each may be late by what the wheel would have allowed.
        let late = Slack { fixed: SLACK, share: LATENESS };
        let some = phases.min(512);
        let usual = How { round_trip: ROUND_TRIPS[0], server_first: false };
        let ideal = self.run(None, usual);
        if self.is_never_early(&ideal) {
            let busy = (0..some).into_par_iter().any(|n| self.agrees(self.phase(n, some, period, 1), usual, late));
            if busy {
                return Ok(());
            }
        }
        let nearest = (0..some)
            .into_par_iter()
            .map(|n| {
                let got = self.run(Some(self.phase(n, some, period, 1)), usual);
                let good = [0, 1].map(|side| self.walk(side, &got, exact).0);
                (good[0] + good[1], std::cmp::Reverse(n), got)
            })
            .max_by_key(|(good, n, _)| (*good, *n));
        Err(nearest.map(|(_, _, got)| got).unwrap_or_default())
    }

    /// One of `phases` phases, in an order that spreads over coarse and fine granules alike.
    fn phase(&self, number: u64, phases: u64, period: u64, part: u64) -> Phase {
        let spread = number.wrapping_mul(0x9e37_79b1) % phases;
        let jiffies = (1 << 32) + spread * (period / phases) + number % (period / phases);
        Phase { hz: self.hz, jiffies, at: self.start - Duration(self.hz.tick().0 * part / 4) }
    }

    fn walk(&self, side: usize, got: &[Vec<Event>; 2], slack: Slack) -> (usize, bool) {
        Walk { want: &self.expected[side], got: got[side].clone(), slack }.agreement()
    }

    fn agrees(&self, phase: Phase, how: How, slack: Slack) -> bool {
        let got = self.run(Some(phase), how);
        (0..2).all(|side| self.walk(side, &got, slack).1)
    }

    /// Whether no recorded event is before the one that exact timers give: a timer never fires early.
    fn is_never_early(&self, ideal: &[Vec<Event>; 2]) -> bool {
        (0..2).all(|side| {
            let pairs = self.expected[side].iter().zip(&ideal[side]);
            pairs.take_while(|(want, ideal)| want.what == ideal.what).all(|(want, ideal)| want.at > ideal.at - SLACK)
        })
    }

    /// The loop with a phase of the counter, or with exact timers.
    fn run(&self, phase: Option<Phase>, how: How) -> [Vec<Event>; 2] {
        self.outcome(phase, how).0
    }

    /// The same, and how many timers and arrivals there were.
    fn outcome(&self, phase: Option<Phase>, how: How) -> ([Vec<Event>; 2], u64) {
        let clock = phase.map_or(Clock::Ideal, |phase| Clock::Wheel { hz: self.hz, phase: Some(phase) });
        let ticks = phase.map_or(Ticks::Ideal, Ticks::Wheel);
        let Ok(path) = Path::build(std::slice::from_ref(&self.spec), clock) else { return ([Vec::new(), Vec::new()], 0) };
        let mut net = Network::plain(path, how.round_trip, ticks, self.horizon);
        net.server_first = how.server_first;
        net.events_max = EVENTS_MAX;
        let mut world = World::new(&net, Notes::default());
        let outcome = world.run(&FlowPlan {
            number: 0,
            start: self.start,
            ports: [40_000, 80],
            profiles: [&self.profiles[0], &self.profiles[1]],
            scripts: [&self.scripts[0], &self.scripts[1]],
            apps: self.apps,
            listens: true,
            vanishes: [None; 2],
        });
        (world.observer.0, outcome.events)
    }
}

fn noted(seen: &Seen) -> Event {
    let what = match seen.1.as_str() {
        "open" => "open",
        "send" => "send",
        "recv" => "recv",
        "close" => "close",
        "eof" => "eof",
        "aborted" => "aborted",
        "error" => "error",
        _ => "unknown",
    };
    let detail = match &seen.2 {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Event { at: seen.0, what, detail }
}

/// The box in the short form of the command line.
fn box_text(b: &Middle, kernel: &str) -> std::result::Result<String, String> {
    let mut words = Vec::new();
    let kind = match b.kind.as_str() {
        "conntrack" => {
            words.extend(b.nat.clone());
            words.extend(rules(&b.rules)?.map(str::to_owned));
            "conntrack"
        }
        "ipvs" => {
            words.push(b.forward.clone().ok_or("box.forward is missing: nat or dr")?);
            if let Some([tcp, tcpfin, udp]) = b.set {
                words.push(format!("tcp={tcp},tcpfin={tcpfin},udp={udp}"));
            }
            "ipvs"
        }
        other => return Err(format!("box.kind '{other}' is not conntrack or ipvs")),
    };
    // What a distribution appends behind a plus sign is no part of the release.
    words.push(format!("dialect={}", kernel.split('+').next().unwrap_or(kernel)));
    words.extend(b.sysctl.iter().map(|(key, value)| format!("{key}={value}")));
    Ok(format!("{kind}:{}", words.join(",")))
}

/// The iptables rules that the models know, by what they say.
fn rules(rules: &[String]) -> std::result::Result<Option<&'static str>, String> {
    let lines: Vec<&str> = rules.iter().map(String::as_str).collect();
    match lines[..] {
        [] => Ok(None),
        ["-m conntrack --ctstate INVALID -j DROP"] => Ok(Some("drop-invalid")),
        ["-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "-p tcp --syn -m conntrack --ctstate NEW -j ACCEPT", "-j DROP"] => {
            Ok(Some("strict"))
        }
        _ => Err(format!("box.rules {rules:?} are neither none, nor DROP of INVALID, nor ESTABLISHED,RELATED and SYN only")),
    }
}

fn profile(host: &HostSpec, kernel: &str) -> std::result::Result<Profile, String> {
    let mut p = Profile::LINUX;
    let [major, minor, _] = release_numbers(kernel).ok_or_else(|| format!("kernel '{kernel}' is no release"))?;
    p.at_release(major, minor);
    if let Some([time, intvl, probes]) = host.keepalive {
        p.keepalive = true;
        p.keepalive_times = Keepalive { time: Duration::from_secs(time), intvl: Duration::from_secs(intvl), probes: probes.min(127) as u8 };
    }
    p.user_timeout = Duration::from_millis(host.user_timeout_ms);
    for (key, value) in &host.sysctl {
        let number = u64::try_from(*value).map_err(|_| format!("sysctl {key}: {value} is negative"))?;
        p.sysctl(key, number)?;
    }
    Ok(p)
}

/// The longest timer that can be armed and fire before the end: it decides after how many ticks phases repeat.
fn longest(profiles: &[Profile; 2], middle: &Middle, run_s: f64) -> Duration {
    let keepalive = profiles.iter().filter(|p| p.keepalive).map(|p| p.keepalive_times.time.max(p.keepalive_times.intvl));
    let ipvs = (middle.kind == "ipvs").then(|| {
        let set = middle.set.unwrap_or([900, 120, 300]);
        // Beside what --set changes, CLOSE_WAIT and the handshake's states have 60 s.
        Duration::from_secs(set[0].max(set[1]).max(60))
    });
    // Retransmission timers double up to two minutes.
    let all = keepalive.chain(ipvs).fold(Profile::LINUX.rto_max, Duration::max);
    all.min(Duration::from_secs_f64(run_s))
}
