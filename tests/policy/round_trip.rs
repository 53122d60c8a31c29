//! Whatever a policy is, its description reads back as the same policy.

use flowlapse::policy::keys::Key;
use flowlapse::policy::{BoxPolicy, Settings, parse_short, presets};
use proptest::prelude::*;

/// Values that some setting or other accepts; the ones that a setting refuses leave it alone.
const VALUES: [&str; 44] = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "255",
    "350",
    "15m",
    "432000",
    "0.25",
    "1ns",
    "never",
    "default",
    "linux-6.12",
    "no-nat",
    "masquerade",
    "snat",
    "dnat",
    "accept-all",
    "drop-invalid",
    "strict",
    "accept",
    "drop",
    "nat",
    "dr",
    "tun",
    "wlc",
    "mh",
    "conntrack",
    "lb",
    "proxy",
    "firewall",
    "silent",
    "rst_both",
    "lru_eviction",
    "rst_sender",
    "rehash",
    "terminates_tcp",
    "both",
    "outbound_udp",
    "data",
    "packets",
    "before_expiry",
    "no",
];

fn change<P: Settings>(policy: &mut P, picks: &[(prop::sample::Index, prop::sample::Index)]) {
    let keys: &[Key<P>] = P::keys();
    for (key, value) in picks {
        let _ = policy.set(keys[key.index(keys.len())].name, VALUES[value.index(VALUES.len())]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_description_reads_back_as_the_same_policy(
        start in 0..53_usize + 3,
        picks in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..24),
    ) {
        let heads = ["conntrack", "ipvs", "idle:established=60"];
        let head = heads.get(start).copied().unwrap_or_else(|| &presets::all()[start - heads.len()].id);
        let mut policy = parse_short(head).unwrap().policy;
        match &mut policy {
            BoxPolicy::Conntrack(policy) => change(policy, &picks),
            BoxPolicy::Ipvs(policy) => change(policy, &picks),
            BoxPolicy::Idle(policy) => change(policy, &picks),
        }
        let text = policy.to_string();
        let again = parse_short(&text).unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(&again.policy, &policy, "{}", text);
        prop_assert_eq!(again.policy.describe(), text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(conntrack|ipvs|idle|aws-nlb|)[:,= a-zé0-9_.]{0,40}") {
        let _ = parse_short(&text);
    }
}
