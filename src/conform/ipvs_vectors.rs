//! The IPVS vectors of the spec: packets of one entry, and what each release's tables made of them.
//!
//! Each vector drives one entry, without scheduling and without time: which table a packet uses, the state and the timer
//! that it sets, and whether the real server counts the connection as active.

use super::{Disagreement, Result};
use crate::model::ipvs::conn::{Conn, flag};
use crate::model::ipvs::dialect::Dialect;
use crate::model::ipvs::{Method, Settings};
use crate::model::{End, Host, Tuple};
use crate::net::{Proto, TcpFlags};
use crate::time::Instant;
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    test_vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    dialect: String,
    fwd: String,
    secure_tcp: bool,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// `INPUT`: from the client; `OUTPUT`: from the real server.
    dir: String,
    flags: String,
    table: String,
    state: String,
    timeout: u64,
    counted_as: String,
}

impl Step {
    fn describe(&self) -> String {
        format!("{} [{}]", self.dir, self.flags)
    }

    fn expected(&self) -> String {
        tell(&self.table, &self.state, self.timeout, &self.counted_as)
    }
}

fn tell(table: &str, state: &str, timeout: u64, counted_as: &str) -> String {
    format!("{table} {state} {timeout} s {counted_as}")
}

/// Compares every vector in its dialect.
///
/// # Errors
/// What cannot be read, with line and column.
pub(super) fn compare(name: &str, text: &str) -> std::result::Result<Result, String> {
    let document: Document = serde_json::from_str(text).map_err(|e| format!("line {}, column {}: {e}", e.line(), e.column()))?;
    let mut result = Result::new(name);
    for vector in &document.test_vectors {
        run(&mut result, vector).map_err(|what| format!("{}: {what}", vector.name))?;
    }
    Ok(result)
}

fn run(result: &mut Result, vector: &Vector) -> std::result::Result<(), String> {
    let dialect = Dialect::find(&vector.dialect).ok_or_else(|| format!("unknown dialect '{}'", vector.dialect))?;
    let method = match vector.fwd.as_str() {
        "MASQ" => Method::Masq,
        // A server on the director itself sends its answers past IPVS just as one behind DR does.
        "DROUTE" | "LOCALNODE" => Method::Route,
        "TUNNEL" => Method::Tunnel,
        "BYPASS" => Method::Bypass,
        other => return Err(format!("fwd '{other}' is not MASQ, DROUTE, TUNNEL or BYPASS")),
    };
    let settings = Settings { secure_tcp: vector.secure_tcp, ..Settings::defaults(dialect, method) };
    let end = |host, port| End { host, port };
    let tuple = Tuple { src: end(Host::CLIENT, 2000), dst: end(Host::SERVICE, 80) };
    let mut conn = Conn::new(&settings, tuple, end(Host(2), 80), Instant::ZERO);
    for (index, step) in vector.steps.iter().enumerate() {
        result.steps += 1;
        let from_server = match step.dir.as_str() {
            "INPUT" => false,
            "OUTPUT" => true,
            other => return Err(format!("dir '{other}' is not INPUT or OUTPUT")),
        };
        // The vectors write an empty set of flags as '-'.
        let flags = TcpFlags::parse(step.flags.trim_matches('-')).map_err(|bad| format!("flags '{}': no flag is '{bad}'", step.flags))?;
        let side = conn.update(&settings, Proto::Tcp, from_server, flags, Instant::ZERO);
        let counted_as = if conn.is(flag::INACTIVE) { "inactive" } else { "active" };
        let got = tell(side.name(), conn.state.name(), conn.timeout.as_secs(), counted_as);
        let expected = step.expected();
        if got != expected {
            result.disagree(|| Disagreement {
                step: index + 1,
                injected: format!("{}, {}: {}", vector.name, dialect.name, step.describe()),
                expected,
                got,
                dialogue: vector.steps[..=index].iter().map(|s| format!("{} -> {}", s.describe(), s.expected())).collect(),
                recording: None,
            });
            // An entry that went wrong once says nothing new about the rest.
            result.steps += vector.steps.len() - index - 1;
            return Ok(());
        }
    }
    Ok(())
}
