//! `flowlapse conform`: the models against recordings of real kernels, and beside the kernels of this machine.

#[cfg(all(feature = "live", target_os = "linux"))]
mod live;
#[cfg(not(all(feature = "live", target_os = "linux")))]
mod live {
    //! Without Linux there is no kernel to compare with.

    pub(super) fn run(_: &super::Args, _: &mut super::Summary) -> Result<super::Live, super::Failure> {
        Err(super::Failure("--live needs Linux, and a build with the feature 'live'".to_owned()))
    }
}

use super::{Ended, Failure, exit, files, interrupt, note, outlet, report};
use crate::conform::{self, Summary};
use crate::model::conntrack::dialect::Dialect;
use crate::policy::hint::nearest;
use crate::time::Duration;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Compare the models with recordings of real kernels, or with the kernels of this machine, packet by packet.
///
/// With --live, random dialogues are put through the conntrack of the running kernel, in network namespaces of their own
/// (root, or a user who may make user namespaces), and through conntrack and IPVS of User Mode Linux (Debian package
/// user-mode-linux). What each does is compared at once. It needs ip, iptables and, for IPVS, ipvsadm.
///
/// Ends with 0 if model and kernel agree everywhere, with 1 if they disagree anywhere, and with 2 if a recording cannot be
/// read. What no model can know (the README of the recordings lists it) is counted as undecidable and does not fail.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse conform fixtures/recordings
  flowlapse conform recording.jsonl.zst --details
  # As root, or with user namespaces
  flowlapse conform --live --for 90
  flowlapse conform --live --kernel running --dialect linux-4.18
  flowlapse conform script.pkt --dialect 6.1.176 --json

Exit codes: 0 model and kernel agree everywhere; 1 they disagree anywhere; 2 usage, or a recording that cannot be read;
130 interrupted.")]
pub struct Args {
    /// Recordings, plain or compressed with zstd, or directories of them
    ///
    /// Recordings of steps and of timers, vectors of the trackers, packetdrill scripts; each is recognised by its content.
    /// A directory is searched to its depths, in the order of the names; files in it that are no recordings are named on
    /// standard error and skipped. A file that is named itself must be a recording.
    #[arg(value_name = "RECORDING", required_unless_present_any = ["live", "worker"])]
    recordings: Vec<PathBuf>,
    /// The release whose rules are expected, such as linux-6.1 or 5.10.198
    ///
    /// Of packetdrill scripts, which name none: without this, the newest longterm kernel's. Of live kernels: without this,
    /// their own; with another one this shows where two releases differ. Recordings name their kernel.
    #[arg(long, value_name = "NAME")]
    dialect: Option<String>,
    /// Compare with the kernels of this machine
    ///
    /// A kernel that is not to be had is named on standard error in one line, and the comparison goes on without it. A
    /// disagreement is reduced to the smallest dialogue that shows it, which is printed as a recording.
    #[arg(long)]
    live: bool,
    /// With --live: only this kernel; may be given twice. One that is named must be there
    #[arg(long = "kernel", value_name = "KERNEL", requires = "live")]
    kernels: Vec<LiveKernel>,
    /// With --live: how long on each kernel, such as 90 or 10min
    #[arg(long = "for", value_name = "DURATION", default_value = "60", value_parser = Duration::parse, requires = "live")]
    lasting: Duration,
    /// With --live: what everything is drawn from; a fresh seed if not given, printed in any case
    #[arg(long, requires = "live")]
    seed: Option<u64>,
    /// With --live: two real sockets and a box between them instead of single packets
    ///
    /// Random scenes of a minute at most, about forty at a time: requests, pauses, closes and resets through conntrack and IPVS
    /// with short timers. What each application was told, and when, is compared with what the model of hosts and box makes of
    /// the same script.
    #[arg(long, requires = "live")]
    dialogues: bool,
    /// With --live: only this variant, such as ct-masquerade or ipvs-nat-timed; may be repeated
    #[arg(long = "variant", value_name = "NAME", requires = "live", conflicts_with = "dialogues")]
    variants: Vec<String>,
    /// With --live: keep everything that was recorded, one file a turn (of dialogues one file a kernel), in this directory
    #[arg(long, value_name = "DIR", requires = "live")]
    record: Option<PathBuf>,
    #[arg(long = "live-worker", hide = true, value_name = "JSON")]
    worker: Option<String>,
    /// Print one JSON document (schema flowlapse-conform/1) instead of text
    #[arg(long)]
    json: bool,
    /// Also list the undecidable steps with their reasons
    #[arg(long)]
    details: bool,
}

