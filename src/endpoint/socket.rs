//! One TCP socket: what it keeps, and what the application can do with it.
//!
//! Source: `tcp_connect`, `tcp_shutdown`, `__tcp_close`, `tcp_disconnect`, `tcp_time_wait` (`net/ipv4/tcp.c`,
//! `tcp_output.c`, `tcp_minisocks.c`, 6.1). Segments are judged in `input`, sent in `output`; timers fire in `timers`.

use super::flight::Flight;
use super::rtt::Estimate;
use super::{Ctx, Errno, Event};
use crate::net::Seq;
use crate::time::{Duration, Instant};

/// TCP states. A request that a listener answered is SYN_RECEIVED; TIME_WAIT and an orphan's FIN_WAIT2 are small sockets of
/// their own in the kernel, states here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// No socket.
    Closed,
    /// Waiting for a SYN.
    Listen,
    /// A SYN was sent.
    SynSent,
    /// A SYN was answered.
    SynReceived,
    /// Open.
    Established,
    /// This side has sent its FIN.
    FinWait1,
    /// That FIN is acknowledged.
    FinWait2,
    /// The peer has sent its FIN.
    CloseWait,
    /// Both have, and this side's is not acknowledged.
    Closing,
    /// The peer's came first, then this side's.
    LastAck,
    /// FIN_WAIT2 that no application holds any more.
    FinWait2Orphan,
    /// Both FINs are acknowledged.
    TimeWait,
}

impl State {
    /// The name as `ss` would print it.
    pub const fn name(self) -> &'static str {
        match self {
            State::Closed => "CLOSED",
            State::Listen => "LISTEN",
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECV",
            State::Established => "ESTAB",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 | State::FinWait2Orphan => "FIN-WAIT-2",
            State::CloseWait => "CLOSE-WAIT",
            State::Closing => "CLOSING",
            State::LastAck => "LAST-ACK",
            State::TimeWait => "TIME-WAIT",
        }
    }

    /// Whether the connection was opened and neither failed nor was closed from both sides.
    pub const fn is_open(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait)
    }
}

/// What the one timer for sending is running for (`icsk_pending`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Pending {
    Nothing,
    Retransmit,
    LossProbe,
    /// Waiting whether a hole is only reordering.
    Reorder,
    /// Probing a closed window.
    Probe0,
}

/// How the sender sees the path (`icsk_ca_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Congestion {
    Open,
    /// A hole is being repaired.
    Recovery,
    /// A retransmission timeout was met.
    Loss,
}

/// Switches of a socket.
pub(super) mod flag {
    /// A FIN follows the data that is queued.
    pub(in crate::endpoint) const FIN_QUEUED: u16 = 0x01;
    /// No application holds the socket.
    pub(in crate::endpoint) const ORPHAN: u16 = 0x02;
    /// The application reads no more: new data is answered with a reset.
    pub(in crate::endpoint) const DEAF: u16 = 0x04;
    /// The application does not read for now: the window fills.
    pub(in crate::endpoint) const PAUSED: u16 = 0x08;
    /// An exchange goes back and forth: acknowledgements wait for data.
    pub(in crate::endpoint) const PINGPONG: u16 = 0x10;
    /// Both sides permit SACK.
    pub(in crate::endpoint) const SACK: u16 = 0x20;
    /// An acknowledgement must go out with this segment.
    pub(in crate::endpoint) const ACK_NOW: u16 = 0x40;
    /// An acknowledgement is due.
    pub(in crate::endpoint) const ACK_DUE: u16 = 0x80;
    /// A tail loss probe is out.
    pub(in crate::endpoint) const TAIL_PROBED: u16 = 0x100;
    /// Payload was received before.
    pub(in crate::endpoint) const HAD_DATA: u16 = 0x400;
}

