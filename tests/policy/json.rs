//! The JSON form: what it means, and where mistakes are said to be.

use flowlapse::policy::json::parse;
use flowlapse::policy::{BoxSpec, Place, parse_short};

fn boxes(text: &str) -> Vec<BoxSpec> {
    parse(text, "box.json").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn json_means_the_same_as_the_short_form() {
    for (json, short) in [
        (r#"{"conntrack": {}}"#, "conntrack"),
        (
            r#"{"conntrack": {"nat": "masquerade", "established": 3600, "loose": false, "rules": "drop-invalid"}}"#,
            "conntrack:masquerade,established=3600,loose=0,drop-invalid",
        ),
        (r#"{"conntrack": {"net.netfilter.nf_conntrack_tcp_timeout_established": "1h"}}"#, "conntrack:established=3600"),
        (r#"{"conntrack": "masquerade,established=1h"}"#, "conntrack:masquerade,established=3600"),
        (r#"{"ipvs": {"method": "dr", "timeout_tcp": "15m", "sloppy_tcp": true}}"#, "ipvs:dr,tcp=900,sloppy_tcp=1"),
        (r#"{"idle": {"established": 0.25, "on_stray": "rst_sender"}}"#, "idle:established=250ms,on_stray=rst_sender"),
        (r#"{"preset": "aws-nlb", "established": 600}"#, "aws-nlb:established=600"),
        (r#"{"preset": "openwrt", "established": null}"#, "openwrt:established=default"),
        (r#""aws-nlb:established=600""#, "aws-nlb:established=600"),
    ] {
        let json = boxes(json);
        assert_eq!(json.len(), 1);
        assert_eq!(json[0].policy, parse_short(short).unwrap().policy, "{short}");
    }
}

#[test]
fn switches_may_be_truth_values() {
    assert_eq!(boxes(r#"{"conntrack": {"be_liberal": true}}"#)[0].policy, parse_short("conntrack:liberal=1").unwrap().policy);
}

#[test]
fn a_file_may_hold_a_path_of_boxes() {
    for text in [
        r#"[{"conntrack": {"established": 600}}, "aws-nlb", {"label": "edge", "idle": {"established": 60}}]"#,
        r#"{"path": [{"conntrack": {"established": 600}}, "aws-nlb", {"idle": {"established": 60}, "label": "edge"}]}"#,
    ] {
        let labels: Vec<String> = boxes(text).into_iter().map(|one| one.label).collect();
        assert_eq!(labels, ["conntrack:established=600", "aws-nlb", "edge"]);
    }
}

#[test]
fn a_box_can_be_part_of_a_larger_document() {
    let inside: Vec<BoxSpec> = serde_json::from_str(r#"["ipvs", {"conntrack": {}}]"#).unwrap();
    assert_eq!(inside.len(), 2);
    let error = serde_json::from_str::<Vec<BoxSpec>>("[[\"ipvs\"]]").unwrap_err();
    assert_eq!(error.to_string(), "a box cannot be an array; write the boxes of a path side by side at line 1 column 2");
}

#[test]
fn mistakes_are_located_by_line_column_and_path() {
    let mut wrong = Vec::new();
    for (text, place, message) in [
        (
            "{\n  \"conntrack\": {\n    \"establishd\": 3600\n  }\n}",
            (3, 16, "conntrack"),
            "conntrack has no setting 'establishd'; did you mean 'established'?",
        ),
        (
            "{\n  \"conntrack\": {\n    \"established\": \"soon\"\n  }\n}",
            (3, 25, "conntrack.established"),
            "'established' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not 'soon'",
        ),
        ("[\n {\"ipvs\": {\"secure_tcp\": 7}}\n]", (2, 26, "[0].ipvs.secure_tcp"), "'secure_tcp' takes 0, 1, 2 or 3, not '7'"),
        (
            "{\"path\": [{\"ipvs\": {\"tcp\": []}}]}",
            (1, 29, "path[0].ipvs.tcp"),
            "invalid type: sequence, expected whole seconds up to 21474836, as 900 or 15m or 2h13m20s",
        ),
        ("{\"preset\": \"aws-nbl\"}", (1, 20, "preset"), "there is no box and no preset 'aws-nbl'; did you mean 'aws-nlb'?"),
        ("{\"preset\": \"ipvs\"}", (1, 17, "preset"), "'ipvs' is a kind of box, not a preset; write {\"ipvs\": {…}}"),
        (
            "{\"preset\": \"aws-nlb\", \"close\": -5}",
            (1, 33, "close"),
            "'close' takes a duration, as 350 or 15m or 2h13m20s, or 'never', not '-5'",
        ),
        ("{\"contrack\": {}}", (1, 11, ""), "there is no kind of box 'contrack'; did you mean 'conntrack'?"),
        (
            "{\"established\": 3}",
            (1, 14, ""),
            "there is no kind of box 'established'; write conntrack, ipvs, idle or preset, and 'preset' before the settings that change it",
        ),
        ("{\"ipvs\": {}, \"tcp\": 900}", (1, 18, ""), "'tcp' cannot stand beside the box; settings belong inside its object"),
        ("{\"idle\": {\"close\": 3}}", (1, 21, "idle"), "idle needs 'established', as in 'idle:established=350'"),
        ("{\"ipvs\": {\"tcp\": 1, \"timeout_tcp\": 2}}", (1, 37, "ipvs"), "'tcp' is set twice; keep one"),
        (
            "{\"label\": \"x\"}",
            (1, 14, ""),
            "the box is missing; write {\"conntrack\": {…}}, {\"ipvs\": {…}}, {\"idle\": {…}} or {\"preset\": \"…\"}",
        ),
        ("{\"label\": \"x\", \"label\": \"y\"}", (1, 22, ""), "'label' is set twice; keep one"),
        ("{\"path\": [\"ipvs\"], \"ipvs\": {}}", (1, 25, ""), "'ipvs' cannot stand beside 'path'"),
        ("[]", (1, 2, ""), "the path has no box"),
        ("{\"conntrack\": 5}", (1, 15, "conntrack"), "invalid type: integer `5`, expected an object with the settings of conntrack"),
        ("{\"conntrack\": {}", (1, 16, ""), "EOF while parsing an object"),
        ("{\"conntrack\": {}} x", (1, 19, ""), "trailing characters"),
        ("7", (1, 1, ""), "invalid type: integer `7`, expected a box such as {\"conntrack\": {…}} or \"aws-nlb\", or an array of boxes"),
    ] {
        let error = parse(text, "box.json").expect_err(text);
        let (line, column, path) = place;
        let wanted = (message.to_owned(), Place::Json { line, column, path: path.to_owned() });
        let got = (error.message, error.place);
        if got != wanted {
            wrong.push(format!("{text}\n  got    {got:?}\n  wanted {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let error = parse("{\n \"ipvs\": {\"udp\": \"x\"}}", "edge.json").unwrap_err();
    assert_eq!(
        error.to_string(),
        "edge.json:2:20, at ipvs.udp: 'udp' takes whole seconds up to 21474836, as 900 or 15m or 2h13m20s, not 'x'"
    );
}
