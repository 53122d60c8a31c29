//! Break-points agree with replays one tick either side.
//!
//! On exact clocks a tick is a nanosecond: with a timer one longer than the longest spell the box forgets nothing by it, with one of the
//! spell's length it does. On the timer wheel with a known phase, a timer one tick longer than the spell bears it, and the longest timer that
//! the wheel ends in time does not.

use crate::capture::{Ends, Packet, START, pcap};
use crate::traffic::{self, path};
use crate::{Finds, dialogue};
use flowlapse::engine::{Clock, Device, Path};
use flowlapse::finding::judge::judge;
use flowlapse::finding::{BreakPoint, Verdict};
use flowlapse::kernel::wheel::{Hz, Phase, fire_tick};
use flowlapse::model::{Clause, Lapse};
use flowlapse::time::{Duration, Instant};
use proptest::prelude::*;
use proptest::sample::select;

/// Boxes whose timers are all longer than any dialogue, so that every spell is borne. Retransmissions wait longest: no rule is the shorter one.
const BOXES: [&str; 7] = [
    "conntrack:strict,syn_sent=90000,syn_recv=90001,established=90002,fin_wait=90003,close_wait=90004,last_ack=90005,time_wait=90006,close=90007,syn_sent2=90008,retrans=900000,unack=900000",
    "conntrack:masquerade,syn_sent=90000,syn_recv=90001,established=90002,fin_wait=90003,close_wait=90004,last_ack=90005,time_wait=90006,close=90007,syn_sent2=90008,retrans=900000,unack=900000,dialect=linux-4.4",
    "ipvs:nat,tcp=90000,tcpfin=90000",
    "ipvs:dr,tcp=90000,tcpfin=90000",
    "ipvs:nat,tcp=90000,tcpfin=90000,dialect=linux-4.4",
    "idle:syn_sent=90000,syn_recv=90000,established=90000,fin_wait=90000,close_wait=90000,last_ack=90000,time_wait=90000,close=90000",
    "idle:activity=data,syn_sent=90000,syn_recv=90000,established=90000,fin_wait=90000,close_wait=90000,last_ack=90000,time_wait=90000,close=90000",
];

/// The same path with one timer of its only box set to a length; nothing for a timer that is not to be set by itself.
fn with_timer(boxes: &str, path: &Path, clause: Clause, length: Duration) -> Option<Path> {
    let mut path = path.clone();
    match (&mut path.hops[0].device, clause) {
        (Device::Router(router), Clause::State(state)) => router.conntrack.settings.tcp_timeouts[state as usize] = length,
        (Device::Director(director), Clause::Ipvs(state)) => director.ipvs.timeouts[state as usize] = length,
        (Device::Idle(_), Clause::Idle(clause)) => {
            let name = clause.name().to_ascii_lowercase();
            if !boxes.contains(&format!("{name}=")) {
                return None;
            }
            let set = boxes.replace(&format!("{name}=90000"), &format!("{name}={}ns", length.0));
            return Some(traffic::path(&set, path.clock));
        }
        _ => return None,
    }
    Some(path)
}

/// The entries that packets find ended, over all flows of a file.
fn finds(file: &[u8], path: &Path) -> Vec<(u32, usize, Lapse)> {
    traffic::follow(file, &Finds::new(path)).flows.into_iter().flat_map(|judged| judged.run.1).collect()
}

/// The break-points of the only flow, if nothing stands against them: nothing was forgotten, nothing missing.
fn points(file: &[u8], path: &Path) -> Vec<BreakPoint> {
    let run = traffic::replay(file, path);
    if run.flows.len() != 1 {
        return Vec::new();
    }
    let flow = run.flows.flow(0);
    let finding = judge(path, run.socks(flow), flow, &run.flows.run(0), run.end);
    if finding.verdict == Verdict::Survives { finding.break_points } else { Vec::new() }
}

/// A dialogue of which nothing is missing: a hole is no spell that a timer must bear.
fn whole() -> impl Strategy<Value = Vec<Packet>> {
    dialogue().prop_map(|text| Ends::number(1).talk(&text.replace("c!7", "").replace("s!9", ""), 0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_exact_clocks(packets in whole(), boxes in select(&BOXES[..])) {
        let (file, long) = (pcap(&packets), path(boxes, Clock::Ideal));
        for point in points(&file, &long) {
            let with = |length| with_timer(boxes, &long, point.cause.clause, length).map(|path| finds(&file, &path));
            let (Some(kept), Some(lost)) = (with(point.longest + Duration(1)), with(point.longest)) else { continue };
            if point.longest > Duration::ZERO {
                prop_assert_eq!(kept, vec![], "{} {:?} of {} + 1 ns", boxes, point.cause.clause, point.longest);
                prop_assert!(!lost.is_empty(), "{} {:?} of {}", boxes, point.cause.clause, point.longest);
            }
        }
    }

    #[test]
    fn on_the_wheel(packets in whole(), boxes in select(&BOXES[2..4]), hz in select(vec![100_u32, 250, 300, 1000]), jiffies in any::<u32>()) {
        let phase = Phase { hz: Hz(hz), jiffies: u64::from(jiffies) + (1 << 40), at: Instant(START - 5_000_000_000) };
        let (file, long) = (pcap(&packets), path(boxes, Clock::Wheel { hz: Hz(hz), phase: Some(phase) }));
        for point in points(&file, &long) {
            let with = |ticks: u64| with_timer(boxes, &long, point.cause.clause, Hz(hz).span(ticks)).map(|path| finds(&file, &path));
            let found = phase.tick_at(Instant(packets[point.frames.1 as usize - 1].at));
            let spell = Hz(hz).ticks(point.longest);
            let set = found - spell;
            let Some(kept) = with(spell + 1) else { continue };
            prop_assert_eq!(kept, vec![], "{} at HZ={}, {} ticks", boxes, hz, spell + 1);
            let in_time = (1..=spell).rev().find(|ticks| fire_tick(set, set + ticks, Hz(hz)) <= found);
            if let Some(ticks) = in_time {
                prop_assert!(!with(ticks).unwrap_or_default().is_empty(), "{} at HZ={}, {} ticks of {}", boxes, hz, ticks, spell);
            }
        }
    }
}
