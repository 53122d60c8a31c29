//! Every shape of capture file is read as what it is.

mod capture_files;

use capture_files::{BIG, LITTLE, Pcap, PcapNg, drain, gzip, open_bytes, read, refusal, zstd};
use flowlapse::capture::{CaptureError, Input, LinkType, Options, open, open_with};
use std::ffi::OsStr;

#[test]
fn pcap_is_read_in_both_byte_orders_and_resolutions() {
    for order in [LITTLE, BIG] {
        for (magic, nanos) in [(0xa1b2_c3d4, 7_000), (0xa1b2_3c4d, 7), (0xa1b2_cd34, 7_000)] {
            let mut file = Pcap::new(order, magic, 65_535, 1);
            file.record(1_700_000_000, 7, b"first", 60).record(1_700_000_001, 0, b"", 0);
            let (seen, damages) = read(&[file.bytes]);
            assert_eq!(damages, []);
            assert_eq!(seen.len(), 2, "{magic:x}");
            assert_eq!((seen[0].frame, seen[0].at), (1, 1_700_000_000_000_000_000 + nanos));
            assert_eq!((seen[0].wire_len, &seen[0].bytes[..]), (60, &b"first"[..]));
            assert_eq!((seen[1].frame, seen[1].at, seen[1].link), (2, 1_700_000_001_000_000_000, LinkType::ETHERNET));
        }
    }
}

#[test]
fn packets_longer_than_the_snapshot_length_are_read() {
    // The trap of pcap-file 2.0: what tcpdump -s 96 writes was refused at the first packet.
    let mut file = Pcap::new(LITTLE, 0xa1b2_c3d4, 96, 1);
    for second in 0..1_000 {
        file.record(second, 0, &[7; 96], 1_514);
    }
    let (seen, damages) = read(&[file.bytes]);
    assert_eq!((seen.len(), damages.len()), (1_000, 0));
    assert!(seen.iter().all(|record| record.wire_len == 1_514 && record.bytes.len() == 96));
}

#[test]
fn fractions_of_more_than_a_second_and_frame_check_bits_do_not_stop_the_reading() {
    let mut file = Pcap::new(LITTLE, 0xa1b2_c3d4, 96, 0x2400_0001);
    file.record(1, 2_500_000, b"x", 1).record(u32::MAX, u32::MAX, b"y", 1);
    let (seen, _) = read(&[file.bytes]);
    assert_eq!((seen[0].at, seen[0].link), (3_500_000_000, LinkType::ETHERNET));
    assert_eq!(seen[1].at, 4_294_967_295_000_000_000 + 4_294_967_295_000);
}

#[test]
fn pcapng_without_a_resolution_counts_microseconds() {
    // The trap of pcap-file 2.0: the counter was taken for nanoseconds, so that 900 s became 0.9 s.
    let mut file = PcapNg::new(LITTLE);
    file.interface(1, 0, &[]).packet(0, 1_700_000_000_000_039, b"abc", 3);
    assert_eq!(read(&[file.bytes]).0[0].at, 1_700_000_000_000_039_000);
}

#[test]
fn pcapng_times_follow_resolution_and_offset() {
    for (resolution, ticks, nanos) in [
        (0, 5, 5_000_000_000),
        (3, 1_234, 1_234_000_000),
        (6, 1_234, 1_234_000),
        (9, 1_234, 1_234),
        (12, 1_234_567, 1_234),
        (127, u64::MAX, 0),
        (0x80, 5, 5_000_000_000),
        (0x8a, 1_536, 1_500_000_000),
        (0xa0, 1 << 31, 500_000_000),
        (0xff, u64::MAX, 0),
    ] {
        for order in [LITTLE, BIG] {
            let mut file = PcapNg::new(order);
            file.interface(1, 0, &[(2, b"eth0\xff"), (9, &[resolution])]).packet(0, ticks, b"x", 1);
            file.interface(1, 0, &[(9, &[resolution]), (14, &order.u64(100))]).packet(1, ticks, b"x", 1);
            let (seen, damages) = read(&[file.bytes]);
            assert_eq!(damages, []);
            assert_eq!((seen[0].at, seen[1].at), (nanos, nanos + 100_000_000_000), "resolution {resolution:#x}");
        }
    }
}

#[test]
fn times_beyond_64_bits_are_moved_to_the_end_and_counted() {
    let mut file = PcapNg::new(LITTLE);
    file.interface(1, 0, &[(9, &[0])]).packet(0, u64::MAX, b"x", 1);
    file.interface(1, 0, &[(14, &LITTLE.u64((-10_i64) as u64))]).packet(1, 1, b"x", 1);
    let mut capture = open_bytes(&[file.bytes], 1 << 20).expect("a capture");
    let mut batch = flowlapse::capture::Batch::new();
    assert!(capture.next_batch(&mut batch));
    let times: Vec<u64> = batch.iter().map(|record| record.at.0).collect();
    assert_eq!(times, [u64::MAX, 0]);
    assert_eq!(capture.times().saturated, 2);
}

