//! `sweep`, `tune` and `diff` as whole commands: what they say is what `replay` says, and mistakes are told in a line.

use serde_json::Value;
use std::process::{Command, Output};

const HANG: &str = "fixtures/captures/ssh-hang-firewall-established-3600-client-side.pcap";
const POPULATION: &str = "scenarios/laptops-and-vpn.json";

fn flowlapse(args: &[&str]) -> Output {
    let root = env!("CARGO_MANIFEST_DIR");
    Command::new(env!("CARGO_BIN_EXE_flowlapse")).args(args).current_dir(root).output().expect("it starts")
}

fn text(args: &[&str]) -> String {
    let output = flowlapse(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&text(args)).expect("a document")
}

/// The verdicts that `replay` counts.
fn replayed(capture: &str, boxes: &str) -> Value {
    json(&["replay", capture, "--box", boxes, "--json"])["summary"].clone()
}

#[test]
fn a_sweep_says_at_each_value_what_replay_says() {
    // 5398.507 s are the silence: both sides of it, and the fixture's own timer.
    let values = "60,3600,5398,5399,432000";
    let swept = json(&["sweep", HANG, "--box", "conntrack:strict", "--vary", &format!("conntrack.established={values}"), "--json"]);
    assert_eq!(swept["schema"], "flowlapse-sweep/1");
    assert_eq!(swept["replays"], 1);
    let cuts: Vec<u64> =
        swept["cases"].as_array().expect("cases").iter().map(|case| case["verdicts"]["cut"].as_u64().expect("a count")).collect();
    assert_eq!(cuts, [1, 1, 1, 0, 0]);
    for (value, case) in values.split(',').zip(swept["cases"].as_array().expect("cases")) {
        let alone = replayed(HANG, &format!("conntrack:strict,established={value}"));
        for (verdict, count) in case["verdicts"].as_object().expect("verdicts") {
            assert_eq!(alone[verdict], *count, "{verdict} at {value}");
        }
    }
}

