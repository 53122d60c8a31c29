//! Where a number stands on an axis, and which numbers are written beside it. It draws nothing.

use crate::time::Duration;

/// How numbers are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Linear,
    /// Square roots: for counts of very different size.
    Root,
    /// Logarithms of `1 + n`: for counts that differ even more.
    LogCount,
    /// Logarithms; never of nothing.
    Log,
}

/// An axis: from which number to which, and from which pixel to which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) kind: Kind,
    pub(super) values: (f64, f64),
    pub(super) pixels: (f64, f64),
}

impl Scale {
    /// The pixel of a number; numbers beyond the axis stand at its end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let bend = |value: f64| match self.kind {
            Kind::Linear => value,
            Kind::Root => value.max(0.0).sqrt(),
            Kind::LogCount => value.max(0.0).ln_1p(),
            Kind::Log => value.max(f64::MIN_POSITIVE).ln(),
        };
        let (from, to) = (bend(self.values.0), bend(self.values.1));
        let share = if to > from { (bend(value) - from) / (to - from) } else { 0.5 };
        self.pixels.0 + share.clamp(0.0, 1.0) * (self.pixels.1 - self.pixels.0)
    }
}

/// A logarithmic axis of time that holds all of these seconds with some room beside them.
pub(super) fn log_time(secs: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Scale {
    const LEAST: f64 = 0.001;
    const MOST: f64 = 1e9;
    let usable = secs.filter(|s| s.is_finite()).map(|s| s.clamp(LEAST, MOST));
    let (low, high) = usable.fold((f64::MAX, 0.0_f64), |(low, high), s| (low.min(s), high.max(s)));
    let (low, high) = if high > 0.0 { (low, high) } else { (1.0, 3600.0) };
    // At least two decades, so that one value alone has an axis too.
    let (low, high) = if high / low < 100.0 { (low / 4.0, high * 4.0) } else { (low / 1.3, high * 1.5) };
    Scale { kind: Kind::Log, values: (low, high), pixels }
}

/// Times that people count in, seconds: those that are written first, then those that are written where there is room.
const ROUND: [&[f64]; 2] = [
    &[0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 864_000.0, 8_640_000.0, 86_400_000.0, 864_000_000.0],
    &[2.0, 5.0, 30.0, 120.0, 300.0, 1800.0, 7200.0, 43_200.0, 172_800.0, 432_000.0, 1_728_000.0],
];

/// Round times within a logarithmic axis, the important ones first.
pub(super) fn log_time_ticks(scale: &Scale) -> Vec<(f64, String)> {
    let within = |s: &&f64| (scale.values.0..=scale.values.1).contains(*s);
    ROUND.iter().flat_map(|row| row.iter().filter(within)).map(|s| (*s, human(*s))).collect()
}

/// Round times of a linear axis, rising; about `count` of them.
pub(super) fn time_ticks((from, to): (f64, f64), count: usize) -> Vec<(f64, String)> {
    const STEPS: [f64; 22] = [
        0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0,
        21_600.0, 43_200.0,
    ];
    let span = to - from;
    let wanted = span / count.max(1) as f64;
    let step = STEPS.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| nice((wanted / 86_400.0).max(1.0)) * 86_400.0);
    multiples(from, to, step).map(|s| (s, human(s))).collect()
}

/// Round counts from nothing to `most`, rising; about `count` of them.
pub(super) fn count_ticks(kind: Kind, most: f64, count: usize) -> Vec<f64> {
    if kind == Kind::LogCount {
        let powers = std::iter::successors(Some(1.0), |p| Some(p * 10.0)).take_while(|p| *p <= most);
        return std::iter::once(0.0).chain(powers).collect();
    }
    if kind == Kind::Root {
        // Steps that are even in square roots, made round; each stands once.
        let mut ticks: Vec<f64> = (0..=count).map(|n| nice_below(most * (n as f64 / count as f64).powi(2))).collect();
        ticks.dedup_by(|a, b| (*a - *b).abs() < 0.5);
        return ticks;
    }
    multiples(0.0, most, nice((most / count as f64).max(1.0))).collect()
}

fn multiples(from: f64, to: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (from / step).ceil() as i64;
    (first..first + 64).map(move |n| n as f64 * step).take_while(move |value| *value <= to * (1.0 + 1e-9))
}

/// The least of 1, 2, 5, 10, 20, … that is not below.
fn nice(value: f64) -> f64 {
    let power = 10.0_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(value)
}

/// The greatest of 0, 1, 2, 5, 10, 20, … that is not above.
fn nice_below(value: f64) -> f64 {
    if value < 1.0 {
        return 0.0;
    }
    let power = 10.0_f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|step| step * power).find(|step| *step <= value * (1.0 + 1e-9)).unwrap_or(0.0)
}

/// Seconds as people say them.
pub(super) fn human(secs: f64) -> String {
    if secs > 0.0 && secs < 0.001 { format!("{}µs", (secs * 1e6).round()) } else { Duration::from_secs_f64(secs).human() }
}

/// A count with its thousands apart: `262 144`.
pub(super) fn grouped(count: f64) -> String {
    let digits = format!("{:.0}", count.max(0.0));
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && digits.len() > 4 {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// A count in few characters: from a million on in millions and more.
pub(super) fn short(count: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, letter)) => format!("{}\u{a0}{letter}", (count / unit * 10.0).round() / 10.0),
        None => grouped(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let labels = |ticks: Vec<(f64, String)>| ticks.into_iter().map(|t| t.1).collect::<Vec<_>>().join(" ");
        assert_eq!(labels(time_ticks((0.0, 60.0), 8)), "0s 10s 20s 30s 40s 50s 1m");
        assert_eq!(labels(time_ticks((0.0, 432_000.0), 8)), "0s 1d 2d 3d 4d 5d");
        assert_eq!(count_ticks(Kind::Linear, 37.0, 5), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(count_ticks(Kind::LogCount, 2500.0, 5), [0.0, 1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(count_ticks(Kind::Linear, 0.0, 5), [0.0]);
        assert_eq!(grouped(262_144.0), "262\u{a0}144");
        assert_eq!(grouped(1000.0), "1000");
        assert_eq!([short(2.5e9), short(4e6), short(20_000.0)], ["2.5\u{a0}G", "4\u{a0}M", "20\u{a0}000"]);
    }

    #[test]
    fn an_axis_keeps_what_is_beyond_it_at_its_end() {
        let scale = log_time([1.0, 1000.0].into_iter(), (0.0, 100.0));
        assert!(scale.at(0.0).abs() < 1e-9 && (scale.at(1e12) - 100.0).abs() < 1e-9);
        assert!(log_time(std::iter::empty(), (0.0, 1.0)).values.1 > 1.0);
    }
}
