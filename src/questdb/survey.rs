//! What QuestDB tells of several tables at once: which ones they are, and their columns.

use serde_json::Value;

use super::{
    Sql, SqlError,
    identity::{Identity, Kind},
    sql::{ColumnInfo, TableInfo},
    statement,
    wal::portions,
};

/// Tables whose columns are asked for in one statement.
const MAX_DESCRIBED: usize = 64;

impl Sql {
    /// What is known of these tables (folded names), but for their columns; those that do not exist are left out.
    pub fn survey(&self, names: &[String]) -> Result<Vec<TableInfo>, SqlError> {
        let mut found = Vec::new();
        for names in portions(names) {
            let answer = match self.query(&statement::find_tables(names)) {
                // Versions that know no views.
                Err(SqlError::Refused { message, .. }) if message.to_lowercase().contains("invalid column") => {
                    self.query(&statement::find_tables_of_old(names))?
                }
                answer => answer?,
            };
            found.extend(answer.rows.iter().map(|row| read_table(row)));
        }
        Ok(found)
    }

    /// The columns of these tables (by their own names), each table's in their order; none where one of them was dropped meanwhile.
    pub fn columns_of(&self, tables: &[String]) -> Result<Option<Vec<Vec<ColumnInfo>>>, SqlError> {
        let mut found = Vec::with_capacity(tables.len());
        for tables in tables.chunks(MAX_DESCRIBED) {
            let answer = match self.query(&statement::describe_tables(tables)) {
                Err(SqlError::Refused { message, .. }) if message.contains("does not exist") => return Ok(None),
                answer => answer?,
            };
            let mut of: Vec<Vec<ColumnInfo>> = vec![Vec::new(); tables.len()];
            for row in &answer.rows {
                let number = row.get(4).and_then(Value::as_u64).unwrap_or(0) as usize;
                if let Some(columns) = of.get_mut(number) {
                    columns.push(read_column(row));
                }
            }
            found.append(&mut of);
        }
        Ok(Some(found))
    }
}

fn text(row: &[Value], at: usize) -> &str {
    row.get(at).and_then(Value::as_str).unwrap_or_default()
}

fn flag(row: &[Value], at: usize) -> bool {
    row.get(at).and_then(Value::as_bool).unwrap_or_default()
}

/// Reads a row of [`statement::find_tables`] leniently.
fn read_table(row: &[Value]) -> TableInfo {
    let number = |at: usize| row.get(at).and_then(Value::as_i64);
    let kind = match (text(row, 7), flag(row, 6)) {
        ("V", _) => Kind::View,
        ("M", _) | (_, true) => Kind::MaterializedView,
        _ => Kind::Table,
    };
    let partition_by = text(row, 5).to_owned();
    let identity = Identity { id: number(3), kind, partition_by, accepted: number(4), applied: number(8) };
    TableInfo { name: text(row, 0).to_owned(), wal: flag(row, 1), dedup: flag(row, 2), columns: Vec::new(), identity }
}

fn read_column(row: &[Value]) -> ColumnInfo {
    let [name, kind] = [0, 1].map(|at| text(row, at).to_owned());
    ColumnInfo { name, kind, designated: flag(row, 2), key: flag(row, 3) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_leniently() {
        let read = |row: Value| read_table(row.as_array().unwrap());
        let table = read(json!(["t", true, true, 6, 9, "DAY", false, "T", 8]));
        assert_eq!((table.identity.id, table.identity.accepted, table.identity.kind), (Some(6), Some(9), Kind::Table));
        assert_eq!(table.identity.applied, Some(8));
        assert_eq!(read(json!(["v", false, false, 6, null, "N/A", false, "V"])).identity.kind, Kind::View);
        assert_eq!(read(json!(["m", true, false, 6, 1, "DAY", true, null])).identity.kind, Kind::MaterializedView);
        let old = read(json!(["t", true, true]));
        assert_eq!((old.identity, old.wal, old.dedup), (Identity::default(), true, true));
        assert_eq!(read(json!([])), TableInfo::default());
    }
}
