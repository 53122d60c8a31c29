//! What was accepted before: a text for `git diff`, one line a case and one for each flow that does not survive.
//!
//! No timer and no time stands in it, so that a change that alters nobody's fate leaves it as it is. Every line begins with the name
//! that it is about, and lines are sorted, so that hunks and merges are about one case each. Reading is strict.

use crate::finding::Verdict;
use crate::net::Proto;
use crate::policy::hint::nearest;
use crate::study::audit::rule::{Rule, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// The first line of the file.
pub const HEAD: &str = "# flowlapse baseline 1";
const ABOUT: &str =
    "# What was accepted, by 'flowlapse check --update-baseline'. One line a case, and one for each flow that does not survive.";

/// Whose timer decided, in words that outlive a change of values: the kind of box or the preset, and the timer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct By {
    /// `conntrack`, `ipvs`, `idle`, or a preset's name.
    pub whose: String,
    /// `established`, `max_retrans`.
    pub timer: String,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.whose, self.timer)
    }
}

/// What became of one flow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fate {
    /// Its verdict.
    pub verdict: Verdict,
    /// By which timer, where one decided.
    pub by: Option<By>,
}

/// What is known of one case.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Known {
    /// How many flows it has.
    pub flows: u64,
    /// How many of them have each verdict, where single flows are not listed; the survivors are not counted.
    pub counts: Option<[u64; Verdict::ALL.len()]>,
    /// The flows that do not survive, by name: `tcp 10.0.1.2:54964 > 10.0.2.2:22`, behind it ` #2` where it is the second with these
    /// ends; the only flow of a scenario has no name.
    pub fates: BTreeMap<String, Fate>,
}

/// A finding about a policy: the rule, how bad it is, and the how manyth of its kind.
pub type LintKey = (Severity, Rule, u32);

/// Everything that was accepted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Accepted {
    /// The cases by name.
    pub cases: BTreeMap<String, Known>,
    /// Findings about policies, by the policy's name.
    pub lint: BTreeMap<String, BTreeSet<LintKey>>,
}

/// A number of flows in words.
pub(super) fn flows(count: u64) -> String {
    if count == 1 { "1 flow".to_owned() } else { format!("{count} flows") }
}

/// A name as it stands in a line: as it is, or in quotes where it could be taken for something else.
fn quoted(name: &str) -> String {
    let odd = name.is_empty()
        || name.starts_with(['"', '#', '<', '=', '>', '|', ' '])
        || name.ends_with([':', ' '])
        || name.contains(": ")
        || name.chars().any(char::is_control);
    if odd { serde_json::Value::from(name).to_string() } else { name.to_owned() }
}

/// Writes it, sorted.
pub fn write(accepted: &Accepted) -> String {
    let mut lines = Vec::new();
    for (name, known) in &accepted.cases {
        let name = quoted(name);
        let mut head = format!("{name}: {}", flows(known.flows));
        for (verdict, count) in Verdict::ALL.iter().zip(known.counts.unwrap_or_default()) {
            if count > 0 && *verdict != Verdict::Survives {
                head.push_str(&format!(", {count} {}", verdict.name()));
            }
        }
        lines.push(head);
        for (flow, fate) in &known.fates {
            let by = fate.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
            let blank = if flow.is_empty() { "" } else { " " };
            lines.push(format!("{name}: {}{blank}{flow}{by}", fate.verdict.name()));
        }
    }
    for (policy, found) in &accepted.lint {
        for (severity, rule, nth) in found {
            let nth = if *nth > 1 { format!(" #{nth}") } else { String::new() };
            lines.push(format!("{}: lint {} {}{nth}", quoted(policy), severity.name(), rule.id()));
        }
    }
    lines.sort_unstable();
    let mut text = format!("{HEAD}\n{ABOUT}\n");
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Reads it; `file` is what complaints call it.
///
/// # Errors
/// The first line that is wrong, and what would be right.
pub fn parse(text: &str, file: &str) -> Result<Accepted, String> {
    let mut reader = Reader::default();
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate().map(|(at, line)| (at + 1, line.trim_end()));
    match lines.next() {
        Some((_, HEAD)) => {}
        Some((_, other)) if other.starts_with("# flowlapse baseline ") => {
            return Err(format!("{file}:1: this flowlapse reads baselines of version 1 ('{HEAD}'); make it anew with --update-baseline"));
        }
        _ => return Err(format!("{file}:1: no baseline: the first line has to be '{HEAD}', as --update-baseline writes it")),
    }
    let mut seen = BTreeSet::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let fail = |what: String| format!("{file}:{number}: {what}");
        if ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|mark| line.starts_with(mark)) {
            return Err(fail(
                "a merge left a conflict here: keep the lines that hold, or make the file anew with --update-baseline".to_owned(),
            ));
        }
        if !seen.insert(line) {
            return Err(fail("this line stands there twice: keep one".to_owned()));
        }
        let (name, rest) = split(line).ok_or_else(|| fail(format!("{SHAPE}; found '{line}'")))?;
        reader.line(&name, rest, number).map_err(fail)?;
    }
    match reader.listed.iter().find(|(name, _)| !reader.counted.contains(*name)) {
        Some((name, number)) => Err(format!("{file}:{number}: the line '{}: N flows' of this case is missing", quoted(name))),
        None => Ok(reader.accepted),
    }
}

