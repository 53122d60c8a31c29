//! The page of the gate: what fails first, then what changed, then the rest; the sessions behind it, and what policies say of themselves.

use super::body::tone_of;
use super::life::Life;
use super::page::{Cell, Column, Cure, Detail, Felt, Kind, Page, PolicyBox, Row, Setting, Table, Tile, Tone};
use super::replay::tone;
use crate::check::{BoxLine, Case, Change, Checked, Failure, Lint, Session};
use crate::finding::Verdict;
use crate::policy::At;
use crate::report::text::{several, span};
use crate::study::audit::rule::Severity;
use crate::time::Duration;

/// The life of a session, or of a scenario's single flow.
#[derive(Clone, PartialEq, Debug)]
pub struct CaseLife {
    /// The case, as [`Case::name`] has it.
    pub case: String,
    /// The session, as it is [`called`]; nothing for the single flow of a scenario.
    pub session: Option<String>,
    /// Its life.
    pub life: Life,
}

/// What tells a session from the others of its case: its stream, for the same ends may talk twice; its name where it has none.
pub fn called(session: &Session) -> &str {
    session.stream.as_deref().unwrap_or(&session.name)
}

/// Sessions that a page lists at most.
const SESSIONS_MAX: usize = 3_000;

/// The bytes of the gate's page. The lives are those that whoever ran the cases has kept; a page without any is complete but for its
/// pictures.
///
/// # Errors
/// That the page's data cannot be written as JSON.
pub fn write(checked: &Checked, lives: &[CaseLife]) -> Result<String, String> {
    super::write(&page(checked, lives))
}

/// The gate's page.
pub fn page(checked: &Checked, lives: &[CaseLife]) -> Page {
    let mut details = Vec::new();
    let cases: Vec<Row> = checked.cases.iter().map(|case| case_row(case, lives, &mut details)).collect();
    let mut all: Vec<(&Case, &Session)> = checked.cases.iter().flat_map(|case| case.sessions.iter().map(move |one| (case, one))).collect();
    let change_rank = |session: &Session| session.change as usize;
    all.sort_by_key(|(_, session)| (!session.fails, change_rank(session), session.verdict));
    let left = all.len().saturating_sub(SESSIONS_MAX);
    let sessions: Vec<Row> = all.iter().take(SESSIONS_MAX).map(|(case, session)| session_row(case, session, lives, &mut details)).collect();
    let lint: Vec<Row> = checked.lint.iter().enumerate().map(|(place, one)| lint_row(place, one, &mut details)).collect();
    let mut tables = vec![Table {
        id: "cases",
        title: several(cases.len(), "case", "cases"),
        note: String::new(),
        columns: CASES.to_vec(),
        rows: cases,
    }];
    if !sessions.is_empty() {
        tables.push(Table {
            id: "sessions",
            title: several(sessions.len(), "session", "sessions"),
            note: if left > 0 { format!("{left} more are not listed.") } else { String::new() },
            columns: SESSIONS.to_vec(),
            rows: sessions,
        });
    }
    if !lint.is_empty() {
        let title = several(lint.len(), "remark on the policies", "remarks on the policies");
        tables.push(Table { id: "lint", title, note: String::new(), columns: LINT.to_vec(), rows: lint });
    }
    if !checked.failures.is_empty() {
        let rows = checked.failures.iter().enumerate().map(|(place, one)| failure_row(place, one, &mut details)).collect();
        let title = several(checked.failures.len(), "file that could not be run", "files that could not be run");
        tables.insert(0, Table { id: "broken", title, note: String::new(), columns: BROKEN.to_vec(), rows });
    }
    Page {
        command: "check",
        title: format!("{}: flowlapse check", if checked.fails() { "fails" } else { "passes" }),
        lead: lead(checked),
        facts: facts(checked),
        route: Vec::new(),
        tiles: tiles(checked),
        tables,
        details,
        without: String::new(),
        charts: Vec::new(),
        policy: policy(checked),
        remarks: remarks(checked, lives.len()),
        reproduce: if checked.reproduce.is_empty() { Vec::new() } else { vec![checked.reproduce.clone()] },
    }
}

const CASES: [Column; 7] = [
    Column::new("Result", Kind::Mark),
    Column::new("Case", Kind::Text),
    Column::wide("Kind", Kind::Text),
    Column::new("Cut", Kind::Number),
    Column::wide("Other trouble", Kind::Number),
    Column::wide("Survive", Kind::Number),
    Column::wide("Not as expected", Kind::Number),
];

