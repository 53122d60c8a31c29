//! `nft list ruleset`, with or without `-a`, and files of nft in the same form.
//!
//! Source: nft(8), and what nft 1.0.6 prints. Sets and maps are not looked into: what a rule asks of them stands in `limited_to` as it is
//! written. A `vmap` by connection state is read, other ones are not.

use super::nft_words::{BEGINNINGS, CT_KEYS, HOOKS, ICMP, OTHER_BEGINNINGS, STATES};
use super::rules::{Asks, Chains, Verdict, quoted_words};
use super::words::short;
use super::{Line, Reader};
use crate::inventory::{Kind, RuleDoes, TimeoutPolicy};
use crate::net::Proto;
use crate::policy::dump::nft::definition;
use crate::policy::hint::nearest;
use crate::time::Duration;

/// Whether a line is one of these.
pub(super) fn sign(line: &str) -> bool {
    let words: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
    let family = |word: &str| matches!(word, "ip" | "ip6" | "inet" | "arp" | "bridge" | "netdev");
    match words.as_slice() {
        ["flush", "ruleset", ..] | ["nft", _, ..] | ["chain", _, "{", ..] => true,
        ["table", what, ..] => family(what) || words.get(2) == Some(&"{"),
        ["ct", "timeout", name, "{"] => *name != "set",
        _ => false,
    }
}

/// How many braces a line opens, and how many it closes, outside quotes.
fn braces(text: &str) -> (usize, usize) {
    let (mut opened, mut closed, mut quote) = (0, 0, false);
    for letter in text.bytes() {
        match letter {
            b'"' => quote = !quote,
            b'{' if !quote => opened += 1,
            b'}' if !quote => closed += 1,
            _ => {}
        }
    }
    (opened, closed)
}

/// A line without what follows a `#` outside quotes.
fn plain(text: &str) -> &str {
    let mut quote = false;
    for (at, letter) in text.bytes().enumerate() {
        match letter {
            b'"' => quote = !quote,
            b'#' if !quote => return text.get(..at).unwrap_or_default().trim(),
            _ => {}
        }
    }
    text.trim()
}

#[derive(Default)]
struct Place {
    table: Option<String>,
    chain: Option<String>,
    /// `flags dormant`: its rules are not in force.
    dormant: bool,
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    let texts: Vec<&str> = lines.iter().map(|line| line.text).collect();
    let (mut chains, mut place) = (Chains::default(), Place::default());
    let mut at = 0;
    let mut cut: Option<usize> = None;
    while let Some(line) = lines.get(at) {
        let text = plain(line.text);
        at += 1;
        if text.is_empty() {
            continue;
        }
        if text.starts_with("ct timeout ") && !text.starts_with("ct timeout set ") {
            at += policy(reader, &texts, at - 1, lines) - 1;
            continue;
        }
        let (opened, closed) = braces(text);
        let head: Vec<&str> = text.split_ascii_whitespace().collect();
        match head.as_slice() {
            ["table", .., "{"] => {
                place = Place { table: Some(text["table".len()..].trim_end_matches('{').trim().to_owned()), ..Place::default() };
                cut = Some(at - 1);
            }
            ["table", ..] if opened == 0 => reader.unread(line, Kind::Nft, "a table's line ends with '{'"),
            ["chain", name, "{"] => place.chain = Some(format!("{} {name}", place.table.as_deref().unwrap_or("?"))),
            ["}", ..] if text.trim_end_matches(';') == "}" => {
                if place.chain.take().is_none() {
                    place.table = None;
                    cut = None;
                }
            }
            ["include", ..] => reader.note(line, "include is not followed; give 'nft list ruleset', which has everything"),
            ["flags", .., "dormant" | "dormant;"] if place.chain.is_none() => {
                reader.note(line, "this table is dormant: its rules are not in force, and are left out");
                place.dormant = true;
            }
            ["flush", "ruleset", ..] | ["define" | "flags" | "comment", ..] if place.chain.is_none() => {}
            ["nft", "list", ..] => {}
            ["nft" | "add" | "insert" | "create", ..] if place.chain.is_none() => {
                reader.unread(line, Kind::Nft, "single commands of nft are not followed; give 'nft list ruleset'");
            }
            _ if place.chain.is_none() => {
                // Sets, maps, flow tables, helpers and the like, up to their last brace.
                reader.ignore();
                let mut depth = opened.saturating_sub(closed);
                while depth > 0 && at < lines.len() {
                    let (opened, closed) = braces(plain(texts[at]));
                    depth = (depth + opened).saturating_sub(closed);
                    at += 1;
                }
            }
            _ => {
                let mut whole = text.to_owned();
                let mut depth = opened.saturating_sub(closed);
                while depth > 0 && at < lines.len() {
                    let next = plain(texts[at]);
                    let (opened, closed) = braces(next);
                    depth = (depth + opened).saturating_sub(closed);
                    whole.push(' ');
                    whole.push_str(next);
                    at += 1;
                }
                if place.dormant {
                    reader.ignore();
                    continue;
                }
                let chain = place.chain.clone().unwrap_or_default();
                match statements(reader, &mut chains, &chain, &whole, line) {
                    Ok(true) => {}
                    Ok(false) => reader.ignore(),
                    Err(why) => reader.unread(line, Kind::Nft, why),
                }
            }
        }
    }
    if let Some(line) = cut.and_then(|at| lines.get(at)).filter(|_| place.table.is_some()) {
        reader.note(line, "this table has no end: the text seems to be cut off, and rules may be missing");
    }
    chains.finish(reader);
}

