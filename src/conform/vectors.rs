//! The conntrack vectors of the spec: packets, and what each release's own tracker made of them.

use super::{Disagreement, Result, recording};
use crate::model::conntrack::Settings;
use crate::model::conntrack::dialect::{Dialect, Model};
use crate::model::conntrack::entry::{Entry, status};
use crate::model::conntrack::table::{Lateness, Table};
use crate::model::conntrack::track::{Conntrack, Tracked};
use crate::model::{CtState, End, Host, Lapse, Moment, Tuple};
use crate::net::{Proto, Segment, Seq, TcpFlags};
use crate::time::Instant;
use serde::Deserialize;

/// The one field that says what a document is.
#[derive(Deserialize)]
pub struct Head {
    /// Its schema and version.
    #[serde(default)]
    pub schema: String,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    flows: Vec<Flow>,
    #[serde(default)]
    test_vectors: Vec<Flow>,
}

#[derive(Deserialize)]
struct Flow {
    #[serde(default)]
    name: Option<String>,
    settings: FlowSettings,
    packets: Vec<Vector>,
    expect: Vec<Expect>,
}

#[derive(Deserialize)]
struct FlowSettings {
    loose: u8,
    be_liberal: u8,
    max_retrans: u8,
    ignore_invalid_rst: u8,
}

#[derive(Deserialize)]
struct Expect {
    dialects: Vec<String>,
    result: Vec<String>,
}

/// `[tick, side, flags, seq, ack, window, payload, [window scale, SACK permitted, [[left, right], ...]]]`.
#[derive(Deserialize)]
struct Vector(u64, u8, String, u32, u32, u16, u32, #[serde(default)] Option<Options>);

#[derive(Deserialize)]
struct Options(Option<u8>, bool, #[serde(default)] Option<Vec<[u32; 2]>>);

const HZ: u64 = 250;
const NANOS_PER_TICK: u64 = 1_000_000_000 / HZ;

/// Compares every vector in every dialect that it names.
///
/// # Errors
/// What cannot be read, with line and column.
pub fn compare(name: &str, text: &str) -> std::result::Result<Result, String> {
    let document: Document = serde_json::from_str(text).map_err(|e| format!("line {}, column {}: {e}", e.line(), e.column()))?;
    let mut result = Result::new(name);
    for (number, flow) in document.flows.iter().chain(&document.test_vectors).enumerate() {
        let label = flow.name.clone().unwrap_or_else(|| format!("flow {number}"));
        for expect in &flow.expect {
            for id in &expect.dialects {
                let dialect = Dialect::find(id).ok_or_else(|| format!("{label}: unknown dialect '{id}'"))?;
                run(&mut result, &label, dialect, flow, &expect.result);
            }
        }
    }
    Ok(result)
}

fn run(result: &mut Result, label: &str, dialect: &'static Dialect, flow: &Flow, expected: &[String]) {
    let mut settings = Settings::defaults(dialect);
    settings.tcp_loose = flow.settings.loose;
    settings.tcp_be_liberal = flow.settings.be_liberal != 0;
    settings.tcp_max_retrans = flow.settings.max_retrans;
    settings.tcp_ignore_invalid_rst = flow.settings.ignore_invalid_rst != 0;
    let conntrack = Conntrack { settings, lateness: Lateness::Exact };
    let mut table = Table::EMPTY;
    for (index, vector) in flow.packets.iter().enumerate() {
        result.steps += 1;
        let (got, want) = (step(&conntrack, &mut table, vector), expected.get(index).map_or("", String::as_str));
        if got != want {
            result.disagree(|| Disagreement {
                step: index + 1,
                injected: format!("{label}, {}: {}", dialect.name, describe(vector)),
                expected: want.to_owned(),
                got,
                dialogue: flow.packets[..=index].iter().zip(expected).map(|(v, e)| format!("{} -> {e}", describe(v))).collect(),
                recording: None,
            });
            // A model that went wrong once says nothing new about the rest of the flow.
            result.steps += flow.packets.len() - index - 1;
            return;
        }
    }
}

fn describe(v: &Vector) -> String {
    let options = v.7.as_ref().map_or(String::new(), |o| format!(" wscale {:?} sackok {} sack {:?}", o.0, o.1, o.2));
    format!("tick {} side {} [{}] seq {} ack {} win {} len {}{options}", v.0, v.1, v.2, v.3, v.4, v.5, v.6)
}

fn segment(v: &Vector) -> Segment {
    let options = v.7.as_ref().map_or_else(recording::Options::default, |Options(ws, permitted, blocks)| recording::Options {
        mss: None,
        ws: *ws,
        sackok: *permitted,
        sack: blocks.iter().flatten().map(|block| block.map(u64::from)).collect(),
    });
    options.on(Segment {
        at: Instant(v.0 * NANOS_PER_TICK),
        seq: Seq(v.3),
        ack: Seq(v.4),
        len: v.6,
        window: v.5,
        flags: TcpFlags::parse(&v.2).unwrap_or_default(),
        ..Segment::EMPTY
    })
}

/// Drives one packet through the look-up, the tracker and confirmation, and prints the result in the vectors' own words.
fn step(conntrack: &Conntrack, table: &mut Table, v: &Vector) -> String {
    let seg = segment(v);
    let mut moment = Moment::exact(seg.at);
    let ends = [End { host: Host::CLIENT, port: 2000 }, End { host: Host::SERVICE, port: 80 }];
    let side = usize::from(v.1 & 1);
    let tuple = Tuple { src: ends[side], dst: ends[1 - side] };
    // The vectors' own clock ends entries before the packet of a tick, whatever the packet is.
    table.remove_where(|e| e.deadline() <= seg.at);
    let mut lapse: Option<Lapse> = None;
    let verdict = match conntrack.track(table, tuple, Proto::Tcp, &seg, &mut moment, &mut lapse) {
        Tracked::Invalid(_) => "I-",
        Tracked::Dropped => "D-",
        Tracked::Yes(attached) => {
            let state = if attached.state == CtState::New { "AN" } else { "AE" };
            conntrack.confirm(table, attached, &mut moment);
            state
        }
    };
    conntrack.discard_unconfirmed(table);
    match table.iter().next() {
        None => format!("{verdict} gone"),
        Some(entry) => format!("{verdict} {}", print(conntrack, entry, ends[0], seg.at)),
    }
}

fn print(conntrack: &Conntrack, e: &Entry, first: End, now: Instant) -> String {
    let ticks = e.deadline().since(now).0 / NANOS_PER_TICK;
    let originator = u8::from(e.original.src != first);
    let reply = if e.is(status::SEEN_REPLY) { 'r' } else { '-' };
    let assured = if e.is(status::ASSURED) { 'a' } else { '-' };
    let head = format!("{} {originator}{reply}{assured} {ticks}", e.tcp.state.name());
    if conntrack.settings.dialect.model == Model::Simple2_4 {
        return head;
    }
    format!("{head} {:02x}/{:02x} {}", e.tcp.seen[0].flags, e.tcp.seen[1].flags, e.tcp.retrans)
}
