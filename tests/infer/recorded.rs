//! Real sockets through real boxes whose timers are known.

use super::{bracket, excludes, infer, told};
use flowlapse::capture::Input;
use flowlapse::study::infer::evidence::State;
use flowlapse::study::infer::pool::{Keepalives, Undetermined};
use flowlapse::time::Duration;
use serde::Deserialize;
use std::path::{Path, PathBuf};

const SIDES: [&str; 2] = ["client", "server"];

/// A line of `fixtures/infer/truth.json`, as far as the tests need it.
#[derive(Deserialize)]
struct Truth {
    capture: String,
    kind: String,
    established: u64,
    close_wait: Option<u64>,
    fin_wait: Option<u64>,
}

fn file(folder: &str, capture: &str, side: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder).join(format!("{capture}-{side}-side.pcap"))
}

fn input(folder: &str, capture: &str, side: &str) -> Input {
    Input::Path(file(folder, capture, side))
}

fn truths() -> Vec<Truth> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/infer/truth.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there")).expect("it can be read")
}

#[test]
fn every_recording_has_its_timer_inside_its_bracket() {
    for truth in truths() {
        let sides = SIDES.map(|side| input("infer", &truth.capture, side));
        for inputs in [&sides[..1], &sides[1..], &sides[..]] {
            let (inference, _) = infer(inputs, 1);
            let late = truth.kind == "ipvs";
            let established = bracket(&inference, State::Established).expect("every one has silences");
            assert!(!excludes(established, Duration::from_secs(truth.established), late), "{}: {established:#?}", truth.capture);
            for state in [State::ClientClosed, State::ServerClosed] {
                let Some(closed) = bracket(&inference, state) else { continue };
                let timers: Vec<u64> = [truth.close_wait, truth.fin_wait].into_iter().flatten().collect();
                let out = |secs: &u64| excludes(closed, Duration::from_secs(*secs), late);
                assert!(timers.is_empty() || !timers.iter().all(out), "{}: {closed:#?}", truth.capture);
            }
        }
    }
}

#[test]
fn brackets_are_as_narrow_as_the_silences_allow() {
    // Both ends in milliseconds; nothing narrower than the recording allows, nothing wider without a reason.
    let rows = [
        ("masquerade-4", "client", Some((3828, 4812))),
        ("masquerade-4", "server", Some((3588, 4612))),
        ("dnat-3", "client", Some((2388, 3192))),
        ("firewall-4", "client", Some((3828, 4252))),
        ("firewall-3", "server", Some((2688, 3909))),
        ("ipvs-nat-8", "client", Some((5979, 8493))),
        ("ipvs-dr-4", "client", Some((1905, 4643))),
        ("router-5", "client", None),
        ("router-5", "server", None),
    ];
    for (capture, side, expected) in rows {
        let (inference, _) = infer(&[input("infer", capture, side)], 1);
        let found = bracket(&inference, State::Established).expect("there are silences");
        match expected {
            None => assert_eq!(found.undetermined, Some(Undetermined::NothingCut), "{capture} {side}"),
            Some((low, high)) => {
                let ends = [found.low, found.high].map(|bound| bound.map_or(0, |bound| bound.value.0 / 1_000_000));
                assert!(found.is_determined() && ends[0] >= low && ends[1] <= high, "{capture} {side}: {ends:?}");
            }
        }
    }
}

#[test]
fn the_captures_of_single_sessions_never_exclude_their_box() {
    let rows = [
        ("dnat-expired-picked-up", None),
        ("firewall-strict-expired-both-hang", None),
        ("ipvs-dr-expired-client-reset", None),
        ("ipvs-dr-keepalive-too-late", None),
        ("ipvs-nat-expired-fin-reset", None),
        ("ipvs-nat-half-closed-survives", None),
        ("ipvs-nat-keepalive-too-late", None),
        ("masquerade-strict-expired-leak", None),
        ("ssh-hang-firewall-established-3600", Some(3600)),
        ("ssh-hang-ipvs-nat", Some(900)),
        ("ssh-leak-ipvs-nat-tcp3600-keepalive-7200", Some(3600)),
        ("ssh-reset-ipvs-nat-types-after-20min", Some(900)),
        ("ssh-survives-ipvs-nat-keepalive-600", Some(900)),
        ("ssh-survives-masquerade-established-7440", Some(7440)),
    ];
    for (capture, timer) in rows {
        for side in SIDES {
            let (inference, _) = infer(&[input("captures", capture, side)], 1);
            let survives = capture.contains("survives") || capture.contains("picked-up");
            let Some(found) = bracket(&inference, State::Established) else { continue };
            assert!(!survives || !found.is_determined(), "{capture} {side}: nothing was cut");
            if let Some(secs) = timer {
                assert!(!excludes(found, Duration::from_secs(secs), true), "{capture} {side}: {found:#?}");
            }
        }
    }
}

#[test]
fn the_answer_does_not_depend_on_the_number_of_threads() {
    for truth in truths() {
        let sides = SIDES.map(|side| input("infer", &truth.capture, side));
        let (one, four) = (told(&sides, 1, 80), told(&sides, 4, 80));
        assert_eq!(one, four, "{}", truth.capture);
        // What is one word, such as the name of a file, cannot be broken.
        let long: Vec<&str> = one.0.lines().filter(|line| line.chars().count() > 80 && !line.contains("fixtures")).collect();
        let prose = long.iter().filter(|line| !line.contains(" → 10."));
        assert_eq!(prose.count(), 0, "{long:#?}");
    }
}

#[test]
fn one_flow_at_two_places_is_one_witness() {
    let sides = SIDES.map(|side| input("infer", "firewall-4", side));
    let agree = |inputs: &[Input]| told(inputs, 1, 100).1["pools"][0]["timers"][0]["agree"].as_u64();
    assert_eq!(agree(&sides), agree(&sides[..1]));
    assert_eq!(agree(&sides), Some(8));
    let (inference, _) = infer(&sides, 1);
    assert_eq!(inference.pools[0].twice, 8);
    assert!(!matches!(inference.pools[0].keepalives, Keepalives::Ignored { .. }));
}
