//! The short form of a box, as `--box` takes it: `conntrack:masquerade,established=3600`, `aws-nlb:established=600`, `@boxes.json`.
//!
//! Nothing here opens a file: the caller passes a function that reads one.

use super::keys::{SettingError, Settings};
use super::{BoxPolicy, ConntrackPolicy, IdlePolicy, IpvsPolicy, hint, json, presets};
use crate::time::Duration;
use std::fmt;
use std::path::Path;

/// The kinds of boxes that are not presets.
pub(crate) const KINDS: [&str; 3] = [ConntrackPolicy::KIND, IpvsPolicy::KIND, IdlePolicy::KIND];

/// A box on the path, with the name by which reports call it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoxSpec {
    /// How the user wrote it, or the label that the user gave it in a file.
    pub label: String,
    /// What it is set to.
    pub policy: BoxPolicy,
}

impl fmt::Display for BoxSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// Where in its source a specification is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The source as a whole.
    Whole,
    /// A character of the short form, from 1.
    Character(usize),
    /// A place in a JSON text.
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The keys that lead there, as `path[0].conntrack`; empty at the top.
        path: String,
    },
}

/// Why a specification was not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {message}", located(origin, place))]
pub struct SpecError {
    /// The short form itself, or the name of the file.
    pub origin: String,
    /// Where in it.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub message: String,
}

fn located(origin: &str, place: &Place) -> String {
    match place {
        Place::Whole => format!("box '{origin}'"),
        Place::Character(at) => format!("box '{origin}', character {at}"),
        Place::Json { line, column, path } if path.is_empty() => format!("{origin}:{line}:{column}"),
        Place::Json { line, column, path } => format!("{origin}:{line}:{column}, at {path}"),
    }
}

/// Reads a specification in any of its forms. A file may hold several boxes, in the order of the path from the client.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub fn parse(text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Vec<BoxSpec>, SpecError> {
    let text = text.trim();
    match file_name(text) {
        Some(name) => match read(name) {
            Ok(content) => json::parse(&content, name),
            Err(why) => {
                Err(SpecError { origin: text.to_owned(), place: Place::Whole, message: format!("the file '{name}' cannot be read: {why}") })
            }
        },
        None => parse_short(text).map(|one| vec![one]),
    }
}

/// The file that a specification names, if it names one: it begins with `@`, ends in `.json`, or has a slash before any colon.
fn file_name(text: &str) -> Option<&str> {
    let head = text.split(':').next().unwrap_or_default();
    if let Some(name) = text.strip_prefix('@') {
        return Some(name);
    }
    let json = Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    (json || head.contains(['/', '\\'])).then_some(text)
}

/// Reads a specification that is not the name of a file.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub fn parse_short(text: &str) -> Result<BoxSpec, SpecError> {
    let (head, rest) = text.split_once(':').unwrap_or((text, ""));
    let fail = |place, message: String| SpecError { origin: text.to_owned(), place, message };
    let mut policy = named(head.trim()).map_err(|message| fail(Place::Character(1), message))?;
    let at_settings = head.chars().count() + 1;
    let outcome = match &mut policy {
        BoxPolicy::Conntrack(policy) => apply(policy, rest),
        BoxPolicy::Ipvs(policy) => apply(policy, rest),
        BoxPolicy::Idle(policy) => apply(policy, rest),
    };
    let given = outcome.map_err(|(at, message)| fail(Place::Character(at_settings + at), message))?;
    if head.trim() == IdlePolicy::KIND && !given.contains(&"established") {
        return Err(fail(Place::Whole, no_established().to_string()));
    }
    Ok(BoxSpec { label: text.to_owned(), policy })
}

/// The complaint about an idle box without its one indispensable timer.
pub(crate) fn no_established() -> SettingError {
    SettingError::Missing { kind: IdlePolicy::KIND, key: "established", example: "idle:established=350" }
}

/// The box that a name stands for, before any setting: a kind of box or a preset.
pub(crate) fn named(head: &str) -> Result<BoxPolicy, String> {
    Ok(match head {
        ConntrackPolicy::KIND => BoxPolicy::Conntrack(ConntrackPolicy::default()),
        IpvsPolicy::KIND => BoxPolicy::Ipvs(IpvsPolicy::default()),
        IdlePolicy::KIND => BoxPolicy::Idle(IdlePolicy::new(Duration::ZERO)),
        "" => return Err("the name of a box is missing; write conntrack, ipvs, idle, a preset, or the name of a JSON file".to_owned()),
        _ => presets::find(head).map(presets::Preset::resolve).ok_or_else(|| unknown_box(head))?,
    })
}

fn unknown_box(head: &str) -> String {
    match hint::nearest(head, KINDS.into_iter().chain(presets::all().iter().map(|preset| preset.id.as_str()))) {
        Some(meant) => format!("there is no box and no preset '{head}'; did you mean '{meant}'?"),
        None => {
            format!(
                "there is no box and no preset '{head}'; write conntrack, ipvs, idle, a preset ('flowlapse presets' lists them), or the name of a JSON file"
            )
        }
    }
}

/// Applies the settings of a short form and says which were given; an error says after how many characters.
pub(crate) fn apply<P: Settings>(policy: &mut P, settings: &str) -> Result<Vec<&'static str>, (usize, String)> {
    let mut given = Vec::new();
    let mut at = 1;
    if settings.trim().is_empty() {
        return Ok(given);
    }
    for item in settings.split(',') {
        let here = at + item.chars().take_while(|letter| letter.is_whitespace()).count();
        let outcome = match item.trim().split_once('=') {
            Some((name, value)) => policy.set(name.trim_end(), value.trim_start()),
            None if item.trim().is_empty() => {
                return Err((here, "a setting is missing between two commas, or after the last one".to_owned()));
            }
            None => policy.set_word(item.trim()),
        };
        let key = outcome.map_err(|error| (here, error.to_string()))?;
        if given.contains(&key.name) {
            return Err((here, SettingError::Twice { key: key.name }.to_string()));
        }
        given.push(key.name);
        at += item.chars().count() + 1;
    }
    Ok(given)
}
