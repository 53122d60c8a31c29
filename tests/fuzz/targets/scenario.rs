//! A text as a scenario: read, varied, compiled, and where it is short, run twice with the same outcome.
use flowlapse::report::story::{Came, Story, json, text, timeline};
use flowlapse::scenario::compile::Ready;
use flowlapse::scenario::load::vary_with;
use flowlapse::scenario::{Scenario, load_with, run};
use flowlapse::simulate::trace::Recorder;

const VARIANTS_MAX: usize = 4;
const FLOWS_MAX: u64 = 8;
const ACTIONS_MAX: usize = 500;
/// A run may take a hundred million timers and arrivals; here it is stopped earlier.
const EVENTS_MAX: u64 = 20_000;

/// Runs a scenario.
fn came(ready: &Ready) -> Came {
    if ready.crowd.is_some() {
        return Came::Many(Box::new(run::population(ready)));
    }
    let (outcome, seen) = run::single(ready, Recorder::default());
    Came::One(Box::new(outcome), seen)
}

fn live(scenario: &Scenario, variant: Option<&str>) {
    let Ok(mut ready) = scenario.compile() else { return };
    if ready.flows() > FLOWS_MAX || ready.scripts.iter().any(|script| script.len() > ACTIONS_MAX) {
        return;
    }
    ready.net.events_max = EVENTS_MAX;
    let told = || {
        let story = Story::new("story.json", variant, scenario, &ready, came(&ready));
        let words = text::write(&story, 80);
        assert!(!words.contains('\u{1b}'), "no escape goes out raw");
        (words, timeline::write(&story), json::run(&story).to_string(), story.is_as_expected())
    };
    assert_eq!(told(), told(), "the same seed gives the same run");
}

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let none = |name: &str| Err(format!("{name} is not to be read"));
    let Ok(base) = load_with(&text, "story.json", &[], &none) else { return };
    live(&base, None);
    for variant in base.variants.iter().take(VARIANTS_MAX) {
        if let Ok(varied) = vary_with(&text, "story.json", &[], &base, variant, &none) {
            live(&varied, Some(&variant.name));
        }
    }
}
