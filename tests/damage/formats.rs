//! The relatives of pcap, what pcapng may hold, and the files of other tools: each is read, or named in one line.

use crate::capture_files::{BIG, LITTLE, Order, Pcap, PcapNg, drain, open_bytes, read, refusal, zstd};
use crate::dialogue::{Ends, Packet};
use crate::{answer, link};
use flowlapse::capture::LinkType;
use serde_json::Value;

/// A file header of any magic, version and link type.
fn header(order: Order, magic: u32, version: (u16, u16), network: u32) -> Vec<u8> {
    let mut bytes = order.u32(magic).to_vec();
    bytes.extend(order.u16(version.0));
    bytes.extend(order.u16(version.1));
    for word in [0, 0, 65_535, network] {
        bytes.extend(order.u32(word));
    }
    bytes
}

/// A record with its two lengths as they stand, and more header behind them.
fn record(bytes: &mut Vec<u8>, order: Order, words: [u32; 4], extra: usize, data: &[u8]) {
    for word in words {
        bytes.extend(order.u32(word));
    }
    bytes.resize(bytes.len() + extra, 7);
    bytes.extend(data);
}

fn packets() -> Vec<Packet> {
    Ends::number(1).talk("open c10 s20 c", 0)
}

#[test]
fn every_relative_of_pcap_is_read() {
    // Magic, version, nanoseconds, bytes behind the file header, bytes more in a record header, the wire's length first.
    for (what, magic, version, nanos, behind, extra, swapped) in [
        ("libpcap", 0xa1b2_c3d4, (2, 4), false, 0, 0, false),
        ("nanoseconds", 0xa1b2_3c4d, (2, 4), true, 0, 0, false),
        ("before 2.3", 0xa1b2_c3d4, (2, 1), false, 0, 0, true),
        ("2.3, the new way", 0xa1b2_c3d4, (2, 3), false, 0, 0, false),
        ("2.3, the old way", 0xa1b2_c3d4, (2, 3), false, 0, 0, true),
        ("DG/UX", 0xa1b2_c3d4, (543, 0), false, 0, 0, true),
        ("patch ss990417", 0xa1b2_c3d4, (2, 4), false, 0, 8, false),
        ("Nokia", 0xa1b2_c3d4, (2, 4), false, 0, 4, false),
        ("patch ss991029", 0xa1b2_cd34, (2, 4), false, 0, 8, false),
        ("patch ss990915", 0xa1b2_cd34, (2, 4), false, 0, 12, false),
        ("netsniff-ng", 0xa1e2_cb12, (2, 4), true, 0, 8, false),
        ("Ixia hardware", 0x1c00_01ac, (2, 4), true, 4, 0, false),
        ("Ixia software", 0x1c00_01ab, (2, 4), false, 4, 0, false),
    ] {
        for order in [LITTLE, BIG] {
            let mut file = header(order, magic, version, 0x4000_0065);
            file.resize(24 + behind, 0);
            for packet in packets() {
                let (captured, wire) = (packet.bytes.len() as u32, packet.bytes.len() as u32 + 3);
                let lengths = if swapped { [wire, captured] } else { [captured, wire] };
                record(&mut file, order, [1_700_000_000, 7_000, lengths[0], lengths[1]], extra, &packet.bytes);
            }
            let (seen, damages) = read(&[file]);
            assert_eq!(damages, [], "{what}");
            assert_eq!(seen.len(), packets().len(), "{what}");
            let at = 1_700_000_000_000_000_000 + if nanos { 7_000 } else { 7_000_000 };
            for (record, packet) in seen.iter().zip(packets()) {
                assert_eq!((&record.bytes, record.at, record.link), (&packet.bytes, at, LinkType::RAW), "{what}");
                assert_eq!(record.wire_len, packet.bytes.len() as u32 + 3, "{what}");
            }
        }
    }
}

