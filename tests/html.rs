//! `--html`: the file is complete in itself, the same input gives the same bytes, and nothing from outside becomes markup.

#[path = "html/pages.rs"]
mod pages;

use flowlapse::check::{Baseline, BoxLine, Case, Change, Checked, Failure, Kind, Lint, Session, Timer, Unmet};
use flowlapse::finding::Verdict;
use flowlapse::policy::At;
use flowlapse::report::html;
use flowlapse::study::audit::rule::{Rule, Severity};
use flowlapse::time::Duration;
use pages::{FIREWALL, Folder, HANG, HOSTILE, flowlapse, page};
use serde_json::Value;
use std::sync::Arc;

/// The JSON that the page's script reads.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").expect("the page has data");
    let (json, _) = rest.split_once("</script>").expect("the data end");
    serde_json::from_str(json).expect("the data are JSON")
}

/// What holds for every page.
fn sound(page: &str) {
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    for reference in ["src=\"http", "href=\"http", "url(http", "@import", "src='http", "<iframe", "<link rel=\"stylesheet\""] {
        assert!(!page.contains(reference), "{reference}");
    }
    // Two scripts: the data, which are none, and the page's own.
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    let policy = "default-src 'none'; style-src 'sha256-";
    assert!(page.contains(policy) && page.contains("script-src 'sha256-") && !page.contains("unsafe"));
    // The body up to its scripts is XML: every element is closed, every attribute quoted, everything escaped.
    let (_, body) = page.split_once("<body>").expect("a body");
    let (body, _) = body.split_once("<script").expect("scripts");
    let document = format!("<body>{body}</body>");
    let document = roxmltree::Document::parse(&document).unwrap_or_else(|error| panic!("{error}"));
    let mut ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id stands twice");
    data(page);
}

/// That the hostile text is there, and only as text.
fn harmless(page: &str) {
    let (head, rest) = page.split_once("id=\"data\">").expect("the page has data");
    for part in [head, rest.split("</script>").next().unwrap_or_default()] {
        for markup in ["<img", "<svg onload", "onerror=\"", "\u{202e}"] {
            assert!(!part.contains(markup), "{markup}");
        }
    }
    assert!(head.contains("&lt;img src=x onerror="));
    let told = data(page).to_string();
    assert!(told.contains("<img src=x onerror="), "the text is shown as it is");
    assert!(!told.contains('\u{202e}'), "what turns the direction of writing is made visible");
}

