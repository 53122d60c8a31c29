//! What all flows say together: between which two values a timer must lie.
//!
//! The upper end is the shortest silence after which a packet did not come through. The lower end is the longest one that was
//! lived through, but only where a packet of that direction and kind was refused elsewhere: a box that picks up whatever comes
//! lets it through with and without an entry.

use super::evidence::{Cut, Kind, PickUp, Reaction, Silence, State, Survival, Testimony};
use super::late;
use crate::decode::IcmpError;
use crate::kernel::wheel::lateness_worst;
use crate::net::{Addr, Direction, Proto, Sock};
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// One flow's testimony.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Which of the inputs the flow is in.
    pub file: u16,
    /// Wireshark's `tcp.stream` or `udp.stream`.
    pub stream: u32,
    /// TCP or UDP.
    pub proto: Proto,
    /// Client and server.
    pub socks: [Sock; 2],
    /// The times of its first and last packet.
    pub span: (Instant, Instant),
    /// What it says.
    pub told: Testimony,
}

/// A bound, and who gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The value.
    pub value: Duration,
    /// The flow, by its place among the witnesses.
    pub witness: usize,
    /// The frames around the silence.
    pub frames: (u32, u32),
}

/// Whether keepalives keep an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keepalives {
    /// A flow lived on them alone for longer than others lived without.
    Count {
        /// The flow, by its place among the witnesses.
        witness: usize,
        /// How long.
        span: Duration,
    },
    /// A flow was cut although they had been answered, in a time in which others lived on.
    Ignored {
        /// The flow, by its place among the witnesses.
        witness: usize,
        /// How long before the cut the last one was.
        span: Duration,
    },
    /// Nothing here tells.
    Unknown,
}

/// Why nothing can be said of a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undetermined {
    /// No packet came too late: no timer fired that anybody noticed.
    NothingCut,
    /// Packets came too late after silences that other flows lived through.
    Contradiction,
    /// Where packets came too late, nobody knows since when the box had heard nothing.
    NoBeginning,
}

impl Undetermined {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Undetermined::NothingCut => "nothing-cut",
            Undetermined::Contradiction => "contradiction",
            Undetermined::NoBeginning => "no-beginning",
        }
    }
}

/// What is known of one timer.
#[derive(Clone, Debug)]
pub struct Bracket {
    /// In which state it runs.
    pub state: State,
    /// The shortest silence that ended an entry, with what the box may have measured more.
    pub high: Option<Bound>,
    /// The longest that did not, with what the box may have measured less.
    pub low: Option<Bound>,
    /// The smallest setting that can have lived so long, where the box's timers are as late as a kernel's timer wheel.
    pub low_late: Duration,
    /// Why there is no bracket.
    pub undetermined: Option<Undetermined>,
    /// The flows that were cut, by their places among the witnesses.
    pub cut: Vec<usize>,
    /// The flows that lived through a quarter of the upper end or more.
    pub kept: Vec<usize>,
    /// The flows that contradict: cut sooner than others lived.
    pub against: Vec<usize>,
    /// The longest silence that was lived through, whether or not that says anything.
    pub survived: Option<Bound>,
}

/// All that a number of flows come to.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The servers that it is about; all of them where there is one pool.
    pub servers: Vec<Addr>,
    /// One a state in which there is any evidence.
    pub brackets: Vec<Bracket>,
    /// Directions and kinds of packets that are refused without an entry.
    pub refused: BTreeSet<(Direction, Kind)>,
    /// What was met by packets that came too late.
    pub reactions: BTreeMap<Reaction, usize>,
    /// Whether keepalives count.
    pub keepalives: Keepalives,
    /// Flows that were seen at two places.
    pub twice: usize,
}

