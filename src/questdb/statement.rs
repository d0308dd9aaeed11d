//! The SQL forebay sends, as text (pure).

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use crate::settings::PartitionBy;

/// Name of the designated timestamp in tables that forebay creates.
pub const TIMESTAMP_COLUMN: &str = "timestamp";

/// An identifier, quoted.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What a table looks like that forebay creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTable {
    /// Partitioning.
    pub partition_by: PartitionBy,
    /// Time to live of its rows, in whole hours (rounded up).
    pub ttl: Option<Duration>,
}

/// `CREATE TABLE`: a WAL table whose rows are deduplicated by time and every symbol.
pub fn create_table(table: &str, symbols: &[&str], shape: NewTable) -> String {
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (", identifier(table));
    let timestamp = identifier(TIMESTAMP_COLUMN);
    let _ = write!(sql, "{timestamp} TIMESTAMP");
    for symbol in symbols {
        let _ = write!(sql, ", {} SYMBOL", identifier(symbol));
    }
    let _ = write!(sql, ") TIMESTAMP({timestamp}) PARTITION BY {}", partition(shape.partition_by));
    if let Some(ttl) = shape.ttl {
        let _ = write!(sql, " TTL {} HOURS", hours(ttl));
    }
    let _ = write!(sql, " WAL DEDUP UPSERT KEYS({})", key_list(TIMESTAMP_COLUMN, symbols));
    sql
}

/// QuestDB's word for how a table is partitioned.
pub fn partition(by: PartitionBy) -> &'static str {
    match by {
        PartitionBy::Hour => "HOUR",
        PartitionBy::Day => "DAY",
        PartitionBy::Week => "WEEK",
        PartitionBy::Month => "MONTH",
        PartitionBy::Year => "YEAR",
    }
}

/// In whole hours, rounded up.
fn hours(ttl: Duration) -> u64 {
    ttl.as_secs().div_ceil(3600).max(1)
}

/// `ALTER TABLE`: the time to live of its rows.
pub fn set_ttl(table: &str, ttl: Duration) -> String {
    format!("ALTER TABLE {} SET TTL {} HOURS", identifier(table), hours(ttl))
}

/// `RENAME TABLE`.
pub fn rename_table(table: &str, to: &str) -> String {
    format!("RENAME TABLE {} TO {}", identifier(table), identifier(to))
}

/// What has a non-WAL table become a WAL table with the server's next restart.
pub fn make_wal(table: &str) -> String {
    format!("ALTER TABLE {} SET TYPE WAL", identifier(table))
}

/// `ALTER TABLE`: one more symbol column.
pub fn add_symbol(table: &str, symbol: &str) -> String {
    format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} SYMBOL", identifier(table), identifier(symbol))
}

/// `ALTER TABLE`: deduplication by the timestamp and these columns.
pub fn set_keys(table: &str, timestamp: &str, keys: &[&str]) -> String {
    format!("ALTER TABLE {} DEDUP ENABLE UPSERT KEYS({})", identifier(table), key_list(timestamp, keys))
}

fn key_list(timestamp: &str, keys: &[&str]) -> String {
    let mut list = identifier(timestamp);
    for key in keys {
        let _ = write!(list, ", {}", identifier(key));
    }
    list
}

/// Name, `walEnabled`, `dedup`, number, last transaction accepted, partitioning, `matView`, type and last transaction applied of these
/// tables (folded names): SQL's `lower` folds names as QuestDB does (docs/names.md).
pub fn find_tables(names: &[String]) -> String {
    format!(
        "SELECT t.table_name, t.walEnabled, t.dedup, t.id, w.sequencerTxn, t.partitionBy, t.matView, t.table_type, w.writerTxn \
         FROM tables() t LEFT JOIN wal_tables() w ON w.name = t.table_name WHERE lower(t.table_name) IN ({})",
        literals(names)
    )
}

/// The same of versions that tell less.
pub fn find_tables_of_old(names: &[String]) -> String {
    format!("SELECT table_name, walEnabled, dedup, id FROM tables() WHERE lower(table_name) IN ({})", literals(names))
}

/// Name, type, `designated` and `upsertKey` of each column of these tables, and the table's place among them.
pub fn describe_tables(tables: &[String]) -> String {
    let of = |(number, table): (usize, &String)| {
        format!("SELECT \"column\", type, designated, upsertKey, {number} FROM table_columns({})", literal(table))
    };
    tables.iter().enumerate().map(of).collect::<Vec<_>>().join(" UNION ALL ")
}

/// When the server was started.
pub const SERVER_STARTED: &str = "SELECT pg_postmaster_start_time()";

/// One value of a column, if it has any.
pub fn first_value(table: &str, column: &str) -> String {
    let column = identifier(column);
    format!("SELECT {column} FROM {} WHERE {column} IS NOT NULL LIMIT 1", identifier(table))
}

/// Applied and committed transaction of a WAL table, and whether it is suspended.
pub fn wal_state(table: &str) -> String {
    format!("SELECT writerTxn, sequencerTxn, suspended FROM wal_tables() WHERE lower(name) = lower({})", literal(table))
}

/// The write-ahead logs of these tables (folded names): name, `suspended`, applied and committed
/// transaction, error and its message, memory pressure, rows that wait to be applied.
pub fn wal_tables(names: &[String]) -> String {
    format!(
        "SELECT w.name, w.suspended, w.writerTxn, w.sequencerTxn, w.errorTag, w.errorMessage, w.memoryPressure, \
         t.wal_pending_row_count FROM wal_tables() w LEFT JOIN tables() t ON t.table_name = w.name WHERE lower(w.name) IN ({})",
        literals(names)
    )
}

