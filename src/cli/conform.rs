//! `flowlapse conform`: the models against recordings of real kernels.

use super::{Ended, exit};

/// Compare the models with recordings of real kernels, packet by packet.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: &Args) -> Ended {
    Ok(exit::RAN)
}
