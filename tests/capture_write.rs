//! What the writer writes, the readers read back; and what cannot be written is refused in words.

use flowlapse::capture::write::Writer;
use flowlapse::capture::{Batch, Damage, Input, LinkType, open};
use flowlapse::decode::{Decoded, Decoder, Kind};
use flowlapse::net::{Addr, Direction, Proto, Segment, SegmentBits, Seq, Sock, TcpFlags};
use flowlapse::time::Instant;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionOption, InterfaceTsResolution};
use pcap_file::pcapng::blocks::section_header::SectionHeaderOption;
use proptest::prelude::*;
use std::io::{self, ErrorKind, Write};

const CLIENT: Sock = Sock { addr: Addr::v4([10, 0, 0, 1]), port: 40_000 };
const SERVER: Sock = Sock { addr: Addr::v4([192, 168, 1, 2]), port: 443 };
const CLIENT6: Sock = Sock { addr: Addr::v6([0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), port: 40_000 };
const SERVER6: Sock = Sock { addr: Addr::v6([0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), port: 443 };
const BOTH: [(Sock, Sock); 2] = [(CLIENT, SERVER), (CLIENT6, SERVER6)];

const OPENING: u8 = SegmentBits::HAS_OPTIONS | SegmentBits::WINDOW_SCALE | SegmentBits::SACK_PERMITTED;
const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
/// A time of today, with nanoseconds.
const START: u64 = 1_767_225_600_123_456_789;

/// One segment to be written.
#[derive(Clone, Copy, Debug)]
struct Planned {
    interface: usize,
    at: Instant,
    from: Sock,
    to: Sock,
    seg: Segment,
    ttl: u8,
}

/// One packet as it was read back.
struct Seen {
    at: Instant,
    bytes: Vec<u8>,
    decoded: Result<Decoded, Kind>,
}

fn write(planned: &[Planned]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &["client", "box 1", "server"]).expect("memory takes everything");
    for one in planned {
        writer.segment(one.interface, one.at, one.from, one.to, &one.seg, one.ttl).expect("it can be written");
    }
    writer.finish().expect("memory takes everything")
}

/// Reads a file with the crate's own layers; it must be without damage, and its packets whole.
fn read(bytes: &[u8]) -> Vec<Seen> {
    let mut capture = open(&[Input::Bytes { name: "written".to_owned(), bytes: bytes.into() }]).expect("it is a capture");
    let (mut batch, mut decoder, mut seen) = (Batch::new(), Decoder::new(), Vec::new());
    while capture.next_batch(&mut batch) {
        for record in batch.iter() {
            assert_eq!((record.link, record.wire_len as usize), (LinkType::ETHERNET, record.bytes.len()));
            let before = decoder.counters();
            let decoded = decoder.decode(&record);
            let after = decoder.counters();
            let kind = || {
                let had = |kind: Kind| before.seen().find(|(k, _)| *k == kind).map_or(0, |(_, count)| count);
                after.seen().find(|(kind, count)| *count > had(*kind)).expect("every record is counted").0
            };
            seen.push(Seen { at: record.at, bytes: record.bytes.to_vec(), decoded: decoded.ok_or_else(kind) });
        }
    }
    assert_eq!(capture.damages(), Vec::<Damage>::new());
    seen
}

/// What a packet of this segment says: its bits are those of the options that are in it, and a field without its flag is
/// not there.
fn expected(planned: &Planned, frame: u32) -> Segment {
    let seg = planned.seg;
    let acks = seg.flags.has(ACK);
    let ack = if acks { seg.ack } else { Seq(0) };
    let sack = if acks && seg.sack.after(seg.ack) { seg.sack } else { ack };
    let mut bits = seg.bits.0 & OPENING;
    if bits != 0 || sack != ack {
        bits |= SegmentBits::HAS_OPTIONS;
    }
    let window_scale = if seg.bits.any(SegmentBits::WINDOW_SCALE) { seg.window_scale } else { 0 };
    Segment { at: planned.at, frame, ack, sack, bits: SegmentBits(bits), window_scale, dir: Direction::Original, file: 0, ..seg }
}

fn assert_read_back(planned: &[Planned], bytes: &[u8]) {
    let seen = read(bytes);
    assert_eq!(seen.len(), planned.len());
    for ((one, seen), frame) in planned.iter().zip(&seen).zip(1..) {
        let decoded = seen.decoded.expect("it is a segment");
        let ip_id = decoded.segment.ip_id;
        assert_eq!(decoded.segment, Segment { ttl: one.ttl, ip_id, ..expected(one, frame) }, "{one:?}");
        assert_eq!((decoded.src, decoded.dst, decoded.proto), (one.from, one.to, Proto::Tcp));
        assert_checksums(&seen.bytes);
    }
}

/// A one's complement sum over everything that a checksum covers, itself included, is all ones.
fn assert_sum(parts: &[&[u8]], what: &str) {
    let mut sum: u32 =
        parts.iter().flat_map(|part| part.chunks(2)).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    assert_eq!(sum, 0xffff, "the checksum of {what}");
}

/// Checks the lengths and the checksums of a frame by hand, not with the library that made them.
fn assert_checksums(frame: &[u8]) {
    let packet = &frame[14..];
    let length = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let (addresses, protocol, rest) = match frame[12..14] {
        [0x08, 0x00] => {
            assert_eq!((packet[0], length(2)), (0x45, packet.len()));
            assert_sum(&[&packet[..20]], "IPv4");
            (&packet[12..20], packet[9], &packet[20..])
        }
        [0x86, 0xdd] => {
            assert_eq!((packet[0], length(4)), (0x60, packet.len() - 40));
            (&packet[8..40], packet[6], &packet[40..])
        }
        ref other => panic!("Ethernet type {other:?}"),
    };
    let pseudo = [addresses, &(rest.len() as u32).to_be_bytes(), &[0, protocol]].concat();
    // ICMP of IPv4 is the one without a pseudo header.
    assert_sum(&[if protocol == 1 { &[] } else { &pseudo }, rest], "the transport layer");
}

fn segment(flags: u8, seq: u32, ack: u32, len: u32) -> Segment {
    let bits = if flags & SYN == 0 { 0 } else { OPENING };
    let window_scale = if flags & SYN == 0 { 0 } else { 7 };
    Segment {
        seq: Seq(seq),
        ack: Seq(ack),
        sack: Seq(ack),
        len,
        window: 502,
        flags: TcpFlags(flags),
        bits: SegmentBits(bits),
        window_scale,
        ..Segment::EMPTY
    }
}

/// A connection with a lost segment, seen on both sides of a box.
fn dialogue(client: Sock, server: Sock) -> Vec<Planned> {
    let late = Segment { sack: Seq(5_000 + 1_448 * 2), bits: SegmentBits(SegmentBits::HAS_OPTIONS), ..segment(ACK, 1_001, 5_000, 0) };
    let steps = [
        (true, segment(SYN, 1_000, 0, 0)),
        (false, segment(SYN | ACK, u32::MAX, 1_001, 0)),
        (true, segment(ACK, 1_001, 0, 0)),
        (true, segment(ACK | TcpFlags::PSH, 1_001, 0, 300)),
        (false, segment(ACK, 5_000 + 1_448, 1_301, 1_448)),
        (true, late),
        (false, segment(ACK | TcpFlags::FIN, 5_000, 1_301, 1_448)),
        (true, segment(TcpFlags::RST, 1_301, 77, 0)),
        (true, segment(TcpFlags::RST | ACK, 1_301, 5_001, 0)),
    ];
    let one = |(at, (from_client, seg)): (usize, (bool, Segment))| {
        [0, 1].map(|hop| Planned {
            interface: hop * 2,
            at: Instant(START + at as u64 * 1_000_000_007 + hop as u64 * 501),
            from: if from_client { client } else { server },
            to: if from_client { server } else { client },
            seg,
            ttl: 64 - hop as u8,
        })
    };
    steps.into_iter().enumerate().flat_map(one).collect()
}

#[test]
fn a_connection_is_read_back() {
    for (client, server) in BOTH {
        let planned = dialogue(client, server);
        assert_read_back(&planned, &write(&planned));
    }
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let planned: Vec<Planned> = BOTH.into_iter().flat_map(|(client, server)| dialogue(client, server)).collect();
    let once = write(&planned);
    assert_eq!(once, write(&planned));
    // Little-endian, whatever machine this is.
    assert_eq!(once[8..12], [0x4d, 0x3c, 0x2b, 0x1a]);
}

#[test]
fn the_head_names_the_program_and_the_interfaces() {
    let names = ["client", "nat (outside)", "Straße"];
    let mut writer = Writer::new(Vec::new(), &names).expect("memory takes everything");
    for interface in 0..names.len() {
        writer.segment(interface, Instant(START), CLIENT, SERVER, &segment(SYN, 1, 0, 0), 64).expect("it can be written");
    }
    let bytes = writer.finish().expect("memory takes everything");
    let mut reader = PcapNgReader::new(&bytes[..]).expect("it is pcapng");
    let program = concat!("flowlapse ", env!("CARGO_PKG_VERSION"));
    assert_eq!(reader.section().options, [SectionHeaderOption::UserApplication(program.into())]);
    let mut used = Vec::new();
    while let Some(block) = reader.next_block() {
        let (block, _) = block.expect("it is well formed");
        used.extend(block.into_enhanced_packet().map(|packet| packet.interface_id));
    }
    assert_eq!(used, [0, 1, 2]);
    let found: Vec<_> = reader.interfaces().iter().map(|interface| interface.options.clone()).collect();
    let wanted = names.map(|name| {
        vec![InterfaceDescriptionOption::IfName(name.into()), InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO)]
    });
    assert_eq!(found, wanted);
}

