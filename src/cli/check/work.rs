//! Does the work of a run: prepares scenarios, finds policies, and runs everything on all cores.

use super::files::Found;
use crate::capture::Input;
use crate::check::baseline::{Accepted, Known};
use crate::check::discover::{self, What};
use crate::check::policy::{CasePolicy, PolicyError};
use crate::check::story::{self, Prepared};
use crate::check::{Came, Failure, Lint, lint};
use crate::cli::interrupt;
use crate::cli::progress::Progress;
use crate::cli::traffic::text_of as read_file;
use crate::engine::pipeline::Job;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which policies are held against the audit's rules.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LintArg {
    /// Policy files, and --policy
    Policies,
    /// The paths of scenarios too
    All,
    /// None
    None,
}

/// A policy that was read, or why it was not.
type Read = Result<Arc<CasePolicy>, PolicyError>;

/// What one run has in hand.
#[derive(Debug)]
pub(super) struct Work<'w> {
    /// The files.
    pub(super) found: &'w [Found],
    /// The policy of all captures, where the command line gives one: what it is called, and its boxes.
    pub(super) given: Option<(String, Arc<CasePolicy>)>,
    /// What was accepted before.
    pub(super) accepted: Option<&'w Accepted>,
    /// Which policies are held against the rules.
    pub(super) lint: LintArg,
    /// How many flows of a capture are held at most.
    pub(super) flows_max: Option<u64>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The cases, by file and variant.
    pub(super) came: Vec<Came>,
    /// Findings about policies.
    pub(super) lint: Vec<Lint>,
    /// What could not be run.
    pub(super) failures: Vec<Failure>,
    /// Files of which a case is missing because it could not be run.
    pub(super) untouched: BTreeSet<String>,
    /// Policies that were held against the rules.
    pub(super) linted: BTreeSet<String>,
    /// Cases that an interrupt kept from being run to their end.
    pub(super) not_run: usize,
}

/// Something to run.
pub(super) enum Unit<'w> {
    /// A scenario, or a variant of one.
    Story(Prepared),
    /// A capture and its policy.
    Capture(&'w Found, Arc<CasePolicy>),
}

impl Unit<'_> {
    /// The file.
    pub(super) fn file(&self) -> &str {
        match self {
            Unit::Story(prepared) => &prepared.file,
            Unit::Capture(found, _) => &found.name,
        }
    }

    /// The variant's name.
    pub(super) fn variant(&self) -> Option<&str> {
        match self {
            Unit::Story(prepared) => prepared.variant.as_ref().map(|(_, name)| name.as_str()),
            Unit::Capture(..) => None,
        }
    }

    /// How it is called: its file, and the variant behind ` # `.
    fn name(&self, names: &dyn Fn(&str) -> String) -> String {
        let file = names(self.file());
        match self.variant() {
            Some(variant) => format!("{file} # {variant}"),
            None => file,
        }
    }
}

fn failure(file: &str, error: PolicyError) -> Failure {
    Failure { file: file.to_owned(), at: error.at, what: error.what }
}

