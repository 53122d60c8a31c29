//! The settings of an IPVS director, under the names of ipvsadm and of its sysctls.
//!
//! Nothing here knows what the settings do, which dialects exist, or what their defaults are.

use super::keys::{Key, SettingError, Settings, key};
use super::value::{AT_LEAST_ONE, COUNT, MODE, NAME, SECONDS, SWITCH, words};
use crate::time::Duration;
use std::borrow::Cow;

words! {
    /// How packets reach the real server. Only with NAT do the replies pass the director.
    pub enum Method {
        /// Addresses are translated both ways.
        Nat = "nat" | "masq" | "masquerading",
        /// Only the hardware address changes; replies go around the director.
        Dr = "dr" | "route" | "gate" | "gatewaying" | "direct",
        /// Packets are wrapped; replies go around the director.
        Tun = "tun" | "tunnel" | "ipip",
    }
}

words! {
    /// How a real server is chosen. It is recorded for reports; the capture shows what was chosen.
    pub enum Scheduler {
        /// Round robin.
        Rr = "rr",
        /// Weighted round robin.
        Wrr = "wrr",
        /// Least connections.
        Lc = "lc",
        /// Weighted least connections, ipvsadm's default.
        Wlc = "wlc",
        /// Source hashing.
        Sh = "sh",
        /// Maglev hashing.
        Mh = "mh",
    }
}

/// The twelve `timeout_*` sysctls of a 2.4 director. They edit the table that new entries get while `secure_tcp` is on, never the normal one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DosTimeouts {
    /// `timeout_established`.
    pub established: Option<Duration>,
    /// `timeout_synsent`.
    pub synsent: Option<Duration>,
    /// `timeout_synrecv`.
    pub synrecv: Option<Duration>,
    /// `timeout_finwait`.
    pub finwait: Option<Duration>,
    /// `timeout_timewait`.
    pub timewait: Option<Duration>,
    /// `timeout_close`.
    pub close: Option<Duration>,
    /// `timeout_closewait`.
    pub closewait: Option<Duration>,
    /// `timeout_lastack`.
    pub lastack: Option<Duration>,
    /// `timeout_listen`.
    pub listen: Option<Duration>,
    /// `timeout_synack`.
    pub synack: Option<Duration>,
    /// `timeout_udp`.
    pub udp: Option<Duration>,
    /// `timeout_icmp`.
    pub icmp: Option<Duration>,
}

/// An IPVS director. `None` leaves a setting to the default of the dialect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IpvsPolicy {
    /// The preset that this came from.
    pub preset: Option<String>,
    /// The kernel whose behaviour applies, as `linux-6.12`; the newest where it is not given.
    pub dialect: Option<String>,
    /// How packets reach the real server.
    pub method: Method,
    /// The first value of `ipvsadm --set`: ESTABLISHED. Zero keeps the default.
    pub timeout_tcp: Option<Duration>,
    /// The second value of `ipvsadm --set`: `FIN_WAIT`. Zero keeps the default.
    pub timeout_tcpfin: Option<Duration>,
    /// The third value of `ipvsadm --set`: UDP. Zero keeps the default.
    pub timeout_udp: Option<Duration>,
    /// `secure_tcp`, also known as `tcp_defense`.
    pub secure_tcp: Option<u8>,
    /// `drop_entry`.
    pub drop_entry: Option<u8>,
    /// `drop_packet`.
    pub drop_packet: Option<u8>,
    /// `am_droprate`.
    pub am_droprate: Option<u32>,
    /// `amemthresh`, in pages.
    pub amemthresh: Option<u32>,
    /// `sloppy_tcp`.
    pub sloppy_tcp: Option<bool>,
    /// `conn_reuse_mode`.
    pub conn_reuse_mode: Option<u8>,
    /// `expire_nodest_conn`.
    pub expire_nodest_conn: Option<bool>,
    /// `expire_quiescent_template`.
    pub expire_quiescent_template: Option<bool>,
    /// `conntrack`: whether IPVS keeps conntrack entries for its connections.
    pub conntrack: Option<bool>,
    /// `nat_icmp_send`.
    pub nat_icmp_send: Option<bool>,
    /// The persistence timeout of the service (`ipvsadm -p`); none where clients are not bound to a server.
    pub persistence: Option<Duration>,
    /// How a real server is chosen.
    pub scheduler: Option<Scheduler>,
    /// How many real servers there are; one where it is not given.
    pub real_servers: Option<u32>,
    /// Whether the virtual address is the director's own, so that stray packets reach its TCP; true where it is not given.
    pub vip_local: Option<bool>,
    /// The table for new entries under `secure_tcp`, in 2.4.
    pub dos: DosTimeouts,
}

impl Default for IpvsPolicy {
    fn default() -> IpvsPolicy {
        IpvsPolicy {
            preset: None,
            dialect: None,
            method: Method::Nat,
            timeout_tcp: None,
            timeout_tcpfin: None,
            timeout_udp: None,
            secure_tcp: None,
            drop_entry: None,
            drop_packet: None,
            am_droprate: None,
            amemthresh: None,
            sloppy_tcp: None,
            conn_reuse_mode: None,
            expire_nodest_conn: None,
            expire_quiescent_template: None,
            conntrack: None,
            nat_icmp_send: None,
            persistence: None,
            scheduler: None,
            real_servers: None,
            vip_local: None,
            dos: DosTimeouts::default(),
        }
    }
}

