//! SIGHUP.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, eventually, eventually_eq, unique};

const LIMIT: Duration = Duration::from_secs(30);

fn batch_rows(daemon: &Daemon) -> u64 {
    daemon.database()["lanes"][0]["batch_rows"].as_u64().unwrap_or(0)
}

#[test]
fn a_valid_change_takes_effect_and_an_invalid_one_is_refused() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("reload"), 5);
    let mut daemon = DaemonBuilder::new()
        .servers(&broker, questdb)
        .source(&readings)
        .set("batch.strategy", "hybrid")
        .set("batch.max_rows", 500)
        .set("batch.max_linger", "50ms")
        .start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    let mut published = 0;
    let mut publish_some = || {
        readings.publish(&mut publisher, published..published + 50);
        published += 50;
        published
    };
    publish_some();
    eventually_eq(LIMIT, "the configured batch", 500, || batch_rows(&daemon));

    daemon.reconfigure(|builder| builder.set("batch.max_rows", 77).set("log.level", "debug"));
    daemon.signal(Signal::HUP);
    eventually_eq(LIMIT, "the new batch", 77, || {
        publish_some();
        batch_rows(&daemon)
    });

    let logged = daemon.log().len();
    daemon.reconfigure(|builder| builder.set("batch.max_rows", "many"));
    daemon.signal(Signal::HUP);
    eventually(LIMIT, "the mistake is logged", || daemon.log()[logged..].contains("batch.max_rows"));
    let count = publish_some();
    daemon.wait_drained(count, LIMIT);
    assert_eq!(batch_rows(&daemon), 77, "the old settings stay");
    assert!(daemon.runs());
    readings.assert_exactly_once(questdb, count, LIMIT);
}

#[test]
fn reloads_under_load_lose_nothing() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("hup"), 5);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    let load = crate::support::Load::start(&readings, broker.port, 2_000);
    for _ in 0..10 {
        let enough = load.acked() + 200;
        eventually(LIMIT, "the load goes on", || load.acked() >= enough);
        daemon.signal(Signal::HUP);
    }
    let published = load.finish();
    readings.assert_exactly_once(questdb, published, LIMIT);
    assert_eq!(daemon.ledger("messages"), published, "no connection was dropped for it");
}
