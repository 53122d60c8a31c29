//! Tables of connections and of services.

use crate::{fixture, inventory, named, nothing_unread, of_fixture, sock, unread};
use flowlapse::inventory::{ConntrackEntry, Happened, Kind, ServiceKey, TimeoutSource};
use flowlapse::net::Proto;
use flowlapse::policy::ipvs::{Method, Scheduler};
use flowlapse::time::{Duration, Instant};

fn facts(entry: &ConntrackEntry) -> (Proto, Option<u64>, Option<&str>, String, Option<String>) {
    let tuple = |tuple: flowlapse::inventory::Tuple| format!("{} > {}", tuple.src, tuple.dst);
    (entry.proto, entry.left.map(Duration::as_secs), entry.state.as_deref(), tuple(entry.original), entry.reply.map(tuple))
}

#[test]
fn conntrack_lists_the_same_table_in_three_forms() {
    let plain = of_fixture("conntrack-L-6.18.txt");
    nothing_unread("conntrack -L", &plain);
    assert_eq!(plain.conntrack.len(), 5);
    assert_eq!(
        facts(&plain.conntrack[1]),
        (
            Proto::Tcp,
            Some(431_998),
            Some("ESTABLISHED"),
            "198.51.100.7:46327 > 192.0.2.9:2222".to_owned(),
            Some("192.0.2.1:22 > 198.51.100.7:46327".to_owned())
        )
    );
    assert_eq!((plain.conntrack[1].source_nat(), plain.conntrack[1].destination_nat()), (false, true));
    assert_eq!((plain.conntrack[2].source_nat(), plain.conntrack[2].destination_nat()), (true, false));
    assert!(plain.conntrack[1].assured && !plain.conntrack[1].unreplied);
    assert_eq!(plain.conntrack[1].packets, Some([2, 1]));
    assert_eq!(plain.conntrack[3].original.src, sock("[2001:db8:1::7]:53057"));
    let udp = &plain.conntrack[4];
    assert_eq!((udp.proto, udp.left, udp.state.as_deref(), udp.unreplied), (Proto::Udp, Some(Duration::from_secs(1)), None, true));
    for other in ["conntrack-L-extended-id-6.18.txt", "proc-nf_conntrack-6.18.txt"] {
        let found = of_fixture(other);
        nothing_unread(other, &found);
        assert_eq!(found.conntrack.iter().map(facts).collect::<Vec<_>>(), plain.conntrack.iter().map(facts).collect::<Vec<_>>(), "{other}");
        assert!(found.has(Kind::Conntrack) && found.ignored == 0);
    }
}

#[test]
fn conntrack_entries_of_old_kernels_of_other_protocols_and_of_flow_tables() {
    // Written by hand from the specification: 2.4, 2.6 with zone and mark, offloaded entries, and others than TCP and UDP.
    let text = "\
tcp      6 431999 ESTABLISHED src=192.0.2.7 dst=198.51.100.1 sport=1025 dport=22 src=198.51.100.1 dst=192.0.2.7 sport=22 dport=1025 [ASSURED] use=1\x20
ipv4     2 tcp      6 src=192.0.2.7 dst=198.51.100.1 sport=1026 dport=22 packets=9 bytes=900 src=198.51.100.1 dst=192.0.2.7 sport=22 dport=1026 packets=8 bytes=800 [HW_OFFLOAD] mark=0 secctx=system_u:object_r:unlabeled_t:s0 zone=3 use=3
tcp      6 src=192.0.2.7 dst=198.51.100.1 sport=1027 dport=22 src=198.51.100.1 dst=192.0.2.7 sport=22 dport=1027 [OFFLOAD] mark=1 delta-time=5 [start=Thu Jan  1 00:00:00 2026] use=2 labels=a,b id=7
icmp     1 29 src=192.0.2.7 dst=198.51.100.1 type=8 code=0 id=1 src=198.51.100.1 dst=192.0.2.7 type=0 code=0 id=1 mark=0 use=1
unknown  2 500 src=192.0.2.7 dst=224.0.0.1 [UNREPLIED] src=224.0.0.1 dst=192.0.2.7 mark=0 use=1
conntrack v1.4.7 (conntrack-tools): 5 flow entries have been shown.
";
    let found = inventory(text);
    assert_eq!(unread(&found), [""; 0]);
    assert_eq!((found.conntrack.len(), found.ignored), (3, 2));
    let [old, hardware, software] = found.conntrack.as_slice() else { panic!() };
    assert_eq!((old.left, old.packets, old.zone), (Some(Duration::from_secs(431_999)), None, 0));
    assert_eq!((hardware.left, hardware.state.as_deref(), hardware.offloaded, hardware.zone), (None, None, true, 3));
    assert!(software.offloaded && !software.assured);
    assert!(inventory("conntrack v1.4.7 (conntrack-tools): 0 flow entries have been shown.\n").has(Kind::Conntrack));
}

