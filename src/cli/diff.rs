//! `flowlapse diff`: two policies over the same traffic.

use super::traffic::{self, Read, Source};
use super::{Ended, exit, outlet, width};
use crate::engine::many::Many;
use crate::report::study::diff::Report;
use crate::study::Study;
use crate::study::diff::Change;
use std::ffi::OsString;
use std::mem::ManuallyDrop;

/// Compare two policies on the same traffic: which flows are newly cut, which are saved, whose ends feel it otherwise.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse diff conntrack:strict conntrack:strict,established=600 prod.pcap
  flowlapse diff old.sysctl new.sysctl prod.pcap
  flowlapse diff conntrack:dialect=linux-5.10 conntrack:dialect=linux-6.12 prod.pcap
  flowlapse diff ipvs ipvs:secure_tcp=3 x.pcap
  flowlapse diff 'conntrack:masquerade aws-nlb' 'conntrack:masquerade azure-lb-default' x.pcap

A policy is a box as --box takes it (a file with sysctls or boxes too), or several in quotes, in path order from the client.

Exit codes: 0 ran; 1 a flow is newly cut and --fail-on-new-cut was given; 2 usage, or nothing could be analysed;
130 interrupted.")]
pub struct Args {
    /// The policy as it is
    #[arg(value_name = "OLD")]
    old: String,
    /// The policy as it would be
    #[arg(value_name = "NEW")]
    new: String,
    /// Captures (pcap or pcapng, plain, gzip or zstd; several are merged by time; `-` is standard input), or one scenario (.json)
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<OsString>,
    /// One JSON document (schema flowlapse-diff/1)
    #[arg(long)]
    json: bool,
    /// How many flows the table lists
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Exit with 1 if a flow is cut that was not
    #[arg(long)]
    fail_on_new_cut: bool,
    #[command(flatten)]
    options: traffic::Options,
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let clock = args.options.clock()?;
    let path = |policy: &str| traffic::path(&traffic::policy(policy)?, clock);
    let paths = [path(&args.old)?, path(&args.new)?];
    let source = Source::of(&args.inputs, Read::Once)?;
    let many = Many::new(&paths, true);
    // Left to the end of the process: to take it all apart would be a tenth of the time.
    let run = ManuallyDrop::new(source.study(&many, &args.options)?);
    let study = Study { many: &many, run: &run };
    let (diff, tallies, tables) = args.options.on_threads(|| (study.diff(), study.tallies(), study.occupancies(&study.ledgers())))?;
    let report = Report {
        study: &study,
        diff: &diff,
        paths: [&paths[0], &paths[1]],
        names: [&args.old, &args.new],
        tallies: &tallies,
        tables: &tables,
    };
    if args.json {
        outlet::json_into(|out| report.write_json(out))?;
    } else {
        super::report(&report.text(width(), args.limit))?;
    }
    if run.interrupted {
        return Ok(exit::INTERRUPTED);
    }
    Ok(if args.fail_on_new_cut && diff.count(Change::NewlyCut) > 0 { exit::FOUND } else { exit::RAN })
}
