//! The page of a replay: who is cut, when, by which timer, and the lives of the worst flows.

use super::body::tone_of;
use super::life::{Feels, Life};
use super::page::{Cell, Chart, Column, Cure, Detail, Felt, Kind, Mark, Occupancy, Page, Row, Survival, Table, Tile, Tone};
use super::policy;
use crate::engine::diary::Kept;
use crate::finding::advice::Where;
use crate::finding::{Decisive, Finding, Verdict};
use crate::report::text::{clock, date, decimals, kind_of, left_out, several, span};
use crate::report::{Report, chart, life as lanes, plot, tuple};
use crate::time::{Duration, Instant};

/// Flows that a page lists at most.
const FLOWS_MAX: usize = 5_000;
/// Steps that a page's curve has at most.
const STEPS_MAX: usize = 800;

/// What a page is made of besides the report.
#[derive(Debug, Default)]
pub struct Extras {
    /// The lives of flows, by their places in the report.
    pub lives: Vec<(usize, Life)>,
    /// How many lives were asked for.
    pub asked: usize,
    /// Why there are no lives, where they were asked for and could not be had.
    pub no_lives: Option<String>,
    /// What the boxes' tables held.
    pub tables: Vec<chart::Occupancy>,
    /// Why there is no such chart, where one was to be had.
    pub no_tables: Option<String>,
    /// Command lines that give the same answer.
    pub reproduce: Vec<String>,
}

/// The flows that a page lists, the worst first: those worth reading, the one that came closest to the end of a timer, the rest in the order
/// of the capture.
pub fn listed(report: &Report<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = report.worst().iter().map(|(_, index)| *index).take(FLOWS_MAX).collect();
    let mut known = vec![false; report.flows()];
    for index in &order {
        known[*index] = true;
    }
    let closest = report.closest().into_iter();
    for index in closest.chain(0..report.flows()) {
        if order.len() >= FLOWS_MAX {
            break;
        }
        if !std::mem::replace(&mut known[index], true) {
            order.push(index);
        }
    }
    order
}

/// The life of a flow of the report, from what was written down of it.
pub fn life(report: &Report<'_>, finding: &Finding, kept: &mut Kept, most: usize) -> Life {
    let end = lanes::settle(report, finding, kept);
    let drawn = lanes::lanes(report, finding, kept, end);
    let numbers: Vec<(u32, u32)> = kept.diary.packets.iter().map(|crossing| (crossing.frame, crossing.len)).collect();
    let mut life = Life::new(&drawn, &numbers, most);
    if kept.after_cut > 0 {
        join(
            &mut life.note,
            &format!(
                "{} after the cut: they would not have been sent so.",
                several(kept.after_cut as usize, "packet was captured", "packets were captured")
            ),
        );
    }
    if kept.diary.left_out > 0 {
        join(&mut life.note, &format!("{} more were too many to be written down.", kept.diary.left_out));
    }
    if let (Some(d), Some(symptoms), true) = (&finding.decisive, &finding.symptoms, kept.run.cut.is_some()) {
        let victim = secs(finding, d.refreshed + d.idle);
        // What is felt comes after the cut, where nothing is drawn any more: there is room for it, as far as it is known how long.
        let longest = symptoms.iter().filter_map(|symptom| symptom.after).max().map_or(0.0, Duration::as_secs_f64);
        let lasted = life.span.1 - life.span.0;
        life.extend(victim + longest.max(lasted * 0.12) * 1.08);
        for (place, (symptom, who)) in symptoms.iter().zip(["client", "server"]).enumerate() {
            let words = symptom.text.strip_prefix(who).map_or(symptom.text.as_str(), |rest| rest.trim_start_matches([':', ' ']));
            let first = words.split([',', ';']).next().unwrap_or(words);
            life.felt[place] = Some(Feels { from: victim, text: first.to_owned() });
            if let Some(after) = symptom.after.filter(|after| *after > Duration::ZERO) {
                let at = victim + after.as_secs_f64();
                life.cuts.push(super::life::Moment { at, text: format!("predicted: {}", symptom.text), strong: false });
            }
        }
    }
    life
}

fn join(note: &mut String, more: &str) {
    if !note.is_empty() {
        note.push(' ');
    }
    note.push_str(more);
}

fn secs(finding: &Finding, at: Instant) -> f64 {
    at.since(finding.span.0).as_secs_f64()
}

