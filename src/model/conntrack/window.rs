//! Window tracking: is a segment inside what its receiver can take, and what does it teach about both sides?
//!
//! Source: `tcp_in_window` (`net/netfilter/nf_conntrack_proto_tcp.c` and predecessors), after van Rooij's paper "Real
//! Stateful TCP Packet Filtering in IP Filter"; the spec's conntrack.md section 3.7. It must not know states beyond the
//! few that change its rules, nor any timer.

use super::Settings;
use super::dialect::{Dialect, ReinitRule, ZeroLen};
use super::entry::{Kind, State, TcpTrack, side_flag};
use super::tracker::{Invalid, read_options};
use crate::net::{Segment, Seq, TcpFlags};

/// The smallest window that the acknowledgement test assumes (`MAXACKWINCONST`).
const MAXACKWINCONST: u32 = 66_000;

/// What the window test says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// Inside, or forgiven.
    Inside,
    /// Inside after its end was cut off, its FIN with it: the kind has become ACK.
    InsideCut,
    /// Accepted, but it changes nothing (6.1 and later).
    Ignored,
    /// INVALID.
    Outside(Invalid),
}

/// Tests one segment and, if it is inside, records what it teaches. `kind` becomes ACK where a FIN was cut off.
/// `d` is the row of the settings.
#[inline(always)]
pub fn test(d: &Dialect, settings: &Settings, t: &mut TcpTrack, dir: usize, kind: &mut Kind, seg: &Segment) -> Judgement {
    let peer = 1 - dir;
    let flags = seg.flags;
    let (syn, has_ack, rst) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::ACK), flags.has(TcpFlags::RST));
    let mut seq = seg.seq;
    let mut end = seg.end();
    let mut ack = seg.ack;
    let mut sack = if t.seen[peer].flags & side_flag::SACK_PERM != 0 { seg.sack } else { ack };
    let raw_window = seg.window;
    let mut win = u32::from(raw_window);

    // A direction that is seen for the first time is initialised from the packet.
    let no_history = if d.history_by_end { t.seen[dir].end == Seq(0) } else { t.seen[dir].maxwin == 0 };
    if no_history {
        let opens = if d.history_by_end { syn && has_ack } else { syn };
        if opens {
            start_direction(d, t, dir, seg, end);
            if !d.history_by_end && !has_ack {
                return Judgement::Inside;
            }
        } else {
            let scaled = if d.midstream_scaled { win << t.seen[dir].scale } else { win };
            if d.midstream_scaled_win_sticks {
                win = scaled;
            }
            let side = &mut t.seen[dir];
            side.end = end;
            side.maxwin = scaled.max(1);
            side.maxend = end.plus(side.maxwin);
            if d.midstream_scaled {
                let other = &mut t.seen[peer];
                if other.maxwin == 0 {
                    other.end = sack;
                    other.maxend = sack;
                } else if d.keepalive_midstream && sack == other.end.plus(1) {
                    // The pick-up was a keepalive probe: its end was one byte low.
                    other.end = other.end.plus(1);
                }
            }
        }
    } else {
        let newer = end.after(t.seen[dir].end);
        match d.reinit_rule {
            ReinitRule::SynNewerEnd => {
                if syn && newer && matches!(t.state, State::SynSent | State::SynRecv) {
                    start_direction(d, t, dir, seg, end);
                    if dir == 1 && !has_ack {
                        return Judgement::Inside;
                    }
                }
            }
            rule => {
                let restart = t.state == State::SynSent && dir == 0 || d.reinit_in_syn_recv_reply && t.state == State::SynRecv && dir == 1;
                if restart && newer {
                    let side = &mut t.seen[dir];
                    side.end = end;
                    side.maxend = end;
                    side.maxwin = win.max(1);
                    read_options(d, side, seg);
                } else if rule == ReinitRule::NewerEndOrReplySyn && syn && dir == 1 && t.state == State::SynSent {
                    start_direction(d, t, dir, seg, end);
                    if !has_ack {
                        return Judgement::Inside;
                    }
                }
            }
        }
    }

    // Nothing, or nothing credible, is acknowledged: take what the other side has sent.
    if !has_ack || rst && ack == Seq(0) {
        ack = t.seen[peer].end;
        sack = ack;
    }
    let reset_in_syn_sent = rst && seq == Seq(0) && t.state == State::SynSent;
    let skip_sequence = match d.zero_len_shortcut {
        ZeroLen::All => seq == end,
        ZeroLen::AllButRst => seq == end && (!rst || reset_in_syn_sent),
        ZeroLen::Off => reset_in_syn_sent,
    };
    if skip_sequence {
        seq = t.seen[dir].end;
        end = seq;
    }
    let mut cut = false;
    if d.trim_right_edge && end.after(t.seen[dir].maxend) && seq.before(t.seen[dir].maxend) {
        end = t.seen[dir].maxend;
        if flags.has(TcpFlags::FIN) && *kind == Kind::Fin {
            *kind = Kind::Ack;
            cut = true;
        }
    }

    let (sender, receiver) = (t.seen[dir], t.seen[peer]);
    let largest = sender.maxwin.max(MAXACKWINCONST);
    let (upper_edge, lower_edge) = if d.trim_right_edge { (end, seq) } else { (seq, end) };
    let below_upper = upper_edge.before(sender.maxend.plus(1));
    let in_receiver_window = lower_edge.after(sender.end.minus(receiver.maxwin).minus(1));
    let above_lower = in_receiver_window || d.zero_recvwin_skips_low_bound && receiver.maxwin == 0;
    let acks_seen_data = sack.before(receiver.end.plus(1));
    let ack_recent =
        if d.ack_low_bound_uses_sack { sack.after(receiver.end.minus(largest).minus(1)) } else { ack.after(receiver.end.minus(largest)) };
    let liberal = sender.flags & side_flag::BE_LIBERAL != 0 || settings.tcp_be_liberal && !(d.global_liberal_excludes_rst && rst);
    let counted_loose = d.loose_packet_counter && (sender.loose != 0 || receiver.loose != 0);
    let inside = below_upper && above_lower && acks_seen_data && ack_recent;

    if !inside && !counted_loose {
        let overshoot = end.distance(sender.maxend).wrapping_add(1);
        let mut ignored = !below_upper
            && d.split_window_verdict
            && receiver.maxwin != 0
            && in_receiver_window
            && acks_seen_data
            && ack_recent
            && overshoot <= receiver.maxwin;
        let backported = d.overshoot_updates_but_invalid
            && !liberal
            && !below_upper
            && above_lower
            && acks_seen_data
            && ack_recent
            && overshoot <= receiver.maxwin;
        if ignored || backported {
            t.seen[dir].end = end;
            t.seen[dir].flags |= side_flag::DATA_UNACKNOWLEDGED;
        }
        if liberal {
            return if cut { Judgement::InsideCut } else { Judgement::Inside };
        }
        ignored |= d.split_window_verdict && below_upper && acks_seen_data;
        return if ignored {
            Judgement::Ignored
        } else {
            Judgement::Outside(if !below_upper {
                Invalid::SeqOverUpperBound
            } else if !acks_seen_data {
                Invalid::AckOverUpperBound
            } else if !above_lower {
                Invalid::SeqUnderLowerBound
            } else {
                Invalid::AckUnderLowerBound
            })
        };
    }

    learn(d, t, dir, *kind, seg, &Edges { seq, end, ack, sack, win, raw_window });
    if cut { Judgement::InsideCut } else { Judgement::Inside }
}

