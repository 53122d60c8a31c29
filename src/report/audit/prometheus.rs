//! The audit as metrics, in the text format that node_exporter's textfile collector reads. Base units; the order is always the same.
//!
//! Source: Prometheus' description of its exposition formats, version 0.0.4. docs/monitoring explains each metric.

use super::{occupancy, timers};
use crate::inventory::{Kind, SocketTimer};
use crate::study::audit::Audit;
use crate::study::audit::forecast::{Class, SHARES, Table};
use crate::study::audit::rule::{Rule, Severity};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Every metric: its name and what it is.
pub const METRICS: [(&str, &str); 20] = [
    ("flowlapse_audit_info", "The program's version and the machine that was audited; always 1."),
    ("flowlapse_dump_timestamp_seconds", "When the tables were read, as the dump says."),
    ("flowlapse_entries", "Entries that were listed, by table and state."),
    ("flowlapse_table_entries", "Entries of a table: what the kernel counts, else what was listed."),
    ("flowlapse_entries_limit", "How many entries a table may have."),
    ("flowlapse_flows", "Live connections by what becomes of them."),
    ("flowlapse_entries_at_risk", "Live connections whose entry ends before either end says anything."),
    ("flowlapse_first_premature_end_seconds", "How long until the first of them is forgotten, counted from the dump."),
    ("flowlapse_silent_entries", "Established TCP entries that have been quiet for a share of their timer, at the least."),
    ("flowlapse_capped_entries", "ESTABLISHED entries on a shorter timer than ESTABLISHED's, or near the end of a long silence."),
    ("flowlapse_sockets", "Established TCP sockets that were listed, by whether keepalive is on."),
    ("flowlapse_timeout_seconds", "Timers in force, by box and setting."),
    ("flowlapse_keepalive_idle_seconds", "After how long a silence an end sends its first keepalive probe."),
    ("flowlapse_shortest_timeout_seconds", "The shortest timer of established connections on the path."),
    ("flowlapse_findings", "Findings by rule and severity."),
    ("flowlapse_findings_by_severity", "Findings by severity."),
    ("flowlapse_norms_violated", "Requirements of RFC 5382, RFC 4787 and RFC 1122 that are not met."),
    ("flowlapse_assumptions", "Values that nothing showed and that were assumed."),
    ("flowlapse_unread_lines", "Lines that look as if they belonged here and could not be read."),
    ("flowlapse_ignored_lines", "Lines that are about nothing here."),
];

/// The metrics written so far.
struct Sheet {
    out: String,
}

impl Sheet {
    /// Writes all samples of a metric, if there are any.
    fn metric(&mut self, name: &'static str, samples: impl IntoIterator<Item = (Vec<(&'static str, String)>, f64)>) {
        let mut first = true;
        for (labels, value) in samples {
            if first {
                let help = METRICS.iter().find(|(known, _)| *known == name).map_or("", |(_, help)| help);
                let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} gauge");
                first = false;
            }
            let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(self.out, "{name}{labels} {value}");
        }
    }

    fn single(&mut self, name: &'static str, value: Option<f64>) {
        self.metric(name, value.map(|value| (Vec::new(), value)));
    }
}

