//! `flowlapse conform --live` as far as it can be tried without a kernel to compare with, and a short run where there is one.

#![cfg(target_os = "linux")]

use std::process::{Command, Output};

fn flowlapse(args: &[&str], path: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowlapse"));
    command.args(args);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command.output().expect("the program starts")
}

fn refused(args: &[&str], path: Option<&str>) -> String {
    let output = flowlapse(args, path);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn options_of_the_live_comparison_want_it() {
    let options: [&[&str]; 6] =
        [&["--for", "5"], &["--seed", "1"], &["--kernel", "uml"], &["--variant", "ct-default"], &["--record", "x"], &["--dialogues"]];
    for option in options {
        let told = refused(&[&["conform", "fixtures/recordings"], option].concat(), None);
        assert!(told.contains("--live"), "{told}");
    }
}

#[test]
fn mistakes_get_one_line() {
    let told = refused(&["conform", "--live", "--variant", "ct-defualt"], None);
    assert!(told.starts_with("flowlapse: no variant is called 'ct-defualt'; did you mean 'ct-default'?"), "{told}");
    let told = refused(&["conform", "--live", "--dialect", "banana"], None);
    assert_eq!(told, "flowlapse: no conntrack dialect is called 'banana'; `flowlapse presets` lists them all\n");
    let told = refused(&["conform", "--live", "--dialect", "el8"], None);
    assert_eq!(told, "flowlapse: --dialect: live kernels are held to a release such as linux-6.1, not to 'el8'\n");
    let told = refused(&["conform", "--live", "--dialogues", "--variant", "ct-default"], None);
    assert!(told.contains("cannot be used with"), "{told}");
    let told = refused(&["conform", "--live", "--for", "soon"], None);
    assert!(told.contains("'soon' is not a duration"), "{told}");
}

#[test]
fn a_kernel_that_is_not_there_is_named_in_one_line() {
    let told = refused(&["conform", "--live", "--kernel", "uml", "--for", "1"], Some("/nowhere"));
    assert_eq!(
        told,
        "flowlapse: no comparison with kernel 'uml': User Mode Linux is not installed (no linux.uml; Debian package user-mode-linux)\n"
    );
}

/// Where neither kernel is to be had, recordings are still compared; where no recording is named, there is nothing to say.
#[test]
fn without_kernels_the_recordings_still_count() {
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/recordings/steps/ct-udp-6.18.jsonl.zst");
    // Without `ip` no testbed can be built, whatever the kernel has.
    let output = flowlapse(&["conform", "--live", "--for", "1", recording], Some("/nowhere"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(err.contains("no comparison with kernel 'uml'") && err.contains("no comparison with kernel 'running'"), "{err}");
    assert!(out.trim_end().ends_with("steps, 0 disagree, 0 undecidable"), "{out}");
    let told = refused(&["conform", "--live", "--for", "1"], Some("/nowhere"));
    assert!(told.ends_with("flowlapse: there is no kernel to compare with\n"), "{told}");
}

/// Holds the running kernel to its own rules, and to those of a release that differs: the first agrees, the second must not.
/// The recorded twins, which need no kernel, are in `recordings.rs`.
#[test]
fn the_running_kernel_agrees_with_itself_and_not_with_an_old_release() {
    let short = ["conform", "--live", "--kernel", "running", "--for", "3", "--seed", "1", "--variant", "ct-default"];
    let output = flowlapse(&short, None);
    if output.status.code() == Some(2) {
        eprintln!("SKIPPED, this machine's kernel is not to be had: {}", String::from_utf8_lossy(&output.stderr).trim());
        return;
    }
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}");
    let steps: usize = out.lines().last().and_then(|line| line.split(' ').next()?.parse().ok()).expect("the closing line");
    assert!(steps > 100, "{out}");

    let output = flowlapse(&[&short[..], &["--dialect", "linux-4.18"]].concat(), None);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    // What is printed as the smallest recording is one, and it shows the same disagreement to those rules.
    let header = out.lines().position(|line| line.starts_with("{\"format\":1")).expect("a recording");
    let recording: Vec<&str> = out.lines().skip(header).take_while(|line| line.starts_with('{')).collect();
    let as_old = recording.join("\n").replacen(&kernel_of(recording[0]), "4.18.0", 1);
    let again = flowlapse::conform::compare("printed", &as_old).expect("it is a recording");
    assert_eq!(again.disagree, 1, "{as_old}");
    assert_eq!(again.steps, recording.len() - 1);
}

fn kernel_of(header: &str) -> String {
    let header: serde_json::Value = serde_json::from_str(header).expect("a header");
    header["kernel"].as_str().expect("a release").to_owned()
}

/// Two real sockets on whatever kernels are to be had: hosts and box agree with the model, and what was recorded would not if
/// an application had been told something else.
#[test]
fn two_sockets_agree_with_the_model_and_not_if_they_are_told_something_else() {
    let folder = std::env::temp_dir().join(format!("flowlapse-test-dialogues-{}", std::process::id()));
    let kept = folder.display().to_string();
    let output = flowlapse(&["conform", "--live", "--dialogues", "--for", "10", "--seed", "1", "--record", &kept], None);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(2) {
        eprintln!("SKIPPED, no kernel is to be had: {}", err.trim());
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let mut compared = 0;
    for file in std::fs::read_dir(&folder).expect("recordings").map(|entry| entry.expect("a file").path()) {
        let bytes = zstd::decode_all(std::fs::File::open(&file).expect("a file")).expect("zstd");
        let text = String::from_utf8(bytes).expect("text");
        let again = flowlapse::conform::compare("kept", &text).expect("it is a recording");
        // Who is told of the end of the stream has not been told of the connection.
        let other = flowlapse::conform::compare("other", &text.replace("\"open\"]", "\"eof\"]")).expect("it is a recording");
        assert_eq!(again.steps, other.disagree, "{}", file.display());
        compared += again.steps;
    }
    let told: usize = out.lines().last().and_then(|line| line.split(' ').next()?.parse().ok()).expect("the closing line");
    assert!(compared > 0 && compared == told, "{compared} kept, {out}");
    std::fs::remove_dir_all(&folder).expect("it can be removed");
}
