//! Kinds of trouble with QuestDB, told apart and answered differently: overload, nobody there, stalls, suspended tables, apply lag.

use std::time::{Duration, Instant};

use forebay::ring::table_hash;
use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, eventually, eventually_eq, heavy,
    proxy::{Fate, Proxy},
    unique,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Default number of lanes (`batch.max_lanes`).
const LANES: u32 = 2;

/// Failures of a kind so far.
fn failures(daemon: &Daemon, kind: &str) -> u64 {
    let failures = daemon.database()["failures"].as_array().cloned().unwrap_or_default();
    failures.iter().find(|entry| entry[0] == kind).and_then(|entry| entry[1].as_u64()).unwrap_or(0)
}

fn lanes(daemon: &Daemon) -> Vec<Value> {
    daemon.database()["lanes"].as_array().cloned().unwrap_or_default()
}

/// A name of a table in that lane.
fn table_in(lane: u32, stem: &str) -> String {
    let mut names = std::iter::repeat_with(|| unique(stem));
    names.find(|name| table_hash(name) % LANES == lane).expect("endless")
}

/// A number of the metrics page.
fn metric(daemon: &Daemon, name: &str) -> Option<f64> {
    let page = daemon.request("GET", "/metrics", "").ok()?.body;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn an_overloaded_server_gets_less_and_is_left_alone_for_a_while() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let proxy = Proxy::before(questdb.port);
    let readings = Readings::new(unique("overload"), 50);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let daemon = builder.set("questdb.conf", proxy.conf()).set("batch.freshness", "50ms").start();
    daemon.wait_subscribed();
    let load = Load::start(&readings, broker.port, 2_000);
    eventually(LIMIT, "rows are stored", || daemon.ledger("stored") > 2_000);

    let (writes, began) = (proxy.writes(), Instant::now());
    proxy.usually(|_, _| Fate::Refuse(503));
    eventually(LIMIT, "four attempts have failed", || failures(&daemon, "overloaded") >= 4);
    let database = daemon.database();
    assert_eq!(database["database"], "overloaded");
    assert!(database["advice"].as_str().is_some_and(|advice| advice.contains("smaller batches")), "{database}");
    let (tried, took) = (proxy.writes() - writes, began.elapsed());
    // One lane has rows; it waits at least 100, 200, 400 ms and so on between attempts.
    assert!(tried <= 6 && took >= Duration::from_millis(600), "{tried} requests in {took:?}");
    eventually(LIMIT, "batches are as small as they get", || {
        lanes(&daemon).iter().any(|lane| lane["batch_rows"] == 64)
    });
    eventually(LIMIT, "only a probe goes out, of 64 rows", || proxy.writes() > writes + 4);
    assert!(proxy.last_bytes() < 64 * 150, "{} bytes", proxy.last_bytes());
    let quarantined = daemon.ledger("quarantined");
    proxy.pass_all();
    let published = load.finish();
    daemon.wait_drained(published, Duration::from_mins(1));
    readings.assert_exactly_once(questdb, published, Duration::from_mins(1));
    assert_eq!((quarantined, daemon.ledger("quarantined")), (0, 0), "no row is to blame");
    assert_eq!((daemon.database()["advice"].clone(), failures(&daemon, "schema")), (Value::Null, 0));
    let log = daemon.log();
    assert_eq!(log.matches("flushing fails").count(), 1, "one line for one spell of trouble: {log}");
    assert_eq!(log.matches("flushing works again").count(), 1, "{log}");
}

#[test]
fn latency_that_grows_is_recognised_against_what_was_foretold() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let proxy = Proxy::before(questdb.port);
    let readings = Readings::new(unique("growing"), 50);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let daemon = builder.set("questdb.conf", proxy.conf()).set("batch.freshness", "50ms").start();
    daemon.wait_subscribed();
    let load = Load::start(&readings, broker.port, 1_000);
    let flushes = || lanes(&daemon).iter().filter_map(|lane| lane["flushes"].as_u64()).max();
    eventually(LIMIT, "the model knows the database", || flushes() > Some(60));
    let before = failures(&daemon, "growing-latency");
    proxy.usually(|_, _| Fate::Late(Duration::from_millis(600)));
    eventually(LIMIT, "the latency has grown", || failures(&daemon, "growing-latency") > before);
    assert_eq!(failures(&daemon, "overloaded") + failures(&daemon, "timeout"), 0, "every request was answered");
    proxy.pass_all();
    let published = load.finish();
    daemon.wait_drained(published, Duration::from_mins(1));
    readings.assert_exactly_once(questdb, published, Duration::from_mins(1));
}

