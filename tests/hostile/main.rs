//! Whole commands over inputs in which every free text carries what could steer a terminal, a reader's eye or a parser: nothing of it
//! comes out as it was.

#![cfg(unix)]

mod inputs;

use inputs::{Inputs, NASTY};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What reports and the help colour with, between `ESC [` and `m`.
const COLOURS: [&str; 9] = ["0", "1", "4", "31", "31;1", "32", "33", "35", "36"];

/// Whether a character is not to be seen but does something, written down apart from the program's own list.
fn steers(c: char) -> bool {
    matches!(c as u32, 0..=0x1f | 0x7f..=0x9f | 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff)
}

/// The text without the program's own colours, where it may have some.
fn plain(text: &str, coloured: bool) -> String {
    if !coloured {
        return text.to_owned();
    }
    COLOURS.iter().fold(text.to_owned(), |text, colour| text.replace(&format!("\u{1b}[{colour}m"), ""))
}

/// Says where bytes hold what steers; ends of lines apart.
fn harmful(bytes: &[u8], coloured: bool) -> Option<String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Some("it is no UTF-8".to_owned()) };
    // Lines to paste are indented by tabs, at their beginnings alone.
    let text = plain(text, coloured).replace("\r\n", "\n");
    let text: String = text.split_inclusive('\n').map(|line| line.trim_start_matches([' ', '\t'])).collect();
    let at = text.char_indices().find(|(_, c)| *c != '\n' && steers(*c))?;
    let from = text.char_indices().map(|(at, _)| at).find(|start| *start + 60 >= at.0).unwrap_or(0);
    Some(format!("{:?} in …{:?}", at.1, text[from..].chars().take(120).collect::<String>()))
}

struct Ran {
    out: Vec<u8>,
    err: Vec<u8>,
}

fn flowlapse(folder: &Path, args: &[OsString]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowlapse"));
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM", "CI"] {
        command.env_remove(variable);
    }
    let output = command.current_dir(folder).args(args).stdin(Stdio::null()).output().expect("the program starts");
    assert!(output.status.code().is_some_and(|code| code < 100), "{args:?}: {:?}", output.status);
    Ran { out: output.stdout, err: output.stderr }
}

/// Checks what a command prints, without and with colours.
fn check(folder: &Path, args: &[OsString], min: usize) {
    for colour in ["never", "always"] {
        let mut all = args.to_vec();
        // Before what may end the options.
        all.insert(0, OsString::from(format!("--color={colour}")));
        let Ran { out, err } = flowlapse(folder, &all);
        for (what, bytes) in [("standard output", &out), ("standard error", &err)] {
            if let Some(found) = harmful(bytes, colour == "always") {
                panic!("{all:?}, {what}: {found}");
            }
            let text = String::from_utf8_lossy(bytes);
            // A colour that the input brought would colour what it brought.
            for colour in COLOURS {
                assert!(!text.contains(&format!("\u{1b}[{colour}mforged")), "{all:?}, {what}: a colour of the input's own");
            }
        }
        assert!(out.len() + err.len() >= min, "{all:?} says too little: {}", String::from_utf8_lossy(&err));
    }
}

/// Words of a command line, of which `NASTY` stands for what every free text carries.
fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(|word| OsString::from(word.replace("NASTY", NASTY))).collect()
}

#[test]
fn the_harness_sees_what_it_looks_for() {
    for bad in ["\u{1b}]0;x\u{7}", "\u{9b}31m", "a\rb", "\u{8}", "\u{202e}", "\u{200b}", "\u{1b}[8m", "a\tb"] {
        assert!(harmful(bad.as_bytes(), true).is_some(), "{bad:?}");
    }
    assert!(harmful(b"\x1b[31;1mcut\x1b[0m\r\n", true).is_none() && harmful(b"\x1b[31;1mcut\x1b[0m", false).is_some());
    assert!(NASTY.chars().filter(|c| steers(*c)).count() > 8);
}

