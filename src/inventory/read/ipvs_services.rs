//! Virtual services and their real servers: `ipvsadm -Sn`, `ipvsadm -Ln`, /proc/net/ip_vs; and `ipvsadm -l --timeout`.
//!
//! Source: the spec's ipvs.md sections 11.1, 11.2, 11.5 and 11.6, and what ipvsadm 1.31 and kernel 6.1 print.

use super::words::{addr, hex, named_sock, number, short, sock};
use super::{Line, Reader};
use crate::inventory::{IpvsTimeouts, Kind, RealServer, Service, ServiceKey, TimeoutSource};
use crate::net::{Addr, Proto, Sock};
use crate::policy::ipvs::{Method, Scheduler};
use crate::time::Duration;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What `ipvsadm -l --timeout` prints.
const TIMEOUTS: &str = "Timeout (tcp tcpfin udp):";
/// ipvsadm takes no more (31 days).
const TIMEOUT_MAX: u64 = 31 * 86_400;
/// What ipvsadm takes where `-p` has no number.
const PERSISTENCE: u64 = 360;

/// What a line is, if it is one of these.
pub(super) fn sign(line: &str) -> Option<Kind> {
    let start = line.trim();
    let words: Vec<&str> = start.split_ascii_whitespace().take(4).collect();
    if start.starts_with("Timeout (tcp") || words.first() == Some(&"ipvsadm") && words.get(1) == Some(&"--set") {
        return Some(Kind::IpvsTimeouts);
    }
    let services = match words.as_slice() {
        ["IP", "Virtual", "Server", ..] | ["Prot", "LocalAddress:Port", ..] | ["->", "RemoteAddress:Port", ..] | ["FWM", ..] => true,
        ["ipvsadm", rest @ ..] => matches!(rest, ["-A" | "-a" | "-E" | "-e", ..]),
        ["-A" | "-a" | "-E" | "-e", "-t" | "-u" | "--sctp-service", to, ..] => to.contains(':'),
        ["-A" | "-a" | "-E" | "-e", "-f", mark, ..] => number::<u32>(mark).is_some(),
        ["TCP" | "UDP", key, scheduler, ..] => {
            key.contains(':')
                && !key.starts_with(|c: char| c.is_ascii_digit() && key.len() < 6)
                && scheduler.starts_with(|c: char| c.is_ascii_lowercase())
        }
        ["->", remote, ..] => remote.contains(':'),
        _ => false,
    };
    services.then_some(Kind::IpvsServices)
}

/// The three timeouts.
pub(super) fn timeouts(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    for line in lines {
        let text = line.text.trim();
        let command = text.strip_prefix("ipvsadm ").and_then(|rest| rest.trim_start().strip_prefix("--set "));
        let (values, source) = if let Some(values) = text.strip_prefix(TIMEOUTS) {
            (values, TimeoutSource::Shown)
        } else if let Some(values) = command {
            (values, TimeoutSource::Set)
        } else if text.is_empty() || text.starts_with('#') {
            continue;
        } else {
            reader.unread(line, Kind::IpvsTimeouts, format!("ipvsadm's timeouts are printed as '{TIMEOUTS} 900 120 300'"));
            continue;
        };
        set(reader, line, values, source);
    }
}

fn set(reader: &mut Reader<'_>, line: &Line<'_>, values: &str, source: TimeoutSource) {
    let numbers: Vec<Option<u64>> = values.split([' ', '\t', ',']).filter(|word| !word.is_empty()).map(number).collect();
    match numbers.as_slice() {
        [Some(tcp), Some(tcpfin), Some(udp)] if [tcp, tcpfin, udp].into_iter().all(|value| *value <= TIMEOUT_MAX) => {
            let kept = |value: u64| (value > 0).then(|| Duration::from_secs(value));
            let at = reader.at(line);
            reader.open_end(line);
            reader.into.ipvs_timeouts.push(IpvsTimeouts { tcp: kept(*tcp), tcpfin: kept(*tcpfin), udp: kept(*udp), source, at });
        }
        [Some(_), Some(_), Some(_)] => reader.unread(line, Kind::IpvsTimeouts, "ipvsadm takes at most 2678400 s (31 days)"),
        _ => reader.unread(line, Kind::IpvsTimeouts, "three whole numbers of seconds follow: tcp tcpfin udp, as 900 120 300"),
    }
}

