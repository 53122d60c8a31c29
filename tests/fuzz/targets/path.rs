//! A capture through a path of boxes: the same answers for any number of threads, and every flow with one verdict.
//!
//! An input is a line with boxes (short forms, blanks between them), a line that says how (`pcap` or `talk`, `wheel=HZ`,
//! `flows=N` for how many are held), and behind that the bytes of a capture, or a talk of eight bytes a packet: see [`talk`].
use flowlapse::capture::{self, Input, Options};
use flowlapse::engine::pipeline::{self, Job};
use flowlapse::engine::{Clock, Path};
use flowlapse::kernel::wheel::Hz;
use flowlapse::policy;
use flowlapse::report::{Report, infer, json, text};
use flowlapse::study::infer::Inference;
use flowlapse::study::infer::listen::Listener;
use std::sync::atomic::AtomicBool;

const LIMITS: Options = Options { expansion_bytes: 1 << 20, expansion_ratio: 50, block_bytes: 128 << 10, opener: None };
const BOXES_MAX: usize = 4;
const PACKETS_MAX: usize = 2_000;
/// Silences between packets, in nanoseconds; the times of a talk are what boxes with timers are about.
const SILENCES: [u64; 16] = [
    0,
    1_000,
    1_000_000,
    40_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    120_000_000_000,
    300_000_000_000,
    900_000_000_000,
    3_600_000_000_000,
    7_200_000_000_000,
    86_400_000_000_000,
    432_000_000_000_000,
];

fn put(file: &mut Vec<u8>, at: u64, packet: &[u8]) {
    for word in [at / 1_000_000_000, at % 1_000_000_000, packet.len() as u64, packet.len() as u64] {
        file.extend((word as u32).to_le_bytes());
    }
    file.extend(packet);
}

fn ip(from: [u8; 4], to: [u8; 4], proto: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, ttl, proto, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    packet.extend(payload);
    packet
}

/// A talk as a capture. Of a packet's eight bytes the first two say who (bit 0: the server; bits 1 to 3: which flow), what (bits 4 and
/// 5: TCP, TCP, UDP, ICMP error) and how long after the packet before (the high nibble of the second, and its low one times as long);
/// then flags; how far off the sequence number is and the acknowledgement, signed; the length; the window.
pub(crate) fn talk(data: &[u8]) -> Vec<u8> {
    let mut file = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0]);
    for word in [0_u32, 0, 262_144, 101] {
        file.extend(word.to_le_bytes());
    }
    let mut now = 1_700_000_000_000_000_000_u64;
    let mut next = [[1_000_u32, 4_294_960_000]; 8];
    let mut last: Vec<u8> = Vec::new();
    for step in data.chunks_exact(8).take(PACKETS_MAX) {
        let (server, flow, kind) = (usize::from(step[0] & 1), usize::from(step[0] >> 1 & 7), step[0] >> 4 & 3);
        now += SILENCES[usize::from(step[1] >> 4)] * u64::from(step[1] & 15);
        let socks = [([10, 0, 0, 1 + flow as u8], 40_000 + flow as u16), ([10, 1, 0, 1], 443_u16)];
        let (me, peer) = (socks[server], socks[1 - server]);
        let offset = |byte: u8| u32::from_ne_bytes(i32::from(byte as i8).to_ne_bytes());
        let mut bytes = me.1.to_be_bytes().to_vec();
        bytes.extend(peer.1.to_be_bytes());
        let packet = match kind {
            2 => {
                bytes.extend((8 + u16::from(step[5])).to_be_bytes());
                bytes.resize(8 + usize::from(step[5]), 0);
                ip(me.0, peer.0, 17, 64, &bytes)
            }
            3 => ip([10, 9, 0, 1], me.0, 1, 64, &[&[step[2] % 16, step[3] % 16, 0, 0, 0, 0, 0, 0][..], &last].concat()),
            _ => {
                let seq = next[flow][server].wrapping_add(offset(step[3]));
                let ack = if step[2] & 0x10 == 0 { 0 } else { next[flow][1 - server].wrapping_add(offset(step[4])) };
                bytes.extend(seq.to_be_bytes());
                bytes.extend(ack.to_be_bytes());
                bytes.extend([0x50, step[2]]);
                bytes.extend((u16::from(step[6]) << 8 | u16::from(step[7])).to_be_bytes());
                bytes.extend([0; 4]);
                bytes.resize(20 + usize::from(step[5]), 0);
                if step[3] == 0 {
                    let phantoms = u32::from(step[2] >> 1 & 1) + u32::from(step[2] & 1);
                    next[flow][server] = seq.wrapping_add(u32::from(step[5]) + phantoms);
                }
                ip(me.0, peer.0, 6, 64, &bytes)
            }
        };
        put(&mut file, now, &packet);
        last = packet;
    }
    file
}

