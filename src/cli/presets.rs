//! `flowlapse presets`: boxes, dialects and presets with their timers and sources.

use super::{Ended, exit};

/// List boxes, dialects and presets with their timers and sources.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: &Args) -> Ended {
    Ok(exit::RAN)
}
