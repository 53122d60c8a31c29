//! Fixtures packet by packet, to be changed and written anew.

use crate::fixture;

/// A packet of a classic little-endian pcap with microseconds, as all fixtures are: Ethernet, IPv4 without options, TCP.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) micros: u64,
    pub(crate) wire: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Packet {
    pub(crate) fn add(&mut self, at: usize, by: u32) {
        let value = u32::from_be_bytes(self.bytes[at..at + 4].try_into().expect("four bytes")).wrapping_add(by);
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    fn ports(&self) -> (u16, u16) {
        let port = |at: usize| u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
        (port(34), port(36))
    }

    fn is_from_client(&self) -> bool {
        self.ports().1 == 80
    }

    /// Sets the client's port.
    pub(crate) fn set_client_port(&mut self, port: u16) {
        let at = if self.is_from_client() { 34 } else { 36 };
        self.bytes[at..at + 2].copy_from_slice(&port.to_be_bytes());
    }

    /// Adds to the sequence numbers of the client and of the server.
    pub(crate) fn shift(&mut self, client: u32, server: u32) {
        let (seq, ack) = if self.is_from_client() { (client, server) } else { (server, client) };
        self.add(38, seq);
        let acks = self.bytes[47] & 0x10 != 0;
        self.add(42, if acks { ack } else { 0 });
    }
}

pub(crate) fn read(name: &str) -> Vec<Packet> {
    let bytes = std::fs::read(fixture(name)).expect("the fixture is there");
    assert_eq!(bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1], "{name}");
    let (mut packets, mut at) = (Vec::new(), 24);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    while at + 16 <= bytes.len() {
        let (micros, kept) = (u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4)), word(at + 8) as usize);
        packets.push(Packet { micros, wire: word(at + 12), bytes: bytes[at + 16..at + 16 + kept].to_vec() });
        at += 16 + kept;
    }
    packets
}

pub(crate) fn written(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for packet in packets {
        for word in [(packet.micros / 1_000_000) as u32, (packet.micros % 1_000_000) as u32, packet.bytes.len() as u32, packet.wire] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&packet.bytes);
    }
    bytes
}

/// All packets of a fixture, each changed.
pub(crate) fn changed(name: &str, change: impl Fn(&mut Packet)) -> Vec<Packet> {
    let mut packets = read(name);
    packets.iter_mut().for_each(change);
    packets
}
