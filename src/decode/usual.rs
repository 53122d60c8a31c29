//! The usual packet in one look: Ethernet with up to two VLAN tags, IPv4 without options or IPv6 without extensions, whole,
//! with a TCP header of which everything was captured.
//!
//! Reads nothing that the walk through the layers would not read, and leaves to it whatever is not exactly of this form; the
//! two give the same answer for every packet (`tests/decode_usual.rs`).
use super::transport::{TCP_HEADER, be32, options};
use super::{Decoded, be16};
use crate::capture::{LinkType, Record};
use crate::net::{Addr, Proto, Segment, SegmentBits, Seq, TcpFlags};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: u8 = 6;
const TAG: usize = 4;

/// Fills `out` where the packet has the usual form; what stands in it otherwise means nothing.
#[inline]
pub(super) fn decode(record: &Record<'_>, out: &mut Decoded) -> bool {
    if record.link != LinkType::ETHERNET {
        return false;
    }
    let bytes = record.bytes;
    if let Some(rest) = bytes.get(ETHERNET..)
        && be16(bytes, 12) == 0x0800
    {
        return ipv4(record, rest, out);
    }
    tagged(record, out)
}

/// As [`decode`], after the destination, the source, and any tags.
fn tagged(record: &Record<'_>, out: &mut Decoded) -> bool {
    let bytes = record.bytes;
    let mut at = ETHERNET;
    for _ in 0..3 {
        let Some(rest) = bytes.get(at..) else { return false };
        match be16(bytes, at - 2) {
            0x0800 => return ipv4(record, rest, out),
            0x86dd => return ipv6(record, rest, out),
            0x8100 | 0x88a8 => at += TAG,
            _ => return false,
        }
    }
    false
}

#[inline]
fn ipv4(record: &Record<'_>, rest: &[u8], out: &mut Decoded) -> bool {
    let Some(header) = rest.first_chunk::<{ IPV4 + TCP_HEADER }>() else { return false };
    // Version and length in one byte; neither more fragments nor an offset.
    if header[0] != 0x45 || be16(header, 6) & 0x3fff != 0 || header[9] != TCP {
        return false;
    }
    let total = usize::from(be16(header, 2));
    let Some(payload) = total.checked_sub(IPV4) else { return false };
    let kept = rest.get(IPV4..total).unwrap_or(&rest[IPV4..]);
    if !tcp(record, kept, payload, out) {
        return false;
    }
    out.src.addr = Addr::v4([header[12], header[13], header[14], header[15]]);
    out.dst.addr = Addr::v4([header[16], header[17], header[18], header[19]]);
    out.ttl = header[8];
    out.ip_id = be16(header, 4);
    true
}

fn ipv6(record: &Record<'_>, rest: &[u8], out: &mut Decoded) -> bool {
    let Some(header) = rest.first_chunk::<IPV6>() else { return false };
    let payload = usize::from(be16(header, 4));
    if header[0] >> 4 != 6 || header[6] != TCP || payload == 0 {
        return false;
    }
    let kept = rest.get(IPV6..IPV6 + payload).unwrap_or(&rest[IPV6..]);
    if !tcp(record, kept, payload, out) {
        return false;
    }
    let [mut src, mut dst] = [[0; 16]; 2];
    src.copy_from_slice(&header[8..24]);
    dst.copy_from_slice(&header[24..40]);
    (out.src.addr, out.dst.addr) = (Addr::v6(src), Addr::v6(dst));
    (out.ttl, out.ip_id) = (header[7], 0);
    true
}

/// A header that is whole and makes sense, with `len` bytes from its beginning to the end of the packet.
#[inline]
fn tcp(record: &Record<'_>, kept: &[u8], len: usize, out: &mut Decoded) -> bool {
    let Some(header) = kept.first_chunk::<TCP_HEADER>() else { return false };
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < TCP_HEADER || header_len > len || header_len > kept.len() {
        return false;
    }
    let ack = Seq(be32(header, 8));
    out.src.port = be16(header, 0);
    out.dst.port = be16(header, 2);
    out.proto = Proto::Tcp;
    out.segment = Segment {
        at: record.at,
        frame: record.frame,
        file: record.file,
        seq: Seq(be32(header, 4)),
        ack,
        sack: ack,
        len: (len - header_len) as u32,
        window: be16(header, 14),
        flags: TcpFlags(header[13]),
        ..Segment::EMPTY
    };
    if header_len > TCP_HEADER {
        out.segment.bits.0 |= SegmentBits::HAS_OPTIONS;
        options(&kept[TCP_HEADER..header_len], header_len - TCP_HEADER, &mut out.segment);
    }
    true
}
