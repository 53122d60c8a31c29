//! `flowlapse replay`: a capture through a path of boxes.

mod life;
mod page;
#[cfg(feature = "columnar")]
mod segments;

use super::draw::{self, Draw, Kind};
use super::output::Names;
use super::{Ended, Failure, exit, interrupt, is_coloured, note, outlet, traffic, width};
use crate::engine::pipeline::{self, Run};
use crate::engine::silences::Silences;
use crate::finding::Verdict;
use crate::policy::hint::nearest;
use crate::report::{Report, json, plot, text};
use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

/// Replay captures through a path of boxes: who is cut, when, by which timer.
///
/// The boxes stand between client and server in the order in which they are given. A box is conntrack, ipvs or idle with
/// settings, a preset's name, or a file: JSON, or what sysctl -a or ipvsadm printed.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse replay web.pcapng --box ipvs:nat,tcp=900,tcpfin=120
  flowlapse replay ring.pcap0 ring.pcap1 --box conntrack:masquerade,established=3600 --box aws-nlb
  zcat big.pcap.gz | flowlapse replay - --box openwrt --filter 'tcp port 22' --json
  flowlapse replay x.pcap --box ipvs --draw survival=kept.svg --draw gaps=gaps.csv --draw lanes:tcp.3=flow.png
  flowlapse replay x.pcap --box aws-nlb --html x.html
  flowlapse replay x.pcap --box ipvs:dr,secure_tcp=3,dialect=linux-2.4 --clock wheel --hz 100

Pictures: survival (how many flows each idle timer would keep), gaps (how long flows were silent), lanes:STREAM (one flow's
life: tcp.3, udp.0, or worst).

Exit codes: 0 ran; 1 found what --fail-on names; 2 usage, or nothing could be analysed;
3 something was left out and --strict was given; 130 interrupted.")]
pub struct Args {
    /// Captures: pcap or pcapng, plain, gzip or zstd; several are merged by time; `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<OsString>,
    /// A box on the path, from the client on; repeat for several
    #[arg(long = "box", value_name = "SPEC", required = true)]
    boxes: Vec<String>,
    /// One JSON document (schema flowlapse-replay/1)
    #[arg(long, conflicts_with = "ndjson")]
    json: bool,
    /// With --json or --ndjson: without the single flows
    #[arg(long)]
    summary: bool,
    /// One JSON line for each flow, then one for the summary
    #[arg(long)]
    ndjson: bool,
    #[command(flatten)]
    draw: draw::Options,
    /// Short for --draw survival=FILE, always as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// One page with everything: flows, their lives as timelines, charts, the settings in force. It opens from a disk
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How many flows the page tells with their whole lives, the worst first
    #[arg(long, value_name = "N", default_value_t = 50, requires = "html", value_parser = clap::value_parser!(u16).range(0..=1000))]
    html_lives: u16,
    /// How many flows the table lists
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// How many flows are told in full
    #[arg(long, value_name = "N", default_value_t = 3)]
    stories: usize,
    /// Exit with 1 if a flow has one of these verdicts
    #[arg(long, value_name = "VERDICT,...", value_delimiter = ',')]
    fail_on: Vec<String>,
    /// Exit with 3 if anything was left out of the analysis
    #[arg(long)]
    strict: bool,
    #[cfg(feature = "columnar")]
    #[command(flatten)]
    archived: super::archived::Archived,
    #[cfg(feature = "columnar")]
    #[command(flatten)]
    parted: super::archived::Parted,
    #[command(flatten)]
    options: traffic::Options,
}