/// Initialises a direction from its SYN (`tcp_init_sender`).
fn start_direction(d: &Dialect, t: &mut TcpTrack, dir: usize, seg: &Segment, end: Seq) {
    let side = &mut t.seen[dir];
    side.end = end;
    side.maxend = end;
    side.maxwin = u32::from(seg.window).max(1);
    read_options(d, side, seg);
    let both_scale = t.seen[0].flags & t.seen[1].flags & side_flag::WINDOW_SCALE != 0;
    if (dir == 1 || !d.scale_cleared_on_reply_only) && !both_scale {
        t.seen[0].scale = 0;
        t.seen[1].scale = 0;
    }
}

/// The numbers of a segment after the corrections that the test made.
struct Edges {
    seq: Seq,
    end: Seq,
    ack: Seq,
    sack: Seq,
    win: u32,
    raw_window: u16,
}

/// Records an accepted segment (section 3.7 H).
#[inline(always)]
fn learn(d: &Dialect, t: &mut TcpTrack, dir: usize, kind: Kind, seg: &Segment, e: &Edges) {
    let win = if seg.flags.has(TcpFlags::SYN) { e.win } else { e.win << t.seen[dir].scale };
    let [first, second] = &mut t.seen;
    let (sender, receiver) = if dir == 0 { (first, second) } else { (second, first) };

    sender.maxwin = sender.maxwin.max(win.wrapping_add(e.sack.distance(e.ack)));
    if e.end.after(sender.end) {
        sender.end = e.end;
        if d.unack {
            sender.flags |= side_flag::DATA_UNACKNOWLEDGED;
        }
    }
    if d.maxack_rst_check && seg.flags.has(TcpFlags::ACK) && (sender.flags & side_flag::MAXACK_SET == 0 || e.ack.after(sender.maxack)) {
        sender.maxack = e.ack;
        sender.flags |= side_flag::MAXACK_SET;
    }
    if !d.trim_right_edge && e.end.after(sender.maxend) && (receiver.maxwin != 0 || !d.recv_maxwin_guard) {
        receiver.maxwin = receiver.maxwin.wrapping_add(e.end.distance(sender.maxend));
    }
    if e.sack.plus(win).after(receiver.maxend.minus(1)) {
        receiver.maxend = e.sack.plus(win);
        if win == 0 {
            receiver.maxend = receiver.maxend.plus(1);
        }
    }
    if d.unack && e.ack == receiver.end {
        receiver.flags &= !side_flag::DATA_UNACKNOWLEDGED;
    }
    if sender.loose > 0 && d.loose_packet_counter {
        sender.loose -= 1;
    }
    if kind == Kind::Ack {
        let window = if d.last_win_raw { u32::from(e.raw_window) } else { win };
        let same = usize::from(t.last_dir) == dir
            && t.last_seq == e.seq
            && t.last_end == e.end
            && (d.retrans_compare_fields < 4 || t.last_ack == e.ack)
            && (d.retrans_compare_fields < 5 || u32::from(t.last_win) == window);
        if same {
            t.retrans = t.retrans.wrapping_add(1);
        } else {
            t.last_dir = dir as u8;
            t.last_seq = e.seq;
            t.last_ack = e.ack;
            t.last_end = e.end;
            t.last_win = window as u16;
            t.retrans = 0;
        }
    }
}
