//! The writer for millions of packets: frame by frame what the careful one writes, in every format, and read back.

use flowlapse::capture::write::Writer;
use flowlapse::capture::write::bulk::{Bulk, Format, Shape};
use flowlapse::capture::{Batch, Damage, Input, open};
use flowlapse::decode::Decoder;
use flowlapse::net::{Addr, Segment, SegmentBits, Seq, Sock, TcpFlags};
use flowlapse::time::Instant;
use std::io::{self, ErrorKind, Write};

const CLIENT: Sock = Sock { addr: Addr::v4([10, 0, 0, 1]), port: 40_000 };
const SERVER: Sock = Sock { addr: Addr::v4([192, 168, 1, 2]), port: 443 };
const CLIENT6: Sock = Sock { addr: Addr::v6([0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), port: 40_000 };
const SERVER6: Sock = Sock { addr: Addr::v6([0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), port: 443 };
const BOTH: [(Sock, Sock); 2] = [(CLIENT, SERVER), (CLIENT6, SERVER6)];
/// A time of today, with nanoseconds.
const AT: Instant = Instant(1_767_225_600_123_456_789);
const WHOLE: Option<u32> = Some(262_144);

/// What a record says: its time, its bytes, its length on the wire.
type Seen = (Instant, Vec<u8>, u32);

fn read(bytes: &[u8]) -> Vec<Seen> {
    let mut capture = open(&[Input::Bytes { name: "written".to_owned(), bytes: bytes.into() }]).expect("it is a capture");
    let (mut batch, mut seen) = (Batch::new(), Vec::new());
    while capture.next_batch(&mut batch) {
        seen.extend(batch.iter().map(|record| (record.at, record.bytes.to_vec(), record.wire_len)));
    }
    assert_eq!(capture.damages(), Vec::<Damage>::new());
    seen
}

fn bulk(shape: Shape, client: Sock, server: Sock, segments: &[Segment]) -> Vec<Seen> {
    let mut out = Bulk::new(Vec::new(), shape).expect("memory takes everything");
    for seg in segments {
        out.segment(AT, client, server, seg).expect("it can be written");
    }
    let written = out.written();
    let bytes = out.finish().expect("memory takes everything");
    assert_eq!(written, bytes.len() as u64);
    read(&bytes)
}

/// Empty segments with every combination of flags and of the options that both writers write.
fn segments() -> Vec<Segment> {
    let offers = [0, SegmentBits::SACK_PERMITTED, SegmentBits::WINDOW_SCALE, SegmentBits::SACK_PERMITTED | SegmentBits::WINDOW_SCALE];
    let mut all = Vec::new();
    for flags in 0..=255 {
        // The careful writer lays out what a SYN offers for anybody.
        for bits in offers.into_iter().filter(|bits| *bits == 0 || TcpFlags(flags).has(TcpFlags::SYN)) {
            for ahead in [0, 1_000] {
                all.push(Segment {
                    seq: Seq(0xfedc_ba98),
                    ack: Seq(0x7654_3210),
                    sack: Seq(0x7654_3210 + ahead),
                    window: 502,
                    flags: TcpFlags(flags),
                    window_scale: 7,
                    bits: SegmentBits(bits),
                    ..Segment::EMPTY
                });
            }
        }
    }
    all
}

#[test]
fn a_frame_is_what_the_careful_writer_writes() {
    for (client, server) in BOTH {
        let mut careful = Writer::new(Vec::new(), &["client"]).expect("memory takes everything");
        for seg in segments() {
            careful.segment(0, AT, client, server, &seg, 64).expect("it can be written");
        }
        let wanted = read(&careful.finish().expect("memory takes everything"));
        for format in [Format::Pcap, Format::PcapNg] {
            assert_eq!(bulk(Shape { format, ..Shape::default() }, client, server, &segments()), wanted);
        }
        let micros = bulk(Shape { micros: true, ..Shape::default() }, client, server, &segments());
        assert!(micros.iter().zip(&wanted).all(|(cut, whole)| cut.0.0 == whole.0.0 / 1_000 * 1_000 && cut.1 == whole.1));
    }
}

#[test]
fn payload_is_zeros_and_kept_as_far_as_was_asked_for() {
    let seg = Segment { len: 1_001, flags: TcpFlags(TcpFlags::ACK), ..Segment::EMPTY };
    for format in [Format::Pcap, Format::PcapNg] {
        for (client, server) in BOTH {
            let headers = if client.addr.is_v6() { 74 } else { 54 };
            let whole = bulk(Shape { format, snaplen: WHOLE, ..Shape::default() }, client, server, &[seg, seg]);
            assert_eq!(whole[0].1.len(), headers + 1_001);
            assert!(whole[0].1[headers..].iter().all(|byte| *byte == 0));
            assert_eq!(whole[0], whole[1]);
            for (snaplen, kept) in [(None, headers), (Some(1), 1), (Some(60), 60), (Some(96), 96), (Some(9_000), headers + 1_001)] {
                let cut = bulk(Shape { format, snaplen, ..Shape::default() }, client, server, &[seg]);
                assert_eq!((cut[0].1.as_slice(), cut[0].2), (&whole[0].1[..kept], headers as u32 + 1_001), "{snaplen:?}");
            }
        }
    }
}

#[test]
fn the_checksum_covers_the_length() {
    for (client, server) in BOTH {
        for len in [0_u32, 1, 1_460, 65_495] {
            let seg = Segment { len, seq: Seq(7), flags: TcpFlags(TcpFlags::ACK), ..Segment::EMPTY };
            let frame = &bulk(Shape { snaplen: WHOLE, ..Shape::default() }, client, server, &[seg])[0].1;
            let (addresses, tcp) = if client.addr.is_v6() { (22..54, 54) } else { (26..34, 34) };
            let length = (frame.len() - tcp) as u32;
            let pseudo = [&frame[addresses], &length.to_be_bytes(), &[0, 6], &frame[tcp..]].concat();
            let mut sum: u32 = pseudo.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b))).sum();
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            assert_eq!(sum, 0xffff, "{client} {len}");
        }
    }
}

