//! What became of every record: a flow packet, or one of these kinds.
//!
//! Nothing here knows how packets are decoded.
use crate::capture::LinkType;
use std::collections::BTreeMap;
use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Why a record is not a TCP segment or UDP datagram. The printed names are stable.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Kind { $($(#[doc = $doc])* $name,)* }

        impl Kind {
            /// Every kind, in the order in which they are printed.
            pub const ALL: [Kind; [$($text),*].len()] = [$(Kind::$name),*];

            /// The name that is printed.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// Address resolution.
    Arp = "ARP",
    /// Reverse address resolution.
    Rarp = "RARP",
    /// Link layer discovery.
    Lldp = "LLDP",
    /// Spanning tree.
    Stp = "STP",
    /// 802.3 frames with an LLC header that is none of the others.
    Llc = "other LLC",
    /// LACP and its relatives.
    Slow = "slow protocols (LACP)",
    /// 802.1X.
    Eapol = "EAPOL",
    /// Precision time.
    Ptp = "PTP",
    /// `PPPoE` before there is a session.
    PppoeDiscovery = "PPPoE discovery",
    /// PPP's own protocols, such as LCP.
    PppControl = "PPP control",
    /// Encrypted frames.
    Macsec = "MACsec",
    /// 802.11 frames that carry no readable data.
    Wireless = "802.11 without readable data",
    /// All other protocols on top of the link layer.
    OtherEthertype = "other non-IP protocol",
    /// ICMP for IPv4.
    Icmp = "ICMP",
    /// ICMP for IPv6.
    Icmpv6 = "ICMPv6",
    /// Group membership.
    Igmp = "IGMP",
    /// OSPF routing.
    Ospf = "OSPF",
    /// PIM multicast routing.
    Pim = "PIM",
    /// VRRP and CARP.
    Vrrp = "VRRP",
    /// SCTP, which is not followed.
    Sctp = "SCTP",
    /// Encrypted payload.
    Esp = "ESP",
    /// IPv6 packets that say that nothing follows.
    NoNextHeader = "IPv6 without a payload",
    /// All other IP protocols.
    OtherIpProtocol = "other IP protocol",
    /// Fragments whose datagram was completed by another record, which stands for all of them.
    Fragment = "IP fragment (reassembled)",
    /// Fragments whose datagram was never completed.
    FragmentIncomplete = "IP fragment (incomplete)",
    /// Captured bytes end before the network layer.
    LinkHeaderCut = "cut inside the link header",
    /// Captured bytes end inside the IP header.
    IpHeaderCut = "cut inside the IP header",
    /// Fewer than 20 bytes of the TCP header were captured.
    TcpHeaderCut = "cut inside the TCP header",
    /// Fewer than 8 bytes of the UDP header were captured.
    UdpHeaderCut = "cut inside the UDP header",
    /// Captured bytes end inside a tunnel header.
    TunnelHeaderCut = "cut inside a tunnel header",
    /// An IP header that contradicts itself.
    MalformedIp = "malformed IP",
    /// An IP payload shorter than a TCP header.
    MalformedTcp = "malformed TCP",
    /// An IP payload shorter than a UDP header.
    MalformedUdp = "malformed UDP",
    /// A tunnel header of an unknown version or without the bits it must have.
    MalformedTunnel = "malformed tunnel",
    /// More layers of encapsulation than are followed.
    TooDeep = "too many encapsulations",
    /// Journal entries and custom blocks of pcapng, which have frame numbers but are no packets.
    NoPacket = "pcapng entry without a packet",
    /// A link type that is not decoded; the types are counted by name, too.
    UnsupportedLink = "unsupported link type",
}

impl Kind {
    /// Whether a record of this kind may have held a segment that could not be read, as opposed to one that holds none.
    pub const fn is_left_out(self) -> bool {
        matches!(
            self,
            Kind::Wireless
                | Kind::Macsec
                | Kind::FragmentIncomplete
                | Kind::LinkHeaderCut
                | Kind::IpHeaderCut
                | Kind::TcpHeaderCut
                | Kind::UdpHeaderCut
                | Kind::TunnelHeaderCut
                | Kind::MalformedIp
                | Kind::MalformedTcp
                | Kind::MalformedUdp
                | Kind::MalformedTunnel
                | Kind::TooDeep
                | Kind::UnsupportedLink
        )
    }
}

/// How many records there were and what they were. `records` is always `decoded` plus the sum over the kinds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeCounters {
    /// All records.
    pub records: u64,
    /// Those that gave a segment.
    pub decoded: u64,
    kinds: [u64; Kind::ALL.len()],
    /// By number: a hostile file has thousands of types.
    links: BTreeMap<LinkType, u64>,
}

impl Default for DecodeCounters {
    fn default() -> DecodeCounters {
        DecodeCounters { records: 0, decoded: 0, kinds: [0; Kind::ALL.len()], links: BTreeMap::new() }
    }
}

impl DecodeCounters {
    /// How many records were of a kind.
    pub const fn get(&self, kind: Kind) -> u64 {
        self.kinds[kind as usize]
    }

    /// The kinds that occurred, in their printed order.
    pub fn seen(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().map(|kind| (kind, self.get(kind))).filter(|(_, count)| *count > 0)
    }

    /// The link types that are not decoded, with their records, in order of their numbers.
    pub fn unsupported_links(&self) -> impl ExactSizeIterator<Item = (LinkType, u64)> {
        self.links.iter().map(|(link, count)| (*link, *count))
    }

    /// Adds the counts of another decoder.
    pub fn add(&mut self, other: &DecodeCounters) {
        self.records += other.records;
        self.decoded += other.decoded;
        for (sum, count) in self.kinds.iter_mut().zip(other.kinds) {
            *sum += count;
        }
        for (&link, &count) in &other.links {
            self.add_link(link, count);
        }
    }

    pub(super) fn count(&mut self, kind: Kind) {
        self.kinds[kind as usize] += 1;
    }

    /// Adds records of a kind.
    pub fn add_kind(&mut self, kind: Kind, count: u64) {
        self.kinds[kind as usize] += count;
    }

    /// Adds records of a link type that is not decoded; they count as [`Kind::UnsupportedLink`] besides.
    pub fn add_link(&mut self, link: LinkType, count: u64) {
        *self.links.entry(link).or_default() += count;
    }

    /// Moves records from one kind to another.
    pub(super) fn reclassify(&mut self, from: Kind, to: Kind, count: u64) {
        self.kinds[from as usize] -= count;
        self.kinds[to as usize] += count;
    }
}

/// One line for each kind that occurred: `12 ARP`.
impl fmt::Display for DecodeCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} records, {} decoded", self.records, self.decoded)?;
        for (kind, count) in self.seen() {
            writeln!(f, "{count} {}", kind.name())?;
        }
        for (link, count) in &self.links {
            writeln!(f, "{count} of {link}")?;
        }
        Ok(())
    }
}
