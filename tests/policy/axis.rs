//! What is varied: the forms of an axis, the grid, and what is said about mistakes.

use flowlapse::policy::axis::{COMBINATIONS_MAX, Target, apply, grid, keepalive, parse};
use flowlapse::policy::{Axis, BoxSpec, parse_short};
use flowlapse::time::Duration;
use proptest::prelude::*;

fn path(specs: &[&str]) -> Vec<BoxSpec> {
    specs.iter().map(|spec| parse_short(spec).unwrap_or_else(|error| panic!("{error}"))).collect()
}

fn axis(text: &str, specs: &[&str]) -> Axis {
    parse(text, &path(specs)).unwrap_or_else(|error| panic!("{error}"))
}

fn values(text: &str) -> String {
    axis(text, &["conntrack:masquerade", "ipvs", "aws-nlb"]).values.join(" ")
}

#[test]
fn values_are_ranges_lists_and_words() {
    for (text, wanted) in [
        ("conntrack.established=300,5m,900,60", "60 300 900"),
        ("conntrack.established=300..900:lin3", "300 600 900"),
        ("conntrack.established = 5m .. 10m : step2m", "300 420 540"),
        ("conntrack.established=1..1000:log4", "1 10 100 1000"),
        ("conntrack.established=60..64", "60 61 62 63 64"),
        ("conntrack.established=7,default", "default 7"),
        ("conntrack.net.netfilter.nf_conntrack_tcp_timeout_close=1,2", "1 2"),
        ("conntrack.loose=1,0", "0 1"),
        ("conntrack.be_liberal=on,0,1", "1 0"),
        ("conntrack.max=1000..4000:lin4", "1000 2000 3000 4000"),
        ("ipvs.secure_tcp=0,3", "0 3"),
        ("conntrack.dialect=linux-5.4,linux-6.12,linux-5.4", "linux-5.4 linux-6.12"),
        ("conntrack.rules=strict,accept-all", "strict accept-all"),
        ("aws-nlb.established=never,5m", "300 never"),
        ("idle.on_stray=rst_sender,drop", "rst_sender drop"),
        ("keepalive=60..240:step60", "60 120 180 240"),
    ] {
        assert_eq!(values(text), wanted, "{text}");
    }
    let standard = axis("keepalive=60..7200", &[]);
    assert_eq!((standard.values.len(), standard.values[0].as_str(), standard.values[19].as_str()), (20, "60", "7200"));
}

