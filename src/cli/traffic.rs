//! What several commands take alike: the traffic, the boxes, the clock; and how they are made from the words of a command line.

#[cfg(feature = "columnar")]
use super::archived::Archived;
use super::interrupt::Readings;
use super::progress::Progress;
use super::{Failure, files, global, interrupt};
use crate::capture::{Capture, Input, Spool};
use crate::decode::Filter;
use crate::engine::many::Many;
use crate::engine::offered::kept_offered;
use crate::engine::pipeline::{self, Follow, Followed, Job, Keep, Run, Singly, Watch};
use crate::engine::studied::{Studied, Together};
use crate::engine::{Clock, Path};
use crate::kernel::wheel::{Hz, Phase};
use crate::net::{Proto, Sock};
use crate::policy::hint::nearest;
use crate::policy::{self, BoxSpec};
use crate::scenario::Scenario;
use crate::scenario::compile::Ready;
use crate::scenario::load::load_with;
use crate::scenario::offered::Traffic;
use crate::time::{Duration, Instant};
use std::ffi::OsString;
use std::sync::Arc;

/// What a study is asked of, and through which boxes.
#[derive(clap::Args, Debug)]
pub struct Asked {
    /// Captures (pcap or pcapng, plain, gzip or zstd; several are merged by time; `-` is standard input), or one scenario (.json)
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    /// A box on the path, from the client on; repeat for several. A scenario has boxes of its own
    #[arg(long = "box", value_name = "SPEC")]
    pub boxes: Vec<String>,
    /// Whether the inputs are segments.
    #[cfg(feature = "columnar")]
    #[command(flatten)]
    pub archived: Archived,
}

/// The options about traffic and clocks.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// How exact timers are
    #[arg(long, value_enum, default_value_t = ClockArg::Ideal)]
    clock: ClockArg,
    /// Ticks a second of the boxes' kernels (100, 250, 300, 1000)
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    hz: u32,
    /// The phase of the wheel: the jiffies counter and the time (seconds since 1970) at which it had that value
    #[arg(long, value_name = "JIFFIES@TIME")]
    jiffies: Option<String>,
    /// Which packets are read.
    #[command(flatten)]
    pub packets: Packets,
}

/// The options about which packets are read.
#[derive(clap::Args, Debug)]
pub struct Packets {
    /// Only packets that match, in tcpdump's words: host, net, port, src, dst, tcp, udp, and, or, not
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Option<String>,
    /// Stop after this many packets
    #[arg(long, short = 'c', value_name = "N")]
    count: Option<u64>,
    /// How many flows are held at most.
    #[command(flatten)]
    pub held: Held,
}

/// How many flows are held at most.
#[derive(clap::Args, Clone, Copy, Default, Debug)]
pub struct Held {
    /// Hold at most N flows of captures; what is left out for it is counted. 10000000 without it, 2000000 in commands that hold more of
    /// a flow (sweep, tune, diff, capacity, infer, explain --match); none: no limit
    #[arg(long, value_name = "N", value_parser = most)]
    max_flows: Option<Most>,
}

/// A number of flows, or as many as there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Most {
    Flows(u64),
    All,
}

/// So many flows are held of captures if nobody says otherwise: what a machine of 8 GB can hold in a replay. Not by the memory of the
/// machine, so that the same input has the same answer everywhere.
const FLOWS_MAX: u64 = 10_000_000;
/// The same where a flow takes several times as much.
const FLOWS_MAX_FULL: u64 = 2_000_000;

fn most(text: &str) -> Result<Most, String> {
    if text == "none" {
        return Ok(Most::All);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number of flows from 1 on, or none".to_owned()),
        Ok(flows) => Ok(Most::Flows(flows)),
    }
}

impl Held {
    /// The limit for captures whose flows rest small.
    pub const fn small(self) -> Option<u64> {
        self.or(Some(FLOWS_MAX))
    }

    /// The limit for captures of whose flows more is held.
    pub const fn full(self) -> Option<u64> {
        self.or(Some(FLOWS_MAX_FULL))
    }

