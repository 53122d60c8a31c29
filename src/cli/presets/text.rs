//! The list and the details for people: plain text of at most 80 columns, wherever the words allow it.

use super::catalogue::{BoxKind, Catalogue, DialectRow, DialectTimer, Origin, PresetRow, PresetTimer};
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: usize = 80;

/// Everything in brief.
pub(super) fn list(all: &Catalogue) -> String {
    let mut out = String::from("BOXES (replay --box SPEC)\n");
    for b in &all.boxes {
        wrapped(&mut out, &format!("  {:<11}", b.kind), b.models);
        let _ = writeln!(out, "{:13}--box {}", "", b.example);
    }
    out.push('\n');
    dialects(&mut out, "CONNTRACK DIALECTS (--box conntrack:dialect=NAME)", &all.dialects.conntrack);
    out.push('\n');
    dialects(&mut out, "IPVS DIALECTS (--box ipvs:dialect=NAME)", &all.dialects.ipvs);
    out.push_str("\nPRESETS (--box ID); times in seconds, '-' where nobody documents them\n");
    let _ = writeln!(out, "  {:<24}{:<10}{:>11} {:>11}  {:>8}  verified", "id", "kind", "established", "half-closed", "udp");
    for p in &all.presets {
        preset_line(&mut out, p);
    }
    out.push_str("\n`flowlapse presets NAME` tells everything about a box, a dialect or a preset.\n");
    out
}

fn dialects(out: &mut String, title: &str, rows: &[DialectRow]) {
    let _ = writeln!(out, "{title}");
    let Some(default) = rows.iter().find(|row| row.default) else { return };
    let timers: Vec<String> = default.timers.iter().map(|t| format!("{} {}", t.name, t.seconds)).collect();
    wrapped(out, "  ", &format!("timers of {}, in seconds: {}; a row names those that differ", default.name, timers.join(", ")));
    for row in rows {
        let mark = if row.default { "* " } else { "  " };
        let mut lines = vec![row.releases.to_owned()];
        if row.default {
            lines.push("used where no dialect is named".to_owned());
        }
        let differ = differences(&row.timers, &default.timers);
        if !differ.is_empty() {
            lines.push(format!("timers: {}", differ.join(", ")));
        }
        let names: Vec<&str> = row.aliases.iter().chain(&row.distributions).copied().collect();
        if !names.is_empty() {
            lines.push(format!("also {}", names.join(", ")));
        }
        wrapped(out, &format!("{mark}{:<19}", row.name), &lines.join("; "));
    }
}

fn differences(timers: &[DialectTimer], usual: &[DialectTimer]) -> Vec<String> {
    let own = timers.iter().filter(|t| !usual.contains(t)).map(|t| format!("{} {}", t.name, t.seconds));
    let missing = usual.iter().filter(|u| !timers.iter().any(|t| t.name == u.name)).map(|u| format!("no {}", u.name));
    own.chain(missing).collect()
}

fn preset_line(out: &mut String, p: &PresetRow) {
    let documented = |name: &str| p.timers.iter().find(|t| t.name == name && t.origin != Origin::Assumed);
    let half: Vec<String> = ["fin_wait", "close_wait"].iter().filter_map(|name| documented(name)).map(seconds).collect();
    let mut udp: Vec<String> =
        ["udp_first", "udp_unreplied", "udp_stream", "udp_normal"].iter().filter_map(|name| documented(name)).map(seconds).collect();
    udp.dedup();
    let dash = |parts: Vec<String>| if parts.is_empty() { "-".to_owned() } else { parts.join("/") };
    let established = documented("established").map_or("-".to_owned(), seconds);
    let _ = writeln!(out, "  {:<24}{:<10}{established:>11} {:>11}  {:>8}  {}", p.id, p.kind, dash(half), dash(udp), p.verified);
    let _ = writeln!(out, "    on expiry {}, on stray {}", p.on_expiry, p.on_stray);
}

/// Everything about what one name means.
pub(super) fn details(part: &Catalogue) -> String {
    let boxes = part.boxes.iter().map(box_details);
    let conntrack = part.dialects.conntrack.iter().map(|row| dialect_details("conntrack", row));
    let ipvs = part.dialects.ipvs.iter().map(|row| dialect_details("ipvs", row));
    let presets = part.presets.iter().map(preset_details);
    boxes.chain(conntrack).chain(ipvs).chain(presets).collect::<Vec<_>>().join("\n")
}

fn box_details(b: &BoxKind) -> String {
    let mut out = format!("box {}\n", b.kind);
    field(&mut out, "models", b.models);
    field(&mut out, "example", &format!("--box {}", b.example));
    out.push_str("\nsettings\n");
    for s in &b.settings {
        let aliases = if s.aliases.is_empty() { String::new() } else { format!(" (also {})", s.aliases.join(", ")) };
        wrapped(&mut out, &format!("  {:<25}", s.name), &format!("{}{aliases}", s.takes));
    }
    out
}

