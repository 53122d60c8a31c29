//! The life of one flow for people: a timeline of phases, the timers, what came after, what would have saved it.

use super::words::{amount, brief, clock, count, end, exact, frames, intervals};
use crate::engine::diary::Diary;
use crate::finding::Verdict;
use crate::finding::advice::Where;
use crate::flow::{GapEvidence, Opening, Orientation};
use crate::net::{Direction, Proto};
use crate::report::text::{Layout, file_suffix, frame_name, input, kind_of, paint, paragraph, path, way};
use crate::report::{Report, printable, tuple};
use crate::study::explain::Account;
use crate::study::explain::after::{After, Match, SideAfter, Train};
use crate::study::explain::birth::{Birth, Vantage};
use crate::study::explain::phases::{Burst, Phase, Rhythm, Stretch};
use crate::study::explain::timers::running;
use crate::time::{Duration, Instant};
use std::fmt::Write;

/// Writes the account of one flow of a report.
pub fn write(report: &Report<'_>, account: &Account, diary: &Diary, layout: Layout) -> String {
    let mut out = String::new();
    input(&mut out, report.run, layout.width);
    path(&mut out, report.path, layout.width);
    Teller { report, account, diary, layout }.tell(&mut out);
    out
}

struct Teller<'t> {
    report: &'t Report<'t>,
    account: &'t Account,
    diary: &'t Diary,
    layout: Layout,
}

