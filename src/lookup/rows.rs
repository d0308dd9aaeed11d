//! Questions about a table as one statement, and the rows of its answer. Pure.

use serde_json::Value as Json;

use crate::{
    latest::Filter,
    names,
    point::{MAX_FIELDS, MAX_NAME_BYTES, MAX_SYMBOL_BYTES, MAX_SYMBOLS, Row, Text, Timestamp, Value},
    questdb::{
        SqlError, Table,
        fit::{Holds, Sibling},
        sql::{ColumnInfo, TableInfo},
        statement,
    },
};

/// Most rows of an answer.
pub const MAX_ROWS: usize = 10_000;
/// Longest list of conditions in a statement, in bytes; without them the answer is larger, and as right.
const MAX_CONDITIONS_BYTES: usize = 8 << 10;

/// A table whose latest rows can be asked for.
#[derive(Debug)]
pub struct Asked {
    table: String,
    timestamp: String,
    columns: Vec<ColumnInfo>,
}

impl Asked {
    /// The table; none when it has no time to go by.
    pub fn new(info: TableInfo) -> Option<Self> {
        let timestamp = info.columns.iter().find(|column| column.designated)?.name.clone();
        let symbols = info.columns.iter().filter(|column| is_symbol(column)).count();
        (symbols <= MAX_SYMBOLS).then_some(Self { table: info.name, timestamp, columns: info.columns })
    }

    /// Its name in QuestDB.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Whether the table has the symbols that a question names.
    pub fn can_answer(&self, filter: &Filter) -> bool {
        let has = |name: &Text| self.columns.iter().any(|column| is_symbol(column) && names::same(name, &column.name));
        filter.symbols().iter().all(|(name, _)| has(name))
    }

    /// The latest row of every series that one of these questions means.
    pub fn statement<'f>(&self, filters: impl Iterator<Item = &'f Filter>) -> String {
        let symbols: Vec<&str> = self.columns.iter().filter(|c| is_symbol(c)).map(|c| c.name.as_str()).collect();
        let conditions: Vec<String> = filters.map(|filter| statement::all_equal(filter.symbols())).collect();
        let length: usize = conditions.iter().map(String::len).sum();
        let conditions = if length <= MAX_CONDITIONS_BYTES { conditions.as_slice() } else { &[] };
        statement::latest_where(&self.table, &self.timestamp, &symbols, conditions, MAX_ROWS)
    }

    /// The rows of the answer, each with its time. What is no value of forebay's (other types, names too long), and columns that have come
    /// since the table was described, are left out.
    pub fn rows(&self, answer: &Table) -> Result<Vec<Row>, SqlError> {
        let known = |name: &String| self.columns.iter().find(|column| column.name == *name);
        let columns: Vec<Option<&ColumnInfo>> = answer.columns.iter().map(known).collect();
        let untimed = || SqlError::Answer(format!("a row of table {:?} without a time", self.table));
        answer.rows.iter().map(|cells| row(&columns, cells).ok_or_else(untimed)).collect()
    }
}

fn is_symbol(column: &ColumnInfo) -> bool {
    column.kind == "SYMBOL"
}

fn row(columns: &[Option<&ColumnInfo>], cells: &[Json]) -> Option<Row> {
    let mut row = Row { device_time: true, ..Row::default() };
    for (column, cell) in columns.iter().zip(cells) {
        let Some(column) = column.filter(|column| column.name.len() <= MAX_NAME_BYTES) else { continue };
        if column.designated {
            let time: jiff::Timestamp = cell.as_str()?.parse().ok()?;
            row.time = Some(Timestamp(i64::try_from(time.as_nanosecond()).ok()?));
        } else if is_symbol(column) {
            if let Some(text) = cell.as_str().filter(|text| text.len() <= MAX_SYMBOL_BYTES) {
                row.symbols.push((column.name.as_str().into(), text.into()));
            }
        } else if let Some(value) = value(&column.kind, cell)
            && row.fields.len() < MAX_FIELDS
        {
            row.fields.push((column.name.as_str().into(), value));
        }
    }
    join_siblings(&mut row, columns);
    row.sort_symbols();
    row.time.is_some().then_some(row)
}

/// Gives values of columns beside others to the fields that they are of.
fn join_siblings(row: &mut Row, columns: &[Option<&ColumnInfo>]) {
    let column = |name: &str| columns.iter().flatten().copied().find(|column| names::same(&column.name, name));
    for at in 0..row.fields.len() {
        let name = row.fields[at].0.clone();
        let beside = Sibling::ALL.into_iter().find_map(|sibling| Some((sibling, name.strip_suffix(sibling.suffix())?)));
        let Some((sibling, base)) = beside else { continue };
        let (Some(own), Some(of)) = (column(&name), column(base)) else { continue };
        let holds = Holds::of(&of.kind);
        // A column of the device's own that only has such a name is beside nothing that could not
        // hold its values.
        let is_sibling = Holds::of(&own.kind) == sibling.holds() && holds != sibling.holds();
        if !is_sibling || row.fields.iter().any(|(other, _)| names::same(other, base)) {
            continue;
        }
        let (field, value) = &mut row.fields[at];
        *field = of.name.as_str().into();
        if let (Sibling::Boolean, Value::Long(number)) = (sibling, &*value) {
            *value = Value::Flag(*number != 0);
        }
    }
}

