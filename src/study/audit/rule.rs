//! What an audit looks for: the rules by name, why each matters, and who says so.
//!
//! Sources are named with each rule; sections are those of the RFCs and functions those of the kernel. Nothing here looks at a setting.

use super::setup::Origin;
use crate::finding::advice::Where;
use crate::time::Duration;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// It fails under circumstances that are to be expected.
    Warning,
    /// It cannot work.
    Error,
}

impl Severity {
    /// Every severity, worst first.
    pub const ALL: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Info];

    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }

    /// The severity of a name.
    pub fn from_name(name: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.name() == name)
    }
}

/// Defines the rules: the name in every output, why it matters, and where it is written.
macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $id:literal, $why:literal, $reference:literal;)+) => {
        /// A rule. The set is closed; docs/audit.md explains each.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule { $($(#[$doc])* $rule,)+ }

        impl Rule {
            /// Every rule, in the order of the documentation.
            pub const ALL: &'static [Rule] = &[$(Rule::$rule,)+];

            /// The name in every output.
            pub const fn id(self) -> &'static str {
                match self { $(Rule::$rule => $id,)+ }
            }

            /// Why it matters.
            pub const fn why(self) -> &'static str {
                match self { $(Rule::$rule => $why,)+ }
            }

            /// Where it is written.
            pub const fn reference(self) -> &'static str {
                match self { $(Rule::$rule => $reference,)+ }
            }
        }
    };
}

