//! `forebay run`.

use std::{
    io::Read,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Exit, Failure, Global};
use crate::{
    config,
    daemon::{self, DaemonError},
    flush,
    observe::systemd::ServiceManager,
    ring::OpenError,
};

/// Under a service manager, which starts the daemon again at once, at least so long from a start to
/// the end in an error. What is wrong with a file or a disk seldom passes within a second, and each
/// try writes to the journal.
const BETWEEN_STARTS: Duration = Duration::from_secs(10);
/// How much longer than that the service manager is asked to have patience.
const MARGIN: Duration = Duration::from_secs(5);

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {}

pub fn run(_args: &RunArgs, global: &Global) -> Result<(), Failure> {
    let began = Instant::now();
    let loaded = config::load(global.config_file()).map_err(|why| Failure::new(Exit::Usage, why))?;
    daemon::run(&loaded, global.config.as_deref()).map_err(|why| {
        let exit = exit_of(&why);
        let rest = BETWEEN_STARTS.saturating_sub(began.elapsed());
        if exit == Exit::Usage || rest.is_zero() || !ServiceManager.is_there() {
            return Failure::new(exit, why);
        }
        tracing::error!(error = %why, "ending with exit code {} in {} s, to be started again then", exit as u8, rest.as_secs() + 1);
        ServiceManager.extend_timeout(rest + MARGIN);
        ServiceManager.status(&format!("ends, and is started again in {} s: {why}", rest.as_secs() + 1));
        // Where the signals cannot be had, the service manager's patience ends the rest.
        let _ = rest_unless_stopped(rest);
        Failure::silent(exit)
    })
}

/// Waits, at most until SIGTERM or SIGINT.
fn rest_unless_stopped(rest: Duration) -> std::io::Result<()> {
    let (mut told, teller) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, teller.try_clone()?)?;
    }
    told.set_read_timeout(Some(rest))?;
    told.read(&mut [0]).map(drop)
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
