//! One connection at two points: which packets were seen at both, which at one only, and where each was born.

use super::align::{Found, Rule, align, groups, order, shifts};
use super::offset::Offset;
use super::pair::Basis;
use crate::decode::IcmpError;
use crate::engine::dossier::Sighting;
use crate::flow::Shape;
use crate::net::{Direction, Proto, Seq, TcpFlags};
use crate::study::explain::birth::{Birth, Hops};
use crate::time::{Duration, Instant};

/// A packet at one point, turned so that its direction is that of the first capture's flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tagged {
    /// The packet.
    pub seen: Sighting,
    /// Which of the flows of this point it belongs to: 0 is the pair's own, others have other addresses.
    pub of: usize,
}

/// What a point holds of a connection.
#[derive(Clone, Debug, Default)]
pub struct Half {
    /// Its packets.
    pub packets: Vec<Tagged>,
    /// ICMP errors about them.
    pub errors: Vec<IcmpError>,
    /// From the first to the last packet of the whole capture.
    pub span: (Instant, Instant),
    /// The initial sequence numbers, where they were captured.
    pub initial: [Option<Seq>; 2],
}

/// Where a packet was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// At both points.
    Both,
    /// At the first only, which is nearer to the client.
    Near,
    /// At the second only.
    Far,
}

/// What became of a packet between the two points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passage {
    /// It passed.
    Crossed,
    /// It passed with other addresses than the rest of its connection.
    Leaked,
    /// It did not come out, nor did anything after it in its direction that would have to.
    Kept,
    /// It did not come out; its bytes came through later.
    Lost,
    /// It came out and had never gone in.
    Born,
    /// It comes from the other end like all others, or was acknowledged: the other capture lacks it.
    Missed,
    /// The other capture began only later.
    Before,
    /// It is among the very last packets, after the end of the other capture, which may have been stopped by then.
    After,
}

impl Passage {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Passage::Crossed => "crossed",
            Passage::Leaked => "leaked",
            Passage::Kept => "kept",
            Passage::Lost => "lost",
            Passage::Born => "born",
            Passage::Missed => "missed",
            Passage::Before => "before",
            Passage::After => "after",
        }
    }
}

/// Who sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The client.
    Client,
    /// The server.
    Server,
    /// Something between the two points.
    Between,
    /// Something beyond the points that is not the host in whose name it was sent.
    Beyond,
}

impl Origin {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Client => "client",
            Origin::Server => "server",
            Origin::Between => "between",
            Origin::Beyond => "beyond",
        }
    }
}

/// A packet of the connection, at one point or at both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, by the clock of the first point.
    pub at: Instant,
    /// Which way it went.
    pub dir: Direction,
    /// At the first point, and at the second.
    pub at_point: [Option<Tagged>; 2],
    /// What became of it.
    pub passage: Passage,
    /// Whether its bytes came out cut up otherwise.
    pub recut: bool,
}

impl Event {
    /// Where it was seen.
    pub const fn seen(&self) -> Seen {
        match self.at_point {
            [Some(_), Some(_)] => Seen::Both,
            [None, Some(_)] => Seen::Far,
            _ => Seen::Near,
        }
    }

    /// The packet where its sender is nearer, or else where it was seen.
    pub fn packet(&self) -> Option<(usize, Tagged)> {
        let first = self.dir.index();
        [first, 1 - first].into_iter().find_map(|point| self.at_point[point].map(|packet| (point, packet)))
    }

    /// Its flags.
    pub fn flags(&self) -> TcpFlags {
        self.packet().map_or(TcpFlags::default(), |(_, packet)| packet.seen.seg.flags)
    }
}

/// An ICMP error at one point or at both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Complaint {
    /// At the first point, and at the second.
    pub at_point: [Option<IcmpError>; 2],
}

