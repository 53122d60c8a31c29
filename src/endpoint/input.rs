//! What a socket makes of a segment.
//!
//! Source: `tcp_rcv_established`, `tcp_rcv_state_process`, `tcp_validate_incoming`, `tcp_ack`, `tcp_data_queue`, `tcp_fin`,
//! `tcp_reset`, `tcp_rcv_synsent_state_process` (`net/ipv4/tcp_input.c`, 6.1), `tcp_check_req`, `tcp_timewait_state_process`
//! (`tcp_minisocks.c`); endpoints.md section 5.

use super::flight::Sent;
use super::socket::{Congestion, NEVER, Pending, Socket, State, flag};
use super::{Ctx, Errno, Event, stray};
use crate::net::{Segment, SegmentBits, Seq, TcpFlags};
use crate::time::Duration;

/// Acknowledgements that go out at once when data begins to flow (`TCP_MAX_QUICKACKS`).
const QUICK_ACKS: u8 = 16;
/// Duplicate acknowledgements that make a hole a loss (`tcp_reordering`).
const DUP_ACKS: u8 = 3;

/// What a host sends for a segment that belongs to no socket.
fn answer_stray(seg: &Segment, ctx: &mut Ctx<'_>) {
    if let Some(answer) = stray(seg, ctx.profile) {
        ctx.out.segments.push(Segment { at: ctx.now, ..answer });
    }
}

impl Socket {
    /// One segment that is addressed to this socket.
    pub fn segment(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) {
        if ctx.profile.any_segment_is_life && self.state >= State::Established {
            self.received_at = ctx.now;
            self.acked_at = ctx.now;
            self.probes_out = 0;
        }
        match self.state {
            State::Closed => answer_stray(seg, ctx),
            State::Listen => self.opening_segment(seg, ctx),
            State::SynSent => self.answer_to_syn(seg, ctx),
            State::SynReceived => self.request_segment(seg, ctx),
            State::TimeWait | State::FinWait2Orphan => self.small_socket_segment(seg, ctx),
            _ => self.connected_segment(seg, ctx),
        }
    }

    /// LISTEN: a SYN makes a request.
    fn opening_segment(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) {
        if seg.flags.has(TcpFlags::RST) {
            return;
        }
        if seg.flags.has(TcpFlags::ACK) {
            return answer_stray(seg, ctx);
        }
        if !seg.flags.has(TcpFlags::SYN) || seg.flags.has(TcpFlags::FIN) {
            return;
        }
        self.learn_options(seg, ctx);
        self.rcv_nxt = seg.seq.plus(1);
        self.rcv_told = self.rcv_nxt;
        self.snd_nxt = self.snd_una.plus(1);
        self.snd_wnd = u32::from(seg.window);
        self.cwnd = ctx.profile.initial_cwnd;
        self.state = State::SynReceived;
        self.retransmits = 0;
        // The time of the SYN/ACK, for the first sample of the round-trip time.
        self.acked_at = ctx.now;
        self.send_syn_ack(ctx);
        self.arm(Pending::Retransmit, ctx.profile.rto_initial, ctx);
    }

    fn learn_options(&mut self, seg: &Segment, ctx: &Ctx<'_>) {
        self.set(flag::SACK, ctx.profile.sack && seg.bits.any(SegmentBits::SACK_PERMITTED));
        self.peer_scale = if seg.bits.any(SegmentBits::WINDOW_SCALE) { seg.window_scale.min(14) } else { 0 };
    }

    /// SYN_RECV as a request of the listener.
    fn request_segment(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) {
        let in_window = !seg.end().before(self.rcv_nxt) && !seg.seq.after(self.rcv_nxt.plus(self.receive_window(ctx)));
        if seg.flags.has(TcpFlags::RST) {
            if in_window {
                *self = Socket::listen(self.snd_una);
            }
            return;
        }
        if seg.flags.has(TcpFlags::SYN) {
            // The same SYN again: the same answer again.
            if !seg.flags.has(TcpFlags::ACK) && seg.seq == self.rcv_nxt.minus(1) {
                self.send_syn_ack(ctx);
            }
            return;
        }
        if !seg.flags.has(TcpFlags::ACK) {
            return;
        }
        if seg.ack != self.snd_nxt {
            return answer_stray(seg, ctx);
        }
        if !in_window {
            return self.answer_invalid(seg.len > 0, ctx);
        }
        // The child.
        if self.retransmits == 0 {
            let sample = ctx.now.since(self.acked_at);
            self.rtt.sample(sample, seg.ack, seg.ack, ctx.profile.rto_min);
        }
        self.opened(seg.ack, ctx);
        self.snd_wnd = u32::from(seg.window) << self.peer_scale;
        self.disarm();
        self.retransmits = 0;
        ctx.tell(Event::Opened);
        if seg.len > 0 || seg.flags.has(TcpFlags::FIN) {
            self.connected_segment(seg, ctx);
        }
        self.push(ctx);
    }

