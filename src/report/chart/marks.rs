//! Marks along a time axis: a line for each, with a flag that carries its label, in rows so that no two labels touch.
//!
//! It does not know what a mark means.

use super::csv::Table;
use super::frame::{Frame, MARGIN};
use super::sheet::{FAINT, Hold, RED_TEXT, SMALL, SOFT, Sheet, VERMILLION};
use super::text::{fit, width};

/// A time that is marked.
#[derive(Clone, PartialEq, Debug)]
pub struct Mark {
    /// The time, seconds.
    pub secs: f64,
    /// What it is.
    pub label: String,
    /// Whether it is in force; else it is one for comparison.
    pub strong: bool,
}

/// Height of a row of labels, pixels.
const ROW: f64 = 16.0;
const ROWS_MAX: usize = 7;
/// From the frame to the lowest row, pixels.
const LIFT: f64 = 6.0;
/// With more flags than this, a label that has given way does not come back.
const BACK_MAX: usize = 300;
/// From the line to its label, pixels.
const GAP: f64 = 4.0;
/// The widest label, pixels.
const WIDEST: f64 = 290.0;

/// A mark with its place: the label is at the right of its line or at the left of it.
#[derive(Clone, Debug)]
struct Flag {
    x: f64,
    label: String,
    strong: bool,
    left: bool,
    row: Option<usize>,
}

impl Flag {
    /// What its label covers.
    fn span(&self) -> (f64, f64) {
        let wide = width(&self.label, SMALL) + GAP + 6.0;
        if self.left { (self.x - wide, self.x) } else { (self.x, self.x + wide) }
    }
}

/// The flags above a frame.
pub(super) struct Flags {
    all: Vec<Flag>,
    rows: usize,
    /// How many labels found no room.
    omitted: usize,
}

impl Flags {
    /// Places the labels of marks (pixel, label, strong) between two edges; where there is no room for all, the strong stay.
    pub(super) fn place(marks: impl Iterator<Item = (f64, String, bool)>, edges: (f64, f64)) -> Flags {
        Flags::place_within(marks, edges, WIDEST.min((edges.1 - edges.0) / 2.0))
    }

    /// The same for a few marks with sentences: each may reach over half of the sheet.
    pub(super) fn place_wide(marks: impl Iterator<Item = (f64, String, bool)>, edges: (f64, f64)) -> Flags {
        Flags::place_within(marks, edges, (edges.1 - edges.0) / 2.0)
    }

    fn place_within(marks: impl Iterator<Item = (f64, String, bool)>, edges: (f64, f64), widest: f64) -> Flags {
        let mut flags: Vec<Flag> =
            marks.map(|(x, label, strong)| Flag { x, label: fit(&label, SMALL, widest), strong, left: false, row: Some(0) }).collect();
        flags.sort_by(|a, b| a.x.total_cmp(&b.x).then_with(|| b.strong.cmp(&a.strong)));
        let mut rows = arrange(&mut flags, edges);
        while rows > ROWS_MAX {
            thin(&mut flags);
            rows = arrange(&mut flags, edges);
        }
        if flags.len() <= BACK_MAX {
            bring_back(&mut flags, edges);
            rows = arrange(&mut flags, edges);
        }
        let omitted = flags.iter().filter(|f| f.row.is_none()).count();
        Flags { all: flags, rows, omitted }
    }

    /// The height of all rows above the frame, pixels.
    pub(super) fn height(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { self.rows as f64 * ROW + LIFT }
    }

    /// Writes the title of the vertical axis: on the frame, or above all flags where one stands in its way.
    pub(super) fn axis_title(&self, sheet: &mut Sheet, frame: Frame, title: &str) {
        let end = MARGIN + width(title, SMALL) + 12.0;
        let in_way = self.all.iter().any(|f| f.row.is_some() && f.span().0.min(f.x) < end);
        let y = frame.top - 10.0 - if in_way { self.height() + 2.0 } else { 0.0 };
        sheet.text((MARGIN, y), Hold::Start, (SMALL, SOFT), frame.right - frame.left, title);
    }

    /// Says at the lower right how many labels found no room.
    pub(super) fn note(&self, sheet: &mut Sheet) {
        let note = match self.omitted {
            0 => return,
            1 => "1 mark without its label".to_owned(),
            n => format!("{n} marks without their labels"),
        };
        let at = (f64::from(sheet.width) - MARGIN, f64::from(sheet.height) - 12.0);
        sheet.text(at, Hold::End, (SMALL, SOFT), 260.0, &note);
    }

