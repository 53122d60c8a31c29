//! The program as a whole: help, man pages, completions, near misses, colours, quiet, exit codes; as a user meets them.

mod ends;
mod misses;
#[path = "../process/mod.rs"]
mod process;
mod texts;

use process::{Ran, SSH, STRICT, program};
use std::path::{Path, PathBuf};
use std::process::Output;

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn flowlapse(args: &[&str]) -> Ran {
    ran(program().args(args).output().expect("the program starts"))
}

fn with(variable: &str, value: &str, args: &[&str]) -> Ran {
    ran(program().env(variable, value).args(args).output().expect("the program starts"))
}

/// A directory of its own for a test's files.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the directory can be made");
    path
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = flowlapse(&["--help"]).out;
    let before_options = help.split("Every command:").next().expect("text");
    let rows = before_options.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    rows.filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect()
}
