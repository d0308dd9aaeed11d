//! Feeds the service manager's watchdog while every loop keeps its word.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    observe::{heartbeat::Heartbeats, systemd::ServiceManager},
    sync::{lock, wait},
};

/// How often the loops are looked at where no watchdog asks for it.
const PERIOD: Duration = Duration::from_secs(10);

/// The thread that feeds the watchdog.
pub struct Watchdog {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    /// Ends the thread.
    pub fn stop(self) {
        *lock(&self.stop.0) = true;
        self.stop.1.notify_all();
        let _ = self.thread.join();
    }
}

/// Starts the thread.
pub fn start(heartbeats: Heartbeats) -> io::Result<Watchdog> {
    let stop = Arc::new((Mutex::new(false), Condvar::new()));
    let stopped = Arc::clone(&stop);
    let period = ServiceManager.watchdog_interval().map_or(PERIOD, |interval| interval / 2);
    let complained = AtomicBool::new(false);
    let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        let (flag, rung) = &*stopped;
        let mut guard = lock(flag);
        while !*guard {
            look(&heartbeats, &complained);
            guard = wait(rung, guard, period);
        }
    })?;
    Ok(Watchdog { stop, thread })
}

fn look(heartbeats: &Heartbeats, complained: &AtomicBool) {
    match heartbeats.overdue() {
        None => {
            complained.store(false, Ordering::Relaxed);
            ServiceManager.feed_watchdog();
        }
        Some(late) => {
            if !complained.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    thread = late.name,
                    waits_on = late.waits_on,
                    late_ms = late.late_ms,
                    "a loop is past its deadline; the watchdog is no longer fed"
                );
            }
        }
    }
}
