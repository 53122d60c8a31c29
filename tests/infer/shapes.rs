//! Single conversations, packet by packet: what counts as evidence and what does not.

use super::{bracket, infer};
use flowlapse::capture::Input;
use flowlapse::capture::write::Writer;
use flowlapse::net::{Addr, Segment, Seq, Sock, TcpFlags};
use flowlapse::study::infer::Inference;
use flowlapse::study::infer::evidence::{Kind, Reaction, State};
use flowlapse::study::infer::pool::Undetermined;
use flowlapse::time::{Duration, Instant};

/// A packet: seconds, from the client or not, flags, sequence and acknowledgement number (relative), length, TTL.
type Packet = (f64, bool, &'static str, u32, u32, u32, u8);

const FAR: u8 = 63;
const NEAR: u8 = 64;

/// Each conversation with a port of its own.
fn heard(flows: &[&[Packet]]) -> Inference {
    let sock = |last: u8, port: u16| Sock { addr: Addr::v4([10, 0, 0, last]), port };
    let mut packets: Vec<(u16, Packet)> = Vec::new();
    for (at, flow) in flows.iter().enumerate() {
        packets.extend(flow.iter().map(|packet| (40_000 + at as u16, *packet)));
    }
    packets.sort_by(|a, b| a.1.0.total_cmp(&b.1.0));
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &["eth0"]).expect("memory takes everything");
    for (port, (at, from_client, flags, seq, ack, len, ttl)) in packets {
        let (client, server) = (sock(1, port), sock(2, 80));
        let (from, to, bases) = if from_client { (client, server, (1000, 5000)) } else { (server, client, (5000, 1000)) };
        let flags = TcpFlags::parse(flags).expect("flags");
        let ack = if flags.has(TcpFlags::ACK) { Seq(bases.1 + ack) } else { Seq(0) };
        let seg = Segment { seq: Seq(bases.0 + seq), ack, len, flags, window: 500, ..Segment::EMPTY };
        let at = Instant(1_700_000_000_000_000_000) + Duration::from_secs_f64(at);
        writer.segment(0, at, from, to, &seg, ttl).expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything");
    infer(&[Input::Bytes { name: "made".to_owned(), bytes: bytes.into() }], 1).0
}

/// A handshake and one exchange, from 0 s on; client and server stand at 11.
const OPEN: [Packet; 7] = [
    (0.000, true, "S", 0, 0, 0, NEAR),
    (0.010, false, "SA", 0, 1, 0, FAR),
    (0.011, true, "A", 1, 1, 0, NEAR),
    (0.020, true, "PA", 1, 1, 10, NEAR),
    (0.030, false, "PA", 1, 11, 10, FAR),
    (0.031, true, "A", 11, 11, 0, NEAR),
    (0.040, false, "A", 11, 11, 0, FAR),
];

fn with(more: &[Packet]) -> Vec<Packet> {
    OPEN.iter().chain(more).copied().collect()
}

/// Data after so many seconds, answered.
fn answered(at: f64) -> Vec<Packet> {
    with(&[(at, true, "PA", 11, 11, 5, NEAR), (at + 0.01, false, "A", 11, 16, 0, FAR)])
}

/// Data after so many seconds, reset.
fn reset(at: f64, flags: &'static str, ttl: u8) -> Vec<Packet> {
    with(&[(at, true, "PA", 11, 11, 5, NEAR), (at + 0.01, false, flags, 11, 16, 0, ttl)])
}

#[test]
fn a_reset_out_of_a_box_bounds_from_above_and_makes_lives_count() {
    let (lived, cut) = (answered(300.0), reset(400.0, "R", NEAR));
    let inference = heard(&[&lived, &cut]);
    let found = bracket(&inference, State::Established).expect("there are silences");
    let ends = [found.low, found.high].map(|bound| bound.map_or(0, |bound| bound.value.0 / 100_000_000));
    assert_eq!((ends, found.undetermined, found.against.len()), ([2998, 4000], None, 0));
    assert_eq!(inference.witnesses[1].told.cut.map(|cut| cut.reaction), Some(Reaction::BoxReset));
}

#[test]
fn a_reset_with_the_peers_own_ttl_does_not_make_lives_count() {
    let (lived, cut) = (answered(300.0), reset(400.0, "R", FAR));
    let inference = heard(&[&lived, &cut]);
    let found = bracket(&inference, State::Established).expect("there are silences");
    assert_eq!((found.low, found.high.map(|high| high.value.as_secs())), (None, Some(400)));
    assert_eq!(inference.witnesses[1].told.cut.map(|cut| cut.reaction), Some(Reaction::StrangerReset));
}

#[test]
fn an_application_that_aborts_or_closes_is_no_box() {
    let abort = reset(400.0, "RA", FAR);
    let close = with(&[(400.0, false, "FA", 11, 11, 0, FAR), (400.01, true, "A", 11, 12, 0, NEAR)]);
    let keepalive_gave_up = with(&[(400.0, false, "RA", 11, 11, 0, FAR)]);
    for flow in [abort, close, keepalive_gave_up] {
        let inference = heard(&[&flow]);
        assert!(inference.witnesses[0].told.cut.is_none(), "{flow:?}");
    }
}

#[test]
fn a_closed_end_may_reset_or_say_nothing() {
    let closed = [(1.0, false, "FA", 11, 11, 0, FAR), (1.01, true, "A", 11, 12, 0, NEAR)];
    let late = |answer: &[Packet]| with(&[&closed[..], &[(400.0, true, "PA", 11, 12, 5, NEAR)], answer].concat());
    let repeated: Vec<Packet> = (1..6).map(|n| (400.0 + f64::from(n), true, "PA", 11, 12, 5, NEAR)).collect();
    for flow in [late(&[(400.01, false, "R", 12, 0, 0, FAR)]), late(&repeated)] {
        assert!(heard(&[&flow]).witnesses[0].told.cut.is_none(), "{flow:?}");
    }
}

#[test]
fn silence_counts_unless_others_failed_without_any_silence_before() {
    let repeated = |from: f64| (0..6).map(|n| (from + f64::from(1 << n) - 1.0, true, "PA", 11, 11, 5, NEAR)).collect::<Vec<Packet>>();
    let late = with(&repeated(400.0));
    let inference = heard(&[&late]);
    assert_eq!(inference.witnesses[0].told.cut.map(|cut| cut.reaction), Some(Reaction::Silence));
    // The same with a flow to the same server that had been busy until then.
    let busy: Vec<Packet> = OPEN.iter().map(|p| (p.0 + 400.0, p.1, p.2, p.3, p.4, p.5, p.6)).chain(repeated(400.2)).collect();
    let inference = heard(&[&late, &busy]);
    assert_eq!((inference.aside, inference.witnesses[0].told.cut), (1, None));
}

#[test]
fn too_few_attempts_prove_nothing() {
    let once = with(&[(400.0, true, "PA", 11, 11, 5, NEAR), (403.0, true, "PA", 11, 11, 5, NEAR)]);
    assert!(heard(&[&once]).witnesses[0].told.cut.is_none());
}

#[test]
fn probes_are_known_in_a_capture_that_begins_in_mid_flow() {
    for len in [0, 1] {
        let mut flow: Vec<Packet> = Vec::new();
        for n in 0..5 {
            let at = f64::from(n) * 60.0;
            flow.push((at, true, "A", 10, 11, len, NEAR));
            flow.push((at + 0.01, false, "A", 11, 11, 0, FAR));
        }
        let inference = heard(&[&flow]);
        let survivals = &inference.witnesses[0].told.survivals;
        assert!(!survivals.is_empty() && survivals.iter().all(|s| s.kind == Kind::Probe), "{len}: {survivals:?}");
        assert!(survivals.iter().all(|s| (59..61).contains(&s.silence.idle.as_secs())), "{survivals:?}");
    }
}

#[test]
fn keepalives_that_were_answered_until_they_were_not_bound_by_what_may_count() {
    let mut flow = OPEN.to_vec();
    for n in 1..5 {
        let at = f64::from(n) * 60.0;
        flow.push((at, true, "A", 10, 11, 0, NEAR));
        flow.push((at + 0.01, false, "A", 11, 11, 0, FAR));
    }
    flow.extend((0..5).map(|n| (300.0 + f64::from(n) * 10.0, true, "A", 10, 11, 0, NEAR)));
    flow.push((350.0, true, "RA", 11, 11, 0, NEAR));
    let inference = heard(&[&flow]);
    let found = bracket(&inference, State::Established).expect("there are silences");
    // A box that counts keepalives had heard one 60 s before; one that does not, nothing for 300 s.
    assert_eq!(found.high.map(|high| high.value.as_secs()), Some(300));
}

#[test]
fn an_answer_to_something_else_is_no_answer_to_a_probe() {
    // The probe was lost; the client speaks two seconds later of its own accord.
    let flow = with(&[(30.0, false, "A", 10, 11, 0, NEAR), (32.0, true, "PA", 11, 11, 5, FAR), (32.01, false, "A", 11, 16, 0, NEAR)]);
    let inference = heard(&[&flow]);
    assert!(inference.witnesses[0].told.survivals.iter().all(|s| s.kind != Kind::Probe));
}

#[test]
fn a_hole_proves_nothing() {
    // Bytes 11 to 110 of the client were not captured.
    let flow = with(&[(400.0, true, "PA", 111, 11, 5, NEAR), (400.01, false, "R", 11, 0, 0, NEAR)]);
    let inference = heard(&[&flow]);
    assert_eq!((inference.witnesses[0].told.cut, inference.witnesses[0].told.holes), (None, 1));
}

#[test]
fn flows_that_contradict_each_other_leave_nothing_determined() {
    let (lived, cut, later) = (answered(300.0), reset(100.0, "R", NEAR), reset(400.0, "R", NEAR));
    let inference = heard(&[&lived, &cut, &later]);
    let found = bracket(&inference, State::Established).expect("there are silences");
    assert_eq!((found.undetermined, &found.against[..]), (Some(Undetermined::Contradiction), &[1][..]));
}

#[test]
fn a_reset_that_comes_by_itself_gives_both_ends() {
    let flow = with(&[(240.0, false, "R", 11, 0, 0, NEAR)]);
    let inference = heard(&[&flow]);
    let found = bracket(&inference, State::Established).expect("there is a silence");
    assert_eq!([found.low, found.high].map(|b| b.map_or(0, |b| b.value.as_secs())), [239, 240]);
    assert_eq!(inference.witnesses[0].told.cut.map(|cut| cut.reaction), Some(Reaction::Spontaneous));
}
