//! How many entries a table holds over time under several policies, as a line each. It does not know the table.

use super::Chart;
use super::csv::Table;
use super::frame::{Frame, MARGIN, SIZE, heading};
use super::occupancy::{Label, column};
use super::scale::{Kind, Scale, count_ticks, short, time_ticks};
use super::sheet::{BLACK, BLUE, GREEN, INK, ORANGE, PURPLE, Point, SKY, Sheet, VERMILLION};
use plotters::style::RGBColor;

/// Entries over time under one policy.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EntriesLine {
    /// The policy.
    pub label: String,
    /// Entries at each time.
    pub counts: Vec<u64>,
}

/// Entries over time, a line for each policy.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Entries {
    /// What it shows.
    pub title: String,
    /// When entries were counted, seconds from the start, rising.
    pub times: Vec<f64>,
    /// The policies, in their order.
    pub lines: Vec<EntriesLine>,
}

/// From light to dark and back, so that neighbours differ in greyscale too.
const COLOURS: [RGBColor; 7] = [SKY, BLUE, ORANGE, GREEN, VERMILLION, PURPLE, BLACK];
/// Width of the column of labels, pixels.
const LABELS: f64 = 190.0;

impl Entries {
    /// The lines that are drawn: as many as can be told apart, evenly chosen, the first and the last among them.
    fn shown(&self) -> Vec<usize> {
        let last = self.lines.len().saturating_sub(1);
        let most = COLOURS.len() - 1;
        let mut shown: Vec<usize> = (0..=most).map(|step| last * step / most).collect();
        shown.dedup();
        shown.retain(|index| *index < self.lines.len());
        shown
    }
}

impl Chart for Entries {
    fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new(SIZE.0, SIZE.1, &self.title);
        let (left, right) = (84.0, f64::from(SIZE.0) - MARGIN - LABELS);
        let shown = self.shown();
        let subtitle = if shown.len() < self.lines.len() {
            format!("{} of {} policies; the CSV has all", shown.len(), self.lines.len())
        } else {
            String::new()
        };
        let top = heading(&mut sheet, &self.title, &subtitle);
        let frame = Frame { left, right, top: top + 26.0, bottom: f64::from(SIZE.1) - 52.0 };
        let first = self.times.first().copied().unwrap_or(0.0);
        let last = self.times.last().copied().filter(|last| *last > first).unwrap_or(first + 60.0);
        let across = Scale { kind: Kind::Linear, values: (first, last), pixels: (left, right) };
        let most = shown.iter().flat_map(|index| self.lines[*index].counts.iter()).max().copied().unwrap_or(0) as f64;
        let ceiling = (most * 1.06).max(1.0);
        let up = Scale { kind: Kind::Linear, values: (0.0, ceiling), pixels: (frame.bottom, frame.top) };
        let counts: Vec<(f64, String)> = count_ticks(Kind::Linear, ceiling, 7).into_iter().map(|n| (n, short(n))).collect();
        frame.up(&mut sheet, &up, &counts);
        frame.across(&mut sheet, &across, &time_ticks((first, last), 8), "time from the start");
        if shown.is_empty() || self.times.is_empty() {
            frame.nothing(&mut sheet, "nothing was counted");
            return sheet;
        }
        let mut labels = Vec::new();
        for (place, index) in shown.iter().enumerate() {
            let (line, colour) = (&self.lines[*index], COLOURS[place % COLOURS.len()]);
            let points: Vec<Point> =
                self.times.iter().zip(&line.counts).map(|(at, count)| (across.at(*at), up.at(*count as f64))).collect();
            sheet.line(&points, colour, 2.0);
            let y = points.last().map_or(frame.bottom, |end| end.1);
            labels.push(Label { y, colour: Some(colour), ink: INK, words: line.label.clone() });
        }
        frame.base_line(&mut sheet);
        column(&mut sheet, frame, labels);
        sheet
    }

    fn csv(&self) -> String {
        let mut table = Table::new(&["policy", "seconds", "entries"]);
        for line in &self.lines {
            for (at, count) in self.times.iter().zip(&line.counts) {
                table.row(&[&line.label, &at.to_string(), &count.to_string()]);
            }
        }
        table.finish()
    }
}
