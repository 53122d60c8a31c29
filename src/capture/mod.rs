//! Bytes to records: capture files, compressed or not, one or several, as packets in time order; and `write`, the way back
//! for simulated segments.
//!
//! Only `source` touches files. Nothing here knows what is inside a packet: a record is a time, a link type, a length
//! and the bytes that were kept. Damage is data: everything before it is delivered, then it is reported.
mod error;
mod file;
mod link;
mod merge;
mod pcap;
mod pcapng;
mod record;
mod source;
pub mod write;

pub use error::{CaptureError, Damage};
pub use link::LinkType;
pub use record::{Batch, Record};
pub use source::{Input, Opened, Opener, Stopped};

use file::File;
use merge::Merge;

/// How much an input may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// A compressed input may always expand to this many bytes.
    pub expansion_bytes: u64,
    /// Beyond that, it may expand to this many bytes for each compressed byte; what comes after is reported as damage.
    /// Deflate cannot exceed 1032, but Zstandard can pack gigabytes of zeros into a kilobyte.
    pub expansion_ratio: u64,
    /// How many bytes are read at a time. Records larger than this still come through.
    pub block_bytes: usize,
    /// Who opens the inputs, where that is not left to this module: somebody who can stop a reader that waits.
    pub opener: Option<Opener>,
}

impl Default for Options {
    fn default() -> Options {
        // A block and what is found in it stay in the second-level cache beside the rest; smaller ones cost system calls.
        Options { expansion_bytes: 64 << 30, expansion_ratio: 1_000, block_bytes: 128 << 10, opener: None }
    }
}

/// What was odd about the times in the inputs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TimeCounters {
    /// Records whose time lies outside 1970–2554 and was moved to the nearer end.
    pub saturated: u64,
    /// Records without a time of their own (pcapng simple packets); they got the time of the record before.
    pub absent: u64,
}

/// Open capture files, to be read in time order.
pub struct Capture {
    kind: Kind,
    names: Vec<String>,
}

enum Kind {
    One(Box<File>),
    Many(Merge),
}

/// Opens captures with the default [`Options`]. See [`open_with`].
///
/// # Errors
/// The first input that is missing, unreadable, empty or not a capture.
pub fn open(inputs: &[Input]) -> Result<Capture, CaptureError> {
    open_with(inputs, &Options::default())
}

/// Opens captures and reads their headers. Several inputs are merged by time.
///
/// # Errors
/// The first input that is missing, unreadable, empty or not a capture.
pub fn open_with(inputs: &[Input], options: &Options) -> Result<Capture, CaptureError> {
    if inputs.is_empty() {
        return Err(CaptureError::NoInput);
    }
    if inputs.len() > usize::from(u16::MAX) {
        return Err(CaptureError::TooMany { count: inputs.len() });
    }
    if inputs.iter().filter(|input| matches!(input, Input::Stdin)).count() > 1 {
        return Err(CaptureError::StdinTwice);
    }
    let names = inputs.iter().map(Input::name).collect();
    // Merging holds one block of every file at once: many files get smaller blocks, so that the sum stays bounded.
    let block_bytes = if inputs.len() > 64 { options.block_bytes.min(64 << 10) } else { options.block_bytes };
    let options = Options { block_bytes, ..*options };
    let mut files = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        files.push(File::open(input, index as u16, &options)?);
    }
    let kind = match files.pop() {
        Some(only) if files.is_empty() => Kind::One(Box::new(only)),
        last => Kind::Many(Merge::new(files.into_iter().chain(last), options.block_bytes)),
    };
    Ok(Capture { kind, names })
}

impl Capture {
    /// Puts the next records into `batch`, replacing what was in it. False at the end of all inputs; the batch is
    /// then empty. A batch can be reused and sent to other threads.
    pub fn next_batch(&mut self, batch: &mut Batch) -> bool {
        match &mut self.kind {
            Kind::One(file) => file.next_batch(batch),
            Kind::Many(merge) => merge.next_batch(batch),
        }
    }

    /// The damage found so far, by file. Complete when [`next_batch`](Self::next_batch) has returned false.
    pub fn damages(&self) -> Vec<Damage> {
        self.files().filter_map(|file| file.damage().cloned()).collect()
    }

    /// What was odd about the times so far.
    pub fn times(&self) -> TimeCounters {
        self.files().fold(TimeCounters::default(), |sum, file| {
            let times = file.times();
            TimeCounters { saturated: sum.saturated + times.saturated, absent: sum.absent + times.absent }
        })
    }

    /// How many bytes of the inputs, as they are stored, were read so far.
    pub fn consumed(&self) -> u64 {
        self.files().map(File::consumed).sum()
    }

    /// The names of the inputs, indexed by [`Record::file`].
    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn files(&self) -> impl Iterator<Item = &File> {
        match &self.kind {
            Kind::One(file) => std::slice::from_ref(&**file).iter(),
            Kind::Many(merge) => merge.files().iter(),
        }
    }
}
