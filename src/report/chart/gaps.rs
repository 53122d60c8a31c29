//! How long flows are silent, as a histogram beside the timers that could forget them. It does not know the flows.

use super::Chart;
use super::csv::Table;
use super::frame::{Frame, MARGIN, SIZE, heading};
use super::marks::{Flags, Mark, rows};
use super::scale::{Kind, Scale, count_ticks, log_time, log_time_ticks, short};
use super::sheet::{BLUE, BODY, Hold, INK, SKY, Sheet, WHITE};
use super::text::width;

/// The gaps of one range of lengths.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GapBin {
    /// The shortest length, seconds.
    pub from_secs: f64,
    /// The length that is too long, seconds.
    pub to_secs: f64,
    /// Gaps of which sequence numbers prove that nothing was sent.
    pub proven: u64,
    /// Gaps of which that is not known.
    pub unknown: u64,
}

/// The distribution of idle gaps, against the timers.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Gaps {
    /// What it shows.
    pub title: String,
    /// More about it; may be empty.
    pub subtitle: String,
    /// The ranges, rising.
    pub bins: Vec<GapBin>,
    /// Timers in force, and others for comparison.
    pub marks: Vec<Mark>,
}

impl Chart for Gaps {
    fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new(SIZE.0, SIZE.1, &self.title);
        let (left, right) = (84.0, f64::from(SIZE.0) - MARGIN);
        let full = |bin: &GapBin| bin.proven.saturating_add(bin.unknown);
        let seen = || self.bins.iter().filter(|bin| full(bin) > 0);
        let times = seen().flat_map(|bin| [bin.from_secs, bin.to_secs]).chain(self.marks.iter().map(|m| m.secs));
        let across = log_time(times.filter(|s| *s > 0.0), (left, right));
        let flags = Flags::place(self.marks.iter().map(|m| (across.at(m.secs), m.label.clone(), m.strong)), (left, right));
        let head = heading(&mut sheet, &self.title, &self.subtitle);
        legend(&mut sheet, head + 8.0);
        let frame = Frame { left, right, top: head + 50.0 + flags.height(), bottom: f64::from(SIZE.1) - 52.0 };

        let most = seen().map(full).max().unwrap_or(0) as f64;
        let least = seen().map(full).min().unwrap_or(0) as f64;
        let (kind, how) = match most / least.max(1.0) {
            spread if spread > 5000.0 => (Kind::LogCount, ", logarithmic"),
            spread if spread > 50.0 => (Kind::Root, ", square-root scale"),
            _ => (Kind::Linear, ""),
        };
        let up = Scale { kind, values: (0.0, (most * 1.05).max(1.0)), pixels: (frame.bottom, frame.top) };
        let counts: Vec<(f64, String)> = count_ticks(kind, most, 5).into_iter().map(|n| (n, short(n))).collect();
        frame.up(&mut sheet, &up, &counts);
        flags.axis_title(&mut sheet, frame, &format!("gaps{how}"));
        flags.note(&mut sheet);
        frame.across(&mut sheet, &across, &log_time_ticks(&across), "length of the gap (logarithmic)");
        for bin in seen() {
            let (from, to) = (across.at(bin.from_secs), across.at(bin.to_secs));
            let to = (to - 1.0).max(from + 1.0);
            // What is not nothing is seen, however little it is.
            let top = up.at(full(bin) as f64).min(frame.bottom - 2.0);
            let between = if bin.unknown == 0 { top } else { up.at(bin.proven as f64).max(top + 2.0).min(frame.bottom) };
            if bin.unknown > 0 {
                sheet.rect((from, top), (to, between), SKY);
                sheet.hatch((from, top), (to, between), WHITE);
                sheet.outline((from, top), (to, between), SKY, 1.0);
            }
            if bin.proven > 0 {
                sheet.rect((from, between), (to, frame.bottom), BLUE);
            }
        }
        flags.draw(&mut sheet, frame);
        frame.base_line(&mut sheet);
        if seen().next().is_none() {
            frame.nothing(&mut sheet, "no gaps");
        }
        sheet
    }

    fn csv(&self) -> String {
        let mut table = Table::new(&["kind", "from_seconds", "to_seconds", "proven", "unknown", "label"]);
        for bin in &self.bins {
            let numbers = [bin.from_secs.to_string(), bin.to_secs.to_string(), bin.proven.to_string(), bin.unknown.to_string()];
            let [from, to, proven, unknown] = &numbers;
            table.row(&["bin", from, to, proven, unknown, ""]);
        }
        rows(&mut table, &self.marks, 3);
        table.finish()
    }
}

fn legend(sheet: &mut Sheet, y: f64) {
    let mut x = MARGIN;
    for (words, proven) in [("proven: nothing was sent meanwhile", true), ("not known: packets may be missing", false)] {
        let (from, to) = ((x, y - 10.0), (x + 16.0, y + 2.0));
        sheet.rect(from, to, if proven { BLUE } else { SKY });
        if !proven {
            sheet.hatch(from, to, WHITE);
        }
        sheet.text((x + 22.0, y), Hold::Start, (BODY, INK), 260.0, words);
        x += 22.0 + width(words, BODY) + 24.0;
    }
}
