//! A sweep as text, JSON (`flowlapse-sweep/1`) and CSV, and what its pictures show.

use super::{FEELINGS, Rows, by_feeling, bytes, mean, memory, short_name};
use crate::engine::Path;
use crate::engine::pipeline::Run;
use crate::engine::studied::Studied;
use crate::finding::Verdict;
use crate::finding::symptom::Feeling;
use crate::policy::axis::Target;
use crate::report::chart::{Axis as ChartAxis, Cells, Entries, EntriesLine, Map, Mark, Step, Survival};
use crate::report::plain;
use crate::report::{json as whole, plot, text};
use crate::study::needs::{Knob, knobs};
use crate::study::sweep::{Case, Sweep};
use crate::time::Instant;
use serde_json::{Value, json};
use std::fmt::Write;

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-sweep/1";

/// What a report of a sweep is written from.
#[derive(Debug)]
pub struct Report<'r> {
    /// The sweep.
    pub sweep: &'r Sweep,
    /// The path before anything was varied.
    pub path: &'r Path,
    /// What was read.
    pub run: &'r Run<Studied>,
}

/// The verdicts that get a column where a case has one.
const COUNTED: [Verdict; 4] = [Verdict::Repaired, Verdict::Marginal, Verdict::Inconclusive, Verdict::Dormant];

/// A column of the table and of the CSV: its head for people, its head for machines, and its text in a case.
struct Column<'c> {
    head: String,
    name: String,
    cell: Box<dyn Fn(&Case) -> Cell + 'c>,
    /// Left out of the text where no case has anything in it.
    optional: bool,
}

/// What stands in a column: for people and for machines.
struct Cell {
    people: String,
    machines: String,
    empty: bool,
}

fn count(value: u64) -> Cell {
    Cell { people: value.to_string(), machines: value.to_string(), empty: value == 0 }
}