impl Teller<'_> {
    fn tell(&self, out: &mut String) {
        let f = &self.account.finding;
        let by = match (&f.decisive, f.verdict) {
            (Some(d), Verdict::Cut) => format!(" by {}", kind_of(self.report, d)),
            (Some(d), Verdict::Dormant | Verdict::Repaired | Verdict::Marginal) => format!(", at {}", kind_of(self.report, d)),
            _ => String::new(),
        };
        let verdict = paint(f.verdict, f.verdict.name(), self.layout);
        let _ = writeln!(out, "\n{}  {}: {verdict}{by}\n", tuple::display_filter(f), tuple::arrow(f));
        // What is taken up again goes on: its timer's end stands where it was.
        let ended = f.decisive.as_ref().map(|d| d.refreshed + d.timeout);
        let mut told = false;
        for phase in &self.account.phases {
            if !told && ended.is_some_and(|ended| phase.stretch().span.0 > ended) {
                self.turn(out);
                told = true;
            }
            self.phase(out, phase);
        }
        if !told {
            self.turn(out);
        }
        self.timers(out);
        if let Some(after) = &self.account.after {
            self.after(out, after);
        }
        self.advice(out);
    }

    fn line(&self, out: &mut String, at: Option<Instant>, text: &str) {
        let time = at.map_or(String::new(), |at| clock(at, self.account.capture_begin));
        paragraph(out, &format!("{time:>14}  "), text, self.layout.width);
    }

    fn plain(&self, out: &mut String, head: &str, text: &str) {
        paragraph(out, head, text, self.layout.width);
    }

    /// The frames of a stretch; with several inputs also which one.
    fn frames(&self, stretch: Stretch) -> String {
        format!("{}{}", frames(stretch.frames), file_suffix(self.report, stretch.file))
    }

    fn phase(&self, out: &mut String, phase: &Phase) {
        let stretch = phase.stretch();
        let (from, to) = stretch.span;
        let text = match phase {
            Phase::Opening { opening, syns, rtt, .. } => self.opening(stretch, *opening, *syns, *rtt),
            Phase::Burst(burst) => self.burst(burst),
            Phase::Silence { evidence, .. } => {
                let deciding = self.account.finding.decisive.as_ref().is_some_and(|d| d.before == stretch.frames.0);
                let what = match evidence {
                    GapEvidence::ProvenIdle if !deciding => "proven idle",
                    GapEvidence::ProvenIdle => "proven idle: not a byte was exchanged",
                    GapEvidence::Hole => "a hole: packets are missing from the capture",
                    GapEvidence::Unknown => "nothing proves that it was one",
                    GapEvidence::Censored => "the capture ends in it",
                };
                let (before, after) = stretch.frames;
                self.line(out, Some(from), &format!("silence of {} between frames {before} and {after} ({what})", exact(to.since(from))));
                if *evidence != GapEvidence::Hole {
                    self.burning(out, from, to);
                }
                return;
            }
            Phase::Rhythm(rhythm) => self.rhythm(rhythm),
            Phase::End { dir, reset, .. } => {
                let what = if *reset { "sends a RST" } else { "closes its direction (FIN)" };
                format!("the {} {what}, {}", end(*dir), self.frames(stretch))
            }
        };
        self.line(out, Some(from), &text);
    }

    fn opening(&self, stretch: Stretch, opening: Opening, syns: u32, rtt: Option<Duration>) -> String {
        let frames = self.frames(stretch);
        let f = &self.account.finding;
        let guessed = if f.orientation == Orientation::Guessed { "; which end is the client was guessed from the ports" } else { "" };
        let again = if syns > 1 { format!(", the SYN sent {syns} times") } else { String::new() };
        match opening {
            _ if f.proto == Proto::Udp => format!("the first datagram, {frames}{guessed}"),
            Opening::Midstream => format!("the capture begins in mid-flow, {frames}{guessed}"),
            Opening::SynOnly => format!("the client asks to connect ({frames}){again}; no answer was captured"),
            Opening::Handshake if syns == 0 => format!("the server accepts ({frames}); the SYN was not captured"),
            Opening::Handshake => {
                let rtt = rtt.map_or(String::new(), |rtt| format!(", round trip {}", brief(rtt)));
                format!("the client connects ({frames}){again}{rtt}")
            }
        }
    }

    fn burst(&self, burst: &Burst) -> String {
        let [there, back] = burst.bytes;
        let total: u32 = burst.packets.iter().sum();
        let what = if self.account.finding.proto == Proto::Udp { "datagram" } else { "packet" };
        let mut text = format!("{} ({})", count(u64::from(total), what), self.frames(burst.stretch));
        let lasted = burst.stretch.span.1.since(burst.stretch.span.0);
        if total > 1 && lasted > Duration::ZERO {
            let _ = write!(text, " in {}", brief(lasted));
        }
        text.push_str(": ");
        text.push_str(&match (there, back) {
            (0, 0) if total == 1 => {
                let dir = if burst.packets[0] > 0 { Direction::Original } else { Direction::Reply };
                format!("an acknowledgement of the {}", end(dir))
            }
            (0, 0) => "acknowledgements only".to_owned(),
            (there, 0) => format!("{} to the server", amount(there)),
            (0, back) => format!("{} to the client", amount(back)),
            (there, back) => format!("{} to the server, {} back", amount(there), amount(back)),
        });
        let again: u32 = burst.again.iter().sum();
        if again > 0 {
            let _ = write!(text, "; {again} sent again");
        }
        if burst.longest >= Duration::from_secs(1) {
            let _ = write!(text, "; never silent for more than {}", brief(burst.longest));
        }
        text
    }

    fn rhythm(&self, rhythm: &Rhythm) -> String {
        let who: Vec<String> = [Direction::Original, Direction::Reply]
            .into_iter()
            .filter(|dir| rhythm.probes[dir.index()] > 0)
            .map(|dir| {
                let (probes, answered) = (rhythm.probes[dir.index()], rhythm.answered[dir.index()]);
                let answers = match (probes, answered) {
                    (1, 1..) => "answered".to_owned(),
                    (_, 0) => "not answered".to_owned(),
                    (probes, answered) if answered >= probes => "all answered".to_owned(),
                    (_, answered) => format!("{answered} answered"),
                };
                format!("{} of the {}, {answers}", count(u64::from(probes), "keepalive probe"), end(dir))
            })
            .collect();
        let what = if who.is_empty() { "an answer to a keepalive probe that was not captured".to_owned() } else { who.join("; ") };
        let every = rhythm.every.map_or(String::new(), |(min, max)| {
            if max.0 - min.0 < max.0 / 50 { format!(", every {}", brief(max)) } else { format!(", {} to {} apart", brief(min), brief(max)) }
        });
        format!("{what} ({}), after {} of silence{every}", self.frames(rhythm.stretch), brief(rhythm.first_after))
    }

    /// What the timers did in a silence.
    fn burning(&self, out: &mut String, from: Instant, to: Instant) {
        let decisive = self.account.finding.decisive.as_ref();
        for hop in 0..self.report.path.hops.len() {
            let Some(lapse) = running(self.diary, hop, from).filter(|lapse| lapse.timeout < Duration::MAX) else { continue };
            // What ran out is told at its own time.
            if decisive.is_some_and(|d| d.hop == hop && d.refreshed == lapse.refreshed) {
                continue;
            }
            let used = to.since(lapse.refreshed);
            let label = printable(&self.report.path.hops[hop].label);
            let percent = (u128::from(used.0) * 100 / u128::from(lapse.timeout.0.max(1))).min(100_000);
            let ended = if used >= lapse.timeout { ": over" } else { "" };
            let text = format!("· {label}: {percent} % of {} {} used up{ended}", lapse.state, lapse.timeout);
            self.line(out, None, &text);
        }
    }

    /// The entry's end, and the packet that came after it.
    fn turn(&self, out: &mut String) {
        let f = &self.account.finding;
        let Some(d) = &f.decisive else {
            return self.survived(out);
        };
        let label = printable(&self.report.path.hops[d.hop].label);
        let setting = d.cause.named();
        let why = d.cause.why.map_or(String::new(), |why| format!(", on the {} timer because {why}", d.cause.timer));
        let ended = d.refreshed + d.timeout;
        let file = file_suffix(self.report, f.file);
        let forgets = match f.verdict {
            Verdict::Inconclusive => "would forget it, if nothing is missing here",
            Verdict::Marginal => "may forget it",
            _ => "forgets it",
        };
        let text =
            format!("{label} {forgets}: {} ran out, {} after frame {}{file}{why} ({setting})", d.cause.state, exact(d.timeout), d.before);
        self.line(out, Some(ended), &text);
        if d.late_by > Duration::ZERO {
            let inside = if d.within_band() { "the next packet lies inside that band" } else { "the next packet lies beyond it" };
            let text = format!("· a real kernel's timer fires up to {} late at HZ={}: {inside}", d.late_by, self.report.path.clock.hz().0);
            self.line(out, None, &text);
        }
        if let Some(permille) = d.permille {
            let text = format!("· the phase of the kernel's clock decides: chance of this {}.{} %", permille / 10, permille % 10);
            self.line(out, None, &text);
        }
        let at = d.refreshed + d.idle;
        let text = if let Some((frame, file)) = d.victim {
            format!(
                "frame {} comes {} too late: {}, {}: {}",
                frame_name(self.report, frame, file),
                exact(d.excess()),
                d.kind.name(),
                way(d.dir),
                d.fate
            )
        } else {
            format!("the capture ends after {} of silence; the next packet of the {} would be {}", exact(d.idle), end(d.dir), d.fate)
        };
        self.line(out, Some(at), &text);
    }

    fn survived(&self, out: &mut String) {
        let f = &self.account.finding;
        let last = f.span.1;
        let rest = self.account.capture_end.since(last);
        if rest >= Duration::from_secs(1) {
            self.line(out, Some(last), &format!("the last packet, frame {}; the capture goes on for {}", f.frames.1, exact(rest)));
        }
        if f.outlived > Duration::ZERO {
            self.line(out, None, &format!("· its entries live on for {} after its end", exact(f.outlived)));
        }
    }

    fn timers(&self, out: &mut String) {
        if self.account.timers.is_empty() {
            return;
        }
        out.push_str("\ntimers, and the most that was used of them\n");
        let several = self.report.path.hops.len() > 1;
        let mut hardly = Vec::new();
        for timer in &self.account.timers {
            let place = if several {
                format!("{}. {}: ", timer.hop + 1, printable(&self.report.path.hops[timer.hop].label))
            } else {
                String::new()
            };
            let permille = timer.permille();
            if permille == 0 {
                hardly.push(format!("{place}{} {}", timer.cause.state, timer.timeout));
                continue;
            }
            let setting = timer.cause.named();
            let why = timer.cause.why.map_or(String::new(), |why| format!(", because {why}"));
            let probes = match timer.set_by_probes {
                0 => String::new(),
                n => format!(", {n} of them by keepalive"),
            };
            let longest = match timer.frames {
                (0, _) | (_, 0) => format!(" ({})", brief(timer.longest)),
                (before, after) => format!(" ({} between frames {before} and {after})", brief(timer.longest)),
            };
            let set = match timer.set {
                1 => "set once".to_owned(),
                n => format!("set {n} times{probes}"),
            };
            let text = format!(
                "{place}{} {} ({setting}{why}): {set}; {}.{} % used{longest}",
                timer.cause.state,
                exact(timer.timeout),
                permille / 10,
                permille % 10
            );
            self.plain(out, "  ", &text);
        }
        if !hardly.is_empty() {
            hardly.dedup();
            self.plain(out, "  ", &format!("hardly touched: {}", hardly.join(", ")));
        }
    }

    fn after(&self, out: &mut String, after: &After) {
        let f = &self.account.finding;
        let Some(d) = &f.decisive else { return };
        if f.symptoms.is_none() && after.answer.is_none() {
            return;
        }
        out.push_str("\nwhat the capture shows from then on\n");
        if let Some((frame, at)) = after.answer {
            let text = format!(
                "in the capture the packet was answered: frame {frame}, {} later. The path that it was captured on has no such timer, or takes such packets up again{}",
                brief(at.since(after.turn.1)),
                if after.packets > 1 {
                    format!("; the flow went on for {}", count(u64::from(after.packets), "packet"))
                } else {
                    String::new()
                }
            );
            self.plain(out, "  ", &text);
        } else if after.packets == 0 && after.rest < Duration::from_secs(1) {
            self.plain(out, "  ", "nothing: the capture ends with it");
        } else if let Some(text) = self.where_taken() {
            self.plain(out, "  ", &text);
        }
        if after.answer.is_none() {
            for dir in [d.dir, d.dir.opposite()] {
                self.side(out, after, dir);
            }
        } else if f.symptoms.is_some() {
            self.plain(out, "  ", "what this box would have done to both ends instead:");
            for symptom in f.symptoms.iter().flatten() {
                self.plain(out, "    ", &symptom.text);
            }
        }
        for error in after.errors.iter().take(3) {
            let text = format!(
                "ICMP {} from {} to {}, frame {}, {} after the packet",
                error.name(),
                error.from,
                error.to,
                error.frame,
                brief(error.at.since(after.turn.1))
            );
            self.plain(out, "  ", &text);
        }
        if let Some(attempt) = after.attempt {
            let text = format!(
                "the client connects anew from port {}, frame {}, {} after the packet that came too late",
                attempt.port,
                attempt.frame,
                exact(attempt.at.since(after.turn.1))
            );
            self.plain(out, "  ", &text);
        }
    }

    fn where_taken(&self) -> Option<String> {
        let ttl = |side: usize| self.account.hops[side].usual;
        let at = match self.account.vantage {
            Vantage::Client => "client",
            Vantage::Server => "server",
            Vantage::Unknown => return None,
        };
        Some(match [0, 1].map(|side| self.account.hops[side].packets > 0) {
            [true, true] => format!("the capture was taken at the {at}: the client's packets have TTL {}, the server's {}", ttl(0), ttl(1)),
            _ => format!("the capture was taken at the {at}: its packets have passed no router, and none of the other end came before"),
        })
    }

    /// What one end did, and what was predicted.
    fn side(&self, out: &mut String, after: &After, dir: Direction) {
        let side = &after.sides[dir.index()];
        let its = &after.sides[dir.opposite().index()];
        let head = format!("  {}: ", end(dir));
        let told = self.did(after, side, its, dir);
        self.plain(out, &head, &told);
        let Some(symptom) = self.account.finding.symptoms.as_ref().map(|symptoms| &symptoms[dir.index()]) else { return };
        let text = symptom.text.split_once(": ").map_or(symptom.text.as_str(), |(_, rest)| rest);
        self.plain(out, "    predicted: ", text);
        let Some(found) = after.matches.map(|matches| matches[dir.index()]) else { return };
        let verdict = match found {
            Match::Yes => "matches".to_owned(),
            Match::SoFar => format!("matches so far: the capture ends {} after the packet", brief(after.rest)),
            Match::Sooner => {
                "matches, but it gave up sooner: another tcp_retries2 or keepalive, TCP_USER_TIMEOUT, or a program that did not wait"
                    .to_owned()
            }
            Match::No => "does not match".to_owned(),
            Match::Unseen if self.account.vantage.is_far_from(dir) => {
                "cannot be seen in this capture: it was taken at the other end".to_owned()
            }
            Match::Unseen => "cannot be seen in this capture: it ends too early".to_owned(),
        };
        self.plain(out, "    ", &verdict);
    }

    fn did(&self, after: &After, side: &SideAfter, its: &SideAfter, dir: Direction) -> String {
        let mut parts = Vec::new();
        let since = |at: Instant| brief(at.since(after.turn.1));
        let train = |train: &Train, what: &str| {
            let (Some((first, _)), Some((last, at))) = (train.first, train.last) else { return String::new() };
            match train.count {
                1 => format!("{what} once, after {} (frame {first})", since(at)),
                n => format!(
                    "{what} {n} times, after {} (frames {first}–{last}), the last {} after the packet",
                    intervals(&train.gaps, n),
                    since(at)
                ),
            }
        };
        if let Some(reset) = after.got[dir.index()] {
            let more = if its.resets_count > 1 { format!(", and {} more", its.resets_count - 1) } else { String::new() };
            parts.push(format!(
                "got a RST {} after the packet (frame {}{more}), in the name of the {}: {}",
                since(reset.at),
                reset.frame,
                end(dir.opposite()),
                self.born(reset.ttl, reset.birth, dir.opposite())
            ));
        }
        if side.again.count > 0 {
            parts.push(train(&side.again, "sent its bytes again"));
        }
        if side.probes.count > 0 {
            parts.push(train(&side.probes, "sent keepalive probes"));
        }
        if side.fresh.count > 0 {
            parts.push(train(&side.fresh, "sent something new"));
        }
        if side.others.count > 0 && after.answer.is_none() {
            parts.push(train(&side.others, "sent an acknowledgement"));
        }
        if let Some((frame, at)) = side.fin {
            parts.push(format!("sent a FIN after {} (frame {frame})", since(at)));
        }
        if let Some(reset) = side.resets.iter().find(|reset| matches!(reset.birth, Birth::Alike | Birth::OtherStack)) {
            let more = if side.resets_count > 1 { format!(", and {} more", side.resets_count - 1) } else { String::new() };
            parts.push(format!("sent a RST after {} (frame {}{more})", since(reset.at), reset.frame));
        }
        match side.last {
            None => parts.push("sent nothing more".to_owned()),
            Some((frame, at)) => {
                let left = after.rest.saturating_sub(at.since(after.turn.1));
                if left >= Duration::from_secs(1) {
                    parts.push(format!("nothing more of it after frame {frame}, for {} until the capture ends", exact(left)));
                }
            }
        }
        parts.join("; ")
    }

    /// Who a RST can be of.
    fn born(&self, ttl: u8, birth: Birth, of: Direction) -> String {
        let usual = self.account.hops[of.index()].usual;
        let who = end(of);
        match birth {
            Birth::Alike => format!("TTL {ttl} like the {who}'s other packets"),
            Birth::Otherwise => format!("TTL {ttl} where the {who}'s packets have {usual}, so a box on the way made it"),
            Birth::OtherStack => format!("TTL {ttl} where the {who}'s packets have {usual}: from as far away, by another stack"),
            Birth::Unknown => format!("TTL {ttl}, with nothing of the {who} to compare it with"),
        }
    }

    fn advice(&self, out: &mut String) {
        let f = &self.account.finding;
        if !f.advice.is_empty() || !f.caveats.is_empty() || self.account.left_out > 0 || f.verdict == Verdict::Survives {
            out.push('\n');
        }
        for (index, advice) in f.advice.iter().enumerate() {
            let place = match advice.at {
                Where::Box => "on the box",
                Where::End => "on either end",
            };
            let head = if index == 0 { "kept by: " } else { "     or: " };
            self.plain(out, head, &format!("{} ({place}; {})", advice.line, advice.note));
        }
        if let (Verdict::Survives, Some(closest)) = (f.verdict, f.closest()) {
            let hop = printable(&self.report.path.hops[closest.hop].label);
            let text = format!(
                "survives: it came closest to the end of {} {} at {hop}, silent for {} ({} left, between frames {} and {})",
                closest.cause.timer,
                exact(closest.timeout),
                exact(closest.longest),
                exact(closest.timeout.saturating_sub(closest.longest)),
                closest.frames.0,
                closest.frames.1
            );
            self.plain(out, "", &text);
        }
        for caveat in &f.caveats {
            self.plain(out, "note: ", caveat.text());
        }
        if self.account.left_out > 0 {
            self.plain(out, "note: ", &format!("{} packets are not told one by one: there are too many", self.account.left_out));
        }
    }
}
