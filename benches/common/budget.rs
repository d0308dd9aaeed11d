//! How long a benchmark may take.

use std::time::{Duration, Instant};

/// Ends the rounds of a benchmark before its time is over.
pub struct Budget {
    started: Instant,
    whole: Duration,
    rounds: u32,
}

impl Budget {
    /// Begins now.
    pub fn of(whole: Duration) -> Self {
        Self { started: Instant::now(), whole, rounds: 0 }
    }

    /// Whether another round like those so far fits; the first one always does.
    pub fn admits_another(&mut self) -> bool {
        let took = self.started.elapsed();
        let fits = self.rounds == 0 || took + took / self.rounds <= self.whole;
        if fits {
            self.rounds += 1;
        } else {
            eprintln!("no more than {} rounds fit in {} s", self.rounds, self.whole.as_secs());
        }
        fits
    }
}