/// Which of the three formats a listing is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `ipvsadm -Ln`, with decimal addresses.
    Printed,
    /// /proc/net/ip_vs, in hexadecimal.
    Proc,
}

/// What stands behind the addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Columns {
    /// Forwarding, weight, two counters.
    Forwarding,
    /// Weights or thresholds, and counters; services are whole.
    Weights,
    /// `--stats`, `--rate`: counters, for services too.
    Counters,
}

/// Services that were read, and whether the one that real servers belong to now was one of them.
struct Listing {
    form: Form,
    columns: Columns,
    open: bool,
    names_said: bool,
    /// Where in the inventory the services of this block are.
    known: HashMap<(Option<Proto>, ServiceKey), usize>,
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    let mut listing = Listing { form: Form::Printed, columns: Columns::Forwarding, open: false, names_said: false, known: HashMap::new() };
    for line in lines {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if text.starts_with("IP Virtual Server version")
            || text.starts_with("Prot LocalAddress:Port")
            || text.starts_with("-> RemoteAddress:Port")
        {
            heads(reader, &mut listing, text, line);
            continue;
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let done = match words.as_slice() {
            ["ipvsadm", rest @ ..] => command(reader, &mut listing, rest, line, true),
            [first, ..] if first.starts_with('-') && *first != "->" => command(reader, &mut listing, &words, line, false),
            ["->", rest @ ..] => real(reader, &mut listing, rest, line),
            _ => service(reader, &mut listing, &words, line),
        };
        match done {
            Ok(true) => {}
            Ok(false) => reader.ignore(),
            Err(why) if why.is_empty() => {
                let why = if listing.names_said { "names instead of numbers, as above" } else { NAMES };
                listing.names_said = true;
                reader.unread(line, Kind::IpvsServices, why);
            }
            Err(why) => reader.unread(line, Kind::IpvsServices, why),
        }
    }
}

/// The heads of the columns say what is not shown.
fn heads(reader: &mut Reader<'_>, listing: &mut Listing, text: &str, line: &Line<'_>) {
    let has = |heads: &[&str]| text.split_ascii_whitespace().any(|word| heads.contains(&word));
    if has(&["Conns", "CPS"]) {
        listing.columns = Columns::Counters;
        reader.note(line, "counters do not show scheduler, persistence and forwarding; take 'ipvsadm -Sn' too");
    } else if has(&["PersistConn", "Uthreshold"]) {
        listing.columns = Columns::Weights;
        reader.note(line, "these columns do not show forwarding; take 'ipvsadm -Sn' too");
    } else if has(&["Scheduler"]) {
        listing.columns = Columns::Forwarding;
    }
}

const NAMES: &str = "it has names instead of numbers: take 'ipvsadm -Sn' or 'ipvsadm -Ln', with -n";

fn decimal(word: &str) -> Result<Sock, String> {
    match sock(word) {
        Some(sock) => Ok(sock),
        None if named_sock(word) => Err(String::new()),
        None => Err(format!("'{}' is no address and port, as 192.0.2.1:22 or [2001:db8::1]:22", short(word))),
    }
}

/// `0A000001:0016`, `[2001:0db8:…]:0016`.
fn hexadecimal(word: &str) -> Option<Sock> {
    let (host, port) = word.rsplit_once(':')?;
    let addr = match host.strip_prefix('[') {
        Some(inner) => addr(inner.strip_suffix(']')?)?,
        None => Addr::v4(hex(host, 8)?.to_be_bytes()),
    };
    Some(Sock { addr, port: hex(port, 4)? as u16 })
}

fn schedule(name: &str) -> Result<Option<Scheduler>, String> {
    if name.is_empty() || !name.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_') {
        return Err(format!("'{}' is no scheduler's name", short(name)));
    }
    Ok(Scheduler::from_word(name))
}

