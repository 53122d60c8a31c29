//! What every command takes: colour, quiet, threads, help. They are the program's, not a command's, and are kept here for all of it.
//!
//! `--quiet` is defined here and nowhere else: no progress, no notes on standard error, no report in words on standard output.
//! What was asked for by name comes all the same: JSON, CSV, files, a schema, a script, a list of presets, a man page. Errors are
//! told and exit codes tell.

use super::{ColourArg, Failure};
use clap::ArgAction;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static QUIET: AtomicBool = AtomicBool::new(false);
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The options of every command, before its name or behind it.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Every command")]
pub struct Options {
    /// When words are coloured: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, value_enum, value_name = "WHEN", global = true, default_value_t = ColourArg::Auto, hide_possible_values = true)]
    color: ColourArg,
    /// No report, progress or notes: only errors, files, JSON and CSV that were asked for, and the exit code
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Threads; 0 for one a core. No answer depends on it
    #[arg(long, value_name = "N", global = true, default_value_t = 0)]
    threads: usize,
    /// Help: -h in short, --help with examples
    #[arg(long, short, global = true, action = ArgAction::Help)]
    help: Option<bool>,
}

impl Options {
    /// Makes them known to the whole program.
    ///
    /// # Errors
    /// That threads cannot be started.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        self.color.choice().write_global();
        QUIET.store(self.quiet, Ordering::Relaxed);
        THREADS.store(self.threads, Ordering::Relaxed);
        if self.threads > 0 {
            // For what runs on the library's own threads; a pool of a command's own asks `threads`.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global();
            pool.map_err(|error| Failure(format!("--threads {}: {error}", self.threads)))?;
        }
        Ok(())
    }
}

/// Heeds `--color` before anything is parsed, for help and mistakes are coloured too. What is no choice is told later.
pub(super) fn heed_colour(args: &[OsString]) {
    let words: Vec<_> = args.iter().skip(1).map(|word| word.to_string_lossy()).take_while(|word| word != "--").collect();
    for (at, word) in words.iter().enumerate() {
        let value = match word.strip_prefix("--color") {
            Some("") => words.get(at + 1).map(AsRef::as_ref),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        if let Some(choice) = value.and_then(|value| <ColourArg as clap::ValueEnum>::from_str(value, false).ok()) {
            choice.choice().write_global();
        }
    }
}

/// Whether `--quiet` was given.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// The threads that were asked for.
///
/// # Errors
/// That they cannot be started.
pub fn pool() -> Result<rayon::ThreadPool, Failure> {
    rayon::ThreadPoolBuilder::new().num_threads(threads()).build().map_err(|error| Failure(format!("threads: {error}")))
}

/// How many threads were asked for; 0 for one a core.
pub fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}
