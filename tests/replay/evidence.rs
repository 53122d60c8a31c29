//! What a capture cannot show, and how that is told: holes, silence at its end, clocks, copies, flows that began before it.

use crate::capture::{Ends, Packet, SECOND, START, Setup, caveats, evidence, tell};
use flowlapse::engine::Clock;
use flowlapse::finding::{Inconclusive, Verdict};
use flowlapse::kernel::wheel::{Hz, Phase};
use flowlapse::time::{Duration, Instant};

const MILLISECOND: u64 = SECOND / 1000;

#[test]
fn missing_packets_decide_nothing() {
    let setup = Setup::boxes("ipvs");
    // Five bytes of the client are missing in the silence: they would have kept the entry.
    let f = setup.talk(Ends::number(1), "open c10 s20 c c!5 @ c10", 900 * SECOND);
    assert_eq!(tell(&f), "inconclusive 0.ESTABLISHED #7 data from client, unknown: packets are missing");
    assert_eq!((f.inconclusive, evidence(&f)), (Some(Inconclusive::Hole), "hole"));
    assert!(f.advice.is_empty() && f.symptoms.is_none(), "nothing is advised for what is not known");
    // The server's bytes are missing, which only the client's acknowledgement shows.
    let f = setup.talk(Ends::number(1), "open c10 s20 c s!5 @ c10", 900 * SECOND);
    assert_eq!((f.verdict, evidence(&f)), (Verdict::Inconclusive, "hole"));
    // A hole in a shorter silence is no threat.
    let f = setup.talk(Ends::number(1), "open c10 s20 c c!5 @ c10", 899 * SECOND);
    assert_eq!(f.verdict, Verdict::Survives);
    // A hole does not excuse a later silence that is proven.
    let f = setup.talk(Ends::number(1), "open c10 s20 c c!5 @ c10 s +900 c10", 900 * SECOND);
    assert_eq!(f.verdict, Verdict::Cut);
    assert_eq!((f.decisive.as_ref().and_then(|d| d.victim), evidence(&f)), (Some((9, 0)), "proven-idle"));
}

#[test]
fn a_proof_names_the_frames_on_both_sides_of_the_silence() {
    let f = Setup::boxes("ipvs").talk(Ends::number(1), "open c10 s20 c @ c10 s20", 1000 * SECOND);
    let d = f.decisive.as_ref().expect("it is cut");
    assert_eq!((d.before, d.victim, evidence(&f)), (6, Some((7, 0)), "proven-idle"));
    assert_eq!((d.idle, d.excess()), (Duration::from_secs(1000), Duration::from_secs(100)));
    assert_eq!(d.refreshed, Instant(START + 5 * MILLISECOND));
    // 900 s lie in a granule of 16.384 s at 250 ticks a second.
    assert_eq!(d.late_by, Duration(16_384 * MILLISECOND));
    assert!(!d.within_band() && caveats(&f).is_empty());
    let f = Setup::boxes("ipvs").talk(Ends::number(1), "open c10 s20 c @ c10 s20", 916 * SECOND);
    assert_eq!(caveats(&f), ["within-band"]);
}

/// A flow that falls silent, and another one that goes on for so long.
fn silent(dialogue: &str, boxes: &str, rest: u64, udp: bool) -> Vec<(Verdict, String)> {
    let ends = if udp { Ends::number(1).udp() } else { Ends::number(1) };
    let mut packets = ends.talk(dialogue, 0);
    let last = packets.last().expect("packets").at;
    packets.extend(Ends { start: last + rest, ..Ends::number(2) }.talk("cS", 0));
    Setup::boxes(boxes).judge(&packets).iter().map(|f| (f.verdict, tell(f))).collect()
}

#[test]
fn a_flow_that_is_silent_when_the_capture_ends_may_be_dormant() {
    let told = |boxes, rest| silent("open c10 s20 c", boxes, rest, false)[0].1.clone();
    assert_eq!(told("ipvs", 900 * SECOND - 1), "survives");
    assert_eq!(
        told("ipvs", 900 * SECOND),
        "dormant 0.ESTABLISHED none yet from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883"
    );
    // Whoever would be cut by speaking first decides: the client's packet is picked up again, the server's is not.
    assert_eq!(
        told("conntrack:masquerade,established=600", 600 * SECOND),
        "dormant 0.ESTABLISHED none yet from server, reset by the box; hang/reset; ct:tcp_timeout_established=601; keepalive 583"
    );
    assert_eq!(told("conntrack:established=600", 10_000 * SECOND), "survives");
    assert_eq!(told("katran", 100_000 * SECOND), "survives");
}

