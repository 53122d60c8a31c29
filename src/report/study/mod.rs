//! Studies of many policies to bytes: sweeps, differences, recommendations. Nothing here counts or judges.

pub mod closed;
pub mod diff;
pub mod sweep;
pub mod tune;

use crate::engine::{Hop, Path};
use crate::finding::symptom::Feeling;
use crate::report::printable;
use crate::study::tally::Tally;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};
use std::fmt::Write;

/// What a cut flow is counted as: the worst that one of its ends feels.
const FEELINGS: [(Feeling, &str); 5] = [
    (Feeling::Timeout, "TIMEOUT"),
    (Feeling::KeepaliveTimeout, "PROBES LOST"),
    (Feeling::Reset, "RESET"),
    (Feeling::Lost, "LOST"),
    (Feeling::Hang, "HANG"),
];

/// Cut flows by the worst that an end feels, in the order of [`FEELINGS`].
fn by_feeling(tally: &Tally) -> [u64; 5] {
    let mut counts = [0; 5];
    for (feelings, count) in &tally.symptoms {
        if let Some(place) = FEELINGS.iter().position(|(feeling, _)| feelings.contains(feeling)) {
            counts[place] += count;
        }
    }
    counts
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// The memory that so many entries take at a box.
fn memory(hop: &Hop, entries: u64) -> Option<u64> {
    hop.entry_bytes().map(|bytes| bytes.saturating_mul(entries))
}

/// A number of entries that need not be whole.
fn mean(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// A plain table whose columns are aligned to the right, but for some.
pub(in crate::report) struct Rows {
    table: Table,
    columns: usize,
    left: Vec<usize>,
}

impl Rows {
    /// A table with these heads; the columns in `left` hold words.
    pub(in crate::report) fn new(head: &[String], left: &[usize]) -> Rows {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(head);
        Rows { table, columns: head.len(), left: left.to_vec() }
    }

    pub(in crate::report) fn add(&mut self, row: Vec<String>) {
        self.table.add_row(row);
    }

    pub(in crate::report) fn write(mut self, out: &mut String) {
        for index in (0..self.columns).filter(|index| !self.left.contains(index)) {
            if let Some(column) = self.table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in self.table.lines() {
            // The padding of the first column is no indent.
            let line = line.strip_prefix(' ').unwrap_or(&line);
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

/// A box in a word or two: its place, where there are several, and its kind or preset.
fn short_name(path: &Path, hop: usize) -> String {
    let label = path.hops.get(hop).map_or("", |hop| hop.label.as_str());
    let kind = printable(label.split(':').next().unwrap_or(label));
    if path.hops.len() > 1 { format!("{}.{kind}", hop + 1) } else { kind }
}
