//! Which packet at one point is which at the other: the same fields, and of repetitions the same IP ID or the nearest time.

use super::compare::{Half, Tagged};
use super::offset::Offset;
use crate::flow::Shape;
use crate::net::{Direction, Proto, TcpFlags};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    dir: Direction,
    seq: u32,
    ack: u32,
    flags: u8,
    pub(super) len: u32,
}

/// How packets of the two points are known to be the same.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    pub(super) proto: Proto,
    pub(super) shift: [u32; 2],
    pub(super) proxied: bool,
}

impl Rule {
    /// What a packet of one point is looked up by; nothing for one that has no counterpart.
    pub(super) fn key(&self, point: usize, packet: &Tagged) -> Option<Key> {
        let seg = &packet.seen.seg;
        if packet.seen.shape == Shape::Duplicate {
            return None;
        }
        if self.proto == Proto::Udp {
            let mark = packet.seen.print.map_or(0, |print| print.mark());
            return Some(Key { dir: seg.dir, seq: mark, ack: 0, flags: 0, len: seg.len });
        }
        let back = |number: u32, dir: Direction| number.wrapping_sub(if point == 1 { self.shift[dir.index()] } else { 0 });
        let ends = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
        if self.proxied && seg.len == 0 && !seg.flags.any(ends) {
            return None;
        }
        let acks = seg.flags.has(TcpFlags::ACK) && !self.proxied;
        let ack = if acks { back(seg.ack.0, seg.dir.opposite()) } else { 0 };
        let mask = if self.proxied { ends } else { ends | TcpFlags::ACK };
        Some(Key { dir: seg.dir, seq: back(seg.seq.0, seg.dir), ack, flags: seg.flags.0 & mask, len: seg.len })
    }
}

fn agrees(one: &Tagged, other: &Tagged) -> bool {
    match (&one.seen.print, &other.seen.print) {
        (Some(a), Some(b)) => a.agrees(b) != Some(false),
        _ => true,
    }
}

pub(super) type Groups = BTreeMap<Key, [Vec<usize>; 2]>;

pub(super) fn groups(halves: [&Half; 2], rule: &Rule) -> Groups {
    let mut groups: Groups = BTreeMap::new();
    for (point, half) in halves.into_iter().enumerate() {
        for (place, packet) in half.packets.iter().enumerate() {
            if let Some(key) = rule.key(point, packet) {
                groups.entry(key).or_default()[point].push(place);
            }
        }
    }
    groups
}

/// By how much the numbers of each direction are shifted: what most packets with the same payload say.
pub(super) fn shifts(halves: [&Half; 2]) -> [Option<u32>; 2] {
    [Direction::Original, Direction::Reply].map(|dir| {
        let side = dir.index();
        if let (Some(one), Some(other)) = (halves[0].initial[side], halves[1].initial[side]) {
            return Some(other.0.wrapping_sub(one.0));
        }
        let mut firsts: BTreeMap<u32, u32> = BTreeMap::new();
        let prints = |half: &'_ Half| -> Vec<(u32, u32)> {
            let mine = half.packets.iter().filter(|p| p.seen.seg.dir == dir);
            mine.filter_map(|p| Some((p.seen.print?.mark(), p.seen.seg.seq.0))).collect()
        };
        for (mark, seq) in prints(halves[0]) {
            firsts.entry(mark).or_insert(seq);
        }
        let mut votes: BTreeMap<u32, u32> = BTreeMap::new();
        for (mark, seq) in prints(halves[1]) {
            if let Some(first) = firsts.remove(&mark) {
                *votes.entry(seq.wrapping_sub(first)).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(shift, count)| (*count, std::cmp::Reverse(*shift))).map(|(shift, _)| shift)
    })
}

/// Beyond this, packets with the same fields are two.
const NEAR: i128 = 150_000_000;
/// A packet that has no double may have waited so long between the points.
const ALONE: i128 = 30_000_000_000;

/// What belongs together.
pub(super) struct Found {
    pub(super) pairs: Vec<(usize, usize)>,
    pub(super) offset: Option<Offset>,
    pub(super) ids_kept: Option<bool>,
}

