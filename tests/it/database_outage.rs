//! QuestDB is away, dies, or hangs.

use std::time::{Duration, Instant};

use forebay::ring::table_hash;

use crate::support::{Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, eventually, heavy, unique};

struct Stage {
    broker: Mosquitto,
    questdb: QuestDb,
    readings: Readings,
    daemon: Daemon,
}

fn stage(name: &str, questdb_options: &str) -> Stage {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique(name), 50);
    let daemon = DaemonBuilder::new()
        .servers(&broker, &questdb)
        .set("questdb.conf", questdb.conf() + questdb_options)
        .source(&readings)
        .start();
    daemon.wait_subscribed();
    Stage { broker, questdb, readings, daemon }
}

impl Stage {
    #[track_caller]
    fn wait_stored(&self, more: u64) {
        let enough = self.daemon.ledger("stored") + more;
        eventually(Duration::from_mins(1), "rows are stored", || self.daemon.ledger("stored") >= enough);
    }

    #[track_caller]
    fn close(self, load: Load) {
        let published = load.finish();
        self.daemon.wait_drained(published, Duration::from_mins(1));
        self.readings.assert_exactly_once(&self.questdb, published, Duration::from_mins(1));
        assert_eq!(self.daemon.ledger("quarantined"), 0);
    }
}

#[test]
fn half_a_minute_without_the_database_is_caught_up_with() {
    const PER_SECOND: u64 = 2_000;
    let _alone = heavy();
    let mut stage = stage("outage", "");
    let load = Load::start(&stage.readings, stage.broker.port, PER_SECOND);
    stage.wait_stored(1_000);

    stage.questdb.stop();
    let enough = load.acked() + 30 * PER_SECOND;
    eventually(Duration::from_secs(10), "status says so", || stage.daemon.database()["database"] == "unreachable");
    let why = stage.daemon.database()["error"].clone();
    assert!(why.is_string(), "status tells why: {why}");
    // What was stored before is counted once the other lane has passed it, too, which waits a
    // second for rows of its own.
    let later = load.acked() + 3 * PER_SECOND;
    eventually(Duration::from_secs(10), "all that was stored is counted", || load.acked() >= later);
    let stored = stage.daemon.ledger("stored");
    eventually(Duration::from_mins(1), "30 s of readings are published", || load.acked() >= enough);
    eventually(Duration::from_secs(10), "they are acknowledged all the same", || {
        stage.daemon.broker()["acknowledged"].as_u64() >= Some(enough)
    });
    assert_eq!(stage.daemon.ledger("stored"), stored, "nothing counts as stored meanwhile");
    assert_eq!(stage.daemon.request("GET", "/healthz", "").expect("answers").code, 200);

    stage.questdb.restart();
    stage.wait_stored(30 * PER_SECOND);
    assert_eq!(stage.daemon.database()["error"], serde_json::Value::Null);
    stage.close(load);
}

#[test]
fn a_database_killed_under_load_loses_and_doubles_nothing() {
    let _alone = heavy();
    let mut stage = stage("dbkill", "");
    let load = Load::start(&stage.readings, stage.broker.port, 3_000);
    for _ in 0..3 {
        stage.wait_stored(2_000);
        stage.questdb.kill9();
        let enough = load.acked() + 3_000;
        eventually(Duration::from_secs(30), "the load goes on", || load.acked() >= enough);
        stage.questdb.restart();
    }
    stage.wait_stored(5_000);
    stage.close(load);
}

#[test]
fn a_database_that_hangs_loses_and_doubles_nothing() {
    let _alone = heavy();
    let stage = stage("dbhang", "request_timeout=1000;");
    let load = Load::start(&stage.readings, stage.broker.port, 2_000);
    for _ in 0..2 {
        stage.wait_stored(1_000);
        stage.questdb.pause();
        let failures = failures(&stage.daemon);
        eventually(Duration::from_secs(30), "a request times out", || self::failures(&stage.daemon) > failures);
        stage.questdb.resume();
    }
    stage.wait_stored(2_000);
    stage.close(load);
}

#[test]
fn both_die_at_once() {
    let _alone = heavy();
    let mut stage = stage("both", "");
    let load = Load::start(&stage.readings, stage.broker.port, 2_000);
    for _ in 0..2 {
        stage.wait_stored(1_500);
        stage.questdb.kill9();
        stage.daemon.kill9();
        stage.daemon.restart();
        stage.questdb.restart();
    }
    stage.wait_stored(1_000);
    let published = load.finish();
    stage.readings.assert_exactly_once(&stage.questdb, published, Duration::from_mins(1));
}

