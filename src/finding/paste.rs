//! Recommended settings as text to paste: one block for each way to set them, on a box and on the hosts.
//!
//! Sources: the spec's conntrack.md sections 8.5 and 10.2, ipvs.md sections 1.1 to 1.3; nft(8), nfct(8), ipvsadm(8), tcp(7),
//! ssh_config(5), sshd_config(5). Nothing here knows why a value is recommended.

use super::cause::sysctl_tree;
use crate::engine::{Device, Hop};
use crate::model::conntrack::dialect::release_numbers;
use crate::policy::dump::{IPVS_SYSCTLS, POLICY_TCP, POLICY_UDP};
use crate::policy::{BoxPolicy, ConntrackPolicy, IpvsPolicy, Settings};

/// A setting of a box.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name, as `--box` takes it: `established`, `tcpfin`.
    pub name: String,
    /// Its value: whole seconds, or a count.
    pub value: u64,
}

/// TCP keepalive of the hosts, in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// After how long a silence the first probe is sent.
    pub idle: u64,
    /// The time between probes that are not answered.
    pub interval: u64,
    /// How many probes go unanswered before the connection is given up.
    pub probes: u64,
}

/// One way to set something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// What it is, in a few words.
    pub title: String,
    /// The lines to paste.
    pub lines: Vec<String>,
    /// What to know about it.
    pub note: String,
}

impl Block {
    fn new(title: impl Into<String>, lines: Vec<String>, note: impl Into<String>) -> Block {
        Block { title: title.into(), lines, note: note.into() }
    }
}

/// The name of what is put into a packet filter.
const NAME: &str = "flowlapse";

/// Every way to give a box these settings. Blocks that attach timers to some flows only name those to `port`, or all.
pub fn box_blocks(hop: &Hop, settings: &[Setting], port: Option<u16>) -> Vec<Block> {
    if settings.is_empty() {
        return Vec::new();
    }
    match &hop.policy {
        BoxPolicy::Conntrack(policy) => conntrack(hop, policy, settings, port),
        BoxPolicy::Ipvs(_) => ipvs(settings),
        BoxPolicy::Idle(_) => {
            let lines = settings.iter().map(|s| format!("{} = {}", s.name, s.value)).collect();
            vec![Block::new(
                format!("'{}'", hop.label),
                lines,
                "by the product's own means; 'flowlapse presets' says whether and in which range",
            )]
        }
    }
}

/// What the kernel calls a setting of conntrack, behind the tree's name; nothing where no sysctl sets it.
fn kernel_name(name: &str) -> Option<&'static str> {
    let key = ConntrackPolicy::key(name).ok()?;
    let theirs = key.aliases.iter().copied().find(|alias| alias.starts_with("tcp_") || alias.starts_with("udp_timeout"));
    theirs.or_else(|| ["max", "buckets"].into_iter().find(|size| *size == key.name))
}

