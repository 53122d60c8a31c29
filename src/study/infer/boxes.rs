//! Which of the known boxes fit what was inferred, and why the others do not.

use super::evidence::{Reaction, State};
use super::pool::{Bound, Keepalives, Pool};
use crate::kernel::wheel::lateness_worst;
use crate::policy::idle::{Activity, Kind, OnExpiry, OnStray};
use crate::policy::{BoxPolicy, Preset, presets};
use crate::time::Duration;

/// Why a box does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// Its timer is longer than a silence that ended an entry.
    TooLong(Bound),
    /// Its timer is shorter than a silence that was lived through.
    TooShort(Bound),
    /// It does not count keepalives, which counted here.
    KeepalivesCounted,
}

/// How a known box compares.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The box.
    pub preset: &'static Preset,
    /// The state whose timer decides; the established one where all fit.
    pub state: State,
    /// That timer.
    pub timeout: Duration,
    /// Why it does not fit.
    pub misfit: Option<Misfit>,
    /// It fits in time, but answers a late packet otherwise than was seen.
    pub otherwise: bool,
}

/// The timers that a box may have in a state, as a capture sees the state.
fn timers(preset: &Preset, state: State) -> Vec<Duration> {
    let all = preset.timers();
    let of = |name: &str| all.iter().find(|timer| timer.name == name).map(|timer| timer.timeout);
    let names: &[&str] = match state {
        State::Established => &["established"],
        State::Outstanding => return Vec::new(),
        State::ClientClosed | State::ServerClosed => &["fin_wait", "close_wait"],
    };
    let found: Vec<Duration> = names.iter().filter_map(|name| of(name)).collect();
    // A director that the answers bypass knows nothing of a server's FIN.
    let bypassed = state == State::ServerClosed && matches!(preset.resolve(), BoxPolicy::Ipvs(_));
    if found.is_empty() || bypassed { found.into_iter().chain(of("established")).collect() } else { found }
}

/// How much longer than its setting an entry may live.
fn lateness(preset: &Preset, setting: Duration) -> Duration {
    match preset.resolve() {
        BoxPolicy::Ipvs(_) => lateness_worst(setting),
        BoxPolicy::Conntrack(_) => Duration::from_millis(100),
        // Collectors come round every few seconds: pf's every ten.
        BoxPolicy::Idle(_) => Duration::from_secs(10).max(Duration(setting.0 / 100)),
    }
}

/// Whether what a box does with a late packet can look like that.
fn behaves(preset: &Preset, reaction: Reaction) -> bool {
    let resets = matches!(
        preset.on_stray,
        OnStray::RstSender
            | OnStray::RstInsideOnly
            | OnStray::RstFromNode
            | OnStray::RstOrDropByLocalStack
            | OnStray::RstIfBackendLocalElseHang
            | OnStray::TerminatesTcp
    );
    let open = matches!(
        preset.on_stray,
        OnStray::ByRuleset
            | OnStray::ByFlowTable
            | OnStray::Unknown
            | OnStray::Unspecified
            | OnStray::NotApplicable
            | OnStray::ReevaluateRules
            | OnStray::PolicyThenNewEntry
            | OnStray::Repickup
    );
    match reaction {
        Reaction::BoxReset | Reaction::Refused => resets || open,
        // A translation that is gone makes strangers of friends.
        Reaction::StrangerReset => true,
        Reaction::Silence => !matches!(preset.on_stray, OnStray::RstSender | OnStray::RstFromNode) || open,
        Reaction::Spontaneous => matches!(preset.on_expiry, OnExpiry::RstBoth | OnExpiry::FinOrRstBoth | OnExpiry::CloseBoth),
    }
}

/// Compares every known box with what was inferred; none where nothing was.
pub fn compare(pool: &Pool) -> Vec<Fit> {
    if !pool.brackets.iter().any(|b| b.is_determined() && b.state != State::Outstanding) {
        return Vec::new();
    }
    presets::all().iter().filter_map(|preset| fit(pool, preset)).collect()
}

fn fit(pool: &Pool, preset: &'static Preset) -> Option<Fit> {
    let mut told: Option<(State, Duration)> = None;
    let mut misfit = None;
    for bracket in pool.brackets.iter().filter(|b| b.is_determined()) {
        let values = timers(preset, bracket.state);
        let Some(first) = values.first() else { continue };
        let judged: Vec<(Duration, Option<Misfit>)> = values
            .iter()
            .map(|value| {
                let long = bracket.high.filter(|high| *value > high.value).map(Misfit::TooLong);
                let short = || {
                    let lived = bracket.low.filter(|low| *value != Duration::MAX && *value + lateness(preset, *value) < low.value);
                    lived.map(Misfit::TooShort)
                };
                (*value, long.or_else(short))
            })
            .collect();
        let good = judged.iter().find(|(_, misfit)| misfit.is_none());
        if let Some((value, _)) = good {
            told = told.or(Some((bracket.state, *value)));
        } else {
            misfit = judged.first().and_then(|(_, misfit)| *misfit);
            told = Some((bracket.state, *first));
            break;
        }
    }
    let (state, timeout) = told?;
    let ignores = matches!(preset.resolve(), BoxPolicy::Idle(idle) if idle.activity() == Activity::Data);
    if misfit.is_none() && ignores && matches!(pool.keepalives, Keepalives::Count { .. }) {
        misfit = Some(Misfit::KeepalivesCounted);
    }
    let otherwise = misfit.is_none() && pool.reactions.keys().any(|reaction| !behaves(preset, *reaction));
    (preset.kind != Kind::Proxy || timeout != Duration::MAX).then_some(Fit { preset, state, timeout, misfit, otherwise })
}
