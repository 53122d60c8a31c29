//! The report for people: summary first, then the flows worth reading, worst first.

mod flows;

use super::{Report, printable, tuple};
use crate::capture::TimeCounters;
use crate::engine::pipeline::Run;
use crate::engine::{Clock, Device, Hop, Path};
use crate::finding::advice::Where;
use crate::finding::{Decisive, Finding, Verdict, evidence_name};
use crate::flow::CLOCK_SLACK;
use crate::model::conntrack::entry::State as CtState;
use crate::model::conntrack::router::{Nat, Rules};
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::net::Direction;
use crate::time::{Duration, Instant};
use std::fmt::Write;
use std::io;

/// How the text is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Columns to stay within.
    pub width: usize,
    /// Whether verdicts are coloured.
    pub colour: bool,
    /// How many flows are listed at most.
    pub flows: usize,
    /// How many of them are told in full.
    pub stories: usize,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout { width: 100, colour: false, flows: 20, stories: 3 }
    }
}

/// The whole report in memory, for the library's users; see [`write()`].
pub fn told(report: &Report<'_>, layout: Layout) -> String {
    let mut out = Vec::new();
    // Memory takes everything.
    let _ = write(report, layout, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes the report. Of the flows no more is in memory at a time than some thousand, however many are listed.
///
/// # Errors
/// Whatever the sink says.
pub fn write(report: &Report<'_>, layout: Layout, out: &mut dyn io::Write) -> io::Result<()> {
    let mut text = String::new();
    input(&mut text, report.run, layout.width);
    path(&mut text, report.path, layout.width);
    summary(&mut text, report, layout);
    out.write_all(text.as_bytes())?;
    let worst = report.worst();
    flows::write(report, worst, layout, out)?;
    for (_, index) in worst.iter().filter(|(verdict, _)| *verdict != Verdict::Repaired).take(layout.stories) {
        text.clear();
        story(&mut text, report, &report.finding(*index), layout);
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// What the replay says of one flow, where no more is known of it because of an interrupt.
pub fn unread(report: &Report<'_>, f: &Finding, layout: Layout) -> String {
    let mut out = String::new();
    input(&mut out, report.run, layout.width);
    let what = "the packets of the flow were not read again, which its story takes; this is what the replay says";
    paragraph(&mut out, "interrupted: ", what, layout.width);
    path(&mut out, report.path, layout.width);
    let _ = writeln!(out, "\n{}  {}: {}", tuple::display_filter(f), tuple::arrow(f), paint(f.verdict, f.verdict.name(), layout));
    story(&mut out, report, f, layout);
    out
}

/// No capture is older than this, in nanoseconds since 1970.
const SCENARIO_BELOW: u64 = 5 * 365 * 86_400 * 1_000_000_000;

/// Link types that are told one by one.
const LINKS_MAX: usize = 10;

/// What was read, and what of it could not be.
pub(super) fn input<R>(out: &mut String, run: &Run<R>, width: usize) {
    let names = match &run.names[..] {
        [] => "no input".to_owned(),
        [one] => printable(one),
        many => format!("{} files ({} … {})", many.len(), printable(&many[0]), printable(&many[many.len() - 1])),
    };
    let records = run.counters.records;
    // Scenarios begin at 0, which is no date.
    let from = if run.begin.0 < SCENARIO_BELOW { String::new() } else { format!(", from {}", date(run.begin)) };
    paragraph(out, "", &format!("{names}: {records} packets in {}{from}", span(run.end.since(run.begin))), width);
    left_out(out, run, width);
}

/// What of an input could not be read, or was not wanted.
pub(super) fn left_out<R>(out: &mut String, run: &Run<R>, width: usize) {
    if run.interrupted {
        paragraph(out, "", "interrupted: only what was read so far is judged", width);
    }
    for damage in &run.damages {
        let name = run.names.get(usize::from(damage.file)).map_or(String::new(), |n| printable(n));
        paragraph(out, "damage: ", &format!("{name}: {damage}"), width);
    }
    let others: Vec<String> = run.counters.seen().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
    if !others.is_empty() {
        paragraph(out, "not followed: ", &others.join(", "), width);
    }
    let mut links = run.counters.unsupported_links();
    for (link, count) in links.by_ref().take(LINKS_MAX) {
        paragraph(out, "not followed: ", &format!("{count} packets of link type {link}"), width);
    }
    let (more, packets) = links.fold((0, 0), |(more, packets), (_, count)| (more + 1, packets + count));
    if more > 0 {
        paragraph(out, "not followed: ", &format!("{packets} packets of {more} more link types"), width);
    }
    if run.filtered > 0 {
        paragraph(out, "", &format!("{} packets left out by the filter", run.filtered), width);
    }
    if let Some(told) = no_room(run) {
        paragraph(out, "", &told, width);
    }
    let TimeCounters { saturated, absent, backwards, backwards_max } = run.times;
    if saturated + absent > 0 {
        paragraph(out, "times: ", &format!("{saturated} out of range, {absent} missing"), width);
    }
    if backwards > 0 {
        let set = if backwards_max > CLOCK_SLACK { "; the clock was set: no silence across that is taken for a fact" } else { "" };
        let times = if backwards == 1 { "once".to_owned() } else { format!("{backwards} times") };
        paragraph(out, "times: ", &format!("went back {times}, by up to {}{set}", span(backwards_max)), width);
    }
}

/// What was left out because no more flows could be held.
pub(crate) fn no_room<R>(run: &Run<R>) -> Option<String> {
    let (most, none) = (run.flows_max?, run.no_room);
    if none.is_nothing() {
        return None;
    }
    let mut parts = Vec::new();
    if none.flows > 0 {
        let flows = if none.flows == 1 {
            "1 flow that never became a connection".to_owned()
        } else {
            format!("{} flows that never became connections", none.flows)
        };
        let packets = if none.packets == 1 { "1 packet".to_owned() } else { format!("{} packets", none.packets) };
        parts.push(format!("{flows} made room for others ({packets})"));
    }
    if none.turned_away > 0 {
        let packets = if none.turned_away == 1 { "1 packet".to_owned() } else { format!("{} packets", none.turned_away) };
        parts.push(format!("{packets} of flows that came later found no room"));
    }
    let parts = parts.join(", and ");
    Some(format!(
        "left out: at most {most} flows are held (--max-flows): {parts}. They are not judged, and stream numbers may be lower than Wireshark's. \
         --max-flows with a larger number, or none, takes more memory and leaves out less"
    ))
}

/// The boxes, with the timers in force.
pub(super) fn path(out: &mut String, path: &Path, width: usize) {
    boxes(out, path, width);
    clock(out, path, width);
}

/// The boxes alone.
pub(super) fn boxes(out: &mut String, path: &Path, width: usize) {
    let names: Vec<String> = path.hops.iter().map(|h| printable(&h.label)).collect();
    paragraph(out, "path: ", &format!("client → {} → server", names.join(" → ")), width);
    for (index, hop) in path.hops.iter().enumerate() {
        paragraph(out, &format!("  {}. ", index + 1), &describe(hop), width);
        let idle = hop.not_simulated();
        if !idle.is_empty() {
            paragraph(out, "     ", &format!("given, but not simulated by replay: {}", idle.join(", ")), width);
        }
    }
}

/// The clock.
pub(super) fn clock(out: &mut String, path: &Path, width: usize) {
    let clock = match path.clock {
        Clock::Ideal => format!("ideal; the band of a real kernel is that of HZ={}", path.clock.hz().0),
        Clock::Wheel { hz, phase: None } => format!("timer wheel at HZ={}, phase unknown", hz.0),
        Clock::Wheel { hz, phase: Some(_) } => format!("timer wheel at HZ={}, phase known", hz.0),
    };
    paragraph(out, "clock: ", &clock, width);
}

pub(super) fn describe(hop: &Hop) -> String {
    let dialect = hop.dialect().unwrap_or_default();
    match &hop.device {
        Device::Router(r) => {
            let s = &r.conntrack.settings;
            let t = |state: CtState| s.tcp_timeouts[state as usize].as_secs();
            let nat = match r.nat {
                Nat::None => "",
                Nat::Masquerade => ", source NAT",
                Nat::Dnat => ", DNAT",
            };
            let rules = match r.rules {
                Rules::AcceptAll => "accept all",
                Rules::DropInvalid => "drop INVALID",
                Rules::Strict => "ESTABLISHED or SYN only",
            };
            format!(
                "conntrack, {}{nat}, {rules}; ESTABLISHED {} s, FIN_WAIT {}, CLOSE_WAIT {}, LAST_ACK {}, max_retrans {}, unacknowledged {}; loose {}",
                dialect,
                t(CtState::Established),
                t(CtState::FinWait),
                t(CtState::CloseWait),
                t(CtState::LastAck),
                s.tcp_timeout_max_retrans.as_secs(),
                s.tcp_timeout_unacknowledged.as_secs(),
                s.tcp_loose
            )
        }
        Device::Director(d) => {
            let s = &d.ipvs;
            let t = |state: VsState| s.timeouts[state as usize].as_secs();
            let defence = if s.secure_tcp { ", secure_tcp on" } else { "" };
            format!(
                "IPVS, {}, {}{defence}; Timeout (tcp tcpfin udp): {} {} {}; CLOSE_WAIT {} s; sloppy_tcp {}",
                dialect,
                s.method.name(),
                t(VsState::Established),
                t(VsState::FinWait),
                s.udp_timeout.as_secs(),
                t(VsState::CloseWait),
                u8::from(s.sloppy_tcp)
            )
        }
        Device::Idle(i) => {
            let established = i.timer(IdleClause::Established).timeout;
            let timer = if established == Duration::MAX { "no idle timer".to_owned() } else { format!("established {established}") };
            format!("idle timers of {}; {timer}", printable(&hop.label))
        }
    }
}

fn summary(out: &mut String, report: &Report<'_>, layout: Layout) {
    out.push('\n');
    let total = report.flows();
    let parts: Vec<String> = Verdict::ALL
        .into_iter()
        .zip(report.counts())
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {}", paint(verdict, verdict.name(), layout)))
        .collect();
    let head = if total == 1 { "1 flow".to_owned() } else { format!("{total} flows") };
    let _ = writeln!(out, "{head}: {}", if parts.is_empty() { "nothing to judge".to_owned() } else { parts.join(", ") });
    let blocked = report.sums.blocked;
    if blocked > 0 {
        paragraph(out, "", &format!("{blocked} packets were kept by a box for other reasons than a timer"), layout.width);
    }
    let invalid = report.sums.invalid;
    if invalid > 0 {
        paragraph(out, "", &format!("{invalid} packets would be INVALID to conntrack"), layout.width);
    }
    let copies = report.sums.copies;
    if copies > 0 {
        paragraph(out, "", &format!("{copies} packets were captured twice; the copies crossed no box"), layout.width);
    }
    let outlived = report.outlived_secs();
    if outlived > 0 {
        paragraph(out, "", &format!("entries outlive closed flows by {outlived} entry-seconds in all"), layout.width);
    }
    let closest = report.closest().map(|index| report.finding(index));
    if let Some((f, b)) = closest.as_ref().and_then(|f| Some((f, f.closest()?))) {
        let hop = printable(&report.path.hops[b.hop].label);
        let text = format!(
            "closest survivor: {} {}, idle {} of {} {} s of {hop}",
            f.proto.name(),
            f.stream,
            b.longest,
            b.cause.timer,
            decimals(b.timeout)
        );
        paragraph(out, "", &text, layout.width);
    }
}

/// The box that decided, in a word, with its place where there are several.
pub(super) fn kind_of(report: &Report<'_>, d: &Decisive) -> String {
    let hop = &report.path.hops[d.hop];
    let name = match &hop.device {
        Device::Router(_) => "conntrack",
        Device::Director(_) => "ipvs",
        Device::Idle(_) => hop.label.split(':').next().unwrap_or("idle"),
    };
    if report.path.hops.len() > 1 { format!("{}.{}", d.hop + 1, printable(name)) } else { printable(name) }
}

/// A count with its words.
pub(super) fn several(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Which way a packet goes.
pub(super) const fn way(dir: Direction) -> &'static str {
    match dir {
        Direction::Original => "client → server",
        Direction::Reply => "server → client",
    }
}

/// One flow, told.
fn story(out: &mut String, report: &Report<'_>, f: &Finding, layout: Layout) {
    let Some(d) = &f.decisive else { return };
    let _ = writeln!(out, "\n{} {}  {}", paint(f.verdict, f.verdict.name(), layout), tuple::display_filter(f), tuple::arrow(f));
    let line = |out: &mut String, text: &str| paragraph(out, "  ", text, layout.width);
    for sentence in sentences(report, f, d) {
        line(out, &sentence);
    }
    for symptom in f.symptoms.iter().flatten() {
        line(out, &symptom.text);
    }
    for (index, advice) in f.advice.iter().enumerate() {
        let place = match advice.at {
            Where::Box => "on the box",
            Where::End => "on either end",
        };
        let head = if index == 0 { "kept by: " } else { "     or: " };
        line(out, &format!("{head}{} ({place}; {})", advice.line, advice.note));
    }
    for caveat in &f.caveats {
        line(out, &format!("note: {}", caveat.text()));
    }
}

/// What forgot a flow, and what came of it, in sentences.
pub(super) fn sentences(report: &Report<'_>, f: &Finding, d: &Decisive) -> Vec<String> {
    let hop = &report.path.hops[d.hop];
    let setting = d.cause.named();
    let timer = match d.cause.why {
        Some(why) => format!("in {}, on the {} timer because {why}", d.cause.state, d.cause.timer),
        None => format!("in {}", d.cause.state),
    };
    let forgets = if d.victim.is_some() { "forgets" } else { "has forgotten" };
    let file = file_suffix(report, f.file);
    let label = printable(&hop.label);
    let mut told = vec![format!("{label} {forgets} it {} after frame {}{file}, {timer} ({setting})", span(d.timeout), d.before)];
    let way = way(d.dir);
    told.push(match d.victim {
        Some((frame, file)) => format!(
            "{} of silence ({}); then frame {} ({}, {way}) comes {} too late: {}",
            d.idle,
            evidence_name(d.evidence),
            frame_name(report, frame, file),
            d.kind.name(),
            d.excess(),
            d.fate,
        ),
        None => format!("silent for {} when the capture ends; the next packet {way} would be {}", d.idle, d.fate),
    });
    if d.late_by > Duration::ZERO {
        let verdict = if d.within_band() { "this packet lies inside that band" } else { "this packet lies beyond it" };
        told.push(format!("a real kernel's timer fires up to {} late at HZ={}: {verdict}", d.late_by, report.path.clock.hz().0));
    }
    if let Some(permille) = d.permille {
        told.push(format!("the phase of the kernel's clock decides: chance of this fate {}.{} %", permille / 10, permille % 10));
    }
    told
}

/// A frame as a person would look it up.
pub(super) fn frame_name(report: &Report<'_>, frame: u32, file: u16) -> String {
    format!("{frame}{}", file_suffix(report, file))
}

pub(super) fn file_suffix(report: &Report<'_>, file: u16) -> String {
    if report.run.names.len() < 2 {
        return String::new();
    }
    report.run.names.get(usize::from(file)).map_or(String::new(), |name| format!(" of {}", printable(name)))
}

/// A span for a table: seconds with at most three decimals.
pub(super) fn decimals(span: Duration) -> String {
    span.to_string().trim_end_matches(" s").to_owned()
}

/// A span in both notations: `7200 s (2h)`.
pub(super) fn span(d: Duration) -> String {
    if d < Duration::from_secs(60) { d.to_string() } else { format!("{d} ({})", d.human()) }
}

pub(super) fn date(at: Instant) -> String {
    i64::try_from(at.0 / 1_000_000_000)
        .ok()
        .and_then(|secs| jiff::Timestamp::from_second(secs).ok())
        .map_or_else(|| at.0.to_string(), |t| t.to_string())
}

pub(super) fn paint(verdict: Verdict, text: &str, layout: Layout) -> String {
    if !layout.colour {
        return text.to_owned();
    }
    let code = match verdict {
        Verdict::Cut | Verdict::Evicted | Verdict::Refused => "31;1",
        Verdict::Marginal | Verdict::Dormant => "33",
        Verdict::Inconclusive => "35",
        Verdict::Repaired => "36",
        Verdict::Survives => "32",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// A paragraph with a hanging indent, wrapped at spaces. A word that is longer than a line stands alone.
pub(super) fn paragraph(out: &mut String, head: &str, text: &str, width: usize) {
    let indent = head.chars().count().min(width / 3);
    out.push_str(head);
    let mut column = head.chars().count();
    let mut fresh = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !fresh && column + 1 + length > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        fresh = false;
    }
    out.push('\n');
}
