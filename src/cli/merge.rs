//! `flowlapse merge`: the parts of an archive to the one answer; and the ledgers of its captures to what is known of it as a whole.

use super::archived::{archive, listed, open};
use super::{Ended, Failure, exit, files, outlet, traffic, width};
use crate::archive::ledger::{Archive, Ledger};
use crate::archive::merge::{followed, replayed, studied};
use crate::archive::part::{Gathered, PartLedger, Study, described, read};
use crate::engine::many::Many;
use crate::finding::Verdict;
use crate::report::{Report, study};
use crate::study::sweep::Sweep;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Put the parts of an archive together: the one report, sweep or load, as if one machine had read all captures.
///
/// Parts are what 'replay', 'sweep' or 'capacity' write with --part; a directory holds parts, archive.json and perhaps parts.ndjson.
/// With --ledgers it puts together what 'segments' says of each capture instead, and prints it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse merge --ledgers columns/ > archive.json
  flowlapse merge part-*.parquet --archive archive.json
  flowlapse merge verdicts/ --json --summary
  flowlapse merge load/ --scale 10x --max 65536

Exit codes: 0 ran; 1 found what --fail-on names; 2 usage, or something could not
be read; 3 something was left out and --strict was given.")]
pub struct Args {
    /// Parts: files, or a directory that has them in itself or in flows/
    #[arg(required_unless_present = "ledgers", value_name = "PART")]
    parts: Vec<PathBuf>,
    /// What is known of the archive as a whole; archive.json of the directory without it
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Print what is known of an archive as a whole: from ledgers, a line each, or from files that 'segments' wrote
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "parts")]
    ledgers: Vec<PathBuf>,
    /// One JSON document, as the command that wrote the parts has it
    #[arg(long, conflicts_with = "ndjson")]
    json: bool,
    /// With --json or --ndjson: without the single flows
    #[arg(long)]
    summary: bool,
    /// One JSON line for each flow, then one for the summary
    #[arg(long)]
    ndjson: bool,
    /// Of a sweep: one row for each combination, as CSV
    #[arg(long, conflicts_with_all = ["json", "ndjson"])]
    csv: bool,
    /// How many flows the table lists: 20 of a replay, 10 of a load without it
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How many flows are told in full
    #[arg(long, value_name = "N", default_value_t = 3)]
    stories: usize,
    /// Exit with 1 if a flow has one of these verdicts
    #[arg(long, value_name = "VERDICT,...", value_delimiter = ',')]
    fail_on: Vec<String>,
    /// Exit with 3 if anything was left out of the analysis
    #[arg(long)]
    strict: bool,
    /// How a capacity is asked for.
    #[command(flatten)]
    load: super::capacity::Load,
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    if !args.ledgers.is_empty() {
        return ledgers(&args.ledgers);
    }
    let fail_on = super::replay::verdicts(&args.fail_on)?;
    let read = Parts::find(args)?;
    let first = read.first()?;
    match first.study {
        Study::Replay => report(args, &read, &first, &fail_on),
        Study::Sweep => sweep(args, &read, &first),
        Study::Capacity => capacity(args, &read),
    }
}

/// Prints what is known of an archive.
fn ledgers(names: &[PathBuf]) -> Ended {
    let mut all: Vec<Ledger> = Vec::new();
    for name in listed(names)? {
        let is_rows = name.extension().is_some_and(|ending| ending == "parquet" || ending == "arrow");
        if is_rows {
            all.extend(open(&name)?.ledgers);
            continue;
        }
        let text = std::fs::read_to_string(&name).map_err(|error| files::unreadable(&name, &error, files::Wanted::Rows))?;
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |error: String| {
                Failure(format!("{}:{}: no ledger: {error}; expected what 'flowlapse segments' says of a capture", name.display(), at + 1))
            };
            all.push(Ledger::parse(line).map_err(wrong)?);
        }
    }
    super::print_json(&Archive::of(all).map_err(Failure)?)?;
    Ok(exit::RAN)
}

/// Where parts are.
struct Parts {
    files: Vec<PathBuf>,
    archive: Archive,
    /// Ledgers that stand beside the rows.
    beside: Vec<PartLedger>,
}

impl Parts {
    fn find(args: &Args) -> Result<Parts, Failure> {
        let mut names = Vec::new();
        let (mut known, mut beside) = (args.archive.clone(), Vec::new());
        for name in &args.parts {
            let inside = |file: &str| Some(name.join(file)).filter(|path| path.exists());
            if name.is_dir() {
                names.push(inside("flows").unwrap_or_else(|| name.clone()));
                known = known.or_else(|| inside("archive.json"));
                if let Some(lines) = inside("parts.ndjson") {
                    beside.extend(part_ledgers(&lines)?);
                }
            } else {
                names.push(name.clone());
            }
        }
        let known = known.ok_or_else(|| Failure("there is no archive.json beside the parts; name it with --archive FILE".to_owned()))?;
        Ok(Parts { files: listed(&names)?, archive: archive(&known)?, beside })
    }

