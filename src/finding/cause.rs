//! Which state, which timer, which setting: a clause in the words that people can look up and type.

use crate::engine::timers::TimerId;
use crate::engine::{Device, Hop};
use crate::model::Clause;
use crate::model::conntrack::dialect;
use crate::model::conntrack::entry::State as CtState;
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::policy::{At, BoxPolicy, Settings};
use std::borrow::Cow;

/// Whose timer ended, and who sets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// The state that the entry was in, as the box's own tools print it.
    pub state: &'static str,
    /// The timer that ran, in a word or two.
    pub timer: &'static str,
    /// The setting that decides its length, by the name under which it is set; none where nothing can set it.
    pub setting: Option<String>,
    /// Why this timer ran and not the state's own, where that is so.
    pub why: Option<&'static str>,
    /// The clause itself.
    pub clause: Clause,
    /// Where the setting stands; nothing where no text gives it.
    pub at: Option<At>,
}

impl Cause {
    /// The setting with the place where it stands, for people.
    pub fn named(&self) -> String {
        match (&self.setting, &self.at) {
            (Some(setting), Some(at)) => format!("{setting}, {at}"),
            (Some(setting), None) => setting.clone(),
            (None, _) => "no setting reaches it".to_owned(),
        }
    }
}

/// Names of conntrack's timers by state number; NONE has none.
pub(crate) const CT_STATES: [&str; 10] =
    ["", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2"];
/// Names of an idle box's timers by clause number.
pub(crate) const IDLE: [&str; 11] = [
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    "udp_first",
    "udp_unreplied",
    "udp_stream",
];

/// The setting that a clause of a box comes from; nothing where nothing can be set.
pub fn setting_of(hop: &Hop, clause: Clause, timer_of_defence: bool) -> Option<&'static str> {
    match clause {
        Clause::State(state) => Some(CT_STATES[(state as usize).min(9)]).filter(|name| !name.is_empty()),
        Clause::MaxRetrans | Clause::ZeroWindow => Some("timeout_max_retrans"),
        Clause::Unacknowledged | Clause::UnrepliedEstablished | Clause::InexactResetUnacknowledged | Clause::InvalidPair => {
            Some("unacknowledged")
        }
        Clause::InexactReset => Some("close"),
        Clause::UdpUnreplied | Clause::IpvsUdp if !timer_of_defence => Some("udp"),
        Clause::UdpStream => Some("udp_stream"),
        Clause::Ipvs(VsState::Established) if !timer_of_defence => Some("tcp"),
        Clause::Ipvs(VsState::FinWait) if !timer_of_defence => Some("tcpfin"),
        Clause::Idle(clause) => setting_of_idle(hop, TimerId(clause as u16)),
        Clause::None | Clause::Ipvs(_) | Clause::UdpUnreplied | Clause::IpvsUdp => None,
    }
}

/// The setting that decides a timer of an idle box: its own, or the one that stands in for it.
pub(crate) fn setting_of_idle(hop: &Hop, timer: TimerId) -> Option<&'static str> {
    let BoxPolicy::Idle(policy) = &hop.policy else { return None };
    let own = IDLE.get(usize::from(timer.0)).copied()?;
    let candidates: &[&'static str] = match own {
        "udp_first" => &["udp_first", "udp_unreplied", "udp_stream"],
        "udp_unreplied" => &["udp_unreplied", "udp_first", "udp_stream"],
        "udp_stream" => &["udp_stream", "udp_unreplied", "udp_first"],
        _ => &[own],
    };
    let given = |name: &&&'static str| policy.value(name).is_some();
    Some(candidates.iter().find(given).copied().unwrap_or("established"))
}

/// What stands before a conntrack setting's name: the tree moved with 2.6.20, where one of two builds still had the old names.
pub fn sysctl_tree(hop: &Hop) -> &'static str {
    let old = match &hop.device {
        Device::Router(r) => {
            let name = r.conntrack.settings.dialect.name;
            name.ends_with("-ip") || dialect::release_numbers(name.trim_start_matches("linux-")).is_some_and(|v| v < [2, 6, 20])
        }
        _ => false,
    };
    if old { "net.ipv4.netfilter.ip_conntrack_" } else { "net.netfilter.nf_conntrack_" }
}

