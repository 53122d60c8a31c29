//! How full a table is over time, as areas by state below its limit. It does not know the table.

use super::Chart;
use super::csv::Table;
use super::frame::{Frame, MARGIN, SIZE, heading};
use super::marks::Flags;
use super::scale::{Kind, Scale, count_ticks, grouped, short, time_ticks};
use super::sheet::{
    BLACK, BLUE, BODY, FAINT, GREEN, Hold, INK, ORANGE, PURPLE, Point, RED_TEXT, SKY, SMALL, SOFT, Sheet, VERMILLION, WHITE, YELLOW,
};
use super::text::width;
use plotters::style::RGBColor;

/// A second reading of the total, such as that of the whole population where a sample was simulated.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scaled {
    /// What it is.
    pub label: String,
    /// Entries at each time.
    pub values: Vec<f64>,
}

/// Entries in a table by state, against time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Occupancy {
    /// What it shows.
    pub title: String,
    /// More about it; may be empty.
    pub subtitle: String,
    /// The states, from the bottom up.
    pub states: Vec<String>,
    /// When entries were counted, seconds from the start, rising.
    pub times: Vec<f64>,
    /// For each state how many there were at each time.
    pub counts: Vec<Vec<u64>>,
    /// How many fit.
    pub limit: Option<u64>,
    /// What that limit is.
    pub limit_label: String,
    /// What happened: seconds from the start, and words.
    pub events: Vec<(f64, String)>,
    /// A line above the areas.
    pub total_scaled: Option<Scaled>,
}

/// Neighbours differ in lightness, so that the stack is read in greyscale too.
const COLOURS: [RGBColor; 9] = [SKY, BLUE, ORANGE, GREEN, YELLOW, VERMILLION, PURPLE, RGBColor(70, 70, 70), RGBColor(200, 200, 200)];
/// Width of the column of labels, pixels.
const LABELS: f64 = 190.0;
const LABEL_LINE: f64 = 17.0;

impl Occupancy {
    fn count(&self, state: usize, time: usize) -> f64 {
        self.counts.get(state).and_then(|row| row.get(time)).copied().unwrap_or(0) as f64
    }

    fn total(&self, time: usize) -> f64 {
        (0..self.states.len()).map(|state| self.count(state, time)).sum()
    }

    /// The times that are drawn: for each pixel the fullest, and the first and last of all.
    fn shown(&self, across: &Scale) -> Vec<usize> {
        let all: Vec<usize> = (0..self.times.len()).collect();
        let column = |time: &usize| across.at(self.times[*time]).round().to_bits();
        let fullest = |same: &[usize]| same.iter().copied().max_by(|a, b| self.total(*a).total_cmp(&self.total(*b)));
        let mut shown: Vec<usize> = all.chunk_by(|a, b| column(a) == column(b)).filter_map(fullest).collect();
        shown.extend(all.first().into_iter().chain(all.last()));
        shown.sort_unstable();
        shown.dedup();
        shown
    }
}

impl Chart for Occupancy {
    fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new(SIZE.0, SIZE.1, &self.title);
        let (left, right) = (84.0, f64::from(SIZE.0) - MARGIN - LABELS);
        let last = self.times.iter().copied().chain(self.events.iter().map(|e| e.0)).filter(|t| t.is_finite()).fold(0.0, f64::max);
        let first = self.times.first().copied().filter(|t| t.is_finite()).unwrap_or(0.0).min(last);
        let span = (first, if last > first { last } else { first + 60.0 });
        let across = Scale { kind: Kind::Linear, values: span, pixels: (left, right) };
        let flags = Flags::place(self.events.iter().map(|(at, label)| (across.at(*at), label.clone(), false)), (left, right));

        let scaled = || self.total_scaled.iter().flat_map(|s| s.values.iter().copied()).filter(|v| v.is_finite());
        let most = (0..self.times.len()).map(|time| self.total(time)).chain(scaled()).fold(0.0, f64::max);
        // A limit far above everything would press all areas flat.
        let near = self.limit.filter(|limit| *limit as f64 <= most.max(1.0) * 4.0);
        let far = self.limit.filter(|_| near.is_none());
        let far = far.map(|limit| format!("{}: {}, above the chart", self.limit_label, grouped(limit as f64)));
        let parts = [Some(self.subtitle.clone()).filter(|s| !s.is_empty()), far];
        let head = heading(&mut sheet, &self.title, &parts.into_iter().flatten().collect::<Vec<_>>().join(" · "));
        let frame = Frame { left, right, top: head + 26.0 + flags.height(), bottom: f64::from(SIZE.1) - 52.0 };
        let ceiling = most.max(near.unwrap_or(0) as f64) * 1.06;
        let up = Scale { kind: Kind::Linear, values: (0.0, ceiling.max(1.0)), pixels: (frame.bottom, frame.top) };
        let counts: Vec<(f64, String)> = count_ticks(Kind::Linear, ceiling, 7).into_iter().map(|n| (n, short(n))).collect();
        frame.up(&mut sheet, &up, &counts);
        flags.axis_title(&mut sheet, frame, "entries");
        flags.note(&mut sheet);
        frame.across(&mut sheet, &across, &time_ticks(span, 8), "time from the start");

