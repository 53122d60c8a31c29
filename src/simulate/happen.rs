//! What happens to the path and the hosts from outside, and boxes that speak of their own accord.

use super::network::Fault;
use super::outcome::{End, Forgotten, Met};
use super::trace::Observer;
use super::world::{Flow, FlowPlan, Flying, SIDES, World};
use crate::endpoint::Socket;
use crate::engine::hop::{Device, HopState};
use crate::model::What;
use crate::model::director::DestState;
use crate::model::idle::Farewell;
use crate::net::{Direction, Segment, TcpFlags};

impl<O: Observer> World<'_, O> {
    pub(super) fn fault(&mut self, flow: &mut Flow) {
        let Some((_, fault)) = self.net.faults.get(flow.next_fault).copied() else { return };
        flow.next_fault += 1;
        self.observer.fault(self.now, fault);
        match fault {
            Fault::LinkDown(link) => flow.links_down |= 1 << link,
            Fault::LinkUp(link) => flow.links_down &= !(1 << link),
            Fault::Forget(hop) => flow.hops[hop] = self.net.path.hops[hop].empty(),
            Fault::FailOver(hop) => {
                let mut fresh = self.net.path.hops[hop].empty();
                if let (HopState::Director(held), Some(synced)) = (&mut fresh, flow.synced.get(hop))
                    && let Some(copy) = synced.copy
                {
                    held.adopt(copy);
                }
                flow.hops[hop] = fresh;
            }
            Fault::Dest(hop, dest) => {
                if let (Device::Director(director), HopState::Director(held)) = (&self.net.path.hops[hop].device, &mut flow.hops[hop]) {
                    held.dest = dest;
                    // Since 5.9 the entries of a server that is removed go at once.
                    let s = &director.ipvs;
                    if dest == DestState::Removed && s.expire_nodest_conn && s.dialect.nodest_flush_on_delete {
                        director.expire(held, |_| true);
                    }
                }
            }
            Fault::ServerDies => self.vanish(flow, 1),
            Fault::ServerReboots => {
                self.vanish(flow, 1);
                flow.alive[1] = true;
            }
            Fault::ClientDies => self.vanish(flow, 0),
        }
        if let Fault::Forget(hop) | Fault::FailOver(hop) | Fault::Dest(hop, _) = fault {
            self.observer.box_keeps(self.now, hop, &self.net.path.hops[hop], &flow.hops[hop]);
        }
    }

    /// A box that closed both of its connections in order acknowledges what ends them; true where the segment is done with.
    pub(super) fn closing_box_answers(&mut self, flow: &mut Flow, hop: usize, flying: &Flying) -> bool {
        let seg = &flying.seg;
        if seg.flags.any(TcpFlags::SYN) || seg.len > 0 {
            return false;
        }
        if seg.flags.has(TcpFlags::FIN) {
            let answer = Segment {
                at: self.now,
                seq: seg.ack,
                ack: seg.end(),
                sack: seg.end(),
                flags: TcpFlags(TcpFlags::ACK),
                dir: seg.dir.opposite(),
                ..Segment::EMPTY
            };
            let back = flying.to.opposite();
            let tuple = flying.tuple.inverse();
            self.observer.box_sent(self.now, hop, back, tuple, &answer, What::Packet);
            self.send(flow, hop as i8, back, tuple, answer, false);
        }
        true
    }

    /// A host is gone: what reaches it is lost.
    pub(super) fn vanish(&mut self, flow: &mut Flow, side: usize) {
        flow.alive[side] = false;
        flow.sockets[side] = Socket::closed();
        flow.apps[side].stopped = true;
        if flow.outcome.sides[side].ended_at().is_none() {
            flow.outcome.sides[side].end = End::Died(self.now);
        }
    }

    /// A box that speaks up when an entry ends: resets or FINs to both ends. How a box closes where its documentation only says
    /// that it does is taken to be a reset; either way its stack answers what the ends send to finish the connection.
    pub(super) fn farewell(&mut self, flow: &mut Flow, hop: usize, plan: &FlowPlan<'_>) {
        flow.outcome.events += 1;
        let model = &self.net.path.hops[hop];
        let Some((farewell, lapse)) = model.say_farewell(&mut flow.hops[hop]) else { return };
        let forgotten = Forgotten {
            hop,
            refreshed: lapse.refreshed,
            timeout: lapse.timeout,
            at: self.now,
            clause: lapse.clause,
            state: lapse.state,
            noticed: Some(self.now),
            by_client: false,
            fate: Met::Reset,
        };
        self.observer.forgot(&forgotten);
        flow.outcome.forgotten.push(forgotten);
        if farewell != Farewell::ResetBoth {
            flow.farewelled |= 1 << hop;
        }
        let flags = if farewell == Farewell::FinBoth { TcpFlags::FIN | TcpFlags::ACK } else { TcpFlags::RST | TcpFlags::ACK };
        for (side, to) in SIDES.into_iter().enumerate() {
            let other = 1 - side;
            let seg = Segment {
                at: self.now,
                seq: flow.ends[other],
                ack: flow.ends[side],
                sack: flow.ends[side],
                flags: TcpFlags(flags),
                dir: if side == 0 { Direction::Reply } else { Direction::Original },
                ..Segment::EMPTY
            };
            let tuple = self.own_tuple(flow, plan, side).inverse();
            self.observer.box_sent(self.now, hop, to, tuple, &seg, What::Packet);
            self.send(flow, hop as i8, to, tuple, seg, false);
        }
    }
}
