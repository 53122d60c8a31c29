//! The documents against the program: every name that an output can hold is explained, every example works.

use crate::capture::{Ends, Packet, SECOND, START, Setup, pcap};
use flowlapse::engine::{Clock, Path};
use flowlapse::finding::judge::fate_text;
use flowlapse::finding::symptom::Feeling;
use flowlapse::finding::{Caveat, Verdict, VictimKind, evidence_name};
use flowlapse::flow::GapEvidence;
use flowlapse::kernel::wheel::{Hz, Phase};
use flowlapse::model::DropReason;
use flowlapse::policy::{self, ConntrackPolicy, IdlePolicy, IpvsPolicy, Settings};
use flowlapse::time::Instant;
use serde_json::Value;
use std::collections::BTreeSet;

const JSON: &str = include_str!("../../docs/json.md");
const VERDICTS: &str = include_str!("../../docs/verdicts.md");
const BOXES: &str = include_str!("../../docs/boxes.md");

fn is_named(document: &str, name: &str) -> bool {
    document.contains(&format!("`{name}`"))
}

/// Every key of a value. The keys of `not_followed` are data.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                found.insert(key.clone());
                if key != "not_followed" {
                    keys(inner, found);
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|inner| keys(inner, found)),
        _ => {}
    }
}

/// A capture with every verdict that replay gives, a damaged end, and a packet that is not followed.
fn everything() -> Vec<Vec<u8>> {
    let dialogues =
        ["open c10 s20 c +905 c10", "open c10 s20 c +2000 s20", "open c10 s20 c c!5 +2000 c10", "open c10 s20 c", "open cf sf c"];
    let mut packets: Vec<Packet> = Vec::new();
    for (number, dialogue) in dialogues.iter().enumerate() {
        packets.extend(Ends::number(number as u16).talk(dialogue, 0));
    }
    packets.extend(Ends::number(9).udp().talk("c10 s10 +500 c10", 0));
    packets.push(Packet {
        at: START + 5_000 * SECOND,
        bytes: [&[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 1, 0, 0][..], &[10, 0, 0, 1, 10, 0, 0, 2]].concat(),
    });
    packets.sort_by_key(|p| p.at);
    let mut file = pcap(&packets);
    file.extend([1; 20]);
    vec![file]
}

#[test]
fn every_key_of_the_json_is_documented() {
    let mut found = BTreeSet::new();
    let mut verdicts = BTreeSet::new();
    let phase = Phase { hz: Hz(250), jiffies: 0, at: Instant(START) };
    for clock in [Clock::Ideal, Clock::Wheel { hz: Hz(250), phase: None }, Clock::Wheel { hz: Hz(250), phase: Some(phase) }] {
        for boxes in ["ipvs", "conntrack:established=600", "aws-nlb ipvs:dr,secure_tcp=3 conntrack:strict", "gcp-cloud-nat"] {
            let setup = Setup::boxes(boxes).clock(clock);
            let document: Value = serde_json::from_slice(&setup.json(&everything())).expect("it is JSON");
            assert_eq!(document["schema"], "flowlapse-replay/1");
            assert_eq!(document["complete"], false, "the capture is damaged");
            for flow in document["flows"].as_array().expect("flows") {
                verdicts.insert(flow["verdict"].as_str().expect("a verdict").to_owned());
            }
            keys(&document, &mut found);
        }
    }
    for needed in ["cut", "marginal", "dormant", "repaired", "inconclusive", "survives"] {
        assert!(verdicts.contains(needed), "the capture shows no {needed}: {verdicts:?}");
    }
    let missing: Vec<&String> = found.iter().filter(|key| !is_named(JSON, key)).collect();
    assert!(missing.is_empty(), "docs/json.md says nothing of {missing:?}");
    assert!(found.contains("damage") && found.contains("offset") && found.contains("chance") && found.contains("reason"));
}

#[test]
fn lines_hold_what_the_document_holds() {
    let setup = Setup::boxes("ipvs");
    let document: Value = serde_json::from_slice(&setup.json(&everything())).expect("it is JSON");
    let text = String::from_utf8(setup.ndjson(&everything())).expect("it is text");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let mut last = lines.pop().expect("a summary");
    assert_eq!(document["flows"], Value::Array(lines));
    assert_eq!(last.as_object_mut().and_then(|map| map.remove("type")), Some("summary".into()));
    let mut rest = document;
    rest.as_object_mut().expect("an object").remove("flows");
    assert_eq!(last, rest);
}