#[test]
fn all_packet_blocks_are_read_and_unknown_blocks_skipped() {
    let mut file = PcapNg::new(LITTLE);
    file.block(0x1234_5678, b"what is this?").interface(1, 4, &[]).packet(0, 1_000_000, b"enhanced", 8);
    // Simple packets have no time; they get the one before, and at most the interface's snapshot length.
    file.block(3, &[&8_u32.to_le_bytes()[..], b"simp"].concat());
    let obsolete: Vec<u8> = [0_u32, 0, 2_000_000, 8, 9].iter().flat_map(|word| word.to_le_bytes()).chain(*b"obsolete").collect();
    file.block(2, &obsolete).block(5, &[0; 12]);
    // Journal entries and custom blocks have frame numbers in Wireshark.
    file.block(9, b"MESSAGE=hi\n").block(0xbad, b"pen.data").packet(0, 3_000_000, b"", 0);
    let (seen, damages) = read(&[file.bytes]);
    assert_eq!(damages, []);
    let short: Vec<_> = seen.iter().map(|s| (s.frame, s.at / 1_000_000_000, s.link, s.wire_len, s.bytes.len())).collect();
    assert_eq!(
        short,
        [
            (1, 1, LinkType::ETHERNET, 8, 8),
            (2, 1, LinkType::ETHERNET, 8, 4),
            (3, 2, LinkType::ETHERNET, 9, 8),
            (4, 2, LinkType::JOURNAL, 12, 12),
            (5, 2, LinkType::CUSTOM, 8, 8),
            (6, 3, LinkType::ETHERNET, 0, 0),
        ]
    );
}

#[test]
fn sections_have_their_own_byte_order_and_interfaces() {
    let mut file = PcapNg::new(LITTLE);
    file.interface(1, 0, &[]).interface(113, 0, &[(9, &[9])]).packet(1, 5, b"a", 1).packet(0, 5, b"b", 1);
    file.section(BIG).interface(101, 0, &[]).packet(0, 7, b"c", 1);
    let (seen, damages) = read(&[file.bytes.clone()]);
    assert_eq!(damages, []);
    let short: Vec<_> = seen.iter().map(|s| (s.frame, s.at, s.link)).collect();
    assert_eq!(short, [(1, 5, LinkType::LINUX_SLL), (2, 5_000, LinkType::ETHERNET), (3, 7_000, LinkType::RAW)]);
    // The second interface belonged to the first section.
    file.packet(1, 8, b"d", 1);
    let (seen, damages) = read(&[file.bytes]);
    assert_eq!((seen.len(), damages[0].after_frame), (3, 3));
    assert_eq!(damages[0].what, "a packet names interface 1, but only 1 were described before it");
}

#[test]
fn compression_is_recognised_by_content_and_may_have_several_parts() {
    let mut file = Pcap::micro();
    for second in 0..5_000 {
        file.record(second, 0, &[second as u8; 50], 50);
    }
    let plain = read(&[file.bytes.clone()]);
    assert_eq!(plain.0.len(), 5_000);
    let (first, second) = file.bytes.split_at(100_001);
    // A skippable frame, as parallel compressors put in front.
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    for packed in [
        gzip(&file.bytes),
        [gzip(first), gzip(second)].concat(),
        zstd(&file.bytes),
        [zstd(first), zstd(second)].concat(),
        [&skippable[..], &zstd(first), &zstd(second)].concat(),
    ] {
        assert!(packed.len() < file.bytes.len() / 2);
        assert_eq!(read(&[packed]), plain);
    }
}

#[test]
fn expansion_is_limited_and_the_limit_is_reported() {
    let mut file = Pcap::micro();
    for second in 0..20_000 {
        file.record(second, 0, &[0; 60], 60);
    }
    for packed in [gzip(&file.bytes), zstd(&file.bytes)] {
        let options = Options { expansion_bytes: 100_000, expansion_ratio: 2, block_bytes: 10_000, ..Options::default() };
        let (seen, damages) = drain(open_with(&[capture_files::input(&packed)], &options).expect("the header is fine"));
        assert!(!seen.is_empty() && seen.len() < 20_000);
        assert!(damages[0].what.starts_with("the compressed input expands to more than 100000 bytes"), "{}", damages[0]);
        let generous = Options { expansion_ratio: 1_000_000, ..options };
        assert_eq!(drain(open_with(&[capture_files::input(&packed)], &generous).expect("fine")).0.len(), 20_000);
    }
}