#[test]
fn a_vlan_is_a_tag_of_four_bytes() {
    let seg = segments()[40];
    let plain = &bulk(Shape::default(), CLIENT, SERVER, &[seg])[0].1;
    let tagged = &bulk(Shape { vlan: Some(0x0123), ..Shape::default() }, CLIENT, SERVER, &[seg])[0].1;
    assert_eq!(tagged[..12], plain[..12]);
    assert_eq!(tagged[12..16], [0x81, 0, 0x01, 0x23]);
    assert_eq!(tagged[16..], plain[12..]);
    let mut capture = Bulk::new(Vec::new(), Shape { vlan: Some(5), ..Shape::default() }).expect("memory takes everything");
    capture.segment(AT, CLIENT6, SERVER6, &seg).expect("it can be written");
    let bytes = capture.finish().expect("memory takes everything");
    let mut capture = open(&[Input::Bytes { name: "written".to_owned(), bytes: bytes.into() }]).expect("it is a capture");
    let mut batch = Batch::new();
    assert!(capture.next_batch(&mut batch));
    let mut decoder = Decoder::new();
    let decoded = decoder.decode(&batch.get(0).expect("one was written")).expect("it is a segment");
    assert_eq!((decoded.src, decoded.dst), (CLIENT6, SERVER6));
}

#[test]
fn what_no_packet_holds_is_refused() {
    let mut out = Bulk::new(Vec::new(), Shape::default()).expect("memory takes everything");
    let long = |len| Segment { len, ..Segment::EMPTY };
    let late = Instant::from_secs(1 << 32);
    let mut told = Vec::new();
    for (at, from, to, len) in
        [(AT, CLIENT, SERVER6, 0), (AT, CLIENT, SERVER, 65_496), (AT, CLIENT6, SERVER6, 65_516), (late, CLIENT, SERVER, 0)]
    {
        let error = out.segment(at, from, to, &long(len)).expect_err("it cannot be written");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        told.push(error.to_string());
    }
    assert_eq!(
        told,
        [
            "no packet goes from 10.0.0.1 to fd00:2::1, which is of another family",
            "a segment of 65496 bytes does not fit into an IPv4 packet",
            "a segment of 65516 bytes does not fit into an IPv6 packet",
            "classic pcap has no times after 2106; pcapng has",
        ]
    );
    // Nothing of it is in the file.
    assert_eq!(out.written(), 24);
    out.segment(AT, CLIENT, SERVER, &long(65_495)).expect("it fits");
    out.segment(AT, CLIENT6, SERVER6, &long(65_515)).expect("it fits");
    assert_eq!(read(&out.finish().expect("memory takes everything")).len(), 2);
}

/// A sink that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(ErrorKind::StorageFull))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_the_sink_says_is_passed_on() {
    let mut out = Bulk::new(Full, Shape { snaplen: WHOLE, ..Shape::default() }).expect("nothing is written yet");
    let seg = Segment { len: 60_000, ..Segment::EMPTY };
    let failed = (0..10).find_map(|_| out.segment(AT, CLIENT, SERVER, &seg).err()).expect("ten do not fit into the buffer");
    assert_eq!(failed.kind(), ErrorKind::StorageFull);
    let out = Bulk::new(Full, Shape::default()).expect("nothing is written yet");
    assert_eq!(out.finish().err().map(|error| error.kind()), Some(ErrorKind::StorageFull));
}
