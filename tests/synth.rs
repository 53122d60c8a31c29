//! `flowlapse synth` as a whole command: the same bytes for the same seed, every packet of the scenario in the order of time, and
//! mistakes in one line.

use flowlapse::capture::{Batch, Damage, Input, open};
use flowlapse::decode::Decoder;
use flowlapse::net::{Direction, Segment, Sock};
use flowlapse::report::story::pcap::EPOCH;
use flowlapse::scenario::interleave::sockets;
use flowlapse::scenario::offered::Traffic;
use flowlapse::scenario::{Share, load};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const POPULATION: &str = "scenarios/laptops-and-vpn.json";
const BIG: &str = "benches/big.json";

fn flowlapse(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowlapse"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).stdin(Stdio::null()).output().expect("it starts")
}

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("synth-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// What the command says, without mistakes.
fn text(args: &[&str]) -> String {
    let output = flowlapse(args);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), told.as_ref()), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&text(args)).expect("a document")
}

/// The capture of a scenario, with more options.
fn capture(scenario: &str, more: &[&str]) -> Vec<u8> {
    let output = flowlapse(&[&["synth", scenario, "-o", "-"], more].concat());
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""), "{more:?}");
    output.stdout
}

/// One packet as it is read back.
struct Read {
    src: Sock,
    dst: Sock,
    seg: Segment,
    captured: usize,
    wire_len: u32,
}

fn read(bytes: &[u8]) -> Vec<Read> {
    let mut capture = open(&[Input::Bytes { name: "written".to_owned(), bytes: bytes.into() }]).expect("it is a capture");
    let (mut batch, mut decoder, mut seen) = (Batch::new(), Decoder::new(), Vec::new());
    while capture.next_batch(&mut batch) {
        for record in batch.iter() {
            let decoded = decoder.decode(&record).expect("it is a segment");
            let (captured, wire_len) = (record.bytes.len(), record.wire_len);
            seen.push(Read { src: decoded.src, dst: decoded.dst, seg: decoded.segment, captured, wire_len });
        }
    }
    assert_eq!(capture.damages(), Vec::<Damage>::new());
    seen
}

/// What a box can read of a segment, from nothing but the time, the fields and the options.
fn brief(seg: &Segment) -> String {
    let ack = if seg.flags.has(0x10) { (seg.ack.0, seg.sack.0) } else { (0, 0) };
    let offers = if seg.flags.has(0x02) { (seg.bits.0, seg.window_scale) } else { (0, 0) };
    format!("{} {} {} {:?} {} {} {:?}", seg.at.0, seg.flags, seg.seq.0, ack, seg.len, seg.window, offers)
}

/// By the sockets of client and server, what each flow says.
type Flows = BTreeMap<(Sock, Sock), Vec<String>>;

fn flows(packets: &[Read]) -> Flows {
    let mut flows = Flows::new();
    for packet in packets {
        // The server has the port of ssh, no client has.
        let key = if packet.dst.port == 22 { (packet.src, packet.dst) } else { (packet.dst, packet.src) };
        flows.entry(key).or_default().push(format!("{} {}", packet.dst.port == 22, brief(&packet.seg)));
    }
    flows
}

/// The same as the scenario's traffic has it, from which `sweep` reads it.
fn offered(scenario: &str, settings: &[&str], six: f64) -> Flows {
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(scenario)).expect("readable");
    let ready = load(&source, scenario, &settings).expect("a scenario").compile().expect("it makes sense");
    let traffic = Traffic::new(&ready);
    let mut flows = Flows::new();
    for (number, flow) in traffic.chunks().flatten().enumerate() {
        let [client, server] = sockets(&traffic, number as u64, Share(six));
        let one = |seg: &Segment| {
            let seg = Segment { at: seg.at + EPOCH, ..*seg };
            format!("{} {}", seg.dir == Direction::Original, brief(&seg))
        };
        assert!(flows.insert((client, server), flow.segments.iter().map(one).collect()).is_none());
    }
    flows
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_threads() {
    let flows = ["--flows", "9000"];
    let one = capture(BIG, &[&flows[..], &["--threads", "1"]].concat());
    assert!(one == capture(BIG, &[&flows[..], &["--threads", "3"]].concat()));
    assert!(one != capture(BIG, &[&flows[..], &["--seed", "2"]].concat()));
    assert!(one == capture(BIG, &[&flows[..], &["--set", "seed=1"]].concat()));
}

