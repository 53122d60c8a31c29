//! Runs a capture through its policy.

use super::baseline::Known;
use super::policy::{CasePolicy, Expected};
use super::{Came, Case, Kind, Told, Unmet, tell};
use crate::capture::Capture;
use crate::engine::Path;
use crate::engine::pipeline::{self, Job, Run};
use crate::engine::replayed::Replayed;
use crate::finding::judge::{self, Judge};
use crate::finding::which::{Choice, Which};
use crate::finding::{Finding, Verdict};
use crate::net::{Proto, Sock};
use crate::time::Duration;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

/// Flows that are looked at in one go.
const CHUNK: usize = 4096;

/// The ends of a flow.
type Ends = (Proto, [Sock; 2]);

/// The verdicts of a run: how many of each, and the flows that do not survive, the worst first.
struct Judged {
    counts: [u64; Verdict::ALL.len()],
    worst: Vec<(Verdict, usize)>,
}

fn judged(path: &Path, run: &Run) -> Judged {
    let judge = Judge::of(path, run.end);
    let part = |chunk: usize| {
        let mut worth = Vec::new();
        let mut scratch = Replayed::scratch();
        for index in run.flows.chunk(chunk, CHUNK) {
            let glance = judge.glance_at(&run.flows, index, &mut scratch, u32::MAX);
            if glance.verdict != Verdict::Survives {
                worth.push((glance.verdict, Reverse(glance.excess), index));
            }
        }
        worth
    };
    let mut worst: Vec<_> = run.flows.chunks(CHUNK).into_par_iter().flat_map_iter(part).collect();
    worst.sort_unstable();
    let mut counts = [0; Verdict::ALL.len()];
    for (verdict, ..) in &worst {
        counts[*verdict as usize] += 1;
    }
    counts[Verdict::Survives as usize] = (run.flows.len() - worst.len()) as u64;
    Judged { counts, worst: worst.into_iter().map(|(verdict, _, index)| (verdict, index)).collect() }
}

fn ends(run: &Run, index: usize) -> Ends {
    let flow = run.flows.flow(index);
    (flow.proto(), run.socks(flow))
}

/// A flow's name in a baseline.
fn key((proto, [client, server]): Ends, nth: u32) -> String {
    let nth = if nth > 1 { format!(" #{nth}") } else { String::new() };
    format!("{} {client} > {server}{nth}", proto.name())
}

/// The names of some flows in a baseline, and the survivors among those that it knows.
fn keys(run: &Run, worst: &[(Verdict, usize)], known: Option<&Known>) -> (BTreeMap<usize, String>, Vec<(usize, String)>) {
    let mut wanted: BTreeMap<Ends, u32> = worst.iter().map(|(_, index)| (ends(run, *index), 0)).collect();
    let bad: BTreeSet<usize> = worst.iter().map(|(_, index)| *index).collect();
    let was = |name: &str| known.is_some_and(|known| known.fates.contains_key(name));
    let any_known = known.is_some_and(|known| !known.fates.is_empty());
    let (mut names, mut recovered) = (BTreeMap::new(), Vec::new());
    for index in 0..run.flows.len() {
        let ends = ends(run, index);
        if any_known && !wanted.contains_key(&ends) && was(&key(ends, 1)) {
            wanted.insert(ends, 0);
        }
        let Some(count) = wanted.get_mut(&ends) else { continue };
        *count += 1;
        let name = key(ends, *count);
        if bad.contains(&index) {
            names.insert(index, name);
        } else if was(&name) {
            recovered.push((index, name));
        }
    }
    (names, recovered)
}

/// A flow for reports.
fn told(path: &Path, finding: &Finding, key: String) -> Told {
    let decided = finding.decisive.as_ref().map(|d| tell::decided(path, d.hop, &d.cause, d.timeout));
    let silence = finding.decisive.as_ref().map(|d| (d.idle, d.victim.map(|(frame, _)| (d.before, frame))));
    let stream = format!("{}.stream eq {}", finding.proto.name(), finding.stream);
    let name = format!("{} → {}", finding.client, finding.server);
    let fate = finding.decisive.as_ref().map_or_else(String::new, |d| format!("would be {}", d.fate));
    let sentence = tell::sentence(finding.verdict, decided.as_ref(), silence.map(|(idle, _)| idle), &fate, finding.inconclusive);
    let session = super::Session {
        message: format!("{}.stream {}, {name}: {sentence}", finding.proto.name(), finding.stream),
        name,
        stream: Some(stream),
        verdict: finding.verdict,
        was: None,
        change: super::Change::Unknown,
        timer: decided.as_ref().map(|decided| decided.timer.clone()),
        silence,
        felt: finding.symptoms.iter().flatten().map(|symptom| symptom.text.clone()).collect(),
        cures: tell::cures(&finding.advice),
        fails: false,
    };
    Told { key, by: decided.map(|decided| decided.by), session }
}

