//! Rows that QuestDB does not take: known before they are sent where that can be, remembered where it cannot.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use crate::support::{
    DaemonBuilder, Load, Mosquitto, QuestDb, Readings, distance::Distance, eventually, eventually_eq, heavy, unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// A second of 2026, in milliseconds.
const T: u64 = 1_780_000_000_000;

#[test]
fn half_of_the_rows_bad_and_questdb_far_away_keep_up() {
    const EACH_PER_S: u64 = 500;
    const AWAY: Duration = Duration::from_millis(50);
    let _alone = heavy();
    let broker = Mosquitto::start();
    // It refuses rows with a field that has no column.
    let questdb = QuestDb::with_settings(&[("QDB_LINE_AUTO_CREATE_NEW_COLUMNS", "false")]);
    let distance = Distance::before(questdb.port, AWAY);
    let good = Readings::new(unique("half"), 20);
    let table = good.name.clone();
    questdb.sql(&format!(
        "CREATE TABLE '{table}' (timestamp TIMESTAMP, site SYMBOL, device SYMBOL, seq LONG, temperature DOUBLE, humidity DOUBLE, ok LONG) \
         TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, site, device)"
    ));
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&good);
    let daemon = builder.set("questdb.conf", distance.conf()).start();
    daemon.wait_subscribed();
    let (load, bad) = (Load::start(&good, broker.port, EACH_PER_S), Bad::start(&broker, &table, EACH_PER_S));
    let upto = 15 * 2 * EACH_PER_S;
    eventually(LIMIT, "they have come in", || daemon.ledger("messages") >= upto);
    let (good_rows, bad_rows) = (load.finish(), bad.finish());
    let ended = Instant::now();
    daemon.wait_drained(good_rows + bad_rows, LIMIT);
    let left = ended.elapsed();
    assert!(left < Duration::from_secs(5), "the last rows waited {left:?}\n{}", daemon.log());
    good.assert_exactly_once(&questdb, good_rows, LIMIT);
    assert_eq!((daemon.ledger("stored"), daemon.ledger("quarantined")), (good_rows, bad_rows));
    let warnings = daemon.status()["warnings"].to_string().replace('\\', "");
    assert!(
        warnings.contains("column \"wetness\"") && warnings.contains("refuses everything sent as numbers"),
        "{warnings}"
    );

    assert_eq!(daemon.status()["sources"][0]["refused_rows"], bad_rows, "of the source that brought them");
    let log = daemon.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("WARN") && line.contains(&table)).collect();
    let named =
        |line: &&str| line.contains(&format!("a row of {table} goes to quarantine: ")) && line.contains("wetness");
    assert!(told.iter().any(named) && told.len() <= 5, "a line a kind and not one a row: {told:#?}");

    // Once there is such a column its rows are stored, after ten seconds at most.
    questdb.sql(&format!("ALTER TABLE '{table}' ADD COLUMN wetness DOUBLE"));
    let bad = Bad::start(&broker, &table, EACH_PER_S);
    eventually(LIMIT, "rows with it are stored", || daemon.ledger("stored") > good_rows + EACH_PER_S);
    bad.finish();
}

/// A steady load of rows with a field more.
struct Bad {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Bad {
    fn start(broker: &Mosquitto, name: &str, per_second: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut publisher, name, stopped) =
            (broker.publisher().expect("connects"), name.to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (began, first) = (Instant::now(), now_ms() - 600_000);
            while !stopped.load(Ordering::Relaxed) {
                let due = began.elapsed().as_millis() as u64 * per_second / 1_000;
                while publisher.sent() < due {
                    let n = publisher.sent();
                    let topic = format!("{name}/site-0/bad-{}", n % 20);
                    let payload = format!(r#"{{"ts":{},"seq":{n},"wetness":1.5}}"#, first + n);
                    publisher.publish(&topic, payload.as_bytes()).expect("publishes");
                }
                publisher.flush().expect("the broker takes them");
                thread::sleep(Duration::from_millis(1));
            }
            publisher.drain(LIMIT).expect("the broker acknowledges");
            publisher.sent()
        });
        Self { stop, thread }
    }

    /// Ends it; how many rows there were.
    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load ends in order")
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

#[test]
fn good_values_of_a_narrow_column_are_stored_whatever_bad_ones_come_with_them() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("narrow"));
    let columns =
        "id SYMBOL, code UUID, address IPv4, place GEOHASH(4c), price DECIMAL(4,2), hash LONG256, letter CHAR";
    questdb.sql(&format!(
        "CREATE TABLE '{table}' (ts TIMESTAMP, {columns}) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, id)"
    ));
    let daemon = DaemonBuilder::new()
        .servers(&broker, questdb)
        .set("source.s.topic", format!("{table}/{{id}}"))
        .set("source.s.table", table.clone())
        .set("source.s.timestamp.field", "at")
        .start();
    daemon.wait_subscribed();
    let uuid = "11111111-2222-3333-4444-555555555555";
    let mut publisher = broker.publisher().expect("connects");
    for second in 0..200_u64 {
        let is_good = second % 2 == 0;
        let values = if is_good {
            // What is called like the designated timestamp would have QuestDB fail on the row for ever.
            json!({"code": uuid, "address": "1.2.3.4", "place": "u33d", "price": 1.5, "letter": "x", "ts": 5})
        } else {
            let bad = ["code", "address", "price", "letter", "hash"][second as usize / 2 % 5];
            json!({bad: if bad == "price" { json!(1000.5) } else { json!("hill") }})
        };
        let mut message = values.as_object().cloned().expect("an object");
        message.insert("at".into(), Value::from(T + second * 1_000));
        let payload = Value::from(message).to_string();
        publisher.publish(&format!("{table}/a"), payload.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    daemon.wait_drained(200, LIMIT);
    eventually_eq(LIMIT, "the good ones are stored", 100, || questdb.count(&table));
    let own = format!(
        "SELECT count() FROM '{table}' WHERE code = '{uuid}' AND address = '1.2.3.4' AND price IS NOT NULL AND letter = 'x' \
         AND place IS NOT NULL AND ts_double = 5"
    );
    assert_eq!(questdb.number(&own), 100);
    assert_eq!(daemon.ledger("quarantined"), 100);
    let told = daemon.cli(&["verify"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
}
