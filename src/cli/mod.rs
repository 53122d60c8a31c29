//! The command line: one file a command; this one parses, dispatches, and turns failures into a line and an exit code.

pub mod again;
pub mod audit;
pub mod capacity;
pub mod conform;
pub mod diff;
pub mod draw;
pub mod explain;
pub mod infer;
pub mod presets;
pub mod progress;
pub mod replay;
pub mod run;
pub mod shrink;
pub mod sweep;
pub mod synth;
pub mod traffic;
pub mod tune;
pub mod which;

use clap::{Parser, Subcommand};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
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
#[command(name = "flowlapse", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
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
    Synth(synth::Args),
    Presets(presets::Args),
    Conform(conform::Args),
}

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() { exit::USAGE } else { exit::RAN };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let ended = match cli.command {
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
        Command::Synth(args) => synth::run(&args),
        Command::Presets(args) => presets::run(&args),
        Command::Conform(args) => conform::run(&args),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(Failure(text)) => {
            let _ = writeln!(io::stderr(), "flowlapse: {text}");
            ExitCode::from(exit::USAGE)
        }
    }
}

/// Writes a finished answer to standard output. A reader that went away is no error: it has seen what it wanted.
///
/// # Errors
/// Any other failure to write, such as a full disk.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(text).and_then(|()| out.flush()))
}

/// Writes a finished JSON document to standard output.
///
/// # Errors
/// As [`print()`].
pub fn print_json(document: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(document).map_err(|error| Failure(error.to_string()))?;
    text.push('\n');
    print(text.as_bytes())
}

/// How many columns a report has: those of the terminal, within reason, and a hundred where there is none.
pub fn width() -> usize {
    let terminal = io::stdout().is_terminal();
    terminal_size::terminal_size().filter(|_| terminal).map_or(100, |(width, _)| usize::from(width.0).clamp(40, 200))
}

/// When a text is coloured.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColourArg {
    /// On a terminal, unless NO_COLOR says otherwise
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColourArg {
    /// Whether standard output is to be coloured.
    pub fn is_wanted(self) -> bool {
        let choice = || anstream::AutoStream::choice(&io::stdout());
        match self {
            ColourArg::Always => true,
            ColourArg::Never => false,
            ColourArg::Auto => io::stdout().is_terminal() && choice() != anstream::ColorChoice::Never,
        }
    }
}

/// What a finished write to standard output means; see [`print()`].
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(format!("standard output cannot be written: {error}"))),
        _ => Ok(()),
    }
}

/// Writes a file whole or not at all: beside its place first, then moved there.
///
/// # Errors
/// That it cannot be written, and why.
pub fn write_whole(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |error: io::Error| Failure(format!("{}: cannot be written: {error}", file.display()));
    // A device or a pipe is written to; it must not be replaced by a file.
    if std::fs::metadata(file).is_ok_and(|there| !there.is_file()) {
        return std::fs::write(file, bytes).map_err(fail);
    }
    let mut name = file.file_name().ok_or_else(|| Failure(format!("{}: is no file name", file.display())))?.to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, file)).map_err(|error| {
        let _ = std::fs::remove_file(&part);
        fail(error)
    })
}
