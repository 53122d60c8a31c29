//! The requirements of RFC 5382, RFC 4787 and RFC 1122, box by box and end by end.

use super::keepalive::{plain, told};
use super::rule::{Found, Rule, Severity};
use super::setup::{Origin, Setup, Stand};
use crate::finding::advice::Where;
use crate::finding::paste::{Setting, box_blocks};
use crate::time::Duration;

/// RFC 5382 REQ-5: 2 h 4 min.
pub const ESTABLISHED_MIN: Duration = Duration::from_secs(7440);
/// RFC 5382 REQ-5: 4 min.
pub const TRANSITORY_MIN: Duration = Duration::from_secs(240);
/// RFC 4787 REQ-5: 2 min.
pub const UDP_MIN: Duration = Duration::from_secs(120);
/// RFC 1122 4.2.3.5: R2, 100 s.
pub const R2_MIN: Duration = Duration::from_secs(100);
/// RFC 1122 4.2.3.6: 2 h.
pub const KEEPALIVE_MIN: Duration = Duration::from_secs(7200);

/// A requirement held against a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Norm {
    /// Which, as `RFC 5382 REQ-5`.
    pub clause: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// What it asks for at the least.
    pub at_least: Duration,
    /// Whose value it is: a box, or an end.
    pub whose: String,
    /// What the value is called.
    pub setting: &'static str,
    /// The value.
    pub value: Duration,
    /// Whether it is what the requirement asks for.
    pub holds: bool,
    /// Where it stands.
    pub from: Origin,
    /// What to know, where it does not hold.
    pub remark: &'static str,
}

/// Every requirement.
pub fn norms(setup: &Setup<'_>) -> Vec<Norm> {
    let mut norms = Vec::new();
    for stand in &setup.stands {
        of_box(stand, &mut norms);
    }
    for end in &setup.ends {
        let r2 = end.retransmits_for();
        norms.push(Norm {
            clause: "RFC 1122 4.2.3.5",
            about: "giving up",
            at_least: R2_MIN,
            whose: end.name().to_owned(),
            setting: "tcp_retries2",
            value: r2,
            holds: r2 >= R2_MIN,
            from: end.retries2.from.clone(),
            remark: "",
        });
        let idle = Duration::from_secs(end.time.value);
        norms.push(Norm {
            clause: "RFC 1122 4.2.3.6",
            about: "keepalive",
            at_least: KEEPALIVE_MIN,
            whose: end.name().to_owned(),
            setting: "tcp_keepalive_time",
            value: idle,
            holds: idle >= KEEPALIVE_MIN,
            from: end.time.from.clone(),
            remark: "a default below two hours departs from it, as boxes on the path demand; SO_KEEPALIVE is off by default, as it asks",
        });
    }
    norms
}

fn of_box(stand: &Stand, norms: &mut Vec<Norm>) {
    let mut row = |clause, about, at_least, setting, value: Duration| {
        norms.push(Norm {
            clause,
            about,
            at_least,
            whose: stand.label().to_owned(),
            setting,
            value,
            holds: value >= at_least,
            from: stand.origin(setting),
            remark: if stand.is_nat() { "" } else { "the RFC is about NATs; this box is held to it by analogy" },
        });
    };
    if stand.established() < Duration::MAX {
        row("RFC 5382 REQ-5", "established", ESTABLISHED_MIN, stand.established_name(), stand.established());
    }
    let counts = |name: &str| !matches!(name, "close" | "time_wait" | "last_ack");
    if let Some((setting, value)) = stand.transitory().into_iter().filter(|(name, _)| counts(name)).min_by_key(|(_, span)| *span) {
        row("RFC 5382 REQ-5", "transitory", TRANSITORY_MIN, setting, value);
    }
    if let Some((setting, value)) = stand.udp() {
        row("RFC 4787 REQ-5", "UDP", UDP_MIN, setting, value);
    }
}

/// The requirements that are not met, as findings: of boxes that translate addresses warnings, else by analogy.
pub(super) fn rules(setup: &Setup<'_>, found: &mut Vec<Found>) {
    for (index, stand) in setup.stands.iter().enumerate() {
        let mut norms = Vec::new();
        of_box(stand, &mut norms);
        for norm in norms.into_iter().filter(|norm| !norm.holds) {
            let rule = match norm.about {
                "established" => Rule::Rfc5382Established,
                "transitory" => Rule::Rfc5382Transitory,
                _ => Rule::Rfc4787Udp,
            };
            // Linux itself is below it with every timer of a connection that opens or closes.
            let severity = if stand.is_nat() && rule != Rule::Rfc5382Transitory { Severity::Warning } else { Severity::Info };
            let mut what = Found::new(
                rule,
                severity,
                format!(
                    "{} keeps {} for {}, and {} asks for {}",
                    norm.whose,
                    said(&norm),
                    told(norm.value),
                    norm.clause,
                    told(norm.at_least)
                ),
            )
            .at(index)
            .sum(norm.at_least, norm.value, format!("{} ≤ {} of {}", plain(norm.at_least), plain(norm.value), norm.setting))
            .places([norm.from.clone()]);
            if rule != Rule::Rfc5382Transitory {
                let setting = Setting { name: norm.setting.to_owned(), value: norm.at_least.as_secs() };
                if let Some(block) = box_blocks(stand.hop(), &[setting], None).into_iter().next() {
                    what = what.fix(Where::Box, block.lines, block.note);
                }
            }
            found.push(what);
        }
    }
    for end in setup.ends.iter().filter(|end| end.retransmits_for() < R2_MIN) {
        let r2 = end.retransmits_for();
        found.push(
            Found::new(
                Rule::Rfc1122Retries,
                Severity::Warning,
                format!(
                    "the {} gives data up after {} (tcp_retries2 = {}), and RFC 1122 asks for 100 s",
                    end.name(),
                    told(r2),
                    end.retries2.value
                ),
            )
            .sum(R2_MIN, r2, format!("100 ≤ {}", plain(r2)))
            .places([end.retries2.from.clone()])
            .fix(
                Where::End,
                ["sysctl -w net.ipv4.tcp_retries2=8"],
                "102 s; TCP_USER_TIMEOUT shortens it for programs that want it",
            ),
        );
    }
}

fn said(norm: &Norm) -> &'static str {
    match norm.about {
        "established" => "a quiet established connection",
        "transitory" => "a connection that opens or closes",
        _ => "a quiet UDP flow",
    }
}
