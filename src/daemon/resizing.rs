//! A ring of another size while the daemon runs: it stops in order, has the file made anew and
//! starts again, in the same process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::watch;

use super::{DaemonError, watchdog};
use crate::{
    clock::SharedClock,
    control::api::{ResizeError, ResizeState, ResizeStatus},
    files,
    observe::{
        heartbeat::{Heartbeat, Heartbeats},
        systemd::ServiceManager,
    },
    ring::{Ring, resize},
    settings::{self, Bytes, Settings},
    sync::lock,
};

/// Within this time there has to be a sign of progress while no other loop runs: a sync of all of a
/// large ring to a slow card takes minutes.
const SIGN_OF_LIFE: Duration = Duration::from_mins(15);

/// What is asked for and what became of it; it outlives the parts of the daemon that stop meanwhile.
#[derive(Debug)]
pub struct Resizing {
    asked: watch::Sender<Option<u64>>,
    status: Mutex<ResizeStatus>,
}

impl Default for Resizing {
    fn default() -> Self {
        Self { asked: watch::Sender::new(None), status: Mutex::default() }
    }
}

impl Resizing {
    /// Waits until a size is asked for. Cancel-safe.
    pub async fn asked(mut asked: watch::Receiver<Option<u64>>) -> u64 {
        match asked.wait_for(Option::is_some).await.map(|bytes| *bytes) {
            Ok(Some(bytes)) => bytes,
            _ => std::future::pending().await,
        }
    }

    /// What [`Self::asked`] waits on.
    pub fn watch(&self) -> watch::Receiver<Option<u64>> {
        self.asked.subscribe()
    }

    /// Asks for a size, where nothing speaks against it now; the last word has the change itself, when
    /// everything has stopped.
    pub fn ask(&self, bytes: u64, ring: &Ring, settings: &Settings) -> Result<ResizeStatus, ResizeError> {
        let mut status = lock(&self.status);
        if status.state == ResizeState::Running {
            return Err(ResizeError::Running);
        }
        let refuse = |why: String| Err(ResizeError::Refused(why));
        if let Err(why) = crate::config::validate::storage::ring_size(Bytes(bytes), settings) {
            return refuse(why);
        }
        if let Err(why) = ring.can_have_size(bytes) {
            return refuse(why.to_string());
        }
        if let Some(disk) = files::place::disk(&settings.ring.path).filter(|disk| disk.free_bytes < bytes) {
            let (free, needed) = (Bytes(disk.free_bytes), Bytes(bytes));
            return refuse(format!(
                "{free} are free beside the ring, and {needed} are needed: the new file is made before the old one goes"
            ));
        }
        *status = ResizeStatus { number: status.number + 1, state: ResizeState::Running, ..ResizeStatus::default() };
        self.asked.send_replace(Some(bytes));
        Ok(status.clone())
    }

    /// What became of the last change.
    pub fn status(&self) -> ResizeStatus {
        lock(&self.status).clone()
    }

    /// Makes the file anew. Nothing else may run on the ring. Whatever comes of it, there is a ring to
    /// start with.
    pub fn carry_out(&self, bytes: u64, ring: &mut settings::Ring, clock: &SharedClock, sign: &Heartbeat) {
        let mut tell = |copied: Option<resize::Copied>| {
            sign.waiting("the ring being copied", Some(SIGN_OF_LIFE));
            ServiceManager.status(&line(copied));
        };
        tell(None);
        let done = resize::resize(&ring.path, bytes, clock, &mut tell);
        let path = ring.path.display();
        let mut status = lock(&self.status);
        status.state = ResizeState::Done;
        match done {
            Ok(done) => {
                let (from, to) = (done.from_bytes, done.to_bytes);
                tracing::info!(%path, from, to, records = done.records, given_up = done.given_up, pending_rows = done.pending_rows, "the ring has another size");
                (status.from_bytes, status.to_bytes) = (from, to);
                (status.records, status.given_up, status.pending_rows) =
                    (done.records, done.given_up, done.pending_rows);
            }
            Err(error) => {
                tracing::error!(%path, %error, "the ring keeps its size");
                status.state = ResizeState::Failed;
                status.error = Some(error.to_string());
            }
        }
        drop(status);
        self.asked.send_replace(None);
    }
}

fn line(copied: Option<resize::Copied>) -> String {
    match copied {
        Some((done, whole)) if whole > 0 => {
            format!("copying the ring into one of another size: {} %", done * 100 / whole)
        }
        _ => "preparing a ring of another size".to_owned(),
    }
}

/// Keeps the service manager's watchdog fed while the daemon's loops do not run.
pub struct Between {
    watchdog: watchdog::Watchdog,
    /// Says that something goes on.
    pub sign: Heartbeat,
}

impl Between {
    /// From now on.
    pub fn begin(clock: &SharedClock) -> Result<Self, DaemonError> {
        let heartbeats = Heartbeats::new(Arc::clone(clock));
        let sign = heartbeats.register("ring");
        sign.waiting("the ring being copied", Some(SIGN_OF_LIFE));
        let watchdog = watchdog::start(heartbeats);
        let watchdog = watchdog.map_err(|source| DaemonError::Start { what: "start the watchdog", source })?;
        Ok(Self { watchdog, sign })
    }

    /// Until now.
    pub fn end(self) {
        self.watchdog.stop();
    }
}
