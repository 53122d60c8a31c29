//! TCP and UDP headers, and what the TCP options say.
//!
//! Nothing here knows fragments or link layers. Options are read as `tcp_options` and `tcp_sack` in
//! `net/netfilter/nf_conntrack_proto_tcp.c` read them.
use super::{Cut, Kind, Outcome, Walk, be16};
use crate::capture::Record;
use crate::net::{Proto, Segment, SegmentBits, Seq, TcpFlags};

pub(super) const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// The beginning of an options area that is nothing but an aligned time stamp: NOP, NOP, kind 8, length 10.
const ALIGNED_TIMESTAMP: [u8; 4] = [1, 1, 8, 10];

impl Walk<'_, '_> {
    #[inline]
    pub(super) fn transport(&mut self, protocol: u8, cut: Cut<'_>) -> Outcome {
        match protocol {
            6 => self.tcp(cut),
            17 => self.udp(cut),
            _ => self.other_protocol(protocol, cut),
        }
    }

    fn other_protocol(&mut self, protocol: u8, cut: Cut<'_>) -> Outcome {
        match protocol {
            // IP in IP by its two numbers, and IPv6 in IP.
            4 | 94 => self.deeper()?.ipv4(cut),
            41 => self.deeper()?.ipv6(cut),
            47 => self.gre(cut),
            // An authentication header after IPv4; units of four bytes, less two.
            51 => {
                let [next, units] = *cut.head::<2>(Kind::IpHeaderCut)?;
                self.deeper()?.transport(next, cut.skip(8 + usize::from(units) * 4))
            }
            137 => self.deeper()?.mpls(cut),
            143 => self.deeper()?.ethernet(cut),
            1 => self.icmp(cut, Kind::Icmp),
            2 => Err(Kind::Igmp),
            50 => Err(Kind::Esp),
            58 => self.icmp(cut, Kind::Icmpv6),
            59 => Err(Kind::NoNextHeader),
            89 => Err(Kind::Ospf),
            103 => Err(Kind::Pim),
            112 => Err(Kind::Vrrp),
            132 => Err(Kind::Sctp),
            _ => Err(Kind::OtherIpProtocol),
        }
    }

    #[inline]
    fn tcp(&mut self, cut: Cut<'_>) -> Outcome {
        if cut.len < TCP_HEADER {
            return Err(Kind::MalformedTcp);
        }
        // The fields are read here rather than by etherparse, whose slices refuse a header that was cut in its options.
        let header: &[u8; TCP_HEADER] = cut.head(Kind::TcpHeaderCut)?;
        let ack = Seq(be32(header, 8));
        self.found(Proto::Tcp, header);
        let segment = &mut self.out.segment;
        segment.seq = Seq(be32(header, 4));
        segment.ack = ack;
        segment.sack = ack;
        segment.window = be16(header, 14);
        segment.flags = TcpFlags(header[13]);
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < TCP_HEADER || header_len > cut.len {
            segment.bits.0 |= SegmentBits::MALFORMED;
        } else {
            segment.len = (cut.len - header_len) as u32;
        }
        if header_len > TCP_HEADER {
            segment.bits.0 |= SegmentBits::HAS_OPTIONS;
            if cut.bytes.len() < header_len.min(cut.len) {
                segment.bits.0 |= SegmentBits::HEADER_CUT;
            }
            let end = header_len.min(cut.bytes.len());
            let read = options(&cut.bytes[TCP_HEADER..end], header_len - TCP_HEADER, ack);
            (segment.sack, segment.window_scale) = (read.sack, read.window_scale);
            segment.bits.0 |= read.bits;
        }
        Ok(())
    }

    #[inline]
    fn udp(&mut self, cut: Cut<'_>) -> Outcome {
        if cut.len < UDP_HEADER {
            return Err(Kind::MalformedUdp);
        }
        let header: &[u8; UDP_HEADER] = cut.head(Kind::UdpHeaderCut)?;
        let stated = usize::from(be16(header, 4));
        let fits = (UDP_HEADER..=cut.len).contains(&stated);
        let len = if fits { stated } else { cut.len };
        if let Some(inner) = self.udp_tunnel(be16(header, 2), cut.limit(len).skip(UDP_HEADER)) {
            return inner;
        }
        self.found(Proto::Udp, header);
        self.out.segment.len = (len - UDP_HEADER) as u32;
        // Zero stands for a datagram of more than 64 KiB, or one that is still to be cut into segments.
        if !fits && stated != 0 {
            self.out.segment.bits.0 |= SegmentBits::MALFORMED;
        }
        Ok(())
    }

    /// Begins a segment. Both headers begin with the ports.
    #[inline]
    fn found(&mut self, proto: Proto, header: &[u8]) {
        let Record { at, frame, file, .. } = *self.record;
        self.out.src.port = be16(header, 0);
        self.out.dst.port = be16(header, 2);
        self.out.proto = proto;
        self.out.segment = Segment { at, frame, file, ttl: self.ttl, ip_id: self.ip_id, ..Segment::EMPTY };
    }
}

/// What the options of a TCP header say. Handed out by value: a segment whose address is taken is built in memory, byte by byte.
#[derive(Clone, Copy)]
pub(super) struct Options {
    pub(super) sack: Seq,
    pub(super) window_scale: u8,
    pub(super) bits: u8,
}

/// Reads the captured part of an options area of `whole` bytes, of a header that acknowledges `ack`.
pub(super) fn options(area: &[u8], whole: usize, ack: Seq) -> Options {
    let mut read = Options { sack: ack, window_scale: 0, bits: 0 };
    if whole == 12 && area.starts_with(&ALIGNED_TIMESTAMP) {
        return read;
    }
    let mut sack_read = false;
    let mut rest = area;
    while let [kind, after @ ..] = rest {
        match kind {
            0 => return read,
            1 => rest = after,
            _ => {
                // A length that cannot be ends the reading, as it does in Linux.
                let Some(size @ 2..) = after.first().map(|&size| usize::from(size)) else { return read };
                let Some(value) = rest.get(2..size) else { return read };
                match (*kind, value) {
                    (3, &[shift]) => {
                        read.window_scale = shift;
                        read.bits |= SegmentBits::WINDOW_SCALE;
                    }
                    (4, []) => read.bits |= SegmentBits::SACK_PERMITTED,
                    // `tcp_sack` returns after the first option that is one.
                    (5, blocks) if !sack_read && !blocks.is_empty() && blocks.len() % 8 == 0 => {
                        sack_read = true;
                        for block in blocks.chunks_exact(8) {
                            let right = Seq(be32(block, 4));
                            if right.after(read.sack) {
                                read.sack = right;
                            }
                        }
                    }
                    _ => {}
                }
                rest = &rest[size..];
            }
        }
    }
    read
}

#[inline]
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}
