//! Files that are written whole or not at all: beside their place first, then moved there. The same for bytes that are at hand and
//! for streams.
//!
//! Nothing is promised about a machine that loses power: what was moved into place may not be on the disk yet. Devices, pipes and
//! what `/dev` and `/proc` name are written through. Nothing here knows what is written.

use super::{Failure, files};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The files beside their places that there are now, so that nothing of them is left when the program is ended at once.
static PARTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Links that are followed before it is said that they lead in a circle.
const LINKS_MAX: usize = 40;
/// Names that are tried for a file beside another.
const TRIES: u32 = 1000;

/// A file under way; without [`commit`](Pending::commit) nothing of it is left.
#[derive(Debug)]
pub struct Pending {
    /// The file beside, and the place; nothing where the place itself is written to.
    moves: Option<(PathBuf, PathBuf)>,
}

impl Pending {
    /// Puts the file in its place. To be called when all of it was written.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn commit(mut self) -> io::Result<()> {
        let Some((part, place)) = self.moves.take() else { return Ok(()) };
        let moved = fs::rename(&part, &place);
        forget(&part, moved.is_err());
        moved
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((part, _)) = self.moves.take() {
            forget(&part, true);
        }
    }
}

fn forget(part: &Path, remove: bool) {
    let mut parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    parts.retain(|other| other != part);
    if remove {
        let _ = fs::remove_file(part);
    }
}

/// Removes whatever is under way: the program ends now.
pub fn abandon() {
    let parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    for part in parts.iter() {
        let _ = fs::remove_file(part);
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// That it cannot be written, and why.
pub fn write_whole(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let (mut sink, pending) = begin(file)?;
        sink.write_all(bytes)?;
        drop(sink);
        pending.commit()
    };
    write().map_err(|error| files::unwritable(file, &error))
}

/// Begins a file: where to write, and what puts it in its place.
///
/// # Errors
/// What the operating system says.
pub fn begin(file: &Path) -> io::Result<(File, Pending)> {
    let place = resolved(file)?;
    if is_written_through(&place) {
        return Ok((through(&place)?, Pending { moves: None }));
    }
    let there = fs::metadata(&place).ok();
    if there.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    if there.is_some() {
        // A file that may not be written is not replaced either.
        OpenOptions::new().append(true).open(&place)?;
    }
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (sink, part) = beside(folder)?;
    let pending = Pending { moves: Some((part.clone(), place)) };
    if let Some(there) = there {
        fs::set_permissions(&part, there.permissions())?;
        keep_owner(&there, &part);
    }
    Ok((sink, pending))
}

/// A new file in a folder, under a name that no other program uses.
fn beside(folder: &Path) -> io::Result<(File, PathBuf)> {
    for _ in 0..TRIES {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = folder.join(format!(".flowlapse-{}-{number}.part", std::process::id()));
        // Known before it exists: an end between the two leaves nothing.
        let mut parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(sink) => {
                parts.push(part.clone());
                return Ok((sink, part));
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "there are too many unfinished files beside it"))
}

/// What a name means: where its links lead, also where nothing is there yet.
fn resolved(file: &Path) -> io::Result<PathBuf> {
    if file.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file name"));
    }
    let mut place = file.to_path_buf();
    for _ in 0..LINKS_MAX {
        if is_special(&place) {
            return Ok(place);
        }
        match fs::read_link(&place) {
            Ok(target) => place = place.parent().map_or(target.clone(), |folder| folder.join(&target)),
            Err(_) => return Ok(place),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "its links lead in a circle"))
}

/// Whether a path names something of the kernel's, such as `/dev/stdout` and `/proc/self/fd/3`.
fn is_special(place: &Path) -> bool {
    place.starts_with("/dev") && !place.starts_with("/dev/shm") || place.starts_with("/proc")
}

