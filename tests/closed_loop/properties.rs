//! Whatever a scenario says, the run ends, is the same each time, and nobody reads what was not written.

use flowlapse::scenario::{load, run};
use flowlapse::simulate::{End, Silent};
use proptest::prelude::*;
use proptest::sample::select;

fn host() -> impl Strategy<Value = String> {
    let keepalive = select(vec!["", r#""keepalive": {}"#, r#""keepalive": {"time": 30, "intvl": 5, "probes": 3}"#]);
    let more = select(vec![
        "",
        r#""user_timeout": "20s""#,
        r#""os": "freebsd""#,
        r#""os": "windows""#,
        r#""nodelay": true"#,
        r#""receive_buffer": 3000"#,
        r#""on_eof": "close""#,
        r#""idle_close": "50s""#,
        r#""heartbeat": {"program": "websocket"}"#,
        r#""heartbeat": {"every": "7s", "count_max": 2, "since": "sent"}"#,
        r#""sysctl": {"net.ipv4.tcp_retries2": 4, "net.ipv4.tcp_fin_timeout": 120}"#,
        r#""drops_strays": true"#,
        r#""program": "rabbitmq""#,
        r#""vanishes_after": "40s""#,
        r#""read_timeout": "9s""#,
    ]);
    (keepalive, more).prop_map(|(a, b)| {
        let parts: Vec<&str> = [a, b].into_iter().filter(|part| !part.is_empty()).collect();
        format!("{{{}}}", parts.join(", "))
    })
}

fn action() -> impl Strategy<Value = String> {
    let what = select(vec![
        r#""send": 1"#,
        r#""send": 70000"#,
        r#""request": {"len": 100, "reply": 3000, "after": "2s"}"#,
        r#""shutdown": true"#,
        r#""close": true"#,
        r#""abort": true"#,
        r#""pause": true"#,
        r#""resume": true"#,
        r#""send": 40, "every": "11s""#,
    ]);
    (0..300_u32, select(vec!["client", "server"]), what).prop_map(|(at, who, what)| format!(r#"{{"at": {at}, "who": "{who}", {what}}}"#))
}

fn event() -> impl Strategy<Value = String> {
    let what = select(vec![
        r#""link_down": 1"#,
        r#""link_up": 1"#,
        r#""link_down": 2"#,
        r#""forget": 1"#,
        r#""server": "reboots""#,
        r#""server": "dies""#,
        r#""client_dies": true"#,
    ]);
    (0..300_u32, what).prop_map(|(at, what)| format!(r#"{{"at": {at}, {what}}}"#))
}

fn scenario() -> impl Strategy<Value = String> {
    let path = select(vec![
        r#""conntrack:strict,established=60""#,
        r#""conntrack:masquerade,established=40,close_wait=10""#,
        r#""conntrack:dnat,tcp_loose=0,established=20""#,
        r#""ipvs:nat,tcp=60""#,
        r#""ipvs:dr,tcp=45,tcpfin=10""#,
        r#""ipvs:nat,tcp=30,conntrack=1""#,
        r#""aws-nlb:established=50", "conntrack:masquerade""#,
        r#""azure-lb-tcp-reset:established=30""#,
        r#""aws-clb:established=25""#,
        r#""conntrack:dialect=linux-2.4", "ipvs:dr,dialect=linux-2.4,secure_tcp=3""#,
    ]);
    let links = select(vec![
        "",
        r#""links": {"loss": "10%", "jitter": "30ms", "reorder": "5%", "round_trip": "20ms"},"#,
        r#""links": {"round_trip": 0},"#,
        r#""wheel": {"hz": 100},"#,
        r#""wheel": {"hz": 1000},"#,
    ]);
    let lists = (proptest::collection::vec(action(), 0..8), proptest::collection::vec(event(), 0..3));
    (path, links, host(), host(), lists, 0..1000_u32).prop_map(|(path, links, client, server, (script, events), seed)| {
        format!(
            r#"{{"title": "t", "duration": "10min", "seed": {seed}, "path": [{path}], {links} "client": {client}, "server": {server},
            "script": [{}], "events": [{}]}}"#,
            script.join(", "),
            events.join(", ")
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_and_adds_up(text in scenario()) {
        let scenario = load(&text, "random", &[]).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let ready = scenario.compile().map_err(TestCaseError::fail)?;
        let outcome = run::single(&ready, Silent).0;
        prop_assert!(!outcome.stopped, "{} events", outcome.events);
        prop_assert_eq!(&outcome, &run::single(&ready, Silent).0);
        for (side, peer) in [(0, 1), (1, 0)] {
            let (mine, theirs) = (&outcome.sides[side], &outcome.sides[peer]);
            prop_assert!(mine.delivered <= theirs.written, "{:?}", outcome);
            prop_assert!(mine.ended_at().is_none_or(|at| at <= ready.net.horizon));
            prop_assert!(mine.eof.is_none() || mine.opened.is_some());
            if matches!(mine.end, End::StillOpen(_)) {
                prop_assert!(mine.opened.is_some());
            }
        }
        for entry in &outcome.forgotten {
            prop_assert!(entry.noticed.is_none_or(|at| at >= entry.at), "{:?}", entry);
        }
    }

    /// Without loss, boxes or trouble everything that is written arrives.
    #[test]
    fn a_plain_wire_delivers_everything(sends in proptest::collection::vec((0..100_u32, 1..200_000_u32, any::<bool>()), 1..10), seed in 0..100_u32) {
        let script: Vec<String> = sends.iter().map(|(at, len, client)| {
            format!(r#"{{"at": {at}, "who": "{}", "send": {len}}}"#, if *client { "client" } else { "server" })
        }).collect();
        for links in ["", r#""links": {"loss": "3%", "reorder": "3%", "jitter": "3ms", "round_trip": "30ms"},"#] {
            let text = format!(r#"{{"title": "t", "duration": "2h", "seed": {seed}, {links} "script": [{}]}}"#, script.join(", "));
            let ready = load(&text, "wire", &[]).expect("a scenario").compile().expect("sense");
            let outcome = run::single(&ready, Silent).0;
            prop_assert_eq!(outcome.sides[0].delivered, outcome.sides[1].written, "{}", text);
            prop_assert_eq!(outcome.sides[1].delivered, outcome.sides[0].written, "{}", text);
        }
    }
}
