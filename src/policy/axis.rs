//! What is varied: one setting of one box, or the hosts' keepalive, over a list or a range of values; and the grid of several.
//!
//! Nothing here knows what a setting does, or what is done with a combination.

use super::hint::{listed, nearest};
use super::keys::{SettingError, Settings};
use super::spec::KINDS;
use super::value::{AT_LEAST_ONE, BYTE, COUNT, DEFAULT, ENTRIES, NEVER, SECONDS, SPAN};
use super::{BoxPolicy, BoxSpec, ConntrackPolicy, IdlePolicy, IpvsPolicy};
use crate::time::Duration;

/// One thing that is varied, with its values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Axis {
    /// What is varied, as the user wrote it: `conntrack.established`.
    pub key: String,
    /// The same, found.
    pub target: Target,
    /// The values as the setting takes them; those of timers and counts rise, and timers are whole seconds. None is there twice.
    pub values: Vec<String>,
}

/// What an axis changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A setting of a box of the path.
    Box {
        /// The box, from 0.
        index: usize,
        /// The setting, by the name that is printed.
        setting: &'static str,
    },
    /// The idle time of TCP keepalive on the hosts, in whole seconds.
    Keepalive,
}

/// Why an axis was not accepted, or does not go with the others.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("axis '{axis}': {message}")]
pub struct AxisError {
    /// What was written.
    pub axis: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// The key of the keepalive axis.
pub const KEEPALIVE: &str = "keepalive";

/// The most combinations that [`grid`] makes, and the most values of one axis.
pub const COMBINATIONS_MAX: usize = 100_000;

/// How the values of a range lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// So many, each the same factor above the last.
    Log(usize),
    /// So many, each the same distance above the last.
    Lin(usize),
    /// From the first, so far apart, up to the end.
    Step(u64),
}

/// The shape of a range that does not say one.
const SHAPE: Shape = Shape::Log(20);

/// Reads an axis: `conntrack.established=300..7200:log50`, `2.ipvs.tcp=900,30m`, `conntrack.loose=0,1`, `keepalive=60..7200`.
///
/// A box is named by its kind, its place on the path from 1 (with or without its kind), its preset, or its label.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn parse(text: &str, boxes: &[BoxSpec]) -> Result<Axis, AxisError> {
    let text = text.trim();
    axis(text, boxes).map_err(|message| AxisError { axis: text.to_owned(), message })
}

fn axis(text: &str, boxes: &[BoxSpec]) -> Result<Axis, String> {
    let made = |key: &str, target, values| Axis { key: key.trim().to_owned(), target, values };
    if let Some(rest) = text.strip_prefix(KEEPALIVE).map(str::trim_start)
        && (rest.is_empty() || rest.starts_with('='))
    {
        let list = rest.strip_prefix('=').ok_or_else(|| no_values(KEEPALIVE))?;
        return Ok(made(KEEPALIVE, Target::Keepalive, keepalive_values(list.trim())?));
    }
    let (index, rest) = find_box(text, boxes)?;
    let (setting, list) = rest.split_once('=').ok_or_else(|| no_values(text))?;
    let key = &text[..text.len() - list.len() - 1];
    let (setting, list) = (setting.trim(), list.trim());
    if let Some(kind) = KINDS.iter().find(|kind| setting.strip_prefix(**kind).is_some_and(|rest| rest.starts_with('.'))) {
        return Err(format!("box {} is {}, not {kind}", index + 1, kind_of(&boxes[index])));
    }
    let (setting, values) = match &boxes[index].policy {
        BoxPolicy::Conntrack(policy) => setting_values(policy, setting, list)?,
        BoxPolicy::Ipvs(policy) => setting_values(policy, setting, list)?,
        BoxPolicy::Idle(policy) => setting_values(policy, setting, list)?,
    };
    Ok(made(key, Target::Box { index, setting }, values))
}

fn no_values(key: &str) -> String {
    format!("the values are missing; write '{key}=300..7200:log20' or '{key}=300,600,900'")
}

fn kind_of(one: &BoxSpec) -> &'static str {
    match one.policy {
        BoxPolicy::Conntrack(_) => ConntrackPolicy::KIND,
        BoxPolicy::Ipvs(_) => IpvsPolicy::KIND,
        BoxPolicy::Idle(_) => IdlePolicy::KIND,
    }
}

