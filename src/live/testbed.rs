//! A box made of the running kernel: a fresh network namespace with a TUN device on either side, rules, IPVS, sysctls.
//!
//! It needs `ip`, `iptables` and, for IPVS, `ipvsadm`; whatever fails is said with the command and its own words.

use super::variant::Variant;
use super::wire::VERDICTS;
use crate::conform::recording::{Header, Out};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use tappers::{Interface, Tun};

/// The addresses of one family: client, service, server, the box towards the client, the box towards the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// The client.
    pub(super) client: IpAddr,
    /// The virtual service, or what DNAT translates.
    pub(super) vip: IpAddr,
    /// The real server.
    pub(super) server: IpAddr,
    /// The box on the client's side.
    pub(super) near: IpAddr,
    /// The box on the server's side.
    pub(super) far: IpAddr,
    /// The prefix of a link.
    pub(super) prefix: u8,
    /// The prefix of one address.
    pub(super) host_prefix: u8,
}

impl Addresses {
    /// The addresses that the recordings use.
    pub(super) fn of(six: bool) -> Addresses {
        let v4 = |a, b, c, d| IpAddr::from([a, b, c, d]);
        let v6 = |net: u16, host: u16| IpAddr::from([0xfd00, net, 0, 0, 0, 0, 0, host]);
        if six {
            Addresses { client: v6(1, 2), vip: v6(9, 9), server: v6(2, 2), near: v6(1, 1), far: v6(2, 1), prefix: 64, host_prefix: 128 }
        } else {
            Addresses {
                client: v4(10, 0, 1, 2),
                vip: v4(10, 0, 9, 9),
                server: v4(10, 0, 2, 2),
                near: v4(10, 0, 1, 1),
                far: v4(10, 0, 2, 1),
                prefix: 24,
                host_prefix: 32,
            }
        }
    }
}

/// The port of the service.
pub(super) const SERVICE_PORT: u16 = 80;

/// A box that is ready for packets.
pub(super) struct Testbed {
    client_side: Tun,
    server_side: Tun,
    netlink: Option<OwnedFd>,
    /// Its addresses.
    pub(super) addresses: Addresses,
    /// The header of what is recorded on it.
    pub(super) header: Header,
    tracked: bool,
    ipvs: bool,
}

/// Runs a command and gives what it printed.
///
/// # Errors
/// The command and the last line that it said.
pub(super) fn run(program: &str, args: &[&str], input: &str) -> Result<String, String> {
    let said = |what: &str| format!("{program} {}: {what}", args.join(" "));
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The rules are those of a namespace of our own: nobody else's lock is needed, and in a user namespace it cannot be had.
    command.env("XTABLES_LOCKFILE", "/dev/null");
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => said("there is no such program"),
        _ => said(&error.to_string()),
    })?;
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| said(&error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it failed");
    Err(said(last))
}

/// Reads a setting of the kernel.
pub(super) fn sysctl(name: &str) -> Option<String> {
    fs::read_to_string(sysctl_path(name)).ok().map(|text| text.trim_end().to_owned())
}

/// The kernel's release. Distributions that keep a name such as `6.1.0-47-amd64` through many releases say elsewhere which
/// one it is: Debian in the banner (`Debian 6.1.170-1`), Ubuntu in a file of its own (`Ubuntu 5.15.0-91.101-generic 5.15.131`).
pub(super) fn release() -> Option<String> {
    let named = sysctl("kernel.osrelease")?;
    let banner = fs::read_to_string("/proc/version").unwrap_or_default();
    let signature = fs::read_to_string("/proc/version_signature").unwrap_or_default();
    Some(true_release(&named, &banner, &signature).unwrap_or(named))
}

fn true_release(named: &str, banner: &str, signature: &str) -> Option<String> {
    let series = named.split('.').take(2).collect::<Vec<_>>().join(".");
    if !named.starts_with(&format!("{series}.0-")) {
        return None;
    }
    let debian = banner.split("Debian ").nth(1).and_then(|rest| rest.split([' ', '-', ')']).next());
    let ubuntu = signature.split_whitespace().nth(2);
    debian.into_iter().chain(ubuntu).find(|word| word.starts_with(&format!("{series}."))).map(str::to_owned)
}

fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

