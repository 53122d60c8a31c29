//! sshd_config and `sshd -T`, ssh_config and `ssh -G`.
//!
//! Source: sshd_config(5), ssh_config(5), and what OpenSSH 9.2 prints. As in SSH, the first value of a keyword counts within its part;
//! what a `Host` or `Match` says is kept beside what holds for everybody. Files that are included are not opened.

use super::words::{number, short};
use super::{Line, Reader};
use crate::inventory::{At, Kind, SshKeepalive, SshSide};
use crate::policy::hint::nearest;
use crate::time::Duration;

/// Keywords of sshd alone, by which its files are known.
const SERVER: [&str; 30] = [
    "acceptenv",
    "allowgroups",
    "allowusers",
    "authorizedkeyscommand",
    "authorizedkeysfile",
    "banner",
    "clientalivecountmax",
    "clientaliveinterval",
    "denygroups",
    "denyusers",
    "forcecommand",
    "gssapicleanupcredentials",
    "hostkey",
    "ignorerhosts",
    "listenaddress",
    "logingracetime",
    "maxauthtries",
    "maxsessions",
    "maxstartups",
    "permitemptypasswords",
    "permitrootlogin",
    "permituserenvironment",
    "printlastlog",
    "printmotd",
    "strictmodes",
    "subsystem",
    "usedns",
    "usepam",
    "x11displayoffset",
    "x11uselocalhost",
];
/// Keywords of ssh alone.
const CLIENT: [&str; 30] = [
    "host",
    "addkeystoagent",
    "batchmode",
    "canonicalizehostname",
    "checkhostip",
    "connectionattempts",
    "connecttimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "exitonforwardfailure",
    "forwardagent",
    "forwardx11",
    "globalknownhostsfile",
    "hashknownhosts",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityfile",
    "localforward",
    "numberofpasswordprompts",
    "preferredauthentications",
    "proxycommand",
    "proxyjump",
    "remoteforward",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "userknownhostsfile",
    "verifyhostkeydns",
];
/// The keywords that are read.
const OURS: [&str; 6] =
    ["clientaliveinterval", "clientalivecountmax", "serveraliveinterval", "serveralivecountmax", "tcpkeepalive", "keepalive"];

/// What a line is, if its keyword is known to be of one side.
pub(super) fn sign(line: &str) -> Option<Kind> {
    let line = line.trim();
    let keyword = line.split(|letter: char| letter.is_whitespace() || letter == '=').next()?.to_ascii_lowercase();
    // A keyword alone is none, and a colon is of other files.
    if line.len() <= keyword.len() {
        return None;
    }
    if SERVER.contains(&keyword.as_str()) {
        return Some(Kind::Sshd);
    }
    CLIENT.contains(&keyword.as_str()).then_some(Kind::Ssh)
}

/// Whether a line may be of either side's file.
pub(super) fn either(line: &str) -> bool {
    let keyword = line.trim().split(|letter: char| letter.is_whitespace() || letter == '=').next().unwrap_or_default().to_ascii_lowercase();
    matches!(keyword.as_str(), "tcpkeepalive" | "keepalive")
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>], kind: Kind) {
    let side = if kind == Kind::Sshd { SshSide::Server } else { SshSide::Client };
    let Some(first) = lines.first() else { return };
    let mut part = empty(side, None, reader.at(first));
    // Whether the part is the file's beginning and has nothing yet.
    let mut head = true;
    for line in lines {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (keyword, value) = split(text);
        match keyword.as_str() {
            "host" | "match" if side == SshSide::Client || keyword == "match" => {
                let everybody = matches!(value.as_str(), "*" | "all");
                let scope = if keyword == "host" { value } else { format!("{keyword} {value}") };
                let next = empty(side, (!everybody).then_some(scope), reader.at(line));
                push(reader, std::mem::replace(&mut part, next), head);
                head = false;
            }
            "include" => reader
                .note(line, format!("what is included ({}) is not opened; give those files too, or what 'sshd -T' prints", short(&value))),
            _ => {
                head = false;
                match setting(&mut part, side, &keyword, &value, reader.at(line)) {
                    Ok(true) => reader.open_end(line),
                    Ok(false) => reader.ignore(),
                    Err(why) => reader.unread(line, kind, why),
                }
            }
        }
    }
    push(reader, part, head);
}

