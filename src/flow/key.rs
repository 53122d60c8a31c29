//! Which packets belong together: the canonical key of a flow and its hash.
//!
//! Nothing here knows sequence numbers, incarnations or which side is the client.

use crate::net::{Proto, Sock};
use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

/// The two ends and the protocol of a flow, the lower end first, so that both directions have the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    low: Sock,
    high: Sock,
    proto: Proto,
}

/// A fixed seed: the same capture falls into the same shards in every run.
const SEED: u64 = 0x666c_6f77_6c61_7073;

impl FlowKey {
    /// The key of a packet from `src` to `dst`, which is also the key of its answer.
    pub fn new(src: Sock, dst: Sock, proto: Proto) -> FlowKey {
        if src <= dst { FlowKey { low: src, high: dst, proto } } else { FlowKey { low: dst, high: src, proto } }
    }

    /// The lower and the higher end, in the order of [`Sock`].
    pub const fn ends(&self) -> (Sock, Sock) {
        (self.low, self.high)
    }

    /// The protocol.
    pub const fn proto(&self) -> Proto {
        self.proto
    }

    /// A hash that depends on nothing but the key. The addresses go in as whole integers, which is several times faster
    /// than the byte-wise hash that the types would derive.
    pub fn hash64(&self) -> u64 {
        let mut hasher = FixedState::with_seed(SEED).build_hasher();
        let ports = u64::from(self.low.port) << 24 | u64::from(self.high.port) << 8 | self.proto as u64;
        match (self.low.addr.ip(), self.high.addr.ip()) {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                hasher.write_u64(u64::from(low.to_bits()) << 32 | u64::from(high.to_bits()));
            }
            (low, high) => {
                hasher.write_u128(bits(low));
                hasher.write_u128(bits(high));
            }
        }
        hasher.write_u64(ports);
        hasher.finish()
    }
}

/// An address as one number; two families that meet in it differ in the key itself.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(four) => u128::from(four.to_bits()),
        IpAddr::V6(six) => six.to_bits(),
    }
}

/// The number to choose a shard by: `shard_hash(…) % shards`. It is the same for both directions, for all incarnations
/// of a tuple and in every run. The table inside a shard uses the other half of the bits, so that low bits which all
/// flows of a shard share do not crowd its buckets.
pub fn shard_hash(src: Sock, dst: Sock, proto: Proto) -> u64 {
    FlowKey::new(src, dst, proto).hash64()
}
