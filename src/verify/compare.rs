//! A row of the ring beside a row of QuestDB (pure).
//!
//! QuestDB has one null for every type (a long's is its least value, a double's is NaN and the
//! infinities), keeps integers of a DOUBLE column as doubles, and takes all spellings of a name for
//! one. What it cannot tell apart is no difference here.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::{
    entry::{RowRef, ValueRef},
    names,
    questdb::{
        fit::{self, Holds, Sibling},
        sql::{ColumnInfo, TableInfo},
    },
};

/// Differences of a row that are told.
const MAX_TOLD: usize = 8;
/// Longest value told, in bytes.
const MAX_VALUE_BYTES: usize = 120;

/// A value that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The symbol or field.
    pub field: String,
    /// What the ring has, as text; none when it has none.
    pub ring: Option<String>,
    /// What QuestDB has, as text; none when it has none.
    pub questdb: Option<String>,
}

/// Whether two values are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    Yes,
    No,
    /// The column's type is none that can be compared.
    Unknown,
}

/// Columns of an answer by folded name, with their place and type.
#[derive(Debug, Default)]
pub struct Columns {
    by_name: HashMap<String, (usize, String)>,
    timestamp: usize,
    keys: Vec<usize>,
}

impl Columns {
    /// The columns of an answer with these names, described by `info`; none where they do not fit together.
    pub fn new(names: &[String], info: &TableInfo) -> Option<Self> {
        let mut columns = Self::default();
        for (place, name) in names.iter().enumerate() {
            let ColumnInfo { kind, designated, key, .. } =
                info.columns.iter().find(|column| names::same(&column.name, name))?;
            if *designated {
                columns.timestamp = place;
            } else if *key {
                columns.keys.push(place);
            }
            columns.by_name.insert(names::folded(name).into_owned(), (place, kind.clone()));
        }
        // Without one of these a row could not be told from others.
        let mut needed = info.columns.iter().filter(|column| column.designated || column.key);
        needed.all(|column| columns.by_name.contains_key(&*names::folded(&column.name))).then_some(columns)
    }

    /// The cell of a column (folded name) in a row, and the column's type; null and none where
    /// there is no such column.
    fn cell<'f>(&'f self, name: &str, found: &'f [Json]) -> (&'f Json, &'f str) {
        let column = self.by_name.get(name);
        column.map_or((&Json::Null, ""), |(place, kind)| (found.get(*place).unwrap_or(&Json::Null), kind.as_str()))
    }

    /// Time and keys of a row of QuestDB.
    pub fn key_of(&self, row: &[Json]) -> Option<Key> {
        let time_us = micros(row.get(self.timestamp)?.as_str()?)?;
        let mut key = Key::at(time_us);
        for place in &self.keys {
            key.push(&plain(row.get(*place).unwrap_or(&Json::Null)).unwrap_or_default());
        }
        Some(key)
    }
}

/// What makes rows of a table one row: time in µs, and the value of each key column, where an empty one counts as none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    fn at(time_us: i64) -> Self {
        Self(time_us.to_be_bytes().to_vec())
    }

    fn push(&mut self, value: &str) {
        self.0.extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.0.extend_from_slice(value.as_bytes());
    }

    /// Its time.
    pub fn time_us(&self) -> i64 {
        self.0.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }

    /// The key of a row of the ring for these key columns, in the table's order.
    pub fn of<'k>(row: &RowRef<'_>, keys: impl Iterator<Item = &'k str>) -> Self {
        let mut key = Self::at(row.time.to_micros());
        for name in keys {
            let symbol = row.symbols().find(|(symbol, _)| names::same(symbol, name)).map(|(_, value)| value.to_owned());
            let value = symbol.or_else(|| {
                row.fields().find(|(field, _)| names::same(field, name)).and_then(|(_, value)| text(value))
            });
            key.push(&value.unwrap_or_default());
        }
        key
    }
}

