//! The same answers from parts as from one machine.

use crate::cut::{How, cut};
use crate::{folder, piped, told};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BOXES: [&str; 4] = ["--box", "conntrack:strict,established=600", "--box", "ipvs:nat,tcp=900"];

/// A capture of a population with whatever else: 200 flows, some of them quiet for long.
fn capture() -> Vec<u8> {
    let (code, bytes, err) = piped(&["synth", "benches/big.json", "--flows", "200", "--format", "pcap", "-o", "-"], &[]);
    assert_eq!(code, 0, "{err}");
    bytes
}

/// The rows of slices: hash, order, bytes.
type Row = (i64, i64, Vec<u8>);

/// The slices and the ledger of a capture.
fn slices(file: usize, name: &Path) -> (Vec<Row>, String) {
    let (index, name) = (file.to_string(), name.display().to_string());
    let (code, bytes, err) = piped(&["segments", &name, "--slices", "--file-index", &index, "--keep-going", "-o", "-"], &[]);
    assert_eq!(code, 0, "{err}");
    let (mut rows, mut ledger) = (Vec::new(), String::new());
    for batch in StreamReader::try_new(&bytes[..], None).expect("a stream") {
        let batch = batch.expect("a batch");
        let long = |name: &str| batch.column_by_name(name).expect("a column").as_primitive::<Int64Type>().clone();
        let (hashes, orders) = (long("flow_hash"), long("order_ns"));
        let slices = batch.column_by_name("slice").expect("a column").as_binary::<i32>();
        let lines = batch.column_by_name("ledger").expect("a column").as_string::<i32>();
        for row in 0..batch.num_rows() {
            if lines.is_null(row) {
                rows.push((hashes.value(row), orders.value(row), slices.value(row).to_vec()));
            } else {
                lines.value(row).clone_into(&mut ledger);
            }
        }
    }
    (rows, ledger)
}

/// Rows as a stream, a few in each batch.
fn stream(rows: &[Row]) -> Vec<u8> {
    let field = |name: &str, of| Field::new(name, of, false);
    let schema = Arc::new(Schema::new(vec![
        field("slice", DataType::Binary),
        field("flow_hash", DataType::Int64),
        field("order_ns", DataType::Int64),
    ]));
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema).expect("a stream");
    for rows in rows.chunks(7) {
        let slices = BinaryArray::from_iter_values(rows.iter().map(|row| &row.2));
        let hashes = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let orders = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(slices), Arc::new(hashes), Arc::new(orders)]);
        writer.write(&batch.expect("a batch")).expect("it can be written");
    }
    writer.finish().expect("it can be written");
    drop(writer);
    bytes
}

/// An archive that lies ready: its captures, its parts' rows, and what is known of it.
struct Ready {
    names: Vec<String>,
    archive: String,
    parts: Vec<Vec<Row>>,
    folder: PathBuf,
    segments: usize,
}

const PARTS: usize = 7;

fn ready(test: &str, how: How) -> Ready {
    let folder = folder(test);
    let names = cut(&capture(), &folder, how);
    let mut parts: Vec<Vec<Row>> = vec![Vec::new(); PARTS];
    let (mut ledgers, mut bytes, mut segments) = (String::new(), 0, 0);
    for (file, name) in names.iter().enumerate() {
        let (rows, ledger) = slices(file, name);
        let said: serde_json::Value = serde_json::from_str(&ledger).expect("a ledger");
        segments += said["segments"].as_u64().expect("a number") as usize;
        ledgers = format!("{ledger}\n{ledgers}");
        for row in rows {
            bytes += 24 + row.2.len();
            parts[row.0.rem_euclid(PARTS as i64) as usize].push(row);
        }
    }
    assert!(bytes < 64 * segments, "{bytes} bytes for {segments} segments");
    for rows in &mut parts {
        rows.sort_by_key(|row| (row.0, row.1));
    }
    let lines = folder.join("ledgers.ndjson").display().to_string();
    fs::write(&lines, ledgers).expect("it can be written");
    let archive = folder.join("archive.json").display().to_string();
    fs::write(&archive, told(&["merge", "--ledgers", &lines])).expect("it can be written");
    let names = names.iter().map(|name| name.display().to_string()).collect();
    Ready { names, archive, parts, folder, segments }
}

impl Ready {
    /// Has each part followed by a command, and gives the files that came of it.
    fn followed(&self, command: &[&str]) -> Vec<String> {
        let one = |(number, rows): (usize, &Vec<Row>)| {
            // One way and the other.
            let file = self.folder.join(format!("{}-{number}", command[0]));
            let (name, to) =
                if number.is_multiple_of(2) { ("parquet", file.display().to_string() + ".parquet") } else { ("arrow", "-".to_owned()) };
            let args = [command, &["-", "--segments", "--archive", &self.archive, "--part", &to]].concat();
            let (code, bytes, err) = piped(&args, &stream(rows));
            assert_eq!(code, 0, "{err}");
            if name == "arrow" {
                fs::write(file.with_extension("arrow"), bytes).expect("it can be written");
            }
            file.with_extension(name).display().to_string()
        };
        self.parts.iter().enumerate().map(one).collect()
    }

    fn merged(&self, command: &[&str], more: &[&str]) -> String {
        let parts = self.followed(command);
        let parts: Vec<&str> = parts.iter().map(String::as_str).rev().collect();
        told(&[&["merge", "--archive", &self.archive], &parts[..], more].concat())
    }

