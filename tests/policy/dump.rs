//! What people paste, and the boxes that it makes.

use flowlapse::policy::{BoxPolicy, BoxSpec, ConntrackPolicy, Dump, IpvsPolicy, dump, parse, parse_short};
use proptest::prelude::*;

fn read(text: &str) -> Dump {
    dump::read(text, "old.sysctl").unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    dump::read(text, "old.sysctl").expect_err(text).to_string()
}

fn conntrack(short: &str) -> ConntrackPolicy {
    match parse_short(short).expect("a box").policy {
        BoxPolicy::Conntrack(policy) => policy,
        other => panic!("{other}"),
    }
}

fn ipvs(short: &str) -> IpvsPolicy {
    match parse_short(short).expect("a box").policy {
        BoxPolicy::Ipvs(policy) => policy,
        other => panic!("{other}"),
    }
}

/// The form of `sysctl -a` on a router; the values are this test's own.
const SYSCTL_A: &str = "\
kernel.hostname = router
net.core.somaxconn = 4096
net.ipv4.tcp_keepalive_intvl = 75
net.ipv4.tcp_keepalive_probes = 9
net.ipv4.tcp_keepalive_time = 7200
net.ipv4.tcp_retries2 = 15
net.netfilter.nf_conntrack_acct = 0
net.netfilter.nf_conntrack_buckets = 65536
net.netfilter.nf_conntrack_count = 211
net.netfilter.nf_conntrack_dccp_timeout_open = 43200
net.netfilter.nf_conntrack_frag6_timeout = 60
net.netfilter.nf_conntrack_generic_timeout = 600
net.netfilter.nf_conntrack_max = 262144
net.netfilter.nf_conntrack_sctp_timeout_established = 210
net.netfilter.nf_conntrack_tcp_be_liberal = 0
net.netfilter.nf_conntrack_tcp_loose = 1
net.netfilter.nf_conntrack_tcp_max_retrans = 3
net.netfilter.nf_conntrack_tcp_timeout_close = 10
net.netfilter.nf_conntrack_tcp_timeout_established = 3600
net.netfilter.nf_conntrack_tcp_timeout_unacknowledged = 300
net.netfilter.nf_conntrack_udp_timeout = 30
net.netfilter.nf_conntrack_udp_timeout_stream = 120
net.netfilter.nf_conntrack_udplite_timeout = 30
net.netfilter.nf_flowtable_tcp_timeout = 30
net.nf_conntrack_max = 262144
sysctl: permission denied on key 'net.ipv6.conf.all.stable_secret'
";

#[test]
fn the_output_of_sysctl_is_a_conntrack_box() {
    let dump = read(SYSCTL_A);
    let wanted =
        "conntrack:established=3600,close=10,unack=300,udp=30,udp_stream=120,loose=1,liberal=0,max_retrans=3,max=262144,buckets=65536";
    assert_eq!(dump.conntrack, Some(conntrack(wanted)));
    assert_eq!(dump.ipvs, None);
    assert_eq!(dump.endpoint.len(), 4);
    assert_eq!(dump.endpoint[2], ("net.ipv4.tcp_keepalive_time".to_owned(), "7200".to_owned()));
    assert_eq!(dump.ignored, 11);
    assert!(dump.notes.is_empty());
}

#[test]
fn files_of_sysctl_d_are_read_in_every_spelling() {
    let dump = read(
        "\u{feff}# comment = 1\r\n; another\r\n\r\n-net.netfilter.nf_conntrack_tcp_timeout_established=1h\r\n\
         net/netfilter/nf_conntrack_tcp_loose = 0\r\n  /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close = 20\r\n\
         net.ipv4.netfilter.ip_conntrack_tcp_timeout_syn_sent2 = 100\nnet.ipv4.ip_conntrack_max = 0\n\
         sysctl -w net.netfilter.nf_conntrack_tcp_timeout_fin_wait=\"60\"\necho 45 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout\n",
    );
    assert_eq!(dump.conntrack, Some(conntrack("conntrack:established=3600,loose=0,close=20,syn_sent2=100,fin_wait=60,udp=45")));
    assert_eq!(dump.ignored, 0);
}

#[test]
fn listings_of_files_are_sysctls() {
    let dump = read(
        "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established:3600\n/proc/sys/net/ipv4/vs/secure_tcp:3\n\
         net/netfilter/nf_conntrack_tcp_loose:0\n/proc/sys/net/ipv4/tcp_keepalive_time:600\n/proc/sys/net/ipv4/vs/tcp_timeout_close:10\n",
    );
    assert_eq!(dump.conntrack, Some(conntrack("conntrack:established=3600,loose=0")));
    assert_eq!(dump.ipvs, Some(ipvs("ipvs:secure_tcp=3")));
    assert_eq!(dump.endpoint, [("net.ipv4.tcp_keepalive_time".to_owned(), "600".to_owned())]);
    assert!(dump.notes[0].contains("of no mainline kernel"), "{:?}", dump.notes);
}

