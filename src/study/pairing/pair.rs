//! Which flow of one capture is which of another: by sequence numbers, which a translation of addresses leaves alone; by content,
//! which even a proxy does; by their ends, where nothing else is known. What cannot be told apart is said to be ambiguous.

use super::Point;
use crate::engine::gather::{Signature, Sketch};
use crate::flow::{Flow, Opening};
use crate::net::{Proto, Sock};
use std::collections::{BTreeMap, BTreeSet};

/// What a pair is known by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Basis {
    /// The same sequence numbers on both sides.
    Numbers,
    /// The same payload under other numbers.
    Content,
    /// The same addresses and ports at the same time.
    Ends,
}

impl Basis {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Basis::Numbers => "numbers",
            Basis::Content => "content",
            Basis::Ends => "ends",
        }
    }
}

/// A further flow of one of the two captures that carries packets of the same connection: they left untranslated, or otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Which capture, 0 or 1.
    pub point: usize,
    /// Its place there.
    pub flow: usize,
    /// Whether its client is the first capture's server.
    pub flipped: bool,
}

/// One connection in both captures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// Its place in either capture.
    pub flows: [usize; 2],
    /// Whether the two captures disagree on who is the client.
    pub flipped: bool,
    /// What it is known by.
    pub basis: Basis,
    /// Further flows that belong to it.
    pub parts: Vec<Part>,
}

/// Flows that may be each other, and nobody can tell which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ambiguous {
    /// Those of the first capture.
    pub ours: Vec<usize>,
    /// Those of the second.
    pub theirs: Vec<usize>,
}

/// Which flow is which.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Matching {
    /// The pairs, in the order of the first capture.
    pub pairs: Vec<Pair>,
    /// What could not be told apart.
    pub ambiguous: Vec<Ambiguous>,
    /// Flows that only one of the captures has.
    pub alone: [Vec<usize>; 2],
}

/// Of marks that more flows than this have in common nothing can be learnt.
const COMMON_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Candidate {
    ours: usize,
    theirs: usize,
    basis: Basis,
    score: u32,
    /// How many parts of their ends agree.
    closeness: u32,
    flipped: bool,
    /// How much later the second capture has its first packet, in nanoseconds.
    later: i128,
    /// Whether both begin with their beginnings.
    whole: bool,
}

fn closeness([a, b]: [Sock; 2], [c, d]: [Sock; 2]) -> u32 {
    let one = |x: Sock, y: Sock| u32::from(x.addr == y.addr) + u32::from(x.port == y.port);
    one(a, c) + one(b, d)
}

/// How much two signatures agree: numbers and contents, as the captures have the directions or with one of them turned round.
fn agreement(ours: &Signature, theirs: &Signature) -> (u32, u32, bool) {
    let common = |flip: usize| {
        let sum = |count: &dyn Fn(usize, usize) -> u32| count(0, flip) + count(1, 1 - flip);
        let numbers = sum(&|a, b| ours.numbers[a].common(&theirs.numbers[b]));
        let initial = |a: usize, b: usize| u32::from(ours.initial[a].is_some() && ours.initial[a] == theirs.initial[b]) * 64;
        (numbers + sum(&initial), sum(&|a, b| ours.payloads[a].common(&theirs.payloads[b])))
    };
    let (straight, turned) = (common(0), common(1));
    if turned > straight { (turned.0, turned.1, true) } else { (straight.0, straight.1, false) }
}

fn candidates(points: [&Point; 2]) -> Vec<Candidate> {
    // What each mark of the second capture is found in; numbers and contents apart.
    let mut index: BTreeMap<(bool, Proto, u32), Vec<usize>> = BTreeMap::new();
    let mut ends: BTreeMap<(Proto, [Sock; 2]), Vec<usize>> = BTreeMap::new();
    for (place, judged) in points[1].flows.iter().enumerate() {
        for (kind, mark) in marks(&judged.run) {
            let found = index.entry((kind, judged.flow.proto(), mark)).or_default();
            if found.len() <= COMMON_MAX {
                found.push(place);
            }
        }
        ends.entry(key(points[1], &judged.flow)).or_default().push(place);
    }
    let mut all = Vec::new();
    for (ours, judged) in points[0].flows.iter().enumerate() {
        let proto = judged.flow.proto();
        let mut partners: BTreeSet<usize> = BTreeSet::new();
        for (kind, mark) in marks(&judged.run) {
            partners.extend(index.get(&(kind, proto, mark)).filter(|found| found.len() <= COMMON_MAX).into_iter().flatten());
        }
        partners.extend(ends.get(&key(points[0], &judged.flow)).into_iter().flatten().take(COMMON_MAX));
        all.extend(partners.into_iter().map(|theirs| candidate(points, ours, theirs)));
    }
    all
}

