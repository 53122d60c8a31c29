//! Packets of any link type through the decoder: each is counted once, and the two ways through it agree.
//!
//! An input is a row of packets: the link type, how many bytes were captured, how many more there were on the wire (two, two and one
//! bytes, the least first), and the bytes.
use flowlapse::capture::{LinkType, Record};
use flowlapse::decode::{Decoder, content};
use flowlapse::time::Instant;

/// The packets of an input.
fn packets(mut data: &[u8]) -> Vec<(LinkType, &[u8], u32)> {
    let mut out = Vec::new();
    while let Some((head, rest)) = data.split_first_chunk::<5>() {
        let captured = usize::from(u16::from_le_bytes([head[2], head[3]])).min(rest.len());
        let (bytes, rest) = rest.split_at(captured);
        out.push((LinkType(u16::from_le_bytes([head[0], head[1]])), bytes, captured as u32 + u32::from(head[4])));
        data = rest;
    }
    out
}

/// The way back, for seeds.
#[allow(dead_code, reason = "the seeds use it")]
pub(crate) fn written(link: LinkType, bytes: &[u8], wire_len: u32, out: &mut Vec<u8>) {
    out.extend(link.0.to_le_bytes());
    out.extend((bytes.len() as u16).to_le_bytes());
    out.push((wire_len as usize - bytes.len()).min(255) as u8);
    out.extend(bytes);
}

pub(crate) fn check(data: &[u8]) {
    let (mut quick, mut walking) = (Decoder::new(), Decoder::walking());
    let mut segments = 0;
    for (number, (link, bytes, wire_len)) in packets(data).into_iter().enumerate() {
        let record = Record { at: Instant(number as u64), bytes, wire_len, frame: number as u32 + 1, link, file: 0 };
        let (one, other) = (quick.decode(&record), walking.decode(&record));
        assert_eq!(one, other, "one look and the walk differ on frame {}", record.frame);
        let errors = [quick.icmp_error(), walking.icmp_error()];
        assert_eq!(errors[0], errors[1]);
        if let Some(packet) = one {
            assert!(errors[0].is_none(), "a segment is no ICMP error");
            segments += 1;
            if let Some(content) = content(&record, &packet) {
                assert!(content.payload.len() <= bytes.len());
            }
        }
        // Each record under one count, at any time.
        let counters = quick.counters();
        let counted: u64 = counters.seen().map(|(_, count)| count).sum();
        assert_eq!((counters.records, counters.decoded), (number as u64 + 1, segments));
        assert_eq!(counters.records, counters.decoded + counted, "a record is counted once");
    }
    assert_eq!(quick.counters(), walking.counters());
}
