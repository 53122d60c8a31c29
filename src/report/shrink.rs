//! What became of a flow that was made small: for people, for machines, and for the head of the small capture itself.

use super::text::{paragraph, several, span};
use super::{Report, printable, tuple};
use crate::engine::Clock;
use crate::finding::{Finding, Verdict};
use crate::kernel::wheel::Phase;
use crate::net::Segment;
use crate::study::shrink::{Keep, Shrunk};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A small capture, and what it was made from.
#[derive(Clone, Copy, Debug)]
pub struct Made<'m> {
    /// What was read.
    pub report: &'m Report<'m>,
    /// What was found of the flow.
    pub finding: &'m Finding,
    /// What came of it.
    pub shrunk: &'m Shrunk,
    /// The flow's packets.
    pub segments: &'m [Segment],
    /// What stays as it was.
    pub keep: Keep,
    /// The boxes, as `--box` takes them.
    pub boxes: &'m [String],
    /// Where it was written to.
    pub file: &'m str,
}

/// The comment at the head of a small capture: the verdict, and how to see it. It names nothing of the capture it was made from.
pub fn head(report: &Report<'_>, finding: &Finding, boxes: &[String]) -> String {
    format!("{}. flowlapse replay FILE{}", verdict(report, finding), options(report, boxes))
}

/// The verdict in a line, without names.
fn verdict(report: &Report<'_>, finding: &Finding) -> String {
    let name = finding.verdict.name();
    let Some(d) = &finding.decisive else {
        return match finding.closest() {
            Some(b) => {
                format!("{name}: at most {} of {} {} of {}", span(b.longest), b.cause.timer, span(b.timeout), kind(report, b.hop))
            }
            None => name.to_owned(),
        };
    };
    let came = match d.victim {
        Some(_) => format!("; then {} {}", d.kind.name(), d.fate),
        None => String::new(),
    };
    let silence = if finding.verdict == Verdict::Marginal { "against" } else { "longer than" };
    format!("{name}: {} idle, {silence} {} in {} of {}{came}", span(d.idle), span(d.timeout), d.cause.state, kind(report, d.hop))
}

fn kind(report: &Report<'_>, hop: usize) -> String {
    report.path.hops.get(hop).map_or_else(String::new, |hop| hop.policy.describe())
}

/// The options with which the verdict shows again.
fn options(report: &Report<'_>, boxes: &[String]) -> String {
    let mut options = String::new();
    for spec in boxes {
        let _ = write!(options, " --box {spec}");
    }
    if let Clock::Wheel { hz, phase } = report.path.clock {
        let _ = write!(options, " --clock wheel --hz {}", hz.0);
        if let Some(Phase { jiffies, at, .. }) = phase {
            let _ = write!(options, " --jiffies {jiffies}@{}.{:09}", at.0 / 1_000_000_000, at.0 % 1_000_000_000);
        }
    }
    options
}

impl Made<'_> {
    fn kept_frames(&self) -> Vec<u32> {
        self.shrunk.kept.iter().filter_map(|place| self.segments.get(*place)).map(|seg| seg.frame).collect()
    }

    /// Words for people.
    pub fn text(&self, width: usize) -> String {
        let Made { report, finding, shrunk, .. } = *self;
        let mut out = String::new();
        let file = printable(self.file);
        let of = several(self.segments.len(), "packet", "packets");
        let line = |out: &mut String, text: &str| paragraph(out, "  ", text, width);
        let _ = writeln!(out, "{file}: {} of {of}, {} bytes", shrunk.kept.len(), shrunk.bytes.len());
        line(&mut out, &format!("{} ({})", tuple::display_filter(finding), tuple::arrow(finding)));
        line(&mut out, &format!("verdict, before and after: {}", verdict(report, finding)));
        line(
            &mut out,
            &format!("{} tried, this one read and replayed once more as it stands", several(shrunk.tried as usize, "capture", "captures")),
        );
        line(
            &mut out,
            if shrunk.minimal {
                "no packet can be left out without changing verdict, timer, silence, symptoms or caveats"
            } else {
                "not every packet was tried to be left out: there were too many"
            },
        );
        line(&mut out, &format!("left are frames {}", frames(&self.kept_frames())));
        if shrunk.ends_later {
            line(&mut out, "a packet of no flow at the end (ARP) shows until when the flow was silent");
        }
        let mut gone = vec!["payload", "sequence numbers", "IP identifications", "TCP time stamps", "link-layer addresses"];
        if !self.keep.addresses {
            gone.extend(["addresses", "the client's port"]);
        }
        if !self.keep.times {
            gone.push("the time of day");
        }
        line(&mut out, &format!("gone or replaced: {}", gone.join(", ")));
        line(
            &mut out,
            &format!("stays: the server's port {}, lengths, flags, windows, times to live, spans between packets", finding.server.port),
        );
        let _ = writeln!(out, "  see it: flowlapse replay {file}{}", options(report, self.boxes));
        out
    }

    /// One document, of the schema flowlapse-shrink/1.
    pub fn json(&self) -> Value {
        let Made { report, finding, shrunk, keep, .. } = *self;
        let [client, server] = shrunk.socks;
        json!({
            "schema": "flowlapse-shrink/1",
            "file": self.file,
            "bytes": shrunk.bytes.len(),
            "packets_before": self.segments.len(),
            "packets": shrunk.kept.len(),
            "frames": self.kept_frames(),
            "ends_later": shrunk.ends_later,
            "proto": finding.proto.name(),
            "stream": finding.stream,
            "client_before": finding.client.to_string(),
            "server_before": finding.server.to_string(),
            "client": client.to_string(),
            "server": server.to_string(),
            "verdict": finding.verdict.name(),
            "verdict_text": verdict(report, finding),
            "captures_tried": shrunk.tried,
            "minimal": shrunk.minimal,
            "keeps_addresses": keep.addresses,
            "keeps_times": keep.times,
            "replay": format!("flowlapse replay {}{}", self.file, options(report, self.boxes)),
        })
    }
}

/// Frames in a list of ranges, of which a long one is cut.
fn frames(frames: &[u32]) -> String {
    const RANGES: usize = 24;
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &frame in frames {
        match ranges.last_mut() {
            Some(last) if last.1 + 1 == frame => last.1 = frame,
            _ => ranges.push((frame, frame)),
        }
    }
    let more = ranges.len().saturating_sub(RANGES);
    let listed: Vec<String> =
        ranges.iter().take(RANGES).map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") }).collect();
    if more > 0 { format!("{} and {more} more stretches", listed.join(", ")) } else { listed.join(", ") }
}
