//! A SYN flood beside the traffic of a scenario: one SYN a flow, each from another address and port, as a tool that draws its sources
//! sends them. It does not know what else passes.

use super::interleave::embedded;
use super::offered::{Traffic, server_sock};
use super::span::Share;
use crate::net::{Addr, Segment, SegmentBits, Seq, Sock, TcpFlags};
use crate::rng::Rng;
use crate::time::Instant;

/// How many there can be: so many addresses stand in 64.0.0.0/3.
pub const FLOOD_MAX: u64 = 1 << 29;

/// A flood, in the order of time.
#[derive(Clone, Debug)]
pub struct Flood {
    count: u64,
    begin: Instant,
    nanos: u64,
    six: u64,
    seed: u64,
    next: u64,
}

impl Flood {
    /// So many SYNs, at equal distances from the beginning to the end of a scenario; a share of them speaks IPv6.
    pub fn new(traffic: &Traffic<'_>, count: u64, six: Share) -> Flood {
        let origin = traffic.origin("");
        let nanos = origin.end.since(origin.begin).0;
        Flood { count: count.min(FLOOD_MAX), begin: origin.begin, nanos, six: u64::from(six.per_million()), seed: traffic.seed(), next: 0 }
    }

    /// The next SYN that comes before a time: from whom to whom, and when.
    pub fn before(&mut self, until: Instant) -> Option<([Sock; 2], Segment)> {
        if self.next >= self.count {
            return None;
        }
        let after = (u128::from(self.next) * u128::from(self.nanos) / u128::from(self.count)) as u64;
        let at = Instant(self.begin.0.saturating_add(after));
        if at >= until {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let mut rng = Rng::keyed(self.seed ^ 0x666c_6f6f_6466_6c6f, number);
        let is_six = self.six > 0 && rng.below(1_000_000) < self.six;
        let (port, seq) = (1024 + rng.below(64_512) as u16, rng.below(1 << 32) as u32);
        let server = server_sock();
        let (from, to) = if is_six {
            (Addr::v6(six(number)), embedded(server.addr))
        } else {
            // An odd factor has no two numbers share an address.
            let low = (number as u32).wrapping_mul(0x9e37_79b1) & (FLOOD_MAX as u32 - 1);
            (Addr::v4((0x4000_0000 | low).to_be_bytes()), server.addr)
        };
        let segment =
            Segment { at, seq: Seq(seq), window: 64_240, flags: TcpFlags(TcpFlags::SYN), bits: SegmentBits::default(), ..Segment::EMPTY };
        Some(([Sock { addr: from, port }, Sock { addr: to, ..server }], segment))
    }
}

/// 2001:db8:f10d::/48 and 80 bits of which no two numbers share the last 64.
fn six(number: u64) -> [u8; 16] {
    let low = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut octets = [0x20, 0x01, 0x0d, 0xb8, 0xf1, 0x0d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    octets[6..8].copy_from_slice(&((low >> 13) as u16).to_be_bytes());
    octets[8..].copy_from_slice(&low.to_be_bytes());
    octets
}
