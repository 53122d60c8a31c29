//! One flow's life as a page draws it: few enough marks for a browser, and what was left out in a sentence.

use super::markup::visible;
use crate::report::chart::{Fuse, LaneBox, LanePacket, Lanes, PacketKind};
use serde::Serialize;

/// A packet: when, from the server (1) or the client (0), its kind, whether it was stopped (1) or passed (0), the box that stopped or sent it
/// or -1, its frame or 0, its payload.
type PacketRow = (f64, u8, u8, u8, i32, u32, u32);
/// A timer: when it was set, from when on it is seen, until when, its length, its state's place, and whether it burnt out (1), or stands
/// for many that were set anew (2).
type FuseRow = (f64, f64, f64, f64, usize, u8);

/// What an end feels from some moment on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Feels {
    /// Seconds.
    pub from: f64,
    /// What, in a few words.
    pub text: String,
}

/// A box of a life.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LifeBox {
    /// How it is called.
    pub label: String,
    /// Its timers, rising.
    pub fuses: Vec<FuseRow>,
}

/// A moment that matters.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Moment {
    /// Seconds.
    pub at: f64,
    /// What happened.
    pub text: String,
    /// Whether it is what the picture is about.
    pub strong: bool,
}

/// One flow's life.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Life {
    /// The client's name.
    pub client: String,
    /// The server's.
    pub server: String,
    /// From when to when, seconds.
    pub span: (f64, f64),
    /// The names of the states.
    pub states: Vec<String>,
    /// Packets, rising.
    pub packets: Vec<PacketRow>,
    /// The boxes, from the client on.
    pub boxes: Vec<LifeBox>,
    /// What is marked, rising.
    pub cuts: Vec<Moment>,
    /// What the client and the server feel.
    pub felt: [Option<Feels>; 2],
    /// What was left out; may be empty.
    pub note: String,
}

/// Marks of a life that a page draws at most, and of all lives of a page together.
const MARKS_MAX: usize = 2_000;
const ALL_MARKS: usize = 40_000;

/// How many marks each of so many lives may have.
pub fn marks_each(lives: usize) -> usize {
    (ALL_MARKS / lives.max(1)).clamp(200, MARKS_MAX)
}

impl Life {
    /// A life from what a picture of it would show. `numbers` are the frame and the payload of each packet, where there are frames.
    pub fn new(lanes: &Lanes, numbers: &[(u32, u32)], most: usize) -> Life {
        let mut states: Vec<String> = lanes.boxes.iter().flat_map(|lane| &lane.fuses).map(|fuse| fuse.state.clone()).collect();
        states.sort();
        states.dedup();
        let kept = telling(&lanes.packets, most);
        let note = if kept.len() < lanes.packets.len() {
            format!(
                "{} of {} packets are drawn: those that a box kept, those that open, close or ask, and those beside the longest silences.",
                kept.len(),
                lanes.packets.len()
            )
        } else {
            String::new()
        };
        let packets = kept.into_iter().map(|index| row(&lanes.packets[index], numbers.get(index).copied().unwrap_or_default())).collect();
        let boxes =
            lanes.boxes.iter().map(|lane| LifeBox { label: visible(&lane.label), fuses: thinned(lane, &states, most / 2) }).collect();
        let mut cuts: Vec<Moment> =
            lanes.cuts.iter().map(|cut| Moment { at: micros(cut.at), text: cut.text.clone(), strong: cut.strong }).collect();
        cuts.sort_by(|a, b| a.at.total_cmp(&b.at));
        Life {
            client: lanes.client.clone(),
            server: lanes.server.clone(),
            span: (micros(lanes.span.0), micros(lanes.span.1)),
            states,
            packets,
            boxes,
            cuts,
            felt: [None, None],
            note,
        }
    }

    /// Makes room at the end for what happens after everything that is drawn.
    pub fn extend(&mut self, to: f64) {
        self.span.1 = self.span.1.max(micros(to));
    }
}

/// Seconds without digits that a picture cannot show.
fn micros(secs: f64) -> f64 {
    (secs * 1e6).round() / 1e6
}

const fn number(kind: PacketKind) -> u8 {
    match kind {
        PacketKind::Syn => 0,
        PacketKind::Data => 1,
        PacketKind::Ack => 2,
        PacketKind::Probe => 3,
        PacketKind::Fin => 4,
        PacketKind::Rst => 5,
        PacketKind::Icmp => 6,
    }
}

fn row(packet: &LanePacket, (frame, len): (u32, u32)) -> PacketRow {
    let by = packet.from_box.or(packet.kept_by).and_then(|index| i32::try_from(index).ok()).unwrap_or(-1);
    (micros(packet.at), u8::from(!packet.from_client), number(packet.kind), u8::from(!packet.passed), by, frame, len)
}

