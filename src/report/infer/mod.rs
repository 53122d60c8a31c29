//! What was inferred of boxes on the path, as text and as JSON (`flowlapse-infer/1`).

mod json;
mod text;

use crate::engine::pipeline::Run;
use crate::net::Direction;
use crate::study::infer::Inference;
use crate::study::infer::evidence::{Kind, Reaction, Survival};
use crate::study::infer::pool::{Bracket, Pool, Witness};
use std::collections::BTreeSet;

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-infer/1";

/// What a report of an inference is written from.
#[derive(Debug)]
pub struct Report<'r> {
    /// What was inferred.
    pub inference: &'r Inference,
    /// What was read.
    pub inputs: &'r [Run<()>],
}

const fn way_name(dir: Direction) -> &'static str {
    match dir {
        Direction::Original => "client-to-server",
        Direction::Reply => "server-to-client",
    }
}

/// Flows that agree: cut and lived, each counted once, and once where it was captured at two places.
fn agree(pool: &Pool, bracket: &Bracket, witnesses: &[Witness]) -> usize {
    let against: BTreeSet<usize> = bracket.against.iter().copied().collect();
    let flows = bracket.cut.iter().chain(&bracket.kept).filter(|at| !against.contains(at));
    let mut ends: Vec<_> = flows.map(|at| (witnesses[*at].socks, witnesses[*at].stream, witnesses[*at].file)).collect();
    ends.sort_unstable();
    ends.dedup();
    if pool.twice > 0 {
        ends.dedup_by_key(|(socks, ..)| *socks);
    }
    ends.len()
}

/// The longest silence of a flow that says anything about a pool's timers, or else any.
fn told_best<'w>(pool: &Pool, witness: &'w Witness) -> Option<(&'w Survival, bool)> {
    let counts = |s: &Survival| pool.refused.contains(&(s.dir, s.kind));
    let survivals = &witness.told.survivals;
    let longest = |only: bool| survivals.iter().filter(|s| !only || counts(s)).max_by_key(|s| s.silence.idle);
    longest(true).map(|s| (s, true)).or_else(|| longest(false).map(|s| (s, false)))
}

/// What a late packet met, in words.
const fn met(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::BoxReset => "reset by a box",
        Reaction::StrangerReset => "reset by a stranger",
        Reaction::Refused => "refused by ICMP",
        Reaction::Silence => "no answer",
        Reaction::Spontaneous => "reset at expiry",
    }
}

/// The same in the table of flows.
const fn met_short(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::BoxReset => "box reset",
        Reaction::StrangerReset => "stranger",
        Reaction::Refused => "ICMP",
        Reaction::Silence => "no answer",
        Reaction::Spontaneous => "at expiry",
    }
}

/// The same in full.
fn met_long(reaction: Reaction, kind: Kind, attempts: u32, ttls: Option<(u8, u8)>) -> String {
    match (reaction, ttls) {
        (Reaction::BoxReset, Some((usual, other))) if usual != other => {
            format!("a reset with TTL {other} where the other end's packets have {usual}: born in a box")
        }
        (Reaction::BoxReset, _) => "a reset that the other end, alive, did not send: born in a box".to_owned(),
        (Reaction::StrangerReset, Some((usual, _))) => format!(
            "a reset with the other end's own TTL, {usual}, from somebody who knows no such connection: a translation that is gone, a box \
             as far away, or the other end itself"
        ),
        (Reaction::StrangerReset, None) => {
            "a reset from somebody who knows no such connection: a box, or the other end without the translation".to_owned()
        }
        (Reaction::Refused, _) => "an ICMP error that refuses it".to_owned(),
        (Reaction::Silence, _) => format!("no answer to the {} or anything after it, {attempts} packets in all", kind.name()),
        (Reaction::Spontaneous, Some((usual, other))) => {
            format!("a reset that nobody had asked for, with TTL {other} where the other end's packets have {usual}")
        }
        (Reaction::Spontaneous, None) => "a reset that nobody had asked for".to_owned(),
    }
}
