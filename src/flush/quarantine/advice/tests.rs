use std::sync::Arc;

use super::*;
use crate::{
    clock::SystemClock,
    decode::{Decoded, Decoder, Payload, Resolved},
    entry::{Rows, encode_rows},
    flush::quarantine::reason_of,
    point::{MAX_FIELDS, MAX_ROWS_PER_MESSAGE, Row, Timestamp, Value},
    questdb::{
        RowBuffer, SqlError,
        columns::{Columns, Coming},
        fit::{Holds, Sibling},
        identity,
        plan::{Action, Again, Rules, plan},
        schema::Schema,
        sql::{ColumnInfo, TableInfo},
    },
};

/// What is to be done about a reason, whole and as it is counted.
fn advised(reason: &str) -> &'static str {
    let advice = advice_for(reason).unwrap_or_else(|| panic!("no advice about {reason}"));
    let entry = crate::flush::quarantine::Entry { reason, ..entry() };
    assert_eq!(advice_for(&reason_of(&entry)), Some(advice), "as it is counted: {reason}");
    advice
}

fn entry() -> crate::flush::quarantine::Entry<'static> {
    let key = crate::flush::quarantine::Key { ring_id: 1, seq: crate::marks::Seq(1), row: 0 };
    let at = Timestamp(0);
    crate::flush::quarantine::Entry { key, time: at, received: at, reason: "", origin: "", body: b"", row_time: None }
}

fn decoder(settings: &str) -> Decoder {
    let source = format!("topic = \"s/{{site}}/{{device}}\"\ntable = \"t\"\n{settings}");
    Decoder::new("s", &toml::from_str(&source).unwrap()).unwrap()
}

/// Why a message on a topic is not taken as it is.
fn refused(settings: &str, topic: &str, payload: &str) -> String {
    let (mut decoder, mut out) = (decoder(settings), Decoded::default());
    let resolved = match decoder.resolve(topic).expect("a topic of the source") {
        Ok(resolved) => resolved,
        Err(error) => return error.to_string(),
    };
    if let Err(error) = decoder.decode(&Payload::of(&resolved, payload.as_bytes()), &mut out) {
        return error.to_string();
    }
    decoder.finish(&mut out.rows, &resolved, &mut out.faults);
    out.faults.reason()
}

#[test]
fn what_cannot_be_decoded_comes_with_advice() {
    let many = |count: usize, of: &dyn Fn(usize) -> String| (0..count).map(of).collect::<Vec<_>>().join(",");
    let fields = format!("{{{}}}", many(MAX_FIELDS + 1, &|n| format!("\"f{n}\":1")));
    // More than the configuration can name come only where one is repeated.
    let symbols = format!("{{{},\"v\":1}}", many(65, &|n| format!("\"y\":\"{n}\"")));
    let readings = format!("[{}]", many(MAX_ROWS_PER_MESSAGE + 1, &|_| "{\"v\":1}".to_owned()));
    let (deep, long) = (format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40)), "n".repeat(200));
    for (settings, payload, words) in [
        ("", "21.5", "format = \"plain\""),
        ("", "\"text\"", "format = \"plain\""),
        ("", "rubbish", "one whole JSON document"),
        ("", "{\"v\":1", "one whole JSON document"),
        ("", &readings, "fewer readings"),
        ("", "[{\"v\":1},2]", "an object for each reading"),
        ("fields.battery = \"long\"", "{\"battery\":87.5}", "[source.NAME.fields]"),
        ("fields.battery = \"double\"", "{\"battery\":\"full\"}", "[source.NAME.fields]"),
        ("format = \"plain\"\nfields.value = \"double\"", "open", "[source.NAME.fields]"),
        ("symbols = [\"y\"]", "{\"y\":{\"z\":1},\"v\":1}", "out of symbols"),
        ("fields.y = \"long\"", "{\"y\":[1],\"v\":1}", "out of [source.NAME.fields]"),
        ("", &deep, "flatter"),
        ("", &fields, "over several messages"),
        ("symbols = [\"y\"]", &symbols, "each symbol once"),
        ("timestamp = { field = \"ts\" }", "{\"ts\":1,\"ts\":2,\"v\":1}", "one timestamp"),
        ("", "{\"a\":1,\"A\":2}", "Rename one of the two"),
        ("", "{\"site\":\"x\",\"v\":1}", "placeholder"),
        ("", "{\"a\":\"\\ud800\",\"v\":1}", "as UTF-8"),
        ("rows = \"a[]\"", "{\"b\":1}", "where the readings stand"),
        ("zip = [\"a\", \"b\"]", "{\"a\":[1],\"b\":[1,2]}", "arrays of one length"),
        ("name = \"n\"\nvalue = \"v\"", "{\"v\":1}", "that names the field"),
        ("format = \"csv\"\ncolumns = [\"a\"]", "1,2", "columns and delimiter"),
        ("format = \"csv\"\ncolumns = [\"a\"]", "\"1", "close the quotes"),
        ("jq = \"error\"", "{\"v\":1}", "Change jq"),
        ("", "\u{1f}\u{8b}", "one whole JSON document"),
        ("", &format!("{{\"{long}\":1,\"v\":1}}"), "Shorten the name"),
        ("symbols = [\"y\"]", &format!("{{\"y\":\"{}\",\"v\":1}}", "n".repeat(2_000)), "Shorten the value"),
    ] {
        let advice = advised(&refused(settings, "s/a/b", payload));
        assert!(advice.contains(words), "{payload:.60}: {advice}");
    }
    assert!(advised(&refused("", "s//b", "{\"v\":1}")).contains("empty level"));
    let (topic, mut out) = (Resolved::default(), Decoded::default());
    let plain = decoder("format = \"plain\"").decode(&Payload::of(&topic, b"\xff"), &mut out);
    assert!(advised(&plain.unwrap_err().to_string()).contains("binary payloads"));
}

