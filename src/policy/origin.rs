//! Where the settings of a box stand: file and line of each, so that whoever reports a timer can point at it.
//!
//! Nothing here opens a file. Readers note places as they read: `dump` for texts, `refer` for JSON and scenarios. A place goes with the
//! box ([`super::BoxSpec::origins`]) into its path (`engine::Hop::origins`), where `finding::cause` and the audit look it up by the
//! setting's name. A new reader has only to note; a report asks the cause.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A place in a text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct At {
    /// The file, or what else the text was called.
    pub origin: Arc<str>,
    /// The line, from 1.
    pub line: u32,
}

impl At {
    /// A line, from 1, of a text.
    pub fn new(origin: &Arc<str>, line: usize) -> At {
        At { origin: Arc::clone(origin), line: u32::try_from(line).unwrap_or(u32::MAX) }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.line)
    }
}

/// The places of one box's settings.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Origins {
    settings: BTreeMap<&'static str, At>,
    /// Where the box itself stands; nothing where the command line gives it.
    pub whole: Option<At>,
}

impl Origins {
    /// Nothing is known but where the box stands.
    pub fn of_box(whole: At) -> Origins {
        Origins { settings: BTreeMap::new(), whole: Some(whole) }
    }

    /// Notes where a setting stands, by the name that policies give it ([`super::keys::Key::name`]); a later place replaces an earlier one.
    pub fn note(&mut self, setting: &'static str, at: At) {
        self.settings.insert(setting, at);
    }

    /// Something else than the text gives a setting.
    pub fn forget(&mut self, setting: &str) {
        self.settings.remove(setting);
    }

    /// Where a setting stands; nothing where no text gives it, as for a default.
    pub fn of(&self, setting: &str) -> Option<&At> {
        self.settings.get(setting)
    }

    /// Every setting of which the place is known, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &At)> {
        self.settings.iter().map(|(name, at)| (*name, at))
    }
}
