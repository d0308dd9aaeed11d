//! What tells a table from others that have had its name.

/// What it is that has the name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A table.
    #[default]
    Table,
    /// A view: it takes no rows.
    View,
    /// A materialized view: it takes no rows from outside.
    MaterializedView,
}

impl Kind {
    /// What it is called.
    pub fn words(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
        }
    }
}

/// A table's identity, as far as QuestDB tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// QuestDB's number of it. One that is made again has another; a renamed one keeps its own.
    pub id: Option<i64>,
    /// What it is.
    pub kind: Kind,
    /// How it is partitioned, such as `DAY`; empty where that is not told.
    pub partition_by: String,
    /// Last transaction accepted. Each request with rows of the table brings one at least.
    pub accepted: Option<i64>,
    /// Last transaction applied: what QuestDB tells of columns and keys is of that time.
    pub applied: Option<i64>,
}
