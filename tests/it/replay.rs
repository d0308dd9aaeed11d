//! What was stored goes again: after QuestDB has lost it, after an operator has deleted it, and without ever undoing a correction.

use std::time::Duration;

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings,
    daemon::told,
    eventually, eventually_eq, heavy,
    proxy::{Fate, Proxy},
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Readings that are corrected: each version of all of them has the same keys and another value.
struct Corrected {
    readings: Readings,
    count: u64,
}

impl Corrected {
    fn new(stem: &str, count: u64) -> Self {
        Self { readings: Readings::new(unique(stem), 10), count }
    }

    fn publish(&self, broker: &Mosquitto, version: u64) {
        let mut publisher = broker.publisher().expect("connects");
        for n in 0..self.count {
            let (topic, payload) = self.readings.reading(n);
            let payload = payload.replacen('{', &format!("{{\"version\":{version},"), 1);
            publisher.publish(&topic, payload.as_bytes()).expect("publishes");
        }
        publisher.drain(LIMIT).expect("the broker acknowledges");
    }

    /// Rows of a version, of all rows.
    fn of_version(&self, questdb: &QuestDb, version: u64) -> (i64, i64) {
        let table = &self.readings.name;
        (questdb.number(&format!("SELECT count() FROM '{table}' WHERE version = {version}")), questdb.count(table))
    }

    #[track_caller]
    fn assert_all_of_version(&self, questdb: &QuestDb, version: u64, when: &str) {
        let all = self.count as i64;
        eventually_eq(LIMIT, &format!("rows of version {version}, all rows {when}"), (all, all), || {
            self.of_version(questdb, version)
        });
        questdb.settle(&self.readings.name);
        assert_eq!(self.of_version(questdb, version), (all, all), "{when}");
    }
}

fn replay(daemon: &Daemon, arguments: &[&str]) -> String {
    let (code, out, err) = told(&daemon.cli(&[&["replay", "--wait=1m"], arguments].concat()));
    assert_eq!(code, 0, "{out}{err}");
    out
}

/// Ledger counts that a replay leaves as they are.
fn ledger(daemon: &Daemon) -> [u64; 5] {
    ["rows", "stored", "quarantined", "dropped", "pending"].map(|name| daemon.ledger(name))
}

fn rows_sent(daemon: &Daemon) -> u64 {
    let lanes = daemon.database()["lanes"].as_array().cloned().unwrap_or_default();
    lanes.iter().filter_map(|lane| lane["rows_sent"].as_u64()).sum()
}

#[test]
fn rows_that_an_operator_deleted_come_back() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let [kept, lost, plain] = ["kept", "lost", "plain"].map(|stem| Readings::new(unique(stem), 10));
    let name = &plain.name;
    questdb.sql(&format!(
        "CREATE TABLE '{name}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL) TIMESTAMP(timestamp) PARTITION BY DAY WAL"
    ));
    // Nothing but such values goes to a UUID.
    questdb.sql(&format!(
        "CREATE TABLE '{}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, code UUID) TIMESTAMP(timestamp) PARTITION BY DAY WAL \
         DEDUP UPSERT KEYS(timestamp, device, site)",
        lost.name
    ));
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&kept).source(&lost).source(&plain);
    let mut daemon = builder.start();
    assert_eq!(told(&daemon.cli(&["replay", "--since", "1h"])).0, 3, "nothing was received yet");
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    for readings in [&kept, &lost, &plain] {
        readings.publish(&mut publisher, 0..500);
    }
    let (topic, _) = lost.reading(0);
    publisher.publish(&topic, br#"{"ts":1700000000000,"code":"hot"}"#).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    daemon.wait_drained(1_501, LIMIT);
    eventually(LIMIT, "the odd one is in quarantine", || daemon.database()["quarantine"]["entries"] == 1);
    // After a start nothing is known of what is in quarantine and was settled long ago.
    eventually(LIMIT, "all is safe", || {
        let ring = daemon.status()["ring"].clone();
        ring["safe"] == ring["settled"]
    });
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.restart();
    daemon.wait_subscribed();

    let before = ledger(&daemon);
    for readings in [&kept, &lost] {
        readings.assert_exactly_once(questdb, 500, LIMIT);
        questdb.sql(&format!("TRUNCATE TABLE '{}'", readings.name));
        eventually_eq(LIMIT, "rows left", 0, || questdb.count(&readings.name));
    }
    let out = replay(&daemon, &["--since", "1h", "--table", &lost.name]);
    assert!(out.contains("sending again 501 rows in 501 records"), "{out}");
    lost.assert_exactly_once(questdb, 500, LIMIT);
    assert_eq!((questdb.count(&kept.name), rows_sent(&daemon)), (0, 500), "no other table's rows go again");

    let out = replay(&daemon, &["--since", "1h"]);
    assert!(out.contains("sending again 1,501 rows"), "{out}");
    kept.assert_exactly_once(questdb, 500, LIMIT);
    questdb.settle(name);
    assert_eq!(questdb.count(name), 500, "nothing goes twice to a table without deduplication");
    assert_eq!(ledger(&daemon), before, "nothing is counted twice");
    assert_eq!(daemon.database()["quarantine"]["entries"], 1, "nor set aside twice");
    let out = replay(&daemon, &["--since", "1h"]);
    assert!(out.contains(&format!("left out: {name}")), "{out}");
}

