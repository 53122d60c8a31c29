//! Which files are run, which policy a capture has, and what cannot be run beside what can.

use super::{Folder, HANG, LONG, SHORT, flat};

#[test]
fn what_cannot_be_run_keeps_nothing_else_from_running() {
    let folder = Folder::gateway("rest", SHORT);
    folder.write("gw/broken.json", "{\n  \"title\": ");
    folder.write("gw/scenario.json", "{\"title\": \"x\", \"duraton\": \"1h\", \"path\": []}");
    folder.write("gw/other/notes.json", "{\"name\": \"nothing of ours\"}");
    folder.write("gw/other/bad.conf", "net.netfilter.nf_conntrack_tcp_timeout_establishd = 5\n");
    folder.write("gw/other/nginx.conf", "server { listen 80; }\n");
    folder.write("gw/.git/x.json", "{");
    folder.write("gw/target/x.json", "{");
    folder.write("gw/damaged.pcap", "no capture at all");
    let (code, text, errors) = folder.check(&["gw"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("FAILS: tcp.stream 0"), "{text}");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 4, "{errors}");
    for (line, told) in lines.iter().zip([
        "gw/broken.json:2: is no JSON",
        "gw/damaged.pcap",
        "gw/other/bad.conf:1: the kernel has no sysctl",
        "gw/scenario.json:1:24, at duraton: there is no key 'duraton' here; did you mean 'duration'?",
    ]) {
        assert!(line.contains(told), "{line}");
    }
    assert!(text.contains("2 other files left alone"), "{text}");
    let json = folder.json(&["gw"]);
    assert_eq!((&json["outcome"], json["failures"].as_array().map(Vec::len)), (&"could-not-run".into(), Some(4)));
    assert_eq!(json["failures"][0]["at"], serde_json::json!({"file": "gw/broken.json", "line": 2}));
}

#[test]
fn the_nearest_policy_is_a_captures() {
    let folder = Folder::gateway("nearest", LONG);
    folder.copy(HANG, "gw/a/b/deep.pcap");
    assert_eq!(folder.check(&["gw"]).0, 0);
    folder.write("gw/a/b/deep.policy.json", "[\"conntrack:strict,established=600\"]");
    let (code, text, _) = folder.check(&["gw"]);
    assert!(code == 1 && text.contains("gw/a/b/deep.pcap") && text.contains("1 of 2 cases (2 captures)"), "{text}");
    // Nothing above the path is looked at.
    std::fs::remove_file(folder.0.join("gw/a/b/deep.policy.json")).expect("removed");
    let (code, _, errors) = folder.check(&["gw/a"]);
    assert!(code == 2 && errors.contains("gw/a/b/deep.pcap: no policy: put policy.json beside it, or give --policy"), "{errors}");
    folder.write("gw/policy.conf", "net.netfilter.nf_conntrack_tcp_timeout_established = 600\n");
    let (code, _, errors) = folder.check(&["gw"]);
    assert!(code == 2 && errors.contains("gw/policy.json and gw/policy.conf are both its policy: keep one"), "{errors}");
}

#[test]
fn a_policy_that_cannot_be_read_is_told_once() {
    let folder = Folder::gateway("once", LONG);
    folder.copy(HANG, "gw/b.pcap");
    folder.write("gw/policy.json", "{\n  \"path\": [\n    {\"conntrack\": {\"establishd\": 600}}\n  ]\n}\n");
    let (code, _, errors) = folder.check(&["gw"]);
    assert!(code == 2 && errors.lines().count() == 1, "{errors}");
    assert!(errors.contains("gw/policy.json:3:") && errors.contains("2 captures could not be run without it"), "{errors}");
    // What could not be run is not gone.
    folder.policy(LONG, "");
    folder.check(&["gw", "--baseline", "base.txt", "--update-baseline"]);
    let before = folder.read("base.txt");
    folder.write("gw/policy.json", "{\"path\": [\"contrack\"]}");
    let (code, text, _) = folder.check(&["gw", "--baseline", "base.txt", "--fail-on", "gone"]);
    assert!(code == 2 && !text.contains("gone"), "{text}");
    assert_eq!(folder.check(&["gw", "--baseline", "base.txt", "--update-baseline"]).0, 2);
    assert_eq!(folder.read("base.txt"), before);
}

#[test]
fn what_is_named_itself_is_looked_into() {
    let folder = Folder::gateway("named", SHORT);
    folder.copy(HANG, "gw/capture");
    folder.write("gw/notes", "nothing\n");
    let (code, text, _) = folder.check(&["gw/capture", "gw/ssh.pcap", "gw/capture"]);
    assert!(code == 1 && text.contains("2 of 2 cases (2 captures)"), "{text}");
    let (code, _, errors) = folder.check(&["gw/notes"]);
    assert!(code == 2 && errors.contains("is no scenario, no capture and no policy"), "{errors}");
    let (code, _, errors) = folder.check(&["gw", "nowhere"]);
    assert_eq!((code, errors.as_str()), (2, "flowlapse: nowhere: no such file or folder; check the path\n"));
}

#[test]
fn a_text_of_a_machine_is_a_policy_too() {
    let folder = Folder::new("lint");
    folder.write("gw/90-conntrack.conf", "# the gateway\nnet.netfilter.nf_conntrack_tcp_timeout_established = 600\n");
    let (code, text, _) = folder.check(&["gw"]);
    assert_eq!(code, 0, "{text}");
    assert!(flat(&text).contains("warning keepalive-too-late (gw/90-conntrack.conf:2)"), "{text}");
    assert_eq!(folder.check(&["gw", "--fail-on", "lint-warning"]).0, 1);
    assert_eq!(folder.check(&["gw", "--fail-on", "lint-warning", "--lint", "none"]).0, 0);
    folder.check(&["gw", "--baseline", "base.txt", "--update-baseline"]);
    assert_eq!(folder.check(&["gw", "--baseline", "base.txt", "--fail-on", "new-lint-warning"]).0, 0);
    assert_eq!(folder.check(&["gw", "--baseline", "base.txt", "--fail-on", "lint-warning"]).0, 1);
}

#[test]
fn names_cannot_steer_a_terminal() {
    let folder = Folder::new("escape");
    folder.write("gw/a\u{1b}[31m.json", "{");
    let (code, text, errors) = folder.check(&["gw"]);
    assert_eq!(code, 2);
    assert!(!text.contains('\u{1b}') && !errors.contains('\u{1b}'), "{text}{errors}");
}
