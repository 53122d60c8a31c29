//! Two captures of one path for machines: schema `flowlapse-match/1`, described in docs/explain.md. Times are nanoseconds since
//! 1970 by the clock of the capture that is nearer to the client; durations are whole nanoseconds.

use super::matched::{Matched, clocks};
use super::words::end;
use crate::decode::IcmpError;
use crate::study::pairing::compare::Event;
use crate::study::pairing::{Point, Study};
use serde_json::{Value, json};

/// The schema and its version; a change that breaks readers changes the number.
pub const SCHEMA: &str = "flowlapse-match/1";

/// The document.
pub fn document(matched: &Matched<'_>) -> Value {
    let offset = clocks(matched.studies).map(|(offset, swapped)| {
        let ahead = if swapped { -offset.nanos } else { offset.nanos };
        json!({
            "second_ahead_ns": ahead as i64,
            "within_ns": offset.within.map(|within| within as i64),
            "drifts": offset.drifts,
            "packets": offset.packets,
        })
    });
    let streams = |capture: usize, places: &[usize]| -> Vec<String> {
        places.iter().map(|place| matched.stream(capture, *place).replace(' ', ".")).collect()
    };
    let inputs: Vec<Value> = matched.points.iter().map(|point| input(point)).collect();
    json!({
        "schema": SCHEMA,
        "inputs": inputs,
        "clocks": offset,
        "pairs_found": matched.matching.pairs.len(),
        "ambiguous": matched.matching.ambiguous.iter().map(|doubt| json!({
            "first": streams(0, &doubt.ours),
            "second": streams(1, &doubt.theirs),
        })).collect::<Vec<_>>(),
        "alone_first": streams(0, &matched.matching.alone[0]),
        "alone_second": streams(1, &matched.matching.alone[1]),
        "pairs": matched.studies.iter().map(|study| pair(matched, study)).collect::<Vec<_>>(),
    })
}

fn input(point: &Point) -> Value {
    let mut told = json!({
        "name": point.names.first(),
        "records": point.counters.records,
        "flows": point.flows.len(),
        "begin_ns": point.begin.0,
        "end_ns": point.end.0,
        "damage": crate::report::json::damage(point),
        "interrupted": point.interrupted,
    });
    if let Value::Object(map) = &mut told {
        crate::report::json::add_no_room(map, [point]);
    }
    told
}

fn pair(matched: &Matched<'_>, study: &Study) -> Value {
    let comparison = &study.comparison;
    let [both, near, far] = comparison.counts();
    let socks = |capture: usize| matched.socks(study, capture, 0).map(|sock| sock.to_string());
    let (first, second) = (socks(0), socks(1));
    let stream = |capture: usize| matched.stream(capture, study.pair.flows[capture]).replace(' ', ".");
    let bracket = study.bracket.as_ref().map(|bracket| {
        let frame = |event: &Event| event.at_point[bracket.point].map(|packet| packet.seen.seg.frame);
        json!({
            "gap_ns": bracket.gap.0,
            "before_frame": frame(&comparison.events[bracket.last]),
            "frame": frame(&comparison.events[bracket.event]),
            "capture": capture(study, bracket.point),
            "crossed_ns": bracket.crossed.map(|(crossed, _)| crossed.0),
            "contradicted": bracket.contradicts(),
            "after_fin": bracket.closing,
            "box_told": bracket.told,
            "candidates": bracket.candidates().iter().map(|(id, timer, timeout)| json!({"preset": id, "timer": timer, "timeout_ns": timeout.0})).collect::<Vec<_>>(),
        })
    });
    json!({
        "first": stream(0),
        "second": stream(1),
        "known_by": study.pair.basis.name(),
        "first_client": first[0],
        "first_server": first[1],
        "second_client": second[0],
        "second_server": second[1],
        "leaked_flows": study.pair.parts.iter().map(|part| json!({"capture": part.point + 1, "stream": matched.stream(part.point, part.flow).replace(' ', ".")})).collect::<Vec<_>>(),
        "nearer_to_client": if comparison.swapped { 2 } else { 1 },
        "nearer_is_known": comparison.ordered,
        "translation": matched.translation(study),
        "proxied": comparison.proxied,
        "sequence_shift": comparison.shift,
        "ip_ids_kept": comparison.ids_kept,
        "both": both,
        "only_nearer": near,
        "only_farther": far,
        "events": comparison.events.iter().filter(|event| told(event)).map(|e| event(study, e)).collect::<Vec<_>>(),
        "icmp": comparison.complaints.iter().map(|complaint| {
            let frames = complaint.at_point.map(|error| error.map(|error| error.frame));
            let error = complaint.at_point.iter().flatten().next();
            json!({"nearer_frame": frames[0], "farther_frame": frames[1], "what": error.map(IcmpError::name), "from": error.map(|e| e.from.to_string())})
        }).collect::<Vec<_>>(),
        "bracket": bracket,
        "left_out": study.left_out,
    })
}

/// Which capture a point is, from 1.
fn capture(study: &Study, point: usize) -> usize {
    1 + if study.comparison.swapped { 1 - point } else { point }
}

/// Packets that simply passed are counted only.
fn told(event: &Event) -> bool {
    use crate::net::TcpFlags;
    use crate::study::pairing::compare::Passage;
    event.passage != Passage::Crossed || event.recut || event.flags().any(TcpFlags::RST | TcpFlags::FIN)
}

fn event(study: &Study, event: &Event) -> Value {
    let frame = |point: usize| event.at_point[point].map(|packet| packet.seen.seg.frame);
    let ttl = |point: usize| event.at_point[point].map(|packet| packet.seen.seg.ttl);
    let packet = event.packet().map(|(_, packet)| packet.seen.seg);
    json!({
        "at_ns": event.at.0,
        "from": end(event.dir),
        "flags": event.flags().to_string(),
        "bytes": packet.map(|seg| seg.len),
        "nearer_frame": frame(0),
        "farther_frame": frame(1),
        "nearer_ttl": ttl(0),
        "farther_ttl": ttl(1),
        "passage": event.passage.name(),
        "origin": study.comparison.origin(event).name(),
        "cut_up": event.recut,
    })
}
