//! The smallest timers that cut nothing, or at most a share of the flows, and the keepalive that saves the rest.
//!
//! First what each flow needs of each timer ([`super::needs`]); from that the values, and cheaper ones that give some flows up.
//! Every claim is then checked by replaying the policies themselves ([`Trial`]).

use super::Study;
use super::ledger::Occupancy;
use super::needs::{Knob, Needs, Spell, knobs, of_run, set, setting_of, settings_of, waits_for_people};
use super::tally::Tally;
use crate::engine::many::{Class, Many};
use crate::engine::pipeline::{Followed, Run};
use crate::engine::studied::{Scratch, Studied};
use crate::engine::{Device, Path};
use crate::finding::Verdict;
use crate::finding::advice::keep_secs;
use crate::finding::margin::{Budget, Margin};
use crate::flow::GapEvidence;
use crate::kernel::wheel::Hz;
use crate::model::conntrack::entry::State as CtState;
use crate::model::idle::Clause as IdleClause;
use crate::model::ipvs::state::State as VsState;
use crate::policy::idle::Activity;
use crate::policy::{BoxPolicy, BoxSpec};
use crate::time::Duration;
use std::collections::BTreeMap;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Asked {
    /// The share of flows that may be cut, 0 to 1.
    pub share: f64,
    /// Whether timers that wait for TCP itself may be lowered too.
    pub lower_all: bool,
    /// Ticks a second of the hosts, for the lateness of their keepalive.
    pub hz: Hz,
    /// Probes that may be lost in a row.
    pub lost: u32,
    /// Seconds between probes.
    pub interval: u64,
}

/// Why a timer is recommended to be what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The smallest whole seconds that bear what the capture shows.
    Smallest,
    /// It is too short as it is.
    Raised,
    /// It bears everything, and one capture is no reason to lower a timer that waits for TCP itself.
    Kept,
    /// Nothing in the capture ran under it.
    Unused,
}

/// A timer and what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// Which.
    pub knob: Knob,
    /// What it is set to.
    pub current: Duration,
    /// The longest spell that it has to bear, of the flows that are not given up.
    pub need: Option<Spell>,
    /// What it should be, whole seconds; as it is where nothing speaks for another value.
    pub value: Duration,
    /// Why.
    pub reason: Reason,
}

/// Timers that give so many flows up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    /// How many flows are given up.
    pub given_up: usize,
    /// The timers.
    pub timers: Vec<Timer>,
}

impl Point {
    /// What a timer is set to at this point, whole seconds; nothing where no flow ran under it.
    pub fn value(&self, knob: Knob) -> Option<u64> {
        self.timers.iter().find(|timer| timer.knob == knob && timer.reason != Reason::Unused).map(|timer| timer.value.as_secs())
    }

    /// The boxes with these timers.
    fn boxes(&self, boxes: &[BoxSpec]) -> Result<Vec<BoxSpec>, String> {
        let mut boxes = boxes.to_vec();
        for timer in self.timers.iter().filter(|timer| timer.value != timer.current) {
            set(&mut boxes, timer.knob, timer.value.as_secs())?;
        }
        Ok(boxes)
    }
}

/// What is to be tried.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every timer of the path.
    pub timers: Vec<Timer>,
    /// Flows that are given up under the recommended timers, by place.
    pub given_up: Vec<usize>,
    /// Ever smaller tables for ever more flows given up; the first gives none up.
    pub points: Vec<Point>,
    /// Flows that no setting saves: a timer that cannot be set is too short for them.
    pub hopeless: Vec<usize>,
    /// Flows in the order in which they would be given up.
    order: Vec<usize>,
}

/// How many points the curve of cuts against memory has at most.
const POINTS: usize = 16;

/// Spells of one timer over all flows.
struct Column {
    knob: Knob,
    current: Duration,
    /// Longest first; of equals in the order of the flows.
    spells: Vec<Spell>,
    /// How many of them are given up or shorter ones must follow.
    next: usize,
    /// How many entries ended by this timer: what a second of it costs.
    entries: u64,
    /// Whole seconds on top: some releases do not store a deadline that moves forward by less than a second, so that which
    /// packet was the last to count depends on the lengths themselves (2.6.20 to 4.8).
    slack: u64,
}

impl Column {
    /// The longest spell of a flow that is not given up.
    fn top(&mut self, given_up: &[bool]) -> Option<Spell> {
        while self.spells.get(self.next).is_some_and(|spell| given_up[spell.flow]) {
            self.next += 1;
        }
        self.spells.get(self.next).copied()
    }

