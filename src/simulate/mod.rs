//! The closed loop: two hosts, their applications, and the boxes and links between them, driven by a queue of what happens
//! next. Boxes drop and reset; hosts retransmit, probe, give up; what each side was told comes out.
//!
//! A flow is the unit of simulation, as everywhere: its state is its own, so millions of flows run one after the other on as
//! many threads as there are, with the same result. What couples flows (a full table) is the business of [`crowd`].
//!
//! Where to add: a program or its heartbeat is a row in [`programs`] or [`app`]; something that happens to the path is a
//! [`Fault`]; a way in which flows meet belongs to [`crowd`]; what a host does with a segment or a timer is `endpoint`'s.
//!
//! Nothing here reads scenarios, prints, or knows the time of day. The same plan and seed give the same run.

pub mod app;
pub mod crowd;
pub mod diarist;
mod happen;
pub mod link;
pub mod network;
pub mod outcome;
pub mod programs;
mod story;
pub mod sync;
mod tables;
pub mod trace;
pub mod world;

pub use app::{Action, AppPlan, Do, Heartbeat, OnEof};
pub use link::Link;
pub use network::{Fault, Network};
pub use outcome::{End, Outcome};
pub use trace::{Observer, Silent};
pub use world::{FlowPlan, World};
