//! Records to segments: through link layer, IP and tunnels to the innermost TCP or UDP header.
//!
//! Nothing here knows files, flows or boxes. A record gives one segment or is counted under one [`Kind`]; none is
//! skipped in silence. Nothing is allocated for a packet that is not an IP fragment.
mod content;
mod counters;
mod filter;
mod fragment;
mod icmp;
mod ip;
mod link;
mod transport;
mod tunnel;
mod usual;

pub use content::{Content, content, stations};
pub use counters::{DecodeCounters, Kind};
pub use filter::{Filter, FilterError};
pub use icmp::IcmpError;

use crate::capture::{LinkType, Record};
use crate::net::{Addr, Proto, Segment, Sock};
use fragment::Fragments;

/// How many encapsulations are followed: each IP or Ethernet header inside another one counts.
const DEPTH_MAX: u8 = 8;

/// A segment and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Where it comes from.
    pub src: Sock,
    /// Where it goes.
    pub dst: Sock,
    /// TCP or UDP.
    pub proto: Proto,
    /// The segment; its direction is not known yet and left at original.
    pub segment: Segment,
}

impl Decoded {
    const EMPTY: Decoded = {
        let nobody = Sock { addr: Addr::v4([0; 4]), port: 0 };
        Decoded { src: nobody, dst: nobody, proto: Proto::Tcp, segment: Segment::EMPTY }
    };
}

/// Decodes records and counts what they were. Fragments of one datagram must come to the same decoder.
pub struct Decoder {
    fragments: Fragments,
    counters: DecodeCounters,
    /// What the walk fills in: moving a segment through the layers costs more than reading its headers.
    latest: Decoded,
    /// The ICMP error that the last record was.
    error: Option<IcmpError>,
    walks_always: bool,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder {
            fragments: Fragments::default(),
            counters: DecodeCounters::default(),
            latest: Decoded::EMPTY,
            error: None,
            walks_always: false,
        }
    }
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// A decoder that goes through every packet layer by layer, also the usual ones, which one look would do for. It gives the
    /// same answers and takes longer: something to compare with.
    pub fn walking() -> Decoder {
        Decoder { walks_always: true, ..Decoder::default() }
    }

    /// The segment in a record, or nothing where it is counted as something else. The segment of a fragmented datagram
    /// belongs to the record that completes it, as in Wireshark.
    #[inline]
    pub fn decode(&mut self, record: &Record<'_>) -> Option<Decoded> {
        self.usual(record).or_else(|| self.other(record))
    }

    /// The segment of the most usual packet of all, which is to be had in one look; for others ask [`Decoder::other`]. Whoever asks
    /// the two in turn, and not [`Decoder::decode`], has the segment in registers.
    #[inline(always)]
    pub fn usual(&mut self, record: &Record<'_>) -> Option<Decoded> {
        if self.walks_always {
            return None;
        }
        let usual = usual::plain(record)?;
        self.counters.records += 1;
        self.counters.decoded += 1;
        Some(usual)
    }

    /// The segment of any other packet.
    #[inline(never)]
    pub fn other(&mut self, record: &Record<'_>) -> Option<Decoded> {
        self.counters.records += 1;
        if !self.walks_always
            && let Some(usual) = usual::other(record)
        {
            self.counters.decoded += 1;
            return Some(usual);
        }
        // Through its layers one by one.
        let cut = Cut { bytes: record.bytes, len: record.wire_len as usize, firm: false };
        let (fragments, out, error) = (&mut self.fragments, &mut self.latest, &mut self.error);
        let mut walk = Walk { record, fragments, out, error, ttl: 0, ip_id: 0, depth: 0 };
        match walk.link(record.link, cut) {
            Ok(()) => {
                self.counters.decoded += 1;
                Some(self.latest)
            }
            Err(kind) => {
                self.count(kind, record.link);
                None
            }
        }
    }

    /// The ICMP error that was decoded last, once: to be asked where [`Decoder::decode`] gave nothing. Such a record counts as
    /// [`Kind::Icmp`] or [`Kind::Icmpv6`] all the same.
    pub fn icmp_error(&mut self) -> Option<IcmpError> {
        self.error.take()
    }

    /// What the records were so far. Fragments of datagrams that are not complete yet count as incomplete.
    pub fn counters(&self) -> DecodeCounters {
        let mut counters = self.counters.clone();
        counters.reclassify(Kind::Fragment, Kind::FragmentIncomplete, self.fragments.incomplete());
        counters
    }

    #[cold]
    fn count(&mut self, kind: Kind, link: LinkType) {
        self.counters.count(kind);
        if kind == Kind::UnsupportedLink {
            self.counters.add_link(link, 1);
        }
    }
}

/// What every layer returns: the segment is in [`Walk::out`], or the record is something else.
type Outcome = Result<(), Kind>;

/// The rest of a packet: how many bytes it has on the wire, and those of them that were captured.
#[derive(Clone, Copy)]
struct Cut<'a> {
    bytes: &'a [u8],
    len: usize,
    /// Whether a header inside cannot be longer. Usually it can: mirrors that slice packets leave the IP length alone and
    /// give the sliced length to everything around it, so the innermost length is the one to believe.
    firm: bool,
}

impl<'a> Cut<'a> {
    /// What follows after `count` bytes.
    #[inline]
    fn skip(self, count: usize) -> Cut<'a> {
        Cut { bytes: self.bytes.get(count..).unwrap_or_default(), len: self.len.saturating_sub(count), ..self }
    }

    /// The same with the length that a header states. Captured bytes beyond it are padding.
    #[inline]
    fn limit(self, len: usize) -> Cut<'a> {
        let len = if self.firm { len.min(self.len) } else { len };
        Cut { bytes: self.bytes.get(..len).unwrap_or(self.bytes), len, ..self }
    }

    /// The first bytes, or `kind` where they were not captured.
    #[inline]
    fn head<const N: usize>(self, kind: Kind) -> Result<&'a [u8; N], Kind> {
        self.bytes.first_chunk().ok_or(kind)
    }
}

/// The way through the layers of one packet.
struct Walk<'d, 'r> {
    record: &'d Record<'r>,
    fragments: &'d mut Fragments,
    out: &'d mut Decoded,
    error: &'d mut Option<IcmpError>,
    /// Of the innermost IP header so far.
    ttl: u8,
    ip_id: u16,
    depth: u8,
}

impl Walk<'_, '_> {
    /// Goes one encapsulation deeper.
    fn deeper(&mut self) -> Result<&mut Self, Kind> {
        if self.depth >= DEPTH_MAX {
            return Err(Kind::TooDeep);
        }
        self.depth += 1;
        Ok(self)
    }
}

/// What the transport layer needs to know of the IP header above it.
#[derive(Clone, Copy)]
struct Net {
    src: Addr,
    dst: Addr,
    ttl: u8,
    id: u16,
}

#[inline]
fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |raw| u16::from(raw[0]) << 8 | u16::from(raw[1]))
}
