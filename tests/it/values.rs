//! Values are true: what devices in the field send is stored as they meant it, and what cannot be
//! is told.

use std::{sync::Arc, time::Duration};

use forebay::{
    clock::SystemClock,
    entry::{RawRows, encode_rows},
    point::{Row, Timestamp},
    questdb::{
        Connection, RowBuffer, Secrets, Writer,
        columns::{Columns, Coming},
        schema::Schema,
    },
    settings,
};
use serde_json::{Value, json};

use super::write;
use crate::support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, daemon::pending, eventually, eventually_eq, unique};

const LIMIT: Duration = Duration::from_secs(60);
/// A second of 2026, in milliseconds.
const T: u64 = 1_780_000_000_000;

/// A daemon with one source `s`: messages on `NAME/{id}` go to table NAME.
fn source(broker: &Mosquitto, questdb: &QuestDb, name: &str) -> DaemonBuilder {
    DaemonBuilder::new()
        .servers(broker, questdb)
        .set("source.s.topic", format!("{name}/{{id}}"))
        .set("source.s.table", name)
}

fn timed(builder: DaemonBuilder) -> DaemonBuilder {
    builder.set("source.s.timestamp.field", "ts")
}

/// Waits until so many messages have come in, and QuestDB shows their rows.
fn settled(daemon: &Daemon, questdb: &QuestDb, table: &str, messages: u64) {
    daemon.wait_drained(messages, LIMIT);
    questdb.settle(table);
}

/// What is counted of a source since the ring was created.
fn counted(daemon: &Daemon, source: &str, counter: &str) -> u64 {
    let status = daemon.status();
    let all = status["ring"]["counted"].as_array().cloned().unwrap_or_default();
    all.iter().find(|of| of["source"] == source).and_then(|of| of[counter].as_u64()).unwrap_or(0)
}

fn latest(daemon: &Daemon, table: &str, id: &str) -> Value {
    let answer = daemon.request("GET", &format!("/v1/latest?table={table}&id={id}"), "").expect("an answer");
    assert_eq!(answer.code, 200, "{}", answer.body);
    let mut series = answer.json()["series"].as_array().cloned().unwrap_or_default();
    assert_eq!(series.len(), 1, "{}", answer.body);
    series.remove(0)["fields"].take()
}

