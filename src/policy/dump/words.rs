//! The lines of a pasted text that are no `key = value` of sysctl: commands, flags, and what a command printed.
//!
//! Sources: the spec's ipvs.md sections 1.2 and 11.1; kube-proxy's reference of flags and its configuration
//! (`kubeproxy.config.k8s.io/v1alpha1`). Nothing here knows what a setting does.

use super::{Reader, TimeoutPolicy, policy_setting, policy_timers};

/// The part of a kube-proxy configuration in which a line stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Section {
    /// None of those that are read.
    #[default]
    Other,
    /// `conntrack:`.
    Conntrack,
    /// `ipvs:`.
    Ipvs,
}

/// kube-proxy's flags, the keys of its configuration, and the settings that they are.
const KUBE: [(&str, Section, &str, &str); 8] = [
    ("--ipvs-tcp-timeout", Section::Ipvs, "tcpTimeout", "tcp"),
    ("--ipvs-tcpfin-timeout", Section::Ipvs, "tcpFinTimeout", "tcpfin"),
    ("--ipvs-udp-timeout", Section::Ipvs, "udpTimeout", "udp"),
    ("--conntrack-tcp-timeout-established", Section::Conntrack, "tcpEstablishedTimeout", "established"),
    ("--conntrack-tcp-timeout-close-wait", Section::Conntrack, "tcpCloseWaitTimeout", "close_wait"),
    ("--conntrack-udp-timeout", Section::Conntrack, "udpTimeout", "udp"),
    ("--conntrack-udp-timeout-stream", Section::Conntrack, "udpStreamTimeout", "udp_stream"),
    ("--conntrack-tcp-be-liberal", Section::Conntrack, "tcpBeLiberal", "be_liberal"),
];

/// Reads a line of one of these forms and says whether it set anything; nothing where it has none of them.
pub(super) fn line(reader: &mut Reader, raw: &str, number: usize) -> Option<Result<bool, String>> {
    let line = raw.trim();
    if let Some(values) = line.strip_prefix("Timeout (tcp tcpfin udp):") {
        return Some(three(values).and_then(|values| reader.ipvs_set(values, number)));
    }
    let words: Vec<&str> = line.split_whitespace().map(bare).filter(|word| !word.is_empty() && *word != "-").collect();
    if let Some(at) = words.iter().position(|word| *word == "--set") {
        return Some(three(&words[at + 1..].join(" ")).and_then(|values| reader.ipvs_set(values, number)));
    }
    if let ["lvs_timeouts", pairs @ ..] = words.as_slice() {
        return Some(keepalived(reader, pairs, number));
    }
    if matches!(words.as_slice(), ["nfct", "add", "timeout", ..] | ["nfct", "timeout", "add", ..]) {
        return Some(nfct(&words[3..]).and_then(|policy| reader.add(policy, number)).map(|()| true));
    }
    if let ["echo", value, ">", file] = words.as_slice() {
        return Some(reader.sysctl(file, value, number));
    }
    if words.iter().any(|word| word.starts_with("--")) {
        return Some(flags(reader, &words, number));
    }
    if !line.contains(|letter: char| !letter.is_ascii_digit() && !matches!(letter, ',' | ' ' | '\t')) {
        return Some(three(line).and_then(|values| reader.ipvs_set(values, number)));
    }
    yaml(reader, raw, number)
}

/// A word without what quotes it in a shell, in YAML, or in JSON.
fn bare(word: &str) -> &str {
    word.trim_matches(['"', '\'', ',', '[', ']'])
}

/// The three values of ipvsadm, with commas or blanks between them.
fn three(text: &str) -> Result<[&str; 3], String> {
    let values: Vec<&str> = text.split([',', ' ', '\t']).filter(|value| !value.is_empty()).collect();
    let number = |value: &&str| value.bytes().all(|letter| letter.is_ascii_digit());
    match values.as_slice() {
        [tcp, tcpfin, udp] if values.iter().all(number) => Ok([tcp, tcpfin, udp]),
        _ => Err(format!(
            "ipvsadm's timeouts are three whole numbers of seconds, tcp tcpfin udp, as in '900 120 300', not '{}'",
            text.trim()
        )),
    }
}