/// RFC 3339 as microseconds since 1970.
pub fn micros(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

/// A ring's value as text; none for what QuestDB stores as null.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Bool(v) => Some(v.to_string()),
        ValueRef::Flag(v) => Some(u8::from(v).to_string()),
        ValueRef::Long(i64::MIN) => None,
        ValueRef::Long(v) | ValueRef::Whole(v) => Some(v.to_string()),
        ValueRef::Double(v) => v.is_finite().then(|| v.to_string()),
        ValueRef::Text(v) => Some(v.to_owned()),
    }
}

/// A value of an answer as text; none for null.
fn plain(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => number
            .as_f64()
            .filter(|_| number.is_f64())
            .map_or_else(|| Some(number.to_string()), |v| Some(v.to_string())),
        other => Some(other.to_string()),
    }
}

/// Result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// What differs; at most [`MAX_TOLD`] are told.
    pub differences: Vec<Difference>,
    /// Fields in columns of types that cannot be compared.
    pub uncompared: usize,
}

/// Compares a row of the ring with one of QuestDB. `known` tells whether a column (folded name) is
/// one that rows of the ring have as a field: there, a value that the row does not have is a
/// difference, since a row replaces the one before as a whole.
pub fn compare(row: &RowRef<'_>, found: &[Json], columns: &Columns, known: &dyn Fn(&str) -> bool) -> Compared {
    let mut compared = Compared::default();
    let mut seen = Vec::new();
    for (name, value) in row.symbols() {
        let folded = names::folded(name);
        let (there, kind) = columns.cell(&folded, found);
        compared.field(name, ValueRef::Text(value), there, kind);
        seen.push(folded);
    }
    for (name, value) in row.fields() {
        let folded = names::folded(name);
        let (there, kind) = columns.cell(&folded, found);
        let is_time = columns.by_name.get(&*folded).is_some_and(|(place, _)| *place == columns.timestamp);
        if is_time {
            // Its column has the row's time already, so that the value is in the one beside it.
            if let Some(sibling) = fit::place(Some(Holds::Time), value).sibling {
                let (there, kind) = columns.cell(&beside(&folded, sibling), found);
                compared.field(name, value, there, kind);
            }
            seen.push(folded);
            continue;
        }
        let own = (!kind.is_empty()).then(|| Holds::of(kind));
        match fit::place(own, value).sibling {
            // What was sent before there were columns beside others is in its own one.
            Some(sibling) if same(value, there, kind) != Same::Yes => {
                // The column cannot hold it, so that it has to be in the one beside it.
                if !is_nothing(there, kind) {
                    compared.note(name, text(value), plain(there));
                }
                let (there, kind) = columns.cell(&beside(&folded, sibling), found);
                compared.field(name, value, there, kind);
            }
            _ => compared.field(name, value, there, kind),
        }
        seen.push(folded);
    }
    for (name, (place, kind)) in &columns.by_name {
        let is_seen = |name: &str| seen.iter().any(|seen| *seen == name);
        let is_extra = *place != columns.timestamp && !is_seen(name) && known(name);
        // A column beside one that the row has not: its value is that of a row before.
        let of = Sibling::ALL.iter().find_map(|sibling| name.strip_suffix(sibling.suffix()));
        let is_beside = of.is_some_and(|of| known(of) && !known(name) && !is_seen(of));
        if (is_extra || is_beside) && !is_nothing(&found[*place], kind) {
            compared.note(name, None, plain(&found[*place]));
        }
    }
    compared
}

/// The name of the column beside another one.
fn beside(column: &str, sibling: Sibling) -> String {
    format!("{column}{}", sibling.suffix())
}

impl Compared {
    fn field(&mut self, name: &str, value: ValueRef<'_>, there: &Json, kind: &str) {
        match same(value, there, kind) {
            Same::Yes => {}
            Same::Unknown => self.uncompared += 1,
            Same::No => self.note(name, text(value), plain(there)),
        }
    }

