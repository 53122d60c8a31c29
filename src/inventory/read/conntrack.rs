//! `conntrack -L` and `conntrack -E`, /proc/net/nf_conntrack and /proc/net/ip_conntrack.
//!
//! Source: the spec's conntrack.md sections 8.1 to 8.3, and what conntrack-tools 1.4 and kernels 6.1 and 6.18 print. A listed entry
//! ends with `use=`; one that does not was cut. Keys that no version prints are damage.

use super::words::{addr, instant, number, short};
use super::{Line, Reader};
use crate::inventory::{At, ConntrackEntry, ConntrackEvent, Happened, Kind, Tuple};
use crate::net::{Addr, Proto, Sock};
use crate::policy::hint::nearest;
use crate::time::{Duration, Instant};

/// The states of TCP entries, as all versions print them.
const STATES: [&str; 11] =
    ["NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2", "LISTEN"];
/// What else stands behind the tuples, and says nothing here.
const OTHER_KEYS: [&str; 11] =
    ["mark", "secmark", "secctx", "delta-time", "id", "helper", "labels", "zone-reply", "portid", "progname", "timeout"];
/// The tags of events.
const TAGS: [(&str, Happened); 3] = [("[NEW]", Happened::New), ("[UPDATE]", Happened::Update), ("[DESTROY]", Happened::Destroy)];

/// What a line is, if it is one of these.
pub(super) fn sign(line: &str) -> Option<Kind> {
    let start = line.trim_start();
    if start.starts_with("conntrack v") && start.contains("flow e") {
        return Some(if start.contains("events") { Kind::ConntrackEvents } else { Kind::Conntrack });
    }
    if start.starts_with("-A -t ")
        && (start.contains(" --reply-port-src ") || start.contains(" -u SEEN_REPLY") || start.contains(" -u UNSET"))
        || start.starts_with("<conntrack>")
        || start.starts_with("<flow")
    {
        return Some(Kind::Conntrack);
    }
    let fields = ["src=", "dst=", "sport=", "dport="].iter().filter(|field| line.contains(**field)).count();
    let tagged = TAGS.iter().any(|(tag, _)| start.starts_with(tag) || start.starts_with('[') && start.contains(tag));
    if tagged && fields >= 1 {
        return Some(Kind::ConntrackEvents);
    }
    let named =
        ["tcp ", "udp ", "ipv4 ", "ipv6 ", "icmp ", "icmpv6 ", "gre ", "sctp ", "dccp ", "unknown "].iter().any(|l4| start.starts_with(l4));
    // A packet filter's log has capitals, and a nft rule has no `=`.
    if fields >= 3 || named && fields >= 2 { Some(Kind::Conntrack) } else { None }
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>], kind: Kind) {
    for line in reader.going(lines) {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(why) = other_format(text) {
            reader.unread(line, kind, why);
            continue;
        }
        // What conntrack says on its standard error.
        if text.starts_with("conntrack v") || text.starts_with("nfct_labelmap_new:") || text.starts_with("WARNING: ") {
            continue;
        }
        match parse(text, reader.at(line)) {
            Ok(Some(Parsed::Entry(entry))) => reader.into.conntrack.push(*entry),
            Ok(Some(Parsed::Event(event))) => {
                reader.open_end(line);
                reader.into.events.push(*event);
            }
            Ok(None) => reader.ignore(),
            Err(why) => reader.unread(line, kind, why),
        }
    }
}

/// Formats of conntrack's that are named and not read.
fn other_format(text: &str) -> Option<&'static str> {
    if text.starts_with("-A -t ") || text.starts_with("-I -t ") || text.starts_with("-D -t ") {
        return Some("this is 'conntrack -o save', which is not read here; take 'conntrack -L'");
    }
    if text.starts_with('<') {
        return Some("this is 'conntrack -o xml', which is not read here; take 'conntrack -L'");
    }
    None
}

enum Parsed {
    Entry(Box<ConntrackEntry>),
    Event(Box<ConntrackEvent>),
}

/// The words of a line, one after the other.
struct Words<'t> {
    rest: std::iter::Peekable<std::str::SplitAsciiWhitespace<'t>>,
}

impl<'t> Words<'t> {
    fn next(&mut self) -> Option<&'t str> {
        self.rest.next()
    }

    fn next_if(&mut self, wanted: impl FnOnce(&str) -> bool) -> Option<&'t str> {
        self.rest.next_if(|word| wanted(word))
    }
}

