//! Segments to packets: a pcapng file of simulated TCP segments, and of ICMP errors about them.
//!
//! Nothing here knows who sent a segment or why, and nothing here opens a file: the bytes go to whatever sink is handed
//! in. The same calls give the same bytes, on every machine. For millions of packets there is [`bulk`].
pub mod bulk;

use crate::net::{Addr, Segment, SegmentBits, Seq, Sock, TcpFlags};
use crate::time::Instant;
use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{
    Ethernet2Header, Icmpv4Type, Icmpv6Type, IpHeaders, Ipv4Header, Ipv6Header, PacketBuilder, PacketBuilderStep, TcpHeader,
    TcpOptionElement, UdpHeader,
};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriteError, PcapNgWriter};
use pcap_file::{DataLink, Endianness};
use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

/// What Wireshark writes as the limit of an interface that has none. No packet here is that long.
const SNAPLEN: u32 = 256 << 10;
/// What a SYN announces: Ethernet's 1500 bytes less the two headers. A segment does not say.
const MSS: u16 = 1460;
/// What the length field of an IP header can hold.
const LENGTH_MAX: usize = u16::MAX as usize;
/// The time to live of ICMP errors and of the packets that they quote.
const ERROR_TTL: u8 = 64;
/// How much of the quoted packet follows its IP header: the ports and the sequence number.
const QUOTED: usize = 8;
/// Senders whose time stamps are remembered; a simulated flow has a handful.
const SENDERS: usize = 64;
/// What all payload consists of.
const PAYLOAD: u8 = b'x';

/// Writes a pcapng file: one section, Ethernet interfaces, times in nanoseconds. Hand in a buffered sink: a block goes
/// out in small pieces.
pub struct Writer<W: Write> {
    out: PcapNgWriter<W>,
    interfaces: usize,
    headers_only: bool,
    /// The packet in hand; kept for its memory.
    frame: Vec<u8>,
    /// As many bytes of payload as were needed so far.
    payload: Vec<u8>,
    /// The last time stamp of each sender, to be echoed.
    stamps: Vec<(Sock, u32)>,
}

impl<W: Write> Writer<W> {
    /// Writes the head of the file: who wrote it, and one interface for each name. Interfaces are numbered from 0.
    ///
    /// # Errors
    /// What the sink said; a name of more than 65,535 bytes.
    pub fn new(sink: W, interfaces: &[&str]) -> io::Result<Writer<W>> {
        let out = begin(sink, interfaces, InterfaceTsResolution::NANO, None)?;
        Ok(Writer { out, interfaces: interfaces.len(), headers_only: false, frame: Vec::new(), payload: Vec::new(), stamps: Vec::new() })
    }

    /// The same for one interface, of packets that are cut behind their headers; a comment at the head of the file says what they
    /// are. The lengths on the wire are the true ones.
    ///
    /// # Errors
    /// What the sink said; a comment or a name of more than 65,535 bytes.
    pub fn headers_only(sink: W, interface: &str, comment: &str) -> io::Result<Writer<W>> {
        let out = begin(sink, &[interface], InterfaceTsResolution::NANO, Some(comment))?;
        Ok(Writer { out, interfaces: 1, headers_only: true, frame: Vec::new(), payload: Vec::new(), stamps: Vec::new() })
    }

    /// Writes a segment as an Ethernet frame, captured whole, with all checksums right.
    ///
    /// The header has what the segment says: its acknowledgement only with the ACK flag, and the options by its bits. Of
    /// selective acknowledgements a segment keeps only the highest right edge, so the block written is the one byte
    /// before it. Where the bits know of options but not of which, as on a host that uses time stamps, there are four
    /// bytes of padding. The segment's own time, frame, file and direction are not looked at.
    ///
    /// # Errors
    /// What the sink said; an interface that was not named; ends of different families; a segment that no IP packet can
    /// hold. Nothing is written then.
    pub fn segment(&mut self, interface: usize, at: Instant, from: Sock, to: Sock, seg: &Segment, ttl: u8) -> io::Result<()> {
        self.check(interface)?;
        let stamp = self.stamp(at, from, to, seg);
        self.build(from, to, seg, ttl, stamp)?;
        self.put(interface, at, seg.len as usize)
    }

