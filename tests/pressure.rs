//! Full tables: conntrack's and a director's, by the release, beside what the source says and what kernels did.

use flowlapse::conform;
use flowlapse::kernel::wheel::Hz;
use flowlapse::model::conntrack::dialect::Dialect as CtDialect;
use flowlapse::model::conntrack::full::{FullTable, Limit, Standing};
use flowlapse::model::ipvs::defence::{Defence, DefenceSettings, IpvsStanding, Kind};
use flowlapse::model::ipvs::dialect::Dialect as VsDialect;
use flowlapse::model::ipvs::state::State;
use flowlapse::model::lateness::Lateness;
use flowlapse::rng::Rng;
use flowlapse::time::{Duration, Instant};
use std::fs;
use std::path::Path;

fn recording(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings/pressure").join(name)).expect("a fixture")
}

fn disagreements(text: &str) -> usize {
    conform::compare("recording", text).expect("it can be read").disagree
}

const FEW: &str = "conntrack-max-1000-buckets-1024-assured-950-syn-50-flood-400-6.1.jsonl";
const WIDE: &str = "conntrack-max-500-buckets-8192-assured-100-half-200-syn-200-flood-400-6.1.jsonl";
const SLOW: &str = "conntrack-max-1000-buckets-1024-assured-800-closing-120-syn-80-slow-300-6.1.jsonl";
const SPARSE: &str = "conntrack-max-64-buckets-65536-syn-64-flood-300-6.1.jsonl";
const DROP_ENTRY: &str = "ipvs-drop_entry-mode-3-6.1-hz250.jsonl";
const DROP_PACKET: &str = "ipvs-drop_packet-mode-3-am_droprate-7-6.1.jsonl";

/// As if the kernel searched one bucket for a victim instead of eight, or took one victim instead of all of a chain.
#[test]
fn the_wrong_victims_disagree() {
    for name in [FEW, WIDE] {
        let good = recording(name);
        assert_eq!(disagreements(&good), 0, "{name}");
        assert!(disagreements(&good.replacen("\"6.1.176\"", "\"4.19.0\"", 1)) > 10, "{name}");
        assert!(disagreements(&good.replacen("\"6.1.176\"", "\"3.10.0\"", 1)) > 3, "{name}");
    }
}

/// Before 4.12, nothing takes closing entries out of a full table.
#[test]
fn a_collection_under_pressure_must_be_explained() {
    let good = recording(SLOW);
    assert_eq!(disagreements(&good), 0);
    assert!(disagreements(&good.replacen("\"6.1.176\"", "\"4.10.0\"", 1)) > 0);
    // Nothing but the collection lets one entry too few be there.
    let damaged = good.replacen("\"SYN_SENT\": 89", "\"SYN_SENT\": 90", 1);
    assert_ne!(good, damaged);
    assert!(disagreements(&damaged) > 0);
}

#[test]
fn what_chance_has_no_hand_in_must_match_exactly() {
    // A table of established connections alone refuses everybody.
    let mut text = String::from("{\"t\": 0, \"kind\": \"pressure-conntrack\", \"kernel\": \"6.1.176\", \"max\": 100, \"buckets\": 512}\n");
    text += "{\"t\": 1, \"filled\": {\"ESTABLISHED+assured\": 100}, \"stat\": {\"drop\": 0, \"early_drop\": 0}}\n";
    let lines: Vec<String> = (0..20).map(|syn| format!("{{\"t\": 1.{syn:02}, \"syn\": {syn}, \"passed\": 0}}\n")).collect();
    text += &lines.concat();
    text +=
        "{\"t\": 2, \"syn\": 20, \"passed\": 0, \"states\": {\"ESTABLISHED+assured\": 100}, \"stat\": {\"drop\": 21, \"early_drop\": 0}}\n";
    assert_eq!(disagreements(&text), 0);
    assert!(disagreements(&text.replacen("\"syn\": 7, \"passed\": 0", "\"syn\": 7, \"passed\": 1", 1)) > 0);
    assert!(disagreements(&text.replacen("\"drop\": 21", "\"drop\": 20", 1)) > 0);
    // Every seventh of the first connections is dropped, and no other.
    let good = recording(DROP_PACKET);
    assert_eq!(disagreements(&good), 0);
    assert!(disagreements(&good.replacen("\"am_droprate\": 7", "\"am_droprate\": 8", 1)) > 0);
}

