//! The gate as Markdown: a job summary for GitHub, or a comment on a merge request.
//!
//! Everything from outside is escaped, so that nothing in a capture's or a variant's name becomes a table cell, a tag, a link or a
//! mention. GitHub takes 1 MiB of a step: what does not fit is left out and counted.

use super::group::{self, Group};
use super::words::{self, plain, several};
use crate::check::{Case, Change, Checked, Lint, Session};
use crate::finding::Verdict;
use crate::policy::At;
use std::fmt::Write;

/// Bytes that are written at most; GitHub refuses a summary of more than 1,048,576.
pub const BYTES_MAX: usize = 1_000_000;
/// Rows of a table.
const ROWS: usize = 50;
/// Sessions that a case tells in full.
const TOLD: usize = 20;
/// Sessions that a cause names.
const NAMED: usize = 5;
/// Characters of one text from outside.
const CHARS: usize = 2000;
/// Bytes that may be there when each part ends, so that none takes the room of those after it.
mod until {
    pub(super) const FAILURES: usize = 100_000;
    pub(super) const CAUSES: usize = 200_000;
    pub(super) const TABLE: usize = 300_000;
    pub(super) const DETAILS: usize = 850_000;
    pub(super) const CHANGES: usize = 900_000;
    pub(super) const LINT: usize = 950_000;
}

/// Writes the summary.
pub fn write(checked: &Checked) -> String {
    let mut out = String::new();
    verdict(&mut out, checked);
    failures(&mut out, checked);
    causes(&mut out, checked);
    table(&mut out, checked);
    details(&mut out, checked);
    changes(&mut out, checked);
    lint(&mut out, checked);
    reproduce(&mut out, checked);
    out
}

/// Text from outside, harmless anywhere in Markdown: in prose, in a table, in a line of HTML.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let plain = plain(text);
    let mut chars = plain.chars().enumerate().peekable();
    let mut tail = ['\0'; 3];
    while let Some((at, c)) = chars.next() {
        if at >= CHARS {
            out.push('…');
            break;
        }
        let next = chars.peek().map(|(_, next)| *next);
        match c {
            '&' | '<' | '>' | '"' | '\'' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '!' | '|' | '~' | '\\' | '$' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            // Addresses become links.
            ':' if next == Some('/') => out.push_str("&#58;&#8203;"),
            '.' if tail.iter().all(|t| t.eq_ignore_ascii_case(&'w')) => out.push_str("&#46;&#8203;"),
            // Mentions and numbers of issues are looked for in what was rendered: an entity alone would not keep them away.
            '@' => out.push_str("&#64;&#8203;"),
            '#' if next.is_some_and(|next| next.is_ascii_digit()) => out.push_str("&#35;&#8203;"),
            '#' => out.push_str("&#35;"),
            _ => out.push(c),
        }
        tail = [tail[1], tail[2], c];
    }
    out
}

/// Lines in a block in which nothing is Markdown, to be copied.
fn block(out: &mut String, lines: &[String]) {
    out.push_str("<pre>");
    for (index, line) in lines.iter().enumerate() {
        let plain = plain(line);
        let escaped = plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(out, "{}{escaped}", if index == 0 { "" } else { "\n" });
    }
    out.push_str("</pre>\n\n");
}

fn verdict(out: &mut String, checked: &Checked) {
    let mut parts = Vec::new();
    let failing = checked.failing() as u64;
    if failing > 0 {
        let sessions = checked.failing_sessions().count() as u64;
        let sessions = if sessions > 0 { format!(" ({})", several(sessions, "session", "sessions")) } else { String::new() };
        parts.push(format!("{failing} of {}{sessions}", several(checked.cases.len() as u64, "case fails", "cases fail")));
    }
    let lint = checked.lint.iter().filter(|lint| lint.fails).count() as u64;
    if lint > 0 {
        parts.push(several(lint, "finding in the policies fails", "findings in the policies fail"));
    }
    if !checked.failures.is_empty() {
        parts.push(several(checked.failures.len() as u64, "file could not be run", "files could not be run"));
    }
    if parts.is_empty() {
        parts.push(format!("all as it should be, {}", several(checked.cases.len() as u64, "case", "cases")));
    }
    let _ = writeln!(out, "## flowlapse check: {}\n", parts.join("; "));
}

