//! The gate as SARIF 2.1.0, for code scanning: every finding at the line of the policy that causes it.
//!
//! GitHub takes 25,000 results of a run and shows 5,000: no more are written, the failing first, and a notification says how many
//! are missing. What is well again has no result, for GitHub would open an alert for it; it is told in a notification.

use super::group::{self, Place};
use super::words::{fingerprint, path, plain, several, uri};
use crate::check::{Case, Change, Checked, Lint, Session};
use crate::finding::Verdict;
use crate::study::audit::rule::{Rule, Severity};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Results that are written at most.
pub const RESULTS_MAX: usize = 5000;
/// Places that a result names beside its own.
const RELATED: usize = 20;
/// Where the schema is.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// The rule of expectations.
const UNMET: &str = "expectation-not-met";
/// The rule of cases that fail as a whole.
const BARE: &str = "case-fails";

/// A result, and what it is sorted by.
struct Found {
    /// 0 fails, 1 is a warning, 2 a note.
    rank: u8,
    value: Value,
}

/// Writes the document, with a line end.
pub fn write(checked: &Checked) -> Result<String, String> {
    let mut text = serde_json::to_string_pretty(&document(checked)).map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(text)
}

/// The document.
pub fn document(checked: &Checked) -> Value {
    let (ids, rules) = rules(checked);
    let mut found = results(checked, &ids);
    found.sort_by_key(|found| found.rank);
    let left_out = found.len().saturating_sub(RESULTS_MAX);
    let results: Vec<Value> = found.into_iter().take(RESULTS_MAX).map(|found| found.value).collect();
    let mut driver = Map::new();
    driver.insert("name".to_owned(), json!("flowlapse"));
    driver.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    driver.insert("semanticVersion".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    let home = [env!("CARGO_PKG_HOMEPAGE"), env!("CARGO_PKG_REPOSITORY")].into_iter().find(|home| !home.is_empty());
    if let Some(home) = home {
        driver.insert("informationUri".to_owned(), json!(home));
    }
    driver.insert("shortDescription".to_owned(), json!({"text": env!("CARGO_PKG_DESCRIPTION")}));
    driver.insert("rules".to_owned(), Value::Array(rules));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": driver},
            "automationDetails": {"id": "flowlapse-check/"},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The folder that flowlapse was started in: the root of the repository."}}},
            "invocations": [{
                "commandLine": plain(&checked.reproduce),
                "executionSuccessful": checked.failures.is_empty(),
                "toolExecutionNotifications": notifications(checked, left_out),
            }],
            "results": results,
        }],
    })
}

/// The identifier of a verdict's rule.
pub fn rule_id(verdict: Verdict) -> String {
    format!("flow-{}", verdict.name())
}

/// What a verdict means, shortly, and what to do.
const fn help(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Cut => (
            "A flow is cut: its entry lapses in a silence, and the next packet is lost.",
            "Raise the timer that is named above the longest silence, or let an end speak more often than that (TCP keepalive, heartbeats).",
        ),
        Verdict::Evicted => (
            "A flow is evicted: its entry has to make room for another, and a packet is lost.",
            "Give the table more room, or shorten the timers of what fills it.",
        ),
        Verdict::Refused => (
            "A flow is refused: a table is full, and it cannot be opened.",
            "Give the table more room, or shorten the timers of what fills it.",
        ),
        Verdict::Marginal => (
            "A flow is on the edge: whether it is cut depends on the phase of a clock that nobody knows.",
            "Leave a margin between the timer and the silence: timers are up to an eighth late, and a packet needs its way.",
        ),
        Verdict::Inconclusive => (
            "Nothing can be said about a flow: what is missing from the capture decides.",
            "Record it again without losses, with a larger buffer (tcpdump -B) or a filter.",
        ),
        Verdict::Dormant => (
            "A flow would be cut if it spoke again: its entry has lapsed in the silence at the end of the capture.",
            "Raise the timer that is named, or let an end speak more often.",
        ),
        Verdict::Repaired => (
            "The entry of a flow lapses and is picked up again; nothing is lost.",
            "Nothing has to be done; it depends on the box picking up flows in their middle (nf_conntrack_tcp_loose).",
        ),
        Verdict::Survives => ("A flow survives, where something else was expected.", "Change what is expected, on purpose."),
    }
}