#[test]
fn the_way_back_ends_where_the_history_begins() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("history"), 10);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let daemon = builder.set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB").start();
    daemon.wait_subscribed();
    assert!(!replay_from_the_start(&daemon, &broker, &readings, 0..1_000)["history_begins"].as_bool().expect("told"));
    let answer = replay_from_the_start(&daemon, &broker, &readings, 1_000..30_000);
    assert!(answer["history_begins"].as_bool().expect("told"), "{answer}");
    let tail = daemon.status()["ring"]["tail"].as_u64();
    assert!(answer["from"].as_u64() <= tail.map(|tail| tail + 1) && answer["from"].as_u64() > Some(1), "{answer}");
    readings.assert_exactly_once(questdb, 30_000, LIMIT);

    // Nobody is told of a time to come; and a request is refused with what to write.
    assert_eq!(told(&daemon.cli(&["replay", "--since", "2100-01-01T00:00:00Z"])).0, 3);
    let refused = daemon.request("POST", "/v1/replay?since_ms=soon", "").expect("answers");
    assert_eq!((refused.code, refused.body.contains("since_ms=600000")), (400, true), "{}", refused.body);
}

fn replay_from_the_start(
    daemon: &Daemon,
    broker: &Mosquitto,
    readings: &Readings,
    range: std::ops::Range<u64>,
) -> serde_json::Value {
    let end = range.end;
    readings.publish(&mut broker.publisher().expect("connects"), range);
    daemon.wait_drained(end, LIMIT);
    let response = daemon.request("POST", "/v1/replay?since_ms=3600000", "").expect("answers");
    assert_eq!(response.code, 202, "{}", response.body);
    response.json()
}

#[test]
fn a_correction_outlives_replays_reconnects_restarts_and_roll_backs() {
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let rows = Corrected::new("corrected", 1_000);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&rows.readings);
    let mut daemon = builder.set("questdb.resend_window", "5m").start();
    daemon.wait_subscribed();

    // The database loses both versions, the later one, or none.
    questdb.keep_copy();
    rows.publish(&broker, 1);
    rows.assert_all_of_version(&questdb, 1, "first");
    rows.publish(&broker, 2);
    rows.assert_all_of_version(&questdb, 2, "corrected");
    questdb.roll_back();
    assert_eq!(questdb.count(&rows.readings.name), 0, "the database has lost its rows");
    rows.publish(&broker, 3);
    rows.assert_all_of_version(&questdb, 3, "rolled back to before the first version");

    questdb.forget_copy();
    questdb.keep_copy();
    rows.publish(&broker, 4);
    rows.assert_all_of_version(&questdb, 4, "corrected after the copy");
    questdb.roll_back();
    rows.assert_all_of_version(&questdb, 4, "rolled back to before the correction");

    questdb.forget_copy();
    questdb.keep_copy();
    questdb.roll_back();
    rows.assert_all_of_version(&questdb, 4, "rolled back to after the correction");
    replay(&daemon, &["--since", "1h"]);
    rows.assert_all_of_version(&questdb, 4, "replayed");
    daemon.kill9();
    daemon.restart();
    daemon.wait_drained(4_000, LIMIT);
    rows.assert_all_of_version(&questdb, 4, "started again");
    assert_eq!(ledger(&daemon), [4_000, 4_000, 0, 0, 0]);
}

