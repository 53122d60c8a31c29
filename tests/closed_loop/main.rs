//! The closed loop: what hosts send and when, what boxes make of it, whole scenarios, and the command line.

mod cli;
mod crowd;
mod endpoint;
mod properties;
mod rig;
mod scenarios;
mod segments;
