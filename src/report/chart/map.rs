//! What becomes of each pair of two settings: words or a share for each cell, as a picture and in characters.
//!
//! It does not know what is run for a cell.

use super::Chart;
use super::csv::Table;
use super::frame::{MARGIN, heading};
use super::sheet::{BLACK, BLUE, BODY, GREEN, Hold, INK, ORANGE, PURPLE, SKY, SMALL, SOFT, Sheet, TITLE, VERMILLION, WHITE, YELLOW};
use super::text::{fit, width};
use plotters::style::RGBColor;
use std::fmt::Write;

/// One axis of a map: the setting, and its values in rising order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Axis {
    /// The setting.
    pub name: String,
    /// What its values count, such as `s`; may be empty.
    pub unit: String,
    /// Its values.
    pub values: Vec<f64>,
}

/// What the cells hold, row by row from the first value of the vertical axis.
#[derive(Clone, PartialEq, Debug)]
pub enum Cells {
    /// One of several words.
    Words {
        /// For each cell an index into `legend`.
        cells: Vec<usize>,
        /// What can become of one, what is harmless first.
        legend: Vec<String>,
    },
    /// A share.
    Shares {
        /// For each cell a share, per cent; one that is no number is left white.
        cells: Vec<f64>,
        /// What it is a share of.
        label: String,
    },
}

/// A map: what became of each pair of values.
#[derive(Clone, PartialEq, Debug)]
pub struct Map {
    /// What it shows.
    pub title: String,
    /// More about it; may be empty.
    pub subtitle: String,
    /// The horizontal setting.
    pub across: Axis,
    /// The vertical one.
    pub up: Axis,
    /// What became of each pair.
    pub cells: Cells,
}

/// The harmless first; the first five differ in lightness too.
const COLOURS: [RGBColor; 8] = [SKY, VERMILLION, YELLOW, BLUE, PURPLE, GREEN, ORANGE, RGBColor(120, 120, 120)];
/// Signs for the same in text.
const SIGNS: [char; 8] = ['.', '#', 'o', '+', 'x', '*', '%', '?'];
/// Shares from none to all; lightness falls evenly.
const RAMP: [(u8, u8, u8); 6] = [(253, 244, 210), (251, 208, 124), (240, 153, 70), (207, 91, 66), (140, 41, 84), (52, 12, 74)];
const WIDTH: u32 = 960;
const LEFT: f64 = 84.0;
/// The height of the cells and of a line of the legend, pixels.
const CELLS: f64 = 460.0;
const LEGEND_LINE: f64 = 22.0;
const SEAM: f64 = 0.5;
/// The width of the colour bar with its labels, pixels.
const BAR: f64 = 84.0;

/// Where the cells stand, pixels.
struct Grid {
    columns: usize,
    rows: usize,
    left: f64,
    top: f64,
    width: f64,
}

impl Grid {
    fn x(&self, column: usize) -> f64 {
        self.left + self.width * column as f64 / self.columns.max(1) as f64
    }

    fn y(&self, row: usize) -> f64 {
        self.top + CELLS - CELLS * row as f64 / self.rows.max(1) as f64
    }

    /// The smaller side of a cell, pixels.
    fn cell(&self) -> f64 {
        (self.width / self.columns.max(1) as f64).min(CELLS / self.rows.max(1) as f64)
    }
}

impl Map {
    fn colour(&self, cell: usize) -> RGBColor {
        match &self.cells {
            Cells::Words { cells, .. } => cells.get(cell).map_or(WHITE, |index| COLOURS[index % COLOURS.len()]),
            Cells::Shares { cells, .. } => cells.get(cell).copied().filter(|s| s.is_finite()).map_or(WHITE, ramp),
        }
    }