/// A rule for the driver: its identifier, name, words and level.
fn rule(id: &str, short: &str, help: &str, level: &str) -> Value {
    let name: String = id.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    json!({
        "id": id,
        "name": name,
        "shortDescription": {"text": short},
        "fullDescription": {"text": short},
        "help": {"text": format!("{short}\n\n{help}"), "markdown": format!("**{short}**\n\n{help}")},
        "defaultConfiguration": {"level": level},
        "properties": {"tags": ["network", "reliability"], "precision": "very-high"},
    })
}

/// The rules: of every verdict, of expectations, and those that the lint used; and the index of each.
fn rules(checked: &Checked) -> (BTreeMap<String, usize>, Vec<Value>) {
    let mut rules = Vec::new();
    for verdict in Verdict::ALL {
        let (short, cure) = help(verdict);
        let cure = format!("{cure}\n\ndocs/verdicts.md defines the verdict to the nanosecond.");
        rules.push((rule_id(verdict), rule(&rule_id(verdict), short, &cure, level(usual(verdict)))));
    }
    let unmet = "Something else came of a case than was expected.";
    let cure = "Change the policy back, or the expectation with it, in the same change and on purpose.";
    rules.push((UNMET.to_owned(), rule(UNMET, unmet, cure, "error")));
    let bare = "A case fails, and no single session of it can be named.";
    rules.push((BARE.to_owned(), rule(BARE, bare, "See the counts in the message, and the reports.", "error")));
    let mut used: Vec<Rule> = checked.lint.iter().map(|lint| lint.rule).collect();
    used.sort_unstable();
    used.dedup();
    for used in used {
        let worst = checked.lint.iter().filter(|lint| lint.rule == used).map(|lint| lint.severity).max();
        let help = format!("Why: {}.\n\nSource: {}. docs/audit.md explains the rule.", used.why(), used.reference());
        let short = format!("{}.", capital(used.why()));
        let level = level(worst.map_or(2, severity));
        rules.push((used.id().to_owned(), rule(used.id(), &short, &help, level)));
    }
    let ids = rules.iter().enumerate().map(|(index, (id, _))| (id.clone(), index)).collect();
    (ids, rules.into_iter().map(|(_, rule)| rule).collect())
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

const fn level(rank: u8) -> &'static str {
    match rank {
        0 => "error",
        1 => "warning",
        _ => "note",
    }
}

const fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        Severity::Info => 2,
    }
}

/// How bad a verdict is where nothing else is known.
const fn usual(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Cut | Verdict::Evicted | Verdict::Refused => 0,
        Verdict::Marginal | Verdict::Dormant => 1,
        Verdict::Inconclusive | Verdict::Repaired | Verdict::Survives => 2,
    }
}

fn results(checked: &Checked, ids: &BTreeMap<String, usize>) -> Vec<Found> {
    let mut found = Vec::new();
    for group in group::by_cause(checked) {
        let others = group.members.len() - 1;
        found.extend(group.members.iter().map(|(case, session)| of_session(checked, ids, case, session, others)));
    }
    for case in &checked.cases {
        for unmet in &case.unmet {
            let place = unmet.at.as_ref().map_or_else(|| Place::whole(&case.file), Place::of);
            let text = format!("{}: {}", plain(&case.name()), plain(&unmet.what));
            let rank = u8::from(!case.fails);
            let mut result = result(ids, UNMET, rank, &text, &place);
            relate(&mut result, vec![related(&Place::whole(&case.file), case.kind.name())]);
            print(&mut result, &[UNMET, &path(&case.file), case.variant.as_deref().unwrap_or(""), &unmet.what]);
            found.push(Found { rank, value: Value::Object(result) });
        }
        if group::is_bare(case) {
            let mut result = result(ids, BARE, 0, &group::bare(case), &group::place_of(case));
            print(&mut result, &[BARE, &path(&case.file), case.variant.as_deref().unwrap_or("")]);
            found.push(Found { rank: 0, value: Value::Object(result) });
        }
    }
    found.extend(checked.lint.iter().map(|lint| of_lint(checked, ids, lint)));
    found
}

