//! What an audit judges: the boxes of a path and its two ends, each value with the place that it comes from.
//!
//! A setup can be made from policies alone; what else a machine shows ([`Inventory`]) only adds to it. Judges nothing.

use super::stray::{Stray, stray};
use crate::engine::{Clock, Device, Hop, Path, PathError};
use crate::finding::margin::Margin;
use crate::inventory::{At, Inventory};
use crate::kernel::wheel::{Hz, RATES, lateness_max, lateness_worst};
use crate::model::Side;
use crate::model::conntrack::entry::State as CtState;
use crate::model::idle::{Clause as IdleClause, Farewell};
use crate::model::ipvs::state::State as VsState;
use crate::policy::idle::Activity;
use crate::policy::{BoxPolicy, BoxSpec};
use crate::time::Duration;
use std::collections::BTreeMap;
use std::fmt;

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// A text says so.
    Text(At),
    /// The command line says so.
    Option(String),
    /// Nobody says so: it is a default, of a kernel or of a product.
    Default(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Text(at) => at.fmt(f),
            Origin::Option(option) => f.write_str(option),
            Origin::Default(whose) => write!(f, "default of {whose}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub from: Origin,
}

impl<T> Value<T> {
    /// A value that is said somewhere.
    pub const fn new(value: T, from: Origin) -> Value<T> {
        Value { value, from }
    }
}

/// A box of the path.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The box, alone on a path of its own.
    path: Path,
    /// Where its settings come from, by the names that policies give them.
    origins: BTreeMap<&'static str, Origin>,
    /// Where a setting comes from that is not among them.
    otherwise: Origin,
    /// Whether it is the machine that was asked, not a box that was named.
    pub is_machine: bool,
    /// Whether it holds other flows than the box before it: conntrack beside an IPVS that keeps its flows from it.
    pub apart: bool,
}

impl Stand {
    /// A box with the places of its settings.
    ///
    /// # Errors
    /// A setting that makes no sense.
    pub fn new(spec: &BoxSpec, origins: BTreeMap<&'static str, Origin>, otherwise: Option<Origin>) -> Result<Stand, PathError> {
        let path = Path::build(std::slice::from_ref(spec), Clock::Ideal)?;
        let dialect = path.hops.first().and_then(Hop::dialect);
        let otherwise = otherwise.unwrap_or_else(|| Origin::Default(dialect.unwrap_or_else(|| spec.label.clone())));
        Ok(Stand { path, origins, otherwise, is_machine: false, apart: false })
    }

    /// A box whose settings stand in texts, or else where the box itself was given.
    ///
    /// # Errors
    /// A setting that makes no sense.
    pub fn of_spec(spec: &BoxSpec, otherwise: &Origin) -> Result<Stand, PathError> {
        let place = |name: &str| spec.origins.of(name).map_or_else(|| otherwise.clone(), |at| Origin::Text(at.clone()));
        let mut origins: BTreeMap<&'static str, Origin> = spec.policy.given().into_iter().map(|name| (name, place(name))).collect();
        // What a text sets to its default is set, too.
        origins.extend(spec.origins.iter().map(|(name, at)| (name, Origin::Text(at.clone()))));
        Stand::new(spec, origins, None)
    }

    /// The box with its model.
    pub fn hop(&self) -> &Hop {
        // A path is built from one specification, and has one box.
        &self.path.hops[0]
    }

    /// How reports call it.
    pub fn label(&self) -> &str {
        &self.hop().label
    }

    /// Where a setting comes from.
    pub fn origin(&self, name: &str) -> Origin {
        self.origins.get(name).unwrap_or(&self.otherwise).clone()
    }

    /// Whether somebody set it.
    pub fn is_given(&self, name: &str) -> bool {
        self.origins.contains_key(name)
    }

