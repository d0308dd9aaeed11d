//! How long to wait before the next attempt: exponential with full jitter, so that clients do not come back in step.

use std::time::Duration;

/// Attempts after which the ceiling no longer doubles (it is far past any sensible cap by then).
const MAX_DOUBLINGS: u32 = 20;

/// The state of one sequence of attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits up to `first` after the first failure, up to twice that after the second, and so on, but never above `cap`.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, failures: 0 }
    }

    /// Counts a failure and gives the time to wait: `random` (0 to 1) of this attempt's ceiling.
    pub fn next(&mut self, random: f64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(if random.is_nan() { 1.0 } else { random.clamp(0.0, 1.0) })
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn the_ceiling_doubles_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::new(FIRST, CAP);
        let waits: Vec<u64> = (0..9).map(|_| backoff.next(1.0).as_millis() as u64).collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), FIRST);
    }

    proptest! {
        #[test]
        fn never_above_the_cap_and_spread_over_the_whole_range(failures in 0usize..200, random: f64) {
            let mut backoff = Backoff::new(FIRST, CAP);
            for _ in 0..failures {
                backoff.next(random);
            }
            let mut twin = backoff.clone();
            prop_assert!(backoff.next(random) <= CAP);
            prop_assert_eq!(twin.next(0.0), Duration::ZERO);
        }
    }
}