/// One connection at two points.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Its packets, by the clock of the first point.
    pub events: Vec<Event>,
    /// ICMP errors.
    pub complaints: Vec<Complaint>,
    /// How the clocks stand to each other.
    pub offset: Option<Offset>,
    /// Whether the capture that was named second is the nearer one to the client.
    pub swapped: bool,
    /// Whether times to live say which point is nearer to the client.
    pub ordered: bool,
    /// By how much the sequence numbers of either direction are higher at the second point; nothing where none are comparable.
    pub shift: [Option<u32>; 2],
    /// Whether the connection ends between the points and another one begins.
    pub proxied: bool,
    /// Whether IP identifications pass unchanged; nothing where none can be compared.
    pub ids_kept: Option<bool>,
    hops: [[Hops; 2]; 2],
}

/// Within this, cut up bytes are looked for.
const RECUT: i128 = 250_000_000;
/// Among so many packets.
const RECUT_MAX: usize = 4096;
impl Comparison {
    /// Compares what the two points hold. `halves` are in the order in which the captures were named.
    pub fn new(proto: Proto, basis: Basis, halves: [Half; 2]) -> Comparison {
        let shift = if basis == Basis::Content && proto == Proto::Tcp { shifts([&halves[0], &halves[1]]) } else { [Some(0); 2] };
        let mut rule = Rule { proto, shift: shift.map(Option::unwrap_or_default), proxied: false };
        let mut halves = halves;
        let data = |half: &Half| half.packets.iter().filter(|p| p.seen.seg.len > 0).count();
        if basis == Basis::Content && proto == Proto::Tcp {
            // Where not even half of the data comes out with the same acknowledgements, the connection is not the same.
            let both = groups([&halves[0], &halves[1]], &rule);
            let same: usize = both.iter().filter(|(key, _)| key.len > 0).map(|(_, places)| places[0].len().min(places[1].len())).sum();
            rule.proxied = same * 2 < data(&halves[0]).min(data(&halves[1]));
        }
        let mut found = align([&halves[0], &halves[1]], &rule);
        let (swapped, ordered) = order([&halves[0], &halves[1]], &found);
        let mut shift = shift;
        if swapped {
            halves.swap(0, 1);
            shift = shift.map(|by| by.map(u32::wrapping_neg));
            rule.shift = rule.shift.map(u32::wrapping_neg);
            found = align([&halves[0], &halves[1]], &rule);
        }
        let hops = hops([&halves[0], &halves[1]], &found.pairs);
        let mut comparison = Comparison {
            events: Vec::new(),
            complaints: complaints([&halves[0], &halves[1]], found.offset),
            offset: found.offset,
            swapped,
            ordered,
            shift,
            proxied: rule.proxied,
            ids_kept: found.ids_kept,
            hops,
        };
        comparison.events = events([&halves[0], &halves[1]], &found, &rule);
        comparison.judge([&halves[0], &halves[1]]);
        comparison
    }

    /// The times to live of one end's packets at one point.
    pub fn hops(&self, point: usize, dir: Direction) -> Hops {
        self.hops[point][dir.index()]
    }

