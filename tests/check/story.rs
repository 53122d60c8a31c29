//! A change of a policy, and what becomes of the sessions that it is about.

use super::{Folder, LONG, SHORT, flat};

const SCENARIO: &str = r#"{
  "title": "ssh after lunch", "duration": "3h", "path": ["conntrack:strict,established=PLACE"],
  "client": {}, "server": {},
  "script": [{"at": "1s", "who": "client", "send": 100}, {"at": "2h", "who": "client", "send": 100}],
  "expect": {
    "forgotten": []
  },
  "variants": [{"name": "keepalive", "set": {"client": {"keepalive": {"time": 300}}}}]
}
"#;

#[test]
fn a_policy_that_cuts_a_session_turns_the_run_red_and_names_it() {
    let folder = Folder::gateway("red", LONG);
    let (code, text, _) = folder.check(&["gw", "--baseline", "base.txt", "--update-baseline"]);
    assert_eq!((code, flat(&text).contains("base.txt: made, with 1 case")), (0, true), "{text}");
    assert_eq!(folder.check(&["gw", "--baseline", "base.txt"]).0, 0);
    folder.policy(SHORT, "");
    let (code, text, _) = folder.check(&["gw", "--baseline", "base.txt"]);
    assert_eq!(code, 1, "{text}");
    let text = flat(&text);
    for part in [
        "FAILED: 1 of 1 case (1 capture); sessions: 1 cut",
        "FAILS: tcp.stream 0, 10.0.1.2:54964 → 10.0.2.2:80: cut by conntrack ESTABLISHED, net.netfilter.nf_conntrack_tcp_timeout_established = 600 (gw/policy.json:5)",
        "after 5398.507 s of silence; 5399 would keep it; it survived before",
        "client: hangs, retransmitting",
        "kept by: sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=5399",
        "again: flowlapse check gw --baseline base.txt",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let quiet = folder.check(&["gw", "--baseline", "base.txt", "--quiet"]).1;
    assert!(quiet.lines().count() == 1 && quiet.starts_with("gw/ssh.pcap: tcp.stream 0, "), "{quiet}");
    let json = folder.json(&["gw", "--baseline", "base.txt"]);
    let session = &json["cases"][0]["sessions"][0];
    assert_eq!(json["schema"], "flowlapse-check/1");
    assert_eq!((&session["verdict"], &session["was"], &session["change"]), (&"cut".into(), &"survives".into(), &"new".into()));
    assert_eq!((&session["timer"]["timer"], &session["timer"]["value_ns"]), (&"established".into(), &600_000_000_000_u64.into()));
    assert_eq!(session["frames"], serde_json::json!([7, 8]));
}

#[test]
fn what_a_policy_expects_is_held_against_what_comes() {
    let folder = Folder::gateway("expect", SHORT);
    folder.policy(SHORT, ",\n  \"expect\": {\n    \"at_most\": {\"cut\": 0},\n    \"at_least\": {\"survives\": 1},\n    \"flows\": [{\"flow\": \"tcp.0\", \"verdict\": \"cut\",\n      \"timer\": \"max_retrans\"}]}");
    let (code, text, _) = folder.check(&["gw"]);
    let text = flat(&text);
    assert_eq!(code, 1, "{text}");
    for part in [
        "not as expected: 1 cut, at most 0 expected (gw/policy.json:9)",
        "not as expected: 0 survives, at least 1 expected (gw/policy.json:10)",
        "decided by established, not by max_retrans (gw/policy.json:12)",
        "FAILS: tcp.stream 0",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // What is expected to be cut is as it should be.
    folder.policy(SHORT, ",\n  \"expect\": {\"at_most\": {\"cut\": 1}}");
    let (code, text, _) = folder.check(&["gw", "--fail-on", "cut,new-cut,expect"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 case as expected"), "{text}");
    // Unless it was better before.
    folder.policy(LONG, "");
    folder.check(&["gw", "--baseline", "base.txt", "--update-baseline"]);
    folder.policy(SHORT, ",\n  \"expect\": {\"at_most\": {\"cut\": 1}}");
    assert_eq!(folder.check(&["gw", "--baseline", "base.txt"]).0, 1);
}

#[test]
fn scenarios_and_their_variants_are_held_against_their_expectations() {
    let folder = Folder::new("scenario");
    folder.write("s/ssh.json", &SCENARIO.replace("PLACE", "432000"));
    let (code, text, errors) = folder.check(&["s"]);
    assert_eq!(code, 0, "{text}{errors}");
    assert!(text.contains("OK: 2 scenario runs") && text.contains("2 cases as expected"), "{text}");
    folder.write("s/ssh.json", &SCENARIO.replace("PLACE", "600"));
    let (code, text, _) = folder.check(&["s"]);
    let text = flat(&text);
    assert_eq!(code, 1, "{text}");
    for part in [
        "FAILED: 1 of 2 cases (2 scenario runs); sessions: 1 cut",
        "s/ssh.json: ssh after lunch",
        "not as expected: 1 entries were lost, not 0 (s/ssh.json:6)",
        "FAILS: client → server: cut by conntrack ESTABLISHED, net.netfilter.nf_conntrack_tcp_timeout_established = 600 (s/ssh.json:2)",
        "client: ETIMEDOUT",
        "1 case as expected",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("# keepalive"), "{text}");
}

#[test]
fn the_scenarios_of_the_project_are_as_they_expect() {
    let here = env!("CARGO_MANIFEST_DIR");
    let folder = Folder::new("all");
    let scenarios = format!("{here}/scenarios");
    let (code, text, errors) = folder.check(&[&scenarios]);
    assert_eq!(code, 0, "{text}{errors}");
    assert!(text.starts_with("OK: 24"), "{text}");
    let one = folder.output(&[&scenarios, "--threads", "1", "--json", "-"]);
    let four = folder.output(&[&scenarios, "--threads", "4", "--json", "-"]);
    assert_eq!(one.stdout, four.stdout);
    // Stories about bad settings are no policies, unless it is asked.
    assert!(!text.contains("policies, without traffic"), "{text}");
    assert!(folder.check(&[&scenarios, "--lint", "all"]).1.contains("policies, without traffic"));
}

#[test]
fn a_policy_of_the_command_line_is_that_of_every_capture() {
    let folder = Folder::gateway("given", LONG);
    let given = ["gw", "--policy", "conntrack:strict,established=600", "--fail-on"];
    let with = |words| folder.check(&[&given[..], &[words]].concat()).0;
    for (words, code) in [("cut", 1), ("new-cut", 1), ("marginal", 0), ("none", 0), ("marginal,cut", 1), ("changed", 0), ("gone", 0)] {
        assert_eq!(with(words), code, "{words}");
    }
    let (code, text, _) = folder.check(&["gw", "--policy", "conntrack:strict", "--policy", "aws-nlb"]);
    assert!(code == 1 && flat(&text).contains("cut by box 2 (aws-nlb)"), "{text}");
    for (args, told) in [
        (&["gw", "--fail-on", "new-cutt"][..], "did you mean 'new-cut'?"),
        (&["gw", "--policy", "contrack"], "did you mean 'conntrack'?"),
        (&["gw", "--update-baseline"], "--baseline"),
    ] {
        let (code, _, errors) = folder.check(args);
        assert!(code == 2 && errors.contains(told), "{errors}");
    }
}

/// The example of the README: a copy of fixtures/gate, and one timer lowered in it.
#[test]
fn the_gate_of_the_fixtures_turns_red_at_the_line_of_the_file_that_policy_and_scenarios_name() {
    let folder = Folder::new("fixture");
    for name in ["sysctl.d/90-conntrack.conf", "policy.json", "office.json", "after-lunch.json", "office-ssh.pcap.zst", "baseline.txt"] {
        let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gate").join(name);
        let to = folder.0.join("gate").join(name);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(&from, to).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let ask = ["gate", "--baseline", "gate/baseline.txt", "--quiet"];
    assert_eq!(folder.check(&ask), (0, String::new(), String::new()));
    let sysctls = folder.0.join("gate/sysctl.d/90-conntrack.conf");
    let text = std::fs::read_to_string(&sysctls).expect("read").replace("86400", "3600");
    std::fs::write(&sysctls, text).expect("written");
    let (code, text, _) = folder.check(&ask);
    assert_eq!(code, 1, "{text}");
    let cut = |case: &str| {
        let place = "net.netfilter.nf_conntrack_tcp_timeout_established = 3600 (gate/sysctl.d/90-conntrack.conf:3)";
        text.lines().filter(|line| line.starts_with(case) && line.contains(place)).count()
    };
    assert_eq!((cut("gate/office-ssh.pcap.zst: tcp.stream "), cut("gate/after-lunch.json: ")), (5, 1), "{text}");
    let (code, annotations, _) = folder.check(&["gate", "--quiet", "--github", "--fail-on", "cut"]);
    assert!(code == 1 && annotations.contains("::error file=gate/sysctl.d/90-conntrack.conf,line=3,"), "{annotations}");
}

#[test]
fn sysctls_alone_are_taken_for_a_firewall_and_that_is_said() {
    let folder = Folder::gateway("sysctls", LONG);
    std::fs::remove_file(folder.0.join("gw/policy.json")).expect("removed");
    std::fs::write(folder.0.join("gw/99-gw.conf"), "net.netfilter.nf_conntrack_tcp_timeout_established = 600\n").expect("written");
    let (code, text, _) = folder.check(&["gw", "--lint", "none", "--all"]);
    let text = flat(&text);
    assert_eq!(code, 1, "{text}");
    for part in [
        "client → @gw/99-gw.conf:strict → server",
        "established = 600 (gw/99-gw.conf:1)",
        "says nothing of a rule set",
        "gw/99-gw.conf:accept-all",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let accepted = folder.check(&["gw", "--lint", "none", "--policy", "@gw/99-gw.conf:accept-all"]);
    assert_eq!(accepted.0, 0, "{}", accepted.1);
    // Two of them, and nobody says which.
    std::fs::write(folder.0.join("gw/other.conf"), "net.netfilter.nf_conntrack_tcp_timeout_established = 7\n").expect("written");
    let (code, _, errors) = folder.check(&["gw", "--lint", "none"]);
    assert!(code == 2 && errors.contains("which of the 2 policies of its folder is its own"), "{errors}");
}
