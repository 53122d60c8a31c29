//! `ss -tno` with any further options, and `netstat -tno`.
//!
//! Source: what ss of iproute2 6.1 and netstat of net-tools 2.10 print, and how ss writes spans in all its versions: minutes without
//! seconds from ten on, seconds without their fraction from ten on, and below ten `7.716ms` (since 2025 `7.716sec`) for 7.716 s. So a
//! timer is never shorter than what is read, and less than a minute longer.

use super::words::{named_sock, number, seconds, short, sock, unmapped};
use super::{Line, Reader};
use crate::inventory::{Kind, Socket, SocketTimer};
use crate::net::Sock;
use crate::policy::hint::nearest;
use crate::time::Duration;

/// ss's names of the states, and netstat's.
const STATES: [(&str, &str); 14] = [
    ("ESTAB", "ESTABLISHED"),
    ("SYN-SENT", "SYN_SENT"),
    ("SYN-RECV", "SYN_RECV"),
    ("FIN-WAIT-1", "FIN_WAIT1"),
    ("FIN-WAIT-2", "FIN_WAIT2"),
    ("TIME-WAIT", "TIME_WAIT"),
    ("UNCONN", "CLOSE"),
    ("CLOSE-WAIT", "CLOSE_WAIT"),
    ("LAST-ACK", "LAST_ACK"),
    ("LISTEN", "LISTEN"),
    ("CLOSING", "CLOSING"),
    ("NEW-SYN-RECV", "NEW_SYN_RECV"),
    ("BOUND-INACTIVE", "BOUND_INACTIVE"),
    ("UNKNOWN", "UNKNOWN"),
];
/// What ss shows of other sockets in its first column.
const OTHER_SOCKETS: [&str; 15] =
    ["udp", "raw", "u_str", "u_dgr", "u_seq", "nl", "p_raw", "p_dgr", "sctp", "dccp", "icmp6", "v_str", "mptcp", "xdp", "tipc"];

/// Whether a line is one of these.
pub(super) fn sign(line: &str) -> bool {
    if line.starts_with([' ', '\t']) {
        return false;
    }
    if is_header(line) {
        return true;
    }
    let words: Vec<&str> = line.split_ascii_whitespace().take(6).collect();
    let known = |word: &&str| STATES.iter().any(|(state, _)| state == word);
    let counts = |two: &[&str]| two.len() == 2 && two.iter().all(|word| number::<u64>(word).is_some());
    match words.as_slice() {
        ["tcp", state, rest @ ..] if known(state) => counts(&rest[..rest.len().min(2)]),
        ["tcp" | "tcp6", one, two, local, ..] => counts(&[one, two]) && local.contains(':'),
        [state, rest @ ..] if known(state) => counts(&rest[..rest.len().min(2)]),
        _ => false,
    }
}

fn is_header(line: &str) -> bool {
    line.starts_with("Active Internet connections") || line.contains("Recv-Q") && line.contains("Send-Q")
}

/// What the heads of the columns say about the lines below.
#[derive(Clone, Copy, Default)]
struct Columns {
    /// How wide each line is, where ss fills them all with blanks.
    width: Option<usize>,
    /// Whether netstat printed its timer column.
    netstat_timer: bool,
    /// Whether ss printed what `-e` adds, to each line.
    extended: bool,
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    // With -i, lines are not filled.
    let internals = lines.iter().any(|line| line.text.starts_with('\t'));
    let extended = lines.iter().any(|line| line.text.contains(" sk:"));
    let filled = if internals { None } else { filled(lines) };
    let mut columns = Columns { width: filled, extended, ..Columns::default() };
    let mut advised = false;
    // Whether the socket that a further line is about was read.
    let mut open = false;
    for line in reader.going(lines) {
        if line.is_blank() || line.text.starts_with('#') {
            continue;
        }
        if is_header(line.text) {
            let width = line.text.chars().count();
            let padded = !internals && line.text.ends_with(' ');
            columns = Columns { width: if padded { Some(width) } else { filled }, netstat_timer: line.text.contains("Timer"), extended };
            continue;
        }
        if line.text.starts_with([' ', '\t']) {
            further(reader, line, open);
            continue;
        }
        open = false;
        match parse(reader, line, columns) {
            Ok(Some(socket)) => {
                open = true;
                if columns.width.is_none() {
                    reader.open_end(line);
                }
                reader.into.sockets.push(socket);
            }
            Ok(None) => reader.ignore(),
            Err(why) if why.is_empty() => {
                let why =
                    if advised { "names instead of numbers, as above" } else { "it has names instead of numbers: take 'ss -tno', with -n" };
                advised = true;
                reader.unread(line, Kind::Sockets, why);
            }
            Err(why) => reader.unread(line, Kind::Sockets, why),
        }
    }
}

