//! Requests whose fate nobody told, and which may be executed later all the same (pure).
//!
//! Such a request may put old rows over newer ones, so its rows, and all that came after, are sent once more when it can be taken for
//! dead. The grace begins when the database answers again: a server that hung executes what it had received at that time, and what is
//! left of a connection that was given up follows once the network is back.

use std::time::Duration;

use super::course::Course;
use crate::ring::Mark;

/// The grace in request timeouts. With the default of 10 s that is a minute: the kernel's last attempts to deliver the bytes of a closed
/// connection are 51 s apart (`tcp_orphan_retries`, tcp(7)).
pub const GRACE_TIMEOUTS: u32 = 6;

/// What is to be sent once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Where the first of the requests began.
    pub from: Mark,
    /// What went from there on.
    pub course: Course,
    /// When (since boot); none as long as the database has not answered since.
    due: Option<Duration>,
}

impl Late {
    /// A request that began at `from`.
    pub fn new(from: Mark, course: Course) -> Self {
        Self { from, course, due: None }
    }

    /// Both of them; the grace begins anew.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (first, second) = if self.from <= other.from { (self, other) } else { (other, self) };
        let mut course = first.course.clone();
        course.take_in(first.from.pos, &second.course);
        Self::new(first.from, course)
    }

    /// Takes note that the database answered at `now`.
    pub fn answered(&mut self, now: Duration, grace: Duration) {
        self.due.get_or_insert(now + grace);
    }

    /// Whether its time has come.
    pub fn is_due(&self, now: Duration) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// How long until then; none before the database has answered.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Pos, Seq};

    const GRACE: Duration = Duration::from_secs(60);

    fn late(pos: u64) -> Late {
        Late::new(Mark { pos: Pos(pos), seq: Seq(pos) }, Course::all(Pos(pos)))
    }

    #[test]
    fn the_grace_begins_with_the_first_answer() {
        let (mut late, start) = (late(5), Duration::from_secs(7));
        assert!(!late.is_due(start + GRACE * 100) && late.wait(start).is_none(), "the database is still silent");
        late.answered(start + GRACE, GRACE);
        late.answered(start + GRACE * 3 / 2, GRACE);
        assert!(!late.is_due(start + GRACE * 199 / 100));
        assert!(late.is_due(start + GRACE * 2));
        assert_eq!(late.wait(start + GRACE), Some(GRACE));
    }

    #[test]
    fn of_two_the_earlier_place_and_the_later_time_count() {
        let start = Duration::from_secs(7);
        let mut first = late(5);
        first.answered(start, GRACE);
        for both in [first.and(&late(9)), late(9).and(&first)] {
            assert_eq!((both.from.pos, both.course.skips(Pos(5), 1)), (Pos(5), false));
            assert!(both.wait(start).is_none());
        }
    }

    #[test]
    fn of_a_replay_of_some_tables_no_more_goes_again() {
        let mut course = Course::default();
        course.take_in(Pos(100), &Course::only([7]));
        let replayed = Late::new(Mark { pos: Pos(10), seq: Seq(1) }, course);
        let both = replayed.and(&late(200));
        assert!(both.course.skips(Pos(10), 8) && !both.course.skips(Pos(10), 7) && !both.course.skips(Pos(100), 8));
    }
}
