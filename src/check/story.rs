//! Runs scenarios and their variants.

use super::{Came, Case, Failure, Kind, Session, Told, Unmet, tell};
use crate::engine::Path;
use crate::finding::advice::{Where, advise};
use crate::finding::cause::cause;
use crate::finding::{Decisive, Verdict, VictimKind};
use crate::flow::GapEvidence;
use crate::net::{Addr, Direction, Proto, Sock};
use crate::policy::{At, Read};
use crate::scenario::compile::Ready;
use crate::scenario::load::{LoadError, vary_with};
use crate::scenario::locate::locate;
use crate::scenario::run::{self as runner, Tally};
use crate::scenario::{Scenario, load_with};
use crate::simulate::Silent;
use crate::simulate::outcome::{End, Forgotten, Met, Outcome, SideOutcome, Toll};
use crate::time::{Duration, Instant};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A scenario, or a variant of one, that is ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// The file.
    pub file: Arc<str>,
    /// The variant's name, and its place among them.
    pub variant: Option<(usize, String)>,
    text: Arc<str>,
    scenario: Scenario,
    ready: Ready,
    /// Whether the variant expects something of its own.
    own_expectation: bool,
}

fn failure(file: &str, line: Option<usize>, what: String) -> Failure {
    Failure { file: file.to_owned(), at: line.map(|line| At::new(&Arc::from(file), line)), what }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        let what = error.to_string();
        failure(&error.origin, error.at.map(|(line, _)| line), what)
    }
}

/// Reads a scenario with its variants. What cannot be run is told beside what can. `read` reads the files that its paths name.
pub fn prepare(file: &str, text: &str, read: Read<'_>) -> Vec<Result<Prepared, Failure>> {
    let base = match load_with(text, file, &[], read) {
        Ok(base) => base,
        Err(error) => return vec![Err(error.into())],
    };
    let (file, text): (Arc<str>, Arc<str>) = (Arc::from(file), Arc::from(text));
    let ready = |scenario: Scenario, variant: Option<(usize, String)>, own_expectation: bool| {
        let ready = scenario.compile().map_err(|what| senseless(&file, variant.as_ref(), &text, &what))?;
        Ok(Prepared { file: Arc::clone(&file), variant, text: Arc::clone(&text), scenario, ready, own_expectation })
    };
    let mut all = vec![ready(base.clone(), None, false)];
    for (index, variant) in base.variants.iter().enumerate() {
        let varied = vary_with(&text, &file, &[], &base, variant, read).map_err(|error| {
            let line = locate(&text, &format!("variants[{index}].set")).map(|(line, _)| line);
            failure(&file, line, error.to_string())
        });
        let name = Some((index, variant.name.clone()));
        all.push(varied.and_then(|varied| ready(varied, name, variant.expect.is_some())));
    }
    all
}

/// What is well written and makes no sense, with the place of the key that its complaint begins with.
fn senseless(file: &str, variant: Option<&(usize, String)>, text: &str, what: &str) -> Failure {
    let path = what.split(':').next().unwrap_or_default();
    match variant {
        Some((index, name)) => {
            let line = locate(text, &format!("variants[{index}]")).map(|(line, _)| line);
            failure(file, line, format!("{file}, variant '{name}': {what}"))
        }
        None => match locate(text, path) {
            Some((line, column)) => failure(file, Some(line), format!("{file}:{line}:{column}, at {what}")),
            None => failure(file, None, format!("{file}: {what}")),
        },
    }
}

impl Prepared {
    /// The boxes of its path.
    pub fn boxes(&self) -> &[crate::policy::BoxSpec] {
        &self.scenario.path
    }

    /// The scenario as it is run.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The path and the hosts, complete.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Runs it; nothing where `stop` became true before its end.
    pub fn run(&self, stop: &AtomicBool) -> Option<Came> {
        if self.ready.crowd.is_some() {
            let tally = runner::population_until(&self.ready, stop);
            return (tally.left == 0).then(|| self.many(&tally));
        }
        let (outcome, Silent) = runner::single_until(&self.ready, Silent, stop);
        if outcome.interrupted {
            return None;
        }
        let told = self.told(&outcome, "", "client → server");
        let mut counts = [0; Verdict::ALL.len()];
        counts[told.session.verdict as usize] = 1;
        let unmet = self.scenario.expect.as_ref().map(|expect| expect.unmet(&outcome));
        let mut came = self.came(Kind::Scenario, counts, unmet);
        if outcome.stopped {
            came.case.remarks.push("stopped: too much happened".to_owned());
        }
        came.flows = 1;
        came.told = vec![told];
        Some(came)
    }

