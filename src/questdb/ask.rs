//! The questions a lane asks about the server and its tables, as a trait: a simulated database answers them in tests.

use std::time::Duration;

use super::{
    Sql, SqlError,
    sql::{ColumnInfo, TableInfo},
};

/// What is asked and changed by SQL while rows are sent. [`Sql`] asks QuestDB.
pub trait Ask: Send + Sync {
    /// Whether the server answers at all.
    fn ping(&self, timeout: Duration) -> Result<(), SqlError>;

    /// When the server was started, in its own words; none when it never tells.
    fn started(&self) -> Result<Option<String>, SqlError>;

    /// What is known of a table; none when there is no such table.
    fn table_info(&self, table: &str) -> Result<Option<TableInfo>, SqlError>;

    /// What is known of these tables (folded names), but for their columns; those that do not exist are left out.
    fn survey(&self, names: &[String]) -> Result<Vec<TableInfo>, SqlError>;

    /// The columns of these tables (by their own names), each table's in their order; none where one of them was dropped meanwhile.
    fn columns_of(&self, tables: &[String]) -> Result<Option<Vec<Vec<ColumnInfo>>>, SqlError>;

    /// Whether some row of a table has a value in a column.
    fn is_used(&self, table: &str, column: &str) -> Result<bool, SqlError>;

    /// Whether the table has accepted transactions that it is going to apply, so that its description may be behind.
    fn is_applying(&self, table: &str) -> Result<bool, SqlError>;

    /// Runs a statement that makes or changes a table.
    fn change(&self, statement: &str) -> Result<(), SqlError>;
}

impl Ask for Sql {
    fn ping(&self, timeout: Duration) -> Result<(), SqlError> {
        Self::ping(self, timeout)
    }

    fn started(&self) -> Result<Option<String>, SqlError> {
        Self::started(self)
    }

    fn table_info(&self, table: &str) -> Result<Option<TableInfo>, SqlError> {
        Self::table_info(self, table)
    }

    fn survey(&self, names: &[String]) -> Result<Vec<TableInfo>, SqlError> {
        Self::survey(self, names)
    }

    fn columns_of(&self, tables: &[String]) -> Result<Option<Vec<Vec<ColumnInfo>>>, SqlError> {
        Self::columns_of(self, tables)
    }

    fn is_used(&self, table: &str, column: &str) -> Result<bool, SqlError> {
        Self::is_used(self, table, column)
    }

    fn is_applying(&self, table: &str) -> Result<bool, SqlError> {
        Self::is_applying(self, table)
    }

    fn change(&self, statement: &str) -> Result<(), SqlError> {
        Self::change(self, statement)
    }
}
