//! Every record is a segment with the right numbers, or counted under the right name.

mod decode_packets;

use decode_packets::{CLIENT, SERVER, assert_is_the_flow, decode, decode_cut, ethernet, fragment4, ipv4, ipv6, record, tcp, udp};
use flowlapse::capture::LinkType;
use flowlapse::decode::{Decoder, Kind};
use flowlapse::net::{Addr, Proto, SegmentBits, Seq};

#[test]
fn the_innermost_flow_is_found_through_every_encapsulation() {
    let (four, six) = (ipv4(6, &tcp(&[], 9)), ipv6(6, &tcp(&[], 9)));
    let frame = ethernet(0x0800, &four);
    let gre = |flags: [u8; 2], protocol: u16, rest: &[u8]| ipv4(47, &[&flags[..], &protocol.to_be_bytes(), rest].concat());
    let vxlan = [&[8, 0, 0, 0, 0, 0, 5, 0][..], &frame].concat();
    let geneve = [&[1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 4][..], &frame].concat();
    let pppoe = [&[0x11, 0, 0, 3, 0, four.len() as u8 + 2, 0, 0x21][..], &four].concat();
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &four].concat();
    for (what, link, bytes) in [
        ("Ethernet, IPv4", LinkType::ETHERNET, frame.clone()),
        ("Ethernet, IPv6", LinkType::ETHERNET, ethernet(0x86dd, &six)),
        ("802.1Q", LinkType::ETHERNET, ethernet(0x8100, &[&[0, 5, 8, 0][..], &four].concat())),
        ("QinQ", LinkType::ETHERNET, ethernet(0x88a8, &[&[0, 5, 0x81, 0, 0, 6, 0x86, 0xdd][..], &six].concat())),
        ("old QinQ", LinkType::ETHERNET, ethernet(0x9100, &[&[0, 5, 8, 0][..], &four].concat())),
        ("PPPoE", LinkType::ETHERNET, ethernet(0x8864, &pppoe)),
        ("MPLS", LinkType::ETHERNET, ethernet(0x8847, &[&[0, 0, 0x50, 64, 0, 0, 0x61, 64][..], &four].concat())),
        ("MPLS with Ethernet", LinkType::ETHERNET, ethernet(0x8848, &[&[0, 0, 0x61, 64, 0, 0, 0, 0][..], &frame].concat())),
        ("SNAP", LinkType::ETHERNET, ethernet(60, &snap)),
        ("padding", LinkType::ETHERNET, [&frame[..], &[0; 6]].concat()),
        ("SLL", LinkType::LINUX_SLL, [&[0; 14][..], &[8, 0], &four].concat()),
        ("SLL2", LinkType::LINUX_SLL2, [&[0x86, 0xdd][..], &[0; 18], &six].concat()),
        ("raw", LinkType::RAW, six.clone()),
        ("raw of the BSDs", LinkType::RAW_12, four.clone()),
        ("raw IPv4", LinkType::IPV4, four.clone()),
        ("raw IPv6", LinkType::IPV6, six.clone()),
        ("loopback, little-endian", LinkType::NULL, [&[2, 0, 0, 0][..], &four].concat()),
        ("loopback, big-endian", LinkType::NULL, [&[0, 0, 0, 30][..], &six].concat()),
        ("loopback of OpenBSD", LinkType::LOOP, [&[0, 0, 0, 24][..], &six].concat()),
        ("PPP", LinkType::PPP, [&[0xff, 3, 0, 0x21][..], &four].concat()),
        ("PPP, compressed", LinkType::PPP, [&[0x57][..], &six].concat()),
        ("802.11", LinkType::IEEE802_11, [&[0x88, 1][..], &[0; 24], &snap].concat()),
        ("radiotap", LinkType::IEEE802_11_RADIOTAP, [&[0, 0, 8, 0, 0, 0, 0, 0, 8, 2][..], &[0; 22], &snap].concat()),
        ("IP in IP", LinkType::RAW, ipv4(4, &four)),
        ("6in4", LinkType::RAW, ipv4(41, &six)),
        ("4in6", LinkType::RAW, ipv6(4, &four)),
        ("GRE", LinkType::RAW, gre([0, 0], 0x0800, &four)),
        ("GRE with checksum, key and sequence", LinkType::RAW, gre([0xb0, 0], 0x86dd, &[&[0; 12][..], &six].concat())),
        ("GRE with Ethernet", LinkType::RAW, gre([0, 0], 0x6558, &frame)),
        ("PPTP", LinkType::RAW, gre([0x30, 0x81], 0x880b, &[&[0; 12][..], &[0xff, 3, 0, 0x21], &four].concat())),
        ("ERSPAN I", LinkType::RAW, gre([0, 0], 0x88be, &frame)),
        ("ERSPAN II", LinkType::RAW, gre([0x10, 0], 0x88be, &[&[0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0][..], &frame].concat())),
        ("ERSPAN III", LinkType::RAW, gre([0x10, 0], 0x22eb, &[&[0, 0, 0, 1, 0x20][..], &[0; 11], &frame].concat())),
        ("VXLAN", LinkType::RAW, ipv4(17, &udp(4_789, &vxlan))),
        ("VXLAN on Linux's port", LinkType::RAW, ipv6(17, &udp(8_472, &vxlan))),
        ("Geneve", LinkType::RAW, ipv4(17, &udp(6_081, &geneve))),
        ("hop-by-hop, destination", LinkType::RAW, ipv6(0, &[&[60, 0, 0, 0, 0, 0, 0, 0, 6, 1][..], &[0; 14], &tcp(&[], 9)].concat())),
        ("authentication header", LinkType::RAW, ipv4(51, &[&[6, 4][..], &[0; 22], &tcp(&[], 9)].concat())),
        ("atomic fragment", LinkType::RAW, ipv6(44, &[&[6, 0, 0, 0, 0, 0, 0, 1][..], &tcp(&[], 9)].concat())),
    ] {
        match decode(link, &bytes) {
            Ok(decoded) => assert_is_the_flow(&decoded, 9, what),
            Err(kind) => panic!("{what}: {kind:?}"),
        }
    }
}

