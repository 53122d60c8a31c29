//! `flowlapse infer`: timers bracketed from captures. The bracket must hold the truth, or there must be none.

#[path = "infer/generated.rs"]
mod generated;
#[path = "infer/recorded.rs"]
mod recorded;
#[path = "infer/shapes.rs"]
mod shapes;

use flowlapse::capture::{self, Input};
use flowlapse::engine::pipeline::{self, Followed, Job, Run};
use flowlapse::report::infer::Report;
use flowlapse::study::infer::Inference;
use flowlapse::study::infer::evidence::State;
use flowlapse::study::infer::listen::{Ear, Listener};
use flowlapse::study::infer::pool::Bracket;
use flowlapse::time::Duration;
use std::sync::atomic::AtomicBool;

/// Each input by itself, as captures of the same time are read.
pub(crate) fn infer(inputs: &[Input], threads: usize) -> (Inference, Vec<Run<()>>) {
    let job = Job { threads, ..Job::default() };
    let hear = |input: &Input| -> Followed<Ear> {
        let mut capture = capture::open(std::slice::from_ref(input)).expect("the capture can be read");
        pipeline::follow(&mut capture, &Listener, &job, &AtomicBool::new(false))
    };
    Inference::of(inputs.iter().map(hear).collect())
}

/// The one bracket of a state, if there is any evidence of it.
pub(crate) fn bracket(inference: &Inference, state: State) -> Option<&Bracket> {
    assert_eq!(inference.pools.len(), 1, "the flows contradict each other");
    inference.pools[0].brackets.iter().find(|bracket| bracket.state == state)
}

/// Whether a bracket excludes a setting. `late` says whether the box's timers may be.
pub(crate) fn excludes(bracket: &Bracket, truth: Duration, late: bool) -> bool {
    let low = if late { bracket.low_late } else { bracket.low.map_or(Duration::ZERO, |low| low.value) };
    bracket.is_determined() && (truth < low || bracket.high.is_some_and(|high| high.value < truth))
}

/// The text at a width, and the JSON.
pub(crate) fn told(inputs: &[Input], threads: usize, width: usize) -> (String, serde_json::Value) {
    let (inference, read) = infer(inputs, threads);
    let report = Report { inference: &inference, inputs: &read };
    let mut json = Vec::new();
    report.write_json(&mut json).expect("memory takes it");
    (report.text(width, 20), serde_json::from_slice(&json).expect("it is JSON"))
}