    fn many(&self, tally: &Tally) -> Came {
        let mut counts = [0; Verdict::ALL.len()];
        for (toll, count) in [Toll::Kept, Toll::Repicked, Toll::Unnoticed, Toll::Evicted, Toll::Lost].into_iter().zip(tally.tolls) {
            counts[verdict(toll) as usize] += count;
        }
        // A flow that no table had room for has no entry that could be lost.
        let refused: u64 = tally.pressure.iter().map(|pressure| pressure.refused).sum();
        let refused = refused.min(tally.unopened).min(counts[Verdict::Survives as usize]);
        counts[Verdict::Survives as usize] -= refused;
        counts[Verdict::Refused as usize] += refused;
        let unmet = self.scenario.expect.as_ref().map(|expect| tally.unmet(expect));
        let mut came = self.came(Kind::Population, counts, unmet);
        let examples = tally.examples.iter().filter(|(_, outcome)| outcome.toll() > Toll::Kept);
        came.told = examples.map(|(number, outcome)| self.told(outcome, &number.to_string(), &format!("flow {number}"))).collect();
        came.flows = tally.flows;
        came.is_counted = true;
        let bad = tally.flows - counts[Verdict::Survives as usize];
        came.case.more = bad.saturating_sub(came.told.len() as u64);
        came
    }

    fn came(&self, kind: Kind, counts: [u64; Verdict::ALL.len()], unmet: Option<Vec<String>>) -> Came {
        let title = match &self.variant {
            Some((_, name)) => format!("{}: {name}", self.scenario.title),
            None => self.scenario.title.clone(),
        };
        let case = Case {
            file: self.file.to_string(),
            variant: self.variant.as_ref().map(|(_, name)| name.clone()),
            kind,
            title,
            boxes: tell::boxes(&self.scenario.path),
            has_expectation: unmet.is_some(),
            unmet: unmet.unwrap_or_default().into_iter().map(|what| Unmet { at: self.place(&what), what }).collect(),
            counts,
            sessions: Vec::new(),
            more: 0,
            fails: false,
            changed: false,
            is_new: false,
            remarks: Vec::new(),
        };
        let order = self.variant.as_ref().map_or(0, |(index, _)| index + 1);
        Came { case, order, flows: 0, told: Vec::new(), is_counted: false, recovered: Vec::new() }
    }

    /// Where the expectation stands that a complaint is about.
    fn place(&self, what: &str) -> Option<At> {
        let root = match &self.variant {
            Some((index, _)) if self.own_expectation => format!("variants[{index}].expect"),
            _ => "expect".to_owned(),
        };
        let head = what.split(':').next().unwrap_or_default();
        let below = match head {
            "client" | "server" => format!(".{head}"),
            _ if what.contains(" of the flows ") => ".flows".to_owned(),
            _ if what.contains(" that was lost") => {
                let number = what.split(' ').nth(1).and_then(|number| number.parse::<usize>().ok()).unwrap_or(1);
                format!(".forgotten[{}]", number.saturating_sub(1))
            }
            _ if what.contains(" entries were lost") => ".forgotten".to_owned(),
            _ => String::new(),
        };
        let (line, _) = locate(&self.text, &format!("{root}{below}"))?;
        Some(At::new(&self.file, line))
    }

