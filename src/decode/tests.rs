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

fn decoded(extra: &str, payload: &str) -> Result<(Vec<Row>, Faults), DecodeError> {
    decoded_bytes(extra, payload.as_bytes())
}

fn decoded_bytes(extra: &str, payload: &[u8]) -> Result<(Vec<Row>, Faults), DecodeError> {
    let (mut decoder, mut out) = (decoder(extra), Decoded::default());
    let topic = decoder.resolve("sensors/north/d1").expect("match").expect("valid");
    decoder.decode(&Payload::of(&topic, payload), &mut out).map(|()| (out.rows, out.faults))
}

/// The rows of a payload that has no fault.
fn rows(extra: &str, payload: &str) -> Vec<Row> {
    let (rows, faults) = decoded(extra, payload).expect(payload);
    assert!(faults.is_empty(), "{payload}: {}", faults.reason());
    rows
}

fn row(extra: &str, payload: &str) -> Row {
    let mut rows = rows(extra, payload);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// What is wrong with the document, or with its one bad member.
fn fault(extra: &str, payload: &str) -> DecodeError {
    match decoded(extra, payload) {
        Err(error) => error,
        Ok((_, faults)) => {
            assert_eq!(faults.count(), 1, "{payload}: {}", faults.reason());
            faults.iter().next().expect("one").error.clone()
        }
    }
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
        ("ok", Value::Flag(true)),
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
fn a_time_that_cannot_be_used_is_left_to_the_receipt() {
    let extra = "timestamp = { field = \"timestamp\" }";
    for payload in [
        r#"{"a":1}"#,
        r#"{"a":1,"timestamp":null}"#,
        r#"{"a":1,"timestamp":""}"#,
        r#"{"a":1,"timestamp":"noon"}"#,
        r#"{"a":1,"timestamp":-1}"#,
        r#"{"a":1,"timestamp":true}"#,
        r#"{"a":1,"timestamp":{"at":1}}"#,
    ] {
        let row = row(extra, payload);
        assert_eq!(
            (row.time, row.device_time, row.notes.untimed, row.fields.len()),
            (None, false, true, 1),
            "{payload}"
        );
    }
    let told = row(extra, r#"{"timestamp":"2026-01-01T00:00:00Z","a":1}"#);
    assert_eq!((told.time, told.notes.untimed), (Some(Timestamp(1_767_225_600_000_000_000)), false));
    assert!(!row("", r#"{"a":1}"#).notes.untimed, "none is expected");
}

#[test]
fn an_array_is_several_readings() {
    assert_eq!(rows("", r#"[{"a":1},{"a":2}]"#).len(), 2);
    let (rows, faults) = decoded("", r#"[{"a":1},7,null,{},{"a":2},[1],{"b":null}]"#).expect("rows");
    assert_eq!(rows.len(), 2, "bad elements cost themselves");
    let places: Vec<&str> = faults.iter().map(|fault| fault.error.place.as_str()).collect();
    assert_eq!(places, ["$[1]", "$[5]"]);
}

#[test]
fn no_value_is_no_fault() {
    for payload in [
        "null",
        "{}",
        "[]",
        "[{}]",
        r#"{"x":null}"#,
        r#"{"x":""}"#,
        r#"{"x":NaN}"#,
        r#"{"unit":"C"}"#,
        "nan",
        r#"{"a":{"b":[]}}"#,
    ] {
        assert!(rows("symbols = [\"unit\"]", payload).is_empty(), "{payload}");
    }
}

#[test]
fn names_that_questdb_refuses_are_changed() {
    let payload = r#"{"temp-erature":1,"line1.temp":2,"temp (C)":3,"timestamp":4,"":5,"a":{"b-c":6,"":7}," x ":8}"#;
    let row = row("", payload);
    let names: Vec<&str> = row.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["temp_erature", "line1_temp", "temp _C_", "timestamp_", "_", "a_b_c", "a__", "x"]);
}

#[test]
fn what_is_plainly_meant_is_read() {
    for payload in [&b"\xef\xbb\xbf{\"t\":1}"[..], b"{\"t\":1}\0", b"{\"t\":1} \0\0\n", b"{\"t\":1,\"u\":-Infinity}"] {
        let (rows, faults) = decoded_bytes("", payload).expect("rows");
        assert_eq!((rows.len(), faults.count()), (1, 0));
        assert_eq!(fields(&rows[0]), [("t", Value::Double(1.0))]);
    }
    assert_eq!(fields(&row("", "{\"t\":\"a\\u0000b\"}")), [("t", Value::Text("a\u{fffd}b".into()))]);
    assert_eq!(fields(&row("", "{\"t\":\"a\0b\tc\"}")), [("t", Value::Text("a\u{fffd}b\tc".into()))]);
    assert_eq!(fields(&row("", r#"{"t":6,"t":6}"#)), [("t", Value::Double(6.0))], "said twice, and the same");
}

#[test]
fn a_member_that_does_not_fit_costs_itself() {
    let typed = "fields = { a_b = \"long\", ok = \"boolean\" }\nsymbols = [\"unit\"]";
    for (payload, place, reason) in [
        (r#"{"good":1,"a":{"b":1.5}}"#, "$.a.b", "wants type \"long\""),
        (r#"{"good":1,"ok":2}"#, "$.ok", "wants type \"boolean\""),
        (r#"{"good":1,"unit":{"x":1}}"#, "$.unit", "single value"),
        (r#"{"good":1,"a":{"b":[1]}}"#, "$.a.b", "single value"),
        (r#"{"good":1,"unit":"a","unit":"b"}"#, "$", "twice"),
        (r#"{"good":1,"Good":2}"#, "$", "twice"),
        (r#"[{"x":1},{"good":1,"c_d":1,"c":{"d":2}}]"#, "$[1]", "twice"),
        (r#"{"good":1,"a":{"x":"\2"}}"#, "$.a.x", "no escape"),
        (r#"{"good":1,"a":[1,1e999]}"#, "$.a[1]", "beyond what a double holds"),
        (r#"{"good":1,"a":[{"b":1},{"unit":"x"},{"c":"\ud800"}]}"#, "$.a[2].c", "no escape"),
    ] {
        let reason = reason.replace("no escape", "an escape that is none");
        let (rows, faults) = decoded(typed, payload).expect(payload);
        let good = rows.last().map(|row| row.fields.iter().any(|field| *field == ("good".into(), Value::Double(1.0))));
        assert_eq!(good, Some(true), "{payload}");
        let fault = faults.iter().next().expect(payload);
        assert_eq!((faults.count(), fault.error.place.as_str()), (1, place), "{payload}");
        assert!(fault.error.reason.contains(&reason), "{payload}: {}", fault.error);
        assert_eq!(fault.row, Some(rows.len() - 1), "{payload}");
    }
}

#[test]
fn refusals_of_documents_say_where_and_why() {
    for (payload, place, reason) in [
        ("21.5", "$", "plain"),
        (r#"{"a":1"#, "$", "invalid JSON"),
        (r#"{"a":{"x":tru}}"#, "$.a.x", "invalid JSON"),
        (r#"{"a":1} x"#, "$", "trailing"),
        (r#"{"t":2,}"#, "$", "trailing comma"),
        ("{'t': 5}", "$", "invalid JSON"),
        ("", "$", "invalid JSON"),
    ] {
        let error = decoded("", payload).expect_err(payload);
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
    let (more, faults) = decoded("", &object(MAX_FIELDS + 1).expect("json")).expect("rows");
    assert_eq!((more[0].fields.len(), faults.count()), (MAX_FIELDS, 1));
    let array = |n: usize| format!("[{}]", vec![r#"{"a":1}"#; n].join(","));
    assert_eq!(rows("", &array(MAX_ROWS_PER_MESSAGE)).len(), MAX_ROWS_PER_MESSAGE);
    assert!(decoded("", &array(MAX_ROWS_PER_MESSAGE + 1)).expect_err("too many").reason.contains("more than"));
    let nested = |n: usize| format!("{}1{}", "{\"a\":".repeat(n + 1), "}".repeat(n + 1));
    assert_eq!(rows("", &nested(32)).len(), 1);
    assert!(fault("", &nested(33)).reason.contains("deeper"));
    assert!(fault("", &nested(5_000)).reason.contains("deeper"));
    assert!(fault("", &format!(r#"{{"{}":1}}"#, "n".repeat(128))).reason.contains("127"));
    let symbol = |n: usize| format!(r#"{{"unit":"{}","a":1}}"#, "x".repeat(n));
    assert_eq!(rows("symbols = [\"unit\"]", &symbol(1024))[0].symbols.len(), 1);
    assert!(fault("symbols = [\"unit\"]", &symbol(1025)).reason.contains("1024"));
}

#[test]
fn a_failed_message_leaves_no_rows_behind() {
    let (topic, mut out) = (Resolved::default(), Decoded::default());
    assert!(decoder("").decode(&Payload::of(&topic, br#"[{"a":1},7,{"a":}]"#), &mut out).is_err());
    assert!(out.rows.is_empty() && out.faults.is_empty());
}

#[test]
fn topics_give_table_and_symbols() {
    let mut decoder = decoder("symbols = [\"aa\"]");
    assert_eq!(decoder.resolve("other/a/b"), None);
    let resolved = decoder.resolve("sensors/north/d1").expect("match").expect("valid");
    assert_eq!(resolved.table, "sensors");
    assert_eq!(resolved.symbols, [("device".into(), "d1".into()), ("site".into(), "north".into())]);
    let mut out = Decoded::default();
    decoder.decode(&Payload::of(&resolved, br#"{"aa":"x","t":1}"#), &mut out).expect("rows");
    decoder.finish(&mut out.rows, &resolved, &mut out.faults);
    let names: Vec<&str> = out.rows[0].symbols.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["aa", "device", "site"]);
    assert!(decoder.resolve("sensors//d1").expect("match").is_err(), "an empty symbol names no series");
}

#[test]
fn a_payload_that_repeats_the_topics_symbols_gives_way_to_them() {
    let mut decoder = decoder("");
    let resolved = decoder.resolve("sensors/north/7").expect("match").expect("valid");
    for (payload, faults, rows) in [
        (r#"{"Device":7,"t":1}"#, 0, 1),
        (r#"{"device":"7","SITE":"north","t":1}"#, 0, 1),
        (r#"[{"Site":"x","t":1},{"t":2}]"#, 1, 2),
        (r#"{"SITE":"south","t":1}"#, 1, 1),
        (r#"{"device":7}"#, 0, 0),
    ] {
        let mut out = Decoded::default();
        decoder.decode(&Payload::of(&resolved, payload.as_bytes()), &mut out).expect("rows");
        decoder.finish(&mut out.rows, &resolved, &mut out.faults);
        let Decoded { rows: found, faults: told, .. } = out;
        assert_eq!((told.count(), found.len()), (faults, rows), "{payload}: {}", told.reason());
        for row in found {
            assert_eq!(row.symbols, resolved.symbols, "{payload}");
            assert_eq!(row.fields.len(), 1, "{payload}");
        }
    }
}

#[test]
fn a_member_is_its_column_s_in_whatever_spelling() {
    let extra =
        "symbols = [\"unit\"]\nfields = { \"größe\" = \"long\" }\ntimestamp = { field = \"ts\", unit = \"ms\" }";
    let read = row(extra, r#"{"Unit":"C","GRÖẞE":7,"TS":5}"#);
    assert_eq!(read.symbols, [("Unit".into(), "C".into())]);
    assert_eq!(fields(&read), [("GRÖẞE", Value::Long(7)), ("TS", Value::Double(5.0))]);
    assert_eq!((read.time, read.notes.untimed), (None, true), "the time's member is none of the table's columns");
    assert!(fault("", r#"{"ä":1,"Ä":2}"#).reason.contains("twice"));
    assert!(fault(extra, r#"{"unit":"C","UNIT":"F","x":1}"#).reason.contains("twice"));
    let decoder = decoder("");
    let resolved = decoder.resolve("sensors/a/b").expect("a topic of it").expect("a table");
    let (mut rows, mut faults) = (vec![row("", r#"{"SİTE":1}"#)], Faults::default());
    decoder.finish(&mut rows, &resolved, &mut faults);
    assert_eq!((rows.len(), faults.count()), (0, 1), "it is the topic's site");
    let twice = Decoder::check("s", &source("symbols = [\"ä\", \"Ä\"]")).expect_err("one symbol");
    assert!(twice[0].problem.to_string().contains("twice"), "{twice:?}");
}

#[test]
fn every_mistake_of_a_source_is_found() {
    let bad =
        "symbols = [\"a-b\", \"site\"]\nfields = { \"a.b\" = \"long\" }\ntimestamp = { field = \"\", unit = \"s\" }";
    let mut source = source(bad);
    source.symbols.push("x".repeat(128));
    source.table = Some("t_{nope}".into());
    let errors = Decoder::check("s", &source).expect_err("mistakes");
    let keys: Vec<&str> = errors.iter().map(|error| error.key).collect();
    assert_eq!(keys, ["table", "symbols", "timestamp.field", "symbols"]);
    assert!(errors[0].to_string().starts_with("source.s.table: "));
    let plain = "format = \"plain\"\nfields = { other = \"long\" }\nsymbols = [\"u\"]";
    assert_eq!(Decoder::check("s", &self::source(plain)).expect_err("mistakes").len(), 2);
}

#[test]
fn plain_payloads_take_the_configured_type() {
    let extra = "format = \"plain\"\nfield = \"level\"\nfields = { level = \"long\" }";
    assert_eq!(fields(&row(extra, "5")), [("level", Value::Long(5))]);
    assert_eq!(fault(extra, "x").to_string(), "at payload: x is a string, but the source wants type \"long\"");
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
    let join = |key: &str| {
        let key = if key.is_empty() { "_" } else { key };
        if name.is_empty() { key.to_owned() } else { format!("{name}_{key}") }
    };
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
        for extra in ["", "format = \"csv\"", "format = \"line\"", "rows = \"a[]\"", "format = \"plain\""] {
            let _ = decoded_bytes(extra, &bytes);
        }
    }

    #[test]
    fn almost_json_never_panics(text in r#"[\[\]{}:,"a-c0-9.eE+\\u \-truefalsn]{0,60}"#) {
        let _ = decoded("timestamp = { field = \"a\", unit = \"s\" }\nsymbols = [\"b\"]", &text);
    }

    #[test]
    fn arbitrary_values_give_valid_rows_or_an_error(value in any_json()) {
        let extra = "timestamp = { field = \"ts\", unit = \"us\" }\nsymbols = [\"unit\"]\nfields = { a = \"long\" }";
        if let Ok((rows, _)) = decoded(extra, &value.to_string()) {
            for row in rows {
                prop_assert!(!row.fields.is_empty());
                prop_assert_eq!(row.time.is_some(), row.device_time);
                let names = row.symbols.iter().map(|(name, _)| name).chain(row.fields.iter().map(|(name, _)| name));
                prop_assert!(names.clone().all(|name| names::column_fault(name).is_none()));
                prop_assert_eq!(names::duplicate(names.map(Text::as_str).collect::<Vec<_>>().into_iter()), None);
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
        expected.retain(|(_, leaf)| leaf.as_str() != Some(""));
        if let Ok((rows, faults)) = decoded("", &value.to_string()) && faults.is_empty() {
            // Of two that are one column the first stays.
            let mut columns: Vec<(String, Json)> = Vec::new();
            for (name, leaf) in expected {
                let name = names::column_name(&name).unwrap().into_owned();
                if !columns.iter().any(|(first, _)| crate::names::same(first, &name)) {
                    columns.push((name, leaf));
                }
            }
            let fields = rows.first().map(|row| row.fields.as_slice()).unwrap_or_default();
            prop_assert_eq!((rows.len(), fields.len()), (usize::from(!columns.is_empty()), columns.len()));
            for ((name, value), (expected_name, leaf)) in fields.iter().zip(&columns) {
                prop_assert_eq!(name.as_str(), expected_name);
                let read = match value {
                    Value::Bool(v) | Value::Flag(v) => json!(v),
                    Value::Double(v) => json!(v),
                    Value::Long(v) | Value::Whole(v) => json!(v),
                    Value::Text(v) if leaf.is_number() => json!(v.parse::<u64>().ok()),
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

#[test]
fn members_are_renamed_left_out_and_scaled_by_their_paths() {
    let extra = r#"
        rename = { "AM2301.Temperature" = "temperature" }
        ignore = ["Wifi", "linkquality"]
        scale = { power = 0.1, "raw.temp" = { factor = 0.1, offset = -40 }, text = 0.001 }
        null_values = ["unavailable", "-9999"]
        fields = { "AM2301.Humidity" = "long" }
    "#;
    let payload = r#"{"AM2301":{"Temperature":21.5,"Humidity":"40"},"Wifi":{"RSSI":70},"linkquality":9,"power":3,
        "raw":{"temp":615},"text":"1500 mW","state":"unavailable","other":-9999}"#;
    let expected = vec![
        ("temperature", Value::Double(21.5)),
        ("AM2301_Humidity", Value::Long(40)),
        ("power", Value::Double(0.3)),
        ("raw_temp", Value::Double(21.5)),
        ("text", Value::Double(1.5)),
    ];
    assert_eq!(fields(&row(extra, payload)), expected);
    assert!(fault(extra, r#"{"power":true}"#).reason.contains("scale"));
    assert!(rows(extra, r#"{"state":"unavailable"}"#).is_empty());
}

#[test]
fn a_plain_value_is_scaled_and_may_say_nothing() {
    let extra = "format = \"plain\"\nfield = \"p\"\nscale = { p = 0.01 }\nnull_values = [\"unknown\"]";
    assert_eq!(fields(&row(extra, "1234 hPa")), vec![("p", Value::Double(12.34))]);
    assert!(rows(extra, "unknown").is_empty());
    assert!(decoded(extra, "open").is_err());
}

#[test]
fn tags_are_symbols_of_every_row() {
    let extra = "tags = { unit = \"bar\", place = \"hall-{site}\" }";
    let resolved = decoder(extra).resolve("sensors/north/d1").expect("it matches").expect("usable");
    let symbols: Vec<_> = resolved.symbols.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(symbols, [("device", "d1"), ("place", "hall-north"), ("site", "north"), ("unit", "bar")]);
    for (extra, part) in [
        ("tags = { site = \"x\" }", "twice"),
        ("tags = { a = \"{nope}\" }", "does not have"),
        ("tags = { a = \"{site\" }", "not closed"),
        ("tags = { \"a.b\" = \"x\" }", "takes no"),
        ("scale = { p = 0 }", "other than 0"),
        ("rename = { p = \"a/b\" }", "takes no"),
    ] {
        let errors = Decoder::check("s", &source(extra)).expect_err(extra);
        assert!(errors.iter().any(|error| error.to_string().contains(part)), "{extra}: {errors:?}");
    }
}