fn parse(text: &str, at: At) -> Result<Option<Parsed>, String> {
    let mut words = Words { rest: text.split_ascii_whitespace().peekable() };
    let mut time: Option<Instant> = None;
    if let Some(stamp) = words.next_if(|word| word.starts_with('[') && word.as_bytes().get(1).is_some_and(u8::is_ascii_digit)) {
        let inner = stamp.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        time = Some(inner.and_then(instant).ok_or_else(|| format!("'{}' is no time, as in '[1718031234.123456]'", short(stamp)))?);
    }
    let tag = words.next_if(|word| TAGS.iter().any(|(tag, _)| *tag == word));
    let happened = tag.and_then(|word| TAGS.iter().find(|(tag, _)| *tag == word)).map(|(_, happened)| *happened);
    if time.is_some() && happened.is_none() {
        return Err("an event is [NEW], [UPDATE] or [DESTROY]".to_owned());
    }
    let family = match words.next_if(|word| word == "ipv4" || word == "ipv6") {
        Some(name) => {
            let (wanted, six) = if name == "ipv6" { ("10", true) } else { ("2", false) };
            if words.next() != Some(wanted) {
                return Err(format!("behind '{name}' stands its number, {wanted}"));
            }
            Some(six)
        }
        None => None,
    };
    let Some(proto) = protocol(&mut words)? else { return Ok(None) };
    let entry = fields(proto, &mut words, happened.is_some(), at)?;
    if family.is_some_and(|six| six != entry.original.src.addr.is_v6()) {
        return Err("its addresses are of the other family than its beginning says".to_owned());
    }
    match happened {
        None => Ok(Some(Parsed::Entry(Box::new(entry)))),
        Some(happened) => {
            cut_port(text, &entry)?;
            Ok(Some(Parsed::Event(Box::new(ConntrackEvent { time, happened, entry }))))
        }
    }
}

/// TCP or UDP; nothing for another protocol.
fn protocol(words: &mut Words<'_>) -> Result<Option<Proto>, String> {
    let name = words.next().unwrap_or_default();
    let code = words.next().unwrap_or_default();
    match (name, number::<u8>(code)) {
        ("tcp", Some(6)) => Ok(Some(Proto::Tcp)),
        ("udp", Some(17)) => Ok(Some(Proto::Udp)),
        ("tcp" | "udp", _) | (_, Some(6 | 17)) => {
            Err(format!("an entry begins with 'tcp 6' or 'udp 17', and not with '{} {}'", short(name), short(code)))
        }
        (name, Some(_)) if !name.is_empty() && name.bytes().all(|letter| letter.is_ascii_alphanumeric()) => Ok(None),
        _ => Err(format!("an entry begins with its protocol and number, as 'tcp 6', not with '{}'", short(name))),
    }
}

/// What was found of one direction.
#[derive(Default)]
struct Half {
    src: Option<Addr>,
    dst: Option<Addr>,
    sport: Option<u16>,
    dport: Option<u16>,
    packets: Option<u64>,
}

impl Half {
    fn tuple(&self) -> Option<Tuple> {
        let (src, dst) = (self.src?, self.dst?);
        (src.is_v6() == dst.is_v6())
            .then_some(Tuple { src: Sock { addr: src, port: self.sport? }, dst: Sock { addr: dst, port: self.dport? } })
    }
}

/// Fills what is empty yet.
fn once<T>(slot: &mut Option<T>, key: &str, value: Option<T>, text: &str) -> Result<(), String> {
    let value = value.ok_or_else(|| format!("'{}' is no value for {key}", short(text)))?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{key} stands there once too often")),
    }
}

