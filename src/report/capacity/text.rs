//! The report on capacity for people.

use super::{CapacityReport, together};
use crate::engine::hop::Device;
use crate::report::printable;
use crate::report::text::{describe, left_out, paragraph};
use crate::study::capacity::carry::classes;
use crate::study::capacity::shelf::Losses;
use crate::study::capacity::sizes::{CtSize, Size, VsSize};
use crate::study::capacity::{Counted, Fate, Mode, Outcome, longest_chain};
use crate::time::Duration;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};
use std::fmt::Write;

/// Writes the report: at most so many columns, and so many victims.
pub fn write(report: &CapacityReport<'_>, width: usize, victims: usize) -> String {
    let mut out = String::new();
    load(&mut out, report, width);
    mode(&mut out, report, width);
    if let Some(cut) = report.cut() {
        paragraph(&mut out, "interrupted: ", &cut, width);
    }
    for (hop, counted, size) in report.counted() {
        table(&mut out, report, (hop, counted, size), width);
    }
    fates(&mut out, report, victims, width);
    defended(&mut out, report, width);
    advice(&mut out, report, width);
    out
}

fn some_flows(count: u64) -> String {
    if count == 1 { "1 flow".to_owned() } else { format!("{} flows", number(count)) }
}

fn load(out: &mut String, report: &CapacityReport<'_>, width: usize) {
    let load = &report.capacity.load;
    let span = load.end.since(load.begin);
    let names = match &report.run.names[..] {
        [one] => printable(one),
        many => format!("{} files", many.len()),
    };
    paragraph(
        out,
        "",
        &format!("{names}: {}, {} packets in {}", some_flows(load.kin.len() as u64), number(report.run.counters.records), long(span)),
        width,
    );
    left_out(out, report.run, width);
    let flows = load.members.len() as u64;
    let per_second = flows as f64 / span.as_secs_f64().max(1e-9);
    let times =
        if (report.scale - 1.0).abs() < 1e-9 { "as captured".to_owned() } else { format!("{}× as many, moved by chance", report.scale) };
    paragraph(out, "load: ", &format!("{} ({times}), {} a second", some_flows(flows), rate(per_second)), width);
    if let Some(flood) = load.flood {
        let to = flood.to.map_or("the end".to_owned(), long);
        let answered = if flood.answered { "answered with SYN/ACK and five repetitions" } else { "unanswered" };
        let text =
            format!("{} SYNs a second from {} to {to}, {answered}: {} in all", rate(flood.rate), long(flood.from), number(load.flooders()));
        paragraph(out, "flood: ", &text, width);
    }
}

fn mode(out: &mut String, report: &CapacityReport<'_>, width: usize) {
    match &report.capacity.mode {
        Mode::Independent => {
            let known = "independent: no table is full and no defence acts, so flows do not influence each other; exact";
            let cut = "independent: flows one by one";
            paragraph(out, "mode: ", if report.capacity.cut.is_some() { cut } else { known }, width);
        }
        Mode::Global(why) => {
            let text = format!("global: all flows together in the order of time, because {}", why.join("; and "));
            paragraph(out, "mode: ", &text, width);
        }
    }
}