/// The ends of a flow, whoever is the client.
fn key(point: &Point, flow: &Flow) -> (Proto, [Sock; 2]) {
    let mut socks = point.socks(flow);
    socks.sort_unstable();
    (flow.proto(), socks)
}

fn marks(signature: &Signature) -> impl Iterator<Item = (bool, u32)> + '_ {
    let numbers = signature.numbers.iter().flat_map(Sketch::marks).map(|mark| (true, *mark));
    numbers.chain(signature.payloads.iter().flat_map(Sketch::marks).map(|mark| (false, *mark)))
}

fn candidate(points: [&Point; 2], ours: usize, theirs: usize) -> Candidate {
    let (one, other) = (&points[0].flows[ours], &points[1].flows[theirs]);
    let (numbers, contents, mut flipped) = agreement(&one.run, &other.run);
    let [client, server] = points[0].socks(&one.flow);
    let ends = points[1].socks(&other.flow);
    let basis = if numbers >= 2 || numbers == 1 && contents > 0 {
        Basis::Numbers
    } else if contents > 0 {
        Basis::Content
    } else {
        flipped = closeness([server, client], ends) > closeness([client, server], ends);
        Basis::Ends
    };
    let socks = if flipped { [server, client] } else { [client, server] };
    let begins = |flow: &Flow| flow.proto() == Proto::Udp || flow.opening() != Opening::Midstream;
    Candidate {
        ours,
        theirs,
        basis,
        score: numbers * 4 + contents,
        closeness: closeness(socks, ends),
        flipped,
        later: i128::from(other.flow.first.0) - i128::from(one.flow.first.0),
        whole: begins(&one.flow) && begins(&other.flow),
    }
}

/// How far apart the beginnings of two flows must be, clocks set alike, that the nearer one is taken, in nanoseconds.
const APART: i128 = 100_000_000;

/// Pairs the flows of two captures.
pub fn pair(points: [&Point; 2]) -> Matching {
    let all = candidates(points);
    let mut taken = [BTreeMap::new(), BTreeMap::new()];
    let mut pairs: Vec<Pair> = Vec::new();
    let mut later = Vec::new();
    let mut numbered: Vec<&Candidate> = all.iter().filter(|c| c.basis == Basis::Numbers).collect();
    numbered.sort_by_key(|c| (std::cmp::Reverse((c.score, c.closeness)), c.ours, c.theirs));
    for c in numbered {
        if !taken[0].contains_key(&c.ours) && !taken[1].contains_key(&c.theirs) {
            settle(&mut pairs, &mut taken, c);
            later.extend(c.whole.then_some(c.later));
        }
    }
    let mut ambiguous = Vec::new();
    by_content(&all, &mut pairs, &mut taken, &mut later, &mut ambiguous);
    strays(points, &all, &mut pairs, &mut taken);
    by_ends(&all, &mut pairs, &mut taken);
    let unsure = [0, 1].map(|point| -> BTreeSet<usize> {
        ambiguous.iter().flat_map(|doubt: &Ambiguous| if point == 0 { &doubt.ours } else { &doubt.theirs }).copied().collect()
    });
    let alone = [0, 1].map(|point| {
        let is_alone = |place: &usize| !taken[point].contains_key(place) && !unsure[point].contains(place);
        (0..points[point].flows.len()).filter(is_alone).collect()
    });
    pairs.sort_by_key(|pair| pair.flows);
    Matching { pairs, ambiguous, alone }
}

/// Which pair each flow of either capture belongs to.
type Taken = [BTreeMap<usize, usize>; 2];

fn settle(pairs: &mut Vec<Pair>, taken: &mut Taken, c: &Candidate) {
    taken[0].insert(c.ours, pairs.len());
    taken[1].insert(c.theirs, pairs.len());
    pairs.push(Pair { flows: [c.ours, c.theirs], flipped: c.flipped, basis: c.basis, parts: Vec::new() });
}