    /// The map in characters, and its legend.
    pub fn text(&self) -> String {
        let unit = match self.across.unit.as_str() {
            "s" => " (seconds)".to_owned(),
            "" => String::new(),
            other => format!(" ({other})"),
        };
        let mut out = format!("{}\nup: {}, across: {}{unit}\n", self.title, self.up.name, self.across.name);
        let columns = self.across.values.len();
        for (row, value) in self.up.values.iter().enumerate().rev() {
            let _ = write!(out, "{:>10}  ", number(*value));
            out.extend((row * columns..(row + 1) * columns).map(|cell| self.sign(cell)));
            out.push('\n');
        }
        let label = |value: Option<&f64>| value.map_or_else(String::new, |v| number(*v));
        let _ = writeln!(out, "{:>10}  {} … {}", "", label(self.across.values.first()), label(self.across.values.last()));
        match &self.cells {
            Cells::Words { legend, .. } => {
                for (index, words) in legend.iter().enumerate() {
                    let _ = writeln!(out, "  {}  {words}", SIGNS[index % SIGNS.len()]);
                }
            }
            Cells::Shares { label, .. } => {
                let _ = writeln!(out, "  {label}: . none, 0 less than 10%, 1 from 10% on, … 9 from 90% on, # all");
            }
        }
        out
    }

    fn sign(&self, cell: usize) -> char {
        match &self.cells {
            Cells::Words { cells, .. } => cells.get(cell).map_or(' ', |index| SIGNS[index % SIGNS.len()]),
            Cells::Shares { cells, .. } => match cells.get(cell).copied() {
                Some(share) if share <= 0.0 => '.',
                Some(share) if share >= 100.0 => '#',
                Some(share) if share.is_finite() => char::from(b'0' + (share / 10.0) as u8),
                _ => ' ',
            },
        }
    }

    fn axes(&self, sheet: &mut Sheet, grid: &Grid) {
        let bottom = grid.top + CELLS;
        sheet.outline((grid.left, grid.top), (grid.left + grid.width, bottom), INK, 1.0);
        let widest = self.across.values.iter().map(|value| width(&number(*value), BODY)).fold(0.0, f64::max);
        let step = ((widest + 10.0) / (grid.width / grid.columns as f64)).ceil() as usize;
        for (column, value) in self.across.values.iter().enumerate().step_by(step.max(1)) {
            let (x, label) = (f64::midpoint(grid.x(column), grid.x(column + 1)), number(*value));
            sheet.line(&[(x, bottom), (x, bottom + 4.0)], INK, 1.0);
            sheet.text((x, bottom + 18.0), Hold::Middle, (BODY, INK), 120.0, &label);
        }
        let step = (22.0 / (CELLS / grid.rows as f64)).ceil() as usize;
        for (row, value) in self.up.values.iter().enumerate().step_by(step.max(1)) {
            let y = f64::midpoint(grid.y(row), grid.y(row + 1));
            sheet.line(&[(grid.left - 4.0, y), (grid.left, y)], INK, 1.0);
            sheet.text((grid.left - 8.0, y + 4.0), Hold::End, (BODY, INK), grid.left - 12.0, &number(*value));
        }
        if grid.columns * grid.rows == 0 {
            let middle = (grid.left + grid.width / 2.0, grid.top + CELLS / 2.0);
            sheet.text(middle, Hold::Middle, (TITLE, SOFT), grid.width, "no cells");
            return;
        }
        let title = |axis: &Axis| if axis.unit.is_empty() { axis.name.clone() } else { format!("{} ({})", axis.name, axis.unit) };
        sheet.text((MARGIN, grid.top - 9.0), Hold::Start, (BODY, SOFT), 420.0, &format!("↑ {}", title(&self.up)));
        let end = (grid.left + grid.width, bottom + 38.0);
        sheet.text(end, Hold::End, (BODY, SOFT), grid.width, &format!("{} →", title(&self.across)));
    }

    /// A letter in the largest patches of each kind, for those who do not see the colours.
    fn letters(sheet: &mut Sheet, grid: &Grid, cells: &[usize]) {
        for patch in patches(cells, grid.columns, grid.rows) {
            let room = (patch.wide as f64 * grid.width / grid.columns as f64).min(patch.high as f64 * CELLS / grid.rows as f64);
            if room < 16.0 {
                continue;
            }
            let x = f64::midpoint(grid.x(patch.column), grid.x(patch.column + patch.wide));
            let y = f64::midpoint(grid.y(patch.row), grid.y(patch.row + patch.high));
            let size = (room * 0.7).clamp(11.0, 20.0);
            sheet.text((x, y + size * 0.36), Hold::Middle, (size, on(patch.kind)), 40.0, &letter(patch.kind));
        }
    }
}

