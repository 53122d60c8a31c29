//! Answers of the gate, made by hand: of every kind, and with names that are up to no good.

use flowlapse::check::{Baseline, BoxLine, Case, Change, Checked, Failure, Kind, Lint, Session, Timer, Unmet};
use flowlapse::finding::Verdict;
use flowlapse::policy::At;
use flowlapse::study::audit::rule::{Rule, Severity};
use flowlapse::time::Duration;
use std::sync::Arc;

/// What somebody might put into a name.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script> ]]> --> \u{1b}[31mred\u{0}\u{7}\r\n::error::x | `tick` 100% \u{202e}txt.exe\u{2028} \
     @octocat [a](http://x.y) ![b](c) #17 www.x.org a@b.cd *b* _i_ $m$ &lt; \"q\" 'q' \\ ~s~ {y} :+1: \u{fffe}\u{85}";

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) fn at(file: &str, line: usize) -> At {
    At::new(&Arc::from(file), line)
}

pub(crate) fn timer(file: Option<(&str, usize)>) -> Timer {
    Timer {
        hop: 1,
        label: "conntrack".to_owned(),
        state: "ESTABLISHED".to_owned(),
        timer: "established".to_owned(),
        setting: Some("net.netfilter.nf_conntrack_tcp_timeout_established".to_owned()),
        value: Duration(600 * SECOND),
        at: file.map(|(file, line)| at(file, line)),
    }
}

pub(crate) fn session(name: &str, verdict: Verdict, fails: bool) -> Session {
    Session {
        name: name.to_owned(),
        stream: Some("tcp.stream eq 3".to_owned()),
        verdict,
        was: None,
        change: Change::Unknown,
        timer: Some(timer(Some(("./sysctl.d/90-conntrack.conf", 3)))),
        silence: Some((Duration(3600 * SECOND), Some((7, 8)))),
        message: format!("{name} is {} by ESTABLISHED (600 s) of conntrack after 3600 s of silence", verdict.name()),
        felt: vec!["the client waits: nothing it sends is answered".to_owned(), "the server never learns".to_owned()],
        cures: vec!["net.netfilter.nf_conntrack_tcp_timeout_established = 3601".to_owned()],
        fails,
    }
}

pub(crate) fn case(file: &str, kind: Kind, sessions: Vec<Session>) -> Case {
    let mut counts = [0; Verdict::ALL.len()];
    for session in &sessions {
        counts[session.verdict as usize] += 1;
    }
    let fails = sessions.iter().any(|session| session.fails);
    Case {
        file: file.to_owned(),
        variant: None,
        kind,
        title: "8 packets, 1 flow in 1h30m".to_owned(),
        boxes: vec![BoxLine {
            label: "conntrack".to_owned(),
            spec: "conntrack:established=600".to_owned(),
            settings: vec![("established".to_owned(), "600".to_owned(), Some(at("sysctl.d/90-conntrack.conf", 3)))],
        }],
        has_expectation: kind != Kind::Capture,
        unmet: Vec::new(),
        counts,
        sessions,
        more: 0,
        fails,
        changed: fails,
        is_new: false,
        remarks: Vec::new(),
    }
}

pub(crate) fn lint(rule: Rule, severity: Severity, fails: bool) -> Lint {
    Lint {
        rule,
        severity,
        policy: "sysctl.d/90-conntrack.conf".to_owned(),
        message: "established = 600 s is less than the 7440 s of RFC 5382".to_owned(),
        places: vec![at("sysctl.d/90-conntrack.conf", 3)],
        cures: vec!["net.netfilter.nf_conntrack_tcp_timeout_established = 7440".to_owned()],
        is_new: true,
        fails,
    }
}

pub(crate) fn checked(cases: Vec<Case>) -> Checked {
    Checked {
        cases,
        fail_on: vec!["expect".to_owned(), "new-cut".to_owned()],
        reproduce: "flowlapse check . --policy @sysctl.d/90-conntrack.conf".to_owned(),
        ..Checked::default()
    }
}

