//! Every scenario of the project against what it expects, and the format itself.

use flowlapse::report::story::{Came, Story};
use flowlapse::scenario::load::vary;
use flowlapse::scenario::{load, run, schema};
use flowlapse::simulate::trace::Recorder;
use rayon::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).expect("there are scenarios").map(|e| e.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    files
}

#[test]
fn every_scenario_comes_out_as_it_expects() {
    let told: Vec<String> = files()
        .par_iter()
        .flat_map_iter(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(path).expect("readable");
            let base = load(&text, &name, &[]).unwrap_or_else(|e| panic!("{e}"));
            let mut runs = vec![(None, base.clone())];
            for variant in &base.variants {
                runs.push((Some(variant.name.clone()), vary(&text, &name, &[], &base, variant).unwrap_or_else(|e| panic!("{e}"))));
            }
            let mut told = Vec::new();
            for (variant, scenario) in runs {
                let ready = scenario.compile().unwrap_or_else(|e| panic!("{name}: {e}"));
                let came = if ready.crowd.is_some() {
                    Came::Many(Box::new(run::population(&ready)))
                } else {
                    let (outcome, recorder) = run::single(&ready, Recorder::default());
                    Came::One(Box::new(outcome), recorder)
                };
                let story = Story::new(&name, variant.as_deref(), &scenario, &ready, came);
                told.extend(story.unmet.iter().flatten().map(|what| format!("{name} {variant:?}: {what}")));
            }
            told
        })
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// An incident says where it is documented, what it shows, and what cures it.
#[test]
fn incidents_have_sources_symptoms_and_cures() {
    let mut incidents = 0;
    for path in files() {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let scenario = load(&fs::read_to_string(&path).expect("readable"), &name, &[]).expect("a scenario");
        assert_eq!(scenario.schema.as_deref(), Some("./schema/scenario.json"), "{name}");
        if name.starts_with("incident-") {
            incidents += 1;
            assert!(!scenario.sources.is_empty() && scenario.expect.is_some() && scenario.about.is_some(), "{name}");
            assert!(scenario.variants.iter().any(|variant| variant.expect.is_some()), "{name}");
        }
    }
    assert!(incidents >= 30, "{incidents}");
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/schema/scenario.json");
    let published: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON");
    assert_eq!(published, schema::document(), "write it anew: flowlapse run --schema > scenarios/schema/scenario.json");
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, complaint) in [
        ("{\"title\": 1}", "x:1:11, at title: invalid type: integer `1`, expected a string"),
        ("{\"title\": \"t\",\n \"duration\": \"1x\"}", "x:2:17, at duration: '1x' is not a duration"),
        ("{\"title\": \"t\", \"duration\": 5, \"clint\": {}}", "there is no key 'clint' here; did you mean 'client'?"),
        ("{\"title\": \"t\", \"duration\": 5, \"path\": [\"ipvz\"]}", "did you mean 'ipvs'?"),
        (
            "{\"title\": \"t\", \"duration\": 5, \"script\": [{\"at\": 1, \"who\": \"clent\"}]}",
            "there is no word 'clent' here; did you mean 'client'?",
        ),
        ("{\"title\": \"t\", \"duration\": 5, \"links\": {\"loss\": \"120%\"}}", "at links.loss: 1.2 is not between 0 and 1"),
        ("{\"title\": \"t\", \"duration\": -5}", "-5 s is negative"),
        ("{\"title\": \"t\"", "x:1:13"),
    ] {
        let error = load(text, "x", &[]).expect_err(text).to_string();
        assert!(error.contains(complaint), "{error}\nnot: {complaint}");
    }
    for (body, complaint) in [
        (r#""script": [{"at": 1, "who": "client"}]"#, "script[0]: give exactly one of send"),
        (r#""script": [{"at": 1, "who": "client", "send": 0}]"#, "script[0]: nothing is sent with 0 bytes"),
        (r#""events": [{"at": 1, "forget": 1}]"#, "events[0]: there is no box 1; the path has none"),
        (r#""events": [{"at": 1, "link_down": 1, "link_up": 1}]"#, "events[0]: give exactly one of"),
        (r#""path": ["conntrack"], "events": [{"at": 1, "fail_over": 1}]"#, "no ipvs box"),
        (
            r#""expect": {"client": {"errno": "ECONRESET"}}"#,
            "expect.client.errno: 'ECONRESET' is no error that a socket here reports; did you mean ECONNRESET?",
        ),
        (r#""sync": {}"#, "sync: there is no ipvs box on the path"),
        (r#""client": {"os": "windows", "kernel": "6.1"}"#, "client: 'kernel' is a release of Linux"),
        (r#""client": {"sysctl": {"net.ipv4.tcp_retries1": 3}}"#, "client: sysctl net.ipv4.tcp_retries1 is not one"),
        (r#""client": {"program": "redis-servr"}"#, "client: program: there is no 'redis-servr'; did you mean 'redis-server'"),
        (r#""links": {"each": [{"delay": 1}]}, "path": ["conntrack"]"#, "links.each: 1 given, but this path has 2"),
        (r#""population": {"flows": 3, "mix": [{"name": "a", "share": 0.5}]}"#, "population.mix: the shares add up to 0.5, not to 1"),
        (r#""population": {"flows": 3, "session": {}}"#, "population.session: give exactly one of"),
        (
            r#""population": {"flows": 3, "think": {"pareto": {"min": 0, "alpha": 1.5}}, "exchange": {"request": 1, "reply": 1}}"#,
            "population.think: more than nothing, or the exchanges never end",
        ),
        (
            r#""population": {"flows": 3, "think": {"uniform": [0, 0]}, "exchange": {"request": 1, "reply": 1}}"#,
            "population.think: more than nothing, or the exchanges never end",
        ),
    ] {
        let scenario = load(&format!("{{\"title\": \"t\", \"duration\": 5, {body}}}"), "x", &[]).unwrap_or_else(|e| panic!("{body}: {e}"));
        let error = scenario.compile().expect_err(body);
        assert!(error.contains(complaint), "{error}\nnot: {complaint}");
    }
}

#[test]
fn settings_can_be_changed_from_outside() {
    let text = r#"{"title": "t", "duration": 5, "path": ["ipvs:nat"], "script": [{"at": 1, "who": "client", "send": 5}]}"#;
    let set = |one: &str| load(text, "x", &[one.to_owned()]);
    assert_eq!(set("duration=15min").expect("a scenario").duration.0, flowlapse::time::Duration::from_secs(900));
    assert_eq!(set("script.0.send=9").expect("a scenario").script[0].send, Some(9));
    assert_eq!(set("client.keepalive.time=60").expect("a scenario").client.keepalive.and_then(|k| k.time).map(|s| s.0.as_secs()), Some(60));
    let boxes = |one: &str| set(one).expect("a scenario").path[0].policy.describe();
    assert_eq!(boxes("path.0.ipvs.timeout_tcp=3600"), "ipvs:tcp=3600");
    let dr = r#"{"title": "t", "duration": 5, "path": ["ipvs:dr,sloppy_tcp=1"]}"#;
    let changed = load(dr, "x", &["path.0.ipvs.tcp=3600".to_owned()]).expect("a scenario");
    assert_eq!(changed.path[0].policy.describe(), "ipvs:dr,tcp=3600,sloppy_tcp=1");
    let preset = r#"{"title": "t", "duration": 5, "path": ["aws-nlb"]}"#;
    let changed = load(preset, "x", &["path.0.established=60".to_owned()]).expect("a scenario");
    assert_eq!(changed.path[0].policy.describe(), "aws-nlb:established=60");
    assert!(set("title.x=9").expect_err("inside a text").to_string().contains("cannot be set inside"));
    assert!(set("script.7.send=9").expect_err("no such action").to_string().contains("beyond the end of 1"));
    assert!(set("client.keepalve.time=60").expect_err("no such key").to_string().contains("did you mean 'keepalive'"));
    assert!(set("nonsense").expect_err("no value").to_string().contains("expected KEY=VALUE"));
}
