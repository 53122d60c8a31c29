//! What there is to list, as data: the shape of the JSON document, and all that the text is made of.

use super::changes::{self, Change};
use crate::engine::compile;
use crate::model::conntrack::dialect as ct;
use crate::model::conntrack::dialect::Timeouts;
use crate::model::conntrack::{self, entry};
use crate::model::idle::{Basis, Clause, IdleBox};
use crate::model::ipvs::{self, Method, dialect as vs};
use crate::policy::presets::{self, Preset};
use crate::policy::{BoxPolicy, ConntrackPolicy, IdlePolicy, IpvsPolicy, SettingError, Settings};
use crate::time::Duration;
use serde::Serialize;
use std::collections::BTreeMap;

/// The whole list, or what is left of it under one name.
#[derive(Serialize)]
pub(super) struct Catalogue {
    /// Name and version of this shape.
    schema: &'static str,
    /// The kinds of boxes.
    pub(super) boxes: Vec<BoxKind>,
    /// The rows of both kernel models.
    pub(super) dialects: Dialects,
    /// The boxes that ship with the program.
    pub(super) presets: Vec<PresetRow>,
}

/// The rows of both kernel models, oldest first.
#[derive(Serialize)]
pub(super) struct Dialects {
    pub(super) conntrack: Vec<DialectRow>,
    pub(super) ipvs: Vec<DialectRow>,
}

/// A kind of box.
#[derive(Serialize)]
pub(super) struct BoxKind {
    pub(super) kind: &'static str,
    /// What it models.
    pub(super) models: &'static str,
    /// A specification.
    pub(super) example: &'static str,
    pub(super) settings: Vec<Setting>,
}

/// A setting of a kind of box.
#[derive(Serialize)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) takes: &'static str,
}

/// One release's behaviour.
#[derive(Serialize)]
pub(super) struct DialectRow {
    pub(super) name: &'static str,
    pub(super) releases: &'static str,
    /// Whether it is used where none is named.
    pub(super) default: bool,
    pub(super) aliases: Vec<&'static str>,
    pub(super) distributions: Vec<&'static str>,
    /// The default timers, in the order of a connection's life.
    pub(super) timers: Vec<DialectTimer>,
    /// The row that `changes` compares with; none for the oldest.
    pub(super) before: Option<&'static str>,
    /// What differs from that row.
    pub(super) changes: Vec<Change>,
}

/// A default timer of a release.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct DialectTimer {
    pub(super) name: String,
    pub(super) seconds: u64,
}

/// A box that ships with the program.
#[derive(Serialize)]
pub(super) struct PresetRow {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// The model that plays it: conntrack, ipvs or idle.
    pub(super) model: &'static str,
    pub(super) version: &'static str,
    pub(super) base: Option<&'static str>,
    pub(super) timers: Vec<PresetTimer>,
    /// Of ICMP queries; recorded only.
    pub(super) icmp: Option<u64>,
    /// Of other protocols; recorded only.
    pub(super) other: Option<u64>,
    pub(super) on_expiry: &'static str,
    pub(super) on_stray: &'static str,
    pub(super) refresh: &'static str,
    /// What counts as activity, where the preset or its kind says it.
    pub(super) activity: Option<&'static str>,
    pub(super) probes: Option<Probes>,
    pub(super) settings: &'static BTreeMap<String, String>,
    pub(super) configurable: &'static BTreeMap<String, String>,
    pub(super) native: &'static BTreeMap<String, String>,
    pub(super) verified: &'static str,
    /// The fields without a source, with what is in doubt about them.
    pub(super) unverified: &'static BTreeMap<String, String>,
    pub(super) notes: &'static [String],
    pub(super) sources: &'static [String],
}

/// A timer of a preset.
#[derive(Serialize)]
pub(super) struct PresetTimer {
    pub(super) name: String,
    /// Null never fires.
    pub(super) seconds: Option<u64>,
    pub(super) origin: Origin,
    /// The preset that supplies an inherited value, or the timer that stands in where none is documented.
    pub(super) from: Option<String>,
    /// Whether there is no source for the value.
    pub(super) unverified: bool,
}

/// Where a timer's value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Origin {
    /// The preset names it.
    Own,
    /// Its base names it.
    Inherited,
    /// Nobody documents it; another timer stands in.
    Assumed,
}

/// Probes that a box sends by itself.
#[derive(Serialize)]
pub(super) struct Probes {
    pub(super) when: &'static str,
    pub(super) trigger: &'static str,
    pub(super) interval: Option<&'static str>,
    pub(super) count: Option<&'static str>,
    pub(super) to: &'static str,
    pub(super) effect: Option<&'static str>,
}

impl Catalogue {
    /// Everything.
    pub(super) fn whole() -> Catalogue {
        Catalogue {
            schema: "flowlapse-presets-list/1",
            boxes: boxes(),
            dialects: Dialects {
                conntrack: ct::DIALECTS.iter().map(conntrack_row).collect(),
                ipvs: vs::DIALECTS.iter().map(ipvs_row).collect(),
            },
            presets: presets::all().iter().map(preset_row).collect(),
        }
    }

