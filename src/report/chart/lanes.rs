//! One flow's life: packets between two sides, and each box's timer burning down like a fuse between them.
//!
//! It does not know the flow nor the boxes, only what was told about them.

mod axis;
mod glyph;

use super::Chart;
use super::csv::Table;
use super::frame::{Frame, MARGIN, heading};
use super::marks::Flags;
use super::scale::{human, time_ticks};
use super::sheet::{BLUE, BODY, FAINT, GRID, Hold, INK, Point, RED_TEXT, SMALL, SOFT, Sheet, VERMILLION, WHITE};
use super::text::{fit, width};
use axis::Axis;
use glyph::cross;
use plotters::style::RGBColor;

/// What a packet is to the flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketKind {
    /// Opens it, in either direction.
    Syn,
    /// Carries data.
    Data,
    /// Only acknowledges.
    Ack,
    /// Asks whether the other side is alive.
    Probe,
    /// Closes one direction.
    Fin,
    /// Ends it.
    Rst,
    /// Tells its receiver that the other side cannot be reached.
    Icmp,
}

/// A packet on its way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LanePacket {
    /// When, seconds.
    pub at: f64,
    /// Whether the client sent it.
    pub from_client: bool,
    /// What it is.
    pub kind: PacketKind,
    /// Whether it reached the other side.
    pub passed: bool,
    /// The box that sent it of its own accord, from 0 at the client; a packet of the other side without it.
    pub from_box: Option<usize>,
    /// The box that did not let it through, where that is known.
    pub kept_by: Option<usize>,
}

/// A timer from one refresh to the next, or to its end.
#[derive(Clone, PartialEq, Debug)]
pub struct Fuse {
    /// When it was lit, seconds.
    pub from: f64,
    /// From when on it is drawn: later than it was lit where another burnt here before, seconds.
    pub shown_from: f64,
    /// When it was lit anew, put out, or had burnt down, seconds.
    pub to: f64,
    /// How long it burns, seconds.
    pub length: f64,
    /// The state whose timer it is.
    pub state: String,
    /// Whether it burnt down and the entry was forgotten.
    pub burnt: bool,
}

/// A box on the path.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LaneBox {
    /// How it is called.
    pub label: String,
    /// Its timers, rising.
    pub fuses: Vec<Fuse>,
}

/// A moment that matters: an entry was forgotten, a packet came too late.
#[derive(Clone, PartialEq, Debug)]
pub struct Cut {
    /// When, seconds.
    pub at: f64,
    /// What happened.
    pub text: String,
    /// Whether it is what the picture is about; else it is drawn more quietly.
    pub strong: bool,
}

/// One flow's life through its boxes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Lanes {
    /// What it shows.
    pub title: String,
    /// More about it; may be empty.
    pub subtitle: String,
    /// The client's name.
    pub client: String,
    /// The server's.
    pub server: String,
    /// From when to when, seconds; times are written from its beginning on.
    pub span: (f64, f64),
    /// The packets, rising.
    pub packets: Vec<LanePacket>,
    /// The boxes, from the client on.
    pub boxes: Vec<LaneBox>,
    /// When it was cut, if it was, and what else is marked.
    pub cuts: Vec<Cut>,
}

const WIDTH: u32 = 960;
const LEFT: f64 = 158.0;
/// Heights, pixels: a side's lane, and what a box's lane has besides its fuse.
const SIDE: f64 = 44.0;
const ABOVE_FUSE: f64 = 30.0;
const FOOT: f64 = 64.0;
const FUSE: RGBColor = RGBColor(188, 222, 245);
const BURNT: RGBColor = RGBColor(247, 205, 178);

/// Where things stand, pixels.
struct Layout {
    axis: Axis,
    client: f64,
    server: f64,
    /// For each box the top of its fuse.
    fuses: Vec<f64>,
    fuse: f64,
    right: f64,
}

impl Layout {
    /// From where to where a packet goes.
    fn way(&self, packet: &LanePacket) -> (f64, f64) {
        let (from, to) = if packet.from_client { (self.client, self.server) } else { (self.server, self.client) };
        (packet.from_box.and_then(|index| self.fuses.get(index)).map_or(from, |top| self.edge(*top, -(to - from).signum())), to)
    }