    /// What became of the packets that were seen at one point only.
    fn judge(&mut self, halves: [&Half; 2]) {
        let shift = self.offset.map_or(0, |offset| offset.nanos);
        // The last packet of each direction that passed, and where bytes that passed begin.
        let mut passed_later: [bool; 2] = [false; 2];
        let mut bytes_later: Vec<(Direction, u32, u32)> = Vec::new();
        // The highest acknowledgement that passed, at either point and from either end.
        let mut acked: [[Option<Seq>; 2]; 2] = [[None; 2]; 2];
        for index in (0..self.events.len()).rev() {
            let event = self.events[index];
            let Some((_, packet)) = event.packet() else { continue };
            let seg = &packet.seen.seg;
            if event.seen() == Seen::Both || event.recut {
                let other = event.at_point.iter().flatten().any(|p| p.of > 0);
                self.events[index].passage = if other { Passage::Leaked } else { Passage::Crossed };
                passed_later[event.dir.index()] |= !other;
                for (point, packet) in event.at_point.iter().enumerate() {
                    let Some(seg) = packet.map(|packet| packet.seen.seg).filter(|seg| seg.flags.has(TcpFlags::ACK)) else { continue };
                    let highest = &mut acked[point][event.dir.index()];
                    *highest = Some(highest.map_or(seg.ack, |known| if seg.ack.after(known) { seg.ack } else { known }));
                }
                if seg.len > 0 && !other && event.seen() != Seen::Far {
                    bytes_later.push((event.dir, seg.seq.0, seg.len));
                }
                continue;
            }
            let point = usize::from(event.seen() == Seen::Far);
            let there = i128::from(seg.at.0) + if point == 0 { shift } else { -shift };
            let before = there < i128::from(halves[1 - point].span.0.0);
            let outgoing = point == event.dir.index();
            self.events[index].passage = if before {
                Passage::Before
            } else if outgoing {
                let again = bytes_later
                    .iter()
                    .rev()
                    .take(512)
                    .any(|(dir, seq, len)| *dir == event.dir && seg.len > 0 && seg.seq.0.wrapping_sub(*seq) < *len);
                let later = if seg.len > 0 { again } else { passed_later[event.dir.index()] };
                let arrived = seg.len > 0 && acked[point][event.dir.opposite().index()].is_some_and(|ack| !ack.before(seg.end()));
                match (later, arrived) {
                    (true, _) => Passage::Lost,
                    (false, true) => Passage::Missed,
                    (false, false) => Passage::Kept,
                }
            } else {
                let alike = self.hops[point][event.dir.index()].judge(seg.ttl) == Birth::Alike;
                if alike && !seg.flags.has(TcpFlags::RST) { Passage::Missed } else { Passage::Born }
            };
        }
        self.leave_open(halves, shift);
    }

    /// The last packets of all, where nothing shows that the other capture was still running: no repetition, no reset.
    fn leave_open(&mut self, halves: [&Half; 2], shift: i128) {
        const MOST: usize = 2;
        let from = self.events.iter().rposition(|event| event.seen() == Seen::Both || event.recut).map_or(0, |last| last + 1);
        let open = |event: &Event| {
            let Some((_, packet)) = event.packet() else { return false };
            let point = usize::from(event.seen() == Seen::Far);
            let there = i128::from(packet.seen.seg.at.0) + if point == 0 { shift } else { -shift };
            let proves = event.flags().has(TcpFlags::RST) || packet.seen.shape == Shape::Retransmission;
            there > i128::from(halves[1 - point].span.1.0) && !proves
        };
        let rest = &mut self.events[from..];
        if rest.len() <= MOST && rest.iter().all(open) {
            for event in rest {
                event.passage = Passage::After;
            }
        }
    }

    /// Who sent a packet.
    pub fn origin(&self, event: &Event) -> Origin {
        if event.passage == Passage::Born {
            return Origin::Between;
        }
        let Some((point, packet)) = event.packet() else { return Origin::Between };
        match (self.hops[point][event.dir.index()].judge(packet.seen.seg.ttl), event.dir) {
            (Birth::Otherwise, _) => Origin::Beyond,
            (_, Direction::Original) => Origin::Client,
            (_, Direction::Reply) => Origin::Server,
        }
    }

    /// How many packets were seen at both points, and at either only.
    pub fn counts(&self) -> [u32; 3] {
        self.events.iter().fold([0; 3], |mut counts, event| {
            counts[event.seen() as usize] += 1;
            counts
        })
    }
}

fn hops(halves: [&Half; 2], pairs: &[(usize, usize)]) -> [[Hops; 2]; 2] {
    [0, 1].map(|point| {
        [Direction::Original, Direction::Reply].map(|dir| {
            let mine = |s: &&Sighting| s.seg.dir == dir && !s.seg.flags.has(TcpFlags::RST);
            let paired = pairs.iter().map(|(a, b)| if point == 0 { *a } else { *b });
            let crossed = Hops::of(paired.map(|place| &halves[point].packets[place].seen).filter(mine));
            if crossed.packets > 0 { crossed } else { Hops::of(halves[point].packets.iter().map(|p| &p.seen).filter(mine)) }
        })
    })
}

