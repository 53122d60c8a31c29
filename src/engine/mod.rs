//! Driving the boxes: a path is built from policies, the segments of each flow are led through it, and what happened is
//! kept in a fixed amount per flow.
//!
//! A flow is the unit of simulation: nothing here is shared between flows, so the result does not depend on the number of
//! threads. What it means for people is the business of `finding`.

pub mod compile;
pub mod diary;
pub mod dossier;
pub mod gather;
pub mod hop;
pub mod lives;
pub mod many;
pub mod members;
mod memory;
pub mod offered;
mod packets;
pub mod path;
pub mod pipeline;
mod probes;
pub mod profile;
mod quick;
mod ranks;
pub mod replay;
pub mod replayed;
mod rest;
pub mod shared;
pub mod silences;
pub mod timers;

pub use hop::{Device, Hop, HopState};
pub use path::{Clock, Path, PathError};
