//! JUnit XML: valid by the schema of Jenkins' xUnit plugin, and it says what is to be said.

use crate::made::{self, HOSTILE};
use flowlapse::check::Checked;
use flowlapse::report::check::junit;
use std::io::Write;
use std::process::{Command, Stdio};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check_formats/schema/junit-10.xsd");

/// What xmllint says against a document; nothing where it is valid, or where there is no xmllint.
fn wrong(text: &str) -> Option<String> {
    let mut command = Command::new("xmllint");
    command.args(["--noout", "--nonet", "--schema", SCHEMA, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            // Past the test runner, which keeps what a passing test prints.
            let said = format!("\n*** JUnit XML IS NOT VALIDATED: xmllint (libxml2-utils) does not start: {error} ***\n");
            std::io::stderr().write_all(said.as_bytes()).expect("stderr");
            assert!(std::env::var_os("CI").is_none(), "{said}");
            return None;
        }
    };
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("xmllint reads");
    let output = child.wait_with_output().expect("xmllint ends");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What the schema says, as far as it is easily said, for where there is no xmllint.
fn structure(text: &str) {
    let document = roxmltree::Document::parse(text).expect("well-formed");
    assert_eq!(document.root_element().tag_name().name(), "testsuites");
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let (children, attributes): (&[&str], &[&str]) = match node.tag_name().name() {
            "testsuites" => (&["testsuite"], &["name", "tests", "failures", "errors"]),
            "testsuite" => (&["properties", "testcase"], &["name", "tests", "failures", "errors", "skipped", "file"]),
            "properties" => (&["property"], &[]),
            "property" => (&[], &["name", "value"]),
            "testcase" => (&["failure", "error", "system-out"], &["name", "classname"]),
            "failure" | "error" => (&[], &["type", "message"]),
            "system-out" => (&[], &[]),
            other => panic!("an element {other}"),
        };
        for child in node.children().filter(roxmltree::Node::is_element) {
            assert!(children.contains(&child.tag_name().name()), "{child:?} in {node:?}");
        }
        for attribute in node.attributes() {
            assert!(attributes.contains(&attribute.name()), "{attribute:?} of {node:?}");
            assert!(!attribute.value().contains(['\n', '\r', '\t']), "{attribute:?}");
        }
        if node.tag_name().name() == "testsuite" {
            let count = |name: &str| node.descendants().filter(|inner| inner.tag_name().name() == name).count().to_string();
            assert_eq!(node.attribute("tests"), Some(&*count("testcase")));
            assert_eq!(node.attribute("failures"), Some(&*count("failure")));
            assert_eq!(node.attribute("errors"), Some(&*count("error")));
        }
    }
}

fn valid(checked: &Checked) -> String {
    let text = junit::write(checked).expect("it can be written");
    structure(&text);
    assert_eq!(wrong(&text), None, "{text}");
    assert_eq!(junit::write(checked).as_ref(), Ok(&text), "the same bytes");
    text
}

#[test]
fn the_story_is_valid_and_names_sessions_timer_and_place() {
    let text = valid(&made::story());
    let document = roxmltree::Document::parse(&text).expect("well-formed");
    let suites: Vec<_> = document.root_element().children().filter(roxmltree::Node::is_element).collect();
    let names: Vec<_> = suites.iter().filter_map(|suite| suite.attribute("name")).collect();
    assert_eq!(names, ["captures/ssh-night.pcap", "scenarios/keepalive.json", "scenarios/ssh.json", "policy lint"]);
    let root = document.root_element();
    let sums: Vec<_> = ["tests", "failures", "errors"].into_iter().map(|sum| root.attribute(sum)).collect();
    assert_eq!(sums, [Some("4"), Some("2"), Some("0")]);
    let test = suites[0].children().find(|node| node.has_tag_name("testcase")).expect("a test");
    assert_eq!((test.attribute("classname"), test.attribute("name")), (Some("captures.ssh-night_pcap"), Some("captures/ssh-night.pcap")));
    let failure = test.children().find(|node| node.has_tag_name("failure")).expect("a failure");
    assert_eq!(failure.attribute("type"), Some("flow-cut"));
    assert_eq!(
        failure.attribute("message"),
        Some(
            "10.0.1.2:54964 → 10.0.2.2:22 is cut by ESTABLISHED (600 s) of conntrack after 3600 s of silence \
             [sysctl.d/90-conntrack.conf:3]; 10.0.1.2:40100 → 10.0.2.9:5432 is cut by ESTABLISHED (600 s) of conntrack after \
             3600 s of silence [sysctl.d/90-conntrack.conf:3]"
        )
    );
    let text = failure.text().expect("a text");
    for told in [
        "capture: 8 packets, 1 flow in 1h30m\n",
        "  established = 600 [sysctl.d/90-conntrack.conf:3]\n",
        "10.0.1.2:54964 → 10.0.2.2:22 (tcp.stream eq 3): cut, was survives; fails\n",
        "  timer: net.netfilter.nf_conntrack_tcp_timeout_established = 600 s (conntrack, ESTABLISHED) [sysctl.d/90-conntrack.conf:3]\n",
        "  silent: 3600 s, between frames 7 and 8\n",
        "  felt: the server never learns\n",
        "  would keep it: net.netfilter.nf_conntrack_tcp_timeout_established = 3601\n",
    ] {
        assert!(text.contains(told), "{told:?} is not in {text}");
    }
    let property = |name: &str| {
        let mut found = suites[0].descendants().filter(|node| node.attribute("name") == Some(name));
        found.next().and_then(|node| node.attribute("value").map(str::to_owned))
    };
    assert_eq!(property("flowlapse.baseline").as_deref(), Some("flowlapse.baseline"));
    assert_eq!(property("flowlapse.reproduce").as_deref(), Some("flowlapse check . --policy @sysctl.d/90-conntrack.conf"));
}

#[test]
fn nothing_from_outside_breaks_it() {
    let text = valid(&made::hostile(HOSTILE));
    assert!(!text.contains("<script") && !text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\u{fffe}'));
    // What could not be run is an error with a name of its own each time.
    let document = roxmltree::Document::parse(&text).expect("well-formed");
    let mut names: Vec<_> =
        document.descendants().filter(|node| node.has_tag_name("testcase")).map(|node| node.attribute("name")).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "two tests have one name");
    assert_eq!(document.root_element().attribute("errors"), Some("2"));
}

#[test]
fn nothing_at_all_and_very_much_are_valid() {
    valid(&Checked::default());
    let text = valid(&made::large());
    assert!(text.contains("and 100 more sessions"));
}

#[test]
fn the_schema_would_notice() {
    let text = junit::write(&made::story()).expect("it can be written");
    for (from, to) in [("<properties>", "<props>"), (" tests=", " test="), ("<testcase ", "<testcase file=\"x\" "), ("<failure ", "<fail ")]
    {
        let broken = text.replace(from, to).replace("</properties>", if to == "<props>" { "</props>" } else { "</properties>" });
        assert_ne!(broken, text);
        if let Some(said) = wrong(&text) {
            panic!("{said}");
        }
        let xmllint = Command::new("xmllint").arg("--version").output().is_ok();
        assert_eq!(wrong(&broken).is_some(), xmllint, "{to}");
        assert!(std::panic::catch_unwind(|| structure(&broken)).is_err(), "{to}");
    }
}
