//! Recommended settings as text to paste; and what is pasted is read back as what was recommended.

use flowlapse::engine::{Clock, Path};
use flowlapse::finding::paste::{Block, Keepalive, Setting, box_blocks, host_blocks};
use flowlapse::policy::{Dump, dump, parse_short};

fn blocks(spec: &str, settings: &[(&str, u64)], port: Option<u16>) -> Vec<Block> {
    let path = Path::build(&[parse_short(spec).unwrap()], Clock::Ideal).unwrap_or_else(|error| panic!("{error}"));
    let settings: Vec<Setting> = settings.iter().map(|(name, value)| Setting { name: (*name).to_owned(), value: *value }).collect();
    box_blocks(&path.hops[0], &settings, port)
}

/// Titles and lines; the notes are prose.
fn text(blocks: &[Block]) -> String {
    let lines = blocks.iter().flat_map(|block| [format!("== {}", block.title)].into_iter().chain(block.lines.iter().cloned()));
    lines.map(|line| line + "\n").collect()
}

fn read(block: &Block) -> Dump {
    dump::read(&block.lines.join("\n"), &block.title).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_conntrack_box_is_set_by_sysctl_nft_and_nfct() {
    let blocks = blocks("conntrack:close=20", &[("established", 909), ("fin_wait", 130), ("udp_stream", 200)], Some(22));
    let wanted = "\
== now, with sysctl
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=909
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_fin_wait=130
sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=200
== for good, with sysctl.d
# /etc/sysctl.d/90-flowlapse.conf
net.netfilter.nf_conntrack_tcp_timeout_established = 909
net.netfilter.nf_conntrack_tcp_timeout_fin_wait = 130
net.netfilter.nf_conntrack_udp_timeout_stream = 200
# /etc/modules-load.d/flowlapse.conf
nf_conntrack
== for some tcp flows, with nft
table ip flowlapse-tcp {
	ct timeout flowlapse-tcp {
		protocol tcp;
		l3proto ip;
		policy = { established : 909, fin_wait : 130, close : 20 }
	}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		tcp dport 22 ct timeout set \"flowlapse-tcp\"
	}
	chain output {
		type filter hook output priority raw; policy accept;
		tcp dport 22 ct timeout set \"flowlapse-tcp\"
	}
}
== for some tcp flows, with nfct and iptables
nfct add timeout flowlapse-tcp inet tcp established 909 fin_wait 130
iptables -t raw -A PREROUTING -p tcp --dport 22 -j CT --timeout flowlapse-tcp
iptables -t raw -A OUTPUT -p tcp --dport 22 -j CT --timeout flowlapse-tcp
== for some udp flows, with nft
table ip flowlapse-udp {
	ct timeout flowlapse-udp {
		protocol udp;
		l3proto ip;
		policy = { replied : 200 }
	}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		udp dport 22 ct timeout set \"flowlapse-udp\"
	}
	chain output {
		type filter hook output priority raw; policy accept;
		udp dport 22 ct timeout set \"flowlapse-udp\"
	}
}
== for some udp flows, with nfct and iptables
nfct add timeout flowlapse-udp inet udp replied 200
iptables -t raw -A PREROUTING -p udp --dport 22 -j CT --timeout flowlapse-udp
iptables -t raw -A OUTPUT -p udp --dport 22 -j CT --timeout flowlapse-udp
";
    assert_eq!(text(&blocks), wanted);
    assert!(blocks.iter().all(|block| !block.note.is_empty()));
}

#[test]
fn old_kernels_have_the_old_names_and_no_timeout_policies() {
    let lines = |spec: &str, name: &str| text(&blocks(spec, &[(name, 909)], None));
    let old = "\
== now, with sysctl
sysctl -w net.ipv4.netfilter.ip_conntrack_tcp_timeout_established=909
== for good, with sysctl.d
# /etc/sysctl.d/90-flowlapse.conf
net.ipv4.netfilter.ip_conntrack_tcp_timeout_established = 909
# /etc/modules-load.d/flowlapse.conf
ip_conntrack
";
    assert_eq!(lines("conntrack:dialect=linux-2.6.12", "established"), old);
    let middle = lines("conntrack:dialect=linux-3.18", "tcp_timeout_established");
    assert!(
        middle.contains("nfct add timeout flowlapse-tcp inet tcp established 909\niptables -t raw -A PREROUTING -p tcp -j CT"),
        "{middle}"
    );
    assert!(!middle.contains("nft\n"), "{middle}");
    let unset = lines("conntrack:dialect=linux-6.12", "syn_sent2");
    assert!(unset.ends_with("== without a sysctl\n# syn_sent2\n") && !unset.contains("sysctl -w"), "{unset}");
}

