//! `flowlapse run`: scenarios through the closed loop.

mod mapping;

use super::draw::{self, Draw, Kind};
use super::outlet::reason;
use super::output::{self, Names, Pending};
use super::traffic::text_of;
use super::{Ended, Failure, again, exit, files, interrupt, note, print_json, report, width, write_whole};
use crate::policy::hint::nearest;
use crate::report::html;
use crate::report::story::pcap::{Point, Watch};
use crate::report::story::{Came, Story, json, life, text, timeline};
use crate::scenario::load::vary_with;
use crate::scenario::locate::locate;
use crate::scenario::{Scenario, compile::Ready, load_with, run as runner, schema};
use crate::simulate::diarist::Diarist;
use std::ffi::OsString;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Run scenarios: real conversations through real boxes, and what each end feels.
///
/// A scenario is a JSON file: hosts, boxes, what the applications do, what happens on the way, and what should come of it.
/// Its variants (a fix, another kernel) are run after it. The same seed gives the same run, byte for byte.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse run scenarios/ssh-ipvs-nat.json
  flowlapse run scenarios/ssh-ipvs-nat.json --timeline --set server.keepalive.time=600
  flowlapse run scenarios/*.json --json
  flowlapse run scenarios/ssh-firewall.json --write-pcap out/ssh && flowlapse replay out/ssh-client.pcapng --box conntrack:strict
  flowlapse run --schema > scenario.schema.json

Pictures: lanes (the flow's life; each variant has a file of its own), and with --map: map.

Exit codes: 0 ran, and what was expected came; 1 something else came than a scenario expects; 2 usage, or a scenario
that cannot be read; 130 interrupted.")]
pub struct Args {
    /// Scenarios; `-` is standard input
    #[arg(required_unless_present = "schema", value_name = "SCENARIO")]
    scenarios: Vec<OsString>,
    /// Change a setting of every scenario, such as client.keepalive.time=600 or path.0.ipvs.timeout_tcp=3600
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Another seed than the scenario's
    #[arg(long)]
    seed: Option<u64>,
    /// Only these variants; may be repeated
    #[arg(long = "variant", value_name = "NAME", conflicts_with = "base_only")]
    variants: Vec<String>,
    /// Only the scenario itself, without its variants
    #[arg(long)]
    base_only: bool,
    /// Tell everything that happened, one line each
    #[arg(long)]
    timeline: bool,
    /// One JSON document (schema flowlapse-run/1)
    #[arg(long, conflicts_with = "timeline")]
    json: bool,
    /// Write what each host and each side of each box saw as pcapng: PREFIX-client.pcapng, PREFIX-box1-client-side.pcapng, …
    #[arg(long, value_name = "PREFIX")]
    write_pcap: Option<PathBuf>,
    /// Run the scenario for each pair of two settings and draw what becomes of it: KEY=FROM..TO or KEY=FROM..TO:COUNT, given
    /// twice, across and up; values rise by equal factors
    #[arg(long, value_name = "KEY=FROM..TO[:COUNT]", num_args = 2)]
    map: Option<Vec<String>>,
    /// One page with every run: its life as a timeline, and whether what was expected came. It opens from a disk
    #[arg(long, value_name = "FILE", conflicts_with = "map")]
    html: Option<PathBuf>,
    #[command(flatten)]
    draw: draw::Options,
    /// Short for --draw map=FILE, always as SVG; without either the map is printed in characters
    #[arg(long, value_name = "FILE", requires = "map")]
    svg: Option<PathBuf>,
    /// Print the JSON Schema of scenarios
    #[arg(long)]
    schema: bool,
}

/// What can be drawn: the flow's life; with --map, the map.
pub(super) const KINDS: [Kind; 2] = [Kind { name: "lanes", of: None }, Kind { name: "map", of: None }];

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    if args.schema {
        print_json(&schema::document())?;
        return Ok(exit::RAN);
    }
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(super::global::threads()).build().map_err(|e| Failure(format!("threads: {e}")))?;
    pool.install(|| all(args))
}

fn all(args: &Args) -> Ended {
    let draws = args.draw.wanted(&KINDS)?;
    let useless =
        if args.map.is_some() { ("lanes", "--map draws no lanes: run the scenario without it") } else { ("map", "give --map with it") };
    if draws.iter().any(|draw| draw.kind == useless.0) {
        return Err(Failure(format!("--draw {}: {}", useless.0, useless.1)));
    }
    let mut names = Names::new().reads("SCENARIO", &args.scenarios);
    names.write_some("--html", args.html.as_deref())?;
    names.write_some("--svg", args.svg.as_deref())?;
    if args.map.is_some() {
        draw::Options::name(&draws, &mut names)?;
    }
    // Everything is read before anything is run: a mistake in the last file is told at once.
    let mut loaded = Vec::new();
    for name in &args.scenarios {
        let (origin, text) = read(name)?;
        let mut scenario = load_with(&text, &origin, &args.settings, &text_of).map_err(|e| Failure(e.to_string()))?;
        if let Some(seed) = args.seed {
            scenario.seed = seed;
        }
        loaded.push((origin, text, scenario));
    }
    if let Some(axes) = &args.map {
        return mapping::run(args, axes, &draws, &loaded);
    }
    let mut ready = Vec::new();
    for (origin, text, scenario) in &loaded {
        for (variant, scenario) in wanted(args, origin, text, scenario)? {
            let made = scenario.compile().map_err(|what| senseless(origin, variant.as_deref(), text, &what))?;
            ready.push((origin, variant, scenario, made));
        }
    }
    for (origin, variant, _, made) in &ready {
        let called = |what: &str| {
            variant.as_ref().map_or_else(|| format!("{what} of {origin}"), |variant| format!("{what} of {origin}, variant '{variant}'"))
        };
        for file in pictures(&draws, (loaded.len() > 1).then_some(origin.as_str()), variant.as_deref()) {
            names.write(&called("--draw lanes"), &file)?;
        }
        for (file, _) in captures(args, origin, variant.as_deref(), made, loaded.len() > 1) {
            names.write(&called("--write-pcap"), &file)?;
        }
    }
    let (width, stop) = (width(), interrupt::flag());
    let mut interrupted = false;
    let mut documents = Vec::new();
    let (mut runs, mut wrong) = (0, 0);
    let mut page = args.html.as_ref().map(|file| (file, html::story::Runs::default()));
    let marks = html::life::marks_each(ready.len());
    for (origin, variant, scenario, ready) in &ready {
        if stop.load(Ordering::SeqCst) {
            interrupted = true;
            break;
        }
        let (came, diarist) = came(args, origin, variant.as_deref(), ready, loaded.len() > 1, !draws.is_empty())?;
        interrupted |= came.is_interrupted();
        let story = Story::new(origin, variant.as_deref(), scenario, ready, came);
        let lanes = diarist.and_then(|diarist| life::lanes(&story, diarist));
        if let Some((_, page)) = &mut page {
            page.add(&story, lanes.as_ref(), marks);
        }
        if let Some(lanes) = lanes {
            let files = pictures(&draws, (loaded.len() > 1).then_some(origin.as_str()), variant.as_deref());
            for (draw, name) in draws.iter().zip(files) {
                draw.write_to(&lanes, &name, story.came.is_interrupted())?;
            }
        }
        runs += 1;
        wrong += u32::from(!story.is_as_expected());
        if args.json {
            documents.push(json::run(&story));
        } else {
            let mut out = if runs > 1 { "\n".to_owned() } else { String::new() };
            out.push_str(&text::write(&story, width));
            if args.timeline {
                out.push_str(&timeline::write(&story));
            }
            report(&out)?;
        }
    }
    let left = ready.len() - runs;
    if let Some((file, page)) = page {
        write_whole(file, html::write(&page.page(vec![again::line()]).interrupted(interrupted))?.as_bytes())?;
    }
    if args.json {
        print_json(&json::document(&documents, interrupted, left))?;
    } else if interrupted && left > 0 {
        report(&format!("\ninterrupted: {left} of {} were not run\n", ready.len()))?;
    } else if runs > 1 {
        report(&format!("\n{runs} runs, {wrong} not as expected\n"))?;
    }
    Ok(match (interrupted, wrong) {
        (true, _) => exit::INTERRUPTED,
        (false, 0) => exit::RAN,
        (false, _) => exit::FOUND,
    })
}

/// What is well written and makes no sense, with the place of the key that its complaint begins with.
pub(super) fn senseless(origin: &str, variant: Option<&str>, text: &str, what: &str) -> Failure {
    let path = what.split(':').next().unwrap_or_default();
    match (variant, locate(text, path)) {
        (Some(variant), _) => Failure(format!("{origin}, variant '{variant}': {what}")),
        (None, Some((line, column))) => Failure(format!("{origin}:{line}:{column}, at {what}")),
        (None, None) => Failure(format!("{origin}: {what}")),
    }
}

/// Reads a scenario: what it is called, and its text.
pub(super) fn read(name: &OsString) -> Result<(String, String), Failure> {
    let origin = name.to_string_lossy().into_owned();
    let path = Path::new(name);
    let bytes = if origin == "-" { interrupt::stdin_whole() } else { interrupt::whole(path) };
    let no_text = |_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
    let text = bytes
        .and_then(|bytes| String::from_utf8(bytes).map_err(no_text))
        .map_err(|error| files::unreadable(path, &error, files::Wanted::Scenario))?;
    if interrupt::is_asked() {
        return Err(Failure("interrupted before everything was read".to_owned()));
    }
    if let Some(hint) = Some(path).filter(|_| origin != "-").and_then(|path| files::hint(path, files::Wanted::Scenario)) {
        return Err(Failure(format!("{origin}: {hint}")));
    }
    Ok((if origin == "-" { "standard input".to_owned() } else { origin }, text))
}

/// The scenario and those of its variants that are wanted.
fn wanted(args: &Args, origin: &str, text: &str, base: &Scenario) -> Result<Vec<(Option<String>, Scenario)>, Failure> {
    let mut out = Vec::new();
    if args.variants.is_empty() {
        out.push((None, base.clone()));
    }
    if args.base_only {
        return Ok(out);
    }
    for name in &args.variants {
        if !base.variants.iter().any(|variant| variant.name == *name) {
            let known: Vec<&str> = base.variants.iter().map(|v| v.name.as_str()).collect();
            let near = nearest(name, known.iter().copied())
                .or_else(|| known.iter().find(|known| name.len() > 3 && known.contains(name.as_str())).copied());
            let known = match near {
                Some(near) => format!("did you mean '{near}'?"),
                None if known.is_empty() => "it has none".to_owned(),
                None => format!("there are '{}'", known.join("', '")),
            };
            return Err(Failure(format!("{origin}: no variant is called '{name}'; {known}")));
        }
    }
    for variant in base.variants.iter().filter(|v| args.variants.is_empty() || args.variants.contains(&v.name)) {
        let mut varied = vary_with(text, origin, &args.settings, base, variant, &text_of).map_err(|e| Failure(e.to_string()))?;
        if let Some(seed) = args.seed {
            varied.seed = seed;
        }
        out.push((Some(variant.name.clone()), varied));
    }
    Ok(out)
}

/// Runs one scenario, and keeps a diary of it where it is to be drawn.
fn came(
    args: &Args,
    origin: &str,
    variant: Option<&str>,
    ready: &Ready,
    several: bool,
    drawn: bool,
) -> Result<(Came, Option<Diarist>), Failure> {
    if ready.crowd.is_some() {
        if drawn {
            return Err(Failure(format!("{origin}: --draw lanes: a population is not drawn; run one of its flows as a scenario")));
        }
        if args.write_pcap.is_some() {
            return Err(Failure(format!("{origin}: --write-pcap: a population is not written; run one of its flows as a scenario")));
        }
        return Ok((Came::Many(Box::new(runner::population_until(ready, interrupt::flag()))), None));
    }
    let mut watch = Watch::new();
    let mut pending: Vec<(PathBuf, Pending)> = Vec::new();
    for (file, point) in captures(args, origin, variant, ready, several) {
        let fail = |error: io::Error| files::unwritable(&file, &error);
        let (sink, one) = output::begin(&file).map_err(fail)?;
        watch.tap(point, BufWriter::new(sink)).map_err(fail)?;
        pending.push((file, one));
    }
    let diarist = (drawn || args.html.is_some()).then(|| Diarist::new(ready.net.path.hops.len()));
    let (outcome, (watch, diarist)) = runner::single_until(ready, (watch, diarist), interrupt::flag());
    let recorder = watch.finish().map_err(|error| Failure(format!("--write-pcap: cannot be written: {}", reason(&error))))?;
    for (file, one) in pending.into_iter().filter(|_| !outcome.interrupted) {
        one.commit().map_err(|error| files::unwritable(&file, &error))?;
    }
    if outcome.interrupted && args.write_pcap.is_some() {
        note("interrupted: the captures of this run were not written");
    }
    Ok((Came::One(Box::new(outcome), recorder), diarist))
}

/// The pictures of a run's life, in the order in which they were asked for.
fn pictures(draws: &[Draw], origin: Option<&str>, variant: Option<&str>) -> Vec<PathBuf> {
    let ending = |draw: &Draw| draw.file.extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned());
    draws.iter().map(|draw| named(&draw.file.with_extension(""), origin, variant, None, &ending(draw))).collect()
}

/// The captures of a run, where they are wanted.
fn captures(args: &Args, origin: &str, variant: Option<&str>, ready: &Ready, several: bool) -> Vec<(PathBuf, Point)> {
    let Some(prefix) = args.write_pcap.as_ref().filter(|_| ready.crowd.is_none()) else { return Vec::new() };
    let file = |point| (named(prefix, several.then_some(origin), variant, Some(point), "pcapng"), point);
    Point::all(ready.net.path.hops.len()).into_iter().map(file).collect()
}

/// `PREFIX[-scenario][-variant][-point].ending`.
fn named(prefix: &Path, origin: Option<&str>, variant: Option<&str>, point: Option<Point>, ending: &str) -> PathBuf {
    let plain = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect::<String>();
    let stem = origin.map(|o| Path::new(o).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned()));
    let parts: Vec<String> = [stem.as_deref(), variant].into_iter().flatten().map(plain).chain(point.map(Point::name)).collect();
    let mut name = prefix.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    if !name.is_empty() && !parts.is_empty() {
        name.push("-");
    }
    name.push(format!("{}.{ending}", parts.join("-")));
    prefix.with_file_name(name)
}
