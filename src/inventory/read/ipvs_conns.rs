//! `ipvsadm -Lnc`, /proc/net/ip_vs_conn and /proc/net/ip_vs_conn_sync.
//!
//! Source: the spec's ipvs.md sections 11.3 and 11.4, and what ipvsadm 1.31 and kernel 6.1 print. A line of /proc has fixed columns, so
//! that one which was cut in its last number is told from a whole one; a line of ipvsadm has none.

use super::words::{hex, named_sock, number, short, sock};
use super::{Line, Reader};
use crate::inventory::{At, IpvsConn, Kind};
use crate::net::{Addr, Proto, Sock};
use crate::policy::hint::nearest;
use crate::time::Duration;

const STATES: [&str; 14] = [
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "SYNACK",
    "UDP",
    "ASSURED",
    "ERR!",
];
const PROTOCOLS: [&str; 4] = ["TCP", "UDP", "SCTP", "IP"];

/// Whether a line is one of these.
pub(super) fn sign(line: &str) -> bool {
    let start = line.trim();
    if start == "IPVS connection entries" || start.starts_with("pro expire state ") || start.starts_with("Pro FromIP ") {
        return true;
    }
    let mut words = start.split_ascii_whitespace();
    let (first, second, third) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !PROTOCOLS.contains(&first) {
        return false;
    }
    span(second).is_some() && words.next().is_some() || is_hex_addr(second) && hex(third, 4).is_some()
}

fn is_hex_addr(word: &str) -> bool {
    hex_addr(word).is_some()
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    let mut advised = false;
    for line in reader.going(lines) {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if text == "IPVS connection entries" || text.starts_with("pro expire ") || text.starts_with("Pro FromIP ") {
            continue;
        }
        match parse(line.text, reader.at(line)) {
            Ok(Some(conn)) => {
                reader.open_end(line);
                reader.into.ipvs_conns.push(conn);
            }
            Ok(None) => reader.ignore(),
            Err(why) if why.is_empty() => {
                let why = if advised { "names instead of numbers, as above" } else { NAMES };
                advised = true;
                reader.unread(line, Kind::IpvsConns, why);
            }
            Err(why) => reader.unread(line, Kind::IpvsConns, why),
        }
    }
}

const NAMES: &str = "it has names instead of numbers, and ipvsadm cuts long names: take 'ipvsadm -Lnc', with -n";

/// A line; nothing for SCTP. An empty reason stands for names instead of numbers.
fn parse(text: &str, at: At) -> Result<Option<IpvsConn>, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let first = words.first().copied().unwrap_or_default();
    if !PROTOCOLS.contains(&first) {
        return Err(match nearest(first, PROTOCOLS) {
            Some(meant) => format!("a line begins with its protocol; did you mean {meant} for '{}'?", short(first)),
            None => format!("a line begins with TCP, UDP or IP, not with '{}'", short(first)),
        });
    }
    if first == "SCTP" {
        return Ok(None);
    }
    let proto = match first {
        "TCP" => Some(Proto::Tcp),
        "UDP" => Some(Proto::Udp),
        _ => None,
    };
    let second = words.get(1).copied().unwrap_or_default();
    if second.contains(':') && span(second).is_some() || second.len() < 8 {
        printed(proto, &words, at)
    } else {
        listed(proto, text, &words, at)
    }
    .map(Some)
}

/// `14:53`: minutes and seconds.
fn span(word: &str) -> Option<Duration> {
    let (minutes, seconds) = word.split_once(':')?;
    if minutes.len() < 2 || seconds.len() != 2 {
        return None;
    }
    let seconds = number::<u64>(seconds).filter(|seconds| *seconds < 60)?;
    Some(Duration::from_secs(u64::from(number::<u32>(minutes)?) * 60 + seconds))
}

