//! From a replayed flow to its finding.

use super::advice::{advise, keep_secs};
use super::cause::cause;
use super::symptom::{Loss, Symptom, felt, predict};
use super::{BreakPoint, Caveat, Decisive, Finding, Glance, Inconclusive, Verdict, VictimKind, share_of};
use crate::engine::Path;
use crate::engine::profile::Profile;
use crate::engine::replay::{Fate, FlowRun, Late, Replay};
use crate::engine::replayed::Replayed;
use crate::engine::timers::Spans;
use crate::flow::{Closing, Flow, GapEvidence, Opening, Orientation};
use crate::kernel::wheel::lateness_max;
use crate::model::{DropReason, Lapse};
use crate::net::{Direction, Proto, Sock, TcpFlags};
use crate::policy::BoxPolicy;
use crate::policy::idle::{OnExpiry, OnStray};
use crate::time::{Duration, Instant};

/// Judges one flow between a client and a server. `capture_end` is the time of the last packet of the whole capture.
pub fn judge(path: &Path, socks: [Sock; 2], flow: &Flow, run: &FlowRun, capture_end: Instant) -> Finding {
    let replay = Replay::new(path);
    let mut finding = outline(path, socks, flow, run);
    let decided = decide(&replay, path, flow, run, capture_end);
    if let Some((verdict, decisive, fate)) = decided {
        finding.verdict = verdict;
        if verdict == Verdict::Inconclusive {
            finding.inconclusive = Some(if flow.clock_jumped() { Inconclusive::Clock } else { Inconclusive::Hole });
        }
        if matches!(verdict, Verdict::Cut | Verdict::Marginal | Verdict::Dormant) {
            let told = tells_both_ends(path, decisive.hop, decisive.cause.state);
            if let Some(fate) = fate {
                finding.symptoms = Some(predict(&loss(path, flow, decisive.kind, decisive.dir, fate, told)));
            }
            finding.advice = advise(&path.hops[decisive.hop], &decisive, flow.proto(), socks[1], path.clock.hz());
        }
        if matches!(verdict, Verdict::Cut | Verdict::Dormant) && undocumented(path, decisive.hop) {
            finding.caveats.push(Caveat::Undocumented);
        }
        if verdict == Verdict::Cut && decisive.within_band() {
            finding.caveats.push(Caveat::WithinBand);
        }
        if !matches!(verdict, Verdict::Repaired | Verdict::Inconclusive) {
            finding.margin = None;
        }
        finding.decisive = Some(decisive);
    }
    if finding.decisive.is_none() || finding.verdict == Verdict::Survives {
        finding.outlived = outlived(&replay, flow, run);
    }
    finding.caveats.sort_unstable();
    finding.caveats.dedup();
    finding
}

/// Looks at many flows that went through one path.
#[derive(Clone, Debug)]
pub struct Judge<'p> {
    replay: Replay<'p>,
    spans: Spans,
    capture_end: Instant,
}

impl<'p> Judge<'p> {
    /// One for a path; `capture_end` is the time of the last packet of the whole capture.
    pub fn of(path: &'p Path, capture_end: Instant) -> Judge<'p> {
        Judge { replay: Replay::new(path), spans: Spans::of(&path.hops), capture_end }
    }

    /// The timers of the path.
    pub const fn spans(&self) -> &Spans {
        &self.spans
    }

    /// What is kept of one of many flows, as [`Judge::glance`] says. `scratch` is for what has to be looked at closely.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn glance_at(&self, flows: &Replayed, number: usize, scratch: &mut FlowRun, above: u32) -> Glance {
        let (flow, profile) = (flows.flow(number), flows.profile(number));
        if let Some(outlived) = flows.outlived(number, self.replay.path, &self.spans) {
            let (share, copies) = (self.share(profile, above), flow.copies());
            return Glance { verdict: Verdict::Survives, excess: Duration::ZERO, share, outlived, blocked: 0, invalid: 0, copies };
        }
        flows.look(number, scratch);
        self.glance(flow, scratch, profile, above)
    }

    /// What is kept of a flow, without the words of [`judge`]. Its share of a timer is told where it is larger than `above`.
    pub fn glance(&self, flow: &Flow, run: &FlowRun, profile: &Profile, above: u32) -> Glance {
        let ground = ground(&self.replay, flow, run, self.capture_end);
        let verdict = ground.as_ref().map_or(Verdict::Survives, |(verdict, _)| *verdict);
        let excess = ground.as_ref().map_or(Duration::ZERO, |(_, ground)| match ground {
            Ground::Late(late, ..) => late.idle().saturating_sub(late.lapse.timeout),
            Ground::Silence { lapse, .. } => self.capture_end.since(lapse.refreshed).saturating_sub(lapse.timeout),
        });
        Glance {
            verdict,
            excess,
            share: if verdict == Verdict::Survives { self.share(profile, above) } else { 0 },
            outlived: if ground.is_none() { outlived(&self.replay, flow, run) } else { Duration::ZERO },
            blocked: run.blocked,
            invalid: run.invalid,
            copies: flow.copies(),
        }
    }