fn table(out: &mut String, report: &CapacityReport<'_>, (hop, counted, size): (usize, &Counted, &Size), width: usize) {
    out.push('\n');
    let model = &report.path.hops[hop];
    paragraph(out, &format!("box {}: ", hop + 1), &format!("{}: {}", printable(&model.label), describe(model)), width);
    let meter = &counted.meter;
    let (at, census) = meter.peak;
    let line = |out: &mut String, head: &str, text: &str| paragraph(out, &format!("  {head:<13}"), text, width);
    line(
        out,
        "entries",
        &format!(
            "peak {} at {}, mean {:.1}, 95 % of the time at most {}",
            number(census.live()),
            long(report.since(at)),
            meter.mean(),
            number(meter.p95())
        ),
    );
    let shown: Vec<String> = classes(model)
        .into_iter()
        .map(|(class, name)| (census.classes[usize::from(class)], name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{name} {}", number(count)))
        .collect();
    if !shown.is_empty() {
        line(out, "at the peak", &shown.join(", "));
    }
    let product = meter.arrivals() * meter.mean_life();
    let off = if meter.mean() > 0.0 { ((product / meter.mean() - 1.0) * 100.0).abs() } else { 0.0 };
    line(
        out,
        "made",
        &format!("{} entries, {} a second; each stays {:.1} s on average", number(meter.made), rate(meter.arrivals()), meter.mean_life()),
    );
    line(
        out,
        "Little's law",
        &format!(
            "{} a second × {:.1} s = {product:.1} entries; the mean over time is {:.1} (they differ by {off:.2} %)",
            rate(meter.arrivals()),
            meter.mean_life(),
            meter.mean()
        ),
    );
    match size {
        Size::Conntrack(size) => conntrack(out, report, counted, size, &line),
        Size::Director(size) => director(out, report, (hop, counted), size, &line),
        Size::Unknown => {}
    }
    losses(out, report, hop, counted, width);
    if let Some([refused, evicted]) = report.capacity.spreads.get(hop) {
        let spread = |s: &crate::study::capacity::Spread| format!("{:.1} ({} to {})", s.mean, number(s.central.0), number(s.central.1));
        let text = format!(
            "refused {}, evicted {}: mean of {} runs, and where the central 95 % lie",
            spread(refused),
            spread(evicted),
            report.runs
        );
        line(out, "by chance", &text);
    }
}

type Line<'l> = &'l dyn Fn(&mut String, &str, &str);

fn conntrack(out: &mut String, report: &CapacityReport<'_>, counted: &Counted, size: &CtSize, line: Line<'_>) {
    let peak = counted.meter.peak.1.live();
    let (most, word) = match report.capacity.mode {
        Mode::Independent => (counted.count_max, "at most "),
        Mode::Global(_) => (counted.count_max, "up to "),
    };
    if most > peak {
        line(out, "with ended", &format!("nf_conntrack_count {word}{}, entries included that ended and wait for collection", number(most)));
    }
    match size.max {
        Some((max, source)) => {
            let share = most as f64 / max.max(1) as f64 * 100.0;
            line(out, "limit", &format!("nf_conntrack_max {} ({}): {share:.1} % used", number(max), source.words()));
        }
        None => line(out, "limit", "none: neither --max nor --memory says one, and the box has no max"),
    }
    let deeds = &counted.deeds;
    if let Some(from) = deeds.full_from {
        line(
            out,
            "table full",
            &format!(
                "\"nf_conntrack: table full, dropping packet\" from {}, in {} different seconds",
                long(report.since(from)),
                number(deeds.full_seconds)
            ),
        );
    }
    let (buckets, source) = size.buckets;
    let load = 2.0 * peak as f64 / buckets as f64;
    line(
        out,
        "buckets",
        &format!(
            "{} ({}): {load:.2} nodes in each at the peak, two for an entry; longest chain expected {}",
            number(buckets),
            source.words(),
            longest_chain(peak, buckets)
        ),
    );
    let bytes = Size::Conntrack(*size).bytes(most.max(peak));
    line(
        out,
        "memory",
        &format!("{} at the peak: {} bytes an entry (computed from the structures) and 8 a bucket", mib(bytes), size.entry_bytes),
    );
}

fn director(out: &mut String, report: &CapacityReport<'_>, (hop, counted): (usize, &Counted), size: &VsSize, line: Line<'_>) {
    let peak = counted.meter.peak.1.live();
    let guess = if size.bytes_guessed { ", those of 6.1: nobody computed this release's" } else { "" };
    let text = format!(
        "{} at the peak: {} bytes an entry (computed from the structures{guess}) and 8 a bucket",
        mib(Size::Director(*size).bytes(peak)),
        size.entry_bytes
    );
    line(out, "memory", &text);
    let d = &size.defences;
    let modes = format!(
        "drop_entry {}, drop_packet {}, secure_tcp {}, amemthresh {} pages",
        d.drop_entry, d.drop_packet, d.secure_tcp, d.amemthresh
    );
    let memory = match size.pages {
        Some(pages) => format!("; {} pages are free while the table is empty", number(pages)),
        None if [d.drop_entry, d.drop_packet, d.secure_tcp].iter().any(|mode| matches!(mode, 1 | 2)) => {
            "; without --memory there is always enough, so modes 1 and 2 stay off".to_owned()
        }
        None => String::new(),
    };
    line(out, "defences", &format!("{modes}{memory}"));
    let changes: Vec<_> = together(&counted.deeds.events).collect();
    for (index, (at, what)) in changes.iter().enumerate() {
        const MOST: usize = 8;
        if index == MOST {
            line(out, "", &format!("… and {} more (--json has all)", changes.len() - MOST));
            break;
        }
        line(out, if index == 0 { "changes" } else { "" }, &format!("{}  {what}", long(report.since(*at))));
    }
    if let Some(done) = counted.deeds.done.filter(|_| matches!(report.capacity.mode, Mode::Global(_))) {
        if d.drop_packet > 0 {
            line(out, "drop_packet", &format!("{} of {} new connections dropped", number(done.packets), number(done.tested)));
        }
        if d.drop_entry > 0 {
            let text = format!(
                "{} half-open, {} ESTABLISHED, {} UDP, {} templates dropped",
                number(done.half_open),
                number(done.established),
                number(done.udp),
                number(done.templates)
            );
            line(out, "drop_entry", &text);
        }
    }
    if let Some(without) = report.capacity.undefended.as_ref().and_then(|outcome| outcome.boxes.get(hop)?.as_ref()) {
        let bare = without.meter.peak.1.live();
        let all = size.pages.is_some_and(|pages| (bare * size.entry_bytes).div_ceil(4096) >= pages);
        let all = if all { ", all the memory there is" } else { "" };
        let saved = bare.saturating_sub(peak);
        line(
            out,
            "saved",
            &format!(
                "without defences the peak is {} entries ({}{all}): they save {} entries, {}",
                number(bare),
                mib(Size::Director(*size).bytes(bare)),
                number(saved),
                mib(saved * size.entry_bytes)
            ),
        );
    }
}

/// Who was refused and who was evicted, as a table.
fn losses(out: &mut String, report: &CapacityReport<'_>, hop: usize, counted: &Counted, width: usize) {
    let deeds = &counted.deeds;
    let flood = report.capacity.load.flood.is_some();
    let is_director = matches!(report.path.hops[hop].device, Device::Director(_));
    let mut rows: Vec<[String; 3]> = Vec::new();
    let row = |name: String, [innocent, flooded]: [u64; 2]| [name, number(innocent), number(flooded)];
    if deeds.refused != [0; 2] {
        rows.push(row("new connections refused (packets)".to_owned(), deeds.refused));
    }
    let names = classes(&report.path.hops[hop]);
    let mut by = |what: &str, losses: &Losses| {
        for (class, name) in &names {
            let pair = losses.by_class[usize::from(*class)];
            if pair != [0; 2] {
                rows.push(row(format!("{what}: {name}"), pair));
            }
        }
    };
    by(if is_director { "drop_entry" } else { "early_drop" }, &deeds.evicted);
    by("collected under pressure", &deeds.collected);
    if rows.is_empty() {
        return;
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if flood {
        table.set_header(["", "INNOCENT", "FLOOD"]);
        table.add_rows(rows);
    } else {
        table.set_header(["", "FLOWS"]);
        table.add_rows(rows.into_iter().map(|[name, innocent, _]| [name, innocent]));
    }
    for index in 1..3 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.lines() {
        let _ = writeln!(out, " {}", clipped(line.trim_end(), width.saturating_sub(1)));
    }
}

fn fates(out: &mut String, report: &CapacityReport<'_>, most: usize, width: usize) {
    out.push('\n');
    let Outcome { fates, victims, .. } = &report.capacity.outcome;
    let shown: Vec<String> = Fate::ALL
        .into_iter()
        .filter(|fate| fates[*fate as usize] > 0)
        .map(|fate| format!("{} {}", number(fates[fate as usize]), fate.name()))
        .collect();
    paragraph(out, "flows: ", &shown.join(", "), width);
    let lost: u64 = [Fate::Refused, Fate::Evicted, Fate::Cut].iter().map(|fate| fates[*fate as usize]).sum();
    if lost == 0 || most == 0 {
        return;
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["FATE", "AT", "STREAM", "COPY", "CLIENT → SERVER"]);
    for victim in victims.iter().take(most) {
        let kin = &report.capacity.load.kin[victim.kin as usize];
        let copy = if victim.copy == 0 { "-".to_owned() } else { victim.copy.to_string() };
        let at = format!("{:.3}", report.since(victim.at).as_secs_f64());
        table.add_row([victim.fate.name().to_owned(), at, kin.stream.to_string(), copy, format!("{} → {}", kin.client, kin.server)]);
    }
    for index in 1..4 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.lines() {
        let _ = writeln!(out, " {}", clipped(line.trim_end(), width.saturating_sub(1)));
    }
    if lost > most as u64 {
        paragraph(out, "  ", &format!("… and {} more; --limit shows more of them", number(lost - most as u64)), width);
    }
}

/// What the defences cost.
fn defended(out: &mut String, report: &CapacityReport<'_>, width: usize) {
    let Some(without) = &report.capacity.undefended else { return };
    let lost =
        |outcome: &Outcome| -> u64 { [Fate::Refused, Fate::Evicted, Fate::Cut].iter().map(|fate| outcome.fates[*fate as usize]).sum() };
    let (with, bare) = (lost(&report.capacity.outcome), lost(without));
    let text = format!("with the defences {} innocent flows lost something for good, without them {}", number(with), number(bare));
    paragraph(out, "defences: ", &text, width);
}

/// Lines to paste.
fn advice(out: &mut String, report: &CapacityReport<'_>, width: usize) {
    let mut first = true;
    for (hop, counted, size) in report.counted() {
        let Size::Conntrack(_) = size else { continue };
        if std::mem::take(&mut first) {
            out.push('\n');
        }
        let max = report.recommended(hop);
        let full = if counted.deeds.full_from.is_some() { "the table was too small; " } else { "" };
        let note = format!(
            "{full}the flows want {} entries at once, ended ones included; with a quarter to spare, rounded up, and as many buckets:",
            number(report.capacity.wanted.get(hop).copied().unwrap_or(0))
        );
        paragraph(out, &format!("box {}: ", hop + 1), &note, width);
        let _ = writeln!(out, "  sysctl -w net.netfilter.nf_conntrack_max={max}");
        let _ = writeln!(out, "  echo {max} > /sys/module/nf_conntrack/parameters/hashsize");
    }
}

fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A number with its thousands apart.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A rate with about three digits that count.
fn rate(value: f64) -> String {
    if value >= 100.0 {
        number(value.round() as u64)
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.4}")
    }
}

fn mib(bytes: u64) -> String {
    if bytes < 10 << 20 { format!("{:.1} KiB", bytes as f64 / 1024.0) } else { format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)) }
}

/// A span: seconds, and what people call it where that says more.
fn long(span: Duration) -> String {
    let seconds = format!("{:.3} s", span.as_secs_f64());
    if span >= Duration::from_secs(120) { format!("{seconds} ({})", Duration::from_secs(span.as_secs()).human()) } else { seconds }
}
