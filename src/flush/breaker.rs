//! When to try a database that fails (pure): exponential backoff with jitter, then one small batch as a probe.

use std::time::Duration;

use serde::Serialize;

/// Wait after the first failure, before jitter.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// Longest wait, before jitter.
pub const MAX_BACKOFF: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Duration },
    HalfOpen,
}

/// Where a breaker stands, as `status` says it in a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Its lane has not told yet: an empty word.
    #[default]
    #[serde(rename = "")]
    Untold,
    /// Requests are sent as usual.
    Closed,
    /// Nothing is sent until its wait is over.
    Open,
    /// One small request is sent to see how it goes.
    HalfOpen,
}

impl Standing {
    /// `closed`, `open` or `half-open`; empty while untold.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Untold => "",
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Send as usual.
    Go,
    /// Send one small batch and report how it went before anything else.
    Probe,
    /// Send nothing for so long.
    Wait(Duration),
}

/// Counts failures and spaces attempts. Times are since an arbitrary, fixed start.
#[derive(Debug, Clone)]
pub struct Breaker {
    state: State,
    failures: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, failures: 0 }
    }
}

impl Breaker {
    /// A breaker that asks for a probe before the first use.
    pub fn half_open() -> Self {
        Self { state: State::HalfOpen, failures: 0 }
    }

    /// What may be done at `now`; an open breaker whose time has come becomes half-open.
    pub fn gate(&mut self, now: Duration) -> Gate {
        if let State::Open { until } = self.state {
            if now < until {
                return Gate::Wait(until.saturating_sub(now));
            }
            self.state = State::HalfOpen;
        }
        if self.state == State::Closed { Gate::Go } else { Gate::Probe }
    }

    /// Reports a success: closed.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Reports a failure at `now`: open, for a time drawn by `random` (0 up to 1) from the upper half of the backoff.
    pub fn failed(&mut self, now: Duration, random: f64) -> Duration {
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(16));
        let wait = doubled.min(MAX_BACKOFF).mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Open { until: now + wait };
        wait
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open { .. } => Standing::Open,
            State::HalfOpen => Standing::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn opens_probes_and_closes() {
        let mut breaker = Breaker::default();
        let start = Duration::from_secs(100);
        assert_eq!(breaker.gate(start), Gate::Go);
        let wait = breaker.failed(start, 1.0);
        assert_eq!(wait, FIRST_BACKOFF);
        assert_eq!((breaker.gate(start), breaker.standing()), (Gate::Wait(wait), Standing::Open));
        assert_eq!((breaker.gate(start + wait), breaker.standing()), (Gate::Probe, Standing::HalfOpen));
        assert!(breaker.failed(start + wait, 1.0) > wait);
        breaker.succeeded();
        assert_eq!((breaker.gate(start), breaker.failures()), (Gate::Go, 0));
    }

    #[test]
    fn status_says_the_same_word_as_the_metrics() {
        for standing in [Standing::Untold, Standing::Closed, Standing::Open, Standing::HalfOpen] {
            assert_eq!(serde_json::to_value(standing).unwrap(), standing.word());
        }
    }

    proptest! {
        #[test]
        fn waits_stay_within_bounds(randoms in prop::collection::vec(0.0..1.0, 1..100)) {
            let mut breaker = Breaker::half_open();
            for random in randoms {
                let wait = breaker.failed(Duration::ZERO, random);
                prop_assert!(wait >= FIRST_BACKOFF / 2 && wait <= MAX_BACKOFF);
            }
        }
    }
}
