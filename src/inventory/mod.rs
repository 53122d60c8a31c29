//! What a machine shows of itself: sysctls, timeouts, rule sets, services, tables of connections, sockets; each fact with the
//! place where it stands. Nothing here opens a file, judges a setting, or fills in what was not shown.
//!
//! Sources of the formats: the spec's conntrack.md section 8, ipvs.md section 11; ss(8), sshd_config(5), ssh_config(5),
//! nft(8), iptables-save(8), keepalived.conf(5), kube-proxy's configuration.

pub mod read;

pub use crate::policy::At;
pub use read::{COLLECTOR, read, read_as, read_until};

use crate::net::{Addr, Proto, Sock};
use crate::policy::ipvs::{Method, Scheduler};
use crate::time::{Duration, Instant};

/// Everything that the texts of one machine say.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Inventory {
    /// Who it is and when it was asked.
    pub machine: Machine,
    /// Sysctls about TCP, connection tracking and IPVS, in the order of the texts; a later one changes an earlier one.
    pub sysctls: Vec<Sysctl>,
    /// IPVS's three timeouts, each time that they were shown or set.
    pub ipvs_timeouts: Vec<IpvsTimeouts>,
    /// Virtual services.
    pub services: Vec<Service>,
    /// IPVS's table of connections.
    pub ipvs_conns: Vec<IpvsConn>,
    /// Connection tracking's table.
    pub conntrack: Vec<ConntrackEntry>,
    /// Connection tracking's events, in their order.
    pub events: Vec<ConntrackEvent>,
    /// TCP sockets.
    pub sockets: Vec<Socket>,
    /// What SSH does to notice dead peers.
    pub ssh: Vec<SshKeepalive>,
    /// What packet filters do that matters to flows.
    pub rules: Vec<Rule>,
    /// Timers that packet filters attach to flows.
    pub timeout_policies: Vec<TimeoutPolicy>,
    /// kube-proxy's mode and timeouts, as they were written.
    pub kube_proxy: Vec<KubeProxy>,
    /// Which kinds of texts were found, so that "no connections" can be told from "not shown".
    pub shown: Vec<Shown>,
    /// Lines that look like something that belongs here and cannot be read.
    pub unread: Vec<Unread>,
    /// Names that are understood and that the kernel does not have as they are written, and whatever else should be known about
    /// how the texts were taken.
    pub notes: Vec<Note>,
    /// Lines that are about nothing here, comments and empty lines apart.
    pub ignored: u64,
    /// Whether somebody stopped the reading of a text before its end.
    pub interrupted: bool,
}

/// Who was asked, and when.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Machine {
    /// Its name.
    pub hostname: Option<String>,
    /// What `uname -r` printed.
    pub release: Option<String>,
    /// When the tables were read.
    pub taken: Option<Instant>,
    /// `CONFIG_HZ`.
    pub hz: Option<u32>,
    /// Whether it is a container, or another network namespace than the host's.
    pub container: Option<bool>,
}

/// One kind of text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// `sysctl -a`, files of sysctl.d, and listings of /proc/sys.
    Sysctls,
    /// `ipvsadm -l --timeout`.
    IpvsTimeouts,
    /// `ipvsadm -Sn`, `ipvsadm -Ln` and /proc/net/ip_vs.
    IpvsServices,
    /// `ipvsadm -Lnc`, /proc/net/ip_vs_conn and /proc/net/ip_vs_conn_sync.
    IpvsConns,
    /// `conntrack -L`, /proc/net/nf_conntrack and /proc/net/ip_conntrack.
    Conntrack,
    /// `conntrack -E`.
    ConntrackEvents,
    /// `ss -tno` and `netstat -tno`.
    Sockets,
    /// sshd_config and `sshd -T`.
    Sshd,
    /// ssh_config and `ssh -G`.
    Ssh,
    /// `nft list ruleset`.
    Nft,
    /// `iptables-save` and `iptables -S`; also `nfct list timeout`, whose policies their rules name.
    Iptables,
    /// kube-proxy's configuration or flags.
    KubeProxy,
    /// keepalived.conf.
    Keepalived,
}

/// A text that was found, and where it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// What it is.
    pub kind: Kind,
    /// Its first line.
    pub at: At,
}

/// A sysctl.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sysctl {
    /// Its name with dots, in the tree that kernels have today: `net.netfilter.nf_conntrack_tcp_timeout_established`.
    pub name: String,
    /// Its name as it was written.
    pub written: String,
    /// Its value as it was written, without blanks around it.
    pub value: String,
    /// Where it stands.
    pub at: At,
}

/// How IPVS's timeouts came to be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutSource {
    /// The kernel's own answer: `ipvsadm -l --timeout`.
    Shown,
    /// `ipvsadm --set`.
    Set,
    /// keepalived's `lvs_timeouts`.
    Keepalived,
    /// kube-proxy's `ipvs` section or flags.
    KubeProxy,
}

