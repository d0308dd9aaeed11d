//! A discrete-event simulation of a lane between arrivals and a database (pure, seeded).
//!
//! The policy, the model, the flow's estimate and the breaker are the real ones; simulated are what arrives, the ring's group
//! commit, what the database takes, and the lane's cycle around them. Left out: encoding beyond a cost a row, other lanes,
//! rewinds (a failed batch is sent again from its first row), and QuestDB's apply step. `make test` holds the strategies
//! against each other with it, `make bench-batcher` prints the tables.

mod arrivals;
mod database;
mod lane;
mod queue;
pub mod regimes;
#[cfg(test)]
mod tests;

use self::arrivals::normal;
pub use self::{
    arrivals::Arrivals,
    database::{Database, Spell, Stalls},
    lane::run,
};
use crate::settings::{self, units::Bytes};

/// Time of a commit on an ordinary disk, in seconds.
pub const SYNC_S: f64 = 2e-3;
/// Bytes of a row, as encoded: what a reading of two symbols and four fields needs.
pub const ROW_BYTES: usize = 100;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What arrives.
    pub arrivals: Arrivals,
    /// Where it goes.
    pub database: Database,
    /// Time of one of the ring's commits, in seconds: the median.
    pub sync_s: f64,
    /// Spread of its logarithm (standard deviation).
    pub sync_spread: f64,
    /// Rows that come before what is simulated begins, and are stored by then: one, and the others a moment later.
    pub warm_up_rows: u64,
    /// Time simulated, in seconds.
    pub seconds: f64,
    /// Seed of arrivals and of the database's noise.
    pub seed: u64,
}

impl Scenario {
    /// How long a commit takes, in microseconds.
    fn sync_us(&self, random: &mut fastrand::Rng) -> u64 {
        let times = if self.sync_spread > 0.0 { (self.sync_spread * normal(random)).exp() } else { 1.0 };
        (self.sync_s * times * 1e6) as u64
    }
}

/// How a strategy fared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// Rows that arrived.
    pub arrived: u64,
    /// Rows stored.
    pub stored: u64,
    /// Rows stored a second; where a backlog waits at the start, until that is stored.
    pub rows_per_s: f64,
    /// Time from arrival to stored, median and 99th percentile, in seconds. Rows not stored by the end count with their age then.
    pub p50_s: f64,
    /// See `p50_s`.
    pub p99_s: f64,
    /// Requests that the database executed.
    pub transactions: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Time that nine of ten requests took at most, in seconds.
    pub flush_p90_s: f64,
    /// Longest time a request took, in seconds.
    pub longest_flush_s: f64,
    /// Mean relative error of the model's predictions.
    pub prediction_error: f64,
}

impl Outcome {
    /// Whether the strategy kept up: nearly all that arrived is stored by the end.
    pub fn kept_up(&self) -> bool {
        self.stored as f64 >= 0.99 * self.arrived as f64
    }
}

/// A fixed strategy: batches of that many rows, or what there is after the linger.
pub fn fixed(rows: usize, linger: std::time::Duration) -> settings::Batch {
    settings::Batch {
        strategy: settings::Strategy::Hybrid,
        max_rows: rows,
        max_linger: Some(linger),
        max_bytes: Bytes::mib(3),
        ..settings::Batch::default()
    }
}
