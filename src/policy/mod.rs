//! What a box on the path is set to: Linux conntrack, an IPVS director, or a box known by its timers alone.
//!
//! A specification becomes one of three plain structs; a setting that is not given stays `None` and is decided by the
//! model's dialect. Nothing here knows packets, entries, or the kernels' defaults, and nothing here reads a file.
//!
//! ```
//! use flowlapse::policy::{self, BoxPolicy};
//!
//! let spec = policy::parse_short("conntrack:strict,established=1h,dialect=linux-5.15")?;
//! let BoxPolicy::Conntrack(conntrack) = &spec.policy else { panic!("it said conntrack") };
//! assert_eq!(conntrack.tcp_timeout_established.map(|span| span.as_secs()), Some(3600));
//!
//! // A file is read by whoever asks, so that this stays pure; sysctls are as good as JSON.
//! let read = |_: &str| Ok("net.netfilter.nf_conntrack_tcp_timeout_established = 86400\n".to_owned());
//! let boxes = policy::parse("@router.sysctl", &read)?;
//! assert_eq!(boxes.len(), 1);
//!
//! // A mistake is told with what was probably meant.
//! let error = policy::parse_short("conntrack:establishd=1h").expect_err("misspelt");
//! assert!(error.to_string().contains("did you mean 'established'?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod axis;
pub mod conntrack;
pub mod dump;
pub(crate) mod hint;
pub mod idle;
pub mod ipvs;
pub mod json;
pub mod keys;
pub mod locate;
pub mod origin;
pub mod presets;
mod refer;
pub mod spec;
mod value;

pub use axis::{Axis, AxisError};
pub use conntrack::ConntrackPolicy;
pub use dump::Dump;
pub use idle::IdlePolicy;
pub use ipvs::IpvsPolicy;
pub use keys::{SettingError, Settings};
pub use origin::{At, Origins};
pub use presets::Preset;
pub(crate) use refer::{Boxed, settle};
pub use refer::{Read, beside};
pub use spec::{BoxSpec, Place, SpecError, parse, parse_short};

use crate::time::Duration;
use std::fmt;

/// What one box is set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BoxPolicy {
    /// Linux connection tracking.
    Conntrack(ConntrackPolicy),
    /// An IPVS director.
    Ipvs(IpvsPolicy),
    /// A box with idle timers.
    Idle(IdlePolicy),
}

