//! Segments to flows: who talks to whom, in which order, what every silence between them proves, and which numbers
//! Wireshark gives them.
//!
//! Input is a segment at a time, in the order of the capture; the state of a flow has a fixed size and nothing is
//! allocated per segment. This layer knows neither files nor boxes: whether a silence was too long for something is not
//! its question.

mod arena;
mod ends;
mod gaps;
mod index;
mod numbering;
mod orient;
mod probes;
mod room;
mod sequence;
mod stream;
mod table;

pub use arena::{Arena, PIECE};
pub use ends::{Book, Ends};
pub use gaps::{Gap, GapEvidence, Revision};
pub use numbering::{Stretch, number_streams};
pub use orient::Orientation;
pub use probes::ProbeTrain;
pub use room::NoRoom;
pub use sequence::Shape;
pub use stream::StreamRule;
pub use table::{FlowIndex, FlowTable, Placed};

use crate::net::{Direction, Proto, Segment, TcpFlags};
use crate::time::{Duration, Instant};
use gaps::{Gaps, OtherGaps, Reading, Step};
use probes::Probes;
use sequence::{Context, Hole, NO_HOLE, Side};
use serde::{Deserialize, Serialize};

/// How much of the beginning of a TCP connection was captured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Opening {
    /// The SYN/ACK, and so both initial sequence numbers; usually the SYN as well.
    Handshake,
    /// A SYN, but no SYN/ACK.
    SynOnly,
    /// Neither: the capture began in mid-flow. Always so for UDP.
    Midstream,
}

impl Opening {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Opening::Handshake => "handshake",
            Opening::SynOnly => "syn-only",
            Opening::Midstream => "midstream",
        }
    }
}

/// How a TCP connection ended, as far as captured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Closing {
    /// Both sides sent a FIN; what came after does not matter.
    Fin,
    /// One side sent a FIN.
    HalfClosed,
    /// An RST before both FINs.
    Reset,
    /// Nothing of the kind. Always so for UDP.
    Open,
}

impl Closing {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Closing::Fin => "fin",
            Closing::HalfClosed => "half-closed",
            Closing::Reset => "reset",
            Closing::Open => "open",
        }
    }
}

/// What one segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observation {
    /// The silence before it, in either direction; zero for the first segment and where the clock went back.
    pub gap: Duration,
    /// What is known about that silence so far.
    pub evidence: GapEvidence,
    /// What the segment is.
    pub shape: Shape,
    /// What it changes about an earlier silence.
    pub revises: Option<Revision>,
}

/// What few flows have: keepalive probes, silences that are not of the usual kind, copies, a clock that went back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rare {
    probes: [Probes; 2],
    gaps: OtherGaps,
    /// How many segments were captured a second time.
    copies: u32,
    /// How far the clock had come before it went back.
    clock_high: Instant,
    /// How many segments had bytes or acknowledgements missing before them, late ones included.
    holes: u32,
    /// For each side the bytes that are missing.
    unfilled: [Hole; 2],
}

impl Default for Rare {
    fn default() -> Rare {
        Rare { probes: [Probes::EMPTY; 2], gaps: OtherGaps::EMPTY, copies: 0, clock_high: Instant::ZERO, holes: 0, unfilled: [NO_HOLE; 2] }
    }
}

/// Eight bytes where there is nothing.
type Rarely = Option<Box<Rare>>;

/// A flow: one incarnation of a tuple. Two and a half cache lines, of which each segment needs all. Parts of archives have it written out:
/// another field is another number in `archive::state`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(align(32))]
pub struct Flow {
    /// The client, which opened it, and the server, which was called.
    #[serde(skip, default = "Ends::nobody")]
    pub ends: Ends,
    /// How the sides were told apart.
    pub orientation: Orientation,
    /// Which of the input files its first segment came from.
    pub first_file: u16,
    /// The `tcp.stream` or `udp.stream` of Wireshark, once [`number_streams`] has set it. Until then the fingerprint of the last segment,
    /// which nobody asks for afterwards.
    pub stream: u32,
    /// The position of its first segment in the whole input: a number that grows with it. Where several flows have one, the file and
    /// then the frame of the first segment decide.
    pub first_order: u64,
    /// The time of its first segment.
    pub first: Instant,
    /// The time of its last segment so far.
    pub last: Instant,
    /// The frame of its first segment.
    pub first_frame: u32,
    /// The frame of its last segment so far.
    pub last_frame: u32,
    /// How many segments went each way.
    pub segments: [u32; 2],
    /// How many payload bytes went each way: the low and the high bits.
    bytes: [u32; 2],
    bytes_high: [u16; 2],
    rtt_micros: u32,
    progress: u8,
    sides: [Side; 2],
    gaps: Gaps,
    rare: Rarely,
}

