//! Sessions that share one cause: where a reader has to look, and how many are concerned.

use super::words;
use crate::check::{Case, Change, Checked, Lint, Session, Timer};
use crate::finding::Verdict;
use crate::policy::At;
use std::collections::BTreeMap;

/// A line of a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file, made short, and as it is: not yet escaped for any format.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl Place {
    /// A place in a text.
    pub fn of(at: &At) -> Place {
        Place { file: words::path(&at.origin), line: at.line.max(1) }
    }

    /// The begin of a file.
    pub fn whole(file: &str) -> Place {
        Place { file: words::path(file), line: 1 }
    }
}

/// Sessions that one timer ends.
#[derive(Clone, Debug)]
pub struct Group<'c> {
    /// Whether they make the run fail.
    pub fails: bool,
    /// Where to look: the timer's line, else what was expected, else the case.
    pub place: Place,
    /// The timer; that of the first member.
    pub timer: Option<&'c Timer>,
    /// The sessions with their cases, in the order of the cases.
    pub members: Vec<(&'c Case, &'c Session)>,
}

impl Group<'_> {
    /// How many there are of each verdict, worst first: `2 sessions cut, 1 session marginal`.
    pub fn counts(&self) -> String {
        let told = Verdict::ALL.into_iter().filter_map(|verdict| {
            let count = self.members.iter().filter(|(_, session)| session.verdict == verdict).count() as u64;
            (count > 0).then(|| format!("{} {}", words::several(count, "session", "sessions"), verdict.name()))
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// The timer in words, harmless: `net.netfilter.x = 600 s (conntrack, ESTABLISHED)`.
    pub fn timer(&self) -> Option<String> {
        self.timer.map(timer)
    }
}

/// A timer in words, harmless.
pub fn timer(timer: &Timer) -> String {
    let name = timer.setting.as_ref().unwrap_or(&timer.timer);
    format!("{} = {} ({}, {})", words::plain(name), timer.value, words::plain(&timer.label), words::plain(&timer.state))
}

/// Where to look for what became of a session: its timer's line, else what was expected, else the case.
pub fn place(case: &Case, session: &Session) -> Place {
    session.timer.as_ref().and_then(|timer| timer.at.as_ref()).map_or_else(|| place_of(case), Place::of)
}

/// Where to look for a case: what was expected of it, else its begin.
pub fn place_of(case: &Case) -> Place {
    case.unmet.iter().find_map(|unmet| unmet.at.as_ref()).map_or_else(|| Place::whole(&case.file), Place::of)
}

/// Where to look for what a policy says of itself: the value to change first, else the policy's file. A policy of the command line
/// has none.
pub fn place_of_lint(lint: &Lint) -> Option<Place> {
    let file = || (!lint.policy.starts_with('-')).then(|| Place::whole(&lint.policy));
    lint.places.first().map(Place::of).or_else(file)
}

/// Whether a session that does not make the run fail is worth a word: it is not well, and nobody said that it need not be.
pub fn is_notable(case: &Case, session: &Session) -> bool {
    let ill = !matches!(session.verdict, Verdict::Survives | Verdict::Repaired);
    let wanted = case.has_expectation && case.unmet.is_empty() && session.change == Change::Unknown;
    !session.fails && ill && session.change != Change::Better && !wanted
}

/// Whether a case fails and neither an expectation nor one of its sessions says why.
pub fn is_bare(case: &Case) -> bool {
    case.fails && case.unmet.is_empty() && !case.sessions.iter().any(|session| session.fails)
}

/// What a case that fails without a session to name comes to, in words, harmless.
pub fn bare(case: &Case) -> String {
    let counts: Vec<String> = Verdict::ALL
        .into_iter()
        .filter(|verdict| case.count(*verdict) > 0)
        .map(|verdict| format!("{} {}", case.count(verdict), verdict.name()))
        .collect();
    let counts = if counts.is_empty() { "no flow".to_owned() } else { counts.join(", ") };
    format!("{} fails: {counts}", words::plain(&case.name()))
}

/// What two sessions have in common when they have one cause.
type Key<'c> = (bool, Option<Place>, &'c str, &'c str, u64, Option<Verdict>, &'c str);

/// The sessions that fail and the notable ones, by cause: the failing first, else in the order of the cases.
pub fn by_cause(checked: &Checked) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    let all = checked.cases.iter().flat_map(|case| case.sessions.iter().map(move |session| (case, session)));
    for (case, session) in all.filter(|(case, session)| session.fails || is_notable(case, session)) {
        let key: Key<'_> = match &session.timer {
            Some(timer) => {
                let name = timer.setting.as_ref().unwrap_or(&timer.timer);
                (session.fails, timer.at.as_ref().map(Place::of), &timer.label, name, timer.value.0, None, "")
            }
            None => (session.fails, None, "", "", 0, Some(session.verdict), &case.file),
        };
        let at = *known.entry(key).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.members.push((case, session)),
            None => groups.push(Group {
                fails: session.fails,
                place: place(case, session),
                timer: session.timer.as_ref(),
                members: vec![(case, session)],
            }),
        }
    }
    groups.sort_by_key(|group| !group.fails);
    groups
}
