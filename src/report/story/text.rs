//! A run for people: the path, the two sides, the boxes that forgot, the verdict on what was expected.

use super::{Came, Story};
use crate::endpoint::Os;
use crate::endpoint::Profile;
use crate::endpoint::profile::GiveUp;
use crate::finding::cause::cause;
use crate::report::printable;
use crate::report::text::{describe, paragraph};
use crate::scenario::run::Tally;
use crate::simulate::app::AppPlan;
use crate::simulate::outcome::{End, Forgotten, Met, Outcome, SideOutcome};
use crate::time::{Duration, Instant};
use std::fmt::Write;

const SIDES: [&str; 2] = ["client", "server"];

/// A time of the run: seconds, and what people call it where that says more.
pub(super) fn moment(at: Instant) -> String {
    let span = Duration(at.0);
    let seconds = format!("{:.3} s", span.as_secs_f64());
    if span >= Duration::from_secs(120) { format!("{seconds} ({})", Duration::from_secs(span.as_secs()).human()) } else { seconds }
}

fn length(span: Duration) -> String {
    if span >= Duration::from_secs(120) { format!("{span} ({})", Duration::from_secs(span.as_secs()).human()) } else { span.to_string() }
}

/// Writes one run.
pub fn write(story: &Story<'_>, width: usize) -> String {
    let mut out = String::new();
    let head = match story.variant {
        None => format!("{}: {}", printable(story.origin), printable(&story.scenario.title)),
        Some(variant) => format!("{}, variant: {}", printable(story.origin), printable(variant)),
    };
    paragraph(&mut out, "", &head, width);
    path(&mut out, story, width);
    match &story.came {
        Came::One(outcome, _) => one(&mut out, story, outcome, width),
        Came::Many(tally) => many(&mut out, story, tally, width),
    }
    match &story.unmet {
        None => {}
        Some(wrong) if wrong.is_empty() => {
            let _ = writeln!(out, "expected: yes");
        }
        Some(wrong) => {
            for what in wrong {
                paragraph(&mut out, "NOT AS EXPECTED: ", what, width);
            }
        }
    }
    out
}

fn path(out: &mut String, story: &Story<'_>, width: usize) {
    let hops = &story.ready.net.path.hops;
    let names: Vec<String> = hops.iter().map(|h| printable(&h.label)).collect();
    let middle = if names.is_empty() { String::new() } else { format!("{} → ", names.join(" → ")) };
    paragraph(out, "path: ", &format!("client → {middle}server"), width);
    for (index, hop) in hops.iter().enumerate() {
        paragraph(out, &format!("  {}. ", index + 1), &describe(hop), width);
    }
    if story.ready.hosts.len() == 1 {
        for (side, host) in story.ready.hosts[0].iter().enumerate() {
            paragraph(out, &format!("  {}: ", SIDES[side]), &host_text(&host.profile, &host.app), width);
        }
    }
}

fn host_text(profile: &Profile, app: &AppPlan) -> String {
    let mut parts = vec![profile.os.name().to_owned()];
    parts.push(if profile.keepalive {
        let k = profile.keepalive_times;
        format!("keepalive {}/{}/{}", k.time.as_secs(), k.intvl.as_secs(), k.probes)
    } else {
        "no keepalive".to_owned()
    });
    if profile.user_timeout > Duration::ZERO {
        parts.push(format!("TCP_USER_TIMEOUT {}", profile.user_timeout));
    }
    match profile.give_up {
        GiveUp::Time(15) if profile.os == Os::Linux => {}
        GiveUp::Time(n) => parts.push(format!("tcp_retries2 {n}")),
        GiveUp::Count(n) => parts.push(format!("{n} retransmissions")),
    }
    if let Some(beat) = &app.heartbeat {
        parts.push(format!("heartbeat {} every {}", beat.name, beat.every));
    }
    for (name, span) in [("read timeout", app.read_timeout), ("closes when idle for", app.idle_close), ("peer dead after", app.dead_after)]
    {
        if let Some(span) = span {
            parts.push(format!("{name} {span}"));
        }
    }
    parts.join(", ")
}