        let shown = self.shown(&across);
        let mut labels = Vec::new();
        if shown.is_empty() || self.states.is_empty() {
            frame.nothing(&mut sheet, "nothing was counted");
        } else {
            labels = self.areas(&mut sheet, &across, &up, &shown);
        }
        flags.draw(&mut sheet, frame);
        if let Some(limit) = near {
            let y = up.at(limit as f64);
            sheet.dashes((left, y), (right, y), VERMILLION, 2.0);
            let label = format!("{} {}", self.limit_label, grouped(limit as f64));
            labels.push(Label { y, colour: None, ink: RED_TEXT, words: label });
        }
        if let Some(total) = &self.total_scaled {
            let points: Vec<Point> = shown
                .iter()
                .filter_map(|t| total.values.get(*t).filter(|v| v.is_finite()).map(|v| (across.at(self.times[*t]), up.at(*v))))
                .collect();
            sheet.line(&points, BLACK, 2.0);
            if let Some(end) = points.last() {
                labels.push(Label { y: end.1, colour: None, ink: INK, words: total.label.clone() });
            }
        }
        frame.base_line(&mut sheet);
        column(&mut sheet, frame, labels);
        sheet
    }

    fn csv(&self) -> String {
        let mut table = Table::new(&["kind", "seconds", "name", "entries"]);
        for (index, state) in self.states.iter().enumerate() {
            for (time, at) in self.times.iter().enumerate() {
                table.row(&["state", &at.to_string(), state, &self.count(index, time).to_string()]);
            }
        }
        if let Some(total) = &self.total_scaled {
            for (at, value) in self.times.iter().zip(&total.values) {
                table.row(&["total_scaled", &at.to_string(), &total.label, &value.to_string()]);
            }
        }
        if let Some(limit) = self.limit {
            table.row(&["limit", "", &self.limit_label, &limit.to_string()]);
        }
        for (at, label) in &self.events {
            table.row(&["event", &at.to_string(), label, ""]);
        }
        table.finish()
    }
}

/// What stands beside the frame, at the height of what it names.
pub(super) struct Label {
    pub(super) y: f64,
    pub(super) colour: Option<RGBColor>,
    pub(super) ink: RGBColor,
    pub(super) words: String,
}

impl Occupancy {
    /// Draws the areas and returns their labels, each at the middle of its area's right end.
    fn areas(&self, sheet: &mut Sheet, across: &Scale, up: &Scale, shown: &[usize]) -> Vec<Label> {
        let mut below: Vec<f64> = vec![0.0; shown.len()];
        let mut labels = Vec::new();
        let mut edges = Vec::new();
        for (state, name) in self.states.iter().enumerate() {
            let colour = COLOURS[state % COLOURS.len()];
            let above: Vec<f64> = shown.iter().zip(&below).map(|(time, base)| base + self.count(state, *time)).collect();
            let place = |heights: &[f64]| -> Vec<Point> {
                shown.iter().zip(heights).map(|(time, height)| (across.at(self.times[*time]), up.at(*height))).collect()
            };
            let (low, high) = (place(&below), place(&above));
            if let ([from], [to]) = (low.as_slice(), high.as_slice()) {
                // One time alone is a bar.
                sheet.rect((from.0, to.1), (from.0 + 24.0, from.1), colour);
            } else {
                strips(sheet, &low, &high, colour);
                edges.push(high);
            }
            let end = |heights: &[f64]| heights.last().map_or(0.0, |height| up.at(*height));
            labels.push(Label { y: f64::midpoint(end(&below), end(&above)), colour: Some(colour), ink: INK, words: name.clone() });
            below = above;
        }
        for edge in edges {
            sheet.line(&edge, WHITE, 1.0);
        }
        labels
    }
}

/// The area between two lines, without the stretches in which there is nothing between them.
fn strips(sheet: &mut Sheet, low: &[Point], high: &[Point], colour: RGBColor) {
    let thick = |index: usize| (low[index].1 - high[index].1).abs() > 0.01;
    let mut start = 0;
    while start + 1 < low.len() {
        if !thick(start) && !thick(start + 1) {
            start += 1;
            continue;
        }
        let mut end = start + 1;
        while end + 1 < low.len() && (thick(end) || thick(end + 1)) {
            end += 1;
        }
        let mut points = high[start..=end].to_vec();
        points.extend(low[start..=end].iter().rev());
        sheet.area(points, colour);
        start = end;
    }
}

/// Writes labels beside the frame without letting them touch, each with a thin line to what it names.
pub(super) fn column(sheet: &mut Sheet, frame: Frame, mut labels: Vec<Label>) {
    labels.sort_by(|a, b| b.y.total_cmp(&a.y));
    let mut places: Vec<f64> = Vec::new();
    let mut floor = frame.bottom + 2.0;
    for label in &labels {
        let y = label.y.min(floor);
        floor = y - LABEL_LINE;
        places.push(y);
    }
    // What was pushed out above comes down again, and pushes those below it.
    let mut roof = frame.top - 4.0;
    for y in places.iter_mut().rev() {
        *y = y.max(roof);
        roof = *y + LABEL_LINE;
    }
    for (label, y) in labels.iter().zip(places) {
        let x = frame.right + 14.0;
        sheet.line(&[(frame.right + 1.0, label.y), (x - 2.0, y)], FAINT, 1.0);
        let mut text = x + 2.0;
        if let Some(colour) = label.colour {
            sheet.rect((x, y - 6.0), (x + 12.0, y + 6.0), SOFT);
            sheet.rect((x + 0.5, y - 5.5), (x + 11.5, y + 5.5), colour);
            text = x + 18.0;
        }
        let size = if width(&label.words, BODY) > LABELS - 24.0 { SMALL } else { BODY };
        sheet.text((text, y + 4.0), Hold::Start, (size, label.ink), f64::from(sheet.width) - text - 6.0, &label.words);
    }
}