    /// The limit for a scenario, which says itself how many flows it has.
    pub const fn of_scenario(self) -> Option<u64> {
        self.or(None)
    }

    const fn or(self, usual: Option<u64>) -> Option<u64> {
        match self.max_flows {
            Some(Most::Flows(flows)) => Some(flows),
            Some(Most::All) => None,
            None => usual,
        }
    }
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum ClockArg {
    /// Every timer ends exactly on time; the band of a real kernel is shown beside the verdict
    Ideal,
    /// Timers end as late as the kernel's timer wheel lets them
    Wheel,
}

impl Options {
    /// The clock.
    ///
    /// # Errors
    /// What is wrong with the phase.
    pub fn clock(&self) -> Result<Clock, Failure> {
        let hz = Hz(self.hz);
        let phase = self.jiffies.as_deref().map(|text| phase(text, hz)).transpose()?;
        match (self.clock, phase) {
            (ClockArg::Wheel, phase) => Ok(Clock::Wheel { hz, phase }),
            (ClockArg::Ideal, None) => Ok(Clock::Ideal),
            (ClockArg::Ideal, Some(_)) => Err(Failure("--jiffies is about the timer wheel: give --clock wheel with it".to_owned())),
        }
    }

    /// What a run over a capture is to do.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn job(&self, inputs: &[OsString]) -> Result<Job, Failure> {
        self.packets.job(inputs)
    }
}

impl Packets {
    /// What a run over a capture is to do.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn job(&self, inputs: &[OsString]) -> Result<Job, Failure> {
        let filter = self.filter.as_deref().map(filter).transpose()?;
        let sizes: Option<u64> = inputs.iter().map(|name| std::fs::metadata(name).ok().map(|m| m.len())).sum();
        let progress = Progress::bytes(sizes, "reading");
        let watch = Watch(Arc::new(move |bytes| progress.tick(bytes)));
        let flows_max = self.held.small();
        Ok(Job { threads: global::threads(), filter, records_max: self.count, flows_max, watch: Some(watch) })
    }

    /// Does something on the threads that were asked for.
    ///
    /// # Errors
    /// That threads cannot be started.
    pub fn on_threads<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, Failure> {
        Ok(global::pool()?.install(work))
    }
}

#[cfg(feature = "columnar")]
impl Options {
    /// The words about clocks, to be written down.
    pub fn clock_words(&self) -> crate::archive::part::Asked {
        let clock = match self.clock {
            ClockArg::Ideal => "ideal",
            ClockArg::Wheel => "wheel",
        };
        crate::archive::part::Asked { clock: clock.to_owned(), hz: self.hz, jiffies: self.jiffies.clone(), ..Default::default() }
    }
}

/// The clock of words that were written down.
///
/// # Errors
/// What is wrong with them.
#[cfg(feature = "columnar")]
pub fn clock_of(asked: &crate::archive::part::Asked) -> Result<Clock, Failure> {
    let hz = Hz(asked.hz);
    let phase = asked.jiffies.as_deref().map(|text| phase(text, hz)).transpose()?;
    Ok(if asked.clock == "wheel" { Clock::Wheel { hz, phase } } else { Clock::Ideal })
}

impl Options {
    /// Whether only some packets are wanted.
    pub fn is_about_packets(&self) -> bool {
        self.packets.filter.is_some() || self.packets.count.is_some()
    }

    /// Does something on the threads that were asked for.
    ///
    /// # Errors
    /// That threads cannot be started.
    pub fn on_threads<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, Failure> {
        self.packets.on_threads(work)
    }

    /// The same for the packets of one flow alone, and of others with its addresses and ports.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn job_of(&self, proto: Proto, [client, server]: [Sock; 2]) -> Result<Job, Failure> {
        let mut text =
            format!("{} and host {} and host {} and port {} and port {}", proto.name(), client.addr, server.addr, client.port, server.port);
        if let Some(filter) = self.packets.filter.as_deref().filter(|filter| !filter.trim().is_empty()) {
            text.push_str(&format!(" and ({filter})"));
        }
        let filter = Filter::parse(&text).map_err(|e| Failure(e.to_string()))?;
        let flows_max = self.packets.held.small();
        Ok(Job { threads: global::threads(), filter: Some(filter), records_max: self.packets.count, flows_max, watch: None })
    }
}

