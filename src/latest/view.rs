//! A series as it is answered, watched and published: borrowed from the map, and written without a copy.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{FROM_DATABASE, Field, Series};
use crate::{
    marks::State,
    point::{Text, Timestamp},
};

/// A moment, written as text.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A series now. Clients read it as [`SeriesView`](crate::control::api::SeriesView), which says what the members mean.
#[derive(Debug, Clone, Serialize)]
pub struct View<'a> {
    /// The table.
    pub table: &'a str,
    /// By name.
    #[serde(serialize_with = "symbols")]
    pub symbols: &'a [(Text, Text)],
    /// By name.
    #[serde(serialize_with = "values")]
    pub fields: Vec<&'a Field>,
    /// Event time of the newest value.
    pub time: Rfc3339,
    #[serde(rename = "field_times", skip_serializing_if = "Vec::is_empty", serialize_with = "times")]
    older: Vec<&'a Field>,
    /// When the newest value was received, unless it came from the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Rfc3339>,
    /// From `time` to now.
    pub age_ms: u64,
    /// Whether that is long.
    pub stale: bool,
    /// How far the last reading that changed a value has come.
    pub state: State,
    /// Where the newest value is from.
    pub source: &'static str,
    /// The last record that holds any of the values.
    pub seq: u64,
}

impl<'a> View<'a> {
    /// The view of a series now.
    pub fn new(series: &'a Series, state: State, now: Timestamp, stale_after: Duration) -> Self {
        let newest = series.newest();
        let time = newest.map(|field| field.time).unwrap_or_default();
        let age_ns = now.0.saturating_sub(time.0).max(0) as u64;
        let from_database = newest.is_some_and(|field| field.seq == FROM_DATABASE);
        let mut fields: Vec<&Field> = series.fields.iter().collect();
        fields.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self {
            table: &series.key.table,
            symbols: &series.key.symbols,
            older: fields.iter().copied().filter(|field| field.time != time).collect(),
            fields,
            time: Rfc3339(time),
            received: newest.filter(|_| !from_database).map(|field| Rfc3339(field.received)),
            age_ms: age_ns / 1_000_000,
            stale: Duration::from_nanos(age_ns) > stale_after,
            state,
            source: if from_database { "questdb" } else { "memory" },
            seq: series.seq().0,
        }
    }
}

fn symbols<S: Serializer>(symbols: &[(Text, Text)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(symbols.iter().map(|(name, value)| (name, value)))
}

fn values<S: Serializer>(fields: &[&Field], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|field| (&field.name, &field.value)))
}

fn times<S: Serializer>(fields: &[&Field], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|field| (&field.name, Rfc3339(field.time))))
}