#[test]
fn every_example_of_an_axis_is_one() {
    let text = include_str!("../../docs/sweeps.md");
    let examples = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of examples");
    let boxes = path(&["conntrack", "ipvs", "aws-nlb"]);
    assert!(examples.lines().count() >= 8);
    for example in examples.lines() {
        parse(example, &boxes).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_box_is_named_by_kind_place_preset_or_label() {
    let specs = ["openwrt", "ipvs:dr,tcp=600", "conntrack:dialect=linux-5.4"];
    for (text, index, setting) in [
        ("1.established=1", 0, "established"),
        ("1.conntrack.established=1", 0, "established"),
        ("openwrt.established=1", 0, "established"),
        ("ipvs.tcp=1", 1, "tcp"),
        ("2.timeout_tcp=1", 1, "tcp"),
        ("2.ipvs.conntrack=1", 1, "conntrack"),
        ("ipvs:dr,tcp=600.tcp=1", 1, "tcp"),
        ("3.conntrack.tcp_loose=1", 2, "loose"),
        ("conntrack:dialect=linux-5.4.close=1", 2, "close"),
    ] {
        let axis = axis(text, &specs);
        assert_eq!(axis.target, Target::Box { index, setting }, "{text}");
        assert_eq!(axis.key, text.strip_suffix("=1").unwrap());
    }
    assert_eq!(axis("keepalive = 60", &specs).target, Target::Keepalive);
}

#[test]
fn every_mistake_gets_one_sentence() {
    let specs = ["conntrack", "ipvs", "conntrack:loose=0", "aws-nlb"];
    for (text, message) in [
        ("conntrack.established=1", "the path has 2 boxes 'conntrack'; write 1.conntrack.established or 3.conntrack.established"),
        ("2.conntrack.established=1", "box 2 is ipvs, not conntrack"),
        ("5.established=1", "the path has no box '5'; it has 1.conntrack, 2.ipvs, 3.conntrack, 4.idle"),
        ("ipsv.tcp=1", "the path has no box 'ipsv'; did you mean 'ipvs'?"),
        ("established=1", "say of which box; did you mean 'conntrack.established'?"),
        ("keepalvie=60", "there is no 'keepalvie'; did you mean 'keepalive'?"),
        ("banana=60", "say of which box and which setting, as in 'conntrack.established'"),
        ("1.establishd=1", "conntrack has no setting 'establishd'; did you mean 'established'?"),
        ("1.established", "the values are missing; write '1.established=300..7200:log20' or '1.established=300,600,900'"),
        ("keepalive", "the values are missing; write 'keepalive=300..7200:log20' or 'keepalive=300,600,900'"),
        ("1.established=7200..300", "the range 7200..300 is empty; write 300..7200"),
        ("1.established=0..300", "a range begins at 1 s or more, not at 0"),
        ("1.max=0..300", "a range begins at 1 or more, not at 0"),
        ("1.established=300..400.5", "'established' is varied over whole seconds, as 900 or 15m, 300..7200 or 300,600, not '400.5'"),
        ("1.established=300..", "'established' is varied over whole seconds, as 900 or 15m, 300..7200 or 300,600, not ''"),
        (
            "1.established=300..400:log1",
            "a range ends in log, lin or step with a number, as ':log20' (20 values, at least 2), ':lin10' or ':step60', not ':log1'",
        ),
        (
            "1.established=300..400:ln5",
            "a range ends in log, lin or step with a number, as ':log20' (20 values, at least 2), ':lin10' or ':step60', not ':ln5'",
        ),
        ("1.established=1..2000000:step1", "1..2000000 in steps of 1 are 2000000 values; 100000 are the limit: take a wider step"),
        ("1.established=1..99999999", "'established' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not '99999999'"),
        ("1.established=never", "'established' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not 'never'"),
        ("1.established=1,,2", "a value is missing between two commas, or after the last one"),
        ("1.be_liberal=0..1", "'be_liberal' takes 0 or 1, not '0..1'; ranges are for timers and counts"),
        ("1.rules=strickt", "'rules' takes one of the words accept-all drop-invalid strict, not 'strickt'; did you mean 'strict'?"),
        ("keepalive=0", "'keepalive' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, and at least 1, not '0'"),
        ("keepalive=default", "'keepalive' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, and at least 1, not 'default'"),
    ] {
        let error = parse(text, &path(&specs)).expect_err(text);
        assert_eq!(error.to_string(), format!("axis '{text}': {message}"));
    }
    assert_eq!(parse("ipvs.tcp=1", &[]).unwrap_err().message, "the path has no box; only 'keepalive' can be varied without one");
}

#[test]
fn a_grid_has_every_combination_and_the_last_axis_changes_fastest() {
    let boxes = path(&["conntrack:masquerade", "ipvs"]);
    let axes = ["conntrack.established=60,120", "keepalive=10,20,30"].map(|text| parse(text, &boxes).unwrap());
    let grid = grid(&axes).unwrap();
    assert_eq!(grid, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
    let changed = apply(&boxes, &axes, &grid[4]).unwrap();
    assert_eq!(changed[0].policy.to_string(), "conntrack:masquerade,established=120");
    assert_eq!(changed[0].label, "conntrack:masquerade");
    assert_eq!(changed[1], boxes[1]);
    assert_eq!(keepalive(&axes, &grid[4]), Some(Duration::from_secs(20)));
    assert_eq!(keepalive(&axes[..1], &grid[4]), None);
}

#[test]
fn a_grid_without_axes_is_the_path_and_a_grid_has_a_limit() {
    assert_eq!(grid(&[]).unwrap(), [Vec::<usize>::new()]);
    let boxes = path(&["conntrack"]);
    let read = |text: &str| parse(text, &boxes).unwrap();
    let wide = [read("conntrack.established=1..1000:step1"), read("1.close=1..101:step1")];
    assert_eq!(
        grid(&wide).unwrap_err().to_string(),
        format!(
            "axis 'conntrack.established', '1.close': 1000 × 101 values are more than {COMBINATIONS_MAX} combinations; take fewer values"
        )
    );
    let twice = [read("conntrack.close=1"), read("1.tcp_timeout_close=2")];
    assert_eq!(grid(&twice).unwrap_err().to_string(), "axis '1.tcp_timeout_close': is varied twice, also as 'conntrack.close'; keep one");
    assert!(apply(&[], &twice, &[0, 0]).is_err());
    assert!(apply(&boxes, &twice, &[7, 0]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_rises_meets_its_ends_and_every_value_can_be_set(
        from in 1..100_000_u64, width in 0..20_000_000_u64, count in 2..300_usize, log in any::<bool>(),
    ) {
        let to = from + width;
        let boxes = path(&["conntrack"]);
        let axis = parse(&format!("conntrack.established={from}..{to}:{}{count}", if log { "log" } else { "lin" }), &boxes).unwrap();
        let numbers: Vec<u64> = axis.values.iter().map(|value| value.parse().unwrap()).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b));
        prop_assert!(numbers.len() <= count);
        prop_assert_eq!((numbers[0], numbers[numbers.len() - 1]), (from, to));
        for at in 0..numbers.len() {
            prop_assert!(apply(&boxes, std::slice::from_ref(&axis), &[at]).is_ok());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(conntrack|ipvs|keepalive|1|)[.:,= a-zé0-9_]{0,40}") {
        let _ = parse(&text, &path(&["conntrack", "ipvs", "aws-nlb"]));
    }
}
