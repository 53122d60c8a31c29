//! Many flows: when they come, how long they stay, what they say, and which hosts they run on, drawn from a seed.

use super::host::HostSpec;
use super::span::{Share, Span};
use crate::rng::Rng;
use crate::simulate::{Action, Do};
use crate::time::{Duration, Instant};
use schemars::JsonSchema;
use serde::Deserialize;

/// Many flows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// How many.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub flows: u64,
    /// Over which time they arrive, evenly drawn; all at 0 without it.
    #[serde(default)]
    pub arrive_over: Option<Span>,
    /// How many arrive a second, as independent callers do (Poisson), in place of "arrive_over".
    #[serde(default)]
    pub arrive_per_second: Option<f64>,
    /// How long a session lasts from its opening until the client closes; to the end of the run without it.
    #[serde(default)]
    pub session: Option<Dist>,
    /// How long a client thinks between two exchanges; no exchanges without it.
    #[serde(default)]
    pub think: Option<Dist>,
    /// What an exchange is: a request and its answer.
    #[serde(default)]
    pub exchange: Option<ExchangeSpec>,
    /// Kinds of hosts by their share; those of the scenario for all without it.
    #[serde(default)]
    pub mix: Vec<Kind>,
}

/// A request and its answer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSpec {
    /// Bytes of the request.
    pub request: u32,
    /// Bytes of the answer; 0: none.
    pub reply: u32,
    /// How long the server works on it.
    #[serde(default)]
    pub after: Option<Dist>,
}

/// A kind of flow.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Its name, for reports.
    pub name: String,
    /// Its share of all flows.
    pub share: Share,
    /// Its client, in place of the scenario's.
    #[serde(default)]
    pub client: Option<HostSpec>,
    /// Its server, in place of the scenario's.
    #[serde(default)]
    pub server: Option<HostSpec>,
}

/// A distribution of spans: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dist {
    /// Always the same.
    #[serde(default)]
    pub fixed: Option<Span>,
    /// Evenly between two.
    #[serde(default)]
    pub uniform: Option<[Span; 2]>,
    /// Exponential, by its mean.
    #[serde(default)]
    pub exponential: Option<Span>,
    /// Log-normal: most are near the median, a few are much longer.
    #[serde(default)]
    pub lognormal: Option<LogNormal>,
    /// Pareto: a heavy tail above a minimum.
    #[serde(default)]
    pub pareto: Option<Pareto>,
}

/// A log-normal distribution.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogNormal {
    /// Half are shorter.
    pub median: Span,
    /// The deviation of the logarithm.
    pub sigma: f64,
}

/// A Pareto distribution.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pareto {
    /// None is shorter.
    pub min: Span,
    /// The smaller, the heavier the tail.
    pub alpha: f64,
}

/// A distribution that was checked.
#[derive(Clone, Copy, Debug)]
pub enum Draw {
    /// Always the same.
    Fixed(Duration),
    /// Evenly between two.
    Uniform(Duration, Duration),
    /// By its mean.
    Exponential(f64),
    /// By its median and the deviation of the logarithm.
    LogNormal(f64, f64),
    /// By its minimum and its exponent.
    Pareto(f64, f64),
}

