//! The flows of all parts of an archive as one run, as if one machine had followed them all.
//!
//! It reads no rows and writes no reports.

use super::part::{Gathered, PartLedger};
use crate::engine::gathered::{Besides, Facts};
use crate::engine::hop::{Device, HopState};
use crate::engine::many::{ClassRun, Many};
use crate::engine::path::Path;
use crate::engine::pipeline::{Followed, Judged, Run};
use crate::engine::replay::FlowRun;
use crate::engine::replayed::Replayed;
use crate::engine::studied::{Studied, Together};
use crate::flow::{Book, Flow, FlowTable, NoRoom, number_streams};

/// What following the flows of all parts came to.
fn besides(parts: &[PartLedger]) -> Besides {
    Besides {
        filtered: parts.iter().map(|part| part.filtered).sum(),
        flows_max: parts.iter().filter_map(|part| part.max_flows).max(),
        no_room: parts.iter().fold(NoRoom::default(), |sum, part| sum.and(part.no_room())),
        interrupted: parts.iter().any(|part| part.interrupted),
    }
}

fn ended<R>(book: &mut Book, gathered: Gathered<R>) -> (Flow, R) {
    let Gathered { mut flow, run, socks: [client, server], proto } = gathered;
    flow.ends = book.ends(client, server, proto);
    (flow, run)
}

/// Whether a flow's way leads through such boxes.
fn fits(run: &FlowRun, path: &Path) -> bool {
    let alike = |device: &Device, state: &HopState| {
        matches!(
            (device, state),
            (Device::Router(_), HopState::Router(_)) | (Device::Director(_), HopState::Director(_)) | (Device::Idle(_), HopState::Idle(_))
        )
    };
    run.hops.len() == path.hops.len() && path.hops.iter().zip(&run.hops).all(|(hop, held)| alike(&hop.device, &held.state))
}

/// The flows of a replay.
///
/// # Errors
/// That they went through other boxes.
pub fn replayed(path: &Path, flows: Vec<Gathered<FlowRun>>, facts: Facts, parts: &[PartLedger]) -> Result<Run, String> {
    if flows.iter().any(|gathered| !fits(&gathered.run, path)) {
        return Err("the parts were judged through other boxes".to_owned());
    }
    let mut book = Book::new();
    let flows = Replayed::gathered(path, flows.into_iter().map(|gathered| ended(&mut book, gathered)));
    Ok(facts.run(flows, book, &besides(parts)))
}

/// The flows of a study of many policies.
///
/// # Errors
/// That they were followed for other policies.
pub fn studied(many: &Many<'_>, flows: Vec<Gathered<Box<[ClassRun]>>>, facts: Facts, parts: &[PartLedger]) -> Result<Run<Studied>, String> {
    if flows.iter().any(|gathered| gathered.run.len() != many.classes.len()) {
        return Err("the parts were followed for other policies".to_owned());
    }
    let mut book = Book::new();
    let flows = Together::new(many).gathered(flows.into_iter().map(|gathered| ended(&mut book, gathered)));
    Ok(facts.run(flows, book, &besides(parts)))
}

/// The flows of another study, in the order of their first packets.
pub fn followed<R>(flows: Vec<Gathered<R>>, facts: Facts, parts: &[PartLedger]) -> Followed<R> {
    let mut book = Book::new();
    let mut table = FlowTable::default();
    let mut runs = Vec::with_capacity(flows.len());
    for gathered in flows {
        let (flow, run) = ended(&mut book, gathered);
        table.adopt(flow);
        runs.push(run);
    }
    table.close(true, |one, other| runs.swap(one, other));
    number_streams(&mut [&mut table]);
    let flows = table.into_flows().zip(runs).map(|(flow, run)| Judged { flow, run }).collect();
    facts.run(flows, book, &besides(parts))
}
