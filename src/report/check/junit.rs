//! The gate as JUnit XML, for GitLab, Jenkins and whatever else shows tests: a suite for each file, a test for each case.
//!
//! It keeps to the schema of Jenkins' xUnit plugin (`junit-10.xsd`), the strictest that is in use. Nothing in it tells the time or
//! the machine: the same run is the same bytes.

use super::group;
use super::words::{place, plain, several};
use crate::check::{Case, Checked, Failure, Lint, Session};
use crate::finding::Verdict;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The name of the suite of what policies say of themselves.
pub const LINT: &str = "policy lint";
/// How many sessions a failure's text tells.
const TOLD: usize = 100;
/// How many sessions a failure's message names.
const NAMED: usize = 3;

/// Writes the document.
pub fn write(checked: &Checked) -> Result<String, String> {
    let mut report = Report::new("flowlapse check");
    let mut files: BTreeMap<&str, (Vec<&Case>, Vec<&Failure>)> = BTreeMap::new();
    for case in &checked.cases {
        files.entry(&case.file).or_default().0.push(case);
    }
    for failure in &checked.failures {
        files.entry(&failure.file).or_default().1.push(failure);
    }
    for (file, (cases, failures)) in files {
        let mut suite = suite(checked, file);
        suite.extra.insert("file".into(), plain(file).into());
        suite.add_test_cases(cases.into_iter().map(case));
        suite.add_test_cases(failures.into_iter().enumerate().map(|(index, failure)| broken(index, failure)));
        report.add_test_suite(suite);
    }
    let mut policies: BTreeMap<&str, Vec<&Lint>> = BTreeMap::new();
    for lint in &checked.lint {
        policies.entry(&lint.policy).or_default().push(lint);
    }
    if !policies.is_empty() {
        let mut suite = suite(checked, LINT);
        suite.add_test_cases(policies.into_iter().map(|(policy, lints)| linted(policy, &lints)));
        report.add_test_suite(suite);
    }
    let text = report.to_string().map_err(|error| error.to_string())?;
    // The schema has no such attribute there; Jenkins' xUnit plugin refuses what it does not have. Nothing before it is from outside.
    Ok(text.replacen(" skipped=\"0\"", "", 1))
}

fn suite(checked: &Checked, name: &str) -> TestSuite {
    let mut suite = TestSuite::new(plain(name));
    let baseline = checked.baseline.as_ref().map_or_else(|| "none".to_owned(), |baseline| plain(&baseline.file));
    suite.add_property(Property::new("flowlapse.version", env!("CARGO_PKG_VERSION")));
    suite.add_property(Property::new("flowlapse.baseline", baseline));
    suite.add_property(Property::new("flowlapse.fail-on", plain(&checked.fail_on.join(","))));
    suite.add_property(Property::new("flowlapse.reproduce", plain(&checked.reproduce)));
    suite
}

/// A file as a class: folders become packages, and dots within names do not.
fn class(file: &str) -> String {
    let parts: Vec<String> = file.split('/').filter(|part| !matches!(*part, "" | "." | "..")).map(|part| part.replace('.', "_")).collect();
    plain(&parts.join("."))
}

fn test(name: &str, file: &str, status: TestCaseStatus) -> TestCase {
    let mut test = TestCase::new(plain(name), status);
    test.set_classname(class(file));
    test
}

fn failed(kind: NonSuccessKind, ty: &str, message: &str, text: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty).set_message(message).set_description(text);
    status
}

fn case(case: &Case) -> TestCase {
    let text = text(case);
    if !case.fails {
        let mut test = test(&case.name(), &case.file, TestCaseStatus::success());
        test.set_system_out(text);
        return test;
    }
    let mut told: Vec<String> = case.unmet.iter().map(|unmet| located(plain(&unmet.what), unmet.at.as_ref())).collect();
    let failing: Vec<&Session> = case.sessions.iter().filter(|session| session.fails).collect();
    told.extend(failing.iter().take(NAMED).map(|s| located(plain(&s.message), s.timer.as_ref().and_then(|timer| timer.at.as_ref()))));
    if failing.len() > NAMED {
        told.push(format!("and {}", several((failing.len() - NAMED) as u64, "more session", "more sessions")));
    }
    if told.is_empty() {
        told.push(group::bare(case));
    }
    let ty = failing.first().map_or_else(
        || if case.unmet.is_empty() { "case-fails".to_owned() } else { "expectation-not-met".to_owned() },
        |session| format!("flow-{}", session.verdict.name()),
    );
    test(&case.name(), &case.file, failed(NonSuccessKind::Failure, &ty, &told.join("; "), text))
}

