//! Times, amounts and intervals in words.

use crate::net::Direction;
use crate::time::{Duration, Instant};

/// `client` or `server`.
pub(super) const fn end(dir: Direction) -> &'static str {
    match dir {
        Direction::Original => "client",
        Direction::Reply => "server",
    }
}

/// A time as Wireshark shows it: seconds since the capture began, six digits.
pub(super) fn clock(at: Instant, begin: Instant) -> String {
    let micros = at.since(begin).0 / 1000;
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// A short span with the digits that it deserves: `83 µs`, `0.204 s`, `12.3 s`, `1h29m58s`.
pub(super) fn brief(span: Duration) -> String {
    let micros = span.0 / 1000;
    if micros < 1_000 {
        format!("{micros} µs")
    } else if micros < 100_000 {
        format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
    } else if micros < 60_000_000 {
        let seconds = span.as_secs_f64();
        if micros < 10_000_000 { format!("{seconds:.3} s") } else { format!("{seconds:.1} s") }
    } else {
        Duration::from_secs((micros + 500_000) / 1_000_000).human()
    }
}

/// An exact span, and what people call it: `5398.507 s (1h29m58s)`.
pub(super) fn exact(span: Duration) -> String {
    if span < Duration::from_secs(60) { brief(span) } else { format!("{span} ({})", brief(span)) }
}

/// Bytes as people say them.
pub(super) fn amount(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// `1 packet`, `3 packets`.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 {
        return format!("1 {one}");
    }
    let stem = one.strip_suffix('y').map_or_else(|| format!("{one}s"), |stem| format!("{stem}ies"));
    format!("{number} {stem}")
}

/// `frame 3`, `frames 3–7`.
pub(super) fn frames((first, last): (u32, u32)) -> String {
    if first == last { format!("frame {first}") } else { format!("frames {first}–{last}") }
}

/// Intervals, the first few: `0.204, 0.408, 0.832, … 120.8 s`.
pub(super) fn intervals(gaps: &[Duration], total: u32) -> String {
    const SHOWN: usize = 6;
    let number = |gap: &Duration| {
        let seconds = gap.as_secs_f64();
        if seconds < 10.0 { format!("{seconds:.3}") } else { format!("{seconds:.1}") }
    };
    let all_shown = gaps.len() == total as usize && gaps.len() <= SHOWN;
    let mut parts: Vec<String> = gaps.iter().take(if all_shown { SHOWN } else { SHOWN - 1 }).map(number).collect();
    if !all_shown {
        parts.push("…".to_owned());
        if gaps.len() == total as usize {
            parts.extend(gaps.last().map(number));
        }
    }
    format!("{} s", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_digits_that_they_deserve() {
        for (nanos, told) in [
            (83_000, "83 µs"),
            (1_250_000, "1.2 ms"),
            (204_000_000, "0.204 s"),
            (12_340_000_000, "12.3 s"),
            (5_398_507_000_000, "1h29m59s"),
        ] {
            assert_eq!(brief(Duration(nanos)), told);
        }
        assert_eq!(clock(Instant(1_500_000_700), Instant(500_000_000)), "1.000000");
        assert_eq!((amount(1), amount(9_999), amount(12_345)), ("1 byte".into(), "9999 bytes".into(), "12.3 kB".into()));
        let gaps: Vec<Duration> = (1..9).map(|n| Duration::from_millis(200 << n)).collect();
        assert_eq!(intervals(&gaps, 8), "0.400, 0.800, 1.600, 3.200, 6.400, …, 51.2 s");
        assert_eq!((count(1, "byte"), count(2, "entry")), ("1 byte".into(), "2 entries".into()));
    }
}
