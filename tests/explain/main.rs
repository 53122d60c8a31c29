//! `flowlapse explain`: what it tells of recorded flows agrees with what their sockets felt; pairs of captures are matched whatever was
//! translated, cut or shifted between them; and nothing makes it fall over.

mod one;
mod packets;
mod two;

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures/");

fn fixture(name: &str) -> String {
    format!("{CAPTURES}{name}.pcap")
}

/// The two captures of a fixture.
fn sides(name: &str) -> [String; 2] {
    ["client", "server"].map(|side| format!("{name}-{side}-side"))
}

/// Runs the program: exit code, stdout, stderr.
fn flowlapse(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_flowlapse")).args(args).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn told(args: &[&str]) -> String {
    let mut all = vec!["explain"];
    all.extend(args);
    let (code, out, error) = flowlapse(&all);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{args:?}");
    for line in out.lines() {
        assert!(line.chars().count() <= 100 || line.split_whitespace().count() < 3 || line.contains('⇄'), "too wide: {line}");
    }
    // As one line, so that nothing depends on where it was broken.
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn json(args: &[&str]) -> Value {
    let mut all = vec!["explain", "--json"];
    all.extend(args);
    let (code, out, error) = flowlapse(&all);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{args:?}");
    serde_json::from_str(&out).expect("one JSON document")
}

fn refused(args: &[&str], told: &str) {
    let (code, out, error) = flowlapse(args);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {error}");
    assert!(error.starts_with("flowlapse: ") && error.contains(told) && error.lines().count() == 1, "{args:?}: {error}");
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("flowlapse-explain-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Folder(folder)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let file = self.0.join(name);
        std::fs::write(&file, bytes).expect("a file can be written");
        file.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn damaged_captures_are_told_as_far_as_they_go() {
    let folder = Folder::new("damage");
    let [client, server] = sides("ipvs-nat-expired-fin-reset").map(|name| fixture(&name));
    let whole = std::fs::read(&client).expect("the fixture is there");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..48 {
        let mut bytes = whole.clone();
        for _ in 0..=round / 4 {
            let at = 24 + random(bytes.len() - 24);
            bytes[at] = random(256) as u8;
        }
        if round % 3 == 0 {
            bytes.truncate(24 + random(bytes.len() - 24));
        }
        let damaged = folder.write("damaged.pcap", &bytes);
        for args in [
            vec!["explain", &damaged, "--box", "ipvs:nat,tcp=4,tcpfin=2", "--box", "conntrack"],
            vec!["explain", &damaged, &server, "--match"],
            vec!["explain", &server, &damaged, "--match", "--json"],
        ] {
            let (code, _, error) = flowlapse(&args);
            assert!(matches!(code, Some(0 | 2)) && !error.contains("panicked"), "{round}: {args:?}: {error}");
        }
    }
}
