//! `flowlapse check`: everything under some paths, held against what is expected of it and against what was accepted before.

mod base;
mod files;
mod lives;
mod work;

use super::again::quoted;
use super::output::Names;
use super::{Ended, Failure, exit, global, interrupt, is_coloured, note, outlet, print_json, traffic, width, write_whole};
use crate::check::baseline::{self, Accepted};
use crate::check::fail_on::FailOn;
use crate::check::policy::{self, CasePolicy};
use crate::check::{Baseline, Checked, compare};
use crate::report::check::{github, json, junit, markdown, sarif, text};
use crate::report::html::{self, check::CaseLife};
use crate::study::audit::rule::Severity;
use base::Names as Called;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use work::{Done, LintArg, Work};

/// Run every scenario and every capture under PATH, and say what is not as it should be, or not as it was.
///
/// Scenarios are held against their expectations; captures are replayed through their policy files; policies are held against
/// the rules of the audit. With a baseline, what was accepted before is no news. Sessions that are lost are named with the timer
/// that decided and the file and line where it is set.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse check scenarios
  flowlapse check gw --baseline gw/baseline.txt --update-baseline        # accept what is; commit the file
  flowlapse check gw --baseline gw/baseline.txt                          # in CI: red where a session is lost that was not
  flowlapse check captures --policy conntrack:strict,established=600 --fail-on cut,marginal
  flowlapse check . --github --sarif timers.sarif --junit timers.xml     # several documents from one run; - is standard output
  flowlapse check . --quiet                                              # a line for each thing that fails, and nothing else

A capture's policy: NAME.policy or NAME.policy.json beside it (also .conf, .sysctl, .txt, .yaml), or policy.json in its folder
or in one above it, up to PATH. It holds boxes, and may say what is expected (docs/check.md).

Words of --fail-on: every verdict (cut, evicted, refused, marginal, inconclusive, dormant, repaired, survives); expect; lint,
lint-warning; each of these verdicts and lint words with new- in front: not in the baseline; gone; changed; none.

Exit codes: 0 as it should be; 1 something that --fail-on names; 2 usage, or something could not be run; 130 interrupted.")]
pub struct Args {
    /// Files, or folders with everything below them
    #[arg(required_unless_present = "schema", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A box of the path of all captures, in place of their policy files; repeat for several. Scenarios keep their own
    #[arg(long, value_name = "SPEC")]
    policy: Vec<String>,
    /// What was accepted before
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what is into the baseline, and exit with 0 unless something could not be run
    #[arg(long, requires = "baseline")]
    update_baseline: bool,
    /// What makes the run fail; without it expect,new-cut,new-evicted,new-refused,new-lint
    #[arg(long, value_name = "WORD,...", value_delimiter = ',')]
    fail_on: Vec<String>,
    /// Which policies are held against the rules of the audit
    #[arg(long, value_enum, default_value_t = LintArg::Policies)]
    lint: LintArg,
    /// Write one JSON document (schema flowlapse-check/1); - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write JUnit XML, for the tests' page of a CI server
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write SARIF 2.1.0, for code scanning: each finding at the line that sets the timer
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write Markdown, for a job's summary or a comment
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write one self-contained page, to look at and to send
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print GitHub's annotations as well (::error file=…,line=…::…)
    #[arg(long)]
    github: bool,
    /// List every case and every finding
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    held: traffic::Held,
    /// Print the JSON Schema of policies that say what they expect
    #[arg(long)]
    schema: bool,
}

/// Makes a document of the answer and, for a page, of the lives of sessions.
type Writer = fn(&Checked, &[CaseLife]) -> Result<String, Failure>;

impl Args {
    /// The documents that can be asked for, each with where it is wanted. A further format is one more row here and one option above.
    fn documents(&self) -> Vec<(&'static str, Option<&Path>, Writer)> {
        vec![
            ("--json", self.json.as_deref(), |checked, _| Ok(json::write(checked))),
            ("--junit", self.junit.as_deref(), |checked, _| Ok(junit::write(checked)?)),
            ("--sarif", self.sarif.as_deref(), |checked, _| Ok(sarif::write(checked)?)),
            ("--html", self.html.as_deref(), |checked, lives| Ok(html::check::write(checked, lives)?)),
            ("--markdown", self.markdown.as_deref(), |checked, _| Ok(markdown::write(checked))),
        ]
    }