const SHAPE: &str = "expected 'NAME: 3 flows', 'NAME: cut tcp 10.0.0.1:5000 > 10.0.0.2:22 by conntrack established' or 'NAME: lint error keepalive-too-late'";

/// The name and what is said of it.
fn split(line: &str) -> Option<(String, &str)> {
    if line.starts_with('"') {
        let mut stream = serde_json::Deserializer::from_str(line).into_iter::<String>();
        let name = stream.next()?.ok()?;
        let rest = line.get(stream.byte_offset()..)?.strip_prefix(": ")?;
        return Some((name, rest));
    }
    line.split_once(": ").filter(|(name, _)| !name.is_empty()).map(|(name, rest)| (name.to_owned(), rest))
}

#[derive(Default)]
struct Reader {
    accepted: Accepted,
    /// The cases whose own line was read.
    counted: BTreeSet<String>,
    /// The cases of which a flow was read, with that line: sorted, it may stand before the case's own.
    listed: BTreeMap<String, usize>,
}

impl Reader {
    /// Takes what one line says.
    fn line(&mut self, name: &str, rest: &str, number: usize) -> Result<(), String> {
        let first = rest.split(' ').next().unwrap_or_default();
        if first == "lint" {
            let found = lint(rest)?;
            let is_new = self.accepted.lint.entry(name.to_owned()).or_default().insert(found);
            return if is_new { Ok(()) } else { Err("this finding stands there twice: keep one".to_owned()) };
        }
        let known = self.accepted.cases.entry(name.to_owned()).or_default();
        if first.starts_with(|c: char| c.is_ascii_digit()) {
            if !self.counted.insert(name.to_owned()) {
                return Err(format!("'{name}' has a line with its flows already: keep one"));
            }
            (known.flows, known.counts) = counts(rest)?;
            return Ok(());
        }
        let verdict = Verdict::from_name(first).filter(|verdict| *verdict != Verdict::Survives).ok_or_else(|| {
            let words = Verdict::ALL.iter().map(|verdict| verdict.name()).filter(|name| *name != "survives").chain(["lint"]);
            match nearest(first, words) {
                Some(meant) => format!("'{first}' is no verdict; did you mean '{meant}'?"),
                None => format!("'{first}' is no verdict; {SHAPE}"),
            }
        })?;
        let said = rest[first.len()..].trim_start();
        let (flow, by) = match said.strip_prefix("by ") {
            Some(by) => ("", Some(by)),
            None => said.split_once(" by ").map_or((said, None), |(flow, by)| (flow, Some(by))),
        };
        check_flow(flow)?;
        let by = by.map(decided).transpose()?;
        self.listed.entry(name.to_owned()).or_insert(number);
        if known.fates.insert(flow.to_owned(), Fate { verdict, by }).is_some() {
            return Err("this flow stands there twice: keep one line; a second flow with these ends has ' #2' behind them".to_owned());
        }
        Ok(())
    }
}

fn decided(text: &str) -> Result<By, String> {
    let mut words = text.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some(whose), Some(timer), None) if !whose.is_empty() && !timer.is_empty() => {
            Ok(By { whose: whose.to_owned(), timer: timer.to_owned() })
        }
        _ => Err(format!("'by {text}': expected a box and a timer, as 'by conntrack established'")),
    }
}

fn check_flow(flow: &str) -> Result<(), String> {
    if flow.is_empty() {
        return Ok(());
    }
    let wrong = || format!("'{flow}' is no flow; expected 'tcp 10.0.0.1:5000 > 10.0.0.2:22', with ' #2' behind the second with these ends");
    let mut words = flow.split(' ');
    let is_proto = |word: &str| [Proto::Tcp, Proto::Udp].iter().any(|proto| proto.name() == word);
    let is_sock = |word: &str| word.parse::<SocketAddr>().is_ok();
    let fits = words.next().is_some_and(is_proto)
        && words.next().is_some_and(is_sock)
        && words.next() == Some(">")
        && words.next().is_some_and(is_sock)
        && words.next().is_none_or(|nth| nth.strip_prefix('#').and_then(|nth| nth.parse().ok()).is_some_and(|nth: u32| nth > 1))
        && words.next().is_none();
    if fits { Ok(()) } else { Err(wrong()) }
}

type Counts = (u64, Option<[u64; Verdict::ALL.len()]>);

