//! `flowlapse sweep`: settings over ranges of values, answered from one replay.

use super::draw::{self, Kind};
use super::output::Names;
use super::progress::Progress;
use super::traffic::{self, Read, Source, text_of};
use super::{Ended, Failure, again, exit, interrupt, note, outlet, print_json, width, write_whole};
#[cfg(feature = "columnar")]
use crate::archive::part::{Asked, Study as Question};
use crate::engine::many::Many;
use crate::engine::{Clock, Path};
use crate::policy::{Axis, BoxSpec, axis};
use crate::report::html;
use crate::report::study::closed;
use crate::report::study::sweep::Report;
use crate::scenario::load::load_with;
use crate::study::Study;
use crate::study::closed::Closed;
use crate::study::sweep::Sweep;
use crate::time::Duration;
use std::mem::ManuallyDrop;

/// Vary settings over ranges: at each value who is cut, what the ends feel, and what the tables hold.
///
/// Policies that differ in nothing but the lengths of timers are all answered from one replay, exactly as separate replays
/// would answer; every other difference takes a replay of its own.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse sweep prod.pcapng.zst --box conntrack --vary conntrack.established=300..7200:log50
  flowlapse sweep x.pcap --box ipvs:nat --vary ipvs.tcp=60..3600:log20 --vary keepalive=30..7200:log20 --draw map=map.svg
  flowlapse sweep x.pcap --box conntrack:strict --vary conntrack.established=300,3600,432000 --vary conntrack.loose=0,1 --beyond
  flowlapse sweep x.pcap --box aws-nlb --vary aws-nlb.established=60..6000:step60 --csv > nlb.csv

Values: FROM..TO with :logN, :linN or :stepS (default :log20), or a list; spans as 900, 15m, 2h. A box is named by its
kind, its place on the path, its preset or its label. 'keepalive' is the idle time after which the client sends probes.

Pictures: --draw survival=FILE (one axis), map=FILE (two axes), entries[:N]=FILE (box N over time); .svg, .png or .csv.

Exit codes: 0 ran; 2 usage, or nothing could be analysed; 130 interrupted.")]
pub struct Args {
    #[command(flatten)]
    asked: traffic::Asked,
    /// What to vary, and over which values; repeat for every combination
    #[arg(long = "vary", value_name = "KEY=VALUES", required = true)]
    vary: Vec<String>,
    /// Follow flows beyond the first entry that ended and was made anew: costs replays of the flows concerned. A scenario is run
    /// whole for each combination, so that its hosts react to what the boxes do
    #[arg(long)]
    beyond: bool,
    /// One JSON document (schema flowlapse-sweep/1)
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// One row for each combination, as CSV
    #[arg(long)]
    csv: bool,
    /// One page with everything: every combination, the curve of one axis, the settings in force. It opens from a disk
    #[arg(long, value_name = "FILE")]
    html: Option<std::path::PathBuf>,
    #[command(flatten)]
    draw: draw::Options,
    #[cfg(feature = "columnar")]
    #[command(flatten)]
    parted: super::archived::Parted,
    #[command(flatten)]
    options: traffic::Options,
}

/// What can be drawn: how many flows each value of one axis keeps; the share that is cut for each pair of values of two; the
/// entries over time, of the first box or of the one that is named by its place.
pub(super) const KINDS: [Kind; 3] =
    [Kind { name: "survival", of: None }, Kind { name: "map", of: None }, Kind { name: "entries", of: Some("N") }];

/// At how many moments entries are counted for a picture.
const MOMENTS: u64 = 400;

/// Every combination of the values that vary.
pub(super) struct Settings {
    /// What varies.
    pub(super) axes: Vec<Axis>,
    /// The combinations, by the places of their values.
    pub(super) grid: Vec<Vec<usize>>,
    /// The boxes of each.
    pub(super) paths: Vec<Path>,
    /// The client's keepalive in each.
    pub(super) keepalives: Vec<Option<Duration>>,
}