const _: () = assert!(size_of::<Flow>() == 160);

const SYN: u8 = 0x01;
const SYN_ACK: u8 = 0x02;
/// The handshake is over, and `rtt_micros` is what it took; before, it is when the last SYN was sent.
const TIMED: u8 = 0x04;
/// What `stream::closes` said.
const CLOSED: u8 = 0x08;
/// The tuple has begun a newer flow.
const SUPERSEDED: u8 = 0x10;
/// The clock went back by more than [`CLOCK_SLACK`], and has not come as far again.
const STEPPED: u8 = 0x20;
/// The clock went back so far once.
const JUMPED: u8 = 0x40;
/// Its last segment has a time of a clock that was set back and forth again.
const ADRIFT: u8 = 0x80;

/// Time stamps that are out of order by no more than this are those of a capture that writes packets from several queues: the
/// order of the packets is believed, and the time stands still. Beyond that the clock was set.
pub const CLOCK_SLACK: Duration = Duration::from_secs(1);

impl Flow {
    fn new(ends: Ends, orientation: Orientation, order: u64, seg: &Segment) -> Flow {
        Flow {
            ends,
            orientation,
            first_file: seg.file,
            stream: 0,
            first_order: order,
            first: seg.at,
            last: seg.at,
            first_frame: seg.frame,
            last_frame: seg.frame,
            segments: [0; 2],
            bytes: [0; 2],
            bytes_high: [0; 2],
            rtt_micros: 0,
            progress: 0,
            sides: [Side::NEW; 2],
            gaps: Gaps::EMPTY,
            rare: None,
        }
    }

    /// TCP or UDP.
    pub const fn proto(&self) -> Proto {
        self.ends.proto()
    }

    /// The client's port and the server's.
    pub const fn ports(&self) -> [u16; 2] {
        self.ends.ports()
    }

    /// The place of its first segment in the whole input.
    const fn first_place(&self) -> (u64, u16, u32) {
        (self.first_order, self.first_file, self.first_frame)
    }

    /// Whether no newer flow has the same tuple.
    const fn is_current(&self) -> bool {
        self.progress & SUPERSEDED == 0
    }

    /// Which way a packet with these ends goes, if it belongs to this tuple.
    #[inline]
    fn direction_of(&self, ends: &Ends) -> Option<Direction> {
        if self.ends == *ends {
            Some(Direction::Original)
        } else if self.ends == ends.inverse() {
            Some(Direction::Reply)
        } else {
            None
        }
    }

    /// Reads a little of each of its cache lines: what is asked of many flows in a row comes from memory at once.
    #[inline]
    pub fn touch(&self) -> u64 {
        self.first.0 ^ u64::from(self.stream) ^ u64::from(self.sides[1].base.0) ^ u64::from(self.bytes[0]) ^ self.last.0
    }

    /// Whether it never became a connection, as far as captured: one packet, or nothing but what asks for a connection and answers
    /// that (SYN, SYN/ACK, RST).
    fn is_attempt(&self) -> bool {
        if self.segments[0].wrapping_add(self.segments[1]) == 1 {
            return true;
        }
        let [client, server] = &self.sides;
        self.proto() == Proto::Tcp
            && self.progress & (SYN | SYN_ACK) != 0
            && self.bytes() == [0; 2]
            && client.only_asked()
            && server.only_answered(client)
            && [Direction::Original, Direction::Reply].into_iter().all(|dir| self.probes(dir).is_none())
    }

    fn begins_anew(&self, rule: StreamRule, seg: &Segment) -> bool {
        stream::begins(rule, &self.sides[seg.dir.index()], self.progress & CLOSED != 0, seg)
    }

    fn learn_base(&mut self, seg: &Segment) {
        let [original, reply] = &mut self.sides;
        let (me, peer) = if seg.dir == Direction::Original { (original, reply) } else { (reply, original) };
        stream::learn(me, peer, seg);
        self.progress |= if stream::closes(seg) { CLOSED } else { 0 };
    }

