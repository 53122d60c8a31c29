//! A capture written by `run --write-pcap` and replayed gives the same first cut.
//!
//! The capture is that of the host whose packet found the entry ended: what the other host sends into the void is in its own capture alone.
//! The links take no time, for else a packet is at a host when it is not yet at the box. Same are the packet's time, when the timer had last been
//! set, how long it was, and what became of the packet.

use flowlapse::capture::{self, Input};
use flowlapse::engine::pipeline::{self, Job};
use flowlapse::engine::replay::Fate;
use flowlapse::engine::{Clock, Path};
use flowlapse::model::Side;
use flowlapse::report::story::pcap::{EPOCH, Point, Watch};
use flowlapse::scenario::{load, run};
use flowlapse::simulate::outcome::{Forgotten, Met};
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::atomic::AtomicBool;

const BOXES: [&str; 9] = [
    "conntrack:strict,established=60",
    "conntrack:established=45",
    "conntrack:masquerade,established=40",
    "conntrack:dnat,loose=0,established=20",
    "ipvs:nat,tcp=60",
    "ipvs:dr,tcp=45",
    "ipvs:nat,tcp=30,sloppy_tcp=1",
    "idle:established=50,on_stray=drop",
    "aws-nlb:established=50",
];

fn scenario() -> impl Strategy<Value = (String, &'static str)> {
    let send = (1..120_u32, any::<bool>(), 1..4_000_u32);
    let keepalive = select(vec![
        "{}",
        r#"{"keepalive": {"time": 30, "intvl": 5, "probes": 3}}"#,
        r#"{"keepalive": {"time": 70, "intvl": 5, "probes": 3}}"#,
    ]);
    (select(&BOXES[..]), keepalive.clone(), keepalive, prop::collection::vec(send, 1..8)).prop_map(|(boxes, client, server, sends)| {
        let mut at = 0;
        let script: Vec<String> = sends
            .iter()
            .map(|(after, by_client, len)| {
                at += after;
                format!(r#"{{"at": {at}, "who": "{}", "send": {len}}}"#, if *by_client { "client" } else { "server" })
            })
            .collect();
        let text = format!(
            r#"{{"title": "t", "duration": "20min", "path": ["{boxes}"], "links": {{"round_trip": 0}}, "client": {client}, "server": {server}, "script": [{}]}}"#,
            script.join(", ")
        );
        (text, boxes)
    })
}

/// What became of the packet that came too late, in the words of both.
fn met(fate: Option<Fate>) -> Vec<Met> {
    match fate {
        Some(Fate::Dropped(reason)) => vec![Met::Dropped(reason)],
        Some(Fate::Reset) => vec![Met::Reset],
        Some(Fate::Leaked) => vec![Met::Passed],
        Some(Fate::Unreachable) => vec![],
        None => vec![Met::Repicked, Met::Passed],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_cut_is_the_same((text, boxes) in scenario()) {
        let scenario = load(&text, "random", &[]).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let ready = scenario.compile().map_err(TestCaseError::fail)?;
        let (mut client, mut server) = (Vec::new(), Vec::new());
        let mut watch = Watch::new();
        watch.tap(Point::Host(Side::Client), &mut client).expect("memory takes everything");
        watch.tap(Point::Host(Side::Server), &mut server).expect("memory takes everything");
        let (outcome, watch) = run::single(&ready, watch);
        watch.finish().expect("memory takes everything");
        let noticed = |entry: &&Forgotten| entry.noticed.is_some();
        let Some(first) = outcome.forgotten.iter().filter(noticed).min_by_key(|entry| entry.noticed) else { return Ok(()) };
        let bytes = if first.by_client { client } else { server };
        let mut capture = capture::open(&[Input::Bytes { name: "written".to_owned(), bytes: bytes.into() }]).expect("a capture");
        let path = Path::build(&scenario.path, Clock::Ideal).expect("the scenario's path");
        let run = pipeline::run(&mut capture, &path, &Job { threads: 1, ..Job::default() }, &AtomicBool::new(false));
        // What a NAT has translated no more is another flow at the server: the first one is the conversation.
        let replayed = run.flows.run(0);
        let cut = replayed.cut.as_deref().map(|(late, fate)| (*late, Some(*fate)));
        let repaired = replayed.repaired.as_deref().map(|late| (*late, None));
        let Some((late, fate)) = [cut, repaired].into_iter().flatten().min_by_key(|(late, _)| late.at) else {
            return Err(TestCaseError::fail(format!("{boxes}: the replay knows nothing of {first:?}\n{text}")));
        };
        let told = (late.at, late.lapse.refreshed, late.lapse.timeout);
        let happened = (first.noticed.unwrap_or_default() + EPOCH, first.refreshed + EPOCH, first.timeout);
        prop_assert_eq!(told, happened, "{}: {:?}\n{}", boxes, first, text);
        prop_assert!(met(fate).contains(&first.fate), "{}: {:?} and {:?}\n{}", boxes, fate, first, text);
    }
}
