//! How many columns a table and how many tables a source may get (pure but for one lock).
//!
//! A column costs QuestDB megabytes, a table a hundred of them. A device that makes up names would fill its disk, or suspend a table
//! for every other device of it. So the way in asks here before it lets a new name in, and each lane asks for rows that were in the ring
//! before the limits were. Both go by [`Columns`].

mod allowance;
mod book;
mod columns;

pub use self::{
    allowance::{Allowance, LeftOut, LimitStatus, Owner, WRITE},
    book::Book,
    columns::{Columns, FIRST_COLUMNS},
};
use crate::settings;

/// The limits, of `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Most columns a table may get, the time's included.
    pub columns: usize,
    /// Most tables a source may bring.
    pub tables: usize,
    /// Most new columns a table gets a minute, once it has its first [`FIRST_COLUMNS`].
    pub new_columns: usize,
}

impl From<&settings::Limits> for Rules {
    fn from(limits: &settings::Limits) -> Self {
        Self {
            columns: limits.columns_per_table.into(),
            tables: limits.tables_per_source.into(),
            new_columns: limits.new_columns_per_minute.into(),
        }
    }
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excess {
    /// The table has as many columns as it may get.
    Columns,
    /// The table got as many new columns as a minute allows.
    Rate,
    /// The source has brought as many tables as it may.
    Tables,
}

impl Excess {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Columns, Self::Rate, Self::Tables];

    /// The key of `[limits]`, which names it in status and metrics too.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Columns => "columns_per_table",
            Self::Rate => "new_columns_per_minute",
            Self::Tables => "tables_per_source",
        }
    }
}
