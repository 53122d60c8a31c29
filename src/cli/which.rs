//! Which flow of a capture a command is about, and whether the capture can be read for it once more.

use super::Failure;
use crate::capture::Input;
pub use crate::finding::which::{Choice, Which, near_stream};
use crate::report::Report;
use std::ffi::OsString;

/// The place of the flow in a report; `option` is what it was asked by.
///
/// # Errors
/// That there is none, or more than one.
pub fn find(which: &Which, report: &Report<'_>, option: &str) -> Result<usize, Failure> {
    if let Which::Worst = which {
        let any = (!report.run.flows.is_empty()).then_some(0);
        let worst = report.worst().first().map(|(_, index)| *index).or_else(|| report.closest()).or(any);
        return worst.ok_or_else(|| Failure(format!("{option}: there is no flow in the capture")));
    }
    let choice = |index: usize| {
        let flow = report.run.flows.flow(index);
        Choice { proto: flow.proto(), stream: flow.stream, socks: report.run.socks(flow) }
    };
    Ok(which.among((0..report.run.flows.len()).map(choice), option)?)
}

/// Why a flow that was found is not there when the captures are read once more.
pub fn changed(command: &str) -> Failure {
    Failure(format!("{command}: the captures have changed since they were read first, or reading was interrupted"))
}

/// Says so where captures cannot be read twice; `option` is what needs it.
///
/// # Errors
/// Which one cannot.
pub fn check_twice(captures: &[OsString], option: &str) -> Result<(), Failure> {
    for name in captures {
        let twice = match Input::from_arg(name) {
            Input::Stdin => false,
            // What does not exist is told when it is opened.
            Input::Path(path) => std::fs::metadata(path).map_or(true, |data| data.is_file()),
            Input::Bytes { .. } | Input::Spooled(_) => true,
        };
        if !twice {
            let what = if name == "-" { "standard input".to_owned() } else { format!("'{}'", name.to_string_lossy()) };
            return Err(Failure(format!("{option} reads the captures twice, and {what} can be read only once: save it to a file")));
        }
    }
    Ok(())
}