/// The story of docs/ci.md: two sessions of a capture are cut, a scenario does not end as expected.
pub(crate) fn story() -> Checked {
    let mut ssh = session("10.0.1.2:54964 → 10.0.2.2:22", Verdict::Cut, true);
    (ssh.was, ssh.change) = (Some(Verdict::Survives), Change::Worse);
    let mut psql = session("10.0.1.2:40100 → 10.0.2.9:5432", Verdict::Cut, true);
    (psql.was, psql.change, psql.stream) = (Some(Verdict::Survives), Change::Worse, Some("tcp.stream eq 4".to_owned()));
    let capture = case("captures/ssh-night.pcap", Kind::Capture, vec![ssh, psql]);
    let mut scenario = case("scenarios/ssh.json", Kind::Scenario, vec![session("flow 1", Verdict::Cut, true)]);
    scenario.variant = Some("types after 20 min".to_owned());
    scenario.unmet = vec![Unmet { what: "the flow is cut, and survives was expected".to_owned(), at: Some(at("scenarios/ssh.json", 21)) }];
    let mut fine = case("scenarios/keepalive.json", Kind::Scenario, Vec::new());
    fine.counts[Verdict::Survives as usize] = 1;
    let mut checked = checked(vec![capture, scenario, fine]);
    checked.lint = vec![lint(Rule::Rfc5382Established, Severity::Warning, false)];
    checked.baseline = Some(Baseline { file: "flowlapse.baseline".to_owned(), gone: Vec::new() });
    checked
}

/// Every kind of case, session, change and lint; every text is hostile.
pub(crate) fn hostile(text: &str) -> Checked {
    let mut cases = Vec::new();
    for (index, kind) in [Kind::Scenario, Kind::Population, Kind::Capture].into_iter().enumerate() {
        let mut sessions = Vec::new();
        for verdict in Verdict::ALL {
            for change in [Change::Unknown, Change::Worse, Change::Other, Change::Same, Change::Better] {
                let mut one = session(&format!("{text} {} {}", verdict.name(), change.name()), verdict, change == Change::Worse);
                (one.change, one.was) = (change, Some(Verdict::Marginal));
                (one.felt, one.cures, one.stream) = (vec![text.to_owned()], vec![text.to_owned()], Some(text.to_owned()));
                if let Some(timer) = &mut one.timer {
                    (timer.label, timer.state, timer.setting) = (text.to_owned(), text.to_owned(), Some(text.to_owned()));
                    timer.at = Some(at(text, index + 1));
                }
                sessions.push(one);
            }
        }
        let mut bad = case(text, kind, sessions);
        (bad.variant, bad.title, bad.remarks) = (Some(format!("{text} {index}")), text.to_owned(), vec![text.to_owned()]);
        bad.boxes =
            vec![BoxLine { label: text.to_owned(), spec: text.to_owned(), settings: vec![(text.to_owned(), text.to_owned(), None)] }];
        bad.unmet = vec![Unmet { what: text.to_owned(), at: Some(at(text, 4)) }, Unmet { what: text.to_owned(), at: None }];
        (bad.more, bad.is_new) = (17, index == 1);
        cases.push(bad);
    }
    let mut bare = case(&format!("{text}.bare"), Kind::Population, Vec::new());
    (bare.fails, bare.counts[0]) = (true, 9);
    let mut without = session(text, Verdict::Refused, true);
    (without.timer, without.silence, without.stream) = (None, None, None);
    cases.extend([bare, case("plain.json", Kind::Scenario, vec![without]), case("quiet.json", Kind::Scenario, Vec::new())]);
    let mut checked = checked(cases);
    for (index, rule) in Rule::ALL.iter().enumerate() {
        let mut one = lint(*rule, Severity::ALL[index % 3], index % 4 == 0);
        (one.policy, one.message, one.cures, one.is_new) =
            (format!("{text}{}", index % 2), text.to_owned(), vec![text.to_owned()], index % 5 > 0);
        one.places = vec![at(text, 1), at("b.conf", 2)];
        checked.lint.push(one);
    }
    checked.failures = vec![
        Failure { file: text.to_owned(), at: Some(at(text, 9)), what: text.to_owned() },
        Failure { file: text.to_owned(), at: None, what: text.to_owned() },
    ];
    checked.baseline = Some(Baseline { file: text.to_owned(), gone: vec![text.to_owned()] });
    (checked.reproduce, checked.fail_on) = (text.to_owned(), vec![text.to_owned()]);
    checked
}

/// More than anything can hold.
pub(crate) fn large() -> Checked {
    let mut cases = Vec::new();
    for file in 0..60 {
        let sessions = (0..200).map(|flow| {
            let mut one = session(&format!("flow {flow}"), Verdict::Cut, true);
            one.timer = Some(timer(Some(("gw.conf", file + 1))));
            one.cures = vec!["x".repeat(400); 5];
            one.felt = vec![HOSTILE.to_owned(); 4];
            one
        });
        cases.push(case(&format!("captures/{file:02}.pcap"), Kind::Capture, sessions.collect()));
    }
    checked(cases)
}
