//! Damaged, odd and hostile captures through the whole way: opened, decoded, replayed, reported.
//!
//! What must hold of every input: an answer for what stands before the damage, the same as for a file that simply ends there; a message
//! that says what and where; every record a segment, or counted under one name, or left out by the filter.

#[path = "../capture_files/mod.rs"]
mod capture_files;
#[path = "../decode_packets/mod.rs"]
mod decode_packets;
#[path = "../replay/capture.rs"]
mod dialogue;

mod clocks;
mod copies;
mod costs;
mod cuts;
mod formats;

use capture_files::{BIG, LITTLE, Pcap, PcapNg, Seen, gzip, zstd};
use flowlapse::capture::{CaptureError, Input, LinkType, open};
use flowlapse::decode::Filter;
use flowlapse::engine::pipeline::{self, Job};
use flowlapse::engine::{Clock, Path};
use flowlapse::policy::parse_short;
use flowlapse::report::{Report, json, text};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// The captures of the fixtures, by name.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&path).expect("a fixture")))
        .collect();
    files.sort();
    assert!(files.len() > 20, "there are fixtures");
    files
}

/// The same packets in other clothes: the name, the file, and whether it is compressed.
fn forms(plain: &[u8]) -> Vec<(&'static str, Vec<u8>, bool)> {
    let (seen, _) = capture_files::read(&[plain.to_vec()]);
    let seconds = |packet: &Seen| ((packet.at / 1_000_000_000) as u32, (packet.at % 1_000_000_000) as u32);
    let classic = |link: u32, make: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mut file = Pcap::new(BIG, 0xa1b2_3c4d, 65_535, link);
        for packet in &seen {
            let (second, nanos) = seconds(packet);
            let bytes = make(&packet.bytes);
            file.record(second, nanos, &bytes, bytes.len() as u32);
        }
        file.bytes
    };
    let modern = |order| {
        let mut file = PcapNg::new(order);
        file.interface(1, 0, &[(9, &[9])]);
        for packet in &seen {
            file.packet(0, packet.at, &packet.bytes, packet.wire_len);
        }
        file.bytes
    };
    vec![
        ("as it is", plain.to_vec(), false),
        ("big-endian, nanoseconds", classic(1, &<[u8]>::to_vec), false),
        ("raw IP", classic(101, &|bytes| bytes[14..].to_vec()), false),
        ("SLL2", classic(276, &|bytes| [&bytes[12..14], &[0; 18], &bytes[14..]].concat()), false),
        ("pcapng", modern(LITTLE), false),
        ("big-endian pcapng", modern(BIG), false),
        ("gzip", gzip(plain), true),
        ("zstd", zstd(plain), true),
    ]
}

fn path() -> Path {
    let boxes = ["conntrack:established=3600", "ipvs:nat"].map(|text| parse_short(text).expect("a box"));
    Path::build(&boxes, Clock::Ideal).expect("a path")
}

/// What is said of files, as JSON. Everything that must always add up is looked at on the way.
fn answer(files: &[&[u8]]) -> Result<Value, CaptureError> {
    answer_with(files, &path(), &Job { threads: 1, ..Job::default() })
}

fn answer_with(files: &[&[u8]], path: &Path, job: &Job) -> Result<Value, CaptureError> {
    let inputs: Vec<Input> = files.iter().map(|bytes| Input::Bytes { name: "test".to_owned(), bytes: (*bytes).into() }).collect();
    let mut capture = open(&inputs)?;
    let run = pipeline::run(&mut capture, path, job, &AtomicBool::new(false));
    let report = Report::new(path, &run);
    let mut bytes = Vec::new();
    json::write(&report, &mut bytes).expect("memory takes everything");
    let told = text::told(&report, text::Layout::default());
    let value: Value = serde_json::from_slice(&bytes).expect("the report is JSON");
    adds_up(&value);
    for damage in value["damage"].as_array().expect("a list") {
        let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
        let where_it_is = format!("damaged after frame {}, at byte {}", damage["after_frame"], damage["offset"]);
        assert!(words.contains(&where_it_is), "the text says it, too: {told}");
    }
    Ok(value)
}

/// No record is lost, none counted twice.
fn adds_up(report: &Value) {
    let number = |value: &Value| value.as_u64().expect("a number");
    let packets = &report["packets"];
    let kinds: u64 = packets["not_followed"].as_object().expect("kinds").values().map(number).sum();
    let (records, followed, filtered) = (number(&packets["records"]), number(&packets["followed"]), number(&packets["filtered"]));
    assert_eq!(records, followed + filtered + kinds, "{packets}");
    let in_flows: u64 =
        report["flows"].as_array().expect("flows").iter().map(|flow| number(&flow["packets"][0]) + number(&flow["packets"][1])).sum();
    assert_eq!(followed, in_flows, "{packets}");
}

/// A report without what damage adds to it.
fn undamaged(mut report: Value) -> Value {
    for key in ["damage", "complete"] {
        report.as_object_mut().expect("an object").remove(key);
    }
    report
}

fn link(number: u16) -> LinkType {
    LinkType(number)
}

fn filtered(text: &str) -> Job {
    Job { threads: 1, filter: Some(Filter::parse(text).expect("a filter")), ..Job::default() }
}
