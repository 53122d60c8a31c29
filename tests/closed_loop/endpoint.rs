//! The conformance list of endpoints.md section 10, and the tables that it refers to, on exact clocks.

use super::rig::{near, talk};
use flowlapse::endpoint::Errno;
use flowlapse::model::Side;
use flowlapse::net::TcpFlags;
use flowlapse::simulate::End;
use flowlapse::time::Duration;

const DEAD: &str = r#""events": [{"at": "2s", "server": "dies"}]"#;

fn failed_at(end: End) -> f64 {
    match end {
        End::Failed(Errno::Etimedout, at) => Duration(at.0).as_secs_f64(),
        other => panic!("{other:?} is not ETIMEDOUT"),
    }
}

/// Keepalive into silence: probes and death, relative to the last reception (section 2.4).
#[test]
fn keepalive_closed_form() {
    for (keepalive, user_timeout, probes, death) in [
        (r#"{"time": 7200, "intvl": 75, "probes": 9}"#, "", (0..9).map(|n| 7200.0 + 75.0 * f64::from(n)).collect::<Vec<_>>(), 7875.0),
        (r#"{"time": 60, "intvl": 10, "probes": 6}"#, "", vec![60.0, 70.0, 80.0, 90.0, 100.0, 110.0], 120.0),
        (r#"{"time": 15, "intvl": 15, "probes": 9}"#, "", (1..10).map(|n| 15.0 * f64::from(n)).collect(), 150.0),
        (r#"{"time": 30, "intvl": 10, "probes": 3}"#, "45s", vec![30.0, 40.0], 50.0),
        (r#"{"time": 60, "intvl": 10, "probes": 6}"#, "30s", vec![60.0], 70.0),
        (r#"{"time": 7200, "intvl": 75, "probes": 9}"#, "10s", vec![7200.0], 7275.0),
        (r#"{"time": 10, "intvl": 8, "probes": 5}"#, "50s", vec![10.0, 18.0, 26.0, 34.0, 42.0], 50.0),
    ] {
        let user = if user_timeout.is_empty() { String::new() } else { format!(r#", "user_timeout": "{user_timeout}""#) };
        let (outcome, wire) =
            talk(&format!(r#""client": {{"keepalive": {keepalive}{user}}}, {DEAD}, "script": [{{"at": 1, "who": "client", "send": 10}}]"#));
        // The acknowledgement of the ten bytes came a round trip after they were sent.
        let base = 1.001;
        near(&wire.probes(Side::Client), &probes.iter().map(|p| base + p).collect::<Vec<_>>());
        near(&[failed_at(outcome.sides[0].end)], &[base + death]);
        let resets = wire.times(Side::Client, TcpFlags::RST | TcpFlags::ACK);
        near(&resets, &[base + death]);
    }
}

/// E-05: the peer's probes are no activity; each side probes in its own rhythm, counted from what it heard itself.
#[test]
fn two_hosts_probe_each_other_independently() {
    let (outcome, wire) = talk(
        r#""client": {"keepalive": {"time": 60, "intvl": 10, "probes": 3}}, "server": {"keepalive": {"time": 90, "intvl": 10, "probes": 3}}"#,
    );
    assert!(matches!(outcome.sides[0].end, End::StillOpen(_)) && matches!(outcome.sides[1].end, End::StillOpen(_)));
    let client = wire.probes(Side::Client);
    let server = wire.probes(Side::Server);
    near(&client[..3], &[60.001, 120.002, 180.003]);
    near(&server[..3], &[90.002, 180.003, 270.004]);
}

/// E-07, E-14, E-15: data into a black hole suppresses keepalive; the retransmission timer decides, by time.
#[test]
fn data_in_flight_suppresses_keepalive() {
    let (outcome, wire) = talk(&format!(
        r#""client": {{"keepalive": {{"time": 10, "intvl": 1, "probes": 3}}}}, {DEAD}, "script": [{{"at": 5, "who": "client", "send": 10}}]"#
    ));
    assert!(wire.probes(Side::Client).is_empty());
    // 0.2 s for the tail loss probe, then the ladder of section 3.4.
    near(&[failed_at(outcome.sides[0].end)], &[5.0 + 925.824]);
    let ladder = [0.0, 0.201, 0.402, 0.804, 1.608, 3.216, 6.432, 12.864, 25.728, 51.456, 102.912, 205.824, 325.824];
    near(&wire.payload(Side::Client)[..13], &ladder.map(|t| 5.0 + t));
}

/// The staircase of section 3.4 for other round trips and other limits (without the tail loss probe).
#[test]
fn the_staircase_of_giving_up() {
    let give_up = |round_trip: &str, retries: u32| {
        let (outcome, _) = talk(&format!(
            r#""links": {{"round_trip": "{round_trip}"}}, "client": {{"sysctl": {{"tcp_early_retrans": 0, "tcp_retries2": {retries}}}}}, {DEAD},
            "script": [{{"at": 0.5, "who": "client", "send": 1, "every": "100ms", "until": "1.9s"}}, {{"at": 5, "who": "client", "send": 10}}]"#
        ));
        failed_at(outcome.sides[0].end) - 5.0
    };
    for (round_trip, seconds) in [("0.1ms", 1044.7), ("1ms", 925.6), ("10ms", 934.8), ("50ms", 967.8), ("100ms", 993.3)] {
        let got = give_up(round_trip, 15);
        assert!((got - seconds).abs() < 0.4, "{round_trip}: {got}, not {seconds}");
    }
    for (retries, seconds) in [(5, 25.5), (6, 51.3), (7, 51.3), (8, 102.7), (10, 325.6), (12, 565.6)] {
        let got = give_up("1ms", retries);
        assert!((got - seconds).abs() < 0.1, "tcp_retries2 {retries}: {got}, not {seconds}");
    }
}

/// Section 3.5: TCP_USER_TIMEOUT counts from the first retransmission, and the last timer is shortened to it.
#[test]
fn user_timeout_replaces_the_retries() {
    let (outcome, _) =
        talk(&format!(r#""client": {{"user_timeout": "30s"}}, {DEAD}, "script": [{{"at": 5, "who": "client", "send": 10}}]"#));
    near(&[failed_at(outcome.sides[0].end)], &[5.0 + 0.201 + 0.201 + 30.0]);
    let (outcome, _) = talk(&format!(
        r#""client": {{"kernel": "4.18", "user_timeout": "30s"}}, {DEAD}, "script": [{{"at": 5, "who": "client", "send": 10}}]"#
    ));
    // Before 4.19: the first natural timer after it.
    near(&[failed_at(outcome.sides[0].end)], &[5.0 + 0.201 * 256.0]);
}

/// Section 3.6: SYNs, before and since 6.5.
#[test]
fn syn_schedules() {
    for (kernel, syns, death) in [
        ("6.1", vec![0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0], 127.0),
        ("6.12", vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 11.0, 19.0, 35.0, 67.0], 131.0),
    ] {
        let (outcome, wire) = talk(&format!(r#""client": {{"kernel": "{kernel}"}}, "events": [{{"at": 0, "server": "dies"}}]"#));
        near(&wire.times(Side::Client, TcpFlags::SYN), &syns);
        near(&[failed_at(outcome.sides[0].end)], &[death]);
    }
}

/// Section 3.7: a listener answers a SYN six times and then forgets it.
#[test]
fn syn_ack_schedule() {
    let (_, wire) = talk(r#""client": {"vanishes_after": "1us"}"#);
    near(&wire.times(Side::Server, TcpFlags::SYN | TcpFlags::ACK), &[0.0005, 1.0005, 3.0005, 7.0005, 15.0005, 31.0005]);
}

/// The published measurement of section 1.1 by the wheel of a kernel with 250 ticks a second.
#[test]
fn syn_schedule_on_the_wheel() {
    let (_, wire) =
        talk(r#""wheel": {"hz": 250, "client_jiffies": 303}, "client": {"kernel": "5.4"}, "events": [{"at": 0, "server": "dies"}]"#);
    near(&wire.times(Side::Client, TcpFlags::SYN), &[0.0, 1.028, 3.044, 7.236, 15.428, 31.556, 64.324]);
}

/// E-18: a probe that reaches a host without the socket is answered with exactly the number that the prober believes.
#[test]
fn a_probe_to_a_host_without_the_socket_ends_in_econnreset() {
    let (outcome, wire) =
        talk(r#""client": {"keepalive": {"time": 60, "intvl": 10, "probes": 3}}, "events": [{"at": 2, "server": "reboots"}]"#);
    assert!(matches!(outcome.sides[0].end, End::Failed(Errno::Econnreset, _)), "{:?}", outcome.sides[0].end);
    near(&wire.times(Side::Server, TcpFlags::RST), &[60.0015]);
}

/// E-22, E-23: a half-closed connection lives as long as its application wants; a box's CLOSE_WAIT timer does not wait.
#[test]
fn half_closed_behind_a_close_wait_of_60_seconds() {
    let after = |pause: &str| {
        talk(&format!(
            r#""path": ["ipvs:nat"], "script": [{{"at": 1, "who": "client", "shutdown": true}}, {{"at": "{pause}", "who": "server", "send": 100}}]"#
        ))
        .0
    };
    assert_eq!(after("59s").sides[0].delivered, 100);
    let late = after("62s");
    assert_eq!(late.sides[0].delivered, 0);
    // Untranslated, the data reaches the client's host, which resets a connection that it does not know.
    assert!(matches!(late.sides[1].end, End::Failed(..)), "{:?}", late.sides[1].end);
    assert!(matches!(late.sides[0].end, End::StillOpen(_)), "{:?}", late.sides[0].end);
}

/// Section 3.9: a peer that answers "window 0" keeps the connection; probes come in doubling intervals up to 120 s.
#[test]
fn zero_window_probes() {
    let (outcome, wire) = talk(
        r#""server": {"receive_buffer": 4096}, "script": [{"at": 0.5, "who": "server", "pause": true}, {"at": 1, "who": "client", "send": 20000}]"#,
    );
    assert!(matches!(outcome.sides[0].end, End::StillOpen(_)), "{:?}", outcome.sides[0].end);
    let probes = wire.probes(Side::Client);
    assert!(probes.len() > 100, "{}", probes.len());
    let gaps: Vec<f64> = probes.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.iter().all(|gap| *gap < 120.1) && gaps[20] > 119.0, "{gaps:?}");
    // Nobody answers any more: fifteen probes later it is over.
    let (outcome, _) = talk(
        r#""server": {"receive_buffer": 4096}, "script": [{"at": 0.5, "who": "server", "pause": true}, {"at": 1, "who": "client", "send": 20000}],
        "events": [{"at": "3000s", "server": "dies"}]"#,
    );
    assert!(matches!(outcome.sides[0].end, End::Failed(Errno::Etimedout, _)), "{:?}", outcome.sides[0].end);
}

/// Section 3.8: an orphan gives up earlier, and nobody is told; section 6: tcp_fin_timeout.
#[test]
fn orphans() {
    let (outcome, wire) = talk(&format!(r#"{DEAD}, "script": [{{"at": 5, "who": "client", "close": true}}]"#));
    assert!(matches!(outcome.sides[0].end, End::Closed(_)));
    let fins = wire.times(Side::Client, TcpFlags::FIN | TcpFlags::ACK);
    let last = fins.last().expect("there are FINs") - 5.0;
    assert!((last - 51.4).abs() < 0.2, "the last FIN before 102.8 s: {last}");
    // The peer never closes: FIN_WAIT2 without an application ends after 60 s, and data is then reset.
    let (outcome, wire) = talk(r#""script": [{"at": 5, "who": "client", "close": true}, {"at": 70, "who": "server", "send": 10}]"#);
    near(&wire.times(Side::Client, TcpFlags::RST), &[70.001]);
    assert!(matches!(outcome.sides[1].end, End::Failed(Errno::Epipe, _)), "{:?}", outcome.sides[1].end);
}

/// Applications' own timers: OpenSSH gives up at n·(max+1) after the last reception (E-24); a request that is never answered.
#[test]
fn applications_give_up() {
    let (outcome, _) = talk(&format!(
        r#""client": {{"heartbeat": {{"program": "openssh-client", "every": "15s"}}}}, {DEAD}, "script": [{{"at": 1, "who": "server", "send": 10}}]"#
    ));
    match outcome.sides[0].end {
        End::GaveUp(_, at) => near(&[Duration(at.0).as_secs_f64()], &[1.0005 + 60.0]),
        other => panic!("{other:?}"),
    }
    let (outcome, _) = talk(
        r#""client": {"read_timeout": "30s"}, "script": [{"at": 1, "who": "client", "request": {"len": 10, "reply": 10, "after": "1min"}}]"#,
    );
    assert!(matches!(outcome.sides[0].end, End::GaveUp("read timeout", _)), "{:?}", outcome.sides[0].end);
}
