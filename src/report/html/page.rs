//! What a page holds, in plain types: who makes a page fills them, who writes it knows nothing else.
//!
//! Texts are as they were read; whoever writes them makes what could mislead visible and escapes the rest.

use super::life::Life;
use serde::Serialize;

/// How good or bad something is, for its colour; a word always says it too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// Something is lost.
    Bad,
    /// Something may be lost.
    Warn,
    /// As it should be.
    Good,
    /// Neither.
    Plain,
}

impl Tone {
    /// The end of its class name.
    pub const fn name(self) -> &'static str {
        match self {
            Tone::Bad => "bad",
            Tone::Warn => "warn",
            Tone::Good => "good",
            Tone::Plain => "plain",
        }
    }
}

/// A number at the top of a page.
#[derive(Clone, PartialEq, Debug)]
pub struct Tile {
    /// The number.
    pub value: String,
    /// What it counts.
    pub label: String,
    /// Its colour.
    pub tone: Tone,
    /// The mark of the rows that it counts, where a table has such rows.
    pub mark: Option<String>,
}

/// How a column is sorted and set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A mark, sorted by its number.
    Mark,
    /// Words.
    Text,
    /// A number, sorted by it.
    Number,
}

/// A column of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Column {
    /// What stands above it.
    pub label: &'static str,
    /// How it is sorted and set.
    pub kind: Kind,
    /// Whether a narrow screen goes without it.
    pub wide: bool,
}

impl Column {
    /// A column that every screen shows.
    pub const fn new(label: &'static str, kind: Kind) -> Column {
        Column { label, kind, wide: false }
    }

    /// A column that a narrow screen goes without.
    pub const fn wide(label: &'static str, kind: Kind) -> Column {
        Column { label, kind, wide: true }
    }
}

/// A field of a table.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Words alone.
    Text(String),
    /// What is read, and the number by which it is sorted.
    Number(String, f64),
}

impl Cell {
    /// Nothing is known.
    pub fn none() -> Cell {
        Cell::Text("–".to_owned())
    }

    /// What is read.
    pub fn text(&self) -> &str {
        match self {
            Cell::Text(text) | Cell::Number(text, _) => text,
        }
    }
}

/// A row of a table. Its first field is a mark such as a verdict, its second what the row is about, in one line or two.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// What a link calls it: `tcp.3`.
    pub id: String,
    /// The colour of its mark.
    pub tone: Tone,
    /// The place of what is told about it.
    pub detail: Option<usize>,
    /// Its fields.
    pub cells: Vec<Cell>,
}

/// A table.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Table {
    /// What links call it.
    pub id: &'static str,
    /// What stands above it.
    pub title: String,
    /// What is to be known about it; may be empty.
    #[serde(skip)]
    pub note: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, the worst first.
    pub rows: Vec<Row>,
}

/// What somebody felt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Felt {
    /// Who.
    pub who: String,
    /// What.
    pub text: String,
}

/// Something that would have helped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cure {
    /// A line to paste.
    pub line: String,
    /// What to know about it; may be empty.
    pub note: String,
}

/// A longer text that is folded away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct More {
    /// What it is.
    pub title: String,
    /// The text, with its lines.
    pub text: String,
    /// Whether it is unfolded from the start.
    pub open: bool,
}

/// Everything that is told about one row.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Detail {
    /// What it is about.
    pub name: String,
    /// The mark of its row.
    pub badge: String,
    /// The mark's colour.
    pub tone: Tone,
    /// What happened, in sentences.
    pub said: Vec<String>,
    /// What each end felt.
    pub felt: Vec<Felt>,
    /// What would have helped.
    pub cures: Vec<Cure>,
    /// What to know before believing it.
    pub notes: Vec<String>,
    /// The life as a picture.
    pub life: Option<Life>,
    /// Why there is no picture, where there is none; may be empty.
    pub without: String,
    /// Longer texts.
    pub more: Vec<More>,
}

/// A chart that the page draws itself.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Chart {
    /// How much each timer would keep.
    Survival(Survival),
    /// What a table holds over time.
    Occupancy(Occupancy),
}

impl Chart {
    /// What it shows.
    pub fn title(&self) -> &str {
        match self {
            Chart::Survival(chart) => &chart.title,
            Chart::Occupancy(chart) => &chart.title,
        }
    }

    /// More about it; may be empty.
    pub fn note(&self) -> &str {
        match self {
            Chart::Survival(chart) => &chart.note,
            Chart::Occupancy(chart) => &chart.note,
        }
    }
}

/// How much each timer would keep.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Survival {
    /// What it shows.
    pub title: String,
    /// More about it.
    #[serde(skip)]
    pub note: String,
    /// What the timer is.
    pub across: String,
    /// Whether nothing is known below the first step and beyond the last.
    pub sampled: bool,
    /// Timers in seconds, rising, each with the share that it keeps, per cent.
    pub steps: Vec<(f64, f64)>,
    /// Timers in force, and others for comparison.
    pub marks: Vec<Mark>,
}

/// A timer that is marked.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Mark {
    /// Seconds.
    pub at: f64,
    /// What it is.
    pub label: String,
    /// Whether it is in force.
    pub strong: bool,
}

/// What a table holds over time.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Occupancy {
    /// What it shows.
    pub title: String,
    /// More about it.
    #[serde(skip)]
    pub note: String,
    /// The states, from the bottom up.
    pub states: Vec<String>,
    /// When entries were counted, seconds, rising.
    pub times: Vec<f64>,
    /// For each state how many there were at each time.
    pub counts: Vec<Vec<u64>>,
    /// How many fit.
    pub limit: Option<u64>,
    /// What that limit is.
    pub limit_label: String,
    /// What happened.
    pub events: Vec<Event>,
}

/// Something that happened to a table.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Event {
    /// Seconds.
    pub at: f64,
    /// What.
    pub text: String,
}

/// A setting of a box.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name, as the box's own tools call it.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where that comes from.
    pub origin: String,
    /// Whether somebody gave it, and it is no default.
    pub given: bool,
}

/// A box and its settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyBox {
    /// How reports call it.
    pub label: String,
    /// What it is, in a few words.
    pub what: String,
    /// Its settings.
    pub settings: Vec<Setting>,
}

/// A page.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// The command that made it.
    pub command: &'static str,
    /// The title of the window.
    pub title: String,
    /// The answer in a sentence.
    pub lead: String,
    /// What was read, as names and values.
    pub facts: Vec<(&'static str, String)>,
    /// The boxes between client and server; empty where there is no one path.
    pub route: Vec<String>,
    /// Numbers.
    pub tiles: Vec<Tile>,
    /// Tables.
    pub tables: Vec<Table>,
    /// What is told about rows.
    pub details: Vec<Detail>,
    /// What stands in place of the details of a row that has none.
    pub without: String,
    /// Charts.
    pub charts: Vec<Chart>,
    /// The boxes with their settings.
    pub policy: Vec<PolicyBox>,
    /// What was left out, and what else to know.
    pub remarks: Vec<String>,
    /// Command lines that give the same answer.
    pub reproduce: Vec<String>,
}

impl Page {
    /// The same, and where it is of something that was interrupted it says so before everything else.
    #[must_use]
    pub fn interrupted(mut self, is_so: bool) -> Page {
        if is_so {
            self.lead = format!("Interrupted: this is what was known by then. {}", self.lead);
        }
        self
    }
}