    /// Writes a UDP datagram of `len` bytes in the same way.
    ///
    /// # Errors
    /// As for [`segment`](Self::segment).
    pub fn datagram(&mut self, interface: usize, at: Instant, from: Sock, to: Sock, len: u32, ttl: u8) -> io::Result<()> {
        self.check(interface)?;
        let ip = ip_step(from.addr, to.addr, ttl)?;
        let (version, ip_header) = if from.addr.is_v6() { (6, 0) } else { (4, Ipv4Header::MIN_LEN) };
        let payload = self.filled(len as usize, LENGTH_MAX - ip_header - UdpHeader::LEN, "a datagram", version)?;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        let written = ip.udp(from.port, to.port).write(&mut frame, self.payload.get(..payload).unwrap_or_default());
        self.frame = frame;
        written.map_err(|error| invalid(error.to_string()))?;
        self.put(interface, at, payload)
    }

    /// Writes a packet that belongs to no flow: an address announces itself by ARP. It shows that the capture went on until then.
    ///
    /// # Errors
    /// As for [`segment`](Self::segment).
    pub fn announcement(&mut self, interface: usize, at: Instant, of: Addr) -> io::Result<()> {
        self.check(interface)?;
        let four = match of.ip() {
            IpAddr::V4(four) => four.octets(),
            IpAddr::V6(_) => return Err(invalid(format!("{of} is not announced by ARP, which is of IPv4"))),
        };
        let own = mac(of);
        self.frame.clear();
        // To all, from this host, ARP; then Ethernet and IPv4, their lengths, a request for the own address.
        for part in [&[0xff; 6], &own[..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &own, &four, &[0; 6], &four] {
            self.frame.extend_from_slice(part);
        }
        self.put(interface, at, 0)
    }

    /// The time stamp option of a segment that has options: milliseconds, as Linux counts, and the last one of its receiver.
    fn stamp(&mut self, at: Instant, from: Sock, to: Sock, seg: &Segment) -> Option<(u32, u32)> {
        if !seg.bits.any(SegmentBits::HAS_OPTIONS) {
            return None;
        }
        let value = (at.0 / 1_000_000) as u32;
        match self.stamps.iter().position(|(who, _)| *who == from) {
            Some(place) => self.stamps[place].1 = value,
            None if self.stamps.len() < SENDERS => self.stamps.push((from, value)),
            None => {}
        }
        let echo = self.stamps.iter().find(|(who, _)| *who == to).map_or(0, |(_, last)| *last);
        Some((value, if seg.flags.has(TcpFlags::ACK) { echo } else { 0 }))
    }

    /// Writes an ICMP error, port unreachable, as `from` sends it to `to`: about `seg`, which went from `about_src` to
    /// `about_dst`. It quotes the IP header and the eight bytes after it: the ports and the sequence number.
    ///
    /// # Errors
    /// As for [`segment`](Self::segment).
    #[expect(clippy::too_many_arguments, reason = "two packets have four ends")]
    pub fn unreachable(
        &mut self,
        interface: usize,
        at: Instant,
        from: Addr,
        to: Addr,
        about_src: Sock,
        about_dst: Sock,
        seg: &Segment,
    ) -> io::Result<()> {
        self.check(interface)?;
        let ip = ip_step(from, to, ERROR_TTL)?;
        if from.is_v6() != about_src.addr.is_v6() {
            return Err(invalid(format!("an ICMP error of {from} cannot be about a segment of {about_src}, which is of another family")));
        }
        self.build(about_src, about_dst, seg, ERROR_TTL, None)?;
        let ip_header = if from.is_v6() { Ipv6Header::LEN } else { Ipv4Header::MIN_LEN };
        let quote: Vec<u8> = self.frame.iter().skip(Ethernet2Header::LEN).take(ip_header + QUOTED).copied().collect();
        self.frame.clear();
        let written = if from.is_v6() {
            ip.icmpv6(Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Port)).write(&mut self.frame, &quote)
        } else {
            ip.icmpv4(Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port)).write(&mut self.frame, &quote)
        };
        written.map_err(|error| invalid(error.to_string()))?;
        self.put(interface, at, 0)
    }

    /// Hands the sink back, flushed. A file that was not finished is complete as far as the sink has it.
    ///
    /// # Errors
    /// What the sink said.
    pub fn finish(self) -> io::Result<W> {
        let mut sink = self.out.into_inner();
        sink.flush()?;
        Ok(sink)
    }

    fn check(&self, interface: usize) -> io::Result<()> {
        if interface < self.interfaces {
            return Ok(());
        }
        Err(invalid(format!("there is no interface {interface}: {} were named", self.interfaces)))
    }

    /// Puts the frame of a segment into [`Writer::frame`].
    fn build(&mut self, from: Sock, to: Sock, seg: &Segment, ttl: u8, stamp: Option<(u32, u32)>) -> io::Result<()> {
        let ip = ip_step(from.addr, to.addr, ttl)?;
        let header = tcp_header(from.port, to.port, seg, stamp)?;
        // The length field of IPv4 counts its own header, that of IPv6 does not.
        let (version, ip_header) = if from.addr.is_v6() { (6, 0) } else { (4, Ipv4Header::MIN_LEN) };
        let len = self.filled(seg.len as usize, LENGTH_MAX - ip_header - header.header_len(), "a segment", version)?;
        self.frame.clear();
        let payload = self.payload.get(..len).unwrap_or_default();
        ip.tcp_header(header).write(&mut self.frame, payload).map_err(|error| invalid(error.to_string()))
    }

    /// Has so many bytes of payload ready, if there is room for them.
    fn filled(&mut self, len: usize, room: usize, what: &str, version: u8) -> io::Result<usize> {
        if len > room {
            return Err(invalid(format!("{what} of {len} bytes does not fit into an IPv{version} packet, which has room for {room}")));
        }
        if self.payload.len() < len {
            self.payload.resize(len, PAYLOAD);
        }
        Ok(len)
    }

    /// Writes the frame in hand, which ends with so many bytes of payload.
    fn put(&mut self, interface: usize, at: Instant, payload: usize) -> io::Result<()> {
        let kept = if self.headers_only { self.frame.len() - payload } else { self.frame.len() };
        let block = EnhancedPacketBlock {
            interface_id: interface as u32,
            timestamp: Duration::from_nanos(at.0),
            original_len: self.frame.len() as u32,
            data: Cow::Borrowed(&self.frame[..kept]),
            options: Vec::new(),
        };
        self.out.write_pcapng_block(block).map(|_| ()).map_err(refused)
    }
}