/// IPVS's three timeouts. One that is not set, or is set to 0, stays as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IpvsTimeouts {
    /// Established TCP.
    pub tcp: Option<Duration>,
    /// `FIN_WAIT`, of TCP.
    pub tcpfin: Option<Duration>,
    /// UDP.
    pub udp: Option<Duration>,
    /// Who says so.
    pub source: TimeoutSource,
    /// Where.
    pub at: At,
}

/// What a virtual service is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ServiceKey {
    /// An address and a port; port 0 for all of them.
    Sock(Sock),
    /// A firewall mark.
    Fwmark(u32),
}

/// A virtual service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its protocol; none for a firewall mark.
    pub proto: Option<Proto>,
    /// What it is known by.
    pub key: ServiceKey,
    /// How real servers are chosen, where the name is one of those that policies know.
    pub scheduler: Option<Scheduler>,
    /// Persistence timeout, where the service is persistent.
    pub persistence: Option<Duration>,
    /// One-packet scheduling.
    pub one_packet: bool,
    /// The real servers.
    pub reals: Vec<RealServer>,
    /// Where it stands.
    pub at: At,
}

/// A real server of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RealServer {
    /// Its address and port.
    pub sock: Sock,
    /// How packets reach it. None for the director itself, which is printed as `Local`.
    pub method: Option<Method>,
    /// Its weight.
    pub weight: Option<u32>,
    /// Where it stands.
    pub at: At,
}

/// An entry of IPVS's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IpvsConn {
    /// TCP or UDP; none for a template of a firewall mark.
    pub proto: Option<Proto>,
    /// The client. Port 0 in a template.
    pub client: Sock,
    /// The virtual service's address; a firewall mark's template has the mark here, as an IPv4 address.
    pub vip: Sock,
    /// The real server; its family may be another one.
    pub real: Sock,
    /// The state's name, as printed.
    pub state: String,
    /// How long until it ends, in whole seconds.
    pub left: Duration,
    /// Whether it is a persistence template.
    pub template: bool,
    /// Whether it came by synchronisation.
    pub synced: bool,
    /// Where it stands.
    pub at: At,
}

/// An address pair with ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuple {
    /// The sender.
    pub src: Sock,
    /// The receiver.
    pub dst: Sock,
}

/// An entry of connection tracking's table, of TCP or UDP. Others are counted as ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConntrackEntry {
    /// TCP or UDP.
    pub proto: Proto,
    /// How long until it ends, in whole seconds. None for an offloaded entry, which is not timed, and in some events.
    pub left: Option<Duration>,
    /// The TCP state's name, as printed; some events have none.
    pub state: Option<String>,
    /// The original direction.
    pub original: Tuple,
    /// The reply direction: differs from the original turned round where addresses are translated. All tools print it.
    pub reply: Option<Tuple>,
    /// Traffic in both directions was seen and the kernel will not drop it early.
    pub assured: bool,
    /// Nothing came back yet.
    pub unreplied: bool,
    /// It is in a flow table, of software or hardware.
    pub offloaded: bool,
    /// Its zone, 0 where none is printed.
    pub zone: u16,
    /// Packets from the original and the reply direction, with nf_conntrack_acct.
    pub packets: Option<[u64; 2]>,
    /// Where it stands.
    pub at: At,
}

/// What happened to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// `[NEW]`.
    New,
    /// `[UPDATE]`.
    Update,
    /// `[DESTROY]`.
    Destroy,
}

/// A line of `conntrack -E`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConntrackEvent {
    /// When, with `-o timestamp`.
    pub time: Option<Instant>,
    /// What.
    pub happened: Happened,
    /// To which entry.
    pub entry: ConntrackEntry,
}

/// Which timer of a socket runs, as ss names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketTimer {
    /// `on`: retransmission, or an early one of it.
    Retransmission,
    /// `keepalive`: SO_KEEPALIVE is on, or a handshake is watched.
    Keepalive,
    /// `timewait`.
    TimeWait,
    /// `persist`: the window is zero.
    Persist,
}

/// A TCP socket. One without a timer has SO_KEEPALIVE off, or data under way was acknowledged and keepalive is off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Socket {
    /// The state's name, as ss prints it: `ESTAB`, `CLOSE-WAIT`.
    pub state: String,
    /// This machine's end.
    pub local: Sock,
    /// The other end.
    pub peer: Sock,
    /// Bytes that the program has not read, and bytes that the peer has not acknowledged.
    pub queues: [u64; 2],
    /// The timer, how long until it fires, and how often it has fired in vain. ss shows whole minutes from ten minutes on.
    pub timer: Option<(SocketTimer, Duration, u32)>,
    /// The program's name, with `-p`.
    pub program: Option<String>,
    /// Where it stands.
    pub at: At,
}

/// Which end of SSH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SshSide {
    /// sshd.
    Server,
    /// ssh.
    Client,
}

