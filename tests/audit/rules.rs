//! Every rule once firing and once silent, and nothing at all on settings that work.

use super::{fired, shown, with};
use flowlapse::study::audit::rule::{Rule, Severity};
use std::collections::BTreeSet;

/// A machine whose timers work together.
const SANE: &str = "\
net.ipv4.tcp_keepalive_time = 200
net.ipv4.tcp_keepalive_intvl = 10
net.ipv4.tcp_keepalive_probes = 5
net.ipv4.tcp_retries2 = 15
net.netfilter.nf_conntrack_tcp_timeout_established = 7440
net.netfilter.nf_conntrack_tcp_timeout_syn_sent = 240
net.netfilter.nf_conntrack_tcp_timeout_syn_recv = 240
net.netfilter.nf_conntrack_tcp_timeout_fin_wait = 240
net.netfilter.nf_conntrack_tcp_timeout_close_wait = 240
net.netfilter.nf_conntrack_tcp_timeout_max_retrans = 300
net.netfilter.nf_conntrack_tcp_timeout_unacknowledged = 300
net.netfilter.nf_conntrack_udp_timeout_stream = 120
net.netfilter.nf_conntrack_tcp_loose = 1
net.netfilter.nf_conntrack_max = 262144
net.netfilter.nf_conntrack_buckets = 65536
net.netfilter.nf_conntrack_count = 100
";

const STRICT: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j ACCEPT
COMMIT
";
const OPEN: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
const MASQUERADE: &str = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n";
const TIMEOUTS: &str = "Timeout (tcp tcpfin udp): 900 120 300\n";
const SERVICE: &str = "-A -t 10.0.0.1:22 -s rr\n-a -t 10.0.0.1:22 -r 10.0.1.5:22 -m -w 1\n-a -t 10.0.0.1:22 -r 10.0.1.6:22 -m -w 1\n";

fn with_time(seconds: u32) -> String {
    format!("net.ipv4.tcp_keepalive_time = {seconds}\nnet.ipv4.tcp_keepalive_intvl = 75\nnet.ipv4.tcp_keepalive_probes = 9\n")
}

/// What is shown, the boxes beyond, the kernel.
type Case = (String, &'static [&'static str], &'static str);

const NEW: &str = "linux-6.12";

