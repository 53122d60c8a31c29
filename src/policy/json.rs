//! The JSON form of a box, and of a path of boxes.
//!
//! Every object is read key by key straight from the text, never through a buffered value: a buffered value has lost its
//! line and column, and an error could no longer point at the key that is wrong. Nothing here knows a particular setting.

use super::keys::{Key, SettingError, Settings};
use super::locate::{Step, locate_steps};
use super::refer::{Boxed, Read, settle};
use super::spec::{BoxSpec, KINDS, Place, SpecError, apply, named, no_established, parse_short};
use super::{BoxPolicy, ConntrackPolicy, IdlePolicy, IpvsPolicy, hint};
use crate::time::Duration;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads a JSON text that holds one box, an array of boxes, or an object with the key `path`.
///
/// # Errors
/// What is wrong, in which line and column, and what would be right.
pub fn parse(text: &str, origin: &str) -> Result<Vec<BoxSpec>, SpecError> {
    parse_with(text, origin, &|_| Err("no files can be read here".to_owned()), 0)
}

/// The same, where a string such as `"@gw.conf"` stands for the boxes of a file, named as seen from this one.
pub(super) fn parse_with(text: &str, origin: &str, read: Read<'_>, depth: usize) -> Result<Vec<BoxSpec>, SpecError> {
    let boxes = typed(text, origin)?;
    let place = match serde_json::from_str(text) {
        Ok(serde_json::Value::Array(_)) => Boxed::Array(Vec::new()),
        Ok(serde_json::Value::Object(map)) if map.contains_key("path") => Boxed::Array(vec![Step::Key("path")]),
        _ => Boxed::Alone,
    };
    settle(boxes, text, origin, &place, read, depth).map_err(|(at, message)| {
        let steps = place.steps(at);
        let (line, column) = locate_steps(text, &steps).unwrap_or((1, 1));
        SpecError { origin: origin.to_owned(), place: Place::Json { line, column, path: place.name(at) }, message }
    })
}

fn typed(text: &str, origin: &str) -> Result<Vec<BoxSpec>, SpecError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let fail = |error: &serde_json::Error, path: &str| {
        let (line, column) = (error.line(), error.column());
        let said = error.to_string();
        let message = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said).to_owned();
        // A path without keys is written as a dot, and a key that was not read yet as a question mark.
        let path = path.trim_end_matches(['.', '?']).to_owned();
        SpecError { origin: origin.to_owned(), place: Place::Json { line, column, path }, message }
    };
    let boxes: Boxes = serde_path_to_error::deserialize(&mut json).map_err(|error| fail(error.inner(), &error.path().to_string()))?;
    json.end().map_err(|error| fail(&error, ""))?;
    Ok(boxes.0)
}

/// One box or several.
struct Boxes(Vec<BoxSpec>);

impl<'de> Deserialize<'de> for Boxes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Boxes, D::Error> {
        deserializer.deserialize_any(BoxVisitor { file: true }).map(Boxes)
    }
}

/// A box inside a larger document, such as a scenario: an object, or a string in the short form.
impl<'de> Deserialize<'de> for BoxSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BoxSpec, D::Error> {
        let mut boxes = deserializer.deserialize_any(BoxVisitor { file: false })?;
        Ok(boxes.remove(0))
    }
}

/// `file` allows what only the top of a file may be: an array, or an object with the key `path`.
struct BoxVisitor {
    file: bool,
}

