//! A box that is described by its timers alone: a cloud load balancer, a firewall, a home router, a proxy.
//!
//! It imitates what the documentation of such boxes says and nothing more: one state per flow, one timeout per state, and
//! a rule for the packet that comes too late. It leaves out sequence checks, address translation, full tables, the purge
//! interval of boxes that collect expired entries late, and every probe that the box sends itself. The caller tests
//! whether an entry has expired before it calls [`IdleBox::step`]; nothing here knows captures or the clock.
//!
//! A cloud load balancer that forgets after 350 s and resets whoever speaks then:
//!
//! ```
//! use flowlapse::model::idle::{Action, IdleBox};
//! use flowlapse::net::{Direction, Proto, Segment, TcpFlags};
//! use flowlapse::policy::BoxPolicy;
//! use flowlapse::time::Instant;
//!
//! let BoxPolicy::Idle(policy) = flowlapse::policy::parse_short("aws-nlb")?.policy else { panic!("known by its timers alone") };
//! let balancer = IdleBox::new(&policy);
//! let seg = |flags| Segment { flags: TcpFlags(flags), ..Segment::EMPTY };
//! let (client, server) = (Direction::Original, Direction::Reply);
//!
//! let opened = balancer.open(Proto::Tcp, &seg(TcpFlags::SYN), client, Instant::from_secs(0));
//! let mut entry = opened.entry.expect("a SYN makes an entry");
//! balancer.step(&mut entry, Proto::Tcp, &seg(TcpFlags::SYN | TcpFlags::ACK), server, Instant::from_secs(0));
//! balancer.step(&mut entry, Proto::Tcp, &seg(TcpFlags::ACK), client, Instant::from_secs(0));
//! let (end, _) = balancer.deadline(&entry);
//! assert_eq!(end, Instant::from_secs(350));
//!
//! // After that it does not know the flow.
//! let late = balancer.open(Proto::Tcp, &seg(TcpFlags::ACK), client, Instant::from_secs(351));
//! assert_eq!(late.action, Action::ResetSender);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod state;

pub use state::{Clause, IdleEntry};

use crate::net::{Direction, Proto, Segment, TcpFlags};
use crate::policy::IdlePolicy;
use crate::policy::idle::{Activity, OnExpiry, OnStray, Probing, Refresh};
use crate::time::{Duration, Instant};
use state::{HEARD, follow_tcp, follow_udp, opening_syn};

/// How far a timeout can be relied on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// The documentation or the user says so.
    Stated,
    /// A preset says so without a source.
    Unverified,
    /// Nothing is known about this state; the established timeout stands in for it.
    Assumed,
}

/// A timer with its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// The state that set it.
    pub clause: Clause,
    /// How long it runs; [`Duration::MAX`] never fires.
    pub timeout: Duration,
    /// How far that can be relied on.
    pub basis: Basis,
}

/// What happens to the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It passes.
    Forward,
    /// It disappears.
    Drop,
    /// It disappears, and its sender gets a reset.
    ResetSender,
}

/// What happens to the entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// There was none and there is none.
    Absent,
    /// It stays, perhaps in another state.
    Kept,
    /// It is made in the regular way, or adopted at the beginning of a capture.
    Created,
    /// It is made by a packet in the middle of a connection.
    Repicked,
    /// It is made by a new balancing decision; with unchanged servers the same one is chosen.
    Rehashed,
}

/// What the box does with one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdleStep {
    /// What happens to the packet.
    pub action: Action,
    /// What happens to the entry.
    pub change: Change,
    /// The new entry, where one was made.
    pub entry: Option<IdleEntry>,
    /// The timer that runs now, where there is an entry.
    pub timer: Option<Timer>,
    /// Whether the documentation settles the outcome. Where it does not, `action` is only the likeliest reading of it.
    pub certain: bool,
}

/// What both ends get to see at the moment of expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Farewell {
    /// Nothing.
    Nothing,
    /// A reset each.
    ResetBoth,
    /// A FIN each.
    FinBoth,
    /// The end of the connection, by FIN or by reset.
    CloseBoth,
}

/// What becomes of a packet without an entry.
#[derive(Clone, Copy)]
enum Fate {
    Lost,
    Reset,
    Repick,
    Rehash,
}

