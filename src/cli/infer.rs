//! `flowlapse infer`: from captures back to the timers of the boxes on the path.

use super::traffic;
use super::{Ended, Failure, exit, interrupt, outlet, width};
use crate::capture::Input;
use crate::engine::pipeline::{self, Followed, Job, Run};
use crate::report::infer::Report;
use crate::study::infer::Inference;
use crate::study::infer::listen::{Ear, Listener};
use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

/// Infer the idle timers of the boxes on the path from what became of packets after silences.
///
/// Resets and silence after an idle time bound a timer from above; silences that were lived through bound it from below, where it
/// was seen that packets without an entry are refused. What the flows do not determine is called undetermined.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse infer hangs.pcapng
  flowlapse infer client.pcap server.pcap --json
  flowlapse infer ring.pcap0 ring.pcap1 --filter 'tcp port 5432'
  zcat big.pcap.gz | flowlapse infer - --limit 0

Captures that follow each other in time are read as one; captures of the same time are two places on the path, and each is
read by itself.

Exit codes: 0 ran; 2 usage, or nothing could be analysed; 3 something was left out and --strict was given; 130 interrupted.")]
pub struct Args {
    /// Captures: pcap or pcapng, plain, gzip or zstd; `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<OsString>,
    /// One JSON document (schema flowlapse-infer/1)
    #[arg(long)]
    json: bool,
    /// How many flows the table lists
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Exit with 3 if anything was left out of the analysis
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    options: traffic::Packets,
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    // Only several captures may have to be read twice; a single one streams, however large it is.
    let inputs = match &args.captures[..] {
        [one] => vec![Input::from_arg(one)],
        several => traffic::kept(several)?,
    };
    let stop = interrupt::flag();
    let mut runs = Vec::new();
    for (input, name) in inputs.iter().zip(&args.captures) {
        runs.push(listen(std::slice::from_ref(input), std::slice::from_ref(name), args, stop)?);
    }
    if runs.len() > 1 && follow_each_other(&runs) && !runs.iter().any(|run| run.interrupted) {
        runs = vec![listen(&inputs, &args.captures, args, stop)?];
    }
    let (inference, read) = args.options.on_threads(|| Inference::of(runs))?;
    let report = Report { inference: &inference, inputs: &read };
    if args.json {
        outlet::json_into(|out| report.write_json(out))?;
    } else {
        super::report(&report.text(width(), args.limit))?;
    }
    Ok(if read.iter().any(|run| run.interrupted) {
        exit::INTERRUPTED
    } else if args.strict && read.iter().any(Run::is_incomplete) {
        exit::INCOMPLETE
    } else {
        exit::RAN
    })
}

fn listen(inputs: &[Input], names: &[OsString], args: &Args, stop: &AtomicBool) -> Result<Followed<Ear>, Failure> {
    let job = Job { flows_max: args.options.held.full(), ..args.options.job(names)? };
    let mut capture = traffic::open_inputs(inputs)?;
    Ok(pipeline::follow(&mut capture, &Listener, &job, stop))
}

/// Whether no two captures have any time in common: the pieces of one, as a ring of files has them.
fn follow_each_other(runs: &[Followed<Ear>]) -> bool {
    let mut spans: Vec<_> = runs.iter().map(|run| (run.begin, run.end)).collect();
    spans.sort_unstable();
    spans.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}
