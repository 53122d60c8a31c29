//! A run as a timeline: what was sent, dropped, forgotten and felt, one line each, repetitions in one line.

use super::text::{loss, moment, noticed};
use super::{Came, Story};
use crate::model::{Side, What};
use crate::net::{Segment, Seq};
use crate::report::printable;
use crate::simulate::Fault;
use crate::simulate::trace::{Seen, Told};
use crate::time::{Duration, Instant};
use std::fmt::Write;

/// A line before it is written: what is the same in the next one makes them one.
struct Line {
    at: Instant,
    last: Instant,
    more: u32,
    who: String,
    what: String,
}

/// Writes the timeline; nothing for a population.
pub fn write(story: &Story<'_>) -> String {
    let Came::One(_, recorder) = &story.came else {
        return "a population has no timeline: run one flow of it as a scenario\n".to_owned();
    };
    let mut bases = [Seq(0); 2];
    let mut lines: Vec<Line> = Vec::new();
    for (at, seen) in &recorder.seen {
        let (who, what) = match seen {
            Seen::Sent(side, _, seg) => {
                let index = usize::from(*side == Side::Server);
                if seg.flags.has(crate::net::TcpFlags::SYN) {
                    bases[index] = seg.seq;
                }
                (side.name().to_owned(), segment(*side, seg, bases))
            }
            Seen::Told(side, told) => (side.name().to_owned(), format!("* {}", told_text(*told))),
            Seen::Box(hop, from, out) => {
                let mut text = Vec::new();
                for sent in out.sent.iter().flatten() {
                    match sent.what {
                        What::Reset { .. } => text.push(format!("resets the {}", sent.to.name())),
                        What::Unreachable => text.push(format!("sends an ICMP error to the {}", sent.to.name())),
                        What::Packet if out.created => text.push("makes a new entry and passes it on".to_owned()),
                        What::Packet => {}
                    }
                }
                if let Some(reason) = out.dropped {
                    text.push(format!("drops it ({})", reason.text()));
                }
                if let Some(why) = out.invalid {
                    text.push(format!("INVALID: {}", why.text()));
                }
                if text.is_empty() {
                    continue;
                }
                (format!("box {}", hop + 1), format!("! a packet of the {}: {}", from.name(), text.join("; ")))
            }
            Seen::Forgot(entry) => {
                // The loss itself has a line of its own, at its own time.
                if entry.noticed.is_none() {
                    continue;
                }
                (format!("box {}", entry.hop + 1), format!("! finds no entry: {}", noticed(entry)))
            }
            Seen::Lost(link, seg) => (format!("link {}", link + 1), format!("! lost [{}]", seg.flags)),
            Seen::Fault(fault) => ("path".to_owned(), format!("! {}", fault_text(*fault))),
        };
        match lines.last_mut() {
            Some(last) if last.who == who && last.what == what => {
                last.more += 1;
                last.last = *at;
            }
            _ => {
                // Two lines that take turns, as a probe and its answer, are told once more at most.
                let count = lines.len();
                let repeats = count >= 2 && lines[count - 2].who == who && lines[count - 2].what == what;
                let pair = repeats && count >= 4 && {
                    let (a, b) = (&lines[count - 3], &lines[count - 1]);
                    (a.who.as_str(), a.what.as_str()) == (b.who.as_str(), b.what.as_str())
                        && lines[count - 4].who == who
                        && lines[count - 4].what == what
                };
                if pair {
                    let gone = lines.pop();
                    if let (Some(gone), Some(before)) = (gone, lines.get_mut(count - 3)) {
                        before.more += 1 + gone.more;
                        before.last = gone.last;
                    }
                    let gone = lines.pop();
                    if let (Some(gone), Some(before)) = (gone, lines.get_mut(count - 4)) {
                        before.more += 1 + gone.more;
                        before.last = gone.last;
                    }
                }
                lines.push(Line { at: *at, last: *at, more: 0, who, what });
            }
        }
    }
    let losses = recorder.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Forgot(entry) => Some(entry),
        _ => None,
    });
    for entry in losses {
        let line = Line {
            at: entry.at,
            last: entry.at,
            more: 0,
            who: format!("box {}", entry.hop + 1),
            what: format!("! forgets the flow: {}", loss(entry)),
        };
        let place = lines.partition_point(|before| before.at < entry.at);
        lines.insert(place, line);
    }
    let mut out = String::new();
    for line in lines {
        let seconds = Duration(line.at.0).as_secs_f64();
        let _ = write!(out, "{seconds:>14.6}  {:<7} {}", line.who, printable(&line.what));
        if line.more > 0 {
            let _ = write!(out, "  ({} times more, the last at {})", line.more, moment(line.last));
        }
        out.push('\n');
    }
    if recorder.left_out > 0 {
        let _ = writeln!(out, "… and {} more", recorder.left_out);
    }
    out
}

/// A segment as tcpdump would tell it, with numbers relative to each side's first.
fn segment(side: Side, seg: &Segment, bases: [Seq; 2]) -> String {
    let own = usize::from(side == Side::Server);
    let arrow = if own == 0 { "→" } else { "←" };
    let mut text = format!("{arrow} [{}] seq {}", seg.flags, seg.seq.distance(bases[own]));
    if seg.flags.has(crate::net::TcpFlags::ACK) {
        let _ = write!(text, " ack {}", seg.ack.distance(bases[1 - own]));
    }
    if seg.len > 0 {
        let _ = write!(text, " len {}", seg.len);
    }
    if seg.window == 0 && !seg.flags.has(crate::net::TcpFlags::RST) {
        text.push_str(" win 0");
    }
    text
}

fn told_text(told: Told) -> String {
    match told {
        Told::Dialled => "dials".to_owned(),
        Told::Opened => "the connection is open".to_owned(),
        Told::Sent(len) => format!("writes {len} bytes"),
        Told::Received(len) => format!("reads {len} bytes"),
        Told::Closed => "closes".to_owned(),
        Told::Eof => "sees the peer's close".to_owned(),
        Told::Aborted => "aborts".to_owned(),
        Told::Failed(errno) => format!("{}: {}", errno.name(), errno.text()),
        Told::GaveUp(why) => format!("gives up: {why}"),
    }
}

/// What happened to the path.
pub(super) fn fault_text(fault: Fault) -> String {
    match fault {
        Fault::LinkDown(link) => format!("link {} goes down", link + 1),
        Fault::LinkUp(link) => format!("link {} comes back", link + 1),
        Fault::Forget(hop) => format!("box {} loses its state", hop + 1),
        Fault::FailOver(hop) => format!("the backup of box {} takes over", hop + 1),
        Fault::Dest(hop, state) => format!("box {}: the real server is {state:?} now", hop + 1),
        Fault::ServerDies => "the server's host dies".to_owned(),
        Fault::ServerReboots => "the server's host comes back without its connections".to_owned(),
        Fault::ClientDies => "the client's host dies".to_owned(),
    }
}