/// The page of a report.
pub fn page(report: &Report<'_>, extras: Extras) -> Page {
    let order = listed(report);
    let mut lives: Vec<Option<Life>> = order.iter().map(|_| None).collect();
    let mut extra = extras.lives;
    extra.sort_by_key(|(index, _)| *index);
    for (slot, index) in lives.iter_mut().zip(&order) {
        if let Ok(at) = extra.binary_search_by_key(index, |(known, _)| *known) {
            *slot = Some(extra[at].1.clone());
        }
    }
    let told = extra.len().max(extras.asked.min(50));
    let mut rows = Vec::with_capacity(order.len());
    let mut details = Vec::new();
    for (place, (index, life)) in order.iter().zip(lives).enumerate() {
        let finding = report.finding(*index);
        let detail = (place < told || life.is_some()).then(|| {
            let without = extras.no_lives.clone().unwrap_or_else(|| told_by(&finding));
            details.push(detail(report, &finding, life, without));
            details.len() - 1
        });
        rows.push(row(report, &finding, detail));
    }
    let title = match &report.run.names[..] {
        [one] => format!("{one}: flowlapse replay"),
        many => format!("{} captures: flowlapse replay", many.len()),
    };
    let mut remarks = remarks(report, order.len());
    remarks.extend(extras.no_lives.clone());
    remarks.extend(extras.no_tables);
    if extra.len() < report.flows() && !extra.is_empty() {
        remarks.push(format!(
            "Of {} flows the lives of {} are in this page; --html-lives N takes more or fewer.",
            report.flows(),
            extra.len()
        ));
    }
    Page {
        command: "replay",
        title,
        lead: lead(report),
        facts: facts(report),
        route: report.path.hops.iter().map(|hop| hop.label.clone()).collect(),
        tiles: tiles(report, &extras.tables),
        tables: vec![Table {
            id: "flows",
            title: several(report.flows(), "flow", "flows"),
            note: if rows.len() < report.flows() {
                format!("The {} worth most attention; {} more are counted above and not listed.", rows.len(), report.flows() - rows.len())
            } else {
                String::new()
            },
            columns: COLUMNS.to_vec(),
            rows,
        }],
        details,
        without:
            "Only the worst flows are told in full in this page. flowlapse explain, with --flow and the name above, tells any of them."
                .to_owned(),
        charts: std::iter::once(survival(&plot::survival(report))).chain(extras.tables.iter().map(occupancy)).collect(),
        policy: policy::boxes(&report.path.hops, "command line"),
        remarks,
        reproduce: extras.reproduce,
    }
}

const COLUMNS: [Column; 9] = [
    Column::new("Verdict", Kind::Mark),
    Column::new("Flow", Kind::Text),
    Column::wide("Box, state", Kind::Text),
    Column::new("Silent for", Kind::Number),
    Column::new("Timer", Kind::Number),
    Column::wide("Of timer", Kind::Number),
    Column::wide("Too late", Kind::Number),
    Column::wide("Packets", Kind::Number),
    Column::wide("Lasted", Kind::Number),
];

/// The colour of a verdict.
pub fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Cut | Verdict::Evicted | Verdict::Refused => Tone::Bad,
        Verdict::Marginal | Verdict::Dormant | Verdict::Inconclusive => Tone::Warn,
        Verdict::Repaired => Tone::Plain,
        Verdict::Survives => Tone::Good,
    }
}

/// The name of a flow in links, and on the command line.
fn name(finding: &Finding) -> String {
    format!("{}.{}", finding.proto.name(), finding.stream)
}

fn told_by(finding: &Finding) -> String {
    format!("Its life is not in this page: flowlapse explain with --flow {} tells it.", name(finding))
}

/// A span as people say it, with what sorts it.
fn spanned(span: Duration) -> Cell {
    let text =
        if span < Duration::from_secs(60) { format!("{:.3} s", span.as_secs_f64()) } else { Duration::from_secs(span.as_secs()).human() };
    Cell::Number(text, span.as_secs_f64())
}

fn row(report: &Report<'_>, f: &Finding, detail: Option<usize>) -> Row {
    let (state, idle, timeout) = match (&f.decisive, f.closest()) {
        (Some(d), _) => (format!("{} {}", kind_of(report, d), d.cause.state), Some(d.idle), Some(d.timeout)),
        (None, Some(b)) => (format!("{} {}", report.path.hops[b.hop].label, b.cause.timer), Some(b.longest), Some(b.timeout)),
        (None, None) => ("–".to_owned(), None, None),
    };
    let share = idle.zip(timeout).map(|(idle, timeout)| 100.0 * idle.as_secs_f64() / timeout.as_secs_f64().max(1e-9));
    let packets = u64::from(f.packets[0]) + u64::from(f.packets[1]);
    let late = f.decisive.as_ref().filter(|d| d.victim.is_some()).map(Decisive::excess);
    Row {
        id: name(f),
        tone: tone(f.verdict),
        detail,
        cells: vec![
            Cell::Number(f.verdict.name().to_owned(), f.verdict as usize as f64),
            Cell::Text(format!("{}\n{}", name(f), tuple::arrow(f))),
            Cell::Text(state),
            idle.map_or_else(Cell::none, spanned),
            timeout.map_or_else(Cell::none, spanned),
            share.map_or_else(Cell::none, |share| Cell::Number(chart_share(share), share)),
            late.map_or_else(Cell::none, spanned),
            Cell::Number(packets.to_string(), packets as f64),
            spanned(f.span.1.since(f.span.0)),
        ],
    }
}