#[test]
fn a_later_line_holds_and_the_note_says_so() {
    let dump = read("nf_conntrack_tcp_loose=1\nnf_conntrack_tcp_loose=1\nnf_conntrack_tcp_loose=0");
    assert_eq!(dump.conntrack, Some(conntrack("conntrack:loose=0")));
    assert_eq!(dump.notes, ["line 3 changes 'loose' of conntrack, which line 2 had set"]);
}

#[test]
fn ipvs_is_known_by_its_sysctls_and_by_ipvsadm() {
    for (text, short) in [
        ("Timeout (tcp tcpfin udp): 900 120 300", "ipvs:tcp=900,tcpfin=120,udp=300"),
        ("ipvsadm --set 900 120 300", "ipvs:tcp=900,tcpfin=120,udp=300"),
        ("# ipvsadm\n  --set 0 60 0", "ipvs:tcpfin=60"),
        ("900,120,300", "ipvs:tcp=900,tcpfin=120,udp=300"),
        ("900 120 300", "ipvs:tcp=900,tcpfin=120,udp=300"),
        ("ipvsadm --set 900 120 300\nipvsadm --set 0 0 60", "ipvs:tcp=900,tcpfin=120,udp=60"),
        ("net.ipv4.vs.secure_tcp = 3\nnet.ipv4.vs.sync_threshold = 3\t50\nnet.ipv4.vs.timeout_udp = 100", "ipvs:secure_tcp=3,dos_udp=100"),
        ("global_defs {\n  lvs_timeouts tcp 7200 udp 60\n}", "ipvs:tcp=7200,udp=60"),
        ("net.ipv4.vs.conntrack = 1\nnet.ipv4.vs.conn_max = 5", "ipvs:conntrack=1"),
        ("- --ipvs-tcp-timeout=15m0s\n- --ipvs-tcpfin-timeout=0s\n- --v=2", "ipvs:tcp=900"),
        ("kube-proxy --proxy-mode=ipvs --ipvs-udp-timeout 5m \"--ipvs-tcp-timeout=2h\",", "ipvs:tcp=7200,udp=300"),
        ("ipvs:\n  excludeCIDRs:\n  - 10.0.0.0/8\n  tcpTimeout: 15m0s\n  udpTimeout: 0s\nmode: \"\"\nudpTimeout: 5s", "ipvs:tcp=900"),
    ] {
        let dump = read(text);
        assert_eq!((dump.ipvs, dump.conntrack), (Some(ipvs(short)), None), "{text}");
    }
    assert!(
        read("net.ipv4.vs.tcp_timeout_established = 900000").notes[0].starts_with("line 1: net.ipv4.vs.tcp_timeout_established is of no")
    );
}

#[test]
fn kube_proxy_sets_conntrack_too() {
    let flags = "--conntrack-tcp-timeout-established=24h0m0s --conntrack-tcp-timeout-close-wait=1h0m0s --conntrack-max-per-core=32768 \
                 --conntrack-tcp-be-liberal --conntrack-udp-timeout=0s";
    assert_eq!(read(flags).conntrack, Some(conntrack("conntrack:established=86400,close_wait=3600,liberal=1")));
    let yaml = "conntrack:\n  maxPerCore: null\n  tcpBeLiberal: true\n  tcpCloseWaitTimeout: 1h\n  tcpEstablishedTimeout: null\n  udpTimeout: 10s\nipvs:\n";
    assert_eq!(read(yaml).conntrack, Some(conntrack("conntrack:liberal=1,close_wait=3600,udp=10")));
}

#[test]
fn timeout_policies_of_nft_take_the_place_of_every_timer_of_their_protocol() {
    let table = "\
table inet filter {
	# the one that matters
	ct timeout agg {
		protocol tcp;
		l3proto ip
		comment \"for the aggregators, all of them\"
		policy = { established : 2m, close: 20, retrans : 50,
			unack : 40 } # end
	}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		tcp dport 22 ct timeout set \"agg\"
	}
}
net.netfilter.nf_conntrack_tcp_timeout_fin_wait = 7
net.netfilter.nf_conntrack_udp_timeout = 8
";
    let dump = read(table);
    assert_eq!(dump.conntrack, Some(conntrack("conntrack:established=120,close=20,retrans=50,unack=40,udp=8")));
    assert_eq!(
        dump.notes,
        ["line 3: the timeout policy 'agg' of nft is for the flows that a rule gives it; here it holds for every tcp flow"]
    );
    let line = r"nft add ct timeout inet filter x '{ protocol udp\; policy = { unreplied: 10, replied: 1m30s }\; }'";
    assert_eq!(read(line).conntrack, Some(conntrack("conntrack:udp=10,udp_stream=90")));
    // nfct leaves what it does not name to the sysctls.
    let nfct = "nfct add timeout ssh inet tcp established 7200 close_wait 10\nnf_conntrack_tcp_timeout_close = 5";
    assert_eq!(read(nfct).conntrack, Some(conntrack("conntrack:established=7200,close_wait=10,close=5")));
    let both = "ct timeout a { protocol tcp; policy = { close: 1 } }\nct timeout b { protocol tcp; policy = { close: 2 } }";
    assert_eq!(
        refused(both),
        "old.sysctl:2: 'b' is a second timeout policy for tcp, after 'a' in line 1; a box has one here: keep the one that you ask about"
    );
}

