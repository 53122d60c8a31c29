//! Who is the client: decided once, from the first packet of a flow, and never changed.
//!
//! A connection-opening packet says it outright; everything else is a guess by port numbers and is flagged as one.
//! Nothing here looks at a second packet: an orientation that changed later would turn earlier verdicts around.

use crate::net::{Proto, TcpFlags};
use serde::{Deserialize, Serialize};

/// How it is known which side is the client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Orientation {
    /// The client sent the SYN that began the flow.
    Handshake,
    /// The flow began with a SYN/ACK, and the client received it.
    SynAck,
    /// Guessed from port numbers or, where they say nothing, from who spoke first.
    Guessed,
}

impl Orientation {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Orientation::Handshake => "syn",
            Orientation::SynAck => "syn-ack",
            Orientation::Guessed => "guessed",
        }
    }
}

/// Registered ports from 1024 up on which servers commonly listen, in ascending order. Ports below 1024 need no entry.
const SERVICES: [u16; 84] = [
    1080, 1099, 1194, 1433, 1521, 1701, 1723, 1812, 1813, 1883, 1900, 1935, 2049, 2152, 2181, 2375, 2376, 2379, 2380, 2404, 3000, 3128,
    3260, 3268, 3306, 3389, 3478, 3784, 4222, 4369, 4500, 4789, 4840, 5000, 5060, 5061, 5222, 5223, 5228, 5349, 5353, 5432, 5601, 5671,
    5672, 5900, 5938, 5984, 6000, 6081, 6379, 6443, 6633, 6653, 6667, 7000, 7001, 8000, 8008, 8080, 8081, 8086, 8088, 8123, 8443, 8500,
    8883, 8888, 9000, 9042, 9090, 9092, 9093, 9200, 9300, 9418, 10_250, 11_211, 15_672, 20_000, 27_017, 44_818, 50_051, 51_820,
];

const _: () = {
    let mut i = 1;
    while i < SERVICES.len() {
        assert!(SERVICES[i - 1] < SERVICES[i], "the search below needs ascending ports");
        i += 1;
    }
};

/// How much a port looks like a server's: 0 well-known, 1 a registered service, 2 anything else.
fn rank(port: u16) -> u8 {
    if port < 1024 { 0 } else { 2 - u8::from(SERVICES.binary_search(&port).is_ok()) }
}

/// Whether the sender of the first packet of a flow is its client, and how that is known.
///
/// TCP without a SYN: the better-known port is the server's, then the lower one, then the receiver's. UDP: the sender
/// is the client, unless it speaks from a service port to one that is none, which is what an answer looks like.
pub(super) fn sender_is_client([src, dst]: [u16; 2], proto: Proto, flags: TcpFlags) -> (bool, Orientation) {
    let (from, to) = ((rank(src), src), (rank(dst), dst));
    match proto {
        Proto::Udp => (!(from.0 < 2 && to.0 == 2), Orientation::Guessed),
        Proto::Tcp if flags.has(TcpFlags::SYN | TcpFlags::ACK) => (false, Orientation::SynAck),
        Proto::Tcp if flags.has(TcpFlags::SYN) => (true, Orientation::Handshake),
        Proto::Tcp => (from >= to, Orientation::Guessed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_decides_who_is_the_client() {
        let (syn, syn_ack, ack) = (TcpFlags(2), TcpFlags(0x12), TcpFlags(0x10));
        for (from, to, proto, flags, expected) in [
            (40_000, 80, Proto::Tcp, syn, (true, Orientation::Handshake)),
            (80, 40_000, Proto::Tcp, syn, (true, Orientation::Handshake)),
            (80, 40_000, Proto::Tcp, syn_ack, (false, Orientation::SynAck)),
            (40_000, 443, Proto::Tcp, ack, (true, Orientation::Guessed)),
            (443, 40_000, Proto::Tcp, ack, (false, Orientation::Guessed)),
            (1024, 6379, Proto::Tcp, ack, (true, Orientation::Guessed)),
            (6379, 1023, Proto::Tcp, ack, (true, Orientation::Guessed)),
            (30_000, 40_000, Proto::Tcp, ack, (false, Orientation::Guessed)),
            (40_000, 30_000, Proto::Tcp, ack, (true, Orientation::Guessed)),
            (179, 179, Proto::Tcp, ack, (true, Orientation::Guessed)),
            (40_000, 53, Proto::Udp, TcpFlags(0), (true, Orientation::Guessed)),
            (53, 40_000, Proto::Udp, TcpFlags(0), (false, Orientation::Guessed)),
            (123, 123, Proto::Udp, TcpFlags(0), (true, Orientation::Guessed)),
            (30_000, 40_000, Proto::Udp, TcpFlags(0), (true, Orientation::Guessed)),
        ] {
            assert_eq!(sender_is_client([from, to], proto, flags), expected, "{from} to {to} {proto:?} {flags:?}");
        }
    }
}
