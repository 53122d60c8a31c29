//! Flows from segments: dialogues with the shape and the evidence that each line must get, and the numbering of streams.

use flowlapse::flow::{Book, Closing, Flow, FlowTable, GapEvidence, Opening, Orientation, Shape, StreamRule, number_streams};
use flowlapse::net::{Addr, Direction, Proto, Segment, Seq, Sock, TcpFlags};
use flowlapse::time::{Duration, Instant};

fn sock(host: u8, port: u16) -> Sock {
    Sock { addr: Addr::v4([10, 0, 0, host]), port }
}

/// One line of a dialogue: `time direction flags seq ack len`, then `window` if it is not 1000.
fn parse(line: &str, frame: u32) -> (bool, Segment) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words[at].parse::<u32>().expect("a number");
    let nanos = (words[0].parse::<f64>().expect("seconds") * 1e9).round() as u64;
    let segment = Segment {
        at: Instant(1_000_000_000 + nanos),
        frame,
        seq: Seq(number(3)),
        ack: Seq(number(4)),
        sack: Seq(number(4)),
        len: number(5),
        window: words.get(6).map_or(1000, |w| w.parse().expect("a window")),
        flags: TcpFlags::parse(words[2].trim_matches('.')).expect("flags"),
        ..Segment::EMPTY
    };
    (words[1] == ">", segment)
}

/// Plays `line | evidence shape [| frame evidence]` and returns the flow.
fn play(dialogue: &str) -> Flow {
    let mut table = FlowTable::new(StreamRule::BaseSeq);
    let (client, server) = (sock(1, 40_000), sock(2, 443));
    let mut frame = 0;
    for line in dialogue.lines().map(str::trim).filter(|line| !line.is_empty()) {
        frame += 1;
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let (forth, mut seg) = parse(parts[0], frame);
        let (src, dst) = if forth { (client, server) } else { (server, client) };
        let (_, seen) = table.observe(&Book::new().ends(src, dst, Proto::Tcp), &mut seg, u64::from(frame)).expect("there is room");
        assert_eq!(format!("{:?} {:?}", seen.evidence, seen.shape), parts[1], "line {frame}: {line}\nof {dialogue}");
        let revised = seen.revises.map(|r| format!("{} {:?}", r.ordinal + 1, r.evidence)).unwrap_or_default();
        assert_eq!(revised, parts.get(2).copied().unwrap_or(""), "revision at line {frame}: {line}\nof {dialogue}");
    }
    assert_eq!(table.len(), 1, "{dialogue}");
    table.into_flows().next().expect("one flow")
}

fn longest(flow: &Flow, evidence: GapEvidence) -> (f64, u32, u32) {
    flow.longest_gap(evidence).map_or((0.0, 0, 0), |g| (g.length.as_secs_f64(), g.before, g.after.unwrap_or(0)))
}

#[test]
fn a_handshake_an_idle_hour_and_an_orderly_close() {
    let flow = play(
        "0.00 > S 100 0 0       | Unknown Start
         0.01 < SA 500 101 0    | ProvenIdle Start
         0.03 > A 101 501 0     | ProvenIdle PureAck
         0.04 > PA 101 501 10   | ProvenIdle InOrder
         0.05 < A 501 111 0     | ProvenIdle PureAck
         3600.05 > PA 111 501 5 | ProvenIdle InOrder
         3600.06 < PA 501 116 7 | ProvenIdle InOrder
         3600.07 > FA 116 508 0 | ProvenIdle InOrder
         3600.08 < FA 508 117 0 | ProvenIdle InOrder
         3600.09 > A 117 509 0  | ProvenIdle PureAck",
    );
    assert_eq!((flow.orientation, flow.opening(), flow.closing()), (Orientation::Handshake, Opening::Handshake, Closing::Fin));
    assert_eq!((flow.segments, flow.bytes()), ([6, 4], [15, 7]));
    assert_eq!(flow.rtt(), Some(Duration::from_millis(30)));
    assert_eq!(longest(&flow, GapEvidence::ProvenIdle), (3600.0, 5, 6));
    assert_eq!(longest(&flow, GapEvidence::Hole), (0.0, 0, 0));
    assert_eq!(flow.last_silence(Instant::from_secs(9000)), None);
}

