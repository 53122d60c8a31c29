//! One flow of a replay as a picture of its life: packets, each box's timer, and where it was cut. It draws nothing itself.

use super::chart::{Cut, Fuse, LaneBox, LanePacket, Lanes, PacketKind};
use super::text::kind_of;
use super::{Report, printable, tuple};
use crate::engine::diary::{Burning, Diary, Kept, Sort};
use crate::engine::dossier::Sighting;
use crate::engine::hop::Hop;
use crate::finding::{Decisive, Finding, Verdict};
use crate::flow::Shape;
use crate::net::Direction;
use crate::time::{Duration, Instant};

/// Closes the diary of one of the flows of a report, and says when it ends.
pub fn settle(report: &Report<'_>, finding: &Finding, kept: &mut Kept) -> Instant {
    let over = kept.run.is_over();
    let last = finding.span.1;
    // After a cut nothing more is judged; of a closed flow the last entry is waited for, of another the end of the capture.
    let end = match (&kept.run.cut, over) {
        (Some(cut), _) => cut.0.at,
        (None, true) => kept.diary.last_deadline().map_or(last, |at| at.min(report.run.end).max(last)),
        (None, false) => report.run.end.max(last),
    };
    kept.diary.finish(end, !over);
    end
}

/// The life of one of the flows of a report, whose diary was closed at `end`.
pub fn lanes(report: &Report<'_>, finding: &Finding, kept: &Kept, end: Instant) -> Lanes {
    let begin = finding.span.0;
    let (packets, boxes) = drawn(&kept.diary, &report.path.hops, begin);
    Lanes {
        title: title(report, finding),
        subtitle: subtitle(finding, kept),
        client: format!("client {}", finding.client),
        server: format!("server {}", finding.server),
        span: (0.0, end.since(begin).as_secs_f64()),
        packets,
        boxes,
        cuts: finding.decisive.as_ref().map_or_else(Vec::new, |d| cuts(report, finding, d)),
    }
}

/// The same with what the capture holds after the packet that came too late: it was sent, whatever the boxes here would have let
/// through.
pub fn lanes_beyond(report: &Report<'_>, finding: &Finding, kept: &Kept, end: Instant, all: &[Sighting]) -> Lanes {
    let mut lanes = lanes(report, finding, kept, end);
    let victim = finding.decisive.as_ref().and_then(|d| d.victim);
    let turn = victim.and_then(|(frame, file)| all.iter().position(|s| (s.seg.frame, s.seg.file) == (frame, file)));
    let rest = turn.filter(|_| kept.run.cut.is_some()).map_or(&[][..], |turn| &all[turn + 1..]);
    let Some(last) = rest.last() else { return lanes };
    let at = |instant: Instant| instant.since(finding.span.0).as_secs_f64();
    lanes.packets.extend(rest.iter().filter(|s| s.shape != Shape::Duplicate).map(|s| LanePacket {
        at: at(s.seg.at),
        from_client: s.seg.dir == Direction::Original,
        kind: kind_of_packet(Sort::of(finding.proto, &s.seg, s.shape == Shape::KeepaliveProbe)),
        passed: true,
        from_box: None,
        kept_by: None,
    }));
    lanes.span.1 = at(last.seg.at).max(lanes.span.1);
    lanes.subtitle = format!("{}; after the cut: as captured", tuple::arrow(finding));
    lanes
}

const fn kind_of_packet(sort: Sort) -> PacketKind {
    match sort {
        Sort::Syn => PacketKind::Syn,
        Sort::Data => PacketKind::Data,
        Sort::Ack => PacketKind::Ack,
        Sort::Probe => PacketKind::Probe,
        Sort::Fin => PacketKind::Fin,
        Sort::Rst => PacketKind::Rst,
        Sort::Icmp => PacketKind::Icmp,
    }
}

/// What a diary holds, in seconds since `begin`.
pub(super) fn drawn(diary: &Diary, hops: &[Hop], begin: Instant) -> (Vec<LanePacket>, Vec<LaneBox>) {
    let secs = |at: Instant| at.since(begin).as_secs_f64();
    let packets = diary.packets.iter().map(|crossing| LanePacket {
        at: secs(crossing.at),
        from_client: crossing.dir == Direction::Original,
        kind: kind_of_packet(crossing.sort),
        passed: crossing.passed,
        from_box: crossing.from_box,
        kept_by: crossing.kept_by,
    });
    let boxes =
        hops.iter().zip(&diary.boxes).map(|(hop, memory)| LaneBox { label: printable(&hop.label), fuses: fuses(&memory.past, &secs) });
    (packets.collect(), boxes.collect())
}

