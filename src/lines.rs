//! What the ring and the quarantine hold, as lines of text: JSON (RFC 8259) for programs, and line protocol for whatever writes to
//! QuestDB or `InfluxDB`. Pure.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value as Json, json};

use crate::{
    entry::{Clear, DeadLetter, RowRef, ValueRef},
    point::Timestamp,
};

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Number of the record.
    pub seq: u64,
    /// Wall clock when its message was received.
    pub received: Timestamp,
}

/// A row as a JSON object: `kind`, `seq`, `row` (its number in the record), `received`, `table`, `time`, `device_time`, `symbols`,
/// `fields`. Numbers keep their type: a double has a decimal point or an exponent. What JSON has no number for is a string (`"NaN"`,
/// `"inf"`, `"-inf"`).
pub fn row_object(origin: Origin, index: u16, table: &str, row: &RowRef<'_>) -> Map<String, Json> {
    let mut line = object("row", origin);
    line.insert("row".into(), index.into());
    line.insert("table".into(), table.into());
    line.insert("time".into(), row.time.to_string().into());
    line.insert("device_time".into(), row.device_time.into());
    line.insert("symbols".into(), members(row.symbols().map(|(name, value)| (name, value.into()))));
    line.insert("fields".into(), members(row.fields().map(|(name, value)| (name, number(value)))));
    line
}

/// A dead letter as a JSON object: `kind`, `seq`, `received`, `reason`, `topic`, and `payload`, or `payload_base64` (RFC 4648,
/// section 4) where it is not UTF-8.
pub fn dead_letter_object(origin: Origin, letter: &DeadLetter<'_>) -> Map<String, Json> {
    let mut line = object("dead-letter", origin);
    line.insert("reason".into(), letter.reason.into());
    line.insert("topic".into(), letter.topic.into());
    put_bytes(&mut line, "payload", letter.payload);
    line
}

/// A cleared series as a JSON object: `kind`, `seq`, `received`, `table`, `symbols`.
pub fn clear_object(origin: Origin, clear: &Clear<'_>) -> Map<String, Json> {
    let mut line = object("clear", origin);
    line.insert("table".into(), clear.table.into());
    line.insert("symbols".into(), members(clear.symbols.iter().map(|(name, value)| (*name, (*value).into()))));
    line
}

