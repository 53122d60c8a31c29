//! packetdrill scripts as text: packets that a host sends (`>`) and gets (`<`), commands in backticks, system calls.
//!
//! Nothing here runs a model. What is not understood is an error with its line; nothing is passed over in silence.

use crate::conform::recording::Options;
use crate::net::TcpFlags;
use crate::time::{Duration, Instant};

/// One line of a script that means something.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Its line, from 1.
    pub(super) line: usize,
    /// When it happens.
    pub(super) at: Instant,
    /// What happens.
    pub(super) what: What,
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A packet.
    Packet(Packet),
    /// A shell command.
    Command(String),
    /// A system call of the program under test, by its name.
    Call(String),
}

/// A packet in the script's own numbers.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Whether the host under test gets it; otherwise it sends it.
    pub(super) inbound: bool,
    pub(super) flags: TcpFlags,
    pub(super) seq: u32,
    pub(super) len: u32,
    pub(super) ack: u32,
    /// The window field; none where the script leaves it open.
    pub(super) window: Option<u16>,
    pub(super) options: Options,
    /// Whether it has any options, those that trackers do not look at included.
    pub(super) has_options: bool,
    /// The packet as it was written.
    pub(super) text: String,
}

/// Whether a text looks like a script: some line of it is a packet.
pub(super) fn is_script(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        let (Some(time), Some(arrow)) = (words.next(), words.next()) else { return false };
        time.starts_with(|c: char| "+.*0123456789".contains(c))
            && matches!(arrow, "<" | ">")
            && words.next().is_some_and(|flags| flags.chars().all(|c| "SFRPAUEWC.".contains(c)))
    })
}

/// Reads a whole script.
///
/// # Errors
/// The line that is not understood, and why.
pub(super) fn parse(text: &str) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let mut now = Instant::ZERO;
    let mut lines = without_block_comments(text).into_iter().peekable();
    while let Some((line, text)) = lines.next() {
        let text = strip_comment(&text).trim_start().to_owned();
        if text.trim_end().is_empty() || text.starts_with("--") {
            continue;
        }
        let fail = |what: String| format!("line {line}: {what}");
        let (at, rest) = time(&text, now).map_err(fail)?;
        now = at;
        let what = if let Some(command) = rest.strip_prefix('`') {
            // A command may go on over several lines.
            let mut command = command.to_owned();
            while !command.contains('`') {
                let (_, more) = lines.next().ok_or_else(|| fail("a command in backticks does not end".to_owned()))?;
                command.push('\n');
                command.push_str(&more);
            }
            let end = command.find('`').unwrap_or(command.len());
            What::Command(command[..end].trim_start().to_owned())
        } else if rest.starts_with("%{") {
            // Assertions about the host's socket: not conntrack's.
            let mut code = rest.to_owned();
            while !code.contains("}%") {
                code = lines.next().ok_or_else(|| fail("code in %{ does not end with }%".to_owned()))?.1;
            }
            What::Call("%{".to_owned())
        } else if rest.starts_with('<') || rest.starts_with('>') {
            What::Packet(packet(rest).map_err(fail)?)
        } else if let Some(name) = rest.split('(').next().filter(|name| rest.contains('(') && is_name(name)) {
            What::Call(name.trim().to_owned())
        } else {
            return Err(fail(format!("'{rest}' is no packet (< or >), no `command` and no system call")));
        };
        events.push(Event { line, at, what });
    }
    Ok(events)
}

/// Lines with their numbers, what stands between `/*` and `*/` blanked out.
fn without_block_comments(text: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            let mut kept = String::new();
            let mut rest = line;
            loop {
                let mark = if inside { "*/" } else { "/*" };
                let Some(at) = rest.find(mark) else { break };
                if !inside {
                    kept.push_str(&rest[..at]);
                }
                inside = !inside;
                rest = &rest[at + mark.len()..];
            }
            if !inside {
                kept.push_str(rest);
            }
            (number + 1, kept)
        })
        .collect()
}

/// A line without `//` and what follows, unless that stands in backticks.
fn strip_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    let mut quoted = false;
    let mut previous = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '`' => quoted = !quoted,
            '/' if previous == '/' && !quoted => return &line[..at - 1],
            _ => {}
        }
        previous = c;
    }
    line
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The time of an event and the rest of its line: absolute, `+` after the event before, a range (its beginning counts), or `*`
/// for whenever. A command without a time follows at once.
fn time(text: &str, now: Instant) -> Result<(Instant, &str), String> {
    if text.starts_with('`') {
        return Ok((now, text));
    }
    let (word, rest) = text.split_once(char::is_whitespace).ok_or_else(|| format!("'{text}' is a time and nothing else"))?;
    let rest = rest.trim_start();
    if word == "*" {
        return Ok((now, rest));
    }
    let (relative, number) = word.strip_prefix('+').map_or((false, word), |number| (true, number));
    let number = number.split(['~']).next().unwrap_or(number).split("...").next().unwrap_or(number).trim_end_matches(':');
    let bad = || format!("'{word}' is no time: expected +SECONDS, SECONDS or *");
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(bad());
    }
    let span = Duration::from_secs_f64(number.parse::<f64>().map_err(|_| bad())?);
    let at = if relative { now + span } else { Instant::ZERO + span };
    // A script may give an absolute time that has passed while it waited: the event then follows at once.
    Ok((at.max(now), rest))
}

