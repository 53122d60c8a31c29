//! Where everything leaves the program: standard output and standard error.
//!
//! Words go through a net that lets lines and the program's own colours pass and nothing else that steers a terminal, so that a
//! place where a name was put into words as it came cannot do harm. A reader that goes away and a disk that is full are told in one
//! line, and the exit code tells them apart. Nothing here knows what is written.

use super::{Failure, exit, global};
use crate::report::plain::{self, JsonSink, WordSink, tamed};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};

/// The exit code that a failure to write asks for; 0 while everything could be written.
static BROKEN: AtomicU8 = AtomicU8::new(0);

/// The exit code that a failure to write to standard output asks for, where there was one.
pub fn broken() -> Option<u8> {
    Some(BROKEN.load(Ordering::Relaxed)).filter(|code| *code > 0)
}

/// Writes to standard output as it is: a capture, a script of the program's own.
///
/// # Errors
/// That it cannot be written, or that nobody reads it.
pub fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes words without colours to standard output.
///
/// # Errors
/// As [`raw`].
pub fn words(text: &str) -> Result<(), Failure> {
    raw(tamed(text, false).as_bytes())
}

/// Writes words to standard output that have colours where they are wanted.
///
/// # Errors
/// As [`raw`].
pub fn coloured(text: &str) -> Result<(), Failure> {
    raw(tamed(text, is_coloured()).as_bytes())
}

/// Writes a JSON document, or lines of JSON, to standard output.
///
/// # Errors
/// As [`raw`].
pub fn json(text: &str) -> Result<(), Failure> {
    raw(plain::json(text).as_bytes())
}

/// Writes words to standard output as they are made, with colours where they are wanted.
///
/// # Errors
/// As [`raw`].
pub fn coloured_into(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = WordSink::new(BufWriter::new(io::stdout().lock()), is_coloured());
    written(write(&mut out).and_then(|()| out.flush()))
}

/// Writes JSON to standard output as it is made.
///
/// # Errors
/// As [`raw`].
pub fn json_into(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = JsonSink(BufWriter::new(io::stdout().lock()));
    written(write(&mut out).and_then(|()| out.flush()))
}

/// What a finished write to standard output means.
///
/// # Errors
/// That it could not be written, or that nobody reads it.
pub fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            BROKEN.store(exit::CLOSED, Ordering::Relaxed);
            return Failure("standard output: its reader went away; the rest was not written".to_owned());
        }
        BROKEN.store(exit::USAGE, Ordering::Relaxed);
        Failure(format!("standard output cannot be written: {}", reason(&error)))
    })
}

/// An error of the operating system in its words, without its number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}

/// Words on standard error, without colours. Where that is closed or full there is nobody to tell.
pub fn aside(text: &str) {
    let _ = io::stderr().lock().write_all(tamed(text, false).as_bytes());
}

/// One line on standard error: why a command could not do its work.
pub fn complain(text: &str) {
    aside(&format!("flowlapse: {}\n", plain::printable(text)));
}

/// One line on standard error that is no error, for people; none with `--quiet`.
pub fn note(text: &str) {
    if !global::is_quiet() {
        complain(text);
    }
}

/// Whether standard output is to be coloured: by `--color`, or else by NO_COLOR, CLICOLOR_FORCE, CLICOLOR and whether it is a terminal.
pub fn is_coloured() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// How many columns a report has: those of the terminal, within reason, and a hundred where there is none.
pub fn width() -> usize {
    let terminal = io::stdout().is_terminal();
    terminal_size::terminal_size().filter(|_| terminal).map_or(100, |(width, _)| usize::from(width.0).clamp(40, 200))
}

/// What the parser of the command line says: help and version to standard output, mistakes to standard error. Gives the exit code.
pub fn parsed(error: &clap::Error) -> u8 {
    let words = error.render();
    // Mistakes quote the command line. A word of it that looks like a colour must not become one.
    let is_hostile = std::env::args_os().any(|word| word.to_string_lossy().contains(plain::is_hidden));
    if error.use_stderr() {
        let coloured = !is_hostile && anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        let text = if coloured { words.ansi().to_string() } else { words.to_string() };
        let _ = io::stderr().lock().write_all(tamed(&text, coloured).as_bytes());
        return exit::USAGE;
    }
    let coloured = !is_hostile && is_coloured();
    let text = if coloured { words.ansi().to_string() } else { words.to_string() };
    match raw(tamed(&text, coloured).as_bytes()) {
        Ok(()) => exit::RAN,
        Err(Failure(why)) => {
            complain(&why);
            broken().unwrap_or(exit::USAGE)
        }
    }
}