    /// What a name means: a kind of box, a dialect of either model, a kernel's release, a preset.
    pub(super) fn about(mut self, name: &str) -> Option<Catalogue> {
        // The same look-up as for a box, so that a name is known here exactly if `--box` knows it.
        let asked = Some(name.to_owned());
        let ct_row = compile::conntrack_dialect(&ConntrackPolicy { dialect: asked.clone(), ..ConntrackPolicy::default() });
        let vs_row = compile::ipvs_dialect(&IpvsPolicy { dialect: asked, ..IpvsPolicy::default() });
        let (ct_row, vs_row) = (ct_row.ok().map(|d| d.name), vs_row.ok().map(|d| d.name));
        self.boxes.retain(|b| b.kind == name);
        self.dialects.conntrack.retain(|d| Some(d.name) == ct_row);
        self.dialects.ipvs.retain(|d| Some(d.name) == vs_row);
        self.presets.retain(|p| p.id == name);
        let found = self.boxes.len() + self.dialects.conntrack.len() + self.dialects.ipvs.len() + self.presets.len();
        (found > 0).then_some(self)
    }
}

/// The name that was probably meant. The policy layer has the one notion of nearness; its message about dialects carries it.
pub(super) fn nearest(name: &str) -> Option<String> {
    let mut known: Vec<&str> = vec![ConntrackPolicy::KIND, IpvsPolicy::KIND, IdlePolicy::KIND];
    known.extend(presets::all().iter().map(|preset| preset.id.as_str()));
    known.extend(ct::Dialect::names());
    known.extend(vs::Dialect::names());
    let asked = ConntrackPolicy { dialect: Some(name.to_owned()), ..ConntrackPolicy::default() };
    match asked.check_dialect(&known) {
        Err(SettingError::UnknownDialect { hint, .. }) => hint,
        _ => None,
    }
}

fn boxes() -> Vec<BoxKind> {
    fn settings<P: Settings>() -> Vec<Setting> {
        P::keys().iter().map(|key| Setting { name: key.name, aliases: key.aliases, takes: key.takes }).collect()
    }
    vec![
        BoxKind {
            kind: ConntrackPolicy::KIND,
            models: "Linux connection tracking (netfilter), 2.4 to 7.1, with NAT and the usual rules",
            example: "conntrack:masquerade,established=3600",
            settings: settings::<ConntrackPolicy>(),
        },
        BoxKind {
            kind: IpvsPolicy::KIND,
            models: "an IPVS director (LVS), 2.4 to 7.1: NAT, direct routing, tunnel, persistence",
            example: "ipvs:nat,tcp=900,tcpfin=120",
            settings: settings::<IpvsPolicy>(),
        },
        BoxKind {
            kind: IdlePolicy::KIND,
            models: "any other box that is known by its timers: cloud balancer, firewall, proxy",
            example: "idle:established=350,on_stray=rst_sender",
            settings: settings::<IdlePolicy>(),
        },
    ]
}

fn conntrack_row(dialect: &'static ct::Dialect) -> DialectRow {
    let names =
        |table: &[(&'static str, &'static str)]| table.iter().filter(|(_, row)| *row == dialect.name).map(|(name, _)| *name).collect();
    let before = changes::conntrack_before(dialect);
    DialectRow {
        name: dialect.name,
        releases: dialect.releases,
        default: ct::Dialect::find(ct::DEFAULT).is_some_and(|d| d.name == dialect.name),
        aliases: names(ct::ALIASES),
        distributions: names(ct::DISTRIBUTIONS),
        timers: conntrack_timers(dialect),
        before: before.map(|d| d.name),
        changes: before.map(|b| changes::conntrack(b, dialect)).unwrap_or_default(),
    }
}

fn conntrack_timers(dialect: &'static ct::Dialect) -> Vec<DialectTimer> {
    let settings = conntrack::Settings::defaults(dialect);
    let mut timers = Vec::new();
    let mut add = |name: &str, span: Duration| timers.push(DialectTimer { name: name.to_owned(), seconds: span.as_secs() });
    for state in entry::State::ALL {
        let exists = match state {
            entry::State::None => dialect.timeouts == Timeouts::V2_4,
            entry::State::SynSent2 => dialect.timeouts == Timeouts::V2_6_31,
            _ => true,
        };
        if exists {
            add(&state.name().to_ascii_lowercase(), settings.tcp_timeouts[state as usize]);
        }
    }
    if dialect.timeouts != Timeouts::V2_4 {
        add("max_retrans", settings.tcp_timeout_max_retrans);
    }
    if !matches!(dialect.timeouts, Timeouts::V2_4 | Timeouts::V2_6_9) {
        add("unacknowledged", settings.tcp_timeout_unacknowledged);
    }
    add("udp", settings.udp_timeout);
    add("udp_stream", settings.udp_timeout_stream);
    timers
}