/// Sets a setting of the kernel.
///
/// # Errors
/// That it cannot be set.
pub(super) fn set_sysctl(name: &str, value: &str) -> Result<(), String> {
    fs::write(sysctl_path(name), value).map_err(|error| format!("sysctl {name}={value}: {error}"))
}

/// All settings in a folder of sysctls, by their names.
fn sysctls_below(folder: &str, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(sysctl_path(folder)) else { return BTreeMap::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| wanted(name)).filter_map(|name| Some((format!("{folder}.{name}"), sysctl(&format!("{folder}.{name}"))?))).collect()
}

/// The `iptables` of a family that this kernel understands. Both kinds are tried: a kernel may have either. The trial leaves the
/// first of the rules for the verdict.
///
/// # Errors
/// Why none does.
pub(super) fn tables_program(six: bool) -> Result<&'static str, String> {
    let programs = if six { ["ip6tables-legacy", "ip6tables", "ip6tables-nft"] } else { ["iptables-legacy", "iptables", "iptables-nft"] };
    let mut why = String::new();
    for program in programs {
        match run(
            program,
            &["-w", "-t", "mangle", "-A", "POSTROUTING", "-m", "conntrack", "--ctstate", "NEW", "-j", "DSCP", "--set-dscp", "1"],
            "",
        ) {
            Ok(_) => return Ok(program),
            Err(error) if why.is_empty() || !error.contains("no such program") => why = error,
            Err(_) => {}
        }
    }
    Err(why)
}

impl Testbed {
    /// Builds the box of a variant in a network namespace of its own, which the calling thread enters.
    ///
    /// # Errors
    /// What this machine lacks.
    pub(super) fn build(variant: &Variant, seed: u64, hz: Option<u32>) -> Result<Testbed, String> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(|error| format!("no network namespace: {error}"))?;
        let six = variant.option("family") == Some("6");
        let addresses = Addresses::of(six);
        let [client_side, server_side] = ["c0", "s0"].map(open_tun);
        let (client_side, server_side) = (client_side?, server_side?);
        links(&addresses)?;
        let mut bed = Testbed {
            client_side,
            server_side,
            netlink: None,
            addresses,
            tracked: !variant.is_ipvs() || variant.option("conntrack") == Some("1"),
            ipvs: variant.is_ipvs(),
            header: Header {
                format: 1,
                kind: variant.kind.to_owned(),
                kernel: release().ok_or("/proc/sys/kernel/osrelease cannot be read")?,
                seed,
                options: variant.options.clone(),
                hz,
                client: addresses.client.to_string(),
                server: addresses.server.to_string(),
                vip: addresses.vip.to_string(),
                sysctl: BTreeMap::new(),
            },
        };
        if bed.tracked {
            rules(variant, six, &addresses)?;
            bed.netlink = Some(open_netlink()?);
        }
        if bed.ipvs {
            service(variant, six, &addresses)?;
        }
        for (name, value) in variant.options.iter().filter(|(name, _)| name.starts_with("net.")) {
            set_sysctl(name, value)?;
        }
        bed.header.sysctl = bed.settings()?;
        Ok(bed)
    }

    /// Every setting that matters, as the kernel has it.
    fn settings(&self) -> Result<BTreeMap<String, String>, String> {
        let mut all = BTreeMap::new();
        if self.tracked {
            let wanted = |name: &str| name.starts_with("nf_conntrack_tcp_") || name.starts_with("nf_conntrack_udp_");
            all.extend(sysctls_below("net.netfilter", wanted));
        }
        if self.ipvs {
            all.extend(sysctls_below("net.ipv4.vs", |_| true));
            let timers = run("ipvsadm", &["-l", "--timeout"], "")?;
            all.insert("ipvsadm".to_owned(), timers.trim().to_owned());
        }
        Ok(all)
    }

    /// Puts a packet in on the client's or the server's side; the kernel is done with it when this returns.
    ///
    /// # Errors
    /// The device's.
    pub(super) fn inject(&self, from_client: bool, bytes: &[u8]) -> Result<(), String> {
        let (device, name) = if from_client { (&self.client_side, "c0") } else { (&self.server_side, "s0") };
        device.send(bytes).map(|_| ()).map_err(|error| format!("a packet cannot be written to {name}: {error}"))
    }

    /// Everything that the box has sent since it was last asked, the side of the client first.
    pub(super) fn collect(&self) -> Vec<Out> {
        let mut sent = Vec::new();
        let mut bytes = [0; 2048];
        for (device, side) in [(&self.client_side, "client"), (&self.server_side, "server")] {
            while let Ok(length) = device.recv(&mut bytes) {
                sent.extend(super::wire::read(&bytes[..length], side));
            }
        }
        sent
    }

    /// The listing of conntrack's table, where it is in use.
    ///
    /// # Errors
    /// That it cannot be read.
    pub(super) fn conntrack_listing(&self) -> Result<Option<String>, String> {
        self.tracked.then(|| read_listing("/proc/thread-self/net/nf_conntrack")).transpose()
    }

    /// The listing of IPVS's table, where it is in use.
    ///
    /// # Errors
    /// That it cannot be read.
    pub(super) fn ipvs_listing(&self) -> Result<Option<String>, String> {
        self.ipvs.then(|| read_listing("/proc/thread-self/net/ip_vs_conn")).transpose()
    }

    /// Empties conntrack's table, where it is in use.
    ///
    /// # Errors
    /// What the kernel answered.
    pub(super) fn flush(&self) -> Result<(), String> {
        // Header (length, IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK, REQUEST and ACK, number, port), then `nfgenmsg` of no
        // family, which means every entry.
        let mut message = Vec::with_capacity(20);
        message.extend_from_slice(&20_u32.to_ne_bytes());
        message.extend_from_slice(&0x0102_u16.to_ne_bytes());
        message.extend_from_slice(&0x0005_u16.to_ne_bytes());
        message.extend_from_slice(&[0; 12]);
        let Some(netlink) = &self.netlink else { return Ok(()) };
        let fail = |error: nix::Error| format!("conntrack's table cannot be flushed: {error}");
        send(netlink.as_raw_fd(), &message, MsgFlags::empty()).map_err(fail)?;
        let mut answer = [0; 256];
        let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).map_err(fail)?;
        match answer.get(16..20).filter(|_| length >= 20) {
            Some([0, 0, 0, 0]) => Ok(()),
            Some(code) => {
                let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
                Err(fail(nix::Error::from_raw(-code)))
            }
            None => Err("conntrack's table cannot be flushed: the kernel's answer is cut short".to_owned()),
        }
    }
}

