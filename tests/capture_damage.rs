//! Damage never panics, never changes what stands before it, and is reported where it is.

mod capture_files;

use capture_files::{BIG, LITTLE, Pcap, PcapNg, Seen, drain, gzip, open_bytes, read, zstd};
use proptest::prelude::*;

fn classic() -> Vec<u8> {
    let mut file = Pcap::micro();
    file.record(1, 0, b"one packet", 60).record(2, 0, b"", 0).record(3, 0, b"another", 7);
    file.bytes
}

fn modern() -> Vec<u8> {
    let mut file = PcapNg::new(LITTLE);
    file.interface(1, 0, &[(9, &[6])]).packet(0, 1, b"one packet", 60).block(0x77, b"unknown").packet(0, 2, b"another", 7);
    file.section(BIG).interface(101, 0, &[]).packet(0, 3, b"last", 4);
    file.bytes
}

#[test]
fn a_file_cut_anywhere_gives_the_records_before_the_cut() {
    for whole in [classic(), modern()] {
        let (all, _) = read(std::slice::from_ref(&whole));
        let mut lengths = vec![];
        for end in 0..whole.len() {
            let Ok(capture) = open_bytes(&[whole[..end].to_vec()], 4_096) else {
                assert!(end < 28, "only a cut header is an error");
                continue;
            };
            let (seen, damages) = drain(capture);
            assert_eq!(seen, all[..seen.len()]);
            lengths.push(seen.len());
            if let [damage] = &damages[..] {
                assert_eq!(damage.after_frame as usize, seen.len());
                assert!(damage.offset <= end as u64 && damage.what.starts_with("cut short in"), "{damage}");
            } else {
                assert!(damages.is_empty(), "one damage per file at most");
            }
        }
        assert!(lengths.is_sorted());
    }
}

#[test]
fn any_byte_may_be_anything() {
    for whole in [classic(), modern()] {
        let (all, _) = read(std::slice::from_ref(&whole));
        for place in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, whole[place] ^ 1, whole[place] ^ 0x80] {
                let mut bytes = whole.clone();
                bytes[place] = value;
                let Ok(capture) = open_bytes(&[bytes], 4_096) else { continue };
                let (seen, _) = drain(capture);
                // What ends before the changed byte is as it was.
                let before = records_before(&whole, place, &all);
                assert!(seen.len() >= before && seen[..before] == all[..before], "byte {place} = {value:#x}");
            }
        }
    }
}

/// How many records of `whole` lie completely before `place`.
fn records_before(whole: &[u8], place: usize, all: &[Seen]) -> usize {
    if place < 28 {
        return 0;
    }
    let Ok(capture) = open_bytes(&[whole[..place].to_vec()], 4_096) else { return 0 };
    drain(capture).0.len().min(all.len())
}

#[test]
fn damage_says_what_and_where() {
    let whole = classic();
    let place = |bytes: &[u8]| {
        let (seen, damages) = read(&[bytes.to_vec()]);
        (seen.len(), damages[0].offset, damages[0].after_frame, damages[0].what.clone())
    };
    assert_eq!(place(&whole[..whole.len() - 1]), (2, 66, 2, "cut short in the data of a packet: only 22 of its bytes are there".into()));
    assert_eq!(place(&whole[..55]), (1, 50, 1, "cut short in a record header: only 5 of its bytes are there".into()));
    let mut absurd = whole.clone();
    absurd[50 + 8..50 + 12].copy_from_slice(&300_000_u32.to_le_bytes());
    assert_eq!(place(&absurd), (1, 50, 1, "a record header claims 300000 captured bytes; at most 262144 are believed in this file".into()));

    let mut file = PcapNg::new(LITTLE);
    file.interface(1, 0, &[]).packet(0, 1, b"x", 1);
    let start = file.bytes.len();
    file.packet(0, 2, b"y", 1);
    let mut short = file.bytes.clone();
    short[start + 4] = 8;
    assert_eq!(place(&short), (1, start as u64, 1, "a block of type 0x6 claims a length of 8 bytes".into()));
    let mut unequal = file.bytes.clone();
    let last = unequal.len() - 4;
    unequal[last] = 99;
    assert_eq!(place(&unequal), (1, start as u64, 1, "a block of type 0x6 claims 36 bytes at its start and 99 at its end".into()));
    let mut greedy = file.bytes.clone();
    greedy[start + 8 + 12] = 50;
    assert_eq!(place(&greedy), (1, start as u64, 1, "a packet claims 50 captured bytes in a block that has room for 4".into()));
}

