//! Recommended timers as text and JSON (`flowlapse-tune/1`): what each must bear, what was tried, and lines to paste.

use super::{Rows, bytes, mean, memory, short_name};
use crate::engine::Path;
use crate::engine::pipeline::Followed;
use crate::finding::paste::{self, Block, Setting};
use crate::finding::{Verdict, evidence_name};
use crate::report::text::several;
use crate::report::{json as whole, printable, text};
use crate::study::ledger::Occupancy;
use crate::study::needs::Knob;
use crate::study::tune::{Keepalive, Reason, Timer, Trial, Tried, Tuned};
use crate::time::Duration;
use serde_json::{Value, json};
use std::fmt::Write;

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-tune/1";

/// What a report of recommendations is written from.
#[derive(Debug)]
pub struct Report<'r> {
    /// What was found.
    pub tuned: &'r Tuned,
    /// The path as it is, and with the recommended timers.
    pub paths: [&'r Path; 2],
    /// What was read.
    pub run: &'r Followed,
}

/// What one second less does.
enum Less {
    /// It cuts so many more flows, the first of which is this one.
    Cuts(u64),
    /// It ends entries that are made anew without a loss.
    Repairs(u64),
    /// It changes no verdict that can be seen.
    Nothing,
    /// It was not tried: the value is not a smallest one.
    Untried,
}

