//! The numbering of streams across tables: by the order of first segments, TCP and UDP counted apart.
//!
//! The input is cut into stretches whose flows are put in order each by itself, and then each table is told the numbers of its own:
//! who has several threads can have both done side by side. It knows no threads, and the numbers do not depend on the stretches.

use super::table::Place;
use super::{FlowIndex, FlowTable};
use crate::net::Proto;

/// Some flows that begin one after another, from all tables.
#[derive(Debug)]
pub struct Stretch {
    /// The flows in the order of their first segments, table and number in it.
    order: Vec<(u32, FlowIndex)>,
    /// Their numbers among those of their protocol in the stretch, table by table.
    numbers: Vec<u32>,
    /// For each table the first of its flows, and where their numbers begin and end.
    tables: Vec<(usize, usize, usize)>,
    /// How many are of TCP, and of UDP.
    counts: [u32; 2],
}

fn kind(proto: Proto) -> usize {
    usize::from(proto == Proto::Udp)
}

impl Stretch {
    /// For so many stretches how many flows of each table begin before each of them, and before the end: all tables have their flows
    /// in the order of their first segments. One stretch at least.
    pub fn bounds(tables: &[&FlowTable], stretches: usize) -> Vec<Vec<usize>> {
        let mut bounds = vec![vec![0; tables.len()]];
        if let Some(longest) = tables.iter().max_by_key(|table| table.len()).filter(|table| !table.is_empty()) {
            bounds.extend((1..stretches).map(|stretch| {
                let place = longest.place_of_first(stretch * longest.len() / stretches);
                tables.iter().map(|table| table.begun_before(place)).collect()
            }));
        }
        bounds.push(tables.iter().map(|table| table.len()).collect());
        bounds
    }

    /// The flows from one of the [bounds](Stretch::bounds) to the next.
    ///
    /// # Panics
    /// Where the bounds are not of these tables, or with more than 2³² of them.
    pub fn of(tables: &[&FlowTable], from: &[usize], to: &[usize]) -> Stretch {
        let ranges = || from.iter().zip(to).map(|(from, to)| *from..*to);
        let mut flows: Vec<(Place, u32, u32, Proto)> = Vec::with_capacity(ranges().map(|range| range.len()).sum());
        let mut begins = Vec::with_capacity(tables.len());
        for (number, (table, range)) in tables.iter().zip(ranges()).enumerate() {
            let number = u32::try_from(number).expect("fewer than 2^32 tables");
            begins.push((range.start, flows.len(), flows.len() + range.len()));
            flows.extend(range.map(|at| (table.place_of_first(at), number, at as u32, table.flow(FlowIndex(at as u32)).proto())));
        }
        flows.sort_unstable_by_key(|(place, table, at, _)| (*place, *table, *at));
        let (mut counts, mut numbers) = ([0; 2], vec![0; flows.len()]);
        let number = |(_, table, at, proto): (Place, u32, u32, Proto)| {
            let (first, begin, _) = begins[table as usize];
            let count = &mut counts[kind(proto)];
            numbers[begin + at as usize - first] = *count;
            *count += 1;
            (table, FlowIndex(at))
        };
        let order = flows.into_iter().map(number).collect();
        Stretch { order, numbers, tables: begins, counts }
    }

    /// How many streams of either protocol there are before each of some stretches.
    pub fn before(stretches: &[Stretch]) -> Vec<[u32; 2]> {
        let add = |sum: &mut [u32; 2], stretch: &Stretch| {
            let before = *sum;
            *sum = [0, 1].map(|kind| sum[kind].wrapping_add(stretch.counts[kind]));
            Some(before)
        };
        stretches.iter().scan([0; 2], add).collect()
    }

    /// Tells a table the numbers of its flows; `before` is what [`Stretch::before`] said of all stretches.
    pub fn tell(stretches: &[Stretch], before: &[[u32; 2]], number: usize, table: &mut FlowTable) {
        for (stretch, before) in stretches.iter().zip(before) {
            let (first, begin, end) = stretch.tables[number];
            for (at, number) in (first..).zip(&stretch.numbers[begin..end]) {
                let flow = table.flow_mut(FlowIndex(at as u32));
                flow.stream = before[kind(flow.proto())].wrapping_add(*number);
            }
        }
    }

    /// The places of the flows of all stretches in the order of their first segments, table and number in it.
    pub fn order(stretches: &[Stretch]) -> Vec<(u32, FlowIndex)> {
        let mut order = Vec::with_capacity(stretches.iter().map(|stretch| stretch.order.len()).sum());
        for stretch in stretches {
            order.extend_from_slice(&stretch.order);
        }
        order
    }
}

/// Gives every flow of all tables its `tcp.stream` or `udp.stream`: by the order of first segments, TCP and UDP counted
/// apart, from 0. Returns the flows' places, table and number in it, in that order.
///
/// # Panics
/// With more than 2³² tables.
pub fn number_streams(tables: &mut [&mut FlowTable]) -> Vec<(u32, FlowIndex)> {
    let shared: Vec<&FlowTable> = tables.iter().map(|table| &**table).collect();
    let bounds = Stretch::bounds(&shared, 1);
    let stretch = Stretch::of(&shared, &bounds[0], &bounds[1]);
    for (number, table) in tables.iter_mut().enumerate() {
        Stretch::tell(std::slice::from_ref(&stretch), &[[0; 2]], number, table);
    }
    stretch.order
}
