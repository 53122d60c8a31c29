//! How many flows each value of an idle timer would keep. It does not know where the shares come from.

use super::Chart;
use super::csv::Table;
use super::frame::{Frame, MARGIN, SIZE, heading};
use super::marks::{Flags, Mark, rows};
use super::scale::{Kind, Scale, log_time, log_time_ticks};
use super::sheet::{BLUE, Sheet, VERMILLION, WHITE};

/// One step of the curve: with a timer of `secs` seconds or more, this share of the flows is kept.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// The timer, seconds.
    pub secs: f64,
    /// The share of flows kept, per cent.
    pub kept: f64,
}

/// The share of flows that an idle timer keeps, against the timer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Survival {
    /// What it shows.
    pub title: String,
    /// More about it; may be empty.
    pub subtitle: String,
    /// What the timer is; an idle timer of open connections where nothing is said.
    pub across: String,
    /// The curve, rising.
    pub steps: Vec<Step>,
    /// Timers in force, and others for comparison.
    pub marks: Vec<Mark>,
    /// Whether nothing is known below the first step: the curve begins there, and not at nothing.
    pub sampled: bool,
}

impl Survival {
    /// The share that a timer of `secs` seconds keeps, per cent; nothing where there are no flows.
    fn kept(&self, secs: f64) -> Option<f64> {
        let last = self.steps.last()?;
        let before = self.steps.iter().rfind(|step| step.secs <= secs).map(|step| step.kept);
        // Of values that were sampled nothing is known before the first and beyond the last.
        if self.sampled { before.filter(|_| secs <= last.secs) } else { Some(before.unwrap_or(0.0)) }
    }
}

impl Chart for Survival {
    fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new(SIZE.0, SIZE.1, &self.title);
        let (left, right) = (64.0, f64::from(SIZE.0) - MARGIN);
        let times = self.steps.iter().map(|s| s.secs).chain(self.marks.iter().map(|m| m.secs));
        let across = log_time(times, (left, right));
        let label = |mark: &Mark| match self.kept(mark.secs) {
            Some(kept) if mark.strong => format!("{} → keeps {}", mark.label, percent(kept)),
            _ => mark.label.clone(),
        };
        let flags = Flags::place(self.marks.iter().map(|m| (across.at(m.secs), label(m), m.strong)), (left, right));
        let head = heading(&mut sheet, &self.title, &self.subtitle);
        let frame = Frame { left, right, top: head + 26.0 + flags.height(), bottom: f64::from(SIZE.1) - 52.0 };
        let up = Scale { kind: Kind::Linear, values: (0.0, 103.0), pixels: (frame.bottom, frame.top) };
        let shares: Vec<(f64, String)> = [0.0, 25.0, 50.0, 75.0, 100.0].iter().map(|share| (*share, format!("{share}%"))).collect();
        frame.up(&mut sheet, &up, &shares);
        flags.axis_title(&mut sheet, frame, "flows kept, %");
        flags.note(&mut sheet);
        let title = if self.across.is_empty() { "idle timer of open connections (logarithmic)" } else { &self.across };
        frame.across(&mut sheet, &across, &log_time_ticks(&across), title);
        flags.draw(&mut sheet, frame);
        frame.base_line(&mut sheet);
        if self.steps.is_empty() {
            frame.nothing(&mut sheet, "no flow with a silence to measure");
            return sheet;
        }
        let mut points = if self.sampled { Vec::new() } else { vec![(left, up.at(0.0))] };
        let mut level = up.at(self.steps.first().filter(|_| self.sampled).map_or(0.0, |first| first.kept));
        for step in &self.steps {
            let x = across.at(step.secs);
            points.push((x, level));
            level = up.at(step.kept);
            points.push((x, level));
        }
        if !self.sampled {
            points.push((right, level));
        }
        sheet.line(&points, BLUE, 2.5);
        for mark in self.marks.iter().filter(|mark| mark.strong) {
            let Some(kept) = self.kept(mark.secs) else { continue };
            let at = (across.at(mark.secs), up.at(kept));
            sheet.dot(at, 6.0, WHITE);
            sheet.dot(at, 4.5, VERMILLION);
        }
        sheet
    }

    fn csv(&self) -> String {
        let mut table = Table::new(&["kind", "seconds", "kept_percent", "label"]);
        for step in &self.steps {
            table.row(&["step", &step.secs.to_string(), &step.kept.to_string(), ""]);
        }
        rows(&mut table, &self.marks, 1);
        table.finish()
    }
}

/// A share as people read it; what is not nothing and not all is never written as if it were.
pub(super) fn percent(share: f64) -> String {
    let rounded = share.round();
    if (rounded <= 0.0 && share > 0.0) || (rounded >= 100.0 && share < 100.0) || (share < 10.0 && share > 0.0) {
        let fine = (share * 10.0).round() / 10.0;
        return if fine <= 0.0 {
            "less than 0.1%".to_owned()
        } else if fine >= 100.0 {
            "over 99.9%".to_owned()
        } else {
            format!("{fine}%")
        };
    }
    format!("{rounded}%")
}