/// Reads a listing in as few calls as can be. Each call finds its place again by counting, through the entries of every
/// namespace; those that vanish meanwhile shift the rest, and a small buffer would make a call of each line.
fn read_listing(path: &str) -> Result<String, String> {
    let fail = |error: io::Error| format!("{path}: {error}");
    let mut file = fs::File::open(path).map_err(fail)?;
    let mut text = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fail(error)),
        }
    }
    String::from_utf8(text).map_err(|error| format!("{path}: {error}"))
}

fn open_tun(name: &str) -> Result<Tun, String> {
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => format!("TUN device {name}: {error}; may you read and write /dev/net/tun?"),
        _ => format!("TUN device {name}: {error}"),
    };
    let interface = Interface::new(name).map_err(fail)?;
    let mut device = Tun::new_named(interface).map_err(fail)?;
    device.set_nonblocking(true).map_err(fail)?;
    Ok(device)
}

fn open_netlink() -> Result<OwnedFd, String> {
    let fail = |error: nix::Error| format!("no netlink socket for conntrack: {error}");
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter).map_err(fail)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(fail)?;
    Ok(fd)
}

/// Addresses, links, forwarding; nothing that talks by itself.
fn links(a: &Addresses) -> Result<(), String> {
    let six = a.client.is_ipv6();
    let nodad = if six { " nodad" } else { "" };
    // Devices that are told nothing of IPv6 keep quiet.
    for device in ["c0", "s0"] {
        if !six {
            let _ = set_sysctl(&format!("net.ipv6.conf.{device}.disable_ipv6"), "1");
        }
        let _ = set_sysctl(&format!("net.ipv6.conf.{device}.addr_gen_mode"), "1");
    }
    let mut batch = String::from("link set lo up\n");
    batch.push_str(&format!("address add {}/{}{nodad} dev lo\n", a.vip, a.host_prefix));
    for (device, own) in [("c0", a.near), ("s0", a.far)] {
        batch.push_str(&format!("address add {own}/{}{nodad} dev {device}\nlink set {device} up\n", a.prefix));
    }
    run("ip", &["-batch", "-"], &batch)?;
    if six {
        set_sysctl("net.ipv6.conf.all.forwarding", "1")?;
    } else {
        set_sysctl("net.ipv4.ip_forward", "1")?;
        for device in ["all", "default", "c0", "s0"] {
            set_sysctl(&format!("net.ipv4.conf.{device}.rp_filter"), "0")?;
            set_sysctl(&format!("net.ipv4.conf.{device}.send_redirects"), "0")?;
        }
    }
    Ok(())
}

