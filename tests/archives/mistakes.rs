//! Mistakes in one line, and what cannot be read.

use crate::{folder, piped, ran, told};
use std::fs;

use crate::process::{SSH, STRICT};

fn mistake(args: &[&str], input: &[u8], says: &str) {
    let (code, out, err) = piped(args, input);
    assert_eq!((code, out.len(), err.lines().count()), (2, 0, 1), "{args:?}: {err}");
    assert!(err.contains(says), "{args:?}: {err}");
}

#[test]
fn mistakes_are_told_in_one_line() {
    let folder = folder("mistakes");
    let here = |name: &str| folder.join(name).display().to_string();
    mistake(&["segments", "nowhere.pcap", "-o", &here("columns")], &[], "nowhere.pcap: no such file");
    mistake(&["segments", SSH, SSH, "-o", "-"], &[], "a stream has the rows of one capture");
    mistake(&["segments", SSH, "--file-index", "65535", "-o", "-"], &[], "at most 65535 captures");
    mistake(&["replay", SSH, "--segments", "--box", STRICT], &[], "neither Parquet nor Arrow IPC");
    mistake(&["replay", "-", "--segments", "--box", STRICT], b"hello", "no Arrow IPC stream");
    mistake(&["replay", "-", "--segments", "--box", STRICT], &[], "no Arrow IPC stream");
    told(&["segments", SSH, "-o", &here("columns")]);
    mistake(&["replay", &here("columns"), "--segments", "--box", STRICT, "--html", &here("x.html")], &[], "the page is made from captures");
    mistake(&["replay", &here("columns"), "--segments", "--box", STRICT, "--archive", &here("none.json")], &[], "none.json: no such file");
    mistake(&["merge", &here("columns")], &[], "no archive.json");
    fs::write(folder.join("archive.json"), told(&["merge", "--ledgers", &here("columns")])).expect("it can be written");
    mistake(&["merge", &here("columns"), "--archive", &here("archive.json")], &[], "there is no column 'run'");
    let part = |name: &str, policy: &str| {
        told(&["replay", &here("columns"), "--segments", "--box", policy, "--part", &here(name)]);
        here(name)
    };
    let (one, other) = (part("one.parquet", STRICT), part("other.parquet", "aws-nlb"));
    mistake(&["merge", &one, &other, "--archive", &here("archive.json")], &[], "the parts answer different questions");
    let mut bytes = fs::read(&one).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    fs::write(&one, bytes).expect("it can be written");
    mistake(&["merge", &one, "--archive", &here("archive.json")], &[], "one.parquet");
}

#[test]
fn rows_in_a_wrong_order_are_not_believed() {
    // Of two captures, one after the other: sorted neither by time nor by flow.
    let folder = folder("unsorted");
    let (_, one, _) = piped(&["segments", SSH, "--slices", "-o", "-"], &[]);
    let (code, _, err) = piped(&["replay", "-", "--segments", "--box", STRICT, "--quiet"], &one[..one.len() / 2]);
    assert_eq!((code, err.lines().count()), (2, 1), "{err}");
    // A stream that is whole is judged, with the facts that it brings.
    let whole = told(&["replay", SSH, "--ndjson", "--box", STRICT]);
    let (code, out, err) = piped(&["replay", "-", "--segments", "--ndjson", "--box", STRICT], &one);
    assert_eq!((code, String::from_utf8_lossy(&out).as_ref()), (0, whole.as_str()), "{err}");
    drop(folder);
}

#[test]
fn what_cannot_be_opened_or_is_damaged_is_told_and_the_rest_is_judged() {
    let folder = folder("damaged");
    let here = |name: &str| folder.join(name).display().to_string();
    let bytes = fs::read(SSH).expect("a fixture");
    fs::write(folder.join("cut.pcap"), &bytes[..bytes.len() - 5]).expect("it can be written");
    fs::write(folder.join("text.pcap"), "no capture at all\n").expect("it can be written");
    let mut ledgers = String::new();
    for (index, name) in ["cut.pcap", "text.pcap"].iter().enumerate() {
        let columns = here(&format!("columns-{index}"));
        let index = index.to_string();
        let ran = ran(&["segments", &here(name), "--file-index", &index, "--keep-going", "-o", &columns]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ledgers.push_str(&ran.err);
    }
    assert!(ledgers.contains("cut.pcap: damaged after frame") && ledgers.contains("text.pcap: is text, not a capture"), "{ledgers}");
    let report = told(&["replay", &here("columns-0"), &here("columns-1"), "--segments", "--box", STRICT]);
    assert!(report.contains("damaged after frame") && report.contains("is text, not a capture"), "{report}");
    let strict = ran(&["replay", &here("columns-0"), "--segments", "--box", STRICT, "--strict"]);
    assert_eq!(strict.code, 3);
}