/// The kernels that can be compared with.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum LiveKernel {
    /// The running kernel
    Running,
    /// User Mode Linux
    Uml,
}

/// The release in a dialect's name: `linux-6.1` is 6.1.
fn release_in(name: &str) -> &str {
    name.trim_start_matches("linux-").trim_start_matches("longterm-")
}

/// A file to read, and whether the user named it.
struct Input {
    path: PathBuf,
    named: bool,
}

/// A file of a directory that was left out.
#[derive(Serialize)]
struct Skipped {
    name: String,
    reason: String,
}

/// The whole answer, as `--json` prints it.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    steps: usize,
    disagree: usize,
    undecidable: usize,
    recordings: &'a [conform::Result],
    skipped: &'a [Skipped],
    #[serde(skip_serializing_if = "<[Tried]>::is_empty")]
    live: &'a [Tried],
    /// Whether it is of less than was asked for.
    interrupted: bool,
}

/// What was tried on one kernel of this machine.
#[derive(Serialize)]
struct Tried {
    kernel: &'static str,
    /// Its release, or nothing where it was not to be had.
    release: Option<String>,
    seed: u64,
    seconds: u64,
    /// What could not be tried, and why.
    skipped: Vec<String>,
}

/// What the live comparison adds to the answer.
#[derive(Default)]
struct Live {
    tried: Vec<Tried>,
    interrupted: bool,
}

/// What became of one file.
enum Outcome {
    Compared(conform::Result),
    Skipped(Skipped),
    /// An interrupt came before its turn.
    Left,
}

/// No recording is anywhere near as long; a compressed file may claim to be.
const BYTES_MAX: u64 = 1 << 30;
/// The first bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Runs the command.
///
/// # Errors
/// A recording that cannot be read, or nothing to compare.
pub fn run(args: &Args) -> Ended {
    #[cfg(all(feature = "live", target_os = "linux"))]
    if let Some(request) = &args.worker {
        let request = serde_json::from_str(request).map_err(|error| Failure(format!("--live-worker: {error}")))?;
        crate::live::worker::work(&request);
        return Ok(exit::RAN);
    }
    let stop = interrupt::flag();
    let scripts = match &args.dialect {
        None => Dialect::newest_longterm(),
        Some(name) => Dialect::find(name).or_else(|| Dialect::for_release(release_in(name))).ok_or_else(|| {
            let hint = nearest(name, Dialect::names()).map(|near| format!("did you mean '{near}'?"));
            let hint = hint.unwrap_or_else(|| "`flowlapse presets` lists them all".to_owned());
            Failure(format!("no conntrack dialect is called '{name}'; {hint}"))
        })?,
    };
    let mut inputs = Vec::new();
    for path in &args.recordings {
        find(path, true, &mut inputs)?;
    }
    // Each file is compared on its own, and the results keep the order of the files.
    let outcomes: Vec<Outcome> = inputs.par_iter().map(|input| compare(input, scripts, stop)).collect::<Result<_, Failure>>()?;
    let mut left = 0;
    let (mut summary, mut skipped) = (Summary::default(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Compared(result) => summary.results.push(result),
            Outcome::Skipped(one) => skipped.push(one),
            Outcome::Left => left += 1,
        }
    }
    tell_skipped(&skipped);
    let live = if args.live && left == 0 { live::run(args, &mut summary)? } else { Live::default() };
    if left > 0 && !summary.results.is_empty() {
        note(&format!("interrupted: {left} of {} files were not compared", inputs.len()));
    }
    if summary.results.is_empty() && left > 0 {
        return Err(Failure("interrupted before anything was compared".to_owned()));
    }
    if summary.results.is_empty() {
        let what = if args.live { "there is no kernel to compare with" } else { "there is no recording to compare in what was named" };
        return Err(Failure(what.to_owned()));
    }
    let interrupted = live.interrupted || left > 0;
    let rendered = render(&summary, &skipped, &live.tried, interrupted, args);
    if args.json {
        outlet::json(&rendered)?;
    } else {
        report(&rendered)?;
    }
    Ok(match summary.totals().1 {
        0 if interrupted => exit::INTERRUPTED,
        0 => exit::RAN,
        _ => exit::FOUND,
    })
}

