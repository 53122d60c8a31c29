//! `sysctl -a`, sysctl.d, `grep . /proc/sys/…` and `grep -r`, names of all kernels.
//!
//! Source: the spec's conntrack.md section 8.5 and ipvs.md section 1.3. Names of a kernel's own trees that no kernel has are damage or
//! slips; every other sysctl is none of ours.

use super::words::{short, unquoted};
use super::{Line, Reader};
use crate::inventory::{Kind, Sysctl};
use crate::policy::dump::{CONNTRACK_TREES, IPVS_TREE, OTHER_PROTOCOLS, dotted};
use crate::policy::hint::nearest;
use std::borrow::Cow;

/// What stands behind `nf_conntrack_` or `ip_conntrack_`, other protocols apart.
const CONNTRACK: [&str; 25] = [
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
    "tcp_loose",
    "tcp_be_liberal",
    "tcp_max_retrans",
    "tcp_ignore_invalid_rst",
    "udp_timeout",
    "udp_timeout_stream",
    "max",
    "count",
    "buckets",
    "checksum",
    "log_invalid",
    "acct",
    "events",
    "timestamp",
];
/// Others there, which say nothing about a TCP or UDP flow.
const CONNTRACK_OTHER: [&str; 4] = ["helper", "expect_max", "events_retry_timeout", "proto_dccp"];
/// IPVS's, of all kernels since 2.6; those of 2.4 that begin with `timeout_` come on top.
const IPVS: [&str; 38] = [
    "amemthresh",
    "am_droprate",
    "drop_entry",
    "drop_packet",
    "conntrack",
    "secure_tcp",
    "snat_reroute",
    "sync_version",
    "sync_ports",
    "sync_persist_mode",
    "sync_qlen_max",
    "sync_sock_size",
    "sync_threshold",
    "sync_refresh_period",
    "sync_retries",
    "cache_bypass",
    "expire_nodest_conn",
    "sloppy_tcp",
    "sloppy_sctp",
    "expire_quiescent_template",
    "nat_icmp_send",
    "pmtu_disc",
    "backup_only",
    "conn_reuse_mode",
    "schedule_icmp",
    "ignore_tunneled",
    "run_estimation",
    "est_cpulist",
    "est_nice",
    "debug_level",
    "lblc_expiration",
    "lblcr_expiration",
    "conn_lfactor",
    "svc_lfactor",
    "conn_max",
    "timeout_expire",
    "conn_tab_bits",
    "conn_tab_size",
];
const IPVS_24: [&str; 12] = [
    "timeout_established",
    "timeout_synsent",
    "timeout_synrecv",
    "timeout_finwait",
    "timeout_timewait",
    "timeout_close",
    "timeout_closewait",
    "timeout_lastack",
    "timeout_listen",
    "timeout_synack",
    "timeout_udp",
    "timeout_icmp",
];
/// The host's own TCP: what ends silent connections, and what limits new ones.
const ENDPOINT: [&str; 11] = [
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_retries1",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.ip_local_port_range",
];
const KEEPALIVE: &str = "net.ipv4.tcp_keepalive_";
const FLOWTABLE: [&str; 2] = ["net.netfilter.nf_flowtable_tcp_timeout", "net.netfilter.nf_flowtable_udp_timeout"];
const FORWARDING: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];

/// Whether a line sets or shows a sysctl.
pub(super) fn sign(line: &str) -> bool {
    let Some((key, _)) = pair(line) else { return false };
    let plain = dotted(key);
    let name = plain.as_ref();
    let trees = ["net.", "kernel.", "vm.", "fs.", "dev.", "user.", "abi.", "debug.", "sunrpc.", "crypto."];
    trees.iter().any(|tree| name.starts_with(tree)) && !name.contains(char::is_whitespace)
        || CONNTRACK_TREES.iter().any(|tree| name.starts_with(tree))
        || name.contains("nf_conntrack_")
        || name.contains("ip_conntrack_")
}

/// The key and the value: with `=`, or behind the path of a file and a colon.
fn pair(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let plain = line.strip_prefix("sysctl ").map_or(line, |rest| rest.trim_start().trim_start_matches("-w").trim_start());
    if let Some((value, file)) = plain.strip_prefix("echo ").and_then(|rest| rest.split_once('>')) {
        return file.trim_start_matches('>').trim().starts_with('/').then(|| (file.trim_start_matches('>').trim(), unquoted(value.trim())));
    }
    let sign = plain.find(['=', ':'])?;
    let (key, rest) = plain.split_at(sign);
    let key = key.trim().trim_start_matches('-').trim_start();
    let value = unquoted(rest.get(1..)?.trim());
    let path =
        key.contains('/') || ["nf_conntrack_", "ip_conntrack_", "nf_flowtable_", "tcp_keepalive_"].iter().any(|head| key.starts_with(head));
    if rest.starts_with(':') && !path || key.is_empty() || key.contains(char::is_whitespace) {
        return None;
    }
    Some((key, value))
}

/// A name as kernels have it today.
fn modern(key: &str) -> Cow<'_, str> {
    // `grep -r . .` below /proc/sys or below a folder of it.
    let name = dotted(key.strip_prefix("./").unwrap_or(key));
    match name.as_ref() {
        "net.nf_conntrack_max" | "net.ipv4.ip_conntrack_max" => return Cow::Borrowed("net.netfilter.nf_conntrack_max"),
        short if short.starts_with("nf_flowtable_") => return Cow::Owned(format!("net.netfilter.{short}")),
        short if short.starts_with("tcp_keepalive_") || short.starts_with("tcp_retries") => return Cow::Owned(format!("net.ipv4.{short}")),
        short if short.starts_with("netfilter.nf_") || short.starts_with("ipv4.") => {
            return Cow::Owned(modern(&format!("net.{short}")).into_owned());
        }
        _ => {}
    }
    match CONNTRACK_TREES.iter().find_map(|tree| name.strip_prefix(tree)) {
        Some(rest) => Cow::Owned(format!("net.netfilter.nf_conntrack_{rest}")),
        None => name,
    }
}

