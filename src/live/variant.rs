//! Which boxes are tried, and with which settings: the variants of the published recordings, and mixtures of them.
//!
//! A variant is the `box` and the `options` of a recording's header, nothing more; the seed decides which ones come.

use crate::rng::Rng;
use std::collections::BTreeMap;

/// A box and what is set on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variant {
    /// Its name, such as `ct-masquerade-strict`.
    pub name: String,
    /// `conntrack`, `ipvs-nat` or `ipvs-dr`.
    pub kind: &'static str,
    /// What is set, in the words of a recording's header.
    pub options: BTreeMap<String, String>,
}

impl Variant {
    /// An option, or nothing.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Whether its packets come with pauses in which timers end.
    pub fn is_timed(&self) -> bool {
        self.options.contains_key("timed")
    }

    /// Whether it is IPVS.
    pub fn is_ipvs(&self) -> bool {
        self.kind != "conntrack"
    }
}

const LOOSE: &str = "net.netfilter.nf_conntrack_tcp_loose";
const LIBERAL: &str = "net.netfilter.nf_conntrack_tcp_be_liberal";
const RETRANS: &str = "net.netfilter.nf_conntrack_tcp_max_retrans";
const IGNORE_RST: &str = "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst";
const SECURE: &str = "net.ipv4.vs.secure_tcp";
const SLOPPY: &str = "net.ipv4.vs.sloppy_tcp";
const REUSE: &str = "net.ipv4.vs.conn_reuse_mode";
const VS_CONNTRACK: &str = "net.ipv4.vs.conntrack";
const NODEST: &str = "net.ipv4.vs.expire_nodest_conn";
const ICMP: &str = "net.ipv4.vs.nat_icmp_send";
/// The longest pause of timed variants, in seconds.
const TIMED: (&str, &str) = ("timed", "6");

/// Name, box, and options.
type Base = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The variants that the published recordings have, by name.
const BASE: &[Base] = &[
    ("ct-default", "conntrack", &[]),
    ("ct-strict", "conntrack", &[(LOOSE, "0")]),
    ("ct-liberal", "conntrack", &[(LIBERAL, "1")]),
    ("ct-max-retrans-1", "conntrack", &[(RETRANS, "1")]),
    ("ct-ignore-invalid-rst", "conntrack", &[(IGNORE_RST, "1")]),
    ("ct-drop-invalid", "conntrack", &[("rules", "drop-invalid")]),
    ("ct-firewall-strict", "conntrack", &[("rules", "strict")]),
    ("ct-masquerade", "conntrack", &[("nat", "masquerade")]),
    ("ct-masquerade-strict", "conntrack", &[("nat", "masquerade"), (LOOSE, "0")]),
    ("ct-dnat", "conntrack", &[("nat", "dnat")]),
    ("ct-orderly", "conntrack", &[("mutate", "0")]),
    ("ct-v6-default", "conntrack", &[("family", "6")]),
    ("ct-v6-masquerade", "conntrack", &[("family", "6"), ("nat", "masquerade")]),
    ("ct-udp", "conntrack", &[("proto", "udp")]),
    ("ct-timed", "conntrack", &[TIMED]),
    ("ct-timed-masquerade", "conntrack", &[TIMED, ("nat", "masquerade")]),
    ("ct-firewall-strict-timed", "conntrack", &[TIMED, ("rules", "strict")]),
    ("ct-udp-timed", "conntrack", &[TIMED, ("proto", "udp")]),
    ("ct-udp-masquerade-timed", "conntrack", &[TIMED, ("proto", "udp"), ("nat", "masquerade")]),
    ("ipvs-nat-default", "ipvs-nat", &[]),
    ("ipvs-nat-secure3", "ipvs-nat", &[(SECURE, "3")]),
    ("ipvs-nat-sloppy", "ipvs-nat", &[(SLOPPY, "1")]),
    ("ipvs-nat-reuse0", "ipvs-nat", &[(REUSE, "0")]),
    ("ipvs-nat-conntrack", "ipvs-nat", &[("conntrack", "1"), (VS_CONNTRACK, "1")]),
    ("ipvs-nat-persist", "ipvs-nat", &[("persist", "360")]),
    ("ipvs-nat-set", "ipvs-nat", &[("set", "3600,120,300")]),
    ("ipvs-nat-set-short", "ipvs-nat", &[("set", "30,7,10")]),
    ("ipvs-nat-orderly", "ipvs-nat", &[("mutate", "0")]),
    ("ipvs-nat-v6", "ipvs-nat", &[("family", "6")]),
    ("ipvs-nat-udp", "ipvs-nat", &[("proto", "udp")]),
    ("ipvs-dr-default", "ipvs-dr", &[]),
    ("ipvs-dr-secure3", "ipvs-dr", &[(SECURE, "3")]),
    ("ipvs-dr-sloppy", "ipvs-dr", &[(SLOPPY, "1")]),
    ("ipvs-dr-v6", "ipvs-dr", &[("family", "6")]),
    ("ipvs-nat-timed", "ipvs-nat", &[TIMED, ("set", "4,3,300")]),
    ("ipvs-nat-udp-timed", "ipvs-nat", &[TIMED, ("set", "900,120,3"), ("proto", "udp")]),
    ("ipvs-dr-timed", "ipvs-dr", &[TIMED, ("set", "4,3,300")]),
];