#[test]
fn a_director_is_set_by_ipvsadm_and_what_it_cannot_reach_is_said() {
    let wanted = "\
== now, with ipvsadm
ipvsadm --set 901 0 60
== for good, with keepalived
lvs_timeouts tcp 901 udp 60
== for good, with kube-proxy
--ipvs-tcp-timeout=901s
--ipvs-udp-timeout=60s
== now, with sysctl
sysctl -w net.ipv4.vs.timeout_established=500
sysctl -w net.ipv4.vs.secure_tcp=0
== the persistence of a service, with ipvsadm
ipvsadm -E -t ADDRESS:PORT -p 360
== out of reach
# close_wait
";
    let asked = [("timeout_tcp", 901), ("udp", 60), ("dos_established", 500), ("secure_tcp", 0), ("persist", 360), ("close_wait", 99)];
    assert_eq!(text(&blocks("ipvs", &asked, None)), wanted);
    assert!(blocks("ipvs", &[("tcp", 2_678_401)], None)[0].note.ends_with("ipvsadm takes at most 2678400 (31 days)"));
    assert_eq!(text(&blocks("aws-nlb", &[("established", 400)], None)), "== 'aws-nlb'\nestablished = 400\n");
    assert!(blocks("ipvs", &[], None).is_empty());
}

#[test]
fn hosts_are_told_in_every_place() {
    let wanted = "\
== now, on each host, with sysctl
sysctl -w net.ipv4.tcp_keepalive_time=290
sysctl -w net.ipv4.tcp_keepalive_intvl=20
sysctl -w net.ipv4.tcp_keepalive_probes=3
== for good, on each host, with sysctl.d
# /etc/sysctl.d/90-flowlapse.conf
net.ipv4.tcp_keepalive_time = 290
net.ipv4.tcp_keepalive_intvl = 20
net.ipv4.tcp_keepalive_probes = 3
== in a program of one's own
setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int));
setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){ 290 }, sizeof(int));
setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){ 20 }, sizeof(int));
setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){ 3 }, sizeof(int));
setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){ 350000 }, sizeof(unsigned));
== ssh, in ssh_config
ServerAliveInterval 290
ServerAliveCountMax 3
== ssh, in sshd_config
ClientAliveInterval 290
ClientAliveCountMax 3
TCPKeepAlive yes
== how to see it, on a host
ss -tno state established
timer:(keepalive,4min50sec,0)
";
    let blocks = host_blocks(Keepalive { idle: 290, interval: 20, probes: 3 });
    assert_eq!(text(&blocks), wanted);
    let endpoint = read(&blocks[1]).endpoint;
    assert_eq!(endpoint[0], ("net.ipv4.tcp_keepalive_time".to_owned(), "290".to_owned()));
    let long = host_blocks(Keepalive { idle: 40_000, interval: 20, probes: 3 });
    assert!(long[2].note.ends_with("a socket takes at most 32767 s and 127 probes"));
}

#[test]
fn what_is_pasted_reads_back_as_what_was_recommended() {
    let asked = [("established", 909), ("fin_wait", 131), ("close", 21), ("unacknowledged", 301), ("timeout_max_retrans", 302)];
    for block in blocks("conntrack", &asked, Some(22)) {
        let policy = read(&block).conntrack.unwrap_or_else(|| panic!("{block:?}"));
        let wanted = "conntrack:established=909,fin_wait=131,close=21,timeout_max_retrans=302,unacknowledged=301";
        assert_eq!(flowlapse::policy::BoxPolicy::Conntrack(policy).to_string(), wanted);
    }
    for block in blocks("ipvs", &[("tcp", 901), ("tcpfin", 121), ("udp", 301)], None) {
        let policy = read(&block).ipvs.unwrap_or_else(|| panic!("{block:?}"));
        assert_eq!(flowlapse::policy::BoxPolicy::Ipvs(policy).to_string(), "ipvs:tcp=901,tcpfin=121,udp=301");
    }
}
