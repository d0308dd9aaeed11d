//! What QuestDB has of the rows in question: tables described, and their rows fetched in bounded answers.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use serde_json::Value as Json;

use super::compare::{Columns, Key, micros};
use crate::{
    names,
    point::Timestamp,
    questdb::{Sql, SqlError, answer, applied::Applied, sql::TableInfo, statement},
};

/// Rows asked for at once beyond twice those that are looked for.
const SPARE_ROWS: usize = 1_000;
/// Moments named in one statement: some 7 KiB, which fits into a request's line.
const MOMENTS_A_STATEMENT: usize = 256;
/// Rows of one answer where no more than one moment is asked for.
const PAGE_ROWS: usize = 5_000;
/// How long a table's committed transactions may take to be applied.
const APPLY_WAIT: Duration = Duration::from_mins(1);

/// A table as it is compared.
#[derive(Debug, Default)]
pub struct View {
    /// Its description; none when there is no such table.
    pub info: Option<TableInfo>,
    /// Folded names of its key columns, in its order; none without deduplication.
    pub keys: Vec<String>,
    /// Folded names of fields that rows of the ring have.
    pub fields: HashSet<String>,
    /// Rows of an earlier time may have been dropped for their age.
    pub kept_from_us: i64,
    /// Why what is committed may not be visible.
    pub warning: Option<String>,
}

impl View {
    /// Whether a row of a key is one row.
    pub fn dedups(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.dedup)
    }

    fn timestamp(&self) -> Option<&str> {
        self.info.as_ref()?.columns.iter().find(|column| column.designated).map(|column| column.name.as_str())
    }
}

/// Rows of a table, by their keys.
#[derive(Debug, Default)]
pub struct Found {
    /// The columns of the rows.
    pub columns: Columns,
    /// Rows by key; several only where an empty symbol stands beside none, or without deduplication.
    pub rows: HashMap<Key, Vec<Vec<Json>>>,
}

/// Describes a table, once its committed transactions are applied.
pub fn describe(sql: &Sql, table: &str, now: Timestamp) -> Result<View, SqlError> {
    let warning = await_apply(sql, table)?;
    let info = sql.table_info(table)?;
    let keys = info.iter().filter(|info| info.dedup).flat_map(|info| &info.columns);
    let keys = keys
        .filter(|column| column.key && !column.designated)
        .map(|column| names::folded(&column.name).into_owned())
        .collect();
    let kept_from_us = if info.is_some() { kept_from(sql, table, now)? } else { i64::MIN };
    Ok(View { info, keys, fields: HashSet::new(), kept_from_us, warning })
}

/// Waits until what is committed by now is applied; otherwise says why it may not be.
fn await_apply(sql: &Sql, table: &str) -> Result<Option<String>, SqlError> {
    Ok(match sql.await_applied(table, APPLY_WAIT)? {
        Applied::Yes => None,
        Applied::Suspended => Some(format!(
            "table {table:?} is suspended: QuestDB no longer applies what is committed to it; see its log"
        )),
        Applied::Behind => {
            let seconds = APPLY_WAIT.as_secs();
            Some(format!("table {table:?}: QuestDB has not applied within {seconds} s what is committed to it"))
        }
    })
}

/// The time before which rows may have been dropped for their age.
fn kept_from(sql: &Sql, table: &str, now: Timestamp) -> Result<i64, SqlError> {
    let answer = match sql.query(&statement::time_to_live(table)) {
        Ok(answer) => answer.with_columns(&["ttlValue", "ttlUnit", "table_max_timestamp"])?,
        // A version that knows no time to live.
        Err(SqlError::Refused { .. }) => return Ok(i64::MIN),
        Err(error) => return Err(error),
    };
    let row = answer.only_row()?;
    let value = answer::number(&row, 0)?.unsigned_abs();
    let unit_hours = match answer::text(&row, 1)? {
        "HOUR" => 1,
        "DAY" => 24,
        "WEEK" => 7 * 24,
        // The shortest there are.
        "MONTH" => 28 * 24,
        "YEAR" => 365 * 24,
        unit if value > 0 => return Err(SqlError::Answer(format!("a time to live in units of {unit:?}"))),
        _ => 0,
    };
    let newest = row.get(2).and_then(Json::as_str).and_then(micros).unwrap_or(i64::MIN);
    let ttl_us = i64::try_from(value.saturating_mul(unit_hours).saturating_mul(3_600_000_000)).unwrap_or(i64::MAX);
    Ok(if ttl_us == 0 { i64::MIN } else { newest.max(now.to_micros()).saturating_sub(ttl_us) })
}

