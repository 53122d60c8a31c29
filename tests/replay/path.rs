//! Several boxes, several files, several flows.

use crate::capture::{Ends, Packet, SECOND, START, Setup, both_sides, caveats, pcap, tell};
use flowlapse::finding::Verdict;
use std::net::SocketAddr;

#[test]
fn the_box_with_the_shortest_timer_decides() {
    both_sides(
        Ends::number(1),
        &[
            (
                "conntrack:strict aws-nlb",
                "open c10 s20 c @ c10",
                350,
                "cut 1.ESTABLISHED #7 data from client, reset by the box; reset/hang; established of aws-nlb = 351; keepalive 333",
            ),
            (
                "aws-nlb conntrack:strict",
                "open c10 s20 c @ s10",
                350,
                "cut 0.ESTABLISHED #7 data from server, reset by the box; hang/reset; established of aws-nlb = 351; keepalive 333",
            ),
            (
                "conntrack:masquerade,established=600 ipvs",
                "open c10 s20 c @ s10",
                600,
                "cut 0.ESTABLISHED #7 data from server, reset by the box; hang/reset; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "conntrack:masquerade ipvs azure-lb-default",
                "open c10 s20 c @ c10",
                240,
                "cut 2.ESTABLISHED #7 data from client, dropped as unknown; timeout/hang; established of azure-lb-default = 241; keepalive 223",
            ),
            (
                "azure-lb-default:established=4000 conntrack:masquerade ipvs",
                "open c10 s20 c @ c10",
                900,
                "cut 2.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "conntrack:masquerade conntrack:dnat,established=600",
                "open c10 s20 c @ s10",
                600,
                "cut 1.ESTABLISHED #7 data from server, reset by the box; hang/reset; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "ipvs:tcp=600 ipvs:dr",
                "open c10 s20 c @ c10",
                600,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 601 0 0; keepalive 583",
            ),
        ],
    );
}

#[test]
fn where_several_entries_have_ended_the_box_that_stops_the_packet_is_named() {
    // The first box takes the flow up again, so that the packet reaches the second one.
    let both = Setup::boxes("conntrack:masquerade,established=600 ipvs").talk(Ends::number(1), "open c10 s20 c @ c10", 1000 * SECOND);
    assert_eq!(tell(&both), "cut 1.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 1001 0 0; keepalive 883");
}

#[test]
fn frames_and_inputs_are_those_of_each_file() {
    let packets = Ends::number(1).talk("open c10 s20 c @ c10", 900 * SECOND);
    let other = Ends { start: START + 3, ..Ends::number(2) }.talk("open c10", 0);
    for split in 1..packets.len() {
        let mut first: Vec<&Packet> = packets[..split].iter().collect();
        let other = other.iter().filter(|p| p.at < packets[split - 1].at);
        first.extend(other);
        first.sort();
        let files = [pcap(first.iter().copied()), pcap(&packets[split..])];
        let findings = Setup::boxes("ipvs").files(&files);
        let victim = findings[0].decisive.as_ref().and_then(|d| d.victim);
        assert_eq!((findings[0].verdict, victim), (Verdict::Cut, Some(((7 - split) as u32, 1))), "split after {split}");
        assert_eq!(findings.len(), if split == 1 { 1 } else { 2 });
        // The order in which the files are named does not matter.
        let findings = Setup::boxes("ipvs").files(&[files[1].clone(), files[0].clone()]);
        let victim = findings[0].decisive.as_ref().and_then(|d| d.victim);
        assert_eq!((findings[0].verdict, victim), (Verdict::Cut, Some(((7 - split) as u32, 0))));
    }
}

#[test]
fn version_six_of_ip() {
    let f = Setup::boxes("conntrack:strict,established=600").talk(Ends::number(1).six(), "open c10 s20 c @ c10", 600 * SECOND);
    assert_eq!((f.verdict, f.client.to_string()), (Verdict::Cut, "[fd00:1::2]:40001".to_owned()));
    let f = Setup::boxes("ipvs").talk(Ends::number(1).six().udp(), "c10 @ s10", 300 * SECOND);
    assert_eq!((f.verdict, caveats(&f)), (Verdict::Cut, vec!["orientation-guessed", "udp-unproven", "within-band"]));
}

