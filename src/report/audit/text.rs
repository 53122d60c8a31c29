//! The audit for people: the verdict, the path, what was found, live connections, what was assumed, what could not be read.

use super::{kind_name, occupancy};
use crate::finding::advice::Where;
use crate::model::Side;
use crate::report::printable;
use crate::report::study::Rows;
use crate::report::text::{date, describe, paragraph, several};
use crate::study::audit::Audit;
use crate::study::audit::forecast::{Class, End, Fate, Forecast, Notice, Table, Voice};
use crate::study::audit::rule::{Found, Severity};
use crate::study::audit::setup::{Host, Origin, keepalive_for};
use crate::time::Duration;
use std::fmt::Write;

/// How the text is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Columns to stay within.
    pub width: usize,
    /// How many connections are listed at most.
    pub limit: usize,
}

/// Writes the report.
pub fn write(audit: &Audit<'_>, layout: Layout) -> String {
    let mut out = String::new();
    if audit.is_interrupted() {
        paragraph(&mut out, "", "interrupted: this is of the lines that were read by then", layout.width);
    }
    verdict(&mut out, audit, layout);
    path(&mut out, audit, layout);
    for found in &audit.found {
        finding(&mut out, found, layout);
    }
    if let Some(forecast) = &audit.forecast {
        connections(&mut out, audit, forecast, layout);
    }
    norms(&mut out, audit);
    assumed(&mut out, audit, layout);
    unread(&mut out, audit, layout);
    out
}

fn verdict(out: &mut String, audit: &Audit<'_>, layout: Layout) {
    let words = [(Severity::Error, "error", "errors"), (Severity::Warning, "warning", "warnings"), (Severity::Info, "remark", "remarks")];
    let mut parts: Vec<String> = words
        .into_iter()
        .map(|(severity, one, many)| (audit.count(severity), one, many))
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| several(count, one, many))
        .collect();
    if parts.is_empty() {
        parts.push("nothing found".to_owned());
    }
    if let Some(forecast) = &audit.forecast {
        let risky = forecast.count(Class::AtRisk);
        if let Some(first) = forecast.of(Class::AtRisk).next() {
            let ends = first.left.unwrap_or(Duration::ZERO).human();
            parts.push(format!(
                "{}, the first in {ends}",
                several(risky, "live connection will be forgotten", "live connections will be forgotten")
            ));
        }
        let forgotten = forecast.count(Class::Forgotten);
        if forgotten > 0 {
            parts.push(several(forgotten, "is forgotten already", "are forgotten already"));
        }
    }
    if audit.unread() > 0 {
        parts.push(several(audit.unread(), "line could not be read", "lines could not be read"));
    }
    paragraph(out, "verdict: ", &parts.join("; "), layout.width);
}

fn path(out: &mut String, audit: &Audit<'_>, layout: Layout) {
    let setup = &audit.setup;
    let machine = &setup.machine.machine;
    let mut read: Vec<&str> = setup.inventories().flat_map(|shown| &shown.shown).map(|shown| kind_name(shown.kind)).collect();
    read.sort_unstable();
    read.dedup();
    let mut head: Vec<String> = Vec::new();
    head.extend(machine.hostname.as_deref().map(printable));
    head.extend(machine.release.as_deref().map(|release| format!("Linux {}", printable(release))));
    head.extend(machine.taken.map(|taken| format!("taken {}", date(taken))));
    if !read.is_empty() {
        head.push(format!("read: {}", read.join(", ")));
    }
    if !head.is_empty() {
        paragraph(out, "machine: ", &head.join("; "), layout.width);
    }
    let names: Vec<String> = setup.stands.iter().map(|stand| printable(stand.label())).collect();
    paragraph(
        out,
        "path: ",
        &format!("client → {} → server", if names.is_empty() { "(no box)".to_owned() } else { names.join(" → ") }),
        layout.width,
    );
    for (index, stand) in setup.stands.iter().enumerate() {
        let apart = if stand.apart { "; for the flows that IPVS does not balance" } else { "" };
        paragraph(out, &format!("  {}. ", index + 1), &format!("{}{apart}", describe(stand.hop())), layout.width);
    }
    for end in &setup.ends {
        paragraph(out, &format!("  {}: ", end.name()), &host(end), layout.width);
    }
    if let Some((index, timeout)) = setup.shortest() {
        let stand = &setup.stands[index];
        let limit = match keepalive_for(timeout, None) {
            Some((idle, interval)) => format!(
                "keepalive, heartbeats and pools have to stay below it: {idle} s or less, with one probe lost ({interval} s apart) at any HZ"
            ),
            None => "no keepalive of whole seconds stays below it".to_owned(),
        };
        paragraph(
            out,
            "shortest: ",
            &format!("{} of {} ({}); {limit}", timeout, printable(stand.label()), stand.origin(stand.established_name())),
            layout.width,
        );
    }
}