#[test]
fn a_table_that_takes_no_rows_comes_with_advice() {
    let again = Again { dedup: false, shape: false };
    let rules = Rules { create: None, allow_narrow: false, unused: &[], lost: &[], again };
    let column = |name: &str, kind: &str, designated: bool| ColumnInfo {
        name: name.into(),
        kind: kind.into(),
        designated,
        key: designated,
    };
    let columns = vec![column("ts", "TIMESTAMP", true), column("site", "SYMBOL", false)];
    let table = TableInfo { name: "t".into(), wal: true, dedup: true, columns, ..TableInfo::default() };
    let no_time = TableInfo { columns: Vec::new(), ..table.clone() };
    let no_wal = TableInfo { wal: false, ..table.clone() };
    let mut view = table.clone();
    view.identity.kind = identity::Kind::View;
    for (info, words) in [
        (None, "create_tables = true"),
        (Some(&no_time), "so that forebay makes it"),
        (Some(&table), "allow_narrow_keys = true"),
        (Some(&view), "Rename the view"),
        (Some(&no_wal), "restart QuestDB"),
    ] {
        let Action::Refuse { reason } = plan("t", info, &["site"], rules) else { panic!("{info:?} takes rows") };
        assert!(advised(&reason).contains(words), "{reason}");
    }
    let error = SqlError::Refused { message: "no right".into(), position: 3 };
    assert!(advised(&format!("{error}; statement: ALTER TABLE \"t\"")).contains("Put right in QuestDB"));
}

#[test]
fn a_value_without_a_column_comes_with_advice() {
    let (schema, mut coming) = (Schema::new(None, Arc::new(SystemClock)), Coming::default());
    let mut columns = Columns::new(&schema, &mut coming, 2);
    columns.makes("t", "v", Holds::Double);
    columns.makes("t", "v_long", Holds::Text);
    let reason = columns.sibling("t", "v", Sibling::Long).unwrap_err();
    assert!(advised(&reason).contains("[source.NAME.fields]"), "{reason}");
    let reason = columns.sibling("t", "v", Sibling::String).unwrap_err();
    assert!(advised(&reason).contains("columns_per_table"), "{reason}");

    let row = |fields: Vec<(&str, Value)>, time: i64| Row {
        time: Some(Timestamp(time)),
        fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        ..Row::default()
    };
    let text = || Value::Text("a".into());
    for (row, words) in [
        (row(vec![("v", text()), ("v_string", text())], 1), "[source.NAME.fields]"),
        (row(vec![("x", Value::Long(1))], -5_000_000), "1970"),
    ] {
        let mut body = Vec::new();
        encode_rows("t", &[row], &mut body).unwrap();
        let row = Rows::decode(&body).unwrap().next().unwrap().unwrap();
        let mut columns = Columns::new(&schema, &mut coming, 300);
        let reason = RowBuffer::text().add("t", &row, &mut columns).unwrap_err();
        assert!(advised(&reason).contains(words), "{reason}");
    }
}

/// What QuestDB 9.3.4 says of rows; tests against a server have it say some of this.
#[test]
fn what_questdb_says_comes_with_advice() {
    for (reason, words) in [
        ("table: t, column: v; cast error from protocol type: DOUBLE to column type: UUID", "[source.NAME.fields]"),
        ("table: t, column: v does not exist, creating new columns is disabled", "Add the column"),
        ("table: t; cannot insert in non-WAL table", "SET TYPE WAL"),
        ("table: t; something else", "Put right in QuestDB"),
        (
            "table: t; something else (the table refused everything, and is tried again within 10 s)",
            "Put right in QuestDB",
        ),
        (OTHER_REASONS, "--summary"),
        ("the record's body is malformed", "forebay ring verify"),
    ] {
        assert!(advised(reason).contains(words), "{reason}");
    }
    assert_eq!(advice_for("something that nobody has seen"), None);
}

#[test]
fn advice_is_one_sentence_and_names_what_there_is() {
    let settings = concat!(include_str!("../../../settings/mod.rs"), include_str!("../../../settings/source.rs"));
    let keys = ["max_payload", "max_future", "format", "symbols", "fields", "topic", "table", "create_tables"];
    let limits = ["columns_per_table", "new_columns_per_minute", "tables_per_source", "allow_narrow_keys"];
    for key in keys.iter().chain(&limits) {
        assert!(settings.contains(&format!("pub {key}: ")), "{key} is no setting");
        assert!(KNOWN.iter().any(|(_, advice)| advice.contains(key)), "{key} is named by no advice");
    }
    for (words, advice) in KNOWN {
        assert!(advice.ends_with('.') && !advice.contains(". "), "{words:?}: {advice}");
        assert!(advice.len() < 200, "{words:?}: {advice}");
        assert!(include_str!("../../../../docs/quarantine.md").contains(advice), "docs/quarantine.md lacks: {advice}");
    }
}
