//! The settings of a box that is described by its timers alone: cloud load balancers, firewalls, home routers, proxies.
//!
//! Nothing here knows packets; what the words do is written in the idle model.

use super::keys::{Key, Settings, key};
use super::presets::{self, Preset};
use super::value::{SPAN, words};
use crate::time::Duration;

words! {
    /// What kind of box it is.
    pub enum Kind {
        /// Connection tracking without address translation.
        Conntrack = "conntrack",
        /// A load balancer at layer 4: packets pass, keepalives too.
        Lb = "lb",
        /// Address translation.
        Nat = "nat",
        /// A proxy: it ends the connection and opens another one; keepalives do not cross it.
        Proxy = "proxy",
        /// A stateful packet filter.
        Firewall = "firewall",
    }
}

words! {
    /// What the box sends at the moment when an entry expires.
    pub enum OnExpiry {
        /// The entry is removed and nothing is sent.
        Silent = "silent",
        /// A reset to both ends.
        RstBoth = "rst_both",
        /// A FIN to both ends.
        FinBoth = "fin_both",
        /// A proxy closes both of its connections.
        CloseBoth = "close_both",
        /// The connection is closed in a way that is not documented.
        Close = "close",
        /// A FIN or a reset to both ends.
        FinOrRstBoth = "fin_or_rst_both",
        /// There is no timer; entries go when the table is full.
        LruEviction = "lru_eviction",
        /// There is no entry that could expire.
        NotApplicable = "not_applicable" | "n/a",
    }
}

words! {
    /// What becomes of the next packet of a flow whose entry is gone, unless it is a SYN.
    pub enum OnStray {
        /// It is dropped.
        Drop = "drop",
        /// It is dropped, and so are all others until a new SYN.
        DropUntilSyn = "drop_until_syn",
        /// From inside it makes a new entry; from outside it is dropped.
        DropOutsideRepickupInside = "drop_outside_repickup_inside",
        /// Rules without state judge it; otherwise it is dropped.
        DropIfNotAllowedByRules = "drop_if_not_allowed_by_rules",
        /// The rules judge it like the first packet of a new flow.
        ReevaluateRules = "reevaluate_rules",
        /// Its sender gets a reset.
        RstSender = "rst_sender",
        /// Its sender gets a reset if it is inside; from outside the packet is dropped.
        RstInsideOnly = "rst_inside_only",
        /// The TCP of the node that does the balancing answers with a reset.
        RstFromNode = "rst_from_node",
        /// A reset where the address is the box's own; otherwise the packet is lost.
        RstOrDropByLocalStack = "rst_or_drop_by_local_stack",
        /// A reset where the server is on the same host; otherwise silence.
        RstIfBackendLocalElseHang = "rst_if_backend_local_else_hang",
        /// It makes a new entry and passes.
        Repickup = "repickup",
        /// It makes a new entry if it goes outwards; inwards it is dropped.
        RepickupOnOutbound = "repickup_on_outbound",
        /// The balancing decision is made anew; with unchanged servers it comes out the same.
        Rehash = "rehash",
        /// It depends on the rules that were configured.
        ByRuleset = "by_ruleset",
        /// It depends on the `OpenFlow` tables (`+trk+inv` or `+new`).
        ByFlowTable = "by_flow_table" | "by_flow_table (ct_state +trk+inv/+new)",
        /// The policy is asked, then there is a new entry.
        PolicyThenNewEntry = "policy_then_new_entry",
        /// The standard does not say.
        Unspecified = "unspecified",
        /// The box ends the connection itself; its TCP answers a segment that it does not know with a reset.
        TerminatesTcp = "terminates_tcp" | "n/a (terminates TCP)",
        /// The box has no entries to miss; its TCP answers.
        NotApplicable = "not_applicable" | "n/a",
        /// Nobody knows.
        Unknown = "unknown" | "UNVERIFIED",
    }
}

words! {
    /// Which direction's packets restart the timer.
    pub enum Refresh {
        /// Both.
        Both = "both",
        /// Outwards is promised, inwards is not (RFC 4787 REQ-6); judged by the promise.
        OutboundRequired = "outbound_required" | "outbound required (RFC 4787 REQ-6)",
        /// Only outwards.
        Outbound = "outbound",
        /// Both for TCP, only outwards for UDP.
        OutboundUdp = "outbound_udp" | "outbound only for UDP (UdpInboundRefresh False)",
    }
}

words! {
    /// What counts as activity.
    pub enum Activity {
        /// Every packet, keepalives included.
        Packets = "packets",
        /// New payload only, as behind a proxy.
        Data = "data",
    }
}

words! {
    /// When the box itself asks the ends whether they are still there. An answer restarts its timer.
    pub enum Probing {
        /// Never.
        Never = "no" | "none",
        /// Before it lets an entry expire, so that a flow with two live ends does not expire.
        BeforeExpiry = "before_expiry",
        /// When one of the ends sends a keepalive; the box then sends keepalives both ways.
        OnKeepalive = "on_keepalive",
    }
}