#[test]
fn what_both_lost_the_database_is_sent_again_by_the_next_start() {
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("both_back"), 10);
    let rows = Corrected::new("both_corrected", 500);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).source(&rows.readings);
    let mut daemon = builder.set("questdb.resend_window", "5m").start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..1_000);
    rows.publish(&broker, 1);
    readings.assert_exactly_once(&questdb, 1_000, LIMIT);
    rows.assert_all_of_version(&questdb, 1, "first");
    questdb.keep_copy();
    readings.publish(&mut publisher, 1_000..3_000);
    rows.publish(&broker, 2);
    readings.assert_exactly_once(&questdb, 3_000, LIMIT);
    rows.assert_all_of_version(&questdb, 2, "corrected");
    daemon.wait_drained(4_000, LIMIT);

    questdb.kill9();
    daemon.kill9();
    questdb.roll_back();
    assert_eq!(questdb.count(&readings.name), 1_000, "the database has lost rows");
    assert_eq!(rows.of_version(&questdb, 1), (500, 500), "and a correction");
    daemon.restart();
    readings.assert_exactly_once(&questdb, 3_000, LIMIT);
    rows.assert_all_of_version(&questdb, 2, "after both went down");
    daemon.wait_drained(4_000, LIMIT);
    assert_eq!(ledger(&daemon), [4_000, 4_000, 0, 0, 0]);
}

#[test]
fn what_was_replayed_and_lost_before_it_was_synced_goes_again() {
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("replayed_back"), 10);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings);
    let daemon = builder.set("questdb.resend_window", "3s").start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..1_000);
    readings.assert_exactly_once(&questdb, 1_000, LIMIT);
    eventually(LIMIT, "all is safe", || {
        let ring = daemon.status()["ring"].clone();
        ring["safe"] == ring["settled"]
    });
    questdb.sql(&format!("TRUNCATE TABLE '{}'", readings.name));
    eventually_eq(LIMIT, "rows left", 0, || questdb.count(&readings.name));
    questdb.keep_copy();
    // A busy machine's last request may have been slow; nothing is sent that would show that the next one is not.
    eventually(LIMIT, "the restart is noticed", || {
        let state = daemon.database()["database"].clone();
        state == "ok" || state == "slow"
    });

    replay(&daemon, &["--since", "1h"]);
    questdb.roll_back();
    readings.assert_exactly_once(&questdb, 1_000, LIMIT);
}

/// Six times this is the grace after which an unanswered request is taken for dead.
const REQUEST_TIMEOUT_MS: u64 = 1_000;

#[test]
fn a_correction_outlives_a_request_that_is_executed_late() {
    for fate in [Fate::Hold, Fate::HoldAndTell, Fate::Swallow] {
        for_a_late_request(fate, false);
    }
}

#[test]
fn a_correction_outlives_a_request_of_an_earlier_life_that_is_executed_late() {
    for_a_late_request(Fate::Hold, true);
}

fn for_a_late_request(fate: Fate, killed: bool) {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let proxy = Proxy::before(questdb.port);
    let rows = Corrected::new("late", 20);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&rows.readings);
    let conf = format!("{}request_timeout={REQUEST_TIMEOUT_MS};", proxy.conf());
    let mut daemon = builder.set("questdb.conf", conf).set("batch.max_lanes", 1).start();
    daemon.wait_subscribed();
    // So that the table is there, and the next request holds nothing but the rows of version 1.
    rows.publish(&broker, 0);
    rows.assert_all_of_version(questdb, 0, "before");

    proxy.next(fate);
    rows.publish(&broker, 1);
    let is_held = fate != Fate::Swallow;
    if is_held {
        eventually_eq(LIMIT, "requests held", 1, || proxy.held());
    }
    if killed {
        daemon.kill9();
        daemon.restart();
        daemon.wait_subscribed();
    }
    rows.assert_all_of_version(questdb, 1, "sent again");
    rows.publish(&broker, 2);
    rows.assert_all_of_version(questdb, 2, "corrected");
    let before = rewinds(&daemon);
    if is_held {
        assert_eq!(proxy.release(), [204], "the server executes it late");
        eventually(LIMIT, "the correction is undone", || rows.of_version(questdb, 1).0 > 0);
    }
    eventually(LIMIT, "the lane goes back once more", || rewinds(&daemon) > before);
    rows.assert_all_of_version(questdb, 2, "in the end");
}

fn rewinds(daemon: &Daemon) -> u64 {
    let lanes = daemon.database()["lanes"].as_array().cloned().unwrap_or_default();
    lanes.iter().filter_map(|lane| lane["rewinds"].as_u64()).sum()
}
