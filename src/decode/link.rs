//! Link layers: what stands before the IP header.
//!
//! Nothing here knows IP beyond its version nibble.
use super::{Cut, Kind, Outcome, Walk, be16};
use crate::capture::LinkType;

impl Walk<'_, '_> {
    #[inline]
    pub(super) fn link(&mut self, link: LinkType, cut: Cut<'_>) -> Outcome {
        if link == LinkType::ETHERNET { self.ethernet(cut) } else { self.other_link(link, cut) }
    }

    fn other_link(&mut self, link: LinkType, cut: Cut<'_>) -> Outcome {
        match link {
            LinkType::RAW | LinkType::RAW_12 | LinkType::RAW_14 | LinkType::IPV4 | LinkType::IPV6 => self.ip(cut),
            LinkType::LINUX_SLL => {
                let header: &[u8; 16] = cut.head(Kind::LinkHeaderCut)?;
                self.cooked(be16(header, 14), cut.skip(16))
            }
            LinkType::LINUX_SLL2 => {
                let header: &[u8; 20] = cut.head(Kind::LinkHeaderCut)?;
                self.cooked(be16(header, 0), cut.skip(20))
            }
            LinkType::NULL | LinkType::LOOP => {
                let family: &[u8; 4] = cut.head(Kind::LinkHeaderCut)?;
                // NULL has the byte order of the host that captured, LOOP that of the network; the numbers are small.
                let family = u32::from_be_bytes(*family).min(u32::from_le_bytes(*family));
                match family {
                    // AF_INET everywhere; AF_INET6 in Linux, the BSDs and macOS, each with a number of its own.
                    2 | 10 | 24 | 28 | 30 => self.ip(cut.skip(4)),
                    _ => Err(Kind::OtherEthertype),
                }
            }
            LinkType::PPP | LinkType::PPP_HDLC => self.ppp(cut),
            LinkType::PPP_ETHER => self.pppoe(cut),
            LinkType::C_HDLC => {
                let header: &[u8; 4] = cut.head(Kind::LinkHeaderCut)?;
                self.ethertype(be16(header, 2), cut.skip(4))
            }
            LinkType::IEEE802_11 => self.wireless(cut),
            LinkType::IEEE802_11_RADIOTAP => {
                let header: &[u8; 4] = cut.head(Kind::LinkHeaderCut)?;
                self.wireless(cut.skip(usize::from(u16::from_le_bytes([header[2], header[3]]))))
            }
            LinkType::JOURNAL | LinkType::CUSTOM => Err(Kind::NoPacket),
            _ => Err(Kind::UnsupportedLink),
        }
    }

    #[inline]
    pub(super) fn ethernet(&mut self, cut: Cut<'_>) -> Outcome {
        let header: &[u8; 14] = cut.head(Kind::LinkHeaderCut)?;
        self.ethertype(be16(header, 12), cut.skip(14))
    }

    /// The cooked formats mark frames without an `EtherType` by small numbers.
    fn cooked(&mut self, protocol: u16, cut: Cut<'_>) -> Outcome {
        match protocol {
            // LINUX_SLL_P_802_2: an LLC header follows.
            4 => self.llc(cut),
            0..=1500 => Err(Kind::OtherEthertype),
            _ => self.ethertype(protocol, cut),
        }
    }

    #[inline]
    pub(super) fn ethertype(&mut self, ethertype: u16, cut: Cut<'_>) -> Outcome {
        match ethertype {
            0x0800 => self.ipv4(cut),
            0x86dd => self.ipv6(cut),
            _ => self.other_ethertype(ethertype, cut),
        }
    }

    fn other_ethertype(&mut self, mut ethertype: u16, mut cut: Cut<'_>) -> Outcome {
        // 802.1Q, 802.1ad and its older numbers: any number of tags.
        while matches!(ethertype, 0x8100 | 0x88a8 | 0x9100 | 0x9200) {
            let tag: &[u8; 4] = cut.head(Kind::LinkHeaderCut)?;
            ethertype = be16(tag, 2);
            cut = cut.skip(4);
        }
        match ethertype {
            0x0800 => self.ipv4(cut),
            0x86dd => self.ipv6(cut),
            0x8864 => self.pppoe(cut),
            0x8847 | 0x8848 => self.mpls(cut),
            0..=1500 => self.llc(cut),
            0x0806 => Err(Kind::Arp),
            0x8035 => Err(Kind::Rarp),
            0x8863 => Err(Kind::PppoeDiscovery),
            0x8809 => Err(Kind::Slow),
            0x888e => Err(Kind::Eapol),
            0x88cc => Err(Kind::Lldp),
            0x88e5 => Err(Kind::Macsec),
            0x88f7 => Err(Kind::Ptp),
            _ => Err(Kind::OtherEthertype),
        }
    }

