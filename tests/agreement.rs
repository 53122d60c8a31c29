//! What must come out the same whatever the threads, the files and the neighbours, and what must grow with a timer.

#[path = "replay/capture.rs"]
mod capture;

use capture::{Ends, Packet, SECOND, START, Setup, pcap};
use flowlapse::finding::{Finding, Verdict};
use flowlapse::model::Clause;
use flowlapse::model::conntrack::entry::State as CtState;
use flowlapse::model::idle::Clause as IdleClause;
use flowlapse::model::ipvs::state::State as VsState;
use proptest::prelude::*;
use proptest::sample::select;

const PATHS: [&str; 9] = [
    "ipvs",
    "ipvs:dr,sloppy_tcp=1",
    "conntrack:strict,established=900",
    "conntrack:established=600",
    "conntrack:drop-invalid,loose=0,established=700",
    "idle:established=400",
    "aws-alb",
    "conntrack:masquerade,established=600 aws-nlb",
    "conntrack:masquerade ipvs azure-lb-default:established=1500",
];

/// One turn of a conversation: what is said after which silence.
fn turn() -> impl Strategy<Value = String> {
    let said =
        select(vec!["c10 s", "s20 c", "ck s", "sk c", "c10", "s20", "c10 s10 c", "retry", "again", "c!7 c10 s", "s!9 c", "cz s", "ck"]);
    let silence = prop_oneof![0..5_u64, 50..2_000_u64];
    (silence, 0..1_000_u32, said).prop_map(|(secs, millis, said)| format!("+{secs}.{millis:03} {said}"))
}

fn dialogue() -> impl Strategy<Value = String> {
    let opening = select(vec!["open", "open", "open c10 s20 c", "c10 s20 c", "cS sS"]);
    let closing = select(vec!["", "", "cf sf c", "sf c", "cf s", "cr", "sr"]);
    (opening, prop::collection::vec(turn(), 1..6), closing)
        .prop_map(|(opening, turns, closing)| format!("{opening} {} {closing}", turns.join(" ")))
}

/// Flows with different clients, not all at once.
fn population() -> impl Strategy<Value = Vec<Packet>> {
    prop::collection::vec((dialogue(), 0..3_000_u64), 1..8).prop_map(|flows| meet(&flows))
}

/// The same without holes in the capture: what is learnt about them later is found again by the number of a frame alone.
fn whole_population() -> impl Strategy<Value = Vec<Packet>> {
    let dialogue = dialogue().prop_map(|text| text.replace("c!7", "").replace("s!9", ""));
    prop::collection::vec((dialogue, 0..3_000_u64), 1..8).prop_map(|flows| meet(&flows))
}

fn meet(flows: &[(String, u64)]) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    for (number, (dialogue, start)) in flows.iter().enumerate() {
        packets.extend(Ends { start: START + start * SECOND, ..Ends::number(number as u16) }.talk(dialogue, 0));
    }
    in_order(packets)
}

fn in_order(mut packets: Vec<Packet>) -> Vec<Packet> {
    packets.sort_by_key(|p| p.at);
    packets
}

/// Everything of a finding but frame numbers, stream and input.
fn essence(f: &Finding) -> String {
    let decisive =
        f.decisive.as_ref().map(|d| (d.hop, &d.cause, d.timeout, d.idle, d.refreshed, d.kind, d.dir, d.evidence, d.fate, d.permille));
    let spells: Vec<_> = f.break_points.iter().map(|b| (b.hop, &b.cause, b.timeout, b.longest, b.keep_secs, b.evidence)).collect();
    let counts = (f.repairs, f.blocked, f.invalid, f.outlived, f.packets, f.bytes, f.margin);
    let ends = (f.client, f.server, f.opening, f.closing, f.span);
    format!("{:?} {decisive:?} {:?} {:?} {spells:?} {counts:?} {ends:?} {:?}", f.verdict, f.symptoms, f.advice, f.caveats)
}

fn essences(findings: &[Finding]) -> Vec<String> {
    let mut all: Vec<String> = findings.iter().map(essence).collect();
    all.sort();
    all
}

