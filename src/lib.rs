//! flowlapse: which flows would a stateful middlebox forget too early, when, and by which timer?
//!
//! A promise first: everything but `capture::source`, the sinks that write files, `live` (which puts packets through real
//! kernels), and the command line is pure. The models take time and packets as arguments and return verdicts and packets;
//! they read no clock, keep no global state, do no I/O, and give the same answer for the same input.
//!
//! The directories are the layers; a module uses only layers below its own:
//! [`time`], [`rng`] and [`net`] → [`kernel`] → `capture` → `decode` → `flow` → `policy` → `model` → `engine` → `finding` → `study` → `report`.
//! Beside `model` stands `endpoint`, the two TCP hosts; above `engine` the closed loop, `simulate`, and above that `scenario`,
//! the stories that it runs, which `report` tells. `inventory`, above `policy`, holds what a live machine shows of itself.
//! `check`, above `study` and `scenario` and below `report`, is the gate: what was expected, and what came.
//! `conform` holds models and loop to recordings, and `live` makes recordings.
//!
//! Where to begin, each with an example that is run as a test: [`policy`] (what a box is set to), [`model::conntrack`],
//! [`model::director`] and [`model::ipvs`] (with `secure_tcp`), [`model::idle`] (one packet at a time through one box), [`engine`] (a capture
//! through a path), [`scenario`] (a story with two hosts), [`study::audit`] (settings held against each other, without a packet).
#[cfg(feature = "columnar")]
pub mod archive;
pub mod capture;
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod conform;
pub mod decode;
pub mod endpoint;
pub mod engine;
pub mod finding;
pub mod flow;
pub mod inventory;
pub mod kernel;
#[cfg(all(feature = "live", target_os = "linux"))]
pub mod live;
pub mod model;
pub mod net;
pub mod policy;
pub mod report;
pub mod rng;
pub mod scenario;
pub mod simulate;
pub mod study;
pub mod time;
