//! What several commands take alike: the traffic, the boxes, the clock; and how they are made from the words of a command line.

use super::Failure;
use crate::capture::{self, Capture, Input};
use crate::decode::Filter;
use crate::engine::pipeline::Job;
use crate::engine::{Clock, Path};
use crate::flow::Flow;
use crate::kernel::wheel::{Hz, Phase};
use crate::policy::{self, BoxSpec};
use crate::time::{Duration, Instant};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Only packets that match, in tcpdump's words: host, net, port, src, dst, tcp, udp, and, or, not
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Option<String>,
    /// Stop after this many packets
    #[arg(long, short = 'c', value_name = "N")]
    count: Option<u64>,
    /// Threads; 0 for one a core. The answer does not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
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
    pub fn job(&self) -> Result<Job, Failure> {
        let filter = self.filter.as_deref().map(Filter::parse).transpose().map_err(|e| Failure(e.to_string()))?;
        Ok(Job { threads: self.threads, filter, records_max: self.count })
    }

    /// The same for the packets of one flow alone, and of others with its addresses and ports.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn job_of(&self, flow: &Flow) -> Result<Job, Failure> {
        let (client, server) = (flow.client, flow.server);
        let mut text = format!(
            "{} and host {} and host {} and port {} and port {}",
            flow.proto.name(),
            client.addr,
            server.addr,
            client.port,
            server.port
        );
        if let Some(filter) = self.filter.as_deref().filter(|filter| !filter.trim().is_empty()) {
            text.push_str(&format!(" and ({filter})"));
        }
        let filter = Filter::parse(&text).map_err(|e| Failure(e.to_string()))?;
        Ok(Job { threads: self.threads, filter: Some(filter), records_max: self.count })
    }
}

fn phase(text: &str, hz: Hz) -> Result<Phase, Failure> {
    let wrong = || Failure(format!("--jiffies '{text}': expected COUNTER@SECONDS, such as 4294892296@1700000000.25"));
    let (jiffies, at) = text.split_once('@').ok_or_else(wrong)?;
    let jiffies = jiffies.trim().parse().map_err(|_| wrong())?;
    let at = Duration::parse(at).map_err(|_| wrong())?;
    Ok(Phase { hz, jiffies, at: Instant(at.0) })
}

/// Reads the boxes of a path, in order. One specification may name a file with several.
///
/// # Errors
/// What is wrong with one.
pub fn boxes<S: AsRef<str>>(specs: &[S]) -> Result<Vec<BoxSpec>, Failure> {
    let read = |name: &str| std::fs::read_to_string(name).map_err(|e| e.to_string());
    let mut all = Vec::new();
    for spec in specs {
        all.extend(policy::parse(spec.as_ref(), &read).map_err(|e| Failure(e.to_string()))?);
    }
    Ok(all)
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
    let inputs: Vec<Input> = names.iter().map(|name| Input::from_arg(name)).collect();
    capture::open(&inputs).map_err(|e| Failure(e.to_string()))
}

/// A flag that an interrupt raises; a second one ends the program.
pub fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    // Without a handler an interrupt simply ends the program; that is no reason not to run.
    let _ = ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(super::exit::INTERRUPTED));
        }
    });
    stop
}
