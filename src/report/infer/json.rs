//! For machines.

use super::{Report, SCHEMA, agree, way_name};
use crate::engine::pipeline::Run;
use crate::report::json::{add_no_room, damage, write_with};
use crate::study::infer::boxes::{self, Fit, Misfit};
use crate::study::infer::evidence::{Cut, Silence, Survival};
use crate::study::infer::pool::{Bound, Bracket, Keepalives, Pool, Undetermined, Witness};
use crate::time::Duration;
use serde_json::{Value, json};
use std::io;

impl Report<'_> {
    /// The whole document, as it is made.
    ///
    /// # Errors
    /// Whatever the sink says.
    pub fn write_json(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let inference = self.inference;
        let names: Vec<&String> = self.inputs.iter().flat_map(|run| &run.names).collect();
        let Value::Object(mut head) = json!({
            "schema": SCHEMA,
            "inputs": names,
            "complete": !self.inputs.iter().any(Run::is_incomplete),
            "interrupted": self.inputs.iter().any(|run| run.interrupted),
            "records": self.inputs.iter().map(|run| run.counters.records).sum::<u64>(),
            "damage": self.inputs.iter().map(damage).collect::<Vec<_>>(),
            "flows": inference.witnesses.len(),
            "set_aside": inference.aside,
            "pools": inference.pools.iter().map(|pool| self.pool_json(pool)).collect::<Vec<_>>(),
        }) else {
            return Ok(());
        };
        add_no_room(&mut head, self.inputs.iter());
        write_with(head, "evidence", self.evidence(), out)
    }

    fn pool_json(&self, pool: &Pool) -> Value {
        let (keepalives, span, flow) = match pool.keepalives {
            Keepalives::Count { witness, span } => ("count", Some(span), Some(witness)),
            Keepalives::Ignored { witness, span } => ("ignored", Some(span), Some(witness)),
            Keepalives::Unknown => ("unknown", None, None),
        };
        json!({
            "servers": pool.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "keepalives": keepalives,
            "keepalives_span_ns": span.map(|span| span.0),
            "keepalives_flow": flow,
            "reactions": pool.reactions.iter().map(|(reaction, count)| (reaction.name().to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "refused": pool.refused.iter().map(|(dir, kind)| format!("{} {}", way_name(*dir), kind.name())).collect::<Vec<_>>(),
            "flows_seen_twice": pool.twice,
            "timers": pool.brackets.iter().map(|bracket| self.timer(pool, bracket)).collect::<Vec<_>>(),
            "boxes": boxes::compare(pool).iter().map(fit_json).collect::<Vec<_>>(),
        })
    }

    fn timer(&self, pool: &Pool, bracket: &Bracket) -> Value {
        let determined = bracket.is_determined();
        let known = |value: Option<Duration>| value.filter(|_| determined).map(|value| value.0);
        let frame = |bound: Option<Bound>| bound.map(|bound| bound.frames.1);
        json!({
            "state": bracket.state.name(),
            "determined": determined,
            "why_undetermined": bracket.undetermined.map(Undetermined::name),
            "setting_low_ns": known(bracket.low.map(|_| bracket.low_late)),
            "setting_high_ns": known(bracket.high.map(|high| high.value)),
            "expiry_low_ns": known(bracket.low.map(|low| low.value)),
            "expiry_high_ns": known(bracket.high.map(|high| high.value)),
            "agree": if determined { agree(pool, bracket, &self.inference.witnesses) } else { 0 },
            "contradict": bracket.against.len(),
            "cut": bracket.cut.len(),
            "lived": bracket.kept.len(),
            "low_flow": bracket.low.map(|bound| bound.witness),
            "low_frame": frame(bracket.low),
            "high_flow": bracket.high.map(|bound| bound.witness),
            "high_frame": frame(bracket.high),
            "survived_ns": bracket.survived.map(|bound| bound.value.0),
            "survived_flow": bracket.survived.map(|bound| bound.witness),
            "contradicting_flows": bracket.against,
        })
    }

    /// Every flow that says anything.
    fn evidence(&self) -> impl Iterator<Item = Value> + '_ {
        let told = self.inference.witnesses.iter().enumerate();
        let worth = told.filter(|(_, w)| w.told.cut.is_some() || !w.told.survivals.is_empty() || w.told.datagrams.is_some());
        worth.map(|(at, witness)| flow(at, witness))
    }
}

fn fit_json(fit: &Fit) -> Value {
    let (why, bound) = match fit.misfit {
        None if fit.otherwise => (Some("answers-otherwise"), None),
        None => (None, None),
        Some(Misfit::TooLong(bound)) => (Some("too-long"), Some(bound)),
        Some(Misfit::TooShort(bound)) => (Some("too-short"), Some(bound)),
        Some(Misfit::KeepalivesCounted) => (Some("keepalives-counted"), None),
    };
    json!({
        "preset": fit.preset.id,
        "state": fit.state.name(),
        "timeout_ns": (fit.timeout != Duration::MAX).then_some(fit.timeout.0),
        "compatible": fit.misfit.is_none(),
        "why": why,
        "flow": bound.map(|bound| bound.witness),
        "frame": bound.map(|bound| bound.frames.1),
        "silence_ns": bound.map(|bound| bound.value.0),
    })
}

fn flow(at: usize, witness: &Witness) -> Value {
    let [client, server] = witness.socks;
    json!({
        "flow": at,
        "input": witness.file,
        "stream": witness.stream,
        "proto": witness.proto.name(),
        "client": client.to_string(),
        "server": server.to_string(),
        "cut": witness.told.cut.as_ref().map(cut),
        "survivals": witness.told.survivals.iter().map(survival).collect::<Vec<_>>(),
        "holes": witness.told.holes,
        "own_resets": witness.told.own_resets,
        "own_fins": witness.told.own_fins,
        "udp_answered_after_ns": witness.told.datagrams.map(|(idle, ..)| idle.0),
    })
}

fn silence(of: &Silence, mut with: Value) -> Value {
    let ns = |span: Option<Duration>| span.map(|span| span.0);
    let common = json!({
        "idle_ns": of.idle.0,
        "since_client_ns": ns(of.client),
        "quiet_ns": ns(of.quiet),
        "since_no_keepalive_ns": of.solid.0,
        "slack_ns": of.slack.0,
        "before_frame": of.before,
        "frame": of.late,
        "file": of.file,
    });
    if let (Value::Object(map), Value::Object(more)) = (&mut with, common) {
        map.extend(more);
    }
    with
}

fn cut(cut: &Cut) -> Value {
    let with = json!({
        "state": cut.state.name(),
        "direction": way_name(cut.dir),
        "packet": cut.kind.name(),
        "reaction": cut.reaction.name(),
        "answer_frame": cut.answer,
        "ttl_usual": cut.ttls.map(|(usual, _)| usual),
        "ttl_reset": cut.ttls.map(|(_, reset)| reset),
        "attempts": cut.attempts,
    });
    silence(&cut.silence, with)
}

fn survival(survival: &Survival) -> Value {
    let with = json!({"state": survival.state.name(), "direction": way_name(survival.dir), "packet": survival.kind.name()});
    silence(&survival.silence, with)
}
