//! The stage of a scene: a client, a box and a server, each in a network namespace of its own, with sockets that are not
//! connected yet.
//!
//! It knows how to set things up, not what is played.

use super::testbed::{Addresses, SERVICE_PORT, run, set_sysctl};
use crate::conform::scenes::{Host, Middle, Scene};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A stage that is ready. What is on it belongs to its namespaces, whichever thread uses it.
pub(super) struct Stage {
    /// The socket that is to connect.
    pub(super) client: OwnedFd,
    /// The server's listener.
    pub(super) listener: TcpListener,
    /// The address to connect to; the port is the service's.
    pub(super) target: IpAddr,
    /// The listing of the box's table.
    pub(super) table: File,
    /// What keeps the namespaces.
    pub(super) namespaces: [OwnedFd; 3],
}

impl Stage {
    /// Builds the stage of a scene. The calling thread ends up in the network namespace of the box.
    ///
    /// # Errors
    /// What this machine lacks.
    pub(super) fn build(scene: &Scene, tables: &str) -> Result<Stage, String> {
        let a = Addresses::of(false);
        let middle = &scene.middle;
        let nothing = BTreeMap::new();
        let [client, server, own] = [&scene.client.sysctl, &scene.server.sysctl, &nothing].map(namespace);
        let (client, server, own) = (client?, server?, own?);
        let direct = middle.forward == Some("dr");
        let to_vip = middle.kind == "ipvs" || middle.nat == Some("dnat");
        // `ip` opens the namespaces of others by these names.
        let path = |fd: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());

        let mut batch = format!(
            "link add c0 type veth peer name eth0 netns {}\nlink add s0 type veth peer name eth0 netns {}\nlink set lo up\n",
            path(&client),
            path(&server)
        );
        for (device, address) in [("c0", a.near), ("s0", a.far)] {
            batch.push_str(&format!("address add {address}/{} dev {device}\nlink set {device} up\n", a.prefix));
        }
        if to_vip {
            batch.push_str(&format!("address add {}/{} dev lo\n", a.vip, a.host_prefix));
        }
        run("ip", &["-batch", "-"], &batch)?;
        set_sysctl("net.ipv4.ip_forward", "1")?;
        if middle.kind == "conntrack" {
            rules(middle, tables, &a)?;
        } else {
            service(middle, &a)?;
        }
        set_all(&middle.sysctl)?;
        let path_of_table = if middle.kind == "conntrack" { "nf_conntrack" } else { "ip_vs_conn" };
        let path_of_table = format!("/proc/thread-self/net/{path_of_table}");
        let table = File::open(&path_of_table).map_err(|error| format!("{path_of_table}: {error}"))?;

        enter(&client)?;
        let mut batch =
            format!("link set lo up\naddress add {}/{} dev eth0\nlink set eth0 up\nroute add default via {}\n", a.client, a.prefix, a.near);
        if direct {
            batch.push_str(&format!(
                "link add d0 type veth peer name d0 netns {}\naddress add 10.0.3.1/24 dev d0\nlink set d0 up\n",
                path(&server)
            ));
        }
        run("ip", &["-batch", "-"], &batch)?;
        let connecting = connecting(&scene.client)?;

        enter(&server)?;
        let mut batch = format!("link set lo up\naddress add {}/{} dev eth0\nlink set eth0 up\n", a.server, a.prefix);
        if direct {
            // The server has the service's address too, and must not say so.
            for device in ["all", "default", "lo", "eth0"] {
                set_sysctl(&format!("net.ipv4.conf.{device}.arp_ignore"), "1")?;
                set_sysctl(&format!("net.ipv4.conf.{device}.arp_announce"), "2")?;
            }
            batch.push_str(&format!(
                "address add {}/{} dev lo\naddress add 10.0.3.2/24 dev d0\nlink set d0 up\nroute add {}/{} via 10.0.3.1 dev d0\n",
                a.vip, a.host_prefix, a.client, a.host_prefix
            ));
        }
        batch.push_str(&format!("route add default via {}\n", a.far));
        run("ip", &["-batch", "-"], &batch)?;
        let listener = TcpListener::bind(("0.0.0.0", SERVICE_PORT)).map_err(|error| format!("no listener: {error}"))?;
        listener.set_nonblocking(true).map_err(|error| format!("no listener: {error}"))?;

