//! The ring is too small for the outage: what each policy promises, to the row.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, daemon::count, eventually, heavy, relay::Tap, unique,
};

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

/// Kills while a full ring turns readings away.
const KILLS: u64 = 12;

#[test]
fn drop_newest_counts_what_it_acknowledges_whenever_it_is_killed() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let (tap, readings) = (Tap::start(broker.port), Readings::new(unique("exact"), 10));
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).set("mqtt.url", tap.url());
    let builder = builder.set("ring.size", "1MiB").set("mqtt.max_payload", "32KiB").set("ring.on_full", "drop-newest");
    // Slow commits, so that most kills find refused messages that no header counts yet.
    let builder = builder.set("ring.commit_spacing", "50ms").set("mqtt.receive_maximum", 200);
    let mut daemon = builder.start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..20_000);
    eventually(Duration::from_mins(1), "the ring is full", || daemon.ledger("dropped") > 0);

    let load = Load::start(&readings, broker.port, 2_000);
    let mut counted_twice = 0;
    for _ in 0..KILLS {
        let enough = tap.count() + fastrand::usize(1..1_000);
        eventually(Duration::from_mins(1), "readings are turned away", || tap.count() >= enough);
        daemon.kill9();
        eventually(Duration::from_secs(10), "the line is still", || tap.is_still());
        let (found, acknowledged) = (ledger_in_file(&daemon), tap.count() as u64);
        // Beyond what is acknowledged lies what was counted and will be delivered, and counted, once more.
        let beyond = count(&found, "messages").checked_sub(acknowledged);
        let beyond = beyond.unwrap_or_else(|| panic!("{acknowledged} were acknowledged: {found}"));
        assert!(beyond >= counted_twice, "{beyond}, {counted_twice}: {found}");
        counted_twice = beyond;
        daemon.restart();
        daemon.wait_subscribed();
    }
    let published = load.finish();
    // Each delivery is counted once, and acknowledged once unless a kill came between.
    eventually(Duration::from_mins(1), "the ledger has all that was acknowledged, and no more", || {
        let messages = daemon.ledger("messages");
        messages >= 20_000 + published && messages == tap.count() as u64 + counted_twice
    });
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(count(&ledger, "rows"), count(&ledger, "messages"), "{ledger}");
    assert_eq!(count(&ledger, "rows"), count(&ledger, "pending") + count(&ledger, "dropped"), "{ledger}");
}

/// The ledger as the file of a daemon that is gone tells it.
fn ledger_in_file(daemon: &Daemon) -> Value {
    let file = daemon.ring().display().to_string();
    let out = daemon.cli(&["--json", "ring", "info", "--file", &file]);
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice::<Value>(&out.stdout).expect("JSON")["ledger"].clone()
}

#[test]
fn drop_oldest_keeps_the_newest_and_counts_the_rest() {
    let _alone = heavy();
    let mut stage = stage("drop-oldest");
    stage.publish(0..PUBLISHED);
    all_taken_in(&stage);
    stage.questdb.restart();
    stage.daemon.wait_drained(PUBLISHED, Duration::from_mins(1));

    // Room for what comes next is made after the last reading was taken in, so the count is final
    // only now.
    let dropped = stage.daemon.ledger("dropped");
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

#[test]
fn a_message_that_is_no_reading_is_in_the_quarantine_while_questdb_is_away_and_when_drop_oldest_gives_it_up() {
    let _alone = heavy();
    let mut stage = stage("drop-oldest");
    let rubbish = |n: u64| (format!("{}/site-0/device-0", stage.readings.name), format!("rubbish {n}"));
    let mut publisher = stage.broker.publisher().expect("connects");
    let mut letters = 0;
    let mut say = |count: u64| {
        for _ in 0..count {
            let (topic, payload) = rubbish(letters);
            publisher.publish(&topic, payload.as_bytes()).expect("publishes");
            letters += 1;
        }
        publisher.drain(Duration::from_secs(30)).expect("the broker acknowledges");
    };
    let set_aside = |daemon: &Daemon| daemon.database()["quarantine"]["entries"].as_u64();
    say(7);
    eventually(Duration::from_secs(30), "they are set aside without QuestDB", || set_aside(&stage.daemon) == Some(7));
    // Rows and rubbish by turns, until the first of both are given up.
    for part in 0..20 {
        say(3);
        stage.publish(part * 3_000..(part + 1) * 3_000);
    }
    all_taken_in_with(&stage, 67);
    eventually(Duration::from_secs(30), "all are set aside", || set_aside(&stage.daemon) == Some(67));
    stage.daemon.stop();
    stage.daemon.restart();
    assert_eq!(set_aside(&stage.daemon), Some(67), "after a restart");
    stage.questdb.restart();
    stage.daemon.wait_drained(PUBLISHED + 67, Duration::from_mins(1));
    let dropped = stage.daemon.ledger("dropped");
    assert_eq!(ledger(&stage), [PUBLISHED, PUBLISHED - dropped, dropped]);
    assert_eq!((set_aside(&stage.daemon), stage.daemon.ledger("dead_letters")), (Some(67), 67), "none twice");
    assert_eq!(stage.daemon.status()["ring"]["dropped_letters"], 0);
    let exported = stage.daemon.cli(&["quarantine", "export", "--kind", "dead-letter"]);
    let exported = String::from_utf8_lossy(&exported.stdout).into_owned();
    assert!((0..67).all(|n| exported.contains(&format!("rubbish {n}"))), "{exported}");
}

/// Waits until everything published has been taken in; rows dropped.
#[track_caller]
fn all_taken_in(stage: &Stage) -> u64 {
    all_taken_in_with(stage, 0)
}

/// The same beside so many messages that are no readings.
#[track_caller]
fn all_taken_in_with(stage: &Stage, others: u64) -> u64 {
    let all = PUBLISHED + others;
    eventually(Duration::from_mins(1), "everything is taken in", || stage.daemon.ledger("messages") == all);
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