/// Sets cuts aside that other things explain, and names refusals by ICMP.
pub fn weigh(witnesses: &mut [Witness], errors: &[Vec<IcmpError>]) -> usize {
    let outages: Vec<([Addr; 2], Instant, Instant)> =
        witnesses.iter().filter_map(|w| w.told.outage.map(|(from, to)| (w.socks.map(|s| s.addr), from, to))).collect();
    let mut aside = 0;
    for witness in witnesses {
        let Some(cut) = &mut witness.told.cut else { continue };
        let (from, to) = if cut.dir == Direction::Original { (0, 1) } else { (1, 0) };
        let about = |e: &&IcmpError| {
            e.proto == witness.proto && (e.src, e.dst) == (witness.socks[from], witness.socks[to]) && e.at >= cut.silence.at
        };
        let said = errors.get(usize::from(witness.file)).into_iter().flatten().filter(about).find(|e| !e.is_too_big());
        let gone = said.is_some_and(IcmpError::finds_nobody);
        if let (Some(error), Reaction::Silence) = (said, cut.reaction) {
            cut.answer = Some(error.frame);
            cut.reaction = if error.from == error.dst.addr { Reaction::StrangerReset } else { Reaction::Refused };
        }
        let shares = |ends: &[Addr; 2]| ends.iter().any(|end| witness.socks.iter().any(|s| s.addr == *end));
        let down = |o: &([Addr; 2], Instant, Instant)| shares(&o.0) && o.1 <= cut.until && cut.silence.at <= o.2;
        let unexplained = matches!(cut.reaction, Reaction::Silence | Reaction::StrangerReset | Reaction::Refused);
        if unexplained && (gone || outages.iter().any(down)) {
            witness.told.cut = None;
            aside += 1;
        }
    }
    aside
}

/// Everything about all flows; where they contradict each other, server by server, if that helps.
pub fn pools(witnesses: &[Witness]) -> Vec<Pool> {
    let all: Vec<usize> = (0..witnesses.len()).filter(|at| witnesses[*at].proto == Proto::Tcp).collect();
    let whole = Pool::of(witnesses, &all);
    let contradicts = |pool: &Pool| pool.brackets.iter().any(|b| b.undetermined == Some(Undetermined::Contradiction));
    if !contradicts(&whole) {
        return vec![whole];
    }
    let mut servers: BTreeMap<(Addr, u16), Vec<usize>> = BTreeMap::new();
    for at in &all {
        let server = witnesses[*at].socks[1];
        servers.entry((server.addr, 0)).or_default().push(*at);
    }
    if servers.len() == 1 {
        servers = BTreeMap::new();
        for at in &all {
            let server = witnesses[*at].socks[1];
            servers.entry((server.addr, server.port)).or_default().push(*at);
        }
    }
    let parts: Vec<Pool> = servers.values().map(|own| Pool::of(witnesses, own)).collect();
    // A split that leaves every contradiction where it was explains nothing.
    if servers.len() > 1 && parts.iter().any(|part| part.brackets.iter().any(Bracket::is_determined)) { parts } else { vec![whole] }
}

impl Bracket {
    /// Whether anything is known that a setting must fulfil.
    pub fn is_determined(&self) -> bool {
        self.undetermined.is_none() && self.high.is_some()
    }
}

/// Directions and kinds of packets that are refused without an entry.
type Refused = BTreeSet<(Direction, Kind)>;

/// A cut with its flow, and how long the box had heard nothing: where keepalives count, and where that is not known.
#[derive(Clone, Copy)]
struct Weighed<'w> {
    witness: usize,
    cut: &'w Cut,
    idle: [Option<Duration>; 2],
}

/// Packets that are refused without an entry, as far as the cuts show.
fn refused(cuts: &[(usize, &Cut)]) -> Refused {
    let mut all = BTreeSet::new();
    for (_, cut) in cuts.iter().filter(|(_, cut)| cut.reaction.shows_refusal()) {
        let kinds: &[Kind] = match cut.kind {
            // Who refuses data in mid-stream refuses a FIN, but not the other way round.
            Kind::Data | Kind::Probe | Kind::Ack => &[Kind::Data, Kind::Probe, Kind::Ack, Kind::Fin],
            Kind::Fin => &[Kind::Fin],
            Kind::Reset => &[],
        };
        all.extend(kinds.iter().map(|kind| (cut.dir, *kind)));
    }
    all
}

