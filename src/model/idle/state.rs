//! The states of a flow at an idle box, and the table that leads from one to the next.
//!
//! Only what all such boxes have in common: they see a handshake, FINs that are acknowledged, and resets. Nothing here
//! knows timers.

use crate::net::{Direction, Segment, Seq, TcpFlags};
use crate::time::Instant;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The state that a flow is in, which is also the name of the timer that runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Clause {
    /// The client's SYN was seen.
    SynSent,
    /// The server's SYN/ACK was seen.
    SynRecv,
    /// The handshake is complete.
    Established,
    /// One end has sent a FIN.
    FinWait,
    /// That FIN was acknowledged.
    CloseWait,
    /// Both ends have sent a FIN.
    LastAck,
    /// Both FINs were acknowledged.
    TimeWait,
    /// A reset was seen.
    Close,
    /// One datagram was seen.
    UdpFirst,
    /// Several datagrams were seen, all in one direction.
    UdpUnreplied,
    /// Datagrams were seen in both directions.
    UdpStream,
}

impl Clause {
    /// Every clause, in the order of a connection's life.
    pub const ALL: [Clause; 11] = {
        use Clause::{Close, CloseWait, Established, FinWait, LastAck, SynRecv, SynSent, TimeWait, UdpFirst, UdpStream, UdpUnreplied};
        [SynSent, SynRecv, Established, FinWait, CloseWait, LastAck, TimeWait, Close, UdpFirst, UdpUnreplied, UdpStream]
    };