/// `< S. 0:0(0) ack 1 win 65535 <mss 1460,nop,wscale 8>`.
fn packet(text: &str) -> Result<Packet, String> {
    let inbound = text.starts_with('<');
    let body = text[1..].trim();
    let (head, options_text) = match body.find('<') {
        Some(at) => {
            let end = body.rfind('>').filter(|end| *end > at).ok_or("the options do not end with '>'")?;
            (&body[..at], Some(&body[at + 1..end]))
        }
        None => (body, None),
    };
    let mut words = head.split_whitespace();
    let letters = words.next().ok_or("a packet has no flags")?;
    let mut bits = 0;
    for letter in letters.chars() {
        bits |= match letter {
            'S' => TcpFlags::SYN,
            'F' => TcpFlags::FIN,
            'R' => TcpFlags::RST,
            'P' => TcpFlags::PSH,
            '.' | 'A' => TcpFlags::ACK,
            'U' => TcpFlags::URG,
            'E' => TcpFlags::ECE,
            'W' | 'C' => TcpFlags::CWR,
            other => return Err(format!("'{other}' in '{letters}' is no TCP flag: expected some of S F R P . U E W")),
        };
    }
    let range = words.next().ok_or("a packet has no sequence numbers: expected FIRST:LAST(LENGTH)")?;
    let bad = || format!("'{range}' is not FIRST:LAST(LENGTH)");
    let (first, rest) = range.split_once(':').ok_or_else(bad)?;
    let (last, len) = rest.strip_suffix(')').and_then(|r| r.split_once('(')).ok_or_else(bad)?;
    let number = |word: &str| word.parse::<u32>().map_err(|_| bad());
    let (seq, last, len) = (number(first)?, number(last)?, number(len)?);
    if seq.wrapping_add(len) != last {
        return Err(format!("'{range}' contradicts itself: {first} and {len} bytes make {}", seq.wrapping_add(len)));
    }
    let mut packet = Packet {
        inbound,
        flags: TcpFlags(bits),
        seq,
        len,
        ack: 0,
        window: None,
        options: Options::default(),
        has_options: false,
        text: text.to_owned(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("'{word}' has no value"));
        match word {
            "ack" => {
                packet.ack = value()?.parse().map_err(|_| "ack: expected a number")?;
                packet.flags.0 |= TcpFlags::ACK;
            }
            "win" => packet.window = Some(value()?.parse().map_err(|_| "win: expected a number up to 65535")?),
            "urg" => {
                value()?;
            }
            other => return Err(format!("'{other}' is not understood in a packet: expected ack, win, urg or <options>")),
        }
    }
    for option in options_text.into_iter().flat_map(|text| text.split(',')) {
        read_option(&mut packet, option.trim())?;
    }
    Ok(packet)
}

fn read_option(packet: &mut Packet, option: &str) -> Result<(), String> {
    let bad = || format!("option '{option}' is not understood");
    let mut words = option.split_whitespace();
    let Some(name) = words.next() else { return Ok(()) };
    packet.has_options = true;
    let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).ok_or_else(bad);
    match name {
        "mss" => packet.options.mss = Some(number()?.min(65_535) as u16),
        "wscale" => packet.options.ws = Some(number()?.min(255) as u8),
        "sackOK" => packet.options.sackok = true,
        "sack" => {
            for block in words {
                let (left, right) = block.split_once(':').ok_or_else(bad)?;
                packet.options.sack.push([left.parse().map_err(|_| bad())?, right.parse().map_err(|_| bad())?]);
            }
        }
        "nop" | "eol" | "TS" | "FO" | "FOEXP" | "md5" => {}
        _ => return Err(bad()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_line_by_line() {
        let script = "// a comment\n`prelude.sh`\n\n+0 `one\ntwo`\n0.1 connect(3, ..., ...) = -1 EINPROGRESS (in progress)\n\
            0.1 > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 8> // why\n/* not\n+0 < R 1:1(0)\n*/\n\
            +.01 < P. 1:1001(1000) ack 1 win 257 <nop,nop,sack 5:9 11:12>\n";
        assert!(is_script(script));
        let events = parse(script).expect("it is one");
        let lines: Vec<(usize, u64)> = events.iter().map(|e| (e.line, e.at.0 / 1_000_000)).collect();
        assert_eq!(lines, [(2, 0), (4, 0), (6, 100), (7, 100), (11, 110)]);
        let What::Command(command) = &events[1].what else { panic!("a command") };
        assert_eq!(command, "one\ntwo");
        let What::Packet(p) = &events[3].what else { panic!("a packet") };
        assert_eq!((p.inbound, p.flags.0, p.options.ws, p.options.sackok), (false, TcpFlags::SYN, Some(8), true));
        let What::Packet(p) = &events[4].what else { panic!("a packet") };
        assert_eq!((p.inbound, p.seq, p.len, p.ack, p.window), (true, 1, 1000, 1, Some(257)));
        assert_eq!(p.options.sack, [[5, 9], [11, 12]]);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (script, message) in [
            ("+0 < S 0:0(0) win 1\n+0 < X 0:0(0)", "line 2: 'X' in 'X' is no TCP flag: expected some of S F R P . U E W"),
            ("+0 < S 0:5(0)", "line 1: '0:5(0)' contradicts itself: 0 and 0 bytes make 0"),
            ("+0 < S 0:0(0) <mss", "line 1: the options do not end with '>'"),
            ("soon < S 0:0(0)", "line 1: 'soon' is no time: expected +SECONDS, SECONDS or *"),
            ("+0 `echo", "line 1: a command in backticks does not end"),
            ("+0 hello", "line 1: 'hello' is no packet (< or >), no `command` and no system call"),
        ] {
            assert_eq!(parse(script).expect_err(script), message);
        }
    }
}