/// A service's line in a listing.
fn service(reader: &mut Reader<'_>, listing: &mut Listing, words: &[&str], line: &Line<'_>) -> Result<bool, String> {
    listing.open = false;
    let [proto, key, rest @ ..] = words else { return Err(format!("'{}' begins no service and no real server", short(line.text.trim()))) };
    let proto = match *proto {
        "TCP" => Some(Proto::Tcp),
        "UDP" => Some(Proto::Udp),
        "FWM" => None,
        "SCTP" => return Ok(false),
        other => return Err(format!("a service begins with TCP, UDP or FWM, not with '{}'", short(other))),
    };
    let proc_form = matches!(key.rsplit_once(':'), Some((host, port)) if port.len() == 4 && (hex(host, 8).is_some() || host.starts_with('[')) && hex(port, 4).is_some());
    // Four decimal digits of a port are hexadecimal digits too; an IPv6 address of the kernel's is not compressed.
    let proc_form = proc_form && (!key.starts_with('[') || key.find(']') == Some(40));
    let key = match proto {
        None if rest.is_empty() => return Err("a service has its scheduler's name behind its address".to_owned()),
        None => {
            let mark = if listing.form == Form::Proc || key.len() == 8 { hex(key, 8) } else { number(key) };
            if key.len() == 8 && hex(key, 8).is_some() {
                listing.form = Form::Proc;
            }
            ServiceKey::Fwmark(mark.ok_or_else(|| format!("'{}' is no firewall mark", short(key)))?)
        }
        Some(_) if proc_form => {
            listing.form = Form::Proc;
            ServiceKey::Sock(hexadecimal(key).ok_or_else(|| format!("'{}' is no address and port in hexadecimal", short(key)))?)
        }
        Some(_) => {
            listing.form = Form::Printed;
            ServiceKey::Sock(decimal(key)?)
        }
    };
    if listing.columns == Columns::Counters {
        return counted(reader, listing, proto, key, rest, line);
    }
    let rest = match rest {
        ["IPv6", rest @ ..] if proto.is_none() => rest,
        rest => rest,
    };
    let [name, flags @ ..] = rest else { return Err("a service has its scheduler's name behind its address".to_owned()) };
    let mut service =
        Service { proto, key, scheduler: schedule(name)?, persistence: None, one_packet: false, reals: Vec::new(), at: reader.at(line) };
    let mut ticks = None;
    flags_of(&mut service, flags, listing.form, &mut ticks)?;
    if let Some(ticks) = ticks {
        match reader.into.machine.hz {
            Some(hz) if hz > 0 => service.persistence = Some(Duration(ticks.saturating_mul(1_000_000_000) / u64::from(hz))),
            _ => {
                let why = "its persistence is in ticks of the kernel, and CONFIG_HZ is not known: take 'ipvsadm -Sn', or the collector's \
                           bundle";
                return Err(why.to_owned());
            }
        }
    }
    listing.open = true;
    reader.into.services.push(service);
    Ok(true)
}

/// `ops`, `persistent 360 mask 255.255.255.0`, `pe sip`.
fn flags_of(service: &mut Service, mut flags: &[&str], form: Form, ticks: &mut Option<u64>) -> Result<(), String> {
    loop {
        flags = match flags {
            [] => return Ok(()),
            ["ops", rest @ ..] => {
                service.one_packet = true;
                rest
            }
            ["persistent", value, rest @ ..] => {
                let value = number::<u64>(value).ok_or_else(|| format!("'{}' is no persistence timeout", short(value)))?;
                match form {
                    Form::Printed => service.persistence = Some(Duration::from_secs(value)),
                    Form::Proc => *ticks = Some(value),
                }
                // A mask in hexadecimal follows in /proc.
                match rest {
                    [mask, rest @ ..] if form == Form::Proc && hex(mask, 8).is_some() => rest,
                    rest => rest,
                }
            }
            ["mask" | "pe", _, rest @ ..] => rest,
            [flag, rest @ ..] if flag.starts_with('(') || is_service_flags(flag) => rest,
            [other, ..] => {
                return Err(format!("'{}' has no place behind a scheduler; there are ops, persistent, mask and pe", short(other)));
            }
        };
    }
}

