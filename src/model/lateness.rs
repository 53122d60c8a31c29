//! How late after its nominal end an entry can still be found.
//!
//! Source: `kernel/time/timer.c` from 4.8 on; the spec's endpoints.md section 1. Knows no packets.

use super::Moment;
use crate::kernel::wheel::{Hz, Phase, lateness_max};
use crate::time::{Duration, Instant};

/// How late after its nominal end an entry can still be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lateness {
    /// Never: the end is exact.
    Exact,
    /// The timer sits in the wheel of 4.8 and later, whose phase is unknown.
    Wheel(Hz),
    /// The timer sits in that wheel, and the phase is known.
    Phase(Phase),
}

impl Lateness {
    /// The earliest and the latest instant at which a timer fires that was set at `refreshed`.
    pub fn fires(self, refreshed: Instant, timeout: Duration) -> (Instant, Instant) {
        let nominal = refreshed + timeout;
        match self {
            Lateness::Exact => (nominal, nominal),
            Lateness::Wheel(hz) => (nominal, nominal + lateness_max(timeout, hz)),
            Lateness::Phase(phase) => {
                let at = phase.fires(refreshed, timeout);
                (at, at)
            }
        }
    }

    /// Whether a timer that was set at `refreshed` has fired.
    pub fn has_ended(self, refreshed: Instant, timeout: Duration, moment: &mut Moment) -> bool {
        // Nearly always the nominal end is far away, and nothing else need be known.
        if moment.now + moment.blur < refreshed + timeout {
            return false;
        }
        let (earliest, latest) = self.fires(refreshed, timeout);
        moment.has_ended(earliest, latest)
    }
}