fn counts(text: &str) -> Result<Counts, String> {
    let mut parts = text.split(", ");
    let wrong = |part: &str| format!("'{part}': expected a count, as '13 flows' or '10000 flows, 412 cut'");
    let number = |part: &str, word: &dyn Fn(&str) -> bool| {
        part.split_once(' ').filter(|(_, what)| word(what)).and_then(|(count, _)| count.parse::<u64>().ok())
    };
    let head = parts.next().unwrap_or_default();
    let flows = number(head, &|what| what == "flows" || what == "flow").ok_or_else(|| wrong(head))?;
    let mut found: Option<[u64; Verdict::ALL.len()]> = None;
    for part in parts {
        let verdict = part.split_once(' ').and_then(|(_, what)| Verdict::from_name(what)).filter(|verdict| *verdict != Verdict::Survives);
        let count = number(part, &|_| true).filter(|count| *count > 0 && *count <= flows);
        let (Some(verdict), Some(count)) = (verdict, count) else { return Err(wrong(part)) };
        let place = &mut found.get_or_insert_default()[verdict as usize];
        if *place > 0 {
            return Err(format!("'{part}': {} is counted twice: keep one", verdict.name()));
        }
        *place = count;
    }
    Ok((flows, found))
}

fn lint(text: &str) -> Result<LintKey, String> {
    let mut words = text.split(' ').skip(1);
    let severity = words.next().unwrap_or_default();
    let rule = words.next().unwrap_or_default();
    let nth = words.next().map_or(Some(1), |nth| nth.strip_prefix('#').and_then(|nth| nth.parse().ok()).filter(|nth: &u32| *nth > 1));
    let severity = Severity::from_name(severity)
        .filter(|severity| *severity > Severity::Info)
        .ok_or_else(|| format!("'{severity}' is no severity here; there are error and warning"))?;
    let rule = Rule::from_id(rule).ok_or_else(|| match nearest(rule, Rule::ALL.iter().map(|rule| rule.id())) {
        Some(meant) => format!("'{rule}' is no rule of the audit; did you mean '{meant}'?"),
        None => format!("'{rule}' is no rule of the audit; docs/audit.md lists them"),
    })?;
    match (nth, words.next()) {
        (Some(nth), None) => Ok((severity, rule, nth)),
        _ => Err(format!("'{text}': expected 'lint {} {}', with ' #2' behind the second of a kind", severity.name(), rule.id())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# flowlapse baseline 1\n\n\"a: b.pcap\": 1 flow\ngw/big.pcap: 10000 flows, 412 cut, 3 dormant\n\
        gw/ssh.pcap: 13 flows\ngw/ssh.pcap: cut tcp 10.0.1.2:54964 > 10.0.2.2:22 #2 by conntrack established\n\
        gw/ssh.pcap: cut tcp 10.0.1.2:54964 > 10.0.2.2:22 by conntrack established\ngw/x.conf: lint error keepalive-too-late\n\
        s.json # no keepalive: 1 flow\ns.json # no keepalive: dormant by ipvs tcp\ns.json: 0 flows\n";

    #[test]
    fn what_is_written_is_read() {
        let accepted = parse(TEXT, "base").expect("a baseline");
        assert_eq!(accepted.cases.len(), 5);
        let written = write(&accepted);
        assert_eq!(parse(&written, "base"), Ok(accepted.clone()));
        assert_eq!(write(&parse(&written, "base").expect("a baseline")), written);
        let lines = |text: &str| text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&written), lines(TEXT));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (line, told) in [
            ("nonsense", "expected 'NAME: 3 flows'"),
            ("a.pcap: kut tcp 1.2.3.4:5 > 1.2.3.4:6", "did you mean 'cut'?"),
            ("a.pcap: cut tcp 1.2.3.4 > 1.2.3.4:6", "is no flow"),
            ("a.pcap: cut tcp 1.2.3.4:5 > 1.2.3.4:6 by conntrack", "expected a box and a timer"),
            ("a.pcap: 3 floos", "expected a count"),
            ("a.pcap: 3 flows, 4 cut", "expected a count"),
            ("a.pcap: lint eror keepalive-too-late", "is no severity"),
            ("a.pcap: lint error keepalive-too-lat", "did you mean 'keepalive-too-late'?"),
            ("<<<<<<< HEAD", "a merge left a conflict"),
            ("a.pcap: cut by ipvs tcp", "'a.pcap: N flows' of this case is missing"),
            ("a.pcap: survives", "is no verdict"),
        ] {
            let error = parse(&format!("{HEAD}\n{line}\n"), "base").expect_err(line);
            assert!(error.starts_with("base:2: ") && error.contains(told), "{line}: {error}");
        }
        for text in ["", "x\n", "# flowlapse baseline 2\n"] {
            assert!(parse(text, "base").is_err_and(|error| error.starts_with("base:1: ")), "{text}");
        }
    }
}
