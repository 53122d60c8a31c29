//! Two captures of one path, from different points: which flow of the one is which of the other, which packets were seen at both
//! points, and what was lost or born in between.

mod align;
pub mod bracket;
pub mod compare;
pub mod offset;
pub mod pair;

pub use compare::{Comparison, Event, Seen};
pub use offset::Offset;
pub use pair::{Basis, Matching, Pair, Part};

use crate::engine::dossier::{Dossier, Subject};
use crate::engine::gather::Signature;
use crate::engine::pipeline::Followed;
use bracket::Bracket;
use compare::{Half, Passage, Tagged};

/// What was gathered from one capture.
pub type Point = Followed<Signature>;

/// A pair with what comparing it found.
#[derive(Clone, Debug)]
pub struct Study {
    /// The pair.
    pub pair: Pair,
    /// Its packets.
    pub comparison: Comparison,
    /// What it says about a timer between the points.
    pub bracket: Option<Bracket>,
    /// Whether the link-layer addresses of the first packets differ; nothing where they are not known.
    pub stations_differ: Option<bool>,
    /// Packets that were not compared because there are too many.
    pub left_out: u64,
}

/// The flows of one capture that a pair has, its own first.
fn flows(pair: &Pair, point: usize) -> impl Iterator<Item = (usize, bool)> + '_ {
    let own = (pair.flows[point], point == 1 && pair.flipped);
    let parts = pair.parts.iter().filter(move |part| part.point == point).map(|part| (part.flow, part.flipped));
    std::iter::once(own).chain(parts)
}

/// What has to be read again of a capture for a pair.
pub fn subjects(at: &Point, pair: &Pair, point: usize) -> Vec<Subject> {
    let subject = |(place, _): (usize, bool)| {
        let flow = &at.flows[place].flow;
        Subject::of(flow, at.socks(flow))
    };
    flows(pair, point).map(subject).collect()
}

/// How many packets a pair has in both captures.
pub fn packets(points: [&Point; 2], pair: &Pair) -> u64 {
    let count = |point: usize| -> u64 {
        flows(pair, point).map(|(place, _)| points[point].flows[place].flow.segments.iter().map(|n| u64::from(*n)).sum::<u64>()).sum()
    };
    count(0) + count(1)
}

/// How much there may be to tell of a pair, by what was gathered: connections that were reset, leaked or lost packets first.
pub fn promise(points: [&Point; 2], pair: &Pair) -> (bool, bool, u64) {
    let judged = |point: usize| &points[point].flows[pair.flows[point]];
    let resets = judged(0).run.resets + judged(1).run.resets;
    let total = |point: usize| judged(point).flow.segments.iter().map(|n| u64::from(*n)).sum::<u64>();
    (!pair.parts.is_empty(), resets > 0, total(0).abs_diff(total(1)))
}

impl Study {
    /// Compares a pair. `dossiers` are those of its [`subjects`], for either capture.
    pub fn new(points: [&Point; 2], pair: &Pair, dossiers: [Vec<Option<Dossier>>; 2]) -> Study {
        let proto = points[0].flows[pair.flows[0]].flow.proto();
        let stations = [0, 1].map(|point| dossiers[point].first().and_then(|dossier| dossier.as_ref()?.stations));
        let stations_differ = if let [Some(one), Some(other)] = stations { Some(one != other) } else { None };
        let left_out = dossiers.iter().flatten().flatten().map(|dossier| dossier.left_out).sum();
        let mut point = 0;
        let halves = dossiers.map(|dossiers| {
            let judged = &points[point].flows[pair.flows[point]];
            let mut initial = judged.run.initial;
            if point == 1 && pair.flipped {
                initial.swap(0, 1);
            }
            let mut half = Half { initial, span: (points[point].begin, points[point].end), ..Half::default() };
            for (of, (dossier, (_, flipped))) in dossiers.into_iter().zip(flows(pair, point)).enumerate() {
                let Some(dossier) = dossier else { continue };
                half.errors.extend(dossier.errors);
                half.packets.extend(dossier.sightings.into_iter().map(|mut seen| {
                    if flipped {
                        seen.seg.dir = seen.seg.dir.opposite();
                    }
                    Tagged { seen, of }
                }));
            }
            half.packets.sort_by_key(|packet| (packet.seen.seg.at, packet.seen.seg.frame));
            point += 1;
            half
        });
        let comparison = Comparison::new(proto, pair.basis, halves);
        let bracket = if comparison.proxied { None } else { Bracket::of(&comparison) };
        Study { pair: pair.clone(), comparison, bracket, stations_differ, left_out }
    }

    /// How much there is to tell: the more, the earlier it is told.
    pub fn weight(&self) -> (bool, bool, usize) {
        let odd = |event: &&Event| !matches!(event.passage, Passage::Crossed | Passage::Before | Passage::After);
        let odd = self.comparison.events.iter().filter(odd).count();
        (self.bracket.is_some(), odd > 0, odd)
    }
}
