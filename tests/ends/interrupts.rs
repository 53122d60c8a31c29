//! An interrupt ends whatever is under way; what was known by then is printed and says that it is incomplete, and the exit code is 130.

use super::{Going, Ran, SSH, STRICT, flowlapse, listed, scratch};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A conversation of years, which takes far longer to run than any test.
fn endless(title: &str) -> Value {
    json!({
        "title": title, "duration": "30000d",
        "path": ["conntrack:established=7200"],
        "client": {"keepalive": {"time": 1, "intvl": 1}}, "server": {},
        "script": [{"at": "1s", "who": "client", "send": 48}],
        "expect": {"client": {"end": "still_open"}},
    })
}

fn written(folder: &Path, name: &str, value: &Value) -> String {
    let path = folder.join(name);
    fs::write(&path, value.to_string()).expect("it can be written");
    path.to_str().expect("text").to_owned()
}

fn interrupted(args: &[&str]) -> Ran {
    let going = Going::begin(args);
    std::thread::sleep(std::time::Duration::from_millis(300));
    going.signal(Signal::SIGINT);
    let ran = going.end();
    assert_eq!(ran.code, 130, "{args:?}: {} {}", ran.out, ran.err);
    ran
}

/// Feeds a pipe with a capture, leaves it open, and interrupts.
fn fed(args: &[&str], bytes: &[u8], signal: Signal) -> Ran {
    let mut going = Going::begin(args);
    going.feed(bytes);
    going.signal(signal);
    let ran = going.end();
    assert_eq!(ran.code, 130, "{args:?}: {} {}", ran.out, ran.err);
    ran
}

#[test]
fn what_came_through_a_pipe_is_judged() {
    let capture = fs::read(SSH).expect("the fixture is there");
    let mut to_its_end = Going::begin(&["replay", "-", "--box", STRICT, "--json"]);
    to_its_end.feed(&capture);
    drop(to_its_end.child.stdin.take());
    let whole: Value = serde_json::from_str(&to_its_end.end().out).expect("JSON");
    assert_eq!((&whole["interrupted"], &whole["complete"]), (&json!(false), &json!(true)));
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let ran = fed(&["replay", "-", "--box", STRICT, "--json"], &capture, signal);
        let told: Value = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!(told["interrupted"], true);
        assert_eq!(told["complete"], false);
        assert_eq!(told["flows"], whole["flows"]);
    }
    // The rest of a record that has not come is no damage.
    let ran = fed(&["replay", "-", "--box", STRICT, "--json"], &capture[..capture.len() - 20], Signal::SIGINT);
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&told["interrupted"], &told["damage"]), (&json!(true), &json!([])));
    assert_eq!(told["packets"]["records"].as_u64(), Some(23), "{told}");
}

#[test]
fn every_command_that_reads_a_pipe_says_what_it_knows() {
    let capture = fs::read(SSH).expect("the fixture is there");
    let other = "conntrack:strict,established=60";
    for args in [
        &["replay", "-", "--box", STRICT][..],
        &["infer", "-"],
        &["sweep", "-", "--box", STRICT, "--vary", "conntrack.established=60,7200"],
        &["tune", "-", "--box", STRICT],
        &["diff", STRICT, other, "-"],
        &["capacity", "-", "--box", STRICT],
    ] {
        let ran = fed(args, &capture, Signal::SIGINT);
        assert!(ran.out.contains("24 packets") && ran.out.contains("\ninterrupted: "), "{args:?}: {}", ran.out);
        let args = [args, &["--json"]].concat();
        let told: Value = serde_json::from_str(&fed(&args, &capture, Signal::SIGINT).out).expect("JSON");
        assert_eq!(told["interrupted"], true, "{args:?}: {told}");
    }
    let lines = fed(&["replay", "-", "--box", STRICT, "--ndjson"], &capture, Signal::SIGINT).out;
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) && lines.contains("\"interrupted\":true"), "{lines}");
    let args = ["sweep", "-", "--box", STRICT, "--vary", "conntrack.established=60,7200", "--csv"];
    assert!(fed(&args, &capture, Signal::SIGINT).err.contains("interrupted: "), "rows have no place for it");
}

#[test]
fn pictures_and_pages_say_so_too() {
    let folder = scratch("pictures");
    let capture = fs::read(SSH).expect("the fixture is there");
    let [svg, html] = ["kept.svg", "page.html"].map(|name| folder.join(name));
    let draw = format!("survival={}", svg.display());
    let args = ["replay", "-", "--box", STRICT, "--draw", &draw, "--html", html.to_str().expect("text"), "--quiet"];
    fed(&args, &capture, Signal::SIGINT);
    assert!(fs::read_to_string(&svg).expect("it was drawn").contains("interrupted: incomplete"));
    assert!(fs::read_to_string(&html).expect("it was written").contains("Interrupted: this is what was known by then"));
    assert_eq!(listed(&folder), ["kept.svg", "page.html"]);
}

