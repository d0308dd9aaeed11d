//! What a lane learns from an answer about its limits, and how it keeps to the pace that QuestDB's apply lag allows.

use std::time::Duration;

use super::{lane::Lane, model::Flushed, policy::Decision};

/// The model foretells nothing worth comparing with before so many flushes.
const LEAST_MEASUREMENTS: u64 = 20;
/// The next batch may be so many times larger for the time-out that is given to it.
const FORESEEN_GROWTH: usize = 32;
/// Least time between two lines of the journal about why batches are what they are.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// Longest rest without looking whether something else is asked for.
const LONGEST_REST: Duration = Duration::from_secs(1);

impl Lane {
    /// Takes in how long a request took; true when the latency grows beyond what was foretold.
    pub(super) fn learn(&mut self, flush: Flushed) -> bool {
        if std::mem::take(&mut self.unusual) {
            self.model.observe_unusual(flush);
            return false;
        }
        let Flushed { rows, took, .. } = flush;
        let expected = self.model.predict(rows);
        let is_known = self.model.measurements() >= LEAST_MEASUREMENTS;
        self.model.observe(flush);
        // What batches this small tell of much larger ones is too vague to go by; the client adds time for their bytes anyway.
        let next = self.decided_rows.min(self.fitting_rows()).min(rows.saturating_mul(FORESEEN_GROWTH));
        let largest = self.model.predict(rows.max(next));
        let now = self.encoder.clock.since_boot();
        self.time_limit.answered(now, took, largest, largest.mul_f64(self.model.spread()));
        is_known && self.growth.observe(took, expected)
    }

    /// Tells the journal of the end of trouble that it was told of.
    pub(super) fn note_recovery(&mut self) {
        if let Some((failures, lasted)) = self.journal.succeeded(self.encoder.clock.since_boot()) {
            tracing::info!(lane = self.number, failures, lasted_s = lasted.as_secs(), "flushing works again");
        }
    }

    /// Changes a decision to what QuestDB's apply lag allows now.
    pub(super) fn keep_pace(&mut self, decision: &mut Decision) {
        self.pace = self.shared.wal.pace(self.number);
        let longest = self.batch.max_linger.filter(|longest| !longest.is_zero()).unwrap_or(self.batch.freshness);
        decision.linger = self.pace.linger(decision.linger, longest);
        decision.rows = self.pace.rows(decision.rows);
        self.decided_rows = decision.rows;
    }

    /// Tells the journal why batches are what they are, when that is for another reason than before, and not more often than
    /// [`TELL_EVERY`].
    pub(super) fn tell_why(&mut self, decision: &Decision) {
        let now = self.now();
        let is_news = self
            .told_why
            .as_ref()
            .is_none_or(|(at, reason)| now.saturating_sub(*at) >= TELL_EVERY && decision.reason.differs_from(reason));
        if is_news {
            tracing::debug!(lane = self.number, "batches: {}", decision.reason);
            self.told_why = Some((now, decision.reason.clone()));
        }
    }

    /// Waits until the next request may go at that pace. A stop does not wait.
    pub(super) fn hold_back(&mut self) {
        loop {
            self.pace = self.shared.wal.pace(self.number);
            let wait = self.throttle.wait(self.encoder.clock.since_boot(), self.pace).min(LONGEST_REST);
            if wait.is_zero() || self.shared.stopping().is_some() {
                return;
            }
            self.heartbeat.waiting("QuestDB to apply what it has accepted", Some(wait));
            self.shared.rest(wait);
        }
    }
}
