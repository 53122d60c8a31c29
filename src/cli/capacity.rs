//! `flowlapse capacity`: the tables themselves under a load: how full they become, who is refused, who is evicted.

use super::draw::{self, Kind};
use super::interrupt::{self, NEVER};
use super::output::Names;
use super::progress::Progress;
use super::traffic::{self, Read, Source};
use super::{Ended, Failure, again, exit, print_json, width, write_whole};
#[cfg(feature = "columnar")]
use crate::archive::part::{Asked, Study};
use crate::engine::Path;
use crate::engine::pipeline::Followed;
use crate::report::capacity::{CapacityReport, json, text};
use crate::report::html;
use crate::study::capacity::gather::{Gather, Heard, kin, nowhere};
use crate::study::capacity::load::{self, Flood};
use crate::study::capacity::sizes::Said;
use crate::study::capacity::{Question, answer_until};
use crate::time::Duration;

/// How full the tables become under a load, who is refused and who is evicted.
///
/// The load is what captures or a scenario hold, once or many times over, with a SYN flood on top if asked for. Where no table is
/// full and no defence acts, flows are counted one by one, exactly; otherwise all run together through shared tables.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse capacity web.pcapng --box conntrack:established=3600 --scale 10x --max 65536
  flowlapse capacity web.pcapng --box conntrack --max 20000 --buckets 8192 --flood 500/s:10s..60s --draw occupancy=table.svg --draw occupancy=table.csv
  flowlapse capacity web.pcapng --box ipvs:nat,drop_entry=1,drop_packet=1,secure_tcp=1 --memory 64M --flood 5000/s
  flowlapse capacity scenarios/table-full.json --runs 20 --json

Exit codes: 0 ran; 2 usage, or nothing could be analysed; 130 interrupted.")]
pub struct Args {
    #[command(flatten)]
    asked: traffic::Asked,
    #[command(flatten)]
    load: Load,
    /// How many flows that lost something are listed
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// One JSON document (schema flowlapse-capacity/1)
    #[arg(long)]
    json: bool,
    /// One page with everything: the tables over time, who is lost, the settings in force. It opens from a disk
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

/// How the load is made, and what the tables hold.
#[derive(clap::Args, Debug)]
pub struct Load {
    /// So many times as many flows of the same kind, such as 10x or 2.5
    #[arg(long, value_name = "N", default_value = "1x")]
    scale: String,
    /// nf_conntrack_max, in place of the boxes' own; 0: no limit
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// nf_conntrack_buckets, in place of the boxes' own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=16_777_216))]
    buckets: Option<u64>,
    /// Memory that is free while the table is empty, such as 64M or 2G; without it there is always enough
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// A SYN flood on top: SYNs a second, then from when to when, and whether the server answers
    #[arg(long, value_name = "RATE[/s][:FROM..TO][,unanswered]")]
    flood: Option<String>,
    /// What everything random is drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Repeat with so many draws and tell mean and central 95 %
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Run all flows together even where they do not influence each other
    #[arg(long)]
    global: bool,
}

impl Load {
    fn question(&self, limit: usize, json: bool) -> Result<Question, Failure> {
        Ok(Question {
            scale: scale(&self.scale)?,
            seed: self.seed,
            runs: self.runs,
            flood: self.flood.as_deref().map(flood).transpose()?,
            said: Said { max: self.max, buckets: self.buckets, memory: self.memory.as_deref().map(memory).transpose()? },
            victims_max: limit.max(if json { 10_000 } else { 0 }),
            always_together: self.global,
        })
    }
}

/// What can be drawn: the entries over time, by state, of the first box with a table or of the one that is named by its place.
pub(super) const KINDS: [Kind; 1] = [Kind { name: "occupancy", of: Some("N") }];

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let draws = args.draw.wanted(&KINDS)?;
    let mut names = Names::new().reads("INPUT", &args.asked.inputs).boxes("--box", &args.asked.boxes);
    draw::Options::name(&draws, &mut names)?;
    names.write_some("--html", args.html.as_deref())?;
    let question = args.load.question(args.limit, args.json)?;
    #[cfg(feature = "columnar")]
    args.parted.name(&mut names)?;
    let source = Source::of_asked(&args.asked, Read::Once)?;
    let (path, run) = heard(args, &source)?;
    #[cfg(feature = "columnar")]
    if let Some(to) = &args.parted.part {
        let asked = Asked { boxes: args.asked.boxes.clone(), ..args.options.clock_words() };
        super::archived::write_followed_part(to, Study::Capacity, asked, &path, &run, source.came())?;
        return Ok(if run.interrupted { exit::INTERRUPTED } else { exit::RAN });
    }
    answered(&path, run, &question, |report| {
        for draw in &draws {
            let hop = match draw.of.as_deref() {
                Some(place) => place.parse::<usize>().ok().and_then(|place| place.checked_sub(1)),
                None => report.counted().next().map(|(hop, ..)| hop),
            };
            let none =
                || Failure(format!("--draw occupancy:{}: there is no such box with a table of its own", draw.of.as_deref().unwrap_or("1")));
            draw.write(&hop.and_then(|hop| report.occupancy(hop)).ok_or_else(none)?, report.is_interrupted())?;
        }
        if let Some(file) = &args.html {
            let page = html::study::capacity(report, args.limit, vec![again::line()]).interrupted(report.is_interrupted());
            write_whole(file, html::write(&page)?.as_bytes())?;
        }
        tell(report, args.limit, args.json)
    })
}

