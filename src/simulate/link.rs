//! A link between two neighbours on the path: delay, loss, reordering, all drawn from a seed.
//!
//! Knows no packets.

use crate::rng::Rng;
use crate::time::Duration;

/// One link, the same in both directions.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Link {
    /// How long a packet takes.
    pub delay: Duration,
    /// Up to how much longer, evenly drawn for each packet; a later packet may overtake.
    pub jitter: Duration,
    /// How many of a million packets are lost.
    pub loss_per_million: u32,
    /// How many of a million packets wait for one more delay, so that others overtake them.
    pub reorder_per_million: u32,
}

impl Link {
    /// Whether every packet takes the same time and arrives.
    pub const fn is_plain(&self) -> bool {
        self.jitter.0 == 0 && self.loss_per_million == 0 && self.reorder_per_million == 0
    }

    /// How long one packet takes; none: it is lost.
    pub fn crossing(&self, rng: &mut Rng) -> Option<Duration> {
        if self.is_plain() {
            return Some(self.delay);
        }
        if self.loss_per_million > 0 && rng.below(1_000_000) < u64::from(self.loss_per_million) {
            return None;
        }
        let mut span = self.delay;
        if self.jitter.0 > 0 {
            span = span + Duration(rng.below(self.jitter.0.saturating_add(1)));
        }
        if self.reorder_per_million > 0 && rng.below(1_000_000) < u64::from(self.reorder_per_million) {
            span = span + self.delay.max(Duration(100_000));
        }
        Some(span)
    }
}