    /// The edge of a box's lane that faces whoever goes this way.
    fn edge(&self, top: f64, way: f64) -> f64 {
        if way > 0.0 { top - ABOVE_FUSE + 8.0 } else { top + self.fuse + 6.0 }
    }
}

impl Lanes {
    fn moments(&self) -> Vec<f64> {
        let packets = self.packets.iter().map(|p| p.at);
        let fuses = self.boxes.iter().flat_map(|b| &b.fuses).flat_map(|f| [f.shown_from, f.to]);
        let all = packets.chain(fuses).chain(self.cuts.iter().map(|c| c.at)).chain([self.span.0, self.span.1]);
        all.filter(|at| (self.span.0..=self.span.1).contains(at)).collect()
    }

    fn packets(&self, sheet: &mut Sheet, layout: &Layout) -> usize {
        let mut order: Vec<&LanePacket> = self.packets.iter().filter(|p| p.at >= self.span.0 && p.at <= self.span.1).collect();
        order.sort_by_key(|p| (std::cmp::Reverse((!p.passed, p.kind.weight())), p.at.to_bits()));
        let mut drawn: Vec<(f64, &LanePacket)> = Vec::new();
        for packet in &order {
            let x = layout.axis.at(packet.at);
            if drawn.iter().all(|(other, p)| p.from_client != packet.from_client || (other - x).abs() >= 7.0) {
                drawn.push((x, packet));
            }
        }
        for (x, packet) in &drawn {
            let (from, to) = layout.way(packet);
            let way = (to - from).signum();
            if packet.passed {
                let head = to - way * 8.0;
                sheet.line(&[(*x, from), (*x, head)], GRID, 1.0);
                let foot = head - way * 7.0;
                sheet.area(vec![(x - 3.0, foot), (x + 3.0, foot), (*x, head)], FAINT);
            } else {
                // Where it ended: in the lane of the box that kept it, or, where nobody knows, soon.
                let end = packet.kept_by.and_then(|index| layout.fuses.get(index)).map_or(from + way * 19.0, |top| layout.edge(*top, way));
                sheet.line(&[(*x, from), (*x, end)], VERMILLION, 1.5);
                cross(sheet, (*x, end), 3.5, 1.5);
            }
        }
        // Signs are drawn after all lines.
        for (x, packet) in drawn.iter().rev() {
            packet.kind.draw(sheet, (*x, layout.way(packet).0));
        }
        order.len() - drawn.len()
    }

    fn axis(&self, sheet: &mut Sheet, layout: &Layout) {
        let y = layout.server + SIDE / 2.0 + 8.0;
        sheet.line(&[(LEFT, y), (layout.right, y)], INK, 1.0);
        for stretch in layout.axis.stretches.iter().filter(|s| s.shortened && s.wide() >= 16.0) {
            let middle = f64::midpoint(stretch.left, stretch.right);
            sheet.rect((middle - 4.0, y - 2.0), (middle + 4.0, y + 2.0), WHITE);
            for side in [-4.0, 4.0] {
                sheet.line(&[(middle + side - 2.5, y + 5.0), (middle + side + 2.5, y - 5.0)], INK, 1.0);
            }
            let label = human(rounded(stretch.secs()));
            if width(&label, SMALL) + 4.0 <= stretch.wide() {
                sheet.text((middle, y + 18.0), Hold::Middle, (SMALL, SOFT), stretch.wide(), &label);
            }
        }
        // The ends, the cut, and what comes after the longest silences have their time written, as far as there is room.
        let mut wanted = vec![self.span.0, self.span.1];
        wanted.extend(self.cuts.iter().map(|c| c.at));
        let mut long = layout.axis.stretches.clone();
        long.sort_by(|a, b| b.secs().total_cmp(&a.secs()).then(a.from.total_cmp(&b.from)));
        wanted.extend(long.iter().flat_map(|s| [s.to, s.from]));
        if layout.axis.stretches.iter().any(|s| s.shortened) {
            sheet.text((MARGIN, y + 18.0), Hold::Start, (SMALL, SOFT), LEFT - MARGIN - 10.0, "silence, shortened");
        } else {
            wanted = time_ticks((0.0, self.span.1 - self.span.0), 8).into_iter().map(|(at, _)| at + self.span.0).collect();
        }
        let mut taken: Vec<(f64, f64)> = Vec::new();
        let mut written = std::collections::BTreeSet::new();
        for at in wanted.into_iter().take(200) {
            let (x, label) = (layout.axis.at(at), human(rounded(at - self.span.0)));
            let half = width(&label, SMALL) / 2.0 + 6.0;
            let x_text = x.min(f64::from(WIDTH) - 8.0 - half);
            let told = !written.insert(label.clone());
            if told || taken.iter().any(|(from, to)| x_text + half > *from && x_text - half < *to) {
                continue;
            }
            taken.push((x_text - half, x_text + half));
            sheet.line(&[(x, y), (x, y + 5.0)], INK, 1.0);
            sheet.text((x_text, y + 33.0), Hold::Middle, (SMALL, INK), 2.0 * half, &label);
        }
        sheet.text((MARGIN, y + 33.0), Hold::Start, (SMALL, SOFT), LEFT - MARGIN - 10.0, "time from the start");
    }

