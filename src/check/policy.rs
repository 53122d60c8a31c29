//! The policy file of a capture: its boxes, and, where it is JSON, what should come of the flows that cross them.
//!
//! Boxes are read by [`crate::policy::parse`] whatever the file's form, so that every file that `--box` takes is a policy.

use crate::decode::Filter;
use crate::engine::{Clock, Path};
use crate::finding::Verdict;
use crate::finding::which::Which;
use crate::kernel::wheel::Hz;
use crate::policy::conntrack::{Nat, Rules};
use crate::policy::{self, At, BoxPolicy, BoxSpec, SpecError};
use crate::scenario::load::{LoadError, typed};
use crate::scenario::locate::locate;
use crate::scenario::schema;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A policy of flowlapse check.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    /// Where the schema of this file is, for editors.
    #[serde(rename = "$schema", default)]
    #[allow(dead_code, reason = "it is for editors")]
    schema: Option<String>,
    /// What it is about.
    #[serde(default)]
    #[allow(dead_code, reason = "it is for people")]
    about: Option<String>,
    /// The boxes between client and server, from the client on.
    #[schemars(schema_with = "schema::path")]
    #[allow(dead_code, reason = "read by the reader of boxes")]
    path: Value,
    /// What should come of each capture that this policy is for.
    #[serde(default)]
    expect: CaptureExpect,
    /// Only packets that match, in tcpdump's words.
    #[serde(default)]
    filter: Option<String>,
    /// Timers as late as a kernel's timer wheel lets them fire; without it every timer is exact.
    #[serde(default)]
    clock: Option<ClockSpec>,
}

/// The timer wheel of the boxes' kernels.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClockSpec {
    /// Ticks a second (CONFIG_HZ): 100, 250, 300 or 1000.
    #[schemars(range(min = 1, max = 10_000))]
    hz: u32,
}

/// What should come of a capture. What is not mentioned may be anything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureExpect {
    /// At most so many flows with a verdict.
    #[serde(default)]
    #[schemars(schema_with = "counts_schema")]
    pub at_most: BTreeMap<String, u64>,
    /// At least so many flows with a verdict.
    #[serde(default)]
    #[schemars(schema_with = "counts_schema")]
    pub at_least: BTreeMap<String, u64>,
    /// Single flows.
    #[serde(default)]
    pub flows: Vec<FlowExpect>,
}

/// What should come of one flow.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowExpect {
    /// Which: a stream (tcp.3), or its ends as 10.0.0.5:51514-10.1.2.3:22.
    pub flow: String,
    /// Its verdict.
    #[schemars(schema_with = "verdict_schema")]
    pub verdict: String,
    /// The timer that decides it, in a word: established, max_retrans.
    #[serde(default)]
    pub timer: Option<String>,
}

fn verdict_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "enum": Verdict::ALL.map(Verdict::name) })
}

fn counts_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let count = json!({ "type": "integer", "minimum": 0 });
    let properties: serde_json::Map<String, Value> =
        Verdict::ALL.map(|verdict| (verdict.name().to_owned(), count.clone())).into_iter().collect();
    schemars::json_schema!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// The JSON Schema of policies that say what they expect.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<PolicyFile>().to_value();
    if let Value::Object(map) = &mut schema {
        map.insert("title".to_owned(), json!("flowlapse policy"));
    }
    schema
}

/// What is expected, ready to be compared, each with the keys that lead there.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// So many flows at most.
    pub at_most: Vec<(Verdict, u64, String)>,
    /// So many flows at least.
    pub at_least: Vec<(Verdict, u64, String)>,
    /// Single flows: which, the verdict, the timer.
    pub flows: Vec<(Which, Verdict, Option<String>, String)>,
}

impl Expected {
    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.at_most.is_empty() && self.at_least.is_empty() && self.flows.is_empty()
    }
}