    /// The flows that need as many whole seconds as the top does, and the spell after them.
    fn step(&self, given_up: &[bool]) -> (Vec<usize>, Option<Spell>) {
        let rest = self.spells[self.next.min(self.spells.len())..].iter().filter(|spell| !given_up[spell.flow]);
        let mut flows = Vec::new();
        let mut top = None;
        for spell in rest {
            if *top.get_or_insert(keep_secs(spell.idle)) != keep_secs(spell.idle) {
                return (flows, Some(*spell));
            }
            flows.push(spell.flow);
        }
        (flows, None)
    }
}

impl Plan {
    /// Makes the plan.
    pub fn new(path: &Path, run: &Followed, needs: &[Needs], asked: &Asked) -> Plan {
        let mut columns = columns(path, run, needs);
        let hopeless: Vec<usize> = (0..needs.len()).filter(|flow| !needs[*flow].beyond_settings.is_empty()).collect();
        let mut given_up = vec![false; needs.len()];
        for flow in &hopeless {
            given_up[*flow] = true;
        }
        let allowed = (asked.share.clamp(0.0, 1.0) * needs.len() as f64).floor() as usize;
        let mut plan = Plan { timers: Vec::new(), given_up: Vec::new(), points: Vec::new(), hopeless, order: Vec::new() };
        let (mut lost, mut marks) = (Vec::new(), marks(needs.len()));
        let mut enough = 0;
        loop {
            if lost.len() <= allowed {
                plan.timers = columns.iter_mut().map(|column| timer(column, &given_up, asked.lower_all)).collect();
                enough = lost.len();
            }
            if marks.first().is_some_and(|mark| lost.len() >= *mark) {
                marks.retain(|mark| *mark > lost.len());
                let timers = columns.iter_mut().map(|column| timer(column, &given_up, asked.lower_all)).collect();
                plan.points.push(Point { given_up: lost.len(), timers });
            }
            if marks.is_empty() && lost.len() >= allowed {
                break;
            }
            let Some(flows) = cheapest(&mut columns, &given_up) else { break };
            for flow in flows {
                given_up[flow] = true;
                lost.push(flow);
            }
        }
        plan.given_up = lost[..enough].to_vec();
        plan.given_up.sort_unstable();
        plan.order = lost;
        plan
    }

    /// Takes a point of the curve for the recommendation: boxes that take flows up again cut fewer than were given up.
    fn adopt(&mut self, index: usize) {
        let Some(point) = self.points.get(index) else { return };
        self.timers.clone_from(&point.timers);
        self.given_up = self.order[..point.given_up.min(self.order.len())].to_vec();
        self.given_up.sort_unstable();
    }

    /// The boxes with the recommended timers.
    ///
    /// # Errors
    /// A value that a box does not take.
    pub fn recommended(&self, boxes: &[BoxSpec]) -> Result<Vec<BoxSpec>, String> {
        let mut recommended = boxes.to_vec();
        for timer in self.changes() {
            set(&mut recommended, timer.knob, timer.value.as_secs())?;
        }
        Ok(recommended)
    }

    /// Takes in what the flows still needed when the recommended timers were tried: which packets renew an entry may itself depend
    /// on the timers, as when a reset was no end or a deadline was not moved. Whether there was anything to learn.
    fn learn(&mut self, path: &Path, study: &Study<'_, '_>) -> bool {
        let mut learned = false;
        let mut scratch = Scratch::default();
        for flow in 0..study.run.flows.len() {
            if self.given_up.binary_search(&flow).is_ok() || self.hopeless.contains(&flow) {
                continue;
            }
            let class = |(place, class): (usize, &Class<'_>)| {
                study.run.flows.outline(flow, place, class, &mut scratch).iter().find_map(|part| {
                    let cut = part.run.cut.as_deref().map(|(late, _)| late);
                    cut.into_iter().chain(part.run.repaired.as_deref()).min_by_key(|late| late.ordinal).copied()
                })
            };
            let late = study.many.classes.iter().enumerate().find_map(class);
            let Some(late) = late.filter(|late| late.evidence != GapEvidence::Hole) else { continue };
            let hop = usize::from(late.hop);
            let dos = matches!(&path.hops[hop].device, Device::Director(d) if d.ipvs.secure_tcp && d.ipvs.dialect.dos_timeouts);
            let known = setting_of(&path.hops[hop], late.lapse.clause, dos);
            let timer = known.and_then(|setting| self.timers.iter_mut().find(|timer| timer.knob == Knob { hop, setting }));
            let Some(timer) = timer else {
                self.hopeless.push(flow);
                learned = true;
                continue;
            };
            let value = Duration::from_secs(keep_secs(late.idle()));
            if value <= timer.value {
                // The timer was long enough: the entry ended by a rule that no length reaches, as one that a RST made in 2.4.
                self.hopeless.push(flow);
                learned = true;
            } else {
                timer.value = value;
                timer.need = Some(Spell { idle: late.idle(), flow, frame: late.frame, evidence: late.evidence });
                timer.reason = if value > timer.current { Reason::Raised } else { Reason::Smallest };
                learned = true;
            }
        }
        self.hopeless.sort_unstable();
        learned
    }