fn located(text: String, at: Option<&crate::policy::At>) -> String {
    match at.map(place) {
        // A message may name the place already.
        Some(place) if !text.contains(&place) => format!("{text} [{place}]"),
        _ => text,
    }
}

/// Everything that is known about a case.
fn text(case: &Case) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", case.kind.name(), plain(&case.title));
    for (index, line) in case.boxes.iter().enumerate() {
        let _ = writeln!(out, "box {}: {}: {}", index + 1, plain(&line.label), plain(&line.spec));
        for (name, value, at) in &line.settings {
            let at = at.as_ref().map_or_else(String::new, |at| format!(" [{}]", place(at)));
            let _ = writeln!(out, "  {} = {}{at}", plain(name), plain(value));
        }
    }
    let counts = Verdict::ALL.into_iter().filter(|verdict| case.count(*verdict) > 0);
    let counts: Vec<String> = counts.map(|verdict| format!("{} {}", case.count(verdict), verdict.name())).collect();
    if !counts.is_empty() {
        let _ = writeln!(out, "flows: {}", counts.join(", "));
    }
    for unmet in &case.unmet {
        let _ = writeln!(out, "not as expected: {}", located(plain(&unmet.what), unmet.at.as_ref()));
    }
    for session in case.sessions.iter().take(TOLD) {
        out.push('\n');
        tell(&mut out, session);
    }
    let more = case.more + case.sessions.len().saturating_sub(TOLD) as u64;
    if more > 0 {
        let _ = writeln!(out, "\nand {}", several(more, "more session", "more sessions"));
    }
    for remark in &case.remarks {
        let _ = writeln!(out, "remark: {}", plain(remark));
    }
    out
}

fn tell(out: &mut String, session: &Session) {
    let stream = session.stream.as_ref().map_or_else(String::new, |stream| format!(" ({})", plain(stream)));
    let was = session.was.map_or_else(String::new, |was| format!(", was {}", was.name()));
    let fails = if session.fails { "; fails" } else { "" };
    let _ = writeln!(out, "{}{stream}: {}{was}{fails}", plain(&session.name), session.verdict.name());
    let _ = writeln!(out, "  {}", plain(&session.message));
    if let Some(timer) = &session.timer {
        let at = timer.at.as_ref().map_or_else(String::new, |at| format!(" [{}]", place(at)));
        let _ = writeln!(out, "  timer: {}{at}", group::timer(timer));
    }
    if let Some((silence, frames)) = &session.silence {
        let frames = frames.map_or_else(String::new, |(before, after)| format!(", between frames {before} and {after}"));
        let _ = writeln!(out, "  silent: {silence}{frames}");
    }
    for felt in &session.felt {
        let _ = writeln!(out, "  felt: {}", plain(felt));
    }
    for cure in &session.cures {
        let _ = writeln!(out, "  would keep it: {}", plain(cure));
    }
}

fn broken(index: usize, failure: &Failure) -> TestCase {
    let again = if index == 0 { String::new() } else { format!(" ({})", index + 1) };
    let what = located(plain(&failure.what), failure.at.as_ref());
    let status = failed(NonSuccessKind::Error, "could-not-be-run", &what, format!("{}: {what}\n", plain(&failure.file)));
    test(&format!("{}: could not be run{again}", failure.file), &failure.file, status)
}

fn linted(policy: &str, lints: &[&Lint]) -> TestCase {
    let mut text = String::new();
    for lint in lints {
        let fails = if lint.fails { "; fails" } else { "" };
        let known = if lint.is_new { "" } else { "; known" };
        let _ = writeln!(text, "{} ({}{known}{fails}): {}", lint.rule.id(), lint.severity.name(), plain(&lint.message));
        for at in &lint.places {
            let _ = writeln!(text, "  at: {}", place(at));
        }
        let _ = writeln!(text, "  why: {}", lint.rule.why());
        let _ = writeln!(text, "  see: {}", lint.rule.reference());
        for cure in &lint.cures {
            let _ = writeln!(text, "  instead: {}", plain(cure));
        }
    }
    let failing: Vec<&&Lint> = lints.iter().filter(|lint| lint.fails).collect();
    let Some(first) = failing.first() else {
        let mut test = test(policy, policy, TestCaseStatus::success());
        test.set_system_out(text);
        return test;
    };
    let told: Vec<String> = failing.iter().take(NAMED).map(|lint| located(plain(&lint.message), lint.places.first())).collect();
    let more = if failing.len() > NAMED { format!("; and {} more", failing.len() - NAMED) } else { String::new() };
    test(policy, policy, failed(NonSuccessKind::Failure, first.rule.id(), &(told.join("; ") + &more), text))
}
