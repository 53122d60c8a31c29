//! `flowlapse explain`: what it tells of recorded flows agrees with what their sockets felt; pairs of captures are matched whatever was
//! translated, cut or shifted between them; and nothing makes it fall over.

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures/");

fn fixture(name: &str) -> String {
    format!("{CAPTURES}{name}.pcap")
}

/// Runs the program: exit code, stdout, stderr.
fn flowlapse(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_flowlapse")).args(args).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn told(args: &[&str]) -> String {
    let mut all = vec!["explain"];
    all.extend(args);
    let (code, out, error) = flowlapse(&all);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{args:?}");
    for line in out.lines() {
        assert!(line.chars().count() <= 100 || line.split_whitespace().count() < 3 || line.contains('⇄'), "too wide: {line}");
    }
    // As one line, so that nothing depends on where it was broken.
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn json(args: &[&str]) -> Value {
    let mut all = vec!["explain", "--json"];
    all.extend(args);
    let (code, out, error) = flowlapse(&all);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{args:?}");
    serde_json::from_str(&out).expect("one JSON document")
}

fn refused(args: &[&str], told: &str) {
    let (code, out, error) = flowlapse(args);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {error}");
    assert!(error.starts_with("flowlapse: ") && error.contains(told) && error.lines().count() == 1, "{args:?}: {error}");
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("flowlapse-explain-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Folder(folder)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let file = self.0.join(name);
        std::fs::write(&file, bytes).expect("a file can be written");
        file.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A packet of a classic little-endian pcap with microseconds, as all fixtures are: Ethernet, IPv4 without options, TCP.
#[derive(Clone)]
struct Packet {
    micros: u64,
    wire: u32,
    bytes: Vec<u8>,
}

impl Packet {
    fn add(&mut self, at: usize, by: u32) {
        let value = u32::from_be_bytes(self.bytes[at..at + 4].try_into().expect("four bytes")).wrapping_add(by);
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    fn ports(&self) -> (u16, u16) {
        let port = |at: usize| u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
        (port(34), port(36))
    }

    fn is_from_client(&self) -> bool {
        self.ports().1 == 80
    }

    /// Sets the client's port.
    fn set_client_port(&mut self, port: u16) {
        let at = if self.is_from_client() { 34 } else { 36 };
        self.bytes[at..at + 2].copy_from_slice(&port.to_be_bytes());
    }

    /// Adds to the sequence numbers of the client and of the server.
    fn shift(&mut self, client: u32, server: u32) {
        let (seq, ack) = if self.is_from_client() { (client, server) } else { (server, client) };
        self.add(38, seq);
        let acks = self.bytes[47] & 0x10 != 0;
        self.add(42, if acks { ack } else { 0 });
    }
}

fn read(name: &str) -> Vec<Packet> {
    let bytes = std::fs::read(fixture(name)).expect("the fixture is there");
    assert_eq!(bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1], "{name}");
    let (mut packets, mut at) = (Vec::new(), 24);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    while at + 16 <= bytes.len() {
        let (micros, kept) = (u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4)), word(at + 8) as usize);
        packets.push(Packet { micros, wire: word(at + 12), bytes: bytes[at + 16..at + 16 + kept].to_vec() });
        at += 16 + kept;
    }
    packets
}

fn written(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for packet in packets {
        for word in [(packet.micros / 1_000_000) as u32, (packet.micros % 1_000_000) as u32, packet.bytes.len() as u32, packet.wire] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&packet.bytes);
    }
    bytes
}

/// All packets of a fixture, each changed.
fn changed(name: &str, change: impl Fn(&mut Packet)) -> Vec<Packet> {
    let mut packets = read(name);
    packets.iter_mut().for_each(change);
    packets
}

// ---- one flow --------------------------------------------------------------------------------------------------------------

