//! Baselines: what is accepted is no news, what is worse is, and a damaged file is told with its line.

use super::{Folder, HANG, LONG, SHORT, flat};

#[test]
fn what_was_accepted_is_no_news_until_it_changes() {
    let folder = Folder::gateway("accepted", SHORT);
    folder.copy(HANG, "gw/b/again.pcap");
    assert_eq!(folder.check(&["gw"]).0, 1);
    assert_eq!(folder.check(&["gw", "--baseline", "ci/base.txt"]).0, 2);
    folder.write("ci/empty", "");
    let update = ["gw", "--baseline", "ci/base.txt", "--update-baseline"];
    assert_eq!(folder.check(&update).0, 0);
    let written = folder.read("ci/base.txt");
    let lines: Vec<&str> = written.lines().skip(2).filter(|line| !line.contains(": lint ")).collect();
    assert_eq!(
        lines,
        [
            "../gw/b/again.pcap: 1 flow",
            "../gw/b/again.pcap: cut tcp 10.0.1.2:54964 > 10.0.2.2:80 by conntrack established",
            "../gw/ssh.pcap: 1 flow",
            "../gw/ssh.pcap: cut tcp 10.0.1.2:54964 > 10.0.2.2:80 by conntrack established",
        ]
    );
    assert!(written.contains("../gw/policy.json: lint warning keepalive-too-late"), "{written}");
    // Another value that alters nobody's fate alters nothing.
    folder.policy(SHORT + 60, "");
    let (code, text, _) = folder.check(&["gw", "--baseline", "ci/base.txt"]);
    assert!(code == 0 && !text.contains("gw/ssh.pcap") && !text.contains("policies, without traffic"), "{text}");
    assert!(folder.check(&update).1.ends_with("ci/base.txt: as it was\n"));
    assert_eq!(folder.read("ci/base.txt"), written);
    // The words without new- know no baseline.
    assert_eq!(folder.check(&["gw", "--baseline", "ci/base.txt", "--fail-on", "cut"]).0, 1);
    // Better is told, and no failure unless every change is one.
    folder.policy(LONG, "");
    let (code, text, _) = folder.check(&["gw", "--baseline", "ci/base.txt"]);
    assert_eq!(code, 0, "{text}");
    assert!(flat(&text).contains("better: tcp.stream 0, 10.0.1.2:54964 → 10.0.2.2:80: survives; it was cut before"), "{text}");
    assert_eq!(folder.check(&["gw", "--baseline", "ci/base.txt", "--fail-on", "changed"]).0, 1);
    let json = folder.json(&["gw", "--baseline", "ci/base.txt"]);
    assert_eq!((&json["cases"][0]["sessions"][0]["change"], &json["cases"][0]["changed"]), (&"better".into(), &true.into()));
    // The same names from another folder.
    let here = std::process::Command::new(env!("CARGO_BIN_EXE_flowlapse"))
        .args(["check", "../gw", "--baseline", "base.txt", "--fail-on", "changed", "--quiet"])
        .current_dir(folder.0.join("ci"))
        .output()
        .expect("it starts");
    assert_eq!(here.status.code(), Some(1), "{here:?}");
    assert_eq!(String::from_utf8_lossy(&here.stdout).lines().count(), 2);
}

#[test]
fn what_is_no_more_is_told_and_a_part_is_not_the_whole() {
    let folder = Folder::gateway("gone", LONG);
    folder.copy(HANG, "gw/b/again.pcap");
    folder.check(&["gw", "--baseline", "base.txt", "--update-baseline"]);
    let whole = folder.read("base.txt");
    // What lies elsewhere was not asked for, and is kept.
    assert!(!folder.check(&["gw/b", "--baseline", "base.txt", "--policy", "conntrack"]).1.contains("gone"));
    folder.check(&["gw/b", "--baseline", "base.txt", "--update-baseline", "--policy", "conntrack", "--lint", "none"]);
    assert!(folder.read("base.txt").contains("gw/ssh.pcap: 1 flow"));
    folder.write("base.txt", &whole);
    std::fs::remove_file(folder.0.join("gw/b/again.pcap")).expect("removed");
    let (code, text, _) = folder.check(&["gw", "--baseline", "base.txt"]);
    assert!(code == 0 && flat(&text).contains("gone: gw/b/again.pcap: base.txt knows it, and it is no more"), "{text}");
    let (code, text, _) = folder.check(&["gw", "--baseline", "base.txt", "--fail-on", "gone", "--quiet"]);
    assert_eq!((code, text.as_str()), (1, "gw/b/again.pcap: is no more\n"));
    // A new case is new, and only a loss in it is a failure.
    folder.copy(HANG, "gw/c.pcap");
    assert_eq!(folder.check(&["gw", "--baseline", "base.txt"]).0, 0);
    assert_eq!(folder.check(&["gw", "--baseline", "base.txt", "--fail-on", "changed"]).0, 1);
    let (_, text, _) = folder.check(&["gw", "--baseline", "base.txt", "--update-baseline"]);
    assert!(text.ends_with("base.txt: 1 new, 0 changed, 1 gone\n"), "{text}");
}

#[test]
fn a_damaged_baseline_is_told_with_its_line() {
    let folder = Folder::gateway("damaged", LONG);
    for (text, told) in [
        ("", "base.txt:1: no baseline: the first line has to be '# flowlapse baseline 1'"),
        ("# flowlapse baseline 7\n", "base.txt:1: this flowlapse reads baselines of version 1"),
        (
            "# flowlapse baseline 1\ngw/ssh.pcap: 1 flow\ngw/ssh.pcap: kut tcp 1.1.1.1:1 > 1.1.1.2:2\n",
            "base.txt:3: 'kut' is no verdict; did you mean 'cut'?",
        ),
        ("# flowlapse baseline 1\n<<<<<<< HEAD\n", "base.txt:2: a merge left a conflict here"),
    ] {
        folder.write("base.txt", text);
        for more in [&[][..], &["--update-baseline"]] {
            let (code, out, errors) = folder.check(&[&["gw", "--baseline", "base.txt"][..], more].concat());
            assert_eq!((code, out.as_str()), (2, ""), "{text}");
            assert!(errors.contains(told) && errors.lines().count() == 1, "{errors}");
        }
        assert_eq!(folder.read("base.txt"), text);
    }
}