/// A recording as a model of this release would make it.
fn made_up(release: &str, seed: u64) -> String {
    let mut rng = Rng::keyed(seed, 77);
    let max = 50 + rng.below(1_500);
    let limit = Limit { max, buckets: 512 << rng.below(5) };
    let assured = max * rng.below(101) / 100;
    let fill = if rng.chance(20) { max - rng.below(max - assured + 1) } else { max };
    let flood = 40 + 20 * rng.below(15);
    let mut table = FullTable::new(limit, CtDialect::for_release(release).expect("a row"), rng.number());
    let mut alive = [assured.min(fill), fill.saturating_sub(assured)];
    let counts = |alive: [u64; 2]| format!("{{\"ESTABLISHED+assured\": {}, \"SYN_SENT\": {}}}", alive[0], alive[1]);
    let mut text = format!(
        "{{\"t\": 0, \"kind\": \"pressure-conntrack\", \"kernel\": \"{release}\", \"max\": {max}, \"buckets\": {}}}\n{{\"t\": 1, \"filled\": {}}}\n",
        limit.buckets,
        counts(alive)
    );
    for id in 0..fill as u32 {
        table.insert(id, rng.number(), standing(u64::from(id) < alive[0], false, 1_000));
    }
    let mut evicted = Vec::new();
    for syn in 0..flood as u32 {
        let (tuple, at) = (rng.number(), Instant(1_000_000_000 + 1_000_000 * u64::from(syn)));
        let passed = table.admit(at, tuple, &mut evicted);
        alive[1] -= evicted.drain(..).count() as u64;
        if passed {
            table.insert(fill as u32 + syn, tuple, standing(false, false, 1_000));
            alive[1] += 1;
        }
        let more = if syn % 20 == 19 {
            format!(", \"states\": {}, \"stat\": {{\"drop\": {}, \"early_drop\": {}}}", counts(alive), table.refused(), table.evicted())
        } else {
            String::new()
        };
        text += &format!("{{\"t\": {}, \"syn\": {syn}, \"passed\": {}{more}}}\n", at.0 as f64 / 1e9, u8::from(passed));
    }
    text
}

/// A right model must not be accused: recordings of any size that a model made itself agree with it. (600 did once.)
#[test]
fn a_right_model_agrees_with_itself() {
    let many = std::env::var("FLOWLAPSE_MANY").ok().and_then(|many| many.parse().ok()).unwrap_or(6);
    for release in ["2.6.18", "4.4.0", "4.19.0", "6.1.176"] {
        for seed in 0..many {
            let text = made_up(release, seed);
            let result = conform::compare("made up", &text).expect("it can be read");
            assert_eq!(result.disagree, 0, "{release} {seed}: {:?}\n{}", result.disagreements, text.lines().next().unwrap_or_default());
        }
    }
}

/// As if a scan visited a sixteenth of the table: what went in two seconds goes in one.
#[test]
fn connections_that_go_twice_as_fast_disagree() {
    let good = recording(DROP_ENTRY);
    assert_eq!(disagreements(&good), 0);
    let (head, rest) = good.split_once('\n').expect("lines");
    let mut fast = format!("{head}\n");
    for line in rest.lines() {
        let (time, alive) = line.trim_start_matches("{\"t\": ").split_once(',').expect("a time and more");
        let after: f64 = time.parse::<f64>().expect("a number") - 4.618;
        // The minute in which nothing quiet goes is left as it is.
        let after = if after < 62.0 { after } else { 62.0 + (after - 62.0) / 2.0 };
        fast += &format!("{{\"t\": {:.3},{alive}\n", after + 4.618);
    }
    assert!(disagreements(&fast) > 50);
    // And one connection that is immune and gone.
    assert!(disagreements(&good.replacen("\"ES-9\": 150", "\"ES-9\": 149", 1)) > 0);
}

