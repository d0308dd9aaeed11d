//! Which rows are in QuestDB already: asked by time and symbols, in statements of bounded length and answers of bounded size.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use thiserror::Error;

use super::{
    Sql, SqlError,
    applied::Applied,
    sql::{ColumnInfo, TableInfo},
    statement,
};
use crate::{moment::moment, names, point::Timestamp};

/// Most times in a statement.
const MAX_TIMES: usize = 100;
/// Longest list of a symbol's values in a statement, in bytes; a longer one is left out, and the answer gets larger.
const MAX_LIST_BYTES: usize = 2 << 10;
/// Largest answer, in rows.
const MAX_ROWS: usize = 20_000;
/// How long what QuestDB has accepted may take to become visible.
const APPLY_WAIT: Duration = Duration::from_secs(5);

/// Why it is not known what is there.
#[derive(Debug, Error)]
pub enum PresentError {
    /// QuestDB could not be asked.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The answer would not be complete yet.
    #[error("table {0:?} does not show yet all that QuestDB has accepted for it; try again in a while")]
    Behind(String),
    /// Its write-ahead log stands still.
    #[error("table {0:?} is suspended; see QuestDB's log, then: ALTER TABLE {name} RESUME WAL", name = statement::identifier(.0))]
    Suspended(String),
    /// There is too much to go through.
    #[error("table {0:?} has more than {MAX_ROWS} rows of these times and symbols")]
    TooMany(String),
    /// It took too long.
    #[error("QuestDB answers too slowly")]
    TooSlow,
}

/// A row that may be there.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its time.
    pub time: Timestamp,
    /// Its symbols.
    pub symbols: &'a [(&'a str, &'a str)],
}

/// Calls `found` with the [`moment`] of each row that is in the table with one of these times; others than those wanted may be among
/// them. Blocks, at most until about `until`.
pub fn look(
    sql: &Sql,
    table: &str,
    wanted: &mut [Wanted<'_>],
    until: Instant,
    found: &mut dyn FnMut(u64),
) -> Result<(), PresentError> {
    let Some(info) = sql.table_info(table)? else { return Ok(()) };
    let Some(time) = info.columns.iter().find(|column| column.designated) else { return Ok(()) };
    await_applied(sql, &info.name)?;
    // Near times lie in the same partitions.
    wanted.sort_by_key(|row| row.time);
    for chunk in wanted.chunks(MAX_TIMES) {
        if Instant::now() >= until {
            return Err(PresentError::TooSlow);
        }
        let columns = symbol_columns(&info, chunk);
        let statement = statement(&info.name, &time.name, &columns, chunk);
        let asked: Vec<&str> = std::iter::once(&*time.name).chain(columns.iter().map(|column| &*column.name)).collect();
        let answer = sql.query(&statement)?.with_columns(&asked)?;
        if answer.rows.len() > MAX_ROWS {
            return Err(PresentError::TooMany(info.name));
        }
        for row in &answer.rows {
            let time = row.first().and_then(Value::as_str).and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let Some(time) = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok()) else {
                return Err(SqlError::Answer(format!("a row of table {table:?} without a time")).into());
            };
            let values = row[1..].iter().map(|value| value.as_str().unwrap_or_default());
            found(moment(table, Timestamp(time), columns.iter().map(|column| column.name.as_str()).zip(values)));
        }
    }
    Ok(())
}

/// Waits until what the table's write-ahead log holds now is visible to queries.
fn await_applied(sql: &Sql, table: &str) -> Result<(), PresentError> {
    match sql.await_applied(table, APPLY_WAIT)? {
        Applied::Yes => Ok(()),
        Applied::Suspended => Err(PresentError::Suspended(table.to_owned())),
        Applied::Behind => Err(PresentError::Behind(table.to_owned())),
    }
}

/// The table's symbols that tell its rows apart, or one of these rows from others.
fn symbol_columns<'t>(info: &'t TableInfo, wanted: &[Wanted<'_>]) -> Vec<&'t ColumnInfo> {
    let is_wanted = |column: &ColumnInfo| {
        wanted.iter().any(|row| row.symbols.iter().any(|(name, _)| names::same(name, &column.name)))
    };
    let symbols = info.columns.iter().filter(|column| column.kind == "SYMBOL");
    symbols.filter(|column| column.key || is_wanted(column)).collect()
}

fn statement(table: &str, time: &str, columns: &[&ColumnInfo], wanted: &[Wanted<'_>]) -> String {
    let times: BTreeSet<String> = wanted.iter().map(|row| literal_time(row.time)).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    // Where each row has a value of a symbol, other values need not be told.
    let narrow = columns.iter().filter_map(|column| {
        let value = |row: &Wanted<'_>| {
            let symbol = row.symbols.iter().find(|(name, value)| names::same(name, &column.name) && !value.is_empty());
            symbol.map(|(_, value)| statement::literal(value))
        };
        let values: BTreeSet<String> = wanted.iter().map(value).collect::<Option<_>>()?;
        let fits = values.iter().map(String::len).sum::<usize>() <= MAX_LIST_BYTES;
        fits.then_some((column.name.as_str(), values))
    });
    statement::rows_at(table, time, &times, &names, &narrow.collect::<Vec<_>>(), MAX_ROWS + 1)
}

/// A time to the microsecond, which is what rows are sent with.
fn literal_time(time: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.to_micros()) {
        Ok(time) => statement::literal(&format!("{time:.6}")),
        Err(_) => time.to_micros().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str, key: bool) -> ColumnInfo {
        ColumnInfo { name: name.into(), kind: kind.into(), designated: name == "ts", key }
    }

    fn info() -> TableInfo {
        let columns = vec![
            column("ts", "TIMESTAMP", true),
            column("Device", "SYMBOL", true),
            column("note", "SYMBOL", false),
            column("unit", "SYMBOL", false),
            column("x", "DOUBLE", false),
        ];
        TableInfo { name: "t".into(), wal: true, dedup: true, columns, ..TableInfo::default() }
    }

    #[test]
    fn keys_and_the_rows_own_symbols_are_asked_for() {
        let wanted = [
            Wanted { time: Timestamp(1_999), symbols: &[("device", "o'1"), ("unit", "C")] },
            Wanted { time: Timestamp(1_000), symbols: &[("device", "b")] },
        ];
        let info = info();
        let columns = symbol_columns(&info, &wanted);
        let text = statement("t", "ts", &columns, &wanted);
        assert_eq!(
            text,
            "SELECT DISTINCT \"ts\", \"Device\", \"unit\" FROM \"t\" WHERE \"ts\" IN ('1970-01-01T00:00:00.000001Z') \
             AND \"Device\" IN ('b', 'o''1') LIMIT 20001"
        );
    }

    #[test]
    fn statements_stay_short() {
        let long = "v".repeat(1_000);
        let values: Vec<String> = (0..MAX_TIMES).map(|n| format!("{n}{long}")).collect();
        let symbols: Vec<[(&str, &str); 1]> = values.iter().map(|value| [("device", value.as_str())]).collect();
        let wanted: Vec<_> = (0..MAX_TIMES)
            .map(|n| Wanted { time: Timestamp(n as i64 * 1_000_000_007), symbols: &symbols[n] })
            .collect();
        let info = info();
        let text = statement("t", "ts", &symbol_columns(&info, &wanted), &wanted);
        assert!(text.len() < 4_000 && !text.contains("vvv"), "{} bytes", text.len());
    }
}
