//! Who waits for which answer of the database: one question for all who ask the same, questions about a table together, and answers
//! that there is nothing remembered for a moment. Pure: the time (since any fixed start) and randomness are arguments.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::Duration,
};

use crate::{
    flush::breaker::{Breaker, Gate, Standing},
    latest::Filter,
    names,
    point::Text,
};

/// How long "there is nothing" is remembered.
pub const NOTHING_FOR: Duration = Duration::from_secs(1);
/// Most such answers remembered.
const MAX_NOTHING: usize = 1_024;
/// Most different questions that wait or are asked.
pub const MAX_QUESTIONS: usize = 1_024;
/// Most questions in one statement.
pub const MAX_TOGETHER: usize = 64;
/// Most questions asked at a time, each in its own thread.
pub const MAX_WORKERS: usize = 2;

/// What is said at once to one who asks.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// There was nothing a moment ago.
    Nothing,
    /// The database is not asked for now.
    Away,
    /// Too many questions are open.
    Busy,
    /// An answer will come. True: a worker has to be started for it.
    Wait(bool),
    /// The answer to the same question, asked already, will be this one's.
    Join,
}

/// Questions about one table, to be asked together.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// The table.
    pub table: Text,
    /// What is asked.
    pub filters: Vec<Filter>,
}

/// The open questions; `W` is one who waits.
#[derive(Debug)]
pub struct Desk<W> {
    open: HashMap<Filter, Vec<W>>,
    /// Those nobody works on yet, in the order in which they came.
    waiting: VecDeque<Filter>,
    nothing: VecDeque<(Filter, Duration)>,
    breaker: Breaker,
    workers: usize,
}

impl<W> Default for Desk<W> {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            waiting: VecDeque::new(),
            nothing: VecDeque::new(),
            breaker: Breaker::default(),
            workers: 0,
        }
    }
}

impl<W> Desk<W> {
    /// Takes a question, which names a table. `waiter` is kept only when the answer is to wait.
    pub fn ask(&mut self, filter: &Filter, waiter: W, now: Duration) -> Said {
        while self.nothing.front().is_some_and(|(_, until)| *until <= now) {
            self.nothing.pop_front();
        }
        if self.nothing.iter().any(|(known, _)| known == filter) {
            return Said::Nothing;
        }
        if matches!(self.breaker.gate(now), Gate::Wait(_)) {
            return Said::Away;
        }
        let is_full = self.open.len() >= MAX_QUESTIONS;
        match self.open.entry(filter.clone()) {
            Entry::Occupied(mut waiters) => {
                waiters.get_mut().push(waiter);
                Said::Join
            }
            Entry::Vacant(_) if is_full => Said::Busy,
            Entry::Vacant(place) => {
                place.insert(vec![waiter]);
                self.waiting.push_back(filter.clone());
                let start = self.workers < MAX_WORKERS;
                self.workers += usize::from(start);
                Said::Wait(start)
            }
        }
    }

    /// The next questions for a worker; none ends it.
    pub fn take(&mut self) -> Option<Job> {
        let Some(table) = self.waiting.front().and_then(Filter::table).map(Text::from) else {
            self.workers -= 1;
            return None;
        };
        let mut filters = Vec::new();
        self.waiting.retain(|filter| {
            let taken = filters.len() < MAX_TOGETHER && filter.table().is_some_and(|of| names::same(of, &table));
            if taken {
                filters.push(filter.clone());
            }
            !taken
        });
        Some(Job { table, filters })
    }

    /// Takes the database's answer to a job: for each question whether something was found. Returns who waited for it.
    pub fn answered(&mut self, job: Job, found: impl Fn(&Filter) -> bool, now: Duration) -> Vec<(W, bool)> {
        self.breaker.succeeded();
        let mut told = Vec::new();
        for filter in job.filters {
            let found = found(&filter);
            told.extend(self.open.remove(&filter).into_iter().flatten().map(|waiter| (waiter, found)));
            if !found {
                self.nothing.push_back((filter, now + NOTHING_FOR));
            }
        }
        while self.nothing.len() > MAX_NOTHING {
            self.nothing.pop_front();
        }
        told
    }