/// The bytes of one segment's frame.
fn frame(from: Sock, to: Sock, seg: Segment) -> Vec<u8> {
    let planned = [Planned { interface: 0, at: Instant(START), from, to, seg, ttl: 64 }];
    read(&write(&planned)).pop().expect("one was written").bytes
}

#[test]
fn options_are_laid_out_as_linux_lays_them_out() {
    let assert_options = |seg: Segment, wanted: &[u8]| {
        let bytes = frame(CLIENT, SERVER, seg);
        assert_eq!(&bytes[54..34 + usize::from(bytes[46] >> 4) * 4], wanted, "{seg:?}");
    };
    let plain = segment(ACK, 1, 100, 0);
    let [a, b, c, d] = ((START / 1_000_000) as u32).to_be_bytes();
    assert_options(segment(SYN, 1, 0, 0), &[2, 4, 5, 180, 1, 1, 4, 2, 1, 1, 8, 10, a, b, c, d, 0, 0, 0, 0, 1, 3, 3, 7]);
    let bare = Segment { bits: SegmentBits(SegmentBits::HAS_OPTIONS), ..segment(SYN, 1, 0, 0) };
    assert_options(bare, &[2, 4, 5, 180, 1, 1, 8, 10, a, b, c, d, 0, 0, 0, 0]);
    assert_options(Segment { bits: SegmentBits(0), ..segment(SYN, 1, 0, 0) }, &[]);
    assert_options(plain, &[]);
    assert_options(Segment { bits: SegmentBits(SegmentBits::HAS_OPTIONS), ..plain }, &[1, 1, 8, 10, a, b, c, d, 0, 0, 0, 0]);
    assert_options(Segment { sack: Seq(0x0102_0304), ..plain }, &[1, 1, 5, 10, 1, 2, 3, 3, 1, 2, 3, 4]);
    // Behind what is acknowledged, and without an acknowledgement, there is nothing to select.
    assert_options(Segment { sack: Seq(99), ..plain }, &[]);
    assert_options(Segment { sack: Seq(200), flags: TcpFlags(TcpFlags::RST), ..plain }, &[]);
}

