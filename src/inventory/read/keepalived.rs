//! keepalived.conf: `lvs_timeouts`, virtual servers and their real servers.
//!
//! Source: keepalived.conf(5) of 2.2. Groups of virtual servers and files that are included are said and not followed.

use super::words::{addr, number, short};
use super::{Line, Reader};
use crate::inventory::{IpvsTimeouts, Kind, RealServer, Service, ServiceKey, TimeoutSource};
use crate::net::{Proto, Sock};
use crate::policy::ipvs::{Method, Scheduler};
use crate::time::Duration;

/// What `persistence_timeout` without a number means.
const PERSISTENCE: u64 = 360;

/// Whether a line is one of these.
pub(super) fn sign(line: &str) -> bool {
    let words: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
    match words.as_slice() {
        [
            "lvs_timeouts"
            | "global_defs"
            | "global_defs{"
            | "vrrp_instance"
            | "vrrp_script"
            | "vrrp_sync_group"
            | "virtual_server_group"
            | "virtual_server",
            ..,
        ] => true,
        ["real_server", _, port, ..] => number::<u16>(port.trim_end_matches('{')).is_some(),
        _ => false,
    }
}

/// What a brace belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Server,
    Real,
    Other,
}

struct Keepalived {
    levels: Vec<Level>,
    service: Option<Service>,
    method: Option<Method>,
    real: Option<RealServer>,
    /// The protocol is TCP where it is not written.
    fwmark: bool,
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    let mut state = Keepalived { levels: Vec::new(), service: None, method: None, real: None, fwmark: false };
    for line in lines {
        let text = line.text.split(['#', '!']).next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        // Braces may stand alone or at the end of what they belong to.
        let spaced = text.replace('{', " { ").replace('}', " } ");
        let mut words: Vec<&str> = Vec::new();
        let mut read_any = false;
        let mut wrong = None;
        for word in spaced.split_ascii_whitespace() {
            match word {
                "{" => match state.open(reader, &words, line) {
                    Ok(()) => {
                        read_any = true;
                        words.clear();
                    }
                    Err(why) => {
                        wrong = Some(why);
                        state.levels.push(Level::Other);
                        words.clear();
                    }
                },
                "}" => {
                    if let Err(why) = state.setting(reader, &words, line) {
                        wrong = Some(why);
                    }
                    words.clear();
                    state.close(reader);
                    read_any = true;
                }
                word => words.push(word),
            }
        }
        // A block may open on the line below.
        let opens_below = words.first().is_some_and(|word| matches!(*word, "virtual_server" | "real_server"));
        if opens_below {
            wrong = Some("its '{' is missing on the same line".to_owned());
        } else if !words.is_empty() {
            match state.setting(reader, &words, line) {
                Ok(done) => read_any |= done,
                Err(why) => wrong = Some(why),
            }
        }
        match wrong {
            Some(why) => reader.unread(line, Kind::Keepalived, why),
            None if !read_any => reader.ignore(),
            None => {}
        }
    }
    if let Some(last) = lines.last().filter(|_| !state.levels.is_empty()) {
        reader.note(last, "a brace is missing at the end: the text seems to be cut off");
        while !state.levels.is_empty() {
            state.close(reader);
        }
    }
}

impl Keepalived {
    fn open(&mut self, reader: &Reader<'_>, words: &[&str], line: &Line<'_>) -> Result<(), String> {
        let level = match words {
            ["virtual_server", "group", ..] => return Err("groups of virtual servers are not followed; take 'ipvsadm -Sn'".to_owned()),
            ["virtual_server", "fwmark", mark, ..] => {
                let mark = number(mark).ok_or_else(|| format!("'{}' is no firewall mark", short(mark)))?;
                self.begin(reader, ServiceKey::Fwmark(mark), line);
                Level::Server
            }
            ["virtual_server", address, port] => {
                self.begin(reader, ServiceKey::Sock(end(address, port)?), line);
                Level::Server
            }
            ["virtual_server", address] => {
                self.begin(reader, ServiceKey::Sock(end(address, "0")?), line);
                Level::Server
            }
            ["virtual_server", ..] => return Err("a virtual server is an address and a port, or 'fwmark' and a number".to_owned()),
            ["real_server", address, rest @ ..] if self.levels.last() == Some(&Level::Server) => {
                let sock = end(address, rest.first().unwrap_or(&"0"))?;
                self.real = Some(RealServer { sock, method: None, weight: Some(1), at: reader.at(line) });
                Level::Real
            }
            ["real_server", ..] => return Err("the virtual server that it belongs to could not be read".to_owned()),
            _ => Level::Other,
        };
        self.levels.push(level);
        Ok(())
    }

