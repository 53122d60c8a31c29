//! Packets as bytes: what is injected, and what a box sent, read back into a recording's words.

use crate::capture::write::set_flags;
use crate::conform::generate::Planned;
use crate::conform::recording::Out;
use crate::net::TcpFlags;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TcpOptionElement, TransportSlice};
use std::net::IpAddr;

/// An address and a port.
pub(super) type Socket = (IpAddr, u16);

/// The conntrack verdicts that rules write into the DSCP of what leaves: their names and values.
pub(super) const VERDICTS: [(&str, u8); 5] = [("new", 1), ("established", 2), ("related", 3), ("invalid", 4), ("untracked", 5)];

const TTL: u8 = 64;

/// The bytes of a packet, all checksums right.
///
/// # Errors
/// What cannot be put into a packet.
pub(super) fn build(planned: &Planned, udp: bool, src: Socket, dst: Socket) -> Result<Vec<u8>, String> {
    let ip = match (src.0, dst.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), TTL),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), TTL),
        _ => return Err("the two ends of a packet are of different families".to_owned()),
    };
    let payload = vec![0x2e; planned.len as usize];
    let mut bytes = Vec::with_capacity(payload.len() + 100);
    let written = if udp {
        ip.udp(src.1, dst.1).write(&mut bytes, &payload)
    } else {
        ip.tcp_header(tcp_header(planned, src.1, dst.1)?).write(&mut bytes, &payload)
    };
    written.map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn tcp_header(planned: &Planned, sport: u16, dport: u16) -> Result<TcpHeader, String> {
    let mut header = TcpHeader::new(sport, dport, planned.seq.0, planned.window);
    header.acknowledgment_number = planned.ack.0;
    set_flags(&mut header, planned.flags);
    let options = &planned.options;
    let mut elements = Vec::new();
    elements.extend(options.mss.map(TcpOptionElement::MaximumSegmentSize));
    elements.extend(options.ws.map(TcpOptionElement::WindowScale));
    if options.sackok {
        elements.push(TcpOptionElement::SelectiveAcknowledgementPermitted);
    }
    let mut blocks = options.sack.iter().map(|[left, right]| (*left as u32, *right as u32));
    if let Some(first) = blocks.next() {
        elements.push(TcpOptionElement::SelectiveAcknowledgement(first, [blocks.next(), blocks.next(), blocks.next()]));
    }
    header.set_options(&elements).map_err(|error| error.to_string())?;
    Ok(header)
}

/// What a box sent, if it is a segment, a datagram or an ICMP error; hosts also send packets that concern nobody here.
pub(super) fn read(bytes: &[u8], to: &str) -> Option<Out> {
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let (src, dst, dscp): (IpAddr, IpAddr, u8) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into(), ip.header().dcp().value()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into(), ip.header().traffic_class() >> 2),
        NetSlice::Arp(_) => return None,
    };
    let ct = VERDICTS.iter().find(|(_, value)| *value == dscp).map(|(name, _)| (*name).to_owned());
    let nothing = Out {
        to: to.to_owned(),
        ct,
        src: None,
        dst: None,
        sport: None,
        dport: None,
        flags: None,
        seq: None,
        ack: None,
        len: None,
        icmp: None,
    };
    let addressed = |sport, dport| Out {
        src: Some(src.to_string()),
        dst: Some(dst.to_string()),
        sport: Some(sport),
        dport: Some(dport),
        ..nothing.clone()
    };
    match packet.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => Some(Out {
            flags: Some(TcpFlags(tcp.slice()[13]).to_string()),
            seq: Some(tcp.sequence_number()),
            ack: Some(tcp.acknowledgment_number()),
            ..addressed(tcp.source_port(), tcp.destination_port())
        }),
        TransportSlice::Udp(udp) => {
            Some(Out { len: Some(udp.payload().len() as u32), ..addressed(udp.source_port(), udp.destination_port()) })
        }
        TransportSlice::Icmpv4(icmp) if matches!(icmp.type_u8(), 3 | 5 | 11 | 12) => {
            Some(Out { icmp: Some([icmp.type_u8(), icmp.code_u8()]), ..nothing })
        }
        TransportSlice::Icmpv6(icmp) if icmp.type_u8() < 128 => Some(Out { icmp: Some([icmp.type_u8(), icmp.code_u8()]), ..nothing }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::recording::Options;
    use crate::model::Side;
    use crate::net::Seq;
    use crate::time::Duration;

    #[test]
    fn what_is_built_is_read_back() {
        let planned = Planned {
            gap: Duration::ZERO,
            from: Side::Client,
            flags: TcpFlags(TcpFlags::SYN | TcpFlags::ECE),
            seq: Seq(0xffff_ff00),
            ack: Seq(77),
            window: 1024,
            len: 10,
            options: Options { mss: Some(1460), ws: Some(14), sackok: true, sack: vec![[1, 2], [3, 4]] },
        };
        for (client, server) in [("10.0.1.2", "10.0.2.2"), ("fd00:1::2", "fd00:2::2")] {
            let (client, server): (IpAddr, IpAddr) = (client.parse().expect("an address"), server.parse().expect("an address"));
            let bytes = build(&planned, false, (client, 2000), (server, 80)).expect("it can be built");
            let out = read(&bytes, "server").expect("it is a segment");
            assert_eq!(
                (out.flags.as_deref(), out.seq, out.ack, out.sport, out.dport),
                (Some("SE"), Some(0xffff_ff00), Some(77), Some(2000), Some(80))
            );
            assert_eq!((out.src, out.ct), (Some(client.to_string()), None));
            let datagram = build(&planned, true, (client, 2000), (server, 80)).expect("it can be built");
            assert_eq!(read(&datagram, "server").expect("it is a datagram").len, Some(10));
            for cut in 0..bytes.len() {
                let _ = read(&bytes[..cut], "server");
            }
        }
    }
}