    /// What both ways of opening have in common.
    fn opened(&mut self, acked: Seq, ctx: &mut Ctx<'_>) {
        self.snd_una = acked;
        self.flight.clear();
        self.state = State::Established;
        self.set_rto(ctx.ticks.whole(self.rtt.rto(ctx.profile.rto_initial, ctx.profile.rto_max)));
        self.received_at = ctx.now;
        self.acked_at = ctx.now;
        self.trouble_since = NEVER;
        self.small_end = acked;
        self.recover = acked;
        self.start_keepalive(ctx);
    }

    /// SYN_SENT.
    fn answer_to_syn(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) {
        if seg.flags.has(TcpFlags::ACK) {
            if !seg.ack.after(self.snd_una) || seg.ack.after(self.snd_nxt) {
                // An answer to something else: it is reset, and the SYN is soon sent again (E-20).
                if self.retransmits == 0 {
                    self.arm(Pending::Retransmit, ctx.ticks.shortest(), ctx);
                }
                return answer_stray(seg, ctx);
            }
            if seg.flags.has(TcpFlags::RST) {
                return self.fail(Errno::Econnrefused, ctx);
            }
            if !seg.flags.has(TcpFlags::SYN) {
                return;
            }
            self.learn_options(seg, ctx);
            self.rcv_nxt = seg.seq.plus(1);
            self.rcv_told = self.rcv_nxt;
            self.snd_wnd = u32::from(seg.window);
            if let Some(syn) = self.flight.head().filter(|syn| !syn.again) {
                self.rtt.sample(ctx.now.since(syn.at), seg.ack, self.snd_nxt, ctx.profile.rto_min);
            }
            self.opened(seg.ack, ctx);
            self.retransmits = 0;
            self.disarm();
            ctx.tell(Event::Opened);
            self.send_ack(ctx);
            self.push(ctx);
        }
        // A RST without ACK is ignored, and so is a SYN from the other side: nobody here opens at the same time.
    }

    /// Whether a segment lies in the window (`tcp_sequence`).
    fn is_acceptable(&self, seg: &Segment, ctx: &Ctx<'_>) -> bool {
        !seg.end().before(self.rcv_told) && !seg.seq.after(self.rcv_nxt.plus(self.receive_window(ctx)))
    }

    /// `tcp_validate_incoming`: false where the segment is done with.
    fn validate(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) -> bool {
        let closing = matches!(self.state, State::CloseWait | State::LastAck | State::Closing);
        let resets_behind_fin = closing && seg.seq == self.rcv_nxt.minus(1);
        let carries_data = seg.seq != seg.end();
        if !self.is_acceptable(seg, ctx) {
            if seg.flags.has(TcpFlags::RST) {
                if resets_behind_fin {
                    self.reset(ctx);
                }
            } else if seg.flags.has(TcpFlags::SYN) {
                self.answer_invalid(false, ctx);
            } else {
                if carries_data && seg.seq.before(self.rcv_nxt) {
                    self.quicken();
                }
                self.answer_invalid(carries_data, ctx);
            }
            return false;
        }
        if seg.flags.has(TcpFlags::RST) {
            let highest_early = self.rare.as_ref().and_then(|rare| rare.early.last()).map(|(_, end)| *end);
            if seg.seq == self.rcv_nxt || resets_behind_fin || highest_early == Some(seg.seq) {
                self.reset(ctx);
            } else {
                self.answer_invalid(false, ctx);
            }
            return false;
        }
        if seg.flags.has(TcpFlags::SYN) {
            self.answer_invalid(false, ctx);
            return false;
        }
        true
    }

    fn reset(&mut self, ctx: &mut Ctx<'_>) {
        let errno = if self.state == State::CloseWait { Errno::Epipe } else { Errno::Econnreset };
        self.fail(errno, ctx);
    }

