//! kube-proxy's configuration, as YAML, as JSON or inside a ConfigMap, and its flags.
//!
//! Source: `kubeproxy.config.k8s.io/v1alpha1` and the reference of kube-proxy's flags. Of YAML only what such files consist of is read:
//! nested keys by their indentation, one a line.

use super::words::{short, unquoted};
use super::{Line, Reader};
use crate::inventory::{At, IpvsTimeouts, Kind, KubeProxy, KubeProxySetting, TimeoutSource};
use crate::policy::hint::nearest;
use crate::time::Duration;

/// The section, the key, the flag, and the setting of ours.
const SETTINGS: [(&str, &str, &str, &str); 9] = [
    ("ipvs", "tcpTimeout", "--ipvs-tcp-timeout", "tcp"),
    ("ipvs", "tcpFinTimeout", "--ipvs-tcpfin-timeout", "tcpfin"),
    ("ipvs", "udpTimeout", "--ipvs-udp-timeout", "udp"),
    ("conntrack", "tcpEstablishedTimeout", "--conntrack-tcp-timeout-established", "established"),
    ("conntrack", "tcpCloseWaitTimeout", "--conntrack-tcp-timeout-close-wait", "close_wait"),
    ("conntrack", "udpTimeout", "--conntrack-udp-timeout", "udp"),
    ("conntrack", "udpStreamTimeout", "--conntrack-udp-timeout-stream", "udp_stream"),
    ("conntrack", "tcpBeLiberal", "--conntrack-tcp-be-liberal", "be_liberal"),
    ("", "mode", "--proxy-mode", "mode"),
];
const MODES: [&str; 5] = ["iptables", "ipvs", "nftables", "userspace", "kernelspace"];

/// Whether a line is one of these.
pub(super) fn sign(line: &str) -> bool {
    line.contains("kubeproxy.config.k8s.io")
        || line.contains("KubeProxyConfiguration")
        || SETTINGS.iter().any(|(_, _, flag, _)| line.contains(flag))
}

/// Whether a line may begin such a file, or stand in it before the line that bears its sign.
pub(super) fn begins(line: &str) -> bool {
    line.trim() == "{"
        || ["apiVersion:", "conntrack:", "ipvs:", "data:", "kind: ConfigMap"].iter().any(|head| line.trim_start().starts_with(head))
}

/// IPVS's timeouts so far.
#[derive(Default)]
struct Found {
    ipvs: [Option<Duration>; 3],
    ipvs_at: Option<At>,
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    let mut found = Found::default();
    let text: String = lines.iter().flat_map(|line| [line.text, "\n"]).collect();
    if text.trim_start().starts_with('{') {
        json(reader, &mut found, &text, lines);
    } else {
        yaml(reader, &mut found, lines);
    }
    if let Some(at) = found.ipvs_at {
        let [tcp, tcpfin, udp] = found.ipvs;
        reader.into.ipvs_timeouts.push(IpvsTimeouts { tcp, tcpfin, udp, source: TimeoutSource::KubeProxy, at });
    }
}

fn json(reader: &mut Reader<'_>, found: &mut Found, text: &str, lines: &[Line<'_>]) {
    let Some(first) = lines.iter().find(|line| !line.is_blank()) else { return };
    let value: serde_json::Value = match serde_json::from_str(text.trim()) {
        Ok(value) => value,
        Err(error) => {
            let there = lines.get(error.line().saturating_sub(1)).unwrap_or(first);
            reader.unread(there, Kind::KubeProxy, format!("it is no JSON: {error}"));
            return;
        }
    };
    for (section, key, _, setting) in SETTINGS {
        let place = if section.is_empty() { value.get(key) } else { value.get(section).and_then(|inner| inner.get(key)) };
        let text = match place {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Bool(on)) => on.to_string(),
            None | Some(serde_json::Value::Null) => continue,
            Some(other) => other.to_string(),
        };
        // The line is that of the key's first mention, where it is only one.
        let quoted = format!("\"{key}\"");
        let mut mentions = lines.iter().filter(|line| line.text.contains(&quoted));
        let line = match (mentions.next(), mentions.next()) {
            (Some(only), None) => only,
            _ => first,
        };
        set(reader, found, section, setting, &text, line);
    }
}