#[test]
fn formats_of_conntrack_that_are_not_read_are_named() {
    for (name, said) in [("conntrack-L-save-6.18.txt", "conntrack -o save"), ("conntrack-L-xml-6.18.txt", "conntrack -o xml")] {
        let found = of_fixture(name);
        assert!(found.conntrack.is_empty() && found.services.is_empty() && !found.unread.is_empty(), "{name}");
        assert!(found.unread.iter().all(|line| line.kind == Kind::Conntrack && line.why.contains(said)), "{name}: {:?}", unread(&found));
    }
}

#[test]
fn conntrack_tells_events_with_and_without_their_time() {
    let timed = of_fixture("conntrack-E-timestamp-6.18.txt");
    nothing_unread("conntrack -E -o timestamp", &timed);
    assert_eq!(timed.events.len(), 16);
    assert_eq!(timed.events[0].time, Some(Instant(1_795_551_931_628_072_000)));
    assert_eq!(timed.events[0].happened, Happened::New);
    assert_eq!(facts(&timed.events[0].entry).1, Some(120));
    let last = &timed.events[15];
    assert_eq!((last.happened, last.entry.left, last.entry.packets), (Happened::Destroy, Some(Duration::from_secs(431_998)), Some([2, 1])));
    let plain = of_fixture("conntrack-E-6.18.txt");
    nothing_unread("conntrack -E", &plain);
    assert!(plain.events.iter().all(|event| event.time.is_none()));
    assert_eq!(plain.events.len(), 16);
    assert!(plain.has(Kind::ConntrackEvents) && !plain.has(Kind::Conntrack));
}

#[test]
fn ipvsadm_and_the_kernel_list_the_same_connections() {
    let key = |conn: &flowlapse::inventory::IpvsConn| (conn.client, conn.vip, conn.real, conn.state.clone(), conn.template);
    let printed = of_fixture("ipvsadm-Lnc-6.1.txt");
    nothing_unread("ipvsadm -Lnc", &printed);
    assert_eq!(printed.ipvs_conns.len(), 11);
    let mut wanted: Vec<_> = printed.ipvs_conns.iter().map(key).collect();
    wanted.sort_by_key(|row| (row.0, row.1, row.2));
    for name in ["ipvsadm-Lnc-persistent-6.1.txt", "proc-ip_vs_conn-6.1.txt", "proc-ip_vs_conn_sync-6.1.txt"] {
        let found = of_fixture(name);
        nothing_unread(name, &found);
        let mut rows: Vec<_> = found.ipvs_conns.iter().map(key).collect();
        rows.sort_by_key(|row| (row.0, row.1, row.2));
        assert_eq!(rows, wanted, "{name}");
        assert!(found.ipvs_conns.iter().all(|conn| !conn.synced));
    }
    let six = printed.ipvs_conns.iter().find(|conn| conn.client.addr.is_v6() && !conn.template).expect("an IPv6 connection");
    assert_eq!((six.vip, six.real), (sock("[2001:db8::10]:22"), sock("[2001:db8:a::5]:22")));
    let mark = printed.ipvs_conns.iter().find(|conn| conn.proto.is_none()).expect("a template of a firewall mark");
    assert_eq!((mark.vip, mark.template, mark.state.as_str()), (sock("0.0.0.7:0"), true, "ASSURED"));
    assert_eq!(printed.ipvs_conns.iter().filter(|conn| conn.template).count(), 4);
}

#[test]
fn spans_of_ipvsadm_old_kernels_and_synchronised_connections() {
    // By hand: more than an hour, 2.4 with its padding, and a connection that came from the master.
    let found = inventory(
        "pro expire state       source             virtual            destination\n\
         TCP 120:00 ESTABLISHED 192.0.2.7:51022    198.51.100.10:22   10.0.1.5:22\n",
    );
    assert_eq!(found.ipvs_conns[0].left, Duration::from_secs(7200));
    let line = format!("{:<127}\n", "TCP C0000207 C74E C633640A 0016 0A000105 0016 ESTABLISHED     893");
    let old = inventory(&format!("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires\n{line}"));
    assert_eq!((old.ipvs_conns.len(), old.ipvs_conns[0].left), (1, Duration::from_secs(893)));
    let synced = inventory("TCP C0000207 C74E C633640A 0016 0A000105 0016 ESTABLISHED SYNC       180\n");
    assert!(synced.ipvs_conns[0].synced);
}

