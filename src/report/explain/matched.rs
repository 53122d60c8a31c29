//! Two captures of one path for people: which flow is which, and where packets were lost or born.

use super::words::{amount, brief, clock, count, end, exact, frames as frames_of};
use crate::net::{Direction, Proto, Sock, TcpFlags};
use crate::report::printable;
use crate::report::text::{Layout, input, paragraph};
use crate::study::explain::birth::Birth;
use crate::study::pairing::bracket::Bracket;
use crate::study::pairing::compare::{Comparison, Complaint, Event, Origin, Passage, Tagged};
use crate::study::pairing::{Basis, Matching, Offset, Point, Study};
use crate::time::Duration;
use std::fmt::Write;

/// What two captures were found to have in common.
#[derive(Debug)]
pub struct Matched<'m> {
    /// The captures, in the order in which they were named.
    pub points: [&'m Point; 2],
    /// Which flow is which.
    pub matching: &'m Matching,
    /// The pairs that were compared, those with the most to tell first.
    pub studies: &'m [Study],
    /// Whether one flow was asked for.
    pub single: bool,
}

impl Matched<'_> {
    /// The captures from the client on, as a study found them to stand.
    const fn in_order(study: &Study) -> [usize; 2] {
        if study.comparison.swapped { [1, 0] } else { [0, 1] }
    }

    pub(super) fn name(&self, capture: usize) -> String {
        let name = self.points[capture].names.first().map_or("", String::as_str);
        let last = std::path::Path::new(name).file_name().map_or_else(|| name.to_owned(), |last| last.to_string_lossy().into_owned());
        // Two files of the same name in different folders are told by their folders.
        let other = self.points[1 - capture].names.first().map_or("", String::as_str);
        let alike = std::path::Path::new(other).file_name().is_some_and(|other| other.to_string_lossy() == last);
        printable(if alike { name } else { &last })
    }

    /// A point as a person would call it.
    const fn side(point: usize) -> &'static str {
        if point == 0 { "client side" } else { "server side" }
    }

    /// The ends of a flow of a pair, as the first capture has the directions.
    pub(super) fn socks(&self, study: &Study, capture: usize, of: usize) -> [Sock; 2] {
        let pair = &study.pair;
        let (place, flipped) = match of.checked_sub(1) {
            None => (pair.flows[capture], capture == 1 && pair.flipped),
            Some(part) => pair
                .parts
                .iter()
                .filter(|part| part.point == capture)
                .nth(part)
                .map_or((pair.flows[capture], false), |part| (part.flow, part.flipped)),
        };
        let [a, b] = self.points[capture].socks(&self.points[capture].flows[place].flow);
        if flipped { [b, a] } else { [a, b] }
    }

    pub(super) fn stream(&self, capture: usize, place: usize) -> String {
        let flow = &self.points[capture].flows[place].flow;
        format!("{} {}", flow.proto().name(), flow.stream)
    }

    fn proto(&self, study: &Study) -> Proto {
        self.points[0].flows[study.pair.flows[0]].flow.proto()
    }

    /// What was translated between the points, in words.
    pub(super) fn translation(&self, study: &Study) -> Vec<String> {
        let [near, far] = Matched::in_order(study);
        let (one, other) = (self.socks(study, near, 0), self.socks(study, far, 0));
        let comparison = &study.comparison;
        let mut parts = Vec::new();
        for (side, (word, who)) in [("source", "client"), ("destination", "server")].into_iter().enumerate() {
            let (a, b) = (one[side], other[side]);
            if a.addr != b.addr {
                let kind = if side == 0 { "SNAT" } else { "DNAT" };
                parts.push(format!("{kind}: the {who} {a} is {b} on the server side"));
            } else if a.port != b.port {
                parts.push(format!("the {word} port {} is {} on the server side", a.port, b.port));
            }
        }
        let answered = comparison.events.iter().any(|event| event.dir == Direction::Reply && event.passage != Passage::Born);
        if parts.is_empty() {
            parts.push(match study.stations_differ {
                Some(true) => "addresses and ports pass unchanged, only the MAC addresses differ".to_owned(),
                _ => "addresses and ports pass unchanged".to_owned(),
            });
            if !answered {
                parts.push(
                    "not an answer was captured on either side: they take another way (direct routing, or routing that is not symmetric)"
                        .to_owned(),
                );
            }
        }
        if comparison.proxied {
            parts.push("the connection ends between the points and another one carries its bytes on: a proxy".to_owned());
        } else if self.proto(study) == Proto::Tcp {
            match comparison.shift {
                [Some(0), Some(0)] => parts.push("sequence numbers are kept".to_owned()),
                shift => {
                    let by = shift.map(|by| by.map_or("unknown".to_owned(), |by| format!("+{by}")));
                    parts.push(format!("sequence numbers are shifted by {} (client) and {} (server), modulo 2³²", by[0], by[1]));
                }
            }
        }
        match comparison.ids_kept {
            Some(true) => parts.push("IP IDs are kept".to_owned()),
            Some(false) => parts.push("IP IDs are changed".to_owned()),
            None => {}
        }
        parts
    }
}

