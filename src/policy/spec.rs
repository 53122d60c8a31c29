//! The short form of a box, as `--box` takes it: `conntrack:masquerade,established=3600`, `aws-nlb:established=600`, `@boxes.json`.
//!
//! Nothing here opens a file: the caller passes a function that reads one.

use super::keys::{SettingError, Settings};
use super::{BoxPolicy, ConntrackPolicy, IdlePolicy, IpvsPolicy, Origins, Read, beside, dump, hint, json, presets};
use crate::time::Duration;
use std::fmt;
use std::path::Path;

/// The kinds of boxes that are not presets.
pub(crate) const KINDS: [&str; 3] = [ConntrackPolicy::KIND, IpvsPolicy::KIND, IdlePolicy::KIND];

/// A box on the path, with the name by which reports call it. Where its settings stand is no part of what it is: two boxes are
/// equal that are called and set alike.
#[derive(Clone, Debug)]
pub struct BoxSpec {
    /// How the user wrote it, or the label that the user gave it in a file.
    pub label: String,
    /// What it is set to.
    pub policy: BoxPolicy,
    /// Where its settings stand.
    pub origins: Origins,
    /// Whether the label names a file that is yet to be read ([`super::refer::settle`]); no model takes such a box.
    pub(crate) is_file: bool,
}

impl BoxSpec {
    /// A box of which no text says where its settings stand.
    pub fn new(label: String, policy: BoxPolicy) -> BoxSpec {
        BoxSpec { label, policy, origins: Origins::default(), is_file: false }
    }

    /// A file that a JSON text names in place of a box.
    pub(crate) fn of_file(name: &str) -> BoxSpec {
        BoxSpec { is_file: true, ..BoxSpec::new(name.to_owned(), BoxPolicy::Conntrack(ConntrackPolicy::default())) }
    }
}

impl PartialEq for BoxSpec {
    fn eq(&self, other: &BoxSpec) -> bool {
        self.label == other.label && self.policy == other.policy
    }
}

impl Eq for BoxSpec {}

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
    /// A file as a whole.
    File,
    /// A line of a text, from 1.
    Line(usize),
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
        Place::File => origin.to_owned(),
        Place::Line(line) => format!("{origin}:{line}"),
        Place::Character(at) => format!("box '{origin}', character {at}"),
        Place::Json { line, column, path } if path.is_empty() => format!("{origin}:{line}:{column}"),
        Place::Json { line, column, path } => format!("{origin}:{line}:{column}, at {path}"),
    }
}

/// Reads a specification in any of its forms. A file may hold several boxes, in the order of the path from the client; settings
/// behind its name, after a colon, go to each of its boxes that has them.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub fn parse(text: &str, read: Read<'_>) -> Result<Vec<BoxSpec>, SpecError> {
    parse_beside(text, "", read, 0)
}

/// The same for a text that a file says, whose name is `from`: what it names stands beside it. `depth` counts the files that led here.
pub(super) fn parse_beside(text: &str, from: &str, read: Read<'_>, depth: usize) -> Result<Vec<BoxSpec>, SpecError> {
    let text = text.trim();
    let Some(whole) = file_name(text) else { return parse_short(text).map(|one| vec![one]) };
    let fetch = |name: &str| read(&beside(from, name));
    let unreadable = |name: &str, why: String| SpecError {
        origin: text.to_owned(),
        place: Place::Whole,
        message: format!("the file '{name}' cannot be read: {why}"),
    };
    // A name may hold a colon; only where there is no such file does the last one begin the settings.
    let (name, content, settings) = match (fetch(whole), settings_behind(whole)) {
        (Ok(content), _) => (whole, content, ""),
        (Err(why), None) => return Err(unreadable(whole, why)),
        (Err(_), Some((name, settings))) => (name, fetch(name).map_err(|why| unreadable(name, why))?, settings),
    };
    let named_json = has_json_ending(name);
    let mut boxes = if named_json || content.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[', '"']) {
        json::parse_with(&content, &beside(from, name), read, depth)?
    } else {
        dump::boxes(&content, &beside(from, name), text)?
    };
    let before = text.chars().count() - settings.chars().count();
    apply_to_all(&mut boxes, settings).map_err(|(at, message)| SpecError {
        origin: text.to_owned(),
        place: Place::Character(before + at),
        message,
    })?;
    Ok(boxes)
}

