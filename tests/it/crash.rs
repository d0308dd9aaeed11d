//! forebay is killed at any moment, again and again.

use std::time::Duration;

use crate::support::{
    DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    daemon::pending,
    eventually, eventually_eq, heavy,
    load::{distinct, first_times},
    mosquitto::Options,
    unique,
};

/// Kills under one load, unless `FOREBAY_KILLS` asks for another number (`make test-long`).
const ROUNDS: u64 = 20;

fn rounds() -> u64 {
    std::env::var("FOREBAY_KILLS").map_or(ROUNDS, |kills| kills.parse().expect("FOREBAY_KILLS is a number"))
}

#[test]
fn twenty_kills_under_load_lose_and_double_nothing() {
    for_each_kill("commit");
}

#[test]
fn kills_in_memory_mode_lose_and_double_nothing() {
    for_each_kill("memory");
}

fn for_each_kill(durability: &str) {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("crash"), 50);
    let mut daemon =
        DaemonBuilder::new().servers(&broker, questdb).source(&readings).set("ring.durability", durability).start();
    daemon.wait_subscribed();

    let load = Load::start(&readings, broker.port, 3_000);
    for round in 0..rounds() {
        // A different moment each time: right after the start, within recovery's resending, in the middle of batches.
        let enough = load.acked() + 100 + (round * 379) % 1_500;
        eventually(Duration::from_secs(30), "the load goes on", || load.acked() >= enough);
        daemon.kill9();
        if round % 3 == 2 {
            // Killed while it recovers.
            daemon.launch();
            let enough = load.acked() + round * 20;
            eventually(Duration::from_secs(30), "the load goes on", || load.acked() >= enough);
            daemon.kill9();
        }
        daemon.restart();
    }
    let published = load.finish();

    readings.assert_exactly_once(questdb, published, Duration::from_mins(1));
    eventually(Duration::from_secs(30), "the ledger closes", || {
        let ledger = daemon.status()["ledger"].clone();
        ledger["messages"].as_u64() >= Some(published) && pending(&ledger) == 0
    });
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!((&ledger["quarantined"], &ledger["dropped"]), (&0.into(), &0.into()), "{ledger}");
    assert_eq!(ledger["rows"], ledger["stored"], "{ledger}");
}

#[test]
fn what_was_acknowledged_is_in_the_ring_when_broker_and_database_are_gone() {
    let (mut broker, mut questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("alone"), 20);
    let mut daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..5_000);
    eventually(Duration::from_secs(30), "all are acknowledged", || daemon.broker()["acknowledged"] == 5_000);
    daemon.kill9();
    broker.kill9();

    questdb.restart();
    daemon.restart();
    readings.assert_exactly_once(&questdb, 5_000, Duration::from_secs(30));
}

/// Messages that may be under way without acknowledgement, and so be delivered a second time.
const RECEIVE_MAXIMUM: u64 = 100;

#[test]
fn readings_timed_by_receipt_outlive_kills_and_reconnects_in_order() {
    const INTERRUPTIONS: u64 = 8;
    let _alone = heavy();
    let mut broker = Mosquitto::with(&Options { persistence: true, ..Default::default() });
    let questdb = QuestDb::shared();
    let readings = Readings::new(unique("receipt"), 20);
    let mut daemon = DaemonBuilder::new()
        .servers(&broker, questdb)
        .source_by_receipt(&readings)
        .set("mqtt.receive_maximum", RECEIVE_MAXIMUM as i64)
        .start();
    daemon.wait_subscribed();

    let load = Load::start(&readings, broker.port, 2_000);
    for round in 0..INTERRUPTIONS {
        let enough = load.acked() + 300 + (round * 379) % 1_000;
        eventually(Duration::from_secs(30), "the load goes on", || load.acked() >= enough);
        if round % 2 == 0 {
            daemon.kill9();
            daemon.restart();
        } else {
            broker.stop();
            broker.restart();
        }
        daemon.wait_subscribed();
    }
    let published = load.finish();

    let table = &readings.name;
    eventually_eq(Duration::from_mins(1), "every reading is in QuestDB", published as i64, || distinct(questdb, table));
    eventually(Duration::from_secs(30), "the ledger closes", || pending(&daemon.status()["ledger"]) == 0);
    questdb.settle(table);
    // A second delivery is a second row; nothing but what was not acknowledged is delivered a second time.
    let rows = questdb.count(table) as u64;
    assert!(rows >= published && rows <= published + INTERRUPTIONS * RECEIVE_MAXIMUM, "{rows} of {published}");
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!((&ledger["rows"], &ledger["stored"]), (&rows.into(), &rows.into()), "no two rows collapsed: {ledger}");
    for (device, times) in first_times(questdb, table) {
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{device}: times increase with sequence numbers");
    }
}