fn conntrack(hop: &Hop, policy: &ConntrackPolicy, settings: &[Setting], port: Option<u16>) -> Vec<Block> {
    let tree = sysctl_tree(hop);
    let old_tree = !tree.starts_with("net.netfilter.");
    let (dialect, policies) = match &hop.device {
        Device::Router(router) => (router.conntrack.settings.dialect.name, router.conntrack.settings.dialect.timeout_policies),
        _ => ("", false),
    };
    let settable = |s: &&Setting| kernel_name(&s.name).is_some_and(|name| name != "tcp_timeout_syn_sent2" || old_tree);
    let named: Vec<String> =
        settings.iter().filter(settable).map(|s| format!("{tree}{}={}", kernel_name(&s.name).unwrap_or_default(), s.value)).collect();
    let mut blocks = Vec::new();
    if !named.is_empty() {
        let note = "holds until the next boot, from the next packet of each flow on; entries that are idle now keep their deadline";
        blocks.push(Block::new("now, with sysctl", named.iter().map(|line| format!("sysctl -w {line}")).collect(), note));
        let module = if old_tree { "ip_conntrack" } else { "nf_conntrack" };
        let mut lines = vec![format!("# /etc/sysctl.d/90-{NAME}.conf")];
        lines.extend(named.iter().map(|line| line.replacen('=', " = ", 1)));
        lines.push(format!("# /etc/modules-load.d/{NAME}.conf"));
        lines.push(module.to_owned());
        let note = format!(
            "at every boot, as two files: the names exist only while {module} is loaded, and modules-load.d comes before sysctl.d; \
             a network namespace begins with the kernel's defaults"
        );
        blocks.push(Block::new("for good, with sysctl.d", lines, note));
    }
    for (protocol, timers) in [("tcp", POLICY_TCP.as_slice()), ("udp", POLICY_UDP.as_slice())] {
        let asked = |name: &str| {
            settings.iter().find(|s| ConntrackPolicy::key(&s.name).is_ok_and(|key| key.name == name)).map(|s| s.value.to_string())
        };
        let pairs: Vec<(&str, String)> = timers.iter().filter_map(|(theirs, ours)| Some((*theirs, asked(ours)?))).collect();
        if pairs.is_empty() || !policies {
            continue;
        }
        if has_nft_timeouts(dialect) {
            // nft fills what is not named with the kernel's defaults, so what the box is set to has to be named as well.
            let whole = timers.iter().filter_map(|(theirs, ours)| Some((*theirs, asked(ours).or_else(|| policy.value(ours))?)));
            blocks.push(nft(protocol, &whole.collect::<Vec<_>>(), port));
        }
        blocks.push(nfct(protocol, &pairs, port));
    }
    let unset: Vec<&str> = settings.iter().filter(|s| !settable(s)).map(|s| s.name.as_str()).collect();
    if !unset.is_empty() {
        let note = "no sysctl of this kernel sets it";
        blocks.push(Block::new("without a sysctl", unset.iter().map(|name| format!("# {name}")).collect(), note));
    }
    blocks
}

/// Whether nft can hand out timers on this kernel: 4.19 and later. A row of models may begin with 4.18.
fn has_nft_timeouts(dialect: &str) -> bool {
    dialect.split_once('-').and_then(|(_, release)| release_numbers(release)).is_none_or(|release| release >= [4, 18, 0])
}

/// What a rule of nft or of iptables looks at.
fn matching(protocol: &str, port: Option<u16>, nft: bool) -> String {
    match (port, nft) {
        (Some(port), true) => format!("{protocol} dport {port}"),
        (None, true) => format!("meta l4proto {protocol}"),
        (Some(port), false) => format!("-p {protocol} --dport {port}"),
        (None, false) => format!("-p {protocol}"),
    }
}

fn nft(protocol: &str, pairs: &[(&str, String)], port: Option<u16>) -> Block {
    let policy: Vec<String> = pairs.iter().map(|(name, value)| format!("{name} : {value}")).collect();
    let rule = format!("\t\t{} ct timeout set \"{NAME}-{protocol}\"", matching(protocol, port, true));
    let mut lines = vec![
        format!("table ip {NAME}-{protocol} {{"),
        format!("\tct timeout {NAME}-{protocol} {{"),
        format!("\t\tprotocol {protocol};"),
        "\t\tl3proto ip;".to_owned(),
        format!("\t\tpolicy = {{ {} }}", policy.join(", ")),
        "\t}".to_owned(),
    ];
    for hook in ["prerouting", "output"] {
        lines.push(format!("\tchain {hook} {{"));
        lines.push(format!("\t\ttype filter hook {hook} priority raw; policy accept;"));
        lines.extend([rule.clone(), "\t}".to_owned()]);
    }
    lines.push("}".to_owned());
    let note = "kernel 4.19 and later, for 'nft -f'; flows that begin from now on; IPv4: for IPv6 write 'table ip6' and 'l3proto ip6'; \
                a timer that is not named gets nft's default, whatever the sysctl says";
    Block::new(format!("for some {protocol} flows, with nft"), lines, note)
}

