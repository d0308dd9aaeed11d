//! Payloads that are no readings, readings that are no good, and tables that are not as they should be.

use std::time::{Duration, SystemTime};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::count, eventually, eventually_eq, unique,
};

const LIMIT: Duration = Duration::from_secs(30);

struct Stage {
    broker: Mosquitto,
    questdb: &'static QuestDb,
    readings: Readings,
    daemon: Daemon,
}

fn stage(name: &str, change: impl FnOnce(DaemonBuilder, &Readings) -> DaemonBuilder) -> Stage {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique(name), 3);
    let builder = change(DaemonBuilder::new().servers(&broker, questdb).source(&readings), &readings);
    let daemon = builder.start();
    daemon.wait_subscribed();
    Stage { broker, questdb, readings, daemon }
}

impl Stage {
    fn table(&self) -> &str {
        &self.readings.name
    }

    /// Publishes one payload as device `dev-0`'s.
    fn say(&self, payload: &str) {
        self.say_bytes(&format!("{}/site-0/dev-0", self.readings.name), payload.as_bytes());
    }

    fn say_bytes(&self, topic: &str, payload: &[u8]) {
        let mut publisher = self.broker.publisher().expect("connects");
        publisher.publish(topic, payload).expect("publishes");
        publisher.drain(LIMIT).expect("the broker acknowledges");
    }

