//! From a replayed flow to its finding.

use super::advice::{advise, keep_secs};
use super::cause::cause;
use super::symptom::predict;
use super::{BreakPoint, Caveat, Decisive, Finding, Inconclusive, Verdict, VictimKind};
use crate::engine::Path;
use crate::engine::pipeline::Judged;
use crate::engine::replay::{Fate, FlowRun, Late, Replay};
use crate::flow::{Closing, Flow, GapEvidence, Opening, Orientation};
use crate::kernel::wheel::lateness_max;
use crate::model::{DropReason, Lapse};
use crate::net::{Direction, Proto, TcpFlags};
use crate::policy::BoxPolicy;
use crate::policy::idle::{OnExpiry, OnStray};
use crate::time::{Duration, Instant};

/// Judges one flow. `capture_end` is the time of the last packet of the whole capture.
pub fn judge(path: &Path, judged: &Judged, capture_end: Instant) -> Finding {
    let (flow, run) = (&judged.flow, &judged.run);
    let replay = Replay::new(path);
    let mut finding = outline(path, flow, run);
    let decided = decide(&replay, path, flow, run, capture_end);
    if let Some((verdict, decisive, fate)) = decided {
        finding.verdict = verdict;
        if verdict == Verdict::Inconclusive {
            finding.inconclusive = Some(Inconclusive::Hole);
        }
        if matches!(verdict, Verdict::Cut | Verdict::Marginal | Verdict::Dormant) {
            let told = tells_both_ends(path, decisive.hop, &decisive);
            if let Some(fate) = fate {
                finding.symptoms = Some(predict(flow.proto, decisive.kind, decisive.dir, fate, flow.rtt(), told, path.clock.hz()));
            }
            finding.advice = advise(&path.hops[decisive.hop], &decisive, flow.proto, flow.server, path.clock.hz());
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

/// Everything but the verdict.
fn outline(path: &Path, flow: &Flow, run: &FlowRun) -> Finding {
    let mut caveats = Vec::new();
    if flow.orientation == Orientation::Guessed {
        caveats.push(Caveat::OrientationGuessed);
    }
    if flow.proto == Proto::Tcp && flow.opening() == Opening::Midstream {
        caveats.push(Caveat::Adopted);
    }
    if flow.proto == Proto::Udp {
        caveats.push(Caveat::UdpUnproven);
    }
    if flow.clock_backwards > 0 {
        caveats.push(Caveat::ClockBackwards);
    }
    if run.blocked > 0 {
        caveats.push(Caveat::Blocked);
    }
    if flow.longest_gap(GapEvidence::ProvenIdle).is_some_and(|gap| flow.lacks_probes(&gap)) {
        caveats.push(Caveat::ProbesMissing);
    }
    let break_points: Vec<BreakPoint> = run
        .hops
        .iter()
        .enumerate()
        .flat_map(|(hop, part)| part.profile.rows().iter().map(move |row| (hop, row)))
        .map(|(hop, row)| BreakPoint {
            hop,
            cause: cause(&path.hops[hop], row.clause, ""),
            timeout: row.longest.timeout,
            longest: row.longest.idle,
            keep_secs: keep_secs(row.longest.idle),
            frames: (row.longest.before, row.longest.after),
            evidence: row.longest.evidence,
        })
        .collect();
    let margin = break_points.iter().filter(|b| b.longest < b.timeout).map(|b| b.timeout.saturating_sub(b.longest)).min();
    Finding {
        stream: flow.stream,
        proto: flow.proto,
        client: flow.client,
        server: flow.server,
        orientation: flow.orientation,
        opening: flow.opening(),
        closing: flow.closing(),
        span: (flow.first, flow.last),
        frames: (flow.first_frame, flow.last_frame),
        file: flow.first_file,
        packets: flow.segments,
        bytes: flow.bytes,
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

/// The verdict, worst first, with the entry that decided it; nothing for a flow that simply survives.
fn decide(replay: &Replay<'_>, path: &Path, flow: &Flow, run: &FlowRun, capture_end: Instant) -> Option<(Verdict, Decisive, Option<Fate>)> {
    if let Some((late, fate)) = run.cut.as_deref() {
        let verdict = if late.evidence == GapEvidence::Hole { Verdict::Inconclusive } else { Verdict::Cut };
        return Some((verdict, decisive(path, flow, late, fate_text(*fate)), Some(*fate)));
    }
    if let Some(doubt) = run.doubt.as_deref() {
        let verdict = if doubt.late.evidence == GapEvidence::Hole { Verdict::Inconclusive } else { Verdict::Marginal };
        let mut decisive = decisive(path, flow, &doubt.late, fate_text(doubt.fate));
        decisive.permille = Some(doubt.permille);
        return Some((verdict, decisive, Some(doubt.fate)));
    }
    // Whether the flow was cut in a hole of the capture nobody can tell, so nothing later is certain either.
    if let Some(late) = run.hole.as_deref() {
        return Some((Verdict::Inconclusive, decisive(path, flow, late, "unknown: packets are missing"), None));
    }
    // A SYN that nobody answered opened nothing that could be forgotten.
    let opened = flow.proto == Proto::Udp || flow.opening() != Opening::SynOnly;
    if !run.is_over() && opened {
        // A UDP server that was asked once is not expected to speak again unasked.
        let speakers: &[Direction] =
            if flow.proto == Proto::Udp { &[Direction::Original] } else { &[Direction::Original, Direction::Reply] };
        for &dir in speakers {
            if let Err((hop, lapse, fate)) = replay.would_pass(run, flow, dir, capture_end) {
                return Some((Verdict::Dormant, dormant(path, flow, hop, lapse, dir, capture_end, fate), Some(fate)));
            }
        }
    }
    if let Some(late) = run.repaired.as_deref() {
        let verdict = if late.evidence == GapEvidence::Hole { Verdict::Inconclusive } else { Verdict::Repaired };
        return Some((
            verdict,
            decisive(path, flow, late, if late.picked_up { "picked up again" } else { "let through without an entry" }),
            None,
        ));
    }
    None
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
        kind: kind(flow.proto, late),
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

/// Whether the box resets both ends the moment an entry ends.
fn tells_both_ends(path: &Path, hop: usize, decisive: &Decisive) -> bool {
    matches!(&path.hops[hop].policy, BoxPolicy::Idle(p)
        if p.on_expiry == OnExpiry::RstBoth && decisive.cause.state == "ESTABLISHED")
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
