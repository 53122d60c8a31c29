//! From policies, in the kernel's words, to the complete settings of the models.
//!
//! A policy says only what the user said; the dialect's defaults fill in the rest, here and nowhere else.

use crate::kernel::wheel::Hz;
use crate::model::conntrack::dialect::{self as ct_dialect, Dialect as CtDialect, Expires};
use crate::model::conntrack::entry::State as CtState;
use crate::model::conntrack::router::{Nat, Rules};
use crate::model::conntrack::{self};
use crate::model::ipvs::dialect::{self as vs_dialect, Dialect as VsDialect};
use crate::model::ipvs::{self, state::State as VsState};
use crate::model::lateness::Lateness;
use crate::policy::{self, ConntrackPolicy, IpvsPolicy};
use crate::time::Duration;

/// The dialect that a conntrack policy names, or the default.
///
/// # Errors
/// What is wrong with the name.
pub fn conntrack_dialect(policy: &ConntrackPolicy) -> Result<&'static CtDialect, String> {
    let name = policy.dialect.as_deref().unwrap_or(ct_dialect::DEFAULT);
    CtDialect::find(name).or_else(|| known_release(name).and_then(CtDialect::for_release)).ok_or_else(|| {
        policy.check_dialect(&CtDialect::names()).err().map_or_else(|| format!("unknown dialect '{name}'"), |e| e.to_string())
    })
}

/// The dialect that an IPVS policy names, or the default.
///
/// # Errors
/// What is wrong with the name.
pub fn ipvs_dialect(policy: &IpvsPolicy) -> Result<&'static VsDialect, String> {
    let name = policy.dialect.as_deref().unwrap_or(vs_dialect::DEFAULT);
    VsDialect::find(name).or_else(|| known_release(name).and_then(VsDialect::for_release)).ok_or_else(|| {
        policy.check_dialect(&VsDialect::names()).err().map_or_else(|| format!("unknown dialect '{name}'"), |e| e.to_string())
    })
}

/// The release in a dialect's name, if it is one that the rows cover: nobody knows what a later kernel does.
fn known_release(name: &str) -> Option<&str> {
    let release = name.strip_prefix("linux-").or_else(|| name.strip_prefix("longterm-")).unwrap_or(name);
    let numbers = ct_dialect::release_numbers(release)?;
    ([numbers[0], numbers[1]] <= [7, 1]).then_some(release)
}

/// The complete settings of a conntrack.
///
/// # Errors
/// An unknown dialect.
pub fn conntrack_settings(policy: &ConntrackPolicy) -> Result<conntrack::Settings, String> {
    let mut s = conntrack::Settings::defaults(conntrack_dialect(policy)?);
    let states = [
        (CtState::SynSent, policy.tcp_timeout_syn_sent),
        (CtState::SynRecv, policy.tcp_timeout_syn_recv),
        (CtState::Established, policy.tcp_timeout_established),
        (CtState::FinWait, policy.tcp_timeout_fin_wait),
        (CtState::CloseWait, policy.tcp_timeout_close_wait),
        (CtState::LastAck, policy.tcp_timeout_last_ack),
        (CtState::TimeWait, policy.tcp_timeout_time_wait),
        (CtState::Close, policy.tcp_timeout_close),
        (CtState::SynSent2, policy.tcp_timeout_syn_sent2),
    ];
    for (state, timeout) in states {
        replace(&mut s.tcp_timeouts[state as usize], timeout);
    }
    replace(&mut s.tcp_timeout_max_retrans, policy.tcp_timeout_max_retrans);
    replace(&mut s.tcp_timeout_unacknowledged, policy.tcp_timeout_unacknowledged);
    replace(&mut s.udp_timeout, policy.udp_timeout);
    replace(&mut s.udp_timeout_stream, policy.udp_timeout_stream);
    replace(&mut s.tcp_loose, policy.tcp_loose);
    replace(&mut s.tcp_be_liberal, policy.tcp_be_liberal);
    replace(&mut s.tcp_max_retrans, policy.tcp_max_retrans);
    replace(&mut s.tcp_ignore_invalid_rst, policy.tcp_ignore_invalid_rst);
    Ok(s)
}

/// The complete settings of a director.
///
/// # Errors
/// An unknown dialect.
pub fn ipvs_settings(policy: &IpvsPolicy) -> Result<ipvs::Settings, String> {
    let method = match policy.method {
        policy::ipvs::Method::Nat => ipvs::Method::Masq,
        policy::ipvs::Method::Dr => ipvs::Method::Route,
        policy::ipvs::Method::Tun => ipvs::Method::Tunnel,
    };
    let mut s = ipvs::Settings::defaults(ipvs_dialect(policy)?, method);
    let zero = Duration::ZERO;
    s.set(policy.timeout_tcp.unwrap_or(zero), policy.timeout_tcpfin.unwrap_or(zero), policy.timeout_udp.unwrap_or(zero));
    let d = &policy.dos;
    let born_under_defence = [
        (VsState::Established, d.established),
        (VsState::SynSent, d.synsent),
        (VsState::SynRecv, d.synrecv),
        (VsState::FinWait, d.finwait),
        (VsState::TimeWait, d.timewait),
        (VsState::Close, d.close),
        (VsState::CloseWait, d.closewait),
        (VsState::LastAck, d.lastack),
        (VsState::Listen, d.listen),
        (VsState::SynAck, d.synack),
    ];
    for (state, timeout) in born_under_defence {
        replace(&mut s.dos_timeouts[state as usize], timeout);
    }
    replace(&mut s.dos_udp_timeout, d.udp);
    // Modes 1 and 2 follow the director's memory, which no capture shows; only mode 3 is on for certain.
    s.secure_tcp = policy.secure_tcp.unwrap_or(0) >= 3;
    replace(&mut s.sloppy_tcp, policy.sloppy_tcp);
    replace(&mut s.conn_reuse_mode, policy.conn_reuse_mode);
    replace(&mut s.expire_nodest_conn, policy.expire_nodest_conn);
    replace(&mut s.expire_quiescent_template, policy.expire_quiescent_template);
    replace(&mut s.conntrack, policy.conntrack);
    replace(&mut s.nat_icmp_send, policy.nat_icmp_send);
    s.persistence = policy.persistence;
    Ok(s)
}

fn replace<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// The NAT rule of a conntrack policy, in the model's words.
pub fn nat(policy: &ConntrackPolicy) -> Nat {
    match policy.nat {
        policy::conntrack::Nat::None => Nat::None,
        policy::conntrack::Nat::Masquerade | policy::conntrack::Nat::Snat => Nat::Masquerade,
        policy::conntrack::Nat::Dnat => Nat::Dnat,
    }
}

/// The filter of a conntrack policy, in the model's words.
pub fn rules(policy: &ConntrackPolicy) -> Rules {
    match policy.rules {
        policy::conntrack::Rules::AcceptAll => Rules::AcceptAll,
        policy::conntrack::Rules::DropInvalid => Rules::DropInvalid,
        policy::conntrack::Rules::Strict => Rules::Strict,
    }
}

/// How late conntrack's entries end: only 4.8 put them into the wheel.
pub fn conntrack_lateness(dialect: &CtDialect, wheel: Lateness) -> Lateness {
    if dialect.expiry == Expires::Wheel { wheel } else { Lateness::Exact }
}

/// The ticks a second that are assumed where nothing else is said.
pub const DEFAULT_HZ: Hz = Hz(250);
