//! Rows that do not stand at a document's top.

use serde_json::{Value as Json, json};

use crate::{
    decode::{Decoded, Decoder, Payload},
    point::{Row, Timestamp, Value},
    settings::Source,
};

fn decoded(source: &str, payload: &str) -> Decoded {
    let source: Source = toml::from_str(&format!("topic = \"t/{{x}}\"\n{source}")).expect("a source");
    let table = source.table.clone().or(Some("t".into()));
    let mut decoder = Decoder::new("s", &Source { table, ..source }).unwrap_or_else(|error| panic!("{error}"));
    let topic = decoder.resolve("t/1").expect("match").expect("valid");
    let mut out = Decoded::default();
    if let Err(error) = decoder.decode(&Payload::of(&topic, payload.as_bytes()), &mut out) {
        panic!("{payload}: {error}");
    }
    out
}

/// A row as its time in seconds, symbols and fields.
fn told(row: &Row) -> Json {
    let value = |value: &Value| match value {
        Value::Double(value) => json!(value),
        Value::Long(value) | Value::Whole(value) => json!(value),
        Value::Bool(value) | Value::Flag(value) => json!(value),
        Value::Text(value) => json!(value.as_str()),
    };
    let symbols = row.symbols.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    let fields: serde_json::Map<_, _> = row.fields.iter().map(|(name, of)| (name.to_string(), value(of))).collect();
    json!([row.time.map(|Timestamp(nanos)| (nanos / 1_000_000) as f64 / 1e3), symbols, fields])
}

/// The rows of a payload without faults.
fn rows(source: &str, payload: &str) -> Vec<Json> {
    let out = decoded(source, payload);
    assert!(out.faults.is_empty(), "{payload}: {}", out.faults.reason());
    out.rows.iter().map(told).collect()
}

/// The rows and the one fault of a payload.
fn faulty(source: &str, payload: &str) -> (usize, String) {
    let out = decoded(source, payload);
    assert_eq!(out.faults.count(), 1, "{payload}: {}", out.faults.reason());
    (out.rows.len(), out.faults.reason())
}