fn median(values: &mut [i128]) -> Option<i128> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Pairs flows by what they carry. Of several with the same content the ends decide, then the time, once it is known how the clocks stand to
/// each other.
fn by_content(all: &[Candidate], pairs: &mut Vec<Pair>, taken: &mut Taken, later: &mut Vec<i128>, ambiguous: &mut Vec<Ambiguous>) {
    loop {
        let free: Vec<&Candidate> = all
            .iter()
            .filter(|c| c.basis == Basis::Content && !taken[0].contains_key(&c.ours) && !taken[1].contains_key(&c.theirs))
            .collect();
        let offset = median(later);
        let distance = |c: &Candidate| offset.map_or(0, |offset| (c.later - offset).abs());
        let rank = |c: &Candidate| (c.score, c.closeness);
        // A pair is made where neither has anybody else as good.
        let beats = |c: &Candidate, other: &Candidate| match rank(c).cmp(&rank(other)) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => offset.is_some() && distance(c) + APART < distance(other),
        };
        let rivals = Rivals::of(&free);
        let wins = |c: &&&Candidate| rivals.of_both(c).all(|other| same(c, other) || beats(c, other));
        let sure: Vec<Candidate> = free.iter().filter(wins).map(|c| **c).collect();
        if sure.is_empty() {
            return doubts(&free, ambiguous);
        }
        for c in &sure {
            settle(pairs, taken, c);
            later.extend(c.whole.then_some(c.later));
        }
    }
}

const fn same(one: &Candidate, other: &Candidate) -> bool {
    one.ours == other.ours && one.theirs == other.theirs
}

/// The candidates of each flow of either capture.
struct Rivals<'c> {
    ours: BTreeMap<usize, Vec<&'c Candidate>>,
    theirs: BTreeMap<usize, Vec<&'c Candidate>>,
}

impl<'c> Rivals<'c> {
    fn of(free: &[&'c Candidate]) -> Rivals<'c> {
        let mut rivals = Rivals { ours: BTreeMap::new(), theirs: BTreeMap::new() };
        for &c in free {
            rivals.ours.entry(c.ours).or_default().push(c);
            rivals.theirs.entry(c.theirs).or_default().push(c);
        }
        rivals
    }

    /// All candidates of one or the other flow of a candidate.
    fn of_both(&self, c: &Candidate) -> impl Iterator<Item = &'c Candidate> + '_ {
        self.ours.get(&c.ours).into_iter().chain(self.theirs.get(&c.theirs)).flatten().copied()
    }
}

/// What is left: flows that hang together by candidates of which none is better.
fn doubts(free: &[&Candidate], ambiguous: &mut Vec<Ambiguous>) {
    let all = Rivals::of(free);
    let best: Vec<&Candidate> = free.iter().copied().filter(|c| all.of_both(c).all(|other| other.score <= c.score)).collect();
    let rivals = Rivals::of(&best);
    let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    for first in &best {
        if ours.contains(&first.ours) {
            continue;
        }
        let mut doubt = Ambiguous { ours: Vec::new(), theirs: Vec::new() };
        let mut open = vec![*first];
        while let Some(c) = open.pop() {
            let (new, other) = (ours.insert(c.ours), theirs.insert(c.theirs));
            doubt.ours.extend(new.then_some(c.ours));
            doubt.theirs.extend(other.then_some(c.theirs));
            if new || other {
                open.extend(rivals.of_both(c));
            }
        }
        doubt.ours.sort_unstable();
        doubt.theirs.sort_unstable();
        ambiguous.push(doubt);
    }
}

/// Flows of one capture whose numbers belong to a connection that has its pair already: packets that left under other addresses.
fn strays(points: [&Point; 2], all: &[Candidate], pairs: &mut [Pair], taken: &mut Taken) {
    let mut numbered: Vec<&Candidate> = all.iter().filter(|c| c.score >= 4).collect();
    numbered.sort_by_key(|c| (std::cmp::Reverse(c.score), c.ours, c.theirs));
    for c in numbered {
        let (point, flow, index) = match (taken[0].get(&c.ours), taken[1].get(&c.theirs)) {
            (Some(index), None) => (1, c.theirs, *index),
            (None, Some(index)) => (0, c.ours, *index),
            _ => continue,
        };
        // A connection that was opened anew is one of its own.
        if points[point].flows[flow].flow.opening() != Opening::Midstream {
            continue;
        }
        let pair = &mut pairs[index];
        let flipped = if point == 1 { c.flipped } else { c.flipped != pair.flipped };
        pair.parts.push(Part { point, flow, flipped });
        taken[point].insert(flow, index);
    }
}

/// Flows with the same ends, where either capture has one only that is left.
fn by_ends(all: &[Candidate], pairs: &mut Vec<Pair>, taken: &mut Taken) {
    let free: Vec<&Candidate> = all
        .iter()
        .filter(|c| c.basis == Basis::Ends && c.closeness == 4 && !taken[0].contains_key(&c.ours) && !taken[1].contains_key(&c.theirs))
        .collect();
    let rivals = Rivals::of(&free);
    for c in &free {
        if rivals.of_both(c).all(|other| same(c, other)) {
            settle(pairs, taken, c);
        }
    }
}