    fn begin(&mut self, reader: &Reader<'_>, key: ServiceKey, line: &Line<'_>) {
        self.fwmark = matches!(key, ServiceKey::Fwmark(_));
        let proto = if self.fwmark { None } else { Some(Proto::Tcp) };
        self.method = None;
        let at = reader.at(line);
        self.service = Some(Service { proto, key, scheduler: None, persistence: None, one_packet: false, reals: Vec::new(), at });
    }

    fn close(&mut self, reader: &mut Reader<'_>) {
        match self.levels.pop() {
            Some(Level::Real) => {
                if let (Some(service), Some(real)) = (self.service.as_mut(), self.real.take()) {
                    service.reals.push(real);
                }
            }
            Some(Level::Server) => {
                if let Some(mut service) = self.service.take() {
                    for real in &mut service.reals {
                        real.method = real.method.or(self.method);
                    }
                    reader.into.services.push(service);
                }
            }
            Some(Level::Other) | None => {}
        }
    }

    fn setting(&mut self, reader: &mut Reader<'_>, words: &[&str], line: &Line<'_>) -> Result<bool, String> {
        match words {
            ["lvs_timeouts", pairs @ ..] => return timeouts(reader, pairs, line).map(|()| true),
            ["include", ..] => {
                reader.note(line, "what is included is not opened; give those files too");
                return Ok(true);
            }
            _ => {}
        }
        let level = self.levels.last().copied();
        if let (Some(Level::Real), ["weight", value], Some(real)) = (level, words, self.real.as_mut()) {
            real.weight = Some(number(value).ok_or_else(|| format!("'{}' is no weight", short(value)))?);
            return Ok(true);
        }
        if let (Some(Level::Real), ["lvs_method" | "lb_kind", value], Some(real)) = (level, words, self.real.as_mut()) {
            real.method = Some(method(value)?);
            return Ok(true);
        }
        let (Some(Level::Server), Some(service)) = (level, self.service.as_mut()) else { return Ok(false) };
        match words {
            ["protocol", name] => {
                let proto = match *name {
                    "TCP" => Proto::Tcp,
                    "UDP" => Proto::Udp,
                    "SCTP" => {
                        self.service = None;
                        return Ok(false);
                    }
                    other => return Err(format!("'{}' is no protocol; there are TCP, UDP and SCTP", short(other))),
                };
                if !self.fwmark {
                    service.proto = Some(proto);
                }
            }
            ["lb_algo" | "lvs_sched", name] => service.scheduler = Scheduler::from_word(name),
            ["lb_kind" | "lvs_method", name] => self.method = Some(method(name)?),
            ["persistence_timeout"] => service.persistence = Some(Duration::from_secs(PERSISTENCE)),
            ["persistence_timeout", value] => {
                let seconds = number(value).ok_or_else(|| format!("'{}' is no number of seconds", short(value)))?;
                service.persistence = Some(Duration::from_secs(seconds));
            }
            ["ops"] => service.one_packet = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn end(address: &str, port: &str) -> Result<Sock, String> {
    let bad = || format!("'{} {}' is no address and port, as '192.0.2.1 22'", short(address), short(port));
    Ok(Sock { addr: addr(address).ok_or_else(bad)?, port: number(port).ok_or_else(bad)? })
}

fn method(name: &str) -> Result<Method, String> {
    match name {
        "NAT" => Ok(Method::Nat),
        "DR" => Ok(Method::Dr),
        "TUN" => Ok(Method::Tun),
        other => Err(format!("'{}' is no way to forward; there are NAT, DR and TUN", short(other))),
    }
}

/// `tcp 900 tcpfin 120 udp 300`.
fn timeouts(reader: &mut Reader<'_>, pairs: &[&str], line: &Line<'_>) -> Result<(), String> {
    let mut values = [None; 3];
    let bad = || "lvs_timeouts takes tcp, tcpfin and udp with seconds, as in 'tcp 900 udp 300'".to_owned();
    if pairs.is_empty() {
        return Err(bad());
    }
    for pair in pairs.chunks(2) {
        let [name, value] = pair else { return Err(bad()) };
        let slot = ["tcp", "tcpfin", "udp"].iter().position(|known| known == name).and_then(|at| values.get_mut(at)).ok_or_else(bad)?;
        let seconds = number::<u64>(value).ok_or_else(bad)?;
        *slot = (seconds > 0).then(|| Duration::from_secs(seconds));
    }
    let [tcp, tcpfin, udp] = values;
    let at = reader.at(line);
    reader.into.ipvs_timeouts.push(IpvsTimeouts { tcp, tcpfin, udp, source: TimeoutSource::Keepalived, at });
    Ok(())
}
