//! What a socket sends: data, FINs, acknowledgements, probes, resets; and when it may.
//!
//! Source: `tcp_write_xmit`, `tcp_nagle_check`, `tcp_schedule_loss_probe`, `tcp_send_loss_probe`, `__tcp_retransmit_skb`,
//! `tcp_xmit_probe_skb`, `tcp_send_active_reset`, `tcp_send_delayed_ack` (`net/ipv4/tcp_output.c`, 6.1).

use super::Ctx;
use super::flight::Sent;
use super::socket::{Congestion, NEVER, Pending, Socket, State, flag};
use crate::net::{Segment, SegmentBits, Seq, TcpFlags};
use crate::time::Duration;

impl Socket {
    /// The window field: what fits, in units of the scale.
    fn window(&self, ctx: &Ctx<'_>) -> u16 {
        let free = ctx.profile.receive_buffer.saturating_sub(self.unread());
        // Less than a full segment is not worth announcing (`__tcp_select_window`).
        let free = if free < u32::from(ctx.profile.mss).min(ctx.profile.receive_buffer / 2) { 0 } else { free };
        (free >> Self::WINDOW_SCALE).min(u32::from(u16::MAX)) as u16
    }

    /// The bytes that the peer may send beyond what it was told.
    pub(super) fn receive_window(&self, ctx: &Ctx<'_>) -> u32 {
        u32::from(self.window(ctx)) << Self::WINDOW_SCALE
    }

    fn emit(&mut self, flags: u8, seq: Seq, len: u32, ctx: &mut Ctx<'_>) {
        let highest = self.rare.as_ref().and_then(|rare| rare.early.last()).map_or(self.rcv_nxt, |(_, end)| *end);
        let seg = Segment {
            at: ctx.now,
            seq,
            ack: if flags & TcpFlags::ACK == 0 { Seq(0) } else { self.rcv_nxt },
            sack: if flags & TcpFlags::ACK == 0 { Seq(0) } else { highest },
            len,
            window: self.window(ctx),
            flags: TcpFlags(flags),
            bits: SegmentBits(SegmentBits::HAS_OPTIONS),
            ..Segment::EMPTY
        };
        if flags & TcpFlags::ACK != 0 {
            self.rcv_told = self.rcv_nxt;
            self.quick_acks = self.quick_acks.saturating_sub(1);
            self.set(flag::ACK_DUE | flag::ACK_NOW, false);
            self.delack_at = NEVER;
        }
        ctx.out.segments.push(seg);
    }

    fn emit_opening(&mut self, flags: u8, seq: Seq, ctx: &mut Ctx<'_>) {
        let mut bits = SegmentBits::HAS_OPTIONS | SegmentBits::WINDOW_SCALE;
        if ctx.profile.sack {
            bits |= SegmentBits::SACK_PERMITTED;
        }
        let ack = if flags & TcpFlags::ACK == 0 { Seq(0) } else { self.rcv_nxt };
        ctx.out.segments.push(Segment {
            at: ctx.now,
            seq,
            ack,
            sack: ack,
            window: ctx.profile.receive_buffer.min(u32::from(u16::MAX)) as u16,
            flags: TcpFlags(flags),
            window_scale: Self::WINDOW_SCALE,
            bits: SegmentBits(bits),
            ..Segment::EMPTY
        });
    }

    /// The first SYN.
    pub(super) fn send_syn(&mut self, ctx: &mut Ctx<'_>) {
        let seq = self.snd_una;
        self.snd_nxt = seq.plus(1);
        self.flight.push(Sent { seq, end: self.snd_nxt, at: ctx.now, phantom: true, again: false });
        self.emit_opening(TcpFlags::SYN, seq, ctx);
    }

    /// The SYN once more.
    pub(super) fn resend_syn(&mut self, ctx: &mut Ctx<'_>) {
        self.sent_again_at(ctx);
        self.emit_opening(TcpFlags::SYN, self.snd_una, ctx);
    }

    /// The answer to a SYN.
    pub(super) fn send_syn_ack(&mut self, ctx: &mut Ctx<'_>) {
        self.emit_opening(TcpFlags::SYN | TcpFlags::ACK, self.snd_una, ctx);
    }

    /// A segment with an acknowledgement and nothing else.
    pub(super) fn send_ack(&mut self, ctx: &mut Ctx<'_>) {
        self.emit(TcpFlags::ACK, self.snd_nxt, 0, ctx);
    }

    /// An empty segment just below the window: the peer answers it whatever it thinks.
    pub(super) fn send_probe(&mut self, ctx: &mut Ctx<'_>) {
        self.emit(TcpFlags::ACK, self.snd_una.minus(1), 0, ctx);
    }

