//! How long the oldest row that waits for the database has waited. Pure: levels and times come as arguments.

use std::{collections::VecDeque, time::Duration};

use super::forecast::Levels;

/// Points kept. When there would be more they are kept twice as far apart from then on, so that the longest backlog costs precision (a
/// hundredth or so of its age) and no memory.
const MAX_POINTS: usize = 256;

/// Remembers when the log had come how far.
#[derive(Debug, Default)]
pub struct Lag {
    /// Times since boot with the bytes appended by then; both rise from front to back.
    points: VecDeque<(Duration, u64)>,
    /// How far points are apart at least, while there are any.
    step: Duration,
}

impl Lag {
    /// Takes note of the levels at a time (since boot).
    pub fn note(&mut self, at: Duration, levels: Levels) {
        let stored = self.points.iter().take_while(|(_, appended)| *appended <= levels.settled).count();
        self.points.drain(..stored);
        let Some(&(last_at, last)) = self.points.back() else {
            self.step = Duration::ZERO;
            if levels.appended > levels.settled {
                self.points.push_back((at, levels.appended));
            }
            return;
        };
        // What is not kept as a point is ascribed to the next one, which is younger: an age is never told too high.
        if levels.appended <= last || at.saturating_sub(last_at) < self.step {
            return;
        }
        self.points.push_back((at, levels.appended));
        if self.points.len() > MAX_POINTS {
            self.thin();
        }
    }

    fn thin(&mut self) {
        let span = self.points.back().map(|(at, _)| *at).zip(self.points.front().map(|(at, _)| *at));
        let Some((newest, oldest)) = span else { return };
        self.step = newest.saturating_sub(oldest) * 2 / MAX_POINTS as u32;
        let mut kept: Option<Duration> = None;
        let step = self.step;
        self.points.retain(|(at, _)| {
            let far = kept.is_none_or(|kept| at.saturating_sub(kept) >= step);
            if far {
                kept = Some(*at);
            }
            far
        });
    }

    /// The age of the oldest row that waits. It is too low by as much as lies between two notes, and never too high; a row younger than
    /// the last note has none.
    #[must_use]
    pub fn look(&self, at: Duration, now: Levels) -> Duration {
        let oldest = self.points.iter().find(|(_, appended)| *appended > now.settled);
        oldest.map_or(Duration::ZERO, |(since, _)| at.saturating_sub(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(appended: u64, settled: u64) -> Levels {
        Levels { appended, settled, kept: settled }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_that_waits_has_no_age() {
        let mut lag = Lag::default();
        assert_eq!(lag.look(s(9), levels(0, 0)), Duration::ZERO);
        for second in 0..100 {
            lag.note(s(second), levels(second * 10, second * 10));
        }
        assert_eq!(lag.look(s(100), levels(1_005, 1_000)), Duration::ZERO, "what came after the last note");
        assert!(lag.points.is_empty());
    }

    #[test]
    fn the_age_grows_with_an_outage_and_shrinks_with_the_drain() {
        let mut lag = Lag::default();
        for second in (0..=60).step_by(2) {
            lag.note(s(second), levels(second * 10, 0));
        }
        assert_eq!(lag.look(s(61), levels(610, 0)), s(59), "the first bytes are noted at 2 s");
        assert_eq!(lag.look(s(61), levels(610, 300)), s(29), "what came after 30 s waits");
        lag.note(s(62), levels(620, 620));
        assert_eq!(lag.look(s(62), levels(620, 620)), Duration::ZERO);
    }

    #[test]
    fn a_backlog_of_an_earlier_run_counts_from_the_start() {
        let mut lag = Lag::default();
        lag.note(s(1_000), levels(500, 100));
        assert_eq!(lag.look(s(1_010), levels(500, 100)), s(10));
        lag.note(s(1_012), levels(500, 100));
        assert_eq!(lag.look(s(1_020), levels(500, 100)), s(20), "no intake, and no new point");
    }

    #[test]
    fn a_long_outage_stays_within_its_memory_and_its_precision() {
        let mut lag = Lag::default();
        let week = 7 * 86_400;
        for second in (2..=week).step_by(2) {
            lag.note(s(second), levels(second * 10, 0));
        }
        assert!(lag.points.len() <= MAX_POINTS);
        for settled in [0, week / 2, week * 3 / 4] {
            let age = lag.look(s(week), levels(week * 10, settled * 10)).as_secs();
            assert!(age <= week - settled && age >= week - settled - week / 64, "{age} of {}", week - settled);
        }
    }
}