#[test]
fn every_word_of_a_finding_is_documented() {
    use flowlapse::engine::replay::Fate;
    use {Caveat as C, DropReason as D, Feeling as F, VictimKind as V};
    let mut words: Vec<&str> = Verdict::ALL.map(Verdict::name).to_vec();
    words.extend([GapEvidence::ProvenIdle, GapEvidence::Hole, GapEvidence::Unknown, GapEvidence::Censored].map(evidence_name));
    let caveats = [C::OrientationGuessed, C::Adopted, C::ClockBackwards, C::UdpUnproven, C::ProbesMissing, C::WithinBand, C::Blocked];
    words.extend(caveats.map(Caveat::name));
    words.push(C::Undocumented.name());
    words.extend([F::Nothing, F::Reset, F::Timeout, F::KeepaliveTimeout, F::Hang, F::Lost].map(Feeling::name));
    words.extend([V::Probe, V::Data, V::Fin, V::Rst, V::Syn, V::Ack, V::Datagram, V::Nobody].map(VictimKind::name));
    let reasons = [
        D::InvalidByRule,
        D::NewWithoutSynByRule,
        D::TupleClash,
        D::KilledOutOfSync,
        D::LocalSilence,
        D::ReuseOfTrackedEntry,
        D::NoDestination,
        D::StrayByPolicy,
    ];
    words.extend(reasons.map(|reason| fate_text(Fate::Dropped(reason))));
    words.extend([Fate::Reset, Fate::Unreachable, Fate::Leaked].map(fate_text));
    let missing: Vec<&str> = words.into_iter().filter(|word| !is_named(VERDICTS, word)).collect();
    assert!(missing.is_empty(), "docs/verdicts.md says nothing of {missing:?}");
}

#[test]
fn every_setting_of_a_box_is_documented() {
    fn check<P: Settings>(missing: &mut Vec<String>) {
        let from = BOXES.find(&format!("## `{}`", P::KIND)).expect("a section");
        let section = &BOXES[from + 3..];
        let section = &section[..section.find("\n## ").unwrap_or(section.len())];
        for key in P::keys() {
            let words = key.takes.strip_prefix("one of the words ").unwrap_or_default().split_whitespace();
            let known = std::iter::once(key.name).chain(words);
            missing.extend(known.filter(|word| !is_named(section, word)).map(|word| format!("{} {word}", P::KIND)));
        }
    }
    let mut missing = Vec::new();
    check::<ConntrackPolicy>(&mut missing);
    check::<IpvsPolicy>(&mut missing);
    check::<IdlePolicy>(&mut missing);
    assert!(missing.is_empty(), "docs/boxes.md says nothing of {missing:?}");
}

#[test]
fn every_example_of_a_box_is_one() {
    let read = |name: &str| Err(format!("{name} is not to be read"));
    let mut examples = 0;
    for spec in BOXES.lines().filter_map(|line| line.strip_prefix("--box ")) {
        let specs = policy::parse(spec, &read).unwrap_or_else(|error| panic!("{spec}: {error}"));
        Path::build(&specs, Clock::Ideal).unwrap_or_else(|error| panic!("{spec}: {error}"));
        examples += 1;
    }
    for block in BOXES.split("```json\n").skip(1) {
        let text = block.split("```").next().unwrap_or_default();
        let files = |name: &str| match name {
            "ci/boxes.json" => Ok(text.to_owned()),
            "sysctl.d/90-conntrack.conf" => Ok("net.netfilter.nf_conntrack_tcp_timeout_established = 86400".to_owned()),
            other => Err(format!("{other} is not to be read")),
        };
        let specs = policy::parse("ci/boxes.json", &files).unwrap_or_else(|error| panic!("{error}"));
        Path::build(&specs, Clock::Ideal).unwrap_or_else(|error| panic!("{text}: {error}"));
        examples += 1;
    }
    assert!(examples >= 14, "{examples} examples were found");
}
