//! The hash that flows are spread by: the same on every machine, in every version, for both directions.
//!
//! XXH64 with seed 0 over 37 bytes: the lower end, the higher end (address in 16 bytes, an IPv4 address as `::ffff:a.b.c.d`; port in
//! two, most significant first), and the IP protocol. The lower end is the one whose 18 bytes come first. It knows no captures.

use crate::net::{Addr, Proto, Sock};
use std::net::IpAddr;
use twox_hash::XxHash64;

/// An end in eighteen bytes.
fn bytes(sock: Sock) -> [u8; 18] {
    let octets = match sock.addr.ip() {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => six.octets(),
    };
    let mut all = [0; 18];
    all[..16].copy_from_slice(&octets);
    all[16..].copy_from_slice(&sock.port.to_be_bytes());
    all
}

/// The IP protocol number.
pub const fn protocol(proto: Proto) -> u8 {
    match proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
    }
}

/// The two ends in the order that does not depend on the direction, and whether they changed places.
pub fn ordered(src: Sock, dst: Sock) -> ([Sock; 2], bool) {
    let turned = key(dst) < key(src);
    (if turned { [dst, src] } else { [src, dst] }, turned)
}

fn key(sock: Sock) -> (Addr, u16) {
    (sock.addr, sock.port)
}

/// The hash of a flow's tuple, as the signed number that other engines have.
pub fn flow_hash(src: Sock, dst: Sock, proto: Proto) -> i64 {
    let (one, other) = (bytes(src), bytes(dst));
    let (low, high) = if other < one { (other, one) } else { (one, other) };
    let mut all = [0; 37];
    all[..18].copy_from_slice(&low);
    all[18..36].copy_from_slice(&high);
    all[36] = protocol(proto);
    XxHash64::oneshot(0, &all).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sock(text: &str, port: u16) -> Sock {
        Sock { addr: Addr::from(text.parse::<IpAddr>().expect("an address")), port }
    }

    /// Computed by another implementation of XXH64 over the bytes that the documentation names.
    #[test]
    fn the_hash_is_the_one_that_is_documented() {
        let (client, server) = (sock("10.0.0.1", 40_000), sock("192.168.1.2", 443));
        assert_eq!(flow_hash(client, server, Proto::Tcp), flow_hash(server, client, Proto::Tcp));
        assert_ne!(flow_hash(client, server, Proto::Tcp), flow_hash(client, server, Proto::Udp));
        assert_eq!(flow_hash(client, server, Proto::Tcp), HASH_V4);
        assert_eq!(flow_hash(sock("fd00::2", 53), sock("fd00::1", 53), Proto::Udp), HASH_V6);
    }

    const HASH_V4: i64 = -3_188_815_184_095_621_726;
    const HASH_V6: i64 = 6_893_954_378_811_677_845;
}
