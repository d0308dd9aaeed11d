//! What a sensor says: values, rows and the series they belong to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A short string kept inline up to 24 bytes: table, symbol and field names, and most symbol values.
pub type Text = compact_str::CompactString;

/// Longest table, symbol or field name in bytes (QuestDB's own limit is 127).
pub const MAX_NAME_BYTES: usize = 127;
/// Longest symbol value in bytes.
pub const MAX_SYMBOL_BYTES: usize = 1024;
/// Most symbols a row may carry.
pub const MAX_SYMBOLS: usize = 64;
/// Most fields a row may carry.
pub const MAX_FIELDS: usize = 1024;
/// Most rows one message may carry.
pub const MAX_ROWS_PER_MESSAGE: usize = 10_000;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time cut to whole microseconds, the resolution of QuestDB's `TIMESTAMP` column.
    #[must_use]
    pub fn to_micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with as many fractional digits as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}

/// One field's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// true or false (`BOOLEAN`).
    Bool(bool),
    /// A 64-bit signed integer (`LONG`).
    Long(i64),
    /// A 64-bit float (`DOUBLE`).
    Double(f64),
    /// A string (`VARCHAR`).
    Text(Text),
}

/// One reading: a moment, the symbols that name its series within the table, and its fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// Event time. `None` until ingest gives a reading without a device timestamp its receive time.
    pub time: Option<Timestamp>,
    /// Whether `time` came from the device (true) or from the time of receipt (false).
    pub device_time: bool,
    /// Symbol name and value, sorted by name, each name once.
    pub symbols: Vec<(Text, Text)>,
    /// Field name and value in the order of the payload, each name once.
    pub fields: Vec<(Text, Value)>,
}

impl Row {
    /// Puts the symbols into their canonical order (by name); the order is part of the series key.
    pub fn sort_symbols(&mut self) {
        self.symbols.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    }
}

/// When a message arrived, on both clocks, so that a wrong wall clock can be put right later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Wall clock.
    pub wall: Timestamp,
    /// Nanoseconds since this boot (`CLOCK_BOOTTIME`).
    pub since_boot_ns: u64,
}