/// Splits an input into its parts.
fn parts(data: &[u8]) -> Option<(String, Clock, Option<u64>, Vec<u8>)> {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let boxes = String::from_utf8_lossy(lines.next()?).into_owned();
    let how = String::from_utf8_lossy(lines.next()?).into_owned();
    let rest = lines.next()?;
    let (mut clock, mut flows_max, mut is_talk) = (Clock::Ideal, None, false);
    for word in how.split_whitespace() {
        is_talk |= word == "talk";
        flows_max = word.strip_prefix("flows=").and_then(|flows| flows.parse().ok()).or(flows_max);
        if let Some(hz) = word.strip_prefix("wheel=").and_then(|hz| hz.parse().ok()).filter(|hz| (1..=10_000).contains(hz)) {
            clock = Clock::Wheel { hz: Hz(hz), phase: None };
        }
    }
    Some((boxes, clock, flows_max, if is_talk { talk(rest) } else { rest.to_vec() }))
}

/// What every format says, with so many threads.
fn said(path: &Path, bytes: &[u8], flows_max: Option<u64>, threads: usize) -> Option<[String; 4]> {
    let input = Input::Bytes { name: "input".to_owned(), bytes: bytes.into() };
    let job = || Job { threads, filter: None, records_max: Some(PACKETS_MAX as u64), flows_max, watch: None };
    let stop = AtomicBool::new(false);
    let run = pipeline::run(&mut capture::open_with(std::slice::from_ref(&input), &LIMITS).ok()?, path, &job(), &stop);
    let report = Report::new(path, &run);
    assert_eq!(report.counts().iter().sum::<usize>(), report.flows(), "every flow has one verdict");
    assert!(flows_max.is_none_or(|most| report.flows() as u64 <= most), "no more flows than may be held");
    let counted: u64 = run.counters.seen().map(|(_, count)| count).sum();
    assert_eq!(run.counters.records, run.counters.decoded + counted, "every record is counted once");
    let (mut whole, mut lines) = (Vec::new(), Vec::new());
    json::write(&report, &mut whole).expect("memory takes everything");
    json::write_lines(&report, true, &mut lines).expect("memory takes everything");
    let [whole, lines] = [whole, lines].map(|bytes| String::from_utf8(bytes).expect("JSON is text"));
    let document: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
    assert_eq!(document["flows"].as_array().map(Vec::len), Some(report.flows()));
    assert_eq!(lines.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count(), report.flows() + 1);
    let layout = text::Layout { width: 80, colour: false, flows: 20, stories: 5 };
    let words = text::told(&report, layout);
    assert!(!words.contains('\u{1b}'), "no escape goes out raw");

    let heard = pipeline::follow(&mut capture::open_with(&[input], &LIMITS).ok()?, &Listener, &job(), &stop);
    let (inference, read) = Inference::of(vec![heard]);
    let inferred = infer::Report { inference: &inference, inputs: &read };
    let mut timers = inferred.text(80, 20).into_bytes();
    inferred.write_json(&mut timers).expect("memory takes everything");
    Some([words, whole, lines, String::from_utf8(timers).expect("words and JSON are text")])
}

pub(crate) fn check(data: &[u8]) {
    let Some((boxes, clock, flows_max, bytes)) = parts(data) else { return };
    let none = |name: &str| Err(format!("{name} is not to be read"));
    let mut specs = Vec::new();
    for spec in boxes.split_whitespace().take(BOXES_MAX) {
        let Ok(read) = policy::parse(spec, &none) else { return };
        specs.extend(read);
    }
    let Ok(path) = Path::build(&specs, clock) else { return };
    let one = said(&path, &bytes, flows_max, 1);
    assert_eq!(one, said(&path, &bytes, flows_max, 3), "one thread and three");
}