fn fields(proto: Proto, words: &mut Words<'_>, event: bool, at: At) -> Result<ConntrackEntry, String> {
    let left = match words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
        Some(word) => Some(number::<u32>(word).ok_or_else(|| format!("'{}' is no number of seconds", short(word)))?),
        None => None,
    };
    let state = match words.next_if(|word| !word.contains('=') && !word.starts_with('[')) {
        Some(word) => Some(state(proto, word)?),
        None => None,
    };
    let mut halves = [Half::default(), Half::default()];
    let (mut assured, mut unreplied, mut offloaded, mut user_space) = (false, false, false, false);
    let (mut zone, mut zone_orig, mut used): (Option<u16>, Option<u16>, Option<u32>) = (None, None, None);
    while let Some(word) = words.next() {
        if word.starts_with("[start=") || word.starts_with("[stop=") {
            // A date with blanks in it, up to its bracket.
            let mut last = word;
            while !last.ends_with(']') {
                last = words.next().ok_or("the date in brackets has no end")?;
            }
            continue;
        }
        if word.starts_with('[') {
            match word {
                "[ASSURED]" => assured = true,
                "[UNREPLIED]" => unreplied = true,
                "[OFFLOAD]" | "[HW_OFFLOAD]" => offloaded = true,
                "[USERSPACE]" => user_space = true,
                _ => return Err(format!("'{}' is no mark of an entry", short(word))),
            }
            continue;
        }
        let Some((key, value)) = word.split_once('=') else {
            return Err(format!("'{}' has no place in an entry: fields are key=value", short(word)));
        };
        let [original, reply] = &mut halves;
        let half = if reply.src.is_some() || key == "src" && original.src.is_some() { reply } else { original };
        match key {
            "src" => once(&mut half.src, key, addr(value), value)?,
            "dst" => once(&mut half.dst, key, addr(value), value)?,
            "sport" => once(&mut half.sport, key, number(value), value)?,
            "dport" => once(&mut half.dport, key, number(value), value)?,
            "packets" => once(&mut half.packets, key, number(value), value)?,
            "bytes" => drop(number::<u64>(value).ok_or_else(|| format!("'{}' is no number of bytes", short(value)))?),
            "zone" => once(&mut zone, key, number(value), value)?,
            "zone-orig" => once(&mut zone_orig, key, number(value), value)?,
            "use" => once(&mut used, key, number(value), value)?,
            // Programs have names with blanks; it is the last field.
            "progname" if user_space => while words.next().is_some() {},
            _ if OTHER_KEYS.contains(&key) => {}
            _ => return Err(unknown_key(key)),
        }
    }
    let [original, reply] = halves;
    let Some(from) = original.tuple() else { return Err("it lacks src, dst, sport and dport of one family, in that order".to_owned()) };
    let back = reply.tuple();
    if back.is_none() {
        return Err("it ends before the reply direction's src, dst, sport and dport are complete".to_owned());
    }
    if back.is_some_and(|back| back.src.addr.is_v6() != from.src.addr.is_v6()) {
        return Err("its two directions are of different families".to_owned());
    }
    if !event {
        if used.is_none() {
            return Err("it is cut off: an entry ends with 'use=' and a number".to_owned());
        }
        if !offloaded && (left.is_none() || proto == Proto::Tcp && state.is_none()) {
            return Err("it lacks its seconds, or its state".to_owned());
        }
    }
    let packets = original.packets.zip(reply.packets).map(|(there, back)| [there, back]);
    if original.packets.is_some() != reply.packets.is_some() {
        return Err("one direction counts packets and the other does not".to_owned());
    }
    Ok(ConntrackEntry {
        proto,
        left: left.map(|seconds| Duration::from_secs(u64::from(seconds))),
        state,
        original: from,
        reply: back,
        assured,
        unreplied,
        offloaded,
        zone: zone.or(zone_orig).unwrap_or(0),
        packets,
        at,
    })
}

fn state(proto: Proto, word: &str) -> Result<String, String> {
    if proto == Proto::Tcp && STATES.contains(&word) {
        return Ok(word.to_owned());
    }
    let meant = nearest(word, STATES).filter(|_| proto == Proto::Tcp);
    Err(match meant {
        Some(meant) => format!("'{}' is no state; did you mean {meant}?", short(word)),
        None => format!("'{}' is no state of a {} entry", short(word), proto.name()),
    })
}

fn unknown_key(key: &str) -> String {
    let known = ["src", "dst", "sport", "dport", "packets", "bytes", "zone", "zone-orig", "use"].into_iter().chain(OTHER_KEYS);
    match nearest(key, known) {
        Some(meant) => format!("no entry has a field '{}'; did you mean '{meant}'?", short(key)),
        None => format!("no entry has a field '{}'", short(key)),
    }
}

/// An event's line may end with a port, and then nothing tells whether it is whole, except that it nearly always is the port that the
/// other direction began with.
fn cut_port(text: &str, entry: &ConntrackEntry) -> Result<(), String> {
    let Some(reply) = entry.reply else { return Ok(()) };
    let at_end = text.rsplit_once("dport=").is_some_and(|(_, rest)| number::<u16>(rest).is_some());
    let (whole, part) = (entry.original.src.port.to_string(), reply.dst.port.to_string());
    if at_end && whole != part && whole.starts_with(&part) {
        return Err(format!("it seems to be cut off in its last port, {part}: the other direction has {whole}"));
    }
    Ok(())
}
