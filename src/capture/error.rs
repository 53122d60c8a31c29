//! What can be wrong with an input: errors before the first record, damage after it.
//!
//! Nothing here knows the formats; each message arrives here as a fragment.
use std::fmt;
use std::io;
use thiserror::Error;

/// What a capture may be, for the end of a message.
const EXPECTED: &str = "expected pcap or pcapng, plain or compressed with gzip or zstd";

/// Why an input could not be opened as a capture. Each is one line that names the input.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// No input at all.
    #[error("no capture was given; {EXPECTED}")]
    NoInput,
    /// File indices have 16 bits.
    #[error("{count} captures were given; at most 65535 can be merged")]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// Standard input can be read once.
    #[error("-: standard input was given twice; name each input once")]
    StdinTwice,
    /// The operating system refused.
    #[error("{input}: {}", refusal(source))]
    Unreadable {
        /// The name of the input.
        input: String,
        /// The refusal.
        source: io::Error,
    },
    /// A directory.
    #[error("{input}: is a directory; expected a capture file")]
    Directory {
        /// The name of the input.
        input: String,
    },
    /// Zero bytes.
    #[error("{input}: is empty; {EXPECTED}")]
    Empty {
        /// The name of the input.
        input: String,
    },
    /// Some other kind of file.
    #[error("{input}: not a capture: {what}; {EXPECTED}")]
    Foreign {
        /// The name of the input.
        input: String,
        /// What it begins with, or what it is.
        what: String,
    },
    /// A capture whose header is unusable.
    #[error("{input}: {what}")]
    Header {
        /// The name of the input.
        input: String,
        /// What is wrong with the header.
        what: String,
    },
}

/// What the operating system said, without error numbers.
fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file; check the path".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied; check who may read it".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Where a capture stops making sense. The records before this place were delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The index of the file, as in [`Record::file`](super::Record::file).
    pub file: u16,
    /// Where the first unusable byte is, counted in the stream after decompression.
    pub offset: u64,
    /// The number of the last frame that was delivered; 0 for none.
    pub after_frame: u32,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged after frame {}, at byte {}: {}", self.after_frame, self.offset, self.what)
    }
}
