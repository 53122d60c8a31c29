//! What came, held against what was accepted before and against what makes a run fail.

use super::baseline::{Accepted, Fate, Known, LintKey};
use super::fail_on::FailOn;
use super::{Came, Case, Change, Checked, Lint, Session, Told};
use crate::finding::Verdict;
use crate::study::audit::rule::Severity;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// How good a verdict is. What is lost is lost, whoever lost it; and what nobody can tell is no better than what may be lost.
const fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Cut | Verdict::Evicted | Verdict::Refused => 0,
        Verdict::Marginal | Verdict::Inconclusive => 1,
        Verdict::Dormant => 2,
        Verdict::Repaired => 3,
        Verdict::Survives => 4,
    }
}

/// How a fate compares with an accepted one.
pub fn change(was: &Fate, now: &Fate) -> Change {
    if was == now {
        return Change::Same;
    }
    // From lost to not known is no progress that anybody has seen.
    if rank(was.verdict) == 0 && now.verdict == Verdict::Inconclusive {
        return Change::Other;
    }
    match rank(now.verdict).cmp(&rank(was.verdict)) {
        Ordering::Less => Change::Worse,
        Ordering::Equal => Change::Other,
        Ordering::Greater => Change::Better,
    }
}

/// What a baseline would know of a case.
pub fn known(came: &Came) -> Known {
    let is_bad = |told: &&Told| told.session.verdict != Verdict::Survives;
    if came.is_counted {
        let mut counts = came.case.counts;
        counts[Verdict::Survives as usize] = 0;
        return Known { flows: came.flows, counts: counts.iter().any(|count| *count > 0).then_some(counts), fates: BTreeMap::new() };
    }
    let fates = came.told.iter().filter(is_bad).map(|told| (told.key.clone(), fate(told))).collect();
    Known { flows: came.flows, counts: None, fates }
}

fn fate(told: &Told) -> Fate {
    let verdict = told.session.verdict;
    Fate { verdict, by: told.by.clone().filter(|_| verdict != Verdict::Survives) }
}

const SURVIVED: Fate = Fate { verdict: Verdict::Survives, by: None };

/// Holds a case against the baseline and `--fail-on`. `known` is what the baseline says of it, if it says something.
pub fn case(came: Came, has_baseline: bool, known: Option<&Known>, fail_on: &FailOn) -> Case {
    let now = self::known(&came);
    let Came { mut case, told, recovered, is_counted, flows, .. } = came;
    case.is_new = has_baseline && known.is_none();
    case.changed = known.is_some_and(|known| *known != now);
    let broken = !case.unmet.is_empty();
    case.fails = broken && fail_on.expect() || fail_on.changed() && (case.changed || case.is_new);
    let judge = Judge { case: &case, known, fail_on, broken, flows, is_counted };
    let mut sessions: Vec<Session> = told.into_iter().chain(recovered).map(|told| judge.session(told)).collect();
    let counted_fails = is_counted && Verdict::ALL.into_iter().any(|verdict| judge.count_fails(verdict));
    case.fails |= counted_fails || sessions.iter().any(|session| session.fails);
    // A survivor is told where it was not expected, or where it was not one before.
    sessions.retain(|session| session.verdict != Verdict::Survives || broken || session.change == Change::Better);
    sessions.sort_by_key(|session| (!session.fails, session.change == Change::Same, session.change));
    case.more += sessions.len().saturating_sub(Case::SESSIONS_MAX) as u64;
    sessions.truncate(Case::SESSIONS_MAX);
    case.sessions = sessions;
    case
}

struct Judge<'j> {
    case: &'j Case,
    known: Option<&'j Known>,
    fail_on: &'j FailOn,
    broken: bool,
    flows: u64,
    is_counted: bool,
}

impl Judge<'_> {
    /// Whether the case's expectation is met, so that its verdicts are as they should be.
    fn is_promised(&self) -> bool {
        self.case.has_expectation && !self.broken
    }

    fn session(&self, told: Told) -> Session {
        let now = fate(&told);
        let Told { key, mut session, .. } = told;
        if let Some(known) = self.known.filter(|_| !self.is_counted) {
            // Of a case with the same flows, what is not listed survived.
            let silent = (known.counts.is_none() && known.flows == self.flows).then_some(&SURVIVED);
            let was = known.fates.get(&key).or(silent);
            session.was = was.map(|was| was.verdict);
            session.change = match was {
                Some(was) => change(was, &now),
                None => change(&SURVIVED, &now),
            };
        } else if let Some(known) = self.known {
            let (was, is) = (known.counts.unwrap_or_default()[session.verdict as usize], self.case.count(session.verdict));
            session.change = if is > was { Change::Worse } else { Change::Same };
        }
        session.fails = !self.is_counted && self.session_fails(&session) || self.is_counted && self.count_fails(session.verdict);
        session
    }

    fn session_fails(&self, session: &Session) -> bool {
        let verdict = session.verdict;
        if self.broken && self.fail_on.expect() && self.is_blamed(session) {
            return true;
        }
        let is_new = self.fail_on.new_verdict(verdict);
        match session.change {
            // What was promised and came is as it should be, unless it was better before.
            Change::Unknown => !self.is_promised() && (is_new || self.fail_on.verdict(verdict)),
            Change::Worse => is_new || !self.is_promised() && self.fail_on.verdict(verdict),
            _ => !self.is_promised() && (self.fail_on.verdict(verdict) || is_new && session.was != Some(verdict)),
        }
    }

    /// Whether an unmet expectation is about this session: of a scenario there is only one, and of a capture those that were lost.
    fn is_blamed(&self, session: &Session) -> bool {
        match self.case.kind {
            super::Kind::Capture => {
                let name = session.verdict.name();
                let stream = session.stream.as_deref().unwrap_or_default().replace(".stream eq ", ".");
                self.case
                    .unmet
                    .iter()
                    .any(|unmet| unmet.what.contains(&format!(" {name}, at most")) || unmet.what.starts_with(&format!("{stream} ")))
            }
            super::Kind::Scenario | super::Kind::Population => session.verdict != Verdict::Survives || self.flows == 1,
        }
    }

    /// The same for a case whose flows are counted and not listed.
    fn count_fails(&self, verdict: Verdict) -> bool {
        let is = self.case.count(verdict);
        let was = self.known.map(|known| known.counts.unwrap_or_default()[verdict as usize]);
        let new = self.fail_on.new_verdict(verdict) && verdict != Verdict::Survives;
        if self.is_promised() {
            return new && was.is_some_and(|was| is > was);
        }
        is > 0 && self.fail_on.verdict(verdict) || new && is > was.unwrap_or(0)
    }
}