/// Prints the answer.
fn tell(report: &CapacityReport<'_>, limit: usize, json: bool) -> Result<(), Failure> {
    if json { print_json(&json::document(report)) } else { super::report(&text::write(report, width(), limit)) }
}

/// Answers for flows that were gathered elsewhere.
#[cfg(feature = "columnar")]
pub(super) fn gathered(load: &Load, path: &Path, run: Followed<Heard>, limit: usize, json: bool) -> Ended {
    let question = load.question(limit, json)?;
    answered(path, run, &question, |report| tell(report, limit, json))
}

/// Answers for flows that were gathered.
fn answered(
    path: &Path,
    run: Followed<Heard>,
    question: &Question,
    told: impl FnOnce(&CapacityReport<'_>) -> Result<(), Failure>,
) -> Ended {
    if run.flows.is_empty() && run.interrupted {
        return Err(Failure(format!("{}: interrupted before there was a flow to count", run.names.join(", "))));
    }
    if run.flows.is_empty() {
        return Err(Failure(format!("{}: no TCP or UDP flow to count", run.names.join(", "))));
    }
    let (input, span) = (run.without_flows(), (run.begin, run.end));
    let flows = run.flows.len() as f64 * question.scale;
    if flows > 50e6 {
        return Err(Failure(format!("--scale {}: {flows:.0} flows; at most 50000000 can be counted", question.scale)));
    }
    let load = load::Load::new(kin(run), span, question.scale, question.flood, question.seed);
    let progress = Progress::steps(Some(1000), "simulating");
    // What was read until an interrupt came is simulated to its end.
    let stop = if input.interrupted { &NEVER } else { interrupt::flag() };
    let capacity = super::global::pool()?.install(|| answer_until(path, load, question, &|share| progress.tick(share), stop));
    drop(progress);
    let report = CapacityReport { path, capacity: &capacity, run: &input, scale: question.scale, runs: question.runs };
    told(&report)?;
    Ok(if report.is_interrupted() { exit::INTERRUPTED } else { exit::RAN })
}

/// Reads the input and takes its flows apart.
fn heard(args: &Args, source: &Source) -> Result<(Path, Followed<Heard>), Failure> {
    let path = traffic::path(&source.boxes(&args.asked.boxes)?, args.options.clock()?)?;
    let nowhere = nowhere();
    Ok((path, source.follow(&Gather::new(&nowhere), &args.options)?))
}

fn scale(text: &str) -> Result<f64, Failure> {
    let number = text.strip_suffix(['x', 'X', '×']).unwrap_or(text);
    let wrong = || Failure(format!("--scale '{text}': expected a number above 0 and at most 1000000, such as 10x or 2.5"));
    number.parse().ok().filter(|n: &f64| *n > 0.0 && *n <= 1e6).ok_or_else(wrong)
}

fn memory(text: &str) -> Result<u64, Failure> {
    let wrong = || Failure(format!("--memory '{text}': expected a size such as 65536, 64M or 2G"));
    let plain = text.strip_suffix("iB").or(text.strip_suffix('B')).unwrap_or(text);
    let (number, unit) = match plain.char_indices().last() {
        Some((at, 'k' | 'K')) => (&plain[..at], 1_u64 << 10),
        Some((at, 'm' | 'M')) => (&plain[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&plain[..at], 1 << 30),
        Some((at, 't' | 'T')) => (&plain[..at], 1 << 40),
        _ => (plain, 1),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0 && *bytes < 1 << 60).ok_or_else(wrong)
}

fn flood(text: &str) -> Result<Flood, Failure> {
    let wrong =
        |what: &str| Failure(format!("--flood '{text}': {what}; expected RATE[/s][:FROM..TO][,unanswered], such as 500/s:10s..60s"));
    let (rest, answered) = match text.strip_suffix(",unanswered") {
        Some(rest) => (rest, false),
        None => (text, true),
    };
    let (rate, when) = rest.split_once(':').map_or((rest, None), |(rate, when)| (rate, Some(when)));
    let number = rate.strip_suffix("/s").unwrap_or(rate);
    let rate: f64 = number.parse().map_err(|_| wrong("the rate is no number"))?;
    if !(rate > 0.0 && rate <= 1e7) {
        return Err(wrong("the rate lies above 0 and is at most 10000000 a second"));
    }
    let (mut from, mut to) = (Duration::ZERO, None);
    if let Some(when) = when {
        let (a, b) = when.split_once("..").ok_or_else(|| wrong("the time is no FROM..TO"))?;
        let parse = |text: &str| Duration::parse(text).map_err(|error| wrong(&error));
        from = if a.is_empty() { Duration::ZERO } else { parse(a)? };
        to = if b.is_empty() { None } else { Some(parse(b)?) };
        if to.is_some_and(|to| to <= from) {
            return Err(wrong("it ends before it begins"));
        }
    }
    Ok(Flood { rate, from, to, answered })
}
