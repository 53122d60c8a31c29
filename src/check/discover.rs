//! What a file is for the gate, by its name and, where the name is not enough, by its text; and which policy file is a capture's.
//!
//! Nothing here opens a file: names and texts are handed in.

use crate::policy::{self, dump};
use serde_json::Value;

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum What {
    /// A scenario.
    Scenario,
    /// A capture.
    Capture,
    /// A policy.
    Policy,
    /// Nothing of ours.
    Other,
}

/// What a name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// A capture.
    Capture,
    /// JSON: its keys decide.
    Json,
    /// A text that is a policy by its name.
    Policy,
    /// A text that is a policy if it sets something of a box.
    Text,
    /// Nothing of ours.
    Other,
}

/// What captures end in.
const CAPTURES: [&str; 3] = [".pcap", ".pcapng", ".cap"];
/// What compressed captures end in, behind that.
const COMPRESSED: [&str; 2] = [".gz", ".zst"];
/// What policies may end in behind `.policy`.
const POLICIES: [&str; 5] = [".json", ".conf", ".sysctl", ".txt", ".yaml"];

/// Behind the last slash.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A capture's name without what says that it is one; nothing for any other file.
fn stem(name: &str) -> Option<&str> {
    let lower = name.to_ascii_lowercase();
    let plain = COMPRESSED.iter().find_map(|ending| lower.strip_suffix(ending)).unwrap_or(&lower);
    let stem = CAPTURES.iter().find_map(|ending| plain.strip_suffix(ending))?;
    name.get(..stem.len()).filter(|stem| !stem.is_empty())
}

/// What a file is by its name alone.
pub fn by_name(path: &str) -> Named {
    let name = base(path).to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if stem(&name).is_some() {
        Named::Capture
    } else if ends(&[".json"]) {
        Named::Json
    } else if name == "policy" || name.ends_with(".policy") || name.starts_with("policy.") && ends(&POLICIES) || is_policy_of(&name) {
        Named::Policy
    } else if ends(&[".conf", ".sysctl", ".yaml", ".yml"]) {
        Named::Text
    } else {
        Named::Other
    }
}

/// `ssh.policy.conf`.
fn is_policy_of(name: &str) -> bool {
    POLICIES.iter().any(|ending| name.strip_suffix(ending).is_some_and(|rest| rest.ends_with(".policy")))
}

/// Whether bytes begin like a capture, compressed or not.
pub fn is_capture(head: &[u8]) -> bool {
    matches!(
        head,
        [0xa1, 0xb2, 0xc3, 0xd4 | 0xcd, ..]
            | [0xd4, 0xc3, 0xb2, 0xa1, ..]
            | [0xa1, 0xb2, 0x3c, 0x4d, ..]
            | [0x4d, 0x3c, 0xb2, 0xa1, ..]
            | [0x0a, 0x0d, 0x0d, 0x0a, ..]
            | [0x1f, 0x8b, ..]
            | [0x28, 0xb5, 0x2f, 0xfd, ..]
    )
}

/// Keys of a scenario. One of them alone may be anything's.
const SCENARIO: [&str; 11] =
    ["title", "duration", "client", "server", "script", "path", "population", "expect", "variants", "events", "links"];
/// Keys that make a scenario of what else looks like a policy.
const STORY: [&str; 7] = ["title", "duration", "client", "server", "script", "population", "variants"];
const BOXES: [&str; 4] = ["conntrack", "ipvs", "idle", "preset"];

/// What a JSON text is.
///
/// # Errors
/// That it is no JSON: the line, and what is wrong.
pub fn json(text: &str) -> Result<What, (usize, String)> {
    let value: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| (error.line(), error.to_string()))?;
    let is_box = |value: &Value| match value {
        Value::Object(map) => BOXES.iter().any(|key| map.contains_key(*key)),
        Value::String(text) => text.starts_with('@') || policy::parse_short(text).is_ok(),
        _ => false,
    };
    Ok(match &value {
        // What this program wrote for machines.
        Value::Object(map) if map.get("schema").and_then(Value::as_str).is_some_and(|schema| schema.starts_with("flowlapse-")) => {
            What::Other
        }
        Value::Object(map) => {
            let keys = SCENARIO.iter().filter(|key| map.contains_key(**key)).count();
            let path = map.get("path").and_then(Value::as_array);
            if keys > 1 && STORY.iter().any(|key| map.contains_key(*key)) {
                What::Scenario
            } else if path.is_some() || is_box(&value) {
                What::Policy
            } else {
                What::Other
            }
        }
        Value::Array(items) if items.iter().any(is_box) => What::Policy,
        _ => What::Other,
    })
}

/// What a text is that is no JSON: a policy if it sets something of a box.
///
/// # Errors
/// A setting that is misspelt or makes no sense.
pub fn text(text: &str, name: &str) -> Result<What, policy::SpecError> {
    let found = dump::read(text, name)?;
    Ok(if found.boxes(name).is_empty() { What::Other } else { What::Policy })
}

/// The names that a capture's policy may have, level by level: first those of its own, then, in its folder and in each one above up
/// to `root`, those that hold for all captures there. Folders have slashes; the empty one is the current one.
pub fn policies(capture: &str, root: &str) -> Vec<Vec<String>> {
    let name = base(capture);
    let folder = capture.strip_suffix(name).unwrap_or_default();
    let all = |stem: String| -> Vec<String> {
        std::iter::once(stem.clone()).chain(POLICIES.iter().map(|ending| format!("{stem}{ending}"))).collect()
    };
    let mut levels = Vec::new();
    let own = stem(name).unwrap_or(name);
    levels.push(all(format!("{folder}{own}.policy")));
    let root = if root.is_empty() || root.ends_with('/') { root.to_owned() } else { format!("{root}/") };
    let mut here = folder.to_owned();
    loop {
        levels.push(all(format!("{here}policy")));
        if here.len() <= root.len() || !here.starts_with(&root) {
            return levels;
        }
        let shorter = here.trim_end_matches('/');
        here = shorter.strip_suffix(base(shorter)).unwrap_or_default().to_owned();
    }
}