/// Runs a capture. `known` is what the baseline says of it.
///
/// # Errors
/// A policy whose settings make no sense, in one line.
pub fn run(
    file: &str,
    capture: &mut Capture,
    policy: &CasePolicy,
    known: Option<&Known>,
    job: &Job,
    stop: &AtomicBool,
) -> Result<Came, String> {
    let path = policy.path().map_err(|error| error.what)?;
    let job = Job { filter: policy.filter.clone(), ..job.clone() };
    let run = pipeline::run(capture, &path, &job, stop);
    let Judged { counts, worst } = judged(&path, &run);
    let find = |index: usize| {
        let flow = run.flows.flow(index);
        judge::judge(&path, run.socks(flow), flow, &run.flows.run(index), run.end)
    };
    let shown = &worst[..worst.len().min(Case::SESSIONS_MAX)];
    let (mut names, recovered) = keys(&run, shown, known);
    let tell_one = |index: usize, name: String| told(&path, &find(index), name);
    let named: Vec<(usize, String)> = shown.iter().map(|(_, index)| (*index, names.remove(index).unwrap_or_default())).collect();
    let told: Vec<Told> = named.into_par_iter().map(|(index, name)| tell_one(index, name)).collect();
    let recovered: Vec<Told> = recovered.into_par_iter().map(|(index, name)| tell_one(index, name)).collect();
    let flows = run.flows.len() as u64;
    let case = Case {
        file: file.to_owned(),
        variant: None,
        kind: Kind::Capture,
        title: title(&run),
        boxes: tell::boxes(&policy.boxes),
        has_expectation: !policy.expected.is_empty(),
        unmet: unmet(policy, &run, counts, find),
        counts,
        sessions: Vec::new(),
        more: (worst.len() - shown.len()) as u64,
        fails: false,
        changed: false,
        is_new: false,
        remarks: policy.assumed.iter().cloned().chain(remarks(&run)).collect(),
    };
    Ok(Came { case, order: 0, flows, is_counted: shown.len() < worst.len(), told, recovered })
}

fn title(run: &Run) -> String {
    let span = run.end.since(run.begin);
    let human = if span < Duration::from_secs(60) { String::new() } else { format!(" ({})", span.human()) };
    format!("{} packets in {span}{human}, {}", run.counters.records, super::baseline::flows(run.flows.len() as u64))
}

fn remarks(run: &Run) -> Vec<String> {
    let mut remarks = Vec::new();
    if run.interrupted {
        remarks.push("interrupted: only what was read so far is judged".to_owned());
    }
    remarks.extend(run.damages.iter().map(|damage| format!("damage: {damage}")));
    let left = run.left_out();
    if left > 0 {
        remarks.push(format!("{left} packets could not be looked into, and are left out"));
    }
    let none = run.no_room;
    if let (Some(most), false) = (run.flows_max, none.is_nothing()) {
        let packets = none.left_out();
        remarks.push(format!(
            "{packets} packets left out, because at most {most} flows are held (--max-flows): {} flows that never became connections made \
             room, and {} packets found none",
            none.flows, none.turned_away
        ));
    }
    if run.filtered > 0 {
        remarks.push(format!("{} packets left out by the policy's filter", run.filtered));
    }
    if run.flows.is_empty() {
        remarks.push("there is no flow in it".to_owned());
    }
    remarks
}

/// Where something else came than the policy expects.
fn unmet(policy: &CasePolicy, run: &Run, counts: [u64; Verdict::ALL.len()], find: impl Fn(usize) -> Finding) -> Vec<Unmet> {
    let Expected { at_most, at_least, flows } = &policy.expected;
    let mut wrong = Vec::new();
    let mut say = |what: String, path: &str| wrong.push(Unmet { what, at: policy.line(path) });
    for (verdict, most, path) in at_most {
        let came = counts[*verdict as usize];
        if came > *most {
            say(format!("{} {}, at most {most} expected", came, verdict.name()), path);
        }
    }
    for (verdict, least, path) in at_least {
        let came = counts[*verdict as usize];
        if came < *least {
            say(format!("{} {}, at least {least} expected", came, verdict.name()), path);
        }
    }
    let choice = |index: usize| {
        let flow = run.flows.flow(index);
        Choice { proto: flow.proto(), stream: flow.stream, socks: run.socks(flow) }
    };
    for (which, verdict, timer, path) in flows {
        match among(which, (0..run.flows.len()).map(choice)) {
            Err(what) => say(what, &format!("{path}.flow")),
            Ok(index) => {
                let finding = find(index);
                let name = choice(index);
                if finding.verdict != *verdict {
                    say(format!("{name}: {}, not {}", finding.verdict.name(), verdict.name()), &format!("{path}.verdict"));
                }
                let found = finding.decisive.as_ref().map(|d| &d.cause);
                let fits = |wanted: &String| found.is_some_and(|cause| cause.timer == wanted || cause.setting.as_ref() == Some(wanted));
                if let Some(wanted) = timer.as_ref().filter(|wanted| !fits(wanted)) {
                    let came = found.map_or("no timer", |cause| cause.timer);
                    say(format!("{name}: decided by {came}, not by {wanted}"), &format!("{path}.timer"));
                }
            }
        }
    }
    wrong
}

fn among(which: &Which, flows: impl Iterator<Item = Choice> + Clone) -> Result<usize, String> {
    which.among(flows, "flow")
}
