//! What the two ends of a cut flow would have felt, and when.
//!
//! A prediction by the rules of Linux endpoints with default settings (the spec's endpoints.md sections 2 to 5); the
//! closed loop is what proves one.

use super::VictimKind;
use crate::engine::replay::Fate;
use crate::kernel::wheel::{Hz, lateness_max};
use crate::net::{Direction, Proto};
use crate::time::Duration;

/// What one end feels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Feeling {
    /// Nothing is lost for it.
    Nothing,
    /// ECONNRESET.
    Reset,
    /// ETIMEDOUT after retransmitting.
    Timeout,
    /// ETIMEDOUT after keepalive probes.
    KeepaliveTimeout,
    /// It waits for something that does not come, and learns of it only by a timer of its own.
    Hang,
    /// A datagram is lost.
    Lost,
}

impl Feeling {
    /// Every feeling.
    pub const ALL: [Feeling; 6] =
        [Feeling::Nothing, Feeling::Reset, Feeling::Timeout, Feeling::KeepaliveTimeout, Feeling::Hang, Feeling::Lost];

    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Feeling::Nothing => "nothing",
            Feeling::Reset => "reset",
            Feeling::Timeout => "timeout",
            Feeling::KeepaliveTimeout => "keepalive-timeout",
            Feeling::Hang => "hang",
            Feeling::Lost => "lost",
        }
    }
}

/// What one end feels, and how long after the victim was sent it knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symptom {
    /// What it feels.
    pub feeling: Feeling,
    /// How long after the victim it learns of it; none where only a timer of its own, or nothing, tells it.
    pub after: Option<Duration>,
    /// How many packets it sends in vain until then, the victim included.
    pub packets: u32,
    /// The sentence for people.
    pub text: String,
}

/// `tcp_retries2` = 15 as the kernel's own model has it: (2¹⁰ − 1)·0.2 s + 6·120 s.
const RETRIES2_LIMIT: Duration = Duration(924_600_000_000);
/// `TCP_RTO_MIN`: what is added to the round-trip time of a settled connection.
const RTO_MIN: Duration = Duration(200_000_000);
/// `TCP_RTO_MAX`.
const RTO_MAX: Duration = Duration::from_secs(120);

/// How long after sending a segment into a black hole a Linux socket gives up (E-14, E-15: the first retransmission starts the
/// clock, and the decision falls at the first timer after the limit). On exact clocks without `hz`; with it, each timer is late
/// by half of what the wheel allows, which is its mean.
pub fn gives_up_after(rtt: Duration, hz: Option<Hz>) -> Duration {
    staircase(rtt, hz).0
}

/// The same, with how many segments are sent until then.
fn staircase(rtt: Duration, hz: Option<Hz>) -> (Duration, u32) {
    let timer = |rto: Duration| rto + hz.map_or(Duration::ZERO, |hz| Duration(lateness_max(rto, hz).0 / 2));
    let mut rto = rtt + RTO_MIN;
    let first = timer(rto);
    let mut elapsed = Duration::ZERO;
    // The segment itself and its first repetition.
    let mut segments = 2;
    while elapsed < RETRIES2_LIMIT {
        rto = Duration(rto.0.saturating_mul(2).min(RTO_MAX.0));
        elapsed = elapsed + timer(rto);
        segments += u32::from(elapsed < RETRIES2_LIMIT);
    }
    (first + elapsed, segments)
}

/// A packet that came too late, as far as its ends' feelings depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// The flow's protocol.
    pub proto: Proto,
    /// What the packet was.
    pub kind: VictimKind,
    /// Which way it went.
    pub dir: Direction,
    /// What became of it.
    pub fate: Fate,
    /// The flow's round trip, where it is known.
    pub rtt: Option<Duration>,
    /// Whether the box tells both ends when an entry ends.
    pub reset_at_expiry: bool,
    /// Ticks a second of the hosts.
    pub hz: Hz,
}

/// What the client and the server feel of a victim's fate.
pub fn predict(loss: &Loss) -> [Symptom; 2] {
    Words(true).predict(loss)
}

/// The same without sentences, for those who only count.
pub fn felt(loss: &Loss) -> [Symptom; 2] {
    Words(false).predict(loss)
}

/// Whether sentences are wanted.
#[derive(Clone, Copy)]
struct Words(bool);

impl Words {
    fn say(self, text: impl FnOnce() -> String) -> String {
        if self.0 { text() } else { String::new() }
    }