const SESSIONS: [Column; 7] = [
    Column::new("Verdict", Kind::Mark),
    Column::new("Session", Kind::Text),
    Column::new("Against baseline", Kind::Text),
    Column::wide("Timer", Kind::Text),
    Column::wide("Value", Kind::Number),
    Column::wide("Silent for", Kind::Number),
    Column::wide("Stands at", Kind::Text),
];

const LINT: [Column; 4] = [
    Column::new("Severity", Kind::Mark),
    Column::new("Policy", Kind::Text),
    Column::new("What", Kind::Text),
    Column::wide("At", Kind::Text),
];

const BROKEN: [Column; 3] = [Column::new("Result", Kind::Mark), Column::new("File", Kind::Text), Column::new("What", Kind::Text)];

fn number(count: u64) -> Cell {
    Cell::Number(count.to_string(), count as f64)
}

fn spanned(span: Duration) -> Cell {
    let text = if span < Duration::from_secs(60) { span.to_string() } else { Duration::from_secs(span.as_secs()).human() };
    Cell::Number(text, span.as_secs_f64())
}

fn places<'a>(places: impl IntoIterator<Item = &'a At>) -> String {
    places.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn result(case: &Case) -> (&'static str, Tone, f64) {
    match case {
        _ if case.fails => ("fails", Tone::Bad, 0.0),
        _ if case.changed => ("changed", Tone::Warn, 1.0),
        _ if case.is_new => ("new", Tone::Plain, 2.0),
        _ => ("passes", Tone::Good, 3.0),
    }
}

fn life_of(lives: &[CaseLife], case: &str, session: Option<&str>) -> Option<Life> {
    lives.iter().find(|one| one.case == case && one.session.as_deref() == session).map(|one| one.life.clone())
}

fn case_row(case: &Case, lives: &[CaseLife], details: &mut Vec<Detail>) -> Row {
    let (badge, tone, rank) = result(case);
    let name = case.name();
    let survive = case.count(Verdict::Survives) + case.count(Verdict::Repaired);
    let total: u64 = case.counts.iter().sum();
    let mut said = vec![case.title.clone()];
    said.extend(case.unmet.iter().map(|unmet| match &unmet.at {
        Some(at) => format!("Not as expected: {} (expected at {at}).", unmet.what),
        None => format!("Not as expected: {}.", unmet.what),
    }));
    if !case.has_expectation {
        said.push("Nothing is expected of it; its sessions are judged by their verdicts.".to_owned());
    }
    let counts: Vec<String> = Verdict::ALL
        .into_iter()
        .filter(|verdict| case.count(*verdict) > 0)
        .map(|verdict| format!("{} {}", case.count(verdict), verdict.name()))
        .collect();
    if !counts.is_empty() {
        said.push(format!("{}: {}.", several(total as usize, "flow", "flows"), counts.join(", ")));
    }
    if !case.boxes.is_empty() {
        let path: Vec<&str> = case.boxes.iter().map(|one| one.spec.as_str()).collect();
        said.push(format!("Path: client → {} → server.", path.join(" → ")));
    }
    said.extend(case.sessions.iter().take(20).map(|session| session.message.clone()));
    let untold = case.sessions.len().saturating_sub(20) as u64 + case.more;
    if untold > 0 {
        said.push(format!("And {}.", several(untold as usize, "session more", "sessions more")));
    }
    let single = match &case.sessions[..] {
        [one] => Some(one),
        _ => None,
    };
    let life = life_of(lives, &name, None).or_else(|| life_of(lives, &name, single.map(called)));
    details.push(Detail {
        name: name.clone(),
        badge: badge.to_owned(),
        tone,
        said,
        felt: single.map(felt).unwrap_or_default(),
        cures: single.map(cures).unwrap_or_default(),
        notes: case.remarks.clone(),
        life,
        without: String::new(),
        more: Vec::new(),
    });
    Row {
        id: name.clone(),
        tone,
        detail: Some(details.len() - 1),
        cells: vec![
            Cell::Number(badge.to_owned(), rank),
            Cell::Text(format!("{name}\n{}", case.title)),
            Cell::Text(case.kind.name().to_owned()),
            number(case.count(Verdict::Cut)),
            number(total - case.count(Verdict::Cut) - survive),
            number(survive),
            number(case.unmet.len() as u64),
        ],
    }
}

fn felt(session: &Session) -> Vec<Felt> {
    session.felt.iter().zip(["client", "server"]).map(|(text, who)| Felt { who: who.to_owned(), text: text.clone() }).collect()
}

fn cures(session: &Session) -> Vec<Cure> {
    session.cures.iter().map(|line| Cure { line: line.clone(), note: String::new() }).collect()
}

fn against(session: &Session) -> String {
    match (session.change, session.was) {
        (Change::Unknown, _) => "–".to_owned(),
        (change, Some(was)) if was != session.verdict => format!("{}: was {}", change.name(), was.name()),
        (change, _) => change.name().to_owned(),
    }
}

fn session_row(case: &Case, session: &Session, lives: &[CaseLife], details: &mut Vec<Detail>) -> Row {
    let name = case.name();
    let tone = tone(session.verdict);
    let timer = session.timer.as_ref();
    let mut said = vec![session.message.clone(), format!("In {name}.")];
    if let Some(timer) = timer {
        let setting = timer.setting.as_deref().unwrap_or("no setting reaches it");
        let at = timer.at.as_ref().map_or(String::new(), |at| format!(", set at {at}"));
        said.push(format!("The timer: {} of box {}, {}, {} ({setting}{at}).", timer.timer, timer.hop, timer.label, span(timer.value)));
    }
    if let Some((silence, frames)) = &session.silence {
        let between = frames.map_or(String::new(), |(before, after)| format!(", between frames {before} and {after}"));
        said.push(format!("Silent for {}{between}.", span(*silence)));
    }
    said.extend(session.stream.iter().map(|filter| format!("Wireshark's filter: {filter}.")));
    let life = life_of(lives, &name, Some(called(session)));
    details.push(Detail {
        name: session.name.clone(),
        badge: session.verdict.name().to_owned(),
        tone,
        said,
        felt: felt(session),
        cures: cures(session),
        notes: Vec::new(),
        life,
        without: String::new(),
        more: Vec::new(),
    });
    Row {
        id: format!("{name} / {}", called(session)),
        tone,
        detail: Some(details.len() - 1),
        cells: vec![
            Cell::Number(session.verdict.name().to_owned(), session.verdict as usize as f64),
            Cell::Text(format!("{}\n{name}", session.name)),
            Cell::Text(against(session)),
            timer.map_or_else(Cell::none, |timer| Cell::Text(format!("{} {}", timer.label, timer.state))),
            timer.map_or_else(Cell::none, |timer| spanned(timer.value)),
            session.silence.map_or_else(Cell::none, |(silence, _)| spanned(silence)),
            timer.and_then(|timer| timer.at.as_ref()).map_or_else(Cell::none, |at| Cell::Text(at.to_string())),
        ],
    }
}

fn lint_row(place: usize, lint: &Lint, details: &mut Vec<Detail>) -> Row {
    let (tone, rank) = match lint.severity {
        Severity::Error => (Tone::Bad, 0.0),
        Severity::Warning => (Tone::Warn, 1.0),
        Severity::Info => (Tone::Plain, 2.0),
    };
    let mut said = vec![lint.message.clone(), format!("{} ({}).", lint.rule.why(), lint.rule.id())];
    if !lint.places.is_empty() {
        said.push(format!("Stands at {}.", places(&lint.places)));
    }
    if !lint.is_new {
        said.push("The baseline has it too.".to_owned());
    }
    details.push(Detail {
        name: lint.policy.clone(),
        badge: lint.severity.name().to_owned(),
        tone,
        said,
        felt: Vec::new(),
        cures: lint.cures.iter().map(|line| Cure { line: line.clone(), note: String::new() }).collect(),
        notes: Vec::new(),
        life: None,
        without: String::new(),
        more: Vec::new(),
    });
    Row {
        id: format!("lint.{}", place + 1),
        tone,
        detail: Some(details.len() - 1),
        cells: vec![
            Cell::Number(lint.severity.name().to_owned(), rank),
            Cell::Text(format!("{}\n{}", lint.policy, lint.rule.id())),
            Cell::Text(lint.message.clone()),
            Cell::Text(places(&lint.places)),
        ],
    }
}

fn failure_row(place: usize, failure: &Failure, details: &mut Vec<Detail>) -> Row {
    let at = failure.at.as_ref().map_or_else(|| failure.file.clone(), ToString::to_string);
    details.push(Detail {
        name: at.clone(),
        badge: "cannot be run".to_owned(),
        tone: Tone::Bad,
        said: vec![failure.what.clone()],
        felt: Vec::new(),
        cures: Vec::new(),
        notes: Vec::new(),
        life: None,
        without: String::new(),
        more: Vec::new(),
    });
    Row {
        id: format!("broken.{}", place + 1),
        tone: Tone::Bad,
        detail: Some(details.len() - 1),
        cells: vec![Cell::Number("cannot be run".to_owned(), 0.0), Cell::Text(at), Cell::Text(failure.what.clone())],
    }
}

fn lead(checked: &Checked) -> String {
    let cases = checked.cases.len();
    if !checked.failures.is_empty() {
        let count = checked.failures.len();
        return format!(
            "{} could not be run; {} of {} fail.",
            several(count, "file", "files"),
            checked.failing(),
            several(cases, "case", "cases")
        );
    }
    match (checked.fails(), checked.failing()) {
        (false, _) if cases == 0 => "Nothing was run.".to_owned(),
        (false, _) => format!("{} {}.", several(cases, "case", "cases"), if cases == 1 { "passes" } else { "pass" }),
        (true, 0) => "The cases pass; the policies do not.".to_owned(),
        (true, failing) => format!("{failing} of {} {}.", several(cases, "case", "cases"), if failing == 1 { "fails" } else { "fail" }),
    }
}

fn facts(checked: &Checked) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if !checked.fail_on.is_empty() {
        facts.push(("Fails on", checked.fail_on.join(", ")));
    }
    let baseline = checked.baseline.as_ref().map_or("none".to_owned(), |baseline| baseline.file.clone());
    facts.push(("Baseline", baseline));
    facts
}

