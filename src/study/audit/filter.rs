//! Rules about packet filters: what they do to packets that conntrack calls INVALID, timers that they hand out, flow tables.

use super::keepalive::told;
use super::rule::{Found, Rule, Severity};
use super::setup::{Origin, Setup, Stand};
use crate::engine::Device;
use crate::finding::advice::Where;
use crate::inventory::{Rule as Filter, RuleDoes};
use crate::model::conntrack::dialect::{Dialect, release_numbers};
use crate::model::conntrack::router::{Nat, Router, Rules};
use crate::time::Duration;

/// All of them.
pub(super) fn rules(setup: &Setup<'_>, found: &mut Vec<Found>) {
    for (index, stand) in setup.stands.iter().enumerate() {
        if let Device::Router(router) = &stand.hop().device {
            invalid(index, stand, router, found);
            pickup(index, stand, router, found);
            if stand.is_machine {
                offload(setup, index, router.conntrack.settings.dialect, found);
            }
        }
    }
    policies(setup, found);
}

fn invalid(index: usize, stand: &Stand, router: &Router, found: &mut Vec<Found>) {
    let settings = &router.conntrack.settings;
    let drop = ["iptables -I FORWARD -m conntrack --ctstate INVALID -j DROP", "nft insert rule inet filter forward ct state invalid drop"];
    if router.nat != Nat::None && router.rules == Rules::AcceptAll && stand.is_given("nat") {
        found.push(
            Found::new(
                Rule::InvalidUntranslated,
                Severity::Warning,
                format!("{} translates addresses and no rule drops INVALID packets: they leave untranslated", stand.label()),
            )
            .at(index)
            .places([stand.origin("nat"), stand.origin("rules")])
            .fix(Where::Box, drop, "one of them; or nf_conntrack_tcp_be_liberal=1, which lets fewer packets be INVALID"),
        );
    }
    let old = !settings.dialect.split_window_verdict;
    if router.rules != Rules::AcceptAll && stand.is_given("rules") && old && !settings.tcp_be_liberal {
        found.push(
            Found::new(
                Rule::DropInvalidOldKernel,
                Severity::Warning,
                format!(
                    "{} drops INVALID packets on a kernel before 6.1, to which retransmissions of acknowledged data are INVALID",
                    stand.label()
                ),
            )
            .at(index)
            .places([stand.origin("rules"), stand.origin("be_liberal")])
            .fix(Where::Box, ["sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1"], "only RST is then held to the window"),
        );
    }
}

fn pickup(index: usize, stand: &Stand, router: &Router, found: &mut Vec<Found>) {
    let settings = &router.conntrack.settings;
    if settings.tcp_loose == 0 && stand.is_given("loose") && router.rules != Rules::Strict {
        found.push(
            Found::new(Rule::NoPickup, Severity::Info, format!("{} has loose=0: it picks no open connection up", stand.label()))
                .at(index)
                .places([stand.origin("loose")])
                .fix(
                    Where::Box,
                    ["sysctl -w net.netfilter.nf_conntrack_tcp_loose=1"],
                    "unless nothing may pass that it has not seen begin",
                ),
        );
    }
}

/// Flows that leave a flow table, where the kernel gives them two minutes.
fn offload(setup: &Setup<'_>, index: usize, dialect: &Dialect, found: &mut Vec<Found>) {
    let Some(rule) = setup.machine.rules.iter().find(|rule| rule.does == RuleDoes::Offloads) else { return };
    let named = dialect.name.split_once('-').map_or(dialect.name, |(_, release)| release);
    let shown = setup.machine.machine.release.as_deref().and_then(release_numbers).or_else(|| release_numbers(named));
    if !dialect.flow_offload || !shown.is_some_and(|release| ([4, 20, 0]..[5, 15, 0]).contains(&release)) {
        return;
    }
    found.push(
        Found::new(
            Rule::FlowOffload,
            Severity::Warning,
            "a flow in the flow table that is quiet for 30 s leaves it with 120 s to live: it is forgotten after 150 s of silence",
        )
        .at(index)
        .sum(
            setup.stands[index].established(),
            Duration::from_secs(150),
            format!("ESTABLISHED {} > 150", setup.stands[index].established().as_secs()),
        )
        .places([Origin::Text(rule.at.clone())])
        .fix(Where::Box, ["# a kernel from 5.15 on, or no flow table for connections that may be quiet"], ""),
    );
}

fn policies(setup: &Setup<'_>, found: &mut Vec<Found>) {
    let machine = setup.machine;
    for policy in &machine.timeout_policies {
        let gives = |rule: &&Filter| matches!(&rule.does, RuleDoes::SetsTimeout(name) if *name == policy.name);
        let given: Vec<&Filter> = machine.rules.iter().filter(gives).collect();
        let timers: Vec<String> = policy.timers.iter().map(|(name, span)| format!("{name} {}", told(*span))).collect();
        if given.is_empty() {
            found.push(
                Found::new(
                    Rule::TimeoutPolicyUnused,
                    Severity::Warning,
                    format!("no rule hands out the timeout policy '{}' ({}): it holds for no flow", policy.name, timers.join(", ")),
                )
                .places([Origin::Text(policy.at.clone())])
                .fix(
                    Where::Box,
                    [format!("nft add rule ip filter prerouting {} dport 22 ct timeout set \"{}\"", policy.proto.name(), policy.name)],
                    "in a chain of priority raw that the first packet passes, for the ports that are meant",
                ),
            );
            continue;
        }
        let whole = |rule: &&&Filter| rule.limited_to.is_empty() || rule.limited_to == policy.proto.name();
        if given.iter().any(|rule| whole(&rule)) {
            continue;
        }
        let mut limits: Vec<&str> = given.iter().map(|rule| rule.limited_to.as_str()).collect();
        limits.dedup();
        found.push(
            Found::new(
                Rule::TimeoutPolicyPartial,
                Severity::Info,
                format!(
                    "the timeout policy '{}' ({}) holds for {} only; other flows have the sysctls' timers",
                    policy.name,
                    timers.join(", "),
                    limits.join(", ")
                ),
            )
            .places(given.iter().map(|rule| Origin::Text(rule.at.clone())).chain([Origin::Text(policy.at.clone())])),
        );
    }
}
