//! The settings in force, each under the name that its box's tools use, with its value and where that comes from.

use super::page::{PolicyBox, Setting};
use crate::engine::{Device, Hop};
use crate::finding::cause::sysctl_tree;
use crate::model::conntrack::entry::State as CtState;
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::policy::{BoxPolicy, ConntrackPolicy, IdlePolicy, IpvsPolicy, Settings};
use crate::report::text::{describe, span};
use crate::time::Duration;

/// The settings of each box of a path. `given` names where settings come from that stand in no file: the command line, a scenario.
pub fn boxes(hops: &[Hop], given: &str) -> Vec<PolicyBox> {
    hops.iter().map(|hop| PolicyBox { label: hop.label.clone(), what: what(hop), settings: settings(hop, given) }).collect()
}

fn what(hop: &Hop) -> String {
    let idle = hop.not_simulated();
    let mut text = describe(hop);
    if !idle.is_empty() {
        text.push_str(&format!("; given, but not simulated here: {}", idle.join(", ")));
    }
    text
}

fn settings(hop: &Hop, given: &str) -> Vec<Setting> {
    match &hop.policy {
        BoxPolicy::Conntrack(policy) => {
            let base = match hop.policy.preset().map(crate::policy::Preset::resolve) {
                Some(BoxPolicy::Conntrack(base)) => Some(base),
                _ => None,
            };
            of(hop, policy, base.as_ref(), &ConntrackPolicy::default(), given)
        }
        BoxPolicy::Ipvs(policy) => {
            let base = match hop.policy.preset().map(crate::policy::Preset::resolve) {
                Some(BoxPolicy::Ipvs(base)) => Some(base),
                _ => None,
            };
            of(hop, policy, base.as_ref(), &IpvsPolicy::default(), given)
        }
        BoxPolicy::Idle(policy) => {
            let base = match hop.policy.preset().map(crate::policy::Preset::resolve) {
                Some(BoxPolicy::Idle(base)) => Some(base),
                _ => None,
            };
            let mut all = of(hop, policy, base.as_ref(), &IdlePolicy::new(Duration::ZERO), given);
            for setting in all.iter_mut().filter(|setting| policy.is_unverified(&setting.name)) {
                setting.origin.push_str(", which has no source for it");
            }
            all
        }
    }
}

/// What no kernel has a default for.
const OURS: [&str; 7] = ["nat", "rules", "input", "method", "scheduler", "real_servers", "vip_local"];

/// Every setting that has a value, first those that somebody gave, otherwise in the order in which a specification writes them, and what the kernel has built in.
fn of<P: Settings>(hop: &Hop, policy: &P, preset: Option<&P>, default: &P, given: &str) -> Vec<Setting> {
    let dialect = hop.dialect().map_or_else(|| "default".to_owned(), |dialect| format!("default of {dialect}"));
    let mut all = Vec::new();
    for key in P::keys() {
        let (mine, theirs) = ((key.get)(policy), preset.and_then(|preset| (key.get)(preset)));
        let in_force = in_force(hop, key.name);
        let at = hop.origins.of(key.name);
        let is_default = at.is_none() && mine == (key.get)(default);
        let Some(value) = in_force.or_else(|| mine.clone()) else { continue };
        let origin = match (at, &hop.origins.whole) {
            (Some(at), _) => at.to_string(),
            _ if preset.is_some() && mine.is_some() && mine == theirs => {
                format!("preset {}", hop.policy.preset().map_or("", |preset| preset.id.as_str()))
            }
            _ if is_default && P::KIND == IdlePolicy::KIND && mine.is_none() => "not documented; taken so by the model".to_owned(),
            _ if is_default && OURS.contains(&key.name) => "default of flowlapse".to_owned(),
            _ if is_default => dialect.clone(),
            (None, Some(whole)) => format!("the box at {whole}"),
            (None, None) => given.to_owned(),
        };
        all.push(Setting { name: tool_name(hop, key.name), value, origin, given: !is_default });
    }
    all.sort_by_key(|setting| !setting.given);
    if let Device::Director(director) = &hop.device {
        for state in VsState::ALL.into_iter().filter(|state| !matches!(state, VsState::Established | VsState::FinWait)) {
            all.push(Setting {
                name: state.name().to_owned(),
                value: span(director.ipvs.timeouts[state as usize]),
                origin: format!("built into {}; no tool sets it", director.ipvs.dialect.name),
                given: false,
            });
        }
    }
    all
}

