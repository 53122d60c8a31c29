//! `replay --json --summary`: the totals are those of the whole document, and the break-points are those of its flows together.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn flowlapse(args: &[&str]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_flowlapse"))
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("the program was built");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    (text, output.status.code().unwrap_or(-1))
}

fn document(args: &[&str]) -> Value {
    let (text, code) = flowlapse(args);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).expect("a document")
}

#[test]
fn the_summary_sums_up_the_flows() {
    let traffic = std::env::temp_dir().join(format!("flowlapse-summary-{}.pcap", std::process::id()));
    let capture = traffic.to_str().expect("a path in Unicode");
    let (said, code) = flowlapse(&["synth", "benches/big.json", "-o", capture, "--flows", "300", "--seed", "5"]);
    assert_eq!(code, 0, "{said}");
    for boxes in [&["--box", "conntrack:established=600", "--box", "ipvs:nat", "--box", "aws-nlb"][..], &["--box", "conntrack:strict"]] {
        let whole = document(&[&["replay", capture, "--json"], boxes].concat());
        let brief = document(&[&["replay", capture, "--json", "--summary"], boxes].concat());
        for key in ["schema", "path", "clock", "packets", "summary", "begin_ns", "end_ns"] {
            assert_eq!(whole[key], brief[key], "{key}");
        }
        assert!(brief.get("flows").is_none());
        let mut expected: BTreeMap<(u64, String), (u64, u64, u64)> = BTreeMap::new();
        for point in whole["flows"].as_array().expect("flows").iter().flat_map(|flow| flow["break_points"].as_array().expect("points")) {
            let number = |key: &str| point[key].as_u64().expect("a number");
            let key = (number("hop"), format!("{} {} {}", point["timer"], point["setting"], point["why"]));
            let sum = expected.entry(key).or_default();
            sum.0 += 1;
            sum.1 += u64::from(number("longest_ns") >= number("timeout_ns"));
            sum.2 = sum.2.max(number("longest_ns"));
        }
        let told: BTreeMap<(u64, String), (u64, u64, u64)> = brief["break_points"]
            .as_array()
            .expect("points")
            .iter()
            .map(|point| {
                let number = |key: &str| point[key].as_u64().expect("a number");
                let key = (number("hop"), format!("{} {} {}", point["timer"], point["setting"], point["why"]));
                (key, (number("flows"), number("too_long_for"), number("longest_ns")))
            })
            .collect();
        assert_eq!(told, expected);
        let (lines, code) = flowlapse(&[&["replay", capture, "--ndjson", "--summary"], boxes].concat());
        assert_eq!((lines.lines().count(), code), (1, 0), "{lines}");
    }
    std::fs::remove_file(traffic).expect("it was written");
}

#[test]
fn the_text_has_one_anyway() {
    let (text, code) = flowlapse(&["replay", "no-such.pcap", "--box", "ipvs", "--summary"]);
    assert_eq!(code, 2);
    assert!(text.contains("--summary: the text begins with its summary"), "{text}");
}
