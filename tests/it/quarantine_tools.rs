//! What was set aside is listed, shown, exported, put back and dropped, while the books balance.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings,
    daemon::{count, told},
    eventually, eventually_eq, unique,
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

    /// Publishes payloads as those of a device at `site-0`.
    fn say(&self, device: &str, payloads: &[String]) {
        let topic = format!("{}/site-0/{device}", self.table());
        let mut publisher = self.broker.publisher().expect("connects");
        for payload in payloads {
            publisher.publish(&topic, payload.as_bytes()).expect("publishes");
        }
        publisher.drain(LIMIT).expect("the broker acknowledges");
    }

    fn create_table(&self) {
        create_table(self.questdb, self.table());
    }

    fn mend_table(&self) {
        mend_table(self.questdb, self.table());
    }

    fn stored(&self) -> i64 {
        self.questdb.settle(self.table());
        self.questdb.count(self.table())
    }

    fn entries(&self) -> u64 {
        self.daemon.database()["quarantine"]["entries"].as_u64().unwrap_or(u64::MAX)
    }

    /// `quarantine` with these arguments and `--json`: exit code and answer.
    fn quarantine(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, out, error) = told(&self.daemon.cli(&[&["--json", "quarantine"], arguments].concat()));
        let answer = serde_json::from_str(&out).unwrap_or_else(|_| Value::String(format!("{out}{error}")));
        (code, answer)
    }

    fn ids(&self, filter: &[&str]) -> Vec<String> {
        let (code, answer) = self.quarantine(&[&["ls"], filter].concat());
        assert_eq!(code, 0, "{answer}");
        let entries = answer["entries"].as_array().expect("entries").iter();
        entries.map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Waits until nothing is pending, and checks that every row has its place in the ledger.
    #[track_caller]
    fn assert_ledger(&self, rows: u64, stored: u64, quarantined: u64) {
        eventually_eq(LIMIT, "rows = stored + quarantined", (rows, stored, quarantined, 0), || {
            let ledger = self.daemon.status()["ledger"].clone();
            let count = |name: &str| count(&ledger, name);
            (count("rows"), count("stored"), count("quarantined"), count("pending"))
        });
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// A table whose temperature is of a type that nothing but such values goes to, so that no number
/// can be stored in it.
fn create_table(questdb: &QuestDb, name: &str) {
    questdb.sql(&format!(
        "CREATE TABLE '{name}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, seq LONG, temperature UUID) \
         TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device, site)"
    ));
}

/// Has numbers fit into that table.
fn mend_table(questdb: &QuestDb, name: &str) {
    questdb.sql(&format!("ALTER TABLE '{name}' DROP COLUMN temperature"));
    questdb.settle(name);
    questdb.sql(&format!("ALTER TABLE '{name}' ADD COLUMN temperature DOUBLE"));
    questdb.settle(name);
}

/// Readings that a table not mended refuses.
fn refused(first_ms: u64, range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!(r#"{{"ts":{},"seq":{n},"temperature":{n}.5}}"#, first_ms + n)).collect()
}

#[test]
fn dead_letters_are_requeued_once_their_source_is_mended() {
    let mut stage = stage("letters", |builder, _| builder);
    let ts = now_ms() - 60_000;
    // `seq` is to be a whole number, says the source; two of these are none, and one is nothing at all. What is good of a message is
    // stored.
    stage.say(
        "dev-0",
        &[
            format!(r#"{{"ts":{ts},"seq":1.5}}"#),
            format!(r#"{{"ts":{},"seq":2}}"#, ts + 1),
            format!(r#"[{{"ts":{},"seq":3.5}},{{"ts":{},"seq":4}}]"#, ts + 2, ts + 3),
            "rubbish \u{1b}[2J".to_owned(),
        ],
    );
    stage.daemon.wait_drained(4, LIMIT);
    eventually_eq(LIMIT, "entries", 3, || stage.entries());
    stage.assert_ledger(2, 2, 0);

    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    assert_eq!((code, &answer["requeued"], &answer["unfit"]), (1, &0.into(), &3.into()), "{answer}");

    assert_eq!(stage.daemon.stop().code(), Some(0));
    let key = format!("source.{}.fields.seq", stage.table());
    stage.daemon.reconfigure(|builder| builder.set(&key, "double"));
    stage.questdb.sql(&format!("ALTER TABLE '{}' ALTER COLUMN seq TYPE DOUBLE", stage.table()));
    stage.daemon.restart();
    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    // Of the array only what was left out is put back.
    assert_eq!(
        (code, &answer["requeued"], &answer["rows"], &answer["unfit"]),
        (1, &2.into(), &2.into(), &1.into()),
        "{answer}"
    );
    assert!(answer["notes"][0]["what"].as_str().is_some_and(|what| what.starts_with("stays: ")), "{answer}");
    eventually_eq(LIMIT, "rows in QuestDB", 4, || stage.stored());
    let sum = stage.questdb.sql(&format!("SELECT sum(seq) FROM '{}'", stage.table()));
    assert_eq!(sum[0][0], 11.0);
    stage.assert_ledger(4, 4, 0);
    assert_eq!((stage.daemon.ledger("messages"), stage.daemon.ledger("dead_letters")), (6, 3));

    // What is left can be looked at without harm to the terminal, and dropped.
    let left = stage.ids(&[]);
    assert_eq!(left.len(), 1);
    let (code, out, _) = told(&stage.daemon.cli(&["quarantine", "show", &left[0]]));
    assert!(code == 0 && out.contains("rubbish \\u{1b}[2J") && !out.contains('\u{1b}'), "{out}");
    assert_eq!(told(&stage.daemon.cli(&["quarantine", "drop", &left[0]])).0, 2, "--yes is needed");
    let (code, answer) = stage.quarantine(&["drop", "--yes", &left[0]]);
    assert_eq!((code, &answer["dropped"]), (0, &1.into()));
    assert_eq!(stage.entries(), 0);
    assert_eq!(told(&stage.daemon.cli(&["quarantine", "show", &left[0]])).0, 3);
    // Nothing comes back with a restart.
    stage.daemon.kill9();
    stage.daemon.restart();
    assert_eq!(stage.entries(), 0);
    stage.assert_ledger(4, 4, 0);
}

#[test]
fn readings_without_a_time_are_requeued_with_one_shortly_before_their_receipt() {
    let mut stage = stage("receipt", |builder, readings| {
        let key = format!("source.{}_r", readings.name);
        builder
            .set(&format!("{key}.topic"), format!("{}_r/{{device}}", readings.name))
            .set(&format!("{key}.table"), format!("{}_r", readings.name))
            .set(&format!("{key}.fields.seq"), "long")
    });
    let table = format!("{}_r", stage.table());
    let mut publisher = stage.broker.publisher().expect("connects");
    for payload in [r#"{"seq":1.5}"#, r#"{"seq":2}"#] {
        publisher.publish(&format!("{table}/dev"), payload.as_bytes()).expect("publishes");
        publisher.drain(LIMIT).expect("the broker acknowledges");
    }
    stage.daemon.wait_drained(2, LIMIT);
    eventually_eq(LIMIT, "the good one is stored", 1, || stage.questdb.count(&table));
    let (_, entry) = stage.quarantine(&["show", &stage.ids(&[])[0]]);
    assert_eq!(stage.daemon.stop().code(), Some(0));
    stage.daemon.reconfigure(|builder| builder.set(&format!("source.{table}.fields.seq"), "double"));
    stage.questdb.sql(&format!("ALTER TABLE '{table}' ALTER COLUMN seq TYPE DOUBLE"));
    stage.daemon.restart();
    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    assert_eq!((code, &answer["requeued"]), (0, &1.into()), "{answer}");
    eventually_eq(LIMIT, "both are stored", 2, || stage.questdb.count(&table));
    stage.questdb.settle(&table);
    let rows = stage.questdb.sql(&format!("SELECT seq, timestamp FROM '{table}' ORDER BY timestamp"));
    assert_eq!((&rows[0][0], &rows[1][0]), (&1.5.into(), &2.0.into()), "in the order they were received in");
    let time = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).map(jiff::Timestamp::as_microsecond);
    let early = time(&entry["received"]).unwrap() - time(&rows[0][1]).unwrap();
    assert!((1..=1_000).contains(&early), "{early} µs before its receipt");
}

#[test]
fn refused_rows_are_requeued_once_their_table_is_mended() {
    let mut stage = stage("refused", |builder, _| builder);
    stage.create_table();
    let ts = now_ms() - 60_000;
    stage.say("dev-0", &refused(ts, 0..20));
    stage.say("dev-1", &[format!(r#"{{"ts":{ts},"seq":99}}"#)]);
    stage.daemon.wait_drained(21, LIMIT);
    stage.assert_ledger(21, 1, 20);

    let (code, listed) = stage.quarantine(&["ls", "--kind", "row", "--table", stage.table(), "--limit", "5"]);
    assert_eq!((code, listed["entries"].as_array().map(Vec::len), &listed["more"]), (0, Some(5), &15.into()));
    let summary = &listed["summary"];
    assert_eq!((&summary["rows"], &summary["tables"][0][0]), (&20.into(), &stage.table().into()), "{summary}");
    assert_eq!(stage.quarantine(&["ls", "--topic", "nothing"]).0, 3);
    let (code, out, _) = told(&stage.daemon.cli(&["quarantine", "ls", "--reason", "TEMPERATURE"]));
    assert!(code == 0 && out.starts_with("20 entries: 20 rows"), "{out}");

    // Requeued too early they come back, as new entries; nothing is lost and nothing goes round in circles.
    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    assert_eq!((code, &answer["requeued"]), (0, &20.into()), "{answer}");
    stage.assert_ledger(41, 1, 40);
    eventually_eq(LIMIT, "entries", 20, || stage.entries());

    stage.mend_table();
    // A kill in between must not bring back what has left.
    stage.daemon.kill9();
    stage.daemon.restart();
    assert_eq!(stage.entries(), 20);
    let (code, answer) = stage.quarantine(&["requeue", "--reason", "temperature"]);
    assert_eq!((code, &answer["requeued"], &answer["rows"]), (0, &20.into(), &20.into()), "{answer}");
    stage.assert_ledger(61, 21, 40);
    eventually_eq(LIMIT, "rows in QuestDB", 21, || stage.stored());
    assert_eq!(stage.entries(), 0);
    stage.daemon.kill9();
    stage.daemon.restart();
    stage.assert_ledger(61, 21, 40);
    assert_eq!((stage.entries(), stage.stored()), (0, 21));
}

#[test]
fn narrow_keys_are_widened_and_their_rows_requeued() {
    let stage = stage("narrowed", |builder, _| builder);
    let name = stage.table();
    stage.questdb.sql(&format!(
        "CREATE TABLE '{name}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, seq LONG) \
         TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device)"
    ));
    stage.questdb.sql(&format!("INSERT INTO '{name}' VALUES ('2020-01-01', 'old', 'somewhere', 0)"));
    stage.readings.publish(&mut stage.broker.publisher().expect("connects"), 0..9);
    stage.daemon.wait_drained(9, LIMIT);
    stage.assert_ledger(9, 0, 9);
    let (_, entry) = stage.quarantine(&["show", &stage.ids(&[])[0]]);
    let reason = entry["reason"].as_str().expect("a reason");
    let mend = reason.split("mend with: ").nth(1).expect("the statement that mends it");
    stage.questdb.sql(mend);
    stage.questdb.settle(name);
    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    assert_eq!((code, &answer["requeued"]), (0, &9.into()), "{answer}");
    stage.assert_ledger(18, 9, 9);
    eventually_eq(LIMIT, "rows in QuestDB", 10, || stage.stored());
}

#[test]
fn a_table_that_is_mended_takes_rows_over_a_connection_that_it_refused_before() {
    let stage = stage("mended", |builder, _| builder);
    stage.create_table();
    let ts = now_ms() - 60_000;
    stage.say("dev-0", &refused(ts, 0..2));
    stage.daemon.wait_drained(2, LIMIT);
    stage.assert_ledger(2, 0, 2);
    stage.mend_table();
    stage.say("dev-0", &refused(ts, 2..4));
    stage.assert_ledger(4, 2, 2);
    eventually_eq(LIMIT, "rows in QuestDB", 2, || stage.stored());
}

#[test]
fn a_table_that_refuses_everything_is_named_and_takes_rows_again_soon_after_it_is_mended() {
    let stage = stage("condemned", |builder, _| {
        // What is said at once goes at once.
        builder.set("batch.strategy", "hybrid").set("batch.max_linger", "5m")
    });
    let flush = || stage.daemon.request("POST", "/v1/flush", "").expect("answers").code;
    let warnings = || stage.daemon.database()["warnings"].to_string();
    stage.create_table();
    let ts = now_ms() - 60_000;
    for (from, to) in [(0, 100), (100, 200)] {
        stage.say("dev-0", &refused(ts, from..to));
        eventually_eq(LIMIT, "rows are in", to, || stage.daemon.ledger("rows"));
        eventually(LIMIT, "all are set aside", || flush() == 202 && stage.daemon.ledger("quarantined") == to);
        assert!(warnings().contains("refuses everything"), "{}", warnings());
    }
    stage.mend_table();
    let mut said = 200;
    eventually(LIMIT, "a row is stored", || {
        stage.say("dev-0", &refused(ts, said..said + 1));
        said += 1;
        flush() == 202 && stage.daemon.ledger("stored") > 0
    });
    assert!(!warnings().contains("refuses everything"), "{}", warnings());
    let aside = stage.daemon.ledger("quarantined");
    stage.say("dev-0", &refused(ts, said..said + 50));
    said += 50;
    eventually(LIMIT, "the rest is stored", || {
        flush() == 202 && stage.daemon.ledger("stored") == said - stage.daemon.ledger("quarantined")
    });
    assert_eq!(stage.daemon.ledger("quarantined"), aside, "none of the new ones is set aside");
    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    assert_eq!((code, &answer["requeued"]), (0, &aside.into()), "{answer}");
    eventually(LIMIT, "what was set aside is stored", || flush() == 202 && stage.daemon.ledger("pending") == 0);
    eventually_eq(LIMIT, "rows in QuestDB", said as i64, || stage.stored());
}

#[test]
fn a_correction_is_never_overwritten() {
    let stage = stage("corrected", |builder, _| builder);
    stage.create_table();
    let ts = now_ms() - 60_000;
    stage.say("dev-0", &refused(ts, 0..4));
    stage.daemon.wait_drained(4, LIMIT);
    stage.assert_ledger(4, 0, 4);
    // One is corrected by the device, one by hand.
    stage.say("dev-0", &[format!(r#"{{"ts":{ts},"seq":100}}"#)]);
    stage.daemon.wait_drained(5, LIMIT);
    stage.questdb.sql(&format!(
        "INSERT INTO '{}' VALUES ({}, 'dev-0', 'site-0', 101, '11111111-1111-1111-1111-111111111111')",
        stage.table(),
        (ts + 1) * 1_000
    ));
    stage.mend_table();
    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    let outcome = (code, &answer["requeued"], &answer["superseded"], &answer["rows"]);
    assert_eq!(outcome, (1, &2.into(), &2.into(), &2.into()), "{answer}");
    assert!(answer["notes"][0]["what"].as_str().is_some_and(|what| what.contains("superseded")), "{answer}");
    stage.assert_ledger(7, 3, 4);
    eventually_eq(LIMIT, "rows in QuestDB", 4, || stage.stored());
    let rows = stage.questdb.sql(&format!("SELECT seq FROM '{}' ORDER BY timestamp", stage.table()));
    let seqs: Vec<_> = rows.iter().map(|row| row[0].as_i64()).collect();
    assert_eq!(seqs, [Some(100), Some(101), Some(2), Some(3)], "{rows:?}");
    assert_eq!(stage.entries(), 2, "the superseded ones stay");
    let (code, answer) = stage.quarantine(&["requeue", "--all", "--drop-superseded"]);
    assert_eq!((code, &answer["superseded_dropped"], stage.entries()), (0, &2.into(), 0), "{answer}");
    stage.assert_ledger(7, 3, 4);
}

#[test]
fn a_correction_that_waits_in_the_ring_counts_too() {
    let stage = stage("waiting", |builder, _| {
        // Nothing is sent before that is asked for.
        builder.set("batch.strategy", "hybrid").set("batch.max_linger", "5m")
    });
    let flush = || stage.daemon.request("POST", "/v1/flush", "").expect("answers").code;
    stage.create_table();
    let ts = now_ms() - 60_000;
    stage.say("dev-0", &refused(ts, 0..2));
    eventually(LIMIT, "both are set aside", || flush() == 202 && stage.daemon.ledger("quarantined") == 2);
    stage.mend_table();
    stage.say("dev-0", &[format!(r#"{{"ts":{ts},"seq":100}}"#)]);
    eventually_eq(LIMIT, "the correction waits", 1, || stage.daemon.ledger("pending"));
    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    assert_eq!((code, &answer["requeued"], &answer["superseded"]), (1, &1.into(), &1.into()), "{answer}");
    assert_eq!(stage.daemon.ledger("pending"), 2, "nothing was sent meanwhile");
    eventually(LIMIT, "both are stored", || flush() == 202 && stage.daemon.ledger("stored") == 2);
    stage.questdb.settle(stage.table());
    let rows = stage.questdb.sql(&format!("SELECT seq FROM '{}' ORDER BY timestamp", stage.table()));
    assert_eq!(serde_json::json!(rows), serde_json::json!([[100], [1]]));
    stage.assert_ledger(4, 2, 2);
}

#[test]
fn without_the_database_nothing_is_put_back_that_needs_its_answer() {
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("unasked"), 3);
    let daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).start();
    daemon.wait_subscribed();
    create_table(&questdb, &readings.name);
    let topic = format!("{}/site-0/dev-0", readings.name);
    let mut publisher = broker.publisher().expect("connects");
    for payload in refused(now_ms() - 60_000, 0..2).iter().map(String::as_str).chain(["no json"]) {
        publisher.publish(&topic, payload.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    let entries = || daemon.database()["quarantine"]["entries"].as_u64();
    eventually_eq(LIMIT, "all are set aside", (2, Some(3)), || (daemon.ledger("quarantined"), entries()));
    questdb.stop();
    let (code, out, error) = told(&daemon.cli(&["quarantine", "requeue", "--all"]));
    assert!(code == 1 && out.contains("stopped: ") && out.contains("not reachable"), "{out}{error}");
    assert!(out.contains("1 stays: still no rows can be made of it") && out.contains("2 not worked on"), "{out}");
    assert_eq!((daemon.ledger("rows"), entries()), (2, Some(3)));
    questdb.restart();
    mend_table(&questdb, &readings.name);
    let (code, out, error) = told(&daemon.cli(&["quarantine", "requeue", "--kind", "row"]));
    assert!(code == 0 && out.starts_with("2 entries requeued: 2 rows"), "{out}{error}");
    eventually_eq(LIMIT, "both are stored", (2, Some(1)), || (daemon.ledger("stored"), entries()));
}

#[test]
fn a_full_ring_stops_the_requeue_and_loses_nothing() {
    const ROWS: u64 = 200;
    let stage = stage("requeuefull", |builder, _| {
        // What is stored stays protected for an hour, so the ring fills though the database is there.
        let builder = builder.set("ring.size", "1MiB").set("mqtt.max_payload", "16KiB");
        builder.set("questdb.resend_window", "1h").set("ring.on_full", "drop-oldest")
    });
    stage.create_table();
    let ts = now_ms() - 60_000;
    stage.say("dev-0", &refused(ts, 0..ROWS));
    stage.assert_ledger(ROWS, 0, ROWS);
    stage.mend_table();
    let mut said = 0;
    eventually(LIMIT, "the table takes rows again", || {
        stage.say("dev-1", &[format!(r#"{{"ts":{},"seq":{said}}}"#, ts + said)]);
        said += 1;
        stage.daemon.ledger("stored") > 0
    });
    let aside = stage.daemon.ledger("quarantined");
    let fill = || stage.daemon.status()["ring"]["fill"].as_f64().unwrap_or(0.0);
    while fill() < 0.9 {
        let fillers = (said..said + 50).map(|n| format!(r#"{{"ts":{},"seq":{n}}}"#, ts + n));
        stage.say("dev-1", &fillers.collect::<Vec<_>>());
        said += 50;
        eventually_eq(LIMIT, "all are in", ROWS + said, || stage.daemon.ledger("rows"));
    }
    stage.assert_ledger(ROWS + said, ROWS + said - aside, aside);
    let (code, answer) = stage.quarantine(&["requeue", "--all"]);
    assert_eq!((code, &answer["requeued"], &answer["not_reached"]), (1, &0.into(), &aside.into()), "{answer}");
    assert!(answer["stopped"].as_str().is_some_and(|why| why.contains("too full")), "{answer}");
    assert_eq!((stage.entries(), stage.daemon.ledger("dropped")), (aside, 0));
    stage.assert_ledger(ROWS + said, ROWS + said - aside, aside);
}

#[test]
fn entries_are_exported_live_and_offline_and_dropped_offline() {
    let mut stage = stage("exported", |builder, _| builder);
    stage.create_table();
    let ts = now_ms() - 60_000;
    stage.say("dev-0", &refused(ts, 0..30));
    stage.say("dev-1", &["not json".to_owned()]);
    stage.say("dev-1", &[format!(r#"{{"ts":{ts},"seq":"one"}}"#)]);
    stage.daemon.wait_drained(32, LIMIT);
    stage.assert_ledger(30, 0, 30);
    eventually_eq(LIMIT, "entries", 32, || stage.entries());
    let export =
        |stage: &Stage, arguments: &[&str]| told(&stage.daemon.cli(&[&["quarantine", "export"], arguments].concat()));

    let (code, live, error) = export(&stage, &[]);
    assert!(code == 0 && error.contains("32 entries exported"), "{error}");
    let lines: Vec<Value> = live.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 32);
    let rows: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "row").collect();
    assert_eq!((rows.len(), &rows[0]["fields"]["temperature"]), (30, &0.5.into()));
    assert!(lines.iter().any(|line| line["payload"] == "not json"));
    let file = stage.daemon.config().with_file_name("out.lp");
    let file_name = file.display().to_string();
    let (code, out, error) = export(&stage, &["--format", "line-protocol", "--output", &file_name]);
    assert!(code == 0 && out.is_empty() && error.contains("30 entries exported; 2 left out"), "{error}");
    let text = std::fs::read_to_string(&file).expect("the export");
    let first = format!("{},device=dev-0,site=site-0 seq=0i,temperature=0.5 {}\n", stage.table(), ts * 1_000_000);
    assert!(text.starts_with(&first) && text.lines().count() == 30, "{text}");

    // A daemon that is hung or hidden is no daemon that does not run.
    let elsewhere = stage.daemon.config().with_file_name("no.sock").display().to_string();
    let hidden = std::process::Command::new(crate::support::daemon::FOREBAY)
        .args(["--config", &stage.daemon.config().display().to_string(), "--socket", &elsewhere, "quarantine", "ls"])
        .output()
        .expect("runs");
    assert_eq!(told(&hidden).0, 4, "{}", told(&hidden).2);

    assert_eq!(stage.daemon.stop().code(), Some(0));
    let (code, offline, error) = export(&stage, &[]);
    assert_eq!((code, &offline), (0, &live), "{error}");
    assert_eq!(stage.ids(&["--kind", "dead-letter"]).len(), 2);
    let (code, _, error) = told(&stage.daemon.cli(&["quarantine", "requeue", "--all"]));
    assert!(code == 4 && error.contains("only a running daemon"), "{error}");
    let (code, answer) = stage.quarantine(&["drop", "--table", stage.table(), "--yes"]);
    assert_eq!((code, &answer["dropped"]), (0, &30.into()));
    let left = stage.ids(&[]);
    assert_eq!(left.len(), 2);
    let (code, entry) = stage.quarantine(&["show", &left[0]]);
    assert!(code == 0 && entry["payload"].is_string(), "{entry}");
    let copy = stage.daemon.config().with_file_name("copy");
    std::fs::copy(stage.daemon.config().with_file_name("quarantine"), &copy).expect("a copy");
    assert_eq!(stage.ids(&["--file", &copy.display().to_string()]), left);

    stage.daemon.restart();
    assert_eq!(stage.entries(), 2);
    stage.assert_ledger(30, 0, 30);
    assert_eq!(stage.stored(), 0, "what was dropped is not sent again");
}

#[test]
fn a_kill_in_the_middle_of_a_requeue_loses_nothing() {
    const ROWS: u64 = 4_000;
    let mut stage = stage("requeuekill", |builder, _| builder.set("quarantine.size", "32MiB"));
    stage.create_table();
    let ts = now_ms() - 60_000;
    stage.say("dev-0", &refused(ts, 0..ROWS));
    stage.daemon.wait_drained(ROWS, Duration::from_mins(2));
    stage.assert_ledger(ROWS, 0, ROWS);
    stage.mend_table();
    for round in 1..=3 {
        let arguments = ["--config", &stage.daemon.config().display().to_string(), "quarantine", "requeue", "--all"];
        let mut requeue = std::process::Command::new(crate::support::daemon::FOREBAY)
            .args(arguments)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("runs");
        let enough = ROWS + round * ROWS / 4;
        eventually(LIMIT, "some rows have entered", || stage.daemon.ledger("rows") >= enough);
        stage.daemon.kill9();
        let _ = requeue.wait();
        stage.daemon.restart();
    }
    let (code, answer) = stage.quarantine(&["requeue", "--all", "--drop-superseded"]);
    assert_eq!(code, 0, "{answer}");
    eventually_eq(LIMIT, "nothing is pending", 0, || stage.daemon.ledger("pending"));
    eventually_eq(LIMIT, "each row is in QuestDB", ROWS as i64, || stage.stored());
    let distinct = stage.questdb.number(&format!("SELECT count_distinct(seq) FROM '{}'", stage.table()));
    assert_eq!((distinct, stage.entries()), (ROWS as i64, 0));
    let ledger = stage.daemon.status()["ledger"].clone();
    assert_eq!(count(&ledger, "rows"), count(&ledger, "stored") + count(&ledger, "quarantined"), "{ledger}");
    assert_eq!(count(&ledger, "quarantined"), ROWS, "the first lives stay counted");
}

#[test]
fn payloads_are_not_served_over_tcp() {
    let port = crate::support::process::free_port();
    let stage = stage("tcp", |builder, _| builder.set("control.listen", format!("127.0.0.1:{port}")));
    let get = |target: &str| crate::support::http::get(port, target, None).expect("answers").code;
    assert_eq!(
        (get("/v1/status"), get("/v1/quarantine"), get("/v1/quarantine/entry?id=1-m-00000000")),
        (200, 404, 404)
    );
    let over_socket = stage.daemon.request("GET", "/v1/quarantine?summary=true", "").expect("answers");
    assert_eq!((over_socket.code, &over_socket.json()["summary"]["entries"]), (200, &0.into()));
    for (method, target, code) in [
        ("POST", "/v1/quarantine/requeue", 400),
        ("POST", "/v1/quarantine/drop", 400),
        ("POST", "/v1/quarantine/drop?tabel=t", 400),
        ("GET", "/v1/quarantine/drop?all=true", 405),
        ("GET", "/v1/quarantine/entry?id=1-m-00000000", 404),
        ("GET", "/v1/quarantine?limit=5000", 400),
    ] {
        assert_eq!(stage.daemon.request(method, target, "").expect("answers").code, code, "{method} {target}");
    }
}