impl Settings {
    /// Reads what varies.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(specs: &[BoxSpec], vary: &[String], clock: Clock) -> Result<Settings, Failure> {
        let told = |error: axis::AxisError| Failure(format!("--vary: {error}"));
        let axes = vary.iter().map(|text| axis::parse(text, specs)).collect::<Result<Vec<_>, _>>().map_err(told)?;
        let grid = axis::grid(&axes).map_err(told)?;
        let mut paths = Vec::with_capacity(grid.len());
        let mut keepalives = Vec::with_capacity(grid.len());
        for combination in &grid {
            paths.push(traffic::path(&axis::apply(specs, &axes, combination).map_err(told)?, clock)?);
            keepalives.push(axis::keepalive(&axes, combination));
        }
        Ok(Settings { axes, grid, paths, keepalives })
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let draws = args.draw.wanted(&KINDS)?;
    let mut names = Names::new().reads("INPUT", &args.asked.inputs).boxes("--box", &args.asked.boxes);
    draw::Options::name(&draws, &mut names)?;
    names.write_some("--html", args.html.as_deref())?;
    #[cfg(feature = "columnar")]
    args.parted.name(&mut names)?;
    let source = Source::of_asked(&args.asked, Read::Once)?;
    let specs = source.boxes(&args.asked.boxes)?;
    let clock = args.options.clock()?;
    let Settings { axes, grid, paths, keepalives } = Settings::of(&specs, &args.vary, clock)?;
    let base = traffic::path(&specs, clock)?;
    if let (true, Source::Scenario { name, text, ready, .. }) = (args.beyond, &source) {
        let base = if args.asked.boxes.is_empty() { &ready.net.path } else { &base };
        return whole(args, name, text, &specs, axes, grid, base);
    }
    let many = Many::with_keepalive(&paths, &keepalives, args.beyond);
    #[cfg(feature = "columnar")]
    if let Some(to) = &args.parted.part {
        let run = source.follow(&many, &args.options)?;
        let asked = Asked { boxes: args.asked.boxes.clone(), vary: args.vary.clone(), beyond: args.beyond, ..args.options.clock_words() };
        super::archived::write_followed_part(to, Question::Sweep, asked, &base, &run, source.came())?;
        return Ok(if run.interrupted { exit::INTERRUPTED } else { exit::RAN });
    }
    // Left to the end of the process: to take it all apart would be a tenth of the time.
    let run = ManuallyDrop::new(source.study(&many, &args.options)?);
    let sweep = args.options.on_threads(|| Sweep::new(&Study { many: &many, run: &run }, axes, grid))?;
    let report = Report { sweep: &sweep, path: &base, run: &run };
    for draw in &draws {
        match draw.kind {
            "survival" => draw.write(&report.survival()?, run.interrupted)?,
            "entries" => {
                let hop = draw.of.as_deref().map_or(Some(1), |place| place.parse::<usize>().ok()).and_then(|place| place.checked_sub(1));
                let none = || Failure(format!("--draw entries:{}: there is no such box", draw.of.as_deref().unwrap_or("1")));
                let hop = hop.filter(|hop| *hop < base.hops.len()).ok_or_else(none)?;
                let study = Study { many: &many, run: &run };
                let curves = args.options.on_threads(|| study.curves(&study.ledgers(), hop, MOMENTS))?;
                draw.write(&report.entries(hop, &curves), run.interrupted)?;
            }
            _ => draw.write(&report.map()?, run.interrupted)?,
        }
    }
    if let Some(file) = &args.html {
        write_whole(file, html::write(&html::study::sweep(&report, vec![again::line()]).interrupted(run.interrupted))?.as_bytes())?;
    }
    if args.json {
        print_json(&report.json())?;
    } else if args.csv {
        if run.interrupted {
            note("interrupted: these are the rows of what was read by then");
        }
        outlet::words(&report.csv())?;
    } else {
        super::report(&report.text(width()))?;
    }
    Ok(if run.interrupted { exit::INTERRUPTED } else { exit::RAN })
}

/// Runs a scenario for each combination.
fn whole(args: &Args, name: &str, text: &str, specs: &[BoxSpec], axes: Vec<Axis>, grid: Vec<Vec<usize>>, base: &Path) -> Ended {
    if args.options.is_about_packets() {
        return Err(Failure("--filter and --count are about packets; a scenario that is run whole (--beyond) has flows".to_owned()));
    }
    if args.html.is_some() {
        return Err(Failure("--html: of a scenario that is run whole there is no page; without --beyond there is".to_owned()));
    }
    if !args.draw.is_empty() {
        return Err(Failure(
            "pictures of a scenario that is run whole: 'flowlapse run --map'; without --beyond they are drawn here".to_owned(),
        ));
    }
    let mut ready = Vec::with_capacity(grid.len());
    for combination in &grid {
        let settings: Vec<String> =
            axis::keepalive(&axes, combination).map(|idle| format!("client.keepalive.time={}", idle.as_secs())).into_iter().collect();
        let mut scenario = load_with(text, name, &settings, &text_of).map_err(|e| Failure(e.to_string()))?;
        scenario.path = axis::apply(specs, &axes, combination).map_err(|e| Failure(format!("--vary: {e}")))?;
        ready.push(scenario.compile().map_err(|what| Failure(format!("{name}: {what}")))?);
    }
    let progress = Progress::steps(Some(grid.len() as u64), "runs");
    let closed = args.options.on_threads(|| Closed::run(axes, grid, &ready, || progress.advance(1), interrupt::flag()))?;
    drop(progress);
    let report = closed::Report { name, closed: &closed, path: base };
    if args.json {
        print_json(&report.json())?;
    } else if args.csv {
        if closed.left > 0 {
            note(&format!("interrupted: {} combinations were not run", closed.left));
        }
        outlet::words(&report.csv())?;
    } else {
        super::report(&report.text(width()))?;
    }
    Ok(if closed.left > 0 { exit::INTERRUPTED } else { exit::RAN })
}
