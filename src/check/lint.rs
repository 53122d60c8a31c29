//! What policies say of themselves: the rules of the audit that need no traffic.
//!
//! Nobody's keepalive is known here, so the kernel's default is assumed of both ends, and what follows from that alone is a warning
//! and no error: the hosts may be set as they should be.

use super::Lint;
use crate::engine::PathError;
use crate::inventory::{self, Inventory};
use crate::policy::{At, BoxSpec};
use crate::study::audit::rule::{Found, Rule, Severity};
use crate::study::audit::setup::{Origin, Setup, Stand};
use crate::study::audit::{Asked, Materials, audit, lint};

/// Holds the boxes of a policy against the rules.
///
/// # Errors
/// A setting that makes no sense.
pub fn boxes(policy: &str, specs: &[BoxSpec]) -> Result<Vec<Lint>, PathError> {
    let stand = |spec: &BoxSpec| {
        let otherwise = spec.origins.whole.clone().map_or_else(|| Origin::Option(spec.label.clone()), Origin::Text);
        Stand::of_spec(spec, &otherwise)
    };
    let stands = specs.iter().map(stand).collect::<Result<Vec<_>, _>>()?;
    let nothing = Inventory::default();
    let found = lint(&Setup::of_policies(stands, &nothing));
    Ok(told(policy, found))
}

/// The same for a text that a machine shows of itself, such as a file of sysctl.d: what `flowlapse audit` would say of it. It may
/// hold more than boxes, such as settings that its kernel does not have, and of what it does not show the audit assumes the worse.
///
/// # Errors
/// A setting that makes no sense.
pub fn text(policy: &str, text: &str) -> Result<Vec<Lint>, PathError> {
    let mut machine = Inventory::default();
    inventory::read(text, policy, &mut machine);
    let materials = Materials { machine: &machine, client: None, server: None, beyond: &[] };
    let found = audit(&materials, &Asked::default())?.found;
    Ok(told(policy, found))
}

fn told(policy: &str, found: Vec<Found>) -> Vec<Lint> {
    let mut lint = Vec::new();
    for found in found {
        let places: Vec<At> =
            found.places.iter().filter_map(|place| if let Origin::Text(at) = place { Some(at.clone()) } else { None }).collect();
        let assumed = found.places.iter().any(|place| matches!(place, Origin::Default(_))) && is_about_ends(found.rule);
        let severity = if assumed { found.severity.min(Severity::Warning) } else { found.severity };
        let sum = found.sum.as_ref().map_or_else(String::new, |sum| format!(" ({} does not hold)", sum.text));
        let assumption = if assumed { "; the ends' keepalive is assumed to be the kernel's default" } else { "" };
        let one = Lint {
            rule: found.rule,
            severity,
            policy: policy.to_owned(),
            message: format!("{}{sum}{assumption}", found.what),
            places,
            cures: found.fixes.into_iter().flat_map(|fix| fix.lines).collect(),
            is_new: true,
            fails: false,
        };
        if !lint.contains(&one) {
            lint.push(one);
        }
    }
    lint
}

/// Whether a rule holds a box against the keepalive of the ends.
const fn is_about_ends(rule: Rule) -> bool {
    matches!(rule, Rule::KeepaliveTooLate | Rule::KeepaliveMarginal | Rule::KeepaliveNoRoom)
}