/// Writes the head of a file: who wrote it, and one interface for each name.
fn begin<W: Write>(sink: W, interfaces: &[&str], resolution: InterfaceTsResolution, comment: Option<&str>) -> io::Result<PcapNgWriter<W>> {
    let own = SectionHeaderOption::UserApplication(Cow::Borrowed(concat!("flowlapse ", env!("CARGO_PKG_VERSION"))));
    let section = SectionHeaderBlock {
        // Not the byte order of this machine: a run is to give the same bytes everywhere.
        endianness: Endianness::Little,
        options: comment
            .map(|text| SectionHeaderOption::Common(CommonOption::Comment(Cow::Borrowed(text))))
            .into_iter()
            .chain([own])
            .collect(),
        ..SectionHeaderBlock::default()
    };
    let mut out = PcapNgWriter::with_section_header(sink, section).map_err(refused)?;
    for &name in interfaces {
        let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, SNAPLEN);
        interface.options =
            vec![InterfaceDescriptionOption::IfName(Cow::Borrowed(name)), InterfaceDescriptionOption::IfTsResol(resolution)];
        out.write_pcapng_block(interface).map_err(refused)?;
    }
    Ok(out)
}

/// Ethernet and IP. The identification of IPv4 is zero and fragmentation forbidden, as for most segments that hosts send.
fn ip_step(from: Addr, to: Addr, ttl: u8) -> io::Result<PacketBuilderStep<IpHeaders>> {
    let ethernet = PacketBuilder::ethernet2(mac(from), mac(to));
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ok(ethernet.ipv4(from.octets(), to.octets(), ttl)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ok(ethernet.ipv6(from.octets(), to.octets(), ttl)),
        _ => Err(invalid(format!("no packet goes from {from} to {to}, which is of another family"))),
    }
}

