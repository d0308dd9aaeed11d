//! The ring is too small for the outage: what each policy promises, to the row.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, eventually, heavy, unique};

/// Far more than fits.
const PUBLISHED: u64 = 60_000;

struct Stage {
    broker: Mosquitto,
    questdb: QuestDb,
    readings: Readings,
    daemon: Daemon,
}

/// A ring of 2 MiB, one device (so that sequence numbers tell which readings are missing), no database yet.
fn stage(policy: &str) -> Stage {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("full"), 1);
    let daemon = DaemonBuilder::new()
        .servers(&broker, &questdb)
        .source(&readings)
        .set("ring.size", "2MiB")
        .set("mqtt.max_payload", "64KiB")
        .set("ring.on_full", policy)
        .start();
    daemon.wait_subscribed();
    Stage { broker, questdb, readings, daemon }
}

impl Stage {
    fn publish(&self, range: std::ops::Range<u64>) {
        self.readings.publish(&mut self.broker.publisher().expect("connects"), range);
    }

    /// Count, distinct count, least and greatest sequence number in QuestDB.
    fn found(&self) -> [i64; 4] {
        let table = &self.readings.name;
        self.questdb.settle(table);
        let one = |what: &str| self.questdb.number(&format!("SELECT {what} FROM '{table}'"));
        [one("count()"), one("count_distinct(seq)"), one("min(seq::long)"), one("max(seq::long)")]
    }
}

#[test]
fn block_holds_the_rest_at_the_broker_and_loses_nothing() {
    let _alone = heavy();
    let mut stage = stage("block");
    stage.publish(0..PUBLISHED);
    eventually(Duration::from_secs(30), "the ring is full", || stage.daemon.status()["ring"]["full"] == true);
    let status = stage.daemon.status();
    assert!(status["ledger"]["messages"].as_u64() < Some(PUBLISHED), "{status}");
    assert_eq!(stage.daemon.ledger("dropped"), 0);

    stage.questdb.restart();
    stage.readings.assert_exactly_once(&stage.questdb, PUBLISHED, Duration::from_mins(2));
    eventually(Duration::from_secs(30), "the ring has room", || stage.daemon.status()["ring"]["full"] == false);
    assert_eq!(stage.daemon.ledger("dropped"), 0);
}

#[test]
fn a_full_ring_survives_a_kill() {
    let _alone = heavy();
    let mut stage = stage("block");
    stage.publish(0..PUBLISHED);
    eventually(Duration::from_secs(30), "the ring is full", || stage.daemon.status()["ring"]["full"] == true);
    stage.daemon.kill9();
    stage.daemon.restart();
    stage.questdb.restart();
    stage.readings.assert_exactly_once(&stage.questdb, PUBLISHED, Duration::from_mins(2));
}

#[test]
fn drop_newest_keeps_the_oldest_and_counts_the_rest() {
    let _alone = heavy();
    let mut stage = stage("drop-newest");
    stage.publish(0..PUBLISHED);
    let dropped = all_taken_in(&stage);
    stage.questdb.restart();
    stage.daemon.wait_drained(PUBLISHED, Duration::from_mins(1));

    let kept = (PUBLISHED - dropped) as i64;
    assert_eq!(ledger(&stage), [PUBLISHED, kept as u64, dropped]);
    assert_eq!(stage.found(), [kept, kept, 0, kept - 1], "count, distinct, least and greatest sequence number");

    // With room again, new readings are kept.
    eventually(Duration::from_secs(30), "room", || fill(&stage.daemon.status()) < 0.5);
    stage.publish(PUBLISHED..PUBLISHED + 100);
    stage.daemon.wait_drained(PUBLISHED + 100, Duration::from_secs(30));
    assert_eq!(ledger(&stage), [PUBLISHED + 100, kept as u64 + 100, dropped]);
    assert_eq!(stage.found()[0], kept + 100);
}

#[test]
fn drop_oldest_keeps_the_newest_and_counts_the_rest() {
    let _alone = heavy();
    let mut stage = stage("drop-oldest");
    stage.publish(0..PUBLISHED);
    let dropped = all_taken_in(&stage);
    stage.questdb.restart();
    stage.daemon.wait_drained(PUBLISHED, Duration::from_mins(1));

    let kept = (PUBLISHED - dropped) as i64;
    assert_eq!(ledger(&stage), [PUBLISHED, kept as u64, dropped]);
    let last = PUBLISHED as i64 - 1;
    assert_eq!(
        stage.found(),
        [kept, kept, last + 1 - kept, last],
        "count, distinct, least and greatest sequence number"
    );
    let table = &stage.readings.name;
    assert!(
        stage.daemon.status()["ring"]["dropped_by_table"].to_string().contains(table.as_str()),
        "drops are counted by table"
    );
}

/// Waits until everything published has been taken in; rows dropped.
#[track_caller]
fn all_taken_in(stage: &Stage) -> u64 {
    eventually(Duration::from_mins(1), "everything is taken in", || stage.daemon.ledger("messages") == PUBLISHED);
    let dropped = stage.daemon.ledger("dropped");
    assert!(dropped > 1_000 && dropped < PUBLISHED, "{dropped} dropped");
    dropped
}

/// Rows taken in, stored and dropped.
fn ledger(stage: &Stage) -> [u64; 3] {
    ["rows", "stored", "dropped"].map(|name| stage.daemon.ledger(name))
}

fn fill(status: &Value) -> f64 {
    status["ring"]["fill"].as_f64().unwrap_or(1.0)
}
