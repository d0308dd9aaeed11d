//! The harness itself: servers start, stop and come back, and the publisher's counts are right.

use std::time::Duration;

use crate::support::{Load, Mosquitto, QuestDb, Readings, eventually, mosquitto, unique};

#[test]
fn the_publisher_knows_what_the_broker_acknowledged() {
    let broker = Mosquitto::start();
    let readings = Readings::new(unique("harness"), 7);
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..70_000);
    assert_eq!((publisher.sent(), publisher.acked()), (70_000, 70_000));
}

#[test]
fn a_load_outlives_its_broker() {
    let mut broker = Mosquitto::with(&mosquitto::Options { persistence: true, ..Default::default() });
    let load = Load::start(&Readings::new(unique("harness"), 3), broker.port, 2_000);
    eventually(Duration::from_secs(10), "some are acknowledged", || load.acked() > 500);
    broker.kill9();
    broker.restart();
    let before = load.acked();
    eventually(Duration::from_secs(10), "more are acknowledged", || load.acked() > before + 500);
    assert!(load.finish() > before + 500);
}

#[test]
fn the_broker_refuses_a_wrong_password() {
    let options = mosquitto::Options { login: Some(("gate".into(), "secret".into())), ..Default::default() };
    let broker = Mosquitto::with(&options);
    assert!(crate::support::wire::Publisher::connect(broker.port, Some(("gate", "wrong"))).is_err());
}

#[test]
fn the_database_answers() {
    let questdb = QuestDb::shared();
    let table = unique("harness");
    questdb.sql(&format!(
        "CREATE TABLE '{table}' (timestamp TIMESTAMP, n LONG) TIMESTAMP(timestamp) PARTITION BY DAY WAL"
    ));
    questdb.sql(&format!("INSERT INTO '{table}' VALUES (now(), 42)"));
    questdb.settle(&table);
    assert_eq!(questdb.count(&table), 1);
    assert_eq!(questdb.number(&format!("SELECT n FROM '{table}'")), 42);
    assert_eq!(questdb.count("no_such_table"), 0);
}