    /// IEEE 802.2: spanning tree, IP by its own number, or a SNAP header with an `EtherType`.
    fn llc(&mut self, cut: Cut<'_>) -> Outcome {
        let header: &[u8; 3] = cut.head(Kind::LinkHeaderCut)?;
        match header {
            [0x42, 0x42, _] => Err(Kind::Stp),
            [0x06, 0x06, 3] => self.ip(cut.skip(3)),
            [0xaa, 0xaa, 3] => {
                let snap: &[u8; 8] = cut.head(Kind::LinkHeaderCut)?;
                match (&snap[3..6], be16(snap, 6)) {
                    // A VLAN tag can lead to another SNAP header; counting them bounds the recursion.
                    ([0, 0, 0], ethertype @ 1501..) => self.deeper()?.ethertype(ethertype, cut.skip(8)),
                    // Cisco's per-VLAN spanning tree.
                    ([0, 0, 0x0c], 0x010b) => Err(Kind::Stp),
                    _ => Err(Kind::Llc),
                }
            }
            _ => Err(Kind::Llc),
        }
    }

    fn pppoe(&mut self, cut: Cut<'_>) -> Outcome {
        let header: &[u8; 6] = cut.head(Kind::LinkHeaderCut)?;
        if header[1] != 0 {
            return Err(Kind::PppoeDiscovery);
        }
        // Some concentrators count the Ethernet padding into the IP length; the session's length does without.
        let len = usize::from(be16(header, 4));
        self.ppp(Cut { firm: true, ..cut.skip(6).limit(len) })
    }

    /// PPP with or without the HDLC address and control bytes, with a protocol field of one or two bytes (RFC 1661).
    pub(super) fn ppp(&mut self, cut: Cut<'_>) -> Outcome {
        let framed = cut.bytes.starts_with(&[0xff, 3]);
        let cut = if framed { cut.skip(2) } else { cut };
        let [first] = *cut.head::<1>(Kind::LinkHeaderCut)?;
        let (protocol, cut) = if first & 1 == 1 {
            (u16::from(first), cut.skip(1))
        } else {
            (u16::from_be_bytes(*cut.head::<2>(Kind::LinkHeaderCut)?), cut.skip(2))
        };
        match protocol {
            0x0021 => self.ipv4(cut),
            0x0057 => self.ipv6(cut),
            0x0281 | 0x0283 => self.mpls(cut),
            0x8000.. => Err(Kind::PppControl),
            _ => Err(Kind::OtherEthertype),
        }
    }

    /// MPLS does not say what it carries: IP by its version, else Ethernet, with a control word where it begins with 0.
    pub(super) fn mpls(&mut self, mut cut: Cut<'_>) -> Outcome {
        loop {
            let label: &[u8; 4] = cut.head(Kind::LinkHeaderCut)?;
            cut = cut.skip(4);
            if label[2] & 1 == 1 {
                break;
            }
        }
        match cut.head::<1>(Kind::LinkHeaderCut)?[0] >> 4 {
            4 => self.ipv4(cut),
            6 => self.ipv6(cut),
            0 => self.deeper()?.ethernet(cut.skip(4)),
            _ => self.deeper()?.ethernet(cut),
        }
    }

    /// Data frames of IEEE 802.11 that are not encrypted; an aggregate (A-MSDU) is not taken apart.
    fn wireless(&mut self, cut: Cut<'_>) -> Outcome {
        let [control, flags] = *cut.head::<2>(Kind::LinkHeaderCut)?;
        let (kind, subtype) = (control >> 2 & 3, control >> 4);
        let (between, protected, ordered) = (flags & 3 == 3, flags & 0x40 != 0, flags & 0x80 != 0);
        // Bit 2 of the subtype: no data. Version, then type 2: data.
        if control & 3 != 0 || kind != 2 || subtype & 4 != 0 || protected {
            return Err(Kind::Wireless);
        }
        let mut header = if between { 30 } else { 24 };
        if subtype & 8 != 0 {
            let quality = cut.bytes.get(header).ok_or(Kind::LinkHeaderCut)?;
            if quality & 0x80 != 0 {
                return Err(Kind::Wireless);
            }
            header += if ordered { 6 } else { 2 };
        }
        self.llc(cut.skip(header))
    }
}