    /// The timers that should be set to something else than they are.
    pub fn changes(&self) -> impl Iterator<Item = &Timer> {
        self.timers.iter().filter(|timer| timer.value != timer.current)
    }
}

/// At how many flows given up a point is wanted: none, then ever more.
fn marks(flows: usize) -> Vec<usize> {
    let mut marks = vec![0];
    let factor = (flows.max(2) as f64 / 2.0).powf(1.0 / (POINTS - 2) as f64);
    for step in 0..POINTS - 1 {
        let mark = factor.powi(step as i32).round() as usize;
        if mark <= flows / 2 && marks.last().is_some_and(|last| mark > *last) {
            marks.push(mark);
        }
    }
    marks
}

fn columns(path: &Path, run: &Followed, needs: &[Needs]) -> Vec<Column> {
    let mut entries: BTreeMap<Knob, u64> = BTreeMap::new();
    for judged in &run.flows {
        for (hop, part) in judged.run.hops.iter().enumerate() {
            path.hops[hop].for_each_timer(&part.state, |_, timer| {
                if let Some(setting) = settings_of(&path.hops[hop], timer).first() {
                    *entries.entry(Knob { hop, setting }).or_default() += 1;
                }
            });
        }
    }
    let column = |(knob, current): (Knob, Duration)| {
        let mut spells: Vec<Spell> =
            needs.iter().filter_map(|needs| needs.spells.iter().find(|(known, _)| *known == knob).map(|(_, spell)| *spell)).collect();
        spells.sort_by_key(|spell| (std::cmp::Reverse(spell.idle), spell.flow));
        let slack = match &path.hops[knob.hop].device {
            Device::Router(router) => u64::from(router.conntrack.settings.dialect.coalesce_refresh),
            Device::Director(_) | Device::Idle(_) => 0,
        };
        Column { knob, current, spells, next: 0, entries: entries.get(&knob).copied().unwrap_or(0), slack }
    };
    knobs(path).into_iter().map(column).collect()
}

/// What a timer should be, for the flows that are not given up.
fn timer(column: &mut Column, given_up: &[bool], lower_all: bool) -> Timer {
    let (knob, current) = (column.knob, column.current);
    let need = column.top(given_up);
    let keep = |reason| Timer { knob, current, need, value: current, reason };
    let Some(spell) = need else { return keep(Reason::Unused) };
    let smallest = Duration::from_secs(keep_secs(spell.idle) + column.slack);
    if smallest > current {
        Timer { value: smallest, ..keep(Reason::Raised) }
    } else if lower_all || waits_for_people(knob.setting) {
        Timer { value: smallest, ..keep(Reason::Smallest) }
    } else {
        keep(Reason::Kept)
    }
}

/// The flows whose loss saves the most entry-seconds for each of them, by lowering one timer that waits for people.
fn cheapest(columns: &mut [Column], given_up: &[bool]) -> Option<Vec<usize>> {
    let mut best: Option<(f64, Vec<usize>)> = None;
    for column in columns.iter_mut().filter(|column| waits_for_people(column.knob.setting)) {
        let Some(top) = column.top(given_up) else { continue };
        let (flows, next) = column.step(given_up);
        let saved = keep_secs(top.idle) - next.map_or(1, |next| keep_secs(next.idle));
        let worth = saved as f64 * (column.entries.max(1)) as f64 / flows.len().max(1) as f64;
        if saved > 0 && best.as_ref().is_none_or(|(known, _)| worth > *known) {
            best = Some((worth, flows));
        }
    }
    best.map(|(_, flows)| flows)
}

/// The shortest timer for open connections on a path that a keepalive restarts, with its box.
pub fn shortest_open(path: &Path) -> Option<(usize, Duration)> {
    let timer = |(index, hop): (usize, &crate::engine::Hop)| {
        let span = match &hop.device {
            Device::Router(r) => r.conntrack.settings.tcp_timeouts[CtState::Established as usize],
            Device::Director(d) => d.ipvs.timeouts[VsState::Established as usize],
            Device::Idle(i) => i.timer(IdleClause::Established).timeout,
        };
        // A proxy does not hand a keepalive on.
        let blind = matches!(&hop.policy, BoxPolicy::Idle(policy) if policy.activity() == Activity::Data);
        (!blind && span < Duration::MAX).then_some((index, span))
    };
    path.hops.iter().enumerate().filter_map(timer).min_by_key(|(_, span)| *span)
}

