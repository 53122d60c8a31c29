//! Damaged texts: a line is read as it was, or named, or ignored; and no number becomes another one.

use crate::mixed::CLEAN;
use crate::{fixture, inventory, named};
use flowlapse::inventory::{At, Inventory, Kind};
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;

/// Everything that was read, without its place; of events also without the mark that may end their line.
fn facts(found: &Inventory) -> Vec<String> {
    let at = || At { origin: Arc::from(""), line: 0 };
    let mut out = Vec::new();
    out.extend(found.sysctls.iter().map(|one| format!("{} = {}", one.name, one.value)));
    out.extend(found.ipvs_timeouts.iter().map(|one| format!("{:?} {:?} {:?}", one.tcp, one.tcpfin, one.udp)));
    out.extend(found.ipvs_conns.iter().map(|one| format!("{:?}", flowlapse::inventory::IpvsConn { at: at(), ..one.clone() })));
    out.extend(found.conntrack.iter().map(|one| format!("{:?}", flowlapse::inventory::ConntrackEntry { at: at(), ..one.clone() })));
    out.extend(found.events.iter().map(|one| {
        format!(
            "{:?} {:?} {:?}",
            one.time,
            one.happened,
            flowlapse::inventory::ConntrackEntry { at: at(), assured: false, ..one.entry.clone() }
        )
    }));
    out.extend(found.sockets.iter().map(|one| format!("{:?}", flowlapse::inventory::Socket { at: at(), ..one.clone() })));
    for one in &found.services {
        out.push(format!("{:?} {:?}", one.proto, one.key));
        // Options may be cut off a service's line and none is missing there; those that are read are whole.
        out.extend(one.scheduler.map(|scheduler| format!("{:?} {scheduler}", one.key)));
        out.extend(one.persistence.map(|span| format!("{:?} {span}", one.key)));
        out.extend(one.reals.iter().map(|real| format!("{:?} {:?} {:?} {:?}", one.key, real.sock, real.method, real.weight)));
    }
    out
}

/// Kinds whose lines have something behind their last number, so that a cut one is known.
fn closed(name: &str, kind: Kind) -> bool {
    kind == Kind::Conntrack
        || name.starts_with("proc-ip_vs_conn")
        || name == "ss-tno-6.18.txt"
        || name == "ipvsadm-Ln-6.1.txt"
        || name.starts_with("netstat")
}

/// The text with one line changed.
fn with(lines: &[&str], at: usize, line: &str) -> String {
    lines.iter().enumerate().flat_map(|(number, whole)| [if number == at { line } else { *whole }, "\n"]).collect()
}

#[test]
fn a_cut_line_gives_what_it_gave_or_nothing() {
    for (name, kind) in CLEAN {
        let text = fixture(name);
        let lines: Vec<&str> = text.lines().collect();
        let whole: HashSet<String> = facts(&inventory(&text)).into_iter().collect();
        // Rules, policies and SSH have no facts above; they are cut for the sake of panics, at fewer places.
        let step = if whole.is_empty() || lines.len() > 40 { 7 } else { 3 };
        for (at, line) in lines.iter().enumerate().step_by(if lines.len() > 40 { 5 } else { 1 }) {
            for cut in (1..line.len()).step_by(step).filter(|cut| line.is_char_boundary(*cut)) {
                let short = &line[..cut];
                // Inside its last number, a line without an end cannot be told from a whole one; ipvsadm's is its real server's port.
                let columns = [" 10.0.1.", " [2001:db8:a:"].iter().filter_map(|real| line.rfind(real)).max();
                let last = match columns.filter(|_| name.starts_with("ipvsadm-Lnc")) {
                    Some(real) => real,
                    None if name == "ipvsadm-Sn-6.1.txt" && line.contains(" -p ") => line.find(" -p ").unwrap_or(0),
                    None => line.trim_end().rfind([' ', '\t', ',', '=', ':']).unwrap_or(0),
                };
                let seen: HashSet<String> = facts(&inventory(&with(&lines, at, short))).into_iter().collect();
                if closed(name, kind) || cut <= last {
                    let wrong: Vec<_> = seen.difference(&whole).collect();
                    assert!(wrong.is_empty(), "{name}: {short:?} gives {wrong:?}");
                }
            }
        }
    }
}

