//! The report for machines: schema `flowlapse-replay/1`, described in docs/json.md. Durations are whole nanoseconds, times
//! nanoseconds since 1970.

use super::tried::Tried;
use super::{Report, tuple};
use crate::engine::pipeline::Run;
use crate::engine::{Clock, Device, Path};
use crate::finding::advice::{Where, keep_secs, saving_keepalive};
use crate::finding::cause::cause;
use crate::finding::{BreakPoint, Finding, Verdict, evidence_name};
use crate::flow::NoRoom;
use crate::model::conntrack::entry::State as CtState;
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::net::Direction;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-replay/1";

/// Writes one document.
///
/// # Errors
/// Whatever the sink says.
pub fn write(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut head = header(report);
    head.insert("summary".to_owned(), summary(report));
    let text = serde_json::to_string_pretty(&Value::Object(head))?;
    // Flows are written one by one, so that a result of any size needs no memory of its own.
    let open = text.trim_end().strip_suffix('}').unwrap_or(&text).trim_end();
    write!(out, "{open},\n  \"flows\": [")?;
    let mut first = true;
    each(report, |line| {
        out.write_all(if first { b"\n    " } else { b",\n    " })?;
        first = false;
        out.write_all(line)
    })?;
    out.write_all(if first { b"]\n}\n" } else { b"\n  ]\n}\n" })
}

/// Writes one line for each flow, if they are wanted, then one for the summary.
///
/// # Errors
/// Whatever the sink says.
pub fn write_lines(report: &Report<'_>, flows: bool, out: &mut dyn Write) -> io::Result<()> {
    if flows {
        each(report, |line| {
            out.write_all(line)?;
            out.write_all(b"\n")
        })?;
    }
    let mut last = header(report);
    last.insert("type".to_owned(), json!("summary"));
    last.insert("summary".to_owned(), summary(report));
    if !flows {
        last.insert("break_points".to_owned(), break_points(report));
    }
    serde_json::to_writer(&mut *out, &Value::Object(last))?;
    out.write_all(b"\n")
}

/// Writes the document without the single flows.
///
/// # Errors
/// Whatever the sink says.
pub fn write_summary(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut document = header(report);
    document.insert("summary".to_owned(), summary(report));
    document.insert("break_points".to_owned(), break_points(report));
    serde_json::to_writer_pretty(&mut *out, &Value::Object(document))?;
    out.write_all(b"\n")
}

/// The break-points of all flows together: for each timer that was tried, the longest spell that it had to bear, and how many
/// flows had one that was too long for it.
fn break_points(report: &Report<'_>) -> Value {
    let tried = report.tried();
    let point = |tried: &Tried| {
        let hop = &report.path.hops[tried.hop];
        let cause = cause(hop, hop.clause(tried.timer), "");
        json!({
            "hop": tried.hop,
            "timer": cause.timer,
            "setting": cause.setting,
            "setting_at": cause.at.as_ref().map(ToString::to_string),
            "why": cause.why,
            "timeout_ns": hop.span(tried.timer).0,
            "flows": tried.flows,
            "too_long_for": tried.outgrown,
            "longest_ns": tried.longest.0,
            "keep_s": keep_secs(tried.longest),
        })
    };
    tried.iter().map(point).collect()
}

/// Writes a document whose last key has a list that is made while it is written.
pub(super) fn write_with(head: Map<String, Value>, key: &str, items: impl Iterator<Item = Value>, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(&Value::Object(head))?;
    let open = text.trim_end().strip_suffix('}').unwrap_or(&text).trim_end();
    write!(out, "{open},\n  \"{key}\": [")?;
    let mut first = true;
    for item in items {
        // A line break inside of a text is written as \\n.
        let item = serde_json::to_string_pretty(&item)?.replace('\n', "\n    ");
        write!(out, "{}\n    {item}", if first { "" } else { "," })?;
        first = false;
    }
    out.write_all(if first { b"]\n}\n" } else { b"\n  ]\n}\n" })
}

/// Hands over the flows, one line after the other; they are judged and written in blocks, side by side.
fn each(report: &Report<'_>, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    const BLOCK: usize = 4096;
    let total = report.flows();
    for start in (0..total).step_by(BLOCK) {
        let line = |index| serde_json::to_vec(&flow(report, &report.finding(index)));
        let lines: Vec<_> = (start..total.min(start + BLOCK)).into_par_iter().map(line).collect();
        for line in lines {
            sink(&line?)?;
        }
    }
    Ok(())
}

fn header(report: &Report<'_>) -> Map<String, Value> {
    heading(SCHEMA, report.run, report.path)
}

