//! The short form: what it means, and the sentence that each mistake gets.

use flowlapse::policy::conntrack::{Input, Nat, Rules};
use flowlapse::policy::idle::{Activity, Kind, OnStray};
use flowlapse::policy::ipvs::{DosTimeouts, Method, Scheduler};
use flowlapse::policy::{BoxPolicy, ConntrackPolicy, IdlePolicy, IpvsPolicy, Place, SettingError, Settings, parse, parse_short};
use flowlapse::time::Duration;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy(text: &str) -> BoxPolicy {
    parse_short(text).unwrap_or_else(|error| panic!("{error}")).policy
}

#[test]
fn conntrack_takes_short_names_and_words() {
    let wanted = ConntrackPolicy {
        dialect: Some("linux-5.10".into()),
        tcp_timeout_established: Some(secs(3600)),
        tcp_loose: Some(0),
        nat: Nat::Masquerade,
        rules: Rules::DropInvalid,
        ..ConntrackPolicy::default()
    };
    for text in [
        "conntrack:masquerade,established=3600,loose=0,rules=drop-invalid,dialect=linux-5.10",
        "conntrack: masquerade , established = 1h , tcp_loose=0, drop_invalid, kernel=linux-5.10",
        "conntrack:nat=masquerade,net.netfilter.nf_conntrack_tcp_timeout_established=3600,nf_conntrack_tcp_loose=0,drop-invalid,dialect=linux-5.10",
        "conntrack:masq,net.ipv4.netfilter.ip_conntrack_tcp_timeout_established=3600,ip_conntrack_tcp_loose=0,ruleset=drop-invalid,kernel=linux-5.10",
        "conntrack:masq,/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established=3600,loose=0,ruleset=drop-invalid,kernel=linux-5.10",
    ] {
        assert_eq!(policy(text), BoxPolicy::Conntrack(wanted.clone()), "{text}");
    }
    assert_eq!(policy("conntrack"), BoxPolicy::Conntrack(ConntrackPolicy::default()));
    assert_eq!(policy("conntrack:"), policy("conntrack"));
}

#[test]
fn every_conntrack_sysctl_reaches_its_own_field() {
    let mut policy = ConntrackPolicy::default();
    for (at, name) in [
        "tcp_timeout_syn_sent",
        "tcp_timeout_syn_recv",
        "tcp_timeout_established",
        "tcp_timeout_fin_wait",
        "tcp_timeout_close_wait",
        "tcp_timeout_last_ack",
        "tcp_timeout_time_wait",
        "tcp_timeout_close",
        "tcp_timeout_syn_sent2",
        "tcp_timeout_max_retrans",
        "tcp_timeout_unacknowledged",
        "udp_timeout",
        "udp_timeout_stream",
        "max",
        "buckets",
        "tcp_max_retrans",
    ]
    .iter()
    .enumerate()
    {
        policy.set(&format!("net.netfilter.nf_conntrack_{name}"), &(100 + at).to_string()).unwrap();
    }
    for name in ["tcp_loose", "tcp_be_liberal", "tcp_ignore_invalid_rst"] {
        policy.set(&format!("net.netfilter.nf_conntrack_{name}"), "1").unwrap();
    }
    let wanted = ConntrackPolicy {
        preset: None,
        dialect: None,
        tcp_timeout_syn_sent: Some(secs(100)),
        tcp_timeout_syn_recv: Some(secs(101)),
        tcp_timeout_established: Some(secs(102)),
        tcp_timeout_fin_wait: Some(secs(103)),
        tcp_timeout_close_wait: Some(secs(104)),
        tcp_timeout_last_ack: Some(secs(105)),
        tcp_timeout_time_wait: Some(secs(106)),
        tcp_timeout_close: Some(secs(107)),
        tcp_timeout_syn_sent2: Some(secs(108)),
        tcp_timeout_max_retrans: Some(secs(109)),
        tcp_timeout_unacknowledged: Some(secs(110)),
        udp_timeout: Some(secs(111)),
        udp_timeout_stream: Some(secs(112)),
        nf_conntrack_max: Some(113),
        buckets: Some(114),
        tcp_max_retrans: Some(115),
        tcp_loose: Some(1),
        tcp_be_liberal: Some(true),
        tcp_ignore_invalid_rst: Some(true),
        nat: Nat::None,
        rules: Rules::AcceptAll,
        input: Input::Accept,
    };
    assert_eq!(policy, wanted);
    for name in ["net.nf_conntrack_max", "net.ipv4.ip_conntrack_max", "net.ipv4.netfilter.ip_conntrack_max"] {
        policy.set(name, "65536").unwrap();
        assert_eq!(policy.nf_conntrack_max.take(), Some(65536), "{name}");
    }
}