/// Writes it.
pub fn write(matched: &Matched<'_>, layout: Layout) -> String {
    let mut out = String::new();
    for (index, point) in matched.points.iter().enumerate() {
        let _ = write!(out, "{}. ", index + 1);
        input(&mut out, point, layout.width.saturating_sub(3));
    }
    let teller = Teller { matched, layout };
    teller.clocks(&mut out);
    teller.summary(&mut out);
    if !matched.single {
        teller.table(&mut out);
    }
    let one = matched.single || matched.studies.len() == 1;
    let told = matched.studies.iter().filter(|study| one || study.weight().1).take(layout.stories.max(usize::from(matched.single)));
    for study in told {
        teller.story(&mut out, study);
    }
    out
}

/// How the clocks stand, by the packets of all pairs, and whether the second capture is the nearer one to the client.
pub(super) fn clocks(studies: &[Study]) -> Option<(Offset, bool)> {
    let swapped = studies.first()?.comparison.swapped;
    let mine = studies.iter().filter(|study| study.comparison.swapped == swapped && !study.comparison.proxied);
    let seen = mine.flat_map(|study| &study.comparison.events).filter_map(|event| {
        let [near, far] = event.at_point;
        Some((event.dir, near?.seen.seg.at, far?.seen.seg.at))
    });
    Offset::of(seen).map(|offset| (offset, swapped))
}

struct Teller<'t> {
    matched: &'t Matched<'t>,
    layout: Layout,
}

fn nanos(value: i128) -> String {
    brief(Duration(value.unsigned_abs().min(u128::from(u64::MAX)) as u64))
}