impl Chart for Map {
    fn sheet(&self) -> Sheet {
        let legend = match &self.cells {
            Cells::Words { legend, .. } => legend.as_slice(),
            Cells::Shares { .. } => &[],
        };
        let head = if self.subtitle.is_empty() { 42.0 } else { 62.0 };
        let height = head + 24.0 + CELLS + 54.0 + LEGEND_LINE * legend.len() as f64 + 6.0;
        let mut sheet = Sheet::new(WIDTH, height as u32, &self.title);
        heading(&mut sheet, &self.title, &self.subtitle);
        let aside = if legend.is_empty() { BAR } else { 0.0 };
        let grid = Grid {
            columns: self.across.values.len(),
            rows: self.up.values.len(),
            left: LEFT,
            top: head + 24.0,
            width: f64::from(WIDTH) - LEFT - MARGIN - aside,
        };
        for row in 0..grid.rows {
            let mut from = 0;
            // Cells of one colour side by side are one rectangle.
            while from < grid.columns {
                let colour = self.colour(row * grid.columns + from);
                let same = (from..grid.columns).take_while(|column| self.colour(row * grid.columns + column) == colour).count();
                // A little over the next ones, which are drawn later, so that no seam is seen between them.
                let (right, top) = ((grid.x(from + same) + SEAM).min(grid.x(grid.columns)), (grid.y(row + 1) - SEAM).max(grid.top));
                sheet.rect((grid.x(from), top), (right, grid.y(row)), colour);
                from += same;
            }
        }
        match &self.cells {
            Cells::Words { cells, .. } => Map::letters(&mut sheet, &grid, cells),
            Cells::Shares { cells, .. } if grid.cell() >= 26.0 => numbers(&mut sheet, &grid, cells),
            Cells::Shares { .. } => {}
        }
        self.axes(&mut sheet, &grid);
        if let Cells::Shares { label, .. } = &self.cells {
            bar(&mut sheet, &grid, label);
        }
        for (index, words) in legend.iter().enumerate() {
            let y = grid.top + CELLS + 54.0 + LEGEND_LINE * index as f64;
            sheet.rect((LEFT, y), (LEFT + 18.0, y + 16.0), COLOURS[index % COLOURS.len()]);
            sheet.text((LEFT + 9.0, y + 12.5), Hold::Middle, (BODY, on(index)), 18.0, &letter(index));
            sheet.text((LEFT + 28.0, y + 12.5), Hold::Start, (BODY, INK), f64::from(WIDTH) - LEFT - 40.0, words);
        }
        sheet
    }