/// A share that is not all is never written as if it were.
fn chart_share(share: f64) -> String {
    let rounded = share.round();
    if share < 100.0 && rounded >= 100.0 {
        "99.9%".to_owned()
    } else if share > 0.0 && rounded < 1.0 {
        "<1%".to_owned()
    } else {
        format!("{rounded}%")
    }
}

fn detail(report: &Report<'_>, f: &Finding, life: Option<Life>, without: String) -> Detail {
    let mut said = Vec::new();
    if let Some(d) = &f.decisive {
        // The first begins with the name of a box, which stays as it is.
        said.extend(crate::report::text::sentences(report, f, d).into_iter().enumerate().map(|(at, text)| sentence(&text, at > 0)));
    } else if let Some(b) = f.closest() {
        said.push(format!(
            "It lives. Its longest silence under the {} timer of {} was {} of {} s, between frames {} and {}.",
            b.cause.timer,
            report.path.hops[b.hop].label,
            b.longest,
            decimals(b.timeout),
            b.frames.0,
            b.frames.1
        ));
    } else {
        said.push("It lives.".to_owned());
    }
    let packets = u64::from(f.packets[0]) + u64::from(f.packets[1]);
    said.push(format!(
        "{} and {} from frame {} to {}; Wireshark's filter: {}.",
        several(packets as usize, "packet", "packets"),
        several((f.bytes[0] + f.bytes[1]) as usize, "byte of payload", "bytes of payload"),
        f.frames.0,
        f.frames.1,
        tuple::display_filter(f)
    ));
    let felt = f.symptoms.iter().flatten().zip(["client", "server"]).map(|(symptom, who)| Felt {
        who: who.to_owned(),
        text: symptom.text.strip_prefix(who).map_or(symptom.text.as_str(), |rest| rest.trim_start_matches([':', ' '])).to_owned(),
    });
    let cure = |advice: &crate::finding::advice::Advice| {
        let place = if advice.at == Where::Box { "on the box" } else { "on either end" };
        Cure { line: advice.line.clone(), note: format!("{place}; {}", advice.note) }
    };
    Detail {
        name: format!("{}  {}", name(f), tuple::arrow(f)),
        badge: f.verdict.name().to_owned(),
        tone: tone(f.verdict),
        said,
        felt: felt.collect(),
        cures: f.advice.iter().map(cure).collect(),
        notes: f.caveats.iter().map(|caveat| sentence(caveat.text(), true)).collect(),
        without: if life.is_some() { String::new() } else { without },
        life,
        more: Vec::new(),
    }
}

