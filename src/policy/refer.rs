//! Boxes that a JSON text lists: where each setting stands in it, and the files that stand for boxes, as in `"path": ["@gw.conf"]`.
//!
//! Nothing here opens a file: the caller passes a function that reads one.

use super::locate::{Step, locate_steps};
use super::origin::{At, Origins};
use super::spec::{BoxSpec, KINDS, parse_beside};
use serde_json::Value;
use std::sync::Arc;

/// Reads the file of a name, or says why it cannot.
pub type Read<'r> = &'r dyn Fn(&str) -> Result<String, String>;

/// Files that may name one another before it is taken for a circle.
const DEPTH_MAX: usize = 8;

/// The name of a file that another file names: as seen from that one's folder, with what goes up and down again taken out.
pub fn beside(from: &str, name: &str) -> String {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    if name.starts_with('/') || (folder.is_empty() && !from.starts_with('/')) {
        return name.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(name.split('/')) {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| !last.is_empty() && *last != "..") => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// How boxes stand in a JSON text.
pub(crate) enum Boxed<'p> {
    /// The text is one box.
    Alone,
    /// In the array that these steps lead to.
    Array(Vec<Step<'p>>),
}

impl<'p> Boxed<'p> {
    /// The steps to a box.
    pub(crate) fn steps(&self, at: usize) -> Vec<Step<'p>> {
        match self {
            Boxed::Alone => Vec::new(),
            Boxed::Array(to) => to.iter().copied().chain([Step::Index(at)]).collect(),
        }
    }

    /// The same as people read it: `path[0]`.
    pub(crate) fn name(&self, at: usize) -> String {
        let mut out = String::new();
        for step in self.steps(at) {
            match step {
                Step::Key(key) if out.is_empty() => out.push_str(key),
                Step::Key(key) => out.push_str(&format!(".{key}")),
                Step::Index(at) => out.push_str(&format!("[{at}]")),
            }
        }
        out
    }
}

/// Notes where the settings of boxes stand in the text that lists them, and puts the boxes of files in place of their names.
/// `depth` counts the files that led here. An error says which box, from 0.
pub(crate) fn settle(
    boxes: Vec<BoxSpec>,
    text: &str,
    origin: &str,
    place: &Boxed<'_>,
    read: Read<'_>,
    depth: usize,
) -> Result<Vec<BoxSpec>, (usize, String)> {
    let whole: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let name: Arc<str> = origin.into();
    let mut out = Vec::with_capacity(boxes.len());
    for (at, mut one) in boxes.into_iter().enumerate() {
        if one.is_file {
            if depth >= DEPTH_MAX {
                return Err((at, format!("'{}' is named by {DEPTH_MAX} files, one by another: they go round in a circle", one.label)));
            }
            out.extend(parse_beside(&one.label, origin, read, depth + 1).map_err(|error| (at, error.to_string()))?);
            continue;
        }
        let steps = place.steps(at);
        if let Some(value) = follow(&whole, &steps) {
            one.origins = places(&one, value, text, &name, &steps);
        }
        out.push(one);
    }
    Ok(out)
}

fn follow<'v>(whole: &'v Value, steps: &[Step<'_>]) -> Option<&'v Value> {
    steps.iter().try_fold(whole, |here, step| match step {
        Step::Key(key) => here.get(key),
        Step::Index(at) => here.get(at),
    })
}

/// The places of one box's settings: each key's own line, and the line of the whole for those that a string gives.
fn places(one: &BoxSpec, value: &Value, text: &str, name: &Arc<str>, steps: &[Step<'_>]) -> Origins {
    let line = |more: &[Step<'_>]| locate_steps(text, &[steps, more].concat()).map_or(1, |(line, _)| line);
    let whole = At::new(name, line(&[]));
    let mut out = Origins::of_box(whole.clone());
    match value {
        Value::Object(map) => {
            let kind = map.iter().find(|(key, _)| KINDS.contains(&key.as_str()));
            let (inside, settings) = match kind {
                Some((kind, Value::Object(settings))) => (vec![Step::Key(kind)], settings),
                Some((kind, _)) => {
                    let at = At::new(name, line(&[Step::Key(kind)]));
                    one.policy.given().into_iter().for_each(|setting| out.note(setting, at.clone()));
                    return out;
                }
                None => (Vec::new(), map),
            };
            for key in settings.keys() {
                if let Some(setting) = one.policy.setting(key) {
                    out.note(setting, At::new(name, line(&[&inside[..], &[Step::Key(key)]].concat())));
                }
            }
        }
        _ => one.policy.given().into_iter().for_each(|setting| out.note(setting, whole.clone())),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn names_are_seen_from_the_file_that_says_them() {
        for (from, name, wanted) in [
            ("", "gw.conf", "gw.conf"),
            ("boxes.json", "gw.conf", "gw.conf"),
            ("ci/ssh.json", "gw.conf", "ci/gw.conf"),
            ("ci/ssh.json", "../etc/./gw.conf", "etc/gw.conf"),
            ("ci/ssh.json", "../../gw.conf", "../gw.conf"),
            ("../ci/ssh.json", "../gw.conf", "../gw.conf"),
            ("/ci/ssh.json", "../gw.conf", "/gw.conf"),
            ("ci/ssh.json", "/etc/gw.conf", "/etc/gw.conf"),
            ("/ssh.json", "gw.conf", "/gw.conf"),
        ] {
            assert_eq!(beside(from, name), wanted, "{from} {name}");
        }
    }
}
