//! What QuestDB tells of its write-ahead logs: whether it still applies what it has accepted, and how far behind it is.

use std::time::Duration;

use serde_json::Value;

use super::{Sql, SqlError, answer, cut, statement};

/// Bytes of names in a statement; QuestDB reads request heads of up to 64 KiB.
const MAX_NAMES_BYTES: usize = 8 << 10;
/// What is told of each table; versions that tell less tell the first [`OLD_COLUMNS`].
const COLUMNS: [&str; 8] = [
    "name",
    "suspended",
    "writerTxn",
    "sequencerTxn",
    "errorTag",
    "errorMessage",
    "memoryPressure",
    "wal_pending_row_count",
];
const OLD_COLUMNS: usize = 4;

/// A table's write-ahead log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalTable {
    /// The table's name as created.
    pub name: String,
    /// Whether QuestDB has stopped applying; it goes on accepting.
    pub is_suspended: bool,
    /// Last transaction applied.
    pub applied: i64,
    /// Last transaction accepted.
    pub accepted: i64,
    /// Why it is suspended, in QuestDB's words; empty when it does not tell.
    pub error: String,
    /// 0: none; 1: QuestDB applies in fewer threads for want of memory; 2: it waits.
    pub memory_pressure: i64,
    /// Rows accepted and not applied; none when this version does not tell. Counted since the server's start.
    pub pending_rows: Option<u64>,
}

impl WalTable {
    /// Transactions accepted and not applied.
    pub fn pending(&self) -> u64 {
        u64::try_from(self.accepted.saturating_sub(self.applied)).unwrap_or(0)
    }
}

impl Sql {
    /// The logs of these tables (folded names), with at most `within` a question; those that do not
    /// exist or have no log are left out.
    pub fn wal_tables(&self, names: &[String], within: Duration) -> Result<Vec<WalTable>, SqlError> {
        let mut found = Vec::new();
        for names in portions(names) {
            let answer = match self.query_within(&statement::wal_tables(names), Some(within)) {
                // Versions that count no pending rows.
                Err(SqlError::Refused { message, .. }) if message.to_lowercase().contains("invalid column") => {
                    let answer = self.query_within(&statement::wal_tables_of_old(names), Some(within))?;
                    answer.with_columns(&COLUMNS[..OLD_COLUMNS])?
                }
                answer => answer?.with_columns(&COLUMNS)?,
            };
            for row in &answer.rows {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }
}

/// What the log is about and how far it is has to be told; the rest need not.
fn read(row: &[Value]) -> Result<WalTable, SqlError> {
    let text = |at: usize| row.get(at).and_then(Value::as_str).unwrap_or_default();
    let number = |at: usize| row.get(at).and_then(Value::as_i64);
    let error = [text(4), text(5)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    Ok(WalTable {
        name: answer::text(row, 0)?.to_owned(),
        is_suspended: answer::flag(row, 1)?,
        applied: answer::number(row, 2)?,
        accepted: answer::number(row, 3)?,
        error: cut(&error).to_owned(),
        memory_pressure: number(6).unwrap_or(0),
        pending_rows: number(7).and_then(|rows| u64::try_from(rows).ok()),
    })
}

/// The names in portions that fit into a statement.
pub(super) fn portions(mut names: &[String]) -> impl Iterator<Item = &[String]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = names.iter().take_while(|name| {
            bytes += name.len() + 4;
            bytes <= MAX_NAMES_BYTES
        });
        let (portion, rest) = names.split_at(fitting.count().max(1).min(names.len()));
        names = rest;
        (!portion.is_empty()).then_some(portion)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_go_in_portions_and_none_is_left_out() {
        let names: Vec<String> = (0..500).map(|number| format!("{number:0127}")).collect();
        let portions: Vec<_> = portions(&names).collect();
        assert_eq!(portions.concat(), names);
        assert!(portions.iter().all(|part| part.iter().map(|name| name.len() + 4).sum::<usize>() <= MAX_NAMES_BYTES));
        assert_eq!(super::portions(&[]).count(), 0);
        assert_eq!(super::portions(&["x".repeat(2 * MAX_NAMES_BYTES)]).count(), 1);
    }

    #[test]
    fn a_log_says_how_far_it_is_and_perhaps_more() {
        let read = |row: Value| read(row.as_array().unwrap());
        let table = read(json!(["t", true, 3, 6, "DISK FULL", "no space", 1, 40])).unwrap();
        assert_eq!((table.pending(), table.is_suspended, table.pending_rows), (3, true, Some(40)));
        assert_eq!(table.error, "DISK FULL: no space");
        let old = read(json!(["t", false, 6, 6])).unwrap();
        assert_eq!((old.pending(), old.error.as_str(), old.pending_rows), (0, "", None));
        for row in [json!([]), json!(["t", false]), json!([null, false, 1, 1]), json!(["t", 1, 1, 1])] {
            assert!(read(row.clone()).is_err(), "{row}");
        }
    }
}
