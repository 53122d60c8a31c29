//! Where the bytes come from: files, standard input, memory; decompressed by what they begin with.
//!
//! The only place of the library that reads captures' files. Nothing here knows packets.
use super::Options;
use super::error::CaptureError;
use super::spool::Spool;
use flate2::read::MultiGzDecoder;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// One input of an analysis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A file, a named pipe, a device.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// Bytes that are already in memory, under a name for messages.
    Bytes {
        /// What messages call it.
        name: String,
        /// The bytes of the file.
        bytes: Arc<[u8]>,
    },
    /// What came out of a pipe.
    Spooled(Spool),
}

impl Input {
    /// The input that a command-line argument names: `-` is standard input, everything else a path.
    pub fn from_arg(argument: &OsStr) -> Input {
        if argument == "-" { Input::Stdin } else { Input::Path(PathBuf::from(argument)) }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        match self {
            Input::Path(path) => path.display().to_string(),
            Input::Stdin => "-".to_owned(),
            Input::Bytes { name, .. } => name.clone(),
            Input::Spooled(spool) => spool.name().to_owned(),
        }
    }
}

/// A source of bytes, where somebody else has opened one.
pub type Opened = Option<Box<dyn Read + Send>>;

/// Opens inputs in another way than this module does, or leaves them to it.
#[derive(Clone, Copy, Debug)]
pub struct Opener(pub fn(&Input) -> io::Result<Opened>);

impl PartialEq for Opener {
    fn eq(&self, other: &Opener) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Opener {}

/// Why a reader that [`Opener`] made reads no further: somebody asked it to stop. What came before it is all there is, and no damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

impl Stopped {
    /// As a reader says it.
    pub fn error() -> io::Error {
        io::Error::other(Stopped)
    }

    /// Whether a reader said so.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>)
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Stopped {}

type Raw = Counted<io::Chain<io::Cursor<Vec<u8>>, Box<dyn Read + Send>>>;

enum Stream {
    Plain(Raw),
    Gzip(Box<MultiGzDecoder<Raw>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Raw>>>),
}

/// A stream of decompressed bytes that remembers why it ended.
pub(super) struct Source {
    stream: Stream,
    produced: u64,
    options: Options,
    failure: Option<String>,
    stopped: bool,
    /// What was decompressed and not taken yet, from `taken` on.
    piece: Vec<u8>,
    taken: usize,
}

/// How much is decompressed at a time. A decompressor that comes upon damage does not say what it had made in that go: so much may be
/// lost before the damage, and always the same, whoever reads.
const PIECE: usize = 8 << 10;

impl Source {
    pub(super) fn open(input: &Input, options: &Options) -> Result<Source, CaptureError> {
        let unreadable = |source| CaptureError::Unreadable { input: input.name(), source };
        let other = options.opener.map_or(Ok(None), |Opener(open)| open(input)).map_err(unreadable)?;
        let mut raw: Box<dyn Read + Send> = match (other, input) {
            (Some(other), _) => other,
            (None, Input::Path(path)) => {
                let file = fs::File::open(path).map_err(unreadable)?;
                // A directory opens like a file and fails at the first read with a message that helps nobody.
                if file.metadata().map_err(unreadable)?.is_dir() {
                    return Err(CaptureError::Directory { input: input.name() });
                }
                Box::new(file)
            }
            (None, Input::Stdin) => Box::new(io::stdin()),
            (None, Input::Bytes { bytes, .. }) => Box::new(io::Cursor::new(Arc::clone(bytes))),
            (None, Input::Spooled(spool)) => Box::new(spool.reader()),
        };
        let mut head = Vec::with_capacity(8);
        raw.by_ref().take(8).read_to_end(&mut head).map_err(unreadable)?;
        if head.is_empty() {
            return Err(CaptureError::Empty { input: input.name() });
        }
        let compression = Compression::of(&head);
        let chained = Counted { inner: io::Cursor::new(head).chain(raw), count: 0 };
        let stream = match compression {
            Compression::None => Stream::Plain(chained),
            Compression::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(chained))),
            Compression::Zstd => Stream::Zstd(Box::new(zstd::stream::read::Decoder::new(chained).map_err(unreadable)?)),
            Compression::Other(name, command) => {
                let what = format!("it is compressed with {name}; decompress it first with {command}");
                return Err(CaptureError::Foreign { input: input.name(), what });
            }
        };
        Ok(Source { stream, produced: 0, options: *options, failure: None, stopped: false, piece: Vec::new(), taken: 0 })
    }