fn tiles(checked: &Checked) -> Vec<Tile> {
    let tile = |value: usize, label: &str, tone: Tone, mark: Option<&str>| Tile {
        value: value.to_string(),
        label: label.to_owned(),
        tone: tone_of(value as u64, tone),
        mark: mark.filter(|_| value > 0).map(ToOwned::to_owned),
    };
    let cases = &checked.cases;
    let count = |badge: &str| cases.iter().filter(|case| result(case).0 == badge).count();
    let mut tiles = vec![tile(cases.len(), "cases", Tone::Plain, None)];
    tiles.push(tile(count("fails"), "fail", Tone::Bad, Some("fails")));
    if checked.baseline.is_some() {
        tiles.push(tile(count("changed"), "changed, not failing", Tone::Warn, Some("changed")));
        tiles.push(tile(count("new"), "new, not failing", Tone::Plain, Some("new")));
    }
    let cut: u64 = cases.iter().map(|case| case.count(Verdict::Cut)).sum();
    tiles.push(tile(cut as usize, "sessions cut", Tone::Bad, Some("cut")));
    tiles.push(tile(checked.lint.iter().filter(|lint| lint.fails).count(), "remarks on policies that fail", Tone::Bad, None));
    tiles
}

/// The boxes of all cases, each set of them once.
fn policy(checked: &Checked) -> Vec<PolicyBox> {
    let mut seen: Vec<&BoxLine> = Vec::new();
    for one in checked.cases.iter().flat_map(|case| &case.boxes) {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    let setting = |(name, value, at): &(String, String, Option<At>)| Setting {
        name: name.clone(),
        value: value.clone(),
        origin: at.as_ref().map_or("command line".to_owned(), ToString::to_string),
        given: true,
    };
    seen.into_iter()
        .map(|one| PolicyBox { label: one.label.clone(), what: one.spec.clone(), settings: one.settings.iter().map(setting).collect() })
        .collect()
}

fn remarks(checked: &Checked, lives: usize) -> Vec<String> {
    let mut remarks = Vec::new();
    let sessions: usize = checked.cases.iter().map(|case| case.sessions.len()).sum();
    if lives > 0 && lives < sessions {
        remarks.push(format!("Of {sessions} sessions the lives of {lives} are in this page: the first of those that fail or changed."));
    }
    if checked.left_alone > 0 {
        remarks
            .push(format!("{} under the paths are no scenario, no capture and no policy.", several(checked.left_alone, "file", "files")));
    }
    if let Some(baseline) = &checked.baseline {
        remarks.extend(baseline.gone.iter().map(|gone| format!("The baseline knows {gone}, which is no more.")));
    }
    remarks
}
