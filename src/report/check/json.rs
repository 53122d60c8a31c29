//! The answer for machines: schema `flowlapse-check/1`, described in docs/json.md. Durations are whole nanoseconds.

use crate::check::{BoxLine, Case, Checked, Failure, Lint, Session, Timer, Unmet};
use crate::finding::Verdict;
use crate::policy::At;
use crate::report::plain;
use serde_json::{Map, Value, json};

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-check/1";

/// The document as text.
pub fn write(checked: &Checked) -> String {
    plain::json(&format!("{:#}\n", document(checked))).into_owned()
}

/// The document.
pub fn document(checked: &Checked) -> Value {
    let outcome = match (checked.failures.is_empty(), checked.fails()) {
        (false, _) => "could-not-run",
        (true, true) => "failed",
        (true, false) => "as-expected",
    };
    json!({
        "schema": SCHEMA,
        "outcome": outcome,
        "interrupted": checked.not_run > 0,
        "reproduce": checked.reproduce,
        "fail_on": checked.fail_on,
        "summary": {
            "cases": checked.cases.len(),
            "failing": checked.failing(),
            "changed": checked.cases.iter().filter(|case| case.changed).count(),
            "new": checked.cases.iter().filter(|case| case.is_new).count(),
            "lint": checked.lint.len(),
            "lint_failing": checked.lint.iter().filter(|lint| lint.fails).count(),
            "could_not_run": checked.failures.len(),
            "not_run": checked.not_run,
            "left_alone": checked.left_alone,
        },
        "baseline": checked.baseline.as_ref().map(|baseline| json!({ "file": baseline.file, "gone": baseline.gone })),
        "cases": checked.cases.iter().map(case).collect::<Vec<_>>(),
        "lint": checked.lint.iter().map(lint).collect::<Vec<_>>(),
        "failures": checked.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

/// A place in a file.
fn place(at: &At) -> Value {
    json!({ "file": &*at.origin, "line": at.line })
}

fn case(case: &Case) -> Value {
    let counts: Map<String, Value> =
        Verdict::ALL.into_iter().map(|verdict| (verdict.name().to_owned(), json!(case.count(verdict)))).collect();
    json!({
        "name": case.name(),
        "file": case.file,
        "variant": case.variant,
        "kind": case.kind.name(),
        "title": case.title,
        "path": case.boxes.iter().map(one_box).collect::<Vec<_>>(),
        "fails": case.fails,
        "changed": case.changed,
        "new": case.is_new,
        "expected": case.has_expectation.then_some(case.unmet.is_empty()),
        "unmet": case.unmet.iter().map(unmet).collect::<Vec<_>>(),
        "counts": counts,
        "sessions": case.sessions.iter().map(session).collect::<Vec<_>>(),
        "more_sessions": case.more,
        "remarks": case.remarks,
    })
}

fn one_box(line: &BoxLine) -> Value {
    let settings = line.settings.iter().map(|(name, value, at)| json!({ "name": name, "value": value, "at": at.as_ref().map(place) }));
    json!({ "label": line.label, "spec": line.spec, "settings": settings.collect::<Vec<_>>() })
}

fn unmet(unmet: &Unmet) -> Value {
    json!({ "what": unmet.what, "at": unmet.at.as_ref().map(place) })
}

fn session(session: &Session) -> Value {
    json!({
        "name": session.name,
        "stream": session.stream,
        "verdict": session.verdict.name(),
        "was": session.was.map(Verdict::name),
        "change": session.change.name(),
        "fails": session.fails,
        "message": session.message,
        "timer": session.timer.as_ref().map(timer),
        "silence_ns": session.silence.map(|(idle, _)| idle.0),
        "frames": session.silence.and_then(|(_, frames)| frames).map(|(before, after)| [before, after]),
        "felt": session.felt,
        "cures": session.cures,
    })
}

fn timer(timer: &Timer) -> Value {
    json!({
        "box": timer.hop,
        "label": timer.label,
        "state": timer.state,
        "timer": timer.timer,
        "setting": timer.setting,
        "value_ns": timer.value.0,
        "at": timer.at.as_ref().map(place),
    })
}

fn lint(lint: &Lint) -> Value {
    json!({
        "rule": lint.rule.id(),
        "severity": lint.severity.name(),
        "policy": lint.policy,
        "message": lint.message,
        "why": lint.rule.why(),
        "places": lint.places.iter().map(place).collect::<Vec<_>>(),
        "cures": lint.cures,
        "new": lint.is_new,
        "fails": lint.fails,
    })
}

fn failure(failure: &Failure) -> Value {
    json!({ "file": failure.file, "at": failure.at.as_ref().map(place), "what": failure.what })
}
