//! `flowlapse presets` and `flowlapse conform` as a user meets them: exit codes, output, messages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn flowlapse(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_flowlapse")).args(args).output().expect("the program starts");
    Ran {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn json(args: &[&str]) -> serde_json::Value {
    let ran = flowlapse(args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).expect("one JSON document")
}

fn fixture(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings").join(path).display().to_string()
}

/// A directory of its own for a test's files.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("the directory can be made");
    path
}

fn damaged(directory: &Path) -> String {
    let good = zstd::decode_all(fs::read(fixture("steps/ct-strict-6.12.jsonl.zst")).expect("readable").as_slice()).expect("zstd");
    let good = String::from_utf8(good).expect("text");
    let damaged = good.replacen("\"state\":\"SYN_RECV\",\"timeout\":60,", "\"state\":\"SYN_RECV\",\"timeout\":58,", 1);
    let path = directory.join("damaged.jsonl");
    fs::write(&path, damaged).expect("writable");
    path.display().to_string()
}

#[test]
fn presets_lists_boxes_dialects_and_presets_in_80_columns() {
    let ran = flowlapse(&["presets"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for word in ["--box conntrack:", "--box ipvs:", "--box idle:", "* linux-6.8", "* linux-6.12", "debian-12", "aws-nlb", "haproxy"] {
        assert!(ran.out.contains(word), "{word}");
    }
    for line in ran.out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn the_examples_of_the_list_are_accepted_as_boxes() {
    for b in json(&["presets", "--json"])["boxes"].as_array().expect("a list") {
        let example = b["example"].as_str().expect("text");
        assert!(flowlapse::policy::parse_short(example).is_ok(), "{example}");
    }
}

#[test]
fn a_preset_is_told_with_the_origin_of_each_timer() {
    let ran = flowlapse(&["presets", "fortigate"]);
    assert_eq!(ran.code, 0);
    for line in [
        "  established           3600  own\n",
        "  time_wait                1  own, unverified\n",
        "  close                 3600  assumed: not documented, as established\n",
        "  on expiry   silent (unverified)\n",
    ] {
        assert!(ran.out.contains(line), "{line}\n{}", ran.out);
    }
    let openwrt = flowlapse(&["presets", "openwrt"]).out;
    assert!(openwrt.contains("  fin_wait               120  inherited from linux-conntrack-default\n"), "{openwrt}");
}

#[test]
fn a_dialect_is_told_with_what_changed() {
    let ran = flowlapse(&["presets", "longterm-6.12.117"]);
    assert_eq!(ran.code, 0);
    for line in ["changed against linux-6.8\n", "  rst_to_syn_needs_other_dir: no -> yes\n", "  inexact_rst_unacknowledged: no -> yes\n"] {
        assert!(ran.out.contains(line), "{line}\n{}", ran.out);
    }
    // One name, two models; and a release as uname prints it.
    for name in ["linux-6.12", "linux-6.13", "6.12.117-amd64"] {
        let out = flowlapse(&["presets", name]).out;
        assert!(out.contains("conntrack dialect ") && out.contains("ipvs dialect linux-6.12"), "{name}\n{out}");
    }
    // A distribution's name and an alias lead to the row.
    assert!(flowlapse(&["presets", "debian-12"]).out.starts_with("conntrack dialect longterm-6.1.176\n"));
    // A name that a distribution keeps through many releases means the newest of the series; a release means itself.
    for (name, row) in [("6.1.0-47-amd64", "longterm-6.1.176"), ("6.1.170", "longterm-6.1.158"), ("5.15.0-91-generic", "longterm-5.15.85")]
    {
        assert!(flowlapse(&["presets", name]).out.starts_with(&format!("conntrack dialect {row}\n")), "{name}");
    }
}

#[test]
fn a_kind_of_box_is_told_with_its_settings() {
    let ran = flowlapse(&["presets", "ipvs"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("  sloppy_tcp ") && ran.out.contains("0, 1, 2 or 3"), "{}", ran.out);
}

#[test]
fn an_unknown_name_gets_one_line_with_a_hint() {
    for (name, message) in [
        ("awsnlb", "flowlapse: no box, dialect or preset is called 'awsnlb'; did you mean 'aws-nlb'?\n"),
        ("el7-3.10.0-1172", "flowlapse: no box, dialect or preset is called 'el7-3.10.0-1172'; did you mean 'el7-3.10.0-1127'?\n"),
        ("conntrak", "flowlapse: no box, dialect or preset is called 'conntrak'; did you mean 'conntrack'?\n"),
        ("banana", "flowlapse: no box, dialect or preset is called 'banana'; `flowlapse presets` lists them all\n"),
    ] {
        let ran = flowlapse(&["presets", name]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (2, "", message));
    }
}

#[test]
fn the_json_list_keeps_its_shape_under_a_name() {
    let whole = json(&["presets", "--json"]);
    let part = json(&["presets", "aws-nlb", "--json"]);
    for document in [&whole, &part] {
        assert_eq!(document["schema"], "flowlapse-presets-list/1");
        let keys: Vec<&String> = document.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["schema", "boxes", "dialects", "presets"]);
    }
    assert!(whole["presets"].as_array().expect("a list").len() > 50);
    assert_eq!(part["presets"].as_array().expect("a list").len(), 1);
    let preset = &part["presets"][0];
    assert_eq!((preset["model"].as_str(), preset["on_stray"].as_str()), (Some("idle"), Some("rst_sender")));
    assert_eq!(
        preset["timers"][0],
        serde_json::json!({"name": "established", "seconds": 350, "origin": "own", "from": null, "unverified": false})
    );
    // A timer that never fires is null.
    assert!(json(&["presets", "haproxy", "--json"])["presets"][0]["timers"][0]["seconds"].is_null());
    assert_eq!(flowlapse(&["presets", "--json"]).out, flowlapse(&["presets", "--json"]).out);
}

#[test]
fn conform_agrees_with_a_directory_and_names_what_it_skips() {
    let ran = flowlapse(&["conform", &fixture("")]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let closing = ran.out.lines().last().expect("a closing line");
    assert!(closing.contains(" steps, 0 disagree, "), "{closing}");
    assert_eq!(ran.err, "");
    let other = scratch("skips");
    fs::write(other.join("notes.txt"), "not a recording\n").expect("writable");
    let both = flowlapse(&["conform", &fixture("dialogues"), &other.display().to_string()]);
    assert!(both.err.ends_with("notes.txt: not a recording\n"), "{}", both.err);
}

#[test]
fn conform_lists_the_undecidable_steps_on_demand() {
    let file = fixture("steps/ct-dnat-6.12.jsonl.zst");
    let brief = flowlapse(&["conform", &file]);
    let long = flowlapse(&["conform", "--details", &file]);
    assert!(!brief.out.contains("undecidable: "));
    assert!(long.out.contains(": undecidable: a port that the kernel draws at random\n"), "{}", long.out);
    assert!(long.out.ends_with(&brief.out));
    let document = json(&["conform", "--json", &file]);
    assert_eq!(document["schema"], "flowlapse-conform/1");
    assert_eq!(document["undecidable"].as_u64(), Some(long.out.matches(": undecidable: ").count() as u64));
    assert_eq!(document["recordings"][0]["disagree"], 0);
}

#[test]
fn conform_ends_with_1_where_a_recording_disagrees_and_tells_the_step() {
    let path = damaged(&scratch("disagrees"));
    let ran = flowlapse(&["conform", &path]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.out.contains("damaged.jsonl step 22: ") && ran.out.contains("expected ct SYN_RECV 58 s\n  got      ct SYN_RECV left 60 s"),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with("784 steps, 1 disagree, 0 undecidable\n"), "{}", ran.out);
    assert_eq!(flowlapse(&["conform", "--json", &path]).code, 1);
}

#[test]
fn conform_refuses_what_is_named_and_no_recording() {
    let directory = scratch("refused");
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let notes = file("notes.txt", "not a recording\n");
    let pressure = file("pressure.jsonl", "{\"t\": 0.1, \"kind\": \"pressure-conntrack\"}\n");
    for (path, what) in [
        (notes.clone(), "not a recording: expected"),
        (pressure.clone(), "pressure.jsonl: line 1, column 40: missing field `kernel`"),
        (directory.join("none").display().to_string(), "no such file"),
    ] {
        let ran = flowlapse(&["conform", &path]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{path}");
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(ran.err.contains(what), "{}", ran.err);
    }
    // What is no recording is skipped where only its directory is named; with nothing left there is no agreement to report.
    fs::remove_file(pressure).expect("it is there");
    let ran = flowlapse(&["conform", &directory.display().to_string()]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (2, "", 2), "{}", ran.err);
    assert_eq!(flowlapse(&["conform"]).code, 2);
}

#[test]
fn conform_does_not_skip_a_recording_that_breaks_off() {
    let directory = scratch("broken");
    let path = damaged(&directory);
    let text = fs::read_to_string(&path).expect("readable");
    fs::write(&path, &text[..text.len() - 40]).expect("writable");
    let ran = flowlapse(&["conform", &directory.display().to_string()]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("damaged.jsonl: line 785, column "), "{}", ran.err);
}
