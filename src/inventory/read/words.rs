//! Numbers, addresses and spans as the tools write them, and nothing that is nearly one.

use crate::net::{Addr, Sock};
use crate::time::{Duration, Instant};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A whole number of decimal digits alone.
pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|letter| letter.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A whole number of hexadecimal digits, exactly so many.
pub(super) fn hex(text: &str, digits: usize) -> Option<u32> {
    if text.len() != digits || !text.bytes().all(|letter| letter.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, 16).ok()
}

/// An address of either family, without a scope.
pub(super) fn addr(text: &str) -> Option<Addr> {
    if text.contains(':') {
        Ipv6Addr::from_str(text).ok().map(|six| Addr::from(IpAddr::V6(six)))
    } else {
        Ipv4Addr::from_str(text).ok().map(|four| Addr::from(IpAddr::V4(four)))
    }
}

/// `192.0.2.1:22`, `[2001:db8::1]:22`.
pub(super) fn sock(text: &str) -> Option<Sock> {
    let (host, port) = text.rsplit_once(':')?;
    let addr = match host.strip_prefix('[') {
        Some(inner) => addr(inner.strip_suffix(']')?).filter(|addr| addr.is_v6())?,
        None => addr(host).filter(|addr| !addr.is_v6())?,
    };
    Some(Sock { addr, port: number(port)? })
}

/// Whether a text looks like an address and port in which one of them is a name.
pub(super) fn named_sock(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let letters = |word: &str| word.bytes().any(|letter| letter.is_ascii_alphabetic()) && !word.starts_with('[');
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.[]:".contains(c));
    plain(host) && plain(port) && (letters(port) || letters(host) && !host.contains(':'))
}

/// An IPv4 address that is mapped into IPv6 is an IPv4 address.
pub(super) fn unmapped(sock: Sock) -> Sock {
    match sock.addr.ip() {
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => Sock { addr: Addr::from(IpAddr::V4(four)), ..sock },
            None => sock,
        },
        IpAddr::V4(_) => sock,
    }
}

/// Seconds with a fraction of up to nine digits, since 1970: `1718031234.123456`.
pub(super) fn instant(text: &str) -> Option<Instant> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = number(whole)?;
    if fraction.len() > 9 || text.ends_with('.') || (!fraction.is_empty() && number::<u64>(fraction).is_none()) {
        return None;
    }
    let nanos: u64 = number(&format!("{fraction:0<9}"))?;
    Some(Instant::from_secs(seconds) + Duration(nanos))
}

/// Seconds with a fraction: `7198.65`.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    instant(text).map(|instant| Duration(instant.0))
}

/// A value without the quotes around it; one that stands on one side alone is a part of it.
pub(super) fn unquoted(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

/// The beginning of a text that is quoted in a sentence.
pub(super) fn short(text: &str) -> String {
    let mut out: String = text.chars().take(40).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    if text.chars().nth(40).is_some() {
        out.push('…');
    }
    out
}