/// What only few sockets need: data that came too early, and bytes that nobody has read.
#[derive(Clone, Default, Debug)]
pub(super) struct Rare {
    /// Ranges that came before their turn, by sequence number.
    pub(super) early: Vec<(Seq, Seq)>,
    /// The number of a FIN that came before its turn.
    pub(super) early_fin: Option<Seq>,
    /// Bytes that the application has not read.
    pub(super) unread: u32,
}

/// "Never", in a time that may be unset.
pub(super) const NEVER: Instant = Instant::MAX;

/// One TCP socket.
#[derive(Clone, Debug)]
pub struct Socket {
    pub(super) write_at: Instant,
    pub(super) keep_at: Instant,
    pub(super) delack_at: Instant,
    /// When payload was last received (`lrcvtime`).
    pub(super) received_at: Instant,
    /// When an acknowledgement was last processed (`rcv_tstamp`).
    pub(super) acked_at: Instant,
    /// When the first retransmission of the current trouble was sent (`retrans_stamp`), or a closed window first probed.
    pub(super) trouble_since: Instant,
    pub(super) flight: Flight,
    pub(super) rare: Option<Box<Rare>>,
    pub(super) rtt: Estimate,
    /// The retransmission timeout with its back-off, in microseconds.
    rto_micros: u32,
    /// When an invalid segment was last answered: milliseconds modulo 2³²; 0: never.
    pub(super) invalid_at: u32,
    pub(super) snd_una: Seq,
    pub(super) snd_nxt: Seq,
    /// The number after the last byte that the application wrote.
    pub(super) write_end: Seq,
    pub(super) rcv_nxt: Seq,
    /// `rcv_nxt` as the peer was last told.
    pub(super) rcv_told: Seq,
    pub(super) snd_wnd: u32,
    /// The end of the last segment sent that was not full (`snd_sml`).
    pub(super) small_end: Seq,
    /// What must be acknowledged before trouble is over (`high_seq`, `tlp_high_seq`).
    pub(super) recover: Seq,
    pub(super) cwnd: u16,
    pub(super) ssthresh: u16,
    pub(super) flags: u16,
    pub(super) state: State,
    pub(super) pending: Pending,
    pub(super) congestion: Congestion,
    pub(super) retransmits: u8,
    pub(super) backoff: u8,
    pub(super) probes_out: u8,
    pub(super) dup_acks: u8,
    pub(super) quick_acks: u8,
    pub(super) peer_scale: u8,
    pub(super) soft_error: Option<Errno>,
}

// Two of these and what a director remembers of their connection stay below 400 bytes.
const _: () = assert!(2 * size_of::<Socket>() + size_of::<crate::model::director::DirectorState>() < 400);

impl Socket {
    /// The window scale that every socket here offers.
    pub const WINDOW_SCALE: u8 = 7;

    /// Bytes that can wait to be acknowledged; a real socket would make its application wait much earlier.
    pub const QUEUE_MAX: u32 = 1 << 30;

    fn new(state: State, iss: Seq) -> Socket {
        Socket {
            write_at: NEVER,
            keep_at: NEVER,
            delack_at: NEVER,
            received_at: Instant::ZERO,
            acked_at: Instant::ZERO,
            trouble_since: NEVER,
            flight: Flight::default(),
            rare: None,
            rtt: Estimate::default(),
            rto_micros: 1_000_000,
            invalid_at: 0,
            snd_una: iss,
            snd_nxt: iss,
            write_end: iss.plus(1),
            rcv_nxt: Seq(0),
            rcv_told: Seq(0),
            snd_wnd: 0,
            small_end: iss,
            recover: iss,
            cwnd: 10,
            ssthresh: u16::MAX,
            flags: 0,
            state,
            pending: Pending::Nothing,
            congestion: Congestion::Open,
            retransmits: 0,
            backoff: 0,
            probes_out: 0,
            dup_acks: 0,
            quick_acks: 0,
            peer_scale: 0,
            soft_error: None,
        }
    }

