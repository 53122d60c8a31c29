//! What a replay costs, in packets a second: its parts, each alone, and the whole.
//!
//! The capture is made here, the same one each time, and stays in memory: [`FLOWS`] TCP connections of [`PACKETS`] packets
//! each, interleaved, of which the headers were captured. `cargo bench` takes about a minute.

use criterion::{BenchmarkId, Criterion, Throughput};
use flowlapse::capture::{self, Batch, Capture, Input};
use flowlapse::decode::{Decoded, Decoder};
use flowlapse::engine::pipeline::{self, Job};
use flowlapse::engine::{Clock, Path};
use flowlapse::finding::Verdict;
use flowlapse::flow::{Book, FlowTable, StreamRule};
use flowlapse::model::{Moment, Packet, Side};
use flowlapse::net::{Direction, Proto, Segment, TcpFlags};
use flowlapse::policy;
use flowlapse::report::Report;
use flowlapse::rng::Rng;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const FLOWS: u32 = 10_000;
const PACKETS: usize = 20;
/// How many packets the conversation has that is led through each box alone.
const STEPS: usize = 1_000;
/// The path of the whole replay; each of its boxes is measured alone as well.
const BOXES: [&str; 3] = ["conntrack", "ipvs:nat", "aws-nlb"];

const CLIENTS: u32 = 0x0a00_0000;
const SERVER: u32 = 0xc0a8_0001;
const SERVER_PORT: u16 = 443;
/// From the first SYN to the last.
const ARRIVALS_MICROS: u64 = 2_000_000_000;
const BEGIN_MICROS: u64 = 1_700_000_000_000_000;
const HEADERS: usize = 54;

/// One packet: when, its headers, and how long it was on the wire.
struct Frame {
    at_micros: u64,
    headers: [u8; HEADERS],
    wire_len: u32,
}

/// A connection of `packets` packets: handshake, data and answers in turn, an orderly close. Its number says whose it is. One
/// silence in 500 is `long`.
fn conversation(number: u32, packets: usize, long: u64) -> Vec<Frame> {
    const SYN: u8 = TcpFlags::SYN;
    const ACK: u8 = TcpFlags::ACK;
    const FIN_ACK: u8 = TcpFlags::FIN | ACK;
    let mut rng = Rng::keyed(1, u64::from(number));
    // Address and port follow from the number, so no two connections share them.
    let client = (CLIENTS + 256 + number / 50_000, 1024 + (number % 50_000) as u16);
    let server = (SERVER, SERVER_PORT);
    // The next sequence number of each side.
    let mut next = [rng.number() as u32, rng.number() as u32];
    let mut at_micros = BEGIN_MICROS + rng.below(ARRIVALS_MICROS);
    let mut frames = Vec::with_capacity(packets);
    for place in 0..packets {
        let from_end = packets - place;
        let (from, flags, pause, len) = match place {
            0 => (0, SYN, 0, 0),
            1 => (1, SYN | ACK, 10_000, 0),
            2 => (0, ACK, 5_000, 0),
            _ if from_end == 3 => (0, FIN_ACK, 10_000, 0),
            _ if from_end == 2 => (1, FIN_ACK, 10_000, 0),
            _ if from_end == 1 => (0, ACK, 10_000, 0),
            _ => {
                let pause = if rng.below(500) == 0 { long } else { rng.below(60_000_000) };
                (1 - place % 2, TcpFlags::PSH | ACK, pause, 1 + rng.below(1_400) as u32)
            }
        };
        at_micros += pause;
        let (src, dst) = if from == 0 { (client, server) } else { (server, client) };
        let ack = if place == 0 { 0 } else { next[1 - from] };
        frames.push(Frame { at_micros, headers: headers(src, dst, [next[from], ack], flags, len), wire_len: HEADERS as u32 + len });
        next[from] = next[from].wrapping_add(len + u32::from(flags & (SYN | TcpFlags::FIN) != 0));
    }
    frames
}

