//! Reads scenarios: JSON text in, scenarios out, with line and column in every complaint.

use super::{Scenario, Variant};
use crate::policy::locate::{Step, locate_steps};
use crate::policy::{self, BoxSpec, Boxed, Read, hint::nearest, settle};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;

/// Why a scenario cannot be read, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadError {
    /// The name of the file.
    pub origin: String,
    /// Line and column, from 1, where they are known.
    pub at: Option<(usize, usize)>,
    /// The keys that lead there; empty at the top.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ", at {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for LoadError {}

/// Reads a scenario. `overrides` are settings such as `client.keepalive.time=600` that replace what the text says. A path that
/// names files is read with [`load_with`].
///
/// # Errors
/// What is wrong, where, and what would be right.
pub fn load(text: &str, origin: &str, overrides: &[String]) -> Result<Scenario, LoadError> {
    load_with(text, origin, overrides, NO_FILES)
}

/// The same, where `"@gw.conf"` in a path stands for the boxes of that file, named as seen from the scenario's.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub fn load_with(text: &str, origin: &str, overrides: &[String], read: Read<'_>) -> Result<Scenario, LoadError> {
    let scenario: Scenario = typed(text, origin)?;
    if overrides.is_empty() {
        return settled(scenario, text, origin, vec![Step::Key(PATH)], read);
    }
    let value = overridden(text, origin, overrides, read)?;
    let scenario = typed(&value.to_string(), &format!("{origin} with --set")).map_err(|error| LoadError { at: None, ..error })?;
    if is_path_set(overrides) { Ok(scenario) } else { settled(scenario, text, origin, vec![Step::Key(PATH)], read) }
}

/// The key of a scenario's boxes.
const PATH: &str = "path";
/// For those who have no files.
const NO_FILES: Read<'static> = &|_| Err("no files can be read here".to_owned());

fn is_path_set(overrides: &[String]) -> bool {
    overrides.iter().any(|one| one.split(['.', '=']).next().is_some_and(|key| key.trim() == PATH))
}

/// Puts the boxes of files in place of their names, and notes where the settings of the boxes stand.
fn settled(mut scenario: Scenario, text: &str, origin: &str, steps: Vec<Step<'_>>, read: Read<'_>) -> Result<Scenario, LoadError> {
    let place = Boxed::Array(steps);
    let path = std::mem::take(&mut scenario.path);
    scenario.path = settle(path, text, origin, &place, read, 0).map_err(|(at, message)| LoadError {
        origin: origin.to_owned(),
        at: locate_steps(text, &place.steps(at)),
        path: place.name(at),
        message,
    })?;
    Ok(scenario)
}

/// The scenario's text with some settings replaced. Where one of a box is, boxes of files are written out before.
fn overridden(text: &str, origin: &str, overrides: &[String], read: Read<'_>) -> Result<Value, LoadError> {
    let mut value = untyped(text, origin)?;
    if is_path_set(overrides)
        && let Some(Value::Array(path)) = value.get_mut(PATH)
        && path.iter().any(|one| one.as_str().is_some_and(|name| name.starts_with('@')))
    {
        let boxes = settled(typed::<Scenario>(text, origin)?, text, origin, vec![Step::Key(PATH)], read)?.path;
        *path = boxes.iter().map(written_out).collect();
    }
    for one in overrides {
        let fail = |message: String| LoadError { origin: format!("--set {one}"), at: None, path: String::new(), message };
        let (path, new) = one.split_once('=').ok_or_else(|| fail("expected KEY=VALUE, as client.keepalive.time=600".to_owned()))?;
        // Whatever is no JSON is a string.
        let new = serde_json::from_str(new).unwrap_or_else(|_| Value::String(new.to_owned()));
        assign(&mut value, path.trim(), new).map_err(fail)?;
    }
    Ok(value)
}

fn written_out(one: &BoxSpec) -> Value {
    let mut value = one.policy.to_json();
    if let Value::Object(map) = &mut value {
        map.insert("label".to_owned(), one.label.clone().into());
    }
    value
}

