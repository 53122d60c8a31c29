//! Everything that a capture holds about a few flows, packet by packet: besides what the models read also the marks by which two
//! captures of one packet are known to be of one (payload, time stamp, IP identification) and by which its sender is (time to live).
//!
//! For flows that somebody wants to see; read in a pass of its own. Judges nothing.

use super::diary::{Diarist, Kept};
use super::packets::{self, Seen};
use super::pipeline::{Follow, Job, most};
use crate::capture::{Capture, Record};
use crate::decode::{Decoded, IcmpError, content, stations};
use crate::flow::{Book, Flow, FlowTable, GapEvidence, Observation, Shape, StreamRule};
use crate::net::{Proto, Segment, Sock, TcpFlags};
use crate::time::{Duration, Instant};
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::atomic::AtomicBool;

/// What a payload was, as far as it was captured: the same bytes give the same print.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Print {
    /// Of the first 16 bytes, the first 64, and all.
    hashes: [u32; 3],
    /// How many bytes were captured.
    captured: u32,
    /// How many there were.
    len: u32,
}

const PREFIXES: [usize; 2] = [16, 64];

impl Print {
    /// The print of a payload of `len` bytes; nothing where there is nothing to know it by.
    pub fn of(payload: &[u8], len: u32) -> Option<Print> {
        if payload.is_empty() {
            return None;
        }
        let head = |most: usize| hash(&payload[..payload.len().min(most)]);
        let hashes = [head(PREFIXES[0]), head(PREFIXES[1]), hash(payload)];
        Some(Print { hashes, captured: payload.len() as u32, len })
    }

    /// Whether both are of one payload; nothing where too little was captured to say.
    pub fn agrees(&self, other: &Print) -> Option<bool> {
        if self.len != other.len {
            return Some(false);
        }
        let common = self.captured.min(other.captured);
        if self.captured == other.captured {
            return Some(self.hashes[2] == other.hashes[2]);
        }
        let level = PREFIXES.iter().rposition(|prefix| common as usize >= *prefix)?;
        Some(self.hashes[level] == other.hashes[level])
    }

    /// One number for the payload's beginning and length, the same for every capture that kept 16 bytes of it.
    pub fn mark(&self) -> u32 {
        self.hashes[0] ^ self.len.wrapping_mul(0x9e37_79b9)
    }
}

fn hash(bytes: &[u8]) -> u32 {
    FixedState::default().hash_one(bytes) as u32
}

/// A packet of a flow as it stands in a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The segment.
    pub seg: Segment,
    /// What it carries.
    pub print: Option<Print>,
    /// The sender's time stamp.
    pub stamp: Option<u32>,
    /// What it is to its flow.
    pub shape: Shape,
    /// The silence before it.
    pub gap: Duration,
    /// What is known about that silence.
    pub evidence: GapEvidence,
}

impl Sighting {
    fn new(record: &Record<'_>, packet: &Decoded, seg: Segment, observation: &Observation) -> Sighting {
        let content = content(record, packet);
        Sighting {
            seg,
            print: content.and_then(|content| Print::of(content.payload, packet.segment.len)),
            stamp: content.and_then(|content| content.stamp),
            shape: observation.shape,
            gap: observation.gap,
            evidence: observation.evidence,
        }
    }
}

/// A flow that a dossier is to be made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// TCP or UDP.
    pub proto: Proto,
    /// Its client and its server.
    pub socks: [Sock; 2],
    /// The file and frame with which it begins.
    pub first: (u16, u32),
    /// How many packets it had when it was found.
    pub packets: u64,
}

impl Subject {
    /// A flow as it was found, with its client and server.
    pub fn of(flow: &Flow, socks: [Sock; 2]) -> Subject {
        let packets = flow.segments.iter().map(|n| u64::from(*n)).sum();
        Subject { proto: flow.proto(), socks, first: (flow.first_file, flow.first_frame), packets }
    }
}

/// Another connection between the client and the service of the subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// When its SYN was captured.
    pub at: Instant,
    /// The frame.
    pub frame: u32,
    /// The file.
    pub file: u16,
    /// The client's port.
    pub port: u16,
}

/// What a capture holds about one flow.
#[derive(Debug, Default)]
pub struct Dossier {
    /// Its packets, in the order of the capture.
    pub sightings: Vec<Sighting>,
    /// Packets that are not written down because there are too many.
    pub left_out: u64,
    /// The link-layer addresses of its first packet: to whom and from whom.
    pub stations: Option<[u64; 2]>,
    /// SYNs of the same client to the same service from other ports, the first few.
    pub attempts: Vec<Attempt>,
    /// ICMP errors about its packets, the first few.
    pub errors: Vec<IcmpError>,
    /// The diary, where one was to be kept.
    pub kept: Option<Box<Kept>>,
    seen: u64,
}

impl Dossier {
    /// Whether all packets of its subject were read.
    pub fn is_whole(&self, subject: &Subject) -> bool {
        self.seen >= subject.packets
    }
}

/// More packets of all subjects together than anybody compares; beyond, only those that may mean something are written down.
pub const SIGHTINGS_MAX: usize = 1_000_000;
/// Attempts that are kept.
const ATTEMPTS_MAX: usize = 32;
/// Errors that are kept of each subject.
const ERRORS_MAX: usize = 64;

fn matters(seg: &Segment, observation: &Observation) -> bool {
    seg.flags.any(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST) || observation.gap >= Duration::from_secs(1)
}