/// A line of ipvsadm's.
fn printed(proto: Option<Proto>, words: &[&str], at: At) -> Result<IpvsConn, String> {
    let (expire, state, client, vip, real) = match words {
        [_, expire, state, client, vip, real] | [_, expire, state, client, vip, real, _] | [_, expire, state, client, vip, real, _, _] => {
            (*expire, *state, *client, *vip, *real)
        }
        _ => {
            let wanted = "pro expire state source virtual destination";
            return Err(format!("a line has six columns ({wanted}), and two more with --persistent-conn; here are {}", words.len()));
        }
    };
    let left = span(expire).ok_or_else(|| format!("'{}' is no time left, which is minutes:seconds, as 14:53", short(expire)))?;
    let state = known_state(state)?;
    let end = |word: &str| match sock(word) {
        Some(sock) => Ok(sock),
        None if named_sock(word) => Err(String::new()),
        None => Err(format!("'{}' is no address and port, as 192.0.2.1:22 or [2001:db8::1]:22", short(word))),
    };
    let (client, vip, real) = (end(client)?, end(vip)?, end(real)?);
    Ok(IpvsConn { proto, client, vip, real, template: proto.is_none() || client.port == 0, state, left, synced: false, at })
}

fn known_state(word: &str) -> Result<String, String> {
    if STATES.contains(&word) {
        return Ok(word.to_owned());
    }
    Err(match nearest(word, STATES) {
        Some(meant) => format!("'{}' is no state; did you mean {meant}?", short(word)),
        None => format!("'{}' is no state of a connection", short(word)),
    })
}

/// An address of eight hexadecimal digits, or of eight groups of four.
fn hex_addr(word: &str) -> Option<Addr> {
    if word.len() == 8 {
        return hex(word, 8).map(|bits| Addr::v4(bits.to_be_bytes()));
    }
    let mut octets = [0_u8; 16];
    let mut groups = word.split(':');
    for pair in octets.chunks_exact_mut(2) {
        let bits = hex(groups.next()?, 4)? as u16;
        pair.copy_from_slice(&bits.to_be_bytes());
    }
    groups.next().is_none().then_some(Addr::v6(octets))
}

/// A line of /proc.
fn listed(proto: Option<Proto>, text: &str, words: &[&str], at: At) -> Result<IpvsConn, String> {
    let [_, from, from_port, to, to_port, dest, dest_port, state, rest @ ..] = words else {
        return Err(format!("a line of ip_vs_conn has nine columns or more; here are {}", words.len()));
    };
    let end = |host: &str, port: &str| match (hex_addr(host), hex(port, 4)) {
        (Some(addr), Some(port)) => Ok(Sock { addr, port: port as u16 }),
        _ => Err(format!("'{} {}' is no address and port in hexadecimal, as C0000207 C74E", short(host), short(port))),
    };
    let (client, vip, real) = (end(from, from_port)?, end(to, to_port)?, end(dest, dest_port)?);
    let state = known_state(state)?;
    let (synced, rest) = match rest {
        ["SYNC", rest @ ..] => (true, rest),
        ["LOCAL", rest @ ..] | rest => (false, rest),
    };
    let expires = match rest {
        [expires] | [expires, _] | [expires, _, _] => *expires,
        _ => return Err("the seconds left are missing behind the state, or too much follows them".to_owned()),
    };
    let left = number::<u32>(expires).ok_or_else(|| format!("'{}' is no number of seconds left", short(expires)))?;
    // The state fills 11 columns, the origin 6, and the seconds 7: a narrower line was cut in its number, or its blanks were taken away.
    let place = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize + word.len();
    let columns = 1 + 11 + 1 + if words.len() - rest.len() == 9 { 7 } else { 0 } + 7;
    if place(expires) < place(dest_port) + columns {
        return Err("it is narrower than the kernel prints it, so that its last number may be cut; take the file as it is".to_owned());
    }
    Ok(IpvsConn {
        proto,
        client,
        vip,
        real,
        template: proto.is_none() || client.port == 0,
        state,
        left: Duration::from_secs(u64::from(left)),
        synced,
        at,
    })
}
