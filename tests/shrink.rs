//! `flowlapse shrink`: what is written keeps the verdict, holds nothing private, and cannot be made smaller.

use flowlapse::capture::write::Writer;
use flowlapse::net::{Addr, Segment, Seq, Sock, TcpFlags};
use flowlapse::time::Instant;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file that is gone with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        Temporary(std::env::temp_dir().join(format!("flowlapse-shrink-{}-{name}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn flowlapse(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowlapse")).args(arguments).output().expect("the program runs")
}

fn json(arguments: &[&str]) -> Value {
    let output = flowlapse(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the name is text")
}

/// The parts of a flow in `replay --json` that must not change.
fn kept(flow: &Value) -> Value {
    let mut decisive = flow["decisive"].clone();
    if let Some(parts) = decisive.as_object_mut() {
        for moved in ["box", "set_at_ns", "before_frame", "victim_frame", "victim_input"] {
            parts.remove(moved);
        }
    }
    assert!(decisive.is_null() || decisive["idle_ns"].is_u64() && decisive["timer"].is_string(), "{flow}");
    let feels = [&flow["client_feels"]["what"], &flow["server_feels"]["what"]];
    // Of a survivor, the spell that used up the largest share of its timer.
    let spells = flow["break_points"].as_array().into_iter().flatten().filter(|_| flow["verdict"] == "survives");
    let shares = spells.map(|spell| {
        let [longest, timeout] = ["longest_ns", "timeout_ns"].map(|key| spell[key].as_u64().unwrap_or(1));
        (u128::from(longest) * 1_000_000 / u128::from(timeout), longest, timeout, spell["timer"].to_string())
    });
    serde_json::json!([
        flow["verdict"],
        flow["inconclusive"],
        decisive,
        feels,
        flow["advice"],
        flow["caveats"],
        format!("{:?}", shares.max())
    ])
}

fn flow_of(document: &Value, proto: &str, stream: u64) -> Value {
    let flows = document["flows"].as_array().expect("there are flows");
    let found = flows.iter().find(|flow| flow["proto"] == proto && flow["stream"] == stream);
    found.unwrap_or_else(|| panic!("no {proto}.{stream} in {document}")).clone()
}

/// Shrinks the worst flow of a capture and holds the result to the original.
fn check(capture: &Path, spec: &str, name: &str) -> Value {
    let small = Temporary::new(name);
    let made = json(&["shrink", text(capture), "--box", spec, "-o", text(&small.0), "--json"]);
    assert_eq!(made["schema"], "flowlapse-shrink/1");
    let before = json(&["replay", text(capture), "--box", spec, "--json"]);
    let after = json(&["replay", text(&small.0), "--box", spec, "--json"]);
    let was = flow_of(&before, made["proto"].as_str().expect("a name"), made["stream"].as_u64().expect("a number"));
    let now = flow_of(&after, made["proto"].as_str().expect("a name"), 0);
    assert_eq!(after["flows"].as_array().map(Vec::len), Some(1), "{}", capture.display());
    assert_eq!(kept(&was), kept(&now), "{} through {spec}", capture.display());
    assert!(was["verdict"].is_string() && was["caveats"].is_array(), "something is compared: {was}");
    assert_eq!(made["minimal"], true);
    assert!(made["packets"].as_u64() <= made["packets_before"].as_u64());
    // The printed command shows the same once more.
    let again = made["replay"].as_str().expect("a command").to_owned();
    let words: Vec<&str> = again.split_whitespace().skip(1).chain(["--json"]).collect();
    assert_eq!(kept(&flow_of(&json(&words), made["proto"].as_str().expect("a name"), 0)), kept(&now));
    made
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let mut found: Vec<PathBuf> = fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "pcap"));
    found.sort();
    found
}

#[test]
fn every_fixture_keeps_its_verdict() {
    let mut cuts = 0;
    for (number, capture) in fixtures().iter().enumerate() {
        for (other, spec) in
            ["ipvs:nat,tcp=5,tcpfin=2", "conntrack:strict,established=6", "conntrack:masquerade", "aws-nlb"].iter().enumerate()
        {
            let made = check(capture, spec, &format!("fixture-{number}-{other}.pcapng"));
            cuts += usize::from(made["verdict"] == "cut");
        }
    }
    assert!(cuts >= 10, "{cuts} cuts are too few to mean anything");
}

