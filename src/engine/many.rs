//! Many policies at once: one replay for all that differ in nothing but the lengths of timers.
//!
//! As long as no entry has ended, what a flow does to a box is the same whatever the lengths. So the policies share one run
//! of each flow and part only at the packet that some of them would find too late, or where a box compares two timers; each
//! part goes on by itself, represented by its first policy. What comes out is what as many separate replays would say, since
//! the same models judged the same packets.

use super::hop::{Device, Hop};
use super::lives::Life;
use super::members::Members;
use super::path::{Clock, Path};
use super::pipeline::Follow;
use super::probes::Ends;
use super::profile::Profile;
use super::quick::Others;
use super::ranks::Ranks;
use super::replay::{Compared, FlowRun, Replay};
use super::rest::Layout;
use super::timers::TimerId;
use super::told::Told;
use crate::flow::{Flow, GapEvidence, Observation};
use crate::model::conntrack;
use crate::model::lateness::Lateness;
use crate::net::{Segment, TcpFlags};
use crate::policy::{BoxPolicy, ConntrackPolicy, IdlePolicy, IpvsPolicy};
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// Whether a box compares the lengths of timers while entries live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compares {
    Never,
    /// At a FIN or RST outside the window (6.1 and later).
    Closing,
    /// At every packet (2.6.20 to 4.8).
    Always,
}

/// Policies that differ in nothing but the lengths of timers.
#[derive(Debug)]
pub struct Class<'p> {
    /// Which of all policies they are.
    pub members: Vec<usize>,
    /// The idle time after which the client is taken to send keepalive probes that the capture does not hold.
    pub keepalive: Option<Duration>,
    replays: Vec<Replay<'p>>,
    /// For each box the shortest length of each timer, by number.
    floors: Vec<Vec<Duration>>,
    /// For each box and timer the members by its length.
    ranks: Vec<Vec<OnceLock<Ranks>>>,
    compares: Vec<Compares>,
    /// Whether timers fire on time: what was borne once is borne again.
    is_exact: bool,
    /// Whether a timer that never ends for one of them ends for none.
    lasts_alike: bool,
}

/// Policies of one class that have not parted, and the run that they share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The policies, by their place in the class.
    pub members: Members,
    /// Their run.
    pub run: FlowRun,
    /// Whether nothing more is asked of it.
    pub(super) done: bool,
    /// The lives of entries, with their boxes, of a run that does not have its boxes' states any more.
    pub(super) gone: Box<[(u8, Life)]>,
}

impl Part {
    /// A run that some policies share.
    pub(super) fn of(members: Members, run: FlowRun) -> Part {
        Part { members, run, done: false, gone: Box::default() }
    }

    /// The lives of entries at a box.
    pub fn lives(&self, index: usize, hop: &Hop, mut tell: impl FnMut(Life)) {
        if let Some(held) = self.run.hops.get(index)
            && let Some(lives) = &held.lives
        {
            lives.each(hop, &held.state, &mut tell);
        }
        self.gone.iter().filter(|(of, _)| usize::from(*of) == index).for_each(|(_, life)| tell(*life));
    }

    /// Leaves what nobody asks of a part that is done: a cut flow's verdict does not turn on what boxes remember afterwards.
    pub(super) fn forget_states(&mut self, path: &Path) {
        if !self.done || self.run.hops.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        for (index, hop) in path.hops.iter().enumerate() {
            self.lives(index, hop, |life| gone.push((index as u8, life)));
        }
        self.gone = gone.into();
        self.run.hops = Box::default();
    }
}

/// What one class of policies makes of a flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClassRun {
    /// The parts that its policies have come to.
    pub parts: Vec<Part>,
    ends: Option<Box<Ends>>,
}

/// What policies of one class have in common: the client's keepalive, and the boxes apart from timers.
type Form = (Option<Duration>, Vec<BoxPolicy>);

/// All policies.
#[derive(Debug)]
pub struct Many<'p> {
    /// Classes of policies, in the order of their first members.
    pub classes: Vec<Class<'p>>,
    /// Whether flows are followed beyond the first entry that ended: to what came after it was made anew.
    pub beyond: bool,
}

