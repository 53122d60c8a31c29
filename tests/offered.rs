//! The traffic that a scenario offers, replayed through its own boxes, and what its run says.

use flowlapse::engine::offered::kept_offered;
use flowlapse::engine::pipeline::{Followed, Job, Run, Singly};
use flowlapse::engine::replay::Replay;
use flowlapse::finding::Verdict;
use flowlapse::finding::judge::judge;
use flowlapse::flow::Flow;
use flowlapse::net::Sock;
use flowlapse::scenario::compile::Ready;
use flowlapse::scenario::offered::{Traffic, client_sock};
use flowlapse::scenario::{load, run};
use flowlapse::simulate::Silent;
use flowlapse::simulate::outcome::Met;
use flowlapse::time::Instant;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn ready(name: &str, settings: &[&str]) -> Ready {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    let scenario = load(&fs::read_to_string(file).expect("readable"), name, &settings).expect("a scenario");
    scenario.compile().expect("it makes sense")
}

fn replayed(ready: &Ready, threads: usize) -> Followed {
    let traffic = Traffic::new(ready);
    let job = Job { threads, ..Job::default() };
    kept_offered(traffic.chunks(), &traffic.origin("it"), &Singly(&Replay::new(&ready.net.path)), &job, &AtomicBool::new(false))
}

fn run_client<L>(run: &Run<L>, flow: &Flow) -> Sock {
    run.socks(flow)[0]
}

fn verdicts(ready: &Ready) -> Vec<Verdict> {
    let run = replayed(ready, 1);
    run.flows.iter().map(|judged| judge(&ready.net.path, run.socks(&judged.flow), &judged.flow, &judged.run, run.end).verdict).collect()
}

/// Whether the closed loop had a packet that came too late and was not taken up again.
fn is_cut(ready: &Ready) -> bool {
    let (outcome, _) = run::single(ready, Silent);
    outcome.forgotten.iter().any(|entry| !matches!(entry.fate, Met::Repicked | Met::Nobody))
}

#[test]
fn one_flow_is_cut_where_its_run_says_so() {
    for (name, settings, cut) in [
        ("ssh-ipvs-nat.json", &[][..], true),
        ("ssh-ipvs-nat.json", &["path.0.ipvs.timeout_tcp=7440"], false),
        ("ssh-ipvs-nat.json", &["path.0.ipvs.timeout_tcp=3600"], true),
        ("ssh-ipvs-nat.json", &["server.keepalive.time=600"], false),
        ("ssh-ipvs-dr.json", &[], true),
        ("ssh-cloud-nat-350.json", &[], true),
        ("ssh-openwrt-7440.json", &[], false),
        ("incident-02-kube-router-grpc.json", &[], true),
        ("incident-20-nlb-350.json", &[], true),
    ] {
        let ready = ready(name, settings);
        assert_eq!(is_cut(&ready), cut, "the run of {name} {settings:?}");
        let found = verdicts(&ready);
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0] == Verdict::Cut, cut, "{name} {settings:?}: {:?}", found[0]);
    }
}

#[test]
fn frames_follow_one_another_flow_by_flow_and_threads_change_nothing() {
    let ready = ready("laptops-and-vpn.json", &["population.flows=700"]);
    let one = replayed(&ready, 1);
    assert_eq!(one.flows.len(), 700);
    assert_eq!((one.begin, one.end), (Instant::ZERO, ready.net.horizon));
    let mut frame = 1;
    for (number, judged) in one.flows.iter().enumerate() {
        assert_eq!(judged.flow.stream as usize, number);
        assert_eq!(run_client(&one, &judged.flow), client_sock(number as u64));
        assert_eq!(judged.flow.first_frame, frame);
        frame += judged.flow.segments[0] + judged.flow.segments[1];
    }
    assert_eq!(one.counters.records, u64::from(frame - 1));
    let two = replayed(&ready, 2);
    let brief = |run: &Followed| -> Vec<String> { run.flows.iter().map(|j| format!("{:?} {:?}", j.flow, j.run)).collect() };
    assert_eq!(brief(&one), brief(&two));
}

#[test]
fn every_flow_has_sockets_of_its_own() {
    let numbers = (0..50_000).chain((1 << 24) - 5..(1 << 24) + 50_000).chain(99_900_000..100_000_000);
    let mut seen = HashSet::new();
    assert!(numbers.clone().all(|number| seen.insert(client_sock(number))));
}

#[test]
fn a_filter_and_a_number_of_records_apply() {
    let ready = ready("laptops-and-vpn.json", &["population.flows=50"]);
    let traffic = Traffic::new(&ready);
    let (origin, replay, stop) = (traffic.origin("it"), Replay::new(&ready.net.path), AtomicBool::new(false));
    let job = Job { records_max: Some(100), ..Job::default() };
    assert_eq!(kept_offered(traffic.chunks(), &origin, &Singly(&replay), &job, &stop).counters.records, 100);
    let filter = flowlapse::decode::Filter::parse("host 10.0.0.7").expect("a filter");
    let run = kept_offered(traffic.chunks(), &origin, &Singly(&replay), &Job { filter: Some(filter), ..Job::default() }, &stop);
    assert_eq!((run.flows.len(), run_client(&run, &run.flows[0].flow)), (1, client_sock(7)));
    let stopped = kept_offered(traffic.chunks(), &origin, &Singly(&replay), &Job::default(), &AtomicBool::new(true));
    assert!(stopped.interrupted && stopped.flows.is_empty());
}