    fn legend(&self, sheet: &mut Sheet, y: f64) {
        let mut x = MARGIN;
        let mut entry = |sheet: &mut Sheet, words: &str, draw: &dyn Fn(&mut Sheet, Point)| {
            let wide = 20.0 + width(words, SMALL) + 16.0;
            if x + wide < f64::from(WIDTH) - MARGIN {
                draw(sheet, (x + 6.0, y - 4.0));
                sheet.text((x + 18.0, y), Hold::Start, (SMALL, INK), 200.0, words);
                x += wide;
            }
        };
        for kind in PacketKind::ALL.into_iter().filter(|kind| self.packets.iter().any(|p| p.kind == *kind)) {
            entry(sheet, kind.name(), &|sheet, at| kind.draw(sheet, at));
        }
        if self.packets.iter().any(|p| !p.passed) {
            entry(sheet, "not let through", &|sheet, (x, y)| {
                sheet.line(&[(x - 7.0, y), (x + 3.0, y)], VERMILLION, 1.5);
                cross(sheet, (x + 3.0, y), 3.5, 1.5);
            });
        }
        for (burnt, words) in [(false, "what is left of the timer"), (true, "burnt out: the box forgot the flow")] {
            if self.boxes.iter().flat_map(|b| &b.fuses).any(|f| f.burnt == burnt) {
                entry(sheet, words, &|sheet, (x, y)| {
                    wedge(sheet, &[(x - 7.0, y - 6.0), (x + 6.0, if burnt { y + 5.0 } else { y - 1.0 })], y + 5.0, burnt);
                });
            }
        }
    }
}

impl Chart for Lanes {
    fn sheet(&self) -> Sheet {
        let right = f64::from(WIDTH) - MARGIN - 6.0;
        let axis = Axis::new(self.moments(), (LEFT + 8.0, right - 8.0));
        let flags = Flags::place_wide(self.cuts.iter().map(|cut| (axis.at(cut.at), cut.text.clone(), cut.strong)), (MARGIN, right));
        let count = self.boxes.len() as f64;
        let head = if self.subtitle.is_empty() { 42.0 } else { 62.0 };
        let fixed = head + 24.0 + flags.height() + 16.0 + 2.0 * SIDE + FOOT;
        let fuse = ((540.0 - fixed) / count.max(1.0) - ABOVE_FUSE - 12.0).clamp(40.0, 110.0);
        let height = fixed + count * (ABOVE_FUSE + fuse + 12.0);
        let mut sheet = Sheet::new(WIDTH, height.ceil() as u32, &self.title);
        heading(&mut sheet, &self.title, &self.subtitle);
        self.legend(&mut sheet, head + 10.0);

        let top = head + 24.0 + flags.height() + 10.0;
        let tops = (0..self.boxes.len()).map(|n| top + SIDE + n as f64 * (ABOVE_FUSE + fuse + 12.0) + ABOVE_FUSE);
        let server = top + SIDE + count * (ABOVE_FUSE + fuse + 12.0) + SIDE / 2.0;
        let layout = Layout { axis, client: top + SIDE / 2.0, server, fuses: tops.collect(), fuse, right };
        for (y, label) in [(layout.client, &self.client), (layout.server, &self.server)] {
            sheet.line(&[(LEFT, y), (right, y)], INK, 1.5);
            beside(&mut sheet, y, label, 2);
        }
        for (lane, y) in self.boxes.iter().zip(&layout.fuses) {
            draw_box(&mut sheet, &layout, lane, *y, self.span);
        }
        // Marks stand behind the packets, so that one that came too late is seen.
        let frame = Frame { left: LEFT, right, top: layout.client - SIDE / 2.0, bottom: layout.server + 12.0 };
        flags.draw(&mut sheet, frame);
        let hidden = self.packets(&mut sheet, &layout);
        for (lane, y) in self.boxes.iter().zip(&layout.fuses) {
            words(&mut sheet, &layout, lane, *y, self.span);
        }
        if hidden > 0 {
            let note = if hidden == 1 {
                "1 packet is hidden behind others".to_owned()
            } else {
                format!("{hidden} packets are hidden behind others")
            };
            sheet.text((right, height - 8.0), Hold::End, (SMALL, SOFT), 400.0, &note);
        }
        self.axis(&mut sheet, &layout);
        if self.packets.is_empty() {
            frame.nothing(&mut sheet, "no packets");
        }
        sheet
    }

