//! The real servers, the daemon under test and the load put on them. Everything started here ends with its guard.

#![allow(dead_code, reason = "the benchmark uses a part of this, the tests another")]

pub mod browser;
pub mod cgroup;
pub mod clients;
pub mod container;
pub mod daemon;
pub mod disk;
pub mod distance;
pub mod http;
pub mod impostor;
pub mod load;
pub mod mosquitto;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod questdb;
pub mod relay;
pub mod scratch;
pub mod standin;
pub mod wire;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use daemon::{Daemon, DaemonBuilder};
pub use load::{Load, Readings};
pub use mosquitto::Mosquitto;
pub use questdb::QuestDb;
pub use scratch::scratch;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `condition` yields something.
///
/// # Panics
/// When it has not by the deadline, naming `what`.
#[track_caller]
pub fn eventually_some<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` holds; see [`eventually_some`].
#[track_caller]
pub fn eventually(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(deadline, what, || condition().then_some(()));
}

/// Waits until `measure` equals `wanted`, and shows what it was instead when it never does.
#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "it reads like assert_eq")]
pub fn eventually_eq<T: PartialEq + std::fmt::Debug>(
    deadline: Duration,
    what: &str,
    wanted: T,
    mut measure: impl FnMut() -> T,
) {
    let start = Instant::now();
    loop {
        let value = measure();
        if value == wanted {
            return;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}: {value:?} instead of {wanted:?}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// Held by tests that need the machine for themselves: throughput, and servers of their own.
pub fn heavy() -> MutexGuard<'static, ()> {
    static HEAVY: Mutex<()> = Mutex::new(());
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name no other test of this run uses, good as a table, topic or client name.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
