//! The command as a whole: what it takes, what it prints, how it ends.

use super::{flowlapse, text};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

const IPVS: [&str; 3] = ["audit", "--ipvsadm", "Timeout (tcp tcpfin udp): 900 120 300"];

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&text(args)).expect("a document")
}

fn rules(document: &Value) -> Vec<&str> {
    document["findings"].as_array().expect("findings").iter().map(|found| found["rule"].as_str().expect("a rule")).collect()
}

/// Runs it with a text on standard input.
fn fed(args: &[&str], input: &str) -> (String, String, Option<i32>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_flowlapse"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let words = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (words(output.stdout), words(output.stderr), output.status.code())
}

#[test]
fn pasted_words_are_enough() {
    let told = text(&[&IPVS[..], &["--sysctl", "net.ipv4.tcp_keepalive_time = 7200", "--box", "aws-nlb"]].concat());
    assert!(told.starts_with("verdict: 2 errors"), "{told}");
    for words in
        ["keepalive 7200 < 900 of ipvs", "keepalive 7200 < 350 of aws-nlb", "ipvsadm --set 8155 0 0", "where: --sysctl:1, --ipvsadm:1"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    // The three numbers alone are its timeouts too.
    let numbers = json(&["audit", "--ipvsadm", "900,120,300", "--json"]);
    assert_eq!(numbers["boxes"][0]["timers"][0]["timeout_ns"], 900_000_000_000_u64);
}

#[test]
fn the_document_is_flat_and_says_where() {
    let document = json(&[&IPVS[..], &["--json"]].concat());
    assert_eq!(document["schema"], "flowlapse-audit/1");
    let late = &document["findings"][0];
    assert_eq!((late["rule"].as_str(), late["severity"].as_str()), (Some("keepalive-too-late"), Some("error")));
    assert_eq!((late["left_ns"].as_u64(), late["right_ns"].as_u64()), (Some(7_200_000_000_000), Some(900_000_000_000)));
    assert_eq!(late["places"][1], "--ipvsadm:1");
    assert_eq!(document["shortest"]["box"], 1);
    assert_eq!(document["summary"]["error"], 1);
    assert!(!document["assumptions"].as_array().expect("assumptions").is_empty());
}

#[test]
fn standard_input_is_a_text_like_any_other() {
    let line = "tcp      6 431999 ESTABLISHED src=10.0.0.5 dst=10.1.2.3 sport=51514 dport=22 src=10.1.2.3 dst=10.0.0.5 sport=22 dport=51514 [ASSURED] mark=0 use=1\n";
    let (out, err, code) = fed(&["audit", "--conntrack", "-", "--json"], line);
    assert_eq!(code, Some(0), "{err}");
    let document: Value = serde_json::from_str(&out).expect("a document");
    assert_eq!(document["connections"][0]["at"], "stdin:1");
    assert_eq!(document["connections"][0]["client"], "10.0.0.5:51514");
    assert_eq!(document["tables"][0]["states"]["ESTABLISHED"], 1);
    let (_, err, code) = fed(&["audit", "-", "--conntrack", "-"], line);
    assert_eq!(code, Some(2));
    assert!(err.contains("once only"), "{err}");
}

#[test]
fn it_ends_as_it_was_asked_to() {
    let code = |more: &[&str]| flowlapse(&[&IPVS[..], more].concat()).status.code();
    assert_eq!(code(&[]), Some(0));
    assert_eq!(code(&["--fail-on", "error"]), Some(1));
    assert_eq!(code(&["--fail-on", "info"]), Some(1));
    assert_eq!(code(&["--fail-on", "keepalive-too-late"]), Some(1));
    assert_eq!(code(&["--fail-on", "sloppy-tcp,table-full"]), Some(0));
    assert_eq!(code(&["--fail-on", "error", "--keepalive", "600,30,5"]), Some(0));
    assert_eq!(code(&["--fail-on", "nonsense"]), Some(2));
    assert_eq!(code(&["--keepalive", "600"]), Some(2));
    assert_eq!(code(&["--kernel", "linux-99.1"]), Some(2));
    assert_eq!(flowlapse(&["audit"]).status.code(), Some(2));
    assert_eq!(flowlapse(&["audit", "no-such-file"]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_read_is_named_and_counts_with_strict() {
    let damaged = "tcp      6 60 ESTABLISHED src=10.0.0.5 dst=10.1.2.3 sport=51514 dport=22 src=10.1.2.3 dst=10.0.0.5 sport=22 dport=51514 [ASSURED]\n\
                   tcp      6 431999 ESTABLISHED src=10.0.0.999 dst=10.1.2.3 sport=51514 dport=22\n";
    let (out, _, code) = fed(&["audit", "--conntrack", "-"], damaged);
    assert_eq!(code, Some(0));
    assert!(out.contains("could not be read") && out.contains("stdin:2"), "{out}");
    assert_eq!(fed(&["audit", "--conntrack", "-", "--strict"], damaged).2, Some(3));
    let (_, err, code) = fed(&["audit", "-"], "\u{0}\u{1}\u{fffd} nothing of ours\n");
    assert_eq!(code, Some(2), "{err}");
    assert!(err.starts_with("flowlapse: nothing"), "{err}");
}

/// Whatever a text holds, no byte of it steers the terminal, and no text makes it fail.
#[test]
fn texts_cut_anywhere_are_survived() {
    let whole = "net.ipv4.vs.secure_tcp = \u{1b}[31m3\nTimeout (tcp tcpfin udp): 900 120 300\n\
                 TCP 14:53  ESTABLISHED 192.0.2.7:51022    10.0.0.1:22        10.0.1.5:22\n";
    for cut in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)).step_by(7) {
        let (out, err, code) = fed(&["audit", "-", "--box", "aws-nlb"], &whole[..cut]);
        assert!(code == Some(0), "{cut}: {err}");
        assert!(!out.contains('\u{1b}'), "{cut}");
    }
}

#[test]
fn the_collector_is_a_script() {
    assert!(text(&["audit", "--collector"]).starts_with("#!/bin/sh\n"));
}

#[test]
fn boxes_alone_are_a_path_too() {
    let document = json(&["audit", "--box", "ipvs:nat,tcp=3600", "--box", "aws-nlb", "--json"]);
    assert!(rules(&document).contains(&"shorter-elsewhere"), "{:?}", rules(&document));
    assert_eq!(document["findings"][0]["places"][1], "--box ipvs:nat,tcp=3600");
}