#[test]
fn damaged_recordings_are_told_in_a_line() {
    let few = recording(FEW);
    let with = |from: &str, to: &str| conform::compare("x", &few.replacen(from, to, 1)).expect_err("it is damaged").to_string();
    for (from, to, what) in [
        ("\"6.1.176\"", "\"plan9\"", "x: no conntrack dialect for kernel 'plan9'"),
        ("\"max\": 1000, ", "", "x: line 1: expected 'max' and 'buckets'"),
        ("\"buckets\": 1024", "\"buckets\": 0", "x: line 1: 'buckets' must be 1 to 1048576"),
        ("\"filled\"", "\"filed\"", "x: line 2: expected 'filled'"),
        ("\"passed\": 1", "\"passed\": 2", "x: line 3: expected 'syn', and 'passed' 0 or 1"),
        (
            "pressure-conntrack",
            "pressure-else",
            "x: line 1: kind 'pressure-else' is not pressure-conntrack, pressure-drop_entry or pressure-drop_packet",
        ),
        ("{\"t\": 1.934", "{\"t\": 0.5", "x: line 3: 't' goes back"),
    ] {
        assert_eq!(with(from, to), what);
    }
    let drops = recording(DROP_ENTRY).replacen("\"ES-4\",", "\"ES-x\",", 1);
    let error = conform::compare("x", &drops).expect_err("there is no such class").to_string();
    assert_eq!(error, "x: line 1: class 'ES-x' is neither ES-k, nor UDP-k, nor a state of IPVS");
    assert!(conform::compare("x", &recording(SPARSE)).is_ok());
}

const fn standing(assured: bool, closing: bool, deadline: u64) -> Standing {
    Standing { assured, closing, deadline: Instant::from_secs(deadline) }
}

fn table(release: &str, max: u64, buckets: u64) -> FullTable {
    FullTable::new(Limit { max, buckets }, CtDialect::for_release(release).expect("a row"), 5)
}

/// One bucket: everything stands in one chain, and chance is out.
#[test]
fn each_release_takes_its_own_victims() {
    let gone = |release: &str| {
        let mut table = table(release, 4, 1);
        for (id, assured) in [(0, true), (1, false), (2, false), (3, true)] {
            assert!(table.insert(id, u64::from(id), standing(assured, false, 100)));
        }
        let mut evicted = Vec::new();
        assert!(table.admit(Instant::from_secs(1), 9, &mut evicted));
        assert_eq!((table.count() + evicted.len() as u64, table.evicted()), (4, evicted.len() as u64));
        evicted.sort_unstable();
        evicted
    };
    for (release, victims) in [
        ("2.6.18", vec![1]),
        ("2.6.32", vec![1]),
        ("4.4.0", vec![2]),
        ("4.7.0", vec![2]),
        ("4.9.0", vec![1, 2]),
        ("5.4.0", vec![1, 2]),
        ("6.18.44", vec![1, 2]),
    ] {
        assert_eq!(gone(release), victims, "{release}");
    }
}