    fn csv(&self) -> String {
        let value = match &self.cells {
            Cells::Words { .. } => "outcome".to_owned(),
            Cells::Shares { label, .. } => format!("{label}_percent"),
        };
        let mut table = Table::new(&[&self.across.name, &self.up.name, &value]);
        let columns = self.across.values.len();
        for (row, up) in self.up.values.iter().enumerate() {
            for (column, across) in self.across.values.iter().enumerate() {
                let cell = row * columns + column;
                let value = match &self.cells {
                    Cells::Words { cells, legend } => cells.get(cell).and_then(|index| legend.get(*index)).cloned(),
                    Cells::Shares { cells, .. } => cells.get(cell).filter(|s| s.is_finite()).map(f64::to_string),
                };
                table.row(&[across.to_string(), up.to_string(), value.unwrap_or_default()]);
            }
        }
        table.finish()
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn letter(kind: usize) -> String {
    char::from(b'A' + (kind % 26) as u8).to_string()
}

/// What can be read on the colour of a kind.
fn on(kind: usize) -> RGBColor {
    if matches!(kind % COLOURS.len(), 3 | 7) { WHITE } else { BLACK }
}

/// The colour of a share, per cent.
fn ramp(share: f64) -> RGBColor {
    let at = share.clamp(0.0, 100.0) / 100.0 * (RAMP.len() - 1) as f64;
    let low = (at as usize).min(RAMP.len() - 2);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * (at - low as f64)).round() as u8;
    let (from, to) = (RAMP[low], RAMP[low + 1]);
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// Writes each share in its cell.
fn numbers(sheet: &mut Sheet, grid: &Grid, cells: &[f64]) {
    for (cell, share) in cells.iter().enumerate().filter(|(_, share)| share.is_finite()) {
        let (row, column) = (cell / grid.columns.max(1), cell % grid.columns.max(1));
        if row >= grid.rows {
            break;
        }
        let x = f64::midpoint(grid.x(column), grid.x(column + 1));
        let y = f64::midpoint(grid.y(row), grid.y(row + 1));
        let RGBColor(red, green, blue) = ramp(*share);
        let light = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
        let colour = if light < 125.0 { WHITE } else { BLACK };
        sheet.text((x, y + 4.0), Hold::Middle, (SMALL, colour), grid.cell().max(26.0), &format!("{share:.0}"));
    }
}

/// The colour bar beside the cells.
fn bar(sheet: &mut Sheet, grid: &Grid, label: &str) {
    let (left, right) = (grid.left + grid.width + 24.0, grid.left + grid.width + 40.0);
    let y = |share: f64| grid.top + CELLS * (1.0 - share / 100.0);
    for step in 0..50 {
        let share = f64::from(step) * 2.0;
        sheet.rect((left, (y(share + 2.0) - SEAM).max(grid.top)), (right, y(share)), ramp(share + 1.0));
    }
    sheet.outline((left, grid.top), (right, grid.top + CELLS), INK, 1.0);
    for share in [0.0, 25.0, 50.0, 75.0, 100.0] {
        sheet.line(&[(right, y(share)), (right + 4.0, y(share))], INK, 1.0);
        sheet.text((right + 7.0, y(share) + 4.0), Hold::Start, (SMALL, INK), 40.0, &format!("{share}%"));
    }
    let words = fit(label, BODY, 400.0);
    sheet.text((f64::from(WIDTH) - MARGIN, grid.top - 9.0), Hold::End, (BODY, SOFT), 400.0, &words);
}

/// A rectangle of cells of one kind.
#[derive(Clone, Copy, Debug)]
struct Patch {
    kind: usize,
    row: usize,
    column: usize,
    high: usize,
    wide: usize,
}

/// For each kind the largest square of its cells, and further ones that are at least half as wide and elsewhere.
fn patches(cells: &[usize], columns: usize, rows: usize) -> Vec<Patch> {
    let at = |row: usize, column: usize| cells.get(row * columns + column).copied();
    // The side of the largest square of one kind that ends at each cell.
    let mut sides = vec![0_usize; rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            let kind = at(row, column);
            let before = |r: usize, c: usize| if at(r, c) == kind { sides[r * columns + c] } else { 0 };
            let near = if row == 0 || column == 0 {
                0
            } else {
                before(row - 1, column).min(before(row, column - 1)).min(before(row - 1, column - 1))
            };
            sides[row * columns + column] = if kind.is_some() { near + 1 } else { 0 };
        }
    }
    let mut ends: Vec<usize> = (0..sides.len()).filter(|i| sides[*i] > 0).collect();
    ends.sort_by_key(|i| (std::cmp::Reverse(sides[*i]), *i));
    let mut found: Vec<Patch> = Vec::new();
    for end in ends {
        let (side, row, column) = (sides[end], end / columns, end % columns);
        let Some(kind) = at(row, column) else { continue };
        let patch = Patch { kind, row: row + 1 - side, column: column + 1 - side, high: side, wide: side };
        let mut same = found.iter().filter(|p| p.kind == kind).peekable();
        let largest = same.peek().map_or(0, |p| p.wide);
        let near = |p: &Patch| {
            let apart = |a: usize, b: usize| a.abs_diff(b);
            apart(p.row + p.high / 2, row + 1 - side.div_ceil(2)).max(apart(p.column + p.wide / 2, column + 1 - side.div_ceil(2)))
                < largest.max(p.wide) + 2
        };
        if largest == 0 || (side * 2 >= largest && !same.any(near)) {
            found.push(patch);
        }
        if found.len() > 60 {
            break;
        }
    }
    found
}
