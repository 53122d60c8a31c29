//! Packets that were captured twice crossed the boxes once: they renew nothing at another time, and count as no retransmission.

use crate::answer;
use crate::capture_files::Pcap;
use crate::dialogue::{Ends, Packet, Setup, pcap};
use flowlapse::finding::Finding;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// What is said of a flow, but for how many packets there were and where they stand.
fn essence(f: &Finding) -> String {
    let decisive = f.decisive.as_ref().map(|d| (d.hop, &d.cause, d.timeout, d.idle, d.kind, d.dir, d.evidence, d.fate));
    let spells: Vec<_> = f.break_points.iter().map(|b| (b.hop, &b.cause, b.timeout, b.keep_secs, b.evidence)).collect();
    format!("{:?} {decisive:?} {spells:?} {:?}", f.verdict, (f.repairs, f.blocked, f.invalid, f.opening, f.closing))
}

/// The packets, each with an identification of its own, as every host writes them.
fn numbered(mut packets: Vec<Packet>) -> Vec<Packet> {
    for (place, packet) in packets.iter_mut().enumerate() {
        packet.bytes[4..6].copy_from_slice(&(place as u16 + 1).to_be_bytes());
    }
    packets
}

/// Each packet again after so many nanoseconds, changed on the way.
fn doubled(packets: &[Packet], after: u64, change: impl Fn(&mut Packet)) -> Vec<Packet> {
    let again = |packet: &Packet| {
        let mut copy = Packet { at: packet.at + after, ..packet.clone() };
        change(&mut copy);
        [packet.clone(), copy]
    };
    packets.iter().flat_map(again).collect()
}

fn copies(file: &[u8]) -> Value {
    answer(&[file]).expect("a capture")["summary"]["captured_twice"].clone()
}

const DIALOGUES: [&str; 6] = [
    "open c10 s10 c +3600 c10 s",
    "open c10 s10 c +899 c10 s +901 s20 c",
    "open c10 s10 c ck s +70 ck s cf sf c",
    "open c10 retry retry retry +200 s",
    "c10 s10 c +3500 s10 c +400 cr",
    "cS sS c c10 c10 c10 s s s +3599.999 c10 s",
];
const BOXES: [&str; 4] =
    ["conntrack:strict,established=3600", "ipvs", "conntrack:masquerade,unack=100 aws-nlb", "idle:activity=data,established=900"];

#[test]
fn a_span_port_that_shows_every_packet_twice_changes_no_verdict() {
    for dialogue in DIALOGUES {
        for boxes in BOXES {
            let once = numbered(Ends::number(1).talk(dialogue, 0));
            let expected = essence(&Setup::boxes(boxes).judge(&once)[0]);
            for (what, twice) in [
                ("exact copies at the same instant", doubled(&once, 0, |_| {})),
                ("exact copies", doubled(&once, 5_000, |_| {})),
                ("before and behind a router", doubled(&once, 400_000, |copy| copy.bytes[8] -= 1)),
            ] {
                assert_eq!(essence(&Setup::boxes(boxes).judge(&twice)[0]), expected, "{dialogue} through {boxes}: {what}");
                assert_eq!(copies(&pcap(&twice)), Value::from(once.len()), "{dialogue}: {what}");
            }
            assert_eq!(copies(&pcap(&once)), Value::from(0));
        }
    }
}

#[test]
fn another_vlan_and_other_addresses_of_cards_make_no_other_packet() {
    let once = numbered(Ends::number(1).talk("open c10 s10 c +3600 c10 s", 0));
    let mut file = Pcap::micro();
    for packet in &once {
        let (second, micro) = ((packet.at / 1_000_000_000) as u32, (packet.at % 1_000_000_000 / 1_000) as u32);
        for head in [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], &[6, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 2, 0x81, 0, 0, 7, 8, 0]] {
            let frame = [head, &packet.bytes].concat();
            file.record(second, micro, &frame, frame.len() as u32);
        }
    }
    assert_eq!(copies(&file.bytes), Value::from(once.len()));
    let text = Setup::boxes("ipvs").text(&[file.bytes]);
    assert!(text.contains(&format!("\n{} packets were captured twice; the copies crossed no box\n", once.len())), "{text}");
}

#[test]
fn copies_between_the_packets_of_an_answer_are_known_by_their_identification() {
    // The request, its answer, and both again: as a switch shows them that copies from two ports.
    let once = numbered(Ends::number(1).talk("cS sS c10 s10 c20 s20", 0));
    let mut twice = once.clone();
    for pair in once.chunks(2) {
        let after = pair[pair.len() - 1].at;
        twice.extend(pair.iter().enumerate().map(|(place, packet)| Packet { at: after + 20_000 * (place as u64 + 1), ..packet.clone() }));
    }
    twice.sort_by_key(|packet| packet.at);
    assert_eq!(copies(&pcap(&twice)), Value::from(once.len()));
}

#[test]
fn a_retransmission_is_no_copy() {
    let mut packets = numbered(Ends::number(1).talk("open c10 retry retry s", 0));
    assert_eq!(copies(&pcap(&packets)), Value::from(0));
    // Not even where a host gives all its packets the same number.
    let mut clock = packets[3].at;
    for packet in &mut packets {
        packet.bytes[4..6].copy_from_slice(&[0, 7]);
        clock += 200_000_000;
        packet.at = packet.at.max(clock);
    }
    assert_eq!(copies(&pcap(&packets)), Value::from(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whichever packets are seen twice, the verdict is the same.
    #[test]
    fn any_copies_change_nothing(dialogue in select(&DIALOGUES[..]), boxes in select(&BOXES[..]), which in any::<u32>(), after in 0..50_000_u64) {
        let once = numbered(Ends::number(1).talk(dialogue, 0));
        let mut some = Vec::new();
        for (place, packet) in once.iter().enumerate() {
            some.push(packet.clone());
            if which >> (place % 32) & 1 == 1 {
                some.push(Packet { at: packet.at + after, ..packet.clone() });
            }
        }
        let setup = Setup::boxes(boxes);
        prop_assert_eq!(essence(&setup.judge(&once)[0]), essence(&setup.judge(&some)[0]));
    }
}
