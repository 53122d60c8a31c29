//! Rules about the size of conntrack's table, about kube-proxy's zeros, and about texts that disagree.

use super::gather::Contradiction;
use super::rule::{Found, Rule, Severity};
use super::setup::{Origin, Setup};
use crate::engine::Device;
use crate::finding::advice::Where;
use crate::inventory::{Inventory, KubeProxySetting, TimeoutSource};
use crate::policy::BoxPolicy;
use crate::time::Duration;

/// All of them.
pub(super) fn rules(setup: &Setup<'_>, found: &mut Vec<Found>) {
    for (index, stand) in setup.stands.iter().enumerate() {
        let (BoxPolicy::Conntrack(policy), Device::Router(_)) = (&stand.hop().policy, &stand.hop().device) else { continue };
        if let (Some(max), Some((count, at))) = (policy.nf_conntrack_max, entries(setup.machine).filter(|_| stand.is_machine)) {
            full(index, max, count, [at, stand.origin("max")], found);
        }
        if let (Some(max), Some(buckets)) = (policy.nf_conntrack_max, policy.buckets)
            && max > buckets.saturating_mul(8)
        {
            let what =
                format!("{max} entries may share {buckets} buckets of {}: {} in a chain on average", stand.label(), max / buckets.max(1));
            found.push(
                Found::new(Rule::BucketsFew, Severity::Warning, what).at(index).places([stand.origin("buckets"), stand.origin("max")]).fix(
                    Where::Box,
                    [format!("sysctl -w net.netfilter.nf_conntrack_buckets={}", max / 4)],
                    "8 bytes each; before 4.8 only as a parameter of the module",
                ),
            );
        }
    }
    zeros(setup.machine, found);
}

/// How many entries conntrack has: what the kernel counts, else what was listed.
pub(super) fn entries(machine: &Inventory) -> Option<(u64, Origin)> {
    let counted = machine.sysctl("net.netfilter.nf_conntrack_count");
    let counted = counted.and_then(|sysctl| Some((sysctl.value.parse().ok()?, Origin::Text(sysctl.at.clone()))));
    counted.or_else(|| machine.conntrack.first().map(|first| (machine.conntrack.len() as u64, Origin::Text(first.at.clone()))))
}

fn full(index: usize, max: u64, count: u64, places: [Origin; 2], found: &mut Vec<Found>) {
    let percent = count.saturating_mul(100) / max.max(1);
    let severity = match percent {
        95.. => Severity::Error,
        80.. => Severity::Warning,
        _ => return,
    };
    found.push(
        Found::new(Rule::TableFull, severity, format!("{count} of {max} entries of conntrack are in use, {percent} %"))
            .at(index)
            .places(places)
            .fix(
                Where::Box,
                [format!("sysctl -w net.netfilter.nf_conntrack_max={}", max.saturating_mul(2))],
                "about 400 bytes an entry; 'flowlapse capacity' says what a capture would need",
            ),
    );
}

fn zeros(machine: &Inventory, found: &mut Vec<Found>) {
    for said in &machine.kube_proxy {
        let KubeProxySetting::Conntrack(name, value) = &said.setting else { continue };
        if *name == "be_liberal" || Duration::parse(value).ok() != Some(Duration::ZERO) {
            continue;
        }
        found.push(
            Found::new(Rule::KubeProxyZero, Severity::Info, format!("kube-proxy is told {name} = {value}: the node keeps its own value"))
                .places([Origin::Text(said.at.clone())]),
        );
    }
    let ipvs = machine.ipvs_timeouts.iter().filter(|timeouts| timeouts.source == TimeoutSource::KubeProxy);
    for timeouts in ipvs {
        let zero: Vec<&str> = [("tcpTimeout", timeouts.tcp), ("tcpFinTimeout", timeouts.tcpfin), ("udpTimeout", timeouts.udp)]
            .into_iter()
            .filter(|(_, span)| *span == Some(Duration::ZERO))
            .map(|(name, _)| name)
            .collect();
        if !zero.is_empty() {
            found.push(
                Found::new(
                    Rule::KubeProxyZero,
                    Severity::Info,
                    format!("kube-proxy is told {} = 0: IPVS keeps the kernel's value (900, 120, 300)", zero.join(", ")),
                )
                .places([Origin::Text(timeouts.at.clone())]),
            );
        }
    }
}

/// Texts that disagree.
pub(super) fn contradictions(known: &[Contradiction], found: &mut Vec<Found>) {
    for Contradiction { name, overruled, counts } in known {
        found.push(
            Found::new(
                Rule::Contradiction,
                Severity::Warning,
                format!("{name}: one text says {}, another {}, which is taken", overruled.value, counts.value),
            )
            .places([overruled.from.clone(), counts.from.clone()]),
        );
    }
}