impl<'p> Many<'p> {
    /// Sorts policies into classes. `beyond` asks for what happens after an entry has ended and was made anew; without it a flow
    /// is followed to the first entry that ends before its time.
    pub fn new(paths: &'p [Path], beyond: bool) -> Many<'p> {
        Many::with_keepalive(paths, &[], beyond)
    }

    /// The same, where the client sends keepalive probes after so long in the policy of the same place.
    pub fn with_keepalive(paths: &'p [Path], keepalives: &[Option<Duration>], beyond: bool) -> Many<'p> {
        let mut forms: Vec<(Form, Vec<usize>)> = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let boxes: Vec<BoxPolicy> = path.hops.iter().map(|hop| without_timers(&hop.policy)).collect();
            let form = (keepalives.get(index).copied().flatten(), boxes);
            match forms.iter_mut().find(|(known, _)| *known == form) {
                Some((_, members)) => members.push(index),
                None => forms.push((form, vec![index])),
            }
        }
        let classes = forms.into_iter().map(|((keepalive, _), members)| Class::new(paths, members, keepalive)).collect();
        Many { classes, beyond }
    }
}

impl<'p> Class<'p> {
    fn new(paths: &'p [Path], members: Vec<usize>, keepalive: Option<Duration>) -> Class<'p> {
        let of_class = || members.iter().map(|index| &paths[*index]);
        let hops = of_class().next().map_or(0, |path| path.hops.len());
        let mut floors = vec![vec![Duration::MAX; TimerId::NUMBERS]; hops];
        let mut ceilings = vec![vec![Duration::ZERO; TimerId::NUMBERS]; hops];
        for path in of_class() {
            for ((hop, floor), ceiling) in path.hops.iter().zip(&mut floors).zip(&mut ceilings) {
                for (number, (shortest, longest)) in floor.iter_mut().zip(ceiling).enumerate() {
                    let span = hop.span(TimerId(number as u16));
                    (*shortest, *longest) = ((*shortest).min(span), (*longest).max(span));
                }
            }
        }
        let mut both = floors.iter().flatten().zip(ceilings.iter().flatten());
        let lasts_alike = both.all(|(shortest, longest)| *longest < Duration::MAX || *shortest == Duration::MAX);
        let compares = of_class().next().map_or_else(Vec::new, |path| path.hops.iter().map(compares).collect());
        let replays = of_class().map(|path| Replay::new(path).counting_lives()).collect();
        let ranks = (0..hops).map(|_| (0..TimerId::NUMBERS).map(|_| OnceLock::new()).collect()).collect();
        let is_exact = of_class().all(|path| path.clock == Clock::Ideal);
        Class { members, keepalive, replays, floors, ranks, compares, is_exact, lasts_alike }
    }

    /// The path of a member.
    pub fn path(&self, member: u32) -> &'p Path {
        self.replays[member as usize].path
    }

    pub(super) fn replay(&self, member: u32) -> &Replay<'p> {
        &self.replays[member as usize]
    }

    /// All of its policies.
    pub const fn everybody(&self) -> Members {
        Members::all(self.members.len() as u32)
    }

    /// How its flows rest small, if they can: where packets alone move time, and where what renews a timer is the same for all policies.
    pub(super) fn layout(&self) -> Option<Layout> {
        let layout = Layout::counting_lives(self.path(0));
        let can = layout.packs() && self.keepalive.is_none() && !self.compares.contains(&Compares::Always);
        (can && self.lasts_alike).then_some(layout)
    }

    /// Gives the timers of a run the lengths that they have for one of the policies.
    pub(super) fn retime(&self, run: &mut FlowRun, member: u32) {
        for (hop, held) in self.path(member).hops.iter().zip(&mut run.hops) {
            hop.retime(&mut held.state);
        }
    }

    pub(super) fn begin(&self, flow: &Flow, seg: &Segment) -> ClassRun {
        let parts = vec![Part::of(self.everybody(), self.replays[0].begin(flow, seg))];
        ClassRun { parts, ends: self.keepalive.map(|_| Box::new(Ends::NEW)) }
    }