#[test]
fn a_wheel_whose_phase_is_known_keeps_the_time_of_day() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures/ssh-hang-ipvs-nat-client-side.pcap");
    let small = Temporary::new("wheel.pcapng");
    let wheel = ["--clock", "wheel", "--hz", "250", "--jiffies", "4294892296@1700000000.25"];
    let mut words = vec!["shrink", text(&capture), "--box", "ipvs:nat", "-o", text(&small.0), "--json"];
    words.extend(wheel);
    let made = json(&words);
    assert_eq!(made["keeps_times"], true);
    assert!(made["replay"].as_str().is_some_and(|line| line.contains("--jiffies 4294892296@1700000000.25")), "{made}");
}

const CLIENT: Sock = Sock { addr: Addr::v4([10, 77, 66, 55]), port: 54_321 };
const SERVER: Sock = Sock { addr: Addr::v4([10, 88, 77, 66]), port: 5432 };
const ACK: u8 = TcpFlags::ACK;

/// A long transfer with a silence of 1000 s in the middle, with the payload that tests look for.
fn transfer(packets: u32) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &["client"]).expect("memory takes everything");
    let mut at = Instant::from_secs(1_700_000_000);
    let mut put = |from: Sock, to: Sock, flags: u8, seq: u32, ack: u32, len: u32, gap: u64| {
        at = Instant(at.0 + gap);
        let (seq, ack) = (Seq(seq), Seq(ack));
        let seg = Segment { flags: TcpFlags(flags), seq, ack, sack: ack, len, window: 65_000, ..Segment::EMPTY };
        writer.segment(0, at, from, to, &seg, 61).expect("it can be written");
    };
    let ms = 1_000_000;
    let (c, s) = (4_294_960_000_u32, 77_u32);
    put(CLIENT, SERVER, TcpFlags::SYN, c, 0, 0, 0);
    put(SERVER, CLIENT, TcpFlags::SYN | ACK, s, c.wrapping_add(1), 0, ms);
    put(CLIENT, SERVER, ACK, c.wrapping_add(1), s + 1, 0, ms);
    let mut sent = c.wrapping_add(1);
    for packet in 0..packets {
        let gap = if packet == packets / 2 { 1_000_000 * ms } else { ms };
        put(CLIENT, SERVER, ACK | TcpFlags::PSH, sent, s + 1, 1000, gap);
        sent = sent.wrapping_add(1000);
        put(SERVER, CLIENT, ACK, s + 1, sent, 0, ms);
    }
    writer.finish().expect("memory takes everything")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_long_transfer_becomes_a_handful_of_headers_without_names() {
    let (large, small) = (Temporary::new("large.pcapng"), Temporary::new("few.pcapng"));
    let bytes = transfer(3000);
    assert!(contains(&bytes, b"xxxxxxxx") && contains(&bytes, &[10, 77, 66, 55]));
    fs::write(&large.0, &bytes).expect("the temporary folder takes a file");
    let made = json(&["shrink", text(&large.0), "--box", "ipvs:nat", "--flow", "10.77.66.55", "-o", text(&small.0), "--json"]);
    assert_eq!((made["verdict"].as_str(), made["packets_before"].as_u64()), (Some("cut"), Some(6003)));
    assert!(made["packets"].as_u64() <= Some(5), "{made}");
    let written = fs::read(&small.0).expect("it was written");
    assert!(written.len() < 1200, "{} bytes", written.len());
    let port = 54_321_u16.to_be_bytes();
    for part in [&b"xxxxxxxx"[..], &[10, 77, 66, 55], &[10, 88, 77, 66], &port, b"large"] {
        assert!(!contains(&written, part), "{part:02x?} is still there");
    }
    assert!(contains(&written, b"1000.001 s") || contains(&written, b"cut: 1000"), "the comment tells the verdict");
    // With addresses as they were, and the time of day.
    let words = ["shrink", text(&large.0), "--box", "ipvs:nat", "-o", text(&small.0), "--keep-addresses", "--keep-times", "--json"];
    let made = json(&words);
    let written = fs::read(&small.0).expect("it was written");
    assert!(contains(&written, &[10, 77, 66, 55]) && contains(&written, &port));
    assert_eq!(made["client"], "10.77.66.55:54321");
    let tale = String::from_utf8(flowlapse(&["replay", text(&small.0), "--box", "ipvs:nat"]).stdout).expect("text");
    assert!(tale.contains("2023-11-14"), "{tale}");
}