    fn note(&mut self, field: &str, ring: Option<String>, questdb: Option<String>) {
        if self.differences.len() < MAX_TOLD {
            self.differences.push(Difference {
                field: field.to_owned(),
                ring: ring.map(cut),
                questdb: questdb.map(cut),
            });
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_VALUE_BYTES {
        text.truncate(text.floor_char_boundary(MAX_VALUE_BYTES));
        text.push('…');
    }
    text
}

/// Whether a column says nothing: null, or what types without a null have in its place.
fn is_nothing(value: &Json, kind: &str) -> bool {
    match (kind, value) {
        (_, Json::Null) | ("BOOLEAN", Json::Bool(false)) => true,
        ("BYTE" | "SHORT", Json::Number(number)) => number.as_i64() == Some(0),
        (_, Json::String(text)) => text.is_empty(),
        _ => false,
    }
}

fn same(ring: ValueRef<'_>, there: &Json, kind: &str) -> Same {
    let yes = |same: bool| if same { Same::Yes } else { Same::No };
    match (kind, there) {
        ("SYMBOL" | "VARCHAR" | "STRING", there) => {
            let there = there.as_str().unwrap_or_default();
            yes(text(ring).unwrap_or_default() == there)
        }
        ("BOOLEAN", there) => match ring {
            ValueRef::Bool(v) | ValueRef::Flag(v) => yes(there.as_bool() == Some(v)),
            _ => Same::Unknown,
        },
        ("DOUBLE" | "FLOAT" | "LONG" | "INT" | "SHORT" | "BYTE", there) => number(ring, there, kind),
        // No such column: nothing was stored, which is the same as null.
        ("", _) => yes(text(ring).is_none_or(|text| text.is_empty())),
        (_, Json::Null) => yes(text(ring).is_none_or(|text| text.is_empty())),
        _ => Same::Unknown,
    }
}

#[allow(clippy::float_cmp, reason = "what was stored is read back digit by digit, so equal means equal")]
fn number(ring: ValueRef<'_>, there: &Json, kind: &str) -> Same {
    let value = match ring {
        ValueRef::Bool(v) | ValueRef::Flag(v) => f64::from(u8::from(v)),
        ValueRef::Long(v) | ValueRef::Whole(v) => {
            let exact = there.as_i64().is_some_and(|there| there == v);
            let is_null = there.is_null() && (v == i64::MIN || (kind == "INT" && v == i64::from(i32::MIN)));
            if exact || is_null {
                return Same::Yes;
            }
            v as f64
        }
        ValueRef::Double(v) => v,
        ValueRef::Text(_) => return Same::Unknown,
    };
    let Some(found) = there.as_f64() else { return if value.is_finite() { Same::No } else { Same::Yes } };
    let is_same = match kind {
        // The column has fewer digits than the ring.
        "FLOAT" => found as f32 == value as f32,
        "DOUBLE" => found == value,
        // Beyond 2^53 doubles do not tell integers apart; the exact comparison above has said no.
        _ => found == value && !matches!(ring, ValueRef::Long(_)),
    };
    if is_same { Same::Yes } else { Same::No }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        entry::{Rows, encode_rows},
        point::{Row, Timestamp, Value},
    };

    fn with_row<T>(symbols: &[(&str, &str)], fields: &[(&str, Value)], check: impl FnOnce(&RowRef<'_>) -> T) -> T {
        let row = Row {
            time: Some(Timestamp(1_700_000_000_000_000_999)),
            device_time: true,
            symbols: symbols.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            fields: fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
            ..Row::default()
        };
        let mut body = Vec::new();
        encode_rows("t", &[row], &mut body).unwrap();
        check(&Rows::decode(&body).unwrap().next().unwrap().unwrap())
    }

    fn info(columns: &[(&str, &str, bool)]) -> TableInfo {
        let column = |(name, kind, key): &(&str, &str, bool)| ColumnInfo {
            name: (*name).into(),
            kind: (*kind).into(),
            designated: *name == "ts",
            key: *key,
        };
        TableInfo {
            name: "t".into(),
            wal: true,
            dedup: true,
            columns: columns.iter().map(column).collect(),
            ..TableInfo::default()
        }
    }

    fn same_in(kind: &str, value: Value, there: Json) -> bool {
        let info = info(&[("ts", "TIMESTAMP", true), ("X", kind, false)]);
        let columns = Columns::new(&["ts".into(), "X".into()], &info).unwrap();
        let found = [json!("2023-11-14T22:13:20.000000Z"), there];
        let compared = with_row(&[], &[("x", value)], |row| compare(row, &found, &columns, &|_| true));
        assert_eq!(compared.uncompared, 0);
        compared.differences.is_empty()
    }

    #[test]
    fn a_value_that_its_column_cannot_hold_is_looked_for_beside_it() {
        let info = info(&[
            ("ts", "TIMESTAMP", true),
            ("v", "DOUBLE", false),
            ("v_string", "VARCHAR", false),
            ("v_boolean", "LONG", false),
        ]);
        let columns = Columns::new(&["ts", "v", "v_string", "v_boolean"].map(String::from), &info).unwrap();
        let differences = |fields: &[(&str, Value)], cells: [Json; 3]| {
            let [v, string, boolean] = cells;
            let found = [json!("2023-11-14T22:13:20.000000Z"), v, string, boolean];
            with_row(&[], fields, |row| compare(row, &found, &columns, &|name| name == "v" || name == "w"))
                .differences
                .len()
        };
        let text = [("v", Value::Text("x".into()))];
        assert_eq!(differences(&text, [json!(null), json!("x"), json!(null)]), 0);
        assert_eq!(differences(&text, [json!(null), json!("y"), json!(null)]), 1);
        assert_eq!(differences(&text, [json!(null), json!(null), json!(null)]), 1);
        assert_eq!(
            differences(&text, [json!(1.0), json!("x"), json!(null)]),
            1,
            "the column beside says something else"
        );
        assert_eq!(differences(&[("v", Value::Flag(true))], [json!(null), json!(null), json!(1)]), 0);
        assert_eq!(
            differences(&[("v", Value::Flag(true))], [json!(1.0), json!(null), json!(null)]),
            0,
            "sent long ago"
        );
        assert_eq!(
            differences(&[("w", Value::Double(1.0))], [json!(null), json!("x"), json!(null)]),
            2,
            "w, and v's value"
        );
        assert_eq!(differences(&[("v", Value::Double(2.0))], [json!(2.0), json!(null), json!(null)]), 0);
    }

    #[test]
    fn what_questdb_cannot_tell_apart_is_the_same() {
        for (kind, value, there) in [
            ("DOUBLE", Value::Double(f64::NAN), json!(null)),
            ("DOUBLE", Value::Double(f64::INFINITY), json!(null)),
            ("DOUBLE", Value::Double(0.1), json!(0.1)),
            ("DOUBLE", Value::Double(-0.0), json!(0.0)),
            ("DOUBLE", Value::Long(7), json!(7.0)),
            ("DOUBLE", Value::Bool(true), json!(1.0)),
            ("FLOAT", Value::Double(0.1), json!(0.1)),
            ("LONG", Value::Long(i64::MAX), json!(i64::MAX)),
            ("LONG", Value::Long(i64::MIN), json!(null)),
            ("INT", Value::Long(i64::from(i32::MIN)), json!(null)),
            ("BOOLEAN", Value::Bool(false), json!(false)),
            ("VARCHAR", Value::Text("ü".into()), json!("ü")),
        ] {
            assert!(same_in(kind, value.clone(), there.clone()), "{kind} {value:?} {there}");
        }
    }

    #[test]
    fn everything_else_differs() {
        for (kind, value, there) in [
            ("DOUBLE", Value::Double(0.1), json!(0.100_000_000_000_000_02)),
            ("DOUBLE", Value::Double(0.1), json!(null)),
            ("LONG", Value::Long((1 << 53) + 1), json!(1i64 << 53)),
            ("LONG", Value::Long(5), json!(null)),
            ("BOOLEAN", Value::Bool(true), json!(false)),
            ("VARCHAR", Value::Text("a".into()), json!("b")),
            ("VARCHAR", Value::Text("a".into()), json!(null)),
        ] {
            assert!(!same_in(kind, value.clone(), there.clone()), "{kind} {value:?} {there}");
        }
    }

    #[test]
    fn each_symbol_and_each_field_is_looked_at() {
        let names = ["ts", "device", "site", "temperature", "humidity", "seq", "ok", "note"];
        let kinds = ["TIMESTAMP", "SYMBOL", "SYMBOL", "DOUBLE", "DOUBLE", "LONG", "BOOLEAN", "VARCHAR"];
        let described: Vec<_> = names.iter().zip(kinds).map(|(name, kind)| (*name, kind, *name == "ts")).collect();
        let columns = Columns::new(&names.map(str::to_owned), &info(&described)).unwrap();
        let symbols = [("device", "d"), ("site", "s")];
        let fields = [
            ("temperature", Value::Double(1.5)),
            ("humidity", Value::Double(2.5)),
            ("seq", Value::Long(3)),
            ("ok", Value::Bool(true)),
            ("note", Value::Text("n".into())),
        ];
        let right = [json!("t"), json!("d"), json!("s"), json!(1.5), json!(2.5), json!(3), json!(true), json!("n")];
        let differs = |found: &[Json]| {
            let compared = with_row(&symbols, &fields, |row| compare(row, found, &columns, &|_| true));
            compared.differences.into_iter().map(|difference| difference.field).collect::<Vec<_>>()
        };
        assert!(differs(&right).is_empty());
        let wrong = [json!("t"), json!("e"), json!("t"), json!(1), json!(2), json!(4), json!(false), json!("m")];
        for place in 1..names.len() {
            let mut found = right.clone();
            found[place] = wrong[place].clone();
            assert_eq!(differs(&found), [names[place]]);
        }
    }

    #[test]
    fn a_field_of_an_older_row_that_is_still_there_is_a_difference() {
        let info = info(&[
            ("ts", "TIMESTAMP", true),
            ("x", "DOUBLE", false),
            ("y", "DOUBLE", false),
            ("ok", "BOOLEAN", false),
        ]);
        let names = ["ts", "x", "y", "ok"].map(str::to_owned);
        let columns = Columns::new(&names, &info).unwrap();
        let found = [json!("2023-11-14T22:13:20.000000Z"), json!(1.0), json!(2.0), json!(false)];
        let differences = |known: bool| {
            with_row(&[], &[("x", Value::Double(1.0))], |row| compare(row, &found, &columns, &|_| known)).differences
        };
        let left = Difference { field: "y".into(), ring: None, questdb: Some("2".into()) };
        assert_eq!((differences(true), differences(false)), (vec![left], vec![]));
    }

    #[test]
    fn keys_are_found_on_both_sides() {
        let info = info(&[
            ("ts", "TIMESTAMP", true),
            ("Device", "SYMBOL", true),
            ("unit", "SYMBOL", true),
            ("n", "LONG", true),
        ]);
        let columns = Columns::new(&["ts", "Device", "unit", "n"].map(str::to_owned), &info).unwrap();
        let found = [json!("2023-11-14T22:13:20.000000Z"), json!("d"), json!(null), json!(5)];
        let key = with_row(&[("device", "d"), ("unit", "")], &[("n", Value::Long(5))], |row| {
            Key::of(row, ["device", "unit", "n"].into_iter())
        });
        assert_eq!(columns.key_of(&found), Some(key));
        assert!(Columns::new(&["other".into()], &info).is_none());
    }
}