impl BoxPolicy {
    /// The preset that this came from.
    pub fn preset(&self) -> Option<&'static Preset> {
        match self {
            BoxPolicy::Conntrack(policy) => &policy.preset,
            BoxPolicy::Ipvs(policy) => &policy.preset,
            BoxPolicy::Idle(policy) => &policy.preset,
        }
        .as_deref()
        .and_then(presets::find)
    }

    /// The names of the settings that are not as the preset has them, or as nobody set them.
    pub fn given(&self) -> Vec<&'static str> {
        fn differing<P: Settings>(mine: &P, base: &P) -> Vec<&'static str> {
            P::keys().iter().filter(|key| (key.get)(mine) != (key.get)(base)).map(|key| key.name).collect()
        }
        match (self, self.preset().map(Preset::resolve)) {
            (BoxPolicy::Conntrack(mine), Some(BoxPolicy::Conntrack(base))) => differing(mine, &base),
            (BoxPolicy::Conntrack(mine), _) => differing(mine, &ConntrackPolicy::default()),
            (BoxPolicy::Ipvs(mine), Some(BoxPolicy::Ipvs(base))) => differing(mine, &base),
            (BoxPolicy::Ipvs(mine), _) => differing(mine, &IpvsPolicy::default()),
            (BoxPolicy::Idle(mine), Some(BoxPolicy::Idle(base))) => differing(mine, &base),
            (BoxPolicy::Idle(mine), _) => differing(mine, &IdlePolicy::new(Duration::MAX)),
        }
    }

    /// The name of a setting of this kind of box, by any of its names.
    pub fn setting(&self, name: &str) -> Option<&'static str> {
        match self {
            BoxPolicy::Conntrack(_) => ConntrackPolicy::key(name).map(|key| key.name),
            BoxPolicy::Ipvs(_) => IpvsPolicy::key(name).map(|key| key.name),
            BoxPolicy::Idle(_) => IdlePolicy::key(name).map(|key| key.name),
        }
        .ok()
    }

    /// The shortest specification that means the same; [`parse_short`] gives this policy back.
    pub fn describe(&self) -> String {
        let original = self.preset().map(Preset::resolve);
        let head = self.preset().map_or("", |preset| preset.id.as_str());
        match (self, &original) {
            (BoxPolicy::Conntrack(mine), Some(BoxPolicy::Conntrack(base))) => joined(head, &mine.differences(base)),
            (BoxPolicy::Ipvs(mine), Some(BoxPolicy::Ipvs(base))) => joined(head, &mine.differences(base)),
            (BoxPolicy::Idle(mine), Some(BoxPolicy::Idle(base))) => joined(head, &mine.differences(base)),
            (BoxPolicy::Conntrack(mine), _) => joined(ConntrackPolicy::KIND, &mine.differences(&ConntrackPolicy::default())),
            (BoxPolicy::Ipvs(mine), _) => joined(IpvsPolicy::KIND, &mine.differences(&IpvsPolicy::default())),
            (BoxPolicy::Idle(mine), _) => {
                // The established timer has no default, so it is always written.
                let mut settings = vec![format!("established={}", mine.value("established").unwrap_or_default())];
                settings.extend(mine.differences(&IdlePolicy::new(mine.established)));
                joined(IdlePolicy::KIND, &settings)
            }
        }
    }

    /// The object form that means the same: a kind of box with its settings, or a preset with those that change it.
    pub fn to_json(&self) -> serde_json::Value {
        let base = self.preset().map(Preset::resolve);
        match (self, &base) {
            (BoxPolicy::Conntrack(mine), Some(BoxPolicy::Conntrack(base))) => preset_object(self, mine, base),
            (BoxPolicy::Ipvs(mine), Some(BoxPolicy::Ipvs(base))) => preset_object(self, mine, base),
            (BoxPolicy::Idle(mine), Some(BoxPolicy::Idle(base))) => preset_object(self, mine, base),
            (BoxPolicy::Conntrack(mine), _) => kind_object(mine, &ConntrackPolicy::default()),
            (BoxPolicy::Ipvs(mine), _) => kind_object(mine, &IpvsPolicy::default()),
            (BoxPolicy::Idle(mine), _) => kind_object(mine, &IdlePolicy::new(Duration::MAX)),
        }
    }

    /// Checks the dialect against the names that the models of conntrack and of IPVS know.
    ///
    /// # Errors
    /// That it is none of them, with the nearest one.
    pub fn check_dialect(&self, conntrack: &[&str], ipvs: &[&str]) -> Result<(), SettingError> {
        match self {
            BoxPolicy::Conntrack(policy) => policy.check_dialect(conntrack),
            BoxPolicy::Ipvs(policy) => policy.check_dialect(ipvs),
            BoxPolicy::Idle(_) => Ok(()),
        }
    }
}

/// The settings in which a policy differs from another one, by name.
fn settings<P: Settings>(mine: &P, base: &P) -> serde_json::Map<String, serde_json::Value> {
    let differing = P::keys().iter().filter(|key| (key.get)(mine) != (key.get)(base));
    differing.map(|key| (key.name.to_owned(), (key.get)(mine).into())).collect()
}

fn preset_object<P: Settings>(whole: &BoxPolicy, mine: &P, base: &P) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    object.insert("preset".to_owned(), whole.preset().map(|preset| preset.id.clone()).into());
    object.extend(settings(mine, base));
    object.into()
}

fn kind_object<P: Settings>(mine: &P, base: &P) -> serde_json::Value {
    serde_json::json!({ P::KIND: settings(mine, base) })
}

fn joined(head: &str, settings: &[String]) -> String {
    if settings.is_empty() { head.to_owned() } else { format!("{head}:{}", settings.join(",")) }
}

/// The short form that means the same.
impl fmt::Display for BoxPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
