//! What a socket does when one of its timers fires.
//!
//! Source: `tcp_retransmit_timer`, `tcp_write_timeout`, `retransmits_timed_out`, `tcp_clamp_rto_to_user_timeout`,
//! `tcp_probe_timer`, `tcp_keepalive_timer`, `tcp_delack_timer_handler` (`net/ipv4/tcp_timer.c`, 6.1); `reqsk_timer_handler`
//! (`inet_connection_sock.c`); endpoints.md sections 2.4, 3.3 to 3.9, 9.1.

use super::profile::GiveUp;
use super::socket::{Congestion, NEVER, Pending, Socket, State, flag};
use super::{Ctx, Errno};
use crate::time::Duration;

impl Socket {
    /// Runs every timer that is due.
    pub fn timer(&mut self, ctx: &mut Ctx<'_>) {
        if self.delack_at <= ctx.now {
            self.delack_at = NEVER;
            if self.is(flag::ACK_DUE) {
                self.set(flag::PINGPONG, false);
                self.send_ack(ctx);
            }
        }
        if self.write_at <= ctx.now {
            let pending = self.pending;
            self.write_at = NEVER;
            match pending {
                Pending::Nothing => {}
                Pending::Reorder => self.hole_is_loss(ctx),
                Pending::LossProbe => self.send_loss_probe(ctx),
                Pending::Retransmit => {
                    self.pending = Pending::Nothing;
                    self.retransmission_timeout(ctx);
                }
                Pending::Probe0 => {
                    self.pending = Pending::Nothing;
                    self.probe_closed_window(ctx);
                }
            }
        }
        if self.keep_at <= ctx.now {
            self.keep_at = NEVER;
            self.keepalive_timer(ctx);
        }
    }

    fn give_up(&mut self, ctx: &mut Ctx<'_>) {
        let errno = self.soft_error.unwrap_or(Errno::Etimedout);
        self.fail(errno, ctx);
    }

    fn retransmission_timeout(&mut self, ctx: &mut Ctx<'_>) {
        match self.state {
            State::SynReceived => return self.syn_ack_timeout(ctx),
            State::SynSent => return self.syn_timeout(ctx),
            _ => {}
        }
        if self.flight.is_empty() {
            return;
        }
        if self.snd_wnd == 0 && !self.is(flag::ORPHAN) {
            // The peer shrank its window under data in flight: retransmissions serve as probes and give up late.
            if self.closed_window_timed_out(ctx) {
                return self.give_up(ctx);
            }
            self.enter_loss();
            self.retransmit_head(ctx);
        } else {
            if self.write_timeout(ctx) {
                return self.give_up(ctx);
            }
            self.enter_loss();
            self.retransmits = self.retransmits.saturating_add(1);
            self.retransmit_head(ctx);
            self.backoff = self.backoff.saturating_add(1);
        }
        self.set_rto(self.rto().saturating_mul(2).min(ctx.profile.rto_max));
        let span = self.clamped_rto(ctx);
        self.arm(Pending::Retransmit, span, ctx);
    }

    /// Whether retransmission has gone on for too long.
    fn write_timeout(&self, ctx: &Ctx<'_>) -> bool {
        let profile = ctx.profile;
        let orphan = self.is(flag::ORPHAN);
        if profile.user_timeout > Duration::ZERO {
            return self.in_trouble_for(profile.user_timeout, ctx);
        }
        match profile.give_up {
            GiveUp::Count(limit) => self.retransmits >= limit,
            GiveUp::Time(retries) => {
                let retries = if orphan { self.orphan_retries(self.rto() < profile.rto_max, ctx) } else { retries };
                self.in_trouble_for(profile.model_timeout(retries, Self::RTO_BASE), ctx)
            }
        }
    }

    /// What `tcp_model_timeout` starts from, whatever the path's minimum is (`TCP_RTO_MIN`).
    const RTO_BASE: Duration = Duration::from_millis(200);

    fn orphan_retries(&self, alive: bool, ctx: &Ctx<'_>) -> u8 {
        match ctx.profile.orphan_retries {
            _ if self.soft_error.is_some() && !alive => 0,
            0 if alive => 8,
            retries => retries,
        }
    }

    /// `retransmits_timed_out`, in whole milliseconds as its time stamps are.
    fn in_trouble_for(&self, limit: Duration, ctx: &Ctx<'_>) -> bool {
        let millis = |at: crate::time::Instant| at.0 / 1_000_000;
        self.retransmits > 0
            && self.trouble_since != NEVER
            && millis(ctx.now).saturating_sub(millis(self.trouble_since)) >= limit.0 / 1_000_000
    }

    fn clamped_rto(&self, ctx: &Ctx<'_>) -> Duration {
        let limit = ctx.profile.user_timeout;
        if limit == Duration::ZERO || !ctx.profile.user_timeout_clamps || self.trouble_since == NEVER {
            return self.rto();
        }
        let left = limit.saturating_sub(ctx.now.since(self.trouble_since));
        // Once it has passed, the next tick.
        self.rto().min(left.max(Duration(1)))
    }

    fn closed_window_timed_out(&self, ctx: &Ctx<'_>) -> bool {
        let mut limit = ctx.profile.rto_max.saturating_mul(2);
        if ctx.profile.user_timeout > Duration::ZERO {
            limit = limit.min(ctx.profile.user_timeout);
        }
        let since = if self.trouble_since == NEVER { self.flight.head().map_or(ctx.now, |h| h.at) } else { self.trouble_since };
        ctx.now.since(self.acked_at) > limit && ctx.now.since(since) > limit
    }