#[test]
fn nobody_waits_for_a_closed_flow_or_an_unasked_answer() {
    let verdict = |dialogue, boxes, rest, udp| silent(dialogue, boxes, rest, udp)[0].0;
    assert_eq!(verdict("open c10 s20 cf sf c", "ipvs", 10_000 * SECOND, false), Verdict::Survives);
    assert_eq!(verdict("open c10 s20 cr", "ipvs", 10_000 * SECOND, false), Verdict::Survives);
    assert_eq!(verdict("open c10 s20 c cf s", "ipvs", 10_000 * SECOND, false), Verdict::Dormant, "a half-closed flow is open");
    assert_eq!(verdict("c10 s10", "ipvs", 10_000 * SECOND, true), Verdict::Survives, "the client's next question opens it anew");
}

#[test]
fn a_flow_is_judged_up_to_its_first_cut() {
    let f = Setup::boxes("ipvs").talk(Ends::number(1), "open c10 s20 c +1000 c10 s10 c +5000 c10", 0);
    assert_eq!(f.decisive.as_ref().and_then(|d| d.victim), Some((7, 0)));
    assert_eq!(f.break_points.iter().map(|b| b.longest.as_secs()).max(), Some(1000), "what came after the cut proves nothing");
    assert_eq!(f.packets, [7, 3], "but it is counted");
}

#[test]
fn repairs_are_counted_and_the_first_one_is_told() {
    let f = Setup::boxes("conntrack:established=600").talk(Ends::number(1), "open c10 s20 c +600 c10 s10 c +700 c10 +300 c10", 0);
    assert_eq!(tell(&f), "repaired 0.ESTABLISHED #7 data from client, picked up again");
    // Picked up by the last but one packet, the entry has seen no answer and lives for 300 s only.
    assert!(f.break_points.iter().any(|b| (b.timeout.as_secs(), b.longest.as_secs(), b.keep_secs) == (300, 300, 301)));
}

#[test]
fn the_wheel_without_a_phase_leaves_a_band() {
    let wheel = Setup::boxes("ipvs").clock(Clock::Wheel { hz: Hz(250), phase: None });
    let at = |nanos: u64| wheel.talk(Ends::number(1), "open c10 s20 c @ c10", nanos);
    let (tick, band) = (4 * MILLISECOND, 16_384 * MILLISECOND);
    for (silence, expected) in [
        (900 * SECOND - tick - 1, Verdict::Survives),
        (900 * SECOND - tick, Verdict::Marginal),
        (900 * SECOND + band + tick - 1, Verdict::Marginal),
        (900 * SECOND + band + tick, Verdict::Cut),
    ] {
        assert_eq!(at(silence).verdict, expected, "{silence} ns");
    }
    let f = at(900 * SECOND + band / 4);
    assert_eq!(f.decisive.as_ref().and_then(|d| d.permille), Some(250), "a quarter of the band has passed");
    // Conntrack of 4.9 and later looks at its entries when they are asked for: no wheel, no band but the clock's own tick.
    let lookup = Setup::boxes("conntrack:strict,established=900").clock(Clock::Wheel { hz: Hz(250), phase: None });
    assert_eq!(lookup.talk(Ends::number(1), "open c10 s20 c @ c10", 900 * SECOND + tick).verdict, Verdict::Cut);
    let wheel = Setup::boxes("conntrack:strict,established=900,dialect=linux-4.8").clock(Clock::Wheel { hz: Hz(250), phase: None });
    assert_eq!(wheel.talk(Ends::number(1), "open c10 s20 c @ c10", 900 * SECOND + tick).verdict, Verdict::Marginal);
}

