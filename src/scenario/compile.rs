//! From a scenario to what the closed loop runs: the path, its links, the hosts, the scripts.

use super::population::{Crowd, Member};
use super::{ActionSpec, EventSpec, Scenario, ServerEvent, Who};
use crate::endpoint::{Profile, Socket, Ticks};
use crate::engine::hop::{Device, Hop};
use crate::engine::{Clock, Path};
use crate::kernel::wheel::{Hz, Phase};
use crate::model::director::DestState;
use crate::model::ipvs::defence::DefenceSettings;
use crate::policy::BoxPolicy;
use crate::rng::Rng;
use crate::simulate::crowd::{Limit, Shared};
use crate::simulate::sync::Sync;
use crate::simulate::{Action, AppPlan, Do, Fault, FlowPlan, Link, Network};
use crate::time::{Duration, Instant};

/// A scenario that is ready to run.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The path and what happens to it.
    pub net: Network,
    /// The hosts of each kind of flow: client and server.
    pub hosts: Vec<[Host; 2]>,
    /// The script of the one flow.
    pub scripts: [Vec<Action>; 2],
    /// The population, in place of the one flow.
    pub crowd: Option<Crowd>,
}

/// One host, complete.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Its TCP.
    pub profile: Profile,
    /// Its application.
    pub app: AppPlan,
    /// Of a server: whether it listens.
    pub listens: bool,
    /// How long after the dialling it vanishes.
    pub vanishes_after: Option<Duration>,
}

/// The longest run: a hundred years.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);
/// More actions than a person writes.
const ACTIONS_MAX: usize = 10_000_000;
/// Flows that share a table are in memory together, two kilobytes each.
const TOGETHER_MAX: u64 = 5_000_000;
/// The server's port.
pub const SERVER_PORT: u16 = 22;

/// The client's port of a flow.
pub const fn client_port(number: u64) -> u16 {
    (32_768 + number % 28_232) as u16
}

impl Scenario {
    /// Makes it ready.
    ///
    /// # Errors
    /// What makes no sense, by the keys that lead there.
    pub fn compile(&self) -> Result<Ready, String> {
        let horizon = Instant(self.duration.0.0);
        if self.duration.0 == Duration::ZERO || self.duration.0 > DURATION_MAX {
            return Err(format!("duration: {} is not between nothing and a hundred years", self.duration.0));
        }
        let mut rng = Rng::keyed(self.seed, u64::from_le_bytes(*b"wheels!!"));
        // Each machine has a counter of its own.
        let mut phase = |given: Option<u64>| {
            self.wheel.map(|wheel| {
                let drawn = (1 << 32) + rng.below(1 << 24);
                Phase { hz: Hz(wheel.hz), jiffies: given.unwrap_or(drawn), at: Instant::ZERO }
            })
        };
        if let Some(wheel) = self.wheel.filter(|wheel| !(1..=10_000).contains(&wheel.hz)) {
            return Err(format!("wheel.hz: {} is not between 1 and 10000", wheel.hz));
        }
        let boxes = phase(self.wheel.and_then(|wheel| wheel.jiffies));
        let ticks = [self.wheel.and_then(|w| w.client_jiffies), self.wheel.and_then(|w| w.server_jiffies)]
            .map(&mut phase)
            .map(|phase| phase.map_or(Ticks::Ideal, Ticks::Wheel));
        let clock = boxes.map_or(Clock::Ideal, |phase| Clock::Wheel { hz: phase.hz, phase: Some(phase) });
        let path =
            if self.path.is_empty() { Path::direct(clock) } else { Path::build(&self.path, clock).map_err(|e| format!("path: {e}"))? };
        let mut net = Network::plain(path, self.links.round_trip.map_or(Duration::from_millis(1), |span| span.0), Ticks::Ideal, horizon);
        net.ticks = ticks;
        net.seed = self.seed;
        self.links(&mut net)?;
        self.faults(&mut net)?;
        self.synchronised(&mut net)?;
        let mut hosts = Vec::new();
        let whole = (None, None);
        let mix = self.population.iter().flat_map(|p| p.mix.iter()).map(|kind| (kind.client.as_ref(), kind.server.as_ref()));
        let kinds: Vec<_> = mix.collect();
        for (client, server) in if kinds.is_empty() { vec![whole] } else { kinds } {
            let client = host(client.unwrap_or(&self.client), "client")?;
            hosts.push([client, host(server.unwrap_or(&self.server), "server")?]);
        }
        if let Some(expect) = &self.expect {
            expect.check()?;
        }
        let crowd = self.population.as_ref().map(|population| population.check(horizon)).transpose()?;
        if crowd.is_some() && !self.script.is_empty() {
            return Err("script: a population has its own; leave one of them out".to_owned());
        }
        let ready = Ready { net, hosts, scripts: self.scripts(horizon)?, crowd };
        if !ready.shared().is_empty() && ready.flows() > TOGETHER_MAX {
            return Err(format!(
                "population.flows: {} flows would share a table and be in memory together; at most {TOGETHER_MAX}",
                ready.flows()
            ));
        }
        Ok(ready)
    }