impl Teller<'_> {
    fn line(&self, out: &mut String, head: &str, text: &str) {
        paragraph(out, head, text, self.layout.width);
    }

    fn clocks(&self, out: &mut String) {
        let Some((offset, swapped)) = clocks(self.matched.studies) else { return };
        let [near, far] = if swapped { [1, 0] } else { [0, 1] };
        let ahead = match offset.nanos {
            -999..=999 => "stand alike".to_owned(),
            later if later > 0 => format!("{} is {} ahead of {}", self.matched.name(far), nanos(later), self.matched.name(near)),
            earlier => format!("{} is {} behind {}", self.matched.name(far), nanos(earlier), self.matched.name(near)),
        };
        let packets = count(u64::from(offset.packets), "packet");
        let sure = match (offset.within, offset.drifts) {
            (Some(within), false) => format!("within {} (from {packets} in both directions)", nanos(within)),
            (Some(within), true) => format!("but not steadily: the packets of both directions contradict each other by {}", nanos(within)),
            (None, _) => "or less by the time on the way: only packets of one direction were seen at both points".to_owned(),
        };
        self.line(out, "clocks: ", &format!("{ahead}, {sure}"));
    }

    fn summary(&self, out: &mut String) {
        let Matched { matching, points, studies, .. } = self.matched;
        let by = |basis: Basis| matching.pairs.iter().filter(|pair| pair.basis == basis).count();
        let parts: Vec<String> =
            [(Basis::Numbers, "by sequence numbers"), (Basis::Content, "by content"), (Basis::Ends, "by addresses and ports alone")]
                .into_iter()
                .filter(|(basis, _)| by(*basis) > 0)
                .map(|(basis, words)| format!("{} {words}", by(basis)))
                .collect();
        let total = [points[0].flows.len(), points[1].flows.len()];
        let how = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        let text = format!(
            "{} of {} and {} make {}{how}",
            count(total[0] as u64, "flow"),
            self.matched.name(0),
            total[1],
            count(matching.pairs.len() as u64, "pair")
        );
        out.push('\n');
        self.line(out, "", &text.replacen(&format!("and {}", total[1]), &format!("and {} of {}", total[1], self.matched.name(1)), 1));
        for doubt in &matching.ambiguous {
            let names = |capture: usize, places: &[usize]| {
                let mut words: Vec<String> = places.iter().take(6).map(|place| self.matched.stream(capture, *place)).collect();
                if places.len() > 6 {
                    words.push(format!("{} more", places.len() - 6));
                }
                words.join(", ")
            };
            let text = format!(
                "{} of {} may be any of {} of {}: they carry the same, and neither ends nor times tell them apart",
                names(0, &doubt.ours),
                self.matched.name(0),
                names(1, &doubt.theirs),
                self.matched.name(1)
            );
            self.line(out, "ambiguous: ", &text);
        }
        for capture in 0..2 {
            let alone = &matching.alone[capture];
            if !alone.is_empty() && !self.matched.single {
                let names: Vec<String> = alone.iter().take(5).map(|place| self.matched.stream(capture, *place)).collect();
                let more = if alone.len() > 5 { format!(" and {} more", alone.len() - 5) } else { String::new() };
                self.line(out, "", &format!("only in {}: {}{more}", self.matched.name(capture), names.join(", ")));
            }
        }
        let left = matching.pairs.len().saturating_sub(studies.len());
        if left > 0 && !self.matched.single {
            self.line(
                out,
                "",
                &format!("{} not compared packet by packet: too many packets (--flow compares one)", count(left as u64, "pair")),
            );
        }
    }

    fn table(&self, out: &mut String) {
        if self.matched.studies.is_empty() || self.layout.flows == 0 {
            return;
        }
        out.push('\n');
        let mut rows = vec![["IN 1", "IN 2", "BY", "BOTH", "ONLY 1", "ONLY 2", "CLIENT → SERVER ⇄ CLIENT → SERVER"].map(str::to_owned)];
        for study in self.matched.studies.iter().take(self.layout.flows) {
            let [both, near, far] = study.comparison.counts();
            let only = if study.comparison.swapped { [far, near] } else { [near, far] };
            let arrow = |capture: usize| {
                let [client, server] = self.matched.socks(study, capture, 0);
                format!("{client} → {server}")
            };
            let more = if study.pair.parts.is_empty() { "" } else { " (and leaked)" };
            let (one, other) = (arrow(0), arrow(1));
            let same = if one == other { format!("{one} ⇄ the same{more}") } else { format!("{one} ⇄ {other}{more}") };
            let [ours, theirs] = study.pair.flows;
            rows.push([
                self.matched.stream(0, ours),
                self.matched.stream(1, theirs),
                study.pair.basis.name().to_owned(),
                both.to_string(),
                only[0].to_string(),
                only[1].to_string(),
                same,
            ]);
        }
        let widths: Vec<usize> =
            (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
        // Where both ends' tuples do not fit beside each other, one stands below the other.
        let indent = widths.iter().map(|width| width + 2).sum::<usize>();
        for row in &rows {
            let wide = row.last().filter(|cell| indent + cell.chars().count() > self.layout.width);
            let (first, second) = wide.and_then(|cell| cell.split_once(" ⇄ ")).unzip();
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let cell = first.filter(|_| column + 1 == row.len()).unwrap_or(cell);
                let pad = widths.get(column).map_or(0, |width| width - cell.chars().count());
                let blanks = " ".repeat(pad);
                // Counts stand at the right.
                line.push_str(&if (3..6).contains(&column) { format!("{blanks}{cell}") } else { format!("{cell}{blanks}") });
                line.push_str("  ");
            }
            let _ = writeln!(out, "{}", line.trim_end());
            if let Some(second) = second {
                let _ = writeln!(out, "{}⇄ {second}", " ".repeat(indent.saturating_sub(2)));
            }
        }
        let more = self.matched.studies.len().saturating_sub(self.layout.flows);
        if more > 0 {
            let _ = writeln!(out, "… and {more} more (--limit N, --json)");
        }
    }

    fn story(&self, out: &mut String, study: &Study) {
        let [near, far] = Matched::in_order(study);
        let tuple = |capture: usize| {
            let [client, server] = self.matched.socks(study, capture, 0);
            format!("{client} → {server}")
        };
        let filter = |capture: usize| {
            let flow = &self.matched.points[capture].flows[study.pair.flows[capture]].flow;
            format!("{}.stream eq {}", flow.proto().name(), flow.stream)
        };
        let _ = writeln!(out);
        self.line(out, "", &format!("{} {} ⇄ {} {}", filter(near), tuple(near), filter(far), tuple(far)));
        let comparison = &study.comparison;
        let [both, only_near, only_far] = comparison.counts();
        let known = if comparison.ordered {
            "by times to live"
        } else {
            "taken to stand in the order in which they were named: times to live do not say"
        };
        let sides = format!("client side: {}; server side: {} ({known})", self.matched.name(near), self.matched.name(far));
        self.line(out, "  ", &sides);
        self.line(out, "  ", &self.matched.translation(study).join("; "));
        let counts = format!(
            "{} on both sides, {only_near} on the client side only, {only_far} on the server side only",
            count(u64::from(both), "packet")
        );
        self.line(out, "  ", &counts);
        out.push('\n');
        self.events(out, study);
        for complaint in &comparison.complaints {
            self.complaint(out, study, complaint);
        }
        if let Some(bracket) = &study.bracket {
            out.push('\n');
            self.bracket(out, study, bracket);
        }
        if study.left_out > 0 {
            self.line(out, "  note: ", &format!("{} packets were not compared: there are too many", study.left_out));
        }
    }

    /// What is told of: everything that did not simply pass, and how the connection ended.
    fn events(&self, out: &mut String, study: &Study) {
        const MOST: usize = 40;
        let events = &study.comparison.events;
        let told =
            |event: &Event| !matches!(event.passage, Passage::Crossed) || event.recut || event.flags().any(TcpFlags::RST | TcpFlags::FIN);
        let mut runs: Vec<&[Event]> = Vec::new();
        for run in events.chunk_by(alike) {
            if run.first().is_some_and(told) {
                runs.push(run);
            }
        }
        for run in runs.iter().take(MOST) {
            self.run(out, study, run);
        }
        if runs.len() > MOST {
            self.line(out, "  ", &format!("… and {} more", runs.len() - MOST));
        }
    }

    /// Frames of events at one of the points.
    fn frames(run: &[Event], point: usize) -> Option<String> {
        let frames: Vec<u32> = run.iter().filter_map(|event| event.at_point[point].map(|p| p.seen.seg.frame)).collect();
        Some(format!("{} {}", Matched::side(point), frames_of((*frames.first()?, *frames.last()?))))
    }

    fn run(&self, out: &mut String, study: &Study, run: &[Event]) {
        let Some(event) = run.first() else { return };
        let Some((point, packet)) = event.packet() else { return };
        let begin = self.matched.points[Matched::in_order(study)[0]].begin;
        let places: Vec<String> = [0, 1].into_iter().filter_map(|point| Teller::frames(run, point)).collect();
        let who = end(event.dir);
        let bytes = match packet.seen.seg.len {
            0 => String::new(),
            len => format!(", {}", amount(u64::from(len))),
        };
        let of = if event.passage == Passage::Born { "in the name of the" } else { "of the" };
        let what = match run.len() {
            1 => format!("{} {of} {who}{bytes}", sort(&packet)),
            n => format!("{n} packets {of} {who}, the first: {}{bytes}", sort(&packet)),
        };
        let other = Matched::side(1 - point);
        let ends = event.flags().any(TcpFlags::RST | TcpFlags::FIN);
        let birth = if ends { format!("; {}", Teller::birth(study, event)) } else { String::new() };
        let text = match event.passage {
            Passage::Crossed if event.recut => format!("{what}: its bytes are cut up otherwise on the {other}"),
            Passage::Crossed => format!("{what}: seen on both sides{birth}"),
            Passage::Leaked => format!("{what}: not translated as before: {}{birth}", self.leaked(study, event)),
            Passage::Kept => format!("{what}: reached the box but never the {other}: kept{birth}"),
            Passage::Lost => format!("{what}: never on the {other}, but what came later was: lost in between"),
            Passage::Born => format!("{what}: {}", Teller::birth(study, event)),
            Passage::Missed if point == event.dir.index() => {
                format!("{what}: not on the {other}, but its bytes were acknowledged: that capture missed it")
            }
            Passage::Missed => format!("{what}: not on the {other}, though it came as all its packets do: that capture missed it"),
            Passage::Before => format!("{what}: from before the capture of the {other} begins"),
            Passage::After => format!("{what}: from after the last packet of the {other}, whose capture may have ended by then"),
        };
        let head = format!("{:>14}  ", clock(event.at, begin));
        self.line(out, &head, &format!("{}: {text}", places.join(", ")));
    }

    /// The addresses of a packet beside those that its connection has there.
    fn leaked(&self, study: &Study, event: &Event) -> String {
        let captures = Matched::in_order(study);
        let arrow = |point: usize, of: usize| {
            let [client, server] = self.matched.socks(study, captures[point], of);
            if event.dir == Direction::Original { format!("{client} → {server}") } else { format!("{server} → {client}") }
        };
        let odd = [0, 1].into_iter().filter_map(|point| {
            let of = event.at_point[point].map(|packet| packet.of).filter(|of| *of > 0)?;
            Some(format!("{} on the {}, where its connection has {}", arrow(point, of), Matched::side(point), arrow(point, 0)))
        });
        odd.collect::<Vec<_>>().join("; ")
    }

    /// Who sent a packet, and how that is known.
    fn birth(study: &Study, event: &Event) -> String {
        let comparison = &study.comparison;
        let Some((point, packet)) = event.packet() else { return String::new() };
        let who = end(event.dir);
        let ttl = ttl(comparison, point, event.dir, &packet);
        match comparison.origin(event) {
            Origin::Between => {
                let why = [format!("never on the {}", Matched::side(1 - point)), ttl];
                let sure = if comparison.hops(point, event.dir).judge(packet.seen.seg.ttl) == Birth::Alike {
                    "born between the two, or missing in the other capture"
                } else {
                    "born of the box"
                };
                format!("{sure} ({})", why.join(", "))
            }
            Origin::Beyond => format!("not made by the {who} ({ttl})"),
            Origin::Client | Origin::Server => format!("born at the {who} ({ttl})"),
        }
    }

    fn complaint(&self, out: &mut String, study: &Study, complaint: &Complaint) {
        let captures = Matched::in_order(study);
        let Some((point, error)) = [0, 1].into_iter().find_map(|point| complaint.at_point[point].map(|error| (point, error))) else {
            return;
        };
        let frame = |point: usize| complaint.at_point[point].map(|e| format!("{} frame {}", Matched::side(point), e.frame));
        let place = [frame(0), frame(1)].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let born = match complaint.at_point {
            [Some(_), Some(_)] => "seen on both sides: sent from beyond".to_owned(),
            _ => format!("never on the {}: born of the box, or on this side", Matched::side(1 - point)),
        };
        let head = format!("{:>14}  ", clock(error.at, self.matched.points[captures[point]].begin));
        self.line(out, &head, &format!("{place}: ICMP {} from {} to {}; {born}", error.name(), error.from, error.to));
    }

    fn bracket(&self, out: &mut String, study: &Study, bracket: &Bracket) {
        let events = &study.comparison.events;
        let frame = |event: &Event| event.at_point[bracket.point].map_or(0, |p| p.seen.seg.frame);
        let side = Matched::side(bracket.point);
        let (last, event) = (&events[bracket.last], &events[bracket.event]);
        let did = match event.passage {
            Passage::Leaked => "the next packet left untranslated",
            Passage::Born => "the box spoke by itself",
            _ => "the next packet was kept",
        };
        let state = if bracket.closing { " after a FIN" } else { "" };
        let text = format!(
            "{} of silence{state} on the {side} between frames {} and {}, and {did}: the box had forgotten the flow",
            exact(bracket.gap),
            frame(last),
            frame(event)
        );
        self.line(out, "  ", &text);
        let longer = match bracket.crossed {
            Some((crossed, at)) if bracket.contradicts() => {
                let text = format!(
                    "but a longer silence, {}, ended with a packet that passed (frame {}): an idle timer alone does not explain both, unless the box took the flow up again then",
                    exact(crossed),
                    frame(&events[at])
                );
                self.line(out, "  ", &text);
                return;
            }
            Some((crossed, _)) if crossed > Duration::from_millis(1) => {
                format!(
                    " and longer than {}, the longest silence that was crossed before (unless the box took the flow up again then)",
                    exact(crossed)
                )
            }
            _ => String::new(),
        };
        let bound = if bracket.told { "about" } else { "at most" };
        self.line(out, "  ", &format!("so its timer is {bound} {}{longer}", exact(bracket.gap)));
        let candidates = bracket.candidates();
        if candidates.is_empty() {
            self.line(out, "  ", "no preset has such a timer: a box whose timers were set");
            return;
        }
        let mut by: Vec<(Duration, Vec<&str>)> = Vec::new();
        for (id, _, timeout) in &candidates {
            match by.last_mut().filter(|(known, _)| known == timeout) {
                Some((_, ids)) if !ids.contains(id) => ids.push(id),
                Some(_) => {}
                None => by.push((*timeout, vec![id])),
            }
        }
        let words = by.iter().take(4).map(|(timeout, ids)| {
            let more = if ids.len() > 4 { format!(" and {} more", ids.len() - 4) } else { String::new() };
            format!("{timeout}: {}{more}", ids.iter().take(4).copied().collect::<Vec<_>>().join(", "))
        });
        let words: Vec<String> = words.collect();
        let shorter = if by.len() > 4 { format!("; and {}", count(by.len() as u64 - 4, "shorter timer")) } else { String::new() };
        self.line(out, "  ", &format!("presets with such a timer: {}{shorter}", words.join("; ")));
    }
}