#[test]
fn a_replay_s_page_is_complete_in_itself() {
    let folder = Folder::new("replay");
    let text = page(&["replay", HANG, "--box", FIREWALL], &folder.file("x.html"));
    sound(&text);
    // What stands there without a script.
    for said in [
        "The flow is cut: conntrack forgets it after 1h of silence.",
        "10.0.1.2:54964 → 10.0.2.2:80",
        "<noscript>",
        "net.netfilter.nf_conntrack_tcp_timeout_established",
        "command line",
        "default of linux-6.18",
    ] {
        assert!(text.contains(said), "{said}");
    }
    assert!(text.contains("flowlapse replay fixtures/captures/ssh-hang"), "how to get it again");
    let data = data(&text);
    let life = &data["details"][0]["life"];
    assert_eq!(life["packets"].as_array().map(Vec::len), Some(8));
    assert_eq!(life["packets"][7][5], 8, "the frame of the packet that came too late");
    let burnt: Vec<&Value> = life["boxes"][0]["fuses"].as_array().into_iter().flatten().filter(|fuse| fuse[5] == 1).collect();
    assert_eq!((burnt.len(), burnt[0][3].as_f64()), (1, Some(3600.0)));
    assert_eq!(data["tables"][0]["rows"][0]["id"], "tcp.0");
    assert_eq!(data["charts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_worst_flows_come_first_and_only_some_have_lives() {
    let folder = Folder::new("several");
    let text = pages::several(&folder.file("x.html"));
    sound(&text);
    let all = data(&text);
    let verdicts: Vec<&str> =
        all["tables"][0]["rows"].as_array().into_iter().flatten().filter_map(|row| row["cells"][0][0].as_str()).collect();
    let rank = |name: &str| Verdict::from_name(name).map(|verdict| verdict as usize);
    assert!(verdicts.len() > 3 && verdicts.is_sorted_by_key(|name| rank(name)), "{verdicts:?}");
    let few = page(&["replay", HANG, pages::SEVERAL[1], "--box", "ipvs:nat,tcp=900", "--html-lives", "1"], &folder.file("few.html"));
    let few = data(&few);
    let lives = few["details"].as_array().into_iter().flatten().filter(|detail| !detail["life"].is_null()).count();
    assert_eq!(lives, 1);
    let none = page(&["replay", HANG, "--box", FIREWALL, "--html-lives", "0"], &folder.file("none.html"));
    assert!(data(&none)["details"].as_array().is_some_and(|details| details.iter().all(|detail| detail["life"].is_null())));
}

#[test]
fn the_same_input_gives_the_same_bytes_whatever_the_threads() {
    let folder = Folder::new("threads");
    let mut pages = Vec::new();
    for threads in ["1", "4"] {
        let mut args = vec!["replay"];
        args.extend(pages::SEVERAL);
        args.extend(["--box", "ipvs:nat,tcp=900", "--threads", threads]);
        pages.push(page(&args, &folder.file(&format!("{threads}.html"))));
    }
    assert!(pages[0] == pages[1], "the pages differ");
    let runs: Vec<String> = ["1", "4"]
        .iter()
        .map(|threads| page(&["run", "scenarios/ssh-firewall.json", "--threads", threads], &folder.file(&format!("run-{threads}.html"))))
        .collect();
    assert!(runs[0] == runs[1], "the pages differ");
}

#[test]
fn a_page_of_scenarios_has_every_run_with_its_life() {
    let folder = Folder::new("run");
    let text = page(&["run", "scenarios/ssh-firewall.json", "scenarios/laptops-and-vpn.json"], &folder.file("x.html"));
    sound(&text);
    let data = data(&text);
    let details = data["details"].as_array().expect("details");
    let lives = details.iter().filter(|detail| !detail["life"].is_null()).count();
    assert!(lives > 5 && lives < details.len(), "{lives} of {}", details.len());
    let (unlived, why) =
        details.iter().find(|d| d["life"].is_null()).map(|d| (&d["more"][0]["text"], &d["without"])).expect("a population");
    assert!(
        unlived.as_str().is_some_and(|text| text.contains("flows over")) && why.as_str().is_some_and(|text| text.contains("population"))
    );
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let folder = Folder::new("hostile");
    let text = pages::hostile(&folder, &folder.file("run.html"));
    sound(&text);
    harmless(&text);
    let text = pages::hostile_replay(&folder, &folder.file("replay.html"));
    sound(&text);
    harmless(&text);
}

#[test]
fn what_can_be_read_only_once_has_no_lives_and_the_page_says_why() {
    let folder = Folder::new("pipe");
    let file = folder.file("x.html");
    let capture = std::fs::File::open(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(HANG)).expect("the capture is there");
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_flowlapse"))
        .args(["replay", "-", "--box", FIREWALL, "--html"])
        .arg(&file)
        .stdin(capture)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("the program starts");
    assert!(status.success());
    let text = std::fs::read_to_string(&file).expect("the page was written");
    sound(&text);
    assert!(text.contains("There are no lives in this page"), "the page says why");
    assert!(data(&text)["details"][0]["without"].as_str().is_some_and(|why| why.contains("no lives")));
}

#[test]
fn a_sweep_and_a_capacity_have_pages_too() {
    let folder = Folder::new("studies");
    let sweep = page(&["sweep", HANG, "--box", FIREWALL, "--vary", "conntrack.established=600..7200:log9"], &folder.file("sweep.html"));
    sound(&sweep);
    let told = data(&sweep);
    assert_eq!(told["tables"][0]["rows"].as_array().map(Vec::len), Some(9));
    assert_eq!(told["charts"][0]["survival"]["sampled"], true);
    let results: Vec<&str> =
        told["tables"][0]["rows"].as_array().into_iter().flatten().filter_map(|row| row["cells"][0][0].as_str()).collect();
    assert!(results.contains(&"cuts") && results.last() == Some(&"cuts nothing"), "{results:?}");
    let capacity = page(&["capacity", HANG, "--box", FIREWALL, "--scale", "20x", "--max", "8"], &folder.file("capacity.html"));
    sound(&capacity);
    assert_eq!(data(&capacity)["charts"][0]["occupancy"]["limit"], 8);
}

#[test]
fn mistakes_are_one_line() {
    for (args, told) in [
        (&["replay", HANG, "--box", FIREWALL, "--html", "/nowhere/at/all/x.html"][..], "cannot be written"),
        (&["replay", HANG, "--box", FIREWALL, "--html-lives", "3"], "--html"),
    ] {
        let (code, said) = flowlapse(args);
        assert!(code == Some(2) && said.contains(told), "{args:?}: {said}");
    }
}

/// An answer of the gate with a hostile text wherever there is room for one.
fn checked() -> Checked {
    let at = Some(At::new(&Arc::from(HOSTILE), 3));
    let session = Session {
        name: HOSTILE.to_owned(),
        stream: Some("tcp.stream eq 3".to_owned()),
        verdict: Verdict::Cut,
        was: Some(Verdict::Survives),
        change: Change::Worse,
        timer: Some(Timer {
            hop: 1,
            label: HOSTILE.to_owned(),
            state: "ESTABLISHED".to_owned(),
            timer: "established".to_owned(),
            setting: Some("net.netfilter.nf_conntrack_tcp_timeout_established".to_owned()),
            value: Duration::from_secs(3600),
            at: at.clone(),
        }),
        silence: Some((Duration::from_secs(5400), Some((7, 8)))),
        message: HOSTILE.to_owned(),
        felt: vec![HOSTILE.to_owned(), "learns nothing".to_owned()],
        cures: vec![HOSTILE.to_owned()],
        fails: true,
    };
    let boxes = vec![BoxLine {
        label: HOSTILE.to_owned(),
        spec: "aws-nlb".to_owned(),
        settings: vec![("established".to_owned(), HOSTILE.to_owned(), at.clone())],
    }];
    let mut counts = [0; Verdict::ALL.len()];
    counts[Verdict::Cut as usize] = 1;
    let failing = Case {
        file: HOSTILE.to_owned(),
        variant: Some("v".to_owned()),
        kind: Kind::Scenario,
        title: HOSTILE.to_owned(),
        boxes,
        has_expectation: true,
        unmet: vec![Unmet { what: HOSTILE.to_owned(), at: at.clone() }],
        counts,
        sessions: vec![session],
        more: 2,
        fails: true,
        changed: true,
        is_new: false,
        remarks: vec![HOSTILE.to_owned()],
    };
    let passing =
        Case { file: "ok.json".to_owned(), unmet: Vec::new(), sessions: Vec::new(), fails: false, changed: false, ..failing.clone() };
    Checked {
        cases: vec![failing, passing],
        lint: vec![Lint {
            rule: Rule::from_id("keepalive-too-late").unwrap_or(Rule::ALL[0]),
            severity: Severity::Warning,
            policy: HOSTILE.to_owned(),
            message: HOSTILE.to_owned(),
            places: at.clone().into_iter().collect(),
            cures: vec![HOSTILE.to_owned()],
            is_new: true,
            fails: false,
        }],
        failures: vec![Failure { file: HOSTILE.to_owned(), at, what: HOSTILE.to_owned() }],
        baseline: Some(Baseline { file: HOSTILE.to_owned(), gone: vec![HOSTILE.to_owned()] }),
        left_alone: 3,
        not_run: 0,
        fail_on: vec!["cut".to_owned()],
        reproduce: format!("flowlapse check {HOSTILE}"),
    }
}

#[test]
fn the_gate_s_page_tells_what_fails_first() {
    let text = html::check::write(&checked(), &[]).expect("the page is written");
    sound(&text);
    harmless(&text);
    let data = data(&text);
    let ids: Vec<&str> = data["tables"].as_array().into_iter().flatten().filter_map(|table| table["id"].as_str()).collect();
    assert_eq!(ids, ["broken", "cases", "sessions", "lint"]);
    let results: Vec<&str> =
        data["tables"][1]["rows"].as_array().into_iter().flatten().filter_map(|row| row["cells"][0][0].as_str()).collect();
    assert_eq!(results, ["fails", "passes"]);
    assert_eq!(data["tables"][2]["rows"][0]["cells"][2], "new: was survives");
    assert!(html::check::write(&Checked::default(), &[]).is_ok_and(|empty| empty.contains("Nothing was run.")));
}
