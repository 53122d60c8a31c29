//! Durations and shares as scenarios write them.

use crate::time::Duration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A span of time: a number of seconds, or a string such as "15min", "2h13m20s", "250ms".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Span(pub Duration);

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds, or a duration such as \"15min\", \"2h13m20s\" or \"250ms\"")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Span, E> {
        Ok(Span(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Span, E> {
        u64::try_from(seconds).map_err(|_| E::custom(format!("{seconds} s is negative"))).and_then(|s| self.visit_u64(s))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Span, E> {
        if seconds >= 0.0 { Ok(Span(Duration::from_secs_f64(seconds))) } else { Err(E::custom(format!("{seconds} s is negative"))) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        Duration::parse(text).map(Span).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration: seconds as a number, or a string with units (ns, us, ms, s, min, h, d, w), such as \"15min\", \"2h13m20s\" or \"250ms\".",
            "anyOf": [
                { "type": "number", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*[0-9.]+\\s*(ns|us|µs|ms|msec|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?|w|weeks?)?(\\s*[0-9.]+\\s*(ns|us|µs|ms|msec|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?|w|weeks?))*\\s*$" }
            ]
        })
    }
}

/// A share of all, from 0 to 1, or a string such as "0.1%".
#[derive(Clone, Copy, PartialEq, PartialOrd, Default, Debug)]
pub struct Share(pub f64);

impl Share {
    /// The share as parts of a million, rounded.
    pub fn per_million(self) -> u32 {
        (self.0 * 1e6).round() as u32
    }
}

struct ShareVisitor;

impl Visitor<'_> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share from 0 to 1, or a percentage such as \"0.1%\"")
    }

    fn visit_f64<E: Error>(self, share: f64) -> Result<Share, E> {
        if (0.0..=1.0).contains(&share) { Ok(Share(share)) } else { Err(E::custom(format!("{share} is not between 0 and 1"))) }
    }

    fn visit_u64<E: Error>(self, share: u64) -> Result<Share, E> {
        self.visit_f64(share as f64)
    }

    fn visit_i64<E: Error>(self, share: i64) -> Result<Share, E> {
        self.visit_f64(share as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Share, E> {
        let number = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
        let percent = number.ok_or_else(|| E::custom(format!("'{text}' is no share: write 0.001 or \"0.1%\"")))?;
        self.visit_f64(percent / 100.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        deserializer.deserialize_any(ShareVisitor)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share from 0 to 1, or a percentage such as \"0.1%\".",
            "anyOf": [{ "type": "number", "minimum": 0, "maximum": 1 }, { "type": "string", "pattern": "^\\s*[0-9.]+\\s*%\\s*$" }]
        })
    }
}