impl<'de> Visitor<'de> for BoxVisitor {
    type Value = Vec<BoxSpec>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a box such as {"conntrack": {…}} or "aws-nlb""#)?;
        if self.file { f.write_str(", or an array of boxes") } else { Ok(()) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<BoxSpec>, E> {
        if text.trim_start().starts_with('@') {
            return Ok(vec![BoxSpec::of_file(text.trim())]);
        }
        parse_short(text).map(|one| vec![one]).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<BoxSpec>, A::Error> {
        if !self.file {
            return Err(A::Error::custom("a box cannot be an array; write the boxes of a path side by side"));
        }
        let mut boxes = Vec::new();
        while let Some(one) = seq.next_element::<BoxSpec>()? {
            boxes.push(one);
        }
        if boxes.is_empty() { Err(A::Error::custom("the path has no box")) } else { Ok(boxes) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<BoxSpec>, A::Error> {
        let mut label: Option<String> = None;
        let mut policy: Option<BoxPolicy> = None;
        let mut overridden: Option<Vec<&'static str>> = None;
        while let Some(key) = map.next_key::<String>()? {
            match (key.as_str(), &mut policy) {
                ("label", _) if label.is_none() => label = Some(map.next_value()?),
                ("label", _) => return Err(A::Error::custom("'label' is set twice; keep one")),
                ("path", None) if self.file && label.is_none() => {
                    let path = map.next_value_seed(PathSeed)?;
                    return match map.next_key::<String>()? {
                        None => Ok(path),
                        Some(more) => Err(A::Error::custom(format!("'{more}' cannot stand beside 'path'"))),
                    };
                }
                (ConntrackPolicy::KIND, None) => {
                    policy = Some(BoxPolicy::Conntrack(map.next_value_seed(Fill(ConntrackPolicy::default()))?));
                }
                (IpvsPolicy::KIND, None) => policy = Some(BoxPolicy::Ipvs(map.next_value_seed(Fill(IpvsPolicy::default()))?)),
                (IdlePolicy::KIND, None) => policy = Some(BoxPolicy::Idle(map.next_value_seed(Fill(IdlePolicy::new(Duration::ZERO)))?)),
                ("preset", None) => {
                    policy = Some(map.next_value_seed(PresetSeed)?);
                    overridden = Some(Vec::new());
                }
                (_, Some(policy)) if overridden.is_some() => {
                    let given = overridden.get_or_insert_default();
                    match policy {
                        BoxPolicy::Conntrack(policy) => set(policy, &key, given, &mut map)?,
                        BoxPolicy::Ipvs(policy) => set(policy, &key, given, &mut map)?,
                        BoxPolicy::Idle(policy) => set(policy, &key, given, &mut map)?,
                    }
                }
                (_, Some(_)) => {
                    return Err(A::Error::custom(format!("'{key}' cannot stand beside the box; settings belong inside its object")));
                }
                (_, None) => return Err(A::Error::custom(unknown_kind(&key, self.file))),
            }
        }
        match policy {
            Some(policy) => Ok(vec![BoxSpec::new(label.unwrap_or_else(|| policy.describe()), policy)]),
            None => {
                Err(A::Error::custom(r#"the box is missing; write {"conntrack": {…}}, {"ipvs": {…}}, {"idle": {…}} or {"preset": "…"}"#))
            }
        }
    }
}

fn unknown_kind(key: &str, file: bool) -> String {
    let known = ["preset", "label"].into_iter().chain(KINDS).chain(file.then_some("path"));
    match hint::nearest(key, known) {
        Some(meant) => format!("there is no kind of box '{key}'; did you mean '{meant}'?"),
        None => format!(
            "there is no kind of box '{key}'; write conntrack, ipvs, idle or preset, and 'preset' before the settings that change it"
        ),
    }
}

/// The array behind `path`.
struct PathSeed;

impl<'de> DeserializeSeed<'de> for PathSeed {
    type Value = Vec<BoxSpec>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<BoxSpec>, D::Error> {
        deserializer.deserialize_seq(BoxVisitor { file: true })
    }
}

/// The id behind `preset`.
struct PresetSeed;

impl<'de> DeserializeSeed<'de> for PresetSeed {
    type Value = BoxPolicy;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<BoxPolicy, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for PresetSeed {
    type Value = BoxPolicy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"the id of a preset, as "aws-nlb""#)
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<BoxPolicy, E> {
        if KINDS.contains(&id) {
            return Err(E::custom(format!(r#"'{id}' is a kind of box, not a preset; write {{"{id}": {{…}}}}"#)));
        }
        named(id).map_err(E::custom)
    }
}

/// The settings object of one kind of box, applied to the policy inside; a string holds the settings in the short form.
struct Fill<P>(P);

impl<'de, P: Settings> DeserializeSeed<'de> for Fill<P> {
    type Value = P;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<P, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<P: Settings> Fill<P> {
    fn complete<E: Error>(self, given: &[&'static str]) -> Result<P, E> {
        if P::KIND == IdlePolicy::KIND && !given.contains(&"established") { Err(E::custom(no_established())) } else { Ok(self.0) }
    }
}

impl<'de, P: Settings> Visitor<'de> for Fill<P> {
    type Value = P;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the settings of {}", P::KIND)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<P, E> {
        let given = apply(&mut self.0, text).map_err(|(_, message)| E::custom(message))?;
        self.complete(&given)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<P, A::Error> {
        let mut given = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            set(&mut self.0, &key, &mut given, &mut map)?;
        }
        self.complete(&given)
    }
}

/// Reads the value of one setting and applies it.
fn set<'de, P: Settings, A: MapAccess<'de>>(
    policy: &mut P,
    name: &str,
    given: &mut Vec<&'static str>,
    map: &mut A,
) -> Result<(), A::Error> {
    let key = P::key(name).map_err(A::Error::custom)?;
    if given.contains(&key.name) {
        map.next_value::<IgnoredAny>()?;
        return Err(A::Error::custom(SettingError::Twice { key: key.name }));
    }
    given.push(key.name);
    map.next_value_seed(Assign { policy, key })
}

/// The value of one setting: a string as in the short form, a number, a truth value, or null for the default.
struct Assign<'a, P: Settings> {
    policy: &'a mut P,
    key: &'static Key<P>,
}

impl<'de, P: Settings> DeserializeSeed<'de> for Assign<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<P: Settings> Visitor<'_> for Assign<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key.takes)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.policy.assign(self.key, text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<(), E> {
        self.visit_str(if on { "true" } else { "false" })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.visit_str(super::value::DEFAULT)
    }
}
