//! How the freshness budget is spent: what rows take beyond their wait for company, and how long
//! that wait may be so that the budget holds. Pure.
//!
//! A row that waits `linger` at most, in a batch that takes `beyond` from then until it is stored,
//! is late when both together exceed the budget. Of a batch's rows, which came evenly while it was
//! collected, the share `(linger + beyond - freshness) / linger` is late. The longest linger is
//! chosen with which, by the last [`MAX_BATCHES`] batches, at most [`LATE_SHARE`] of the rows would
//! have been late. Stalls, jitter, distance, the ring's commits and the encoding are all in what
//! batches took, so nothing is assumed of them.

use std::{collections::VecDeque, time::Duration};

/// Batches remembered.
pub const MAX_BATCHES: usize = 256;
/// Share of rows that may be late: the 99th percentile, with a little room.
const LATE_SHARE: f64 = 0.008;
/// Where more than this is late however soon it goes, the budget cannot be held, and is not what to
/// go by.
const HOPELESS: f64 = 0.5;
/// What is taken to come beyond the wait before anything is measured, beside twice the flush: the
/// commit.
const SUPPOSED_S: f64 = 0.02;
/// Rows come in groups of a commit, and threads wake up a moment late: so much is kept back.
const GRAIN_S: f64 = 1e-3;
/// Of the first few batches one that was late says little of how many are: so many more are taken
/// to go as the quickest did.
const UNSEEN: usize = 20;
/// Steps of the search: the linger is found to a thousandth of the budget.
const STEPS: u32 = 10;

/// What batches took lately.
#[derive(Debug, Clone, Default)]
pub struct Budget {
    /// Seconds beyond the wait, and rows; the oldest first.
    batches: VecDeque<(f64, f64)>,
}

impl Budget {
    /// Takes in that a batch's oldest row was stored so long after its wait for company.
    pub fn observe(&mut self, beyond: Duration, rows: usize) {
        if self.batches.len() == MAX_BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back((beyond.as_secs_f64(), rows.max(1) as f64));
    }

    /// How long rows may wait for company where a flush is expected to take so long; none where the
    /// budget cannot be held.
    pub fn linger(&self, freshness: Duration, expected_s: f64) -> Option<Duration> {
        let budget_s = (freshness.as_secs_f64() - GRAIN_S).max(0.0);
        if self.batches.is_empty() {
            let left_s = budget_s - SUPPOSED_S - 2.0 * expected_s;
            return (left_s > 0.0).then(|| Duration::from_secs_f64(left_s));
        }
        let at_best = self.late(0.0, budget_s);
        if at_best > HOPELESS {
            return None;
        }
        // What is late in any case is no reason to hurry with the rest.
        let allowed = if at_best > LATE_SHARE { at_best + LATE_SHARE } else { LATE_SHARE };
        let (mut low_s, mut high_s) = (0.0, budget_s);
        for _ in 0..STEPS {
            let middle_s = f64::midpoint(low_s, high_s);
            if self.late(middle_s, budget_s) <= allowed {
                low_s = middle_s;
            } else {
                high_s = middle_s;
            }
        }
        Some(Duration::from_secs_f64(low_s))
    }

    /// Share of the rows that would have been late with that linger.
    fn late(&self, linger_s: f64, budget_s: f64) -> f64 {
        let share = |beyond_s: f64| {
            let over_s = linger_s + beyond_s - budget_s;
            if over_s <= 0.0 { 0.0 } else { (over_s / linger_s.max(1e-9)).min(1.0) }
        };
        let (mut late, mut rows, mut quickest_s) = (0.0, 0.0, f64::INFINITY);
        for (beyond_s, of) in &self.batches {
            late += of * share(*beyond_s);
            rows += of;
            quickest_s = beyond_s.min(quickest_s);
        }
        let more = UNSEEN.saturating_sub(self.batches.len()) as f64 / self.batches.len().max(1) as f64;
        (late + more * rows * share(quickest_s)) / (rows + more * rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn of(beyond_ms: impl IntoIterator<Item = u64>) -> Budget {
        let mut budget = Budget::default();
        for ms in beyond_ms {
            budget.observe(Duration::from_millis(ms), 100);
        }
        budget
    }

    fn linger_s(budget: &Budget) -> f64 {
        budget.linger(SECOND, 0.0).expect("held").as_secs_f64()
    }

    #[test]
    fn what_batches_take_is_left_of_the_budget() {
        assert!((0.97..1.0).contains(&linger_s(&of([10; 256]))), "{}", linger_s(&of([10; 256])));
        assert!((0.69..0.71).contains(&linger_s(&of([300; 256]))), "{}", linger_s(&of([300; 256])));
        assert_eq!(of([1_100; 9]).linger(SECOND, 0.0), None, "farther away than the budget");
    }

    #[test]
    fn before_anything_is_measured_the_model_is_asked() {
        let linger_s = Budget::default().linger(SECOND, 0.2).expect("held").as_secs_f64();
        assert!((linger_s - 0.579).abs() < 1e-6, "{linger_s}");
        assert_eq!(Budget::default().linger(SECOND, 0.6), None);
    }

    #[test]
    fn stalls_that_many_rows_meet_are_allowed_for_and_rare_ones_are_not() {
        // One batch in twenty takes half a second.
        let often = of((0..256).map(|n| if n % 20 == 0 { 500 } else { 5 }));
        assert!((0.5..0.7).contains(&linger_s(&often)), "{}", linger_s(&often));
        let rare = of((0..256).map(|n| if n == 7 { 500 } else { 5 }));
        assert!(linger_s(&rare) > 0.97, "{}", linger_s(&rare));
    }

    #[test]
    fn what_is_late_in_any_case_does_not_hurry_the_rest() {
        let hopeless = of((0..256).map(|n| if n % 10 == 0 { 2_000 } else { 5 }));
        assert!(linger_s(&hopeless) > 0.9, "{}", linger_s(&hopeless));
    }

    #[test]
    fn a_change_for_the_worse_is_followed_at_once_and_memory_is_bounded() {
        let mut budget = of([5; 1_000]);
        assert_eq!(budget.batches.len(), MAX_BATCHES);
        (0..8).for_each(|_| budget.observe(Duration::from_millis(400), 100));
        assert!(linger_s(&budget) < 0.9, "{}", linger_s(&budget));
    }

    proptest! {
        #[test]
        fn the_share_of_late_rows_is_kept_where_it_can_be(
            beyond_ms in prop::collection::vec(0u64..3_000, 1..300), freshness_ms in 1u64..20_000,
        ) {
            let budget = of(beyond_ms);
            let freshness = Duration::from_millis(freshness_ms);
            let budget_s = (freshness.as_secs_f64() - GRAIN_S).max(0.0);
            match budget.linger(freshness, 0.0) {
                Some(linger) => {
                    let late = budget.late(linger.as_secs_f64(), budget_s);
                    let at_best = budget.late(0.0, budget_s);
                    prop_assert!(linger <= freshness && late <= at_best + LATE_SHARE + 1e-9, "{late} {at_best}");
                }
                None => prop_assert!(budget.late(0.0, budget_s) > HOPELESS),
            }
        }
    }
}