pub(super) fn align(halves: [&Half; 2], rule: &Rule) -> Found {
    let groups = groups(halves, rule);
    let packet = |point: usize, place: usize| &halves[point].packets[place];
    let same = |a: usize, b: usize| agrees(packet(0, a), packet(1, b));
    // Packets that have no double settle how the clocks stand, and whether IP identifications pass.
    let mut anchors: Vec<(usize, usize)> = groups
        .values()
        .filter_map(|[ours, theirs]| match (&ours[..], &theirs[..]) {
            ([a], [b]) if same(*a, *b) => Some((*a, *b)),
            _ => None,
        })
        .collect();
    anchors.sort_unstable();
    let (mut equal, mut unequal) = (0_usize, 0_usize);
    for (a, b) in &anchors {
        match (packet(0, *a).seen.seg.ip_id, packet(1, *b).seen.seg.ip_id) {
            (0, _) | (_, 0) => {}
            (x, y) if x == y => equal += 1,
            _ => unequal += 1,
        }
    }
    let ids_kept = (equal + unequal > 0).then(|| equal > unequal * 9);
    let later = |a: usize, b: usize| i128::from(packet(1, b).seen.seg.at.0) - i128::from(packet(0, a).seen.seg.at.0);
    let mut waits: Vec<i128> = anchors.iter().map(|(a, b)| later(*a, *b)).collect();
    waits.sort_unstable();
    let middle = waits.get(waits.len() / 2).copied();
    // The clock may drift: what is near is judged by the anchor next in time.
    let expected = |a: usize| {
        let next = anchors.partition_point(|(place, _)| *place < a);
        let around = [next.checked_sub(1), Some(next)].into_iter().flatten().filter_map(|at| anchors.get(at));
        let time = packet(0, a).seen.seg.at;
        let nearest = around.min_by_key(|(place, _)| packet(0, *place).seen.seg.at.0.abs_diff(time.0));
        nearest.map(|(a, b)| later(*a, *b)).or(middle)
    };
    let mut pairs = Vec::new();
    for [ours, theirs] in groups.values() {
        if let ([a], [b]) = (&ours[..], &theirs[..]) {
            let near = expected(*a).is_none_or(|wait| (later(*a, *b) - wait).abs() <= ALONE);
            if same(*a, *b) && near {
                pairs.push((*a, *b));
            }
            continue;
        }
        doubles(ours, theirs, &mut pairs, |a, b| {
            let ids = (packet(0, a).seen.seg.ip_id, packet(1, b).seen.seg.ip_id);
            if !same(a, b) {
                return None;
            }
            let distance = expected(a).map_or(0, |wait| (later(a, b) - wait).abs());
            match (ids_kept, ids) {
                (Some(true), (1.., 1..)) if ids.0 == ids.1 && distance <= ALONE => Some(distance),
                (Some(true), (1.., 1..)) => None,
                _ => (distance <= NEAR).then_some(distance),
            }
        });
    }
    pairs.sort_unstable();
    let seen = pairs.iter().map(|(a, b)| {
        let (one, other) = (packet(0, *a).seen.seg, packet(1, *b).seen.seg);
        (one.dir, one.at, other.at)
    });
    Found { offset: Offset::of(seen), pairs, ids_kept }
}

/// Packets with the same fields: the nearest in time belong together.
fn doubles(ours: &[usize], theirs: &[usize], pairs: &mut Vec<(usize, usize)>, distance: impl Fn(usize, usize) -> Option<i128>) {
    /// More with the same fields are compared with their neighbours only.
    const WINDOW: usize = 64;
    let mut possible = Vec::new();
    for (at, a) in ours.iter().enumerate() {
        let from = at.saturating_sub(WINDOW).min(theirs.len().saturating_sub(2 * WINDOW));
        for b in theirs.iter().skip(from).take(2 * WINDOW) {
            possible.extend(distance(*a, *b).map(|distance| (distance, *a, *b)));
        }
    }
    possible.sort_unstable();
    let (mut mine, mut its) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for (_, a, b) in possible {
        if !mine.contains(&a) && !its.contains(&b) {
            mine.insert(a);
            its.insert(b);
            pairs.push((a, b));
        }
    }
}

/// Whether the second capture is nearer to the client, and whether anything says so: routers count times to live down.
pub(super) fn order(halves: [&Half; 2], found: &Found) -> (bool, bool) {
    let (mut straight, mut turned) = (0_usize, 0_usize);
    for (a, b) in &found.pairs {
        let (one, other) = (&halves[0].packets[*a].seen.seg, &halves[1].packets[*b].seen.seg);
        let towards = if one.dir == Direction::Original { one.ttl.cmp(&other.ttl) } else { other.ttl.cmp(&one.ttl) };
        straight += usize::from(towards.is_gt());
        turned += usize::from(towards.is_lt());
    }
    (turned > straight, turned != straight)
}
