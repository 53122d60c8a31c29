//! For people.

use super::{Report, agree, met, met_long, met_short, told_best};
use crate::net::{Direction, Proto};
use crate::report::printable;
use crate::report::study::Rows;
use crate::report::text::{decimals, input, paragraph, several, span, way};
use crate::study::infer::boxes::{self, Fit, Misfit};
use crate::study::infer::evidence::{Kind, State};
use crate::study::infer::pool::{Bound, Bracket, Keepalives, Pool, Undetermined, Witness};
use crate::time::Duration;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A state with a head of its own.
const fn head(state: State) -> &'static str {
    match state {
        State::Established => "ESTABLISHED, idle: ",
        State::Outstanding => "ESTABLISHED, with something unacknowledged: ",
        State::ClientClosed => "half-closed by the client: ",
        State::ServerClosed => "half-closed by the server: ",
    }
}

/// A state in the table of flows.
const fn short(state: State) -> &'static str {
    match state {
        State::Established => "open",
        State::Outstanding => "unacked",
        State::ClientClosed => "client FIN",
        State::ServerClosed => "server FIN",
    }
}

/// Seconds to the millisecond; an upper end is rounded up, so that what is printed never says more than what is known.
fn low(value: Duration) -> String {
    seconds(value.0 / 1_000_000)
}

fn high(value: Duration) -> String {
    seconds(value.0.div_ceil(1_000_000))
}

fn seconds(millis: u64) -> String {
    Duration::from_millis(millis).to_string()
}