#[test]
fn every_packet_of_the_scenario_is_there_in_the_order_of_time() {
    // More flows than are made in one go; loss, so that something is selected and sent again.
    for (scenario, settings) in [
        (POPULATION, &["population.flows=300", "links.loss=3%", "links.jitter=30ms"][..]),
        (BIG, &["population.flows=9000", "duration=90min", "population.arrive_over=1h"]),
        (BIG, &["population.flows=500", "population.arrive_over=0"]),
        ("scenarios/ssh-ipvs-nat.json", &[]),
    ] {
        let sets: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let packets = read(&capture(scenario, &sets));
        assert!(packets.is_sorted_by_key(|packet| packet.seg.at), "{scenario}");
        let (found, wanted) = (flows(&packets), offered(scenario, settings, 0.0));
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{scenario} {settings:?}");
        for (key, flow) in &wanted {
            assert_eq!(&found[key], flow, "{scenario} {settings:?} {key:?}");
        }
        // Headers only, and true lengths.
        for packet in &packets {
            assert_eq!(packet.captured + packet.seg.len as usize, packet.wire_len as usize);
            assert!(packet.seg.flags.has(0x02) || packet.captured == 54 || packet.seg.sack != packet.seg.ack);
        }
    }
}

#[test]
fn every_form_says_the_same() {
    let folder = folder("forms");
    let flows_only = ["--flows", "150"];
    let plain = capture(POPULATION, &flows_only);
    let wanted = flows(&read(&plain));
    for (name, more) in [
        ("plain.pcap", &[][..]),
        ("block.pcapng", &[]),
        ("block", &["--format", "pcapng"]),
        ("packed.pcap.gz", &[]),
        ("packed.PCAP.ZST", &[]),
        ("both.pcapng.zst", &[]),
        ("tagged.pcap", &["--vlan", "100"]),
        ("whole.pcapng", &["--snaplen", "0"]),
        ("some.pcap", &["--snaplen", "96"]),
    ] {
        let file = folder.join(name);
        let told = text(&[&["synth", POPULATION, "-o", file.to_str().expect("a name")], &flows_only[..], more].concat());
        assert!(told.starts_with(&format!("{}: ", file.display())) && told.contains(" packets of 150 flows in "), "{told}");
        let bytes = fs::read(&file).expect("it was written");
        let magic: &[u8] = match name {
            name if name.ends_with("gz") => &[0x1f, 0x8b],
            name if name.to_ascii_lowercase().ends_with("zst") => &[0x28, 0xb5, 0x2f, 0xfd],
            name if name.starts_with("block") || name.starts_with("whole") => &[0x0a, 0x0d, 0x0d, 0x0a],
            _ => &[0x4d, 0x3c, 0xb2, 0xa1],
        };
        assert!(bytes.starts_with(magic), "{name}");
        let packets = read(&bytes);
        assert_eq!(flows(&packets), wanted, "{name}");
        for packet in &packets {
            let whole = packet.wire_len as usize;
            match name {
                "whole.pcapng" => assert_eq!(packet.captured, whole),
                "some.pcap" => assert_eq!(packet.captured, whole.min(96)),
                _ => assert_eq!(packet.captured, whole - packet.seg.len as usize),
            }
        }
    }
    assert_eq!(fs::read(folder.join("plain.pcap")).expect("it was written"), plain);
    // What was beside the files while they were written is gone.
    let names: Vec<_> = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names.len(), 9, "{names:?}");

    let micros = read(&capture(POPULATION, &[&flows_only[..], &["--micros"]].concat()));
    assert!(micros.iter().all(|packet| packet.seg.at.0 % 1_000 == 0));
    assert_eq!(micros.len(), wanted.values().map(Vec::len).sum::<usize>());
}

