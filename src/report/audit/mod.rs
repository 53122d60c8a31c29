//! An audit to bytes: for people, for machines, for Prometheus. Nothing here judges.

pub mod json;
pub mod prometheus;
pub mod text;

use crate::engine::Device;
use crate::inventory::Kind;
use crate::study::audit::Audit;
use crate::study::audit::forecast::Table;

/// What a kind of text is called.
const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sysctls => "sysctls",
        Kind::IpvsTimeouts => "IPVS timeouts",
        Kind::IpvsServices => "IPVS services",
        Kind::IpvsConns => "IPVS connections",
        Kind::Conntrack => "conntrack entries",
        Kind::ConntrackEvents => "conntrack events",
        Kind::Sockets => "sockets",
        Kind::Sshd => "sshd_config",
        Kind::Ssh => "ssh_config",
        Kind::Nft => "nft rules",
        Kind::Iptables => "iptables rules",
        Kind::KubeProxy => "kube-proxy",
        Kind::Keepalived => "keepalived.conf",
    }
}

/// How many entries a table has: what the kernel counts where it is shown, else what was listed; and its limit.
fn occupancy(audit: &Audit<'_>, table: Table) -> (Option<u64>, Option<u64>) {
    let machine = audit.setup.machine;
    match table {
        Table::Ipvs => {
            let shown = machine.has(Kind::IpvsConns) || !machine.ipvs_conns.is_empty();
            (shown.then_some(machine.ipvs_conns.len() as u64), None)
        }
        Table::Conntrack => {
            let counted = machine.sysctl("net.netfilter.nf_conntrack_count").and_then(|sysctl| sysctl.value.parse().ok());
            let shown = machine.has(Kind::Conntrack) || !machine.conntrack.is_empty();
            let limit = audit.setup.stands.iter().filter(|stand| stand.is_machine).find_map(|stand| match &stand.hop().policy {
                crate::policy::BoxPolicy::Conntrack(policy) => policy.nf_conntrack_max,
                _ => None,
            });
            (counted.or_else(|| shown.then_some(machine.conntrack.len() as u64)), limit)
        }
    }
}

/// A box's timers that its reports name: the setting and the span in force.
fn timers(device: &Device, stand: &crate::study::audit::setup::Stand) -> Vec<(&'static str, crate::time::Duration)> {
    let mut timers = vec![(stand.established_name(), stand.established())];
    if !matches!(device, Device::Idle(_)) {
        timers.extend(stand.transitory().into_iter().filter(|(name, _)| matches!(*name, "fin_wait" | "tcpfin" | "close_wait")));
    }
    timers.extend(stand.cap());
    timers.extend(stand.udp());
    timers.retain(|(_, span)| *span < crate::time::Duration::MAX);
    timers
}
