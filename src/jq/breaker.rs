//! When a program that keeps ending its workers is let rest. Pure.

use std::time::{Duration, Instant};

use super::limits::{MAX_LOSSES, REFUSED_FOR};

/// Counts the documents in a row that cost a worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    losses: u32,
    refused_until: Option<Instant>,
}

impl Breaker {
    /// Whether a document may be tried now; how long not, and after how many losses, if it may not.
    pub fn admit(&self, now: Instant) -> Result<(), (u32, Duration)> {
        let wait = self.refused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if wait.is_zero() { Ok(()) } else { Err((self.losses, wait)) }
    }

    /// A document was tried: whether it cost a worker. After a rest, the first one that does brings
    /// the next rest.
    pub fn tried(&mut self, has_cost_a_worker: bool, now: Instant) {
        if !has_cost_a_worker {
            *self = Self::default();
            return;
        }
        self.losses = self.losses.saturating_add(1);
        self.refused_until = (self.losses >= MAX_LOSSES).then(|| now + REFUSED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn three_losses_in_a_row_bring_a_minute_of_rest() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..MAX_LOSSES {
            assert_eq!(breaker.admit(start), Ok(()));
            breaker.tried(true, start);
        }
        assert_eq!(breaker.admit(start), Err((MAX_LOSSES, REFUSED_FOR)));
        assert_eq!(breaker.admit(start + SECOND), Err((MAX_LOSSES, Duration::from_secs(59))));
        assert_eq!(breaker.admit(start + REFUSED_FOR), Ok(()));
    }

    #[test]
    fn a_document_that_costs_none_in_between_starts_the_count_over() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for is_loss in [true, true, false, true, true] {
            breaker.tried(is_loss, start);
        }
        assert_eq!(breaker.admit(start), Ok(()));
    }

    #[test]
    fn after_a_rest_one_document_is_tried_and_the_next_loss_brings_the_next_rest() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        (0..MAX_LOSSES).for_each(|_| breaker.tried(true, start));
        let later = start + REFUSED_FOR;
        breaker.tried(true, later);
        assert_eq!(breaker.admit(later), Err((MAX_LOSSES + 1, REFUSED_FOR)));
        breaker.tried(false, later + REFUSED_FOR);
        breaker.tried(true, later + REFUSED_FOR);
        assert_eq!(breaker.admit(later + REFUSED_FOR), Ok(()));
    }
}
