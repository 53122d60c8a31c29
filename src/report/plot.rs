//! Pictures as SVG, drawn by plotters without any font of the system: how many flows each value of an idle timer would keep.
//!
//! Colours are chosen to be told apart in print and by the colour-blind, on a white ground in light and dark surroundings alike.

use super::Report;
use crate::engine::Device;
use crate::finding::Verdict;
use crate::model::Clause;
use crate::model::conntrack::entry::State as CtState;
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::time::Duration;
use plotters::prelude::*;

/// The size of the picture, pixels.
const SIZE: (u32, u32) = (960, 540);
const CURVE: RGBColor = RGBColor(0, 90, 181);
const TIMER: RGBColor = RGBColor(220, 50, 32);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// One step of the survival curve: with a timer of `secs` seconds, this share of the flows (per cent) is kept.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// The timer, seconds.
    pub secs: f64,
    /// The share of flows kept, per cent.
    pub kept: f64,
}

/// The survival curve of one idle timer for open connections: each flow's longest proven silence, sorted.
pub fn survival(report: &Report<'_>) -> Vec<Step> {
    let mut longest: Vec<Duration> = report
        .run
        .flows
        .iter()
        .filter_map(|judged| {
            judged.run.hops.iter().flat_map(|h| h.profile.rows()).filter(|r| is_open(r.clause)).map(|r| r.longest.idle).max()
        })
        .collect();
    longest.sort_unstable();
    let total = longest.len().max(1) as f64;
    let mut steps: Vec<Step> = Vec::new();
    for (index, idle) in longest.iter().enumerate() {
        let step = Step { secs: idle.as_secs_f64(), kept: 100.0 * (index + 1) as f64 / total };
        match steps.last_mut() {
            Some(last) if last.secs.to_bits() == step.secs.to_bits() => *last = step,
            _ => steps.push(step),
        }
    }
    steps
}

/// Whether a clause is the timer of an open connection.
fn is_open(clause: Clause) -> bool {
    matches!(clause, Clause::State(CtState::Established) | Clause::Ipvs(VsState::Established) | Clause::Idle(IdleClause::Established))
}

/// The timers for open connections that are in force, with the boxes that have them.
fn timers(report: &Report<'_>) -> Vec<(f64, String)> {
    let timer = |device: &Device| match device {
        Device::Router(r) => r.conntrack.settings.tcp_timeouts[CtState::Established as usize],
        Device::Director(d) => d.ipvs.timeouts[VsState::Established as usize],
        Device::Idle(i) => i.timer(IdleClause::Established).timeout,
    };
    let hops = report.path.hops.iter().map(|hop| (timer(&hop.device), super::printable(&hop.label)));
    hops.filter(|(t, _)| *t != Duration::MAX).map(|(t, label)| (t.as_secs_f64(), format!("{label}: {}", t.human()))).collect()
}

/// Draws the survival curve with the timers in force.
///
/// # Errors
/// What plotters says.
pub fn survival_svg(report: &Report<'_>) -> Result<String, String> {
    let mut svg = String::new();
    draw(report, &mut svg).map_err(|e| format!("the picture cannot be drawn: {e}"))?;
    Ok(svg)
}

fn draw(report: &Report<'_>, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let (steps, marks) = (survival(report), timers(report));
    let highest = steps.iter().map(|s| s.secs).chain(marks.iter().map(|m| m.0)).fold(10.0_f64, f64::max);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let cut = report.count(Verdict::Cut);
    let title = format!("{} flows, {cut} cut: how many an idle timer of this length would keep", report.glances.len());
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d((0.1_f64..highest * 1.6).log_scale(), 0.0_f64..104.0)?;
    chart
        .configure_mesh()
        .x_desc("idle timer of open connections (logarithmic)")
        .y_desc("flows kept, %")
        .x_label_formatter(&|secs| Duration::from_secs_f64(*secs).human())
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .label_style(("sans-serif", 14))
        .draw()?;
    let mut points = Vec::with_capacity(steps.len() * 2 + 2);
    let mut level = 0.0;
    for step in &steps {
        points.push((step.secs.max(0.1), level));
        level = step.kept;
        points.push((step.secs.max(0.1), level));
    }
    points.push((highest * 1.6, level));
    chart.draw_series(LineSeries::new(points, CURVE.stroke_width(3)))?;
    for (index, (secs, label)) in marks.iter().enumerate() {
        let secs = secs.max(0.1);
        chart.draw_series(LineSeries::new([(secs, 0.0), (secs, 100.0)], TIMER.stroke_width(2)))?;
        // Labels stand left of their line and below one another, so that close timers stay readable.
        let at = (secs, 96.0 - 6.0 * (index % 14) as f64);
        let width = (label.chars().count() as i32) * 7 + 8;
        chart.draw_series([EmptyElement::at(at) + Text::new(label.clone(), (-width, 0), ("sans-serif", 14).into_font().color(&TIMER))])?;
    }
    root.present()?;
    Ok(())
}
