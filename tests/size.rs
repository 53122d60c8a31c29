//! More than fits: floods with `--max-flows`, restarts without end, pipes that are read more than once. What is kept is judged as
//! without the flood, what is left out is counted and said, and nothing depends on the number of threads.

use flowlapse::capture::{Input, open};
use flowlapse::engine;
use flowlapse::engine::pipeline::{self, Job};
use flowlapse::flow::{Book, FlowTable, StreamRule};
use flowlapse::net::{Addr, Direction, Proto, Segment, Seq, Sock, TcpFlags};
use flowlapse::policy;
use flowlapse::time::Instant;
use proptest::prelude::*;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;

const POPULATION: &str = "scenarios/laptops-and-vpn.json";
const HANG: &str = "fixtures/captures/ssh-hang-firewall-established-3600-client-side.pcap";
const BOX: &str = "conntrack:strict,established=1800";
/// The clients of a population, but not the sources of a flood.
const REAL: [&str; 2] = ["net 10.0.0.0/8", "net 2001:db8::a00:0/104"];

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowlapse"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).stdin(Stdio::null());
    command
}

fn flowlapse(args: &[&str]) -> Output {
    command(args).output().expect("it starts")
}

/// What a command says, without mistakes.
fn said(args: &[&str]) -> String {
    let output = flowlapse(args);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), told.as_ref()), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&said(args)).expect("a document")
}

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("size-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Some flows of a population with a flood between them.
fn flood(folder: &Path, flows: &str, syns: &str, more: &[&str]) -> String {
    let file = folder.join("flood.pcap").display().to_string();
    let args = ["synth", POPULATION, "-o", &file, "--set", &format!("population.flows={flows}"), "--flood", syns];
    let told = said(&[&args[..], more].concat());
    assert!(syns == "0" || told.contains(&format!("{syns} SYNs of a flood")), "{told}");
    file
}

/// The flows of a document without their stream numbers.
fn flows(document: &Value) -> Vec<Value> {
    let strip = |flow: &Value| {
        let mut flow = flow.clone();
        let map = flow.as_object_mut().expect("a flow");
        map.shift_remove("stream");
        map.shift_remove("filter");
        flow
    };
    document["flows"].as_array().expect("flows").iter().map(strip).collect()
}

fn packets(document: &Value) -> u64 {
    let of = |flow: &Value| flow["packets"].as_array().expect("two").iter().map(|n| n.as_u64().expect("a number")).sum::<u64>();
    document["flows"].as_array().expect("flows").iter().map(of).sum()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// Replays a flooded capture with a limit, and holds it against the same capture where a filter leaves the flood out.
fn held_against_the_filter(file: &str, real: &str, most: usize) -> Value {
    let limit = most.to_string();
    let flooded = json(&["replay", file, "--box", BOX, "--json", "--max-flows", &limit, "--threads", "1"]);
    let alone = json(&["replay", file, "--box", BOX, "--json", "--filter", real]);
    let kept = flows(&flooded);
    assert!(kept.len() <= most, "{}", kept.len());
    let wanted = flows(&alone);
    assert!(wanted.iter().any(|flow| flow["verdict"] == "cut") && wanted.len() >= 20);
    let clients: std::collections::BTreeSet<String> = wanted.iter().map(|flow| flow["client"].to_string()).collect();
    let kept: Vec<Value> = kept.into_iter().filter(|flow| clients.contains(&flow["client"].to_string())).collect();
    assert_eq!(kept, wanted);
    let room = &flooded["no_room"];
    let left = number(&room["packets"]) + number(&room["packets_turned_away"]);
    assert_eq!(packets(&flooded) + left, number(&flooded["packets"]["records"]));
    assert_eq!(number(&flooded["packets"]["followed"]), packets(&flooded));
    assert_eq!((number(&room["max_flows"]), &flooded["complete"]), (most as u64, &Value::Bool(false)));
    assert_eq!(alone["complete"], true);
    assert!(alone["no_room"].is_null());
    // The streams are those of the flows that are there, in their order.
    let streams: Vec<u64> = flooded["flows"].as_array().expect("flows").iter().map(|flow| number(&flow["stream"])).collect();
    assert!(streams.iter().copied().eq(0..streams.len() as u64));
    flooded
}

#[test]
fn a_flood_changes_nothing_about_the_flows_in_it() {
    let folder = folder("flood");
    let file = flood(&folder, "40", "150000", &[]);
    let told = held_against_the_filter(&file, REAL[0], 1000);
    assert_eq!(number(&told["no_room"]["packets_turned_away"]), 0);
    assert_eq!(number(&told["no_room"]["flows"]), 150_000 + 40 - 1000);
    let threads = |count| said(&["replay", &file, "--box", BOX, "--ndjson", "--max-flows", "1000", "--threads", count]);
    assert!(threads("1") == threads("4"));
    let words = said(&["replay", &file, "--box", BOX, "--max-flows", "1000"]);
    let told = "149040 flows that never became connections made room for others (149040 packets)";
    assert!(words.replace('\n', " ").contains(told), "{words}");
    fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn a_flood_of_ipv6_addresses_does_not_either() {
    let folder = folder("flood-six");
    let file = flood(&folder, "40", "150000", &["--v6"]);
    let told = held_against_the_filter(&file, REAL[1], 500);
    assert_eq!(number(&told["no_room"]["flows"]), 150_000 + 40 - 500);
    fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn a_flood_that_many_tables_share_does_not_either() {
    let folder = folder("flood-many");
    let file = flood(&folder, "40", "140000", &[]);
    let told = held_against_the_filter(&file, REAL[0], 70_000);
    // The tables share what room there is, and use all of it but for a few.
    assert!(told["flows"].as_array().expect("flows").len() > 69_000);
    let threads = |count| said(&["replay", &file, "--box", BOX, "--ndjson", "--max-flows", "70000", "--threads", count]);
    assert!(threads("1") == threads("3"));
    fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn connections_stay_and_who_comes_later_is_left_out() {
    let folder = folder("late");
    let file = flood(&folder, "60", "0", &[]);
    let all = json(&["replay", &file, "--box", BOX, "--json", "--max-flows", "none"]);
    let few = json(&["replay", &file, "--box", BOX, "--json", "--max-flows", "10"]);
    let first = |document: &Value, many: usize| document["flows"].as_array().expect("flows")[..many].to_vec();
    assert_eq!(first(&few, 10), first(&all, 10));
    assert_eq!(few["flows"].as_array().map(Vec::len), Some(10));
    let room = &few["no_room"];
    assert_eq!((number(&room["flows"]), number(&room["packets"])), (0, 0));
    assert_eq!(number(&room["packets_turned_away"]), packets(&all) - packets(&few));
    // As many as there are, and more: nothing is left out, and no byte differs.
    let same = |limit| said(&["replay", &file, "--box", BOX, "--json", "--max-flows", limit]);
    assert!(same("60") == same("none") && same("100000") == same("none"));
    fs::remove_dir_all(folder).expect("the folder is there");
}

/// A command with a small limit.
fn with<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &["--max-flows", "100"]].concat()
}

#[test]
fn every_command_says_what_it_left_out() {
    let folder = folder("commands");
    let file = flood(&folder, "30", "2000", &[]);
    let commands: [&[&str]; 6] = [
        &["replay", &file, "--box", BOX],
        &["sweep", &file, "--box", BOX, "--vary", "conntrack.established=600,3600"],
        &["tune", &file, "--box", BOX],
        &["diff", BOX, "conntrack:strict", &file],
        &["infer", &file],
        &["capacity", &file, "--box", BOX],
    ];
    for args in commands {
        let words = said(&with(args)).replace('\n', " ");
        assert!(words.contains("at most 100 flows are held (--max-flows)"), "{args:?}: {words}");
        let document = json(&[&with(args)[..], &["--json"]].concat());
        assert_eq!(number(&document["no_room"]["flows"]), 1930, "{args:?}");
        assert_eq!(document["complete"], false, "{args:?}");
        let whole = json(&[args, &["--json", "--max-flows", "none"]].concat());
        assert!(whole["no_room"].is_null() && whole["complete"] == true, "{args:?}");
    }
    let words = said(&with(&["explain", &file, "--flow", "worst", "--box", BOX])).replace('\n', " ");
    assert!(words.contains("(--max-flows)"), "{words}");
    let document = json(&with(&["check", &file, "--policy", BOX, "--fail-on", "none", "--json", "-"]));
    assert!(document.to_string().contains("1930 packets left out, because at most 100 flows are held (--max-flows)"), "{document}");
    let page = folder.join("page.html");
    said(&with(&["replay", &file, "--box", BOX, "--html", page.to_str().expect("text")]));
    assert!(fs::read_to_string(page).expect("the page is there").contains("(--max-flows)"));
    let summary = said(&with(&["replay", &file, "--box", BOX, "--ndjson", "--summary"]));
    assert_eq!(number(&serde_json::from_str::<Value>(&summary).expect("a line")["no_room"]["packets"]), 1930);
    for (strict, code) in [("replay", 3), ("infer", 3)] {
        let args = if strict == "replay" { vec!["replay", &file, "--box", BOX, "--strict"] } else { vec!["infer", &file, "--strict"] };
        assert_eq!(flowlapse(&with(&args)).status.code(), Some(code), "{strict}");
    }
    fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn a_limit_is_a_number_or_none() {
    for (wrong, told) in [("0", "from 1 on, or none"), ("many", "from 1 on, or none"), ("-1", "from 1 on, or none")] {
        let output = flowlapse(&["replay", HANG, "--box", "ipvs", &format!("--max-flows={wrong}")]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(told), "{wrong}: {said}");
    }
}

/// Runs a command with a capture on its standard input, and with temporary files in a folder.
fn piped(args: &[&str], capture: &str, temporary: &Path) -> Output {
    let input = File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(capture)).expect("the capture is there");
    command(args).stdin(input).env("TMPDIR", temporary).output().expect("it starts")
}

#[test]
fn a_pipe_is_kept_in_a_file_where_it_is_read_again() {
    let folder = folder("pipe");
    let args = |input| ["tune", input, "--box", "conntrack:strict,established=3600"];
    let output = piped(&args("-"), HANG, &folder);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let from_pipe = String::from_utf8(output.stdout).expect("text");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&from_pipe), words(&said(&args(HANG)).replace(HANG, "-")));
    // Another pipe than standard input is kept as well.
    if cfg!(unix) {
        let mut named = command(&args("/dev/stdin"));
        let mut running = named.stdin(Stdio::piped()).stdout(Stdio::piped()).env("TMPDIR", &folder).spawn().expect("it starts");
        let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(HANG)).expect("the capture is there");
        running.stdin.take().expect("a pipe").write_all(&bytes).expect("it is read");
        let output = running.wait_with_output().expect("it ends");
        assert_eq!(words(&String::from_utf8_lossy(&output.stdout).replace("/dev/stdin", "-")), words(&from_pipe));
    }
    // Nothing is left behind.
    assert_eq!(fs::read_dir(&folder).expect("the folder is there").count(), 0);
    fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn where_a_pipe_cannot_be_kept_one_line_says_so() {
    let nowhere = folder("nowhere").join("not-there");
    let output = piped(&["tune", "-", "--box", "conntrack"], HANG, &nowhere);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.lines().count() == 1 && told.contains("TMPDIR") && told.contains("not-there"), "{told}");
    // What reads once keeps nothing.
    let commands: [&[&str]; 4] = [
        &["sweep", "-", "--box", "conntrack", "--vary", "conntrack.established=600,3600"],
        &["diff", "conntrack", "ipvs", "-"],
        &["capacity", "-", "--box", "conntrack"],
        &["replay", "-", "--box", "conntrack"],
    ];
    for args in commands {
        let output = piped(args, HANG, &nowhere);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A segment between one of few clients and a server.
fn segment(client: u8, seq: u32, flags: u8, reply: bool, order: u64) -> (Sock, Sock, Segment) {
    let client = Sock { addr: Addr::v4([10, 0, 0, client]), port: 1000 };
    let server = Sock { addr: Addr::v4([10, 1, 0, 1]), port: 80 };
    let ack = if TcpFlags(flags).has(TcpFlags::ACK) { Seq(1) } else { Seq(0) };
    let at = Instant(order * 1_000_000_000);
    let segment =
        Segment { at, frame: order as u32 + 1, seq: Seq(seq), ack, flags: TcpFlags(flags), dir: Direction::Original, ..Segment::EMPTY };
    if reply { (server, client, segment) } else { (client, server, segment) }
}

#[test]
fn a_tuple_that_begins_anew_without_end_is_bounded() {
    let (mut table, mut book) = (FlowTable::new(StreamRule::default()), Book::new());
    table.hold_at_most(100);
    for order in 0..50_000 {
        let (src, dst, mut seg) = segment(1, (order as u32).wrapping_mul(77_777_777), TcpFlags::SYN, false, order);
        assert!(table.observe(&book.ends(src, dst, Proto::Tcp), &mut seg, order).is_some());
    }
    assert_eq!((table.len(), table.no_room().flows, table.no_room().packets), (100, 49_900, 49_900));
    table.close(false, |_, _| {});
    let orders: Vec<u64> = table.flows().map(|flow| flow.first_order).collect();
    assert!(orders.iter().copied().eq(49_900..50_000));
}

/// A classic pcap file of raw IP packets, a second apart.
fn raw(packets: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 101] {
        file.extend(word.to_le_bytes());
    }
    for (second, packet) in packets.enumerate() {
        for word in [second as u32, 0, packet.len() as u32, packet.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

/// An IPv4 header with the lengths and the protocol alone, and what follows.
fn ip(protocol: u8, client: u32, rest: &[u8]) -> Vec<u8> {
    let length = 20 + rest.len() as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    packet.extend((0x0a00_0000 | client).to_be_bytes());
    packet.extend([10, 255, 0, 1]);
    packet.extend(rest);
    packet
}

fn replayed(bytes: Vec<u8>) -> pipeline::Run {
    let mut capture = open(&[Input::Bytes { name: "made".to_owned(), bytes: bytes.into() }]).expect("a capture");
    let boxes = policy::parse("conntrack", &|_| Err("no files".to_owned())).expect("a box");
    let path = engine::Path::build(&boxes, engine::Clock::Ideal).expect("a path");
    pipeline::run(&mut capture, &path, &Job { threads: 1, ..Job::default() }, &AtomicBool::new(false))
}

#[test]
fn of_icmp_errors_the_first_are_kept_and_all_are_counted() {
    let error = |client: u32| {
        let quoted = ip(6, client, &[0x04, 0, 0, 80, 0, 0, 0, 1]);
        ip(1, client, &[&[3, 1, 0, 0, 0, 0, 0, 0][..], &quoted].concat())
    };
    let many = pipeline::ERRORS_MAX as u32 + 5000;
    let run = replayed(raw((0..many).map(error)));
    assert_eq!((run.errors.len(), run.counters.records), (pipeline::ERRORS_MAX, u64::from(many)));
    assert_eq!(run.counters.seen().map(|(_, count)| count).sum::<u64>(), u64::from(many));
}

#[test]
fn interfaces_are_bounded_and_what_came_before_is_read() {
    let block = |kind: u32, body: &[u8]| {
        let length = 12 + body.len() as u32;
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), body, &length.to_le_bytes()].concat()
    };
    let mut file = block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    let interface = block(1, &[101, 0, 0, 0, 0, 0, 4, 0]);
    let packet = |number: u32| {
        let syn = [0x04, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
        let bytes = ip(6, 1, &syn);
        let words = [number, 0, 0, bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        block(6, &[&words[..], &bytes].concat())
    };
    for _ in 0..1 << 20 {
        file.extend(&interface);
    }
    file.extend(packet((1 << 20) - 1));
    file.extend(&interface);
    file.extend(packet(0));
    let run = replayed(file);
    assert_eq!((run.flows.len(), run.counters.records, run.damages.len()), (1, 1, 1));
    assert!(run.damages[0].to_string().contains("more than 1048576 interfaces"), "{}", run.damages[0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Every packet is in a flow or counted, a table holds no more than it may, and with room enough it is as without a limit.
    #[test]
    fn every_packet_is_kept_or_counted(
        packets in prop::collection::vec((0..12_u8, 0..3_u32, 0..4_usize, any::<bool>()), 1..300),
        most in 1..20_usize,
    ) {
        const KINDS: [u8; 4] = [TcpFlags::SYN, TcpFlags::SYN | TcpFlags::ACK, TcpFlags::ACK, TcpFlags::RST];
        let run = |most: Option<usize>| {
            let (mut table, mut book) = (FlowTable::new(StreamRule::default()), Book::new());
            let mut beside: Vec<u64> = Vec::new();
            if let Some(most) = most {
                table.hold_at_most(most);
            }
            for (order, (client, seq, kind, reply)) in packets.iter().enumerate() {
                let order = order as u64;
                let (src, dst, mut seg) = segment(*client, seq * 1000, KINDS[*kind], *reply, order);
                let Some((placed, _)) = table.observe(&book.ends(src, dst, Proto::Tcp), &mut seg, order) else { continue };
                if placed.is_new {
                    beside.resize(beside.len().max(placed.flow.get() + 1), 0);
                    beside[placed.flow.get()] = order;
                }
            }
            table.close(false, |one, other| beside.swap(one, other));
            (table, beside)
        };
        let (all, _) = run(None);
        prop_assert!(all.no_room().is_nothing());
        let (held, beside) = run(Some(most));
        prop_assert!(held.len() <= most);
        let kept: u64 = held.flows().map(|flow| u64::from(flow.segments[0]) + u64::from(flow.segments[1])).sum();
        prop_assert_eq!(kept + held.no_room().left_out(), packets.len() as u64);
        // In the order of their first packets, and so is what is kept for them.
        let orders: Vec<u64> = held.flows().map(|flow| flow.first_order).collect();
        prop_assert!(orders.is_sorted());
        prop_assert_eq!(&orders, &beside);
        if all.len() <= most {
            prop_assert_eq!(format!("{:?}", all.flows().collect::<Vec<_>>()), format!("{:?}", held.flows().collect::<Vec<_>>()));
        }
    }
}
