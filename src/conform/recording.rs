//! The `steps` recordings as text: header, steps, and what they say about the box. They are read and written in one form.
//!
//! Nothing here runs a model.

use crate::net::{Segment, SegmentBits, Seq, TcpFlags};
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first line of a recording.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Header {
    /// Version of the format: 1.
    pub format: u32,
    /// `conntrack`, `ipvs-nat`, `ipvs-dr` or `ipvs-tun`.
    #[serde(rename = "box")]
    pub kind: String,
    /// The kernel's release.
    pub kernel: String,
    /// The seed that the packets were drawn from.
    #[serde(default)]
    pub seed: u64,
    /// What was set for the recording.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Ticks a second, if noted.
    pub hz: Option<u32>,
    /// The client's address.
    pub client: String,
    /// The real server's address.
    pub server: String,
    /// The virtual or translated address.
    pub vip: String,
    /// Every relevant setting as the kernel reported it.
    #[serde(default)]
    pub sysctl: BTreeMap<String, String>,
}

impl Header {
    /// Ticks a second; 250 where the recording does not say.
    pub fn hz(&self) -> u32 {
        self.hz.or_else(|| self.options.get("hz")?.parse().ok()).filter(|hz| *hz > 0).unwrap_or(250)
    }

    /// A sysctl as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.sysctl.get(name)?.trim().parse().ok()
    }

    /// An option of the recording.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }
}

/// What a table's listing showed of a dialogue's entry.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Listed {
    /// The state; none for UDP in conntrack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Whole seconds left.
    pub timeout: u64,
    /// Conntrack: `[ASSURED]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assured: Option<bool>,
    /// Conntrack: `[UNREPLIED]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreplied: Option<bool>,
}

/// Both tables; the outer level is absent where a table is not in use.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Listing {
    /// The conntrack entry.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ct: Option<Option<Listed>>,
    /// The IPVS entry.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub vs: Option<Option<Listed>>,
}

/// Tells `null` from an absent key.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<Listed>>, D::Error> {
    Option::<Listed>::deserialize(d).map(Some)
}

/// TCP options of an injected packet.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
pub struct Options {
    /// Maximum segment size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mss: Option<u16>,
    /// Window scale shift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ws: Option<u8>,
    /// SACK permitted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sackok: bool,
    /// SACK blocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sack: Vec<[u64; 2]>,
}

impl Options {
    /// A segment with these options, as a tracker sees it.
    pub fn on(&self, segment: Segment) -> Segment {
        let mut bits = 0;
        for (there, bit) in [
            (self.mss.is_some() || self.ws.is_some() || self.sackok || !self.sack.is_empty(), SegmentBits::HAS_OPTIONS),
            (self.sackok, SegmentBits::SACK_PERMITTED),
            (self.ws.is_some(), SegmentBits::WINDOW_SCALE),
        ] {
            bits |= if there { bit } else { 0 };
        }
        let edges = self.sack.iter().map(|[_, right]| Seq(*right as u32));
        let sack = edges.fold(segment.ack, |highest, edge| if edge.after(highest) { edge } else { highest });
        Segment { sack, window_scale: self.ws.unwrap_or(0), bits: SegmentBits(bits), ..segment }
    }
}

/// A packet that the box sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Out {
    /// `client` or `server`.
    pub to: String,
    /// The conntrack verdict.
    pub ct: Option<String>,
    /// Source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// Destination address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// Source port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// TCP flags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
    /// Sequence number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    /// Acknowledgement field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<u32>,
    /// Payload bytes (UDP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u32>,
    /// Type and code of an ICMP error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<[u8; 2]>,
}

/// One injected packet and what came of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Step {
    /// Which dialogue.
    pub seq: u32,
    /// Seconds since the recording began.
    pub t: f64,
    /// `client` or `server`.
    pub from: String,
    /// The client's port.
    pub port: u16,
    /// TCP flags.
    #[serde(default)]
    pub flags: String,
    /// Sequence number.
    #[serde(default)]
    pub s: u32,
    /// Acknowledgement number.
    #[serde(default)]
    pub a: u32,
    /// Window.
    #[serde(default)]
    pub w: u16,
    /// Payload bytes.
    #[serde(default)]
    pub len: u32,
    /// Options.
    #[serde(default)]
    pub opts: Options,
    /// The tables just before the packet (timed recordings).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Listing>,
    /// What the box sent.
    #[serde(default)]
    pub out: Vec<Out>,
    /// The conntrack entry after the packet.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ct: Option<Option<Listed>>,
    /// The IPVS entry after the packet.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub vs: Option<Option<Listed>>,
    /// Seconds that the step took from its first reading to its last, where that was noted: so imprecise are its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<f64>,
}

impl Step {
    /// The packet as the models see it.
    pub fn segment(&self) -> Segment {
        self.opts.on(Segment {
            at: self.at(),
            seq: Seq(self.s),
            ack: Seq(self.a),
            len: self.len,
            window: self.w,
            flags: TcpFlags::parse(&self.flags).unwrap_or_default(),
            ..Segment::EMPTY
        })
    }

    /// When it was injected.
    pub fn at(&self) -> Instant {
        Instant((self.t.max(0.0) * 1e9).round() as u64)
    }

    /// How far the packet and the readings may lie from [`Step::at`]; nothing where it was not noted.
    pub fn spread(&self) -> Duration {
        Duration((self.took.unwrap_or(0.0).clamp(0.0, 3600.0) * 1e9).round() as u64)
    }

    /// The packet in a line, for people.
    pub fn describe(&self) -> String {
        let o = &self.opts;
        let mut options = String::new();
        if let Some(ws) = o.ws {
            options.push_str(&format!(" ws={ws}"));
        }
        if o.sackok {
            options.push_str(" sackok");
        }
        if !o.sack.is_empty() {
            options.push_str(&format!(" sack={:?}", o.sack));
        }
        format!(
            "t={:.4} {} port {} [{}] seq={} ack={} win={} len={}{options}",
            self.t, self.from, self.port, self.flags, self.s, self.a, self.w, self.len
        )
    }
}