impl Report<'_> {
    fn witness(&self, at: usize) -> &Witness {
        &self.inference.witnesses[at]
    }

    /// A flow by the index that Wireshark gives it, with its input where there are several.
    fn stream(&self, at: usize) -> String {
        let witness = self.witness(at);
        let stream = format!("{}.stream {}", witness.proto.name(), witness.stream);
        if self.inputs.len() < 2 { stream } else { format!("{stream} of {}", self.input(at)) }
    }

    fn input(&self, at: usize) -> String {
        let witness = self.witness(at);
        let names = self.inputs.get(usize::from(witness.file)).map(|run| &run.names);
        let file = witness.told.cut.map(|cut| cut.silence.file).or_else(|| witness.told.survivals.first().map(|s| s.silence.file));
        printable(names.and_then(|names| names.get(usize::from(file.unwrap_or(0)))).map_or("?", String::as_str))
    }

    fn bound(&self, bound: &Bound) -> String {
        format!("{}, frame {} after frame {}", self.stream(bound.witness), bound.frames.1, bound.frames.0)
    }

    /// The whole report.
    pub fn text(&self, width: usize, limit: usize) -> String {
        let mut out = String::new();
        for run in self.inputs {
            input(&mut out, run, width);
        }
        let tcp = self.inference.witnesses.iter().filter(|w| w.proto == Proto::Tcp).count();
        let cut = self.inference.witnesses.iter().filter(|w| w.told.cut.is_some()).count();
        let flows = several(tcp, "TCP flow", "TCP flows");
        let _ = writeln!(out, "\n{flows}; in {cut} a packet after a silence did not come through");
        for pool in &self.inference.pools {
            if self.inference.pools.len() > 1 {
                let servers: Vec<String> = pool.servers.iter().map(ToString::to_string).collect();
                paragraph(&mut out, "\nto ", &servers.join(", "), width);
            }
            self.pool(&mut out, pool, width);
        }
        self.aside(&mut out, width);
        self.datagrams(&mut out, width);
        if limit > 0 {
            self.flows(&mut out, limit);
        }
        out
    }

    fn pool(&self, out: &mut String, pool: &Pool, width: usize) {
        if pool.brackets.is_empty() {
            out.push('\n');
            let text = "undetermined: no flow was silent for a second or more and then spoke, or nobody knows whether it was heard";
            paragraph(out, "", text, width);
        }
        for bracket in &pool.brackets {
            out.push('\n');
            self.bracket(out, pool, bracket, width);
        }
        if pool.brackets.iter().any(|b| !b.cut.is_empty()) {
            out.push('\n');
            self.behaviour(out, pool, width);
            self.fits(out, pool, width);
        }
    }

    fn bracket(&self, out: &mut String, pool: &Pool, bracket: &Bracket, width: usize) {
        let state = head(bracket.state);
        match (bracket.undetermined, bracket.low, bracket.high) {
            (Some(why), ..) => self.undetermined(out, bracket, why, width),
            (None, Some(low_end), Some(high_end)) => {
                // Entries of one box that live differently long have timers that are late.
                if low_end.value < high_end.value {
                    let text = format!("between {} and {}", low(low_end.value), high(high_end.value));
                    paragraph(out, state, &text, width);
                    setting(out, bracket, high_end, width);
                } else {
                    let (a, b) = (low(bracket.low_late), high(high_end.value));
                    let text = format!("between {a} and {b}, a timer that fires late: entries lived up to {}", low(low_end.value));
                    paragraph(out, state, &text, width);
                }
            }
            (None, None, Some(high_end)) => {
                let text = format!("at most {}; nothing shows how long an entry lives at least", high(high_end.value));
                paragraph(out, state, &text, width);
            }
            _ => {}
        }
        if bracket.undetermined.is_none() {
            let (cut, kept, agree) = (bracket.cut.len(), bracket.kept.len(), agree(pool, bracket, &self.inference.witnesses));
            let against = bracket.against.len();
            let verb = several(agree, "flow agrees", "flows agree");
            let text = format!("{verb}, {against} contradict; {cut} cut, {kept} lived through a quarter of that or more");
            paragraph(out, "  ", &text, width);
            if let Some(bound) = &bracket.high {
                paragraph(out, "  shortest cut:  ", &self.bound(bound), width);
                let cut = self.witness(bound.witness).told.cut;
                if let Some(cut) = cut {
                    let text =
                        format!("{}, {}: {}", cut.kind.name(), way(cut.dir), met_long(cut.reaction, cut.kind, cut.attempts, cut.ttls));
                    paragraph(out, "                 ", &text, width);
                }
            }
            match &bracket.low {
                Some(bound) => paragraph(out, "  longest life:  ", &self.bound(bound), width),
                None => self.without_low(out, bracket, width),
            }
        }
        if bracket.state == State::Outstanding {
            let text = "conntrack: the shorter of established and unacknowledged, or of established and max_retrans";
            paragraph(out, "  ", text, width);
        }
    }

    fn without_low(&self, out: &mut String, bracket: &Bracket, width: usize) {
        if let Some(survived) = &bracket.survived {
            let text = format!(
                "flows lived through silences of up to {} ({}), but nothing shows that their packets would have been refused without an entry",
                low(survived.value),
                self.bound(survived)
            );
            paragraph(out, "  ", &text, width);
        }
    }

    fn undetermined(&self, out: &mut String, bracket: &Bracket, why: Undetermined, width: usize) {
        let survived = bracket.survived.map_or_else(String::new, |bound| {
            format!(
                " Silences of up to {} were lived through ({}): a box that refuses what it does not know would have had a longer timer; one \
                 that picks it up, any.",
                low(bound.value),
                self.bound(&bound)
            )
        });
        let text = match why {
            Undetermined::NothingCut => format!("undetermined: no packet came too late.{survived}"),
            Undetermined::NoBeginning => {
                format!("undetermined: packets came too late, but it is not known when the box had last heard what counts.{survived}")
            }
            Undetermined::Contradiction => {
                let name = |at: &usize| self.stream(*at);
                let short: Vec<String> = bracket.against.iter().take(5).map(name).collect();
                let (low_end, high_end) =
                    (bracket.low.map_or(Duration::ZERO, |b| b.value), bracket.high.map_or(Duration::ZERO, |b| b.value));
                format!(
                    "undetermined: the flows contradict each other. {} cut after {} or sooner ({}), but {} lived through {}. Two boxes, two \
                     timers, or ends that failed by themselves",
                    bracket.against.len(),
                    high(high_end),
                    short.join(", "),
                    bracket.low.map_or_else(String::new, |b| self.bound(&b)),
                    low(low_end)
                )
            }
        };
        paragraph(out, head(bracket.state), &text, width);
    }

    fn behaviour(&self, out: &mut String, pool: &Pool, width: usize) {
        let met: Vec<String> = pool.reactions.iter().map(|(reaction, count)| format!("{} ({count})", met(*reaction))).collect();
        paragraph(out, "late packets met: ", &met.join(", "), width);
        let keepalives = match pool.keepalives {
            Keepalives::Count { witness, span } => {
                format!("count: {} lived for {} on nothing else", self.stream(witness), decimals_of(span))
            }
            Keepalives::Ignored { witness, span } => {
                format!("do not count: {} was cut {} after an answered one", self.stream(witness), decimals_of(span))
            }
            Keepalives::Unknown => "whether they count is not to be seen here".to_owned(),
        };
        paragraph(out, "keepalives: ", &keepalives, width);
        let refuses = |dir| [Kind::Data, Kind::Fin].map(|kind| pool.refused.contains(&(dir, kind)));
        let word = |dir: Direction| match refuses(dir) {
            [true, _] => format!("{}: refused", way(dir)),
            [false, true] => format!("{}: a FIN is refused, of data nothing is known", way(dir)),
            _ => format!("{}: not to be seen", way(dir)),
        };
        let text = [Direction::Original, Direction::Reply].map(word).join("; ");
        paragraph(out, "packets without an entry, ", &text, width);
    }

    fn fits(&self, out: &mut String, pool: &Pool, width: usize) {
        let fits = boxes::compare(pool);
        if fits.is_empty() {
            return;
        }
        let name = |fit: &Fit| {
            let timer = if fit.timeout == Duration::MAX { "never".to_owned() } else { decimals(fit.timeout) };
            format!("{} {timer}", fit.preset.id)
        };
        let list = |keep: &dyn Fn(&Fit) -> bool| fits.iter().filter(|fit| keep(fit)).map(name).collect::<Vec<_>>().join(", ");
        let good = list(&|fit| fit.misfit.is_none() && !fit.otherwise);
        paragraph(out, "compatible: ", if good.is_empty() { "none of the boxes that are known" } else { &good }, width);
        let otherwise = list(&|fit| fit.misfit.is_none() && fit.otherwise);
        if !otherwise.is_empty() {
            paragraph(out, "compatible in time, but known to answer otherwise: ", &otherwise, width);
        }
        let mut misfits: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for fit in &fits {
            let why = match fit.misfit {
                None => continue,
                Some(Misfit::TooLong(bound)) => format!("too long (cut after {}: {})", high(bound.value), self.bound(&bound)),
                Some(Misfit::TooShort(bound)) => format!("too short (lived {}: {})", low(bound.value), self.bound(&bound)),
                Some(Misfit::KeepalivesCounted) => "keepalives count here, and not there".to_owned(),
            };
            misfits.entry(why).or_default().push(name(fit));
        }
        for (why, names) in misfits {
            paragraph(out, "not compatible, ", &format!("{why}: {}", names.join(", ")), width);
        }
    }

    fn aside(&self, out: &mut String, width: usize) {
        let sum = |of: fn(&Witness) -> u32| self.inference.witnesses.iter().map(|w| u64::from(of(w))).sum::<u64>();
        let holes = sum(|w| w.told.holes);
        let resets = sum(|w| w.told.own_resets);
        let fins = sum(|w| w.told.own_fins);
        let twice: usize = self.inference.pools.iter().map(|pool| pool.twice).sum();
        let mut left = Vec::new();
        let mut tell = |count: u64, one: &str, many: &str| {
            if count > 0 {
                left.push(format!("{count} {}", if count == 1 { one } else { many }));
            }
        };
        tell(holes, "silence that is a hole in the capture", "silences that are holes in the capture");
        tell(resets, "reset that an end sent itself, as far as can be told", "resets that an end sent itself, as far as can be told");
        tell(fins, "FIN after a silence, an application's own doing", "FINs after a silence, an application's own doing");
        let aside = u64::try_from(self.inference.aside).unwrap_or(u64::MAX);
        tell(aside, "flow that failed while the path or its peer was down", "flows that failed while the path or their peer was down");
        tell(u64::try_from(twice).unwrap_or(u64::MAX), "flow that was captured at two places", "flows that were captured at two places");
        if !left.is_empty() {
            paragraph(out, "\nproves nothing: ", &left.join("; "), width);
        }
    }

    fn datagrams(&self, out: &mut String, width: usize) {
        let udp: Vec<&Witness> = self.inference.witnesses.iter().filter(|w| w.proto == Proto::Udp).collect();
        if udp.is_empty() {
            return;
        }
        let longest = udp.iter().filter_map(|w| Some((w.told.datagrams?, w.stream))).max_by_key(|((idle, ..), _)| *idle);
        let text = longest.map_or_else(
            || "no datagram after a silence was answered".to_owned(),
            |((idle, before, late), stream)| {
                format!(
                    "the longest silence after which both sides spoke is {} (udp.stream {stream}, frames {before} and {late})",
                    span(idle)
                )
            },
        );
        paragraph(out, "\nUDP proves nothing: ", &text, width);
    }

    fn flows(&self, out: &mut String, limit: usize) {
        let mut rows =
            Rows::new(&["WHAT", "STREAM", "IDLE", "STATE", "PACKET", "FRAME", "CLIENT → SERVER"].map(str::to_owned), &[0, 1, 3, 4, 6]);
        let mut lines = Vec::new();
        for pool in &self.inference.pools {
            let own = |w: &Witness| w.proto == Proto::Tcp && pool.servers.contains(&w.socks[1].addr);
            for (at, witness) in self.inference.witnesses.iter().enumerate().filter(|(_, w)| own(w)) {
                let (what, silence, state, kind, rank) = match (&witness.told.cut, told_best(pool, witness)) {
                    (Some(cut), _) => (met_short(cut.reaction), cut.silence, cut.state, cut.kind, 0),
                    (None, Some((s, true))) => ("lived", s.silence, s.state, s.kind, 1),
                    (None, Some((s, false))) => ("passed", s.silence, s.state, s.kind, 2),
                    (None, None) => continue,
                };
                let [client, server] = witness.socks;
                lines.push((
                    (rank, std::cmp::Reverse(silence.idle), at),
                    vec![
                        what.to_owned(),
                        format!("{} {}", witness.proto.name(), witness.stream),
                        decimals(Duration::from_millis(silence.idle.0 / 1_000_000)),
                        short(state).to_owned(),
                        if kind == Kind::Probe { "probe" } else { kind.name() }.to_owned(),
                        silence.late.to_string(),
                        format!("{client} → {server}"),
                    ],
                ));
            }
        }
        lines.sort_by_key(|(rank, _)| *rank);
        lines.dedup_by_key(|(rank, _)| rank.2);
        if lines.is_empty() {
            return;
        }
        let more = lines.len().saturating_sub(limit);
        out.push('\n');
        for (_, line) in lines.into_iter().take(limit) {
            rows.add(line);
        }
        rows.write(out);
        if more > 0 {
            let _ = writeln!(out, "… and {more} more (--limit)");
        }
    }
}

fn decimals_of(span: Duration) -> String {
    seconds(span.0 / 1_000_000)
}

fn setting(out: &mut String, bracket: &Bracket, high_end: Bound, width: usize) {
    let text = format!(
        "setting: that, where timers are exact (conntrack since 4.9); {} to {} where they fire late (IPVS)",
        low(bracket.low_late),
        high(high_end.value)
    );
    paragraph(out, "  ", &text, width);
}