#[test]
fn what_differs_in_more_than_timers_takes_a_replay_of_its_own() {
    let vary = ["--vary", "conntrack.established=600,4000", "--vary", "conntrack.rules=strict,accept-all"];
    let swept = json(&[&["sweep", HANG, "--box", "conntrack", "--json", "--beyond"][..], &vary].concat());
    assert_eq!(swept["replays"], 2);
    let verdicts: Vec<[u64; 2]> = swept["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .map(|case| ["cut", "repaired"].map(|verdict| case["verdicts"][verdict].as_u64().expect("a count")))
        .collect();
    assert_eq!(verdicts, [[1, 0], [0, 1], [1, 0], [0, 1]]);
}

#[test]
fn what_tune_recommends_keeps_the_flow_and_a_second_less_does_not() {
    let tuned = json(&["tune", HANG, "--box", "conntrack:strict,established=900", "--json"]);
    let timers = tuned["timers"].as_array().expect("timers");
    let established = timers.iter().find(|timer| timer["setting"] == "established").expect("it is there");
    assert_eq!(established["value_s"], 5399);
    assert_eq!(established["one_second_less"], "cuts");
    let value = established["value_s"].as_u64().expect("seconds");
    assert_eq!(replayed(HANG, &format!("conntrack:strict,established={value}"))["cut"], 0);
    assert_eq!(replayed(HANG, &format!("conntrack:strict,established={}", value - 1))["cut"], 1);
    let lines: Vec<&str> = tuned["paste"]
        .as_array()
        .expect("blocks")
        .iter()
        .flat_map(|b| b["lines"].as_array().expect("lines"))
        .filter_map(Value::as_str)
        .collect();
    for line in [
        "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=5399",
        "net.ipv4.tcp_keepalive_time = 868",
        "    ServerAliveInterval 868",
    ] {
        assert!(lines.iter().any(|l| l.trim() == line.trim()), "{line} in {lines:#?}");
    }
    // The keepalive is tried as well.
    let tried = tuned["tried"].as_array().expect("trials");
    let with = tried.iter().find(|trial| trial["policy"] == "as_it_is_with_keepalive").expect("it is tried");
    assert_eq!(with["verdicts"]["cut"], 0);
}

#[test]
fn every_line_to_paste_is_a_command_or_a_comment() {
    let out = text(&["tune", "fixtures/captures/ssh-reset-ipvs-nat-types-after-20min-client-side.pcap", "--box", "ipvs:nat,tcp=300"]);
    let pasted = out.split("\non the box").nth(1).expect("lines to paste");
    let set = pasted.lines().find(|line| line.contains("ipvsadm --set")).expect("ipvsadm sets it");
    assert!(set.trim_start().starts_with("ipvsadm --set "), "{set}");
    for line in pasted.lines().filter(|line| line.starts_with("    # ") || line.starts_with("      ")) {
        assert!(line.starts_with("    # ") || line.starts_with("    \t") || !line.contains("timers"), "{line}");
    }
}

#[test]
fn a_difference_names_the_flows() {
    let differs = json(&["diff", "conntrack:strict", "conntrack:strict,established=600", HANG, "--json"]);
    assert_eq!(differs["changes"]["newly_cut"], 1);
    assert_eq!(differs["flows"][0]["new"]["victim_frame"], 8);
    let gate = flowlapse(&["diff", "conntrack:strict", "conntrack:strict,established=600", HANG, "--fail-on-new-cut"]);
    assert_eq!(gate.status.code(), Some(1));
    let same = text(&["diff", "conntrack:strict", "conntrack:strict", HANG]);
    assert!(same.contains("no flow's fate differs"), "{same}");
}

#[test]
fn a_scenario_is_swept_by_its_traffic_and_run_whole_if_asked() {
    let swept = json(&["sweep", POPULATION, "--vary", "conntrack.established=300,7200", "--json"]);
    assert_eq!(swept["cases"][1]["verdicts"]["cut"], 0);
    let whole = json(&["sweep", "scenarios/ssh-ipvs-nat.json", "--vary", "ipvs.tcp=300,10000", "--beyond", "--json"]);
    assert_eq!(whole["schema"], "flowlapse-sweep-closed/1");
    let failed: Vec<u64> = whole["cases"].as_array().expect("cases").iter().map(|case| case["failed"].as_u64().expect("a count")).collect();
    assert_eq!(failed, [1, 0]);
}

/// The curve of entries and their mean are of one cloth.
#[test]
fn entries_over_time_have_the_mean_and_the_peak_that_are_told() {
    let file = std::env::temp_dir().join(format!("flowlapse-entries-{}.csv", std::process::id()));
    let draw = format!("entries={}", file.display());
    let swept = json(&["sweep", POPULATION, "--vary", "conntrack.established=300,1800,7200", "--json", "--draw", &draw]);
    let csv = std::fs::read_to_string(&file).expect("it was written");
    let _ = std::fs::remove_file(&file);
    for case in swept["cases"].as_array().expect("cases") {
        let label = format!("established {}", case["values"][0].as_str().expect("a value"));
        let counts: Vec<f64> = csv.lines().filter_map(|line| line.strip_prefix(&label)?.rsplit(',').next()?.parse().ok()).collect();
        assert_eq!(counts.len(), 401, "{label}");
        let (mean, peak) = (case["tables"][0]["entries_mean"].as_f64(), case["tables"][0]["entries_peak"].as_f64());
        let (mean, peak) = (mean.expect("a mean"), peak.expect("a peak"));
        let sampled = counts.iter().sum::<f64>() / counts.len() as f64;
        assert!((sampled - mean).abs() < mean * 0.02 + 1.0, "{label}: {sampled} against {mean}");
        assert!(counts.iter().all(|count| *count <= peak), "{label}: never above {peak}");
    }
}

#[test]
fn threads_change_nothing() {
    for args in [
        vec!["sweep", POPULATION, "--vary", "conntrack.established=60..7200:log30", "--json"],
        vec!["sweep", POPULATION, "--vary", "conntrack.established=60..7200:log8", "--vary", "keepalive=300,900", "--beyond", "--csv"],
        vec!["tune", POPULATION, "--allow-cut", "3%", "--json"],
        vec!["diff", "conntrack:masquerade", "conntrack:masquerade,established=600", POPULATION, "--json"],
    ] {
        let of = |threads: &str| text(&[&args[..], &["--threads", threads]].concat());
        assert_eq!(of("1"), of("2"), "{args:?}");
    }
}

#[test]
fn mistakes_are_told_in_a_line() {
    for (args, what) in [
        (&["sweep", HANG, "--vary", "conntrack.established=300"][..], "the path has no box"),
        (&["sweep", HANG, "--box", "conntrack", "--vary", "conntrack.estblished=300"], "did you mean"),
        (&["sweep", HANG, "--box", "conntrack", "--vary", "conntrack.established=900..300"], "is empty"),
        (&["sweep", HANG, "--box", "conntrack", "--vary", "conntrack.rules=strict", "--draw", "survival=target/x.svg"], "axis of seconds"),
        (&["sweep", HANG, "--box", "conntrack", "--vary", "conntrack.established=300", "--draw", "survial=target/x.svg"], "survival"),
        (&["sweep", POPULATION, POPULATION, "--vary", "conntrack.established=300"], "one scenario"),
        (&["tune", "no-such.json"], "no such file"),
        (&["diff", "conntrack", "conntrak", HANG], "did you mean 'conntrack'"),
    ] {
        let output = flowlapse(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(told.contains(what) && told.trim_end().lines().count() == 1, "{args:?}: {told}");
    }
    let share = flowlapse(&["tune", HANG, "--box", "conntrack", "--allow-cut", "120%"]);
    assert_eq!(share.status.code(), Some(2));
}