/// The places of the packets that tell most, in their order.
fn telling(packets: &[LanePacket], most: usize) -> Vec<usize> {
    if packets.len() <= most {
        return (0..packets.len()).collect();
    }
    let last = packets.len() - 1;
    let silence = |index: usize| {
        let before = if index == 0 { f64::INFINITY } else { packets[index].at - packets[index - 1].at };
        let after = if index == last { f64::INFINITY } else { packets[index + 1].at - packets[index].at };
        before.max(after)
    };
    let class = |packet: &LanePacket| match (packet.passed, packet.kind) {
        (false, _) => 2,
        (true, PacketKind::Data | PacketKind::Ack) => 0,
        _ => 1,
    };
    let mut order: Vec<(u8, f64, usize)> =
        packets.iter().enumerate().map(|(index, packet)| (class(packet), silence(index), index)).collect();
    // What opens, closes or asks may not take all the room: a silence matters as much as an endless row of probes.
    order.sort_by(|a, b| (b.0 == 2).cmp(&(a.0 == 2)).then(b.1.total_cmp(&a.1)).then(b.0.cmp(&a.0)).then(a.2.cmp(&b.2)));
    let (silences, rest) = order.split_at(most / 2);
    let mut rest = rest.to_vec();
    rest.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
    let mut kept: Vec<usize> = silences.iter().chain(rest.iter().take(most - silences.len())).map(|(.., index)| *index).collect();
    kept.sort_unstable();
    kept
}

/// The timers of a box: the long ones one by one, those that were soon set anew in blocks.
fn thinned(lane: &LaneBox, states: &[String], most: usize) -> Vec<FuseRow> {
    let state = |fuse: &Fuse| states.binary_search(&fuse.state).unwrap_or_default();
    let one = |fuse: &Fuse, shown: f64, how: u8| (micros(fuse.from), micros(shown), micros(fuse.to), micros(fuse.length), state(fuse), how);
    let mut order: Vec<usize> = (0..lane.fuses.len()).collect();
    if order.len() > most {
        order.sort_by(|a, b| {
            let (a, b) = (&lane.fuses[*a], &lane.fuses[*b]);
            b.burnt.cmp(&a.burnt).then((b.to - b.shown_from).total_cmp(&(a.to - a.shown_from))).then(a.from.total_cmp(&b.from))
        });
        order.truncate(most);
        order.sort_unstable();
    }
    let mut rows = Vec::with_capacity(order.len() * 2 + 1);
    let mut next = 0;
    for index in order.into_iter().chain([lane.fuses.len()]) {
        // What lies between two that are kept is one block, from the first on until the last.
        if let (Some(first), Some(last)) = (lane.fuses.get(next), lane.fuses.get(index.wrapping_sub(1)))
            && next < index
        {
            rows.push(one(last, first.shown_from, 2));
        }
        if let Some(fuse) = lane.fuses.get(index) {
            rows.push(one(fuse, fuse.shown_from, u8::from(fuse.burnt)));
        }
        next = index + 1;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(at: f64, kind: PacketKind, passed: bool) -> LanePacket {
        LanePacket { at, from_client: true, kind, passed, from_box: None, kept_by: None }
    }

    #[test]
    fn of_too_many_packets_the_telling_ones_are_kept() {
        let mut packets: Vec<LanePacket> = (0..10_000).map(|n| packet(f64::from(n) / 1000.0, PacketKind::Data, true)).collect();
        packets.push(packet(5000.0, PacketKind::Data, false));
        packets.push(packet(5000.001, PacketKind::Rst, true));
        let kept = telling(&packets, 100);
        assert_eq!(kept.len(), 100);
        for wanted in [0, 9_999, 10_000, 10_001] {
            assert!(kept.contains(&wanted), "{wanted}");
        }
        assert!(kept.is_sorted());
    }

    #[test]
    fn timers_that_are_soon_set_anew_become_one() {
        let fuse = |from: f64, to: f64, burnt| Fuse { from, shown_from: from, to, length: 900.0, state: "ESTABLISHED".to_owned(), burnt };
        let mut fuses: Vec<Fuse> = (0..5_000).map(|n| fuse(f64::from(n), f64::from(n + 1), false)).collect();
        fuses.push(fuse(5_000.0, 5_900.0, true));
        let lane = LaneBox { label: "box".to_owned(), fuses };
        let rows = thinned(&lane, &["ESTABLISHED".to_owned()], 10);
        assert!(rows.len() <= 21, "{}", rows.len());
        assert_eq!(rows.last().map(|row| (row.0, row.2, row.5)), Some((5_000.0, 5_900.0, 1)));
        let longest = rows.iter().filter(|row| row.5 == 2).map(|row| row.2 - row.1).fold(0.0, f64::max);
        assert!((longest - 4_991.0).abs() < 1e-9, "{longest}");
        // Nothing is left uncovered.
        assert!(rows.windows(2).all(|pair| (pair[0].2 - pair[1].1).abs() < 1e-9));
    }
}