/// A box with idle timers. A timeout of [`Duration::MAX`] never fires; `None` says that the state is not documented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdlePolicy {
    /// The preset that this came from.
    pub preset: Option<String>,
    /// What kind of box it is.
    pub kind: Kind,
    /// The client's SYN was seen.
    pub syn_sent: Option<Duration>,
    /// The server's SYN/ACK was seen.
    pub syn_recv: Option<Duration>,
    /// The handshake is complete.
    pub established: Duration,
    /// One end has sent a FIN.
    pub fin_wait: Option<Duration>,
    /// That FIN was acknowledged.
    pub close_wait: Option<Duration>,
    /// Both ends have sent a FIN.
    pub last_ack: Option<Duration>,
    /// Both FINs were acknowledged.
    pub time_wait: Option<Duration>,
    /// A reset was seen.
    pub close: Option<Duration>,
    /// UDP: one datagram was seen.
    pub udp_first: Option<Duration>,
    /// UDP: several datagrams were seen, all in one direction.
    pub udp_unreplied: Option<Duration>,
    /// UDP: datagrams were seen in both directions; the only UDP timeout of most boxes.
    pub udp_stream: Option<Duration>,
    /// What is sent at expiry.
    pub on_expiry: OnExpiry,
    /// What becomes of a packet without an entry.
    pub on_stray: OnStray,
    /// Which direction restarts the timer.
    pub refresh: Refresh,
    /// What counts as activity; by the kind of box where it is not given.
    pub activity: Option<Activity>,
    /// Whether the box itself probes the ends.
    pub probes: Probing,
}

impl IdlePolicy {
    /// A packet filter with one timer that says nothing when it fires and drops what comes later.
    pub fn new(established: Duration) -> IdlePolicy {
        IdlePolicy {
            preset: None,
            kind: Kind::Firewall,
            syn_sent: None,
            syn_recv: None,
            established,
            fin_wait: None,
            close_wait: None,
            last_ack: None,
            time_wait: None,
            close: None,
            udp_first: None,
            udp_unreplied: None,
            udp_stream: None,
            on_expiry: OnExpiry::Silent,
            on_stray: OnStray::Drop,
            refresh: Refresh::Both,
            activity: None,
            probes: Probing::Never,
        }
    }

    /// What counts as activity: a proxy sees data only, every other box sees packets.
    pub fn activity(&self) -> Activity {
        self.activity.unwrap_or(if self.kind == Kind::Proxy { Activity::Data } else { Activity::Packets })
    }

    /// The preset that this came from, with its sources.
    pub fn provenance(&self) -> Option<&'static Preset> {
        self.preset.as_deref().and_then(presets::find)
    }

    /// Whether a setting is a preset's value for which the preset has no source. A value that the user chose is not.
    pub fn is_unverified(&self, setting: &str) -> bool {
        self.provenance().is_some_and(|preset| {
            preset.is_unverified(setting)
                && matches!(preset.resolve(), super::BoxPolicy::Idle(original) if original.value(setting) == self.value(setting))
        })
    }
}

const KEYS: &[Key<IdlePolicy>] = &[
    key!(word plain "kind" [], kind, Kind::FORM),
    key!(optional "syn_sent" ["tcp_timeout_syn_sent"], syn_sent, SPAN),
    key!(optional "syn_recv" ["tcp_timeout_syn_recv"], syn_recv, SPAN),
    key!(plain "established" ["tcp", "idle", "timeout", "tcp_timeout_established"], established, SPAN),
    key!(optional "fin_wait" ["tcpfin", "tcp_timeout_fin_wait"], fin_wait, SPAN),
    key!(optional "close_wait" ["tcp_timeout_close_wait"], close_wait, SPAN),
    key!(optional "last_ack" ["tcp_timeout_last_ack"], last_ack, SPAN),
    key!(optional "time_wait" ["tcp_timeout_time_wait"], time_wait, SPAN),
    key!(optional "close" ["tcp_timeout_close"], close, SPAN),
    key!(optional "udp_first" [], udp_first, SPAN),
    key!(optional "udp_unreplied" ["udp_single"], udp_unreplied, SPAN),
    key!(optional "udp_stream" ["udp", "udp_multiple", "udp_timeout", "udp_timeout_stream"], udp_stream, SPAN),
    key!(plain "on_expiry" [], on_expiry, OnExpiry::FORM),
    key!(plain "on_stray" [], on_stray, OnStray::FORM),
    key!(plain "refresh" [], refresh, Refresh::FORM),
    key!(optional "activity" [], activity, Activity::FORM),
    key!(plain "probes" ["probing"], probes, Probing::FORM),
];

impl Settings for IdlePolicy {
    const KIND: &'static str = "idle";

    fn keys() -> &'static [Key<Self>] {
        KEYS
    }
}