/// The file that a specification names, if it names one: it begins with `@`, ends in `.json`, or has a slash before any colon.
fn file_name(text: &str) -> Option<&str> {
    let head = text.split(':').next().unwrap_or_default();
    if let Some(name) = text.strip_prefix('@') {
        return Some(name);
    }
    (has_json_ending(text) || has_json_ending(head) || head.contains(['/', '\\'])).then_some(text)
}

fn has_json_ending(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// The name of a file and the settings behind it. A single letter before the colon is a drive, not a file.
fn settings_behind(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':').filter(|(name, settings)| name.chars().count() > 1 && !settings.contains(['/', '\\']))
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
    Ok(BoxSpec::new(text.to_owned(), policy))
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

/// The items of a short form's settings, each with the character at which it begins, from 1.
fn items(settings: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 1;
    let blank = settings.trim().is_empty();
    settings.split(',').filter(move |_| !blank).map(move |item| {
        let at = next + item.chars().take_while(|letter| letter.is_whitespace()).count();
        next += item.chars().count() + 1;
        (at, item.trim())
    })
}

/// Applies one setting of a short form.
fn apply_item<P: Settings>(policy: &mut P, item: &str, given: &mut Vec<&'static str>) -> Result<(), SettingError> {
    let key = match item.split_once('=') {
        Some((name, value)) => policy.set(name.trim_end(), value.trim_start())?,
        None => policy.set_word(item)?,
    };
    if given.contains(&key.name) {
        return Err(SettingError::Twice { key: key.name });
    }
    given.push(key.name);
    Ok(())
}

const NOTHING: &str = "a setting is missing between two commas, or after the last one";

/// Applies the settings of a short form and says which were given; an error says after how many characters.
pub(crate) fn apply<P: Settings>(policy: &mut P, settings: &str) -> Result<Vec<&'static str>, (usize, String)> {
    let mut given = Vec::new();
    for (at, item) in items(settings) {
        if item.is_empty() {
            return Err((at, NOTHING.to_owned()));
        }
        apply_item(policy, item, &mut given).map_err(|error| (at, error.to_string()))?;
    }
    Ok(given)
}

/// Applies each setting to every box that has it. A box that reports call by its settings gets its new name.
fn apply_to_all(boxes: &mut [BoxSpec], settings: &str) -> Result<(), (usize, String)> {
    let mut given = vec![Vec::new(); boxes.len()];
    let described: Vec<bool> = boxes.iter().map(|one| one.label == one.policy.describe()).collect();
    for (at, item) in items(settings) {
        if item.is_empty() {
            return Err((at, NOTHING.to_owned()));
        }
        let mut taken = false;
        let mut refused = None;
        for (one, given) in boxes.iter_mut().zip(&mut given) {
            match one.policy.apply(item, given) {
                Ok(()) => taken = true,
                // Another box may have it.
                Err(error @ (SettingError::UnknownKey { .. } | SettingError::UnknownWord { .. } | SettingError::NotModelled { .. })) => {
                    refused = refused.or(Some(error));
                }
                Err(error) => return Err((at, error.to_string())),
            }
        }
        if let Some(error) = refused.filter(|_| !taken) {
            return Err((at, error.to_string()));
        }
    }
    for (one, given) in boxes.iter_mut().zip(&given) {
        for setting in given {
            one.origins.forget(setting);
        }
    }
    for (one, _) in boxes.iter_mut().zip(described).filter(|(_, described)| *described) {
        one.label = one.policy.describe();
    }
    Ok(())
}

impl BoxPolicy {
    /// Applies one setting of a short form to whichever kind of box this is.
    fn apply(&mut self, item: &str, given: &mut Vec<&'static str>) -> Result<(), SettingError> {
        match self {
            BoxPolicy::Conntrack(policy) => apply_item(policy, item, given),
            BoxPolicy::Ipvs(policy) => apply_item(policy, item, given),
            BoxPolicy::Idle(policy) => apply_item(policy, item, given),
        }
    }
}