fn one(out: &mut String, story: &Story<'_>, outcome: &Outcome, width: usize) {
    for (side, end) in outcome.sides.iter().enumerate() {
        paragraph(out, &format!("{}: ", SIDES[side]), &side_text(end, story), width);
    }
    if outcome.forgotten.is_empty() && !story.ready.net.path.hops.is_empty() {
        let _ = writeln!(out, "no box forgot the flow while it lived");
    }
    for entry in &outcome.forgotten {
        paragraph(out, "forgotten: ", &forgotten(entry, story), width);
        if entry.fate != Met::Evicted {
            paragraph(out, "  by the timer: ", &timer(entry, story), width);
        }
    }
    if outcome.interrupted {
        let text =
            format!("interrupted at {} of {}: what came until then", moment(outcome.last), length(Duration(story.ready.net.horizon.0)));
        paragraph(out, "", &text, width);
    }
    if outcome.stopped {
        paragraph(out, "", &format!("stopped at {}: too much happened", moment(outcome.last)), width);
    }
    let _ = writeln!(
        out,
        "{} packets sent by hosts and boxes, {} dropped by boxes, {} lost on links; {} events",
        outcome.packets, outcome.dropped, outcome.lost, outcome.events
    );
}

pub(in crate::report) fn side_text(side: &SideOutcome, story: &Story<'_>) -> String {
    let mut parts = Vec::new();
    match side.opened {
        Some(at) => parts.push(format!("opened at {}", moment(at))),
        None if side.end == End::NeverOpened => parts.push("never opened".to_owned()),
        None => {}
    }
    if let Some(last) = side.last_delivery {
        parts.push(format!("read {} bytes, the last at {}", side.delivered, moment(last)));
    }
    if let Some(at) = side.eof {
        parts.push(format!("saw the peer's close at {}", moment(at)));
    }
    let horizon = moment(story.ready.net.horizon);
    let behind = if side.unacknowledged { ", with data that nobody acknowledged" } else { "" };
    match side.end {
        End::NeverOpened => {}
        End::StillOpen(state) => {
            parts.push(format!("still believes that it is connected ({}) at the end, {horizon}{behind}", state.name()));
        }
        End::Closed(at) => parts.push(format!("closed at {}", moment(at))),
        End::Aborted(at) => parts.push(format!("aborted at {}", moment(at))),
        End::Failed(errno, at) => parts.push(format!("{} ({}) at {}", errno.name(), errno.text(), moment(at))),
        End::GaveUp(why, at) => parts.push(format!("its application gave up ({why}) at {}{behind}", moment(at))),
        End::Died(at) => parts.push(format!("its host died at {}", moment(at))),
    }
    parts.join("; ")
}

/// One entry that was lost, and what came of it, in a sentence.
pub(in crate::report) fn forgotten(entry: &Forgotten, story: &Story<'_>) -> String {
    let hop = &story.ready.net.path.hops[entry.hop];
    let head = format!("by box {} ({}) at {}: {}", entry.hop + 1, printable(&hop.label), moment(entry.at), loss(entry));
    match entry.noticed {
        None if entry.fate == Met::Evicted => format!("{head}; evicted to make room in a full table"),
        None => format!("{head}; nobody has noticed by the end"),
        Some(at) if at == entry.at && entry.fate == Met::Reset => format!("{head}; {}", noticed(entry)),
        Some(at) => format!("{head}; noticed at {} by {}", moment(at), noticed(entry)),
    }
}

/// Which timer that was, who sets it, and why it ran where it is not the state's own.
pub(in crate::report) fn timer(entry: &Forgotten, story: &Story<'_>) -> String {
    let cause = cause(&story.ready.net.path.hops[entry.hop], entry.clause, entry.state);
    let setting = cause.named();
    let why = cause.why.map_or_else(String::new, |why| format!("; because {why}"));
    format!("{}, {setting}{why}", cause.timer)
}

/// What ended an entry.
pub(super) fn loss(entry: &Forgotten) -> String {
    let late = entry.at.since(entry.refreshed + entry.timeout);
    let late = if late > Duration::ZERO { format!(" and {late} of the timer wheel's lateness") } else { String::new() };
    let last = moment(entry.refreshed);
    format!("{} for {}{late} since the last packet that counted, at {last}", entry.state, length(entry.timeout))
}