/// Default number of lanes (`batch.max_lanes`).
const LANES: u32 = 2;

#[test]
fn a_restart_that_no_request_met_is_noticed_before_the_next_one() {
    // The lane asks a quarter of the window after it asked last.
    for_an_unmet_restart("40s", Duration::from_secs(10));
}

#[test]
fn a_restart_that_no_request_met_is_noticed_after_a_silence_longer_than_the_window() {
    for_an_unmet_restart("4s", Duration::from_secs(8));
}

/// Rows are acknowledged by a database that then dies with them, while forebay has nothing to send for `silence`.
fn for_an_unmet_restart(resend_window: &str, silence: Duration) {
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let [other, table] = tables_of_each_lane().map(|name| Readings::new(name, 10));
    let builder = DaemonBuilder::new().servers(&broker, &questdb).set("questdb.resend_window", resend_window);
    let daemon = builder.source(&other).source(&table).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    let mut publish = |questdb: &QuestDb, range: std::ops::Range<u64>| {
        for readings in [&other, &table] {
            readings.publish(&mut publisher, range.clone());
        }
        for readings in [&other, &table] {
            readings.assert_exactly_once(questdb, range.end, Duration::from_secs(30));
        }
    };
    publish(&questdb, 0..1_000);
    questdb.keep_copy();
    publish(&questdb, 1_000..2_000);
    let stored = Instant::now();

    questdb.roll_back();
    assert_eq!(
        [&other, &table].map(|readings| questdb.count(&readings.name)),
        [1_000; 2],
        "the database has lost rows"
    );
    eventually(silence * 2, "the silence is over", || stored.elapsed() > silence);
    table.publish(&mut publisher, 2_000..2_001);
    table.assert_exactly_once(&questdb, 2_001, Duration::from_secs(30));
    other.assert_exactly_once(&questdb, 2_000, Duration::from_secs(30));
    daemon.wait_drained(4_001, Duration::from_secs(10));
    assert_eq!(daemon.ledger("stored"), 4_001);
}

#[test]
fn rows_that_died_with_the_database_come_back_after_an_outage_longer_than_the_window() {
    const WINDOW: Duration = Duration::from_secs(4);
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("rolled_back"), 10);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings);
    let daemon = builder.set("questdb.resend_window", format!("{}s", WINDOW.as_secs())).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..1_000);
    readings.assert_exactly_once(&questdb, 1_000, Duration::from_secs(30));
    questdb.keep_copy();
    readings.publish(&mut publisher, 1_000..2_000);
    readings.assert_exactly_once(&questdb, 2_000, Duration::from_secs(30));

    questdb.kill9();
    let (died, mut published) = (Instant::now(), 2_000);
    eventually(WINDOW * 3, "the window is over twice", || {
        readings.publish(&mut publisher, published..published + 10);
        published += 10;
        died.elapsed() > WINDOW * 2
    });
    questdb.roll_back();
    readings.assert_exactly_once(&questdb, published, Duration::from_secs(30));
}

/// Names of tables, one for each lane.
fn tables_of_each_lane() -> [String; LANES as usize] {
    std::array::from_fn(|lane| {
        let mut names = std::iter::repeat_with(|| unique("unmet"));
        names.find(|name| table_hash(name) % LANES == lane as u32).expect("endless")
    })
}

fn failures(daemon: &Daemon) -> u64 {
    let lanes = daemon.database()["lanes"].as_array().cloned().unwrap_or_default();
    lanes.iter().filter_map(|lane| lane["failures"].as_u64()).sum()
}

#[test]
fn an_outage_is_noticed_although_nothing_comes() {
    let mut stage = stage("idle-outage", "");
    stage.readings.publish(&mut stage.broker.publisher().expect("connects"), 0..10);
    stage.daemon.wait_drained(10, Duration::from_mins(1));
    stage.questdb.stop();
    eventually(Duration::from_secs(40), "status says so", || stage.daemon.database()["database"] == "unreachable");
    stage.questdb.restart();
    eventually(Duration::from_secs(40), "and when it is over", || stage.daemon.database()["database"] == "ok");
    stage.readings.assert_exactly_once(&stage.questdb, 10, Duration::from_mins(1));
}
