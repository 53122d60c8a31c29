//! Raising one timer of one box never makes that box forget sooner.
//!
//! Sooner: an entry that a packet finds ended. There are two exceptions, and both are the kernels' own. Conntrack up to 4.8 does not set a
//! timer anew that would end less than a second later, so that there an entry may end up to a second sooner. And two of its timers belong to no
//! state: `max_retrans` and `unacknowledged` count while they are shorter than the timer of the state; raised to that or beyond, the kernel goes on
//! to its next rule, whose timer may be shorter than what they were. Nothing is missing from the captures: across a hole an entry is taken as alive.

use crate::capture::{Ends, Setup, pcap};
use crate::traffic::{self, SPANS};
use crate::{Finds, dialogue};
use flowlapse::finding::Verdict;
use flowlapse::time::Duration;
use proptest::prelude::*;
use proptest::sample::select;

/// Kinds of boxes, and their timers by the names of settings.
const BOXES: [(&str, &[&str]); 12] = [
    ("conntrack:strict", &CONNTRACK),
    ("conntrack:loose=3", &CONNTRACK),
    ("conntrack:drop-invalid,loose=0", &CONNTRACK),
    ("conntrack:masquerade,be_liberal=1", &CONNTRACK),
    ("conntrack:dialect=linux-6.1", &CONNTRACK),
    ("conntrack:dialect=linux-4.4", &CONNTRACK),
    ("conntrack:dialect=linux-2.6.32", &CONNTRACK),
    ("ipvs:nat", &["tcp", "tcpfin"]),
    ("ipvs:dr,sloppy_tcp=1", &["tcp", "tcpfin"]),
    (
        "ipvs:nat,dialect=linux-2.4,secure_tcp=3",
        &[
            "dos_established",
            "dos_synsent",
            "dos_synrecv",
            "dos_finwait",
            "dos_timewait",
            "dos_close",
            "dos_closewait",
            "dos_lastack",
            "dos_synack",
        ],
    ),
    ("idle:on_stray=drop", &IDLE),
    ("idle:activity=data,on_stray=repickup", &IDLE),
];
const CONNTRACK: [&str; 11] =
    ["syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2", "retrans", "unack"];
const IDLE: [&str; 8] = ["syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close"];

/// A box with all its timers set.
fn specification(kind: &str, timers: &[&str], values: &[u64]) -> String {
    let set: Vec<String> = timers.iter().zip(values).map(|(timer, value)| format!("{timer}={value}")).collect();
    format!("{kind}{}{}", if kind.contains(':') { ',' } else { ':' }, set.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_longer_timer_never_ends_an_entry_sooner(
        dialogue in traffic::dialogue(),
        (kind, timers) in select(&BOXES[..]),
        values in prop::collection::vec(select(&SPANS[..]), CONNTRACK.len()),
        which in any::<prop::sample::Index>(),
        more in prop_oneof![Just(1_u64), select(&SPANS[..]), 1..3_000_u64],
    ) {
        // A reset ahead of its side's numbers is a hole as well.
        let dialogue = dialogue.replace("c!7", "").replace("s!9", "").replace("r+5", "r");
        let file = pcap(&Ends::number(1).talk(&dialogue, 0));
        let first = |values: &[u64]| {
            let path = Setup::boxes(&specification(kind, timers, values)).path();
            let run = traffic::follow(&file, &Finds::new(&path));
            // The dialogue may hold several incarnations of the tuple.
            let found = |(_, finds): &(_, Vec<(u32, usize, flowlapse::model::Lapse)>)| finds.first().map(|(frame, _, lapse)| (*frame, lapse.refreshed + lapse.timeout));
            run.flows.iter().map(|judged| found(&judged.run)).collect::<Vec<_>>()
        };
        let short = first(&values);
        let mut raised = values.clone();
        raised[which.index(timers.len())] += more;
        // Past the timer of a state: the second exception.
        let (was, is) = (values[which.index(timers.len())], raised[which.index(timers.len())]);
        let passes = |state: &u64| was < *state && is >= *state;
        prop_assume!(!matches!(timers[which.index(timers.len())], "retrans" | "unack") || !values[..9].iter().any(passes));
        let slack = if kind.contains("4.4") || kind.contains("2.6") { Duration::from_secs(1) } else { Duration::ZERO };
        for (short, long) in short.into_iter().zip(first(&raised)) {
            let Some((frame, end)) = long else { continue };
            let sooner = short.is_none_or(|(short_frame, short_end)| frame < short_frame || frame == short_frame && end < short_end);
            if sooner && slack > Duration::ZERO {
                let known = short.is_some_and(|(_, short_end)| end + slack >= short_end);
                prop_assert!(known || short.is_none(), "{kind} {values:?} → {raised:?}: {short:?}, {long:?}");
            } else {
                prop_assert!(!sooner, "{kind} {values:?} → {raised:?}: {short:?}, {long:?}");
            }
        }
    }

    #[test]
    fn what_survived_survives_with_a_longer_timer(
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
}