/// The name under which a box's tools know a setting.
fn tool_name(hop: &Hop, name: &str) -> String {
    match &hop.policy {
        BoxPolicy::Conntrack(_) => {
            let tree = sysctl_tree(hop);
            let aliases = ConntrackPolicy::key(name).map(|key| key.aliases).unwrap_or_default();
            let theirs = aliases.iter().find(|alias| alias.starts_with("tcp_") || alias.starts_with("udp_timeout"));
            match (name, theirs) {
                // A sysctl of the old tree only.
                ("syn_sent2", _) if tree.starts_with("net.netfilter.") => "syn_sent2 (no sysctl)".to_owned(),
                (_, Some(theirs)) => format!("{tree}{theirs}"),
                ("be_liberal" | "max_retrans" | "ignore_invalid_rst", None) => format!("{tree}tcp_{name}"),
                ("max" | "buckets", None) => format!("{tree}{name}"),
                _ => name.to_owned(),
            }
        }
        BoxPolicy::Ipvs(_) => match name {
            "tcp" => "ipvsadm --set, first value".to_owned(),
            "tcpfin" => "ipvsadm --set, second value".to_owned(),
            "udp" => "ipvsadm --set, third value".to_owned(),
            "persist" => "ipvsadm -p".to_owned(),
            "method" | "dialect" | "scheduler" | "real_servers" | "vip_local" => name.to_owned(),
            _ => match name.strip_prefix("dos_") {
                Some(slot) => format!("net.ipv4.vs.timeout_{slot}"),
                None => format!("net.ipv4.vs.{name}"),
            },
        },
        BoxPolicy::Idle(_) => name.to_owned(),
    }
}

/// What a setting is in the model, defaults filled in; nothing where only the policy knows it.
fn in_force(hop: &Hop, name: &str) -> Option<String> {
    let switch = |on: bool| Some(u8::from(on).to_string());
    match &hop.device {
        Device::Router(router) => {
            let s = &router.conntrack.settings;
            if let Some(state) = CtState::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(name)) {
                return Some(span(s.tcp_timeouts[state as usize]));
            }
            match name {
                "dialect" => Some(s.dialect.name.to_owned()),
                "timeout_max_retrans" => Some(span(s.tcp_timeout_max_retrans)),
                "unacknowledged" => Some(span(s.tcp_timeout_unacknowledged)),
                "udp" => Some(span(s.udp_timeout)),
                "udp_stream" => Some(span(s.udp_timeout_stream)),
                "loose" => Some(s.tcp_loose.to_string()),
                "be_liberal" => switch(s.tcp_be_liberal),
                "max_retrans" => Some(s.tcp_max_retrans.to_string()),
                "ignore_invalid_rst" => switch(s.tcp_ignore_invalid_rst),
                _ => None,
            }
        }
        Device::Director(director) => {
            let s = &director.ipvs;
            match name {
                "dialect" => Some(s.dialect.name.to_owned()),
                "tcp" => Some(span(s.timeouts[VsState::Established as usize])),
                "tcpfin" => Some(span(s.timeouts[VsState::FinWait as usize])),
                "udp" => Some(span(s.udp_timeout)),
                "sloppy_tcp" => switch(s.sloppy_tcp),
                "conn_reuse_mode" => Some(s.conn_reuse_mode.to_string()),
                "expire_nodest_conn" => switch(s.expire_nodest_conn),
                "expire_quiescent_template" => switch(s.expire_quiescent_template),
                "conntrack" => switch(s.conntrack),
                "nat_icmp_send" => switch(s.nat_icmp_send),
                _ => None,
            }
        }
        Device::Idle(idle) => {
            let clause = IdleClause::ALL.into_iter().find(|clause| clause.name().eq_ignore_ascii_case(name))?;
            let timeout = idle.timer(clause).timeout;
            Some(if timeout == Duration::MAX { "never".to_owned() } else { span(timeout) })
        }
    }
}
