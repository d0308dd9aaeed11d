//! Requests cut off on their way to QuestDB: of a message's rows for a table, all are there or none.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use forebay::{
    clock::SystemClock,
    entry::{RawRows, encode_rows},
    point::{Row, Timestamp, Value},
    questdb::{
        Connection, RowBuffer, Secrets, WriteError, Writer,
        columns::{Columns, Coming},
        schema::Schema,
    },
    settings,
};

use crate::support::{
    DaemonBuilder, Load, Mosquitto, QuestDb, Readings, eventually, heavy,
    proxy::{Fate, Proxy},
    unique,
};

/// Messages in the request, rows of each, and tables they are for.
const MESSAGES: i64 = 3;
const ROWS: i64 = 3;
const TABLES: usize = 2;

/// Number of the first request; all of them have as many digits.
const FIRST: i64 = 100_000;

/// A batch as a lane encodes it: message after message, each with rows for every table. `number` tells one batch from another.
fn batch(writer: &Writer, tables: &[String], number: i64) -> RowBuffer {
    let mut buffer = RowBuffer::speaking(writer.dialect().unwrap_or_default(), 1 << 20);
    let (schema, mut coming) = (Schema::new(None, Arc::new(SystemClock)), Coming::default());
    let mut columns = Columns::new(&schema, &mut coming, 300);
    for message in 0..MESSAGES {
        for table in tables {
            let row = |row: i64| Row {
                time: Some(Timestamp((number * 100 + message * 10 + row) * 1_000_000)),
                device_time: true,
                symbols: vec![("device".into(), "d".into())],
                fields: vec![("number".into(), Value::Long(number)), ("message".into(), Value::Long(message))],
                ..Row::default()
            };
            let mut body = Vec::new();
            encode_rows(table, &(0..ROWS).map(row).collect::<Vec<_>>(), &mut body).expect("within limits");
            assert!(buffer.add_all(table, RawRows::decode(&body).expect("reads"), |_| true, &mut columns));
        }
    }
    buffer
}

fn writer(proxy: &Proxy) -> Writer {
    let conf = proxy.conf() + "request_timeout=10000;";
    let settings = settings::Questdb { conf, ..settings::Questdb::default() };
    Writer::new(Arc::new(Connection::new(&settings, Secrets::default()).expect("a connection")))
}

#[test]
fn a_request_cut_off_at_any_byte_stores_whole_messages_or_nothing() {
    let questdb = QuestDb::shared();
    let proxy = Proxy::before(questdb.port);
    let tables: [String; TABLES] = std::array::from_fn(|_| unique("cut"));
    for table in &tables {
        questdb.sql(&format!(
            "CREATE TABLE '{table}' (timestamp TIMESTAMP, device SYMBOL, number LONG, message LONG) \
             TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device)"
        ));
    }
    let mut sender = writer(&proxy);
    sender.connect().expect("connects");
    let whole = batch(&sender, &tables, FIRST);
    sender.send(&whole).expect("stored");
    let bytes = proxy.last_bytes();
    assert!(bytes > whole.bytes(), "the whole request is counted");

    for cut in 0..=bytes {
        let number = FIRST + 1 + cut as i64;
        let rows = batch(&sender, &tables, number);
        // All of it counts for nothing as long as the server has not seen it through.
        proxy.next(if cut < bytes { Fate::Cut(cut) } else { Fate::Lose });
        let sent = sender.send(&rows);
        assert_eq!(proxy.last_bytes(), bytes);
        assert!(matches!(sent, Err(WriteError::Unreachable(_))), "cut after {cut} of {bytes} bytes: {sent:?}");
    }
    for table in &tables {
        questdb.settle(table);
        let found = questdb.sql(&format!("SELECT number, message, count() FROM '{table}' LIMIT 1000000"));
        let mut rows: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        for row in &found {
            let [batch, message, count] = [0, 1, 2].map(|at| row[at].as_i64().expect("a number"));
            rows.insert((batch, message), count);
        }
        assert!(rows.values().all(|count| *count == ROWS), "a message in parts: {rows:?}");
        assert!((0..MESSAGES).all(|message| rows.contains_key(&(FIRST, message))), "{rows:?}");
        // Nothing of a request that was cut before its end; all of it when only the answer was lost.
        let found: Vec<i64> = rows.keys().filter(|key| key.1 == 0).map(|key| key.0).collect();
        assert_eq!(found, [FIRST, FIRST + 1 + bytes as i64]);
    }
}