impl Report<'_> {
    fn hop_name(&self, hop: usize) -> String {
        let label = printable(&self.paths[0].hops[hop].label);
        if self.paths[0].hops.len() > 1 { format!("{}. {label}", hop + 1) } else { label }
    }

    fn stream(&self, flow: usize) -> String {
        self.run.flows.get(flow).map_or_else(String::new, |judged| format!("{} {}", judged.flow.proto().name(), judged.flow.stream))
    }

    fn less(&self, knob: Knob) -> Less {
        let (Some(less), Some(full)) = (self.tuned.of(Trial::OneLess(knob)), self.tuned.of(Trial::Recommended)) else {
            return Less::Untried;
        };
        let more = |verdict| less.tally.count(verdict).saturating_sub(full.tally.count(verdict));
        match (more(Verdict::Cut), more(Verdict::Repaired), more(Verdict::Marginal)) {
            (0, 0, 0) => Less::Nothing,
            (0, repairs, doubts) => Less::Repairs(repairs + doubts),
            (cuts, _, _) => Less::Cuts(cuts),
        }
    }

    fn remark(&self, timer: &Timer) -> String {
        let less = match self.less(timer.knob) {
            Less::Cuts(1) => "1 s less cuts one flow".to_owned(),
            Less::Cuts(more) => format!("1 s less cuts {more} flows"),
            Less::Repairs(more) => format!("1 s less cuts nothing: {more} would be picked up again"),
            Less::Nothing => "1 s less changes nothing: another timer runs first, or the flow was over".to_owned(),
            Less::Untried => String::new(),
        };
        let why = match timer.reason {
            Reason::Smallest => "",
            Reason::Raised => "too short now",
            Reason::Kept => "kept: it waits for TCP, not for people",
            Reason::Unused => "kept: nothing ran under it",
        };
        [why, &less].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("; ")
    }

    /// For people.
    pub fn text(&self, width: usize) -> String {
        let mut out = String::new();
        text::input(&mut out, self.run, width);
        text::path(&mut out, self.paths[0], width);
        let tuned = self.tuned;
        let flows = self.run.flows.len();
        let _ = writeln!(out, "\n{}", if flows == 1 { "1 flow".to_owned() } else { format!("{flows} flows") });
        self.verdicts(&mut out, width);
        self.silence(&mut out, width);
        self.timers(&mut out);
        self.keepalive(&mut out, width);
        self.curve(&mut out, width);
        self.paste(&mut out, width);
        if tuned.plan.timers.iter().all(|timer| timer.value == timer.current) && tuned.keepalives[0].is_none() {
            text::paragraph(&mut out, "", "nothing is to be changed", width);
        }
        out
    }

    /// What each trial came to.
    fn verdicts(&self, out: &mut String, width: usize) {
        let tuned = self.tuned;
        let names = [
            (Trial::Current, "as it is"),
            (Trial::Recommended, "recommended timers"),
            (Trial::CurrentKeepalive, "as it is, with keepalive"),
            (Trial::RecommendedKeepalive, "recommended timers, with keepalive"),
        ];
        let mut head = vec!["REPLAYED".to_owned(), "CUT".to_owned(), "REPAIRED".to_owned(), "DORMANT".to_owned()];
        for index in 0..self.paths[0].hops.len() {
            let several = self.paths[0].hops.len() > 1;
            let prefix = if several { format!("{}.", index + 1) } else { String::new() };
            head.extend([format!("{prefix}MEAN"), format!("{prefix}PEAK"), format!("{prefix}MEMORY")]);
        }
        let mut rows = Rows::new(&head, &[0]);
        for (trial, name) in names {
            let side = match trial {
                Trial::CurrentKeepalive => tuned.keepalives[0].map(|k| k.budget.idle),
                Trial::RecommendedKeepalive => tuned.keepalives[1].map(|k| k.budget.idle),
                _ => Some(0),
            };
            let (Some(idle), Some(tried)) = (side, tuned.of(trial)) else { continue };
            let name = if idle > 0 { format!("{name} {idle} s") } else { name.to_owned() };
            let mut row = vec![name];
            row.extend([Verdict::Cut, Verdict::Repaired, Verdict::Dormant].map(|verdict| tried.tally.count(verdict).to_string()));
            row.extend(tables(&tried.tables, self.paths[0]));
            rows.add(row);
        }
        rows.write(out);
        let plan = &tuned.plan;
        if !plan.given_up.is_empty() {
            let streams: Vec<String> = plan.given_up.iter().take(5).map(|flow| self.stream(*flow)).collect();
            let more = if plan.given_up.len() > 5 { ", …" } else { "" };
            let count = several(plan.given_up.len(), "flow is", "flows are");
            let cut = tuned.of(Trial::Recommended).map_or(0, |tried| tried.tally.count(Verdict::Cut));
            let words = format!("{count} given up, of which {cut} cut, as was allowed: {}{more}", streams.join(", "));
            text::paragraph(out, "", &words, width);
        }
        if !plan.hopeless.is_empty() {
            let streams: Vec<String> = plan.hopeless.iter().take(5).map(|flow| self.stream(*flow)).collect();
            let more = if plan.hopeless.len() > 5 { ", …" } else { "" };
            let words = format!(
                "{} flows outlast timers that nothing sets; no setting here saves them: {}{more}",
                plan.hopeless.len(),
                streams.join(", ")
            );
            text::paragraph(out, "", &words, width);
        }
    }

    /// A capture that ends in silence says too little: nobody knows when its flows would have spoken again.
    fn silence(&self, out: &mut String, width: usize) {
        if let Some((dormant, longest)) = self.silent() {
            let words = format!(
                "beware: {} when the capture ends and would have lost an entry under the recommended timers (the longest silence at \
                 the end is {}); what comes after the end no timer was fitted to",
                several(dormant as usize, "flow is silent", "flows are silent"),
                text::span(longest)
            );
            text::paragraph(out, "", &words, width);
        }
    }

    /// How many flows are silent at the end for longer than the recommended timers, and the longest silence of an open flow.
    fn silent(&self) -> Option<(u64, Duration)> {
        let dormant = self.tuned.of(Trial::Recommended)?.tally.count(Verdict::Dormant);
        let longest = self.run.flows.iter().filter_map(|judged| judged.flow.last_silence(self.run.end)).map(|gap| gap.length).max()?;
        (dormant > 0).then_some((dormant, longest))
    }

    fn timers(&self, out: &mut String) {
        out.push('\n');
        let head = ["BOX", "TIMER", "NOW", "SET", "BEARS", "EVIDENCE", "STREAM", "FRAME", "REMARK"].map(str::to_owned);
        let mut rows = Rows::new(&head, &[0, 1, 5, 6, 8]);
        for timer in self.tuned.plan.timers.iter().filter(|timer| timer.reason != Reason::Unused) {
            let dash = || "-".to_owned();
            let (bears, evidence, stream, frame) = match timer.need {
                Some(spell) => {
                    (text::decimals(spell.idle), evidence_name(spell.evidence).to_owned(), self.stream(spell.flow), spell.frame.to_string())
                }
                None => (dash(), dash(), dash(), dash()),
            };
            let set = if timer.value == timer.current { "-".to_owned() } else { text::decimals(timer.value) };
            rows.add(vec![
                short_name(self.paths[0], timer.knob.hop),
                timer.knob.setting.to_owned(),
                text::decimals(timer.current),
                set,
                bears,
                evidence,
                stream,
                frame,
                self.remark(timer),
            ]);
        }
        rows.write(out);
    }

    fn keepalive(&self, out: &mut String, width: usize) {
        let tuned = self.tuned;
        let asked = &tuned.asked;
        for (side, what) in ["with the timers as they are", "with the recommended timers"].into_iter().enumerate() {
            let Some(Keepalive { hop, budget }) = tuned.keepalives[side] else { continue };
            if side == 1 && tuned.keepalives[0] == tuned.keepalives[1] {
                continue;
            }
            if side == 0 {
                out.push('\n');
            }
            let day = 86_400 / (budget.idle.max(1)) * 2;
            let words = format!(
                "{what}: TCP_KEEPIDLE {} s or less, against {} of {}: {}; {day} packets a day for each idle connection",
                budget.idle,
                text::span(budget.margin.timeout),
                self.hop_name(hop),
                budget.explain()
            );
            text::paragraph(out, "keepalive, ", &words, width);
        }
        let (Some(before), Some(after)) = (tuned.of(Trial::Current), tuned.of(Trial::CurrentKeepalive)) else { return };
        if let (Some(_), cut @ 1..) = (tuned.keepalives[0], before.tally.count(Verdict::Cut)) {
            let left = after.tally.count(Verdict::Cut);
            let words = format!(
                "replayed with the client's probes: {cut} cut without, {left} with{}",
                if left > 0 { " (half-closed connections, datagrams and what a probe cannot restart)" } else { "" }
            );
            text::paragraph(out, "", &words, width);
        }
        let lost = if asked.lost == 1 { "one lost probe".to_owned() } else { format!("{} lost probes", asked.lost) };
        let round_trip = text::decimals(tuned.round_trip);
        let words = format!(
            "the sum allows for {lost} (--lost) {} s apart (--interval) and the longest round trip of the flows, {round_trip} s",
            asked.interval
        );
        text::paragraph(out, "", &words, width);
    }

    /// Cuts against memory.
    fn curve(&self, out: &mut String, width: usize) {
        let points = self.tuned.pareto();
        if points.len() < 2 {
            return;
        }
        let Some(Tried { tables: first, .. }) = points.first() else { return };
        out.push('\n');
        text::paragraph(out, "", "cuts against memory: what no other choice of these timers beats", width);
        let knobs: Vec<Knob> = self.varying(&points);
        let mut head = vec!["CUT".to_owned()];
        for index in 0..first.len() {
            let prefix = if first.len() > 1 { format!("{}.", index + 1) } else { String::new() };
            head.extend([format!("{prefix}MEAN"), format!("{prefix}PEAK"), format!("{prefix}MEMORY")]);
        }
        head.extend(
            knobs.iter().map(|knob| if first.len() > 1 { format!("{}.{}", knob.hop + 1, knob.setting) } else { knob.setting.to_owned() }),
        );
        let mut rows = Rows::new(&head, &[]);
        for tried in points {
            let mut row = vec![tried.tally.count(Verdict::Cut).to_string()];
            row.extend(tables(&tried.tables, self.paths[0]));
            row.extend(knobs.iter().map(|knob| self.value(tried, *knob)));
            rows.add(row);
        }
        rows.write(out);
    }

    /// The timers in which the points differ.
    fn varying(&self, points: &[&Tried]) -> Vec<Knob> {
        let all = self.tuned.plan.timers.iter().map(|timer| timer.knob);
        all.filter(|knob| points.iter().any(|point| self.value(point, *knob) != self.value(points[0], *knob))).collect()
    }

    fn value(&self, tried: &Tried, knob: Knob) -> String {
        match tried.trial {
            Trial::Point(index) => self
                .tuned
                .plan
                .points
                .get(index)
                .and_then(|point| point.value(knob))
                .map_or_else(|| "-".to_owned(), |secs| secs.to_string()),
            _ => "-".to_owned(),
        }
    }

    fn blocks(&self) -> Vec<(String, Vec<Block>)> {
        let mut blocks = Vec::new();
        for (index, hop) in self.paths[1].hops.iter().enumerate() {
            let changes = self.tuned.plan.changes().filter(|timer| timer.knob.hop == index);
            let settings: Vec<Setting> =
                changes.map(|timer| Setting { name: timer.knob.setting.to_owned(), value: timer.value.as_secs() }).collect();
            if !settings.is_empty() {
                blocks.push((format!("on the box {}", self.hop_name(index)), paste::box_blocks(hop, &settings, None)));
            }
        }
        if let Some(Keepalive { budget, .. }) = self.tuned.keepalives[0] {
            let asked = &self.tuned.asked;
            let keepalive = paste::Keepalive { idle: budget.idle, interval: asked.interval, probes: u64::from(asked.lost) + 4 };
            blocks.push(("or on the hosts, with the timers as they are".to_owned(), paste::host_blocks(keepalive)));
        }
        blocks
    }

    fn paste(&self, out: &mut String, width: usize) {
        for (place, blocks) in self.blocks() {
            let _ = writeln!(out, "\n{place}");
            for block in blocks {
                text::paragraph(out, "  ", &format!("{}:", block.title), width);
                for line in &block.lines {
                    let _ = writeln!(out, "    {line}");
                }
                if !block.note.is_empty() {
                    // Each line is a comment of its own: it may be pasted with the rest.
                    let mut note = String::new();
                    text::paragraph(&mut note, "", &block.note, width.saturating_sub(6).max(20));
                    for line in note.lines() {
                        let _ = writeln!(out, "    # {line}");
                    }
                }
            }
        }
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let tuned = self.tuned;
        let mut map = whole::heading(SCHEMA, self.run, self.paths[0]);
        map.insert(
            "asked".to_owned(),
            json!({"share": tuned.asked.share, "lower_all": tuned.asked.lower_all, "lost": tuned.asked.lost, "interval_s": tuned.asked.interval}),
        );
        let timers: Vec<Value> = tuned.plan.timers.iter().map(|timer| self.timer(timer)).collect();
        map.insert("timers".to_owned(), json!(timers));
        let keepalives = tuned.keepalives.map(|found| {
            found.map(|Keepalive { hop, budget }| {
                json!({
                    "idle_s": budget.idle,
                    "box": hop + 1,
                    "timeout_ns": budget.margin.timeout.0,
                    "round_trip_ns": budget.margin.round_trip.0,
                    "latest_ns": budget.latest().0,
                    "sum": budget.explain(),
                })
            })
        });
        map.insert("keepalive".to_owned(), json!({"as_it_is": keepalives[0], "recommended": keepalives[1]}));
        let silent = self.silent().map(|(flows, longest)| json!({"flows": flows, "longest_ns": longest.0}));
        map.insert("silent_at_the_end".to_owned(), json!(silent));
        map.insert("given_up".to_owned(), self.streams(&tuned.plan.given_up));
        map.insert("beyond_settings".to_owned(), self.streams(&tuned.plan.hopeless));
        let pareto: Vec<usize> = tuned
            .pareto()
            .iter()
            .filter_map(|tried| match tried.trial {
                Trial::Point(index) => Some(index),
                _ => None,
            })
            .collect();
        let tried: Vec<Value> = tuned.tried.iter().map(|tried| self.tried(tried, &pareto)).collect();
        map.insert("tried".to_owned(), json!(tried));
        let blocks: Vec<Value> = self
            .blocks()
            .into_iter()
            .flat_map(|(place, blocks)| {
                blocks.into_iter().map(move |block| json!({"where": place, "title": block.title, "lines": block.lines, "note": block.note}))
            })
            .collect();
        map.insert("paste".to_owned(), json!(blocks));
        Value::Object(map)
    }

    fn streams(&self, flows: &[usize]) -> Value {
        flows.iter().map(|flow| json!(self.stream(*flow))).collect()
    }

    fn timer(&self, timer: &Timer) -> Value {
        let (less, more) = match self.less(timer.knob) {
            Less::Cuts(more) => ("cuts", more),
            Less::Repairs(more) => ("repairs", more),
            Less::Nothing => ("nothing", 0),
            Less::Untried => ("untried", 0),
        };
        let reason = match timer.reason {
            Reason::Smallest => "smallest",
            Reason::Raised => "raised",
            Reason::Kept => "kept",
            Reason::Unused => "unused",
        };
        json!({
            "box": timer.knob.hop + 1,
            "setting": timer.knob.setting,
            "current_ns": if timer.current == Duration::MAX { Value::Null } else { json!(timer.current.0) },
            "value_s": if timer.value == Duration::MAX { Value::Null } else { json!(timer.value.as_secs()) },
            "reason": reason,
            "longest_ns": timer.need.map(|spell| spell.idle.0),
            "evidence": timer.need.map(|spell| evidence_name(spell.evidence)),
            "stream": timer.need.map(|spell| self.stream(spell.flow)),
            "frame": timer.need.map(|spell| spell.frame),
            "one_second_less": less,
            "one_second_less_flows": more,
        })
    }

    fn tried(&self, tried: &Tried, pareto: &[usize]) -> Value {
        let (what, point) = match tried.trial {
            Trial::Current => ("as_it_is", None),
            Trial::Recommended => ("recommended", None),
            Trial::OneLess(_) => ("one_second_less", None),
            Trial::CurrentKeepalive => ("as_it_is_with_keepalive", None),
            Trial::RecommendedKeepalive => ("recommended_with_keepalive", None),
            Trial::Point(index) => ("point", Some(index)),
        };
        let knob = if let Trial::OneLess(knob) = tried.trial { Some(json!({"box": knob.hop + 1, "setting": knob.setting})) } else { None };
        let values: Option<Vec<Value>> = point.and_then(|index| self.tuned.plan.points.get(index)).map(|point| {
            let set = point.timers.iter().filter_map(|timer| Some((timer.knob, point.value(timer.knob)?)));
            set.map(|(knob, secs)| json!({"box": knob.hop + 1, "setting": knob.setting, "value_s": secs})).collect()
        });
        let verdicts: serde_json::Map<String, Value> =
            Verdict::ALL.into_iter().map(|verdict| (verdict.name().to_owned(), json!(tried.tally.count(verdict)))).collect();
        let tables: Vec<Value> = tried
            .tables
            .iter()
            .zip(&self.paths[0].hops)
            .map(|(table, hop)| json!({"entries_mean": table.mean(), "entries_peak": table.peak, "memory_peak_bytes": memory(hop, table.peak)}))
            .collect();
        json!({
            "policy": what,
            "timer": knob,
            "values": values,
            "pareto": point.map(|index| pareto.contains(&index)),
            "verdicts": verdicts,
            "tables": tables,
        })
    }
}

/// The cells about tables.
fn tables(tables: &[Occupancy], path: &Path) -> Vec<String> {
    let cells = |(table, hop): (&Occupancy, &crate::engine::Hop)| {
        let taken = memory(hop, table.peak).map_or_else(|| "-".to_owned(), bytes);
        [mean(table.mean()), table.peak.to_string(), taken]
    };
    tables.iter().zip(&path.hops).flat_map(cells).collect()
}
