//! The table of settings behind each box policy: one row per setting serves the short form, JSON, sysctl names, and printing.
//!
//! Nothing here knows a particular setting; the rows stand beside the structs in `conntrack`, `ipvs` and `idle`.

use super::hint::{listed, nearest};
use super::value::DEFAULT;
use std::borrow::Cow;

/// One setting of a box policy.
pub struct Key<P: 'static> {
    /// The name that is printed.
    pub name: &'static str,
    /// Names that mean the same.
    pub aliases: &'static [&'static str],
    /// What its value may be, as the object of "takes".
    pub takes: &'static str,
    /// Whether its words may stand alone, without `name=`.
    pub bare: bool,
    pub(crate) set: fn(&mut P, &str) -> Option<()>,
    pub(crate) get: fn(&P) -> Option<String>,
}

/// Why a setting was not accepted. Each variant prints as a sentence that says what would be right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingError {
    /// There is no such setting.
    #[error("{kind} has no setting '{key}'{}", or_list(hint.as_deref(), known))]
    UnknownKey {
        /// The kind of box.
        kind: &'static str,
        /// What was written.
        key: String,
        /// What was probably meant.
        hint: Option<String>,
        /// The settings there are.
        known: String,
    },
    /// The setting exists in the kernel and makes no difference to the flows that are followed.
    #[error("'{key}' is a setting of the kernel that has no part in the fate of a TCP or UDP flow; leave it out")]
    NotModelled {
        /// What was written.
        key: String,
    },
    /// A word stands alone that only makes sense with a value, or that is no word of this kind of box.
    #[error("{kind} does not know the word '{word}'{}", or_list(hint.as_deref(), known))]
    UnknownWord {
        /// The kind of box.
        kind: &'static str,
        /// What was written.
        word: String,
        /// What was probably meant.
        hint: Option<String>,
        /// The words there are.
        known: String,
    },
    /// The value cannot be one of this setting.
    #[error("'{key}' takes {takes}, not '{value}'{}", did_you_mean(hint.as_deref()))]
    BadValue {
        /// The setting.
        key: &'static str,
        /// What was written.
        value: String,
        /// What would be right.
        takes: &'static str,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// The same setting was given before, perhaps under another of its names.
    #[error("'{key}' is set twice; keep one")]
    Twice {
        /// The setting.
        key: &'static str,
    },
    /// A setting that the box cannot do without is missing.
    #[error("{kind} needs '{key}', as in '{example}'")]
    Missing {
        /// The kind of box.
        kind: &'static str,
        /// The setting.
        key: &'static str,
        /// A specification that has it.
        example: &'static str,
    },
    /// The dialect is none of those that the models know.
    #[error("{kind} has no dialect '{dialect}'{}", or_list(hint.as_deref(), known))]
    UnknownDialect {
        /// The kind of box.
        kind: &'static str,
        /// What was written.
        dialect: String,
        /// What was probably meant.
        hint: Option<String>,
        /// The dialects there are.
        known: String,
    },
}

fn did_you_mean(hint: Option<&str>) -> String {
    hint.map(|hint| format!("; did you mean '{hint}'?")).unwrap_or_default()
}

/// A hint where there is one, else everything that would be right.
fn or_list(hint: Option<&str>, known: &str) -> String {
    if hint.is_some() { did_you_mean(hint) } else { format!("; it knows {known}") }
}

