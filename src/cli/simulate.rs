//! `forebay simulate`. Being built.

use clap::Args;

use super::{Exit, Failure, Global};

/// Arguments of `simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {}

pub fn run(_args: &SimulateArgs, _global: &Global) -> Result<(), Failure> {
    Err(Failure::new(Exit::Failed, "this build has no simulator yet"))
}