#[test]
fn mistakes_are_said_with_file_and_line() {
    for (text, message) in [
        (
            "a = 1\nnet.netfilter.nf_conntrack_tcp_timeout_establishd = 5",
            "2: the kernel has no sysctl 'net.netfilter.nf_conntrack_tcp_timeout_establishd'; did you mean 'net.netfilter.nf_conntrack_tcp_timeout_established'?",
        ),
        (
            "net.netfilter.nf_conntrack_established = 5",
            "1: the kernel has no sysctl 'net.netfilter.nf_conntrack_established'; did you mean 'net.netfilter.nf_conntrack_tcp_timeout_established'?",
        ),
        ("net.ipv4.vs.tcp = 5", "1: the kernel has no sysctl 'net.ipv4.vs.tcp'; leave it out"),
        ("net.ipv4.vs.secure_tpc = 5", "1: the kernel has no sysctl 'net.ipv4.vs.secure_tpc'; did you mean 'net.ipv4.vs.secure_tcp'?"),
        (
            "\n\nnf_conntrack_tcp_timeout_close = soon",
            "3: 'close' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not 'soon'",
        ),
        ("net.ipv4.vs.secure_tcp = 4", "1: 'secure_tcp' takes 0, 1, 2 or 3, not '4'"),
        (
            "ipvsadm --set 900 120",
            "1: ipvsadm's timeouts are three whole numbers of seconds, tcp tcpfin udp, as in '900 120 300', not '900 120'",
        ),
        ("--ipvs-tcp-timeout", "1: --ipvs-tcp-timeout has no value, as in '--ipvs-tcp-timeout=15m'"),
        ("ct timeout x {\n policy = { close: 2 }\n}", "1: the timeout policy 'x' needs its protocol, as in 'protocol tcp;'"),
        ("ct timeout x {\n protocol sctp\n}", "1: a timeout policy is for tcp or udp here, not for 'sctp'"),
        (
            "ct timeout x {\n protocol tcp\n policy = { close: 2,\n establishd: 4 }\n}",
            "4: a timeout policy has no timer 'establishd'; did you mean 'established'?",
        ),
        ("ct timeout x {\n protocol tcp\n policy = { close: 2", "1: the timeout policy 'x' has no end: its last '}' is missing"),
        (
            "ct timeout x {\n protocol tcp\n policy = { close 2 } }",
            "3: near 'close': timers are written as in 'policy = { established : 3600, close : 20 }'",
        ),
        (
            "ct timeout x {\n protocol tcp\n policy = { close: 2y } }",
            "3: 'close' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not '2y'",
        ),
        ("lvs_timeouts tcp", "1: lvs_timeouts takes tcp, tcpfin and udp with seconds, as in 'tcp 900 udp 300', not 'tcp'"),
        ("nfct add timeout x inet tcp close", "1: the timer 'close' of 'x' has no value"),
    ] {
        assert_eq!(refused(text), format!("old.sysctl:{message}"), "{text}");
    }
}

fn boxes(spec: &str, content: &str) -> Result<Vec<BoxSpec>, String> {
    let files =
        |name: &str| if name == "old.sysctl" || name == "etc/90-ct.conf" { Ok(content.to_owned()) } else { Err("no such file".to_owned()) };
    parse(spec, &files).map_err(|error| error.to_string())
}