#[test]
fn addresses_ttl_and_identification_are_those_of_the_innermost_header() {
    let four = decode(LinkType::RAW, &ipv4(6, &tcp(&[], 0))).expect("a segment");
    assert_eq!((four.src.addr, four.dst.addr), (Addr::v4(CLIENT), Addr::v4(SERVER)));
    assert_eq!((four.segment.ttl, four.segment.ip_id), (63, 0x1234));
    let six = decode(LinkType::RAW, &ipv4(41, &ipv6(17, &udp(53, b"query")))).expect("a datagram");
    assert_eq!((six.src.addr, six.dst.addr), (Addr::v6([0xfd; 16]), Addr::v6([0x20; 16])));
    assert_eq!((six.segment.ttl, six.segment.ip_id, six.proto, six.segment.len, six.dst.port), (61, 0, Proto::Udp, 5, 53));
}

#[test]
fn every_other_kind_has_its_counter() {
    let etherparse_arp = ethernet(0x0806, &[0; 28]);
    for (kind, link, bytes) in [
        (Kind::Arp, LinkType::ETHERNET, etherparse_arp),
        (Kind::Rarp, LinkType::ETHERNET, ethernet(0x8035, &[0; 28])),
        (Kind::Lldp, LinkType::ETHERNET, ethernet(0x88cc, &[0; 28])),
        (Kind::Stp, LinkType::ETHERNET, ethernet(38, &[0x42, 0x42, 3, 0])),
        (Kind::Llc, LinkType::ETHERNET, ethernet(38, &[0xe0, 0xe0, 3, 0])),
        (Kind::Slow, LinkType::ETHERNET, ethernet(0x8809, &[0; 28])),
        (Kind::Eapol, LinkType::ETHERNET, ethernet(0x888e, &[0; 28])),
        (Kind::Ptp, LinkType::ETHERNET, ethernet(0x88f7, &[0; 28])),
        (Kind::Macsec, LinkType::ETHERNET, ethernet(0x88e5, &[0; 28])),
        (Kind::PppoeDiscovery, LinkType::ETHERNET, ethernet(0x8863, &[0; 28])),
        (Kind::PppControl, LinkType::PPP, vec![0xff, 3, 0xc0, 0x21, 1, 1, 0, 4]),
        (Kind::OtherEthertype, LinkType::ETHERNET, ethernet(0x1234, &[0; 28])),
        (Kind::Wireless, LinkType::IEEE802_11, vec![0x80; 40]),
        (Kind::Icmp, LinkType::RAW, ipv4(1, &[0; 8])),
        (Kind::Icmpv6, LinkType::RAW, ipv6(58, &[0; 8])),
        (Kind::Igmp, LinkType::RAW, ipv4(2, &[0; 8])),
        (Kind::Ospf, LinkType::RAW, ipv4(89, &[0; 8])),
        (Kind::Pim, LinkType::RAW, ipv4(103, &[0; 8])),
        (Kind::Vrrp, LinkType::RAW, ipv4(112, &[0; 8])),
        (Kind::Sctp, LinkType::RAW, ipv4(132, &[0; 8])),
        (Kind::Esp, LinkType::RAW, ipv6(50, &[0; 8])),
        (Kind::NoNextHeader, LinkType::RAW, ipv6(59, &[])),
        (Kind::OtherIpProtocol, LinkType::RAW, ipv4(200, &[0; 8])),
        (Kind::MalformedTcp, LinkType::RAW, ipv4(6, &[0; 19])),
        (Kind::MalformedUdp, LinkType::RAW, ipv4(17, &[0; 7])),
        (Kind::MalformedIp, LinkType::RAW, vec![0x44; 40]),
        (Kind::MalformedIp, LinkType::RAW, vec![0x95; 40]),
        (Kind::MalformedTunnel, LinkType::RAW, ipv4(47, &[0, 2, 8, 0, 0, 0])),
        (Kind::FragmentIncomplete, LinkType::RAW, fragment4(6, 1, 0x2000, &tcp(&[], 4))),
        (Kind::NoPacket, LinkType::JOURNAL, vec![0; 40]),
        (Kind::UnsupportedLink, LinkType(189), vec![0; 40]),
    ] {
        assert_eq!(decode(link, &bytes).err(), Some(kind));
    }
    let mut decoder = Decoder::new();
    for link in [189, 189, 299] {
        assert!(decoder.decode(&record(LinkType(link), &[0; 9], 9)).is_none());
    }
    let counters = decoder.counters();
    assert_eq!(counters.unsupported_links().collect::<Vec<_>>(), [(LinkType(189), 2), (LinkType(299), 1)]);
    assert_eq!(counters.to_string(), "3 records, 0 decoded\n3 unsupported link type\n2 of USB_LINUX\n1 of link type 299\n");
}