#[test]
fn a_hang_is_told_from_the_first_packet_to_the_advice() {
    let hang = fixture("ssh-hang-firewall-established-3600-client-side");
    let text = told(&[&hang, "--box", "conntrack:strict,established=3600"]);
    has(
        &text,
        &[
            "tcp.stream eq 0 10.0.1.2:54964 → 10.0.2.2:80: cut by conntrack",
            "0.000000 the client connects (frames 1–3), round trip 58 µs",
            "0.984090 4 packets (frames 4–7) in 0.501 s: 48 bytes to the server, 48 bytes back",
            "1.484891 silence of 5398.507 s (1h29m59s) between frames 7 and 8 (proven idle: not a byte was exchanged)",
            "3601.484891 conntrack:strict,established=3600 forgets it: ESTABLISHED ran out, 3600 s (1h) after frame 7 \
             (net.netfilter.nf_conntrack_tcp_timeout_established)",
            "5399.992298 frame 8 comes 1798.507 s (29m59s) too late: data, client → server: dropped as NEW without SYN",
            "ESTABLISHED 3600 s (1h) (net.netfilter.nf_conntrack_tcp_timeout_established): set 3 times; 149.9 % used",
            "the capture was taken at the client: the client's packets have TTL 64, the server's 63",
            "client: sent its bytes again 16 times, after 0.208, 0.208, 0.416, 0.832, 1.664, …, 120.8 s (frames 9–24)",
            "predicted: hangs, retransmitting for 934 to 1045 s",
            "matches so far: the capture ends 13m37s after the packet",
            "cannot be seen in this capture: it was taken at the other end",
            "kept by: sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=5399",
        ],
    );
    // The same from the other end: the server's keepalive dies in the firewall.
    let text = told(&[&fixture("ssh-hang-firewall-established-3600-server-side"), "--box", "conntrack:strict,established=3600"]);
    has(
        &text,
        &[
            "frame 8 comes 3609.227 s (1h9s) too late: keepalive probe, server → client: dropped as NEW without SYN",
            "server: sent keepalive probes 8 times, after 1m16s each (frames 9–16)",
            "sent a RST after 11m22s (frame 17) predicted: its keepalive probes go unanswered",
            "client: sent nothing more predicted: learns nothing",
        ],
    );
}

#[test]
fn the_sockets_felt_what_is_said_to_match() {
    // The settings are those of the recording; the verdicts on client and server are what the capture can show of what they felt.
    for (name, boxes, client, server) in [
        ("ssh-reset-ipvs-nat-types-after-20min-client-side", "ipvs:nat", "yes", "unseen"),
        ("masquerade-strict-expired-leak-server-side", "conntrack:masquerade,strict,established=3,loose=0", "unseen", "yes"),
        ("ssh-hang-firewall-established-3600-client-side", "conntrack:strict,established=3600", "so-far", "unseen"),
        ("ssh-hang-firewall-established-3600-server-side", "conntrack:strict,established=3600", "unseen", "yes"),
        ("ipvs-dr-keepalive-too-late-client-side", "ipvs:dr,tcp=4,tcpfin=4,secure_tcp=3", "yes", "unseen"),
        ("ipvs-dr-expired-client-reset-client-side", "ipvs:dr,tcp=5,tcpfin=4", "yes", "unseen"),
        ("ipvs-nat-expired-fin-reset-client-side", "ipvs:nat,tcp=4,tcpfin=2", "yes", "unseen"),
    ] {
        let told = json(&[&fixture(name), "--box", boxes]);
        assert_eq!(told["flow"]["verdict"], "cut", "{name}");
        let after = &told["after"];
        assert_eq!((after["client_matches"].as_str(), after["server_matches"].as_str()), (Some(client), Some(server)), "{name}");
        assert_eq!(after["answered_frame"], Value::Null, "{name}");
    }
}

#[test]
fn a_path_without_the_timer_is_named() {
    let text = told(&[&fixture("dnat-expired-picked-up-client-side"), "--box", "conntrack:strict,established=6,loose=0"]);
    has(
        &text,
        &[
            "frame 6 comes 1.604 s too late",
            "in the capture the packet was answered: frame 7, 66 µs later. The path that it was captured on has no such timer",
            "the flow went on for 7 packets",
            "what this box would have done to both ends instead: client: hangs",
        ],
    );
    let document = json(&[&fixture("dnat-expired-picked-up-client-side"), "--box", "conntrack:strict,established=6,loose=0"]);
    assert_eq!(document["after"]["answered_frame"], 7);
    assert_eq!(document["after"]["client_matches"], "no");
}

