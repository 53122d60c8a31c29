//! The models beside kernels at hand: random dialogues are recorded on a real kernel and compared as they happen.
//!
//! Two kernels can be had on most machines: the running one, in network namespaces of its own, and User Mode Linux, which
//! has IPVS and conntrack as modules and runs as an ordinary process. In both cases a worker (this program again) does the
//! recording and reports one event a line; [`run`] starts the workers and gathers what they say.
//!
//! This is the one place that touches kernels: namespaces, devices, rules, clocks. The models know nothing of it.

mod dialogues;
mod listing;
mod play;
mod record;
mod stage;
mod testbed;
mod uml;
pub mod variant;
mod wire;
pub mod worker;

use crate::conform;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A kernel to compare with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kernel {
    /// The one that this program runs on.
    Running,
    /// User Mode Linux.
    Uml,
}

impl Kernel {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Kernel::Running => "running",
            Kernel::Uml => "uml",
        }
    }
}

/// What a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// What everything is drawn from.
    pub seed: u64,
    /// How long, in seconds.
    pub seconds: u64,
    /// Whether whole dialogues of two sockets are wanted, rather than packets.
    pub dialogues: bool,
    /// The variants wanted, by name; none: all.
    pub variants: Vec<String>,
    /// The release whose rules are expected; none: the kernel's own.
    pub release: Option<String>,
    /// Ticks a second of the kernel, if known.
    pub hz: Option<u32>,
    /// Whether whole recordings are wanted.
    pub keep: bool,
    /// Whether the worker is the first process of a guest, to be powered off when it ends.
    pub guest: bool,
}

/// What a worker reports, one line each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    /// The kernel's release, once at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// What came of a turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<conform::Result>,
    /// The turn's whole recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// The same of a scene: one line of the recording that all scenes of a kernel share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// A variant that could not be tried, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
    /// Nothing can be tried at all, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The worker is done.
    #[serde(default)]
    pub end: bool,
}

/// A variant that could not be tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub variant: String,
    /// Why.
    pub reason: String,
}

/// What one kernel's worker found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The kernel's release.
    pub kernel: String,
    /// One result a variant, in the order of their names.
    pub results: Vec<conform::Result>,
    /// Whole recordings with the names of their variants, where they were wanted.
    pub recordings: Vec<(String, String)>,
    /// Why some could not be tried, and which variants these are; each reason and each name once.
    pub skipped: Vec<(String, Vec<String>)>,
}

/// A worker that is running.
struct Worker {
    child: Child,
    events: Box<dyn Read + Send>,
    /// What is removed when it has ended.
    folder: Option<uml::Folder>,
}

/// How much longer than asked a worker may take: to boot, to finish its turn, to look for smallest dialogues.
const GRACE: Duration = Duration::from_mins(5);

