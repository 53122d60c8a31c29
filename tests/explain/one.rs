//! One flow, told.

use crate::{Folder, fixture, has, json, refused, told};
use serde_json::Value;

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
fn what_is_taken_up_again_is_told_in_the_order_of_time() {
    let text = told(&[&fixture("dnat-expired-picked-up-client-side"), "--box", "conntrack:dnat,established=6"]);
    let places: Vec<Option<usize>> =
        ["0.478822 silence", "6.478822 conntrack:dnat,established=6 forgets it", "8.082900 frame 6 comes", "8.082900 4 packets"]
            .into_iter()
            .map(|part| text.find(part))
            .collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {text}");
    has(&text, &["repaired, at conntrack", "picked up again", "answered: frame 7"]);
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
