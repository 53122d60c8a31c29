//! A slice: consecutive segments of one tuple out of one file, packed into bytes. What a segment says of the one before it, it does not
//! say again: a dozen bytes are enough for most.
//!
//! Layout, version 1. Numbers are varints (seven bits a byte, the lowest first); signed ones are folded (0, −1, 1, −2, …).
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version (high four bits), 1 = IPv6, 2 = UDP |
//! | 2 × 4 or 2 × 16 | the addresses: lower end, higher end |
//! | 2 × 2 | the ports, most significant byte first |
//! | varint | the file |
//! | … | segments |
//!
//! A segment: a byte of bits; the TCP flags; order since the segment before (the first: since the slice's order); frames since
//! that one; payload bytes; the change of the IP identification; then what the bits name, in their order. It knows neither files nor
//! engines, and believes nothing: whatever the bytes are, reading ends with an error or with segments.

use super::hash::ordered;
use crate::decode::Decoded;
use crate::engine::gathered::Given;
use crate::net::{Addr, Direction, Proto, Segment, SegmentBits, Seq, Sock, TcpFlags};
use crate::time::Instant;
use std::fmt;

const VERSION: u8 = 1;
const SIX: u8 = 1;
const UDP: u8 = 2;

/// What a segment has that is not as expected.
mod bit {
    /// It goes from the higher end to the lower one.
    pub(super) const DOWN: u8 = 0x01;
    /// Its time is not its order: that of the file went back. Follows: how far it is before.
    pub(super) const TIME: u8 = 0x02;
    /// Sequence number: how far from the end of its side's last segment.
    pub(super) const SEQ: u8 = 0x04;
    /// Acknowledgement: how far from that of its side's last segment.
    pub(super) const ACK: u8 = 0x08;
    /// The highest edge of a SACK block: how far beyond the acknowledgement.
    pub(super) const SACK: u8 = 0x10;
    /// Window: two bytes, the lower first.
    pub(super) const WINDOW: u8 = 0x20;
    /// Options and window scale: a byte each.
    pub(super) const OPTIONS: u8 = 0x40;
    /// Time to live: a byte.
    pub(super) const TTL: u8 = 0x80;
}

/// Why bytes are no slice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SliceError {
    /// They end too early.
    Short,
    /// A later version, or no slice at all.
    Version(u8),
    /// More files than can be told apart.
    File(u64),
}

impl fmt::Display for SliceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SliceError::Short => f.write_str("a slice ends in the middle of a segment"),
            SliceError::Version(version) => write!(f, "a slice of version {version}; this program reads version {VERSION}"),
            SliceError::File(file) => write!(f, "file number {file}; at most 65535 can be told apart"),
        }
    }
}

/// What is known of one direction from the segments before.
#[derive(Clone, Copy, Default)]
struct Way {
    next: Seq,
    ack: Seq,
    window: u16,
    options: u8,
    scale: u8,
    ttl: u8,
    id: u16,
}

/// Where a slice stands.
#[derive(Clone, Copy, Default)]
struct State {
    ways: [Way; 2],
    order: u64,
    frame: u32,
}

/// A slice under way.
#[derive(Clone)]
pub struct Packer {
    of: ([Sock; 2], Proto, u16),
    bytes: Vec<u8>,
    first: u64,
    state: State,
    count: u32,
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").field("count", &self.count).finish_non_exhaustive()
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn fold(number: i32) -> u64 {
    u64::from((number << 1 ^ number >> 31).cast_unsigned())
}

fn unfold(number: u64) -> u32 {
    let number = number as u32;
    number >> 1 ^ (number & 1).wrapping_neg()
}

impl Packer {
    /// A slice without segments; `packet` says whose they will be, and the file.
    pub fn new(packet: &Decoded, order: u64) -> Packer {
        let ([low, high], _) = ordered(packet.src, packet.dst);
        let six = low.addr.is_v6();
        let mut bytes = Vec::with_capacity(64);
        bytes.push(VERSION << 4 | if six { SIX } else { 0 } | if packet.proto == Proto::Udp { UDP } else { 0 });
        for addr in [low.addr, high.addr] {
            bytes.extend_from_slice(addr.octets());
        }
        for port in [low.port, high.port] {
            bytes.extend_from_slice(&port.to_be_bytes());
        }
        put(&mut bytes, u64::from(packet.segment.file));
        Packer {
            of: ([low, high], packet.proto, packet.segment.file),
            bytes,
            first: order,
            state: State { order, ..State::default() },
            count: 0,
        }
    }