#[test]
fn hardware_addresses_belong_to_hosts() {
    let of = |from, to| {
        let bytes = frame(from, to, segment(SYN, 1, 0, 0));
        (bytes[..6].to_vec(), bytes[6..12].to_vec())
    };
    assert_eq!(of(CLIENT, SERVER), (vec![2, 0, 192, 168, 1, 2], vec![2, 0, 10, 0, 0, 1]));
    let (to, from) = of(CLIENT6, SERVER6);
    assert_ne!(to, from);
    assert_eq!((to[0], from[0]), (2, 2));
    assert_eq!(of(SERVER6, CLIENT6), (from, to));
}

#[test]
fn an_icmp_error_quotes_the_segment() {
    for (client, server) in BOTH {
        let seg = segment(ACK, 0x0102_0304, 5_000, 1_000);
        let mut writer = Writer::new(Vec::new(), &["client"]).expect("memory takes everything");
        writer.segment(0, Instant(START), client, server, &seg, 64).expect("it can be written");
        writer.unreachable(0, Instant(START + 1), server.addr, client.addr, client, server, &seg).expect("it can be written");
        let seen = read(&writer.finish().expect("memory takes everything"));
        let [about, error] = &seen[..] else { panic!("two were written") };
        assert_checksums(&error.bytes);
        assert_eq!(error.at, Instant(START + 1));
        let (kind, code, ip) = if client.addr.is_v6() { (Kind::Icmpv6, [1, 4], 40) } else { (Kind::Icmp, [3, 3], 20) };
        assert_eq!(error.decoded, Err(kind));
        let icmp = &error.bytes[14 + ip..];
        assert_eq!((&icmp[..2], &icmp[4..8]), (&code[..], &[0; 4][..]));
        // The quote is what the segment's own packet begins with.
        assert_eq!(icmp[8..], about.bytes[14..14 + ip + 8]);
        // It goes the other way.
        assert_eq!((&error.bytes[..6], &error.bytes[6..12]), (&about.bytes[6..12], &about.bytes[..6]));
        let (src, dst) = if client.addr.is_v6() { (22..38, 38..54) } else { (26..30, 30..34) };
        assert_eq!((&error.bytes[src.clone()], &error.bytes[dst.clone()]), (&about.bytes[dst], &about.bytes[src]));
    }
}

