//! One flow of a scenario as a picture of its life. It draws nothing itself.

use super::text::noticed;
use super::timeline::fault_text;
use super::{Came, Story};
use crate::report::chart::{Cut, Lanes};
use crate::report::life::{drawn, short};
use crate::report::printable;
use crate::simulate::diarist::Diarist;
use crate::simulate::outcome::{End, Forgotten, Outcome};
use crate::time::{Duration, Instant};

/// The life of the flow of a story, which somebody has kept a diary of; nothing for a population.
pub fn lanes(story: &Story<'_>, mut diarist: Diarist) -> Option<Lanes> {
    let Came::One(outcome, _) = &story.came else { return None };
    let horizon = story.ready.net.horizon;
    let open = outcome.sides.iter().any(|side| matches!(side.end, End::StillOpen(_)));
    let end = if open { horizon } else { diarist.diary.last_deadline().map_or(outcome.last, |at| at.min(horizon).max(outcome.last)) };
    diarist.finish(end);
    let (packets, boxes) = drawn(&diarist.diary, &story.ready.net.path.hops, Instant::ZERO);
    let variant = story.variant.map_or_else(String::new, |name| format!(" ({})", printable(name)));
    let left_out = if diarist.diary.left_out > 0 { format!("; {} packets are left out", diarist.diary.left_out) } else { String::new() };
    Some(Lanes {
        title: format!("{}{variant}", printable(&story.scenario.title)),
        subtitle: format!("client: {}; server: {}{left_out}", side(outcome, 0), side(outcome, 1)),
        client: "client".to_owned(),
        server: "server".to_owned(),
        span: (0.0, secs(end)),
        packets,
        boxes,
        cuts: cuts(outcome, &diarist),
    })
}

fn secs(at: Instant) -> f64 {
    Duration(at.0).as_secs_f64()
}

/// How a side ended, and when.
pub(in crate::report) fn side(outcome: &Outcome, index: usize) -> String {
    let side = &outcome.sides[index];
    let what = match side.end {
        End::NeverOpened => "never opened".to_owned(),
        End::StillOpen(_) => "still believes that it is connected".to_owned(),
        End::Closed(_) => "closed".to_owned(),
        End::Aborted(_) => "aborted".to_owned(),
        End::Failed(errno, _) => errno.name().to_owned(),
        End::GaveUp(why, _) => format!("gave up ({why})"),
        End::Died(_) => "died".to_owned(),
    };
    side.ended_at().map_or(what.clone(), |at| format!("{what} at {}", short(Duration(at.0))))
}

/// What is marked: the first entries that ended with the packets that noticed, what happened to the path, how the sides ended.
fn cuts(outcome: &Outcome, diarist: &Diarist) -> Vec<Cut> {
    const ENTRIES_MAX: usize = 4;
    const FAULTS_MAX: usize = 6;
    let mut cuts = Vec::new();
    let boxes = diarist.diary.boxes.len();
    for entry in outcome.forgotten.iter().take(ENTRIES_MAX) {
        let who = if boxes > 1 { format!("box {}", entry.hop + 1) } else { "the box".to_owned() };
        cuts.push(Cut { at: secs(entry.at), text: loss(entry, &who), strong: true });
        if let Some(at) = entry.noticed.filter(|at| *at > entry.at) {
            cuts.push(Cut { at: secs(at), text: noticed(entry), strong: true });
        }
    }
    let faults = diarist.faults.iter().take(FAULTS_MAX);
    cuts.extend(faults.map(|(at, fault)| Cut { at: secs(*at), text: fault_text(*fault), strong: false }));
    for (index, name) in ["client", "server"].into_iter().enumerate() {
        let text = match outcome.sides[index].end {
            End::Failed(errno, _) => format!("{name}: {}", errno.name()),
            End::GaveUp(why, _) => format!("{name} gives up: {why}"),
            _ => continue,
        };
        if let Some(at) = outcome.sides[index].ended_at() {
            cuts.push(Cut { at: secs(at), text, strong: false });
        }
    }
    cuts
}

fn loss(entry: &Forgotten, who: &str) -> String {
    format!("{who} forgets the flow at {}, {} after the last packet that counted", short(Duration(entry.at.0)), entry.timeout)
}