/// What every document begins with: the schema, what was read and what of it could not be, and the path.
pub(super) fn heading<R>(schema: &str, run: &Run<R>, path: &Path) -> Map<String, Value> {
    let clock = match path.clock {
        Clock::Ideal => json!({"model": "ideal", "hz": path.clock.hz().0}),
        Clock::Wheel { hz, phase } => json!({"model": "wheel", "hz": hz.0, "phase_known": phase.is_some()}),
    };
    let kinds: Map<String, Value> = run.counters.seen().map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect();
    let mut map = Map::new();
    map.insert("schema".to_owned(), json!(schema));
    map.insert("inputs".to_owned(), json!(run.names));
    map.insert("path".to_owned(), json!(hops(path)));
    map.insert("clock".to_owned(), clock);
    map.insert(
        "packets".to_owned(),
        json!({
            "records": run.counters.records,
            "followed": run.followed(),
            "filtered": run.filtered,
            "not_followed": kinds,
            "times_out_of_range": run.times.saturated,
            "times_missing": run.times.absent,
            "times_backwards": run.times.backwards,
            "times_backwards_max_ns": run.times.backwards_max.0,
        }),
    );
    map.insert("damage".to_owned(), damage(run));
    add_no_room(&mut map, [run]);
    map.insert("complete".to_owned(), json!(!run.is_incomplete()));
    map.insert("interrupted".to_owned(), json!(run.interrupted));
    map.insert("begin_ns".to_owned(), json!(run.begin.0));
    map.insert("end_ns".to_owned(), json!(run.end.0));
    map
}

/// What was left out because no more flows could be held, over all runs; nothing where nothing was.
pub(super) fn add_no_room<'r, R: 'r>(map: &mut Map<String, Value>, runs: impl IntoIterator<Item = &'r Run<R>>) {
    let (mut most, mut none) = (None, NoRoom::default());
    for run in runs {
        (most, none) = (run.flows_max, none.and(run.no_room));
    }
    if !none.is_nothing() {
        let told = json!({
            "max_flows": most,
            "flows": none.flows,
            "packets": none.packets,
            "packets_turned_away": none.turned_away,
        });
        map.insert("no_room".to_owned(), told);
    }
}

/// Where inputs were damaged.
pub(super) fn damage<R>(run: &Run<R>) -> Value {
    run.damages
        .iter()
        .map(|d| {
            let name = run.names.get(usize::from(d.file)).cloned().unwrap_or_default();
            json!({"input": name, "after_frame": d.after_frame, "offset": d.offset, "what": d.what})
        })
        .collect()
}

/// The boxes of a path.
pub(super) fn hops(path: &Path) -> Vec<Value> {
    path.hops
        .iter()
        .map(|h| json!({"label": h.label, "settings": h.policy.describe(), "dialect": dialect(&h.device), "timers_ns": timers(&h.device), "not_simulated": h.not_simulated()}))
        .collect()
}

fn dialect(device: &Device) -> Option<&'static str> {
    match device {
        Device::Router(r) => Some(r.conntrack.settings.dialect.name),
        Device::Director(d) => Some(d.ipvs.dialect.name),
        Device::Idle(_) => None,
    }
}

/// Every timer in force, by its name in lower case.
fn timers(device: &Device) -> Value {
    let mut map = Map::new();
    match device {
        Device::Router(r) => {
            let s = &r.conntrack.settings;
            for state in CtState::ALL {
                map.insert(state.name().to_ascii_lowercase(), json!(s.tcp_timeouts[state as usize].0));
            }
            map.insert("max_retrans".to_owned(), json!(s.tcp_timeout_max_retrans.0));
            map.insert("unacknowledged".to_owned(), json!(s.tcp_timeout_unacknowledged.0));
            map.insert("udp".to_owned(), json!(s.udp_timeout.0));
            map.insert("udp_stream".to_owned(), json!(s.udp_timeout_stream.0));
        }
        Device::Director(d) => {
            for state in VsState::ALL {
                map.insert(state.name().to_ascii_lowercase(), json!(d.ipvs.timeouts[state as usize].0));
            }
            map.insert("udp".to_owned(), json!(d.ipvs.udp_timeout.0));
        }
        Device::Idle(i) => {
            for clause in IdleClause::ALL {
                let timer = i.timer(clause);
                if timer.timeout != crate::time::Duration::MAX {
                    map.insert(clause.name().to_ascii_lowercase(), json!(timer.timeout.0));
                }
            }
        }
    }
    Value::Object(map)
}

fn summary(report: &Report<'_>) -> Value {
    let mut map = Map::new();
    map.insert("flows".to_owned(), json!(report.flows()));
    for (verdict, count) in Verdict::ALL.into_iter().zip(report.counts()) {
        map.insert(verdict.name().to_owned(), json!(count));
    }
    map.insert("outlived_entry_seconds".to_owned(), json!(report.outlived_secs()));
    map.insert("captured_twice".to_owned(), json!(report.sums.copies));
    Value::Object(map)
}

