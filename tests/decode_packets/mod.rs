//! Packets built by hand, and how the tests look at them.
#![allow(dead_code, reason = "each test file uses its own part")]

use flowlapse::capture::{LinkType, Record};
use flowlapse::decode::{Decoded, Decoder, Kind};
use flowlapse::net::{Proto, Seq};
use flowlapse::time::Instant;

pub(crate) const CLIENT: [u8; 4] = [10, 0, 0, 1];
pub(crate) const SERVER: [u8; 4] = [192, 168, 1, 2];

/// A TCP header with options, and `len` bytes of payload.
pub(crate) fn tcp(options: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0x01, 0xbb, 0, 0, 0x03, 0xe8, 0, 0, 0x07, 0xd0, 0, 0x18, 0x02, 0, 0, 0, 0, 0];
    bytes[12] = ((20 + options.len() as u8) / 4) << 4;
    bytes.extend(options);
    bytes.resize(bytes.len() + len, 0x5a);
    bytes
}

pub(crate) fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 8).to_be_bytes();
    [&[0x9c, 0x40][..], &port.to_be_bytes(), &length, &[0, 0], payload].concat()
}

pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    fragment4(protocol, 0x1234, 0x4000, payload)
}

pub(crate) fn fragment4(protocol: u8, id: u16, place: u16, payload: &[u8]) -> Vec<u8> {
    let total = (payload.len() as u16 + 20).to_be_bytes();
    let [place, id] = [place, id].map(u16::to_be_bytes);
    [&[0x45, 0][..], &total, &id, &place, &[63, protocol, 0, 0], &CLIENT, &SERVER, payload].concat()
}

pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0][..], &length, &[next, 61], &[0xfd; 16], &[0x20; 16], payload].concat()
}

pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
}

pub(crate) fn record(link: LinkType, bytes: &[u8], wire_len: usize) -> Record<'_> {
    Record { at: Instant(5), bytes, wire_len: wire_len as u32, frame: 7, link, file: 3 }
}

pub(crate) fn decode(link: LinkType, bytes: &[u8]) -> Result<Decoded, Kind> {
    decode_cut(link, bytes, bytes.len())
}

/// Decodes the first `kept` bytes of a packet.
pub(crate) fn decode_cut(link: LinkType, bytes: &[u8], kept: usize) -> Result<Decoded, Kind> {
    let mut decoder = Decoder::new();
    let found = decoder.decode(&record(link, &bytes[..kept], bytes.len()));
    let counters = decoder.counters();
    assert_eq!(counters.records, 1);
    let kinds: Vec<(Kind, u64)> = counters.seen().collect();
    if let Some(decoded) = found {
        assert_eq!((counters.decoded, kinds.len()), (1, 0));
        return Ok(decoded);
    }
    assert_eq!((counters.decoded, kinds.len(), kinds[0].1), (0, 1, 1));
    Err(kinds[0].0)
}

pub(crate) fn assert_is_the_flow(decoded: &Decoded, len: u32, what: &str) {
    assert_eq!((decoded.src.port, decoded.dst.port, decoded.proto), (40_000, 443, Proto::Tcp), "{what}");
    let segment = decoded.segment;
    assert_eq!((segment.seq, segment.ack, segment.len, segment.window), (Seq(1_000), Seq(2_000), len, 512), "{what}");
    assert_eq!((segment.at, segment.frame, segment.file, segment.flags.to_string().as_str()), (Instant(5), 7, 3, "PA"), "{what}");
}