/// The policy of a capture among the names that exist; nothing where there is none.
///
/// # Errors
/// Two of one level.
pub fn policy_of(capture: &str, root: &str, exists: &dyn Fn(&str) -> bool) -> Result<Option<String>, String> {
    for level in policies(capture, root) {
        let found: Vec<String> = level.into_iter().filter(|name| exists(name)).collect();
        match &found[..] {
            [] => {}
            [one] => return Ok(Some(one.clone())),
            [one, other, ..] => return Err(format!("{capture}: {one} and {other} are both its policy: keep one")),
        }
    }
    Ok(None)
}

/// The policy of a capture that has none by its name: the only one in its folder, or else in the nearest folder above that has any.
/// `known` are the policies that were found, in any order.
///
/// # Errors
/// That there are several, with two of them.
pub fn only_policy(capture: &str, root: &str, known: &[&str]) -> Result<Option<String>, String> {
    let folder = |name: &str| name.rfind('/').map_or(0, |at| at + 1);
    let mut here = &capture[..folder(capture)];
    loop {
        let mut found: Vec<&str> = known.iter().copied().filter(|name| &name[..folder(name)] == here).collect();
        found.sort_unstable();
        match found[..] {
            [] => {}
            [one] => return Ok(Some(one.to_owned())),
            [one, other, ..] => {
                let count = found.len();
                return Err(format!(
                    "{capture}: which of the {count} policies of its folder is its own, {one} or {other}? Call it policy or NAME.policy with \
                     its ending, or give --policy"
                ));
            }
        }
        if here.len() <= root.len() || here.is_empty() {
            return Ok(None);
        }
        here = &here[..folder(here.trim_end_matches('/'))];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_say_what_a_file_is() {
        for (name, what) in [
            ("a/ssh.pcap.zst", Named::Capture),
            ("SSH.PCAPNG", Named::Capture),
            ("x.cap.gz", Named::Capture),
            (".pcap", Named::Other),
            ("policy.json", Named::Json),
            ("gw/policy", Named::Policy),
            ("ssh.policy", Named::Policy),
            ("ssh.policy.txt", Named::Policy),
            ("policy.txt", Named::Policy),
            ("90-conntrack.conf", Named::Text),
            ("kube-proxy.yml", Named::Text),
            ("notes.txt", Named::Other),
            ("policy.md", Named::Other),
        ] {
            assert_eq!(by_name(name), what, "{name}");
        }
        for (text, what) in [
            (r#"{"title": "x", "duration": 3}"#, What::Scenario),
            (r#"{"titel": "x", "duration": 3, "path": []}"#, What::Scenario),
            (r#"{"path": ["conntrack"], "expect": {}}"#, What::Policy),
            (r#"{"path": ["conntrack"], "expct": {}}"#, What::Policy),
            (r#"{"conntrack": {}}"#, What::Policy),
            (r#"["aws-nlb"]"#, What::Policy),
            (r#"["apple"]"#, What::Other),
            (r#"{"name": "x", "title": "y"}"#, What::Other),
            (r#"{"path": "src/lib.rs", "line": 3}"#, What::Other),
            (r#"{"schema": "flowlapse-check/1", "path": [], "title": ""}"#, What::Other),
            ("3", What::Other),
        ] {
            assert_eq!(json(text), Ok(what), "{text}");
        }
        assert_eq!(json("{\n x").map_err(|(line, _)| line), Err(2));
    }

    #[test]
    fn the_nearest_policy_counts() {
        let has = |names: &'static [&'static str]| move |name: &str| names.contains(&name);
        let of = |names, root| policy_of("a/b/ssh.pcap.zst", root, &has(names));
        assert_eq!(of(&["a/b/ssh.policy.conf", "a/b/policy.json"], "a"), Ok(Some("a/b/ssh.policy.conf".to_owned())));
        assert_eq!(of(&["a/policy.json", "policy.json"], "a"), Ok(Some("a/policy.json".to_owned())));
        assert_eq!(of(&["policy.json"], "a"), Ok(None));
        assert_eq!(of(&["policy.json"], ""), Ok(Some("policy.json".to_owned())));
        assert_eq!(of(&["a/policy.json"], "a/b/"), Ok(None));
        assert!(of(&["a/b/policy.json", "a/b/policy.conf"], "a").is_err_and(|error| error.contains("keep one")));
        assert_eq!(policy_of("ssh.pcap", "", &has(&["policy"])), Ok(Some("policy".to_owned())));
        assert_eq!(policy_of("/x/ssh.pcap", "/x/", &has(&["/policy"])), Ok(None));
        let only = |known: &[&str]| only_policy("a/b/ssh.pcap", "a/", known).map(Option::unwrap_or_default).map_err(|_| ());
        assert_eq!(only(&["a/b/gw.conf", "a/x.conf"]).as_deref(), Ok("a/b/gw.conf"));
        assert_eq!(only(&["a/x.conf", "a/b/c/gw.conf"]).as_deref(), Ok("a/x.conf"));
        assert_eq!(only(&["x.conf", "a/c/gw.conf"]).as_deref(), Ok(""));
        assert_eq!(only(&["a/b/gw.conf", "a/b/x.conf"]), Err(()));
    }
}
