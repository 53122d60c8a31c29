//! Clocks that go back, stand still, or were never set: no verdict rests on a silence that two clocks measured.

use crate::capture_files::{LITTLE, PcapNg};
use crate::dialogue::{Ends, Packet, SECOND, START, Setup, caveats, pcap};
use flowlapse::engine::Clock;
use flowlapse::finding::{Finding, Inconclusive, Verdict};
use flowlapse::kernel::wheel::{Hz, Phase};
use flowlapse::time::{Duration, Instant};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

const STRICT: &str = "conntrack:strict,established=3600";
const DAY: u64 = 86_400 * SECOND;

/// A dialogue through a strict firewall, with times changed on the way.
fn judge(dialogue: &str, change: impl Fn(usize, u64) -> u64) -> Finding {
    let mut packets = Ends::number(1).talk(dialogue, 0);
    for (place, packet) in packets.iter_mut().enumerate() {
        packet.at = change(place, packet.at);
    }
    let mut findings = Setup::boxes(STRICT).judge(&packets);
    assert_eq!(findings.len(), 1);
    findings.remove(0)
}

#[test]
fn packets_that_are_written_out_of_order_by_a_little_change_nothing() {
    // A capture from several queues: a packet is stamped a little before the one that stands before it.
    for by in [1, 1_000, 20_000_000, SECOND] {
        for (silence, verdict) in [(3_599, Verdict::Survives), (3_600, Verdict::Cut)] {
            let finding = judge(&format!("open c10 s10 c +{silence} c10 s"), |place, at| if place == 5 { at - 1_000_000 - by } else { at });
            // The silence is counted from the packet before, whose time is the later one.
            let exact = finding.decisive.as_ref().map(|d| d.idle);
            let least = Duration::from_secs(silence);
            assert!(exact.is_none_or(|idle| idle >= least && idle <= least + Duration(2_000_000)), "{by} ns: {exact:?}");
            assert_eq!(finding.verdict, verdict, "{by} ns back, {silence} s");
            assert_eq!(caveats(&finding), ["clock-backwards"]);
        }
    }
}

#[test]
fn a_packet_with_a_time_of_zero_proves_no_silence() {
    // Fifty years seem to pass after it.
    for place in 1..6 {
        let finding = judge("open c10 s10 c c10 s", |at, time| if at == place { 0 } else { time });
        assert_eq!((finding.verdict, finding.inconclusive), (Verdict::Inconclusive, Some(Inconclusive::Clock)), "packet {place}");
        assert_eq!(finding.decisive.expect("a reason").fate, "unknown: the clock was set back");
    }
    // At the end it shows no silence either.
    assert_eq!(judge("open c10 s10 c", |at, time| if at == 5 { 0 } else { time }).verdict, Verdict::Survives);
}

#[test]
fn a_clock_that_was_set_is_believed_again_afterwards() {
    // Behind the step the new clock measures: a silence that is long enough cuts, with a caveat.
    let set = |at: usize, time: u64| if at >= 4 { time - DAY } else { time };
    let finding = judge("open c10 s10 c +3600 c10 s", set);
    assert_eq!((finding.verdict, caveats(&finding)), (Verdict::Cut, vec!["clock-backwards"]));
    assert_eq!(judge("open c10 s10 c +3599 c10 s", set).verdict, Verdict::Survives);
    // The silence that ends where the old clock had been may have any length.
    let finding = judge("open c10 s10 c +90000 c10 s", set);
    assert_eq!((finding.verdict, finding.inconclusive), (Verdict::Inconclusive, Some(Inconclusive::Clock)));
}

#[test]
fn a_flow_that_ends_before_the_clock_was_set_is_not_silent_since_then() {
    // The clock goes back by a day; the capture's latest time is one of the old clock.
    let one = Ends::number(1).talk("open c10 s10 c", 0);
    let mut other = Ends::number(2).talk("open c10 s10 c +60 c10 s", 0);
    for packet in &mut other {
        packet.at -= DAY;
    }
    let findings = Setup::boxes(STRICT).judge(&[one, other].concat());
    assert!(findings.iter().all(|f| f.verdict == Verdict::Survives), "{findings:?}");
}

fn packets_of(json: &[u8]) -> Value {
    serde_json::from_slice::<Value>(json).expect("JSON")["packets"].clone()
}

