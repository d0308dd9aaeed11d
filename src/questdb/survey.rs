//! What QuestDB tells of several tables at once: which ones they are, and their columns.

use serde_json::Value;

use super::{
    Sql, SqlError, answer, cut,
    identity::{Identity, Kind},
    sql::{ColumnInfo, TableInfo},
    statement,
    wal::portions,
};
use crate::names;

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
            let answer = answer.beginning_with(&["table_name", "walEnabled", "dedup"])?;
            for row in &answer.rows {
                let info = read_table(row)?;
                if !names.iter().any(|name| names::same(name, &info.name)) {
                    let name = cut(&info.name);
                    return Err(SqlError::Answer(format!("it is about table {name:?}, which was not asked for")));
                }
                found.push(info);
            }
        }
        for name in names.iter().filter(|name| may_be_hidden(name)) {
            if !found.iter().any(|table| names::same(&table.name, name)) {
                found.extend(self.find_hidden(name)?);
            }
        }
        Ok(found)
    }

    /// A table that QuestDB takes for one of its own for its name, and leaves out where it lists tables. It takes rows like others.
    fn find_hidden(&self, name: &str) -> Result<Option<TableInfo>, SqlError> {
        let answer = self.query(&statement::wal_tables_of_old(&[name.to_owned()]))?.beginning_with(&["name"])?;
        let Some(row) = answer.rows.first() else { return Ok(None) };
        let name = answer::text(row, 0)?.to_owned();
        let Some(columns) = self.columns_of(std::slice::from_ref(&name))? else { return Ok(None) };
        let dedup = columns.iter().flatten().any(|column| column.key);
        Ok(Some(TableInfo { name, wal: true, dedup, ..TableInfo::default() }))
    }

    /// The columns of these tables (by their own names), each table's in their order; none where one of them was dropped meanwhile.
    pub fn columns_of(&self, tables: &[String]) -> Result<Option<Vec<Vec<ColumnInfo>>>, SqlError> {
        let mut found = Vec::with_capacity(tables.len());
        for tables in tables.chunks(MAX_DESCRIBED) {
            let answer = match self.query(&statement::describe_tables(tables)) {
                Err(SqlError::Refused { message, .. }) if message.contains("does not exist") => return Ok(None),
                answer => answer?.beginning_with(&["column", "type", "designated", "upsertKey"])?,
            };
            let mut of: Vec<Vec<ColumnInfo>> = vec![Vec::new(); tables.len()];
            for row in &answer.rows {
                let number = usize::try_from(answer::number(row, 4)?).ok();
                let columns = number.and_then(|number| of.get_mut(number));
                let unasked = || SqlError::Answer("it has a column of a table that was not asked for".to_owned());
                columns.ok_or_else(unasked)?.push(read_column(row)?);
            }
            if let Some(bare) = of.iter().position(Vec::is_empty) {
                return Err(SqlError::Answer(format!("it has no column of table {:?}", cut(&tables[bare]))));
            }
            found.append(&mut of);
        }
        Ok(Some(found))
    }
}

/// Whether QuestDB may take a table of this folded name for one of its own.
fn may_be_hidden(name: &str) -> bool {
    name.starts_with("sys.") || name.starts_with("telemetry")
}

/// Reads a row of [`statement::find_tables`]; what older versions do not tell may be missing.
fn read_table(row: &[Value]) -> Result<TableInfo, SqlError> {
    let number = |at: usize| row.get(at).and_then(Value::as_i64);
    let text = |at: usize| row.get(at).and_then(Value::as_str).unwrap_or_default();
    let is_view = row.get(6).and_then(Value::as_bool).unwrap_or_default();
    let kind = match (text(7), is_view) {
        ("V", _) => Kind::View,
        ("M", _) | (_, true) => Kind::MaterializedView,
        _ => Kind::Table,
    };
    let partition_by = text(5).to_owned();
    let identity = Identity { id: number(3), kind, partition_by, accepted: number(4), applied: number(8) };
    let name = answer::text(row, 0)?.to_owned();
    Ok(TableInfo { name, wal: answer::flag(row, 1)?, dedup: answer::flag(row, 2)?, columns: Vec::new(), identity })
}

fn read_column(row: &[Value]) -> Result<ColumnInfo, SqlError> {
    let [name, kind] = [answer::text(row, 0)?, answer::text(row, 1)?].map(str::to_owned);
    Ok(ColumnInfo { name, kind, designated: answer::flag(row, 2)?, key: answer::flag(row, 3)? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_older_versions_do_not_tell_may_be_missing() {
        let read = |row: Value| read_table(row.as_array().unwrap()).unwrap();
        let table = read(json!(["t", true, true, 6, 9, "DAY", false, "T", 8]));
        assert_eq!((table.identity.id, table.identity.accepted, table.identity.kind), (Some(6), Some(9), Kind::Table));
        assert_eq!(table.identity.applied, Some(8));
        assert_eq!(read(json!(["v", false, false, 6, null, "N/A", false, "V"])).identity.kind, Kind::View);
        assert_eq!(read(json!(["m", true, false, 6, 1, "DAY", true, null])).identity.kind, Kind::MaterializedView);
        let old = read(json!(["t", true, true]));
        assert_eq!((old.identity, old.wal, old.dedup), (Identity::default(), true, true));
        assert!(read_table(&[]).is_err() && read_table(&[json!("t"), json!(true)]).is_err());
    }
}
