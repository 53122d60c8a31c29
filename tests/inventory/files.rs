//! Sysctls, SSH, kube-proxy and keepalived.

use crate::{inventory, named, nothing_unread, of_fixture, sock, unread};
use flowlapse::inventory::{Inventory, Kind, KubeProxySetting, ServiceKey, SshSide, TimeoutSource};
use flowlapse::net::Proto;
use flowlapse::policy::ipvs::{Method, Scheduler};
use flowlapse::time::Duration;

#[test]
fn sysctls_are_the_same_in_both_listings() {
    let all = of_fixture("sysctl-a-6.1.txt");
    nothing_unread("sysctl -a", &all);
    let value = |name: &str| all.sysctl(name).map(|sysctl| sysctl.value.as_str());
    assert_eq!(value("net.netfilter.nf_conntrack_tcp_timeout_established"), Some("432000"));
    assert_eq!(value("net.ipv4.tcp_keepalive_time"), Some("7200"));
    assert_eq!(value("net.ipv4.ip_local_port_range"), Some("32768\t60999"));
    assert_eq!(value("net.ipv4.vs.secure_tcp"), Some("0"));
    let listed = of_fixture("grep-proc-sys-6.1.txt");
    nothing_unread("grep . /proc/sys", &listed);
    for sysctl in &listed.sysctls {
        assert_eq!(Some(sysctl.value.as_str()), value(&sysctl.name), "{}", sysctl.name);
    }
    assert!(listed.sysctls.len() > 40);
}

#[test]
fn old_names_are_names_of_today() {
    let found = inventory(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_established = 600\nnet.ipv4.ip_conntrack_max = 65536\n\
         /proc/sys/net/ipv4/netfilter/ip_conntrack_udp_timeout:30\nnet/netfilter/nf_conntrack_tcp_loose:0\nnf_conntrack_acct:1\n\
         sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=\"1\"\necho 50 > /proc/sys/net/ipv4/vs/secure_tcp\n\
         net.ipv4.ip_conntrack_tcp_timeout_close = 10\n",
    );
    let names: Vec<(&str, &str)> = found.sysctls.iter().map(|sysctl| (sysctl.name.as_str(), sysctl.value.as_str())).collect();
    let wanted = [
        ("net.netfilter.nf_conntrack_tcp_timeout_established", "600"),
        ("net.netfilter.nf_conntrack_max", "65536"),
        ("net.netfilter.nf_conntrack_udp_timeout", "30"),
        ("net.netfilter.nf_conntrack_tcp_loose", "0"),
        ("net.netfilter.nf_conntrack_acct", "1"),
        ("net.netfilter.nf_conntrack_tcp_be_liberal", "1"),
        ("net.ipv4.vs.secure_tcp", "50"),
        ("net.netfilter.nf_conntrack_tcp_timeout_close", "10"),
    ];
    assert_eq!(names, wanted);
    assert_eq!(found.sysctls[0].written, "net.ipv4.netfilter.ip_conntrack_tcp_timeout_established");
    assert_eq!(found.sysctls[1].at.to_string(), "text:2");
}

#[test]
fn slips_are_named_and_foreign_names_are_understood() {
    let found = inventory(
        "net.netfilter.nf_conntrack_tcp_timeout_establishd = 600\nnet.ipv4.vs.secure_tpc = 1\nnet.ipv4.tcp_keepalive_tmie = 600\n\
         net.netfilter.nf_conntrack_tcp_timeout_close = 1O\nnet.netfilter.nf_conntrack_tcp_timeout_fin_wait =\n\
         net.netfilter.nf_conntrack_tcp_timeout_clo\nnet.netfilter.nf_conntrack_quite_unknown = 1\nvm.swappiness = 60\n",
    );
    assert!(found.sysctls.is_empty(), "{:?}", found.sysctls);
    let why = unread(&found);
    assert_eq!(why.len(), 7, "{why:#?}");
    assert!(why[0].ends_with("did you mean 'net.netfilter.nf_conntrack_tcp_timeout_established'?"), "{}", why[0]);
    assert!(why[1].ends_with("did you mean 'net.ipv4.vs.secure_tcp'?"));
    assert!(why[2].ends_with("did you mean 'net.ipv4.tcp_keepalive_time'?"));
    assert!(why[6].ends_with("is not known here"));
    assert_eq!(found.ignored, 1);
    let howto = inventory(
        "/proc/sys/net/ipv4/vs/tcp_timeout_established:900\nnet.ipv4.vs.tcp_timeout_close = 10\nnet.ipv4.vs.timeout_established = 480\nnet.ipv4.vs.timeout_udp = 180\n",
    );
    assert_eq!(unread(&howto), [""; 0]);
    assert_eq!((howto.sysctls.len(), howto.notes.len()), (2, 2));
    assert!(howto.notes[0].text.contains("no mainline kernel") && howto.notes[1].text.contains("secure_tcp"), "{:?}", howto.notes);
}