impl IpvsPolicy {
    /// Checks the dialect against the names that the models know.
    ///
    /// # Errors
    /// That it is none of them, with the nearest one.
    pub fn check_dialect(&self, known: &[&str]) -> Result<(), SettingError> {
        super::keys::check_dialect(Self::KIND, self.dialect.as_deref(), known)
    }

    /// How many real servers there are.
    pub fn real_servers(&self) -> u32 {
        self.real_servers.unwrap_or(1)
    }

    /// Whether stray packets reach the director's own TCP.
    pub fn vip_local(&self) -> bool {
        self.vip_local.unwrap_or(true)
    }
}

const KEYS: &[Key<IpvsPolicy>] = &[
    key!(word plain "method" ["forward", "lvs_method"], method, Method::FORM),
    key!(optional "dialect" ["kernel"], dialect, NAME),
    key!(optional "tcp" ["timeout_tcp"], timeout_tcp, SECONDS),
    key!(optional "tcpfin" ["timeout_tcpfin"], timeout_tcpfin, SECONDS),
    key!(optional "udp" ["timeout_udp"], timeout_udp, SECONDS),
    key!(optional "secure_tcp" ["tcp_defense", "tcp_defence"], secure_tcp, MODE),
    key!(optional "drop_entry" [], drop_entry, MODE),
    key!(optional "drop_packet" [], drop_packet, MODE),
    key!(optional "am_droprate" [], am_droprate, COUNT),
    key!(optional "amemthresh" [], amemthresh, COUNT),
    key!(optional "sloppy_tcp" ["sloppy"], sloppy_tcp, SWITCH),
    key!(optional "conn_reuse_mode" [], conn_reuse_mode, MODE),
    key!(optional "expire_nodest_conn" ["expire_nodest"], expire_nodest_conn, SWITCH),
    key!(optional "expire_quiescent_template" [], expire_quiescent_template, SWITCH),
    key!(optional "conntrack" [], conntrack, SWITCH),
    key!(optional "nat_icmp_send" [], nat_icmp_send, SWITCH),
    key!(optional "persist" ["persistence", "persistent", "persistence_timeout"], persistence, SECONDS),
    key!(word optional "scheduler" ["sched", "lvs_sched"], scheduler, Scheduler::FORM),
    key!(optional "real_servers" ["servers", "reals"], real_servers, AT_LEAST_ONE),
    key!(optional "vip_local" [], vip_local, SWITCH),
    key!(optional "dos_established" ["timeout_established"], dos.established, SECONDS),
    key!(optional "dos_synsent" ["timeout_synsent"], dos.synsent, SECONDS),
    key!(optional "dos_synrecv" ["timeout_synrecv"], dos.synrecv, SECONDS),
    key!(optional "dos_finwait" ["timeout_finwait"], dos.finwait, SECONDS),
    key!(optional "dos_timewait" ["timeout_timewait"], dos.timewait, SECONDS),
    key!(optional "dos_close" ["timeout_close"], dos.close, SECONDS),
    key!(optional "dos_closewait" ["timeout_closewait"], dos.closewait, SECONDS),
    key!(optional "dos_lastack" ["timeout_lastack"], dos.lastack, SECONDS),
    key!(optional "dos_listen" ["timeout_listen"], dos.listen, SECONDS),
    key!(optional "dos_synack" ["timeout_synack"], dos.synack, SECONDS),
    key!(optional "dos_udp" [], dos.udp, SECONDS),
    key!(optional "dos_icmp" ["timeout_icmp"], dos.icmp, SECONDS),
];

impl Settings for IpvsPolicy {
    const KIND: &'static str = "ipvs";

    fn keys() -> &'static [Key<Self>] {
        KEYS
    }

    /// `net.ipv4.vs.timeout_udp` is the sysctl of 2.4 and names the other table; a bare `timeout_udp` is ipvsadm's third value.
    fn plain_name(key: &str) -> Cow<'_, str> {
        let dotted = key.trim_start_matches('/').replace('/', ".");
        let name = dotted.strip_prefix("proc.sys.").unwrap_or(&dotted);
        match name.strip_prefix("net.ipv4.vs.") {
            Some(sysctl) => Cow::Owned(sysctl.strip_prefix("timeout_").map_or_else(|| sysctl.to_owned(), |slot| format!("dos_{slot}"))),
            None => Cow::Borrowed(key),
        }
    }

    fn habits() -> &'static [(&'static str, &'static str)] {
        &[("established", "tcp"), ("fin_wait", "tcpfin"), ("finwait", "tcpfin"), ("timeout", "tcp"), ("udp_stream", "udp")]
    }

    fn not_modelled() -> &'static [&'static str] {
        &[
            "backup_only",
            "cache_bypass",
            "debug_level",
            "est_cpulist",
            "est_nice",
            "ignore_tunneled",
            "pmtu_disc",
            "run_estimation",
            "schedule_icmp",
            "sloppy_sctp",
            "snat_reroute",
            "sync_persist_mode",
            "sync_ports",
            "sync_qlen_max",
            "sync_refresh_period",
            "sync_retries",
            "sync_sock_size",
            "sync_threshold",
            "sync_version",
            "conn_lfactor",
            "svc_lfactor",
            "conn_max",
        ]
    }
}