#[test]
fn sequence_numbers_wrap_without_a_hole() {
    let flow = play(
        "0 > A 4294967290 4294967000 6     | Unknown Start
         1 < A 4294967000 0 296            | ProvenIdle InOrder
         2 > A 0 0 0                       | ProvenIdle PureAck
         302 > A 4294967295 0 0            | ProvenIdle KeepaliveProbe
         302.1 < A 0 0 0                   | ProvenIdle KeepaliveAnswer
         602 > A 0 0 10                    | ProvenIdle InOrder
         603 > A 4294967290 0 6            | ProvenIdle Retransmission
         604 > A 11 0 1                    | Hole Hole",
    );
    assert_eq!(longest(&flow, GapEvidence::ProvenIdle), (300.0, 3, 4));
}

#[test]
fn one_missing_byte_makes_a_hole_and_none_does_not() {
    for (seq, ack, expected) in [
        (1005u32, 2000u32, "ProvenIdle InOrder"),
        (1006, 2000, "Hole Hole"),
        (1005, 2001, "Hole AckUnseen"),
        (1000, 2000, "ProvenIdle Retransmission"),
        // As far ahead as a sampled capture gets: it looks as if it were behind, but farther than old data reaches.
        (2_415_920_109, 2000, "Hole Hole"),
        (1005, 2_415_921_104, "Hole AckUnseen"),
    ] {
        play(&format!(
            "0 > PA 1000 2000 5      | Unknown Start
             0.1 < A 2000 1005 0     | ProvenIdle PureAck
             900 > PA {seq} {ack} 5  | {expected}"
        ));
    }
}

#[test]
fn old_data_reaches_back_64_mib_and_no_byte_further() {
    for (seq, expected) in [(1u32 << 30, "ProvenIdle Retransmission"), ((1 << 30) - 1, "Hole Hole")] {
        let next = (1u32 << 30) + (1 << 26);
        play(&format!(
            "0 > A {} 2000 5         | Unknown Start
             9 > A {seq} 2000 5      | {expected}",
            next - 5
        ));
    }
}

#[test]
fn the_other_direction_can_disprove_a_gap_later() {
    let flow = play(
        "0 > PA 1000 2000 5      | Unknown Start
         0.1 < A 2000 1005 0     | ProvenIdle PureAck
         900 > PA 1005 2000 5    | ProvenIdle InOrder
         900.1 < PA 2100 1010 9  | Hole Hole | 3 Hole",
    );
    assert_eq!(longest(&flow, GapEvidence::Hole), (899.9, 2, 3));
    assert!(longest(&flow, GapEvidence::ProvenIdle).0 < 0.2);
}

#[test]
fn an_unmoved_acknowledgement_a_second_later_settles_a_gap() {
    for (settles, revision) in [("901", ""), ("900.999", "| 3 Hole")] {
        play(&format!(
            "0 > PA 1000 2000 5       | Unknown Start
             0.1 < A 2000 1005 0      | ProvenIdle PureAck
             900 > PA 1005 2000 5     | ProvenIdle InOrder
             {settles} > PA 1010 2000 5 | ProvenIdle InOrder
             901.2 < PA 2100 1015 9   | Hole Hole {}",
            if revision.is_empty() { "| 4 Hole" } else { revision }
        ));
    }
}

#[test]
fn late_bytes_fill_a_hole_and_the_gap_was_idle_after_all() {
    let flow = play(
        "0 > PA 1000 2000 5      | Unknown Start
         0.1 < A 2000 1005 0     | ProvenIdle PureAck
         900 > PA 1015 2000 5    | Hole Hole
         900.001 > PA 1005 2000 4 | ProvenIdle OutOfOrder
         900.002 > PA 1009 2000 6 | ProvenIdle OutOfOrder | 3 ProvenIdle
         900.003 > PA 1009 2000 6 | ProvenIdle Retransmission",
    );
    assert_eq!(longest(&flow, GapEvidence::ProvenIdle), (899.9, 2, 3));
    assert_eq!(longest(&flow, GapEvidence::Hole), (0.0, 0, 0));
    // The same where the disproof came from the other direction, and where the ACK was captured before its data.
    play(
        "0 > PA 1000 2000 5       | Unknown Start
         0.1 < A 2000 1005 0      | ProvenIdle PureAck
         900 > PA 1005 2000 5     | ProvenIdle InOrder
         900.1 < PA 2010 1010 9   | Hole Hole | 3 Hole
         900.101 < PA 2000 1010 10 | ProvenIdle OutOfOrder | 3 ProvenIdle",
    );
    play(
        "0 > PA 1000 2000 5       | Unknown Start
         0.1 < A 2000 1005 0      | ProvenIdle PureAck
         900 < A 2000 1010 0      | Hole AckUnseen
         900.00001 > PA 1005 2000 5 | ProvenIdle OutOfOrder | 3 ProvenIdle",
    );
}