/// The words of a filter, for near misses.
const FILTER_WORDS: [&str; 12] = ["tcp", "udp", "ip", "ip6", "host", "net", "port", "portrange", "src", "dst", "and", "not"];

/// Reads a filter.
///
/// # Errors
/// What is wrong with it, and what was probably meant.
pub fn filter(text: &str) -> Result<Filter, Failure> {
    Filter::parse(text).map_err(|error| {
        let word = text.chars().skip(error.column.saturating_sub(1)).take_while(|letter| letter.is_alphanumeric()).collect::<String>();
        let near = nearest(&word, FILTER_WORDS).filter(|near| *near != word && word.len() > 1);
        Failure(near.map_or_else(|| error.to_string(), |near| format!("{error}; did you mean '{near}'?")))
    })
}

fn phase(text: &str, hz: Hz) -> Result<Phase, Failure> {
    let wrong = || Failure(format!("--jiffies '{text}': expected COUNTER@SECONDS, such as 4294892296@1700000000.25"));
    let (jiffies, at) = text.split_once('@').ok_or_else(wrong)?;
    let jiffies = jiffies.trim().parse().map_err(|_| wrong())?;
    let at = Duration::parse(at).map_err(|_| wrong())?;
    Ok(Phase { hz, jiffies, at: Instant(at.0) })
}

/// The text of a file that a specification or a scenario names, or why there is none.
pub fn text_of(name: &str) -> Result<String, String> {
    let path = std::path::Path::new(name);
    match (std::fs::read_to_string(path), files::hint(path, files::Wanted::Boxes)) {
        (_, Some(hint)) => Err(format!("it {hint}")),
        (Err(error), None) => Err(files::why(path, &error, files::Wanted::Boxes)),
        (Ok(text), None) => Ok(text),
    }
}

/// Reads the boxes of a path, in order. One specification may name a file with several.
///
/// # Errors
/// What is wrong with one.
pub fn boxes<S: AsRef<str>>(specs: &[S]) -> Result<Vec<BoxSpec>, Failure> {
    let mut all = Vec::new();
    for spec in specs {
        let spec = spec.as_ref();
        all.extend(
            match policy::parse(spec, &text_of) {
                // What is no box and the name of a file means the file.
                Err(_) if is_file(spec) => policy::parse(&format!("@{spec}"), &text_of),
                read => read,
            }
            .map_err(|e| Failure(e.to_string()))?,
        );
    }
    Ok(all)
}

fn is_file(spec: &str) -> bool {
    std::path::Path::new(spec.rsplit_once(':').map_or(spec, |(name, _)| name)).is_file() || std::path::Path::new(spec).is_file()
}

/// Reads the boxes of a policy: one specification, or several with blanks between them.
///
/// # Errors
/// What is wrong with one.
pub fn policy(text: &str) -> Result<Vec<BoxSpec>, Failure> {
    if is_file(text) || is_file(text.trim_start_matches('@')) {
        return boxes(&[text]);
    }
    boxes(&text.split_whitespace().collect::<Vec<_>>())
}

/// Inputs that can be read more than once: what comes out of standard input and other pipes is kept in a temporary file.
///
/// # Errors
/// That one cannot be read or kept.
pub fn kept(names: &[OsString]) -> Result<Vec<Input>, Failure> {
    let spooled = |name: String, from: &mut dyn std::io::Read| {
        let spool = Spool::of(&name, from).map_err(|error| Failure(format!("{name}: {error}")))?;
        Ok(Input::Spooled(spool))
    };
    names
        .iter()
        .map(|name| match Input::from_arg(name) {
            Input::Stdin => spooled("-".to_owned(), &mut interrupt::stdin()),
            Input::Path(path) if interrupt::goes_by(&path) => {
                let mut pipe = interrupt::reader(&path).map_err(|error| files::unreadable(&path, &error, files::Wanted::Capture))?;
                spooled(path.display().to_string(), &mut pipe)
            }
            other => Ok(other),
        })
        .collect()
}

