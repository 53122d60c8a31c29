//! `flowlapse replay --draw lanes`: one flow's life, by reading the captures once more for that flow alone.

use crate::capture::Input;
use crate::cli::traffic::{self, Options};
use crate::cli::{Failure, draw::Draw};
use crate::engine::diary::{Diarist, Kept};
use crate::engine::pipeline;
use crate::engine::replay::Replay;
use crate::net::Proto;
use crate::report::{Report, life};
use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

/// Which flow is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    /// The worst, or where all survive the one that came closest to the end of a timer.
    Worst,
    /// The one with this number of Wireshark's.
    Stream(Proto, u32),
}

impl Which {
    /// Reads `tcp.3`, `udp.0`, `3` (TCP) or `worst`, which is also meant by nothing.
    pub(super) fn parse(text: Option<&str>) -> Result<Which, Failure> {
        let Some(text) = text.filter(|text| *text != "worst") else { return Ok(Which::Worst) };
        let (proto, number) = match text.split_once('.') {
            None => (Some(Proto::Tcp), text),
            Some((name, number)) => ([Proto::Tcp, Proto::Udp].into_iter().find(|proto| proto.name() == name), number),
        };
        match (proto, number.parse()) {
            (Some(proto), Ok(number)) => Ok(Which::Stream(proto, number)),
            _ => Err(Failure(format!("--draw 'lanes:{text}': expected a stream as tcp.3, udp.0 or 3, or worst"))),
        }
    }

    fn find(self, report: &Report<'_>) -> Result<usize, Failure> {
        match self {
            Which::Worst => {
                let any = (!report.run.flows.is_empty()).then_some(0);
                let worst = report.worst().first().map(|(_, index)| *index).or_else(|| report.closest()).or(any);
                worst.ok_or_else(|| Failure("--draw lanes: there is no flow in the capture".to_owned()))
            }
            Which::Stream(proto, number) => {
                let found = report.run.flows.flows().position(|flow| (flow.proto(), flow.stream) == (proto, number));
                found.ok_or_else(|| {
                    let count = report.run.flows.flows().filter(|flow| flow.proto() == proto).count();
                    let name = proto.name();
                    let there = match count {
                        0 => "there is none".to_owned(),
                        1 => format!("there is one, {name}.0"),
                        _ => format!("there are {name}.0 to {name}.{}", count - 1),
                    };
                    Failure(format!("--draw lanes: no stream {name}.{number}; {there}"))
                })
            }
        }
    }
}

/// Says so where captures cannot be read twice.
pub(super) fn check(captures: &[OsString]) -> Result<(), Failure> {
    for name in captures {
        let twice = match Input::from_arg(name) {
            Input::Stdin => false,
            // What does not exist is told when it is opened.
            Input::Path(path) => std::fs::metadata(path).map_or(true, |data| data.is_file()),
            Input::Bytes { .. } => true,
        };
        if !twice {
            let what = if name == "-" { "standard input".to_owned() } else { format!("'{}'", name.to_string_lossy()) };
            return Err(Failure(format!("--draw lanes reads the captures twice, and {what} can be read only once: save it to a file")));
        }
    }
    Ok(())
}

/// Reads the captures again and draws the flow.
pub(super) fn write(
    draw: &Draw,
    which: Which,
    report: &Report<'_>,
    captures: &[OsString],
    options: &Options,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let index = which.find(report)?;
    let flow = report.run.flows.flow(index);
    let packets = flow.segments.iter().map(|n| u64::from(*n)).sum();
    let diarist = Diarist { replay: Replay::new(report.path), first: (flow.first_file, flow.first_frame), packets };
    let mut capture = traffic::open(captures)?;
    let run = pipeline::follow(&mut capture, &diarist, &options.job_of(flow.proto(), report.run.socks(flow))?, stop);
    let kept: Option<Box<Kept>> = run.flows.into_iter().find_map(|judged| judged.run);
    let kept = kept.ok_or_else(|| Failure("--draw lanes: the captures have changed since they were read first".to_owned()))?;
    draw.write(&life::lanes(report, index, *kept))
}
