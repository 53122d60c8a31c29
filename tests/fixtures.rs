//! What real sockets felt behind real boxes, and what replay says of the captures of those runs.
//!
//! The expectations are what `fixtures/README.md` tells of each run: who was reset, who hung, who noticed nothing.

use flowlapse::capture::{self, Input};
use flowlapse::engine::pipeline::{self, Job};
use flowlapse::engine::{Clock, Path};
use flowlapse::finding::judge::judge;
use flowlapse::kernel::wheel::Hz;
use flowlapse::net::Direction;
use flowlapse::policy::parse_short;
use std::sync::atomic::AtomicBool;

const FROM_CLIENT: &str = "client";
const FROM_SERVER: &str = "server";

/// Replays one capture through one box with real timers and tells the first TCP flow in a line.
fn tell(capture: &str, spec: &str, hz: u32) -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures").join(format!("{capture}.pcap"));
    let boxes = [parse_short(spec).unwrap_or_else(|e| panic!("{e}"))];
    let path = Path::build(&boxes, Clock::Wheel { hz: Hz(hz), phase: None }).expect("the path is sound");
    let mut capture = capture::open(&[Input::Path(file)]).expect("the fixture is there");
    let run = pipeline::run(&mut capture, &path, &Job::default(), &AtomicBool::new(false));
    let finding = judge(&path, run.socks(run.flows.flow(0)), run.flows.flow(0), &run.flows.run(0), run.end);
    match &finding.decisive {
        None => finding.verdict.name().to_owned(),
        Some(d) => {
            let from = if d.dir == Direction::Original { FROM_CLIENT } else { FROM_SERVER };
            format!("{} {} {} from {from}, {}", finding.verdict.name(), d.cause.state, d.kind.name(), d.fate)
        }
    }
}

