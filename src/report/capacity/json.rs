//! The report on capacity for machines: schema `flowlapse-capacity/1`. Times are nanoseconds from the start of the
//! traffic; described in docs/json.md.

use super::{CapacityReport, words};
use crate::report::json::{add_no_room, damage};
use crate::study::capacity::carry::classes;
use crate::study::capacity::meter::Census;
use crate::study::capacity::shelf::Losses;
use crate::study::capacity::sizes::Size;
use crate::study::capacity::{Counted, Fate, Mode, Outcome, longest_chain};
use serde_json::{Map, Value, json};

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-capacity/1";

/// The whole report.
pub fn document(report: &CapacityReport<'_>) -> Value {
    let load = &report.capacity.load;
    let (mode, why) = match &report.capacity.mode {
        Mode::Independent => ("independent", Vec::new()),
        Mode::Global(why) => ("global", why.clone()),
    };
    let flood = load.flood.map(|flood| {
        let to = flood.to.map(|to| to.0);
        json!({"per_second": flood.rate, "from_ns": flood.from.0, "to_ns": to, "answered": flood.answered, "syns": load.flooders()})
    });
    let boxes: Vec<Value> = report.counted().map(|(hop, counted, size)| one(report, hop, counted, size)).collect();
    let victims: Vec<Value> = report
        .capacity
        .outcome
        .victims
        .iter()
        .map(|victim| {
            let kin = &load.kin[victim.kin as usize];
            json!({
                "fate": victim.fate.name(), "at_ns": report.since(victim.at).0, "stream": kin.stream, "copy": victim.copy,
                "client": kin.client.to_string(), "server": kin.server.to_string(), "proto": kin.proto.name(),
            })
        })
        .collect();
    let mut document = json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "inputs": report.run.names,
        "damage": damage(report.run),
        "complete": !report.run.is_incomplete() && !report.is_interrupted(),
        "interrupted": report.is_interrupted(),
        "span_ns": load.end.since(load.begin).0,
        "scale": report.scale,
        "runs": report.runs,
        "flows": load.members.len(),
        "flood": flood,
        "mode": mode,
        "why": why,
        "unknown_flows": report.unknown(),
        "packets": report.capacity.outcome.packets,
        "boxes": boxes,
        "fates": fates(&report.capacity.outcome),
        "fates_undefended": report.capacity.undefended.as_ref().map(fates),
        "victims": victims,
    });
    if let Value::Object(map) = &mut document {
        add_no_room(map, [report.run]);
    }
    document
}

fn fates(outcome: &Outcome) -> Value {
    Value::Object(Fate::ALL.into_iter().map(|fate| (fate.name().to_owned(), json!(outcome.fates[fate as usize]))).collect())
}

fn one(report: &CapacityReport<'_>, hop: usize, counted: &Counted, size: &Size) -> Value {
    let model = &report.path.hops[hop];
    let names = classes(model);
    let meter = &counted.meter;
    let by_state = |census: &Census| {
        let mut map: Map<String, Value> = names
            .iter()
            .filter(|(class, _)| census.classes[usize::from(*class)] > 0)
            .map(|(class, name)| ((*name).to_owned(), json!(census.classes[usize::from(*class)])))
            .collect();
        if census.ended > 0 {
            map.insert("ended".to_owned(), json!(census.ended));
        }
        Value::Object(map)
    };
    let losses = |losses: &Losses| {
        let rows = names.iter().map(|(class, name)| (*name, losses.by_class[usize::from(*class)])).filter(|(_, pair)| *pair != [0; 2]);
        Value::Object(rows.map(|(name, [innocent, flood])| (name.to_owned(), json!({"innocent": innocent, "flood": flood}))).collect())
    };
    let (at, census) = &meter.peak;
    let deeds = &counted.deeds;
    let events: Vec<Value> = deeds.events.iter().map(|event| json!({"at_ns": report.since(event.at).0, "what": words(event)})).collect();
    let table = match size {
        Size::Conntrack(size) => json!({
            "kind": "conntrack", "max": size.max.map(|(max, _)| max), "max_from": size.max.map(|(_, source)| source.words()),
            "buckets": size.buckets.0, "buckets_from": size.buckets.1.words(), "entry_bytes": size.entry_bytes,
            "longest_chain_expected": longest_chain(census.live(), size.buckets.0),
            "recommended_max": report.recommended(hop),
        }),
        Size::Director(size) => json!({
            "kind": "ipvs", "entry_bytes": size.entry_bytes, "free_pages": size.pages,
            "drop_entry": size.defences.drop_entry, "drop_packet": size.defences.drop_packet, "secure_tcp": size.defences.secure_tcp,
            "amemthresh": size.defences.amemthresh,
            "dropped": deeds.done.map(|done| json!({
                "half_open": done.half_open, "established": done.established, "udp": done.udp, "templates": done.templates,
                "packets": done.packets, "packets_tested": done.tested,
            })),
            "peak_undefended": report.capacity.undefended.as_ref().and_then(|outcome| outcome.boxes[hop].as_ref()).map(|bare| bare.meter.peak.1.live()),
        }),
        Size::Unknown => Value::Null,
    };
    let spread = report.capacity.spreads.get(hop).map(|[refused, evicted]| {
        let of = |s: &crate::study::capacity::Spread| json!({"mean": s.mean, "central95": [s.central.0, s.central.1]});
        json!({"refused": of(refused), "evicted": of(evicted)})
    });
    let pair = |[innocent, flood]: [u64; 2]| json!({"innocent": innocent, "flood": flood});
    json!({
        "box": hop + 1,
        "label": model.label,
        "table": table,
        "peak": {"entries": census.live(), "at_ns": report.since(*at).0, "states": by_state(census)},
        "count_max": counted.count_max,
        "wanted": report.capacity.wanted.get(hop),
        "mean": meter.mean(),
        "p95": meter.p95(),
        "made": meter.made,
        "arrivals_per_second": meter.arrivals(),
        "mean_life_seconds": meter.mean_life(),
        "bytes": size.bytes(counted.count_max),
        "refused": pair(deeds.refused),
        "refused_by_drop_packet": pair(deeds.by_drop_packet),
        "full_from_ns": deeds.full_from.map(|at| report.since(at).0),
        "full_seconds": deeds.full_seconds,
        "evicted": losses(&deeds.evicted),
        "collected_under_pressure": losses(&deeds.collected),
        "events": events,
        "spread": spread,
    })
}
