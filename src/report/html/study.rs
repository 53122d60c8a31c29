//! The pages of a sweep and of a capacity: what each combination does to the flows, and what the tables hold.

use super::body::tone_of;
use super::page::{Cell, Column, Detail, Kind, More, Page, Row, Table, Tile, Tone};
use super::{policy, replay};
use crate::engine::pipeline::Run;
use crate::finding::Verdict;
use crate::policy::axis::Target;
use crate::report::capacity::{CapacityReport, text};
use crate::report::study::sweep::Report as SweepReport;
use crate::report::text::{input, left_out, several};
use crate::study::capacity::Fate;
use crate::study::capacity::sizes::Size;

fn read<R>(run: &Run<R>) -> (Vec<(&'static str, String)>, Vec<String>) {
    let (mut told, mut rest) = (String::new(), String::new());
    input(&mut told, run, usize::MAX);
    left_out(&mut rest, run, usize::MAX);
    let first = told.lines().next().unwrap_or_default().to_owned();
    (vec![("Read", first)], rest.lines().map(ToOwned::to_owned).collect())
}

fn number(value: u64) -> Cell {
    Cell::Number(value.to_string(), value as f64)
}

fn plain(name: &str, badge: &str, tone: Tone, said: Vec<String>) -> Detail {
    Detail {
        name: name.to_owned(),
        badge: badge.to_owned(),
        tone,
        said,
        felt: Vec::new(),
        cures: Vec::new(),
        notes: Vec::new(),
        life: None,
        without: String::new(),
        more: Vec::new(),
    }
}

/// The page of a sweep.
pub fn sweep(report: &SweepReport<'_>, reproduce: Vec<String>) -> Page {
    const COLUMNS: [Column; 7] = [
        Column::new("Result", Kind::Mark),
        Column::new("Values", Kind::Text),
        Column::new("Cut", Kind::Number),
        Column::wide("Of the flows", Kind::Number),
        Column::wide("Dormant", Kind::Number),
        Column::new("Entries, mean", Kind::Number),
        Column::wide("Entries, most", Kind::Number),
    ];
    let sweep = report.sweep;
    let mut details = Vec::new();
    let mut rows = Vec::new();
    for (place, case) in sweep.cases.iter().enumerate() {
        let (flows, cut) = (case.tally.flows(), case.tally.count(Verdict::Cut));
        let (badge, tone) = if cut > 0 { ("cuts", Tone::Bad) } else { ("cuts nothing", Tone::Good) };
        let values: Vec<String> =
            sweep.axes.iter().enumerate().map(|(axis, of)| format!("{} = {}", of.key, sweep.value(case, axis))).collect();
        let share = 100.0 * cut as f64 / flows.max(1) as f64;
        let (mean, most) = case.tables.iter().fold((0.0_f64, 0), |(mean, most), table| (mean.max(table.mean()), most.max(table.peak)));
        let counts: Vec<String> = Verdict::ALL
            .into_iter()
            .filter(|verdict| case.tally.count(*verdict) > 0)
            .map(|verdict| format!("{} {}", case.tally.count(verdict), verdict.name()))
            .collect();
        let mut said = vec![format!("{}: {}.", several(flows as usize, "flow", "flows"), counts.join(", "))];
        for (hop, table) in report.path.hops.iter().zip(&case.tables) {
            said.push(format!("The table of {}: {:.1} entries in the mean, {} at most.", hop.label, table.mean(), table.peak));
        }
        details.push(plain(&values.join(", "), badge, tone, said));
        rows.push(Row {
            id: format!("case.{}", place + 1),
            tone,
            detail: Some(place),
            cells: vec![
                Cell::Number(badge.to_owned(), f64::from(u8::from(cut == 0))),
                Cell::Text(values.join("\n")),
                number(cut),
                Cell::Number(format!("{share:.1}%"), share),
                number(case.tally.count(Verdict::Dormant)),
                Cell::Number(format!("{mean:.1}"), mean),
                number(most),
            ],
        });
    }
    let keys: Vec<&str> = sweep.axes.iter().map(|axis| axis.key.as_str()).collect();
    let safe = sweep.cases.iter().filter(|case| case.tally.count(Verdict::Cut) == 0).count();
    let total = sweep.cases.len();
    let lead = match (sweep.safe_from(), safe) {
        (Some(value), 1..) if sweep.axes.iter().any(|axis| axis.target == Target::Keepalive) => {
            format!("Up to {} = {value} nothing is cut.", keys.join(", "))
        }
        (Some(value), 1..) => format!("{} = {value} and more cut nothing.", keys.join(", ")),
        (_, 0) => "Every combination cuts something.".to_owned(),
        (None, _) => format!("{safe} of {} cut nothing.", several(total, "combination", "combinations")),
    };
    let (facts, mut remarks) = read(report.run);
    remarks.push("The settings below are those before anything was varied.".to_owned());
    let tile = |value: usize, label: &str, tone: Tone, mark: Option<&str>| Tile {
        value: value.to_string(),
        label: label.to_owned(),
        tone: tone_of(value as u64, tone),
        mark: mark.filter(|_| value > 0).map(ToOwned::to_owned),
    };
    Page {
        command: "sweep",
        title: format!("{}: flowlapse sweep", keys.join(", ")),
        lead,
        facts,
        route: report.path.hops.iter().map(|hop| hop.label.clone()).collect(),
        tiles: vec![
            tile(total, "combinations", Tone::Plain, None),
            tile(safe, "cut nothing", Tone::Good, Some("cuts nothing")),
            tile(total - safe, "cut something", Tone::Bad, Some("cuts")),
        ],
        tables: vec![Table {
            id: "cases",
            title: several(total, "combination", "combinations"),
            note: "Entries are those of the fullest box of the path.".to_owned(),
            columns: COLUMNS.to_vec(),
            rows,
        }],
        details,
        without: String::new(),
        charts: report.survival().iter().map(replay::survival).collect(),
        policy: policy::boxes(&report.path.hops, "command line"),
        remarks,
        reproduce,
    }
}

/// The page of a capacity. `most` is how many flows that lost something are told.
pub fn capacity(report: &CapacityReport<'_>, most: usize, reproduce: Vec<String>) -> Page {
    const COLUMNS: [Column; 6] = [
        Column::new("Result", Kind::Mark),
        Column::new("Table of", Kind::Text),
        Column::new("Entries, most", Kind::Number),
        Column::new("Limit", Kind::Number),
        Column::wide("Refused", Kind::Number),
        Column::wide("Evicted", Kind::Number),
    ];
    let mut rows = Vec::new();
    let mut details = Vec::new();
    let mut charts = Vec::new();
    let told = text::write(report, 100, most);
    for (hop, counted, size) in report.counted() {
        let peak = counted.meter.peak.1.live();
        let refused: u64 = counted.deeds.refused.iter().sum();
        let evicted: u64 = counted.deeds.evicted.by_class.iter().flatten().sum();
        let (badge, tone) = if refused > 0 {
            ("refuses", Tone::Bad)
        } else if evicted > 0 {
            ("evicts", Tone::Warn)
        } else {
            ("fits", Tone::Good)
        };
        let limit = match size {
            Size::Conntrack(size) => size.max.map(|(max, _)| max),
            _ => None,
        };
        let label = format!("{}. {}", hop + 1, report.path.hops[hop].label);
        let said = limit.map_or(format!("{peak} entries at most."), |limit| format!("{peak} entries at most; {limit} fit."));
        let mut detail = plain(&label, badge, tone, vec![said]);
        detail.more.push(More { title: "The answer in words".to_owned(), text: told.clone(), open: true });
        details.push(detail);
        rows.push(Row {
            id: format!("box.{}", hop + 1),
            tone,
            detail: Some(details.len() - 1),
            cells: vec![
                Cell::Number(badge.to_owned(), f64::from(u8::from(tone == Tone::Good))),
                Cell::Text(label),
                number(peak),
                limit.map_or_else(Cell::none, number),
                number(refused),
                number(evicted),
            ],
        });
        charts.extend(report.occupancy(hop).as_ref().map(replay::occupancy));
    }
    let outcome = &report.capacity.outcome;
    let count = |fate: Fate| outcome.fates[fate as usize];
    let lost = count(Fate::Refused) + count(Fate::Evicted);
    let lead = match lost {
        0 => "The tables hold what comes.".to_owned(),
        1 => "One flow is lost to a table that is too small.".to_owned(),
        lost => format!("{lost} flows are lost to tables that are too small."),
    };
    let (facts, mut remarks) = read(report.run);
    if rows.is_empty() {
        remarks.push("No box of the path has a table that can be counted.".to_owned());
    }
    let tone = |fate: Fate| match fate {
        Fate::Passed => Tone::Good,
        Fate::Repaired => Tone::Plain,
        Fate::Delayed => Tone::Warn,
        Fate::Refused | Fate::Evicted | Fate::Cut => Tone::Bad,
    };
    let tiles = Fate::ALL.into_iter().filter(|fate| count(*fate) > 0 || *fate == Fate::Refused).map(|fate| Tile {
        value: count(fate).to_string(),
        label: format!("flows {}", fate.name()),
        tone: tone_of(count(fate), tone(fate)),
        mark: None,
    });
    Page {
        command: "capacity",
        title: "flowlapse capacity".to_owned(),
        lead,
        facts,
        route: report.path.hops.iter().map(|hop| hop.label.clone()).collect(),
        tiles: tiles.collect(),
        tables: vec![Table {
            id: "tables",
            title: several(rows.len(), "table", "tables"),
            note: String::new(),
            columns: COLUMNS.to_vec(),
            rows,
        }],
        details,
        without: String::new(),
        charts,
        policy: policy::boxes(&report.path.hops, "command line"),
        remarks,
        reproduce,
    }
}
