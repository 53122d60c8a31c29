//! How commands end, with real signals, pipes, full disks and files: what is printed by then, which exit code, what is left on a disk.

#![cfg(target_os = "linux")]

mod files;
mod full;
mod interrupts;
#[path = "../process/mod.rs"]
mod process;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use process::{Ran, SSH, STRICT, program};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

fn flowlapse(args: &[&str]) -> Ran {
    let output = program().args(args).output().expect("the program starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A directory of its own for a test's files.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ends-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("the directory can be made");
    path
}

/// The files of a directory, by name.
fn listed(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the directory is there");
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// A named pipe in a directory.
fn pipe(folder: &Path) -> PathBuf {
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("there is mkfifo").success());
    pipe
}

/// A program under way, whose outputs are read as they come.
struct Going {
    child: Child,
    outputs: Vec<JoinHandle<Vec<u8>>>,
}

impl Going {
    fn begin(args: &[&str]) -> Going {
        let mut child = program().args(args).stdin(Stdio::piped()).spawn().expect("the program starts");
        let read = |mut from: Box<dyn Read + Send>| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = from.read_to_end(&mut bytes);
                bytes
            })
        };
        let outputs = vec![read(Box::new(child.stdout.take().expect("piped"))), read(Box::new(child.stderr.take().expect("piped")))];
        let going = Going { child, outputs };
        Going::until("it heeds interrupts", || going.heeds());
        going
    }

    fn of(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }

    /// Whether interrupts have a handler.
    fn heeds(&self) -> bool {
        let status = self.of("status");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map_or("0", str::trim);
        u64::from_str_radix(mask, 16).is_ok_and(|mask| mask >> 1 & 1 == 1)
    }

    /// How many bytes were read so far, by any means.
    fn read(&self) -> u64 {
        let io = self.of("io");
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    fn until(what: &str, is_so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < Duration::from_mins(1), "{what}: not within a minute");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Gives it bytes and leaves its input open; returns when it has taken them.
    fn feed(&mut self, bytes: &[u8]) {
        let before = self.read();
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(bytes).and_then(|()| input.flush()).expect("it reads");
        Going::until("it has read", || self.read() >= before + bytes.len() as u64);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is there");
    }

    /// Its end, which must come soon; its input stays open until then.
    fn end(mut self) -> Ran {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            if begin.elapsed() > Duration::from_mins(1) {
                let _ = self.child.kill();
                panic!("it does not end");
            }
            thread::sleep(Duration::from_millis(2));
        };
        let mut texts = self.outputs.into_iter().map(|one| String::from_utf8(one.join().expect("read")).expect("text"));
        Ran { code: status.code().unwrap_or(-1), out: texts.next().unwrap_or_default(), err: texts.next().unwrap_or_default() }
    }
}
