//! What each loop waits for and by when it reports again: the evidence the systemd watchdog is fed on.
//!
//! A loop states, before each wait, what it waits on and for how long at most. The watchdog is fed only while no stated
//! deadline has passed, so a loop that hangs is found whatever it hangs in, and a database or broker that is away (a wait
//! without a deadline, or one renewed by each retry) is no reason to be killed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Serialize;

use crate::{clock::SharedClock, sync::lock};

/// Most loops that can be registered at once; the daemon has a fixed handful and a bounded number of lanes.
pub const MAX_LOOPS: usize = 256;

/// Every registered loop. Cheap to clone.
#[derive(Clone)]
pub struct Heartbeats {
    clock: SharedClock,
    loops: Arc<Mutex<Vec<Arc<Loop>>>>,
}

/// One loop's own handle. Dropping it takes the loop off the list, unless its thread is panicking: then the loop counts as
/// overdue from that moment on.
pub struct Heartbeat {
    clock: SharedClock,
    state: Arc<Loop>,
    loops: Arc<Mutex<Vec<Arc<Loop>>>>,
}

struct Loop {
    name: String,
    waiting: Mutex<Waiting>,
}

#[derive(Clone, Copy)]
struct Waiting {
    what: &'static str,
    since: Duration,
    /// Time since boot at which the loop is overdue.
    deadline: Option<Duration>,
}

/// What a loop is doing, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoopStatus {
    /// The loop's name.
    pub name: String,
    /// What it said it waits on.
    pub waits_on: &'static str,
    /// How long it has been waiting, in milliseconds.
    pub waiting_ms: u64,
    /// How far past its stated deadline it is, in milliseconds; none when it is not.
    pub late_ms: Option<u64>,
}

impl Heartbeats {
    /// An empty list, measuring with `clock`'s monotonic time.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, loops: Arc::default() }
    }

    /// Adds a loop; it may wait for ever until its first [`Heartbeat::waiting`].
    ///
    /// # Panics
    /// When more than [`MAX_LOOPS`] are registered: that is a leak in this program.
    #[must_use]
    pub fn register(&self, name: impl Into<String>) -> Heartbeat {
        let waiting = Waiting { what: "starting", since: self.clock.since_boot(), deadline: None };
        let state = Arc::new(Loop { name: name.into(), waiting: Mutex::new(waiting) });
        let mut loops = lock(&self.loops);
        assert!(loops.len() < MAX_LOOPS, "more than {MAX_LOOPS} loops registered");
        loops.push(Arc::clone(&state));
        Heartbeat { clock: Arc::clone(&self.clock), state, loops: Arc::clone(&self.loops) }
    }

    /// The state of each loop, in the order of registration.
    #[must_use]
    pub fn status(&self) -> Vec<LoopStatus> {
        let now = self.clock.since_boot();
        lock(&self.loops).iter().map(|state| state.status(now)).collect()
    }

    /// The loop that is furthest past its deadline; none when every loop keeps its word and the watchdog may be fed.
    #[must_use]
    pub fn overdue(&self) -> Option<LoopStatus> {
        self.status().into_iter().filter(|status| status.late_ms.is_some()).max_by_key(|status| status.late_ms)
    }
}

impl Heartbeat {
    /// States what the loop is about to wait on (or work at), and that it reports again within `until`; with none it may
    /// wait for ever.
    pub fn waiting(&self, what: &'static str, until: Option<Duration>) {
        let now = self.clock.since_boot();
        let deadline = until.map(|until| now.saturating_add(until));
        *lock(&self.state.waiting) = Waiting { what, since: now, deadline };
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.waiting("panicked", Some(Duration::ZERO));
        } else {
            lock(&self.loops).retain(|state| !Arc::ptr_eq(state, &self.state));
        }
    }
}

impl Loop {
    fn status(&self, now: Duration) -> LoopStatus {
        let waiting = *lock(&self.waiting);
        LoopStatus {
            name: self.name.clone(),
            waits_on: waiting.what,
            waiting_ms: now.saturating_sub(waiting.since).as_millis() as u64,
            late_ms: waiting
                .deadline
                .and_then(|deadline| now.checked_sub(deadline))
                .map(|late| late.as_millis() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SimulatedClock, point::Timestamp};

    fn simulated() -> (Arc<SimulatedClock>, Heartbeats) {
        let clock = Arc::new(SimulatedClock::at(Timestamp(0)));
        let shared: SharedClock = Arc::<SimulatedClock>::clone(&clock);
        (clock, Heartbeats::new(shared))
    }

    #[test]
    fn a_wait_without_a_deadline_is_never_overdue() {
        let (clock, beats) = simulated();
        let one = beats.register("mqtt");
        one.waiting("the broker", None);
        clock.advance(Duration::from_hours(24 * 365));
        assert_eq!(beats.overdue(), None);
        assert_eq!(beats.status()[0].waiting_ms, 365 * 24 * 3_600_000);
    }

    #[test]
    fn a_missed_deadline_shows_until_the_loop_reports_again() {
        let (clock, beats) = simulated();
        let one = beats.register("committer");
        one.waiting("sync", Some(Duration::from_secs(30)));
        clock.advance(Duration::from_millis(29_999));
        assert_eq!(beats.overdue(), None);
        clock.advance(Duration::from_millis(1_501));
        let late = beats.overdue().expect("is late");
        assert_eq!((late.name.as_str(), late.waits_on, late.late_ms), ("committer", "sync", Some(1_500)));
        one.waiting("work", Some(Duration::from_secs(1)));
        assert_eq!(beats.overdue(), None);
    }

    #[test]
    fn the_latest_of_several_is_named() {
        let (clock, beats) = simulated();
        let (a, b) = (beats.register("a"), beats.register("b"));
        a.waiting("x", Some(Duration::from_secs(5)));
        b.waiting("y", Some(Duration::from_secs(2)));
        clock.advance(Duration::from_secs(6));
        assert_eq!(beats.overdue().expect("is late").name, "b");
    }

    #[test]
    fn stepping_the_wall_clock_makes_nobody_late() {
        let (clock, beats) = simulated();
        let one = beats.register("lane 0");
        one.waiting("QuestDB", Some(Duration::from_secs(5)));
        clock.step_wall(Timestamp(i64::MAX));
        assert_eq!(beats.overdue(), None);
    }

    #[test]
    fn a_loop_that_ended_is_forgotten_and_one_that_panicked_is_not() {
        let (_clock, beats) = simulated();
        drop(beats.register("ended"));
        assert!(beats.status().is_empty());
        let one = beats.register("broken");
        std::thread::spawn(move || {
            let _held = one;
            panic!("on purpose");
        })
        .join()
        .expect_err("panics");
        assert_eq!(beats.overdue().expect("is late").name, "broken");
    }

    #[test]
    fn an_absurd_deadline_saturates() {
        let (clock, beats) = simulated();
        clock.advance(Duration::from_secs(1));
        let one = beats.register("a");
        one.waiting("x", Some(Duration::MAX));
        assert_eq!(beats.overdue(), None);
    }
}
