//! The audit for machines: schema `flowlapse-audit/1`, described in docs/json.md. Durations are whole nanoseconds, times nanoseconds
//! since 1970.

use super::{kind_name, occupancy, timers};
use crate::finding::advice::Where;
use crate::study::audit::Audit;
use crate::study::audit::forecast::{Class, End, Fate, Notice, SHARES, Table, Voice};
use crate::study::audit::rule::{Found, Severity};
use crate::study::audit::setup::Host;
use serde_json::{Map, Value, json};

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-audit/1";

/// The document.
pub fn document(audit: &Audit<'_>) -> Value {
    let setup = &audit.setup;
    let machine = &setup.machine.machine;
    let mut map = Map::new();
    map.insert("schema".to_owned(), json!(SCHEMA));
    map.insert("hostname".to_owned(), json!(machine.hostname));
    map.insert("kernel".to_owned(), json!(machine.release));
    map.insert("taken_ns".to_owned(), json!(machine.taken.map(|taken| taken.0)));
    let shown: Vec<Value> = setup
        .inventories()
        .flat_map(|shown| &shown.shown)
        .map(|shown| json!({"kind": kind_name(shown.kind), "at": shown.at.to_string()}))
        .collect();
    map.insert("read".to_owned(), json!(shown));
    let boxes: Vec<Value> = setup
        .stands
        .iter()
        .map(|stand| {
            let timers: Vec<Value> = timers(&stand.hop().device, stand)
                .into_iter()
                .map(|(name, span)| json!({"setting": name, "timeout_ns": span.0, "from": stand.origin(name).to_string()}))
                .collect();
            json!({
                "label": stand.label(),
                "box": stand.hop().policy.to_json(),
                "dialect": stand.hop().dialect(),
                "apart": stand.apart,
                "timers": timers,
            })
        })
        .collect();
    map.insert("boxes".to_owned(), json!(boxes));
    let ends: Vec<Value> = setup.ends.iter().map(host).collect();
    map.insert("ends".to_owned(), json!(ends));
    let shortest = setup.shortest().map(|(index, span)| json!({"box": index + 1, "timeout_ns": span.0}));
    map.insert("shortest".to_owned(), json!(shortest));
    let mut summary: Map<String, Value> =
        Severity::ALL.into_iter().map(|severity| (severity.name().to_owned(), json!(audit.count(severity)))).collect();
    summary.insert("unread".to_owned(), json!(audit.unread()));
    summary.insert("assumptions".to_owned(), json!(audit.gathered.assumptions.len()));
    if let Some(forecast) = &audit.forecast {
        for class in Class::ALL {
            summary.insert(class.name().replace('-', "_"), json!(forecast.count(class)));
        }
        summary.insert("first_end_ns".to_owned(), json!(forecast.of(Class::AtRisk).next().and_then(|fate| fate.left).map(|left| left.0)));
    }
    map.insert("interrupted".to_owned(), json!(audit.is_interrupted()));
    map.insert("summary".to_owned(), Value::Object(summary));
    map.insert("findings".to_owned(), audit.found.iter().map(finding).collect());
    let norms: Vec<Value> = audit
        .norms
        .iter()
        .map(|norm| {
            json!({
                "clause": norm.clause,
                "about": norm.about,
                "whose": norm.whose,
                "setting": norm.setting,
                "at_least_ns": norm.at_least.0,
                "value_ns": norm.value.0,
                "holds": norm.holds,
                "from": norm.from.to_string(),
                "remark": if norm.holds { "" } else { norm.remark },
            })
        })
        .collect();
    map.insert("norms".to_owned(), json!(norms));
    if let Some(forecast) = &audit.forecast {
        let tables: Vec<Value> = Table::ALL
            .into_iter()
            .filter_map(|table| {
                let (count, limit) = occupancy(audit, table);
                let states: Map<String, Value> = forecast
                    .states
                    .iter()
                    .filter(|((of, _), _)| *of == table)
                    .map(|((_, state), count)| ((*state).to_owned(), json!(count)))
                    .collect();
                let silent = forecast.silent.get(&table).map(|counts| {
                    let named = SHARES.into_iter().zip(counts).map(|(share, count)| (format!("percent_{share}"), json!(count)));
                    Value::Object(named.collect())
                });
                Some(json!({"table": table.name(), "entries": count?, "limit": limit, "states": states, "silent": silent}))
            })
            .collect();
        map.insert("tables".to_owned(), json!(tables));
        map.insert("connections".to_owned(), forecast.fates.iter().map(fate).collect());
    }
    map.insert("assumptions".to_owned(), json!(audit.gathered.assumptions));
    let unread = setup.inventories().flat_map(|shown| &shown.unread);
    let mut lines: Vec<Value> =
        unread.map(|line| json!({"at": line.at.to_string(), "kind": kind_name(line.kind), "text": line.text, "why": line.why})).collect();
    lines.extend(
        audit
            .gathered
            .refused
            .iter()
            .map(|refused| json!({"at": refused.from.to_string(), "kind": null, "text": null, "why": refused.value})),
    );
    map.insert("unread".to_owned(), json!(lines));
    let notes = setup.inventories().flat_map(|shown| &shown.notes).map(|note| json!({"at": note.at.to_string(), "text": note.text}));
    map.insert("notes".to_owned(), notes.collect());
    Value::Object(map)
}

