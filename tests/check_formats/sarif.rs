//! SARIF: valid by the schema of 2.1.0, within GitHub's limits, and every result at its line.

use crate::made::{self, HOSTILE, SECOND};
use boon::{Compiler, Schemas};
use flowlapse::check::{Change, Checked, Failure, Kind};
use flowlapse::finding::Verdict;
use flowlapse::report::check::sarif;
use flowlapse::time::Duration;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SCHEMA: &str = include_str!("schema/sarif-2.1.0-rtm.5.json");

/// What the schema has against each of some documents.
fn wrong(documents: &[&Value]) -> Vec<Option<String>> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.enable_format_assertions();
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    compiler.add_resource("https://schema.invalid/sarif.json", schema).expect("the schema is taken");
    let index = compiler.compile("https://schema.invalid/sarif.json", &mut schemas).expect("the schema is a schema");
    documents.iter().map(|document| schemas.validate(document, index).err().map(|error| format!("{error:#}"))).collect()
}

fn valid(checked: &Checked) -> Value {
    let text = sarif::write(checked).expect("it can be written");
    assert_eq!(sarif::write(checked).as_ref(), Ok(&text), "the same bytes");
    let document: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(wrong(&[&document]), [None]);
    let run = &document["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let ids: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    assert_eq!(ids.len(), rules.len(), "two rules have one name");
    for result in results(&document) {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        for place in result["locations"].as_array().into_iter().chain(result["relatedLocations"].as_array()).flatten() {
            let file = &place["physicalLocation"]["artifactLocation"];
            let uri = file["uri"].as_str().expect("a URI");
            assert!(uri.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%:".contains(&b)), "{uri}");
            assert_eq!(file["uriBaseId"] == json!("%SRCROOT%"), !uri.starts_with("file:///"), "{uri}");
            assert!(place["physicalLocation"]["region"]["startLine"].as_u64().is_some_and(|line| line > 0));
        }
        assert!(result["locations"].as_array().is_some_and(|places| places.len() == 1));
    }
    document
}

fn results(document: &Value) -> &[Value] {
    document["runs"][0]["results"].as_array().map_or(&[], Vec::as_slice)
}

fn notes(document: &Value) -> Vec<&str> {
    let told = document["runs"][0]["invocations"][0]["toolExecutionNotifications"].as_array().expect("notifications");
    told.iter().filter_map(|note| note["message"]["text"].as_str()).collect()
}

fn prints(document: &Value) -> Vec<&str> {
    results(document).iter().filter_map(|result| result["partialFingerprints"]["flowlapse/v1"].as_str()).collect()
}

#[test]
fn the_story_points_at_the_line_of_the_policy() {
    let document = valid(&made::story());
    let found: Vec<_> = results(&document)
        .iter()
        .map(|result| {
            let place = &result["locations"][0]["physicalLocation"];
            let (uri, line) = (&place["artifactLocation"]["uri"], &place["region"]["startLine"]);
            let state = result["baselineState"].as_str().unwrap_or("-");
            format!("{} {} {uri}:{line} {state}", result["ruleId"].as_str().unwrap_or(""), result["level"].as_str().unwrap_or(""))
        })
        .collect();
    assert_eq!(
        found,
        [
            "flow-cut error \"sysctl.d/90-conntrack.conf\":3 new",
            "flow-cut error \"sysctl.d/90-conntrack.conf\":3 new",
            "flow-cut error \"sysctl.d/90-conntrack.conf\":3 new",
            "expectation-not-met error \"scenarios/ssh.json\":21 -",
            "rfc5382-established warning \"sysctl.d/90-conntrack.conf\":3 new",
        ]
    );
    let first = &results(&document)[0];
    assert_eq!(
        first["message"]["text"],
        "captures/ssh-night.pcap: 10.0.1.2:54964 → 10.0.2.2:22 is cut by ESTABLISHED (600 s) of conntrack after 3600 s of silence \
         (2 other sessions by the same timer)\nWould keep it: net.netfilter.nf_conntrack_tcp_timeout_established = 3601"
    );
    assert_eq!(first["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"], "captures/ssh-night.pcap");
    assert_eq!(document["runs"][0]["invocations"][0]["executionSuccessful"], true);
    assert_eq!(document["runs"][0]["tool"]["driver"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn nothing_from_outside_breaks_it() {
    let document = valid(&made::hostile(HOSTILE));
    let text = document.to_string();
    assert!(!text.contains("\\u001b") && !text.contains('\u{202e}'));
    // In messages `[text](1)` would be a link.
    let told = results(&document).iter().filter_map(|result| result["message"]["text"].as_str());
    assert!(told.chain(notes(&document)).all(|message| !message.contains("](")));
    assert_eq!(document["runs"][0]["invocations"][0]["executionSuccessful"], false);
    let levels: Vec<_> = results(&document).iter().filter_map(|result| result["level"].as_str()).collect();
    let sorted = levels.is_sorted_by_key(|level| ["error", "warning", "note"].iter().position(|known| known == level));
    assert!(sorted && levels.contains(&"note"), "{levels:?}");
    let states: BTreeSet<_> = results(&document).iter().filter_map(|result| result["baselineState"].as_str()).collect();
    assert_eq!(states.into_iter().collect::<Vec<_>>(), ["new", "unchanged", "updated"]);
    // Survivors have no result, but where they make the run fail.
    let alive = results(&document).iter().filter(|result| result["ruleId"] == "flow-survives");
    assert!(alive.clone().count() == 3 && alive.into_iter().all(|result| result["level"] == "error"));
    assert!(
        notes(&document).iter().any(|note| note.contains("is no more")) && notes(&document).iter().any(|note| note.contains("better than"))
    );
}

#[test]
fn a_fingerprint_outlives_moved_lines_and_other_values() {
    let before = made::story();
    let mut after = before.clone();
    for case in &mut after.cases {
        for session in &mut case.sessions {
            session.silence = Some((Duration(1801 * SECOND), None));
            session.message.push('!');
            if let Some(timer) = &mut session.timer {
                (timer.at, timer.value) = (Some(made::at("sysctl.d/90-conntrack.conf", 17)), Duration(300 * SECOND));
            }
        }
    }
    let (before, after) = (sarif::document(&before), sarif::document(&after));
    assert_eq!(prints(&before), prints(&after));
    let unique: BTreeSet<&str> = prints(&before).into_iter().collect();
    assert_eq!(unique.len(), results(&before).len(), "two results have one fingerprint");
    // And they are the same in every version of the program.
    assert_eq!(prints(&before)[0], "ea6d1c7d44ee0bb8");
}

#[test]
fn what_is_too_much_is_counted() {
    let document = valid(&made::large());
    assert_eq!(results(&document).len(), sarif::RESULTS_MAX);
    let said = notes(&document);
    assert!(said.iter().any(|note| note.starts_with("7000 results were left out")), "{said:?}");
}

#[test]
fn what_was_wanted_is_no_result_and_what_could_not_be_run_is_told() {
    let mut wanted = made::session("flow 1", Verdict::Cut, false);
    let quiet = made::checked(vec![made::case("a.json", Kind::Scenario, vec![wanted.clone()])]);
    assert!(results(&valid(&quiet)).is_empty());
    // Of a capture nobody said so: a warning; and known by a baseline it is unchanged.
    let mut loud = made::checked(vec![made::case("a.pcap", Kind::Capture, vec![wanted.clone()])]);
    assert_eq!(results(&valid(&loud))[0]["level"], "warning");
    assert_eq!(results(&valid(&loud))[0].get("baselineState"), None);
    wanted.change = Change::Same;
    loud.cases = vec![made::case("a.pcap", Kind::Capture, vec![wanted])];
    loud.baseline = Some(flowlapse::check::Baseline { file: "b".to_owned(), gone: vec![] });
    assert_eq!(results(&valid(&loud))[0]["baselineState"], "unchanged");
    loud.failures = vec![Failure { file: "/abs/c.json".to_owned(), at: None, what: "no flow".to_owned() }];
    let document = valid(&loud);
    assert_eq!(document["runs"][0]["invocations"][0]["executionSuccessful"], false);
    assert_eq!(notes(&document), ["/abs/c.json: no flow"]);
    assert!(results(&valid(&Checked::default())).is_empty());
}

#[test]
fn the_schema_would_notice() {
    let good = sarif::document(&made::story());
    let mut spoilt = vec![good.clone(); 4];
    spoilt[0]["runs"][0]["results"][0]["level"] = json!("fatal");
    spoilt[1]["runs"][0]["tool"]["driver"]["rules"][0]["helpText"] = json!("x");
    spoilt[2]["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] = json!("a b|c");
    spoilt[3]["version"] = json!("2.2.0");
    let all: Vec<&Value> = std::iter::once(&good).chain(&spoilt).collect();
    let found: Vec<bool> = wrong(&all).iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, true, true, true]);
}