#[test]
fn entries_that_have_ended_count_until_they_are_found() {
    // Until 4.8 a timer takes them; since then the look-up in their chain, or the collector.
    for (release, found_by_look_up) in [("4.4.0", false), ("6.1.176", true)] {
        let mut table = table(release, 2, 1 << 16);
        let mut evicted = Vec::new();
        table.insert(0, 0, standing(false, false, 10));
        table.insert(1, 1, standing(true, false, 100));
        let other = table.admit(Instant::from_secs(11), 77, &mut evicted);
        assert_eq!((other, table.refused()), (!found_by_look_up, u64::from(found_by_look_up)), "{release}");
        // The same addresses find their own chain.
        assert!(table.admit(Instant::from_secs(11), 0, &mut evicted), "{release}");
        assert!(evicted.is_empty() && table.evicted() == 0);
        assert_eq!(table.count(), 1);
        table.collect(Instant::from_secs(200), &mut evicted);
        assert_eq!((table.count(), evicted.len()), (0, 0), "{release}");
    }
}

#[test]
fn a_collection_under_pressure_takes_what_is_unassured_or_closing() {
    for (release, max, left) in [("6.1.176", 100, 94), ("4.10.0", 100, 100), ("6.1.176", 99, 99)] {
        let mut table = table(release, max, 1024);
        for id in 0..max as u32 {
            table.insert(id, u64::from(id), standing(true, id >= 50, 1_000));
        }
        let mut evicted = Vec::new();
        let mut at = Instant::from_secs(1);
        table.collect(at, &mut evicted);
        assert_eq!(table.count(), max, "without pressure nothing goes");
        assert!(!table.admit(at, 500, &mut evicted));
        // A whole pass, whatever one run is of it.
        for _ in 0..128 {
            at += Duration::from_millis(1);
            table.collect(at, &mut evicted);
            table.admit(at, 500, &mut Vec::new());
        }
        assert_eq!(table.count(), left, "{release} {max}");
        assert!(evicted.iter().all(|id| *id >= 50) && table.collected() == max - left);
    }
}

#[test]
fn a_chain_that_is_too_long_refuses_too() {
    let mut table = table("6.1.176", 0, 1);
    let refused = (0..200).find(|id| !table.insert(*id, u64::from(*id), standing(false, false, 9)));
    // Each entry stands in the one chain twice: 50 to 79 and two more are the limit.
    assert!(refused.is_some_and(|id| (26..=41).contains(&id)), "{refused:?}");
    assert_eq!(table.too_long(), 1);
}

#[test]
fn collections_come_as_often_as_the_release_says() {
    for (release, idle, busy) in [("4.10.0", 125, 125), ("5.15.16", 120_000, 120_000), ("6.1.176", 60_000, 9_900)] {
        let pause = |fill: u32| {
            let mut table = table(release, 0, 65_536);
            for id in 0..fill {
                table.insert(id, u64::from(id), standing(true, false, 15));
            }
            let mut now = Instant::from_secs(5);
            // The pause of 4.10 grows to its longest.
            for _ in 0..40 {
                now = Instant::from_secs(5);
                table.collect(now, &mut Vec::new());
            }
            table.collect_due().since(now).0 / 1_000_000
        };
        assert!(pause(0).abs_diff(idle) <= 8, "{release}: {}", pause(0));
        assert!(pause(20_000).abs_diff(busy) <= 300, "{release}: {}", pause(20_000));
    }
}