    /// The name as conntrack prints states; for UDP the name of the setting.
    pub const fn name(self) -> &'static str {
        match self {
            Clause::SynSent => "SYN_SENT",
            Clause::SynRecv => "SYN_RECV",
            Clause::Established => "ESTABLISHED",
            Clause::FinWait => "FIN_WAIT",
            Clause::CloseWait => "CLOSE_WAIT",
            Clause::LastAck => "LAST_ACK",
            Clause::TimeWait => "TIME_WAIT",
            Clause::Close => "CLOSE",
            Clause::UdpFirst => "udp_first",
            Clause::UdpUnreplied => "udp_unreplied",
            Clause::UdpStream => "udp_stream",
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the box remembers about one flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdleEntry {
    /// When the timer was last set.
    pub(super) set_at: Instant,
    /// The highest sequence number of each direction.
    pub(super) end: [Seq; 2],
    /// The sequence number after the FIN of each direction.
    fin: [Seq; 2],
    pub(super) state: Clause,
    /// The clause that set the timer. It lags behind `state` where a packet moves the state and may not restart the timer.
    pub(super) timer: Clause,
    marks: u8,
}

const _: () = assert!(size_of::<IdleEntry>() <= 32);

/// A packet of this direction was seen; shifted by the direction, as are the next two.
pub(super) const HEARD: u8 = 0x01;
/// A FIN of this direction was seen.
const FIN: u8 = 0x04;
/// That FIN was acknowledged.
const FIN_ACKED: u8 = 0x10;

impl IdleEntry {
    /// An entry whose timer starts in this state.
    pub(super) const fn new(state: Clause, now: Instant) -> IdleEntry {
        IdleEntry { set_at: now, end: [Seq(0); 2], fin: [Seq(0); 2], state, timer: state, marks: 0 }
    }

    /// The entry of an open connection.
    pub const fn established(now: Instant) -> IdleEntry {
        IdleEntry::new(Clause::Established, now)
    }

    /// When the timer was last set.
    pub const fn set_at(&self) -> Instant {
        self.set_at
    }

    /// The state of the flow.
    pub const fn state(&self) -> Clause {
        self.state
    }

    /// What it knows of sequence numbers, in two words: the highest of each direction, and the ends of the FINs.
    pub(crate) const fn numbers(&self) -> [u64; 2] {
        let ([one, other], [fin_one, fin_other]) = (self.end, self.fin);
        [one.0 as u64 | (other.0 as u64) << 32, fin_one.0 as u64 | (fin_other.0 as u64) << 32]
    }

    /// State, timer and marks in fourteen bits.
    pub(crate) const fn small(&self) -> u16 {
        self.state as u16 | (self.timer as u16) << 4 | (self.marks as u16) << 8
    }

    /// The entry that [`IdleEntry::numbers`] and [`IdleEntry::small`] tell of.
    pub(crate) fn of(set_at: Instant, [end, fin]: [u64; 2], small: u16) -> IdleEntry {
        let pair = |word: u64| [Seq(word as u32), Seq((word >> 32) as u32)];
        let clause = |bits: u16| Clause::ALL[usize::from(bits & 0x0f).min(Clause::ALL.len() - 1)];
        IdleEntry {
            set_at,
            end: pair(end),
            fin: pair(fin),
            state: clause(small),
            timer: clause(small >> 4),
            marks: (small >> 8) as u8 & 0x3f,
        }
    }

    pub(super) const fn has(&self, mark: u8, direction: Direction) -> bool {
        self.marks & (mark << direction.index()) != 0
    }

    const fn mark(&mut self, mark: u8, direction: Direction) {
        self.marks |= mark << direction.index();
    }
}

/// What a segment means to the state of a connection: the columns of [`NEXT`].
#[derive(Clone, Copy)]
enum Event {
    Syn,
    SynAck,
    Ack,
    FirstFin,
    FirstFinAcked,
    SecondFin,
    BothAcked,
    Rst,
}

/// The next state. A SYN on a connection that is not over leaves the state alone, since no documentation says otherwise.
#[rustfmt::skip]
const NEXT: [[Clause; 8]; 8] = {
    use Clause::{
        Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, SynRecv as SR, SynSent as SS, TimeWait as TW,
    };
    [
        //                  SYN SYN/ACK ACK 1st FIN acked 2nd FIN both acked RST
        /* SYN_SENT    */ [SS, SR, ES, FW, SS, LA, TW, CL],
        /* SYN_RECV    */ [SR, SR, ES, FW, SR, LA, TW, CL],
        /* ESTABLISHED */ [ES, ES, ES, FW, ES, LA, TW, CL],
        /* FIN_WAIT    */ [FW, FW, FW, FW, CW, LA, TW, CL],
        /* CLOSE_WAIT  */ [CW, CW, CW, CW, CW, LA, TW, CL],
        /* LAST_ACK    */ [LA, LA, LA, LA, LA, LA, TW, CL],
        /* TIME_WAIT   */ [SS, TW, TW, TW, TW, TW, TW, CL],
        /* CLOSE       */ [SS, CL, CL, CL, CL, CL, CL, CL],
    ]
};

pub(super) const fn opening_syn(seg: &Segment) -> bool {
    seg.flags.has(TcpFlags::SYN) && !seg.flags.any(TcpFlags::ACK | TcpFlags::RST)
}

pub(super) fn follow_udp(entry: &mut IdleEntry, from: Direction) {
    let (again, answered) = (entry.has(HEARD, from), entry.has(HEARD, from.opposite()));
    entry.state = match (answered, again) {
        (true, _) => Clause::UdpStream,
        (false, true) => Clause::UdpUnreplied,
        (false, false) => Clause::UdpFirst,
    };
    entry.mark(HEARD, from);
}

pub(super) fn follow_tcp(entry: &mut IdleEntry, seg: &Segment, from: Direction) {
    let (me, flags) = (from.index(), seg.flags);
    let advance = |entry: &mut IdleEntry, event: Event| entry.state = NEXT[entry.state as usize][event as usize];
    if flags.has(TcpFlags::RST) {
        advance(entry, Event::Rst);
        return;
    }
    if opening_syn(seg) && from == Direction::Original && matches!(entry.state, Clause::TimeWait | Clause::Close) {
        // A new connection on the same ports: what is known of the old one does not apply to it.
        entry.marks = 0;
    }
    if !entry.has(HEARD, from) || seg.end().after(entry.end[me]) {
        entry.end[me] = seg.end();
    }
    entry.mark(HEARD, from);
    if flags.has(TcpFlags::SYN) {
        match (flags.has(TcpFlags::ACK), from) {
            (false, Direction::Original) => advance(entry, Event::Syn),
            (true, Direction::Reply) => advance(entry, Event::SynAck),
            _ => {}
        }
        return;
    }
    if flags.has(TcpFlags::ACK) && from == Direction::Original {
        advance(entry, Event::Ack);
    }
    let other = from.opposite();
    if flags.has(TcpFlags::ACK) && entry.has(FIN, other) && !entry.has(FIN_ACKED, other) && !seg.ack.before(entry.fin[other.index()]) {
        entry.mark(FIN_ACKED, other);
        let both = entry.has(FIN_ACKED, from);
        advance(entry, if both { Event::BothAcked } else { Event::FirstFinAcked });
    }
    if flags.has(TcpFlags::FIN) && !entry.has(FIN, from) {
        entry.mark(FIN, from);
        entry.fin[me] = seg.end();
        let second = entry.has(FIN, other);
        advance(entry, if second { Event::SecondFin } else { Event::FirstFin });
    }
}
