//! Maps: what becomes of a scenario for each pair of two settings, as SVG and as text.

use super::Came;
use crate::simulate::outcome::{End, Met, Outcome};
use plotters::prelude::*;
use std::fmt::Write;

/// One axis of a map: the setting, and its values in rising order.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The setting.
    pub name: String,
    /// Its values.
    pub values: Vec<f64>,
}

/// A map: what became of each pair of values, row by row from the first value of the vertical axis.
#[derive(Clone, Debug)]
pub struct Map {
    /// What it shows.
    pub title: String,
    /// The horizontal setting.
    pub across: Axis,
    /// The vertical one.
    pub up: Axis,
    /// What became of each pair: an index into `legend`.
    pub cells: Vec<usize>,
    /// What can become of one, what is harmless first, then in the order in which it first occurs.
    pub legend: Vec<String>,
}

/// How the words begin where no box forgot the flow.
pub const ENTRY_LIVES: &str = "the entry lives";

/// What became of a run, in few words: two runs with the same words are of one colour.
pub fn words(came: &Came) -> String {
    match came {
        Came::One(outcome, _) => one(outcome),
        Came::Many(tally) => match tally.share(tally.failed) {
            0.0 => format!("{ENTRY_LIVES}, or its loss hurts nobody"),
            share if share < 0.01 => "less than 1% of the flows failed".to_owned(),
            share if share < 0.1 => "1% to 10% of the flows failed".to_owned(),
            share if share < 0.5 => "10% to 50% of the flows failed".to_owned(),
            _ => "half of the flows or more failed".to_owned(),
        },
    }
}

fn one(outcome: &Outcome) -> String {
    let lost: Vec<Met> = outcome.forgotten.iter().map(|entry| entry.fate).collect();
    let entry = if lost.is_empty() {
        ENTRY_LIVES
    } else if lost.iter().all(|fate| *fate == Met::Repicked) {
        "lost and made anew"
    } else {
        "lost"
    };
    let side = |end: End| match end {
        End::NeverOpened => "never opened".to_owned(),
        End::StillOpen(_) => "connected".to_owned(),
        End::Closed(_) => "closed".to_owned(),
        End::Aborted(_) => "aborted".to_owned(),
        End::Failed(errno, _) => errno.name().to_owned(),
        End::GaveUp(why, _) => format!("gave up ({why})"),
        End::Died(_) => "died".to_owned(),
    };
    format!("{entry}; client {}, server {}", side(outcome.sides[0].end), side(outcome.sides[1].end))
}

/// Colours that the colour-blind can tell apart (Okabe and Ito), the quiet one first.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(240, 228, 66),
    RGBColor(204, 121, 167),
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(120, 120, 120),
];
/// Letters for the same in text.
const LETTERS: [char; 8] = ['.', '#', 'o', '+', 'x', '*', '%', '?'];
const SIZE: (u32, u32) = (960, 640);
/// Room for axes and legend, pixels: left, right, top, bottom before the legend.
const LEFT: i32 = 90;
const RIGHT: i32 = 20;
const TOP: i32 = 44;
const FOOT: i32 = 56;
const LEGEND_LINE: i32 = 22;

fn seconds(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

impl Map {
    /// The picture.
    ///
    /// # Errors
    /// What the drawing library says.
    pub fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|error| format!("the map cannot be drawn: {error}"))?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let legend_height = LEGEND_LINE * self.legend.len() as i32 + 10;
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let dark = RGBColor(30, 30, 30);
        let text = |size: u32| ("sans-serif", size).into_font().color(&dark);
        root.draw(&Text::new(self.title.clone(), (LEFT, 14), text(17)))?;
        let (width, height) = (SIZE.0 as i32 - LEFT - RIGHT, SIZE.1 as i32 - TOP - FOOT - legend_height);
        let (columns, rows) = (self.across.values.len() as i32, self.up.values.len() as i32);
        let x = |column: i32| LEFT + width * column / columns.max(1);
        let y = |row: i32| TOP + height - height * row / rows.max(1);
        for row in 0..rows {
            for column in 0..columns {
                let cell = self.cells[(row * columns + column) as usize];
                let colour = COLOURS[cell % COLOURS.len()];
                root.draw(&Rectangle::new([(x(column), y(row + 1)), (x(column + 1), y(row))], colour.filled()))?;
            }
        }
        root.draw(&Rectangle::new([(LEFT, TOP), (LEFT + width, TOP + height)], dark.stroke_width(1)))?;
        for mark in marks(columns) {
            let label = seconds(self.across.values[mark as usize]);
            let middle = i32::midpoint(x(mark), x(mark + 1));
            root.draw(&PathElement::new(vec![(middle, TOP + height), (middle, TOP + height + 5)], dark))?;
            root.draw(&Text::new(label.clone(), (middle - 4 * label.len() as i32, TOP + height + 8), text(13)))?;
        }
        for mark in marks(rows) {
            let label = seconds(self.up.values[mark as usize]);
            let middle = i32::midpoint(y(mark), y(mark + 1));
            root.draw(&PathElement::new(vec![(LEFT - 5, middle), (LEFT, middle)], dark))?;
            root.draw(&Text::new(label.clone(), (LEFT - 10 - 8 * label.len() as i32, middle - 7), text(13)))?;
        }
        root.draw(&Text::new(format!("across: {} (s)", self.across.name), (LEFT, TOP + height + 30), text(14)))?;
        root.draw(&Text::new(format!("up: {} (s)", self.up.name), (LEFT + width / 2, TOP + height + 30), text(14)))?;
        for (index, words) in self.legend.iter().enumerate() {
            let at = TOP + height + FOOT + LEGEND_LINE * index as i32;
            let colour = COLOURS[index % COLOURS.len()];
            root.draw(&Rectangle::new([(LEFT, at), (LEFT + 16, at + 14)], colour.filled()))?;
            root.draw(&Text::new(words.clone(), (LEFT + 24, at + 1), text(14)))?;
        }
        root.present()?;
        Ok(())
    }

    /// The map in characters, and its legend.
    pub fn text(&self) -> String {
        let mut out = format!("{}\nup: {}, across: {} (seconds)\n", self.title, self.up.name, self.across.name);
        let columns = self.across.values.len();
        for (row, value) in self.up.values.iter().enumerate().rev() {
            let _ = write!(out, "{:>10}  ", seconds(*value));
            out.extend((0..columns).map(|column| LETTERS[self.cells[row * columns + column] % LETTERS.len()]));
            out.push('\n');
        }
        let (first, last) = (self.across.values.first(), self.across.values.last());
        let label = |value: Option<&f64>| value.map_or_else(String::new, |v| seconds(*v));
        let _ = writeln!(out, "{:>10}  {} … {}", "", label(first), label(last));
        for (index, words) in self.legend.iter().enumerate() {
            let _ = writeln!(out, "  {}  {words}", LETTERS[index % LETTERS.len()]);
        }
        out
    }
}

/// At most ten positions of an axis that get a label.
fn marks(count: i32) -> impl Iterator<Item = i32> {
    let step = (count + 9) / 10;
    (0..count).step_by(step.max(1) as usize)
}