/// What is left out of a long silence changes nothing: the collector stands where run after run would have brought it.
#[test]
fn an_empty_table_rests_and_loses_nothing() {
    for release in ["4.9.0", "4.10.0", "5.15.16", "5.18.0", "6.1.176"] {
        let silence = Instant::from_secs(40_000);
        let [rested, gone_through] = [true, false].map(|rests| {
            let mut table = table(release, 0, 4096);
            table.insert(7, 7, standing(true, false, 15));
            let mut runs = 0_u32;
            loop {
                if rests {
                    table.rest(silence);
                }
                let due = table.collect_due();
                if due > silence {
                    break;
                }
                table.collect(due, &mut Vec::new());
                runs += 1;
            }
            // Where the next part of the table begins shows in which run finds an entry.
            let mut found = Vec::new();
            for id in 0..50 {
                table.insert(id, u64::from(id), Standing { deadline: silence, ..standing(true, false, 15) });
            }
            for _ in 0..200 {
                let due = table.collect_due();
                table.collect(due, &mut Vec::new());
                found.push((due, table.count()));
            }
            (found, runs)
        });
        assert_eq!(rested.0, gone_through.0, "{release}");
        assert!(rested.1 < gone_through.1 / 4, "{release}: {} runs of {}", rested.1, gone_through.1);
    }
    let [rested, gone_through] = [true, false].map(|rests| {
        let mut defence = defence("6.1.0", |s| (s.drop_entry, s.drop_packet, s.secure_tcp) = (1, 2, 1));
        let mut ticks = 0_u32;
        while defence.next_tick() <= Instant::from_secs(40_000) {
            if rests {
                defence.rest(Instant::from_secs(40_000));
            }
            let due = defence.next_tick();
            defence.tick(due, u64::MAX, &mut Vec::new());
            ticks += 1;
        }
        (defence.next_tick(), defence.modes(), ticks)
    });
    assert_eq!((rested.0, rested.1), (gone_through.0, gone_through.1));
    assert!(rested.2 < 5 && gone_through.2 > 35_000, "{} and {}", rested.2, gone_through.2);
}

fn defence(release: &str, change: impl FnOnce(&mut DefenceSettings)) -> Defence {
    let dialect = VsDialect::for_release(release).expect("a row");
    let mut settings = DefenceSettings::defaults(dialect);
    change(&mut settings);
    Defence::new(settings, dialect, 3)
}

/// The table of ipvs.md section 3.1.
#[test]
fn modes_switch_by_themselves() {
    let mut d = defence("6.1.0", |s| (s.drop_entry, s.drop_packet, s.secure_tcp) = (1, 2, 1));
    assert_eq!((d.modes(), d.secure_tcp(), d.drops_new()), ([1, 1, 1], false, false));
    let mut dropped = Vec::new();
    d.tick(Instant::from_secs(1), 768, &mut dropped);
    assert_eq!((d.modes(), d.secure_tcp()), ([2, 2, 2], true));
    // 1024 / (1024 − 768): every fourth.
    let row: Vec<bool> = (0..8).map(|_| d.drops_new()).collect();
    assert_eq!(row, [false, false, false, true, false, false, false, true]);
    d.tick(Instant::from_secs(2), 1024, &mut dropped);
    assert_eq!((d.modes(), d.secure_tcp(), d.drops_new()), ([1, 1, 1], false, false));
    let mut always = defence("6.1.0", |s| (s.drop_entry, s.drop_packet, s.secure_tcp) = (3, 3, 3));
    always.tick(Instant::from_secs(1), u64::MAX, &mut dropped);
    assert_eq!((always.modes(), always.secure_tcp()), ([3, 3, 3], true));
    let row: Vec<bool> = (0..11).map(|_| always.drops_new()).collect();
    assert_eq!(row.iter().filter(|drops| **drops).count(), 2);
    assert!(row[0] && row[10], "the counter begins at 0: the first is dropped");
}

const fn quiet(kind: Kind, in_pkts: u32) -> IpvsStanding {
    IpvsStanding { kind, in_pkts, refreshed: Instant::ZERO, deadline: Instant::from_secs(10_000), template: None }
}

