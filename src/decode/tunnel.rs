//! Tunnels: GRE, ERSPAN, VXLAN, Geneve. The innermost flow is the one that is followed.
//!
//! Nothing here knows flows; tunnel identifiers are not part of one.
use super::{Cut, Kind, Outcome, Walk, be16};

const VXLAN: u16 = 4789;
/// The port that Linux used for VXLAN before there was a number, and flannel still does.
const VXLAN_LINUX: u16 = 8472;
const GENEVE: u16 = 6081;
/// Ethernet as an `EtherType`, in GRE and Geneve.
const BRIDGED: u16 = 0x6558;

impl Walk<'_, '_> {
    /// What a UDP datagram to a tunnel port carries; nothing where it is not a tunnel packet after all.
    #[inline]
    pub(super) fn udp_tunnel(&mut self, port: u16, cut: Cut<'_>) -> Option<Outcome> {
        match port {
            VXLAN | VXLAN_LINUX | GENEVE => self.inside_udp(port, cut),
            _ => None,
        }
    }

    #[cold]
    fn inside_udp(&mut self, port: u16, cut: Cut<'_>) -> Option<Outcome> {
        let (outer, depth, ttl, ip_id) = (*self.out, self.depth, self.ttl, self.ip_id);
        let outcome = if port == GENEVE { self.geneve(cut) } else { self.vxlan(cut) };
        // What makes no sense inside was no tunnel: then the outer datagram is the flow. What was cut, or is ARP, was one.
        let nonsense = matches!(
            outcome,
            Err(Kind::MalformedTunnel | Kind::MalformedIp | Kind::MalformedTcp | Kind::MalformedUdp | Kind::OtherEthertype | Kind::Llc)
        );
        if nonsense {
            *self.out = outer;
            (self.depth, self.ttl, self.ip_id) = (depth, ttl, ip_id);
            return None;
        }
        Some(outcome)
    }

    /// RFC 7348: a flags byte with the I bit, the network identifier, an Ethernet frame.
    fn vxlan(&mut self, cut: Cut<'_>) -> Outcome {
        if cut.len < 8 + 14 {
            return Err(Kind::MalformedTunnel);
        }
        let header: &[u8; 8] = cut.head(Kind::TunnelHeaderCut)?;
        if header[0] & 0x08 == 0 {
            return Err(Kind::MalformedTunnel);
        }
        self.deeper()?.ethernet(cut.skip(8))
    }

    /// RFC 8926: version 0, options in units of four bytes, then the protocol that is named.
    fn geneve(&mut self, cut: Cut<'_>) -> Outcome {
        if cut.len < 8 {
            return Err(Kind::MalformedTunnel);
        }
        let header: &[u8; 8] = cut.head(Kind::TunnelHeaderCut)?;
        if header[0] >> 6 != 0 {
            return Err(Kind::MalformedTunnel);
        }
        let size = 8 + usize::from(header[0] & 0x3f) * 4;
        if size > cut.len {
            return Err(Kind::MalformedTunnel);
        }
        self.carried(be16(header, 2), cut.skip(size))
    }

    /// RFC 2784 and 2890, and the variant of PPTP (RFC 2637).
    pub(super) fn gre(&mut self, cut: Cut<'_>) -> Outcome {
        let header: &[u8; 4] = cut.head(Kind::TunnelHeaderCut)?;
        let (flags, protocol) = (header[0], be16(header, 2));
        let [checksum, routing, key, sequence] = [0x80, 0x40, 0x20, 0x10].map(|bit| flags & bit != 0);
        match header[1] & 7 {
            0 if routing => Err(Kind::MalformedTunnel),
            0 => {
                let cut = cut.skip(4 + 4 * (usize::from(checksum) + usize::from(key) + usize::from(sequence)));
                match protocol {
                    // ERSPAN I has no header of its own, and no sequence number; II has both, and calls itself version 1.
                    0x88be if !sequence => self.deeper()?.ethernet(cut),
                    0x88be => {
                        let erspan: &[u8; 8] = cut.head(Kind::TunnelHeaderCut)?;
                        if erspan[0] >> 4 == 1 { self.deeper()?.ethernet(cut.skip(8)) } else { Err(Kind::MalformedTunnel) }
                    }
                    0x22eb => {
                        let erspan: &[u8; 12] = cut.head(Kind::TunnelHeaderCut)?;
                        if erspan[0] >> 4 != 2 {
                            return Err(Kind::MalformedTunnel);
                        }
                        // The lowest bit says that a platform-specific part follows.
                        self.deeper()?.ethernet(cut.skip(if erspan[11] & 1 == 1 { 20 } else { 12 }))
                    }
                    _ => self.carried(protocol, cut),
                }
            }
            1 if protocol == 0x880b && key => {
                let acknowledged = header[1] & 0x80 != 0;
                let cut = cut.skip(8 + 4 * (usize::from(sequence) + usize::from(acknowledged)));
                // A bare acknowledgement carries nothing.
                if sequence { self.deeper()?.ppp(cut) } else { Err(Kind::PppControl) }
            }
            _ => Err(Kind::MalformedTunnel),
        }
    }

    fn carried(&mut self, protocol: u16, cut: Cut<'_>) -> Outcome {
        let walk = self.deeper()?;
        match protocol {
            BRIDGED => walk.ethernet(cut),
            0..=1500 => Err(Kind::OtherEthertype),
            _ => walk.ethertype(protocol, cut),
        }
    }
}
