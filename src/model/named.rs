//! The end of an entry read back after it was written out: only names of states that some box has come back.

use super::conntrack::entry::State as CtState;
use super::idle::Clause as IdleClause;
use super::ipvs::state::State as VsState;
use super::{Clause, Lapse};
use crate::time::{Duration, Instant};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Names that are no state's of their own.
const OTHERS: [&str; 6] = ["UNREPLIED", "REPLIED", "UDP", "NONE", "INVALID", "IGNORE"];

/// The same name for good.
fn known(name: &str) -> Option<&'static str> {
    let conntrack = CtState::ALL.into_iter().map(CtState::name);
    let ipvs = VsState::ALL.into_iter().map(VsState::name);
    let idle = IdleClause::ALL.into_iter().map(IdleClause::name);
    conntrack.chain(ipvs).chain(idle).chain(OTHERS).find(|known| *known == name)
}

impl<'de> Deserialize<'de> for Lapse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lapse, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            refreshed: Instant,
            timeout: Duration,
            clause: Clause,
            state: String,
        }
        let Written { refreshed, timeout, clause, state } = Written::deserialize(deserializer)?;
        let state = known(&state).ok_or_else(|| D::Error::custom(format!("'{state}' is no state of an entry")))?;
        Ok(Lapse { refreshed, timeout, clause, state })
    }
}