    fn enter_loss(&mut self) {
        if self.congestion != Congestion::Loss {
            self.ssthresh = (self.cwnd / 2).max(2);
            self.recover = self.snd_nxt;
        }
        self.congestion = Congestion::Loss;
        self.set(flag::TAIL_PROBED, false);
        self.cwnd = 1;
        self.dup_acks = 0;
    }

    /// A hole that reordering does not explain: its first segment is sent again.
    fn hole_is_loss(&mut self, ctx: &mut Ctx<'_>) {
        self.pending = Pending::Nothing;
        if self.flight.is_empty() {
            return;
        }
        self.enter_recovery(ctx);
    }

    fn syn_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let profile = ctx.profile;
        let limit = profile.syn_retries.saturating_add(profile.syn_linear_timeouts);
        // The trouble of a SYN began when it was first sent.
        let tried_for = ctx.now.since(self.trouble_since);
        let impatient = profile.user_timeout > Duration::ZERO && self.retransmits > 0 && tried_for >= profile.user_timeout;
        if self.retransmits >= limit || impatient || tried_for >= profile.opening_limit() {
            return self.give_up(ctx);
        }
        self.retransmits += 1;
        self.resend_syn(ctx);
        // Since 6.5 the first timeouts do not double (`tcp_syn_linear_timeouts`).
        if self.retransmits > profile.syn_linear_timeouts {
            self.set_rto(self.rto().saturating_mul(2).min(profile.rto_max));
        }
        let left = profile.opening_limit().saturating_sub(tried_for);
        let span = self.clamped_rto(ctx).min(left.max(Duration(1)));
        self.arm(Pending::Retransmit, span, ctx);
    }

    /// A listener's request: the SYN/ACK again, then nothing more is known of it.
    fn syn_ack_timeout(&mut self, ctx: &mut Ctx<'_>) {
        if self.retransmits >= ctx.profile.synack_retries {
            // The request vanishes; the listener is still there.
            let iss = self.snd_una;
            *self = Socket::listen(iss);
            return;
        }
        self.retransmits += 1;
        self.send_syn_ack(ctx);
        let span = ctx.profile.rto_initial.saturating_mul(1 << self.retransmits.min(20)).min(ctx.profile.rto_max);
        self.arm(Pending::Retransmit, span, ctx);
    }

    /// `tcp_probe_timer`: the peer's window is closed and there is data.
    fn probe_closed_window(&mut self, ctx: &mut Ctx<'_>) {
        if !self.flight.is_empty() || !self.something_unsent() {
            self.probes_out = 0;
            self.trouble_since = NEVER;
            return;
        }
        let profile = ctx.profile;
        if self.trouble_since == NEVER {
            self.trouble_since = ctx.now;
        } else if profile.user_timeout > Duration::ZERO && ctx.now.since(self.trouble_since) >= profile.user_timeout {
            return self.give_up(ctx);
        }
        let (GiveUp::Time(most) | GiveUp::Count(most)) = profile.give_up;
        let mut limit = most;
        if self.is(flag::ORPHAN) {
            let alive = self.probe0_span(ctx) < profile.rto_max;
            limit = self.orphan_retries(alive, ctx);
            if !alive && self.backoff >= limit {
                return self.give_up(ctx);
            }
        }
        if self.probes_out >= limit {
            return self.give_up(ctx);
        }
        self.send_probe(ctx);
        self.probes_out = self.probes_out.saturating_add(1);
        if self.backoff < most {
            self.backoff += 1;
        }
        let mut span = self.probe0_span(ctx);
        if profile.user_timeout > Duration::ZERO {
            let left = profile.user_timeout.saturating_sub(ctx.now.since(self.trouble_since));
            span = span.min(left.max(ctx.ticks.shortest()));
        }
        self.arm(Pending::Probe0, span, ctx);
    }

    /// `tcp_keepalive_timer`, which also ends what an orphan or TIME_WAIT is waiting for.
    fn keepalive_timer(&mut self, ctx: &mut Ctx<'_>) {
        match self.state {
            State::TimeWait | State::FinWait2Orphan => return self.destroy(),
            State::FinWait2 if self.is(flag::ORPHAN) => {
                // The rest of tcp_fin_timeout as a small socket.
                self.state = State::FinWait2Orphan;
                self.keep_at = ctx.ticks.fires(ctx.now, ctx.profile.time_wait);
                return;
            }
            State::Closed | State::SynSent | State::Listen | State::SynReceived => return,
            _ => {}
        }
        let profile = ctx.profile;
        if !profile.keepalive {
            return;
        }
        let times = profile.keepalive_times;
        if profile.keepalive_rests && (!self.flight.is_empty() || self.something_unsent()) {
            self.keep_at = ctx.ticks.fires(ctx.now, times.time);
            return;
        }
        let idle = ctx.now.since(self.received_at).min(ctx.now.since(self.acked_at));
        if idle < times.time {
            self.keep_at = ctx.ticks.fires(ctx.now, times.time.saturating_sub(idle));
            return;
        }
        let dead = if profile.user_timeout > Duration::ZERO {
            idle >= profile.user_timeout && self.probes_out > 0
        } else if profile.keepalive_rests {
            self.probes_out >= times.probes
        } else {
            // BSD judges by time.
            idle >= times.time + times.intvl.saturating_mul(u64::from(times.probes))
        };
        if dead {
            self.send_active_reset(ctx);
            return self.give_up(ctx);
        }
        self.send_probe(ctx);
        self.probes_out = self.probes_out.saturating_add(1);
        self.keep_at = ctx.ticks.fires(ctx.now, times.intvl);
    }
}