#[test]
fn the_wheel_with_a_phase_knows_the_tick() {
    let (hz, tick) = (250_u64, 4 * MILLISECOND);
    for jiffies in [4_294_892_296, 4_294_892_297, 4_294_893_000, 4_294_896_391] {
        let phase = Phase { hz: Hz(250), jiffies, at: Instant(START) };
        let setup = Setup::boxes("ipvs").clock(Clock::Wheel { hz: Hz(250), phase: Some(phase) });
        // The sixth packet arms the timer 5 ms after the start, one tick later. 225,000 ticks lie in a granule of 4096,
        // and the wheel fires at the first granule that begins after the end.
        let expires = jiffies + 1 + 900 * hz;
        let fires = (expires / 4096 + 1) * 4096;
        let silence = (fires - jiffies) * tick - 5 * MILLISECOND;
        let verdict = |silence| setup.talk(Ends::number(1), "open c10 s20 c @ c10", silence).verdict;
        assert_eq!(verdict(silence - 1), Verdict::Survives, "{jiffies}");
        assert_eq!(verdict(silence), Verdict::Cut, "{jiffies}");
    }
}

#[test]
fn a_flow_that_began_before_the_capture_is_adopted() {
    let without_handshake = "c10 s20 c @ c10";
    for boxes in
        ["ipvs", "ipvs:dr", "conntrack:strict,established=900", "idle:established=900", "conntrack:masquerade,loose=0,established=900"]
    {
        let setup = Setup::boxes(boxes);
        let f = setup.talk(Ends::number(1), without_handshake, 900 * SECOND);
        assert_eq!((f.verdict, f.blocked), (Verdict::Cut, 0), "{boxes}: {}", tell(&f));
        assert!(caveats(&f).contains(&"adopted") && caveats(&f).contains(&"orientation-guessed"), "{boxes}: {:?}", caveats(&f));
        let f = setup.talk(Ends::number(1), without_handshake, 900 * SECOND - 1);
        assert_eq!((f.verdict, f.blocked), (Verdict::Survives, 0), "{boxes}: {}", tell(&f));
    }
}

#[test]
fn a_capture_may_begin_with_the_answer_to_the_syn() {
    for boxes in ["ipvs", "ipvs:dr", "aws-nlb:established=900", "conntrack:strict,established=900"] {
        let mut packets = Ends::number(1).talk("open c10 s20 c @ c10", 900 * SECOND);
        packets.remove(0);
        let findings = Setup::boxes(boxes).judge(&packets);
        assert_eq!((findings[0].verdict, findings[0].blocked), (Verdict::Cut, 0), "{boxes}: {}", tell(&findings[0]));
    }
}

#[test]
fn what_the_capture_point_saw_twice_crossed_the_boxes_once() {
    // Unanswered probes, each captured twice: two of them are two, not four in a row.
    let probes = "open c10 s20 c sk again +75 retry again @ c10";
    let setup = Setup::boxes("conntrack:strict,established=1000");
    assert_eq!(setup.talk(Ends::number(1), probes, 999 * SECOND).verdict, Verdict::Survives);
    let four = "open c10 s20 c sk +1 retry +75 retry +1 retry @ c10";
    assert_eq!(setup.talk(Ends::number(1), four, 300 * SECOND).verdict, Verdict::Cut);
    // The copy of a victim is no second victim.
    let f = Setup::boxes("conntrack:established=600").talk(Ends::number(1), "open c10 s20 c @ c10 again", 600 * SECOND);
    assert_eq!((f.verdict, f.repairs), (Verdict::Repaired, 1));
}

#[test]
fn a_clock_that_goes_back_is_told() {
    let mut packets: Vec<Packet> = Ends::number(1).talk("open c10 s20 c c10 s10 c", 0);
    packets[5].at += SECOND;
    let findings = Setup::boxes("ipvs").judge(&packets);
    assert_eq!((findings[0].verdict, caveats(&findings[0])), (Verdict::Survives, vec!["clock-backwards"]));
}

#[test]
fn keepalives_that_should_have_been_there_are_missed() {
    let f = Setup::boxes("ipvs").talk(Ends::number(1), "open c10 s20 c +60 ck s +60 ck s +60 ck s +1000 c10", 0);
    assert_eq!((f.verdict, caveats(&f)), (Verdict::Cut, vec!["probes-missing"]));
}

#[test]
fn what_documentation_leaves_open_is_told() {
    let caveat = |boxes| caveats(&Setup::boxes(boxes).talk(Ends::number(1), "open c10 s20 c @ c10", 10_000 * SECOND));
    assert_eq!(caveat("gcp-cloud-nat"), ["undocumented"]);
    assert!(caveat("aws-nlb").is_empty());
    assert!(caveat("gcp-cloud-nat:on_stray=rst_sender").is_empty(), "what the user says is certain");
}
