//! The usual packet in one look: Ethernet with up to two VLAN tags, IPv4 without options or IPv6 without extensions, whole,
//! with a TCP header of which everything was captured.
//!
//! Reads nothing that the walk through the layers would not read, and leaves to it whatever is not exactly of this form; the
//! two give the same answer for every packet (`tests/decode_usual.rs`).
use super::transport::{Options, TCP_HEADER, be32, options};
use super::{Decoded, be16};
use crate::capture::{LinkType, Record};
use crate::net::{Addr, Direction, Proto, Segment, SegmentBits, Seq, Sock, TcpFlags};

const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: u8 = 6;

/// The segment of the most usual packet of all: IPv4 in an untagged frame.
#[inline(always)]
pub(super) fn plain(record: &Record<'_>) -> Option<Decoded> {
    if record.link != LinkType::ETHERNET {
        return None;
    }
    match record.bytes.get(12..) {
        Some([0x08, 0x00, rest @ ..]) => ipv4(record, rest),
        _ => None,
    }
}

/// The segment of another packet of the usual form.
pub(super) fn other(record: &Record<'_>) -> Option<Decoded> {
    if record.link != LinkType::ETHERNET {
        return None;
    }
    tagged(record, record.bytes.get(12..)?)
}

/// What follows the destination and the source, beginning with any tags.
fn tagged(record: &Record<'_>, mut rest: &[u8]) -> Option<Decoded> {
    for _ in 0..3 {
        rest = match rest {
            [0x08, 0x00, rest @ ..] => return ipv4(record, rest),
            [0x86, 0xdd, rest @ ..] => return ipv6(record, rest),
            [0x81, 0x00, _, _, rest @ ..] | [0x88, 0xa8, _, _, rest @ ..] => rest,
            _ => return None,
        };
    }
    None
}

#[inline(always)]
fn ipv4(record: &Record<'_>, rest: &[u8]) -> Option<Decoded> {
    let header = rest.first_chunk::<{ IPV4 + TCP_HEADER }>()?;
    // Version and length in one byte; neither more fragments nor an offset.
    if header[0] != 0x45 || be16(header, 6) & 0x3fff != 0 || header[9] != TCP {
        return None;
    }
    let total = usize::from(be16(header, 2));
    let payload = total.checked_sub(IPV4)?;
    let kept = rest.get(IPV4..total).unwrap_or(&rest[IPV4..]);
    let (ports, segment) = tcp(record, kept, payload, (header[8], be16(header, 4)))?;
    Some(Decoded {
        src: Sock { addr: Addr::v4([header[12], header[13], header[14], header[15]]), port: ports[0] },
        dst: Sock { addr: Addr::v4([header[16], header[17], header[18], header[19]]), port: ports[1] },
        proto: Proto::Tcp,
        segment,
    })
}

fn ipv6(record: &Record<'_>, rest: &[u8]) -> Option<Decoded> {
    let header = rest.first_chunk::<IPV6>()?;
    let payload = usize::from(be16(header, 4));
    if header[0] >> 4 != 6 || header[6] != TCP || payload == 0 {
        return None;
    }
    let kept = rest.get(IPV6..IPV6 + payload).unwrap_or(&rest[IPV6..]);
    let (ports, segment) = tcp(record, kept, payload, (header[7], 0))?;
    let [mut src, mut dst] = [[0; 16]; 2];
    src.copy_from_slice(&header[8..24]);
    dst.copy_from_slice(&header[24..40]);
    Some(Decoded {
        src: Sock { addr: Addr::v6(src), port: ports[0] },
        dst: Sock { addr: Addr::v6(dst), port: ports[1] },
        proto: Proto::Tcp,
        segment,
    })
}

/// The ports and the segment of a header that is whole and makes sense, with `len` bytes from its beginning to the end of the
/// packet.
#[inline(always)]
fn tcp(record: &Record<'_>, kept: &[u8], len: usize, (ttl, ip_id): (u8, u16)) -> Option<([u16; 2], Segment)> {
    let header = kept.first_chunk::<TCP_HEADER>()?;
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < TCP_HEADER || header_len > len || header_len > kept.len() {
        return None;
    }
    let ack = Seq(be32(header, 8));
    let read = if header_len > TCP_HEADER {
        let read = options(&kept[TCP_HEADER..header_len], header_len - TCP_HEADER, ack);
        Options { bits: read.bits | SegmentBits::HAS_OPTIONS, ..read }
    } else {
        Options { sack: ack, window_scale: 0, bits: 0 }
    };
    let segment = Segment {
        at: record.at,
        frame: record.frame,
        seq: Seq(be32(header, 4)),
        ack,
        sack: read.sack,
        len: (len - header_len) as u32,
        window: be16(header, 14),
        file: record.file,
        flags: TcpFlags(header[13]),
        dir: Direction::Original,
        window_scale: read.window_scale,
        bits: SegmentBits(read.bits),
        ttl,
        ip_id,
    };
    Some(([be16(header, 0), be16(header, 2)], segment))
}
