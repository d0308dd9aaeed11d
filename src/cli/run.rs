//! `forebay run`.

use clap::Args;

use super::{Exit, Failure, Global};
use crate::{
    config,
    daemon::{self, DaemonError},
    flush,
    ring::OpenError,
};

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {}

pub fn run(_args: &RunArgs, global: &Global) -> Result<(), Failure> {
    let loaded = config::load(global.config_file()).map_err(|why| Failure::new(Exit::Usage, why))?;
    daemon::run(&loaded, global.config.clone()).map_err(|why| Failure::new(exit_of(&why), why))
}

fn exit_of(error: &DaemonError) -> Exit {
    match error {
        DaemonError::Ring(OpenError::Size(_))
        | DaemonError::Source(_)
        | DaemonError::Token(_)
        | DaemonError::Log(_)
        | DaemonError::Flush(flush::StartError::Connection(_)) => Exit::Usage,
        DaemonError::Ring(_) | DaemonError::Poisoned(_) | DaemonError::Flush(flush::StartError::Quarantine { .. }) => {
            Exit::Ring
        }
        DaemonError::Flush(_) | DaemonError::Socket(_) | DaemonError::Start { .. } => Exit::Failed,
    }
}
