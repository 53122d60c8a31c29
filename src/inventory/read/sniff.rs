//! Which lines of a text are what.
//!
//! A line that bears the signs of a kind begins a block of it, or goes on with one. A line without any goes on with the block above: a
//! table ends with an empty line or a shell's prompt, a file does not. What stands before any sign is about nothing here.

use super::bundle::{self, Section};
use super::{Line, conntrack, iptables, ipvs_conns, ipvs_services, keepalived, kube, nft, sockets, ssh, sysctls};
use crate::inventory::Kind;

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// About nothing here.
    Nothing,
    /// A collector's marker.
    Marker,
    /// A collector's facts.
    Machine,
    /// A text of a kind.
    Kind(Kind),
}

/// Lines that belong together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'t> {
    pub(super) what: What,
    pub(super) lines: &'t [Line<'t>],
    /// The collector's marker above, or the first line.
    pub(super) head: Option<&'t Line<'t>>,
}

impl<'t> Block<'t> {
    fn new(what: What, lines: &'t [Line<'t>]) -> Block<'t> {
        Block { what, lines, head: lines.first() }
    }
}

/// Divides a text. `named` is what the user says that it is, and then only a collector's markers say otherwise.
pub(super) fn blocks<'t>(lines: &'t [Line<'t>], named: Option<Kind>, origin: &str) -> Vec<Block<'t>> {
    let mut found = Vec::new();
    let (mut start, mut what) = (0, named.map_or(What::Nothing, What::Kind));
    let mut fixed = named.is_some();
    // A file may be known by a line further down.
    let mut candidate: Option<usize> = None;
    let mut depth = 0_usize;
    let mut head: Option<&Line<'_>> = None;
    for (at, line) in lines.iter().enumerate() {
        if let Some(section) = bundle::section(line.text) {
            // A tool that failed showed nothing; one that printed nothing has shown that there is nothing.
            let shown = head.filter(|_| !bundle::is_failure(line.text));
            found.push(Block { head: shown.or(lines.get(start).filter(|_| start < at)), ..Block::new(what, &lines[start..at]) });
            found.push(Block::new(What::Marker, &lines[at..=at]));
            (start, candidate, depth) = (at + 1, None, 0);
            (what, fixed) = match section {
                Section::Machine => (What::Machine, true),
                Section::Kind(kind) => (What::Kind(kind), true),
                Section::Any | Section::None => (What::Nothing, false),
            };
            head = fixed.then_some(line);
            continue;
        }
        if fixed {
            continue;
        }
        let next = after(what, line, depth, origin);
        if next != what {
            let late = matches!(next, What::Kind(Kind::KubeProxy | Kind::Sshd | Kind::Ssh)) && what == What::Nothing;
            let from = candidate.filter(|from| late && *from > start).unwrap_or(if late && candidate == Some(start) { start } else { at });
            found.push(Block::new(what, &lines[start..from]));
            (start, what, candidate, depth) = (from, next, None, 0);
        } else if what == What::Nothing {
            if line.text.trim() == "---" {
                candidate = None;
            } else if kube::begins(line.text) || ssh::either(line.text) || line.text.starts_with("Include ") {
                candidate.get_or_insert(at);
            }
        }
        if matches!(what, What::Kind(Kind::Nft | Kind::Keepalived)) {
            depth = (depth + line.text.matches('{').count()).saturating_sub(line.text.matches('}').count());
        }
    }
    found.push(Block { head: head.or(lines.get(start)), ..Block::new(what, &lines[start..]) });
    found.retain(|block| block.lines.iter().any(|line| !line.is_blank()) || block.head.is_some() && matches!(block.what, What::Kind(_)));
    found
}

/// What a line is, below a line that was `above`, inside so many braces.
fn after(above: What, line: &Line<'_>, depth: usize, origin: &str) -> What {
    if let Some(kind) = strong(line.text) {
        return What::Kind(kind);
    }
    if depth == 0
        && let Some(kind) = weak(line.text, above, origin)
    {
        return What::Kind(kind);
    }
    let ends = match above {
        What::Kind(Kind::Sysctls) => line.text.starts_with("$ "),
        What::Kind(Kind::Sockets) => line.text.is_empty() || is_prompt(line.text),
        What::Kind(Kind::IpvsTimeouts | Kind::IpvsServices | Kind::IpvsConns | Kind::Conntrack | Kind::ConntrackEvents) => {
            line.is_blank() || is_prompt(line.text)
        }
        _ => line.text.starts_with("$ ") || is_prompt_with_host(line.text),
    };
    if ends { What::Nothing } else { above }
}

/// `$ ss -tno`, `# ipvsadm -Lnc`, `root@router:~# conntrack -L`, `[root@router ~]# …`.
fn is_prompt(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("$ ") || line.starts_with("# ") || is_prompt_with_host(line)
}

fn is_prompt_with_host(line: &str) -> bool {
    let host = line.split_ascii_whitespace().next().unwrap_or_default();
    let sign = |letter: char| matches!(letter, '$' | '#');
    host.contains('@') && line.split_once(sign).is_some_and(|(before, _)| before.len() < 64 && !before.contains(['"', '=']))
}

/// The kind that a line bears the signs of, which nothing else has.
fn strong(line: &str) -> Option<Kind> {
    let start = line.trim_start();
    if start.starts_with("# Generated by ip") && start.contains("tables-save") {
        return Some(Kind::Iptables);
    }
    if start.starts_with(['#', ';']) {
        return None;
    }
    if ipvs_conns::sign(line) {
        return Some(Kind::IpvsConns);
    }
    if let Some(kind) = conntrack::sign(line) {
        return Some(kind);
    }
    if iptables::sign(line) {
        return Some(Kind::Iptables);
    }
    if let Some(kind) = ipvs_services::sign(line) {
        return Some(kind);
    }
    if sockets::sign(line) {
        return Some(Kind::Sockets);
    }
    sysctls::sign(line).then_some(Kind::Sysctls)
}

/// The kind of a file that a line may well be of, unless it stands inside another one.
fn weak(line: &str, above: What, origin: &str) -> Option<Kind> {
    let start = line.trim_start();
    if start.starts_with("#!/") && start.contains("nft") {
        return Some(Kind::Nft);
    }
    if start.starts_with(['#', ';']) {
        return None;
    }
    if nft::sign(line) {
        return Some(Kind::Nft);
    }
    if keepalived::sign(line) {
        return Some(Kind::Keepalived);
    }
    if kube::sign(line) || above == What::Nothing && matches!(start.trim_end(), "conntrack:" | "ipvs:") {
        return Some(Kind::KubeProxy);
    }
    if let Some(kind) = ssh::sign(line) {
        return Some(kind);
    }
    let unknown = !matches!(above, What::Kind(Kind::Sshd | Kind::Ssh)) && ssh::either(line);
    if unknown && origin.contains("sshd") {
        return Some(Kind::Sshd);
    }
    (unknown && origin.contains("ssh")).then_some(Kind::Ssh)
}
