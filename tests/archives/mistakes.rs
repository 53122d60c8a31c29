//! Mistakes in one line, and what cannot be read.

use crate::{folder, piped, ran, told};
use flowlapse::archive::{intake::Intake, ledger::Archive, part, store};
use flowlapse::engine::gathered::Segments;
use flowlapse::engine::replay::FlowRun;
use flowlapse::rng::Rng;
use std::fs;
use std::path::Path;

use crate::process::{SSH, STRICT};

fn mistake(args: &[&str], input: &[u8], says: &str) {
    let (code, out, err) = piped(args, input);
    assert_eq!((code, out.len(), err.lines().count()), (2, 0, 1), "{args:?}: {err}");
    assert!(err.contains(says), "{args:?}: {err}");
}

#[test]
fn mistakes_are_told_in_one_line() {
    let folder = folder("mistakes");
    let here = |name: &str| folder.join(name).display().to_string();
    mistake(&["segments", "nowhere.pcap", "-o", &here("columns")], &[], "nowhere.pcap: no such file");
    mistake(&["segments", SSH, SSH, "-o", "-"], &[], "a stream has the rows of one capture");
    mistake(&["segments", SSH, "--file-index", "65535", "-o", "-"], &[], "at most 65535 captures");
    mistake(&["replay", SSH, "--segments", "--box", STRICT], &[], "neither Parquet nor Arrow IPC");
    mistake(&["replay", "-", "--segments", "--box", STRICT], b"hello", "no Arrow IPC stream");
    mistake(&["replay", "-", "--segments", "--box", STRICT], &[], "no Arrow IPC stream");
    told(&["segments", SSH, "-o", &here("columns")]);
    mistake(&["replay", &here("columns"), "--segments", "--box", STRICT, "--html", &here("x.html")], &[], "the page is made from captures");
    mistake(&["replay", &here("columns"), "--segments", "--box", STRICT, "--archive", &here("none.json")], &[], "none.json: no such file");
    mistake(&["merge", &here("columns")], &[], "no archive.json");
    fs::write(folder.join("archive.json"), told(&["merge", "--ledgers", &here("columns")])).expect("it can be written");
    mistake(&["merge", &here("columns"), "--archive", &here("archive.json")], &[], "there is no column 'run'");
    let part = |name: &str, policy: &str| {
        told(&["replay", &here("columns"), "--segments", "--box", policy, "--part", &here(name)]);
        here(name)
    };
    let (one, other) = (part("one.parquet", STRICT), part("other.parquet", "aws-nlb"));
    mistake(&["merge", &one, &other, "--archive", &here("archive.json")], &[], "the parts answer different questions");
    let mut bytes = fs::read(&one).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    fs::write(&one, bytes).expect("it can be written");
    mistake(&["merge", &one, "--archive", &here("archive.json")], &[], "one.parquet");
}

#[test]
fn rows_in_a_wrong_order_are_not_believed() {
    // Of two captures, one after the other: sorted neither by time nor by flow.
    let folder = folder("unsorted");
    let (_, one, _) = piped(&["segments", SSH, "--slices", "-o", "-"], &[]);
    let (code, _, err) = piped(&["replay", "-", "--segments", "--box", STRICT, "--quiet"], &one[..one.len() / 2]);
    assert_eq!((code, err.lines().count()), (2, 1), "{err}");
    // A stream that is whole is judged, with the facts that it brings.
    let whole = told(&["replay", SSH, "--ndjson", "--box", STRICT]);
    let (code, out, err) = piped(&["replay", "-", "--segments", "--ndjson", "--box", STRICT], &one);
    assert_eq!((code, String::from_utf8_lossy(&out).as_ref()), (0, whole.as_str()), "{err}");
    drop(folder);
}

