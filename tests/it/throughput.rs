//! Many readings, nothing in the way.

use std::time::Duration;

use crate::support::{DaemonBuilder, Mosquitto, QuestDb, Readings, heavy, unique};

#[test]
fn a_hundred_thousand_readings_of_two_hundred_devices_arrive_exactly_once() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("throughput"), 200);
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();

    readings.publish(&mut broker.publisher().expect("connects"), 0..100_000);

    daemon.wait_drained(100_000, Duration::from_mins(1));
    readings.assert_exactly_once(questdb, 100_000, Duration::from_mins(1));
    let ledger = daemon.status()["ledger"].clone();
    for (name, wanted) in
        [("messages", 100_000), ("rows", 100_000), ("stored", 100_000), ("quarantined", 0), ("dropped", 0)]
    {
        assert_eq!(ledger[name], wanted, "{name} in {ledger}");
    }
    assert_eq!(daemon.database()["delivery"], "exactly-once");
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn every_durability_mode_stores_everything() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    for durability in ["commit", "interval", "memory"] {
        let readings = Readings::new(unique("durability"), 10);
        let daemon =
            DaemonBuilder::new().servers(&broker, questdb).source(&readings).set("ring.durability", durability).start();
        daemon.wait_subscribed();
        readings.publish(&mut broker.publisher().expect("connects"), 0..2_000);
        readings.assert_exactly_once(questdb, 2_000, Duration::from_secs(30));
        assert_eq!(daemon.status()["ring"]["durability"], durability);
    }
}

#[test]
fn mqtt_3_1_1_works_too() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("v4"), 10);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).set("mqtt.protocol", 4).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..2_000);
    readings.assert_exactly_once(questdb, 2_000, Duration::from_secs(60));
}