/// A policy that captures can be run through.
#[derive(Clone, Debug)]
pub struct CasePolicy {
    /// The boxes.
    pub boxes: Vec<BoxSpec>,
    /// What is expected of each capture.
    pub expected: Expected,
    /// Which packets are looked at.
    pub filter: Option<Filter>,
    /// How exact timers are.
    pub clock: Clock,
    /// What had to be assumed, in sentences.
    pub assumed: Vec<String>,
    /// The file's name and text; nothing where the command line gives the boxes.
    file: Option<(Arc<str>, Arc<str>)>,
}

/// Why a policy cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyError {
    /// Where, if it is known.
    pub at: Option<At>,
    /// Everything in one line.
    pub what: String,
}

impl From<SpecError> for PolicyError {
    fn from(error: SpecError) -> PolicyError {
        let line = match error.place {
            policy::Place::Line(line) | policy::Place::Json { line, .. } => Some(line),
            _ => None,
        };
        PolicyError { at: line.map(|line| At::new(&Arc::from(error.origin.as_str()), line)), what: error.to_string() }
    }
}

impl From<LoadError> for PolicyError {
    fn from(error: LoadError) -> PolicyError {
        PolicyError { at: error.at.map(|(line, _)| At::new(&Arc::from(error.origin.as_str()), line)), what: error.to_string() }
    }
}

impl CasePolicy {
    /// Boxes of the command line.
    pub fn of_boxes(mut boxes: Vec<BoxSpec>) -> CasePolicy {
        let assumed = boxes.iter_mut().filter_map(assume_rules).collect();
        CasePolicy { boxes, expected: Expected::default(), filter: None, clock: Clock::Ideal, assumed, file: None }
    }

    /// Reads a policy file. `read` reads further files that it names.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn read(name: &str, text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<CasePolicy, PolicyError> {
        let members = members(text);
        let only = |kept: &str| {
            // Everything but the boxes is blanked, so that lines and columns stay what they are.
            if kept == name { Ok(boxes_only(text, &members).into_owned()) } else { read(kept) }
        };
        let fail = |path: &str, what: String| match locate(text, path) {
            Some((line, column)) => {
                PolicyError { at: Some(At::new(&Arc::from(name), line)), what: format!("{name}:{line}:{column}, at {path}: {what}") }
            }
            None => PolicyError { at: None, what: format!("{name}: {what}") },
        };
        let has = |key: &str| members.iter().any(|member| &text[member.key.clone()] == key);
        if let Some(key) = ["expect", "filter", "clock"].into_iter().find(|key| has(key) && !has("path")) {
            return Err(fail(key, format!("'{key}' stands beside the boxes in 'path': write {{\"path\": [{{…}}], \"{key}\": …}}")));
        }
        let mut policy = CasePolicy::of_boxes(Vec::new());
        policy.file = Some((Arc::from(name), Arc::from(text)));
        if has("path") {
            let file: PolicyFile = typed(text, name)?;
            policy.expected = expected(&file.expect).map_err(|(path, what)| fail(&path, what))?;
            policy.filter = file.filter.as_deref().map(Filter::parse).transpose().map_err(|e| fail("filter", e.to_string()))?;
            if let Some(clock) = file.clock {
                if !(1..=10_000).contains(&clock.hz) {
                    return Err(fail("clock.hz", format!("{} is not between 1 and 10000", clock.hz)));
                }
                policy.clock = Clock::Wheel { hz: Hz(clock.hz), phase: None };
            }
        }
        policy.boxes = policy::parse(&format!("@{name}"), &only)?;
        policy.assumed = policy.boxes.iter_mut().filter_map(assume_rules).collect();
        Ok(policy)
    }

    /// Its file.
    pub fn file(&self) -> Option<&str> {
        self.file.as_ref().map(|(name, _)| &**name)
    }

    /// Its file's text.
    pub fn text(&self) -> Option<&str> {
        self.file.as_ref().map(|(_, text)| &**text)
    }

    /// The line of an expectation.
    pub fn line(&self, path: &str) -> Option<At> {
        let (name, text) = self.file.as_ref()?;
        locate(text, path).map(|(line, _)| At::new(name, line))
    }

    /// The path of its boxes.
    ///
    /// # Errors
    /// A setting that makes no sense.
    pub fn path(&self) -> Result<Path, PolicyError> {
        let name = self.file().unwrap_or("--policy");
        Path::build(&self.boxes, self.clock).map_err(|error| PolicyError { at: None, what: format!("{name}: {error}") })
    }
}