    /// Whether a segment of the tuple is the flow's, and not the first of a newer one, which supersedes it. Keeps what Wireshark's base
    /// numbers come to, and puts the segment's time right where it is a little before that of the flow's last one.
    #[inline]
    fn takes(&mut self, rule: StreamRule, seg: &mut Segment) -> bool {
        if self.proto() == Proto::Tcp {
            if self.begins_anew(rule, seg) {
                self.progress |= SUPERSEDED;
                return false;
            }
            self.learn_base(seg);
        }
        if seg.at < self.last {
            self.clock_goes_back(seg);
        }
        true
    }

    /// The clock went back since the last segment: a little is put right in the segment, more is remembered.
    #[cold]
    fn clock_goes_back(&mut self, seg: &mut Segment) {
        self.sides[seg.dir.index()].set_clock_went_back();
        if self.last.since(seg.at) <= CLOCK_SLACK {
            seg.at = self.last;
            return;
        }
        let rare = self.rare.get_or_insert_default();
        if self.progress & STEPPED == 0 {
            rare.clock_high = self.last;
        }
        self.progress |= STEPPED | JUMPED;
    }

    /// Whether the silence before a segment ends where the clock was already before it went back: how long it was nobody knows.
    #[cold]
    fn comes_back(&mut self, at: Instant) -> bool {
        let back = self.rare.as_ref().is_some_and(|rare| at + CLOCK_SLACK >= rare.clock_high);
        if back {
            self.progress &= !STEPPED;
        }
        back && at.since(self.last) > CLOCK_SLACK
    }

    /// Whether the clock went back inside the flow by so much that a silence may have a length that nobody knows.
    pub const fn clock_jumped(&self) -> bool {
        self.progress & JUMPED != 0
    }

    /// Says that the clock of the capture was wrong from one time to another: a flow that ends there was silent nobody knows how long.
    pub(crate) fn set_adrift(&mut self, wrong: (Instant, Instant)) {
        if self.last >= wrong.0 && self.last <= wrong.1 {
            self.progress |= ADRIFT;
        }
    }

    /// Whether nobody knows how long it had been silent when the capture ended, for its last time is of another clock.
    pub const fn is_adrift(&self) -> bool {
        self.progress & ADRIFT != 0
    }

    /// Whether the clock went back from one segment to the next, if only a little.
    pub const fn clock_went_backwards(&self) -> bool {
        self.sides[0].clock_went_back() || self.sides[1].clock_went_back()
    }

