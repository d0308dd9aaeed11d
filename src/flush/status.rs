//! What the write side tells about itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{breaker::Standing, quarantine::status::QuarantineStatus, shared::Health, wal_watch::WalStatus};
use crate::{
    marks::Seq,
    observe::histogram::{Distribution, Quantiles},
};

/// State of the way into QuestDB, as `status` shows it.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct FlushStatus {
    /// One word: `connecting`, `ok`, `slow`, `lagging`, `suspended`, `blocked`, `overloaded`, `unreachable`, `refused` (authentication),
    /// `misconfigured` (docs/ARCHITECTURE.md, section "Trouble with the database").
    #[schema(value_type = String)]
    pub database: Health,
    /// The last error, in words; none after a success.
    pub error: Option<String>,
    /// What it means and what to do, in one line; none after a success.
    pub advice: Option<String>,
    /// Failures of all lanes since start, by kind.
    pub failures: Vec<(&'static str, u64)>,
    /// How far QuestDB is with applying what it has accepted.
    pub wal: WalStatus,
    /// `exactly-once`, or `at-least-once` with the tables that make it so.
    pub delivery: String,
    /// Tables that make it `at-least-once`, and rows refused for narrow keys, each with the statement that mends it.
    pub warnings: Vec<String>,
    /// Time from a row's arrival to its being stored, in microseconds, of rows that arrived since start.
    pub stored_latency_us: Quantiles,
    /// The same, for the metrics page.
    #[serde(skip)]
    pub stored_latency: Distribution,
    /// One entry a lane.
    pub lanes: Vec<LaneStatus>,
    /// Quarantine's fill.
    pub quarantine: QuarantineStatus,
    /// Memory of all lanes' buffers (`batch.max_buffered`), in bytes: now, and at most since the start.
    pub buffer_bytes: usize,
    /// See `buffer_bytes`.
    pub buffer_peak_bytes: usize,
}

/// State of one lane.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct LaneStatus {
    /// Number of the lane, from 0.
    pub lane: usize,
    /// Rows a batch, as decided now.
    pub batch_rows: usize,
    /// Linger as decided now, in milliseconds.
    pub linger_ms: f64,
    /// Why, in one line.
    pub reason: String,
    /// The model: fixed cost of a flush in milliseconds.
    pub fixed_ms: f64,
    /// The model: cost of a row in microseconds.
    pub per_row_us: f64,
    /// `closed`, `open` or `half-open`.
    #[schema(value_type = String)]
    pub breaker: Standing,
    /// The model: spread of the times about it, as a fraction (one standard deviation).
    pub spread: f64,
    /// The model: how far the last flush was off, as a fraction of what was expected.
    pub last_error: f64,
    /// Rows in the last flush and how long it took, in milliseconds.
    pub last_rows: usize,
    /// See `last_rows`.
    pub last_ms: f64,
    /// Flushes that succeeded and failed since start.
    pub flushes: u64,
    /// See `flushes`.
    pub failures: u64,
    /// Time the next request is given, in milliseconds, its bytes (at 100 KiB/s) apart.
    pub timeout_ms: f64,
    /// Why it writes slower than it could; none at full speed.
    pub pace: Option<String>,
    /// Rows sent since start, resent ones included.
    pub rows_sent: u64,
    /// Times the cursor was rewound since start.
    pub rewinds: u64,
    /// The last replay asked of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayStatus>,
}

/// How far a lane is with a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayStatus {
    /// Number of the newest request it takes in, from 1.
    pub number: u64,
    /// First record that goes again.
    pub from: Seq,
    /// Record reached.
    pub at: Seq,
    /// The replay is through before this record.
    pub until: Seq,
    /// Whether it is through.
    pub through: bool,
}