#[test]
fn a_cut_packet_keeps_its_length_and_says_what_is_missing() {
    let options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    let frame = ethernet(0x0800, &ipv4(6, &tcp(&options, 1_000)));
    for kept in 0..frame.len() {
        let found = decode_cut(LinkType::ETHERNET, &frame, kept);
        match kept {
            0..14 => assert_eq!(found.err(), Some(Kind::LinkHeaderCut), "{kept}"),
            14..34 => assert_eq!(found.err(), Some(Kind::IpHeaderCut), "{kept}"),
            34..54 => assert_eq!(found.err(), Some(Kind::TcpHeaderCut), "{kept}"),
            _ => {
                let decoded = found.unwrap_or_else(|kind| panic!("{kept}: {kind:?}"));
                assert_is_the_flow(&decoded, 1_000, "cut");
                let bits = decoded.segment.bits;
                assert!(bits.any(SegmentBits::HAS_OPTIONS));
                assert_eq!(bits.any(SegmentBits::HEADER_CUT), kept < 74, "{kept}");
                assert_eq!(bits.any(SegmentBits::SACK_PERMITTED), kept >= 60, "{kept}");
                assert_eq!(decoded.segment.window_scale, if kept >= 74 { 7 } else { 0 }, "{kept}");
            }
        }
    }
    let datagram = ipv4(17, &udp(53, &[0; 100]));
    assert_eq!(decode_cut(LinkType::RAW, &datagram, 27).err(), Some(Kind::UdpHeaderCut));
    assert_eq!(decode_cut(LinkType::RAW, &datagram, 28).expect("a datagram").segment.len, 100);
}

#[test]
fn lengths_of_packets_not_yet_cut_into_segments_come_from_the_wire() {
    let mut four = ipv4(6, &tcp(&[], 40_000));
    four[2..4].fill(0);
    assert_eq!(decode_cut(LinkType::RAW, &four, 60).expect("a segment").segment.len, 40_000);
    let mut six = ipv6(6, &tcp(&[], 40_000));
    six[4..6].fill(0);
    assert_eq!(decode_cut(LinkType::RAW, &six, 80).expect("a segment").segment.len, 40_000);
}

#[test]
fn a_sliced_packet_is_as_long_as_its_ip_header_says() {
    // A mirror port that slices packets states the sliced length as the length on the wire.
    let frame = ethernet(0x0800, &ipv4(6, &tcp(&[], 1_000)));
    assert_is_the_flow(&decode(LinkType::ETHERNET, &frame[..128]).expect("a segment"), 1_000, "sliced");
    // In PPPoE it is the other way round: the session knows better than an IP header that counts padding.
    let mut four = ipv4(6, &tcp(&[], 0));
    let length = four.len() as u8 + 2;
    four[3] += 6;
    let padded = [&[0x11, 0, 0, 3, 0, length, 0, 0x21][..], &four, &[0; 6]].concat();
    assert_is_the_flow(&decode(LinkType::PPP_ETHER, &padded).expect("a segment"), 0, "padded");
}