fn nfct(protocol: &str, pairs: &[(&str, String)], port: Option<u16>) -> Block {
    let timers: Vec<String> = pairs.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut lines = vec![format!("nfct add timeout {NAME}-{protocol} inet {protocol} {}", timers.join(" "))];
    for chain in ["PREROUTING", "OUTPUT"] {
        lines.push(format!("iptables -t raw -A {chain} {} -j CT --timeout {NAME}-{protocol}", matching(protocol, port, false)));
    }
    let note = "kernel 3.4 and later; flows that begin from now on; a timer that is not named is the sysctl's value of this moment";
    Block::new(format!("for some {protocol} flows, with nfct and iptables"), lines, note)
}

/// The longest timeout that ipvsadm takes, in seconds: 31 days.
const IPVSADM_MAX: u64 = 2_678_400;

fn ipvs(settings: &[Setting]) -> Vec<Block> {
    let asked: Vec<(&str, u64)> =
        settings.iter().map(|s| (IpvsPolicy::key(&s.name).map_or(s.name.as_str(), |key| key.name), s.value)).collect();
    let of = |name: &str| asked.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let three = [of("tcp"), of("tcpfin"), of("udp")];
    let mut blocks = Vec::new();
    if three.iter().any(Option::is_some) {
        let [tcp, tcpfin, udp] = three.map(Option::unwrap_or_default);
        let limit =
            if [tcp, tcpfin, udp].iter().any(|value| *value > IPVSADM_MAX) { "; ipvsadm takes at most 2678400 (31 days)" } else { "" };
        let note = format!("every service; 0 keeps a value; holds until the next boot, from the next packet of each flow on{limit}");
        blocks.push(Block::new("now, with ipvsadm", vec![format!("ipvsadm --set {tcp} {tcpfin} {udp}")], note));
        let pairs = |form: &dyn Fn(&str, u64) -> String| -> Vec<String> {
            ["tcp", "tcpfin", "udp"].into_iter().zip(three).filter_map(|(name, value)| Some(form(name, value?))).collect()
        };
        let line = format!("lvs_timeouts {}", pairs(&|name, value| format!("{name} {value}")).join(" "));
        blocks.push(Block::new("for good, with keepalived", vec![line], "in global_defs of keepalived.conf"));
        let flags = pairs(&|name, value| format!("--ipvs-{name}-timeout={value}s"));
        blocks.push(Block::new("for good, with kube-proxy", flags, "its flags, in IPVS mode"));
    }
    let sysctls: Vec<String> = asked
        .iter()
        .filter_map(|(name, value)| match name.strip_prefix("dos_") {
            Some(state) => Some(format!("sysctl -w net.ipv4.vs.timeout_{state}={value}")),
            None => IPVS_SYSCTLS.contains(name).then(|| format!("sysctl -w net.ipv4.vs.{name}={value}")),
        })
        .collect();
    if !sysctls.is_empty() {
        let note = "holds until the next boot; the names with timeout_ exist in 2.4 only, for entries that are born under secure_tcp";
        blocks.push(Block::new("now, with sysctl", sysctls, note));
    }
    if let Some(seconds) = of("persist") {
        let line = format!("ipvsadm -E -t ADDRESS:PORT -p {seconds}");
        blocks.push(Block::new(
            "the persistence of a service, with ipvsadm",
            vec![line],
            "with the service's own address and its scheduler (-s)",
        ));
    }
    let reached =
        |name: &str| matches!(name, "tcp" | "tcpfin" | "udp" | "persist") || name.starts_with("dos_") || IPVS_SYSCTLS.contains(&name);
    let rest: Vec<String> = asked.iter().filter(|(name, _)| !reached(name)).map(|(name, _)| format!("# {name}")).collect();
    if !rest.is_empty() {
        let note =
            "no command sets it: ipvsadm --set reaches ESTABLISHED, FIN_WAIT and UDP, and the other timers are constants of the kernel";
        blocks.push(Block::new("out of reach", rest, note));
    }
    blocks
}

