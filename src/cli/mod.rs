//! The command line: one file a command; this one parses, dispatches, and turns failures into a line and an exit code.

pub mod again;
#[cfg(feature = "columnar")]
pub mod archived;
pub mod audit;
pub mod capacity;
pub mod check;
pub mod command;
pub mod completions;
pub mod conform;
pub mod diff;
pub mod draw;
pub mod explain;
pub mod files;
pub mod global;
pub mod infer;
pub mod interrupt;
pub mod man;
#[cfg(feature = "columnar")]
pub mod merge;
pub mod outlet;
pub mod output;
pub mod presets;
pub mod progress;
pub mod replay;
pub mod run;
#[cfg(feature = "columnar")]
pub mod segments;
pub mod shrink;
pub mod sweep;
pub mod synth;
pub mod traffic;
pub mod tune;
pub mod which;

pub use outlet::{is_coloured, note, width};
pub use output::write_whole;

use crate::policy::hint::nearest;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Exit codes of the whole program; documented in the README and stable.
pub mod exit {
    /// It ran, with or without findings.
    pub const RAN: u8 = 0;
    /// Something that `--fail-on` names was found; or, for `conform`, a disagreement.
    pub const FOUND: u8 = 1;
    /// The command line is wrong, or nothing could be analysed.
    pub const USAGE: u8 = 2;
    /// Something was left out of the analysis, and `--strict` was given.
    pub const INCOMPLETE: u8 = 3;
    /// Interrupted; what was known so far was printed.
    pub const INTERRUPTED: u8 = 130;
    /// The reader of standard output went away before everything was written. What a shell shows of a program that ends so.
    pub const CLOSED: u8 = 141;
}

/// Why a command could not do its work: one line for people.
#[derive(Debug)]
pub struct Failure(pub String);

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure(text)
    }
}

/// What a command ends with.
pub type Ended = Result<u8, Failure>;

/// Which flows would a stateful middlebox forget too early, when, and by which timer?
#[derive(Parser, Debug)]
#[command(name = "flowlapse", version, disable_help_flag = true, disable_version_flag = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Version: -V in short, --version with the kernels that are modelled
    #[arg(long, short = 'V', action = ArgAction::Version, help_heading = "Every command")]
    version: Option<bool>,
    #[command(flatten)]
    global: global::Options,
}

#[derive(Subcommand, Debug)]
enum Command {
    Replay(replay::Args),
    Explain(explain::Args),
    Run(run::Args),
    Sweep(sweep::Args),
    Tune(tune::Args),
    Diff(diff::Args),
    Infer(infer::Args),
    Capacity(capacity::Args),
    Shrink(shrink::Args),
    Audit(audit::Args),
    Check(check::Args),
    Synth(synth::Args),
    #[cfg(feature = "columnar")]
    Segments(segments::Args),
    #[cfg(feature = "columnar")]
    Merge(merge::Args),
    Presets(presets::Args),
    Conform(conform::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    global::heed_colour(&words);
    // Headings, groups and examples are put together only where they are shown: they cost more than replaying a small capture.
    let parsed = Cli::try_parse_from(&words)
        .or_else(|_| command::program().try_get_matches_from(&words).and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(why) = unbuilt(&error) {
                outlet::complain(&why);
                return ExitCode::from(exit::USAGE);
            }
            // Help and version are answers, not errors.
            return ExitCode::from(outlet::parsed(&hinted(error)));
        }
    };
    // Before there is a thread that signals could go to.
    interrupt::heed_ignored();
    let ended = cli.global.settle().and_then(|()| run(cli.command));
    ExitCode::from(ended.unwrap_or_else(|Failure(text)| {
        outlet::complain(&text);
        // What an interrupt left undone is no mistake of the command line.
        let interrupted = interrupt::is_asked().then_some(exit::INTERRUPTED);
        outlet::broken().or(interrupted).unwrap_or(exit::USAGE)
    }))
}

fn run(command: Command) -> Ended {
    // Whatever reads or runs something looks at the flag; a worker of `conform` is asked to end by the program that started it.
    if !matches!(command, Command::Presets(_) | Command::Completions(_) | Command::Man(_) | Command::Conform(_)) {
        interrupt::flag();
    }
    match command {
        Command::Replay(args) => replay::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Infer(args) => infer::run(&args),
        Command::Capacity(args) => capacity::run(&args),
        Command::Shrink(args) => shrink::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Synth(args) => synth::run(&args),
        #[cfg(feature = "columnar")]
        Command::Segments(args) => segments::run(&args),
        #[cfg(feature = "columnar")]
        Command::Merge(args) => merge::run(&args),
        Command::Presets(args) => presets::run(&args),
        Command::Conform(args) => conform::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// What the program would know if it had been built with more.
fn unbuilt(error: &clap::Error) -> Option<String> {
    let asked = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(word)) if ["segments", "merge", "--segments", "--part", "--archive"].contains(&word.as_str()) => {
            Some(word)
        }
        _ => None,
    })?;
    let missing = cfg!(not(feature = "columnar"));
    missing.then(|| format!("{asked}: this program was built without archives; build it with --features columnar"))
}

/// A mistake with the option that was probably meant, where the parser knows none: it compares otherwise, and misses swapped letters.
fn hinted(mut error: clap::Error) -> clap::Error {
    let known = error.get(ContextKind::SuggestedArg).is_some() || error.get(ContextKind::SuggestedSubcommand).is_some();
    if known || !matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand) {
        return error;
    }
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    };
    let program = command::program();
    if let Some(word) = word(ContextKind::InvalidSubcommand) {
        let names = program.get_subcommands().map(clap::Command::get_name);
        if let Some(near) = nearest(&word, names) {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![near.to_owned()]));
        }
        return error;
    }
    let Some(word) = word(ContextKind::InvalidArg) else { return error };
    // Whose options? The first word that is a command's name says.
    let sub = std::env::args().skip(1).find_map(|name| program.find_subcommand(name));
    let options = sub.into_iter().chain([&program]).flat_map(clap::Command::get_arguments).filter(|arg| !arg.is_hide_set());
    let options: Vec<&str> = options.filter_map(clap::Arg::get_long).collect();
    if let Some(near) = word.strip_prefix("--").and_then(|bare| nearest(bare, options)) {
        error.remove(ContextKind::Suggested);
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{near}")));
    }
    error
}

/// Writes a report in words without colours to standard output, unless `--quiet` was given.
///
/// # Errors
/// As [`outlet::raw`].
pub fn report(text: &str) -> Result<(), Failure> {
    if global::is_quiet() { Ok(()) } else { outlet::words(text) }
}

/// The same for a report that has colours where they are wanted.
///
/// # Errors
/// As [`outlet::raw`].
pub fn report_coloured(text: &str) -> Result<(), Failure> {
    if global::is_quiet() { Ok(()) } else { outlet::coloured(text) }
}

/// Writes a finished JSON document to standard output.
///
/// # Errors
/// As [`outlet::raw`].
pub fn print_json(document: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(document).map_err(|error| Failure(error.to_string()))?;
    text.push('\n');
    outlet::json(&text)
}

/// When a text is coloured.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColourArg {
    /// On a terminal, unless the environment says otherwise (NO_COLOR, CLICOLOR_FORCE)
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColourArg {
    fn choice(self) -> anstream::ColorChoice {
        match self {
            ColourArg::Always => anstream::ColorChoice::Always,
            ColourArg::Never => anstream::ColorChoice::Never,
            ColourArg::Auto => anstream::ColorChoice::Auto,
        }
    }
}