/// Every name by which a box of the path may be called.
fn names(index: usize, one: &BoxSpec) -> Vec<String> {
    let kind = kind_of(one);
    let mut names = vec![kind.to_owned(), format!("{}", index + 1), format!("{}.{kind}", index + 1), one.label.clone()];
    names.extend(one.policy.preset().map(|preset| preset.id.clone()));
    names
}

/// The box that an axis begins with, and what follows its name. The longest name counts: a label may hold dots.
fn find_box<'t>(text: &'t str, boxes: &[BoxSpec]) -> Result<(usize, &'t str), String> {
    let mut best: Option<(&'t str, Vec<usize>)> = None;
    for (index, one) in boxes.iter().enumerate() {
        for name in names(index, one) {
            let Some(rest) = text.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('.')) else { continue };
            match &mut best {
                Some((found, _)) if found.len() < rest.len() => {}
                Some((found, owners)) if found.len() == rest.len() => {
                    if !owners.contains(&index) {
                        owners.push(index);
                    }
                }
                _ => best = Some((rest, vec![index])),
            }
        }
    }
    match best {
        Some((rest, owners)) if owners.len() == 1 => Ok((owners[0], rest)),
        Some((rest, owners)) => {
            let setting = rest.split('=').next().unwrap_or_default().trim();
            let ways: Vec<String> = owners.iter().map(|at| format!("{}.{}.{setting}", at + 1, kind_of(&boxes[*at]))).collect();
            let name = &text[..text.len() - rest.len() - 1];
            Err(format!("the path has {} boxes '{name}'; write {}", owners.len(), listed(ways.iter().map(String::as_str))))
        }
        None => Err(no_box(text, boxes)),
    }
}

fn no_box(text: &str, boxes: &[BoxSpec]) -> String {
    if boxes.is_empty() {
        return format!("the path has no box; only '{KEEPALIVE}' can be varied without one");
    }
    let key = text.split('=').next().unwrap_or_default().trim();
    let there: Vec<String> = boxes.iter().enumerate().map(|(at, one)| format!("{}.{}", at + 1, kind_of(one))).collect();
    let Some((head, _)) = key.split_once('.') else {
        let owner = boxes.iter().position(|one| has_setting(&one.policy, key));
        return match owner {
            Some(at) => format!("say of which box; did you mean '{}.{key}'?", kind_of(&boxes[at])),
            None if nearest(key, [KEEPALIVE]).is_some() => format!("there is no '{key}'; did you mean '{KEEPALIVE}'?"),
            None => format!("say of which box and which setting, as in '{}.{}'", kind_of(&boxes[0]), a_timer(&boxes[0].policy)),
        };
    };
    let known: Vec<String> = boxes.iter().enumerate().flat_map(|(at, one)| names(at, one)).collect();
    let near = nearest(head, known.iter().map(String::as_str)).filter(|_| head.parse::<usize>().is_err());
    match near {
        Some(meant) => format!("the path has no box '{head}'; did you mean '{meant}'?"),
        None => format!("the path has no box '{head}'; it has {}", there.join(", ")),
    }
}

fn has_setting(policy: &BoxPolicy, name: &str) -> bool {
    match policy {
        BoxPolicy::Conntrack(_) => ConntrackPolicy::key(name).is_ok(),
        BoxPolicy::Ipvs(_) => IpvsPolicy::key(name).is_ok(),
        BoxPolicy::Idle(_) => IdlePolicy::key(name).is_ok(),
    }
}

/// A setting for an example.
fn a_timer(policy: &BoxPolicy) -> &'static str {
    if matches!(policy, BoxPolicy::Ipvs(_)) { "tcp" } else { "established" }
}

