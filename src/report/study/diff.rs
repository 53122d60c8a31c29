//! Two policies beside each other, as text and JSON (`flowlapse-diff/1`).

use super::{FEELINGS, Rows, by_feeling, bytes, mean, memory};
use crate::engine::Path;
use crate::engine::pipeline::Run;
use crate::engine::studied::Studied;
use crate::finding::{Finding, Verdict};
use crate::report::{json as whole, text, tuple};
use crate::study::Study;
use crate::study::diff::{Change, Diff};
use crate::study::ledger::Occupancy;
use crate::study::tally::Tally;
use serde_json::{Value, json};
use std::fmt::Write;
use std::io;

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-diff/1";

/// What a report of a difference is written from.
#[derive(Debug)]
pub struct Report<'r, 's, 'p> {
    /// The flows under both policies.
    pub study: &'r Study<'s, 'p>,
    /// What differs.
    pub diff: &'r Diff,
    /// The old and the new path.
    pub paths: [&'r Path; 2],
    /// How the user wrote them.
    pub names: [&'r str; 2],
    /// What each does to the flows.
    pub tallies: &'r [Tally],
    /// How full each box's table is.
    pub tables: &'r [Vec<Occupancy>],
}

/// One side of a line: a verdict with the timer that decided it.
fn fate(finding: &Finding) -> String {
    match &finding.decisive {
        Some(d) if finding.verdict != Verdict::Survives => {
            let victim = d.victim.map_or_else(String::new, |(frame, _)| format!(" at {frame}"));
            format!("{}{victim} ({} {})", finding.verdict.name(), d.cause.state, text::decimals(d.timeout))
        }
        _ => finding.verdict.name().to_owned(),
    }
}

impl Report<'_, '_, '_> {
    fn run(&self) -> &Run<Studied> {
        self.study.run
    }

    /// For people.
    pub fn text(&self, width: usize, limit: usize) -> String {
        let mut out = String::new();
        text::input(&mut out, self.run(), width);
        for (word, path) in ["old ", "new "].into_iter().zip(self.paths) {
            let _ = write!(out, "{word}");
            text::boxes(&mut out, path, width);
        }
        text::clock(&mut out, self.paths[0], width);
        let flows: u64 = self.tallies.first().map_or(0, Tally::flows);
        let _ = writeln!(out, "\n{}", if flows == 1 { "1 flow".to_owned() } else { format!("{flows} flows") });
        let counts: Vec<String> = Change::ALL
            .into_iter()
            .map(|change| (change, self.diff.count(change)))
            .filter(|(_, count)| *count > 0)
            .map(|(change, count)| format!("{count} {}", change.name()))
            .collect();
        let what = if counts.is_empty() { "no flow's fate differs".to_owned() } else { counts.join(", ") };
        text::paragraph(&mut out, "", &what, width);
        self.sums(&mut out);
        self.flows(&mut out, limit);
        out
    }

    /// Old and new in numbers.
    fn sums(&self, out: &mut String) {
        out.push('\n');
        let mut rows = Rows::new(&[String::new(), "OLD".to_owned(), "NEW".to_owned()], &[0]);
        let [old, new] = [0, 1].map(|side| &self.tallies[side]);
        let mut line = |name: String, values: [String; 2], always: bool| {
            if always || values.iter().any(|value| value != "0") {
                let [old, new] = values;
                rows.add(vec![name, old, new]);
            }
        };
        for verdict in Verdict::ALL {
            line(verdict.name().to_owned(), [old, new].map(|tally| tally.count(verdict).to_string()), verdict == Verdict::Cut);
            if verdict == Verdict::Cut {
                let by = [by_feeling(old), by_feeling(new)];
                for (place, (feeling, _)) in FEELINGS.iter().enumerate() {
                    line(format!("  of which {}", feeling.name()), by.map(|counts| counts[place].to_string()), false);
                }
            }
        }
        let boxes = self.paths.map(|path| path.hops.len());
        for index in 0..boxes[0].max(boxes[1]) {
            let value = |tell: &dyn Fn(usize, &Occupancy) -> String| {
                [0, 1].map(|side| self.tables[side].get(index).map_or_else(|| "-".to_owned(), |table| tell(side, table)))
            };
            let head = if boxes == [1, 1] { String::new() } else { format!("box {}: ", index + 1) };
            line(format!("{head}entries, mean"), value(&|_, table| mean(table.mean())), true);
            line(format!("{head}entries, peak"), value(&|_, table| table.peak.to_string()), true);
            let taken =
                |side: usize, table: &Occupancy| memory(&self.paths[side].hops[index], table.peak).map_or_else(|| "-".to_owned(), bytes);
            line(format!("{head}memory at the peak"), value(&taken), true);
        }
        rows.write(out);
    }

    fn flows(&self, out: &mut String, limit: usize) {
        let differences = &self.diff.differences;
        if differences.is_empty() || limit == 0 {
            return;
        }
        out.push('\n');
        let head = ["CHANGE", "STREAM", "OLD", "NEW", "CLIENT → SERVER"].map(str::to_owned);
        let mut rows = Rows::new(&head, &[0, 1, 2, 3, 4]);
        for difference in differences.iter().take(limit) {
            let Some([old, new]) = self.findings(difference.flow) else { continue };
            let stream = format!("{} {}", old.proto.name(), old.stream);
            rows.add(vec![difference.change.name().to_owned(), stream, fate(&old), fate(&new), tuple::arrow(&old)]);
        }
        rows.write(out);
        if differences.len() > limit {
            let _ = writeln!(out, "… and {} more (--limit N, --json)", differences.len() - limit);
        }
    }

    fn findings(&self, flow: usize) -> Option<[Finding; 2]> {
        Some([self.study.finding(flow, 0)?, self.study.finding(flow, 1)?])
    }

    /// For machines, as it is made.
    ///
    /// # Errors
    /// Whatever the sink says.
    pub fn write_json(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let mut map = whole::heading(SCHEMA, self.run(), self.paths[0]);
        map.shift_remove("path");
        let side = |index: usize| {
            let tally = &self.tallies[index];
            let verdicts: serde_json::Map<String, Value> =
                Verdict::ALL.into_iter().map(|verdict| (verdict.name().to_owned(), json!(tally.count(verdict)))).collect();
            let tables: Vec<Value> = self.tables[index]
                .iter()
                .zip(&self.paths[index].hops)
                .map(|(table, hop)| {
                    json!({
                        "box": hop.label,
                        "entries_mean": table.mean(),
                        "entries_peak": table.peak,
                        "memory_peak_bytes": memory(hop, table.peak),
                    })
                })
                .collect();
            json!({"policy": self.names[index], "path": whole::hops(self.paths[index]), "verdicts": verdicts, "tables": tables})
        };
        map.insert("old".to_owned(), side(0));
        map.insert("new".to_owned(), side(1));
        let changes: serde_json::Map<String, Value> =
            Change::ALL.into_iter().map(|change| (change.name().replace(' ', "_"), json!(self.diff.count(change)))).collect();
        map.insert("changes".to_owned(), Value::Object(changes));
        let flows = self.diff.differences.iter().filter_map(|difference| {
            let [old, new] = self.findings(difference.flow)?;
            Some(json!({
                "change": difference.change.name().replace(' ', "_"),
                "proto": old.proto.name(),
                "stream": old.stream,
                "client": old.client.to_string(),
                "server": old.server.to_string(),
                "old": told(&old),
                "new": told(&new),
            }))
        });
        whole::write_with(map, "flows", flows, out)
    }
}

/// A verdict for machines.
fn told(finding: &Finding) -> Value {
    let mut map = serde_json::Map::new();
    map.insert("verdict".to_owned(), json!(finding.verdict.name()));
    if let Some(d) = finding.decisive.as_ref().filter(|_| finding.verdict != Verdict::Survives) {
        map.insert("box".to_owned(), json!(d.hop + 1));
        map.insert("state".to_owned(), json!(d.cause.state));
        map.insert("timer".to_owned(), json!(d.cause.timer));
        map.insert("setting".to_owned(), json!(d.cause.setting));
        map.insert("timeout_ns".to_owned(), json!(d.timeout.0));
        map.insert("idle_ns".to_owned(), json!(d.idle.0));
        map.insert("victim_frame".to_owned(), json!(d.victim.map(|(frame, _)| frame)));
        map.insert("fate".to_owned(), json!(d.fate));
    }
    if let Some([client, server]) = &finding.symptoms {
        map.insert("client_feels".to_owned(), json!(client.feeling.name()));
        map.insert("server_feels".to_owned(), json!(server.feeling.name()));
    }
    Value::Object(map)
}
