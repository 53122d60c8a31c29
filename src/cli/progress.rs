//! How far a command is: a line on standard error, only for a person who watches a terminal and only after a while.
//!
//! Nothing here knows what is counted, and nothing of it reaches an output that is kept.

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a command runs before its progress is shown.
const AFTER: Duration = Duration::from_secs(1);
/// How often the line is drawn at most, in times a second.
const DRAWN_HZ: u8 = 8;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Bytes,
    Steps,
}

/// The progress of one piece of work. It may be shared by reference between threads; when it is dropped, its line is gone.
#[derive(Debug)]
pub struct Progress {
    unit: Unit,
    what: String,
    total: Option<u64>,
    done: AtomicU64,
    /// When the work began; nothing where nobody watches.
    since: Option<Instant>,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    /// Progress through input of `total` bytes, if their number is known; `what` is the line's first word or two.
    pub fn bytes(total: Option<u64>, what: &str) -> Progress {
        Progress::begin(Unit::Bytes, total, what)
    }

    /// Progress through `total` steps, if their number is known; `what` is the line's first word or two.
    pub fn steps(total: Option<u64>, what: &str) -> Progress {
        Progress::begin(Unit::Steps, total, what)
    }

    fn begin(unit: Unit, total: Option<u64>, what: &str) -> Progress {
        let since = (io::stderr().is_terminal() && !super::global::is_quiet()).then(Instant::now);
        Progress { unit, what: what.to_owned(), total, done: AtomicU64::new(0), since, bar: OnceLock::new() }
    }

    /// Says how much is done in all. What is less than was said before changes nothing.
    pub fn tick(&self, done: u64) {
        let before = self.done.fetch_max(done, Ordering::Relaxed);
        self.show(before.max(done));
    }

    /// Says that so much more is done.
    pub fn advance(&self, by: u64) {
        let before = self.done.fetch_add(by, Ordering::Relaxed);
        self.show(before.saturating_add(by));
    }

    /// How much is done.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn show(&self, done: u64) {
        let Some(since) = self.since else { return };
        let bar = match self.bar.get() {
            Some(bar) => bar,
            None if since.elapsed() < AFTER => return,
            None => self.bar.get_or_init(|| self.draw(since)),
        };
        bar.set_position(done);
    }

    fn draw(&self, since: Instant) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(self.total, ProgressDrawTarget::stderr_with_hz(DRAWN_HZ));
        // A template that is not understood would be a mistake of this file; the bar then has its standard look.
        if let Ok(style) = ProgressStyle::with_template(template(self.unit, self.total.is_some())) {
            bar.set_style(style.progress_chars("=> ").with_key("rate", rate).with_key("left", left));
        }
        bar.with_message(self.what.clone()).with_elapsed(since.elapsed())
    }
}

/// Bytes a second since the work began. The library's own rate begins with the bar, which comes later.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let seconds = state.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
    let _ = write!(out, "{}/s", HumanBytes((state.pos() as f64 / seconds) as u64));
}

/// How long the rest takes at the pace since the work began.
fn left(state: &ProgressState, out: &mut dyn Write) {
    let (done, total) = (state.pos().max(1), state.len().unwrap_or_default());
    let rest = state.elapsed().as_secs_f64() * total.saturating_sub(done) as f64 / done as f64;
    let _ = write!(out, "{}", HumanDuration(Duration::try_from_secs_f64(rest).unwrap_or(Duration::MAX)));
}

const fn template(unit: Unit, known: bool) -> &'static str {
    match (unit, known) {
        (Unit::Bytes, true) => "{msg} [{bar:30}] {percent}% of {total_bytes}, {rate}, {left} left",
        (Unit::Bytes, false) => "{msg} {bytes}, {rate}, {elapsed}",
        (Unit::Steps, true) => "{msg} [{bar:30}] {pos} of {len}, {left} left",
        (Unit::Steps, false) => "{msg} {pos}, {elapsed}",
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_shared_between_threads_and_never_goes_back() {
        let progress = Progress::steps(Some(4000), "test");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| progress.advance(1)));
            }
        });
        assert_eq!(progress.done(), 4000);
        progress.tick(10);
        assert_eq!(progress.done(), 4000);
        progress.tick(4001);
        assert_eq!(progress.done(), 4001);
    }

    #[test]
    fn every_template_is_understood() {
        for unit in [Unit::Bytes, Unit::Steps] {
            for known in [true, false] {
                assert!(ProgressStyle::with_template(template(unit, known)).is_ok());
            }
        }
    }

    #[test]
    fn the_line_is_not_drawn_before_its_time() {
        let mut progress = Progress::bytes(None, "reading");
        progress.since = Some(Instant::now());
        progress.tick(1);
        assert!(progress.bar.get().is_none());
        progress.since = Instant::now().checked_sub(AFTER);
        progress.tick(2);
        assert_eq!(progress.bar.get().is_some(), progress.since.is_some());
    }
}
