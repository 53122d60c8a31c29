//! `flowlapse shrink`: one flow of a capture as a small file that anybody may have.

use super::output::Names;
use super::which::{self, Which};
use super::{Ended, Failure, exit, interrupt, note, outlet, print_json, traffic, width, write_whole};
use crate::engine::Clock;
use crate::engine::dossier::{self, Subject as Wanted};
use crate::engine::pipeline;
use crate::report::Report;
use crate::report::shrink::{Made, head};
use crate::study::shrink::{self, Keep, ShrinkError, Subject};
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// Write the smallest capture of one flow that keeps its verdict, without payload and with other addresses.
///
/// Packets are left out as long as the replay of what is left gives the same verdict, the same timer, the same silence to the
/// nanosecond and the same symptoms; what is written is read and replayed once more. So a case can go with a bug report.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse shrink prod.pcapng.zst --box ipvs:nat -o small.pcapng
  flowlapse shrink prod.pcap --box conntrack:strict --flow 10.0.0.5:51514-10.1.2.3:22 -o case.pcapng
  flowlapse shrink prod.pcap --box aws-nlb --flow tcp.3 -o - | tshark -r -

What goes: payload, addresses, the client's port, sequence numbers, IP identifications, link-layer addresses, the time of day. What
stays: the server's port, lengths, flags, windows, times to live, and the spans between packets.

Exit codes: 0 written; 2 usage, or the verdict cannot be kept; 130 interrupted. No half file is left.")]
pub struct Args {
    /// Captures: pcap or pcapng, plain, gzip or zstd; several are merged by time
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<OsString>,
    /// A box on the path, from the client on; repeat for several
    #[arg(long = "box", value_name = "SPEC", required = true)]
    boxes: Vec<String>,
    /// The flow: tcp.3, udp.0, 3, or its ends, such as 10.0.0.5:51514-10.1.2.3:22, in either order, also only one of them
    #[arg(long, value_name = "FLOW", conflicts_with = "worst")]
    flow: Option<String>,
    /// The worst flow, or where all survive the one that came closest to the end of a timer (the default)
    #[arg(long)]
    worst: bool,
    /// The small capture, pcapng; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Leave addresses and ports as they are
    #[arg(long)]
    keep_addresses: bool,
    /// Leave the time of day as it is; without it the capture begins with the year 2000
    #[arg(long)]
    keep_times: bool,
    /// Say what was written as one JSON document (schema flowlapse-shrink/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: traffic::Options,
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let which = args.flow.as_deref().map_or(Ok(Which::Worst), Which::flow)?;
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && args.json {
        return Err(Failure("--json: standard output is the capture; give a file with -o".to_owned()));
    }
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure("-o -: standard output is a terminal; give a file, or put a pipe behind it".to_owned()));
    }
    let mut names = Names::new().reads("CAPTURE", &args.captures).boxes("--box", &args.boxes);
    names.write("--output", &args.output)?;
    which::check_twice(&args.captures, "shrink")?;
    let clock = args.options.clock()?;
    let path = traffic::path(&traffic::boxes(&args.boxes)?, clock)?;
    let (job, stop) = (args.options.job(&args.captures)?, interrupt::flag());
    let run = pipeline::run(&mut traffic::open(&args.captures)?, &path, &job, stop);
    if run.interrupted {
        return Ok(interrupted());
    }
    let report = Report::new(&path, &run);
    let index = which::find(&which, &report, if args.flow.is_some() { "--flow" } else { "shrink" })?;
    let flow = run.flows.flow(index);
    let wanted = Wanted::of(flow, run.socks(flow));
    let found = dossier::collect(&mut traffic::open(&args.captures)?, &[wanted], None, &job, stop);
    if interrupt::is_asked() {
        return Ok(interrupted());
    }
    let dossier = found.into_iter().next().flatten().ok_or_else(|| which::changed("shrink"))?;
    if dossier.left_out > 0 {
        return Err(Failure(format!(
            "shrink: the flow has more than {} packets, which is more than can be tried here",
            dossier::SIGHTINGS_MAX
        )));
    }
    let segments: Vec<_> = dossier.sightings.iter().map(|sighting| sighting.seg).collect();
    let finding = report.finding(index);
    let subject = Subject { proto: flow.proto(), socks: wanted.socks, segments: &segments, finding: &finding, end: run.end };
    // Where the phase of the wheel is known, the time of day decides.
    let keep_times = args.keep_times || matches!(clock, Clock::Wheel { phase: Some(_), .. });
    let keep = Keep { addresses: args.keep_addresses, times: keep_times };
    let boxes: Vec<String> = path.hops.iter().map(|hop| hop.policy.describe()).collect();
    let shrunk = match shrink::shrink(&subject, &path, keep, &head(&report, &finding, &boxes), stop) {
        Ok(shrunk) => shrunk,
        Err(ShrinkError::Interrupted) => return Ok(interrupted()),
        Err(_) if interrupt::is_asked() => return Ok(interrupted()),
        Err(error) => return Err(Failure(format!("shrink: {error}"))),
    };
    if to_stdout {
        outlet::raw(&shrunk.bytes)?;
        return Ok(exit::RAN);
    }
    write_whole(&args.output, &shrunk.bytes)?;
    let file = args.output.to_string_lossy();
    let made = Made { report: &report, finding: &finding, shrunk: &shrunk, segments: &segments, keep, boxes: &boxes, file: &file };
    if args.json {
        print_json(&made.json())?;
    } else {
        super::report(&made.text(width()))?;
    }
    Ok(exit::RAN)
}

/// A case is whole or it is not there.
fn interrupted() -> u8 {
    note("interrupted: nothing was written");
    exit::INTERRUPTED
}