#[test]
fn a_refused_connection_is_told_from_a_server_that_hangs() {
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("nobody"), 10);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings);
    let daemon = builder.set("questdb.conf", questdb.conf() + "request_timeout=1000;").start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..100);
    readings.assert_exactly_once(&questdb, 100, LIMIT);

    questdb.stop();
    readings.publish(&mut publisher, 100..200);
    eventually(LIMIT, "nobody listens", || failures(&daemon, "connection-refused") > 0);
    let database = daemon.database();
    assert_eq!((database["database"].clone(), failures(&daemon, "timeout")), ("unreachable".into(), 0));
    assert!(database["advice"].as_str().is_some_and(|advice| advice.contains("nothing listens")), "{database}");
    questdb.restart();
    readings.assert_exactly_once(&questdb, 200, LIMIT);

    questdb.pause();
    readings.publish(&mut publisher, 200..300);
    eventually(LIMIT, "it hangs", || failures(&daemon, "timeout") > 0);
    assert!(daemon.database()["advice"].as_str().is_some_and(|advice| advice.contains("hangs")));
    questdb.resume();
    readings.assert_exactly_once(&questdb, 300, LIMIT);
}

#[test]
fn a_quick_server_that_stalls_is_given_up_sooner_and_then_given_more_time() {
    /// Configured, halved twice, and what it is after the stall.
    const CONFIGURED: f64 = 8_000.0;
    const LEAST: f64 = 2_000.0;
    const AFTER: f64 = 4_000.0;
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("stall"), 50);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings);
    // Time-outs follow flushes, of which there are many with this.
    let conf = questdb.conf() + "request_timeout=8000;";
    let daemon = builder.set("questdb.conf", conf).set("batch.freshness", "50ms").start();
    daemon.wait_subscribed();
    let lane = (table_hash(&readings.name) % LANES) as usize;
    let timeout = || lanes(&daemon).get(lane).and_then(|lane| lane["timeout_ms"].as_f64()).unwrap_or(0.0);
    eventually(LIMIT, "it begins with the configured time", || (timeout() - CONFIGURED).abs() < 1.0);
    let load = Load::start(&readings, broker.port, 1_000);
    eventually(Duration::from_mins(4), "the time-out follows the model", || (timeout() - LEAST).abs() < 1.0);

    questdb.pause();
    let stalled = Instant::now();
    eventually(LIMIT, "a request is given up", || failures(&daemon, "timeout") > 0);
    let took = stalled.elapsed();
    assert!(took < Duration::from_millis(7_000), "{took:?} instead of 2 s and the bytes' time");
    assert!((timeout() - AFTER).abs() < 1.0, "the next is given twice as long: {}", timeout());
    questdb.resume();
    let published = load.finish();
    daemon.wait_drained(published, Duration::from_mins(1));
    readings.assert_exactly_once(&questdb, published, Duration::from_mins(1));
}

