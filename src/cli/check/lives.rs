//! The lives of sessions that fail or changed, for the page: what it is of is run once more, with somebody who writes it down.

use super::work::Unit;
use crate::capture::Input;
use crate::check::policy::CasePolicy;
use crate::check::story::Prepared;
use crate::check::{Case, Change, Checked, Kind, Session};
use crate::cli::{Failure, interrupt, which};
use crate::engine::diary::Diarists;
use crate::engine::pipeline::{self, Job};
use crate::engine::replay::Replay;
use crate::report::Report;
use crate::report::html::check::{CaseLife, called};
use crate::report::html::life::{Life, marks_each};
use crate::report::html::{replay, story};
use crate::report::story::{Came, Story, life};
use crate::scenario::run as runner;
use crate::simulate::diarist::Diarist;
use crate::simulate::trace::Recorder;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sessions whose lives are told at most.
const LIVES_MAX: usize = 40;

/// Whether a page tells the life of a session. Populations have none: nobody keeps a diary of one flow among many.
fn is_told(case: &Case, session: &Session) -> bool {
    case.kind != Kind::Population && (session.fails || !matches!(session.change, Change::Unknown | Change::Same))
}

/// The lives of the first sessions that fail or changed, in the order of the cases. Nothing where it was `stop`ped meanwhile.
///
/// # Errors
/// That a capture cannot be read once more, or is not what it was.
pub(super) fn told(checked: &Checked, units: &[Unit<'_>], flows_max: Option<u64>, stop: &AtomicBool) -> Result<Vec<CaseLife>, Failure> {
    let mut wanted: Vec<(&Case, Vec<&Session>)> = Vec::new();
    let mut room = LIVES_MAX;
    for case in &checked.cases {
        let sessions: Vec<&Session> = case.sessions.iter().filter(|session| is_told(case, session)).take(room).collect();
        room -= sessions.len();
        if !sessions.is_empty() {
            wanted.push((case, sessions));
        }
    }
    let mut known = BTreeMap::new();
    for unit in units {
        known.entry((unit.file(), unit.variant())).or_insert(unit);
    }
    let marks = marks_each(LIVES_MAX - room);
    let mut lives = Vec::new();
    // One after the other: a capture is read by all threads, and takes memory.
    for (case, sessions) in wanted {
        let lived = match known.get(&(case.file.as_str(), case.variant.as_deref())) {
            _ if stop.load(Ordering::SeqCst) => return Ok(Vec::new()),
            Some(Unit::Story(prepared)) => of_story(prepared, &sessions, marks, stop),
            Some(Unit::Capture(found, policy)) => of_capture(&found.path, policy, &sessions, marks, flows_max, stop)?,
            None => Vec::new(),
        };
        let named = |(session, life): (&Session, Life)| CaseLife { case: case.name(), session: Some(called(session).to_owned()), life };
        lives.extend(lived.into_iter().map(named));
    }
    Ok(lives)
}

/// The life of a scenario's single flow.
fn of_story<'s>(prepared: &Prepared, sessions: &[&'s Session], most: usize, stop: &AtomicBool) -> Vec<(&'s Session, Life)> {
    let ready = prepared.ready();
    let (outcome, diarist) = runner::single_until(ready, Diarist::new(ready.net.path.hops.len()), stop);
    if outcome.interrupted {
        return Vec::new();
    }
    let variant = prepared.variant.as_ref().map(|(_, name)| name.as_str());
    let came = Came::One(Box::new(outcome), Recorder::default());
    let told = Story::new(&prepared.file, variant, prepared.scenario(), ready, came);
    let Some(lanes) = life::lanes(&told, diarist) else { return Vec::new() };
    let Came::One(outcome, _) = &told.came else { return Vec::new() };
    sessions.iter().map(|session| (*session, story::life(&lanes, outcome, most))).collect()
}

/// The lives of some flows of a capture: one reading judges its flows again, another follows those few.
fn of_capture<'s>(
    file: &Path,
    policy: &CasePolicy,
    sessions: &[&'s Session],
    most: usize,
    flows_max: Option<u64>,
    stop: &AtomicBool,
) -> Result<Vec<(&'s Session, Life)>, Failure> {
    // What comes out of a pipe has gone.
    if !file.is_file() {
        return Ok(Vec::new());
    }
    let path = policy.path().map_err(|error| error.what)?;
    let job = Job { threads: rayon::current_num_threads(), filter: policy.filter.clone(), flows_max, ..Job::default() };
    let open = || interrupt::open(&[Input::Path(file.to_owned())]).map_err(|error| Failure(error.to_string()));
    let run = pipeline::run(&mut open()?, &path, &job, stop);
    let report = Report::new(&path, &run);
    let stream = |session: &&'s Session| {
        let (proto, number) = session.stream.as_deref()?.split_once(".stream eq ")?;
        Some(((proto, number.parse::<u32>().ok()?), *session))
    };
    let streams: BTreeMap<(&str, u32), &Session> = sessions.iter().filter_map(stream).collect();
    let (mut wanted, mut places) = (BTreeMap::new(), BTreeMap::new());
    for index in 0..report.flows() {
        let flow = run.flows.flow(index);
        let Some(session) = streams.get(&(flow.proto().name(), flow.stream)) else { continue };
        let first = (flow.first_file, flow.first_frame);
        wanted.insert(first, flow.segments.iter().map(|n| u64::from(*n)).sum());
        places.insert(first, (index, *session));
    }
    let diarists = Diarists { replay: Replay::new(&path), wanted };
    let followed = pipeline::follow(&mut open()?, &diarists, &job, stop);
    let mut lives = Vec::new();
    for judged in followed.flows {
        let place = places.get(&(judged.flow.first_file, judged.flow.first_frame));
        if let (Some((index, session)), Some(mut kept)) = (place, judged.run) {
            lives.push((*session, replay::life(&report, &report.finding(*index), &mut kept, most)));
        }
    }
    if lives.len() < sessions.len() && !stop.load(Ordering::SeqCst) {
        return Err(which::changed("--html"));
    }
    Ok(lives)
}