/// The clauses that the timer of an established flow stands behind once it is the shorter one.
fn is_established(clause: Clause) -> bool {
    matches!(
        clause,
        Clause::Ipvs(VsState::Established)
            | Clause::Idle(IdleClause::Established)
            | Clause::State(CtState::Established)
            | Clause::Unacknowledged
            | Clause::MaxRetrans
            | Clause::ZeroWindow
            | Clause::UnrepliedEstablished
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn threads_change_nothing(packets in population(), path in select(&PATHS[..])) {
        let file = [pcap(&packets)];
        let with = |threads| Setup { threads, ..Setup::boxes(path) }.json(&file);
        let one = with(1);
        prop_assert_eq!(&one, &with(2));
        prop_assert_eq!(&one, &with(7));
    }

    #[test]
    fn files_change_nothing_but_frame_numbers(packets in whole_population(), path in select(&PATHS[..]), cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..3)) {
        let setup = Setup::boxes(path);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(packets.len())).collect();
        at.sort_unstable();
        at.insert(0, 0);
        at.push(packets.len());
        let files: Vec<Vec<u8>> = at.windows(2).map(|range| pcap(&packets[range[0]..range[1]])).collect();
        let whole: Vec<String> = setup.judge(&packets).iter().map(essence).collect();
        let parts: Vec<String> = setup.files(&files).iter().map(essence).collect();
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn neighbours_change_nothing(dialogue in dialogue(), one in population(), other in population(), path in select(&PATHS[..])) {
        let mine = Ends { start: START + 500 * SECOND, ..Ends::number(200) };
        let last = Ends { start: START + 100_000 * SECOND, ..Ends::number(201) };
        let among = |others: &[Packet]| {
            let mut packets = others.to_vec();
            packets.extend(mine.talk(&dialogue, 0));
            packets.extend(last.talk("cS", 0));
            let findings = Setup::boxes(path).judge(&in_order(packets));
            let me = |f: &&Finding| f.client.port == mine.client.port() || f.server.port == mine.client.port();
            essences(&findings.iter().filter(me).cloned().collect::<Vec<_>>())
        };
        let alone = among(&[]);
        prop_assert_eq!(&alone, &among(&one));
        prop_assert_eq!(&alone, &among(&other));
    }

    #[test]
    fn a_longer_timer_saves_and_never_kills(
        dialogue in dialogue(),
        form in select(vec!["ipvs:tcp=", "ipvs:dr,tcp=", "conntrack:strict,established=", "conntrack:masquerade,established=", "idle:established=", "idle:activity=data,on_stray=rst_sender,established="]),
        timer in 100..2_500_u64,
        more in 1..3_000_u64,
    ) {
        let verdict = |timer: u64| Setup::boxes(&format!("{form}{timer}")).talk(Ends::number(1), &dialogue, 0).verdict;
        if verdict(timer) == Verdict::Survives {
            prop_assert_eq!(verdict(timer + more), Verdict::Survives);
        }
    }

    #[test]
    fn break_points_are_where_replay_says(
        dialogue in dialogue(),
        form in select(vec!["ipvs:tcp=", "conntrack:strict,established=", "idle:established=", "aws-alb:established="]),
    ) {
        let judged = |timer: u64| Setup::boxes(&format!("{form}{timer}")).talk(Ends::number(1), &dialogue, 0);
        let long = judged(100_000);
        if long.verdict == Verdict::Survives && long.blocked == 0 {
            let keep = long.break_points.iter().filter(|b| !form.contains("conntrack") && !form.contains("ipvs") || is_established(b.cause.clause)).map(|b| b.keep_secs).max();
            if let Some(keep) = keep.filter(|keep| *keep > 1) {
                // A hole is no spell that a timer must bear, and makes a shorter timer inconclusive.
                let holes = dialogue.contains('!');
                let kept = judged(keep).verdict;
                prop_assert!(kept == Verdict::Survives || holes && kept == Verdict::Inconclusive, "{keep} s of {form}: {kept:?}");
                let lost = judged(keep - 1);
                let is_lost = matches!(lost.verdict, Verdict::Cut | Verdict::Repaired) || holes && lost.verdict == Verdict::Inconclusive;
                prop_assert!(is_lost, "{} s of {form}: {:?}", keep - 1, lost.verdict);
            }
        }
    }

    #[test]
    fn sequence_numbers_are_relative(
        dialogue in dialogue(),
        path in select(vec!["ipvs", "ipvs:dr", "ipvs:sloppy_tcp=1", "idle:established=400", "aws-alb"]),
        shift in any::<[u32; 2]>(),
    ) {
        let ends = Ends::number(1);
        let moved = Ends { isn: [ends.isn[0].wrapping_add(shift[0]), ends.isn[1].wrapping_add(shift[1])], ..ends };
        let setup = Setup::boxes(path);
        prop_assert_eq!(essence(&setup.talk(ends, &dialogue, 0)), essence(&setup.talk(moved, &dialogue, 0)));
    }
}
