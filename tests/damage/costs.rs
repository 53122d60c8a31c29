//! What a hostile file may cost: bounded time and memory for bombs, nests, floods of fragments, interfaces and link types.
//!
//! The bounds of time are many times what a slow machine needs; what they catch is time that grows with the square of a size.

use crate::answer;
use crate::capture_files::{LITTLE, Pcap, PcapNg, drain, gzip, input, zstd};
use crate::decode_packets::{ethernet, fragment4, ipv4, ipv6, record, tcp, udp};
use flowlapse::capture::{LinkType, Options, open_with};
use flowlapse::decode::{Decoder, Kind};
use serde_json::Value;
use std::io::Write;
use std::time::{Duration, Instant};

fn within<T>(seconds: u64, what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    assert!(start.elapsed() < Duration::from_secs(seconds), "{what} took {:?}", start.elapsed());
    done
}

#[test]
fn a_hundred_thousand_interfaces_of_as_many_link_types_are_no_matter() {
    let mut file = PcapNg::new(LITTLE);
    for number in 0..100_000_u32 {
        file.interface(number as u16, 0, &[]);
    }
    for number in 0..100_000_u32 {
        file.packet(number, 1, b"data", 4);
    }
    let told = within(20, "100,000 interfaces", || answer(&[&file.bytes]).expect("a capture"));
    assert_eq!(told["packets"]["records"], Value::from(100_000));
    assert_eq!(told["damage"], Value::Array(vec![]));
}