/// A label's value between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes all of them.
pub fn write(audit: &Audit<'_>) -> String {
    let mut sheet = Sheet { out: String::new() };
    let setup = &audit.setup;
    let machine = &setup.machine.machine;
    let info = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("hostname", machine.hostname.clone().unwrap_or_default()),
        ("kernel", machine.release.clone().unwrap_or_default()),
    ];
    sheet.metric("flowlapse_audit_info", [(info, 1.0)]);
    sheet.single("flowlapse_dump_timestamp_seconds", machine.taken.map(|taken| taken.0 as f64 / 1e9));
    if let Some(forecast) = &audit.forecast {
        let table = |table: Table| ("table", table.name().to_owned());
        sheet.metric(
            "flowlapse_entries",
            forecast.states.iter().map(|((of, state), count)| (vec![table(*of), ("state", (*state).to_owned())], *count as f64)),
        );
    }
    let sizes = Table::ALL.map(|table| (table, occupancy(audit, table)));
    let label = |table: Table| vec![("table", table.name().to_owned())];
    sheet.metric("flowlapse_table_entries", sizes.iter().filter_map(|(table, (count, _))| Some((label(*table), (*count)? as f64))));
    sheet.metric("flowlapse_entries_limit", sizes.iter().filter_map(|(table, (_, limit))| Some((label(*table), (*limit)? as f64))));
    forecast(&mut sheet, audit);
    sockets(&mut sheet, audit);
    let mut spans = Vec::new();
    for (index, stand) in setup.stands.iter().enumerate() {
        for (setting, span) in timers(&stand.hop().device, stand) {
            let labels = vec![("box", format!("{}.{}", index + 1, stand.label())), ("setting", setting.to_owned())];
            spans.push((labels, span.as_secs_f64()));
        }
    }
    sheet.metric("flowlapse_timeout_seconds", spans);
    sheet.metric(
        "flowlapse_keepalive_idle_seconds",
        setup.ends.iter().map(|end| (vec![("end", end.name().to_owned())], end.time.value as f64)),
    );
    sheet.single("flowlapse_shortest_timeout_seconds", setup.shortest().map(|(_, span)| span.as_secs_f64()));
    let mut counts: BTreeMap<(Rule, Severity), u64> = BTreeMap::new();
    for found in &audit.found {
        *counts.entry((found.rule, found.severity)).or_default() += 1;
    }
    let labels = |(rule, severity): &(Rule, Severity)| vec![("rule", rule.id().to_owned()), ("severity", severity.name().to_owned())];
    sheet.metric("flowlapse_findings", counts.iter().map(|(key, count)| (labels(key), *count as f64)));
    sheet.metric(
        "flowlapse_findings_by_severity",
        Severity::ALL.map(|severity| (vec![("severity", severity.name().to_owned())], audit.count(severity) as f64)),
    );
    sheet.single("flowlapse_norms_violated", Some(audit.norms.iter().filter(|norm| !norm.holds).count() as f64));
    sheet.single("flowlapse_assumptions", Some(audit.gathered.assumptions.len() as f64));
    sheet.single("flowlapse_unread_lines", Some(audit.unread() as f64));
    sheet.single("flowlapse_ignored_lines", Some(setup.inventories().map(|shown| shown.ignored).sum::<u64>() as f64));
    sheet.out
}

/// What becomes of live connections.
fn forecast(sheet: &mut Sheet, audit: &Audit<'_>) {
    let Some(forecast) = &audit.forecast else { return };
    // A table that is shown has all its classes, also those with nobody in them, so that alerts see them fall to zero.
    let shown: Vec<Table> = Table::ALL.into_iter().filter(|table| occupancy(audit, *table).0.is_some()).collect();
    let mut counts: BTreeMap<(Table, Class), u64> = BTreeMap::new();
    for fate in &forecast.fates {
        *counts.entry((fate.table, fate.class)).or_default() += 1;
    }
    let count = |table: Table, class: Class| counts.get(&(table, class)).copied().unwrap_or(0) as f64;
    let table = |table: Table| ("table", table.name().to_owned());
    let flows =
        shown.iter().flat_map(|of| Class::ALL.map(|class| (vec![table(*of), ("class", class.name().to_owned())], count(*of, class))));
    sheet.metric("flowlapse_flows", flows);
    sheet.metric("flowlapse_entries_at_risk", shown.iter().map(|of| (vec![table(*of)], count(*of, Class::AtRisk))));
    let first = |of: &Table| forecast.of(Class::AtRisk).find(|fate| fate.table == *of)?.left;
    sheet.metric("flowlapse_first_premature_end_seconds", shown.iter().filter_map(|of| Some((vec![table(*of)], first(of)?.as_secs_f64()))));
    let silent = forecast.silent.iter().flat_map(|(of, counts)| {
        let share = |share: u64| ("share", format!("{:.2}", share as f64 / 100.0));
        SHARES.into_iter().zip(counts).map(move |(percent, count)| (vec![table(*of), share(percent)], *count as f64))
    });
    sheet.metric("flowlapse_silent_entries", silent);
    let capped = forecast.fates.iter().filter(|fate| fate.capped).count();
    sheet.single("flowlapse_capped_entries", shown.contains(&Table::Conntrack).then_some(capped as f64));
}

/// Established sockets, by whether keepalive is on.
fn sockets(sheet: &mut Sheet, audit: &Audit<'_>) {
    let setup = &audit.setup;
    let lists = [("machine", Some(setup.machine)), ("client", setup.ends[0].shown), ("server", setup.ends[1].shown)];
    let mut samples = Vec::new();
    for (whose, inventory) in lists {
        let Some(inventory) = inventory.filter(|shown| shown.has(Kind::Sockets)) else { continue };
        let established = inventory.sockets.iter().filter(|socket| socket.state == "ESTAB");
        let mut counts = [0_u64; 3];
        for socket in established {
            counts[match socket.timer {
                Some((SocketTimer::Keepalive, ..)) => 0,
                Some(_) => 1,
                None => 2,
            }] += 1;
        }
        for (timer, count) in ["keepalive", "other", "none"].into_iter().zip(counts) {
            samples.push((vec![("host", whose.to_owned()), ("timer", timer.to_owned())], count as f64));
        }
    }
    sheet.metric("flowlapse_sockets", samples);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }
}