/// How many lines a timeout policy may have.
const POLICY_LINES: usize = 40;

/// A `ct timeout` object; says how many lines it has.
fn policy(reader: &mut Reader<'_>, texts: &[&str], at: usize, lines: &[Line<'_>]) -> usize {
    let (Some(window), Some(line)) = (texts.get(at..texts.len().min(at + POLICY_LINES)), lines.get(at)) else { return 1 };
    match definition(window) {
        Some(Ok((found, used))) => {
            let proto = if found.protocol == "udp" { Proto::Udp } else { Proto::Tcp };
            let mut timers = Vec::new();
            for (setting, value, further) in &found.timers {
                match Duration::parse(value) {
                    Ok(span) => timers.push((*setting, span)),
                    Err(why) => {
                        let there = lines.get(at + further).unwrap_or(line);
                        reader.unread(there, Kind::Nft, why);
                        return used;
                    }
                }
            }
            let at = reader.at(line);
            reader.into.timeout_policies.push(TimeoutPolicy { name: found.name, proto, timers, at });
            used
        }
        Some(Err((further, why))) => {
            let there = lines.get(at + further).unwrap_or(line);
            reader.unread(there, Kind::Nft, why);
            // Up to its end or the next empty line, so that its parts are not taken for rules.
            1 + window.iter().skip(1).take_while(|text| !text.trim().is_empty()).count()
        }
        None => {
            reader.unread(
                line,
                Kind::Nft,
                "a timeout policy is written as 'ct timeout NAME { protocol tcp; policy = { established : 3600 } }'",
            );
            1
        }
    }
}

/// One line inside a chain: rules and what the chain is, with semicolons between them.
fn statements(reader: &mut Reader<'_>, chains: &mut Chains, chain: &str, text: &str, line: &Line<'_>) -> Result<bool, String> {
    let mut any = false;
    for part in parts(text) {
        let words = quoted_words(part).ok_or("a quotation mark is missing")?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        any |= match words.as_slice() {
            [] | ["comment" | "devices" | "device" | "flags", ..] => false,
            ["type", _, "hook", hook, ..] => {
                if !HOOKS.contains(hook) {
                    return Err(did_you_mean("hook", hook, &HOOKS));
                }
                chains.base(chain, hook);
                true
            }
            ["type", ..] => return Err("a chain's type is written as 'type filter hook forward priority 0;'".to_owned()),
            ["policy", "drop"] => {
                chains.rule(reader, line, chain, RuleDoes::PolicyDrop, "");
                true
            }
            ["policy", "accept"] => true,
            ["policy", other] => return Err(format!("'{}' is no policy; there are accept and drop", short(other))),
            words => rule(reader, chains, chain, words, line)?,
        };
    }
    Ok(any)
}

fn did_you_mean(what: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("'{}' is no {what}; did you mean '{meant}'?", short(word)),
        None => format!("'{}' is no {what}", short(word)),
    }
}

