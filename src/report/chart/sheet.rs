//! A sheet of shapes in pixels, before it becomes a picture, and the colours that all charts share.
//!
//! Colours are those of Okabe and Ito, which the colour-blind can tell apart. Nothing here knows a chart or a file format.

use super::text::{clean, fit, width};
use plotters::style::RGBColor;

pub(super) const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Text and outlines.
pub(super) const INK: RGBColor = RGBColor(25, 25, 25);
/// Text that stands back.
pub(super) const SOFT: RGBColor = RGBColor(85, 85, 85);
/// Lines that stand back.
pub(super) const FAINT: RGBColor = RGBColor(150, 150, 150);
pub(super) const GRID: RGBColor = RGBColor(226, 226, 226);
pub(super) const BLACK: RGBColor = RGBColor(0, 0, 0);
pub(super) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(super) const SKY: RGBColor = RGBColor(86, 180, 233);
pub(super) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(super) const YELLOW: RGBColor = RGBColor(240, 228, 66);
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILLION: RGBColor = RGBColor(213, 94, 0);
pub(super) const PURPLE: RGBColor = RGBColor(204, 121, 167);
/// Vermillion dark enough for text on white.
pub(super) const RED_TEXT: RGBColor = RGBColor(170, 62, 0);

/// Text sizes, pixels an em.
pub(super) const TITLE: f64 = 16.0;
pub(super) const BODY: f64 = 12.0;
pub(super) const SMALL: f64 = 11.0;

/// A point, pixels from the upper left corner.
pub(super) type Point = (f64, f64);

/// Which part of a text stands at its point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hold {
    Start,
    Middle,
    End,
}

impl Hold {
    /// How much of the text is left of its point.
    fn share(self) -> f64 {
        match self {
            Hold::Start => 0.0,
            Hold::Middle => 0.5,
            Hold::End => 1.0,
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Shape {
    Box {
        from: Point,
        to: Point,
        fill: RGBColor,
    },
    Line {
        points: Vec<Point>,
        colour: RGBColor,
        width: f64,
    },
    Dashes {
        points: [Point; 2],
        colour: RGBColor,
        width: f64,
    },
    Area {
        points: Vec<Point>,
        fill: RGBColor,
    },
    Dot {
        at: Point,
        radius: f64,
        fill: RGBColor,
    },
    /// The point is on the base line.
    Text {
        at: Point,
        hold: Hold,
        size: f64,
        colour: RGBColor,
        text: String,
    },
}

/// A picture as shapes in pixels, in the order in which they are drawn; its ground is white.
#[derive(Clone, PartialEq, Debug)]
pub struct Sheet {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) title: String,
    pub(super) shapes: Vec<Shape>,
}

impl Sheet {
    pub(super) fn new(width: u32, height: u32, title: &str) -> Sheet {
        Sheet { width, height, title: clean(title), shapes: Vec::new() }
    }

    /// Width and height, pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Where each text stands, as left, top, right and bottom in pixels, in the font that is embedded.
    pub fn texts(&self) -> impl Iterator<Item = (&str, [f64; 4])> {
        self.shapes.iter().filter_map(|shape| match shape {
            Shape::Text { at: (x, y), hold, size, text, .. } => {
                let left = x - hold.share() * width(text, *size);
                Some((text.as_str(), [left, y - 0.76 * size, left + width(text, *size), y + 0.24 * size]))
            }
            _ => None,
        })
    }

    pub(super) fn rect(&mut self, from: Point, to: Point, fill: RGBColor) {
        self.shapes.push(Shape::Box { from, to, fill });
    }

    /// A line through points; those that no eye could tell apart are left out.
    pub(super) fn line(&mut self, points: &[Point], colour: RGBColor, width: f64) {
        self.shapes.push(Shape::Line { points: thinned(points), colour, width });
    }

    pub(super) fn outline(&mut self, from: Point, to: Point, colour: RGBColor, width: f64) {
        self.line(&[from, (to.0, from.1), to, (from.0, to.1), from], colour, width);
    }

    pub(super) fn dashes(&mut self, from: Point, to: Point, colour: RGBColor, width: f64) {
        self.shapes.push(Shape::Dashes { points: [from, to], colour, width });
    }

    pub(super) fn area(&mut self, points: Vec<Point>, fill: RGBColor) {
        self.shapes.push(Shape::Area { points, fill });
    }

    pub(super) fn dot(&mut self, at: Point, radius: f64, fill: RGBColor) {
        self.shapes.push(Shape::Dot { at, radius, fill });
    }

    /// A text, cut to `room` pixels and moved so that it stays on the sheet.
    pub(super) fn text(&mut self, at: Point, hold: Hold, (size, colour): (f64, RGBColor), room: f64, text: &str) {
        const MARGIN: f64 = 4.0;
        let text = fit(text, size, room.min(f64::from(self.width) - 2.0 * MARGIN));
        if text.trim().is_empty() {
            return;
        }
        let wide = width(&text, size);
        let before = hold.share() * wide;
        let left = (at.0 - before).min(f64::from(self.width) - MARGIN - wide).max(MARGIN);
        self.shapes.push(Shape::Text { at: (left + before, at.1), hold, size, colour, text });
    }

    /// Slanted lines over a rectangle, so that its colour is told apart in greyscale too.
    pub(super) fn hatch(&mut self, (left, top): Point, (right, bottom): Point, colour: RGBColor) {
        const STEP: f64 = 6.0;
        let mut sum = ((left + top) / STEP).ceil() * STEP;
        while sum < right + bottom {
            let from = if sum - left <= bottom { (left, sum - left) } else { (sum - bottom, bottom) };
            let to = if sum - top <= right { (sum - top, top) } else { (right, sum - right) };
            if to.0 - from.0 > 0.5 {
                self.line(&[from, to], colour, 1.0);
            }
            sum += STEP;
        }
    }
}

/// At most four points for each half pixel across: the first, the lowest, the highest and the last.
fn thinned(points: &[Point]) -> Vec<Point> {
    if points.len() < 2000 {
        return points.to_vec();
    }
    let column = |point: &Point| (point.0 * 2.0).round();
    points
        .chunk_by(|a, b| column(a).to_bits() == column(b).to_bits())
        .flat_map(|same| {
            let by_height = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
            [same.first(), same.iter().min_by(by_height), same.iter().max_by(by_height), same.last()].into_iter().flatten().copied()
        })
        .collect()
}