/// The verdict of each packet into its DSCP; then NAT and the filter of a variant.
fn rules(variant: &Variant, six: bool, a: &Addresses) -> Result<(), String> {
    let program = tables_program(six)?;
    let add = |table: &str, rule: &[&str]| {
        let mut args = vec!["-w", "-t", table, "-A"];
        args.extend_from_slice(rule);
        run(program, &args, "").map(|_| ())
    };
    // The first of them is there: it was the trial.
    for (name, value) in &VERDICTS[1..] {
        add(
            "mangle",
            &["POSTROUTING", "-m", "conntrack", "--ctstate", &name.to_ascii_uppercase(), "-j", "DSCP", "--set-dscp", &value.to_string()],
        )?;
    }
    let proto = variant.option("proto").unwrap_or("tcp");
    match variant.option("nat") {
        Some("masquerade") => add("nat", &["POSTROUTING", "-o", "s0", "-j", "MASQUERADE"])?,
        Some("dnat") => {
            let (vip, server, port) = (a.vip.to_string(), a.server.to_string(), SERVICE_PORT.to_string());
            add("nat", &["PREROUTING", "-d", &vip, "-p", proto, "--dport", &port, "-j", "DNAT", "--to-destination", &server])?;
        }
        _ => {}
    }
    let drop = |state: &'static str| ["FORWARD", "-m", "conntrack", "--ctstate", state, "-j", "DROP"];
    match variant.option("rules") {
        Some("drop-invalid") => add("filter", &drop("INVALID"))?,
        Some("strict") => {
            add("filter", &["FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"])?;
            let opening: &[&str] = if proto == "udp" { &["-p", "udp"] } else { &["-p", "tcp", "--syn"] };
            let mut rule = vec!["FORWARD"];
            rule.extend_from_slice(opening);
            rule.extend_from_slice(&["-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"]);
            add("filter", &rule)?;
            add("filter", &["FORWARD", "-j", "DROP"])?;
        }
        _ => {}
    }
    Ok(())
}

/// The virtual service and its one real server.
fn service(variant: &Variant, six: bool, a: &Addresses) -> Result<(), String> {
    let socket = |address: IpAddr| if six { format!("[{address}]:{SERVICE_PORT}") } else { format!("{address}:{SERVICE_PORT}") };
    let proto = if variant.option("proto") == Some("udp") { "-u" } else { "-t" };
    let (vip, real) = (socket(a.vip), socket(a.server));
    let mut service = vec!["-A", proto, &vip, "-s", "rr"];
    if let Some(seconds) = variant.option("persist") {
        service.extend_from_slice(&["-p", seconds]);
    }
    run("ipvsadm", &service, "")?;
    let method = if variant.kind == "ipvs-dr" { "-g" } else { "-m" };
    run("ipvsadm", &["-a", proto, &vip, "-r", &real, method], "")?;
    if let Some(timers) = variant.option("set") {
        let mut args = vec!["--set"];
        args.extend(timers.split(','));
        run("ipvsadm", &args, "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_true_release_is_found_behind_a_distribution_s_name() {
        let debian = "Linux version 6.1.0-47-amd64 (x@y) (gcc-12, GNU ld) #1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-03-01)";
        assert_eq!(true_release("6.1.0-47-amd64", debian, "").as_deref(), Some("6.1.170"));
        let ubuntu = "Ubuntu 5.15.0-91.101-generic 5.15.131\n";
        assert_eq!(true_release("5.15.0-91-generic", "Linux version 5.15.0-91-generic", ubuntu).as_deref(), Some("5.15.131"));
        assert_eq!(true_release("6.18.44", "Linux version 6.18.44 Debian 1.2", ""), None);
        assert_eq!(true_release("6.1.0-rc7", "Linux version 6.1.0-rc7", ""), None);
    }
}
