//! The table of the flows worth reading, written as it is made: the flows are judged twice, once for the widths of the columns, so that
//! none of them has to be kept.

use super::{Layout, decimals, kind_of, paint};
use crate::finding::Verdict;
use crate::report::{Report, tuple};
use rayon::prelude::*;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Flows that are judged in one go.
const BLOCK: usize = 4096;
/// The tuple comes last: it is what may be too long for a line, and nothing after it is pushed out of place.
const HEAD: [&str; COLUMNS] = ["VERDICT", "STREAM", "IDLE", "LIMIT", "VICTIM", "BOX, STATE", "CLIENT → SERVER"];
const COLUMNS: usize = 7;
/// The columns of numbers, which end where their heads end.
const NUMBERS: std::ops::RangeInclusive<usize> = 2..=4;

type Row = [String; COLUMNS];

/// Writes the first of the flows, as many as the layout says.
pub(super) fn write(report: &Report<'_>, worst: &[(Verdict, usize)], layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    if worst.is_empty() || layout.flows == 0 {
        return Ok(());
    }
    let listed = &worst[..worst.len().min(layout.flows)];
    let heads = HEAD.map(str::to_owned);
    let start = widths(&heads);
    let block = |block: &[(Verdict, usize)]| block.iter().map(|(_, index)| widths(&row(report, *index))).fold(start, wider);
    let widths = listed.par_chunks(BLOCK).map(block).reduce(|| start, wider);
    writeln!(out, "\n{}", line(&heads, widths).trim())?;
    for block in listed.chunks(BLOCK) {
        let lines: Vec<String> = block.par_iter().map(|(verdict, index)| told(*verdict, &row(report, *index), widths, layout)).collect();
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    if worst.len() > listed.len() {
        writeln!(out, "… and {} more (--limit N, --json, --ndjson)", worst.len() - listed.len())?;
    }
    Ok(())
}

fn row(report: &Report<'_>, index: usize) -> Row {
    let finding = report.finding(index);
    let dash = || "-".to_owned();
    let (idle, limit, victim, state) = match &finding.decisive {
        Some(d) => (
            decimals(d.idle),
            decimals(d.timeout),
            d.victim.map_or_else(dash, |(frame, _)| frame.to_string()),
            format!("{} {}", kind_of(report, d), d.cause.state),
        ),
        None => (dash(), dash(), dash(), dash()),
    };
    let stream = format!("{} {}", finding.proto.name(), finding.stream);
    [finding.verdict.name().to_owned(), stream, idle, limit, victim, state, tuple::arrow(&finding)]
}

fn widths(row: &Row) -> [usize; COLUMNS] {
    std::array::from_fn(|column| row[column].width())
}

fn wider(one: [usize; COLUMNS], other: [usize; COLUMNS]) -> [usize; COLUMNS] {
    std::array::from_fn(|column| one[column].max(other[column]))
}

/// A row with two blanks between its columns.
fn line(row: &Row, widths: [usize; COLUMNS]) -> String {
    let mut line = String::new();
    for (column, cell) in row.iter().enumerate() {
        let blanks = widths[column].saturating_sub(cell.width());
        let (before, behind) = if NUMBERS.contains(&column) { (blanks, 0) } else { (0, blanks) };
        line.extend(std::iter::repeat_n(' ', before));
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', behind + 2));
    }
    line
}

/// The same for reading; colour comes last, for it has no width.
fn told(verdict: Verdict, row: &Row, widths: [usize; COLUMNS], layout: Layout) -> String {
    let line = line(row, widths);
    let name = verdict.name();
    let rest = line.trim_end().strip_prefix(name).unwrap_or_default();
    format!("{}{rest}", paint(verdict, name, layout))
}