/// Puts our flags into a header.
pub(crate) fn set_flags(header: &mut TcpHeader, flags: TcpFlags) {
    header.fin = flags.has(TcpFlags::FIN);
    header.syn = flags.has(TcpFlags::SYN);
    header.rst = flags.has(TcpFlags::RST);
    header.psh = flags.has(TcpFlags::PSH);
    header.ack = flags.has(TcpFlags::ACK);
    header.urg = flags.has(TcpFlags::URG);
    header.ece = flags.has(TcpFlags::ECE);
    header.cwr = flags.has(TcpFlags::CWR);
}

fn tcp_header(from: u16, to: u16, seg: &Segment, stamp: Option<(u32, u32)>) -> io::Result<TcpHeader> {
    let mut header = TcpHeader::new(from, to, seg.seq.0, seg.window);
    set_flags(&mut header, seg.flags);
    if header.ack {
        header.acknowledgment_number = seg.ack.0;
    }
    header.set_options(&options(seg, stamp)).map_err(|error| invalid(error.to_string()))?;
    Ok(header)
}

/// The options in Linux's order, each padded to four bytes as Linux does.
fn options(seg: &Segment, stamp: Option<(u32, u32)>) -> Vec<TcpOptionElement> {
    use TcpOptionElement::{MaximumSegmentSize, Noop, SelectiveAcknowledgement, SelectiveAcknowledgementPermitted, Timestamp, WindowScale};
    let offers = SegmentBits::HAS_OPTIONS | SegmentBits::SACK_PERMITTED | SegmentBits::WINDOW_SCALE;
    let mut elements = Vec::new();
    if seg.flags.has(TcpFlags::SYN) && seg.bits.any(offers) {
        elements.push(MaximumSegmentSize(MSS));
    }
    if seg.bits.any(SegmentBits::SACK_PERMITTED) {
        elements.extend([Noop, Noop, SelectiveAcknowledgementPermitted]);
    }
    if let Some((value, echo)) = stamp {
        elements.extend([Noop, Noop, Timestamp(value, echo)]);
    }
    if seg.bits.any(SegmentBits::WINDOW_SCALE) {
        elements.extend([Noop, WindowScale(seg.window_scale)]);
    }
    if seg.flags.has(TcpFlags::ACK) && seg.sack.after(seg.ack) {
        let Seq(left) = seg.sack.minus(1);
        elements.extend([Noop, Noop, SelectiveAcknowledgement((left, seg.sack.0), [None; 3])]);
    }
    elements
}

/// An address of the locally administered kind for the host that has this IP address: IPv4 as it stands; IPv6, which is
/// longer, folded by FNV-1a.
fn mac(addr: Addr) -> [u8; 6] {
    match addr.ip() {
        IpAddr::V4(four) => {
            let [a, b, c, d] = four.octets();
            [2, 0, a, b, c, d]
        }
        IpAddr::V6(six) => {
            let step = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
            let [_, _, _, low @ ..] = six.octets().into_iter().fold(0xcbf2_9ce4_8422_2325, step).to_be_bytes();
            let mut mac = [2; 6];
            mac[1..].copy_from_slice(&low);
            mac
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// The sink's own error where it is one, else what could not be written and why.
fn refused(error: PcapNgWriteError) -> io::Error {
    match error {
        PcapNgWriteError::Io(error) => error,
        PcapNgWriteError::Validation { field, source } => invalid(format!("{field}: {source}")),
        other => invalid(other.to_string()),
    }
}