        enter(&own)?;
        let target = if to_vip { a.vip } else { a.server };
        Ok(Stage { client: connecting, listener, target, table, namespaces: [client, server, own] })
    }
}

/// A network namespace of its own for the calling thread, where nothing talks by itself.
///
/// # Errors
/// That it cannot be had.
pub(super) fn fresh() -> Result<OwnedFd, String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("no network namespace: {error}"))?;
    let path = "/proc/thread-self/ns/net";
    Ok(File::open(path).map_err(|error| format!("{path}: {error}"))?.into())
}

fn namespace(settings: &BTreeMap<String, u64>) -> Result<OwnedFd, String> {
    let own = fresh()?;
    for scope in ["all", "default"] {
        // A kernel without IPv6 is quiet as it is.
        let _ = set_sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "1");
        for name in ["rp_filter", "send_redirects", "accept_redirects"] {
            set_sysctl(&format!("net.ipv4.conf.{scope}.{name}"), "0")?;
        }
    }
    set_all(settings)?;
    Ok(own)
}

fn enter(namespace: &OwnedFd) -> Result<(), String> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|error| format!("a network namespace cannot be entered: {error}"))
}

fn set_all(settings: &BTreeMap<String, u64>) -> Result<(), String> {
    settings.iter().try_for_each(|(name, value)| set_sysctl(name, &value.to_string()))
}

/// The rules of a conntrack box.
fn rules(middle: &Middle, tables: &str, a: &Addresses) -> Result<(), String> {
    let mut text = String::from("*filter\n");
    for rule in middle.rules {
        text.push_str(&format!("-A FORWARD {rule}\n"));
    }
    text.push_str("COMMIT\n");
    if let Some(nat) = middle.nat {
        text.push_str("*nat\n");
        if nat == "masquerade" {
            text.push_str("-A POSTROUTING -o s0 -j MASQUERADE\n");
        } else {
            let (vip, server) = (a.vip, a.server);
            text.push_str(&format!("-A PREROUTING -d {vip} -p tcp --dport {SERVICE_PORT} -j DNAT --to-destination {server}\n"));
        }
        text.push_str("COMMIT\n");
    }
    run(&format!("{tables}-restore"), &[], &text).map(|_| ())
}

/// The virtual service of an IPVS box.
fn service(middle: &Middle, a: &Addresses) -> Result<(), String> {
    let method = if middle.forward == Some("dr") { "-g" } else { "-m" };
    let (vip, server) = (a.vip, a.server);
    let text = format!("-A -t {vip}:{SERVICE_PORT} -s rr\n-a -t {vip}:{SERVICE_PORT} -r {server}:{SERVICE_PORT} {method}\n");
    run("ipvsadm", &["-R"], &text)?;
    if let Some(timers) = middle.set {
        let [tcp, tcpfin, udp] = timers.map(|seconds| seconds.to_string());
        run("ipvsadm", &["--set", &tcp, &tcpfin, &udp], "")?;
    }
    Ok(())
}

/// The client's socket, of the namespace that the calling thread is in.
fn connecting(host: &Host) -> Result<OwnedFd, String> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let own = socket(AddressFamily::Inet, SockType::Stream, flags, None).map_err(|error| format!("no socket: {error}"))?;
    options(&own, host).map_err(|error| format!("a socket's options: {error}"))?;
    Ok(own)
}

/// Sets what the application of a host sets.
///
/// # Errors
/// The kernel's.
pub(super) fn options(socket: &impl AsFd, host: &Host) -> nix::Result<()> {
    if let Some([idle, interval, probes]) = host.keepalive {
        setsockopt(socket, sockopt::KeepAlive, &true)?;
        setsockopt(socket, sockopt::TcpKeepIdle, &idle)?;
        setsockopt(socket, sockopt::TcpKeepInterval, &interval)?;
        setsockopt(socket, sockopt::TcpKeepCount, &probes)?;
    }
    if let Some(ms) = host.user_timeout_ms {
        setsockopt(socket, sockopt::TcpUserTimeout, &ms)?;
    }
    Ok(())
}