    /// Reads until `buffer` is full or the stream has ended, and says how many bytes came.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buffer.len() && (self.taken < self.piece.len() || self.failure.is_none() && !self.stopped) {
            let rest = &mut buffer[filled..];
            if self.taken < self.piece.len() {
                let count = rest.len().min(self.piece.len() - self.taken);
                rest[..count].copy_from_slice(&self.piece[self.taken..self.taken + count]);
                self.taken += count;
                filled += count;
                continue;
            }
            let read = match &mut self.stream {
                Stream::Plain(raw) => raw.read(rest),
                Stream::Gzip(gzip) => decompress(gzip, &mut self.piece),
                Stream::Zstd(zstd) => decompress(zstd, &mut self.piece),
            };
            match read {
                Ok(count) if count > 0 && !matches!(self.stream, Stream::Plain(_)) => {
                    self.taken = 0;
                    self.produced += count as u64;
                    self.check_expansion();
                }
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if Stopped::is(&error) => self.stopped = true,
                Err(error) => self.failure = Some(self.describe(&error)),
            }
        }
        filled
    }

    /// What went wrong with the stream, if it did not simply end.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether somebody asked it to stop before its end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The name of the compression, if there is one.
    pub(super) fn compression(&self) -> Option<&'static str> {
        match self.stream {
            Stream::Plain(_) => None,
            Stream::Gzip(_) => Some("gzip"),
            Stream::Zstd(_) => Some("zstd"),
        }
    }

    /// How many bytes of the input, as it is stored, were read.
    pub(super) fn consumed(&self) -> u64 {
        match &self.stream {
            Stream::Plain(plain) => plain.count,
            Stream::Gzip(gzip) => gzip.get_ref().count,
            Stream::Zstd(zstd) => zstd.get_ref().get_ref().count,
        }
    }

    fn check_expansion(&mut self) {
        if matches!(self.stream, Stream::Plain(_)) {
            return;
        }
        let consumed = self.consumed();
        let Options { expansion_bytes, expansion_ratio, .. } = self.options;
        if self.produced > expansion_bytes && self.produced > consumed.saturating_mul(expansion_ratio) {
            self.failure = Some(format!(
                "the compressed input expands to more than {expansion_bytes} bytes and more than {expansion_ratio} times its size; \
                 decompress it first if it is meant to"
            ));
        }
    }

    fn describe(&self, error: &io::Error) -> String {
        match self.compression() {
            Some(name) if error.kind() == io::ErrorKind::UnexpectedEof => format!("the {name} stream is cut short"),
            Some(name) => format!("the {name} stream is damaged: {error}"),
            None => format!("cannot be read further: {error}"),
        }
    }
}

/// Puts the next piece into `piece`; nothing is in it where there was none.
fn decompress(from: &mut impl Read, piece: &mut Vec<u8>) -> io::Result<usize> {
    piece.resize(PIECE, 0);
    let read = from.read(piece);
    piece.truncate(*read.as_ref().unwrap_or(&0));
    read
}

enum Compression {
    None,
    Gzip,
    Zstd,
    Other(&'static str, &'static str),
}

impl Compression {
    fn of(head: &[u8]) -> Compression {
        match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A Zstandard stream may begin with a skippable frame, as parallel compressors write.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0x04, 0x22, 0x4d, 0x18, ..] => Compression::Other("lz4", "lz4 -d"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Compression::Other("xz", "xz -d"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Other("bzip2", "bzip2 -d"),
            [b'P', b'K', 3, 4, ..] => Compression::Other("zip", "unzip"),
            _ => Compression::None,
        }
    }
}

/// Counts the compressed bytes, to know the ratio.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}