    /// How many segments had bytes or acknowledgements missing before them, late ones included.
    pub fn holes(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.holes)
    }

    /// How many payload bytes went each way, repetitions included.
    pub fn bytes(&self) -> [u64; 2] {
        [0, 1].map(|side| u64::from(self.bytes_high[side]) << 32 | u64::from(self.bytes[side]))
    }

    /// Counts payload bytes: no more than 2³² segments of 2¹⁶ bytes.
    #[inline]
    const fn count(&mut self, side: usize, len: u32) {
        let (sum, carried) = self.bytes[side].overflowing_add(len);
        self.bytes[side] = sum;
        self.bytes_high[side] = self.bytes_high[side].wrapping_add(carried as u16);
    }

    /// How many of its segments were captured a second time.
    pub fn copies(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.copies)
    }

    /// Takes the next segment of the flow, whose direction [`FlowTable::place`] has set.
    #[inline]
    pub fn observe(&mut self, seg: &Segment) -> Observation {
        let previous = (self.segments != [0; 2]).then_some(self.gaps.last);
        let gap = if previous.is_some() { seg.at.since(self.last) } else { Duration::ZERO };
        let unsure = self.progress & STEPPED != 0 && self.comes_back(seg.at);
        let (shape, mut reading) = if self.proto() == Proto::Tcp {
            let print = sequence::fingerprint(seg);
            let copy = print == self.stream;
            self.stream = print;
            let context = Context { gap, previous, copy, print, age: (self.last.since(self.first), seg.at.since(self.first)) };
            self.time_handshake(seg, context.age.1);
            sequence::track(&mut self.sides, &mut self.rare, seg, context)
        } else {
            (Shape::Datagram, Reading { evidence: GapEvidence::Unknown, missing: seg.dir, jumped: false, filled: false })
        };
        if reading.evidence == GapEvidence::Hole {
            self.rare.get_or_insert_default().holes += 1;
        }
        if unsure {
            reading.evidence = GapEvidence::Hole;
        }
        let ordinal = self.segments[0].wrapping_add(self.segments[1]);
        let step = Step { length: gap, frames: (self.last_frame, seg.frame), ordinal, dir: seg.dir, reading, unsure };
        let revises = self.gaps.note(step, self.proto(), &mut self.rare);
        self.segments[seg.dir.index()] += 1;
        self.count(seg.dir.index(), seg.len);
        self.last = seg.at;
        self.last_frame = seg.frame;
        self.gaps.last = seg.dir;
        Observation { gap, evidence: reading.evidence, shape, revises }
    }

    /// From the last SYN to the ACK that ends the handshake, as Wireshark's initial round-trip time.
    fn time_handshake(&mut self, seg: &Segment, age: Duration) {
        let micros = || u32::try_from(age.0 / 1000).unwrap_or(u32::MAX);
        if seg.flags.has(TcpFlags::SYN) {
            self.progress |= if seg.flags.has(TcpFlags::ACK) { SYN_ACK } else { SYN };
            if !seg.flags.has(TcpFlags::ACK) && self.progress & TIMED == 0 {
                self.rtt_micros = micros();
            }
        } else if self.progress & (SYN | SYN_ACK | TIMED) == SYN | SYN_ACK && seg.dir == Direction::Original && seg.flags.has(TcpFlags::ACK)
        {
            self.progress |= TIMED;
            self.rtt_micros = micros().saturating_sub(self.rtt_micros);
        }
    }

    /// How much of its beginning was captured.
    pub const fn opening(&self) -> Opening {
        match self.progress & (SYN | SYN_ACK) {
            0 => Opening::Midstream,
            SYN => Opening::SynOnly,
            _ => Opening::Handshake,
        }
    }

    /// How it ended.
    pub const fn closing(&self) -> Closing {
        let [one, other] = &self.sides;
        match (one.has_fin(), other.has_fin()) {
            (true, true) => Closing::Fin,
            _ if one.has_rst() || other.has_rst() => Closing::Reset,
            (false, false) => Closing::Open,
            _ => Closing::HalfClosed,
        }
    }

    /// The round-trip time of the whole path, to the microsecond, where all three segments of the handshake were
    /// captured.
    pub fn rtt(&self) -> Option<Duration> {
        (self.progress & TIMED != 0).then(|| Duration(u64::from(self.rtt_micros) * 1000))
    }

    /// The keepalive probes that went one way.
    pub fn probes(&self, dir: Direction) -> Option<ProbeTrain> {
        self.rare.as_ref()?.probes[dir.index()].train()
    }

    /// Whether a silence lasted so long that a keepalive probe of this flow should have been in it. No sequence number
    /// can tell whether the host slept or the capture lost the probe, so such a silence deserves a caveat.
    pub fn lacks_probes(&self, gap: &Gap) -> bool {
        let due = |train: ProbeTrain| train.interval_last.is_some_and(|every| gap.length.0 / 3 > every.0 / 2);
        [Direction::Original, Direction::Reply].into_iter().filter_map(|dir| self.probes(dir)).any(due)
    }

    /// The longest silence of a class so far, the earliest of equals. For [`GapEvidence::Censored`] ask
    /// [`Flow::last_silence`], which needs to know when the capture ended.
    pub fn longest_gap(&self, evidence: GapEvidence) -> Option<Gap> {
        self.gaps.longest(evidence, self.proto(), &self.rare)
    }

    /// The place, among the flow's segments, of the segment whose silence a later one may still call something else.
    pub fn pending(&self) -> Option<u32> {
        self.gaps.pending()
    }

    /// The silence from the last segment to the end of the capture; none after an orderly close or a reset, when there
    /// is nobody left to speak.
    pub fn last_silence(&self, capture_end: Instant) -> Option<Gap> {
        let over = matches!(self.closing(), Closing::Fin | Closing::Reset) || self.is_adrift();
        (!over && capture_end > self.last).then(|| Gap {
            length: capture_end.since(self.last),
            before: self.last_frame,
            after: None,
            next: self.gaps.last,
            evidence: GapEvidence::Censored,
        })
    }
}