    /// A reset of this side's own accord.
    pub(super) fn send_active_reset(&mut self, ctx: &mut Ctx<'_>) {
        let end = self.snd_una.plus(self.snd_wnd);
        // Beyond the window the peer would not believe it (`tcp_acceptable_seq`).
        let seq = if end.before(self.snd_nxt) { end } else { self.snd_nxt };
        self.emit(TcpFlags::RST | TcpFlags::ACK, seq, 0, ctx);
    }

    /// Answers an invalid segment, unless one was answered just before; segments with payload are always answered.
    pub(super) fn answer_invalid(&mut self, carries_data: bool, ctx: &mut Ctx<'_>) {
        if !carries_data {
            // Milliseconds modulo 2³², as the kernel's ticks wrap too; 0 is never.
            let millis = ((ctx.now.0 / 1_000_000) as u32).max(1);
            let since = u64::from(millis.wrapping_sub(self.invalid_at));
            if self.invalid_at != 0 && Duration::from_millis(since) < ctx.profile.invalid_ratelimit {
                return;
            }
            self.invalid_at = millis;
        }
        self.send_ack(ctx);
    }

    /// Sends what is due of queued data and the FIN, as far as the windows and Nagle's rule let it.
    pub(super) fn push(&mut self, ctx: &mut Ctx<'_>) {
        if !matches!(self.state, State::Established | State::CloseWait | State::FinWait1 | State::LastAck | State::Closing) {
            return;
        }
        let mut sent = false;
        while self.may_send_next(false, ctx) {
            self.send_next(ctx);
            sent = true;
        }
        if sent {
            if !self.schedule_loss_probe(false, ctx) && self.pending == Pending::Nothing {
                self.rearm(ctx);
            }
        } else if self.flight.is_empty() && self.something_unsent() && self.pending == Pending::Nothing {
            self.arm(Pending::Probe0, self.probe0_span(ctx), ctx);
        }
    }

    pub(super) fn something_unsent(&self) -> bool {
        self.snd_nxt != self.end_of_everything()
    }

    /// Whether the next segment may go; a tail loss probe heeds neither Nagle nor the congestion window.
    fn may_send_next(&self, probe: bool, ctx: &Ctx<'_>) -> bool {
        if !self.something_unsent() {
            return false;
        }
        let (len, fin) = self.next_segment(ctx);
        let end = self.snd_nxt.plus(len);
        if end.after(self.snd_una.plus(self.snd_wnd)) && !(fin && len == 0) {
            return false;
        }
        if probe {
            return true;
        }
        if self.flight.len() >= usize::from(self.cwnd) && !(fin && len == 0) {
            return false;
        }
        let is_full = len >= u32::from(ctx.profile.mss);
        // Nagle as Linux has it: a small segment waits only while another small one is unacknowledged.
        let small_is_out = self.small_end.after(self.snd_una) && !self.small_end.after(self.snd_nxt);
        is_full || fin || ctx.profile.nodelay || !small_is_out || self.flight.is_empty()
    }

    fn next_segment(&self, ctx: &Ctx<'_>) -> (u32, bool) {
        let mss = u32::from(ctx.profile.mss);
        let unsent = self.unsent();
        let wanted = unsent.min(mss);
        let room = self.snd_una.plus(self.snd_wnd).distance(self.snd_nxt);
        let room = if self.snd_una.plus(self.snd_wnd).before(self.snd_nxt) { 0 } else { room };
        // Less than a full segment is sent into a small window only where that is all there is.
        let len = if wanted > room && room >= mss.min(self.snd_wnd / 2).max(1) { room } else { wanted };
        (len, self.is(flag::FIN_QUEUED) && len == unsent)
    }

    fn send_next(&mut self, ctx: &mut Ctx<'_>) {
        let (len, fin) = self.next_segment(ctx);
        let seq = self.snd_nxt;
        let end = seq.plus(len + u32::from(fin));
        let was_idle = self.flight.is_empty();
        if was_idle && len > 0 && ctx.now.since(self.received_at) < ctx.profile.delayed_ack {
            self.set(flag::PINGPONG, true);
        }
        self.flight.push(Sent { seq, end, at: ctx.now, phantom: fin, again: false });
        self.snd_nxt = end;
        if len < u32::from(ctx.profile.mss) {
            self.small_end = end;
        }
        let flags = TcpFlags::ACK
            | if len > 0 && end == self.end_of_everything() { TcpFlags::PSH } else { 0 }
            | if fin { TcpFlags::FIN } else { 0 };
        self.emit(flags, seq, len, ctx);
        if was_idle || self.pending == Pending::LossProbe {
            self.rearm(ctx);
        }
    }

    /// How far away the retransmission timeout of the oldest segment is.
    fn rto_left(&self, ctx: &Ctx<'_>) -> Duration {
        let due = self.flight.head().map_or(ctx.now, |head| head.at + self.rto());
        due.since(ctx.now)
    }

