//! Time as a value: instants and durations in nanoseconds, and how people write them.
//!
//! Nothing here knows the operating system's clock. Every model takes its time as an argument.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A point in time, in nanoseconds since an epoch that the input chose: 1970 for captures, the start for recordings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Instant(pub u64);

/// A span of time, in nanoseconds; never negative. 2⁶⁴ ns are 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Duration(pub u64);

const NANOS_PER_SEC: u64 = 1_000_000_000;

impl Instant {
    /// The epoch of the input.
    pub const ZERO: Instant = Instant(0);
    /// Later than every instant that an input can hold.
    pub const MAX: Instant = Instant(u64::MAX);

    /// The instant `seconds` whole seconds after the epoch.
    pub const fn from_secs(seconds: u64) -> Instant {
        Instant(seconds.saturating_mul(NANOS_PER_SEC))
    }

    /// The time that has passed since `earlier`; zero where `earlier` is later, as after a clock that jumped back.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);
    /// Longer than every span that an input can hold.
    pub const MAX: Duration = Duration(u64::MAX);

    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Duration {
        Duration(seconds.saturating_mul(NANOS_PER_SEC))
    }

    /// A span of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Duration {
        Duration(millis.saturating_mul(1_000_000))
    }

    /// The nearest span to a number of seconds; negative and unordered values become zero.
    pub fn from_secs_f64(seconds: f64) -> Duration {
        if seconds > 0.0 { Duration((seconds * 1e9).round().min(u64::MAX as f64) as u64) } else { Duration::ZERO }
    }

    /// Whole seconds, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / NANOS_PER_SEC
    }

    /// Seconds as a floating-point number, for printing and for arithmetic that is not a verdict.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The difference, or zero where `other` is longer.
    #[must_use]
    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }

    /// This span `times` over, at most [`Duration::MAX`].
    #[must_use]
    pub const fn saturating_mul(self, times: u64) -> Duration {
        Duration(self.0.saturating_mul(times))
    }

    /// Reads a span as people write it: bare seconds (`900`, `0.5`), or numbers with the units
    /// `ns us ms s m min h d w`, alone or in a row (`15m`, `2h13m20s`, `1d 2h`).
    ///
    /// # Errors
    /// A sentence that names what could not be read.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let bad = || format!("'{text}' is not a duration: write seconds (900) or units (15m, 2h13m20s, 250ms)");
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(bad());
        }
        let mut total: u64 = 0;
        let mut rest = trimmed;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let scale: u64 = match unit {
                "" if after.is_empty() && number == trimmed => NANOS_PER_SEC,
                "ns" => 1,
                "us" | "µs" => 1_000,
                "ms" | "msec" => 1_000_000,
                "s" | "sec" | "secs" | "second" | "seconds" => NANOS_PER_SEC,
                "m" | "min" | "mins" | "minute" | "minutes" => 60 * NANOS_PER_SEC,
                "h" | "hour" | "hours" => 3_600 * NANOS_PER_SEC,
                "d" | "day" | "days" => 86_400 * NANOS_PER_SEC,
                "w" | "week" | "weeks" => 604_800 * NANOS_PER_SEC,
                _ => return Err(bad()),
            };
            total = total.checked_add(scaled(number, scale).ok_or_else(bad)?).ok_or_else(bad)?;
            rest = after.trim_start();
        }
        Ok(Duration(total))
    }
}

/// A decimal number times a scale, exactly, without floating point.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut value = whole.checked_mul(scale)?;
    let mut unit = scale;
    for digit in fraction.bytes() {
        unit /= 10;
        value = value.checked_add(u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?) * unit)?;
    }
    Some(value)
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, span: Duration) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Add for Duration {
    type Output = Duration;
    fn add(self, other: Duration) -> Duration {
        Duration(self.0.saturating_add(other.0))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, span: Duration) -> Instant {
        Instant(self.0.saturating_sub(span.0))
    }
}

/// Seconds with as many decimals as carry information, at most three: `900 s`, `908.492 s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = (u128::from(self.0) + 500_000) / 1_000_000;
        let (whole, part) = (millis / 1000, millis % 1000);
        if part == 0 {
            write!(f, "{whole} s")
        } else {
            let decimals = format!("{part:03}");
            write!(f, "{whole}.{} s", decimals.trim_end_matches('0'))
        }
    }
}

impl Duration {
    /// The span in the largest units, as people say it: `2h`, `15m`, `2h13m20s`, `908.492s`.
    pub fn human(self) -> String {
        let secs = self.as_secs();
        let millis = (self.0 % NANOS_PER_SEC) / 1_000_000;
        let mut out = String::new();
        for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
            let count = match unit {
                "d" => secs / size,
                "h" => secs % 86_400 / size,
                _ => secs % 3_600 / size,
            };
            if count > 0 {
                out.push_str(&format!("{count}{unit}"));
            }
        }
        let rest = secs % 60;
        if millis > 0 {
            out.push_str(format!("{rest}.{millis:03}").trim_end_matches('0'));
            out.push('s');
        } else if rest > 0 || out.is_empty() {
            out.push_str(&format!("{rest}s"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, nanos) in [
            ("900", 900_000_000_000),
            ("0.5", 500_000_000),
            ("15m", 900_000_000_000),
            ("2h13m20s", 8_000_000_000_000),
            ("24h0m0s", 86_400_000_000_000),
            ("1d 2h", 93_600_000_000_000),
            ("250ms", 250_000_000),
            ("15min", 900_000_000_000),
        ] {
            assert_eq!(Duration::parse(text), Ok(Duration(nanos)), "{text}");
        }
        for text in ["", "abc", "5x", "1h30", "1.2.3s", "-5", "99999999999999999999"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_print_without_noise() {
        assert_eq!(Duration::from_secs(900).to_string(), "900 s");
        assert_eq!(Duration(908_492_345_678).to_string(), "908.492 s");
        assert_eq!(Duration::from_secs(8000).human(), "2h13m20s");
        assert_eq!(Duration::from_secs(432_000).human(), "5d");
        assert_eq!(Duration(908_492_000_000).human(), "15m8.492s");
    }
}