#[test]
fn rows_stand_where_the_source_says() {
    for (source, payload, expected) in [
        (
            "rows = \"values[]\"",
            r#"{"n":1,"values":[{"a":1},{"a":2}]}"#,
            json!([[null, "", {"a": 1.0}], [null, "", {"a": 2.0}]]),
        ),
        ("rows = \"values\"", r#"{"values":{"a":{"b":1}}}"#, json!([[null, "", {"a_b": 1.0}]])),
        (
            "rows = \"values\"",
            r#"{"values":[{"a":1},{"a":2}]}"#,
            json!([[null, "", {"a": 1.0}], [null, "", {"a": 2.0}]]),
        ),
        ("rows = \"values[]\"", r#"{"values":{"a":1}}"#, json!([[null, "", {"a": 1.0}]])),
        ("rows = \"a.b[]\"", r#"{"a.b":[{"c":1}],"a":{"b":[{"c":2}]}}"#, json!([[null, "", {"c": 1.0}]])),
        (
            "rows = \"d[]\"\nfield = \"temp\"",
            r#"{"d":[1,2]}"#,
            json!([[null, "", {"temp": 1.0}], [null, "", {"temp": 2.0}]]),
        ),
        (
            "rows = \"d[]\"\ntimestamp = { field = \"0\" }\nrename = { 1 = \"v\" }",
            r#"{"d":[[1780000000,7],[1780000001,8]]}"#,
            json!([[1_780_000_000.0, "", {"v": 7.0}], [1_780_000_001.0, "", {"v": 8.0}]]),
        ),
        ("rows = \"[]\"", "[{\"a\":1},2]", json!([[null, "", {"a": 1.0}], [null, "", {"value": 2.0}]])),
        (
            "rows = \"values[]\"",
            r#"[{"values":[{"a":1}]},{"values":[{"a":2}]}]"#,
            json!([[null, "", {"a": 1.0}], [null, "", {"a": 2.0}]]),
        ),
    ] {
        assert_eq!(Json::from(rows(source, payload)), expected, "{source} {payload}");
    }
}

#[test]
fn what_is_outside_a_row_belongs_to_it_where_it_is_named() {
    let source =
        "rows = \"*[].values\"\ntimestamp = { field = \"^.ts\", unit = \"ms\" }\ntags = { device = \"{key}\" }";
    let payload =
        r#"{"Device A":[{"ts":1780000000000,"values":{"t":1}},{"ts":1780000001000,"values":{"t":2}}],"B":[]}"#;
    let expected =
        json!([[1_780_000_000.0, "device=Device A", {"t": 1.0}], [1_780_000_001.0, "device=Device A", {"t": 2.0}]]);
    assert_eq!(Json::from(rows(source, payload)), expected);

    let source = "rows = \"m[]\"\nsymbols = [\"$.meta.unit\", \"id\"]\nfields = { \"^.rssi\" = \"long\" }\nrename = { \"$.meta.fw\" = \"firmware\" }";
    let payload = r#"{"m":[{"id":"a","v":1},{"id":"b","v":2}],"rssi":-70,"meta":{"unit":"C","fw":"1.2","other":9}}"#;
    let row =
        |id: &str, v: f64| json!([null, format!("meta_unit=C,id={id}"), {"firmware": "1.2", "rssi": -70, "v": v}]);
    assert_eq!(rows(source, payload), [row("a", 1.0), row("b", 2.0)]);
}

#[test]
fn each_member_may_be_a_row_and_what_is_named_or_ignored_is_none() {
    let source = "rows = \"*\"\ntimestamp = { field = \"$.ts\" }\nignore = [\"$.version\", \"^.fw*\"]\ntags = { sensor = \"{key}\" }";
    let payload = r#"{"ts":1780000000,"version":3,"fw_a":1,"s1":{"t":1},"s2":5}"#;
    let expected = json!([[1_780_000_000.0, "sensor=s1", {"t": 1.0}], [1_780_000_000.0, "sensor=s2", {"value": 5.0}]]);
    assert_eq!(Json::from(rows(source, payload)), expected);
    let source = "rows = \"*.*\"\ntags = { site = \"{key1}\", device = \"{key2}\" }";
    assert_eq!(rows(source, r#"{"a":{"b":{"v":1}}}"#), [json!([null, "device=b,site=a", {"v": 1.0}])]);
}

#[test]
fn each_row_may_tell_its_table() {
    let out = decoded("rows = \"*\"\ntable = \"m_{key}\"", r#"{"a":{"v":1},"b/c":{"v":2},"A":{"v":3}}"#);
    assert_eq!(out.tables, ["m_a", "m_b_c"]);
    assert_eq!(out.rows.iter().map(|row| row.table).collect::<Vec<_>>(), [1, 2, 1]);
}

#[test]
fn name_and_value_make_one_row_of_a_moment() {
    let source =
        "rows = \"values[]\"\nname = \"id\"\nvalue = \"v\"\ntimestamp = { field = \"t\" }\nscale = { \"P.1\" = 0.1 }";
    let payload = r#"{"timestamp":1,"values":[
        {"id":"P.1","v":7,"q":true,"t":1780000000193},{"id":"P.2","v":"RUN","q":true,"t":1780000000193},
        {"id":"P.1","v":9,"q":true,"t":1780000000200},{"id":"P.1","v":8,"t":1780000000193},{"id":"t","v":1,"t":1780000000200}]}"#;
    let expected = json!([
        [1_780_000_000.193, "", {"P_1": 0.7, "P_2": "RUN"}],
        [1_780_000_000.2, "", {"P_1": 0.9, "t": 1.0}],
        [1_780_000_000.193, "", {"P_1": 0.8}],
    ]);
    assert_eq!(Json::from(rows(source, payload)), expected, "of two values of a moment none is lost");
    let (left, why) = faulty(source, r#"{"values":[{"v":1,"t":1780000000},{"id":"a","v":2},{"id":"b"}]}"#);
    assert!(left == 1 && why.contains("no name at \"id\""), "{why}");
    let source =
        "rows = \"Payload.*\"\nname = \"{key}\"\nvalue = \"Value\"\ntimestamp = { field = \"SourceTimestamp\" }";
    let payload = r#"{"Payload":{"A":{"Value":true,"SourceTimestamp":"2026-03-18T12:00:00Z"},"B":{"Value":5,"SourceTimestamp":"2026-03-18T12:00:00Z"},"C":{"StatusCode":1}}}"#;
    assert_eq!(Json::from(rows(source, payload)), json!([[1_773_835_200.0, "", {"A": true, "B": 5.0}]]));
}

#[test]
fn arrays_side_by_side_make_rows() {
    let source = "zip = [\"ts\", \"v\"]\nsymbols = [\"id\"]\ntimestamp = { field = \"ts\" }";
    let payload = r#"{"id":"d","ts":[1780000000,1780000001],"v":[1,null],"fw":3}"#;
    let expected = json!([[1_780_000_000.0, "id=d", {"v": 1.0, "fw": 3.0}], [1_780_000_001.0, "id=d", {"fw": 3.0}]]);
    assert_eq!(Json::from(rows(source, payload)), expected);
    let (left, why) = faulty(source, r#"{"ts":[1780000000,1780000001],"v":[1]}"#);
    assert!(left == 1 && why.contains("ts has 2 elements, v has 1 elements"), "{why}");
    let (left, why) = faulty(source, r#"{"ts":[1780000000],"v":1}"#);
    assert!(left == 0 && why.contains("v is no array"), "{why}");
    let source = "zip = [\"d.ts\", \"d.v\"]\ntimestamp = { field = \"d.ts\" }";
    let payload = r#"{"d":{"ts":[1780000000],"v":[1],"n":2}}"#;
    assert_eq!(Json::from(rows(source, payload)), json!([[1_780_000_000.0, "", {"d_v": 1.0, "d_n": 2.0}]]));
    let source = "rows = \"hourly\"\nzip = [\"time\", \"t\"]\ntimestamp = { field = \"time\" }";
    let payload = r#"{"hourly":{"time":["2026-03-01T12:00","2026-03-01T13:00"],"t":[1,2]},"lat":5}"#;
    assert_eq!(rows(source, payload).len(), 2);
}

#[test]
fn samples_of_a_block_follow_each_other() {
    let source = "rows = \"samples[]\"\ntimestamp = { field = \"$.t0\", step = \"10ms\" }";
    let expected = json!([[1_780_000_000.0, "", {"value": 5.0}], [1_780_000_000.01, "", {"value": 6.0}]]);
    assert_eq!(Json::from(rows(source, r#"{"t0":1780000000,"samples":[5,6]}"#)), expected);
    let out = decoded(source, r#"{"samples":[5,6]}"#);
    assert!(out.rows.iter().all(|row| row.time.is_none() && row.apart && row.notes.untimed), "none replaces another");
    let end = decoded(source, r#"{"t0":9223372036.854775,"samples":[5,6,7]}"#);
    assert_eq!(end.rows.len(), 3);
}

#[test]
fn a_document_without_the_place_is_told_and_one_that_says_nothing_is_not() {
    let (left, why) = faulty("rows = \"values[]\"", r#"{"value":[1]}"#);
    assert!(left == 0 && why.contains("rows = \"values[]\" leads to nothing"), "{why}");
    let (left, why) = faulty("rows = \"values[]\"", r#"[{"values":[1]},{"x":2}]"#);
    assert!(left == 1 && why.starts_with("at $[1]: "), "{why}");
    for payload in ["{}", "[]", "null", r#"{"values":[]}"#, r#"{"values":[{},null]}"#, r#"{"values":null}"#] {
        assert_eq!(rows("rows = \"values[]\"", payload), Vec::<Json>::new(), "{payload}");
    }
}

#[test]
fn what_stands_twice_or_has_no_name_is_not_lost() {
    let two = json!([[null, "", {"value": 1.0}], [null, "", {"value": 2.0}]]);
    for (source, payload) in [
        ("rows = \"r[]\"", r#"{"r":[1],"r":[2]}"#),
        ("rows = \"r.s[]\"", r#"{"r":{"s":[1]},"r":{"s":[2]}}"#),
        ("rows = \"r.s[]\"", r#"{"r.s":[1],"r.s":[2],"r":{"s":[3]}}"#),
    ] {
        assert_eq!(Json::from(rows(source, payload)), two, "{source} {payload}");
    }
    let (left, why) = faulty("rows = \"[]\"\nname = \"n\"\nvalue = \"v\"", r#"[1,{"n":"a","v":3}]"#);
    assert!(left == 1 && why.starts_with("at $[0]: it is no object"), "{why}");
    let mixed = rows("rows = \"*\"\nname = \"{key}\"\nvalue = \"v\"", r#"{"temp":{"v":1},"hum":55}"#);
    assert_eq!(mixed, [json!([null, "", {"temp": 1.0, "hum": 55.0}])]);
    let (left, why) = faulty("scale = { a = 10 }", r#"{"a":1e308,"b":1}"#);
    assert!(left == 1 && why.contains("beyond what a double holds"), "{why}");
    let (left, why) = faulty("fields = { a = \"long\" }", r#"{"a":9007199254740993.0,"b":1}"#);
    assert!(left == 1 && why.contains("wants type \"long\""), "{why}");
}

#[test]
fn work_and_memory_of_one_message_are_bounded() {
    let refused = |source: &str, payload: &str| {
        let source: Source = toml::from_str(&format!("topic = \"t\"\ntable = \"t\"\n{source}")).expect("a source");
        let mut decoder = Decoder::new("s", &source).expect("a decoder");
        let topic = decoder.resolve("t").expect("match").expect("valid");
        let mut out = Decoded::default();
        decoder.decode(&Payload::of(&topic, payload.as_bytes()), &mut out).expect_err("too much").reason
    };
    let ones = vec!["1"; 10_000].join(",");
    let beside = format!(r#"{{"t":[{ones}],"v":[{ones}],"s":"{}"}}"#, "x".repeat(100_000));
    assert!(refused("zip = [\"t\", \"v\"]", &beside).contains("bytes together"));
    let patterns: Vec<String> = (0..1_000).map(|n| format!("\"{n}*x*y*\"")).collect();
    let many = format!("{{\"a\":[{}]}}", vec!["1"; 20_000].join(","));
    assert!(refused(&format!("only = [{}]", patterns.join(",")), &many).contains("too many members"));
    let name = "n".repeat(100_000);
    let (left, why) = faulty("", &format!(r#"{{"{name}":[{ones}],"v":1}}"#));
    assert!(left == 1 && why.contains("its name has more than"), "{why:.200}");
}

#[test]
fn faults_say_where_they_are() {
    let (left, why) = faulty("rows = \"a.b[]\"\nfields = { n = \"long\" }", r#"{"a":{"b":[{"n":1},{"n":"x","m":2}]}}"#);
    assert!(left == 2 && why.starts_with("at $.a.b[1].n: "), "{why}");
    let (_, why) = faulty("rows = \"b[]\"\nfields = { \"$.n\" = \"long\" }", r#"{"n":"x","b":[{"m":2}]}"#);
    assert!(why.starts_with("at $.n: "), "{why}");
    let out = decoded("rows = \"b[]\"\ntags = { k = \"x\" }", "{\"b\":[{\"m\":NaN},{\"m\":2,\"s\":\"\\ud800\"}]}");
    assert!(out.rows.len() == 1 && out.faults.reason().contains("$.b[1].s"), "{}", out.faults.reason());
}

#[test]
fn a_program_makes_rows_first() {
    let source = "jq = \".values[] | {id, v, ts: .t}\"\nsymbols = [\"id\"]\ntimestamp = { field = \"ts\" }";
    let payload = r#"{"values":[{"id":"a","v":1,"t":1780000000},{"id":"b","v":9007199254740993,"t":1780000000}]}"#;
    let expected =
        json!([[1_780_000_000.0, "id=a", {"v": 1.0}], [1_780_000_000.0, "id=b", {"v": 9_007_199_254_740_993_i64}]]);
    assert_eq!(Json::from(rows(source, payload)), expected);
    assert_eq!(rows("jq = \"{a, rest: [.b[]]}\"\nrows = \"rest[]\"", r#"{"a":1,"b":[{"c":NaN,"d":2}]}"#).len(), 1);
    assert!(rows("jq = \"empty\"", "{\"a\":1}").is_empty());
    let source = "format = \"plain\"\njq = \"split(\\\";\\\") | map(split(\\\":\\\") | {key: .[0], value: .[1]}) | from_entries\"\nfields = { U = \"double\", P = \"double\" }";
    assert_eq!(rows(source, "P:1234;U:230,1\r\n"), [json!([null, "", {"P": 1234.0, "U": 230.1}])]);
}

#[test]
fn mistakes_name_their_key() {
    for (source, key, part) in [
        ("rows = \"a[0]\"", "rows", "neither a name"),
        ("name = \"id\"", "value", "name needs it"),
        ("value = \"v\"", "name", "value needs it"),
        ("zip = [\"a\"]", "zip", "at least two"),
        ("zip = [\"$.a\", \"b\"]", "zip", "stand in the row"),
        ("zip = [\"a\", \"b\"]\nname = \"n\"\nvalue = \"v\"", "zip", "one of the two"),
        ("timestamp = { field = \"t\", step = \"1s\" }", "timestamp.step", "rows"),
        ("rows = \"a[]\"\ntimestamp = { field = \"t\", step = \"0s\" }", "timestamp.step", "0"),
        ("timestamp = { field = \"^.t\" }", "timestamp.field", "rows"),
        ("symbols = [\"^.t\"]", "symbols", "rows"),
        ("rows = \"a[]\"\ntags = { k = \"{key}\" }", "tags", "{key}"),
        ("jq = \".a |\"", "jq", "line 1"),
        ("jq = \"env\"", "jq", "env"),
        ("format = \"plain\"\nrows = \"a\"", "rows", "format = \"plain\""),
        ("format = \"line\"\njq = \".\"", "jq", "format = \"plain\""),
        ("rows = \"*\"\nname = \"{x}\"\nvalue = \"v\"", "name", "{key}"),
        ("rename = { a = \"{x}\" }", "rename", "placeholders"),
        ("name = \"{key}\"\nvalue = \"v\"\nrows = \"a[]\"", "name", "met"),
        ("rows = \"$\"", "rows", "outside"),
        ("rows = \"*\"\ntimestamp = { field = \"^.t\", step = \"1s\" }", "timestamp.step", "[]"),
        ("format = \"csv\"\ncolumns = [\"x\", \"v\"]", "columns", "placeholder"),
        ("format = \"csv\"\ncolumns = [\"a?b\", \"a_b\"]", "columns", "twice"),
        ("columns = [\"a\"]", "columns", "format = \"json\""),
        ("timestamp = { field = \"t\", zone = \"Europe/Berlim\" }", "timestamp.zone", "tzdata"),
        ("timestamp = { field = \"t\", unit = \"%Q\" }", "timestamp.unit", "%Q"),
        ("field = \"{metric}\"", "field", "{metric}"),
        ("exclude = [\"a/#/b\"]", "exclude", "follows"),
        ("exclude = [\"a/{x}\"]", "exclude", "keeps nothing"),
    ] {
        let source: Source =
            toml::from_str(&format!("topic = \"t/{{x}}\"\ntable = \"t\"\n{source}")).expect("a source");
        let errors = Decoder::check("s", &source).expect_err(key);
        let found = errors.iter().find(|error| error.key == key);
        assert!(found.is_some_and(|error| error.problem.to_string().contains(part)), "{key}: {errors:?}");
    }
}