rules! {
    /// No end's keepalive comes before the box forgets.
    KeepaliveTooLate = "keepalive-too-late",
        "the first probe of a quiet connection finds the entry gone, so keepalive keeps nothing",
        "tcp_keepalive_timer(); RFC 1122 4.2.3.6 (2 h at the least) against the box's own timer";
    /// It comes before, but for the lateness of timers and the path.
    KeepaliveMarginal = "keepalive-marginal",
        "timers in the kernel's wheel are never early and late by up to an eighth, and a probe needs its way",
        "calc_index() in kernel/time/timer.c, since 4.8";
    /// One lost probe, and the entry ends.
    KeepaliveNoRoom = "keepalive-no-room",
        "the second probe comes a whole interval after the first, and then the entry is gone",
        "tcp_keepalive_timer(): the next probe after tcp_keepalive_intvl";
    /// A proxy on the path hands no keepalive on and counts none.
    KeepaliveStopsAtProxy = "keepalive-stops-at-proxy",
        "a proxy answers keepalive itself, hands none on, and counts payload only: the program has to speak",
        "the preset's documentation; RFC 1122 4.2.3.6 (a probe has no data)";
    /// Established sockets that never probe.
    SocketsWithoutKeepalive = "sockets-without-keepalive",
        "keepalive is off unless a program sets SO_KEEPALIVE; the sysctls are its times, not its switch",
        "RFC 1122 4.2.3.6 (MUST default to off); socket(7), tcp(7)";
    /// A host's keepalive does not hold in its containers.
    ContainerKeepalive = "container-keepalive",
        "tcp_keepalive_* belong to a network namespace, and a new one begins with 7200/75/9, not with the host's values",
        "tcp_sk_init(); ip-sysctl.rst";
    /// An end that notices a dead peer itself is asked to do so too late.
    SshAliveTooLate = "ssh-alive-too-late",
        "the request through the encrypted channel comes when the entry is gone, and hangs",
        "ssh_config(5) ServerAliveInterval, sshd_config(5) ClientAliveInterval";
    /// SSH asks nobody, and TCP asks too late.
    SshAliveOff = "ssh-alive-off",
        "SSH sends nothing while nobody types unless it is told to; TCPKeepAlive only turns on the kernel's keepalive",
        "ssh_config(5), sshd_config(5): both intervals are 0 by default";
    /// Conntrack's established timer is not what runs.
    ConntrackCaps = "conntrack-caps",
        "after four packets alike, an unacknowledged end, a zero window or a pick-up conntrack runs a shorter timer than ESTABLISHED's",
        "nf_conntrack_tcp_packet(): timeouts[TCP_CONNTRACK_RETRANS], timeouts[TCP_CONNTRACK_UNACK]";
    /// The timer is shorter than the longest pause between two retransmissions.
    RetransmissionGap = "retransmission-gap",
        "retransmissions are up to 120 s apart, so the entry can end while the sender is still trying",
        "TCP_RTO_MAX; RFC 6298 (2.5)";
    /// Who writes into the gap hangs for as long as retransmission goes on.
    HangLength = "hang-length",
        "keepalive is silent while data is unacknowledged, and tcp_retries2 decides when the sender learns of it",
        "tcp_write_timeout(), retransmits_timed_out(); RFC 1122 4.2.3.5";
    /// A timer that was raised for nothing, since another one is shorter.
    ShorterElsewhere = "shorter-elsewhere",
        "the shortest timer on the path decides; a longer one at another box changes nothing",
        "each box has its own clock";
    /// `ipvsadm --set` was used, and `CLOSE_WAIT` stays at 60 s.
    SetMissesCloseWait = "set-misses-close-wait",
        "--set reaches ESTABLISHED, FIN_WAIT and UDP; a flow whose client closed its half first runs CLOSE_WAIT, which nothing sets",
        "ip_vs_set_timeout(); tcp_timeouts[] in ip_vs_proto_tcp.c";
    /// Half-closed connections that outlive their entries.
    HalfClosed = "half-closed",
        "a connection closed in one direction is legitimate for hours; boxes give it a minute or two",
        "RFC 9293 3.6; RFC 5382 REQ-5 (4 min); tcp_timeouts[]";
    /// `secure_tcp` (once `tcp_defense`) does not do what is expected.
    SecureTcp = "secure-tcp",
        "only Linux 2.4 has other timeouts under secure_tcp, for entries that are born under it; later kernels change transitions alone",
        "ip_vs_timeout_attach() in 2.4; ip_vs_secure_tcp_set()";
    /// A sysctl that this kernel has not, or that sets another table.
    NoSuchSetting = "no-such-setting",
        "the name is in old texts; this kernel has no such file, or it edits the table for entries born under defence",
        "ip_vs_ctl.c; LVS-HOWTO";
    /// Conntrack beside IPVS forgets first.
    ConntrackBesideIpvs = "conntrack-beside-ipvs",
        "with net.ipv4.vs.conntrack=1 both clocks run, and conntrack's ends first",
        "ip_vs_update_conntrack(), ip_vs_conn_drop_conntrack()";
    /// Masquerading of what IPVS hides from conntrack.
    MasqueradeWithoutConntrack = "masquerade-without-conntrack",
        "with net.ipv4.vs.conntrack=0 IPVS takes its packets from conntrack, so no NAT rule of the packet filter sees them",
        "ip_vs_notrack(); ipvs-sysctl.rst: conntrack";
    /// `sloppy_tcp` picks flows up, at whichever server the scheduler chooses.
    SloppyTcp = "sloppy-tcp",
        "a packet without entry is scheduled like a new connection, and another real server than before answers with a reset",
        "tcp_conn_schedule(); ip_vs_schedule()";
    /// A quiet hang when a real server is taken out.
    ExpireNodest = "expire-nodest",
        "packets for a server that was removed are dropped without a word until the entry ends",
        "ip_vs_in(): IP_VS_CONN_F_* and expire_nodest_conn; ipvs-sysctl.rst";
    /// `conn_reuse_mode` costs a second, or keeps dead servers in use.
    ConnReuse = "conn-reuse",
        "up to 5.8 a reused port costs a retransmitted SYN where conntrack is on, and conn_reuse_mode=0 keeps new connections on a server of weight 0",
        "is_new_conn_expected(), ip_vs_in(), 4.2 to 5.8";
    /// Persistence that is shorter than the connections it is for.
    PersistenceShort = "persistence-short",
        "a template that ran out while connections live goes on in steps of 60 s, and a new connection then extends it by 60 s only",
        "ip_vs_conn_expire(), ip_vs_sched_persist()";
    /// The table is nearly full.
    TableFull = "table-full",
        "a full table drops the packets of new flows, after evicting flows that are not ASSURED",
        "__nf_conntrack_alloc(), early_drop()";
    /// Far more entries than buckets.
    BucketsFew = "buckets-few",
        "look-ups walk chains: beyond eight entries a bucket they dominate, and new kernels limit a chain",
        "nf_conntrack_init_start(); __nf_conntrack_confirm()";
    /// INVALID packets leave with the inner address.
    InvalidUntranslated = "invalid-untranslated",
        "NAT leaves INVALID packets alone, so one outside the window leaves with its inner address, and the reset that it draws ends the connection",
        "nf_nat_inet_fn(); conntrack marks, rules drop";
    /// Dropping INVALID hits old retransmissions.
    DropInvalidOldKernel = "drop-invalid-old-kernel",
        "before 6.1 a segment below the window is INVALID, also a mere retransmission: dropped, the sender never learns that it arrived",
        "tcp_in_window() before 6.1; nf_conntrack_tcp_be_liberal";
    /// No pick-up where a table can be lost.
    NoPickup = "no-pickup",
        "with nf_conntrack_tcp_loose=0 no flow survives a lost entry, a reboot or a fail-over of the box",
        "nf_conntrack_tcp_new_packet(): tcp_loose";
    /// Timers that a packet filter attaches to some flows only.
    TimeoutPolicyPartial = "timeout-policy-partial",
        "a timeout policy counts for the flows that a rule gives it, at their first packet; all others keep the sysctls' timers",
        "nft(8) ct timeout; nf_ct_timeout_ext_add()";
    /// A timeout policy that no rule hands out.
    TimeoutPolicyUnused = "timeout-policy-unused",
        "a timeout policy does nothing until a rule hands it out",
        "nft(8) ct timeout set; xt_CT --timeout";
    /// Flow tables shorten timers.
    FlowOffload = "flow-offload",
        "from 4.20 to 5.14 a flow that leaves the flow table has 120 s left, whatever its timers",
        "flow_offload_fixup_ct_timeout()";
    /// kube-proxy's zeros leave the kernel's values.
    KubeProxyZero = "kube-proxy-zero",
        "0 leaves the node's value, it does not turn a timer off",
        "KubeProxyConntrackConfiguration, KubeProxyIPVSConfiguration";
    /// Two texts disagree.
    Contradiction = "contradiction",
        "what is written down is not what runs: it was not loaded, or something changed it afterwards",
        "the kernel's own answer counts, then the text that was read last";
    /// RFC 5382: established connections.
    Rfc5382Established = "rfc5382-established",
        "a NAT must keep an idle established connection for 2 h 4 min, so that a keepalive of two hours can renew it",
        "RFC 5382 REQ-5";
    /// RFC 5382: opening and closing connections.
    Rfc5382Transitory = "rfc5382-transitory",
        "a NAT must keep connections that are being opened or closed for 4 min",
        "RFC 5382 REQ-5";
    /// RFC 4787: UDP.
    Rfc4787Udp = "rfc4787-udp",
        "a UDP mapping must live for 2 min without traffic; 5 min are recommended",
        "RFC 4787 REQ-5";
    /// RFC 1122: how long to retransmit.
    Rfc1122Retries = "rfc1122-retries",
        "a connection must not be given up before data was repeated for 100 s",
        "RFC 1122 4.2.3.5 (R2); tcp_model_timeout()";
    /// Live connections that will be forgotten before their ends notice.
    FlowsAtRisk = "flows-at-risk",
        "their timers end before either end says anything",
        "the dumps themselves";
    /// Connections that were forgotten already.
    FlowsForgotten = "flows-forgotten",
        "the sockets are established and the box has no entry for them: the next packet is a stray",
        "the dumps themselves";
    /// Established entries on a shorter timer than ESTABLISHED's.
    EntriesCapped = "entries-capped",
        "they were under a cap when they were last renewed, or are close to the end of their idle time",
        "nf_conntrack_tcp_packet(); see conntrack-caps";
}

