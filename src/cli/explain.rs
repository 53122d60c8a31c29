//! `flowlapse explain`: the life of one flow, told; and what two captures of it prove together.

use super::draw::{self, Draw, Kind};
use super::interrupt::{self, Readings};
use super::output::Names;
use super::which::{self, Choice, Which};
use super::{Ended, Failure, exit, is_coloured, note, print_json, report_coloured, traffic, width};
use crate::engine::diary::Diarist;
use crate::engine::dossier::{self, Subject};
use crate::engine::gather::{Signature, gather};
use crate::engine::pipeline::{self, Judged};
use crate::engine::replay::Replay;
use crate::report::explain::matched::{self, Matched};
use crate::report::explain::{json, matched_json, text};
use crate::report::text::Layout;
use crate::report::{Report, life};
use crate::study::explain::Account;
use crate::study::pairing::{self, Matching, Pair, Point, Study, pair};
use serde_json::Value;
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
    #[command(flatten)]
    options: traffic::Options,
}

/// What can be drawn: the flow's life.
pub(super) const KINDS: [Kind; 1] = [Kind { name: "lanes", of: None }];

impl Args {
    fn layout(&self) -> Layout {
        Layout { width: width(), colour: is_coloured(), flows: self.limit, stories: self.stories }
    }

    fn which(&self) -> Result<Which, Failure> {
        Ok(self.flow.as_deref().map_or(Ok(Which::Worst), Which::flow)?)
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
    let mut names = Names::new().reads("CAPTURE", &args.captures).boxes("--box", &args.boxes);
    draw::Options::name(&draws, &mut names)?;
    which::check_twice(&args.captures, "explain")?;
    if args.matching {
        return several(args, &which, &draws);
    }
    if args.boxes.is_empty() {
        return Err(Failure(
            "explain needs a box to lead the flow through, such as --box conntrack or --box ipvs:nat,tcp=900 ('flowlapse presets' lists them); or --match with captures from two points of the path".to_owned(),
        ));
    }
    let (told, code) = one(args, &args.captures, &which, &draws)?;
    match told {
        Told::Text(text) => report_coloured(&text)?,
        Told::Json(document) => print_json(&document)?,
    }
    Ok(code)
}

/// Captures from different points of the path: each with the next one.
fn several(args: &Args, which: &Which, draws: &[Draw]) -> Ended {
    if args.captures.len() < 2 {
        return Err(Failure(
            "--match compares captures from two points of the path, the client's first: flowlapse explain client.pcap server.pcap --match"
                .to_owned(),
        ));
    }
    if !draws.is_empty() && args.boxes.is_empty() {
        return Err(Failure("--draw lanes shows what boxes do: give --box with it".to_owned()));
    }
    let readings: Vec<Readings> = args.captures.iter().map(|_| Readings::default()).collect();
    let mut points = Vec::new();
    for (name, readings) in args.captures.iter().zip(&readings) {
        let name = std::slice::from_ref(name);
        let (job, stop) = readings.next(args.options.job(name)?);
        let point = gather(&mut traffic::open(name)?, &job, stop);
        readings.ended(point.interrupted, point.counters.records);
        points.push(point);
    }
    let (mut text, mut documents) = (String::new(), Vec::new());
    // The flow that is asked for, or the one with the most to tell, as the first capture has it.
    let mut chosen: Option<String> = None;
    let mut nothing = None;
    for (at, next) in points.windows(2).enumerate() {
        let both = [&next[0], &next[1]];
        let matching = pair::pair(both);
        let wanted = match asked(which, both, &matching) {
            Ok(wanted) => wanted,
            Err(failure) => {
                nothing.get_or_insert(failure);
                continue;
            }
        };
        let studies = compare(args, at, both, &matching, wanted, &readings[at..at + 2])?;
        if at == 0 {
            chosen = studies.first().map(|study| {
                let flow = &points[0].flows[study.pair.flows[0]].flow;
                format!("{}.{}", flow.proto().name(), flow.stream)
            });
        }
        let matched = Matched { points: both, matching: &matching, studies: &studies, single: wanted.is_some() };
        if args.json {
            documents.push(matched_json::document(&matched));
        } else {
            if at > 0 {
                text.push('\n');
            }
            text.push_str(&matched::write(&matched, args.layout()));
        }
    }
    if let (Some(failure), true) = (nothing, text.is_empty() && documents.is_empty()) {
        return Err(failure);
    }
    let mut code = if interrupt::is_asked() { exit::INTERRUPTED } else { exit::RAN };
    if let (Some(flow), false, exit::RAN) = (chosen, args.boxes.is_empty(), code) {
        // What the boxes would have done to it, by the first capture alone.
        let (told, ended) = one(args, &args.captures[..1], &Which::flow(&flow)?, draws)?;
        code = code.max(ended);
        match told {
            Told::Text(more) => {
                text.push('\n');
                text.push_str(&more);
            }
            Told::Json(document) => {
                if let Some(Value::Object(first)) = documents.first_mut() {
                    first.insert("explained".to_owned(), document);
                }
            }
        }
    }
    if args.json {
        match documents.len() {
            1 => print_json(&documents[0])?,
            _ => print_json(&documents)?,
        }
    } else {
        report_coloured(&text)?;
    }
    Ok(code)
}

/// The pair that is asked for; none for all of them.
fn asked(which: &Which, points: [&Point; 2], matching: &Matching) -> Result<Option<usize>, Failure> {
    if let Which::Worst = which {
        return Ok(None);
    }
    let mut failure = None;
    for (capture, point) in points.into_iter().enumerate() {
        let choice = |judged: &Judged<Signature>| {
            let flow = &judged.flow;
            Choice { proto: flow.proto(), stream: flow.stream, socks: point.socks(flow) }
        };
        match which.among(point.flows.iter().map(choice), "--flow").map_err(Failure) {
            Ok(place) => {
                let has =
                    |pair: &Pair| pair.flows[capture] == place || pair.parts.iter().any(|part| (part.point, part.flow) == (capture, place));
                let found = matching.pairs.iter().position(has);
                let name = point.names.first().map_or("", String::as_str);
                let alone = || Failure(format!("--flow: this flow of {name} has no certain partner in the other capture"));
                return found.map(Some).ok_or_else(alone);
            }
            // A stream number is one of the first capture.
            Err(error) if matches!(which, Which::Stream(..)) => return Err(error),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Compares the pairs packet by packet, as many as memory bears, and puts those with the most to tell first.
fn compare(
    args: &Args,
    at: usize,
    points: [&Point; 2],
    matching: &Matching,
    wanted: Option<usize>,
    readings: &[Readings],
) -> Result<Vec<Study>, Failure> {
    let mut order: Vec<usize> = wanted.map_or_else(|| (0..matching.pairs.len()).collect(), |one| vec![one]);
    order.sort_by_key(|index| (std::cmp::Reverse(pairing::promise(points, &matching.pairs[*index])), *index));
    let mut total = 0;
    let mut chosen: Vec<&Pair> = Vec::new();
    for index in order {
        let pair = &matching.pairs[index];
        total += pairing::packets(points, pair);
        if !chosen.is_empty() && total > dossier::SIGHTINGS_MAX as u64 {
            break;
        }
        chosen.push(pair);
    }
    let mut read = Vec::new();
    for (point, gathered) in points.into_iter().enumerate() {
        let subjects: Vec<Vec<Subject>> = chosen.iter().map(|pair| pairing::subjects(gathered, pair, point)).collect();
        let flat: Vec<Subject> = subjects.iter().flatten().copied().collect();
        let name = std::slice::from_ref(&args.captures[at + point]);
        let (job, stop) = readings[point].next(args.options.job(name)?);
        let found = dossier::collect(&mut traffic::open(name)?, &flat, None, &job, stop);
        let mut found = found.into_iter();
        read.push(subjects.iter().map(|of| found.by_ref().take(of.len()).collect::<Vec<_>>()).collect::<Vec<_>>());
    }
    // Packets that were not read again would look lost.
    if interrupt::is_asked() && !readings.iter().any(Readings::was_cut) {
        note("interrupted: the pairs of flows were not compared packet by packet");
        return Ok(Vec::new());
    }
    let (Some(far), Some(near)) = (read.pop(), read.pop()) else { return Ok(Vec::new()) };
    let mut studies: Vec<Study> =
        chosen.iter().zip(near.into_iter().zip(far)).map(|(pair, (near, far))| Study::new(points, pair, [near, far])).collect();
    studies.sort_by_key(|study| (std::cmp::Reverse(study.weight()), study.pair.flows));
    Ok(studies)
}

enum Told {
    Text(String),
    Json(Value),
}

/// One flow of captures that are merged by time.
fn one(args: &Args, captures: &[OsString], which: &Which, draws: &[Draw]) -> Result<(Told, u8), Failure> {
    let readings = Readings::default();
    let path = traffic::path(&traffic::boxes(&args.boxes)?, args.options.clock()?)?;
    let (job, stop) = readings.next(args.options.job(captures)?);
    let run = pipeline::run(&mut traffic::open(captures)?, &path, &job, stop);
    readings.ended(run.interrupted, run.counters.records);
    let report = Report::new(&path, &run);
    let index = which::find(which, &report, if args.flow.is_some() { "--flow" } else { "explain" })?;
    let flow = run.flows.flow(index);
    let subject = Subject::of(flow, run.socks(flow));
    let diarist = Diarist { replay: Replay::new(&path), first: subject.first, packets: subject.packets };
    let (job, stop) = readings.next(args.options.job(captures)?);
    let found = dossier::collect(&mut traffic::open(captures)?, &[subject], Some(&diarist), &job, stop);
    let changed = || which::changed("explain");
    let dossier = found.into_iter().next().flatten();
    if interrupt::is_asked() && !dossier.as_ref().is_some_and(|dossier| dossier.is_whole(&subject)) {
        for draw in draws {
            note(&format!("interrupted: {} was not drawn", draw.file.display()));
        }
        let finding = report.finding(index);
        let told = if args.json {
            Told::Json(json::unread(&report, &finding))
        } else {
            Told::Text(crate::report::text::unread(&report, &finding, args.layout()))
        };
        return Ok((told, exit::INTERRUPTED));
    }
    let mut dossier = dossier.ok_or_else(changed)?;
    let mut kept = dossier.kept.take().ok_or_else(changed)?;
    let finding = report.finding(index);
    let end = life::settle(&report, &finding, &mut kept);
    let account = Account::new(&path, finding, &dossier, &kept.diary, (run.begin, run.end));
    for draw in draws {
        draw.write(&life::lanes_beyond(&report, &account, &kept, end, &dossier.sightings), run.interrupted)?;
    }
    let told = if args.json {
        Told::Json(json::document(&report, &account))
    } else {
        Told::Text(text::write(&report, &account, &kept.diary, args.layout()))
    };
    Ok((told, if interrupt::is_asked() { exit::INTERRUPTED } else { exit::RAN }))
}