/// Sysctls do not say what a gateway's rules drop, and a gate that takes them for none would be green whatever the timer: a packet
/// that meets no entry would make a new one. So a text that says nothing of rules or translation is taken for a firewall, and that is said.
fn assume_rules(one: &mut BoxSpec) -> Option<String> {
    // A text gives its settings places and the box itself none; with IPVS beside it there are two boxes of one text.
    let of_text = one.origins.whole.is_none() && one.origins.iter().next().is_some() && !one.label.ends_with(" (conntrack)");
    let BoxPolicy::Conntrack(policy) = &mut one.policy else { return None };
    let says = policy.nat != Nat::None
        || policy.rules != Rules::AcceptAll
        || one.label.split([':', ',']).any(|word| matches!(word.trim(), "accept" | "accept-all"));
    if !of_text || says {
        return None;
    }
    policy.rules = Rules::Strict;
    let name = one.label.clone();
    one.label.push_str(if name.rsplit('/').next().unwrap_or_default().contains(':') { ",strict" } else { ":strict" });
    Some(format!(
        "{name} says nothing of a rule set: it is taken to drop what conntrack does not know ({}); {name}:accept-all says that it lets it pass",
        one.label
    ))
}

/// A verdict's name, or what was probably meant.
fn verdict(name: &str) -> Result<Verdict, String> {
    Verdict::from_name(name).ok_or_else(|| {
        let known = Verdict::ALL.map(Verdict::name);
        match policy::hint::nearest(name, known) {
            Some(meant) => format!("'{name}' is no verdict; did you mean '{meant}'?"),
            None => format!("'{name}' is no verdict; there are {}", policy::hint::listed(known)),
        }
    })
}

