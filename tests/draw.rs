//! Pictures of whole commands: `--draw` writes what was asked for, the numbers are right, and mistakes are one line.

use std::path::PathBuf;
use std::process::Command;

const HANG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures/ssh-hang-firewall-established-3600-client-side.pcap");
const FIREWALL: &str = "conntrack:strict,established=3600";

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("flowlapse-draw-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Runs the program; the exit code and what was said on stderr.
fn flowlapse(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowlapse"));
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().expect("the program starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Draws one picture and returns its bytes as text.
fn drawn(name: &str, args: &[&str], kind: &str, file: &str) -> String {
    let folder = folder(name);
    let file = folder.join(file);
    let draw = format!("{kind}={}", file.display());
    let mut all = args.to_vec();
    all.extend(["--draw", &draw]);
    assert_eq!(flowlapse(&all), (Some(0), String::new()), "{all:?}");
    let bytes = std::fs::read(&file).expect("the picture was written");
    std::fs::remove_dir_all(&folder).expect("the folder is there");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refused(args: &[&str], told: &str) {
    let (code, said) = flowlapse(args);
    assert_eq!(code, Some(2), "{args:?}: {said}");
    assert!(said.starts_with("flowlapse: ") && said.contains(told) && said.lines().count() == 1, "{args:?}: {said}");
}

/// The fields of the rows of one kind.
fn rows<'t>(csv: &'t str, kind: &str) -> Vec<Vec<&'t str>> {
    let of_kind = |line: &&str| line.split(',').next() == Some(kind);
    csv.lines().skip(1).filter(of_kind).map(|line| line.split(',').collect()).collect()
}

#[test]
fn every_form_of_every_picture_is_written_by_one_run() {
    let folder = folder("forms");
    let mut args = vec!["replay".to_owned(), HANG.to_owned(), "--box".to_owned(), FIREWALL.to_owned()];
    let mut files = Vec::new();
    for kind in ["survival", "gaps", "lanes", "lanes:tcp.0", "lanes:0", "lanes:worst"] {
        for ending in ["svg", "csv"].into_iter().chain(cfg!(feature = "png").then_some("png")) {
            let file = folder.join(format!("{}.{ending}", kind.replace([':', '.'], "-")));
            args.extend(["--draw".to_owned(), format!("{kind}={}", file.display())]);
            files.push(file);
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_eq!(flowlapse(&args), (Some(0), String::new()));
    for file in &files {
        let bytes = std::fs::read(file).expect("the picture was written");
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("svg") => {
                let text = String::from_utf8(bytes).expect("an SVG is text");
                roxmltree::Document::parse(&text).expect("an SVG is XML");
            }
            Some("png") => assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", file.display()),
            _ => assert!(bytes.starts_with(b"kind,"), "{}", file.display()),
        }
    }
    std::fs::remove_dir_all(&folder).expect("the folder is there");
}

#[test]
fn lanes_hold_the_flow_its_timers_and_the_cut() {
    let csv =
        drawn("lanes", &["replay", HANG, "--box", FIREWALL], "lanes", "x.csv").replace("\"conntrack:strict,established=3600\"", "box");
    let packets = rows(&csv, "packet");
    assert_eq!(packets.len(), 8, "{csv}");
    let passed: Vec<&str> = packets.iter().map(|row| row[6]).collect();
    assert_eq!(passed, ["yes", "yes", "yes", "yes", "yes", "yes", "yes", "no"]);
    assert_eq!((packets[7][4], packets[7][7]), ("data", "box"));
    assert_eq!(rows(&csv, "timer").len(), 6, "{csv}");
    let burnt = rows(&csv, "burnt timer");
    assert_eq!((burnt.len(), burnt[0][1], burnt[0][2], burnt[0][4], burnt[0][5]), (1, "1.484891", "3601.484891", "ESTABLISHED", "3600"));
    assert!(csv.contains("forgotten by conntrack at 1h1s, 3600 s after frame 7"), "{csv}");
    assert!(csv.contains("cut,5399.992298,,,frame 8 dropped as NEW without SYN"), "{csv}");
}

#[test]
fn gaps_count_every_silence_whatever_the_threads() {
    let one = drawn("gaps-1", &["replay", HANG, "--box", FIREWALL, "--threads", "1"], "gaps", "x.csv");
    let four = drawn("gaps-4", &["replay", HANG, "--box", FIREWALL, "--threads", "4"], "gaps", "x.csv");
    assert_eq!(one, four);
    let bins = rows(&one, "bin");
    let count: u64 = bins.iter().map(|row| row[3].parse::<u64>().expect("a count")).sum();
    assert_eq!(count, 19, "{one}");
    // The one before the cut: 5398.507 s.
    assert_eq!(bins.last().map(|row| (row[1], row[2], row[3], row[4])), Some(("5000", "5600", "1", "0")));
    assert_eq!(rows(&one, "in force")[0][1], "3600");
}

#[test]
fn a_survival_picture_is_that_of_the_short_form() {
    let long = drawn("survival", &["replay", HANG, "--box", FIREWALL], "survival", "x.svg");
    let folder = folder("short");
    let file = folder.join("x.svg");
    let name = file.display().to_string();
    assert_eq!(flowlapse(&["replay", HANG, "--box", FIREWALL, "--svg", &name]), (Some(0), String::new()));
    assert_eq!(std::fs::read_to_string(&file).expect("the picture was written"), long);
    std::fs::remove_dir_all(&folder).expect("the folder is there");
}

#[test]
fn a_scenario_is_drawn_with_a_file_for_each_variant() {
    let csv = drawn("run", &["run", "scenarios/ssh-firewall.json", "--base-only"], "lanes", "x.csv");
    let packets = rows(&csv, "packet");
    let lost = |who: &str| packets.iter().filter(|row| row[3] == who && row[6] == "no").count();
    // The client's data, its loss probe and fifteen repetitions; nine probes of the server and its reset.
    assert_eq!((lost("client"), lost("server")), (17, 10), "{csv}");
    assert!(csv.contains("the box forgets the flow at 1h1s, 3600 s after the last packet that counted"), "{csv}");
    assert!(csv.contains("event,") && csv.contains("client: ETIMEDOUT"), "{csv}");

    let folder = folder("variants");
    let draw = format!("lanes={}", folder.join("x.svg").display());
    assert_eq!(flowlapse(&["run", "scenarios/ssh-firewall.json", "--draw", &draw]), (Some(0), String::new()));
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).expect("the folder is there").filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    assert!(names.len() > 1 && names.contains(&"x.svg".to_owned()) && names.iter().any(|name| name.starts_with("x-")), "{names:?}");
    std::fs::remove_dir_all(&folder).expect("the folder is there");
}

#[test]
fn a_map_goes_where_it_is_drawn() {
    let map = [
        "run",
        "scenarios/ssh-ipvs-nat.json",
        "--base-only",
        "--map",
        "server.keepalive.time=600..7200:3",
        "client.user_timeout=60..900:3",
    ];
    let csv = drawn("map", &map, "map", "x.csv");
    assert_eq!(csv.lines().count(), 10, "{csv}");
}

#[test]
fn mistakes_are_told_before_anything_is_read() {
    let replay = |draw: &'static str| ["replay", HANG, "--box", FIREWALL, "--draw", draw];
    refused(
        &replay("survial=x.svg"),
        "there is no picture 'survial' (did you mean survival?); this command draws survival, gaps or lanes:STREAM",
    );
    refused(&replay("gaps=x.jpg"), "ends in .svg, .png or .csv");
    refused(&replay("gaps"), "expected KIND=FILE");
    refused(&replay("lanes:sctp.1=x.svg"), "expected a stream as tcp.3, udp.0 or 3, or worst");
    refused(&replay("lanes:tcp.7=x.svg"), "no stream tcp.7; there is one, tcp.0");
    refused(&replay("lanes:udp.0=x.svg"), "no stream udp.0; there is none");
    refused(&["replay", "-", "--box", FIREWALL, "--draw", "lanes=x.svg"], "standard input can be read only once");
    refused(&["run", "scenarios/ssh-firewall.json", "--draw", "map=x.svg"], "give --map with it");
    refused(&["run", "scenarios/laptops-and-vpn.json", "--base-only", "--draw", "lanes=x.svg"], "a population is not drawn");
}
