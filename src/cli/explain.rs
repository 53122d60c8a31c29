//! `flowlapse explain`: the life of one flow, told; and what two captures of it prove together.

use super::draw::{self, Draw, Kind};
use super::which::{self, Which};
use super::{ColourArg, Ended, Failure, exit, print, print_json, traffic, width};
use crate::engine::diary::Diarist;
use crate::engine::dossier::{self, Subject};
use crate::engine::pipeline;
use crate::engine::replay::Replay;
use crate::report::explain::{json, text};
use crate::report::text::Layout;
use crate::report::{Report, life};
use crate::study::explain::Account;
use std::ffi::OsString;
use std::path::PathBuf;

/// Explain the life of one flow: what was sent, which timer ran out, the packet that came too late, what came of it.
///
/// The flow is led through the boxes as replay does. What the capture shows after the packet that came too late stands beside
/// what was predicted for both ends. With --match the captures are of different points of the path, and are compared.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse explain ssh.pcap --box conntrack:strict,established=3600
  flowlapse explain ssh.pcap --flow 10.0.0.5:51514-10.1.2.3:22 --box conntrack --draw lanes=ssh.svg
  flowlapse explain web.pcapng --flow tcp.3 --box ipvs:nat --json
  flowlapse explain client.pcap server.pcap --match
  flowlapse explain client.pcap server.pcap --match --flow 10.0.0.5 --box aws-nlb

Exit codes: 0 ran; 2 usage, or nothing could be told; 130 interrupted.")]
pub struct Args {
    /// Captures: pcap or pcapng, plain, gzip or zstd; several are merged by time, or with --match compared
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<OsString>,
    /// A box on the path, from the client on; repeat for several
    #[arg(long = "box", value_name = "SPEC")]
    boxes: Vec<String>,
    /// The flow: tcp.3, udp.0, 3, or its ends, such as 10.0.0.5:51514-10.1.2.3:22, in either order, also only one of them
    #[arg(long, value_name = "FLOW", conflicts_with = "worst")]
    flow: Option<String>,
    /// The worst flow, or where all survive the one that came closest to the end of a timer (the default)
    #[arg(long)]
    worst: bool,
    /// The captures are of different points of the path, the client's first: pair their flows, and say where packets were lost or born
    #[arg(long = "match")]
    matching: bool,
    /// How many pairs of flows --match lists
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// How many of them it tells in full
    #[arg(long, value_name = "N", default_value_t = 3)]
    stories: usize,
    /// One JSON document (schema flowlapse-explain/1; with --match flowlapse-match/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    draw: draw::Options,
    /// Short for --draw lanes=FILE, always as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Colour
    #[arg(long, value_enum, default_value_t = ColourArg::Auto)]
    color: ColourArg,
    #[command(flatten)]
    options: traffic::Options,
}

/// What can be drawn: the flow's life.
const KINDS: [Kind; 1] = [Kind { name: "lanes", of: None }];

impl Args {
    fn layout(&self) -> Layout {
        Layout { width: width(), colour: self.color.is_wanted(), flows: self.limit, stories: self.stories }
    }

    fn which(&self) -> Result<Which, Failure> {
        self.flow.as_deref().map_or(Ok(Which::Worst), Which::flow)
    }

    fn draws(&self) -> Result<Vec<Draw>, Failure> {
        let mut draws = self.draw.wanted(&KINDS)?;
        draws.extend(self.svg.as_ref().map(|file| Draw::svg("lanes", file)));
        Ok(draws)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let which = args.which()?;
    let draws = args.draws()?;
    which::check_twice(&args.captures, "explain")?;
    if args.boxes.is_empty() {
        return Err(Failure(
            "explain needs a box to lead the flow through, such as --box conntrack or --box ipvs:nat,tcp=900 ('flowlapse presets' lists them); or --match with captures from two points of the path".to_owned(),
        ));
    }
    let (told, code) = one(args, &args.captures, &which, &draws)?;
    match told {
        Told::Text(text) => print(text.as_bytes())?,
        Told::Json(document) => print_json(&document)?,
    }
    Ok(code)
}

enum Told {
    Text(String),
    Json(serde_json::Value),
}

/// One flow of captures that are merged by time.
fn one(args: &Args, captures: &[OsString], which: &Which, draws: &[Draw]) -> Result<(Told, u8), Failure> {
    let path = traffic::path(&traffic::boxes(&args.boxes)?, args.options.clock()?)?;
    let job = args.options.job(captures)?;
    let stop = traffic::stop_on_interrupt();
    let run = pipeline::run(&mut traffic::open(captures)?, &path, &job, &stop);
    let report = Report::new(&path, &run);
    let index = which.find(&report, if args.flow.is_some() { "--flow" } else { "explain" })?;
    let flow = run.flows.flow(index);
    let packets = flow.segments.iter().map(|n| u64::from(*n)).sum();
    let first = (flow.first_file, flow.first_frame);
    let subject = Subject { proto: flow.proto(), socks: run.socks(flow), first, packets };
    let diarist = Diarist { replay: Replay::new(&path), first, packets };
    let found = dossier::collect(&mut traffic::open(captures)?, &[subject], Some(&diarist), &job, &stop);
    let changed = || Failure("explain: the captures have changed since they were read first, or reading was interrupted".to_owned());
    let mut dossier = found.into_iter().next().flatten().ok_or_else(changed)?;
    let mut kept = dossier.kept.take().ok_or_else(changed)?;
    let finding = report.finding(index);
    let end = life::settle(&report, &finding, &mut kept);
    for draw in draws {
        draw.write(&life::lanes_beyond(&report, &finding, &kept, end, &dossier.sightings))?;
    }
    let account = Account::new(&path, finding, &dossier, &kept.diary, (run.begin, run.end));
    let told = if args.json {
        Told::Json(json::document(&report, &account))
    } else {
        Told::Text(text::write(&report, &account, &kept.diary, args.layout()))
    };
    Ok((told, if run.interrupted { exit::INTERRUPTED } else { exit::RAN }))
}