    /// Takes note that the database did not answer; returns all who wait, since nobody will be asked for a while.
    pub fn failed(&mut self, now: Duration, random: f64) -> Vec<W> {
        self.breaker.failed(now, random);
        self.waiting.clear();
        self.open.drain().flat_map(|(_, waiters)| waiters).collect()
    }

    /// Where the breaker stands.
    pub fn breaker(&self) -> Standing {
        self.breaker.standing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(10);

    fn filter(table: &str, device: &str) -> Filter {
        Filter::new(Some(table), [("device", device)]).unwrap()
    }

    #[test]
    fn many_who_ask_the_same_are_one_question_and_others_about_the_table_go_with_it() {
        let mut desk = Desk::default();
        let said: Vec<_> =
            ["a", "a", "b", "a"].iter().enumerate().map(|(n, d)| desk.ask(&filter("t", d), n, NOW)).collect();
        assert_eq!(said, [Said::Wait(true), Said::Join, Said::Wait(true), Said::Join]);
        assert_eq!(desk.ask(&filter("u", "a"), 9, NOW), Said::Wait(false), "both workers are on their way");
        let job = desk.take().unwrap();
        assert_eq!(job, Job { table: "t".into(), filters: vec![filter("t", "a"), filter("t", "b")] });
        assert_eq!(desk.ask(&filter("t", "a"), 4, NOW), Said::Join, "the question is on its way");
        let mut told = desk.answered(job, |asked| *asked == filter("t", "a"), NOW);
        told.sort_unstable();
        assert_eq!(told, [(0, true), (1, true), (2, false), (3, true), (4, true)]);
        assert_eq!(desk.take().unwrap().table, "u");
        assert_eq!((desk.take(), desk.take()), (None, None));
        assert_eq!(desk.ask(&filter("v", "a"), 5, NOW), Said::Wait(true), "both workers have ended");
    }

    #[test]
    fn nothing_is_remembered_for_a_moment() {
        let mut desk = Desk::default();
        desk.ask(&filter("t", "a"), 0, NOW);
        let job = desk.take().unwrap();
        assert_eq!(desk.answered(job, |_| false, NOW), [(0, false)]);
        let almost = NOW + NOTHING_FOR.mul_f64(0.999);
        assert_eq!(desk.ask(&filter("t", "a"), 1, almost), Said::Nothing);
        assert_eq!(desk.ask(&filter("t", "b"), 1, almost), Said::Wait(true));
        assert_eq!(desk.ask(&filter("t", "a"), 1, NOW + NOTHING_FOR), Said::Wait(false));
    }

    #[test]
    fn after_a_failure_all_are_told_and_nobody_is_asked_for_a_while() {
        let mut desk = Desk::default();
        desk.ask(&filter("t", "a"), 0, NOW);
        let job = desk.take().unwrap();
        desk.ask(&filter("u", "a"), 1, NOW);
        let mut told = desk.failed(NOW, 1.0);
        told.sort_unstable();
        assert_eq!((told, job.filters.len()), (vec![0, 1], 1));
        assert_eq!(desk.ask(&filter("t", "a"), 2, NOW), Said::Away);
        assert_eq!(desk.take(), None);
        assert_eq!(desk.ask(&filter("t", "a"), 2, NOW + Duration::from_mins(5)), Said::Wait(true));
    }

    #[test]
    fn questions_are_limited() {
        let mut desk = Desk::default();
        for n in 0..MAX_QUESTIONS {
            assert!(matches!(desk.ask(&filter("t", &n.to_string()), n, NOW), Said::Wait(_)));
        }
        assert_eq!(desk.ask(&filter("t", "more"), 0, NOW), Said::Busy);
        assert_eq!(desk.take().unwrap().filters.len(), MAX_TOGETHER);
    }
}