/// Builds a path.
///
/// # Errors
/// What is wrong with it.
pub fn path(specs: &[BoxSpec], clock: Clock) -> Result<Path, Failure> {
    Path::build(specs, clock).map_err(|e| Failure(e.to_string()))
}

/// Opens captures.
///
/// # Errors
/// Which one cannot be read, and why.
pub fn open(names: &[OsString]) -> Result<Capture, Failure> {
    open_inputs(&names.iter().map(|name| Input::from_arg(name)).collect::<Vec<_>>())
}

/// Opens inputs as captures.
///
/// # Errors
/// Which one cannot be read, and why; what it is, if it belongs elsewhere.
pub fn open_inputs(inputs: &[Input]) -> Result<Capture, Failure> {
    interrupt::open(inputs).map_err(|error| {
        if interrupt::is_asked() {
            return Failure("interrupted before there was anything to analyse".to_owned());
        }
        files::no_capture(&error, inputs)
    })
}

/// What a study is asked of: captures, or the traffic that a scenario offers to its boxes.
#[derive(Debug)]
pub enum Source {
    /// Captures, merged by time.
    Captures {
        /// As they were named.
        names: Vec<OsString>,
        /// The same, to be read as often as was said.
        inputs: Vec<Input>,
        /// The readings.
        readings: Readings,
    },
    /// Segments that were decoded before.
    #[cfg(feature = "columnar")]
    Segments {
        /// As they were named.
        names: Vec<OsString>,
        /// Where else they are told about.
        archived: Archived,
        /// How many segments came, and how many of them were left out, when they were read last.
        came: std::sync::Mutex<(u64, u64)>,
        /// The readings.
        readings: Readings,
    },
    /// A scenario.
    Scenario {
        /// Its file.
        name: String,
        /// The file's text.
        text: String,
        /// What it says.
        scenario: Box<Scenario>,
        /// The same, ready to run.
        ready: Box<Ready>,
        /// The readings.
        readings: Readings,
    },
}

/// How often the input will be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// Once: what comes out of a pipe goes by.
    Once,
    /// More than once: what comes out of a pipe has to be kept.
    Again,
}

impl Source {
    /// The same, of what a command was asked.
    ///
    /// # Errors
    /// As [`Source::of`].
    pub fn of_asked(asked: &Asked, read: Read) -> Result<Source, Failure> {
        #[cfg(feature = "columnar")]
        if asked.archived.segments {
            return Source::of_segments(&asked.inputs, &asked.archived, read);
        }
        Source::of(&asked.inputs, read)
    }

    /// Segments.
    ///
    /// # Errors
    /// A stream that would have to be read twice.
    #[cfg(feature = "columnar")]
    pub fn of_segments(names: &[OsString], archived: &Archived, read: Read) -> Result<Source, Failure> {
        if read == Read::Again && names.iter().any(|name| name == "-") {
            return Err(Failure("-: the segments are read more than once; name files".to_owned()));
        }
        Ok(Source::Segments {
            names: names.to_vec(),
            archived: archived.clone(),
            came: std::sync::Mutex::default(),
            readings: Readings::default(),
        })
    }

