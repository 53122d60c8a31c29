//! Which flow of a capture is meant: by its number, by its ends in any notation that people paste, or the worst.
//!
//! Nothing here knows what became of a flow.

use crate::net::{Addr, Proto, Sock};
use crate::policy::hint::nearest;
use std::fmt;

/// Which flow is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// The worst, or where all survive the one that came closest to the end of a timer.
    Worst,
    /// The one with this number of Wireshark's.
    Stream(Proto, u32),
    /// The one with these ends.
    Between(Between),
}

/// The ends of a flow, as far as they were given, in either order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Between {
    text: String,
    proto: Option<Proto>,
    ends: [End; 2],
}

/// One end as far as it was given.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct End {
    addr: Option<Addr>,
    port: Option<u16>,
}

impl End {
    /// Reads `10.0.0.5:51514`, `10.0.0.5`, `:22`, `[2001:db8::1]:22`, `2001:db8::1`, and tcpdump's `10.0.0.5.51514`.
    fn parse(text: &str) -> Option<End> {
        let text = text.trim().trim_end_matches([':', ',']);
        let addr = |text: &str| text.parse::<std::net::IpAddr>().ok().map(Addr::from);
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, port) = rest.split_once(']')?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix([':', '.'])?.parse().ok()?) };
            return Some(End { addr: Some(addr(inner)?), port });
        }
        if let Some(found) = addr(text) {
            return Some(End { addr: Some(found), port: None });
        }
        // The last dot of five numbers, or of an IPv6 address, stands before a port in tcpdump's notation.
        let (host, port) = text.rsplit_once(':').or_else(|| text.rsplit_once('.'))?;
        let port = if port == "*" { None } else { Some(port.parse().ok()?) };
        let host = if host.is_empty() || host == "*" { None } else { Some(addr(host)?) };
        Some(End { addr: host, port })
    }

    fn fits(self, sock: Sock) -> bool {
        self.addr.is_none_or(|addr| addr == sock.addr) && self.port.is_none_or(|port| port == sock.port)
    }

    fn is_nothing(self) -> bool {
        self == End::default()
    }
}

/// What stands between two ends.
const ARROWS: [&str; 9] = ["<->", "->", "=>", "→", "⇄", "↔", " > ", " - ", ","];

impl Between {
    fn parse(text: &str) -> Option<Between> {
        let mut rest = text.trim();
        let mut proto = None;
        for known in [Proto::Tcp, Proto::Udp] {
            if let Some(after) = rest.strip_prefix(known.name()).and_then(|after| after.strip_prefix([' ', ':'])) {
                (proto, rest) = (Some(known), after.trim_start());
            }
        }
        let ends = if rest.contains("src=") || rest.contains("dport=") { conntrack(rest)? } else { pair(rest)? };
        let known = ends.iter().any(|end| !end.is_nothing());
        known.then(|| Between { text: text.to_owned(), proto, ends })
    }

    /// Whether a flow between a client and a server is meant.
    pub fn fits(&self, proto: Proto, [client, server]: [Sock; 2]) -> bool {
        let [one, other] = self.ends;
        self.proto.is_none_or(|wanted| wanted == proto)
            && (one.fits(client) && other.fits(server) || one.fits(server) && other.fits(client))
    }

    /// How many of the parts that were given a flow has.
    fn nearness(&self, [client, server]: [Sock; 2]) -> u32 {
        let part = |end: End, sock: Sock| u32::from(end.addr == Some(sock.addr)) * 2 + u32::from(end.port == Some(sock.port));
        let [one, other] = self.ends;
        (part(one, client) + part(other, server)).max(part(one, server) + part(other, client))
    }
}

/// The original tuple in conntrack's words: `src=… dst=… sport=… dport=…`.
fn conntrack(text: &str) -> Option<[End; 2]> {
    let first = |key: &str| text.split_whitespace().find_map(|word| word.strip_prefix(key));
    let end = |addr: &str, port: &str| {
        let addr = first(addr).map(|text| text.parse::<std::net::IpAddr>().map(Addr::from)).transpose().ok()?;
        let port = first(port).map(str::parse).transpose().ok()?;
        Some(End { addr, port })
    };
    Some([end("src=", "sport=")?, end("dst=", "dport=")?])
}