#[test]
fn a_suspended_table_is_told_and_stops_no_other() {
    let _alone = heavy();
    // QuestDB suspends a table at will in this mode alone.
    let (broker, questdb) = (Mosquitto::start(), QuestDb::with_settings(&[("QDB_DEV_MODE_ENABLED", "true")]));
    // One in the same lane, and one in the other.
    let names = [table_in(0, "suspended"), table_in(0, "same"), table_in(1, "other")];
    let [suspended, same, other] = names.map(|name| Readings::new(name, 10));
    let builder = [&suspended, &same, &other].into_iter().fold(DaemonBuilder::new(), DaemonBuilder::source);
    let symbols = vec![toml::Value::from("unit")];
    let builder = builder.set(&format!("source.{}.symbols", suspended.name), symbols);
    let daemon = builder.servers(&broker, &questdb).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    for readings in [&suspended, &same, &other] {
        readings.publish(&mut publisher, 0..100);
        readings.assert_exactly_once(&questdb, 100, LIMIT);
    }
    questdb.sql(&format!("ALTER TABLE '{}' SUSPEND WAL WITH 28, 'no space left'", suspended.name));
    for readings in [&suspended, &same, &other] {
        readings.publish(&mut publisher, 100..500);
    }
    // A symbol that the table does not have yet needs it changed.
    let (topic, payload) = suspended.reading(500);
    let payload = payload.replacen('{', "{\"unit\":\"C\",", 1);
    publisher.publish(&topic, payload.as_bytes()).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    same.assert_exactly_once(&questdb, 500, LIMIT);
    other.assert_exactly_once(&questdb, 500, LIMIT);
    daemon.wait_drained(1_501, LIMIT);
    eventually_eq(LIMIT, "status says so", Value::from("suspended"), || daemon.database()["database"].clone());
    let resume = format!("ALTER TABLE \"{}\" RESUME WAL", suspended.name);
    let warnings = daemon.status()["warnings"].to_string().replace('\\', "");
    assert!(warnings.contains(&resume) && warnings.contains("no space left"), "{warnings}");
    assert!(String::from_utf8_lossy(&daemon.cli(&["status"]).stdout).contains(&resume), "on the screen, too");
    assert_eq!(metric(&daemon, "forebay_wal_suspended_tables"), Some(1.0));
    let pending = format!("forebay_wal_pending_transactions{{table=\"{}\"}}", suspended.name);
    assert!(metric(&daemon, &pending) > Some(0.0));
    assert_eq!((metric(&daemon, "forebay_database_up"), questdb.count(&suspended.name)), (Some(1.0), 100));
    assert!(daemon.log().contains("has suspended table"));

    questdb.sql(&resume);
    suspended.assert_exactly_once(&questdb, 501, LIMIT);
    let keys = format!("SELECT count() FROM table_columns('{}') WHERE upsertKey", suspended.name);
    assert_eq!(questdb.number(&keys), 4, "timestamp, site, device and the new one");
    eventually_eq(LIMIT, "status follows", Value::from("ok"), || daemon.database()["database"].clone());
    assert_eq!((daemon.ledger("stored"), daemon.ledger("quarantined")), (1_501, 0));
}

#[test]
fn a_database_that_does_not_apply_is_written_more_slowly_until_it_has_caught_up() {
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("lag"), 50);
    let daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).start();
    daemon.wait_subscribed();
    let load = Load::start(&readings, broker.port, 500);
    eventually(LIMIT, "rows are stored", || daemon.ledger("stored") > 1_000);
    questdb.stop();
    // It goes on accepting, and applies nothing.
    questdb.environment = vec![("QDB_CAIRO_WAL_APPLY_ENABLED".into(), "false".into())];
    questdb.restart();
    eventually(Duration::from_mins(2), "requests become fewer", || daemon.database()["database"] == "lagging");
    let pace = || lanes(&daemon).iter().find_map(|lane| lane["pace"].as_str().map(str::to_owned));
    eventually(LIMIT, "status tells why", || pace().is_some_and(|pace| pace.contains("linger ×")));
    assert!(metric(&daemon, "forebay_wal_lag_seconds{table=").is_none(), "a label belongs to it");
    let stored = daemon.ledger("stored");
    eventually(LIMIT, "rows are still written", || daemon.ledger("stored") > stored + 100);

    questdb.stop();
    questdb.environment.clear();
    questdb.restart();
    eventually(Duration::from_mins(2), "it has caught up", || daemon.database()["database"] == "ok");
    eventually_eq(LIMIT, "it is back at full speed", None, pace);
    let published = load.finish();
    daemon.wait_drained(published, Duration::from_mins(1));
    readings.assert_exactly_once(&questdb, published, Duration::from_mins(1));
}
