//! A ring of another size while the daemon runs: it stops in order, has the new file made and
//! starts again, in the same process.

use std::{
    fmt, io,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{DaemonError, watchdog};
use crate::{
    clock::SharedClock,
    control::api::{ResizeRefusal, ResizeState, ResizeStatus},
    files,
    flush::Quarantine,
    observe::{
        heartbeat::{Heartbeat, Heartbeats},
        systemd::ServiceManager,
    },
    ring::{FileError, OpenError, Ring, Trace, resize},
    settings::{self, Bytes, Settings},
    sync::lock,
};

/// Within this time there has to be a sign of progress while no other loop runs: there is one for
/// each 16 MiB that are written or read.
const SIGN_OF_LIFE: Duration = Duration::from_mins(5);
/// For so long requests that were under way at the stop may hold ring and quarantine open.
const REMAINS_LIMIT: Duration = Duration::from_mins(3);
/// How often they are looked at.
const REMAINS_PAUSE: Duration = Duration::from_millis(20);

/// What is asked for and what became of it; it outlives the parts of the daemon that stop meanwhile.
pub struct Resizing {
    asked: watch::Sender<Option<u64>>,
    status: Mutex<ResizeStatus>,
    /// Says that something goes on, while the daemon's loops do not run.
    sign: Mutex<Option<Heartbeat>>,
}

impl fmt::Debug for Resizing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resizing").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Default for Resizing {
    fn default() -> Self {
        Self { asked: watch::Sender::new(None), status: Mutex::default(), sign: Mutex::default() }
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
    pub fn ask(&self, bytes: u64, ring: &Ring, settings: &Settings) -> Result<ResizeStatus, ResizeRefusal> {
        let mut status = lock(&self.status);
        if status.state == ResizeState::Running {
            return Err(ResizeRefusal::Running);
        }
        // As it is already.
        if ring.has_size(bytes) {
            let number = status.number + 1;
            *status = ResizeStatus {
                number,
                state: ResizeState::Done,
                from_bytes: bytes,
                to_bytes: bytes,
                ..ResizeStatus::default()
            };
            return Ok(status.clone());
        }
        let refuse = |why: String| Err(ResizeRefusal::Cannot(why));
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

    /// Says that something goes on.
    pub fn goes_on(&self) {
        if let Some(sign) = &*lock(&self.sign) {
            sign.waiting("the ring, which gets another size", Some(SIGN_OF_LIFE));
        }
    }

    /// Has the file made again in another size, unless the daemon is told to stop meanwhile. Nothing
    /// else may use the ring. Whatever comes of it, there is a ring to start with.
    pub fn carry_out(
        &self,
        bytes: u64,
        ring: &mut settings::Ring,
        clock: &SharedClock,
        is_stopping: &dyn Fn() -> bool,
    ) {
        let mut told = None;
        let mut tell = |copied: resize::Copied| {
            self.goes_on();
            let line = line(copied);
            if told.as_ref() != Some(&line) {
                ServiceManager.status(&line);
                told = Some(line);
            }
            if is_stopping() { Err(io::Error::new(io::ErrorKind::Interrupted, "told to stop")) } else { Ok(()) }
        };
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
                status.gaps = done.gaps.len() as u64;
                ring.size = Bytes(to);
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

fn line(copied: resize::Copied) -> String {
    match copied {
        Some((done, whole)) if whole > 0 => {
            format!("copying the ring into one of another size: {} %", done * 100 / whole)
        }
        _ => "preparing a ring of another size".to_owned(),
    }
}

/// Keeps the service manager's watchdog fed while the daemon's loops do not run.
pub struct Between(watchdog::Watchdog);

impl Between {
    /// From now on, as long as there are signs that something goes on.
    pub fn begin(resizing: &Resizing, clock: &SharedClock) -> Result<Self, DaemonError> {
        let heartbeats = Heartbeats::new(Arc::clone(clock));
        *lock(&resizing.sign) = Some(heartbeats.register("ring"));
        resizing.goes_on();
        let watchdog = watchdog::start(heartbeats);
        Ok(Self(watchdog.map_err(|source| DaemonError::Start { what: "start the watchdog", source })?))
    }

    /// Until now.
    pub fn end(self, resizing: &Resizing) {
        self.0.stop();
        *lock(&resizing.sign) = None;
    }
}

/// What a stopped daemon may still hold open, where a request was under way.
pub struct Remains {
    ring: Trace,
    quarantine: Weak<Quarantine>,
}

impl Remains {
    /// Of a daemon that is about to stop.
    pub fn of(ring: &Ring, quarantine: &Arc<Quarantine>) -> Self {
        Self { ring: ring.trace(), quarantine: Arc::downgrade(quarantine) }
    }

    /// Waits until nothing is held open any more.
    pub fn gone(&self) -> Result<(), DaemonError> {
        let began = Instant::now();
        while !self.ring.is_gone() || self.quarantine.strong_count() > 0 {
            if began.elapsed() > REMAINS_LIMIT {
                let source = io::Error::new(io::ErrorKind::TimedOut, "a request under way did not end");
                return Err(DaemonError::Start { what: "close the ring for another size", source });
            }
            std::thread::sleep(REMAINS_PAUSE);
        }
        Ok(())
    }
}

/// Starts again; waits where another process, such as a second command, holds the ring meanwhile.
pub fn while_locked<T>(start: impl Fn() -> Result<T, DaemonError>) -> Result<T, DaemonError> {
    let began = Instant::now();
    loop {
        match start() {
            Err(DaemonError::Ring(OpenError::File(FileError::Locked(_)))) if began.elapsed() < REMAINS_LIMIT => {
                std::thread::sleep(REMAINS_PAUSE);
            }
            started => return started,
        }
    }
}
