//! The answer for people: the outcome in a line, then what is not as it should be, then what is not as it was, then the rest in counts.

use crate::check::baseline::Accepted;
use crate::check::compare::differs;
use crate::check::{Case, Change, Checked, Kind, Lint, Session};
use crate::finding::Verdict;
use crate::report::printable;
use crate::report::text::paragraph;
use crate::study::audit::rule::Severity;

/// How the text is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Columns to stay within.
    pub width: usize,
    /// Whether words are coloured.
    pub colour: bool,
    /// Whether everything is listed.
    pub all: bool,
}

/// How many sessions of a case are told.
const SESSIONS: usize = 10;
/// How many of them with what is felt and what would keep them.
const STORIES: usize = 3;
/// How many cures a session gets.
const CURES: usize = 2;

const RED: &str = "31;1";
const YELLOW: &str = "33";
const GREEN: &str = "32";

fn paint(text: &str, code: &str, layout: Layout) -> String {
    if layout.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn several(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Writes a paragraph whose first word is coloured; the colour is no width.
fn headed(out: &mut String, head: &str, code: &str, text: &str, indent: &str, layout: Layout) {
    let mut plain = String::new();
    paragraph(&mut plain, indent, &format!("{head}{text}"), layout.width);
    let rest = plain.get(indent.len() + head.len()..).unwrap_or_default();
    out.push_str(indent);
    out.push_str(&paint(head, code, layout));
    out.push_str(rest);
}

/// Writes the report.
pub fn write(checked: &Checked, layout: Layout) -> String {
    let mut out = String::new();
    outcome(&mut out, checked, layout);
    let worth = |case: &&Case| is_wrong(case);
    let differs = |case: &&Case| !is_wrong(case) && is_news(case);
    for case in checked.cases.iter().filter(worth) {
        out.push('\n');
        one(&mut out, case, layout);
    }
    let changed: Vec<&Case> = checked.cases.iter().filter(differs).collect();
    if !changed.is_empty() {
        out.push_str("\nnot as in the baseline, and no failure:\n");
        for case in changed {
            one(&mut out, case, layout);
        }
    }
    gone(&mut out, checked, layout);
    lint(&mut out, checked, layout);
    if layout.all {
        let rest: Vec<&Case> = checked.cases.iter().filter(|case| !worth(case) && !differs(case)).collect();
        if !rest.is_empty() {
            out.push_str("\nas expected:\n");
        }
        for case in rest {
            paragraph(&mut out, "  ", &format!("{}: {}", printable(&case.name()), came(case)), layout.width);
        }
    }
    if !checked.failures.is_empty() {
        out.push('\n');
    }
    for failure in &checked.failures {
        headed(&mut out, "could not run: ", RED, &printable(&failure.what), "", layout);
    }
    last(&mut out, checked, layout);
    out
}

/// Whether something is not as it should be.
fn is_wrong(case: &Case) -> bool {
    case.fails || !case.unmet.is_empty()
}

/// Whether something is not as it was; a case that the baseline does not know and that has nothing to tell is none.
fn is_news(case: &Case) -> bool {
    case.changed || case.is_new && !case.sessions.is_empty()
}

/// The first line: what came of it, in counts.
fn outcome(out: &mut String, checked: &Checked, layout: Layout) {
    let (word, code) = match (checked.failures.is_empty(), checked.fails()) {
        (_, true) => ("FAILED", RED),
        (false, false) => ("COULD NOT RUN", RED),
        (true, false) => ("OK", GREEN),
    };
    let mut parts = Vec::new();
    let captures = checked.cases.iter().filter(|case| case.kind == Kind::Capture).count();
    let runs = checked.cases.len() - captures;
    if runs > 0 {
        parts.push(several(runs, "scenario run", "scenario runs"));
    }
    if captures > 0 {
        parts.push(several(captures, "capture", "captures"));
    }
    let parts = if parts.is_empty() { "no case".to_owned() } else { parts.join(" and ") };
    let failing = checked.failing();
    let of = |all: usize| format!(": {failing} of {} ({parts})", several(all, "case", "cases"));
    let mut text = if failing > 0 { of(checked.cases.len()) } else { format!(": {parts}") };
    let lost: Vec<String> = Verdict::ALL
        .into_iter()
        .map(|verdict| (verdict, checked.cases.iter().map(|case| failing_flows(case, verdict)).sum::<u64>()))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {}", verdict.name()))
        .collect();
    if !lost.is_empty() {
        text.push_str(&format!("; sessions: {}", lost.join(", ")));
    }
    let lints = checked.lint.iter().filter(|lint| lint.fails).count();
    if lints > 0 {
        text.push_str(&format!("; {}", several(lints, "finding about a policy fails", "findings about policies fail")));
    }
    if checked.gone_fails() {
        text.push_str("; cases of the baseline are gone");
    }
    if !checked.failures.is_empty() {
        text.push_str(&format!("; {} could not be run", checked.failures.len()));
    }
    headed(out, word, code, &text, "", layout);
}

/// How many flows of a verdict fail in a case. Where only examples are told, all of a verdict fail or none.
fn failing_flows(case: &Case, verdict: Verdict) -> u64 {
    let told = case.sessions.iter().filter(|session| session.fails && session.verdict == verdict).count() as u64;
    if told > 0 && case.more > 0 { case.count(verdict) } else { told }
}

/// The counts of a case.
fn came(case: &Case) -> String {
    let parts: Vec<String> = Verdict::ALL
        .into_iter()
        .filter(|verdict| case.count(*verdict) > 0)
        .map(|verdict| format!("{} {}", case.count(verdict), verdict.name()))
        .collect();
    if parts.is_empty() { "no flow".to_owned() } else { parts.join(", ") }
}

/// One case, with what is not as it should be or as it was.
fn one(out: &mut String, case: &Case, layout: Layout) {
    let code = if case.fails { RED } else { YELLOW };
    let counts = if case.kind == Kind::Scenario { String::new() } else { format!(": {}", came(case)) };
    let title = format!(": {}{counts}", printable(&case.title));
    headed(out, &printable(&case.name()), code, &title, "", layout);
    if !case.boxes.is_empty() {
        let names: Vec<String> = case.boxes.iter().map(|line| printable(&line.label)).collect();
        paragraph(out, "  path: ", &format!("client → {} → server", names.join(" → ")), layout.width);
    }
    for unmet in &case.unmet {
        let at = unmet.at.as_ref().map_or_else(String::new, |at| format!(" ({})", printable(&at.to_string())));
        headed(out, "not as expected: ", RED, &format!("{}{at}", printable(&unmet.what)), "  ", layout);
    }
    if case.is_new && case.fails && case.unmet.is_empty() {
        out.push_str("  the baseline does not know this case\n");
    }
    let shown = if layout.all { case.sessions.len() } else { SESSIONS };
    for (index, session) in case.sessions.iter().take(shown).enumerate() {
        self::session(out, session, layout.all || index < STORIES, layout);
    }
    let more = case.sessions.len().saturating_sub(shown) as u64 + case.more;
    if more > 0 {
        let how = if layout.all { "" } else { " (--all lists them, --json too)" };
        out.push_str(&format!("  … and {more} more{how}\n"));
    }
    for remark in &case.remarks {
        paragraph(out, "  note: ", &printable(remark), layout.width);
    }
}

fn session(out: &mut String, session: &Session, in_full: bool, layout: Layout) {
    let (word, code) = match session.change {
        Change::Better => ("better: ", GREEN),
        _ if session.fails => ("FAILS: ", RED),
        Change::Same => ("known: ", YELLOW),
        Change::Worse => ("new: ", RED),
        Change::Other => ("changed: ", YELLOW),
        Change::Unknown => ("", YELLOW),
    };
    let was = match session.was {
        Some(Verdict::Survives) if session.verdict != Verdict::Survives => "; it survived before".to_owned(),
        Some(was) if was != session.verdict => format!("; it was {} before", was.name()),
        Some(_) if session.change == Change::Other => "; it was lost before too, but by another timer".to_owned(),
        _ => String::new(),
    };
    headed(out, word, code, &printable(&format!("{}{was}", session.message)), "  ", layout);
    if !in_full || session.change == Change::Better {
        return;
    }
    for felt in &session.felt {
        paragraph(out, "    ", &printable(felt), layout.width);
    }
    let cures = if layout.all { session.cures.len() } else { CURES };
    for (index, cure) in session.cures.iter().take(cures).enumerate() {
        let head = if index == 0 { "    kept by: " } else { "         or: " };
        paragraph(out, head, &printable(cure), layout.width);
    }
}

fn gone(out: &mut String, checked: &Checked, layout: Layout) {
    let Some(baseline) = checked.baseline.as_ref().filter(|baseline| !baseline.gone.is_empty()) else { return };
    let code = if checked.gone_fails() { RED } else { YELLOW };
    out.push('\n');
    for name in &baseline.gone {
        headed(out, "gone: ", code, &format!("{}: {} knows it, and it is no more", printable(name), printable(&baseline.file)), "", layout);
    }
}

fn lint(out: &mut String, checked: &Checked, layout: Layout) {
    let is_told = |lint: &&Lint| layout.all || lint.fails || lint.is_new && lint.severity > Severity::Info;
    let told: Vec<&Lint> = checked.lint.iter().filter(is_told).collect();
    if !told.is_empty() {
        out.push_str("\npolicies, without traffic:\n");
    }
    for lint in &told {
        let (word, code) = match (lint.fails, lint.severity) {
            (true, Severity::Error) => ("FAILS, error", RED),
            (true, Severity::Warning) => ("FAILS, warning", RED),
            (true, Severity::Info) => ("FAILS, info", RED),
            (false, Severity::Error) => ("error", RED),
            (false, Severity::Warning) => ("warning", YELLOW),
            (false, Severity::Info) => ("info", GREEN),
        };
        let place = lint.places.first().map_or_else(|| lint.policy.clone(), ToString::to_string);
        headed(out, word, code, &printable(&format!(" {} ({place}): {}", lint.rule.id(), lint.message)), "  ", layout);
        if lint.fails || layout.all {
            for (index, line) in lint.cures.iter().enumerate() {
                paragraph(out, if index == 0 { "    kept by: " } else { "             " }, &printable(line), layout.width);
            }
        }
    }
    let rest = checked.lint.len() - told.len();
    if rest > 0 && !told.is_empty() {
        out.push_str(&format!("  … and {rest} more that are known or no more than information (--all)\n"));
    }
}

/// The last line: what needs no more words.
fn last(out: &mut String, checked: &Checked, layout: Layout) {
    let mut parts = Vec::new();
    let fine = checked.cases.iter().filter(|case| !is_wrong(case) && !is_news(case));
    let (promised, rest): (Vec<&Case>, Vec<&Case>) = fine.partition(|case| case.has_expectation);
    if !promised.is_empty() {
        parts.push(format!("{} as expected", several(promised.len(), "case", "cases")));
    }
    if !rest.is_empty() {
        let (one, many) = if promised.is_empty() { ("case", "cases") } else { ("other", "others") };
        parts.push(format!("{} without a failure", several(rest.len(), one, many)));
    }
    if checked.left_alone > 0 {
        parts.push(format!("{} left alone", several(checked.left_alone, "other file", "other files")));
    }
    if !parts.is_empty() {
        out.push('\n');
        paragraph(out, "", &parts.join(", "), layout.width);
    }
    if checked.fails() {
        paragraph(out, "again: ", &printable(&checked.reproduce), layout.width);
    }
}

/// One line for each thing that fails, and nothing where nothing does.
pub fn quiet(checked: &Checked) -> String {
    let mut lines = Vec::new();
    for case in checked.cases.iter().filter(|case| case.fails) {
        let name = case.name();
        for unmet in &case.unmet {
            let at = unmet.at.as_ref().map_or_else(String::new, |at| format!(" ({at})"));
            lines.push(format!("{name}: not as expected: {}{at}", unmet.what));
        }
        lines.extend(case.sessions.iter().filter(|session| session.fails).map(|session| format!("{name}: {}", session.message)));
        if case.unmet.is_empty() && !case.sessions.iter().any(|session| session.fails) {
            let what = if case.is_new { "is not in the baseline" } else { "is not as in the baseline" };
            lines.push(format!("{name}: {what}"));
        }
    }
    if checked.gone_fails() {
        lines.extend(checked.baseline.iter().flat_map(|baseline| &baseline.gone).map(|name| format!("{name}: is no more")));
    }
    for lint in checked.lint.iter().filter(|lint| lint.fails) {
        let place = lint.places.first().map_or_else(|| lint.policy.clone(), ToString::to_string);
        lines.push(format!("{place}: {} {}: {}", lint.severity.name(), lint.rule.id(), lint.message));
    }
    lines.iter().map(|line| printable(line) + "\n").collect()
}

/// What was written into a baseline.
pub fn updated(file: &str, before: Option<&Accepted>, after: &Accepted) -> String {
    let file = printable(file);
    let Some(before) = before else {
        let lint: usize = after.lint.values().map(std::collections::BTreeSet::len).sum();
        return format!(
            "{file}: made, with {} and {}\n",
            several(after.cases.len(), "case", "cases"),
            several(lint, "finding about policies", "findings about policies")
        );
    };
    let change = differs(before, after);
    if before == after {
        format!("{file}: as it was\n")
    } else {
        format!("{file}: {} new, {} changed, {} gone\n", change.new, change.changed, change.gone)
    }
}