/// `tcp 900 tcpfin 120 udp 300`, behind `lvs_timeouts` in keepalived's `global_defs`.
fn keepalived(reader: &mut Reader, pairs: &[&str], number: usize) -> Result<bool, String> {
    for pair in pairs.chunks(2) {
        match pair {
            [name @ ("tcp" | "tcpfin" | "udp"), value] => reader.ipvs(name, value, number)?,
            _ => {
                return Err(format!(
                    "lvs_timeouts takes tcp, tcpfin and udp with seconds, as in 'tcp 900 udp 300', not '{}'",
                    pair.join(" ")
                ));
            }
        };
    }
    Ok(!pairs.is_empty())
}

/// `NAME inet tcp established 100 close 10`, behind `nfct add timeout`.
fn nfct(words: &[&str]) -> Result<TimeoutPolicy, String> {
    let [name, _family, protocol, rest @ ..] = words else {
        return Err("nfct is read as in 'nfct add timeout NAME inet tcp established 3600'".to_owned());
    };
    let (protocol, known) = policy_timers(protocol)?;
    let mut timers = Vec::new();
    for pair in rest.chunks(2) {
        let [timer, value] = pair else { return Err(format!("the timer '{}' of '{name}' has no value", pair[0])) };
        timers.push((policy_setting(known, timer)?, (*value).to_owned(), 0));
    }
    Ok(TimeoutPolicy { name: (*name).to_owned(), tool: "nfct", protocol, timers, fills: false })
}

/// kube-proxy's flags, each with its value behind `=` or in the next word.
fn flags(reader: &mut Reader, words: &[&str], number: usize) -> Result<bool, String> {
    let mut any = false;
    for (at, word) in words.iter().enumerate() {
        let (flag, value) = word.split_once('=').map_or((*word, None), |(flag, value)| (flag, Some(bare(value))));
        let Some((_, section, _, setting)) = KUBE.iter().find(|(known, ..)| *known == flag) else { continue };
        let following = words.get(at + 1).copied().filter(|next| !next.starts_with("--"));
        let value = match value.or(following) {
            Some(value) => value,
            None if *setting == "be_liberal" => "true",
            None => return Err(format!("{flag} has no value, as in '{flag}=15m'")),
        };
        kube(reader, *section, setting, value, number)?;
        any = true;
    }
    Ok(any)
}

/// A line of a kube-proxy configuration: the head of a section, or a timeout inside one.
fn yaml(reader: &mut Reader, raw: &str, number: usize) -> Option<Result<bool, String>> {
    let line = raw.trim();
    let indent = raw.len() - raw.trim_start().len();
    let (key, value) = line.split_once(':')?;
    if indent <= reader.section.1 {
        reader.section = (Section::Other, indent);
    }
    if value.trim().is_empty() && !key.contains(char::is_whitespace) {
        if reader.section.0 != Section::Other {
            // A list inside the section.
            return Some(Ok(false));
        }
        let section = match key {
            "conntrack" => Section::Conntrack,
            "ipvs" => Section::Ipvs,
            _ => Section::Other,
        };
        reader.section = (section, indent);
        return Some(Ok(false));
    }
    let section = reader.section.0;
    let (.., setting) = KUBE.iter().find(|(_, place, known, _)| *place == section && *known == key)?;
    match bare(value.trim()) {
        "null" | "~" => Some(Ok(false)),
        value => Some(kube(reader, section, setting, value, number).map(|()| true)),
    }
}

/// A setting of kube-proxy's; a zero leaves what the kernel has.
fn kube(reader: &mut Reader, section: Section, setting: &str, value: &str, number: usize) -> Result<(), String> {
    let zero = setting != "be_liberal" && crate::time::Duration::parse(value).is_ok_and(|span| span.0 == 0);
    match section {
        Section::Ipvs if zero => drop(reader.dump.ipvs.get_or_insert_default()),
        _ if zero => {}
        Section::Ipvs => drop(reader.ipvs(setting, value, number)?),
        _ => drop(reader.conntrack(setting, value, number)?),
    }
    Ok(())
}
