//! The presets: all are there, all are well-formed, and each becomes the box that it describes.

use flowlapse::policy::conntrack::Nat;
use flowlapse::policy::idle::{OnExpiry, OnStray, Probing, Refresh};
use flowlapse::policy::presets::{Verified, all, find, nearest};
use flowlapse::policy::{BoxPolicy, parse_short};
use flowlapse::time::Duration;

const NEVER: u64 = u64::MAX;

/// The id, what it becomes, and its established timer in seconds; zero where the dialect decides.
const PRESETS: [(&str, &str, u64); 53] = [
    ("linux-conntrack-default", "conntrack", 0),
    ("linux-ipvs-default", "ipvs", 0),
    ("kube-proxy-iptables", "conntrack", 86_400),
    ("kube-proxy-ipvs", "ipvs", 900),
    ("docker-swarm-vip", "ipvs", 900),
    ("keepalived-lvs", "ipvs", 900),
    ("docker-userland-proxy", "idle", NEVER),
    ("openwrt", "conntrack", 7440),
    ("mikrotik-routeros", "conntrack", 86_400),
    ("generic-home-nat-5min", "idle", 300),
    ("generic-home-nat-15min", "idle", 900),
    ("generic-home-nat-30min", "idle", 1800),
    ("generic-home-nat-60min", "idle", 3600),
    ("rfc5382-minimum", "idle", 7440),
    ("aws-nlb", "idle", 350),
    ("aws-nlb-tls", "idle", 350),
    ("aws-gwlb", "idle", 350),
    ("aws-nat-gateway", "idle", 350),
    ("aws-network-firewall", "idle", 350),
    ("aws-sg-legacy", "idle", 432_000),
    ("aws-sg-nitro-v6", "idle", 350),
    ("aws-alb", "idle", 60),
    ("aws-clb", "idle", 60),
    ("azure-lb-default", "idle", 240),
    ("azure-lb-tcp-reset", "idle", 240),
    ("azure-lb-aks-outbound", "idle", 1800),
    ("azure-nat-gateway", "idle", 240),
    ("gcp-cloud-nat", "idle", 1200),
    ("gcp-vpc-firewall", "idle", 600),
    ("gcp-ilb-passthrough", "idle", 600),
    ("gcp-nlb-passthrough", "idle", 60),
    ("pf-normal", "idle", 86_400),
    ("pf-high-latency", "idle", 86_400),
    ("pf-conservative", "idle", 432_000),
    ("pf-aggressive", "idle", 18_000),
    ("ipfw-dynamic", "idle", 300),
    ("cisco-asa", "idle", 3600),
    ("juniper-srx", "idle", 1800),
    ("juniper-ms-pic", "idle", 30),
    ("fortigate", "idle", 3600),
    ("paloalto-panos", "idle", 3600),
    ("checkpoint", "idle", 3600),
    ("sonicwall", "idle", 900),
    ("f5-bigip-fastl4", "idle", 300),
    ("windows-winnat", "idle", 1800),
    ("cilium-8000", "idle", 8000),
    ("cilium-21600", "idle", 21_600),
    ("calico-ebpf", "idle", 3600),
    ("ovs-userspace", "idle", 86_400),
    ("katran", "idle", NEVER),
    ("nginx-stream", "idle", 600),
    ("envoy-tcp-proxy", "idle", 3600),
    ("haproxy", "idle", NEVER),
];

#[test]
fn all_53_are_there_in_order_and_become_their_box() {
    let ids: Vec<&str> = all().iter().map(|preset| preset.id.as_str()).collect();
    assert_eq!(ids, PRESETS.map(|(id, _, _)| id));
    for (id, kind, seconds) in PRESETS {
        let spec = parse_short(id).unwrap();
        assert_eq!(spec.policy.preset().map(|preset| preset.id.as_str()), Some(id));
        assert_eq!(spec.policy.describe(), id);
        let (became, timer) = match &spec.policy {
            BoxPolicy::Conntrack(policy) => ("conntrack", policy.tcp_timeout_established),
            BoxPolicy::Ipvs(policy) => ("ipvs", policy.timeout_tcp),
            BoxPolicy::Idle(policy) => ("idle", Some(policy.established)),
        };
        let wanted = match seconds {
            0 => None,
            NEVER => Some(Duration::MAX),
            seconds => Some(Duration::from_secs(seconds)),
        };
        assert_eq!((became, timer), (kind, wanted), "{id}");
    }
}

#[test]
fn every_entry_is_complete() {
    const FIELDS: [&str; 18] = [
        "all",
        "tcp",
        "udp",
        "icmp",
        "other",
        "on_expiry",
        "on_stray",
        "refresh",
        "activity",
        "probes",
        "configurable",
        "version",
        "syn_sent",
        "syn_recv",
        "established",
        "fin_wait",
        "close_wait",
        "last_ack",
    ];
    for preset in all() {
        let id = &preset.id;
        assert!(!preset.name.is_empty() && !preset.version.is_empty(), "{id}");
        assert!(preset.base.as_deref().is_none_or(|base| find(base).is_some()), "{id}: the base exists");
        assert!(!preset.sources.is_empty() || preset.verified == Verified::No, "{id}: a value without a source is not verified");
        assert_eq!(preset.unverified.contains_key("all"), preset.verified == Verified::No, "{id}");
        assert!(preset.lineage().iter().any(|one| one.tcp.contains_key("established")), "{id}");
        for field in preset.unverified.keys() {
            assert!(FIELDS.contains(&field.as_str()) || field == "time_wait", "{id}: {field}");
        }
        let own = preset.tcp.len() + preset.udp.len();
        assert_eq!(preset.timers().iter().filter(|timer| !timer.inherited).count(), own, "{id}: every timer has a known name");
    }
}

