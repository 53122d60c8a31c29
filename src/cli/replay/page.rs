//! `flowlapse replay --html`: the page, with the lives of the worst flows and the filling of the tables by reading the captures again.

use crate::cli::traffic::{self, Options};
use crate::cli::{Failure, again, which, write_whole};
use crate::engine::diary::Diarists;
use crate::engine::pipeline::{self, Job};
use crate::engine::replay::Replay;
use crate::report::capacity::CapacityReport;
use crate::report::html::{self, life::marks_each, replay};
use crate::report::{Report, chart::Occupancy};
use crate::study::capacity::gather::{Gather, kin, nowhere};
use crate::study::capacity::load::Load;
use crate::study::capacity::sizes::Said;
use crate::study::capacity::{Question, answer_until};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Captures with more packets than this are not taken apart for the filling of tables: that keeps every segment in memory.
const PACKETS_MAX: u64 = 2_000_000;

/// Writes the page; says whether an interrupt kept something out of it.
pub(super) fn write(
    file: &Path,
    lives: usize,
    report: &Report<'_>,
    captures: &[OsString],
    options: &Options,
    stop: &AtomicBool,
) -> Result<bool, Failure> {
    let mut extras = replay::Extras { asked: lives, reproduce: vec![again::line()], ..replay::Extras::default() };
    let mut cut = report.run.interrupted;
    if cut {
        extras.no_lives = Some("The run was interrupted: there are no lives in this page, and no filling of tables.".to_owned());
    } else if let Err(Failure(why)) = which::check_twice(captures, "a page with lives") {
        let why = why.split_once(": ").map_or(why.as_str(), |(head, _)| head);
        extras.no_lives = Some(format!("There are no lives in this page, and no filling of tables: {why}."));
    } else {
        let job = Job { watch: None, ..options.job(captures)? };
        if lives > 0 {
            match told(lives, report, captures, &job, stop)? {
                Some(lives) => extras.lives = lives,
                None => cut = true,
            }
        }
        if cut {
            extras.no_lives = Some("The run was interrupted: there are no lives in this page.".to_owned());
        } else if report.run.counters.records > PACKETS_MAX {
            extras.no_tables = Some(format!(
                "The filling of the tables is not in this page: the capture has more than {PACKETS_MAX} packets. flowlapse capacity tells it."
            ));
        } else {
            match options.on_threads(|| tables(report, captures, &job, stop))?? {
                Some(tables) => extras.tables = tables,
                None => cut = true,
            }
        }
    }
    if cut && extras.no_tables.is_none() && !report.run.interrupted {
        extras.no_tables = Some("The run was interrupted: the filling of the tables is not in this page.".to_owned());
    }
    write_whole(file, html::write(&replay::page(report, extras).interrupted(cut))?.as_bytes())?;
    Ok(cut)
}

/// The lives of the flows that the page lists first; nothing where an interrupt came.
fn told(
    most: usize,
    report: &Report<'_>,
    captures: &[OsString],
    job: &Job,
    stop: &AtomicBool,
) -> Result<Option<Vec<(usize, html::life::Life)>>, Failure> {
    let order = replay::listed(report);
    let mut wanted = BTreeMap::new();
    let mut places = BTreeMap::new();
    for index in order.into_iter().take(most) {
        let flow = report.run.flows.flow(index);
        let first = (flow.first_file, flow.first_frame);
        wanted.insert(first, flow.segments.iter().map(|n| u64::from(*n)).sum());
        places.insert(first, index);
    }
    let marks = marks_each(wanted.len());
    let diarists = Diarists { replay: Replay::new(report.path), wanted };
    let run = pipeline::follow(&mut traffic::open(captures)?, &diarists, job, stop);
    if run.interrupted {
        return Ok(None);
    }
    let mut lives = Vec::new();
    for judged in run.flows {
        let index = places.get(&(judged.flow.first_file, judged.flow.first_frame));
        if let (Some(index), Some(mut kept)) = (index, judged.run) {
            lives.push((*index, replay::life(report, &report.finding(*index), &mut kept, marks)));
        }
    }
    if lives.len() < places.len() {
        return Err(which::changed("--html"));
    }
    Ok(Some(lives))
}

/// What the boxes' tables hold over time, for the capture as it is; nothing where an interrupt came.
fn tables(report: &Report<'_>, captures: &[OsString], job: &Job, stop: &AtomicBool) -> Result<Option<Vec<Occupancy>>, Failure> {
    let nowhere = nowhere();
    let run = pipeline::follow(&mut traffic::open(captures)?, &Gather::new(&nowhere), job, stop);
    if run.interrupted {
        return Ok(None);
    }
    let (input, span) = (run.without_flows(), (run.begin, run.end));
    let flows = kin(run);
    if flows.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let question = Question { scale: 1.0, seed: 1, runs: 1, flood: None, said: Said::default(), victims_max: 0, always_together: false };
    let capacity = answer_until(report.path, Load::new(flows, span, 1.0, None, 1), &question, &|_| (), stop);
    if capacity.cut.is_some() {
        return Ok(None);
    }
    let report = CapacityReport { path: report.path, capacity: &capacity, run: &input, scale: 1.0, runs: 1 };
    let hops: Vec<usize> = report.counted().map(|(hop, ..)| hop).collect();
    let several = hops.len() > 1;
    let titled = |hop: usize| {
        let mut chart = report.occupancy(hop)?;
        let place = if several { format!(", {}. {}", hop + 1, report.path.hops[hop].label) } else { String::new() };
        let what = chart.title.split(" entries").next().unwrap_or_default().to_owned();
        chart.title = format!("Entries in the table of {what} over time{place}");
        chart.subtitle = String::from("counted from the lives of the entries of this capture's flows alone");
        Some(chart)
    };
    Ok(Some(hops.into_iter().filter_map(titled).collect()))
}