/// Names what was left out; of many with the same reason the first ones and how many there are (`--json` has them all).
fn tell_skipped(skipped: &[Skipped]) {
    const NAMED: usize = 3;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in skipped {
        let count = counts.entry(&one.reason).or_default();
        *count += 1;
        if *count <= NAMED {
            note(&format!("skipped {}: {}", one.name, one.reason));
        }
    }
    for (reason, count) in counts.into_iter().filter(|(_, count)| *count > NAMED) {
        note(&format!("skipped {} more: {reason}", count - NAMED));
    }
}

fn render(summary: &Summary, skipped: &[Skipped], live: &[Tried], interrupted: bool, args: &Args) -> String {
    if args.json {
        let (steps, disagree, undecidable) = summary.totals();
        let document = Document {
            schema: "flowlapse-conform/1",
            steps,
            disagree,
            undecidable,
            recordings: &summary.results,
            skipped,
            live,
            interrupted,
        };
        let mut text = serde_json::to_string_pretty(&document).expect("plain structs with string keys become JSON");
        text.push('\n');
        return text;
    }
    let mut out = String::new();
    if interrupted {
        out.push_str("interrupted: this is what was compared by then\n");
    }
    if args.details {
        for result in &summary.results {
            for one in &result.undecidables {
                let _ = writeln!(out, "{} step {}: undecidable: {}", result.name, one.step, one.reason);
            }
        }
    }
    out.push_str(&summary.text());
    out
}

/// Collects the files under a path, directories in the order of their names.
fn find(path: &Path, named: bool, inputs: &mut Vec<Input>) -> Result<(), Failure> {
    let fail = |error: io::Error| files::unreadable(path, &error, files::Wanted::Recordings);
    // What was named may be a link; inside a directory links to directories are not followed, for they may lead back.
    let meta = if named { fs::metadata(path) } else { fs::symlink_metadata(path) }.map_err(fail)?;
    if !meta.is_dir() {
        inputs.push(Input { path: path.to_owned(), named });
        return Ok(());
    }
    let mut entries =
        fs::read_dir(path).and_then(|dir| dir.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>()).map_err(fail)?;
    entries.sort();
    entries.iter().try_for_each(|entry| find(entry, false, inputs))
}

fn compare(input: &Input, scripts: &'static Dialect, stop: &AtomicBool) -> Result<Outcome, Failure> {
    if stop.load(Ordering::Relaxed) {
        return Ok(Outcome::Left);
    }
    let name = input.path.display().to_string();
    let skip = |reason: String| Ok(Outcome::Skipped(Skipped { name: name.clone(), reason }));
    // A pipe in a directory would be waited for without end.
    if !input.named && !fs::metadata(&input.path).is_ok_and(|meta| meta.is_file()) {
        return skip("not a file".to_owned());
    }
    let bytes = match read(&input.path) {
        Err(_) if interrupt::is_asked() => return Ok(Outcome::Left),
        read => read.map_err(|error| files::unreadable(&input.path, &error, files::Wanted::Recordings))?,
    };
    let text = String::from_utf8(bytes).ok();
    let kind = text.as_deref().and_then(conform::recognise);
    let result = conform::compare_as(&name, text.as_deref().unwrap_or_default(), scripts);
    match result {
        Ok(result) => Ok(Outcome::Compared(result)),
        // A recording that is damaged is not skipped: leaving it out would look like agreement.
        Err(_) if !input.named && kind.is_none() => skip("not a recording".to_owned()),
        Err(error) => Err(Failure(error.to_string())),
    }
}

/// Reads a file, and decompresses it if it is a zstd frame.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = limited(interrupt::reader(path)?)?;
    if bytes.starts_with(&ZSTD_MAGIC) { limited(zstd::Decoder::new(bytes.as_slice())?) } else { Ok(bytes) }
}

fn limited(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 GiB"));
    }
    Ok(bytes)
}