/// `flag-1,flag-2`, `sh-fallback`: what ipvsadm prints for `-b`.
fn is_service_flags(word: &str) -> bool {
    word.starts_with("flag-") || word.starts_with("sh-") || word.starts_with("mh-")
}

/// A service's line in a listing of counters: it has no scheduler.
fn counted(
    reader: &mut Reader<'_>,
    listing: &mut Listing,
    proto: Option<Proto>,
    key: ServiceKey,
    rest: &[&str],
    line: &Line<'_>,
) -> Result<bool, String> {
    let rest = if rest.first() == Some(&"IPv6") { &rest[1..] } else { rest };
    if rest.len() != 5 || !rest.iter().all(|word| counter(word)) {
        return Err("behind the address stand five counters alone".to_owned());
    }
    let at = reader.at(line);
    let Entry::Vacant(place) = listing.known.entry((proto, key)) else { return Ok(true) };
    place.insert(reader.into.services.len());
    reader.into.services.push(Service { proto, key, scheduler: None, persistence: None, one_packet: false, reals: Vec::new(), at });
    listing.open = true;
    Ok(true)
}

/// A counter, perhaps in thousands or more: `1234`, `120K`.
fn counter(word: &str) -> bool {
    number::<u64>(word.trim_end_matches(['K', 'M', 'G', 'T'])).is_some()
}

/// A real server's line in a listing.
fn real(reader: &mut Reader<'_>, listing: &mut Listing, words: &[&str], line: &Line<'_>) -> Result<bool, String> {
    let [address, rest @ ..] = words else { return Err("a real server's address is missing".to_owned()) };
    if listing.columns != Columns::Forwarding {
        return Ok(false);
    }
    if !listing.open {
        return Err("the service that it belongs to could not be read".to_owned());
    }
    let sock = match listing.form {
        Form::Printed => decimal(address)?,
        Form::Proc => hexadecimal(address).ok_or_else(|| format!("'{}' is no address and port in hexadecimal", short(address)))?,
    };
    let method = match rest.first() {
        Some(&"Masq") => Some(Method::Nat),
        Some(&"Route") => Some(Method::Dr),
        Some(&"Tunnel") => Some(Method::Tun),
        Some(&"Local") => None,
        other => return Err(format!("'{}' is no way to forward: Masq, Route, Tunnel or Local", short(other.unwrap_or(&"")))),
    };
    // Weight, active and inactive connections; or thresholds; or counters of persistent connections.
    let weight = rest.get(1).and_then(|word| number(word)).ok_or("its weight is missing")?;
    if rest.len() < 4 || !rest[1..].iter().all(|word| counter(word)) {
        return Err("behind its weight stand two counters".to_owned());
    }
    let real = RealServer { sock, method, weight: Some(weight), at: reader.at(line) };
    if let Some(service) = reader.into.services.last_mut() {
        service.reals.push(real);
    }
    Ok(true)
}