#[test]
fn the_interface_types_of_aix_are_not_link_types() {
    for (network, expected) in [(6, LinkType::ETHERNET), (24, LinkType::NULL), (9, link(6)), (15, link(10)), (1, LinkType::ETHERNET)] {
        let mut file = header(BIG, 0xa1b2_c3d4, (2, 2), network);
        record(&mut file, BIG, [9, 5, 4, 4], 0, b"data");
        let seen = read(&[file]).0;
        // Nanoseconds, but in the old libpcap that knew no such types.
        assert_eq!((seen[0].link, seen[0].at), (expected, 9_000_000_000 + if network == 1 { 5_000 } else { 5 }), "{network}");
    }
}

#[test]
fn the_files_of_other_tools_are_named() {
    let convert = "; convert it with editcap -F pcapng; expected pcap or pcapng, plain or compressed with gzip or zstd";
    for (bytes, name) in [
        (&b"snoop\0\0\0\0\0\0\x02\0\0\0\x04"[..], "it is a snoop file"),
        (b"GMBU\0\x02\x01\0", "it is a Microsoft Network Monitor 2 file"),
        (b"RTSS\0\x01\x01\0", "it is a Microsoft Network Monitor 1 file"),
        (b"TRSNIFF data    \x1a\0\x06\0\0\0", "it is a Sniffer (DOS) file"),
        (b"XCP\x00002.002\0", "it is a Windows Sniffer or NetXRay file"),
        (b"\x01\x10\x4c\0\x01\x05\0", "it is a Novell LANalyzer file"),
        (b"btsnoop\0\0\0\0\x01", "it is a btsnoop file (Bluetooth)"),
        (b"iptrace 2.0\0\0", "it is an AIX iptrace 2.0 file"),
        (b"Session Transcript\nx", "it is a Catapult DCT2000 file"),
        (b"\0\0\x02\0\x12\x05\0\x10\0\0", "it is a Tektronix K12 (rf5) file"),
        (b"+---------+---------------+----------+\r\n12:00", "it is a Tektronix K12 text file"),
        (b" (1600000000.123456) can0 123#1122\n", "it is a candump log"),
        (b"   TCPtrace full display RCV packet 8\n", "it is a VMS TCPtrace file"),
        (b"\x7fver\0\0\0\0", "it is a WildPackets or Savvius Peek (tagged) file"),
        (b"T\x52\0\x64\0 nettl", "it is an HP-UX nettl file"),
        (b"LOGG\x90\0\0\0", "it is a Vector BLF file"),
    ] {
        assert_eq!(refusal(bytes), format!("test: not a capture: {name}{convert}"));
        // Compressed they are named just so.
        assert!(refusal(&zstd(bytes)).contains(name));
    }
    for (bytes, name) in [
        (&b"\x7fELF\x02"[..], "it is a program (ELF)"),
        (b"__CURSOR=s=1\n", "it is an export of the systemd journal"),
        (b"\xa1\x2b\x3c\x4d\0\x02\0\x04", "it is a pcap variant of Navtel (magic a12b3c4d), whose records were never described"),
        (
            b"\xcd\x34\xb2\xa1\x02\0\x04\0",
            "it is a pcap variant of Francisco Mesquita (magic a1b234cd), whose records were never described",
        ),
        (&[&[0; 257][..], b"ustar\0"].concat(), "it is a tar archive; unpack it first"),
        (b"\x77\x66\x55\x44", "begins with 77 66 55 44"),
    ] {
        assert_eq!(refusal(bytes), format!("test: not a capture: {name}; expected pcap or pcapng, plain or compressed with gzip or zstd"));
    }
}

#[test]
fn the_program_names_a_text_format_too() {
    let file = std::env::temp_dir().join(format!("flowlapse-damage-{}.log", std::process::id()));
    std::fs::write(&file, "(1600000000.123456) can0 123#1122\n").expect("a temporary file");
    let run =
        std::process::Command::new(env!("CARGO_BIN_EXE_flowlapse")).args(["replay", "--box", "ipvs"]).arg(&file).output().expect("runs");
    std::fs::remove_file(&file).expect("it is there");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(said.contains("it is a candump log; convert it with editcap -F pcapng") && said.lines().count() == 1, "{said}");
}