impl Rule {
    /// The rule of a name.
    pub fn from_id(id: &str) -> Option<Rule> {
        Rule::ALL.iter().copied().find(|rule| rule.id() == id)
    }
}

/// Two spans that stand in the wrong order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inequality {
    /// What has to be shorter.
    pub left: Duration,
    /// What it has to be shorter than.
    pub right: Duration,
    /// Both in words: `7200 + 873.813 (timer wheel) + 0.2 (round trip) = 8074.013 ≥ 900`.
    pub text: String,
}

/// What would repair it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    /// Where.
    pub at: Where,
    /// Lines to paste.
    pub lines: Vec<String>,
    /// What to know about them.
    pub note: String,
}

/// Something that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// By which rule.
    pub rule: Rule,
    /// How bad it is here.
    pub severity: Severity,
    /// What is the matter, in a sentence.
    pub what: String,
    /// The numbers.
    pub sum: Option<Inequality>,
    /// At which box, by its place in the setup.
    pub stand: Option<usize>,
    /// Where the values stand.
    pub places: Vec<Origin>,
    /// What would repair it.
    pub fixes: Vec<Fix>,
}

impl Found {
    /// Something without numbers, places and remedies.
    pub fn new(rule: Rule, severity: Severity, what: impl Into<String>) -> Found {
        Found { rule, severity, what: what.into(), sum: None, stand: None, places: Vec::new(), fixes: Vec::new() }
    }

    /// At a box.
    #[must_use]
    pub fn at(mut self, stand: usize) -> Found {
        self.stand = Some(stand);
        self
    }

    /// With the places where its values stand; a place is named once.
    #[must_use]
    pub fn places(mut self, places: impl IntoIterator<Item = Origin>) -> Found {
        for place in places {
            if !self.places.contains(&place) {
                self.places.push(place);
            }
        }
        self
    }

    /// With two spans in the wrong order.
    #[must_use]
    pub fn sum(mut self, left: Duration, right: Duration, text: impl Into<String>) -> Found {
        self.sum = Some(Inequality { left, right, text: text.into() });
        self
    }

    /// With something to do about it.
    #[must_use]
    pub fn fix(mut self, at: Where, lines: impl IntoIterator<Item = impl Into<String>>, note: impl Into<String>) -> Found {
        let lines: Vec<String> = lines.into_iter().map(Into::into).collect();
        if !lines.is_empty() {
            self.fixes.push(Fix { at, lines, note: note.into() });
        }
        self
    }
}
