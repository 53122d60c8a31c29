//! What a connection at two points says about the timer of the box between them: it had forgotten the flow after one silence, and had
//! not after others.

use super::compare::{Comparison, Event, Passage, between};
use crate::net::TcpFlags;
use crate::policy::presets;
use crate::time::Duration;

/// The bounds of a timer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bracket {
    /// The event that shows that the box had forgotten the flow, among those of the comparison.
    pub event: usize,
    /// The last one before it that passed.
    pub last: usize,
    /// The point by whose clock the silence is measured.
    pub point: usize,
    /// The silence between them: the timer is no longer.
    pub gap: Duration,
    /// The longest silence before that was crossed, and the event that ended it: the timer is longer, unless the box took the flow
    /// up again.
    pub crossed: Option<(Duration, usize)>,
    /// Whether one end at least had closed its direction: another timer than that of an open connection.
    pub closing: bool,
    /// Whether the box told the ends of its own accord, so that the silence is the timer.
    pub told: bool,
}

/// Shorter silences are no reason to forget.
const SILENCE_MIN: Duration = Duration::from_secs(1);

impl Bracket {
    /// What a comparison says; nothing where no box had forgotten anything.
    pub fn of(comparison: &Comparison) -> Option<Bracket> {
        let events = &comparison.events;
        let last = events.iter().rposition(|event| event.passage == Passage::Crossed && event.at_point.iter().all(Option::is_some))?;
        let forgotten = |event: &Event| matches!(event.passage, Passage::Kept | Passage::Leaked | Passage::Born);
        let next = last + 1 + events[last + 1..].iter().position(forgotten)?;
        let event = &events[next];
        let point = event.packet()?.0;
        let gap = between(&events[last], event, point)?;
        if gap < SILENCE_MIN {
            return None;
        }
        let fin = events[..=last].iter().position(|e| e.passage == Passage::Crossed && e.flags().has(TcpFlags::FIN));
        // After a FIN other timers run: only silences since then can be compared.
        let from = fin.unwrap_or(0);
        let passed: Vec<usize> = (from..=last).filter(|at| events[*at].passage == Passage::Crossed).collect();
        let silences = passed.windows(2).filter_map(|pair| Some((between(&events[pair[0]], &events[pair[1]], point)?, pair[1])));
        Some(Bracket {
            event: next,
            last,
            point,
            gap,
            crossed: silences.max_by_key(|(length, at)| (*length, std::cmp::Reverse(*at))),
            closing: fin.is_some(),
            told: event.passage == Passage::Born && event.flags().any(TcpFlags::RST | TcpFlags::FIN),
        })
    }

    /// Whether a longer silence was crossed before: an idle timer alone does not explain it.
    pub fn contradicts(&self) -> bool {
        self.crossed.is_some_and(|(crossed, _)| crossed >= self.gap)
    }

    /// The presets with a timer in these bounds, the nearest below the silence first: name, timer, value.
    pub fn candidates(&self) -> Vec<(&'static str, &'static str, Duration)> {
        let wanted: &[&str] = if self.closing { &["fin_wait", "close_wait", "last_ack", "time_wait", "close"] } else { &["established"] };
        // A timer of the kernel's wheel may fire an eighth late.
        let low = self.crossed.map_or(Duration::ZERO, |(crossed, _)| Duration(crossed.0 / 9 * 8));
        let mut found: Vec<_> = presets::all()
            .iter()
            .flat_map(|preset| preset.timers().into_iter().map(move |timer| (preset.id.as_str(), timer.name, timer.timeout)))
            .filter(|(_, name, timeout)| wanted.contains(name) && *timeout > low && *timeout <= self.gap)
            .collect();
        found.sort_by_key(|(id, name, timeout)| (std::cmp::Reverse(*timeout), *id, *name));
        found
    }
}
