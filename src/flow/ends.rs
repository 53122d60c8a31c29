//! Who talks to whom, in sixteen bytes: IPv4 addresses as they are, IPv6 addresses by their place in a book.
//!
//! A capture has few addresses and many packets: what would be forty bytes a packet and a flow is twelve. Where it has very many,
//! the book forgets those that nobody refers to any more. Nothing here knows sequence numbers, incarnations or which side is the
//! client.

use crate::net::{Addr, Proto, Sock};
use hashbrown::HashTable;
use std::net::IpAddr;

/// The two ends of a packet (source, destination) or of a flow (client, server). The book that made them knows the addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ends {
    addrs: [u32; 2],
    ports: [u16; 2],
    six: bool,
    proto: Proto,
}

/// Odd numbers with no pattern in their bits: the same capture falls into the same shards in every run.
const SEEDS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0x666c_6f77_6c61_7073];

impl Ends {
    /// Nobody's: what stands where the ends are kept beside a flow.
    pub(super) const fn nobody() -> Ends {
        Ends { addrs: [0; 2], ports: [0; 2], six: false, proto: Proto::Tcp }
    }

    /// The ports, in the order of the ends.
    pub const fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// The protocol.
    pub const fn proto(&self) -> Proto {
        self.proto
    }

    /// The same, seen from the other end.
    #[must_use]
    pub const fn inverse(self) -> Ends {
        let Ends { addrs: [a, b], ports: [p, q], six, proto } = self;
        Ends { addrs: [b, a], ports: [q, p], six, proto }
    }

    /// A hash that both directions share and that depends on nothing but the ends and the order in which the book met them. Its
    /// low bits choose the shard, its high bits the place in a table.
    #[inline]
    pub fn hash(&self) -> u64 {
        let end = |side: usize| u64::from(self.addrs[side]) << 16 | u64::from(self.ports[side]);
        let (one, other) = (end(0), end(1));
        let kind = (self.proto as u64) << 49 | u64::from(self.six) << 48;
        let product = u128::from(one.min(other) ^ kind ^ SEEDS[0]) * u128::from(one.max(other) ^ SEEDS[1]);
        let folded = (product as u64) ^ (product >> 64) as u64;
        // Products of numbers that differ in few bits differ in few bits at one end: once more, so that all do.
        let again = u128::from(folded) * u128::from(SEEDS[0]);
        (again as u64) ^ (again >> 64) as u64
    }
}

/// The IPv6 addresses of a run, each at its place.
#[derive(Clone, Debug, Default)]
pub struct Book {
    addrs: Vec<Addr>,
    index: HashTable<u32>,
    /// Places of addresses that were forgotten.
    free: Vec<u32>,
    /// With more addresses than this it is to be swept; without a number it never is.
    enough: Option<usize>,
    /// The least that this number becomes.
    least: usize,
}

fn mix(addr: Addr) -> u64 {
    let bits = match addr.ip() {
        IpAddr::V4(four) => u128::from(four.to_bits()),
        IpAddr::V6(six) => six.to_bits(),
    };
    let product = u128::from(bits as u64 ^ SEEDS[0]) * u128::from((bits >> 64) as u64 ^ SEEDS[1]);
    ((product as u64) ^ (product >> 64) as u64).wrapping_mul(SEEDS[0])
}

impl Book {
    /// An empty one.
    pub fn new() -> Book {
        Book::default()
    }

    /// An empty one that is to be swept when it has more than so many addresses.
    pub fn bounded(addresses: usize) -> Book {
        Book { enough: Some(addresses), least: addresses, ..Book::default() }
    }

    /// Whether it is time for [`Book::sweep`].
    pub fn is_full(&self) -> bool {
        self.enough.is_some_and(|enough| self.index.len() > enough)
    }

    /// Forgets all addresses but those of the ends that it is told of; their places may become others'. So many at a time go that
    /// it costs little for each.
    pub fn sweep(&mut self, told: impl FnOnce(&mut dyn FnMut(&Ends))) {
        let mut kept = vec![false; self.addrs.len()];
        told(&mut |ends| {
            for place in ends.addrs.iter().filter(|_| ends.six) {
                if let Some(kept) = kept.get_mut(*place as usize) {
                    *kept = true;
                }
            }
        });
        self.index.retain(|place| kept[*place as usize]);
        // The lowest place is taken first.
        self.free = (0..kept.len() as u32).rev().filter(|place| !kept[*place as usize]).collect();
        self.enough = Some(self.least.max(2 * self.index.len()));
    }