#[test]
fn a_file_that_is_not_json_is_a_dump() {
    let one = boxes("@old.sysctl", SYSCTL_A).unwrap();
    assert_eq!((one.len(), one[0].label.as_str()), (1, "@old.sysctl"));
    assert_eq!(one[0].policy, BoxPolicy::Conntrack(read(SYSCTL_A).conntrack.unwrap()));
    let path = boxes("etc/90-ct.conf", "net.netfilter.nf_conntrack_tcp_loose = 0").unwrap();
    assert_eq!(path[0].policy.to_string(), "conntrack:loose=0");
    assert_eq!(boxes("@old.sysctl", "{\"ipvs\": {}}").unwrap()[0].label, "ipvs");
    assert_eq!(
        boxes("@old.sysctl", "vm.swappiness = 60").unwrap_err(),
        "old.sysctl: sets nothing of a box: write lines such as 'net.netfilter.nf_conntrack_tcp_timeout_established = 3600' (sysctl) \
         or 'Timeout (tcp tcpfin udp): 900 120 300' (ipvsadm -l --timeout), or JSON that begins with '{'"
    );
}

#[test]
fn a_director_that_tracks_connections_is_two_boxes() {
    let vs = "Timeout (tcp tcpfin udp): 900 120 300\n";
    let both = boxes("@old.sysctl", &format!("{vs}{SYSCTL_A}")).unwrap();
    let labels: Vec<&str> = both.iter().map(|one| one.label.as_str()).collect();
    assert_eq!(labels, ["@old.sysctl (ipvs)", "@old.sysctl (conntrack)"]);
    let sizes = boxes("@old.sysctl", &format!("{vs}net.nf_conntrack_max = 1000")).unwrap();
    assert_eq!(sizes.len(), 1);
    assert_eq!(sizes[0].policy.to_string(), "ipvs:tcp=900,tcpfin=120,udp=300");
    assert_eq!(boxes("@old.sysctl", "net.nf_conntrack_max = 1000").unwrap()[0].policy.to_string(), "conntrack:max=1000");
}

#[test]
fn settings_behind_the_name_go_to_every_box_that_has_them() {
    let one = boxes("@old.sysctl:masquerade, dialect=5.10", "nf_conntrack_tcp_loose=0").unwrap();
    assert_eq!(one[0].policy.to_string(), "conntrack:masquerade,dialect=5.10,loose=0");
    assert_eq!(one[0].label, "@old.sysctl:masquerade, dialect=5.10");
    let both = boxes("@old.sysctl:masquerade,dr,kernel=linux-6.1", "900,120,300\nnf_conntrack_tcp_loose=0").unwrap();
    let texts: Vec<String> = both.iter().map(|one| one.policy.to_string()).collect();
    assert_eq!(texts, ["ipvs:dr,dialect=linux-6.1,tcp=900,tcpfin=120,udp=300", "conntrack:masquerade,dialect=linux-6.1,loose=0"]);
    let json = boxes("@old.sysctl:established=600", r#"{"preset": "aws-nlb"}"#).unwrap();
    assert_eq!(json[0].label, "aws-nlb:established=600");
    for (spec, message) in [
        (
            "@old.sysctl:maskerade",
            "box '@old.sysctl:maskerade', character 13: conntrack does not know the word 'maskerade'; did you mean 'masquerade'?",
        ),
        ("@old.sysctl:loose=1,loose=1", "box '@old.sysctl:loose=1,loose=1', character 21: 'loose' is set twice; keep one"),
        (
            "@old.sysctl:loose=1,",
            "box '@old.sysctl:loose=1,', character 21: a setting is missing between two commas, or after the last one",
        ),
        ("@gone:loose=1", "box '@gone:loose=1': the file 'gone' cannot be read: no such file"),
    ] {
        assert_eq!(boxes(spec, "nf_conntrack_tcp_loose=0").unwrap_err(), message);
    }
}

/// Pieces that the readers look for, so that chance puts them together in every wrong way.
const PIECES: [&str; 34] = [
    "ct timeout ",
    "set ",
    "{",
    "}",
    "policy = ",
    "protocol ",
    "tcp",
    ";",
    ":",
    ",",
    "=",
    "\n",
    " ",
    "\"",
    "\\",
    "'",
    "#",
    "é",
    "--set ",
    "900",
    "0",
    "Timeout (tcp tcpfin udp):",
    "nfct add timeout ",
    "--ipvs-tcp-timeout",
    "--conntrack-tcp-be-liberal",
    "ipvs:",
    "tcpTimeout",
    "echo ",
    "> ",
    "net.netfilter.nf_conntrack_",
    "tcp_timeout_close",
    "net.ipv4.vs.",
    "\u{feff}",
    "99999999999999999999",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), picks in prop::collection::vec(0..PIECES.len(), 0..40)) {
        let pieced: String = picks.iter().map(|pick| PIECES[*pick]).collect();
        for text in [&text, &pieced] {
            let once = dump::read(text, "x");
            prop_assert_eq!(&once, &dump::read(text, "x"));
            if let Ok(dump) = once {
                prop_assert!(dump.ignored <= text.lines().count());
            }
        }
        let _ = parse(&format!("@x:{text}"), &|_| Ok(pieced.clone()));
    }
}