#[test]
fn datagrams_and_ipv6_are_written_too() {
    let (large, small) = (Temporary::new("udp.pcapng"), Temporary::new("udp-few.pcapng"));
    let six = |last| Addr::v6([0xfd, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    let (client, server) = (Sock { addr: six(1), port: 40_000 }, Sock { addr: six(2), port: 53 });
    let mut writer = Writer::new(Vec::new(), &["client"]).expect("memory takes everything");
    let mut at = 0;
    for n in 0..40 {
        at += if n == 30 { 400 } else { 1 };
        let (from, to) = if n % 2 == 0 { (client, server) } else { (server, client) };
        writer.datagram(0, Instant::from_secs(at), from, to, 100 + n, 60).expect("it can be written");
    }
    fs::write(&large.0, writer.finish().expect("memory takes everything")).expect("the temporary folder takes a file");
    for spec in ["conntrack:strict", "idle:established=60,udp=30"] {
        let made = json(&["shrink", text(&large.0), "--box", spec, "-o", text(&small.0), "--json"]);
        assert_eq!(made["proto"], "udp");
        assert!(made["packets"].as_u64() < Some(6), "{made}");
        assert!(made["client"].as_str().is_some_and(|client| client.starts_with("[2001:db8:")), "{made}");
        let before = flow_of(&json(&["replay", text(&large.0), "--box", spec, "--json"]), "udp", 0);
        let after = flow_of(&json(&["replay", text(&small.0), "--box", spec, "--json"]), "udp", 0);
        assert_eq!(kept(&before), kept(&after));
    }
}

#[test]
fn mistakes_are_told_in_a_line() {
    let large = Temporary::new("mistakes.pcapng");
    fs::write(&large.0, transfer(20)).expect("the temporary folder takes a file");
    let input = text(&large.0);
    let nowhere = std::env::temp_dir().join("no-such-folder-of-flowlapse/x.pcapng");
    let small = Temporary::new("never.pcapng");
    for (words, part) in [
        (&["shrink", input, "-o", text(&small.0)][..], "--box"),
        (&["shrink", input, "--box", "ipvs:nat"], "--output"),
        (&["shrink", input, "--box", "ipvs:nat", "-o", text(&nowhere)], "cannot be written"),
        (&["shrink", input, "--box", "ipvs:nat", "-o", text(&small.0), "--flow", "tcp.7"], "there is one, tcp.0"),
        (&["shrink", input, "--box", "ipvs:nat", "-o", text(&small.0), "--flow", "10.1.1.1"], "--flow"),
        (&["shrink", input, "--box", "ipvs:nat", "-o", "-", "--json"], "--json"),
        (&["shrink", "-", "--box", "ipvs:nat", "-o", text(&small.0)], "standard input"),
    ] {
        let output = flowlapse(words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains(part), "{words:?}: {told}");
        assert!(!small.0.exists(), "no half file is left");
    }
}

#[test]
fn standard_output_is_the_capture_itself() {
    let large = Temporary::new("pipe.pcapng");
    fs::write(&large.0, transfer(20)).expect("the temporary folder takes a file");
    let output = flowlapse(&["shrink", text(&large.0), "--box", "ipvs:nat", "-o", "-"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout.get(..4), Some(&[0x0a, 0x0d, 0x0d, 0x0a][..]), "it begins as pcapng does");
}