impl Pool {
    fn of(witnesses: &[Witness], own: &[usize]) -> Pool {
        let cuts: Vec<(usize, &Cut)> = own.iter().filter_map(|at| Some((*at, witnesses[*at].told.cut.as_ref()?))).collect();
        let twice = seen_twice(witnesses, own);
        let refused = by_server(witnesses, &cuts);
        let nothing = Refused::new();
        let to = |at: usize| refused.get(&witnesses[at].socks[1].addr).unwrap_or(&nothing);
        let lived: Vec<(usize, &Survival)> = own
            .iter()
            .flat_map(|at| witnesses[*at].told.survivals.iter().map(move |s| (*at, s)))
            .filter(|(at, s)| to(*at).contains(&(s.dir, s.kind)))
            .collect();
        let weigh = |(witness, cut): (usize, &'_ Cut)| [false, true].map(|count| idle_at(cut, count, to(witness)));
        let cuts: Vec<Weighed<'_>> = cuts.iter().map(|(at, cut)| Weighed { witness: *at, cut, idle: weigh((*at, cut)) }).collect();
        let keepalives = keepalives(&cuts, &lived);
        let mut reactions = BTreeMap::new();
        for weighed in &cuts {
            *reactions.entry(weighed.cut.reaction).or_insert(0) += 1;
        }
        let count = usize::from(matches!(keepalives, Keepalives::Count { .. }));
        let mut brackets: Vec<Bracket> =
            State::ALL.into_iter().filter_map(|state| bracket(witnesses, own, state, &cuts, &lived, count)).collect();
        share(&mut brackets);
        for bracket in &mut brackets {
            bracket.judge(&cuts, count);
        }
        let servers: BTreeSet<Addr> = own.iter().map(|at| witnesses[*at].socks[1].addr).collect();
        let refused = refused.into_values().flatten().collect();
        Pool { servers: servers.into_iter().collect(), brackets, refused, reactions, keepalives, twice: twice.len() }
    }
}

/// What is refused on the way to each server: flows to others may go through other boxes.
fn by_server(witnesses: &[Witness], cuts: &[(usize, &Cut)]) -> BTreeMap<Addr, BTreeSet<(Direction, Kind)>> {
    let mut servers: BTreeMap<Addr, Vec<(usize, &Cut)>> = BTreeMap::new();
    for (at, cut) in cuts {
        servers.entry(witnesses[*at].socks[1].addr).or_default().push((*at, cut));
    }
    servers.into_iter().map(|(server, cuts)| (server, refused(&cuts))).collect()
}

/// Flows that were captured once more at another place: with the same ends, at the same time, in another input.
fn seen_twice(witnesses: &[Witness], own: &[usize]) -> BTreeSet<usize> {
    let mut known: BTreeMap<[Sock; 2], Vec<usize>> = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for at in own {
        let witness = &witnesses[*at];
        let others = known.entry(witness.socks).or_default();
        let same = |other: &usize| {
            let other = &witnesses[*other];
            other.file != witness.file && other.span.0 <= witness.span.1 && witness.span.0 <= other.span.1
        };
        if others.iter().any(same) {
            twice.insert(*at);
        }
        others.push(*at);
    }
    twice
}

/// How long the box had heard nothing before a cut, at most; none where that is not known. Where the entry may have been picked
/// up anew in the silence before, it need not have outlived that one.
fn idle_at(cut: &Cut, keepalives_count: bool, refused: &Refused) -> Option<Duration> {
    let idle = measured(cut, keepalives_count)?;
    let picks_up = |up: PickUp| {
        let mut by = [Direction::Original, Direction::Reply].into_iter().filter(|dir| up.by[dir.index()]);
        by.any(|dir| !refused.contains(&(dir, Kind::Data)))
    };
    match cut.pick_up.filter(|up| picks_up(*up)) {
        None => Some(idle),
        Some(up) if up.after == Duration::MAX => None,
        Some(up) => Some(idle.max(up.after + cut.silence.slack)),
    }
}

/// How long the box had heard nothing, by what counts with it.
fn measured(cut: &Cut, keepalives_count: bool) -> Option<Duration> {
    let silence = &cut.silence;
    let idle =
        if cut.reaction == Reaction::Spontaneous || keepalives_count { silence.client.max(Some(silence.idle)) } else { silence.quiet };
    let idle = if cut.reaction == Reaction::Spontaneous && !keepalives_count { silence.quiet.or(silence.client) } else { idle };
    idle.map(|idle| idle + silence.slack)
}

fn keepalives(cuts: &[Weighed<'_>], lived: &[(usize, &Survival)]) -> Keepalives {
    let plain = |s: State| s == State::Established;
    let soonest = cuts.iter().filter(|w| plain(w.cut.state)).filter_map(|w| w.idle[0]).min();
    let longest = lived.iter().filter(|(_, s)| plain(s.state)).max_by_key(|(_, s)| s.silence.solid);
    if let (Some(soonest), Some((witness, survival))) = (soonest, longest) {
        let less = |span: Duration| span.saturating_sub(survival.silence.slack);
        let span = less(survival.silence.solid);
        if span > soonest + lateness_worst(soonest) && less(survival.silence.idle) < soonest {
            return Keepalives::Count { witness: *witness, span };
        }
    }
    let idle = |silence: &Silence| silence.idle.saturating_sub(silence.slack);
    let longest = lived.iter().filter(|(_, s)| plain(s.state)).map(|(_, s)| idle(&s.silence)).max();
    let despite = cuts.iter().filter(|w| plain(w.cut.state) && w.cut.reaction.shows_refusal()).find(|w| {
        let silence = &w.cut.silence;
        let heard = silence.client.unwrap_or(silence.idle) + silence.slack;
        let outlived = longest.is_some_and(|lived| late::setting_min(lived) > heard);
        outlived && silence.quiet.is_some_and(|quiet| quiet > silence.idle.saturating_mul(2))
    });
    match despite {
        Some(Weighed { witness, cut, .. }) => Keepalives::Ignored { witness: *witness, span: cut.silence.idle },
        None => Keepalives::Unknown,
    }
}

fn bracket(
    witnesses: &[Witness],
    own: &[usize],
    state: State,
    cuts: &[Weighed<'_>],
    lived: &[(usize, &Survival)],
    count: usize,
) -> Option<Bracket> {
    let mine: Vec<Weighed<'_>> = cuts.iter().copied().filter(|w| w.cut.state == state).collect();
    let around = |silence: &Silence| (silence.before, silence.late);
    let over = |w: &Weighed<'_>| Some(Bound { value: w.idle[count]?, witness: w.witness, frames: around(&w.cut.silence) });
    let high = mine.iter().filter_map(over).min_by_key(|bound| bound.value);
    let under =
        |witness: usize, silence: &Silence| Bound { value: silence.idle.saturating_sub(silence.slack), witness, frames: around(silence) };
    // A timer that fired is as long as the silence was.
    let fired = mine.iter().filter(|w| w.cut.reaction == Reaction::Spontaneous).map(|w| under(w.witness, &w.cut.silence));
    let here: Vec<(usize, &Survival)> = lived.iter().copied().filter(|(_, s)| s.state == state).collect();
    let low = here.iter().map(|(at, s)| under(*at, &s.silence)).chain(fired);
    let low = longest(low);
    let all = own.iter().flat_map(|at| witnesses[*at].told.survivals.iter().map(move |s| (*at, s)));
    let survived = all.filter(|(_, s)| s.state == state).map(|(at, s)| under(at, &s.silence));
    let survived = longest(survived);
    if mine.is_empty() && survived.is_none() {
        return None;
    }
    let worth = high.map_or(Duration::ZERO, |high| Duration(high.value.0 / 4));
    let kept: BTreeSet<usize> = here.iter().filter(|(_, s)| s.silence.idle >= worth).map(|(at, _)| *at).collect();
    let cut: BTreeSet<usize> = mine.iter().map(|w| w.witness).collect();
    let undetermined = match (mine.is_empty(), high) {
        (true, _) => Some(Undetermined::NothingCut),
        (false, None) => Some(Undetermined::NoBeginning),
        _ => None,
    };
    let (cut, kept) = (cut.into_iter().collect(), kept.into_iter().collect());
    Some(Bracket { state, high, low, low_late: Duration::ZERO, undetermined, cut, kept, against: Vec::new(), survived })
}

/// The longest, the first of equals.
fn longest(bounds: impl Iterator<Item = Bound>) -> Option<Bound> {
    bounds.reduce(|best, next| if best.value >= next.value { best } else { next })
}

/// With bytes outstanding the timer that runs is the established one or a shorter one: what it bore, the established one bears;
/// what the established one does not bear, it does not bear.
fn share(brackets: &mut [Bracket]) {
    let of = |brackets: &[Bracket], state: State| brackets.iter().position(|b| b.state == state);
    let (Some(plain), Some(pending)) = (of(brackets, State::Established), of(brackets, State::Outstanding)) else { return };
    if let Some(low) = brackets[pending].low
        && brackets[plain].low.is_none_or(|own| own.value < low.value)
    {
        brackets[plain].low = Some(low);
    }
    if let Some(high) = brackets[plain].high
        && brackets[pending].high.is_some_and(|own| own.value > high.value)
    {
        brackets[pending].high = Some(high);
    }
}

impl Bracket {
    /// Whether the two ends fit together, even with timers that are late.
    fn judge(&mut self, cuts: &[Weighed<'_>], count: usize) {
        let Some(low) = self.low else { return };
        self.low_late = late::setting_min(low.value);
        let sooner = |w: &&Weighed<'_>| w.cut.state == self.state && w.idle[count].is_some_and(|idle| idle < self.low_late);
        self.against = cuts.iter().filter(sooner).map(|w| w.witness).collect();
        if self.high.is_some_and(|high| high.value < self.low_late) {
            self.undetermined = Some(Undetermined::Contradiction);
        }
    }
}