fn yaml(reader: &mut Reader<'_>, found: &mut Found, lines: &[Line<'_>]) {
    // The section, and how far its head is indented.
    let mut section: Option<(&str, usize)> = None;
    let mut base: Option<usize> = None;
    for line in lines {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') || text == "---" {
            continue;
        }
        if text.contains("--") && flags(reader, found, line) {
            continue;
        }
        let indent = line.text.len() - line.text.trim_start().len();
        let Some((key, value)) = text.split_once(':') else {
            // A key that lost its colon is damage where it is one of ours.
            match SETTINGS.iter().find(|(_, key, ..)| text.starts_with(key)) {
                Some((_, key, ..)) if *key != "mode" => {
                    reader.unread(line, Kind::KubeProxy, format!("a setting is written as '{key}: VALUE'"));
                }
                _ => reader.ignore(),
            }
            continue;
        };
        if key == "apiVersion" && value.contains("kubeproxy") {
            base = Some(indent);
        }
        if section.is_some_and(|(_, head)| indent <= head) {
            section = None;
        }
        let value = bare(value);
        if value.is_empty() {
            if section.is_none() {
                section = ["ipvs", "conntrack"].into_iter().find(|name| *name == key).map(|name| (name, indent));
            }
            continue;
        }
        let inside = section.map_or("", |(name, _)| name);
        match SETTINGS.iter().find(|(place, theirs, ..)| *place == inside && *theirs == key) {
            Some((_, "mode", ..)) if base.is_some_and(|base| base != indent) => reader.ignore(),
            Some((place, _, _, setting)) => set(reader, found, place, setting, value, line),
            None => {
                let known = SETTINGS.iter().filter(|(place, ..)| *place == inside && !inside.is_empty()).map(|(_, theirs, ..)| *theirs);
                let slip = if OTHER_KEYS.contains(&key) { None } else { nearest(key, known) };
                match slip {
                    Some(meant) => {
                        reader.unread(
                            line,
                            Kind::KubeProxy,
                            format!("there is no '{}' under {inside}; did you mean '{meant}'?", short(key)),
                        );
                    }
                    None => reader.ignore(),
                }
            }
        }
    }
}

/// Keys of the two sections that are not read.
const OTHER_KEYS: [&str; 7] = ["max", "maxPerCore", "min", "minSyncPeriod", "syncPeriod", "scheduler", "strictARP"];

/// A value without its quotes and without a comment.
fn bare(value: &str) -> &str {
    let value = value.split(" #").next().unwrap_or(value);
    unquoted(value.trim().trim_end_matches(','))
}

/// The flags of a line; says whether there were any.
fn flags(reader: &mut Reader<'_>, found: &mut Found, line: &Line<'_>) -> bool {
    let words: Vec<&str> = line
        .text
        .split([' ', '\t', '\0'])
        .map(|word| word.trim_matches(['"', '\'', ',', '[', ']']))
        .filter(|word| !word.is_empty())
        .collect();
    let mut any = false;
    for (at, word) in words.iter().enumerate() {
        let (flag, value) = word.split_once('=').map_or((*word, None), |(flag, value)| (flag, Some(value)));
        let Some((section, _, _, setting)) = SETTINGS.iter().find(|(_, _, known, _)| *known == flag) else {
            let near = flag.starts_with("--ipvs-") || flag.starts_with("--conntrack-");
            if near
                && !OTHER_FLAGS.contains(&flag)
                && let Some(meant) = nearest(flag, SETTINGS.iter().map(|(_, _, known, _)| *known))
            {
                reader.unread(line, Kind::KubeProxy, format!("kube-proxy has no flag '{}'; did you mean '{meant}'?", short(flag)));
                any = true;
            }
            continue;
        };
        any = true;
        match value.or_else(|| words.get(at + 1).copied().filter(|next| !next.starts_with("--"))) {
            Some(value) => set(reader, found, section, setting, value, line),
            None if *setting == "be_liberal" => set(reader, found, section, setting, "true", line),
            None => reader.unread(line, Kind::KubeProxy, format!("{flag} has no value, as in '{flag}=15m'")),
        }
    }
    any
}

const OTHER_FLAGS: [&str; 7] = [
    "--ipvs-min-sync-period",
    "--ipvs-sync-period",
    "--ipvs-scheduler",
    "--ipvs-strict-arp",
    "--ipvs-exclude-cidrs",
    "--conntrack-max-per-core",
    "--conntrack-min",
];

fn set(reader: &mut Reader<'_>, found: &mut Found, section: &str, setting: &'static str, value: &str, line: &Line<'_>) {
    if matches!(value, "null" | "~" | "") {
        return;
    }
    let at = reader.at(line);
    let wrong = match (section, setting) {
        ("", _) => {
            if MODES.contains(&value) {
                reader.into.kube_proxy.push(KubeProxy { setting: KubeProxySetting::Mode(value.to_owned()), at });
                return;
            }
            match nearest(value, MODES) {
                Some(meant) => format!("kube-proxy has no mode '{}'; did you mean '{meant}'?", short(value)),
                None => format!("kube-proxy has no mode '{}'", short(value)),
            }
        }
        (_, "be_liberal") => {
            if matches!(value, "true" | "false") {
                let setting = KubeProxySetting::Conntrack(setting, value.to_owned());
                reader.into.kube_proxy.push(KubeProxy { setting, at });
                return;
            }
            format!("'{}' is neither true nor false", short(value))
        }
        (_, _) => match Duration::parse(value) {
            // Go wants a unit, except for zero.
            Ok(span) if span.0 == 0 || value.ends_with(|letter: char| letter.is_ascii_alphabetic()) => {
                if section == "ipvs" {
                    let slot = ["tcp", "tcpfin", "udp"].iter().position(|name| *name == setting).and_then(|at| found.ipvs.get_mut(at));
                    if let Some(slot) = slot {
                        *slot = (span.0 > 0).then_some(span);
                    }
                    found.ipvs_at.get_or_insert(at);
                } else {
                    reader.into.kube_proxy.push(KubeProxy { setting: KubeProxySetting::Conntrack(setting, value.to_owned()), at });
                }
                return;
            }
            _ => format!("'{}' is no duration with a unit, as 15m0s or 900s", short(value)),
        },
    };
    reader.unread(line, Kind::KubeProxy, wrong);
}