#[test]
fn what_no_packet_holds_is_refused_and_leaves_no_trace() {
    let mut writer = Writer::new(Vec::new(), &["only"]).expect("memory takes everything");
    let at = Instant(START);
    let syn = segment(SYN, 1, 0, 0);
    let long = |len| segment(ACK, 1, 1, len);
    let mut refusals = Vec::new();
    for (interface, from, to, seg) in [
        (1, CLIENT, SERVER, syn),
        (0, CLIENT, SERVER6, syn),
        (0, CLIENT, SERVER, long(65_496)),
        (0, CLIENT6, SERVER6, long(65_516)),
        (0, CLIENT, SERVER, long(u32::MAX)),
    ] {
        refusals.push(writer.segment(interface, at, from, to, &seg, 64).expect_err("it cannot be written"));
    }
    for (interface, from, to, about, seg) in [
        (7, SERVER.addr, CLIENT.addr, (CLIENT, SERVER), syn),
        (0, SERVER.addr, CLIENT6.addr, (CLIENT, SERVER), syn),
        (0, SERVER.addr, CLIENT.addr, (CLIENT6, SERVER6), syn),
        (0, SERVER.addr, CLIENT.addr, (CLIENT, SERVER), long(70_000)),
    ] {
        refusals.push(writer.unreachable(interface, at, from, to, about.0, about.1, &seg).expect_err("it cannot be written"));
    }
    assert!(refusals.iter().all(|error| error.kind() == ErrorKind::InvalidInput));
    let told: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "there is no interface 1: 1 were named",
            "no packet goes from 10.0.0.1 to fd00:2::1, which is of another family",
            "a segment of 65496 bytes does not fit into an IPv4 packet, which has room for 65495",
            "a segment of 65516 bytes does not fit into an IPv6 packet, which has room for 65515",
            "a segment of 4294967295 bytes does not fit into an IPv4 packet, which has room for 65495",
            "there is no interface 7: 1 were named",
            "no packet goes from 192.168.1.2 to fd00:1::1, which is of another family",
            "an ICMP error of 192.168.1.2 cannot be about a segment of [fd00:1::1]:40000, which is of another family",
            "a segment of 70000 bytes does not fit into an IPv4 packet, which has room for 65495",
        ]
    );
    // The longest that fit, after all that.
    writer.segment(0, at, CLIENT, SERVER, &long(65_495), 64).expect("it fits");
    writer.segment(0, at, CLIENT6, SERVER6, &long(65_515), 64).expect("it fits");
    let seen = read(&writer.finish().expect("memory takes everything"));
    let lengths: Vec<u32> = seen.iter().map(|one| one.decoded.expect("it is a segment").segment.len).collect();
    assert_eq!(lengths, [65_495, 65_515]);
    for one in &seen {
        assert_checksums(&one.bytes);
    }
}

