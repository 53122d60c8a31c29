//! A disk that is full, a reader that went away, nobody at standard error: one line, a code of its own, no panic.

use super::{Ran, SSH, STRICT, listed, program, scratch};
use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// Every command, with something to print.
const COMMANDS: [&[&str]; 24] = [
    &["--help"],
    &["--version"],
    &["replay", "--help"],
    &["replay", SSH, "--box", STRICT],
    &["replay", SSH, "--box", STRICT, "--json"],
    &["replay", SSH, "--box", STRICT, "--ndjson"],
    &["explain", SSH, "--box", STRICT],
    &["run", "scenarios/ssh-firewall.json", "--json"],
    &["run", "scenarios/ssh-firewall.json"],
    &["run", "--schema"],
    &["sweep", SSH, "--box", STRICT, "--vary", "conntrack.established=60,7200"],
    &["sweep", SSH, "--box", STRICT, "--vary", "conntrack.established=60,7200", "--csv"],
    &["tune", SSH, "--box", STRICT],
    &["diff", STRICT, "conntrack:strict,established=60", SSH, "--json"],
    &["infer", SSH],
    &["capacity", SSH, "--box", STRICT],
    &["shrink", SSH, "--box", STRICT, "-o", "-"],
    &["audit", "--ipvsadm", "900,120,300", "--prometheus", "-"],
    &["check", "scenarios/ssh-firewall.json", "--junit", "-"],
    &["synth", "scenarios/ssh-firewall.json", "-o", "-"],
    &["presets"],
    &["conform", "fixtures/recordings/pressure/ipvs-drop_entry-mode-3-6.1-hz250.jsonl", "--json"],
    &["completions", "bash"],
    &["man", "replay"],
];

fn told(mut command: Command) -> Ran {
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.signal(), None, "it ends by itself");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn a_full_disk_is_one_line_and_2() {
    for args in COMMANDS {
        let mut command = program();
        command.args(args).stdout(OpenOptions::new().write(true).open("/dev/full").expect("Linux has it"));
        let Ran { code, err, .. } = told(command);
        assert_eq!((code, err.as_str()), (2, "flowlapse: standard output cannot be written: No space left on device\n"), "{args:?}");
    }
}

#[test]
fn a_reader_that_went_away_is_one_line_and_141() {
    for args in COMMANDS {
        // Gone before the program begins: what it writes could be in the pipe before.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = program();
        command.args(args).stdout(writer);
        let Ran { code, err, .. } = told(command);
        let line = "flowlapse: standard output: its reader went away; the rest was not written\n";
        assert_eq!((code, err.as_str()), (141, line), "{args:?}");
    }
}

#[test]
fn standard_error_may_be_full_or_closed() {
    for args in [&["replay", "no-such-file", "--box", STRICT][..], &["--no-such-option"], &["check", "scenarios", "--no-such"]] {
        let mut command = program();
        command.args(args).stderr(OpenOptions::new().write(true).open("/dev/full").expect("Linux has it"));
        assert_eq!(told(command).code, 2, "{args:?}");
        let mut child = program().args(args).spawn().expect("the program starts");
        drop(child.stderr.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(2), "{args:?}");
        let line = format!("exec {} {} 2>&- >&-", env!("CARGO_BIN_EXE_flowlapse"), args.join(" "));
        let status = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).status().expect("a shell");
        assert_eq!(status.code(), Some(2), "{line}");
    }
}

/// Every option that writes a file, with `FILE` in its place.
const WRITERS: [&[&str]; 14] = [
    &["replay", SSH, "--box", STRICT, "--html", "FILE"],
    &["replay", SSH, "--box", STRICT, "--svg", "FILE"],
    &["replay", SSH, "--box", STRICT, "--draw", "gaps=FILE.csv"],
    &["explain", SSH, "--box", STRICT, "--draw", "lanes=FILE.svg"],
    &["run", "scenarios/ssh-firewall.json", "--base-only", "--write-pcap", "FILE"],
    &["run", "scenarios/ssh-firewall.json", "--html", "FILE"],
    &["sweep", SSH, "--box", STRICT, "--vary", "conntrack.established=60,7200", "--html", "FILE"],
    &["capacity", SSH, "--box", STRICT, "--html", "FILE"],
    &["shrink", SSH, "--box", STRICT, "-o", "FILE"],
    &["synth", "scenarios/ssh-firewall.json", "-o", "FILE"],
    &["check", "scenarios/ssh-firewall.json", "--json", "FILE"],
    &["check", "scenarios/ssh-firewall.json", "--sarif", "FILE"],
    &["audit", "--ipvsadm", "900,120,300", "--prometheus", "FILE"],
    &["check", "scenarios/ssh-firewall.json", "--baseline", "FILE", "--update-baseline"],
];

#[test]
fn a_file_that_does_not_fit_is_one_line_and_nothing_is_left() {
    let folder = scratch("full");
    for args in WRITERS {
        let place = folder.join("out");
        let args: Vec<String> = args.iter().map(|arg| arg.replace("FILE", place.to_str().expect("text"))).collect();
        let words: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        // No file may become longer than nothing at all; the signal that says so is ignored.
        let line = format!("ulimit -f 0; trap '' XFSZ; exec {} {}", env!("CARGO_BIN_EXE_flowlapse"), words.join(" "));
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        let Ran { code, err, .. } = told(shell);
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(err.starts_with("flowlapse: ") && err.ends_with("cannot be written: File too large\n"), "{args:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{args:?}: {err}");
        assert_eq!(listed(&folder), [""; 0], "{args:?}");
        // The file that was there before stays as it was.
        let ran = {
            for name in ["out", "out.svg", "out.csv", "out-client.pcapng"] {
                fs::write(folder.join(name), if args.contains(&"--baseline".to_owned()) { "" } else { "old" }).expect("it can be written");
            }
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
            told(shell)
        };
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert_eq!(listed(&folder), ["out", "out-client.pcapng", "out.csv", "out.svg"], "{args:?}");
        if !args.contains(&"--baseline".to_owned()) {
            assert_eq!(fs::read_to_string(folder.join("out-client.pcapng")).expect("there"), "old", "{args:?}");
        }
        for name in listed(&folder) {
            fs::remove_file(folder.join(name)).expect("it can be removed");
        }
    }
}