impl Dist {
    /// Checks it.
    ///
    /// # Errors
    /// That it is not exactly one distribution, or that its numbers make no sense.
    pub fn check(&self, name: &str) -> Result<Draw, String> {
        let draws: Vec<Draw> = [
            self.fixed.map(|s| Draw::Fixed(s.0)),
            self.uniform.map(|[a, b]| Draw::Uniform(a.0, b.0)),
            self.exponential.map(|s| Draw::Exponential(s.0.as_secs_f64())),
            self.lognormal.map(|l| Draw::LogNormal(l.median.0.as_secs_f64(), l.sigma)),
            self.pareto.map(|p| Draw::Pareto(p.min.0.as_secs_f64(), p.alpha)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let [draw] = draws[..] else {
            return Err(format!("{name}: give exactly one of fixed, uniform, exponential, lognormal, pareto"));
        };
        match draw {
            Draw::Uniform(a, b) if a > b => Err(format!("{name}: uniform from {a} to {b}, the smaller first")),
            Draw::LogNormal(_, s) | Draw::Pareto(_, s) if s.is_nan() || s <= 0.0 => Err(format!("{name}: sigma and alpha are above 0")),
            _ => Ok(draw),
        }
    }
}

/// A number above 0 and at most 1.
fn unit(rng: &mut Rng) -> f64 {
    ((rng.number() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
}

impl Draw {
    /// Whether it is always nothing.
    fn is_nothing(self) -> bool {
        match self {
            Draw::Fixed(span) | Draw::Uniform(_, span) => span == Duration::ZERO,
            Draw::Exponential(scale) | Draw::LogNormal(scale, _) | Draw::Pareto(scale, _) => scale <= 0.0,
        }
    }

    /// The next one.
    pub fn next(self, rng: &mut Rng) -> Duration {
        match self {
            Draw::Fixed(span) => span,
            Draw::Uniform(a, b) => a + Duration(rng.below((b.0 - a.0).saturating_add(1))),
            Draw::Exponential(mean) => Duration::from_secs_f64(-mean * unit(rng).ln()),
            Draw::LogNormal(median, sigma) => {
                // Box and Muller.
                let normal = (-2.0 * unit(rng).ln()).sqrt() * (std::f64::consts::TAU * unit(rng)).cos();
                Duration::from_secs_f64(median * (sigma * normal).exp())
            }
            Draw::Pareto(min, alpha) => Duration::from_secs_f64(min / unit(rng).powf(1.0 / alpha)),
        }
    }
}

/// A population that was checked.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// How many flows.
    pub flows: u64,
    over: Duration,
    session: Option<Draw>,
    think: Option<Draw>,
    exchange: (u32, u32),
    after: Option<Draw>,
    /// Upper ends of the kinds' shares, in order.
    shares: Vec<f64>,
    horizon: Instant,
}

/// One flow of a population.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// When it dials.
    pub start: Instant,
    /// Which kind it is of.
    pub kind: usize,
    /// What its client does.
    pub script: Vec<Action>,
}

impl Population {
    /// Checks it.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn check(&self, horizon: Instant) -> Result<Crowd, String> {
        let dist = |dist: &Option<Dist>, name: &str| dist.as_ref().map(|d| d.check(&format!("population.{name}"))).transpose();
        if self.flows == 0 {
            return Err("population.flows: at least 1".to_owned());
        }
        let over = match (self.arrive_over, self.arrive_per_second) {
            (Some(_), Some(_)) => return Err("population: give arrive_over or arrive_per_second, not both".to_owned()),
            (Some(Span(span)), None) => span,
            (None, Some(rate)) if rate > 0.0 => Duration::from_secs_f64(self.flows as f64 / rate),
            (None, Some(_)) => return Err("population.arrive_per_second: above 0".to_owned()),
            (None, None) => Duration::ZERO,
        };
        if self.think.is_some() != self.exchange.is_some() {
            return Err("population: think and exchange belong together: how long, and then what".to_owned());
        }
        let total: f64 = self.mix.iter().map(|kind| kind.share.0).sum();
        if !self.mix.is_empty() && (total - 1.0).abs() > 1e-6 {
            return Err(format!("population.mix: the shares add up to {total}, not to 1"));
        }
        let mut sum = 0.0;
        let shares = self.mix.iter().map(|kind| {
            sum += kind.share.0;
            sum
        });
        let think = dist(&self.think, "think")?;
        if think.is_some_and(Draw::is_nothing) {
            return Err("population.think: more than nothing, or the exchanges never end".to_owned());
        }
        Ok(Crowd {
            flows: self.flows,
            over,
            session: dist(&self.session, "session")?,
            think,
            exchange: self.exchange.as_ref().map_or((0, 0), |e| (e.request, e.reply)),
            after: self.exchange.as_ref().and_then(|e| e.after.as_ref()).map(|d| d.check("population.exchange.after")).transpose()?,
            shares: shares.collect(),
            horizon,
        })
    }
}

/// More exchanges than anybody reads about in one session; a mistaken unit must not fill the memory.
const EXCHANGES_MAX: usize = 1_000_000;

/// What a flow is drawn from: a stream of its own, apart from the one that its packets are drawn from.
fn stream(seed: u64, number: u64) -> Rng {
    Rng::keyed(seed ^ 0x706f_7075_6c61_7465, number)
}

impl Crowd {
    /// When a flow dials, without the rest of it.
    pub fn start(&self, seed: u64, number: u64) -> Instant {
        self.arrival(&mut stream(seed, number))
    }

    fn arrival(&self, rng: &mut Rng) -> Instant {
        Instant(rng.below(self.over.0.saturating_add(1)))
    }

    /// Draws one flow; the memory of `member` is used again.
    pub fn draw(&self, seed: u64, number: u64, member: &mut Member) {
        let mut rng = stream(seed, number);
        member.start = self.arrival(&mut rng);
        member.kind = if self.shares.is_empty() { 0 } else { self.kind(unit(&mut rng)) };
        member.script.clear();
        let end = self.session.map_or(Instant::MAX, |session| member.start + session.next(&mut rng));
        if let Some(think) = self.think {
            let (len, reply) = self.exchange;
            let mut at = member.start;
            while member.script.len() < EXCHANGES_MAX {
                at += think.next(&mut rng).max(Duration(1_000));
                if at >= end || at > self.horizon {
                    break;
                }
                let after = self.after.map_or(Duration::ZERO, |after| after.next(&mut rng));
                let what = if reply > 0 { Do::Request { len, after, reply } } else { Do::Send(len) };
                member.script.push(Action { at, what });
            }
        }
        if end <= self.horizon {
            member.script.push(Action { at: end, what: Do::Close });
        }
    }

    fn kind(&self, share: f64) -> usize {
        self.shares.iter().position(|upper| share <= *upper).unwrap_or(self.shares.len().saturating_sub(1))
    }
}