fn events(halves: [&Half; 2], found: &Found, rule: &Rule) -> Vec<Event> {
    let shift = found.offset.map_or(0, |offset| offset.nanos);
    let here = |point: usize, at: Instant| {
        if point == 0 { at } else { Instant((i128::from(at.0) - shift).clamp(0, i128::from(u64::MAX)) as u64) }
    };
    let mut partner = [vec![None; halves[0].packets.len()], vec![None; halves[1].packets.len()]];
    for (a, b) in &found.pairs {
        partner[0][*a] = Some(*b);
        partner[1][*b] = Some(*a);
    }
    let mut events = Vec::new();
    for point in 0..2 {
        for (place, packet) in halves[point].packets.iter().enumerate() {
            let other = partner[point][place].map(|at: usize| halves[1 - point].packets[at]);
            // A pair is one event; what cannot have a counterpart is none.
            if point == 1 && other.is_some() || rule.key(point, packet).is_none() {
                continue;
            }
            let at_point = if point == 0 { [Some(*packet), other] } else { [None, Some(*packet)] };
            events.push(Event {
                at: here(point, packet.seen.seg.at),
                dir: packet.seen.seg.dir,
                at_point,
                passage: Passage::Crossed,
                recut: other.is_none() && rule.proto == Proto::Tcp && recut(halves, point, packet, rule, shift),
            });
        }
    }
    events.sort_by_key(|event| (event.at, event.seen() as usize));
    events
}

/// Whether the bytes of a packet were seen at the other point in other packets: a host or a box joins and cuts segments.
fn recut(halves: [&Half; 2], point: usize, packet: &Tagged, rule: &Rule, shift: i128) -> bool {
    let seg = &packet.seen.seg;
    if seg.len == 0 {
        return false;
    }
    let by = rule.shift[seg.dir.index()];
    let start = if point == 0 { seg.seq.0.wrapping_add(by) } else { seg.seq.0.wrapping_sub(by) };
    let there = i128::from(seg.at.0) + if point == 0 { shift } else { -shift };
    let others = &halves[1 - point].packets;
    let from = others.partition_point(|p| i128::from(p.seen.seg.at.0) < there - RECUT);
    let near = others[from..].iter().take(RECUT_MAX).take_while(|p| i128::from(p.seen.seg.at.0) <= there + RECUT);
    near.filter(|p| p.seen.seg.dir == seg.dir && p.seen.seg.len > 0 && p.seen.seg.len != seg.len).any(|p| {
        let offset = start.wrapping_sub(p.seen.seg.seq.0);
        offset < p.seen.seg.len || p.seen.seg.seq.0.wrapping_sub(start) < seg.len
    })
}

fn complaints(halves: [&Half; 2], offset: Option<Offset>) -> Vec<Complaint> {
    let shift = offset.map_or(0, |offset| offset.nanos);
    let mut theirs: Vec<Option<IcmpError>> = halves[1].errors.iter().map(|error| Some(*error)).collect();
    let mut all: Vec<Complaint> = halves[0]
        .errors
        .iter()
        .map(|error| {
            let same = |other: &&mut Option<IcmpError>| {
                other.is_some_and(|other| {
                    let later = i128::from(other.at.0) - i128::from(error.at.0) - shift;
                    (other.kind, other.code, other.seq) == (error.kind, error.code, error.seq) && later.abs() < 1_000_000_000
                })
            };
            Complaint { at_point: [Some(*error), theirs.iter_mut().find(same).and_then(Option::take)] }
        })
        .collect();
    all.extend(theirs.into_iter().flatten().map(|error| Complaint { at_point: [None, Some(error)] }));
    all
}

/// The time between two events at a point where both were seen.
pub(super) fn between(one: &Event, other: &Event, point: usize) -> Option<Duration> {
    Some(other.at_point[point]?.seen.seg.at.since(one.at_point[point]?.seen.seg.at))
}