    /// The table's deduplication keys, by name.
    fn keys(&self) -> Vec<String> {
        let statement =
            format!(r#"SELECT "column" FROM table_columns('{}') WHERE upsertKey ORDER BY "column""#, self.table());
        let rows = self.questdb.sql(&statement);
        rows.iter().map(|row| row[0].as_str().expect("a name").to_owned()).collect()
    }

    /// Rows, those stored, those quarantined, and dead letters.
    fn fates(&self) -> (u64, u64, u64, u64) {
        let ledger = self.daemon.status()["ledger"].clone();
        let count = |name: &str| count(&ledger, name);
        (count("rows"), count("stored"), count("quarantined"), count("dead_letters"))
    }

    /// Entries in the quarantine file.
    fn quarantined(&self) -> u64 {
        self.daemon.database()["quarantine"]["entries"].as_u64().unwrap_or(0)
    }

    fn number(&self, what: &str) -> i64 {
        self.questdb.settle(self.table());
        self.questdb.number(&format!("SELECT {what} FROM '{}'", self.table()))
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

#[test]
fn rubbish_goes_to_quarantine_and_everything_else_goes_on() {
    let stage = stage("rubbish", |builder, _| builder);
    let mut publisher = stage.broker.publisher().expect("connects");
    let name = &stage.readings.name;
    let deep = "x".repeat(2_000);
    let year_ahead = format!(r#"{{"ts":{},"seq":1,"temperature":1}}"#, now_ms() + 365 * 86_400_000);
    let rubbish: Vec<(String, Vec<u8>)> = vec![
        (format!("{name}/a/b"), b"not json".to_vec()),
        (format!("{name}/a/b"), b"{\"ts\":1700000000000,\"temperature\":".to_vec()),
        (format!("{name}/a/b"), vec![0xFF, 0xFE, 0x00, 0x80]),
        (format!("{name}/a/b"), b"42".to_vec()),
        (format!("{name}/a/b"), br#"{"ts":1700000000000,"seq":"one"}"#.to_vec()),
        (format!("{name}/a/b"), format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes()),
        (format!("{name}/a/b"), year_ahead.into_bytes()),
        // A symbol longer than a symbol may be.
        (format!("{name}/a/{deep}"), br#"{"ts":1700000000000,"seq":1}"#.to_vec()),
    ];
    for (n, (topic, payload)) in rubbish.iter().enumerate() {
        let (good_topic, good) = stage.readings.reading(n as u64);
        publisher.publish(topic, payload).expect("publishes");
        publisher.publish(&good_topic, good.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");

    let count = rubbish.len() as u64;
    stage.daemon.wait_drained(2 * count, LIMIT);
    stage.readings.assert_exactly_once(stage.questdb, count, LIMIT);
    assert_eq!(stage.fates(), (count, count, 0, count));
    eventually_eq(LIMIT, "all of it is in quarantine", count, || stage.quarantined());
    eventually_eq(LIMIT, "all of it is acknowledged", 2 * count, || {
        stage.daemon.broker()["acknowledged"].as_u64().unwrap_or(0)
    });
}

#[test]
fn absurd_topics_and_names_are_stored_or_set_aside_but_stop_nothing() {
    let stage = stage("absurd", |builder, readings| {
        let key = format!("source.{}_by_topic", readings.name);
        builder
            .set(&format!("{key}.topic"), format!("{}_by_topic/{{kind}}/{{device...}}", readings.name))
            .set(&format!("{key}.table"), format!("{}_{{kind}}", readings.name))
    });
    let prefix = format!("{}_by_topic", stage.readings.name);
    let mut publisher = stage.broker.publisher().expect("connects");
    // What QuestDB takes in no name becomes an underscore.
    let as_tables = [
        ("a b", "a b"),
        ("ünïcode", "ünïcode"),
        ("\u{1F321}", "\u{1F321}"),
        ("..", "._"),
        ("''; DROP TABLE x;--", "__; DROP TABLE x;--"),
        ("switch:0", "switch_0"),
    ];
    for topic in as_tables.iter().map(|(kind, _)| format!("{kind}/ß/ä")).chain(["//".to_owned()]) {
        publisher.publish(&format!("{prefix}/{topic}"), br#"{"value":1.5}"#).expect("publishes");
    }
    let names = [r#"{"a/b":1}"#, r#"{"":1}"#, r#"{"temp-erature":1}"#, &format!(r#"{{"{}":1}}"#, "n".repeat(300))];
    for payload in names {
        publisher.publish(&format!("{prefix}/plain/dev"), payload.as_bytes()).expect("publishes");
    }
    let (topic, payload) = stage.readings.reading(0);
    publisher.publish(&topic, payload.as_bytes()).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");

    // A level that names nothing, and a name that is too long.
    let (rows, letters) = ((as_tables.len() + names.len() - 1) as u64 + 1, 2);
    stage.daemon.wait_drained(rows + letters, LIMIT);
    stage.readings.assert_exactly_once(stage.questdb, 1, LIMIT);
    for (_, name) in as_tables {
        let table = format!("{}_{name}", stage.readings.name);
        eventually_eq(LIMIT, &format!("rows in {table}"), 1, || stage.questdb.count(&table));
    }
    assert_eq!(stage.fates(), (rows, rows, 0, letters));
    eventually_eq(LIMIT, "what is no reading is in quarantine", letters, || stage.quarantined());
}

#[test]
fn one_row_that_the_database_refuses_is_set_aside_alone() {
    let stage = stage("refused", |builder, _| builder);
    let name = stage.table();
    stage.questdb.sql(&format!(
        "CREATE TABLE '{name}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, temperature DOUBLE, humidity DOUBLE, \
         seq LONG, code UUID) TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device, site)"
    ));
    let mut publisher = stage.broker.publisher().expect("connects");
    for n in 0..300 {
        let (topic, payload) = stage.readings.reading(n);
        publisher.publish(&topic, payload.as_bytes()).expect("publishes");
        if n == 150 {
            let bad = format!(r#"{{"ts":{},"seq":9,"code":"hot"}}"#, now_ms() - 5_000);
            publisher.publish(&topic, bad.as_bytes()).expect("publishes");
        }
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    stage.daemon.wait_drained(301, LIMIT);
    stage.readings.assert_exactly_once(stage.questdb, 300, LIMIT);
    let ledger = stage.daemon.status()["ledger"].clone();
    assert_eq!((&ledger["stored"], &ledger["quarantined"]), (&300.into(), &1.into()), "{ledger}");
    let reasons = stage.daemon.database()["quarantine"]["reasons"].to_string();
    assert!(reasons.contains("code") || reasons.to_lowercase().contains("cast"), "{reasons}");
}

#[test]
fn readings_of_the_same_time_become_the_union_of_their_fields() {
    let stage = stage("union", |builder, _| builder);
    let ts = now_ms() - 1_000;
    stage.say(&format!(r#"{{"ts":{ts},"temperature":1.5}}"#));
    eventually(LIMIT, "the first is stored", || stage.number("count()") == 1);
    stage.say(&format!(r#"{{"ts":{ts},"humidity":2.5}}"#));
    stage.say(&format!(r#"{{"ts":{ts},"pressure":3.5}}"#));
    stage.daemon.wait_drained(3, LIMIT);
    let table = stage.table();
    eventually(LIMIT, "the last field is stored", || {
        stage.questdb.try_sql(&format!("SELECT pressure FROM '{table}'")).is_ok_and(|rows| rows[0][0] == 3.5)
    });
    let rows = stage.questdb.sql(&format!("SELECT temperature, humidity, pressure FROM '{table}'"));
    assert_eq!(serde_json::json!(rows), serde_json::json!([[1.5, 2.5, 3.5]]));
}

#[test]
fn a_table_without_dedup_is_used_and_the_weaker_promise_is_told() {
    let stage = stage("nodedup", |builder, _| builder);
    let name = stage.table();
    stage.questdb.sql(&format!(
        "CREATE TABLE '{name}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, seq LONG) \
         TIMESTAMP(timestamp) PARTITION BY DAY WAL"
    ));
    stage.readings.publish(&mut stage.broker.publisher().expect("connects"), 0..10);
    stage.daemon.wait_drained(10, LIMIT);
    eventually(LIMIT, "all are stored", || stage.number("count()") == 10);
    let database = stage.daemon.database();
    assert!(database["delivery"].as_str().is_some_and(|text| text.starts_with("at-least-once")), "{database}");
    assert!(database["warnings"].to_string().contains(name), "the table is named: {database}");
    assert!(database["warnings"].to_string().contains("DEDUP ENABLE"), "the remedy is told: {database}");
}

#[test]
fn narrower_keys_send_rows_to_quarantine_unless_allowed() {
    for allowed in [false, true] {
        let stage = stage("narrow", |builder, readings| {
            builder.set(&format!("source.{}.allow_narrow_keys", readings.name), allowed)
        });
        let name = stage.table();
        stage.questdb.sql(&format!(
            "CREATE TABLE '{name}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, seq LONG) \
             TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device)"
        ));
        // A symbol outside the keys that no row uses could join them; this one is in use.
        stage.questdb.sql(&format!("INSERT INTO '{name}' VALUES ('2020-01-01', 'old', 'somewhere', 0)"));
        stage.readings.publish(&mut stage.broker.publisher().expect("connects"), 0..10);
        stage.daemon.wait_drained(10, LIMIT);
        let (stored, quarantined) = if allowed { (10, 0) } else { (0, 10) };
        eventually_eq(LIMIT, "rows besides the old one", stored, || stage.number("count()") - 1);
        assert_eq!(stage.daemon.ledger("quarantined"), quarantined);
        if !allowed {
            eventually(LIMIT, "the remedy is told", || {
                stage.daemon.database()["warnings"].to_string().contains("DEDUP ENABLE UPSERT KEYS")
            });
        }
    }
}

#[test]
fn a_new_symbol_joins_the_keys_before_its_first_row() {
    let mut stage = stage("newsymbol", |builder, _| builder);
    let (name, ts) = (stage.readings.name.clone(), now_ms() - 1_000);
    stage.say(&format!(r#"{{"ts":{},"seq":0}}"#, ts - 1));
    eventually(LIMIT, "the table is there", || stage.number("count()") == 1);

    assert_eq!(stage.daemon.stop().code(), Some(0));
    let symbols = toml::Value::Array(vec!["unit".into()]);
    stage.daemon.reconfigure(|builder| builder.set(&format!("source.{name}.symbols"), symbols));
    stage.daemon.restart();
    stage.daemon.wait_subscribed();
    stage.say(&format!(r#"{{"ts":{ts},"seq":1,"unit":"C"}}"#));
    stage.say(&format!(r#"{{"ts":{ts},"seq":2,"unit":"F"}}"#));
    stage.daemon.wait_drained(3, LIMIT);

    eventually_eq(LIMIT, "two rows that differ in the new symbol only stay two", 3, || stage.number("count()"));
    assert_eq!(stage.keys(), ["device", "site", "timestamp", "unit"]);
}

#[test]
fn a_symbol_that_a_crash_left_outside_the_keys_joins_them() {
    let stage = stage("halfway", |builder, readings| {
        let symbols = toml::Value::Array(vec!["unit".into()]);
        builder.set(&format!("source.{}.symbols", readings.name), symbols)
    });
    let (name, ts) = (stage.table(), now_ms() - 1_000);
    // What is there after ADD COLUMN, when the daemon died before DEDUP ENABLE.
    stage.questdb.sql(&format!(
        "CREATE TABLE '{name}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, seq LONG) \
         TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device, site)"
    ));
    stage.questdb.sql(&format!("INSERT INTO '{name}' VALUES ({}, 'dev-0', 'site-0', 0)", (ts - 1) * 1_000));
    stage.questdb.sql(&format!("ALTER TABLE '{name}' ADD COLUMN unit SYMBOL"));
    stage.questdb.settle(name);
    stage.say(&format!(r#"{{"ts":{ts},"seq":1,"unit":"C"}}"#));
    stage.say(&format!(r#"{{"ts":{ts},"seq":2,"unit":"F"}}"#));
    stage.daemon.wait_drained(2, LIMIT);

    eventually_eq(LIMIT, "two rows that differ in the new symbol only stay two", 3, || stage.number("count()"));
    assert_eq!(stage.keys(), ["device", "site", "timestamp", "unit"]);
    assert_eq!(stage.daemon.ledger("quarantined"), 0);
}

#[test]
fn nested_objects_arrays_and_types_become_columns_and_rows() {
    let stage = stage("shapes", |builder, _| builder);
    let ts = now_ms() - 10_000;
    stage.say(&format!(
        r#"[{{"ts":{ts},"seq":1,"air":{{"temp":20,"co2":{{"ppm":400.5}}}},"note":"hi","ok":true}},{{"ts":{},"seq":2}}]"#,
        ts + 1
    ));
    stage.daemon.wait_drained(1, LIMIT);
    eventually_eq(LIMIT, "both rows", 2, || stage.number("count()"));
    let rows = stage
        .questdb
        .sql(&format!("SELECT seq, air_temp, air_co2_ppm, note, ok FROM '{}' ORDER BY seq", stage.table()));
    assert_eq!(serde_json::json!(rows[0]), serde_json::json!([1, 20.0, 400.5, "hi", 1]));
    assert_eq!(stage.daemon.ledger("rows"), 2);
}

#[test]
fn a_plain_payload_without_a_timestamp_is_stored_at_its_receive_time() {
    let stage = stage("plain", |builder, readings| {
        let key = format!("source.{}_plain", readings.name);
        builder
            .set(&format!("{key}.topic"), format!("{}_plain/{{device}}", readings.name))
            .set(&format!("{key}.table"), format!("{}_plain", readings.name))
            .set(&format!("{key}.format"), "plain")
    });
    let name = format!("{}_plain", stage.readings.name);
    let mut publisher = stage.broker.publisher().expect("connects");
    for n in 0..500 {
        publisher.publish(&format!("{name}/dev"), format!("{n}.5").as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    // Timestamps increase strictly within a series, so no two readings collapse.
    eventually_eq(LIMIT, "each is a row", 500, || stage.questdb.count(&name));
}