    fn links(&self, net: &mut Network) -> Result<(), String> {
        let spec = &self.links;
        if !spec.each.is_empty() {
            if spec.each.len() != net.links.len() {
                let (given, needed) = (spec.each.len(), net.links.len());
                return Err(format!("links.each: {given} given, but this path has {needed}, one more than boxes"));
            }
            for (link, given) in net.links.iter_mut().zip(&spec.each) {
                *link = Link {
                    delay: given.delay.0,
                    jitter: given.jitter.0,
                    loss_per_million: given.loss.per_million(),
                    reorder_per_million: given.reorder.per_million(),
                };
            }
            return Ok(());
        }
        for link in &mut net.links {
            link.jitter = spec.jitter.0;
            link.loss_per_million = spec.loss.per_million();
            link.reorder_per_million = spec.reorder.per_million();
        }
        Ok(())
    }

    fn faults(&self, net: &mut Network) -> Result<(), String> {
        for (number, event) in self.events.iter().enumerate() {
            let fault = fault(event, net).map_err(|what| format!("events[{number}]: {what}"))?;
            net.faults.push((Instant(event.at.0.0), fault));
        }
        net.faults.sort_by_key(|(at, _)| *at);
        Ok(())
    }

    fn synchronised(&self, net: &mut Network) -> Result<(), String> {
        let Some(spec) = self.sync else { return Ok(()) };
        let sync = Sync { threshold: spec.threshold, period: spec.period, refresh_period: spec.refresh_period.0, retries: spec.retries };
        if spec.period > 0 && spec.threshold >= spec.period {
            return Err(format!("sync: a threshold of {} is never met with a period of {}", spec.threshold, spec.period));
        }
        let mut any = false;
        for (slot, hop) in net.sync.iter_mut().zip(&net.path.hops) {
            if matches!(hop.device, Device::Director(_)) {
                *slot = Some(sync);
                any = true;
            }
        }
        if any { Ok(()) } else { Err("sync: there is no ipvs box on the path".to_owned()) }
    }

    fn scripts(&self, horizon: Instant) -> Result<[Vec<Action>; 2], String> {
        let mut scripts = [Vec::new(), Vec::new()];
        for (number, action) in self.script.iter().enumerate() {
            let what = deed(action).map_err(|what| format!("script[{number}]: {what}"))?;
            let side = usize::from(action.who == Who::Server);
            let mut at = Instant(action.at.0.0);
            let until = action.until.map_or(horizon, |until| Instant(until.0.0)).min(horizon);
            scripts[side].push(Action { at, what });
            let Some(every) = action.every else { continue };
            if every.0 < Duration::from_millis(1) {
                return Err(format!("script[{number}].every: at least 1ms"));
            }
            loop {
                at += every.0;
                if at > until {
                    break;
                }
                if scripts[side].len() >= ACTIONS_MAX {
                    return Err(format!("script[{number}].every: more than {ACTIONS_MAX} times"));
                }
                scripts[side].push(Action { at, what });
            }
        }
        // A stable sort: what is at the same time happens in the order in which it is written.
        for script in &mut scripts {
            script.sort_by_key(|action| action.at);
        }
        Ok(scripts)
    }
}

fn host(spec: &super::host::HostSpec, name: &str) -> Result<Host, String> {
    let profile = spec.profile().map_err(|what| format!("{name}: {what}"))?;
    let app = spec.app().map_err(|what| format!("{name}: {what}"))?;
    Ok(Host { profile, app, listens: !spec.refuses, vanishes_after: spec.vanishes_after.map(|span| span.0) })
}

fn deed(action: &ActionSpec) -> Result<Do, String> {
    let flag = |on: bool, what: Do| on.then_some(what);
    let deeds: Vec<Do> = [
        action.send.map(Do::Send),
        action.request.map(|r| Do::Request { len: r.len, after: r.after.0, reply: r.reply }),
        flag(action.shutdown, Do::Shutdown),
        flag(action.close, Do::Close),
        flag(action.abort, Do::Abort),
        flag(action.pause, Do::Pause),
        flag(action.resume, Do::Resume),
    ]
    .into_iter()
    .flatten()
    .collect();
    match deeds[..] {
        [Do::Send(0) | Do::Request { len: 0, .. }] => Err("nothing is sent with 0 bytes".to_owned()),
        [Do::Send(len) | Do::Request { len, .. }] if len > Socket::QUEUE_MAX => {
            Err(format!("{len} bytes at once; at most {} can be queued", Socket::QUEUE_MAX))
        }
        [one] => Ok(one),
        _ => Err("give exactly one of send, request, shutdown, close, abort, pause, resume".to_owned()),
    }
}