#[test]
fn names_instead_of_numbers_are_not_guessed() {
    let found = of_fixture("ipvsadm-Lc-6.1.txt");
    assert!(found.ipvs_conns.iter().all(|conn| conn.template && conn.proto.is_none() || conn.vip.port == 8080), "{:?}", found.ipvs_conns);
    assert!(found.unread[0].why.contains("ipvsadm -Lnc"), "{:?}", unread(&found));
    assert!(found.unread[1..].iter().all(|line| line.why.contains("as above")));
    let rules = of_fixture("ipvsadm-S-6.1.txt");
    assert!(rules.unread[0].why.contains("ipvsadm -Sn"));
    assert!(rules.services.iter().all(|service| matches!(service.key, ServiceKey::Fwmark(_))));
}

/// A service without its real servers, of which there are so many.
type Row = (Option<Proto>, String, Option<Scheduler>, Option<Duration>, bool, usize);

#[test]
fn services_are_the_same_from_ipvsadm_and_from_the_kernel() {
    let saved = of_fixture("ipvsadm-Sn-6.1.txt");
    nothing_unread("ipvsadm -Sn", &saved);
    assert_eq!(saved.services.len(), 8);
    let ssh = &saved.services[0];
    assert_eq!((ssh.proto, ssh.key), (Some(Proto::Tcp), ServiceKey::Sock(sock("198.51.100.10:22"))));
    assert_eq!((ssh.scheduler, ssh.persistence), (Some(Scheduler::Wlc), Some(Duration::from_secs(360))));
    let reals: Vec<_> = ssh.reals.iter().map(|real| (real.sock, real.method, real.weight)).collect();
    assert_eq!(reals, [(sock("10.0.1.5:22"), Some(Method::Nat), Some(1)), (sock("10.0.1.6:22"), Some(Method::Nat), Some(3))]);
    assert_eq!(saved.services[1].reals[1].method, Some(Method::Tun));
    assert!(saved.services[2].one_packet);
    assert_eq!(saved.services[6].key, ServiceKey::Fwmark(7));
    assert_eq!(saved.services[7].reals[0].sock, sock("[2001:db8:a::5]:8080"));

    let rows = |found: &flowlapse::inventory::Inventory| {
        let mut rows: Vec<Row> = found
            .services
            .iter()
            .map(|one| (one.proto, format!("{:?}", one.key), one.scheduler, one.persistence, one.one_packet, one.reals.len()))
            .collect();
        rows.sort_by(|left, right| left.1.cmp(&right.1));
        rows
    };
    let listed = of_fixture("ipvsadm-Ln-6.1.txt");
    nothing_unread("ipvsadm -Ln", &listed);
    assert_eq!(rows(&listed), rows(&saved));
    // The kernel prints ticks.
    let mut proc_file = flowlapse::inventory::Inventory::default();
    proc_file.machine.hz = Some(100);
    flowlapse::inventory::read(&fixture("proc-ip_vs-6.1.txt"), "ip_vs", &mut proc_file);
    nothing_unread("ip_vs", &proc_file);
    assert_eq!(rows(&proc_file), rows(&saved));
    let without = of_fixture("proc-ip_vs-6.1.txt");
    assert!(without.unread.iter().any(|line| line.why.contains("CONFIG_HZ")), "{:?}", unread(&without));
    assert!(without.services.iter().all(|service| service.persistence.is_none()));
}

#[test]
fn other_columns_of_ipvsadm_show_less_and_that_is_said() {
    for name in ["ipvsadm-Ln-stats-6.1.txt", "ipvsadm-Ln-rate-6.1.txt", "ipvsadm-Ln-thresholds-6.1.txt", "ipvsadm-Ln-persistent-6.1.txt"] {
        let found = of_fixture(name);
        nothing_unread(name, &found);
        assert_eq!((found.services.len(), found.notes.len()), (8, 1), "{name}");
        assert!(found.services.iter().all(|service| service.reals.is_empty()), "{name}");
    }
}

#[test]
fn ipvs_timeouts_are_shown_or_set() {
    let found = of_fixture("ipvsadm-timeout-6.1.txt");
    let one = &found.ipvs_timeouts[0];
    let seconds = Duration::from_secs;
    assert_eq!(
        (one.tcp, one.tcpfin, one.udp, one.source),
        (Some(seconds(900)), Some(seconds(120)), Some(seconds(300)), TimeoutSource::Shown)
    );
    let set = inventory("ipvsadm --set 0 60 0\n");
    assert_eq!((set.ipvs_timeouts[0].tcp, set.ipvs_timeouts[0].tcpfin), (None, Some(seconds(60))));
    for wrong in
        ["Timeout (tcp tcpfin udp): 900 120", "Timeout (tcp tcpfin udp): 9o0 120 300", "Timeout (tcp tcpfin udp): 900 120 30000000"]
    {
        let found = inventory(&format!("{wrong}\n"));
        assert!(found.ipvs_timeouts.is_empty() && found.unread.len() == 1, "{wrong}");
    }
    assert_eq!(unread(&named(Kind::IpvsTimeouts, "900 120 300\n")).len(), 1);
}
