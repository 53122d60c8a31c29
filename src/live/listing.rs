//! The kernel's own listings of its tables: `/proc/net/nf_conntrack` and `/proc/net/ip_vs_conn`.
//!
//! Text in, the entry of one dialogue out; nothing here reads files.

use crate::conform::recording::Listed;
use std::net::IpAddr;

/// Whose entry is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The client's address.
    pub(super) client: IpAddr,
    /// The address that servers answer where the client's source is translated.
    pub(super) far: IpAddr,
    /// The client's port.
    pub(super) port: u16,
    /// Whether the dialogue is of datagrams.
    pub(super) udp: bool,
}

/// The first conntrack entry of a dialogue.
pub(super) fn conntrack(listing: &str, wanted: Wanted) -> Option<Listed> {
    listing.lines().find_map(|line| conntrack_line(line, wanted))
}

/// `ipv4 2 tcp 6 119 SYN_SENT src=… dst=… sport=… dport=… [UNREPLIED] src=… dst=… sport=… dport=… [ASSURED] mark=0 use=2`.
fn conntrack_line(line: &str, wanted: Wanted) -> Option<Listed> {
    let mut words = line.split_whitespace();
    let proto = words.nth(2)?;
    if proto != if wanted.udp { "udp" } else { "tcp" } {
        return None;
    }
    let timeout = words.nth(1)?.parse().ok()?;
    let state = if wanted.udp { None } else { Some(words.next()?.to_owned()) };
    let mut field = |name: &str| words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let (src, dst) = (field("src")?.parse::<IpAddr>().ok()?, field("dst")?.parse::<IpAddr>().ok()?);
    let (sport, dport) = (field("sport")?.parse::<u16>().ok()?, field("dport")?.parse::<u16>().ok()?);
    // An entry that the server's side made has the client, or whatever stands for it, as its destination.
    let own = src == wanted.client && sport == wanted.port || (dst == wanted.client || dst == wanted.far) && dport == wanted.port;
    own.then(|| Listed { state, timeout, assured: Some(line.contains("[ASSURED]")), unreplied: Some(line.contains("[UNREPLIED]")) })
}

/// The IPVS entry of a dialogue; a persistence template has no client port and is never meant.
pub(super) fn ipvs(listing: &str, wanted: Wanted) -> Option<Listed> {
    listing.lines().find_map(|line| ipvs_line(line, wanted))
}

/// `TCP 0A000102 07D0 0A000909 0050 0A000202 0050 ESTABLISHED     900`, numbers in hexadecimal.
fn ipvs_line(line: &str, wanted: Wanted) -> Option<Listed> {
    let mut words = line.split_whitespace();
    if words.next()? != if wanted.udp { "UDP" } else { "TCP" } {
        return None;
    }
    let port = u16::from_str_radix(words.nth(1)?, 16).ok()?;
    let state = words.nth(4)?.to_owned();
    let timeout = words.next()?.parse().ok()?;
    (port == wanted.port).then_some(Listed { state: Some(state), timeout, assured: None, unreplied: None })
}

/// The states of all TCP entries in a listing of either table, in its order.
pub(super) fn states(listing: &str) -> Vec<String> {
    let state = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, _, "tcp", _, _, state, ..] | ["TCP", _, _, _, _, _, _, state, ..] => Some(state.to_owned()),
            _ => None,
        }
    };
    listing.lines().filter_map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(port: u16, udp: bool) -> Wanted {
        Wanted { client: [10, 0, 1, 2].into(), far: [10, 0, 2, 1].into(), port, udp }
    }

    #[test]
    fn conntrack_entries_are_found_by_the_client_s_port() {
        let listing = "\
ipv4     2 udp      17 29 src=10.0.1.2 dst=10.0.2.2 sport=2001 dport=80 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 sport=80 dport=2001 mark=0 zone=0 use=2
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=2001 dport=80 src=10.0.2.2 dst=10.0.2.1 sport=80 dport=33000 [ASSURED] mark=0 use=2
ipv4     2 tcp      6 300 ESTABLISHED src=10.0.2.2 dst=10.0.2.1 sport=80 dport=2002 [UNREPLIED] src=10.0.2.1 dst=10.0.2.2 sport=2002 dport=80 use=2
";
        let tcp = conntrack(listing, wanted(2001, false)).expect("it is there");
        assert_eq!(
            (tcp.state.as_deref(), tcp.timeout, tcp.assured, tcp.unreplied),
            (Some("ESTABLISHED"), 431_999, Some(true), Some(false))
        );
        let udp = conntrack(listing, wanted(2001, true)).expect("it is there");
        assert_eq!((udp.state, udp.timeout, udp.unreplied), (None, 29, Some(true)));
        assert_eq!(conntrack(listing, wanted(2002, false)).expect("the server's").timeout, 300);
        // A port that NAT drew is nobody's own.
        assert_eq!(conntrack(listing, wanted(33000, false)), None);
        assert_eq!(conntrack("garbage\n\nipv4 2 tcp 6 x", wanted(1, false)), None);
    }

    #[test]
    fn ipvs_entries_are_found_by_the_client_s_port() {
        let listing = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A000102 0000 0A000909 0050 0A000202 0050 NONE             300
TCP 0A000102 07D0 0A000909 0050 0A000202 0050 ESTABLISHED      899
UDP 0A000102 07D1 0A000909 0050 0A000202 0050 UDP              299
";
        let one = ipvs(listing, wanted(2000, false)).expect("it is there");
        assert_eq!((one.state.as_deref(), one.timeout), (Some("ESTABLISHED"), 899));
        assert_eq!(ipvs(listing, wanted(2001, true)).expect("it is there").state.as_deref(), Some("UDP"));
        assert_eq!(ipvs(listing, wanted(2001, false)), None);
    }
}