fn dialect_details(kind: &str, row: &DialectRow) -> String {
    let mut out = format!("{kind} dialect {}\n", row.name);
    field(&mut out, "releases", row.releases);
    field(&mut out, "box", &format!("--box {kind}:dialect={}", row.name));
    if row.default {
        field(&mut out, "default", "used where no dialect is named");
    }
    if !row.aliases.is_empty() {
        field(&mut out, "also", &row.aliases.join(", "));
    }
    if !row.distributions.is_empty() {
        field(&mut out, "kernels of", &format!("{} (which level a distribution carries is an assumption)", row.distributions.join(", ")));
    }
    out.push_str("\ntimers, seconds\n");
    for t in &row.timers {
        let _ = writeln!(out, "  {:<18}{:>8}", t.name, t.seconds);
    }
    let Some(before) = row.before else {
        out.push_str("\nthe oldest row\n");
        return out;
    };
    if row.changes.is_empty() {
        let _ = writeln!(out, "\nno rule that is modelled differs from {before}");
        return out;
    }
    let _ = writeln!(out, "\nchanged against {before}");
    for c in &row.changes {
        let values = if c.before.is_empty() { c.now.clone() } else { format!("{} -> {}", c.before, c.now) };
        let _ = writeln!(out, "  {}: {values}", c.flag);
        wrapped(&mut out, "      ", c.meaning);
    }
    out
}

fn preset_details(p: &PresetRow) -> String {
    let mut out = format!("preset {}\n", p.id);
    field(&mut out, "name", p.name);
    field(&mut out, "version", p.version);
    field(&mut out, "kind", &format!("{}, played by the {} model", p.kind, p.model));
    field(&mut out, "box", &format!("--box {}", p.id));
    if let Some(base) = p.base {
        field(&mut out, "built on", base);
    }
    let doubt = |name: &str| if p.unverified.contains_key("all") || p.unverified.contains_key(name) { " (unverified)" } else { "" };
    field(&mut out, "on expiry", &format!("{}{}", p.on_expiry, doubt("on_expiry")));
    field(&mut out, "on stray", &format!("{}{}", p.on_stray, doubt("on_stray")));
    field(&mut out, "refresh", &format!("{}{}", p.refresh, doubt("refresh")));
    if let Some(activity) = p.activity {
        field(&mut out, "activity", &format!("{activity}{}", doubt("activity")));
    }
    field(&mut out, "verified", p.verified);
    out.push_str("\ntimers, seconds\n");
    for t in &p.timers {
        let _ = writeln!(out, "  {:<18}{:>8}  {}", t.name, seconds(t), origin(t));
    }
    for (name, recorded) in [("icmp", p.icmp), ("other", p.other)] {
        if let Some(value) = recorded {
            let _ = writeln!(out, "  {name:<18}{value:>8}  recorded only, no flow uses it");
        }
    }
    if let Some(probes) = &p.probes {
        out.push_str("\nprobes of its own\n");
        let said = [
            ("when", Some(probes.when)),
            ("trigger", Some(probes.trigger)),
            ("interval", probes.interval),
            ("count", probes.count),
            ("to", Some(probes.to)),
            ("effect", probes.effect),
        ];
        for (name, value) in said {
            if let Some(value) = value {
                field(&mut out, name, value);
            }
        }
    }
    for (title, map) in
        [("settings", p.settings), ("configurable", p.configurable), ("the vendor's own names", p.native), ("unverified", p.unverified)]
    {
        entries(&mut out, title, map);
    }
    for (title, lines) in [("notes", p.notes), ("sources", p.sources)] {
        if !lines.is_empty() {
            let _ = writeln!(out, "\n{title}");
            for line in lines {
                wrapped(&mut out, "  - ", line);
            }
        }
    }
    out
}

fn origin(t: &PresetTimer) -> String {
    let from = t.from.as_deref().unwrap_or_default();
    match (t.origin, t.unverified) {
        (Origin::Own, false) => "own".to_owned(),
        (Origin::Own, true) => "own, unverified".to_owned(),
        (Origin::Inherited, false) => format!("inherited from {from}"),
        (Origin::Inherited, true) => format!("inherited from {from}, unverified"),
        (Origin::Assumed, _) => format!("assumed: not documented, as {from}"),
    }
}

fn entries(out: &mut String, title: &str, map: &BTreeMap<String, String>) {
    if map.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for (name, value) in map {
        wrapped(out, &format!("  {name}: "), if value.is_empty() { "no source" } else { value });
    }
}

fn seconds(t: &PresetTimer) -> String {
    t.seconds.map_or("never".to_owned(), |s| s.to_string())
}

fn field(out: &mut String, name: &str, value: &str) {
    wrapped(out, &format!("  {name:<12}"), value);
}

/// Text after a head, broken between words; what follows the first line stands below its first word, or four columns in
/// where the head is long.
fn wrapped(out: &mut String, head: &str, text: &str) {
    let indent = if head.chars().count() <= WIDTH / 2 { head.chars().count() } else { 4 };
    let mut line = head.to_owned();
    let mut column = head.chars().count();
    let mut fresh = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !fresh && column + 1 + length > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(indent);
            column = indent;
            fresh = true;
        }
        if !fresh {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        column += length;
        fresh = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}
