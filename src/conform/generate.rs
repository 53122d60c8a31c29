//! Dialogues to try on a box: packets of a plausible conversation, with deliberate damage where trackers have edges.
//!
//! A dialogue is drawn whole, before any of it is sent: it does not depend on what the box does, so that it can be
//! replayed, shortened and replayed again. Nothing here knows a model or a kernel.

use super::recording::Options;
use crate::model::Side;
use crate::net::{Seq, TcpFlags};
use crate::rng::Rng;
use crate::time::Duration;

/// One packet to inject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// How long after the one before.
    pub gap: Duration,
    /// The side that it comes from.
    pub from: Side,
    /// TCP flags; none for UDP.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number.
    pub ack: Seq,
    /// Window field, unscaled.
    pub window: u16,
    /// Payload bytes.
    pub len: u32,
    /// TCP options.
    pub options: Options,
}

/// What kind of dialogues are wanted.
#[derive(Clone, Debug)]
pub struct Taste {
    /// Datagrams instead of segments.
    pub udp: bool,
    /// The longest pause between packets; none: back to back.
    pub pause_max: Option<Duration>,
    /// Pauses to come close to, on either side: the timers of the box.
    pub timers: Vec<Duration>,
    /// Packets of a hundred that are damaged.
    pub damaged_percent: u64,
    /// Whether the server's packets pass the box.
    pub server_heard: bool,
}

const S: u8 = TcpFlags::SYN;
const A: u8 = TcpFlags::ACK;
const F: u8 = TcpFlags::FIN;
const R: u8 = TcpFlags::RST;
const P: u8 = TcpFlags::PSH;
const U: u8 = TcpFlags::URG;
const E: u8 = TcpFlags::ECE;
const C: u8 = TcpFlags::CWR;

/// The most packets of a dialogue.
const PACKETS_MAX: u64 = 28;

/// What one side would know of the conversation.
#[derive(Clone, Copy, Debug)]
struct Party {
    /// The next number to send.
    next: Seq,
    /// The first number of this incarnation.
    initial: Seq,
    /// The highest number acknowledged by the peer.
    acked: Seq,
    window: u16,
    /// The scale that it offered in its SYN; used once both have.
    scale: Option<u8>,
    sack: bool,
    sent_syn: bool,
    sent_fin: bool,
}

/// A conversation as it is made up.
struct Talk {
    rng: Rng,
    taste: Taste,
    parties: [Party; 2],
    said: Vec<Planned>,
}

/// Draws one dialogue.
pub fn dialogue(rng: Rng, taste: &Taste) -> Vec<Planned> {
    let mut rng = rng;
    let length = 1 + rng.below(PACKETS_MAX.min(4 + rng.clone().below(40)));
    let parties = [Party::draw(&mut rng), Party::draw(&mut rng)];
    let mut talk = Talk { rng, taste: taste.clone(), parties, said: Vec::new() };
    for _ in 0..length {
        let planned = if talk.taste.udp { talk.datagram() } else { talk.segment() };
        talk.said.push(planned);
    }
    talk.said
}

const SIDES: [Side; 2] = [Side::Client, Side::Server];

impl Party {
    fn draw(rng: &mut Rng) -> Party {
        let initial = draw_initial(rng);
        Party {
            next: initial,
            initial,
            acked: initial,
            window: draw_window(rng),
            scale: if rng.chance(60) { Some(*rng.pick(&[0, 0, 1, 2, 7, 7, 8, 14, 14, 15, 255])) } else { None },
            sack: rng.chance(60),
            sent_syn: false,
            sent_fin: false,
        }
    }
}

/// Initial sequence numbers: anything, or close to where the numbers wrap or change their sign.
fn draw_initial(rng: &mut Rng) -> Seq {
    match rng.below(6) {
        0 => Seq(1000),
        1 => Seq((rng.below(400) as u32).wrapping_sub(300)),
        2 => Seq(0x7fff_ff00u32.wrapping_add(rng.below(512) as u32)),
        _ => Seq(rng.number() as u32),
    }
}

fn draw_window(rng: &mut Rng) -> u16 {
    *rng.pick(&[65_535, 65_535, 65_535, 29_200, 29_200, 1024, 1024, 512, 64, 64, 100, 1, 0])
}

impl Talk {
    fn datagram(&mut self) -> Planned {
        let from = self.speaker(55);
        let len = *self.rng.pick(&[0, 1, 10, 100, 1200]);
        let gap = self.gap();
        Planned { gap, from: SIDES[from], flags: TcpFlags(0), seq: Seq(0), ack: Seq(0), window: 0, len, options: Options::default() }
    }

    /// Who speaks next: the client in so many cases of a hundred.
    fn speaker(&mut self, client_percent: u64) -> usize {
        usize::from(self.taste.server_heard && !self.rng.chance(client_percent))
    }

