//! `flowlapse synth`: the traffic of a scenario as one capture, as large as anybody wants.

use super::output::{self, Names};
use super::progress::Progress;
use super::run::{read, senseless};
use super::traffic::text_of;
use super::{Ended, Failure, exit, interrupt, note, outlet, print_json};
use crate::capture::write::bulk::{Format, Shape};
use crate::report::synth::{self, Written};
use crate::scenario::compile::Ready;
use crate::scenario::{Share, load_with};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Write the traffic of a scenario as one capture: every flow of its population, in the order of time.
///
/// The packets are those that client and server would exchange if no box stood between them, as a capture at the client's side
/// has them. The same scenario and seed give the same bytes, whatever the number of threads.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse synth benches/big.json -o big.pcap
  flowlapse synth benches/big.json -o small.pcapng.zst --flows 50000 --seed 7
  flowlapse synth benches/big.json -o mixed.pcap --v6=30% --vlan 100 --snaplen 96
  flowlapse synth scenarios/laptops-and-vpn.json -o - --set population.flows=100000 | flowlapse replay - --box conntrack:strict

Only headers are kept unless --snaplen says more; the length on the wire is always the true one.

Exit codes: 0 written; 2 usage, or something cannot be read or written; 130 interrupted. No half
file is left.")]
pub struct Args {
    /// The scenario; `-` is standard input
    #[arg(value_name = "SCENARIO")]
    scenario: OsString,
    /// The capture; `-` is standard output. An ending .gz or .zst compresses it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Another number of flows than the population's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    flows: Option<u64>,
    /// Another seed than the scenario's
    #[arg(long)]
    seed: Option<u64>,
    /// Change a setting of the scenario, such as links.round_trip=80ms
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// The format; by the file's ending without it, and classic pcap where that says nothing
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Times in microseconds, as tcpdump has them by default, in place of nanoseconds
    #[arg(long)]
    micros: bool,
    /// Keep so many bytes of each packet, payload of zeros included; 0: all
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=i64::from(SNAPLEN_MAX)))]
    snaplen: Option<u32>,
    /// Put every packet into this VLAN
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(0..=4094))]
    vlan: Option<u16>,
    /// IPv6 in place of IPv4, for all flows or for a share such as 30%
    #[arg(long, value_name = "SHARE", num_args = 0..=1, require_equals = true, default_missing_value = "100%", value_parser = share)]
    v6: Option<Share>,
    /// Say what was written as one JSON document (schema flowlapse-synth/1)
    #[arg(long)]
    json: bool,
}

/// As many bytes as any tool keeps of a packet.
const SNAPLEN_MAX: u32 = 262_144;
/// As fast as a capture is made.
const ZSTD_LEVEL: i32 = 1;

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum FormatArg {
    /// Classic pcap
    Pcap,
    /// pcapng
    Pcapng,
}

fn share(text: &str) -> Result<Share, String> {
    serde_json::from_value(text.parse::<f64>().map_or_else(|_| text.into(), Into::into)).map_err(|error| error.to_string())
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && args.json {
        return Err(Failure("--json: standard output is the capture; give a file with -o".to_owned()));
    }
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure("-o -: standard output is a terminal; give a file, or put a pipe behind it".to_owned()));
    }
    Names::new().read("SCENARIO", Path::new(&args.scenario)).write("--output", &args.output)?;
    let ready = ready(args)?;
    let (stop, progress) = (interrupt::flag(), Progress::steps(Some(ready.flows()), "flows"));
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(super::global::threads()).build().map_err(|e| Failure(format!("threads: {e}")))?;
    let work = Work { args, ready: &ready, stop, progress: &progress };
    let written = pool.install(|| if to_stdout { work.to_stdout() } else { work.to_file() })?;
    drop(progress);
    if written.passed.interrupted {
        let what = if to_stdout { "the capture ends where it was" } else { "nothing was written" };
        note(&format!("interrupted: {what}"));
        return Ok(exit::INTERRUPTED);
    }
    let name = args.output.to_string_lossy();
    if args.json {
        print_json(&written.json(&name))?;
    } else if !to_stdout {
        super::report(&written.text(&name))?;
    }
    Ok(exit::RAN)
}

