//! Lives of real timers against the timer wheel: an IPVS entry is armed once, left alone, and watched until it is gone.

use super::{Disagreement, Result};
use crate::kernel::wheel::{Hz, Phase};
use crate::time::{Duration, Instant};

/// The recordings name no clock rate; all of them are from kernels with 250 ticks a second.
const HZ: Hz = Hz(250);
/// The entry was looked for ten times a second, so its end is seen by so much late.
const POLL: Duration = Duration::from_millis(100);
/// What a poll itself takes. The recorded ends were seen 0.5 to 94.5 ms after the wheel fires, so it is hardly needed.
const SLACK: Duration = Duration::from_millis(10);

/// One line `LIFE state start life`.
struct Life<'a> {
    state: &'a str,
    start: Instant,
    lived: Duration,
}

/// Compares every life with the instant at which the wheel fires.
///
/// # Errors
/// What cannot be read, with its line.
pub(super) fn compare(name: &str, text: &str) -> std::result::Result<Result, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, first) = lines.next().ok_or("empty: expected a line 'jiffies J at T'")?;
    let phase = phase(first).ok_or("line 1: expected 'jiffies J at T'")?;
    let mut result = Result::new(name);
    for (number, line) in lines {
        let life = life(line).ok_or_else(|| format!("line {}: expected 'LIFE state start life'", number + 1))?;
        let nominal = nominal(life.state).ok_or_else(|| {
            format!("line {}: no timer is known for state '{}': expected SYN_RECV, FIN_WAIT or ESTABLISHED", number + 1, life.state)
        })?;
        result.steps += 1;
        let step = result.steps;
        check(&mut result, step, phase, &life, nominal);
    }
    Ok(result)
}

fn check(result: &mut Result, step: usize, phase: Phase, life: &Life, nominal: Duration) {
    let tick = phase.hz.tick();
    // The tie between clock and counter is known to a tick only, and the tick decides where a granule ends.
    let fires = [life.start - tick, life.start, life.start + tick].map(|armed| phase.fires(armed, nominal));
    let possible = |fires: &Instant| {
        let seen = life.start + life.lived;
        seen + tick >= *fires && seen <= *fires + tick + POLL + SLACK
    };
    if possible(&fires[1]) {
        return;
    }
    if fires.iter().any(possible) {
        result.undecided(step, TICK);
        return;
    }
    let after = |at: Instant| at.since(life.start);
    result.disagree(|| Disagreement {
        step,
        injected: format!("{} armed at {} for {nominal}", life.state, life.start.since(Instant::ZERO)),
        expected: format!("seen gone after {}", life.lived),
        got: format!("fires after {}, seen at the latest after {}", after(fires[1]), after(fires[1] + tick + POLL + SLACK)),
        dialogue: Vec::new(),
        recording: None,
    });
}

const TICK: &str = "the timer was armed within a tick of the end of a granule";

/// The timers under which the lives were recorded: the defaults.
fn nominal(state: &str) -> Option<Duration> {
    let state = crate::model::ipvs::state::State::ALL.into_iter().find(|s| s.name() == state)?;
    Some(Duration::from_secs(crate::model::ipvs::state::TO_26[state as usize]))
}

fn phase(line: &str) -> Option<Phase> {
    let mut words = line.split_whitespace();
    let ("jiffies", jiffies, "at", at, None) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()) else {
        return None;
    };
    Some(Phase { hz: HZ, jiffies: jiffies.parse().ok()?, at: Instant(seconds(at)?.0) })
}

fn life(line: &str) -> Option<Life<'_>> {
    let mut words = line.split_whitespace();
    let ("LIFE", state, start, life, None) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()) else {
        return None;
    };
    Some(Life { state, start: Instant(seconds(start)?.0), lived: seconds(life)? })
}

/// Seconds with decimals, and nothing that is not a plain number.
fn seconds(text: &str) -> Option<Duration> {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'.').then(|| Duration::parse(text).ok())?
}