fn of_session(checked: &Checked, ids: &BTreeMap<String, usize>, case: &Case, session: &Session, others: usize) -> Found {
    let id = rule_id(session.verdict);
    let rank = if session.fails { 0 } else { usual(session.verdict).max(1) };
    let mut text = format!("{}: {}", plain(&case.name()), plain(&session.message));
    if others > 0 {
        text.push_str(&format!(" ({} by the same timer)", several(others as u64, "other session", "other sessions")));
    }
    if let Some(cure) = session.cures.first() {
        text.push_str(&format!("\nWould keep it: {}", plain(cure)));
    }
    let mut result = result(ids, &id, rank, &text, &group::place(case, session));
    let mut places = vec![related(&Place::whole(&case.file), case.kind.name())];
    places.extend(case.unmet.iter().filter_map(|unmet| unmet.at.as_ref()).map(|at| related(&Place::of(at), "what was expected")));
    relate(&mut result, places);
    print(&mut result, &[&id, &path(&case.file), case.variant.as_deref().unwrap_or(""), &session.name]);
    if checked.baseline.is_some() {
        let state = match session.change {
            _ if case.is_new => "new",
            Change::Worse | Change::Unknown => {
                let was_ill = session.was.is_some_and(|was| !matches!(was, Verdict::Survives | Verdict::Repaired));
                if was_ill { "updated" } else { "new" }
            }
            Change::Other | Change::Better => "updated",
            Change::Same => "unchanged",
        };
        result.insert("baselineState".to_owned(), json!(state));
    }
    let mut bag = Map::new();
    bag.insert("case".to_owned(), json!(plain(&case.name())));
    bag.insert("session".to_owned(), json!(plain(&session.name)));
    bag.insert("stream".to_owned(), json!(session.stream.as_deref().map(plain)));
    bag.insert("was".to_owned(), json!(session.was.map(Verdict::name)));
    bag.insert("timer".to_owned(), json!(session.timer.as_ref().map(group::timer)));
    bag.insert("silence_ns".to_owned(), json!(session.silence.map(|(silence, _)| silence.0)));
    bag.retain(|_, value| !value.is_null());
    result.insert("properties".to_owned(), Value::Object(bag));
    Found { rank, value: Value::Object(result) }
}

fn of_lint(checked: &Checked, ids: &BTreeMap<String, usize>, lint: &Lint) -> Found {
    let rank = if lint.fails { 0 } else { severity(lint.severity).max(1) };
    // GitHub wants a place of every result; a policy of the command line has none.
    let first = || checked.cases.first().map_or_else(|| Place::whole("."), |case| Place::whole(&case.file));
    let place = group::place_of_lint(lint).unwrap_or_else(first);
    let mut text = format!("{}: {}", plain(&lint.policy), plain(&lint.message));
    for cure in &lint.cures {
        text.push_str(&format!("\nInstead: {}", plain(cure)));
    }
    let mut result = result(ids, lint.rule.id(), rank, &text, &place);
    relate(&mut result, lint.places.iter().skip(1).map(|at| related(&Place::of(at), "also concerned")).collect());
    // Messages hold values and may hold lines; where a policy breaks a rule at several places the files tell them apart.
    let origins: Vec<String> = lint.places.iter().map(|at| path(&at.origin)).collect();
    print(&mut result, &[lint.rule.id(), &path(&lint.policy), &origins.join("\n")]);
    if checked.baseline.is_some() {
        result.insert("baselineState".to_owned(), json!(if lint.is_new { "new" } else { "unchanged" }));
    }
    Found { rank, value: Value::Object(result) }
}