/// Who found an entry gone, and what that came to.
pub(super) fn noticed(entry: &Forgotten) -> String {
    let from = if entry.by_client { "the client" } else { "the server" };
    let what = match entry.fate {
        Met::Repicked => "the box made a new entry and passed it on".to_owned(),
        Met::Passed => "it passed without an entry, untranslated".to_owned(),
        Met::Dropped(reason) => format!("the box dropped it ({})", reason.text()),
        Met::Unreachable => "the box answered it with an ICMP error".to_owned(),
        Met::Reset if entry.noticed == Some(entry.at) => return "the box told both ends".to_owned(),
        Met::Reset | Met::Nobody | Met::Evicted => "the box's own stack reset it".to_owned(),
    };
    format!("a packet of {from}: {what}")
}

fn many(out: &mut String, story: &Story<'_>, tally: &Tally, width: usize) {
    if tally.left > 0 {
        let text = format!("interrupted: {} flows were not run to their end, and are in no number below", tally.left);
        paragraph(out, "", &text, width);
    }
    let percent = |count: u64| tally.share(count) * 100.0;
    let _ = writeln!(out, "{} flows over {}, seed {}", tally.flows, length(Duration(story.ready.net.horizon.0)), story.ready.net.seed);
    for (what, count) in
        [("failed on either side", tally.failed), ("forgotten by a box", tally.forgotten), ("never opened", tally.unopened)]
    {
        let _ = writeln!(out, "  {:>10}  {:>7.3}%  {what}", count, percent(count));
    }
    let kinds = story.scenario.population.iter().flat_map(|p| &p.mix);
    for (kind, t) in kinds.zip(&tally.kinds) {
        let share = if t.flows == 0 { 0.0 } else { t.failed as f64 / t.flows as f64 * 100.0 };
        paragraph(
            out,
            "  of ",
            &format!("{}: {} flows, {} failed ({share:.3}%), {} forgotten", printable(&kind.name), t.flows, t.failed, t.forgotten),
            width,
        );
    }
    let _ = writeln!(out, "how they ended (client, server):");
    let mut ends: Vec<_> = tally.ends.iter().collect();
    ends.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), **kind));
    let word =
        |(end, detail): (&str, &str)| if detail.is_empty() { end.replace('_', " ") } else { format!("{} {detail}", end.replace('_', " ")) };
    for ((client, server), count) in ends {
        let _ = writeln!(out, "  {count:>10}  {:>7.3}%  {}, {}", percent(*count), word(*client), word(*server));
    }
    if !tally.losses.is_empty() {
        let _ = writeln!(out, "entries lost while the flow lived (box, state, what became of the next packet):");
    }
    for ((hop, state, fate), count) in &tally.losses {
        let label = printable(&story.ready.net.path.hops[*hop].label);
        let fate = if *fate == "nobody" { "no packet came" } else { fate };
        paragraph(out, &format!("  {count:>10}  "), &format!("box {} ({label}), {state}, {fate}", hop + 1), width);
    }
    for p in &tally.pressure {
        let label = printable(&story.ready.net.path.hops[p.hop].label);
        let of = p.limit.map_or_else(String::new, |limit| format!(" of {}", limit.max));
        let how = p.done.map_or_else(
            || format!("{} new connections refused, {} entries evicted", p.refused, p.evicted),
            |done| {
                let half_open = done.half_open;
                format!("{} new connections dropped by drop_packet, {} entries by drop_entry ({half_open} half-open)", p.refused, p.evicted)
            },
        );
        let text = format!("box {} ({label}): at most {}{of} entries, {how}", p.hop + 1, p.peak);
        paragraph(out, "table of ", &text, width);
    }
    if let (Some(half), Some(most), Some(all)) =
        (tally.detection_percentile(50), tally.detection_percentile(99), tally.detection_percentile(100))
    {
        let text = format!("half within {}, 99% within {}, all within {}", length(half), length(most), length(all));
        paragraph(out, "from the loss to the first error: ", &text, width);
    }
    let [packets, dropped, lost] = tally.packets;
    let _ = writeln!(
        out,
        "{packets} packets sent by hosts and boxes, {dropped} dropped by boxes, {lost} lost on links; {} events",
        tally.events
    );
}
