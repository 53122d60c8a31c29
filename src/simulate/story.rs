//! What is kept of a flow's story: entries that ended, and how each side stood when the run was over.

use super::outcome::{End, Forgotten, Met};
use super::trace::Observer;
use super::world::{Flow, FlowPlan, World};
use crate::model::{Outcome as BoxOutcome, Side, What};
use crate::time::Instant;

impl<O: Observer> World<'_, O> {
    /// Keeps what a box did that matters for the story.
    pub(super) fn note(&mut self, flow: &mut Flow, hop: usize, from: Side, out: &BoxOutcome) {
        flow.outcome.dropped += u32::from(out.dropped.is_some());
        let Some(lapse) = out.lapse else { return };
        let reset = out.sent.iter().flatten().any(|sent| matches!(sent.what, What::Reset { .. }));
        let unreachable = out.sent.iter().flatten().any(|sent| sent.what == What::Unreachable);
        let fate = match out.dropped {
            Some(reason) => Met::Dropped(reason),
            None if reset => Met::Reset,
            None if unreachable => Met::Unreachable,
            None if out.created => Met::Repicked,
            None => Met::Passed,
        };
        let (_, at) = self.net.path.hops[hop].lateness().fires(lapse.refreshed, lapse.timeout);
        let forgotten = Forgotten {
            hop,
            refreshed: lapse.refreshed,
            timeout: lapse.timeout,
            at,
            clause: lapse.clause,
            state: lapse.state,
            noticed: Some(self.now),
            by_client: from == Side::Client,
            fate,
        };
        self.observer.forgot(&forgotten);
        flow.outcome.forgotten.push(forgotten);
    }

    /// The run is over: what is still open, and which entries ended unnoticed.
    pub(super) fn finish(&mut self, flow: &mut Flow, plan: &FlowPlan<'_>) {
        for (socket, story) in flow.sockets.iter().zip(&mut flow.outcome.sides) {
            if story.end == End::NeverOpened && story.opened.is_some() {
                story.end = End::StillOpen(socket.state());
            }
            if story.ended_at().is_none() {
                story.unacknowledged = !socket.is_drained() && story.opened.is_some();
            }
        }
        let tuple = crate::engine::Path::from_client(plan.ports[0], plan.ports[1]);
        // As long as a side believed in the connection, or still tried, the loss of an entry concerns it.
        let horizon = if flow.outcome.interrupted { flow.outcome.last } else { self.net.horizon };
        let until = flow.outcome.sides.iter().map(|side| match side.end {
            End::StillOpen(_) => horizon,
            End::NeverOpened | End::Died(_) => Instant::ZERO,
            _ => side.ended_at().unwrap_or(Instant::ZERO),
        });
        let concerned = until.fold(Instant::ZERO, Instant::max);
        let mut arriving = tuple;
        for (index, hop) in self.net.path.hops.iter().enumerate() {
            let Some(lapse) = hop.running(&flow.hops[index], arriving) else { continue };
            let (_, at) = hop.lateness().fires(lapse.refreshed, lapse.timeout);
            if at <= concerned && hop.ends_unasked(&flow.hops[index]) {
                let forgotten = Forgotten {
                    hop: index,
                    refreshed: lapse.refreshed,
                    timeout: lapse.timeout,
                    at,
                    clause: lapse.clause,
                    state: lapse.state,
                    noticed: None,
                    by_client: false,
                    fate: Met::Nobody,
                };
                self.observer.forgot(&forgotten);
                flow.outcome.forgotten.push(forgotten);
            }
            arriving = hop.translated(&flow.hops[index], arriving);
        }
    }
}