/// A case that fires and one that does not.
fn cases() -> Vec<(Rule, Case, Case)> {
    let nft = |rule: &str, timer: &str| {
        format!(
            "table ip filter {{\n\tct timeout slow {{\n\t\tprotocol tcp\n\t\tl3proto ip\n\t\tpolicy = {{ established : {timer} }}\n\t}}\n\n\
             \tchain prerouting {{\n\t\ttype filter hook prerouting priority raw; policy accept;\n{rule}\t}}\n}}\n"
        )
    };
    let sshd = |lines: &str| format!("{}{TIMEOUTS}# sshd_config\nPort 22\nTCPKeepAlive yes\nUsePAM yes\n{lines}", with_time(7200));
    let kube = |conntrack: &str, mode: &str| {
        format!("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: {mode}\nconntrack:\n{conntrack}")
    };
    let sockets = |timer: &str| {
        format!("State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\nESTAB 0 0 10.0.0.5:51514 10.0.0.1:22 {timer}\n")
    };
    let vs = |lines: &str| format!("{}{TIMEOUTS}{SERVICE}{lines}", with_time(200));
    let none = || (SANE.to_owned() + STRICT, &[] as &[&str], NEW);
    vec![
        (Rule::KeepaliveTooLate, (with_time(7200) + TIMEOUTS, &[], NEW), (with_time(600) + TIMEOUTS, &[], NEW)),
        (Rule::KeepaliveMarginal, (with_time(899) + TIMEOUTS, &[], NEW), (with_time(600) + TIMEOUTS, &[], NEW)),
        (Rule::KeepaliveNoRoom, (with_time(800) + TIMEOUTS, &[], NEW), (with_time(600) + TIMEOUTS, &[], NEW)),
        (Rule::KeepaliveStopsAtProxy, (with_time(30), &["aws-alb"], NEW), (with_time(30), &["aws-nlb"], NEW)),
        (
            Rule::SocketsWithoutKeepalive,
            (with_time(200) + TIMEOUTS + &sockets(""), &[], NEW),
            (with_time(200) + TIMEOUTS + &sockets("timer:(keepalive,3min,0)"), &[], NEW),
        ),
        (
            Rule::ContainerKeepalive,
            (with_time(200) + TIMEOUTS + &kube("  maxPerCore: 0\n  tcpCloseWaitTimeout: 1h0m0s\n", "ipvs"), &[], NEW),
            (with_time(200) + TIMEOUTS, &[], NEW),
        ),
        (Rule::SshAliveTooLate, (sshd("ClientAliveInterval 1000\n"), &[], NEW), (sshd("ClientAliveInterval 300\n"), &[], NEW)),
        (Rule::SshAliveOff, (sshd("ClientAliveInterval 0\n"), &[], NEW), (sshd("ClientAliveInterval 300\n"), &[], NEW)),
        (Rule::ConntrackCaps, (SANE.replace("time = 200", "time = 7200") + STRICT, &[], NEW), none()),
        (Rule::RetransmissionGap, (with_time(20), &["idle:established=60"], NEW), (with_time(20), &["idle:established=350"], NEW)),
        (Rule::HangLength, (with_time(7200), &["azure-lb-default"], NEW), (with_time(7200), &["azure-lb-tcp-reset"], NEW)),
        (
            Rule::ShorterElsewhere,
            (with_time(200) + "Timeout (tcp tcpfin udp): 3600 120 300\n", &["aws-nlb"], NEW),
            (with_time(200) + "Timeout (tcp tcpfin udp): 900 120 300\n", &["aws-nlb"], NEW),
        ),
        (
            Rule::SetMissesCloseWait,
            (with_time(200) + "Timeout (tcp tcpfin udp): 900 3600 300\n", &[], NEW),
            (with_time(200) + TIMEOUTS, &[], NEW),
        ),
        (Rule::SecureTcp, (vs("net.ipv4.vs.secure_tcp = 3\n"), &[], "linux-2.4"), (vs("net.ipv4.vs.secure_tcp = 0\n"), &[], "linux-2.4")),
        (
            Rule::NoSuchSetting,
            (vs("net.ipv4.vs.tcp_timeout_established = 3600\nnet.ipv4.vs.drop_entry = 0\n"), &[], NEW),
            (vs("net.ipv4.vs.drop_entry = 0\n"), &[], NEW),
        ),
        (
            Rule::ConntrackBesideIpvs,
            (vs("net.ipv4.vs.conntrack = 1\nnet.netfilter.nf_conntrack_tcp_timeout_established = 600\n"), &[], NEW),
            (vs("net.ipv4.vs.conntrack = 1\nnet.netfilter.nf_conntrack_tcp_timeout_established = 7440\n"), &[], NEW),
        ),
        (
            Rule::MasqueradeWithoutConntrack,
            (vs("net.ipv4.vs.conntrack = 0\n") + MASQUERADE, &[], NEW),
            (vs("net.ipv4.vs.conntrack = 1\n") + MASQUERADE, &[], NEW),
        ),
        (
            Rule::SloppyTcp,
            (vs("net.ipv4.vs.sloppy_tcp = 1\n"), &[], NEW),
            (vs("net.ipv4.vs.sloppy_tcp = 1\n").replace("-s rr", "-s mh"), &[], NEW),
        ),
        (Rule::ExpireNodest, (vs(""), &[], NEW), (vs("net.ipv4.vs.expire_nodest_conn = 1\n"), &[], NEW)),
        (
            Rule::ConnReuse,
            (vs("net.ipv4.vs.conntrack = 1\nnet.ipv4.vs.conn_reuse_mode = 1\n"), &[], "linux-5.4"),
            (vs("net.ipv4.vs.conntrack = 1\nnet.ipv4.vs.conn_reuse_mode = 1\n"), &[], NEW),
        ),
        (Rule::PersistenceShort, (vs("").replace("-s rr", "-s rr -p 360"), &[], NEW), (vs("").replace("-s rr", "-s rr -p 1800"), &[], NEW)),
        (Rule::TableFull, (SANE.replace("count = 100", "count = 250000") + STRICT, &[], NEW), none()),
        (Rule::BucketsFew, (SANE.replace("buckets = 65536", "buckets = 16384") + STRICT, &[], NEW), none()),
        (Rule::InvalidUntranslated, (SANE.to_owned() + OPEN + MASQUERADE, &[], NEW), (SANE.to_owned() + STRICT + MASQUERADE, &[], NEW)),
        (Rule::DropInvalidOldKernel, (SANE.to_owned() + STRICT, &[], "linux-5.15"), none()),
        (Rule::NoPickup, (SANE.replace("loose = 1", "loose = 0") + OPEN, &[], NEW), (SANE.to_owned() + OPEN, &[], NEW)),
        (
            Rule::TimeoutPolicyPartial,
            (SANE.to_owned() + &nft("\t\ttcp dport 22 ct timeout set \"slow\"\n", "86400"), &[], NEW),
            (SANE.to_owned() + &nft("\t\tmeta l4proto tcp ct timeout set \"slow\"\n", "86400"), &[], NEW),
        ),
        (
            Rule::TimeoutPolicyUnused,
            (SANE.to_owned() + &nft("", "86400"), &[], NEW),
            (SANE.to_owned() + &nft("\t\ttcp dport 22 ct timeout set \"slow\"\n", "86400"), &[], NEW),
        ),
        (Rule::FlowOffload, (SANE.to_owned() + FLOWTABLE, &[], "linux-5.10"), (SANE.to_owned() + FLOWTABLE, &[], NEW)),
        (
            Rule::KubeProxyZero,
            (SANE.to_owned() + &kube("  tcpEstablishedTimeout: 0s\n", "iptables"), &[], NEW),
            (SANE.to_owned() + &kube("  tcpEstablishedTimeout: 2h4m0s\n", "iptables"), &[], NEW),
        ),
        (Rule::Contradiction, (vs("") + "ipvsadm --set 3600 120 300\n", &[], NEW), (vs("") + "ipvsadm --set 900 120 300\n", &[], NEW)),
        (Rule::Rfc5382Established, (SANE.replace("established = 7440", "established = 3600") + STRICT, &[], NEW), none()),
        (Rule::Rfc5382Transitory, (SANE.replace("close_wait = 240", "close_wait = 60") + STRICT, &[], NEW), none()),
        (Rule::Rfc4787Udp, (SANE.replace("stream = 120", "stream = 60") + STRICT, &[], NEW), none()),
        (Rule::Rfc1122Retries, (SANE.replace("retries2 = 15", "retries2 = 5") + STRICT, &[], NEW), none()),
    ]
}

