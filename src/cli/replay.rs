//! `flowlapse replay`: a capture through a path of boxes.
use super::{Ended, exit};
/// Replay a capture through a path of boxes.
#[derive(clap::Args, Debug)]
pub struct Args {}
/// Runs the command.
pub fn run(_args: &Args) -> Ended {
    Ok(exit::RAN)
}