    fn one_machine(&self, command: &[&str], more: &[&str]) -> String {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        told(&[&command[..1], &names[..], &command[1..], more].concat())
    }
}

const PLAIN: How = How { files: 500, points: 1, steps: 0, seed: 1 };

#[test]
fn five_hundred_rotated_captures_are_judged_like_one() {
    let archive = ready("rotated", PLAIN);
    let replay = [&["replay"], &BOXES[..]].concat();
    let (parts, whole) = (archive.merged(&replay, &["--ndjson"]), archive.one_machine(&replay, &["--ndjson"]));
    assert!(whole.contains("\"verdict\":\"cut\"") && whole.lines().count() > 200 && archive.segments > 3000);
    assert_eq!(parts, whole);
    for more in [&["--json", "--summary"][..], &["--limit", "7"]] {
        assert_eq!(archive.merged(&replay, more), archive.one_machine(&replay, more));
    }
}

#[test]
fn several_capture_points_and_clocks_that_go_back_make_no_difference() {
    let archive = ready("points", How { files: 60, points: 3, steps: 4, seed: 7 });
    let replay = [&["replay"], &BOXES[..]].concat();
    let whole = archive.one_machine(&replay, &["--ndjson"]);
    assert!(whole.contains("clock-backwards"), "the clocks go back inside flows");
    assert_eq!(archive.merged(&replay, &["--ndjson"]), whole);
}

#[test]
fn many_boxes_and_a_clock_with_ticks_make_no_difference() {
    let archive = ready("boxes", How { files: 40, points: 2, steps: 1, seed: 11 });
    let boxes = ["--box", "openwrt", "--box", "conntrack:masquerade,established=900", "--box", "ipvs:dr,tcp=1200", "--box", "aws-nlb"];
    for clock in [&[][..], &["--clock", "wheel", "--hz", "100"], &["--clock", "wheel", "--jiffies", "4294892296@1700000000.25"]] {
        let replay = [&["replay"], &boxes[..], clock].concat();
        assert_eq!(archive.merged(&replay, &["--ndjson"]), archive.one_machine(&replay, &["--ndjson"]));
    }
}

#[test]
fn sweeps_and_capacities_come_out_the_same() {
    let archive = ready("studies", How { files: 40, ..PLAIN });
    let sweep = [&["sweep"], &BOXES[..2], &["--vary", "conntrack.established=60..7200:log12", "--vary", "keepalive=120,1800"]].concat();
    assert_eq!(archive.merged(&sweep, &["--json"]), archive.one_machine(&sweep, &["--json"]));
    assert_eq!(archive.merged(&sweep, &["--csv"]), archive.one_machine(&sweep, &["--csv"]));
    let capacity = ["capacity", BOXES[0], BOXES[1]];
    for load in [&["--scale", "3x", "--json"][..], &["--scale", "2x", "--max", "50", "--json"], &["--scale", "2x", "--max", "50"]] {
        assert_eq!(archive.merged(&capacity, load), archive.one_machine(&capacity, load));
    }
}

#[test]
fn columns_on_a_disk_are_judged_like_captures() {
    let archive = ready("columns", How { files: 30, points: 2, steps: 2, seed: 3 });
    let names: Vec<&str> = archive.names.iter().map(String::as_str).collect();
    let replay = [&["replay"], &BOXES[..]].concat();
    let whole = archive.one_machine(&replay, &["--ndjson"]);
    for kind in [&[][..], &["--slices"]] {
        let columns = archive.folder.join(if kind.is_empty() { "segments" } else { "slices" }).display().to_string();
        told(&[&["segments"], &names[..], kind, &["-o", &columns]].concat());
        assert_eq!(told(&[&["replay", &columns, "--segments", "--ndjson"], &BOXES[..]].concat()), whole);
    }
    // A filter says the same whether it is asked when segments are made or when they are judged.
    let columns = archive.folder.join("filtered").display().to_string();
    told(&[&["segments"], &names[..], &["--filter", "tcp port 22", "-o", &columns]].concat());
    let filtered = archive.one_machine(&replay, &["--ndjson", "--filter", "tcp port 22"]);
    assert_eq!(told(&[&["replay", &columns, "--segments", "--ndjson"], &BOXES[..]].concat()), filtered);
    let all = archive.folder.join("segments").display().to_string();
    assert_eq!(told(&[&["replay", &all, "--segments", "--ndjson", "--filter", "tcp port 22"], &BOXES[..]].concat()), filtered);
}

#[test]
fn every_fixture_is_the_same_in_columns_as_it_is() {
    let folder = folder("fixtures");
    let mut captures: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures"))
        .expect("fixtures")
        .map(|entry| entry.expect("a fixture").path())
        .filter(|path| path.is_file() && path.extension().is_none_or(|ending| ending != "md"))
        .collect();
    captures.sort();
    assert!(captures.len() > 20);
    for (number, capture) in captures.iter().enumerate() {
        let name = capture.display().to_string();
        let columns = folder.join(number.to_string()).display().to_string();
        told(&["segments", &name, "-o", &columns]);
        let whole = told(&[&["replay", &name, "--ndjson"], &BOXES[..]].concat());
        assert_eq!(told(&[&["replay", &columns, "--segments", "--ndjson"], &BOXES[..]].concat()), whole, "{name}");
    }
}
