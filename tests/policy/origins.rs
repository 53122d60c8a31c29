//! Where settings stand: texts, JSON, files that JSON names; and boxes that a scenario takes from a file.

use flowlapse::policy::{BoxSpec, parse};
use flowlapse::scenario::load::vary_with;
use flowlapse::scenario::{load, load_with};

/// The files of these tests.
fn read(name: &str) -> Result<String, String> {
    let text = match name {
        "gw/90-conntrack.conf" => {
            "# timers\n\nnet.netfilter.nf_conntrack_tcp_timeout_established = 600\nnet.netfilter.nf_conntrack_tcp_loose=0\n"
        }
        "gw/twice.conf" => "net.netfilter.nf_conntrack_tcp_timeout_established=1\nnet.netfilter.nf_conntrack_tcp_timeout_established=2\n",
        "gw/nft.conf" => "table ip t {\n ct timeout long {\n  protocol tcp;\n  policy = {\n   established : 120,\n   close : 20 }\n }\n}\n",
        "gw/both.txt" => "Timeout (tcp tcpfin udp): 900 120 300\nnet.netfilter.nf_conntrack_tcp_timeout_established = 5\n",
        "ci/path.json" => {
            "{\"path\": [\n  \"@../gw/90-conntrack.conf:strict\",\n  {\"label\": \"lb\",\n   \"idle\": {\n     \"established\": 350}},\n  \
             {\"preset\": \"aws-nlb\",\n   \"established\": 400},\n  \"ipvs:nat,tcp=900\"\n]}"
        }
        "ci/array.json" => "[{\"conntrack\": {\"net.netfilter.nf_conntrack_tcp_timeout_established\": 7,\n\"rules\": \"strict\"}}]",
        "ci/one.json" => "\n{\"ipvs\": \"tcp=900,nat\"}",
        "ci/circle.json" => "[\"@circle.json\"]",
        "ci/wrong.json" => "[\n \"@../gw/none.conf\"]",
        _ => return Err("there is no such file".to_owned()),
    };
    Ok(text.to_owned())
}

fn places(one: &BoxSpec) -> String {
    let all: Vec<String> = one.origins.iter().map(|(name, at)| format!("{name} {at}")).collect();
    all.join(", ")
}

fn boxes(spec: &str) -> Vec<String> {
    parse(spec, &read).unwrap_or_else(|error| panic!("{error}")).iter().map(|one| format!("{}: {}", one.label, places(one))).collect()
}

#[test]
fn a_setting_is_found_in_its_line() {
    for (spec, wanted) in [
        ("@gw/90-conntrack.conf", vec!["@gw/90-conntrack.conf: established gw/90-conntrack.conf:3, loose gw/90-conntrack.conf:4"]),
        ("@gw/twice.conf", vec!["@gw/twice.conf: established gw/twice.conf:2"]),
        // What stands behind the file's name is from the command line.
        ("@gw/90-conntrack.conf:established=7", vec!["@gw/90-conntrack.conf:established=7: loose gw/90-conntrack.conf:4"]),
        (
            "@gw/both.txt",
            vec![
                "@gw/both.txt (ipvs): tcp gw/both.txt:1, tcpfin gw/both.txt:1, udp gw/both.txt:1",
                "@gw/both.txt (conntrack): established gw/both.txt:2",
            ],
        ),
        (
            "ci/path.json",
            vec![
                "@../gw/90-conntrack.conf:strict: established gw/90-conntrack.conf:3, loose gw/90-conntrack.conf:4",
                "lb: established ci/path.json:5",
                "aws-nlb:established=400: established ci/path.json:7",
                "ipvs:nat,tcp=900: tcp ci/path.json:8",
            ],
        ),
        ("ci/array.json", vec!["conntrack:strict,established=7: established ci/array.json:1, rules ci/array.json:2"]),
        ("conntrack:established=7", vec!["conntrack:established=7: "]),
    ] {
        assert_eq!(boxes(spec), wanted, "{spec}");
    }
    assert_eq!(boxes("ci/one.json")[0].split(": ").nth(1), Some("tcp ci/one.json:2"));
    // nft's own defaults stand where its object begins.
    let nft = boxes("@gw/nft.conf").remove(0);
    assert!(
        nft.contains("established gw/nft.conf:5") && nft.contains("close gw/nft.conf:6") && nft.contains("syn_sent gw/nft.conf:2"),
        "{nft}"
    );
}

#[test]
fn a_file_that_is_named_and_cannot_be_read_is_a_mistake_of_that_line() {
    let error = |spec: &str| parse(spec, &read).expect_err(spec).to_string();
    assert_eq!(
        error("ci/wrong.json"),
        "ci/wrong.json:2:2, at [0]: box '@../gw/none.conf': the file '../gw/none.conf' cannot be read: there is no such file"
    );
    assert!(error("ci/circle.json").ends_with("they go round in a circle"), "{}", error("ci/circle.json"));
}

const STORY: &str = "{\n \"title\": \"t\",\n \"duration\": 5,\n \"path\": [\"@../gw/90-conntrack.conf\", \"aws-nlb\"],\n \"variants\": [\n  \
                     {\"name\": \"other\", \"set\": {\"path\": [\n   {\"conntrack\": {\n    \"established\": 9}}]}},\n  \
                     {\"name\": \"same\", \"set\": {\"duration\": 6}}]\n}";

#[test]
fn a_scenario_takes_its_boxes_from_a_file() {
    let at = |one: &BoxSpec| one.origins.of("established").map(ToString::to_string);
    let base = load_with(STORY, "ci/story.json", &[], &read).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(base.path.len(), 2);
    assert_eq!(at(&base.path[0]).as_deref(), Some("gw/90-conntrack.conf:3"));
    assert_eq!(base.path[1].origins.whole.as_ref().map(ToString::to_string).as_deref(), Some("ci/story.json:4"));
    let variant = |number: usize| {
        let varied = vary_with(STORY, "ci/story.json", &[], &base, &base.variants[number], &read);
        at(&varied.unwrap_or_else(|error| panic!("{error}")).path[0])
    };
    assert_eq!(variant(0).as_deref(), Some("ci/story.json:8"));
    assert_eq!(variant(1).as_deref(), Some("gw/90-conntrack.conf:3"));
    // A setting of the command line is not the file's.
    let set = ["path.0.conntrack.established=3".to_owned()];
    let changed = load_with(STORY, "ci/story.json", &set, &read).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(at(&changed.path[0]), None);
    assert_eq!(changed.path[0].policy.describe(), "conntrack:established=3,loose=0");
    assert_eq!(changed.path[0].label, "@../gw/90-conntrack.conf");
    // Without files the name is a mistake, with its place.
    let error = load(STORY, "ci/story.json", &[]).expect_err("no files").to_string();
    assert!(error.starts_with("ci/story.json:4:11, at path[0]: box '@../gw/90-conntrack.conf'"), "{error}");
}