fn ssh(found: &Inventory) -> Vec<String> {
    let line = |one: &flowlapse::inventory::SshKeepalive| {
        format!(
            "{:?} {} {:?} {:?} {:?}",
            one.side,
            one.scope.as_deref().unwrap_or("-"),
            one.interval.as_ref().map(|(span, _)| span.as_secs()),
            one.count_max.as_ref().map(|(count, _)| *count),
            one.tcp_keepalive.as_ref().map(|(on, _)| *on)
        )
    };
    found.ssh.iter().map(line).collect()
}

#[test]
fn the_first_value_of_ssh_counts_and_parts_stay_apart() {
    let tested = of_fixture("sshd-T-6.1.txt");
    nothing_unread("sshd -T", &tested);
    assert_eq!(ssh(&tested), ["Server - Some(300) Some(3) Some(true)"]);
    let server = inventory(
        "# sshd\nPermitRootLogin no\nclientaliveinterval=1h30m\nClientAliveInterval 5\nKeepAlive no # old\nMatch User backup\n  ClientAliveCountMax \"0\"\n  \
         X11Forwarding no\nMatch User other\n  X11Forwarding no\n",
    );
    assert_eq!(ssh(&server), ["Server - Some(5400) None Some(false)", "Server match User backup None Some(0) None"]);
    assert_eq!(server.ssh[0].side, SshSide::Server);
    let client = inventory("Host *.example.org\n\tServerAliveInterval 60\nHost *\n\tServerAliveInterval 0\n\tServerAliveCountMax = 4\n");
    assert_eq!(ssh(&client), ["Client *.example.org Some(60) None None", "Client - Some(0) Some(4) None"]);
    let nothing = named(Kind::Sshd, "Port 22\nInclude /etc/ssh/sshd_config.d/*.conf\n");
    assert_eq!(ssh(&nothing), ["Server - None None None"]);
    assert!(nothing.notes[0].text.contains("not opened"));
    for (kind, wrong) in [
        (Kind::Sshd, "ClientAliveInterval 5x"),
        (Kind::Sshd, "ClientAliveIntervall 5"),
        (Kind::Sshd, "ServerAliveInterval 5"),
        (Kind::Ssh, "TCPKeepAlive yess"),
        (Kind::Ssh, "ServerAliveCountMax three"),
    ] {
        assert_eq!(named(kind, wrong).unread.len(), 1, "{wrong}");
    }
}

fn kube(found: &Inventory) -> Vec<String> {
    found
        .kube_proxy
        .iter()
        .map(|one| match &one.setting {
            KubeProxySetting::Mode(mode) => format!("mode {mode}"),
            KubeProxySetting::Conntrack(name, value) => format!("{name} {value}"),
        })
        .collect()
}

const CONFIG: &str = "\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
conntrack:
  maxPerCore: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: 1h0m0s
  tcpEstablishedTimeout: 24h0m0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: \"\"
ipvs:
  excludeCIDRs: null
  scheduler: rr
  tcpFinTimeout: 0s
  tcpTimeout: 15m0s
  udpTimeout: 5m0s
kind: KubeProxyConfiguration
mode: ipvs
nodePortAddresses: null
";

