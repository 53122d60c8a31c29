//! What a capture would hold if the client had TCP keepalive on: its probes, and the answers to them, in every silence.
//!
//! Source: `tcp_keepalive_timer` (`net/ipv4/tcp_timer.c`); the spec's endpoints.md section 3. A probe is due so long after the
//! last segment of the connection, if everything that was sent is acknowledged; it is answered at once, which starts the wait
//! anew. It is sent on time: lateness belongs to the timers that it has to beat. Judges nothing.

use crate::flow::{Flow, GapEvidence, Observation, Shape};
use crate::net::{Direction, Proto, Segment, Seq, TcpFlags};
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// What each side has sent, as far as its next probe or answer depends on it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Ends {
    last: [Option<Segment>; 2],
    next: [Seq; 2],
    at: Instant,
    /// Whether a FIN or a RST was sent.
    closing: bool,
}

/// How long the answer takes: less than any timer can tell, and not nothing.
const ANSWER: Duration = Duration::from_millis(1);
/// A silence that lasts longer is a clock that was set wrong, not a connection: no probes are put into it.
const SILENCE_MAX: Duration = Duration::from_secs(366 * 86_400);

impl Ends {
    pub(super) const NEW: Ends = Ends { last: [None; 2], next: [Seq(0); 2], at: Instant::ZERO, closing: false };

    /// Takes a segment of the capture.
    pub(super) fn take(&mut self, seg: &Segment) {
        let side = seg.dir.index();
        if self.last[side].is_none() || seg.end().after(self.next[side]) {
            self.next[side] = seg.end();
        }
        if seg.flags.has(TcpFlags::SYN) {
            self.closing = false;
        }
        self.closing |= seg.flags.any(TcpFlags::FIN | TcpFlags::RST);
        self.last[side] = Some(*seg);
        self.at = seg.at;
    }

    /// Whether a keepalive timer would run: the connection is open, and each side has acknowledged what the other sent.
    fn is_quiet(&self, flow: &Flow) -> bool {
        let [Some(client), Some(server)] = self.last else { return false };
        // The flow may have seen the next segment already: only what was taken counts.
        flow.proto() == Proto::Tcp
            && !self.closing
            && !client.flags.has(TcpFlags::SYN)
            && client.ack == self.next[1]
            && (server.ack == self.next[0] || server.flags.has(TcpFlags::SYN))
    }

    /// Tells the probes and answers between the last segment and `until`.
    pub(super) fn probe(&mut self, flow: &Flow, every: Duration, until: Instant, mut tell: impl FnMut(&Segment, &Observation)) {
        if every == Duration::ZERO || until.since(self.at) > SILENCE_MAX || !self.is_quiet(flow) {
            return;
        }
        let [Some(client), Some(server)] = self.last else { return };
        let blank = |model: &Segment| Segment { frame: 0, len: 0, flags: TcpFlags(TcpFlags::ACK), ..*model };
        while self.at + every + ANSWER < until {
            let due = self.at + every;
            let [mine, theirs] = self.next;
            let probe = Segment { at: due, seq: mine.minus(1), ack: theirs, sack: theirs, dir: Direction::Original, ..blank(&client) };
            let answer = Segment { at: due + ANSWER, seq: theirs, ack: mine, sack: mine, dir: Direction::Reply, ..blank(&server) };
            let seen = |gap, shape| Observation { gap, evidence: GapEvidence::ProvenIdle, shape, revises: None };
            tell(&probe, &seen(every, Shape::KeepaliveProbe));
            tell(&answer, &seen(ANSWER, Shape::KeepaliveAnswer));
            self.at = answer.at;
        }
    }
}