#[test]
fn a_filter_leaves_packets_out_before_anything_is_judged() {
    let ssh = SocketAddr::from(([10, 1, 0, 1], 22));
    let mut packets = Ends::number(1).talk("open c10 s20 c @ c10", 900 * SECOND);
    packets.extend(Ends { server: ssh, ..Ends::number(2) }.talk("open c10 s20 c @ c10", 900 * SECOND));
    packets.sort();
    let all = Setup::boxes("ipvs");
    assert_eq!(all.judge(&packets).len(), 2);
    let findings = Setup { filter: Some("tcp port 22"), ..all }.judge(&packets);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].server.port, findings[0].verdict), (22, Verdict::Cut));
    // Frame numbers stay those of the file. The streams are numbered among what is left.
    assert_eq!(findings[0].decisive.as_ref().and_then(|d| d.victim), Some((14, 0)));
    let advice = findings[0].advice.iter().any(|a| a.line == "ServerAliveInterval 883");
    assert!(advice, "ssh has keepalives of its own");
}

#[test]
fn ports_that_are_used_again_are_a_flow_of_their_own() {
    let ends = Ends::number(1);
    let mut packets = ends.talk("open c10 s20 c cf sf c", 0);
    let again = Ends { start: START + 1000 * SECOND, isn: [77_000, 88_000], ..ends };
    packets.extend(again.talk("open c10 s20 c @ c10", 900 * SECOND));
    let verdicts: Vec<_> = Setup::boxes("ipvs").judge(&packets).iter().map(|f| (f.stream, f.verdict)).collect();
    assert_eq!(verdicts, [(0, Verdict::Survives), (1, Verdict::Cut)]);
}

#[test]
fn a_proxy_does_not_count_keepalives() {
    let probes = "open c10 s20 +40 ck s +20 c10";
    let f = Setup::boxes("aws-alb").talk(Ends::number(1), probes, 0);
    assert_eq!(tell(&f), "cut 0.ESTABLISHED #8 data from client, reset by the box; reset/hang; established of aws-alb = 61");
    assert_eq!(f.decisive.as_ref().map(|d| d.refreshed), Some(flowlapse::time::Instant(START + 4_000_000)), "the server's last data");
    assert_eq!(Setup::boxes("aws-nlb:established=60").talk(Ends::number(1), probes, 0).verdict, Verdict::Survives);
}

#[test]
fn both_ends_learn_of_the_end_where_the_box_resets_them() {
    let f = Setup::boxes("azure-lb-tcp-reset").talk(Ends::number(1), "open c10 s20 c @ c10", 240 * SECOND);
    let told = f.symptoms.expect("it is cut").map(|s| (s.feeling.name(), s.text.contains("when the entry ends")));
    assert_eq!(told, [("reset", true), ("reset", true)]);
}

#[test]
fn a_box_without_a_timer_cuts_nobody() {
    let f = Setup::boxes("katran").talk(Ends::number(1), "open c10 s20 c @ c10 s c", 10_000_000 * SECOND);
    assert_eq!((f.verdict, f.break_points.len()), (Verdict::Survives, 0));
}

#[test]
fn a_closed_flow_leaves_its_entries_behind() {
    let outlived = |boxes| Setup::boxes(boxes).talk(Ends::number(1), "open c10 s20 c cf sf c", 0).outlived.as_secs();
    assert_eq!(outlived("conntrack"), 120, "TIME_WAIT");
    assert_eq!(outlived("ipvs"), 120);
    assert_eq!(outlived("conntrack ipvs"), 240, "each box keeps its own");
    assert_eq!(Setup::boxes("conntrack").talk(Ends::number(1), "open c10 s20 c", 0).outlived.as_secs(), 0, "still open");
}

#[test]
fn a_frame_of_another_file_is_another_frame() {
    let packets = Ends::number(1).talk("open c10 s20 c +1000 c10 s +400 c10 s!7 s5", 0);
    let other = Ends { start: packets[6].at + 1000, ..Ends::number(2) }.talk("cS sS c c10 s10", 0);
    let mut second: Vec<Packet> = packets[7..].iter().chain(&other).cloned().collect();
    second.sort();
    let findings = Setup::boxes("ipvs").files(&[pcap(&packets[..7]), pcap(&second)]);
    assert_eq!(findings[0].verdict, Verdict::Cut, "as with one file");
}