/// The values of a setting, each tried on the box.
fn setting_values<P: Settings>(policy: &P, name: &str, list: &str) -> Result<(&'static str, Vec<String>), String> {
    let key = P::key(name).map_err(|error| error.to_string())?;
    let tried = |value: &str| -> Result<Option<String>, String> {
        let mut scratch = policy.clone();
        scratch.assign(key, value).map_err(|error| error.to_string())?;
        Ok((key.get)(&scratch))
    };
    let refused = || SettingError::BadValue { key: key.name, value: list.to_owned(), takes: key.takes, hint: None }.to_string();
    let timer = key.takes == SECONDS.takes || key.takes == SPAN.takes;
    let count = [BYTE.takes, COUNT.takes, AT_LEAST_ONE.takes, ENTRIES.takes].contains(&key.takes);
    let values = if timer || count {
        let values = numbers(list, key.name, timer)?;
        // The largest is the one that may be refused, and the one to say.
        for value in values.iter().rev() {
            tried(value)?;
        }
        values
    } else if list.contains("..") {
        return Err(format!("{}; ranges are for timers and counts", refused()));
    } else {
        let mut values = Vec::new();
        for value in items(list)? {
            let value = tried(value)?.unwrap_or_else(|| DEFAULT.to_owned());
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    };
    Ok((key.name, values))
}

fn keepalive_values(list: &str) -> Result<Vec<String>, String> {
    let values = numbers(list, KEEPALIVE, true)?;
    let fits = |value: &&String| (SECONDS.read)(value).is_some_and(|span| span.0 > 0);
    match values.iter().find(|value| !fits(value)) {
        Some(bad) => Err(format!("'{KEEPALIVE}' takes {}, and at least 1, not '{bad}'", SECONDS.takes)),
        None => Ok(values),
    }
}

fn items(list: &str) -> Result<Vec<&str>, String> {
    let items: Vec<&str> = list.split(',').map(str::trim).collect();
    if items.contains(&"") { Err("a value is missing between two commas, or after the last one".to_owned()) } else { Ok(items) }
}

/// The values of a timer, in whole seconds, or of a count: a range, or a list. They rise; `default` comes first, `never` last.
fn numbers(list: &str, name: &str, timer: bool) -> Result<Vec<String>, String> {
    let number = |text: &str| number(text, name, timer);
    if let Some((from, rest)) = list.split_once("..") {
        let (to, shape) = rest.split_once(':').map_or((rest, None), |(to, shape)| (to, Some(shape)));
        let (from, to) = (number(from.trim())?, number(to.trim())?);
        let unit = if timer { " s" } else { "" };
        if from == 0 {
            return Err(format!("a range begins at 1{unit} or more, not at 0"));
        }
        if from > to {
            return Err(format!("the range {from}..{to} is empty; write {to}..{from}"));
        }
        let shape = shape.map_or(Ok(SHAPE), |shape| read_shape(shape.trim(), timer))?;
        return Ok(spread(from, to, shape)?.iter().map(u64::to_string).collect());
    }
    let mut values = Vec::new();
    for item in items(list)? {
        let (place, value) = match item {
            DEFAULT => (None, DEFAULT.to_owned()),
            NEVER => (Some(u64::MAX), NEVER.to_owned()),
            _ => number(item).map(|value| (Some(value), value.to_string()))?,
        };
        values.push((place, value));
    }
    values.sort();
    values.dedup();
    Ok(values.into_iter().map(|(_, value)| value).collect())
}

fn number(text: &str, name: &str, timer: bool) -> Result<u64, String> {
    let takes = if timer { "whole seconds, as 900 or 15m, 300..7200 or 300,600" } else { "whole numbers, as 1000, 100..10000 or 1,2,3" };
    let read = if timer {
        Duration::parse(text).ok().filter(|span| span.0 % 1_000_000_000 == 0).map(Duration::as_secs)
    } else {
        text.parse().ok()
    };
    read.ok_or_else(|| format!("'{name}' is varied over {takes}, not '{text}'"))
}

fn read_shape(text: &str, timer: bool) -> Result<Shape, String> {
    let count = |digits: &str| digits.parse::<usize>().ok().filter(|count| (2..=COMBINATIONS_MAX).contains(count));
    let shape = if let Some(digits) = text.strip_prefix("log") {
        count(digits).map(Shape::Log)
    } else if let Some(digits) = text.strip_prefix("lin") {
        count(digits).map(Shape::Lin)
    } else {
        let width = text.strip_prefix("step");
        width.and_then(|width| number(width, "step", timer).ok()).filter(|width| *width > 0).map(Shape::Step)
    };
    shape.ok_or_else(|| {
        format!("a range ends in log, lin or step with a number, as ':log20' (20 values, at least 2), ':lin10' or ':step60', not ':{text}'")
    })
}

/// The values of a range, rising. Both ends are among them, but for a step that does not meet the upper one.
fn spread(from: u64, to: u64, shape: Shape) -> Result<Vec<u64>, String> {
    let part = |at: usize, count: usize| at as f64 / (count - 1) as f64;
    let mut values: Vec<u64> = match shape {
        Shape::Log(count) => (0..count).map(|at| (from as f64 * (to as f64 / from as f64).powf(part(at, count))).round() as u64).collect(),
        Shape::Lin(count) => (0..count).map(|at| (from as f64 + (to - from) as f64 * part(at, count)).round() as u64).collect(),
        Shape::Step(width) => {
            let count = (to - from) / width + 1;
            if count > COMBINATIONS_MAX as u64 {
                return Err(format!(
                    "{from}..{to} in steps of {width} are {count} values; {COMBINATIONS_MAX} are the limit: take a wider step"
                ));
            }
            (0..count).map(|at| from + at * width).collect()
        }
    };
    if let (Shape::Log(_) | Shape::Lin(_), Some(last)) = (shape, values.last_mut()) {
        *last = to;
    }
    values.dedup();
    Ok(values)
}

/// Every combination of the values of the axes, as places in [`Axis::values`]; the last axis changes fastest. Without an axis
/// there is one combination, the path as it is.
///
/// # Errors
/// That two axes vary the same thing, or that there are more than [`COMBINATIONS_MAX`] combinations.
pub fn grid(axes: &[Axis]) -> Result<Vec<Vec<usize>>, AxisError> {
    for (at, axis) in axes.iter().enumerate() {
        if let Some(other) = axes[..at].iter().find(|other| other.target == axis.target) {
            let message = if other.key == axis.key {
                "is varied twice; keep one".to_owned()
            } else {
                format!("is varied twice, also as '{}'; keep one", other.key)
            };
            return Err(AxisError { axis: axis.key.clone(), message });
        }
    }
    let total =
        axes.iter().try_fold(1_usize, |total, axis| total.checked_mul(axis.values.len())).filter(|total| *total <= COMBINATIONS_MAX);
    if total.is_none() {
        let keys: Vec<&str> = axes.iter().map(|axis| axis.key.as_str()).collect();
        let counts: Vec<String> = axes.iter().map(|axis| axis.values.len().to_string()).collect();
        let message = format!("{} values are more than {COMBINATIONS_MAX} combinations; take fewer values", counts.join(" × "));
        return Err(AxisError { axis: keys.join("', '"), message });
    }
    let mut combinations = vec![Vec::new()];
    for axis in axes {
        combinations = combinations
            .into_iter()
            .flat_map(|before: Vec<usize>| (0..axis.values.len()).map(move |at| [before.as_slice(), &[at]].concat()))
            .collect();
    }
    Ok(combinations)
}

/// The path of a combination. The boxes keep their labels.
///
/// # Errors
/// That the axes were not read for these boxes, or that the combination is not one of theirs.
pub fn apply(boxes: &[BoxSpec], axes: &[Axis], combination: &[usize]) -> Result<Vec<BoxSpec>, AxisError> {
    let mut out = boxes.to_vec();
    for (axis, at) in axes.iter().zip(combination) {
        let fail = |message: String| AxisError { axis: axis.key.clone(), message };
        let value = axis.values.get(*at).ok_or_else(|| fail(format!("has {} values, and no value {}", axis.values.len(), at + 1)))?;
        let Target::Box { index, setting } = axis.target else { continue };
        let one = out.get_mut(index).ok_or_else(|| fail(format!("the path has no box {}", index + 1)))?;
        let done = match &mut one.policy {
            BoxPolicy::Conntrack(policy) => policy.set(setting, value).map(drop),
            BoxPolicy::Ipvs(policy) => policy.set(setting, value).map(drop),
            BoxPolicy::Idle(policy) => policy.set(setting, value).map(drop),
        };
        done.map_err(|error| fail(error.to_string()))?;
    }
    Ok(out)
}

/// The hosts' keepalive idle time in a combination; nothing where it is not varied.
pub fn keepalive(axes: &[Axis], combination: &[usize]) -> Option<Duration> {
    let (axis, at) = axes.iter().zip(combination).find(|(axis, _)| axis.target == Target::Keepalive)?;
    axis.values.get(*at)?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_their_ends_and_rise() {
        assert_eq!(spread(1, 1000, Shape::Log(4)), Ok(vec![1, 10, 100, 1000]));
        assert_eq!(spread(300, 900, Shape::Lin(3)), Ok(vec![300, 600, 900]));
        assert_eq!(spread(60, 200, Shape::Step(60)), Ok(vec![60, 120, 180]));
        assert_eq!(spread(5, 5, Shape::Log(20)), Ok(vec![5]));
        assert_eq!(spread(1, 3, Shape::Log(20)), Ok(vec![1, 2, 3]));
        assert!(spread(1, u64::from(u32::MAX), Shape::Step(1)).is_err());
    }
}
