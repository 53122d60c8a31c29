//! What a replay means: a verdict for each flow, its cause, what each end would have felt, and what would have kept it.
//!
//! Knows no packets any more and prints nothing; `report` turns findings into bytes.

pub mod advice;
pub mod cause;
pub mod judge;
pub mod margin;
pub mod paste;
pub mod symptom;
pub mod which;

use crate::flow::{Closing, GapEvidence, Opening, Orientation};
use crate::net::{Direction, Proto, Sock};
use crate::time::{Duration, Instant};
use advice::Advice;
use cause::Cause;
use symptom::Symptom;

/// What becomes of a flow. The set is closed; docs/verdicts.md defines each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// A packet that should have passed did not, because an entry had lapsed.
    Cut,
    /// Its entry was evicted from a full table.
    Evicted,
    /// It could not be opened because a table was full.
    Refused,
    /// Whether it is cut depends on the phase of a clock that nobody knows.
    Marginal,
    /// What is missing from the capture decides.
    Inconclusive,
    /// It would be cut if it spoke again: its entry has lapsed in the silence at the end of the capture.
    Dormant,
    /// An entry lapsed and was picked up again; nothing was lost.
    Repaired,
    /// No entry lapsed before its time.
    Survives,
}

impl Verdict {
    /// Every verdict, worst first.
    pub const ALL: [Verdict; 8] = [
        Verdict::Cut,
        Verdict::Evicted,
        Verdict::Refused,
        Verdict::Marginal,
        Verdict::Inconclusive,
        Verdict::Dormant,
        Verdict::Repaired,
        Verdict::Survives,
    ];

    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Cut => "cut",
            Verdict::Evicted => "evicted",
            Verdict::Refused => "refused",
            Verdict::Marginal => "marginal",
            Verdict::Dormant => "dormant",
            Verdict::Repaired => "repaired",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Survives => "survives",
        }
    }

    /// The verdict of a name.
    pub fn from_name(name: &str) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|v| v.name() == name)
    }
}

/// Why a flow could not be judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inconclusive {
    /// The silence is a hole in the capture: packets that would have kept the entry are missing.
    Hole,
    /// The clock of the capture was set back before the silence, so that nobody knows how long it was.
    Clock,
}

impl Inconclusive {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Inconclusive::Hole => "hole",
            Inconclusive::Clock => "clock",
        }
    }
}

/// The name of an evidence class in every output.
pub const fn evidence_name(evidence: GapEvidence) -> &'static str {
    match evidence {
        GapEvidence::ProvenIdle => "proven-idle",
        GapEvidence::Hole => "hole",
        GapEvidence::Unknown => "unknown",
        GapEvidence::Censored => "censored",
    }
}

/// What kind of packet came too late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VictimKind {
    /// A keepalive probe.
    Probe,
    /// Payload.
    Data,
    /// The end of a direction.
    Fin,
    /// A reset.
    Rst,
    /// A SYN.
    Syn,
    /// An acknowledgement without payload.
    Ack,
    /// A UDP datagram.
    Datagram,
    /// Nobody sent it: the flow was silent to the end of the capture.
    Nobody,
}

impl VictimKind {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            VictimKind::Probe => "keepalive probe",
            VictimKind::Data => "data",
            VictimKind::Fin => "FIN",
            VictimKind::Rst => "RST",
            VictimKind::Syn => "SYN",
            VictimKind::Ack => "ACK",
            VictimKind::Datagram => "datagram",
            VictimKind::Nobody => "none yet",
        }
    }
}

/// The entry whose end decided a flow's verdict, and the packet that came after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decisive {
    /// Which box, from 0 at the client.
    pub hop: usize,
    /// Which state, which timer, which setting.
    pub cause: Cause,
    /// What the timer was set to.
    pub timeout: Duration,
    /// How long the entry had been idle.
    pub idle: Duration,
    /// When the timer was last set.
    pub refreshed: Instant,
    /// The frame before the silence.
    pub before: u32,
    /// The first victim: its frame, and the input it came from. None where nobody sent it.
    pub victim: Option<(u32, u16)>,
    /// What it was.
    pub kind: VictimKind,
    /// Which way it went.
    pub dir: Direction,
    /// What is known about the silence.
    pub evidence: GapEvidence,
    /// What became of it, in a few words.
    pub fate: &'static str,
    /// How much later a real kernel's timer may fire, at most.
    pub late_by: Duration,
    /// The chance that the entry had ended, in thousandths, where the clock cannot decide.
    pub permille: Option<u16>,
}

impl Decisive {
    /// By how much the silence exceeded the timer.
    pub fn excess(&self) -> Duration {
        self.idle.saturating_sub(self.timeout)
    }

    /// Whether a real kernel's timer could have fired later than this packet.
    pub fn within_band(&self) -> bool {
        self.late_by > Duration::ZERO && self.excess() < self.late_by
    }
}

/// The longest idle spell under one timer of one box, and the smallest value that would have borne it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BreakPoint {
    /// Which box, from 0 at the client.
    pub hop: usize,
    /// Which state, which timer, which setting.
    pub cause: Cause,
    /// What the timer was set to.
    pub timeout: Duration,
    /// The longest spell.
    pub longest: Duration,
    /// The smallest whole seconds that keep the flow: the timer must be longer than the spell.
    pub keep_secs: u64,
    /// The frames around the spell.
    pub frames: (u32, u32),
    /// What is known about the silence.
    pub evidence: GapEvidence,
}