#[test]
fn keepalive_probes_are_recognised_from_the_first_packet_of_a_capture() {
    let flow = play(
        "0 > A 1000 2000 0       | Unknown Start
         0.05 < A 2000 1001 0    | ProvenIdle KeepaliveAnswer
         45 > A 1000 2000 0      | ProvenIdle KeepaliveProbe
         45.05 < A 2000 1001 0   | ProvenIdle KeepaliveAnswer
         90.5 > A 1000 2000 1    | ProvenIdle KeepaliveProbe
         135 > A 1000 2000 0     | ProvenIdle KeepaliveProbe
         135.05 < A 2000 1001 0  | ProvenIdle KeepaliveAnswer
         200 > PA 1001 2000 7    | ProvenIdle InOrder",
    );
    let train = flow.probes(Direction::Original).expect("a train");
    assert_eq!((train.count, train.answered), (4, 3));
    assert_eq!((train.interval_min, train.interval_last), (Some(Duration::from_millis(44_500)), Some(Duration::from_millis(44_500))));
    assert_eq!(flow.probes(Direction::Reply), None);
    assert!(!flow.lacks_probes(&flow.longest_gap(GapEvidence::ProvenIdle).expect("a gap")));
}

#[test]
fn what_is_no_keepalive_probe() {
    // Unacknowledged data: nobody probes then. A byte that was not acknowledged yet is sent again.
    play(
        "0 > PA 1000 2000 5      | Unknown Start
         0.1 < A 2000 1000 0     | ProvenIdle PureAck
         10 > A 1004 2000 0      | ProvenIdle PureAck
         20 > PA 1004 2000 1     | ProvenIdle Retransmission",
    );
    // A closed window is probed in the same way.
    play(
        "0 > PA 1000 2000 5      | Unknown Start
         0.1 < A 2000 1005 0 0   | ProvenIdle PureAck
         0.5 > A 1004 2000 0     | ProvenIdle WindowProbe
         0.6 < A 2000 1005 0 0   | ProvenIdle PureAck
         1.5 > A 1005 2000 1     | ProvenIdle WindowProbe",
    );
    // An acknowledgement one beyond an empty segment, but too late for an answer: a byte went unseen.
    play(
        "0 > A 1000 2000 0       | Unknown Start
         5 < A 2000 1001 0       | ProvenIdle KeepaliveAnswer",
    );
    play(
        "0 > A 1000 2000 0       | Unknown Start
         5.001 < A 2000 1001 0   | Hole AckUnseen",
    );
}

#[test]
fn where_one_direction_is_missing_the_acknowledgement_must_not_move() {
    let flow = play(
        "0 > PA 1000 2000 5      | Unknown Start
         300 > PA 1005 2000 5    | ProvenIdle InOrder
         900 > PA 1010 2400 5    | Hole AckUnseen
         1100 > PA 1015 2400 5   | ProvenIdle InOrder
         1101 > A 1019 2400 0    | ProvenIdle KeepaliveProbe",
    );
    assert_eq!(longest(&flow, GapEvidence::ProvenIdle), (300.0, 1, 2));
    assert_eq!(longest(&flow, GapEvidence::Hole), (600.0, 2, 3));
    assert_eq!((flow.opening(), flow.closing()), (Opening::Midstream, Closing::Open));
    assert_eq!(flow.last_silence(Instant::from_secs(1112)).map(|g| (g.length, g.evidence)), {
        Some((Duration::from_secs(10), GapEvidence::Censored))
    });
}

#[test]
fn a_direction_without_history_proves_nothing_unless_its_numbers_meet() {
    for (seq, expected) in [(2000, "ProvenIdle InOrder"), (2001, "Unknown Start"), (1999, "ProvenIdle Retransmission")] {
        play(&format!(
            "0 > PA 1000 2000 5      | Unknown Start
             600 < PA {seq} 1005 5   | {expected}"
        ));
    }
}