fn host(end: &Host<'_>) -> String {
    let mut text = format!("keepalive {}/{}/{}", end.time.value, end.interval.value, end.probes.value);
    let origins = [&end.time.from, &end.interval.from, &end.probes.from];
    let mut told: Vec<String> = Vec::new();
    for origin in origins {
        let one = origin.to_string();
        if !told.contains(&one) {
            told.push(one);
        }
    }
    text.push_str(&format!(" ({}); tcp_retries2 {}", printable(&told.join(", ")), end.retries2.value));
    text
}

fn finding(out: &mut String, found: &Found, layout: Layout) {
    let _ = writeln!(out, "\n{} {}", found.severity.name().to_uppercase(), found.rule.id());
    paragraph(out, "  ", &printable(&found.what), layout.width);
    if let Some(sum) = &found.sum {
        paragraph(out, "  violated: ", &printable(&sum.text), layout.width);
    }
    if !found.places.is_empty() {
        let places: Vec<String> = found.places.iter().map(|place| printable(&place.to_string())).collect();
        paragraph(out, "  where: ", &places.join(", "), layout.width);
    }
    paragraph(out, "  why: ", &format!("{} [{}]", found.rule.why(), found.rule.reference()), layout.width);
    for fix in &found.fixes {
        let note = if fix.note.is_empty() { String::new() } else { format!(" ({})", fix.note) };
        let place = match fix.at {
            Where::Box => "on the box",
            Where::End => "on an end",
        };
        paragraph(out, "  fix, ", &format!("{place}{note}:"), layout.width);
        for line in &fix.lines {
            // Lines to paste are never wrapped.
            let _ = writeln!(out, "    {line}");
        }
    }
}