    fn predict(self, loss: &Loss) -> [Symptom; 2] {
        let Loss { proto, kind, dir, fate, rtt, reset_at_expiry, hz } = *loss;
        let names = ["client", "server"];
        let (sender, other) = (names[dir.index()], names[dir.opposite().index()]);
        let pair = |s: Symptom, o: Symptom| if dir == Direction::Original { [s, o] } else { [o, s] };
        if reset_at_expiry && proto == Proto::Tcp {
            let told = |who: &str| Symptom {
                feeling: Feeling::Reset,
                after: None,
                packets: 0,
                text: self.say(|| format!("{who}: the box resets it when the entry ends (ECONNRESET)")),
            };
            return pair(told(sender), told(other));
        }
        if proto == Proto::Udp {
            let lost = Symptom {
                feeling: Feeling::Lost,
                after: None,
                packets: 1,
                text: self.say(|| format!("{sender}: its datagram is lost; UDP does not tell it")),
            };
            let waits = Symptom {
                feeling: Feeling::Hang,
                after: None,
                packets: 0,
                text: self.say(|| format!("{other}: the datagram never comes")),
            };
            return pair(lost, waits);
        }
        let unaware = Symptom {
        feeling: Feeling::Hang,
        after: None,
        packets: 0,
        text: self.say(|| format!(
            "{other}: learns nothing; it believes the connection open until it sends, or until its own keepalive fails (7875 s with Linux defaults, never without SO_KEEPALIVE)"
        )),
    };
        let unaware = if kind == VictimKind::Syn && dir == Direction::Reply { self.silence("client", kind, rtt, hz) } else { unaware };
        let silent = self.silence(sender, kind, rtt, hz);
        match fate {
            Fate::Reset => {
                let reset = Symptom {
                    feeling: Feeling::Reset,
                    after: Some(rtt.unwrap_or(Duration::ZERO)),
                    packets: 1,
                    text: self.say(|| format!("{sender}: \"Connection reset by peer\" (ECONNRESET) within a round trip to the box")),
                };
                pair(reset, unaware)
            }
            Fate::Leaked => {
                let mut leaks = silent;
                leaks.text = self.say(|| format!(
                "{sender}: its packet leaves with an address that the {other} does not know; a reset comes back if that address can be reached (ECONNRESET), else {}",
                leaks.text.split_once(": ").map_or(leaks.text.as_str(), |(_, rest)| rest)
            ));
                pair(leaks, unaware)
            }
            Fate::Unreachable => {
                let mut soft = silent;
                soft.text.push_str("; the ICMP error is only remembered for the final errno");
                pair(soft, unaware)
            }
            Fate::Dropped(_) => pair(silent, unaware),
        }
    }

    /// What the sender of a packet feels that disappears without a word.
    fn silence(self, sender: &str, kind: VictimKind, rtt: Option<Duration>, hz: Hz) -> Symptom {
        match kind {
            VictimKind::Probe => Symptom {
                feeling: Feeling::KeepaliveTimeout,
                after: Some(Duration::from_secs(675)),
                packets: 9,
                text: self.say(|| {
                    format!("{sender}: its keepalive probes go unanswered: ETIMEDOUT 675 s later (9 probes 75 s apart, Linux defaults)")
                }),
            },
            VictimKind::Rst => Symptom {
                feeling: Feeling::Nothing,
                after: None,
                packets: 1,
                text: self.say(|| format!("{sender}: nothing; it has given the connection up and expects no answer to its RST")),
            },
            VictimKind::Ack | VictimKind::Nobody => Symptom {
                feeling: Feeling::Hang,
                after: None,
                packets: 1,
                text: self.say(|| format!("{sender}: notices nothing by this packet; the next data it sends is not answered")),
            },
            // A SYN of the server is a SYN/ACK: the listener repeats it five times and says nothing to anybody.
            VictimKind::Syn if sender == "server" => Symptom {
                feeling: Feeling::Nothing,
                after: Some(Duration::from_secs(63)),
                packets: 6,
                text: self.say(|| "server: its SYN/ACK is not answered; the request is dropped in silence after 63 s".to_owned()),
            },
            VictimKind::Syn => Symptom {
                feeling: Feeling::Timeout,
                after: Some(Duration::from_secs(131)),
                packets: 7,
                text: self.say(|| format!("{sender}: its SYN is not answered: ETIMEDOUT after about 131 s (127 s before 6.5)")),
            },
            VictimKind::Data | VictimKind::Fin | VictimKind::Datagram => {
                let rtt = rtt.unwrap_or(Duration::from_millis(1));
                let ((ideal, packets), wheel) = (staircase(rtt, None), gives_up_after(rtt, Some(hz)));
                let (short, long) = (ideal.min(wheel), ideal.max(wheel));
                Symptom {
                feeling: Feeling::Timeout,
                after: Some(ideal),
                packets,
                text: self.say(|| format!(
                    "{sender}: hangs, retransmitting for {} to {} s (about {} min), then ETIMEDOUT (tcp_retries2 = 15); keepalive is silent meanwhile",
                    short.as_secs(),
                    long.as_secs() + 1,
                    (long.as_secs() + 30) / 60
                )),
            }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn giving_up_is_the_staircase_of_the_kernel() {
        for (rtt_micros, tenths) in
            [(100, 10_447), (1_000, 9_256), (10_000, 9_348), (50_000, 9_678), (100_000, 9_933), (200_000, 10_444), (300_000, 9_675)]
        {
            let after = gives_up_after(Duration(rtt_micros * 1000), None);
            assert_eq!((after.0 + 50_000_000) / 100_000_000, tenths, "RTT {rtt_micros} µs");
        }
    }
}