#[test]
fn a_pipe_that_sends_nothing_can_be_interrupted() {
    let folder = scratch("pipes");
    let pipe = super::pipe(&folder);
    let pipe = pipe.to_str().expect("text");
    for args in [
        &["replay", "-", "--box", STRICT][..],
        // Nobody has it open for writing.
        &["replay", pipe, "--box", STRICT],
        &["infer", "-"],
        &["tune", "-", "--box", STRICT],
        &["audit", "-"],
        &["audit", pipe],
        &["run", "-"],
        &["synth", "-", "-o", "/dev/null"],
        &["conform", pipe],
    ] {
        let going = Going::begin(args);
        going.signal(Signal::SIGINT);
        let ran = going.end();
        assert_eq!(ran.code, 130, "{args:?}: {}{}", ran.out, ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{args:?}: {}", ran.err);
    }
}

#[test]
fn lines_that_were_read_are_audited() {
    let listing = b"net.netfilter.nf_conntrack_tcp_timeout_established = 600\nnet.ipv4.tcp_keepalive_time = 72";
    let ran = fed(&["audit", "-"], listing, Signal::SIGINT);
    assert!(ran.out.starts_with("interrupted: ") && ran.out.contains("600"), "{}", ran.out);
    let metrics = scratch("metrics").join("x.prom");
    let args = ["audit", "-", "--json", "--prometheus", metrics.to_str().expect("text")];
    let told: Value = serde_json::from_str(&fed(&args, listing, Signal::SIGINT).out).expect("JSON");
    assert_eq!(told["interrupted"], true);
    assert!(!metrics.exists(), "metrics of a part are not written");
}

#[test]
fn a_run_tells_what_came_until_then() {
    let folder = scratch("run");
    let (first, second) = (written(&folder, "a.json", &endless("a")), written(&folder, "b.json", &endless("b")));
    let ran = interrupted(&["run", &first, &second]);
    assert!(ran.out.contains("interrupted at ") && ran.out.contains("interrupted: 1 of 2 were not run"), "{}", ran.out);
    assert!(!ran.out.contains("expected"), "of what was stopped nobody knows it: {}", ran.out);
    let html = folder.join("page.html");
    let prefix = folder.join("case");
    let args = ["run", &first, "--json", "--html", html.to_str().expect("text"), "--write-pcap", prefix.to_str().expect("text")];
    let told: Value = serde_json::from_str(&interrupted(&args).out).expect("JSON");
    assert_eq!((&told["interrupted"], &told["not_run"]), (&json!(true), &json!(0)));
    assert_eq!(told["runs"][0]["flow"]["interrupted"], true);
    assert_eq!(listed(&folder), ["a.json", "b.json", "page.html"], "captures come whole or not at all");
    let ran = interrupted(&["run", &first, "--map", "client.keepalive.time=1..2:2", "server.keepalive.time=1..2:2"]);
    assert!(ran.out.contains("not run: interrupted"), "{}", ran.out);
}

#[test]
fn populations_sweeps_and_captures_of_them_end_too() {
    let folder = scratch("population");
    let mut many = endless("many");
    many["population"] = json!({"flows": 3_000_000});
    for key in ["script", "expect"] {
        many.as_object_mut().expect("an object").remove(key);
    }
    let many = written(&folder, "many.json", &many);
    let ran = interrupted(&["run", &many]);
    assert!(ran.out.contains(" flows were not run to their end"), "{}", ran.out);
    let args = ["sweep", &many, "--vary", "conntrack.established=60,7200", "--beyond"];
    assert!(interrupted(&args).out.contains("interrupted: 2 of 2 were not run"));
    let told: Value = serde_json::from_str(&interrupted(&[&args[..], &["--json"]].concat()).out).expect("JSON");
    assert_eq!((&told["interrupted"], &told["not_run"]), (&json!(true), &json!(2)));
}

#[test]
fn synth_writes_whole_or_not() {
    let folder = scratch("synth");
    let out = folder.join("big.pcap");
    let ran = interrupted(&["synth", "benches/big.json", "-o", out.to_str().expect("text"), "--flows", "50000000"]);
    assert!(ran.err.contains("interrupted: nothing was written"), "{}", ran.err);
    assert_eq!(listed(&folder), [""; 0]);
    // Two signals at once: the second ends the program, and nothing is left either.
    let going = Going::begin(&["synth", "benches/big.json", "-o", out.to_str().expect("text"), "--flows", "50000000"]);
    Going::until("it writes", || !listed(&folder).is_empty());
    for signal in [Signal::SIGSTOP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGCONT] {
        going.signal(signal);
    }
    assert_eq!(going.end().code, 130);
    assert_eq!(listed(&folder), [""; 0]);
}

#[test]
fn a_gate_that_was_interrupted_is_red_in_every_format() {
    let folder = scratch("check");
    let (long, base) = (written(&folder, "long.json", &endless("long")), folder.join("base.txt"));
    let files = ["json", "junit", "sarif", "markdown", "html"].map(|name| (format!("--{name}"), folder.join(format!("out-{name}"))));
    let mut args = vec!["check", &long, "scenarios/ssh-firewall.json", "--github", "--threads", "2"];
    for (option, file) in &files {
        args.extend([option.as_str(), file.to_str().expect("text")]);
    }
    args.extend(["--baseline", base.to_str().expect("text"), "--update-baseline"]);
    let ran = interrupted(&args);
    assert!(ran.out.contains("interrupted: ") && ran.out.contains("::error") && ran.err.contains("cases were not run"), "{}", ran.out);
    for (option, file) in &files {
        let text = fs::read_to_string(file).expect("it was written");
        assert!(text.contains("cases were not run"), "{option}: {text}");
    }
    let told: Value = serde_json::from_str(&fs::read_to_string(&files[0].1).expect("written")).expect("JSON");
    assert_eq!((&told["interrupted"], &told["outcome"]), (&json!(true), &json!("could-not-run")));
    assert!(!base.exists(), "a baseline of a part is not written");
}

#[test]
fn a_simulation_of_tables_tells_how_far_it_came() {
    let args = ["capacity", "scenarios/table-full.json", "--scale", "200x", "--global", "--threads", "2"];
    let going = Going::begin(&args);
    std::thread::sleep(std::time::Duration::from_secs(2));
    going.signal(Signal::SIGINT);
    let ran = going.end();
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(ran.out.contains("interrupted: "), "{}", ran.out);
}

/// A capture of many flows, long enough to be interrupted in the middle.
fn large(folder: &Path) -> (String, u64) {
    let path = folder.join("large.pcap");
    let name = path.to_str().expect("text").to_owned();
    let ran = flowlapse(&["synth", "benches/big.json", "-o", &name, "--flows", "40000", "--quiet"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    (name, fs::metadata(&path).expect("written").len())
}

/// Interrupts a command when it has read so much of files.
fn after(bytes: u64, args: &[&str]) -> Ran {
    let going = Going::begin(args);
    let begin = going.read();
    Going::until("it reads", || going.read() >= begin + bytes || going.of("status").is_empty() || going.of("status").contains("(zombie)"));
    going.signal(Signal::SIGINT);
    let ran = going.end();
    assert_eq!(ran.code, 130, "{args:?}: {}{}", ran.out, ran.err);
    ran
}

#[test]
fn second_readings_end_too() {
    let folder = scratch("second");
    let (capture, size) = large(&folder);
    let (svg, small) = (folder.join("x.svg"), folder.join("small.pcapng"));
    let draw = format!("lanes:worst={}", svg.display());
    let few = ["--threads", "1", "--box", "conntrack:strict,established=600"];
    let life = format!("lanes={}", svg.display());
    let explain = [&["explain", capture.as_str(), "--draw", &life][..], &few].concat();
    // The first reading is cut: its part is read again, and the story is of that part.
    let ran = after(size / 4, &explain);
    assert!(ran.out.contains("interrupted: only what was read so far is judged"), "{}", ran.out);
    // The second is cut: the verdict is known, the story is not.
    let ran = after(size + size / 16, &explain);
    assert!(ran.out.contains("interrupted: "), "{}", ran.out);
    let json = [&explain[..], &["--json"]].concat();
    let told: Value = serde_json::from_str(&after(size + size / 16, &json).out).expect("JSON");
    assert_eq!(told["interrupted"], true);
    let ran = after(size / 4, &[&["shrink", capture.as_str(), "-o", small.to_str().expect("text")][..], &few].concat());
    assert!(ran.err.contains("interrupted: nothing was written") && !small.exists(), "{}", ran.err);
    let ran = after(size + size / 16, &[&["replay", capture.as_str(), "--draw", &draw][..], &few].concat());
    assert!(ran.err.contains("was not drawn") && ran.out.contains("flows:"), "{}", ran.err);
    let ran = after(size / 4, &[&["tune", capture.as_str()][..], &few].concat());
    assert!(ran.out.contains("interrupted: "), "{}", ran.out);
}