    /// Draws lines and labels; the rows stand on the frame.
    pub(super) fn draw(&self, sheet: &mut Sheet, frame: Frame) {
        for flag in self.all.iter().filter(|f| !f.strong).chain(self.all.iter().filter(|f| f.strong)) {
            let (colour, ink, thick) = if flag.strong { (VERMILLION, RED_TEXT, 2.5) } else { (FAINT, SOFT, 1.0) };
            let top = flag.row.map_or(frame.top, |row| frame.top - LIFT - (row as f64 + 0.75) * ROW);
            sheet.line(&[(flag.x, frame.bottom), (flag.x, top)], colour, thick);
            if let Some(row) = flag.row {
                let (x, hold) = if flag.left { (flag.x - GAP, Hold::End) } else { (flag.x + GAP, Hold::Start) };
                sheet.text((x, frame.top - LIFT - row as f64 * ROW - 4.0), hold, (SMALL, ink), f64::from(sheet.width), &flag.label);
            }
        }
    }
}

/// Takes the label from every second flag, of the weak as long as there are any.
fn thin(flags: &mut [Flag]) {
    let strong = !flags.iter().any(|f| !f.strong && f.row.is_some());
    let shown: Vec<usize> = (0..flags.len()).filter(|i| flags[*i].row.is_some() && flags[*i].strong == strong).collect();
    for index in shown.into_iter().step_by(2) {
        flags[index].row = None;
    }
}

/// Gives labels back to flags that lost them, the strong first, where there is room after all.
fn bring_back(flags: &mut Vec<Flag>, edges: (f64, f64)) {
    let shown = |flags: &[Flag]| flags.iter().filter(|f| f.row.is_some()).count();
    let mut lost: Vec<usize> = (0..flags.len()).filter(|i| flags[*i].row.is_none()).collect();
    lost.sort_by_key(|i| !flags[*i].strong);
    for index in lost {
        let mut tried = flags.clone();
        tried[index].row = Some(0);
        if arrange(&mut tried, edges) <= ROWS_MAX && shown(&tried) > shown(flags) {
            *flags = tried;
        }
    }
}

/// Gives every flag that is shown a side and a row and returns how many rows there are.
///
/// A line runs through all rows below its own, so a label must be above every line that it covers. Labels at the right are
/// placed from the right on, then those at the left from the left on; a label at the right that would cover the line of one
/// at the left goes to the left as well, so that no two wait for each other.
fn arrange(flags: &mut [Flag], (left, right): (f64, f64)) -> usize {
    let mut leftmost_left = f64::INFINITY;
    for index in (0..flags.len()).rev() {
        if flags[index].row.is_none() {
            continue;
        }
        flags[index].left = false;
        let (_, end) = flags[index].span();
        if end > right || end > leftmost_left {
            flags[index].left = true;
            if flags[index].span().0 < left {
                flags[index].row = None;
                continue;
            }
            leftmost_left = leftmost_left.min(flags[index].x);
        }
    }
    let mut placed: Vec<usize> = Vec::new();
    let rightward = (0..flags.len()).rev().filter(|i| !flags[*i].left);
    let leftward = (0..flags.len()).filter(|i| flags[*i].left);
    let order: Vec<usize> = rightward.chain(leftward).filter(|i| flags[*i].row.is_some()).collect();
    for index in order {
        let (from, to) = flags[index].span();
        let touches = |other: &Flag| {
            let (a, b) = other.span();
            a < to && from < b || (from - GAP..=to + GAP).contains(&other.x)
        };
        let below = placed.iter().filter(|i| touches(&flags[**i])).filter_map(|i| flags[*i].row).max();
        flags[index].row = Some(below.map_or(0, |row| row + 1));
        placed.push(index);
    }
    flags.iter().filter_map(|f| f.row).max().map_or(0, |row| row + 1)
}

/// Rows of CSV: kind, seconds, then empty fields up to the label.
pub(super) fn rows(table: &mut Table, marks: &[Mark], empty: usize) {
    for mark in marks {
        let mut row = vec![if mark.strong { "in force" } else { "preset" }.to_owned(), mark.secs.to_string()];
        row.extend(std::iter::repeat_n(String::new(), empty));
        row.push(mark.label.clone());
        table.row(&row);
    }
}