    /// A pause: mostly short, sometimes long, sometimes just about as long as a timer.
    fn gap(&mut self) -> Duration {
        const NEAR: u64 = 400_000_000;
        let Some(longest) = self.taste.pause_max else { return Duration::ZERO };
        let rng = &mut self.rng;
        let gap = match rng.below(10) {
            0..=4 => rng.below(250_000_000),
            5..=6 if !self.taste.timers.is_empty() => {
                let timer = rng.pick(&self.taste.timers).0;
                timer.saturating_sub(NEAR / 2) + rng.below(NEAR)
            }
            5..=8 => rng.below(longest.0 / 2),
            _ => rng.below(longest.0),
        };
        Duration(gap.min(longest.0))
    }

    fn segment(&mut self) -> Planned {
        if self.said.is_empty() {
            return self.opening();
        }
        let damaged = self.taste.damaged_percent;
        let mut planned = match self.rng.below(100) {
            0..=9 if damaged > 0 => self.repeat(),
            10..=13 => self.probe(),
            14..=20 if damaged > 0 => self.reset(),
            21..=27 if damaged > 0 => self.reuse(),
            28..=32 if damaged > 0 => self.at_an_edge(),
            33..=35 if damaged > 0 => self.odd(),
            _ => self.orderly(),
        };
        if self.rng.chance(damaged) {
            self.damage(&mut planned);
        }
        planned
    }

    /// The first packet: nearly always a SYN; else the conversation is met in its middle.
    fn opening(&mut self) -> Planned {
        match self.rng.below(12) {
            0 if self.taste.damaged_percent > 0 => {
                let from = self.speaker(60);
                let flags = *self.rng.pick(&[A, A, P | A, F | A, S | A, R, R | A]);
                let len = *self.rng.pick(&[0, 0, 0, 1, 10, 1000]);
                for party in &mut self.parties {
                    party.sent_syn = true;
                }
                let mut planned = self.say(from, flags, len);
                // A keepalive probe may be the first that is seen.
                if self.rng.chance(25) {
                    planned.seq = planned.seq.minus(1);
                }
                planned
            }
            1 if self.taste.damaged_percent > 0 => {
                let from = self.speaker(0);
                self.say(from, S, 0)
            }
            _ => self.say(0, S, 0),
        }
    }

    /// A packet as its sender would make it now; it moves the sender on.
    fn say(&mut self, from: usize, flags: u8, len: u32) -> Planned {
        let gap = self.gap();
        let peer = self.parties[1 - from];
        let mut options = Options::default();
        let me = &mut self.parties[from];
        if flags & S != 0 {
            options.mss = Some(if self.rng.chance(50) { 1460 } else { 536 });
            options.ws = me.scale;
            options.sackok = me.sack;
            if self.rng.chance(4) {
                options = Options::default();
            }
        }
        // The window is what it was, unless the reader is slow or has caught up.
        if self.rng.chance(7) {
            me.window = draw_window(&mut self.rng);
        }
        let seq = if flags & S != 0 && me.sent_syn { me.initial } else { me.next };
        let ack = if flags & A != 0 { peer.next } else { Seq(0) };
        let end = seq.plus(len + u32::from(flags & S != 0) + u32::from(flags & F != 0));
        if flags & R == 0 && end.after(me.next) {
            me.next = end;
        }
        me.sent_syn |= flags & S != 0;
        me.sent_fin |= flags & F != 0;
        let window = me.window;
        if flags & A != 0 {
            self.parties[1 - from].acked = ack;
        }
        Planned { gap, from: SIDES[from], flags: TcpFlags(flags), seq, ack, window, len, options }
    }

    /// What an honest conversation would have next: the handshake, data, acknowledgements, the close.
    fn orderly(&mut self) -> Planned {
        let [client, server] = self.parties;
        if !self.taste.server_heard {
            let next = self.rng.weighted(&[(5, (A, 0)), (4, (P | A, 10)), (2, (F | A, 0)), (1, (S, 0))]);
            return self.say(0, next.0, next.1);
        }
        if !client.sent_syn && !server.sent_syn {
            return self.say(0, S, 0);
        }
        if client.sent_syn != server.sent_syn {
            // The other side answers; sometimes it opens as well, at the same time.
            let from = usize::from(client.sent_syn);
            let flags = if self.rng.chance(92) { S | A } else { S };
            return self.say(from, flags, 0);
        }
        if client.acked == client.initial && server.acked == server.initial && self.rng.chance(30) {
            // Both have opened and neither has answered.
            let from = self.speaker(50);
            return self.say(from, S | A, 0);
        }
        let from = self.speaker(50);
        let pending = self.parties[1 - from].next != self.parties[1 - from].acked;
        let len = *self.rng.pick(&[1, 1, 10, 100, 1000, 1400]);
        let closing = if self.parties[1 - from].sent_fin { 6 } else { 2 };
        let next = self.rng.weighted(&[
            (if pending { 8 } else { 2 }, (A, 0)),
            (if self.parties[from].sent_fin { 0 } else { 5 }, (P | A, len)),
            (1, (A, len)),
            (if self.parties[from].sent_fin { 0 } else { closing }, (F | A, 0)),
            (1, (F | A | P, 1)),
        ]);
        self.say(from, next.0, next.1)
    }

