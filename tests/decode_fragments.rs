//! Fragments are one segment; and no bytes whatever stop the decoder or escape its counters.

mod decode_packets;

use decode_packets::{CLIENT, SERVER, assert_is_the_flow, decode, ethernet, fragment4, ipv4, ipv6, record, tcp, udp};
use flowlapse::capture::{LinkType, Record};
use flowlapse::decode::{Decoder, Kind};
use flowlapse::net::Seq;
use flowlapse::time::Instant;
use proptest::prelude::*;

#[test]
fn a_fragmented_segment_appears_once_with_its_whole_length_where_it_is_complete() {
    let payload = tcp(&[], 3_000);
    let pieces4 = || {
        payload.chunks(1_000).enumerate().map(|(at, piece)| {
            let more = if at * 1_000 + piece.len() < payload.len() { 0x2000 } else { 0 };
            fragment4(6, 77, more | (at as u16 * 125), piece)
        })
    };
    let pieces6 = || {
        payload.chunks(1_000).enumerate().map(|(at, piece)| {
            let more = u16::from(at * 1_000 + piece.len() < payload.len());
            let place = ((at as u16 * 1_000) | more).to_be_bytes();
            ipv6(44, &[&[6, 0][..], &place, &[0, 0, 0, 9], piece].concat())
        })
    };
    for pieces in [pieces4().collect::<Vec<_>>(), pieces6().collect()] {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 1, 3]] {
            let mut decoder = Decoder::new();
            for (step, index) in order.into_iter().enumerate() {
                let found = decoder.decode(&record(LinkType::RAW, &pieces[index], pieces[index].len()));
                match found {
                    Some(decoded) if step == 3 => assert_is_the_flow(&decoded, 3_000, "reassembled"),
                    None if step < 3 => {}
                    _ => panic!("{order:?}, step {step}: {found:?}"),
                }
                // A fragment that comes twice changes nothing while the datagram is open.
                if step < 3 {
                    assert!(decoder.decode(&record(LinkType::RAW, &pieces[index], pieces[index].len())).is_none());
                }
            }
            let counters = decoder.counters();
            assert_eq!((counters.records, counters.decoded, counters.get(Kind::Fragment)), (7, 1, 6));
            assert_eq!(counters.get(Kind::FragmentIncomplete), 0);
        }
    }
}

#[test]
fn incomplete_datagrams_are_counted_and_bounded() {
    let mut decoder = Decoder::new();
    let piece = tcp(&[], 100);
    for number in 0..20_000_u32 {
        let mut bytes = fragment4(6, number as u16, 0x2000, &piece);
        bytes[12] = (number >> 16) as u8;
        assert!(decoder.decode(&record(LinkType::RAW, &bytes, bytes.len())).is_none());
    }
    assert_eq!(decoder.counters().get(Kind::FragmentIncomplete), 20_000);
    assert_eq!(decoder.counters().get(Kind::Fragment), 0);
    // After Linux's thirty seconds an identification stands for another datagram.
    let mut decoder = Decoder::new();
    let (first, last) = (fragment4(6, 5, 0x2000, &piece), fragment4(6, 5, 15, &[0; 8]));
    let late = Instant(5 + 30_000_000_001);
    decoder.decode(&record(LinkType::RAW, &first, first.len()));
    assert!(decoder.decode(&Record { at: late, ..record(LinkType::RAW, &last, last.len()) }).is_none());
    assert_eq!(decoder.counters().get(Kind::FragmentIncomplete), 2);
    let in_time = Instant(late.0 + 30_000_000_000);
    assert!(decoder.decode(&Record { at: in_time, ..record(LinkType::RAW, &first, first.len()) }).is_some());
}

const LINKS: [u16; 18] = [0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 228, 229, 276, 147, 65_535];

proptest! {
    #[test]
    fn no_bytes_panic_and_every_record_is_counted(
        packets in prop::collection::vec((0_usize..LINKS.len(), prop::collection::vec(any::<u8>(), 0..120), 0_usize..100), 1..20),
    ) {
        let mut decoder = Decoder::new();
        let total = packets.len() as u64;
        for (link, bytes, more) in packets {
            decoder.decode(&record(LinkType(LINKS[link]), &bytes, bytes.len() + more));
        }
        let counters = decoder.counters();
        prop_assert_eq!(counters.records, total);
        prop_assert_eq!(counters.decoded + counters.seen().map(|(_, count)| count).sum::<u64>(), total);
    }

    #[test]
    fn changed_bytes_in_real_packets_panic_nowhere(place in 0_usize..120, value: u8, kept in 0_usize..150, which in 0_usize..5) {
        let frame = ethernet(0x0800, &ipv4(6, &tcp(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], 9)));
        let vxlan = [&[8, 0, 0, 0, 0, 0, 5, 0][..], &frame].concat();
        let mut bytes = match which {
            0 => frame,
            1 => ethernet(0x0800, &ipv4(17, &udp(4_789, &vxlan))),
            2 => ethernet(0x0800, &ipv4(47, &[&[0xb0, 0, 0x65, 0x58][..], &[0; 12], &frame].concat())),
            3 => ethernet(0x86dd, &ipv6(0, &[&[60, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 1][..], &tcp(&[], 8)].concat())),
            _ => ethernet(0x8100, &[&[0, 1, 0x88, 0x64, 0x11, 0, 0, 1, 0, 60, 0, 0x21][..], &ipv4(6, &tcp(&[], 8))].concat()),
        };
        if let Some(byte) = bytes.get_mut(place) {
            *byte = value;
        }
        let kept = kept.min(bytes.len());
        let mut decoder = Decoder::new();
        decoder.decode(&record(LinkType::ETHERNET, &bytes[..kept], bytes.len()));
        let counters = decoder.counters();
        prop_assert_eq!(counters.decoded + counters.seen().map(|(_, count)| count).sum::<u64>(), 1);
    }

    #[test]
    fn segments_that_etherparse_writes_are_read_back(
        ports: (u16, u16), seq: u32, ack: u32, window: u16, length in 0_usize..200, six: bool, vlan: bool,
    ) {
        let builder = etherparse::PacketBuilder::ethernet2([1; 6], [2; 6]);
        let payload = vec![7; length];
        let mut bytes = Vec::new();
        let written = match (six, vlan) {
            (false, false) => builder.ipv4(CLIENT, SERVER, 9).tcp(ports.0, ports.1, seq, window).ack(ack).write(&mut bytes, &payload),
            (false, true) => {
                builder.vlan(etherparse::VlanHeader::Single(etherparse::SingleVlanHeader {
                    vlan_id: etherparse::VlanId::try_new(5).expect("small"), ..Default::default()
                })).ipv4(CLIENT, SERVER, 9).tcp(ports.0, ports.1, seq, window).ack(ack).write(&mut bytes, &payload)
            }
            (true, _) => builder.ipv6([3; 16], [4; 16], 9).tcp(ports.0, ports.1, seq, window).ack(ack).write(&mut bytes, &payload),
        };
        prop_assert!(written.is_ok());
        let found = decode(LinkType::ETHERNET, &bytes).expect("a segment");
        prop_assert_eq!((found.src.port, found.dst.port, found.segment.ttl), (ports.0, ports.1, 9));
        let segment = found.segment;
        prop_assert_eq!((segment.seq, segment.ack, segment.window, segment.len), (Seq(seq), Seq(ack), window, length as u32));
    }
}
