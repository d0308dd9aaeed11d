//! Tests of whole messages, and of payloads nobody would send on purpose.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::point::{MAX_FIELDS, MAX_ROWS_PER_MESSAGE, Timestamp, Value};

fn source(extra: &str) -> Source {
    toml::from_str(&format!("topic = \"sensors/{{site}}/{{device}}\"\ntable = \"sensors\"\n{extra}")).expect("source")
}

fn decoder(extra: &str) -> Decoder {
    Decoder::new("s", &source(extra)).expect("decoder")
}

fn rows(extra: &str, payload: &str) -> Result<Vec<Row>, DecodeError> {
    let mut rows = Vec::new();
    decoder(extra).decode(payload.as_bytes(), &mut rows).map(|()| rows)
}

fn row(extra: &str, payload: &str) -> Row {
    let mut rows = rows(extra, payload).expect(payload);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

fn fault(extra: &str, payload: &str) -> String {
    rows(extra, payload).expect_err(payload).to_string()
}

fn fields(row: &Row) -> Vec<(&str, Value)> {
    row.fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}

#[test]
fn members_become_fields_of_the_type_they_are_written_in() {
    let row = row("", r#"{"t":21.5,"n":3,"ok":true,"state":"open","gone":null}"#);
    let expected = vec![
        ("t", Value::Double(21.5)),
        ("n", Value::Double(3.0)),
        ("ok", Value::Bool(true)),
        ("state", Value::Text("open".into())),
    ];
    assert_eq!(fields(&row), expected);
    assert_eq!((row.time, row.device_time), (None, false));
}

#[test]
fn nested_members_are_flattened() {
    let row = row("", r#"{"a":{"b":1,"c":{"d":2}},"e":[3,{"f":4},[5]]}"#);
    let names: Vec<&str> = row.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a_b", "a_c_d", "e_0", "e_1_f", "e_2_0"]);
}

#[test]
fn configured_members_become_time_symbols_and_typed_fields() {
    let extra =
        "timestamp = { field = \"meta_ts\", unit = \"ms\" }\nsymbols = [\"unit\", \"slot\"]\nfields = { n = \"long\" }";
    let row = row(extra, r#"{"meta":{"ts":1700000000123},"unit":"C","slot":7,"n":9007199254740993}"#);
    assert_eq!(row.time, Some(Timestamp(1_700_000_000_123_000_000)));
    assert!(row.device_time);
    assert_eq!(row.symbols, [("unit".into(), "C".into()), ("slot".into(), "7".into())]);
    assert_eq!(fields(&row), [("n", Value::Long(9_007_199_254_740_993))]);
}

#[test]
fn a_time_may_be_missing_but_not_wrong() {
    let extra = "timestamp = { field = \"timestamp\", unit = \"rfc3339\" }";
    assert_eq!(row(extra, r#"{"a":1}"#).time, None);
    assert_eq!(row(extra, r#"{"a":1,"timestamp":null}"#).time, None);
    assert_eq!(
        row(extra, r#"{"timestamp":"2026-01-01T00:00:00Z","a":1}"#).time,
        Some(Timestamp(1_767_225_600_000_000_000))
    );
    assert!(fault(extra, r#"[{"a":1},{"a":1,"timestamp":"noon"}]"#).starts_with("at $[1].timestamp: "));
}

#[test]
fn an_array_is_several_readings() {
    let rows = rows("", r#"[{"a":1},{"a":2}]"#).expect("rows");
    assert_eq!(rows.len(), 2);
    assert!(fault("", "[]").contains("no reading"));
}

#[test]
fn refusals_say_where_and_why() {
    let typed = "fields = { a_b = \"long\", ok = \"boolean\" }\nsymbols = [\"unit\"]";
    for (payload, place, reason) in [
        (r#"{"temp-erature":1}"#, "$.temp-erature", "QuestDB takes no '-'"),
        (r#"[{"x":1},{"x":{"y.z":1}}]"#, "$[1].x.y.z", "QuestDB takes no '.'"),
        (r#"{"a":{"b":1.5}}"#, "$.a.b", "no 64-bit integer"),
        (r#"{"a":[{"b":1},{"c-":1}]}"#, "$.a[1].c-", "QuestDB takes no '-'"),
        (r#"{"ok":1}"#, "$.ok", "wants type \"boolean\""),
        (r#"{"unit":{"x":1}}"#, "$.unit", "single value"),
        (r#"{"unit":"a","unit":"b","x":1}"#, "$.unit", "twice"),
        (r#"{"a":1,"A":2}"#, "$", "twice"),
        (r#"{"c_d":1,"c":{"d":2}}"#, "$", "twice"),
        (r#"{"timestamp":1}"#, "$.timestamp", "time column"),
        (r#"{"":1}"#, "$", "empty name"),
        (r#"{"x":null}"#, "$", "no field"),
        ("{}", "$", "no field"),
        ("21.5", "$", "plain"),
        ("[1,2]", "$[0]", "expected an object"),
        (r#"{"a":1"#, "$", "invalid JSON"),
        (r#"{"a":{"x":tru}}"#, "$.a.x", "invalid JSON"),
        (r#"{"a":1} x"#, "$", "trailing"),
        (r#"{"a":1e999}"#, "$.a", "out of range"),
        ("", "$", "invalid JSON"),
    ] {
        let error = rows(typed, payload).expect_err(payload);
        assert_eq!(error.place, place, "{payload}: {error}");
        assert!(error.reason.contains(reason), "{payload}: {error}");
    }
}

#[test]
fn limits_hold_exactly() {
    let object = |n: usize| {
        serde_json::to_string(&(0..n).map(|i| (format!("f{i}"), i)).collect::<std::collections::BTreeMap<_, _>>())
    };
    assert_eq!(row("", &object(MAX_FIELDS).expect("json")).fields.len(), MAX_FIELDS);
    assert!(fault("", &object(MAX_FIELDS + 1).expect("json")).contains("more than"));
    let array = |n: usize| format!("[{}]", vec![r#"{"a":1}"#; n].join(","));
    assert_eq!(rows("", &array(MAX_ROWS_PER_MESSAGE)).expect("rows").len(), MAX_ROWS_PER_MESSAGE);
    assert!(fault("", &array(MAX_ROWS_PER_MESSAGE + 1)).contains("more than"));
    let nested = |n: usize| format!("{}1{}", "{\"a\":".repeat(n + 1), "}".repeat(n + 1));
    assert!(rows("", &nested(32)).is_ok());
    assert!(fault("", &nested(33)).contains("deeper"));
    assert!(fault("", &nested(5_000)).contains("deeper"));
    assert!(fault("", &format!(r#"{{"{}":1}}"#, "n".repeat(128))).contains("127"));
    let symbol = |n: usize| format!(r#"{{"unit":"{}","a":1}}"#, "x".repeat(n));
    assert!(rows("symbols = [\"unit\"]", &symbol(1024)).is_ok());
    assert!(fault("symbols = [\"unit\"]", &symbol(1025)).contains("1024"));
}

#[test]
fn a_failed_message_leaves_no_rows_behind() {
    let mut rows = vec![Row::default()];
    assert!(decoder("").decode(br#"[{"a":1},{"a":}]"#, &mut rows).is_err());
    assert_eq!(rows, [Row::default()]);
}

#[test]
fn topics_give_table_and_symbols() {
    let decoder = decoder("symbols = [\"aa\"]");
    assert_eq!(decoder.resolve("other/a/b"), None);
    let resolved = decoder.resolve("sensors/north/d1").expect("match").expect("valid");
    assert_eq!(resolved.table, "sensors");
    assert_eq!(resolved.symbols, [("device".into(), "d1".into()), ("site".into(), "north".into())]);
    let mut rows = Vec::new();
    decoder.decode(br#"{"aa":"x","t":1}"#, &mut rows).expect("rows");
    decoder.finish(&mut rows, &resolved).expect("finished");
    let names: Vec<&str> = rows[0].symbols.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["aa", "device", "site"]);
    assert!(decoder.resolve("sensors//d1").expect("match").is_err(), "an empty symbol names no series");
}

#[test]
fn a_payload_may_not_repeat_the_topics_symbols() {
    let decoder = decoder("");
    let resolved = decoder.resolve("sensors/north/d1").expect("match").expect("valid");
    let mut rows = Vec::new();
    decoder.decode(br#"{"Site":"x","t":1}"#, &mut rows).expect("rows");
    assert!(decoder.finish(&mut rows, &resolved).expect_err("collision").reason.contains("placeholder"));
}

#[test]
fn a_member_is_its_column_s_in_whatever_spelling() {
    let extra =
        "symbols = [\"unit\"]\nfields = { \"größe\" = \"long\" }\ntimestamp = { field = \"ts\", unit = \"ms\" }";
    let read = row(extra, r#"{"Unit":"C","GRÖẞE":7,"TS":5}"#);
    assert_eq!(read.symbols, [("Unit".into(), "C".into())]);
    assert_eq!(fields(&read), [("GRÖẞE", Value::Long(7)), ("TS", Value::Double(5.0))]);
    assert_eq!(read.time, None, "the time's member is none of the table's columns");
    assert!(fault("", r#"{"ä":1,"Ä":2}"#).contains("twice"));
    assert!(fault(extra, r#"{"unit":"C","UNIT":"F","x":1}"#).contains("twice"));
    let decoder = decoder("");
    let resolved = decoder.resolve("sensors/a/b").expect("a topic of it").expect("a table");
    assert!(decoder.finish(&mut [row("", r#"{"SİTE":1}"#)], &resolved).is_err());
    let twice = Decoder::check("s", &source("symbols = [\"ä\", \"Ä\"]")).expect_err("one symbol");
    assert!(twice[0].problem.to_string().contains("twice"), "{twice:?}");
}

#[test]
fn every_mistake_of_a_source_is_found() {
    let bad =
        "symbols = [\"a-b\", \"site\"]\nfields = { \"x.y\" = \"long\" }\ntimestamp = { field = \"\", unit = \"s\" }";
    let mut source = source(bad);
    source.table = "t_{nope}".into();
    let errors = Decoder::check("s", &source).expect_err("mistakes");
    let keys: Vec<&str> = errors.iter().map(|error| error.key).collect();
    assert_eq!(keys, ["table", "symbols", "fields", "timestamp.field", "symbols"]);
    assert!(errors[0].to_string().starts_with("source.s.table: "));
    let plain = "format = \"plain\"\nfields = { other = \"long\" }\nsymbols = [\"u\"]";
    assert_eq!(Decoder::check("s", &self::source(plain)).expect_err("mistakes").len(), 2);
}

#[test]
fn plain_payloads_take_the_configured_type() {
    let extra = "format = \"plain\"\nfield = \"level\"\nfields = { level = \"long\" }";
    assert_eq!(fields(&row(extra, "5")), [("level", Value::Long(5))]);
    assert_eq!(fault(extra, "x"), "at payload: x is a string, but the source wants type \"long\"");
}

/// Any JSON value, with names QuestDB takes and names it does not.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::btree_map("[a-c_]{0,3}|\\PC{0,4}|ts|unit", inner, 0..6)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// The flattened members of a reading, as the module's documentation describes them.
fn flatten(name: &str, value: &Json, out: &mut Vec<(String, Json)>) {
    let join = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}_{key}") };
    match value {
        Json::Null => {}
        Json::Object(map) => map.iter().for_each(|(key, value)| flatten(&join(key), value, out)),
        Json::Array(list) => list.iter().enumerate().for_each(|(i, value)| flatten(&join(&i.to_string()), value, out)),
        leaf => out.push((name.to_owned(), leaf.clone())),
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut rows = Vec::new();
        if decoder("").decode(&bytes, &mut rows).is_err() {
            prop_assert!(rows.is_empty());
        }
    }

    #[test]
    fn almost_json_never_panics(text in r#"[\[\]{}:,"a-c0-9.eE+\\u \-truefalsn]{0,60}"#) {
        let _ = rows("timestamp = { field = \"a\", unit = \"s\" }\nsymbols = [\"b\"]", &text);
    }

    #[test]
    fn arbitrary_values_give_valid_rows_or_an_error(value in any_json()) {
        let extra = "timestamp = { field = \"ts\", unit = \"us\" }\nsymbols = [\"unit\"]\nfields = { a = \"long\" }";
        if let Ok(rows) = rows(extra, &value.to_string()) {
            prop_assert!(!rows.is_empty());
            for row in rows {
                prop_assert!(!row.fields.is_empty());
                prop_assert_eq!(row.time.is_some(), row.device_time);
                let names = row.symbols.iter().map(|(name, _)| name).chain(row.fields.iter().map(|(name, _)| name));
                prop_assert!(names.clone().all(|name| column_fault(name).is_none()));
                prop_assert_eq!(duplicate(names.map(Text::as_str).collect::<Vec<_>>().into_iter()), None);
                let mut body = Vec::new();
                prop_assert!(crate::entry::encode_rows("t", &[row], &mut body).is_ok());
            }
        }
    }

    #[test]
    fn fields_are_the_flattened_members(
        map in prop::collection::btree_map("[a-h]{1,2}", any_json(), 1..6)
    ) {
        let value = Json::Object(map.into_iter().collect());
        let mut expected = Vec::new();
        flatten("", &value, &mut expected);
        if let Ok(rows) = rows("", &value.to_string()) {
            prop_assert_eq!(rows[0].fields.len(), expected.len());
            for ((name, value), (expected_name, leaf)) in rows[0].fields.iter().zip(&expected) {
                prop_assert_eq!(name.as_str(), expected_name);
                let read = match value {
                    Value::Bool(v) => json!(v),
                    Value::Double(v) => json!(v),
                    Value::Long(v) => json!(v),
                    Value::Text(v) => json!(v.as_str()),
                };
                let same = if leaf.is_number() { read.as_f64() == leaf.as_f64() } else { read == *leaf };
                prop_assert!(same, "{read} is not {leaf}");
            }
        }
    }

    #[test]
    fn doubles_and_longs_round_trip(double in any::<f64>().prop_filter("finite", |n| n.is_finite()), long in any::<i64>()) {
        let row = row("fields = { n = \"long\" }", &json!({ "d": double, "n": long }).to_string());
        prop_assert_eq!(fields(&row), [("d", Value::Double(double)), ("n", Value::Long(long))]);
    }
}
