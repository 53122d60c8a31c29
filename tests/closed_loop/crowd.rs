//! A full conntrack table, beside what a real one did (recordings/pressure, 6.1): counts within what chance allows.

use flowlapse::endpoint::{Profile, Ticks};
use flowlapse::engine::{Clock, Path};
use flowlapse::policy;
use flowlapse::simulate::crowd::{self, Limit};
use flowlapse::simulate::{AppPlan, FlowPlan, Network};
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
    let (_, pressure) = crowd::run(&net, &[Limit { hop: 0, max, buckets }], &plans);
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