    fn csv(&self) -> String {
        let mut table = Table::new(&["kind", "from_seconds", "to_seconds", "who", "what", "timer_seconds", "came_through", "kept_by"]);
        for packet in &self.packets {
            let maker = packet.from_box.and_then(|index| self.boxes.get(index)).map(|lane| &lane.label);
            let who = maker.unwrap_or(if packet.from_client { &self.client } else { &self.server });
            let passed = if packet.passed { "yes" } else { "no" };
            let kept_by = packet.kept_by.and_then(|index| self.boxes.get(index)).map_or("", |lane| lane.label.as_str());
            table.row(&["packet", &packet.at.to_string(), "", who, packet.kind.name(), "", passed, kept_by]);
        }
        for lane in &self.boxes {
            for fuse in &lane.fuses {
                let (from, to, length) = (fuse.from.to_string(), fuse.to.to_string(), fuse.length.to_string());
                table.row(&[if fuse.burnt { "burnt timer" } else { "timer" }, &from, &to, &lane.label, &fuse.state, &length, "", ""]);
            }
        }
        for cut in &self.cuts {
            table.row(&[if cut.strong { "cut" } else { "event" }, &cut.at.to_string(), "", "", &cut.text, "", "", ""]);
        }
        table.finish()
    }
}

/// What is left of a timer, from the top points down to a level.
fn wedge(sheet: &mut Sheet, tops: &[Point], bottom: f64, burnt: bool) {
    let (Some(first), Some(last)) = (tops.first(), tops.last()) else { return };
    let mut area = tops.to_vec();
    area.extend([(last.0, bottom), (first.0, bottom)]);
    sheet.area(area, if burnt { BURNT } else { FUSE });
    let mut edge = vec![(first.0, bottom)];
    edge.extend_from_slice(tops);
    sheet.line(&edge, if burnt { VERMILLION } else { BLUE }, if burnt { 2.0 } else { 1.0 });
}

/// The fuses of one box.
fn draw_box(sheet: &mut Sheet, layout: &Layout, lane: &LaneBox, top: f64, (begin, end): (f64, f64)) {
    let bottom = top + layout.fuse;
    beside(sheet, f64::midpoint(top, bottom), &lane.label, 3);
    // Fuses that are lit anew within a pixel are drawn as one block.
    let mut block: Option<(f64, f64)> = None;
    let flush = |sheet: &mut Sheet, block: Option<(f64, f64)>| {
        if let Some((left, right)) = block {
            wedge(sheet, &[(left, top), (right.max(left + 0.5), top)], bottom, false);
        }
    };
    for fuse in &lane.fuses {
        let (from, to) = (fuse.from.max(fuse.shown_from).max(begin), fuse.to.min(end));
        if to < from {
            continue;
        }
        let (left, right) = (layout.axis.at(from), layout.axis.at(to));
        if !fuse.burnt && right - left < 1.0 {
            block = match block {
                Some((first, last)) if left <= last + 1.0 => Some((first, right)),
                other => {
                    flush(sheet, other);
                    Some((left, right))
                }
            };
            continue;
        }
        flush(sheet, block.take());
        let left = |at: f64| if fuse.length > 0.0 { (1.0 - (at - fuse.from) / fuse.length).clamp(0.0, 1.0) } else { 0.0 };
        let times = std::iter::once(from).chain(layout.axis.between(from, to)).chain([to]);
        let tops: Vec<Point> = times.map(|at| (layout.axis.at(at), bottom - layout.fuse * left(at))).collect();
        wedge(sheet, &tops, bottom, fuse.burnt);
    }
    flush(sheet, block);
    sheet.line(&[(LEFT, bottom), (layout.right, bottom)], FAINT, 1.0);
}

