//! What a comparison found.

use serde::Serialize;

use super::compare::Difference;
use crate::ring::Ledger;

/// A row that is not in QuestDB as it is in the ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The table.
    pub table: String,
    /// Event time (RFC 3339, UTC).
    pub time: String,
    /// The row's symbols.
    pub symbols: Vec<(String, String)>,
    /// Its record in the ring, and its number there.
    pub seq: u64,
    /// See `seq`.
    pub row: u16,
    /// What differs; empty where there is no such row.
    pub differences: Vec<Difference>,
}

/// A table that could not be compared, or not as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uncompared {
    /// The table.
    pub table: String,
    /// Its rows that nothing is known of.
    pub rows: u64,
    /// Why.
    pub why: String,
}

/// The result. Rows before the settled watermark are `agree + missing + differ`, those of `uncompared`, and those of
/// `excused` but `pending`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Whether every row that is due is there, each table could be compared, and the ledger balances.
    pub ok: bool,
    /// Rows that are in QuestDB as in the ring.
    pub agree: u64,
    /// Rows that are not there.
    pub missing: u64,
    /// Rows that are there otherwise.
    pub differ: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
    /// Tables that could not be compared.
    pub uncompared: Vec<Uncompared>,
    /// Rows that are not looked for.
    pub excused: Excused,
    /// Fields in columns of types that cannot be compared.
    pub uncompared_fields: u64,
    /// Tables compared.
    pub tables: usize,
    /// First record read.
    pub from_seq: u64,
    /// Rows of records from this one on are still to be stored.
    pub settled_seq: u64,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The ledger.
    pub ledger: Ledger,
    /// What is wrong with the ledger, if anything is.
    pub ledger_fault: Option<String>,
}

/// Why rows are not looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Excused {
    /// Still to be stored.
    pub pending: u64,
    /// Set aside in quarantine.
    pub quarantined: u64,
    /// Replaced by a later row of the same time and symbols.
    pub superseded: u64,
    /// Older than the table's time to live.
    pub expired: u64,
    /// Records given up while the ring was read.
    pub overtaken_records: u64,
    /// Records lost to damage.
    pub damaged_records: u64,
}
