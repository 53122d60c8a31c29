//! The collector's bundle of a whole machine, and the script itself.

use crate::{inventory, nothing_unread, of_fixture, sock};
use flowlapse::inventory::{COLLECTOR, Kind, TimeoutSource};
use flowlapse::time::{Duration, Instant};

#[test]
fn a_bundle_is_a_whole_machine() {
    let found = of_fixture("director-6.1.bundle");
    nothing_unread("bundle", &found);
    let machine = &found.machine;
    assert_eq!((machine.hostname.as_deref(), machine.release.as_deref()), (Some("director"), Some("6.1.176")));
    // The time of the first facts; each table has its own.
    assert_eq!(machine.taken, Some(Instant(1_795_551_947_738_147_235)));
    assert_eq!((machine.hz, machine.container), (None, Some(false)));
    let kinds = [
        Kind::Sysctls,
        Kind::IpvsTimeouts,
        Kind::IpvsServices,
        Kind::IpvsConns,
        Kind::Conntrack,
        Kind::Sockets,
        Kind::Nft,
        Kind::Sshd,
        Kind::Ssh,
        Kind::Keepalived,
    ];
    for kind in kinds {
        assert!(found.has(kind), "{kind:?}: {:?}", found.shown);
    }
    assert!(!found.has(Kind::KubeProxy) && !found.has(Kind::ConntrackEvents));
    assert_eq!(found.sysctl("net.netfilter.nf_conntrack_max").map(|sysctl| sysctl.value.as_str()), Some("2048"));
    assert_eq!(found.ipvs_conns.len(), 11);
    assert!(found.sockets.iter().any(|socket| socket.peer == sock("198.51.100.10:22") && socket.program.as_deref() == Some("python3")));
    let timeouts: Vec<_> = found.ipvs_timeouts.iter().map(|one| (one.source, one.tcp)).collect();
    let seconds = |count| Some(Duration::from_secs(count));
    assert_eq!(timeouts, [(TimeoutSource::Shown, seconds(900)), (TimeoutSource::Keepalived, seconds(3600))]);
    let scopes: Vec<_> =
        found.ssh.iter().map(|one| (one.side, one.scope.clone(), one.interval.as_ref().map(|(span, _)| span.as_secs()))).collect();
    assert_eq!(scopes.len(), 4, "{scopes:?}");
    assert_eq!(scopes[1].1.as_deref(), Some("match Address 192.0.2.0/24"));
    assert_eq!(scopes[1].2, Some(30));
}

#[test]
fn an_empty_table_is_shown_and_a_failed_tool_shows_nothing() {
    let text = "\
=== flowlapse: collector 1
=== flowlapse: machine
epoch=1795551947.5
hz=250
=== flowlapse: time 1795551948
=== flowlapse: conntrack -L
=== flowlapse: time 1795551949
=== flowlapse: ss -tnop
=== flowlapse: note 'ss -tnop' failed: ss: cannot open netlink socket
=== flowlapse: end
";
    let found = inventory(text);
    assert!(found.has(Kind::Conntrack) && !found.has(Kind::Sockets), "{:?}", found.shown);
    assert_eq!(found.machine.hz, Some(250));
    assert_eq!(found.notes.len(), 1);
    assert!(found.notes[0].text.contains("netlink socket"));
    let newer = inventory("=== flowlapse: collector 2\n");
    assert!(newer.notes[0].text.contains("another version"));
}

#[test]
fn the_collector_is_a_script_that_only_reads() {
    assert!(COLLECTOR.starts_with("#!/bin/sh\n"));
    for line in COLLECTOR.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for word in ["sysctl -w", " rm ", "[[ ", "local ", "<(", "function ", "modprobe", "--set", ">/proc", "&>", "echo -e", "echo -n"] {
            assert!(!line.contains(word), "{line}");
        }
    }
}

/// The script on this machine, by whatever its shell is.
#[cfg(target_os = "linux")]
#[test]
fn the_collector_runs_here_and_is_read() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut shell = match Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(shell) => shell,
        Err(error) => {
            eprintln!("skipped: there is no shell: {error}");
            return;
        }
    };
    shell.stdin.take().expect("a pipe").write_all(COLLECTOR.as_bytes()).expect("the script");
    let output = shell.wait_with_output().expect("the shell's output");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("=== flowlapse: collector 1\n") && text.ends_with("=== flowlapse: end\n"), "{text}");
    let found = inventory(&text);
    assert!(found.machine.taken.is_some() && found.machine.release.is_some());
    assert!(found.has(Kind::Sysctls) && found.sysctl("net.ipv4.tcp_keepalive_time").is_some());
}