    /// ESTABLISHED and everything after it.
    fn connected_segment(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) {
        if self.header_is_predicted(seg) && seg.len > 0 && seg.ack == self.snd_una {
            // The fast path: payload that acknowledges nothing new does not reach the ACK routine (E-09).
            self.take_payload(seg, ctx);
            self.acknowledge(ctx);
            return;
        }
        if !seg.flags.any(TcpFlags::ACK | TcpFlags::RST | TcpFlags::SYN) || !self.validate(seg, ctx) {
            return;
        }
        if !self.acknowledged(seg, ctx) || self.state == State::Closed {
            return;
        }
        if self.fin_acknowledged(seg, ctx) {
            return;
        }
        if self.is(flag::DEAF) && self.state >= State::FinWait1 {
            let data_end = seg.end().minus(u32::from(seg.flags.has(TcpFlags::FIN)));
            if seg.end() != seg.seq && data_end.after(self.rcv_nxt) {
                // Data for an application that is gone (RFC 1122 4.2.2.13).
                self.fail(Errno::Econnreset, ctx);
                return answer_stray(seg, ctx);
            }
        }
        self.take_payload(seg, ctx);
        if !matches!(self.state, State::Closed | State::TimeWait) {
            self.push(ctx);
            self.acknowledge(ctx);
        }
    }

    fn header_is_predicted(&self, seg: &Segment) -> bool {
        self.state == State::Established
            && seg.flags.0 & !TcpFlags::PSH == TcpFlags::ACK
            && seg.seq == self.rcv_nxt
            && !self.has_early()
            && !self.is(flag::PAUSED)
            && u32::from(seg.window) << self.peer_scale == self.snd_wnd
    }

    /// `tcp_ack`; false where the whole segment is to be dropped.
    fn acknowledged(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) -> bool {
        let established = self.state == State::Established;
        if seg.ack.before(self.snd_una) {
            // Older than any window that this side had: somebody guesses (RFC 5961 5.2).
            if seg.ack.before(self.snd_una.minus(self.snd_wnd.max(1 << 16))) {
                self.answer_invalid(false, ctx);
                return false;
            }
            return true;
        }
        if seg.ack.after(self.snd_nxt) {
            if !established {
                self.answer_invalid(false, ctx);
            }
            return false;
        }
        let advanced = seg.ack.after(self.snd_una);
        let had_flight = !self.flight.is_empty();
        let window = u32::from(seg.window) << self.peer_scale;
        let window_moved = window != self.snd_wnd;
        self.snd_wnd = window;
        if advanced {
            self.retransmits = 0;
        }
        self.soft_error = None;
        self.probes_out = 0;
        self.acked_at = ctx.now;
        if !had_flight {
            self.window_may_have_opened(ctx);
            return true;
        }
        if advanced {
            self.clean_flight(seg.ack, ctx);
        }
        let duplicate = !advanced && seg.len == 0 && !window_moved && !seg.flags.has(TcpFlags::FIN);
        if duplicate {
            self.duplicate_ack(seg, ctx);
        }
        true
    }

    /// Takes what was acknowledged out of flight, and sets the timers and the state of the sender anew.
    fn clean_flight(&mut self, ack: Seq, ctx: &mut Ctx<'_>) {
        let mut sample: Option<Duration> = None;
        let mut segments = 0_u16;
        while let Some(head) = self.flight.head().filter(|head| !head.end.after(ack)) {
            // With timestamps a segment that was sent twice gives a sample too: that of its last transmission.
            sample.get_or_insert(ctx.now.since(head.at));
            segments = segments.saturating_add(1);
            self.flight.pop();
        }
        if let Some(head) = self.flight.head().filter(|head| head.seq.before(ack)) {
            self.flight.set_head(Sent { seq: ack, ..head });
        }
        self.snd_una = ack;
        self.dup_acks = 0;
        if let Some(sample) = sample {
            self.rtt.sample(sample, self.snd_una, self.snd_nxt, ctx.profile.rto_min);
        }
        self.set_rto(ctx.ticks.whole(self.rtt.rto(ctx.profile.rto_initial, ctx.profile.rto_max)));
        self.backoff = 0;
        if self.is(flag::TAIL_PROBED) && !ack.before(self.recover) {
            self.set(flag::TAIL_PROBED, false);
        }
        if self.congestion != Congestion::Open && !ack.before(self.recover) {
            if self.congestion == Congestion::Recovery {
                self.cwnd = self.ssthresh;
            }
            self.congestion = Congestion::Open;
        }
        if self.congestion == Congestion::Open {
            self.trouble_since = NEVER;
        }
        if self.cwnd < self.ssthresh {
            self.cwnd = self.cwnd.saturating_add(segments);
        } else if segments > 0 {
            // About one segment a round trip.
            self.cwnd = self.cwnd.saturating_add(u16::from(self.flight.is_empty()));
        }
        if self.flight.is_empty() {
            self.disarm();
        } else if !self.schedule_loss_probe(true, ctx) {
            self.pending = Pending::Nothing;
            self.rearm(ctx);
        }
        match self.congestion {
            Congestion::Open => {}
            // What a timeout left behind goes out again as acknowledgements make room.
            Congestion::Loss | Congestion::Recovery => self.retransmit_next(ctx),
        }
    }

