//! `forebay check`. Being built.

use clap::Args;

use super::{Exit, Failure, Global};

/// Arguments of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {}

pub fn run(_args: &CheckArgs, _global: &Global) -> Result<(), Failure> {
    Err(Failure::new(Exit::Failed, "this build has no check yet"))
}
