//! The load: which flows begin when. Copies of the captured flows, and a flood on top.
//!
//! A flow is a template's segments at another time. It knows no boxes.

use super::gather::Kin;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// A SYN flood from addresses that are nobody's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Flood {
    /// SYNs a second, evenly spaced.
    pub rate: f64,
    /// When it begins, from the start of the traffic.
    pub from: Duration,
    /// When it ends; with the traffic, if not said.
    pub to: Option<Duration>,
    /// Whether the server answers.
    pub answered: bool,
}

/// One flow: whose segments, moved by how much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Member {
    /// When it begins, nanoseconds.
    pub start: u64,
    /// Whose segments, by place.
    pub kin: u32,
    /// Which copy; 0 is the flow itself.
    pub copy: u32,
}

/// All flows.
#[derive(Clone, Debug)]
pub struct Load {
    /// What they say.
    pub kin: Vec<Kin>,
    /// Who they are, by start.
    pub members: Vec<Member>,
    /// When the traffic begins.
    pub begin: Instant,
    /// When it ends.
    pub end: Instant,
    /// The flood.
    pub flood: Option<Flood>,
    /// What a flow of the flood says.
    pub flood_kin: Kin,
}

impl Load {
    /// `scale` times as many flows of the same kind. Copies begin at other times: moved by a draw that is even over the span, round its
    /// end to its begin; the flow itself stays where it is. Of a fraction each flow gets one more copy by chance; below 1, chance
    /// leaves flows out.
    pub fn new(kin: Vec<Kin>, (begin, end): (Instant, Instant), scale: f64, flood: Option<Flood>, seed: u64) -> Load {
        let members = drawn(&kin, (begin, end), scale, seed);
        let flood_kin = Kin::flood(flood.is_none_or(|flood| flood.answered));
        Load { kin, members, begin, end, flood, flood_kin }
    }

    /// The same flows with other draws.
    #[must_use]
    pub fn drawn_anew(&self, scale: f64, seed: u64) -> Load {
        Load { members: drawn(&self.kin, (self.begin, self.end), scale, seed), ..self.clone() }
    }

    /// How much later a member says its template's segments, nanoseconds.
    pub fn shift(&self, member: Member) -> i64 {
        member.start.wrapping_sub(self.kin[member.kin as usize].start().0) as i64
    }

    /// How many flows the flood has.
    pub fn flooders(&self) -> u64 {
        let Some(flood) = self.flood else { return 0 };
        let span = self.end.since(self.begin);
        let to = flood.to.unwrap_or(span).min(span);
        (to.saturating_sub(flood.from).as_secs_f64() * flood.rate).floor() as u64
    }

    /// When a flow of the flood begins.
    pub fn flood_start(&self, number: u64) -> Instant {
        let Some(flood) = self.flood else { return Instant::MAX };
        self.begin + flood.from + Duration((number as f64 * 1e9 / flood.rate) as u64)
    }
}

/// A time moved by a shift.
pub const fn moved(at: Instant, shift: i64) -> Instant {
    Instant(at.0.saturating_add_signed(shift))
}

fn drawn(kin: &[Kin], (begin, end): (Instant, Instant), scale: f64, seed: u64) -> Vec<Member> {
    let span = end.since(begin).0;
    let (whole, part) = (scale.trunc() as u64, scale.fract());
    let mut members = Vec::with_capacity((kin.len() as f64 * scale.max(1.0)) as usize + 1);
    for (number, kin) in kin.iter().enumerate() {
        let mut rng = Rng::keyed(seed, number as u64 ^ 0x636f_7069_6573);
        let more = (rng.number() >> 11) as f64 / (1_u64 << 53) as f64;
        let copies = whole + u64::from(more < part);
        let offset = kin.start().since(begin).0;
        for copy in 0..copies {
            let moved = if copy == 0 { 0 } else { rng.below(span.saturating_add(1)) };
            let place = if copy == 0 { offset } else { ((u128::from(offset) + u128::from(moved)) % u128::from(span.max(1))) as u64 };
            members.push(Member { start: begin.0 + place, kin: number as u32, copy: copy as u32 });
        }
    }
    members.sort_unstable();
    members
}
