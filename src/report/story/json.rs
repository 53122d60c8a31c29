//! A run for machines (schema flowlapse-run/1). Times are nanoseconds since the start of the run.

use super::{Came, Story};
use crate::finding::cause::cause;
use crate::scenario::expect::{kind, word};
use crate::scenario::run::Tally;
use crate::simulate::outcome::{End, Forgotten, Outcome, SideOutcome};
use crate::time::Instant;
use serde_json::{Value, json};

/// The document of some runs; `left` were not begun, because of an interrupt.
pub fn document(runs: &[Value], interrupted: bool, left: usize) -> Value {
    json!({ "schema": "flowlapse-run/1", "runs": runs, "interrupted": interrupted, "not_run": left })
}

/// One run.
pub fn run(story: &Story<'_>) -> Value {
    let mut value = json!({
        "scenario": story.origin,
        "variant": story.variant,
        "title": story.scenario.title,
        "sources": story.scenario.sources,
        "path": story.ready.net.path.hops.iter().map(|hop| json!({
            "label": hop.label,
            "policy": hop.policy.describe(),
            "dialect": hop.dialect(),
        })).collect::<Vec<_>>(),
        "duration_ns": story.ready.net.horizon.0,
        "seed": story.ready.net.seed,
        "expected": story.unmet.as_ref().map(Vec::is_empty),
        "unmet": story.unmet.as_deref().unwrap_or_default(),
    });
    let (name, came) = match &story.came {
        Came::One(outcome, _) => ("flow", flow(outcome, story)),
        Came::Many(tally) => (
            "population",
            json!({
                "flows": tally.flows,
                "failed": tally.failed,
                "forgotten": tally.forgotten,
                "never_opened": tally.unopened,
                "ends": tally.ends.iter().map(|((client, server), count)| json!({
                    "client": client.0, "client_detail": detail(client.1),
                    "server": server.0, "server_detail": detail(server.1),
                    "flows": count,
                })).collect::<Vec<_>>(),
                "kinds": story.scenario.population.iter().flat_map(|p| &p.mix).zip(&tally.kinds).map(|(kind, t)| json!({
                    "name": kind.name, "flows": t.flows, "failed": t.failed, "forgotten": t.forgotten,
                })).collect::<Vec<_>>(),
                "lost_entries": tally.losses.iter().map(|((hop, state, fate), count)| json!({
                    "box": hop + 1, "state": state, "next_packet": fate, "entries": count,
                })).collect::<Vec<_>>(),
                "tables": tally.pressure.iter().map(|p| json!({
                    "box": p.hop + 1, "max": p.limit.map(|limit| limit.max), "buckets": p.limit.map(|limit| limit.buckets),
                    "peak": p.peak, "refused": p.refused, "evicted": p.evicted,
                    "drop_entry": p.done.map(|done| json!({
                        "half_open": done.half_open, "established": done.established, "udp": done.udp, "templates": done.templates,
                    })),
                })).collect::<Vec<_>>(),
                "detection_ns": detection(tally),
                "packets": tally.packets[0],
                "dropped_by_boxes": tally.packets[1],
                "lost_on_links": tally.packets[2],
                "events": tally.events,
                "interrupted_flows": tally.left,
                "examples": tally.examples.iter().map(|(number, outcome)| json!({ "flow": number, "story": flow(outcome, story) })).collect::<Vec<_>>(),
            }),
        ),
    };
    if let Value::Object(map) = &mut value {
        map.insert(name.to_owned(), came);
    }
    value
}

/// From the loss of an entry to the first error: how long so many per cent of the flows needed at most.
fn detection(tally: &Tally) -> Vec<Value> {
    let one = |percent: usize| json!({ "percent": percent, "within": tally.detection_percentile(percent).map(|span| span.0) });
    [50, 90, 99, 100].into_iter().map(one).collect()
}

fn detail(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn flow(outcome: &Outcome, story: &Story<'_>) -> Value {
    json!({
        "client": side(&outcome.sides[0]),
        "server": side(&outcome.sides[1]),
        "forgotten": outcome.forgotten.iter().map(|entry| forgotten(entry, story)).collect::<Vec<_>>(),
        "packets": outcome.packets,
        "dropped_by_boxes": outcome.dropped,
        "lost_on_links": outcome.lost,
        "events": outcome.events,
        "stopped_early": outcome.stopped,
        "interrupted": outcome.interrupted,
    })
}

fn nanos(at: Option<Instant>) -> Option<u64> {
    at.map(|at| at.0)
}

fn side(side: &SideOutcome) -> Value {
    let (errno, reason, state) = match side.end {
        End::Failed(errno, _) => (Some(errno.name()), None, None),
        End::GaveUp(why, _) => (None, Some(why), None),
        End::StillOpen(state) => (None, None, Some(state.name())),
        _ => (None, None, None),
    };
    json!({
        "opened_ns": nanos(side.opened),
        "written_bytes": side.written,
        "delivered_bytes": side.delivered,
        "last_delivery_ns": nanos(side.last_delivery),
        "eof_ns": nanos(side.eof),
        "end": word(kind(side.end)),
        "ended_ns": nanos(side.ended_at()),
        "errno": errno,
        "reason": reason,
        "state": state,
        "unacknowledged": side.unacknowledged,
    })
}

fn forgotten(entry: &Forgotten, story: &Story<'_>) -> Value {
    let cause = cause(&story.ready.net.path.hops[entry.hop], entry.clause, entry.state);
    json!({
        "box": entry.hop + 1,
        "label": story.ready.net.path.hops[entry.hop].label,
        "state": entry.state,
        "timer": cause.timer,
        "setting": cause.setting,
        "setting_at": cause.at.as_ref().map(ToString::to_string),
        "why": cause.why,
        "refreshed_ns": entry.refreshed.0,
        "timeout_ns": entry.timeout.0,
        "ended_ns": entry.at.0,
        "noticed_ns": nanos(entry.noticed),
        "noticed_by": entry.noticed.map(|_| if entry.by_client { "client" } else { "server" }),
        "next_packet": entry.fate.name(),
    })
}