/// What was said once for a whole text.
#[derive(Default)]
struct Said {
    howto: bool,
    two_four: bool,
}

pub(super) fn read(reader: &mut Reader<'_>, lines: &[Line<'_>]) {
    let mut said = Said::default();
    for line in lines {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        match one(reader, line, &mut said) {
            Ok(true) => {}
            Ok(false) => reader.ignore(),
            Err(why) => reader.unread(line, Kind::Sysctls, why),
        }
    }
}

fn one(reader: &mut Reader<'_>, line: &Line<'_>, said: &mut Said) -> Result<bool, String> {
    let text = line.text.trim();
    let Some((key, value)) = pair(text) else {
        // What sysctl and grep say on their standard error.
        let complaint = ["sysctl:", "grep:", "cat:", "error:"].iter().any(|head| text.starts_with(head));
        let ours = ["conntrack_", "ipv4.vs.", "ipv4/vs/", "tcp_keepalive_"].iter().any(|name| text.contains(name));
        return if ours && !complaint { Err("a name without a value: it seems to be cut off".to_owned()) } else { Ok(false) };
    };
    let name = modern(key);
    if machine(reader, &name, value) {
        return Ok(true);
    }
    if let Some(own) = name.strip_prefix("net.netfilter.nf_conntrack_") {
        if OTHER_PROTOCOLS.iter().any(|other| own.starts_with(other)) || CONNTRACK_OTHER.contains(&own) {
            return Ok(false);
        }
        if !CONNTRACK.contains(&own) {
            return Err(unknown(key, own, &CONNTRACK));
        }
    } else if let Some(own) = name.strip_prefix(IPVS_TREE) {
        if own.starts_with("tcp_timeout_") || own.starts_with("udp_timeout") || own.starts_with("icmp_timeout") {
            if !std::mem::replace(&mut said.howto, true) {
                reader.note(
                    line,
                    format!(
                        "{} is a name of the LVS HOWTO that no mainline kernel has: where it exists, the kernel is patched and the value may \
                         be in milliseconds; it is left out, as are others like it",
                        short(&name)
                    ),
                );
            }
            return Ok(false);
        }
        if IPVS_24.contains(&own) {
            if !std::mem::replace(&mut said.two_four, true) {
                let told = "is a sysctl of 2.4 kernels alone, and there it changes the timeouts of connections that begin under secure_tcp, \
                            not the usual ones";
                reader.note(line, format!("{} {told}", short(&name)));
            }
        } else if !IPVS.contains(&own) {
            let known: Vec<&str> = IPVS.iter().chain(&IPVS_24).copied().collect();
            return Err(unknown(key, own, &known));
        }
    } else if let Some(own) = name.strip_prefix(KEEPALIVE).filter(|_| !ENDPOINT.contains(&name.as_ref())) {
        return Err(unknown(key, own, &["time", "intvl", "probes"]));
    } else if !ENDPOINT.contains(&name.as_ref()) && !FLOWTABLE.contains(&name.as_ref()) && !FORWARDING.contains(&name.as_ref()) {
        let torn = name.contains("nf_conntrack_") || name.contains("ip_conntrack_");
        let meant = torn.then(|| name.rsplit('.').next().unwrap_or_default());
        return match meant {
            Some(rest) => Err(format!("the kernel has no sysctl '{}'; did you mean 'net.netfilter.{}'?", short(key), short(rest))),
            None => Ok(false),
        };
    }
    if !is_value(&name, value) {
        return Err(format!("'{}' is no value of {}, which takes whole numbers", short(value), short(&name)));
    }
    reader.open_end(line);
    let at = reader.at(line);
    reader.into.sysctls.push(Sysctl { name: name.into_owned(), written: key.to_owned(), value: value.to_owned(), at });
    Ok(true)
}

/// What sysctls say of the machine itself; a collector's own word goes before.
fn machine(reader: &mut Reader<'_>, name: &str, value: &str) -> bool {
    let machine = &mut reader.into.machine;
    let slot = match name {
        "kernel.osrelease" => &mut machine.release,
        "kernel.hostname" => &mut machine.hostname,
        _ => return false,
    };
    if slot.is_none() && !value.is_empty() && value != "(none)" {
        *slot = Some(value.to_owned());
    }
    true
}

/// Whether a value is of the form that the kernel prints.
fn is_value(name: &str, value: &str) -> bool {
    if name.ends_with("est_cpulist") {
        return true;
    }
    let pair = name.ends_with("ip_local_port_range") || name.ends_with("sync_threshold");
    let count = value.split_ascii_whitespace().count();
    let whole = |word: &str| word.strip_prefix('-').unwrap_or(word).parse::<u64>().is_ok() && !word.contains('+');
    count == if pair { 2 } else { 1 } && value.split_ascii_whitespace().all(whole)
}

fn unknown(key: &str, own: &str, known: &[&str]) -> String {
    let tree = key.strip_suffix(own).unwrap_or_default();
    match nearest(own, known.iter().copied()) {
        Some(meant) => format!("the kernel has no sysctl '{}'; did you mean '{tree}{meant}'?", short(key)),
        None => format!("a sysctl '{}' is not known here", short(key)),
    }
}
