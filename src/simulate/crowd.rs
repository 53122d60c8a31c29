//! Flows that share a table: run in the order of time, one queue for all, so that a full table can refuse the one and evict
//! the other, and a director's defences can drop what a flood left behind.
//!
//! What the tables do is in `tables`; here is only whose turn it is.

use super::network::Network;
use super::outcome::Outcome;
use super::tables::Tables;
pub use super::tables::{Limit, Pressure, Shared};
use super::trace::Silent;
use super::world::{Flow, FlowPlan, LOOKS, NEVER, World};
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicBool;

/// Runs flows together. Their plans are numbered from 0 in order.
pub fn run(net: &Network, shared: &[Shared], plans: &[FlowPlan<'_>]) -> (Vec<Outcome>, Vec<Pressure>) {
    run_until(net, shared, plans, &NEVER)
}

/// The same, until `stop` becomes true: flows that were not over by then say so.
pub fn run_until(net: &Network, shared: &[Shared], plans: &[FlowPlan<'_>], stop: &AtomicBool) -> (Vec<Outcome>, Vec<Pressure>) {
    let mut world = World::new(net, Silent).until(stop);
    world.tables = Some(Tables::new(shared, &net.path, net.seed));
    let mut flows: Vec<Flow> = plans.iter().map(|plan| world.flow(plan)).collect();
    let mut queue: BinaryHeap<Reverse<(Instant, u32)>> = BinaryHeap::with_capacity(plans.len());
    for (index, plan) in plans.iter().enumerate() {
        queue.push(Reverse((plan.start, index as u32)));
    }
    let mut steps = 0_u32;
    while let Some(Reverse((due, index))) = queue.pop() {
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(LOOKS) && world.is_stopped() {
            queue.push(Reverse((due, index)));
            break;
        }
        work(&mut world, &mut flows, due);
        let (flow, plan) = (&mut flows[index as usize], &plans[index as usize]);
        // What is due in a flow may have changed since; it is never earlier than what was queued for it.
        let now = world.due(flow, plan);
        if now > due {
            if now < Instant::MAX {
                queue.push(Reverse((now, index)));
            }
            continue;
        }
        if !world.step(flow, plan) {
            continue;
        }
        let next = world.due(&flows[index as usize], plan);
        if next < Instant::MAX {
            queue.push(Reverse((next, index)));
        }
        evict(&mut world, &mut flows, due);
    }
    // Who still had something to do when it was stopped.
    for Reverse((_, index)) in queue {
        flows[index as usize].outcome.interrupted = true;
    }
    let outcomes = flows
        .iter_mut()
        .zip(plans)
        .map(|(flow, plan)| {
            world.finish(flow, plan);
            std::mem::replace(&mut flow.outcome, Outcome::nothing())
        })
        .collect();
    (outcomes, world.tables.take().map(|tables| tables.pressures()).unwrap_or_default())
}

/// Runs the collections and ticks that are due before the next event.
fn work(world: &mut World<'_, Silent>, flows: &mut [Flow], due: Instant) {
    let until = due.min(world.net.horizon);
    while let Some(at) = world.tables.as_mut().and_then(|tables| tables.work(until)) {
        evict(world, flows, at);
    }
}

fn evict(world: &mut World<'_, Silent>, flows: &mut [Flow], now: Instant) {
    let path = &world.net.path;
    if let Some(tables) = &mut world.tables {
        tables.evict(path, flows, now);
    }
}