/// The fate of a stray packet from inside, of one from outside, and whether the documentation settles it.
const fn fates(word: OnStray) -> ([Fate; 2], bool) {
    use Fate::{Lost, Rehash, Repick, Reset};
    match word {
        OnStray::Drop | OnStray::DropUntilSyn => ([Lost, Lost], true),
        OnStray::DropOutsideRepickupInside | OnStray::RepickupOnOutbound => ([Repick, Lost], true),
        OnStray::RstSender | OnStray::RstFromNode | OnStray::TerminatesTcp => ([Reset, Reset], true),
        OnStray::RstInsideOnly => ([Reset, Lost], true),
        OnStray::Repickup => ([Repick, Repick], true),
        OnStray::Rehash => ([Rehash, Rehash], true),
        OnStray::RstOrDropByLocalStack | OnStray::NotApplicable => ([Reset, Reset], false),
        // Rules that let the connection be opened probably let its packets pass.
        OnStray::ReevaluateRules | OnStray::PolicyThenNewEntry => ([Repick, Repick], false),
        // Rules that keep state for a SYN alone have nothing for a packet in mid-stream, and silence is the usual answer.
        OnStray::ByRuleset
        | OnStray::ByFlowTable
        | OnStray::DropIfNotAllowedByRules
        | OnStray::RstIfBackendLocalElseHang
        | OnStray::Unspecified
        | OnStray::Unknown => ([Lost, Lost], false),
    }
}

/// The model of one box.
#[derive(Clone, Debug)]
pub struct IdleBox {
    timers: [Timer; Clause::ALL.len()],
    on_expiry: OnExpiry,
    on_stray: OnStray,
    stray_verified: bool,
    refresh: Refresh,
    activity: Activity,
    probes: Probing,
}

impl IdleBox {
    /// The box that a policy describes.
    pub fn new(policy: &IdlePolicy) -> IdleBox {
        IdleBox {
            timers: Clause::ALL.map(|clause| timer(policy, clause)),
            on_expiry: policy.on_expiry,
            on_stray: policy.on_stray,
            stray_verified: !policy.is_unverified("on_stray"),
            refresh: policy.refresh,
            activity: policy.activity(),
            probes: policy.probes,
        }
    }

    /// Whether it matters to the box how far each side's data has come.
    pub(crate) fn reads_data(&self) -> bool {
        self.activity != Activity::Packets
    }

    /// Whether every packet restarts a timer.
    pub(crate) fn counts_all(&self) -> bool {
        self.refresh == Refresh::Both && self.activity == Activity::Packets
    }

    /// The timer that a state sets.
    pub const fn timer(&self, clause: Clause) -> Timer {
        self.timers[clause as usize]
    }

    /// When the entry expires, and by which clause.
    pub fn deadline(&self, entry: &IdleEntry) -> (Instant, Clause) {
        (entry.set_at + self.timer(entry.timer).timeout, entry.timer)
    }

    /// As [`IdleBox::deadline`], where both ends are alive and answer the probes that the box sends before it lets an established
    /// connection expire.
    pub fn deadline_if_answered(&self, entry: &IdleEntry) -> (Instant, Clause) {
        let (at, clause) = self.deadline(entry);
        (if self.asks_first(entry) { Instant::MAX } else { at }, clause)
    }

    /// Whether the box asks both ends before it lets this entry end: one that is answered never does.
    pub fn asks_first(&self, entry: &IdleEntry) -> bool {
        self.probes == Probing::BeforeExpiry && entry.timer == Clause::Established
    }

    /// What the box sends when the entry expires. Resets are sent for an established connection only, as Azure documents
    /// it; nothing is ever sent for UDP.
    pub fn farewell(&self, entry: &IdleEntry) -> Farewell {
        match self.on_expiry {
            _ if entry.state as u8 >= Clause::UdpFirst as u8 => Farewell::Nothing,
            OnExpiry::RstBoth if entry.state == Clause::Established => Farewell::ResetBoth,
            OnExpiry::FinBoth => Farewell::FinBoth,
            OnExpiry::CloseBoth | OnExpiry::Close | OnExpiry::FinOrRstBoth => Farewell::CloseBoth,
            OnExpiry::Silent | OnExpiry::RstBoth | OnExpiry::LruEviction | OnExpiry::NotApplicable => Farewell::Nothing,
        }
    }

    /// A packet of a flow that the box does not know.
    pub fn open(&self, proto: Proto, seg: &Segment, from: Direction, now: Instant) -> IdleStep {
        let opens = from == Direction::Original && (proto == Proto::Udp || opening_syn(seg));
        let (fates, settled) = fates(self.on_stray);
        match fates[from.index()] {
            _ if opens => self.made(proto, seg, from, now, Change::Created, true),
            Fate::Rehash if proto == Proto::Tcp && seg.flags.has(TcpFlags::RST) => self.refused(Action::Forward, settled),
            Fate::Rehash => self.made(proto, seg, from, now, Change::Rehashed, settled),
            // No TCP answers a reset with a reset, and no documented box makes an entry for one (RFC 9293, 3.10.7.1).
            _ if proto == Proto::Tcp && seg.flags.has(TcpFlags::RST) => self.refused(Action::Drop, settled),
            Fate::Repick => self.made(proto, seg, from, now, Change::Repicked, settled),
            Fate::Reset if proto == Proto::Tcp => self.refused(Action::ResetSender, settled),
            Fate::Reset | Fate::Lost => self.refused(Action::Drop, settled),
        }
    }

