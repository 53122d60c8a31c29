//! The settings of a box that runs Linux connection tracking, under the kernel's own names.
//!
//! Nothing here knows what the settings do, which dialects exist, or what their defaults are.

use super::keys::{Key, SettingError, Settings, key};
use super::value::{BYTE, ENTRIES, LOOSE, NAME, SECONDS, SWITCH, words};
use crate::time::Duration;
use std::borrow::Cow;

words! {
    /// Which addresses the box translates. It decides what becomes of a packet whose entry is gone.
    pub enum Nat {
        /// None: packets keep their addresses.
        None = "no-nat" | "none",
        /// The client's address becomes the box's own.
        Masquerade = "masquerade" | "masq",
        /// The client's address becomes a fixed one.
        Snat = "snat",
        /// The server's address is translated, as for a published port.
        Dnat = "dnat",
    }
}

words! {
    /// The packet filter behind connection tracking.
    pub enum Rules {
        /// Every packet passes, INVALID ones too.
        AcceptAll = "accept-all" | "accept",
        /// INVALID packets are dropped; everything else passes.
        DropInvalid = "drop-invalid",
        /// INVALID packets are dropped, and only a SYN may be NEW.
        Strict = "strict",
    }
}

words! {
    /// Whether the box's own TCP may answer a packet that ends up addressed to the box itself.
    pub enum Input {
        /// It answers, with a reset where no socket matches.
        Accept = "accept",
        /// The packet filter drops it in silence.
        Drop = "drop",
    }
}

