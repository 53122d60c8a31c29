//! The usual packet of a run that is at work: what `quick` is for a run that rests. Sweeps of many policies, long paths and
//! differences of two paths live on it.
//!
//! The models decide, one entry at a time, on copies that are put in place when all boxes have let the packet pass. Where anything is
//! unusual nothing has happened, and [`Replay::lead`] does what it does for every packet; the two come to the same
//! (`tests/many/rest.rs`, `tests/many/main.rs`).
//!
//! Whoever changes a model changes nothing here. Where a box comes to keep more of a flow than one entry, that flow is unusual; a new kind
//! of box is until it has an arm here and in `quick`.

use super::hop::{Device, HopState};
use super::path::Path;
use super::profile::{Profile, Spell};
use super::quick::has_passed;
use super::replay::{FlowRun, Replay};
use super::timers::{TimerId, of_conn};
use super::told::Told;
use crate::flow::{Closing, GapEvidence};
use crate::model::Tuple;
use crate::model::conntrack::entry::{Entry, TcpTrack};
use crate::model::conntrack::router::{Nat, Router};
use crate::model::conntrack::rule::Rule;
use crate::model::director::{Director, DirectorState};
use crate::model::idle::IdleEntry;
use crate::model::ipvs::Method;
use crate::net::{Direction, Proto, TcpFlags};
use crate::time::{Duration, Instant};

/// With more boxes nothing is usual.
const HOPS: usize = 8;

/// What a box that lets the packet pass will remember of its entry.
enum Next {
    /// The packet does not come by.
    Nothing,
    Router(TcpTrack, u8, Rule),
    /// What it will remember follows from what it does.
    Director,
    Idle(IdleEntry),
}

impl Replay<'_> {
    /// Leads a segment through the path if it is a usual one. The flow goes on and is told of it already.
    pub(super) fn passes(&self, run: &mut FlowRun, profile: &mut Profile, told: &Told<'_>) -> bool {
        let (flow, seg, path) = (told.flow, told.seg, self.path);
        let count = path.hops.len();
        let proto = flow.proto();
        let unusual = self.is_immortal() || seg.flags.has(TcpFlags::RST) || run.reset.is_some();
        if unusual || count > HOPS || run.hops.len() != count {
            return false;
        }
        let reply = seg.dir == Direction::Reply;
        let [client, server] = flow.ports();
        let (there, back) = (Path::from_client(client, server), path.from_server(client, server));
        let (mut tuple, goal) = if reply { (back, there.inverse()) } else { (there, back.inverse()) };
        let now = self.judged_at(seg.at);
        let latest = now + self.blur();
        let mut nexts = [const { Next::Nothing }; HOPS];
        for turn in 0..count {
            let index = if reply { count - 1 - turn } else { turn };
            let hop = &path.hops[index];
            if reply && !hop.sees_replies() {
                continue;
            }
            let next = match (&hop.device, &run.hops[index].state) {
                (Device::Router(router), HopState::Router(table)) => match table.only() {
                    Some(Some(entry)) => through_router(router, entry, &mut tuple, told, (now, latest)),
                    _ => None,
                },
                (Device::Director(director), HopState::Director(held)) => through_director(director, held, &mut tuple, told, latest),
                (Device::Idle(idle), HopState::Idle(Some(entry))) if latest < idle.deadline_if_answered(entry).0 => {
                    let mut entry = *entry;
                    idle.follow(&mut entry, proto, seg, seg.dir, now);
                    Some(Next::Idle(entry))
                }
                _ => None,
            };
            let Some(next) = next else { return false };
            nexts[index] = next;
        }
        if tuple != goal {
            return false;
        }
        self.settle(run, profile, told, now, &nexts[..count]);
        true
    }

    /// Every box has let the packet pass: its spell is noted, and its entry is what it has become.
    fn settle(&self, run: &mut FlowRun, profile: &mut Profile, told: &Told<'_>, now: Instant, nexts: &[Next]) {
        let (seg, open) = (told.seg, told.is_open());
        let (reply, mut hint) = (seg.dir == Direction::Reply, usize::MAX);
        for turn in 0..nexts.len() {
            let index = if reply { nexts.len() - 1 - turn } else { turn };
            let (hop, part) = (&self.path.hops[index], &mut run.hops[index]);
            let (found, runs) = match (&nexts[index], &mut part.state, &hop.device) {
                (Next::Router(track, status, rule), HopState::Router(table), Device::Router(router)) => {
                    let Some(entry) = table.only_mut() else { continue };
                    let found = (TimerId(entry.rule.number()), entry.refreshed);
                    let timer = router.conntrack.settings.timer(*rule);
                    (entry.timeout, entry.clause, entry.rule) = (timer.span, timer.clause, timer.rule);
                    (entry.tcp, entry.status, entry.refreshed) = (*track, *status, now);
                    (Some(found), true)
                }
                (Next::Director, HopState::Director(held), Device::Director(director)) => {
                    let Some(conn) = held.conns.only_mut() else { continue };
                    let found = (of_conn(conn), conn.refreshed);
                    conn.update(&director.ipvs, told.flow.proto(), reply, seg.flags, now);
                    (Some(found), true)
                }
                (Next::Idle(next), HopState::Idle(Some(entry)), Device::Idle(idle)) => {
                    let clause = idle.deadline(entry).1;
                    let found = (TimerId(clause as u16), entry.set_at());
                    let lasts = |clause| idle.timer(clause).timeout == Duration::MAX;
                    let renewed = next.set_at() == now && !lasts(idle.deadline(next).1);
                    *entry = *next;
                    ((!lasts(clause)).then_some(found), renewed)
                }
                _ => continue,
            };
            let seen = told.evidence_for(hop.sees_replies());
            part.hole_since |= seen == GapEvidence::Hole;
            if let Some((timer, refreshed)) = found.filter(|_| !part.hole_since) {
                let spell = Spell { idle: now.since(refreshed), before: part.renewed_by, after: seg.frame, evidence: seen };
                profile.note(index, timer, spell, open, &mut hint);
            }
            if runs {
                (part.renewed_by, part.hole_since) = (seg.frame, false);
            }
        }
        run.over = told.flow.closing() == Closing::Fin;
    }
}