/// Explains a clause of a box.
pub fn cause(hop: &Hop, clause: Clause, state: &'static str) -> Cause {
    let tree = sysctl_tree(hop);
    let (timer, setting, why) = match clause {
        Clause::None => ("none", None, None),
        // No sysctl sets it (the old tree of 2.6.31 to 4.8 apart).
        Clause::State(CtState::SynSent2) => ("syn_sent2", None, None),
        Clause::State(s) => {
            let name = lower(s.name());
            (name, Some(format!("{tree}tcp_timeout_{name}")), None)
        }
        Clause::MaxRetrans => (
            "max_retrans",
            Some(format!("{tree}tcp_timeout_max_retrans")),
            Some("the same packet was seen again and again without another one in between"),
        ),
        Clause::ZeroWindow => (
            "max_retrans",
            Some(format!("{tree}tcp_timeout_max_retrans")),
            Some("the last ACK announced a window of zero, or none was recorded since the flow was picked up"),
        ),
        Clause::Unacknowledged => (
            "unacknowledged",
            Some(format!("{tree}tcp_timeout_unacknowledged")),
            Some("the exact acknowledgement of the last data was not seen"),
        ),
        Clause::UnrepliedEstablished => (
            "unacknowledged",
            Some(format!("{tree}tcp_timeout_unacknowledged")),
            Some("the entry was picked up in mid-stream and saw no reply yet"),
        ),
        Clause::InexactReset => ("close", Some(format!("{tree}tcp_timeout_close")), Some("a RST came that did not match exactly")),
        Clause::InexactResetUnacknowledged => {
            ("unacknowledged", Some(format!("{tree}tcp_timeout_unacknowledged")), Some("a RST came that did not match exactly"))
        }
        Clause::InvalidPair => (
            "unacknowledged",
            Some(format!("{tree}tcp_timeout_unacknowledged")),
            Some("FIN or RST outside the window came from both sides"),
        ),
        Clause::UdpUnreplied => ("udp", Some(format!("{tree}udp_timeout")), None),
        Clause::UdpStream => ("udp_stream", Some(format!("{tree}udp_timeout_stream")), None),
        Clause::Ipvs(s) => ipvs(hop, s),
        Clause::IpvsUdp if born_under_defence(hop) => ("udp", Some("net.ipv4.vs.timeout_udp".to_owned()), Some(DEFENCE)),
        Clause::IpvsUdp => ("udp", Some("ipvsadm --set (third value)".to_owned()), None),
        Clause::Idle(s) => idle(hop, s),
    };
    let at = setting.as_ref().and_then(|_| place(hop, clause)).cloned();
    Cause { state, timer, setting, why, clause, at }
}

/// Where the setting behind a clause stands: its own place, or that of the box where it is a preset's.
fn place(hop: &Hop, clause: Clause) -> Option<&At> {
    let defence = born_under_defence(hop);
    let name = match clause {
        Clause::Ipvs(state) if defence => Some(Cow::Owned(format!("dos_{}", lower(state.name()).replace('_', "")))),
        Clause::IpvsUdp if defence => Some(Cow::Borrowed("dos_udp")),
        _ => setting_of(hop, clause, defence).map(Cow::Borrowed),
    };
    name.and_then(|name| hop.origins.of(&name)).or_else(|| hop.origins.whole.as_ref().filter(|_| matches!(hop.device, Device::Idle(_))))
}

fn ipvs(hop: &Hop, state: VsState) -> (&'static str, Option<String>, Option<&'static str>) {
    let setting = match state {
        VsState::Established => Some("ipvsadm --set (first value)".to_owned()),
        VsState::FinWait => Some("ipvsadm --set (second value)".to_owned()),
        _ => None,
    };
    if born_under_defence(hop) {
        return (lower(state.name()), Some(format!("net.ipv4.vs.timeout_{}", lower(state.name()).replace('_', ""))), Some(DEFENCE));
    }
    (lower(state.name()), setting, None)
}

const DEFENCE: &str = "the entry was born under secure_tcp, which has timers of its own in 2.4";

fn born_under_defence(hop: &Hop) -> bool {
    matches!(&hop.device, Device::Director(d) if d.ipvs.secure_tcp && d.ipvs.dialect.dos_timeouts)
}

fn idle(hop: &Hop, state: IdleClause) -> (&'static str, Option<String>, Option<&'static str>) {
    let name = lower(state.name());
    let setting = match &hop.policy {
        BoxPolicy::Idle(p) => {
            p.provenance().map_or_else(|| Some(format!("{name} of '{}'", hop.label)), |preset| Some(format!("{name} of {}", preset.id)))
        }
        _ => None,
    };
    (name, setting, None)
}

/// The lower-case form of a state's name, which is how settings spell it.
fn lower(name: &'static str) -> &'static str {
    match name {
        "NONE" => "none",
        "SYN_SENT" => "syn_sent",
        "SYN_RECV" => "syn_recv",
        "ESTABLISHED" => "established",
        "FIN_WAIT" => "fin_wait",
        "CLOSE_WAIT" => "close_wait",
        "LAST_ACK" => "last_ack",
        "TIME_WAIT" => "time_wait",
        "CLOSE" => "close",
        "SYN_SENT2" => "syn_sent2",
        "LISTEN" => "listen",
        "SYNACK" => "synack",
        other => other,
    }
}
