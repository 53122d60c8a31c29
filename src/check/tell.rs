//! One session in a sentence: who, what becomes of it, by which timer of which box, where that stands, after how long a silence.

use super::Timer;
use super::baseline::By;
use crate::engine::{Device, Hop, Path};
use crate::finding::advice::{Advice, Where, keep_secs};
use crate::finding::cause::Cause;
use crate::finding::{Inconclusive, Verdict};
use crate::policy::{BoxPolicy, BoxSpec};
use crate::study::needs::setting_of;
use crate::time::Duration;

/// Seconds without their unit.
pub(super) fn plain(span: Duration) -> String {
    span.to_string().trim_end_matches(" s").to_owned()
}

/// What a box is called whatever it is set to: its preset, or its kind.
pub(super) fn whose(hop: &Hop) -> String {
    if let Some(preset) = hop.policy.preset() {
        return preset.id.clone();
    }
    match &hop.device {
        Device::Router(_) => "conntrack",
        Device::Director(_) => "ipvs",
        Device::Idle(_) => "idle",
    }
    .to_owned()
}

/// The settings of a policy that somebody gave, with their values.
pub(super) fn given(policy: &BoxPolicy) -> Vec<(String, String)> {
    let value = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let serde_json::Value::Object(object) = policy.to_json() else { return Vec::new() };
    let inner = object.values().find_map(|inner| inner.as_object()).cloned();
    let is_preset = object.contains_key("preset");
    let settings = inner.filter(|_| !is_preset).unwrap_or(object);
    settings.iter().filter(|(name, _)| *name != "preset").map(|(name, it)| (name.clone(), value(it))).collect()
}

/// The boxes of a path for reports.
pub(super) fn boxes(specs: &[BoxSpec]) -> Vec<super::BoxLine> {
    let line = |spec: &BoxSpec| super::BoxLine {
        label: spec.label.clone(),
        spec: spec.policy.describe(),
        settings: given(&spec.policy).into_iter().map(|(name, value)| (name.clone(), value, spec.origins.of(&name).cloned())).collect(),
    };
    specs.iter().map(line).collect()
}

/// The timer that decided, and its words.
pub(super) struct Decided {
    /// For reports.
    pub(super) timer: Timer,
    /// For baselines.
    pub(super) by: By,
    /// `conntrack ESTABLISHED`, `box 2 (ipvs) FIN_WAIT`.
    place: String,
    /// `net.netfilter.… = 600 (gw/90-conntrack.conf:3)`.
    setting: String,
    /// Whether a setting reaches it.
    can_be_set: bool,
}

/// The name under which policies keep the setting of a timer.
fn name_of(hop: &Hop, cause: &Cause) -> Option<String> {
    // Entries that are born under secure_tcp have timers of their own in 2.4.
    if cause.setting.as_deref().is_some_and(|setting| setting.starts_with("net.ipv4.vs.timeout_")) {
        return Some(format!("dos_{}", cause.timer));
    }
    setting_of(hop, cause.clause, false).map(str::to_owned)
}

/// Says which timer decided.
pub(super) fn decided(path: &Path, hop: usize, cause: &Cause, value: Duration) -> Decided {
    let at_hop = &path.hops[hop];
    let whose = whose(at_hop);
    let name = name_of(at_hop, cause);
    let is_given = name.as_ref().is_some_and(|name| given(&at_hop.policy).iter().any(|(known, _)| known == name));
    let own = name.as_deref().and_then(|name| at_hop.origins.of(name)).cloned();
    let at = own.clone().or_else(|| at_hop.origins.whole.clone());
    let place = match (&own, &at, is_given) {
        (Some(at), _, _) | (None, Some(at), true) => format!(" ({at})"),
        (None, Some(at), false) => format!(" (its default; the box: {at})"),
        (None, None, true) => String::new(),
        (None, None, false) => " (its default)".to_owned(),
    };
    let setting = match &cause.setting {
        Some(setting) => format!("{setting} = {}{place}", plain(value)),
        None => format!(
            "a timer of {} that no setting reaches",
            if value == Duration::MAX { "no length".to_owned() } else { value.to_string() }
        ),
    };
    let why = cause.why.map_or_else(String::new, |why| format!(", which runs because {why}"));
    let several = path.hops.len() > 1;
    let stands = if several { format!("box {} ({whose})", hop + 1) } else { whose.clone() };
    Decided {
        timer: Timer {
            hop: hop + 1,
            label: at_hop.label.clone(),
            state: cause.state.to_owned(),
            timer: cause.timer.to_owned(),
            setting: cause.setting.clone(),
            value,
            at,
        },
        by: By { whose, timer: cause.timer.to_owned() },
        place: format!("{stands} {}", cause.state),
        setting: format!("{setting}{why}"),
        can_be_set: cause.setting.is_some(),
    }
}

/// Everything in one sentence, behind the session's name. `fate` is what becomes of the packet that comes too late.
pub(super) fn sentence(
    verdict: Verdict,
    decided: Option<&Decided>,
    silence: Option<Duration>,
    fate: &str,
    why: Option<Inconclusive>,
) -> String {
    let Some(Decided { place, setting, can_be_set, .. }) = decided else { return verdict.name().to_owned() };
    let idle = silence.map_or_else(String::new, |idle| format!(" {idle} of silence"));
    let after = if idle.is_empty() { String::new() } else { format!(", after{idle}") };
    let keep = match silence.filter(|_| *can_be_set) {
        Some(idle) => format!("; {} would keep it", keep_secs(idle)),
        None => String::new(),
    };
    match verdict {
        Verdict::Cut => format!("cut by {place}, {setting}{after}{keep}"),
        Verdict::Marginal => format!("marginal at {place}, {setting}{after}: the phase of the kernel's clock decides{keep}"),
        Verdict::Inconclusive => {
            let what = why.map_or("what is missing from the capture decides", |_| "the silence may be a hole in the capture");
            format!("inconclusive at {place}, {setting}{after}: {what}")
        }
        Verdict::Dormant => format!("dormant: {place}, {setting}, has ended in{idle} at the end, and the next packet {fate}{keep}"),
        Verdict::Repaired => {
            let after = after.trim_start_matches(',');
            format!("repaired: {place}, {setting}, ended{after}, and the next packet made a new entry{keep}")
        }
        Verdict::Evicted => format!("evicted from the full table of {place}"),
        Verdict::Refused => format!("refused by the full table of {place}"),
        Verdict::Survives => format!("survives; {place}, {setting}"),
    }
}

/// What would keep it: lines to paste, with what to know of them behind a `#`.
pub(super) fn cures(advice: &[Advice]) -> Vec<String> {
    let line = |advice: &Advice| {
        let place = match advice.at {
            Where::Box => "on the box",
            Where::End => "on either end",
        };
        format!("{}  # {place}; {}", advice.line, advice.note)
    };
    advice.iter().map(line).collect()
}