#[test]
fn a_survivor_is_told_with_how_near_it_came() {
    let text = told(&[&fixture("ssh-survives-ipvs-nat-keepalive-600-client-side"), "--box", "ipvs:nat"]);
    has(
        &text,
        &[
            "13 keepalive probes of the server, all answered (frames 8–33), after 10m6s of silence, every 10m6s",
            "silence of 117.568 s (1m58s) between frames 33 and 34 (proven idle) · ipvs:nat: 13 % of ESTABLISHED 900 s used up",
            "ESTABLISHED 900 s (15m) (ipvsadm --set (first value)): set 57 times, 48 of them by keepalive; 67.5 % used",
            "survives: it came closest to the end of established 900 s (15m) at ipvs:nat, silent for 608.256 s (10m8s)",
        ],
    );
}

#[test]
fn a_flow_is_named_as_people_name_it() {
    let hang = fixture("ssh-hang-firewall-established-3600-client-side");
    let boxes = ["--box", "conntrack:strict,established=3600"];
    let ask = |flow: &str| told(&[&hang, "--flow", flow, boxes[0], boxes[1]]);
    let worst = told(&[&hang, "--worst", boxes[0], boxes[1]]);
    for flow in ["tcp.0", "0", "10.0.1.2:54964-10.0.2.2:80", "10.0.2.2:80 → 10.0.1.2:54964", "tcp 10.0.1.2", ":54964", "tcp.stream eq 0"]
    {
        assert_eq!(ask(flow), worst, "{flow}");
    }
    for (flow, told) in [
        ("10.0.1.2:54965-10.0.2.2:80", "nearest: tcp.0 10.0.1.2:54964 → 10.0.2.2:80"),
        ("tcp.1", "no stream tcp.1; there is one, tcp.0"),
        ("udp.0", "no stream udp.0; there is none"),
        ("somewhere", "expected a stream"),
    ] {
        refused(&["explain", &hang, "--flow", flow, boxes[0], boxes[1]], told);
    }
    refused(&["explain", &hang], "explain needs a box to lead the flow through, such as --box conntrack");
    refused(&["explain", &hang, "--match"], "--match compares captures from two points of the path");
    refused(&["explain", "-", "--box", "ipvs"], "standard input can be read only once");
    refused(&["explain", &hang, &hang, "--match", "--svg", "x.svg"], "give --box with it");
}

#[test]
fn the_document_has_phases_timers_and_what_came_after() {
    let document = json(&[&fixture("ssh-reset-ipvs-nat-types-after-20min-client-side"), "--box", "ipvs:nat"]);
    assert_eq!(document["schema"], "flowlapse-explain/1");
    assert_eq!(document["flow"]["decisive"]["victim_frame"], 8);
    let phases: Vec<&str> = document["phases"].as_array().expect("phases").iter().filter_map(|phase| phase["phase"].as_str()).collect();
    assert_eq!(phases, ["opening", "burst", "silence"]);
    assert_eq!(document["vantage"], "client");
    let timers = document["timers"].as_array().expect("timers");
    assert!(timers.iter().any(|timer| timer["state"] == "ESTABLISHED" && timer["ran_out"] == true && timer["last_set_frame"] == 7));
    let reset = &document["after"]["server"]["resets"][0];
    assert_eq!((reset["frame"].as_u64(), reset["ttl"].as_u64(), reset["birth"].as_str()), (Some(9), Some(64), Some("unlike-the-host")));
}

#[test]
fn the_picture_goes_on_after_the_cut() {
    let folder = Folder::new("picture");
    let hang = fixture("ssh-hang-firewall-established-3600-client-side");
    let file = |name: &str| folder.0.join(name).display().to_string();
    for (option, name) in [("--draw", "a.csv"), ("--draw", "a.png"), ("--svg", "a.svg")] {
        let value = if option == "--draw" { format!("lanes={}", file(name)) } else { file(name) };
        told(&[&hang, "--box", "conntrack:strict,established=3600", option, &value]);
    }
    let csv = std::fs::read_to_string(file("a.csv")).expect("the numbers were written");
    let stopped = csv.lines().filter(|line| line.starts_with("packet,") && line.contains(",no,")).count();
    assert_eq!(stopped, 17, "{csv}");
    let svg = std::fs::read_to_string(file("a.svg")).expect("the picture was written");
    assert!(svg.contains("after the cut: as captured"));
    assert!(std::fs::read(file("a.png")).expect("the picture was written").starts_with(b"\x89PNG"));
}