    /// The name of the setting that decides how long an established connection may be quiet.
    pub fn established_name(&self) -> &'static str {
        match &self.hop().device {
            Device::Director(d) if d.ipvs.secure_tcp && d.ipvs.dialect.dos_timeouts => "dos_established",
            Device::Director(_) => "tcp",
            Device::Router(_) | Device::Idle(_) => "established",
        }
    }

    /// How long an established connection may be quiet; [`Duration::MAX`] where there is no such timer.
    pub fn established(&self) -> Duration {
        match &self.hop().device {
            Device::Router(r) => r.conntrack.settings.tcp_timeouts[CtState::Established as usize],
            Device::Director(d) => self.director_timeouts(d)[VsState::Established as usize],
            Device::Idle(i) => i.timer(IdleClause::Established).timeout,
        }
    }

    fn director_timeouts<'d>(&self, director: &'d crate::model::director::Director) -> &'d [Duration; 11] {
        let ipvs = &director.ipvs;
        if self.established_name() == "dos_established" { &ipvs.dos_timeouts } else { &ipvs.timeouts }
    }

    /// The timer of a state, by the name that the kernel's tools print.
    pub fn of_state(&self, state: &str) -> Option<Duration> {
        match &self.hop().device {
            Device::Router(r) => {
                let found = CtState::ALL.iter().find(|known| known.name() == state)?;
                Some(r.conntrack.settings.tcp_timeouts[*found as usize])
            }
            Device::Director(d) => {
                let found = VsState::ALL.iter().find(|known| known.name() == state)?;
                Some(self.director_timeouts(d)[*found as usize])
            }
            Device::Idle(_) => None,
        }
    }

    /// The timers of connections that are being opened or closed: the setting's name and the state's timer.
    pub fn transitory(&self) -> Vec<(&'static str, Duration)> {
        const CONNTRACK: [(&str, CtState); 7] = [
            ("syn_sent", CtState::SynSent),
            ("syn_recv", CtState::SynRecv),
            ("fin_wait", CtState::FinWait),
            ("close_wait", CtState::CloseWait),
            ("last_ack", CtState::LastAck),
            ("time_wait", CtState::TimeWait),
            ("close", CtState::Close),
        ];
        const IPVS: [(&str, VsState); 7] = [
            ("syn_sent", VsState::SynSent),
            ("syn_recv", VsState::SynRecv),
            ("tcpfin", VsState::FinWait),
            ("close_wait", VsState::CloseWait),
            ("last_ack", VsState::LastAck),
            ("time_wait", VsState::TimeWait),
            ("close", VsState::Close),
        ];
        match &self.hop().device {
            Device::Router(r) => CONNTRACK.map(|(name, state)| (name, r.conntrack.settings.tcp_timeouts[state as usize])).to_vec(),
            Device::Director(d) => IPVS.map(|(name, state)| (name, self.director_timeouts(d)[state as usize])).to_vec(),
            Device::Idle(_) => match &self.hop().policy {
                BoxPolicy::Idle(p) => [("fin_wait", p.fin_wait), ("close_wait", p.close_wait), ("syn_sent", p.syn_sent)]
                    .into_iter()
                    .filter_map(|(name, span)| Some((name, span?)))
                    .collect(),
                _ => Vec::new(),
            },
        }
    }

    /// The timer of UDP in both directions, where there is one.
    pub fn udp(&self) -> Option<(&'static str, Duration)> {
        match &self.hop().device {
            Device::Router(r) => Some(("udp_stream", r.conntrack.settings.udp_timeout_stream)),
            Device::Director(d) => Some(("udp", d.ipvs.udp_timeout)),
            Device::Idle(_) => match &self.hop().policy {
                BoxPolicy::Idle(p) => p.udp_stream.map(|span| ("udp_stream", span)),
                _ => None,
            },
        }
    }

    /// The shortest cap that conntrack may run instead of ESTABLISHED's timer, with its setting.
    pub fn cap(&self) -> Option<(&'static str, Duration)> {
        use crate::model::conntrack::dialect::Timeouts;
        let Device::Router(router) = &self.hop().device else { return None };
        let settings = &router.conntrack.settings;
        let retrans = ("timeout_max_retrans", settings.tcp_timeout_max_retrans);
        let unacknowledged = ("unacknowledged", settings.tcp_timeout_unacknowledged);
        match settings.dialect.timeouts {
            Timeouts::V2_4 => None,
            Timeouts::V2_6_9 => Some(retrans),
            _ if unacknowledged.1 < retrans.1 => Some(unacknowledged),
            _ => Some(retrans),
        }
    }

    /// Whether TCP keepalive crosses it and counts.
    pub fn counts_keepalive(&self) -> bool {
        !matches!(&self.hop().policy, BoxPolicy::Idle(policy) if policy.activity() == Activity::Data)
    }

    /// What becomes of an end's packet whose entry has gone, by the model of the box.
    pub fn stray(&self, from: Side) -> Stray {
        stray(&self.path, from)
    }

    /// Whether a flow whose entry has gone goes on as if nothing had been, whoever speaks first.
    pub fn heals(&self) -> bool {
        self.stray(Side::Client) == Stray::Passes && self.stray(Side::Server) == Stray::Passes
    }

    /// Whether it tells the ends of its own accord when an established connection's timer ends.
    pub fn tells(&self) -> bool {
        self.hop().farewell_possible() != Farewell::Nothing
    }

    /// Whether it translates the client's address.
    pub fn is_nat(&self) -> bool {
        use crate::policy::conntrack::Nat;
        use crate::policy::idle::Kind;
        match &self.hop().policy {
            BoxPolicy::Conntrack(policy) => matches!(policy.nat, Nat::Masquerade | Nat::Snat),
            BoxPolicy::Ipvs(_) => false,
            BoxPolicy::Idle(policy) => policy.kind == Kind::Nat,
        }
    }

    /// How late its own timers may fire that were armed for so long.
    pub fn late(&self, armed: Duration, hz: Option<Hz>) -> Duration {
        use crate::model::conntrack::dialect::Expires;
        match &self.hop().device {
            Device::Director(d) if d.ipvs.dialect.wheel => late(armed, hz),
            Device::Router(r) if r.conntrack.settings.dialect.expiry == Expires::Wheel => late(armed, hz),
            _ => Duration::ZERO,
        }
    }
}