    /// Adds a segment.
    pub fn push(&mut self, packet: &Decoded, order: u64) {
        let seg = &packet.segment;
        let (_, turned) = ordered(packet.src, packet.dst);
        let State { ways, order: last, frame } = &mut self.state;
        let way = &mut ways[usize::from(turned)];
        let mut bits = if turned { bit::DOWN } else { 0 };
        let mut mark = |set: bool, bit: u8| bits |= if set { bit } else { 0 };
        mark(seg.at.0 != order, bit::TIME);
        mark(seg.seq != way.next, bit::SEQ);
        mark(seg.ack != way.ack, bit::ACK);
        mark(seg.sack != seg.ack, bit::SACK);
        mark(seg.window != way.window, bit::WINDOW);
        mark(seg.bits.0 != way.options || seg.window_scale != way.scale, bit::OPTIONS);
        mark(seg.ttl != way.ttl, bit::TTL);
        let bytes = &mut self.bytes;
        bytes.extend([bits, seg.flags.0]);
        put(bytes, order.wrapping_sub(*last));
        put(bytes, u64::from(seg.frame.wrapping_sub(*frame)));
        put(bytes, u64::from(seg.len));
        put(bytes, fold(i32::from(seg.ip_id.wrapping_sub(way.id).cast_signed())));
        if bits & bit::TIME != 0 {
            put(bytes, order.wrapping_sub(seg.at.0));
        }
        if bits & bit::SEQ != 0 {
            put(bytes, fold(seg.seq.distance(way.next).cast_signed()));
        }
        if bits & bit::ACK != 0 {
            put(bytes, fold(seg.ack.distance(way.ack).cast_signed()));
        }
        if bits & bit::SACK != 0 {
            put(bytes, fold(seg.sack.distance(seg.ack).cast_signed()));
        }
        if bits & bit::WINDOW != 0 {
            bytes.extend(seg.window.to_le_bytes());
        }
        if bits & bit::OPTIONS != 0 {
            bytes.extend([seg.bits.0, seg.window_scale]);
        }
        if bits & bit::TTL != 0 {
            bytes.push(seg.ttl);
        }
        way.learn(seg);
        (*last, *frame) = (order, seg.frame);
        self.count += 1;
    }

    /// Whether a packet belongs to the tuple and the file of its slice.
    pub fn is_of(&self, packet: &Decoded) -> bool {
        let (ends, _) = ordered(packet.src, packet.dst);
        self.of == (ends, packet.proto, packet.segment.file)
    }

    /// The order of its first segment.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// How many segments it has.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Its bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Way {
    fn learn(&mut self, seg: &Segment) {
        *self = Way {
            next: seg.end(),
            ack: seg.ack,
            window: seg.window,
            options: seg.bits.0,
            scale: seg.window_scale,
            ttl: seg.ttl,
            id: seg.ip_id,
        };
    }
}

/// A slice that is read, segment by segment.
#[derive(Clone)]
pub struct Unpacker {
    bytes: Vec<u8>,
    at: usize,
    ends: [Sock; 2],
    proto: Proto,
    file: u16,
    state: State,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("at", &self.at).field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Unpacker {
    /// Begins a slice; `order` is that of its first segment.
    ///
    /// # Errors
    /// What is wrong with its head.
    pub fn new(bytes: Vec<u8>, order: u64) -> Result<Unpacker, SliceError> {
        let nobody = Sock { addr: Addr::v4([0; 4]), port: 0 };
        let state = State { order, ..State::default() };
        let mut slice = Unpacker { bytes, at: 0, ends: [nobody; 2], proto: Proto::Tcp, file: 0, state };
        let head = slice.byte()?;
        if head >> 4 != VERSION || head & 0x0f & !(SIX | UDP) != 0 {
            return Err(SliceError::Version(head >> 4));
        }
        if head & UDP != 0 {
            slice.proto = Proto::Udp;
        }
        for end in 0..2 {
            slice.ends[end].addr = if head & SIX != 0 { Addr::v6(slice.take()?) } else { Addr::v4(slice.take()?) };
        }
        for end in 0..2 {
            slice.ends[end].port = u16::from_be_bytes(slice.take()?);
        }
        let file = slice.number()?;
        slice.file = u16::try_from(file).map_err(|_| SliceError::File(file))?;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], SliceError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).copied().ok_or(SliceError::Short)?;
        self.at += N;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, SliceError> {
        self.take().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, SliceError> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).unbounded_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(SliceError::Short)
    }