#[test]
fn what_cannot_be_opened_or_is_damaged_is_told_and_the_rest_is_judged() {
    let folder = folder("damaged");
    let here = |name: &str| folder.join(name).display().to_string();
    let bytes = fs::read(SSH).expect("a fixture");
    fs::write(folder.join("cut.pcap"), &bytes[..bytes.len() - 5]).expect("it can be written");
    fs::write(folder.join("text.pcap"), "no capture at all\n").expect("it can be written");
    let mut ledgers = String::new();
    for (index, name) in ["cut.pcap", "text.pcap"].iter().enumerate() {
        let columns = here(&format!("columns-{index}"));
        let index = index.to_string();
        let ran = ran(&["segments", &here(name), "--file-index", &index, "--keep-going", "-o", &columns]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ledgers.push_str(&ran.err);
    }
    assert!(ledgers.contains("cut.pcap: damaged after frame") && ledgers.contains("text.pcap: is text, not a capture"), "{ledgers}");
    let report = told(&["replay", &here("columns-0"), &here("columns-1"), "--segments", "--json", "--box", STRICT]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("a document");
    let what = |at: usize| report["damage"][at]["what"].as_str().unwrap_or_default().to_owned();
    assert!(what(0).starts_with("cut short") && what(1).starts_with("is text, not a capture"), "{report}");
    assert_eq!((report["damage"][1]["after_frame"].as_u64(), report["complete"].as_bool()), (Some(0), Some(false)));
    let strict = ran(&["replay", &here("columns-0"), "--segments", "--box", STRICT, "--strict"]);
    assert_eq!(strict.code, 3);
}

/// Some bytes of a file changed, left out or put in.
fn changed(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..*rng.pick(&[1, 1, 2, 5, 20]) {
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(10) {
            0 => bytes.truncate(at + 1),
            1 => {
                bytes.splice(at..at, [rng.number() as u8; 3]);
            }
            _ => bytes[at] = *rng.pick(&[0, 1, 0x80, 0xff, rng.clone().number() as u8]),
        }
    }
    bytes
}

/// Everything that a file holds is read, as segments or as flows; says whether all of it could be.
fn read_all(path: &Path, archive: &Archive, is_part: bool) -> Result<(), String> {
    let rows = store::open(path)?;
    if is_part {
        for batch in rows.batches {
            part::read::<FlowRun>(&batch?)?;
        }
        return Ok(());
    }
    let slices = rows.schema.column_with_name("slice").is_some();
    let (mut intake, mut given) = (Intake::stream(slices, rows.batches, Some(archive))?, Vec::new());
    while intake.next(&mut given) {
        given.clear();
    }
    intake.error().map_or(Ok(()), |error| Err(error.clone()))
}

#[test]
fn rows_that_were_changed_are_told_or_read_and_nothing_panics() {
    let folder = folder("changed");
    let here = |name: &str| folder.join(name).display().to_string();
    told(&["segments", SSH, "-o", &here("columns")]);
    let columns = fs::read_dir(folder.join("columns")).expect("a folder").next().expect("a file").expect("a file").path();
    let archive = Archive::parse(&told(&["merge", "--ledgers", &here("columns")])).expect("an archive");
    told(&["replay", &here("columns"), "--segments", "--box", STRICT, "--part", &here("part.parquet")]);
    let stream = |args: &[&str]| piped(args, &[]).1;
    let kinds = [
        (fs::read(columns).expect("a file"), false),
        (stream(&["segments", SSH, "-o", "-"]), false),
        (stream(&["segments", SSH, "--slices", "-o", "-"]), false),
        (fs::read(folder.join("part.parquet")).expect("a file"), true),
        (stream(&["replay", &here("columns"), "--segments", "--box", STRICT, "--part", "-"]), true),
    ];
    let mut rng = Rng::new(5);
    let file = folder.join("changed");
    for (bytes, is_part) in &kinds {
        fs::write(&file, bytes).expect("it can be written");
        assert_eq!(read_all(&file, &archive, *is_part), Ok(()));
        let mut told = 0;
        for _ in 0..600 {
            fs::write(&file, changed(bytes, &mut rng)).expect("it can be written");
            told += u32::from(read_all(&file, &archive, *is_part).is_err());
        }
        assert!(told > 200, "{told}");
    }
}
