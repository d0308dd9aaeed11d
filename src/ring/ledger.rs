//! The ledger: what became of every row, exact across restarts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{layout::Kind, marks::Mark};

/// What the log has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Intake {
    /// Messages in the log, dead letters and clears included.
    pub messages: u64,
    /// Messages that became a dead letter.
    pub dead_letters: u64,
    /// Messages that cleared a series.
    pub clears: u64,
    /// Rows in the log.
    pub rows: u64,
    /// Messages dropped at the door (`drop-newest`); they are not in the log.
    pub refused_messages: u64,
    /// Their rows.
    pub refused_rows: u64,
}

impl Intake {
    /// Counts a record.
    pub fn count(&mut self, kind: Kind, rows: u16, ends_message: bool) {
        self.messages += u64::from(ends_message);
        match kind {
            Kind::Rows | Kind::Held => self.rows += u64::from(rows),
            Kind::DeadLetter => self.dead_letters += 1,
            Kind::Clear => self.clears += 1,
            Kind::Pad | Kind::Commit | Kind::State => {}
        }
    }

    /// What is counted here and not in a part of it.
    #[must_use]
    pub fn less(self, part: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(part.messages),
            dead_letters: self.dead_letters.saturating_sub(part.dead_letters),
            clears: self.clears.saturating_sub(part.clears),
            rows: self.rows.saturating_sub(part.rows),
            refused_messages: self.refused_messages.saturating_sub(part.refused_messages),
            refused_rows: self.refused_rows.saturating_sub(part.refused_rows),
        }
    }

    /// The larger of each count: counts only ever grow, so it is the later one.
    #[must_use]
    pub fn latest(self, other: Self) -> Self {
        Self {
            messages: self.messages.max(other.messages),
            dead_letters: self.dead_letters.max(other.dead_letters),
            clears: self.clears.max(other.clears),
            rows: self.rows.max(other.rows),
            refused_messages: self.refused_messages.max(other.refused_messages),
            refused_rows: self.refused_rows.max(other.refused_rows),
        }
    }
}

/// What became of the rows before `settled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Every row before it has its fate.
    pub settled: Mark,
    /// Rows in QuestDB.
    pub stored: u64,
    /// Rows in quarantine.
    pub quarantined: u64,
    /// Rows given up by `drop-oldest` or lost to damage.
    pub dropped: u64,
    /// Rows merged into others on purpose.
    pub coalesced: u64,
}

impl Outcome {
    /// Rows with a fate.
    pub fn rows(&self) -> u64 {
        self.stored + self.quarantined + self.dropped + self.coalesced
    }
}

/// Cumulative counts since the ring was created. They travel in the commits they count (docs/ring-format.md).
///
/// `rows = pending + stored + quarantined + dropped + coalesced`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// Messages taken in, dead letters and clears included.
    pub messages: u64,
    /// Messages that became a dead letter.
    pub dead_letters: u64,
    /// Messages that cleared a series.
    pub clears: u64,
    /// Rows taken in.
    pub rows: u64,
    /// Rows in the ring whose fate is still open.
    pub pending: u64,
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
    /// The ledger of a log that took in `intake`, of which `outcome` has come.
    pub fn of(intake: &Intake, outcome: &Outcome) -> Self {
        Self {
            messages: intake.messages + intake.refused_messages,
            dead_letters: intake.dead_letters,
            clears: intake.clears,
            rows: intake.rows + intake.refused_rows,
            pending: intake.rows.saturating_sub(outcome.rows()),
            stored: outcome.stored,
            quarantined: outcome.quarantined,
            dropped: outcome.dropped + intake.refused_rows,
            coalesced: outcome.coalesced,
        }
    }
}