    /// The same packet once more, or nearly the same.
    fn repeat(&mut self) -> Planned {
        let back = 1 + self.rng.below(3.min(self.said.len() as u64)) as usize;
        let mut again = self.said[self.said.len() - back].clone();
        again.gap = self.gap();
        match self.rng.below(8) {
            0 => again.ack = again.ack.plus(1),
            1 => again.window = draw_window(&mut self.rng),
            2 => again.flags = TcpFlags(again.flags.0 ^ P),
            _ => {}
        }
        again
    }

    /// A keepalive probe, with a byte of garbage or without.
    fn probe(&mut self) -> Planned {
        let from = self.speaker(50);
        let (len, next) = (u32::from(self.rng.chance(30)), self.parties[from]);
        let mut planned = self.say(from, A, 0);
        planned.seq = next.next.minus(1);
        planned.len = len;
        planned
    }

    /// Resets at the numbers that decide whether a tracker believes them.
    fn reset(&mut self) -> Planned {
        let from = self.speaker(50);
        let (me, peer) = (self.parties[from], self.parties[1 - from]);
        let window = u32::from(peer.window) << peer.scale.unwrap_or(0).min(14);
        let seq = match self.rng.below(12) {
            0..=2 => me.acked,
            3..=4 => me.next,
            5 => me.acked.plus(1),
            6 => me.acked.minus(1),
            7 => Seq(0),
            8 => me.acked.plus(window),
            9 => me.acked.plus(window.saturating_add(1)),
            10 => me.initial,
            _ => me.next.plus(self.rng.below(70_000) as u32),
        };
        let flags = if self.rng.chance(50) { R } else { R | A };
        let mut planned = self.say(from, flags, 0);
        planned.seq = seq;
        planned.ack = match self.rng.below(8) {
            0 => peer.initial.plus(1),
            1 => self.said.last().map_or(peer.next, |last| last.seq.plus(last.len + 1)),
            2 => peer.acked,
            3 => Seq(0),
            _ => peer.next,
        };
        planned.window = if self.rng.chance(70) { 0 } else { planned.window };
        planned
    }

    /// The 4-tuple used again, in whatever state the old connection is; or what an old peer answers to that.
    fn reuse(&mut self) -> Planned {
        let from = self.speaker(60);
        let old = self.parties;
        match self.rng.below(10) {
            // A challenge ACK of the old incarnation.
            0..=1 => {
                let mut planned = self.say(from, A, 0);
                planned.seq = old[from].acked.plus(self.rng.below(3) as u32);
                planned.ack = old[1 - from].initial.minus(self.rng.below(100_000) as u32);
                planned
            }
            // A SYN/ACK of another incarnation.
            2 => {
                let mut planned = self.say(from, S | A, 0);
                planned.seq = draw_initial(&mut self.rng);
                planned.ack = draw_initial(&mut self.rng);
                planned
            }
            _ => {
                let initial = match self.rng.below(6) {
                    0 => old[from].next.plus(1 + self.rng.below(100_000) as u32),
                    1 => old[from].next,
                    2 => old[from].next.minus(1 + self.rng.below(100_000) as u32),
                    3 => old[from].initial,
                    4 => old[from].next.plus(0x7fff_ffff),
                    _ => draw_initial(&mut self.rng),
                };
                self.parties[from] = Party { next: initial, initial, acked: initial, sent_syn: false, sent_fin: false, ..old[from] };
                if self.rng.chance(80) {
                    let fresh = draw_initial(&mut self.rng);
                    self.parties[1 - from] = Party { next: fresh, initial: fresh, acked: fresh, ..Party::draw(&mut self.rng) };
                }
                self.say(from, S, 0)
            }
        }
    }