#[test]
fn exit_codes_tell_damage_only_where_it_is_asked_for() {
    let (_, plain) = crate::fixtures().remove(0);
    let file = std::env::temp_dir().join(format!("flowlapse-damage-{}.pcap", std::process::id()));
    for (bytes, usual, strict) in
        [(&plain[..], 0, 0), (&plain[..plain.len() - 5], 0, 3), (&plain[..30], 0, 3), (&plain[..20], 2, 2), (b"", 2, 2)]
    {
        std::fs::write(&file, bytes).expect("a temporary file");
        for (options, code) in [(&["--box", "ipvs"][..], usual), (&["--box", "ipvs", "--strict"], strict)] {
            let run =
                std::process::Command::new(env!("CARGO_BIN_EXE_flowlapse")).arg("replay").args(options).arg(&file).output().expect("runs");
            assert_eq!(run.status.code(), Some(code), "{} bytes, {options:?}: {}", bytes.len(), String::from_utf8_lossy(&run.stderr));
            let out = String::from_utf8_lossy(&run.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(out.contains("damaged after frame"), code != 2 && bytes.len() < plain.len(), "{out}");
        }
    }
    std::fs::remove_file(&file).expect("it is there");
}

/// Ethernet behind an interface, one good packet before what is tested and one behind it.
fn around(middle: impl Fn(&mut PcapNg)) -> (usize, Vec<String>) {
    let mut file = PcapNg::new(LITTLE);
    file.interface(1, 0, &[]).packet(0, 1, b"before", 6);
    middle(&mut file);
    file.packet(0, 2, b"behind", 6);
    let (seen, damages) = drain(open_bytes(&[file.bytes], 4_096).expect("a capture"));
    (seen.len(), damages.into_iter().map(|damage| damage.what).collect())
}

fn raw_block(file: &mut PcapNg, kind: u32, length: u32, body: &[u8], trailer: u32) {
    for part in [&kind.to_le_bytes()[..], &length.to_le_bytes(), body, &trailer.to_le_bytes()] {
        file.bytes.extend(part);
    }
}

#[test]
fn blocks_of_pcapng_that_hold_no_packet_are_passed_over() {
    for (what, kind, body) in [
        ("name resolution", 4, &[1, 0, 8, 0, 10, 0, 0, 1, b'a', b'b', b'c', 0, 0, 0, 0, 0][..]),
        ("statistics", 5, &[0; 12]),
        ("statistics of an interface that is not there", 5, &[0xff; 12]),
        ("decryption secrets", 10, b"KSLT\x04\0\0\0abcd"),
        ("decryption secrets whose length lies", 10, b"KSLT\xff\xff\xff\x7fabcd"),
        ("unknown", 0x8000_0077, b"anything"),
        ("unknown and empty", 0x77, b""),
        ("system calls", 0x204, &[0; 24]),
    ] {
        let expected = (2, Vec::<String>::new());
        assert_eq!(around(|file| _ = file.block(kind, body)), expected, "{what}");
    }
    // Options whose lengths lie end the options, not the file.
    assert_eq!(around(|file| _ = file.interface(1, 0, &[(2, b"eth0"), (9, &[])])).0, 2);
    assert_eq!(around(|file| _ = file.block(1, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0xff, 0xff, 6, 0, 0, 0])), (2, vec![]));
}