#[test]
fn random_cuts_under_load_lose_and_double_nothing() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let proxy = Proxy::before(questdb.port);
    let readings = Readings::new(unique("cuts"), 50);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let conf = proxy.conf() + "request_timeout=1000;";
    let daemon = builder.set("questdb.conf", conf).set("batch.freshness", "50ms").start();
    daemon.wait_subscribed();
    proxy.usually(cut_some);
    let load = Load::start(&readings, broker.port, 2_000);
    eventually(Duration::from_mins(2), "many requests are cut", || failures(&daemon) >= 40);
    let published = load.finish();
    daemon.wait_drained(published, Duration::from_mins(1));
    readings.assert_exactly_once(questdb, published, Duration::from_mins(1));
    assert_eq!(daemon.ledger("stored"), published);
}

#[test]
fn messages_of_many_rows_are_whole_after_cuts_and_kills() {
    /// Rows of a message.
    const ROWS: u64 = 20;
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let proxy = Proxy::before(questdb.port);
    let readings = Readings::new(unique("many"), 10);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let conf = proxy.conf() + "request_timeout=1000;";
    let mut daemon = builder.set("questdb.conf", conf).set("batch.freshness", "50ms").start();
    daemon.wait_subscribed();
    proxy.usually(cut_some);
    let base =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64 - 1_000_000;
    let messages = 1_500;
    let mut publisher = broker.publisher().expect("connects");
    for message in 0..messages {
        let row = |row: u64| format!(r#"{{"ts":{},"seq":{message},"row":{row}}}"#, base + message / 10 * 100 + row);
        let payload = format!("[{}]", (0..ROWS).map(row).collect::<Vec<_>>().join(","));
        let topic = format!("{}/site-0/dev-{}", readings.name, message % 10);
        publisher.publish(&topic, payload.as_bytes()).expect("publishes");
        if message % 500 == 250 {
            publisher.drain(Duration::from_secs(30)).expect("the broker acknowledges");
            let half = daemon.ledger("stored");
            eventually(Duration::from_secs(30), "some more is stored", || daemon.ledger("stored") > half || half > 0);
            daemon.kill9();
            // Whatever moment that was, what is in the database is there by whole messages.
            assert_whole(questdb, &readings.name, ROWS);
            daemon.restart();
            daemon.wait_subscribed();
        }
    }
    publisher.drain(Duration::from_secs(30)).expect("the broker acknowledges");
    eventually(Duration::from_mins(1), "all rows are stored", || {
        questdb.count(&readings.name) == (messages * ROWS) as i64
    });
    assert_whole(questdb, &readings.name, ROWS);
}

/// QuestDB may show a transaction bit by bit while it applies it; in the end it is there as a whole.
fn assert_whole(questdb: &QuestDb, table: &str, rows: u64) {
    questdb.settle(table);
    let parts = format!("SELECT * FROM (SELECT seq, count() n FROM '{table}') WHERE n != {rows}");
    eventually(Duration::from_secs(5), "no message is there in parts", || questdb.sql(&parts).is_empty());
}

/// About every third request is cut, anywhere; by a number that looks random and is the same in each run.
fn cut_some(number: u64, request: &[u8]) -> Fate {
    let random = fastrand::Rng::with_seed(number).usize(..);
    if random.is_multiple_of(3) { Fate::Cut(random / 3 % (request.len() + 1)) } else { Fate::Pass }
}

fn failures(daemon: &crate::support::Daemon) -> u64 {
    let lanes = daemon.database()["lanes"].as_array().cloned().unwrap_or_default();
    lanes.iter().filter_map(|lane| lane["failures"].as_u64()).sum()
}
