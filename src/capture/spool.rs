//! What comes out of a pipe, kept so that it can be read more than once: as it comes, compressed or not, in a temporary file without
//! a name, which is gone when the program ends in whatever way.
//!
//! The memory that it takes does not depend on how much comes. It knows nothing of captures.
use super::source::Stopped;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// How much is handed on at a time.
const PIECE: usize = 256 << 10;

/// Bytes that were read from a pipe.
#[derive(Clone, Debug)]
pub struct Spool {
    name: String,
    file: Arc<Mutex<fs::File>>,
}

/// Why something could not be kept.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The pipe gave an error.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// The file gave one.
    #[error(
        "is read more than once and has to be kept in a temporary file, but after {written} bytes {}: {source}; \
         TMPDIR names a directory with more room, or give a file as input",
        folder.display()
    )]
    Write {
        /// How much could be kept.
        written: u64,
        /// Where.
        folder: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
}

impl Spool {
    /// Reads everything; `name` is for messages.
    ///
    /// # Errors
    /// What could not be done.
    pub fn of(name: &str, from: &mut (impl Read + ?Sized)) -> Result<Spool, SpoolError> {
        let mut written = 0;
        let fail = |written, source| SpoolError::Write { written, folder: std::env::temp_dir(), source };
        let mut file = tempfile::tempfile().map_err(|error| fail(0, error))?;
        let mut piece = vec![0; PIECE];
        loop {
            match from.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => {
                    file.write_all(&piece[..read]).map_err(|error| fail(written, error))?;
                    written += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What came until then is what there is.
                Err(error) if Stopped::is(&error) => break,
                Err(error) => return Err(SpoolError::Read(error)),
            }
        }
        Ok(Spool { name: name.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads it from its beginning. Each reader is at a place of its own.
    pub(super) fn reader(&self) -> impl Read + Send + use<> {
        Reader { file: Arc::clone(&self.file), at: 0 }
    }
}

impl PartialEq for Spool {
    fn eq(&self, other: &Spool) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for Spool {}

struct Reader {
    file: Arc<Mutex<fs::File>>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_again_by_several_at_a_time() {
        let bytes: Vec<u8> = (0..700_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let spool = Spool::of("a pipe", &mut &bytes[..]).expect("there is room");
        let (mut one, mut other) = (spool.reader(), spool.reader());
        let (mut first, mut second) = (vec![0; 1000], Vec::new());
        one.read_exact(&mut first).expect("it can be read");
        other.read_to_end(&mut second).expect("it can be read");
        one.read_to_end(&mut first).expect("it can be read");
        assert!(first == bytes && second == bytes);
    }

    #[test]
    fn an_error_of_the_pipe_is_told() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        assert_eq!(Spool::of("a pipe", &mut Broken).expect_err("it is broken").to_string(), "cannot be read: gone");
    }
}
