//! How it ends and what it prints by the way: exit codes, colours, `--quiet`, `--threads`, a reader that goes away.

use super::{SSH, STRICT, flowlapse, program, scratch, with};
use std::io::Read;
use std::process::Stdio;

#[test]
fn exit_codes_are_those_of_the_table() {
    const REPLAY: [&str; 4] = ["replay", SSH, "--box", STRICT];
    let (cut, lives) = ([&REPLAY[..], &["--fail-on", "cut"]].concat(), [&REPLAY[..], &["--fail-on", "marginal"]].concat());
    for (args, code) in [
        (&REPLAY[..], 0),
        (&cut, 1),
        (&lives, 0),
        (&["audit", "--ipvsadm", "900,120,300", "--fail-on", "error"], 1),
        (&["run", "scenarios/ssh-ipvs-nat.json", "--base-only"], 0),
        (&["run", "scenarios/ssh-ipvs-nat.json", "--base-only", "--set", "server.keepalive.time=600"], 1),
        (&["diff", STRICT, "conntrack:strict,established=7200", SSH, "--fail-on-new-cut"], 0),
        (&["diff", "conntrack:strict,established=7200", STRICT, SSH, "--fail-on-new-cut"], 1),
        (&["replay", SSH], 2),
        (&["replay", "no-such.pcap", "--box", "ipvs"], 2),
        (&["nonsense"], 2),
        (&[], 2),
    ] {
        let ran = flowlapse(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
    }
    // A capture that was cut off: 3, if it was asked for.
    let folder = scratch("cut-off");
    let whole = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(SSH)).expect("readable");
    let file = folder.join("cut-off.pcap");
    std::fs::write(&file, &whole[..whole.len() - 10]).expect("writable");
    let file = file.to_str().expect("text");
    assert_eq!(flowlapse(&["replay", file, "--box", STRICT]).code, 0);
    assert_eq!(flowlapse(&["replay", file, "--box", STRICT, "--strict"]).code, 3);
}

#[test]
#[cfg(unix)]
fn an_interrupt_ends_it_with_130() {
    let folder = scratch("interrupted");
    let file = folder.join("big.pcap");
    let mut child = program().args(["synth", "benches/big.json", "-o"]).arg(&file).stdout(Stdio::null()).spawn().expect("it starts");
    // Once it writes, it heeds.
    let files = || std::fs::read_dir(&folder).expect("it is there").count();
    for _ in 0..200 {
        if files() > 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(files(), 0, "half a file is left");
}

#[test]
fn a_reader_that_goes_away_is_told_and_no_panic() {
    for args in [
        &["presets", "--json"][..],
        &["--help"],
        &["man"],
        &["completions", "zsh"],
        &["replay", SSH, "--box", STRICT, "--json"],
        &["nonsense"],
    ] {
        // Gone before the program begins.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = program().args(args).stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut err = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        let status = child.wait().expect("it ends");
        assert!(!err.contains("panicked") && !err.contains("cannot be written"), "{args:?}: {err}");
        assert_eq!(status.code(), Some(if args == ["nonsense"] { 2 } else { 141 }), "{args:?}");
    }
}

#[test]
fn colour_is_as_it_was_asked_for() {
    let replay = ["replay", SSH, "--box", STRICT];
    let coloured = |text: &str| text.contains('\u{1b}');
    assert!(!coloured(&flowlapse(&replay).out), "a pipe is no terminal");
    assert!(coloured(&with("CLICOLOR_FORCE", "1", &replay).out));
    assert!(!coloured(&with("NO_COLOR", "1", &replay).out));
    for always in [&["--color", "always"][..], &["--color=always"]] {
        // Before the command and behind it.
        for args in [[always, &replay[..]].concat(), [&replay[..], always].concat()] {
            assert!(coloured(&flowlapse(&args).out), "{args:?}");
            // What was said outweighs the environment.
            assert!(coloured(&with("NO_COLOR", "1", &args).out), "{args:?}");
        }
    }
    let never = ["--color", "never"];
    assert!(!coloured(&with("CLICOLOR_FORCE", "1", &[&replay[..], &never].concat()).out));
    // Help and mistakes too.
    assert!(coloured(&flowlapse(&["--color", "always", "--help"]).out));
    assert!(
        coloured(&flowlapse(&["replay", "--help", "--color=always"]).out)
            || coloured(&flowlapse(&["--color=always", "replay", "--help"]).out)
    );
    assert!(coloured(&flowlapse(&["--color=always", "nonsense"]).err));
    assert!(!coloured(&flowlapse(&["nonsense"]).err));
    assert!(!coloured(&with("CLICOLOR_FORCE", "1", &["--color=never", "nonsense"]).err));
    assert!(coloured(&with("CLICOLOR_FORCE", "1", &["--help"]).out));
}

#[test]
fn quiet_leaves_what_was_asked_for() {
    let folder = scratch("quiet");
    let svg = folder.join("kept.svg");
    let draw = format!("survival={}", svg.display());
    let ran = flowlapse(&["-q", "replay", SSH, "--box", STRICT, "--draw", &draw, "--fail-on", "cut"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (1, "", ""));
    assert!(svg.exists());
    for args in [
        &["explain", SSH, "--box", STRICT][..],
        &["infer", SSH],
        &["tune", SSH, "--box", STRICT],
        &["diff", STRICT, "conntrack", SSH],
        &["sweep", SSH, "--box", STRICT, "--vary", "conntrack.established=60,7200"],
        &["capacity", SSH, "--box", STRICT],
        &["audit", "--ipvsadm", "900,120,300"],
        &["run", "scenarios/ssh-ipvs-nat.json", "--base-only"],
        &["conform", "fixtures/recordings/dialogues"],
    ] {
        let ran = flowlapse(&[args, &["--quiet"]].concat());
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{args:?}");
    }
    // JSON and CSV were asked for, a mistake is told.
    assert!(flowlapse(&["replay", SSH, "--box", STRICT, "--json", "--quiet"]).out.starts_with('{'));
    assert!(!flowlapse(&["presets", "-q"]).out.is_empty());
    assert!(flowlapse(&["replay", "no-such.pcap", "--box", "ipvs", "-q"]).err.contains("no such file"));
}

#[test]
fn threads_are_everybodys_and_change_nothing() {
    for args in [&["replay", SSH, "--box", STRICT, "--json"][..], &["conform", "fixtures/recordings/dialogues"], &["presets"]] {
        let one = flowlapse(&[args, &["--threads", "1"]].concat());
        assert_eq!(one.code, 0, "{args:?}: {}", one.err);
        assert_eq!(one.out, flowlapse(&[&["--threads", "3"], args].concat()).out, "{args:?}");
        assert_eq!(one.out, flowlapse(args).out, "{args:?}");
    }
    assert_eq!(flowlapse(&["presets", "--threads", "many"]).code, 2);
}

#[cfg(not(feature = "columnar"))]
#[test]
fn a_program_without_archives_says_what_it_was_built_without() {
    for args in [&["segments", SSH, "-o", "-"][..], &["merge", "parts"], &["replay", SSH, "--box", STRICT, "--segments"]] {
        let ran = flowlapse(args);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (2, "", 1), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("built without archives"), "{args:?}: {}", ran.err);
    }
}
