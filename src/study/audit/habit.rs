//! Whether programs have set a keepalive of their own: no tool shows TCP_KEEPIDLE, but the timers of their sockets do.
//!
//! A host whose idle time is two hours has timers anywhere in these two hours. One that shows a few seconds is rare there, and the
//! rule for a program whose idle time is of that size; many such timers of one program are no chance at all.

use crate::inventory::{Socket, SocketTimer};
use crate::time::Duration;
use std::collections::HashMap;

/// A timer below a hundredth of the host's idle time is one by itself: chance would show it once in a hundred.
const ALONE: u64 = 100;
/// Timers below a tenth are, if seven in ten of a program's sockets have such.
const TOGETHER: u64 = 10;
const SHARE_PERMILLE: u64 = 700;
/// So many sockets make a habit.
const ENOUGH: u64 = 3;

/// The timers of one program's sockets.
#[derive(Clone, Copy, Default)]
struct Seen {
    sockets: u64,
    short: u64,
    longest: Duration,
}

/// What the sockets of a host say about its programs.
pub(super) struct Habits<'a> {
    /// The idle time of sockets whose program has set none.
    host: Duration,
    programs: HashMap<Option<&'a str>, Seen>,
}

impl<'a> Habits<'a> {
    /// The habits of a list of sockets.
    pub(super) fn of(sockets: impl Iterator<Item = &'a Socket>, host: Duration) -> Habits<'a> {
        let mut programs: HashMap<Option<&'a str>, Seen> = HashMap::new();
        for socket in sockets {
            if let Some((SocketTimer::Keepalive, due, 0)) = socket.timer {
                let seen = programs.entry(socket.program.as_deref()).or_default();
                seen.sockets += 1;
                if due.0 < host.0 / TOGETHER {
                    seen.short += 1;
                    seen.longest = seen.longest.max(due);
                }
            }
        }
        Habits { host, programs }
    }

    /// The largest idle time that a socket's own may be, where its timer shows that it has one; `due` is when the timer fires,
    /// and `quiet` for how long the connection has been quiet at the least.
    pub(super) fn own(&self, socket: &Socket, due: Duration, quiet: Duration) -> Option<Duration> {
        let seen = self.programs.get(&socket.program.as_deref()).copied().unwrap_or_default();
        let habit = seen.sockets >= ENOUGH && seen.short * 1000 >= seen.sockets * SHARE_PERMILLE && due.0 < self.host.0 / TOGETHER;
        if !habit && due.0 >= self.host.0 / ALONE {
            return None;
        }
        // What a timer has left is seldom all that it had: twice the most of several, four times that of one.
        let seen_at_least = (due + quiet).max(if habit { seen.longest } else { Duration::ZERO });
        let most = Duration(seen_at_least.0.saturating_mul(if habit { 2 } else { 4 }));
        Some(most.max(Duration::from_secs(2))).filter(|most| *most < self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::At;
    use crate::net::{Addr, Sock};

    fn socket(program: Option<&str>, secs: u64) -> Socket {
        let sock = |port| Sock { addr: Addr::v4([10, 0, 0, 1]), port };
        Socket {
            state: "ESTAB".to_owned(),
            local: sock(1),
            peer: sock(2),
            queues: [0, 0],
            timer: Some((SocketTimer::Keepalive, Duration::from_secs(secs), 0)),
            program: program.map(str::to_owned),
            at: At { origin: "ss".into(), line: 1 },
        }
    }

    fn own(all: &[Socket], which: usize, quiet: u64) -> Option<u64> {
        let habits = Habits::of(all.iter(), Duration::from_secs(7200));
        let (_, due, _) = all[which].timer?;
        habits.own(&all[which], due, Duration::from_secs(quiet)).map(Duration::as_secs)
    }

    #[test]
    fn a_timer_of_seconds_is_the_programs_own_and_one_of_an_hour_is_not() {
        assert_eq!(own(&[socket(None, 12)], 0, 3), Some(60));
        assert_eq!(own(&[socket(None, 71)], 0, 0), Some(284));
        assert_eq!(own(&[socket(None, 72)], 0, 0), None);
        assert_eq!(own(&[socket(None, 3600)], 0, 0), None);
    }

    #[test]
    fn what_most_sockets_of_a_program_show_is_a_habit() {
        let mut all: Vec<Socket> = [290, 170, 210].map(|secs| socket(Some("app"), secs)).into();
        all.extend([200, 3000, 5000, 6900].map(|secs| socket(Some("sshd"), secs)));
        assert_eq!(own(&all, 1, 40), Some(580));
        // Once in ten is chance.
        assert_eq!(own(&all, 3, 40), None);
    }
}