/// The largest keepalive idle time that stays below the timers of a path, with its sum.
pub fn keepalive(path: &Path, asked: &Asked, round_trip: Duration) -> Option<(usize, Budget)> {
    let (hop, timeout) = shortest_open(path)?;
    let margin = Margin { timeout, hz: Some(asked.hz), round_trip, interval: asked.interval, lost: asked.lost };
    Some((hop, margin.largest()?))
}

/// The longest round trip of the flows, from their handshakes.
pub fn round_trip_max<R>(run: &Followed<R>) -> Duration {
    run.flows.iter().filter_map(|judged| judged.flow.rtt()).max().unwrap_or(Duration::ZERO)
}

/// A policy that is tried, and what it is tried for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trial {
    /// The path as it is.
    Current,
    /// The timers that are recommended.
    Recommended,
    /// The same, this one of them a second shorter.
    OneLess(Knob),
    /// The path as it is, where the client sends keepalive probes in time for it.
    CurrentKeepalive,
    /// The recommended timers with probes in time for them.
    RecommendedKeepalive,
    /// A point of the curve of cuts against memory.
    Point(usize),
}

/// A policy to try: its boxes, and the client's keepalive.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What it is tried for.
    pub trial: Trial,
    /// The boxes.
    pub boxes: Vec<BoxSpec>,
    /// The client's keepalive idle time.
    pub keepalive: Option<Duration>,
}

/// What came of a trial.
#[derive(Clone, Debug)]
pub struct Tried {
    /// What was tried.
    pub trial: Trial,
    /// What it does to the flows.
    pub tally: Tally,
    /// How full each box's table is.
    pub tables: Vec<Occupancy>,
}

/// The keepalive that is recommended for some timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// The box whose timer is the shortest, from 0 at the client.
    pub hop: usize,
    /// The sum.
    pub budget: Budget,
}

/// A plan with everything that is to be tried before it is believed.
#[derive(Clone, Debug)]
pub struct Trials {
    /// The policies.
    pub policies: Vec<Policy>,
    /// The keepalive for the path as it is, and for the recommended timers.
    pub keepalives: [Option<Keepalive>; 2],
}

impl Trials {
    /// What is to be tried.
    ///
    /// # Errors
    /// A value that a box does not take.
    pub fn new(boxes: &[BoxSpec], path: &Path, plan: &Plan, asked: &Asked, round_trip: Duration) -> Result<Trials, String> {
        let mut policies = vec![Policy { trial: Trial::Current, boxes: boxes.to_vec(), keepalive: None }];
        let recommended = plan.recommended(boxes)?;
        policies.push(Policy { trial: Trial::Recommended, boxes: recommended.clone(), keepalive: None });
        for timer in plan.timers.iter().filter(|timer| matches!(timer.reason, Reason::Smallest | Reason::Raised)) {
            let less = timer.value.as_secs() - 1;
            if less > 0 {
                let mut boxes = recommended.clone();
                set(&mut boxes, timer.knob, less)?;
                policies.push(Policy { trial: Trial::OneLess(timer.knob), boxes, keepalive: None });
            }
        }
        let now = keepalive(path, asked, round_trip).map(|(hop, budget)| Keepalive { hop, budget });
        let tuned = Path::build(&recommended, path.clock).map_err(|error| error.to_string())?;
        let then = keepalive(&tuned, asked, round_trip).map(|(hop, budget)| Keepalive { hop, budget });
        let idle = |found: Option<Keepalive>| found.map(|found| Duration::from_secs(found.budget.idle));
        policies.push(Policy { trial: Trial::CurrentKeepalive, boxes: boxes.to_vec(), keepalive: idle(now) });
        policies.push(Policy { trial: Trial::RecommendedKeepalive, boxes: recommended, keepalive: idle(then) });
        for (index, point) in plan.points.iter().enumerate() {
            policies.push(Policy { trial: Trial::Point(index), boxes: point.boxes(boxes)?, keepalive: None });
        }
        Ok(Trials { policies, keepalives: [now, then] })
    }
}

/// How often the recommended timers are tried anew with what was learned from the trial before.
const ROUNDS: usize = 8;

