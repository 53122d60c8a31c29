//! `flowlapse run` as a user meets it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowlapse")).current_dir(env!("CARGO_MANIFEST_DIR")).arg("run").args(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("the directory can be made");
    path
}

const HANG: &str = "scenarios/ssh-ipvs-nat.json";

#[test]
fn a_story_and_its_timeline() {
    let out = text(&run(&[HANG, "--base-only", "--timeline"]).stdout);
    let lines: Vec<&str> = out.lines().collect();
    let end = |from: usize| lines[lines.len() - from];
    assert!(out.contains("server: opened at 0.002 s; read 96 bytes"), "{out}");
    assert!(out.contains("  by the timer: established, ipvsadm --set (first value)\n"), "{out}");
    assert!(out.contains("expected: yes"), "{out}");
    assert_eq!(
        end(5),
        "    931.000750  box 1   ! forgets the flow: ESTABLISHED for 900 s (15m) since the last packet that counted, at 31.001 s"
    );
    assert_eq!(end(4), "   7231.001000  server  ← [A] seq 96 ack 97");
    assert_eq!(end(3), "   7231.001250  box 1   ! finds no entry: a packet of the server: it passed without an entry, untranslated");
    assert_eq!(end(2), "   7231.001500  client  → [R] seq 97");
    assert_eq!(end(1), "   7231.002000  server  * ECONNRESET: Connection reset by peer");
}

#[test]
fn an_expectation_that_is_not_met_ends_with_1() {
    let out = run(&[HANG, "--base-only", "--set", "server.keepalive.time=600"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("NOT AS EXPECTED: server: still_open, not error"), "{}", text(&out.stdout));
}

#[test]
fn mistakes_end_with_2_and_one_line() {
    for (args, what) in [
        (&["scenarios/none.json"][..], "scenarios/none.json: no such file"),
        (&[HANG, "--variant", "x"], "no variant is called 'x'; there are"),
        (&[HANG, "--map", "server.keepalive.time=1..2"], "2 values required"),
        (&[HANG, "--map", "a=3..2", "b=1..5"], "from at least 1 s up to more"),
        (&["scenarios/schema/scenario.json"], "there is no key 'type' here"),
        (&[HANG, "--set", "events=[{\"at\":1,\"forget\":4}]"], "at events[0]: there is no box 4; the last one is 1"),
    ] {
        let out = run(args);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(2), String::new()), "{args:?}");
        assert!(text(&out.stderr).contains(what), "{}", text(&out.stderr));
    }
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let with =
        |threads: &str| run(&["scenarios/laptops-and-vpn.json", "scenarios/table-full.json", HANG, "--json", "--threads", threads]).stdout;
    let one = with("1");
    assert_eq!(one, with("3"));
    let document: serde_json::Value = serde_json::from_slice(&one).expect("JSON");
    assert_eq!(document["schema"], "flowlapse-run/1");
    let runs = document["runs"].as_array().expect("runs");
    assert!(runs.iter().any(|run| run["population"]["flows"] == 2000));
    let hang = runs.iter().find(|run| run["scenario"] == HANG && run["variant"].is_null()).expect("the hang");
    assert_eq!(hang["flow"]["server"]["errno"], "ECONNRESET");
    assert_eq!(hang["flow"]["forgotten"][0]["timeout_ns"], 900_000_000_000_u64);
    assert_ne!(one, run(&["scenarios/laptops-and-vpn.json", "--json", "--seed", "2"]).stdout);
}

/// What was written can be opened again, and a replay finds what the run said.
#[test]
fn captures_can_be_replayed() {
    let folder = scratch("captures");
    let prefix = folder.join("ssh");
    let out = run(&["scenarios/ssh-firewall.json", "--base-only", "--write-pcap", &prefix.display().to_string()]);
    assert_eq!(out.status.code(), Some(0), "{}{}", text(&out.stdout), text(&out.stderr));
    let mut names: Vec<String> =
        fs::read_dir(&folder).expect("written").map(|e| e.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["ssh-box1-client-side.pcapng", "ssh-box1-server-side.pcapng", "ssh-client.pcapng", "ssh-server.pcapng"]);
    let replay = Command::new(env!("CARGO_BIN_EXE_flowlapse"))
        .args(["replay", &folder.join("ssh-client.pcapng").display().to_string(), "--box", "conntrack:strict,established=3600", "--json"])
        .output()
        .expect("it runs");
    let document: serde_json::Value = serde_json::from_slice(&replay.stdout).expect("JSON");
    let found = document.to_string();
    assert!(found.contains("\"cut\""), "{found}");
}

#[test]
fn maps_in_characters_and_as_a_picture() {
    let axes = ["server.keepalive.time=300..7200:6", "path.0.ipvs.timeout_tcp=300..7200:5"];
    let plain = ["--set", r#"path=[{"ipvs":{"method":"nat"}}]"#, "--map", axes[0], axes[1]];
    let args: Vec<&str> = [HANG].into_iter().chain(plain).collect();
    let map = text(&run(&args).stdout);
    // A keepalive of 300 s is too late for a timer of 300 s, and in time for all others; the last column is too late for nearly all.
    let rows: Vec<&str> =
        map.lines().filter(|line| line.len() > 12 && line.as_bytes()[10] == b' ' && line[..10].trim().parse::<f64>().is_ok()).collect();
    assert_eq!(rows.len(), 5, "{map}");
    let cells = |row: usize| rows[row].split_whitespace().last().expect("cells").to_owned();
    assert_eq!(cells(4).chars().collect::<std::collections::BTreeSet<_>>().len(), 1, "{map}");
    assert_ne!(cells(0).chars().next(), cells(4).chars().next(), "{map}");
    let file = scratch("map").join("map.svg");
    let mut with_file = args.clone();
    let name = file.display().to_string();
    with_file.extend(["--svg", &name]);
    assert_eq!(run(&with_file).status.code(), Some(0));
    let svg = fs::read_to_string(&file).expect("written");
    assert!(svg.starts_with("<svg") && svg.contains("server.keepalive.time"), "{}", &svg[..200]);
}