    /// The ends of a packet.
    ///
    /// # Panics
    /// With more than 2³² IPv6 addresses.
    #[inline(always)]
    pub fn ends(&mut self, src: Sock, dst: Sock, proto: Proto) -> Ends {
        let six = src.addr.is_v6();
        let addrs = if six { [self.place(src.addr), self.place(dst.addr)] } else { [src.addr.four_bits(), dst.addr.four_bits()] };
        Ends { addrs, ports: [src.port, dst.port], six, proto }
    }

    #[inline(never)]
    fn place(&mut self, addr: Addr) -> u32 {
        let hash = mix(addr);
        let addrs = &mut self.addrs;
        if let Some(known) = self.index.find(hash, |at| addrs[*at as usize] == addr) {
            return *known;
        }
        let fresh = if let Some(free) = self.free.pop() {
            addrs[free as usize] = addr;
            free
        } else {
            addrs.push(addr);
            u32::try_from(addrs.len() - 1).expect("fewer than 2^32 addresses")
        };
        self.index.insert_unique(hash, fresh, |at| mix(addrs[*at as usize]));
        fresh
    }

    /// The two sockets behind ends that this book made.
    pub fn socks(&self, ends: &Ends) -> [Sock; 2] {
        [0, 1].map(|side| {
            let code = ends.addrs[side];
            let addr =
                if ends.six { self.addrs.get(code as usize).copied().unwrap_or(Addr::v6([0; 16])) } else { Addr::v4(code.to_be_bytes()) };
            Sock { addr, port: ends.ports[side] }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_gives_back_what_it_was_given() {
        let mut book = Book::new();
        let four = |last| Sock { addr: Addr::v4([10, 0, 0, last]), port: 1000 + u16::from(last) };
        let six = |last| Sock { addr: Addr::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]), port: 2000 + u16::from(last) };
        for (src, dst) in [(four(1), four(2)), (six(1), six(2)), (six(2), six(1)), (six(3), six(3))] {
            let ends = book.ends(src, dst, Proto::Tcp);
            assert_eq!(book.socks(&ends), [src, dst]);
            assert_eq!(book.socks(&ends.inverse()), [dst, src]);
            assert_eq!(ends.hash(), ends.inverse().hash());
            assert_ne!(ends.hash(), book.ends(src, dst, Proto::Udp).hash());
        }
        assert_eq!(book.addrs.len(), 3);
    }

    #[test]
    fn a_swept_book_forgets_what_nobody_refers_to_and_nothing_else() {
        let mut book = Book::bounded(100);
        let sock = |n: u32| Sock { addr: Addr::v6(std::array::from_fn(|at| n.to_be_bytes()[at % 4])), port: 1 };
        let server = sock(0);
        let mut kept: Vec<(u32, Ends)> = Vec::new();
        for n in 1..20_000 {
            let ends = book.ends(sock(n), server, Proto::Tcp);
            if n % 500 == 0 {
                kept.push((n, ends));
            }
            if book.is_full() {
                book.sweep(|mark| kept.iter().for_each(|(_, ends)| mark(ends)));
            }
            assert!(book.addrs.len() <= 102, "{}", book.addrs.len());
        }
        for (n, ends) in kept {
            assert_eq!(book.socks(&ends), [sock(n), server]);
            assert_eq!(book.ends(sock(n), server, Proto::Tcp), ends);
        }
    }

    #[test]
    fn neighbours_fall_into_all_shards_evenly() {
        let mut book = Book::new();
        let server = Sock { addr: Addr::v4([192, 168, 0, 1]), port: 443 };
        let mut shards = [0_u32; 64];
        let mut tops = [0_u32; 128];
        for client in 0..64_000_u32 {
            let sock = Sock { addr: Addr::v4((0x0a00_0000 + client / 1000).to_be_bytes()), port: 1024 + (client % 1000) as u16 };
            let hash = book.ends(sock, server, Proto::Tcp).hash();
            shards[(hash % 64) as usize] += 1;
            tops[(hash >> 57) as usize] += 1;
        }
        assert!(shards.iter().all(|count| (800..1200).contains(count)), "{shards:?}");
        assert!(tops.iter().all(|count| (350..650).contains(count)), "{tops:?}");
    }
}
