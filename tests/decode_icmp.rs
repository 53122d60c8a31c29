//! ICMP errors: who says what about which packet, and what is no error or cannot be read.

use flowlapse::capture::{LinkType, Record};
use flowlapse::decode::{Decoder, IcmpError, Kind};
use flowlapse::net::{Addr, Proto, Seq, Sock};
use flowlapse::time::Instant;

/// An IP packet of one family: source and destination end in 1 and 2, or the other way round.
fn ip(v6: bool, back: bool, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = if back { (2, 1) } else { (1, 2) };
    let mut packet = if v6 {
        let mut header = vec![0x60, 0, 0, 0, 0, payload.len() as u8, protocol, ttl];
        for last in [src, dst] {
            header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        header
    } else {
        vec![0x45, 0, 0, 20 + payload.len() as u8, 0x12, 0x34, 0, 0, ttl, protocol, 0, 0, 10, 0, 0, src, 10, 0, 0, dst]
    };
    packet.extend(payload);
    packet
}

/// The beginning of a TCP or UDP header: ports 40000 and 443, and a sequence number.
const PORTS: [u8; 8] = [0x9c, 0x40, 0x01, 0xbb, 0, 0, 0x30, 0x39];

fn error(v6: bool, kind: u8, code: u8, quote: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(quote);
    ip(v6, true, if v6 { 58 } else { 1 }, 63, &message)
}

fn read(bytes: &[u8]) -> (Option<IcmpError>, u64) {
    let mut decoder = Decoder::new();
    let record = Record { at: Instant(7), frame: 3, file: 1, link: LinkType::RAW, wire_len: bytes.len() as u32, bytes };
    assert_eq!(decoder.decode(&record), None);
    let found = decoder.icmp_error();
    assert_eq!(decoder.icmp_error(), None, "an error is handed out once");
    let counters = decoder.counters();
    (found, counters.seen().filter(|(kind, _)| matches!(kind, Kind::Icmp | Kind::Icmpv6)).map(|(_, n)| n).sum())
}

fn addr(v6: bool, last: u8) -> Addr {
    if v6 { Addr::v6([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]) } else { Addr::v4([10, 0, 0, last]) }
}

#[test]
fn an_error_says_who_refuses_what() {
    for (v6, kind, code, name) in [
        (false, 3, 3, "port unreachable"),
        (false, 3, 10, "host administratively prohibited"),
        (false, 3, 13, "administratively prohibited"),
        (true, 1, 1, "administratively prohibited"),
        (true, 1, 4, "port unreachable"),
    ] {
        let (found, counted) = read(&error(v6, kind, code, &ip(v6, false, 6, 64, &PORTS)));
        let src = Sock { addr: addr(v6, 1), port: 40000 };
        let dst = Sock { addr: addr(v6, 2), port: 443 };
        let (from, to) = (dst.addr, src.addr);
        let expected =
            IcmpError { at: Instant(7), frame: 3, file: 1, from, to, ttl: 63, kind, code, src, dst, proto: Proto::Tcp, seq: Seq(12345) };
        assert_eq!((found, counted), (Some(expected), 1));
        assert_eq!((expected.name(), expected.refuses()), (name, true));
    }
}

#[test]
fn too_big_and_time_exceeded_refuse_nothing() {
    for (v6, kind, code) in [(false, 3, 4), (false, 11, 0), (true, 2, 0), (true, 3, 0)] {
        let (found, _) = read(&error(v6, kind, code, &ip(v6, false, 17, 64, &PORTS)));
        let found = found.expect("it is an error about a datagram");
        assert_eq!((found.proto, found.seq, found.refuses()), (Proto::Udp, Seq(0), false));
    }
}

#[test]
fn what_is_no_error_or_cannot_be_read_is_only_counted() {
    let quote = ip(false, false, 6, 64, &PORTS);
    let mut fragment = quote.clone();
    fragment[7] = 9;
    let mut wild = quote.clone();
    wild[0] = 0x4f;
    for bytes in [
        ip(false, true, 1, 64, &[8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]),
        ip(true, true, 58, 64, &[128, 0, 0, 0, 0, 0, 0, 0]),
        error(false, 3, 3, &quote[..27]),
        error(false, 3, 3, &[]),
        error(false, 3, 3, &fragment),
        error(false, 3, 3, &wild),
        error(false, 3, 3, &ip(false, false, 47, 64, &PORTS)),
        error(true, 1, 1, &quote),
        // ICMPv6 in IPv4 is nonsense.
        ip(false, true, 58, 64, &[&[1, 1, 0, 0, 0, 0, 0, 0][..], &ip(true, false, 6, 64, &PORTS)].concat()),
    ] {
        assert_eq!(read(&bytes), (None, 1), "{bytes:02x?}");
    }
}
