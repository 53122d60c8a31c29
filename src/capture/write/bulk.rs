//! Segments to packets by the million: a classic pcap or pcapng file of TCP headers, cut behind them or filled up with zeros.
//!
//! [`super::Writer`] is for a few packets that are looked at: whole, with every option that a host would send. This one is for
//! captures that are measured: nothing is allocated for a packet, and of the options only those are written that a box reads: what a
//! SYN offers, and selective acknowledgements. All checksums are right. Nothing here knows who sent a segment or opens a file.
use super::{LENGTH_MAX, MSS, SNAPLEN, begin, invalid, mac};
use crate::net::{Addr, Segment, SegmentBits, Sock, TcpFlags};
use crate::time::Instant;
use pcap_file::pcapng::blocks::interface_description::InterfaceTsResolution;
use std::io::{self, Write};
use std::net::IpAddr;

/// How the file is written down.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// Classic pcap.
    #[default]
    Pcap,
    /// pcapng: one section, one interface.
    PcapNg,
}

/// What the packets of a file look like.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Shape {
    /// The format of the file.
    pub format: Format,
    /// Times in whole microseconds, cut off, in place of nanoseconds.
    pub micros: bool,
    /// The VLAN that every packet is in.
    pub vlan: Option<u16>,
    /// At most how many bytes are kept of each packet; its headers without it. Payload is zeros.
    pub snaplen: Option<u32>,
}

/// Ethernet with a VLAN, IPv6, and TCP with all the options that fit.
const HEADERS_MAX: usize = 14 + 4 + 40 + 60;
/// Bytes that are collected before the sink gets them.
const BUFFER: usize = 256 << 10;
/// The time to live, or hop limit.
const TTL: u8 = 64;
const TCP: u8 = 6;
const ENHANCED_PACKET: u32 = 6;

/// Writes a capture. The sink needs no buffer: it gets large pieces.
pub struct Bulk<W: Write> {
    sink: W,
    shape: Shape,
    buffer: Vec<u8>,
    frame: Frame,
    written: u64,
}

/// The headers of the packet in hand.
struct Frame {
    bytes: [u8; HEADERS_MAX],
    len: usize,
}