#[test]
fn reports_of_captures_and_scenarios() {
    let inputs = Inputs::new("reports");
    let Inputs { folder, capture, story, crowd, policy, .. } = &inputs;
    let boxes = format!("@{policy}");
    let with = |words: &[&str]| words.iter().map(|word| OsString::from(*word)).collect::<Vec<_>>();
    for args in [
        with(&["replay", capture, "--box", &boxes]),
        with(&["replay", capture, "--box", &boxes, "--json"]),
        with(&["replay", capture, "--box", &boxes, "--ndjson"]),
        with(&["explain", capture, "--box", &boxes]),
        with(&["explain", capture, "--box", &boxes, "--json"]),
        with(&["explain", capture, &inputs.far, "--match"]),
        with(&["explain", capture, &inputs.far, "--match", "--json"]),
        with(&["infer", capture, &inputs.far]),
        with(&["infer", capture, "--json"]),
        with(&["sweep", capture, "--box", &boxes, "--vary", "1.established=60,7200"]),
        with(&["sweep", capture, "--box", &boxes, "--vary", "1.established=60,7200", "--csv"]),
        with(&["sweep", capture, "--box", &boxes, "--vary", "1.established=60,7200", "--json"]),
        with(&["sweep", crowd, "--vary", "1.established=60,7200", "--beyond"]),
        with(&["sweep", crowd, "--vary", "1.established=60,7200", "--beyond", "--csv"]),
        with(&["sweep", crowd, "--vary", "1.established=60,7200", "--beyond", "--json"]),
        with(&["tune", capture, "--box", &boxes]),
        with(&["tune", capture, "--box", &boxes, "--json"]),
        with(&["diff", policy, "conntrack:strict", capture]),
        with(&["diff", policy, "conntrack:strict", capture, "--json"]),
        with(&["capacity", capture, "--box", &boxes]),
        with(&["capacity", capture, "--box", &boxes, "--json"]),
        with(&["run", story]),
        with(&["run", story, "--timeline"]),
        with(&["run", story, "--json"]),
        with(&["run", crowd]),
        with(&["run", crowd, "--json"]),
        with(&["run", story, "--map", "client.keepalive.time=60..7200:3", "server.keepalive.time=60..7200:3"]),
        with(&["shrink", capture, "--box", &boxes, "-o", &Inputs::out("small.pcapng")]),
        with(&["shrink", capture, "--box", &boxes, "-o", &Inputs::out("small2.pcapng"), "--json"]),
        with(&["synth", crowd, "-o", &Inputs::out("synth.pcap")]),
        with(&["synth", crowd, "-o", &Inputs::out("synth2.pcap"), "--json"]),
        with(&["conform", &inputs.recordings]),
        with(&["conform", &inputs.recordings, "--details", "--json"]),
        with(&["conform", &inputs.recording]),
    ] {
        check(folder, &args, 30);
    }
}

#[test]
fn the_audit_and_its_metrics() {
    let inputs = Inputs::new("audit");
    let with = |words: &[&str]| words.iter().map(|word| OsString::from(*word)).collect::<Vec<_>>();
    for rest in [&[][..], &["--json"], &["--prometheus", "-"]] {
        let args =
            with(&[&["audit", &inputs.machine, "--client", &inputs.machine, "--box", &format!("@{}", inputs.policy)][..], rest].concat());
        check(&inputs.folder, &args, 200);
    }
    let metrics = flowlapse(&inputs.folder, &with(&["audit", &inputs.machine, "--prometheus", "-"])).out;
    for line in String::from_utf8(metrics).expect("text").lines().filter(|line| line.contains('{')) {
        let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once("} ")).expect("labels").0;
        let quotes = labels.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert!(quotes % 2 == 0, "{line}");
    }
}