#[test]
fn an_ipvs_preset_differs_from_the_kernel_only_where_ipvsadm_reaches() {
    let kernel = find("linux-ipvs-default").unwrap();
    for preset in all().iter().filter(|preset| preset.base.as_deref() == Some("linux-ipvs-default")) {
        for (state, span) in &preset.tcp {
            assert!(["established", "fin_wait"].contains(&state.as_str()) || kernel.tcp.get(state) == Some(span), "{} {state}", preset.id);
        }
        assert!(preset.udp.keys().all(|which| which == "normal"), "{}", preset.id);
    }
}

#[test]
fn kernel_presets_carry_their_settings() {
    let BoxPolicy::Conntrack(openwrt) = find("openwrt").unwrap().resolve() else { panic!() };
    assert_eq!((openwrt.tcp_max_retrans, openwrt.nat, openwrt.udp_timeout), (Some(5), Nat::Masquerade, Some(Duration::from_secs(60))));
    assert_eq!(openwrt.udp_timeout_stream, Some(Duration::from_secs(180)));
    let BoxPolicy::Conntrack(mikrotik) = find("mikrotik-routeros").unwrap().resolve() else { panic!() };
    assert_eq!(mikrotik.tcp_timeout_max_retrans, Some(Duration::from_secs(300)));
    assert_eq!((mikrotik.tcp_timeout_unacknowledged, mikrotik.tcp_max_retrans), (Some(Duration::from_secs(300)), None));
    let BoxPolicy::Conntrack(node) = find("kube-proxy-iptables").unwrap().resolve() else { panic!() };
    assert_eq!((node.nat, node.tcp_timeout_close_wait), (Nat::None, Some(Duration::from_secs(3600))));
    let BoxPolicy::Ipvs(ipvs) = find("kube-proxy-ipvs").unwrap().resolve() else { panic!() };
    assert_eq!((ipvs.conntrack, ipvs.expire_nodest_conn, ipvs.timeout_udp), (Some(true), Some(true), Some(Duration::from_secs(300))));
}

#[test]
fn idle_presets_carry_their_words() {
    let idle = |id: &str| match find(id).unwrap().resolve() {
        BoxPolicy::Idle(policy) => policy,
        other => panic!("{id} became {other}"),
    };
    assert_eq!(idle("azure-lb-tcp-reset").on_expiry, OnExpiry::RstBoth);
    assert_eq!(idle("aws-nat-gateway").on_stray, OnStray::RstInsideOnly);
    assert_eq!(idle("windows-winnat").refresh, Refresh::OutboundUdp);
    assert_eq!(idle("rfc5382-minimum").refresh, Refresh::OutboundRequired);
    assert_eq!(idle("ipfw-dynamic").probes, Probing::BeforeExpiry);
    assert_eq!(idle("aws-nlb-tls").probes, Probing::OnKeepalive);
    assert_eq!(idle("cilium-21600").last_ack, Some(Duration::from_secs(10)), "inherited from cilium-8000");
    assert_eq!(idle("calico-ebpf").on_stray, OnStray::Unknown);
}

#[test]
fn doubts_are_about_the_presets_values_only() {
    let idle = |text: &str| match parse_short(text).unwrap().policy {
        BoxPolicy::Idle(policy) => policy,
        other => panic!("{text} became {other}"),
    };
    assert!(idle("aws-gwlb").is_unverified("on_stray"));
    assert!(!idle("aws-gwlb").is_unverified("established"));
    assert!(!idle("aws-gwlb:on_stray=drop").is_unverified("on_stray"));
    assert!(idle("checkpoint").is_unverified("established"));
    assert!(!idle("checkpoint:established=60").is_unverified("established"));
    assert!(!idle("idle:established=60").is_unverified("established"));
    assert_eq!(idle("aws-gwlb:established=60").provenance().unwrap().id, "aws-gwlb");
}

#[test]
fn timers_are_listed_in_the_order_of_a_connections_life() {
    let cilium = find("cilium-21600").unwrap().timers();
    let listed: Vec<(&str, u64, bool)> = cilium.iter().map(|timer| (timer.name, timer.timeout.as_secs(), timer.inherited)).collect();
    assert_eq!(listed[0], ("syn_sent", 60, true));
    assert_eq!(listed[2], ("established", 21_600, false));
    assert_eq!(*listed.last().unwrap(), ("udp_stream", 60, true));
}

#[test]
fn a_slip_in_an_id_finds_it() {
    assert_eq!(nearest("azure-lb-defualt"), Some("azure-lb-default"));
    assert_eq!(find("AWS-NLB"), None);
}