/// A sink with room for so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::from(ErrorKind::StorageFull));
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0 == 0 { Err(io::Error::from(ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

#[test]
fn what_the_sink_says_is_passed_on() {
    let whole = write(&dialogue(CLIENT, SERVER)[..1]).len();
    for room in 0..=whole {
        let wrote = Writer::new(Full(room), &["client", "box 1", "server"]).and_then(|mut writer| {
            let one = dialogue(CLIENT, SERVER)[0];
            writer.segment(one.interface, one.at, one.from, one.to, &one.seg, one.ttl)?;
            writer.finish()
        });
        assert_eq!(wrote.err().map(|error| error.kind()), Some(ErrorKind::StorageFull), "room for {room} of {whole} bytes");
    }
    let endless = "x".repeat(70_000);
    let refused = Writer::new(Vec::new(), &[endless.as_str()]).err().expect("the name is too long");
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

prop_compose! {
    fn any_segment()(
        seq: u32, ack: u32, ahead in prop_oneof![Just(0), 1_u32..100_000, any::<u32>()], window: u16, flags: u8,
        len in prop_oneof![Just(0), 0_u32..1_500, 0_u32..65_000], window_scale: u8, bits in 0_u8..8,
    ) -> Segment {
        let sack = Seq(ack).plus(ahead);
        let (flags, bits) = (TcpFlags(flags), SegmentBits(bits));
        Segment { seq: Seq(seq), ack: Seq(ack), sack, window, flags, len, window_scale, bits, ..Segment::EMPTY }
    }
}

prop_compose! {
    fn any_planned()(
        interface in 0_usize..3, at: u64, six: bool, ends: [[u8; 16]; 2], ports: [u16; 2], seg in any_segment(), ttl: u8,
    ) -> Planned {
        let [from, to] = [0, 1].map(|n| {
            let addr = if six { Addr::v6(ends[n]) } else { Addr::v4([ends[n][0], ends[n][1], ends[n][2], ends[n][3]]) };
            Sock { addr, port: ports[n] }
        });
        Planned { interface, at: Instant(at), from, to, seg, ttl }
    }
}

proptest! {
    #[test]
    fn every_segment_is_read_back(planned in prop::collection::vec(any_planned(), 0..8)) {
        let bytes = write(&planned);
        assert_read_back(&planned, &bytes);
        prop_assert_eq!(bytes, write(&planned));
    }
}