/// Fetches a table's rows of these moments (µs since 1970), for `wanted` rows that are looked for.
pub fn fetch(sql: &Sql, view: &mut View, moments: &BTreeSet<i64>, wanted: usize) -> Result<Found, SqlError> {
    let mut found = Found::default();
    let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Ok(found) };
    let (Some(info), Some(timestamp)) = (&view.info, view.timestamp()) else { return Ok(found) };
    let (table, timestamp) = (info.name.clone(), timestamp.to_owned());
    // Mostly rows come in the order of their times, and all between the first and the last are of interest.
    let most = 2 * wanted + SPARE_ROWS;
    let span = statement::between(&table, &timestamp, &time(*first), &time(*last), most + 1);
    let all = match sql.query(&span) {
        Ok(answer) if answer.rows.len() <= most => Some(answer),
        Ok(_) | Err(SqlError::TooLarge(_)) => None,
        Err(error) => return Err(error),
    };
    if let Some(answer) = all {
        found.take(sql, view, answer, moments)?;
        return Ok(found);
    }
    let moments_in_order: Vec<i64> = moments.iter().copied().collect();
    for some in moments_in_order.chunks(MOMENTS_A_STATEMENT) {
        fetch_moments(sql, view, &table, &timestamp, some, moments, &mut found)?;
    }
    Ok(found)
}

fn fetch_moments(
    sql: &Sql,
    view: &mut View,
    table: &str,
    timestamp: &str,
    some: &[i64],
    moments: &BTreeSet<i64>,
    found: &mut Found,
) -> Result<(), SqlError> {
    let times: Vec<String> = some.iter().map(|moment| time(*moment)).collect();
    let mut start = 0;
    loop {
        let page = statement::at_moments(table, timestamp, &times, start, start + PAGE_ROWS);
        match sql.query(&page) {
            Ok(answer) => {
                let rows = answer.rows.len();
                found.take(sql, view, answer, moments)?;
                start += PAGE_ROWS;
                if rows < PAGE_ROWS {
                    return Ok(());
                }
            }
            Err(SqlError::TooLarge(_)) if some.len() > 1 => {
                let (left, right) = some.split_at(some.len() / 2);
                fetch_moments(sql, view, table, timestamp, left, moments, found)?;
                return fetch_moments(sql, view, table, timestamp, right, moments, found);
            }
            Err(error) => return Err(error),
        }
    }
}

fn time(micros: i64) -> String {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => "1970-01-01T00:00:00.000000Z".to_owned(),
    }
}

impl Found {
    fn take(
        &mut self,
        sql: &Sql,
        view: &mut View,
        answer: crate::questdb::Table,
        moments: &BTreeSet<i64>,
    ) -> Result<(), SqlError> {
        let Some(info) = &view.info else { return Ok(()) };
        let mut columns = Columns::new(&answer.columns, info);
        if columns.is_none() {
            // A column has come since.
            let name = info.name.clone();
            view.info = sql.table_info(&name)?;
            columns = view.info.as_ref().and_then(|info| Columns::new(&answer.columns, info));
        }
        let columns = columns
            .ok_or_else(|| SqlError::Answer("the columns are not those of the table's description".to_owned()))?;
        for row in answer.rows {
            let without = || SqlError::Answer("a row without a time".to_owned());
            let key = columns.key_of(&row).ok_or_else(without)?;
            if moments.contains(&key.time_us()) {
                self.rows.entry(key).or_default().push(row);
            }
        }
        self.columns = columns;
        Ok(())
    }
}