#[test]
fn a_share_of_the_flows_speaks_ipv6() {
    let flows_only = ["--flows", "1000"];
    for (option, share, counts) in [("--v6", 1.0, 1000..=1000), ("--v6=30%", 0.3, 250..=350), ("--v6=0.5", 0.5, 450..=550)] {
        let found = flows(&read(&capture(POPULATION, &[&flows_only[..], &[option]].concat())));
        let six = found.keys().filter(|(client, server)| client.addr.is_v6() && server.addr.is_v6()).count();
        assert!(counts.contains(&six), "{option}: {six}");
        assert!(found == offered(POPULATION, &["population.flows=1000"], share), "{option}");
    }
}

#[test]
fn replay_reads_what_sweep_sees() {
    let file = folder("replay").join("x.pcap.zst");
    let name = file.to_str().expect("a name");
    let written = json(&["synth", POPULATION, "-o", name, "--flows", "400", "--json"]);
    let told = json(&["replay", name, "--box", "conntrack:strict,established=1800", "--json"]);
    assert_eq!(written["schema"], "flowlapse-synth/1");
    assert_eq!(written["packets"], told["packets"]["records"]);
    assert_eq!((&written["begin_ns"], &written["end_ns"]), (&told["begin_ns"], &told["end_ns"]));
    assert_eq!(told["summary"]["flows"], 400);

    // `sweep` reads the scenario as it is in the file: a copy has as many flows.
    let copy = file.with_file_name("copy.json");
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(POPULATION)).expect("readable");
    fs::write(&copy, source.replace("\"flows\": 2000", "\"flows\": 400")).expect("writable");
    let name = copy.to_str().expect("a name");
    let swept = json(&["sweep", name, "--box", "conntrack:strict", "--vary", "conntrack.established=1800", "--json"]);
    let swept = swept["cases"][0]["verdicts"].as_object().expect("counts");
    assert!(swept["cut"].as_u64().is_some_and(|count| count > 20), "{swept:?}");
    for (verdict, count) in swept {
        assert_eq!(*count, told["summary"][verdict], "{verdict}: {}", told["summary"]);
    }
}

#[test]
fn a_small_one_in_words() {
    let out = capture(POPULATION, &["--flows", "2", "--set", "duration=1h", "--set", "population.mix=[]"]);
    let mut told = String::new();
    for Read { src, dst, seg, captured, wire_len } in read(&out).iter().take(7) {
        let at = (seg.at.0 - EPOCH.0) / 1_000_000;
        writeln!(told, "{at} {src} > {dst} {} {} {} {captured}/{wire_len}", seg.flags, seg.seq.0, seg.ack.0).expect("memory");
    }
    assert_eq!(told, SMALL);
    let mut head = String::new();
    for byte in &out[..24 + 16 + 66] {
        write!(head, "{byte:02x}").expect("memory");
    }
    assert_eq!(head, FIRST_BYTES);
}

const SMALL: &str = "\
2056635 10.0.0.1:32769 > 198.51.100.10:22 S 1477164481 0 66/66
2056655 198.51.100.10:22 > 10.0.0.1:32769 SA 2072493838 1477164482 66/66
2056655 10.0.0.1:32769 > 198.51.100.10:22 A 1477164482 2072493839 54/54
2104540 10.0.0.1:32769 > 198.51.100.10:22 PA 1477164482 2072493839 54/254
2104560 198.51.100.10:22 > 10.0.0.1:32769 A 2072493839 1477164682 54/54
2104571 198.51.100.10:22 > 10.0.0.1:32769 PA 2072493839 1477164682 54/1254
2104571 10.0.0.1:32769 > 198.51.100.10:22 A 1477164682 2072495039 54/54
";
/// The head of the file, the head of the record, and a SYN.
const FIRST_BYTES: &str = "\
4d3cb2a1020004000000000000000000000004000100000008c155692963dd254200000042000000\
0200c633640a02000a00000108004500003400004000400606860a000001c633640a\
80010016580bbdc1000000008002fb00a9ed0000020405b40101040201030307";

