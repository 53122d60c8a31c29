//! What a box on the path is set to: Linux conntrack, an IPVS director, or a box known by its timers alone.
//!
//! A specification becomes one of three plain structs; a setting that is not given stays `None` and is decided by the
//! model's dialect. Nothing here knows packets, entries, or the kernels' defaults, and nothing here reads a file.

pub mod conntrack;
pub(crate) mod hint;
pub mod idle;
pub mod ipvs;
pub mod json;
pub mod keys;
pub mod presets;
pub mod spec;
mod value;

pub use conntrack::ConntrackPolicy;
pub use idle::IdlePolicy;
pub use ipvs::IpvsPolicy;
pub use keys::{SettingError, Settings};
pub use presets::Preset;
pub use spec::{BoxSpec, Place, SpecError, parse, parse_short};

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

fn joined(head: &str, settings: &[String]) -> String {
    if settings.is_empty() { head.to_owned() } else { format!("{head}:{}", settings.join(",")) }
}

/// The short form that means the same.
impl fmt::Display for BoxPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
