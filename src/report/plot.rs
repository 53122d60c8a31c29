//! What a replay's charts show: how many of its flows each idle timer would keep, and how long they were silent. It draws nothing
//! itself.

use super::Report;
use super::chart::{GapBin, Gaps, Mark, Step, Survival};
use crate::engine::profile::Row;
use crate::engine::silences::Silences;
use crate::engine::{Device, Path};
use crate::finding::Verdict;
use crate::model::Clause;
use crate::model::conntrack::entry::State as CtState;
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::net::Proto;
use crate::policy::presets;
use crate::time::Duration;

/// The presets whose timers are marked for comparison, and how they are called in few words.
const USUAL: [(&str, &str); 7] = [
    ("azure-lb-default", "Azure LB"),
    ("aws-nlb", "AWS NLB"),
    ("gcp-vpc-firewall", "GCP firewall"),
    ("linux-ipvs-default", "IPVS"),
    ("cisco-asa", "Cisco ASA"),
    ("kube-proxy-iptables", "kube-proxy"),
    ("linux-conntrack-default", "conntrack"),
];

/// How many flows an idle timer for open connections would keep, with the timers in force and the usual ones.
pub fn survival(report: &Report<'_>) -> Survival {
    let (flows, cut) = (report.flows(), report.count(Verdict::Cut));
    Survival {
        title: format!("{flows} flow{}, {cut} cut: how many an idle timer of this length would keep", if flows == 1 { "" } else { "s" }),
        subtitle: "thick: timers in force on the path; thin: usual ones, for comparison".to_owned(),
        steps: steps(report),
        marks: in_force(report.path).chain(usual()).collect(),
        across: String::new(),
        sampled: false,
    }
}

/// How long the flows were silent, with the timers in force.
pub fn gaps(report: &Report<'_>, silences: &Silences) -> Gaps {
    let ranges = silences.ranges();
    let count: u64 = ranges.iter().map(|r| r.proven + r.unknown).sum();
    let left_out = match silences.holes() {
        0 => String::new(),
        1 => "; one more is left out, where packets are missing".to_owned(),
        holes => format!("; {holes} more are left out, where packets are missing"),
    };
    let bins = ranges.iter().map(|r| GapBin {
        from_secs: r.from.as_secs_f64(),
        to_secs: r.to.as_secs_f64(),
        proven: r.proven,
        unknown: r.unknown,
    });
    let has = |proto| report.run.flows.flows().any(|flow| flow.proto() == proto);
    let mut marks: Vec<Mark> = if has(Proto::Tcp) { in_force(report.path).collect() } else { Vec::new() };
    if has(Proto::Udp) {
        marks.extend(udp_in_force(report.path));
    }
    let flows = report.flows();
    Gaps {
        title: format!("how long {flows} flow{} {} silent", if flows == 1 { "" } else { "s" }, if flows == 1 { "was" } else { "were" }),
        subtitle: format!("{count} silence{} of 0.1 s or more between two packets{left_out}", if count == 1 { "" } else { "s" }),
        bins: bins.collect(),
        marks,
    }
}

/// The share of flows whose longest proven silence is no longer than each timer, rising.
fn steps(report: &Report<'_>) -> Vec<Step> {
    let open = |row: &Row| is_open(report.path.hops[row.hop].clause(row.timer));
    let mut longest: Vec<Duration> =
        report.each(|profile| profile.rows().filter(open).map(|row| row.longest.idle).max()).into_iter().flatten().collect();
    longest.sort_unstable();
    let total = longest.len().max(1) as f64;
    let mut steps: Vec<Step> = Vec::new();
    for (index, idle) in longest.iter().enumerate() {
        let step = Step { secs: idle.as_secs_f64(), kept: 100.0 * (index + 1) as f64 / total };
        match steps.last_mut() {
            Some(last) if last.secs.to_bits() == step.secs.to_bits() => *last = step,
            _ => steps.push(step),
        }
    }
    steps
}

/// Whether a clause is the timer of an open connection.
fn is_open(clause: Clause) -> bool {
    matches!(clause, Clause::State(CtState::Established) | Clause::Ipvs(VsState::Established) | Clause::Idle(IdleClause::Established))
}

/// The timers for open connections that are in force, with the boxes that have them.
pub(super) fn in_force(path: &Path) -> impl Iterator<Item = Mark> {
    marked(path, "", |device| match device {
        Device::Router(r) => r.conntrack.settings.tcp_timeouts[CtState::Established as usize],
        Device::Director(d) => d.ipvs.timeouts[VsState::Established as usize],
        Device::Idle(i) => i.timer(IdleClause::Established).timeout,
    })
}

/// The same for UDP that goes both ways.
fn udp_in_force(path: &Path) -> impl Iterator<Item = Mark> {
    marked(path, ", UDP", |device| match device {
        Device::Router(r) => r.conntrack.settings.udp_timeout_stream,
        Device::Director(d) => d.ipvs.udp_timeout,
        Device::Idle(i) => i.timer(IdleClause::UdpStream).timeout,
    })
}

fn marked(path: &Path, what: &'static str, timer: fn(&Device) -> Duration) -> impl Iterator<Item = Mark> {
    let hops = path.hops.iter().map(move |hop| (timer(&hop.device), &hop.label));
    hops.filter(|(timeout, _)| *timeout != Duration::MAX).map(move |(timeout, label)| Mark {
        secs: timeout.as_secs_f64(),
        label: format!("{label}{what}: {}", timeout.human()),
        strong: true,
    })
}

/// The timers for open connections that one meets elsewhere.
pub(super) fn usual() -> impl Iterator<Item = Mark> {
    USUAL.into_iter().filter_map(|(id, name)| {
        let established = presets::find(id)?.timers().into_iter().find(|timer| timer.name == "established")?;
        let timeout = established.timeout;
        let span = if timeout < Duration::from_secs(3600) { timeout.to_string() } else { timeout.human() };
        (timeout != Duration::MAX).then(|| Mark { secs: timeout.as_secs_f64(), label: format!("{name} {span}"), strong: false })
    })
}
