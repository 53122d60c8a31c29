//! Flows that rest in a few words between their packets are what they would be if they did not.

use crate::capture::pcap;
use crate::traffic::{FORMS, follow, path, policies, population, replay};
use flowlapse::engine::Clock;
use flowlapse::engine::path::Path;
use flowlapse::engine::pipeline::{Follow, Followed, Run};
use flowlapse::engine::replay::{FlowRun, Replay};
use flowlapse::engine::replayed::Replayed;
use flowlapse::finding::judge::{Judge, judge};
use flowlapse::finding::{BreakPoint, Decisive, Verdict};
use flowlapse::flow::{Flow, Observation};
use flowlapse::net::Segment;
use flowlapse::time::Duration;
use proptest::prelude::*;
use proptest::sample::select;
use std::fs;

/// Everything that is known of a flow, but for what only a director under defence counts.
fn known(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("in_pkts: ") {
        out.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(|c: char| c != ',');
    }
    // What is empty is empty, whether or not it was once used.
    (out + rest).replace("rest: Some([])", "rest: None").replace("RareTable(Some(Few { first: None, rest: None }))", "RareTable(None)")
}

fn agree(path: &Path, small: &Run, large: &Followed) -> Result<(), TestCaseError> {
    prop_assert_eq!(small.flows.len(), large.flows.len());
    for (number, judged) in large.flows.iter().enumerate() {
        let (flow, run) = (small.flows.flow(number), small.flows.run(number));
        prop_assert_eq!(format!("{flow:?}"), format!("{:?}", judged.flow));
        let rows = |run: &FlowRun| run.profile.rows().collect::<Vec<_>>();
        prop_assert_eq!(rows(&run), rows(&judged.run));
        let entries = |run: &FlowRun| {
            let hops: Vec<String> = run.hops.iter().map(|part| known(&format!("{:?}", part.state))).collect();
            format!("{hops:?} {:?} {:?} {:?} {:?}", run.cut, run.repaired, run.doubt, run.hole)
        };
        if judged.run.cut.is_none() && !path.hops.iter().any(|hop| hop.label.starts_with("idle") || hop.label.contains("nlb")) {
            prop_assert_eq!(entries(&run), entries(&judged.run));
        }
        let full = judge(path, small.socks(flow), flow, &run, small.end);
        prop_assert_eq!(&full, &judge(path, large.socks(&judged.flow), &judged.flow, &judged.run, large.end));
        let glances = Judge::of(path, small.end);
        let brief = glances.glance(flow, &run, &run.profile, 0);
        prop_assert_eq!(&glances.glance_at(&small.flows, number, &mut Replayed::scratch(), 0), &brief);
        let excess = full.decisive.as_ref().map_or(Duration::ZERO, Decisive::excess);
        prop_assert_eq!((brief.verdict, brief.excess, brief.outlived), (full.verdict, excess, full.outlived));
        prop_assert_eq!((brief.blocked, brief.invalid), (full.blocked, full.invalid));
        if full.verdict == Verdict::Survives {
            let share = full.closest().map_or(0, BreakPoint::share);
            prop_assert_eq!(brief.share, share);
            // Told where it is larger than another one.
            for above in [share.saturating_sub(1), share, u32::MAX] {
                let told = if share > above { share } else { 0 };
                prop_assert_eq!(glances.glance(flow, &run, &run.profile, above).share, told);
            }
        }
    }
    Ok(())
}

/// Every packet takes the general way.
struct Always<'p>(Replay<'p>);

impl Follow for Always<'_> {
    type Run = FlowRun;

    fn begin(&self, flow: &Flow, seg: &Segment) -> FlowRun {
        self.0.begin(flow, seg)
    }

    fn segment(&self, run: &mut FlowRun, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        self.0.witnessed(run, flow, seg, observation, previous_frame, &mut ());
    }
}

/// Flows that rest, and those that are always at work, come to what they do where no packet is a usual one.
fn three_ways(path: &Path, file: &[u8]) -> Result<(), TestCaseError> {
    let always = follow(file, &Always(Replay::new(path)));
    agree(path, &replay(file, path), &always)?;
    let at_work = follow(file, &Replay::new(path));
    for (one, other) in at_work.flows.iter().zip(&always.flows) {
        prop_assert_eq!(format!("{:?}", one.run), format!("{:?}", other.run));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_rests_is_what_it_was(packets in population(), boxes in policies(), hz in select(vec![0_u32, 100, 250])) {
        let clock = if hz == 0 { Clock::Ideal } else { Clock::Wheel { hz: flowlapse::kernel::wheel::Hz(hz), phase: None } };
        let file = pcap(&packets);
        for boxes in boxes.iter().take(3) {
            let path = path(boxes, clock);
            three_ways(&path, &file)?;
        }
    }

    /// Paths of more boxes than rest small, and boxes that not every packet renews.
    #[test]
    fn long_and_odd_paths_too(packets in population(), form in select(&FORMS[..])) {
        let file = pcap(&packets);
        let form = form.replace('#', "300");
        for boxes in [
            format!("{form} conntrack:strict ipvs:nat idle:established=350"),
            "idle:established=60,refresh=outbound".to_owned(),
            "ipvs:dr conntrack:masquerade".to_owned(),
            "conntrack:dnat ipvs:nat,conntrack=1".to_owned(),
        ] {
            let path = path(&boxes, Clock::Ideal);
            three_ways(&path, &file)?;
        }
    }
}

#[test]
fn in_every_capture() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = ["fixtures/captures", "../shared/captures"]
        .iter()
        .filter_map(|folder| fs::read_dir(root.join(folder)).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "pcap" || e == "pcapng"));
    files.sort();
    assert!(!files.is_empty(), "the fixtures are there");
    for file in files {
        let bytes = fs::read(&file).expect("a fixture");
        for boxes in [
            "conntrack ipvs:nat idle:established=350",
            "conntrack:masquerade,established=60 ipvs:dr,tcp=30",
            "conntrack:strict,dialect=linux-2.4",
        ] {
            let path = path(boxes, Clock::Ideal);
            three_ways(&path, &bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
}