/// Finds the timers, tries them, and tries what else there is to say. `bearing` are the flows through entries that never end;
/// `follow` has the same flows followed for other policies.
///
/// # Errors
/// A value that a box does not take, and what `follow` says.
pub fn tune<E: From<String>>(
    boxes: &[BoxSpec],
    path: &Path,
    asked: &Asked,
    bearing: &Followed,
    mut follow: impl FnMut(&Many<'_>) -> Result<Run<Studied>, E>,
) -> Result<(Tuned, Vec<BoxSpec>), E> {
    let mut plan = Plan::new(path, bearing, &of_run(path, bearing), asked);
    let round_trip = round_trip_max(bearing);
    let build = |boxes: &[BoxSpec]| Path::build(boxes, path.clock).map_err(|error| error.to_string());
    for _ in 0..ROUNDS {
        let paths = [build(&plan.recommended(boxes)?)?];
        let many = Many::new(&paths, false);
        let run = follow(&many)?;
        if !plan.learn(path, &Study { many: &many, run: &run }) {
            break;
        }
    }
    if asked.share > 0.0
        && let Some(index) = cheaper(boxes, path, &plan, asked, bearing.flows.len(), &mut follow)?
    {
        plan.adopt(index);
    }
    let trials = Trials::new(boxes, path, &plan, asked, round_trip)?;
    let paths = trials.policies.iter().map(|policy| build(&policy.boxes)).collect::<Result<Vec<_>, _>>()?;
    let keepalives: Vec<_> = trials.policies.iter().map(|policy| policy.keepalive).collect();
    let many = Many::with_keepalive(&paths, &keepalives, true);
    let run = follow(&many)?;
    let study = Study { many: &many, run: &run };
    let tried = trials.policies.iter().zip(study.tallies()).zip(study.occupancies(&study.ledgers()));
    let tried = tried.map(|((policy, tally), tables)| Tried { trial: policy.trial, tally, tables }).collect();
    let recommended = plan.recommended(boxes)?;
    Ok((Tuned { plan, asked: *asked, round_trip, keepalives: trials.keepalives, tried }, recommended))
}

/// The point of the curve with the fewest entries that cuts no more than is allowed, where it has fewer than the recommendation.
fn cheaper<E: From<String>>(
    boxes: &[BoxSpec],
    path: &Path,
    plan: &Plan,
    asked: &Asked,
    flows: usize,
    follow: &mut impl FnMut(&Many<'_>) -> Result<Run<Studied>, E>,
) -> Result<Option<usize>, E> {
    let allowed = (asked.share.clamp(0.0, 1.0) * flows as f64).floor() as u64 + plan.hopeless.len() as u64;
    let mut paths = vec![Path::build(&plan.recommended(boxes)?, path.clock).map_err(|error| error.to_string())?];
    for point in &plan.points {
        paths.push(Path::build(&point.boxes(boxes)?, path.clock).map_err(|error| error.to_string())?);
    }
    let many = Many::new(&paths, true);
    let run = follow(&many)?;
    let study = Study { many: &many, run: &run };
    let (tallies, tables) = (study.tallies(), study.occupancies(&study.ledgers()));
    let cost = |at: usize| tables[at].iter().map(|table| table.area).sum::<u128>();
    let points = (1..paths.len()).filter(|at| tallies[*at].count(Verdict::Cut) <= allowed && cost(*at) < cost(0));
    Ok(points.min_by_key(|at| cost(*at)).map(|at| at - 1))
}

/// A plan, tried.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The plan.
    pub plan: Plan,
    /// What was asked.
    pub asked: Asked,
    /// The longest round trip of the flows.
    pub round_trip: Duration,
    /// The keepalive for the path as it is, and for the recommended timers.
    pub keepalives: [Option<Keepalive>; 2],
    /// What came of each trial.
    pub tried: Vec<Tried>,
}

impl Tuned {
    /// What came of one trial.
    pub fn of(&self, trial: Trial) -> Option<&Tried> {
        self.tried.iter().find(|tried| tried.trial == trial)
    }

    /// The points that no other point beats in cuts and in the entries of all tables on average at once, fewest cuts first.
    pub fn pareto(&self) -> Vec<&Tried> {
        let cost = |tried: &Tried| tried.tables.iter().map(|table| table.area).sum::<u128>();
        let mut points: Vec<&Tried> = self.tried.iter().filter(|tried| matches!(tried.trial, Trial::Point(_))).collect();
        points.sort_by_key(|tried| (tried.tally.count(Verdict::Cut), cost(tried)));
        let mut least = u128::MAX;
        points.retain(|tried| {
            let better = cost(tried) < least;
            least = least.min(cost(tried));
            better
        });
        points
    }
}
