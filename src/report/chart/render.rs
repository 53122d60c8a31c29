//! A sheet of shapes to the bytes of an SVG or PNG file, through plotters. It does not know what is drawn.
//!
//! plotters counts in whole pixels, so a sheet is drawn at twice its size: an SVG is told to be shown at half of that, a PNG
//! has twice as many pixels. Where PNG is built in, plotters takes text only in a font that was registered, also for SVG.

use super::Format;
use super::sheet::{Hold, Shape, Sheet, WHITE};
use super::text::clean;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels drawn for each of the sheet's.
const SCALE: f64 = 2.0;

type Wrong<'e> = Box<dyn std::error::Error + 'e>;

/// How plotters' size of a font and its place of a text go with an em and a base line: they differ between SVG and pixels.
#[derive(Clone, Copy)]
struct Font {
    /// The size to ask for, in ems.
    size: f64,
    /// The base line below the point, in ems.
    base: f64,
}

const SVG_FONT: Font = Font { size: 1.24, base: 0.76 };

pub(super) fn bytes(sheet: &Sheet, format: Format) -> Result<Vec<u8>, String> {
    match format {
        Format::Svg => svg(sheet),
        Format::Png => png(sheet),
    }
}

fn drawn(sheet: &Sheet) -> (u32, u32) {
    ((f64::from(sheet.width) * SCALE) as u32, (f64::from(sheet.height) * SCALE) as u32)
}

fn svg(sheet: &Sheet) -> Result<Vec<u8>, String> {
    #[cfg(feature = "png")]
    pixels::register()?;
    let (width, height) = drawn(sheet);
    let mut out = String::new();
    let root = SVGBackend::with_string(&mut out, (width, height)).into_drawing_area();
    shapes(sheet, &root, SVG_FONT).map_err(|error| error.to_string())?;
    drop(root);
    let body = out.split_once('\n').map_or("", |(_, body)| body);
    let title = clean(&sheet.title).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {width} {height}\">\n<title>{title}</title>\n",
        sheet.width, sheet.height
    );
    Ok((head + body).into_bytes())
}

#[cfg(not(feature = "png"))]
fn png(_: &Sheet) -> Result<Vec<u8>, String> {
    Err("this program was built without PNG (the feature `png`); ask for SVG".to_owned())
}

#[cfg(feature = "png")]
fn png(sheet: &Sheet) -> Result<Vec<u8>, String> {
    pixels::register()?;
    pixels::draw(sheet)
}

#[cfg(feature = "png")]
mod pixels {
    use super::{Font, Sheet, drawn, shapes};
    use plotters::prelude::*;
    use plotters::style::{FontStyle, register_font};
    use std::sync::OnceLock;

    /// DejaVu Sans, reduced to Latin-1 and a few signs; its licence is beside it.
    static TYPEFACE: &[u8] = include_bytes!("font/DejaVuSans-subset.ttf");
    /// The font's size is its ascent and descent, 1.164 em; the base line is half of that below the point.
    const FONT: Font = Font { size: 1.164, base: 0.582 };

    pub(super) fn register() -> Result<(), String> {
        static DONE: OnceLock<bool> = OnceLock::new();
        let done = *DONE.get_or_init(|| register_font("sans-serif", FontStyle::Normal, TYPEFACE).is_ok());
        if done { Ok(()) } else { Err("the font is damaged".to_owned()) }
    }

    pub(super) fn draw(sheet: &Sheet) -> Result<Vec<u8>, String> {
        let (width, height) = drawn(sheet);
        let mut rgb = vec![255; width as usize * height as usize * 3];
        let root = BitMapBackend::with_buffer(&mut rgb, (width, height)).into_drawing_area();
        shapes(sheet, &root, FONT).map_err(|error| error.to_string())?;
        drop(root);
        encode(width, height, &rgb).map_err(|error| error.to_string())
    }

    fn encode(width: u32, height: u32, rgb: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(rgb)?;
        writer.finish()?;
        Ok(out)
    }
}

type Area<DB> = DrawingArea<DB, plotters::coord::Shift>;

fn shapes<'e, DB: DrawingBackend + 'e>(sheet: &Sheet, root: &Area<DB>, font: Font) -> Result<(), Wrong<'e>>
where
    DB::ErrorType: 'e,
{
    root.fill(&WHITE)?;
    let limit = (f64::from(sheet.width), f64::from(sheet.height));
    // Nothing is drawn far off the sheet, whatever the numbers were.
    let on = |(x, y): (f64, f64)| {
        let place = |value: f64, limit: f64| {
            let value = if value.is_nan() { 0.0 } else { value };
            (value.clamp(-40.0, limit + 40.0) * SCALE).round() as i32
        };
        (place(x, limit.0), place(y, limit.1))
    };
    let path = |points: &[(f64, f64)]| {
        let mut path: Vec<(i32, i32)> = points.iter().map(|point| on(*point)).collect();
        path.dedup();
        path
    };
    let stroke = |width: f64| (width * SCALE).round().max(1.0) as u32;
    for shape in &sheet.shapes {
        match shape {
            Shape::Box { from, to, fill } => {
                let ((left, top), (right, bottom)) = (on(*from), on(*to));
                if right > left && bottom > top {
                    root.draw(&Rectangle::new([(left, top), (right, bottom)], fill.filled()))?;
                }
            }
            Shape::Line { points, colour, width } => {
                let path = path(points);
                if path.len() > 1 {
                    root.draw(&PathElement::new(path, colour.stroke_width(stroke(*width))))?;
                }
            }
            Shape::Dashes { points, colour, width } => {
                let path = path(points);
                if path.len() > 1 {
                    root.draw(&DashedPathElement::new(path, 12, 8, colour.stroke_width(stroke(*width))))?;
                }
            }
            Shape::Area { points, fill } => {
                let path = path(points);
                if path.len() > 2 {
                    root.draw(&Polygon::new(path, fill.filled()))?;
                }
            }
            Shape::Dot { at, radius, fill } => {
                root.draw(&Circle::new(on(*at), (radius * SCALE).round() as i32, fill.filled()))?;
            }
            Shape::Text { at, hold, size, colour, text } => {
                let h_pos = match hold {
                    Hold::Start => HPos::Left,
                    Hold::Middle => HPos::Center,
                    Hold::End => HPos::Right,
                };
                let style = ("sans-serif", size * SCALE * font.size).into_font().color(colour).pos(Pos::new(h_pos, VPos::Top));
                root.draw(&Text::new(text.as_str(), on((at.0, at.1 - size * font.base)), style))?;
            }
        }
    }
    root.present()?;
    Ok(())
}