// ---- two captures ----------------------------------------------------------------------------------------------------------

/// For each pair of fixtures the RSTs: in whose name, where they were born, what became of them. The sockets agree: who got ECONNRESET
/// got one of these.
type Resets = &'static [(&'static str, &'static str, &'static str)];
const PAIRS: [(&str, Resets); 14] = [
    ("dnat-expired-picked-up", &[]),
    ("firewall-strict-expired-both-hang", &[]),
    (
        "ipvs-dr-expired-client-reset",
        &[
            ("server", "between", "born"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
        ],
    ),
    (
        "ipvs-dr-keepalive-too-late",
        &[
            ("server", "between", "born"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
            ("client", "client", "kept"),
        ],
    ),
    ("ipvs-nat-expired-fin-reset", &[("server", "between", "born"), ("client", "client", "leaked")]),
    ("ipvs-nat-half-closed-survives", &[]),
    ("ipvs-nat-keepalive-too-late", &[("client", "client", "leaked"), ("server", "between", "born")]),
    ("masquerade-strict-expired-leak", &[("client", "between", "born"), ("server", "server", "leaked")]),
    ("ssh-hang-firewall-established-3600", &[("server", "server", "kept")]),
    ("ssh-hang-ipvs-nat", &[("client", "client", "leaked")]),
    ("ssh-leak-ipvs-nat-tcp3600-keepalive-7200", &[("client", "client", "leaked")]),
    ("ssh-reset-ipvs-nat-types-after-20min", &[("server", "between", "born"), ("client", "client", "leaked")]),
    ("ssh-survives-ipvs-nat-keepalive-600", &[]),
    ("ssh-survives-masquerade-established-7440", &[]),
];

fn sides(name: &str) -> [String; 2] {
    ["client", "server"].map(|side| format!("{name}-{side}-side"))
}

/// The only pair of two captures; everything else that they hold must belong to it.
fn pair(first: &str, second: &str) -> Value {
    let document = json(&[first, second, "--match"]);
    assert_eq!(document["schema"], "flowlapse-match/1");
    for key in ["ambiguous", "alone_first", "alone_second"] {
        assert_eq!(document[key].as_array().map(Vec::len), Some(0), "{first} {second}: {key}");
    }
    assert_eq!(document["pairs"].as_array().map(Vec::len), Some(1), "{first} {second}");
    document["pairs"][0].clone()
}

fn resets(pair: &Value) -> Vec<(String, String, String)> {
    let events = pair["events"].as_array().expect("events");
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let rst = events.iter().filter(|event| word(event, "flags").contains('R'));
    rst.map(|event| (word(event, "from"), word(event, "origin"), word(event, "passage"))).collect()
}

#[test]
fn every_pair_of_fixtures_is_matched_and_every_reset_has_its_birthplace() {
    for (name, expected) in PAIRS {
        let [client, server] = sides(name).map(|name| fixture(&name));
        for (first, second, nearer) in [(&client, &server, 1), (&server, &client, 2)] {
            let pair = pair(first, second);
            assert_eq!(pair["known_by"], "numbers", "{name}");
            assert_eq!((pair["nearer_to_client"].as_u64(), pair["nearer_is_known"].as_bool()), (Some(nearer), Some(true)), "{name}");
            let found = resets(&pair);
            let found: Vec<(&str, &str, &str)> = found.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
            assert_eq!(found, expected, "{name}, nearer {nearer}");
        }
    }
}

#[test]
fn the_timer_lies_within_the_bracket() {
    for (name, timer) in [
        ("ssh-hang-ipvs-nat", 900),
        ("ssh-reset-ipvs-nat-types-after-20min", 900),
        ("ssh-leak-ipvs-nat-tcp3600-keepalive-7200", 3600),
        ("ssh-hang-firewall-established-3600", 3600),
        ("masquerade-strict-expired-leak", 3),
        ("ipvs-dr-expired-client-reset", 5),
        ("ipvs-dr-keepalive-too-late", 4),
        ("ipvs-nat-expired-fin-reset", 4),
        ("ipvs-nat-keepalive-too-late", 6),
        ("firewall-strict-expired-both-hang", 5),
    ] {
        let [client, server] = sides(name).map(|name| fixture(&name));
        let bracket = &pair(&client, &server)["bracket"];
        let (gap, crossed) = (bracket["gap_ns"].as_u64().expect("a bracket"), bracket["crossed_ns"].as_u64().unwrap_or_default());
        assert!(crossed < timer * 1_000_000_000 && timer * 1_000_000_000 <= gap, "{name}: {crossed} < {timer} s <= {gap}");
        assert_eq!(bracket["contradicted"], false, "{name}");
    }
    for name in ["dnat-expired-picked-up", "ssh-survives-ipvs-nat-keepalive-600", "ssh-survives-masquerade-established-7440"] {
        let [client, server] = sides(name).map(|name| fixture(&name));
        assert_eq!(pair(&client, &server)["bracket"], Value::Null, "{name}");
    }
}

#[test]
fn a_reset_of_the_box_is_told_with_its_reasons() {
    let [client, server] = sides("ssh-reset-ipvs-nat-types-after-20min").map(|name| fixture(&name));
    let text = told(&[&client, &server, "--match"]);
    has(
        &text,
        &[
            "clocks: stand alike, within",
            "DNAT: the server 10.0.9.9:80 is 10.0.2.2:80 on the server side; sequence numbers are kept; IP IDs are kept",
            "client side frame 8: data packet of the client, 48 bytes: reached the box but never the server side: kept",
            "client side frame 9: RST in the name of the server: born of the box (never on the server side, TTL 64 where the server's packets \
             have 63)",
            "not translated as before: 10.0.2.2:80 → 10.0.1.2:55422 on the client side, where its connection has 10.0.9.9:80 → 10.0.1.2:55422",
            "1200.067 s (20m) of silence on the client side between frames 7 and 8, and the next packet was kept",
            "so its timer is at most 1200.067 s (20m) and longer than 0.984 s",
            "900 s: docker-swarm-vip",
        ],
    );
    let text = told(&[&client, &server, "--match", "--flow", "10.0.9.9", "--box", "ipvs:nat"]);
    has(&text, &["born of the box", "frame 8 comes 300.067 s (5m) too late: data, client → server: reset by the box", "matches"]);
    refused(&["explain", &client, &server, "--match", "--flow", "10.9.9.9"], "none has any of these ends");
}

#[test]
fn clocks_may_differ_and_payloads_be_cut() {
    let folder = Folder::new("clocks");
    let name = "ssh-reset-ipvs-nat-types-after-20min";
    let [client, server] = sides(name);
    for (ahead, snaplen) in [(0_i64, 70_usize), (3_723_000_123, 4096), (-86_400_000_000, 90), (40_000, 66)] {
        let packets = changed(&server, |packet| {
            packet.micros = packet.micros.checked_add_signed(ahead).expect("in range");
            packet.bytes.truncate(snaplen);
        });
        let moved = folder.write("moved.pcap", &written(&packets));
        let document = json(&[&fixture(&client), &moved, "--match"]);
        let clocks = &document["clocks"];
        let (told, within) = (clocks["second_ahead_ns"].as_i64().expect("known"), clocks["within_ns"].as_i64().expect("bounded"));
        // The recordings themselves are a few microseconds apart.
        assert!((told - ahead * 1000).abs() <= within + 100_000, "{ahead}: {told} within {within}");
        let pair = pair(&fixture(&client), &moved);
        assert_eq!(resets(&pair).len(), 2, "{ahead} {snaplen}");
        assert_eq!(pair["bracket"]["gap_ns"], 1_200_067_133_000_u64, "{ahead} {snaplen}");
    }
}

#[test]
fn captures_may_begin_in_mid_flow() {
    let folder = Folder::new("midflow");
    let name = "ssh-hang-firewall-established-3600";
    let [client, server] = sides(name);
    for (skip_client, skip_server) in [(3, 0), (0, 4), (5, 4)] {
        let cut = |name: &str, skip: usize| written(&read(name)[skip..]);
        let first = folder.write("first.pcap", &cut(&client, skip_client));
        let second = folder.write("second.pcap", &cut(&server, skip_server));
        let pair = pair(&first, &second);
        assert_eq!(pair["both"].as_u64(), Some(7 - skip_client.max(skip_server) as u64), "{skip_client} {skip_server}");
        let before = pair["events"].as_array().expect("events").iter().filter(|event| event["passage"] == "before").count();
        assert_eq!(before, skip_client.abs_diff(skip_server), "{skip_client} {skip_server}");
        assert_eq!(pair["bracket"]["contradicted"], false);
    }
}

#[test]
fn numbers_may_be_rewritten_and_connections_proxied() {
    let folder = Folder::new("numbers");
    let [client, server] = sides("ssh-survives-ipvs-nat-keepalive-600");
    // A firewall that draws sequence numbers of its own.
    let packets = changed(&server, |packet| packet.shift(0x1234_5678, 0xfedc_ba98));
    let second = folder.write("drawn.pcap", &written(&packets));
    let found = pair(&fixture(&client), &second);
    assert_eq!((found["known_by"].as_str(), found["proxied"].as_bool()), (Some("content"), Some(false)));
    assert_eq!(found["sequence_shift"], serde_json::json!([0x1234_5678_u32, 0xfedc_ba98_u32]));
    assert_eq!((found["only_nearer"].as_u64(), found["only_farther"].as_u64()), (Some(0), Some(0)));
    has(&told(&[&fixture(&client), &second, "--match"]), &["sequence numbers are shifted by +305419896 (client) and +4275878552 (server)"]);
    // A proxy, which acknowledges by itself: its acknowledgements are not those of the other end.
    let packets = changed(&server, |packet| {
        packet.shift(77, 99);
        packet.set_client_port(40_000);
        packet.add(42, 1000);
    });
    let second = folder.write("proxied.pcap", &written(&packets));
    let found = pair(&fixture(&client), &second);
    assert_eq!((found["known_by"].as_str(), found["proxied"].as_bool()), (Some("content"), Some(true)));
    has(&told(&[&fixture(&client), &second, "--match"]), &["another one carries its bytes on: a proxy"]);
}

/// A capture with the flow of a fixture several times over: from other ports, with other numbers, at other times.
fn crowd(name: &str, of: &[(u16, u32, u64)]) -> Vec<u8> {
    let mut all: Vec<Packet> = of
        .iter()
        .flat_map(|(port, shift, later)| {
            changed(name, |packet| {
                packet.shift(*shift, shift.wrapping_mul(3));
                packet.set_client_port(*port);
                packet.micros += later;
            })
        })
        .collect();
    all.sort_by_key(|packet| packet.micros);
    written(&all)
}

#[test]
fn flows_with_the_same_content_are_told_apart_or_said_to_be_ambiguous() {
    let folder = Folder::new("twins");
    let [client, server] = sides("ssh-survives-ipvs-nat-keepalive-600");
    let first = folder.write("first.pcap", &crowd(&client, &[(1000, 5, 0), (1001, 6, 300_000), (1002, 7, 600_000)]));
    let streams = |document: &Value| -> Vec<(String, String)> {
        let pairs = document["pairs"].as_array().expect("pairs").iter();
        let word = |pair: &Value, key: &str| pair[key].as_str().unwrap_or_default().to_owned();
        let mut all: Vec<(String, String)> = pairs.map(|pair| (word(pair, "first"), word(pair, "second"))).collect();
        all.sort();
        all
    };
    let straight = |of: [u32; 3]| -> Vec<(String, String)> { (0..3).map(|n| (format!("tcp.{n}"), format!("tcp.{}", of[n]))).collect() };
    // The numbers tell them apart, whatever the ports became and in whatever order they come.
    let second = folder.write("nat.pcap", &crowd(&server, &[(9002, 7, 0), (9001, 6, 300_000), (9000, 5, 600_000)]));
    let document = json(&[&first, &second, "--match"]);
    assert_eq!(streams(&document), straight([2, 1, 0]));
    assert_eq!(document["ambiguous"], serde_json::json!([]));
    // Other numbers, but the same ports.
    let second = folder.write("ports.pcap", &crowd(&server, &[(1002, 70, 0), (1001, 60, 300_000), (1000, 50, 600_000)]));
    assert_eq!(streams(&json(&[&first, &second, "--match"])), straight([2, 1, 0]));
    // Neither: nobody can tell.
    let second = folder.write("proxy.pcap", &crowd(&server, &[(9002, 70, 0), (9001, 60, 300_000), (9000, 50, 600_000)]));
    let document = json(&[&first, &second, "--match"]);
    assert_eq!(document["pairs"], serde_json::json!([]));
    assert_eq!(document["ambiguous"][0]["first"].as_array().map(Vec::len), Some(3));
    has(
        &told(&[&first, &second, "--match"]),
        &["ambiguous: tcp 0, tcp 1, tcp 2 of first.pcap may be any of tcp 0, tcp 1, tcp 2 of proxy.pcap"],
    );
    // One that is known otherwise sets the clocks, and then the times tell.
    let second = folder.write("times.pcap", &crowd(&server, &[(9002, 5, 0), (9001, 60, 300_000), (9000, 50, 600_000)]));
    assert_eq!(streams(&json(&[&first, &second, "--match"])), straight([0, 1, 2]));
}

#[test]
fn all_fixtures_in_two_captures_find_their_partners() {
    let folder = Folder::new("all");
    let merged = |side: usize| {
        let mut all: Vec<Packet> = PAIRS.iter().flat_map(|(name, _)| read(&sides(name)[side])).collect();
        all.sort_by_key(|packet| packet.micros);
        written(&all)
    };
    let [first, second] = [0, 1].map(|side| folder.write(["first.pcap", "second.pcap"][side], &merged(side)));
    let document = json(&[&first, &second, "--match"]);
    assert_eq!(document["pairs_found"], PAIRS.len());
    assert_eq!((&document["alone_first"], &document["alone_second"]), (&serde_json::json!([]), &serde_json::json!([])));
    let port = |end: &Value| end.as_str().and_then(|end| end.rsplit_once(':')).map(|(_, port)| port.to_owned());
    for pair in document["pairs"].as_array().expect("pairs") {
        assert_eq!(port(&pair["first_client"]), port(&pair["second_client"]), "{pair}");
    }
    let born: usize = PAIRS.iter().flat_map(|(_, resets)| *resets).filter(|reset| reset.1 == "between").count();
    let found: usize =
        document["pairs"].as_array().expect("pairs").iter().flat_map(resets).filter(|(_, origin, _)| origin == "between").count();
    assert_eq!(found, born);
}

#[test]
fn lost_packets_are_told_from_kept_ones() {
    let folder = Folder::new("lost");
    let [client, server] = sides("dnat-expired-picked-up");
    // Frame 6 is sent twice and lost once; the first capture lacks frame 8, which the client acknowledged.
    let mut first = read(&client);
    let mut again = first[5].clone();
    again.micros -= 300_000;
    first.insert(5, again);
    first.remove(8);
    let first = folder.write("first.pcap", &written(&first));
    let pair = pair(&first, &fixture(&server));
    let events = pair["events"].as_array().expect("events").iter();
    let odd: Vec<(&str, Option<u64>, Option<u64>)> = events
        .map(|event| (event["passage"].as_str().unwrap_or_default(), event["nearer_frame"].as_u64(), event["farther_frame"].as_u64()))
        .collect();
    assert_eq!(odd, [("lost", Some(6), None), ("missed", None, Some(8))]);
}

#[test]
fn damaged_captures_are_told_as_far_as_they_go() {
    let folder = Folder::new("damage");
    let [client, server] = sides("ipvs-nat-expired-fin-reset").map(|name| fixture(&name));
    let whole = std::fs::read(&client).expect("the fixture is there");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..48 {
        let mut bytes = whole.clone();
        for _ in 0..=round / 4 {
            let at = 24 + random(bytes.len() - 24);
            bytes[at] = random(256) as u8;
        }
        if round % 3 == 0 {
            bytes.truncate(24 + random(bytes.len() - 24));
        }
        let damaged = folder.write("damaged.pcap", &bytes);
        for args in [
            vec!["explain", &damaged, "--box", "ipvs:nat,tcp=4,tcpfin=2", "--box", "conntrack"],
            vec!["explain", &damaged, &server, "--match"],
            vec!["explain", &server, &damaged, "--match", "--json"],
        ] {
            let (code, _, error) = flowlapse(&args);
            assert!(matches!(code, Some(0 | 2)) && !error.contains("panicked"), "{round}: {args:?}: {error}");
        }
    }
}