fn pair(text: &str) -> Option<[End; 2]> {
    for arrow in ARROWS {
        if let Some((one, other)) = text.split_once(arrow) {
            return Some([End::parse(one)?, End::parse(other)?]);
        }
    }
    if let Some((one, other)) = text.split_once('-') {
        return Some([End::parse(one)?, End::parse(other)?]);
    }
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(one), Some(other), None) => Some([End::parse(one)?, End::parse(other)?]),
        (Some(one), None, None) => Some([End::parse(one)?, End::default()]),
        _ => None,
    }
}

impl Which {
    /// Reads `tcp.3`, `udp.0`, `3` (TCP) or `worst`, which is also meant by nothing.
    pub fn stream(text: Option<&str>) -> Option<Which> {
        let Some(text) = text.filter(|text| *text != "worst") else { return Some(Which::Worst) };
        let (proto, number) = match text.split_once('.') {
            None => (Some(Proto::Tcp), text),
            Some((name, number)) => ([Proto::Tcp, Proto::Udp].into_iter().find(|proto| proto.name() == name), number),
        };
        Some(Which::Stream(proto?, number.parse().ok()?))
    }

    /// Reads what [`Which::stream`] reads, Wireshark's `tcp.stream eq 3`, or the ends of a flow.
    ///
    /// # Errors
    /// That it is nothing of the kind.
    pub fn flow(text: &str) -> Result<Which, String> {
        let text = text.trim();
        let wireshark = [Proto::Tcp, Proto::Udp].into_iter().find_map(|proto| {
            let rest = text.strip_prefix(proto.name())?.strip_prefix(".stream")?.trim_start();
            let number = rest.strip_prefix("eq").or_else(|| rest.strip_prefix("=="))?.trim().parse().ok()?;
            Some(Which::Stream(proto, number))
        });
        wireshark.or_else(|| Which::stream(Some(text))).or_else(|| Between::parse(text).map(Which::Between)).ok_or_else(|| {
            if let Some(near) = near_stream(text) {
                return format!("--flow '{text}': there is no such protocol; did you mean {near}?");
            }
            format!(
                "--flow '{text}': expected a stream (tcp.3, udp.0, 3), or ends as 10.0.0.5:51514-10.1.2.3:22, 10.0.0.5:51514 or [2001:db8::1]:22"
            )
        })
    }

    /// The place among flows of the one that is meant.
    ///
    /// # Errors
    /// That there is none, or more than one.
    pub fn among(&self, flows: impl Iterator<Item = Choice> + Clone, option: &str) -> Result<usize, String> {
        match self {
            Which::Worst => Err(format!("{option}: there is no flow in the capture")),
            Which::Stream(proto, number) => {
                flows.clone().position(|flow| (flow.proto, flow.stream) == (*proto, *number)).ok_or_else(|| {
                    let count = flows.filter(|flow| flow.proto == *proto).count();
                    let name = proto.name();
                    let there = match count {
                        0 => "there is none".to_owned(),
                        1 => format!("there is one, {name}.0"),
                        _ => format!("there are {name}.0 to {name}.{}", count - 1),
                    };
                    format!("{option}: no stream {name}.{number}; {there}")
                })
            }
            Which::Between(between) => {
                let fitting: Vec<(usize, Choice)> =
                    flows.clone().enumerate().filter(|(_, flow)| between.fits(flow.proto, flow.socks)).collect();
                match &fitting[..] {
                    [(index, _)] => Ok(*index),
                    [] => Err(none(between, flows, option)),
                    many => Err(format!(
                        "{option} '{}': {} flows have these ends: {}; name one by its stream",
                        between.text,
                        many.len(),
                        listed(many.iter().map(|(_, flow)| *flow))
                    )),
                }
            }
        }
    }
}

/// `tcp.3` for `tpc.3`.
pub fn near_stream(text: &str) -> Option<String> {
    let (proto, number) = text.split_once('.')?;
    number.parse::<u32>().ok()?;
    let near = nearest(proto, ["tcp", "udp"]).filter(|near| *near != proto)?;
    Some(format!("{near}.{number}"))
}

/// A flow that can be meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// TCP or UDP.
    pub proto: Proto,
    /// Wireshark's number.
    pub stream: u32,
    /// Its client and its server.
    pub socks: [Sock; 2],
}

/// `tcp.3 10.0.0.5:51514 → 10.1.2.3:22`.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [client, server] = self.socks;
        write!(f, "{}.{} {client} → {server}", self.proto.name(), self.stream)
    }
}

/// The most flows that an error names.
const NAMED: usize = 5;