    fn duplicate_ack(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) {
        if self.flight.is_empty() || self.congestion != Congestion::Open {
            return;
        }
        let later_arrived = seg.sack.after(seg.ack);
        if !later_arrived && self.is(flag::SACK) {
            return;
        }
        self.dup_acks = self.dup_acks.saturating_add(1);
        if self.dup_acks >= DUP_ACKS {
            self.enter_recovery(ctx);
        } else if self.is(flag::SACK) && self.pending != Pending::Reorder {
            // RACK: a quarter of a round trip decides whether it is reordering.
            let wait = Duration(self.rtt.srtt().0 / 4) + ctx.ticks.shortest();
            self.arm(Pending::Reorder, wait, ctx);
        }
    }

    pub(super) fn enter_recovery(&mut self, ctx: &mut Ctx<'_>) {
        self.congestion = Congestion::Recovery;
        self.recover = self.snd_nxt;
        self.ssthresh = (self.cwnd * 7 / 10).max(2);
        self.cwnd = self.ssthresh;
        self.set(flag::TAIL_PROBED, false);
        self.retransmit_head(ctx);
        self.pending = Pending::Nothing;
        self.rearm(ctx);
    }

    /// `tcp_ack_probe`: with nothing in flight, probing stops once the head fits the window.
    fn window_may_have_opened(&mut self, ctx: &mut Ctx<'_>) {
        if !self.something_unsent() {
            return;
        }
        if self.pending == Pending::Probe0 {
            if self.snd_wnd > 0 {
                self.backoff = 0;
                self.trouble_since = NEVER;
                self.disarm();
            } else {
                self.arm(Pending::Probe0, self.probe0_span(ctx), ctx);
            }
        }
    }