    /// The next segment; nothing at the end.
    ///
    /// # Errors
    /// That the bytes end in its middle.
    pub fn segment(&mut self) -> Result<Option<Given>, SliceError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let [bits, flags] = self.take()?;
        let turned = bits & bit::DOWN != 0;
        let mut way = self.state.ways[usize::from(turned)];
        self.state.order = self.state.order.wrapping_add(self.number()?);
        self.state.frame = self.state.frame.wrapping_add(self.number()? as u32);
        let order = self.state.order;
        let len = self.number()? as u32;
        let ip_id = way.id.wrapping_add(unfold(self.number()?) as u16);
        let at = if bits & bit::TIME != 0 { order.wrapping_sub(self.number()?) } else { order };
        let seq = if bits & bit::SEQ != 0 { way.next.plus(unfold(self.number()?)) } else { way.next };
        let ack = if bits & bit::ACK != 0 { way.ack.plus(unfold(self.number()?)) } else { way.ack };
        let sack = if bits & bit::SACK != 0 { ack.plus(unfold(self.number()?)) } else { ack };
        if bits & bit::WINDOW != 0 {
            way.window = u16::from_le_bytes(self.take()?);
        }
        if bits & bit::OPTIONS != 0 {
            [way.options, way.scale] = self.take()?;
        }
        if bits & bit::TTL != 0 {
            way.ttl = self.byte()?;
        }
        let segment = Segment {
            at: Instant(at),
            frame: self.state.frame,
            seq,
            ack,
            sack,
            len,
            window: way.window,
            file: self.file,
            flags: TcpFlags(flags),
            dir: Direction::Original,
            window_scale: way.scale,
            bits: SegmentBits(way.options),
            ttl: way.ttl,
            ip_id,
        };
        self.state.ways[usize::from(turned)].learn(&segment);
        let [low, high] = self.ends;
        let (src, dst) = if turned { (high, low) } else { (low, high) };
        Ok(Some(Given { packet: Decoded { src, dst, proto: self.proto, segment }, order }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sock(six: bool, last: u8, port: u16) -> Sock {
        let addr = if six { Addr::v6([last; 16]) } else { Addr::v4([10, 0, 0, last]) };
        Sock { addr, port }
    }

    prop_compose! {
        fn segment()(
            numbers in any::<[u32; 4]>(), near in any::<[bool; 4]>(), small in any::<[u8; 5]>(), words in any::<[u16; 2]>(),
            step in prop_oneof![0_u64..2_000_000, 0_u64..10_000_000_000_000], back in prop_oneof![Just(0_u64), any::<u64>()],
        ) -> (u64, u64, Segment) {
            let [seq, ack, sack, len] = numbers;
            let of = |number: u32, near: bool| Seq(if near { 1000 + number % 5 } else { number });
            let ack = of(ack, near[1]);
            (step, back, Segment {
                seq: of(seq, near[0]), ack, sack: if near[2] { ack } else { Seq(sack) }, len: if near[3] { len % 1500 } else { len },
                window: words[0], ip_id: words[1], flags: TcpFlags(small[0]), window_scale: small[1], bits: SegmentBits(small[2]),
                ttl: small[3], ..Segment::EMPTY
            })
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(
            six in any::<bool>(), udp in any::<bool>(), file in any::<u16>(), start in 0_u64..1 << 62,
            segments in prop::collection::vec((any::<bool>(), segment()), 1..40),
        ) {
            let (one, other) = (sock(six, 1, 40_000), sock(six, 1, 443));
            let proto = if udp { Proto::Udp } else { Proto::Tcp };
            let (mut order, mut frame) = (start, 0);
            let mut given = Vec::new();
            for (turned, (step, back, segment)) in segments {
                (order, frame) = (order + step, frame + 1 + (step % 300) as u32);
                let segment = Segment { at: Instant(order.saturating_sub(back)), frame, file, ..segment };
                let (src, dst) = if turned { (other, one) } else { (one, other) };
                given.push(Given { packet: Decoded { src, dst, proto, segment }, order });
            }
            let mut packer = Packer::new(&given[0].packet, given[0].order);
            for one in &given {
                packer.push(&one.packet, one.order);
            }
            prop_assert_eq!(packer.count() as usize, given.len());
            let mut unpacker = Unpacker::new(packer.bytes().to_vec(), packer.first()).expect("a slice");
            for one in &given {
                let read = unpacker.segment().expect("a segment").expect("one more");
                prop_assert_eq!(read.packet, one.packet);
                prop_assert_eq!(read.order, one.order);
            }
            prop_assert!(unpacker.segment().is_ok_and(|more| more.is_none()));
        }

        #[test]
        fn any_bytes_end_in_an_error_or_in_segments(bytes in prop::collection::vec(any::<u8>(), 0..200), order in any::<u64>()) {
            let Ok(mut slice) = Unpacker::new(bytes, order) else { return Ok(()) };
            for _ in 0..300 {
                if !matches!(slice.segment(), Ok(Some(_))) { return Ok(()) }
            }
            prop_assert!(false, "it does not end");
        }
    }
}
