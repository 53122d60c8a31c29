//! One replay for many policies says what as many separate replays say, ties at the exact timer value included.

#[path = "../replay/capture.rs"]
mod capture;
mod rest;
mod study;
mod traffic;

use capture::{Ends, Packet, START, pcap};
use flowlapse::engine::many::{ClassRun, Many, Part};
use flowlapse::engine::pipeline::Followed;
use flowlapse::engine::replay::{FlowRun, Replay};
use flowlapse::engine::studied::Scratch;
use flowlapse::engine::{Clock, Hop, Path};
use flowlapse::finding::judge::judge;
use flowlapse::finding::{Finding, Verdict};
use flowlapse::flow::Flow;
use flowlapse::kernel::wheel::{Hz, Phase};
use flowlapse::time::Instant;
use proptest::prelude::*;
use proptest::sample::select;
use traffic::{follow, path, policies, population, study as studied};

/// What a verdict says, apart from what only one policy's lengths decide.
fn said(f: &Finding) -> String {
    let d = f.decisive.as_ref();
    let cause = d.map(|d| (d.hop, d.idle, d.refreshed, d.victim, d.kind, d.dir, d.evidence, d.fate));
    let feelings = f.symptoms.as_ref().map(|s| [s[0].feeling, s[1].feeling]);
    format!("{:?} {cause:?} {feelings:?} {} {} {}", f.verdict, f.repairs, f.blocked, f.invalid)
}

/// The first entry that ended before its time: whose packet found out, and what became of it.
fn first_lapse(run: &FlowRun) -> String {
    let cut = run.cut.as_deref().map(|(late, fate)| (late.ordinal, late.hop, late.evidence, format!("{fate:?}")));
    let repaired = run.repaired.as_deref().map(|late| (late.ordinal, late.hop, late.evidence, "repaired".to_owned()));
    let first = [cut, repaired].into_iter().flatten().min();
    // A packet may find one entry ended and made anew, and be lost at the next box: it is one packet.
    format!("{first:?}")
}

fn ends_of(path: &Path, part: &Part) -> Vec<Vec<(Instant, Instant)>> {
    let lives = |(index, hop): (usize, &Hop)| {
        let mut ends = Vec::new();
        part.lives(index, hop, |life| ends.push((life.from, life.end(hop))));
        ends.sort();
        ends
    };
    path.hops.iter().enumerate().map(lives).collect()
}

/// Flows that rest between their packets come to what they do where they are always at work.
fn as_at_work(file: &[u8], many: &Many<'_>, at_work: &Followed<Box<[ClassRun]>>) -> Result<(), TestCaseError> {
    let at_rest = studied(file, many);
    prop_assert_eq!(at_rest.flows.len(), at_work.flows.len());
    let mut scratch = Scratch::default();
    for (number, judged) in at_work.flows.iter().enumerate() {
        let flow = at_rest.flows.flow(number);
        prop_assert_eq!(format!("{flow:?}"), format!("{:?}", judged.flow));
        for (place, (class, run)) in many.classes.iter().zip(&judged.run).enumerate() {
            let mut lives = vec![0; class.path(0).hops.len()];
            let undivided = at_rest.flows.entries(number, place, class, |hop, _, _| lives[hop] += 1);
            let over = at_rest.flows.is_undivided_and_over(number, place);
            let parts: Vec<&Part> = at_rest.flows.parts(number, place, class, &mut scratch).iter().collect();
            prop_assert!(!undivided || parts.len() == 1 && parts[0].members.is_all());
            for member in 0..class.members.len() as u32 {
                let of = |part: &Part| class.run_of(part, member);
                let holding: Vec<&&Part> = parts.iter().filter(|part| part.members.contains(member)).collect();
                prop_assert_eq!(holding.len(), 1, "a policy is in one part");
                let work = run.parts.iter().find(|part| part.members.contains(member)).expect("a policy is in a part");
                let path = class.path(member);
                let judged = |run: &FlowRun| judge(path, at_rest.socks(flow), flow, run, at_rest.end);
                let (mine, theirs) = (judged(&of(holding[0])), judged(&of(work)));
                // A box that replies do not pass may have parted policies that stay together where flows rest.
                prop_assert_eq!(said(&mine), said(&theirs), "flow {} policy {}", number, member);
                prop_assert_eq!(
                    (&mine.break_points, mine.outlived, &mine.caveats),
                    (&theirs.break_points, theirs.outlived, &theirs.caveats)
                );
                prop_assert!(!over || mine.verdict == Verdict::Survives);
                let rows = |part: &Part| part.run.profile.rows().collect::<Vec<_>>();
                prop_assert_eq!(rows(holding[0]), rows(work), "flow {} policy {}", number, member);
                prop_assert_eq!(ends_of(path, holding[0]), ends_of(path, work), "flow {} policy {}", number, member);
                prop_assert!(!undivided || lives.iter().enumerate().all(|(hop, many)| ends_of(path, work)[hop].len() == *many));
                let group = |part: &Part| class.verdict_groups(part, at_rest.end).into_iter().find(|group| group.contains(member));
                let verdict = |part: &Part| {
                    let first = group(part)?.first()?;
                    Some(judge(class.path(first), at_rest.socks(flow), flow, &class.run_of(part, first), at_rest.end).verdict)
                };
                prop_assert_eq!(verdict(holding[0]), verdict(work), "flow {} policy {}", number, member);
            }
        }
    }
    Ok(())
}