    /// The probes that the client would have sent before a moment.
    pub(super) fn probes(&self, run: &mut ClassRun, flow: &Flow, until: Instant, beyond: bool) {
        if let (Some(every), Some(ends)) = (self.keepalive, &mut run.ends)
            && run.parts.iter().any(|part| !part.done)
        {
            ends.probe(flow, every, until, |seg, observation| {
                let step = Step::new(Told { flow, seg, observation, previous_frame: flow.last_frame });
                self.segment(&mut run.parts, &step, beyond);
            });
        }
    }

    /// Whether some policy may find an entry of this run ended, or decide otherwise.
    fn is_woken(&self, run: &FlowRun, replay: &Replay<'_>, seg: &Segment) -> bool {
        let now = replay.judged_at(seg.at) + replay.blur();
        let mut woken = false;
        for (index, part) in run.hops.iter().enumerate() {
            let floor = &self.floors[index];
            let unbroken = part.lives.as_ref().is_some_and(|lives| lives.are_unbroken());
            let unbroken = unbroken && replay.path.hops[index].entries(&part.state) == 1;
            replay.path.hops[index].for_each_timer(&part.state, |refreshed, timer| {
                let idle = now.since(refreshed);
                let (after, profile) = (floor[usize::from(timer.0)], &run.profile);
                woken |= if unbroken { self.may_find_it_ended(index, timer, idle, profile) } else { idle >= after };
            });
            woken |= match self.compares[index] {
                Compares::Never => false,
                Compares::Closing => seg.flags.any(TcpFlags::FIN | TcpFlags::RST),
                Compares::Always => true,
            };
        }
        woken
    }

    /// Takes a segment.
    pub(super) fn follow(&self, run: &mut ClassRun, told: Told<'_>, beyond: bool) {
        // What the capture lost may be what a probe would have been.
        if told.observation.evidence != GapEvidence::Hole {
            self.probes(run, told.flow, told.seg.at, beyond);
        }
        self.segment(&mut run.parts, &Step::new(told), beyond);
        if let Some(ends) = &mut run.ends {
            ends.take(told.seg);
        }
    }

    /// Leads a segment through the boxes for every part.
    pub(super) fn segment(&self, parts: &mut Vec<Part>, step: &Step<'_>, beyond: bool) {
        for index in 0..parts.len() {
            if parts[index].done {
                parts[index].run.observed(step.told.observation);
            } else {
                self.lead(parts, index, step);
            }
        }
        for part in parts.iter_mut().filter(|part| !part.done) {
            if !beyond && part.run.repaired.is_some() {
                // Nothing is known of what it would be at the end.
                part.run.leave();
                part.done = true;
            }
            part.done |= part.run.cut.is_some();
        }
    }

    /// Leads a segment through the boxes for one part; parts that it comes to besides are added.
    fn lead(&self, parts: &mut Vec<Part>, index: usize, step: &Step<'_>) {
        let part = &mut parts[index];
        let replay = self.replay(part.members.first().unwrap_or(0));
        if self.is_woken(&part.run, replay, step.told.seg) {
            let groups = self.groups(part, step.told.seg.at);
            if groups.len() != 1 || self.compares.iter().any(|c| *c != Compares::Never) {
                let mut divided = self.divide(part, groups, step).into_iter();
                if let Some(one) = divided.next() {
                    parts[index] = one;
                }
                parts.extend(divided);
                return;
            }
        }
        step.take(replay, &mut part.run);
    }

    /// One packet for policies that may not agree about it.
    fn divide(&self, part: &Part, groups: Vec<Members>, step: &Step<'_>) -> Vec<Part> {
        let mut made = Vec::new();
        for group in groups {
            let mut left = group;
            while let Some(first) = left.first() {
                let mut run = self.run_of(part, first);
                let compared = step.take(self.replay(first), &mut run);
                let (agree, others) = self.agreeing(&left, first, compared, step.told.seg.at);
                made.push(Part::of(agree, run));
                left = others;
            }
        }
        made
    }