/// Starts a worker on a kernel and gathers what it finds. Each turn's result is shown to `progress` as it comes; when `stop` is
/// set, what is known by then is the answer.
///
/// # Errors
/// Why the kernel is not to be had, in one line.
pub fn run(kernel: Kernel, request: &Request, stop: &AtomicBool, progress: &dyn Fn(&conform::Result)) -> Result<Found, String> {
    let begin = Instant::now();
    let mut found = Found::default();
    let mut deaths = 0;
    loop {
        let passed = begin.elapsed().as_secs().min(request.seconds);
        // A guest that died is booted again for the rest of the time, with other dialogues: the same ones might kill it again.
        let rest = Request { seconds: request.seconds - passed, seed: request.seed.wrapping_add(deaths), ..request.clone() };
        let mut worker = match kernel {
            Kernel::Running => running(&rest)?,
            Kernel::Uml => uml::boot(&rest)?,
        };
        let until = Instant::now() + Duration::from_secs(rest.seconds) + GRACE;
        let gathered = gather(&mut worker, &mut found, until, stop, progress);
        end(&mut worker);
        match gathered {
            Ok(()) => break,
            Err(Ended::Early) if kernel == Kernel::Uml && deaths < DEATHS_MAX && begin.elapsed().as_secs() < request.seconds => deaths += 1,
            // What was compared until then was compared.
            Err(Ended::Early) if !found.results.is_empty() => break,
            Err(Ended::Early) => return Err("the worker ended before its time".to_owned()),
            Err(Ended::For(reason)) => return Err(reason),
        }
    }
    found.results.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// How often a guest that died is booted again.
const DEATHS_MAX: u64 = 3;

/// Why nothing more is to be gathered.
enum Ended {
    /// The worker ended in the middle of its work. User Mode Linux does that now and then.
    Early,
    /// Another reason, in one line.
    For(String),
}

/// The worker on the running kernel: this program in namespaces of its own.
fn running(request: &Request) -> Result<Worker, String> {
    let request = Request { hz: hz_of_running(), guest: false, ..request.clone() };
    let program = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let mut child = Command::new(program)
        .args(worker::arguments(&request)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // An interrupt is for this process, which then asks the worker for what it has.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("a worker cannot be started: {error}"))?;
    let events = child.stdout.take().ok_or("a worker's output cannot be read")?;
    Ok(Worker { child, events: Box::new(events), folder: None })
}

/// Reads events until the worker ends, the time is over, or somebody wants to stop.
fn gather(
    worker: &mut Worker,
    found: &mut Found,
    until: Instant,
    stop: &AtomicBool,
    progress: &dyn Fn(&conform::Result),
) -> Result<(), Ended> {
    let events = std::mem::replace(&mut worker.events, Box::new(std::io::empty()));
    let (send, receive) = mpsc::channel();
    // Reading blocks, so it has a thread of its own; it ends with the worker.
    std::thread::spawn(move || {
        for line in BufReader::new(events).lines().map_while(Result::ok) {
            if let Ok(event) = serde_json::from_str::<Event>(&line)
                && send.send(event).is_err()
            {
                break;
            }
        }
    });
    let mut spoke = false;
    loop {
        match receive.recv_timeout(Duration::from_millis(200)) {
            Ok(event) => {
                spoke = true;
                event.result.iter().for_each(progress);
                if take(found, event).map_err(Ended::For)? {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if Instant::now() > until => {
                return Err(Ended::For("the worker did not end in time".to_owned()));
            }
            // A guest's events are in a file, which has no end: what it had to say was read long before this wait was over.
            Err(RecvTimeoutError::Timeout) if !ended_early(worker) => {}
            Err(_) if !spoke => return Err(Ended::For(uml::last_words(worker.folder.as_ref()))),
            Err(_) => return Err(Ended::Early),
        }
    }
}

fn ended_early(worker: &mut Worker) -> bool {
    matches!(worker.child.try_wait(), Ok(Some(_)))
}

/// Takes an event in; says whether it was the last.
fn take(found: &mut Found, event: Event) -> Result<bool, String> {
    if let Some(kernel) = event.kernel {
        found.kernel = kernel;
    }
    if let Some(result) = event.result {
        if let Some(recording) = event.recording {
            found.recordings.push((result.name.clone(), recording));
        }
        if let Some(line) = event.line {
            match found.recordings.iter_mut().find(|(name, _)| *name == result.name) {
                Some((_, lines)) => lines.extend([line.as_str(), "\n"]),
                None => found.recordings.push((result.name.clone(), line + "\n")),
            }
        }
        match found.results.iter_mut().find(|known| known.name == result.name) {
            Some(known) => known.absorb(result),
            None => found.results.push(result),
        }
    }
    if let Some(Skipped { variant, reason }) = event.skipped {
        match found.skipped.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, variants)) if variants.contains(&variant) => {}
            Some((_, variants)) => variants.push(variant),
            None => found.skipped.push((reason, vec![variant])),
        }
    }
    match event.failed {
        Some(reason) => Err(reason),
        None => Ok(event.end),
    }
}

/// Waits a moment for a worker to end by itself, then ends it.
fn end(worker: &mut Worker) {
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until && !ended_early(worker) {
        std::thread::sleep(Duration::from_millis(50));
    }
    if !ended_early(worker) {
        // User Mode Linux ends its own children when it is asked politely.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker.child.id() as i32), nix::sys::signal::Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(500));
        let _ = worker.child.kill();
    }
    let _ = worker.child.wait();
    worker.folder = None;
}

/// Ticks a second of the running kernel, from its configuration.
fn hz_of_running() -> Option<u32> {
    let mut text = String::new();
    if let Ok(file) = fs::File::open("/proc/config.gz") {
        let _ = flate2::read::GzDecoder::new(file).read_to_string(&mut text);
    }
    if text.is_empty() {
        let release = testbed::sysctl("kernel.osrelease")?;
        text = fs::read_to_string(format!("/boot/config-{release}")).ok()?;
    }
    hz_of(&text)
}

/// Ticks a second, from a kernel's configuration.
fn hz_of(config: &str) -> Option<u32> {
    config.lines().find_map(|line| line.strip_prefix("CONFIG_HZ=")?.parse().ok())
}