    /// The largest share of a timer that a spell used up without ending it, in millionths; nothing where it is not larger than `above`.
    /// Of rules that come to one clause the one with the longest spell counts, as among [`break_points`].
    fn share(&self, profile: &Profile, above: u32) -> u32 {
        let (mut best, mut place) = (above, 0);
        profile.each_idle(|hop, timer, idle| {
            let here = place;
            place += 1;
            let Some(span) = self.spans.get(hop, timer) else { return };
            // Nearly all shares are no larger than the largest of the flows before, which is known without a division.
            let least = (u128::from(best) + 1) * u128::from(span.length.0);
            if idle >= span.length || u128::from(idle.0) * 1_000_000 < least {
                return;
            }
            let mut at = 0;
            let outdone = profile.any_idle(|other_hop, other_timer, other_idle| {
                let longer = other_idle > idle || other_idle == idle && at < here;
                at += 1;
                longer && other_hop == hop && self.spans.get(hop, other_timer).is_some_and(|other| other.first == span.first)
            });
            best = if outdone { best } else { share_of(idle, span.length) };
        });
        if best > above { best } else { 0 }
    }
}

/// Everything but the verdict.
fn outline(path: &Path, [client, server]: [Sock; 2], flow: &Flow, run: &FlowRun) -> Finding {
    let mut caveats = Vec::new();
    if flow.orientation == Orientation::Guessed {
        caveats.push(Caveat::OrientationGuessed);
    }
    if flow.proto() == Proto::Tcp && flow.opening() == Opening::Midstream {
        caveats.push(Caveat::Adopted);
    }
    if flow.proto() == Proto::Udp {
        caveats.push(Caveat::UdpUnproven);
    }
    if flow.clock_went_backwards() {
        caveats.push(Caveat::ClockBackwards);
    }
    if run.blocked > 0 {
        caveats.push(Caveat::Blocked);
    }
    if flow.longest_gap(GapEvidence::ProvenIdle).is_some_and(|gap| flow.lacks_probes(&gap)) {
        caveats.push(Caveat::ProbesMissing);
    }
    let break_points = break_points(path, run);
    let margin = break_points.iter().filter(|b| b.longest < b.timeout).map(|b| b.timeout.saturating_sub(b.longest)).min();
    Finding {
        stream: flow.stream,
        proto: flow.proto(),
        client,
        server,
        orientation: flow.orientation,
        opening: flow.opening(),
        closing: flow.closing(),
        span: (flow.first, flow.last),
        frames: (flow.first_frame, flow.last_frame),
        file: flow.first_file,
        packets: flow.segments,
        bytes: flow.bytes(),
        verdict: Verdict::Survives,
        inconclusive: None,
        decisive: None,
        symptoms: None,
        advice: Vec::new(),
        break_points,
        margin,
        repairs: run.repairs,
        blocked: run.blocked,
        invalid: run.invalid,
        outlived: Duration::ZERO,
        caveats,
    }
}

/// The longest spell under each clause of each box. Several rules may come to one clause: the longest of their spells counts.
fn break_points(path: &Path, run: &FlowRun) -> Vec<BreakPoint> {
    let mut points: Vec<BreakPoint> = Vec::new();
    for row in run.profile.rows() {
        let (hop, spell) = (row.hop, row.longest);
        let clause = path.hops[hop].clause(row.timer);
        let place = points.iter().position(|p| p.hop == hop && p.cause.clause == clause);
        if place.is_some_and(|at| points[at].longest >= spell.idle) {
            continue;
        }
        let point = BreakPoint {
            hop,
            cause: cause(&path.hops[hop], clause, ""),
            timeout: path.hops[hop].span(row.timer),
            longest: spell.idle,
            keep_secs: keep_secs(spell.idle),
            frames: (spell.before, spell.after),
            evidence: spell.evidence,
        };
        match place {
            Some(at) => points[at] = point,
            None => points.push(point),
        }
    }
    // In the order of the boxes; a box's in that of their first spells.
    points.sort_by_key(|point| point.hop);
    points
}

/// What a verdict rests on.
enum Ground<'r> {
    /// A packet that came too late, what became of it, and the chance that it did, where the clock cannot decide.
    Late(&'r Late, Option<Fate>, Option<u16>),
    /// Nobody came: what would become of a packet.
    Silence { hop: u8, lapse: Lapse, dir: Direction, fate: Fate },
}

