//! `flowlapse replay --draw lanes`: one flow's life, by reading the captures once more for that flow alone.

use crate::cli::traffic::{self, Options};
use crate::cli::which::{self, Which};
use crate::cli::{Failure, draw::Draw};
use crate::engine::diary::{Diarist, Kept};
use crate::engine::pipeline;
use crate::engine::replay::Replay;
use crate::policy::hint::nearest;
use crate::report::{Report, life};
use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

const OPTION: &str = "--draw lanes";

/// Which flow is to be drawn.
pub(super) fn which(of: Option<&str>) -> Result<Which, Failure> {
    let wrong = || {
        let of = of.unwrap_or_default();
        let near = which::near_stream(of).or_else(|| nearest(of, ["worst"]).map(ToOwned::to_owned));
        Failure(match near {
            Some(near) => format!("--draw 'lanes:{of}': there is no such stream; did you mean lanes:{near}?"),
            None => format!("--draw 'lanes:{of}': expected a stream as tcp.3, udp.0 or 3, or worst"),
        })
    };
    Which::stream(of).ok_or_else(wrong)
}

/// Says so where captures cannot be read twice.
pub(super) fn check(captures: &[OsString]) -> Result<(), Failure> {
    which::check_twice(captures, OPTION)
}

/// Reads the captures again and draws the flow; says whether it was drawn, for an interrupt ends the reading.
pub(super) fn write(
    draw: &Draw,
    which: &Which,
    report: &Report<'_>,
    captures: &[OsString],
    options: &Options,
    stop: &AtomicBool,
) -> Result<bool, Failure> {
    let index = which::find(which, report, OPTION)?;
    let flow = report.run.flows.flow(index);
    let packets = flow.segments.iter().map(|n| u64::from(*n)).sum();
    let diarist = Diarist { replay: Replay::new(report.path), first: (flow.first_file, flow.first_frame), packets };
    let mut capture = traffic::open(captures)?;
    let run = pipeline::follow(&mut capture, &diarist, &options.job_of(flow.proto(), report.run.socks(flow))?, stop);
    if run.interrupted {
        return Ok(false);
    }
    let kept: Option<Box<Kept>> = run.flows.into_iter().find_map(|judged| judged.run);
    let mut kept = kept.ok_or_else(|| Failure(format!("{OPTION}: the captures have changed since they were read first")))?;
    let finding = report.finding(index);
    let end = life::settle(report, &finding, &mut kept);
    draw.write(&life::lanes(report, &finding, &kept, end), false)?;
    Ok(true)
}
