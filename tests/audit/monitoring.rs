//! What Prometheus and Grafana get: valid metrics, and rules and panels about metrics that are written.

use super::{flowlapse, text};
use flowlapse::report::audit::prometheus::METRICS;
use serde_json::Value;
use std::collections::BTreeSet;

const ALERTS: &str = include_str!("../../docs/monitoring/alerts.yml");
const DASHBOARD: &str = include_str!("../../docs/monitoring/dashboard.json");
const README: &str = include_str!("../../docs/monitoring/README.md");

/// Every name of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("flowlapse_") && !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

/// A sample: its name, its labels as they are written, its value.
fn sample(line: &str) -> (&str, &str, f64) {
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
    (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}")), value.parse().unwrap_or_else(|_| panic!("{line}")))
}

#[test]
fn metrics_are_valid_and_in_order() {
    let table = "tcp      6 431999 ESTABLISHED src=10.0.0.5 dst=10.1.2.3 sport=51514 dport=22 src=10.1.2.3 dst=10.0.0.5 sport=22 dport=51514 [ASSURED] mark=0 use=1\n\
                 net.netfilter.nf_conntrack_max = 1000\nnet.netfilter.nf_conntrack_count = 950\n";
    let conns = "TCP 10:00  ESTABLISHED 192.0.2.7:51022    10.0.0.1:22        10.0.1.5:22\n";
    let args = [
        "audit",
        "--conntrack",
        table,
        "--ipvs-conns",
        conns,
        "--keepalive",
        "7200,75,9",
        "--box",
        "idle:established=350",
        "--prometheus",
        "-",
    ];
    let written = text(&args);
    assert_eq!(written, text(&args), "the same every time");
    let mut known: Vec<&str> = Vec::new();
    let mut series = BTreeSet::new();
    for line in written.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().expect("a name");
            assert!(!known.contains(&name), "{name} comes twice");
            known.push(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest, format!("{} gauge", known.last().expect("a HELP before")));
        } else {
            let (name, labels, value) = sample(line);
            assert_eq!(Some(&name), known.last(), "{line}");
            assert!(value.is_finite() && series.insert((name, labels)), "{line}");
        }
    }
    let place = |name: &&str| METRICS.iter().position(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} is not in the list"));
    assert!(known.iter().map(place).is_sorted(), "{known:?}");
    for line in [
        "flowlapse_entries_limit{table=\"conntrack\"} 1000",
        "flowlapse_table_entries{table=\"conntrack\"} 950",
        "flowlapse_first_premature_end_seconds{table=\"ipvs\"} 600",
        "flowlapse_entries_at_risk{table=\"ipvs\"} 1",
        "flowlapse_silent_entries{table=\"ipvs\",share=\"0.25\"} 1",
        "flowlapse_silent_entries{table=\"ipvs\",share=\"0.50\"} 0",
        "flowlapse_shortest_timeout_seconds 350",
    ] {
        assert!(written.lines().any(|written| written == line), "{line}\n{written}");
    }
}

#[test]
fn the_file_is_written_whole() {
    let folder = std::env::temp_dir().join(format!("flowlapse-audit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("flowlapse.prom");
    let name = file.to_str().expect("a path in Unicode");
    for _ in 0..2 {
        let output = flowlapse(&["audit", "--ipvsadm", "900 120 300", "--prometheus", name]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("verdict: "), "the report is printed as well");
    }
    assert!(std::fs::read_to_string(&file).expect("it is there").ends_with('\n'));
    let left: Vec<_> = std::fs::read_dir(&folder).expect("the folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["flowlapse.prom"]);
    std::fs::remove_dir_all(&folder).expect("ours");
    assert_eq!(flowlapse(&["audit", "--box", "aws-nlb", "--prometheus", "no/such/folder/x.prom"]).status.code(), Some(2));
}

#[test]
fn alerts_and_dashboard_are_about_metrics_that_are_written() {
    let written: BTreeSet<String> = METRICS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (whose, text) in [("alerts.yml", ALERTS), ("dashboard.json", DASHBOARD), ("README.md", README)] {
        let unknown: Vec<String> = names(text).difference(&written).cloned().collect();
        assert!(unknown.is_empty(), "{whose}: {unknown:?}");
    }
    let shown = names(&format!("{ALERTS}{DASHBOARD}{README}"));
    let silent: Vec<&String> = written.difference(&shown).collect();
    assert!(silent.is_empty(), "nothing explains {silent:?}");
}

#[test]
fn the_dashboard_can_be_imported() {
    let document: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = document["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")));
        assert!(!panel["title"].as_str().expect("a title").is_empty());
        assert!(panel["gridPos"]["x"].as_u64().expect("a place") + panel["gridPos"]["w"].as_u64().expect("a width") <= 24);
        assert!(
            panel["targets"]
                .as_array()
                .expect("targets")
                .iter()
                .all(|target| target["expr"].as_str().is_some_and(|expr| expr.contains("flowlapse_")))
        );
    }
    assert!(document["templating"]["list"][0]["name"] == "datasource" && document["schemaVersion"].is_u64());
}

/// The alerts are YAML of the plainest kind: blocks by indentation, each alert with its expression and its words.
#[test]
fn the_alerts_have_the_form_of_rules() {
    assert!(!ALERTS.contains('\t'));
    let lines: Vec<&str> = ALERTS.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')).collect();
    assert_eq!(lines[..3], ["groups:", "  - name: flowlapse", "    rules:"]);
    let mut alerts = 0;
    for block in ALERTS.split("      - alert: ").skip(1) {
        alerts += 1;
        for key in ["        expr: ", "        labels:\n          severity: ", "        annotations:\n          summary: \""] {
            assert_eq!(block.matches(key).count(), 1, "{key} in {block}");
        }
    }
    assert_eq!(alerts, lines.iter().filter(|line| line.contains("expr:")).count());
    for line in &lines {
        let (key, _) = line.trim_start().trim_start_matches("- ").split_once(':').unwrap_or_else(|| panic!("{line}"));
        assert!(key.bytes().all(|c| c.is_ascii_lowercase()), "{line}");
        assert_eq!(line.matches('"').count() % 2, 0, "{line}");
    }
}
