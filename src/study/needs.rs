//! What each setting of each box would have to be so that nothing is cut: from one replay in which entries never end.
//!
//! Source of the conditions: [`crate::model::conntrack::rule`]. A spell under a rule is borne if every timer that the rule may
//! choose is longer than the spell.

use crate::engine::pipeline::{Followed, Judged};
use crate::engine::replay::FlowRun;
use crate::engine::timers::TimerId;
use crate::engine::{Device, Hop, Path};
pub use crate::finding::cause::setting_of;
use crate::finding::cause::{CT_STATES, IDLE, setting_of_idle as idle};
use crate::flow::GapEvidence;
use crate::model::Clause;
use crate::model::conntrack::entry::State as CtState;
use crate::model::conntrack::rule::Rule;
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::policy::{BoxPolicy, BoxSpec, Settings};
use crate::time::Duration;

/// A timer that can be set at a box: the name that `--box` takes, and what it is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Knob {
    /// Which box, from 0 at the client.
    pub hop: usize,
    /// The setting's name.
    pub setting: &'static str,
}

/// Whether a timer waits for people and applications, and not for TCP itself: one that may be made as small as a capture shows.
pub fn waits_for_people(setting: &str) -> bool {
    matches!(setting, "established" | "tcp" | "udp" | "udp_stream" | "udp_unreplied" | "udp_first")
}

/// The settings that must all be longer than a spell under a timer; empty where nothing can be set.
pub fn settings_of(hop: &Hop, timer: TimerId) -> Vec<&'static str> {
    match &hop.device {
        Device::Router(_) => conntrack(Rule::from_number(timer.0)),
        // Their sysctls are no settings of ipvsadm.
        Device::Director(_) if timer.is_of_defence() => Vec::new(),
        Device::Director(_) => match hop.clause(timer) {
            Clause::Ipvs(VsState::Established) => vec!["tcp"],
            Clause::Ipvs(VsState::FinWait) => vec!["tcpfin"],
            Clause::IpvsUdp => vec!["udp"],
            _ => Vec::new(),
        },
        Device::Idle(_) => idle(hop, timer).into_iter().collect(),
    }
}

fn conntrack(rule: Rule) -> Vec<&'static str> {
    let Some(state) = rule.state() else {
        return vec![match rule {
            Rule::INVALID_PAIR => "unacknowledged",
            Rule::UDP_STREAM => "udp_stream",
            _ => "udp",
        }];
    };
    if rule == Rule::NONE || rule == Rule::stillborn(state) {
        return Vec::new();
    }
    let own = if rule.has(Rule::RST) { CtState::Close } else { state };
    let mut settings = vec![CT_STATES[own as usize]];
    if rule.has(Rule::RETRANS) || rule.has(Rule::ZERO_WINDOW) && !rule.has(Rule::RST) {
        settings.push("timeout_max_retrans");
    }
    if !rule.has(Rule::RST) && (rule.has(Rule::UNACKED) || rule.has(Rule::INEXACT)) || rule.has(Rule::UNREPLIED) {
        settings.push("unacknowledged");
    }
    settings.retain(|name| !name.is_empty());
    settings
}

/// The timers that a box has, with what they are set to.
pub fn knobs(path: &Path) -> Vec<(Knob, Duration)> {
    let mut knobs = Vec::new();
    for (hop, device) in path.hops.iter().enumerate() {
        let mut add = |setting: &'static str, span: Duration| knobs.push((Knob { hop, setting }, span));
        match &device.device {
            Device::Router(router) => {
                let s = &router.conntrack.settings;
                for (name, span) in CT_STATES.iter().zip(s.tcp_timeouts).skip(1).take(8) {
                    add(name, span);
                }
                add("timeout_max_retrans", s.tcp_timeout_max_retrans);
                add("unacknowledged", s.tcp_timeout_unacknowledged);
                add("udp", s.udp_timeout);
                add("udp_stream", s.udp_timeout_stream);
            }
            Device::Director(director) => {
                let s = &director.ipvs;
                add("tcp", s.timeouts[VsState::Established as usize]);
                add("tcpfin", s.timeouts[VsState::FinWait as usize]);
                add("udp", s.udp_timeout);
            }
            Device::Idle(idle) => {
                for (name, clause) in IDLE.iter().zip(IdleClause::ALL) {
                    // Only settings that decide something: one that is not given has another stand in for it.
                    if self::idle(device, TimerId(clause as u16)) == Some(name) {
                        add(name, idle.timer(clause).timeout);
                    }
                }
            }
        }
    }
    knobs
}

/// Gives a box of a path another value of a setting.
///
/// # Errors
/// What the setting says to it.
pub fn set(boxes: &mut [BoxSpec], knob: Knob, secs: u64) -> Result<(), String> {
    let one = boxes.get_mut(knob.hop).ok_or_else(|| format!("the path has no box {}", knob.hop + 1))?;
    let value = secs.to_string();
    let done = match &mut one.policy {
        BoxPolicy::Conntrack(policy) => policy.set(knob.setting, &value).map(drop),
        BoxPolicy::Ipvs(policy) => policy.set(knob.setting, &value).map(drop),
        BoxPolicy::Idle(policy) => policy.set(knob.setting, &value).map(drop),
    };
    done.map_err(|error| error.to_string())
}

/// A spell that a flow's entries had to bear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spell {
    /// How long.
    pub idle: Duration,
    /// The flow, by its place in the run.
    pub flow: usize,
    /// The frame that ended it.
    pub frame: u32,
    /// What is known about the silence.
    pub evidence: GapEvidence,
}

/// What one flow needs of each timer, and what nothing that can be set would save.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// For each timer the longest spell under it.
    pub spells: Vec<(Knob, Spell)>,
    /// Spells under timers that no setting reaches, beyond their length.
    pub beyond_settings: Vec<(usize, TimerId, Spell)>,
}

/// What a flow needs. Its run is one in which entries never end ([`crate::engine::replay::Replay::immortal`]).
pub fn of_flow(path: &Path, flow: usize, run: &FlowRun) -> Needs {
    let mut needs = Needs::default();
    for hop in 0..path.hops.len() {
        for row in run.profile.rows().filter(|row| row.hop == hop) {
            if row.longest.idle == Duration::ZERO {
                continue;
            }
            let spell = Spell { idle: row.longest.idle, flow, frame: row.longest.after, evidence: row.longest.evidence };
            let settings = settings_of(&path.hops[hop], row.timer);
            if settings.is_empty() && spell.idle >= path.hops[hop].span(row.timer) {
                needs.beyond_settings.push((hop, row.timer, spell));
            }
            for setting in settings {
                let knob = Knob { hop, setting };
                match needs.spells.iter_mut().find(|(known, _)| *known == knob) {
                    Some((_, longest)) if longest.idle >= spell.idle => {}
                    Some((_, longest)) => *longest = spell,
                    None => needs.spells.push((knob, spell)),
                }
            }
        }
    }
    needs
}

/// What every flow of a run needs.
pub fn of_run(path: &Path, run: &Followed) -> Vec<Needs> {
    use rayon::prelude::*;
    run.flows.par_iter().enumerate().map(|(flow, judged): (usize, &Judged)| of_flow(path, flow, &judged.run)).collect()
}
