//! Mistakes: a near miss gets a hint, a file in the wrong place is told what it is and who wants it.

use super::{SSH, flowlapse, scratch};

#[test]
fn near_misses_are_told_what_was_probably_meant() {
    const NAT: &str = "scenarios/ssh-ipvs-nat.json";
    let missing = SSH.replace("client-side", "client-sid");
    for (args, meant) in [
        (&["repaly"][..], "'replay'"),
        (&["help", "repaly"], "'replay'"),
        (&["man", "repaly"], "'replay'"),
        (&["completions", "bsh"], "'bash'"),
        (&["replay", SSH, "--bxo", "ipvs"], "'--box'"),
        (&["replay", SSH, "--box", "ipvs", "--colour", "never"], "'--color'"),
        (&["replay", SSH, "--box", "ipvs", "--color", "nevr"], "'never'"),
        (&["replay", SSH, "--box", "ipvs", "--clock", "wheell"], "'wheel'"),
        (&["replay", SSH, "--box", "conntrak"], "'conntrack'"),
        (&["replay", SSH, "--box", "awsnlb"], "'aws-nlb'"),
        (&["replay", SSH, "--box", "ipvs:tpc=900"], "'tcp'"),
        (&["replay", SSH, "--box", "ipvs:dialect=linux-6.1x"], "'linux-6.1'"),
        (&["replay", SSH, "--box", "ipvs", "--fail-on", "cutt"], "'cut'"),
        (&["replay", SSH, "--box", "ipvs", "--draw", "survial=x.svg"], "survival"),
        (&["replay", SSH, "--box", "ipvs", "--draw", "lanes:tpc.0=x.svg"], "lanes:tcp.0"),
        (&["replay", SSH, "--box", "ipvs", "--filter", "tpc port 22"], "'tcp'"),
        (&["replay", &missing, "--box", "ipvs"], SSH),
        (&["replay", SSH, "--box", "@Cargo.tom"], "'Cargo.toml'"),
        (&["explain", SSH, "--box", "ipvs", "--flow", "tpc.0"], "tcp.0"),
        (&["presets", "awsnlb"], "'aws-nlb'"),
        (&["run", "scenarios/ssh-ipvs-nt.json"], NAT),
        (&["run", NAT, "--variant", "ipvsadm --set 360"], "'ipvsadm --set 3600'"),
        (&["run", NAT, "--variant", "ServerAlive"], "'ServerAliveInterval 300'"),
        (&["run", NAT, "--set", "server.keepalve.time=600"], "'keepalive'"),
        (&["sweep", SSH, "--box", "ipvs", "--vary", "ipv.tcp=1,2"], "'ipvs'"),
        (&["audit", "--ipvsadm", "900,120,300", "--fail-on", "keepalive-to-late"], "'keepalive-too-late'"),
        (&["audit", "--sysctl", "Cargo.tml"], "'Cargo.toml'"),
        (&["conform", "fixtures/recordins"], "'fixtures/recordings'"),
        (&["conform", "fixtures/recordings", "--dialect", "linux-6.18x"], "'linux-6.18'"),
    ] {
        let ran = flowlapse(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        let hint = ran.err.find("did you mean").or_else(|| ran.err.find("exists:")).map(|at| &ran.err[at..]);
        assert!(hint.is_some_and(|hint| hint.contains(meant)), "{args:?}: {}", ran.err);
    }
}

#[test]
fn a_file_in_the_wrong_place_is_told_what_it_is_and_who_takes_it() {
    const NAT: &str = "scenarios/ssh-ipvs-nat.json";
    let folder = scratch("wrong-places");
    let empty = folder.join("empty.pcap");
    std::fs::write(&empty, "").expect("writable");
    let empty = empty.to_str().expect("text");
    for (args, told) in [
        (&["replay", "fixtures/captures", "--box", "ipvs"][..], "is a directory; name the captures in it"),
        (&["replay", empty, "--box", "ipvs"], "is empty; expected pcap"),
        (&["replay", NAT, "--box", "ipvs"], "is a scenario: flowlapse run"),
        (&["infer", NAT], "is a scenario: flowlapse run"),
        (&["replay", "README.md", "--box", "ipvs"], "is text, not a capture"),
        (&["replay", SSH, "--box", SSH], "it is a capture, not a box"),
        (&["replay", SSH, "--box", "@scenarios/ssh-ipvs-nat.json"], "it is a scenario, not a box"),
        (&["replay", SSH, "--box", "fixtures"], "did you mean"),
        (&["run", SSH], "is a capture: flowlapse replay"),
        (&["run", "scenarios"], "is a directory; name its scenarios"),
        (&["run", empty], "is empty"),
        (&["run", "README.md"], "is text, but no JSON"),
        (&["synth", SSH, "-o", "-"], "is a capture: flowlapse replay"),
        (&["audit", SSH], "is a capture: flowlapse replay"),
        (&["audit", NAT], "is a scenario: flowlapse run"),
        (&["audit", "docs"], "is a directory; name a file in it"),
        (&["shrink", SSH, "--box", "ipvs", "-o", "no/such/place.pcapng"], "there is no directory 'no/such'"),
    ] {
        let ran = flowlapse(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(ran.err.contains(told) || told == "did you mean" && ran.err.contains("no preset"), "{args:?}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{args:?}: {}", ran.err);
    }
}
