//! Devices that make up names: what exceeds `[limits]` is left out and told, and nobody else is hurt.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::write;
use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::count, eventually, eventually_eq, process::free_port,
    unique,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Columns a table may get in these tests; each costs disk.
const COLUMNS: usize = 40;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// A payload with so many members of names nobody has heard of.
fn made_up(ts: u64, prefix: &str, names: usize) -> String {
    let members: Vec<String> = (0..names).map(|n| format!(r#""{prefix}{n}":{n}"#)).collect();
    format!(r#"{{"ts":{ts},{}}}"#, members.join(","))
}

fn columns(questdb: &QuestDb, table: &str) -> i64 {
    questdb.number(&format!("SELECT count() FROM table_columns('{table}')"))
}

/// Values and rows left out, of a source and key.
fn left_out(daemon: &Daemon, source: &str, key: &str) -> (u64, u64) {
    let limits = daemon.status()["limits"].as_array().cloned().unwrap_or_default();
    let found = limits.iter().find(|limit| limit["source"] == source && limit["limit"] == key);
    found.map_or((0, 0), |limit| (count(limit, "fields"), count(limit, "rows")))
}

/// Why each entry is in quarantine.
fn reasons(daemon: &Daemon) -> Vec<String> {
    let output = daemon.cli(&["--json", "quarantine", "ls"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let entries = answer["entries"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

#[track_caller]
fn publish(broker: &Mosquitto, messages: &[(String, String)]) {
    let mut publisher = broker.publisher().expect("connects");
    for (topic, payload) in messages {
        publisher.publish(topic, payload.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
}

#[test]
fn a_thousand_made_up_names_cost_their_row_what_exceeds_and_nobody_else_anything() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("names"), 3);
    let (table, topic) = (readings.name.clone(), format!("{}/site-0/rogue", readings.name));
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let mut daemon = builder.set("limits.columns_per_table", COLUMNS as i64).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..30);
    let ts = now_ms() - 60_000;
    publish(&broker, &[(topic.clone(), made_up(ts, "x", 1_000)), (topic.clone(), made_up(ts + 1, "y", 1_000))]);
    readings.publish(&mut publisher, 30..60);

    // The other devices' rows, and what is left of the rogue's first.
    daemon.wait_drained(62, LIMIT);
    eventually_eq(LIMIT, "rows", 61, || {
        questdb.settle(&table);
        questdb.count(&table)
    });
    assert_eq!(columns(questdb, &table), COLUMNS as i64);
    assert_eq!(questdb.number(&format!("SELECT x5::long FROM '{table}' WHERE device = 'rogue'")), 5);
    let suspended = questdb.sql(&format!("SELECT suspended FROM wal_tables() WHERE name = '{table}'"));
    assert_eq!(suspended, [[Value::Bool(false)]]);
    // Time, two symbols and four fields were there.
    let kept = COLUMNS as u64 - 7;
    assert_eq!(left_out(&daemon, &table, "columns_per_table"), (1_000 - kept, 1));
    eventually(LIMIT, "one dead letter names it", || {
        let told = reasons(&daemon);
        told.len() == 1
            && told[0]
                .starts_with(&format!("[limits] columns_per_table = {COLUMNS}: left out of table \"{table}\": \"x33\""))
            && told[0].ends_with(" and 957 more")
    });
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!((count(&ledger, "rows"), count(&ledger, "stored"), count(&ledger, "dead_letters")), (61, 61, 1));
    let metrics = daemon.request("GET", "/metrics", "").expect("answers").body;
    assert!(
        metrics.contains(&format!(r#"forebay_limits_fields_total{{source="{table}",limit="columns_per_table"}} 967"#)),
        "{metrics}"
    );
    let screen = String::from_utf8_lossy(&daemon.cli(&["status"]).stdout).into_owned();
    assert!(screen.contains(&format!("columns_per_table of {table}: 967 values and 1 row left out")), "{screen}");

    // The book is there again after a crash: from the ring, and from QuestDB.
    daemon.kill9();
    daemon.restart();
    daemon.wait_subscribed();
    publish(&broker, &[(topic, format!(r#"{{"ts":{},"seq":7,"z":1,"X3":9}}"#, ts + 2))]);
    daemon.wait_drained(63, LIMIT);
    eventually_eq(LIMIT, "the row's rest", 9, || {
        questdb.settle(&table);
        questdb.number(&format!("SELECT x3::long FROM '{table}' WHERE seq = 7 AND device = 'rogue'"))
    });
    assert_eq!((columns(questdb, &table), left_out(&daemon, &table, "columns_per_table")), (COLUMNS as i64, (1, 0)));
}

#[test]
fn a_first_start_with_many_columns_is_not_slowed_and_later_names_come_by_the_minute() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("first"), 1);
    let (table, topic) = (readings.name.clone(), format!("{}/site-0/wide", readings.name));
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let daemon = builder.set("limits.new_columns_per_minute", 3).start();
    daemon.wait_subscribed();
    let ts = now_ms() - 60_000;
    publish(&broker, &[(topic.clone(), made_up(ts, "x", 70)), (topic, made_up(ts + 1, "y", 5))]);
    daemon.wait_drained(2, LIMIT);
    eventually_eq(LIMIT, "rows", 2, || {
        questdb.settle(&table);
        questdb.count(&table)
    });
    assert_eq!(columns(questdb, &table), 3 + 70 + 3);
    assert_eq!(left_out(&daemon, &table, "new_columns_per_minute"), (2, 0));
}

#[test]
fn a_source_brings_so_many_tables_and_the_rows_of_others_are_left_out() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let name = unique("many");
    let key = format!("source.{name}");
    let builder = DaemonBuilder::new().servers(&broker, questdb).set("limits.tables_per_source", 2);
    let builder = builder.set(&format!("{key}.topic"), format!("{name}/{{x}}/{{device}}"));
    let mut daemon = builder.set(&format!("{key}.table"), format!("{name}_{{x}}")).start();
    daemon.wait_subscribed();
    let message = |x: &str, device: &str| (format!("{name}/{x}/{device}"), r#"{"v":1}"#.to_owned());
    publish(
        &broker,
        &[message("a", "d1"), message("b", "d1"), message("c", "d1"), message("a", "d2"), message("d", "d1")],
    );
    let counts = || ["a", "b", "c", "d"].map(|x| questdb.count(&format!("{name}_{x}")));
    eventually_eq(LIMIT, "rows of each table", [2, 1, 0, 0], counts);
    assert_eq!(left_out(&daemon, &name, "tables_per_source"), (0, 2));
    eventually(LIMIT, "a dead letter names the table", || {
        let told = reasons(&daemon);
        told.len() == 1 && told[0].contains(&format!("rows of table \"{name}_c\" were left out"))
    });
    // What the ring holds counts after a restart.
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.restart();
    daemon.wait_subscribed();
    publish(&broker, &[message("e", "d1"), message("b", "d2")]);
    eventually_eq(LIMIT, "the table that there is", 2, || questdb.count(&format!("{name}_b")));
    assert_eq!(left_out(&daemon, &name, "tables_per_source"), (0, 1));
    assert!(questdb.sql("SELECT table_name FROM tables()").iter().all(|row| row[0] != format!("{name}_e")));
}

#[test]
fn a_written_batch_is_taken_but_for_what_exceeds() {
    let questdb = QuestDb::shared();
    let daemon = write::stage(questdb).set("limits.columns_per_table", 10).set("limits.tables_per_source", 2).start();
    let (a, b, c) = (unique("batch_a"), unique("batch_b"), unique("batch_c"));
    let fields: Vec<String> = (0..30).map(|n| format!("f{n}={n}")).collect();
    let body = format!(
        "{a},device=d1 {} 1700000000000000000\n{a},device=d2 f1=2 1700000000000000000\n\
         {a},device=d3,room=r f1=3 1700000000000000000\n{b} x=1\n{c} x=1\n",
        fields.join(",")
    );
    let response = daemon.request("POST", "/write", &body).expect("an answer");
    assert_eq!((response.code, response.body.as_str()), (204, ""));
    eventually_eq(LIMIT, "rows of each table", (2, 1, 0), || {
        questdb.settle(&a);
        (questdb.count(&a), questdb.count(&b), questdb.count(&c))
    });
    assert_eq!(columns(questdb, &a), 10);
    assert_eq!(questdb.number(&format!("SELECT sum(f1)::long FROM '{a}'")), 3);
    assert_eq!(left_out(&daemon, "/write", "columns_per_table"), (22, 1));
    assert_eq!(left_out(&daemon, "/write", "tables_per_source"), (0, 1));
    assert_eq!(count(&daemon.status()["writes"], "rows"), 3);
    eventually(LIMIT, "one dead letter for all of it", || {
        let told = reasons(&daemon);
        told.len() == 1 && told[0].ends_with("; 2 rows as a whole")
    });

    // Asking makes nothing, whatever names are asked for.
    let ask = |table: &str| daemon.request("GET", &format!("/v1/latest?table={table}&made=up"), "").expect("an answer");
    (0..20).for_each(|n| assert!(ask(&format!("{c}_{n}")).code < 500));
    assert!(
        questdb
            .sql("SELECT table_name FROM tables()")
            .iter()
            .all(|row| !row[0].as_str().unwrap_or_default().starts_with(&c))
    );
}

#[test]
fn what_is_put_back_keeps_to_the_limits() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("back"), 1);
    let (table, topic) = (readings.name.clone(), format!("{}/site-0/dev-0", readings.name));
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let builder = builder.set(&format!("source.{table}.on_bad_member"), "message");
    let mut daemon = builder.set("limits.columns_per_table", 12).start();
    daemon.wait_subscribed();
    let ts = now_ms() - 60_000;
    // `seq` is to be a whole number: the message is set aside as it is.
    let payload = made_up(ts, "x", 20).replace(r#""x0":0"#, r#""seq":1.5"#);
    publish(&broker, &[(topic.clone(), payload), (topic, format!(r#"{{"ts":{},"seq":1}}"#, ts + 1))]);
    daemon.wait_drained(2, LIMIT);
    assert_eq!(daemon.stop().code(), Some(0));
    let key = format!("source.{table}.fields.seq");
    questdb.settle(&table);
    questdb.sql(&format!("ALTER TABLE '{table}' ALTER COLUMN seq TYPE DOUBLE"));
    questdb.settle(&table);
    daemon.reconfigure(|builder| builder.set(&key, "double"));
    daemon.restart();
    let requeue = |daemon: &Daemon| {
        let output = daemon.cli(&["--json", "quarantine", "requeue", "--all"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
        answer
    };
    let answer = requeue(&daemon);
    assert_eq!((&answer["requeued"], &answer["unfit"]), (&0.into(), &1.into()), "{answer}");
    assert!(
        answer["notes"][0]["what"].as_str().is_some_and(|what| what.contains("columns_per_table = 12")),
        "{answer}"
    );
    assert!(columns(questdb, &table) <= 12);
    // It enters once the limit allows it.
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.reconfigure(|builder| builder.set("limits.columns_per_table", 60));
    daemon.restart();
    let answer = requeue(&daemon);
    assert_eq!((&answer["requeued"], &answer["unfit"]), (&1.into(), &0.into()), "{answer}");
    eventually_eq(LIMIT, "both rows", 2, || {
        questdb.settle(&table);
        questdb.count(&table)
    });
}

#[test]
fn rows_that_were_in_the_ring_before_the_limits_do_not_get_past_them() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("before"), 2);
    let (table, topic) = (readings.name.clone(), format!("{}/site-0/rogue", readings.name));
    let away = format!("http::addr=127.0.0.1:{};", free_port());
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings).set("questdb.conf", away);
    let mut daemon = builder.start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..10);
    let ts = now_ms() - 60_000;
    publish(&broker, &[(topic, made_up(ts, "x", 200))]);
    readings.publish(&mut publisher, 10..20);
    eventually_eq(LIMIT, "rows in the ring", 21, || daemon.ledger("rows"));
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.reconfigure(|builder| {
        builder.set("limits.columns_per_table", COLUMNS as i64).set("questdb.conf", questdb.conf())
    });
    daemon.restart();
    daemon.wait_drained(21, LIMIT);
    eventually_eq(LIMIT, "the others' rows", 20, || {
        questdb.settle(&table);
        questdb.count(&table)
    });
    assert_eq!(columns(questdb, &table), 7);
    assert_eq!(daemon.ledger("quarantined"), 1);
    eventually(LIMIT, "why it was set aside", || {
        reasons(&daemon).iter().any(|reason| reason.contains(&format!("columns_per_table = {COLUMNS}")))
    });
}