/// A box policy that is made of settings.
pub trait Settings: Clone + PartialEq + Sized + 'static {
    /// The name of the kind of box, as it is written.
    const KIND: &'static str;

    /// Its settings, in the order in which they are printed.
    fn keys() -> &'static [Key<Self>];

    /// The name of a setting without what is in front of it in `sysctl -a` and in /proc/sys.
    fn plain_name(key: &str) -> Cow<'_, str> {
        Cow::Borrowed(key)
    }

    /// Names that other kinds of boxes use for a setting of this one: what was written, and the name here.
    fn habits() -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Names of the kernel's settings that change nothing here.
    fn not_modelled() -> &'static [&'static str] {
        &[]
    }

    /// Looks a setting up by any of its names.
    ///
    /// # Errors
    /// That there is none, with the nearest name.
    fn key(name: &str) -> Result<&'static Key<Self>, SettingError> {
        let plain = Self::plain_name(name);
        let known = |key: &&Key<Self>| key.name == plain || key.aliases.contains(&plain.as_ref());
        if let Some(key) = Self::keys().iter().find(known) {
            return Ok(key);
        }
        if Self::not_modelled().contains(&plain.as_ref()) {
            return Err(SettingError::NotModelled { key: name.to_owned() });
        }
        let habit = Self::habits().iter().find(|(theirs, _)| *theirs == plain).map(|(_, ours)| *ours);
        let names = Self::keys().iter().flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()));
        let hint = habit.or_else(|| nearest(&plain, names)).map(str::to_owned);
        Err(SettingError::UnknownKey {
            kind: Self::KIND,
            key: name.to_owned(),
            hint,
            known: listed(Self::keys().iter().map(|key| key.name)),
        })
    }

    /// Changes a setting, by any of its names.
    ///
    /// # Errors
    /// That there is no such setting, or that the value cannot be one of it.
    fn set(&mut self, name: &str, value: &str) -> Result<&'static Key<Self>, SettingError> {
        let key = Self::key(name)?;
        self.assign(key, value)?;
        Ok(key)
    }

    /// Changes a setting that was looked up before.
    ///
    /// # Errors
    /// That the value cannot be one of this setting.
    fn assign(&mut self, key: &Key<Self>, value: &str) -> Result<(), SettingError> {
        (key.set)(self, value).ok_or_else(|| SettingError::BadValue {
            key: key.name,
            value: value.to_owned(),
            takes: key.takes,
            hint: nearest(value, words_in(key.takes)).map(str::to_owned),
        })
    }

    /// Applies a word that stands alone and says which setting it was.
    ///
    /// # Errors
    /// That the word means nothing here, with the nearest one.
    fn set_word(&mut self, word: &str) -> Result<&'static Key<Self>, SettingError> {
        for key in Self::keys().iter().filter(|key| key.bare) {
            if word != DEFAULT && (key.set)(self, word).is_some() {
                return Ok(key);
            }
        }
        let words: Vec<&str> = Self::keys().iter().filter(|key| key.bare).flat_map(|key| words_in(key.takes)).collect();
        let hint = match Self::key(word) {
            Ok(key) => Some(format!("{}=…", key.name)),
            Err(_) => nearest(word, words.iter().copied()).map(str::to_owned),
        };
        Err(SettingError::UnknownWord { kind: Self::KIND, word: word.to_owned(), hint, known: listed(words) })
    }

    /// The value of a setting as it is written; nothing where the default decides.
    fn value(&self, name: &str) -> Option<String> {
        Self::key(name).ok().and_then(|key| (key.get)(self))
    }

    /// The settings in which this policy differs from `base`, as a specification writes them.
    fn differences(&self, base: &Self) -> Vec<String> {
        let mut out = Vec::new();
        for key in Self::keys() {
            let (mine, theirs) = ((key.get)(self), (key.get)(base));
            if mine != theirs {
                out.push(match mine {
                    Some(word) if key.bare => word,
                    Some(value) => format!("{}={value}", key.name),
                    None => format!("{}={DEFAULT}", key.name),
                });
            }
        }
        out
    }
}

/// The words that a description of the form "one of the words …" lists.
fn words_in(takes: &'static str) -> impl Iterator<Item = &'static str> {
    takes.strip_prefix("one of the words ").unwrap_or_default().split_whitespace()
}

/// A row of a key table for a field, by the form of its value: `optional` for a field that a default may decide, `word` for one
/// whose words may stand alone.
macro_rules! key {
    (optional $name:literal $aliases:expr, $($field:ident).+, $form:expr) => {
        Key {
            name: $name, aliases: &$aliases, takes: $form.takes, bare: false,
            set: |policy, text| $form.fill(&mut policy.$($field).+, text),
            get: |policy| policy.$($field).+.as_ref().map($form.write),
        }
    };
    (plain $name:literal $aliases:expr, $($field:ident).+, $form:expr) => {
        Key {
            name: $name, aliases: &$aliases, takes: $form.takes, bare: false,
            set: |policy, text| { policy.$($field).+ = ($form.read)(text)?; Some(()) },
            get: |policy| Some(($form.write)(&policy.$($field).+)),
        }
    };
    (word $how:ident $name:literal $aliases:expr, $($field:ident).+, $form:expr) => {
        Key { bare: true, ..$crate::policy::keys::key!($how $name $aliases, $($field).+, $form) }
    };
}
pub(crate) use key;

/// Checks a dialect against the names that the models know.
pub(crate) fn check_dialect(kind: &'static str, dialect: Option<&str>, known: &[&str]) -> Result<(), SettingError> {
    match dialect {
        Some(dialect) if !known.contains(&dialect) => Err(SettingError::UnknownDialect {
            kind,
            dialect: dialect.to_owned(),
            hint: nearest(dialect, known.iter().copied()).map(str::to_owned),
            known: listed(known.iter().copied()),
        }),
        _ => Ok(()),
    }
}