    /// `tcp_rearm_rto`: the retransmission timer, counted from the oldest segment where another timer was running instead.
    pub(super) fn rearm(&mut self, ctx: &mut Ctx<'_>) {
        if self.flight.is_empty() {
            self.disarm();
            return;
        }
        let span = if matches!(self.pending, Pending::LossProbe | Pending::Reorder) {
            self.rto_left(ctx).max(Duration(1_000))
        } else {
            self.rto()
        };
        self.arm(Pending::Retransmit, span, ctx);
    }

    /// Arms the timer of a tail loss probe, if one is allowed.
    pub(super) fn schedule_loss_probe(&mut self, advancing: bool, ctx: &mut Ctx<'_>) -> bool {
        let may = ctx.profile.tail_loss_probe
            && self.is(flag::SACK)
            && self.congestion == Congestion::Open
            && !self.flight.is_empty()
            && self.state != State::SynSent;
        if !may {
            return false;
        }
        let mut span = if self.rtt.is_known() {
            let wait = if self.flight.len() == 1 { ctx.profile.rto_min } else { ctx.ticks.shortest() };
            ctx.ticks.whole(self.rtt.srtt().saturating_mul(2) + wait)
        } else {
            ctx.profile.rto_initial
        };
        let rto_left = if advancing { self.rto() } else { self.rto_left(ctx) };
        if rto_left > Duration::ZERO {
            span = span.min(rto_left);
        }
        self.arm(Pending::LossProbe, span, ctx);
        true
    }

    /// A tail loss probe: new data if there is some, else the last segment once more.
    pub(super) fn send_loss_probe(&mut self, ctx: &mut Ctx<'_>) {
        if self.is(flag::TAIL_PROBED) {
            self.rearm(ctx);
            return;
        }
        if self.may_send_next(true, ctx) {
            self.send_next(ctx);
        } else {
            let una = self.snd_una;
            let now = ctx.now;
            let Some(last) = self.flight.change_last(|last| (last.at, last.again) = (now, true)) else {
                self.disarm();
                return;
            };
            self.resend(last, una, ctx);
        }
        self.set(flag::TAIL_PROBED, true);
        self.recover = self.snd_nxt;
        self.pending = Pending::Nothing;
        self.rearm(ctx);
    }

    fn resend(&mut self, sent: Sent, una: Seq, ctx: &mut Ctx<'_>) {
        let seq = if sent.seq.before(una) { una } else { sent.seq };
        let len = sent.end.distance(seq) - u32::from(sent.phantom);
        let flags = TcpFlags::ACK | if len > 0 { TcpFlags::PSH } else { 0 } | if sent.phantom { TcpFlags::FIN } else { 0 };
        self.emit(flags, seq, len, ctx);
    }

    /// Marks the oldest segment as sent once more, and returns it.
    fn sent_again_at(&mut self, ctx: &Ctx<'_>) -> Option<Sent> {
        let now = ctx.now;
        self.flight.change_head(|head| (head.at, head.again) = (now, true))
    }

    /// Sends the oldest segment again.
    pub(super) fn retransmit_head(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(head) = self.sent_again_at(ctx) {
            self.resend(head, self.snd_una, ctx);
        }
        if self.trouble_since == NEVER {
            self.trouble_since = ctx.now;
        }
    }

    /// While trouble lasts, each acknowledgement lets the next hole be filled: the oldest segment that is still missing.
    pub(super) fn retransmit_next(&mut self, ctx: &mut Ctx<'_>) {
        if self.flight.head().is_some_and(|head| head.seq.before(self.recover))
            && let Some(head) = self.sent_again_at(ctx)
        {
            self.resend(head, self.snd_una, ctx);
        }
    }

    /// The interval of probes into a closed window.
    pub(super) fn probe0_span(&self, ctx: &Ctx<'_>) -> Duration {
        let base = self.rto().max(ctx.profile.rto_min);
        base.saturating_mul(1 << self.backoff.min(20)).min(ctx.profile.rto_max)
    }

    /// An acknowledgement at once or a little later (`__tcp_ack_snd_check`).
    pub(super) fn acknowledge(&mut self, ctx: &mut Ctx<'_>) {
        if !self.is(flag::ACK_DUE) {
            return;
        }
        let waiting = self.rcv_nxt.distance(self.rcv_told);
        let quick = self.quick_acks > 0 && !self.is(flag::PINGPONG);
        if waiting > u32::from(ctx.profile.mss) || quick || self.is(flag::ACK_NOW) || self.has_early() {
            self.send_ack(ctx);
        } else if self.delack_at == NEVER {
            // Without payload before it the timeout has no estimate yet (`ato` is 0): a FIN is acknowledged at the next tick.
            let span = if self.is(flag::HAD_DATA) { ctx.profile.delayed_ack } else { Duration::ZERO };
            self.delack_at = ctx.ticks.fires(ctx.now, span);
        }
    }
}