fn ipvs_row(dialect: &'static vs::Dialect) -> DialectRow {
    let settings = ipvs::Settings::defaults(dialect, Method::Masq);
    let timer = |name: String, span: Duration| DialectTimer { name, seconds: span.as_secs() };
    let states = |prefix: &'static str, spans: [Duration; 11]| {
        ipvs::state::State::ALL.into_iter().map(move |s| timer(format!("{prefix}{}", s.name().to_ascii_lowercase()), spans[s as usize]))
    };
    let mut timers: Vec<DialectTimer> = states("", settings.timeouts).collect();
    timers.push(timer("udp".to_owned(), settings.udp_timeout));
    if dialect.dos_timeouts {
        timers.extend(states("dos_", settings.dos_timeouts));
        timers.push(timer("dos_udp".to_owned(), settings.dos_udp_timeout));
    }
    let before = changes::ipvs_before(dialect);
    DialectRow {
        name: dialect.name,
        releases: dialect.releases,
        default: vs::Dialect::find(vs::DEFAULT).is_some_and(|d| d.name == dialect.name),
        aliases: vs::ALIASES.iter().filter(|(_, row)| *row == dialect.name).map(|(name, _)| *name).collect(),
        distributions: Vec::new(),
        timers,
        before: before.map(|d| d.name),
        changes: before.map(|b| changes::ipvs(b, dialect)).unwrap_or_default(),
    }
}

fn preset_row(preset: &'static Preset) -> PresetRow {
    let policy = preset.resolve();
    let (model, activity) = match &policy {
        BoxPolicy::Conntrack(_) => (ConntrackPolicy::KIND, None),
        BoxPolicy::Ipvs(_) => (IpvsPolicy::KIND, None),
        BoxPolicy::Idle(idle) => (IdlePolicy::KIND, Some(idle.activity().word())),
    };
    PresetRow {
        id: &preset.id,
        name: &preset.name,
        kind: preset.kind.word(),
        model,
        version: &preset.version,
        base: preset.base.as_deref(),
        timers: preset_timers(preset, &policy),
        icmp: preset.icmp,
        other: preset.other,
        on_expiry: preset.on_expiry.word(),
        on_stray: preset.on_stray.word(),
        refresh: preset.refresh.word(),
        activity,
        probes: preset.probes.as_ref().map(|p| Probes {
            when: p.when.word(),
            trigger: &p.trigger,
            interval: p.interval.as_deref(),
            count: p.count.as_deref(),
            to: &p.to,
            effect: p.effect.as_deref(),
        }),
        settings: &preset.settings,
        configurable: &preset.configurable,
        native: &preset.native,
        verified: preset.verified.word(),
        unverified: &preset.unverified,
        notes: &preset.notes,
        sources: &preset.sources,
    }
}

fn preset_timers(preset: &'static Preset, policy: &BoxPolicy) -> Vec<PresetTimer> {
    let seconds = |span: Duration| (span != Duration::MAX).then(|| span.as_secs());
    let base = || preset.base.clone();
    let mut timers: Vec<PresetTimer> = preset
        .timers()
        .into_iter()
        .map(|t| PresetTimer {
            name: t.name.to_owned(),
            seconds: seconds(t.timeout),
            origin: if t.inherited { Origin::Inherited } else { Origin::Own },
            from: if t.inherited { base() } else { None },
            unverified: t.unverified,
        })
        .collect();
    // A kernel has every timer; what else is known by its timers needs a stand-in where the documentation is silent.
    if let BoxPolicy::Idle(idle) = policy {
        let model = IdleBox::new(idle);
        for clause in Clause::ALL {
            let name = clause.name().to_ascii_lowercase();
            if timers.iter().any(|t| t.name == name) {
                continue;
            }
            let timer = model.timer(clause);
            let stand_in = if timer.basis == Basis::Assumed {
                "established"
            } else {
                let documented =
                    |n: &&str| timers.iter().any(|t| t.name == **n && t.origin != Origin::Assumed && t.seconds == seconds(timer.timeout));
                ["udp_first", "udp_unreplied", "udp_stream"].iter().find(|n| documented(n)).copied().unwrap_or("udp_stream")
            };
            let from = Some(stand_in.to_owned());
            timers.push(PresetTimer { name, seconds: seconds(timer.timeout), origin: Origin::Assumed, from, unverified: true });
        }
    }
    timers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timer_of_a_preset_is_a_whole_number_of_seconds() {
        for preset in presets::all() {
            for timer in preset.timers() {
                let whole = timer.timeout == Duration::MAX || timer.timeout == Duration::from_secs(timer.timeout.as_secs());
                assert!(whole, "{} {}", preset.id, timer.name);
            }
        }
    }

    #[test]
    fn each_model_has_one_default_row() {
        let whole = Catalogue::whole();
        for rows in [&whole.dialects.conntrack, &whole.dialects.ipvs] {
            assert_eq!(rows.iter().filter(|row| row.default).count(), 1);
        }
    }
}