#[test]
fn mistakes_end_with_2_and_one_line_and_no_file() {
    let folder = folder("mistakes");
    let file = folder.join("x.pcap");
    let name = file.to_str().expect("a name");
    let late = folder.join("late.json");
    let source = r#"{"title": "Late", "duration": "36000d", "script": [{"at": "32000d", "who": "client", "send": 1}]}"#;
    fs::write(&late, source).expect("writable");
    let late = late.to_str().expect("a name");
    let nowhere = folder.join("none").join("x.pcap");
    let nowhere = nowhere.to_str().expect("a name");
    for (args, what) in [
        (&["scenarios/none.json", "-o", name][..], "scenarios/none.json: no such file"),
        (&[POPULATION, "-o", name, "--set", "population.flow=3"], "there is no key 'flow' here; did you mean 'flows'?"),
        (&[POPULATION, "-o", name, "--set", "duration=0"], "duration: 0 s is not between nothing and a hundred years"),
        (&["scenarios/ssh-ipvs-nat.json", "-o", name, "--flows", "3"], "has no population; its script is one flow"),
        (&[POPULATION, "-o", "-", "--json"], "--json: standard output is the capture; give a file with -o"),
        (&[POPULATION, "-o", nowhere], "cannot be written: "),
        (&[late, "-o", name], "cannot be written: classic pcap has no times after 2106; pcapng has"),
        (&[POPULATION, "-o", name, "--flows", "0"], "0 is not in 1..=100000000"),
        (&[POPULATION, "-o", name, "--vlan", "5000"], "5000 is not in 0..=4094"),
        (&[POPULATION, "-o", name, "--v6=3"], "3 is not between 0 and 1"),
        (&[POPULATION], "--output <FILE>"),
    ] {
        let out = flowlapse(&[&["synth"], args].concat());
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0), "{args:?}");
        assert!(told.contains(what), "{args:?}: {told}");
        if told.starts_with("flowlapse: ") {
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
    let left: Vec<_> = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["late.json"]);
    assert_eq!(read(&capture(late, &["--format", "pcapng"])).len(), 5);
}

#[test]
fn a_flood_is_single_syns_of_distinct_tuples_between_the_packets() {
    let more = ["--set", "population.flows=20", "--v6=50%"];
    let (plain, flooded) = (capture(POPULATION, &more), capture(POPULATION, &[&more[..], &["--flood", "5000"]].concat()));
    let (plain, flooded) = (read(&plain), read(&flooded));
    assert_eq!(flooded.len(), plain.len() + 5000);
    assert!(flooded.iter().map(|packet| packet.seg.at).is_sorted());
    let known = flows(&plain);
    let mut all = flows(&flooded);
    for (ends, said) in &known {
        assert_eq!(all.remove(ends).as_ref(), Some(said));
    }
    assert_eq!(all.len(), 5000);
    assert!(all.values().all(|said| said.len() == 1));
    let syns: Vec<&Read> = flooded.iter().filter(|packet| all.contains_key(&(packet.src, packet.dst))).collect();
    assert!(syns.iter().all(|syn| syn.seg.flags.has(0x02) && !syn.seg.flags.has(0x10) && syn.seg.len == 0));
    let six = syns.iter().filter(|syn| syn.src.addr.is_v6()).count();
    assert!((2200..2800).contains(&six), "{six}");
    // To the end of the scenario, however early the last packet of a flow came.
    assert!(flooded.last().map(|packet| packet.seg.at) > plain.last().map(|packet| packet.seg.at));
}