/// How wide lines are, where most are of the width of the widest and some of those end with a blank.
fn filled(lines: &[Line<'_>]) -> Option<usize> {
    let width = |line: &Line<'_>| line.text.chars().count();
    let widest = lines.iter().map(width).max()?;
    let (full, blank) = lines
        .iter()
        .filter(|line| width(line) == widest)
        .fold((0, false), |(full, blank), line| (full + 1, blank || line.text.ends_with(' ')));
    (blank && full >= 3 && full * 2 > lines.len()).then_some(widest)
}

/// A line that goes on about the socket above: internals with `-i`, or columns that did not fit the terminal.
fn further(reader: &mut Reader<'_>, line: &Line<'_>, open: bool) {
    let found = details(line.text);
    match (found, reader.into.sockets.last_mut()) {
        (Ok((None, None)), _) | (Ok(_), None) => {}
        (Ok((timer, program)), Some(socket)) if open => {
            socket.timer = timer.or(socket.timer);
            socket.program = program.or(socket.program.take());
        }
        (Ok(_), Some(_)) => reader.unread(line, Kind::Sockets, "the socket that it is about could not be read"),
        (Err(why), _) => reader.unread(line, Kind::Sockets, why),
    }
}

/// A socket; nothing for listening ones and other protocols. An empty reason stands for names instead of numbers.
fn parse(reader: &Reader<'_>, line: &Line<'_>, columns: Columns) -> Result<Option<Socket>, String> {
    let words: Vec<&str> = line.text.split_ascii_whitespace().take(7).collect();
    let numbers = |one: &str, two: &str| number::<u64>(one).is_some() && number::<u64>(two).is_some();
    let from = match words.as_slice() {
        [proto, ..] if OTHER_SOCKETS.contains(proto) => return Ok(None),
        ["tcp" | "tcp6", one, two, ..] if numbers(one, two) => return netstat(reader, line, columns),
        ["tcp", ..] => 1,
        _ => 0,
    };
    let [state, received, sent, local, peer, ..] = words.get(from..).unwrap_or_default() else {
        return Err("a socket has its state, two queues, and two addresses; the line seems to be cut off".to_owned());
    };
    if !STATES.iter().any(|(known, _)| known == state) {
        return Err(match nearest(state, STATES.iter().map(|(known, _)| *known)) {
            Some(meant) => format!("'{}' is no state; did you mean {meant}?", short(state)),
            None => format!("'{}' is no state of a socket", short(state)),
        });
    }
    if matches!(*state, "LISTEN" | "UNCONN") {
        return Ok(None);
    }
    let queue = |word: &str| number::<u64>(word).ok_or_else(|| format!("'{}' is no number of bytes in a queue", short(word)));
    let queues = [queue(received)?, queue(sent)?];
    let (local_end, peer_end) = (end(local)?, end(peer)?);
    if columns.width.is_some_and(|width| line.text.chars().count() < width) {
        return Err("it is shorter than the lines around it, which ss fills with blanks: it seems to be cut off".to_owned());
    }
    let rest = line.text.find(peer).and_then(|_| after(line.text, peer)).unwrap_or_default();
    if columns.extended && !rest.contains(" sk:") {
        return Err("it lacks what -e adds to the lines around it: it seems to be cut off".to_owned());
    }
    let (timer, program) = details(rest)?;
    Ok(Some(Socket { state: (*state).to_owned(), local: local_end, peer: peer_end, queues, timer, program, at: reader.at(line) }))
}

/// What stands behind a word that is a part of the text.
fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let start = (word.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    text.get(start + word.len()..)
}

/// An address and port, without the interface that it is bound to; an IPv4 address in IPv6 is an IPv4 address.
fn end(word: &str) -> Result<Sock, String> {
    let bad = || format!("'{}' is no address and port, as 192.0.2.1:22 or [2001:db8::1]:22", short(word));
    // The interface stands behind the address, `[fe80::1]%eth0:22`; other tools have it inside the brackets.
    let plain = match word.split_once('%') {
        None => word.to_owned(),
        Some((host, rest)) => {
            let inside = host.starts_with('[') && !host.ends_with(']');
            let (name, port) = if inside { rest.split_once("]:") } else { rest.rsplit_once(':') }.ok_or_else(bad)?;
            if name.is_empty() || inside && !host.starts_with("[fe80:") {
                return Err(bad());
            }
            format!("{host}{}:{port}", if inside { "]" } else { "" })
        }
    };
    match sock(&plain) {
        Some(sock) => Ok(unmapped(sock)),
        None if named_sock(&plain) => Err(String::new()),
        None => Err(bad()),
    }
}

type Details = (Option<(SocketTimer, Duration, u32)>, Option<String>);

/// The timer and the program among what follows the addresses.
fn details(text: &str) -> Result<Details, String> {
    let mut rest = text.trim();
    let mut program = None;
    if let Some((before, users)) = rest.split_once("users:((") {
        // A program's name may hold anything but what ends it.
        let named = users.strip_prefix('"').and_then(|named| named.split_once("\",pid="));
        let Some((name, tail)) = named else { return Err("the list of programs is damaged".to_owned()) };
        let Some((_, behind)) = tail.split_once("))") else { return Err("the list of programs has no end".to_owned()) };
        program = Some(name.to_owned());
        let timer = timer_in(behind)?;
        if timer.is_some() {
            return Ok((timer, program));
        }
        rest = before;
    }
    Ok((timer_in(rest)?, program))
}

fn timer_in(text: &str) -> Result<Option<(SocketTimer, Duration, u32)>, String> {
    let mut found = None;
    for word in text.split_ascii_whitespace() {
        let like = word.starts_with("timer")
            || ["(on,", "(keepalive,", "(timewait,", "(persist,", "(unknown,"].iter().any(|name| word.contains(name));
        if like {
            found = Some(timer(word)?);
        } else if word.starts_with("users") || word.contains("((\"") {
            return Err("the list of programs is damaged".to_owned());
        }
    }
    Ok(found.flatten())
}

/// `timer:(keepalive,119min,0)`; nothing for one of which ss does not know what it is.
fn timer(word: &str) -> Result<Option<(SocketTimer, Duration, u32)>, String> {
    let bad = || format!("'{}' is no timer, as timer:(keepalive,119min,0)", short(word));
    let inner = word.strip_prefix("timer:(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(bad)?;
    let mut parts = inner.split(',');
    let (Some(name), Some(left), Some(times), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return Err(bad()) };
    let which = match name {
        "on" => SocketTimer::Retransmission,
        "keepalive" => SocketTimer::Keepalive,
        "timewait" => SocketTimer::TimeWait,
        "persist" => SocketTimer::Persist,
        "off" | "unknown" => return Ok(None),
        _ => return Err(bad()),
    };
    Ok(Some((which, span(left).ok_or_else(bad)?, number(times).ok_or_else(bad)?)))
}

/// A span as ss writes it: nothing at all for less than a millisecond, `004ms`, `7.716ms`, `7.716sec`, `12sec`, `1min33sec`, `119min`.
fn span(text: &str) -> Option<Duration> {
    let (minutes, rest) = match text.split_once("min") {
        Some((minutes, rest)) => (number::<u64>(minutes)?, rest),
        None => (0, text),
    };
    let millis = if rest.is_empty() {
        0
    } else if let Some((whole, part)) = rest.split_once('.') {
        // Until 2025 the unit behind a fraction of seconds was misprinted.
        let part = part.strip_suffix("ms").or_else(|| part.strip_suffix("sec"))?;
        if part.len() != 3 || minutes > 0 {
            return None;
        }
        number::<u64>(whole)? * 1000 + number::<u64>(part)?
    } else if let Some(whole) = rest.strip_suffix("sec") {
        number::<u64>(whole).filter(|secs| *secs < 60)? * 1000
    } else {
        number::<u64>(rest.strip_suffix("ms")?).filter(|millis| *millis < 1000)?
    };
    minutes.checked_mul(60_000)?.checked_add(millis).map(Duration::from_millis)
}

/// A line of netstat's.
fn netstat(reader: &Reader<'_>, line: &Line<'_>, columns: Columns) -> Result<Option<Socket>, String> {
    let words: Vec<&str> = line.text.split_ascii_whitespace().collect();
    let [proto, received, sent, local, peer, state, rest @ ..] = words.as_slice() else {
        return Err("a line of netstat has six columns or more; it seems to be cut off".to_owned());
    };
    let Some((name, _)) = STATES.iter().find(|(_, theirs)| theirs == state) else {
        return Err(format!("'{}' is no state of a socket", short(state)));
    };
    if matches!(*name, "LISTEN" | "UNCONN") {
        return Ok(None);
    }
    let ending = |word: &str| {
        if *proto == "tcp6" && word.len() >= 23 {
            return Err("netstat cuts addresses to 23 characters, and this may be one of them: take 'netstat -W' or 'ss -tno'".to_owned());
        }
        let plain = match word.rsplit_once(':') {
            Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
            _ => word.to_owned(),
        };
        end(&plain)
    };
    let queues = [number(received).unwrap_or(0), number(sent).unwrap_or(0)];
    let mut socket = Socket {
        state: (*name).to_owned(),
        local: ending(local)?,
        peer: ending(peer)?,
        queues,
        timer: None,
        program: None,
        at: reader.at(line),
    };
    let timer = match rest {
        [.., which, times] if times.starts_with('(') => Some((*which, *times)),
        _ if columns.netstat_timer => return Err("its timer is missing: it seems to be cut off".to_owned()),
        _ => return Err("the timers are not shown: take 'netstat -tno', with -o".to_owned()),
    };
    if let Some((which, times)) = timer {
        let bad = || format!("'{} {}' is no timer, as keepalive (7198.65/0/0)", short(which), short(times));
        let inner = times.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).ok_or_else(bad)?;
        let parts: Vec<&str> = inner.split('/').collect();
        let [left, retransmitted, probed] = parts.as_slice() else { return Err(bad()) };
        let (left, retransmitted, probed) =
            (seconds(left).ok_or_else(bad)?, number::<u32>(retransmitted).ok_or_else(bad)?, number::<u32>(probed).ok_or_else(bad)?);
        socket.timer = match which {
            "off" => None,
            "on" => Some((SocketTimer::Retransmission, left, retransmitted)),
            "keepalive" => Some((SocketTimer::Keepalive, left, probed)),
            "timewait" => Some((SocketTimer::TimeWait, left, 0)),
            "probe" => Some((SocketTimer::Persist, left, probed)),
            _ => return Err(bad()),
        };
    }
    if let [owner, .., _, _] = rest
        && *owner != "-"
    {
        let (_, name) = owner
            .split_once('/')
            .filter(|(process, _)| number::<u32>(process).is_some())
            .ok_or_else(|| format!("'{}' is no process and program, as 71/sshd", short(owner)))?;
        socket.program = Some(name.to_owned());
    }
    Ok(Some(socket))
}