fn empty(side: SshSide, scope: Option<String>, at: At) -> SshKeepalive {
    SshKeepalive { side, scope, interval: None, count_max: None, tcp_keepalive: None, at }
}

/// Keeps a part: the beginning of a file where it has any line, another one where it says anything here.
fn push(reader: &mut Reader<'_>, part: SshKeepalive, head: bool) {
    let says = part.interval.is_some() || part.count_max.is_some() || part.tcp_keepalive.is_some();
    let beginning = part.scope.is_none()
        && !head
        && reader.into.ssh.last().is_none_or(|last| last.at.origin != part.at.origin || last.side != part.side);
    if says || beginning {
        reader.into.ssh.push(part);
    }
}

/// The keyword in lower case, and what follows it, without quotes and without a comment.
fn split(text: &str) -> (String, String) {
    let end = text.find(|letter: char| letter.is_whitespace() || letter == '=').unwrap_or(text.len());
    let (keyword, rest) = text.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim();
    let value = match rest.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
        Some((inner, _)) => inner,
        None => rest.split(" #").next().unwrap_or(rest).trim_end(),
    };
    (keyword.to_ascii_lowercase(), value.to_owned())
}

fn setting(part: &mut SshKeepalive, side: SshSide, keyword: &str, value: &str, at: At) -> Result<bool, String> {
    let server = side == SshSide::Server;
    match keyword {
        "clientaliveinterval" | "serveraliveinterval" if server == (keyword == "clientaliveinterval") => {
            let span = span(value).ok_or_else(|| format!("'{}' is no time: {keyword} takes seconds, or 90s, 5m, 1h30m", short(value)))?;
            part.interval.get_or_insert((span, at));
        }
        "clientalivecountmax" | "serveralivecountmax" if server == (keyword == "clientalivecountmax") => {
            let count = number(value).ok_or_else(|| format!("'{}' is no whole number, which {keyword} takes", short(value)))?;
            part.count_max.get_or_insert((count, at));
        }
        "tcpkeepalive" | "keepalive" => {
            let on = match value.to_ascii_lowercase().as_str() {
                "yes" | "true" => true,
                "no" | "false" => false,
                _ => return Err(format!("'{}' is neither yes nor no, which {keyword} takes", short(value))),
            };
            part.tcp_keepalive.get_or_insert((on, at));
        }
        "clientaliveinterval" | "clientalivecountmax" => return Err(format!("{keyword} is a keyword of sshd_config, not of ssh_config")),
        "serveraliveinterval" | "serveralivecountmax" => return Err(format!("{keyword} is a keyword of ssh_config, not of sshd_config")),
        other => {
            let slip = keyword.contains("alive").then(|| nearest(other, OURS)).flatten();
            return match slip {
                Some(meant) => Err(format!("SSH has no keyword '{}'; did you mean '{meant}'?", short(other))),
                None => Ok(false),
            };
        }
    }
    Ok(true)
}

/// A time of SSH's: seconds, or numbers with s, m, h, d, w in either case.
fn span(text: &str) -> Option<Duration> {
    let units = text.bytes().all(|letter| letter.is_ascii_digit() || b"smhdwSMHDW".contains(&letter));
    let mut spelt = text.to_ascii_lowercase();
    // A number at the end is of seconds, also behind units.
    if spelt.ends_with(|letter: char| letter.is_ascii_digit()) {
        spelt.push('s');
    }
    if units { Duration::parse(&spelt).ok().filter(|span| span.0 < Duration::from_secs(1 << 31).0) } else { None }
}
