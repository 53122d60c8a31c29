//! `flowlapse run --map`: a scenario for each pair of two settings.

use super::{Args, report};
use crate::cli::draw::Draw;
use crate::cli::traffic::text_of;
use crate::cli::{Ended, Failure, exit, interrupt, note};
use crate::report::chart::{Axis, Cells, Map};
use crate::report::story::Came;
use crate::report::story::map::{ENTRY_LIVES, words};
use crate::scenario::{Scenario, load_with, run as runner};
use crate::simulate::Silent;
use crate::simulate::trace::Recorder;
use crate::time::Duration;
use rayon::prelude::*;
use std::sync::atomic::Ordering;

/// More cells than a picture can show.
const COUNT_MAX: usize = 400;
/// What a cell says that an interrupt kept from being run.
const NOT_RUN: &str = "not run: interrupted";

/// Draws the map of one scenario.
pub(super) fn run(args: &Args, axes: &[String], draws: &[Draw], loaded: &[(String, String, Scenario)]) -> Ended {
    let [(origin, text, base)] = loaded else {
        return Err(Failure("--map draws one scenario; name one".to_owned()));
    };
    let [across, up] = axes else {
        return Err(Failure("--map takes two settings, across and up".to_owned()));
    };
    let (across, up) = (axis(across)?, axis(up)?);
    let columns = across.values.len();
    let stop = interrupt::flag();
    let cells: Vec<String> = (0..columns * up.values.len())
        .into_par_iter()
        .map(|cell| {
            if stop.load(Ordering::Relaxed) {
                return Ok(NOT_RUN.to_owned());
            }
            let mut settings = args.settings.clone();
            settings.push(format!("{}={}", across.name, across.values[cell % columns]));
            settings.push(format!("{}={}", up.name, up.values[cell / columns]));
            let mut scenario = load_with(text, origin, &settings, &text_of).map_err(|e| Failure(e.to_string()))?;
            scenario.seed = args.seed.unwrap_or(base.seed);
            let ready = scenario.compile().map_err(|what| Failure(format!("{origin}: {what}")))?;
            let came = if ready.crowd.is_some() {
                Came::Many(Box::new(runner::population_until(&ready, stop)))
            } else {
                Came::One(Box::new(runner::single_until(&ready, Silent, stop).0), Recorder::default())
            };
            Ok(if came.is_interrupted() { NOT_RUN.to_owned() } else { words(&came) })
        })
        .collect::<Result<_, Failure>>()?;
    let mut legend: Vec<String> = Vec::new();
    for cell in &cells {
        if !legend.contains(cell) {
            legend.push(cell.clone());
        }
    }
    // Where nothing is lost the colour is always the same, the quiet one.
    legend.sort_by_key(|words| !words.starts_with(ENTRY_LIVES));
    let interrupted = legend.iter().any(|words| words == NOT_RUN);
    let indices = cells.iter().map(|cell| legend.iter().position(|known| known == cell).unwrap_or(0)).collect();
    let cells = Cells::Words { cells: indices, legend };
    let map = Map { title: base.title.clone(), subtitle: String::new(), across, up, cells };
    for draw in args.svg.iter().map(|file| Draw::svg("map", file)).chain(draws.iter().cloned()) {
        draw.write(&map, interrupted)?;
    }
    if args.svg.is_none() && draws.is_empty() {
        report(&map.text())?;
    }
    if interrupted {
        note("interrupted: cells of the map were not run");
        return Ok(exit::INTERRUPTED);
    }
    Ok(exit::RAN)
}

/// `KEY=FROM..TO` or `KEY=FROM..TO:COUNT`; whole seconds that rise by equal factors.
fn axis(text: &str) -> Result<Axis, Failure> {
    let wrong = || Failure(format!("--map '{text}': expected KEY=FROM..TO or KEY=FROM..TO:COUNT, as server.keepalive.time=60..7200:60"));
    let (name, range) = text.split_once('=').ok_or_else(wrong)?;
    let (range, count) = match range.rsplit_once(':') {
        Some((range, count)) => (range, count.parse().map_err(|_| wrong())?),
        None => (range, 60),
    };
    let (from, to) = range.split_once("..").ok_or_else(wrong)?;
    let seconds = |text: &str| Duration::parse(text).map(Duration::as_secs_f64).map_err(|_| wrong());
    let (from, to) = (seconds(from)?, seconds(to)?);
    if from < 1.0 || to <= from || !(2..=COUNT_MAX).contains(&count) {
        return Err(Failure(format!("--map '{text}': from at least 1 s up to more, in 2 to {COUNT_MAX} steps")));
    }
    let factor = (to / from).powf(1.0 / (count - 1) as f64);
    let mut values: Vec<f64> = (0..count).map(|n| (from * factor.powi(n as i32)).round()).collect();
    values.dedup_by(|a, b| a.to_bits() == b.to_bits());
    Ok(Axis { name: name.to_owned(), unit: "s".to_owned(), values })
}