impl Frame {
    #[inline]
    fn put<const N: usize>(&mut self, part: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&part);
        self.len += N;
    }

    fn headers(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Writes a checksum over what follows `from`, and `more`, to the place `at`.
    #[inline]
    fn seal(&mut self, from: usize, at: usize, more: u32) {
        let mut sum = more + sum(&self.bytes[from..self.len]);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        self.bytes[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
}

/// The words of a header, summed up; every header has an even number of bytes.
#[inline]
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum()
}

impl<W: Write> Bulk<W> {
    /// Writes the head of the file.
    ///
    /// # Errors
    /// What the sink said.
    pub fn new(sink: W, shape: Shape) -> io::Result<Bulk<W>> {
        let mut buffer = Vec::with_capacity(BUFFER * 2);
        match shape.format {
            Format::Pcap => {
                let magic: u32 = if shape.micros { 0xa1b2_c3d4 } else { 0xa1b2_3c4d };
                buffer.extend_from_slice(&magic.to_le_bytes());
                // Version 2.4, the offset and the accuracy of times, the limit, Ethernet.
                buffer.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                buffer.extend_from_slice(&shape.snaplen.unwrap_or(SNAPLEN).to_le_bytes());
                buffer.extend_from_slice(&1_u32.to_le_bytes());
            }
            Format::PcapNg => {
                let resolution = if shape.micros { InterfaceTsResolution::MICRO } else { InterfaceTsResolution::NANO };
                buffer = begin(buffer, &["client"], resolution, None)?.into_inner();
            }
        }
        Ok(Bulk { sink, shape, buffer, frame: Frame { bytes: [0; HEADERS_MAX], len: 0 }, written: 0 })
    }

    /// How many bytes the file has so far, before any compression.
    pub fn written(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Writes a segment. Its own time, frame, file and direction are not looked at.
    ///
    /// # Errors
    /// What the sink said; ends of different families; a segment that no IP packet can hold; a time that the format cannot say.
    pub fn segment(&mut self, at: Instant, from: Sock, to: Sock, seg: &Segment) -> io::Result<()> {
        self.headers(from, to, seg)?;
        let length = self.frame.len as u32 + seg.len;
        let captured = self.shape.snaplen.map_or(self.frame.len as u32, |most| most.min(length));
        let nanos = if self.shape.micros { at.0 / 1_000 } else { at.0 };
        match self.shape.format {
            Format::Pcap => {
                let a_second = if self.shape.micros { 1_000_000 } else { 1_000_000_000 };
                let Ok(seconds) = u32::try_from(nanos / a_second) else {
                    return Err(invalid("classic pcap has no times after 2106; pcapng has".to_owned()));
                };
                self.words([seconds, (nanos % a_second) as u32, captured, length]);
                self.packet(captured);
            }
            Format::PcapNg => {
                let block = 32 + captured.next_multiple_of(4);
                self.words([ENHANCED_PACKET, block, 0, (nanos >> 32) as u32, nanos as u32, captured, length]);
                self.packet(captured);
                self.buffer.resize(self.buffer.len() + (captured.next_multiple_of(4) - captured) as usize, 0);
                self.words([block]);
            }
        }
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Hands the sink back; it has everything then.
    ///
    /// # Errors
    /// What the sink said.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Little-endian, whatever machine this is.
    #[inline]
    fn words<const N: usize>(&mut self, words: [u32; N]) {
        for word in words {
            self.buffer.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// The bytes of the packet in hand that are kept.
    #[inline]
    fn packet(&mut self, captured: u32) {
        let captured = captured as usize;
        let headers = self.frame.headers();
        self.buffer.extend_from_slice(&headers[..headers.len().min(captured)]);
        if captured > headers.len() {
            self.buffer.resize(self.buffer.len() + captured - headers.len(), 0);
        }
    }

    /// Puts the headers of a segment into [`Bulk::frame`].
    #[inline]
    fn headers(&mut self, from: Sock, to: Sock, seg: &Segment) -> io::Result<()> {
        let frame = &mut self.frame;
        frame.len = 0;
        frame.put(mac(to.addr));
        frame.put(mac(from.addr));
        if let Some(vlan) = self.shape.vlan {
            frame.put([0x81, 0x00]);
            frame.put(vlan.to_be_bytes());
        }
        let words = 5 + option_words(seg);
        let transport = words * 4 + seg.len as usize;
        let (addresses, pseudo) = match (from.addr.ip(), to.addr.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let total = 20 + transport;
                if total > LENGTH_MAX {
                    return Err(too_long(seg.len, 4));
                }
                frame.put([0x08, 0x00, 0x45, 0]);
                let ip = frame.len - 2;
                frame.put((total as u16).to_be_bytes());
                // Identification 0, not to be fragmented.
                frame.put([0, 0, 0x40, 0, TTL, TCP, 0, 0]);
                frame.put(from.octets());
                frame.put(to.octets());
                frame.seal(ip, ip + 10, 0);
                (8, frame.len)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                if transport > LENGTH_MAX {
                    return Err(too_long(seg.len, 6));
                }
                frame.put([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.put((transport as u16).to_be_bytes());
                frame.put([TCP, TTL]);
                frame.put(from.octets());
                frame.put(to.octets());
                (32, frame.len)
            }
            _ => return Err(foreign(from.addr, to.addr)),
        };
        frame.put(from.port.to_be_bytes());
        frame.put(to.port.to_be_bytes());
        frame.put(seg.seq.0.to_be_bytes());
        frame.put(if seg.flags.has(TcpFlags::ACK) { seg.ack.0 } else { 0 }.to_be_bytes());
        frame.put([(words as u8) << 4, seg.flags.0]);
        frame.put(seg.window.to_be_bytes());
        frame.put([0; 4]);
        if words > 5 {
            options(frame, seg);
        }
        // Zeros as payload add nothing.
        frame.seal(pseudo - addresses, pseudo + 16, u32::from(TCP) + transport as u32);
        Ok(())
    }
}

const OFFERS: u8 = SegmentBits::HAS_OPTIONS | SegmentBits::SACK_PERMITTED | SegmentBits::WINDOW_SCALE;

/// How many words of four bytes the options of a segment take.
#[inline]
fn option_words(seg: &Segment) -> usize {
    let sack = if has_sack(seg) { 3 } else { 0 };
    if !seg.flags.has(TcpFlags::SYN) || !seg.bits.any(OFFERS) {
        return sack;
    }
    1 + sack + usize::from(seg.bits.any(SegmentBits::SACK_PERMITTED)) + usize::from(seg.bits.any(SegmentBits::WINDOW_SCALE))
}

fn has_sack(seg: &Segment) -> bool {
    seg.flags.has(TcpFlags::ACK) && seg.sack.after(seg.ack)
}

/// The options, each padded to four bytes as Linux does. Of selective acknowledgements a segment keeps only the highest right edge,
/// so the block written is the one byte before it.
fn options(frame: &mut Frame, seg: &Segment) {
    const NOOP: u8 = 1;
    if seg.flags.has(TcpFlags::SYN) && seg.bits.any(OFFERS) {
        let [high, low] = MSS.to_be_bytes();
        frame.put([2, 4, high, low]);
        if seg.bits.any(SegmentBits::SACK_PERMITTED) {
            frame.put([NOOP, NOOP, 4, 2]);
        }
        if seg.bits.any(SegmentBits::WINDOW_SCALE) {
            frame.put([NOOP, 3, 3, seg.window_scale]);
        }
    }
    if has_sack(seg) {
        frame.put([NOOP, NOOP, 5, 10]);
        frame.put(seg.sack.minus(1).0.to_be_bytes());
        frame.put(seg.sack.0.to_be_bytes());
    }
}

#[cold]
fn too_long(len: u32, version: u8) -> io::Error {
    invalid(format!("a segment of {len} bytes does not fit into an IPv{version} packet"))
}

#[cold]
fn foreign(from: Addr, to: Addr) -> io::Error {
    invalid(format!("no packet goes from {from} to {to}, which is of another family"))
}