fn listed(flows: impl Iterator<Item = Choice>) -> String {
    let mut flows = flows;
    let mut text: Vec<String> = flows.by_ref().take(NAMED).map(|flow| flow.to_string()).collect();
    match flows.count() {
        0 => {}
        more => text.push(format!("{more} more")),
    }
    text.join(", ")
}

fn none(between: &Between, flows: impl Iterator<Item = Choice> + Clone, option: &str) -> String {
    let count = flows.clone().count();
    let best = flows.clone().map(|flow| between.nearness(flow.socks)).max().unwrap_or_default();
    let there = match (count, best) {
        (0, _) => "there is no flow in the capture".to_owned(),
        (_, 0) => format!("of the {count} flows none has any of these ends; there is {}", listed(flows)),
        _ => format!("nearest: {}", listed(flows.filter(|flow| between.nearness(flow.socks) == best))),
    };
    format!("{option} '{}': no flow has these ends; {there}", between.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sock(text: &str) -> Sock {
        let at: std::net::SocketAddr = text.parse().expect("well written");
        Sock { addr: Addr::from(at.ip()), port: at.port() }
    }

    #[test]
    fn ends_are_read_in_the_notations_that_people_paste() {
        let flow = [sock("10.0.0.5:51514"), sock("10.1.2.3:22")];
        for text in [
            "10.0.0.5:51514-10.1.2.3:22",
            "10.0.0.5:51514 → 10.1.2.3:22",
            "10.1.2.3:22 -> 10.0.0.5:51514",
            "tcp 10.0.0.5:51514 10.1.2.3:22",
            "10.0.0.5.51514 > 10.1.2.3.22:",
            "10.0.0.5:51514",
            "10.0.0.5-10.1.2.3",
            ":51514",
            "10.0.0.5:* - :22",
            "tcp 6 431999 ESTABLISHED src=10.0.0.5 dst=10.1.2.3 sport=51514 dport=22 src=10.1.2.3 dst=10.0.0.5 sport=22 dport=51514",
        ] {
            let Ok(Which::Between(between)) = Which::flow(text) else { unreachable!("{text} names ends") };
            assert!(between.fits(Proto::Tcp, flow), "{text}");
            assert!(!between.fits(Proto::Tcp, [sock("10.0.0.6:51515"), sock("10.1.2.4:23")]), "{text}");
        }
        let six = [sock("[2001:db8::1]:40000"), sock("[2001:db8::2]:22")];
        for text in ["[2001:db8::1]:40000-[2001:db8::2]:22", "[2001:db8::2]:22", "2001:db8::1"] {
            let Ok(Which::Between(between)) = Which::flow(text) else { unreachable!("{text} names ends") };
            assert!(between.fits(Proto::Tcp, six), "{text}");
        }
        for (text, which) in [
            ("tcp.3", Which::Stream(Proto::Tcp, 3)),
            ("udp.0", Which::Stream(Proto::Udp, 0)),
            ("3", Which::Stream(Proto::Tcp, 3)),
            ("tcp.stream eq 7", Which::Stream(Proto::Tcp, 7)),
            ("udp.stream == 7", Which::Stream(Proto::Udp, 7)),
            ("worst", Which::Worst),
        ] {
            assert_eq!(Which::flow(text).ok(), Some(which), "{text}");
        }
        for text in ["", "tcp.x", "nonsense", "10.0.0.5:99999", "10.0.0.5:1-", "*", "sctp 1.2.3.4:5"] {
            assert!(Which::flow(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let choice = |stream, client, server| Choice { proto: Proto::Tcp, stream, socks: [sock(client), sock(server)] };
        let flows = [choice(0, "10.0.0.5:1000", "10.1.2.3:22"), choice(1, "10.0.0.5:1001", "10.1.2.3:22")];
        let ask = |text: &str| Which::flow(text).and_then(|which| which.among(flows.into_iter(), "--flow"));
        assert_eq!(ask("10.0.0.5:1001"), Ok(1));
        for (text, told) in [
            ("10.0.0.5", "2 flows have these ends: tcp.0 10.0.0.5:1000 → 10.1.2.3:22, tcp.1"),
            ("10.0.0.5:1002-10.1.2.3:22", "nearest: tcp.0"),
            ("10.9.9.9:5", "of the 2 flows none has any of these ends"),
            ("udp 10.0.0.5:1001", "no flow has these ends"),
            ("tcp.2", "no stream tcp.2; there are tcp.0 to tcp.1"),
        ] {
            assert!(ask(text).is_err_and(|error| error.contains(told)), "{text}");
        }
    }
}
