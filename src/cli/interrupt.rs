//! Interrupts: Ctrl-C, and the signals that ask a program to end. The first one raises a flag that all work looks at; a second one
//! ends the program at once.
//!
//! What waits for a pipe or a terminal looks at the flag too, several times a second: nothing is read any more once it is raised,
//! and what was read so far stands.

use super::{exit, note, output};
use crate::capture::{self, Capture, CaptureError, Input, Opened, Opener, Stopped};
use crate::engine::pipeline::Job;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);
static HANDLER: Once = Once::new();

/// The flag of work that an interrupt that has come already must not end.
pub static NEVER: AtomicBool = AtomicBool::new(false);

/// The flag that an interrupt raises; from now on the first one does no more than that.
pub fn flag() -> &'static AtomicBool {
    HANDLER.call_once(|| {
        // Without a handler an interrupt simply ends the program; that is no reason not to run.
        let _ = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::SeqCst) {
                output::abandon();
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
        });
    });
    &ASKED
}

/// Whether an interrupt has come.
pub fn is_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Keeps signals ignored that were ignored when the program began, as `nohup` and shells do for what runs in the background: the
/// handler would take all of them. To be called before any thread is started.
#[cfg(target_os = "linux")]
pub fn heed_ignored() {
    use nix::sys::signal::{SigSet, Signal};
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        if ignored.unwrap_or(0) >> (signal as u32 - 1) & 1 == 1 {
            set.add(signal);
        }
    }
    let _ = set.thread_block();
}

/// Keeps signals ignored that were ignored when the program began; known on Linux alone.
#[cfg(not(target_os = "linux"))]
pub fn heed_ignored() {}

/// So many records stand for whatever was kept of standard input when the interrupt came.
pub const KEPT: u64 = u64::MAX - 1;

/// Readings of the same input one after the other, as answers need them. An interrupt ends the one that is under way; those after it
/// read what that one had read, and no more.
#[derive(Debug)]
pub struct Readings {
    /// How many records the reading had read that was ended.
    records: AtomicU64,
    told: AtomicBool,
}

impl Default for Readings {
    fn default() -> Readings {
        Readings { records: AtomicU64::new(u64::MAX), told: AtomicBool::new(false) }
    }
}

impl Readings {
    /// What the next reading is to do, and what may end it.
    pub fn next(&self, job: Job) -> (Job, &'static AtomicBool) {
        let most = self.records.load(Ordering::Relaxed);
        if most == u64::MAX {
            return (job, flag());
        }
        if most < KEPT && !self.told.swap(true, Ordering::Relaxed) {
            note("interrupted: what was read is read again for the answer; a second interrupt ends the program");
        }
        (Job { records_max: Some(job.records_max.unwrap_or(most).min(most)), ..job }, &NEVER)
    }

    /// A reading has ended, early or not, after so many records.
    pub fn ended(&self, early: bool, records: u64) {
        if early {
            self.records.fetch_min(records, Ordering::Relaxed);
        }
    }

    /// Whether one of them was ended early.
    pub fn was_cut(&self) -> bool {
        self.records.load(Ordering::Relaxed) < u64::MAX
    }
}

/// Opens captures whose reading an interrupt ends, also where it waits for a pipe.
///
/// # Errors
/// As [`capture::open`].
pub fn open(inputs: &[Input]) -> Result<Capture, CaptureError> {
    capture::open_with(inputs, &capture::Options { opener: Some(Opener(opened)), ..capture::Options::default() })
}

/// What may let a reader wait: standard input, named pipes, devices. Nothing for files and what is in memory.
fn opened(input: &Input) -> io::Result<Opened> {
    match input {
        Input::Stdin => Ok(Some(stdin())),
        Input::Path(path) if goes_by(path) => Ok(Some(Box::new(Patient::new(waiting(path)?)))),
        _ => Ok(None),
    }
}

/// Whether what a name stands for can be read once: a named pipe, a device.
pub fn goes_by(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// Standard input, to be read until it ends or an interrupt comes.
pub fn stdin() -> Box<dyn Read + Send> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        if let Ok(own) = io::stdin().as_fd().try_clone_to_owned() {
            return Box::new(Patient::new(File::from(own)));
        }
    }
    Box::new(io::stdin())
}

/// All of standard input; what came until then where an interrupt came.
///
/// # Errors
/// That it cannot be read.
pub fn stdin_whole() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match stdin().read_to_end(&mut bytes) {
        Err(error) if !Stopped::is(&error) => Err(error),
        _ => Ok(bytes),
    }
}

/// All of a file, which may be a pipe; what came until then where an interrupt came.
///
/// # Errors
/// That it cannot be read.
pub fn whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match reader(path)?.read_to_end(&mut bytes) {
        Err(error) if !Stopped::is(&error) => Err(error),
        _ => Ok(bytes),
    }
}

/// A file, which may be a pipe, to be read until it ends or an interrupt comes.
///
/// # Errors
/// That it cannot be opened.
pub fn reader(path: &Path) -> io::Result<impl Read + Send + use<>> {
    let is_file = std::fs::metadata(path)?.is_file();
    Ok(Patient::new(if is_file { File::open(path)? } else { waiting(path)? }))
}

/// Opens a named pipe or a device without waiting for somebody who writes.
#[cfg(target_os = "linux")]
fn waiting(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)
}

#[cfg(not(target_os = "linux"))]
fn waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// A reader that waits for bytes only as long as no interrupt has come.
struct Patient {
    file: File,
    /// Whether there can be anything to wait for.
    waits: bool,
}

impl Patient {
    fn new(file: File) -> Patient {
        let waits = !file.metadata().is_ok_and(|there| there.is_file());
        Patient { file, waits }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.waits {
                wait(&self.file)?;
            }
            match self.file.read(buffer) {
                // Somebody else was faster.
                Err(error) if self.waits && error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Waits until there is something to read.
#[cfg(target_os = "linux")]
fn wait(file: &File) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, poll};
    use std::os::fd::AsFd;
    /// Milliseconds between two looks at the flag.
    const LOOK: u16 = 100;
    loop {
        if is_asked() {
            return Err(Stopped::error());
        }
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], LOOK) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn wait(_: &File) -> io::Result<()> {
    if is_asked() { Err(Stopped::error()) } else { Ok(()) }
}