fn failures(out: &mut String, checked: &Checked) {
    if checked.failures.is_empty() {
        return;
    }
    out.push_str("### Could not be run\n\n");
    let lines = checked.failures.iter().map(|failure| {
        let place = failure.at.as_ref().map_or_else(|| plain(&failure.file), words::place);
        format!("* {}: {}", text(&place), text(&failure.what))
    });
    list(out, lines, until::FAILURES, "* ");
}

/// Lines, as many as there is room for, and how many more there are.
fn list(out: &mut String, lines: impl Iterator<Item = String>, until: usize, before: &str) {
    let (mut shown, mut total) = (0, 0);
    for line in lines {
        // The first that has no room ends the list: what is shown is a beginning.
        if shown == total && shown < ROWS && out.len() + line.len() < until {
            out.push_str(&line);
            out.push('\n');
            shown += 1;
        }
        total += 1;
    }
    if total > shown {
        let _ = writeln!(out, "{before}and {} more", total - shown);
    }
    out.push('\n');
}

fn causes(out: &mut String, checked: &Checked) {
    let groups = group::by_cause(checked);
    let failing: Vec<&Group<'_>> = groups.iter().filter(|group| group.fails).collect();
    if failing.is_empty() {
        return;
    }
    out.push_str("### Where\n\n");
    let lines = failing.iter().map(|group| {
        let place = format!("{}:{}", group.place.file, group.place.line);
        let timer = group.timer().map_or_else(String::new, |timer| format!(": {}", text(&timer)));
        let names: Vec<String> = group.members.iter().take(NAMED).map(|(_, session)| text(&session.name)).collect();
        let more = if group.members.len() > NAMED { format!(", and {} more", group.members.len() - NAMED) } else { String::new() };
        format!("* **{}**{timer}: {} ({}{more})", text(&place), group.counts(), names.join(", "))
    });
    list(out, lines, until::CAUSES, "* ");
}

fn table(out: &mut String, checked: &Checked) {
    let mut rows: Vec<[String; 5]> = Vec::new();
    for case in checked.cases.iter().filter(|case| case.fails) {
        let name = text(&case.name());
        let at = |at: Option<&At>| at.map_or_else(String::new, |at| text(&words::place(at)));
        for unmet in &case.unmet {
            rows.push([name.clone(), text(&unmet.what), "not as expected".to_owned(), String::new(), at(unmet.at.as_ref())]);
        }
        for session in case.sessions.iter().filter(|session| session.fails) {
            let was = session.was.map_or("", Verdict::name).to_owned();
            let at = at(session.timer.as_ref().and_then(|timer| timer.at.as_ref()));
            rows.push([name.clone(), text(&session.name), session.verdict.name().to_owned(), was, at]);
        }
        if group::is_bare(case) {
            rows.push([name, text(&group::bare(case)), "fails".to_owned(), String::new(), String::new()]);
        }
    }
    if !rows.is_empty() {
        out.push_str("### What fails\n\n| case | session | now | before | at |\n|---|---|---|---|---|\n");
        list(out, rows.into_iter().map(|cells| format!("| {} |", cells.join(" | "))), until::TABLE, "\n");
    }
}

/// Each failing case, folded; those that do not fit are counted.
fn details(out: &mut String, checked: &Checked) {
    let mut left_out: u64 = 0;
    for case in checked.cases.iter().filter(|case| case.fails) {
        let mut section = String::new();
        detail(&mut section, case);
        if out.len() + section.len() > until::DETAILS {
            left_out += 1;
        } else {
            out.push_str(&section);
        }
    }
    if left_out > 0 {
        let cases = several(left_out, "failing case is", "failing cases are");
        let _ = writeln!(out, "The details of {cases} left out: a summary may have 1 MiB.\n");
    }
}

