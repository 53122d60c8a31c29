//! From how far a packet came, by its time to live: whether a reset can be of the host in whose name it was sent, and at which end
//! a capture was taken.

use crate::engine::dossier::Sighting;
use crate::net::{Direction, TcpFlags};

/// The values with which systems send packets off.
const INITIAL: [u8; 4] = [32, 64, 128, 255];

/// How many routers a packet has passed, if it was sent off with the next usual value. `infer` has a scale of its own (`hops` in
/// study/infer/listen.rs), which does not know 32: the two differ for values up to 32 alone, and no recording here has any.
pub fn distance(ttl: u8) -> u8 {
    INITIAL.into_iter().find(|initial| *initial >= ttl).unwrap_or(u8::MAX) - ttl
}

/// The times to live with which the packets of one end came, resets left out: whose they are is the question.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Hops {
    /// The most usual one; 0 where there is none.
    pub usual: u8,
    /// The lowest and the highest.
    pub range: (u8, u8),
    /// How many packets.
    pub packets: u32,
}

/// What a time to live says of a packet's birthplace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Birth {
    /// It came from as far as the other packets of this end.
    Alike,
    /// It came from nearer or from farther away than all of them.
    Otherwise,
    /// It was sent off with another value, from as far: another stack at the same distance, or the same host.
    OtherStack,
    /// There is nothing to compare with.
    Unknown,
}

impl Birth {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Birth::Alike => "like-the-host",
            Birth::Otherwise => "unlike-the-host",
            Birth::OtherStack => "other-stack",
            Birth::Unknown => "unknown",
        }
    }
}

impl Hops {
    /// Of the packets of one end.
    pub fn of<'s>(sightings: impl Iterator<Item = &'s Sighting>) -> Hops {
        let mut counts = [0_u32; 256];
        let mut range = (u8::MAX, 0);
        for sighting in sightings.filter(|s| s.seg.ttl > 0) {
            counts[usize::from(sighting.seg.ttl)] += 1;
            range = (range.0.min(sighting.seg.ttl), range.1.max(sighting.seg.ttl));
        }
        let packets: u32 = counts.iter().sum();
        if packets == 0 {
            return Hops::default();
        }
        let most = counts.iter().max().copied().unwrap_or_default();
        let usual = counts.iter().position(|count| *count == most).unwrap_or_default();
        Hops { usual: usual as u8, range, packets }
    }

    /// What the time to live of one more packet in this end's name says.
    pub fn judge(&self, ttl: u8) -> Birth {
        if self.packets == 0 || ttl == 0 {
            Birth::Unknown
        } else if (self.range.0..=self.range.1).contains(&ttl) {
            Birth::Alike
        } else if distance(ttl) == distance(self.usual) {
            Birth::OtherStack
        } else {
            Birth::Otherwise
        }
    }

    /// How many routers its packets have passed.
    pub fn distance(&self) -> Option<u8> {
        (self.packets > 0).then(|| distance(self.usual))
    }
}

/// The times to live of both ends.
pub fn usual(sightings: &[Sighting]) -> [Hops; 2] {
    [Direction::Original, Direction::Reply]
        .map(|dir| Hops::of(sightings.iter().filter(|s| s.seg.dir == dir && !s.seg.flags.has(TcpFlags::RST))))
}

/// At which end a capture was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vantage {
    /// On the client's link: its packets have passed no router, the server's have.
    Client,
    /// On the server's.
    Server,
    /// Somewhere between, or nobody knows.
    Unknown,
}

impl Vantage {
    /// By the distances of both ends.
    pub fn of(hops: &[Hops; 2]) -> Vantage {
        match hops.map(|hops| hops.distance()) {
            [Some(0), None | Some(1..)] => Vantage::Client,
            [None | Some(1..), Some(0)] => Vantage::Server,
            _ => Vantage::Unknown,
        }
    }

    /// Whether what this end sends need not come so far.
    pub fn is_far_from(self, end: Direction) -> bool {
        matches!((self, end), (Vantage::Client, Direction::Reply) | (Vantage::Server, Direction::Original))
    }

    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Vantage::Client => "client",
            Vantage::Server => "server",
            Vantage::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_from_nearer_is_not_the_hosts() {
        let hops = Hops { usual: 63, range: (63, 63), packets: 4 };
        assert_eq!(hops.judge(63), Birth::Alike);
        assert_eq!(hops.judge(64), Birth::Otherwise);
        assert_eq!(hops.judge(254), Birth::OtherStack);
        assert_eq!(Hops::default().judge(64), Birth::Unknown);
        assert_eq!(Vantage::of(&[Hops { usual: 64, range: (64, 64), packets: 1 }, hops]), Vantage::Client);
        assert_eq!(Vantage::of(&[hops, hops]), Vantage::Unknown);
    }
}