/// What is written in the lane of a box: states above its fuses, and where one burnt out.
fn words(sheet: &mut Sheet, layout: &Layout, lane: &LaneBox, top: f64, (begin, end): (f64, f64)) {
    let alike = |a: &Fuse, b: &Fuse| a.state == b.state && a.length.to_bits() == b.length.to_bits();
    let mut runs: Vec<(f64, f64, String)> = lane
        .fuses
        .chunk_by(alike)
        .filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            let (from, to) = (layout.axis.at(first.shown_from.max(begin)), layout.axis.at(last.to.min(end)));
            Some((from, to, format!("{} {}", first.state, human(rounded(first.length)))))
        })
        .collect();
    // The longest first; a label may reach over what follows it, but not into another label.
    runs.sort_by(|a, b| (b.1 - b.0).total_cmp(&(a.1 - a.0)).then(a.0.total_cmp(&b.0)));
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for (from, _, label) in runs {
        let label = fit(&label, SMALL, 260.0);
        let wide = width(&label, SMALL);
        let from = from.min(layout.right - wide);
        if taken.iter().any(|(a, b)| from < b + 8.0 && from + wide + 8.0 > *a) {
            continue;
        }
        taken.push((from, from + wide));
        sheet.rect((from, top - 16.0), (from + wide + 2.0, top - 3.0), WHITE);
        sheet.text((from + 1.0, top - 6.0), Hold::Start, (SMALL, SOFT), 260.0, &label);
    }
    let bottom = top + layout.fuse;
    let mut free = f64::NEG_INFINITY;
    for (index, fuse) in lane.fuses.iter().enumerate().filter(|(_, f)| f.burnt && f.to >= begin && f.to <= end) {
        let x = layout.axis.at(fuse.to);
        cross(sheet, (x, bottom), 5.0, 2.5);
        let label = format!("burnt out after {}", human(rounded(fuse.length)));
        let next = lane.fuses.get(index + 1).map_or(layout.right, |next| layout.axis.at(next.shown_from.min(end)));
        let wide = width(&label, SMALL);
        if x + 10.0 + wide <= next && x + 10.0 > free {
            sheet.text((x + 10.0, bottom - 8.0), Hold::Start, (SMALL, RED_TEXT), 260.0, &label);
            free = x + 14.0 + wide;
        }
    }
}

/// Writes a name at the left of its lane, in lines where it is long: broken behind commas, colons and at spaces.
fn beside(sheet: &mut Sheet, y: f64, label: &str, lines_max: usize) {
    const LINE: f64 = 15.0;
    let room = LEFT - MARGIN - 10.0;
    let mut lines: Vec<String> = vec![String::new()];
    let parts = label.split_inclusive([',', ' ']);
    let parts =
        parts.flat_map(|part| if width(part.trim_end(), BODY) > room { part.split_inclusive(':') } else { part.split_inclusive('\0') });
    for part in parts {
        let last = lines.len() - 1;
        let joined = format!("{}{part}", lines[last]);
        if lines[last].is_empty() || width(joined.trim_end(), BODY) <= room || lines.len() == lines_max {
            lines[last] = joined;
        } else {
            lines.push(part.to_owned());
        }
    }
    let first = y + 4.0 - (lines.len() - 1) as f64 * LINE / 2.0;
    for (index, line) in lines.iter().enumerate() {
        sheet.text((MARGIN, first + index as f64 * LINE), Hold::Start, (BODY, INK), room, line.trim_end());
    }
}

/// Seconds without digits that nobody reads on an axis.
fn rounded(secs: f64) -> f64 {
    let unit = if secs >= 100.0 {
        1.0
    } else if secs >= 1.0 {
        0.1
    } else {
        0.001
    };
    (secs / unit).round() * unit
}
