//! Pictures, as somebody gets them who asks for one on the command line.

use std::process::Command;

/// Runs a replay of a fixture with a picture and returns the exit code, what was said on stderr, and the picture.
fn picture(name: &str, boxes: &[&str]) -> (Option<i32>, String, String) {
    let file = std::env::temp_dir().join(format!("flowlapse-plot-{}-{name}.svg", std::process::id()));
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures/ssh-survives-ipvs-nat-keepalive-600-client-side.pcap");
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowlapse"));
    command.args(["replay", capture]).args(boxes.iter().flat_map(|b| ["--box", b])).arg("--svg").arg(&file);
    let output = command.output().expect("the program starts");
    let svg = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), svg)
}

#[test]
fn a_picture_shows_the_curve_and_every_timer_in_force() {
    let (code, said, svg) = picture("timers", &["ipvs:nat,tcp=900", "aws-nlb"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(svg.starts_with("<svg"), "{svg}");
    for label in ["ipvs:nat,tcp=900: 15m", "aws-nlb: 5m50s", "flows kept, %"] {
        assert!(svg.contains(label), "no '{label}' in the picture");
    }
    assert!(svg.matches("<polyline").count() >= 3, "a curve and two timers");
}

#[test]
fn a_picture_that_cannot_be_written_is_one_clear_line() {
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures/ssh-survives-ipvs-nat-keepalive-600-client-side.pcap");
    let missing = std::env::temp_dir().join("flowlapse-no-such-folder").join("x.svg");
    let output = Command::new(env!("CARGO_BIN_EXE_flowlapse"))
        .args(["replay", capture, "--box", "ipvs", "--svg"])
        .arg(&missing)
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.starts_with("flowlapse: ") && said.contains("cannot be written") && said.lines().count() == 1, "{said}");
}