    /// One flow for reports.
    fn told(&self, outcome: &Outcome, key: &str, name: &str) -> Told {
        let path = &self.ready.net.path;
        let verdict = verdict(outcome.toll());
        let worst = outcome.worst();
        let causes =
            worst.map(|entry| tell::decided(path, entry.hop, &cause(&path.hops[entry.hop], entry.clause, entry.state), entry.timeout));
        // A box that ends a connection of its own accord leaves nobody a silence that could be measured.
        let silence =
            worst.filter(|entry| !ends_it(entry)).map(|entry| entry.noticed.unwrap_or(self.ready.net.horizon).since(entry.refreshed));
        // A reboot or a fail-over takes entries before their time, and no timer keeps them.
        let by_timer = worst.filter(|entry| entry.fate != Met::Evicted && entry.at >= entry.refreshed + entry.timeout);
        let sentence = match (worst, by_timer) {
            (Some(entry), None) if entry.fate != Met::Evicted => {
                let stands = format!("box {} ({})", entry.hop + 1, tell::whose(&path.hops[entry.hop]));
                format!("{}: {stands} lost its entry before the timer's end", verdict.name())
            }
            _ => tell::sentence(verdict, causes.as_ref(), silence, "would find no entry", None),
        };
        let felt =
            if verdict == Verdict::Survives && outcome.sides.iter().all(|side| matches!(side.end, End::StillOpen(_) | End::Closed(_))) {
                Vec::new()
            } else {
                ["client", "server"].iter().zip(&outcome.sides).map(|(who, side)| format!("{who}: {}", felt(side))).collect()
            };
        let cures = by_timer.map_or_else(Vec::new, |entry| cures(path, entry, silence));
        let session = Session {
            name: name.to_owned(),
            stream: None,
            verdict,
            was: None,
            change: super::Change::Unknown,
            timer: causes.as_ref().filter(|_| by_timer.is_some()).map(|decided| decided.timer.clone()),
            silence: silence.map(|idle| (idle, None)),
            message: format!("{name}: {sentence}"),
            felt,
            cures,
            fails: false,
        };
        Told { key: key.to_owned(), by: causes.map(|decided| decided.by), session }
    }
}

fn verdict(toll: Toll) -> Verdict {
    match toll {
        Toll::Kept => Verdict::Survives,
        Toll::Repicked => Verdict::Repaired,
        Toll::Unnoticed => Verdict::Dormant,
        Toll::Evicted => Verdict::Evicted,
        Toll::Lost => Verdict::Cut,
    }
}

/// Whether the box told both ends when its timer ended.
fn ends_it(entry: &Forgotten) -> bool {
    entry.noticed == Some(entry.at) && entry.fate == Met::Reset
}

/// What would have kept an entry. Without a silence nobody knows how long a timer would have to be, and only keepalive helps.
fn cures(path: &Path, entry: &Forgotten, silence: Option<Duration>) -> Vec<String> {
    let hop = &path.hops[entry.hop];
    let decisive = Decisive {
        hop: entry.hop,
        cause: cause(hop, entry.clause, entry.state),
        timeout: entry.timeout,
        idle: silence.unwrap_or(entry.timeout),
        refreshed: entry.refreshed,
        before: 0,
        victim: None,
        kind: VictimKind::Nobody,
        dir: if entry.by_client { Direction::Original } else { Direction::Reply },
        evidence: GapEvidence::ProvenIdle,
        fate: entry.fate.name(),
        late_by: Duration::ZERO,
        permille: None,
    };
    // The program is not known, and so no advice is for SSH alone.
    let nobody = Sock { addr: Addr::from(std::net::IpAddr::from([0, 0, 0, 0])), port: 0 };
    let mut advice = advise(hop, &decisive, Proto::Tcp, nobody, path.clock.hz());
    advice.retain(|advice| silence.is_some() || advice.at == Where::End);
    tell::cures(&advice)
}

fn moment(at: Instant) -> String {
    let span = Duration(at.0);
    let seconds = format!("{:.3} s", span.as_secs_f64());
    if span >= Duration::from_secs(120) { format!("{seconds} ({})", Duration::from_secs(span.as_secs()).human()) } else { seconds }
}

/// How one side ends.
fn felt(side: &SideOutcome) -> String {
    let behind = if side.unacknowledged { ", with data that nobody acknowledged" } else { "" };
    match side.end {
        End::NeverOpened => "the connection never opened".to_owned(),
        End::StillOpen(_) => format!("still believes that it is connected{behind}"),
        End::Closed(at) => format!("closed at {}", moment(at)),
        End::Aborted(at) => format!("aborted at {}", moment(at)),
        End::Failed(errno, at) => format!("{} ({}) at {}", errno.name(), errno.text(), moment(at)),
        End::GaveUp(why, at) => format!("its application gave up ({why}) at {}{behind}", moment(at)),
        End::Died(at) => format!("its host died at {}", moment(at)),
    }
}