fn ready(args: &Args) -> Result<Ready, Failure> {
    let (origin, text) = read(&args.scenario)?;
    let mut scenario = load_with(&text, &origin, &args.settings, &text_of).map_err(|e| Failure(e.to_string()))?;
    if let Some(flows) = args.flows {
        let population = scenario.population.as_mut();
        population.ok_or_else(|| Failure(format!("--flows: {origin} has no population; its script is one flow")))?.flows = flows;
    }
    if let Some(seed) = args.seed {
        scenario.seed = seed;
    }
    scenario.compile().map_err(|what| senseless(&origin, None, &text, &what))
}

/// What is to be written.
struct Work<'a> {
    args: &'a Args,
    ready: &'a Ready,
    stop: &'a AtomicBool,
    progress: &'a Progress,
}

impl Work<'_> {
    fn to_stdout(&self) -> Result<Written, Failure> {
        let mut failed = None;
        let written = self.write(io::stdout()).map_err(|error| failed = Some(error)).ok();
        outlet::written(failed.map_or(Ok(()), Err))?;
        written.ok_or_else(|| Failure("nothing was written".to_owned()))
    }

    /// The file whole or not at all.
    fn to_file(&self) -> Result<Written, Failure> {
        let file = &self.args.output;
        let write = || {
            let (sink, pending) = output::begin(file)?;
            let written = self.write(sink)?;
            if !written.passed.interrupted {
                pending.commit()?;
            }
            Ok(written)
        };
        write().map_err(|error| super::files::unwritable(file, &error))
    }

    fn write<W: Write + Send>(&self, sink: W) -> io::Result<Written> {
        let sink = Packed::new(sink, &self.args.output)?;
        let six = self.args.v6.unwrap_or_default();
        let begun = |flows| self.progress.advance(flows);
        let (written, sink) = synth::write(self.ready, self.shape(), six, sink, self.stop, begun)?;
        sink.finish()?;
        Ok(written)
    }

    fn shape(&self) -> Shape {
        let file = &self.args.output;
        let is_packed = ends_in(file, "gz") || ends_in(file, "zst");
        let plain = if is_packed { &file.with_extension("") } else { file };
        let format = match self.args.format {
            Some(FormatArg::Pcapng) => Format::PcapNg,
            None if ends_in(plain, "pcapng") => Format::PcapNg,
            Some(FormatArg::Pcap) | None => Format::Pcap,
        };
        let snaplen = self.args.snaplen.map(|bytes| if bytes == 0 { SNAPLEN_MAX } else { bytes });
        Shape { format, micros: self.args.micros, vlan: self.args.vlan, snaplen }
    }
}

fn ends_in(file: &Path, ending: &str) -> bool {
    file.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending))
}

/// A sink that compresses what it gets, or not, by the ending of its name.
enum Packed<W: Write> {
    Plain(W),
    Gzip(Box<GzEncoder<W>>),
    Zstd(Box<zstd::Encoder<'static, W>>),
}

impl<W: Write> Packed<W> {
    fn new(sink: W, file: &Path) -> io::Result<Packed<W>> {
        Ok(if ends_in(file, "gz") {
            Packed::Gzip(Box::new(GzEncoder::new(sink, Compression::fast())))
        } else if ends_in(file, "zst") {
            Packed::Zstd(Box::new(zstd::Encoder::new(sink, ZSTD_LEVEL)?))
        } else {
            Packed::Plain(sink)
        })
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Packed::Plain(sink) => Ok(sink),
            Packed::Gzip(encoder) => encoder.finish(),
            Packed::Zstd(encoder) => encoder.finish(),
        }?
        .flush()
    }
}

impl<W: Write> Write for Packed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packed::Plain(sink) => sink.write(bytes),
            Packed::Gzip(encoder) => encoder.write(bytes),
            Packed::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// What a compressor holds back is written when it is finished.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packed::Plain(sink) => sink.flush(),
            Packed::Gzip(_) | Packed::Zstd(_) => Ok(()),
        }
    }
}