#[test]
fn a_scan_takes_half_open_entries_and_some_of_the_quiet_ones() {
    // (kind, packets) and how many of 3200 a scan takes on average: a thirty-second of those that it may, every k-th.
    let ended = [
        (Kind::Tcp(State::SynRecv), 1, 100.0),
        (Kind::Tcp(State::SynAck), 1, 100.0),
        (Kind::Tcp(State::Established), 1, 100.0),
        (Kind::Tcp(State::Established), 5, 20.0),
        (Kind::Tcp(State::Established), 8, 12.5),
        (Kind::Tcp(State::Established), 9, 0.0),
        (Kind::Tcp(State::Established), 0, 0.0),
        (Kind::Tcp(State::FinWait), 1, 0.0),
        (Kind::Udp, 2, 50.0),
        (Kind::Template { one_packet: false, assured: false }, 0, 100.0),
        (Kind::Template { one_packet: false, assured: true }, 0, 0.0),
        (Kind::Template { one_packet: true, assured: true }, 1, 100.0),
    ];
    for release in ["6.1.0", "7.1.3"] {
        for (kind, packets, expected) in ended {
            let mut d = defence(release, |s| s.drop_entry = 3);
            for id in 0..3200 {
                d.insert(id, u64::from(id), quiet(kind, packets));
            }
            let mut dropped = Vec::new();
            d.tick(Instant::from_secs(59), u64::MAX, &mut dropped);
            let early = dropped.len();
            let at_once = matches!(kind, Kind::Tcp(State::SynRecv | State::SynAck) | Kind::Template { one_packet: false, assured: false });
            assert_eq!(early > 0, at_once, "{release} {kind:?} {packets}: quiet for less than a minute");
            d.tick(Instant::from_secs(61), u64::MAX, &mut dropped);
            // Of what goes at once, the second scan finds less: its run may lie where the first one's lay.
            let taken = if at_once { early } else { dropped.len() } as f64;
            assert!((taken - expected).abs() <= 6.0 * expected.sqrt(), "{release} {kind:?} {packets}: {taken}");
            assert_eq!(d.count(), 3200 - dropped.len() as u64);
        }
    }
}

#[test]
fn templates_go_with_their_last_connection() {
    for (release, assured, goes) in [("3.10.0", true, true), ("4.19.40", false, true), ("4.19.40", true, false)] {
        let mut d = defence(release, |s| (s.drop_entry, s.tab_bits) = (3, 8));
        d.insert(0, 0, quiet(Kind::Template { one_packet: false, assured }, 0));
        for id in 1..3 {
            d.insert(id, u64::from(id), IpvsStanding { template: Some(0), ..quiet(Kind::Tcp(State::SynRecv), 1) });
        }
        let mut dropped = Vec::new();
        let mut now = Instant::from_secs(1);
        while d.holds(1) || d.holds(2) {
            assert!(d.holds(0), "{release}: it still has a connection");
            now = d.next_tick().max(now);
            d.tick(now, u64::MAX, &mut dropped);
        }
        assert_eq!(!d.holds(0), goes, "{release} {assured}");
    }
}

/// Seen on 6.1.176 at 100 ticks a second: a scan every 1.04 s.
#[test]
fn the_tick_is_a_little_longer_than_a_second() {
    for (release, hz, millis) in [("6.1.0", 100, 1040), ("6.1.0", 250, 1024), ("6.1.0", 1000, 1024), ("3.10.0", 250, 1000)] {
        let d = defence(release, |s| s.lateness = Lateness::Wheel(Hz(hz)));
        assert_eq!(d.period(), Duration::from_millis(millis), "{release} {hz}");
    }
}

/// A million entries, each admitted, confirmed, refreshed and removed: neither memory nor time may run away.
#[test]
fn a_large_table_is_no_slower_than_a_small_one() {
    for release in ["4.4.0", "6.1.176"] {
        let mut table = table(release, 200_000, 262_144);
        let mut rng = Rng::new(1);
        let mut evicted = Vec::new();
        let began = std::time::Instant::now();
        for id in 0..1_000_000_u32 {
            let now = Instant(u64::from(id) * 1_000);
            let slot = id % 400_000;
            table.remove(slot);
            if table.admit(now, u64::from(id), &mut evicted) {
                table.insert(slot, u64::from(id), standing(rng.chance(30), false, 100));
            }
            table.update(rng.below(400_000) as u32, standing(true, false, 200));
        }
        assert!(table.count() <= 200_000 && table.peak() == 200_000);
        assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    }
}