/// The short timers of timed conntrack variants, in seconds.
const SHORT: [(&str, u64); 10] = [
    ("tcp_timeout_syn_sent", 3),
    ("tcp_timeout_syn_recv", 2),
    ("tcp_timeout_established", 4),
    ("tcp_timeout_fin_wait", 3),
    ("tcp_timeout_close_wait", 3),
    ("tcp_timeout_last_ack", 2),
    ("tcp_timeout_time_wait", 3),
    ("tcp_timeout_close", 2),
    ("tcp_timeout_max_retrans", 3),
    ("tcp_timeout_unacknowledged", 3),
];

/// The names of all variants that are not mixtures.
pub fn names() -> impl Iterator<Item = &'static str> {
    BASE.iter().map(|(name, _, _)| *name)
}

/// A variant of the published recordings.
pub fn named(name: &str) -> Option<Variant> {
    let (name, kind, options) = BASE.iter().find(|(own, _, _)| *own == name)?;
    let mut options: BTreeMap<String, String> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    if *kind == "conntrack" && options.contains_key("timed") {
        if options.get("proto").is_some_and(|proto| proto == "udp") {
            set(&mut options, "net.netfilter.nf_conntrack_udp_timeout", "2");
            set(&mut options, "net.netfilter.nf_conntrack_udp_timeout_stream", "4");
        } else {
            for (timer, seconds) in SHORT {
                set(&mut options, &format!("net.netfilter.nf_conntrack_{timer}"), &seconds.to_string());
            }
        }
    }
    Some(Variant { name: (*name).to_owned(), kind, options })
}

fn set(options: &mut BTreeMap<String, String>, name: &str, value: &str) {
    options.insert(name.to_owned(), value.to_owned());
}

/// The variant of a turn: every published one comes in turn, in an order that the seed decides, each second one with
/// settings of others mixed in. `wanted` says which can be had.
pub fn of_turn(seed: u64, turn: u64, wanted: impl Fn(&Variant) -> bool) -> Option<Variant> {
    let mut all: Vec<Variant> = names().filter_map(named).filter(wanted).collect();
    if all.is_empty() {
        return None;
    }
    let count = all.len() as u64;
    let mut order = Rng::keyed(seed, turn / count);
    for last in (1..all.len()).rev() {
        all.swap(last, order.below(last as u64 + 1) as usize);
    }
    let mut variant = all.swap_remove((turn % count) as usize);
    let mut rng = Rng::keyed(seed ^ 0x6d69_7865_6400_0000, turn);
    if rng.chance(50) {
        mix(&mut variant, &mut rng);
    }
    Some(variant)
}

/// Adds settings that a variant does not have.
fn mix(variant: &mut Variant, rng: &mut Rng) {
    let mut added = false;
    let tracked = variant.kind == "conntrack" || variant.options.contains_key("conntrack");
    let mut offers: Vec<(&str, &[&str])> = Vec::new();
    if tracked {
        offers.extend_from_slice(&[(LOOSE, &["0"]), (LIBERAL, &["1"]), (RETRANS, &["0", "1", "2", "5"]), (IGNORE_RST, &["1"])]);
    }
    if variant.kind == "conntrack" {
        offers.extend_from_slice(&[("nat", &["masquerade", "dnat"]), ("rules", &["drop-invalid", "strict"]), ("family", &["6"])]);
    } else {
        offers.extend_from_slice(&[
            (SECURE, &["2", "3"]),
            (SLOPPY, &["1"]),
            (REUSE, &["0", "1", "3"]),
            (NODEST, &["1"]),
            ("family", &["6"]),
        ]);
        offers.extend_from_slice(&[("persist", &["360"])]);
        if variant.kind == "ipvs-nat" {
            offers.push((ICMP, &["1"]));
        }
    }
    for (name, values) in offers {
        let value = *rng.pick(values);
        if rng.chance(25) && !variant.options.contains_key(name) {
            set(&mut variant.options, name, value);
            added = true;
        }
    }
    if variant.is_timed() && variant.kind == "conntrack" {
        for value in variant.options.iter_mut().filter(|(name, _)| name.contains("_timeout")).map(|(_, value)| value) {
            *value = (1 + rng.below(5)).to_string();
        }
        added = true;
    }
    if added {
        variant.name.push_str("-mixed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_comes_once_before_any_comes_again() {
        let count = names().count() as u64;
        let mut seen: Vec<String> =
            (0..count).map(|turn| of_turn(5, turn, |_| true).expect("one").name.trim_end_matches("-mixed").to_owned()).collect();
        seen.sort();
        let mut all: Vec<String> = names().map(str::to_owned).collect();
        all.sort();
        assert_eq!(seen, all);
    }

    #[test]
    fn the_seed_decides() {
        let of = |seed| (0..50).map(|turn| of_turn(seed, turn, |_| true)).collect::<Vec<_>>();
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        assert!(of(3).iter().flatten().any(|v| v.name.ends_with("-mixed")));
        assert_eq!(of_turn(1, 0, |v| v.kind == "none"), None);
    }
}