fn connections(out: &mut String, audit: &Audit<'_>, forecast: &Forecast<'_>, layout: Layout) {
    out.push('\n');
    for table in Table::ALL {
        let (Some(count), limit) = occupancy(audit, table) else { continue };
        let states: Vec<String> =
            forecast.states.iter().filter(|((of, _), _)| *of == table).map(|((_, state), count)| format!("{state} {count}")).collect();
        let of = limit.map_or_else(String::new, |limit| {
            format!(" of {limit} ({}.{} %)", count * 100 / limit.max(1), count * 1000 / limit.max(1) % 10)
        });
        paragraph(
            out,
            &format!("{}: ", table.name()),
            &format!("{count} entries{of}{}{}", if states.is_empty() { "" } else { "; " }, states.join(", ")),
            layout.width,
        );
    }
    let counts: Vec<String> = Class::ALL
        .into_iter()
        .map(|class| (forecast.count(class), class.name()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if counts.is_empty() {
        return;
    }
    paragraph(out, "connections: ", &counts.join(", "), layout.width);
    let worth = |fate: &&Fate<'_>| match fate.class {
        Class::Forgotten | Class::AtRisk => true,
        Class::Unknown => fate.ends != [End::NotShown; 2],
        Class::PickedUp | Class::Protected | Class::Closing => false,
    };
    let mut listed: Vec<&Fate<'_>> = forecast.fates.iter().filter(worth).collect();
    // What nobody saves comes first; among equals the order of their ends.
    listed.sort_by_key(|fate| fate.class);
    if listed.is_empty() {
        listed = forecast.fates.iter().filter(|fate| matches!(fate.class, Class::Unknown | Class::Protected | Class::PickedUp)).collect();
    }
    let total = listed.len();
    listed.truncate(layout.limit);
    if listed.is_empty() {
        return;
    }
    out.push('\n');
    let mut rows = Rows::new(&["ENDS IN", "CLASS", "TABLE", "STATE", "CLIENT → SERVER"].map(str::to_owned), &[1, 2, 3, 4]);
    for fate in &listed {
        let left = fate.left.map_or_else(|| "-".to_owned(), Duration::human);
        rows.add(vec![
            left,
            fate.class.name().to_owned(),
            fate.table.name().to_owned(),
            printable(fate.state),
            format!("{} → {}", fate.client, fate.server),
        ]);
    }
    let mut table = String::new();
    rows.write(&mut table);
    let mut lines = table.lines();
    if let Some(head) = lines.next() {
        let _ = writeln!(out, "{head}");
    }
    for (line, fate) in lines.zip(&listed) {
        let _ = writeln!(out, "{line}");
        let said = story(fate);
        if !said.is_empty() {
            paragraph(out, "         ", &said, layout.width);
        }
    }
    if total > listed.len() {
        let _ = writeln!(out, "... and {} more (--limit)", total - listed.len());
    }
}

/// Two moments, or one.
fn between(from: Duration, to: Duration) -> String {
    let (from, to) =
        (Duration::from_secs(from.as_secs()), Duration::from_secs(to.as_secs() + u64::from(!to.0.is_multiple_of(1_000_000_000))));
    if to <= from + Duration::from_secs(1) { from.human() } else { format!("{} to {}", from.human(), to.human()) }
}

/// What both ends do, and when they learn of it.
fn story(fate: &Fate<'_>) -> String {
    let mut parts: Vec<String> = fate.real.map(|real| format!("behind it {real}")).into_iter().collect();
    for side in [Side::Client, Side::Server] {
        let index = usize::from(side == Side::Server);
        let name = side.name();
        let does = match fate.ends[index] {
            End::NotShown => continue,
            End::Silent => format!("{name}: no timer"),
            End::Speaks(speaks) => {
                let when = between(speaks.earliest, speaks.latest);
                match speaks.voice {
                    Voice::Keepalive => format!("{name}: keepalive in {when}"),
                    Voice::OwnKeepalive => format!("{name}: keepalive of its own in {when}"),
                    Voice::Retransmission => format!("{name}: retransmits in {when}"),
                    Voice::Persist => format!("{name}: asks about its window in {when}"),
                    Voice::Assumed => format!("{name}: keepalive in {when} (--keepalive)"),
                }
            }
        };
        let learns = match fate.notices[index] {
            Notice::NotShown => String::new(),
            Notice::Never => ", learns of it when it writes".to_owned(),
            Notice::Heals => ", and is picked up again".to_owned(),
            Notice::Reset(from, to) => format!(", learns of it by a reset in {}", between(from, to)),
            Notice::TimesOut(from, to) => format!(", learns of it by ETIMEDOUT in {}", between(from, to)),
        };
        parts.push(does + &learns);
    }
    if fate.capped {
        parts.push("a shorter timer than ESTABLISHED's, or near the end of a long silence".to_owned());
    }
    if !fate.remark.is_empty() {
        parts.push(fate.remark.to_owned());
    }
    parts.join("; ")
}

fn norms(out: &mut String, audit: &Audit<'_>) {
    if audit.norms.is_empty() {
        return;
    }
    out.push('\n');
    let stands = &audit.setup.stands;
    let mut rows = Rows::new(&["CLAUSE", "ABOUT", "ASKS", "HAS", "HOLDS", "WHOSE"].map(str::to_owned), &[0, 1, 4, 5]);
    for norm in &audit.norms {
        let from = if matches!(norm.from, Origin::Default(_)) { " (default)" } else { "" };
        rows.add(vec![
            norm.clause.to_owned(),
            norm.about.to_owned(),
            norm.at_least.as_secs().to_string(),
            norm.value.as_secs().to_string(),
            if norm.holds { "yes" } else { "no" }.to_owned(),
            format!(
                "{} {}{from}",
                stands
                    .iter()
                    .position(|stand| stand.label() == norm.whose)
                    .map_or_else(|| norm.whose.clone(), |at| format!("box {}", at + 1)),
                norm.setting
            ),
        ]);
    }
    rows.write(out);
}

fn assumed(out: &mut String, audit: &Audit<'_>, layout: Layout) {
    if audit.gathered.assumptions.is_empty() {
        return;
    }
    out.push_str("\nassumed:\n");
    for text in &audit.gathered.assumptions {
        paragraph(out, "  - ", &printable(text), layout.width);
    }
}

fn unread(out: &mut String, audit: &Audit<'_>, layout: Layout) {
    let notes: Vec<String> =
        audit.setup.inventories().flat_map(|shown| &shown.notes).map(|note| format!("{}: {}", note.at, note.text)).collect();
    if !notes.is_empty() {
        out.push_str("\nto know:\n");
        for note in notes.iter().take(layout.limit) {
            paragraph(out, "  - ", &printable(note), layout.width);
        }
        if notes.len() > layout.limit {
            let _ = writeln!(out, "  ... and {} more (--limit)", notes.len() - layout.limit);
        }
    }
    if audit.unread() == 0 {
        return;
    }
    out.push_str("\ncould not be read:\n");
    let lines = audit.setup.inventories().flat_map(|shown| &shown.unread);
    let told = lines.map(|line| format!("{}: {} ({}): '{}'", line.at, line.why, kind_name(line.kind), line.text));
    let refused = audit.gathered.refused.iter().map(|refused| format!("{}: {}", refused.from, refused.value));
    for line in told.chain(refused).take(layout.limit) {
        paragraph(out, "  - ", &printable(&line), layout.width);
    }
    if audit.unread() > layout.limit {
        let _ = writeln!(out, "  ... and {} more (--limit)", audit.unread() - layout.limit);
    }
}