    /// Data or acknowledgements exactly at the edge of a window, or one beyond.
    fn at_an_edge(&mut self) -> Planned {
        let from = self.speaker(50);
        let (me, peer) = (self.parties[from], self.parties[1 - from]);
        let scaled = |party: &Party| match (me.scale, peer.scale) {
            (Some(_), Some(_)) => u32::from(party.window) << party.scale.unwrap_or(0).min(14),
            _ => u32::from(party.window),
        };
        let (mine, theirs) = (scaled(&me), scaled(&peer));
        let len = *self.rng.pick(&[0, 1, 100, 1400]);
        let nudge = *self.rng.pick(&[0, 0, 1, u32::MAX]);
        let flags = *self.rng.pick(&[A, P | A, F | A]);
        let mut planned = self.say(from, A, 0);
        planned.flags = TcpFlags(flags);
        planned.len = len;
        match self.rng.below(6) {
            0 => planned.seq = me.acked.plus(theirs.saturating_sub(len)).plus(nudge),
            1 => planned.seq = me.acked.plus(theirs).plus(nudge),
            2 => planned.seq = me.acked.minus(mine).minus(len).plus(nudge),
            3 => planned.seq = me.acked.minus(66_000).minus(len).plus(nudge),
            4 => planned.ack = peer.next.plus(nudge),
            _ => planned.ack = peer.next.minus(mine.max(66_000)).plus(nudge),
        }
        planned
    }

    /// Combinations of flags that no sane stack sends, and some that one might.
    fn odd(&mut self) -> Planned {
        let from = self.speaker(50);
        let mut planned = self.say(from, A, 0);
        planned.flags = TcpFlags(*self.rng.pick(&[
            0,
            P,
            U,
            F,
            S | F,
            S | R,
            F | R,
            S | U,
            S | E,
            S | E | C,
            S | A | E,
            P | A | E,
            U | A,
            F | A | U,
            S | A | P,
            R | P,
            R | A | P,
            F | P | U,
            F | S | R | P | A | U,
        ]));
        planned
    }

    /// Something is wrong with a packet.
    fn damage(&mut self, planned: &mut Planned) {
        let rng = &mut self.rng;
        match rng.below(14) {
            0 => planned.seq = planned.seq.plus(1),
            1 => planned.seq = planned.seq.minus(1),
            2 => planned.seq = planned.seq.plus(rng.below(200_000) as u32),
            3 => planned.seq = planned.seq.minus(rng.below(200_000) as u32),
            4 => planned.seq = Seq(rng.number() as u32),
            5 => planned.ack = planned.ack.plus(1 + rng.below(2000) as u32),
            6 => planned.ack = planned.ack.minus(1 + rng.below(2000) as u32),
            7 => planned.ack = Seq(rng.number() as u32),
            8 => planned.window = draw_window(rng),
            9 => planned.window = 0,
            10 => planned.len = *rng.pick(&[0, 1, 10, 100, 1000, 1400]),
            11 => {
                planned.options.mss = Some(1460);
                planned.options.ws = rng.chance(50).then(|| *rng.pick(&[0, 2, 7, 14]));
            }
            12 => {
                let left = planned.ack.plus(rng.below(3000) as u32);
                let right = left.plus(1 + rng.below(3000) as u32);
                planned.options.sack.push([u64::from(left.0), u64::from(right.0)]);
                if rng.chance(30) {
                    planned.options.sack.push([u64::from(right.plus(10).0), u64::from(right.plus(900).0)]);
                }
            }
            _ => planned.flags = TcpFlags(planned.flags.0 ^ *rng.pick(&[A, P, F, S, U])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taste() -> Taste {
        Taste { udp: false, pause_max: None, timers: Vec::new(), damaged_percent: 15, server_heard: true }
    }

    #[test]
    fn the_same_seed_draws_the_same_dialogue() {
        let of = |seed| dialogue(Rng::new(seed), &taste());
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert!((1..1000).all(|seed| (1..=PACKETS_MAX as usize).contains(&of(seed).len())));
    }

    #[test]
    fn what_is_not_wanted_is_not_drawn() {
        for seed in 0..300 {
            let orderly = Taste { damaged_percent: 0, ..taste() };
            assert!(dialogue(Rng::new(seed), &orderly).iter().all(|p| p.flags.0 & R == 0 && p.gap == Duration::ZERO));
            let direct = Taste { server_heard: false, pause_max: Some(Duration::from_secs(6)), ..taste() };
            let said = dialogue(Rng::new(seed), &direct);
            assert!(said.iter().all(|p| p.from == Side::Client && p.gap <= Duration::from_secs(6)));
        }
    }

    /// Each kind of edge that trackers have is reached within a few thousand dialogues.
    #[test]
    fn the_interesting_is_drawn() {
        let said: Vec<Planned> = (0..3000).flat_map(|seed| dialogue(Rng::new(seed), &taste())).collect();
        let some = |fits: &dyn Fn(&Planned) -> bool| assert!(said.iter().filter(|p| fits(p)).count() > 20);
        some(&|p| p.flags.0 == R);
        some(&|p| p.flags.0 == S && p.from == Side::Server);
        some(&|p| !p.options.sack.is_empty());
        some(&|p| p.seq.0 > u32::MAX - 300);
        some(&|p| p.window == 0 && p.flags.0 == A);
        some(&|p| p.options.ws == Some(14));
        some(&|p| p.flags.0 == 0);
    }
}