/// A conntrack box. `None` leaves a setting to the default of the dialect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConntrackPolicy {
    /// The preset that this came from.
    pub preset: Option<String>,
    /// The kernel whose behaviour applies, as `linux-6.12`; the newest where it is not given.
    pub dialect: Option<String>,
    /// `nf_conntrack_tcp_timeout_syn_sent`.
    pub tcp_timeout_syn_sent: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_syn_recv`.
    pub tcp_timeout_syn_recv: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_established`.
    pub tcp_timeout_established: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_fin_wait`.
    pub tcp_timeout_fin_wait: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_close_wait`.
    pub tcp_timeout_close_wait: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_last_ack`.
    pub tcp_timeout_last_ack: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_time_wait`.
    pub tcp_timeout_time_wait: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_close`.
    pub tcp_timeout_close: Option<Duration>,
    /// `ip_conntrack_tcp_timeout_syn_sent2`, a sysctl of 2.6.31 to 4.8 only; the state exists in every later kernel.
    pub tcp_timeout_syn_sent2: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_max_retrans`.
    pub tcp_timeout_max_retrans: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_unacknowledged`.
    pub tcp_timeout_unacknowledged: Option<Duration>,
    /// `nf_conntrack_tcp_loose`: a switch from 2.6.21, a number of packets before.
    pub tcp_loose: Option<u8>,
    /// `nf_conntrack_tcp_be_liberal`.
    pub tcp_be_liberal: Option<bool>,
    /// `nf_conntrack_tcp_max_retrans`.
    pub tcp_max_retrans: Option<u8>,
    /// `nf_conntrack_tcp_ignore_invalid_rst`.
    pub tcp_ignore_invalid_rst: Option<bool>,
    /// `nf_conntrack_udp_timeout`.
    pub udp_timeout: Option<Duration>,
    /// `nf_conntrack_udp_timeout_stream`.
    pub udp_timeout_stream: Option<Duration>,
    /// `nf_conntrack_max`; no limit where it is not given, since the kernel's default depends on the memory.
    pub nf_conntrack_max: Option<u64>,
    /// `nf_conntrack_buckets`.
    pub buckets: Option<u64>,
    /// Which addresses are translated.
    pub nat: Nat,
    /// What the packet filter lets pass.
    pub rules: Rules,
    /// Whether the box's own TCP may answer.
    pub input: Input,
}

impl Default for ConntrackPolicy {
    fn default() -> ConntrackPolicy {
        ConntrackPolicy {
            preset: None,
            dialect: None,
            tcp_timeout_syn_sent: None,
            tcp_timeout_syn_recv: None,
            tcp_timeout_established: None,
            tcp_timeout_fin_wait: None,
            tcp_timeout_close_wait: None,
            tcp_timeout_last_ack: None,
            tcp_timeout_time_wait: None,
            tcp_timeout_close: None,
            tcp_timeout_syn_sent2: None,
            tcp_timeout_max_retrans: None,
            tcp_timeout_unacknowledged: None,
            tcp_loose: None,
            tcp_be_liberal: None,
            tcp_max_retrans: None,
            tcp_ignore_invalid_rst: None,
            udp_timeout: None,
            udp_timeout_stream: None,
            nf_conntrack_max: None,
            buckets: None,
            nat: Nat::None,
            rules: Rules::AcceptAll,
            input: Input::Accept,
        }
    }
}

impl ConntrackPolicy {
    /// Checks the dialect against the names that the models know.
    ///
    /// # Errors
    /// That it is none of them, with the nearest one.
    pub fn check_dialect(&self, known: &[&str]) -> Result<(), SettingError> {
        super::keys::check_dialect(Self::KIND, self.dialect.as_deref(), known)
    }
}

const KEYS: &[Key<ConntrackPolicy>] = &[
    key!(word plain "nat" [], nat, Nat::FORM),
    key!(word plain "rules" ["ruleset", "filter"], rules, Rules::FORM),
    key!(plain "input" [], input, Input::FORM),
    key!(optional "dialect" ["kernel"], dialect, NAME),
    key!(optional "syn_sent" ["tcp_timeout_syn_sent"], tcp_timeout_syn_sent, SECONDS),
    key!(optional "syn_recv" ["tcp_timeout_syn_recv"], tcp_timeout_syn_recv, SECONDS),
    key!(optional "established" ["tcp_timeout_established"], tcp_timeout_established, SECONDS),
    key!(optional "fin_wait" ["tcp_timeout_fin_wait"], tcp_timeout_fin_wait, SECONDS),
    key!(optional "close_wait" ["tcp_timeout_close_wait"], tcp_timeout_close_wait, SECONDS),
    key!(optional "last_ack" ["tcp_timeout_last_ack"], tcp_timeout_last_ack, SECONDS),
    key!(optional "time_wait" ["tcp_timeout_time_wait"], tcp_timeout_time_wait, SECONDS),
    key!(optional "close" ["tcp_timeout_close"], tcp_timeout_close, SECONDS),
    key!(optional "syn_sent2" ["tcp_timeout_syn_sent2"], tcp_timeout_syn_sent2, SECONDS),
    key!(optional "timeout_max_retrans" ["tcp_timeout_max_retrans", "retrans"], tcp_timeout_max_retrans, SECONDS),
    key!(optional "unacknowledged" ["tcp_timeout_unacknowledged", "unack"], tcp_timeout_unacknowledged, SECONDS),
    key!(optional "loose" ["tcp_loose"], tcp_loose, LOOSE),
    key!(optional "be_liberal" ["tcp_be_liberal", "liberal"], tcp_be_liberal, SWITCH),
    key!(optional "max_retrans" ["tcp_max_retrans"], tcp_max_retrans, BYTE),
    key!(optional "ignore_invalid_rst" ["tcp_ignore_invalid_rst"], tcp_ignore_invalid_rst, SWITCH),
    key!(optional "udp" ["udp_timeout", "udp_unreplied"], udp_timeout, SECONDS),
    key!(optional "udp_stream" ["udp_timeout_stream"], udp_timeout_stream, SECONDS),
    key!(optional "max" ["nf_conntrack_max"], nf_conntrack_max, ENTRIES),
    key!(optional "buckets" [], buckets, ENTRIES),
];

/// What stands in front of the names in `sysctl -a`, outermost first. Both trees edit the same variables.
const PREFIXES: [&str; 7] = ["proc.sys.", "net.", "netfilter.", "ipv4.", "netfilter.", "nf_conntrack_", "ip_conntrack_"];

impl Settings for ConntrackPolicy {
    const KIND: &'static str = "conntrack";

    fn keys() -> &'static [Key<Self>] {
        KEYS
    }

    fn plain_name(key: &str) -> Cow<'_, str> {
        let mut name = Cow::Borrowed(key);
        if key.contains('/') {
            name = Cow::Owned(key.trim_start_matches('/').replace('/', "."));
        }
        for prefix in PREFIXES {
            if let Some(rest) = name.strip_prefix(prefix) {
                name = Cow::Owned(rest.to_owned());
            }
        }
        name
    }

    fn habits() -> &'static [(&'static str, &'static str)] {
        &[("tcp", "established"), ("tcpfin", "fin_wait"), ("timeout", "established"), ("retransmissions", "max_retrans")]
    }

    fn not_modelled() -> &'static [&'static str] {
        &[
            "acct",
            "checksum",
            "count",
            "events",
            "expect_max",
            "frag6_high_thresh",
            "frag6_low_thresh",
            "frag6_timeout",
            "generic_timeout",
            "gre_timeout",
            "gre_timeout_stream",
            "helper",
            "icmp_timeout",
            "icmpv6_timeout",
            "log_invalid",
            "timestamp",
        ]
    }
}
