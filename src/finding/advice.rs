//! What would have kept a flow: the smallest timer, the largest keepalive, as lines to paste.

use super::Decisive;
use super::margin::Margin;
use crate::engine::Hop;
use crate::kernel::wheel::Hz;
use crate::model::Clause;
use crate::model::conntrack::entry::State as CtState;
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::net::{Proto, Sock};
use crate::policy::BoxPolicy;
use crate::policy::idle::Activity;
use crate::time::Duration;

/// Where an advice is to be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Where {
    /// On the box.
    Box,
    /// On one of the two ends.
    End,
}

/// One thing that would have kept the flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advice {
    /// Where.
    pub at: Where,
    /// A line to paste, or the setting to change where no command is known.
    pub line: String,
    /// What to know about it.
    pub note: String,
}

/// The smallest whole seconds that a timer must be set to so that a spell does not reach it.
pub const fn keep_secs(longest: Duration) -> u64 {
    longest.as_secs() + 1
}

/// The largest keepalive idle time, in whole seconds, that stays below a timer: on exact clocks, and on an end whose own
/// keepalive timer sits in the wheel. A path and lost probes are [`Margin`]'s.
pub fn keepalive_max(timeout: Duration, hz: Hz) -> (u64, Option<u64>) {
    let ideal = if timeout.0.is_multiple_of(1_000_000_000) { timeout.as_secs().saturating_sub(1) } else { timeout.as_secs() };
    let wheel = Margin::bare(timeout, Some(hz)).largest().map(|budget| budget.idle);
    (ideal, wheel)
}

/// The largest keepalive idle time that would have saved a flow, as [`keepalive_max`] gives it; nothing where none helps.
pub fn saving_keepalive(hop: &Hop, decisive: &Decisive, proto: Proto, hz: Hz) -> Option<(u64, Option<u64>)> {
    (proto == Proto::Tcp && keepalive_helps(hop, decisive.cause.clause))
        .then(|| keepalive_max(decisive.timeout, hz))
        .filter(|(ideal, _)| *ideal > 0)
}

/// Whether a keepalive would be sent at all while this timer runs, and would restart it. A proxy does not hand one on.
fn keepalive_helps(hop: &Hop, clause: Clause) -> bool {
    if matches!(&hop.policy, BoxPolicy::Idle(policy) if policy.activity() == Activity::Data) {
        return false;
    }
    match clause {
        Clause::State(s) => matches!(s, CtState::Established | CtState::FinWait | CtState::CloseWait),
        Clause::UnrepliedEstablished => true,
        Clause::Ipvs(s) => matches!(s, VsState::Established | VsState::FinWait | VsState::CloseWait),
        Clause::Idle(s) => matches!(s, IdleClause::Established | IdleClause::FinWait | IdleClause::CloseWait),
        _ => false,
    }
}

/// What would have kept the flow that this entry's end decided.
pub fn advise(hop: &Hop, decisive: &Decisive, proto: Proto, server: Sock, hz: Hz) -> Vec<Advice> {
    let mut advice = Vec::new();
    let keep = keep_secs(decisive.idle);
    let span = Duration::from_secs(keep).human();
    let on_box = |line: String, note: String| Advice { at: Where::Box, line, note };
    match decisive.cause.clause {
        // ipvsadm --set does not reach the timers of entries that were born under secure_tcp in 2.4; their sysctls do.
        Clause::Ipvs(_) | Clause::IpvsUdp if decisive.cause.setting.as_deref().is_some_and(|s| s.starts_with("net.ipv4.vs.")) => {
            let setting = decisive.cause.setting.as_deref().unwrap_or_default();
            advice.push(on_box(format!("sysctl -w {setting}={keep}"), format!("entries made from now on; {span}")));
        }
        Clause::Ipvs(VsState::Established) => {
            advice.push(on_box(format!("ipvsadm --set {keep} 0 0"), format!("ESTABLISHED of every service; {span}")));
        }
        Clause::Ipvs(VsState::FinWait) => {
            advice.push(on_box(format!("ipvsadm --set 0 {keep} 0"), format!("FIN_WAIT of every service; {span}")));
        }
        Clause::IpvsUdp => advice.push(on_box(format!("ipvsadm --set 0 0 {keep}"), format!("UDP of every service; {span}"))),
        Clause::Ipvs(state) => advice
            .push(on_box("no setting".to_owned(), format!("ipvsadm --set reaches ESTABLISHED, FIN_WAIT and UDP, not {}", state.name()))),
        Clause::Idle(_) => advice.push(on_box(
            decisive.cause.setting.as_ref().map_or_else(|| hop.label.clone(), |s| format!("{s} = {keep}")),
            configurable(hop, keep),
        )),
        _ => match &decisive.cause.setting {
            Some(setting) => advice.push(on_box(format!("sysctl -w {setting}={keep}"), span)),
            None => advice
                .push(on_box(format!("(no sysctl sets {})", decisive.cause.state), "its timer is a constant of the kernel".to_owned())),
        },
    }
    if let Some((ideal, wheel)) = saving_keepalive(hop, decisive, proto, hz) {
        let safe = wheel.unwrap_or(ideal);
        let note = format!(
            "TCP_KEEPIDLE of {ideal} s or less keeps it on exact clocks; {safe} s with the timer wheel's lateness at HZ={}; only sockets with SO_KEEPALIVE send it",
            hz.0
        );
        advice.push(Advice { at: Where::End, line: format!("sysctl -w net.ipv4.tcp_keepalive_time={safe}"), note });
        if server.port == 22 {
            advice.push(Advice {
                at: Where::End,
                line: format!("ServerAliveInterval {safe}"),
                note: "in ssh_config; ClientAliveInterval in sshd_config does the same from the other end".to_owned(),
            });
        }
    }
    advice
}

/// What a preset says about changing its timer.
fn configurable(hop: &Hop, keep: u64) -> String {
    let BoxPolicy::Idle(policy) = &hop.policy else { return String::new() };
    let Some(preset) = policy.provenance() else { return format!("{} or more", Duration::from_secs(keep).human()) };
    if preset.configurable.is_empty() {
        "not known to be configurable: shorten the keepalive instead".to_owned()
    } else {
        format!("configurable, within the product's limits; see 'flowlapse presets {}'", preset.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_must_be_longer_than_the_spell() {
        assert_eq!(keep_secs(Duration(908_492_000_000)), 909);
        assert_eq!(keep_secs(Duration::from_secs(900)), 901);
    }

    #[test]
    fn the_largest_keepalive_is_strictly_below_the_timer() {
        let (ideal, wheel) = keepalive_max(Duration::from_secs(900), Hz(1000));
        assert_eq!(ideal, 899);
        // 867 s lie in a granule of 32.768 s.
        assert_eq!(wheel, Some(867));
        assert_eq!(keepalive_max(Duration(900_500_000_000), Hz(250)).0, 900);
    }
}