    /// A socket that waits for one connection; `iss` will be its first sequence number.
    pub fn listen(iss: Seq) -> Socket {
        Socket::new(State::Listen, iss)
    }

    /// No socket at all.
    pub fn closed() -> Socket {
        Socket::new(State::Closed, Seq(0))
    }

    /// A socket that sends a SYN.
    pub fn connect(iss: Seq, ctx: &mut Ctx<'_>) -> Socket {
        let mut socket = Socket::new(State::SynSent, iss);
        socket.cwnd = ctx.profile.initial_cwnd;
        socket.trouble_since = ctx.now;
        socket.set_rto(ctx.ticks.whole(ctx.profile.rto_initial));
        socket.send_syn(ctx);
        socket.arm(Pending::Retransmit, socket.rto(), ctx);
        socket
    }

    /// The state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// When the socket wants to be woken next; later than everything if it does not.
    pub fn next_timer(&self) -> Instant {
        self.write_at.min(self.keep_at).min(self.delack_at)
    }

    /// Whether everything that was written is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.flight.is_empty() && self.unsent() == 0
    }

    /// Bytes written that were never sent.
    pub fn unsent(&self) -> u32 {
        if self.snd_nxt.before(self.write_end) { self.write_end.distance(self.snd_nxt) } else { 0 }
    }

    /// The retransmission timeout, back-off included.
    pub const fn rto(&self) -> Duration {
        Duration(self.rto_micros as u64 * 1_000)
    }

    pub(super) fn set_rto(&mut self, span: Duration) {
        self.rto_micros = u32::try_from(span.0 / 1_000).unwrap_or(u32::MAX);
    }

    pub(super) const fn is(&self, mask: u16) -> bool {
        self.flags & mask == mask
    }

    pub(super) const fn set(&mut self, mask: u16, on: bool) {
        self.flags = if on { self.flags | mask } else { self.flags & !mask };
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn unread(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.unread)
    }

    pub(super) fn has_early(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.early.is_empty())
    }

    pub(super) fn arm(&mut self, pending: Pending, span: Duration, ctx: &Ctx<'_>) {
        self.pending = pending;
        self.write_at = ctx.ticks.fires(ctx.now, span.min(ctx.profile.rto_max));
    }

    pub(super) fn disarm(&mut self) {
        self.pending = Pending::Nothing;
        self.write_at = NEVER;
    }

    /// Arms keepalive in full, as when the connection opens or `SO_KEEPALIVE` is turned on.
    pub(super) fn start_keepalive(&mut self, ctx: &Ctx<'_>) {
        if ctx.profile.keepalive {
            self.keep_at = ctx.ticks.fires(ctx.now, ctx.profile.keepalive_times.time);
        }
    }

    /// The application writes `len` bytes.
    ///
    /// # Errors
    /// The direction is closed, or the connection is gone.
    pub fn write(&mut self, len: u32, ctx: &mut Ctx<'_>) -> Result<(), Errno> {
        let may = matches!(self.state, State::Established | State::CloseWait | State::SynSent | State::SynReceived);
        if !may || self.is(flag::FIN_QUEUED) {
            return Err(Errno::Epipe);
        }
        // A sequence number is before another one within half of all numbers; more than this is never queued.
        let room = Self::QUEUE_MAX.saturating_sub(self.write_end.distance(self.snd_una));
        self.write_end = self.write_end.plus(len.min(room));
        self.push(ctx);
        Ok(())
    }

    /// The application closes its sending direction and keeps the socket (`shutdown(SHUT_WR)`).
    pub fn shutdown(&mut self, ctx: &mut Ctx<'_>) {
        match self.state {
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            State::SynSent => {
                self.destroy();
                return;
            }
            _ => return,
        }
        self.set(flag::FIN_QUEUED, true);
        self.push(ctx);
    }

    /// The application closes the socket. With bytes unread that is a reset.
    pub fn close(&mut self, ctx: &mut Ctx<'_>) {
        if self.unread() > 0 && self.state.is_open() {
            self.abort(ctx);
            return;
        }
        self.flags |= flag::ORPHAN | flag::DEAF;
        match self.state {
            State::Established | State::CloseWait => self.shutdown(ctx),
            State::FinWait2 => self.orphan_fin_wait2(ctx),
            State::SynSent | State::Listen => self.destroy(),
            _ => {}
        }
    }

    /// The application gives the connection up with a reset (`SO_LINGER` 0, then `close`).
    pub fn abort(&mut self, ctx: &mut Ctx<'_>) {
        let unsent_fin = self.snd_nxt != self.end_of_everything() && matches!(self.state, State::Closing | State::LastAck);
        let announces =
            matches!(self.state, State::Established | State::CloseWait | State::FinWait1 | State::FinWait2 | State::SynReceived);
        if announces || unsent_fin {
            self.send_active_reset(ctx);
        }
        self.destroy();
    }

    /// The application stops reading, or reads again.
    pub fn pause_reading(&mut self, pause: bool, ctx: &mut Ctx<'_>) {
        self.set(flag::PAUSED, pause);
        if !pause {
            let unread = std::mem::take(&mut self.rare().unread);
            if unread > 0 {
                ctx.tell(Event::Delivered(unread));
                // The window opens: the peer is told at once if it opens by enough.
                if self.state.is_open() && unread >= u32::from(ctx.profile.mss).min(ctx.profile.receive_buffer / 2) {
                    self.send_ack(ctx);
                }
            }
        }
    }

    /// An ICMP error about this connection came: fatal while it opens, remembered later (E-21).
    pub fn icmp_error(&mut self, errno: Errno, ctx: &mut Ctx<'_>) {
        match self.state {
            State::SynSent => self.fail(errno, ctx),
            State::Closed | State::Listen | State::TimeWait | State::FinWait2Orphan => {}
            _ => self.soft_error = Some(errno),
        }
    }

    /// The number after the last byte and the FIN.
    pub(super) fn end_of_everything(&self) -> Seq {
        self.write_end.plus(u32::from(self.is(flag::FIN_QUEUED)))
    }

    /// The socket is gone; nothing is sent.
    pub(super) fn destroy(&mut self) {
        self.state = State::Closed;
        self.disarm();
        self.keep_at = NEVER;
        self.delack_at = NEVER;
        self.flight.clear();
        self.rare = None;
    }

    /// The connection failed; the application is told, if there is one.
    pub(super) fn fail(&mut self, errno: Errno, ctx: &mut Ctx<'_>) {
        if !self.is(flag::ORPHAN) {
            ctx.tell(Event::Failed(errno));
        }
        self.destroy();
    }

    /// `tcp_time_wait`: a small socket takes over.
    pub(super) fn enter_time_wait(&mut self, ctx: &Ctx<'_>) {
        self.disarm();
        self.delack_at = NEVER;
        self.flight.clear();
        self.state = State::TimeWait;
        self.keep_at = ctx.ticks.fires(ctx.now, ctx.profile.time_wait);
    }

    /// FIN_WAIT2 without an application: `tcp_fin_timeout`, of which TIME_WAIT's length at most as a small socket.
    pub(super) fn orphan_fin_wait2(&mut self, ctx: &Ctx<'_>) {
        self.disarm();
        let span = self.fin_time(ctx);
        if span > ctx.profile.time_wait {
            self.keep_at = ctx.ticks.fires(ctx.now, span.saturating_sub(ctx.profile.time_wait));
        } else {
            self.state = State::FinWait2Orphan;
            self.keep_at = ctx.ticks.fires(ctx.now, span);
        }
    }

    fn fin_time(&self, ctx: &Ctx<'_>) -> Duration {
        ctx.profile.fin_timeout.max(Duration(self.rto().0.saturating_mul(7) / 2))
    }
}
