//! Several texts in one, and texts about something else.

use crate::{fixture, inventory, unread};
use flowlapse::inventory::{Inventory, Kind};

/// Every fixture that is read without a complaint, and what it is.
pub(crate) const CLEAN: [(&str, Kind); 28] = [
    ("conntrack-L-6.18.txt", Kind::Conntrack),
    ("conntrack-L-extended-id-6.18.txt", Kind::Conntrack),
    ("proc-nf_conntrack-6.18.txt", Kind::Conntrack),
    ("conntrack-E-6.18.txt", Kind::ConntrackEvents),
    ("conntrack-E-timestamp-6.18.txt", Kind::ConntrackEvents),
    ("ipvsadm-Lnc-6.1.txt", Kind::IpvsConns),
    ("ipvsadm-Lnc-persistent-6.1.txt", Kind::IpvsConns),
    ("proc-ip_vs_conn-6.1.txt", Kind::IpvsConns),
    ("proc-ip_vs_conn_sync-6.1.txt", Kind::IpvsConns),
    ("ipvsadm-Ln-6.1.txt", Kind::IpvsServices),
    ("ipvsadm-Sn-6.1.txt", Kind::IpvsServices),
    ("ipvsadm-timeout-6.1.txt", Kind::IpvsTimeouts),
    ("ss-tno-6.18.txt", Kind::Sockets),
    ("ss-Htno-6.18.txt", Kind::Sockets),
    ("ss-tnopie-6.18.txt", Kind::Sockets),
    ("ss-tano-6.18.txt", Kind::Sockets),
    ("netstat-tno-6.18.txt", Kind::Sockets),
    ("netstat-tnopW-6.18.txt", Kind::Sockets),
    ("sysctl-a-6.1.txt", Kind::Sysctls),
    ("grep-proc-sys-6.1.txt", Kind::Sysctls),
    ("nft-6.18.txt", Kind::Nft),
    ("nft-a-6.18.txt", Kind::Nft),
    ("nft-of-iptables-6.18.txt", Kind::Nft),
    ("iptables-save-6.18.txt", Kind::Iptables),
    ("iptables-S-6.18.txt", Kind::Iptables),
    ("ip6tables-save-6.18.txt", Kind::Iptables),
    ("nfct-list-timeout-6.18.txt", Kind::Iptables),
    ("sshd-T-6.1.txt", Kind::Sshd),
];

/// How much there is of everything.
fn counts(found: &Inventory) -> [usize; 11] {
    [
        found.sysctls.len(),
        found.ipvs_timeouts.len(),
        found.services.len(),
        found.ipvs_conns.len(),
        found.conntrack.len(),
        found.events.len(),
        found.sockets.len(),
        found.ssh.len(),
        found.rules.len(),
        found.timeout_policies.len(),
        found.kube_proxy.len(),
    ]
}

#[test]
fn texts_are_told_apart_in_any_order_with_prompts_or_without_anything_between_them() {
    for separator in ["", "\n", "root@director:~# \n", "$ cat it\n"] {
        for turn in 0..CLEAN.len() {
            let (mut all, mut sum) = (String::new(), [0; 11]);
            for at in 0..4 {
                let (name, kind) = CLEAN[(turn + at * 5) % CLEAN.len()];
                let text = fixture(name);
                let single = inventory(&text);
                assert!(single.has(kind), "{name}");
                sum.iter_mut().zip(counts(&single)).for_each(|(sum, count)| *sum += count);
                all.push_str(separator);
                all.push_str(&text);
            }
            let found = inventory(&all);
            assert_eq!(unread(&found), [""; 0], "{turn} {separator:?}");
            assert_eq!(counts(&found), sum, "{turn} {separator:?}");
        }
    }
}

#[test]
fn places_are_lines_of_the_text() {
    let found = inventory("hello\r\n\r\nTimeout (tcp tcpfin udp): 900 120 300\r\nnet.ipv4.vs.secure_tcp = 1\r\n");
    assert_eq!(found.ipvs_timeouts[0].at.to_string(), "text:3");
    assert_eq!(found.sysctls[0].at.to_string(), "text:4");
    assert_eq!(found.sysctls[0].value, "1");
    assert_eq!(found.ignored, 1);
}

#[test]
fn what_is_about_something_else_is_ignored() {
    let prose = "Dear all,\nthe router at 192.0.2.1:22 hangs (tcp), see below.\n\n\
                 src: somewhere\nhost is down\ntable of contents\nchain of events\nkind: Deployment\nmode: fast\n";
    let found = inventory(prose);
    assert_eq!(unread(&found), [""; 0]);
    assert_eq!(counts(&found), [0; 11]);
    for text in [
        "",
        "\n\n",
        "\u{feff}",
        "=== flowlapse: ",
        "=== flowlapse: whatever\n",
        "\0\0\0",
        "{",
        "}",
        "*",
        "-A",
        "-A -t",
        ":",
        "[",
        "TCP",
        ".",
    ] {
        assert_eq!(counts(&inventory(text)), [0; 11], "{text:?}");
    }
}

#[test]
fn the_end_of_a_text_may_be_the_end_of_a_number() {
    for text in [
        "net.ipv4.tcp_keepalive_time = 72",
        "TCP 14:53  ESTABLISHED 192.0.2.7:51022    198.51.100.10:22   10.0.1.5:2",
        "Timeout (tcp tcpfin udp): 900 120 3",
    ] {
        assert!(inventory(text).notes[0].text.contains("too short"), "{text}");
        assert!(inventory(&format!("{text}\n")).notes.is_empty(), "{text}");
    }
}

#[test]
fn a_million_lines_take_a_moment() {
    let table = fixture("conntrack-L-6.18.txt");
    let text = table.repeat(20_000);
    let begin = std::time::Instant::now();
    let found = inventory(&text);
    assert_eq!(found.conntrack.len(), 100_000);
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    // Nothing is quadratic: neither unclosed braces nor services without end.
    for text in [
        "table ip x {\nchain y {\n{ {\n".repeat(20_000),
        "ct timeout a {\n".repeat(20_000),
        "-A -t 192.0.2.1:22 -s rr\n-a -t 192.0.2.9:22 -r 192.0.2.2:22 -m -w 1\n".repeat(20_000),
        "virtual_server 192.0.2.1 22 {\n".repeat(20_000),
        "{".repeat(100_000),
        ".x = {\n".repeat(20_000),
    ] {
        let begin = std::time::Instant::now();
        inventory(&text);
        assert!(begin.elapsed().as_secs() < 10, "{:?} {}", begin.elapsed(), &text[..20]);
    }
}
