//! The usual packet is read in one look: the answer is that of the walk through its layers, for every packet.

use flowlapse::capture::{self, Batch, Input, LinkType, Record};
use flowlapse::decode::{Decoded, Decoder};
use flowlapse::time::Instant;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn both(quick: &mut Decoder, walking: &mut Decoder, record: &Record<'_>) -> [Option<Decoded>; 2] {
    [quick.decode(record), walking.decode(record)]
}

fn files() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["fixtures/captures", "../shared/captures", "../shared/recordings/pcap", "../shared/recordings/pcap/real-scale"];
    let mut files: Vec<_> =
        folders.iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok()).flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files
}

#[test]
fn in_every_capture() {
    let (mut packets, mut captures) = (0, 0);
    for file in files() {
        let Ok(mut capture) = capture::open(&[Input::Path(file.clone())]) else { continue };
        let (mut quick, mut walking, mut batch) = (Decoder::new(), Decoder::walking(), Batch::new());
        while capture.next_batch(&mut batch) {
            for record in batch.iter() {
                let [one, other] = both(&mut quick, &mut walking, &record);
                assert_eq!(one, other, "{}, frame {}", file.display(), record.frame);
                packets += 1;
            }
        }
        assert_eq!(quick.counters(), walking.counters());
        captures += 1;
    }
    assert!(captures >= 20 && packets > 100, "{captures} captures, {packets} packets");
}

/// A packet that is nearly usual: a link header, tags, an IP header, a TCP header, some of it changed, the end cut off.
fn packet() -> impl Strategy<Value = (Vec<u8>, u32)> {
    let tags = prop::collection::vec(prop_oneof![Just(0x8100_u16), Just(0x88a8), Just(0x9100)], 0..4);
    let options = prop::collection::vec(prop_oneof![4 => 0..12_u8, 1 => any::<u8>()], 0..44);
    let change = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let lengths = (0..80_u16, any::<prop::sample::Index>(), 0..40_u32);
    (tags, any::<bool>(), options, change, lengths, any::<[u8; 40]>()).prop_map(
        |(tags, six, options, change, (payload, cut, more), noise)| {
            let mut bytes = vec![2; 12];
            for tag in tags {
                bytes.extend(tag.to_be_bytes());
                bytes.extend([0, 7]);
            }
            let words = options.len().div_ceil(4);
            let tcp = 20 + words * 4;
            let whole = tcp as u16 + payload;
            if six {
                bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                bytes.extend(whole.to_be_bytes());
                bytes.extend([6, 64]);
                bytes.extend(&noise[..32]);
            } else {
                bytes.extend([0x08, 0x00, 0x45, 0]);
                bytes.extend((whole + 20).to_be_bytes());
                bytes.extend([0, 9, 0x40, 0, 64, 6, 0, 0]);
                bytes.extend(&noise[..8]);
            }
            bytes.extend(&noise[8..20]);
            bytes.push(((5 + words) << 4) as u8);
            bytes.extend(&noise[21..28]);
            bytes.extend(&options);
            bytes.resize(bytes.len() + words * 4 - options.len() + usize::from(payload), 1);
            for (place, value) in change {
                let at = place.index(bytes.len());
                bytes[at] = value;
            }
            // Usually whole; else cut, and the wire may have carried more than that.
            let len = bytes.len();
            let kept = cut.index(len * 3).min(len);
            bytes.truncate(kept);
            (bytes, kept as u32 + more)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_packets_that_are_nearly_usual((bytes, wire_len) in packet()) {
        let record = Record { at: Instant(7), bytes: &bytes, wire_len, frame: 3, link: LinkType::ETHERNET, file: 1 };
        let (mut quick, mut walking) = (Decoder::new(), Decoder::walking());
        let [one, other] = both(&mut quick, &mut walking, &record);
        prop_assert_eq!(one, other);
        prop_assert_eq!(quick.counters(), walking.counters());
    }
}
