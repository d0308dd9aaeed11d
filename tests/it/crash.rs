//! forebay is killed at any moment, again and again.

use std::time::Duration;

use crate::support::{DaemonBuilder, Load, Mosquitto, QuestDb, Readings, daemon::pending, eventually, heavy, unique};

/// Kills under one load.
const ROUNDS: u64 = 20;

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
    for round in 0..ROUNDS {
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