/// A line of `ipvsadm -Sn`, or the same as a command that was typed.
fn command(reader: &mut Reader<'_>, listing: &mut Listing, words: &[&str], line: &Line<'_>, typed: bool) -> Result<bool, String> {
    let [what, rest @ ..] = words else { return Ok(false) };
    let adds_service = matches!(*what, "-A" | "-E" | "--add-service" | "--edit-service");
    let adds_real = matches!(*what, "-a" | "-e" | "--add-server" | "--edit-server");
    if !adds_service && !adds_real {
        return Ok(false);
    }
    let (proto, key, mut rest) = match rest {
        ["-t" | "--tcp-service", key, rest @ ..] => (Some(Proto::Tcp), ServiceKey::Sock(decimal(key)?), rest),
        ["-u" | "--udp-service", key, rest @ ..] => (Some(Proto::Udp), ServiceKey::Sock(decimal(key)?), rest),
        ["-f" | "--fwmark-service", mark, rest @ ..] => {
            (None, ServiceKey::Fwmark(number(mark).ok_or_else(|| format!("'{}' is no firewall mark", short(mark)))?), rest)
        }
        ["--sctp-service", ..] => return Ok(false),
        _ => return Err("a service is -t ADDRESS:PORT, -u ADDRESS:PORT or -f MARK".to_owned()),
    };
    let at = reader.at(line);
    let mut service = Service { proto, key, scheduler: None, persistence: None, one_packet: false, reals: Vec::new(), at: at.clone() };
    let mut real: Option<RealServer> = None;
    let (mut method, mut weight) = (None, None);
    loop {
        rest = match rest {
            [] => break,
            ["-s" | "--scheduler", name, rest @ ..] if adds_service => {
                service.scheduler = schedule(name)?;
                rest
            }
            ["-p" | "--persistent", value, rest @ ..] if adds_service && !value.starts_with('-') => {
                let seconds = number::<u64>(value).ok_or_else(|| format!("'{}' is no persistence timeout", short(value)))?;
                service.persistence = Some(Duration::from_secs(seconds));
                rest
            }
            ["-p" | "--persistent", rest @ ..] if adds_service && typed => {
                service.persistence = Some(Duration::from_secs(PERSISTENCE));
                rest
            }
            ["-o" | "--ops" | "ops", rest @ ..] if adds_service => {
                service.one_packet = true;
                rest
            }
            ["-6" | "--ipv6", rest @ ..] => rest,
            ["-M" | "--netmask" | "pe" | "--pe" | "-b" | "--sched-flags", _, rest @ ..] if adds_service => rest,
            ["-r" | "--real-server", server, rest @ ..] if adds_real => {
                real = Some(RealServer { sock: decimal(server)?, method: None, weight: None, at: at.clone() });
                rest
            }
            ["-m" | "--masquerading", rest @ ..] if adds_real => {
                method = Some(Method::Nat);
                rest
            }
            ["-i" | "--ipip", rest @ ..] if adds_real => {
                method = Some(Method::Tun);
                rest
            }
            ["-g" | "--gatewaying", rest @ ..] if adds_real => {
                method = Some(Method::Dr);
                rest
            }
            ["-w" | "--weight", value, rest @ ..] if adds_real => {
                weight = Some(number(value).ok_or_else(|| format!("'{}' is no weight", short(value)))?);
                rest
            }
            ["-x" | "-y" | "--u-threshold" | "--l-threshold" | "--tun-type" | "--tun-port", value, rest @ ..]
                if adds_real && !value.starts_with('-') =>
            {
                rest
            }
            ["--tun-nocsum" | "--tun-csum" | "--tun-remcsum", rest @ ..] if adds_real => rest,
            [other, ..] => return Err(format!("'{}' has no place in this line, or lacks what follows it", short(other))),
        };
    }
    if adds_service && !typed && !words.contains(&"-s") {
        return Err("it seems to be cut off: the scheduler (-s) follows the service".to_owned());
    }
    if adds_service {
        reader.open_end(line);
        listing.known.insert((proto, key), reader.into.services.len());
        reader.into.services.push(service);
        return Ok(true);
    }
    let Some(mut real) = real else { return Err("a real server is -r ADDRESS:PORT".to_owned()) };
    (real.method, real.weight) = (method, weight);
    // What was typed may leave both to their defaults.
    if !typed && (real.weight.is_none() || real.method.is_none()) {
        return Err("it seems to be cut off: forwarding (-g, -i or -m) and weight (-w) follow the real server".to_owned());
    }
    let owner = listing.known.get(&(proto, key)).and_then(|at| reader.into.services.get_mut(*at));
    match owner {
        Some(owner) => {
            owner.reals.push(real);
            reader.open_end(line);
            Ok(true)
        }
        None => Err("the service that it belongs to is not among those that were read".to_owned()),
    }
}