#[test]
fn kube_proxy_is_configured_by_yaml_json_and_flags() {
    let inside: String = CONFIG.lines().flat_map(|line| ["    ", line, "\n"]).collect();
    let map = format!(
        "apiVersion: v1\ndata:\n  config.conf: |-\n{inside}  kubeconfig.conf: |-\n    apiVersion: v1\n    kind: Config\nkind: ConfigMap\nmetadata:\n  name: kube-proxy\n"
    );
    for text in [CONFIG, map.as_str()] {
        let found = inventory(text);
        assert_eq!(unread(&found), [""; 0], "{text}");
        assert_eq!(kube(&found), ["be_liberal false", "close_wait 1h0m0s", "established 24h0m0s", "udp 0s", "mode ipvs"], "{text}");
        let one = &found.ipvs_timeouts[0];
        assert_eq!(
            (one.tcp, one.tcpfin, one.udp, one.source),
            (Some(Duration::from_secs(900)), None, Some(Duration::from_secs(300)), TimeoutSource::KubeProxy)
        );
        assert_eq!((found.ipvs_timeouts.len(), found.shown.len()), (1, 1));
    }
    let json = "{\n  \"kind\": \"KubeProxyConfiguration\",\n  \"mode\": \"iptables\",\n  \"conntrack\": {\"tcpEstablishedTimeout\": \"2h\", \"maxPerCore\": null}\n}\n";
    let found = inventory(json);
    assert_eq!(kube(&found), ["established 2h", "mode iptables"]);
    assert_eq!(found.kube_proxy[0].at.line, 4);
    let flags = inventory(
        "kube-proxy --v=2 --proxy-mode=ipvs --ipvs-tcp-timeout 2h --conntrack-tcp-be-liberal\n        - --conntrack-udp-timeout=10s\n",
    );
    assert_eq!(kube(&flags), ["mode ipvs", "be_liberal true", "udp 10s"]);
    assert_eq!(flags.ipvs_timeouts[0].tcp, Some(Duration::from_secs(7200)));
    for wrong in [
        "ipvs:\n  tcpTimeuot: 15m\n",
        "ipvs:\n  tcpTimeout: 900\n",
        "ipvs:\n  tcpTimeout: 15m0\n",
        "--ipvs-tcp-timeout=15q\n",
        "--ipvs-tcp-timeuot=15m\n",
        "kind: KubeProxyConfiguration\nmode: ipsv\n",
    ] {
        let found = inventory(wrong);
        assert!(found.unread.len() + usize::from(found.shown.is_empty()) == 1 && found.ipvs_timeouts.is_empty(), "{wrong}: {found:?}");
    }
}

#[test]
fn keepalived_has_timeouts_and_virtual_servers() {
    let text = "\
! Configuration
global_defs {
   router_id lb1
   lvs_timeouts tcp 3600 tcpfin 60 udp 0
}
virtual_server 198.51.100.10 22
{
}
virtual_server 198.51.100.10 80 {
    delay_loop 6
    lvs_sched rr
    lvs_method DR
    persistence_timeout 50
    protocol TCP
    real_server 10.0.1.5 80 { weight 1 }
    real_server 10.0.1.6 80 {
        weight 2
        lvs_method NAT
        HTTP_GET {
            url { path / }
        }
    }
}
virtual_server 2001:db8::10 53 {
    protocol UDP
    ops
}
virtual_server fwmark 7 {
    lb_algo wlc
    lb_kind TUN
    persistence_timeout
}
virtual_server group one {
}
";
    let found = inventory(text);
    assert_eq!(found.ipvs_timeouts[0].source, TimeoutSource::Keepalived);
    assert_eq!((found.ipvs_timeouts[0].tcp, found.ipvs_timeouts[0].udp), (Some(Duration::from_secs(3600)), None));
    assert_eq!(unread(&found).len(), 2, "{:?}", unread(&found));
    let [web, name, mark] = found.services.as_slice() else { panic!("{:?}", found.services) };
    assert_eq!((web.proto, web.scheduler, web.persistence), (Some(Proto::Tcp), Some(Scheduler::Rr), Some(Duration::from_secs(50))));
    let reals: Vec<_> = web.reals.iter().map(|real| (real.sock, real.method, real.weight)).collect();
    assert_eq!(reals, [(sock("10.0.1.5:80"), Some(Method::Dr), Some(1)), (sock("10.0.1.6:80"), Some(Method::Nat), Some(2))]);
    assert_eq!((name.key, name.proto, name.one_packet), (ServiceKey::Sock(sock("[2001:db8::10]:53")), Some(Proto::Udp), true));
    assert_eq!((mark.key, mark.persistence), (ServiceKey::Fwmark(7), Some(Duration::from_secs(360))));
}

#[test]
fn sysctl_knows_which_kernel_it_is() {
    let found = inventory("kernel.hostname = director\nkernel.osrelease = 6.1.176\nnet.ipv4.tcp_keepalive_time = 7200\n");
    let machine = &found.machine;
    assert_eq!((machine.hostname.as_deref(), machine.release.as_deref(), found.sysctls.len()), (Some("director"), Some("6.1.176"), 1));
    let nameless = inventory("kernel.hostname = (none)\nkernel.osrelease = 5.10.0-8-amd64\n");
    assert_eq!((nameless.machine.hostname, nameless.machine.release.as_deref()), (None, Some("5.10.0-8-amd64")));
}