#[test]
fn steps_are_counted_and_said() {
    let mut packets = Ends::number(1).talk("open c10 s10 c c10 s", 0);
    packets[3].at -= DAY;
    packets[6].at -= 5_000_000;
    let setup = Setup::boxes(STRICT);
    let told = packets_of(&setup.json(&[pcap(&packets)]));
    assert_eq!((&told["times_backwards"], &told["times_backwards_max_ns"]), (&Value::from(2), &Value::from(DAY - 1_000_000)));
    let text = setup.text(&[pcap(&packets)]);
    assert!(text.contains("times: went back 2 times, by up to 86399.999 s (23h59m59.999s); the clock was set"), "{text}");
    packets[3].at += DAY;
    let text = setup.text(&[pcap(&packets)]);
    assert!(text.contains("times: went back once, by up to 0.004 s\n"), "{text}");
}

#[test]
fn merged_files_with_clocks_that_go_back_keep_their_order() {
    let one = Ends::number(1).talk("open c10 s10 c +60 c10 s +60 c10 s", 0);
    let mut other = Ends::number(2).talk("open c10 s10 c +60 c10 s +60 c10 s", 0);
    for packet in &mut other[6..] {
        packet.at -= DAY;
    }
    let setup = Setup::boxes(STRICT);
    let both = [pcap(&one), pcap(&other)];
    assert_eq!(packets_of(&setup.json(&both))["times_backwards"], Value::from(1));
    let verdicts: Vec<Verdict> = setup.files(&both).iter().map(|f| f.verdict).collect();
    assert_eq!(verdicts, [Verdict::Survives, Verdict::Survives]);
}

#[test]
fn without_any_time_nothing_was_ever_silent() {
    let still: Vec<Packet> =
        Ends::number(1).talk("open c10 s10 c +9000 c10 s", 0).into_iter().map(|packet| Packet { at: 0, ..packet }).collect();
    for boxes in [STRICT, "ipvs", "aws-nlb"] {
        let findings = Setup::boxes(boxes).judge(&still);
        assert_eq!(findings[0].verdict, Verdict::Survives, "{boxes}");
    }
    // Simple packets of pcapng have none either, and are counted.
    let mut file = PcapNg::new(LITTLE);
    file.interface(101, 0, &[]);
    for packet in &still {
        file.block(3, &[&(packet.bytes.len() as u32).to_le_bytes()[..], &packet.bytes].concat());
    }
    let told = packets_of(&Setup::boxes(STRICT).json(&[file.bytes]));
    assert_eq!((&told["times_missing"], &told["followed"]), (&Value::from(still.len()), &Value::from(still.len())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the times are, there is an answer, and it adds up.
    #[test]
    fn any_times_are_borne(
        dialogue in select(vec!["open c10 s10 c ck s c10 s cf sf c", "c10 s10 c10 s10 c10", "open c10 retry retry retry s", "cS sS c cr c10 s"]),
        times in prop::collection::vec(prop_oneof![Just(0_u64), Just(u64::MAX), any::<u64>(), START..START + DAY, START..START + 2 * SECOND], 16),
        boxes in select(vec![STRICT, "conntrack:dialect=linux-2.4", "conntrack:dialect=linux-2.6.32", "conntrack:masquerade,dialect=linux-4.4 ipvs:nat", "ipvs:dr,dialect=linux-2.4,secure_tcp=3", "aws-alb", "azure-lb-tcp-reset idle:established=10"]),
        clock in select(vec![None, Some(0_u64), Some(4_294_892_296), Some(u64::MAX)]),
        wheel in any::<bool>(),
    ) {
        let mut file = PcapNg::new(LITTLE);
        file.interface(101, 0, &[(9, &[9])]);
        for (packet, at) in Ends::number(1).talk(dialogue, 0).iter().zip(&times) {
            file.packet(0, *at, &packet.bytes, packet.bytes.len() as u32);
        }
        let phase = clock.map(|jiffies| Phase { hz: Hz(250), jiffies, at: Instant(START) });
        let setup = if wheel { Setup::boxes(boxes).clock(Clock::Wheel { hz: Hz(250), phase }) } else { Setup::boxes(boxes) };
        let report: Value = serde_json::from_slice(&setup.json(&[file.bytes.clone()])).expect("JSON");
        crate::adds_up(&report);
        prop_assert!(!setup.text(&[file.bytes]).is_empty());
    }
}