/// Holds findings about policies against the baseline, worst first. `name` gives a policy's name in the baseline.
pub fn lint(mut found: Vec<Lint>, accepted: Option<&Accepted>, fail_on: &FailOn, name: &dyn Fn(&str) -> String) -> Vec<Lint> {
    let keys = lint_keys(&found, name);
    for (lint, (policy, key)) in found.iter_mut().zip(keys) {
        lint.is_new = lint.severity > Severity::Info
            && !accepted.is_some_and(|accepted| accepted.lint.get(&policy).is_some_and(|known| known.contains(&key)));
        lint.fails = fail_on.lint(lint.severity, lint.is_new);
    }
    found.sort_by(|one, other| {
        let order = |lint: &Lint| (!lint.fails, std::cmp::Reverse(lint.severity));
        order(one).cmp(&order(other)).then_with(|| one.policy.cmp(&other.policy)).then_with(|| one.places.cmp(&other.places))
    });
    found
}

/// What a baseline calls each finding. One that is only worth knowing stands in none.
pub fn lint_keys(found: &[Lint], name: &dyn Fn(&str) -> String) -> Vec<(String, LintKey)> {
    let mut counts: BTreeMap<(String, u8, &str), u32> = BTreeMap::new();
    let key = |lint: &Lint| (name(&lint.policy), lint.severity as u8, lint.rule.id());
    let mut keys = Vec::with_capacity(found.len());
    for lint in found {
        let nth = counts.entry(key(lint)).or_default();
        *nth += 1;
        keys.push((name(&lint.policy), (lint.severity, lint.rule, *nth)));
    }
    keys
}

/// The file of a case's name in a baseline: what stands before a variant.
pub fn file_of(name: &str) -> &str {
    name.split(" # ").next().unwrap_or(name)
}

/// The cases that a baseline knows and that were not met, among those for which `is_meant` holds of their file.
pub fn gone(accepted: &Accepted, met: &BTreeSet<String>, is_meant: &dyn Fn(&str) -> bool) -> Vec<String> {
    accepted.cases.keys().filter(|name| !met.contains(*name) && is_meant(file_of(name))).cloned().collect()
}

/// Puts the cases in their order: first those that fail, then those that changed, then the rest. They come sorted by file and variant.
pub fn order(cases: &mut [Case]) {
    cases.sort_by_key(|case| (!case.fails, !(case.changed || case.is_new)));
}

/// How two baselines differ, in counts: what is new, what is different, what is no more.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Differs {
    /// Cases and findings that were not known.
    pub new: usize,
    /// Cases whose flows have other fates.
    pub changed: usize,
    /// Cases and findings that are no more.
    pub gone: usize,
}

/// How two baselines differ.
pub fn differs(before: &Accepted, after: &Accepted) -> Differs {
    let lint = |accepted: &Accepted| -> BTreeSet<(String, LintKey)> {
        accepted.lint.iter().flat_map(|(policy, found)| found.iter().map(move |key| (policy.clone(), *key))).collect()
    };
    let (old, new) = (lint(before), lint(after));
    let known = |name: &&String, of: &Accepted| of.cases.contains_key(*name);
    Differs {
        new: after.cases.keys().filter(|name| !known(name, before)).count() + new.difference(&old).count(),
        changed: after.cases.iter().filter(|(name, now)| before.cases.get(*name).is_some_and(|was| was != *now)).count(),
        gone: before.cases.keys().filter(|name| !known(name, after)).count() + old.difference(&new).count(),
    }
}

impl Checked {
    /// Cases that are as they should be and as they were.
    pub fn fine(&self) -> usize {
        self.cases.iter().filter(|case| !case.fails && !case.changed && !case.is_new).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::baseline::By;
    use Verdict::{Cut, Dormant, Evicted, Inconclusive, Marginal, Repaired, Survives};

    #[test]
    fn what_is_worse() {
        let fate = |verdict, timer: &str| Fate { verdict, by: Some(By { whose: "conntrack".to_owned(), timer: timer.to_owned() }) };
        for (was, now, change) in [
            (Cut, Cut, Change::Same),
            (Cut, Evicted, Change::Other),
            (Cut, Inconclusive, Change::Other),
            (Marginal, Inconclusive, Change::Other),
            (Inconclusive, Cut, Change::Worse),
            (Survives, Inconclusive, Change::Worse),
            (Inconclusive, Dormant, Change::Better),
            (Dormant, Cut, Change::Worse),
            (Cut, Dormant, Change::Better),
            (Repaired, Survives, Change::Better),
            (Survives, Repaired, Change::Worse),
        ] {
            assert_eq!(super::change(&fate(was, "established"), &fate(now, "established")), change, "{was:?} {now:?}");
        }
        assert_eq!(super::change(&fate(Cut, "established"), &fate(Cut, "max_retrans")), Change::Other);
    }
}