/// What can be drawn: how many flows each idle timer would keep; how long flows were silent; one flow's life.
pub(super) const KINDS: [Kind; 3] =
    [Kind { name: "survival", of: None }, Kind { name: "gaps", of: None }, Kind { name: "lanes", of: Some("STREAM") }];

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    if args.summary && !args.json && !args.ndjson {
        return Err(Failure(
            "--summary: the text begins with its summary; with --json or --ndjson it leaves the single flows out".to_owned(),
        ));
    }
    let draws = args.draw.wanted(&KINDS)?;
    let mut lives = Vec::new();
    for draw in draws.iter().filter(|draw| draw.kind == "lanes") {
        life::check(&args.captures)?;
        lives.push((draw, life::which(draw.of.as_deref())?));
    }
    let svg = args.svg.as_ref().map(|file| Draw::svg("survival", file));
    let mut names = Names::new().reads("CAPTURE", &args.captures).boxes("--box", &args.boxes);
    draw::Options::name(&draws, &mut names)?;
    names.write_some("--svg", args.svg.as_deref())?;
    names.write_some("--html", args.html.as_deref())?;
    #[cfg(feature = "columnar")]
    args.parted.name(&mut names)?;
    let fail_on = verdicts(&args.fail_on)?;
    #[cfg(feature = "columnar")]
    if args.archived.segments {
        return segments::run(args, &fail_on, svg.iter().chain(&draws));
    }
    let path = traffic::path(&traffic::boxes(&args.boxes)?, args.options.clock()?)?;
    let job = args.options.job(&args.captures)?;
    let mut capture = traffic::open(&args.captures)?;
    let stop = interrupt::flag();
    let silences = draws.iter().any(|draw| draw.kind == "gaps").then(Silences::new);
    // Left to the end of the process, which need not give the memory back flow by flow.
    let run: ManuallyDrop<Run> = ManuallyDrop::new(match &silences {
        Some(silences) => pipeline::run_heard(&mut capture, &path, silences, &job, stop),
        None => pipeline::run(&mut capture, &path, &job, stop),
    });
    let report = Report::new(&path, &run);

    for draw in svg.iter().chain(&draws) {
        match (draw.kind, &silences) {
            ("survival", _) => draw.write(&plot::survival(&report), run.interrupted)?,
            ("gaps", Some(silences)) => draw.write(&plot::gaps(&report, silences), run.interrupted)?,
            _ => {}
        }
    }
    // What was interrupted is not read once more.
    let mut cut = run.interrupted;
    for (draw, which) in &lives {
        cut = cut || !life::write(draw, which, &report, &args.captures, &args.options, stop)?;
        if cut {
            note(&format!("interrupted: {} was not drawn", draw.file.display()));
        }
    }
    if let Some(file) = &args.html {
        cut |= page::write(file, usize::from(args.html_lives), &report, &args.captures, &args.options, stop)?;
    }
    Form::of(args).tell(&report)?;
    Ok(if cut { exit::INTERRUPTED } else { exit_code(args, &report, &fail_on) })
}

/// In which form a report is printed.
pub(super) struct Form {
    pub(super) json: bool,
    pub(super) ndjson: bool,
    pub(super) summary: bool,
    pub(super) limit: usize,
    pub(super) stories: usize,
}

impl Form {
    fn of(args: &Args) -> Form {
        Form { json: args.json, ndjson: args.ndjson, summary: args.summary, limit: args.limit, stories: args.stories }
    }

    /// Prints a report.
    pub(super) fn tell(&self, report: &Report<'_>) -> Result<(), Failure> {
        if self.json || self.ndjson {
            outlet::json_into(|mut out| match (self.json, self.summary) {
                (true, true) => json::write_summary(report, &mut out),
                (true, false) => json::write(report, &mut out),
                (false, summary) => json::write_lines(report, !summary, &mut out),
            })?;
        } else if !super::global::is_quiet() {
            let layout = text::Layout { width: width(), colour: is_coloured(), flows: self.limit, stories: self.stories };
            outlet::coloured_into(|out| text::write(report, layout, out))?;
        }
        Ok(())
    }
}

fn exit_code(args: &Args, report: &Report<'_>, fail_on: &[Verdict]) -> u8 {
    exit_of(report, fail_on, args.strict)
}

/// The exit code of a report.
pub(super) fn exit_of(report: &Report<'_>, fail_on: &[Verdict], strict: bool) -> u8 {
    if fail_on.iter().any(|v| report.count(*v) > 0) {
        exit::FOUND
    } else if strict && report.is_incomplete() {
        exit::INCOMPLETE
    } else {
        exit::RAN
    }
}

/// The verdicts of names.
pub(super) fn verdicts(names: &[String]) -> Result<Vec<Verdict>, Failure> {
    let known = || Verdict::ALL.map(Verdict::name).join(", ");
    names
        .iter()
        .map(|name| {
            Verdict::from_name(name.trim()).ok_or_else(|| match nearest(name, Verdict::ALL.map(Verdict::name)) {
                Some(near) => Failure(format!("--fail-on: '{name}' is no verdict; did you mean '{near}'?")),
                None => Failure(format!("--fail-on: '{name}' is no verdict; there are {}", known())),
            })
        })
        .collect()
}
