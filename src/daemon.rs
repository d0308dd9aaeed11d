//! Start-up order, wiring, signals, shutdown, watchdog. Being built.

use crate::config::Loaded;

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration can't be run.
    #[error("{0}")]
    Configuration(String),
    /// The ring can't be used.
    #[error("{0}")]
    Ring(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Runs until told to stop.
pub fn run(_loaded: &Loaded) -> Result<(), DaemonError> {
    Err(DaemonError::Other("this build has no daemon yet".into()))
}
