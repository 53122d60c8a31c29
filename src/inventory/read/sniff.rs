//! Which lines of a text are what.
//!
//! A line that bears the signs of a kind begins a block of it, or goes on with one. A line without any goes on with the block above: a
//! table ends with an empty line or a shell's prompt, a file does not. What stands before any sign is about nothing here.

use super::bundle::{self, Section};
use super::{Line, conntrack, ipvs_conns, ipvs_services, sockets, sysctls};
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
}

/// Divides a text. `named` is what the user says that it is, and then only a collector's markers say otherwise.
pub(super) fn blocks<'t>(lines: &'t [Line<'t>], named: Option<Kind>, _origin: &str) -> Vec<Block<'t>> {
    let mut found = Vec::new();
    let (mut start, mut what) = (0, named.map_or(What::Nothing, What::Kind));
    let mut fixed = named.is_some();
    for (at, line) in lines.iter().enumerate() {
        let next = match bundle::section(line.text) {
            Some(section) => {
                found.push(Block { what, lines: &lines[start..at] });
                found.push(Block { what: What::Marker, lines: &lines[at..=at] });
                start = at + 1;
                (what, fixed) = match section {
                    Section::Machine => (What::Machine, true),
                    Section::Kind(kind) => (What::Kind(kind), true),
                    Section::Any | Section::None => (What::Nothing, false),
                };
                continue;
            }
            None if fixed => continue,
            None => after(what, line),
        };
        if next != what {
            found.push(Block { what, lines: &lines[start..at] });
            (start, what) = (at, next);
        }
    }
    found.push(Block { what, lines: &lines[start..] });
    found.retain(|block| block.lines.iter().any(|line| !line.is_blank()));
    found
}

/// What a line is, below a line that was `above`.
fn after(above: What, line: &Line<'_>) -> What {
    if let Some(kind) = sign(line.text) {
        return What::Kind(kind);
    }
    match above {
        What::Kind(_) if is_table(above) && (line.is_blank() || is_prompt(line.text)) => What::Nothing,
        above => above,
    }
}

fn is_table(what: What) -> bool {
    matches!(
        what,
        What::Kind(
            Kind::Sysctls
                | Kind::IpvsTimeouts
                | Kind::IpvsServices
                | Kind::IpvsConns
                | Kind::Conntrack
                | Kind::ConntrackEvents
                | Kind::Sockets
        )
    )
}

/// `$ ss -tno`, `# ipvsadm -Lnc`, `root@router:~# conntrack -L`, `[root@router ~]# …`.
fn is_prompt(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("$ ")
        || line.starts_with("# ")
        || line.split_once(['$', '#', '>']).is_some_and(|(before, _)| before.contains('@') && before.len() < 64)
}

/// The kind that a line bears the signs of.
fn sign(line: &str) -> Option<Kind> {
    if line.trim_start().starts_with(['#', ';']) {
        return None;
    }
    if ipvs_conns::sign(line) {
        return Some(Kind::IpvsConns);
    }
    if let Some(kind) = conntrack::sign(line).or_else(|| ipvs_services::sign(line)) {
        return Some(kind);
    }
    if sockets::sign(line) {
        return Some(Kind::Sockets);
    }
    sysctls::sign(line).then_some(Kind::Sysctls)
}