fn detail(out: &mut String, case: &Case) {
    let failing = case.sessions.iter().filter(|session| session.fails).count() as u64;
    let count = if failing > 0 { format!(": {}", several(failing, "session fails", "sessions fail")) } else { String::new() };
    let _ = writeln!(out, "<details><summary>{}{count}</summary>\n", text(&case.name()));
    let _ = writeln!(out, "{}: {}\n", case.kind.name(), text(&case.title));
    for (index, line) in case.boxes.iter().enumerate() {
        let _ = writeln!(out, "* box {}: {}: {}", index + 1, text(&line.label), text(&line.spec));
    }
    for unmet in &case.unmet {
        let at = unmet.at.as_ref().map_or_else(String::new, |at| format!(" — {}", text(&words::place(at))));
        let _ = writeln!(out, "* not as expected: {}{at}", text(&unmet.what));
    }
    for remark in &case.remarks {
        let _ = writeln!(out, "* to know: {}", text(remark));
    }
    out.push('\n');
    for session in case.sessions.iter().filter(|session| session.fails).take(TOLD) {
        tell(out, session);
    }
    let more = case.more + failing.saturating_sub(TOLD as u64);
    if more > 0 {
        let _ = writeln!(out, "and {}\n", several(more, "more session", "more sessions"));
    }
    out.push_str("</details>\n\n");
}

fn tell(out: &mut String, session: &Session) {
    let stream = session.stream.as_ref().map_or_else(String::new, |stream| format!(" ({})", text(stream)));
    let _ = writeln!(out, "**{}**{stream}\n", text(&session.message));
    if let Some((silence, frames)) = &session.silence {
        let frames = frames.map_or_else(String::new, |(before, after)| format!(", between frames {before} and {after}"));
        let _ = writeln!(out, "* silent for {silence}{frames}");
    }
    if let Some(timer) = &session.timer {
        let at = timer.at.as_ref().map_or_else(String::new, |at| format!(" — {}", text(&words::place(at))));
        let _ = writeln!(out, "* timer: {}{at}", text(&group::timer(timer)));
    }
    for felt in &session.felt {
        let _ = writeln!(out, "* {}", text(felt));
    }
    out.push('\n');
    if !session.cures.is_empty() {
        out.push_str("What would keep it:\n\n");
        block(out, &session.cures);
    }
}

fn changes(out: &mut String, checked: &Checked) {
    let Some(baseline) = &checked.baseline else { return };
    let _ = writeln!(out, "### Against {}\n", text(&baseline.file));
    let mut lines = Vec::new();
    for case in &checked.cases {
        if case.is_new {
            lines.push(format!("new case: {}", text(&case.name())));
        }
        for session in case.sessions.iter().filter(|s| matches!(s.change, Change::Worse | Change::Other | Change::Better)) {
            let was = session.was.map_or_else(String::new, |was| format!(", was {}", was.name()));
            let (change, now) = (session.change.name(), session.verdict.name());
            lines.push(format!("{change}: {}: {}: {now}{was}", text(&case.name()), text(&session.name)));
        }
    }
    lines.extend(baseline.gone.iter().map(|gone| format!("gone: {}", text(gone))));
    if lines.is_empty() {
        lines.push("nothing changed".to_owned());
    }
    list(out, lines.into_iter().map(|line| format!("* {line}")), until::CHANGES, "* ");
}

fn lint(out: &mut String, checked: &Checked) {
    if checked.lint.is_empty() {
        return;
    }
    out.push_str("### Policy lint\n\n| policy | rule | what | |\n|---|---|---|---|\n");
    list(out, checked.lint.iter().map(lint_row), until::LINT, "\n");
}

fn lint_row(lint: &Lint) -> String {
    let place = lint.places.first().map_or_else(|| plain(&lint.policy), words::place);
    let state = match (lint.fails, lint.is_new) {
        (true, _) => "**fails**",
        (false, true) => "",
        (false, false) => "known",
    };
    let what = text(&lint.message);
    format!("| {} | {} ({}) | {what} | {state} |", text(&place), lint.rule.id(), lint.severity.name())
}

fn reproduce(out: &mut String, checked: &Checked) {
    let mut end = String::from("The same answer anywhere:\n\n");
    let line: String = if checked.reproduce.chars().count() > 2 * CHARS {
        checked.reproduce.chars().take(2 * CHARS).chain(std::iter::once('…')).collect()
    } else {
        checked.reproduce.clone()
    };
    block(&mut end, &[line]);
    let _ = writeln!(end, "Fails on: {}.", text(&checked.fail_on.join(", ")));
    out.push_str(&end);
}
