//! Places in the log, the five watermarks, and what is known of a record.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Number of a record; the first record of a ring is 1, each following one is one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// Byte position in the log, counted from the ring's creation; it never wraps (the file does).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Pos(pub u64);

/// A boundary between records: everything before `pos` is included, and the record at `pos` is the one numbered `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark {
    /// Position of the next record.
    pub pos: Pos,
    /// Number of the next record.
    pub seq: Seq,
}

/// How far acknowledgements may go, and what one of them waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ackable {
    /// Everything before this position is durable.
    pub pos: Pos,
    /// So many messages turned away by `drop-newest`, since the ring was made, are counted on the disk.
    pub refused: u64,
    /// So many notes (messages that leave no record, changes of state), since the start, are on the disk.
    pub notes: u64,
}

impl Ackable {
    /// Whether what waits for `due` may be acknowledged.
    #[must_use]
    pub fn covers(self, due: Self) -> bool {
        due.pos <= self.pos && due.refused <= self.refused && due.notes <= self.notes
    }

    /// What covers both.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self {
            pos: self.pos.max(other.pos),
            refused: self.refused.max(other.refused),
            notes: self.notes.max(other.notes),
        }
    }
}

impl From<Pos> for Ackable {
    fn from(pos: Pos) -> Self {
        Self { pos, ..Self::default() }
    }
}

/// The five watermarks; `tail ≤ safe ≤ settled ≤ durable ≤ appended` always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Oldest record still in the file.
    pub tail: Mark,
    /// Settled at least `resend_window` ago.
    pub safe: Mark,
    /// In QuestDB, in quarantine, or dropped by policy.
    pub settled: Mark,
    /// Survives a power cut (in `memory` mode: sealed, and survives kill -9 only).
    pub durable: Mark,
    /// In the map, visible to readers.
    pub appended: Mark,
}

/// What is known of a record's whereabouts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Only in memory: not yet durable, or given up by the `on_full` policy.
    #[default]
    Memory,
    /// On this machine's disk, in the ring.
    Durable,
    /// QuestDB has refused it: it is in quarantine.
    Refused,
    /// In QuestDB.
    Stored,
}

impl State {
    /// `memory`, `durable`, `refused` or `stored`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Durable => "durable",
            Self::Refused => "refused",
            Self::Stored => "stored",
        }
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
