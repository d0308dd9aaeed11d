//! Feeds the service manager's watchdog while every loop keeps its word.

use std::{
    io,
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::{
    observe::{
        heartbeat::{Heartbeat, Heartbeats, LoopStatus},
        systemd::ServiceManager,
    },
    sync::{lock, wait},
};

/// How often the loops are looked at where no watchdog asks for it.
const PERIOD: Duration = Duration::from_secs(10);
/// How often an async worker reports that has no loop of its own.
const REPORT_EVERY: Duration = Duration::from_secs(5);

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

/// Starts the thread. A loop may be late by the watchdog's time, so that the unit's `WatchdogSec=`
/// alone says how soon a loop that hangs leads to a restart: between that time and twice as much
/// after the loop's deadline.
pub fn start(heartbeats: Heartbeats) -> io::Result<Watchdog> {
    let stop = Arc::new((Mutex::new(false), Condvar::new()));
    let stopped = Arc::clone(&stop);
    let allowed = ServiceManager.watchdog_time();
    if let Some(allowed) = allowed {
        heartbeats.set_grace(allowed);
    }
    let period = allowed.map_or(PERIOD, |allowed| allowed / 4);
    let mut told = Vec::new();
    let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        let (flag, rung) = &*stopped;
        let mut guard = lock(flag);
        while !*guard {
            look(&heartbeats, &mut told);
            guard = wait(rung, guard, period);
        }
    })?;
    Ok(Watchdog { stop, thread })
}

/// Reports for an async worker whose tasks are none of them a loop: that it still gets round to
/// each.
pub async fn report(heartbeat: Heartbeat, mut stop: watch::Receiver<bool>) {
    loop {
        heartbeat.waiting("its turn among the tasks of the control interface", Some(REPORT_EVERY));
        // An error says that the sender is gone, which is a stop too.
        if timeout(REPORT_EVERY, stop.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

/// Feeds the watchdog while nobody is late. Each loop that is late is told once: those that wait for it
/// are late as well. `told` has their names.
fn look(heartbeats: &Heartbeats, told: &mut Vec<String>) {
    let late = heartbeats.late();
    if late.is_empty() {
        told.clear();
        ServiceManager.feed_watchdog();
    }
    for LoopStatus { name, waits_on, late_ms, .. } in late {
        if !told.contains(&name) {
            tracing::error!(
                thread = name,
                waits_on,
                late_ms,
                "a loop is past its deadline; the watchdog is no longer fed"
            );
            told.push(name);
        }
    }
}
