//! Two captures of one path, paired.

use crate::packets::{Packet, changed, read, written};
use crate::{Folder, fixture, has, json, refused, sides, told};
use serde_json::Value;

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

/// A UDP datagram in IPv4 in Ethernet, or an ICMP error about one.
fn datagram(millis: u64, ttl: u8, [src, dst]: [([u8; 4], u16); 2], payload: &[u8]) -> Packet {
    let udp = |length: usize| {
        let mut bytes = Vec::new();
        for word in [src.1, dst.1, length as u16 + 8, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes
    };
    let mut bytes = ip(ttl, 17, src.0, dst.0, payload.len() + 8);
    bytes.extend(udp(payload.len()));
    bytes.extend(payload);
    framed(millis, bytes)
}

fn ip(ttl: u8, proto: u8, src: [u8; 4], dst: [u8; 4], length: usize) -> Vec<u8> {
    let total = (length as u16 + 20).to_be_bytes();
    let mut bytes = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, ttl, proto, 0, 0];
    bytes.extend(src);
    bytes.extend(dst);
    bytes
}

fn framed(millis: u64, packet: Vec<u8>) -> Packet {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend(packet);
    Packet { micros: 1_700_000_000_000_000 + millis * 1000, wire: bytes.len() as u32, bytes }
}

/// A port unreachable that quotes a datagram.
fn refusal(millis: u64, from: [u8; 4], to: [u8; 4], about: &Packet) -> Packet {
    let quoted = &about.bytes[14..42];
    let mut bytes = ip(64, 1, from, to, 8 + quoted.len());
    bytes.extend([3, 3, 0, 0, 0, 0, 0, 0]);
    bytes.extend(quoted);
    framed(millis, bytes)
}

#[test]
fn datagrams_are_paired_by_what_they_carry_and_icmp_errors_have_a_birthplace() {
    let folder = Folder::new("udp");
    let (client, translated, server) = (([10, 0, 0, 5], 5000), ([192, 0, 2, 1], 6000), ([198, 51, 100, 3], 4500));
    let payload = |n: u8| vec![n; 40];
    let near = |n: u8, millis: u64| datagram(millis, 64, [client, server], &payload(n));
    let far = |n: u8, millis: u64| datagram(millis, 63, [translated, server], &payload(n));
    // Three questions and an answer pass; the fourth question, after a minute, is refused by the box.
    let answer = |millis: u64, ttl: u8, to| datagram(millis, ttl, [server, to], &payload(100));
    let late = near(4, 70_000);
    let first = [
        near(1, 0),
        near(2, 1_000),
        answer(1_500, 63, client),
        near(3, 10_000),
        late.clone(),
        refusal(70_001, [10, 0, 0, 1], client.0, &late),
    ];
    let second = [far(1, 0), far(2, 1_000), answer(1_499, 64, translated), far(3, 10_000), far(9, 80_000)];
    let first = folder.write("first.pcap", &written(&first));
    let second = folder.write("second.pcap", &written(&second));
    let document = json(&[&first, &second, "--match"]);
    let pair = &document["pairs"][0];
    assert_eq!((pair["known_by"].as_str(), pair["both"].as_u64()), (Some("content"), Some(4)));
    let passages: Vec<&str> = pair["events"].as_array().expect("events").iter().filter_map(|event| event["passage"].as_str()).collect();
    assert_eq!(passages, ["kept", "missed"]);
    assert_eq!((pair["icmp"][0]["nearer_frame"].as_u64(), pair["icmp"][0]["farther_frame"].as_u64()), (Some(6), None));
    assert_eq!(pair["bracket"]["gap_ns"], 60_000_000_000_u64);
    has(
        &told(&[&first, &second, "--match"]),
        &[
            "SNAT: the client 10.0.0.5:5000 is 192.0.2.1:6000 on the server side",
            "client side frame 5: datagram of the client, 40 bytes: reached the box but never the server side: kept",
            "client side frame 6: ICMP port unreachable from 10.0.0.1 to 10.0.0.5; never on the server side: born of the box",
        ],
    );
}
