//! The filter words that people know from tcpdump, for decoded packets.
//!
//! Nothing here knows captures or looks names up. The grammar is that of pcap-filter(7) as far as addresses, networks,
//! ports and protocols go; its parser is in `parse.rs`, the meaning is here.
mod parse;
mod value;

use super::Decoded;
use crate::net::{Addr, Proto};
use std::fmt;
use std::net::IpAddr;

/// A condition on decoded packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(pub(super) Node);

/// What a filter is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Node {
    /// Every packet: the empty filter.
    Anything,
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Proto(Proto),
    Family {
        six: bool,
    },
    Host(Ends, Addr),
    Net(Ends, Net),
    Ports(Ends, u16, u16),
}

/// Which ends of a packet are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ends {
    Src,
    Dst,
    Either,
    Both,
}

/// A network: the addresses that agree with one in all the bits of a mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Net {
    pub(super) six: bool,
    pub(super) bits: u128,
    pub(super) mask: u128,
}

/// Why a text is not a filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterError {
    /// Where the trouble begins: the column, counted in characters from 1.
    pub column: usize,
    /// What was expected, and what was found.
    pub what: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter, column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for FilterError {}

impl Filter {
    /// Reads a filter, such as `host 10.0.0.1 and tcp port 22 or 443`. `and` and `or` bind equally, from left to right,
    /// as in tcpdump. The empty text matches everything.
    ///
    /// # Errors
    /// Where the text stops being a filter, and what was expected there.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        parse::parse(text).map(Filter)
    }

    /// Whether a packet meets the condition.
    pub fn matches(&self, packet: &Decoded) -> bool {
        self.0.matches(packet)
    }
}

impl Node {
    fn matches(&self, packet: &Decoded) -> bool {
        match self {
            Node::Anything => true,
            Node::And(left, right) => left.matches(packet) && right.matches(packet),
            Node::Or(left, right) => left.matches(packet) || right.matches(packet),
            Node::Not(inner) => !inner.matches(packet),
            Node::Proto(proto) => packet.proto == *proto,
            Node::Family { six } => packet.src.addr.is_v6() == *six,
            Node::Host(ends, addr) => ends.hold(packet.src.addr == *addr, packet.dst.addr == *addr),
            Node::Net(ends, net) => ends.hold(net.contains(packet.src.addr), net.contains(packet.dst.addr)),
            Node::Ports(ends, low, high) => {
                let range = *low..=*high;
                ends.hold(range.contains(&packet.src.port), range.contains(&packet.dst.port))
            }
        }
    }
}

impl Ends {
    fn hold(self, src: bool, dst: bool) -> bool {
        match self {
            Ends::Src => src,
            Ends::Dst => dst,
            Ends::Either => src || dst,
            Ends::Both => src && dst,
        }
    }
}

impl Net {
    /// Whether an address of the same family lies in the network.
    fn contains(self, addr: Addr) -> bool {
        self.six == addr.is_v6() && number(addr.ip()) & self.mask == self.bits
    }

    /// The mask of the first `len` bits.
    pub(super) fn mask_of(six: bool, len: u32) -> u128 {
        if six { u128::MAX.checked_shl(128 - len).unwrap_or(0) } else { u128::from(u32::MAX.checked_shl(32 - len).unwrap_or(0)) }
    }
}

/// An address as a number of 32 or 128 bits.
pub(super) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(four) => u128::from(four.to_bits()),
        IpAddr::V6(six) => six.to_bits(),
    }
}