/// Whether a place is a device or a pipe, which a file must not replace.
fn is_written_through(place: &Path) -> bool {
    is_special(place) || fs::metadata(place).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

fn through(place: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        // The program's own outputs go on where they are.
        let own = match place.to_str() {
            Some("/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Some(io::stdout().as_fd().try_clone_to_owned()?),
            Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => Some(io::stderr().as_fd().try_clone_to_owned()?),
            _ => None,
        };
        if let Some(own) = own {
            return Ok(File::from(own));
        }
    }
    OpenOptions::new().write(true).open(place)
}

/// Gives a file the owner and the group of the one that it replaces, as far as that is allowed.
#[cfg(unix)]
fn keep_owner(there: &fs::Metadata, part: &Path) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let Ok(own) = fs::metadata(part) else { return };
    if (own.uid(), own.gid()) != (there.uid(), there.gid()) {
        let changed = chown(part, Some(there.uid()), Some(there.gid())).or_else(|_| chown(part, None, Some(there.gid())));
        // A change of owner may take bits away.
        if changed.is_ok() {
            let _ = fs::set_permissions(part, fs::Permissions::from_mode(there.mode() & 0o7777));
        }
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &fs::Metadata, _: &Path) {}

/// The files that a command is to read and to write, so that none is meant twice.
#[derive(Debug, Default)]
pub struct Names {
    seen: BTreeMap<Identity, String>,
}

/// What makes two names one file: device and number of what exists, the place of what does not.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Identity {
    File(u64, u64),
    Place(PathBuf),
}

impl Names {
    /// No files.
    pub fn new() -> Names {
        Names::default()
    }

    /// Adds a file that is read, under what the command line calls it.
    #[must_use]
    pub fn read(mut self, what: &str, file: &Path) -> Names {
        if let Some(identity) = identity(file) {
            self.seen.entry(identity).or_insert_with(|| what.to_owned());
        }
        self
    }

    /// Adds files that are read.
    #[must_use]
    pub fn reads<P: AsRef<Path>>(self, what: &str, files: impl IntoIterator<Item = P>) -> Names {
        files.into_iter().fold(self, |names, file| names.read(what, file.as_ref()))
    }

    /// Adds boxes, which may name files.
    #[must_use]
    pub fn boxes<S: AsRef<str>>(self, what: &str, specs: &[S]) -> Names {
        specs.iter().fold(self, |names, spec| {
            let spec = spec.as_ref().trim_start_matches('@');
            let whole = names.read(what, Path::new(spec));
            spec.rsplit_once(':').into_iter().fold(whole, |names, (file, _)| names.read(what, Path::new(file)))
        })
    }

    /// Adds a file that is written.
    ///
    /// # Errors
    /// That it is read, or written under another name.
    pub fn write(&mut self, what: &str, file: &Path) -> Result<(), Failure> {
        let Some(identity) = identity(file) else { return Ok(()) };
        match self.seen.insert(identity, what.to_owned()) {
            None => Ok(()),
            Some(other) => Err(Failure(format!("{what}: {} is named twice, by {other} too; nothing was written", file.display()))),
        }
    }

    /// Adds a file that is written, where there is one.
    ///
    /// # Errors
    /// As [`write`](Names::write).
    pub fn write_some(&mut self, what: &str, file: Option<&Path>) -> Result<(), Failure> {
        file.map_or(Ok(()), |file| self.write(what, file))
    }
}

/// What a file is known by; nothing for what may be named as often as one likes: devices, pipes, `-`.
fn identity(file: &Path) -> Option<Identity> {
    if file == Path::new("-") {
        return None;
    }
    let place = resolved(file).ok()?;
    if is_special(&place) {
        return None;
    }
    match fs::metadata(&place) {
        Ok(there) if there.is_file() => known(&there).or_else(|| fs::canonicalize(&place).ok().map(Identity::Place)),
        Ok(_) => None,
        Err(_) => {
            let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
            Some(Identity::Place(folder.join(place.file_name()?)))
        }
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere files have no numbers")]
fn known(there: &fs::Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some(Identity::File(there.dev(), there.ino()))
}

#[cfg(not(unix))]
fn known(_: &fs::Metadata) -> Option<Identity> {
    None
}