/// What one part of an SSH configuration does to notice dead peers. The first value of a keyword counts, as in SSH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SshKeepalive {
    /// Which end.
    pub side: SshSide,
    /// The pattern of the `Host` or `Match` that it stands under; none where it is for everybody.
    pub scope: Option<String>,
    /// ServerAliveInterval or ClientAliveInterval, with its place.
    pub interval: Option<(Duration, At)>,
    /// ServerAliveCountMax or ClientAliveCountMax.
    pub count_max: Option<(u32, At)>,
    /// TCPKeepAlive (once KeepAlive).
    pub tcp_keepalive: Option<(bool, At)>,
    /// Where the part begins.
    pub at: At,
}

/// What a rule of a packet filter does to flows, as far as it matters to one whose entry has gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleDoes {
    /// Keeps what conntrack calls INVALID.
    DropsInvalid,
    /// Lets pass what belongs to a known flow.
    AcceptsEstablished,
    /// Lets new TCP flows pass only with a SYN.
    AcceptsNewWithSyn,
    /// Lets new flows pass, whatever they begin with; also a rule that accepts without asking for a state.
    AcceptsNew,
    /// Keeps new TCP flows that begin without a SYN.
    DropsNewWithoutSyn,
    /// Answers with a TCP reset.
    RejectsWithReset,
    /// Answers with an ICMP error, of the name that is written; iptables' and nft's default where none is. Where a rule that rejects asks for
    /// states, they stand in what it is limited to.
    RejectsWithIcmp(String),
    /// The chain keeps what no rule has taken.
    PolicyDrop,
    /// Translates the source to the address of the way out.
    Masquerades,
    /// Translates the source.
    SourceNat,
    /// Translates the destination.
    DestinationNat,
    /// Exempts packets from connection tracking.
    NoTrack,
    /// Gives flows a timeout policy.
    SetsTimeout(String),
    /// Puts flows into a flow table, where their timers no longer count.
    Offloads,
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Table and chain, as in `filter FORWARD`, `ip6 filter FORWARD` or `inet filter forward`; a chain alone where `iptables -S` names no
    /// table.
    pub chain: String,
    /// The hook that the chain belongs to: `forward`, `input`; none where it is only called by others and nothing says by whom.
    pub hook: Option<String>,
    /// What it does.
    pub does: RuleDoes,
    /// What it is limited to besides connection states and SYN: `tcp`, `tcp dport 22`, `iifname eth0 tcp dport { 22, 80 }`, iptables'
    /// protocol and ports in the same way and then its other conditions, `tcp dport 22 -i eth0`; empty for everything.
    pub limited_to: String,
    /// Where it stands.
    pub at: At,
}

/// A named set of timers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeoutPolicy {
    /// Its name.
    pub name: String,
    /// TCP or UDP.
    pub proto: Proto,
    /// Settings as `policy` names them (`established`, `close_wait`, `udp_stream`), and their values. nft shows those that were named, and the
    /// others have the kernel's defaults; nfct shows all.
    pub timers: Vec<(&'static str, Duration)>,
    /// Where it begins.
    pub at: At,
}

/// What kube-proxy is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KubeProxySetting {
    /// `mode`: `iptables`, `ipvs`, `nftables`.
    Mode(String),
    /// A conntrack setting as `policy` names it; kube-proxy writes it into the host's sysctls. Zero leaves it alone.
    Conntrack(&'static str, String),
}

/// What kube-proxy is told, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KubeProxy {
    /// What.
    pub setting: KubeProxySetting,
    /// Where.
    pub at: At,
}

/// A line that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// Where it stands.
    pub at: At,
    /// What it looks like.
    pub kind: Kind,
    /// Its beginning, with what is not printable replaced.
    pub text: String,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

/// Something to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Where.
    pub at: At,
    /// What.
    pub text: String,
}

impl Inventory {
    /// Whether a text of that kind was among those that were read.
    pub fn has(&self, kind: Kind) -> bool {
        self.shown.iter().any(|shown| shown.kind == kind)
    }

    /// The value of a sysctl, by its name of today: the last one counts.
    pub fn sysctl(&self, name: &str) -> Option<&Sysctl> {
        self.sysctls.iter().rev().find(|sysctl| sysctl.name == name)
    }
}

impl ConntrackEntry {
    /// Whether the source is translated.
    pub fn source_nat(&self) -> bool {
        self.reply.is_some_and(|reply| reply.dst != self.original.src)
    }

    /// Whether the destination is translated.
    pub fn destination_nat(&self) -> bool {
        self.reply.is_some_and(|reply| reply.src != self.original.dst)
    }
}

impl ServiceKey {
    /// The address of the service, where it has one.
    pub fn addr(&self) -> Option<Addr> {
        match self {
            ServiceKey::Sock(sock) => Some(sock.addr),
            ServiceKey::Fwmark(_) => None,
        }
    }
}
