//! The program itself: files on disk, exit codes, both outputs.

use crate::capture::{Ends, SECOND, pcap};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A capture on disk, gone with the test.
struct OnDisk(PathBuf);

impl OnDisk {
    fn new(name: &str, bytes: &[u8]) -> OnDisk {
        let path = std::env::temp_dir().join(format!("flowlapse-{}-{name}.pcap", std::process::id()));
        std::fs::write(&path, bytes).expect("the temporary folder takes a file");
        OnDisk(path)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn replay(capture: &OnDisk, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowlapse")).arg("replay").arg(&capture.0).args(arguments).output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn exit_codes_say_what_was_asked_for() {
    let file = pcap(&Ends::number(1).talk("open c10 s20 c @ c10", 900 * SECOND));
    let whole = OnDisk::new("codes", &file);
    let cut = OnDisk::new("codes-cut", &file[..file.len() - 5]);
    for (capture, arguments, code) in [
        (&whole, &["--box", "ipvs"][..], 0),
        (&whole, &["--box", "ipvs", "--fail-on", "cut,dormant"], 1),
        (&whole, &["--box", "ipvs:tcp=901", "--fail-on", "cut,dormant"], 0),
        (&whole, &["--box", "ipvs", "--fail-on", "dead"], 2),
        (&whole, &["--box", "ipvz"], 2),
        (&whole, &[], 2),
        (&whole, &["--box", "ipvs", "--jiffies", "1@2"], 2),
        (&whole, &["--box", "ipvs", "--strict"], 0),
        (&cut, &["--box", "ipvs", "--strict"], 3),
        (&cut, &["--box", "ipvs"], 0),
    ] {
        let output = replay(capture, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.is_empty(), code == 2, "findings go to standard output, complaints do not");
    }
}

#[test]
fn the_report_for_people_names_what_decides() {
    let capture = OnDisk::new("people", &pcap(&Ends::number(1).talk("open c10 s20 c @ c10", 900 * SECOND)));
    let text = out(&replay(&capture, &["--box", "ipvs"]));
    for part in ["cut", "ESTABLISHED", "ipvsadm --set 901 0 0", "tcp.stream eq 0", "10.0.0.1:40001", "frame 7", "Connection reset by peer"]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour into a pipe");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let limited = out(&replay(&capture, &["--box", "ipvs", "--count", "6"]));
    assert!(limited.contains("1 survives") || limited.contains("survives"), "{limited}");
}

#[test]
fn threads_do_not_show_in_the_bytes() {
    let capture = OnDisk::new("threads", &pcap(&Ends::number(1).talk("open c10 s20 c @ c10", 900 * SECOND)));
    let with = |threads: &str| replay(&capture, &["--box", "ipvs", "--json", "--threads", threads]).stdout;
    assert_eq!(with("1"), with("3"));
    let document: Value = serde_json::from_slice(&with("2")).expect("it is JSON");
    assert_eq!(document["flows"][0]["decisive"]["victim_frame"], 7);
}