/// The verdict, worst first, with what it rests on; nothing for a flow that simply survives.
fn ground<'r>(replay: &Replay<'_>, flow: &Flow, run: &'r FlowRun, capture_end: Instant) -> Option<(Verdict, Ground<'r>)> {
    let unless_hole = |late: &Late, verdict| if late.evidence == GapEvidence::Hole { Verdict::Inconclusive } else { verdict };
    if let Some((late, fate)) = run.cut.as_deref() {
        return Some((unless_hole(late, Verdict::Cut), Ground::Late(late, Some(*fate), None)));
    }
    if let Some(doubt) = run.doubt.as_deref() {
        let ground = Ground::Late(&doubt.late, Some(doubt.fate), Some(doubt.permille));
        return Some((unless_hole(&doubt.late, Verdict::Marginal), ground));
    }
    // Whether the flow was cut in a hole of the capture nobody can tell, so nothing later is certain either.
    if let Some(late) = run.hole.as_deref() {
        return Some((Verdict::Inconclusive, Ground::Late(late, None, None)));
    }
    // A SYN that nobody answered opened nothing that could be forgotten.
    let opened = flow.proto() == Proto::Udp || flow.opening() != Opening::SynOnly;
    if !run.is_over() && opened && !flow.is_adrift() {
        // A UDP server that was asked once is not expected to speak again unasked.
        let speakers: &[Direction] =
            if flow.proto() == Proto::Udp { &[Direction::Original] } else { &[Direction::Original, Direction::Reply] };
        for &dir in speakers {
            if let Err((hop, lapse, fate)) = replay.would_pass(run, flow, dir, capture_end) {
                return Some((Verdict::Dormant, Ground::Silence { hop, lapse, dir, fate }));
            }
        }
    }
    let late = run.repaired.as_deref()?;
    Some((unless_hole(late, Verdict::Repaired), Ground::Late(late, None, None)))
}

/// The verdict with the entry that decided it, in words.
fn decide(replay: &Replay<'_>, path: &Path, flow: &Flow, run: &FlowRun, capture_end: Instant) -> Option<(Verdict, Decisive, Option<Fate>)> {
    let (verdict, ground) = ground(replay, flow, run, capture_end)?;
    Some(match ground {
        Ground::Late(late, fate, permille) => {
            let what = match fate {
                Some(fate) => fate_text(fate),
                None if run.hole.is_some() && flow.clock_jumped() => "unknown: the clock was set back",
                None if run.hole.is_some() => "unknown: packets are missing",
                None if late.picked_up => "picked up again",
                None => "let through without an entry",
            };
            (verdict, Decisive { permille, ..decisive(path, flow, late, what) }, fate)
        }
        Ground::Silence { hop, lapse, dir, fate } => (verdict, dormant(path, flow, hop, lapse, dir, capture_end, fate), Some(fate)),
    })
}

/// A verdict in numbers: what a count of many needs.
#[derive(Clone, Debug)]
pub struct Brief {
    /// The verdict.
    pub verdict: Verdict,
    /// What the ends of a cut flow feel, without sentences.
    pub felt: Option<[Symptom; 2]>,
}

/// Judges one flow without words: the verdict is that of [`judge`].
pub fn brief(path: &Path, flow: &Flow, run: &FlowRun, capture_end: Instant) -> Brief {
    let Some((verdict, ground)) = ground(&Replay::new(path), flow, run, capture_end) else {
        return Brief { verdict: Verdict::Survives, felt: None };
    };
    let felt = match ground {
        Ground::Late(late, Some(fate), _) if verdict == Verdict::Cut => {
            let told = tells_both_ends(path, usize::from(late.hop), late.lapse.state);
            Some(felt(&loss(path, flow, kind(flow.proto(), late), late.dir, fate, told)))
        }
        _ => None,
    };
    Brief { verdict, felt }
}

fn decisive(path: &Path, flow: &Flow, late: &Late, fate: &'static str) -> Decisive {
    let hop = usize::from(late.hop);
    let lapse = late.lapse;
    Decisive {
        hop,
        cause: cause(&path.hops[hop], lapse.clause, lapse.state),
        timeout: lapse.timeout,
        idle: late.idle(),
        refreshed: lapse.refreshed,
        before: late.before,
        victim: Some((late.frame, late.file)),
        kind: kind(flow.proto(), late),
        dir: late.dir,
        evidence: late.evidence,
        fate,
        late_by: late_by(path, hop, lapse.timeout),
        permille: None,
    }
}