    /// The policies of a group that decide as its first did, and the others.
    fn agreeing(&self, group: &Members, first: u32, compared: Compared, at: Instant) -> (Members, Members) {
        let settings = |member: u32, index: usize| match &self.path(member).hops[index].device {
            Device::Router(router) => Some(router.conntrack.settings),
            // A director's own conntrack has timers that nobody varies.
            Device::Director(_) | Device::Idle(_) => None,
        };
        match compared.last {
            None => (group.clone(), Members::none(group.of())),
            Some((index, comparison)) if compared.count == 1 => {
                let now = self.replay(first).judged_at(at);
                group.split(|member| settings(member, index).is_none_or(|s| comparison.with(&s, now) == comparison.answer))
            }
            Some(_) => {
                let same = |member: u32| {
                    let hops = 0..self.compares.len();
                    hops.into_iter().all(|index| match (settings(first, index), settings(member, index)) {
                        (Some(one), Some(other)) => same_timers(&one, &other),
                        _ => true,
                    })
                };
                group.split(same)
            }
        }
    }

    /// Groups of policies for which every entry of the run stands alike at a moment, in the order of their first members.
    fn groups(&self, part: &Part, at: Instant) -> Vec<Members> {
        let Some(first) = part.members.first() else { return Vec::new() };
        let replay = self.replay(first);
        let (now, blur) = (replay.judged_at(at), replay.blur());
        let mut entries: Vec<(usize, Instant, TimerId)> = Vec::new();
        for (index, hop) in replay.path.hops.iter().enumerate() {
            hop.for_each_timer(&part.run.hops[index].state, |refreshed, timer| entries.push((index, refreshed, timer)));
        }
        // An entry that no policy finds ended divides nobody.
        entries.retain(|(index, refreshed, timer)| now + blur >= *refreshed + self.floors[*index][usize::from(timer.0)]);
        if entries.is_empty() {
            return vec![part.members.clone()];
        }
        let mut groups = vec![part.members.clone()];
        for (index, refreshed, timer) in entries {
            let lateness = replay.path.hops[index].lateness();
            let standing = |span: Duration| Standing::of(lateness, refreshed, span, now, blur);
            let ranks = self.ranks(index, timer);
            let of = part.members.of();
            let mut sets = vec![ranks.shorter(of, |span| standing(span) == Standing::Ended)];
            if lateness != Lateness::Exact || blur > Duration::ZERO {
                sets.push(ranks.shorter(of, |span| standing(span) != Standing::Alive));
            }
            for set in sets {
                groups = groups.iter().flat_map(|group| <[Members; 2]>::from(group.divide(&set))).filter(|g| !g.is_empty()).collect();
            }
        }
        groups.sort_by_key(Members::first);
        groups
    }

    /// The members by the length of a timer, sorted when it is first asked for.
    fn ranks(&self, hop: usize, timer: TimerId) -> &Ranks {
        self.ranks[hop][usize::from(timer.0)]
            .get_or_init(|| Ranks::new(self.members.len() as u32, |member| self.path(member).hops[hop].span(timer)))
    }

    /// The run of a part as it would stand for one of its policies.
    pub fn run_of(&self, part: &Part, member: u32) -> FlowRun {
        let mut run = part.run.clone();
        if part.members.first() != Some(member) {
            self.retime(&mut run, member);
        }
        run
    }

    /// The policies of a part in groups that get one verdict: for flows that are silent at the end, by who still has an entry.
    pub fn verdict_groups(&self, part: &Part, capture_end: Instant) -> Vec<Members> {
        if part.done { vec![part.members.clone()] } else { self.groups(part, capture_end) }
    }
}

/// How an entry stands at a moment: with a longer timer never nearer to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Alive,
    /// The clock cannot tell.
    Doubtful,
    Ended,
}

impl Standing {
    fn of(lateness: Lateness, refreshed: Instant, span: Duration, now: Instant, blur: Duration) -> Standing {
        if now + blur < refreshed + span {
            return Standing::Alive;
        }
        let (earliest, latest) = lateness.fires(refreshed, span);
        if now + blur < earliest {
            Standing::Alive
        } else if now >= latest + blur {
            Standing::Ended
        } else {
            Standing::Doubtful
        }
    }
}

impl Others for Class<'_> {
    /// Asked of a box at which no entry of the flow has ended yet: what was borne there was borne by everybody who is left.
    #[inline]
    fn may_find_it_ended(&self, hop: usize, timer: TimerId, idle: Duration, profile: &Profile) -> bool {
        idle >= self.floors[hop][usize::from(timer.0)] && !(self.is_exact && profile.has_borne(hop, timer, idle))
    }
}