impl Work<'_> {
    /// Runs everything, and says what it ran. `names` gives a file's name in the baseline.
    pub(super) fn run(&self, names: &(dyn Fn(&str) -> String + Sync), stop: &AtomicBool) -> (Done, Vec<Unit<'_>>) {
        let mut done = Done::default();
        let policies = self.policies();
        let mut units = self.stories(&mut done);
        let mut stories_lint = self.lint_stories(&units, &mut done);
        self.captures(&policies, &mut units, &mut done);
        self.lint_policies(&policies, &mut done);
        done.lint.append(&mut stories_lint);
        let captures = units.iter().filter(|unit| matches!(unit, Unit::Capture(..))).count();
        let threads = (rayon::current_num_threads() / captures.max(1)).max(1);
        let progress = Progress::steps(Some(units.len() as u64), "running");
        let run = |unit: &Unit<'_>| {
            if stop.load(Ordering::SeqCst) {
                return None;
            }
            let known = self.accepted.and_then(|accepted| accepted.cases.get(&unit.name(names)));
            let came = one(unit, known, &Job { threads, flows_max: self.flows_max, ..Job::default() }, stop);
            progress.advance(1);
            came.transpose()
        };
        let came: Vec<_> = units.par_iter().with_max_len(1).map(run).collect();
        drop(progress);
        for (unit, came) in units.iter().zip(came) {
            match came {
                Some(Ok(came)) => done.came.push(came),
                Some(Err(failure)) => {
                    done.untouched.insert(unit.file().to_owned());
                    done.failures.push(failure);
                }
                None => {
                    done.not_run += 1;
                    done.untouched.insert(unit.file().to_owned());
                }
            }
        }
        done.came.sort_by(|one, other| one.case.file.cmp(&other.case.file).then(one.order.cmp(&other.order)));
        (done, units)
    }

    /// The policies of all captures and those that were found alone, read once each.
    fn policies(&self) -> BTreeMap<String, Read> {
        let texts: BTreeMap<&str, &Arc<str>> =
            self.found.iter().filter_map(|found| Some((found.name.as_str(), found.text.as_ref()?))).collect();
        let read = |name: String| {
            let policy = match texts.get(name.as_str()) {
                Some(text) => CasePolicy::read(&name, text, &read_file),
                None => match read_file(&name) {
                    Ok(text) => CasePolicy::read(&name, &text, &read_file),
                    Err(why) => Err(PolicyError { at: None, what: format!("{name}: cannot be read: {why}") }),
                },
            };
            // A policy whose settings make no sense is told once, and not for each of its captures.
            let policy = policy.and_then(|policy| policy.path().map(|_| Arc::new(policy)));
            (name, policy)
        };
        let alone = self.found.iter().filter(|found| found.what == What::Policy).map(|found| found.name.clone());
        let of_captures = self.found.iter().filter(|found| found.what == What::Capture && self.given.is_none());
        let of_captures = of_captures.filter_map(|found| policy_of(found, self.found).ok().flatten());
        let names: BTreeSet<String> = alone.chain(of_captures).collect();
        names.into_iter().map(read).collect()
    }

    fn stories(&self, done: &mut Done) -> Vec<Unit<'static>> {
        let files: Vec<&Found> = self.found.iter().filter(|found| found.what == What::Scenario).collect();
        let prepared: Vec<_> =
            files.par_iter().map(|found| story::prepare(&found.name, found.text.as_deref().unwrap_or_default(), &read_file)).collect();
        let mut units = Vec::new();
        for (found, prepared) in files.iter().zip(prepared) {
            for one in prepared {
                match one {
                    Ok(one) => units.push(Unit::Story(one)),
                    Err(failure) => {
                        done.untouched.insert(found.name.clone());
                        done.failures.push(failure);
                    }
                }
            }
        }
        units
    }

    fn captures<'f>(&'f self, policies: &BTreeMap<String, Read>, units: &mut Vec<Unit<'f>>, done: &mut Done) {
        // How many captures wait for a policy that cannot be read.
        let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
        for found in self.found.iter().filter(|found| found.what == What::Capture) {
            let mut fail = |what: String| {
                done.untouched.insert(found.name.clone());
                done.failures.push(Failure { file: found.name.clone(), at: None, what });
            };
            if let Some((_, policy)) = &self.given {
                units.push(Unit::Capture(found, Arc::clone(policy)));
                continue;
            }
            match policy_of(found, self.found) {
                Err(what) => fail(what),
                Ok(None) => fail(format!("{}: no policy: put policy.json beside it, or give --policy", found.name)),
                Ok(Some(name)) => {
                    if let Some(Ok(policy)) = policies.get(&name) {
                        units.push(Unit::Capture(found, Arc::clone(policy)));
                    } else {
                        done.untouched.insert(found.name.clone());
                        *waiting.entry(name).or_default() += 1;
                    }
                }
            }
        }
        for (name, read) in policies {
            let Err(error) = read else { continue };
            let behind = match waiting.get(name) {
                None => String::new(),
                Some(1) => "; one capture could not be run without it".to_owned(),
                Some(count) => format!("; {count} captures could not be run without it"),
            };
            let mut one = failure(name, error.clone());
            one.what.push_str(&behind);
            done.failures.push(one);
        }
    }

    fn lint_policies(&self, policies: &BTreeMap<String, Read>, done: &mut Done) {
        if self.lint == LintArg::None {
            return;
        }
        let given = self.given.as_ref().map(|(name, policy)| (name, Ok(Arc::clone(policy))));
        let read = policies.iter().map(|(name, read)| (name, read.clone()));
        // A text that another policy takes its boxes from is judged there, with what that policy knows besides.
        let taken: BTreeSet<String> = policies
            .iter()
            .filter_map(|(name, read)| Some((name, read.as_ref().ok()?)))
            .flat_map(|(name, policy)| policy.boxes.iter().flat_map(|one| one.origins.iter()).map(move |(_, at)| (name, at)))
            .filter(|(name, at)| ***name != *at.origin)
            .map(|(_, at)| at.origin.to_string())
            .collect();
        for (name, policy) in given.into_iter().chain(read) {
            let Ok(policy) = policy else { continue };
            if taken.contains(name) {
                done.linted.insert(name.clone());
                continue;
            }
            let found = match policy.text().filter(|text| !is_json(text)) {
                Some(text) => lint::text(name, text),
                None => lint::boxes(name, &policy.boxes),
            };
            add_lint(name, found, done);
        }
    }

    fn lint_stories(&self, units: &[Unit<'_>], done: &mut Done) -> Vec<Lint> {
        let mut all: Vec<Lint> = Vec::new();
        if self.lint != LintArg::All {
            return all;
        }
        for unit in units {
            let Unit::Story(prepared) = unit else { continue };
            if prepared.boxes().is_empty() {
                continue;
            }
            add_lint(&prepared.file, lint::boxes(&prepared.file, prepared.boxes()), done);
        }
        // Variants share most of their boxes; what they share is told once.
        for one in std::mem::take(&mut done.lint) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        all
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[', '"'])
}

fn add_lint(name: &str, found: Result<Vec<Lint>, crate::engine::PathError>, done: &mut Done) {
    match found {
        Ok(found) => {
            done.linted.insert(name.to_owned());
            done.lint.extend(found);
        }
        Err(error) => done.failures.push(Failure { file: name.to_owned(), at: None, what: format!("{name}: {error}") }),
    }
}

/// The policy of a capture, among the files that exist: the one that is called so, or the only one.
fn policy_of(found: &Found, all: &[Found]) -> Result<Option<String>, String> {
    if let Some(name) = discover::policy_of(&found.name, &found.root, &|name| Path::new(name).is_file())? {
        return Ok(Some(name));
    }
    let known: Vec<&str> = all.iter().filter(|other| other.what == What::Policy).map(|other| other.name.as_str()).collect();
    discover::only_policy(&found.name, &found.root, &known)
}

/// Runs one; nothing where it was `stop`ped before its end: a part says nothing about the whole.
fn one(unit: &Unit<'_>, known: Option<&Known>, job: &Job, stop: &AtomicBool) -> Result<Option<Came>, Failure> {
    match unit {
        Unit::Story(prepared) => Ok(prepared.run(stop)),
        Unit::Capture(found, policy) => {
            let fail = |what: String| Failure { file: found.name.clone(), at: None, what };
            let mut capture = match interrupt::open(&[Input::Path(found.path.clone())]) {
                Ok(capture) => capture,
                Err(_) if interrupt::is_asked() => return Ok(None),
                Err(error) => return Err(fail(error.to_string())),
            };
            let came = crate::check::capture::run(&found.name, &mut capture, policy, known, job, stop).map_err(fail)?;
            Ok((!stop.load(Ordering::SeqCst)).then_some(came))
        }
    }
}
