//! What a sensor says: values, rows and the series they belong to.

use std::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{names, tally::Counts};

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
    /// The last there is.
    pub const MAX: Self = Self(i64::MAX);

    /// The time cut to whole microseconds, the resolution of QuestDB's `TIMESTAMP` column.
    #[must_use]
    pub fn to_micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// So much later, at most [`Timestamp::MAX`].
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_nanos()).unwrap_or(i64::MAX)))
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
    /// true or false of a field that is declared to be a boolean (`BOOLEAN`, where null reads as
    /// false).
    Bool(bool),
    /// true or false of any other field: 1 or 0 of a `LONG`, here and in answers.
    #[serde(skip_deserializing, serialize_with = "number_of")]
    Flag(bool),
    /// A whole number of a field whose type is not declared, and that a 64-bit float does not hold
    /// exactly.
    #[serde(skip_deserializing)]
    Whole(i64),
    /// A 64-bit signed integer (`LONG`).
    Long(i64),
    /// A 64-bit float (`DOUBLE`).
    Double(f64),
    /// A string (`VARCHAR`).
    Text(Text),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn number_of<S: serde::Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*flag))
}

/// One reading: a moment, the symbols that name its series within the table, and its fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// Event time. `None` until ingest gives a reading without a device timestamp its receive time.
    pub time: Option<Timestamp>,
    /// Whether `time` came from the device (true) or from the time of receipt (false).
    pub device_time: bool,
    /// Symbol name and value, sorted by name ([`names::cmp`]), each name once.
    pub symbols: Vec<(Text, Text)>,
    /// Field name and value in the order of the payload, each name once; those that were completed come last.
    pub fields: Vec<(Text, Value)>,
    /// How many of the fields, the last ones, were taken over from other rows of the same series and moment.
    pub completed: u16,
    /// Whether it stays a row of its own beside others of its series and microsecond that say something else. Not stored: its
    /// time tells them apart once it has entered.
    pub apart: bool,
    /// Which of its message's tables it belongs to, where these are several. Not stored.
    pub table: u16,
    /// What is to be said of it.
    pub notes: RowNotes,
}

/// What is to be said of a row: its source's counters of these names go up by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowNotes {
    /// How many rows of its moment it took the place of that had another value.
    pub replaced: u16,
    /// It is older than what is remembered of its series: nobody can say what it replaced.
    pub uncompared: bool,
    /// Its time is that of receipt because the device's was missing or unusable.
    pub untimed: bool,
}

impl RowNotes {
    /// The notes as the lowest bits of a byte, which tell not how many rows were replaced, if there
    /// were several.
    #[must_use]
    pub fn bits(self) -> u8 {
        u8::from(self.replaced > 0) | u8::from(self.uncompared) << 1 | u8::from(self.untimed) << 2
    }

    /// Notes from the lowest bits of a byte.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self { replaced: u16::from(bits & 1 != 0), uncompared: bits & 2 != 0, untimed: bits & 4 != 0 }
    }

    /// Takes over the notes of a row that has become a part of this one.
    pub fn join(&mut self, other: Self) {
        self.replaced = self.replaced.saturating_add(other.replaced);
        self.uncompared |= other.uncompared;
        self.untimed |= other.untimed;
    }

    /// Whether there is nothing to be said.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// What the row adds to the counts of its source.
    #[must_use]
    pub fn counts(self) -> Counts {
        Counts {
            replaced: self.replaced.into(),
            uncompared: self.uncompared.into(),
            untimed: self.untimed.into(),
            ..Counts::default()
        }
    }
}

impl Row {
    /// The fields that the reading itself brought.
    #[must_use]
    pub fn own_fields(&self) -> &[(Text, Value)] {
        &self.fields[..self.fields.len().saturating_sub(usize::from(self.completed))]
    }

    /// Puts the symbols into their canonical order (by name); the order is part of the series key.
    pub fn sort_symbols(&mut self) {
        self.symbols.sort_unstable_by(|a, b| names::cmp(&a.0, &b.0));
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
