//! The page of scenarios: each run a row with its life, and whether what was expected came.

use super::body::tone_of;
use super::life::{Feels, Life};
use super::page::{Cell, Column, Detail, Felt, Kind, More, Page, PolicyBox, Row, Table, Tile, Tone};
use super::policy;
use crate::report::chart::Lanes;
use crate::report::story::life::side;
use crate::report::story::text::{forgotten, side_text, timer};
use crate::report::story::{Came, Story, text, timeline};
use crate::report::text::{several, span};
use crate::simulate::outcome::{End, Met, Outcome};
use crate::time::{Duration, Instant};

/// Lines of a timeline in words that a page holds at most.
const LINES_MAX: usize = 400;

/// Runs, gathered one after the other: a story lives only as long as its run is at hand.
#[derive(Debug, Default)]
pub struct Runs {
    rows: Vec<Row>,
    details: Vec<Detail>,
    policy: Vec<PolicyBox>,
    /// Where the scenarios are from, each once.
    origins: Vec<String>,
    expected: usize,
    wrong: usize,
    forgotten: usize,
}

impl Runs {
    /// Adds a run, with the picture of its life where there is one. `most` is how many marks that may have.
    pub fn add(&mut self, story: &Story<'_>, lanes: Option<&Lanes>, most: usize) {
        if self.origins.last().is_none_or(|last| last != story.origin) {
            self.origins.push(story.origin.to_owned());
        }
        self.expected += usize::from(story.unmet.is_some());
        self.wrong += usize::from(!story.is_as_expected());
        let (badge, tone, rank) = match &story.unmet {
            None => ("ran", Tone::Plain, 1),
            Some(unmet) if unmet.is_empty() => ("as expected", Tone::Good, 2),
            Some(_) => ("not as expected", Tone::Bad, 0),
        };
        let case = story.variant.map_or_else(|| story.origin.to_owned(), |variant| format!("{} # {variant}", story.origin));
        let title = story.variant.unwrap_or(&story.scenario.title);
        let mut cells = vec![Cell::Number(badge.to_owned(), f64::from(rank)), Cell::Text(format!("{title}\n{case}"))];
        let mut detail = Detail {
            name: title.to_owned(),
            badge: badge.to_owned(),
            tone,
            said: vec![if story.variant.is_some() { format!("A variant of: {}", story.scenario.title) } else { case.clone() }],
            felt: Vec::new(),
            cures: Vec::new(),
            notes: story.unmet.iter().flatten().map(|what| format!("Not as expected: {what}")).collect(),
            life: None,
            without: String::new(),
            more: Vec::new(),
        };
        match &story.came {
            Came::One(outcome, _) => {
                self.forgotten += usize::from(!outcome.forgotten.is_empty());
                cells.extend(one(story, outcome));
                told(&mut detail, story, outcome);
                detail.life = lanes.map(|lanes| life(lanes, outcome, most));
                detail.more.push(More {
                    title: "Everything that happened, line by line".to_owned(),
                    text: lines(&timeline::write(story)),
                    open: false,
                });
            }
            Came::Many(tally) => {
                self.forgotten += usize::from(tally.forgotten > 0);
                let share = |count: u64| format!("{count} of {} flows", tally.flows);
                cells.push(Cell::Text(format!("{} failed", share(tally.failed))));
                cells.push(Cell::Text(format!("{} never opened", share(tally.unopened))));
                cells.push(Cell::Text(format!("{} forgotten", share(tally.forgotten))));
                cells.extend([Cell::none(), Cell::Number(tally.packets[0].to_string(), tally.packets[0] as f64)]);
                detail.without = String::from("A population has no single life: run one of its flows as a scenario.");
                detail.more.push(More { title: "What came of it".to_owned(), text: text::write(story, 100), open: true });
            }
        }
        self.rows.push(Row { id: case.clone(), tone, detail: Some(self.details.len()), cells });
        self.details.push(detail);
        self.settings(story, &case);
    }

    /// The settings of a run's boxes, each set of them once.
    fn settings(&mut self, story: &Story<'_>, case: &str) {
        for mut one in policy::boxes(&story.ready.net.path.hops, "the scenario") {
            if self.policy.iter().any(|known| known.settings == one.settings && known.label.starts_with(&one.label)) {
                continue;
            }
            if !self.policy.is_empty() {
                one.label = format!("{} (in {case})", one.label);
            }
            self.policy.push(one);
        }
    }

