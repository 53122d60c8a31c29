//! What became of the flows of a part of an archive, as rows of Arrow, a row a flow; and such rows back to flows.
//!
//! Most columns are for whoever asks with SQL. One, `run`, holds what is known of the flow in the program's own form: all parts of an
//! archive are put together from it. The schema is described in docs/archives.md.

use super::hash::flow_hash;
use super::rows::SCHEMA_KEY;
use super::state;
use crate::engine::Path;
use crate::engine::pipeline::{Judged, Run};
use crate::finding::advice::keep_secs;
use crate::finding::{BreakPoint, Finding, evidence_name};
use crate::flow::{Flow, NoRoom};
use crate::net::{Addr, Direction, Proto, Sock};
use crate::report::Report;
use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_json::ReaderBuilder;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The schema of rows that are a flow each.
pub const FLOWS: &str = "flowlapse-flows/1";
/// The schema of a part's ledger.
pub const PART: &str = "flowlapse-part/1";

/// Which question the flows were followed for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Study {
    /// `replay`.
    Replay,
    /// `sweep`.
    Sweep,
    /// `capacity`.
    Capacity,
}

impl Study {
    /// The command that asks it.
    pub const fn name(self) -> &'static str {
        match self {
            Study::Replay => "replay",
            Study::Sweep => "sweep",
            Study::Capacity => "capacity",
        }
    }
}

/// What is known of a part besides its flows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct PartLedger {
    /// [`PART`].
    pub schema: String,
    /// Which question.
    pub study: Study,
    /// What it was asked of: boxes, and for a sweep what varies, as they were given.
    pub asked: Asked,
    /// The boxes in words, to know that they are the same.
    pub boxes: Vec<String>,
    /// How many flows there are.
    pub flows: u64,
    /// How many segments were read.
    pub segments: u64,
    /// Segments that a filter left out.
    pub filtered: u64,
    /// How many flows could be held.
    pub max_flows: Option<u64>,
    /// Flows that made room for others, their packets, and packets that found no room.
    pub no_room: [u64; 3],
    /// Whether somebody stopped it.
    pub interrupted: bool,
}

/// The words of a question that decide what is kept of a flow.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct Asked {
    /// `--box`.
    pub boxes: Vec<String>,
    /// `--vary`.
    pub vary: Vec<String>,
    /// `--beyond`.
    pub beyond: bool,
    /// `--clock`.
    pub clock: String,
    /// `--hz`.
    pub hz: u32,
    /// `--jiffies`.
    pub jiffies: Option<String>,
}

/// The boxes of a path in words.
pub fn described(path: &Path) -> Vec<String> {
    path.hops.iter().map(|hop| hop.policy.describe()).collect()
}