    /// The entry that the SYN of a new connection leaves from the client.
    #[inline]
    pub(crate) fn opens(&self, seg: &Segment, now: Instant) -> Option<IdleEntry> {
        let step = self.open(Proto::Tcp, seg, Direction::Original, now);
        step.entry.filter(|_| step.action == Action::Forward)
    }

    /// The first packet of a flow whose beginning the capture missed: the flow is taken as established before.
    pub fn adopt(&self, proto: Proto, seg: &Segment, from: Direction, now: Instant) -> IdleStep {
        self.made(proto, seg, from, now, Change::Created, true)
    }

    /// A packet of a flow that the box knows and that has not expired.
    pub fn step(&self, entry: &mut IdleEntry, proto: Proto, seg: &Segment, from: Direction, now: Instant) -> IdleStep {
        self.follow(entry, proto, seg, from, now);
        IdleStep { action: Action::Forward, change: Change::Kept, entry: None, timer: Some(self.timer(entry.timer)), certain: true }
    }

    /// The same, where what it does to the entry is all that is asked: the packet passes.
    #[inline]
    pub(crate) fn follow(&self, entry: &mut IdleEntry, proto: Proto, seg: &Segment, from: Direction, now: Instant) {
        let counts = self.counts(entry, proto, seg, from);
        let before = entry.state;
        match proto {
            Proto::Tcp => follow_tcp(entry, seg, from),
            Proto::Udp => follow_udp(entry, from),
        }
        // A connection that moves on is timed by its new state, whoever moved it. A UDP reply is no more than a packet.
        if counts || (proto == Proto::Tcp && entry.state != before) {
            entry.set_at = now;
            entry.timer = entry.state;
        }
    }

    /// Whether the packet restarts the timer.
    fn counts(&self, entry: &IdleEntry, proto: Proto, seg: &Segment, from: Direction) -> bool {
        let inward = from == Direction::Reply;
        let direction = match self.refresh {
            Refresh::Both => true,
            Refresh::Outbound | Refresh::OutboundRequired => !inward,
            Refresh::OutboundUdp => !inward || proto == Proto::Tcp,
        };
        let fresh = seg.len > 0 && (!entry.has(HEARD, from) || seg.end().after(entry.end[from.index()]));
        // A keepalive may carry one byte, but an old one; a proxy's own TCP does not hand it on.
        let content = proto == Proto::Udp || fresh || seg.flags.any(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST);
        direction && (self.activity == Activity::Packets || content)
    }

    fn made(&self, proto: Proto, seg: &Segment, from: Direction, now: Instant, change: Change, settled: bool) -> IdleStep {
        let state = match proto {
            Proto::Udp => Clause::UdpFirst,
            Proto::Tcp if seg.flags.has(TcpFlags::SYN) => Clause::SynSent,
            Proto::Tcp => Clause::Established,
        };
        let mut entry = IdleEntry::new(state, now);
        self.step(&mut entry, proto, seg, from, now);
        // The packet that makes an entry starts its timer, in whichever direction it goes and whatever it carries.
        entry.set_at = now;
        entry.timer = entry.state;
        let certain = settled && (change == Change::Created || self.stray_verified);
        IdleStep { action: Action::Forward, change, entry: Some(entry), timer: Some(self.timer(entry.timer)), certain }
    }

    fn refused(&self, action: Action, settled: bool) -> IdleStep {
        IdleStep { action, change: Change::Absent, entry: None, timer: None, certain: settled && self.stray_verified }
    }
}

fn timer(policy: &IdlePolicy, clause: Clause) -> Timer {
    let udp_first = ("udp_first", policy.udp_first);
    let udp_unreplied = ("udp_unreplied", policy.udp_unreplied);
    let udp_stream = ("udp_stream", policy.udp_stream);
    // Most boxes have one UDP timer, whichever of the three it was entered as.
    let candidates = match clause {
        Clause::SynSent => [("syn_sent", policy.syn_sent); 3],
        Clause::SynRecv => [("syn_recv", policy.syn_recv); 3],
        Clause::Established => [("established", Some(policy.established)); 3],
        Clause::FinWait => [("fin_wait", policy.fin_wait); 3],
        Clause::CloseWait => [("close_wait", policy.close_wait); 3],
        Clause::LastAck => [("last_ack", policy.last_ack); 3],
        Clause::TimeWait => [("time_wait", policy.time_wait); 3],
        Clause::Close => [("close", policy.close); 3],
        Clause::UdpFirst => [udp_first, udp_unreplied, udp_stream],
        Clause::UdpUnreplied => [udp_unreplied, udp_first, udp_stream],
        Clause::UdpStream => [udp_stream, udp_unreplied, udp_first],
    };
    match candidates.into_iter().find_map(|(setting, stated)| Some((setting, stated?))) {
        None => Timer { clause, timeout: policy.established, basis: Basis::Assumed },
        Some((setting, timeout)) => {
            let basis = if policy.is_unverified(setting) { Basis::Unverified } else { Basis::Stated };
            Timer { clause, timeout, basis }
        }
    }
}