fn result(ids: &BTreeMap<String, usize>, id: &str, rank: u8, text: &str, place: &Place) -> Map<String, Value> {
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), json!(id));
    if let Some(index) = ids.get(id) {
        result.insert("ruleIndex".to_owned(), json!(index));
    }
    result.insert("level".to_owned(), json!(level(rank)));
    result.insert("message".to_owned(), json!({"text": linkless(text)}));
    result.insert("locations".to_owned(), json!([location(place)]));
    result
}

/// A message without links: `[text](1)` would be one in SARIF.
fn linkless(text: &str) -> String {
    text.replace("](", "] (")
}

fn location(place: &Place) -> Value {
    let file = if place.file.starts_with('/') {
        json!({"uri": format!("file://{}", uri(&place.file))})
    } else {
        json!({"uri": uri(&place.file), "uriBaseId": "%SRCROOT%"})
    };
    json!({"physicalLocation": {"artifactLocation": file, "region": {"startLine": place.line}}})
}

fn related(place: &Place, what: &str) -> Value {
    let mut value = location(place);
    if let Some(map) = value.as_object_mut() {
        map.insert("message".to_owned(), json!({"text": what}));
    }
    value
}

fn relate(result: &mut Map<String, Value>, mut places: Vec<Value>) {
    places.dedup();
    places.truncate(RELATED);
    let numbered = places.into_iter().enumerate().map(|(index, mut value)| {
        if let Some(map) = value.as_object_mut() {
            map.insert("id".to_owned(), json!(index + 1));
        }
        value
    });
    let numbered: Vec<Value> = numbered.collect();
    if !numbered.is_empty() {
        result.insert("relatedLocations".to_owned(), Value::Array(numbered));
    }
}

fn print(result: &mut Map<String, Value>, parts: &[&str]) {
    result.insert("partialFingerprints".to_owned(), json!({"flowlapse/v1": fingerprint(parts)}));
}

/// What happened on the way: what could not be run, what is well again or gone, what was left out.
fn notifications(checked: &Checked, left_out: usize) -> Vec<Value> {
    let mut told = Vec::new();
    for failure in &checked.failures {
        let place = failure.at.as_ref().map_or_else(|| Place::whole(&failure.file), Place::of);
        let text = format!("{}: {}", plain(&failure.file), plain(&failure.what));
        told.push(json!({"level": "error", "message": {"text": linkless(&text)}, "locations": [location(&place)]}));
    }
    let mut note = |level: &str, text: &str| told.push(json!({"level": level, "message": {"text": linkless(text)}}));
    if let Some(baseline) = &checked.baseline {
        for gone in &baseline.gone {
            note("note", &format!("{}: {} is no more", plain(&baseline.file), plain(gone)));
        }
        let better = checked.cases.iter().flat_map(|case| &case.sessions).filter(|session| session.change == Change::Better).count();
        if better > 0 {
            let sessions = several(better as u64, "session is", "sessions are");
            note("note", &format!("{sessions} better than in {}", plain(&baseline.file)));
        }
    }
    let more: u64 = checked.cases.iter().map(|case| case.more).sum();
    if more > 0 {
        note(
            "warning",
            &format!(
                "{} of large cases left out: a case names {} at most",
                several(more, "session was", "sessions were"),
                Case::SESSIONS_MAX
            ),
        );
    }
    if left_out > 0 {
        let results = several(left_out as u64, "result was", "results were");
        note("warning", &format!("{results} left out: {RESULTS_MAX} are written, the failing first; the JSON report holds more"));
    }
    told
}
