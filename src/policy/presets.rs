//! The boxes that ship with flowlapse: what is documented about each, and where.
//!
//! The facts are in `presets/presets.json`. Nothing here knows how a box is written in a specification.

use super::conntrack::{ConntrackPolicy, Nat};
use super::idle::{Activity, IdlePolicy, Kind, OnExpiry, OnStray, Probing, Refresh};
use super::ipvs::IpvsPolicy;
use super::keys::Settings;
use super::value::{SPAN, words};
use super::{BoxPolicy, hint};
use crate::time::Duration;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::sync::OnceLock;

words! {
    /// How well the values of a preset are supported by the sources that are named with it.
    pub enum Verified {
        /// Every value was found in a source, but for the fields that say otherwise.
        Yes = "yes",
        /// The main value was found, others were not.
        Partial = "partial",
        /// General knowledge without a source.
        No = "no",
        /// Not a product: made up for comparison.
        Synthetic = "synthetic",
    }
}

/// Probes that a box sends on its own account.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// In which situation, as the model needs it.
    pub when: Probing,
    /// In which situation, in words.
    pub trigger: String,
    /// Seconds between them.
    pub interval: Option<String>,
    /// How many are sent at most.
    pub count: Option<String>,
    /// Who gets them.
    pub to: String,
    /// What an answer does.
    pub effect: Option<String>,
}

/// A box that ships with flowlapse.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The name that a specification uses.
    pub id: String,
    /// The product.
    pub name: String,
    /// What kind of box it is.
    pub kind: Kind,
    /// Which releases, or when the documentation was read.
    pub version: String,
    /// The preset that supplies everything that is not said here.
    pub base: Option<String>,
    /// TCP timers by state, without those of the base.
    #[serde(deserialize_with = "timers")]
    pub tcp: BTreeMap<String, Duration>,
    /// UDP timers (`first`, `unreplied`, `stream`, and `normal` for IPVS), without those of the base.
    #[serde(default, deserialize_with = "timers")]
    pub udp: BTreeMap<String, Duration>,
    /// The timer of ICMP queries, in seconds. It is recorded only.
    pub icmp: Option<u64>,
    /// The timer of other protocols, in seconds. It is recorded only.
    pub other: Option<u64>,
    /// What is sent at expiry.
    pub on_expiry: OnExpiry,
    /// What becomes of a packet without an entry.
    pub on_stray: OnStray,
    /// Which direction restarts the timer.
    pub refresh: Refresh,
    /// What counts as activity, where the kind of box does not say it.
    pub activity: Option<Activity>,
    /// Probes that the box sends on its own account.
    pub probes: Option<Probes>,
    /// How and in which range the timers can be changed.
    #[serde(default)]
    pub configurable: BTreeMap<String, String>,
    /// The vendor's own names and values.
    #[serde(default)]
    pub native: BTreeMap<String, String>,
    /// Further settings of the conntrack or IPVS box that this is.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// How well the values are supported.
    pub verified: Verified,
    /// The fields without a source, with what is in doubt about them.
    #[serde(default)]
    pub unverified: BTreeMap<String, String>,
    /// What else one should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Where the values are written.
    pub sources: Vec<String>,
}

/// A timer of a preset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresetTimer {
    /// The state, or `udp_stream` and the like.
    pub name: &'static str,
    /// Its value; [`Duration::MAX`] never fires.
    pub timeout: Duration,
    /// Whether it is the base's.
    pub inherited: bool,
    /// Whether there is no source for it.
    pub unverified: bool,
}

/// The TCP timers that a preset may name, in the order in which they are printed.
const TCP_TIMERS: [&str; 14] = [
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    "syn_sent2",
    "max_retrans",
    "unack",
    "none",
    "listen",
    "synack",
];
/// The UDP timers that a preset may name, and how they are printed.
const UDP_TIMERS: [(&str, &str); 4] =
    [("first", "udp_first"), ("unreplied", "udp_unreplied"), ("stream", "udp_stream"), ("normal", "udp_normal")];

/// The presets whose settings are a kernel's own; what is built on them is a model of that kernel.
const CONNTRACK_ROOT: &str = "linux-conntrack-default";
const IPVS_ROOT: &str = "linux-ipvs-default";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Master {
    #[serde(rename = "schema")]
    _schema: String,
    #[serde(rename = "units")]
    _units: String,
    presets: Vec<Preset>,
}

fn timers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Duration>, D::Error> {
    let raw = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let read = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => (SPAN.read)(text),
        other => other.as_u64().map(Duration::from_secs),
    };
    raw.into_iter()
        .map(|(name, value)| match read(&value) {
            Some(span) => Ok((name, span)),
            None => Err(serde::de::Error::custom(format!("'{name}' takes {}, not {value}", SPAN.takes))),
        })
        .collect()
}

/// All presets, in the order of the documentation.
///
/// # Panics
/// Never: the file is part of the program, and a test reads every entry of it.
pub fn all() -> &'static [Preset] {
    static PRESETS: OnceLock<Vec<Preset>> = OnceLock::new();
    PRESETS.get_or_init(|| {
        let text = include_str!("../../presets/presets.json");
        serde_json::from_str::<Master>(text).expect("the presets that ship with the program are well-formed").presets
    })
}