/// One flow. Keys are flat, optional ones absent where they mean nothing.
#[derive(Serialize)]
struct FlowLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    stream: u32,
    proto: &'static str,
    client: String,
    server: String,
    filter: String,
    tuple: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decisive: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_feels: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_feels: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    advice: Vec<Value>,
    break_points: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    margin_ns: Option<u64>,
    repairs: u32,
    blocked: u32,
    invalid: u32,
    outlived_ns: u64,
    first_ns: u64,
    last_ns: u64,
    first_frame: u32,
    last_frame: u32,
    input: &'a str,
    packets: [u32; 2],
    bytes: [u64; 2],
    opening: &'static str,
    closing: &'static str,
    orientation: &'static str,
    caveats: Vec<&'static str>,
}

pub(super) fn flow<'a>(report: &'a Report<'_>, f: &Finding) -> impl Serialize + use<'a> {
    let feels = |index: usize| {
        f.symptoms.as_ref().map(|s| {
            let s = &s[index];
            json!({"what": s.feeling.name(), "after_ns": s.after.map(|d| d.0), "text": s.text})
        })
    };
    FlowLine {
        kind: "flow",
        stream: f.stream,
        proto: f.proto.name(),
        client: f.client.to_string(),
        server: f.server.to_string(),
        filter: tuple::display_filter(f),
        tuple: tuple::conntrack(f),
        verdict: f.verdict.name(),
        reason: f.inconclusive.map(crate::finding::Inconclusive::name),
        decisive: f.decisive.as_ref().map(|d| decisive(report, f, d)),
        client_feels: feels(0),
        server_feels: feels(1),
        advice: f
            .advice
            .iter()
            .map(|a| json!({"where": if a.at == Where::Box { "box" } else { "end" }, "line": a.line, "note": a.note}))
            .collect(),
        break_points: f.break_points.iter().map(break_point).collect(),
        margin_ns: f.margin.map(|d| d.0),
        repairs: f.repairs,
        blocked: f.blocked,
        invalid: f.invalid,
        outlived_ns: f.outlived.0,
        first_ns: f.span.0.0,
        last_ns: f.span.1.0,
        first_frame: f.frames.0,
        last_frame: f.frames.1,
        input: report.run.names.get(usize::from(f.file)).map_or("", String::as_str),
        packets: f.packets,
        bytes: f.bytes,
        opening: f.opening.name(),
        closing: f.closing.name(),
        orientation: f.orientation.name(),
        caveats: f.caveats.iter().map(|c| c.name()).collect(),
    }
}

fn decisive(report: &Report<'_>, f: &Finding, d: &crate::finding::Decisive) -> Value {
    let keepalive = saving_keepalive(&report.path.hops[d.hop], d, f.proto, report.path.clock.hz());
    let (frame, input) = match d.victim {
        Some((frame, file)) => (json!(frame), json!(report.run.names.get(usize::from(file)))),
        None => (Value::Null, Value::Null),
    };
    json!({
        "hop": d.hop,
        "box": report.path.hops[d.hop].label,
        "state": d.cause.state,
        "timer": d.cause.timer,
        "setting": d.cause.setting,
        "setting_at": d.cause.at.as_ref().map(ToString::to_string),
        "why": d.cause.why,
        "timeout_ns": d.timeout.0,
        "idle_ns": d.idle.0,
        "excess_ns": d.excess().0,
        "keep_s": keep_secs(d.idle),
        "keepalive_max_s": keepalive.map(|(ideal, _)| ideal),
        "keepalive_max_wheel_s": keepalive.and_then(|(_, wheel)| wheel),
        "late_by_max_ns": d.late_by.0,
        "within_band": d.within_band(),
        "chance": d.permille.map(|p| f64::from(p) / 1000.0),
        "set_at_ns": d.refreshed.0,
        "before_frame": d.before,
        "victim_frame": frame,
        "victim_input": input,
        "victim_kind": d.kind.name(),
        "victim_from": if d.dir == Direction::Original { "client" } else { "server" },
        "evidence": evidence_name(d.evidence),
        "fate": d.fate,
    })
}

fn break_point(b: &BreakPoint) -> Value {
    json!({
        "hop": b.hop,
        "timer": b.cause.timer,
        "setting": b.cause.setting,
        "why": b.cause.why,
        "timeout_ns": b.timeout.0,
        "longest_ns": b.longest.0,
        "keep_s": b.keep_secs,
        "before_frame": b.frames.0,
        "after_frame": b.frames.1,
        "evidence": evidence_name(b.evidence),
    })
}