/// Something to know before believing a verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Caveat {
    /// Which end is the client was guessed from the ports.
    OrientationGuessed,
    /// The capture began in mid-flow: every box is taken to have had an entry, fresh from the first packet.
    Adopted,
    /// The capture clock went backwards inside the flow.
    ClockBackwards,
    /// UDP has no sequence numbers: a silence may be a hole.
    UdpUnproven,
    /// A keepalive was due in the silence and is not in the capture.
    ProbesMissing,
    /// The excess over the timer is smaller than a real kernel's timer may be late.
    WithinBand,
    /// Packets were kept by a box for other reasons than a timer.
    Blocked,
    /// The box's documentation does not settle this outcome.
    Undocumented,
}

impl Caveat {
    /// The sentence for people.
    pub const fn text(self) -> &'static str {
        match self {
            Caveat::OrientationGuessed => "which end is the client was guessed from the ports",
            Caveat::Adopted => "the capture began in mid-flow: every box is taken to have known the flow already",
            Caveat::ClockBackwards => "the capture's clock went backwards inside the flow",
            Caveat::UdpUnproven => "UDP has no sequence numbers: a silence may be a hole in the capture",
            Caveat::ProbesMissing => "a keepalive was due in the silence and is not in the capture",
            Caveat::WithinBand => "a real kernel's timer may fire late enough to let this packet through",
            Caveat::Blocked => "a box kept packets for other reasons than a timer",
            Caveat::Undocumented => "the box's documentation does not settle what happens here",
        }
    }

    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Caveat::OrientationGuessed => "orientation-guessed",
            Caveat::Adopted => "adopted",
            Caveat::ClockBackwards => "clock-backwards",
            Caveat::UdpUnproven => "udp-unproven",
            Caveat::ProbesMissing => "probes-missing",
            Caveat::WithinBand => "within-band",
            Caveat::Blocked => "blocked",
            Caveat::Undocumented => "undocumented",
        }
    }
}

/// Everything that is to be said about one flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Wireshark's `tcp.stream` or `udp.stream`.
    pub stream: u32,
    /// TCP or UDP.
    pub proto: Proto,
    /// The client's end.
    pub client: Sock,
    /// The server's end.
    pub server: Sock,
    /// How the ends were told apart.
    pub orientation: Orientation,
    /// How much of the beginning was captured.
    pub opening: Opening,
    /// How it ended.
    pub closing: Closing,
    /// The times of its first and last packet.
    pub span: (Instant, Instant),
    /// The frames of its first and last packet.
    pub frames: (u32, u32),
    /// The input of its first packet.
    pub file: u16,
    /// Packets from the client and from the server.
    pub packets: [u32; 2],
    /// Payload bytes from the client and from the server.
    pub bytes: [u64; 2],
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is inconclusive.
    pub inconclusive: Option<Inconclusive>,
    /// The entry that decided it; none where nothing lapsed.
    pub decisive: Option<Decisive>,
    /// What the client and the server would have felt; none where nothing was lost.
    pub symptoms: Option<[Symptom; 2]>,
    /// What would have kept it.
    pub advice: Vec<Advice>,
    /// The longest spells by box and timer.
    pub break_points: Vec<BreakPoint>,
    /// The smallest distance between a timer and the longest spell that it bore.
    pub margin: Option<Duration>,
    /// How often entries lapsed and were picked up again.
    pub repairs: u32,
    /// Packets that a box kept for other reasons than a timer.
    pub blocked: u32,
    /// Packets that conntrack called INVALID.
    pub invalid: u32,
    /// How long entries outlived the closed flow, summed over the boxes.
    pub outlived: Duration,
    /// What to know before believing the verdict.
    pub caveats: Vec<Caveat>,
}

/// What is kept of every flow while a report is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    /// The verdict.
    pub verdict: Verdict,
    /// By how much the silence that decided it exceeded the timer.
    pub excess: Duration,
    /// The largest share of a timer that a spell used up without ending it, in millionths.
    pub share: u32,
    /// How long entries outlived the closed flow.
    pub outlived: Duration,
    /// Packets that a box kept for other reasons than a timer.
    pub blocked: u32,
    /// Packets that conntrack called INVALID.
    pub invalid: u32,
    /// Packets that were captured a second time.
    pub copies: u32,
}

impl Finding {
    /// The spell that used up the largest share of its timer without ending it; the first of equals.
    pub fn closest(&self) -> Option<&BreakPoint> {
        let borne = self.break_points.iter().filter(|b| b.longest < b.timeout);
        borne.fold(None, |best: Option<&BreakPoint>, next| match best {
            Some(best) if best.share() >= next.share() => Some(best),
            _ => Some(next),
        })
    }
}

impl BreakPoint {
    /// The share of the timer that the spell used up, in millionths.
    pub fn share(&self) -> u32 {
        share_of(self.longest, self.timeout)
    }
}

/// The share of a timer that a spell used up, in millionths.
fn share_of(idle: Duration, timeout: Duration) -> u32 {
    let share = match idle.0.checked_mul(1_000_000) {
        Some(millions) => millions / timeout.0.max(1),
        None => u64::try_from(u128::from(idle.0) * 1_000_000 / u128::from(timeout.0.max(1))).unwrap_or(u64::MAX),
    };
    u32::try_from(share).unwrap_or(u32::MAX)
}