/// The most that a socket takes: `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`, in seconds, and `MAX_TCP_KEEPCNT`.
const SOCKET_MAX: (u64, u64) = (32_767, 127);

/// Every way to give the hosts a keepalive.
pub fn host_blocks(keepalive: Keepalive) -> Vec<Block> {
    let Keepalive { idle, interval, probes } = keepalive;
    let sysctls =
        [("time", idle), ("intvl", interval), ("probes", probes)].map(|(name, value)| (format!("net.ipv4.tcp_keepalive_{name}"), value));
    let mut file = vec![format!("# /etc/sysctl.d/90-{NAME}.conf")];
    file.extend(sysctls.iter().map(|(name, value)| format!("{name} = {value}")));
    let only = "only sockets with SO_KEEPALIVE send probes; a container has values of its own, the kernel's defaults at first";
    let mut set = vec!["setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int));".to_owned()];
    for (option, value) in [("KEEPIDLE", idle), ("KEEPINTVL", interval), ("KEEPCNT", probes)] {
        set.push(format!("setsockopt(fd, IPPROTO_TCP, TCP_{option}, &(int){{ {value} }}, sizeof(int));"));
    }
    let gives_up = idle.saturating_add(interval.saturating_mul(probes));
    set.push(format!(
        "setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){{ {} }}, sizeof(unsigned));",
        gives_up.saturating_mul(1000)
    ));
    let limit = if idle.max(interval) > SOCKET_MAX.0 || probes > SOCKET_MAX.1 {
        format!("; a socket takes at most {} s and {} probes", SOCKET_MAX.0, SOCKET_MAX.1)
    } else {
        String::new()
    };
    let socket = format!(
        "in the program, before the silence; TCP_USER_TIMEOUT, in milliseconds, also ends a connection whose data is not acknowledged, \
         for which no keepalive is sent{limit}"
    );
    let ssh = |what: &str| vec![format!("{what}AliveInterval {idle}"), format!("{what}AliveCountMax {probes}")];
    let mut sshd = ssh("Client");
    sshd.push("TCPKeepAlive yes".to_owned());
    vec![
        Block::new(
            "now, on each host, with sysctl",
            sysctls.iter().map(|(name, value)| format!("sysctl -w {name}={value}")).collect(),
            only,
        ),
        Block::new("for good, on each host, with sysctl.d", file, only),
        Block::new("in a program of one's own", set, socket),
        Block::new("ssh, in ssh_config", ssh("Server"), "asked through the encrypted channel, again after the same time, by the client"),
        Block::new("ssh, in sshd_config", sshd, "the same from the server; TCPKeepAlive sets SO_KEEPALIVE, with the host's times"),
        Block::new(
            "how to see it, on a host",
            vec!["ss -tno state established".to_owned(), format!("timer:(keepalive,{},0)", ss_timer(idle))],
            "just after a packet; a socket without a timer does not keep itself alive",
        ),
    ]
}

/// Whole seconds as ss prints a timer: minutes and seconds, and minutes alone from ten on.
fn ss_timer(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, rest) => format!("{rest}sec"),
        (minutes @ 1..=9, rest) if rest > 0 => format!("{minutes}min{rest}sec"),
        (minutes, _) => format!("{minutes}min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_written_as_ss_does() {
        for (seconds, text) in [(45, "45sec"), (60, "1min"), (290, "4min50sec"), (599, "9min59sec"), (867, "14min"), (7200, "120min")] {
            assert_eq!(ss_timer(seconds), text);
        }
    }

    #[test]
    fn nft_hands_out_timers_on_kernels_that_can() {
        let can = ["linux-6.8", "linux-4.18", "longterm-4.19.40", "el8.1-4.18.0-147", "linux-7.1"];
        let cannot = ["linux-2.4", "linux-4.15", "el7-3.10.0-1127", "longterm-3.10.105"];
        assert!(can.iter().all(|name| has_nft_timeouts(name)));
        assert!(!cannot.iter().any(|name| has_nft_timeouts(name)));
    }
}
