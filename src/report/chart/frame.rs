//! What all charts with axes have around them: title, grid, labels of axes. It does not know what is drawn inside.

use super::scale::Scale;
use super::sheet::{BODY, GRID, Hold, INK, SOFT, Sheet, TITLE};
use super::text::width;

/// The space inside the axes, pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// The usual size of a chart, pixels.
pub(super) const SIZE: (u32, u32) = (960, 540);
/// Room at the edges, pixels.
pub(super) const MARGIN: f64 = 20.0;

/// Writes title and subtitle and returns how much height they take, pixels.
pub(super) fn heading(sheet: &mut Sheet, title: &str, subtitle: &str) -> f64 {
    let room = f64::from(sheet.width) - 2.0 * MARGIN;
    sheet.text((MARGIN, 30.0), Hold::Start, (TITLE, INK), room, title);
    if subtitle.is_empty() {
        return 42.0;
    }
    sheet.text((MARGIN, 50.0), Hold::Start, (BODY, SOFT), room, subtitle);
    62.0
}

impl Frame {
    /// The line around, thin.
    pub(super) fn base_line(&self, sheet: &mut Sheet) {
        sheet.line(&[(self.left, self.bottom), (self.right, self.bottom)], INK, 1.0);
    }

    /// Labels below with lines up through the frame; a label that would touch an earlier one is left out.
    pub(super) fn across(&self, sheet: &mut Sheet, scale: &Scale, ticks: &[(f64, String)], title: &str) {
        let mut taken: Vec<(f64, f64)> = Vec::new();
        for (value, label) in ticks {
            let x = scale.at(*value);
            let half = width(label, BODY) / 2.0 + 7.0;
            if taken.iter().any(|(from, to)| x + half > *from && x - half < *to) {
                continue;
            }
            taken.push((x - half, x + half));
            sheet.line(&[(x, self.top), (x, self.bottom)], GRID, 1.0);
            sheet.line(&[(x, self.bottom), (x, self.bottom + 4.0)], INK, 1.0);
            sheet.text((x, self.bottom + 18.0), Hold::Middle, (BODY, INK), 120.0, label);
        }
        let middle = f64::midpoint(self.left, self.right);
        sheet.text((middle, self.bottom + 38.0), Hold::Middle, (BODY, SOFT), self.right - self.left, title);
    }

    /// Labels at the left with lines through the frame.
    pub(super) fn up(&self, sheet: &mut Sheet, scale: &Scale, ticks: &[(f64, String)]) {
        let mut last = f64::INFINITY;
        for (value, label) in ticks {
            let y = scale.at(*value);
            if last - y < 14.0 {
                continue;
            }
            last = y;
            sheet.line(&[(self.left, y), (self.right, y)], GRID, 1.0);
            sheet.text((self.left - 7.0, y + 4.0), Hold::End, (BODY, INK), self.left - 10.0, label);
        }
    }

    /// What is said in an empty frame.
    pub(super) fn nothing(&self, sheet: &mut Sheet, what: &str) {
        let at = (f64::midpoint(self.left, self.right), f64::midpoint(self.top, self.bottom));
        sheet.text(at, Hold::Middle, (TITLE, SOFT), self.right - self.left, what);
    }
}
