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

/// Readings that devices send once more after the broker was killed, which may have acknowledged them without having saved them.
const AGAIN: u64 = 1_000;
/// Readings of a device that may be under way while everything keeps up.
const SLACK: u64 = 40;
/// A kill so long after a start finds recovery, the session's beginning, or resending under way.
const RECOVERY_MILLIS: std::ops::Range<u64> = 0..250;

/// Devices, broker, daemon and database under load: the daemon is killed at random moments, each fifth time together with the broker, each
/// tenth with the database too.
fn for_each_kill(durability: &str) {
    let _alone = heavy();
    let seed =
        std::env::var("FOREBAY_KILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("the moments are those of FOREBAY_KILL_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut broker = Mosquitto::with(&Options { persistence: true, autosave: true, ..Default::default() });
    let mut questdb = QuestDb::start();
    let readings = Readings::new(unique("crash"), 50);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).set("ring.size", "16MiB");
    let mut daemon = builder.set("ring.durability", durability).start();
    daemon.wait_subscribed();

    let load = Load::start_repeating(&readings, broker.port, 1_500, AGAIN);
    for round in 1..=rounds() {
        let enough = load.acked() + rng.u64(50..1_500);
        eventually(Duration::from_secs(60), "the load goes on", || load.acked() >= enough);
        daemon.kill9();
        if rng.u64(..3) == 0 {
            daemon.launch();
            pause(Duration::from_millis(rng.u64(RECOVERY_MILLIS)));
            daemon.kill9();
        }
        if round % 5 == 0 {
            broker.kill9();
        }
        if round % 10 == 0 {
            questdb.kill9();
            questdb.launch();
        }
        if round % 5 == 0 {
            broker.restart();
        }
        daemon.restart();
        if round % 5 == 0 {
            // What the broker saved knows of the daemon's session; the next kill is not to come before that is so again. And the
            // broker's queue is not to grow from round to round.
            daemon.wait_subscribed();
            let newest = format!("SELECT max(seq::long) FROM '{}'", readings.name);
            let reached =
                || questdb.answers() && (questdb.number(&newest) as u64 + SLACK) * readings.devices >= load.acked();
            eventually(Duration::from_secs(90), "QuestDB has what is new", reached);
        }
    }
    let published = load.finish();

    eventually(Duration::from_secs(90), "the ledger closes", || {
        let ledger = daemon.status()["ledger"].clone();
        ledger["messages"].as_u64() >= Some(published) && pending(&ledger) == 0
    });
    readings.assert_exactly_once(&questdb, published, Duration::from_mins(1));
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!((&ledger["quarantined"], &ledger["dropped"]), (&0.into(), &0.into()), "{ledger}");
    assert_eq!(ledger["rows"], ledger["stored"], "{ledger}");
}

/// Lets a moment pass, not for anything to be done by then but to strike at a time of no meaning.
fn pause(moment: Duration) {
    std::thread::sleep(moment);
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