fn dormant(path: &Path, flow: &Flow, hop: u8, lapse: Lapse, dir: Direction, end: Instant, fate: Fate) -> Decisive {
    let hop = usize::from(hop);
    Decisive {
        hop,
        cause: cause(&path.hops[hop], lapse.clause, lapse.state),
        timeout: lapse.timeout,
        idle: end.since(lapse.refreshed),
        refreshed: lapse.refreshed,
        before: flow.last_frame,
        victim: None,
        kind: VictimKind::Nobody,
        dir,
        evidence: GapEvidence::Censored,
        fate: fate_text(fate),
        late_by: late_by(path, hop, lapse.timeout),
        permille: None,
    }
}

/// How much later than nominal a real kernel's timer of this box may fire.
fn late_by(path: &Path, hop: usize, timeout: Duration) -> Duration {
    match &path.hops[hop].device {
        crate::engine::Device::Director(d) if d.ipvs.dialect.wheel => lateness_max(timeout, path.clock.hz()),
        crate::engine::Device::Router(r) if r.conntrack.settings.dialect.expiry == crate::model::conntrack::dialect::Expires::Wheel => {
            lateness_max(timeout, path.clock.hz())
        }
        _ => Duration::ZERO,
    }
}

fn kind(proto: Proto, late: &Late) -> VictimKind {
    let f = late.flags;
    if proto == Proto::Udp {
        VictimKind::Datagram
    } else if f.has(TcpFlags::RST) {
        VictimKind::Rst
    } else if f.has(TcpFlags::SYN) {
        VictimKind::Syn
    } else if late.probe {
        VictimKind::Probe
    } else if f.has(TcpFlags::FIN) {
        VictimKind::Fin
    } else if late.len > 0 {
        VictimKind::Data
    } else {
        VictimKind::Ack
    }
}

/// What became of the victim, in a few words.
pub const fn fate_text(fate: Fate) -> &'static str {
    match fate {
        Fate::Reset => "reset by the box",
        Fate::Unreachable => "answered with an ICMP error",
        Fate::Leaked => "leaked untranslated",
        Fate::Dropped(reason) => match reason {
            DropReason::InvalidByRule => "dropped as INVALID",
            DropReason::NewWithoutSynByRule => "dropped as NEW without SYN",
            DropReason::TupleClash => "dropped: its addresses are taken",
            DropReason::KilledOutOfSync => "dropped with its entry",
            DropReason::LocalSilence => "swallowed by the box",
            DropReason::ReuseOfTrackedEntry => "dropped once: conntrack still holds the old connection",
            DropReason::NoDestination => "dropped: no real server",
            DropReason::StrayByPolicy => "dropped as unknown",
            DropReason::TableFull => "dropped: the table is full",
            DropReason::UnderDefence => "dropped by drop_packet",
        },
    }
}

fn loss(path: &Path, flow: &Flow, kind: VictimKind, dir: Direction, fate: Fate, reset_at_expiry: bool) -> Loss {
    Loss { proto: flow.proto(), kind, dir, fate, rtt: flow.rtt(), reset_at_expiry, hz: path.clock.hz() }
}

/// Whether the box resets both ends the moment an entry ends.
fn tells_both_ends(path: &Path, hop: usize, state: &str) -> bool {
    matches!(&path.hops[hop].policy, BoxPolicy::Idle(p)
        if p.on_expiry == OnExpiry::RstBoth && state == "ESTABLISHED")
}

/// Whether the documentation of a box leaves open what becomes of a packet without an entry.
fn undocumented(path: &Path, hop: usize) -> bool {
    match &path.hops[hop].policy {
        BoxPolicy::Idle(p) => {
            p.is_unverified("on_stray")
                || matches!(
                    p.on_stray,
                    OnStray::RstOrDropByLocalStack
                        | OnStray::NotApplicable
                        | OnStray::ReevaluateRules
                        | OnStray::PolicyThenNewEntry
                        | OnStray::ByRuleset
                        | OnStray::ByFlowTable
                        | OnStray::DropIfNotAllowedByRules
                        | OnStray::RstIfBackendLocalElseHang
                        | OnStray::Unspecified
                        | OnStray::Unknown
                )
        }
        _ => false,
    }
}

/// How long entries outlive a flow that was closed, summed over the boxes: what the timers cost.
fn outlived(replay: &Replay<'_>, flow: &Flow, run: &FlowRun) -> Duration {
    if !matches!(flow.closing(), Closing::Fin | Closing::Reset) {
        return Duration::ZERO;
    }
    replay.running(run, flow).map(|(_, timer)| (timer.refreshed + timer.timeout).since(flow.last)).fold(Duration::ZERO, |sum, d| sum + d)
}
