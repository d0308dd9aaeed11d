//! Requests whose fate nobody told, and which may be executed later all the same (pure).
//!
//! Such a request may put old rows over newer ones, so its rows, and all that came after, are sent once more when it can be taken for
//! dead. The grace begins when the database answers again: a server that hung executes what it had received at that time, and what is
//! left of a connection that was given up follows once the network is back.

use std::time::Duration;

use super::course::Course;
use crate::marks::Mark;

/// The grace in request timeouts. With the default of 10 s that is a minute: the kernel's last attempts to deliver the bytes of a closed
/// connection are 51 s apart (`tcp_orphan_retries`, tcp(7)).
pub const GRACE_TIMEOUTS: u32 = 6;

/// A request that nobody answered, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Where the first of the requests began.
    pub from: Mark,
    /// Where the last of them ended, or what may have been sent does.
    pub until: Mark,
    /// What went from there on.
    pub course: Course,
}

impl Missed {
    /// Both of them.
    fn and(self, other: Self) -> Self {
        let (mut first, second) = if self.from <= other.from { (self, other) } else { (other, self) };
        first.course.take_in(first.from.pos, &second.course);
        first.until = first.until.max(second.until);
        first
    }
}

/// What is to be sent once more.
///
/// What is missed while a grace runs has one of its own after it: however often requests fail, the first ones go again in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Late {
    first: Option<Missed>,
    /// When `first` goes again (since boot); none as long as the database has not answered since.
    due: Option<Duration>,
    later: Option<Missed>,
    /// The same for `later`.
    later_due: Option<Duration>,
}

impl Late {
    /// Takes note of a request that nobody answered.
    pub fn miss(&mut self, from: Mark, until: Mark, course: Course) {
        let missed = Missed { from, until, course };
        let (slot, due) = match self.due {
            None => (&mut self.first, &mut self.due),
            Some(_) => (&mut self.later, &mut self.later_due),
        };
        *slot = Some(match slot.take() {
            Some(earlier) => earlier.and(missed),
            None => missed,
        });
        *due = None;
    }

    /// Takes note that the database answered at `now`.
    pub fn answered(&mut self, now: Duration, grace: Duration) {
        if self.first.is_some() {
            self.due.get_or_insert(now + grace);
        }
        if self.later.is_some() {
            self.later_due.get_or_insert(now + grace);
        }
    }

    /// Whether its time has come.
    pub fn is_due(&self, now: Duration) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// What is due.
    pub fn take_due(&mut self, now: Duration) -> Option<Missed> {
        if !self.is_due(now) {
            return None;
        }
        let due = self.first.take();
        (self.first, self.due) = (self.later.take(), self.later_due.take());
        due
    }

    /// How long until something is due; none before the database has answered.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(now))
    }

    /// Takes note that there is nothing of the lane's in a stretch: there was no such request after all, and no answer would ever begin its
    /// grace.
    pub fn find_bare(&mut self, from: Mark, until: Mark) {
        let is_bare = |missed: &mut Missed| from <= missed.from && missed.until <= until;
        if self.later_due.is_none() {
            self.later.take_if(is_bare);
        }
        if self.due.is_none() && self.first.take_if(is_bare).is_some() {
            (self.first, self.due) = (self.later.take(), self.later_due.take());
        }
    }

    /// Where the first of the requests began.
    pub fn from(&self) -> Option<Mark> {
        self.first.iter().chain(&self.later).map(|missed| missed.from).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::{Pos, Seq};

    const GRACE: Duration = Duration::from_secs(60);
    const START: Duration = Duration::from_secs(7);

    fn mark(pos: u64) -> Mark {
        Mark { pos: Pos(pos), seq: Seq(pos) }
    }

    fn late(pos: u64) -> Late {
        let mut late = Late::default();
        late.miss(mark(pos), mark(pos + 1), Course::all(Pos(pos)));
        late
    }

    #[test]
    fn the_grace_begins_with_the_first_answer() {
        let mut late = late(5);
        assert!(!late.is_due(START + GRACE * 100) && late.wait(START).is_none(), "the database is still silent");
        late.answered(START + GRACE, GRACE);
        late.answered(START + GRACE * 3 / 2, GRACE);
        assert!(!late.is_due(START + GRACE * 199 / 100));
        assert!(late.is_due(START + GRACE * 2));
        assert_eq!(late.wait(START + GRACE), Some(GRACE));
    }

    #[test]
    fn requests_missed_before_an_answer_go_together_and_those_after_it_have_their_own_time() {
        let mut late = late(5);
        late.miss(mark(3), mark(4), Course::all(Pos(3)));
        late.answered(START, GRACE);
        late.miss(mark(9), mark(10), Course::all(Pos(9)));
        late.miss(mark(8), mark(9), Course::all(Pos(8)));
        late.answered(START + GRACE / 2, GRACE);
        assert_eq!(late.from(), Some(mark(3)));
        assert_eq!(late.take_due(START + GRACE).map(|missed| missed.from), Some(mark(3)));
        assert_eq!((late.from(), late.take_due(START + GRACE)), (Some(mark(8)), None));
        late.miss(mark(20), mark(21), Course::all(Pos(20)));
        assert_eq!(late.take_due(START + GRACE * 3 / 2).map(|missed| missed.from), Some(mark(8)));
        assert!(late.wait(START).is_none() && late.from() == Some(mark(20)), "nothing has answered since");
    }

    #[test]
    fn where_there_was_nothing_to_send_no_answer_is_waited_for() {
        let mut late = late(5);
        late.find_bare(mark(5), mark(5));
        late.find_bare(mark(6), mark(9));
        assert_eq!(late.from(), Some(mark(5)));
        late.find_bare(mark(2), mark(6));
        assert_eq!(late.from(), None);
    }

    #[test]
    fn of_a_replay_of_some_tables_no_more_goes_again() {
        let mut course = Course::default();
        course.take_in(Pos(100), &Course::only([7]));
        let mut both = Late::default();
        both.miss(mark(200), mark(201), Course::all(Pos(200)));
        both.miss(mark(10), mark(11), course);
        both.answered(START, GRACE);
        let course = both.take_due(START + GRACE).unwrap().course;
        assert!(course.skips(Pos(10), 8) && !course.skips(Pos(10), 7) && !course.skips(Pos(100), 8));
    }
}