/// How late a timer of the wheel may fire that was armed for so long; the worst of all rates where the rate is not known.
pub fn late(armed: Duration, hz: Option<Hz>) -> Duration {
    hz.map_or_else(|| lateness_worst(armed), |hz| lateness_max(armed, hz))
}

/// How long a probe may be on its way: more than once round the earth.
pub const ROUND_TRIP: Duration = Duration::from_millis(200);

/// What the end of a path does to notice a dead peer.
#[derive(Clone, Debug)]
pub struct Host<'a> {
    /// Which end.
    pub side: Side,
    /// `tcp_keepalive_time`.
    pub time: Value<u64>,
    /// `tcp_keepalive_intvl`.
    pub interval: Value<u64>,
    /// `tcp_keepalive_probes`.
    pub probes: Value<u64>,
    /// `tcp_retries2`.
    pub retries2: Value<u64>,
    /// Ticks a second.
    pub hz: Option<Hz>,
    /// What it showed of itself.
    pub shown: Option<&'a Inventory>,
    /// Whether its keepalive was given, not assumed by default.
    pub is_given: bool,
}

/// The kernel's keepalive: idle time, interval, probes.
pub const KEEPALIVE_DEFAULT: [u64; 3] = [7200, 75, 9];
/// `tcp_retries2`.
pub const RETRIES2_DEFAULT: u64 = 15;

impl<'a> Host<'a> {
    /// An end with a kernel's defaults.
    pub fn by_default(side: Side) -> Host<'a> {
        let default = |value| Value::new(value, Origin::Default("Linux".to_owned()));
        let [time, interval, probes] = KEEPALIVE_DEFAULT.map(default);
        Host { side, time, interval, probes, retries2: default(RETRIES2_DEFAULT), hz: None, shown: None, is_given: false }
    }

    /// The name of the end.
    pub const fn name(&self) -> &'static str {
        match self.side {
            Side::Client => "client",
            Side::Server => "server",
        }
    }

    /// How long after the last packet it heard the first probe is on its way, at the latest.
    pub fn probe_latest(&self) -> Duration {
        let armed = Duration::from_secs(self.time.value);
        armed + late(armed, self.hz) + ROUND_TRIP
    }

    /// What one lost probe costs.
    pub fn lost_probe(&self) -> Duration {
        let armed = Duration::from_secs(self.interval.value);
        armed + late(armed, self.hz)
    }

    /// How long after the first probe it gives up.
    pub fn gives_up_after(&self) -> Duration {
        Duration::from_secs(self.interval.value.saturating_mul(self.probes.value))
    }

    /// How long it retransmits: `tcp_model_timeout()`.
    pub fn retransmits_for(&self) -> Duration {
        let retries = self.retries2.value.min(255);
        let millis = if retries <= 9 { ((1_u64 << (retries + 1)) - 1) * 200 } else { 204_600 + (retries - 9) * 120_000 };
        Duration::from_millis(millis)
    }
}

/// The largest keepalive idle time that stays below a timer with one probe lost, and the interval that goes with it; at the
/// worst rate where none is known.
pub fn keepalive_for(timeout: Duration, hz: Option<Hz>) -> Option<(u64, u64)> {
    let interval = (timeout.as_secs() / 20).clamp(1, 75);
    let rates = hz.map_or_else(|| RATES.to_vec(), |hz| vec![hz]);
    let largest = |hz: &Hz| {
        let margin = Margin { timeout, hz: Some(*hz), round_trip: ROUND_TRIP, interval, lost: 1 };
        margin.largest().map_or(0, |budget| budget.idle)
    };
    rates.iter().map(largest).min().filter(|idle| *idle > 0).map(|idle| (idle, interval))
}

/// Everything that the rules look at.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The boxes, from the client on.
    pub stands: Vec<Stand>,
    /// Client and server.
    pub ends: [Host<'a>; 2],
    /// What else the machine shows: rules, services, sizes, sockets.
    pub machine: &'a Inventory,
}

impl<'a> Setup<'a> {
    /// A setup of policies alone, with the places of their settings.
    pub fn of_policies(stands: Vec<Stand>, machine: &'a Inventory) -> Setup<'a> {
        Setup { stands, ends: [Side::Client, Side::Server].map(Host::by_default), machine }
    }

    /// The end whose keepalive comes first.
    pub fn first_to_probe(&self) -> &Host<'a> {
        let [client, server] = &self.ends;
        if server.probe_latest() < client.probe_latest() { server } else { client }
    }

    /// The shortest timer of established connections on the path, with its box.
    pub fn shortest(&self) -> Option<(usize, Duration)> {
        let timed = self.stands.iter().enumerate().map(|(index, stand)| (index, stand.established()));
        timed.filter(|(_, span)| *span < Duration::MAX).min_by_key(|(_, span)| *span)
    }

    /// Every inventory that was read, the machine's first.
    pub fn inventories(&self) -> impl Iterator<Item = &'a Inventory> + use<'_, 'a> {
        std::iter::once(self.machine).chain(self.ends.iter().filter_map(|end| end.shown))
    }
}
