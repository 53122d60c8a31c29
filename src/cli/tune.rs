//! `flowlapse tune`: the smallest timers that cut nothing, and the keepalive that saves the rest.

use super::traffic::{self, Read, Source};
use super::{Ended, Failure, exit, print_json, width};
use crate::engine::replay::Replay;
use crate::report::study::tune::Report;
use crate::study::tune::{Asked, tune};

/// Recommend timers: the smallest that cut nothing, the keepalive that saves the rest, and lines to paste.
///
/// One replay says what each timer had to bear. What is recommended is then replayed, each timer a second shorter too, and
/// so are cheaper timers that give flows up: cuts against memory.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse tune prod.pcap --box ipvs:nat,tcp=900 --box aws-nlb
  flowlapse tune prod.pcap --box conntrack:strict --allow-cut 0.5%
  flowlapse tune prod.pcap --box @prod.sysctl --lost 2 --interval 15 --json

Timers that wait for people (ESTABLISHED, UDP) are made as small as the capture allows; timers that wait for TCP itself are
raised where they are too short and else kept (--lower-all lowers them too).

Exit codes: 0 ran; 2 usage, or nothing could be analysed; 130 interrupted.")]
pub struct Args {
    #[command(flatten)]
    asked: traffic::Asked,
    /// The share of flows that may be cut, as 0.5% or 0.005
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    allow_cut: f64,
    /// Lower timers that wait for TCP itself too
    #[arg(long)]
    lower_all: bool,
    /// Keepalive probes that may be lost in a row
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    lost: u32,
    /// Seconds between keepalive probes
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=32_767))]
    interval: u64,
    /// One JSON document (schema flowlapse-tune/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: traffic::Options,
}

/// A share: per cent, or a number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is no share; write 0.5% or 0.005");
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse::<f64>().map_err(|_| wrong())?,
    };
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(wrong()) }
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let source = Source::of_asked(&args.asked, Read::Again)?;
    let specs = source.boxes(&args.asked.boxes)?;
    let clock = args.options.clock()?;
    let path = traffic::path(&specs, clock)?;
    let asked = Asked { share: args.allow_cut, lower_all: args.lower_all, hz: clock.hz(), lost: args.lost, interval: args.interval };
    let mut run = source.follow(&Replay::new(&path).immortal(), &args.options)?;
    let mut interrupted = run.interrupted;
    let (tuned, recommended) = tune(&specs, &path, &asked, &run, |many| {
        let run = source.study(many, &args.options)?;
        interrupted |= run.interrupted;
        Ok::<_, Failure>(run)
    })?;
    run.interrupted = interrupted;
    let recommended = traffic::path(&recommended, clock)?;
    let report = Report { tuned: &tuned, paths: [&path, &recommended], run: &run };
    if args.json {
        print_json(&report.json())?;
    } else {
        super::report(&report.text(width()))?;
    }
    Ok(if interrupted { exit::INTERRUPTED } else { exit::RAN })
}