fn ttl(comparison: &Comparison, point: usize, dir: Direction, packet: &Tagged) -> String {
    let hops = comparison.hops(point, dir);
    let (ttl, usual, who) = (packet.seen.seg.ttl, hops.usual, end(dir));
    match hops.judge(ttl) {
        Birth::Alike => format!("TTL {ttl}, like the {who}'s other packets"),
        Birth::Otherwise | Birth::OtherStack => format!("TTL {ttl} where the {who}'s packets have {usual}"),
        Birth::Unknown => format!("TTL {ttl}, with nothing to compare it with"),
    }
}

/// Whether two events are told together.
fn alike(one: &Event, other: &Event) -> bool {
    let end = |event: &Event| event.flags().0 & (TcpFlags::RST | TcpFlags::FIN | TcpFlags::SYN);
    (one.passage, one.dir, one.seen() as u8, one.recut, end(one)) == (other.passage, other.dir, other.seen() as u8, other.recut, end(other))
        && (one.passage != Passage::Crossed || one.recut)
}

/// What a packet is, in a word.
fn sort(packet: &Tagged) -> &'static str {
    use crate::flow::Shape;
    let (seg, shape) = (&packet.seen.seg, packet.seen.shape);
    match shape {
        Shape::Datagram => "datagram",
        _ if seg.flags.has(TcpFlags::RST) => "RST",
        _ if seg.flags.has(TcpFlags::SYN) => "SYN",
        _ if seg.flags.has(TcpFlags::FIN) => "FIN",
        Shape::KeepaliveProbe => "keepalive probe",
        Shape::Retransmission => "retransmission",
        _ if seg.len > 0 => "data packet",
        _ => "ACK",
    }
}