#[track_caller]
fn verified(daemon: &Daemon) {
    let told = daemon.cli(&["verify"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
}

fn quarantine(daemon: &Daemon) -> Vec<Value> {
    let output = daemon.cli(&["--json", "quarantine", "ls", "--limit", "1000"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    answer["entries"].as_array().cloned().unwrap_or_default()
}

#[test]
fn rows_that_replace_each_other_are_counted_and_the_missing_symbol_is_named() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("replaced"));
    let mut daemon = timed(source(&broker, questdb, &table)).start();
    daemon.wait_subscribed();
    let readings = format!(r#"[{{"pump":"P1","v":7,"ts":{T}}},{{"pump":"P2","v":0,"ts":{T}}}]"#);
    let topic = format!("{table}/a");
    broker.publish(&[(&topic, &readings)]);
    settled(&daemon, questdb, &table, 1);
    assert_eq!(questdb.sql(&format!("SELECT pump, v FROM '{table}'")), [[json!("P2"), json!(0.0)]]);
    assert_eq!(counted(&daemon, "s", "replaced"), 1);
    let status = daemon.status();
    let of = &status["replaced"][0];
    assert_eq!(
        (&of["replaced"], &of["in_one_message"], &of["differing_member"]),
        (&json!(1), &json!(1), &json!("pump"))
    );
    assert!(daemon.log().contains("may need \"pump\" in its symbols"), "{}", daemon.log());
    // The same once more is a message delivered again: its last reading is what is stored.
    broker.publish(&[(&topic, &format!(r#"{{"pump":"P2","v":0,"ts":{T}}}"#))]);
    broker.publish(&[(&topic, &format!(r#"{{"pump":"P2","v":1,"ts":{T}}}"#))]);
    eventually_eq(LIMIT, "a conflict is counted, a redelivery is not", 2, || counted(&daemon, "s", "replaced"));
    let page = daemon.request("GET", "/metrics", "").expect("the page").body;
    assert!(page.contains(r#"forebay_source_replaced_total{source="s"} 2"#), "{page}");
    assert!(page.contains(&format!(r#"forebay_table_replaced_rows_total{{source="s",table="{table}"}} 2"#)), "{page}");
    daemon.kill9();
    daemon.restart();
    assert_eq!(counted(&daemon, "s", "replaced"), 2, "exact after a kill");
    broker.publish(&[(&topic, &format!(r#"{{"pump":"P3","ts":{T}}}"#))]);
    eventually_eq(LIMIT, "the ring tells what was there", 3, || counted(&daemon, "s", "replaced"));
    // What was under way at the kill may have come twice.
    eventually(LIMIT, "all is stored", || pending(&daemon.status()["ledger"]) == 0);
    questdb.settle(&table);
    assert_eq!(questdb.sql(&format!("SELECT pump, v FROM '{table}'")), [[json!("P3"), json!(1.0)]]);
    verified(&daemon);
}

#[test]
fn rows_of_one_time_are_all_kept_where_the_source_says_so() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("same_time"));
    let mut daemon = timed(source(&broker, questdb, &table)).set("source.s.same_time", "keep").start();
    daemon.wait_subscribed();
    let topic = format!("{table}/a");
    let events: Vec<String> = (0..20).map(|n| format!(r#"{{"event":"door {n}","ts":{}}}"#, T / 1_000)).collect();
    let send = |payloads: &[String]| {
        let messages: Vec<(&str, &str)> = payloads.iter().map(|payload| (topic.as_str(), payload.as_str())).collect();
        broker.publish(&messages);
    };
    send(&events);
    // Rows of one message that do not even differ in what the table has a symbol for.
    let pumps = [format!(r#"[{{"pump":"P1","v":7,"ts":{T}}},{{"pump":"P2","v":0,"ts":{T}}}]"#)];
    send(&pumps);
    settled(&daemon, questdb, &table, 21);
    daemon.kill9();
    daemon.restart();
    send(&events);
    send(&pumps);
    eventually(LIMIT, "all is stored", || {
        daemon.status()["ledger"]["messages"].as_u64() >= Some(42) && pending(&daemon.status()["ledger"]) == 0
    });
    questdb.settle(&table);
    let count = questdb.sql(&format!(
        "SELECT count(), count_distinct(event), count_distinct(pump), max(timestamp) - min(timestamp) < 2000 FROM '{table}'"
    ));
    assert_eq!(count, [[json!(22), json!(20), json!(2), json!(true)]]);
    assert_eq!(counted(&daemon, "s", "replaced"), 0);
    verified(&daemon);
}

#[test]
fn what_was_left_out_joins_its_row_once_the_source_is_put_right() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("joins"));
    let mut daemon = source(&broker, questdb, &table)
        .set("source.s.timestamp.field", "ts")
        .set("source.s.fields.battery", "long")
        .start();
    daemon.wait_subscribed();
    let topic = format!("{table}/a");
    let timed = format!(r#"{{"temp":20.5,"battery":"full","ts":{T}}}"#);
    broker.publish(&[(&topic, &timed), (&topic, r#"{"temp":21.5,"battery":"low"}"#)]);
    settled(&daemon, questdb, &table, 2);
    eventually_eq(LIMIT, "both parts are set aside", 2, || quarantine(&daemon).len());
    let before = questdb.sql(&format!("SELECT temp, timestamp FROM '{table}' ORDER BY temp"));
    daemon.stop();
    daemon.reconfigure(|builder| builder.set("source.s.fields.battery", "string"));
    daemon.restart();
    let told = daemon.cli(&["quarantine", "requeue", "--all"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert!(quarantine(&daemon).is_empty());
    eventually(LIMIT, "all is stored", || pending(&daemon.status()["ledger"]) == 0);
    questdb.settle(&table);
    assert_eq!(questdb.sql(&format!("SELECT temp, timestamp FROM '{table}' ORDER BY temp")), before);
    let batteries = questdb.sql(&format!("SELECT battery FROM '{table}' ORDER BY temp"));
    assert_eq!(batteries, [[json!("full")], [json!("low")]]);
    assert_eq!(counted(&daemon, "s", "replaced"), 0);
    verified(&daemon);
}

#[test]
fn halves_of_moments_meet_also_after_an_outage_and_a_restart() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("halves"));
    let mut daemon = timed(source(&broker, questdb, &table)).start();
    daemon.wait_subscribed();
    let topic = format!("{table}/plc");
    let half = |name: &str, second: u64| format!(r#"{{"ts":{},"{name}":{second}}}"#, T + second * 1_000);
    let send = |name: &str, seconds: std::ops::Range<u64>| {
        let payloads: Vec<String> = seconds.map(|second| half(name, second)).collect();
        let messages: Vec<(&str, &str)> = payloads.iter().map(|payload| (topic.as_str(), payload.as_str())).collect();
        broker.publish(&messages);
    };
    send("temp", 0..300);
    send("hum", 0..100);
    settled(&daemon, questdb, &table, 400);
    assert!(daemon.stop().success(), "{}", daemon.log());
    daemon.restart();
    daemon.wait_subscribed();
    send("hum", 100..200);
    daemon.kill9();
    daemon.restart();
    daemon.wait_subscribed();
    send("hum", 200..300);
    eventually(LIMIT, "all is stored", || pending(&daemon.status()["ledger"]) == 0);
    let whole = format!("SELECT count() FROM '{table}' WHERE temp = hum AND temp IS NOT NULL");
    eventually_eq(LIMIT, "every moment has both halves", 300, || questdb.number(&whole));
    assert_eq!((questdb.count(&table), counted(&daemon, "s", "replaced")), (300, 0));
    verified(&daemon);
}

#[test]
fn an_export_that_is_written_in_pieces_keeps_all_its_columns() {
    let (questdb, table) = (QuestDb::shared(), unique("export"));
    let daemon = write::stage(questdb).start();
    for (column, first) in [("usage_user", 1), ("usage_idle", 91)] {
        let line =
            |n: i64| format!("{table},host=h {column}={} {}\n", first + n, (1_780_000_000 + n * 10) * 1_000_000_000);
        let body: String = (0..30).map(line).collect();
        let answer = daemon.request("POST", "/write", &body).expect("an answer");
        assert_eq!(answer.code, 204, "{}", answer.body);
    }
    settled(&daemon, questdb, &table, 2);
    let whole = format!("SELECT count() FROM '{table}' WHERE usage_idle = usage_user + 90");
    eventually_eq(LIMIT, "every moment has both columns", 30, || questdb.number(&whole));
    verified(&daemon);
}

#[test]
fn the_first_value_of_a_column_locks_nobody_out() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("types"));
    let builder = source(&broker, questdb, &table).set("source.s.format", "plain");
    let mut daemon = builder.start();
    daemon.wait_subscribed();
    let [a, b] = ["a", "b"].map(|id| format!("{table}/{id}"));
    broker.publish(&[
        (&a, "unavailable"),
        (&a, "41.5"),
        (&b, "42.5"),
        (&a, "true"),
        (&b, "9007199254740993"),
        (&a, "unknown"),
    ]);
    settled(&daemon, questdb, &table, 6);
    let stored = questdb.sql(&format!(
        "SELECT id, value, value_double, value_boolean, value_long FROM '{table}' ORDER BY id, timestamp"
    ));
    let null = Value::Null;
    let expected = [
        [json!("a"), json!("unavailable"), null.clone(), null.clone(), null.clone()],
        [json!("a"), null.clone(), json!(41.5), null.clone(), null.clone()],
        [json!("a"), null.clone(), null.clone(), json!(1), null.clone()],
        [json!("a"), json!("unknown"), null.clone(), null.clone(), null.clone()],
        [json!("b"), null.clone(), json!(42.5), null.clone(), null.clone()],
        [json!("b"), null.clone(), null.clone(), null, json!(9_007_199_254_740_993_i64)],
    ];
    assert_eq!(stored, expected);
    assert_eq!(latest(&daemon, &table, "b")["value"], json!(9_007_199_254_740_993_i64));
    verified(&daemon);
    let status = daemon.status();
    let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
    let beside =
        |name: &str| warnings.iter().filter(|text| text.as_str().is_some_and(|text| text.contains(name))).count();
    assert_eq!((beside("value_double"), beside("value_long")), (1, 1), "{warnings:?}");
    // A daemon that knows nothing asks QuestDB: it reads the columns as the one field.
    assert!(daemon.stop().success(), "{}", daemon.log());
    std::fs::remove_file(daemon.ring()).expect("the ring");
    daemon.restart();
    assert_eq!(latest(&daemon, &table, "b")["value"], json!(9_007_199_254_740_993_i64));
    broker.publish(&[(&b, "43.5")]);
    settled(&daemon, questdb, &table, 1);
    assert_eq!(questdb.number(&format!("SELECT count() FROM '{table}' WHERE value_double = 43.5")), 1);
}

#[test]
fn written_numbers_of_both_kinds_go_together() {
    let (questdb, table) = (QuestDb::shared(), unique("kinds"));
    let daemon = write::stage(questdb).start();
    let values = ["1i", "1.5", "2i", "\"x\"", "t", "3"];
    for (n, value) in values.iter().enumerate() {
        let line = format!("{table},a=b value={value} {}", 1_780_000_000_000_000_000_u64 + n as u64 * 1_000_000_000);
        assert_eq!(daemon.request("POST", "/write", &line).expect("an answer").code, 204, "{line}");
    }
    settled(&daemon, questdb, &table, values.len() as u64);
    let stored = questdb.sql(&format!("SELECT value, value_double, value_string FROM '{table}'"));
    let null = Value::Null;
    let row = |value: Value, double: Value, string: Value| [value, double, string];
    let expected = [
        row(json!(1), null.clone(), null.clone()),
        row(null.clone(), json!(1.5), null.clone()),
        row(json!(2), null.clone(), null.clone()),
        row(null.clone(), null.clone(), json!("x")),
        row(json!(1), null.clone(), null.clone()),
        row(json!(3), null.clone(), null),
    ];
    assert_eq!(stored, expected);
    assert_eq!(daemon.ledger("quarantined"), 0);
    verified(&daemon);
}

#[test]
fn what_a_motion_sensor_did_not_say_is_unknown_and_not_false() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("absent"));
    let mut daemon = source(&broker, questdb, &table).start();
    daemon.wait_subscribed();
    let [motion, door] = ["motion", "door"].map(|id| format!("{table}/{id}"));
    broker.publish(&[
        (&motion, r#"{"occupancy":true,"battery":90}"#),
        (&motion, r#"{"battery":89}"#),
        (&door, r#"{"battery":1}"#),
    ]);
    settled(&daemon, questdb, &table, 3);
    let stored = questdb.sql(&format!("SELECT battery, occupancy FROM '{table}' ORDER BY id DESC, timestamp"));
    assert_eq!(stored, [[json!(90.0), json!(1)], [json!(89.0), Value::Null], [json!(1.0), Value::Null]]);
    assert_eq!(latest(&daemon, &table, "motion"), json!({ "battery": 89.0, "occupancy": 1 }));
    verified(&daemon);
    // From the database alone.
    assert!(daemon.stop().success(), "{}", daemon.log());
    std::fs::remove_file(daemon.ring()).expect("the ring");
    daemon.restart();
    assert_eq!(latest(&daemon, &table, "door"), json!({ "battery": 1.0 }));
}

#[test]
fn one_bad_part_costs_itself_and_is_kept_with_its_reason() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("parts"));
    let builder = timed(source(&broker, questdb, &table)).set("source.s.fields.battery", "long");
    let daemon = builder.start();
    daemon.wait_subscribed();
    let at = |id: &str| format!("{table}/{id}");
    let array = format!(
        r#"[{{"ts":{T},"v":1}},7,{{"ts":{},"v":2,"dew-point":9}},{{}},{{"ts":4102444800000,"v":3}}]"#,
        T + 1_000
    );
    broker.publish(&[
        (&at("array"), &array),
        (&at("type"), &format!(r#"{{"ts":{T},"battery":87.5,"temp":21}}"#)),
        (&at("twice"), &format!(r#"{{"ts":{T},"Temp":7,"temp":8}}"#)),
        (&at("topic"), &format!(r#"{{"ts":{T},"id":"topic","temp":1}}"#)),
        (&at("nul"), &format!("{{\"ts\":{T},\"note\":\"a\\u0000b\",\"temp\":NaN}}\0")),
        (&at("empty"), "{}"),
        (&at("empty"), r#"{"v":null}"#),
        (&at("empty"), "null"),
    ]);
    settled(&daemon, questdb, &table, 5);
    let read = |id: &str, fields: &str| questdb.sql(&format!("SELECT {fields} FROM '{table}' WHERE id = '{id}'"));
    assert_eq!(read("array", "v, dew_point"), [[json!(1.0), Value::Null], [json!(2.0), json!(9.0)]]);
    assert_eq!(read("type", "temp"), [[json!(21.0)]]);
    assert_eq!(read("twice", "temp"), [[json!(7.0)]]);
    assert_eq!(read("topic", "temp"), [[json!(1.0)]]);
    assert_eq!(read("nul", "note, temp"), [[json!("a\u{fffd}b"), Value::Null]]);
    assert_eq!(counted(&daemon, "s", "empty"), 3);
    let mut reasons: Vec<String> =
        quarantine(&daemon).iter().map(|entry| entry["reason"].as_str().unwrap_or_default().to_owned()).collect();
    reasons.sort();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].starts_with("at $.battery: 87.5 is a number"), "{reasons:?}");
    assert!(reasons[1].starts_with("at $: \"temp\" appears twice"), "{reasons:?}");
    assert!(reasons[2].starts_with("at $[1]: it is a number") && reasons[2].contains("max_future"), "{reasons:?}");
    let status = daemon.status();
    let source = status["sources"].as_array().and_then(|all| all.iter().find(|of| of["name"] == "s")).cloned();
    assert_eq!(source.map(|of| of["bad_members"].clone()), Some(json!(4)));
    verified(&daemon);
}

#[test]
fn a_flood_of_nothing_pushes_no_dead_letter_out() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("flood"));
    let builder = source(&broker, questdb, &table).set("quarantine.size", "1MiB");
    let daemon = builder.set("source.s.fields.v", "double").start();
    daemon.wait_subscribed();
    let (real, topic) = (format!("{table}/real"), format!("{table}/x"));
    broker.publish(&[(&real, "not JSON")]);
    let nothing: Vec<(&str, &str)> = (0..3_000).map(|_| (topic.as_str(), r#"{"v":null}"#)).collect();
    broker.publish(&nothing);
    let pad = "x".repeat(900);
    let bad = format!(r#"{{"v":"broken","pad":"{pad}"}}"#);
    let bad: Vec<(&str, &str)> = (0..2_000).map(|_| (topic.as_str(), bad.as_str())).collect();
    broker.publish(&bad);
    eventually_eq(LIMIT, "all are counted", 3_000, || counted(&daemon, "s", "empty"));
    settled(&daemon, questdb, &table, 2_001);
    let entries = quarantine(&daemon);
    assert!(entries.iter().any(|entry| entry["reason"].as_str().is_some_and(|why| why.contains("invalid JSON"))));
    assert_eq!(daemon.ledger("dead_letters"), 101, "of one member and kind a hundred a day are kept");
    let stored = format!("SELECT count() FROM '{table}' WHERE pad IS NOT NULL");
    eventually_eq(LIMIT, "the good part of each is stored", 2_000, || questdb.number(&stored));
}

#[test]
fn times_that_cannot_be_true_give_the_time_of_receipt() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("untimed"));
    let daemon = timed(source(&broker, questdb, &table)).start();
    daemon.wait_subscribed();
    let esp = format!("{table}/esp");
    let zero: Vec<String> = (20..26).map(|temp| format!(r#"{{"ts":0,"temp":{temp}}}"#)).collect();
    let zero: Vec<(&str, &str)> = zero.iter().map(|payload| (esp.as_str(), payload.as_str())).collect();
    broker.publish(&zero);
    let other = format!("{table}/other");
    let payloads: Vec<String> = ["42", "null", "\"\"", "\"soon\"", "-1", "true"]
        .map(|ts| format!(r#"{{"ts":{ts},"temp":1}}"#))
        .into_iter()
        .chain([r#"{"temp":1}"#.to_owned()])
        .collect();
    let payloads: Vec<(&str, &str)> = payloads.iter().map(|payload| (other.as_str(), payload.as_str())).collect();
    broker.publish(&payloads);
    let told = format!("{table}/told");
    let forms =
        ["1780000000", "1780000000000", "1780000000000000", "\"2026-05-28T20:26:40Z\"", "\"2026-05-28 22:26:40+0200\""];
    for (n, ts) in forms.iter().enumerate() {
        broker.publish(&[(&told, &format!(r#"{{"ts":{ts},"f{n}":1}}"#))]);
    }
    settled(&daemon, questdb, &table, 18);
    let recent = "timestamp > dateadd('m', -10, now())";
    assert_eq!(questdb.number(&format!("SELECT count() FROM '{table}' WHERE id = 'esp' AND {recent}")), 6, "six rows");
    assert_eq!(questdb.number(&format!("SELECT count() FROM '{table}' WHERE id = 'other' AND {recent}")), 7);
    let one = format!(
        "SELECT count() FROM '{table}' WHERE id = 'told' AND timestamp = '2026-05-28T20:26:40Z' AND f0 + f4 = 2"
    );
    eventually_eq(LIMIT, "every form is the same moment", 1, || questdb.number(&one));
    assert_eq!(counted(&daemon, "s", "untimed"), 13);
    assert_eq!(daemon.ledger("dead_letters"), 0);
}

#[test]
fn a_value_retained_yesterday_is_none_of_today() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("retained"));
    let mut publisher = broker.publisher().expect("connects");
    publisher.publish_retained(&format!("{table}/a"), br#"{"v":1}"#).expect("publishes");
    publisher.publish_retained(&format!("{table}/b"), format!(r#"{{"v":2,"ts":{T}}}"#).as_bytes()).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    let mut daemon = timed(source(&broker, questdb, &table)).start();
    daemon.wait_subscribed();
    eventually_eq(LIMIT, "it is counted", 1, || counted(&daemon, "s", "retained"));
    settled(&daemon, questdb, &table, 1);
    assert_eq!(questdb.sql(&format!("SELECT id, v FROM '{table}'")), [[json!("b"), json!(2.0)]]);
    assert!(daemon.stop().success(), "{}", daemon.log());
    // Another session: what is published meanwhile comes as a retained message alone.
    daemon.reconfigure(|builder| builder.set("source.s.retained", "latest").set("mqtt.client_id", unique("other")));
    publisher.publish_retained(&format!("{table}/c"), br#"{"v":3}"#).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    daemon.restart();
    eventually(LIMIT, "it is a latest value", || {
        let answer = daemon.request("GET", &format!("/v1/latest?table={table}&id=c"), "").expect("an answer");
        answer.code == 200 && answer.body.contains("\"v\":3")
    });
    assert_eq!(daemon.request("POST", "/v1/flush", "").expect("answers").code, 202);
    eventually_eq(LIMIT, "nothing waits", 0, || daemon.ledger("pending"));
    questdb.settle(&table);
    assert_eq!(questdb.number(&format!("SELECT count() FROM '{table}' WHERE id = 'c'")), 0, "and is not stored");
}

#[test]
fn one_bad_name_costs_a_written_request_nothing() {
    let (questdb, table) = (QuestDb::shared(), unique("batch"));
    let daemon = write::stage(questdb).start();
    let long = "n".repeat(130);
    let at = 1_780_000_000_000_000_000_u64;
    let body = format!("{table},h=a x.y=1,ok=2 {at}\n{table},h=b {long}=1,ok=3 {at}\n{table},h=c ok=4,OK=5 {at}\n");
    let answer = daemon.request("POST", "/write", &body).expect("an answer");
    assert_eq!((answer.code, answer.body.as_str()), (204, ""));
    settled(&daemon, questdb, &table, 1);
    let stored = questdb.sql(&format!("SELECT h, ok, x_y FROM '{table}' ORDER BY h"));
    let expected = [
        [json!("a"), json!(2.0), json!(1.0)],
        [json!("b"), json!(3.0), Value::Null],
        [json!("c"), json!(4.0), Value::Null],
    ];
    assert_eq!(stored, expected);
    let entries = quarantine(&daemon);
    assert_eq!(entries.len(), 1, "{entries:?}");
    let shown = daemon.cli(&["--json", "quarantine", "show", entries[0]["id"].as_str().expect("an id")]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("at line 2: ") && text.contains("at line 3: ") && text.contains(&long), "{text}");
    assert_eq!(daemon.status()["writes"]["bad_members"], 2);
}

/// Programs before this one stored NUL, which QuestDB gives back as it is: no JSON.
#[test]
fn a_nul_that_is_in_a_table_already_makes_nothing_unreadable() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("stored_nul"));
    let settings = settings::Questdb { conf: questdb.conf(), ..settings::Questdb::default() };
    let mut writer = Writer::new(Arc::new(Connection::new(&settings, Secrets::default()).expect("a connection")));
    writer.connect().expect("connects");
    let mut buffer = RowBuffer::speaking(writer.dialect().unwrap_or_default(), 1 << 20);
    let (schema, mut coming) = (Schema::new(None, Arc::new(SystemClock)), Coming::default());
    let row = Row {
        time: Some(Timestamp(T as i64 * 1_000_000)),
        symbols: vec![("id".into(), "old".into())],
        fields: vec![("note".into(), forebay::point::Value::Text("a\0b".into()))],
        ..Row::default()
    };
    let mut body = Vec::new();
    encode_rows(&table, &[row], &mut body).expect("within limits");
    let rows = RawRows::decode(&body).expect("reads");
    assert!(buffer.add_all(&table, rows, |_| true, &mut Columns::new(&schema, &mut coming, 300)));
    writer.send(&buffer).expect("stored");
    questdb.settle(&table);
    let daemon = timed(source(&broker, questdb, &table)).start();
    daemon.wait_subscribed();
    assert_eq!(latest(&daemon, &table, "old")["note"], json!("a\0b"));
    broker.publish(&[(&format!("{table}/new"), &format!(r#"{{"ts":{T},"note":"fine"}}"#))]);
    settled(&daemon, questdb, &table, 1);
    verified(&daemon);
}