/// Compares a table of captures, boxes and tales.
fn check(rows: &[(&str, &str, u32, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(capture, spec, hz, expected)| (capture, tell(capture, spec, *hz), expected))
        .filter(|(_, told, expected)| told != **expected)
        .map(|(capture, told, expected)| format!("{capture}: told '{told}', expected '{expected}'"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hours_at_true_length() {
    let firewall = "conntrack:strict,established=3600,dialect=linux-6.1";
    let (ipvs, patient) = ("ipvs:nat,dialect=linux-6.1", "ipvs:nat,tcp=3600,tcpfin=120,udp=300,dialect=linux-6.1");
    let masquerade = "conntrack:masquerade,established=7440,dialect=linux-6.1";
    check(&[
        // The server's keepalive came too late, leaked past the NAT, and was reset by the client's host.
        ("ssh-hang-ipvs-nat-server-side", ipvs, 250, "cut ESTABLISHED keepalive probe from server, leaked untranslated"),
        // On the client's side that probe belongs to another flow: the session itself stays silent.
        ("ssh-hang-ipvs-nat-client-side", ipvs, 250, "dormant ESTABLISHED none yet from client, reset by the box"),
        ("ssh-reset-ipvs-nat-types-after-20min-client-side", ipvs, 250, "cut ESTABLISHED data from client, reset by the box"),
        ("ssh-reset-ipvs-nat-types-after-20min-server-side", ipvs, 250, "cut ESTABLISHED keepalive probe from server, leaked untranslated"),
        (
            "ssh-leak-ipvs-nat-tcp3600-keepalive-7200-server-side",
            patient,
            250,
            "cut ESTABLISHED keepalive probe from server, leaked untranslated",
        ),
        ("ssh-survives-ipvs-nat-keepalive-600-client-side", ipvs, 250, "survives"),
        ("ssh-survives-ipvs-nat-keepalive-600-server-side", ipvs, 250, "survives"),
        ("ssh-hang-firewall-established-3600-client-side", firewall, 250, "cut ESTABLISHED data from client, dropped as NEW without SYN"),
        (
            "ssh-hang-firewall-established-3600-server-side",
            firewall,
            250,
            "cut ESTABLISHED keepalive probe from server, dropped as NEW without SYN",
        ),
        ("ssh-survives-masquerade-established-7440-client-side", masquerade, 250, "survives"),
        ("ssh-survives-masquerade-established-7440-server-side", masquerade, 250, "survives"),
    ]);
}

#[test]
fn the_same_sessions_with_another_setting() {
    // What would have kept them, and what would have cut those that lived.
    check(&[
        ("ssh-hang-firewall-established-3600-client-side", "conntrack:strict,established=5399,dialect=linux-6.1", 250, "survives"),
        (
            "ssh-hang-firewall-established-3600-client-side",
            "conntrack:strict,established=5398,dialect=linux-6.1",
            250,
            "cut ESTABLISHED data from client, dropped as NEW without SYN",
        ),
        ("ssh-reset-ipvs-nat-types-after-20min-client-side", "ipvs:nat,tcp=1201,dialect=linux-6.1", 250, "survives"),
        (
            "ssh-survives-ipvs-nat-keepalive-600-server-side",
            "ipvs:nat,tcp=590,dialect=linux-6.1",
            250,
            "cut ESTABLISHED keepalive probe from server, leaked untranslated",
        ),
        (
            "ssh-survives-masquerade-established-7440-server-side",
            "conntrack:masquerade,established=7200,dialect=linux-6.1",
            250,
            "cut ESTABLISHED keepalive probe from server, reset by the box",
        ),
    ]);
}

#[test]
fn half_a_minute_with_scaled_timers() {
    let strict = "conntrack:masquerade,loose=0,established=3,dialect=linux-6.1";
    let firewall = "conntrack:strict,established=5,dialect=linux-6.1";
    let (ipvs, late, half) = (
        "ipvs:nat,tcp=4,tcpfin=2,udp=300,dialect=linux-6.1",
        "ipvs:nat,tcp=6,tcpfin=3,udp=300,dialect=linux-6.1",
        "ipvs:nat,tcp=4,tcpfin=4,udp=300,dialect=linux-6.1",
    );
    let (dr, dr_secure) =
        ("ipvs:dr,tcp=5,tcpfin=4,udp=300,dialect=linux-6.1", "ipvs:dr,tcp=4,tcpfin=4,udp=300,secure_tcp=3,dialect=linux-6.1");
    check(&[
        ("masquerade-strict-expired-leak-client-side", strict, 100, "cut ESTABLISHED data from client, leaked untranslated"),
        ("masquerade-strict-expired-leak-server-side", strict, 100, "cut ESTABLISHED data from server, reset by the box"),
        (
            "dnat-expired-picked-up-client-side",
            "conntrack:dnat,established=6,dialect=linux-6.1",
            100,
            "repaired ESTABLISHED data from client, picked up again",
        ),
        (
            "dnat-expired-picked-up-server-side",
            "conntrack:dnat,established=6,dialect=linux-6.1",
            100,
            "repaired ESTABLISHED data from client, picked up again",
        ),
        ("firewall-strict-expired-both-hang-client-side", firewall, 100, "cut ESTABLISHED data from client, dropped as NEW without SYN"),
        ("firewall-strict-expired-both-hang-server-side", firewall, 100, "cut ESTABLISHED data from server, dropped as NEW without SYN"),
        ("ipvs-nat-expired-fin-reset-client-side", ipvs, 100, "cut ESTABLISHED FIN from client, reset by the box"),
        ("ipvs-nat-expired-fin-reset-server-side", ipvs, 100, "cut ESTABLISHED data from server, leaked untranslated"),
        ("ipvs-nat-keepalive-too-late-server-side", late, 100, "cut ESTABLISHED keepalive probe from server, leaked untranslated"),
        ("ipvs-nat-half-closed-survives-client-side", half, 100, "survives"),
        ("ipvs-nat-half-closed-survives-server-side", half, 100, "survives"),
        ("ipvs-dr-keepalive-too-late-client-side", dr_secure, 100, "cut ESTABLISHED keepalive probe from client, reset by the box"),
        ("ipvs-dr-expired-client-reset-client-side", dr, 100, "cut ESTABLISHED data from client, reset by the box"),
    ]);
}