fn value(kind: &str, cell: &Json) -> Option<Value> {
    match kind {
        // The type has no null: false may as well say that there was none.
        "BOOLEAN" => cell.as_bool().filter(|value| *value).map(Value::Bool),
        "BYTE" | "SHORT" | "INT" | "LONG" => cell.as_i64().map(Value::Long),
        "FLOAT" | "DOUBLE" => cell.as_f64().map(Value::Double),
        "STRING" | "VARCHAR" => cell.as_str().map(|text| Value::Text(text.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(name: &str, kind: &str) -> ColumnInfo {
        ColumnInfo { name: name.into(), kind: kind.into(), designated: name == "ts", key: false }
    }

    fn asked() -> Asked {
        let columns = [("site", "SYMBOL"), ("device", "SYMBOL"), ("ts", "TIMESTAMP"), ("x", "DOUBLE"), ("n", "LONG")];
        let others = [("ok", "BOOLEAN"), ("note", "VARCHAR"), ("at", "TIMESTAMP"), ("id", "UUID")];
        let columns = columns.iter().chain(&others).map(|(name, kind)| column(name, kind)).collect();
        Asked::new(TableInfo { name: "t".into(), wal: true, dedup: true, columns, ..TableInfo::default() }).unwrap()
    }

    #[test]
    fn a_value_beside_its_column_is_that_of_the_field_and_false_may_be_nothing() {
        let columns =
            [("ts", "TIMESTAMP"), ("v", "DOUBLE"), ("v_string", "VARCHAR"), ("v_boolean", "LONG"), ("ok", "BOOLEAN")];
        let columns = columns.iter().map(|(name, kind)| column(name, kind)).collect();
        let asked = Asked::new(TableInfo { name: "t".into(), wal: true, dedup: true, columns, ..TableInfo::default() })
            .unwrap();
        let names = ["ts", "v", "v_string", "v_boolean", "ok"].map(str::to_owned).to_vec();
        let at = "2026-01-01T00:00:00Z";
        let cells = [
            (json!([at, null, "unavailable", null, false]), vec![("v".into(), Value::Text("unavailable".into()))]),
            (json!([at, null, null, 1, true]), vec![("v".into(), Value::Flag(true)), ("ok".into(), Value::Bool(true))]),
            (
                json!([at, 1.5, "own", null, false]),
                vec![("v".into(), Value::Double(1.5)), ("v_string".into(), Value::Text("own".into()))],
            ),
        ];
        for (cells, fields) in cells {
            let answer = Table { columns: names.clone(), rows: vec![cells.as_array().unwrap().clone()] };
            let rows = asked.rows(&answer).unwrap();
            assert_eq!(rows[0].fields, fields);
        }
    }

    #[test]
    fn one_statement_asks_for_all() {
        let asked = asked();
        let filters = [
            Filter::new(Some("t"), [("device", "o'1"), ("site", "n")]).unwrap(),
            Filter::new(Some("t"), [("device", "b")]).unwrap(),
        ];
        assert_eq!(
            asked.statement(filters.iter()),
            "SELECT * FROM \"t\" WHERE (\"device\" = 'o''1' AND \"site\" = 'n') OR (\"device\" = 'b') \
             LATEST ON \"ts\" PARTITION BY \"site\", \"device\" LIMIT 10000"
        );
        let all = [filters[0].clone(), Filter::new(Some("t"), [("", ""); 0]).unwrap()];
        assert!(!asked.statement(all.iter()).contains("WHERE"), "one who asks for all is one of them");
        let long = Filter::new(Some("t"), [("device", "x".repeat(1_000)), ("site", "y".repeat(1_000))]).unwrap();
        let many = vec![long; 10];
        assert!(asked.statement(many.iter()).len() < 200);
    }

    #[test]
    fn questions_that_the_table_can_not_answer_are_known() {
        let asked = asked();
        let can = |name: &str| asked.can_answer(&Filter::new(Some("t"), [(name, "1")]).unwrap());
        assert_eq!(["site", "Site", "x", "none"].map(can), [true, true, false, false]);
        let columns = asked.columns.into_iter().filter(|column| !column.designated).collect();
        assert!(
            Asked::new(TableInfo { name: "t".into(), wal: true, dedup: true, columns, ..TableInfo::default() })
                .is_none()
        );
    }

    #[test]
    fn rows_are_read_by_their_columns_types() {
        let asked = asked();
        let answer = Table {
            columns: ["ts", "site", "device", "x", "n", "ok", "note", "at", "id"].map(str::to_owned).to_vec(),
            rows: vec![vec![
                json!("2024-01-01T00:00:00.000001Z"),
                json!(null),
                json!("d"),
                json!(1),
                json!(7),
                json!(true),
                json!("a"),
                json!("2024-01-01T00:00:00.000000Z"),
                json!("u"),
            ]],
        };
        let rows = asked.rows(&answer).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].symbols, [("device".into(), "d".into())]);
        assert_eq!(rows[0].time, Some(Timestamp(1_704_067_200_000_001_000)));
        let fields = [
            ("x".into(), Value::Double(1.0)),
            ("n".into(), Value::Long(7)),
            ("ok".into(), Value::Bool(true)),
            ("note".into(), Value::Text("a".into())),
        ];
        assert_eq!(rows[0].fields, fields);
    }

    #[test]
    fn an_answer_whose_rows_have_no_time_is_none() {
        let asked = asked();
        let answer = |columns: &[&str], cells: Json| Table {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: vec![cells.as_array().unwrap().clone()],
        };
        for strange in [
            answer(&["ts", "device"], json!([null, "d"])),
            answer(&["ts", "device"], json!(["soon", "d"])),
            answer(&["device"], json!(["d"])),
        ] {
            assert!(matches!(asked.rows(&strange), Err(SqlError::Answer(_))), "{strange:?}");
        }
        let columns = ["ts".to_owned(), "device".to_owned()].to_vec();
        assert_eq!(asked.rows(&Table { columns, rows: vec![] }), Ok(vec![]));
    }
}
