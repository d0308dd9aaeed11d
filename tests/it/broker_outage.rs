//! mosquitto is stopped, killed, and started again, with and without what it remembered.

use std::time::Duration;

use crate::support::{
    DaemonBuilder, Load, Mosquitto, QuestDb, Readings, eventually, heavy, mosquitto::Options, unique,
};

#[test]
fn restarts_of_a_broker_that_keeps_its_sessions_lose_nothing() {
    let _alone = heavy();
    let mut broker = Mosquitto::with(&Options { persistence: true, ..Default::default() });
    let questdb = QuestDb::shared();
    let readings = Readings::new(unique("kept"), 40);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();

    let load = Load::start(&readings, broker.port, 3_000);
    for _ in 0..3 {
        let enough = load.acked() + 3_000;
        eventually(Duration::from_secs(30), "the load goes on", || load.acked() >= enough);
        broker.stop();
        eventually(Duration::from_secs(10), "forebay notices", || daemon.broker()["connected"] == false);
        broker.restart();
        daemon.wait_subscribed();
    }
    let published = load.finish();

    readings.assert_exactly_once(questdb, published, Duration::from_mins(1));
    let status = daemon.broker();
    assert!(status["sessions_resumed"].as_u64() >= Some(3), "the sessions were resumed: {status}");
    assert_eq!(daemon.ledger("quarantined") + daemon.ledger("dropped"), 0);
}

#[test]
fn a_broker_that_forgot_its_sessions_costs_nothing_that_was_acknowledged() {
    let _alone = heavy();
    let mut broker = Mosquitto::start();
    let questdb = QuestDb::shared();
    let readings = Readings::new(unique("forgot"), 40);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();

    let mut published = 0;
    for _ in 0..3 {
        let mut publisher = broker.publisher().expect("connects");
        readings.publish(&mut publisher, published..published + 5_000);
        published += 5_000;
        // What the broker still queues dies with it, so forebay must have acknowledged everything before.
        eventually(Duration::from_secs(30), "forebay has acknowledged everything", || {
            daemon.broker()["acknowledged"].as_u64() >= Some(published)
        });
        broker.kill9();
        broker.restart();
        daemon.wait_subscribed();
    }
    readings.assert_exactly_once(questdb, published, Duration::from_mins(1));
}

#[test]
fn a_broker_killed_in_mid_delivery_takes_only_what_was_not_acknowledged() {
    let _alone = heavy();
    let mut broker = Mosquitto::start();
    let questdb = QuestDb::shared();
    let readings = Readings::new(unique("mid"), 1);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();

    let load = Load::start(&readings, broker.port, 20_000);
    eventually(Duration::from_secs(30), "delivery is under way", || load.acked() > 5_000);
    let acknowledged = daemon.broker()["acknowledged"].as_u64().expect("a count");
    broker.kill9();
    broker.restart();
    // It may still be reading what the broker had sent before.
    eventually(Duration::from_secs(30), "forebay has noticed", || daemon.broker()["connects"].as_u64() >= Some(2));
    daemon.wait_subscribed();
    let published = load.finish();
    let mut publisher = broker.publisher().expect("connects");
    // Beyond what the load had under way when the broker was killed, which forebay may have taken.
    readings.publish(&mut publisher, published + 1_000..published + 2_000);

    let table = &readings.name;
    eventually(Duration::from_secs(30), "the last reading is stored", || {
        questdb.number(&format!("SELECT max(seq::long) FROM '{table}'")) == published as i64 + 1_999
    });
    daemon.wait_drained(daemon.ledger("messages"), Duration::from_secs(30));
    questdb.settle(table);
    let rows = questdb.count(table);
    assert_eq!(rows, crate::support::load::distinct(questdb, table), "none is there twice");
    assert!(rows as u64 >= acknowledged + 1_000, "{rows} rows; {acknowledged} were acknowledged before the kill");
    let first = questdb.number(&format!("SELECT count() FROM '{table}' WHERE seq < {acknowledged}"));
    assert_eq!(first as u64, acknowledged, "each reading acknowledged before the kill is there");
}

#[test]
fn forebay_waits_for_a_broker_that_is_not_there_yet() {
    let mut broker = Mosquitto::start();
    let questdb = QuestDb::shared();
    let readings = Readings::new(unique("late"), 5);
    broker.stop();
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    eventually(Duration::from_secs(10), "status tells why", || daemon.broker()["error"].is_string());
    broker.restart();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..100);
    readings.assert_exactly_once(questdb, 100, Duration::from_secs(30));
}

#[test]
fn what_waits_at_the_broker_while_forebay_is_stopped_is_delivered() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("waits"), 10);
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    assert_eq!(daemon.stop().code(), Some(0));
    readings.publish(&mut broker.publisher().expect("connects"), 0..5_000);
    daemon.restart();
    readings.assert_exactly_once(questdb, 5_000, Duration::from_secs(30));
}