#[test]
fn every_document_of_the_gate() {
    let inputs = Inputs::new("check");
    let with = |words: &[&str]| words.iter().map(|word| OsString::from(*word)).collect::<Vec<_>>();
    for rest in
        [&[][..], &["--all"], &["--github"], &["--json", "-"], &["--sarif", "-"], &["--junit", "-"], &["--markdown", "-"], &["--html", "-"]]
    {
        for extra in [&[][..], &["--lint", "all", "--baseline", &inputs.baseline]] {
            let args = with(&[&["check", "."][..], rest, extra].concat());
            check(&inputs.folder, &args, 100);
        }
    }
    let document = |option: &str| String::from_utf8(flowlapse(&inputs.folder, &with(&["check", ".", option, "-"])).out).expect("text");
    assert!(roxmltree::Document::parse(&document("--junit")).is_ok(), "well-formed XML");
    for option in ["--json", "--sarif"] {
        assert!(serde_json::from_str::<Value>(&document(option)).is_ok(), "{option}");
    }
    for option in ["--html", "--markdown"] {
        let text = document(option);
        assert!(!text.contains("<img src=x") && !text.contains("</script><"), "{option}: markup of the input's own");
    }
    let lines = String::from_utf8(flowlapse(&inputs.folder, &with(&["check", ".", "--github", "--quiet"])).out).expect("text");
    let commands: Vec<&str> = lines.lines().filter(|line| line.starts_with("::")).collect();
    assert!(!commands.is_empty() && commands.iter().all(|line| line.contains("title=flowlapse")), "{commands:?}");
}

#[test]
fn pictures_pages_and_numbers() {
    let inputs = Inputs::new("pictures");
    let Inputs { folder, capture, story, policy, .. } = &inputs;
    let boxes = format!("@{policy}");
    let with = |words: &[&str]| words.iter().map(|word| OsString::from(*word)).collect::<Vec<_>>();
    let [svg, csv, html] = ["x.svg", "x.csv", "x.html"].map(Inputs::out);
    let draw = |kind: &str, file: &str| format!("{kind}={file}");
    for args in [
        with(&["replay", capture, "--box", &boxes, "--draw", &draw("survival", &svg), "--draw", &draw("gaps", &csv), "--html", &html]),
        with(&["replay", capture, "--box", &boxes, "--draw", &draw("lanes:worst", &svg), "--draw", &draw("lanes:worst", &csv)]),
        with(&["explain", capture, "--box", &boxes, "--draw", &draw("lanes", &svg)]),
        with(&["run", story, "--base-only", "--draw", &draw("lanes", &svg), "--draw", &draw("lanes", &csv), "--html", &html]),
        with(&["capacity", capture, "--box", &boxes, "--draw", &draw("occupancy", &svg), "--html", &html]),
        with(&["sweep", capture, "--box", &boxes, "--vary", "1.established=60,7200", "--draw", &draw("entries", &csv), "--html", &html]),
    ] {
        check(folder, &args, 30);
        for entry in fs::read_dir(folder.join("out")).expect("there").filter_map(Result::ok) {
            let bytes = fs::read(entry.path()).expect("there");
            let name = entry.file_name().to_string_lossy().into_owned();
            let ending = name.rsplit('.').next().unwrap_or_default();
            if ending.starts_with("pcap") {
                continue;
            }
            assert_eq!(harmful(&bytes, false), None, "{args:?}: {name}");
            let text = String::from_utf8(bytes).expect("text");
            assert!(!text.contains("<img src=x"), "{args:?}: {name} has markup of the input's own");
            if ending == "svg" {
                assert!(roxmltree::Document::parse(&text).is_ok(), "{args:?}: {name}");
            }
            if ending == "csv" {
                for cell in text.lines().flat_map(|line| line.split(',')) {
                    let calculates = cell.trim_matches('"').trim().starts_with(['=', '+', '@']);
                    assert!(!calculates, "{args:?}: {name}: {cell}");
                }
            }
            fs::remove_file(entry.path()).expect("it can be removed");
        }
    }
}

