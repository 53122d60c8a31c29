//! What machines show of themselves, held against what their timers need of each other: no packets, only settings and dumps.
//!
//! [`mod@gather`] makes a [`Setup`]: boxes and ends, each value with its place. The rules look at that alone, so that they also judge
//! policies of which nothing else is known. [`mod@forecast`] goes through the dumps entry by entry. Nothing here prints or reads a file.
//!
//! ```
//! use flowlapse::inventory::{self, Inventory};
//! use flowlapse::study::audit::rule::Severity;
//! use flowlapse::study::audit::{Asked, Materials, audit};
//!
//! let mut machine = Inventory::default();
//! inventory::read("Timeout (tcp tcpfin udp): 900 120 300\nnet.ipv4.tcp_keepalive_time = 7200\n", "director", &mut machine);
//! let audit = audit(&Materials { machine: &machine, client: None, server: None, beyond: &[] }, &Asked::default())?;
//! let worst = &audit.found[0];
//! assert_eq!((worst.rule.id(), worst.severity), ("keepalive-too-late", Severity::Error));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod fate;
pub mod forecast;
pub mod gather;
pub mod norms;
pub mod rule;
pub mod setup;
pub mod stray;

mod dumps;
mod filter;
mod habit;
mod ipvs;
mod keepalive;
mod tables;

use crate::engine::PathError;
use crate::inventory::Inventory;
use crate::policy::BoxSpec;
use forecast::Forecast;
use gather::{Gathered, gather};
use rule::{Found, Severity};
use setup::Setup;

/// What there is to look at.
#[derive(Clone, Copy, Debug)]
pub struct Materials<'a> {
    /// The machine on the path.
    pub machine: &'a Inventory,
    /// What the client's host showed.
    pub client: Option<&'a Inventory>,
    /// What the server's host showed.
    pub server: Option<&'a Inventory>,
    /// Further boxes between the machine and the server, in their order.
    pub beyond: &'a [BoxSpec],
}

/// What is to be taken for true where nothing shows it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Asked {
    /// Keepalive of both ends: idle time, interval, probes.
    pub keepalive: Option<[u64; 3]>,
    /// The machine's kernel: a release or a dialect.
    pub kernel: Option<String>,
}

/// The answer.
#[derive(Debug)]
pub struct Audit<'a> {
    /// The boxes and the ends.
    pub setup: Setup<'a>,
    /// What had to be assumed, and where texts disagree.
    pub gathered: Gathered,
    /// What was found: the worst first, then in the order of the rules.
    pub found: Vec<Found>,
    /// The requirements of the RFCs, box by box.
    pub norms: Vec<norms::Norm>,
    /// What becomes of live connections; nothing without a table.
    pub forecast: Option<Forecast<'a>>,
}

/// Audits.
///
/// # Errors
/// A kernel that nobody knows, or a box whose settings make no sense.
pub fn audit<'a>(materials: &Materials<'a>, asked: &Asked) -> Result<Audit<'a>, PathError> {
    let (setup, mut gathered) = gather(materials, asked)?;
    let mut found = lint(&setup);
    tables::contradictions(&gathered.contradictions, &mut found);
    let forecast = forecast::forecast(&setup, asked, &mut gathered.assumptions);
    if let Some(forecast) = &forecast {
        forecast.judge(&setup, &mut found);
    }
    sort(&mut found);
    let norms = norms::norms(&setup);
    Ok(Audit { setup, gathered, found, norms, forecast })
}

/// Every rule that needs no dump.
pub fn lint(setup: &Setup<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for rule in [keepalive::rules, ipvs::rules, filter::rules, tables::rules, norms::rules] {
        rule(setup, &mut found);
    }
    sort(&mut found);
    found
}

/// The worst first, then in the order of the rules, then of the path.
fn sort(found: &mut [Found]) {
    found.sort_by(|one, other| {
        other
            .severity
            .cmp(&one.severity)
            .then(one.rule.cmp(&other.rule))
            .then(one.stand.cmp(&other.stand))
            .then(one.places.cmp(&other.places))
    });
}

impl Audit<'_> {
    /// How many findings have a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|found| found.severity == severity).count()
    }

    /// Whether it is of less than was given, because the reading was stopped.
    pub fn is_interrupted(&self) -> bool {
        self.setup.inventories().any(|shown| shown.interrupted)
    }

    /// Lines that look as if they belonged here and cannot be read, in all texts.
    pub fn unread(&self) -> usize {
        self.setup.inventories().map(|shown| shown.unread.len()).sum::<usize>() + self.gathered.refused.len()
    }
}
