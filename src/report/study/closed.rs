//! A sweep whose cases were run whole, as text, JSON (`flowlapse-sweep-closed/1`) and CSV.

use super::Rows;
use crate::engine::Path;
use crate::report::{plain, text};
use crate::study::closed::{Case, Closed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-sweep-closed/1";

/// What a report is written from.
#[derive(Debug)]
pub struct Report<'r> {
    /// The scenario's file.
    pub name: &'r str,
    /// What was run.
    pub closed: &'r Closed,
    /// The path before anything was varied.
    pub path: &'r Path,
}

/// Flows by the error that an end saw, or by how it gave up; the client's where both saw one.
fn errors(case: &Case) -> BTreeMap<&'static str, u64> {
    let mut errors = BTreeMap::new();
    for ((client, server), count) in &case.tally.ends {
        let named = [client, server].into_iter().find(|(_, detail)| !detail.is_empty());
        if let Some((_, detail)) = named {
            *errors.entry(*detail).or_default() += count;
        }
    }
    errors
}

impl Report<'_> {
    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<&'static str> = self.closed.cases.iter().flat_map(|case| errors(case).into_keys()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    fn rows(&self, machines: bool) -> (Vec<String>, Vec<Vec<String>>) {
        let kinds = self.kinds();
        let mut head: Vec<String> = self.closed.axes.iter().map(|axis| axis.key.clone()).collect();
        head.extend(["forgotten", "failed"].map(str::to_owned));
        head.extend(kinds.iter().map(|kind| if machines { kind.to_ascii_lowercase().replace(' ', "_") } else { (*kind).to_owned() }));
        let last = if machines { ["learned_p50_ns", "learned_p95_ns", "packets"] } else { ["p50", "p95", "packets"] };
        head.extend(last.map(str::to_owned));
        if !machines {
            head = head.iter().map(|word| word.to_uppercase()).collect();
        }
        let row = |case: &Case| {
            let tally = &case.tally;
            let mut row: Vec<String> = (0..self.closed.axes.len()).map(|axis| self.closed.value(case, axis).to_owned()).collect();
            row.extend([tally.forgotten, tally.failed].map(|count| count.to_string()));
            let errors = errors(case);
            row.extend(kinds.iter().map(|kind| errors.get(kind).copied().unwrap_or(0).to_string()));
            row.extend([50, 95].map(|percent| match tally.detection_percentile(percent) {
                Some(after) if machines => after.0.to_string(),
                Some(after) => after.human(),
                None if machines => String::new(),
                None => "-".to_owned(),
            }));
            row.push(tally.packets[0].to_string());
            row
        };
        (head, self.closed.cases.iter().map(row).collect())
    }

    /// For people.
    pub fn text(&self, width: usize) -> String {
        let mut out = String::new();
        let flows = self.closed.cases.first().map_or(0, |case| case.tally.flows);
        let _ = writeln!(out, "{}: {flows} flow{}", plain::printable(self.name), if flows == 1 { "" } else { "s" });
        text::path(&mut out, self.path, width);
        let runs = self.closed.cases.len();
        let count = if runs == 1 { "1 policy".to_owned() } else { format!("{runs} policies, each") };
        let how = format!("{count} run whole: the hosts react to what the boxes do, beyond the first cut too");
        text::paragraph(&mut out, "", &how, width);
        if self.closed.left > 0 {
            let left = self.closed.left;
            text::paragraph(&mut out, "", &format!("interrupted: {left} of {} were not run", runs + left), width);
        }
        out.push('\n');
        let (head, rows) = self.rows(false);
        let mut table = Rows::new(&head, &[]);
        for row in rows {
            table.add(row);
        }
        table.write(&mut out);
        out.push('\n');
        let legend = "FORGOTTEN: a box lost an entry while the flow lived; FAILED: an end saw an error or gave up; then by what the ends saw; \
                      P50, P95: from the loss to the first error; PACKETS: sent by hosts and boxes";
        text::paragraph(&mut out, "", legend, width);
        out
    }

    /// Every case as a row (RFC 4180).
    pub fn csv(&self) -> String {
        let (head, rows) = self.rows(true);
        let mut out = String::new();
        for row in std::iter::once(head).chain(rows) {
            let quoted: Vec<String> = row.iter().map(|cell| plain::field(cell)).collect();
            out.push_str(&quoted.join(","));
            out.push_str("\r\n");
        }
        out
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let axes: Vec<Value> = self.closed.axes.iter().map(|axis| json!({"key": axis.key, "values": axis.values})).collect();
        let case = |case: &Case| {
            let values: Vec<&str> = (0..self.closed.axes.len()).map(|axis| self.closed.value(case, axis)).collect();
            json!({
                "values": values,
                "flows": case.tally.flows,
                "forgotten": case.tally.forgotten,
                "failed": case.tally.failed,
                "unopened": case.tally.unopened,
                "by_error": errors(case),
                "learned_p50_ns": case.tally.detection_percentile(50).map(|after| after.0),
                "learned_p95_ns": case.tally.detection_percentile(95).map(|after| after.0),
                "packets": case.tally.packets[0],
                "dropped_by_boxes": case.tally.packets[1],
            })
        };
        let cases: Vec<Value> = self.closed.cases.iter().map(case).collect();
        json!({"schema": SCHEMA, "scenario": self.name, "path": crate::report::json::hops(self.path), "axes": axes, "cases": cases,
            "interrupted": self.closed.left > 0, "not_run": self.closed.left})
    }
}