/// The same of versions that tell less.
pub fn wal_tables_of_old(names: &[String]) -> String {
    format!(
        "SELECT name, suspended, writerTxn, sequencerTxn FROM wal_tables() WHERE lower(name) IN ({})",
        literals(names)
    )
}

fn literals(names: &[String]) -> String {
    names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(",")
}

/// What has QuestDB apply a table's write-ahead log again.
pub fn resume_wal(table: &str) -> String {
    format!("ALTER TABLE {} RESUME WAL", identifier(table))
}

/// Time and symbols of a table's rows at certain times (literals, each a moment to the microsecond), where symbols have one of the
/// values listed (literals).
pub fn rows_at(
    table: &str,
    timestamp: &str,
    times: &BTreeSet<String>,
    symbols: &[&str],
    narrow: &[(&str, BTreeSet<String>)],
    limit: usize,
) -> String {
    let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut sql = format!("SELECT DISTINCT {}", identifier(timestamp));
    for symbol in symbols {
        let _ = write!(sql, ", {}", identifier(symbol));
    }
    let _ = write!(sql, " FROM {} WHERE {} IN ({})", identifier(table), identifier(timestamp), list(times));
    for (symbol, values) in narrow {
        let _ = write!(sql, " AND {} IN ({})", identifier(symbol), list(values));
    }
    let _ = write!(sql, " LIMIT {limit}");
    sql
}

/// Time to live of a table's rows as number and unit, and its newest time.
pub fn time_to_live(table: &str) -> String {
    format!(
        "SELECT ttlValue, ttlUnit, table_max_timestamp FROM tables() WHERE lower(table_name) = lower({})",
        literal(table)
    )
}

/// Rows of a table from one time to another (RFC 3339), both included.
pub fn between(table: &str, timestamp: &str, first: &str, last: &str, limit: usize) -> String {
    let (table, timestamp) = (identifier(table), identifier(timestamp));
    format!("SELECT * FROM {table} WHERE {timestamp} BETWEEN '{first}' AND '{last}' LIMIT {limit}")
}

/// Rows of a table at these times (RFC 3339), from one number on and before another.
pub fn at_moments(table: &str, timestamp: &str, times: &[String], from: usize, before: usize) -> String {
    let times: Vec<String> = times.iter().map(|time| literal(time)).collect();
    let (table, timestamp, times) = (identifier(table), identifier(timestamp), times.join(","));
    format!("SELECT * FROM {table} WHERE {timestamp} IN ({times}) LIMIT {from}, {before}")
}

/// A condition: each of these columns has that value; empty for none.
pub fn all_equal<N: AsRef<str>, V: AsRef<str>>(values: &[(N, V)]) -> String {
    let equal = |(name, value): &(N, V)| format!("{} = {}", identifier(name.as_ref()), literal(value.as_ref()));
    values.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// The latest row of each series of a table for which one of the conditions holds; of all when there are none, or an empty one.
pub fn latest_where(table: &str, timestamp: &str, symbols: &[&str], conditions: &[String], limit: usize) -> String {
    let mut sql = format!("SELECT * FROM {}", identifier(table));
    if !conditions.is_empty() && conditions.iter().all(|condition| !condition.is_empty()) {
        let _ = write!(sql, " WHERE ({})", conditions.join(") OR ("));
    }
    let partition: Vec<_> = symbols.iter().map(|symbol| identifier(symbol)).collect();
    if partition.is_empty() {
        let _ = write!(sql, " ORDER BY {} DESC LIMIT 1", identifier(timestamp));
    } else {
        let _ = write!(sql, " LATEST ON {} PARTITION BY {} LIMIT {limit}", identifier(timestamp), partition.join(", "));
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_read_as_documented() {
        let shape = NewTable { partition_by: PartitionBy::Day, ttl: Some(Duration::from_secs(3601)) };
        assert_eq!(
            create_table("sensors", &["device"], shape),
            "CREATE TABLE IF NOT EXISTS \"sensors\" (\"timestamp\" TIMESTAMP, \"device\" SYMBOL) TIMESTAMP(\"timestamp\") \
             PARTITION BY DAY TTL 2 HOURS WAL DEDUP UPSERT KEYS(\"timestamp\", \"device\")"
        );
        assert_eq!(add_symbol("t", "site"), "ALTER TABLE \"t\" ADD COLUMN IF NOT EXISTS \"site\" SYMBOL");
        assert_eq!(
            set_keys("t", "ts", &["a", "b"]),
            "ALTER TABLE \"t\" DEDUP ENABLE UPSERT KEYS(\"ts\", \"a\", \"b\")"
        );
        assert_eq!(
            latest_where("t", "ts", &["d"], &[all_equal(&[("d", "o'1")])], 10),
            "SELECT * FROM \"t\" WHERE (\"d\" = 'o''1') LATEST ON \"ts\" PARTITION BY \"d\" LIMIT 10"
        );
        assert_eq!(
            latest_where("t", "ts", &[], &[String::new()], 10),
            "SELECT * FROM \"t\" ORDER BY \"ts\" DESC LIMIT 1"
        );
    }

    #[test]
    fn quotes_cannot_be_escaped_from() {
        assert_eq!(identifier("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
        assert_eq!(literal("a'; DROP"), "'a''; DROP'");
    }
}
