//! Annotations for GitHub Actions: workflow commands, one a line, that put a finding beside the line of the file at fault.
//!
//! GitHub shows ten errors, ten warnings and ten notices of a step and drops the rest without a word. So sessions of one cause
//! share an annotation, and where there are still too many the tenth says what is missing.

use super::group::{self, Group, Place};
use super::words;
use crate::check::Checked;
use crate::study::audit::rule::Severity;
use std::collections::BTreeMap;

/// How many annotations of a level GitHub shows of one step.
pub const SHOWN: usize = 10;
/// How many sessions an annotation names.
const NAMED: usize = 5;

/// Lines that an annotation has at most.
const LINES: usize = 12;

/// How an annotation is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Error,
    Warning,
    Notice,
}

impl Level {
    const ALL: [Level; 3] = [Level::Error, Level::Warning, Level::Notice];

    /// The name of the command.
    const fn command(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
        }
    }
}

/// One annotation; nothing of it is escaped yet.
struct Note {
    level: Level,
    place: Option<Place>,
    title: String,
    lines: Vec<String>,
}

/// Writes the annotations: errors, then warnings, then notices.
pub fn write(checked: &Checked) -> String {
    let notes = notes(checked);
    let mut out = String::new();
    for level in Level::ALL {
        let of_level: Vec<&Note> = notes.iter().filter(|note| note.level == level).collect();
        let told = if of_level.len() > SHOWN { SHOWN - 1 } else { of_level.len() };
        for note in &of_level[..told] {
            line(&mut out, note);
        }
        if told < of_level.len() {
            let rest = of_level.len() - told;
            let lines = vec![format!("GitHub shows {SHOWN} of a step; the job summary and the other reports hold them all.")];
            line(&mut out, &Note { level, place: None, title: format!("flowlapse: {rest} more"), lines });
        }
    }
    out
}

fn notes(checked: &Checked) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for failure in &checked.failures {
        let place = failure.at.as_ref().map_or_else(|| Place::whole(&failure.file), Place::of);
        let lines = vec![format!("{}: {}", words::plain(&failure.file), words::plain(&failure.what))];
        notes.push(Note { level: Level::Error, place: Some(place), title: "flowlapse: could not be run".to_owned(), lines });
    }
    notes.extend(group::by_cause(checked).iter().map(cause));
    let mut places: BTreeMap<(bool, Option<Place>), usize> = BTreeMap::new();
    for case in &checked.cases {
        for unmet in &case.unmet {
            let place = Some(unmet.at.as_ref().map_or_else(|| Place::whole(&case.file), Place::of));
            let line = format!("{}: {}", words::plain(&case.name()), words::plain(&unmet.what));
            let level = if case.fails { Level::Error } else { Level::Warning };
            // What one line expects is one annotation, also where variants share it.
            let key = (case.fails, place.clone());
            if let Some(note) = places.get(&key).and_then(|index| notes.get_mut(*index)) {
                note.lines.push(line);
            } else {
                places.insert(key, notes.len());
                notes.push(Note { level, place, title: "flowlapse: not as expected".to_owned(), lines: vec![line] });
            }
        }
        if group::is_bare(case) {
            let lines = vec![group::bare(case)];
            notes.push(Note { level: Level::Error, place: Some(group::place_of(case)), title: "flowlapse: case fails".to_owned(), lines });
        }
    }
    for lint in &checked.lint {
        let level = match lint.severity {
            _ if lint.fails => Level::Error,
            _ if !lint.is_new => continue,
            Severity::Info => Level::Notice,
            Severity::Warning | Severity::Error => Level::Warning,
        };
        let mut lines = vec![format!("{}: {}", words::plain(&lint.policy), words::plain(&lint.message))];
        lines.extend(lint.cures.iter().map(|cure| words::plain(cure)));
        let place = group::place_of_lint(lint);
        notes.push(Note { level, place, title: format!("flowlapse: {}", lint.rule.id()), lines });
    }
    notes
}

fn cause(group: &Group<'_>) -> Note {
    let mut lines = Vec::new();
    if let [(_, session)] = group.members[..] {
        lines.push(words::plain(&session.message));
    } else if let Some(timer) = group.timer() {
        lines.push(timer);
    }
    if group.members.len() > 1 {
        let named = group.members.iter().take(NAMED);
        lines.extend(named.map(|(case, session)| format!("{}: {}", words::plain(&case.name()), words::plain(&session.message))));
        if group.members.len() > NAMED {
            lines.push(format!("and {} more", group.members.len() - NAMED));
        }
    }
    let cure = group.members.iter().find_map(|(_, session)| session.cures.first());
    lines.extend(cure.map(|cure| format!("would keep it: {}", words::plain(cure))));
    let level = if group.fails { Level::Error } else { Level::Warning };
    Note { level, place: Some(group.place.clone()), title: format!("flowlapse: {}", group.counts()), lines }
}

fn line(out: &mut String, note: &Note) {
    let mut properties = Vec::new();
    if let Some(place) = &note.place {
        properties.push(format!("file={}", property(&words::plain(&place.file))));
        properties.push(format!("line={}", place.line));
    }
    properties.push(format!("title={}", property(&note.title)));
    let mut lines: Vec<&str> = note.lines.iter().take(LINES).map(String::as_str).collect();
    let more = format!("and {} more", note.lines.len() - lines.len());
    if note.lines.len() > lines.len() {
        lines.push(&more);
    }
    out.push_str(&format!("::{} {}::{}\n", note.level.command(), properties.join(","), data(&lines.join("\n"))));
}

/// The message of a command, as the runner reads it.
pub fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command, as the runner reads it.
pub fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
