//! ss and netstat.

use crate::{fixture, inventory, nothing_unread, of_fixture, sock, unread};
use flowlapse::inventory::{Kind, Socket, SocketTimer};
use flowlapse::time::Duration;

fn find<'s>(sockets: &'s [Socket], local: &str) -> &'s Socket {
    sockets.iter().find(|socket| socket.local == sock(local)).unwrap_or_else(|| panic!("{local}: {sockets:?}"))
}

#[test]
fn ss_shows_sockets_and_their_timers() {
    let found = of_fixture("ss-tno-6.18.txt");
    nothing_unread("ss -tno", &found);
    assert_eq!(found.sockets.len(), 17);
    let timer = |local: &str| find(&found.sockets, local).timer;
    assert_eq!(timer("198.51.100.7:35475"), Some((SocketTimer::Keepalive, Duration::from_secs(119 * 60), 0)));
    assert_eq!(timer("198.51.100.7:35527"), Some((SocketTimer::Keepalive, Duration::from_secs(92), 0)));
    assert_eq!(timer("198.51.100.7:55771"), Some((SocketTimer::Keepalive, Duration::from_millis(6724), 0)));
    assert_eq!(timer("198.51.100.7:59695"), Some((SocketTimer::Persist, Duration::from_millis(1156), 0)));
    assert_eq!(timer("198.51.100.7:37003"), Some((SocketTimer::Retransmission, Duration::from_millis(780), 2)));
    assert_eq!(timer("198.51.100.7:44507"), Some((SocketTimer::TimeWait, Duration::from_secs(57), 0)));
    assert_eq!(timer("198.51.100.7:41663"), None);
    assert_eq!(timer("[2001:db8:1::7]:56417"), Some((SocketTimer::Keepalive, Duration::from_secs(9 * 60 + 57), 0)));
    // An IPv4 address in IPv6 is one of IPv4 on the wire.
    assert_eq!(find(&found.sockets, "192.0.2.1:8080").peer, sock("198.51.100.7:34203"));
    assert_eq!(find(&found.sockets, "198.51.100.7:59695").queues, [0, 3_782_144]);
    assert_eq!(find(&found.sockets, "198.51.100.7:37003").state, "SYN-SENT");
}

#[test]
fn further_options_of_ss_change_nothing() {
    let key = |socket: &Socket| (socket.local, socket.peer, socket.state.clone(), socket.timer.map(|timer| timer.0));
    let mut plain: Vec<_> = of_fixture("ss-tno-6.18.txt").sockets.iter().map(key).collect();
    plain.sort_by_key(|row| (row.0, row.1));
    for name in
        ["ss-Htno-6.18.txt", "ss-tnopie-6.18.txt", "ss-tano-6.18.txt", "ss-ano-6.18.txt", "netstat-tno-6.18.txt", "netstat-tnopW-6.18.txt"]
    {
        let found = of_fixture(name);
        nothing_unread(name, &found);
        let mut rows: Vec<_> = found.sockets.iter().map(key).collect();
        rows.sort_by_key(|row| (row.0, row.1));
        assert_eq!(rows, plain, "{name}");
    }
    let programs = of_fixture("ss-tnopie-6.18.txt");
    assert_eq!(find(&programs.sockets, "198.51.100.7:35475").program.as_deref(), Some("python3"));
    let programs = of_fixture("netstat-tnopW-6.18.txt");
    assert_eq!(find(&programs.sockets, "198.51.100.7:35475").program.as_deref(), Some("python3"));
}

#[test]
fn service_names_are_not_guessed() {
    let found = of_fixture("ss-to-6.18.txt");
    assert!(found.unread[0].why.contains("ss -tno"), "{:?}", unread(&found));
    assert!(found.sockets.iter().all(|socket| socket.local.port != 22 && socket.peer.port != 22));
}

#[test]
fn spans_of_all_versions_scopes_and_continued_lines() {
    let line = |rest: &str| format!("ESTAB 0 0 [fe80::1%eth0]:22 192.0.2.7%eth1:51022 {rest}\n");
    for (text, millis) in [
        ("timer:(keepalive,7.716ms,0)", 7716),
        ("timer:(keepalive,7.716sec,0)", 7716),
        ("timer:(keepalive,004ms,0)", 4),
        ("timer:(keepalive,12sec,0)", 12_000),
        ("timer:(keepalive,1min33sec,0)", 93_000),
        ("timer:(keepalive,2min,0)", 120_000),
        ("timer:(keepalive,119min,0)", 119 * 60_000),
        ("timer:(keepalive,,0)", 0),
        ("users:((\"my (odd) name\",pid=1,fd=3)) timer:(keepalive,1min,0) ino:1 sk:2 <->", 60_000),
    ] {
        let found = inventory(&line(text));
        assert_eq!(found.sockets[0].timer, Some((SocketTimer::Keepalive, Duration::from_millis(millis), 0)), "{text}");
        assert_eq!(found.sockets[0].local, sock("[fe80::1]:22"));
        assert_eq!(found.sockets[0].peer, sock("192.0.2.7:51022"));
    }
    let narrow = inventory("ESTAB 0 0 192.0.2.1:22 192.0.2.7:51022\n     users:((\"sshd\",pid=1,fd=3)) timer:(on,240ms,3)\n");
    assert_eq!(narrow.sockets[0].timer, Some((SocketTimer::Retransmission, Duration::from_millis(240), 3)));
    assert_eq!(narrow.sockets[0].program.as_deref(), Some("sshd"));
    // As ss prints it.
    let bound = inventory("ESTAB 0      0      [fe80::483e:c5ff:fe1c:ff]%v0:22022 [fe80::483e:c5ff:fe1c:ff]:38898\n");
    assert_eq!(bound.sockets[0].local, sock("[fe80::483e:c5ff:fe1c:ff]:22022"));
    for wrong in [
        "timer:(keepalive,7.7ms,0)",
        "timer:(keepalive,119min,0",
        "timr:(keepalive,119min,0)",
        "timer:(kepalive,9min,0)",
        "timer:(keepalive,9mim,0)",
    ] {
        let found = inventory(&line(wrong));
        assert!(found.sockets.is_empty() && found.unread.len() == 1, "{wrong}: {found:?}");
    }
}

#[test]
fn a_line_that_ss_would_have_filled_was_cut() {
    let whole = fixture("ss-tno-6.18.txt");
    let cut: String =
        whole.lines().map(|line| if line.contains(":59695") { format!("{}\n", &line[..75]) } else { format!("{line}\n") }).collect();
    let found = inventory(&cut);
    assert_eq!(found.sockets.len(), 15, "{:?}", unread(&found));
    assert!(found.unread.iter().all(|line| line.why.contains("cut off") && line.kind == Kind::Sockets));
    // Where blanks were taken away everywhere, there is nothing to tell it by.
    let bare: String = whole.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    nothing_unread("without blanks", &inventory(&bare));
}

#[test]
fn netstat_cuts_long_addresses_and_its_timers_need_an_option() {
    let long = "tcp6       0      0 2001:db8:1234:5678:9abc:41000 2001:db8::1:22          ESTABLISHED keepalive (598.64/0/0)\n";
    assert!(unread(&inventory(long))[0].contains("netstat -W"));
    let without = "tcp        0      0 192.0.2.1:22            198.51.100.7:40609      ESTABLISHED\n";
    assert!(unread(&inventory(without))[0].contains("netstat -tno"));
}
