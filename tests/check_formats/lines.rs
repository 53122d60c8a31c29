//! What people see of a run on GitHub: annotations and the job summary, whole, and whatever the names are.

use crate::made::{self, HOSTILE};
use flowlapse::check::{Case, Checked, Kind};
use flowlapse::finding::Verdict;
use flowlapse::report::check::{github, markdown, sarif};
use flowlapse::study::audit::rule::{Rule, Severity};
use proptest::prelude::*;

/// The runner's way back from an escaped text.
fn back(text: &str) -> String {
    text.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
}

/// A workflow command as the runner reads it: its level, its properties, its message.
type Command = (String, Vec<(String, String)>, String);

/// Reads a line as the runner does.
fn command(line: &str) -> Command {
    let (head, message) = line.strip_prefix("::").and_then(|rest| rest.split_once("::")).unwrap_or_else(|| panic!("no command: {line}"));
    let (level, properties) = head.split_once(' ').unwrap_or_else(|| panic!("no properties: {line}"));
    assert!(["error", "warning", "notice"].contains(&level), "{line}");
    let properties = properties.split(',').map(|property| {
        let (name, value) = property.split_once('=').unwrap_or_else(|| panic!("no property: {line}"));
        assert!(["file", "line", "title"].contains(&name), "{line}");
        (name.to_owned(), back(value))
    });
    (level.to_owned(), properties.collect(), back(message))
}

fn commands(checked: &Checked) -> Vec<Command> {
    let text = github::write(checked);
    assert!(text.is_empty() || text.ends_with('\n'));
    assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains(['\u{202e}', '\u{2028}']), "{text:?}");
    let commands: Vec<_> = text.split_terminator('\n').map(command).collect();
    for level in ["error", "warning", "notice"] {
        assert!(commands.iter().filter(|command| command.0 == level).count() <= github::SHOWN, "{text}");
    }
    commands
}

/// The summary as a browser would get it, as far as it matters: no tag but those that belong there, every table row whole.
fn harmless(checked: &Checked) -> String {
    let text = markdown::write(checked);
    assert!(text.len() <= markdown::BYTES_MAX, "{} bytes", text.len());
    assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains(['\u{202e}', '\u{2028}']));
    for (at, _) in text.match_indices('<') {
        let known = ["<details><summary>", "<summary>", "</summary>", "</details>", "<pre>", "</pre>"];
        assert!(known.iter().any(|tag| text[at..].starts_with(tag)), "{}", text[at..].chars().take(40).collect::<String>());
    }
    assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
    let mut pre = false;
    for line in text.lines() {
        pre |= line.starts_with("<pre>");
        if !pre {
            assert!(!line.contains('`') && !line.contains("](") && !line.contains("://") && !line.contains("www."), "{line}");
            assert!(line.match_indices('@').next().is_none(), "{line}");
            if line.starts_with('|') {
                assert!([5, 6].contains(&line.matches('|').count()), "{line}");
            }
        }
        pre &= !line.ends_with("</pre>");
    }
    assert!(!pre);
    text
}

#[test]
fn annotations_of_the_story() {
    assert_eq!(github::write(&made::story()), include_str!("github.txt"));
}

#[test]
fn the_summary_of_the_story() {
    assert_eq!(harmless(&made::story()), include_str!("summary.md"));
}

#[test]
fn a_run_without_findings_says_so_and_annotates_nothing() {
    let quiet = made::checked(vec![made::case("a.json", Kind::Scenario, Vec::new())]);
    assert_eq!(github::write(&quiet), "");
    assert!(harmless(&quiet).starts_with("## flowlapse check: all as it should be, 1 case\n"));
}