/// Ethernet, IPv4 and TCP without options; the checksums are not looked at.
fn headers(src: (u32, u16), dst: (u32, u16), [seq, ack]: [u32; 2], flags: u8, len: u32) -> [u8; HEADERS] {
    let mut bytes = [0; HEADERS];
    bytes[12..14].copy_from_slice(&0x0800_u16.to_be_bytes());
    bytes[14] = 0x45;
    bytes[16..18].copy_from_slice(&(40 + len as u16).to_be_bytes());
    bytes[22] = 64;
    bytes[23] = 6;
    bytes[26..30].copy_from_slice(&src.0.to_be_bytes());
    bytes[30..34].copy_from_slice(&dst.0.to_be_bytes());
    bytes[34..36].copy_from_slice(&src.1.to_be_bytes());
    bytes[36..38].copy_from_slice(&dst.1.to_be_bytes());
    bytes[38..42].copy_from_slice(&seq.to_be_bytes());
    bytes[42..46].copy_from_slice(&ack.to_be_bytes());
    bytes[46] = 0x50;
    bytes[47] = flags;
    bytes[48..50].copy_from_slice(&65_000_u16.to_be_bytes());
    bytes
}

/// All connections, in the order of time. Some silences are longer than a timer, so that there is something to judge.
fn traffic() -> Vec<Frame> {
    let mut frames: Vec<Frame> = (0..FLOWS).flat_map(|number| conversation(number, PACKETS, 400_000_000)).collect();
    frames.sort_by_key(|frame| frame.at_micros);
    frames
}