/// The scenario that a variant describes. A path that names files is read with [`vary_with`].
///
/// # Errors
/// What is wrong with the patched scenario, by the keys that lead there.
pub fn vary(text: &str, origin: &str, overrides: &[String], base: &Scenario, variant: &Variant) -> Result<Scenario, LoadError> {
    vary_with(text, origin, overrides, base, variant, NO_FILES)
}

/// The same, with files as for [`load_with`].
///
/// # Errors
/// As [`vary`].
pub fn vary_with(
    text: &str,
    origin: &str,
    overrides: &[String],
    base: &Scenario,
    variant: &Variant,
    read: Read<'_>,
) -> Result<Scenario, LoadError> {
    let mut value = overridden(text, origin, overrides, read)?;
    merge(&mut value, &variant.set);
    let mut varied: Scenario =
        typed(&value.to_string(), &format!("{origin}, variant '{}'", variant.name)).map_err(|error| LoadError { at: None, ..error })?;
    let number = base.variants.iter().position(|other| other.name == variant.name);
    let own = number.filter(|_| variant.set.get(PATH).is_some());
    let steps = match own {
        Some(number) => vec![Step::Key("variants"), Step::Index(number), Step::Key("set"), Step::Key(PATH)],
        None => vec![Step::Key(PATH)],
    };
    if own.is_some() || !is_path_set(overrides) {
        varied = settled(varied, text, origin, steps, read)?;
    }
    varied.expect = variant.expect.clone().or_else(|| base.expect.clone());
    varied.variants.clear();
    Ok(varied)
}

fn untyped(text: &str, origin: &str) -> Result<Value, LoadError> {
    serde_json::from_str(text).map_err(|e| LoadError {
        origin: origin.to_owned(),
        at: Some((e.line(), e.column())),
        path: String::new(),
        message: e.to_string(),
    })
}

/// Reads a document of any type, with line, column and keys in the complaint.
pub(crate) fn typed<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, LoadError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let fail = |error: &serde_json::Error, path: &str| {
        let (line, column) = (error.line(), error.column());
        let said = error.to_string();
        let message = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
        LoadError {
            origin: origin.to_owned(),
            at: Some((line, column)),
            path: path.trim_end_matches(['.', '?']).to_owned(),
            message: with_hint(message),
        }
    };
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(|e| fail(e.inner(), &e.path().to_string()))?;
    json.end().map_err(|e| fail(&e, ""))?;
    Ok(value)
}

/// Serde's list of what would be right, shortened to what was probably meant.
fn with_hint(message: &str) -> String {
    let is_list = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match words.split_first() {
        Some((wrong, known)) if is_list => {
            let kind = if message.starts_with("unknown field") { "key" } else { "word" };
            match nearest(wrong, known.iter().copied()) {
                Some(meant) => format!("there is no {kind} '{wrong}' here; did you mean '{meant}'?"),
                None => format!("there is no {kind} '{wrong}' here; there are {}", known.join(", ")),
            }
        }
        _ => message.to_owned(),
    }
}

/// Sets a value by the keys that lead to it; numbers are positions in arrays.
fn assign(value: &mut Value, path: &str, new: Value) -> Result<(), String> {
    let mut here = value;
    for key in path.split('.') {
        if key.is_empty() {
            return Err(format!("'{path}' has an empty key"));
        }
        here = match here {
            Value::Array(items) => {
                let length = items.len();
                let index: usize = key.parse().map_err(|_| format!("'{key}' is no position in an array"))?;
                items.get_mut(index).ok_or_else(|| format!("position {index} is beyond the end of {length}"))?
            }
            other => {
                // A box in its short form is opened, so that one of its settings can be changed.
                if let Value::String(short) = other {
                    let opened = policy::parse_short(short).map_err(|_| format!("'{key}' cannot be set inside \"{short}\""))?;
                    *other = opened.policy.to_json();
                }
                if other.is_null() {
                    *other = Value::Object(serde_json::Map::new());
                }
                match other {
                    Value::Object(map) => map.entry(key).or_insert(Value::Null),
                    value => return Err(format!("'{key}' cannot be set inside {value}")),
                }
            }
        };
    }
    *here = new;
    Ok(())
}

/// A JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(map) = target {
        for (key, change) in changes {
            if change.is_null() {
                map.shift_remove(key);
            } else {
                merge(map.entry(key).or_insert(Value::Null), change);
            }
        }
    }
}