/// The timers of one box. One that a box took over from another is drawn only from then on.
fn fuses(past: &[Burning], secs: &impl Fn(Instant) -> f64) -> Vec<Fuse> {
    let mut drawn = Vec::with_capacity(past.len());
    let mut free = Instant::ZERO;
    for burning in past.iter().filter(|burning| burning.to >= burning.timer.refreshed) {
        if burning.to < free {
            continue;
        }
        drawn.push(Fuse {
            from: secs(burning.timer.refreshed),
            shown_from: secs(burning.timer.refreshed.max(free)),
            to: secs(burning.to),
            length: burning.timer.timeout.as_secs_f64(),
            state: burning.timer.state.to_owned(),
            burnt: burning.burnt,
        });
        free = burning.to;
    }
    drawn
}

fn title(report: &Report<'_>, finding: &Finding) -> String {
    let by = match (&finding.decisive, finding.verdict) {
        (Some(d), Verdict::Cut | Verdict::Repaired) => format!(" by {}", kind_of(report, d)),
        (Some(d), Verdict::Dormant) => format!(", forgotten by {}", kind_of(report, d)),
        _ => String::new(),
    };
    let what = if finding.verdict == Verdict::Repaired { "forgotten and taken up again" } else { finding.verdict.name() };
    format!("{}: {what}{by}", tuple::display_filter(finding))
}

fn subtitle(finding: &Finding, kept: &Kept) -> String {
    let count: u64 = finding.packets.iter().map(|n| u64::from(*n)).sum();
    let mut text = format!("{}; {count} packet{}", tuple::arrow(finding), if count == 1 { "" } else { "s" });
    match kept.after_cut {
        0 => {}
        1 => text.push_str("; the one after the cut would not have been sent so"),
        n => text.push_str(&format!("; the {n} after the cut would not have been sent so")),
    }
    if kept.diary.left_out > 0 {
        text.push_str(&format!("; {} are left out", kept.diary.left_out));
    }
    text
}

/// A span as people say it, without digits that nobody reads.
pub(super) fn short(span: Duration) -> String {
    if span < Duration::from_secs(60) { format!("{:.3} s", span.as_secs_f64()) } else { Duration::from_secs(span.as_secs()).human() }
}

/// A frame with the last part of its file's name, where there are several files.
fn frame_of(report: &Report<'_>, frame: u32, file: u16) -> String {
    let name = report.run.names.get(usize::from(file)).filter(|_| report.run.names.len() > 1);
    let last = name.and_then(|name| std::path::Path::new(name).file_name());
    last.map_or(frame.to_string(), |last| format!("{frame} of {}", printable(&last.to_string_lossy())))
}

/// Where the entry ended, and the packet that came too late.
fn cuts(report: &Report<'_>, finding: &Finding, d: &Decisive) -> Vec<Cut> {
    let ended = d.refreshed + d.timeout;
    let at = |instant: Instant| instant.since(finding.span.0).as_secs_f64();
    let who = kind_of(report, d);
    let forgotten = match finding.verdict {
        Verdict::Inconclusive => format!("forgotten by {who}, unless a packet that the capture lacks was in time"),
        Verdict::Marginal => {
            let permille = d.permille.unwrap_or_default();
            format!("the timer of {who} runs out, if its clock so stands: {}.{} %", permille / 10, permille % 10)
        }
        _ => format!("forgotten by {who} at {}, {} after frame {}", short(ended.since(finding.span.0)), d.timeout, d.before),
    };
    let came = match (d.victim, finding.verdict) {
        (Some((frame, file)), Verdict::Cut) => format!("frame {} {}", frame_of(report, frame, file), d.fate),
        (Some((frame, file)), Verdict::Marginal) => format!("frame {}, then {}", frame_of(report, frame, file), d.fate),
        (Some((frame, file)), _) => format!("frame {}: {}", frame_of(report, frame, file), d.fate),
        (None, _) => format!("the capture ends; the next packet would be {}", d.fate),
    };
    vec![Cut { at: at(ended), text: forgotten, strong: true }, Cut { at: at(d.refreshed + d.idle), text: came, strong: true }]
}