const FLOWTABLE: &str = "\
table inet filter {
\tflowtable ft {
\t\thook ingress priority filter
\t\tdevices = { eth0, eth1 }
\t}

\tchain forward {
\t\ttype filter hook forward priority filter; policy accept;
\t\tip protocol tcp flow add @ft
\t}
}
";

#[test]
fn each_rule_fires_and_each_rule_is_silent() {
    let mut wrong = Vec::new();
    for (rule, (fires, beyond, kernel), (silent, quiet_beyond, quiet_kernel)) in cases() {
        let known = fired(&fires, beyond, kernel);
        if !known.contains(&rule) {
            wrong.push(format!("{} does not fire: {:?}", rule.id(), known.iter().map(|rule| rule.id()).collect::<Vec<_>>()));
        }
        if fired(&silent, quiet_beyond, quiet_kernel).contains(&rule) {
            wrong.push(format!("{} fires where it should not", rule.id()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rules about dumps are tried with the forecast.
#[test]
fn no_rule_is_left_out() {
    let tried: BTreeSet<Rule> = cases().into_iter().map(|(rule, ..)| rule).collect();
    let dumps = [Rule::FlowsAtRisk, Rule::FlowsForgotten, Rule::EntriesCapped, Rule::HalfClosed];
    let missing: Vec<&str> = Rule::ALL.iter().filter(|rule| !tried.contains(rule) && !dumps.contains(rule)).map(|rule| rule.id()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn nothing_is_found_where_everything_works() {
    let text = SANE.to_owned() + STRICT;
    with(&shown(&text), &[], NEW, |audit| {
        let told: Vec<&str> = audit.found.iter().map(|found| found.what.as_str()).collect();
        assert!(told.is_empty(), "{told:#?}");
        assert!(audit.setup.machine.unread.is_empty(), "{:?}", audit.setup.machine.unread);
        assert!(audit.norms.iter().filter(|norm| !norm.holds).all(|norm| norm.about == "keepalive"));
    });
}

/// A flow that the next packet repairs loses nothing; one that a strict filter drops is lost.
#[test]
fn how_bad_it_is_depends_on_what_happens_to_strays() {
    let short = SANE.replace("time = 200", "time = 7200").replace("established = 7440", "established = 3600");
    let severity = |rules: &str| {
        with(&shown(&(short.clone() + rules)), &[], NEW, |audit| {
            audit.found.iter().find(|found| found.rule == Rule::KeepaliveTooLate).map(|found| found.severity)
        })
    };
    assert_eq!(severity(STRICT), Some(Severity::Error));
    assert_eq!(severity(OPEN), Some(Severity::Info));
    assert_eq!(severity(&(STRICT.to_owned() + MASQUERADE)), Some(Severity::Error));
}

/// The kernel's own answer counts, whatever stands where.
#[test]
fn the_kernels_answer_overrules_what_is_written_down() {
    let text = "Timeout (tcp tcpfin udp): 900 120 300\nipvsadm --set 3600 120 300\n";
    with(&shown(text), &[], NEW, |audit| {
        assert_eq!(audit.setup.stands[0].established().as_secs(), 900);
        assert_eq!(audit.gathered.contradictions.len(), 1);
        assert_eq!(audit.gathered.contradictions[0].counts.from.to_string(), "text:1");
    });
}

#[test]
fn ids_are_words_and_lead_back() {
    for rule in Rule::ALL {
        assert_eq!(Rule::from_id(rule.id()), Some(*rule));
        assert!(rule.id().bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'), "{}", rule.id());
        assert!(!rule.why().is_empty() && !rule.reference().is_empty());
    }
    let docs = include_str!("../../docs/audit.md");
    let missing: Vec<&str> = Rule::ALL.iter().map(|rule| rule.id()).filter(|id| !docs.contains(&format!("`{id}`"))).collect();
    assert!(missing.is_empty(), "docs/audit.md does not explain {missing:?}");
}