#[test]
fn lengths_of_blocks_that_cannot_be_end_the_file_there() {
    let claims = |length: u32| vec![format!("a block of type 0x77 claims a length of {length} bytes")];
    for length in [0, 1, 8, 11, u32::MAX, 0x8000_0000, (16 << 20) + 4] {
        assert_eq!(around(|file| raw_block(file, 0x77, length, &[], length)), (1, claims(length)), "{length}");
    }
    // A length that is no multiple of four is rounded up, as Wireshark does.
    assert_eq!(around(|file| raw_block(file, 0x77, 13, &[1, 2, 3, 4], 13)), (2, vec![]));
    let disagree = vec!["a block of type 0x77 claims 16 bytes at its start and 20 at its end".to_owned()];
    assert_eq!(around(|file| raw_block(file, 0x77, 16, &[0; 4], 20)), (1, disagree));
    let beyond = vec!["a packet claims 4294967295 captured bytes in a block that has room for 4".to_owned()];
    let words = |words: [u32; 5]| words.iter().flat_map(|word| word.to_le_bytes()).chain(*b"data").collect::<Vec<u8>>();
    assert_eq!(around(|file| _ = file.block(6, &words([0, 0, 0, u32::MAX, 4]))), (1, beyond));
    let interface = vec!["a packet names interface 9, but only 1 were described before it".to_owned()];
    assert_eq!(around(|file| _ = file.block(6, &words([9, 0, 0, 4, 4]))), (1, interface));
}

#[test]
fn a_simple_packet_needs_an_interface() {
    let mut file = PcapNg::new(LITTLE);
    file.block(3, &[&4_u32.to_le_bytes()[..], b"data"].concat());
    let (seen, damages) = read(&[file.bytes]);
    assert_eq!((seen.len(), damages[0].what.as_str()), (0, "a packet names interface 0, but only 0 were described before it"));
}

#[test]
fn lengths_that_lie_are_borne() {
    let packets = packets();
    let whole = {
        let mut file = Pcap::new(LITTLE, 0xa1b2_c3d4, 65_535, 101);
        for packet in &packets {
            file.record(1_700_000_000, 0, &packet.bytes, packet.bytes.len() as u32);
        }
        answer(&[&file.bytes]).expect("a capture")
    };
    // The header promises more or less than the records hold; the wire's length is none, too small or 4 GiB.
    for snaplen in [0, 20, 65_535, u32::MAX] {
        for wire in [0, 1, u32::MAX] {
            let mut file = Pcap::new(LITTLE, 0xa1b2_c3d4, snaplen, 101);
            for packet in &packets {
                file.record(1_700_000_000, 0, &packet.bytes, wire);
            }
            let told = answer(&[&file.bytes]).expect("a capture");
            // The lengths that count are those of the IP headers.
            assert_eq!(told["flows"], whole["flows"], "snaplen {snaplen}, wire {wire}");
        }
    }
    // A record of 4 GiB is not believed, whatever the header promises.
    for snaplen in [65_535, u32::MAX] {
        let mut file = Pcap::new(LITTLE, 0xa1b2_c3d4, snaplen, 101);
        file.record(1, 0, &packets[0].bytes, 60);
        file.bytes.extend([1_u32, 0, u32::MAX, u32::MAX].iter().flat_map(|word| word.to_le_bytes()));
        file.record(2, 0, &packets[0].bytes, 60);
        let told = answer(&[&file.bytes]).expect("a capture");
        assert_eq!((&told["packets"]["records"], &told["damage"][0]["after_frame"]), (&Value::from(1), &Value::from(1)));
        let what = told["damage"][0]["what"].as_str().expect("words");
        assert!(what.starts_with("a record header claims 4294967295 captured bytes; at most "), "{what}");
    }
}

#[test]
fn a_section_may_turn_the_bytes_round_in_the_middle() {
    let mut file = PcapNg::new(LITTLE);
    for (round, packet) in packets().into_iter().enumerate() {
        file.section(if round % 2 == 0 { BIG } else { LITTLE }).interface(101, 0, &[(9, &[9])]);
        file.packet(0, packet.at, &packet.bytes, packet.bytes.len() as u32);
    }
    let told = answer(&[&file.bytes]).expect("a capture");
    assert_eq!((&told["packets"]["followed"], &told["summary"]["flows"]), (&Value::from(packets().len()), &Value::from(1)));
}