fn fault(event: &EventSpec, net: &Network) -> Result<Fault, String> {
    let link = |n: usize| {
        if (1..=net.links.len()).contains(&n) {
            Ok(n - 1)
        } else {
            Err(format!("there is no link {n}; the last one is {}", net.links.len()))
        }
    };
    let hop = |n: usize| {
        let boxes = net.path.hops.len();
        match boxes {
            0 => Err(format!("there is no box {n}; the path has none")),
            _ if (1..=boxes).contains(&n) => Ok(n - 1),
            _ => Err(format!("there is no box {n}; the last one is {boxes}")),
        }
    };
    let director =
        || net.path.hops.iter().position(|h| matches!(h.device, Device::Director(_))).ok_or("there is no ipvs box on the path".to_owned());
    let mut faults: Vec<Fault> = Vec::new();
    if let Some(n) = event.link_down {
        faults.push(Fault::LinkDown(link(n)?));
    }
    if let Some(n) = event.link_up {
        faults.push(Fault::LinkUp(link(n)?));
    }
    if let Some(n) = event.forget {
        faults.push(Fault::Forget(hop(n)?));
    }
    if let Some(n) = event.fail_over {
        let index = hop(n)?;
        if !matches!(net.path.hops[index].device, Device::Director(_)) {
            return Err(format!("fail_over: box {n} is no ipvs box; 'forget' loses the state of any"));
        }
        faults.push(Fault::FailOver(index));
    }
    match event.server {
        None => {}
        Some(ServerEvent::Dies) => faults.push(Fault::ServerDies),
        Some(ServerEvent::Reboots) => faults.push(Fault::ServerReboots),
        Some(ServerEvent::Quiesced) => faults.push(Fault::Dest(director()?, DestState::Quiesced)),
        Some(ServerEvent::Removed) => faults.push(Fault::Dest(director()?, DestState::Removed)),
        Some(ServerEvent::Available) => faults.push(Fault::Dest(director()?, DestState::Available)),
    }
    if event.client_dies {
        faults.push(Fault::ClientDies);
    }
    match faults[..] {
        [one] => Ok(one),
        _ => Err("give exactly one of link_down, link_up, forget, fail_over, server, client_dies".to_owned()),
    }
}

impl Ready {
    /// The tables that couple flows: those of conntrack boxes with a limit that the flows may reach, and those of directors with
    /// `drop_entry` or `drop_packet` in mode 3. Modes 1 and 2 follow the director's memory, which no scenario tells: they stay off.
    pub fn shared(&self) -> Vec<Shared> {
        let shared = |(hop, at): (usize, &Hop)| match (&at.policy, &at.device) {
            (BoxPolicy::Conntrack(policy), _) => {
                let max = policy.nf_conntrack_max.filter(|max| *max < self.flows())?;
                Some(Shared::Conntrack(Limit { hop, max, buckets: policy.buckets.unwrap_or(max).clamp(1, u64::from(u32::MAX)) }))
            }
            (BoxPolicy::Ipvs(policy), Device::Director(director)) if self.crowd.is_some() => {
                let defaults = DefenceSettings::defaults(director.ipvs.dialect);
                let settings = DefenceSettings {
                    drop_entry: policy.drop_entry.unwrap_or(0),
                    drop_packet: policy.drop_packet.unwrap_or(0),
                    secure_tcp: policy.secure_tcp.unwrap_or(0),
                    amemthresh: policy.amemthresh.unwrap_or(defaults.amemthresh),
                    am_droprate: policy.am_droprate.unwrap_or(defaults.am_droprate),
                    ..defaults
                };
                (settings.drop_entry > 2 || settings.drop_packet > 2).then_some(Shared::Director { hop, settings })
            }
            _ => None,
        };
        self.net.path.hops.iter().enumerate().filter_map(shared).collect()
    }

    /// How many flows there are.
    pub fn flows(&self) -> u64 {
        self.crowd.as_ref().map_or(1, |crowd| crowd.flows)
    }

    /// Draws one flow of a population into `member`; the one flow of a script has nothing to draw.
    pub fn draw(&self, number: u64, member: &mut Member) {
        if let Some(crowd) = &self.crowd {
            crowd.draw(self.net.seed, number, member);
        }
    }

    /// When a flow dials.
    pub fn start(&self, number: u64) -> Instant {
        self.crowd.as_ref().map_or(Instant::ZERO, |crowd| crowd.start(self.net.seed, number))
    }

    /// The plan of one flow, for which `member` was drawn.
    pub fn plan<'a>(&'a self, number: u64, member: &'a Member) -> FlowPlan<'a> {
        let scripts: [&'a [Action]; 2] = match &self.crowd {
            Some(_) => [&member.script, &[]],
            None => [&self.scripts[0], &self.scripts[1]],
        };
        let hosts = &self.hosts[member.kind];
        FlowPlan {
            number,
            start: member.start,
            ports: [client_port(number), SERVER_PORT],
            profiles: [&hosts[0].profile, &hosts[1].profile],
            scripts,
            apps: [hosts[0].app, hosts[1].app],
            listens: hosts[1].listens,
            vanishes: [0, 1].map(|side: usize| hosts[side].vanishes_after.map(|span| member.start + span)),
        }
    }
}