fn members<'a>(pairs: impl Iterator<Item = (&'a str, Json)>) -> Json {
    Json::Object(pairs.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn object(kind: &str, origin: Origin) -> Map<String, Json> {
    let head = json!({ "kind": kind, "seq": origin.seq, "received": origin.received.to_string() });
    if let Json::Object(head) = head { head } else { Map::new() }
}

/// Adds bytes under `name`, or in base64 under `name_base64` where they are not UTF-8.
pub fn put_bytes(line: &mut Map<String, Json>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => line.insert(name.to_owned(), text.into()),
        Err(_) => line.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

fn number(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Bool(v) => v.into(),
        ValueRef::Flag(v) => u8::from(v).into(),
        ValueRef::Long(v) | ValueRef::Whole(v) => v.into(),
        ValueRef::Double(v) if v.is_finite() => v.into(),
        ValueRef::Double(v) => v.to_string().into(),
        ValueRef::Text(v) => v.into(),
    }
}

/// Appends a row as a line of line protocol, its time in nanoseconds, with a line feed.
///
/// Symbols are tags; integers carry the suffix `i`. (QuestDB documentation, "`InfluxDB` Line Protocol"; `InfluxDB` v2, "Line protocol".) A row
/// without fields is no line there: false, and nothing is appended.
pub fn line_protocol(table: &str, row: &RowRef<'_>, out: &mut String) -> bool {
    let start = out.len();
    escape(table, &[',', ' '], out);
    for (name, value) in row.symbols().filter(|(_, value)| !value.is_empty()) {
        out.push(',');
        escape(name, &[',', '=', ' '], out);
        out.push('=');
        escape(value, &[',', '=', ' '], out);
    }
    let mut glue = ' ';
    for (name, value) in row.fields() {
        out.push(std::mem::replace(&mut glue, ','));
        escape(name, &[',', '=', ' '], out);
        out.push('=');
        let _ = match value {
            ValueRef::Bool(v) | ValueRef::Flag(v) => write!(out, "{v}"),
            ValueRef::Long(v) | ValueRef::Whole(v) => write!(out, "{v}i"),
            ValueRef::Double(v) => write!(out, "{v:?}"),
            ValueRef::Text(v) => {
                out.push('"');
                escape(v, &['"'], out);
                out.push('"');
                Ok(())
            }
        };
    }
    if glue == ' ' {
        out.truncate(start);
        return false;
    }
    let _ = writeln!(out, " {}", row.time.0);
    true
}

/// Copies text, with a backslash before these characters, backslashes and line breaks.
fn escape(text: &str, special: &[char], out: &mut String) {
    for c in text.chars() {
        if c == '\\' || c == '\n' || special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::{Rows, encode_rows},
        point::{Row, Value},
    };

    const ORIGIN: Origin = Origin { seq: 7, received: Timestamp(1_700_000_000_000_000_000) };

    fn with_row(row: Row, check: impl FnOnce(&RowRef<'_>)) {
        let mut body = Vec::new();
        encode_rows("t", &[row], &mut body).unwrap();
        check(&Rows::decode(&body).unwrap().next().unwrap().unwrap());
    }

    fn row() -> Row {
        Row {
            time: Some(Timestamp(1_700_000_000_123_456_000)),
            device_time: true,
            symbols: vec![("si te".into(), "a,b=c d".into()), ("unit".into(), "".into())],
            fields: vec![
                ("n".into(), Value::Long(-3)),
                ("x".into(), Value::Double(2.0)),
                ("ok".into(), Value::Bool(true)),
                ("text".into(), Value::Text("say \"hi\"\\".into())),
            ],
            ..Row::default()
        }
    }

    #[test]
    fn a_row_as_json_keeps_its_types() {
        with_row(row(), |row| {
            let text = Json::Object(row_object(ORIGIN, 1, "t", row)).to_string();
            for part in
                [r#""n":-3"#, r#""x":2.0"#, r#""ok":true"#, r#""time":"2023-11-14T22:13:20.123456Z""#, r#""row":1"#]
            {
                assert!(text.contains(part), "{part} in {text}");
            }
        });
        with_row(Row { fields: vec![("x".into(), Value::Double(f64::NAN))], ..row() }, |row| {
            assert_eq!(row_object(ORIGIN, 0, "t", row)["fields"]["x"], "NaN");
        });
    }

    #[test]
    fn line_protocol_escapes_what_it_must() {
        with_row(row(), |row| {
            let mut text = String::new();
            assert!(line_protocol("my table", row, &mut text));
            let wanted = "my\\ table,si\\ te=a\\,b\\=c\\ d n=-3i,x=2.0,ok=true,text=\"say \\\"hi\\\"\\\\\" 1700000000123456000\n";
            assert_eq!(text, wanted);
        });
        with_row(Row { fields: vec![], ..row() }, |row| {
            let mut text = "before".to_owned();
            assert!(!line_protocol("t", row, &mut text));
            assert_eq!(text, "before");
        });
    }

    #[test]
    fn payloads_are_text_or_base64() {
        let letter = DeadLetter { reason: "no", topic: "a/b", payload: b"\xff\x00", ..DeadLetter::default() };
        assert_eq!(dead_letter_object(ORIGIN, &letter)["payload_base64"], "/wA=");
        let letter = DeadLetter { payload: b"{}", ..letter };
        assert_eq!(dead_letter_object(ORIGIN, &letter)["payload"], "{}");
    }
}