#[test]
fn copies_within_microseconds_are_no_retransmissions() {
    for (later, expected) in [("1.00005", "ProvenIdle Duplicate"), ("1.000051", "ProvenIdle Retransmission")] {
        let flow = play(&format!(
            "0 > PA 1000 2000 5          | Unknown Start
             1 > PA 1005 2000 65000      | ProvenIdle InOrder
             {later} > PA 1005 2000 65000 | {expected}"
        ));
        assert_eq!(flow.segments, [3, 0]);
    }
}

#[test]
fn a_reset_closes_and_its_odd_numbers_prove_nothing() {
    for (line, closing) in [
        ("600 > R 1005 0 0 0        | ProvenIdle Reset", Closing::Reset),
        ("600 > RA 1005 2000 0      | ProvenIdle Reset", Closing::Reset),
        ("600 > R 900000000 0 0     | Unknown Reset", Closing::Reset),
        ("600 > R 2005 0 0          | Hole Hole", Closing::Reset),
        ("600 > FA 1005 2000 0      | ProvenIdle InOrder", Closing::HalfClosed),
    ] {
        let flow = play(&format!(
            "0 > PA 1000 2000 5      | Unknown Start
             0.1 < A 2000 1005 0     | ProvenIdle PureAck
             {line}"
        ));
        assert_eq!(flow.closing(), closing);
    }
}

#[test]
fn a_syn_with_the_same_number_after_a_reset_begins_the_directions_anew() {
    let flow = play(
        "0 > S 100 0 0           | Unknown Start
         1 > S 100 0 0           | ProvenIdle Retransmission
         1.1 < RA 0 101 0        | Unknown Reset
         60 > S 100 0 0          | Unknown Start
         60.1 < SA 777 101 0     | ProvenIdle Start
         60.2 > A 101 778 0      | ProvenIdle PureAck",
    );
    assert_eq!((flow.opening(), flow.closing()), (Opening::Handshake, Closing::Open));
    assert_eq!(flow.rtt(), Some(Duration::from_millis(200)));
}

#[test]
fn a_clock_that_goes_back_is_counted_and_makes_no_gap() {
    let flow = play(
        "10 > PA 1000 2000 5     | Unknown Start
         4 > PA 1005 2000 5      | ProvenIdle InOrder
         6 > PA 1010 2000 5      | ProvenIdle InOrder",
    );
    assert!(flow.clock_went_backwards());
    assert_eq!(longest(&flow, GapEvidence::ProvenIdle), (2.0, 2, 3));
}

#[test]
fn udp_has_no_evidence_and_its_first_sender_calls() {
    let mut table = FlowTable::new(StreamRule::BaseSeq);
    for (order, (from, to)) in [(40_000, 53), (53, 40_000)].into_iter().enumerate() {
        let at = Instant::from_secs(30 * order as u64);
        let mut seg = Segment { at, frame: order as u32 + 1, len: 9, ..Segment::EMPTY };
        let host = |port| if port == 53 { sock(2, 53) } else { sock(1, port) };
        let (_, seen) = table.observe(&Book::new().ends(host(from), host(to), Proto::Udp), &mut seg, order as u64).expect("there is room");
        assert_eq!((seen.shape, seen.evidence), (Shape::Datagram, GapEvidence::Unknown));
    }
    let flow = table.flows().next().expect("one flow");
    assert_eq!((flow.ports()[0], flow.bytes(), flow.closing()), (40_000, [9, 9], Closing::Open));
    assert_eq!(longest(flow, GapEvidence::Unknown), (30.0, 1, 2));
}

