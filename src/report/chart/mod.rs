//! Charts: plain data in, an SVG or PNG picture or CSV out. plotters draws, with a font of our own.
//!
//! A chart lays its shapes out on a [`Sheet`]; one place turns sheets into bytes. Nothing here knows where its numbers come
//! from: no flow, no box, no scenario, and no file. The same data gives the same bytes.

mod csv;
mod entries;
mod frame;
mod gaps;
mod lanes;
mod map;
mod marks;
mod occupancy;
mod render;
mod scale;
mod sheet;
mod survival;
mod text;

pub use entries::{Entries, EntriesLine};
pub use gaps::{GapBin, Gaps};
pub use lanes::{Cut, Fuse, LaneBox, LanePacket, Lanes, PacketKind};
pub use map::{Axis, Cells, Map};
pub use marks::Mark;
pub use occupancy::{Occupancy, Scaled};
pub use sheet::Sheet;
pub use survival::{Step, Survival};

/// How a picture is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Scalable, with text that stays text.
    Svg,
    /// Pixels, two for each of the sheet's; needs the feature `png`.
    Png,
}

impl Format {
    /// The format that the ending of a file's name asks for.
    ///
    /// # Errors
    /// An ending that is neither `.svg` nor `.png`.
    pub fn of(name: &str) -> Result<Format, String> {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("svg") => Ok(Format::Svg),
            Some("png") => Ok(Format::Png),
            _ => Err(format!("'{name}': a picture's name ends in .svg or .png")),
        }
    }
}

/// A picture of plain data.
pub trait Chart {
    /// The picture as shapes.
    fn sheet(&self) -> Sheet;

    /// Everything that the picture is drawn from, as CSV (RFC 4180) with a header.
    fn csv(&self) -> String;

    /// The picture as the bytes of a file.
    ///
    /// # Errors
    /// What the drawing library says, and [`Format::Png`] in a program built without the feature `png`.
    fn draw(&self, format: Format) -> Result<Vec<u8>, String> {
        render::bytes(&self.sheet(), format).map_err(|error| format!("the picture cannot be drawn: {error}"))
    }
}

/// A picture of what was not finished, which says so.
pub struct Incomplete<'c>(pub &'c dyn Chart);

impl Chart for Incomplete<'_> {
    fn sheet(&self) -> Sheet {
        let mut sheet = self.0.sheet();
        let (width, height) = (f64::from(sheet.width), f64::from(sheet.height));
        let style = (sheet::SMALL, sheet::RED_TEXT);
        sheet.text((width - 6.0, height - 4.0), sheet::Hold::End, style, width / 2.0, "interrupted: incomplete");
        sheet
    }

    fn csv(&self) -> String {
        self.0.csv()
    }
}