    /// State changes that the acknowledgement of this side's FIN brings; true where the segment is done with.
    fn fin_acknowledged(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) -> bool {
        if !self.is(flag::FIN_QUEUED) || self.snd_una != self.end_of_everything() {
            return false;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if self.is(flag::ORPHAN) {
                    let has_data = seg.end().minus(u32::from(seg.flags.has(TcpFlags::FIN))).after(self.rcv_nxt);
                    if has_data && seg.len > 0 {
                        self.destroy();
                        answer_stray(seg, ctx);
                        return true;
                    }
                    if seg.flags.has(TcpFlags::FIN) {
                        return false;
                    }
                    self.orphan_fin_wait2(ctx);
                    return true;
                }
                false
            }
            State::Closing => {
                self.enter_time_wait(ctx);
                true
            }
            State::LastAck => {
                self.destroy();
                true
            }
            _ => false,
        }
    }

    fn quicken(&mut self) {
        self.quick_acks = QUICK_ACKS;
        self.set(flag::PINGPONG, false);
    }

    /// `tcp_data_queue`.
    fn take_payload(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) {
        let end = seg.end();
        if seg.seq == end {
            return;
        }
        if matches!(self.state, State::CloseWait | State::Closing | State::LastAck) && !seg.seq.before(self.rcv_nxt) {
            return;
        }
        let fin = seg.flags.has(TcpFlags::FIN);
        let data_end = end.minus(u32::from(fin));
        if !end.after(self.rcv_nxt) || !seg.seq.before(self.rcv_nxt.plus(self.receive_window(ctx).max(u32::from(fin && seg.len == 0)))) {
            // Old data, or data into a closed window: answered at once.
            self.quicken();
            self.flags |= flag::ACK_DUE | flag::ACK_NOW;
            return;
        }
        if seg.seq.after(self.rcv_nxt) {
            self.keep_early(seg.seq, data_end, fin);
            self.flags |= flag::ACK_DUE | flag::ACK_NOW;
            return;
        }
        let mut delivered = if data_end.after(self.rcv_nxt) { data_end.distance(self.rcv_nxt) } else { 0 };
        self.rcv_nxt = self.rcv_nxt.plus(delivered);
        let (filled, early_fin) = self.take_early();
        if filled > 0 {
            delivered += filled;
            self.flags |= flag::ACK_NOW;
        }
        if delivered > 0 {
            self.data_received(ctx);
            if self.is(flag::PAUSED) {
                self.rare().unread += delivered;
            } else {
                ctx.tell(Event::Delivered(delivered));
            }
        }
        if fin || early_fin {
            self.fin_received(ctx);
        }
    }

    /// `tcp_event_data_recv`: whether acknowledgements are quick.
    fn data_received(&mut self, ctx: &Ctx<'_>) {
        let gap = ctx.now.since(self.received_at);
        if !self.is(flag::HAD_DATA) || gap > self.rto() {
            self.quick_acks = QUICK_ACKS;
        }
        self.set(flag::HAD_DATA, true);
        self.received_at = ctx.now;
        self.flags |= flag::ACK_DUE;
    }

    fn keep_early(&mut self, from: Seq, to: Seq, fin: bool) {
        let rare = self.rare();
        if fin {
            rare.early_fin = Some(to);
        }
        if from == to {
            return;
        }
        let at = rare.early.iter().position(|(start, _)| start.after(from)).unwrap_or(rare.early.len());
        rare.early.insert(at, (from, to));
        // Ranges that touch become one.
        let mut merged: Vec<(Seq, Seq)> = Vec::with_capacity(rare.early.len());
        for (start, end) in rare.early.drain(..) {
            match merged.last_mut() {
                Some(last) if !start.after(last.1) => {
                    if end.after(last.1) {
                        last.1 = end;
                    }
                }
                _ => merged.push((start, end)),
            }
        }
        rare.early = merged;
    }

    /// Takes what came early and fits now; returns the bytes, and whether a FIN follows them.
    fn take_early(&mut self) -> (u32, bool) {
        let rcv_nxt = self.rcv_nxt;
        let Some(rare) = self.rare.as_mut() else { return (0, false) };
        let mut next = rcv_nxt;
        while let Some((start, end)) = rare.early.first().copied() {
            if start.after(next) {
                break;
            }
            if end.after(next) {
                next = end;
            }
            rare.early.remove(0);
        }
        let fin = rare.early_fin == Some(next);
        if fin {
            rare.early_fin = None;
        }
        self.rcv_nxt = next;
        (next.distance(rcv_nxt), fin)
    }

    /// `tcp_fin`: the peer will send no more.
    fn fin_received(&mut self, ctx: &mut Ctx<'_>) {
        self.rcv_nxt = self.rcv_nxt.plus(1);
        self.flags |= flag::ACK_DUE;
        match self.state {
            State::Established => {
                self.state = State::CloseWait;
                self.set(flag::PINGPONG, true);
            }
            State::FinWait1 => {
                self.send_ack(ctx);
                self.state = State::Closing;
            }
            State::FinWait2 => {
                self.send_ack(ctx);
                self.enter_time_wait(ctx);
            }
            _ => return,
        }
        if !self.is(flag::ORPHAN) {
            ctx.tell(Event::Eof);
        }
    }

    /// TIME_WAIT and FIN_WAIT2 without an application.
    fn small_socket_segment(&mut self, seg: &Segment, ctx: &mut Ctx<'_>) {
        let in_window = !seg.end().before(self.rcv_nxt) && !seg.seq.after(self.rcv_nxt.plus(self.receive_window(ctx)));
        let empty = seg.end() == seg.seq;
        if self.state == State::FinWait2Orphan {
            if !in_window {
                return self.answer_invalid(!empty, ctx);
            }
            if seg.flags.has(TcpFlags::RST) {
                return self.destroy();
            }
            if seg.flags.has(TcpFlags::SYN) && !seg.seq.before(self.rcv_nxt) {
                return answer_stray(seg, ctx);
            }
            if !seg.flags.has(TcpFlags::ACK) || !seg.end().after(self.rcv_nxt) || empty {
                return;
            }
            if !seg.flags.has(TcpFlags::FIN) || seg.end() != self.rcv_nxt.plus(1) {
                // New data for nobody.
                self.destroy();
                return answer_stray(seg, ctx);
            }
            self.rcv_nxt = seg.end();
            self.state = State::TimeWait;
            self.keep_at = ctx.ticks.fires(ctx.now, ctx.profile.time_wait);
            return self.send_ack(ctx);
        }
        if seg.seq == self.rcv_nxt && (empty || seg.flags.has(TcpFlags::RST)) {
            if seg.flags.has(TcpFlags::RST) {
                self.destroy();
            } else {
                self.keep_at = ctx.ticks.fires(ctx.now, ctx.profile.time_wait);
            }
            return;
        }
        if seg.flags.has(TcpFlags::RST) {
            return;
        }
        if seg.flags.has(TcpFlags::ACK) {
            self.keep_at = ctx.ticks.fires(ctx.now, ctx.profile.time_wait);
        }
        self.answer_invalid(!empty, ctx);
    }
}