#[test]
fn options_are_read_as_conntrack_reads_them() {
    let sack = |edges: &[u32]| {
        let mut option = vec![5, 2 + 8 * edges.len() as u8];
        option.extend(edges.iter().flat_map(|edge| [(edge - 1).to_be_bytes(), edge.to_be_bytes()].concat()));
        option
    };
    for (what, options, expected_sack, bits, scale) in [
        ("nothing", vec![], 2_000, 0, 0),
        ("aligned time stamp", vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], 2_000, 1, 0),
        ("blocks", [&[1, 1][..], &sack(&[3_000, 5_000, 4_000])].concat(), 5_000, 1, 0),
        ("a block before the acknowledgement", [&[1, 1][..], &sack(&[1_500])].concat(), 2_000, 1, 0),
        ("only the first of two", [&[1, 1][..], &sack(&[3_000]), &[1, 1], &sack(&[9_000])].concat(), 3_000, 1, 0),
        ("a block of a wrong size", vec![5, 8, 0, 0, 0xff, 0, 0, 0xff, 0, 0, 0, 0], 2_000, 1, 0),
        ("SYN options", vec![4, 2, 1, 3, 3, 14, 1, 1], 2_000, 7, 14),
        ("the end hides the rest", vec![0, 4, 2, 0], 2_000, 1, 0),
        ("a length of one ends it", vec![8, 1, 4, 2], 2_000, 1, 0),
        ("a length beyond the area ends it", vec![8, 9, 4, 2], 2_000, 1, 0),
        ("lengths that do not fit their kind are skipped", vec![4, 3, 0, 3, 4, 7, 7, 1], 2_000, 1, 0),
    ] {
        let segment = decode(LinkType::RAW, &ipv4(6, &tcp(&options, 1))).expect(what).segment;
        assert_eq!((segment.sack, segment.bits.0, segment.window_scale), (Seq(expected_sack), bits, scale), "{what}");
    }
}

#[test]
fn headers_that_contradict_themselves_are_marked() {
    let mut short = tcp(&[], 9);
    short[12] = 0x40;
    let segment = decode(LinkType::RAW, &ipv4(6, &short)).expect("a segment").segment;
    assert_eq!((segment.len, segment.bits.0), (0, SegmentBits::MALFORMED));
    let mut long = tcp(&[], 3);
    long[12] = 0xf0;
    let segment = decode(LinkType::RAW, &ipv4(6, &long)).expect("a segment").segment;
    assert_eq!((segment.len, segment.bits.0), (0, SegmentBits::MALFORMED | SegmentBits::HAS_OPTIONS));
    let mut datagram = udp(53, &[0; 10]);
    datagram[5] = 200;
    let segment = decode(LinkType::RAW, &ipv4(17, &datagram)).expect("a datagram").segment;
    assert_eq!((segment.len, segment.bits.0), (10, SegmentBits::MALFORMED));
}

#[test]
fn what_is_no_tunnel_is_a_flow_to_that_port() {
    for port in [4_789, 8_472, 6_081] {
        for payload in [&b"hello, this is an ordinary datagram"[..], b"x", b""] {
            let decoded = decode(LinkType::RAW, &ipv4(17, &udp(port, payload))).expect("a datagram");
            assert_eq!((decoded.dst.port, decoded.segment.len), (port, payload.len() as u32));
        }
    }
    // ARP in a tunnel is ARP, and no datagram of the tunnel's endpoints.
    let arp = [&[8, 0, 0, 0, 0, 0, 5, 0][..], &ethernet(0x0806, &[0; 28])].concat();
    assert_eq!(decode(LinkType::RAW, &ipv4(17, &udp(4_789, &arp))).err(), Some(Kind::Arp));
}

#[test]
fn encapsulations_are_followed_to_the_eighth() {
    let mut packet = ipv4(6, &tcp(&[], 9));
    for _ in 0..8 {
        packet = ipv4(4, &packet);
    }
    assert_is_the_flow(&decode(LinkType::RAW, &packet).expect("eight are followed"), 9, "eight");
    assert_eq!(decode(LinkType::RAW, &ipv4(4, &packet)).err(), Some(Kind::TooDeep));
    // A packet made of nothing but tags and SNAP headers must not exhaust the stack.
    let again = [0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0, 0, 1, 0, 40].repeat(20_000);
    assert_eq!(decode(LinkType::ETHERNET, &ethernet(40, &again)).err(), Some(Kind::TooDeep));
}
