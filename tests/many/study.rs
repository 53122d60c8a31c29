//! Studies: what they count for many policies is what they count for each alone, and what is promised holds when it is tried.

use crate::capture::pcap;
use crate::traffic::{FORMS, SPANS, follow, path, policies, population, study as followed};
use flowlapse::engine::many::Many;
use flowlapse::engine::replay::Replay;
use flowlapse::engine::{Clock, Path};
use flowlapse::finding::Verdict;
use flowlapse::finding::judge::judge;
use flowlapse::kernel::wheel::Hz;
use flowlapse::policy::{self, BoxSpec};
use flowlapse::study::ledger::Occupancy;
use flowlapse::study::needs::of_run;
use flowlapse::study::tally::Tally;
use flowlapse::study::tune::{Asked, Trial, tune};
use flowlapse::study::{Study, diff};
use flowlapse::time::Duration;
use proptest::prelude::*;
use proptest::sample::select;
use std::fs;

/// What a study says of each policy.
fn answers(file: &[u8], paths: &[Path], keepalives: &[Option<Duration>], beyond: bool) -> (Vec<Tally>, Vec<Vec<Occupancy>>) {
    let many = Many::with_keepalive(paths, keepalives, beyond);
    let run = followed(file, &many);
    let study = Study { many: &many, run: &run };
    (study.tallies(), study.occupancies(&study.ledgers()))
}

/// The verdicts that a plain replay counts.
fn counted(file: &[u8], path: &Path) -> [u64; 8] {
    let run = follow(file, &Replay::new(path));
    let mut counts = [0; 8];
    for judged in &run.flows {
        counts[judge(path, run.socks(&judged.flow), &judged.flow, &judged.run, run.end).verdict as usize] += 1;
    }
    counts
}

fn each_alone(file: &[u8], paths: &[Path]) -> Result<(), TestCaseError> {
    for beyond in [false, true] {
        let (tallies, tables) = answers(file, paths, &[], beyond);
        for (index, one) in paths.iter().enumerate() {
            let (alone, table) = answers(file, std::slice::from_ref(one), &[], beyond);
            prop_assert_eq!(&tallies[index], &alone[0]);
            prop_assert_eq!(&tables[index], &table[0]);
            if beyond {
                prop_assert_eq!(tallies[index].verdicts, counted(file, one));
            }
        }
    }
    Ok(())
}

/// A path in which every `#` is a value.
fn specs(form: &str, values: &[u64]) -> Vec<BoxSpec> {
    let mut values = values.iter().cycle();
    let text: String =
        form.chars().map(|c| if c == '#' { values.next().map_or_else(String::new, u64::to_string) } else { c.to_string() }).collect();
    text.split_whitespace().map(|one| policy::parse_short(one).expect("a box")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_policies_are_counted_as_each_alone(packets in population(), policies in policies()) {
        let paths: Vec<Path> = policies.iter().map(|boxes| path(boxes, Clock::Ideal)).collect();
        each_alone(&pcap(&packets), &paths)?;
    }

    /// The smallest timers cut nothing when they are replayed, and a second less of any does harm, or the flow was over anyway.
    #[test]
    fn what_is_recommended_holds(packets in population(), form in select(&FORMS[..]), values in prop::collection::vec(select(&SPANS[..]), 6), lower_all in any::<bool>()) {
        let file = pcap(&packets);
        let boxes = specs(form, &values);
        let path = Path::build(&boxes, Clock::Ideal).expect("a path");
        let asked = Asked { share: 0.0, lower_all, hz: Hz(250), lost: 1, interval: 15 };
        let run = follow(&file, &Replay::new(&path).immortal());
        let (tuned, _) = tune(&boxes, &path, &asked, &run, |many| Ok::<_, String>(followed(&file, many))).expect("values that boxes take");
        let (plan, recommended) = (&tuned.plan, &tuned.of(Trial::Recommended).expect("it is tried").tally);
        let hopeless = plan.hopeless.len() as u64;
        let cut = recommended.count(Verdict::Cut);
        prop_assert!(cut <= hopeless, "{cut} cut, {hopeless} hopeless: {:?}", plan.timers);
        if hopeless == 0 {
            prop_assert_eq!(recommended.count(Verdict::Repaired), 0, "nothing is lost, not even for a moment: {:?}", plan.timers);
        }
    }

    #[test]
    fn a_difference_is_that_of_two_replays(packets in population(), policies in policies()) {
        let file = pcap(&packets);
        let [one, other] = [policies.first(), policies.last()].map(|p| p.expect("at least one policy"));
        let paths = [path(one, Clock::Ideal), path(other, Clock::Ideal)];
        let many = Many::new(&paths, true);
        let run = followed(&file, &many);
        let study = Study { many: &many, run: &run };
        let diff = study.diff();
        let counts = paths.each_ref().map(|p| counted(&file, p));
        for verdict in Verdict::ALL {
            let old: u64 = diff.verdicts.iter().filter(|((old, _), _)| *old == verdict).map(|(_, count)| count).sum();
            let new: u64 = diff.verdicts.iter().filter(|((_, new), _)| *new == verdict).map(|(_, count)| count).sum();
            prop_assert_eq!([old, new], [counts[0][verdict as usize], counts[1][verdict as usize]]);
        }
        let [cut, saved] = [diff::Change::NewlyCut, diff::Change::NewlySaved].map(|change| diff.count(change) as i64);
        prop_assert_eq!(cut - saved, counts[1][0] as i64 - counts[0][0] as i64);
        if one == other {
            prop_assert!(diff.differences.is_empty());
        }
    }
}

/// Every capture that comes with the project, at the very break-points of its flows, a second below and above.
#[test]
fn captures_are_swept_as_they_are_replayed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["fixtures/captures", "../shared/captures", "../shared/recordings/pcap/real-scale"];
    let mut files: Vec<_> =
        folders.iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok()).flatten().flatten().map(|e| e.path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "pcap" || e == "pcapng"));
    files.sort();
    assert!(files.len() >= 20, "the fixtures are there");
    for file in files {
        let bytes = fs::read(&file).expect("a fixture");
        for (form, key) in [
            ("conntrack:strict,established=", "established"),
            ("ipvs:nat,tcp=", "tcp"),
            ("conntrack:masquerade,established=", "established"),
            ("idle:established=", "established"),
        ] {
            let bearing = path(&format!("{form}900"), Clock::Ideal);
            let run = follow(&bytes, &Replay::new(&bearing).immortal());
            let mut values: Vec<u64> = of_run(&bearing, &run)
                .iter()
                .flat_map(|needs| needs.spells.iter().filter(|(knob, _)| knob.setting == key).map(|(_, spell)| spell.idle.as_secs()))
                .flat_map(|secs| [secs.saturating_sub(1), secs, secs + 1])
                .filter(|secs| *secs > 0)
                .collect();
            values.sort_unstable();
            values.dedup();
            let step = values.len().div_ceil(40).max(1);
            let paths: Vec<Path> = values.iter().step_by(step).map(|secs| path(&format!("{form}{secs}"), Clock::Ideal)).collect();
            if !paths.is_empty() {
                each_alone(&bytes, &paths).unwrap_or_else(|error| panic!("{} {form}: {error}", file.display()));
            }
        }
    }
}
