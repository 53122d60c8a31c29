//! The account of one flow for machines: schema `flowlapse-explain/1`, described in docs/explain.md. Durations are whole
//! nanoseconds, times nanoseconds since 1970.

use super::words::end;
use crate::finding::{Finding, evidence_name};
use crate::flow::Opening;
use crate::report::Report;
use crate::report::json::{flow, heading};
use crate::study::explain::Account;
use crate::study::explain::after::{After, SideAfter, Train};
use crate::study::explain::phases::Phase;
use crate::study::explain::timers::TimerUse;
use serde_json::{Map, Value, json};

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-explain/1";

/// The document.
pub fn document(report: &Report<'_>, account: &Account) -> Value {
    let mut map = heading(SCHEMA, report.run, report.path);
    let told = serde_json::to_value(flow(report, &account.finding)).unwrap_or(Value::Null);
    map.insert("flow".to_owned(), told);
    map.insert("vantage".to_owned(), json!(account.vantage.name()));
    map.insert("ttl".to_owned(), json!(account.hops.map(|hops| (hops.packets > 0).then_some(hops.usual))));
    map.insert("phases".to_owned(), account.phases.iter().map(phase).collect());
    map.insert("timers".to_owned(), account.timers.iter().map(timer).collect());
    map.insert("after".to_owned(), account.after.as_ref().map_or(Value::Null, after));
    map.insert("left_out".to_owned(), json!(account.left_out));
    Value::Object(map)
}

/// The document where an interrupt came before the flow's packets were read again: what the replay says.
pub fn unread(report: &Report<'_>, finding: &Finding) -> Value {
    let mut map = heading(SCHEMA, report.run, report.path);
    map.insert("interrupted".to_owned(), json!(true));
    map.insert("flow".to_owned(), serde_json::to_value(flow(report, finding)).unwrap_or(Value::Null));
    Value::Object(map)
}

fn phase(phase: &Phase) -> Value {
    let stretch = phase.stretch();
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    put("from_ns", json!(stretch.span.0.0));
    put("to_ns", json!(stretch.span.1.0));
    put("first_frame", json!(stretch.frames.0));
    put("last_frame", json!(stretch.frames.1));
    put("file", json!(stretch.file));
    match phase {
        Phase::Opening { opening, syns, rtt, .. } => {
            put("phase", json!("opening"));
            let how = match opening {
                Opening::Handshake => "handshake",
                Opening::SynOnly => "syn-only",
                Opening::Midstream => "midstream",
            };
            put("opening", json!(how));
            put("syns", json!(syns));
            put("rtt_ns", json!(rtt.map(|rtt| rtt.0)));
        }
        Phase::Burst(burst) => {
            put("phase", json!("burst"));
            put("packets", json!(burst.packets));
            put("bytes", json!(burst.bytes));
            put("sent_again", json!(burst.again));
            put("longest_silence_ns", json!(burst.longest.0));
        }
        Phase::Silence { evidence, .. } => {
            put("phase", json!("silence"));
            put("evidence", json!(evidence_name(*evidence)));
        }
        Phase::Rhythm(rhythm) => {
            put("phase", json!("probes"));
            put("probes", json!(rhythm.probes));
            put("answered", json!(rhythm.answered));
            put("after_ns", json!(rhythm.first_after.0));
            put("every_min_ns", json!(rhythm.every.map(|every| every.0.0)));
            put("every_max_ns", json!(rhythm.every.map(|every| every.1.0)));
        }
        Phase::End { dir, reset, .. } => {
            put("phase", json!(if *reset { "rst" } else { "fin" }));
            put("who", json!(end(*dir)));
        }
    }
    Value::Object(map)
}

fn timer(timer: &TimerUse) -> Value {
    json!({
        "hop": timer.hop,
        "state": timer.cause.state,
        "timer": timer.cause.timer,
        "setting": timer.cause.setting,
        "setting_at": timer.cause.at.as_ref().map(ToString::to_string),
        "why": timer.cause.why,
        "timeout_ns": timer.timeout.0,
        "set": timer.set,
        "set_by_keepalive": timer.set_by_probes,
        "last_set_ns": timer.last.0.0,
        "last_set_frame": timer.last.1,
        "longest_ns": timer.longest.0,
        "before_frame": timer.frames.0,
        "after_frame": timer.frames.1,
        "evidence": timer.evidence.map(evidence_name),
        "ran_out": timer.burnt,
    })
}

fn after(after: &After) -> Value {
    let matches = |side: usize| after.matches.map(|matches| matches[side].name());
    json!({
        "frame": after.turn.0,
        "at_ns": after.turn.1.0,
        "answered_frame": after.answer.map(|answer| answer.0),
        "answered_ns": after.answer.map(|answer| answer.1.0),
        "client": side(&after.sides[0]),
        "server": side(&after.sides[1]),
        "client_matches": matches(0),
        "server_matches": matches(1),
        "icmp": after.errors.iter().map(|e| json!({"frame": e.frame, "at_ns": e.at.0, "what": e.name(), "from": e.from.to_string()})).collect::<Vec<_>>(),
        "next_connection_frame": after.attempt.map(|attempt| attempt.frame),
        "next_connection_port": after.attempt.map(|attempt| attempt.port),
        "next_connection_ns": after.attempt.map(|attempt| attempt.at.0),
        "packets": after.packets,
        "capture_goes_on_ns": after.rest.0,
    })
}

fn side(side: &SideAfter) -> Value {
    json!({
        "sent_again": train(&side.again),
        "probes": train(&side.probes),
        "new": train(&side.fresh),
        "acknowledgements": train(&side.others),
        "fin_frame": side.fin.map(|fin| fin.0),
        "resets": side.resets.iter().map(|r| json!({"frame": r.frame, "at_ns": r.at.0, "ttl": r.ttl, "birth": r.birth.name()})).collect::<Vec<_>>(),
        "resets_count": side.resets_count,
        "last_frame": side.last.map(|last| last.0),
        "last_ns": side.last.map(|last| last.1.0),
    })
}

fn train(train: &Train) -> Value {
    json!({
        "count": train.count,
        "first_frame": train.first.map(|first| first.0),
        "last_frame": train.last.map(|last| last.0),
        "last_ns": train.last.map(|last| last.1.0),
        "gaps_ns": train.gaps.iter().map(|gap| gap.0).collect::<Vec<_>>(),
    })
}