#[test]
fn ipvs_takes_the_values_of_ipvsadm_and_its_sysctls() {
    let cases = [
        ("ipvs:tcp=900", IpvsPolicy { timeout_tcp: Some(secs(900)), ..IpvsPolicy::default() }),
        (
            "ipvs:nat,tcp=900,tcpfin=120,secure_tcp=3",
            IpvsPolicy { timeout_tcp: Some(secs(900)), timeout_tcpfin: Some(secs(120)), secure_tcp: Some(3), ..IpvsPolicy::default() },
        ),
        ("ipvs:tcp_defense=1", IpvsPolicy { secure_tcp: Some(1), ..IpvsPolicy::default() }),
        ("ipvs:net.ipv4.vs.secure_tcp=1", IpvsPolicy { secure_tcp: Some(1), ..IpvsPolicy::default() }),
        ("ipvs:DR,persist=360", IpvsPolicy { method: Method::Dr, persistence: Some(secs(360)), ..IpvsPolicy::default() }),
        (
            "ipvs:tun,wlc,real_servers=3,vip_local=0",
            IpvsPolicy {
                method: Method::Tun,
                scheduler: Some(Scheduler::Wlc),
                real_servers: Some(3),
                vip_local: Some(false),
                ..IpvsPolicy::default()
            },
        ),
        (
            "ipvs:timeout_udp=1,net.ipv4.vs.timeout_udp=2,timeout_established=3",
            IpvsPolicy {
                timeout_udp: Some(secs(1)),
                dos: DosTimeouts { udp: Some(secs(2)), established: Some(secs(3)), ..DosTimeouts::default() },
                ..IpvsPolicy::default()
            },
        ),
        ("ipvs:net.ipv4.vs.conntrack=1,tcp=0", IpvsPolicy { conntrack: Some(true), timeout_tcp: Some(secs(0)), ..IpvsPolicy::default() }),
    ];
    for (text, wanted) in cases {
        assert_eq!(policy(text), BoxPolicy::Ipvs(wanted), "{text}");
    }
    assert_eq!(IpvsPolicy::default().real_servers(), 1);
    assert!(IpvsPolicy::default().vip_local());
}

#[test]
fn idle_takes_timers_and_words() {
    let rst = IdlePolicy { on_stray: OnStray::RstSender, ..IdlePolicy::new(secs(350)) };
    assert_eq!(policy("idle:established=350,on_stray=rst_sender"), BoxPolicy::Idle(rst));
    let proxy = IdlePolicy { kind: Kind::Proxy, udp_stream: Some(Duration(1_500_000_000)), ..IdlePolicy::new(Duration::MAX) };
    assert_eq!(proxy.activity(), Activity::Data);
    assert_eq!(policy("idle:proxy,timeout=never,udp=1500ms"), BoxPolicy::Idle(proxy));
}

#[test]
fn presets_take_overrides_and_default_takes_one_back() {
    let BoxPolicy::Idle(nlb) = policy("aws-nlb:established=600") else { panic!("a load balancer is an idle box") };
    assert_eq!((nlb.established, nlb.on_stray, nlb.udp_stream), (secs(600), OnStray::RstSender, Some(secs(120))));
    let BoxPolicy::Conntrack(router) = policy("openwrt:established=default,loose=0") else { panic!("OpenWrt is a conntrack box") };
    assert_eq!((router.tcp_timeout_established, router.tcp_loose, router.nat), (None, Some(0), Nat::Masquerade));
}

#[test]
fn the_label_is_what_was_written() {
    assert_eq!(parse_short("aws-nlb:established=10m").unwrap().label, "aws-nlb:established=10m");
}

