//! The ledger: what became of every row, exact across restarts.

use serde::{Deserialize, Serialize};

/// Cumulative counts since the ring was created. They travel in the commits they count (docs/ring-format.md).
///
/// `rows = pending + stored + quarantined + dropped + coalesced`; `pending` is what remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Messages taken in, dead letters and clears included.
    pub messages: u64,
    /// Messages that became a dead letter.
    pub dead_letters: u64,
    /// Messages that cleared a series.
    pub clears: u64,
    /// Rows taken in.
    pub rows: u64,
    /// Rows stored in QuestDB.
    pub stored: u64,
    /// Rows set aside in quarantine.
    pub quarantined: u64,
    /// Rows dropped by the `on_full` policy, or lost to damage and reported.
    pub dropped: u64,
    /// Rows merged into others on purpose.
    pub coalesced: u64,
}

impl Ledger {
    /// Rows taken in whose fate is still open.
    pub fn pending(&self) -> u64 {
        self.rows.saturating_sub(self.stored + self.quarantined + self.dropped + self.coalesced)
    }
}
