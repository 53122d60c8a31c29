//! ICMP and ICMPv6 errors: who says what about which packet. An error belongs to no flow by its own header; what it quotes does.
//!
//! Nothing here knows flows, or what an error makes of one. Types and codes are those of RFC 792, RFC 1812 and RFC 4443.
use super::transport::be32;
use super::{Cut, Kind, Outcome, Walk, be16};
use crate::net::{Addr, Proto, Seq, Sock};
use crate::time::Instant;

/// An ICMP or ICMPv6 error about a TCP segment or a UDP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// When it was captured.
    pub at: Instant,
    /// Its number in its capture file as Wireshark counts, from 1.
    pub frame: u32,
    /// Which of the input files it came from, from 0.
    pub file: u16,
    /// Who sent it.
    pub from: Addr,
    /// To whom.
    pub to: Addr,
    /// Time to live or hop limit of the error itself.
    pub ttl: u8,
    /// Type, in the numbers of the family of `from`.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Where the quoted packet came from.
    pub src: Sock,
    /// Where it went.
    pub dst: Sock,
    /// What it was.
    pub proto: Proto,
    /// Its sequence number, of TCP.
    pub seq: Seq,
}

impl IcmpError {
    /// What the error says, in words that routers and `iptables -j REJECT` share.
    pub const fn name(&self) -> &'static str {
        match (self.from.is_v6(), self.kind, self.code) {
            (false, 3, 0) => "network unreachable",
            (false, 3, 1) => "host unreachable",
            (false, 3, 2) => "protocol unreachable",
            (false, 3, 3) | (true, 1, 4) => "port unreachable",
            (false, 3, 4) | (true, 2, _) => "packet too big",
            (false, 3, 9) => "network administratively prohibited",
            (false, 3, 10) => "host administratively prohibited",
            (false, 3, 13) | (true, 1, 1) => "administratively prohibited",
            (false, 3, _) | (true, 1, _) => "unreachable",
            (false, 11, _) | (true, 3, _) => "time exceeded",
            _ => "parameter problem",
        }
    }

    /// Whether it says that the packet was too big for a link on the way.
    pub const fn is_too_big(&self) -> bool {
        matches!((self.from.is_v6(), self.kind, self.code), (false, 3, 4) | (true, 2, _))
    }

    /// Whether it says that nobody is there: the host or its network cannot be reached, or the packet went round in circles.
    pub const fn finds_nobody(&self) -> bool {
        matches!((self.from.is_v6(), self.kind, self.code), (false, 3, 0 | 1) | (false, 11, _) | (true, 3, _))
    }

    /// Whether it says that the packet was refused, and not that it was too big or went round in circles.
    pub const fn refuses(&self) -> bool {
        if self.from.is_v6() { self.kind == 1 } else { self.kind == 3 && self.code != 4 }
    }
}

/// The headers of IPv4 and IPv6 without options.
const IPV4: usize = 20;
const IPV6: usize = 40;

impl Walk<'_, '_> {
    /// Notes an error with what it quotes; every other message is only counted.
    #[cold]
    pub(super) fn icmp(&mut self, cut: Cut<'_>, of: Kind) -> Outcome {
        let v6 = of == Kind::Icmpv6;
        if let Ok(&[kind, code, ..]) = cut.head::<8>(of)
            && (if v6 { (1..=4).contains(&kind) } else { matches!(kind, 3 | 11 | 12) })
            && v6 == self.out.src.addr.is_v6()
            && let Some((src, dst, proto, seq)) = quoted(cut.skip(8).bytes, v6)
        {
            let (from, to) = (self.out.src.addr, self.out.dst.addr);
            let (at, frame, file) = (self.record.at, self.record.frame, self.record.file);
            *self.error = Some(IcmpError { at, frame, file, from, to, ttl: self.ttl, kind, code, src, dst, proto, seq });
        }
        Err(of)
    }
}

/// Reads what an error quotes: an IP header, the ports, and of TCP the sequence number. Extension headers in between are not
/// looked through: no host of a flow here sends any.
fn quoted(bytes: &[u8], v6: bool) -> Option<(Sock, Sock, Proto, Seq)> {
    let (src, dst, protocol, rest) = if v6 {
        let header = bytes.first_chunk::<IPV6>()?;
        let [mut src, mut dst] = [[0; 16]; 2];
        src.copy_from_slice(&header[8..24]);
        dst.copy_from_slice(&header[24..40]);
        (header[0] >> 4 == 6).then_some((Addr::v6(src), Addr::v6(dst), header[6], &bytes[IPV6..]))?
    } else {
        let header = bytes.first_chunk::<IPV4>()?;
        let length = usize::from(header[0] & 0x0f) * 4;
        // Of a fragment only the first, whose offset of 13 bits is zero, has ports.
        (header[0] >> 4 == 4 && length >= IPV4 && be16(header, 6).trailing_zeros() >= 13).then_some(())?;
        let [src, dst] = [12, 16].map(|at| Addr::v4([header[at], header[at + 1], header[at + 2], header[at + 3]]));
        (src, dst, header[9], bytes.get(length..)?)
    };
    let proto = match protocol {
        6 => Proto::Tcp,
        17 => Proto::Udp,
        _ => return None,
    };
    let head = rest.first_chunk::<8>()?;
    let seq = if proto == Proto::Tcp { Seq(be32(head, 4)) } else { Seq(0) };
    Some((Sock { addr: src, port: be16(head, 0) }, Sock { addr: dst, port: be16(head, 2) }, proto, seq))
}