#[test]
fn records_do_not_depend_on_the_size_of_blocks() {
    let mut classic = Pcap::new(BIG, 0xa1b2_3c4d, 200_000, 1);
    let mut modern = PcapNg::new(BIG);
    modern.interface(1, 0, &[]);
    for number in 0..300_u32 {
        let data = vec![number as u8; (number * number % 7_919) as usize];
        classic.record(number, 0, &data, data.len() as u32);
        modern.packet(0, u64::from(number), &data, data.len() as u32);
    }
    // One record is larger than the blocks.
    classic.record(300, 0, &vec![1; 150_000], 150_000);
    modern.packet(0, 300, &vec![1; 150_000], 150_000);
    for file in [classic.bytes, modern.bytes] {
        let whole = read(std::slice::from_ref(&file));
        assert_eq!(whole.0.len(), 301);
        for block in [1, 4_097, 10_000, 65_536, 70_001] {
            assert_eq!(drain(open_bytes(std::slice::from_ref(&file), block).expect("a capture")), whole, "blocks of {block}");
        }
    }
}

#[test]
fn files_are_merged_by_time_and_keep_their_own_order() {
    let mut first = Pcap::micro();
    // The clock of the first file jumps back: 3 stays behind 9.
    first.record(1, 0, b"a", 1).record(9, 0, b"b", 1).record(3, 0, b"c", 1).record(10, 0, b"d", 1);
    let mut second = PcapNg::new(BIG);
    second.interface(1, 0, &[]).packet(0, 1_000_000, b"e", 1).packet(0, 4_000_000, b"f", 1).packet(0, 10_000_000, b"g", 1);
    let empty = Pcap::micro();
    let (seen, damages) = read(&[first.bytes, second.bytes, empty.bytes]);
    assert_eq!(damages, []);
    let order: Vec<_> = seen.iter().map(|s| (s.file, s.frame, s.bytes[0] as char)).collect();
    assert_eq!(order, [(0, 1, 'a'), (1, 1, 'e'), (1, 2, 'f'), (0, 2, 'b'), (0, 3, 'c'), (0, 4, 'd'), (1, 3, 'g')]);
}

#[test]
fn what_is_no_capture_is_refused_in_one_line() {
    for (bytes, message) in [
        (&b""[..], "test: is empty; expected pcap or pcapng, plain or compressed with gzip or zstd"),
        (b"Hello", "test: not a capture: begins with 48 65 6c 6c; expected pcap or pcapng, plain or compressed with gzip or zstd"),
        (b"\x89PNG", "test: not a capture: begins with 89 50 4e 47; expected pcap or pcapng, plain or compressed with gzip or zstd"),
        (
            b"snoop\0\0\0\0\0\0\x02",
            "test: not a capture: it is a snoop file; convert it with editcap -F pcapng; expected pcap or pcapng, plain or compressed with gzip or zstd",
        ),
        (&Pcap::micro().bytes[..10], "test: cut short: only 10 of the 24 bytes of the pcap header are there"),
        (&PcapNg::new(BIG).bytes[..20], "test: cut short: only 20 of the 28 bytes of the pcapng section header are there"),
        (
            b"\xfd7zXZ\0",
            "test: not a capture: it is compressed with xz; decompress it first with xz -d; expected pcap or pcapng, plain or compressed with gzip or zstd",
        ),
    ] {
        assert_eq!(refusal(bytes), message);
    }
    assert!(refusal(&gzip(b"")).contains("the gzip stream holds no bytes"));
    assert!(refusal(&gzip(b"text")).contains("begins with 74 65 78 74"));
    assert!(refusal(&gzip(&gzip(b"x"))).contains("compressed twice"));
    assert!(refusal(&gzip(&Pcap::micro().bytes)[..20]).contains("gzip stream is cut short"));
    let mut future = Pcap::micro().bytes;
    future[4] = 3;
    assert_eq!(refusal(&future), "test: pcap version 3.4 is not known; expected 2.4");
}

#[test]
fn inputs_that_cannot_be_read_are_named() {
    let path = |text: &str| open(&[Input::from_arg(OsStr::new(text))]).err().expect("refused");
    assert_eq!(path("no/such/file.pcap").to_string(), "no/such/file.pcap: no such file; check the path");
    assert_eq!(path("tests").to_string(), "tests: is a directory; expected a capture file");
    assert!(matches!(open(&[]), Err(CaptureError::NoInput)));
    assert!(matches!(open(&[Input::Stdin, Input::from_arg(OsStr::new("-"))]), Err(CaptureError::StdinTwice)));
}

#[test]
fn a_capture_without_packets_is_a_capture() {
    for bytes in [Pcap::micro().bytes, PcapNg::new(LITTLE).bytes, gzip(&PcapNg::new(BIG).bytes)] {
        assert_eq!(read(&[bytes]), (vec![], vec![]));
    }
}