    /// The command line that gives the same answer.
    fn reproduce(&self) -> String {
        let mut words = vec!["flowlapse".to_owned(), "check".to_owned()];
        words.extend(self.paths.iter().map(|path| quoted(&path.to_string_lossy())));
        words.extend(self.policy.iter().flat_map(|spec| ["--policy".to_owned(), quoted(spec)]));
        if let Some(file) = &self.baseline {
            words.extend(["--baseline".to_owned(), quoted(&file.to_string_lossy())]);
        }
        if !self.fail_on.is_empty() {
            words.extend(["--fail-on".to_owned(), quoted(&self.fail_on.join(","))]);
        }
        match self.lint {
            LintArg::Policies => {}
            LintArg::All => words.push("--lint all".to_owned()),
            LintArg::None => words.push("--lint none".to_owned()),
        }
        if self.held.small() != traffic::Held::default().small() {
            let most = self.held.small().map_or_else(|| "none".to_owned(), |flows| flows.to_string());
            words.push(format!("--max-flows {most}"));
        }
        words.join(" ")
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    if args.schema {
        print_json(&policy::schema())?;
        return Ok(exit::RAN);
    }
    let documents = args.documents();
    let to_stdout: Vec<&str> =
        documents.iter().filter(|(_, file, _)| file.is_some_and(|file| file == Path::new("-"))).map(|(option, ..)| *option).collect();
    if let [one, other, ..] = to_stdout[..] {
        return Err(Failure(format!("{one} and {other}: only one document can be standard output; give a file with one of them")));
    }
    let mut twice = Names::new().reads("PATH", &args.paths).boxes("--policy", &args.policy);
    twice.write_some("--baseline", args.baseline.as_deref())?;
    for (option, file, _) in &documents {
        twice.write_some(option, *file)?;
    }
    let fail_on = FailOn::parse(&args.fail_on)?;
    // What is accepted does not fail.
    let fail_on = if args.update_baseline { FailOn::parse(&["none"])? } else { fail_on };
    let accepted = args.baseline.as_deref().map(|file| base::read(file, args.update_baseline)).transpose()?.flatten();
    let given = match &args.policy[..] {
        [] => None,
        specs => {
            let policy = CasePolicy::of_boxes(traffic::boxes(specs)?);
            policy.path().map_err(|error| error.what)?;
            Some((format!("--policy {}", specs.join(" --policy ")), Arc::new(policy)))
        }
    };
    let mut files = files::find(&args.paths)?;
    let mut found = Names::new().reads("what is checked", files.found.iter().map(|found| &found.path));
    for (option, file, _) in &documents {
        found.write_some(option, *file)?;
    }
    let stop = interrupt::flag();
    let names = Called::new(args.baseline.as_deref());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(global::threads()).build().map_err(|e| Failure(format!("threads: {e}")))?;
    let work = Work { found: &files.found, given, accepted: accepted.as_ref(), lint: args.lint, flows_max: args.held.small() };
    let (done, units) = pool.install(|| work.run(&|name| names.of(name), stop));
    let (not_run, all) = (done.not_run, units.len());
    if not_run > 0 {
        let what = format!("interrupted: {not_run} of {all} cases were not run");
        files.failures.push(crate::check::Failure { file: slashed(&args.paths), at: None, what });
    }
    let kept = (args.update_baseline && not_run == 0).then(|| update(args, accepted.as_ref(), &done, &files.failures, &names));
    let checked = held(args, done, accepted.as_ref(), &fail_on, &names, (files.failures, files.left_alone));
    let lives = match &args.html {
        Some(_) if not_run == 0 => pool.install(|| lives::told(&checked, &units, args.held.small(), stop))?,
        _ => Vec::new(),
    };
    if not_run == 0 && stop.load(Ordering::SeqCst) {
        note("interrupted: everything was run; the page does not hold all lives");
    }
    for (_, file, write) in &documents {
        let Some(file) = file else { continue };
        let text = write(&checked, &lives)?;
        if *file == Path::new("-") { outlet::words(&text)? } else { write_whole(file, text.as_bytes())? }
    }
    if to_stdout.is_empty() {
        let layout = text::Layout { width: width(), colour: is_coloured(), all: args.all };
        outlet::coloured(&if global::is_quiet() { text::quiet(&checked) } else { text::write(&checked, layout) })?;
    }
    if args.github {
        // The runner reads both; a document on standard output stays whole.
        let annotations = github::write(&checked);
        if to_stdout.is_empty() { outlet::words(&annotations)? } else { outlet::aside(&annotations) }
    }
    for failure in &checked.failures {
        outlet::complain(&failure.what);
    }
    if let (Some(after), Some(file)) = (kept, &args.baseline) {
        write_whole(file, baseline::write(&after).as_bytes())?;
        if !global::is_quiet() && to_stdout.is_empty() {
            outlet::words(&text::updated(&file.display().to_string(), accepted.as_ref(), &after))?;
        }
    }
    if args.update_baseline && not_run > 0 {
        note("interrupted: the baseline is as it was");
    }
    if stop.load(Ordering::SeqCst) {
        return Ok(exit::INTERRUPTED);
    }
    Ok(match (checked.failures.is_empty(), checked.fails()) {
        (false, _) => exit::USAGE,
        (true, true) => exit::FOUND,
        (true, false) => exit::RAN,
    })
}

/// The new baseline: what this run saw in place of what the old one said of it, and the rest of the old one.
fn update(args: &Args, old: Option<&Accepted>, done: &Done, unread: &[crate::check::Failure], names: &Called) -> Accepted {
    let mut new = old.cloned().unwrap_or_default();
    let unread = done.failures.iter().chain(unread).map(|failure| &failure.file);
    let untouched: BTreeSet<String> = done.untouched.iter().chain(unread).map(|name| names.of(name)).collect();
    let goes = |file: &str| names.is_under(file, &args.paths) && !untouched.contains(file);
    new.cases.retain(|name, _| !goes(compare::file_of(name)));
    if args.lint != LintArg::None {
        let given = |policy: &str| policy.starts_with("--policy ");
        new.lint.retain(|policy, _| !given(policy) && !goes(policy));
    }
    let called = |came: &crate::check::Came| case_name(names, &came.case);
    new.cases.extend(done.came.iter().map(|came| (called(came), compare::known(came))));
    for (policy, key) in compare::lint_keys(&done.lint, &|name| names.of(name)) {
        if key.0 > Severity::Info {
            new.lint.entry(policy).or_default().insert(key);
        }
    }
    new
}

/// What stands for everything that was named, where a failure is about all of it.
fn slashed(paths: &[PathBuf]) -> String {
    paths.first().map_or_else(String::new, |path| path.display().to_string())
}

/// What a baseline calls a case.
fn case_name(names: &Called, case: &crate::check::Case) -> String {
    let file = names.of(&case.file);
    match &case.variant {
        Some(variant) => format!("{file} # {variant}"),
        None => file,
    }
}

/// Everything held against the baseline and against what makes a run fail.
fn held(
    args: &Args,
    done: Done,
    accepted: Option<&Accepted>,
    fail_on: &FailOn,
    names: &Called,
    aside: (Vec<crate::check::Failure>, usize),
) -> Checked {
    let Done { came, lint, mut failures, untouched, not_run, .. } = done;
    let (unread, left_alone) = aside;
    failures.extend(unread);
    failures.sort_by(|one, other| one.file.cmp(&other.file).then(one.what.cmp(&other.what)));
    failures.dedup();
    let mut met = BTreeSet::new();
    let mut cases = Vec::with_capacity(came.len());
    for came in came {
        let name = case_name(names, &came.case);
        let known = accepted.and_then(|accepted| accepted.cases.get(&name));
        met.insert(name);
        cases.push(compare::case(came, accepted.is_some(), known, fail_on));
    }
    compare::order(&mut cases);
    let failed: BTreeSet<String> =
        untouched.iter().chain(failures.iter().map(|failure| &failure.file)).map(|name| names.of(name)).collect();
    let baseline = accepted.zip(args.baseline.as_ref()).map(|(accepted, file)| Baseline {
        file: file.display().to_string(),
        gone: compare::gone(accepted, &met, &|file| names.is_under(file, &args.paths) && !failed.contains(file)),
    });
    Checked {
        cases,
        lint: compare::lint(lint, accepted, fail_on, &|name| names.of(name)),
        failures,
        not_run,
        baseline,
        left_alone,
        fail_on: fail_on.said.clone(),
        reproduce: args.reproduce(),
    }
}