    /// Sorts the inputs of a command line: one `.json` is a scenario, everything else captures.
    ///
    /// # Errors
    /// A scenario that cannot be read or makes no sense, or one among captures.
    pub fn of(names: &[OsString], read: Read) -> Result<Source, Failure> {
        let is_scenario = |name: &OsString| name.to_string_lossy().to_ascii_lowercase().ends_with(".json");
        if !names.iter().any(is_scenario) {
            let inputs = match read {
                Read::Once => names.iter().map(|name| Input::from_arg(name)).collect(),
                Read::Again => kept(names)?,
            };
            return Ok(Source::Captures { names: names.to_vec(), inputs, readings: Readings::default() });
        }
        let [name] = names else {
            return Err(Failure("one scenario, or captures: not both, and not several scenarios".to_owned()));
        };
        let origin = name.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(name)
            .map_err(|error| files::unreadable(std::path::Path::new(name), &error, files::Wanted::Scenario))?;
        let scenario = load_with(&text, &origin, &[], &text_of).map_err(|e| Failure(e.to_string()))?;
        let ready = scenario.compile().map_err(|what| Failure(format!("{origin}: {what}")))?;
        Ok(Source::Scenario { name: origin, text, scenario: Box::new(scenario), ready: Box::new(ready), readings: Readings::default() })
    }

    /// The boxes that were given, or else the scenario's own.
    ///
    /// # Errors
    /// What is wrong with one, or that there is none.
    pub fn boxes(&self, given: &[String]) -> Result<Vec<BoxSpec>, Failure> {
        match self {
            Source::Scenario { scenario, .. } if given.is_empty() => Ok(scenario.path.clone()),
            _ => boxes(given),
        }
    }

    /// Has the flows followed. An interrupt ends the reading; one that begins after an interrupt reads what the one before had read.
    ///
    /// # Errors
    /// An input that cannot be read.
    pub fn follow<F: Follow>(&self, follow: &F, options: &Options) -> Result<Followed<F::Run>, Failure> {
        self.kept(&Singly(follow), options)
    }

    /// The same for many policies.
    ///
    /// # Errors
    /// As [`Source::follow`].
    pub fn study(&self, many: &Many<'_>, options: &Options) -> Result<Run<Studied>, Failure> {
        self.kept(&Together::new(many), options)
    }

    fn kept<K: Keep>(&self, keep: &K, options: &Options) -> Result<Run<K::Flows>, Failure> {
        let readings = self.readings();
        let mut run = match self {
            Source::Captures { names, inputs, .. } => {
                // Of a pipe there is no more to read than what was kept when the interrupt came.
                let is_kept = |input: &Input| matches!(input, Input::Spooled(_));
                if interrupt::is_asked() && !readings.was_cut() && inputs.iter().all(is_kept) {
                    readings.ended(true, interrupt::KEPT);
                }
                let (job, stop) = readings.next(Job { flows_max: options.packets.held.full(), ..options.job(names)? });
                pipeline::kept(&mut open_inputs(inputs)?, keep, &job, stop)
            }
            #[cfg(feature = "columnar")]
            Source::Segments { names, archived, came, .. } => {
                let (job, stop) = readings.next(Job { flows_max: options.packets.held.full(), watch: None, ..options.job(names)? });
                let mut intake = archived.intake(names)?;
                let run = crate::engine::gathered::kept_gathered(&mut intake, keep, &job, stop);
                super::archived::whole(&intake)?;
                *came.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = (intake.segments(), intake.filtered(&run));
                run
            }
            Source::Scenario { name, ready, .. } => {
                let job = Job { watch: None, flows_max: options.packets.held.of_scenario(), ..options.job(&[])? };
                let (job, stop) = readings.next(job);
                let traffic = Traffic::new(ready);
                let progress = Progress::steps(Some(traffic.flows()), "flows");
                let chunks = traffic.chunks().inspect(|flows| progress.advance(flows.len() as u64));
                kept_offered(chunks, &traffic.origin(name), keep, &job, stop)
            }
        };
        readings.ended(run.interrupted, run.counters.records);
        run.interrupted = readings.was_cut();
        Ok(run)
    }

    /// How many segments came, and how many of them were left out, when they were read last; nothing of captures.
    #[cfg(feature = "columnar")]
    pub fn came(&self) -> (u64, u64) {
        match self {
            Source::Segments { came, .. } => *came.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
            _ => (0, 0),
        }
    }

    fn readings(&self) -> &Readings {
        match self {
            #[cfg(feature = "columnar")]
            Source::Segments { readings, .. } => readings,
            Source::Captures { readings, .. } | Source::Scenario { readings, .. } => readings,
        }
    }
}
