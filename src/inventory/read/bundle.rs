//! What the collector writes around the texts: markers, and who was asked when.

use super::words::{instant, number, short};
use super::{Line, Reader};
use crate::inventory::Kind;

/// What a marker begins with.
pub(super) const MARKER: &str = "=== flowlapse: ";

/// The section that a marker begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    /// `machine`: facts, one a line.
    Machine,
    /// The output of one tool, or one file.
    Kind(Kind),
    /// Text that says by itself what it is.
    Any,
    /// A remark, or the end.
    None,
}

/// The section that a line begins, if it is a marker.
pub(super) fn section(line: &str) -> Option<Section> {
    let name = line.trim_end().strip_prefix(MARKER)?;
    let words: Vec<&str> = name.split_ascii_whitespace().collect();
    let first = words.first().copied().unwrap_or_default();
    Some(match (first, words.get(1).copied().unwrap_or_default()) {
        ("collector" | "note" | "end" | "time", _) => Section::None,
        ("machine", _) => Section::Machine,
        ("sysctl" | "/proc/sys", _) => Section::Kind(Kind::Sysctls),
        ("ipvsadm", "-l") => Section::Kind(Kind::IpvsTimeouts),
        ("ipvsadm", "-Sn") | ("/proc/net/ip_vs", _) => Section::Kind(Kind::IpvsServices),
        ("ipvsadm", "-Lnc") | ("/proc/net/ip_vs_conn" | "/proc/net/ip_vs_conn_sync", _) => Section::Kind(Kind::IpvsConns),
        ("conntrack" | "/proc/net/nf_conntrack" | "/proc/net/ip_conntrack", _) => Section::Kind(Kind::Conntrack),
        ("ss" | "netstat", _) => Section::Kind(Kind::Sockets),
        ("sshd" | "sshd_config", _) => Section::Kind(Kind::Sshd),
        ("ssh" | "ssh_config", _) => Section::Kind(Kind::Ssh),
        ("nft", _) => Section::Kind(Kind::Nft),
        ("iptables-save" | "ip6tables-save" | "nfct", _) => Section::Kind(Kind::Iptables),
        ("kube-proxy", _) => Section::Kind(Kind::KubeProxy),
        ("keepalived.conf", _) => Section::Kind(Kind::Keepalived),
        _ => Section::Any,
    })
}

/// Whether a marker says that the tool above it failed.
pub(super) fn is_failure(line: &str) -> bool {
    line.strip_prefix(MARKER).is_some_and(|rest| rest.starts_with("note '") && rest.contains("' failed"))
}

/// A marker: most begin something else, and some say something themselves.
pub(super) fn marker(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    for line in lines {
        let text = line.text.trim_end();
        let Some(name) = text.strip_prefix(MARKER) else { continue };
        if let Some(told) = name.strip_prefix("note ") {
            reader.note(line, told.chars().take(400).collect::<String>());
        } else if let Some(version) = name.strip_prefix("collector ") {
            if version.split_ascii_whitespace().next() != Some("1") {
                reader.note(line, "this bundle is of another version of the collector; print it anew with 'flowlapse audit --collector'");
            }
        } else if let Some(time) = name.strip_prefix("time ") {
            taken(reader, line, time);
        }
    }
}

/// The time of the first table counts: the others follow within a moment.
fn taken(reader: &mut Reader<'_>, line: &Line<'_>, text: &str) {
    match instant(text.trim()) {
        Some(time) => {
            reader.into.machine.taken.get_or_insert(time);
        }
        None => reader.note(line, format!("'{}' is no time, as 1718031234.123456789", short(text))),
    }
}

/// `key=value` about the machine.
pub(super) fn machine(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    for line in lines {
        let Some((key, value)) = line.text.trim().split_once('=') else {
            if !line.is_blank() {
                reader.ignore();
            }
            continue;
        };
        let value = value.trim();
        let known = !value.is_empty();
        match key {
            "hostname" if known => reader.into.machine.hostname = Some(value.to_owned()),
            "release" if known => reader.into.machine.release = Some(value.to_owned()),
            "hz" if known => match number::<u32>(value).filter(|hz| (1..=10_000).contains(hz)) {
                Some(hz) => reader.into.machine.hz = Some(hz),
                None => reader.note(line, format!("'{}' is no CONFIG_HZ", short(value))),
            },
            "container" if known => reader.into.machine.container = Some(value == "1"),
            "epoch" if known => taken(reader, line, value),
            _ => reader.ignore(),
        }
    }
}