/// Letters that are a part of no number, address or name in these texts.
const STRANGE: [char; 8] = ['?', '~', '^', '\u{1}', 'ü', '\u{fffd}', '$', '\''];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_strange_letter_changes_no_number(which in 0..CLEAN.len(), at in any::<prop::sample::Index>(), strange in 0..STRANGE.len()) {
        let (name, kind) = CLEAN[which];
        let text = fixture(name);
        let letters: Vec<char> = text.chars().collect();
        let place = at.index(letters.len());
        let damaged: String = letters.iter().enumerate().map(|(index, letter)| if index == place && *letter != '\n' { STRANGE[strange] } else { *letter }).collect();
        let whole: HashSet<String> = facts(&inventory(&text)).into_iter().collect();
        for found in [inventory(&damaged), named(kind, &damaged)] {
            let seen: HashSet<String> = facts(&found).into_iter().collect();
            // Names of programs may hold any letter, and so may an unknown scheduler's. Facts show it as texts do: a single quote as it is.
            let shown = format!("{:?}", STRANGE[strange].to_string());
            let wrong: Vec<_> = seen.difference(&whole).filter(|fact| !fact.contains(shown.trim_matches('"'))).collect();
            prop_assert!(wrong.is_empty(), "{name}: at {place}: {wrong:?}");
        }
    }

    #[test]
    fn nothing_panics(which in 0..CLEAN.len(), other in 0..CLEAN.len(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..6), junk in "\\PC{0,12}") {
        let mut text = fixture(CLEAN[which].0);
        for cut in cuts {
            let mut place = cut.index(text.len() + 1);
            while !text.is_char_boundary(place) {
                place -= 1;
            }
            match place % 3 {
                0 => text.insert_str(place, &junk),
                1 => text.truncate(place),
                _ => text = format!("{}{}", &text[place..], &text[..place]),
            }
        }
        inventory(&text);
        named(CLEAN[other].1, &text);
    }

    #[test]
    fn no_text_panics(text in "[-+*:=\\[\\]{}()., \\n\\t#;a-z0-9A-F/]{0,200}", kind in 0..CLEAN.len()) {
        inventory(&text);
        named(CLEAN[kind].1, &text);
    }

    #[test]
    fn no_file_panics(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..60)) {
        let text = words.concat();
        inventory(&text);
        for kind in [Kind::Nft, Kind::Iptables, Kind::Keepalived, Kind::KubeProxy, Kind::Sshd, Kind::Ssh, Kind::IpvsServices, Kind::Sockets] {
            named(kind, &text);
        }
    }
}

const WORDS: [&str; 48] = [
    "table ip x {\n",
    "chain y {\n",
    "}\n",
    "{",
    "}",
    "ct state ",
    "vmap ",
    "established ",
    ": ",
    ", ",
    "accept",
    "drop\n",
    "\n",
    " ",
    "ct timeout a {\n",
    "protocol tcp;",
    "policy = { ",
    "established : 5",
    "-A ",
    "FORWARD ",
    "-j ",
    "ACCEPT\n",
    "! ",
    "--ctstate ",
    "*filter\n",
    "COMMIT\n",
    ":INPUT DROP\n",
    "virtual_server ",
    "192.0.2.1 ",
    "22 ",
    "real_server ",
    "weight 1\n",
    "lvs_timeouts ",
    "tcp 5 ",
    "ipvs:\n",
    "  tcpTimeout: ",
    "15m\n",
    "{\"ipvs\":",
    "Host ",
    "Match ",
    "ServerAliveInterval ",
    "= ",
    "\"",
    ".x = {\n",
    "TCP  192.0.2.1:22 wlc ",
    "persistent ",
    "-> 192.0.2.2:22 Masq 1 0 0\n",
    "ESTAB 0 0 192.0.2.1:22 192.0.2.2:5 timer:(on,1sec,0)\n",
];