/// The preset with this id.
pub fn find(id: &str) -> Option<&'static Preset> {
    all().iter().find(|preset| preset.id == id)
}

/// The id that was probably meant.
pub fn nearest(id: &str) -> Option<&'static str> {
    hint::nearest(id, all().iter().map(|preset| preset.id.as_str()))
}

impl Preset {
    /// This preset and those that it is built on, the root first.
    pub fn lineage(&self) -> Vec<&Preset> {
        let mut line = vec![self];
        while let Some(base) = line[line.len() - 1].base.as_deref().and_then(find) {
            line.push(base);
        }
        line.reverse();
        line
    }

    /// Every timer that is documented, those of the base included, in the order of a connection's life.
    pub fn timers(&self) -> Vec<PresetTimer> {
        let names = TCP_TIMERS.iter().map(|name| (true, *name, *name)).chain(UDP_TIMERS.iter().map(|(key, name)| (false, *key, *name)));
        let mut out = Vec::new();
        for (tcp, key, name) in names {
            let owner = self.lineage().into_iter().rev().find(|preset| preset.timer(tcp, key).is_some());
            if let Some((owner, timeout)) = owner.and_then(|owner| Some((owner, owner.timer(tcp, key)?))) {
                let (inherited, unverified) = (owner.id != self.id, owner.is_unverified(name));
                out.push(PresetTimer { name, timeout, inherited, unverified });
            }
        }
        out
    }

    fn timer(&self, tcp: bool, key: &str) -> Option<Duration> {
        if tcp { &self.tcp } else { &self.udp }.get(key).copied()
    }

    /// Whether there is no source for a setting, as far as this preset says; `established` and `udp_stream` are such settings.
    pub fn is_unverified(&self, setting: &str) -> bool {
        let group = if setting.starts_with("udp") {
            "udp"
        } else if TCP_TIMERS.contains(&setting) {
            "tcp"
        } else {
            setting
        };
        ["all", group, setting].iter().any(|field| self.unverified.contains_key(*field))
    }

    /// The box that this preset describes.
    pub fn resolve(&self) -> BoxPolicy {
        let line = self.lineage();
        match line[0].id.as_str() {
            CONNTRACK_ROOT => BoxPolicy::Conntrack(self.conntrack(&line[1..])),
            IPVS_ROOT => BoxPolicy::Ipvs(self.ipvs(&line[1..])),
            _ => BoxPolicy::Idle(self.idle(&line)),
        }
    }

    /// The root contributes nothing: its values are the kernel's defaults, and the dialect has them for its own release.
    fn conntrack(&self, line: &[&Preset]) -> ConntrackPolicy {
        let mut policy = ConntrackPolicy { preset: Some(self.id.clone()), ..ConntrackPolicy::default() };
        if self.kind == Kind::Nat {
            policy.nat = Nat::Masquerade;
        }
        for preset in line {
            for (state, span) in &preset.tcp {
                put(&mut policy, &format!("tcp_timeout_{}", if state == "unack" { "unacknowledged" } else { state }), *span);
            }
            for (which, span) in &preset.udp {
                put(&mut policy, if which == "stream" { "udp_stream" } else { "udp" }, *span);
            }
            apply(&mut policy, &preset.settings);
        }
        policy
    }

    /// `ipvsadm --set` reaches three timers; a preset cannot differ from the kernel in the others, and a test checks that none does.
    fn ipvs(&self, line: &[&Preset]) -> IpvsPolicy {
        let mut policy = IpvsPolicy { preset: Some(self.id.clone()), ..IpvsPolicy::default() };
        for preset in line {
            policy.timeout_tcp = preset.tcp.get("established").copied().or(policy.timeout_tcp);
            policy.timeout_tcpfin = preset.tcp.get("fin_wait").copied().or(policy.timeout_tcpfin);
            policy.timeout_udp = preset.udp.get("normal").copied().or(policy.timeout_udp);
            apply(&mut policy, &preset.settings);
        }
        policy
    }

    fn idle(&self, line: &[&Preset]) -> IdlePolicy {
        // Every idle preset documents an established timer, or says that it never fires; a test checks it.
        let mut policy = IdlePolicy::new(Duration::MAX);
        for preset in line {
            for (state, span) in &preset.tcp {
                put(&mut policy, state, *span);
            }
            for (which, span) in &preset.udp {
                put(&mut policy, &format!("udp_{which}"), *span);
            }
        }
        policy.preset = Some(self.id.clone());
        policy.kind = self.kind;
        policy.on_expiry = self.on_expiry;
        policy.on_stray = self.on_stray;
        policy.refresh = self.refresh;
        policy.activity = self.activity;
        policy.probes = self.probes.as_ref().map_or(Probing::Never, |probes| probes.when);
        policy
    }
}

/// Sets a timer of a preset. That the box has such a setting is an invariant of the file, which a test checks.
fn put<P: Settings>(policy: &mut P, name: &str, span: Duration) {
    let done = policy.set(name, &(SPAN.write)(&span));
    debug_assert!(done.is_ok(), "{name}");
}

fn apply<P: Settings>(policy: &mut P, settings: &BTreeMap<String, String>) {
    for (name, value) in settings {
        let done = policy.set(name, value);
        debug_assert!(done.is_ok(), "{name}");
    }
}
