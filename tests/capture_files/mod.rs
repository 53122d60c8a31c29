//! Capture files built in memory, byte by byte, so that the tests know what is in them.
#![allow(dead_code, reason = "each test file uses its own part")]

use flowlapse::capture::{Batch, Capture, CaptureError, Damage, Input, LinkType, Options, open_with};
use std::io::Write;

/// What a test looks at in a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) file: u16,
    pub(crate) frame: u32,
    pub(crate) at: u64,
    pub(crate) link: LinkType,
    pub(crate) wire_len: u32,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn input(bytes: &[u8]) -> Input {
    Input::Bytes { name: "test".to_owned(), bytes: bytes.into() }
}

pub(crate) fn open_bytes(files: &[Vec<u8>], block_bytes: usize) -> Result<Capture, CaptureError> {
    let inputs: Vec<Input> = files.iter().map(|bytes| input(bytes)).collect();
    open_with(&inputs, &Options { block_bytes, ..Options::default() })
}

pub(crate) fn drain(mut capture: Capture) -> (Vec<Seen>, Vec<Damage>) {
    let mut seen = Vec::new();
    let mut batch = Batch::new();
    while capture.next_batch(&mut batch) {
        assert!(!batch.is_empty(), "a batch that is delivered holds records");
        seen.extend(batch.iter().map(|record| Seen {
            file: record.file,
            frame: record.frame,
            at: record.at.0,
            link: record.link,
            wire_len: record.wire_len,
            bytes: record.bytes.to_vec(),
        }));
    }
    assert!(batch.is_empty() && !capture.next_batch(&mut batch), "the end stays the end");
    (seen, capture.damages())
}

/// Reads files that must open.
pub(crate) fn read(files: &[Vec<u8>]) -> (Vec<Seen>, Vec<Damage>) {
    drain(open_bytes(files, 1 << 20).expect("the test's file is a capture"))
}

pub(crate) fn refusal(bytes: &[u8]) -> String {
    open_bytes(&[bytes.to_vec()], 1 << 20).err().expect("the test's file is no capture").to_string()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    // With a checksum, as the command-line tool writes.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("level 1 exists");
    encoder.include_checksum(true).expect("a checksum is possible");
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

/// Numbers in the byte order of a file.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) big: bool,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u64(self, value: u64) -> [u8; 8] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

pub(crate) const LITTLE: Order = Order { big: false };
pub(crate) const BIG: Order = Order { big: true };

/// A classic pcap file.
pub(crate) struct Pcap {
    pub(crate) order: Order,
    pub(crate) magic: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Pcap {
    pub(crate) fn new(order: Order, magic: u32, snaplen: u32, link: u32) -> Pcap {
        let mut bytes = order.u32(magic).to_vec();
        for half in [2, 4] {
            bytes.extend(order.u16(half));
        }
        for word in [0, 0, snaplen, link] {
            bytes.extend(order.u32(word));
        }
        Pcap { order, magic, bytes }
    }

    /// Microseconds, Ethernet.
    pub(crate) fn micro() -> Pcap {
        Pcap::new(LITTLE, 0xa1b2_c3d4, 65_535, 1)
    }

    pub(crate) fn record(&mut self, seconds: u32, fraction: u32, data: &[u8], wire_len: u32) -> &mut Pcap {
        for word in [seconds, fraction, data.len() as u32, wire_len] {
            self.bytes.extend(self.order.u32(word));
        }
        if self.magic == 0xa1b2_cd34 {
            self.bytes.extend([0; 8]);
        }
        self.bytes.extend(data);
        self
    }
}

/// A pcapng file.
pub(crate) struct PcapNg {
    pub(crate) order: Order,
    pub(crate) bytes: Vec<u8>,
}

impl PcapNg {
    pub(crate) fn new(order: Order) -> PcapNg {
        let mut file = PcapNg { order, bytes: Vec::new() };
        file.section(order);
        file
    }

    pub(crate) fn section(&mut self, order: Order) -> &mut PcapNg {
        self.order = order;
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend(order.u64(u64::MAX));
        self.block(0x0a0d_0d0a, &body)
    }

    pub(crate) fn block(&mut self, kind: u32, body: &[u8]) -> &mut PcapNg {
        let padded = body.len().next_multiple_of(4);
        let length = self.order.u32(padded as u32 + 12);
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(length);
        self
    }

    pub(crate) fn interface(&mut self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> &mut PcapNg {
        let mut body = self.order.u16(link).to_vec();
        body.extend([0, 0]);
        body.extend(self.order.u32(snaplen));
        for (code, value) in options {
            body.extend(self.order.u16(*code));
            body.extend(self.order.u16(value.len() as u16));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    pub(crate) fn packet(&mut self, interface: u32, ticks: u64, data: &[u8], wire_len: u32) -> &mut PcapNg {
        let mut body = Vec::new();
        for word in [interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32, wire_len] {
            body.extend(self.order.u32(word));
        }
        body.extend(data);
        self.block(6, &body)
    }
}