fn through_router(router: &Router, entry: &Entry, tuple: &mut Tuple, told: &Told<'_>, (now, latest): (Instant, Instant)) -> Option<Next> {
    let seg = told.seg;
    let reply = seg.dir == Direction::Reply;
    let dir = match *tuple {
        tuple if tuple == entry.original => 0,
        tuple if tuple == entry.reply => 1,
        _ => return None,
    };
    // What the server's packet began is translated otherwise.
    if router.nat != Nat::None && (dir == 1) != reply || latest >= entry.refreshed + entry.timeout {
        return None;
    }
    *tuple = if dir == 0 { entry.reply.inverse() } else { entry.original.inverse() };
    let (mut track, mut status) = (entry.tcp, entry.status);
    let rule = match told.flow.proto() {
        Proto::Tcp => router.lets_pass(&mut track, &mut status, dir, seg)?,
        Proto::Udp => router.lets_datagram_pass(&mut status, dir, seg, has_passed(entry.stream_from, now, latest))?,
    };
    Some(Next::Router(track, status, rule))
}

fn through_director(director: &Director, held: &DirectorState, tuple: &mut Tuple, told: &Told<'_>, latest: Instant) -> Option<Next> {
    let conn = held.conns.only().flatten().filter(|_| held.is_plain())?;
    if latest >= conn.refreshed + conn.timeout {
        return None;
    }
    let reply = told.seg.dir == Direction::Reply;
    let (own, onward) = if reply {
        (Tuple { src: conn.dest, dst: conn.client }, Tuple { src: conn.virt, dst: conn.client })
    } else {
        let dst = if director.ipvs.method == Method::Masq { conn.dest } else { conn.virt };
        (Tuple { src: conn.client, dst: conn.virt }, Tuple { src: conn.client, dst })
    };
    if *tuple != own || reply && director.ipvs.method != Method::Masq {
        return None;
    }
    *tuple = onward;
    let (mut state, mut flags) = (conn.state, conn.flags);
    director.lets_pass(told.flow.proto(), &mut state, &mut flags, reply, told.seg).then_some(Next::Director)
}