fn expected(expect: &CaptureExpect) -> Result<Expected, (String, String)> {
    let counts = |key: &str, counts: &BTreeMap<String, u64>| {
        let one = |(name, count): (&String, &u64)| {
            let path = format!("expect.{key}.{name}");
            verdict(name).map(|verdict| (verdict, *count, path.clone())).map_err(|what| (path, what))
        };
        counts.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    let flow = |(index, flow): (usize, &FlowExpect)| -> Result<_, (String, String)> {
        let path = format!("expect.flows[{index}]");
        let which = Which::stream(Some(&flow.flow)).map_or_else(|| Which::flow(&flow.flow), Ok);
        let which = which.map_err(|what| (format!("{path}.flow"), what.replacen("--flow ", "", 1)))?;
        let verdict = verdict(&flow.verdict).map_err(|what| (format!("{path}.verdict"), what))?;
        Ok((which, verdict, flow.timer.clone(), path))
    };
    Ok(Expected {
        at_most: counts("at_most", &expect.at_most)?,
        at_least: counts("at_least", &expect.at_least)?,
        flows: expect.flows.iter().enumerate().map(flow).collect::<Result<_, _>>()?,
    })
}

/// A member of the object at the top of a text: its key, and everything from there to the end of its value.
struct Member {
    key: std::ops::Range<usize>,
    whole: std::ops::Range<usize>,
}

/// The members of the object at the top; none where the text is no object, or no JSON.
fn members(text: &str) -> Vec<Member> {
    if !text.trim_start_matches('\u{feff}').trim_start().starts_with('{') || serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return Vec::new();
    }
    let bytes = text.as_bytes();
    let mut members: Vec<Member> = Vec::new();
    let (mut at, mut depth, mut is_key) = (0, 0_usize, false);
    while let Some(byte) = bytes.get(at) {
        let from = at;
        at += 1;
        match byte {
            b'"' => {
                while let Some(inner) = bytes.get(at).filter(|inner| **inner != b'"') {
                    at += 1 + usize::from(*inner == b'\\');
                }
                at += 1;
                if depth == 1 && is_key {
                    members.push(Member { key: from + 1..at - 1, whole: from..at });
                    is_key = false;
                }
            }
            b'{' | b'[' => {
                depth += 1;
                is_key = depth == 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => {
                is_key = true;
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            _ => {}
        }
        if let Some(last) = members.last_mut().filter(|_| depth > 0) {
            last.whole.end = at;
        }
    }
    members
}

/// The text with everything blanked that stands beside `path`.
fn boxes_only<'t>(text: &'t str, members: &[Member]) -> Cow<'t, str> {
    if !members.iter().any(|member| &text[member.key.clone()] == "path") {
        return Cow::Borrowed(text);
    }
    let kept: Vec<&Member> = members.iter().filter(|member| &text[member.key.clone()] == "path").collect();
    let inside = |at: usize| kept.iter().any(|member| member.whole.contains(&at));
    let mut depth_done = false;
    let blanked = text.char_indices().map(|(at, c)| {
        let brace = (c == '{' && !std::mem::replace(&mut depth_done, true)) || at + 1 == text.trim_end().len();
        if inside(at) || brace || c == '\n' || c == '\u{feff}' { c } else { ' ' }
    });
    Cow::Owned(blanked.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CasePolicy, PolicyError> {
        let name = if text.starts_with("net.") { "gw/policy.conf" } else { "gw/policy.json" };
        CasePolicy::read(name, text, &|_| Err("no file".to_owned()))
    }

    #[test]
    fn what_stands_beside_the_path_is_taken_out_and_lines_stay() {
        let text = "{\n  \"expect\": {\"at_most\": {\"cut\": 0}, \"flows\": [{\"flow\": \"tcp.3\", \"verdict\": \"cut\"}]},\n  \"path\": [\n    {\"conntrack\": {\"established\": 600}}\n  ],\n  \"filter\": \"tcp port 22\", \"clock\": {\"hz\": 250}\n}\n";
        let policy = read(text).expect("a policy");
        assert_eq!(policy.boxes.len(), 1);
        assert_eq!(policy.expected.at_most, [(Verdict::Cut, 0, "expect.at_most.cut".to_owned())]);
        assert_eq!(policy.line("expect.flows[0]").map(|at| at.line), Some(2));
        assert!(policy.filter.is_some());
        assert_eq!(policy.clock, Clock::Wheel { hz: Hz(250), phase: None });
        let wrong = text.replace("established", "establishd");
        let error = read(&wrong).expect_err("misspelt");
        assert!(error.what.starts_with("gw/policy.json:4:") && error.what.contains("established"), "{error:?}");
    }

    #[test]
    fn boxes_alone_are_a_policy_in_every_form() {
        for text in ["[\"conntrack\"]", "{\"conntrack\": {}}", "\"aws-nlb\"", "net.netfilter.nf_conntrack_tcp_timeout_established=600\n"] {
            let policy = read(text).expect(text);
            assert!(policy.expected.is_empty() && policy.boxes.len() == 1, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, told) in [
            ("{\"path\": [\"conntrack\"], \"expct\": {}}", "did you mean 'expect'?"),
            (
                "{\"path\": [\"conntrack\"],\n \"expect\": {\"at_most\": {\"kut\": 1}}}",
                "gw/policy.json:2:32, at expect.at_most.kut: 'kut' is no verdict; did you mean 'cut'?",
            ),
            ("{\"path\": [\"conntrack\"], \"expect\": {\"flows\": [{\"flow\": \"x\", \"verdict\": \"cut\"}]}}", "expected a stream"),
            ("{\"conntrack\": {}, \"expect\": {}}", "stands beside the boxes in 'path'"),
            ("{\"path\": [\"conntrack\"], \"filter\": \"tcp prt 22\"}", "at filter"),
            ("{\"path\": [\"conntrack\"], \"clock\": {\"hz\": 0}}", "not between 1 and 10000"),
            ("{\"path\": [", "gw/policy.json:1:"),
            ("{\"path\": []}", "the path has no box"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.what.contains(told), "{text}: {}", error.what);
        }
    }
}
