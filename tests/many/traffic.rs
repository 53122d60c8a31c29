//! Random traffic and random policies, for what must hold for all of them.
#![allow(dead_code, reason = "each test uses its own part")]

use crate::capture::{Ends, Packet, SECOND, START};
use flowlapse::capture::{self as input, Input};
use flowlapse::engine::many::Many;
use flowlapse::engine::pipeline::{self, Followed, Job, Run};
use flowlapse::engine::studied::{Studied, Together};
use flowlapse::engine::{Clock, Path};
use flowlapse::policy;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::atomic::AtomicBool;

/// Boxes with a `#` where a timer's value goes.
pub(crate) const FORMS: [&str; 16] = [
    "ipvs:tcp=#,tcpfin=#",
    "ipvs:dr,sloppy_tcp=1,tcp=#,tcpfin=#",
    "ipvs:dr,secure_tcp=3,dialect=linux-2.4,tcp=#",
    "conntrack:strict,established=#,unack=#,retrans=#,fin_wait=#,close_wait=#",
    "conntrack:established=#,unack=#,time_wait=#",
    "conntrack:drop-invalid,loose=0,established=#,syn_sent=#,close=#",
    "conntrack:masquerade,established=#,unack=#,last_ack=#",
    "conntrack:dnat,established=#,close=#,dialect=linux-6.1",
    "conntrack:strict,established=#,unack=#,close=#,dialect=linux-2.6.32",
    "conntrack:masquerade,established=#,fin_wait=#,dialect=linux-4.4",
    "conntrack:established=#,dialect=linux-2.4",
    "idle:established=#,fin_wait=#,activity=data,on_stray=rst_sender",
    "aws-nlb:established=#",
    "conntrack:masquerade,established=#,unack=# aws-nlb:established=#",
    "conntrack:masquerade,established=# ipvs:tcp=# idle:established=#",
    "conntrack:dnat,established=# conntrack:strict,established=#,dialect=linux-4.4",
];

/// Silences and timers are drawn from the same few, so that they often are equal.
pub(crate) const SPANS: [u64; 12] = [1, 2, 5, 10, 30, 59, 60, 120, 300, 301, 600, 900];

fn turn() -> impl Strategy<Value = String> {
    let said = select(vec![
        "c10 s",
        "s20 c",
        "ck s",
        "sk c",
        "c10",
        "s20",
        "c10 s10 c",
        "retry",
        "retry retry retry",
        "again",
        "c!7 c10 s",
        "s!9 c",
        "cz s",
        "ck",
        "sk",
        "cr+5",
        "cf",
        "sr",
        "cS sS c",
    ]);
    (prop::option::of(select(&SPANS[..])), said).prop_map(|(silence, said)| silence.map_or(said.to_owned(), |s| format!("+{s} {said}")))
}

pub(crate) fn dialogue() -> impl Strategy<Value = String> {
    let opening = select(vec!["open", "open", "open c10 s20 c", "c10 s20 c", "cS sS", "sS c", "s20 c"]);
    let closing = select(vec!["", "", "cf sf c", "sf c", "cf s", "cf +60 sf c", "cr", "sr"]);
    (opening, prop::collection::vec(turn(), 1..8), closing)
        .prop_map(|(opening, turns, closing)| format!("{opening} {} {closing}", turns.join(" ")))
}

pub(crate) fn population() -> impl Strategy<Value = Vec<Packet>> {
    prop::collection::vec((dialogue(), 0..400_u64, any::<bool>()), 1..5).prop_map(|flows| {
        let mut packets: Vec<Packet> = Vec::new();
        for (number, (dialogue, start, udp)) in flows.iter().enumerate() {
            let ends = Ends { start: START + start * SECOND, ..Ends::number(number as u16) };
            let plain = dialogue.replace("cS", "c5").replace("sS", "s5").replace("open", "c5 s5 c1");
            packets.extend(if *udp && number == 3 { ends.udp().talk(&plain, 0) } else { ends.talk(dialogue, 0) });
        }
        packets.sort_by_key(|p| p.at);
        packets
    })
}

/// Boxes of several forms with values: policies of one or two classes.
pub(crate) fn policies() -> impl Strategy<Value = Vec<String>> {
    let values = prop::collection::vec(select(&SPANS[..]), 8);
    (select(&FORMS[..]), select(&FORMS[..]), prop::collection::vec((any::<bool>(), values), 1..12)).prop_map(|(one, other, members)| {
        members
            .iter()
            .map(|(first, values)| {
                let mut values = values.iter();
                let form = if *first { one } else { other };
                form.chars()
                    .map(|c| if c == '#' { values.next().map_or_else(|| "77".to_owned(), u64::to_string) } else { c.to_string() })
                    .collect()
            })
            .collect()
    })
}

pub(crate) fn path(boxes: &str, clock: Clock) -> Path {
    let specs: Vec<_> = boxes.split_whitespace().map(|text| policy::parse_short(text).unwrap_or_else(|e| panic!("{text}: {e}"))).collect();
    Path::build(&specs, clock).expect("a path")
}

pub(crate) fn follow<F: pipeline::Follow>(file: &[u8], follower: &F) -> Followed<F::Run> {
    let mut capture = input::open(&[Input::Bytes { name: "file".to_owned(), bytes: file.into() }]).expect("a capture");
    pipeline::follow(&mut capture, follower, &Job { threads: 1, ..Job::default() }, &AtomicBool::new(false))
}

/// The same as every study of many policies does it.
pub(crate) fn study(file: &[u8], many: &Many<'_>) -> Run<Studied> {
    let mut capture = input::open(&[Input::Bytes { name: "file".to_owned(), bytes: file.into() }]).expect("a capture");
    pipeline::kept(&mut capture, &Together::new(many), &Job { threads: 1, ..Job::default() }, &AtomicBool::new(false))
}

/// The same as every replay does it.
pub(crate) fn replay(file: &[u8], path: &Path) -> Run {
    let mut capture = input::open(&[Input::Bytes { name: "file".to_owned(), bytes: file.into() }]).expect("a capture");
    pipeline::run(&mut capture, path, &Job { threads: 1, ..Job::default() }, &AtomicBool::new(false))
}