impl PartLedger {
    /// The ledger of a run.
    pub fn of<L>(study: Study, asked: Asked, path: &Path, run: &Run<L>, flows: usize, segments: u64, filtered: u64) -> PartLedger {
        let NoRoom { flows: evicted, packets, turned_away } = run.no_room;
        PartLedger {
            schema: PART.to_owned(),
            study,
            asked,
            boxes: described(path),
            flows: flows as u64,
            segments,
            filtered,
            max_flows: run.flows_max,
            no_room: [evicted, packets, turned_away],
            interrupted: run.interrupted,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn parse(line: &str) -> Result<PartLedger, String> {
        let ledger: PartLedger = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if ledger.schema == PART { Ok(ledger) } else { Err(format!("schema '{}'; expected {PART}", ledger.schema)) }
    }

    /// As a line.
    ///
    /// # Errors
    /// That it cannot be written, which a text always can.
    pub fn line(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    /// What was left out.
    pub const fn no_room(&self) -> NoRoom {
        let [flows, packets, turned_away] = self.no_room;
        NoRoom { flows, packets, turned_away }
    }
}

#[derive(Serialize)]
struct Row {
    flow_hash: i64,
    order_ns: i64,
    first_file: u16,
    first_frame: u32,
    last_frame: u32,
    proto: &'static str,
    client: String,
    client_port: u16,
    server: String,
    server_port: u16,
    first_ns: u64,
    last_ns: u64,
    packets_from_client: u32,
    packets_from_server: u32,
    bytes_from_client: u64,
    bytes_from_server: u64,
    opening: &'static str,
    closing: &'static str,
    orientation: &'static str,
    #[serde(flatten)]
    judged: Option<Judgement>,
}

/// What a replay makes of a flow.
#[derive(Serialize, Default)]
struct Judgement {
    verdict: &'static str,
    reason: Option<&'static str>,
    hop: Option<usize>,
    #[serde(rename = "box")]
    label: Option<String>,
    state: Option<&'static str>,
    timer: Option<&'static str>,
    setting: Option<String>,
    timeout_ns: Option<u64>,
    idle_ns: Option<u64>,
    excess_ns: Option<u64>,
    keep_s: Option<u64>,
    before_frame: Option<u32>,
    victim_ns: Option<u64>,
    victim_frame: Option<u32>,
    victim_file: Option<u16>,
    victim_kind: Option<&'static str>,
    victim_from: Option<&'static str>,
    evidence: Option<&'static str>,
    fate: Option<&'static str>,
    chance: Option<f64>,
    client_feels: Option<&'static str>,
    client_feels_after_ns: Option<u64>,
    server_feels: Option<&'static str>,
    server_feels_after_ns: Option<u64>,
    margin_ns: Option<u64>,
    repairs: u32,
    blocked: u32,
    invalid: u32,
    outlived_ns: u64,
    advice: Vec<String>,
    caveats: Vec<&'static str>,
    break_points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    hop: usize,
    timer: &'static str,
    setting: Option<String>,
    timeout_ns: u64,
    longest_ns: u64,
    keep_s: u64,
    before_frame: u32,
    after_frame: u32,
    evidence: &'static str,
}

/// The schema of a part's rows.
pub fn schema() -> SchemaRef {
    let long = || DataType::Int64;
    let int = || DataType::Int32;
    let text = || DataType::Utf8;
    let texts = || DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let point: Fields = [
        ("hop", int()),
        ("timer", text()),
        ("setting", text()),
        ("timeout_ns", long()),
        ("longest_ns", long()),
        ("keep_s", long()),
        ("before_frame", long()),
        ("after_frame", long()),
        ("evidence", text()),
    ]
    .map(|(name, of)| Field::new(name, of, true))
    .into_iter()
    .collect();
    let points = DataType::List(Arc::new(Field::new("item", DataType::Struct(point), true)));
    let columns = [
        ("flow_hash", long()),
        ("order_ns", long()),
        ("first_file", int()),
        ("first_frame", long()),
        ("last_frame", long()),
        ("stream", int()),
        ("proto", text()),
        ("client", text()),
        ("client_port", int()),
        ("server", text()),
        ("server_port", int()),
        ("first_ns", long()),
        ("last_ns", long()),
        ("packets_from_client", long()),
        ("packets_from_server", long()),
        ("bytes_from_client", long()),
        ("bytes_from_server", long()),
        ("opening", text()),
        ("closing", text()),
        ("orientation", text()),
        ("verdict", text()),
        ("reason", text()),
        ("hop", int()),
        ("box", text()),
        ("state", text()),
        ("timer", text()),
        ("setting", text()),
        ("timeout_ns", long()),
        ("idle_ns", long()),
        ("excess_ns", long()),
        ("keep_s", long()),
        ("before_frame", long()),
        ("victim_ns", long()),
        ("victim_frame", long()),
        ("victim_file", int()),
        ("victim_kind", text()),
        ("victim_from", text()),
        ("evidence", text()),
        ("fate", text()),
        ("chance", DataType::Float64),
        ("client_feels", text()),
        ("client_feels_after_ns", long()),
        ("server_feels", text()),
        ("server_feels_after_ns", long()),
        ("margin_ns", long()),
        ("repairs", long()),
        ("blocked", long()),
        ("invalid", long()),
        ("outlived_ns", long()),
        ("advice", texts()),
        ("caveats", texts()),
        ("break_points", points),
        ("run", DataType::Binary),
        ("ledger", text()),
    ];
    let fields: Vec<Field> = columns.into_iter().map(|(name, of)| Field::new(name, of, true)).collect();
    Arc::new(Schema::new_with_metadata(fields, HashMap::from([(SCHEMA_KEY.to_owned(), FLOWS.to_owned())])))
}

/// How many columns are made by the program itself: `run` and `ledger`, the last ones.
const OWN: usize = 2;
/// Flows in a batch.
const BATCH: usize = 8192;

/// The rows of a replay, batch by batch, then the ledger.
///
/// # Errors
/// What takes them says, or Arrow, which has nothing to say here.
pub fn write_replay(
    report: &Report<'_>,
    ledger: &PartLedger,
    mut take: impl FnMut(RecordBatch) -> Result<(), String>,
) -> Result<(), String> {
    let flows = &report.run.flows;
    for from in (0..flows.len()).step_by(BATCH) {
        let row = |at: usize| {
            let flow = flows.flow(at);
            let state = state::pack(flow, &flows.run(at))?;
            Ok((row(flow, report.run.socks(flow), Some(judgement(report, &report.finding(at)))), state))
        };
        let rows: Vec<(Row, Vec<u8>)> = (from..flows.len().min(from + BATCH)).into_par_iter().map(row).collect::<Result<_, String>>()?;
        take(batch(rows)?)?;
    }
    take(last(ledger)?)
}

/// The rows of flows that were followed for another question, batch by batch, then the ledger.
///
/// # Errors
/// As [`write_replay`].
pub fn write_followed<R: Serialize + Sync>(
    run: &Run<Vec<Judged<R>>>,
    ledger: &PartLedger,
    mut take: impl FnMut(RecordBatch) -> Result<(), String>,
) -> Result<(), String> {
    for flows in run.flows.chunks(BATCH) {
        let row = |judged: &Judged<R>| {
            let state = state::pack(&judged.flow, &judged.run)?;
            Ok((row(&judged.flow, run.socks(&judged.flow), None), state))
        };
        let rows: Vec<(Row, Vec<u8>)> = flows.par_iter().map(row).collect::<Result<_, String>>()?;
        take(batch(rows)?)?;
    }
    take(last(ledger)?)
}

fn row(flow: &Flow, [client, server]: [Sock; 2], judged: Option<Judgement>) -> Row {
    Row {
        flow_hash: flow_hash(client, server, flow.proto()),
        order_ns: flow.first_order.cast_signed(),
        first_file: flow.first_file,
        first_frame: flow.first_frame,
        last_frame: flow.last_frame,
        proto: flow.proto().name(),
        client: client.addr.to_string(),
        client_port: client.port,
        server: server.addr.to_string(),
        server_port: server.port,
        first_ns: flow.first.0,
        last_ns: flow.last.0,
        packets_from_client: flow.segments[0],
        packets_from_server: flow.segments[1],
        bytes_from_client: flow.bytes()[0],
        bytes_from_server: flow.bytes()[1],
        opening: flow.opening().name(),
        closing: flow.closing().name(),
        orientation: flow.orientation.name(),
        judged,
    }
}

fn judgement(report: &Report<'_>, f: &Finding) -> Judgement {
    let feels = |side: usize| f.symptoms.as_ref().map(|both| &both[side]);
    let common = Judgement {
        verdict: f.verdict.name(),
        reason: f.inconclusive.map(crate::finding::Inconclusive::name),
        client_feels: feels(0).map(|s| s.feeling.name()),
        client_feels_after_ns: feels(0).and_then(|s| s.after).map(|d| d.0),
        server_feels: feels(1).map(|s| s.feeling.name()),
        server_feels_after_ns: feels(1).and_then(|s| s.after).map(|d| d.0),
        margin_ns: f.margin.map(|d| d.0),
        repairs: f.repairs,
        blocked: f.blocked,
        invalid: f.invalid,
        outlived_ns: f.outlived.0,
        advice: f.advice.iter().map(|advice| advice.line.clone()).collect(),
        caveats: f.caveats.iter().map(|caveat| caveat.name()).collect(),
        break_points: f.break_points.iter().map(point).collect(),
        ..Judgement::default()
    };
    let Some(d) = &f.decisive else { return common };
    Judgement {
        hop: Some(d.hop),
        label: report.path.hops.get(d.hop).map(|hop| hop.label.clone()),
        state: Some(d.cause.state),
        timer: Some(d.cause.timer),
        setting: d.cause.setting.clone(),
        timeout_ns: Some(d.timeout.0),
        idle_ns: Some(d.idle.0),
        excess_ns: Some(d.excess().0),
        keep_s: Some(keep_secs(d.idle)),
        before_frame: Some(d.before),
        victim_ns: d.victim.map(|_| (d.refreshed + d.idle).0),
        victim_frame: d.victim.map(|(frame, _)| frame),
        victim_file: d.victim.map(|(_, file)| file),
        victim_kind: Some(d.kind.name()),
        victim_from: Some(if d.dir == Direction::Original { "client" } else { "server" }),
        evidence: Some(evidence_name(d.evidence)),
        fate: Some(d.fate),
        chance: d.permille.map(|permille| f64::from(permille) / 1000.0),
        ..common
    }
}

fn point(b: &BreakPoint) -> Point {
    Point {
        hop: b.hop,
        timer: b.cause.timer,
        setting: b.cause.setting.clone(),
        timeout_ns: b.timeout.0,
        longest_ns: b.longest.0,
        keep_s: b.keep_secs,
        before_frame: b.frames.0,
        after_frame: b.frames.1,
        evidence: evidence_name(b.evidence),
    }
}

fn batch(rows: Vec<(Row, Vec<u8>)>) -> Result<RecordBatch, String> {
    let told = |error: ArrowError| error.to_string();
    let whole = schema();
    let count = whole.fields().len() - OWN;
    let shown = Arc::new(Schema::new(whole.fields()[..count].to_vec()));
    let mut decoder = ReaderBuilder::new(shown).with_batch_size(BATCH).build_decoder().map_err(told)?;
    let (rows, states): (Vec<Row>, Vec<Vec<u8>>) = rows.into_iter().unzip();
    decoder.serialize(&rows).map_err(told)?;
    let Some(shown) = decoder.flush().map_err(told)? else { return Ok(RecordBatch::new_empty(whole)) };
    let mut runs = BinaryBuilder::with_capacity(states.len(), states.iter().map(Vec::len).sum());
    for state in &states {
        runs.append_value(state);
    }
    let mut columns: Vec<ArrayRef> = shown.columns().to_vec();
    columns.push(Arc::new(runs.finish()));
    columns.push(new_null_array(&DataType::Utf8, rows.len()));
    RecordBatch::try_new(whole, columns).map_err(told)
}

/// The row of a part's ledger.
fn last(ledger: &PartLedger) -> Result<RecordBatch, String> {
    let whole = schema();
    let mut columns: Vec<ArrayRef> = whole.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    columns.pop();
    columns.push(Arc::new(StringArray::from(vec![ledger.line()?])));
    RecordBatch::try_new(whole, columns).map_err(|error| error.to_string())
}

/// A flow that was read back, with its ends.
#[derive(Debug)]
pub struct Gathered<R> {
    /// The flow; its own ends are nobody's.
    pub flow: Flow,
    /// What was kept of it.
    pub run: R,
    /// Client and server.
    pub socks: [Sock; 2],
    /// The protocol.
    pub proto: Proto,
}

/// The flows of some rows, and the ledgers among them.
///
/// # Errors
/// Which column is missing, or what is wrong with a row.
pub fn read<R: DeserializeOwned + Send>(batch: &RecordBatch) -> Result<(Vec<Gathered<R>>, Vec<PartLedger>), String> {
    let cast = |name: &str, of: &DataType| {
        let found = batch.column_by_name(name).ok_or_else(|| format!("there is no column '{name}'"))?;
        arrow_cast::cast(found, of).map_err(|error| format!("column '{name}': {error}"))
    };
    let mut ledgers = Vec::new();
    let mut flows = vec![true; batch.num_rows()];
    if batch.column_by_name("ledger").is_some() {
        let lines = cast("ledger", &DataType::Utf8)?;
        for (row, line) in lines.as_string::<i32>().iter().enumerate() {
            if let Some(line) = line {
                ledgers.push(PartLedger::parse(line).map_err(|error| format!("a part's ledger: {error}"))?);
                flows[row] = false;
            }
        }
    }
    let runs = cast("run", &DataType::Binary)?;
    let (proto, client, server) = (cast("proto", &DataType::Utf8)?, cast("client", &DataType::Utf8)?, cast("server", &DataType::Utf8)?);
    let ports = [cast("client_port", &DataType::Int32)?, cast("server_port", &DataType::Int32)?];
    let gathered = |row: usize| {
        let text = |column: &ArrayRef| if column.is_null(row) { String::new() } else { column.as_string::<i32>().value(row).to_owned() };
        let sock = |addr: &ArrayRef, port: &ArrayRef| {
            let (addr, port) = (text(addr), port.as_primitive::<Int32Type>().value(row));
            let read = addr.parse::<IpAddr>().ok().zip(u16::try_from(port).ok());
            let (addr, port) = read.ok_or_else(|| format!("'{addr}', port {port}, is no end of a flow"))?;
            Ok::<Sock, String>(Sock { addr: Addr::from(addr), port })
        };
        let proto = match text(&proto).as_str() {
            "tcp" => Proto::Tcp,
            "udp" => Proto::Udp,
            other => return Err(format!("column 'proto': '{other}'; expected tcp or udp")),
        };
        if runs.is_null(row) {
            return Err("column 'run' is empty: the parts were written without what they are put together from".to_owned());
        }
        let (flow, run) = state::unpack(runs.as_binary::<i32>().value(row))?;
        Ok(Gathered { flow, run, socks: [sock(&client, &ports[0])?, sock(&server, &ports[1])?], proto })
    };
    let rows: Vec<usize> = (0..batch.num_rows()).filter(|row| flows[*row]).collect();
    let gathered = rows.into_par_iter().map(gathered).collect::<Result<_, String>>()?;
    Ok((gathered, ledgers))
}
