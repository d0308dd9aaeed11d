//! What QuestDB tells of its write-ahead logs: whether it still applies what it has accepted, and how far behind it is.

use std::time::Duration;

use serde_json::Value;

use super::{Sql, SqlError, cut, statement};

/// Bytes of names in a statement; QuestDB reads request heads of up to 64 KiB.
const MAX_NAMES_BYTES: usize = 8 << 10;

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
                    self.query_within(&statement::wal_tables_of_old(names), Some(within))?
                }
                answer => answer?,
            };
            found.extend(answer.rows.iter().map(|row| read(row)));
        }
        Ok(found)
    }
}

fn read(row: &[Value]) -> WalTable {
    let text = |at: usize| row.get(at).and_then(Value::as_str).unwrap_or_default();
    let number = |at: usize| row.get(at).and_then(Value::as_i64);
    let error = [text(4), text(5)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    WalTable {
        name: text(0).to_owned(),
        is_suspended: row.get(1).and_then(Value::as_bool) == Some(true),
        applied: number(2).unwrap_or(0),
        accepted: number(3).unwrap_or(0),
        error: cut(&error).to_owned(),
        memory_pressure: number(6).unwrap_or(0),
        pending_rows: number(7).and_then(|rows| u64::try_from(rows).ok()),
    }
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
    fn an_answer_is_read_leniently() {
        let row = json!(["t", true, 3, 6, "DISK FULL", "no space", 1, 40]);
        let table = read(row.as_array().unwrap());
        assert_eq!((table.pending(), table.is_suspended, table.pending_rows), (3, true, Some(40)));
        assert_eq!(table.error, "DISK FULL: no space");
        let old = read(json!(["t", false, 6, 6]).as_array().unwrap());
        assert_eq!((old.pending(), old.error.as_str(), old.pending_rows), (0, "", None));
        assert_eq!(read(&[]), WalTable::default());
    }
}