fn host(end: &Host<'_>) -> Value {
    json!({
        "end": end.name(),
        "keepalive_time_s": end.time.value,
        "keepalive_time_from": end.time.from.to_string(),
        "keepalive_intvl_s": end.interval.value,
        "keepalive_intvl_from": end.interval.from.to_string(),
        "keepalive_probes": end.probes.value,
        "keepalive_probes_from": end.probes.from.to_string(),
        "retries2": end.retries2.value,
        "retries2_from": end.retries2.from.to_string(),
    })
}

fn finding(found: &Found) -> Value {
    let places: Vec<String> = found.places.iter().map(ToString::to_string).collect();
    let fixes: Vec<Value> = found
        .fixes
        .iter()
        .map(|fix| json!({"where": if fix.at == Where::Box { "box" } else { "end" }, "lines": fix.lines, "note": fix.note}))
        .collect();
    json!({
        "rule": found.rule.id(),
        "severity": found.severity.name(),
        "box": found.stand.map(|index| index + 1),
        "what": found.what,
        "inequality": found.sum.as_ref().map(|sum| &sum.text),
        "left_ns": found.sum.as_ref().map(|sum| sum.left.0),
        "right_ns": found.sum.as_ref().map(|sum| sum.right.0),
        "places": places,
        "why": found.rule.why(),
        "reference": found.rule.reference(),
        "fixes": fixes,
    })
}

fn fate(fate: &Fate<'_>) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
    put("table", json!(fate.table.name()));
    put("proto", json!(fate.proto.name()));
    put("client", json!(fate.client.to_string()));
    put("server", json!(fate.server.to_string()));
    put("real", json!(fate.real.map(|real| real.to_string())));
    put("state", json!(fate.state));
    put("left_ns", json!(fate.left.map(|left| left.0)));
    put("class", json!(fate.class.name()));
    put("capped", json!(fate.capped));
    for (index, name) in ["client", "server"].into_iter().enumerate() {
        let (does, span) = match fate.ends[index] {
            End::NotShown => ("not-shown", None),
            End::Silent => ("silent", None),
            End::Speaks(speaks) => (voice(speaks.voice), Some((speaks.earliest, speaks.latest))),
        };
        put(&format!("{name}_does"), json!(does));
        put(&format!("{name}_earliest_ns"), json!(span.map(|(from, _)| from.0)));
        put(&format!("{name}_latest_ns"), json!(span.map(|(_, to)| to.0)));
        let (notices, span) = match fate.notices[index] {
            Notice::NotShown => (None, None),
            Notice::Never => (Some("when-it-writes"), None),
            Notice::Heals => (Some("heals"), None),
            Notice::Reset(from, to) => (Some("reset"), Some((from, to))),
            Notice::TimesOut(from, to) => (Some("timeout"), Some((from, to))),
        };
        put(&format!("{name}_notices"), json!(notices));
        put(&format!("{name}_notices_earliest_ns"), json!(span.map(|(from, _)| from.0)));
        put(&format!("{name}_notices_latest_ns"), json!(span.map(|(_, to)| to.0)));
    }
    put("remark", json!(fate.remark));
    put("at", json!(fate.at.to_string()));
    Value::Object(map)
}

const fn voice(voice: Voice) -> &'static str {
    match voice {
        Voice::Keepalive => "keepalive",
        Voice::OwnKeepalive => "own-keepalive",
        Voice::Retransmission => "retransmission",
        Voice::Persist => "persist",
        Voice::Assumed => "assumed-keepalive",
    }
}
