//! A full conntrack table, beside what a real one did (recordings/pressure, 6.1): counts within what chance allows.

use flowlapse::endpoint::{Profile, Ticks};
use flowlapse::engine::{Clock, Path};
use flowlapse::model::ipvs::defence::DefenceSettings;
use flowlapse::model::ipvs::dialect::Dialect;
use flowlapse::policy;
use flowlapse::simulate::crowd::{self, Limit, Pressure, Shared};
use flowlapse::simulate::outcome::Met;
use flowlapse::simulate::{Action, AppPlan, Do, FlowPlan, Network};
use flowlapse::time::{Duration, Instant};

/// How many of `flood` new SYNs pass a table of `max` entries that holds `assured` open connections and `syn` SYNs.
fn passed(max: u64, buckets: u64, assured: u64, syn: u64, flood: u64, seed: u64) -> u64 {
    let spec = policy::parse_short(&format!("conntrack:dialect=6.1.176,max={max},buckets={buckets}")).expect("a box");
    let path = Path::build(&[spec], Clock::Ideal).expect("a path");
    let mut net = Network::plain(path, Duration::from_millis(1), Ticks::Ideal, Instant::from_secs(4));
    net.seed = seed;
    let profile = Profile::LINUX;
    let plan = |number: u64| {
        let opens = number < assured;
        let start = if number < assured + syn { Instant(1_000 * number) } else { Instant(2_000_000_000 + 1_000_000 * number) };
        FlowPlan {
            number,
            start,
            ports: [40_000, 80],
            profiles: [&profile; 2],
            scripts: [&[]; 2],
            apps: [AppPlan::default(); 2],
            listens: true,
            // A SYN that nobody answers: both hosts are gone before it arrives.
            vanishes: if opens { [None; 2] } else { [Some(start + Duration(1)), Some(start + Duration(1))] },
        }
    };
    let plans: Vec<FlowPlan<'_>> = (0..assured + syn + flood).map(plan).collect();
    let (_, pressure) = crowd::run(&net, &[Shared::Conntrack(Limit { hop: 0, max, buckets })], &plans);
    assert!(pressure[0].peak <= max, "{:?}", pressure[0]);
    flood - pressure[0].refused
}

/// Recorded: 0 of 200, 400 of 400, 225 of 400, 350 of 400 SYNs passed.
#[test]
fn newcomers_pass_as_often_as_at_a_real_table() {
    let mean = |assured, syn, flood, buckets| (0..8).map(|seed| passed(1000, buckets, assured, syn, flood, seed)).sum::<u64>() / 8;
    assert_eq!(mean(1000, 0, 200, 1024), 0);
    let half = mean(500, 500, 400, 1024);
    assert!(half >= 395, "{half} of 400 with 500 SYNs in 1024 buckets");
    let few = mean(950, 50, 400, 1024);
    assert!((175..=275).contains(&few), "{few} of 400 with 50 SYNs in 1024 buckets; recorded: 225");
    let wide = mean(500, 500, 400, 4096);
    assert!((330..=370).contains(&wide), "{wide} of 400 with 500 SYNs in 4096 buckets; recorded: 350");
}

#[test]
fn the_same_seed_gives_the_same_table() {
    assert_eq!(passed(1000, 1024, 950, 50, 400, 5), passed(1000, 1024, 950, 50, 400, 5));
}

/// So many quiet sessions behind a director for so long: which share of them it dropped, and how many SYNs.
fn behind_a_director(settings: &str, defences: DefenceSettings, flows: u64, seconds: u64, seed: u64) -> (f64, Pressure, u64) {
    let spec = policy::parse_short(&format!("ipvs:dialect=6.1.176,{settings}")).expect("a box");
    let path = Path::build(&[spec], Clock::Ideal).expect("a path");
    let mut net = Network::plain(path, Duration::from_millis(1), Ticks::Ideal, Instant::from_secs(seconds));
    net.seed = seed;
    let profile = Profile::LINUX;
    // Something stirs at the end: what is gone by then is noticed.
    let last = [Action { at: Instant::from_secs(seconds - 1), what: Do::Send(10) }];
    let plan = |number: u64| FlowPlan {
        number,
        start: Instant(1_000 * number),
        ports: [40_000, 80],
        profiles: [&profile; 2],
        scripts: [&last, &[]],
        apps: [AppPlan::default(); 2],
        listens: true,
        vanishes: [None; 2],
    };
    let plans: Vec<FlowPlan<'_>> = (0..flows).map(plan).collect();
    let (outcomes, pressure) = crowd::run(&net, &[Shared::Director { hop: 0, settings: defences }], &plans);
    let dropped = outcomes.iter().filter(|outcome| outcome.forgotten.iter().any(|entry| entry.fate == Met::Evicted)).count();
    let opened = outcomes.iter().filter(|outcome| outcome.sides[0].opened.is_some()).count() as u64;
    (dropped as f64 / flows as f64, pressure[0], opened)
}

fn defences(change: impl FnOnce(&mut DefenceSettings)) -> DefenceSettings {
    let mut settings = DefenceSettings::defaults(Dialect::find("linux-6.1").expect("a row"));
    change(&mut settings);
    settings
}

/// Two packets from the client (SYN, ACK): from a minute on every second one that is looked at goes, a thirty-second is looked at
/// each second. After 200 s that is 1 − exp(−139/64) = 0.886 of them.
#[test]
fn drop_entry_takes_quiet_sessions_without_a_word() {
    let (share, pressure, _) = behind_a_director("method=nat", defences(|s| s.drop_entry = 3), 2_000, 200, 1);
    assert!((share - 0.886).abs() < 0.04, "{share}");
    assert_eq!(pressure.evicted, (share * 2_000.0).round() as u64);
    assert_eq!(pressure.done.map(|done| (done.established, done.half_open)), Some((pressure.evicted, 0)));
    let (none, _, _) = behind_a_director("method=nat", defences(|_| ()), 200, 200, 1);
    assert_eq!((none * 200.0) as u64, 0);
    // With persistence the templates of dropped sessions were assured: they stay.
    let (share, pressure, _) = behind_a_director("method=nat,persist=10min", defences(|s| s.drop_entry = 3), 1_000, 200, 1);
    assert!((share - 0.886).abs() < 0.06, "{share}");
    assert_eq!(pressure.done.map(|done| done.templates), Some(0));
}

/// Every tenth new connection is dropped, the first one first; its SYN comes again a second later.
#[test]
fn drop_packet_delays_every_tenth_connection() {
    let (share, pressure, opened) = behind_a_director("method=nat", defences(|s| s.drop_packet = 3), 1_000, 30, 1);
    assert_eq!((share * 1_000.0) as u64, 0);
    assert_eq!(opened, 1_000);
    assert_eq!(pressure.refused, 100 + 10 + 1 + 1, "the SYNs that come again are tested again");
}