/// One segment of one flow.
pub(super) struct Step<'s> {
    pub(super) told: Told<'s>,
    /// The run knows already what the segment says of earlier silences, and the packet is not a usual one.
    pub(super) is_heard: bool,
}

impl<'s> Step<'s> {
    /// One that the run has not heard of.
    pub(super) const fn new(told: Told<'s>) -> Step<'s> {
        Step { told, is_heard: false }
    }

    fn take(&self, replay: &Replay<'_>, run: &mut FlowRun) -> Compared {
        let Told { flow, seg, observation, previous_frame } = self.told;
        if !self.is_heard {
            return replay.segment(run, flow, seg, observation, previous_frame);
        }
        let mut profile = std::mem::take(&mut run.profile);
        let compared = replay.lead(run, &mut profile, &self.told, &mut ());
        run.profile = profile;
        compared
    }
}

impl Follow for Many<'_> {
    /// For each class its parts.
    type Run = Box<[ClassRun]>;

    fn begin(&self, flow: &Flow, seg: &Segment) -> Self::Run {
        self.classes.iter().map(|class| class.begin(flow, seg)).collect()
    }

    fn segment(&self, run: &mut Self::Run, flow: &Flow, seg: &Segment, observation: &Observation, previous_frame: u32) {
        let told = Told { flow, seg, observation, previous_frame };
        for (class, run) in self.classes.iter().zip(run.iter_mut()) {
            class.follow(run, told, self.beyond);
        }
    }

    fn finish(&self, run: &mut Self::Run, flow: &Flow, end: Instant) {
        for (class, run) in self.classes.iter().zip(run.iter_mut()) {
            class.probes(run, flow, end, self.beyond);
        }
    }
}

fn compares(hop: &Hop) -> Compares {
    match &hop.device {
        Device::Router(r) if r.conntrack.settings.dialect.coalesce_refresh => Compares::Always,
        Device::Router(r) if r.conntrack.settings.dialect.split_window_verdict => Compares::Closing,
        _ => Compares::Never,
    }
}

fn same_timers(one: &conntrack::Settings, other: &conntrack::Settings) -> bool {
    one.tcp_timeouts == other.tcp_timeouts
        && one.tcp_timeout_max_retrans == other.tcp_timeout_max_retrans
        && one.tcp_timeout_unacknowledged == other.tcp_timeout_unacknowledged
        && one.udp_timeout == other.udp_timeout
        && one.udp_timeout_stream == other.udp_timeout_stream
}

/// What a policy is apart from the lengths of its timers, and from the size of its table, which a replay does not act upon.
fn without_timers(policy: &BoxPolicy) -> BoxPolicy {
    match policy {
        BoxPolicy::Conntrack(p) => BoxPolicy::Conntrack(ConntrackPolicy {
            tcp_timeout_syn_sent: None,
            tcp_timeout_syn_recv: None,
            tcp_timeout_established: None,
            tcp_timeout_fin_wait: None,
            tcp_timeout_close_wait: None,
            tcp_timeout_last_ack: None,
            tcp_timeout_time_wait: None,
            tcp_timeout_close: None,
            tcp_timeout_syn_sent2: None,
            tcp_timeout_max_retrans: None,
            tcp_timeout_unacknowledged: None,
            udp_timeout: None,
            udp_timeout_stream: None,
            nf_conntrack_max: None,
            buckets: None,
            ..p.clone()
        }),
        BoxPolicy::Ipvs(p) => BoxPolicy::Ipvs(IpvsPolicy {
            timeout_tcp: None,
            timeout_tcpfin: None,
            timeout_udp: None,
            dos: crate::policy::ipvs::DosTimeouts::default(),
            ..p.clone()
        }),
        BoxPolicy::Idle(p) => BoxPolicy::Idle(IdlePolicy {
            established: Duration::ZERO,
            syn_sent: None,
            syn_recv: None,
            fin_wait: None,
            close_wait: None,
            last_ack: None,
            time_wait: None,
            close: None,
            udp_first: None,
            udp_unreplied: None,
            udp_stream: None,
            ..p.clone()
        }),
    }
}