fn ends(path: &Path, run: &FlowRun) -> Vec<Vec<(Instant, Instant)>> {
    let lives = |(hop, part): (usize, &flowlapse::engine::replay::HopRun)| {
        let hop = &path.hops[hop];
        let mut ends = Vec::new();
        if let Some(lives) = &part.lives {
            lives.each(hop, &part.state, |life| ends.push((life.from, life.end(hop))));
        }
        ends.sort();
        ends
    };
    run.hops.iter().enumerate().map(lives).collect()
}

fn compare(packets: &[Packet], policies: &[String], clock: Clock) -> Result<(), TestCaseError> {
    let file = pcap(packets);
    let paths: Vec<Path> = policies.iter().map(|boxes| path(boxes, clock)).collect();
    let (quick, full) = (Many::new(&paths, false), Many::new(&paths, true));
    let (quick_run, full_run) = (follow(&file, &quick), follow(&file, &full));
    as_at_work(&file, &quick, &quick_run)?;
    as_at_work(&file, &full, &full_run)?;
    for (member, one) in paths.iter().enumerate() {
        let replay = Replay::new(one).counting_lives();
        let single = follow(&file, &replay);
        prop_assert_eq!(single.flows.len(), full_run.flows.len());
        for (index, judged) in single.flows.iter().enumerate() {
            let flow: &Flow = &judged.flow;
            let expected = judge(one, single.socks(flow), flow, &judged.run, single.end);
            let (class, parts, place) = part_of(&full, &full_run.flows[index].run, member);
            let part = &parts[place.0];
            let got = judge(one, single.socks(flow), flow, &class.run_of(part, place.1), single.end);
            prop_assert_eq!(said(&expected), said(&got), "policy {} flow {}", &policies[member], index);
            // The group that a verdict is told for has one verdict.
            let group = class.verdict_groups(part, single.end).into_iter().find(|g| g.contains(place.1)).expect("every policy has a group");
            let first = group.first().expect("a group is not empty");
            let told = judge(class.path(first), single.socks(flow), flow, &class.run_of(part, first), single.end);
            prop_assert_eq!(expected.verdict, told.verdict, "policy {} told by {}", &policies[member], first);
            prop_assert_eq!(ends(one, &judged.run), ends(one, &class.run_of(part, place.1)), "lives, policy {}", &policies[member]);
            let (class, parts, place) = part_of(&quick, &quick_run.flows[index].run, member);
            let run = class.run_of(&parts[place.0], place.1);
            prop_assert_eq!(first_lapse(&judged.run), first_lapse(&run), "first lapse, policy {}", &policies[member]);
            if judged.run.repaired.is_none() {
                prop_assert_eq!(
                    said(&expected),
                    said(&judge(one, single.socks(flow), flow, &run, single.end)),
                    "quick, policy {}",
                    &policies[member]
                );
            }
        }
    }
    Ok(())
}

/// The class of a policy, its parts, and in which of them it is at which place.
fn part_of<'m, 'p>(
    many: &'m Many<'p>,
    run: &'m [flowlapse::engine::many::ClassRun],
    member: usize,
) -> (&'m flowlapse::engine::many::Class<'p>, &'m [flowlapse::engine::many::Part], (usize, u32)) {
    let (at, class) = many.classes.iter().enumerate().find(|(_, c)| c.members.contains(&member)).expect("every policy has a class");
    let place = class.members.iter().position(|m| *m == member).expect("it is a member") as u32;
    let parts = &run[at].parts;
    let holding: Vec<usize> = (0..parts.len()).filter(|i| parts[*i].members.contains(place)).collect();
    assert_eq!(holding.len(), 1, "a policy is in one part");
    (class, parts, (holding[0], place))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_policies_are_as_many_replays(packets in population(), policies in policies()) {
        compare(&packets, &policies, Clock::Ideal)?;
    }

    #[test]
    fn on_the_wheel_too(packets in population(), policies in policies(), hz in select(vec![100_u32, 250, 1000]), phase in prop::option::of(any::<u32>())) {
        let hz = Hz(hz);
        let phase = phase.map(|jiffies| Phase { hz, jiffies: u64::from(jiffies) + (1 << 40), at: Instant(START) });
        compare(&packets, &policies, Clock::Wheel { hz, phase })?;
    }
}

/// The tie itself: a packet that comes exactly when the timer ends is late, one nanosecond before it is not.
#[test]
fn a_tie_is_late() {
    let packets = Ends::number(1).talk("open c10 s10 c +300 c10 s", 0);
    let policies: Vec<String> = [299, 300, 301].iter().map(|t| format!("conntrack:strict,established={t}")).collect();
    compare(&packets, &policies, Clock::Ideal).expect("they agree");
    let paths: Vec<Path> = policies.iter().map(|p| path(p, Clock::Ideal)).collect();
    let many = Many::new(&paths, false);
    let run = follow(&pcap(&packets), &many);
    let verdicts: Vec<Verdict> = (0..3)
        .map(|member| {
            let (class, parts, (part, place)) = part_of(&many, &run.flows[0].run, member);
            judge(&paths[member], run.socks(&run.flows[0].flow), &run.flows[0].flow, &class.run_of(&parts[part], place), run.end).verdict
        })
        .collect();
    assert_eq!(verdicts, [Verdict::Cut, Verdict::Cut, Verdict::Survives]);
}