fn gzip_best(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

#[test]
fn what_compressed_input_expands_to_is_bounded() {
    assert_eq!((Options::default().expansion_bytes, Options::default().expansion_ratio), (1 << 30, 250));
    // Zeros behind a header are records without bytes; the bound ends them. The limit is a small one here, for the time it takes.
    let bomb = [&Pcap::micro().bytes[..], &vec![0; 8 << 20]].concat();
    let options = Options { expansion_bytes: 1 << 20, ..Options::default() };
    for packed in [gzip_best(&bomb), zstd(&bomb)] {
        assert!(packed.len() * 500 < bomb.len());
        let (seen, damages) = drain(open_with(&[input(&packed)], &options).expect("the header is fine"));
        let most = (1 << 20).max(packed.len() * 250) / 16;
        assert!(seen.len() <= most + (128 << 10) / 16, "{} records", seen.len());
        assert!(damages[0].what.contains("expands to more than 1048576 bytes and more than 250 times its size"), "{}", damages[0]);
        assert!(damages[0].what.contains("decompress it first"), "{}", damages[0]);
        // Decompressed first, all of it is read.
        assert_eq!(drain(open_with(&[input(&bomb)], &options).expect("a capture")).0.len(), (8 << 20) / 16);
    }
    // A bomb in a bomb is not opened at all.
    for packed in [gzip(&gzip(&bomb)), zstd(&zstd(&bomb)), gzip(&zstd(&bomb))] {
        let refused = open_with(&[input(&packed)], &options).err().expect("refused").to_string();
        assert!(refused.contains("it is compressed twice; decompress it once"), "{refused}");
    }
}

/// A packet inside itself so many times.
fn nested(depth: usize, wrap: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    (0..depth).fold(ipv4(6, &tcp(&[], 9)), |packet, _| wrap(&packet))
}

#[test]
fn packets_nested_without_end_are_cheap_and_counted() {
    let mut decoder = Decoder::new();
    // Built backwards from what fits: a header in front of each, up to what a length field can say.
    let ipip = nested(3_000, |packet| ipv4(4, packet));
    let gre = nested(2_000, |packet| ipv4(47, &[&[0, 0, 8, 0][..], packet].concat()));
    let vxlan = nested(900, |packet| ipv4(17, &udp(4_789, &[&[8, 0, 0, 0, 0, 0, 5, 0][..], &ethernet(0x0800, packet)].concat())));
    let geneve = nested(900, |packet| ipv4(17, &udp(6_081, &[&[0, 0, 0x65, 0x58, 0, 0, 5, 0][..], &ethernet(0x0800, packet)].concat())));
    let six = nested(1_400, |packet| if packet[0] >> 4 == 4 { ipv6(4, packet) } else { ipv6(41, packet) });
    for (what, packet) in [("IP in IP", ipip), ("GRE", gre), ("VXLAN", vxlan), ("Geneve", geneve), ("IPv6", six)] {
        within(20, what, || {
            for _ in 0..2_000 {
                assert!(decoder.decode(&record(LinkType::RAW, &packet, packet.len())).is_none(), "{what}");
            }
        });
    }
    let labels = [&[0, 0, 0x50, 64].repeat(15_000)[..], &[0, 0, 0x51, 64], &ipv4(6, &tcp(&[], 9))].concat();
    let tags = [&[0, 5, 0x81, 0].repeat(15_000)[..], &[0, 5, 8, 0], &ipv4(6, &tcp(&[], 9))].concat();
    let sessions = (0..5_000).fold(ipv4(6, &tcp(&[], 9)), |packet, _| [&[0x11, 0, 0, 3, 0xff, 0xff, 0, 0x21][..], &packet].concat());
    within(20, "labels and tags", || {
        for _ in 0..200 {
            // Labels and tags are no encapsulations: any number of them is followed.
            for (ethertype, payload) in [(0x8847, &labels), (0x8100, &tags)] {
                let frame = ethernet(ethertype, payload);
                assert!(decoder.decode(&record(LinkType::ETHERNET, &frame, frame.len())).is_some());
            }
            let frame = ethernet(0x8864, &sessions);
            assert!(decoder.decode(&record(LinkType::ETHERNET, &frame, frame.len())).is_none());
        }
    });
    let counters = decoder.counters();
    assert_eq!((counters.get(Kind::TooDeep), counters.get(Kind::MalformedIp), counters.decoded), (10_000, 200, 400));
}

#[test]
fn chains_of_extension_headers_end() {
    let mut decoder = Decoder::new();
    for (length, decoded) in [(1, true), (100, true), (8_000, true)] {
        let chain = [&[60, 0, 1, 4, 0, 0, 0, 0].repeat(length - 1)[..], &[6, 0, 1, 4, 0, 0, 0, 0], &tcp(&[], 9)].concat();
        let packet = ipv6(0, &chain);
        within(20, "extension headers", || {
            for _ in 0..200 {
                assert_eq!(decoder.decode(&record(LinkType::RAW, &packet, packet.len())).is_some(), decoded, "{length}");
            }
        });
        // Cut anywhere inside, it is counted.
        for kept in (40..packet.len() - 30).step_by(packet.len() / 7 + 1) {
            assert!(decoder.decode(&record(LinkType::RAW, &packet[..kept], packet.len())).is_none());
        }
    }
    let counters = decoder.counters();
    assert_eq!(counters.records, counters.decoded + counters.seen().map(|(_, count)| count).sum::<u64>());
}

#[test]
fn floods_of_fragments_are_bounded_and_counted() {
    let mut decoder = Decoder::new();
    let mut sent = 0_u64;
    let mut send = |decoder: &mut Decoder, id: u16, place: u16, payload: &[u8]| {
        sent += 1;
        let packet = fragment4(17, id, place, payload);
        decoder.decode(&record(LinkType::RAW, &packet, packet.len())).is_some()
    };
    within(20, "fragments", || {
        // First fragments of which nothing more comes.
        for id in 0..100_000_u32 {
            assert!(!send(&mut decoder, id as u16, 0x2000, &[0; 64]));
        }
        // One datagram in pieces apart from each other, again and again, and overlapping ones.
        for round in 0..100_000_u32 {
            send(&mut decoder, 7, 0x2000 | (round.wrapping_mul(2_654_435_761) >> 20) as u16, &[0; 8]);
        }
        for round in 0..100_000_u32 {
            send(&mut decoder, 8, 0x2000 | (round % 3) as u16, &[0; 64]);
        }
    });
    let counters = decoder.counters();
    assert_eq!(counters.records, sent);
    assert_eq!(counters.get(Kind::FragmentIncomplete), sent, "none came to be a datagram");
    // Teardrop and its relatives: pieces that overlap make one datagram, once.
    let datagram = udp(53, &[7; 56]);
    for (first, second) in [(48, 40), (48, 24), (56, 8)] {
        let mut decoder = Decoder::new();
        let one = fragment4(17, 9, 0x2000, &datagram[..first]);
        let two = fragment4(17, 9, second as u16 / 8, &datagram[second..]);
        let whole: Vec<bool> =
            [&one, &two].iter().map(|packet| decoder.decode(&record(LinkType::RAW, packet, packet.len())).is_some()).collect();
        assert_eq!(whole, [false, true], "{first} and from {second}");
        assert_eq!((decoder.counters().get(Kind::Fragment), decoder.counters().decoded), (1, 1));
    }
}

#[test]
fn time_grows_with_the_size_and_no_faster() {
    // One tuple that begins anew with every packet; gaps in every direction; one flow of holes.
    let flood = |count: u32| {
        let mut file = Pcap::new(LITTLE, 0xa1b2_c3d4, 65_535, 101);
        for number in 0..count {
            let mut syn = ipv4(6, &tcp(&[], 0));
            syn[24..28].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
            syn[33] = if number % 2 == 0 { 0x02 } else { 0x18 };
            file.record(number / 1_000, number % 1_000, &syn, syn.len() as u32);
        }
        file.bytes
    };
    let file = flood(100_000);
    let told = within(60, "100,000 connections of one tuple", || answer(&[&file]).expect("a capture"));
    assert_eq!(told["packets"]["followed"], Value::from(100_000));
    // Many files are merged in the order of time.
    let files: Vec<Vec<u8>> = (0..2_000_u32)
        .map(|number| {
            let packet = ipv4(6, &tcp(&[], 9));
            let mut file = Pcap::new(LITTLE, 0xa1b2_c3d4, 65_535, 101);
            file.record(number, 0, &packet, packet.len() as u32).record(number + 5_000, 0, &packet, packet.len() as u32);
            file.bytes
        })
        .collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let told = within(60, "2,000 files", || answer(&files).expect("captures"));
    assert_eq!(told["packets"]["records"], Value::from(4_000));
}