#[test]
fn mistakes_that_quote_what_was_given() {
    let inputs = Inputs::new("mistakes");
    for line in [
        "replay NASTY --box conntrack",
        "replay x --box NASTY",
        "replay x --box conntrack:NASTY=1",
        "replay x --box conntrack:established=NASTY",
        "replay x --box conntrack --filter NASTY",
        "replay x --box conntrack --fail-on NASTY",
        "replay x --box conntrack --draw NASTY",
        "replay x --box conntrack --draw survival=NASTY",
        "replay x --box conntrack --hz NASTY",
        "replay x --box conntrack --jiffies NASTY",
        "replay x --box conntrack --NASTY",
        "replay x --box conntrack --clock NASTY",
        "NASTY",
        "--NASTY",
        "explain x --box conntrack --flow NASTY",
        "run NASTY",
        "run STORY --set NASTY",
        "run STORY --set client.NASTY=1",
        "run STORY --variant NASTY",
        "run STORY --map NASTY NASTY",
        "sweep x --box conntrack --vary NASTY",
        "sweep x --box conntrack --vary conntrack.established=NASTY",
        "tune x --box conntrack --allow-cut NASTY",
        "diff NASTY NASTY x",
        "infer NASTY",
        "capacity x --box conntrack --scale NASTY",
        "capacity x --box conntrack --flood NASTY",
        "capacity x --box conntrack --memory NASTY",
        "shrink x --box conntrack -o /NASTY/x",
        "audit NASTY",
        "audit --sysctl NASTY=1",
        "audit --kernel NASTY --box conntrack",
        "audit --keepalive NASTY --box conntrack",
        "audit --fail-on NASTY --box conntrack",
        "check NASTY",
        "check . --fail-on NASTY",
        "check . --policy NASTY",
        "check . --baseline NASTY",
        "synth STORY -o /NASTY/x --v6=NASTY",
        "synth STORY -o /NASTY/x",
        "presets NASTY",
        "conform NASTY",
        "conform x --dialect NASTY",
        "completions NASTY",
        "man NASTY",
        "man --out /dev/null/NASTY",
    ] {
        check(&inputs.folder, &words(&line.replace("STORY", &inputs.story)), 20);
    }
    // Files that say something wrong, in words of their own.
    for (name, text) in Inputs::wrong() {
        let path = inputs.folder.join("wrong").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(&path, text).expect("it can be written");
        let path = path.to_str().expect("text");
        for args in [
            vec!["run", path],
            vec!["replay", inputs.capture.as_str(), "--box", &format!("@{path}")],
            vec!["check", path],
            vec!["check", path, "--json", "-"],
            vec!["audit", path],
            vec!["conform", path],
            vec!["check", ".", "--baseline", path],
        ] {
            check(&inputs.folder, &args.iter().map(|word| OsString::from(*word)).collect::<Vec<_>>(), 20);
        }
    }
}

#[test]
fn names_of_files_that_are_no_text() {
    let inputs = Inputs::new("names");
    let odd = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let names = [odd(b"a\xff\x9b31mforged.pcap"), odd(b"\xe2\x80\xae\xff\x1b]0;x\x07.pcap"), odd(b"two\nlines\r\x1b[31mforged.pcap")];
    for name in &names {
        fs::copy(inputs.folder.join(&inputs.capture), inputs.folder.join(name)).expect("copied");
        let boxed = |command: &str| [OsString::from(command), name.clone(), "--box".into(), "conntrack:strict".into()].to_vec();
        let mut all =
            vec![boxed("replay"), boxed("explain"), boxed("tune"), boxed("capacity"), [OsString::from("infer"), name.clone()].to_vec()];
        all.push([boxed("replay"), vec!["--json".into()]].concat());
        all.push([boxed("replay"), vec!["--html".into(), "-/".into()]].concat());
        all.push(["check".into(), name.clone(), "--policy".into(), "conntrack:strict".into(), "--json".into(), "-".into()].to_vec());
        all.push(["run".into(), name.clone()].to_vec());
        all.push(["audit".into(), name.clone()].to_vec());
        all.push(["conform".into(), name.clone()].to_vec());
        for args in all {
            check(&inputs.folder, &args, 20);
        }
    }
}