/// Reads a capture for the dossiers of some flows, which come back in the same order. A diary is kept for the first if there is
/// somebody to keep it. Nothing for a flow that is not there.
pub fn collect(
    capture: &mut Capture,
    subjects: &[Subject],
    diarist: Option<&Diarist<'_>>,
    job: &Job,
    stop: &AtomicBool,
) -> Vec<Option<Dossier>> {
    let mut table = FlowTable::new(StreamRule::default());
    table.hold_at_most(most(job));
    let mut book = Book::new();
    let mut dossiers: Vec<Option<Dossier>> = subjects.iter().map(|_| None).collect();
    // Which tuples are wanted, in both directions; and which subject each flow of the table is, by its place.
    let mut tuples: BTreeSet<(Proto, Sock, Sock)> = BTreeSet::new();
    let mut firsts: BTreeMap<(u16, u32), usize> = BTreeMap::new();
    for (index, subject) in subjects.iter().enumerate() {
        let [client, server] = subject.socks;
        tuples.insert((subject.proto, client, server));
        tuples.insert((subject.proto, server, client));
        firsts.insert(subject.first, index);
    }
    let watched = subjects.first().map(|subject| (subject.proto, subject.socks));
    let mut places: Vec<Option<usize>> = Vec::new();
    let mut total = 0_usize;
    // Whoever watches has seen the capture go by already.
    let job = Job { watch: None, ..job.clone() };
    packets::each(capture, &job, stop, |seen| {
        let (record, packet, order) = match seen {
            Seen::Packet(record, packet, order) => (record, packet, order),
            Seen::Error(error) => return note(error, subjects, &mut dossiers),
        };
        if !tuples.contains(&(packet.proto, packet.src, packet.dst)) {
            if let (Some((proto, [client, server])), Some(Some(dossier))) = (watched, dossiers.first_mut()) {
                let again = packet.proto == proto && packet.src.addr == client.addr && packet.dst == server;
                let flags = packet.segment.flags;
                let opens = flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK);
                if again && opens && dossier.attempts.len() < ATTEMPTS_MAX {
                    let (at, frame, file) = (packet.segment.at, packet.segment.frame, packet.segment.file);
                    dossier.attempts.push(Attempt { at, frame, file, port: packet.src.port });
                }
            }
            return;
        }
        let ends = book.ends(packet.src, packet.dst, packet.proto);
        let mut seg = packet.segment;
        let Some(placed) = table.place(&ends, ends.hash(), None, &mut seg, order) else { return };
        let at = placed.flow.get();
        let flow = table.flow_mut(placed.flow);
        let previous = flow.last_frame;
        let observation = flow.observe(&seg);
        if placed.is_new {
            places.resize(places.len().max(at + 1), None);
            places[at] = firsts.get(&(flow.first_file, flow.first_frame)).copied();
        }
        let Some(index) = places[at] else { return };
        let subject = &subjects[index];
        let diarist = diarist.filter(|_| index == 0);
        let dossier = dossiers[index].get_or_insert_with(|| Dossier {
            stations: stations(record),
            kept: diarist.and_then(|diarist| diarist.begin(flow, &seg)),
            ..Dossier::default()
        });
        // A file that has grown since it was read first has more than was judged.
        if dossier.seen >= subject.packets {
            return;
        }
        dossier.seen += 1;
        lead(dossier, diarist, flow, &seg, &observation, previous);
        if total < SIGHTINGS_MAX || matters(&seg, &observation) && total < 2 * SIGHTINGS_MAX {
            total += 1;
            dossier.sightings.push(Sighting::new(record, packet, seg, &observation));
        } else {
            dossier.left_out += 1;
        }
    });
    dossiers
}

/// An ICMP error belongs to the latest incarnation of the tuple that it quotes.
fn note(error: IcmpError, subjects: &[Subject], dossiers: &mut [Option<Dossier>]) {
    let quotes = |subject: &Subject| {
        let [client, server] = subject.socks;
        let quoted = (error.src, error.dst);
        error.proto == subject.proto && (quoted == (client, server) || quoted == (server, client))
    };
    let found = subjects.iter().zip(dossiers).filter(|(subject, dossier)| dossier.is_some() && quotes(subject));
    if let Some((_, Some(dossier))) = found.last()
        && dossier.errors.len() < ERRORS_MAX
    {
        dossier.errors.push(error);
    }
}

fn lead(dossier: &mut Dossier, diarist: Option<&Diarist<'_>>, flow: &Flow, seg: &Segment, observation: &Observation, previous: u32) {
    if let (Some(diarist), Some(_)) = (diarist, &dossier.kept) {
        diarist.segment(&mut dossier.kept, flow, seg, observation, previous);
    }
    if let Some(revision) = observation.revises {
        // A later packet has shown what an earlier silence was.
        let place =
            dossier.sightings.len().checked_sub((dossier.seen as usize).saturating_sub(1).saturating_sub(revision.ordinal as usize));
        if let Some(sighting) = place.and_then(|place| dossier.sightings.get_mut(place)) {
            sighting.evidence = revision.evidence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_compared_as_far_as_both_were_captured() {
        let payload: Vec<u8> = (0..200).collect();
        let print = |captured: usize| Print::of(&payload[..captured], 200).expect("not empty");
        assert_eq!(print(200).agrees(&print(200)), Some(true));
        assert_eq!(print(200).agrees(&print(70)), Some(true));
        assert_eq!(print(20).agrees(&print(70)), Some(true));
        assert_eq!(print(10).agrees(&print(70)), None);
        let mut other = payload.clone();
        other[40] = 0;
        let other = Print::of(&other, 200).expect("not empty");
        assert_eq!((other.agrees(&print(20)), other.agrees(&print(64))), (Some(true), Some(false)));
        assert_eq!(print(20).mark(), print(200).mark());
        assert_eq!(Print::of(&[], 5), None);
    }
}
