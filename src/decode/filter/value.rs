//! The values in filters: networks, ports, ranges of ports.
//!
//! Nothing here knows the grammar around them.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Port names, so that the common ones need no number.
const SERVICES: [(&str, u16); 27] = [
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap2", 143),
    ("imap", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("syslog", 514),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("ms-sql-s", 1433),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("amqp", 5672),
    ("redis", 6379),
];

/// An address, or the first bytes of an IPv4 address; and how many bits it gives.
pub(super) fn network(text: &str) -> Option<(IpAddr, u32)> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(|six| (IpAddr::V6(six), 128));
    }
    let mut octets = [0; 4];
    let mut count = 0;
    for part in text.split('.') {
        *octets.get_mut(count)? = part.parse::<u8>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()))?;
        count += 1;
    }
    Some((IpAddr::V4(Ipv4Addr::from(octets)), 8 * count as u32))
}

pub(super) fn port(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    SERVICES.iter().find(|(name, _)| *name == text).map(|(_, port)| *port)
}

/// Two ports with a hyphen or, as in old scripts, a colon between them. Names may contain hyphens themselves.
pub(super) fn range(text: &str) -> Option<(u16, u16)> {
    let ports =
        text.char_indices().filter(|(_, c)| matches!(c, '-' | ':')).find_map(|(at, _)| port(&text[..at]).zip(port(&text[at + 1..])));
    ports.or_else(|| port(text).map(|port| (port, port))).map(|(one, other)| (one.min(other), one.max(other)))
}