#[test]
fn files_are_told_from_boxes() {
    let read = |name: &str| {
        if name == "gone.json" { Err("no such file".to_owned()) } else { Ok(format!(r#"{{"label":"{name}","conntrack":{{}}}}"#)) }
    };
    for (text, name) in [("@box", "box"), ("path/to/box.json", "path/to/box.json"), ("./box", "./box"), ("box.json", "box.json")] {
        assert_eq!(parse(text, &read).unwrap()[0].label, name);
    }
    assert_eq!(parse(" ipvs ", &read).unwrap()[0].label, "ipvs");
    assert_eq!(parse("gone.json", &read).unwrap_err().to_string(), "box 'gone.json': the file 'gone.json' cannot be read: no such file");
}

#[test]
fn every_mistake_gets_one_sentence_that_says_where_and_what_would_be_right() {
    for (text, at, message) in [
        ("", 1, "the name of a box is missing; write conntrack, ipvs, idle, a preset, or the name of a JSON file"),
        ("contrack", 1, "there is no box and no preset 'contrack'; did you mean 'conntrack'?"),
        ("aws-nbl:established=1", 1, "there is no box and no preset 'aws-nbl'; did you mean 'aws-nlb'?"),
        (
            "zzz",
            1,
            "there is no box and no preset 'zzz'; write conntrack, ipvs, idle, a preset ('flowlapse presets' lists them), or the name of a JSON file",
        ),
        ("conntrack:establishd=3600", 11, "conntrack has no setting 'establishd'; did you mean 'established'?"),
        ("conntrack:loose=0, tcpfin=3600", 20, "conntrack has no setting 'tcpfin'; did you mean 'fin_wait'?"),
        ("ipvs:nat,established=900", 10, "ipvs has no setting 'established'; did you mean 'tcp'?"),
        (
            "conntrack:nf_conntrack_icmp_timeout=30",
            11,
            "'nf_conntrack_icmp_timeout' is a setting of the kernel that has no part in the fate of a TCP or UDP flow; leave it out",
        ),
        ("conntrack:established=12x", 11, "'established' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not '12x'"),
        ("conntrack:close=250ms", 11, "'close' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not '250ms'"),
        (
            "conntrack:established=99999999",
            11,
            "'established' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not '99999999'",
        ),
        ("ipvs:secure_tcp=4", 6, "'secure_tcp' takes 0, 1, 2 or 3, not '4'"),
        ("ipvs:sloppy_tcp=maybe", 6, "'sloppy_tcp' takes 0 or 1, not 'maybe'"),
        ("ipvs:real_servers=0", 6, "'real_servers' takes a whole number from 1 to 65535, not '0'"),
        ("conntrack:loose=256", 11, "'loose' takes a whole number from 0 to 255, not '256'"),
        ("ipvs:amemthresh=-1", 6, "'amemthresh' takes a whole number from 0 to 2147483647, not '-1'"),
        ("conntrack:max=0", 11, "'max' takes a whole number of entries, at least 1, not '0'"),
        ("conntrack:dialect=li:nux", 11, "'dialect' takes a name, as linux-6.12, not 'li:nux'"),
        (
            "conntrack:rules=strickt",
            11,
            "'rules' takes one of the words accept-all drop-invalid strict, not 'strickt'; did you mean 'strict'?",
        ),
        ("conntrack:masqerade", 11, "conntrack does not know the word 'masqerade'; did you mean 'masquerade'?"),
        ("conntrack:established", 11, "conntrack does not know the word 'established'; did you mean 'established=…'?"),
        ("ipvs:xyzzyx", 6, "ipvs does not know the word 'xyzzyx'; it knows nat, dr, tun, rr, wrr, lc, wlc, sh or mh"),
        ("conntrack:established=1,tcp_timeout_established=2", 25, "'established' is set twice; keep one"),
        ("conntrack:snat,dnat", 16, "'nat' is set twice; keep one"),
        ("conntrack:loose=0,", 19, "a setting is missing between two commas, or after the last one"),
        ("aws-nlb:established=soon", 9, "'established' takes a duration, as 350 or 15m or 2h13m20s, or 'never', not 'soon'"),
    ] {
        let error = parse_short(text).expect_err(text);
        assert_eq!((error.place.clone(), error.message.as_str()), (Place::Character(at), message), "{text}");
        assert_eq!(error.to_string(), format!("box '{text}', character {at}: {message}"));
    }
    let unknown = parse_short("ipvs:banana=1").unwrap_err();
    assert!(unknown.message.starts_with("ipvs has no setting 'banana'; it knows method, dialect, tcp, tcpfin, udp,"), "{unknown}");
    let incomplete = parse_short("idle:syn_sent=3").unwrap_err();
    assert_eq!(incomplete.to_string(), "box 'idle:syn_sent=3': idle needs 'established', as in 'idle:established=350'");
}

#[test]
fn dialects_are_checked_against_the_list_that_is_passed_in() {
    let (conntrack, ipvs) = (["linux-5.10", "linux-6.12"], ["linux-2.4"]);
    assert!(policy("conntrack:kernel=linux-5.10").check_dialect(&conntrack, &ipvs).is_ok());
    assert!(policy("conntrack").check_dialect(&conntrack, &ipvs).is_ok());
    assert!(policy("idle:established=1").check_dialect(&[], &[]).is_ok());
    let error = policy("conntrack:kernel=linux-5.11").check_dialect(&conntrack, &ipvs).unwrap_err();
    assert_eq!(error.to_string(), "conntrack has no dialect 'linux-5.11'; did you mean 'linux-5.10'?");
    let error = policy("ipvs:kernel=windows").check_dialect(&conntrack, &ipvs).unwrap_err();
    assert_eq!(error.to_string(), "ipvs has no dialect 'windows'; it knows linux-2.4");
    assert!(matches!(error, SettingError::UnknownDialect { .. }));
}