impl Report<'_> {
    fn columns(&self) -> Vec<Column<'_>> {
        let mut columns: Vec<Column<'_>> = Vec::new();
        for (index, axis) in self.sweep.axes.iter().enumerate() {
            let cell = move |case: &Case| {
                let value = self.sweep.value(case, index).to_owned();
                Cell { people: value.clone(), machines: value, empty: false }
            };
            columns.push(Column { head: axis.key.to_ascii_uppercase(), name: axis.key.clone(), cell: Box::new(cell), optional: false });
        }
        let mut number = |head: &str, name: &str, optional: bool, value: Box<dyn Fn(&Case) -> u64>| {
            let cell = move |case: &Case| count(value(case));
            columns.push(Column { head: head.to_owned(), name: name.to_owned(), cell: Box::new(cell), optional });
        };
        number("CUT", "cut", false, Box::new(|case| case.tally.count(Verdict::Cut)));
        for (place, (feeling, head)) in FEELINGS.into_iter().enumerate() {
            let name = format!("cut_{}", feeling.name().replace('-', "_"));
            number(head, &name, true, Box::new(move |case| by_feeling(&case.tally)[place]));
        }
        for verdict in COUNTED {
            number(&verdict.name().to_ascii_uppercase(), verdict.name(), true, Box::new(move |case| case.tally.count(verdict)));
        }
        let learned = |case: &Case| match case.tally.detection_mean() {
            Some(after) => Cell { people: after.human(), machines: after.0.to_string(), empty: false },
            None => Cell { people: "-".to_owned(), machines: String::new(), empty: true },
        };
        columns.push(Column { head: "LEARNED".to_owned(), name: "learned_mean_ns".to_owned(), cell: Box::new(learned), optional: true });
        let vain = |case: &Case| {
            let cut = case.tally.count(Verdict::Cut).max(1);
            let each = case.tally.packets_in_vain as f64 / cut as f64;
            let empty = case.tally.packets_in_vain == 0;
            Cell { people: format!("{each:.1}"), machines: case.tally.packets_in_vain.to_string(), empty }
        };
        columns.push(Column { head: "PACKETS".to_owned(), name: "packets_in_vain".to_owned(), cell: Box::new(vain), optional: true });
        for (index, hop) in self.path.hops.iter().enumerate() {
            let several = self.path.hops.len() > 1;
            let (head, name) =
                if several { (format!("{}.", index + 1), format!("box{}_", index + 1)) } else { (String::new(), String::new()) };
            let average = move |case: &Case| {
                let value = case.tables[index].mean();
                Cell { people: mean(value), machines: format!("{value:.3}"), empty: false }
            };
            columns.push(Column {
                head: format!("{head}MEAN"),
                name: format!("{name}entries_mean"),
                cell: Box::new(average),
                optional: false,
            });
            let peak = move |case: &Case| count(case.tables[index].peak);
            columns.push(Column {
                head: format!("{head}PEAK"),
                name: format!("{name}entries_peak"),
                cell: Box::new(peak),
                optional: false,
            });
            let taken = move |case: &Case| {
                let taken = memory(hop, case.tables[index].peak);
                Cell {
                    people: taken.map_or_else(|| "-".to_owned(), bytes),
                    machines: taken.map_or_else(String::new, |taken| taken.to_string()),
                    empty: taken.is_none(),
                }
            };
            columns.push(Column {
                head: format!("{head}MEMORY"),
                name: format!("{name}memory_peak_bytes"),
                cell: Box::new(taken),
                optional: true,
            });
        }
        columns
    }

    /// For people.
    pub fn text(&self, width: usize) -> String {
        let mut out = String::new();
        text::input(&mut out, self.run, width);
        text::path(&mut out, self.path, width);
        let sweep = self.sweep;
        let axes: Vec<String> = sweep
            .axes
            .iter()
            .map(|axis| match &axis.values[..] {
                [one] => format!("{} = {one}", axis.key),
                few @ [first, ..] if first.parse::<f64>().is_err() => format!("{}: {}", axis.key, few.join(", ")),
                [first, .., last] => format!("{} over {} values, {first} to {last}", axis.key, axis.values.len()),
                [] => axis.key.clone(),
            })
            .collect();
        text::paragraph(&mut out, "varied: ", &axes.join("; "), width);
        let (cases, replays) = (sweep.cases.len(), sweep.replays);
        let one = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
        let how = if replays == 1 && cases > 1 {
            format!(
                "{} answered from one replay: they differ in nothing but the lengths of timers",
                one(cases, "policy").replace("policys", "policies")
            )
        } else {
            format!("{} answered from {}", one(cases, "policy").replace("policys", "policies"), one(replays, "replay"))
        };
        text::paragraph(&mut out, "", &how, width);
        let reach = if sweep.beyond {
            "each flow followed to its cut or its end, also beyond entries that were made anew"
        } else {
            "each flow followed to the first entry that ends before its time; entries until then (--beyond follows what was made anew)"
        };
        text::paragraph(&mut out, "", reach, width);
        let flows = sweep.cases.first().map_or(0, |case| case.tally.flows());
        let _ = writeln!(out, "\n{}", if flows == 1 { "1 flow".to_owned() } else { format!("{flows} flows") });
        self.table(&mut out);
        self.conclusions(&mut out, width);
        out
    }

    fn table(&self, out: &mut String) {
        let columns = self.columns();
        let cells: Vec<Vec<Cell>> =
            self.sweep.cases.iter().map(|case| columns.iter().map(|column| (column.cell)(case)).collect()).collect();
        let shown: Vec<usize> = (0..columns.len()).filter(|at| !columns[*at].optional || cells.iter().any(|row| !row[*at].empty)).collect();
        let head: Vec<String> = shown.iter().map(|at| columns[*at].head.clone()).collect();
        let mut rows = Rows::new(&head, &[]);
        for row in &cells {
            rows.add(shown.iter().map(|at| row[*at].people.clone()).collect());
        }
        rows.write(out);
    }

    fn conclusions(&self, out: &mut String, width: usize) {
        let sweep = self.sweep;
        let has = |test: &dyn Fn(&Case) -> bool| sweep.cases.iter().any(test);
        out.push('\n');
        if let [axis] = &sweep.axes[..] {
            let cut = has(&|case| case.tally.count(Verdict::Cut) > 0);
            let left = !sweep.beyond && has(&|case| case.tally.count(Verdict::Repaired) > 0);
            let unless = if left { ", unless after an entry was made anew (--beyond)" } else { "" };
            let way = |value: &str| match axis.target {
                Target::Keepalive => format!("up to {} = {value}", axis.key),
                Target::Box { .. } => format!("from {} = {value} on", axis.key),
            };
            match sweep.safe_from() {
                _ if !self.is_timer(axis) && cut => {}
                Some(value) if cut => text::paragraph(out, "", &format!("no flow is cut {}{unless}", way(value)), width),
                Some(_) => text::paragraph(out, "", &format!("no flow is cut at any of these values{unless}"), width),
                None => text::paragraph(out, "", "flows are cut at every value; 'flowlapse tune' says what would be needed", width),
            }
        }
        if has(&|case| case.tally.detected > 0) {
            let legend = "LEARNED: until the first end of a cut flow knows, on average; PACKETS: sent in vain until then, for each cut flow; \
                          both by the rules of Linux hosts with default settings";
            text::paragraph(out, "", legend, width);
        }
        if has(&|case| case.tally.count(Verdict::Repaired) > 0) && !sweep.beyond {
            text::paragraph(out, "", "REPAIRED: an entry ended and was made anew; what came after it was not followed", width);
        }
        if self.path.hops.iter().any(|hop| hop.entry_bytes().is_some()) {
            text::paragraph(
                out,
                "",
                "MEMORY: entries at the peak by the bytes that an entry takes in this kernel, computed from its structures",
                width,
            );
        }
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let mut map = whole::heading(SCHEMA, self.run, self.path);
        let sweep = self.sweep;
        let axes: Vec<Value> = sweep.axes.iter().map(|axis| json!({"key": axis.key, "values": axis.values})).collect();
        map.insert("axes".to_owned(), json!(axes));
        map.insert("replays".to_owned(), json!(sweep.replays));
        map.insert("beyond_first_lapse".to_owned(), json!(sweep.beyond));
        map.insert("cases".to_owned(), sweep.cases.iter().map(|case| self.case(case)).collect());
        Value::Object(map)
    }

    fn case(&self, case: &Case) -> Value {
        let sweep = self.sweep;
        let values: Vec<&str> = (0..sweep.axes.len()).map(|axis| sweep.value(case, axis)).collect();
        let verdicts: serde_json::Map<String, Value> =
            Verdict::ALL.into_iter().map(|verdict| (verdict.name().to_owned(), json!(case.tally.count(verdict)))).collect();
        let feelings: Vec<Value> = case
            .tally
            .symptoms
            .iter()
            .map(|([client, server], flows): (&[Feeling; 2], &u64)| json!({"client": client.name(), "server": server.name(), "flows": flows}))
            .collect();
        let tables: Vec<Value> = case
            .tables
            .iter()
            .zip(&self.path.hops)
            .map(|(table, hop)| {
                json!({
                    "box": hop.label,
                    "entries_mean": table.mean(),
                    "entries_peak": table.peak,
                    "peak_at_ns": table.peak_at.0,
                    "entries_made": table.made,
                    "memory_peak_bytes": memory(hop, table.peak),
                })
            })
            .collect();
        json!({
            "values": values,
            "verdicts": verdicts,
            "cut_by_feeling": feelings,
            "learned": case.tally.detected,
            "learned_mean_ns": case.tally.detection_mean().map(|after| after.0),
            "learned_max_ns": case.tally.detection_max.0,
            "packets_in_vain": case.tally.packets_in_vain,
            "first_cut": case.tally.first_cut.map(|first| {
                let flow = self.run.flows.flow(first.flow);
                json!({"proto": flow.proto().name(), "stream": flow.stream, "victim_at_ns": first.at.0})
            }),
            "tables": tables,
        })
    }

    /// Every case as a row (RFC 4180), every column.
    pub fn csv(&self) -> String {
        let columns = self.columns();
        let mut out = columns.iter().map(|column| plain::field(&column.name)).collect::<Vec<_>>().join(",");
        out.push_str("\r\n");
        for case in &self.sweep.cases {
            let row: Vec<String> = columns.iter().map(|column| plain::field(&(column.cell)(case).machines)).collect();
            out.push_str(&row.join(","));
            out.push_str("\r\n");
        }
        out
    }

    /// A combination in words: `established 900, keepalive 300`.
    fn label(&self, case: &Case) -> String {
        let axes = self.sweep.axes.iter().enumerate();
        let name = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
        axes.map(|(index, axis)| format!("{} {}", name(&axis.key), self.sweep.value(case, index))).collect::<Vec<_>>().join(", ")
    }

    /// The entries of one box over time at each combination, from the curves of [`crate::study::Study::curves`].
    pub fn entries(&self, hop: usize, curves: &[Vec<(Instant, u64)>]) -> Entries {
        let begin = self.run.begin;
        let times = curves.first().map_or_else(Vec::new, |curve| curve.iter().map(|(at, _)| at.since(begin).as_secs_f64()).collect());
        let line = |(case, curve): (&Case, &Vec<(Instant, u64)>)| EntriesLine {
            label: self.label(case),
            counts: curve.iter().map(|(_, count)| *count).collect(),
        };
        Entries {
            title: format!("entries of {} over time", short_name(self.path, hop)),
            times,
            lines: self.sweep.cases.iter().zip(curves).map(line).collect(),
        }
    }

    /// Whether an axis is one of seconds.
    fn is_timer(&self, axis: &crate::policy::Axis) -> bool {
        match axis.target {
            Target::Keepalive => true,
            Target::Box { index, setting } => knobs(self.path).iter().any(|(knob, _)| *knob == Knob { hop: index, setting }),
        }
    }

    /// How many flows each value keeps: for one axis of seconds.
    ///
    /// # Errors
    /// Other axes.
    pub fn survival(&self) -> Result<Survival, String> {
        let [axis] = &self.sweep.axes[..] else {
            return Err("the picture 'survival' is of one axis; 'map' is of two".to_owned());
        };
        let mut steps = Vec::new();
        for case in &self.sweep.cases {
            let value = self.sweep.value(case, 0);
            let Ok(secs) = value.parse::<f64>() else {
                return Err(format!("the picture 'survival' needs an axis of seconds; '{value}' of {} is none", axis.key));
            };
            let flows = case.tally.flows().max(1);
            let kept = flows - case.tally.count(Verdict::Cut);
            steps.push(Step { secs, kept: 100.0 * kept as f64 / flows as f64 });
        }
        let flows = self.sweep.cases.first().map_or(0, |case| case.tally.flows());
        if !self.is_timer(axis) {
            return Err(format!("the picture 'survival' needs an axis of seconds; {} is none", axis.key));
        }
        let marks: Vec<Mark> = match axis.target {
            Target::Box { setting: "established" | "tcp", .. } => plot::in_force(self.path).chain(plot::usual()).collect(),
            _ => Vec::new(),
        };
        Ok(Survival {
            title: format!("{flows} flows: how many are not cut at each value of {}", axis.key),
            subtitle: if marks.is_empty() {
                String::new()
            } else {
                "thick: timers in force on the path; thin: usual ones, for comparison".to_owned()
            },
            across: format!("{} (logarithmic)", axis.key),
            steps,
            marks,
            sampled: true,
        })
    }

    /// The share of flows that is cut for each pair of values: for two axes.
    ///
    /// # Errors
    /// Fewer or more axes, or values that are no numbers.
    pub fn map(&self) -> Result<Map, String> {
        let [up, across] = &self.sweep.axes[..] else {
            return Err("the picture 'map' is of two axes; 'survival' is of one".to_owned());
        };
        let axis = |axis: &crate::policy::Axis| -> Result<ChartAxis, String> {
            let number = |value: &String| {
                value.parse().map_err(|_| format!("the picture 'map' needs axes of numbers; '{value}' of {} is none", axis.key))
            };
            let values = axis.values.iter().map(number).collect::<Result<Vec<f64>, String>>()?;
            let unit = if self.is_timer(axis) { "s".to_owned() } else { String::new() };
            Ok(ChartAxis { name: axis.key.clone(), unit, values })
        };
        let share = |case: &Case| 100.0 * case.tally.count(Verdict::Cut) as f64 / case.tally.flows().max(1) as f64;
        let flows = self.sweep.cases.first().map_or(0, |case| case.tally.flows());
        Ok(Map {
            title: format!("{flows} flows: the share that is cut for each {} and {}", across.key, up.key),
            subtitle: String::new(),
            across: axis(across)?,
            up: axis(up)?,
            cells: Cells::Shares { cells: self.sweep.cases.iter().map(share).collect(), label: "flows cut".to_owned() },
        })
    }
}
