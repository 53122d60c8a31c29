//! Archives as whole commands: what parts of an archive come to together is what one machine says of all its captures, byte for byte.

#[path = "../process/mod.rs"]
mod process;

mod cut;
mod mistakes;
mod whole;

use process::{Ran, program};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("archives-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// What a command comes to, with something on its standard input.
fn piped(args: &[&str], input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut child = program().args(args).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // A command that says no may not read it all.
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it ends");
    feeder.join().expect("it fed");
    (output.status.code().unwrap_or(-1), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The same with words on both sides.
fn ran(args: &[&str]) -> Ran {
    let output = program().args(args).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// What a command prints that runs.
fn told(args: &[&str]) -> String {
    let ran = ran(args);
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
    ran.out
}