/// With a full stop, and where it is wanted a capital letter.
fn sentence(text: &str, capital: bool) -> String {
    let mut chars = text.chars();
    let mut out: String = match chars.next() {
        Some(first) if capital => first.to_uppercase().chain(chars).collect(),
        _ => text.to_owned(),
    };
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

fn lead(report: &Report<'_>) -> String {
    let total = report.flows();
    let worst = report.worst().first().map(|(_, index)| report.finding(*index));
    let cut = report.count(Verdict::Cut);
    match worst {
        _ if total == 0 => "There is no TCP or UDP flow to judge.".to_owned(),
        Some(f) if cut > 0 => {
            let by = f.decisive.as_ref().map_or_else(String::new, |d| {
                let head = if cut == 1 { String::new() } else { format!(" The worst is {}:", name(&f)) };
                let who = kind_of(report, d);
                let who = who.split_once('.').map_or(who.as_str(), |(_, name)| name);
                format!("{head} {who} forgets it after {} of silence.", human(d.timeout))
            });
            let head = match (total, cut) {
                (1, _) => "The flow is cut:".to_owned(),
                (_, 1) => format!("One of {total} flows is cut:"),
                (_, _) if cut == total => format!("All {total} flows are cut."),
                _ => format!("{cut} of {total} flows are cut."),
            };
            format!("{head}{by}")
        }
        Some(f) => {
            let n = report.count(f.verdict);
            let verb = if n == 1 { "is" } else { "are" };
            format!("No flow is cut; {n} of {total} {verb} {}.", f.verdict.name())
        }
        None if total == 1 => "The flow survives.".to_owned(),
        None => format!("All {total} flows survive."),
    }
}

fn human(span: Duration) -> String {
    if span < Duration::from_secs(60) { span.to_string() } else { span.human() }
}

fn facts(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let run = report.run;
    let names = match &run.names[..] {
        [one] => one.clone(),
        many => format!("{} files, from {} to {}", many.len(), many[0], many[many.len() - 1]),
    };
    let mut facts = vec![("Capture", names)];
    // Scenarios begin at 0, which is no date.
    let from = if run.begin < Instant::from_secs(5 * 365 * 86_400) { String::new() } else { format!(", from {}", date(run.begin)) };
    facts.push(("Holds", format!("{} in {}{from}", several(run.counters.records as usize, "packet", "packets"), span(report.span()))));
    let mut told = String::new();
    clock(&mut told, report.path, usize::MAX);
    facts.push(("Clock", told.trim().trim_start_matches("clock: ").to_owned()));
    facts
}

fn tiles(report: &Report<'_>, tables: &[chart::Occupancy]) -> Vec<Tile> {
    let mut tiles: Vec<Tile> = Verdict::ALL
        .into_iter()
        .zip(report.counts())
        .filter(|(verdict, count)| *count > 0 || *verdict == Verdict::Cut)
        .map(|(verdict, count)| Tile {
            value: count.to_string(),
            label: verdict.name().to_owned(),
            tone: tone_of(count as u64, tone(verdict)),
            mark: (count > 0).then(|| verdict.name().to_owned()),
        })
        .collect();
    let plain = |value: String, label: &str| Tile { value, label: label.to_owned(), tone: Tone::Plain, mark: None };
    tiles.push(plain(human(Duration::from_secs(report.span().as_secs())), "captured"));
    let peak = tables
        .iter()
        .map(|table| (0..table.times.len()).map(|at| table.counts.iter().filter_map(|row| row.get(at)).sum()).max().unwrap_or(0))
        .max();
    if let Some(peak) = peak.filter(|peak: &u64| *peak > 0) {
        tiles.push(plain(peak.to_string(), "entries at most in a table"));
    }
    tiles
}

fn remarks(report: &Report<'_>, listed: usize) -> Vec<String> {
    let mut text = String::new();
    left_out(&mut text, report.run, usize::MAX);
    let mut remarks: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    if listed < report.flows() {
        remarks.push(format!("{} flows are not listed; flowlapse replay with --ndjson lists them all.", report.flows() - listed));
    }
    let sums = &report.sums;
    if sums.blocked > 0 {
        remarks.push(format!("{} packets were kept by a box for other reasons than a timer.", sums.blocked));
    }
    if sums.copies > 0 {
        remarks.push(format!("{} packets were captured twice; the copies crossed no box.", sums.copies));
    }
    if sums.invalid > 0 {
        remarks.push(format!("{} packets would be INVALID to conntrack.", sums.invalid));
    }
    if report.outlived_secs() > 0 {
        remarks.push(format!("Entries outlive closed flows by {} entry-seconds in all.", report.outlived_secs()));
    }
    remarks.push("What is drawn after the cut is predicted by the rules of Linux hosts with their defaults; the capture's own packets after it would not have been sent so.".to_owned());
    remarks
}

/// A curve for the page, with no more steps than it can show.
pub(super) fn survival(chart: &chart::Survival) -> Chart {
    let steps = &chart.steps;
    let every = steps.len().div_ceil(STEPS_MAX).max(1);
    let last = steps.len().saturating_sub(1);
    let kept = steps.iter().enumerate().filter(|(index, _)| index % every == 0 || *index == last);
    Chart::Survival(Survival {
        title: if chart.sampled { chart.title.clone() } else { "How many flows an idle timer would keep".to_owned() },
        note: if chart.marks.is_empty() {
            String::new()
        } else {
            "Red: timers in force on the path. Grey: usual ones, for comparison.".to_owned()
        },
        across: if chart.across.is_empty() { "idle timer of open connections (logarithmic)".to_owned() } else { chart.across.clone() },
        sampled: chart.sampled,
        steps: kept.map(|(_, step)| ((step.secs * 1000.0).round() / 1000.0, (step.kept * 100.0).round() / 100.0)).collect(),
        marks: chart.marks.iter().map(|mark| Mark { at: mark.secs, label: mark.label.clone(), strong: mark.strong }).collect(),
    })
}

/// A table's filling for the page.
pub(super) fn occupancy(chart: &chart::Occupancy) -> Chart {
    Chart::Occupancy(Occupancy {
        title: chart.title.clone(),
        note: chart.subtitle.clone(),
        states: chart.states.clone(),
        times: chart.times.iter().map(|at| (at * 1000.0).round() / 1000.0).collect(),
        counts: chart.counts.clone(),
        limit: chart.limit,
        limit_label: chart.limit_label.clone(),
        events: chart.events.iter().map(|(at, text)| super::page::Event { at: *at, text: text.clone() }).collect(),
    })
}
