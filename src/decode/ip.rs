//! IPv4 and IPv6: true lengths, extension headers, fragments.
//!
//! Nothing here knows link layers or ports. The length of a packet is what its header says, not what was captured.
use super::fragment::Piece;
use super::{Cut, Kind, Net, Outcome, Walk, be16};
use crate::net::Addr;
use etherparse::{Ipv4HeaderSlice, err};

/// Protocol numbers that are IPv6 extension headers of the ordinary shape: next header, length in units of eight bytes.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

impl Walk<'_, '_> {
    /// Either version, by the first nibble.
    pub(super) fn ip(&mut self, cut: Cut<'_>) -> Outcome {
        match cut.head::<1>(Kind::IpHeaderCut)?[0] >> 4 {
            4 => self.ipv4(cut),
            6 => self.ipv6(cut),
            _ => Err(Kind::MalformedIp),
        }
    }

    #[inline]
    pub(super) fn ipv4(&mut self, cut: Cut<'_>) -> Outcome {
        let header = Ipv4HeaderSlice::from_slice(cut.bytes).map_err(|error| match error {
            err::ipv4::HeaderSliceError::Len(_) if cut.bytes.len() < cut.len => Kind::IpHeaderCut,
            _ => Kind::MalformedIp,
        })?;
        let header_len = header.slice().len();
        // Packets that the sending host has not cut into segments yet may have no total length.
        let total = match usize::from(header.total_len()) {
            0 => cut.len,
            total if total < header_len => return Err(Kind::MalformedIp),
            total => total,
        };
        let payload = cut.limit(total).skip(header_len);
        self.found_net(Net {
            src: Addr::v4(header.source()),
            dst: Addr::v4(header.destination()),
            ttl: header.ttl(),
            id: header.identification(),
        });
        let protocol = header.protocol().0;
        if header.is_fragmenting_payload() {
            let offset = u32::from(header.fragments_offset().value()) * 8;
            let piece = Piece { id: u32::from(header.identification()), offset, more: header.more_fragments() };
            return self.fragment(protocol, piece, payload);
        }
        self.transport(protocol, payload)
    }

    pub(super) fn ipv6(&mut self, cut: Cut<'_>) -> Outcome {
        if cut.len < 40 {
            return Err(Kind::MalformedIp);
        }
        let header: &[u8; 40] = cut.head(Kind::IpHeaderCut)?;
        if header[0] >> 4 != 6 {
            return Err(Kind::MalformedIp);
        }
        // Zero means a jumbogram or a packet that the sending host has not cut into segments yet.
        let length = match usize::from(be16(header, 4)) {
            0 => cut.len - 40,
            length => length,
        };
        let [mut src, mut dst] = [[0; 16]; 2];
        src.copy_from_slice(&header[8..24]);
        dst.copy_from_slice(&header[24..40]);
        self.found_net(Net { src: Addr::v6(src), dst: Addr::v6(dst), ttl: header[7], id: 0 });
        self.extensions(header[6], cut.skip(40).limit(length))
    }

    /// Notes the addresses where they will be handed out; an inner header replaces them.
    #[inline]
    fn found_net(&mut self, net: Net) {
        self.out.src.addr = net.src;
        self.out.dst.addr = net.dst;
        (self.ttl, self.ip_id) = (net.ttl, net.id);
    }

    /// Walks along the extension headers. Each takes at least eight bytes, so this ends.
    fn extensions(&mut self, mut next: u8, mut cut: Cut<'_>) -> Outcome {
        loop {
            let size = match next {
                HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HIP | SHIM6 => {
                    let [_, units] = *cut.head::<2>(Kind::IpHeaderCut)?;
                    8 + usize::from(units) * 8
                }
                AUTHENTICATION => {
                    let [_, units] = *cut.head::<2>(Kind::IpHeaderCut)?;
                    8 + usize::from(units) * 4
                }
                FRAGMENT => {
                    let header: &[u8; 8] = cut.head(Kind::IpHeaderCut)?;
                    let place = be16(header, 2);
                    let piece = Piece {
                        id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                        offset: u32::from(place & 0xfff8),
                        more: place & 1 == 1,
                    };
                    // An atomic fragment (RFC 6946) is a whole packet.
                    if piece.more || piece.offset > 0 {
                        return self.fragment(header[0], piece, cut.skip(8));
                    }
                    8
                }
                _ => return self.transport(next, cut),
            };
            if size > cut.len {
                return Err(Kind::MalformedIp);
            }
            next = cut.head::<1>(Kind::IpHeaderCut)?[0];
            cut = cut.skip(size);
        }
    }

    /// Keeps a fragment; goes on where it completes its datagram.
    #[cold]
    fn fragment(&mut self, protocol: u8, piece: Piece, cut: Cut<'_>) -> Outcome {
        let net = Net { src: self.out.src.addr, dst: self.out.dst.addr, ttl: self.ttl, id: self.ip_id };
        let Some(whole) = self.fragments.add(protocol, net, piece, cut, self.record.at) else {
            return Err(Kind::Fragment);
        };
        let cut = Cut { bytes: &whole.head, len: whole.len as usize, firm: false };
        self.found_net(whole.net);
        // What a whole datagram carries may begin with further extension headers, in IPv6 only.
        if whole.net.src.is_v6() { self.extensions(protocol, cut) } else { self.transport(protocol, cut) }
    }
}