/// What tshark 4.0.17 answers for these dialogues (the first column), and what the later rule gives (the second).
#[test]
fn streams_begin_where_wireshark_begins_them() {
    for (what, dialogue, base_seq, or_closed) in [
        ("same SYN after RST", "> S 100 0, < SA 500 101, > R 101 501, > S 100 0", "0000", "0001"),
        ("same SYN after RST/ACK", "> S 100 0, < RA 0 101, > S 100 0", "000", "001"),
        ("same SYN after FIN", "> S 100 0, < SA 500 101, > FA 101 501, > S 100 0", "0000", "0001"),
        ("other SYN/ACK", "> S 100 0, < SA 500 101, < SA 700 101, < SA 500 101", "0000", "0012"),
        ("same SYN/ACK after RST", "> S 100 0, < SA 500 101, > R 101 501, < SA 500 101", "0000", "0001"),
        ("SYN at the guessed base", "> A 1000 2000, > S 999 0, > S 998 0", "001", "001"),
        ("SYN at the acknowledged base", "> A 1000 2000, < S 1999 0, < S 1998 0", "001", "001"),
        ("simultaneous open", "> S 100 0, < S 300 0, > SA 100 301, < SA 300 101", "0000", "0000"),
        ("alternating SYNs", "> S 100 0, > S 200 0, > S 100 0, < SA 500 101, < SA 500 201", "01222", "01222"),
        ("SYN/ACK first, its SYN later", "< SA 500 101, > S 100 0, > A 101 501", "000", "000"),
        ("SYN/ACK first, another SYN later", "< SA 500 101, > S 77 0, > A 101 501", "011", "011"),
        ("SYN/ACK in mid-flow", "< A 1000 2000, < SA 500 101", "00", "01"),
        ("SYN with RST", "> S 100 0, > SR 200 0", "01", "01"),
        ("SYN with FIN", "> S 100 0, > SF 200 0, > SAF 200 5, > S 200 0", "0111", "0112"),
    ] {
        for (rule, expected) in [(StreamRule::BaseSeq, base_seq), (StreamRule::BaseSeqOrClosed, or_closed)] {
            let mut table = FlowTable::new(rule);
            let mut places = Vec::new();
            for (order, line) in dialogue.split(',').enumerate() {
                let (forth, mut seg) = parse(&format!("{order} {line} 0"), order as u32 + 1);
                let (src, dst) = if forth { (sock(1, 40_000), sock(2, 80)) } else { (sock(2, 80), sock(1, 40_000)) };
                let ends = Book::new().ends(src, dst, Proto::Tcp);
                places.push(table.place(&ends, ends.hash(), table.guess(ends.hash()), &mut seg, order as u64).expect("there is room").flow);
            }
            number_streams(&mut [&mut table]);
            let streams: String = places.iter().map(|place| table.flow(*place).stream.to_string()).collect();
            assert_eq!(streams, expected, "{what} by {rule:?}");
        }
    }
}

#[test]
fn streams_are_numbered_across_shards_by_their_first_packet() {
    let mut shards = [FlowTable::default(), FlowTable::default()];
    for (order, (shard, port, proto)) in
        [(1, 1, Proto::Tcp), (0, 2, Proto::Udp), (0, 3, Proto::Tcp), (1, 1, Proto::Tcp), (1, 4, Proto::Tcp), (0, 5, Proto::Udp)]
            .into_iter()
            .enumerate()
    {
        let mut seg = Segment { flags: TcpFlags(TcpFlags::ACK), ..Segment::EMPTY };
        let ends = Book::new().ends(sock(1, 40_000 + port), sock(2, 80), proto);
        shards[shard].place(&ends, ends.hash(), None, &mut seg, order as u64).expect("there is room");
    }
    let order = number_streams(&mut shards.iter_mut().collect::<Vec<_>>());
    assert_eq!(order.iter().map(|(shard, at)| (*shard, at.0)).collect::<Vec<_>>(), [(1, 0), (0, 0), (0, 1), (1, 1), (0, 2)]);
    let streams = |shard: &FlowTable| shard.flows().map(|f| (f.ports()[0] - 40_000, f.stream)).collect::<Vec<_>>();
    assert_eq!(streams(&shards[0]), [(2, 0), (3, 1), (5, 1)]);
    assert_eq!(streams(&shards[1]), [(1, 0), (4, 2)]);
}

#[test]
fn the_hash_of_ends_is_symmetric_and_tells_protocols_apart() {
    let six = |last| Sock { addr: Addr::v6([last; 16]), port: 9 + u16::from(last) };
    let mut book = Book::new();
    for (a, b) in [(sock(1, 40_000), sock(2, 80)), (six(7), six(1)), (six(7), six(8))] {
        let hash = book.ends(a, b, Proto::Tcp).hash();
        assert_eq!(hash, book.ends(b, a, Proto::Tcp).hash());
        assert_ne!(hash, book.ends(a, b, Proto::Udp).hash());
        assert_ne!(hash, book.ends(Sock { port: b.port, ..a }, Sock { port: a.port, ..b }, Proto::Tcp).hash());
    }
}
