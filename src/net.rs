//! Addresses, ports, flags, sequence numbers, and the one per-packet type that everything downstream reads.
//!
//! Nothing here knows captures, boxes or endpoints.

use crate::time::Instant;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address in 17 bytes with a total order: IPv4 before IPv6, then by value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Addr {
    six: bool,
    octets: [u8; 16],
}

impl Addr {
    /// An IPv4 address.
    pub const fn v4(o: [u8; 4]) -> Addr {
        Addr { six: false, octets: [o[0], o[1], o[2], o[3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// An IPv6 address.
    pub const fn v6(octets: [u8; 16]) -> Addr {
        Addr { six: true, octets }
    }

    /// Whether this is an IPv6 address.
    pub const fn is_v6(self) -> bool {
        self.six
    }

    /// The bits of an IPv4 address; the first four bytes of an IPv6 address.
    pub const fn four_bits(self) -> u32 {
        u32::from_be_bytes([self.octets[0], self.octets[1], self.octets[2], self.octets[3]])
    }

    /// Its bytes: four, or sixteen.
    pub fn octets(&self) -> &[u8] {
        if self.six { &self.octets } else { &self.octets[..4] }
    }

    /// The address as the standard library knows it.
    pub fn ip(self) -> IpAddr {
        if self.six {
            IpAddr::V6(Ipv6Addr::from(self.octets))
        } else {
            let o = self.octets;
            IpAddr::V4(Ipv4Addr::new(o[0], o[1], o[2], o[3]))
        }
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Addr {
        match ip {
            IpAddr::V4(four) => Addr::v4(four.octets()),
            IpAddr::V6(six) => Addr::v6(six.octets()),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

/// The transport protocols that are followed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Proto {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Proto {
    /// The lower-case name that conntrack prints.
    pub const fn name(self) -> &'static str {
        match self {
            Proto::Tcp => "tcp",
            Proto::Udp => "udp",
        }
    }
}

/// One end of a flow: an address and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Sock {
    /// The address.
    pub addr: Addr,
    /// The port.
    pub port: u16,
}

/// `10.0.0.1:22`, `[fd00::1]:22`.
impl fmt::Display for Sock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addr.is_v6() { write!(f, "[{}]:{}", self.addr, self.port) } else { write!(f, "{}:{}", self.addr, self.port) }
    }
}

/// Which way a packet of a flow goes. At the flow level `Original` is from the client; inside a conntrack entry it is
/// the direction of the packet that created the entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Direction {
    /// From the client to the server.
    Original = 0,
    /// From the server to the client.
    Reply = 1,
}

impl Direction {
    /// The other direction.
    #[must_use]
    pub const fn opposite(self) -> Direction {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }

    /// 0 for original, 1 for reply: an index into a pair.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The eight low flag bits of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;

    /// Whether all the bits of `mask` are set.
    pub const fn has(self, mask: u8) -> bool {
        self.0 & mask == mask
    }

    /// Whether any bit of `mask` is set.
    pub const fn any(self, mask: u8) -> bool {
        self.0 & mask != 0
    }

    /// Reads the letters `F S R P A U E C` in any order.
    ///
    /// # Errors
    /// The first letter that is none of them.
    pub fn parse(letters: &str) -> Result<TcpFlags, char> {
        let mut bits = 0;
        for letter in letters.chars() {
            bits |= match letter {
                'F' => Self::FIN,
                'S' => Self::SYN,
                'R' => Self::RST,
                'P' => Self::PSH,
                'A' => Self::ACK,
                'U' => Self::URG,
                'E' => Self::ECE,
                'C' => Self::CWR,
                other => return Err(other),
            };
        }
        Ok(TcpFlags(bits))
    }
}

/// The letters of the flags that are set, in the order `S F R P A U E C`, so that `SA`, `FA`, `RA`, `PA` read as usual.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [
            (Self::SYN, 'S'),
            (Self::FIN, 'F'),
            (Self::RST, 'R'),
            (Self::PSH, 'P'),
            (Self::ACK, 'A'),
            (Self::URG, 'U'),
            (Self::ECE, 'E'),
            (Self::CWR, 'C'),
        ] {
            if self.has(bit) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// A TCP sequence number. It has no order modulo 2³²; it is only before or after another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Seq(pub u32);

impl Seq {
    /// Whether this number is before `other`: their difference is negative as a signed 32-bit number.
    pub const fn before(self, other: Seq) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether this number is after `other`.
    pub const fn after(self, other: Seq) -> bool {
        other.before(self)
    }

    /// The number `count` further on.
    #[must_use]
    pub const fn plus(self, count: u32) -> Seq {
        Seq(self.0.wrapping_add(count))
    }

    /// The number `count` back.
    #[must_use]
    pub const fn minus(self, count: u32) -> Seq {
        Seq(self.0.wrapping_sub(count))
    }

    /// How far this number is beyond `other`, modulo 2³².
    pub const fn distance(self, other: Seq) -> u32 {
        self.0.wrapping_sub(other.0)
    }
}

/// What the options of a TCP header said, and what is known to be wrong with the segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct SegmentBits(pub u8);

impl SegmentBits {
    /// The header has options at all (its data offset is more than five words).
    pub const HAS_OPTIONS: u8 = 0x01;
    /// SACK permitted was offered.
    pub const SACK_PERMITTED: u8 = 0x02;
    /// A window scale option was there; its shift is in [`Segment::window_scale`].
    pub const WINDOW_SCALE: u8 = 0x04;
    /// The capture kept less than the whole TCP header: options may be missing.
    pub const HEADER_CUT: u8 = 0x08;
    /// The header contradicts itself (a data offset below five words or beyond the packet).
    pub const MALFORMED: u8 = 0x10;
    /// The checksum was verified and is wrong.
    pub const BAD_CHECKSUM: u8 = 0x20;

    /// Whether any bit of `mask` is set.
    pub const fn any(self, mask: u8) -> bool {
        self.0 & mask != 0
    }
}

/// One TCP segment or UDP datagram as the models see it: the only per-packet type downstream of the decoder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// When it was captured.
    pub at: Instant,
    /// Its number in its capture file as Wireshark counts, from 1.
    pub frame: u32,
    /// Sequence number of the first byte (TCP).
    pub seq: Seq,
    /// Acknowledgement field (TCP), whether or not the ACK flag is set.
    pub ack: Seq,
    /// The highest right edge among the SACK blocks that lies after `ack`, else `ack` itself.
    pub sack: Seq,
    /// Payload bytes on the wire, by the IP length, not by what the capture kept.
    pub len: u32,
    /// Window field, unscaled.
    pub window: u16,
    /// Which of the input files it came from, from 0.
    pub file: u16,
    /// TCP flags; none for UDP.
    pub flags: TcpFlags,
    /// Which way it goes, relative to the flow.
    pub dir: Direction,
    /// The window scale shift that was offered, unclamped; 0 without the option.
    pub window_scale: u8,
    /// What the options said.
    pub bits: SegmentBits,
    /// Time to live or hop limit of the innermost IP header; 0 where nobody has said. No model looks at it.
    pub ttl: u8,
    /// Identification field of the innermost IPv4 header; 0 for IPv6, and where nobody has said. No model looks at
    /// it; packets that were captured twice are known by it.
    pub ip_id: u16,
}

const _: () = assert!(size_of::<Segment>() == 40);

impl Segment {
    /// A segment with nothing in it, to be filled in with struct update syntax.
    pub const EMPTY: Segment = Segment {
        at: Instant::ZERO,
        frame: 0,
        seq: Seq(0),
        ack: Seq(0),
        sack: Seq(0),
        len: 0,
        window: 0,
        file: 0,
        flags: TcpFlags(0),
        dir: Direction::Original,
        window_scale: 0,
        bits: SegmentBits(0),
        ttl: 0,
        ip_id: 0,
    };

    /// The sequence number after the segment: payload, SYN and FIN each count.
    pub const fn end(&self) -> Seq {
        let phantom = self.flags.has(TcpFlags::SYN) as u32 + self.flags.has(TcpFlags::FIN) as u32;
        self.seq.plus(self.len).plus(phantom)
    }
}