    /// The ledger of the first part, which says what was asked.
    fn first(&self) -> Result<PartLedger, Failure> {
        if let Some(first) = self.beside.first() {
            return Ok(first.clone());
        }
        let Some(file) = self.files.first() else { return Err(Failure("no part was given".to_owned())) };
        // A part's ledger is its last row.
        let mut last = None;
        for batch in open(file)?.batches {
            last = Some(batch.map_err(|error| Failure(format!("{}: {error}", file.display())))?);
        }
        let none = || Failure(format!("{}: no part: it has no ledger; expected what --part writes", file.display()));
        let last = last.ok_or_else(none)?;
        let row = last.slice(last.num_rows().saturating_sub(1), 1);
        let (_, ledgers) = read::<()>(&row).map_err(|error| Failure(format!("{}: {error}", file.display())))?;
        ledgers.into_iter().next().ok_or_else(none)
    }

    /// All flows, and the ledgers of all parts.
    fn gather<R: DeserializeOwned + Send>(&self) -> Result<(Vec<Gathered<R>>, Vec<PartLedger>), Failure> {
        let (mut flows, mut ledgers) = (Vec::new(), self.beside.clone());
        for file in &self.files {
            let told = |error: String| Failure(format!("{}: {error}", file.display()));
            for batch in open(file)?.batches {
                let (mut more, mut of_them) = read(&batch.map_err(told)?).map_err(told)?;
                flows.append(&mut more);
                ledgers.append(&mut of_them);
            }
        }
        let said: u64 = ledgers.iter().map(|ledger| ledger.flows).sum();
        if said != flows.len() as u64 {
            return Err(Failure(format!(
                "the parts' ledgers speak of {said} flows, and there are {}; are parts missing, or named twice?",
                flows.len()
            )));
        }
        if let Some([one, other]) =
            ledgers.windows(2).find(|pair| pair[0].boxes != pair[1].boxes || pair[0].study != pair[1].study).and_then(|p| p.first_chunk())
        {
            return Err(Failure(format!(
                "the parts answer different questions: {} through {}, {} through {}",
                one.study.name(),
                one.boxes.join(" + "),
                other.study.name(),
                other.boxes.join(" + ")
            )));
        }
        Ok((flows, ledgers))
    }
}

fn part_ledgers(path: &Path) -> Result<Vec<PartLedger>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| files::unreadable(path, &error, files::Wanted::Rows))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| PartLedger::parse(line).map_err(|error| Failure(format!("{}:{}: {error}", path.display(), at + 1)))).collect()
}

fn report(args: &Args, parts: &Parts, first: &PartLedger, fail_on: &[Verdict]) -> Ended {
    let path = traffic::path(&traffic::boxes(&first.asked.boxes)?, traffic::clock_of(&first.asked)?)?;
    let boxes = described(&path);
    if boxes != first.boxes {
        return Err(Failure(format!("the boxes of the parts were {}, and are {} here", first.boxes.join(" + "), boxes.join(" + "))));
    }
    let (flows, ledgers) = parts.gather()?;
    let run = replayed(&path, flows, parts.archive.facts().map_err(Failure)?, &ledgers).map_err(Failure)?;
    let report = Report::new(&path, &run);
    let Args { json, ndjson, summary, stories, .. } = *args;
    super::replay::Form { json, ndjson, summary, limit: args.limit.unwrap_or(20), stories }.tell(&report)?;
    Ok(super::replay::exit_of(&report, fail_on, args.strict))
}

fn sweep(args: &Args, parts: &Parts, first: &PartLedger) -> Ended {
    let specs = traffic::boxes(&first.asked.boxes)?;
    let clock = traffic::clock_of(&first.asked)?;
    let set = super::sweep::Settings::of(&specs, &first.asked.vary, clock)?;
    let many = Many::with_keepalive(&set.paths, &set.keepalives, first.asked.beyond);
    let (flows, ledgers) = parts.gather()?;
    let run = studied(&many, flows, parts.archive.facts().map_err(Failure)?, &ledgers).map_err(Failure)?;
    let base = traffic::path(&specs, clock)?;
    let sweep = super::global::pool()?.install(|| Sweep::new(&crate::study::Study { many: &many, run: &run }, set.axes, set.grid));
    let report = study::sweep::Report { sweep: &sweep, path: &base, run: &run };
    if args.json {
        super::print_json(&report.json())?;
    } else if args.csv {
        outlet::words(&report.csv())?;
    } else {
        super::report(&report.text(width()))?;
    }
    Ok(exit::RAN)
}

fn capacity(args: &Args, parts: &Parts) -> Ended {
    let (flows, ledgers) = parts.gather()?;
    let first = ledgers.first().ok_or_else(|| Failure("no part was given".to_owned()))?;
    let path = traffic::path(&traffic::boxes(&first.asked.boxes)?, traffic::clock_of(&first.asked)?)?;
    let run = followed(flows, parts.archive.facts().map_err(Failure)?, &ledgers);
    super::capacity::gathered(&args.load, &path, run, args.limit.unwrap_or(10), args.json)
}
