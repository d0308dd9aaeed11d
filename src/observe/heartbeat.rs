//! What each loop waits for and by when it reports again: the evidence the systemd watchdog is fed on.
//!
//! A loop states, before each wait, what it waits on and how long that takes at most when all goes
//! as it should. It is late when it has not reported again by then and the grace after it, which is
//! the service's `WatchdogSec=`. The watchdog is fed only while nobody is late. So a loop that
//! hangs is found whatever it hangs in, and a database or broker that is away is no reason to be
//! killed: each try has an end, and the loop reports before the next.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Serialize;

use crate::{clock::SharedClock, sync::lock};

/// Most loops that can be registered at once; the daemon has a fixed handful and a bounded number of lanes.
pub const MAX_LOOPS: usize = 256;

/// How long after its deadline a loop is late where no watchdog says otherwise: the shipped unit's
/// `WatchdogSec=`.
const GRACE: Duration = Duration::from_secs(30);
/// A loop that states no time wakes up at least so often all the same: nothing that can be
/// configured lets one sleep longer.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// Every registered loop. Cheap to clone.
#[derive(Clone)]
pub struct Heartbeats {
    clock: SharedClock,
    book: Arc<Mutex<Book>>,
}

struct Book {
    grace: Duration,
    loops: Vec<Arc<Loop>>,
}

/// One loop's own handle. Dropping it takes the loop off the list, unless its thread is panicking: then the loop counts as
/// overdue from that moment on.
pub struct Heartbeat {
    clock: SharedClock,
    state: Arc<Loop>,
    book: Arc<Mutex<Book>>,
}

struct Loop {
    name: String,
    waiting: Mutex<Waiting>,
}

#[derive(Clone, Copy)]
struct Waiting {
    what: &'static str,
    since: Duration,
    /// Time since boot by which the loop reports again if all goes as it should; none before its
    /// first report.
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
    /// How far past its deadline and the grace it is, in milliseconds; none when it is not.
    pub late_ms: Option<u64>,
}

impl Heartbeats {
    /// An empty list, measuring with `clock`'s monotonic time.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, book: Arc::new(Mutex::new(Book { grace: GRACE, loops: Vec::new() })) }
    }

    /// Sets how long after its deadline a loop is late.
    pub fn set_grace(&self, grace: Duration) {
        lock(&self.book).grace = grace;
    }

    /// Adds a loop; it may take for ever until its first [`Heartbeat::waiting`].
    ///
    /// # Panics
    /// When more than [`MAX_LOOPS`] are registered: that is a leak in this program.
    #[must_use]
    pub fn register(&self, name: impl Into<String>) -> Heartbeat {
        let waiting = Waiting { what: "starting", since: self.clock.since_boot(), deadline: None };
        let state = Arc::new(Loop { name: name.into(), waiting: Mutex::new(waiting) });
        let mut book = lock(&self.book);
        assert!(book.loops.len() < MAX_LOOPS, "more than {MAX_LOOPS} loops registered");
        book.loops.push(Arc::clone(&state));
        Heartbeat { clock: Arc::clone(&self.clock), state, book: Arc::clone(&self.book) }
    }

    /// The state of each loop, in the order of registration.
    #[must_use]
    pub fn status(&self) -> Vec<LoopStatus> {
        let now = self.clock.since_boot();
        let book = lock(&self.book);
        book.loops.iter().map(|state| state.status(now, book.grace)).collect()
    }

    /// The loops that are late; none when every loop keeps its word and the watchdog may be fed.
    #[must_use]
    pub fn late(&self) -> Vec<LoopStatus> {
        self.status().into_iter().filter(|status| status.late_ms.is_some()).collect()
    }

    /// The loop that is latest; none when nobody is late.
    #[must_use]
    pub fn overdue(&self) -> Option<LoopStatus> {
        self.late().into_iter().max_by_key(|status| status.late_ms)
    }
}

impl Heartbeat {
    /// States what the loop is about to wait on (or work at), and that it reports again within
    /// `until`, the grace apart; with none, that nothing is due, and it wakes up now and then all
    /// the same ([`LONGEST_SLEEP`]).
    pub fn waiting(&self, what: &'static str, until: Option<Duration>) {
        let now = self.clock.since_boot();
        let deadline = now.saturating_add(until.unwrap_or(LONGEST_SLEEP));
        *lock(&self.state.waiting) = Waiting { what, since: now, deadline: Some(deadline) };
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *lock(&self.state.waiting) =
                Waiting { what: "panicked", since: self.clock.since_boot(), deadline: Some(Duration::ZERO) };
        } else {
            lock(&self.book).loops.retain(|state| !Arc::ptr_eq(state, &self.state));
        }
    }
}

impl Loop {
    fn status(&self, now: Duration, grace: Duration) -> LoopStatus {
        let waiting = *lock(&self.waiting);
        LoopStatus {
            name: self.name.clone(),
            waits_on: waiting.what,
            waiting_ms: now.saturating_sub(waiting.since).as_millis() as u64,
            late_ms: waiting
                .deadline
                .and_then(|deadline| now.checked_sub(deadline.saturating_add(grace)))
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
    fn a_start_may_take_as_long_as_it_takes() {
        let (clock, beats) = simulated();
        let _one = beats.register("committer");
        clock.advance(Duration::from_hours(24 * 365));
        assert_eq!(beats.overdue(), None);
        assert_eq!(beats.status()[0].waiting_ms, 365 * 24 * 3_600_000);
    }

    #[test]
    fn a_wait_without_a_time_is_late_once_it_is_longer_than_any_sleep() {
        let (clock, beats) = simulated();
        let one = beats.register("lane-0");
        one.waiting("new rows", None);
        clock.advance(LONGEST_SLEEP);
        assert_eq!(beats.overdue(), None);
        clock.advance(GRACE);
        assert_eq!(beats.overdue().expect("is late").waits_on, "new rows");
    }

    #[test]
    fn the_grace_is_what_the_watchdog_allows() {
        let (clock, beats) = simulated();
        let one = beats.register("mqtt session");
        one.waiting("the broker", Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(5));
        assert_eq!(beats.overdue(), None);
        beats.set_grace(Duration::from_secs(3));
        assert_eq!(beats.overdue().expect("is late").late_ms, Some(1_000));
    }

    #[test]
    fn a_missed_deadline_shows_until_the_loop_reports_again() {
        let (clock, beats) = simulated();
        let one = beats.register("committer");
        one.waiting("sync", Some(Duration::from_secs(30)));
        clock.advance(GRACE + Duration::from_millis(29_999));
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
        clock.advance(GRACE + Duration::from_secs(6));
        assert_eq!(beats.overdue().expect("is late").name, "b");
        assert_eq!(beats.late().len(), 2);
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
        let (clock, beats) = simulated();
        clock.advance(Duration::from_hours(1));
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
