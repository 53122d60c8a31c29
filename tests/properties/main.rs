//! What must hold for any traffic: one file a property, each stated in one sentence where it begins and, in the same words, in
//! docs/reliability.md.
//!
//! Related properties stand where their subject is: of the flow table alone in `tests/flow_properties.rs`, of many policies in one
//! replay in `tests/many`, of simulated runs in `tests/closed_loop`.

#[path = "../replay/capture.rs"]
mod capture;
#[path = "../many/traffic.rs"]
mod traffic;

mod break_points;
mod lifetimes;
mod longer_timers;
mod sequence_numbers;
mod strangers;
mod threads_and_files;
mod written_captures;

use capture::{Ends, Packet, SECOND, START};
use flowlapse::engine::Path;
use flowlapse::engine::pipeline::Follow;
use flowlapse::engine::replay::{FlowRun, Replay, Witness};
use flowlapse::finding::Finding;
use flowlapse::flow::{Flow, Observation};
use flowlapse::model::{Lapse, Outcome};
use flowlapse::net::Segment;
use proptest::prelude::*;
use proptest::sample::select;

const PATHS: [&str; 9] = [
    "ipvs",
    "ipvs:dr,sloppy_tcp=1",
    "conntrack:strict,established=900",
    "conntrack:established=600",
    "conntrack:drop-invalid,loose=0,established=700",
    "idle:established=400",
    "aws-alb",
    "conntrack:masquerade,established=600 aws-nlb",
    "conntrack:masquerade ipvs azure-lb-default:established=1500",
];

/// One turn of a conversation: what is said after which silence.
fn turn() -> impl Strategy<Value = String> {
    let said =
        select(vec!["c10 s", "s20 c", "ck s", "sk c", "c10", "s20", "c10 s10 c", "retry", "again", "c!7 c10 s", "s!9 c", "cz s", "ck"]);
    let silence = prop_oneof![0..5_u64, 50..2_000_u64];
    (silence, 0..1_000_u32, said).prop_map(|(secs, millis, said)| format!("+{secs}.{millis:03} {said}"))
}

fn dialogue() -> impl Strategy<Value = String> {
    let opening = select(vec!["open", "open", "open c10 s20 c", "c10 s20 c", "cS sS"]);
    let closing = select(vec!["", "", "cf sf c", "sf c", "cf s", "cr", "sr"]);
    (opening, prop::collection::vec(turn(), 1..6), closing)
        .prop_map(|(opening, turns, closing)| format!("{opening} {} {closing}", turns.join(" ")))
}

/// Flows with different clients, not all at once.
fn population() -> impl Strategy<Value = Vec<Packet>> {
    prop::collection::vec((dialogue(), 0..3_000_u64), 1..8).prop_map(|flows| {
        let mut packets: Vec<Packet> = Vec::new();
        for (number, (dialogue, start)) in flows.iter().enumerate() {
            packets.extend(Ends { start: START + start * SECOND, ..Ends::number(number as u16) }.talk(dialogue, 0));
        }
        in_order(packets)
    })
}

fn in_order(mut packets: Vec<Packet>) -> Vec<Packet> {
    packets.sort_by_key(|p| p.at);
    packets
}

/// Everything of a finding but frame numbers, stream and input.
fn essence(f: &Finding) -> String {
    format!("{:?} {:?}", (f.client, f.server), nameless(f))
}

/// The same without the ends' addresses.
fn nameless(f: &Finding) -> String {
    let decisive =
        f.decisive.as_ref().map(|d| (d.hop, &d.cause, d.timeout, d.idle, d.refreshed, d.kind, d.dir, d.evidence, d.fate, d.permille));
    let spells: Vec<_> = f.break_points.iter().map(|b| (b.hop, &b.cause, b.timeout, b.longest, b.keep_secs, b.evidence)).collect();
    let counts = (f.repairs, f.blocked, f.invalid, f.outlived, f.packets, f.bytes, f.margin);
    let ends = (f.opening, f.closing, f.span);
    format!("{:?} {decisive:?} {:?} {:?} {spells:?} {counts:?} {ends:?} {:?}", f.verdict, f.symptoms, f.advice, f.caveats)
}

/// A replay that also keeps the entries which packets found ended: the packet's frame, the box, the end.
struct Finds<'p>(Replay<'p>);

impl Finds<'_> {
    fn new(path: &Path) -> Finds<'_> {
        Finds(Replay::new(path))
    }
}

struct Note<'n>(&'n mut Vec<(u32, usize, Lapse)>, u32);

impl Witness for Note<'_> {
    fn box_did(&mut self, hop: usize, outcome: &Outcome) {
        self.0.extend(outcome.lapse.map(|lapse| (self.1, hop, lapse)));
    }
}

impl Follow for Finds<'_> {
    type Run = (FlowRun, Vec<(u32, usize, Lapse)>);

    fn begin(&self, flow: &Flow, seg: &Segment) -> Self::Run {
        (self.0.begin(flow, seg), Vec::new())
    }

    fn segment(&self, run: &mut Self::Run, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        self.0.witnessed(&mut run.0, flow, seg, observation, previous_frame, &mut Note(&mut run.1, seg.frame));
    }
}