/// Splits at semicolons outside braces and quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, false);
    for (at, letter) in text.bytes().enumerate() {
        match letter {
            b'"' => quote = !quote,
            b'{' if !quote => depth += 1,
            b'}' if !quote => depth = depth.saturating_sub(1),
            b';' if !quote && depth == 0 => {
                out.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    out.extend(text.get(start..));
    out
}

/// Words up to the brace that closes the list, without commas; and what follows it.
fn listed<'t, 'w>(words: &'t [&'w str]) -> Option<(Vec<&'w str>, &'t [&'w str])> {
    match words {
        ["{", ..] => {
            let end = words.iter().position(|word| *word == "}")?;
            let inner = words.get(1..end)?.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty()).collect();
            Some((inner, words.get(end + 1..)?))
        }
        [list, rest @ ..] => Some((list.split(',').collect(), rest)),
        [] => None,
    }
}

fn states(words: &[&str]) -> Result<Vec<String>, String> {
    match words.iter().find(|word| !STATES.contains(word)) {
        Some(wrong) => Err(did_you_mean("state of conntrack", wrong, &STATES)),
        None if words.is_empty() => Err("the states are missing".to_owned()),
        None => Ok(words.iter().map(|word| (*word).to_owned()).collect()),
    }
}

fn rule(reader: &mut Reader<'_>, chains: &mut Chains, chain: &str, words: &[&str], line: &Line<'_>) -> Result<bool, String> {
    if let Some(first) =
        words.first().filter(|word| !BEGINNINGS.contains(word) && !OTHER_BEGINNINGS.contains(word) && !word.starts_with('@'))
    {
        return Err(did_you_mean("beginning of a rule", first, &BEGINNINGS));
    }
    let mut asks = Asks::default();
    let mut limited: Vec<&str> = Vec::new();
    let mut found: Vec<(Asks, Verdict)> = Vec::new();
    let mut calls = Vec::new();
    let mut rest = words;
    loop {
        rest = match rest {
            [] => break,
            ["ct", "state", "vmap", after @ ..] => {
                let (pairs, after) = vmap(after)?;
                for (state, verdict) in pairs {
                    let asks = Asks { states: Some(states(&[state])?), ..asks.clone() };
                    match verdict {
                        ["accept"] => found.push((asks, Verdict::Accept)),
                        ["drop"] => found.push((asks, Verdict::Drop)),
                        ["jump" | "goto", to] => calls.push((*to).to_owned()),
                        ["continue" | "return"] => {}
                        other => return Err(format!("'{}' is no verdict", short(&other.join(" ")))),
                    }
                }
                after
            }
            ["ct", "state", "!=", after @ ..] => {
                let (list, after) = listed(after).ok_or("the states are missing")?;
                (asks.states, asks.states_negated) = (Some(states(&list)?), true);
                after
            }
            ["ct", "state", "==" | "in", after @ ..] | ["ct", "state", after @ ..] => {
                let (list, after) = listed(after).ok_or("the states are missing")?;
                asks.states = Some(states(&list)?);
                after
            }
            // By something else than states: only whom it calls.
            ["vmap", after @ ..] => {
                let called = after.windows(2).filter(|pair| matches!(pair[0], "jump" | "goto"));
                calls.extend(called.map(|pair| pair[1].trim_end_matches(',').to_owned()));
                found.clear();
                break;
            }
            ["ct", "timeout", "set", name, after @ ..] => {
                found.push((asks.clone(), Verdict::Other(RuleDoes::SetsTimeout((*name).to_owned()))));
                after
            }
            ["ct", key, ..] if !CT_KEYS.contains(key) => return Err(did_you_mean("key of ct", key, &CT_KEYS)),
            ["tcp", "flags", after @ ..] => syn(after, &mut asks, &mut limited)?,
            ["counter", "packets", _, "bytes", _, after @ ..]
            | ["counter", "name", _, after @ ..]
            | ["counter", after @ ..]
            | ["comment", _, after @ ..] => after,
            ["log", after @ ..] => log(after),
            ["masquerade", ..] => {
                found.push((asks.clone(), Verdict::Other(RuleDoes::Masquerades)));
                break;
            }
            ["snat", ..] => {
                found.push((asks.clone(), Verdict::Other(RuleDoes::SourceNat)));
                break;
            }
            ["dnat" | "redirect", ..] => {
                found.push((asks.clone(), Verdict::Other(RuleDoes::DestinationNat)));
                break;
            }
            ["notrack", after @ ..] => {
                found.push((asks.clone(), Verdict::Other(RuleDoes::NoTrack)));
                after
            }
            ["flow", "add" | "offload", table, after @ ..] if table.starts_with('@') => {
                found.push((asks.clone(), Verdict::Other(RuleDoes::Offloads)));
                after
            }
            ["accept", ..] => {
                found.push((asks.clone(), Verdict::Accept));
                break;
            }
            ["drop", ..] => {
                found.push((asks.clone(), Verdict::Drop));
                break;
            }
            ["reject", after @ ..] => {
                found.push((asks.clone(), Verdict::Reject(reject(after)?)));
                break;
            }
            ["jump" | "goto", to, after @ ..] => {
                calls.push((*to).to_owned());
                after
            }
            [word, after @ ..] => {
                limited.push(word);
                after
            }
        };
    }
    let table = chain.rsplit_once(' ').map_or("", |(table, _)| table);
    for to in calls {
        chains.call(chain, format!("{table} {to}"));
    }
    let mut any = false;
    let limits = limits(&limited);
    for (asks, verdict) in found {
        let limited = match (&verdict, &asks.states) {
            (Verdict::Reject(_), Some(states)) => format!("ct state {} {limits}", states.join(",")).trim_end().to_owned(),
            _ => limits.clone(),
        };
        for does in asks.does(verdict) {
            chains.rule(reader, line, chain, does, &limited);
            any = true;
        }
    }
    Ok(any)
}

/// What a rule is limited to, as it is written; `meta l4proto tcp` as `tcp`.
fn limits(words: &[&str]) -> String {
    let text = words.join(" ");
    text.strip_prefix("meta l4proto ").map_or(text.clone(), |rest| {
        // nft prints the protocol twice for rules that iptables made.
        let proto = rest.split(' ').next().unwrap_or_default();
        rest.strip_prefix(proto).map(str::trim_start).filter(|again| again.starts_with(proto)).unwrap_or(rest).to_owned()
    })
}

/// Pairs of `state : verdict`, and what follows the brace.
type Pairs<'t, 'w> = (Vec<(&'w str, &'t [&'w str])>, &'t [&'w str]);

fn vmap<'t, 'w>(words: &'t [&'w str]) -> Result<Pairs<'t, 'w>, String> {
    let bad = || "a vmap by state is written as '{ established : accept, invalid : drop }'".to_owned();
    if let [map, rest @ ..] = words
        && map.starts_with('@')
    {
        return Ok((Vec::new(), rest));
    }
    let mut rest = words.strip_prefix(&["{"]).ok_or_else(bad)?;
    let mut pairs = Vec::new();
    loop {
        let [state, ":", verdict @ ..] = rest else { return Err(bad()) };
        let end = verdict.iter().position(|word| word.ends_with(',') || *word == "}").ok_or_else(bad)?;
        if verdict.get(end) == Some(&"}") {
            pairs.push((*state, &verdict[..end]));
            return Ok((pairs, &verdict[end + 1..]));
        }
        // The comma is a part of the last word.
        let last = verdict[end].trim_end_matches(',');
        let known: &[&str] = match (end, last) {
            (0, "accept") => &["accept"],
            (0, "drop") => &["drop"],
            (0, "continue") => &["continue"],
            (0, "return") => &["return"],
            _ => return Err(bad()),
        };
        pairs.push((*state, known));
        rest = &verdict[end + 1..];
    }
}

/// `syn`, `!= syn`, and the forms with a mask; others go to what the rule is limited to.
fn syn<'t, 'w>(words: &'t [&'w str], asks: &mut Asks, limited: &mut Vec<&'w str>) -> Result<&'t [&'w str], String> {
    let mask = |word: &str| {
        let mut flags: Vec<&str> = word.trim_matches(['(', ')']).split([',', '|']).map(str::trim).collect();
        flags.sort_unstable();
        flags == ["ack", "fin", "rst", "syn"]
    };
    Ok(match words {
        ["syn", "/", with, after @ ..] if mask(with) => {
            asks.syn = Some(true);
            after
        }
        ["!=", "syn", "/", with, after @ ..] if mask(with) => {
            asks.syn = Some(false);
            after
        }
        ["&", with, sign @ ("==" | "!="), "syn", after @ ..] if mask(with) => {
            asks.syn = Some(*sign == "==");
            after
        }
        ["&", "(fin", "|", "syn", "|", "rst", "|", "ack)", sign @ ("==" | "!="), "syn", after @ ..] => {
            asks.syn = Some(*sign == "==");
            after
        }
        // A SYN with ACK has the bit too; it begins no flow.
        ["syn", after @ ..] => {
            asks.syn = Some(true);
            after
        }
        [] => return Err("the flags are missing behind 'tcp flags'".to_owned()),
        [word, after @ ..] => {
            limited.extend(["tcp", "flags", word]);
            after
        }
    })
}

/// `log prefix "…" level info`: what it writes matters not.
fn log<'t, 'w>(mut words: &'t [&'w str]) -> &'t [&'w str] {
    while let ["prefix" | "level" | "group" | "snaplen" | "queue-threshold" | "flags", _, after @ ..] = words {
        words = after;
    }
    words
}

fn reject(words: &[&str]) -> Result<RuleDoes, String> {
    let name = match words {
        ["with", "tcp", "reset", ..] => return Ok(RuleDoes::RejectsWithReset),
        ["with", "icmp" | "icmpx" | "icmpv6", "type", name, ..] | ["with", "icmp" | "icmpx" | "icmpv6", name, ..] => *name,
        ["with", ..] => return Err("reject answers 'with tcp reset', or 'with icmp', icmpx or icmpv6 and a name".to_owned()),
        _ => "port-unreachable",
    };
    if ICMP.contains(&name) {
        Ok(RuleDoes::RejectsWithIcmp(name.to_owned()))
    } else {
        Err(did_you_mean("ICMP error that reject has", name, &ICMP))
    }
}