#[test]
fn large_packets_are_believed_where_the_file_announces_them() {
    let mut file = Pcap::new(LITTLE, 0xa1b2_c3d4, 1 << 20, 1);
    file.record(1, 0, &vec![1; 300_000], 300_000).record(2, 0, b"x", 1);
    let (seen, damages) = read(&[file.bytes]);
    assert_eq!((seen.len(), seen[0].bytes.len(), damages.len()), (2, 300_000, 0));
}

#[test]
fn a_damaged_stream_delivers_what_it_can_and_other_files_go_on() {
    let mut file = Pcap::micro();
    for second in 0..50_000_u32 {
        let noise = second.wrapping_mul(2_654_435_761).to_le_bytes();
        file.record(second, 0, &[noise, noise, noise].concat(), 12);
    }
    for (name, packed) in [("gzip", gzip(&file.bytes)), ("zstd", zstd(&file.bytes))] {
        let mut broken = packed.clone();
        let middle = broken.len() / 2;
        broken[middle..middle + 20].fill(0x55);
        for (bytes, what) in [(broken, "stream is damaged"), (packed[..middle].to_vec(), "stream is cut short")] {
            let (seen, damages) = read(&[bytes, file.bytes.clone()]);
            let from = |index| seen.iter().filter(|record| record.file == index).count();
            // Broken literals are found only by the checksum at the end, when the records are all delivered.
            assert!(from(0) > 100, "{name}: {} records", from(0));
            assert!(from(0) < 50_000 || what.ends_with("damaged"), "{name}: {} records", from(0));
            assert_eq!(from(1), 50_000);
            assert_eq!((damages.len(), damages[0].file), (1, 0));
            // A broken stream may go on for a while as nonsense, which is then found in a record.
            let expected = damages[0].what.contains(name) && damages[0].what.contains(what);
            assert!(expected || damages[0].what.starts_with("a record header claims"), "{}", damages[0]);
        }
    }
}

proptest! {
    #[test]
    fn noise_never_panics(start in 0_usize..4, noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let head = [Pcap::micro().bytes, PcapNg::new(BIG).bytes, gzip(&classic()), zstd(&modern())][start].clone();
        if let Ok(capture) = open_bytes(&[[&head[..], &noise].concat()], 4_096) {
            drain(capture);
        }
        if let Ok(capture) = open_bytes(&[noise], 4_096) {
            drain(capture);
        }
    }

    #[test]
    fn what_pcap_parser_reads_is_read_the_same(packets in prop::collection::vec((any::<u32>(), 0_u32..1_000_000, 0_usize..200), 0..40)) {
        let mut classic = Pcap::micro();
        let mut modern = PcapNg::new(LITTLE);
        modern.interface(1, 0, &[]);
        for &(second, micro, length) in &packets {
            let data = vec![micro as u8; length];
            classic.record(second, micro, &data, length as u32 + 4);
            modern.packet(0, u64::from(second) * 1_000_000 + u64::from(micro), &data, length as u32 + 4);
        }
        let ours = read(std::slice::from_ref(&classic.bytes)).0;
        prop_assert_eq!(&ours, &read(&[modern.bytes.clone()]).0);
        prop_assert_eq!(by_oracle(&classic.bytes), short(&ours));
        prop_assert_eq!(by_oracle(&modern.bytes), short(&ours));
    }
}

type Short = (u64, u32, Vec<u8>);

fn short(seen: &[Seen]) -> Vec<Short> {
    seen.iter().map(|record| (record.at, record.wire_len, record.bytes.clone())).collect()
}

/// The same file through pcap-parser.
fn by_oracle(bytes: &[u8]) -> Vec<Short> {
    use pcap_parser::{Block, PcapBlockOwned, create_reader};
    let mut reader = create_reader(65_536, std::io::Cursor::new(bytes.to_vec())).expect("a capture");
    let mut found = Vec::new();
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                match block {
                    PcapBlockOwned::Legacy(packet) => {
                        let at = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_usec) * 1_000;
                        found.push((at, packet.origlen, packet.data[..packet.caplen as usize].to_vec()));
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let at = (u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low)) * 1_000;
                        found.push((at, packet.origlen, packet.data[..packet.caplen as usize].to_vec()));
                    }
                    _ => {}
                }
                reader.consume(offset);
            }
            Err(pcap_parser::PcapError::Eof) => return found,
            Err(pcap_parser::PcapError::Incomplete(_)) => reader.refill().expect("memory"),
            Err(error) => panic!("{error:?}"),
        }
    }
}