fn words(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn pcap(frames: &[Frame]) -> Input {
    let mut bytes = Vec::new();
    words(&mut bytes, &[0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, 1]);
    for frame in frames {
        let (secs, micros) = ((frame.at_micros / 1_000_000) as u32, (frame.at_micros % 1_000_000) as u32);
        words(&mut bytes, &[secs, micros, HEADERS as u32, frame.wire_len]);
        bytes.extend(frame.headers);
    }
    Input::Bytes { name: "pcap".to_owned(), bytes: Arc::from(bytes) }
}

fn pcapng(frames: &[Frame]) -> Input {
    const PADDED: usize = HEADERS.next_multiple_of(4);
    const BLOCK: u32 = 32 + PADDED as u32;
    let mut bytes = Vec::new();
    // A section of unknown length, and one interface: Ethernet, microseconds.
    words(&mut bytes, &[0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28]);
    words(&mut bytes, &[1, 20, 1, 65_535, 20]);
    for frame in frames {
        let (high, low) = ((frame.at_micros >> 32) as u32, frame.at_micros as u32);
        words(&mut bytes, &[6, BLOCK, 0, high, low, HEADERS as u32, frame.wire_len]);
        bytes.extend(frame.headers);
        bytes.extend([0; PADDED - HEADERS]);
        words(&mut bytes, &[BLOCK]);
    }
    Input::Bytes { name: "pcapng".to_owned(), bytes: Arc::from(bytes) }
}

fn open(input: &Input) -> Capture {
    capture::open(std::slice::from_ref(input)).expect("the capture made here can be read")
}

/// Reads everything; how many records, and their bytes.
fn read(input: &Input) -> (usize, usize) {
    let (mut capture, mut batch, mut sum) = (open(input), Batch::new(), (0, 0));
    while capture.next_batch(&mut batch) {
        for record in batch.iter() {
            sum = (sum.0 + 1, sum.1 + record.bytes.len());
        }
    }
    sum
}

/// Reads and decodes everything, and hands each segment on.
fn decode(input: &Input, mut take: impl FnMut(&Decoded)) {
    let (mut capture, mut batch, mut decoder) = (open(input), Batch::new(), Decoder::new());
    while capture.next_batch(&mut batch) {
        for record in batch.iter() {
            if let Some(decoded) = decoder.decode(&record) {
                take(&decoded);
            }
        }
    }
}

fn decoded(frames: &[Frame]) -> Vec<Decoded> {
    let mut all = Vec::with_capacity(frames.len());
    decode(&pcap(frames), |one| all.push(*one));
    assert_eq!(all.len(), frames.len(), "every packet made here can be decoded");
    all
}

fn path(boxes: &[&str]) -> Path {
    let none = |name: &str| Err(format!("{name}: no files here"));
    let specs: Vec<_> = boxes.iter().flat_map(|text| policy::parse(text, &none).expect("a box that exists")).collect();
    Path::build(&specs, Clock::Ideal).expect("a path of such boxes")
}

/// One conversation as a box is given it, which way each packet goes said.
fn steps() -> Vec<Segment> {
    decoded(&conversation(1, STEPS, 60_000_000))
        .iter()
        .map(|one| Segment { dir: if one.dst.port == SERVER_PORT { Direction::Original } else { Direction::Reply }, ..one.segment })
        .collect()
}

/// Leads a conversation through the only box of a path; how many packets it forwarded.
fn step(path: &Path, segments: &[Segment]) -> usize {
    const PORT: u16 = 1025;
    let hop = &path.hops[0];
    let mut state = hop.empty();
    let outcomes = segments.iter().map(|seg| {
        let (from, tuple) = match seg.dir {
            Direction::Original => (Side::Client, Path::from_client(PORT, SERVER_PORT)),
            Direction::Reply => (Side::Server, path.from_server(PORT, SERVER_PORT)),
        };
        let packet = Packet { from, tuple, proto: Proto::Tcp, seg };
        black_box(hop.packet(&mut state, packet, &mut Moment::exact(seg.at)))
    });
    outcomes.filter(|outcome| outcome.forwarded().is_some()).count()
}

/// A whole replay, judged; how many flows it has and how many of them survive.
fn replay(input: &Input, path: &Path, threads: usize) -> (usize, usize) {
    let job = Job { threads, ..Job::default() };
    let run = pipeline::run(&mut open(input), path, &job, &AtomicBool::new(false));
    let report = Report::new(path, &run);
    (report.counts().iter().sum(), report.count(Verdict::Survives))
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    let frames = traffic();
    let count = frames.len();
    let (plain, blocks) = (pcap(&frames), pcapng(&frames));
    let segments = decoded(&frames);
    assert_eq!(read(&plain), (count, count * HEADERS));
    assert_eq!(read(&blocks), (count, count * HEADERS));

    let mut group = criterion.benchmark_group("parts");
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("read pcap", |b| b.iter(|| read(black_box(&plain))));
    group.bench_function("read pcapng", |b| b.iter(|| read(black_box(&blocks))));
    group.bench_function("read and decode pcap", |b| {
        b.iter(|| {
            decode(black_box(&plain), |one| {
                black_box(one);
            });
        });
    });
    group.bench_function("find and observe flows", |b| {
        b.iter_with_large_drop(|| {
            let (mut table, mut book) = (FlowTable::new(StreamRule::default()), Book::new());
            for (order, one) in segments.iter().enumerate() {
                let ends = book.ends(one.src, one.dst, one.proto);
                black_box(table.observe(&ends, &mut one.segment.clone(), order as u64));
            }
            table
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("step");
    let steps = steps();
    group.throughput(Throughput::Elements(STEPS as u64));
    for name in BOXES {
        let path = path(&[name]);
        assert_eq!(step(&path, &steps), STEPS, "{name} forwards the whole conversation");
        group.bench_with_input(BenchmarkId::from_parameter(name), &path, |b, path| b.iter(|| step(path, black_box(&steps))));
    }
    group.finish();

    let mut group = criterion.benchmark_group("replay");
    let path = path(&BOXES);
    let (flows, survivors) = replay(&plain, &path, 1);
    assert!(flows == FLOWS as usize && survivors > flows / 2 && survivors < flows, "{survivors} of {flows} flows survive");
    group.throughput(Throughput::Elements(count as u64));
    for (name, threads) in [("one thread", 1), ("a thread a core", 0)] {
        // Judging takes place on the threads of whoever asks for it.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        group.bench_function(name, |b| pool.install(|| b.iter(|| replay(black_box(&plain), &path, threads))));
    }
    group.finish();
    criterion.final_summary();
}