    /// The page of all runs. `reproduce` are command lines that give the same answer.
    pub fn page(self, reproduce: Vec<String>) -> Page {
        let runs = self.rows.len();
        let mut rows = self.rows;
        // What went wrong comes first; otherwise the order is that of the files and their variants.
        rows.sort_by_key(|row| row.tone != Tone::Bad);
        let lead = match (runs, self.expected, self.wrong) {
            (1, _, 1) => "Something else came than the scenario expects.".to_owned(),
            (1, 1, _) => "What the scenario expects came.".to_owned(),
            (_, _, 0) if self.expected == runs => format!("All {runs} runs ended as expected."),
            (_, _, 0) if self.expected > 0 => format!("{} of {runs} runs have an expectation, and it was met.", self.expected),
            (_, _, 0) => format!("{}.", several(runs, "scenario was run", "scenarios were run")),
            (_, _, wrong) => format!("{wrong} of {runs} runs did not end as expected."),
        };
        let tile = |value: usize, label: &str, tone: Tone, mark: Option<&str>| Tile {
            value: value.to_string(),
            label: label.to_owned(),
            tone: tone_of(value as u64, tone),
            mark: mark.filter(|_| value > 0).map(ToOwned::to_owned),
        };
        let met = self.expected - self.wrong;
        let mut tiles =
            vec![tile(runs, "runs", Tone::Plain, None), tile(self.wrong, "not as expected", Tone::Bad, Some("not as expected"))];
        tiles.push(tile(met, "as expected", Tone::Good, Some("as expected")));
        tiles.push(tile(self.forgotten, "forgotten by a box", Tone::Warn, None));
        let facts = match &self.origins[..] {
            [one] => vec![("Scenario", one.clone())],
            [] => Vec::new(),
            many => vec![("Scenarios", format!("{}, from {} to {}", many.len(), many[0], many[many.len() - 1]))],
        };
        let title = if let [one] = &self.origins[..] { format!("{one}: flowlapse run") } else { format!("{runs} runs: flowlapse run") };
        Page {
            command: "run",
            title,
            lead,
            facts,
            route: Vec::new(),
            tiles,
            tables: vec![Table { id: "runs", title: several(runs, "run", "runs"), note: String::new(), columns: COLUMNS.to_vec(), rows }],
            details: self.details,
            without: String::new(),
            charts: Vec::new(),
            policy: self.policy,
            remarks: vec!["Nothing here was captured: hosts, boxes and links are models, and time is that of the run.".to_owned()],
            reproduce,
        }
    }
}

const COLUMNS: [Column; 7] = [
    Column::new("Outcome", Kind::Mark),
    Column::new("Scenario", Kind::Text),
    Column::wide("Client", Kind::Text),
    Column::wide("Server", Kind::Text),
    Column::wide("Forgotten by", Kind::Text),
    Column::new("At", Kind::Number),
    Column::wide("Packets", Kind::Number),
];

fn one(story: &Story<'_>, outcome: &Outcome) -> [Cell; 5] {
    let lost = outcome.forgotten.first();
    let by = lost.map_or_else(Cell::none, |entry| {
        let label = &story.ready.net.path.hops[entry.hop].label;
        Cell::Text(format!("{label} {} after {}", entry.state, span(entry.timeout)))
    });
    let at = lost.map_or_else(Cell::none, |entry| {
        let span = Duration(entry.at.0);
        Cell::Number(Duration::from_secs(span.as_secs()).human(), span.as_secs_f64())
    });
    let packets = Cell::Number(outcome.packets.to_string(), f64::from(outcome.packets));
    [Cell::Text(side(outcome, 0)), Cell::Text(side(outcome, 1)), by, at, packets]
}

fn told(detail: &mut Detail, story: &Story<'_>, outcome: &Outcome) {
    for entry in &outcome.forgotten {
        let by = if entry.fate == Met::Evicted { String::new() } else { format!(" The timer: {}.", timer(entry, story)) };
        detail.said.push(format!("Forgotten {}.{by}", forgotten(entry, story)));
    }
    if outcome.forgotten.is_empty() && !story.ready.net.path.hops.is_empty() {
        detail.said.push("No box forgot the flow while it lived.".to_owned());
    }
    for (index, who) in ["client", "server"].into_iter().enumerate() {
        let text = side_text(&outcome.sides[index], story);
        detail.felt.push(Felt { who: who.to_owned(), text });
    }
}

/// The life of a scenario's single flow, from the picture of it.
pub fn life(lanes: &Lanes, outcome: &Outcome, most: usize) -> Life {
    let secs = |at: Instant| Duration(at.0).as_secs_f64();
    let mut life = Life::new(lanes, &[], most);
    if let Some(entry) = outcome.forgotten.iter().find(|entry| entry.fate != Met::Repicked) {
        let from = secs(entry.noticed.unwrap_or(entry.at));
        for (place, end) in outcome.sides.iter().enumerate() {
            let troubled = matches!(end.end, End::Failed(..) | End::GaveUp(..) | End::StillOpen(_));
            life.felt[place] = troubled.then(|| Feels { from, text: side(outcome, place) });
        }
    }
    life
}

/// The first lines of a text.
fn lines(text: &str) -> String {
    let count = text.lines().count();
    if count <= LINES_MAX {
        return text.to_owned();
    }
    let mut out: String = text.lines().take(LINES_MAX).flat_map(|line| [line, "\n"]).collect();
    out.push_str(&format!("… and {} more lines: flowlapse run with --timeline tells them all", count - LINES_MAX));
    out
}
