//! `flowlapse sweep`: one setting or several over their values, from one replay.

use super::{Ended, Failure, exit, print, traffic};
use crate::engine::many::Many;
use crate::engine::pipeline;
use crate::finding::Verdict;
use crate::policy::axis;
use crate::study::Study;
use std::ffi::OsString;
use std::fmt::Write;

/// Vary timers over ranges: who is cut at each value, what each end feels, and what the tables hold.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Captures, or one scenario (.json)
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<OsString>,
    /// A box on the path, from the client on; repeat for several
    #[arg(long = "box", value_name = "SPEC", required = true)]
    boxes: Vec<String>,
    /// What to vary
    #[arg(long = "vary", value_name = "KEY=VALUES", required = true)]
    vary: Vec<String>,
    /// Follow flows beyond the first entry that ended and was made anew
    #[arg(long)]
    beyond: bool,
    #[command(flatten)]
    options: traffic::Options,
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let specs = traffic::boxes(&args.boxes)?;
    let clock = args.options.clock()?;
    let axes = args.vary.iter().map(|text| axis::parse(text, &specs)).collect::<Result<Vec<_>, _>>().map_err(|e| Failure(e.to_string()))?;
    let grid = axis::grid(&axes).map_err(|e| Failure(e.to_string()))?;
    let mut paths = Vec::with_capacity(grid.len());
    for combination in &grid {
        let specs = axis::apply(&specs, &axes, combination).map_err(|e| Failure(e.to_string()))?;
        paths.push(traffic::path(&specs, clock)?);
    }
    let mut capture = traffic::open(&args.inputs)?;
    let t0 = std::time::Instant::now();
    let many = Many::new(&paths, args.beyond);
    eprintln!("many {:?}", t0.elapsed());
    let run = pipeline::follow(&mut capture, &many, &args.options.job()?, &traffic::stop_on_interrupt());
    eprintln!("run {:?}", t0.elapsed());
    let study = Study { many: &many, run: &run };
    let tallies = study.tallies();
    eprintln!("tallies {:?}", t0.elapsed());
    let ledgers = study.ledgers();
    eprintln!("ledgers {:?}", t0.elapsed());
    let occupancies = study.occupancies(&ledgers);
    eprintln!("occ {:?}", t0.elapsed());
    let mut out = String::new();
    for ((combination, tally), occ) in grid.iter().zip(&tallies).zip(&occupancies) {
        let _ = writeln!(
            out,
            "{combination:?} cut {} repaired {} dormant {} {:?} {}",
            tally.count(Verdict::Cut),
            tally.count(Verdict::Repaired),
            tally.count(Verdict::Dormant),
            occ[0].peak,
            occ[0].mean()
        );
    }
    print(out.as_bytes())?;
    Ok(exit::RAN)
}