#[test]
fn a_policy_of_the_command_line_is_no_file() {
    let mut checked = made::checked(vec![made::case("a.pcap", Kind::Capture, Vec::new())]);
    let mut lint = made::lint(Rule::NoPickup, Severity::Error, true);
    (lint.policy, lint.places) = ("--policy conntrack".to_owned(), Vec::new());
    checked.lint.push(lint);
    let found = commands(&checked);
    assert_eq!(found[0].1, [("title".to_owned(), "flowlapse: no-pickup".to_owned())]);
    let place = &sarif::document(&checked)["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a.pcap");
}

#[test]
fn what_one_line_expects_is_one_annotation() {
    let mut checked = made::story();
    let unmet = checked.cases[1].unmet[0].clone();
    checked.cases[1].unmet = vec![unmet; 20];
    let found = commands(&checked);
    assert_eq!(found.len(), 3);
    assert!(found[1].2.lines().count() == 13 && found[1].2.ends_with("\nand 8 more"), "{}", found[1].2);
}

#[test]
fn nothing_from_outside_breaks_them() {
    let checked = made::hostile(HOSTILE);
    let found = commands(&checked);
    assert!(found.iter().any(|command| command.0 == "notice") && found.iter().any(|command| command.2.contains("100% ")));
    let text = harmless(&checked);
    for part in ["### Could not be run", "### Where", "### What fails", "### Against", "### Policy lint", "The same answer anywhere"] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn too_many_causes_are_summed_up() {
    let found = commands(&made::large());
    assert_eq!(found.len(), github::SHOWN);
    assert_eq!(found[9].1, [("title".to_owned(), "flowlapse: 51 more".to_owned())]);
    assert_eq!(found[0].1[2].1, "flowlapse: 200 sessions cut");
    assert!(found[0].2.contains("\nand 195 more\n"), "{}", found[0].2);
    let text = harmless(&made::large());
    assert!(text.contains("and 10 more") && text.contains("failing cases are left out") && text.contains("and 11950 more"));
}

#[test]
fn a_summary_of_long_texts_stays_below_the_limit() {
    let mut checked = made::hostile(&HOSTILE.repeat(40));
    checked.cases = checked.cases.iter().cycle().take(120).cloned().collect();
    checked.lint = checked.lint.iter().cycle().take(200).cloned().collect();
    let text = harmless(&checked);
    for part in ["### Where", "### What fails", "### Against", "### Policy lint", "The same answer anywhere"] {
        assert!(text.contains(part), "{part}");
    }
}

fn one(name: &str, file: &str) -> Checked {
    let mut case: Case =
        made::case(file, Kind::Capture, vec![made::session(name, Verdict::Cut, true), made::session(name, Verdict::Cut, true)]);
    name.clone_into(&mut case.title);
    if let Some(timer) = &mut case.sessions[1].timer {
        (timer.at, timer.label) = (Some(made::at(file, 2)), name.to_owned());
    }
    made::checked(vec![case])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_name_breaks_a_line(name in "\\PC*|[\\x00-\\x7f\u{202e}\u{2028}@#|`<>%:,\\[\\]()]{0,40}", file in "[a-z%:,\\n\\r /.|<]{1,20}") {
        let checked = one(&name, &file);
        let found = commands(&checked);
        prop_assert_eq!(found.len(), 2);
        for (level, properties, _) in found {
            prop_assert_eq!(level, "error");
            prop_assert_eq!(properties.len(), 3);
        }
        harmless(&checked);
    }

    #[test]
    fn escaping_has_a_way_back(text in "(?s).*|[%0-9ADC:,\\n\\r]{0,30}") {
        prop_assert_eq!(back(&github::data(&text)), text.clone());
        let property = github::property(&text);
        prop_assert!(!property.contains([':', ',', '\n', '\r']));
        prop_assert_eq!(back(&property), text);
    }

    #[test]
    fn escaped_text_has_nothing_that_markdown_reads(text in "(?s).*") {
        let escaped = markdown::text(&text);
        let read = ['<', '>', '|', '`', '[', ']', '*', '_', '\\', '\n', '\r', '"', '\'', '@', '~', '$', '!'];
        prop_assert!(!escaped.contains(read), "{}", escaped);
    }
}
